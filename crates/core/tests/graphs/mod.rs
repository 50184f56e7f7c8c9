//! Graphs for tests of reconciliation: any shape, any author, nodes that travel as plain lists of ids.

#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use driftless_core::hash_graph::{HashGraph, HashGraphMut, Inserted, Node, NodeId, Position, Tip};
use driftless_core::reconcile::frontier_digest;

/// A graph in memory whose nodes are made by hand: nobody checks that an id is a hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) made: Vec<Made>,
    pub(crate) at: BTreeMap<NodeId, Position>,
    pub(crate) heads: BTreeSet<NodeId>,
    pub(crate) tips: BTreeMap<(u32, Position), Tip>,
    /// Authors take part in the protocol; without, the graph is one of nameless nodes.
    pub(crate) named: bool,
    /// Zeros behind each node when it travels.
    pub(crate) padding: usize,
    /// Ids that were inserted as bytes, with repetitions.
    pub(crate) received: Vec<NodeId>,
}

/// A node with its parents by id.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) id: NodeId,
    pub(crate) parents: Vec<NodeId>,
    pub(crate) author: u32,
    pub(crate) seq: u64,
    pub(crate) previous: Option<NodeId>,
}

impl Graph {
    pub(crate) fn new(named: bool) -> Self {
        Self { named, ..Self::default() }
    }

    /// The next node of an author, after the last node of all.
    pub(crate) fn write(&mut self, id: NodeId, author: u32) {
        let last =
            self.tips.values().filter(|tip| tip.author == tag(author)).max_by_key(|tip| tip.at).copied();
        let previous = last.map(|tip| self.nodes[tip.at as usize - 1].id);
        let newest = self.nodes.last().map(|node| node.id);
        let mut parents: Vec<NodeId> = previous.into_iter().chain(newest).collect();
        parents.dedup();
        self.take(&Made { id, parents, author, seq: last.map_or(1, |tip| tip.seq + 1), previous });
    }

    pub(crate) fn make(&mut self, author: u32, others: &[NodeId]) -> Made {
        let last =
            self.tips.values().filter(|tip| tip.author == tag(author)).max_by_key(|tip| tip.at).copied();
        let previous = last.map(|tip| self.nodes[tip.at as usize - 1].id);
        let seq = last.map_or(1, |tip| tip.seq + 1);
        self.make_after(author, seq, previous, others)
    }

    fn make_after(&mut self, author: u32, seq: u64, previous: Option<NodeId>, others: &[NodeId]) -> Made {
        let mut parents: Vec<NodeId> = previous.iter().chain(others).copied().collect();
        parents.sort();
        parents.dedup();
        let mut hash =
            blake3_of(&[&author.to_le_bytes(), &seq.to_le_bytes(), &self.nodes.len().to_le_bytes()]);
        for parent in &parents {
            hash = blake3_of(&[&hash, parent]);
        }
        let made = Made { id: hash, parents, author, seq, previous };
        self.take(&made);
        made
    }

    // What comes before its parents is refused, and comes again when they are here.
    pub(crate) fn take(&mut self, made: &Made) -> bool {
        let early = made.parents.iter().any(|parent| !self.at.contains_key(parent));
        if early || self.at.contains_key(&made.id) {
            return false;
        }
        let parents: Vec<Position> = made.parents.iter().map(|id| self.at[id]).collect();
        let at = self.nodes.len() as Position + 1;
        let previous = made.previous.map(|id| self.at[&id]);
        self.nodes.push(Node {
            id: made.id,
            parents,
            author: self.named.then(|| (tag(made.author), made.seq)),
            previous,
        });
        self.made.push(made.clone());
        self.at.insert(made.id, at);
        for parent in &made.parents {
            self.heads.remove(parent);
        }
        self.heads.insert(made.id);
        if let Some(previous) = previous {
            self.tips.remove(&(made.author, previous));
        }
        self.tips.insert((made.author, at), Tip { author: tag(made.author), seq: made.seq, at });
        true
    }

    pub(crate) fn digest(&self) -> [u8; 8] {
        frontier_digest(&self.heads.iter().copied().collect::<Vec<_>>())
    }

    pub(crate) fn made(&self, at: Position) -> Made {
        self.made[at as usize - 1].clone()
    }
}

// A node as it travels.
fn read(bytes: &[u8]) -> Option<Made> {
    let (id, rest) = bytes.split_first_chunk::<32>()?;
    let (author, rest) = rest.split_first_chunk::<4>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let ([count, previous], rest) = rest.split_first_chunk::<2>()?;
    let parents = rest.as_chunks::<32>().0.get(..usize::from(*count))?.to_vec();
    Some(Made {
        id: *id,
        author: u32::from_be_bytes(*author),
        seq: u64::from_be_bytes(*seq),
        previous: parents.get(usize::from(*previous)).copied(),
        parents,
    })
}

fn tag(author: u32) -> [u8; 8] {
    u64::from(author).to_be_bytes()
}

fn blake3_of(parts: &[&[u8]]) -> [u8; 32] {
    driftless_core::sign::Domain::CommitId.hash(parts)
}

impl HashGraph for Graph {
    type Error = Infallible;

    fn len(&self) -> Position {
        self.nodes.len() as Position
    }

    fn heads(&self) -> Result<Vec<NodeId>, Infallible> {
        Ok(self.heads.iter().copied().collect())
    }

    fn position(&self, id: &NodeId) -> Result<Option<Position>, Infallible> {
        Ok(self.at.get(id).copied())
    }

    fn node(&self, at: Position) -> Result<Node, Infallible> {
        Ok(self.nodes[at as usize - 1].clone())
    }

    fn with_prefix(&self, prefix: &[u8; 8]) -> Result<Vec<Position>, Infallible> {
        let mut first = [0; 32];
        first[..8].copy_from_slice(prefix);
        Ok(self.at.range(first..).take_while(|(id, _)| id.starts_with(prefix)).map(|(_, at)| *at).collect())
    }

    fn tips(&self) -> Result<Vec<Tip>, Infallible> {
        Ok(if self.named { self.tips.values().copied().collect() } else { Vec::new() })
    }
}

impl HashGraphMut for Graph {
    fn bytes(&self, at: Position) -> Result<Vec<u8>, Infallible> {
        let made = self.made(at);
        let mut bytes = [&made.id[..], &made.author.to_be_bytes(), &made.seq.to_be_bytes()].concat();
        let previous = made.previous.map_or(255, |previous| {
            made.parents.iter().position(|parent| *parent == previous).unwrap() as u8
        });
        bytes.extend_from_slice(&[made.parents.len() as u8, previous]);
        made.parents.iter().for_each(|parent| bytes.extend_from_slice(parent));
        bytes.resize(bytes.len() + self.padding, 0);
        Ok(bytes)
    }

    fn insert(&mut self, bytes: &[u8]) -> Result<Inserted, Infallible> {
        let Some(made) = read(bytes) else { return Ok(Inserted::Refused("unreadable")) };
        self.received.push(made.id);
        if let Some(at) = self.at.get(&made.id) {
            return Ok(Inserted::Known(*at));
        }
        let missing: Vec<NodeId> =
            made.parents.iter().filter(|parent| !self.at.contains_key(*parent)).copied().collect();
        if !missing.is_empty() {
            return Ok(Inserted::Missing { id: made.id, parents: missing });
        }
        self.take(&made);
        Ok(Inserted::New(self.len()))
    }
}
