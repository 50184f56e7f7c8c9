//! Whether a database is what it says it is: every hash, every signature, every chain, everything that is derived.
//!
//! It reads and never writes. Damage never stops it: it goes on with what can be read, and names each problem. Where the
//! log of a space is damaged, what is derived from it is not compared: it could not be right.

mod commits;
mod documents;
mod effects;
mod tables;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Bound, ControlFlow};
use std::path::Path;

use driftless_core::id::SpaceId;
use driftless_store::{Folder, Key, Order, SqliteStorage, Storage, StorageError, Table};

use crate::database::Database;
use crate::error::Error;
use crate::state::replica::Summary;
use crate::tables::layout::{self, LogKey, LogSeq, SCHEMA};
use crate::tables::pack::Packed;

/// Problems named one by one; more are counted.
const MAX_NAMED: usize = 1000;

/// What to do about a problem.
pub(crate) const DERIVED: &str = "it is made again from the log";
pub(crate) const BODY: &str = "it becomes wanted again, and comes with the next sync";
pub(crate) const COMMIT: &str =
    "the commit is taken out with what stands on it, and comes back with the next sync";
pub(crate) const LOST: &str = "it is left out: nothing else knows it";
pub(crate) const FILE: &str = "what can be read is saved into a new file";

/// What `fsck` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The first problems, at most 1,000.
    pub problems: Vec<Problem>,
    /// Problems beyond these.
    pub more: u64,
    /// Spaces looked at.
    pub spaces: u64,
    /// Commits looked at.
    pub commits: u64,
    /// Documents folded again.
    pub documents: u64,
    /// Signatures verified.
    pub signatures: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A stable word for the kind of thing that is damaged.
    pub code: &'static str,
    /// The space it belongs to, if it belongs to one.
    pub space: Option<SpaceId>,
    /// What is wrong, in one sentence.
    pub what: String,
    /// What a repair does about it.
    pub repair: &'static str,
}

/// How far a check or a repair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// What is being done.
    pub stage: &'static str,
    /// Commits and documents done.
    pub done: u64,
    /// Commits and documents to do, as far as is known.
    pub total: u64,
}

impl Database {
    /// Verifies a space, or everything: hashes, signatures, chains, indexes, documents. A database in a folder is read
    /// beside whoever writes, as it is at this moment.
    pub fn fsck(
        &self,
        space: Option<&SpaceId>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Report, Error> {
        if self.is_writable()? {
            self.flush()?;
        }
        match self.folder() {
            Some(folder) => {
                let file = Folder::open(folder)?.database_file();
                let storage = SqliteStorage::open(file, &SCHEMA, driftless_store::Access::Read)?;
                Ok(check(&Packed::over(Box::new(storage)), space, progress))
            }
            None => self.read(|engine| Ok(check(engine.storage.as_ref(), space, progress))),
        }
    }

    /// As `fsck` of everything, also of a database that is too damaged to be opened.
    pub fn fsck_folder(
        folder: impl AsRef<Path>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Report, Error> {
        let file = Folder::open(folder)?.database_file();
        match SqliteStorage::open(&file, &SCHEMA, driftless_store::Access::Read) {
            Ok(storage) => Ok(check(&Packed::over(Box::new(storage)), None, progress)),
            Err(StorageError::Damaged(why)) => Ok(unreadable(&file, &why, progress)),
            Err(error) => Err(error.into()),
        }
    }
}

// A file that does not open as a database; perhaps some of it can be read all the same.
fn unreadable(file: &Path, why: &str, progress: &mut dyn FnMut(&Progress)) -> Report {
    let mut report = match SqliteStorage::open_damaged(file, &SCHEMA) {
        Ok(storage) => check(&Packed::over(Box::new(storage)), None, progress),
        Err(_) => Report::default(),
    };
    let what = format!("the file does not open: {why}");
    report.problems.insert(0, Problem { code: "storage", space: None, what, repair: FILE });
    report
}

/// Checks what a storage holds.
pub(crate) fn check(
    storage: &dyn Storage,
    space: Option<&SpaceId>,
    progress: &mut dyn FnMut(&Progress),
) -> Report {
    let mut checker = Checker {
        storage,
        report: Report::default(),
        space: None,
        progress: Progress::default(),
        tell: progress,
    };
    checker.run(space);
    checker.report
}

pub(crate) struct Checker<'c> {
    storage: &'c dyn Storage,
    report: Report,
    // What is being looked at belongs to it.
    space: Option<SpaceId>,
    progress: Progress,
    tell: &'c mut dyn FnMut(&Progress),
}

impl Checker<'_> {
    fn run(&mut self, only: Option<&SpaceId>) {
        self.stage("pages");
        let mut told = Vec::new();
        let checked = self.storage.check(&mut |problem| told.push(problem));
        for what in told {
            self.problem("storage", what, FILE);
        }
        self.note(checked.map_err(Error::from), "storage", FILE);
        let spaces = self.spaces();
        let chosen: Vec<_> =
            spaces.into_iter().filter(|found| only.is_none_or(|only| found.id == *only)).collect();
        self.progress.total = chosen.iter().map(|found| 2 * found.last + found.documents()).sum();
        let mut commits = 0;
        for found in &chosen {
            self.space = Some(found.id);
            self.report.spaces += 1;
            commits += found.last;
            self.space(found);
            self.space = None;
        }
        if only.is_none() {
            self.tables(commits);
        }
    }

    fn space(&mut self, found: &FoundSpace) {
        // What follows from a damaged log could not be right.
        let (Some(mut replica), Some(summary)) = (self.commits(found), &found.summary) else { return };
        let effects = self.effects(&mut replica, summary);
        if let Some(effects) = self.note(effects, "state", DERIVED) {
            let viewed = self.documents(&replica, summary, &effects);
            self.note(viewed, "document", DERIVED);
        }
    }

    fn named(&self) -> u64 {
        self.report.problems.len() as u64 + self.report.more
    }

    fn problem(&mut self, code: &'static str, what: impl Into<String>, repair: &'static str) {
        if self.report.problems.len() < MAX_NAMED {
            self.report.problems.push(Problem { code, space: self.space, what: what.into(), repair });
        } else {
            self.report.more += 1;
        }
    }

    // Something that could not be read is a problem like any other.
    fn note<T>(&mut self, result: Result<T, Error>, code: &'static str, repair: &'static str) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Error::Damaged(what)) => {
                self.problem(code, what, repair);
                None
            }
            Err(error) => {
                self.problem(code, error.to_string(), repair);
                None
            }
        }
    }

    fn expect(&mut self, as_it_is: bool, code: &'static str, what: impl FnOnce() -> String) {
        if !as_it_is {
            self.problem(code, what(), DERIVED);
        }
    }

    fn stage(&mut self, stage: &'static str) {
        self.progress.stage = stage;
        (self.tell)(&self.progress);
    }

    fn step(&mut self) {
        self.progress.done += 1;
        if self.progress.done.is_multiple_of(256) {
            (self.tell)(&self.progress);
        }
    }

    fn spaces(&mut self) -> Vec<FoundSpace> {
        let (found, problems) = spaces(self.storage);
        for what in problems {
            self.problem("space", what, DERIVED);
        }
        found
    }
}

/// A space as far as it can be found, whatever is damaged of it.
#[derive(Debug)]
pub(crate) struct FoundSpace {
    pub number: u32,
    pub id: SpaceId,
    /// Its row, if that can be read.
    pub summary: Option<Summary>,
    /// The last position of its log.
    pub last: LogSeq,
}

impl FoundSpace {
    fn documents(&self) -> u64 {
        self.summary.as_ref().map_or(0, |summary| summary.documents.min(self.last.saturating_mul(4096)))
    }
}

/// Every space that leaves a trace: a row, an id, or a log. Also says what of these does not fit together.
pub(crate) fn spaces(storage: &dyn Storage) -> (Vec<FoundSpace>, Vec<String>) {
    let (mut numbers, mut problems) = (BTreeMap::<u32, Option<SpaceId>>::new(), Vec::new());
    let failed = |result: Result<(), StorageError>, problems: &mut Vec<String>| {
        problems.extend(result.err().map(|error| error.to_string()));
    };
    let mut visit = |key: Key<'_>, value: &[u8]| {
        let id = if let Key::Bytes(id) = key { id.try_into().ok().map(SpaceId) } else { None };
        match value.try_into().map(u32::from_be_bytes) {
            Ok(number) => drop(numbers.insert(number, id)),
            Err(_) => problems.push("the number of a space does not decode".into()),
        }
        ControlFlow::Continue(())
    };
    let read = all(storage, &layout::SPACE_ID, &mut visit);
    failed(read, &mut problems);
    let mut rows = BTreeMap::new();
    let mut visit = |key: Key<'_>, value: &[u8]| {
        if let Key::U64(number) = key {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            rows.insert(number, Summary::decode(value).ok());
        }
        ControlFlow::Continue(())
    };
    let read = all(storage, &layout::SPACE, &mut visit);
    failed(read, &mut problems);
    for number in rows.keys() {
        if let Entry::Vacant(unknown) = numbers.entry(*number) {
            problems.push(format!("space number {number} is not found by its id"));
            unknown.insert(None);
        }
    }
    // Logs of which nothing else is left: from the end of one to the beginning of the next.
    let mut from = 0;
    loop {
        let mut next = None;
        let lower = Bound::Included(Key::U64(LogKey::new(from, 0).0));
        let read = storage.range(&layout::LOG, lower, Bound::Unbounded, Order::Ascending, &mut |key, _| {
            if let Key::U64(at) = key {
                next = Some(LogKey(at).space());
            }
            ControlFlow::Break(())
        });
        failed(read, &mut problems);
        let Some(number) = next else { break };
        if let Entry::Vacant(unknown) = numbers.entry(number) {
            problems.push(format!("the log of space number {number} belongs to no space"));
            unknown.insert(None);
        }
        from = number + 1;
    }
    let mut found = Vec::new();
    for (number, id) in numbers {
        let summary = rows.remove(&number).flatten();
        if summary.is_none() {
            problems.push(format!("the row of space number {number} is missing or does not decode"));
        }
        let last = last_of_log(storage, number, summary.as_ref().map_or(1, |summary| summary.next));
        let genesis = log_genesis(storage, number);
        let ids = [genesis, id, summary.as_ref().map(|summary| summary.id)];
        if ids.iter().flatten().any(|one| ids.iter().flatten().any(|other| one != other)) {
            problems.push(format!("space number {number} has several ids"));
        }
        // The genesis proves itself; of the others at most one is right.
        let Some(id) = genesis.or(id).or(summary.as_ref().map(|summary| summary.id)) else { continue };
        found.push(FoundSpace { number, id, summary, last });
    }
    (found, problems)
}

// The id that the first commit of a log gives its space, if that commit is whole.
fn log_genesis(storage: &dyn Storage, number: u32) -> Option<SpaceId> {
    let at = LogKey::new(number, 1);
    let row = crate::tables::log::row(storage, at).ok()?;
    let body = crate::tables::log::body(storage, at).ok()?;
    let space = SpaceId::from(row.id);
    let header = crate::tables::log::header(storage, &space, at, &row, body.as_deref()).ok()?.encode();
    (driftless_core::commit::commit_id(&header) == row.id).then_some(space)
}

/// The last position of a log: by its rows; if these cannot be walked, what its space says, within reason.
pub(crate) fn last_of_log(storage: &dyn Storage, number: u32, next: LogSeq) -> LogSeq {
    let (lower, upper) = (LogKey::new(number, 0).0, LogKey::new(number, u64::MAX).0);
    let (lower, upper) = (Bound::Included(Key::U64(lower)), Bound::Included(Key::U64(upper)));
    let mut last = 0;
    let walked = storage.range(&layout::LOG, lower, upper, Order::Descending, &mut |key, _| {
        if let Key::U64(at) = key {
            last = LogKey(at).seq();
        }
        ControlFlow::Break(())
    });
    // No row of a log is smaller than an id and a time; a key that is damaged may say anything. Memory has no size.
    let most = storage.size().map_or(0, |size| size / 40);
    match walked {
        Ok(()) if most == 0 => last,
        Ok(()) => last.min(most),
        Err(_) => next.saturating_sub(1).min(most),
    }
}

/// Visits a whole table.
pub(crate) fn all(
    storage: &dyn Storage,
    table: &Table,
    visit: &mut dyn FnMut(Key<'_>, &[u8]) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    storage.range(table, Bound::Unbounded, Bound::Unbounded, Order::Ascending, &mut |key, value| {
        visit(key, value)
    })
}

/// The number of rows between two keys.
fn count(
    storage: &dyn Storage,
    table: &Table,
    from: Bound<Key<'_>>,
    to: Bound<Key<'_>>,
) -> Result<u64, Error> {
    let mut count = 0;
    storage.range(table, from, to, Order::Ascending, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

/// The number of rows of a space in a table whose keys begin with a `LogKey`.
fn count_at(storage: &dyn Storage, table: &Table, number: u32) -> Result<u64, Error> {
    let (lower, upper) = (LogKey::new(number, 0).0, LogKey::new(number, u64::MAX).0);
    match table.key {
        driftless_store::KeyKind::U64 => {
            count(storage, table, Bound::Included(Key::U64(lower)), Bound::Included(Key::U64(upper)))
        }
        driftless_store::KeyKind::Bytes => {
            let (lower, upper) = (layout::key([lower]), layout::key([upper.saturating_add(1)]));
            count(storage, table, Bound::Included(Key::Bytes(&lower)), Bound::Excluded(Key::Bytes(&upper)))
        }
    }
}
