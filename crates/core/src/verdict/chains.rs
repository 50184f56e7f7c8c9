//! Where a commit stands among its author's own commits, also when the author forked.
//!
//! `previous` links make a tree per author; a place names a branch of it and the author seq. Branch numbers depend on
//! the order of arrival and never leave this machine; what lies below what does not depend on it.

use std::collections::{BTreeMap, HashMap};

use crate::id::AuthorId;

/// A commit among its author's own: plain numbers, to be stored beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The author's branch, numbered in the order of arrival here; 0 unless the author has forked.
    pub branch: u32,
    /// The author seq of the header.
    pub seq: u64,
}

/// How the branches of each author hang together. It changes only when somebody forks.
#[derive(Debug, Clone, Default)]
pub struct Chains {
    // For branches 1, 2, ..: the commit that the first of the branch names as `previous`, if any.
    forks: HashMap<AuthorId, Vec<Option<Place>>>,
}

impl Chains {
    /// No author has forked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The place of a new commit. `previous` is the place of the commit it names as `previous`; `extended` says
    /// whether another commit of the author named that one already (for a first commit: whether there is one).
    /// Nothing is noted before the commit is admitted: then call `enter`.
    pub fn place(&self, author: &AuthorId, seq: u64, previous: Option<Place>, extended: bool) -> Place {
        let branch = match previous {
            _ if extended => u32::try_from(self.forks(author).len() + 1).unwrap_or(u32::MAX),
            Some(previous) => previous.branch,
            None => 0,
        };
        Place { branch, seq }
    }

    /// Notes an admitted commit with the place that it was given. Returns whether it began a branch, which is when
    /// the author's forks must be stored again.
    pub fn enter(&mut self, author: &AuthorId, place: Place, previous: Option<Place>) -> bool {
        let begins = u64::from(place.branch) > self.forks(author).len() as u64;
        if begins {
            self.forks.entry(*author).or_default().push(previous);
        }
        begins
    }

    /// The forks of an author in the order of their branches, from branch 1: where each left its parent branch.
    pub fn forks(&self, author: &AuthorId) -> &[Option<Place>] {
        self.forks.get(author).map_or(&[], Vec::as_slice)
    }

    /// All authors that have forked, for storage; `restore` takes it back.
    pub fn all_forks(&self) -> impl Iterator<Item = (&AuthorId, &[Option<Place>])> {
        self.forks.iter().map(|(author, forks)| (author, forks.as_slice()))
    }

    /// The table that `all_forks` gave out.
    pub fn restore(forks: impl IntoIterator<Item = (AuthorId, Vec<Option<Place>>)>) -> Self {
        Self { forks: forks.into_iter().collect() }
    }

    /// Whether `x` is `kept` or reachable from it by `previous` only, both being of `author`.
    pub fn on_chain_below(&self, author: &AuthorId, x: Place, kept: Place) -> bool {
        self.reach(author, [kept]).contains(x)
    }

    // All that is reachable from `kept` by `previous` only: per branch the last seq. What arrives later is never
    // below what was kept, so it can be computed once.
    pub(super) fn reach(&self, author: &AuthorId, kept: impl IntoIterator<Item = Place>) -> Reach {
        let mut reach = Reach::default();
        for place in kept {
            self.extend(author, &mut reach, place);
        }
        reach
    }

    /// Adds `kept`, and what is reachable from it by `previous`, to what is reached already: as many steps as it adds
    /// branches, so that thousands of forks cost no more than as many commits.
    pub fn extend(&self, author: &AuthorId, reach: &mut Reach, kept: Place) {
        let mut next = Some(kept);
        while let Some(at) = next {
            match reach.last.get(&at.branch) {
                Some(seq) if *seq >= at.seq => break,
                _ => reach.last.insert(at.branch, at.seq),
            };
            next = self.left_from(author, at.branch).filter(|from| from.branch < at.branch);
        }
    }

    fn left_from(&self, author: &AuthorId, branch: u32) -> Option<Place> {
        let fork = usize::try_from(branch).ok()?.checked_sub(1)?;
        *self.forks(author).get(fork)?
    }
}

/// A part of one author's commits that is closed under `previous`.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    last: BTreeMap<u32, u64>,
}

impl Reach {
    /// Whether the commit at this place is in it.
    pub fn contains(&self, place: Place) -> bool {
        self.last.get(&place.branch).is_some_and(|seq| place.seq <= *seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_means_the_own_chain_whichever_branch_came_first() {
        let author = AuthorId([1; 32]);
        // 1 - 2 - 3 - 4, and on 2: 3' - 4', and on 3': 4''. Then a second first commit.
        let mut chains = Chains::new();
        let mut add = |seq, previous, extended| {
            let place = chains.place(&author, seq, previous, extended);
            assert_eq!(chains.enter(&author, place, previous), extended);
            place
        };
        let one = add(1, None, false);
        let two = add(2, Some(one), false);
        let three = add(3, Some(two), false);
        let four = add(4, Some(three), false);
        let three_b = add(3, Some(two), true);
        let four_b = add(4, Some(three_b), false);
        let four_c = add(4, Some(three_b), true);
        let other = add(1, None, true);
        let chains = Chains::restore(chains.all_forks().map(|(author, forks)| (*author, forks.to_vec())));

        let below = |x, kept| chains.on_chain_below(&author, x, kept);
        assert!(below(one, four) && below(three, four) && below(four, four));
        assert!(below(two, four_c) && below(three_b, four_c) && below(three_b, four_b));
        assert!(!below(three, four_b) && !below(three_b, four) && !below(four_b, four_c));
        assert!(!below(one, other) && !below(other, four) && !below(four, three));
        let both = chains.reach(&author, [four, four_c]);
        assert!([one, two, three, four, three_b, four_c].into_iter().all(|place| both.contains(place)));
        assert!(!both.contains(four_b) && !both.contains(other));
    }
}
