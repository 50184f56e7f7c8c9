//! The table of requests for access: who waits, whom the policy let in, and who was rejected. Bounded for each key, each
//! source, each space and as a whole, so that strangers grow nothing; what is old goes. It knows no rules.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::{Bound, ControlFlow};

use driftless_core::cbor::{self, Reader, Writer};
use driftless_core::id::{AuthorId, PeerId, SpaceId};
use driftless_core::limits::MAX_NOTE;
use driftless_core::rules::{Permission, decode_permission, encode_permission};
use driftless_net::Source;
use driftless_store::{Key, Order, Storage};

use crate::error::Error;
use crate::tables::layout::{self, Bytes, put_bytes, put_number};

/// Requests of one key: for so many spaces at once.
const MAX_OF_KEY: usize = 3;
/// Of one source: a household, or an office.
const MAX_OF_SOURCE: usize = 32;
/// For one space: more than its admins will read.
const MAX_OF_SPACE: usize = 256;
/// In all: 5 MiB on the disk if every note is as long as it may be.
const MAX_ROWS: usize = 1024;
/// Rejected keys that are remembered, in all; the oldest are forgotten first.
const MAX_REJECTED: usize = 1024;
/// Milliseconds after which a request is gone, and a key that the policy let in takes no place any more: 7 days.
const KEPT_MS: u64 = 7 * 24 * 3600 * 1000;
/// Milliseconds before a key may change its request: each change is a write.
const CALM_MS: u64 = 1000;
/// How many requests more than a newcomer's a source has that gives one up.
const MANY_MORE: usize = 4;

/// What became of a request so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It waits for an admin.
    Waiting,
    /// The policy let the key in. It takes a place all the same: each is a commit that stays for ever.
    Approved,
    /// An admin said no.
    Rejected,
}

/// One row, under its space and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub stage: Stage,
    pub at_ms: u64,
    pub permission: Permission,
    pub peer: PeerId,
    pub source: Option<IpAddr>,
    pub note: String,
}

type At = (SpaceId, AuthorId);

/// The table in memory, once it was read: strangers may ask often.
#[derive(Debug, Default)]
pub(crate) struct Requests(Option<BTreeMap<At, Row>>);

/// Whether a request finds a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Free,
    /// Instead of this one.
    Of(At),
    None,
}

impl Row {
    fn encode(&self) -> Vec<u8> {
        let mut row = vec![self.stage as u8];
        put_number(&mut row, self.at_ms);
        let mut permission = Writer::with_capacity(8);
        encode_permission(self.permission, &mut permission);
        put_bytes(&mut row, &permission.finish());
        row.extend_from_slice(&self.peer.0);
        match self.source {
            None => put_bytes(&mut row, &[]),
            Some(IpAddr::V4(address)) => put_bytes(&mut row, &address.octets()),
            Some(IpAddr::V6(address)) => put_bytes(&mut row, &address.octets()),
        }
        put_bytes(&mut row, self.note.as_bytes());
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        let stage = match row.array()? {
            [0] => Stage::Waiting,
            [1] => Stage::Approved,
            [2] => Stage::Rejected,
            _ => return None,
        };
        let at_ms = row.number()?;
        let permission = row.bytes()?;
        cbor::check(permission, 2).ok()?;
        let permission = decode_permission(&mut Reader::new(permission)).ok()?;
        let peer = PeerId(row.array()?);
        let source = row.bytes()?;
        let source = match source.len() {
            0 => None,
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(source).ok()?)),
            16 => Some(IpAddr::from(<[u8; 16]>::try_from(source).ok()?)),
            _ => return None,
        };
        let note = row.text().filter(|note| note.len() <= MAX_NOTE)?.to_owned();
        row.0.is_empty().then_some(Self { stage, at_ms, permission, peer, source, note })
    }

    /// Whether it is too old to be anything; so is one from the future, by a clock that was wrong.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.stage != Stage::Rejected && now.abs_diff(self.at_ms) > KEPT_MS
    }

    /// Whether its owner changed it just now.
    pub(crate) fn is_new(&self, now: u64) -> bool {
        now.abs_diff(self.at_ms) < CALM_MS
    }

    fn takes_place(&self, now: u64) -> bool {
        self.stage != Stage::Rejected && !self.is_over(now)
    }
}

fn key((space, author): &At) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(&space.0);
    key[32..].copy_from_slice(&author.0);
    key
}

fn at(key: &[u8]) -> Option<At> {
    let (space, author) = key.split_first_chunk()?;
    Some((SpaceId(*space), AuthorId(author.try_into().ok()?)))
}

/// Whether a stored row is one.
pub(crate) fn is_whole(key: &[u8], row: &[u8]) -> bool {
    at(key).is_some() && Row::decode(row).is_some()
}

/// All rows as they are stored, but for those that do not decode: `fsck` names these.
pub(crate) fn list(storage: &dyn Storage) -> Result<BTreeMap<At, Row>, Error> {
    let mut rows = BTreeMap::new();
    let visit = &mut |key: Key<'_>, row: &[u8]| {
        let Key::Bytes(key) = key else { return ControlFlow::Break(()) };
        rows.extend(at(key).zip(Row::decode(row)));
        ControlFlow::Continue(())
    };
    storage.range(&layout::REQUEST, Bound::Unbounded, Bound::Unbounded, Order::Ascending, visit)?;
    Ok(rows)
}

/// Forgets all that was asked about a space; `Engine::requests` must be made anew.
pub(crate) fn forget(storage: &mut dyn Storage, space: &SpaceId) -> Result<(), Error> {
    for at in list(storage)?.into_keys().filter(|(of, _)| of == space) {
        storage.remove(&layout::REQUEST, key(&at).as_slice().into())?;
    }
    Ok(())
}

impl Requests {
    fn rows(&mut self, storage: &dyn Storage) -> Result<&mut BTreeMap<At, Row>, Error> {
        if self.0.is_none() {
            self.0 = Some(list(storage)?);
        }
        Ok(self.0.get_or_insert_default())
    }

    /// What is known of a key in a space.
    pub(crate) fn get(&mut self, storage: &dyn Storage, at: &At) -> Result<Option<&Row>, Error> {
        Ok(self.rows(storage)?.get(at))
    }

    /// Whether a request finds a place; what is there of the same key and space gives it its own.
    pub(crate) fn place(
        &mut self,
        storage: &dyn Storage,
        at: &At,
        (peer, source): (PeerId, Option<IpAddr>),
        now: u64,
    ) -> Result<Place, Error> {
        let source = source.map(Source::of);
        let (mut of_key, mut of_source, mut of_space, mut all) = (0, 0, 0, 0);
        for (other, row) in self.rows(storage)?.iter() {
            if other == at || !row.takes_place(now) {
                continue;
            }
            all += 1;
            of_key += usize::from(other.1 == at.1);
            // Where the transport does not know, a node key has to do.
            let same = row.source.map(Source::of) == source && (source.is_some() || row.peer == peer);
            of_source += usize::from(same);
            of_space += usize::from(other.0 == at.0);
        }
        if of_key >= MAX_OF_KEY || of_source >= MAX_OF_SOURCE {
            return Ok(Place::None);
        }
        if of_space >= MAX_OF_SPACE {
            return self.of_the_greediest(storage, Some(&at.0), source, now);
        }
        if all >= MAX_ROWS {
            return self.of_the_greediest(storage, None, source, now);
        }
        Ok(Place::Free)
    }

    // The newest request of the source that has most, if that is many more than the newcomer's. All whose source is not
    // known are one: node keys cost nothing.
    fn of_the_greediest(
        &mut self,
        storage: &dyn Storage,
        space: Option<&SpaceId>,
        source: Option<Source>,
        now: u64,
    ) -> Result<Place, Error> {
        // Of each: how many, and the newest.
        let mut sources = HashMap::new();
        for (at, row) in self.rows(storage)?.iter() {
            let concerned = space.is_none_or(|space| at.0 == *space);
            if concerned && row.stage == Stage::Waiting && !row.is_over(now) {
                let last = (row.at_ms, *at);
                let (count, newest) = sources.entry(row.source.map(Source::of)).or_insert((0, last));
                *count += 1;
                *newest = last.max(*newest);
            }
        }
        let own = sources.get(&source).map_or(0, |(count, _)| *count);
        let most = sources.into_values().max_by_key(|(count, newest)| (*count, *newest));
        Ok(match most {
            Some((count, (_, at))) if count >= own + MANY_MORE => Place::Of(at),
            _ => Place::None,
        })
    }

    /// Writes a row, and removes what is old. Staged.
    pub(crate) fn put(&mut self, storage: &mut dyn Storage, at: At, row: Row, now: u64) -> Result<(), Error> {
        let rows = self.rows(storage)?;
        let mut gone: Vec<At> = rows.iter().filter(|(_, row)| row.is_over(now)).map(|(at, _)| *at).collect();
        if row.stage == Stage::Rejected {
            let mut rejected: Vec<(u64, At)> = rows
                .iter()
                .filter(|(_, row)| row.stage == Stage::Rejected)
                .map(|(at, row)| (row.at_ms, *at))
                .collect();
            rejected.sort_unstable();
            let over = (rejected.len() + 1).saturating_sub(MAX_REJECTED);
            gone.extend(rejected.into_iter().take(over).map(|(_, at)| at));
        }
        for at in gone {
            self.remove(storage, &at)?;
        }
        storage.put(&layout::REQUEST, key(&at).as_slice().into(), &row.encode())?;
        self.rows(storage)?.insert(at, row);
        Ok(())
    }

    /// Removes a row. Staged.
    pub(crate) fn remove(&mut self, storage: &mut dyn Storage, at: &At) -> Result<(), Error> {
        storage.remove(&layout::REQUEST, key(at).as_slice().into())?;
        self.rows(storage)?.remove(at);
        Ok(())
    }
}
