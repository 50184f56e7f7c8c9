//! Folding again, from the last checkpoint before what changed: many documents at once, so that a commit is decoded once
//! for all of its documents. And the checkpoints.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use driftless_core::broken::{Broken, is as is_broken};
use driftless_core::clock::Timestamp;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::{CHECKPOINT_EVERY, DocumentState, is_kept};
use driftless_store::{Key, Order, Storage};

use super::bodies::Bodies;
use super::loaded::{Documents, Slot};
use crate::error::Error;
use crate::tables::layout::{self, LogKey, key};
use crate::tables::log;

/// Edits that are folded together, of however many documents: more are folded in turns.
const TOGETHER: usize = 64 * 1024;

// A document on its way.
struct Fold {
    slot: Slot,
    number: u64,
    state: DocumentState,
    last: Option<(Timestamp, LogKey)>,
    // The commit whose edits it takes now.
    due: Option<LogKey>,
    // Commits of the present time that it takes.
    same: usize,
}

// An edit that is to be folded: when, in which commit, and into which of the folds.
type Step = (Timestamp, LogKey, usize);

// Where the fold of a document is, in a collection.
type Places = HashMap<DocumentId, usize>;

/// Folds stale documents.
pub(super) fn refold(
    storage: &mut dyn Storage,
    documents: &mut Documents,
    bodies: &mut Bodies,
    stale: &[Slot],
) -> Result<(), Error> {
    let (mut folds, mut steps) = (Vec::new(), Vec::new());
    for slot in stale {
        let Some((number, Some(from))) =
            documents.get(*slot).map(|document| (document.number, document.stale_from))
        else {
            continue;
        };
        let (state, last) = start(storage, number, from)?;
        let lower = last.map_or(key([number, 0, 0]), |(time, _)| key([number, time.0, u64::MAX]));
        let upper = key([number, u64::MAX, u64::MAX]);
        let (lower, upper) = (Bound::Excluded(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
        storage.range(&layout::EDIT, lower, upper, Order::Ascending, &mut |key, _| {
            steps.extend(read_key(key).map(|(time, at)| (time, at, folds.len())));
            ControlFlow::Continue(())
        })?;
        folds.push(Fold { slot: *slot, number, state, last, due: None, same: 0 });
        if steps.len() >= TOGETHER {
            fold(storage, documents, bodies, std::mem::take(&mut folds), std::mem::take(&mut steps))?;
        }
    }
    fold(storage, documents, bodies, folds, steps)
}

fn fold(
    storage: &mut dyn Storage,
    documents: &mut Documents,
    bodies: &mut Bodies,
    mut folds: Vec<Fold>,
    mut steps: Vec<Step>,
) -> Result<(), Error> {
    let mut by_id: HashMap<(u32, Arc<str>), Places> = HashMap::new();
    for (at, fold) in folds.iter().enumerate() {
        let Some(document) = documents.get(fold.slot) else { continue };
        let place = (document.collection.space, document.collection.name.clone());
        by_id.entry(place).or_default().insert(document.id.clone(), at);
    }
    steps.sort_unstable();
    for steps in steps.chunk_by(|left, right| left.0 == right.0) {
        for (_, _, fold) in steps {
            folds.get_mut(*fold).into_iter().for_each(|fold| fold.same += 1);
        }
        // Commits of one time go in the order of their ids.
        let mut commits: Vec<&[Step]> = steps.chunk_by(|left, right| left.1 == right.1).collect();
        if commits.len() > 1 && !is_broken(Broken::TieByArrival) {
            let mut named = Vec::with_capacity(commits.len());
            for steps in commits {
                let Some((_, at, _)) = steps.first() else { continue };
                named.push((log::row(storage, *at)?.id, steps));
            }
            named.sort_by_key(|(id, _)| *id);
            commits = named.into_iter().map(|(_, steps)| steps).collect();
        }
        for steps in commits {
            commit(storage, bodies, &by_id, &mut folds, steps)?;
        }
        for (_, _, fold) in steps {
            folds.get_mut(*fold).into_iter().for_each(|fold| fold.same = 0);
        }
    }
    for Fold { slot, state, last, .. } in folds {
        // It was marked as changed, by whom it was, when it became stale.
        let document = documents.at(slot)?;
        (document.state, document.last, document.stale_from) = (state, last, None);
    }
    Ok(())
}

// One commit is folded into the documents that take it.
fn commit(
    storage: &mut dyn Storage,
    bodies: &mut Bodies,
    by_id: &HashMap<(u32, Arc<str>), Places>,
    folds: &mut [Fold],
    steps: &[Step],
) -> Result<(), Error> {
    let Some((time, at, _)) = steps.first().copied() else { return Ok(()) };
    let author = log::author(storage, log::row(storage, at)?.author)?;
    let Some(body) = bodies.get(storage, at)? else { return Ok(()) };
    for (_, _, fold) in steps {
        folds.get_mut(*fold).into_iter().for_each(|fold| fold.due = Some(at));
    }
    let mut here: Option<(&Arc<str>, Option<&Places>)> = None;
    for edit in &body.edits {
        let ids = match here {
            Some((name, ids)) if *name == edit.collection => ids,
            _ => by_id.get(&(at.space(), edit.collection.clone())),
        };
        here = Some((&edit.collection, ids));
        let fold = ids.and_then(|ids| ids.get(&edit.document)).and_then(|fold| folds.get_mut(*fold));
        if let Some(fold) = fold.filter(|fold| fold.due == Some(at)) {
            fold.state.apply(time, author, &edit.operators);
        }
    }
    for (_, _, fold) in steps {
        let Some(fold) = folds.get_mut(*fold) else { continue };
        // Only a whole commit with a time of its own can be gone on from.
        if fold.state.edits().is_multiple_of(CHECKPOINT_EVERY) && fold.same == 1 {
            put_checkpoint(storage, fold.number, time, at, &fold.state)?;
        }
        fold.last = Some((time, at));
    }
    Ok(())
}

/// The commit that an entry of `EDIT` or `CHECKPOINT` is of.
pub(crate) fn read_key(key: Key<'_>) -> Option<(Timestamp, LogKey)> {
    let Key::Bytes(bytes) = key else { return None };
    let mut bytes = layout::Bytes(bytes.get(8..)?);
    let time = u64::from_be_bytes(bytes.array()?);
    Some((Timestamp(time), LogKey(u64::from_be_bytes(bytes.array()?))))
}

/// Keeps the state of a document after a commit.
pub(super) fn put_checkpoint(
    storage: &mut dyn Storage,
    number: u64,
    time: Timestamp,
    at: LogKey,
    state: &DocumentState,
) -> Result<(), Error> {
    storage.put(&layout::CHECKPOINT, key([number, time.0, at.0]).as_slice().into(), &state.to_bytes())?;
    // Old ones thin out: as many remain as the logarithm of the number of edits.
    let mut old = Vec::new();
    checkpoints(storage, number, |time, at, ordinal| {
        if !is_kept(ordinal, state.edits()) {
            old.push(key([number, time.0, at.0]));
        }
    })?;
    for key in old {
        storage.remove(&layout::CHECKPOINT, key.as_slice().into())?;
    }
    Ok(())
}

// Drops the checkpoints that a change at `from` made wrong; returns the last good one.
fn start(
    storage: &mut dyn Storage,
    number: u64,
    from: Timestamp,
) -> Result<(DocumentState, Option<(Timestamp, LogKey)>), Error> {
    let (mut good, mut wrong) = (None, Vec::new());
    checkpoints(storage, number, |time, at, _| {
        if time < from {
            good = Some((time, at));
        } else {
            wrong.push(key([number, time.0, at.0]));
        }
    })?;
    for key in wrong {
        storage.remove(&layout::CHECKPOINT, key.as_slice().into())?;
    }
    let Some((time, at)) = good else { return Ok((DocumentState::default(), None)) };
    let bytes = storage.get(&layout::CHECKPOINT, key([number, time.0, at.0]).as_slice().into())?;
    let state = bytes.and_then(|bytes| DocumentState::from_bytes(&bytes).ok());
    Ok((state.ok_or_else(|| Error::damaged("a checkpoint does not decode"))?, Some((time, at))))
}

fn checkpoints(
    storage: &dyn Storage,
    number: u64,
    mut visit: impl FnMut(Timestamp, LogKey, u64),
) -> Result<(), Error> {
    let (lower, upper) = (key([number, 0, 0]), key([number, u64::MAX, u64::MAX]));
    let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
    let mut damaged = false;
    storage.range(&layout::CHECKPOINT, lower, upper, Order::Ascending, &mut |key, value| {
        match (read_key(key), DocumentState::from_bytes(value)) {
            (Some((time, at)), Ok(state)) => visit(time, at, state.edits()),
            _ => damaged = true,
        }
        ControlFlow::Continue(())
    })?;
    if damaged { Err(Error::damaged("a checkpoint does not decode")) } else { Ok(()) }
}
