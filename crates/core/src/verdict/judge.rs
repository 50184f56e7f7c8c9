//! The definition of `verdicts`, over tables of all rule commits: standing, what a keep voids, what counts.
//!
//! Every judgement looks only at counting commits of a strictly smaller key, so nothing ever waits for itself. It
//! takes no notice of time or of the order of arrival. `naive` says the same plainly; tests compare the two.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::bits::Bits;
use super::chains::{Place, Reach};
use super::frontier::FrontierId;
use crate::clock::Timestamp;
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::rules::{Level, Permission, RuleOperator, Strength, Subject};

/// The strength of a commit, on one scale with genesis (stronger than 0) and strangers (weaker than everything): what is
/// stated here, then the strength inside another space. Who was granted it here is stronger than all who enrolled under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(i64, i64);

impl Rank {
    pub(super) const GENESIS: Self = Self(-1, 0);
    pub(super) const STRANGER: Self = Self(i64::MAX, 0);

    pub(super) fn of(permission: Option<Permission>) -> Self {
        permission.map_or(Self::STRANGER, |permission| Self::made(permission.strength(), Via::Key))
    }

    pub(super) fn made(strength: Strength, via: Via) -> Self {
        let inside = match via {
            Via::Space(inside) => i64::from(inside.0) + 1,
            Via::Key | Via::Anyone => 0,
        };
        Self(i64::from(strength.0), inside)
    }

    pub(super) fn strength(self) -> Option<Strength> {
        u32::try_from(self.0).ok().map(Strength)
    }
}

/// The place of a commit in the order of evaluation. Of one strength, redemptions come before what their joiners may
/// have written with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) Rank, u8);

impl Key {
    pub(super) fn redeem(rank: Rank) -> Self {
        Self(rank, 0)
    }

    pub(super) fn commit(rank: Rank) -> Self {
        Self(rank, 1)
    }
}

/// How an author came by a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// A statement about the author's key, or an invite it redeemed.
    Key,
    /// A statement about anyone.
    Anyone,
    /// It enrolled as a key that another space lets in, where it has this strength.
    Space(Strength),
}

/// What holds for an author somewhere in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// What the author may do.
    pub permission: Permission,
    /// Which kind of statement says so.
    pub via: Via,
}

impl Standing {
    pub(super) fn rank(self) -> Rank {
        Rank::made(self.permission.strength(), self.via)
    }

    /// What two concurrent statements leave: the lower level at the weaker strength.
    pub(super) fn weakest(self, other: Self) -> Self {
        let weaker = if self.rank() >= other.rank() { self } else { other };
        let level = self.permission.level().min(other.permission.level());
        Self { permission: Permission::new(level, weaker.permission.strength()), via: weaker.via }
    }

    /// Whether somebody who has `self` loses something when given `next`.
    pub(super) fn is_weakened_by(self, next: Option<Self>) -> bool {
        next.is_none_or(|next| next.permission.level() < self.permission.level() || next.rank() > self.rank())
    }
}

/// That a key enrolled: through which space, what that gave it, and its strength there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Enrolment {
    pub(super) space: SpaceId,
    pub(super) standing: Standing,
}

/// What one commit says about one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Is(Option<Permission>),
    Enrolled(Enrolment),
}

/// What is left to a key of what it has through another space.
#[derive(Debug, Clone, Copy)]
pub(super) struct Withdrawal {
    pub(super) space: SpaceId,
    pub(super) key: AuthorId,
    pub(super) left: Option<Standing>,
}

/// Whose commits a keep is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Whose {
    Subject(Subject),
    /// Those of a key that it made as one let in by this space.
    Through(SpaceId, AuthorId),
}

/// An invite: the rule commit and the place among its operators.
pub(super) type InviteAt = (u32, u32);

/// What one keep leaves of a subject: per author, since anyone can be many.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) whose: Whose,
    pub(super) kept: HashMap<AuthorId, Reach>,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    Genesis,
    /// With the level and the strength its author had.
    Statement,
    Redeem(InviteAt),
    /// By the grant in this rule commit.
    Enrol(u32, SpaceId),
    /// By a key of whatever level.
    Withdraw(Withdrawal),
}

/// An admitted rule commit with all that was found out at its admission.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) id: CommitId,
    pub(super) author: AuthorId,
    pub(super) time: Timestamp,
    pub(super) place: Place,
    pub(super) operators: Vec<RuleOperator>,
    pub(super) frontier: FrontierId,
    /// The rule commits below it.
    pub(super) ancestors: Arc<Bits>,
    pub(super) act: Act,
    pub(super) key: Key,
    pub(super) via: Via,
    /// What it says, one per subject: of several the last.
    pub(super) statements: Vec<(Subject, Said)>,
    pub(super) cuts: Vec<Cut>,
    /// Which invites it ends, and the redemptions that stay.
    pub(super) ends: Vec<(InviteAt, BTreeSet<u32>)>,
}

impl Rule {
    /// Whether it can act on commits that do not descend from it.
    pub(super) fn voids(&self) -> bool {
        !self.cuts.is_empty() || !self.ends.is_empty()
    }
}

/// All admitted rule commits of a space and where to find what concerns whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    rules: Vec<Rule>,
    pub(super) ids: HashMap<CommitId, u32>,
    // In order of admission, so descendants come after their ancestors.
    pub(super) statements: HashMap<Subject, Vec<(u32, Said)>>,
    cuts: HashMap<Whose, Vec<(u32, u32)>>,
    // Who enrolled by which space, and by which rule commits.
    enrolled: BTreeMap<SpaceId, BTreeMap<AuthorId, Vec<u32>>>,
    withdrawals: HashMap<(SpaceId, AuthorId), Vec<u32>>,
    by_author: HashMap<AuthorId, Vec<u32>>,
    redeems: HashMap<InviteAt, Vec<u32>>,
    ends: HashMap<InviteAt, Vec<(u32, u32)>>,
    pub(super) voiders: Bits,
}

/// A set of rule commits closed under ancestors, and which of them do not count in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) within: &'a Bits,
    pub(super) void: &'a Bits,
}

impl View<'_> {
    pub(super) fn counts(self, rule: u32) -> bool {
        self.within.contains(rule) && !self.void.contains(rule)
    }
}

/// Why a commit does or does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    Counts,
    Cut(u32),
    Changed,
}

impl Table {
    pub(super) fn len(&self) -> u32 {
        self.rules.len() as u32
    }

    pub(super) fn get(&self, index: u32) -> Option<&Rule> {
        self.rules.get(index as usize)
    }

    // Only for numbers that these tables have given out themselves; callers' numbers go through `get`.
    pub(super) fn rule(&self, index: u32) -> &Rule {
        &self.rules[index as usize]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Rule)> {
        (0..).zip(&self.rules)
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.statements.keys()
    }

    /// Whether any statement about the key is in `closure`, counting or not.
    pub(super) fn names(&self, author: &AuthorId, closure: &Bits) -> bool {
        let about = self.statements.get(&Subject::Key(*author));
        about.is_some_and(|about| about.iter().any(|(rule, _)| closure.contains(*rule)))
    }

    pub(super) fn redeems_of(&self, invite: InviteAt) -> &[u32] {
        self.redeems.get(&invite).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_ended(&self, invite: InviteAt, view: View<'_>) -> bool {
        self.ends.get(&invite).is_some_and(|ends| ends.iter().any(|(rule, _)| view.counts(*rule)))
    }

    pub(super) fn enter(&mut self, rule: Rule) -> u32 {
        let index = self.len();
        self.ids.insert(rule.id, index);
        self.by_author.entry(rule.author).or_default().push(index);
        for (subject, said) in &rule.statements {
            self.statements.entry(*subject).or_default().push((index, *said));
        }
        for (at, cut) in (0..).zip(&rule.cuts) {
            self.cuts.entry(cut.whose).or_default().push((index, at));
        }
        for (at, (invite, _)) in (0..).zip(&rule.ends) {
            self.ends.entry(*invite).or_default().push((index, at));
        }
        match rule.act {
            Act::Redeem(invite) => self.redeems.entry(invite).or_default().push(index),
            Act::Enrol(_, space) => {
                self.enrolled.entry(space).or_default().entry(rule.author).or_default().push(index);
            }
            Act::Withdraw(Withdrawal { space, key, .. }) => {
                self.withdrawals.entry((space, key)).or_default().push(index);
            }
            Act::Genesis | Act::Statement => {}
        }
        if rule.voids() {
            self.voiders.insert(index);
        }
        self.rules.push(rule);
        index
    }

    /// The keys that have enrolled by a space, whatever became of it.
    pub(super) fn enrolled_by(&self, space: &SpaceId) -> impl Iterator<Item = &AuthorId> {
        self.enrolled.get(space).into_iter().flat_map(BTreeMap::keys)
    }

    /// Whether a key has enrolled by a space in `closure`, counting or not.
    pub(super) fn came_through(&self, space: &SpaceId, author: &AuthorId, closure: &Bits) -> bool {
        let by = self.enrolled.get(space).and_then(|keys| keys.get(author));
        by.is_some_and(|by| by.iter().any(|rule| closure.contains(*rule)))
    }

    /// The withdrawals of a space that name a key.
    pub(super) fn withdrawals_of(
        &self,
        space: SpaceId,
        key: AuthorId,
    ) -> impl Iterator<Item = (u32, Withdrawal)> {
        let about = self.withdrawals.get(&(space, key)).into_iter().flatten();
        about.filter_map(|rule| match self.rule(*rule).act {
            Act::Withdraw(withdrawal) => Some((*rule, withdrawal)),
            _ => None,
        })
    }

    /// What is said about a subject in `closure`: the causally last, of concurrent ones the weakest. The outer option
    /// is whether anything is said. Only counting commits of `view` below `key` are heard.
    pub(super) fn said(
        &self,
        subject: Subject,
        closure: &Bits,
        view: View<'_>,
        key: Option<Key>,
    ) -> Option<Option<Standing>> {
        self.last(subject, closure, view, key, |_| true)
    }

    /// What a key has through a space alone; the outer option is whether it has enrolled by it.
    pub(super) fn through(
        &self,
        space: SpaceId,
        author: AuthorId,
        closure: &Bits,
        view: View<'_>,
    ) -> Option<Option<Standing>> {
        let by_space = |said: &Said| matches!(said, Said::Enrolled(enrolment) if enrolment.space == space);
        self.last(Subject::Key(author), closure, view, None, by_space)
    }

    fn last(
        &self,
        subject: Subject,
        closure: &Bits,
        view: View<'_>,
        key: Option<Key>,
        which: impl Fn(&Said) -> bool,
    ) -> Option<Option<Standing>> {
        let mut result: Option<Option<Standing>> = None;
        self.each_said(subject, closure, view, key, which, |_, standing| {
            result = Some(match result {
                None => standing,
                Some(other) => Option::zip(other, standing).map(|(a, b)| a.weakest(b)),
            });
        });
        result
    }

    /// Each statement about a subject that holds in `closure`, of those `which` lets through, and what is left of it, the
    /// newest first: several only if they are concurrent.
    pub(super) fn each_said(
        &self,
        subject: Subject,
        closure: &Bits,
        view: View<'_>,
        key: Option<Key>,
        which: impl Fn(&Said) -> bool,
        mut heard: impl FnMut(u32, Option<Standing>),
    ) {
        let (mut last, mut covered) = (None::<u32>, None::<Bits>);
        // From the newest: what an accepted statement has below it is superseded.
        for (index, said) in self.about(&subject).iter().rev().filter(|(_, said)| which(said)) {
            let superseded = match (&covered, last) {
                (Some(covered), _) => covered.contains(*index),
                (None, Some(last)) => self.rule(last).ancestors.contains(*index),
                (None, None) => false,
            };
            if !self.is_heard(*index, closure, view, key) || superseded {
                continue;
            }
            let standing = match said {
                Said::Is(permission) => permission.map(|permission| Standing { permission, via: Via::Key }),
                Said::Enrolled(enrolment) => self.left_of(*index, enrolment, closure, view, key),
            };
            heard(*index, standing);
            match last {
                None => last = Some(*index),
                Some(last) => covered
                    .get_or_insert_with(|| (*self.rule(last).ancestors).clone())
                    .union(&self.rule(*index).ancestors),
            }
        }
    }

    /// The statements about a subject in the order they came, whatever became of them.
    pub(super) fn about(&self, subject: &Subject) -> &[(u32, Said)] {
        self.statements.get(subject).map_or(&[], Vec::as_slice)
    }

    fn is_heard(&self, index: u32, closure: &Bits, view: View<'_>, key: Option<Key>) -> bool {
        closure.contains(index) && view.counts(index) && key.is_none_or(|key| self.rule(index).key < key)
    }

    // An enrolment gives at most what holds for its space, and what each withdrawal leaves that it did not know of.
    fn left_of(
        &self,
        index: u32,
        enrolment: &Enrolment,
        closure: &Bits,
        view: View<'_>,
        key: Option<Key>,
    ) -> Option<Standing> {
        let author = self.rule(index).author;
        let bound = self.said(Subject::Space(enrolment.space), closure, view, key)??;
        let mut left = enrolment.standing;
        left.permission = left.permission.weakest(bound.permission);
        for (rule, withdrawal) in self.withdrawals_of(enrolment.space, author) {
            if self.is_heard(rule, closure, view, key) && !self.rule(index).ancestors.contains(rule) {
                left = left.weakest(withdrawal.left?);
            }
        }
        Some(left)
    }

    /// What holds for an author: a statement about the key beats one about anyone, also if it says `none`.
    pub(super) fn standing(
        &self,
        author: &AuthorId,
        closure: &Bits,
        view: View<'_>,
        key: Option<Key>,
    ) -> Option<Standing> {
        match self.said(Subject::Key(*author), closure, view, key) {
            Some(said) => said,
            None => {
                let said = self.said(Subject::Anyone, closure, view, key).flatten()?;
                Some(Standing { via: Via::Anyone, ..said })
            }
        }
    }

    /// The counting keep that voids a commit of `author`, if there is one. `ancestors` are the commit's.
    fn cut_by(
        &self,
        (author, place): (&AuthorId, Place),
        ancestors: &Bits,
        (strength, via): (Rank, Via),
        entered: Option<SpaceId>,
        view: View<'_>,
    ) -> Option<u32> {
        if self.cuts.is_empty() {
            return None;
        }
        let mut about = vec![Whose::Subject(Subject::Key(*author))];
        match via {
            Via::Key => {}
            Via::Anyone => about.push(Whose::Subject(Subject::Anyone)),
            Via::Space(_) => {
                let came = |space: &&SpaceId| {
                    entered == Some(**space) || self.came_through(space, author, ancestors)
                };
                for space in self.enrolled.keys().filter(came) {
                    about.push(Whose::Subject(Subject::Space(*space)));
                    about.push(Whose::Through(*space, *author));
                }
            }
        }
        let cuts = about.iter().flat_map(|whose| self.cuts.get(whose).into_iter().flatten());
        let (rule, _) = cuts.into_iter().find(|(index, at)| {
            let rule = self.rule(*index);
            let keeps = || rule.cuts.get(*at as usize)?.kept.get(author);
            view.counts(*index)
                && rule.key.0 < strength
                && !ancestors.contains(*index)
                && !keeps().is_some_and(|reach| reach.contains(place))
        })?;
        Some(*rule)
    }

    /// Whether a rule commit counts in `view`, whose commits of smaller keys have been judged.
    pub(super) fn judge_rule(&self, index: u32, view: View<'_>) -> Finding {
        let rule = self.rule(index);
        let rank = rule.key.0;
        if matches!(rule.act, Act::Genesis) {
            return Finding::Counts;
        }
        let entered = match rule.act {
            Act::Enrol(_, space) => Some(space),
            _ => None,
        };
        let (made, commit) = ((rank, rule.via), (&rule.author, rule.place));
        if let Some(keep) = self.cut_by(commit, &rule.ancestors, made, entered, view) {
            return Finding::Cut(keep);
        }
        let invite = match rule.act {
            Act::Redeem(invite) if view.counts(invite.0) => invite,
            Act::Enrol(grant, _) if view.counts(grant) => return Finding::Counts,
            Act::Redeem(_) | Act::Enrol(..) => return Finding::Changed,
            Act::Genesis | Act::Statement | Act::Withdraw(_) => {
                let need = if matches!(rule.act, Act::Withdraw(_)) { Level::Read } else { Level::Admin };
                let standing = self.standing(&rule.author, &rule.ancestors, view, Some(rule.key));
                let same =
                    |standing: Standing| standing.permission.level() >= need && standing.rank() == rank;
                return if standing.is_some_and(same) { Finding::Counts } else { Finding::Changed };
            }
        };
        let mut ends = self.ends.get(&invite).into_iter().flatten();
        let end = ends.find(|(end, at)| {
            let kept = self.rule(*end).ends.get(*at as usize).is_some_and(|(_, kept)| kept.contains(&index));
            view.counts(*end) && !kept
        });
        end.map_or(Finding::Counts, |(end, _)| Finding::Cut(*end))
    }

    /// Whether a document commit, made with `standing` on top of `closure`, counts in `view`.
    pub(super) fn judge_document(
        &self,
        commit: (&AuthorId, Place),
        closure: &Bits,
        strength: Strength,
        via: Via,
        view: View<'_>,
    ) -> Finding {
        let rank = Rank::made(strength, via);
        if let Some(keep) = self.cut_by(commit, closure, (rank, via), None, view) {
            return Finding::Cut(keep);
        }
        match self.standing(commit.0, closure, view, Some(Key::commit(rank))) {
            Some(standing) if standing.permission.may_write() && standing.rank() == rank => Finding::Counts,
            _ => Finding::Changed,
        }
    }

    /// After `index`, the newest of `within`, has joined: judges it and all whose verdict it changes. Returns whether
    /// it counts and which others have changed sides. `void` must be right for `within` without `index`.
    pub(super) fn settle(&self, index: u32, within: &Bits, void: &mut Bits) -> (bool, Vec<u32>) {
        if self.judge_rule(index, View { within, void }) != Finding::Counts {
            void.insert(index);
            return (false, Vec::new());
        }
        let (mut open, mut changed) = (BTreeSet::new(), Vec::new());
        if self.rule(index).voids() {
            self.push_dependents(index, within, &mut open);
        }
        // Keys only grow here, so whatever is taken out has everything it depends on settled.
        while let Some((_, next)) = open.pop_first() {
            let view = View { within, void };
            if (self.judge_rule(next, view) == Finding::Counts) != view.counts(next) {
                void.flip(next);
                changed.push(next);
                self.push_dependents(next, within, &mut open);
            }
        }
        (true, changed)
    }

    fn push_dependents(&self, of: u32, within: &Bits, open: &mut BTreeSet<(Key, u32)>) {
        let rule = self.rule(of);
        let mut push = |index: u32| {
            let key = self.rule(index).key;
            if key.cmp(&rule.key) == Ordering::Greater && within.contains(index) {
                open.insert((key, index));
            }
        };
        for subject in concerns(rule) {
            let of = |author| self.by_author.get(author).into_iter().flatten().copied();
            match subject {
                Subject::Key(author) => of(&author).for_each(&mut push),
                Subject::Anyone => (0..self.len()).for_each(&mut push),
                Subject::Space(space) => self.enrolled_by(&space).flat_map(of).for_each(&mut push),
            }
        }
        for (invite, _) in &rule.ends {
            self.redeems_of(*invite).iter().copied().for_each(&mut push);
        }
        for (at, operator) in (0..).zip(&rule.operators) {
            if matches!(operator, RuleOperator::Invite { .. }) {
                self.redeems_of((of, at)).iter().copied().for_each(&mut push);
            }
        }
    }
}

/// Whose commits may be judged differently when this rule commit begins or ceases to count. A cut is part of a
/// statement about the same subject, so the statements name everybody; and a withdrawal is about one key.
pub(super) fn concerns(rule: &Rule) -> impl Iterator<Item = Subject> + '_ {
    let withdrawn = match rule.act {
        Act::Withdraw(Withdrawal { key, .. }) => Some(Subject::Key(key)),
        _ => None,
    };
    rule.statements.iter().map(|(subject, _)| *subject).chain(withdrawn)
}
