//! What the benches work on: databases in folders on a disk, and documents with one short field.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftless::{Collection, Database, DocumentId, Durability, Map, Operator, Value, operators_from_json};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::stopwatch::Failure;

/// Longer than any run: the bench itself decides when what is batched is flushed, so that the work of a flush is counted
/// where it belongs.
const NEVER: Duration = Duration::from_secs(1_000_000);
/// Commits between two flushes of a batched database: what 10 ms would gather at the rate that is wanted.
pub(crate) const BATCH: usize = 100;

/// Where data lies, and how much of it.
#[derive(Debug)]
pub(crate) struct Place {
    pub folder: PathBuf,
    pub quick: bool,
    /// Builds databases again that are kept from run to run.
    pub fresh: bool,
}

impl Place {
    /// A folder that is gone when dropped.
    pub(crate) fn folder(&self) -> Result<TempDir, Failure> {
        Ok(tempfile::tempdir_in(&self.folder)?)
    }

    /// `full`, or `quick` where a run has to be short.
    pub(crate) fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// How often a measurement is repeated for the best of it.
    pub(crate) fn runs(&self) -> usize {
        self.size(3, 1)
    }
}

/// A database that flushes when told.
pub(crate) fn batched(folder: &Path) -> Result<Database, Failure> {
    Ok(Database::builder().durability(Durability::Batched(NEVER)).open(folder)?)
}

/// The same in memory.
pub(crate) fn in_memory() -> Result<Database, Failure> {
    Ok(Database::builder().durability(Durability::Batched(NEVER)).memory()?)
}

/// One in memory that publishes each write at once.
pub(crate) fn in_memory_each() -> Result<Database, Failure> {
    Ok(Database::memory()?)
}

/// The collection that all benches use, of the only space.
pub(crate) fn notes(database: &Database) -> Result<Collection, Failure> {
    let space = match database.spaces()?.first() {
        Some(summary) => database.space(&summary.id.to_string())?,
        None => database.create_space("bench")?,
    };
    Ok(space.collection("notes")?)
}

/// One field, 12 bytes of text, different in each document.
pub(crate) fn small(number: usize) -> Map {
    let mut map = Map::default();
    map.insert("title", Value::String(format!("note {number:07}")));
    map
}

/// An edit of that field.
pub(crate) fn edit(number: usize) -> Result<Vec<Operator>, Failure> {
    Ok(operators_from_json(&format!(r#"{{"$set": {{"title": "note {number:07}"}}}}"#))?)
}

/// Commits that insert one document each.
pub(crate) fn insert_each(to: &Collection, count: usize) -> Result<Vec<DocumentId>, Failure> {
    let mut ids = Vec::with_capacity(count);
    for number in 0..count {
        ids.push(to.insert(small(number))?.id);
        if (number + 1) % BATCH == 0 {
            to.space().database().flush()?;
        }
    }
    to.space().database().flush()?;
    Ok(ids)
}

/// Documents in transactions of so many, so that many are there soon.
pub(crate) fn insert_all(to: &Collection, count: usize, map: impl Fn(usize) -> Map) -> Result<(), Failure> {
    const TOGETHER: usize = 1000;
    for first in (0..count).step_by(TOGETHER) {
        let mut transaction = to.space().database().transaction();
        for number in first..count.min(first + TOGETHER) {
            transaction.insert(to, map(number))?;
        }
        transaction.commit()?;
        to.space().database().flush()?;
    }
    Ok(())
}

/// The file of a database.
pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join("driftless.sqlite")
}

/// Opens the file of a closed database with SQLite alone.
pub(crate) fn sqlite(folder: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(file(folder), flags)?)
}

/// Bytes of the file of a closed database, its log folded into it.
pub(crate) fn bytes_on_disk(folder: &Path) -> Result<u64, Failure> {
    let connection = sqlite(folder)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(connection);
    Ok(file(folder).metadata()?.len())
}

/// Makes the system forget what it holds of a file in memory, so that the next read comes from the disk.
pub(crate) fn forget(path: &Path) -> Result<(), Failure> {
    let file = File::open(path)?;
    file.sync_all()?;
    #[cfg(target_os = "linux")]
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

/// Reads a file through, so that the system holds it in memory as far as there is room.
pub(crate) fn remember(path: &Path) -> Result<(), Failure> {
    std::io::copy(&mut File::open(path)?, &mut std::io::sink())?;
    Ok(())
}
