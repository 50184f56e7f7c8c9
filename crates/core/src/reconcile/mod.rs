//! What two graphs say to each other so that each learns what the other lacks, in bytes that follow the difference.
//!
//! Summaries only hint: nothing here decides that two sides are equal; heads do. Pure, over any `HashGraph`.
//!
//! - `clock`: per author how far their chain goes. For few authors, whatever differs.
//! - `cuts`: some nodes of the own past, then a filter of what lies above those that both have. For any graph.
//! - `plan`: what the other side lacks, in the order of arrival, while both graphs go on growing.
//! - `summary`: which of these is sent.
//! - `hearing`: how one is understood, some nodes at a time.

mod bits;
mod clock;
mod cuts;
mod plan;
mod summary;
mod hearing;

pub use clock::{Clock, Entry};
pub use cuts::{Filter, Mark};
pub use plan::Plan;
pub use summary::{Agreed, Detail, Heard, Reconciler, Summary};

use crate::hash_graph::{Author, NodeId};
use crate::sign::Domain;

/// A digest of all heads: equal digests mean equal graphs. `heads` in ascending order.
pub fn frontier_digest(heads: &[NodeId]) -> [u8; 8] {
    let parts: Vec<&[u8]> = heads.iter().map(|head| &head[..]).collect();
    short(&Domain::Frontier.hash(&parts))
}

/// The key of every short hash in one session: what collides in it cannot be prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// Made from what both sides drew for this session.
    pub fn new(parts: &[&[u8]]) -> Self {
        Self(Domain::SessionSalt.hash(parts))
    }

    /// Another one for round `round` of the same session: what collided in one round does not in the next.
    #[must_use]
    pub fn round(&self, round: u32) -> Self {
        Self(Domain::SessionSalt.hash(&[&self.0, &round.to_be_bytes()]))
    }

    /// The bytes, as a key.
    pub fn key(&self) -> &[u8; 32] {
        &self.0
    }

    fn tag(&self, author: &Author) -> [u8; 4] {
        short(blake3::keyed_hash(&self.0, author).as_bytes())
    }

    fn check(&self, id: &NodeId) -> [u8; 4] {
        short(blake3::keyed_hash(&self.0, id).as_bytes())
    }
}

fn short<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut short = [0; N];
    for (to, from) in short.iter_mut().zip(bytes) {
        *to = *from;
    }
    short
}
