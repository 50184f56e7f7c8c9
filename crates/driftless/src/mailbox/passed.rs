//! Names that were passed over because nothing usable was behind them. Anybody can lay a crowd of them before an object, and
//! no exchange looks at all: the next one goes on where this one stopped, all the way round, so that no crowd hides anything.

use std::collections::BTreeMap;

use driftless_store::Storage;

use super::object::Writer;
use super::row::{MAX_ALARMS, MailboxKey};
use crate::error::Error;
use crate::tables::layout::{self, Bytes, put_bytes, put_number};

/// Names of one writer that are looked at in vain in one exchange.
const MAX_BAD: u64 = 64;
/// Pages of a listing without any object in them.
const MAX_EMPTY: u64 = 64;
/// Writers of whom it is remembered where the reading stopped.
const MAX_WRITERS: usize = 2048;
/// Numbers of a writer who has given nothing of which that is remembered.
const MAX_STRANGE: usize = 16;

/// Where the looking for objects of one writer stopped, as ends of names behind its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Passed {
    gave: bool,
    /// In the reading of what is new.
    name: Option<String>,
    /// Under a number that is owed.
    owed: BTreeMap<u64, String>,
}

/// The same of all writers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PassedOver(BTreeMap<Writer, Passed>);

impl PassedOver {
    pub(super) fn read(storage: &dyn Storage, key: &MailboxKey) -> Result<Self, Error> {
        let Some(row) = storage.get(&layout::MAILBOX_OWN, passed_key(key).as_slice().into())? else {
            return Ok(Self::default());
        };
        Self::decode(&row).ok_or_else(|| Error::damaged("a row of a mailbox does not decode"))
    }

    pub(super) fn write(&self, storage: &mut dyn Storage, key: &MailboxKey) -> Result<(), Error> {
        Ok(storage.put(&layout::MAILBOX_OWN, passed_key(key).as_slice().into(), &self.encode())?)
    }

    /// The last name that was looked at in vain, if the reading stopped there.
    pub(super) fn name(&self, writer: &Writer) -> Option<&str> {
        self.0.get(writer)?.name.as_deref()
    }

    /// The same under a number that is owed.
    pub(super) fn owed(&self, writer: &Writer, number: u64) -> Option<&str> {
        self.0.get(writer)?.owed.get(&number).map(String::as_str)
    }

    /// The reading stopped behind this name; at none, if it went all the way round.
    pub(super) fn stop(&mut self, writer: &Writer, gave: bool, name: Option<String>) {
        if name.is_some() || self.0.contains_key(writer) {
            self.change(writer, gave, |passed| passed.name = name);
        }
    }

    /// The same under a number that is owed.
    pub(super) fn stop_owed(&mut self, writer: &Writer, gave: bool, number: u64, name: Option<String>) {
        if name.is_some() || self.0.contains_key(writer) {
            let most = if gave { MAX_ALARMS } else { MAX_STRANGE };
            self.change(writer, gave, |passed| match name {
                Some(name) => {
                    if passed.owed.len() >= most && !passed.owed.contains_key(&number) {
                        passed.owed.pop_last();
                    }
                    passed.owed.insert(number, name);
                }
                None => drop(passed.owed.remove(&number)),
            });
        }
    }

    // Strangers make room for whoever has given something.
    fn change(&mut self, writer: &Writer, gave: bool, change: impl FnOnce(&mut Passed)) {
        if self.0.len() >= MAX_WRITERS && !self.0.contains_key(writer) {
            let stranger = self.0.iter().find(|(_, passed)| !passed.gave).map(|(stranger, _)| *stranger);
            let Some(stranger) = stranger.filter(|_| gave) else { return };
            self.0.remove(&stranger);
        }
        let passed = self.0.entry(*writer).or_default();
        passed.gave = gave;
        change(passed);
        if passed.name.is_none() && passed.owed.is_empty() {
            self.0.remove(writer);
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::new();
        for (writer, passed) in &self.0 {
            row.extend_from_slice(&writer.bytes());
            put_number(&mut row, passed.gave.into());
            put_bytes(&mut row, passed.name.as_deref().unwrap_or_default().as_bytes());
            put_number(&mut row, passed.owed.len() as u64);
            for (number, name) in &passed.owed {
                put_number(&mut row, *number);
                put_bytes(&mut row, name.as_bytes());
            }
        }
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let (mut row, mut all) = (Bytes(row), BTreeMap::new());
        while !row.0.is_empty() {
            let (writer, gave) = (Writer::take(&mut row)?, row.number()? != 0);
            let name = Some(row.text()?.to_owned()).filter(|name| !name.is_empty());
            let mut owed = BTreeMap::new();
            for _ in 0..row.number()? {
                owed.insert(row.number()?, row.text()?.to_owned());
            }
            all.insert(writer, Passed { gave, name, owed });
        }
        Some(Self(all))
    }
}

fn passed_key(key: &MailboxKey) -> Vec<u8> {
    [&key[..], b"p"].concat()
}

/// Where the reading of a writer goes on after something that was looked at in vain.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    On,
    /// Behind this name.
    Behind(String),
    /// In the next exchange.
    Later,
}

/// What one reading of a writer looks at in vain: some from the first name on, where what is next should be; the rest from
/// where the last reading stopped.
#[derive(Debug)]
pub(super) struct Vain {
    names: u64,
    pages: u64,
    first: u64,
    stopped: Option<String>,
}

impl Vain {
    pub(super) fn new(first: u64, stopped: Option<&str>) -> Self {
        Self { names: 0, pages: 0, first, stopped: stopped.map(str::to_owned) }
    }

    /// Nothing usable was behind the name that ends so.
    pub(super) fn name(&mut self, at: &str) -> Then {
        self.names += 1;
        self.then(self.names > MAX_BAD, self.names >= self.first, at)
    }

    /// There was no object in a page whose last name ends so.
    pub(super) fn page(&mut self, at: &str) -> Then {
        self.pages += 1;
        self.then(self.pages > MAX_EMPTY, self.pages >= MAX_EMPTY / 2, at)
    }

    fn then(&mut self, all: bool, first: bool, at: &str) -> Then {
        if all {
            return Then::Later;
        }
        let stopped = if first { self.stopped.take() } else { None };
        stopped.filter(|stopped| stopped.as_str() > at).map_or(Then::On, Then::Behind)
    }
}

#[cfg(test)]
mod tests {
    use driftless_core::id::PeerId;

    use super::*;

    fn writer(number: u32) -> Writer {
        let peer: [u8; 32] = std::array::from_fn(|at| number.to_be_bytes().get(at).copied().unwrap_or(0));
        Writer { peer: PeerId(peer), store: [1; 16] }
    }

    #[test]
    fn strangers_take_no_more_than_their_place_and_crowd_out_nobody() {
        let mut over = PassedOver::default();
        for number in 0..3000 {
            over.stop(&writer(number), false, Some("a".into()));
        }
        assert_eq!((over.0.len(), over.name(&writer(2999))), (MAX_WRITERS, None));
        for number in 3000..3100 {
            over.stop(&writer(number), true, Some("b".into()));
            assert_eq!(over.name(&writer(number)), Some("b"));
        }
        assert_eq!(over.0.len(), MAX_WRITERS);
        let one = writer(3050);
        for number in 0..2000 {
            over.stop_owed(&one, false, number, Some(format!("{number}-x")));
        }
        assert_eq!((over.owed(&one, 3), over.owed(&one, 1999)), (Some("3-x"), Some("1999-x")));
        assert_eq!(over.0[&one].owed.len(), MAX_STRANGE);
        assert_eq!(PassedOver::decode(&over.encode()), Some(over.clone()));
        over.stop(&one, true, None);
        assert_eq!(over.name(&one), None);
        (0..2000).for_each(|number| over.stop_owed(&one, true, number, None));
        assert!(!over.0.contains_key(&one));
    }

    #[test]
    fn a_reading_goes_on_where_the_last_one_stopped_once_it_has_looked_at_the_first() {
        let mut vain = Vain::new(2, Some("5"));
        assert_eq!(vain.name("1"), Then::On);
        assert_eq!(vain.name("2"), Then::Behind("5".into()));
        assert!((2..MAX_BAD).all(|_| vain.name("6") == Then::On) && vain.name("7") == Then::Later);
        // What was passed meanwhile is not gone back to.
        let mut vain = Vain::new(1, Some("5"));
        assert_eq!((vain.name("6"), vain.page("7")), (Then::On, Then::On));
    }
}
