//! Messages from somebody who means harm, and bytes from nobody: no panic, and little time and memory for each.

use std::time::{Duration, Instant};

use driftless_core::sync_doc::{
    BloomFilter, ChunkList, Have, Message, MessageVersion, ReadMessageError, State, SyncDoc,
};
use proptest::prelude::*;

use crate::plain::{Doc, change, id_of, sync};

/// Tests run without optimisation and beside others: ten milliseconds there are one or two of a release.
const DEBUG_FACTOR: u32 = 20;
const LONGEST: Duration = Duration::from_millis(10 * DEBUG_FACTOR as u64);

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn with_filter(numbers: [u64; 3], bits: &[u8]) -> Vec<u8> {
    let mut filter = Vec::new();
    numbers.iter().for_each(|number| put_number(&mut filter, *number));
    filter.extend(bits);
    let mut message = vec![0x42, 0, 0, 1, 0];
    put_number(&mut message, filter.len() as u64);
    message.extend(filter);
    message.push(0);
    message
}

fn small() -> Doc {
    let mut doc = Doc::new(1);
    doc.puts(3, "x");
    doc
}

fn said(heads: Vec<[u8; 32]>, have: Vec<Have>) -> Message {
    Message {
        heads,
        need: Vec::new(),
        have,
        changes: ChunkList::empty(),
        flags: None,
        version: MessageVersion::V1,
    }
}

/// Reads it, takes it and answers, in time; a machine that was busy elsewhere is asked again.
fn try_on(doc: &mut Doc, state: &mut State, bytes: &[u8]) {
    let (before, state_before) = (doc.clone(), state.clone());
    for attempt in 1.. {
        (*doc, *state) = (before.clone(), state_before.clone());
        let began = Instant::now();
        if let Ok(message) = Message::decode(bytes) {
            doc.hear(state, message);
            doc.say(state);
        }
        if began.elapsed() < LONGEST {
            return;
        }
        assert!(attempt < 3, "{:?} for {} bytes", began.elapsed(), bytes.len());
    }
}

#[test]
fn filters_that_kill_or_stall_automerge_are_refused() {
    for (numbers, bits) in [
        ([1, 0, 7], &[][..]),
        ([1, 10, 1 << 28], &[0xff, 0xff]),
        ([1, 10, u64::from(u32::MAX)], &[0xff, 0xff]),
        ([1, 10, 0], &[0xff, 0xff]),
        ([u64::from(u32::MAX), u64::from(u32::MAX), 7], &[]),
    ] {
        let bytes = with_filter(numbers, bits);
        assert!(matches!(Message::decode(&bytes), Err(ReadMessageError::Bloom(_))), "{numbers:?}");
        try_on(&mut small(), &mut State::new(), &bytes);
    }
}

#[test]
fn a_dropped_message_costs_a_few_more() {
    for dropped in 0..6 {
        let (mut a, mut b) = (small(), Doc::new(2));
        b.puts(3, "y");
        let (mut to_b, mut to_a) = (State::new(), State::new());
        let mut messages = 0;
        for round in 0..500 {
            let (from, to, ours, theirs) = if round % 2 == 0 {
                (&a, &mut b, &mut to_b, &mut to_a)
            } else {
                (&b, &mut a, &mut to_a, &mut to_b)
            };
            if let Some(message) = from.say(ours) {
                if messages != dropped {
                    to.hear(theirs, message);
                }
                messages += 1;
            }
        }
        assert_eq!(a.heads(), b.heads(), "message {dropped} dropped");
        assert!(messages < 16, "{messages} messages");
    }
}

#[test]
fn an_unknown_last_sync_is_answered_once() {
    let mut doc = small();
    let mut state = State::new();
    doc.hear(
        &mut state,
        said(vec![[7; 32]], vec![Have { last_sync: vec![[8; 32]], bloom: BloomFilter::default() }]),
    );
    let answers = (0..1000).filter(|_| doc.say(&mut state).is_some()).count();
    assert!((1..=8).contains(&answers), "{answers} messages to somebody who is silent");
}

#[test]
fn a_peer_that_always_says_the_same_is_not_answered_for_ever() {
    let mut doc = small();
    let mut state = State::new();
    let answers = (0..1000)
        .filter(|_| {
            doc.hear(&mut state, said(vec![[7; 32]], vec![Have::default()]));
            doc.say(&mut state).is_some()
        })
        .count();
    assert!(answers < 20, "{answers} answers");
}

#[test]
fn orphans_of_a_peer_are_bounded_and_its_own() {
    let mut doc = small();
    let (mut hostile, mut honest) = (State::new(), State::new());
    let mut dropped = 0;
    for round in 0..60u64 {
        let changes: Vec<Vec<u8>> =
            (0..100).map(|n| change(&[[9; 32]], 6, round * 100 + n, "orphan")).collect();
        let message = Message { changes: ChunkList::from(changes), ..said(vec![[7; 32]], Vec::new()) };
        let Ok(received) = doc.graph.receive_sync_message_reporting(&mut hostile, message);
        dropped += received.dropped;
    }
    assert_eq!((hostile.orphans(), dropped), (4096, 6000 - 4096));
    assert_eq!(honest.orphans(), 0);
    let mut other = doc.fork(3);
    other.put("new");
    sync(&mut doc, &mut other, &mut honest, &mut State::new());
    assert_eq!(doc.heads(), other.heads());
}

#[test]
fn large_orphans_are_bounded_by_their_bytes() {
    let mut doc = small();
    let mut state = State::new();
    let text = "x".repeat(1 << 20);
    let changes: Vec<Vec<u8>> = (0..8).map(|number| change(&[[9; 32]], 6, number, &text)).collect();
    doc.hear(&mut state, Message { changes: ChunkList::from(changes), ..said(vec![[7; 32]], Vec::new()) });
    assert_eq!(state.orphans(), 3);
}

#[test]
fn a_reversed_chain_of_orphans_resolves_quickly() {
    let mut from = Doc::new(2);
    from.puts(3000, "x");
    let mut changes: Vec<Vec<u8>> = from.graph.iter().map(|(_, bytes)| bytes.to_vec()).collect();
    changes.reverse();
    let began = Instant::now();
    let mut doc = Doc::new(1);
    doc.hear(
        &mut State::new(),
        Message { changes: ChunkList::from(changes), ..said(from.heads(), Vec::new()) },
    );
    assert_eq!(doc.heads(), from.heads());
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn counts_and_summaries_beyond_the_bytes_are_refused() {
    for bytes in [
        &[0x42, 0xff, 0xff, 0xff, 0xff, 0x0f][..],
        &[
            0x42, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0,
        ],
        &[0x42, 0, 0, 0, 0xff, 0xff, 0x03],
        &[0x42, 0, 0, 1, 0, 5, 1],
        &[0x41],
        &[],
    ] {
        assert!(Message::decode(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_large_message_of_nothing_costs_about_its_size() {
    // A quarter of a million empty changes, and as many needs and heads as fit.
    let mut chunks = vec![0x42, 0, 0, 0];
    put_number(&mut chunks, 250_000);
    chunks.extend(std::iter::repeat_n(0, 250_000));
    let began = Instant::now();
    let mut doc = small();
    let Ok(received) =
        doc.graph.receive_sync_message_reporting(&mut State::new(), Message::decode(&chunks).unwrap());
    assert_eq!(received.refused.len(), 250_000);
    let heads: Vec<[u8; 32]> = (0..8000u32).map(|number| id_of(&number.to_le_bytes())).collect();
    let mut state = State::new();
    doc.hear(&mut state, Message { need: heads.clone(), ..said(heads, Vec::new()) });
    assert!(doc.say(&mut state).is_some_and(|message| message.need.len() <= 1024));
    assert!(began.elapsed() < Duration::from_secs(5));
}

fn real_message() -> Vec<u8> {
    let (mut a, mut b) = (small(), Doc::new(2));
    b.puts(2, "y");
    let (mut to_b, mut to_a) = (State::new().with_flags(), State::new().with_flags());
    b.hear(&mut to_a, a.say(&mut to_b).unwrap());
    a.hear(&mut to_b, b.say(&mut to_a).unwrap());
    a.say(&mut to_b).unwrap().encode()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for start in [0x42, 0x43] {
            let mut started = bytes.clone();
            if let Some(first) = started.first_mut() {
                *first = start;
            }
            try_on(&mut small(), &mut State::new(), &started);
            if let Ok(state) = State::decode(&started) {
                let Ok(_) = small().graph.generate_sync_message(&mut state.clone());
                prop_assert_eq!(State::decode(&state.encode()), Ok(state));
            }
        }
        if let Ok(filter) = BloomFilter::try_from(bytes.as_slice()) {
            filter.contains_hash(&[5; 32]);
            prop_assert_eq!(BloomFilter::try_from(filter.to_bytes().as_slice()), Ok(filter));
        }
    }

    #[test]
    fn changed_messages_are_read_or_refused(
        at in any::<prop::sample::Index>(), by in any::<u8>(), cut in any::<prop::sample::Index>(), cuts: bool,
    ) {
        let mut bytes = real_message();
        let place = at.index(bytes.len());
        bytes[place] = by;
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        let mut state = State::new();
        let mut doc = small();
        for _ in 0..3 {
            try_on(&mut doc, &mut state, &bytes);
        }
        if let Ok(message) = Message::decode(&bytes) {
            let again = message.encode();
            prop_assert_eq!(Message::decode(&again), Ok(message));
        }
    }
}
