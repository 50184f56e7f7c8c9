//! What is remembered of a mailbox: how far this store has written, each of its objects, how far others were read.

use std::ops::{Bound, ControlFlow};

use driftless_store::{Key, Order, Storage, Table};

use super::alarm::AlarmKind;
use super::object::Writer;
use crate::error::Error;
use crate::tables::layout::{self, Bytes, LogSeq, put_bytes, put_number};

/// A space, and 16 bytes of the hash of a URL.
pub(super) type MailboxKey = [u8; 48];

/// Alarms kept for one writer. Beyond, reading stops until some are settled: nothing is passed over unnoticed.
pub(super) const MAX_ALARMS: usize = 1024;
/// Runs of positions that are remembered as in the mailbox already; one that is forgotten is sent once more.
const MAX_RUNS: usize = 4096;
/// Runs of positions that are remembered as there without their contents, or of objects as read without all of theirs.
const MAX_THIN: usize = 65_536;
/// Folders that are remembered as those in which nothing was found.
const MAX_VAIN: usize = 16_384;

/// Sorted runs of positions in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Runs(Vec<(LogSeq, LogSeq)>);

impl Runs {
    pub(super) fn contains(&self, at: LogSeq) -> bool {
        let run = self.0.partition_point(|(_, last)| *last < at);
        self.0.get(run).is_some_and(|(first, _)| *first <= at)
    }

    pub(super) fn insert(&mut self, at: LogSeq) {
        let next = self.0.partition_point(|(_, last)| last.saturating_add(1) < at);
        match self.0.get_mut(next) {
            Some((first, last)) if first.saturating_sub(1) <= at => {
                (*first, *last) = ((*first).min(at), (*last).max(at));
                let (end, following) = (*last, self.0.get(next + 1).copied());
                if let Some((start, last)) = following.filter(|(start, _)| *start <= end.saturating_add(1)) {
                    debug_assert!(start > end);
                    if let Some(run) = self.0.get_mut(next) {
                        run.1 = last;
                    }
                    self.0.remove(next + 1);
                }
            }
            _ => self.0.insert(next, (at, at)),
        }
    }

    pub(super) fn remove(&mut self, at: LogSeq) {
        let run = self.0.partition_point(|(_, last)| *last < at);
        let Some((first, last)) = self.0.get(run).copied().filter(|(first, _)| *first <= at) else { return };
        let before = (first < at).then(|| (first, at - 1));
        let behind = (at < last).then(|| (at + 1, last));
        self.0.splice(run..=run, before.into_iter().chain(behind));
    }

    /// Positions after `at`, in order.
    pub(super) fn after(&self, at: LogSeq) -> impl Iterator<Item = LogSeq> + '_ {
        let run = self.0.partition_point(|(_, last)| *last <= at);
        let runs = self.0.get(run..).unwrap_or_default();
        runs.iter().flat_map(move |(first, last)| (*first).max(at.saturating_add(1))..=*last)
    }

    /// Forgets every position up to `at`.
    pub(super) fn forget_below(&mut self, at: LogSeq) {
        self.forget_to(at);
        if let Some((first, _)) = self.0.first_mut() {
            *first = (*first).max(at.saturating_add(1));
        }
    }

    /// Up to which position every one is among them.
    pub(super) fn whole_to(&self) -> LogSeq {
        self.0.first().filter(|(first, _)| *first <= 1).map_or(0, |(_, last)| *last)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    // Forgets the first where there are too many runs to be kept.
    fn bound(&mut self, most: usize) {
        self.0.drain(..self.0.len().saturating_sub(most));
    }

    /// All that are in any of these.
    pub(super) fn of_all(mut all: Vec<(LogSeq, LogSeq)>) -> Self {
        all.sort_unstable();
        let mut runs: Vec<(LogSeq, LogSeq)> = Vec::new();
        for (first, last) in all {
            match runs.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => runs.push((first, last)),
            }
        }
        Self(runs)
    }

    /// Forgets positions up to `at`.
    pub(super) fn forget_to(&mut self, at: LogSeq) {
        self.0.retain(|(_, last)| *last > at);
    }

    pub(super) fn first(&self) -> Option<LogSeq> {
        self.0.first().map(|(first, _)| *first)
    }

    pub(super) fn last(&self) -> Option<LogSeq> {
        self.0.last().map(|(_, last)| *last)
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.0.len() as u64);
        let mut before = 0;
        for (first, last) in &self.0 {
            put_number(out, first - before);
            put_number(out, last - first);
            before = *last;
        }
    }

    fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (mut runs, mut before) = (Vec::new(), 0_u64);
        for _ in 0..bytes.number()? {
            let first = before.checked_add(bytes.number()?)?;
            before = first.checked_add(bytes.number()?)?;
            runs.push((first, before));
        }
        Some(Self(runs))
    }
}

/// How far this store has written into a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// Under which store id.
    pub store: [u8; 16],
    /// The number of its last object there.
    pub number: u64,
    /// The hash of it.
    pub previous: [u8; 32],
    /// Everything in the log up to here is there, by this writer or another.
    pub upto: LogSeq,
    /// Positions after it that are there already.
    pub there: Runs,
    /// Which list of what is lacked was told last.
    pub told: [u8; 8],
}

impl Own {
    /// A position is there already.
    pub(super) fn is_there(&mut self, at: LogSeq) {
        self.there.insert(at);
        self.there.bound(MAX_RUNS);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = [&self.store[..], &self.previous, &self.told].concat();
        put_number(&mut out, self.number);
        put_number(&mut out, self.upto);
        self.there.encode(&mut out);
        out
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        let (store, previous, told) = (row.array()?, row.array()?, row.array()?);
        let own = Self {
            store,
            previous,
            told,
            number: row.number()?,
            upto: row.number()?,
            there: Runs::take(&mut row)?,
        };
        row.0.is_empty().then_some(own)
    }
}

/// An object of this store: enough to make it again from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub hash: [u8; 32],
    pub size: u64,
    /// The mark that the place gave it, once it was seen.
    pub mark: u64,
    /// What stands before the commits.
    pub head: Vec<u8>,
    /// Which commits.
    pub runs: Runs,
    /// Which of them without their contents.
    pub thin: Runs,
    /// Where in the log it ends.
    pub upto: LogSeq,
    /// A later object holds its commits: it is not missed.
    pub replaced: bool,
}

impl Sent {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = self.hash.to_vec();
        for number in [self.size, self.mark, self.upto, u64::from(self.replaced)] {
            put_number(&mut out, number);
        }
        put_bytes(&mut out, &self.head);
        self.runs.encode(&mut out);
        self.thin.encode(&mut out);
        out
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        let hash = row.array()?;
        let (size, mark, upto, replaced) = (row.number()?, row.number()?, row.number()?, row.number()? != 0);
        let head = row.bytes()?.to_vec();
        let (runs, thin) = (Runs::take(&mut row)?, Runs::take(&mut row)?);
        let sent = Self { hash, size, mark, head, runs, thin, upto, replaced };
        row.0.is_empty().then_some(sent)
    }
}

/// How far the objects of another writer were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub at: u64,
    pub hash: [u8; 32],
    /// How many commits came from it that were not here before, or not known to be there. Whoever has given none may be anybody.
    pub gave: u64,
    /// Objects of which a filter took contents away.
    pub thin: Runs,
    /// What is wrong: a number, how, since when.
    pub alarms: Vec<(u64, AlarmKind, u64)>,
}

impl Reading {
    pub(super) fn raise(&mut self, number: u64, kind: AlarmKind, now: u64) -> bool {
        let known = self.alarms.iter().any(|(at, is, _)| (*at, *is) == (number, kind));
        let new = !known && self.alarms.len() < MAX_ALARMS;
        if new {
            self.alarms.push((number, kind, now));
        }
        new
    }

    pub(super) fn settle(&mut self, mut settled: impl FnMut(u64, AlarmKind) -> bool) -> bool {
        let before = self.alarms.len();
        self.alarms.retain(|(number, kind, _)| !settled(*number, *kind));
        before != self.alarms.len()
    }

    /// Nothing of it was seen here: others say how far it is.
    pub(super) fn is_only_heard_of(&self) -> bool {
        self.at == 0 && self.alarms.iter().all(|(_, kind, _)| *kind == AlarmKind::Withheld)
    }

    /// Numbers whose contents are still looked for.
    pub(super) fn owed(&self) -> Vec<u64> {
        self.owed_at_all().filter(|number| *number <= self.at).collect()
    }

    /// The same, also those that are not passed yet.
    pub(super) fn owed_at_all(&self) -> impl Iterator<Item = u64> + '_ {
        self.alarms.iter().filter(|(_, kind, _)| kind.is_owed()).map(|(number, ..)| *number)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = self.hash.to_vec();
        put_number(&mut out, self.at);
        put_number(&mut out, self.gave);
        let mut thin = self.thin.clone();
        thin.bound(MAX_THIN);
        thin.encode(&mut out);
        for (number, kind, since) in &self.alarms {
            let kind = AlarmKind::ALL.iter().position(|known| known == kind).unwrap_or_default();
            [*number, kind as u64, *since].iter().for_each(|number| put_number(&mut out, *number));
        }
        out
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        let (hash, at, gave) = (row.array()?, row.number()?, row.number()?);
        let thin = Runs::take(&mut row)?;
        let mut alarms = Vec::new();
        while !row.0.is_empty() {
            let (number, kind) = (row.number()?, usize::try_from(row.number()?).ok()?);
            alarms.push((number, *AlarmKind::ALL.get(kind)?, row.number()?));
        }
        Some(Self { at, hash, gave, thin, alarms })
    }
}

/// Positions that are in a mailbox without their contents: they were not here, or a filter kept them back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Thin {
    pub runs: Runs,
    /// Up to where they were looked at again; the next exchange goes on behind it.
    pub checked: LogSeq,
}

impl Thin {
    pub(super) fn read(storage: &dyn Storage, key: &MailboxKey) -> Result<Self, Error> {
        let Some(row) = storage.get(&layout::MAILBOX_OWN, thin_key(key).as_slice().into())? else {
            return Ok(Self::default());
        };
        let mut row = Bytes(&row);
        let thin = row.number().and_then(|checked| Some(Self { checked, runs: Runs::take(&mut row)? }));
        thin.ok_or_else(|| Error::damaged("a row of a mailbox does not decode"))
    }

    pub(super) fn write(mut self, storage: &mut dyn Storage, key: &MailboxKey) -> Result<(), Error> {
        self.runs.bound(MAX_THIN);
        let mut row = Vec::new();
        put_number(&mut row, self.checked);
        self.runs.encode(&mut row);
        Ok(storage.put(&layout::MAILBOX_OWN, thin_key(key).as_slice().into(), &row)?)
    }
}

/// Where whatever cannot all be done in one exchange goes on in the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Turns {
    /// Counts the exchanges in which not all that is owed was asked for.
    pub round: u64,
    /// Behind which folder the reading of strangers goes on.
    pub folder: String,
    /// Folders in which nothing was found, by some bytes of their hashes; the oldest first.
    pub vain: Vec<u64>,
}

impl Turns {
    pub(super) fn read(storage: &dyn Storage, key: &MailboxKey) -> Result<Self, Error> {
        let Some(row) = storage.get(&layout::MAILBOX_OWN, turns_key(key).as_slice().into())? else {
            return Ok(Self::default());
        };
        Self::decode(&row).ok_or_else(|| Error::damaged("a row of a mailbox does not decode"))
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        let (round, folder) = (row.number()?, row.text()?.to_owned());
        let mut vain = Vec::new();
        while !row.0.is_empty() {
            vain.push(u64::from_be_bytes(row.array()?));
        }
        Some(Self { round, folder, vain })
    }

    pub(super) fn write(mut self, storage: &mut dyn Storage, key: &MailboxKey) -> Result<(), Error> {
        self.vain.drain(..self.vain.len().saturating_sub(MAX_VAIN));
        let mut row = Vec::new();
        put_number(&mut row, self.round);
        put_bytes(&mut row, self.folder.as_bytes());
        self.vain.iter().for_each(|folder| row.extend_from_slice(&folder.to_be_bytes()));
        Ok(storage.put(&layout::MAILBOX_OWN, turns_key(key).as_slice().into(), &row)?)
    }
}

fn turns_key(key: &MailboxKey) -> Vec<u8> {
    [&key[..], b"u"].concat()
}

fn thin_key(key: &MailboxKey) -> Vec<u8> {
    [&key[..], b"t"].concat()
}

/// The rows of a mailbox, behind its key.
pub(super) fn sent_key(key: &MailboxKey, number: u64) -> Vec<u8> {
    [&key[..], &number.to_be_bytes()].concat()
}

pub(super) fn read_key(key: &MailboxKey, writer: &Writer) -> Vec<u8> {
    [&key[..], &writer.bytes()].concat()
}

pub(super) fn own(storage: &dyn Storage, key: &MailboxKey) -> Result<Option<Own>, Error> {
    let row = storage.get(&layout::MAILBOX_OWN, key.as_slice().into())?;
    row.map(|row| Own::decode(&row).ok_or_else(|| Error::damaged("a row of a mailbox does not decode")))
        .transpose()
}

pub(super) fn reading(storage: &dyn Storage, key: &MailboxKey, writer: &Writer) -> Result<Reading, Error> {
    let row = storage.get(&layout::MAILBOX_READ, read_key(key, writer).as_slice().into())?;
    let row = row.map(|row| {
        Reading::decode(&row).ok_or_else(|| Error::damaged("a cursor of a mailbox does not decode"))
    });
    Ok(row.transpose()?.unwrap_or_default())
}

pub(super) fn sent(storage: &dyn Storage, key: &MailboxKey, number: u64) -> Result<Option<Sent>, Error> {
    let row = storage.get(&layout::MAILBOX_SENT, sent_key(key, number).as_slice().into())?;
    row.map(|row| Sent::decode(&row).ok_or_else(|| Error::damaged("an object of a mailbox does not decode")))
        .transpose()
}

/// From the beginning on, only what own objects hold counts as being there.
pub(super) fn stand_alone(storage: &mut dyn Storage, key: &MailboxKey, mut own: Own) -> Result<(), Error> {
    (own.upto, own.there) = (0, sent_runs(storage, key)?);
    Ok(storage.put(&layout::MAILBOX_OWN, key.as_slice().into(), &own.encode())?)
}

/// What own objects hold.
pub(super) fn sent_runs(storage: &dyn Storage, key: &MailboxKey) -> Result<Runs, Error> {
    let mut all = Vec::new();
    rows(storage, &layout::MAILBOX_SENT, key, &mut |_, sent| {
        if let Some(sent) = Sent::decode(sent) {
            all.extend(sent.runs.0);
        }
    })?;
    Ok(Runs::of_all(all))
}

/// How far all writers of a mailbox were read.
pub(super) fn readings(storage: &dyn Storage, key: &[u8]) -> Result<Vec<(Writer, Reading)>, Error> {
    let mut found = Vec::new();
    rows(storage, &layout::MAILBOX_READ, key, &mut |key, row| {
        let writer = key.get(48..).and_then(|writer| Writer::take(&mut Bytes(writer)));
        found.extend(writer.zip(Reading::decode(row)));
    })?;
    Ok(found)
}

/// All rows whose keys begin so.
pub(super) fn rows(
    storage: &dyn Storage,
    table: &Table,
    prefix: &[u8],
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), Error> {
    let from = Bound::Included(Key::Bytes(prefix));
    Ok(storage.range(table, from, Bound::Unbounded, Order::Ascending, &mut |key, row| match key {
        Key::Bytes(key) if key.starts_with(prefix) => {
            visit(key, row);
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Break(()),
    })?)
}

/// Removes all rows of a table whose keys begin so.
pub(super) fn remove(storage: &mut dyn Storage, table: &Table, prefix: &[u8]) -> Result<(), Error> {
    let mut keys = Vec::new();
    rows(storage, table, prefix, &mut |key, _| keys.push(key.to_vec()))?;
    keys.iter().try_for_each(|key| Ok(storage.remove(table, key.as_slice().into())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_a_set() {
        let (mut runs, mut set) = (Runs::default(), std::collections::BTreeSet::new());
        let mut number = 1_u64;
        for _ in 0..2000 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (number >> 33) % 500 + 1;
            runs.insert(at);
            set.insert(at);
            let gone = (number >> 13) % 500 + 1;
            if number & 0x100 == 0 {
                runs.remove(gone);
                set.remove(&gone);
            }
            assert_eq!(runs.count(), set.len() as u64);
        }
        assert!((0..600).all(|at| runs.contains(at) == set.contains(&at)));
        assert!(runs.after(250).eq(set.range(251..).copied()) && runs.after(0).eq(set.iter().copied()));
        let mut other = Runs::default();
        [3, 4, 507, 508, 650].into_iter().for_each(|at| other.insert(at));
        let both = Runs::of_all(other.0.iter().chain(&runs.0).copied().collect());
        assert!((0..700).all(|at| both.contains(at) == (runs.contains(at) || other.contains(at))));
        assert_eq!(both.count(), (0..700).filter(|at| both.contains(*at)).count() as u64);
        let mut bytes = Vec::new();
        runs.encode(&mut bytes);
        assert_eq!(Runs::take(&mut Bytes(&bytes)), Some(runs));
    }
}
