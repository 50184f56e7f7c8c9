//! A graph in memory, over nodes of any kind: a `Format` says what bytes mean.
//!
//! It takes what hangs together and keeps it for ever: two nodes of one author under one number are two nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::{Author, HashGraph, HashGraphMut, Inserted, Node, NodeId, Position, Tip};

/// What can be read from the bytes of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The hash of the node, computed here and not taken from the bytes.
    pub id: NodeId,
    /// The ids of its parents, each once.
    pub parents: Vec<NodeId>,
    /// Who made it, and as which of their nodes, if the format knows.
    pub author: Option<(Author, u64)>,
}

/// How the bytes of a node are read.
pub trait Format {
    /// Reads a node, or says why these bytes are none. What it accepts must not depend on what is in the graph.
    fn parse(&self, bytes: &[u8]) -> Result<Parsed, &'static str>;
}

/// A graph in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryGraph<F> {
    format: F,
    nodes: Vec<(Node, Vec<u8>)>,
    positions: BTreeMap<NodeId, Position>,
    heads: BTreeSet<NodeId>,
    tips: BTreeSet<(Author, u64, Position)>,
}

impl<F: Format> MemoryGraph<F> {
    /// An empty graph.
    pub fn new(format: F) -> Self {
        Self {
            format,
            nodes: Vec::new(),
            positions: BTreeMap::new(),
            heads: BTreeSet::new(),
            tips: BTreeSet::new(),
        }
    }

    /// All nodes in order of arrival, as they travel.
    pub fn iter(&self) -> impl Iterator<Item = (&Node, &[u8])> {
        self.nodes.iter().map(|(node, bytes)| (node, bytes.as_slice()))
    }

    fn at(&self, at: Position) -> Option<&(Node, Vec<u8>)> {
        self.nodes.get(usize::try_from(at).ok()?.checked_sub(1)?)
    }
}

impl<F: Format> HashGraph for MemoryGraph<F> {
    type Error = Infallible;

    fn len(&self) -> Position {
        self.nodes.len() as Position
    }

    fn heads(&self) -> Result<Vec<NodeId>, Infallible> {
        Ok(self.heads.iter().copied().collect())
    }

    fn position(&self, id: &NodeId) -> Result<Option<Position>, Infallible> {
        Ok(self.positions.get(id).copied())
    }

    // Outside the positions there is a node without a name or a past, which no walk goes on from.
    fn node(&self, at: Position) -> Result<Node, Infallible> {
        let nothing = || Node { id: [0; 32], parents: Vec::new(), author: None, previous: None };
        Ok(self.at(at).map_or_else(nothing, |(node, _)| node.clone()))
    }

    fn with_prefix(&self, prefix: &[u8; 8]) -> Result<Vec<Position>, Infallible> {
        let mut first = [0; 32];
        first[..8].copy_from_slice(prefix);
        let begin = self.positions.range(first..).take_while(|(id, _)| id.starts_with(prefix));
        Ok(begin.map(|(_, at)| *at).collect())
    }

    fn tips(&self) -> Result<Vec<Tip>, Infallible> {
        Ok(self.tips.iter().map(|(author, seq, at)| Tip { author: *author, seq: *seq, at: *at }).collect())
    }
}

impl<F: Format> HashGraphMut for MemoryGraph<F> {
    fn bytes(&self, at: Position) -> Result<Vec<u8>, Infallible> {
        Ok(self.at(at).map(|(_, bytes)| bytes.clone()).unwrap_or_default())
    }

    fn insert(&mut self, bytes: &[u8]) -> Result<Inserted, Infallible> {
        let Parsed { id, parents, author } = match self.format.parse(bytes) {
            Ok(parsed) => parsed,
            Err(reason) => return Ok(Inserted::Refused(reason)),
        };
        if let Some(at) = self.positions.get(&id) {
            return Ok(Inserted::Known(*at));
        }
        let here = |parent: &NodeId| self.positions.get(parent).copied();
        let missing: Vec<NodeId> = parents.iter().filter(|parent| here(parent).is_none()).copied().collect();
        if !missing.is_empty() {
            return Ok(Inserted::Missing { id, parents: missing });
        }
        let above: Vec<Position> = parents.iter().filter_map(here).collect();
        let at = self.len() + 1;
        let previous = self.extend_chain(author, &above, at);
        let node = Node { id, parents: above, author, previous };
        for parent in &parents {
            self.heads.remove(parent);
        }
        self.heads.insert(id);
        self.positions.insert(id, at);
        self.nodes.push((node, bytes.to_vec()));
        Ok(Inserted::New(at))
    }
}

impl<F: Format> MemoryGraph<F> {
    // A parent by the same author with the number before is the node before this one, and no longer the last of its chain.
    fn extend_chain(
        &mut self,
        author: Option<(Author, u64)>,
        parents: &[Position],
        at: Position,
    ) -> Option<Position> {
        let (author, seq) = author?;
        let before = |parent: &Position| {
            let (node, _) = self.at(*parent)?;
            let (same, number) = node.author.filter(|(same, _)| *same == author)?;
            Some((same, number, *parent))
        };
        let own = parents.iter().filter_map(before).find(|(_, number, _)| number.checked_add(1) == Some(seq));
        // Other parents by the same author end chains of their own: somebody forked, and joined that again.
        if let Some(tip) = &own {
            self.tips.remove(tip);
        }
        self.tips.insert((author, seq, at));
        own.map(|(_, _, parent)| parent)
    }
}
