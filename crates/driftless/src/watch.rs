//! Live queries: the present result, then differences. In the writing process only changed documents are looked at;
//! beside it, a reading process looks again when the file has changed.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::filter::Filter;

use crate::changes::{Changes, Event};
use crate::collection::Collection;
use crate::error::Error;
use crate::view::Source;

// How often a reading process asks whether the file has changed; the answer costs microseconds.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// What a watch tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchKind {
    /// A document that matches now and did not before.
    Insert,
    /// A document that matches and is different.
    Update,
    /// A document that matched and does not any more.
    Delete,
    /// The present result is complete; differences follow.
    Ready,
}

/// One thing that a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchEvent {
    /// What happened.
    pub kind: WatchKind,
    /// To which document.
    pub id: Option<DocumentId>,
    /// The document as it is now.
    pub document: Option<Document>,
    /// Who caused it, where that is known.
    pub source: Option<Source>,
}

/// A live query. Ends when the database is closed.
#[derive(Debug)]
pub struct Watch {
    collection: Collection,
    filter: Filter,
    changes: Option<Changes>,
    waiting: VecDeque<WatchEvent>,
    matching: HashMap<DocumentId, Document>,
}

impl Collection {
    /// First the documents that match now, then every difference.
    pub fn watch(&self, filter: Filter) -> Result<Watch, Error> {
        Watch::new(self.clone(), filter)
    }
}

impl Watch {
    fn new(collection: Collection, filter: Filter) -> Result<Self, Error> {
        let database = collection.space().database();
        // Listening begins before looking, so that nothing falls between.
        let changes = if database.is_writable()? { Some(database.changes()) } else { None };
        let mut watch =
            Self { collection, filter, changes, waiting: VecDeque::new(), matching: HashMap::new() };
        watch.look_again()?;
        watch.tell(WatchKind::Ready, None, None, None);
        Ok(watch)
    }

    /// Waits for the next event; `None` after the database was closed.
    pub fn wait(&mut self) -> Result<Option<WatchEvent>, Error> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            match &self.changes {
                Some(changes) => match changes.wait() {
                    Some(event) => self.follow(event)?,
                    None => return Ok(None),
                },
                None => self.follow_file(LOOK_EVERY)?,
            }
        }
    }

    /// The next event within `patience`; `None` if there was none.
    pub fn wait_for(&mut self, patience: Duration) -> Result<Option<WatchEvent>, Error> {
        let end = Instant::now() + patience;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let left = end.saturating_duration_since(Instant::now());
            match &self.changes {
                Some(changes) => match changes.wait_for(left) {
                    Some(event) => self.follow(event)?,
                    None => return Ok(None),
                },
                None if left.is_zero() => return Ok(None),
                None => self.follow_file(left.min(LOOK_EVERY))?,
            }
        }
    }

    fn follow(&mut self, event: Event) -> Result<(), Error> {
        let change = match event {
            Event::Change(change) => change,
            Event::Missed => return self.look_again(),
        };
        if change.space != self.collection.space().id() {
            return Ok(());
        }
        for changed in change.documents.iter() {
            if changed.collection != self.collection.name() {
                continue;
            }
            let now = self.collection.get(&changed.id)?;
            let now = now.filter(|document| self.filter.matches(&document.subject()));
            self.compare(changed.id.clone(), now, Some(changed.source));
        }
        Ok(())
    }

    fn follow_file(&mut self, pause: Duration) -> Result<(), Error> {
        std::thread::sleep(pause);
        if self.collection.space().database().refresh()? {
            self.look_again()?;
        }
        Ok(())
    }

    // Compares the whole result with the one before.
    fn look_again(&mut self) -> Result<(), Error> {
        let found = self.collection.find(self.filter.clone()).run()?;
        let mut gone: Vec<DocumentId> = self.matching.keys().cloned().collect();
        let ids: std::collections::HashSet<DocumentId> =
            found.iter().map(|document| document.id.clone()).collect();
        gone.retain(|id| !ids.contains(id));
        gone.sort();
        for id in gone {
            self.compare(id, None, None);
        }
        for document in found {
            self.compare(document.id.clone(), Some(document), None);
        }
        Ok(())
    }

    fn compare(&mut self, id: DocumentId, now: Option<Document>, source: Option<Source>) {
        let kind = match (self.matching.get(&id), &now) {
            (None, None) => return,
            (None, Some(_)) => WatchKind::Insert,
            (Some(_), None) => WatchKind::Delete,
            (Some(before), Some(now)) if before == now => return,
            (Some(_), Some(_)) => WatchKind::Update,
        };
        match &now {
            Some(document) => self.matching.insert(id.clone(), document.clone()),
            None => self.matching.remove(&id),
        };
        self.tell(kind, Some(id), now, source);
    }

    fn tell(
        &mut self,
        kind: WatchKind,
        id: Option<DocumentId>,
        document: Option<Document>,
        source: Option<Source>,
    ) {
        self.waiting.push_back(WatchEvent { kind, id, document, source });
    }
}
