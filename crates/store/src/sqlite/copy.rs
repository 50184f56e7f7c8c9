//! Copies of a database file: a consistent one while others write, and the exchange of a damaged file for a repaired one.
//!
//! A copy is made under a temporary name and appears whole or not at all. Nothing that was there is ever overwritten.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};

use super::{Access, Disk, SqliteStorage, failure, open, sql};
use crate::folder::{Folder, WriterLock, failed, sync_folder};
use crate::storage::{Schema, Storage, StorageError};

// Pages copied between two calls of `progress`: 4 MiB.
const STEP: std::ffi::c_int = 1024;

impl SqliteStorage {
    /// Copies the database at `from`, as it is in one moment, to a new file at `to`, which must not be there. `finish`
    /// writes into the copy before anybody sees it. `progress` is told bytes copied and bytes in all.
    pub fn copy(
        from: &Path,
        to: &Path,
        schema: &Schema,
        progress: &mut dyn FnMut(u64, u64),
        finish: &mut dyn FnMut(&mut dyn Storage) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        refuse_existing(to)?;
        let draft = open::draft(to)?;
        let made = copy_into(from, &draft, schema, progress, finish);
        let made = made.and_then(|()| publish_new(&draft, to));
        for end in ["", "-wal", "-shm"] {
            // Gone already if all went well.
            let _ = fs::remove_file(open::beside(&draft, end));
        }
        made
    }
}

fn copy_into(
    from: &Path,
    draft: &Path,
    schema: &Schema,
    progress: &mut dyn FnMut(u64, u64),
    finish: &mut dyn FnMut(&mut dyn Storage) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    // In a transaction that holds its snapshot, so that the copy does not start over whenever somebody writes.
    let source = open::open(from, schema, Access::Read, &Disk::default())?;
    let page = source.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0)).map_err(failure)?;
    let page = u64::from(page);
    let mut target = open::existing(draft, &Disk::default())?;
    let backup = Backup::new(&source, &mut target).map_err(failure)?;
    loop {
        let step = backup.step(STEP).map_err(failure)?;
        let at = backup.progress();
        let (all, left) = (at.pagecount.max(0) as u64, at.remaining.max(0) as u64);
        progress(all.saturating_sub(left) * page, all * page);
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => return Err(StorageError::Locked("the file is locked while it is copied".into())),
        }
    }
    drop(backup);
    target.close().map_err(|(_, error)| failure(error))?;
    source.execute_batch(sql::ROLLBACK).map_err(failure)?;
    // Closing it folds its log into the one file.
    let mut copy = SqliteStorage::open(draft, schema, Access::Open)?;
    finish(&mut copy)?;
    copy.commit()
}

fn refuse_existing(path: &Path) -> Result<(), StorageError> {
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(StorageError::Exists(path.display().to_string())),
        Err(error) => Err(failed(path, &error)),
    }
}

// Gives a finished draft its name, unless something has that name by now.
fn publish_new(draft: &Path, path: &Path) -> Result<(), StorageError> {
    let sync = || fs::OpenOptions::new().write(true).open(draft)?.sync_all();
    sync().map_err(|error| failed(draft, &error))?;
    match fs::hard_link(draft, path) {
        Ok(()) => {
            fs::remove_file(draft).map_err(|error| failed(draft, &error))?;
            sync_folder(parent(path)).map_err(|error| failed(path, &error))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(StorageError::Exists(path.display().to_string()))
        }
        // A file system without links.
        Err(_) => {
            refuse_existing(path)?;
            open::publish(draft, path).map_err(|error| failed(path, &error))
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Folder {
    /// Where a repaired database is made before it takes its place. What an earlier attempt left goes away.
    pub fn repair_file(&self, _lock: &WriterLock) -> Result<PathBuf, StorageError> {
        let path = open::beside(&self.database_file(), ".repair");
        for end in ["", "-wal", "-shm"] {
            match fs::remove_file(open::beside(&path, end)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path, &error)),
                _ => {}
            }
        }
        Ok(path)
    }

    /// Puts a repaired database, which nobody has open, in the place of the damaged one. That stays beside it under a
    /// name that ends in `label`, with its log of recent writes; returns where.
    ///
    /// At every moment of a crash the damaged files are there in full, under their old name or the new one.
    pub fn replace_database(
        &self,
        _lock: &WriterLock,
        repaired: &Path,
        label: &str,
    ) -> Result<PathBuf, StorageError> {
        let database = self.database_file();
        let kept = open::beside(&database, &format!(".damaged-{label}"));
        // A log that is folded in leaves nothing that could be missed between two of the steps below.
        if let Ok(connection) = open::existing(&database, &Disk::default()) {
            let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        let log = open::beside(&database, "-wal");
        for (from, to) in [(&database, &kept), (&log, &open::beside(&kept, "-wal"))] {
            keep(from, to).map_err(|error| failed(from, &error))?;
        }
        sync_folder(self.path()).map_err(|error| failed(self.path(), &error))?;
        // The log belongs to the damaged file: beside the repaired one it would be taken for its own.
        for end in ["-wal", "-shm"] {
            match fs::remove_file(open::beside(&database, end)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&database, &error)),
                _ => {}
            }
        }
        open::publish(repaired, &database).map_err(|error| failed(&database, &error))?;
        Ok(kept)
    }
}

// A second name for a file, or a copy where there are no links; nothing if there is no such file.
fn keep(from: &Path, to: &Path) -> std::io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        Err(_) => {
            fs::copy(from, to)?;
            fs::OpenOptions::new().write(true).open(to)?.sync_all()
        }
    }
}
