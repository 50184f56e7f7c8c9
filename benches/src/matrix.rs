//! Two graphs in memory brought together by a session, beside the same changes in two Automerge documents: what is said
//! beyond the changes, how often it goes to and fro, and the CPU of both sides, for many shapes and differences.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use automerge::Automerge;
use automerge::sync::{State, SyncDoc};
use driftless_core::hash_graph::{HashGraph, MemoryGraph};
use driftless_core::id::{PeerId, SpaceId};
use driftless_core::reconcile::{Agreed, frontier_digest};
use driftless_core::session::{Event, GraphHost, Message, Output, Role, Session, take_number};
use driftless_core::sign::AuthorKey;

use crate::fixture::Place;
use crate::stopwatch::{Failure, median, micros, spent};
use crate::table::{Results, number};
use crate::topology::{History, Opaque, Topology};

const SPACE: SpaceId = SpaceId([7; 32]);
const NEW: [usize; 5] = [0, 1, 10, 100, 1000];

/// What one exchange took.
#[derive(Debug, Clone, Copy, Default)]
struct Took {
    // Beyond the changes, and before anything was said of them.
    overhead: usize,
    greeting: usize,
    changes: usize,
    // One way, without a pause; and those after which all changes were there.
    flights: usize,
    data: usize,
    ms: f64,
}

/// For each shape, size, difference and state of acquaintance, one row.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let sizes: &[usize] = if place.quick { &[1_000, 10_000] } else { &[1_000, 10_000, 100_000] };
    let mut table = format!(
        "{:<24} {:>7} {:>5} {:<5}  {:>7} {:>5} {:>8}  {:>9} {:>4} {:>8}  {:>7} {:>7}  verdict\n",
        "shape", "n", "d", "state", "bytes", "fl.", "CPU ms", "Automerge", "fl.", "CPU ms", "bytes", "CPU"
    );
    let mut greeting = 0;
    for topology in Topology::ALL {
        for n in sizes {
            let history = History::new(topology, *n)?;
            for known in [false, true] {
                for new in NEW {
                    let runs = if *n > 10_000 { place.size(5, 1) } else { place.size(9, 5) };
                    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                    for _ in 0..runs {
                        let [left, right] = history.sides(new)?;
                        ours.push(session(left.graph, right.graph, &history, known)?);
                        theirs.push(automerge(left.document, right.document, &history, known)?);
                    }
                    let (ours, theirs) = (middle(&ours), middle(&theirs));
                    greeting = ours.greeting;
                    let row = row(topology, *n, new, known, &ours, &theirs);
                    eprint!("  {row}");
                    table += &row;
                }
            }
        }
    }
    let _ = writeln!(
        table,
        "fl.: flights until all changes were there / until nothing more was said. Greeting: {greeting} B."
    );
    results.append(table);
    Ok(())
}

fn middle(runs: &[Took]) -> Took {
    let ms = median(runs.iter().map(|took| took.ms).collect());
    runs.last().map_or_else(Took::default, |took| Took { ms, ..*took })
}

fn row(topology: Topology, n: usize, new: usize, known: bool, ours: &Took, theirs: &Took) -> String {
    let bytes = theirs.overhead as f64 / ours.overhead as f64;
    let cpu = theirs.ms / ours.ms;
    let wanted = if known { new > 0 } else { topology != Topology::Ephemeral };
    let mut verdict = match (bytes >= 1.0, cpu >= 1.0) {
        (true, true) => "ok".to_owned(),
        (false, true) => "more bytes".to_owned(),
        (true, false) => "more CPU".to_owned(),
        (false, false) => "more of both".to_owned(),
    };
    if !wanted && verdict != "ok" {
        verdict = format!("({verdict})");
    }
    let flights = |took: &Took| format!("{}/{}", took.data, took.flights);
    format!(
        "{:<24} {:>7} {:>5} {:<5}  {:>7} {:>5} {:>8.3}  {:>9} {:>4} {:>8.3}  {:>6.1}x {:>6.1}x  {verdict}\n",
        topology.name(),
        number(n as f64),
        if new == 0 { "0".to_owned() } else { number(new as f64).replace(".00", "").replace(".0", "") },
        if known { "known" } else { "fresh" },
        ours.overhead,
        flights(ours),
        ours.ms,
        theirs.overhead,
        flights(theirs),
        theirs.ms,
        bytes,
        cpu,
    )
}

struct Side {
    session: Session,
    host: GraphHost<MemoryGraph<Opaque>>,
    arriving: VecDeque<Vec<u8>>,
    settled: bool,
}

impl Side {
    fn new(role: Role, graph: MemoryGraph<Opaque>, agreed: &[Agreed]) -> Self {
        let name = |role| PeerId([if role == Role::Dialer { 1 } else { 2 }; 32]);
        let (us, them) = match role {
            Role::Dialer => (name(Role::Dialer), name(Role::Listener)),
            Role::Listener => (name(Role::Listener), name(Role::Dialer)),
        };
        let session = Session::new(role, us, them, [us.0[0]; 16], vec![AuthorKey::from_seed(&us.0)]);
        let mut host = GraphHost::new();
        host.insert(SPACE, graph);
        host.restore(BTreeMap::from([(SPACE, agreed.to_vec())]));
        Self { session, host, arriving: VecDeque::new(), settled: false }
    }

    // Takes what has come, and gives what is said to it.
    fn work(&mut self) -> Result<Vec<Vec<u8>>, Failure> {
        let mut sent = Vec::new();
        loop {
            while let Some(output) = self.session.poll() {
                match output {
                    Output::Send(bytes) => sent.push(bytes),
                    Output::Ask(ask) => self.host.answer(&mut self.session, ask)?,
                    Output::Event(Event::Settled(_)) => self.settled = true,
                    Output::Event(_) => {}
                }
            }
            let Some(bytes) = self.arriving.pop_front() else { return Ok(sent) };
            self.session.handle_frame(&bytes)?;
        }
    }
}

// Passes messages from side to side until nobody says anything; counts them.
fn talk(sides: &mut [Side; 2], sent: &mut Vec<Vec<Vec<u8>>>) -> Result<(), Failure> {
    let mut silent = 0;
    for turn in (0..2).cycle() {
        let messages = sides[turn].work()?;
        silent = if messages.is_empty() { silent + 1 } else { 0 };
        if silent == 2 {
            return Ok(());
        }
        if !messages.is_empty() {
            sides[1 - turn].arriving.extend(messages.iter().cloned());
            sent.push(messages);
        }
    }
    Ok(())
}

fn session(
    left: MemoryGraph<Opaque>,
    right: MemoryGraph<Opaque>,
    history: &History,
    known: bool,
) -> Result<Took, Failure> {
    let agreed = match known {
        true => {
            let common = &history.common.graph;
            vec![Agreed { digest: frontier_digest(&common.heads()?), len: common.len() }]
        }
        false => Vec::new(),
    };
    let (left, right) = (Side::new(Role::Dialer, left, &agreed), Side::new(Role::Listener, right, &agreed));
    let mut sides = [left, right];
    let (mut greeting, mut sent) = (Vec::new(), Vec::new());
    talk(&mut sides, &mut greeting)?;
    let (_, spent) = spent(|| {
        sides[0].session.open(SPACE, None);
        talk(&mut sides, &mut sent)
    })?;
    let heads = |side: &Side| side.host.graph(&SPACE).map(|graph| graph.heads());
    if !sides.iter().all(|side| side.settled) || heads(&sides[0]) != heads(&sides[1]) {
        return Err("two graphs are not the same after a session".into());
    }
    let mut took = Took { ms: micros(spent.cpu) / 1e3, flights: sent.len(), ..Took::default() };
    took.greeting = greeting.iter().flatten().map(Vec::len).sum();
    for (at, message) in
        sent.iter().enumerate().flat_map(|(at, sent)| sent.iter().map(move |sent| (at, sent)))
    {
        took.overhead += message.len();
        let (_, message) = take_number(message).ok_or("a message without a number")?;
        if let Message::Data { frame, .. } = Message::decode(message)? {
            took.overhead -= frame.len();
            took.changes += frame.len();
            took.data = at + 1;
        }
    }
    Ok(took)
}

fn automerge(
    mut left: Automerge,
    mut right: Automerge,
    history: &History,
    known: bool,
) -> Result<Took, Failure> {
    let state = || -> Result<State, Failure> {
        let mut state = State::new();
        if known {
            state.shared_heads = history.common.document.get_heads();
            state = State::decode(&state.encode())?;
        }
        Ok(state)
    };
    let (mut ours, mut theirs) = (state()?, state()?);
    let mut took = Took::default();
    let (_, spent) = spent(|| {
        loop {
            let one = step(&left, &mut ours, &mut right, &mut theirs, &mut took)?;
            let other = step(&right, &mut theirs, &mut left, &mut ours, &mut took)?;
            if !one && !other {
                return Ok(());
            }
        }
    })?;
    if left.get_heads() != right.get_heads() {
        return Err("two Automerge documents are not the same after an exchange".into());
    }
    took.ms = micros(spent.cpu) / 1e3;
    Ok(took)
}

fn step(
    from: &Automerge,
    from_state: &mut State,
    to: &mut Automerge,
    to_state: &mut State,
    took: &mut Took,
) -> Result<bool, Failure> {
    let Some(message) = from.generate_sync_message(from_state) else { return Ok(false) };
    let changes: usize = message.changes.iter().map(<[u8]>::len).sum();
    let bytes = message.encode();
    took.flights += 1;
    took.overhead += bytes.len() - changes;
    took.changes += changes;
    if changes > 0 {
        took.data = took.flights;
    }
    to.receive_sync_message(to_state, automerge::sync::Message::decode(&bytes)?)?;
    Ok(true)
}
