//! A replica for tests: what a database does with commits around the rules, and a check of every answer it gets.
//!
//! Each delivery judges all document commits again and compares that with what the `Change` said.
#![allow(dead_code)] // Each test binary uses its part.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use driftless_core::clock::Timestamp;
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Kind as HeaderKind, RuleBody, Vouched};
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::rules::{RuleOperator, Shown};
use driftless_core::sign::{AuthorKey, Domain};
use driftless_core::verdict::naive::{self, Commit, Judgement};
use driftless_core::verdict::{
    Chains, Change, FrontierId, Kept, ParentFrontier, Place, Refusal, RuleCommit, RuleIndex, Rules, Standing,
    Verdict,
};

/// The id that a name stands for in tests.
pub(crate) fn id(name: &str) -> CommitId {
    CommitId(Domain::CommitId.hash(&[name.as_bytes()]))
}

/// The author that a name stands for in tests.
pub(crate) fn author(name: &str) -> AuthorId {
    AuthorId(Domain::Body.hash(&[name.as_bytes()]))
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Rule(RuleIndex),
    Document(FrontierId, Standing),
}

#[derive(Debug, Clone)]
struct Seen {
    author: AuthorId,
    place: Place,
    kind: Kind,
    ancestors: BTreeSet<CommitId>,
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) rules: Rules,
    chains: Chains,
    seen: BTreeMap<CommitId, Seen>,
    extended: HashSet<CommitId>,
    effects: BTreeMap<CommitId, bool>,
    order: Vec<Commit>,
}

impl Replica {
    pub(crate) fn new(genesis: &Commit) -> Result<Self, Refusal> {
        let place = Place { branch: 0, seq: 1 };
        let rules = Rules::new(rule_commit(genesis, place, FrontierId::GENESIS))?;
        let kind = Kind::Rule(RuleIndex(0));
        let seen = Seen { author: genesis.author, place, kind, ancestors: BTreeSet::new() };
        Ok(Self {
            rules,
            chains: Chains::new(),
            seen: BTreeMap::from([(genesis.id, seen)]),
            extended: HashSet::new(),
            effects: BTreeMap::new(),
            order: vec![genesis.clone()],
        })
    }

    pub(crate) fn space(&self) -> SpaceId {
        self.rules.space()
    }

    /// Whether all parents were admitted here.
    pub(crate) fn is_ready_for(&self, commit: &Commit) -> bool {
        commit.parents.iter().all(|parent| self.seen.contains_key(parent))
    }

    pub(crate) fn ancestors(&self, parents: &[CommitId]) -> BTreeSet<CommitId> {
        let below = parents.iter().flat_map(|parent| self.seen[parent].ancestors.iter().copied());
        below.chain(parents.iter().copied()).collect()
    }

    /// The author's newest commits among `ancestors`: one, or several if the author has forked.
    pub(crate) fn own_heads(&self, author: &AuthorId, ancestors: &BTreeSet<CommitId>) -> Vec<CommitId> {
        let own: Vec<_> = ancestors.iter().filter(|id| self.seen[*id].author == *author).copied().collect();
        let below = |id: &CommitId| own.iter().any(|other| self.seen[other].ancestors.contains(id));
        own.iter().filter(|id| !below(id)).copied().collect()
    }

    pub(crate) fn deliver(&mut self, commit: &Commit) -> Result<Change, Refusal> {
        let parents: Vec<_> = commit.parents.iter().map(|parent| &self.seen[parent]).collect();
        let frontiers = parents.iter().map(|parent| match parent.kind {
            Kind::Rule(index) => ParentFrontier::Rule(index),
            Kind::Document(frontier, _) => ParentFrontier::Document(frontier),
        });
        let frontier = self.rules.frontier_of_parents(frontiers)?;
        let ancestors = self.ancestors(&commit.parents);
        let previous = commit.previous.map(|previous| self.seen[&previous].place);
        let seq = previous.map_or(1, |previous| previous.seq + 1);
        let extended = match &commit.previous {
            Some(previous) => self.extended.contains(previous),
            None => self.seen.values().any(|seen| seen.author == commit.author),
        };
        let place = self.chains.place(&commit.author, seq, previous, extended);
        let (kind, change) = match commit.operators {
            None => {
                (Kind::Document(frontier, self.rules.strength_at(frontier, &commit.author)?), Change::Nothing)
            }
            Some(_) => {
                let seen = &self.seen;
                let kept = |id: &CommitId| {
                    let kept = seen.get(id)?;
                    let is_ancestor = ancestors.contains(id);
                    Some(Kept { author: kept.author, place: kept.place, is_ancestor })
                };
                let facts = rule_commit(commit, place, frontier);
                let (index, change) = self.rules.admit_rule(facts, &self.chains, &kept)?;
                (Kind::Rule(index), change)
            }
        };
        self.chains.enter(&commit.author, place, previous);
        self.extended.extend(commit.previous);
        self.seen.insert(commit.id, Seen { author: commit.author, place, kind, ancestors });
        self.order.push(commit.clone());
        self.judge_again(commit.id, &change);
        Ok(change)
    }

    // A change that names too few authors would leave a stale effect behind.
    fn judge_again(&mut self, new: CommitId, change: &Change) {
        for (id, seen) in &self.seen {
            let Kind::Document(..) = seen.kind else { continue };
            let effect = self.verdict(id) == Verdict::Counts;
            let asked = *id == new
                || match change {
                    Change::Nothing => false,
                    Change::Authors(authors) => authors.contains(&seen.author),
                    Change::All => true,
                };
            assert!(asked || self.effects.get(id) == Some(&effect), "{change:?} left out {id:?}");
            self.effects.insert(*id, effect);
        }
    }

    pub(crate) fn verdict(&self, id: &CommitId) -> Verdict {
        let seen = &self.seen[id];
        match seen.kind {
            Kind::Rule(index) => self.rules.rule_verdict(index).expect("admitted"),
            Kind::Document(frontier, Standing { permission, via }) => {
                self.rules.verdict(&seen.author, frontier, permission.strength(), via, seen.place)
            }
        }
    }

    /// Everything that was admitted, and what of it counts.
    pub(crate) fn judgement(&self) -> Judgement {
        let admitted: BTreeSet<_> = self.seen.keys().copied().collect();
        let counting = admitted.iter().filter(|id| self.verdict(id) == Verdict::Counts).copied().collect();
        Judgement { admitted, counting }
    }

    /// The same rules after closing and opening again.
    pub(crate) fn reopened(&self) -> Rules {
        let frontiers: Vec<_> = (0..self.rules.frontier_count())
            .map(|id| self.rules.heads_of(FrontierId(id)).expect("interned").to_vec())
            .collect();
        let commits = self.order.iter().filter_map(|commit| match self.seen[&commit.id] {
            Seen { kind: Kind::Rule(index), place, .. } => {
                Some(rule_commit(commit, place, self.rules.frontier_of(index)?))
            }
            _ => None,
        });
        let forks = self.chains.all_forks().map(|(author, forks)| (*author, forks.to_vec()));
        let chains = Chains::restore(forks);
        let kept = |id: &CommitId| {
            let seen = self.seen.get(id)?;
            Some(Kept { author: seen.author, place: seen.place, is_ancestor: true })
        };
        Rules::restore(commits, &frontiers, &chains, &kept).expect("what was admitted is admitted again")
    }
}

fn rule_commit(commit: &Commit, place: Place, frontier: FrontierId) -> RuleCommit {
    let operators = commit.operators.clone().unwrap_or_default();
    RuleCommit { id: commit.id, author: commit.author, time: commit.time, place, frontier, operators }
}

/// Delivers commits in the order given to a new replica. What is refused, and what stands on it, is left out.
pub(crate) fn replay(commits: &[Commit]) -> Replica {
    let mut replica = Replica::new(&commits[0]).expect("a valid genesis");
    for commit in &commits[1..] {
        if replica.is_ready_for(commit) {
            let _ = replica.deliver(commit);
        }
    }
    replica
}

/// A small generator of numbers from a seed, so that every run is the same.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// Some order in which parents come first.
    pub(crate) fn delivery(&mut self, commits: &[Commit]) -> Vec<Commit> {
        let mut waiting = commits.to_vec();
        let (mut order, mut here) = (Vec::new(), HashSet::new());
        while !waiting.is_empty() {
            let ready: Vec<_> = (0..waiting.len())
                .filter(|at| waiting[*at].parents.iter().all(|parent| here.contains(parent)))
                .collect();
            let next = waiting.swap_remove(ready[self.below(ready.len())]);
            here.insert(next.id);
            order.push(next);
        }
        order
    }
}

/// A history that a test writes by name, on one replica that sees every commit at once.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) replica: Replica,
    commits: Vec<Commit>,
}

impl History {
    /// A space whose genesis is named `genesis` and written by `creator`.
    pub(crate) fn begin(creator: &str, operators: Vec<RuleOperator>) -> Self {
        let genesis = Commit {
            id: id("genesis"),
            author: author(creator),
            time: Timestamp::from_ms(1),
            previous: None,
            parents: Vec::new(),
            operators: Some(operators),
        };
        let replica = Replica::new(&genesis).expect("a valid genesis");
        Self { replica, commits: vec![genesis] }
    }

    /// A rule commit on top of the named parents.
    pub(crate) fn rule(
        &mut self,
        name: &str,
        by: &str,
        parents: &[&str],
        operators: Vec<RuleOperator>,
    ) -> Result<Change, Refusal> {
        self.rule_at(name, by, parents, 100, operators)
    }

    /// The same with a time that the author claims.
    pub(crate) fn rule_at(
        &mut self,
        name: &str,
        by: &str,
        parents: &[&str],
        ms: u64,
        operators: Vec<RuleOperator>,
    ) -> Result<Change, Refusal> {
        self.add(name, by, parents, ms, Some(operators))
    }

    /// A document commit on top of the named parents.
    pub(crate) fn document(&mut self, name: &str, by: &str, parents: &[&str]) -> Result<Change, Refusal> {
        self.add(name, by, parents, 100, None)
    }

    fn add(
        &mut self,
        name: &str,
        by: &str,
        parents: &[&str],
        ms: u64,
        operators: Option<Vec<RuleOperator>>,
    ) -> Result<Change, Refusal> {
        let (author, parents) = (author(by), parents.iter().map(|name| id(name)).collect::<Vec<_>>());
        let own = self.replica.own_heads(&author, &self.replica.ancestors(&parents));
        let time = Timestamp::from_ms(ms);
        let previous = own.first().copied();
        let commit = Commit { id: id(name), author, time, previous, parents, operators };
        let result = self.replica.deliver(&commit);
        self.commits.push(commit);
        result
    }

    pub(crate) fn counts(&self, name: &str) -> bool {
        self.replica.verdict(&id(name)) == Verdict::Counts
    }

    pub(crate) fn verdict(&self, name: &str) -> Verdict {
        self.replica.verdict(&id(name))
    }

    /// Checks that other orders of arrival, the naive twin and a restart come to the same end.
    pub(crate) fn check(&self) {
        let judgement = self.replica.judgement();
        assert_eq!(judgement, naive::judge(&self.commits), "the naive twin disagrees");
        let mut random = Random::new(7);
        for _ in 0..20 {
            let other = replay(&random.delivery(&self.commits));
            assert_eq!(judgement, other.judgement(), "the order of arrival mattered");
            assert_eq!(self.replica.rules.members(), other.rules.members());
            assert_eq!(self.replica.rules.name(), other.rules.name());
            assert_eq!(self.replica.rules.settings(), other.rules.settings());
        }
        let reopened = self.replica.reopened();
        assert_eq!(reopened.members(), self.replica.rules.members());
        assert_eq!(reopened.invitations(), self.replica.rules.invitations());
        assert_eq!(reopened.frontier_count(), self.replica.rules.frontier_count());
        for index in 0..reopened.rule_count() {
            let index = RuleIndex(index);
            assert_eq!(reopened.rule_verdict(index), self.replica.rules.rule_verdict(index));
            assert_eq!(reopened.frontier_of(index), self.replica.rules.frontier_of(index));
        }
    }
}

/// Another space, written by name and really signed, of which proofs show parts.
#[derive(Debug)]
pub(crate) struct Other {
    names: Vec<String>,
    commits: Vec<Vouched>,
}

impl Other {
    /// The key that signs there under a name.
    pub(crate) fn key(name: &str) -> AuthorKey {
        AuthorKey::from_seed(&Domain::Body.hash(&[name.as_bytes()]))
    }

    pub(crate) fn begin(creator: &str, operators: Vec<RuleOperator>) -> Self {
        let mut other = Self { names: Vec::new(), commits: Vec::new() };
        other.add("genesis", creator, &[], Some(operators));
        other
    }

    pub(crate) fn space(&self) -> SpaceId {
        self.commits[0].space()
    }

    pub(crate) fn rule(&mut self, name: &str, by: &str, parents: &[&str], operators: Vec<RuleOperator>) {
        self.add(name, by, parents, Some(operators));
    }

    pub(crate) fn document(&mut self, name: &str, by: &str, parents: &[&str]) {
        self.add(name, by, parents, None);
    }

    pub(crate) fn id(&self, name: &str) -> CommitId {
        self.commit(name).id()
    }

    fn commit(&self, name: &str) -> &Vouched {
        let at = self.names.iter().position(|other| other == name).expect("a commit of this name");
        &self.commits[at]
    }

    fn add(&mut self, name: &str, by: &str, parents: &[&str], operators: Option<Vec<RuleOperator>>) {
        let key = Self::key(by);
        let parents: BTreeSet<CommitId> = parents.iter().map(|name| self.commit(name).id()).collect();
        let below = self.below(parents.iter().copied().collect());
        let previous = below.iter().rfind(|commit| commit.header().author == key.id());
        let last = |commit: &&Vouched| commit.header().time.ms();
        let mut header = Header {
            kind: if operators.is_some() { HeaderKind::Rules } else { HeaderKind::Documents },
            continues: false,
            space: self.commits.first().map(Vouched::space),
            author: key.id(),
            seq: previous.map_or(1, |previous| previous.header().seq + 1),
            previous: previous.map(|previous| previous.id()),
            parents: Vec::new(),
            time: Timestamp::from_ms(below.iter().map(last).max().unwrap_or_default() + 1),
            body_hash: [0; 32],
            body_length: 0,
            body_encoding: BodyEncoding::Plain,
            extensions: Header::no_extensions(),
        };
        header.parents = parents.into_iter().filter(|parent| header.previous != Some(*parent)).collect();
        let salt = [self.commits.len() as u8; 16];
        let body = match operators {
            Some(operators) => RuleBody { operators }.encode(salt),
            None => DocumentBody { edits: Vec::new(), retracts: Vec::new() }.encode(salt),
        };
        self.commits.push(Vouched::sign(header, body, &key).expect("a valid header"));
        self.names.push(name.to_owned());
    }

    // These and all that they stand on, parents first.
    fn below(&self, from: Vec<CommitId>) -> Vec<&Vouched> {
        let (mut seen, mut open) = (HashSet::new(), from);
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                let commit = self.commits.iter().find(|commit| commit.id() == id).expect("a parent");
                open.extend(commit.header().all_parents().copied());
            }
        }
        self.commits.iter().filter(|commit| seen.contains(&commit.id())).collect()
    }

    /// What shows the named commits and all that they stand on.
    pub(crate) fn proof(&self, names: &[&str]) -> Vec<Shown> {
        self.proof_above(names, &[])
    }

    /// The same without what was shown before.
    pub(crate) fn proof_above(&self, names: &[&str], before: &[&str]) -> Vec<Shown> {
        let ids = |names: &[&str]| names.iter().map(|name| self.commit(name).id()).collect::<Vec<_>>();
        let known: HashSet<_> = self.below(ids(before)).into_iter().map(Vouched::id).collect();
        let shown = |commit: &Vouched| Shown {
            header: commit.header_bytes().to_vec(),
            signature: commit.signature().map(|attached| attached.signature),
            body: commit.body().filter(|_| commit.header().kind == HeaderKind::Rules).map(<[u8]>::to_vec),
        };
        let below = self.below(ids(names));
        below.into_iter().filter(|commit| !known.contains(&commit.id())).map(shown).collect()
    }
}
