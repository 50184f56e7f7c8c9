//! What changed, told to whoever listens, after it is durable and outside every lock of the database.
//!
//! Each listener has a bounded queue. One that falls behind loses events, never memory, and is told that it missed some.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use driftless_core::document_id::DocumentId;
use driftless_core::id::SpaceId;

use crate::view::{ChangeKind, Source};

// Changes that wait for one listener.
const QUEUE: usize = 1024;

/// Visible differences in one space that became durable together.
#[derive(Debug, Clone)]
pub struct Change {
    /// The space.
    pub space: SpaceId,
    /// Each changed document once.
    pub documents: Arc<Vec<DocumentChange>>,
}

/// A document that is visibly different.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentChange {
    /// Its collection.
    pub collection: String,
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
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    closed: bool,
}

/// The listeners of a database.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    queues: Mutex<Vec<Weak<Queue>>>,
}

impl Listeners {
    pub(crate) fn listen(&self) -> Changes {
        let queue = Arc::new(Queue::default());
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(Arc::downgrade(&queue));
        Changes { queue }
    }

    /// The turn to publish: whoever takes it under the lock of the database publishes in the order of the flushes.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn(self.queues.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn close(&self) {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in queues.iter().filter_map(Weak::upgrade) {
            queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
            queue.arrived.notify_all();
        }
    }
}

/// The right to publish next.
pub(crate) struct Turn<'l>(MutexGuard<'l, Vec<Weak<Queue>>>);

impl Turn<'_> {
    pub(crate) fn publish(self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        for queue in self.0.iter().filter_map(Weak::upgrade) {
            queue.push(&changes);
        }
    }
}

impl Queue {
    fn push(&self, changes: &[Change]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.events.len() + changes.len() > QUEUE {
            waiting.events.clear();
            waiting.events.push_back(Event::Missed);
        } else {
            waiting.events.extend(changes.iter().cloned().map(Event::Change));
        }
        self.arrived.notify_all();
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
