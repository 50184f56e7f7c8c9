//! Whole sessions between two sides with real commits: every frame, in the order in which they were said.

use std::collections::{BTreeMap, VecDeque};

use driftless_core::commit::{Header, Received, Vouched, commit_id};
use driftless_core::frame::{self, FrameBuilder, FrameCommit};
use driftless_core::hash_graph::{Format, HashGraph, HashGraphMut, Inserted, MemoryGraph, Parsed};
use driftless_core::id::{PeerId, SpaceId};
use driftless_core::reconcile::Agreed;
use driftless_core::session::{Event, GraphHost, Message, Output, Role, Session, numbered, take_number};
use driftless_core::sign::{AuthorKey, NodeKey, Signature};
use serde::{Deserialize, Serialize};

use crate::frames::{CommitFields, genesis, next};
use crate::messages::MessageFields;
use crate::{Hex, hold};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    space: String,
    dialer: Party,
    listener: Party,
    later: CommitFields,
    sessions: Vec<Transcript>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Party {
    node_seed: Hex,
    peer: String,
    author_seed: Hex,
    commits: Vec<CommitFields>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transcript {
    name: String,
    dialer_nonce: Hex,
    listener_nonce: Hex,
    frames: Vec<Line>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    by: String,
    bytes: Hex,
    says: MessageFields,
}

// A commit as a node of a graph: length of the header in four bytes, header, signature or nothing, body.
#[derive(Debug, Clone, Default)]
struct Commits;

fn node(commit: &Received) -> Vec<u8> {
    let signature = commit.signature.map_or([0; 64], |signature| signature.0);
    let length = (commit.header.len() as u32).to_be_bytes();
    [&length[..], &commit.header, &signature, commit.body.as_deref().unwrap()].concat()
}

fn commit(node: &[u8]) -> Received {
    let (length, rest) = node.split_first_chunk::<4>().unwrap();
    let (header, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
    let (signature, body) = rest.split_first_chunk::<64>().unwrap();
    let signature = (*signature != [0; 64]).then_some(Signature(*signature));
    Received { header: header.to_vec(), signature, body: Some(body.to_vec()) }
}

impl Format for Commits {
    fn parse(&self, bytes: &[u8]) -> Result<Parsed, &'static str> {
        let commit = commit(bytes);
        let header = Header::decode(&commit.header).map_err(|_| "bad_header")?;
        let parents = header.previous.iter().chain(&header.parents).map(|id| id.0).collect();
        let author = *header.author.0.first_chunk::<8>().unwrap();
        Ok(Parsed { id: commit_id(&commit.header).0, parents, author: Some((author, header.seq)) })
    }
}

// What `GraphHost` puts into a frame, into the frame that commits travel in, and back.
fn outward(space: &SpaceId, mut nodes: &[u8]) -> Vec<u8> {
    let mut builder = FrameBuilder::new(*space);
    while !nodes.is_empty() {
        let (length, rest) = take_number(nodes).unwrap();
        let (one, rest) = rest.split_at(length as usize);
        let received = commit(one);
        let header = Header::decode(&received.header).unwrap();
        let (id, body) = (commit_id(&received.header), received.body.as_deref());
        builder.push(FrameCommit { header: &header, id, signature: received.signature, body }).unwrap();
        nodes = rest;
    }
    builder.finish()
}

fn inward(space: &SpaceId, bytes: &[u8]) -> Vec<u8> {
    let mut nodes = Vec::new();
    for received in frame::decode(space, bytes).unwrap() {
        let node = node(&received);
        let mut length = node.len();
        while length >= 0x80 {
            nodes.push(length as u8 | 0x80);
            length >>= 7;
        }
        nodes.push(length as u8);
        nodes.extend(node);
    }
    nodes
}

fn reframed(bytes: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (number, message) = take_number(bytes).unwrap();
    match Message::decode(message).unwrap() {
        Message::Data { slot, number: count, frame, digest } => {
            numbered(number, &Message::Data { slot, number: count, frame: change(&frame), digest })
        }
        _ => bytes.to_vec(),
    }
}

struct Side {
    name: &'static str,
    session: Session,
    host: GraphHost<MemoryGraph<Commits>>,
    settled: bool,
}

impl Side {
    fn work(&mut self, space: &SpaceId) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => said.push(reframed(&bytes, |nodes| outward(space, nodes))),
                Output::Ask(ask) => self.host.answer(&mut self.session, ask).unwrap(),
                Output::Event(event) => self.settled |= event == Event::Settled(*space),
            }
        }
        said
    }

    fn write(&mut self, space: &SpaceId, commit: &CommitFields) {
        let inserted = self.host.graph_mut(space).unwrap().insert(&node(&commit.received())).unwrap();
        assert!(matches!(inserted, Inserted::New(_)));
        self.session.changed(space);
    }
}

// Both sides of one session, until nothing more is on its way.
struct Pair {
    sides: [Side; 2],
    lines: Vec<Line>,
    arriving: VecDeque<(usize, Vec<u8>)>,
}

impl Pair {
    fn run(&mut self, space: &SpaceId) {
        loop {
            for speaker in [0, 1] {
                for bytes in self.sides[speaker].work(space) {
                    let message = Message::decode(take_number(&bytes).unwrap().1).unwrap();
                    let says = MessageFields::of(&message);
                    let by = self.sides[speaker].name.to_owned();
                    self.lines.push(Line { by, bytes: Hex::of(&bytes), says });
                    self.arriving.push_back((1 - speaker, bytes));
                }
            }
            let Some((listener, bytes)) = self.arriving.pop_front() else { return };
            let bytes = reframed(&bytes, |frame| inward(space, frame));
            self.sides[listener].session.handle_frame(&bytes).unwrap();
        }
    }
}

impl File {
    // Both sessions, from the commits, keys and nonces of the file.
    fn play(&self) -> Vec<Vec<Line>> {
        let space: SpaceId = self.space.parse().unwrap();
        let parties = [&self.dialer, &self.listener];
        let mut graphs = parties.map(|party| {
            let mut graph = MemoryGraph::new(Commits);
            for commit in &party.commits {
                let inserted = graph.insert(&node(&commit.received())).unwrap();
                assert!(matches!(inserted, Inserted::New(_)));
            }
            graph
        });
        let mut agreed: [BTreeMap<SpaceId, Vec<Agreed>>; 2] = Default::default();
        let mut all = Vec::new();
        for (count, transcript) in self.sessions.iter().enumerate() {
            let roles = [Role::Dialer, Role::Listener];
            let nonces = [&transcript.dialer_nonce, &transcript.listener_nonce];
            let sides = [0, 1].map(|side| {
                let peers: [PeerId; 2] = [side, 1 - side].map(|party| parties[party].peer.parse().unwrap());
                let keys = vec![AuthorKey::from_seed(&parties[side].author_seed.array())];
                let nonce = nonces[side].array();
                let session = Session::new(roles[side], peers[0], peers[1], nonce, keys);
                let mut host = GraphHost::new();
                host.insert(space, std::mem::replace(&mut graphs[side], MemoryGraph::new(Commits)));
                host.restore(std::mem::take(&mut agreed[side]));
                Side { name: ["dialer", "listener"][side], session, host, settled: false }
            });
            let mut pair = Pair { sides, lines: Vec::new(), arriving: VecDeque::new() };
            if count == 1 {
                pair.sides[1].write(&space, &self.later);
            }
            pair.sides[0].session.open(space, None);
            pair.run(&space);
            assert!(pair.sides.iter().all(|side| side.settled), "{}", transcript.name);
            let heads = [0, 1].map(|side| pair.sides[side].host.graph(&space).unwrap().heads().unwrap());
            assert_eq!(heads[0], heads[1]);
            pair.sides[0].session.close(&space);
            pair.run(&space);
            for (side, mut party) in pair.sides.into_iter().enumerate() {
                agreed[side] = party.host.agreed().clone();
                graphs[side] = party.host.remove(&space).unwrap();
            }
            all.push(pair.lines);
        }
        all
    }
}

fn party(number: u8, commits: &[&Vouched]) -> Party {
    let node_seed = [number + 100; 32];
    Party {
        node_seed: Hex::of(node_seed),
        peer: NodeKey::from_seed(&node_seed).id().to_string(),
        author_seed: Hex::of([number; 32]),
        commits: commits.iter().map(|commit| CommitFields::of(&commit.to_received(), true)).collect(),
    }
}

#[test]
fn sessions_go_as_the_transcripts_say() {
    let first = genesis(1);
    let second = next(1, Some(&first), &[], b"one", |_| {});
    let third = next(1, Some(&second), &[], b"two", |_| {});
    let other = next(2, None, &[&first], b"three", |_| {});
    let fourth = next(2, Some(&other), &[], b"four", |_| {});
    let later = next(2, Some(&fourth), &[&third], b"five", |_| {});
    let transcript = |name: &str, number| Transcript {
        name: name.into(),
        dialer_nonce: Hex::of([number; 16]),
        listener_nonce: Hex::of([number + 1; 16]),
        frames: Vec::new(),
    };
    let mut file = File {
        about: "Two sides with the same space and other commits in it meet twice. frames: all that both say, each without what \
                the transport puts around it, in the order in which it was said; each side hears in this order. commits: the \
                log of a side before the first session, in the order of arrival. The second session begins after the listener \
                wrote the commit later, and both remember the first. After each, when all is said, the dialer closes the space. \
                The bodies are none that a database would understand; sync does not look at them."
            .into(),
        space: first.space().to_string(),
        dialer: party(1, &[&first, &second, &third]),
        listener: party(2, &[&first, &other, &fourth]),
        later: CommitFields::of(&later.to_received(), true),
        sessions: vec![
            transcript("they meet for the first time", 11),
            transcript("they meet again, and one side has something new", 13),
        ],
    };
    let frames = file.play();
    for (transcript, frames) in file.sessions.iter_mut().zip(frames) {
        transcript.frames = frames;
    }
    hold("session", &file, |file: File| {
        for (transcript, frames) in file.sessions.iter().zip(file.play()) {
            assert_eq!(frames, transcript.frames, "{}", transcript.name);
            let mut numbers = BTreeMap::<&str, u64>::new();
            for line in &transcript.frames {
                let number = numbers.entry(&line.by).or_default();
                assert_eq!(numbered(*number, &line.says.message()), line.bytes.0);
                *number += 1;
            }
        }
        for party in [&file.dialer, &file.listener] {
            let node = NodeKey::from_seed(&party.node_seed.array());
            assert_eq!(node.id().to_string(), party.peer);
        }
    });
}
