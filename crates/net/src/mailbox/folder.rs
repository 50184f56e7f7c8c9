//! A mailbox in a folder, which a program such as Syncthing or a network drive may carry elsewhere.
//!
//! Each part of a name but the last is a folder. Everything is opened from the folder above it, never through a link and
//! never waiting; what is not a regular file with a name of ours is left alone. An object is written beside its place,
//! flushed, and linked: a name stands for whole bytes or for none, whenever the power fails.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::dial::sentence;
use super::{
    Listed, Listing, MAX_LISTING, Mailbox, MailboxError, ObjectName, Put, check_size, is_part, length,
};
use crate::transport::BoxFuture;

#[cfg(unix)]
#[path = "folder/unix.rs"]
mod place;
#[cfg(not(unix))]
#[path = "folder/portable.rs"]
mod place;

use place::Place;

/// Folders inside each other, at most: the parts of a name.
const DEPTH: usize = super::MAX_PARTS;

/// What stands in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    File,
    /// A link, a pipe, a device: nothing to be opened.
    Other,
}

/// How a folder becomes a mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FolderUse {
    /// It is made if it is not there; the folder above it has to be there.
    #[default]
    Make,
    /// It has to be there.
    Find,
    /// It is made if it is not there, and what is put into it is for this user of the machine alone.
    Private,
}

/// A folder of objects.
#[derive(Debug, Clone)]
pub struct FolderMailbox {
    root: PathBuf,
    private: bool,
}

impl FolderMailbox {
    /// A mailbox in this folder, which is made if it is not there, with all folders above it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, MailboxError> {
        let root = root.into();
        std::fs::create_dir_all(&root).map_err(failure)?;
        Self::used(&root, FolderUse::Find)
    }

    /// The same, with a folder that is used so.
    pub fn used(root: &Path, how: FolderUse) -> Result<Self, MailboxError> {
        let private = how == FolderUse::Private;
        if how != FolderUse::Find {
            make(root, private)?;
        }
        rooted(Place::open(root, private), root)?;
        Ok(Self { root: root.to_owned(), private })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    // Files are slow at times; nobody else waits for them.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Place) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, MailboxError>> {
        let (root, private) = (self.root.clone(), self.private);
        Box::pin(async move {
            let work = move || work(rooted(Place::open(&root, private), &root)?).map_err(failure);
            match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(_) => Err(MailboxError::Unreachable("the work on the folder was stopped".into())),
            }
        })
    }
}

// Makes the folder if it is not there. Without the one above it this is hardly what is meant, unless nobody else uses it.
fn make(root: &Path, private: bool) -> Result<(), MailboxError> {
    match place::make(root, private) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = root.parent().unwrap_or(root);
            Err(MailboxError::Gone(format!("{} is not there", above.display())))
        }
        made => made.map_err(failure),
    }
}

fn rooted<T>(opened: io::Result<T>, root: &Path) -> Result<T, MailboxError> {
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => MailboxError::Gone(format!("{} is not there", root.display())),
        _ => failure(error),
    })
}

fn failure(error: io::Error) -> MailboxError {
    let why = sentence(&error);
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => MailboxError::Denied(why),
        io::ErrorKind::NotADirectory => MailboxError::Unusable(why),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => MailboxError::Full(why),
        _ => MailboxError::Unreachable(why),
    }
}

impl Mailbox for FolderMailbox {
    fn can_be_unmounted(&self) -> bool {
        true
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), MailboxError>> {
        self.run(|root| root.may_be_used())
    }

    fn put_if_absent<'a>(
        &'a self,
        name: &'a ObjectName,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<Put, MailboxError>> {
        if let Err(error) = check_size(&bytes) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let name = name.clone();
        self.run(move |root| {
            let (folders, file) = split(&name);
            let mut at = root;
            for folder in folders {
                at = at.folder_or_make(folder)?;
            }
            at.put(file, &bytes).map(|stored| if stored { Put::Stored } else { Put::Exists })
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, MailboxError>> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.run(move |root| {
            let mut walk = Walk { prefix, after, limit: limit.min(MAX_LISTING), listing: Listing::default() };
            walk.folder(&root, "", 1)?;
            Ok(walk.listing)
        })
    }

    fn get<'a>(
        &'a self,
        name: &'a ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, MailboxError>> {
        let name = name.clone();
        self.run(move |root| {
            let (folders, file) = split(&name);
            let read = || {
                let mut at = root;
                for folder in folders {
                    at = at.folder(folder)?;
                }
                at.read(file, range.start, length(&range))
            };
            match read() {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if is_gone(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<(), MailboxError>> {
        let name = name.clone();
        self.run(move |root| {
            let (folders, file) = split(&name);
            let delete = || {
                let mut at = root;
                for folder in folders {
                    at = at.folder(folder)?;
                }
                at.delete(file)
            };
            match delete() {
                Err(error) if is_gone(&error) => Ok(()),
                done => done,
            }
        })
    }
}

// The folders, and the file in the last of them.
fn split(name: &ObjectName) -> (Vec<&str>, &str) {
    let mut parts: Vec<&str> = name.parts().collect();
    let file = parts.pop().unwrap_or_default();
    (parts, file)
}

// There is nothing that is ours: no such name, a link or something else in its place.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidInput
    ) || place::is_link(error)
}

struct Walk {
    prefix: String,
    after: String,
    limit: usize,
    listing: Listing,
}

impl Walk {
    // Goes through a folder in the order of whole names; stops once the page is full.
    fn folder(&mut self, at: &Place, above: &str, depth: usize) -> io::Result<()> {
        // Where in this folder the page begins: names before are passed over without being remembered.
        let mut after: Option<String> = None;
        loop {
            let (entries, more) = self.entries(at, above, after.as_deref())?;
            for (key, kind) in &entries {
                let name = key.trim_end_matches('/');
                match kind {
                    Entry::Folder if depth < DEPTH => {
                        // One that has gone meanwhile, or is no folder after all, holds nothing.
                        if let Ok(inside) = at.folder(name) {
                            self.folder(&inside, &format!("{above}{name}/"), depth + 1)?;
                        }
                    }
                    Entry::File => {
                        let Some(object) = ObjectName::new(&format!("{above}{name}")) else { continue };
                        if self.listing.objects.len() >= self.limit {
                            self.listing.more = true;
                            return Ok(());
                        }
                        if let Ok((size, mark)) = at.size(name) {
                            self.listing.objects.push(Listed { name: object, size, mark });
                        }
                    }
                    Entry::Folder | Entry::Other => {}
                }
                if self.listing.more {
                    return Ok(());
                }
            }
            match entries.into_iter().next_back() {
                Some((last, _)) if more => after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    // The first entries of a folder that can be in the page, as many as it has room for, by their names (a folder's with
    // a `/`). However many files there are, no more than a page of names is held.
    fn entries(
        &mut self,
        at: &Place,
        above: &str,
        after: Option<&str>,
    ) -> io::Result<(BTreeMap<String, Entry>, bool)> {
        let (mut found, mut more) = (BTreeMap::new(), false);
        let (first, room) = (after.is_none(), self.limit + 1);
        at.each(|name, kind| {
            let ours = name.filter(|name| is_part(name) && kind != Entry::Other);
            let Some(name) = ours else {
                self.listing.foreign += u64::from(first);
                return;
            };
            let key = if kind == Entry::Folder { format!("{name}/") } else { name.to_owned() };
            let whole = format!("{above}{key}");
            let wanted = match kind {
                // Something in it may begin with the prefix, and come after.
                Entry::Folder => {
                    (whole.starts_with(&self.prefix) || self.prefix.starts_with(&whole))
                        && (whole > self.after || self.after.starts_with(&whole))
                }
                _ => whole.starts_with(&self.prefix) && whole > self.after,
            };
            if !wanted || after.is_some_and(|after| key.as_str() <= after) {
                return;
            }
            found.insert(key, kind);
            if found.len() > room {
                found.pop_last();
                more = true;
            }
        })?;
        Ok((found, more))
    }
}
