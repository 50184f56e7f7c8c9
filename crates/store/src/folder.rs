//! The folder of a database on disk: who may look into it (only its owner), and which process may write.
//!
//! It holds `driftless.sqlite` (the database), files SQLite keeps beside it, and `lock`. What is in the database this
//! file does not know.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::storage::StorageError;

/// How long to wait for another writer unless the user says otherwise: enough for a command to finish, short enough
/// that nobody thinks the program hangs.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(2);

// How often a waiting writer asks again: the system has no lock call with a time limit.
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

const DATABASE_FILE: &str = "driftless.sqlite";
const LOCK_FILE: &str = "lock";

/// A folder that holds one database.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder (and the ones above it), readable by nobody else, ready for a database to be created in it.
    ///
    /// An empty folder is taken over. `Exists` if there is a database, `Occupied` if there is anything else: a mistyped
    /// path must not hide somebody's files from others. What a crash left of an earlier attempt is no obstacle.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let folder = Self { path: path.as_ref().to_owned() };
        match fs::read_dir(&folder.path) {
            Ok(entries) => {
                for name in entries.map(|entry| entry.map(|entry| entry.file_name())) {
                    folder.allow(&name.map_err(|error| failed(&folder.path, &error))?.to_string_lossy())?;
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                private_folder(&folder.path).map_err(|error| failed(&folder.path, &error))?;
            }
            Err(error) => return Err(failed(&folder.path, &error)),
        }
        set_mode(&folder.path, 0o700).map_err(|error| failed(&folder.path, &error))?;
        folder.lock_file()?;
        Ok(folder)
    }

    /// The folder of a database that was created before; `NotFound` if there is none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let folder = Self { path: path.as_ref().to_owned() };
        match folder.database_file().try_exists() {
            Ok(true) => Ok(folder),
            Ok(false) => Err(StorageError::NotFound(folder.path.display().to_string())),
            Err(error) => Err(failed(&folder.path, &error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that holds the database, to be opened by a storage adapter or by any SQLite program.
    pub fn database_file(&self) -> PathBuf {
        self.path.join(DATABASE_FILE)
    }

    /// Makes this process the only writer, trying again for `patience`, then `Locked`.
    ///
    /// The system frees the lock when the process ends, however it ends.
    pub fn lock_writer(&self, patience: Duration) -> Result<WriterLock, StorageError> {
        let file = self.lock_file()?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(WriterLock { _file: file }),
                Err(TryLockError::Error(error)) => return Err(failed(&self.path, &error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(StorageError::Locked(self.path.display().to_string()));
            }
            thread::sleep(left.min(LOCK_INTERVAL));
        }
    }

    // Whether a file may be there before a database is created: the lock, and the draft of a database that a crash
    // left behind (see the SQLite adapter).
    fn allow(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path.display().to_string();
        match name {
            DATABASE_FILE => Err(StorageError::Exists(path)),
            LOCK_FILE => Ok(()),
            _ if name.strip_prefix(DATABASE_FILE).is_some_and(|end| end.starts_with(".new")) => Ok(()),
            _ => Err(StorageError::Occupied(path)),
        }
    }

    // The lock file is made once and never deleted: a lock on a file that another process replaced excludes nobody.
    fn lock_file(&self) -> Result<File, StorageError> {
        let path = self.path.join(LOCK_FILE);
        match private_file(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                OpenOptions::new().read(true).write(true).open(&path)
            }
            made => made,
        }
        .map_err(|error| failed(&path, &error))
    }
}

/// This process may write to the database, as long as this lives.
#[derive(Debug)]
#[must_use = "the lock is free again as soon as this is dropped"]
pub struct WriterLock {
    _file: File,
}

pub(crate) fn failed(path: &Path, error: &io::Error) -> StorageError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageError::Full,
        _ => StorageError::Io(format!("{}: {error}", path.display())),
    }
}

// A new, empty file that only its owner reads, whatever the umask.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    set_mode(path, 0o600)?;
    Ok(file)
}

fn private_folder(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        fs::create_dir_all(parent)?;
    }
    // Closed to others from its first moment, not only after the mode is set.
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    sync_folder(parent.unwrap_or(Path::new(".")))
}

// Makes the names in a folder durable: a new file whose name is lost in a power cut is a lost file.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    #[cfg(not(unix))]
    let _ = (path, mode);
    Ok(())
}
