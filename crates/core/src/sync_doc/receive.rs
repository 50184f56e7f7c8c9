//! What a peer's message changes: the graph, and what is known about the peer.

use std::collections::BTreeSet;

use super::generate::{Peer, last_sync};
use super::message::{Capability, ChunkList, Message, MessageFlags};
use super::state::{Claims, State};
use crate::hash_graph::{HashGraphMut, Inserted, NodeId, Position, walk};
use crate::limits::{MAX_HEAD_WALK, MAX_SHARED_HEADS};

/// What became of the changes in a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// What is new in the graph, parents first; also what had waited for it.
    pub applied: Vec<NodeId>,
    /// How many were here already.
    pub known: usize,
    /// How many of this peer's wait now for others before them.
    pub waiting: usize,
    /// How many could not be kept for lack of room; they are asked for again.
    pub dropped: usize,
    /// How many were left out because the state is read-only.
    pub ignored: usize,
    /// Those that will never be taken. No other change suffers.
    pub refused: Vec<Refusal>,
}

/// A change that will never be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which one of the message, from 0; `None` if it came with an earlier one.
    pub chunk: Option<usize>,
    /// Why, in the words of the graph.
    pub reason: &'static str,
}

pub(super) fn message<G: HashGraphMut + ?Sized>(
    graph: &mut G,
    state: &mut State,
    message: Message,
) -> Result<Received, G::Error> {
    state.note_length(graph.len());
    state.in_flight = false;
    let reset = take_flags(state, message.flags);
    let before = graph.heads()?;
    let received = if state.read_only {
        Received { ignored: message.changes.len(), ..Received::default() }
    } else {
        take(graph, state, &message.changes)?
    };
    state.note_length(graph.len());

    let said = message.claims();
    let said_nothing = message.changes.is_empty();
    let Message { heads, need, have, .. } = message;
    let their = Claims { heads, need, have };
    let last = state.their.take();
    let repeated = state.note_heard(said, !received.applied.is_empty());
    let emptied = their.heads.is_empty() && last.as_ref().is_some_and(|last| !last.heads.is_empty());

    let heads = graph.heads()?;
    let peer = Peer::of(graph, Some(&their), &heads)?;
    // Who says the same again has not heard what was said in between.
    if repeated || emptied || reset {
        state.sent.clear();
    }
    if their.heads.is_empty() {
        state.last_sent_heads.clear();
    } else if said_nothing && their.heads == before {
        state.last_sent_heads.clone_from(&before);
    }
    let knows_it = |head: &NodeId| last_sync(&their).any(|known| known == head);
    state.owes_answer = repeated && !heads.iter().all(knows_it);
    if state.fruitless == 2 && peer.ahead && !state.read_only && !state.flags {
        // It holds back what it takes for delivered, and this makes Automerge send it again.
        state.needs_reset = true;
    }
    acknowledge(graph, state, &their, &peer)?;
    let first = last.is_none();
    share(graph, state, &their, &peer, &heads, &received.applied, first || repeated)?;
    state.their = Some(their);
    Ok(received)
}

fn take_flags(state: &mut State, flags: Option<MessageFlags>) -> bool {
    let Some(flags) = flags else { return false };
    let mut capabilities = vec![Capability::MessageV2];
    if flags.contains(MessageFlags::SUPPORTS_SYNC_RESET) {
        capabilities.push(Capability::SyncReset);
    }
    state.capabilities = Some(capabilities);
    state.peer_read_only = flags.contains(MessageFlags::READ_ONLY);
    flags.contains(MessageFlags::SYNC_RESET)
}

fn take<G: HashGraphMut + ?Sized>(
    graph: &mut G,
    state: &mut State,
    changes: &ChunkList,
) -> Result<Received, G::Error> {
    let mut received = Received::default();
    for chunk in state.orphans.release_known(graph)? {
        insert(graph, state, None, chunk, &mut received)?;
    }
    for (number, chunk) in changes.iter().enumerate() {
        insert(graph, state, Some(number), chunk.to_vec(), &mut received)?;
    }
    received.waiting = state.orphans.len();
    Ok(received)
}

// Inserts a change, and whatever of the same peer has waited for it.
fn insert<G: HashGraphMut + ?Sized>(
    graph: &mut G,
    state: &mut State,
    number: Option<usize>,
    chunk: Vec<u8>,
    received: &mut Received,
) -> Result<(), G::Error> {
    let mut next = vec![(number, chunk)];
    while let Some((number, chunk)) = next.pop() {
        match graph.insert(&chunk)? {
            Inserted::New(at) => {
                let id = graph.node(at)?.id;
                received.applied.push(id);
                next.extend(state.orphans.release(&id).into_iter().map(|chunk| (None, chunk)));
            }
            Inserted::Known(_) => received.known += 1,
            Inserted::Missing { id, parents } => {
                received.dropped += usize::from(!state.orphans.hold(id, parents, &chunk));
            }
            Inserted::Refused(reason) => received.refused.push(Refusal { chunk: number, reason }),
        }
    }
    Ok(())
}

// Forgets what was sent and has arrived.
fn acknowledge<G: HashGraphMut + ?Sized>(
    graph: &G,
    state: &mut State,
    their: &Claims,
    peer: &Peer,
) -> Result<(), G::Error> {
    if peer.told {
        state.sent.clear();
    }
    let Some(floor) = state.sent.first().copied() else { return Ok(()) };
    let mut arrived = peer.known.clone();
    arrived.extend(walk::positions(graph, last_sync(their))?);
    walk::down_to(graph, &arrived, floor, |at| {
        state.sent.remove(&at);
    })
}

// What both have, after this message. A message that takes back what an earlier one said is either late or the sign of
// a loss; `sure` says that it is no late one.
fn share<G: HashGraphMut + ?Sized>(
    graph: &G,
    state: &mut State,
    their: &Claims,
    peer: &Peer,
    heads: &[NodeId],
    applied: &[NodeId],
    sure: bool,
) -> Result<(), G::Error> {
    let before = walk::positions(graph, &state.shared_heads)?;
    state.lost |= before.len() < state.shared_heads.len() || !all_here(graph, last_sync(their))?;
    let doubted = !state.trusted.is_empty();
    let trusted = std::mem::take(&mut state.trusted);
    let mut shared = peer.known.clone();
    if their.heads.is_empty() {
        // Either it has nothing, or it wants to be sent again what it does not name here.
        shared = walk::positions(graph, last_sync(their))?;
    } else if peer.ahead && !their.asks_to_begin_anew() {
        shared.extend(walk::positions(graph, last_sync(their))?);
        shared.extend(top(graph, applied)?);
        shared.extend(before);
        if doubted {
            state.trusted = trusted;
        }
    } else if !peer.ahead && !sure && !doubted {
        let lost = walk::bounded_difference(graph, &before, &peer.known, MAX_HEAD_WALK)?;
        if lost.is_some_and(|lost| !lost.is_empty()) {
            state.trusted.clone_from(&state.shared_heads);
        }
    }
    // Our own heads are in the past of nothing.
    if their.heads.as_slice() != heads {
        shared = walk::newest(graph, &shared, MAX_HEAD_WALK)?;
    }
    while shared.len() > MAX_SHARED_HEADS {
        shared.pop_first();
    }
    state.shared_heads = walk::ids(graph, &shared)?;
    Ok(())
}

pub(super) fn all_here<'a, G: HashGraphMut + ?Sized>(
    graph: &G,
    mut ids: impl Iterator<Item = &'a NodeId>,
) -> Result<bool, G::Error> {
    ids.try_fold(true, |all, id| Ok(all && graph.position(id)?.is_some()))
}

// Those of `applied` that are no parent of another.
fn top<G: HashGraphMut + ?Sized>(graph: &G, applied: &[NodeId]) -> Result<BTreeSet<Position>, G::Error> {
    let mut top = walk::positions(graph, applied)?;
    for at in top.clone() {
        for parent in graph.node(at)?.parents {
            top.remove(&parent);
        }
    }
    Ok(top)
}
