//! Where a document went: the pointers beside its deletions, and the space in which it lives now.
//!
//! A pointer tells whoever may read the old space the id of the new one, and nothing else: neither who reads there nor
//! whether the document is still there.

use std::collections::BTreeSet;

use driftless_core::clock::Timestamp;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::DocumentState;
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::limits::MAX_POINTERS;
use driftless_core::operator::Operator;

use crate::collection::Collection;
use crate::door::commit::ancestors_among;
use crate::error::Error;
use crate::history::past::effective;
use crate::space::Space;
use crate::state::engine::Engine;

/// A deletion that holds and says where the document went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub to: SpaceId,
    pub commit: CommitId,
    /// The number of its author here.
    pub author: u32,
    pub time: Timestamp,
}

/// Where a document went that is deleted here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pointers {
    /// Several, if several moved it at once; the last is the one that counts. None if it was deleted without being moved.
    pub to: Vec<Pointer>,
    /// Commits with an effect that edit the document and that nobody who moved it had seen: they fold underneath.
    pub unseen: u64,
}

/// Where a document went that is deleted here.
pub(crate) fn pointers(
    engine: &mut Engine,
    collection: &Collection,
    id: &DocumentId,
) -> Result<Pointers, Error> {
    let commits = effective(engine, collection, id, Timestamp(u64::MAX), None)?;
    let (mut found, mut deleted) = (Vec::new(), false);
    for (at, row) in &commits {
        let Some(body) = engine.view.body(engine.storage.as_ref(), *at)? else { continue };
        let edits =
            body.edits.iter().filter(|edit| edit.document == *id && &*edit.collection == collection.name());
        for edit in edits {
            let mut to = None;
            for operator in &edit.operators {
                match operator {
                    Operator::Moved { to: space } => to = Some(*space),
                    Operator::Delete => {
                        deleted = true;
                        let (commit, author, time) = (row.id, row.author, row.time);
                        let pointer = |to| (*at, Pointer { to, commit, author, time });
                        found.extend(to.take().map(pointer));
                    }
                    Operator::Restore | Operator::Insert { .. } => {
                        found.clear();
                        deleted = false;
                    }
                    _ => {}
                }
            }
        }
    }
    if !deleted || found.is_empty() {
        return Ok(Pointers::default());
    }
    let all: BTreeSet<u64> = commits.iter().map(|(at, _)| at.seq()).collect();
    let moves: BTreeSet<u64> = found.iter().map(|(at, _)| at.seq()).collect();
    let number = engine.present(&collection.space().id())?.number;
    let seen = ancestors_among(engine.storage.as_ref(), number, moves, &all)?;
    let unseen = (all.len() - seen.len()) as u64;
    Ok(Pointers { to: found.into_iter().map(|(_, pointer)| pointer).collect(), unseen })
}

/// A document where it lives.
#[derive(Debug)]
pub(super) struct Residence {
    pub collection: Collection,
    pub state: DocumentState,
}

/// Where a document lives that is, or was, in a collection: there, or where the pointers lead. An error if it is
/// nowhere here, or if the pointers lead in a circle.
pub(super) fn residence(
    engine: &mut Engine,
    collection: &Collection,
    id: &DocumentId,
) -> Result<Residence, Error> {
    let mut open = vec![collection.space().id()];
    let (mut seen, mut circle, mut away) = (Vec::new(), false, None);
    while let Some(space) = open.pop() {
        if seen.contains(&space) {
            circle = true;
            continue;
        }
        if seen.len() == MAX_POINTERS {
            return Err(Error::Invalid(format!("document {id} was moved on more than {MAX_POINTERS} times")));
        }
        seen.push(space);
        if !engine.load(&space)? {
            away = Some(space);
            continue;
        }
        engine.present(&space)?;
        let there = Space::new(collection.space().database().clone(), space).collection(collection.name())?;
        let Some(facts) = there.facts(engine)? else { continue };
        let state = engine.view.get(engine.storage.as_mut(), &facts, id)?.unwrap_or_default();
        if state.visible() {
            return Ok(Residence { collection: there, state });
        }
        // The last one is looked at first.
        open.extend(pointers(engine, &there, id)?.to.into_iter().map(|pointer| pointer.to));
    }
    let text = |space: &SpaceId| space.to_string();
    Err(match (away, circle) {
        (Some(space), _) => Error::not_found("space", format!("{space}, where document {id} went,")),
        (None, true) => Error::Invalid(format!(
            "document {id} is nowhere: what is said of where it went leads in a circle through {}; `driftless restore` it in one of them",
            seen.iter().map(text).collect::<Vec<_>>().join(", ")
        )),
        (None, false) => Error::not_found("document", id),
    })
}
