//! Two graphs tell each other what they have: each then sends what the other lacks, and only that.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use driftless_core::hash_graph::{HashGraph, Inserted, Node, NodeId, Position, Tip};
use driftless_core::reconcile::{Reconciler, Salt};
use proptest::prelude::*;

#[derive(Clone, Default)]
struct Graph {
    nodes: Vec<Node>,
    at: BTreeMap<NodeId, Position>,
    heads: BTreeSet<NodeId>,
    tips: BTreeMap<(u32, Position), Tip>,
    // Authors take part in the protocol; without, the graph is one of nameless nodes.
    named: bool,
}

#[derive(Clone, Debug)]
struct Made {
    id: NodeId,
    parents: Vec<NodeId>,
    author: u32,
    seq: u64,
    previous: Option<NodeId>,
}

impl Graph {
    fn new(named: bool) -> Self {
        Self { named, ..Self::default() }
    }

    fn make(&mut self, author: u32, others: &[NodeId]) -> Made {
        let last =
            self.tips.values().filter(|tip| tip.author == tag(author)).max_by_key(|tip| tip.at).copied();
        let previous = last.map(|tip| self.nodes[tip.at as usize - 1].id);
        let seq = last.map_or(1, |tip| tip.seq + 1);
        self.make_after(author, seq, previous, others)
    }

    fn make_after(&mut self, author: u32, seq: u64, previous: Option<NodeId>, others: &[NodeId]) -> Made {
        let mut parents: Vec<NodeId> = previous.iter().chain(others).copied().collect();
        parents.sort();
        parents.dedup();
        let mut hash =
            blake3_of(&[&author.to_le_bytes(), &seq.to_le_bytes(), &self.nodes.len().to_le_bytes()]);
        for parent in &parents {
            hash = blake3_of(&[&hash, parent]);
        }
        let made = Made { id: hash, parents, author, seq, previous };
        self.take(&made);
        made
    }

    // What comes before its parents is refused, and comes again when they are here.
    fn take(&mut self, made: &Made) -> bool {
        let early = made.parents.iter().any(|parent| !self.at.contains_key(parent));
        if early || self.at.contains_key(&made.id) {
            return false;
        }
        let parents: Vec<Position> = made.parents.iter().map(|id| self.at[id]).collect();
        let at = self.nodes.len() as Position + 1;
        let previous = made.previous.map(|id| self.at[&id]);
        self.nodes.push(Node {
            id: made.id,
            parents,
            author: self.named.then(|| (tag(made.author), made.seq)),
            previous,
        });
        self.at.insert(made.id, at);
        for parent in &made.parents {
            self.heads.remove(parent);
        }
        self.heads.insert(made.id);
        if let Some(previous) = previous {
            self.tips.remove(&(made.author, previous));
        }
        self.tips.insert((made.author, at), Tip { author: tag(made.author), seq: made.seq, at });
        true
    }

    fn digest(&self) -> [u8; 8] {
        let heads: Vec<&[u8]> = self.heads.iter().map(|head| &head[..]).collect();
        let mut digest = [0; 8];
        digest.copy_from_slice(&blake3_of(&heads)[..8]);
        digest
    }

    fn made(&self, at: Position, author: &BTreeMap<NodeId, Made>) -> Made {
        author[&self.nodes[at as usize - 1].id].clone()
    }
}

fn tag(author: u32) -> [u8; 8] {
    u64::from(author).to_be_bytes()
}

fn blake3_of(parts: &[&[u8]]) -> [u8; 32] {
    driftless_core::sign::Domain::CommitId.hash(parts)
}

impl HashGraph for Graph {
    type Error = Infallible;

    fn len(&self) -> Position {
        self.nodes.len() as Position
    }

    fn heads(&self) -> Result<Vec<NodeId>, Infallible> {
        Ok(self.heads.iter().copied().collect())
    }

    fn position(&self, id: &NodeId) -> Result<Option<Position>, Infallible> {
        Ok(self.at.get(id).copied())
    }

    fn node(&self, at: Position) -> Result<Node, Infallible> {
        Ok(self.nodes[at as usize - 1].clone())
    }

    fn bytes(&self, at: Position) -> Result<Vec<u8>, Infallible> {
        Ok(self.nodes[at as usize - 1].id.to_vec())
    }

    fn insert(&mut self, _: &[u8]) -> Result<Inserted, Infallible> {
        Ok(Inserted::Refused("these nodes are made, not read"))
    }

    fn with_prefix(&self, prefix: &[u8; 8]) -> Result<Vec<Position>, Infallible> {
        let mut first = [0; 32];
        first[..8].copy_from_slice(prefix);
        Ok(self.at.range(first..).take_while(|(id, _)| id.starts_with(prefix)).map(|(_, at)| *at).collect())
    }

    fn tips(&self) -> Result<Vec<Tip>, Infallible> {
        Ok(if self.named { self.tips.values().copied().collect() } else { Vec::new() })
    }
}

#[derive(Default, Debug)]
struct Outcome {
    messages: usize,
    sent: [usize; 2],
    known: usize,
    rounds: u32,
}

// Summaries until both plans are ready, then nodes; then, while heads are missing, again.
fn meet(graphs: &mut [Graph; 2], all: &BTreeMap<NodeId, Made>, reconcilers: &mut [Reconciler; 2]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut first = true;
    let mut speaker = 0;
    let mut message = Some(reconcilers[0].offer(&graphs[0], graphs[0].digest()).unwrap());
    let mut ready = [false; 2];
    while let Some(summary) = message.take() {
        outcome.messages += 1;
        assert!(outcome.messages <= 6, "summaries without end");
        let listener = 1 - speaker;
        let heard = reconcilers[listener]
            .hear(&graphs[listener], graphs[listener].digest(), &summary, first)
            .unwrap();
        ready[listener] = heard.ready;
        message = heard.answer;
        first = false;
        speaker = listener;
    }
    assert_eq!(ready, [true; 2]);
    transfer(graphs, all, reconcilers, &mut outcome);
    for round in 1..4 {
        if graphs[0].digest() == graphs[1].digest() {
            break;
        }
        outcome.rounds = round;
        for asking in [0, 1] {
            let other = 1 - asking;
            if graphs[other].heads.iter().all(|head| graphs[asking].at.contains_key(head)) {
                continue;
            }
            let again = reconcilers[asking].again(&graphs[asking], graphs[asking].digest(), round).unwrap();
            reconcilers[other].hear(&graphs[other], graphs[other].digest(), &again, false).unwrap();
            transfer(graphs, all, reconcilers, &mut outcome);
        }
    }
    assert_eq!(graphs[0].digest(), graphs[1].digest(), "{outcome:?}");
    for (side, reconciler) in reconcilers.iter_mut().enumerate() {
        reconciler.agree(graphs[side].digest(), graphs[side].len());
    }
    outcome
}

fn transfer(
    graphs: &mut [Graph; 2],
    all: &BTreeMap<NodeId, Made>,
    reconcilers: &mut [Reconciler; 2],
    outcome: &mut Outcome,
) {
    for from in [0, 1] {
        let to = 1 - from;
        while let Some(at) = reconcilers[from].plan().peek(graphs[from].len()) {
            reconcilers[from].plan().sent();
            let made = graphs[from].made(at, all);
            outcome.sent[from] += 1;
            if !graphs[to].take(&made) {
                outcome.known += 1;
            }
            if let Some(here) = graphs[to].at.get(&made.id) {
                reconcilers[to].plan().has(*here);
            }
        }
    }
}

fn fresh(agreed: Option<&[Reconciler; 2]>, session: u8) -> [Reconciler; 2] {
    let salt = Salt::new(&[&[session]]);
    [0, 1].map(|side| Reconciler::new(salt, agreed.map_or(Vec::new(), |old| old[side].agreed().to_vec())))
}

fn grow(
    graph: &mut Graph,
    all: &mut BTreeMap<NodeId, Made>,
    count: usize,
    authors: u32,
    first: u32,
    merge: usize,
) {
    for number in 0..count {
        let author = first + number as u32 % authors;
        let heads: Vec<NodeId> = if number % merge == 0 {
            graph.heads.iter().copied().collect()
        } else {
            graph.nodes.last().map(|node| node.id).into_iter().collect()
        };
        let made = graph.make(author, &heads);
        all.insert(made.id, made);
    }
}

#[test]
fn whatever_the_number_of_authors_only_what_is_missing_is_sent() {
    for (named, authors, limit) in [(true, 4, 4), (true, 100, 4), (true, 900, 4), (false, 4, 5)] {
        for new in [0, 1, 10, 300] {
            let mut all = BTreeMap::new();
            let mut base = Graph::new(named);
            grow(&mut base, &mut all, 3000, authors, 0, 1);
            let mut graphs = [base.clone(), base];
            grow(&mut graphs[0], &mut all, new, authors / 2, 0, 1);
            grow(&mut graphs[1], &mut all, new, authors / 2, authors / 2, 1);
            let mut reconcilers = fresh(None, 1);
            let outcome = meet(&mut graphs, &all, &mut reconcilers);
            assert_eq!(outcome.known, 0, "{authors} authors, {new} new: {outcome:?}");
            assert_eq!(outcome.sent.iter().sum::<usize>(), 2 * new);
            assert!(outcome.messages <= limit, "{outcome:?}");
            // They know each other now: whatever is new is told in one message each way.
            grow(&mut graphs[0], &mut all, 5, 2, 0, 1);
            let mut again = fresh(Some(&reconcilers), 2);
            let outcome = meet(&mut graphs, &all, &mut again);
            assert_eq!((outcome.sent, outcome.known), ([5, 0], 0));
            assert!(!named || outcome.messages == 2, "{outcome:?}");
        }
    }
}

#[test]
fn who_lost_what_they_agreed_on_gets_it_back_without_the_rest() {
    let mut all = BTreeMap::new();
    let mut base = Graph::new(true);
    grow(&mut base, &mut all, 500, 3, 0, 1);
    let old = base.clone();
    grow(&mut base, &mut all, 1, 1, 0, 1);
    let mut graphs = [base.clone(), base];
    let mut reconcilers = fresh(None, 1);
    meet(&mut graphs, &all, &mut reconcilers);
    let mut again = fresh(Some(&reconcilers), 2);
    graphs[1] = old;
    let outcome = meet(&mut graphs, &all, &mut again);
    assert_eq!((outcome.sent, outcome.known), ([1, 0], 0));
}

#[test]
fn chains_that_parted_are_told_by_marks_and_not_sent_whole() {
    let mut all = BTreeMap::new();
    let mut base = Graph::new(true);
    grow(&mut base, &mut all, 1000, 2, 0, 1);
    let mut graphs = [base.clone(), base];
    // The same author goes on in both places.
    grow(&mut graphs[0], &mut all, 7, 1, 0, 1);
    grow(&mut graphs[1], &mut all, 3, 1, 1, 1);
    grow(&mut graphs[1], &mut all, 5, 1, 0, 1);
    let outcome = meet(&mut graphs, &all, &mut fresh(None, 1));
    assert_eq!((outcome.sent, outcome.known), ([7, 8], 0), "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_two_graphs_meet(
        named in any::<bool>(),
        authors in 1_u32..200,
        shared in 0_usize..400,
        new in (0_usize..200, 0_usize..200),
        merge in 1_usize..6,
        forked in any::<bool>(),
        session in any::<u8>(),
    ) {
        let mut all = BTreeMap::new();
        let mut base = Graph::new(named);
        grow(&mut base, &mut all, shared, authors, 0, merge);
        let mut graphs = [base.clone(), base];
        grow(&mut graphs[0], &mut all, new.0, authors, 0, merge);
        grow(&mut graphs[1], &mut all, new.1, authors, if forked { 0 } else { authors }, merge);
        let mut reconcilers = fresh(None, session);
        let outcome = meet(&mut graphs, &all, &mut reconcilers);
        prop_assert!(outcome.rounds <= 3);
        // Once they met, the same frontier is enough.
        let outcome = meet(&mut graphs, &all, &mut fresh(Some(&reconcilers), session.wrapping_add(1)));
        prop_assert_eq!((outcome.messages, outcome.sent, outcome.rounds), (2, [0, 0], 0));
    }
}
