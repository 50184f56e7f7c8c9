//! One folder, held open: what is in it is opened from there, never through a link, never waiting for a pipe.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, fsync, linkat, mkdirat, openat, statat, unlinkat,
};
use rustix::io::Errno;

use super::Entry;

/// Attempts to write a file whose name beside its place somebody else removes.
const ATTEMPTS: usize = 3;
static WRITTEN: AtomicU64 = AtomicU64::new(0);

pub(super) struct Place(OwnedFd);

pub(super) fn is_link(error: &io::Error) -> bool {
    [Errno::LOOP, Errno::NXIO].iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

impl Place {
    /// The folder of the mailbox; a link to it is the user's own choice.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, root, flags, Mode::empty())?))
    }

    pub(super) fn folder(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    pub(super) fn folder_or_make(&self, name: &str) -> io::Result<Self> {
        match self.folder(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&self.0, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => fsync(&self.0)?,
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                self.folder(name)
            }
            opened => opened,
        }
    }

    /// Each thing in it: its name, if that is text, and what it is.
    pub(super) fn each(&self, mut visit: impl FnMut(Option<&str>, Entry)) -> io::Result<()> {
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_str().ok();
            if matches!(name, Some("." | "..")) {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown
                && let Ok(stat) = statat(&self.0, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            {
                kind = FileType::from_raw_mode(stat.st_mode);
            }
            visit(
                name,
                match kind {
                    FileType::Directory => Entry::Folder,
                    FileType::RegularFile => Entry::File,
                    _ => Entry::Other,
                },
            );
        }
        Ok(())
    }

    /// Bytes of a file, and a number that changes with it.
    pub(super) fn size(&self, name: &str) -> io::Result<(u64, u64)> {
        let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let parts =
            [stat.st_mtime as u64, stat.st_mtime_nsec as u64, stat.st_ino as u64, stat.st_size as u64];
        let mark =
            parts.iter().fold(0_u64, |mark, part| mark.rotate_left(17).wrapping_mul(31).wrapping_add(*part));
        Ok((stat.st_size as u64, mark.max(1)))
    }

    pub(super) fn read(&self, name: &str, start: u64, length: usize) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// `false` if there is something by that name.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        for _ in 1..ATTEMPTS {
            match self.put_once(name, bytes) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => return done,
            }
        }
        self.put_once(name, bytes)
    }

    fn put_once(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        if statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(false);
        }
        // A dot first: no name of ours, and hidden from people. Nobody else has this one.
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let beside = format!(".new-{}-{number}", std::process::id());
        self.unlink(&beside)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, &*beside, flags, Mode::from_raw_mode(0o644))?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let stored = written.and_then(|()| self.link(&beside, name));
        let unlinked = self.unlink(&beside);
        let stored = stored?;
        unlinked?;
        fsync(&self.0)?;
        Ok(stored)
    }

    // The name appears with everything in it, or is somebody else's already.
    fn link(&self, beside: &str, name: &str) -> io::Result<bool> {
        match linkat(&self.0, beside, &self.0, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // File systems without links.
            Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::MLINK) => self.rename(beside, name),
            Err(error) => Err(error.into()),
        }
    }

    fn rename(&self, beside: &str, name: &str) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        match rustix::fs::renameat_with(&self.0, beside, &self.0, name, rustix::fs::RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => return Ok(false),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
        // Not atomic; but one writer per prefix, and names that stand for their contents.
        if statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(false);
        }
        rustix::fs::renameat(&self.0, beside, &self.0, name)?;
        Ok(true)
    }

    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        if self.size(name).is_ok() {
            unlinkat(&self.0, name, AtFlags::empty())?;
            fsync(&self.0)?;
        }
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
