//! Live queries: the present result, then differences. Only documents that may have changed are looked at.
//!
//! In the writing process they are told; a reading process asks whether the file has changed, and the log what did.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftless_core::document::{Document, Subject};
use driftless_core::document_id::DocumentId;
use driftless_core::filter::Filter;
use driftless_core::fold::{DocumentState, document_digest};
use driftless_core::id::SpaceId;

use crate::collection::Collection;
use crate::database::{Database, WeakDatabase};
use crate::error::Error;
use crate::space::Space;
use crate::state::inbox::{Arrived, Inbox, News};
use crate::tables::moved::Position;
use crate::tables::view::Source;

// How often a reading process asks whether the file has changed; the answer costs microseconds.
const LOOK_EVERY: Duration = Duration::from_millis(40);
// Documents that are looked at without letting others to the database.
const TOGETHER: usize = 256;

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

/// A live query. Ends when the database is closed, and does not keep it open: hold another handle.
#[derive(Debug)]
pub struct Watch {
    database: WeakDatabase,
    space: SpaceId,
    collection: String,
    filter: Filter,
    inbox: Arc<Inbox>,
    // Only where nobody in this process writes.
    reading: Option<Reading>,
    told: Told,
    looked_at: u64,
}

// How far a reading process has looked.
#[derive(Debug, Clone, Copy)]
struct Reading {
    position: Position,
    states_seen: u64,
}

// What the listener knows, and what it is to know next.
#[derive(Debug, Default)]
struct Told {
    matching: HashMap<DocumentId, Mark>,
    looks: u64,
    waiting: VecDeque<WatchEvent>,
}

// Of a document that matches: enough to see that it is another one.
#[derive(Debug)]
struct Mark {
    digest: [u8; 16],
    // The last look at everything that found it.
    look: u64,
}

impl Collection {
    /// First the documents that match now, then every difference.
    pub fn watch(&self, filter: Filter) -> Result<Watch, Error> {
        Watch::new(self, filter)
    }
}

impl Watch {
    fn new(collection: &Collection, filter: Filter) -> Result<Self, Error> {
        let (database, space) = (collection.space().database(), collection.space().id());
        let (position, reading) = database.read(|engine| {
            if !engine.writable {
                engine.refresh()?;
            }
            let (position, _) = engine.position(&space)?;
            let reading = Reading { position, states_seen: engine.flushes };
            Ok((position, (!engine.writable).then_some(reading)))
        })?;
        // Listening begins before looking, so that nothing falls between.
        let mut watch = Self {
            database: database.downgrade(),
            space,
            inbox: database.inbox(space, collection.name(), position),
            collection: collection.name().to_owned(),
            filter,
            reading,
            told: Told::default(),
            looked_at: 0,
        };
        watch.look_at_all(database)?;
        watch.told.tell(WatchKind::Ready, None, None, None);
        Ok(watch)
    }

    /// Waits for the next event; `None` after the database was closed.
    pub fn wait(&mut self) -> Result<Option<WatchEvent>, Error> {
        self.next(None)
    }

    /// The next event within `patience`; `None` if there was none.
    pub fn wait_for(&mut self, patience: Duration) -> Result<Option<WatchEvent>, Error> {
        // An end that no clock reaches is none.
        self.next(Instant::now().checked_add(patience))
    }

    /// Waits in a task until it is worth asking `wait_for` with no patience at all, which then may look into the database
    /// and belongs on a thread for that; false after the database was closed. Cancel-safe.
    pub async fn ready(&self) -> bool {
        if !self.told.waiting.is_empty() {
            return true;
        }
        match self.reading {
            None => self.inbox.arrived().await,
            Some(_) => {
                let looked = tokio::time::timeout(LOOK_EVERY, self.inbox.arrived()).await;
                looked.unwrap_or(true)
            }
        }
    }

    /// How many documents it has looked at since it began: what it has cost.
    pub fn looked_at(&self) -> u64 {
        self.looked_at
    }

    fn next(&mut self, end: Option<Instant>) -> Result<Option<WatchEvent>, Error> {
        loop {
            if let Some(event) = self.told.waiting.pop_front() {
                return Ok(Some(event));
            }
            let pause = self.reading.map(|_| Instant::now() + LOOK_EVERY);
            let until = end.into_iter().chain(pause).min();
            let arrived = self.inbox.wait_until(until);
            let database = self.database.upgrade();
            let (arrived, Some(database)) = (arrived, database) else { return Ok(None) };
            match arrived {
                Arrived::Closed => return Ok(None),
                Arrived::News(news) => self.follow(&database, news)?,
                Arrived::Nothing => {
                    self.follow_file(&database)?;
                    if self.told.waiting.is_empty() && end.is_some_and(|end| Instant::now() >= end) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    // What the writing process was told.
    fn follow(&mut self, database: &Database, news: News) -> Result<(), Error> {
        // A document that changed several times is looked at once; who changed it last is told.
        let mut last: HashMap<DocumentId, Source> = news.ids.iter().cloned().collect();
        let ids = news.ids.iter().filter_map(|(id, _)| last.remove_entry(id));
        self.look_at(database, ids.map(|(id, source)| (id, Some(source))))?;
        match news.missed {
            Some(from) => self.catch_up(database, from),
            None => Ok(()),
        }
    }

    // What a reading process finds by itself.
    fn follow_file(&mut self, database: &Database) -> Result<(), Error> {
        let Some(reading) = self.reading else { return Ok(()) };
        let states_seen = database.states_seen()?;
        if states_seen == reading.states_seen {
            return Ok(());
        }
        let (position, _) = database.read(|engine| engine.position(&self.space))?;
        if position != reading.position {
            self.catch_up(database, reading.position)?;
        }
        self.reading = Some(Reading { position, states_seen });
        Ok(())
    }

    fn catch_up(&mut self, database: &Database, from: Position) -> Result<(), Error> {
        let changed = database.read(|engine| engine.changed_since(&self.space, &self.collection, from))?;
        match changed {
            Some(ids) => self.look_at(database, ids.into_iter().map(|id| (id, None))),
            None => self.look_at_all(database),
        }
    }

    // Compares these documents with what was told of them.
    fn look_at(
        &mut self,
        database: &Database,
        ids: impl Iterator<Item = (DocumentId, Option<Source>)>,
    ) -> Result<(), Error> {
        let collection = Space::new(database.clone(), self.space).collection(&self.collection)?;
        let mut ids = ids.peekable();
        while ids.peek().is_some() {
            database.read(|engine| {
                let facts = collection.facts(engine)?;
                for (id, source) in ids.by_ref().take(TOGETHER) {
                    self.looked_at += 1;
                    let state = match &facts {
                        Some(facts) => engine.view.get(engine.storage.as_mut(), facts, &id)?,
                        None => None,
                    };
                    let state = state.filter(|state| {
                        state.visible() && self.filter.matches(&Subject::new(&self.collection, &id, state))
                    });
                    self.told.compare(&self.collection, id, state.as_ref(), source);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    // Compares the whole result with what was told.
    fn look_at_all(&mut self, database: &Database) -> Result<(), Error> {
        let collection = Space::new(database.clone(), self.space).collection(&self.collection)?;
        let told = &mut self.told;
        told.looks += 1;
        let looked_at = collection.find(self.filter.clone()).each(&mut |id, state| {
            told.compare(&self.collection, id.clone(), Some(state), None);
            ControlFlow::Continue(())
        })?;
        self.looked_at += looked_at;
        let (matching, look) = (&told.matching, told.looks);
        let mut gone: Vec<_> =
            matching.iter().filter(|(_, mark)| mark.look != look).map(|(id, _)| id.clone()).collect();
        gone.sort();
        for id in gone {
            told.compare(&self.collection, id, None, None);
        }
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.inbox = Arc::default();
        if let Some(database) = self.database.upgrade() {
            database.sweep_inboxes(&self.space, &self.collection);
        }
    }
}

impl Told {
    fn compare(
        &mut self,
        collection: &str,
        id: DocumentId,
        now: Option<&DocumentState>,
        source: Option<Source>,
    ) {
        let Some(state) = now else {
            if self.matching.remove(&id).is_some() {
                self.tell(WatchKind::Delete, Some(id), None, source);
            }
            return;
        };
        let mut digest = [0; 16];
        digest.copy_from_slice(&document_digest(collection, &id, state)[..16]);
        let mark = Mark { digest, look: self.looks };
        let kind = match self.matching.insert(id.clone(), mark) {
            None => WatchKind::Insert,
            Some(before) if before.digest == digest => return,
            Some(_) => WatchKind::Update,
        };
        let document = Document::new(collection, &id, state);
        self.tell(kind, Some(id), Some(document), source);
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
