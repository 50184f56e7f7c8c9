//! The definition of `verdicts`, over tables of all rule commits: standing, what a keep voids, what counts.
//!
//! Every judgement looks only at counting commits of a strictly smaller key, so nothing ever waits for itself. It
//! takes no notice of time or of the order of arrival. `naive` says the same plainly; tests compare the two.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::bits::Bits;
use super::chains::{Place, Reach};
use super::frontier::FrontierId;
use crate::clock::Timestamp;
use crate::id::{AuthorId, CommitId};
use crate::rules::{Level, Permission, RuleOperator, Strength, Subject};

/// The strength of a commit, on one scale with genesis (stronger than 0) and strangers (weaker than everything).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(i64);

impl Rank {
    pub(super) const GENESIS: Self = Self(-1);
    pub(super) const STRANGER: Self = Self(i64::MAX);

    pub(super) fn of(permission: Option<Permission>) -> Self {
        permission.map_or(Self::STRANGER, |permission| permission.strength().into())
    }

    pub(super) fn strength(self) -> Option<Strength> {
        u32::try_from(self.0).ok().map(Strength)
    }
}

impl From<Strength> for Rank {
    fn from(strength: Strength) -> Self {
        Self(i64::from(strength.0))
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
}

/// What holds for an author somewhere in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// What the author may do.
    pub permission: Permission,
    /// Which kind of statement says so.
    pub via: Via,
}

/// An invite: the rule commit and the place among its operators.
pub(super) type InviteAt = (u32, u32);

/// What one keep leaves of a subject: per author, since anyone can be many.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) subject: Subject,
    pub(super) kept: HashMap<AuthorId, Reach>,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    Genesis,
    /// With the level and the strength its author had.
    Statement,
    Redeem(InviteAt),
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
    pub(super) statements: Vec<(Subject, Option<Permission>)>,
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
    statements: HashMap<Subject, Vec<(u32, Option<Permission>)>>,
    cuts: HashMap<Subject, Vec<(u32, u32)>>,
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
        for (subject, permission) in &rule.statements {
            self.statements.entry(*subject).or_default().push((index, *permission));
        }
        for (at, cut) in (0..).zip(&rule.cuts) {
            self.cuts.entry(cut.subject).or_default().push((index, at));
        }
        for (at, (invite, _)) in (0..).zip(&rule.ends) {
            self.ends.entry(*invite).or_default().push((index, at));
        }
        if let Act::Redeem(invite) = rule.act {
            self.redeems.entry(invite).or_default().push(index);
        }
        if rule.voids() {
            self.voiders.insert(index);
        }
        self.rules.push(rule);
        index
    }

    /// What is said about a subject in `closure`: the causally last, of concurrent ones the weakest. The outer option
    /// is whether anything is said. Only counting commits of `view` below `key` are heard.
    pub(super) fn said(
        &self,
        subject: Subject,
        closure: &Bits,
        view: View<'_>,
        key: Option<Key>,
    ) -> Option<Option<Permission>> {
        let mut result = None;
        self.each_said(subject, closure, view, key, |_, permission| {
            result = Some(match result {
                None => permission,
                Some(other) => Option::zip(other, permission).map(|(a, b): (Permission, _)| a.weakest(b)),
            });
        });
        result
    }

    /// Each statement about a subject that holds in `closure`, the newest first: several only if they are concurrent.
    pub(super) fn each_said(
        &self,
        subject: Subject,
        closure: &Bits,
        view: View<'_>,
        key: Option<Key>,
        mut heard: impl FnMut(u32, Option<Permission>),
    ) {
        let Some(about) = self.statements.get(&subject) else { return };
        let (mut last, mut covered) = (None::<u32>, None::<Bits>);
        // From the newest: what an accepted statement has below it is superseded.
        for (index, permission) in about.iter().rev() {
            let counts = closure.contains(*index)
                && view.counts(*index)
                && key.is_none_or(|key| self.rule(*index).key < key);
            let superseded = match (&covered, last) {
                (Some(covered), _) => covered.contains(*index),
                (None, Some(last)) => self.rule(last).ancestors.contains(*index),
                (None, None) => false,
            };
            if !counts || superseded {
                continue;
            }
            heard(*index, *permission);
            match last {
                None => last = Some(*index),
                Some(last) => covered
                    .get_or_insert_with(|| (*self.rule(last).ancestors).clone())
                    .union(&self.rule(*index).ancestors),
            }
        }
    }

    /// The statements about a subject in the order they came, whatever became of them.
    pub(super) fn about(&self, subject: &Subject) -> &[(u32, Option<Permission>)] {
        self.statements.get(subject).map_or(&[], Vec::as_slice)
    }

    /// What holds for an author: a statement about the key beats one about anyone, also if it says `none`.
    pub(super) fn standing(
        &self,
        author: &AuthorId,
        closure: &Bits,
        view: View<'_>,
        key: Option<Key>,
    ) -> Option<Standing> {
        let (said, via) = match self.said(Subject::Key(*author), closure, view, key) {
            Some(said) => (said, Via::Key),
            None => (self.said(Subject::Anyone, closure, view, key).flatten(), Via::Anyone),
        };
        said.map(|permission| Standing { permission, via })
    }

    /// The counting keep that voids a commit of `author`, if there is one. `ancestors` are the commit's.
    fn cut_by(
        &self,
        (author, place): (&AuthorId, Place),
        ancestors: &Bits,
        rank: Rank,
        via: Via,
        view: View<'_>,
    ) -> Option<u32> {
        let about = |subject| self.cuts.get(&subject).into_iter().flatten();
        let anyone = about(Subject::Anyone).filter(|_| via == Via::Anyone);
        let (rule, _) = about(Subject::Key(*author)).chain(anyone).find(|(index, at)| {
            let rule = self.rule(*index);
            let keeps = || rule.cuts.get(*at as usize)?.kept.get(author);
            view.counts(*index)
                && rule.key.0 < rank
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
        if let Some(keep) = self.cut_by((&rule.author, rule.place), &rule.ancestors, rank, rule.via, view) {
            return Finding::Cut(keep);
        }
        let Act::Redeem(invite) = rule.act else {
            let standing = self.standing(&rule.author, &rule.ancestors, view, Some(rule.key));
            let permission = standing.map(|standing| standing.permission);
            let same = permission.is_some_and(|permission| permission.level() == Level::Admin);
            return if same && Rank::of(permission) == rank { Finding::Counts } else { Finding::Changed };
        };
        if !view.counts(invite.0) {
            return Finding::Changed;
        }
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
        let rank = strength.into();
        if let Some(keep) = self.cut_by(commit, closure, rank, via, view) {
            return Finding::Cut(keep);
        }
        match self.standing(commit.0, closure, view, Some(Key::commit(rank))) {
            Some(Standing { permission, .. })
                if permission.may_write() && permission.strength() == strength =>
            {
                Finding::Counts
            }
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
            match subject {
                Subject::Key(author) => {
                    self.by_author.get(&author).into_iter().flatten().copied().for_each(&mut push);
                }
                Subject::Anyone => (0..self.len()).for_each(&mut push),
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
/// statement about the same subject, so the statements name everybody.
pub(super) fn concerns(rule: &Rule) -> impl Iterator<Item = Subject> + '_ {
    rule.statements.iter().map(|(subject, _)| *subject)
}
