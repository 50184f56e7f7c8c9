//! What a summary may cost whoever hears it: nodes looked at, in a graph of 100,000, whatever the summary says.

use std::cell::Cell;

use driftless_core::hash_graph::{HashGraph, Node, NodeId, Position, Tip};
use driftless_core::limits::{MAX_FILTER, MAX_MARKS, MAX_SUMMARY_AUTHORS};
use driftless_core::reconcile::{Agreed, Clock, Detail, Entry, Filter, Reconciler, Salt, Summary};

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

#[test]
fn no_summary_costs_more_than_two_looks_at_each_node() {
    let entry = |number: u32, seq| Entry { tag: number.to_be_bytes(), seq, check: [0; 4] };
    let clock = |seq| Clock((0..MAX_SUMMARY_AUTHORS as u32).map(|number| entry(number, seq)).collect());
    let marks = |every: u64, from: u64| -> Vec<[u8; 12]> {
        (0..MAX_MARKS as u64).map(|n| Counted::id(from + n * every)[..12].try_into().unwrap()).collect()
    };
    let filter = |byte| Filter::from_bytes(&[byte; MAX_FILTER]).unwrap();
    let details = [
        Detail::Since([7; 8], clock(1)),
        Detail::Since([7; 8], Clock::default()),
        Detail::Since([8; 8], clock(u64::MAX)),
        Detail::Clock(clock(0)),
        Detail::Clock(clock(u64::MAX)),
        Detail::Clock(Clock::default()),
        Detail::Otherwise(clock(3)),
        Detail::Marks(Vec::new()),
        Detail::Marks(marks(1, 1)),
        Detail::Marks(marks(97, 200)),
        // All heads but some: the walk goes down to the beginning.
        Detail::Marks(marks(1, NODES - 1025)),
        Detail::Filter(vec![true; MAX_MARKS], filter(0xff)),
        Detail::Filter(Vec::new(), filter(0)),
        Detail::Again(u32::MAX, marks(1, NODES - 1025), filter(0xff)),
        Detail::Again(0, Vec::new(), Filter::default()),
    ];
    for (authors, named) in [(1, true), (100, true), (1024, true), (3000, true), (40, false)] {
        for detail in &details {
            for first in [true, false] {
                let graph = Counted { authors, named, looked: Cell::new(0) };
                let known = vec![Agreed { digest: [7; 8], len: 1 }, Agreed { digest: [8; 8], len: NODES }];
                let mut reconciler = Reconciler::new(Salt::new(&[b"costs"]), known);
                reconciler.offer(&graph, [1; 8]).unwrap();
                graph.looked.set(0);
                let theirs = Summary { digest: [9; 8], detail: detail.clone() };
                reconciler.hear(&graph, [1; 8], &theirs, first).unwrap();
                let looked = graph.looked.get();
                let kind = format!("{detail:?}");
                let kind = kind.split('(').next().unwrap();
                assert!(looked <= 2 * NODES as usize + 2 * MAX_MARKS + 2 * 3000, "{looked} nodes for {kind}");
            }
        }
    }
}
