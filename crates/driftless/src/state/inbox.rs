//! What waits for one live query: the ids of documents of its collection that changed, in the order in which they did.
//!
//! Bounded: one that is not emptied in time holds no more ids, but the place from which the log says the rest.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use driftless_core::document_id::DocumentId;
use driftless_core::id::SpaceId;
use tokio::sync::Notify;

use crate::tables::moved::Position;
use crate::tables::view::Source;

// Ids that wait for one live query.
const WAITING: usize = 1024;

/// Where changes of one collection wait for one live query.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    // The same for who waits in a task.
    awaited: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    news: News,
    closed: bool,
}

/// What waited.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct News {
    pub ids: Vec<(DocumentId, Source)>,
    /// What came after this place is not among the ids.
    pub missed: Option<Position>,
}

/// What `Inbox::wait_until` finds.
#[derive(Debug, PartialEq)]
pub(crate) enum Arrived {
    News(News),
    Nothing,
    Closed,
}

impl Inbox {
    /// Changes of the collection; the space stood at `before`.
    fn push(&self, ids: impl Iterator<Item = (DocumentId, Source)>, before: Position) {
        let mut waiting = self.lock();
        let news = &mut waiting.news;
        if news.missed.is_none() {
            news.ids.extend(ids.take(WAITING + 1 - news.ids.len().min(WAITING)));
            if news.ids.len() > WAITING {
                news.ids.truncate(WAITING);
                news.missed = Some(before);
            }
        }
        self.tell();
    }

    // Documents may have changed that nobody can name.
    fn miss(&self, before: Position) {
        self.lock().news.missed.get_or_insert(before);
        self.tell();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.tell();
    }

    fn tell(&self) {
        self.arrived.notify_all();
        self.awaited.notify_one();
    }

    /// Waits in a task until something came; false if it is closed and nothing will.
    pub(crate) async fn arrived(&self) -> bool {
        loop {
            {
                let waiting = self.lock();
                if waiting.closed || waiting.news != News::default() {
                    return !waiting.closed;
                }
            }
            self.awaited.notified().await;
        }
    }

    /// What came, waiting for it until `end`; for ever without one.
    pub(crate) fn wait_until(&self, end: Option<Instant>) -> Arrived {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return Arrived::Closed;
            }
            if waiting.news != News::default() {
                return Arrived::News(std::mem::take(&mut waiting.news));
            }
            let Some(end) = end else {
                waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Arrived::Nothing;
            }
            waiting = self.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inboxes of all live queries of a database, by space and collection: a change costs those it concerns.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    spaces: HashMap<SpaceId, OfSpace>,
}

#[derive(Debug)]
struct OfSpace {
    // Where the space stood at its last published change.
    position: Position,
    collections: HashMap<String, Vec<Weak<Inbox>>>,
}

impl Inboxes {
    /// A new inbox. Who asks for it has read `position` before, and looks at the documents after.
    pub(crate) fn add(&mut self, space: SpaceId, collection: &str, position: Position) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::default());
        let of_space =
            self.spaces.entry(space).or_insert_with(|| OfSpace { position, collections: HashMap::new() });
        of_space.collections.entry(collection.to_owned()).or_default().push(Arc::downgrade(&inbox));
        inbox
    }

    /// Forgets the inboxes of a collection that nobody holds.
    pub(crate) fn sweep(&mut self, space: &SpaceId, collection: &str) {
        let Some(of_space) = self.spaces.get_mut(space) else { return };
        if let Some(inboxes) = of_space.collections.get_mut(collection) {
            inboxes.retain(|inbox| inbox.strong_count() > 0);
            if inboxes.is_empty() {
                of_space.collections.remove(collection);
            }
        }
        if of_space.collections.is_empty() {
            self.spaces.remove(space);
        }
    }

    /// Changes in one collection.
    pub(crate) fn push<'c>(
        &self,
        space: &SpaceId,
        collection: &'c str,
        ids: impl Iterator<Item = (&'c DocumentId, Source)> + Clone,
    ) {
        let Some(of_space) = self.spaces.get(space) else { return };
        for inbox in of_space.collections.get(collection).into_iter().flatten().filter_map(Weak::upgrade) {
            inbox.push(ids.clone().map(|(id, source)| (id.clone(), source)), of_space.position);
        }
    }

    /// The space stands at `now`; with `all`, documents may have changed that were not named.
    pub(crate) fn advance(&mut self, space: &SpaceId, now: Position, all: bool) {
        let Some(of_space) = self.spaces.get_mut(space) else { return };
        if all {
            for inbox in of_space.collections.values().flatten().filter_map(Weak::upgrade) {
                inbox.miss(of_space.position);
            }
        }
        of_space.position = now;
    }

    pub(crate) fn close(&self) {
        let inboxes = self.spaces.values().flat_map(|of_space| of_space.collections.values().flatten());
        inboxes.filter_map(Weak::upgrade).for_each(|inbox| inbox.close());
    }
}
