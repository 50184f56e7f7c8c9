//! The definition of docs/rules.md written plainly: every set is walked, every verdict computed from nothing.
//!
//! For tests, as the reference that the incremental rules must agree with; quadratic and worse. It shares only the
//! rule operators and the invite proof with them.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::graph;
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::rules::{Level, Permission, RuleOperator, Subject, invite};

/// A commit with everything that a verdict depends on.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// Who signed it.
    pub author: AuthorId,
    /// Its time. No verdict looks at it.
    pub time: Timestamp,
    /// The author's commit before it.
    pub previous: Option<CommitId>,
    /// All parents, `previous` included. Empty in a genesis.
    pub parents: Vec<CommitId>,
    /// What a rule commit says; `None` for a document commit.
    pub operators: Option<Vec<RuleOperator>>,
}

/// Which of a set of commits are admitted, and which of these count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Those that count among their own ancestors and themselves.
    pub admitted: BTreeSet<CommitId>,
    /// Those that count among all that were admitted.
    pub counting: BTreeSet<CommitId>,
}

type Set = BTreeSet<CommitId>;
// Genesis -1, then the strengths, then whoever has nothing.
const GENESIS: i64 = -1;
const NOTHING: i64 = i64::MAX;

/// What a commit has for ever: its strength, and whether its author had it as anyone.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Made {
    strength: i64,
    as_anyone: bool,
}

struct Space<'a> {
    id: SpaceId,
    commits: BTreeMap<CommitId, &'a Commit>,
    above: BTreeMap<CommitId, Set>,
    made: BTreeMap<CommitId, Made>,
}

/// Judges a set of commits that holds one genesis, in whatever order they stand.
pub fn judge(commits: &[Commit]) -> Judgement {
    let Some(genesis) = commits.iter().find(|commit| commit.parents.is_empty()) else {
        return Judgement::default();
    };
    let by_id: BTreeMap<_, _> = commits.iter().map(|commit| (commit.id, commit)).collect();
    let parents = |id: &CommitId| by_id.get(id).map_or(Vec::new(), |commit| commit.parents.clone());
    let order = graph::topological(&by_id.keys().copied().collect(), parents);
    let above = order.iter().map(|id| (*id, graph::ancestors([*id], parents))).collect();
    let mut space = Space { id: genesis.id.into(), commits: by_id, above, made: BTreeMap::new() };
    let mut admitted = Set::new();
    for id in order {
        let past = &space.above[&id];
        if past.is_subset(&admitted)
            && let Some(made) = space.admit(space.commits[&id], past)
        {
            space.made.insert(id, made);
            admitted.insert(id);
        }
    }
    Judgement { counting: space.verdicts(&admitted), admitted }
}

impl Space<'_> {
    /// The pure function: which of a set, closed under ancestors, count in it.
    fn verdicts(&self, set: &Set) -> Set {
        let (rules, documents): (Vec<_>, Vec<_>) =
            set.iter().map(|id| self.commits[id]).partition(|commit| commit.operators.is_some());
        let mut counting = Set::new();
        let keys: BTreeSet<_> = rules.iter().map(|rule| self.key(rule)).collect();
        for key in keys {
            let same: Vec<_> = rules.iter().filter(|rule| self.key(rule) == key).collect();
            let counts: Vec<_> = same.iter().filter(|rule| self.counts(rule, &counting)).collect();
            counting.extend(counts.into_iter().map(|rule| rule.id));
        }
        let counts: Vec<_> = documents.into_iter().filter(|x| self.counts(x, &counting)).collect();
        counting.extend(counts.into_iter().map(|document| document.id));
        counting
    }

    /// `counting`: of rule commits, all that count and have a smaller key, and perhaps others.
    fn counts(&self, x: &Commit, counting: &Set) -> bool {
        let made = self.made[&x.id];
        if made.strength == GENESIS {
            return true;
        }
        let earlier: Set =
            counting.iter().filter(|id| self.key(self.commits[*id]) < self.key(x)).copied().collect();
        if earlier.iter().any(|id| self.voids(self.commits[id], x)) {
            return false;
        }
        if let Some((invite, _)) = redemption(x) {
            return earlier.contains(&invite);
        }
        let past: Set = self.above[&x.id].intersection(&earlier).copied().collect();
        let need = if x.operators.is_some() { Level::Admin } else { Level::Write };
        self.standing(&x.author, &past).is_some_and(|(permission, _)| {
            permission.level() >= need && i64::from(permission.strength().0) == made.strength
        })
    }

    /// Whether a keep, or the end of an invite, in `k` leaves `x` out.
    fn voids(&self, k: &Commit, x: &Commit) -> bool {
        operators(k).iter().any(|operator| match operator {
            RuleOperator::Grant { subject, keep: Some(keep), .. } => {
                let made = self.made[&x.id];
                let about = match subject {
                    Subject::Key(author) => *author == x.author,
                    Subject::Anyone => made.as_anyone,
                };
                let kept = keep.iter().any(|kept| self.chain(*kept).contains(&x.id));
                about
                    && made.strength > self.made[&k.id].strength
                    && !kept
                    && !self.above[&x.id].contains(&k.id)
            }
            RuleOperator::EndInvite { invite, index, keep } => {
                redemption(x) == Some((*invite, *index)) && !keep.contains(&x.id)
            }
            _ => false,
        })
    }

    /// A commit and its author's own chain below it.
    fn chain(&self, of: CommitId) -> Set {
        let mut chain = Set::new();
        let mut next = Some(of);
        while let Some(id) = next {
            chain.insert(id);
            next = self.commits.get(&id).and_then(|commit| commit.previous);
        }
        chain
    }

    fn key(&self, x: &Commit) -> (i64, u8) {
        (self.made[&x.id].strength, u8::from(redemption(x).is_none()))
    }

    /// What `author` may do by the rule commits of `past`, all of which count, and whether it has it as anyone.
    fn standing(&self, author: &AuthorId, past: &Set) -> Option<(Permission, bool)> {
        match self.said(Subject::Key(*author), past) {
            Some(said) => said.map(|permission| (permission, false)),
            None => self.said(Subject::Anyone, past)?.map(|permission| (permission, true)),
        }
    }

    fn said(&self, subject: Subject, past: &Set) -> Option<Option<Permission>> {
        let mut said = BTreeMap::new();
        for id in past {
            for operator in operators(self.commits[id]) {
                if let Some(permission) = self.statement(self.commits[id], operator, subject) {
                    said.insert(*id, permission);
                }
            }
        }
        let last = said.iter().filter(|(id, _)| !said.keys().any(|other| self.above[other].contains(id)));
        last.map(|(_, permission)| *permission).reduce(|a, b| match (a, b) {
            (Some(a), Some(b)) => Some(a.weakest(b)),
            _ => None,
        })
    }

    fn statement(
        &self,
        by: &Commit,
        operator: &RuleOperator,
        subject: Subject,
    ) -> Option<Option<Permission>> {
        match operator {
            RuleOperator::Grant { subject: about, permission, .. } if *about == subject => Some(*permission),
            RuleOperator::Redeem { invite, index, .. } if subject == Subject::Key(by.author) => {
                Some(Some(self.invite(*invite, *index)?.1))
            }
            _ => None,
        }
    }

    fn invite(&self, id: CommitId, index: u32) -> Option<(&[u8; 32], Permission, Option<u32>)> {
        match operators(self.commits.get(&id)?).get(index as usize)? {
            RuleOperator::Invite { key, permission, uses, .. } => Some((key, *permission, *uses)),
            _ => None,
        }
    }

    /// What a commit has for ever if it is admitted on top of `past`.
    fn admit(&self, x: &Commit, past: &Set) -> Option<Made> {
        if x.id.0 == self.id.0 {
            return Some(Made { strength: GENESIS, as_anyone: false });
        }
        let counting = self.verdicts(past);
        if let Some((invite, index)) = redemption(x) {
            return self.admit_redeem(x, invite, index, past, &counting);
        }
        let (permission, as_anyone) = self.standing(&x.author, &counting)?;
        let made = Made { strength: i64::from(permission.strength().0), as_anyone };
        let allowed = match &x.operators {
            None => permission.may_write(),
            Some(operators) => {
                let may = |operator| self.may(operator, made.strength, past, &counting);
                permission.level() == Level::Admin && operators.iter().all(may)
            }
        };
        allowed.then_some(made)
    }

    fn may(&self, operator: &RuleOperator, strength: i64, past: &Set, counting: &Set) -> bool {
        let weaker = |permission: Option<Permission>| {
            permission.map_or(NOTHING, |permission| i64::from(permission.strength().0)) > strength
        };
        match operator {
            RuleOperator::Grant { subject, permission, keep } => {
                let present = match subject {
                    Subject::Key(author) => self.standing(author, counting).map(|(present, _)| present),
                    Subject::Anyone => self.said(Subject::Anyone, counting).flatten(),
                };
                let weakens = present.is_some_and(|present| present.is_weakened_by(*permission));
                let of_subject = |author: AuthorId| match subject {
                    Subject::Key(key) => *key == author,
                    Subject::Anyone => self.said(Subject::Key(author), counting).is_none(),
                };
                let fits = |kept: &CommitId| past.contains(kept) && of_subject(self.commits[kept].author);
                weaker(present)
                    && weaker(*permission)
                    && (keep.is_some() || !weakens)
                    && keep.iter().flatten().all(fits)
            }
            RuleOperator::Invite { permission, .. } => weaker(Some(*permission)),
            RuleOperator::EndInvite { invite, index, keep } => {
                let ours = |kept: &CommitId| {
                    past.contains(kept) && redemption(self.commits[kept]) == Some((*invite, *index))
                };
                past.contains(invite)
                    && self.invite(*invite, *index).is_some_and(|(_, permission, _)| weaker(Some(permission)))
                    && keep.iter().all(ours)
            }
            RuleOperator::Redeem { .. } => false,
            _ => true,
        }
    }

    fn admit_redeem(&self, x: &Commit, id: CommitId, index: u32, past: &Set, counting: &Set) -> Option<Made> {
        let [RuleOperator::Redeem { proof, .. }] = operators(x) else { return None };
        let (key, permission, uses) = counting.contains(&id).then(|| self.invite(id, index))??;
        let redeemed = past.iter().filter(|other| redemption(self.commits[*other]) == Some((id, index)));
        let ended = counting.iter().flat_map(|id| operators(self.commits[id])).any(|operator| {
            matches!(operator, RuleOperator::EndInvite { invite, index: at, .. } if (*invite, *at) == (id, index))
        });
        let open = !ended
            && uses.is_none_or(|uses| redeemed.count() < uses as usize)
            && self.said(Subject::Key(x.author), past).is_none()
            && invite::verify(key, &self.id, &id, &x.author, proof);
        open.then_some(Made { strength: i64::from(permission.strength().0), as_anyone: false })
    }
}

fn operators(commit: &Commit) -> &[RuleOperator] {
    commit.operators.as_deref().unwrap_or_default()
}

fn redemption(commit: &Commit) -> Option<(CommitId, u32)> {
    match operators(commit) {
        [RuleOperator::Redeem { invite, index, .. }] => Some((*invite, *index)),
        _ => None,
    }
}
