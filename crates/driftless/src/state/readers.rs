//! Who may read what: for each subject that the rules of a space name, the spaces that do. So a stranger who asks which
//! spaces it may read costs a look at its own, and not at all. In memory, made when somebody asks first.
//!
//! It may name too much, never too little: whoever uses it looks at the rules of what it names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use driftless_core::id::{AuthorId, SpaceId};
use driftless_core::rules::Subject;

/// Spaces by those who may read them.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    made: bool,
    spaces: BTreeMap<Subject, BTreeSet<SpaceId>>,
    subjects: HashMap<SpaceId, Vec<Subject>>,
    stale: BTreeSet<SpaceId>,
    epoch: u64,
}

impl Readers {
    /// Whether it was begun: then each change is to be told.
    pub(crate) fn is_made(&self) -> bool {
        self.made
    }

    /// Begins with these spaces, none of which was looked at.
    pub(crate) fn make(&mut self, spaces: BTreeSet<SpaceId>) {
        self.made = true;
        self.stale.extend(spaces);
    }

    /// The rules of a space changed, or it came or went.
    pub(crate) fn changed(&mut self, space: &SpaceId) {
        self.epoch += 1;
        if self.made {
            self.stale.insert(*space);
        }
    }

    /// Grows whenever some rules change.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What followed from the rules so far is to be looked at again.
    pub(crate) fn ask_again(&mut self) {
        self.epoch += 1;
    }

    /// Everything may have changed.
    pub(crate) fn restart(&mut self) {
        *self = Self { epoch: self.epoch + 1, ..Self::default() };
    }

    /// A space that is to be looked at.
    pub(crate) fn stale(&self) -> Option<SpaceId> {
        self.stale.first().copied()
    }

    /// Who may read a space now; nobody, if it is gone.
    pub(crate) fn set(&mut self, space: SpaceId, subjects: Vec<Subject>) {
        self.stale.remove(&space);
        let before = self.subjects.remove(&space).unwrap_or_default();
        for subject in before {
            if let Some(spaces) = self.spaces.get_mut(&subject) {
                spaces.remove(&space);
                if spaces.is_empty() {
                    self.spaces.remove(&subject);
                }
            }
        }
        for subject in &subjects {
            self.spaces.entry(*subject).or_default().insert(space);
        }
        if !subjects.is_empty() {
            self.subjects.insert(space, subjects);
        }
    }

    /// The next space above an id, or the first, whose rules name one of these.
    pub(crate) fn next_of(&self, subjects: &[Subject], after: Option<SpaceId>) -> Option<SpaceId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let spaces = subjects.iter().filter_map(|subject| self.spaces.get(subject));
        spaces.filter_map(|spaces| spaces.range((from, Bound::Unbounded)).next().copied()).min()
    }

    /// The next space above an id, or the first, that one of these keys may read.
    pub(crate) fn next(&self, keys: &[AuthorId], after: Option<SpaceId>) -> Option<SpaceId> {
        let subjects: Vec<_> = keys.iter().map(|key| Subject::Key(*key)).chain([Subject::Anyone]).collect();
        self.next_of(&subjects, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spaces_of_several_keys_come_in_order_and_each_once() {
        let (ann, bob) = (AuthorId([1; 32]), AuthorId([2; 32]));
        let space = |n| SpaceId([n; 32]);
        let mut readers = Readers::default();
        readers.changed(&space(9));
        assert_eq!(readers.stale(), None, "nobody has asked yet");
        readers.make((1..=5).map(space).collect());
        let both = vec![Subject::Key(ann), Subject::Key(bob)];
        for (n, subjects) in [
            (1, both.clone()),
            (2, vec![Subject::Anyone]),
            (3, vec![Subject::Key(bob)]),
            (4, vec![Subject::Key(ann)]),
        ] {
            readers.set(space(n), subjects);
        }
        let all = |readers: &Readers, keys: &[AuthorId]| {
            let (mut found, mut after) = (Vec::new(), None);
            while let Some(next) = readers.next(keys, after) {
                found.push(next.0[0]);
                after = Some(next);
            }
            found
        };
        assert_eq!(all(&readers, &[ann]), [1, 2, 4]);
        assert_eq!(all(&readers, &[ann, bob]), [1, 2, 3, 4]);
        assert_eq!((all(&readers, &[]), readers.stale()), (vec![2], Some(space(5))));
        readers.set(space(5), Vec::new());
        readers.changed(&space(1));
        assert_eq!(readers.stale(), Some(space(1)));
        readers.set(space(1), vec![Subject::Key(bob)]);
        readers.set(space(2), Vec::new());
        assert_eq!(
            (all(&readers, &[ann]), all(&readers, &[bob]), readers.stale()),
            (vec![4], vec![1, 3], None)
        );
    }
}
