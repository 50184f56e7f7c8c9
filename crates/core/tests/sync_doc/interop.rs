//! Against the real Automerge: the same heads on both sides, in as many messages as two real peers need.

use automerge::sync::{self as real, SyncDoc as _};
use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ROOT, ReadDoc};
use driftless_core::hash_graph::{HashGraph, HashGraphMut, Inserted, MemoryGraph, NodeId};
use driftless_core::sync_doc::{Message, MessageVersion, State, SyncDoc as _};

use crate::automerge_changes::Changes;

trait Side {
    fn say(&mut self) -> Option<Vec<u8>>;
    fn hear(&mut self, bytes: &[u8]);
    fn heads(&mut self) -> Vec<NodeId>;
    /// A new connection, with what the last one left behind if `persisted`.
    fn reconnect(&mut self, persisted: bool);
    /// The document is now this one.
    fn become_like(&mut self, doc: &AutoCommit);
}

struct Real {
    doc: AutoCommit,
    state: real::State,
    flags: bool,
}

struct Ours {
    graph: MemoryGraph<Changes>,
    state: State,
}

impl Side for Real {
    fn say(&mut self) -> Option<Vec<u8>> {
        let bytes = self.doc.sync().generate_sync_message(&mut self.state)?.encode();
        let mut message = Message::decode(&bytes).unwrap();
        assert_eq!(message.encode(), bytes, "we write what Automerge writes");
        if !self.flags {
            message.flags = None;
        }
        Some(message.encode())
    }

    fn hear(&mut self, bytes: &[u8]) {
        let message = real::Message::decode(bytes).unwrap();
        self.doc.sync().receive_sync_message(&mut self.state, message).unwrap();
    }

    fn heads(&mut self) -> Vec<NodeId> {
        self.doc.get_heads().into_iter().map(|head| head.0).collect()
    }

    fn reconnect(&mut self, persisted: bool) {
        let state = real::State::decode(&self.state.encode()).unwrap();
        self.state = if persisted { state } else { real::State::new() };
    }

    fn become_like(&mut self, doc: &AutoCommit) {
        self.doc = doc.clone();
    }
}

impl Side for Ours {
    fn say(&mut self) -> Option<Vec<u8>> {
        let Ok(message) = self.graph.generate_sync_message(&mut self.state);
        let bytes = message?.encode();
        assert_eq!(real::Message::decode(&bytes).unwrap().encode(), bytes, "Automerge writes what we write");
        Some(bytes)
    }

    fn hear(&mut self, bytes: &[u8]) {
        let message = Message::decode(bytes).unwrap();
        assert_eq!(message.version, MessageVersion::V1, "whole documents are not sent to us");
        let Ok(received) = self.graph.receive_sync_message_reporting(&mut self.state, message);
        assert_eq!(received.refused, []);
    }

    fn heads(&mut self) -> Vec<NodeId> {
        let Ok(heads) = self.graph.heads();
        heads
    }

    fn reconnect(&mut self, persisted: bool) {
        let state = State::decode(&self.state.encode()).unwrap();
        self.state = if persisted { state } else { State::new() };
    }

    fn become_like(&mut self, doc: &AutoCommit) {
        self.graph = graph_of(doc);
    }
}

fn real_side(doc: &AutoCommit, flags: bool) -> Box<dyn Side> {
    Box::new(Real { doc: doc.clone(), state: real::State::new(), flags })
}

fn our_side(doc: &AutoCommit) -> Box<dyn Side> {
    Box::new(Ours { graph: graph_of(doc), state: State::new() })
}

// As Automerge would store them: what is long is deflated.
fn graph_of(doc: &AutoCommit) -> MemoryGraph<Changes> {
    let mut graph = MemoryGraph::new(Changes);
    for mut change in doc.clone().get_changes(&[]) {
        assert!(matches!(graph.insert(&change.bytes()), Ok(Inserted::New(_))));
    }
    graph
}

/// Alternating, `a` first; messages and bytes.
fn talk(a: &mut Box<dyn Side>, b: &mut Box<dyn Side>) -> (usize, usize) {
    let (mut messages, mut bytes, mut silent) = (0, 0, 0);
    let (mut speaker, mut listener) = (a, b);
    while silent < 2 {
        match speaker.say() {
            Some(message) => {
                (messages, bytes, silent) = (messages + 1, bytes + message.len(), 0);
                listener.hear(&message);
            }
            None => silent += 1,
        }
        assert!(messages < 60, "they go on talking");
        std::mem::swap(&mut speaker, &mut listener);
    }
    (messages, bytes)
}

fn actor(number: u8) -> ActorId {
    ActorId::from(&[number; 16][..])
}

/// Some changes: short ones, and every 16th so long that it travels deflated.
fn edit(doc: &mut AutoCommit, from: usize, count: usize) {
    for number in from..from + count {
        let text = if number % 16 == 7 { "long ".repeat(100) } else { format!("value {number}") };
        doc.put(ROOT, format!("key{}", number % 50), text).unwrap();
        doc.commit();
    }
}

fn shared(count: usize) -> AutoCommit {
    let mut doc = AutoCommit::new().with_actor(actor(1));
    edit(&mut doc, 0, count);
    doc
}

/// Whoever speaks to whom, who met when both had `base` or never met: equal heads, and no more messages than two real
/// peers need.
fn compare(name: &str, base: Option<&AutoCommit>, left: &AutoCommit, right: &AutoCommit) {
    for turned in [false, true] {
        let (first, second) = if turned { (right, left) } else { (left, right) };
        let start = base.unwrap_or(first);
        let other = base.unwrap_or(second);
        let sides = [
            ("two real ones", real_side(start, true), real_side(other, true)),
            ("two real ones without flags", real_side(start, false), real_side(other, false)),
            ("we begin", our_side(start), real_side(other, true)),
            ("we answer", real_side(start, true), our_side(other)),
            ("two of ours", our_side(start), our_side(other)),
        ];
        let mut counts = Vec::new();
        for (who, mut a, mut b) in sides {
            if base.is_some() {
                talk(&mut a, &mut b);
                a.reconnect(true);
                b.reconnect(true);
                a.become_like(first);
                b.become_like(second);
            }
            let (messages, bytes) = talk(&mut a, &mut b);
            assert_eq!(a.heads(), b.heads(), "{name}, {who}");
            counts.push((who, messages, bytes));
            for persisted in [true, false] {
                a.reconnect(persisted);
                b.reconnect(persisted);
                assert_eq!(talk(&mut a, &mut b).0, 2, "{name}, {who}: hello is all there is to say");
            }
        }
        let real = counts[0].1.max(counts[1].1);
        for (who, messages, _) in &counts[2..] {
            assert!(*messages <= real, "{name}, {who}: {counts:?}");
        }
    }
}

#[test]
fn an_empty_side_gets_everything_whoever_begins() {
    for count in [1, 40, 600] {
        let doc = shared(count);
        compare(&format!("from empty, {count}"), None, &AutoCommit::new(), &doc);
    }
    let empty = AutoCommit::new();
    compare("both empty", None, &empty, &empty);
}

#[test]
fn both_sides_have_new_changes() {
    for (common, left, right) in [(0, 3, 2), (10, 0, 1), (100, 1, 0), (300, 40, 60), (2000, 500, 500)] {
        let mut base = shared(common);
        let mut a = base.fork().with_actor(actor(2));
        let mut b = base.fork().with_actor(actor(3));
        edit(&mut a, 3000, left);
        edit(&mut b, 4000, right);
        let name = format!("{common} shared, {left} and {right} new");
        compare(&name, None, &a, &b);
        compare(&format!("{name}, met before"), Some(&base), &a, &b);
    }
}

#[test]
fn merges_and_concurrent_heads_arrive() {
    let mut base = shared(20);
    let mut forks: Vec<AutoCommit> = (10..30).map(|number| base.fork().with_actor(actor(number))).collect();
    for (number, fork) in forks.iter_mut().enumerate() {
        edit(fork, 100 * number, 1 + number % 4);
    }
    let mut a = base.fork().with_actor(actor(2));
    let mut b = base.fork().with_actor(actor(3));
    for (number, fork) in forks.iter_mut().enumerate() {
        let into = if number % 3 == 0 { &mut a } else { &mut b };
        into.merge(fork).unwrap();
        if number % 5 == 0 {
            edit(into, 5000 + number, 2);
        }
    }
    assert!(b.get_heads().len() > 3, "several heads");
    compare("merges", None, &a, &b);
    compare("merges, met before", Some(&base), &a, &b);
}

#[test]
fn long_changes_travel_deflated() {
    let deflated = |bytes: &[u8]| bytes[8] == 2;
    let graph = graph_of(&shared(40));
    assert_eq!(graph.iter().filter(|(_, bytes)| deflated(bytes)).count(), 3);
}

#[test]
fn what_was_lost_on_the_way_from_or_to_automerge_is_sent_again() {
    for lost in 0..6 {
        for we_begin in [true, false] {
            let mut base = shared(30);
            let mut left = base.fork().with_actor(actor(2));
            let mut right = base.fork().with_actor(actor(3));
            edit(&mut left, 100, 5);
            edit(&mut right, 200, 5);
            let mut ours = our_side(&left);
            let mut real: Box<dyn Side> = real_side(&right, true);
            let mut messages = 0;
            // Ours is asked now and then, as a program with a clock would.
            for round in 0..200 {
                let (speaker, listener) = if (round % 2 == 0) == we_begin {
                    (&mut ours, &mut real)
                } else {
                    (&mut real, &mut ours)
                };
                if let Some(message) = speaker.say() {
                    if messages != lost {
                        listener.hear(&message);
                    }
                    messages += 1;
                }
            }
            assert_eq!(ours.heads(), real.heads(), "message {lost} lost, we begin: {we_begin}");
            assert!(messages < 30, "{messages} messages");
        }
    }
}

#[test]
fn a_real_peer_that_lost_its_newest_change_is_sent_one() {
    let mut base = shared(300);
    let mut newer = base.fork().with_actor(actor(2));
    edit(&mut newer, 1000, 1);
    for we_lost in [false, true] {
        let (mut ours, mut real) = (our_side(&newer), real_side(&newer, true));
        talk(&mut ours, &mut real);
        ours.reconnect(true);
        real.reconnect(true);
        if we_lost {
            let state = ours.heads();
            ours = Box::new(Ours { graph: graph_of(&base), state: State::decode(&encoded(&state)).unwrap() });
        } else {
            let mut state = vec![0x43, 1];
            state.extend(real.heads().iter().flatten());
            real = Box::new(Real {
                doc: base.clone(),
                state: real::State::decode(&state).unwrap(),
                flags: true,
            });
        }
        for we_begin in [true, false] {
            let (messages, bytes) =
                if we_begin { talk(&mut ours, &mut real) } else { talk(&mut real, &mut ours) };
            assert_eq!(ours.heads(), real.heads());
            assert!(messages <= 5 && bytes < 2500, "{messages} messages, {bytes} bytes");
        }
    }
}

fn encoded(heads: &[NodeId]) -> Vec<u8> {
    let mut state = vec![0x43, heads.len() as u8];
    state.extend(heads.iter().flatten());
    state
}

#[test]
fn what_automerge_wrote_can_be_read_by_automerge_after_it_went_through_us() {
    let mut left = AutoCommit::new().with_actor(actor(1));
    left.put(ROOT, "key", "value").unwrap();
    left.commit();
    let mut carrier = our_side(&AutoCommit::new());
    let mut from: Box<dyn Side> = real_side(&left, true);
    talk(&mut from, &mut carrier);
    let mut right = Real { doc: AutoCommit::new(), state: real::State::new(), flags: true };
    carrier.reconnect(false);
    for _ in 0..4 {
        if let Some(message) = carrier.say() {
            right.hear(&message);
        }
        if let Some(message) = right.say() {
            carrier.hear(&message);
        }
    }
    assert_eq!(right.doc.get(ROOT, "key").unwrap().unwrap().0.as_str(), Some("value"));
}
