//! Random graphs, random histories of two sides, and a network that loses, repeats and reorders: they always meet,
//! then fall silent, and nothing is sent again that was acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use driftless_core::hash_graph::{HashGraph, NodeId};
use driftless_core::sync_doc::{Message, State};
use proptest::prelude::*;

use crate::plain::{Doc, id_of, reconnect};

/// Numbers from a seed, so that one number names a run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % sides
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

/// A change on one or two random nodes, or on all heads.
fn edit(doc: &mut Doc, dice: &mut Dice) {
    let text = format!("{} {}", dice.roll(1 << 40), doc.seq);
    if doc.len() == 0 || dice.chance(50) {
        doc.put(&text);
        return;
    }
    let mut on = BTreeSet::new();
    for _ in 0..=dice.roll(2) {
        let at = doc.len() - dice.roll(doc.len().min(8));
        let Ok(node) = doc.graph.node(at);
        on.insert(node.id);
    }
    doc.put_on(&Vec::from_iter(on), &text);
}

fn start(dice: &mut Dice) -> (Doc, Doc) {
    let mut a = Doc::new(1);
    (0..dice.roll(40)).for_each(|_| edit(&mut a, dice));
    let mut b = if dice.chance(15) { Doc::new(2) } else { a.fork(2) };
    (0..dice.roll(20)).for_each(|_| edit(&mut a, dice));
    (0..dice.roll(20)).for_each(|_| edit(&mut b, dice));
    (a, b)
}

struct Network {
    lost: u64,
    repeated: u64,
    reordered: u64,
}

/// One side of a run.
struct Side {
    doc: Doc,
    state: State,
    inbox: VecDeque<Message>,
    older: Option<(Doc, Vec<u8>)>,
    flags: bool,
}

impl Side {
    fn new(doc: Doc, flags: bool) -> Self {
        let state = if flags { State::new().with_flags() } else { State::new() };
        Self { doc, state, inbox: VecDeque::new(), older: None, flags }
    }

    fn reconnect(&mut self, dice: &mut Dice) {
        let state = if dice.chance(50) { reconnect(&self.state) } else { State::new() };
        self.state = if self.flags { state.with_flags() } else { state };
        self.inbox.clear();
    }
}

fn run(seed: u64, network: &Network, flags: bool, resets: bool) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (a, b) = start(&mut dice);
    let mut sides = [Side::new(a, flags), Side::new(b, flags)];
    let steps = 40 + dice.roll(60);
    for step in 0..steps {
        for me in [0, 1] {
            step_of(&mut sides, me, network, &mut dice);
        }
        if dice.chance(10) {
            edit(&mut sides[usize::from(step % 2 == 0)].doc, &mut dice);
        }
        if dice.chance(3) {
            sides.iter_mut().for_each(|side| side.reconnect(&mut dice));
        }
        let loser = &mut sides[1];
        match &loser.older {
            None if resets && dice.chance(10) => {
                loser.older = Some((loser.doc.clone(), loser.state.encode()))
            }
            Some((doc, state)) if resets && dice.chance(5) => {
                // Back from a copy, and on under another author, in a new connection.
                loser.doc = doc.fork(3 + (step % 200) as u8);
                loser.state = State::decode(state).unwrap();
                loser.older = None;
                loser.reconnect(&mut dice);
                sides[0].reconnect(&mut dice);
            }
            _ => {}
        }
    }
    // From now on nothing gets lost, and nobody edits: a bounded number of messages, then silence.
    let fine = Network { lost: 0, repeated: 0, reordered: 0 };
    let (mut messages, mut silent) = (0, 0);
    for _ in 0..10_000 {
        let said = step_of(&mut sides, 0, &fine, &mut dice) + step_of(&mut sides, 1, &fine, &mut dice);
        messages += said;
        silent = if said == 0 { silent + 1 } else { 0 };
        if silent > 1200 {
            break;
        }
    }
    let [a, b] = &sides;
    assert_eq!(a.doc.heads(), b.doc.heads(), "seed {seed}");
    assert!(messages <= 40, "seed {seed}: {messages} messages");
    assert!(silent > 1200, "seed {seed}: they go on talking");
}

/// Says what there is to say and hears what came; how many messages were said.
fn step_of(sides: &mut [Side; 2], me: usize, network: &Network, dice: &mut Dice) -> usize {
    let said = sides[me].doc.say(&mut sides[me].state);
    let count = usize::from(said.is_some());
    if let Some(message) = said {
        let inbox = &mut sides[1 - me].inbox;
        let copies = if dice.chance(network.repeated) { 2 } else { 1 };
        for _ in 0..copies {
            if !dice.chance(network.lost) {
                let at = if dice.chance(network.reordered) {
                    dice.roll(inbox.len() as u64 + 1) as usize
                } else {
                    inbox.len()
                };
                inbox.insert(at, message.clone());
            }
        }
    }
    let side = &mut sides[me];
    // Not all at once: messages cross.
    for _ in 0..=dice.roll(2) {
        if let Some(message) = side.inbox.pop_front() {
            side.doc.hear(&mut side.state, message);
        }
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn two_sides_meet_whatever_the_network_does(
        seed in any::<u64>(), lost in 0u64..50, repeated in 0u64..40, reordered in 0u64..40, flags: bool,
    ) {
        run(seed, &Network { lost, repeated, reordered }, flags, false);
    }

    #[test]
    fn two_sides_meet_also_when_one_comes_back_from_a_copy(
        seed in any::<u64>(), lost in 0u64..30, flags: bool,
    ) {
        run(seed, &Network { lost, repeated: 5, reordered: 5 }, flags, true);
    }

    #[test]
    fn a_clean_exchange_is_short(seed in any::<u64>(), flags: bool, begin: bool) {
        let mut dice = Dice(seed | 1);
        let (mut a, mut b) = start(&mut dice);
        if begin {
            std::mem::swap(&mut a, &mut b);
        }
        let new = || if flags { State::new().with_flags() } else { State::new() };
        let messages = crate::plain::alternate(&mut a, &mut b, &mut new(), &mut new());
        prop_assert_eq!(a.heads(), b.heads());
        prop_assert!(messages.len() <= 14);
    }

    #[test]
    fn what_was_acknowledged_is_not_sent_again(
        seed in any::<u64>(), lost in 0u64..30, repeated in 0u64..30, flags: bool,
    ) {
        let mut dice = Dice(seed | 1);
        let (a, b) = start(&mut dice);
        let mut sides = [Side::new(a, flags), Side::new(b, flags)];
        let mut acknowledged: [BTreeSet<NodeId>; 2] = Default::default();
        let mut sent: BTreeMap<(usize, NodeId), usize> = BTreeMap::new();
        for step in 0..150 {
            for me in [0, 1] {
                if let Some(message) = sides[me].doc.say(&mut sides[me].state) {
                    for id in message.changes.iter().map(id_of) {
                        prop_assert!(!acknowledged[me].contains(&id), "seed {}: {} sends again", seed, me);
                        *sent.entry((me, id)).or_default() += 1;
                    }
                    let copies = if dice.chance(repeated) { 2 } else { 1 };
                    for _ in 0..copies {
                        if !dice.chance(lost) {
                            sides[1 - me].inbox.push_back(message.clone());
                        }
                    }
                }
                if let Some(message) = sides[me].inbox.pop_front() {
                    let heads = message.heads.clone();
                    sides[me].doc.hear(&mut sides[me].state, message);
                    acknowledged[me].extend(past(&sides[me].doc, &heads));
                }
            }
            if step < 60 && dice.chance(15) {
                edit(&mut sides[usize::from(step % 2 == 0)].doc, &mut dice);
            }
        }
        // What was not acknowledged may go again when the peer repeats itself: without losses hardly ever, and once.
        let all: usize = sent.values().sum();
        if lost + repeated == 0 {
            prop_assert!(sent.values().all(|times| *times <= 2), "seed {}: {:?}", seed, sent.values());
        }
        prop_assert!(all <= 12 * sent.len(), "seed {}: {} changes {} times", seed, sent.len(), all);
    }
}

fn past(doc: &Doc, heads: &[NodeId]) -> BTreeSet<NodeId> {
    let mut past = BTreeSet::new();
    let mut waiting = heads.to_vec();
    while let Some(id) = waiting.pop() {
        let Ok(Some(at)) = doc.graph.position(&id) else { continue };
        if past.insert(id) {
            let Ok(node) = doc.graph.node(at);
            for parent in node.parents {
                let Ok(node) = doc.graph.node(parent);
                waiting.push(node.id);
            }
        }
    }
    past
}
