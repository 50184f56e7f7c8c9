//! Messages about what a peer has, heard by fixed graphs: summaries of the native session, and those of `sync_doc`. They
//! may cost time and bytes, in proportion; whatever they say, each node is to be sent once at most.

use std::sync::LazyLock;

use driftless_core::hash_graph::{Format, HashGraph, HashGraphMut, MemoryGraph, NodeId, Parsed};
use driftless_core::reconcile::{Agreed, Reconciler, Salt, Summary, frontier_digest};
use driftless_core::session::Message;
use driftless_core::sign::Domain;
use driftless_core::sync_doc::{Message as SyncMessage, State, SyncDoc};

/// Messages that one input says; a slot hears no more summaries than this.
const MOST: usize = 8;
const NODES: u32 = 1500;

/// Nodes of a count of parents, the parents, and anything: an author and a number if it is that long.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plain {
    pub(crate) named: bool,
}

impl Format for Plain {
    fn parse(&self, bytes: &[u8]) -> Result<Parsed, &'static str> {
        let short = "this is shorter than it says";
        let (count, rest) = bytes.split_first().ok_or(short)?;
        let (parents, rest) = rest.split_at_checked(32 * usize::from(*count)).ok_or(short)?;
        let author = rest.first_chunk::<9>().filter(|_| self.named);
        let mut parents: Vec<NodeId> = parents.as_chunks().0.to_vec();
        parents.sort_unstable();
        parents.dedup();
        let author = author.map(|[author, seq @ ..]| ([*author; 8], u64::from_be_bytes(*seq)));
        Ok(Parsed { id: Domain::CommitId.hash(&[bytes]), parents, author })
    }
}

fn grow(graph: &mut MemoryGraph<Plain>, from: u32, to: u32, writers: u32) {
    for number in from..to {
        let mut parents: Vec<NodeId> = graph.heads().expect("memory").into_iter().take(2).collect();
        let author = (number % writers) as u8;
        // The node of this author before, which a chain needs.
        let before =
            (number >= writers).then(|| graph.node(u64::from(number - writers) + 1).expect("memory").id);
        parents.extend(before.filter(|before| !parents.contains(before)));
        let seq = u64::from(number / writers) + 1;
        let bytes =
            [&[parents.len() as u8][..], parents.as_flattened(), &[author], &seq.to_be_bytes()].concat();
        graph.insert(&bytes).expect("memory");
    }
}

// With authors and without; the other side has the first half and something else.
static GRAPHS: LazyLock<[[MemoryGraph<Plain>; 2]; 2]> = LazyLock::new(|| {
    [false, true].map(|named| {
        let mut half = MemoryGraph::new(Plain { named });
        grow(&mut half, 0, NODES / 2, 5);
        let mut whole = half.clone();
        grow(&mut whole, NODES / 2, NODES, 5);
        let bytes = [&[0][..], &[9], &1_u64.to_be_bytes(), b"other"].concat();
        half.insert(&bytes).expect("memory");
        [whole, half]
    })
});

fn digest(graph: &MemoryGraph<Plain>) -> [u8; 8] {
    frontier_digest(&graph.heads().expect("memory"))
}

fn reconciler() -> Reconciler {
    // Nothing, half, all, and more than there is.
    let lens = [0, u64::from(NODES / 2), u64::from(NODES), u64::MAX];
    let agreed = lens.into_iter().zip(5..).map(|(len, byte)| Agreed { digest: [byte; 8], len });
    Reconciler::new(Salt::new(&[b"fuzz"]), agreed.skip(1).collect())
}

pub(crate) fn summary(message: Message) -> Option<Summary> {
    match message {
        Message::Open { summary, .. } | Message::Have { summary, .. } | Message::Summary { summary, .. } => {
            Some(summary)
        }
        Message::Want { again, .. } => again,
        _ => None,
    }
}

fn pieces(mut input: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some(([high, low], rest)) = input.split_first_chunk().filter(|_| pieces.len() < MOST) {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (piece, rest) = rest.split_at(rest.len().min(length));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

fn prefixed<'a>(pieces: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// Messages with summaries, each behind its length, to both sides of an exchange over both graphs.
pub(crate) fn summaries(input: &[u8]) {
    let messages: Vec<Message> = pieces(input).into_iter().flat_map(Message::decode).collect();
    for [graph, _] in GRAPHS.iter() {
        for opener in [false, true] {
            let (mut reconciler, ours) = (reconciler(), digest(graph));
            if opener {
                reconciler.offer(graph, ours).expect("memory");
            }
            let mut first = !opener;
            for theirs in messages.iter().cloned().filter_map(summary) {
                let heard = reconciler.hear(graph, ours, &theirs, first).expect("memory");
                assert!(heard.ready || heard.answer.is_some(), "somebody must go on");
                first = false;
                let mut plan = reconciler.plan().clone();
                let mut last = 0;
                while let Some(at) = plan.peek(graph.len()) {
                    assert!(at > last && at <= graph.len(), "a node is sent twice, or is none");
                    last = at;
                    plan.sent();
                }
            }
        }
    }
}

pub(crate) fn summaries_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for [ours, theirs] in GRAPHS.iter() {
        let salt = Salt::new(&[b"fuzz"]);
        let said = |summary| Message::Summary { slot: 0, summary }.encode();
        for agreed in [Vec::new(), vec![Agreed { digest: [6; 8], len: u64::from(NODES / 2) }]] {
            let mut other = Reconciler::new(salt, agreed);
            let mut said_all = vec![said(other.offer(theirs, digest(theirs)).expect("memory"))];
            let (mut reconciler, mut first) = (reconciler(), true);
            let mut next = Message::decode(&said_all[0]).ok().and_then(summary);
            while let Some(message) = next.take() {
                let heard = reconciler.hear(ours, digest(ours), &message, first).expect("memory");
                first = false;
                let Some(answer) = heard.answer else { break };
                seeds.push(prefixed([&said(answer.clone())]));
                next = other.hear(theirs, digest(theirs), &answer, false).expect("memory").answer;
                said_all.extend(next.clone().map(said));
            }
            seeds.push(prefixed(&said_all));
            let again = other.again(theirs, digest(theirs), 1).expect("memory");
            seeds.push(prefixed([&said(again)]));
        }
    }
    seeds
}

/// Messages of `sync_doc`, each behind its length; after each, an answer is made.
pub(crate) fn syncdoc(input: &[u8]) {
    let mut graph = GRAPHS[0][0].clone();
    let before = graph.len();
    let mut state = State::new();
    for piece in pieces(input) {
        let Ok(message) = SyncMessage::decode(piece) else { continue };
        let bytes = message.encode();
        assert_eq!(SyncMessage::decode(&bytes).map(|message| message.encode()), Ok(bytes));
        graph.receive_sync_message(&mut state, message).expect("memory");
        graph.generate_sync_message(&mut state).expect("memory");
        let kept = state.encode();
        assert_eq!(State::decode(&kept).map(|state| state.encode()), Ok(kept));
    }
    assert!(graph.len() >= before);
}

pub(crate) fn syncdoc_seeds() -> Vec<Vec<u8>> {
    let [mut ours, mut theirs] = GRAPHS[0].clone();
    let (mut state, mut other) = (State::new(), State::new());
    let mut said = Vec::new();
    for _ in 0..MOST {
        if let Some(message) = theirs.generate_sync_message(&mut other).expect("memory") {
            said.push(message.encode());
            ours.receive_sync_message(&mut state, message).expect("memory");
        }
        if let Some(message) = ours.generate_sync_message(&mut state).expect("memory") {
            theirs.receive_sync_message(&mut other, message).expect("memory");
        }
    }
    let mut seeds: Vec<Vec<u8>> = said.iter().map(|message| prefixed([message])).collect();
    seeds.push(prefixed(&said));
    seeds
}
