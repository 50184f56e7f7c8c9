//! A mailbox in memory, for tests of everything above the seam: what it holds can be changed behind everybody's back.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Listed, Listing, MAX_LISTING, Mailbox, MailboxError, ObjectName, Put, check_size, length};
use crate::transport::BoxFuture;

/// Objects by their names. Clones are the same mailbox.
#[derive(Debug, Clone, Default)]
pub struct MemoryMailbox(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    objects: BTreeMap<ObjectName, (Vec<u8>, u64)>,
    // Counts changes, so that what was replaced has another mark.
    changes: u64,
}

impl MemoryMailbox {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<ObjectName> {
        self.lock().objects.keys().cloned().collect()
    }

    /// The bytes of an object.
    pub fn bytes(&self, name: &ObjectName) -> Option<Vec<u8>> {
        self.lock().objects.get(name).map(|(bytes, _)| bytes.clone())
    }

    /// What an operator can do: puts other bytes in the place of an object, or takes it away.
    pub fn replace(&self, name: &ObjectName, bytes: Option<Vec<u8>>) {
        let mut inside = self.lock();
        inside.changes += 1;
        let mark = inside.changes;
        match bytes {
            Some(bytes) => drop(inside.objects.insert(name.clone(), (bytes, mark))),
            None => drop(inside.objects.remove(name)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list_now(&self, prefix: &str, after: &str, limit: usize) -> Listing {
        let inside = self.lock();
        let limit = limit.min(MAX_LISTING);
        let from = Bound::Included(ObjectName(prefix.max(after).to_owned()));
        let mut objects = inside
            .objects
            .range((from, Bound::Unbounded))
            .filter(|(name, _)| name.as_str() > after)
            .take_while(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, (bytes, mark))| Listed {
                name: name.clone(),
                size: bytes.len() as u64,
                mark: *mark,
            });
        let found: Vec<_> = objects.by_ref().take(limit).collect();
        Listing { more: objects.next().is_some(), objects: found, foreign: 0 }
    }
}

impl Mailbox for MemoryMailbox {
    fn put_if_absent<'a>(
        &'a self,
        name: &'a ObjectName,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<Put, MailboxError>> {
        Box::pin(async move {
            check_size(&bytes)?;
            let mut inside = self.lock();
            if inside.objects.contains_key(name) {
                return Ok(Put::Exists);
            }
            inside.changes += 1;
            let mark = inside.changes;
            inside.objects.insert(name.clone(), (bytes, mark));
            Ok(Put::Stored)
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, MailboxError>> {
        Box::pin(async move { Ok(self.list_now(prefix, after, limit)) })
    }

    fn get<'a>(
        &'a self,
        name: &'a ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, MailboxError>> {
        Box::pin(async move {
            let inside = self.lock();
            let Some((bytes, _)) = inside.objects.get(name) else { return Ok(None) };
            let start = usize::try_from(range.start).unwrap_or(usize::MAX);
            Ok(Some(bytes.iter().skip(start).take(length(&range)).copied().collect()))
        })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<(), MailboxError>> {
        Box::pin(async move {
            self.replace(name, None);
            Ok(())
        })
    }
}
