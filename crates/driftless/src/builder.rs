//! How to open a database: every choice, with its default.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftless_store::{Disk, Folder, MemoryStorage, SqliteStorage, Storage, StorageError, WriterLock};

use crate::database::{Database, Durability};
use crate::error::Error;
use crate::keyring::seal::{Password, PasswordCost, Recipe, SALT};
use crate::state::engine::{Engine, Now, seeded};
use crate::state::serving::{Callbacks, Reader};
use crate::tables::layout::SCHEMA;

/// Whether opening may make a new database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenMode {
    /// Open what is there, or make a new one.
    #[default]
    CreateOrOpen,
    /// Only make a new one: an error if there is one.
    Create,
    /// Only open: an error if there is none.
    Open,
}

/// Who may change the database through this handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Reads and writes; one process at a time.
    #[default]
    Write,
    /// Reads beside a writing process, and sees what that made durable.
    Read,
}

/// Chooses how to open a database; ends with `open` or `memory`.
#[derive(Default)]
pub struct Builder {
    mode: OpenMode,
    access: Access,
    durability: Durability,
    user: Option<String>,
    password: Option<Password>,
    cost: PasswordCost,
    now: Option<Now>,
    seed: Option<[u8; 32]>,
    patience: Option<Duration>,
    wrap: Option<Wrap>,
    disk: Disk,
    callbacks: Callbacks,
}

type Wrap = Box<dyn FnOnce(Box<dyn Storage>) -> Box<dyn Storage>>;

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("mode", &self.mode)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the database in a folder; makes one there if there is none.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().open(folder)
    }

    /// A database in memory, gone with its last handle.
    pub fn memory() -> Result<Self, Error> {
        Self::builder().memory()
    }

    /// Everything that can be chosen when opening.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Whether to make a new database. If left unset, one is made where there is none.
    pub fn open_mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// Reading or writing. If left unset, writing.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// When writes are on the disk. If left unset, before each call returns.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The user: the first user's name when making a database, else the one whose key signs. If left unset, `me` or the first.
    pub fn user_name(mut self, name: impl Into<String>) -> Self {
        self.user = Some(name.into());
        self
    }

    /// The password of the user: what the first user of a new database gets, else what that user logs in with. If left
    /// unset, a new user has none, and one that has one reads, receives and serves, and does not sign.
    pub fn password(mut self, password: Password) -> Self {
        self.password = Some(password);
        self
    }

    /// What a password costs that is set through this handle. If left unset, the time and memory of `PasswordCost`'s
    /// default; less only in tests.
    pub fn password_cost(mut self, cost: PasswordCost) -> Self {
        self.cost = cost;
        self
    }

    /// Where Unix milliseconds come from. If left unset, the system clock.
    pub fn clock(mut self, now: impl Fn() -> u64 + Send + 'static) -> Self {
        self.now = Some(Box::new(now));
        self
    }

    /// Where randomness comes from: for simulations that must repeat, never for real keys. If left unset, the system.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How long to wait for another writing process to end. If left unset, 2 seconds.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// How many bytes of the database's pages are kept in memory at most. If left unset, 64 MiB, and up to 256 for a file
    /// that is that large when it is opened.
    pub fn page_memory(mut self, bytes: u64) -> Self {
        self.disk.cache_kib = Some(u32::try_from(bytes / 1024).unwrap_or(u32::MAX));
        self
    }

    /// As `Database::share_resolver`, from the beginning. If left unset, nothing is opened that the rules do not open.
    pub fn share_resolver(mut self, opens: impl Fn(&Reader) -> bool + Send + Sync + 'static) -> Self {
        self.callbacks.resolver = Some(Arc::new(opens));
        self
    }

    /// As `Database::share_filter`, from the beginning. If left unset, nothing is closed that the rules open.
    pub fn share_filter(mut self, serves: impl Fn(&Reader) -> bool + Send + Sync + 'static) -> Self {
        self.callbacks.filter = Some(Arc::new(serves));
        self
    }

    /// What stands between the database and its storage: for tests of disks that fail.
    #[doc(hidden)]
    pub fn wrap_storage(mut self, wrap: impl FnOnce(Box<dyn Storage>) -> Box<dyn Storage> + 'static) -> Self {
        self.wrap = Some(Box::new(wrap));
        self
    }

    /// What takes the place of the file system, for tests of disks that fail.
    #[doc(hidden)]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = Disk { cache_kib: disk.cache_kib.or(self.disk.cache_kib), ..disk };
        self
    }

    /// Opens the database in `folder`.
    pub fn open(mut self, folder: impl AsRef<Path>) -> Result<Database, Error> {
        let path = folder.as_ref();
        let folder = match Folder::open(path) {
            Ok(folder) => folder,
            Err(StorageError::NotFound(_)) if self.mode == OpenMode::Open || self.access == Access::Read => {
                return Err(Error::not_found("database", format!("in {}", path.display())));
            }
            Err(StorageError::NotFound(_)) => Folder::create(path)?,
            Err(error) => return Err(error.into()),
        };
        if self.access == Access::Read {
            let storage = self.storage(&folder, driftless_store::Access::Read)?;
            return self.start(Box::new(storage), Some(path.to_owned()), None);
        }
        let lock = folder.lock_writer(self.patience_or_default())?;
        let storage = match self.storage(&folder, driftless_store::Access::Create) {
            Err(StorageError::Exists(_)) => self.storage(&folder, driftless_store::Access::Open),
            made => made,
        }?;
        // A crash may have left the file of a database that was never handed out: that is as good as none.
        match (self.mode, Engine::is_made(&storage)?) {
            (OpenMode::Create, true) => {
                return Err(Error::Exists(format!("a database in {}", path.display())));
            }
            (OpenMode::Open, false) => {
                return Err(Error::not_found("database", format!("in {}", path.display())));
            }
            _ => {}
        }
        self.start(Box::new(storage), Some(path.to_owned()), Some(lock))
    }

    /// Makes a database in memory.
    pub fn memory(mut self) -> Result<Database, Error> {
        self.start(Box::new(MemoryStorage::new(&SCHEMA)?), None, None)
    }

    fn start(
        &mut self,
        storage: Box<dyn Storage>,
        folder: Option<PathBuf>,
        lock: Option<WriterLock>,
    ) -> Result<Database, Error> {
        let cost = self.cost.check()?;
        let new = !Engine::is_made(storage.as_ref())?;
        let mut engine = self.engine(storage)?;
        engine.callbacks = std::mem::take(&mut self.callbacks);
        let database = Database::start(engine, self.durability, cost, folder, lock);
        match self.password.take() {
            // A user who has none is logged in without it.
            Some(password) if !new && !database.is_logged_in()? => {
                database.login(&database.user()?, Some(&password))
            }
            Some(password) if new => database.login(&database.user()?, Some(&password)),
            _ => Ok(database),
        }
    }

    fn storage(
        &self,
        folder: &Folder,
        access: driftless_store::Access,
    ) -> Result<SqliteStorage, StorageError> {
        SqliteStorage::open_on(&self.disk, folder.database_file(), &SCHEMA, access)
    }

    pub(crate) fn patience_or_default(&self) -> Duration {
        self.patience.unwrap_or(driftless_store::LOCK_PATIENCE)
    }

    /// A new secret.
    pub(crate) fn fresh(&self) -> Result<[u8; 32], Error> {
        match self.seed {
            Some(seed) => {
                let mut bytes = [0; 32];
                seeded(*blake3::hash(&seed).as_bytes())(&mut bytes);
                Ok(bytes)
            }
            None => system_random(),
        }
    }

    pub(crate) fn wall_clock(&self) -> u64 {
        self.now.as_ref().map_or_else(system_ms, |now| now())
    }

    pub(crate) fn engine(&mut self, storage: Box<dyn Storage>) -> Result<Engine, Error> {
        let now = self.now.take().unwrap_or_else(|| Box::new(system_ms));
        let random = match self.seed {
            Some(seed) => seeded(seed),
            None => seeded(system_random()?),
        };
        let storage = match self.wrap.take() {
            Some(wrap) => wrap(storage),
            None => storage,
        };
        // Its secret is never written as it is.
        let wrapping = match &self.password {
            Some(password) if !Engine::is_made(storage.as_ref())? => {
                password.check()?;
                let mut salt = [0; SALT];
                salt.copy_from_slice(&self.fresh()?[..SALT]);
                Some(Recipe { cost: self.cost.check()?, salt }.key(password, || Ok(()))?)
            }
            _ => None,
        };
        Engine::open(
            storage,
            self.access == Access::Write,
            self.user.as_deref(),
            wrapping.as_ref(),
            now,
            random,
        )
    }
}

fn system_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn system_random() -> Result<[u8; 32], Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::Io(format!("the system gives no random bytes: {error}")))?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_database_that_was_never_finished_is_as_good_as_none() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("db");
        let folder = Folder::create(&path).unwrap();
        drop(SqliteStorage::open(folder.database_file(), &SCHEMA, driftless_store::Access::Create).unwrap());
        let not_found = |builder: Builder| {
            let opened = builder.open(&path);
            assert!(matches!(opened, Err(Error::NotFound { what: "database", .. })), "{opened:?}");
        };
        not_found(Database::builder().access(Access::Read));
        not_found(Database::builder().open_mode(OpenMode::Open));
        drop(Database::builder().open_mode(OpenMode::Create).open(&path).unwrap());
        assert!(matches!(Database::builder().open_mode(OpenMode::Create).open(&path), Err(Error::Exists(_))));
        drop(Database::builder().open_mode(OpenMode::Open).open(&path).unwrap());
    }
}
