//! What is said next to a peer, and whether anything needs to be said.

use std::collections::BTreeSet;

use super::bloom::{BITS_PER_ENTRY, BloomFilter};
use super::message::{ChunkList, Have, Message, MessageFlags, MessageVersion};
use super::receive::all_here;
use super::state::{Claims, State, Summary};
use crate::hash_graph::{HashGraphMut, NodeId, Position, walk};
use crate::limits::{MAX_HEAD_WALK, MAX_NEED, MAX_ROUNDS};

/// What a peer's last message means, seen from the graph of today.
pub(super) struct Peer {
    /// Where those of its heads stand that are here.
    pub(super) known: BTreeSet<Position>,
    /// It has heads that are not here.
    pub(super) ahead: bool,
    /// It said that it has all our heads.
    pub(super) told: bool,
}

impl Peer {
    pub(super) fn of<G: HashGraphMut + ?Sized>(
        graph: &G,
        their: Option<&Claims>,
        heads: &[NodeId],
    ) -> Result<Self, G::Error> {
        let Some(their) = their else { return Ok(Self { known: BTreeSet::new(), ahead: true, told: false }) };
        let claimed: BTreeSet<&NodeId> = their.heads.iter().chain(last_sync(their)).collect();
        let known = walk::positions(graph, &their.heads)?;
        let distinct = their.heads.iter().collect::<BTreeSet<_>>().len();
        Ok(Self {
            ahead: known.len() < distinct,
            known,
            told: heads.iter().all(|head| claimed.contains(head)),
        })
    }

    fn lacks_here(&self, state: &State) -> bool {
        self.ahead && !state.read_only
    }

    fn lacks_there(&self, state: &State) -> bool {
        !self.told && !state.peer_read_only
    }
}

pub(super) fn last_sync(their: &Claims) -> impl Iterator<Item = &NodeId> {
    their.have.iter().flat_map(|have| &have.last_sync)
}

pub(super) fn message<G: HashGraphMut + ?Sized>(
    graph: &G,
    state: &mut State,
) -> Result<Option<Message>, G::Error> {
    state.note_length(graph.len());
    let heads = graph.heads()?;
    let peer = Peer::of(graph, state.their.as_ref(), &heads)?;
    let news = !state.have_responded || state.needs_reset || state.last_sent_heads != heads;
    let mut overdue = false;
    if !news && (state.in_flight || state.fruitless > MAX_ROUNDS) {
        let settled = !peer.lacks_here(state) && !peer.lacks_there(state) && !state.owes_answer;
        if settled || !state.is_overdue() {
            return Ok(None);
        }
        // One more answer is due to each answer.
        state.fruitless = state.fruitless.min(MAX_ROUNDS);
        overdue = true;
        // A first message that is repeated may look as if nothing were to be answered. Everybody answers to nothing.
        state.needs_reset |= state.their.is_none();
    }
    let send = changes_for(graph, state, &peer)?;
    // One who takes nothing waits for nothing: its answers could not tell the peer more.
    let answer = peer.lacks_here(state) || peer.lacks_there(state) && !state.read_only || state.owes_answer;
    if !news && !overdue && send.is_empty() && !answer {
        return Ok(None);
    }

    let need = need(graph, state)?;
    let asked = |id: &NodeId| state.their.as_ref().is_some_and(|their| their.heads.contains(id));
    let repair = !need.iter().all(asked);
    // A gap below the heads is a change that the peer took for known. Automerge answers a need without a summary with
    // just that; ours answers another summary, which is mistaken about other changes, with the whole gap.
    let have = if repair && !state.flags { Vec::new() } else { vec![summary(graph, state, &heads, repair)?] };

    let mut changes = ChunkList::empty();
    let mut bytes = 0;
    for at in send {
        let chunk = graph.bytes(at)?;
        bytes += chunk.len();
        if !changes.is_empty() && bytes > state.budget {
            break;
        }
        changes.push(&chunk);
        state.sent.insert(at);
    }

    let mut flags = MessageFlags::new();
    flags.set(MessageFlags::SUPPORTS_SYNC_RESET);
    if state.read_only {
        flags.set(MessageFlags::READ_ONLY);
    }
    state.last_sent_heads.clone_from(&heads);
    let mut said = heads;
    if std::mem::take(&mut state.needs_reset) {
        if state.flags && state.peer_can_reset() {
            flags.set(MessageFlags::SYNC_RESET);
        } else {
            // Whoever says that it has nothing is sent again what it was sent.
            said.clear();
        }
    }
    state.have_responded = true;
    state.in_flight = true;
    state.owes_answer = false;
    state.waited = 0;
    let flags = state.flags.then_some(flags);
    Ok(Some(Message { heads: said, need, have, changes, flags, version: MessageVersion::V1 }))
}

fn need<G: HashGraphMut + ?Sized>(graph: &G, state: &State) -> Result<Vec<NodeId>, G::Error> {
    let Some(their) = state.their.as_ref().filter(|_| !state.read_only) else { return Ok(Vec::new()) };
    let mut need = state.orphans.missing(graph, &their.heads)?;
    need.truncate(MAX_NEED);
    Ok(need)
}

fn summary<G: HashGraphMut + ?Sized>(
    graph: &G,
    state: &mut State,
    heads: &[NodeId],
    repair: bool,
) -> Result<Have, G::Error> {
    let shared = walk::positions(graph, &state.shared_heads)?;
    if shared.len() < state.shared_heads.len() {
        state.lost = true;
        state.shared_heads = walk::ids(graph, &shared)?;
    }
    if std::mem::take(&mut state.lost) && !std::mem::replace(&mut state.heads_said, true) {
        // Something that was shared is gone. The peer most likely knows our heads of then, which say in 32 bytes what
        // a filter would say in as many as there are changes. If it does not, the next message has a filter.
        return Ok(Have { last_sync: heads.to_vec(), bloom: BloomFilter::default() });
    }
    let mut bits = BITS_PER_ENTRY;
    if repair {
        state.repairs = state.repairs.wrapping_add(1);
        bits += 1 + state.repairs % 8;
    }
    let length = graph.len();
    let fits = |summary: &&Summary| {
        summary.length == length && summary.bits == bits && summary.have.last_sync == state.shared_heads
    };
    if let Some(summary) = state.summary.as_ref().filter(fits) {
        return Ok(summary.have.clone());
    }
    let besides = walk::all_but(graph, &shared)?;
    let hashes = walk::ids(graph, &besides)?;
    let bloom = BloomFilter::with_bits(hashes.iter(), bits);
    let have = Have { last_sync: state.shared_heads.clone(), bloom };
    state.summary = Some(Summary { length, bits, have: have.clone() });
    Ok(have)
}

/// What the peer lacks, as far as its last message shows, and was not sent yet; in order of arrival.
fn changes_for<G: HashGraphMut + ?Sized>(
    graph: &G,
    state: &mut State,
    peer: &Peer,
) -> Result<Vec<Position>, G::Error> {
    let Some(their) = state.their.as_ref().filter(|_| !state.peer_read_only) else { return Ok(Vec::new()) };
    let mut send = walk::positions(graph, &their.need)?;
    let mut believed = None;
    if !(their.have.is_empty() || send.is_empty() && peer.told || is_unclear(graph, state, their, peer)?) {
        let mut claimed = peer.known.clone();
        claimed.extend(walk::positions(graph, last_sync(their))?);
        let mut base = claimed.clone();
        base.extend(walk::positions(graph, state.shared_heads.iter().chain(&state.trusted))?);
        let mut lacking = walk::all_but(graph, &base)?;
        // One who asks for something that it had lost it, and perhaps more: what it says now counts, then its heads alone.
        for less in [&claimed, &peer.known] {
            if base == *less || send.iter().all(|asked| lacking.binary_search(asked).is_ok()) {
                continue;
            }
            base.clone_from(less);
            lacking = walk::all_but(graph, &base)?;
            believed = Some(walk::newest(graph, &base, MAX_HEAD_WALK)?);
        }
        send.extend(unseen(graph, their, peer, &lacking)?);
    }
    if let Some(believed) = believed {
        state.shared_heads = walk::ids(graph, &believed)?;
        state.trusted.clear();
    }
    Ok(send.into_iter().filter(|at| !state.sent.contains(at)).collect())
}

// Those of `lacking` that no filter seems to contain, and what stands on them.
fn unseen<G: HashGraphMut + ?Sized>(
    graph: &G,
    their: &Claims,
    peer: &Peer,
    lacking: &[Position],
) -> Result<BTreeSet<Position>, G::Error> {
    // One whose heads are all here has exactly their past; but one who says that it has nothing may mean: send again.
    if !peer.ahead && !their.heads.is_empty() {
        return Ok(lacking.iter().copied().collect());
    }
    let mut unseen = BTreeSet::new();
    for at in lacking {
        let node = graph.node(*at)?;
        let follows = node.parents.iter().any(|parent| unseen.contains(parent));
        if follows || !their.have.iter().any(|have| have.bloom.contains_hash(&node.id)) {
            unseen.insert(*at);
        }
    }
    Ok(unseen)
}

// Whether the peer's summary stands on something unknown here, or is Automerge's request to begin anew. Answered with
// changes it would cost the whole document; answered with our heads and a summary, what differs. Not waited for twice.
fn is_unclear<G: HashGraphMut + ?Sized>(
    graph: &G,
    state: &State,
    their: &Claims,
    peer: &Peer,
) -> Result<bool, G::Error> {
    if !peer.ahead || state.read_only || state.fruitless > 1 {
        return Ok(false);
    }
    Ok(their.asks_to_begin_anew() || !all_here(graph, last_sync(their))?)
}

impl Claims {
    /// One with heads has something to summarize: without, it could not.
    pub(super) fn asks_to_begin_anew(&self) -> bool {
        let says_nothing = |have: &Have| have.last_sync.is_empty() && have.bloom.is_empty();
        !self.heads.is_empty() && self.have.first().is_some_and(says_nothing)
    }
}
