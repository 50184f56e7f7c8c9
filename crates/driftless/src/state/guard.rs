//! What keeps an author from using a number twice: marks in a database that is a copy, or that has lost commits of its
//! own. While a space is guarded, nothing is written in it with keys that may have written more elsewhere.
//!
//! It only remembers and answers; who lifts a guard is decided above: an exchange that settled, or the user.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use driftless_core::id::{AuthorId, SpaceId};
use driftless_store::{Key, Order, Storage, StorageError};

use crate::error::Error;
use crate::tables::layout;

// In a backup file: u64, when it was made. Whoever first opens it for writing takes it away.
pub(crate) const COPY: &[u8] = b"copy";
// In a database that was a backup: u64 when it was opened, 16 bytes store id of the original.
const RESTORED: &[u8] = b"restored";
// Followed by space id and author: u64, the number that the author's chain must reach before it goes on.
const LOST: &[u8] = b"lost";
pub(crate) const STORE_ID: &[u8] = b"store_id";

/// In place of a number: nobody knows how far the chain went. Only another key can write there.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// What `Database::restored` tells of a database that began as a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// When it was first opened for writing, Unix milliseconds.
    pub at_ms: u64,
    /// Spaces in which nothing is written yet: no exchange has settled since, and nobody has accepted the copy.
    pub guarded: Vec<SpaceId>,
}

/// Commits of an own key that this database has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The space.
    pub space: SpaceId,
    /// The key.
    pub author: AuthorId,
    /// How many commits the key has written there; `None` if that is lost too.
    pub commits: Option<u64>,
}

/// The guards of a database, in memory: they are asked at each write.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    restored_at: Option<u64>,
    restored: BTreeSet<SpaceId>,
    lost: BTreeMap<(SpaceId, AuthorId), u64>,
}

impl Guards {
    pub(crate) fn load(storage: &dyn Storage) -> Result<Self, Error> {
        let mut guards = Self::default();
        let from = Bound::Included(Key::Bytes(LOST));
        // META is small: node key, store id, numbers, and a row for each guard.
        storage.range(&layout::META, from, Bound::Unbounded, Order::Ascending, &mut |key, value| {
            let Key::Bytes(key) = key else { return ControlFlow::Break(()) };
            let number = value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
            if key == RESTORED {
                guards.restored_at = Some(number.unwrap_or_default());
            } else if let Some(space) = key.strip_prefix(RESTORED).and_then(|id| id.try_into().ok()) {
                guards.restored.insert(SpaceId(space));
            } else if let Some((space, author)) =
                key.strip_prefix(LOST).and_then(|ids| ids.split_at_checked(32))
                && let (Ok(space), Ok(author)) = (space.try_into(), author.try_into())
            {
                // A number that cannot be read is not taken for none.
                guards.lost.insert((SpaceId(space), AuthorId(author)), number.unwrap_or(UNKNOWN));
            }
            ControlFlow::Continue(())
        })?;
        Ok(guards)
    }

    /// Refuses to write in a space after the commit of `author` with number `seq` (0: none), if the chain may go further.
    pub(crate) fn check(&self, space: &SpaceId, author: &AuthorId, seq: u64) -> Result<(), Error> {
        if self.restored.contains(space) {
            return Err(Error::Restored);
        }
        match self.lost.get(&(*space, *author)) {
            Some(lost) if seq < *lost => {
                Err(Error::ChainLost { here: seq, written: Some(*lost).filter(|lost| *lost != UNKNOWN) })
            }
            _ => Ok(()),
        }
    }

    /// What to tell of it.
    pub(crate) fn restored(&self) -> Option<Restored> {
        let at_ms = self.restored_at?;
        Some(Restored { at_ms, guarded: self.restored.iter().copied().collect() })
    }

    /// Chains of own keys of which the end is not here.
    pub(crate) fn lost(&self) -> impl Iterator<Item = Lost> {
        self.lost.iter().map(|((space, author), seq)| Lost {
            space: *space,
            author: *author,
            commits: Some(*seq).filter(|seq| *seq != UNKNOWN),
        })
    }

    /// Whether a space is guarded because the database was a copy.
    pub(crate) fn is_restored(&self, space: &SpaceId) -> bool {
        self.restored.contains(space)
    }

    /// The keys of the copy are used nowhere else, or what they wrote elsewhere is here now.
    pub(crate) fn lift(&mut self, storage: &mut dyn Storage, space: &SpaceId) -> Result<(), Error> {
        storage.remove(&layout::META, restored_key(space).as_slice().into())?;
        self.restored.remove(space);
        Ok(())
    }
}

/// Marks a file as a copy, so that whoever opens it for writing knows.
pub(crate) fn mark_copy(storage: &mut dyn Storage, now: u64) -> Result<(), StorageError> {
    storage.put(&layout::META, COPY.into(), &now.to_be_bytes())
}

/// Whether this is a copy that nobody has opened for writing yet.
pub(crate) fn is_copy(storage: &dyn Storage) -> Result<bool, Error> {
    Ok(storage.get(&layout::META, COPY.into())?.is_some())
}

/// A copy is opened for writing: it becomes a store of its own, and guards every space that it has.
pub(crate) fn begin_restored(storage: &mut dyn Storage, now: u64, store: [u8; 16]) -> Result<(), Error> {
    let old = storage.get(&layout::META, STORE_ID.into())?.unwrap_or_default();
    let mut spaces = Vec::new();
    let visit = &mut |key: Key<'_>, _: &[u8]| {
        if let Key::Bytes(id) = key {
            spaces.extend(id.try_into().ok().map(SpaceId));
        }
        ControlFlow::Continue(())
    };
    storage.range(&layout::SPACE_ID, Bound::Unbounded, Bound::Unbounded, Order::Ascending, visit)?;
    for space in spaces {
        storage.put(&layout::META, restored_key(&space).as_slice().into(), &[])?;
    }
    let row = [&now.to_be_bytes(), old.as_slice()].concat();
    storage.put(&layout::META, RESTORED.into(), &row)?;
    storage.put(&layout::META, STORE_ID.into(), &store)?;
    storage.remove(&layout::META, COPY.into())?;
    Ok(storage.commit()?)
}

/// The database has lost commits of `author`, who had written `seq` of them, or nobody knows how many.
pub(crate) fn note_lost(
    storage: &mut dyn Storage,
    space: &SpaceId,
    author: &AuthorId,
    seq: u64,
) -> Result<(), Error> {
    let key = [LOST, &space.0, &author.0].concat();
    Ok(storage.put(&layout::META, key.as_slice().into(), &seq.to_be_bytes())?)
}

fn restored_key(space: &SpaceId) -> Vec<u8> {
    [RESTORED, &space.0].concat()
}
