//! The mailbox seam: a place that several devices append to and nobody trusts, such as a shared folder or a bucket.
//!
//! **The contract.** Objects are written once, whole or not at all, under a name that is never used for other bytes.
//! A place may lie in every way (show old listings, lose objects, change them); whoever reads checks everything. What an
//! adapter promises is only that it holds no more than was asked for in memory, opens nothing but regular objects with
//! names of its own, and never waits for ever on what it finds. It knows nothing of commits.

mod folder;
#[cfg(feature = "http")]
mod http;
mod memory;
#[cfg(feature = "object-store")]
mod bucket;
mod place;
#[cfg(feature = "postgres")]
mod postgres;
pub mod conformance;

#[cfg(feature = "object-store")]
pub use bucket::{BucketAddress, BucketMailbox, S3, S3Patience};
pub use folder::FolderMailbox;
#[cfg(feature = "http")]
pub use http::{Admit, HttpMailbox, Hub, HubAddress, HubError, HubLimits, HubNumbers, HubOptions};
pub use memory::MemoryMailbox;
pub use place::{Access, MailboxPlace};
#[cfg(feature = "postgres")]
pub use postgres::PostgresMailbox;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::transport::BoxFuture;

/// Bytes of the largest object: what a reader holds in memory before it can check one hash.
pub const MAX_OBJECT: usize = 8 * 1024 * 1024;
/// Names in one page of a listing.
pub const MAX_LISTING: usize = 1000;
/// Characters of a name: below what every file system takes for one path.
const MAX_NAME: usize = 400;
/// Characters of one part of a name: below what every file system takes for one file, with room for a suffix.
const MAX_PART: usize = 200;
/// Parts of a name.
const MAX_PARTS: usize = 4;

/// A place to put objects.
pub trait Mailbox: fmt::Debug + Send + Sync {
    /// Stores an object, unless there is one by that name, which then stays as it is.
    fn put_if_absent<'a>(
        &'a self,
        name: &'a ObjectName,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<Put, MailboxError>>;

    /// At most `limit` (and at most `MAX_LISTING`) objects whose names begin with `prefix` and come after `after`, in
    /// the order of their bytes. A hint: it may be old, and what it names may be gone.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, MailboxError>>;

    /// These bytes of an object, fewer where it is shorter; `None` if there is no such object. Never more than asked for.
    fn get<'a>(
        &'a self,
        name: &'a ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, MailboxError>>;

    /// Removes an object; it is no error if it is gone already.
    fn delete<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<(), MailboxError>>;

    /// Whether it is there, lets us in and keeps the contract, as far as that can be tried without leaving anything. For
    /// whoever adds it; if an adapter has nothing to try, it is.
    fn probe(&self) -> BoxFuture<'_, Result<(), MailboxError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// How many objects one reader may ask for at the same time. If an adapter does not say so, one.
    fn at_once(&self) -> usize {
        1
    }

    /// A number that is another one whenever something was put under the first part of `prefix`; with `seen`, it waits
    /// until it is another than that. `None` from a place that cannot tell. A hint: whoever never hears one lists the same,
    /// only later.
    fn watch<'a>(
        &'a self,
        _prefix: &'a str,
        _seen: Option<u64>,
    ) -> BoxFuture<'a, Result<Option<u64>, MailboxError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// The mailbox behind a URL: a [`MailboxPlace`] as text.
pub fn open(url: &str, access: &Access) -> Result<Arc<dyn Mailbox>, MailboxError> {
    url.parse::<MailboxPlace>()?.open(access)
}

/// What `put_if_absent` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Nothing by that name: the object is there now, and stays if the power fails.
    Stored,
    /// An object by that name, whatever is in it.
    Exists,
}

/// One page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects, in the order of the bytes of their names.
    pub objects: Vec<Listed>,
    /// There are more after the last of these.
    pub more: bool,
    /// How much there is that cannot be an object: links, pipes, odd names. Not touched.
    pub foreign: u64,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: ObjectName,
    /// Its bytes, as the place says.
    pub size: u64,
    /// Another number once the object was replaced, as far as the place can tell; 0 where it cannot.
    pub mark: u64,
}

/// Why a place did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailboxError {
    /// It does not answer, or not now: try again later.
    #[error("the mailbox cannot be reached: {0}")]
    Unreachable(String),
    /// It says no.
    #[error("the mailbox lets nobody in with these rights: {0}")]
    Denied(String),
    /// It is no place for a mailbox, or the address makes no sense.
    #[error("this is no mailbox: {0}")]
    Unusable(String),
    /// It holds as much as it may: of this writer, or in all.
    #[error("the mailbox is full: {0}")]
    Full(String),
    /// An object above the limit.
    #[error("an object of {size} bytes is above the limit of {limit}")]
    TooLarge {
        /// Its bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

/// The name of an object: up to four parts of a-z, 0-9, `_` and `-`, with `/` between them. The same on every file
/// system, also where upper and lower case are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// The name, if it is one.
    pub fn new(name: &str) -> Option<Self> {
        let parts = name.split('/');
        let whole =
            name.len() <= MAX_NAME && parts.clone().count() <= MAX_PARTS && parts.clone().all(is_part);
        whole.then(|| Self(name.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_part(part: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    (1..=MAX_PART).contains(&part.len()) && part.bytes().all(known)
}

fn check_size(bytes: &[u8]) -> Result<(), MailboxError> {
    if bytes.len() <= MAX_OBJECT {
        return Ok(());
    }
    Err(MailboxError::TooLarge { size: bytes.len() as u64, limit: MAX_OBJECT as u64 })
}

// How many bytes of a range there may be at most.
fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(MAX_OBJECT + 1).min(MAX_OBJECT + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_mean_the_same_everywhere_are_names() {
        for name in ["a", "s_abc/p_def-0/0000-x", "a/b/c/d"] {
            assert_eq!(ObjectName::new(name).map(|name| name.to_string()).as_deref(), Some(name));
        }
        let long = "a".repeat(201);
        for name in
            ["", "/", "a/", "/a", "a//b", "..", "a/../b", ".a", "A", "a b", "a\n", "é", "a/b/c/d/e", &long]
        {
            assert_eq!(ObjectName::new(name), None, "{name:?}");
        }
    }
}
