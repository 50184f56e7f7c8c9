//! Making a database file, and opening one: what is checked before anything in it is used, and how SQLite is set up.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{Access, Disk, failure, sql};
use crate::folder::{failed, private_file, sync_folder};
use crate::storage::{Schema, StorageError};

// "drft": tells our files from every other SQLite file.
const APPLICATION_ID: i32 = 0x6472_6674;
// Pages of 8,192 bytes append a tenth faster, but inserts in random places cost a tenth more: each dirties a page.
const PAGE_SIZE: u32 = 4096;
// How long SQLite waits for a lock of another connection. Readers and the writer meet only for moments.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
// Pages of the write-ahead log after which it is copied into the file: 16 MiB. A page that many commits touch is copied
// once per checkpoint, so rarer is cheaper: 400,000 documents with random ids go in at 63,000 per second with SQLite's
// default of 1,000 pages, 80,000 with 4,000, 104,000 with 16,000 (`examples/rates.rs`). Beyond this the log outgrows
// most databases, and all of it is read again after a crash.
const CHECKPOINT_PAGES: u32 = 4000;
// One huge transaction leaves a huge log; it is cut back to this many bytes when it next starts over.
const LOG_BYTES: u32 = 64 * 1024 * 1024;
// The most memory pages may take, in KiB (negative means KiB to SQLite).
const CACHE: i32 = -64 * 1024;
// The same for a larger file: as much as the file when it is opened, and never more than this. A million small documents
// and their index lie in 180 MiB of pages: one by its id takes 7.0 to 8.6 us with 64 MiB, 5.4 to 5.8 with 256.
const LARGEST_CACHE: i32 = -256 * 1024;

/// Makes a complete, empty database at `path`. It is built in a draft beside it and renamed, so that a crash leaves
/// either nothing or a draft, which the next attempt throws away.
pub(super) fn create(path: &Path, schema: &Schema) -> Result<(), StorageError> {
    match path.try_exists() {
        Ok(true) => return Err(StorageError::Exists(path.display().to_string())),
        Ok(false) => {}
        Err(error) => return Err(failed(path, &error)),
    }
    let draft = draft(path)?;
    build(&draft, schema)?;
    publish(&draft, path).map_err(|error| failed(path, &error))
}

/// An empty file beside `path`, to be renamed to it when it is complete. What a crash left of an earlier one goes away.
pub(super) fn draft(path: &Path) -> Result<PathBuf, StorageError> {
    let draft = beside(path, ".new");
    for end in [".new", ".new-journal", ".new-wal", ".new-shm"] {
        match fs::remove_file(beside(path, end)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&draft, &error)),
            _ => {}
        }
    }
    // Before SQLite writes to it: SQLite gives its other files the mode of this one.
    private_file(&draft).map_err(|error| failed(&draft, &error))?;
    Ok(draft)
}

fn build(draft: &Path, schema: &Schema) -> Result<(), StorageError> {
    let connection = connect(draft, &Disk::default())?;
    // With the ordinary journal: after the commit everything is in the one file that will be renamed.
    // Pages that are free can be given back one by one, without a copy of the whole file.
    let mut script = format!(
        "PRAGMA page_size = {PAGE_SIZE}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE;"
    );
    for (_, definition) in sql::definitions(schema) {
        script += &definition;
        script += ";";
    }
    let version = schema.version;
    script += &format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}; COMMIT;");
    connection.execute_batch(&script).map_err(failure)?;
    use_log(&connection)?;
    connection.close().map_err(|(_, error)| failure(error))
}

// No connection to the draft is left, so opening it takes no lock away from one.
pub(super) fn publish(draft: &Path, path: &Path) -> std::io::Result<()> {
    OpenOptions::new().write(true).open(draft)?.sync_all()?;
    fs::rename(draft, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))
}

/// A connection to the database at `path`, checked and set up; for `Read` in a transaction that holds its snapshot.
pub(super) fn open(
    path: &Path,
    schema: &Schema,
    access: Access,
    disk: &Disk,
) -> Result<Connection, StorageError> {
    let connection = existing(path, disk)?;
    // One transaction for all checks, so that they are of one state of the file.
    connection.execute_batch(sql::BEGIN_READ).map_err(failure)?;
    check(&connection, schema)?;
    let bytes: i64 = connection.query_row(sql::SIZE, [], |row| row.get(0)).map_err(failure)?;
    let chosen = disk.cache_kib.map(|kib| i32::try_from(kib).map_or(i32::MIN, i32::wrapping_neg));
    set(&connection, "cache_size", chosen.unwrap_or_else(|| cache_of(bytes)))?;
    if access == Access::Read {
        set(&connection, "query_only", 1)?;
        return Ok(connection);
    }
    connection.execute_batch(sql::COMMIT).map_err(failure)?;
    use_log(&connection)?;
    empty_log(&connection)?;
    set(&connection, "wal_autocheckpoint", disk.checkpoint_pages.unwrap_or(CHECKPOINT_PAGES))?;
    set(&connection, "journal_size_limit", LOG_BYTES)?;
    // From here on the file is ours to write: closing it folds the log into it.
    config(&connection, DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(connection)
}

fn cache_of(bytes: i64) -> i32 {
    let kibibytes = i32::try_from(bytes / 1024).unwrap_or(i32::MAX);
    kibibytes.saturating_neg().clamp(LARGEST_CACHE, CACHE)
}

/// A connection that reads what is left of a damaged database: nothing is checked, and nothing written.
pub(super) fn damaged(path: &Path) -> Result<Connection, StorageError> {
    let connection = existing(path, &Disk::default())?;
    set(&connection, "query_only", 1)?;
    connection.execute_batch(sql::BEGIN_READ).map_err(failure)?;
    Ok(connection)
}

/// A connection to the file at `path`, which must be there; not checked.
pub(super) fn existing(path: &Path, disk: &Disk) -> Result<Connection, StorageError> {
    match path.try_exists() {
        Ok(true) => connect(path, disk),
        Ok(false) => Err(StorageError::NotFound(path.display().to_string())),
        Err(error) => Err(failed(path, &error)),
    }
}

// Nothing here writes to the file: it may turn out to be somebody else's.
//
// No other code may open a database file: on Unix, closing any handle to it takes away the locks that every connection
// of this process has on it. That is why its first bytes are read through SQLite too.
fn connect(path: &Path, disk: &Disk) -> Result<Connection, StorageError> {
    // Without CREATE (`private_file` makes files) and without URI names (a path is a path). A connection belongs to one
    // thread at a time, so SQLite's own mutex is left out. A file that we may only read is opened for reading.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match &disk.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
        None => Connection::open_with_flags(path, flags),
    }
    .map_err(failure)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failure)?;
    config(&connection, DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    config(&connection, DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    config(&connection, DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    config(&connection, DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    set(&connection, "synchronous", "FULL")?;
    // On macOS a plain flush stops at the disk's cache; elsewhere these do nothing.
    set(&connection, "fullfsync", 1)?;
    set(&connection, "checkpoint_fullfsync", 1)?;
    set(&connection, "cell_size_check", 1)?;
    // What is deleted, such as a key that a password seals from now on, leaves its page, as far as that costs no writes.
    set(&connection, "secure_delete", "FAST")?;
    set(&connection, "temp_store", "MEMORY")?;
    set(&connection, "cache_size", CACHE)?;
    set(&connection, "mmap_size", 0)?;
    Ok(connection)
}

// Whether the file is a database of ours, of the version we know, with the tables of that version.
fn check(connection: &Connection, schema: &Schema) -> Result<(), StorageError> {
    let value =
        |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(failure);
    if value("application_id")? != APPLICATION_ID {
        return Err(StorageError::Damaged("the file is not a driftless database".into()));
    }
    let (found, known) = (u32::try_from(value("user_version")?).unwrap_or(0), schema.version);
    match found {
        0 => return Err(StorageError::Damaged("the file does not say which format it has".into())),
        _ if found > known => return Err(StorageError::Newer { found, known }),
        _ if found < known => return Err(StorageError::Older { found, known }),
        _ => {}
    }
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE name = ?1").map_err(failure)?;
    for (name, definition) in sql::definitions(schema) {
        let kept: Option<Option<String>> =
            statement.query_row([name], |row| row.get(0)).optional().map_err(failure)?;
        if kept.flatten().as_deref() != Some(&definition) {
            return Err(StorageError::Damaged(format!("table {name} is not as format {known} has it")));
        }
    }
    Ok(())
}

// The write-ahead log. It is a property of the file, so this does something only when the file is made, or when somebody
// changed it with another program.
pub(super) fn use_log(connection: &Connection) -> Result<(), StorageError> {
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failure)?;
    if mode == "wal" {
        return Ok(());
    }
    Err(StorageError::Io(
        "this file system cannot hold a write-ahead log; choose a folder on a local disk".into(),
    ))
}

// What a crash left in the log goes into the file before anything is written behind it. If the last flush before the
// crash failed, the system may show bytes in the log that will never be on the disk; whatever came behind them would be
// acknowledged, and gone with them when the power goes. Does not wait: while somebody reads the log, it stays.
fn empty_log(connection: &Connection) -> Result<(), StorageError> {
    connection.busy_timeout(Duration::ZERO).map_err(failure)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failure)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failure)
}

fn set(connection: &Connection, pragma: &str, value: impl rusqlite::ToSql) -> Result<(), StorageError> {
    // Some settings answer with their new value, some with nothing.
    connection.pragma(None, pragma, value, |_| Ok(())).map_err(failure)
}

fn config(connection: &Connection, setting: DbConfig, on: bool) -> Result<(), StorageError> {
    connection.set_db_config(setting, on).map(|_| ()).map_err(failure)
}

pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_has_the_small_cache_and_a_large_one_no_more_than_the_largest() {
        let mib = |count: i64| cache_of(count * 1024 * 1024);
        assert_eq!([0, 1, 64].map(mib), [-64 * 1024; 3]);
        assert_eq!(mib(100), -100 * 1024);
        assert_eq!([256, 500, i64::MAX >> 20].map(mib), [-256 * 1024; 3]);
    }
}
