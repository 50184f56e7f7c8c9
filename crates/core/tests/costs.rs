//! What a summary may cost whoever hears it: nodes looked at, in a graph of 100,000, whatever the summary says.

use std::cell::Cell;

use driftless_core::hash_graph::{HashGraph, Node, NodeId, Position, Tip};
use driftless_core::limits::{MAX_FILTER, MAX_MARKS, MAX_SUMMARY_AUTHORS, MAX_WALKS, WALK_STEP};
use driftless_core::reconcile::{Agreed, Clock, Detail, Entry, Filter, Heard, Reconciler, Salt, Summary};

const NODES: Position = 100_000;

/// Chains of some authors side by side, which meet now and then; it counts what is looked at.
struct Counted {
    authors: u64,
    named: bool,
    looked: Cell<usize>,
}

impl Counted {
    fn id(at: Position) -> NodeId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        id[8..16].copy_from_slice(&at.to_be_bytes());
        id
    }
}

impl HashGraph for Counted {
    type Error = std::convert::Infallible;

    fn len(&self) -> Position {
        NODES
    }

    fn heads(&self) -> Result<Vec<NodeId>, Self::Error> {
        Ok((NODES - self.authors + 1..=NODES).map(Self::id).collect())
    }

    fn position(&self, id: &NodeId) -> Result<Option<Position>, Self::Error> {
        let at = Position::from_be_bytes(id[8..16].try_into().unwrap());
        Ok((1..=NODES).contains(&at).then_some(at).filter(|at| Self::id(*at) == *id))
    }

    fn node(&self, at: Position) -> Result<Node, Self::Error> {
        self.looked.set(self.looked.get() + 1);
        assert!((1..=NODES).contains(&at));
        let previous = at.checked_sub(self.authors).filter(|at| *at > 0);
        let mut parents: Vec<Position> = previous.into_iter().collect();
        if at.is_multiple_of(97) && at > 2 * self.authors {
            parents.push(at - self.authors - 1);
        }
        let author = self.named.then(|| ((at % self.authors).to_be_bytes(), (at - 1) / self.authors + 1));
        Ok(Node { id: Self::id(at), parents, author, previous })
    }

    fn with_prefix(&self, prefix: &[u8; 8]) -> Result<Vec<Position>, Self::Error> {
        // Multiplication by an odd number has an inverse.
        let at = u64::from_be_bytes(*prefix).wrapping_mul(0xf1de_83e1_9937_733d);
        Ok((1..=NODES).contains(&at).then_some(at).into_iter().collect())
    }

    fn tips(&self) -> Result<Vec<Tip>, Self::Error> {
        let tip = |at: Position| Tip {
            author: (at % self.authors).to_be_bytes(),
            seq: (at - 1) / self.authors + 1,
            at,
        };
        Ok(if self.named { (NODES - self.authors + 1..=NODES).map(tip).collect() } else { Vec::new() })
    }
}

// Everything that a peer may say to make us look.
fn details() -> Vec<Detail> {
    let entry = |number: u32, seq| Entry { tag: number.to_be_bytes(), seq, check: [0; 4] };
    let clock = |seq| Clock((0..MAX_SUMMARY_AUTHORS as u32).map(|number| entry(number, seq)).collect());
    let marks = |every: u64, from: u64| -> Vec<[u8; 12]> {
        (0..MAX_MARKS as u64).map(|n| Counted::id(from + n * every)[..12].try_into().unwrap()).collect()
    };
    let filter = |byte| Filter::from_bytes(&[byte; MAX_FILTER]).unwrap();
    vec![
        Detail::Bare,
        Detail::Since([7; 8], clock(1)),
        Detail::Since([7; 8], Clock::default()),
        Detail::Since([8; 8], clock(u64::MAX)),
        Detail::Recent([7; 8], filter(0xff)),
        Detail::Clock(clock(0)),
        Detail::Clock(clock(u64::MAX)),
        Detail::Clock(Clock::default()),
        Detail::Otherwise(clock(3)),
        Detail::Marks(Vec::new()),
        Detail::Marks(marks(1, 1)),
        Detail::Marks(marks(97, 200)),
        // As much above as a filter holds.
        Detail::Marks(marks(1, 50_000)),
        // All heads but some: the walk goes down to the beginning.
        Detail::Marks(marks(1, NODES - 1025)),
        Detail::Filter(vec![true; MAX_MARKS], filter(0xff)),
        Detail::Filter(Vec::new(), filter(0)),
        Detail::Again(u32::MAX, marks(1, NODES - 1025), filter(0xff)),
        Detail::Again(0, Vec::new(), Filter::default()),
    ]
}

fn graphs() -> impl Iterator<Item = Counted> {
    let graphs = [(1, true), (100, true), (1024, true), (3000, true), (40, false)];
    graphs.into_iter().map(|(authors, named)| Counted { authors, named, looked: Cell::new(0) })
}

fn reconciler() -> Reconciler {
    let known = vec![Agreed { digest: [7; 8], len: 1 }, Agreed { digest: [8; 8], len: NODES }];
    Reconciler::new(Salt::new(&[b"costs"]), known)
}

// Understands what was begun, and counts what is looked at: at most in one step, and in all.
fn go(reconciler: &mut Reconciler, graph: &Counted) -> (Heard, usize, usize) {
    let (mut most, mut all) = (0, 0);
    loop {
        graph.looked.set(0);
        let heard = reconciler.go(graph, [1; 8], WALK_STEP).unwrap();
        most = most.max(graph.looked.get());
        all += graph.looked.get();
        if let Some(heard) = heard {
            assert!(!reconciler.is_busy());
            return (heard, most, all);
        }
    }
}

fn kind(detail: &Detail) -> String {
    format!("{detail:?}").split('(').next().unwrap().into()
}

#[test]
fn no_step_looks_at_more_than_two_thousand_nodes_and_no_summary_at_each_node_three_times() {
    for graph in graphs() {
        for detail in details() {
            for first in [true, false] {
                let mut reconciler = reconciler();
                reconciler.offer(&graph, [1; 8]).unwrap();
                reconciler.begin(Summary { digest: [9; 8], detail: detail.clone() }, first);
                let (_, most, all) = go(&mut reconciler, &graph);
                let kind = kind(&detail);
                assert!(most <= 2 * WALK_STEP, "{most} nodes in one step for {kind}");
                assert!(all <= 2 * NODES as usize + 60_000, "{all} nodes for {kind}");
            }
        }
    }
}

#[test]
fn steps_lead_where_one_long_one_leads() {
    for graph in graphs() {
        for detail in details() {
            let theirs = Summary { digest: [9; 8], detail };
            let (mut long, mut short) = (reconciler(), reconciler());
            long.offer(&graph, [1; 8]).unwrap();
            short.offer(&graph, [1; 8]).unwrap();
            let heard = long.hear(&graph, [1; 8], &theirs, false).unwrap();
            short.begin(theirs.clone(), false);
            assert_eq!(go(&mut short, &graph).0, heard, "{}", kind(&theirs.detail));
            for _ in 0..1000 {
                let [one, other] = [&mut long, &mut short].map(|side| side.plan().peek(NODES));
                assert_eq!(one, other, "{}", kind(&theirs.detail));
                long.plan().sent();
                short.plan().sent();
            }
        }
    }
}

#[test]
fn a_peer_that_has_all_looked_through_again_and_again_is_sent_everything_instead() {
    let graph = Counted { authors: 40, named: false, looked: Cell::new(0) };
    let mut looked = 0;
    let mut counted = 0;
    // The session forgets what was said, not what it cost.
    for _ in 0..30 {
        let mut reconciler = reconciler();
        reconciler.count_from(counted);
        let mut last = Heard::default();
        for detail in details() {
            reconciler.begin(Summary { digest: [9; 8], detail }, false);
            let (heard, _, all) = go(&mut reconciler, &graph);
            looked += all;
            last = heard;
        }
        counted = reconciler.looked();
        if looked > MAX_WALKS as usize * NODES as usize {
            assert_eq!(last, Heard { answer: None, ready: true });
            assert_eq!(reconciler.plan().peek(NODES), Some(1));
        }
    }
    // Each summary that came after still cost one step.
    let most = (MAX_WALKS as usize + 2) * NODES as usize + 30 * details().len() * 2 * WALK_STEP;
    assert!(looked <= most, "{looked} nodes");
}
