//! Walks over graphs, against a naive reference; and what they look at.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::convert::Infallible;

use driftless_core::hash_graph::{HashGraph, HashGraphMut, Inserted, Node, NodeId, Position, walk};
use driftless_core::sync_doc::{State, SyncDoc};
use proptest::prelude::*;

use crate::plain::{Doc, sync};

fn past(doc: &Doc, of: &BTreeSet<Position>) -> BTreeSet<Position> {
    let mut past = of.clone();
    for at in (1..=doc.len()).rev().filter(|at| *at > 0) {
        if past.contains(&at) {
            let Ok(node) = doc.graph.node(at);
            past.extend(node.parents);
        }
    }
    past
}

pub(crate) fn random_doc(parents: &[Vec<usize>]) -> Doc {
    let mut doc = Doc::new(1);
    let mut ids: Vec<NodeId> = Vec::new();
    for (number, parents) in parents.iter().enumerate() {
        let on: BTreeSet<NodeId> =
            parents.iter().filter(|_| number > 0).map(|back| ids[number - 1 - back % number]).collect();
        ids.push(doc.put_on(&Vec::from_iter(on), &format!("{number}")));
    }
    doc
}

fn set(doc: &Doc, picks: &[u64]) -> BTreeSet<Position> {
    picks.iter().filter(|_| doc.len() > 0).map(|pick| pick % doc.len() + 1).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn walks_find_what_a_naive_search_finds(
        parents in prop::collection::vec(prop::collection::vec(0usize..6, 0..3), 0..40),
        of in prop::collection::vec(any::<u64>(), 0..4),
        but in prop::collection::vec(any::<u64>(), 0..4),
    ) {
        let doc = random_doc(&parents);
        let (of, but) = (set(&doc, &of), set(&doc, &but));
        let expected: Vec<Position> = past(&doc, &of).difference(&past(&doc, &but)).copied().collect();
        prop_assert_eq!(walk::difference(&doc.graph, &of, &but), Ok(expected));
        let all: BTreeSet<Position> = (1..=doc.len()).collect();
        let rest: Vec<Position> = all.difference(&past(&doc, &but)).copied().collect();
        prop_assert_eq!(walk::all_but(&doc.graph, &but), Ok(rest));
        let newest: BTreeSet<Position> = of.iter().copied().filter(|at| {
            let others = of.iter().copied().filter(|other| other != at).collect();
            !past(&doc, &others).contains(at)
        }).collect();
        prop_assert_eq!(walk::newest(&doc.graph, &of, usize::MAX), Ok(newest));
        let floor = of.first().copied().unwrap_or(0) + 2;
        let mut seen = Vec::new();
        let Ok(()) = walk::down_to(&doc.graph, &of, floor, |at| seen.push(at));
        let expected: Vec<Position> = past(&doc, &of).into_iter().filter(|at| *at >= floor).rev().collect();
        prop_assert_eq!(seen, expected);
    }
}

/// A graph that counts what is looked at.
struct Counting<'a> {
    doc: &'a mut Doc,
    looked: Cell<usize>,
}

impl HashGraph for Counting<'_> {
    type Error = Infallible;

    fn len(&self) -> Position {
        self.doc.graph.len()
    }

    fn heads(&self) -> Result<Vec<NodeId>, Infallible> {
        self.doc.graph.heads()
    }

    fn position(&self, id: &NodeId) -> Result<Option<Position>, Infallible> {
        self.looked.set(self.looked.get() + 1);
        self.doc.graph.position(id)
    }

    fn node(&self, at: Position) -> Result<Node, Infallible> {
        self.looked.set(self.looked.get() + 1);
        self.doc.graph.node(at)
    }

    fn with_prefix(&self, prefix: &[u8; 8]) -> Result<Vec<Position>, Infallible> {
        self.doc.graph.with_prefix(prefix)
    }
}

impl HashGraphMut for Counting<'_> {
    fn bytes(&self, at: Position) -> Result<Vec<u8>, Infallible> {
        self.doc.graph.bytes(at)
    }

    fn insert(&mut self, bytes: &[u8]) -> Result<Inserted, Infallible> {
        self.doc.graph.insert(bytes)
    }
}

#[test]
fn a_message_costs_what_differs_and_not_the_document() {
    let mut a = Doc::new(1);
    a.puts(5000, "");
    let mut b = a.fork(2);
    let (mut to_b, mut to_a) = (State::new(), State::new());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    a.put("one");
    b.put("another");
    let mut a = Counting { doc: &mut a, looked: Cell::new(0) };
    let mut b = Counting { doc: &mut b, looked: Cell::new(0) };
    let mut messages = 0;
    loop {
        let (Ok(from_a), Ok(from_b)) =
            (a.generate_sync_message(&mut to_b), b.generate_sync_message(&mut to_a));
        if from_a.is_none() && from_b.is_none() {
            break;
        }
        messages += 1;
        if let Some(message) = from_a {
            let Ok(()) = b.receive_sync_message(&mut to_a, message);
        }
        if let Some(message) = from_b {
            let Ok(()) = a.receive_sync_message(&mut to_b, message);
        }
    }
    assert_eq!(a.heads(), b.heads());
    let looked = a.looked.get() + b.looked.get();
    assert!(looked < 60 * messages, "{looked} looks at a graph of 5000, in {messages} rounds");
}
