//! Which documents do not fit the schema of their collection: one row for each of those, written with the document.
//!
//! Only what is visible is judged. A mark is local and says nothing about commits: nothing of the fold depends on it.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use driftless_core::fold::DocumentState;
use driftless_store::{Key, Order, Storage};

use crate::error::Error;
use crate::tables::collections::CollectionFacts;
use crate::tables::layout::{self, key};
use crate::tables::stored::{Stored, read_stored};

// Documents judged, or marks removed, between two looks at storage.
const BATCH: usize = 1000;

/// Judges a document and notes what came of it; nothing happens where there is no schema.
pub(crate) fn judge(
    storage: &mut dyn Storage,
    collection: &CollectionFacts,
    number: u64,
    state: &DocumentState,
) -> Result<(), Error> {
    let Some(schema) = &collection.schema else { return Ok(()) };
    let at = key([collection.number, number]);
    match state.visible() && !schema.fits(state.fields()) {
        true => storage.put(&layout::MARK, at.as_slice().into(), &[])?,
        false => storage.remove(&layout::MARK, at.as_slice().into())?,
    }
    Ok(())
}

/// Judges all documents of a collection, so many at a time. Says how many do not fit.
pub(crate) fn judge_all(storage: &mut dyn Storage, collection: &CollectionFacts) -> Result<u64, Error> {
    clear(storage, collection.number)?;
    let Some(schema) = &collection.schema else { return Ok(0) };
    let (mut after, mut marked) = (None, 0);
    loop {
        let (mut seen, mut unfit, mut failed) = (0, Vec::new(), None);
        storage.scan(collection.number, after, &mut |stored| {
            match read_stored(stored) {
                Ok(Stored { state, .. }) if state.visible() && !schema.fits(state.fields()) => {
                    unfit.push(stored.number);
                }
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
            after = Some(stored.number);
            seen += 1;
            if seen == BATCH || failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        for number in &unfit {
            storage.put(&layout::MARK, key([collection.number, *number]).as_slice().into(), &[])?;
        }
        marked += unfit.len() as u64;
        if seen < BATCH {
            return Ok(marked);
        }
    }
}

/// The numbers of the documents of a collection that do not fit: the first ones after a number, in order.
pub(crate) fn some(
    storage: &dyn Storage,
    collection: u64,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    if limit > 0 {
        visit(storage, collection, after, &mut |number| {
            numbers.push(number);
            if numbers.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    Ok(numbers)
}

/// All of them, for a search that leaves them out.
pub(crate) fn all(storage: &dyn Storage, collection: &CollectionFacts) -> Result<BTreeSet<u64>, Error> {
    if collection.schema.is_none() {
        return Ok(BTreeSet::new());
    }
    Ok(some(storage, collection.number, None, usize::MAX)?.into_iter().collect())
}

/// How many there are.
pub(crate) fn count(storage: &dyn Storage, collection: u64) -> Result<u64, Error> {
    let mut count = 0;
    visit(storage, collection, None, &mut |_| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

/// Forgets the marks of a collection.
pub(crate) fn clear(storage: &mut dyn Storage, collection: u64) -> Result<(), Error> {
    loop {
        let marked = some(storage, collection, None, BATCH)?;
        for number in &marked {
            storage.remove(&layout::MARK, key([collection, *number]).as_slice().into())?;
        }
        if marked.len() < BATCH {
            return Ok(());
        }
    }
}

fn visit(
    storage: &dyn Storage,
    collection: u64,
    after: Option<u64>,
    visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (lower, upper) = (key([collection, after.unwrap_or(0)]), key([collection, u64::MAX]));
    let (lower, upper) = (Bound::Excluded(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
    storage.range(&layout::MARK, lower, upper, Order::Ascending, &mut |key, _| match key {
        Key::Bytes(bytes) => match bytes.last_chunk() {
            Some(number) => visit(u64::from_be_bytes(*number)),
            None => ControlFlow::Continue(()),
        },
        Key::U64(_) => ControlFlow::Continue(()),
    })?;
    Ok(())
}
