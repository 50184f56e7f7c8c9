//! A disk in memory under SQLite, through a VFS. It writes down each change and each flush in order, and it fails when
//! told. It knows nothing of databases.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sqlite_vfs::wip::{WalIndex, WalIndexLock};
use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenOptions, Vfs};

/// Whole files, by name.
pub(crate) type Files = BTreeMap<String, Arc<Vec<u8>>>;

/// What happened to the disk. A file is a number of its own: a name may come to mean another one.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Create {
        name: String,
        file: usize,
    },
    Delete {
        name: String,
    },
    Write {
        file: usize,
        at: usize,
        bytes: Arc<[u8]>,
    },
    Truncate {
        file: usize,
        size: usize,
    },
    Sync {
        file: usize,
    },
    /// A flush failed: what was not flushed counts as written for the system, and never reaches the disk.
    Lost {
        file: usize,
    },
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No space: calls that need more of it fail, from then on.
    Full,
    /// One call of any kind fails.
    Once,
    /// All calls fail from then on: the disk is gone.
    Gone,
}

#[derive(Debug, Default)]
struct World {
    files: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
    log: Vec<Event>,
    fault: Option<(u64, Fault)>,
    struck: bool,
    // Since the fault was armed.
    calls: u64,
}

/// A disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<World>>);

static DISKS: AtomicU32 = AtomicU32::new(0);

impl Disk {
    /// An empty disk, and the name of the VFS through which SQLite reaches it.
    pub(crate) fn new() -> (Self, String) {
        let disk = Self::default();
        let name = format!("recorded-{}", DISKS.fetch_add(1, Ordering::SeqCst));
        sqlite_vfs::register(&name, disk.clone(), false).unwrap();
        (disk, name)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// From now on there are these files, all of them flushed, and nothing fails.
    pub(crate) fn load(&self, files: &Files) {
        let mut world = World::default();
        for (name, bytes) in files {
            world.names.insert(name.clone(), world.files.len());
            world.files.push(bytes.to_vec());
        }
        *self.world() = world;
    }

    /// The files as a program sees them now.
    pub(crate) fn files(&self) -> Files {
        let world = self.world();
        let bytes = |file: &usize| world.files.get(*file).cloned().unwrap_or_default();
        world.names.iter().map(|(name, file)| (name.clone(), Arc::new(bytes(file)))).collect()
    }

    /// How many changes there were since `load`.
    pub(crate) fn events(&self) -> usize {
        self.world().log.len()
    }

    /// All changes since `load`.
    pub(crate) fn log(&self) -> Vec<Event> {
        self.world().log.clone()
    }

    /// The call after the next `calls` fails.
    pub(crate) fn arm(&self, calls: u64, fault: Fault) {
        let mut world = self.world();
        (world.fault, world.calls, world.struck) = (Some((calls, fault)), 0, false);
    }

    /// How many calls there were since then that could have failed.
    pub(crate) fn calls(&self) -> u64 {
        self.world().calls
    }

    /// Nothing fails from now on. Whether something had.
    pub(crate) fn heal(&self) -> bool {
        let mut world = self.world();
        world.fault = None;
        world.struck
    }
}

impl World {
    // Every call comes by here first. `takes_space` if a full disk refuses it.
    fn call(&mut self, takes_space: bool) -> Result<(), Error> {
        let Some((at, fault)) = self.fault else { return Ok(()) };
        if fault == Fault::Full && !takes_space {
            return Ok(());
        }
        let call = self.calls;
        self.calls += 1;
        let strikes = if fault == Fault::Once { call == at } else { call >= at };
        if !strikes {
            return Ok(());
        }
        self.struck = true;
        // SQLite reads the first as a full disk, the second as one that failed.
        Err(if fault == Fault::Full {
            ErrorKind::WriteZero.into()
        } else {
            Error::other("input/output error")
        })
    }

    fn write(&mut self, file: usize, at: usize, bytes: &[u8]) {
        let Some(content) = self.files.get_mut(file) else { return };
        put(content, at, bytes);
        self.log.push(Event::Write { file, at, bytes: bytes.into() });
    }
}

/// Writes into a file, which grows as needed.
pub(crate) fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

/// An open file.
pub(crate) struct Handle {
    disk: Disk,
    file: usize,
    lock: LockKind,
}

impl Vfs for Disk {
    type Handle = Handle;

    fn open(&self, name: &str, options: OpenOptions) -> Result<Handle, Error> {
        let mut world = self.world();
        let known = world.names.get(name).copied();
        let makes = matches!(options.access, OpenAccess::Create | OpenAccess::CreateNew);
        world.call(makes && known.is_none())?;
        let file = match known {
            Some(file) => file,
            None if makes => {
                let file = world.files.len();
                world.files.push(Vec::new());
                world.names.insert(name.to_owned(), file);
                world.log.push(Event::Create { name: name.to_owned(), file });
                file
            }
            None => return Err(ErrorKind::NotFound.into()),
        };
        Ok(Handle { disk: self.clone(), file, lock: LockKind::None })
    }

    fn delete(&self, name: &str) -> Result<(), Error> {
        let mut world = self.world();
        world.call(false)?;
        world.names.remove(name).ok_or(ErrorKind::NotFound)?;
        world.log.push(Event::Delete { name: name.to_owned() });
        Ok(())
    }

    fn exists(&self, name: &str) -> Result<bool, Error> {
        let mut world = self.world();
        world.call(false)?;
        Ok(world.names.contains_key(name))
    }

    fn temporary_name(&self) -> String {
        "temporary".into()
    }

    fn random(&self, buffer: &mut [i8]) {
        buffer.fill(7);
    }

    fn sleep(&self, duration: Duration) -> Duration {
        duration
    }
}

impl DatabaseHandle for Handle {
    type WalIndex = Index;

    fn size(&self) -> Result<u64, Error> {
        let mut world = self.disk.world();
        world.call(false)?;
        Ok(world.files.get(self.file).map_or(0, Vec::len) as u64)
    }

    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let mut world = self.disk.world();
        world.call(false)?;
        let content = world.files.get(self.file).map_or(&[][..], Vec::as_slice);
        let rest = content.get(offset as usize..).unwrap_or_default();
        let there = rest.len().min(buffer.len());
        buffer[..there].copy_from_slice(&rest[..there]);
        // SQLite relies on zeros after the end of a file.
        buffer[there..].fill(0);
        if there < buffer.len() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let mut world = self.disk.world();
        if let Err(error) = world.call(true) {
            // What fits is written before the call fails.
            world.write(self.file, offset as usize, &bytes[..bytes.len() / 2]);
            return Err(error);
        }
        world.write(self.file, offset as usize, bytes);
        Ok(())
    }

    fn sync(&mut self, _data_only: bool) -> Result<(), Error> {
        let mut world = self.disk.world();
        let file = self.file;
        let done = world.call(false);
        world.log.push(if done.is_ok() { Event::Sync { file } } else { Event::Lost { file } });
        done
    }

    fn set_len(&mut self, size: u64) -> Result<(), Error> {
        let mut world = self.disk.world();
        let (file, size) = (self.file, size as usize);
        let grows = world.files.get(file).is_some_and(|content| content.len() < size);
        world.call(grows)?;
        if let Some(content) = world.files.get_mut(file) {
            content.resize(size, 0);
        }
        world.log.push(Event::Truncate { file, size });
        Ok(())
    }

    fn lock(&mut self, lock: LockKind) -> Result<bool, Error> {
        self.lock = lock;
        Ok(true)
    }

    fn reserved(&mut self) -> Result<bool, Error> {
        Ok(false)
    }

    fn current_lock(&self) -> Result<LockKind, Error> {
        Ok(self.lock)
    }

    fn wal_index(&self, _readonly: bool) -> Result<Index, Error> {
        Ok(Index)
    }
}

/// The index of the write-ahead log: made anew by each connection, of which there is one at a time.
pub(crate) struct Index;

impl WalIndex for Index {
    fn map(&mut self, _region: u32) -> Result<[u8; 32768], Error> {
        Ok([0; 32768])
    }

    fn lock(&mut self, _locks: std::ops::Range<u8>, _lock: WalIndexLock) -> Result<bool, Error> {
        Ok(true)
    }

    fn delete(self) -> Result<(), Error> {
        Ok(())
    }
}
