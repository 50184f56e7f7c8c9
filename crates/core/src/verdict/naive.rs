//! The definition of docs/rules.md written plainly: every set is walked, every verdict computed from nothing.
//!
//! For tests, as the reference that the incremental rules must agree with; quadratic and worse. It shares only the
//! rule operators, the invite proof and the reading of what a proof shows with them.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::graph;
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::rules::{Level, Permission, RuleOperator, Shown, Subject, invite};
use crate::verdict::read_proof;

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
// What is stated here, then what is stated inside another space; 0 where no other space is between.
type Rank = (i64, i64);
// Genesis -1, then the strengths, then whoever has nothing.
const GENESIS: Rank = (-1, 0);
const NOTHING: Rank = (i64::MAX, 0);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Via {
    Key,
    Anyone,
    Space,
}

/// What somebody may do somewhere, and how that came about.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Right {
    level: Level,
    rank: Rank,
    via: Via,
}

/// What a commit has for ever.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Made {
    rank: Rank,
    via: Via,
    // What an enrolment gives, or a withdrawal leaves.
    right: Option<Right>,
    // The other space of an enrolment or a withdrawal.
    space: Option<SpaceId>,
}

struct Space<'a> {
    id: SpaceId,
    commits: BTreeMap<CommitId, &'a Commit>,
    above: BTreeMap<CommitId, Set>,
    made: BTreeMap<CommitId, Made>,
    // Those that nobody may keep: they contradict what they stand on.
    unsound: Set,
}

/// Judges a set of commits that holds one genesis, in whatever order they stand.
pub fn judge(commits: &[Commit]) -> Judgement {
    let Some(genesis) = commits.iter().find(|commit| commit.parents.is_empty()) else {
        return Judgement::default();
    };
    let (mut space, order) = Space::of(genesis.id.into(), commits, Set::new());
    let mut admitted = Set::new();
    for id in order {
        let past = &space.above[&id];
        if past.is_subset(&admitted)
            && let Some(made) = space.admit(space.commits[&id], past, past)
        {
            space.made.insert(id, made);
            admitted.insert(id);
        }
    }
    Judgement { counting: space.verdicts(&admitted), admitted }
}

impl<'a> Space<'a> {
    fn of(id: SpaceId, commits: &'a [Commit], unsound: Set) -> (Self, Vec<CommitId>) {
        let by_id: BTreeMap<_, _> = commits.iter().map(|commit| (commit.id, commit)).collect();
        let parents = |id: &CommitId| by_id.get(id).map_or(Vec::new(), |commit| commit.parents.clone());
        let order = graph::topological(&by_id.keys().copied().collect(), parents);
        let above = order.iter().map(|id| (*id, graph::ancestors([*id], parents))).collect();
        (Self { id, commits: by_id, above, made: BTreeMap::new(), unsound }, order)
    }

    /// The pure function: which of a set, closed under ancestors, count in it.
    fn verdicts(&self, set: &Set) -> Set {
        let (rules, documents): (Vec<_>, Vec<_>) =
            set.iter().map(|id| self.commits[id]).partition(|commit| commit.operators.is_some());
        let mut counting = Set::new();
        let mut keys: Vec<_> = rules.iter().map(|rule| self.key(rule)).collect();
        keys.sort_unstable();
        keys.dedup();
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
        if made.rank == GENESIS {
            return true;
        }
        let earlier: Set =
            counting.iter().filter(|id| self.key(self.commits[*id]) < self.key(x)).copied().collect();
        if earlier.iter().any(|id| self.voids(self.commits[id], x)) {
            return false;
        }
        if let Some((named, _)) = redemption(x).or(enrolment(x)) {
            return earlier.contains(&named);
        }
        let past: Set = self.above[&x.id].intersection(&earlier).copied().collect();
        let need = match operators(x) {
            [RuleOperator::Withdraw { .. }] => Level::Read,
            _ if x.operators.is_some() => Level::Admin,
            _ => Level::Write,
        };
        self.standing(&x.author, &past).is_some_and(|right| right.level >= need && right.rank == made.rank)
    }

    /// Whether a keep, or the end of an invite, in `k` leaves `x` out.
    fn voids(&self, k: &Commit, x: &Commit) -> bool {
        let (made, by) = (self.made[&x.id], self.made[&k.id]);
        let through = |space| made.via == Via::Space && self.came_through(space, x);
        let cut = |about: bool, keep: &[CommitId]| {
            let kept = keep.iter().any(|kept| self.chain(*kept).contains(&x.id));
            about && made.rank > by.rank && !kept && !self.above[&x.id].contains(&k.id)
        };
        operators(k).iter().any(|operator| match operator {
            RuleOperator::Grant { subject, keep: Some(keep), .. } => {
                let about = match subject {
                    Subject::Key(author) => *author == x.author,
                    Subject::Anyone => made.via == Via::Anyone,
                    Subject::Space(space) => through(*space),
                };
                cut(about, keep)
            }
            RuleOperator::Withdraw { space, key, keep, .. } => cut(*key == x.author && through(*space), keep),
            RuleOperator::EndInvite { invite, index, keep } => {
                redemption(x) == Some((*invite, *index)) && !keep.contains(&x.id)
            }
            _ => false,
        })
    }

    /// Whether the author of `x` enrolled by a space, at `x` or before it.
    fn came_through(&self, space: SpaceId, x: &Commit) -> bool {
        let past = &self.above[&x.id];
        past.iter().chain([&x.id]).any(|id| self.enrols(id, space, &x.author))
    }

    fn enrols(&self, id: &CommitId, space: SpaceId, author: &AuthorId) -> bool {
        let commit = self.commits[id];
        commit.author == *author
            && enrolment(commit).is_some()
            && self.made.get(id).is_some_and(|made| made.space == Some(space))
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

    fn key(&self, x: &Commit) -> (Rank, u8) {
        (self.made[&x.id].rank, u8::from(redemption(x).or(enrolment(x)).is_none()))
    }

    /// What `author` may do by the rule commits of `past`, all of which count.
    fn standing(&self, author: &AuthorId, past: &Set) -> Option<Right> {
        match self.said(Subject::Key(*author), past) {
            Some(said) => said,
            None => Some(Right { via: Via::Anyone, ..self.said(Subject::Anyone, past)?? }),
        }
    }

    fn said(&self, subject: Subject, past: &Set) -> Option<Option<Right>> {
        let mut said = BTreeMap::new();
        for id in past {
            for operator in operators(self.commits[id]) {
                if let Some(right) = self.statement(self.commits[id], operator, subject, past) {
                    said.insert(*id, right);
                }
            }
        }
        self.last(&said)
    }

    /// The causally last of what commits say; of concurrent ones the weakest.
    fn last(&self, said: &BTreeMap<CommitId, Option<Right>>) -> Option<Option<Right>> {
        let last = said.iter().filter(|(id, _)| !said.keys().any(|other| self.above[other].contains(id)));
        last.map(|(_, right)| *right).reduce(|a, b| Some(a?.weakest(b?)))
    }

    fn statement(
        &self,
        by: &Commit,
        operator: &RuleOperator,
        subject: Subject,
        past: &Set,
    ) -> Option<Option<Right>> {
        match operator {
            RuleOperator::Grant { subject: about, permission, .. } if *about == subject => {
                Some(permission.map(Right::of))
            }
            RuleOperator::Redeem { invite, index, .. } if subject == Subject::Key(by.author) => {
                Some(Some(Right::of(self.invite(*invite, *index)?.1)))
            }
            RuleOperator::Enrol { .. } if subject == Subject::Key(by.author) => Some(self.left_of(by, past)),
            _ => None,
        }
    }

    /// What an enrolment gives in `past`: at most what holds there for its space, and at most what each withdrawal
    /// leaves that is not among its ancestors.
    fn left_of(&self, enrol: &Commit, past: &Set) -> Option<Right> {
        let made = self.made[&enrol.id];
        let bound = self.said(Subject::Space(made.space?), past)??;
        let mut left = made.right?.bounded(bound);
        for id in past.difference(&self.above[&enrol.id]) {
            if withdrawal(self.commits[id]) == Some((made.space?, enrol.author)) {
                left = left.weakest(self.made[id].right?);
            }
        }
        Some(left)
    }

    fn invite(&self, id: CommitId, index: u32) -> Option<(&[u8; 32], Permission, Option<u32>)> {
        match operators(self.commits.get(&id)?).get(index as usize)? {
            RuleOperator::Invite { key, permission, uses, .. } => Some((key, *permission, *uses)),
            _ => None,
        }
    }

    /// What a commit has for ever if it is admitted on top of `past`; `below` are all its ancestors, of another space
    /// also those that its rules passed over.
    fn admit(&self, x: &Commit, past: &Set, below: &Set) -> Option<Made> {
        if x.id.0 == self.id.0 {
            return Some(Made { rank: GENESIS, via: Via::Key, right: None, space: None });
        }
        let counting = self.verdicts(past);
        match operators(x) {
            [RuleOperator::Redeem { invite, index, .. }] => {
                return self.admit_redeem(x, *invite, *index, past, &counting);
            }
            [RuleOperator::Enrol { grant, index, proof }] => {
                return self.admit_enrol(x, *grant, *index, proof, past, &counting);
            }
            [RuleOperator::Withdraw { space, key, proof, keep }] => {
                return self.admit_withdraw(x, (*space, *key), proof, keep, past, &counting);
            }
            _ => {}
        }
        let right = self.standing(&x.author, &counting)?;
        let allowed = match &x.operators {
            None => right.level >= Level::Write,
            Some(operators) => {
                let may = |operator| self.may(operator, right.rank, (past, below), &counting);
                right.level == Level::Admin && operators.iter().all(may)
            }
        };
        allowed.then_some(Made { rank: right.rank, via: right.via, right: None, space: None })
    }

    fn may(&self, operator: &RuleOperator, rank: Rank, (past, below): (&Set, &Set), counting: &Set) -> bool {
        let weaker = |right: Option<Right>| right.map_or(NOTHING, |right| right.rank) > rank;
        match operator {
            RuleOperator::Grant { subject, permission, keep } => {
                let present = match subject {
                    Subject::Key(author) => self.standing(author, counting),
                    Subject::Anyone | Subject::Space(_) => self.said(*subject, counting).flatten(),
                };
                let next = permission.map(Right::of);
                let weakens = present.is_some_and(|present| {
                    next.is_none_or(|next| next.level < present.level || next.rank > present.rank)
                });
                let of_subject = |author: AuthorId| match subject {
                    Subject::Key(key) => *key == author,
                    Subject::Anyone => self.said(Subject::Key(author), counting).is_none(),
                    Subject::Space(space) => past.iter().any(|id| self.enrols(id, *space, &author)),
                };
                let fits = |kept: &CommitId| {
                    below.contains(kept)
                        && !self.unsound.contains(kept)
                        && of_subject(self.commits[kept].author)
                };
                weaker(present)
                    && weaker(next)
                    && (keep.is_some() || !weakens)
                    && keep.iter().flatten().all(fits)
            }
            RuleOperator::Invite { permission, .. } => weaker(Some(Right::of(*permission))),
            RuleOperator::EndInvite { invite, index, keep } => {
                let ours = |kept: &CommitId| {
                    past.contains(kept) && redemption(self.commits[kept]) == Some((*invite, *index))
                };
                let gives = self.invite(*invite, *index).map(|(_, permission, _)| Right::of(permission));
                past.contains(invite) && gives.is_some() && weaker(gives) && keep.iter().all(ours)
            }
            RuleOperator::Redeem { .. } | RuleOperator::Enrol { .. } | RuleOperator::Withdraw { .. } => false,
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
        let named = past.iter().any(|id| self.names(id, &x.author));
        let open = !ended
            && uses.is_none_or(|uses| redeemed.count() < uses as usize)
            && !named
            && invite::verify(key, &self.id, &id, &x.author, proof);
        let rank = Right::of(permission).rank;
        open.then_some(Made { rank, via: Via::Key, right: None, space: None })
    }

    /// Whether a commit says something about a key, counting or not.
    fn names(&self, id: &CommitId, author: &AuthorId) -> bool {
        let by = self.commits[id];
        operators(by).iter().any(|operator| match operator {
            RuleOperator::Grant { subject, .. } => *subject == Subject::Key(*author),
            RuleOperator::Redeem { .. } | RuleOperator::Enrol { .. } => by.author == *author,
            _ => false,
        })
    }

    fn admit_enrol(
        &self,
        x: &Commit,
        grant: CommitId,
        index: u32,
        proof: &[Shown],
        past: &Set,
        counting: &Set,
    ) -> Option<Made> {
        let operators = operators(self.commits.get(&grant).filter(|_| counting.contains(&grant))?);
        let RuleOperator::Grant { subject: Subject::Space(space), permission: Some(given), .. } =
            operators.get(index as usize)?
        else {
            return None;
        };
        let (space, subject) = (*space, Subject::Space(*space));
        let about = |operator: &RuleOperator| matches!(operator, RuleOperator::Grant { subject: other, .. } if *other == subject);
        let later = counting.iter().filter(|id| self.above[*id].contains(&grant));
        let holds = !operators.iter().skip(index as usize + 1).any(about)
            && !later.flat_map(|id| self::operators(self.commits[id])).any(about);
        let stranger = |id: &CommitId| self.names(id, &x.author) && !self.enrols(id, space, &x.author);
        let withdrawn = |id: &CommitId| {
            withdrawal(self.commits[id]) == Some((space, x.author)) && self.made[id].right.is_none()
        };
        if !holds || past.iter().any(stranger) || past.iter().any(withdrawn) {
            return None;
        }
        let (_, inside) = self.inside(space, &x.author, proof, past)?;
        let (given, inside) = (Right::of(*given), inside?);
        let mut right = Right { level: given.level.min(inside.level), rank: given.rank, via: Via::Space };
        if right.level == Level::Read {
            right.rank = Right::of(Permission::Read).rank;
        }
        right.rank.1 = inside.rank.0 + 1;
        let bound = self.said(subject, counting)??;
        let changes = self.standing(&x.author, counting) != Some(right.bounded(bound));
        changes.then_some(Made { rank: right.rank, via: Via::Space, right: Some(right), space: Some(space) })
    }

    fn admit_withdraw(
        &self,
        x: &Commit,
        (space, key): (SpaceId, AuthorId),
        proof: &[Shown],
        keep: &[CommitId],
        past: &Set,
        counting: &Set,
    ) -> Option<Made> {
        let by = self.standing(&x.author, counting).filter(|right| right.via != Via::Anyone)?;
        let granted = self.said(Subject::Space(space), counting)??;
        let (is_named, inside) = self.inside(space, &key, proof, past)?;
        let enrolled: BTreeMap<_, _> = counting
            .iter()
            .filter(|id| self.enrols(id, space, &key))
            .map(|id| (*id, self.left_of(self.commits[id], counting)))
            .collect();
        let (rank, left) = match self.last(&enrolled) {
            Some(now) => {
                let now = now?;
                let left = inside.map(|inside| Right {
                    level: now.level.min(inside.level),
                    rank: (now.rank.0, now.rank.1.max(inside.rank.0 + 1)),
                    via: Via::Space,
                });
                let left = left.map(Right::as_reader);
                (left != Some(now)).then_some((now.rank, left))?
            }
            None => {
                let before = counting.iter().any(|id| withdrawal(self.commits[id]) == Some((space, key)));
                let weakest = (granted.rank.0, Right::of(Permission::Read).rank.0 + 1);
                (inside.is_none() && !before).then_some((weakest, None))?
            }
        };
        let fits = |kept: &CommitId| past.contains(kept) && self.commits[kept].author == key;
        let allowed = is_named && rank > by.rank && keep.iter().all(fits);
        allowed.then_some(Made { rank: by.rank, via: by.via, right: left, space: Some(space) })
    }

    /// Whether another space names a key, and what it gives the key, as far as was shown below and by this proof.
    fn inside(
        &self,
        space: SpaceId,
        key: &AuthorId,
        proof: &[Shown],
        past: &Set,
    ) -> Option<(bool, Option<Right>)> {
        let granted = |id: &CommitId| {
            operators(self.commits[id]).iter().any(|operator| {
                matches!(operator, RuleOperator::Grant { subject, .. } if *subject == Subject::Space(space))
            })
        };
        let mut known: BTreeMap<CommitId, Commit> = BTreeMap::new();
        // What was admitted has shown nothing without what it stands on.
        for id in past {
            let shown = match operators(self.commits[id]) {
                [RuleOperator::Enrol { proof, .. }] if self.made[id].space == Some(space) => proof,
                [RuleOperator::Withdraw { space: other, proof, .. }] if *other == space => proof,
                _ => continue,
            };
            let revealed = read_proof(&space, shown, &|_| true).ok()?;
            known.extend(revealed.into_iter().map(|revealed| (revealed.id, revealed.into())));
        }
        let revealed = read_proof(&space, proof, &|id| known.contains_key(id)).ok()?;
        known.extend(revealed.into_iter().map(|revealed| (revealed.id, revealed.into())));
        let commits: Vec<Commit> = known.into_values().collect();
        let mut unsound = Set::new();
        for commit in &commits {
            let find = |id: &CommitId| commits.iter().find(|other| other.id == *id);
            let late = commit.parents.iter().filter_map(find).any(|parent| parent.time >= commit.time);
            if late || commit.previous.and_then(|id| find(&id)).is_some_and(|it| it.author != commit.author) {
                unsound.insert(commit.id);
            }
        }
        let (mut other, order) = Space::of(space, &commits, unsound);
        let mut admitted = Set::new();
        for id in order {
            let below = &other.above[&id];
            let past: Set = below.intersection(&admitted).copied().collect();
            let commit = other.commits[&id];
            if commit.operators.is_some()
                && !other.unsound.contains(&id)
                && let Some(made) = other.admit(commit, &past, below)
            {
                other.made.insert(id, made);
                admitted.insert(id);
            }
        }
        let counting = other.verdicts(&admitted);
        let named = admitted.iter().any(|id| other.names(id, key));
        past.iter().any(granted).then_some((named, other.said(Subject::Key(*key), &counting).flatten()))
    }
}

impl Right {
    fn of(permission: Permission) -> Self {
        let rank = (i64::from(permission.strength().0), 0);
        Self { level: permission.level(), rank, via: Via::Key }
    }

    fn weakest(self, other: Self) -> Self {
        let weaker = if self.rank >= other.rank { self } else { other };
        Self { level: self.level.min(other.level), ..weaker }.as_reader()
    }

    /// At most what a grant about the space gives; the place inside the space stays.
    fn bounded(self, bound: Self) -> Self {
        let rank = (self.rank.0.max(bound.rank.0), self.rank.1);
        Self { level: self.level.min(bound.level), rank, via: self.via }.as_reader()
    }

    /// A reader has the weakest strength here.
    fn as_reader(self) -> Self {
        match self.level {
            Level::Read => Self { rank: (Self::of(Permission::Read).rank.0, self.rank.1), ..self },
            Level::Write | Level::Admin => self,
        }
    }
}

impl From<super::Revealed> for Commit {
    fn from(revealed: super::Revealed) -> Self {
        let super::Revealed { id, author, time, previous, parents, operators, .. } = revealed;
        Self { id, author, time, previous, parents, operators }
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

fn enrolment(commit: &Commit) -> Option<(CommitId, u32)> {
    match operators(commit) {
        [RuleOperator::Enrol { grant, index, .. }] => Some((*grant, *index)),
        _ => None,
    }
}

fn withdrawal(commit: &Commit) -> Option<(SpaceId, AuthorId)> {
    match operators(commit) {
        [RuleOperator::Withdraw { space, key, .. }] => Some((*space, *key)),
        _ => None,
    }
}
