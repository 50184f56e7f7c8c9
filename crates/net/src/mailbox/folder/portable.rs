//! One folder by its path, for systems without descriptors of folders: links are looked for before anything is opened.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use super::Entry;

static WRITTEN: AtomicU64 = AtomicU64::new(0);

pub(super) struct Place(PathBuf);

/// Makes a folder: in one that is there, or, if nobody else is to look into it, with all above it. Who may is left to the
/// system.
pub(super) fn make(root: &Path, private: bool) -> io::Result<()> {
    if private { fs::create_dir_all(root) } else { fs::create_dir(root) }
}

pub(super) fn is_link(_: &io::Error) -> bool {
    false
}

impl Place {
    pub(super) fn open(root: &Path, _private: bool) -> io::Result<Self> {
        if fs::metadata(root)?.is_dir() {
            Ok(Self(root.to_owned()))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// Whether it can be looked into; more is seen when something is put there.
    pub(super) fn may_be_used(&self) -> io::Result<()> {
        fs::read_dir(&self.0).map(drop)
    }

    pub(super) fn folder(&self, name: &str) -> io::Result<Self> {
        let path = self.0.join(name);
        let is_folder = fs::symlink_metadata(&path)?.is_dir();
        if is_folder { Ok(Self(path)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    pub(super) fn folder_or_make(&self, name: &str) -> io::Result<Self> {
        match fs::create_dir(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.folder(name),
        }
    }

    pub(super) fn each(&self, mut visit: impl FnMut(Option<&str>, Entry)) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_dir() => Entry::Folder,
                Ok(kind) if kind.is_file() => Entry::File,
                _ => Entry::Other,
            };
            visit(entry.file_name().to_str(), kind);
        }
        Ok(())
    }

    pub(super) fn size(&self, name: &str) -> io::Result<(u64, u64)> {
        let found = fs::symlink_metadata(self.0.join(name))?;
        if !found.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let changed = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let mark =
            changed.map_or(0, |time| time.as_nanos() as u64).wrapping_mul(31).wrapping_add(found.len());
        Ok((found.len(), mark.max(1)))
    }

    pub(super) fn read(&self, name: &str, start: u64, length: usize) -> io::Result<Vec<u8>> {
        self.size(name)?;
        let mut file = File::open(self.0.join(name))?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let beside = self.0.join(format!(".new-{}-{number}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let linked = fs::hard_link(&beside, self.0.join(name));
        fs::remove_file(&beside)?;
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        if self.size(name).is_ok() { fs::remove_file(self.0.join(name)) } else { Ok(()) }
    }
}
