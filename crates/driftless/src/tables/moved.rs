//! The journal of moved commits: those that gained or lost their effect after they had come. With it and the log, who
//! only reads knows which documents may have changed since it last looked, and need not look at the others.
//!
//! An ordinary commit leaves nothing here: the log says what it changed. The journal is short, and who comes too late
//! for it looks at everything.

use std::ops::{Bound, ControlFlow};

use driftless_store::{Key, Order, Storage};

use crate::error::Error;
use crate::tables::layout::{self, LogKey, LogSeq};

// Before the number of a row in the table of facts about the database.
const ROW: &[u8] = b"moved";
// Rows that are kept: one is written by each flush in which commits moved, and such flushes are rare.
const KEPT: u64 = 64;
// Commits that one row names; if more moved, it stands for all.
const NAMED: usize = 1024;

/// How far somebody has looked at a space: where its log ended, and the last row of the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub next: LogSeq,
    pub row: u64,
}

/// What moved since the last flush, and the number of the last row.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    last: u64,
    moved: Vec<LogKey>,
    all: bool,
}

impl Journal {
    pub(crate) fn new(last: u64) -> Self {
        Self { last, ..Self::default() }
    }

    /// The number of the last row.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// A commit that was in the log at the last flush has gained or lost its effect.
    pub(crate) fn moved(&mut self, at: LogKey) {
        self.moved.push(at);
        if self.moved.len() > NAMED {
            self.all_moved();
        }
    }

    /// Any document may be another one now.
    pub(crate) fn all_moved(&mut self) {
        self.all = true;
        self.moved.clear();
    }

    /// Writes a row if something moved; whether it stands for everything.
    pub(crate) fn flush(&mut self, storage: &mut dyn Storage) -> Result<bool, Error> {
        let (all, moved) = (std::mem::take(&mut self.all), std::mem::take(&mut self.moved));
        if !all && moved.is_empty() {
            return Ok(false);
        }
        self.last += 1;
        let named: Vec<u8> =
            if all { Vec::new() } else { moved.iter().flat_map(|at| at.0.to_be_bytes()).collect() };
        storage.put(&layout::META, row_key(self.last).as_slice().into(), &named)?;
        storage.remove(&layout::META, row_key(self.last.saturating_sub(KEPT)).as_slice().into())?;
        Ok(all)
    }
}

/// The commits of a space that moved after one row and up to another; `None` if that is not known, or is everything.
pub(crate) fn moved_between(
    storage: &dyn Storage,
    space: u32,
    after: u64,
    last: u64,
) -> Result<Option<Vec<LogKey>>, Error> {
    // A number that went back is that of another database.
    let Some(rows) = last.checked_sub(after).filter(|rows| *rows <= KEPT) else { return Ok(None) };
    let (mut moved, mut read) = (Vec::new(), 0);
    let (lower, upper) = (row_key(after), row_key(last));
    let (lower, upper) = (Bound::Excluded(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
    storage.range(&layout::META, lower, upper, Order::Ascending, &mut |_, named| {
        if named.is_empty() {
            return ControlFlow::Break(());
        }
        read += 1;
        let keys = named.as_chunks::<8>().0.iter().map(|at| LogKey(u64::from_be_bytes(*at)));
        moved.extend(keys.filter(|at| at.space() == space));
        ControlFlow::Continue(())
    })?;
    Ok((read == rows).then_some(moved))
}

fn row_key(row: u64) -> Vec<u8> {
    [ROW, &row.to_be_bytes()].concat()
}
