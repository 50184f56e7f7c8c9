//! A mailbox in a bucket: S3 (`S3`), or whatever else `object_store` reaches.
//!
//! The name of an object is its key, behind the prefix of the mailbox. An object is put with a condition (`If-None-Match: *`),
//! so the bucket itself decides who was first. Whatever it answers, no more is held than `MAX_OBJECT` and some, no page of a
//! listing is followed for ever, and what it says of an error is not repeated to anybody.

mod address;
mod page;
mod s3;
mod wire;

pub use address::BucketAddress;
pub use s3::{S3, S3Patience};

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
};

use super::{Listed, Listing, MAX_LISTING, Mailbox, MailboxError, ObjectName, Put, check_size, length};
use crate::transport::BoxFuture;
use s3::Pages;

/// Keys in one listing that are none of ours or come again, before the bucket counts as one without end.
const MAX_STRANGE: u64 = 50_000;
/// What a further page counts as, of these: there are pages without end that bring nothing.
const STRANGE_PAGE: u64 = 500;
/// Puts of one object that the bucket neither stored nor had.
const MAX_CLASHES: usize = 3;

/// Objects in a bucket, below a prefix.
#[derive(Debug)]
pub struct BucketMailbox {
    store: Arc<dyn ObjectStore>,
    // S3 is asked for its pages by ourselves: one odd key would make `object_store` refuse the whole page.
    pages: Option<Pages>,
    prefix: String,
}

impl BucketMailbox {
    /// A mailbox in S3.
    pub fn s3(place: S3) -> Result<Self, MailboxError> {
        let (store, pages) = place.open()?;
        Ok(Self { store, pages: Some(pages), prefix: place.prefix().to_owned() })
    }

    /// A mailbox in any bucket of `object_store`, as long as that can put with `PutMode::Create` and lists in order.
    pub fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self, MailboxError> {
        Ok(Self { store, pages: None, prefix: address::prefix(prefix)?.to_owned() })
    }

    fn path(&self, name: &ObjectName) -> Result<Path, MailboxError> {
        Path::parse(self.key(name.as_str())).map_err(|error| MailboxError::Unusable(error.to_string()))
    }

    // The key in the bucket of what begins so in the mailbox.
    fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    // Stores it, or says that there is one.
    async fn put(&self, path: &Path, bytes: Vec<u8>) -> Result<Put, MailboxError> {
        let payload = PutPayload::from(Bytes::from(bytes));
        for _ in 0..MAX_CLASHES {
            match self.store.put_opts(path, payload.clone(), PutMode::Create.into()).await {
                Ok(_) => return Ok(Put::Stored),
                // There is one, or somebody else is just putting one, who may fail.
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                    match self.store.head(path).await {
                        Ok(_) => return Ok(Put::Exists),
                        Err(Error::NotFound { .. }) => {}
                        Err(error) => return Err(failure(&error)),
                    }
                }
                Err(error) => return Err(failure(&error)),
            }
        }
        Err(MailboxError::Unreachable("the bucket says that an object is there, and does not have it".into()))
    }

    async fn read(&self, path: &Path, range: Range<u64>) -> Result<Option<Vec<u8>>, MailboxError> {
        let most = length(&range);
        let wanted = range.start..range.start.saturating_add(most as u64);
        if wanted.is_empty() {
            return self.past_the_end(path, 0, None).await;
        }
        let options = GetOptions { range: Some(GetRange::Bounded(wanted)), ..GetOptions::default() };
        let got = match self.store.get_opts(path, options).await {
            Ok(got) => got,
            Err(Error::NotFound { .. }) => return Ok(None),
            // Also what an empty object, or one that ends before, is answered with.
            Err(error) => return self.past_the_end(path, range.start, Some(error)).await,
        };
        let (mut bytes, mut stream) = (Vec::new(), got.into_stream());
        while let Some(chunk) = stream.try_next().await.map_err(|error| failure(&error))? {
            let room = most - bytes.len();
            bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if bytes.len() == most {
                break;
            }
        }
        Ok(Some(bytes))
    }

    // Nothing, where the object ends before `start`; the error, where it does not.
    async fn past_the_end(
        &self,
        path: &Path,
        start: u64,
        error: Option<Error>,
    ) -> Result<Option<Vec<u8>>, MailboxError> {
        match (self.store.head(path).await, error) {
            (Ok(_), None) => Ok(Some(Vec::new())),
            (Ok(meta), Some(_)) if meta.size <= start => Ok(Some(Vec::new())),
            (Ok(_), Some(error)) => Err(failure(&error)),
            (Err(Error::NotFound { .. }), _) => Ok(None),
            (Err(error), _) => Err(failure(&error)),
        }
    }

    // Any bucket: the folder in which the prefix ends, from just before the prefix on.
    async fn walk(&self, prefix: &str, after: &str, limit: usize) -> Result<Listing, MailboxError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = match (self.prefix.is_empty(), folder.is_empty()) {
            (_, true) => self.prefix.clone(),
            _ => self.key(folder),
        };
        let odd = |error: object_store::path::Error| MailboxError::Unusable(error.to_string());
        let folder = Path::parse(folder).map_err(odd)?;
        let from = Path::parse(self.key(after)).map_err(odd)?;
        let mut found = self.store.list_with_offset(Some(&folder), &from);
        let mut page = Page::of(prefix, after, limit);
        while let Some(ObjectMeta { location, size, e_tag, .. }) =
            found.try_next().await.map_err(|error| failure(&error))?
        {
            let mark = e_tag.map_or(0, |tag| mark(tag.as_bytes()));
            if page.is_full() {
                page.listing.more = true;
                break;
            }
            page.take(self.inside(location.as_ref()), size, mark)?;
        }
        Ok(page.listing)
    }

    // Page after page of S3.
    async fn turn(
        &self,
        pages: &Pages,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Listing, MailboxError> {
        let mut page = Page::of(prefix, after, limit);
        let (begin, from) = (self.key(prefix), self.key(after));
        let from = if after.is_empty() { "" } else { &from };
        let (mut token, mut most) = (None, page.limit);
        loop {
            let one = pages.get(&begin, from, most, token.as_deref()).await?;
            for entry in one.entries {
                if page.is_full() {
                    page.listing.more = true;
                    return Ok(page.listing);
                }
                page.take(self.inside(&entry.key), entry.size, mark(entry.tag.as_bytes()))?;
            }
            page.listing.foreign += one.unread;
            let Some(next) = one.next else { return Ok(page.listing) };
            if page.is_full() {
                page.listing.more = true;
                return Ok(page.listing);
            }
            page.strange(STRANGE_PAGE + one.unread)?;
            (token, most) = (Some(next), MAX_LISTING);
        }
    }

    // What a key is called in this mailbox.
    fn inside<'k>(&self, key: &'k str) -> Option<&'k str> {
        if self.prefix.is_empty() {
            return Some(key);
        }
        key.strip_prefix(self.prefix.as_str())?.strip_prefix('/')
    }
}

// A page that is being filled.
struct Page<'p> {
    listing: Listing,
    prefix: &'p str,
    after: String,
    limit: usize,
    strange: u64,
}

impl<'p> Page<'p> {
    fn of(prefix: &'p str, after: &str, limit: usize) -> Self {
        let (listing, limit) = (Listing::default(), limit.clamp(1, MAX_LISTING));
        Self { listing, prefix, after: after.to_owned(), limit, strange: 0 }
    }

    fn is_full(&self) -> bool {
        self.listing.objects.len() >= self.limit
    }

    // What is no name of ours is counted; what comes again, or was not asked for, is passed over.
    fn take(&mut self, name: Option<&str>, size: u64, mark: u64) -> Result<(), MailboxError> {
        let Some(name) = name.and_then(ObjectName::new) else {
            self.listing.foreign += 1;
            return self.strange(1);
        };
        if !name.as_str().starts_with(self.prefix) || name.as_str() <= self.after.as_str() {
            return self.strange(1);
        }
        name.as_str().clone_into(&mut self.after);
        self.listing.objects.push(Listed { name, size, mark });
        Ok(())
    }

    fn strange(&mut self, count: u64) -> Result<(), MailboxError> {
        self.strange += count;
        if self.strange <= MAX_STRANGE {
            return Ok(());
        }
        Err(MailboxError::Unreachable("the bucket lists keys without end that are no objects".into()))
    }
}

impl Mailbox for BucketMailbox {
    fn at_once(&self) -> usize {
        16
    }

    fn put_if_absent<'a>(
        &'a self,
        name: &'a ObjectName,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<Put, MailboxError>> {
        Box::pin(async move {
            check_size(&bytes)?;
            self.put(&self.path(name)?, bytes).await
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, MailboxError>> {
        Box::pin(async move {
            match &self.pages {
                Some(pages) => self.turn(pages, prefix, after, limit).await,
                None => self.walk(prefix, after, limit).await,
            }
        })
    }

    fn get<'a>(
        &'a self,
        name: &'a ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, MailboxError>> {
        Box::pin(async move { self.read(&self.path(name)?, range).await })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<(), MailboxError>> {
        Box::pin(async move {
            match self.store.delete(&self.path(name)?).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(failure(&error)),
            }
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), MailboxError>> {
        Box::pin(async move {
            let name = format!("probe-{:016x}", wire::random());
            let name =
                ObjectName::new(&name).ok_or_else(|| MailboxError::Unusable("a probe has no name".into()))?;
            let path = self.path(&name)?;
            let puts = [self.put(&path, b"one".to_vec()).await, self.put(&path, b"two".to_vec()).await];
            self.delete(&name).await?;
            let [first, second] = puts;
            if (first?, second?) == (Put::Stored, Put::Exists) {
                return Ok(());
            }
            Err(MailboxError::Unusable(
                "the bucket replaces what is there although it was told not to (If-None-Match): two devices could \
                 overwrite each other's objects"
                    .into(),
            ))
        })
    }
}

// A number that is another one for another version: of an ETag, whatever is in it.
fn mark(tag: &[u8]) -> u64 {
    tag.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

// What users are told of an error. What the bucket itself said was cut down to a word before (`wire`).
fn failure(error: &Error) -> MailboxError {
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => MailboxError::Denied(told(error)),
        Error::NotFound { .. } => MailboxError::Unusable("there is no such bucket".into()),
        Error::NotImplemented { .. } | Error::NotSupported { .. } => MailboxError::Unusable(told(error)),
        _ => MailboxError::Unreachable(told(error)),
    }
}

// The innermost reason, short, without control characters.
fn told(error: &Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string().chars().filter(|one| !one.is_control()).take(200).collect()
}
