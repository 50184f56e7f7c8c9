//! Inputs that were made to hurt: the eight that broke Automerge's sync protocol, what corresponds to each in ours, and all
//! other ways to make somebody look at a history of 100,000. What each costs is measured, call by call.

use std::convert::Infallible;

use driftless_core::hash_graph::{HashGraph, HashGraphMut, MemoryGraph, Node, NodeId, Position, Tip};
use driftless_core::id::PeerId;
use driftless_core::limits::{MAX_FILTER, MAX_MARKS, MAX_SUMMARY_AUTHORS, WALK_STEP};
use driftless_core::reconcile::{Agreed, Clock, Detail, Entry, Filter, Mark, Reconciler, Salt, Summary};
use driftless_core::session::{Message, PROTOCOL_VERSION, Role, Session, numbered};
use driftless_core::sync_doc::{BloomFilter, Have, Message as SyncMessage, State, SyncDoc};

use crate::graphs::{Plain, summary};
use crate::measure::Meter;

/// One hostile input, and what it cost.
#[derive(Debug)]
pub struct Attack {
    /// What it is.
    pub name: String,
    /// What it cost.
    pub meter: Meter,
}

type Doc = MemoryGraph<Plain>;

/// Changes in a document; the eight were found with fewer.
const CHANGES: usize = 1500;
/// Rounds after which two sides must have the same, whatever was said and lost.
const ROUNDS: usize = 300;

/// All of them, each measured.
pub fn attacks() -> Vec<Attack> {
    let mut found = Vec::new();
    let mut attack = |name: &str, run: fn(&mut Meter)| {
        // Once for what is made only once.
        run(&mut Meter::new());
        let mut meter = Meter::new();
        run(&mut meter);
        found.push(Attack { name: name.into(), meter });
    };
    attack("sync_doc: a filter without bits", |meter| refused(meter, &[1, 0, 7]));
    attack("sync_doc: 2^28 probes", |meter| refused(meter, &[1, 10, 0x80, 0x80, 0x80, 0x80, 1, 0xff, 0xff]));
    attack("sync_doc: no probes", |meter| refused(meter, &[1, 10, 0, 0xff, 0xff]));
    attack("sync_doc: one number of an author twice", twice);
    attack("sync_doc: a message that is lost", |meter| meet(meter, Some(2), false));
    attack("sync_doc: everything seems to be there", |meter| meet(meter, None, true));
    attack("sync_doc: a frontier that nobody knows", unknown);
    attack("sync_doc: a thousand pushes to read", pushes);
    attack("native: a message that is lost", lost);
    attack("native: agreed a thousand times", agreed);
    for (name, details) in summaries() {
        found.push(Attack { name: format!("native: {name}"), meter: heard(&details) });
    }
    found
}

fn doc(writer: u8, changes: usize) -> Doc {
    let mut doc = Doc::new(Plain { named: true });
    (0..changes).for_each(|_| write(&mut doc, writer));
    doc
}

fn write(doc: &mut Doc, writer: u8) {
    let heads = doc.heads().unwrap_or_default();
    let seq = doc.len() + 1;
    let bytes = [&[heads.len() as u8][..], heads.as_flattened(), &[writer], &seq.to_be_bytes()].concat();
    doc.insert(&bytes).ok();
}

fn take(meter: &mut Meter, doc: &mut Doc, state: &mut State, bytes: &[u8]) -> Option<SyncMessage> {
    meter.call(|| {
        let message = SyncMessage::decode(bytes).ok()?;
        let Ok(()) = doc.receive_sync_message(state, message);
        let Ok(answer) = doc.generate_sync_message(state);
        answer
    })
}

fn refused(meter: &mut Meter, filter: &[u8]) {
    let bytes = [&[0x42, 0, 0, 1, 0, filter.len() as u8][..], filter, &[0]].concat();
    let mut doc = doc(1, 3);
    *meter = Meter::new();
    assert_eq!(take(meter, &mut doc, &mut State::new(), &bytes), None);
}

// Talks until both have nothing more to say; what the second says may be changed, and one message be lost.
fn talk(meter: &mut Meter, docs: &mut [Doc; 2], lost: Option<usize>, change: impl Fn(&mut SyncMessage)) {
    let mut states = [State::new(), State::new()];
    *meter = Meter::new();
    let (mut said, mut quiet) = (0, 0);
    for round in 0..2 * ROUNDS {
        let (from, to) = (round % 2, 1 - round % 2);
        let Ok(message) = meter.call(|| docs[from].generate_sync_message(&mut states[from]));
        let Some(mut message) = message else {
            quiet += 1;
            continue;
        };
        quiet = 0;
        if from == 1 {
            change(&mut message);
        }
        if lost != Some(said) {
            let Ok(()) = meter.call(|| docs[to].receive_sync_message(&mut states[to], message));
        }
        said += 1;
    }
    assert!(quiet > 8, "they talk for ever");
    assert_eq!(docs[0].heads(), docs[1].heads());
}

fn twice(meter: &mut Meter) {
    let mut docs = [doc(1, 1), doc(1, 1)];
    let other = [&[0][..], &[1], &1_u64.to_be_bytes(), b"another"].concat();
    docs[1] = Doc::new(Plain { named: true });
    docs[1].insert(&other).ok();
    for (doc, writer) in docs.iter_mut().zip([2, 3]) {
        (0..5).for_each(|_| write(doc, writer));
    }
    talk(meter, &mut docs, None, |_| {});
}

fn meet(meter: &mut Meter, lost: Option<usize>, lies: bool) {
    let mut docs = [doc(1, CHANGES), doc(1, CHANGES)];
    for (doc, writer) in docs.iter_mut().zip([2, 3]) {
        (0..50).for_each(|_| write(doc, writer));
    }
    talk(meter, &mut docs, lost, |message| {
        for have in message.have.iter_mut().filter(|_| lies) {
            have.bloom = ones();
        }
    });
}

// A filter that holds whatever it is asked for.
fn ones() -> BloomFilter {
    let bytes = [&[0x80, 0x01, 10, 7][..], &[0xff; 160]].concat();
    BloomFilter::try_from(bytes.as_slice()).unwrap_or_default()
}

fn unknown(meter: &mut Meter) {
    let mut doc = doc(1, CHANGES);
    let mut state = State::new();
    let have = Have { last_sync: vec![[8; 32]], bloom: BloomFilter::default() };
    let Ok(Some(mut message)) = doc.generate_sync_message(&mut State::new()) else { return };
    (message.heads, message.have) = (vec![[7; 32]], vec![have]);
    let bytes = message.encode();
    *meter = Meter::new();
    take(meter, &mut doc, &mut state, &bytes);
    let answers = (0..1000).filter(|_| {
        meter.call(|| doc.generate_sync_message(&mut state)).is_ok_and(|message| message.is_some())
    });
    assert!(answers.count() < 10);
}

fn pushes(meter: &mut Meter) {
    let (mut publisher, mut reader) = (doc(1, 3), Doc::new(Plain { named: true }));
    let (mut to_reader, mut to_publisher) = (State::new_read_only(), State::new());
    *meter = Meter::new();
    for push in 0..1000 {
        write(&mut publisher, 1);
        let Ok(Some(message)) = meter.call(|| publisher.generate_sync_message(&mut to_reader)) else {
            continue;
        };
        let bytes = message.encode();
        assert!(bytes.len() < 1024, "push {push} takes {} bytes", bytes.len());
        let answer = take(meter, &mut reader, &mut to_publisher, &bytes);
        if let Some(answer) = answer {
            let Ok(()) = meter.call(|| publisher.receive_sync_message(&mut to_reader, answer));
        }
        // The graph that grows by it is not what the next one costs.
        meter.restart();
    }
    assert_eq!(publisher.heads(), reader.heads());
}

fn lost(meter: &mut Meter) {
    let (us, them) = (PeerId([1; 32]), PeerId([2; 32]));
    let mut session = Session::new(Role::Dialer, us, them, [3; 16], Vec::new());
    let hello = numbered(1, &Message::Hello { version: PROTOCOL_VERSION, nonce: [4; 16] });
    *meter = Meter::new();
    assert!(meter.call(|| session.handle_frame(&hello)).is_err());
}

fn agreed(meter: &mut Meter) {
    let mut reconciler = Reconciler::new(Salt::new(&[b"hostile"]), Vec::new());
    *meter = Meter::new();
    for number in 0..1000_u64 {
        meter.call(|| reconciler.agree(number.to_be_bytes(), number));
    }
    assert!(reconciler.agreed().len() <= 4);
}

/// Summaries that make us look, one after the other in one exchange.
pub(crate) fn summaries() -> Vec<(&'static str, Vec<Detail>)> {
    let entry = |number: u32, seq| Entry { tag: number.to_be_bytes(), seq, check: [0; 4] };
    let clock = |seq| Clock((0..MAX_SUMMARY_AUTHORS as u32).map(|number| entry(number, seq)).collect());
    let fork = |number: u32| Entry { tag: [0; 4], seq: 5, check: number.to_be_bytes() };
    let forks = Clock((0..MAX_SUMMARY_AUTHORS as u32).map(fork).collect());
    let marks = |from: u64, every: u64| -> Vec<Mark> {
        let ids = (0..MAX_MARKS as u64).map(|number| Sides::id(from + number * every));
        ids.filter_map(|id| id.first_chunk().copied()).collect()
    };
    let filter = |byte| Filter::from_bytes(&[byte; MAX_FILTER]).unwrap_or_default();
    let all = || vec![true; MAX_MARKS];
    vec![
        (
            "marks, and a filter without bits",
            vec![Detail::Marks(marks(1, 97)), Detail::Filter(Vec::new(), filter(0))],
        ),
        (
            "marks, and a filter that holds all",
            vec![Detail::Marks(marks(1, 1)), Detail::Filter(Vec::new(), filter(0xff))],
        ),
        (
            "as much above the marks as a filter holds",
            vec![Detail::Marks(marks(47_600, 1)), Detail::Filter(Vec::new(), filter(0xff))],
        ),
        ("no marks", vec![Detail::Marks(Vec::new())]),
        ("marks of almost all heads", vec![Detail::Marks(marks(Sides::LEN - 1025, 1))]),
        ("all our marks, and a filter that holds all", vec![Detail::Filter(all(), filter(0xff))]),
        ("all our marks, and a filter without bits", vec![Detail::Filter(all(), Filter::default())]),
        ("the last of all rounds", vec![Detail::Again(u32::MAX, marks(1, 1), filter(0xff))]),
        ("a round without marks", vec![Detail::Again(0, Vec::new(), filter(0))]),
        ("one number of an author a thousand times", vec![Detail::Clock(forks)]),
        ("a clock of nobody", vec![Detail::Clock(Clock::default())]),
        ("a clock of others", vec![Detail::Clock(clock(7))]),
        ("a clock that is ahead", vec![Detail::Otherwise(clock(u64::MAX))]),
        (
            "a frontier that nobody knows",
            vec![Detail::Since([9; 8], clock(1)), Detail::Recent([9; 8], filter(1))],
        ),
        ("since the beginning, a clock", vec![Detail::Since([7; 8], Clock::default())]),
        ("since the beginning, a filter that holds all", vec![Detail::Recent([7; 8], filter(0xff))]),
        ("nothing", vec![Detail::Nothing, Detail::Bare]),
    ]
}

// Heard by histories of 100,000 of several shapes.
fn heard(details: &[Detail]) -> Meter {
    let mut worst = Meter::new();
    for (authors, named) in [(1, true), (3000, true), (40, false)] {
        for first in [true, false] {
            let graph = Sides { authors, named };
            let known = vec![Agreed { digest: [7; 8], len: 1 }, Agreed { digest: [8; 8], len: Sides::LEN }];
            let mut reconciler = Reconciler::new(Salt::new(&[b"hostile"]), known);
            let Ok(_) = reconciler.offer(&graph, [1; 8]);
            for detail in details {
                let bytes = said(detail.clone());
                let mut meter = Meter::new();
                let Some(theirs) = meter.call(|| summary(Message::decode(&bytes).ok()?)) else { continue };
                reconciler.begin(theirs, first);
                while reconciler.is_busy() {
                    let Ok(_) = meter.call(|| reconciler.go(&graph, [1; 8], WALK_STEP));
                }
                worst.join(&meter);
            }
        }
    }
    worst
}

fn said(detail: Detail) -> Vec<u8> {
    let summary = Summary { digest: [9; 8], detail };
    Message::Want { slot: 0, ids: Vec::new(), again: Some(summary) }.encode()
}

/// Chains side by side, which meet now and then, computed and not kept.
struct Sides {
    authors: u64,
    named: bool,
}

impl Sides {
    const LEN: Position = 100_000;

    fn id(at: Position) -> NodeId {
        let mut id = [0; 32];
        let (first, rest) = id.split_at_mut(8);
        first.copy_from_slice(&at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        rest[..8].copy_from_slice(&at.to_be_bytes());
        id
    }

    fn here(at: Position) -> Option<Position> {
        (1..=Self::LEN).contains(&at).then_some(at)
    }
}

impl HashGraph for Sides {
    type Error = Infallible;

    fn len(&self) -> Position {
        Self::LEN
    }

    fn heads(&self) -> Result<Vec<NodeId>, Infallible> {
        Ok((Self::LEN - self.authors + 1..=Self::LEN).map(Self::id).collect())
    }

    fn position(&self, id: &NodeId) -> Result<Option<Position>, Infallible> {
        let at = id.get(8..16).and_then(|bytes| bytes.try_into().ok()).map_or(0, Position::from_be_bytes);
        Ok(Self::here(at).filter(|at| Self::id(*at) == *id))
    }

    fn node(&self, at: Position) -> Result<Node, Infallible> {
        let previous = at.checked_sub(self.authors).filter(|at| *at > 0);
        let mut parents: Vec<Position> = previous.into_iter().collect();
        if at.is_multiple_of(97) && at > 2 * self.authors {
            parents.push(at - self.authors - 1);
        }
        let author = self.named.then(|| ((at % self.authors).to_be_bytes(), (at - 1) / self.authors + 1));
        Ok(Node { id: Self::id(at), parents, author, previous })
    }

    fn with_prefix(&self, prefix: &[u8; 8]) -> Result<Vec<Position>, Infallible> {
        // Multiplication by an odd number has an inverse.
        let at = u64::from_be_bytes(*prefix).wrapping_mul(0xf1de_83e1_9937_733d);
        Ok(Self::here(at).into_iter().collect())
    }

    fn tips(&self) -> Result<Vec<Tip>, Infallible> {
        let tip = |at: Position| Tip {
            author: (at % self.authors).to_be_bytes(),
            seq: (at - 1) / self.authors + 1,
            at,
        };
        Ok(if self.named {
            (Self::LEN - self.authors + 1..=Self::LEN).map(tip).collect()
        } else {
            Vec::new()
        })
    }
}
