//! What reconciliation needs from any graph of content-addressed nodes: commits of a space, changes of a document.
//!
//! It knows neither what a node means nor how it travels. Positions count nodes in the order in which they arrived, so a
//! parent always stands below its children; every walk here goes down positions and costs what differs, not what there is.

#[cfg(feature = "automerge")]
mod automerge;
mod memory;
pub mod walk;

#[cfg(feature = "automerge")]
pub use automerge::AutomergeGraph;
pub use memory::{Format, MemoryGraph, Parsed};

/// The id of a node: a hash of its content, parents included.
pub type NodeId = [u8; 32];

/// Where a node stands in the order of arrival of one graph, from 1.
pub type Position = u64;

/// What is known of a node without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where its parents stand; each below the node itself.
    pub parents: Vec<Position>,
    /// Who made it, and as which of their nodes, in graphs that know.
    pub author: Option<(Author, u64)>,
    /// Which of the parents is the author's node before this one.
    pub previous: Option<Position>,
}

/// The last node of a chain of an author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Whose chain.
    pub author: Author,
    /// As which of their nodes.
    pub seq: u64,
    /// Where it stands.
    pub at: Position,
}

/// Who made a node: the first bytes of a key.
pub type Author = [u8; 8];

/// What became of bytes that were inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It is new, and stands here.
    New(Position),
    /// It was here already.
    Known(Position),
    /// Its parents are not all here. Nothing was kept.
    Missing {
        /// The id it will have.
        id: NodeId,
        /// The parents that are not here; at least one.
        parents: Vec<NodeId>,
    },
    /// It will never be taken, for this reason. Nothing was kept, and no other node suffers.
    Refused(&'static str),
}

/// A graph of content-addressed nodes that is closed under parents.
pub trait HashGraph {
    /// Why a graph cannot answer: its storage failed.
    type Error;

    /// How many nodes there are: they stand at positions 1 to this one.
    fn len(&self) -> Position;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nodes that are no parent, in ascending order of id.
    fn heads(&self) -> Result<Vec<NodeId>, Self::Error>;

    /// Where a node stands; `None` if it is not here.
    fn position(&self, id: &NodeId) -> Result<Option<Position>, Self::Error>;

    /// The node at a position from 1 to `len`.
    fn node(&self, at: Position) -> Result<Node, Self::Error>;

    /// The nodes whose ids begin so.
    fn with_prefix(&self, prefix: &[u8; 8]) -> Result<Vec<Position>, Self::Error>;

    /// The last node of each chain of each author, in graphs that know authors.
    fn tips(&self) -> Result<Vec<Tip>, Self::Error> {
        Ok(Vec::new())
    }
}

/// A graph that nodes are put into one by one. (A space is no such graph: its commits are vouched for by runs.)
pub trait HashGraphMut: HashGraph {
    /// The node as it travels.
    fn bytes(&self, at: Position) -> Result<Vec<u8>, Self::Error>;

    /// Takes a node as it travelled, if its parents are here.
    fn insert(&mut self, bytes: &[u8]) -> Result<Inserted, Self::Error>;
}
