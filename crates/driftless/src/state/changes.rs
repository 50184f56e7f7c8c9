//! What changed, told to whoever listens, after it is durable and outside every lock of the database.
//!
//! Each listener has a bounded queue. One that falls behind loses events, never memory, and is told that it missed some.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use driftless_core::document_id::DocumentId;
use driftless_core::id::SpaceId;
use tokio::sync::{Notify, watch};

use crate::state::inbox::{Inbox, Inboxes};
use crate::tables::moved::Position;
use crate::tables::view::{ChangeKind, Source};
use crate::walk;

// Changes that wait for one listener.
const QUEUE: usize = 1024;

/// Visible differences in one space that became durable together.
#[derive(Debug, Clone)]
pub struct Change {
    /// The space.
    pub space: SpaceId,
    /// Each changed document once.
    pub documents: Arc<Vec<DocumentChange>>,
    /// Commits of this database are among what became durable.
    pub local: bool,
    /// Commits from elsewhere are: from a peer, or a bundle.
    pub remote: bool,
    // Where the space stands with it, known when it is durable.
    pub(crate) position: Position,
    // Documents may have changed that it does not name.
    pub(crate) all: bool,
}

impl Change {
    pub(crate) fn new(space: SpaceId, documents: Vec<DocumentChange>) -> Self {
        Self {
            space,
            documents: Arc::new(documents),
            local: false,
            remote: false,
            position: Position::default(),
            all: false,
        }
    }
}

/// A document that is visibly different.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentChange {
    /// Its collection.
    pub collection: Arc<str>,
    /// Its id.
    pub id: DocumentId,
    /// What became of it.
    pub kind: ChangeKind,
    /// Who caused it.
    pub source: Source,
}

/// What a listener hears.
#[derive(Debug, Clone)]
pub enum Event {
    /// Something changed.
    Change(Change),
    /// This listener was too slow and missed changes: look again at everything.
    Missed,
}

/// A listener: hears of every change from when it was made. Blocks until there is one.
#[derive(Debug)]
pub struct Changes {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    // The same for who waits in a task.
    awaited: Notify,
}

/// Ends what a listener hears, from elsewhere.
#[derive(Debug)]
pub(crate) struct Hush(Arc<Queue>);

impl Hush {
    pub(crate) fn hush(&self) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.closed = true;
        waiting.events.clear();
        drop(waiting);
        self.0.tell();
    }
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    closed: bool,
}

/// The listeners of a database.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    registered: Mutex<Registered>,
    // Counts how often somebody changed what is wanted of spaces, or who the peers are.
    settings: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Registered {
    queues: Vec<Weak<Queue>>,
    inboxes: Inboxes,
}

impl Listeners {
    pub(crate) fn listen(&self) -> Changes {
        let queue = Arc::new(Queue::default());
        let queues = &mut self.lock().queues;
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(Arc::downgrade(&queue));
        Changes { queue }
    }

    /// What is wanted of spaces, or who the peers are, has changed.
    pub(crate) fn tell_settings(&self) {
        self.settings.send_modify(|count| *count += 1);
    }

    /// Hears of that.
    pub(crate) fn settings(&self) -> watch::Receiver<u64> {
        self.settings.subscribe()
    }

    /// An inbox for a live query on a collection of a space that stands at `position` or is past it.
    pub(crate) fn inbox(&self, space: SpaceId, collection: &str, position: Position) -> Arc<Inbox> {
        self.lock().inboxes.add(space, collection, position)
    }

    /// A live query on this collection is gone.
    pub(crate) fn sweep(&self, space: &SpaceId, collection: &str) {
        self.lock().inboxes.sweep(space, collection);
    }

    /// The turn to publish: whoever takes it under the lock of the database publishes in the order of the flushes.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn(self.lock())
    }

    pub(crate) fn close(&self) {
        let registered = self.lock();
        for queue in registered.queues.iter().filter_map(Weak::upgrade) {
            queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
            queue.tell();
        }
        registered.inboxes.close();
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to publish next.
pub(crate) struct Turn<'l>(MutexGuard<'l, Registered>);

impl Turn<'_> {
    pub(crate) fn publish(mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let _step = walk::publish(changes.len());
        for queue in self.0.queues.iter().filter_map(Weak::upgrade) {
            queue.push(&changes);
        }
        let inboxes = &mut self.0.inboxes;
        for Change { space, documents, position, all, .. } in &changes {
            for together in documents.chunk_by(|a, b| a.collection == b.collection) {
                let Some(DocumentChange { collection, .. }) = together.first() else { continue };
                inboxes.push(space, collection, together.iter().map(|change| (&change.id, change.source)));
            }
            inboxes.advance(space, *position, *all);
        }
    }
}

impl Queue {
    fn push(&self, changes: &[Change]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.closed {
            return;
        }
        if waiting.events.len() + changes.len() > QUEUE {
            waiting.events.clear();
            waiting.events.push_back(Event::Missed);
        } else {
            waiting.events.extend(changes.iter().cloned().map(Event::Change));
        }
        drop(waiting);
        self.tell();
    }

    fn tell(&self) {
        self.arrived.notify_all();
        self.awaited.notify_one();
    }
}

impl Changes {
    /// The next event; `None` after the database was closed.
    pub fn wait(&self) -> Option<Event> {
        let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(event) = waiting.events.pop_front() {
                return Some(event);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.queue.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next event, for a task; `None` after the database was closed. Cancel-safe: a dropped future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            {
                let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(event) = waiting.events.pop_front() {
                    return Some(event);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.queue.awaited.notified().await;
        }
    }

    pub(crate) fn hush(&self) -> Hush {
        Hush(self.queue.clone())
    }

    /// The next event within `patience`; `None` if there was none.
    pub fn wait_for(&self, patience: Duration) -> Option<Event> {
        let end = Instant::now() + patience;
        let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(event) = waiting.events.pop_front() {
                return Some(event);
            }
            let left = end.saturating_duration_since(Instant::now());
            if waiting.closed || left.is_zero() {
                return None;
            }
            waiting =
                self.queue.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
