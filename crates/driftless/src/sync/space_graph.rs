//! A space as a hash graph: commits at their places in the log. Reads only, and never more than one row under the lock.

use driftless_core::hash_graph::{HashGraph, Node, NodeId, Position, Tip};
use driftless_core::id::{CommitId, SpaceId};

use crate::database::Database;
use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::replica::Replica;
use crate::tables::log;
use driftless_store::Storage;

/// A space as it was when somebody looked. What arrived since may show; it can only cost bytes.
pub(crate) struct SpaceGraph<'d> {
    database: &'d Database,
    space: SpaceId,
    len: Position,
    /// The digest of its sync heads.
    pub(crate) digest: [u8; 8],
}

impl<'d> SpaceGraph<'d> {
    /// The graph of a space that is here.
    pub(crate) fn of(database: &'d Database, space: SpaceId) -> Result<Option<Self>, Error> {
        database.read(|engine| {
            if !engine.load(&space)? {
                return Ok(None);
            }
            let (_, replica) = engine.parts(&space)?;
            Ok(Some(Self { database, space, len: replica.next - 1, digest: frontier_digest(replica) }))
        })
    }

    fn look<T>(&self, look: impl FnOnce(&dyn Storage, &mut Replica) -> Result<T, Error>) -> Result<T, Error> {
        self.database.read(|engine: &mut Engine| {
            if !engine.load(&self.space)? {
                return Err(Error::not_found("space", self.space.to_string()));
            }
            let (storage, replica) = engine.parts(&self.space)?;
            look(storage, replica)
        })
    }
}

/// A digest of all sync heads: equal digests mean equal sets of commits.
pub(crate) fn frontier_digest(replica: &Replica) -> [u8; 8] {
    driftless_core::reconcile::frontier_digest(&heads(replica))
}

/// The sync heads, in ascending order.
pub(crate) fn heads(replica: &Replica) -> Vec<NodeId> {
    let mut heads: Vec<NodeId> = replica.sync_heads().map(|head| head.id.0).collect();
    heads.sort_unstable();
    heads
}

impl HashGraph for SpaceGraph<'_> {
    type Error = Error;

    fn len(&self) -> Position {
        self.len
    }

    fn heads(&self) -> Result<Vec<NodeId>, Error> {
        self.look(|_, replica| Ok(heads(replica)))
    }

    fn position(&self, id: &NodeId) -> Result<Option<Position>, Error> {
        self.look(|storage, replica| Ok(replica.facts(storage, &CommitId(*id))?.map(|facts| facts.at)))
    }

    fn node(&self, at: Position) -> Result<Node, Error> {
        self.look(|storage, replica| {
            let row = log::row(storage, replica.key(at))?;
            let author = replica.author(storage, row.author)?;
            let parents = row.previous.iter().chain(&row.parents).copied().collect();
            Ok(Node {
                id: row.id.0,
                parents,
                author: Some((first(&author.0), row.seq)),
                previous: row.previous,
            })
        })
    }

    fn with_prefix(&self, prefix: &[u8; 8]) -> Result<Vec<Position>, Error> {
        self.look(|storage, replica| log::with_prefix(storage, replica.number, prefix))
    }

    fn tips(&self) -> Result<Vec<Tip>, Error> {
        self.look(|storage, replica| {
            let tips: Vec<(u32, u64, Position)> =
                replica.tips.iter().map(|((author, _), tip)| (*author, tip.seq, tip.at)).collect();
            let tip =
                |(author, seq, at)| Ok(Tip { author: first(&replica.author(storage, author)?.0), seq, at });
            tips.into_iter().map(tip).collect()
        })
    }
}

fn first(bytes: &[u8; 32]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    first
}
