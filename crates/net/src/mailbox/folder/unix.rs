//! One folder, held open: what is in it is opened from there, never through a link, never waiting for a pipe.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    Access, AtFlags, CWD, Dir, FileType, Mode, OFlags, accessat, fsync, linkat, mkdirat, openat, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::Entry;

/// Attempts to write a file whose name beside its place somebody else removes.
const ATTEMPTS: usize = 3;
static WRITTEN: AtomicU64 = AtomicU64::new(0);

pub(super) struct Place {
    folder: OwnedFd,
    // What is made in it is for its owner alone.
    private: bool,
}

/// Makes a folder: in one that is there, or, if nobody else is to look into it, with all above it.
pub(super) fn make(root: &Path, private: bool) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(private).mode(if private { 0o700 } else { 0o777 });
    builder.create(root)
}

pub(super) fn is_link(error: &io::Error) -> bool {
    [Errno::LOOP, Errno::NXIO].iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

impl Place {
    /// The folder of the mailbox; a link to it is the user's own choice.
    pub(super) fn open(root: &Path, private: bool) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { folder: openat(CWD, root, flags, Mode::empty())?, private })
    }

    /// Whether this user of the machine may look into it and put something there.
    pub(super) fn may_be_used(&self) -> io::Result<()> {
        let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        Ok(accessat(&self.folder, ".", wanted, AtFlags::EACCESS)?)
    }

    pub(super) fn folder(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(&self.folder, name, flags, Mode::empty())?;
        Ok(Self { folder, private: self.private })
    }

    pub(super) fn folder_or_make(&self, name: &str) -> io::Result<Self> {
        match self.folder(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mode = if self.private { 0o700 } else { 0o755 };
                match mkdirat(&self.folder, name, Mode::from_raw_mode(mode)) {
                    Ok(()) => fsync(&self.folder)?,
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
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_str().ok();
            if matches!(name, Some("." | "..")) {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown
                && let Ok(stat) = statat(&self.folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
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
        let stat = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
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
        let mut file = File::from(openat(&self.folder, name, flags, Mode::empty())?);
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
        if statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(false);
        }
        // A dot first: no name of ours, and hidden from people. Nobody else has this one.
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let beside = format!(".new-{}-{number}", std::process::id());
        self.unlink(&beside)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if self.private { 0o600 } else { 0o644 });
        let mut file = File::from(openat(&self.folder, &*beside, flags, mode)?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let stored = written.and_then(|()| self.link(&beside, name));
        let unlinked = self.unlink(&beside);
        let stored = stored?;
        unlinked?;
        fsync(&self.folder)?;
        Ok(stored)
    }

    // The name appears with everything in it, or is somebody else's already.
    fn link(&self, beside: &str, name: &str) -> io::Result<bool> {
        match linkat(&self.folder, beside, &self.folder, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // File systems without links.
            Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::MLINK) => self.rename(beside, name),
            Err(error) => Err(error.into()),
        }
    }

    fn rename(&self, beside: &str, name: &str) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        match rustix::fs::renameat_with(
            &self.folder,
            beside,
            &self.folder,
            name,
            rustix::fs::RenameFlags::NOREPLACE,
        ) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => return Ok(false),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
        // Not atomic; but one writer per prefix, and names that stand for their contents.
        if statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(false);
        }
        rustix::fs::renameat(&self.folder, beside, &self.folder, name)?;
        Ok(true)
    }

    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        if self.size(name).is_ok() {
            unlinkat(&self.folder, name, AtFlags::empty())?;
            fsync(&self.folder)?;
        }
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
