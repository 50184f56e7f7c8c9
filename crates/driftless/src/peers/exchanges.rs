//! What exchanges with each peer came to, space by space, and what waits for peers across a restart. Local; never sent.
//!
//! Only what happened. What users want is in `prefs`; what is done next, in `sync`.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use driftless_core::id::{PeerId, SpaceId};
use driftless_store::{Key, Order, Storage};

use crate::database::Database;
use crate::error::Error;
use crate::tables::agreed::key;
use crate::tables::layout::{self, Bytes, put_bytes, put_number};

/// Exchanges of a space with a peer that are remembered one by one.
const HISTORY: usize = 16;
/// Bytes of an error that are kept.
const MAX_ERROR: usize = 512;

/// What waits for a peer: survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unsent {
    /// How often in a row it failed.
    pub attempts: u32,
    /// The spaces that wait for the peer.
    pub spaces: Vec<SpaceId>,
}

/// What exchanges of one space with one peer came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanges {
    /// The space.
    pub space: SpaceId,
    /// When one last ended well, Unix milliseconds; 0 is never.
    pub last_sync_ms: u64,
    /// How many ended well.
    pub successes: u64,
    /// How many did not.
    pub failures: u64,
    /// Why the last one failed, if it did.
    pub last_error: String,
    /// The last 16 in which something went over, or that failed; the newest last.
    pub history: Vec<PastExchange>,
}

/// One exchange that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastExchange {
    /// When it ended, Unix milliseconds.
    pub at_ms: u64,
    /// Commits that went over, both directions.
    pub commits: u64,
    /// Bytes on the wire meanwhile, both directions, for all spaces of the connection.
    pub bytes: u64,
    /// Why it failed; empty if it did not.
    pub error: String,
}

/// What became of an exchange, or of several that brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub peer: PeerId,
    pub space: SpaceId,
    /// Exchanges that ended well before, in which nothing went over.
    pub quiet: u64,
    pub past: PastExchange,
}

impl Exchanges {
    pub(crate) fn new(space: SpaceId) -> Self {
        Self {
            space,
            last_sync_ms: 0,
            successes: 0,
            failures: 0,
            last_error: String::new(),
            history: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, outcome: &Outcome) {
        let past = &outcome.past;
        self.successes += outcome.quiet;
        if past.error.is_empty() {
            self.last_sync_ms = self.last_sync_ms.max(past.at_ms);
            self.last_error.clear();
        } else {
            self.failures += 1;
            self.last_error.clone_from(&past.error);
        }
        if past.commits == 0 && past.error.is_empty() {
            return;
        }
        self.successes += u64::from(past.error.is_empty());
        self.history.push(past.clone());
        let more = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..more);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::new();
        for number in [self.last_sync_ms, self.successes, self.failures] {
            put_number(&mut row, number);
        }
        put_bytes(&mut row, self.last_error.as_bytes());
        for past in &self.history {
            for number in [past.at_ms, past.commits, past.bytes] {
                put_number(&mut row, number);
            }
            put_bytes(&mut row, past.error.as_bytes());
        }
        row
    }

    pub(crate) fn decode(space: SpaceId, row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        let mut exchanges = Self::new(space);
        (exchanges.last_sync_ms, exchanges.successes, exchanges.failures) =
            (row.number()?, row.number()?, row.number()?);
        exchanges.last_error = row.text()?.to_owned();
        while !row.0.is_empty() {
            let (at_ms, commits, bytes) = (row.number()?, row.number()?, row.number()?);
            exchanges.history.push(PastExchange { at_ms, commits, bytes, error: row.text()?.to_owned() });
        }
        Some(exchanges)
    }
}

impl Unsent {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::new();
        put_number(&mut row, self.attempts.into());
        for space in &self.spaces {
            row.extend_from_slice(&space.0);
        }
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        let attempts = u32::try_from(row.number()?).ok()?;
        let mut spaces = Vec::new();
        while !row.0.is_empty() {
            spaces.push(SpaceId(row.array()?));
        }
        Some(Self { attempts, spaces })
    }
}

impl Database {
    /// What exchanges with a peer came to, of each space that the sync engine exchanges with it.
    pub fn exchanges(&self, peer: &PeerId) -> Result<Vec<Exchanges>, Error> {
        let (first, last) = (key(peer, &SpaceId([0; 32])), key(peer, &SpaceId([0xff; 32])));
        let bounds = (Bound::Included(first.as_slice().into()), Bound::Included(last.as_slice().into()));
        let (mut found, mut whole) = (Vec::new(), true);
        self.read(|engine| {
            let visit = &mut |key: Key<'_>, row: &[u8]| {
                let space = match key {
                    Key::Bytes(key) => key.last_chunk().copied().map(SpaceId),
                    Key::U64(_) => None,
                };
                let decoded = space.and_then(|space| Exchanges::decode(space, row));
                whole &= decoded.is_some();
                found.extend(decoded);
                ControlFlow::Continue(())
            };
            engine.storage.range(&layout::EXCHANGES, bounds.0, bounds.1, Order::Ascending, visit)?;
            Ok(())
        })?;
        if whole { Ok(found) } else { Err(Error::damaged("what exchanges came to does not decode")) }
    }

    /// What waits for peers, as it was last written down.
    pub fn unsent(&self) -> Result<BTreeMap<PeerId, Unsent>, Error> {
        let (mut found, mut whole) = (BTreeMap::new(), true);
        self.read(|engine| {
            let all = Bound::Unbounded;
            engine.storage.range(&layout::UNSENT, all, all, Order::Ascending, &mut |key, row| {
                let peer = match key {
                    Key::Bytes(key) => key.try_into().ok().map(PeerId),
                    Key::U64(_) => None,
                };
                let decoded = peer.zip(Unsent::decode(row));
                whole &= decoded.is_some();
                found.extend(decoded);
                ControlFlow::Continue(())
            })?;
            Ok(())
        })?;
        if whole { Ok(found) } else { Err(Error::damaged("what waits for peers does not decode")) }
    }
}

/// A sentence about a failure, short enough to be kept.
pub(crate) fn sentence(error: &dyn std::fmt::Display) -> String {
    let mut text = error.to_string();
    let mut end = MAX_ERROR.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Forgets what is remembered of a peer.
pub(crate) fn forget_peer(storage: &mut dyn Storage, peer: &PeerId) -> Result<(), Error> {
    storage.remove(&layout::UNSENT, peer.0.as_slice().into())?;
    let mut keys = Vec::new();
    let (first, last) = (key(peer, &SpaceId([0; 32])), key(peer, &SpaceId([0xff; 32])));
    let bounds = (Bound::Included(first.as_slice().into()), Bound::Included(last.as_slice().into()));
    storage.range(&layout::EXCHANGES, bounds.0, bounds.1, Order::Ascending, &mut |key, _| {
        if let Key::Bytes(key) = key {
            keys.push(key.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    for key in keys {
        storage.remove(&layout::EXCHANGES, key.as_slice().into())?;
    }
    Ok(())
}

/// Forgets what is remembered of a space.
pub(crate) fn forget_space(storage: &mut dyn Storage, space: &SpaceId) -> Result<(), Error> {
    crate::tables::agreed::forget_in(storage, &layout::EXCHANGES, space)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: PeerId = PeerId([1; 32]);
    const NOTES: SpaceId = SpaceId([7; 32]);

    fn outcome(at_ms: u64, commits: u64, error: &str) -> Outcome {
        let past = PastExchange { at_ms, commits, bytes: 10 * commits, error: error.to_owned() };
        Outcome { peer: ANN, space: NOTES, quiet: 0, past }
    }

    #[test]
    fn the_last_exchanges_are_remembered_one_by_one_and_all_are_counted() {
        let db = Database::memory().unwrap();
        // Of a stranger nothing is kept.
        db.note_exchanges(&[outcome(1, 1, "")], &[(ANN, Unsent { attempts: 1, spaces: vec![NOTES] })])
            .unwrap();
        assert!(db.exchanges(&ANN).unwrap().is_empty() && db.unsent().unwrap().is_empty());
        db.add_peer(ANN, "memory:ann").unwrap();
        for n in 0..40 {
            db.note_exchanges(&[outcome(n, 1, if n % 4 == 3 { "no" } else { "" })], &[]).unwrap();
        }
        db.note_exchanges(&[Outcome { quiet: 5, ..outcome(40, 0, "") }], &[]).unwrap();
        let known = db.exchanges(&ANN).unwrap().remove(0);
        assert_eq!((known.successes, known.failures, known.last_sync_ms), (35, 10, 40));
        assert_eq!((known.history.len(), known.history[15].at_ms, known.last_error.as_str()), (16, 39, ""));
        assert_eq!(Exchanges::decode(NOTES, &known.encode()), Some(known));
        db.remove_peer(&ANN).unwrap();
        assert!(db.exchanges(&ANN).unwrap().is_empty());
    }

    #[test]
    fn what_waits_is_kept_until_it_does_not_wait_any_more() {
        let db = Database::memory().unwrap();
        db.add_peer(ANN, "memory:ann").unwrap();
        let unsent = Unsent { attempts: 3, spaces: vec![NOTES, SpaceId([8; 32])] };
        db.note_exchanges(&[], &[(ANN, unsent.clone())]).unwrap();
        assert_eq!(db.unsent().unwrap()[&ANN], unsent);
        db.note_exchanges(&[], &[(ANN, Unsent::default())]).unwrap();
        assert!(db.unsent().unwrap().is_empty());
    }
}
