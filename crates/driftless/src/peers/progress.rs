//! What pulls came to: per peer, space and store that served them. Local; never sent.
//!
//! Counts and times, nothing that decides anything: from where the next pull goes on is the cursor, which is written with
//! the commits before it. What is lost of this costs nobody a commit.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use driftless_core::id::{PeerId, SpaceId};
use driftless_store::{Key, Order, Storage};

use crate::database::Database;
use crate::error::Error;
use crate::tables::layout::{self, Bytes, put_number};

/// What pulls of one space from one store came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    /// From whom.
    pub peer: PeerId,
    /// Which space.
    pub root: SpaceId,
    /// The id of the store that served it; zero where none was named.
    pub store: [u8; 16],
    /// When the last one ended well, Unix milliseconds; 0 is never.
    pub last_pull_ms: u64,
    /// How many ended well.
    pub pulls: u64,
    /// How many of these brought nothing new.
    pub empty: u64,
    /// How many needed both sides to reconcile.
    pub reconciled: u64,
    /// How many did not end well.
    pub failures: u64,
    /// Commits that came.
    pub received: u64,
    /// New, and with their effect.
    pub applied: u64,
    /// New, ahead of our clock.
    pub held: u64,
    /// New, without effect.
    pub void: u64,
    /// New, waiting for a body or the rest of a transaction.
    pub wanted: u64,
    /// Not taken.
    pub refused: u64,
    /// Bytes of the frames that came.
    pub bytes: u64,
}

/// Peer, space, store.
pub(crate) type At = (PeerId, SpaceId, [u8; 16]);

impl PullProgress {
    pub(crate) fn new((peer, root, store): At) -> Self {
        Self {
            peer,
            root,
            store,
            last_pull_ms: 0,
            pulls: 0,
            empty: 0,
            reconciled: 0,
            failures: 0,
            received: 0,
            applied: 0,
            held: 0,
            void: 0,
            wanted: 0,
            refused: 0,
            bytes: 0,
        }
    }

    /// Whose it is.
    pub(crate) fn at(&self) -> At {
        (self.peer, self.root, self.store)
    }

    /// Takes over what came since.
    pub(crate) fn add(&mut self, since: &Self) {
        self.last_pull_ms = self.last_pull_ms.max(since.last_pull_ms);
        for (number, more) in self.counts().into_iter().zip(since.clone().counts()) {
            *number = number.saturating_add(*more);
        }
    }

    fn counts(&mut self) -> [&mut u64; 11] {
        [
            &mut self.pulls,
            &mut self.empty,
            &mut self.reconciled,
            &mut self.failures,
            &mut self.received,
            &mut self.applied,
            &mut self.held,
            &mut self.void,
            &mut self.wanted,
            &mut self.refused,
            &mut self.bytes,
        ]
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::new();
        put_number(&mut row, self.last_pull_ms);
        self.clone().counts().into_iter().for_each(|number| put_number(&mut row, *number));
        row
    }

    fn decode(at: At, row: &[u8]) -> Option<Self> {
        let (mut progress, mut row) = (Self::new(at), Bytes(row));
        progress.last_pull_ms = row.number()?;
        for number in progress.counts() {
            *number = row.number()?;
        }
        row.0.is_empty().then_some(progress)
    }
}

fn key((peer, root, store): &At) -> Vec<u8> {
    [&peer.0[..], &root.0, store].concat()
}

fn at(key: &[u8]) -> Option<At> {
    let (peer, rest) = key.split_first_chunk()?;
    let (root, store) = rest.split_first_chunk()?;
    Some((PeerId(*peer), SpaceId(*root), store.try_into().ok()?))
}

/// Adds what came since to what is stored; staged.
pub(crate) fn add(storage: &mut dyn Storage, since: &PullProgress) -> Result<(), Error> {
    let key = key(&since.at());
    let row = storage.get(&layout::PULLS, key.as_slice().into())?;
    // A row that does not decode is counts that are lost.
    let known = row.and_then(|row| PullProgress::decode(since.at(), &row));
    let mut progress = known.unwrap_or_else(|| PullProgress::new(since.at()));
    progress.add(since);
    Ok(storage.put(&layout::PULLS, key.as_slice().into(), &progress.encode())?)
}

/// Forgets what pulls of a space came to, or of all.
pub(crate) fn forget(storage: &mut dyn Storage, space: Option<&SpaceId>) -> Result<(), Error> {
    let (mut keys, all) = (Vec::new(), Bound::Unbounded);
    storage.range(&layout::PULLS, all, all, Order::Ascending, &mut |key, _| {
        if let Key::Bytes(key) = key
            && space.is_none_or(|space| at(key).is_none_or(|(_, root, _)| root == *space))
        {
            keys.push(key.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    for key in keys {
        storage.remove(&layout::PULLS, key.as_slice().into())?;
    }
    Ok(())
}

impl Database {
    /// What pulls came to, as far as it is written down: by peer, space and store.
    pub fn pull_progress(&self) -> Result<Vec<PullProgress>, Error> {
        let mut found: BTreeMap<At, PullProgress> = BTreeMap::new();
        self.read(|engine| {
            let all = Bound::Unbounded;
            engine.storage.range(&layout::PULLS, all, all, Order::Ascending, &mut |key, row| {
                if let Key::Bytes(key) = key
                    && let Some(progress) = at(key).and_then(|at| PullProgress::decode(at, row))
                {
                    found.insert(progress.at(), progress);
                }
                ControlFlow::Continue(())
            })?;
            Ok(())
        })?;
        Ok(found.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was_and_grows_by_what_came() {
        let whose = (PeerId([1; 32]), SpaceId([2; 32]), [3; 16]);
        let mut progress = PullProgress::new(whose);
        (1..).zip(progress.counts()).for_each(|(n, number)| *number = n * 300);
        progress.last_pull_ms = 1_800_000_000_000;
        let row = progress.encode();
        assert_eq!(PullProgress::decode(whose, &row), Some(progress.clone()));
        for cut in 0..row.len() {
            assert_eq!(PullProgress::decode(whose, &row[..cut]), None);
        }
        assert_eq!(at(&key(&whose)), Some(whose));
        let mut more = progress.clone();
        more.add(&PullProgress { pulls: 2, last_pull_ms: 5, ..PullProgress::new(whose) });
        assert_eq!((more.pulls, more.last_pull_ms), (302, 1_800_000_000_000));
    }
}
