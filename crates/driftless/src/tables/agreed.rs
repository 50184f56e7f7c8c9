//! Where this database and a peer last had the same of a space: what both remember, so that nothing is told twice.
//!
//! Only hints. A row that is lost or wrong costs bytes in the next exchange, so nothing is flushed for one: it waits in
//! memory for the next flush of anything else.

use driftless_core::id::{PeerId, SpaceId};
use driftless_core::limits::MAX_AGREED;
use driftless_core::reconcile::Agreed;
use driftless_store::{Key, Order, Storage, Table};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use crate::error::Error;
use crate::tables::layout::{self, Bytes, put_number};

/// Rows that wait at most: about a megabyte.
const MOST: usize = 4096;

/// All that is remembered: what is stored, and what waits to be.
#[derive(Debug, Default)]
pub(crate) struct Meetings {
    // By the keys of the rows.
    waiting: BTreeMap<[u8; 64], Vec<Agreed>>,
}

impl Meetings {
    /// What is remembered of a peer and a space, the newest last.
    pub(crate) fn read(
        &self,
        storage: &dyn Storage,
        peer: &PeerId,
        space: &SpaceId,
    ) -> Result<Vec<Agreed>, Error> {
        let key = key(peer, space);
        if let Some(agreed) = self.waiting.get(&key) {
            return Ok(agreed.clone());
        }
        let row = storage.get(&layout::AGREED, key.as_slice().into())?;
        Ok(row.and_then(|row| decode(&row)).unwrap_or_default())
    }

    /// Where this database and a peer met last, in every space in which they did.
    pub(crate) fn newest(
        &self,
        storage: &dyn Storage,
        peer: &PeerId,
    ) -> Result<Vec<(SpaceId, Agreed)>, Error> {
        let mut found: BTreeMap<SpaceId, Agreed> = stored(storage, peer)?.into_iter().collect();
        let all = key(peer, &SpaceId([0; 32]))..=key(peer, &SpaceId([0xff; 32]));
        for (key, agreed) in self.waiting.range(all) {
            if let (Some(space), Some(agreed)) = (key.last_chunk(), agreed.last()) {
                found.insert(SpaceId(*space), *agreed);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Remembers it; durable with whatever is flushed next.
    pub(crate) fn note(&mut self, peer: &PeerId, space: &SpaceId, agreed: &[Agreed]) {
        self.waiting.insert(key(peer, space), agreed.to_vec());
    }

    /// Whether something waits for a flush.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether so much waits that it is time for a flush.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self, storage: &mut dyn Storage) -> Result<(), Error> {
        for (key, agreed) in std::mem::take(&mut self.waiting) {
            let mut row = Vec::with_capacity(12 * agreed.len());
            for agreed in agreed {
                row.extend_from_slice(&agreed.digest);
                put_number(&mut row, agreed.len);
            }
            storage.put(&layout::AGREED, key.as_slice().into(), &row)?;
        }
        Ok(())
    }

    /// Forgets what waits of a space; `forget` removes what is stored.
    pub(crate) fn forget(&mut self, space: &SpaceId) {
        self.waiting.retain(|key, _| !key.ends_with(&space.0));
    }
}

fn stored(storage: &dyn Storage, peer: &PeerId) -> Result<Vec<(SpaceId, Agreed)>, Error> {
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

/// Forgets what is stored of a space: its log is not what it was.
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
