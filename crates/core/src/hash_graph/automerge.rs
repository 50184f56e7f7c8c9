//! An Automerge document as a graph of its changes. Only with the feature `automerge`, and not for the core's own use.
//!
//! The document decides what its changes mean and whether it takes them; the graph keeps their bytes and their order.

use std::convert::Infallible;

use ::automerge::{AutoCommit, Change, ChangeHash};

use super::{
    Author, Format, HashGraph, HashGraphMut, Inserted, MemoryGraph, Node, NodeId, Parsed, Position, Tip,
};

/// An Automerge document that can take part in `SyncDoc`, with Automerge and with others that hold it.
#[derive(Debug, Clone)]
pub struct AutomergeGraph {
    doc: AutoCommit,
    changes: MemoryGraph<Changes>,
}

#[derive(Debug, Clone)]
struct Changes;

impl Format for Changes {
    fn parse(&self, bytes: &[u8]) -> Result<Parsed, &'static str> {
        read(bytes).map(|change| parsed(&change))
    }
}

fn read(bytes: &[u8]) -> Result<Change, &'static str> {
    Change::from_bytes(bytes.to_vec()).map_err(|_| "these bytes are no change of Automerge")
}

fn parsed(change: &Change) -> Parsed {
    let mut parents: Vec<NodeId> = change.deps().iter().map(|hash| hash.0).collect();
    parents.sort_unstable();
    parents.dedup();
    let mut author: Author = [0; 8];
    author.iter_mut().zip(change.actor_id().to_bytes()).for_each(|(to, from)| *to = *from);
    Parsed { id: change.hash().0, parents, author: Some((author, change.seq())) }
}

impl AutomergeGraph {
    /// The graph of what is in `doc`.
    pub fn new(doc: AutoCommit) -> Self {
        let mut graph = Self { doc, changes: MemoryGraph::new(Changes) };
        graph.follow();
        graph
    }

    /// The document, to be read.
    pub fn document(&self) -> &AutoCommit {
        &self.doc
    }

    /// Changes the document. What the closure returns comes back, and the changes are in the graph.
    pub fn edit<T>(&mut self, edit: impl FnOnce(&mut AutoCommit) -> T) -> T {
        let result = edit(&mut self.doc);
        self.follow();
        result
    }

    // Takes down what the document has and the graph has not.
    fn follow(&mut self) {
        let Ok(heads) = self.changes.heads();
        let heads: Vec<ChangeHash> = heads.into_iter().map(ChangeHash).collect();
        for change in self.doc.get_changes(&heads) {
            let Ok(_) = self.changes.insert(change.raw_bytes());
        }
    }
}

impl HashGraph for AutomergeGraph {
    type Error = Infallible;

    fn len(&self) -> Position {
        self.changes.len()
    }

    fn heads(&self) -> Result<Vec<NodeId>, Infallible> {
        self.changes.heads()
    }

    fn position(&self, id: &NodeId) -> Result<Option<Position>, Infallible> {
        self.changes.position(id)
    }

    fn node(&self, at: Position) -> Result<Node, Infallible> {
        self.changes.node(at)
    }

    fn with_prefix(&self, prefix: &[u8; 8]) -> Result<Vec<Position>, Infallible> {
        self.changes.with_prefix(prefix)
    }

    fn tips(&self) -> Result<Vec<Tip>, Infallible> {
        self.changes.tips()
    }
}

impl HashGraphMut for AutomergeGraph {
    fn bytes(&self, at: Position) -> Result<Vec<u8>, Infallible> {
        self.changes.bytes(at)
    }

    fn insert(&mut self, bytes: &[u8]) -> Result<Inserted, Infallible> {
        let change = match read(bytes) {
            Ok(change) => change,
            Err(reason) => return Ok(Inserted::Refused(reason)),
        };
        let Parsed { id, parents, .. } = parsed(&change);
        if let Some(at) = self.changes.position(&id)? {
            return Ok(Inserted::Known(at));
        }
        let mut missing = Vec::new();
        for parent in parents {
            if self.changes.position(&parent)?.is_none() {
                missing.push(parent);
            }
        }
        if !missing.is_empty() {
            return Ok(Inserted::Missing { id, parents: missing });
        }
        // Automerge takes one change for each number of an actor, the first that comes.
        if self.doc.apply_changes([change]).is_err() {
            return Ok(Inserted::Refused("Automerge does not take this change"));
        }
        self.changes.insert(bytes)
    }
}
