//! How much may lie in a mailbox that a hub serves: objects and bytes, under one prefix (all of a name but its last part)
//! and in all. What was there before is counted once; what others do behind the hub's back is not seen until it starts anew.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::hub::HubLimits;
use crate::mailbox::{MAX_LISTING, Mailbox, MailboxError, ObjectName};

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Prefix,
    All,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    objects: u64,
    bytes: u64,
}

impl Count {
    fn fits(self, bytes: u64, most_objects: u64, most_bytes: u64) -> bool {
        self.objects < most_objects && self.bytes.saturating_add(bytes) <= most_bytes
    }

    fn add(&mut self, bytes: u64) {
        self.objects = self.objects.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn remove(&mut self, bytes: u64) {
        self.objects = self.objects.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

pub(super) struct Quota {
    limits: HubLimits,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: Count,
    prefixes: HashMap<String, Count>,
}

/// Room for one object, given back when this is dropped and was not used.
pub(super) struct Room<'q> {
    quota: &'q Quota,
    prefix: &'q str,
    bytes: u64,
    used: bool,
}

/// All of a name but its last part.
pub(super) fn prefix(name: &ObjectName) -> &str {
    name.as_str().rsplit_once('/').map_or("", |(prefix, _)| prefix)
}

impl Quota {
    /// Counts what lies there, page by page.
    pub(super) async fn count(limits: HubLimits, place: &dyn Mailbox) -> Result<Self, MailboxError> {
        let (mut counts, mut after) = (Counts::default(), String::new());
        loop {
            let page = place.list("", &after, MAX_LISTING).await?;
            for object in &page.objects {
                counts.all.add(object.size);
                counts.prefixes.entry(prefix(&object.name).to_owned()).or_default().add(object.size);
            }
            match page.objects.last() {
                Some(last) if page.more => last.name.as_str().clone_into(&mut after),
                _ => return Ok(Self { limits, counts: Mutex::new(counts) }),
            }
        }
    }

    /// Room for an object of so many bytes.
    pub(super) fn room<'q>(&'q self, prefix: &'q str, bytes: u64) -> Result<Room<'q>, Full> {
        let HubLimits { objects, bytes: most, prefix_objects, prefix_bytes, .. } = self.limits;
        let mut counts = self.lock();
        if !counts.all.fits(bytes, objects, most) {
            return Err(Full::All);
        }
        let count = counts.prefixes.entry(prefix.to_owned()).or_default();
        if !count.fits(bytes, prefix_objects, prefix_bytes) {
            return Err(Full::Prefix);
        }
        count.add(bytes);
        counts.all.add(bytes);
        Ok(Room { quota: self, prefix, bytes, used: false })
    }

    /// An object is gone.
    pub(super) fn forget(&self, prefix: &str, bytes: u64) {
        let mut counts = self.lock();
        counts.all.remove(bytes);
        if let Some(count) = counts.prefixes.get_mut(prefix) {
            count.remove(bytes);
            if count.objects == 0 {
                counts.prefixes.remove(prefix);
            }
        }
    }

    /// Objects and bytes in all.
    pub(super) fn all(&self) -> (u64, u64) {
        let all = self.lock().all;
        (all.objects, all.bytes)
    }

    // A panic elsewhere leaves nothing half-done here.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room<'_> {
    /// The object is there.
    pub(super) fn used(mut self) {
        self.used = true;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.quota.forget(self.prefix, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::MemoryMailbox;

    #[tokio::test]
    async fn what_lies_there_counts_and_room_that_was_not_used_is_given_back() {
        let place = MemoryMailbox::new();
        for name in ["s/a/1", "s/a/2", "s/b/1"] {
            place.put_if_absent(&ObjectName::new(name).unwrap(), vec![0; 10]).await.unwrap();
        }
        let limits =
            HubLimits { objects: 5, bytes: 100, prefix_objects: 3, prefix_bytes: 40, ..HubLimits::default() };
        let quota = Quota::count(limits, &place).await.unwrap();
        assert_eq!(quota.all(), (3, 30));
        assert_eq!(quota.room("s/a", 21).err(), Some(Full::Prefix), "bytes");
        drop(quota.room("s/a", 20).unwrap());
        quota.room("s/a", 20).unwrap().used();
        assert_eq!(quota.room("s/a", 0).err(), Some(Full::Prefix), "objects");
        assert_eq!(quota.room("s/c", 51).err(), Some(Full::All), "bytes in all");
        quota.room("s/c", 1).unwrap().used();
        assert_eq!(quota.room("s/d", 0).err(), Some(Full::All), "objects in all");
        quota.forget("s/c", 1);
        assert_eq!(quota.all(), (4, 50));
        assert!(quota.room("s/d", 0).is_ok());
        assert!(!quota.lock().prefixes.contains_key("s/c"));
    }
}
