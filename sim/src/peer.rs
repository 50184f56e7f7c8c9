//! One database of a run: its clock, where it lies, and what it was told is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use driftless::{
    CommitId, Database, Digest, Document, Durability, Error, Filter, Imported, LogQuery, Space, SpaceId,
    SpaceStatus,
};
use driftless_core::commit::{Header, Received, commit_id};

use crate::disk::Disk;
use crate::hostile::Known;
use crate::pieces;

/// 2026-01-01T00:00:00Z
pub const START: u64 = 1_767_225_600_000;
/// The collections of a run.
pub const COLLECTIONS: [&str; 2] = ["notes", "tasks"];

/// A clock that goes when told.
#[derive(Debug, Clone)]
pub struct Hand(Arc<AtomicU64>);

impl Hand {
    /// A clock that shows `ms`.
    pub fn new(ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(ms)))
    }

    /// Unix milliseconds.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Turns it, also back.
    pub fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

/// Where a database lies.
#[derive(Debug, Clone)]
pub enum Home {
    /// In memory.
    Memory,
    /// In a folder, in SQLite.
    Folder(PathBuf),
    /// On a disk in memory, where what is written is durable only after `Database::flush`.
    Disk(Disk),
}

/// One database.
#[derive(Debug)]
pub struct Peer {
    database: Option<Database>,
    /// Its clock.
    pub clock: Hand,
    /// Where it lies.
    pub home: Home,
    /// Commits that a call has acknowledged.
    pub written: Vec<CommitId>,
    seed: u64,
    opened: u64,
}

/// What a run found that must not be.
pub type Fault = String;

/// A fault from an error, with what was being done.
pub fn fault<E: std::fmt::Display>(doing: &str) -> impl Fn(E) -> Fault + '_ {
    move |error| format!("{doing}: {error}")
}

impl Peer {
    /// A new database.
    pub fn new(seed: u64, home: Home, now: u64) -> Result<Self, Fault> {
        let clock = Hand::new(now);
        let mut peer = Self { database: None, clock, home, written: Vec::new(), seed, opened: 0 };
        peer.open()?;
        Ok(peer)
    }

    /// The database, which is open between steps.
    pub fn database(&self) -> Result<&Database, Fault> {
        self.database.as_ref().ok_or_else(|| "a closed database".into())
    }

    /// The space of the run.
    pub fn space(&self, id: &SpaceId) -> Result<Space, Fault> {
        self.database()?.space(&id.to_string()).map_err(fault("the space of the run"))
    }

    fn open(&mut self) -> Result<(), Fault> {
        // Each opening has its own randomness, as a system would give it.
        self.opened += 1;
        let seed = blake3::hash(&[self.seed.to_be_bytes(), self.opened.to_be_bytes()].concat());
        let clock = self.clock.clone();
        let builder = Database::builder().seed(*seed.as_bytes()).clock(move || clock.now());
        let database = match &self.home {
            Home::Memory => builder.memory(),
            Home::Folder(folder) => builder.open(folder),
            Home::Disk(disk) => {
                let disk = disk.storage();
                builder.durability(Durability::Batched(Duration::MAX)).wrap_storage(move |_| disk).memory()
            }
        };
        self.database = Some(database.map_err(fault("opening"))?);
        Ok(())
    }

    /// Closes and opens a folder again; what is in memory stays.
    pub fn restart(&mut self) -> Result<bool, Fault> {
        if matches!(self.home, Home::Memory) {
            return Ok(false);
        }
        self.database = None;
        self.open()?;
        Ok(true)
    }

    /// The power is cut. Whether a disk lost something that was not durable.
    pub fn crash(&mut self) -> Result<bool, Fault> {
        let lost = match &self.home {
            Home::Disk(disk) => disk.cut().map_err(fault("a power cut"))?,
            _ => false,
        };
        self.database = None;
        Ok(lost)
    }

    /// Opens it again after a crash.
    pub fn revive(&mut self) -> Result<(), Fault> {
        self.open()
    }

    /// What a backup of the disk would hold, and what was acknowledged until now.
    pub fn image(&self) -> Result<Option<(Disk, Vec<CommitId>)>, Fault> {
        let Home::Disk(disk) = &self.home else { return Ok(None) };
        Ok(Some((disk.image().map_err(fault("an image"))?, self.written.clone())))
    }

    /// A database on a disk that was made elsewhere: a copied device, or a restored one.
    pub fn on(seed: u64, disk: Disk, written: Vec<CommitId>, now: u64) -> Result<Self, Fault> {
        let mut peer = Self::new_at(seed, Home::Disk(disk), now);
        peer.written = written;
        peer.open()?;
        Ok(peer)
    }

    /// Copies the folder at a quiet moment: a second database with the same keys. `None` in memory.
    pub fn copy(&mut self, to: &Path, seed: u64) -> Result<Option<Self>, Fault> {
        let Home::Folder(from) = self.home.clone() else { return Ok(None) };
        self.database = None;
        std::fs::create_dir(to).map_err(fault("a copy"))?;
        for file in std::fs::read_dir(&from).map_err(fault("a copy"))? {
            let file = file.map_err(fault("a copy"))?;
            std::fs::copy(file.path(), to.join(file.file_name())).map_err(fault("a copy"))?;
        }
        self.open()?;
        let mut copy = Self::new_at(seed, Home::Folder(to.to_owned()), self.clock.now());
        copy.written = self.written.clone();
        copy.open()?;
        Ok(Some(copy))
    }

    fn new_at(seed: u64, home: Home, now: u64) -> Self {
        Self { database: None, clock: Hand::new(now), home, written: Vec::new(), seed, opened: 0 }
    }

    /// Everything as a bundle.
    pub fn export(&self, space: &SpaceId) -> Result<Vec<u8>, Fault> {
        let mut bundle = Vec::new();
        self.space(space)?.export(&mut bundle, &mut |_| {}).map_err(fault("an export"))?;
        Ok(bundle)
    }

    /// Takes a bundle.
    pub fn import(&self, bundle: &[u8]) -> Result<Imported, Fault> {
        self.database()?.import(&mut &*bundle, &mut |_| {}).map_err(fault("an import"))
    }

    /// The ids of the commits in the log of a space.
    pub fn ids(&self, space: &SpaceId) -> Result<BTreeSet<CommitId>, Fault> {
        let lines = self.space(space)?.log(LogQuery::default()).map_err(fault("a log"))?;
        Ok(lines.into_iter().map(|line| line.commit).collect())
    }

    /// All commits here, and what proves them.
    pub fn log(&self, space: &SpaceId) -> Result<Vec<Received>, Fault> {
        pieces::split(&self.export(space)?)
    }

    /// All headers here and the heads.
    pub fn known(&self, space: &SpaceId) -> Result<Known, Fault> {
        let mut headers = BTreeMap::new();
        for commit in self.log(space)? {
            let header = Header::decode(&commit.header).map_err(fault("a header"))?;
            headers.insert(commit_id(&commit.header), header);
        }
        Ok(Known { headers, heads: self.digest(space)?.heads })
    }

    /// What to compare.
    pub fn digest(&self, space: &SpaceId) -> Result<Digest, Fault> {
        self.space(space)?.digest().map_err(fault("a digest"))
    }

    /// The state of the space.
    pub fn status(&self, space: &SpaceId) -> Result<SpaceStatus, Fault> {
        let status = self.database()?.status().map_err(fault("the status"))?;
        status.spaces.into_iter().find(|status| status.id == *space).ok_or_else(|| "no status".into())
    }

    /// All visible documents by collection and text of the id.
    pub fn documents(&self, space: &SpaceId) -> Result<BTreeMap<(String, String), Document>, Fault> {
        let mut documents = BTreeMap::new();
        let space = self.space(space)?;
        for name in space.collections().map_err(fault("collections"))? {
            let all = Filter::parse("{}").map_err(fault("a filter"))?;
            let found = space.collection(&name).and_then(|collection| collection.find(all).run());
            for document in found.map_err(fault("a search"))? {
                documents.insert((name.clone(), document.id.to_string()), document);
            }
        }
        Ok(documents)
    }
}

/// Errors that a user may meet and that leave everything as it was.
pub fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::NotPermitted(_) | Error::NotFound { .. } | Error::Exists(_))
}
