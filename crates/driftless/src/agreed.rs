//! Where this database and a peer last had the same of a space: what both remember, so that nothing is told twice.
//!
//! Only hints. A row that is lost or wrong costs bytes in the next exchange.

use driftless_core::id::{PeerId, SpaceId};
use driftless_core::limits::MAX_AGREED;
use driftless_core::reconcile::Agreed;
use driftless_store::{Key, Order, Storage, Table};
use std::ops::{Bound, ControlFlow};

use crate::error::Error;
use crate::layout::{self, Bytes, put_number};

/// What is remembered of a peer and a space, the newest last.
pub(crate) fn read(storage: &dyn Storage, peer: &PeerId, space: &SpaceId) -> Result<Vec<Agreed>, Error> {
    let row = storage.get(&layout::AGREED, key(peer, space).as_slice().into())?;
    Ok(row.and_then(|row| decode(&row)).unwrap_or_default())
}

/// Where this database and a peer met last, in every space in which they did.
pub(crate) fn newest(storage: &dyn Storage, peer: &PeerId) -> Result<Vec<(SpaceId, Agreed)>, Error> {
    let mut found = Vec::new();
    let (first, last) = (key(peer, &SpaceId([0; 32])), key(peer, &SpaceId([0xff; 32])));
    let bounds = (Bound::Included(first.as_slice().into()), Bound::Included(last.as_slice().into()));
    storage.range(&layout::AGREED, bounds.0, bounds.1, Order::Ascending, &mut |key, row| {
        if let Key::Bytes(key) = key
            && let Some(space) = key.last_chunk()
            && let Some(agreed) = decode(row).and_then(|agreed| agreed.last().copied())
        {
            found.push((SpaceId(*space), agreed));
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Remembers it; staged, and durable with whatever is flushed next.
pub(crate) fn write(
    storage: &mut dyn Storage,
    peer: &PeerId,
    space: &SpaceId,
    agreed: &[Agreed],
) -> Result<(), Error> {
    let mut row = Vec::with_capacity(12 * agreed.len());
    for agreed in agreed {
        row.extend_from_slice(&agreed.digest);
        put_number(&mut row, agreed.len);
    }
    storage.put(&layout::AGREED, key(peer, space).as_slice().into(), &row)?;
    Ok(())
}

/// Forgets what is remembered of a space: its log is not what it was.
pub(crate) fn forget(storage: &mut dyn Storage, space: &SpaceId) -> Result<(), Error> {
    forget_in(storage, &layout::AGREED, space)
}

/// Removes the rows of a space from a table whose keys are a peer and a space.
pub(crate) fn forget_in(storage: &mut dyn Storage, table: &Table, space: &SpaceId) -> Result<(), Error> {
    let mut keys = Vec::new();
    let all = Bound::Unbounded;
    storage.range(table, all, all, Order::Ascending, &mut |key, _| {
        if let Key::Bytes(key) = key
            && key.ends_with(&space.0)
        {
            keys.push(key.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    for key in keys {
        storage.remove(table, key.as_slice().into())?;
    }
    Ok(())
}

/// The key of what is remembered of a peer and a space.
pub(crate) fn key(peer: &PeerId, space: &SpaceId) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(&peer.0);
    key[32..].copy_from_slice(&space.0);
    key
}

fn decode(row: &[u8]) -> Option<Vec<Agreed>> {
    let mut row = Bytes(row);
    let mut agreed = Vec::new();
    while let Some(digest) = row.array() {
        agreed.push(Agreed { digest, len: row.number()? });
    }
    (agreed.len() <= MAX_AGREED).then_some(agreed)
}
