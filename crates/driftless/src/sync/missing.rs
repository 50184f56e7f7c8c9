//! What is missing here of what a peer has: heads that it named, bodies, and parents of what came too early.
//!
//! It reads the database and writes nothing.

use std::collections::{BTreeSet, HashSet};

use driftless_core::commit::Vouched;
use driftless_core::id::{CommitId, PeerId, SpaceId};
use driftless_core::limits::MAX_WANTED;
use driftless_core::reconcile::Summary;
use driftless_core::session::Checked;

use crate::database::Database;
use crate::error::Error;
use crate::served::Look;
use crate::state::engine::Engine;
use crate::state::replica;
use crate::sync::space_graph::{SpaceGraph, frontier_digest};
use crate::sync::stream::{Stream, decided};
use crate::tables::log;

/// Which of the heads that the peer named are not here; if none, which wanted bodies are to be asked for.
pub(super) fn check(
    (database, peer): (&Database, &PeerId),
    stream: &mut Stream,
    heads: &[CommitId],
    digest: [u8; 8],
    round: u32,
) -> Result<Checked, Error> {
    let reader = (database, peer, Look::Any);
    let (mut checked, readable) = decided(reader, stream, |engine, stream, readable| {
        if !engine.load(&stream.space)? {
            return Ok((Checked { missing: heads.to_vec(), ..Checked::default() }, false));
        }
        let (storage, replica) = engine.parts(&stream.space)?;
        let mut missing = Vec::new();
        if digest != frontier_digest(replica) {
            for head in heads {
                if replica.facts(storage, head)?.is_none() {
                    missing.push(*head);
                }
            }
        }
        let mut bodies = Vec::new();
        if replica.counts.wanted > stream.wanting {
            // Also what counts again, though it came long ago.
            stream.asked = 0;
        }
        stream.wanting = replica.counts.wanted;
        if replica.counts.wanted > 0 && missing.is_empty() {
            while bodies.is_empty() {
                let page = replica::wanted_after(storage, replica.number, stream.asked, MAX_WANTED)?;
                let Some(last) = page.last() else { break };
                stream.asked = last.seq();
                for key in page {
                    // What waits for the rest of a transaction has its body.
                    if log::body(storage, key)?.is_none() {
                        bodies.push(log::row(storage, key)?.id);
                    }
                }
            }
        }
        Ok((Checked { missing, bodies, again: Summary::default() }, readable))
    })?;
    if readable
        && !checked.missing.is_empty()
        && let Some(graph) = SpaceGraph::of(database, stream.space)?
    {
        checked.again = stream.reconciler.again(&graph, graph.digest, round)?;
    }
    Ok(checked)
}

/// What waits for its parents, and those parents that are neither here nor waiting. A parent may come from elsewhere:
/// then what waits for it is missing all the same.
pub(super) fn orphaned(
    engine: &mut Engine,
    space: &SpaceId,
    early: &[Vouched],
) -> Result<Vec<CommitId>, Error> {
    if early.is_empty() || !engine.load(space)? {
        return Ok(Vec::new());
    }
    let (storage, replica) = engine.parts(space)?;
    let waiting: HashSet<CommitId> = early.iter().map(Vouched::id).collect();
    let mut missing: BTreeSet<CommitId> = waiting.iter().take(MAX_WANTED / 2).copied().collect();
    for header in early.iter().map(Vouched::header) {
        for parent in header.previous.iter().chain(&header.parents) {
            if missing.len() < MAX_WANTED
                && !waiting.contains(parent)
                && replica.facts(storage, parent)?.is_none()
            {
                missing.insert(*parent);
            }
        }
    }
    Ok(missing.into_iter().collect())
}
