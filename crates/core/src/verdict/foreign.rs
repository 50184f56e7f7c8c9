//! Another space as proofs show it: its commits, and what its own rules say of a key. All of it comes from rule commits
//! here, so every replica that has the same ones sees the same; what this machine has of that space is never asked.
//!
//! One hop: what the other space says about further spaces, and whoever came into it by one, is passed over.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::Rules;
use super::admit::{Kept, Proofs, RuleCommit};
use super::bits::Bits;
use super::chains::{Chains, Place};
use super::frontier::{FrontierId, ParentFrontier, RuleIndex};
use super::judge::Via;
use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::commit::{Header, Kind, Received, RuleBody, commit_id, vouch};
use crate::graph;
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::rules::{Permission, RuleOperator, Shown, Subject};

/// What the other space says of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inside {
    /// What a statement about the key gives it there.
    pub(super) permission: Option<Permission>,
    /// Whether any statement there names the key.
    pub(super) is_named: bool,
}

impl Inside {
    pub(super) const STRANGER: Self = Self { permission: None, is_named: false };
}

/// A commit that a proof showed.
#[derive(Debug, Clone)]
pub struct Revealed {
    /// Its id.
    pub id: CommitId,
    /// Who signed it.
    pub author: AuthorId,
    /// Counts the author's commits.
    pub seq: u64,
    /// The author's commit before it.
    pub previous: Option<CommitId>,
    /// All parents, `previous` included.
    pub parents: Vec<CommitId>,
    /// Its time.
    pub time: Timestamp,
    /// What a rule commit says, unless that cannot be read or is about delegation there; nothing of a document commit.
    pub operators: Option<Vec<RuleOperator>>,
}

/// The commits in a proof, each vouched for, parents first: what is not named in `known` is shown itself. Refused unless
/// every one belongs to `space`, stands on nothing that is left out, and is a rule commit with its body or without.
pub fn read(
    space: &SpaceId,
    proof: &[Shown],
    known: &dyn Fn(&CommitId) -> bool,
) -> Result<Vec<Revealed>, Refusal> {
    take(space, proof, known, Proofs::Verify)
}

pub(super) fn take(
    space: &SpaceId,
    proof: &[Shown],
    known: &dyn Fn(&CommitId) -> bool,
    proofs: Proofs,
) -> Result<Vec<Revealed>, Refusal> {
    let mut here: HashSet<CommitId> = HashSet::new();
    let mut revealed = Vec::with_capacity(proof.len());
    for (id, header, body) in vouched(proof, proofs)? {
        let whole = header.all_parents().all(|parent| here.contains(parent) || known(parent));
        let fits =
            header.space.unwrap_or(id.into()) == *space && body.is_some() == (header.kind == Kind::Rules);
        if !whole || !fits || !here.insert(id) {
            return Err(Refusal::ProofIncomplete);
        }
        // What cannot be read there has no effect there.
        let operators = body.and_then(|body| RuleBody::decode(&body).ok()).map(|body| body.operators);
        let operators = operators.filter(|operators| !operators.iter().any(is_delegation));
        revealed.push(Revealed {
            id,
            author: header.author,
            seq: header.seq,
            previous: header.previous,
            parents: header.all_parents().copied().collect(),
            time: header.time,
            operators,
        });
    }
    Ok(revealed)
}

type Plain = (CommitId, Header, Option<Vec<u8>>);

fn vouched(proof: &[Shown], proofs: Proofs) -> Result<Vec<Plain>, Refusal> {
    if proofs == Proofs::Trust {
        let decode = |shown: &Shown| {
            let header = Header::decode(&shown.header).map_err(|_| Refusal::ProofIncomplete)?;
            Ok((commit_id(&shown.header), header, shown.body.clone()))
        };
        return proof.iter().map(decode).collect();
    }
    let received = proof.iter().map(|shown| Received {
        header: shown.header.clone(),
        signature: shown.signature,
        body: shown.body.clone(),
    });
    let frame = vouch(received.collect());
    if !frame.unusable.is_empty() {
        return Err(Refusal::ProofIncomplete);
    }
    let plain = |commit: crate::commit::Vouched| {
        (commit.id(), commit.header().clone(), commit.body().map(<[u8]>::to_vec))
    };
    Ok(frame.vouched.into_iter().map(plain).collect())
}

fn is_delegation(operator: &RuleOperator) -> bool {
    matches!(operator, RuleOperator::Enrol { .. } | RuleOperator::Withdraw { .. })
}

/// All of one other space that rule commits here have shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Foreign {
    // In an order in which parents come first.
    nodes: Vec<Revealed>,
    ids: HashMap<CommitId, u32>,
    // Which rule commit here showed which.
    shown: Vec<(u32, Vec<u32>)>,
    last: Option<Seen>,
}

impl Foreign {
    /// What the rule commits below a frontier have shown.
    pub(super) fn known(&self, closure: &Bits) -> Bits {
        let mut known = Bits::default();
        for (_, nodes) in self.shown.iter().filter(|(rule, _)| closure.contains(*rule)) {
            nodes.iter().for_each(|node| known.insert(*node));
        }
        known
    }

    pub(super) fn all(&self) -> HashSet<CommitId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    pub(super) fn has(&self, id: &CommitId, known: &Bits) -> bool {
        self.ids.get(id).is_some_and(|node| known.contains(*node))
    }

    /// Adds what a proof shows. `len` before it is where `forget` goes back to.
    pub(super) fn add(&mut self, revealed: Vec<Revealed>) -> Vec<u32> {
        let mut add = |node: Revealed| {
            let number = self.nodes.len() as u32;
            *self.ids.entry(node.id).or_insert_with(|| {
                self.nodes.push(node);
                number
            })
        };
        revealed.into_iter().map(&mut add).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn forget(&mut self, len: usize) {
        for node in self.nodes.drain(len.min(self.nodes.len())..) {
            self.ids.remove(&node.id);
        }
        if self.last.as_ref().is_some_and(|seen| seen.set.reaches(len)) {
            self.last = None;
        }
    }

    /// Notes that a rule commit which was admitted showed these.
    pub(super) fn shown_by(&mut self, rule: u32, nodes: Vec<u32>) {
        self.shown.push((rule, nodes));
    }

    /// What the other space says of a key, where exactly the commits of `set` are known of it.
    pub(super) fn inside(&mut self, set: Bits, key: &AuthorId) -> Result<Inside, Refusal> {
        let last = self.last.take().filter(|seen| seen.set.without(&set).next().is_none());
        let mut seen = match last {
            Some(seen) => seen,
            None => Seen::begin(&self.nodes, &set)?,
        };
        let more: Vec<u32> = set.without(&seen.set).collect();
        for node in more {
            seen.deliver(&self.nodes, &self.ids, node);
        }
        seen.set = set;
        let inside = seen.inside(key);
        self.last = Some(seen);
        Ok(inside)
    }
}

/// The other space's rules over a set of its commits. What its rules refuse is passed over: it says nothing, and what
/// stands on it is judged as if it were a document commit.
#[derive(Debug, Clone)]
struct Seen {
    set: Bits,
    rules: Rules,
    chains: Chains,
    frontiers: HashMap<u32, ParentFrontier>,
    places: HashMap<u32, Place>,
    // Commits that another of their author names as `previous`; authors with a first commit.
    extended: HashSet<CommitId>,
    begun: HashSet<AuthorId>,
}

impl Seen {
    fn begin(nodes: &[Revealed], set: &Bits) -> Result<Self, Refusal> {
        let first = set.without(&Bits::default()).next().ok_or(Refusal::ProofIncomplete)?;
        let genesis = nodes.get(first as usize).ok_or(Refusal::ProofIncomplete)?;
        let operators = genesis.operators.clone().ok_or(Refusal::ProofIncomplete)?;
        let place = Place { branch: 0, seq: 1 };
        let commit = rule_commit(genesis, place, FrontierId::GENESIS, operators);
        let mut only = Bits::default();
        only.insert(first);
        Ok(Self {
            set: only,
            rules: Rules::new(commit).map_err(|_| Refusal::ProofIncomplete)?,
            chains: Chains::new(),
            frontiers: HashMap::from([(first, ParentFrontier::Rule(RuleIndex(0)))]),
            places: HashMap::from([(first, place)]),
            extended: HashSet::new(),
            begun: HashSet::from([genesis.author]),
        })
    }

    fn deliver(&mut self, nodes: &[Revealed], ids: &HashMap<CommitId, u32>, number: u32) {
        let Some(node) = nodes.get(number as usize) else { return };
        let find = |id: &CommitId| ids.get(id).copied();
        let parents: Vec<_> = node.parents.iter().filter_map(find).collect();
        let contributed = parents.iter().filter_map(|parent| self.frontiers.get(parent).copied());
        let frontier = self.rules.frontier_of_parents(contributed).unwrap_or(FrontierId::GENESIS);
        let passed = ParentFrontier::Document(frontier);
        let Some(place) = self.place(nodes, &parents, node) else {
            self.frontiers.insert(number, passed);
            return;
        };
        self.places.insert(number, place);
        let admitted = node.operators.clone().and_then(|operators| {
            let up = |at: &u32| {
                let parents = nodes.get(*at as usize).map_or(&[][..], |node| &node.parents);
                parents.iter().filter_map(find).collect::<Vec<_>>()
            };
            // Most say nothing of what stays.
            let below = OnceCell::<BTreeSet<u32>>::new();
            let kept = |id: &CommitId| {
                let is_below = |at: &u32| below.get_or_init(|| graph::ancestors([number], up)).contains(at);
                let at = find(id).filter(is_below)?;
                let place = *self.places.get(&at)?;
                Some(Kept { author: nodes.get(at as usize)?.author, place, is_ancestor: true })
            };
            let commit = rule_commit(node, place, frontier, operators);
            self.rules.admit_rule(commit, &self.chains, &kept).ok()
        });
        self.frontiers.insert(number, admitted.map_or(passed, |(index, _)| ParentFrontier::Rule(index)));
    }

    // Where it stands in its author's chain, unless the header contradicts what is before it.
    fn place(&mut self, nodes: &[Revealed], parents: &[u32], node: &Revealed) -> Option<Place> {
        let before: Vec<&Revealed> = parents.iter().filter_map(|at| nodes.get(*at as usize)).collect();
        if before.iter().any(|parent| parent.time >= node.time) {
            return None;
        }
        let (previous, extended) = match node.previous {
            Some(_) => {
                let (at, previous) = (parents.first()?, before.first()?);
                if previous.author != node.author || previous.seq + 1 != node.seq {
                    return None;
                }
                (Some(*self.places.get(at)?), !self.extended.insert(previous.id))
            }
            None => (None, !self.begun.insert(node.author)),
        };
        let place = self.chains.place(&node.author, node.seq, previous, extended);
        self.chains.enter(&node.author, place, previous);
        Some(place)
    }

    fn inside(&self, key: &AuthorId) -> Inside {
        let standing = self.rules.member(key).filter(|standing| standing.via == Via::Key);
        Inside {
            permission: standing.map(|standing| standing.permission),
            is_named: self.rules.table.statements.contains_key(&Subject::Key(*key)),
        }
    }
}

fn rule_commit(
    node: &Revealed,
    place: Place,
    frontier: FrontierId,
    operators: Vec<RuleOperator>,
) -> RuleCommit {
    RuleCommit { id: node.id, author: node.author, time: node.time, place, frontier, operators }
}
