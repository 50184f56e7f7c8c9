//! Up to where everything was pulled from each peer, space by space.
//!
//! A row is written with the commits that it tells of. One that is lost costs a reconciliation, never a commit.

use driftless_core::id::{PeerId, SpaceId};
use driftless_core::session::Cursor;
use driftless_store::Storage;

use crate::error::Error;
use crate::tables::agreed::{forget_in, key};
use crate::tables::layout;

/// Where the last pull from a peer ended.
pub(crate) fn read(storage: &dyn Storage, peer: &PeerId, space: &SpaceId) -> Result<Option<Cursor>, Error> {
    let row = storage.get(&layout::CURSOR, key(peer, space).as_slice().into())?;
    Ok(row.and_then(|row| row.try_into().ok()).map(|row| Cursor::decode(&row)))
}

/// Remembers it; staged, and durable with whatever is flushed next.
pub(crate) fn write(
    storage: &mut dyn Storage,
    peer: &PeerId,
    space: &SpaceId,
    cursor: &Cursor,
) -> Result<(), Error> {
    Ok(storage.put(&layout::CURSOR, key(peer, space).as_slice().into(), &cursor.encode())?)
}

/// Forgets the one of a peer: something that it stands for is not here.
pub(crate) fn remove(storage: &mut dyn Storage, peer: &PeerId, space: &SpaceId) -> Result<(), Error> {
    Ok(storage.remove(&layout::CURSOR, key(peer, space).as_slice().into())?)
}

/// Forgets those of a space: its log is not here any more.
pub(crate) fn forget(storage: &mut dyn Storage, space: &SpaceId) -> Result<(), Error> {
    forget_in(storage, &layout::CURSOR, space)
}
