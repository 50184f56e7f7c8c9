//! Backups: a consistent copy of the whole database in one file, made while others write, and a database made from one.
//!
//! A copy holds the keys of the original. Two databases that both write with one key fork it, so a copy is marked, and
//! whoever opens it for writing guards its spaces: see `guard`.

use std::path::Path;

use driftless_core::id::SpaceId;
use driftless_store::{Access as StorageAccess, Folder, SqliteStorage, Storage, StorageError};

use crate::builder::{Builder, OpenMode};
use crate::database::Database;
use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::guard::{self, Restored};
use crate::tables::layout::SCHEMA;

/// Who else may be using the keys that a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Original {
    /// The original may have written more, or may go on writing. Each space is guarded until an exchange of it settled.
    #[default]
    MayExist,
    /// The original is gone, and nobody has received from it what the copy does not have. Nothing is guarded.
    IsGone,
}

impl Database {
    /// Writes a consistent copy of the database to a new file, while others go on writing. `progress` is told bytes
    /// copied and bytes in all. The file appears whole or not at all; one that is there is never replaced.
    pub fn backup(&self, to: impl AsRef<Path>, progress: &mut dyn FnMut(u64, u64)) -> Result<u64, Error> {
        let to = to.as_ref();
        let Some(folder) = self.folder() else {
            return Err(Error::Invalid(
                "a database in memory has no file to copy; export its spaces as bundles".into(),
            ));
        };
        if self.is_writable()? {
            self.flush()?;
        }
        let now = self.read(|engine| Ok(engine.now()))?;
        copy(&Folder::open(folder)?.database_file(), to, now, progress)?;
        Ok(std::fs::metadata(to)?.len())
    }

    /// Whether this database began as a copy of another, and which of its spaces are still guarded.
    pub fn restored(&self) -> Result<Option<Restored>, Error> {
        self.read(|engine| Ok(engine.guards.restored()))
    }

    /// The user knows that nobody else writes with the keys of this copy: writes in the space are let in again.
    pub fn accept_restored(&self, space: &SpaceId) -> Result<(), Error> {
        self.write(|engine| {
            if engine.guards.is_restored(space) {
                engine.guards.lift(engine.storage.as_mut(), space)?;
                engine.staged();
            }
            Ok(())
        })
    }

    /// An exchange of a space settled: what the peer had of our keys is here now.
    pub(crate) fn caught_up(&self, space: &SpaceId) -> Result<(), Error> {
        let guarded = self.read(|engine| Ok(engine.writable && engine.guards.is_restored(space)))?;
        if guarded { self.accept_restored(space) } else { Ok(()) }
    }
}

impl Builder {
    /// Makes a new database in `folder` from a backup, and opens it.
    pub fn restore(
        self,
        folder: impl AsRef<Path>,
        backup: &Path,
        original: Original,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Database, Error> {
        match SqliteStorage::open(backup, &SCHEMA, StorageAccess::Read) {
            Ok(storage) if Engine::is_made(&storage)? => {}
            Ok(_) => return Err(Error::Invalid("the backup holds no database".into())),
            Err(StorageError::NotFound(name)) => return Err(Error::NotFound { what: "backup", name }),
            Err(error) => return Err(error.into()),
        }
        let path = folder.as_ref();
        let folder = Folder::create(path)?;
        let lock = folder.lock_writer(self.patience_or_default())?;
        copy(backup, &folder.database_file(), self.wall_clock(), progress)?;
        drop(lock);
        let database = self.open_mode(OpenMode::Open).open(path)?;
        if original == Original::IsGone {
            for space in database.restored()?.map_or_else(Vec::new, |restored| restored.guarded) {
                database.accept_restored(&space)?;
            }
        }
        Ok(database)
    }
}

// Any copy is marked, also a copy of a copy.
fn copy(from: &Path, to: &Path, now: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<(), Error> {
    let mut mark = |copy: &mut dyn Storage| guard::mark_copy(copy, now);
    Ok(SqliteStorage::copy(from, to, &SCHEMA, progress, &mut mark)?)
}
