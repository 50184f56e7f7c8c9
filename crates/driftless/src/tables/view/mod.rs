//! The view: current documents, derived from the log. Appending in order is one step; what arrives late marks its
//! document stale, and stale documents are folded once, together, when they are written or read.
//!
//! It does not decide which commits count. It is told which have an effect, and can be rebuilt from them.
//!
//! Low to high: `bodies` (decoded bodies), `loaded` (documents in memory), `refold` (folding again, checkpoints).

mod bodies;
mod loaded;
mod refold;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use driftless_core::broken::{Broken, is as is_broken};
use driftless_core::clock::Timestamp;
use driftless_core::commit::DocumentBody;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::{CHECKPOINT_EVERY, DocumentState};
use driftless_core::id::AuthorId;
use driftless_core::operator::Edit;
use driftless_store::{Document as StoredDocument, Key, Storage};

use crate::error::Error;
use crate::tables::collections::{CollectionFacts, Collections};
use crate::tables::digest::Sum;
use crate::tables::layout::{self, LogKey, key};
use crate::tables::marks;
use crate::tables::stored::{Stored, read_stored};
use bodies::Bodies;
use loaded::{Documents, KEPT, Loaded, Slot};
pub(crate) use refold::read_key;
use refold::{put_checkpoint, refold};

/// Edits of one commit from which on their documents are looked up together.
const MANY: usize = 64;
/// Edits of one commit that are applied together.
const STEP: usize = 512;
/// Documents that are written together.
const TOGETHER: usize = 128;
/// Changed documents in memory after which they are written, though nobody asked for it: those that were just folded are
/// at hand.
const FULL: usize = 1024;
/// The same while some are stale: each commit that comes late makes the same ones stale again, and folding is dear.
const FULL_OF_STALE: usize = 16 * 1024;

/// One commit that has an effect, as the fold sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub key: LogKey,
    pub time: Timestamp,
    pub author: AuthorId,
}

/// Who causes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// A call on this database.
    #[default]
    Local,
    /// A bundle.
    Bundle,
    /// A peer.
    Peer,
}

impl Source {
    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Bundle => "bundle",
            Self::Peer => "peer",
        }
    }
}

/// What became of a document between two flushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not visible and is now.
    Insert,
    /// It is visible and different.
    Update,
    /// It is not visible any more.
    Delete,
}

/// A visible difference that a flush made.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    pub collection: Arc<CollectionFacts>,
    pub id: DocumentId,
    pub kind: ChangeKind,
    pub source: Source,
    pub added: Sum,
    pub removed: Sum,
}

impl Difference {
    // Both, one after the other; `None` if the document is in the end what it was.
    fn then(self, later: Self) -> Option<Self> {
        let (removed, added) = (self.removed, later.added);
        let kind = match (self.kind, later.kind) {
            (ChangeKind::Insert, ChangeKind::Delete) => return None,
            (ChangeKind::Insert, _) => ChangeKind::Insert,
            (_, ChangeKind::Delete) => ChangeKind::Delete,
            _ if removed == added => return None,
            _ => ChangeKind::Update,
        };
        Some(Self { kind, removed, added, ..later })
    }
}

// A document to be written.
struct Written {
    number: u64,
    collection: u64,
    text: Arc<str>,
    deleted: bool,
    json: String,
    state: Vec<u8>,
}

impl Written {
    fn of(document: &Loaded) -> Self {
        let (time, at) = document.last.unwrap_or((Timestamp(0), LogKey(0)));
        let fold = document.state.to_bytes_without_fields();
        let mut state = Vec::with_capacity(16 + fold.len());
        state.extend_from_slice(&time.0.to_be_bytes());
        state.extend_from_slice(&at.0.to_be_bytes());
        state.extend_from_slice(&fold);
        Self {
            number: document.number,
            collection: document.collection.number,
            text: document.text.clone(),
            deleted: !document.state.visible(),
            json: document.state.fields().to_json(),
            state,
        }
    }

    fn as_stored(&self) -> StoredDocument<'_> {
        StoredDocument {
            number: self.number,
            collection: self.collection,
            id: &self.text,
            deleted: self.deleted,
            json: &self.json,
            state: &self.state,
        }
    }
}

/// The documents of a database in memory between flushes.
#[derive(Debug, Default)]
pub(crate) struct View {
    documents: Documents,
    dirty: Vec<Slot>,
    // Whether some of the dirty ones are.
    stale: bool,
    // What the documents that were written since the last flush differ in.
    differences: Vec<Difference>,
    // How often some were.
    writes: usize,
    next: u64,
    /// Who causes what is applied now.
    pub source: Source,
    bodies: Bodies,
}

impl View {
    /// A view that goes on numbering documents from `next`.
    pub(crate) fn new(next: u64) -> Self {
        Self { next: next.max(1), ..Self::default() }
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Whether there is something that storage does not hold yet, or that was not told.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.differences.is_empty()
    }

    /// A commit gains its effect: its edits join the fold.
    pub(crate) fn apply(
        &mut self,
        storage: &mut dyn Storage,
        collections: &mut Collections,
        origin: Origin,
        edits: Vec<Edit>,
    ) -> Result<(), Error> {
        let mut edits = edits.into_iter();
        loop {
            let some: Vec<Edit> = edits.by_ref().take(STEP).collect();
            if some.is_empty() {
                break;
            }
            self.apply_some(storage, collections, origin, some)?;
        }
        // Never within a commit: what is folded anew has all of it, and would get the rest a second time.
        if self.dirty.len() >= if self.stale { FULL_OF_STALE } else { FULL } {
            self.write(storage)?;
        }
        Ok(())
    }

    fn apply_some(
        &mut self,
        storage: &mut dyn Storage,
        collections: &mut Collections,
        origin: Origin,
        edits: Vec<Edit>,
    ) -> Result<(), Error> {
        let mut slots = self.load_many(storage, collections, origin.key.space(), &edits)?.into_iter();
        let mut entries = Vec::with_capacity(edits.len());
        for edit in edits {
            let slot = match slots.next() {
                Some(slot) => slot,
                None => {
                    let collection = collections.ensure(storage, origin.key.space(), &edit.collection)?;
                    self.ensure(storage, &collection, &edit.document)?
                }
            };
            let document = self.documents.at(slot)?;
            document.touch(&mut self.dirty, slot, self.source);
            let again = document.last.is_some_and(|(_, last)| last == origin.key);
            if !again {
                entries.push(edit_key(document.number, origin));
            }
            // Equal times are ordered by commit id; that is rare enough to fold again.
            let in_order = again
                || document
                    .last
                    .is_none_or(|(time, _)| origin.time > time || is_broken(Broken::TieByArrival));
            if document.stale_from.is_some() || !in_order {
                document.stale(origin.time);
                self.stale = true;
                continue;
            }
            document.state.apply_owned(origin.time, origin.author, edit.operators);
            document.last = Some((origin.time, origin.key));
            let edits = document.state.edits();
            if again && (edits - 1).is_multiple_of(CHECKPOINT_EVERY) {
                // The commit goes on after its checkpoint; a fold that starts there would miss the rest of it.
                let at = key([document.number, origin.time.0, origin.key.0]);
                storage.remove(&layout::CHECKPOINT, at.as_slice().into())?;
            } else if edits.is_multiple_of(CHECKPOINT_EVERY) {
                put_checkpoint(storage, document.number, origin.time, origin.key, &document.state)?;
            }
        }
        let entries: Vec<(Key<'_>, &[u8])> = entries.iter().map(|key| (Key::Bytes(key), &[][..])).collect();
        Ok(storage.put_many(&layout::EDIT, &entries)?)
    }

    /// A commit loses its effect: the documents it edited are folded again without it.
    pub(crate) fn withdraw(
        &mut self,
        storage: &mut dyn Storage,
        collections: &mut Collections,
        origin: Origin,
        edits: &[Edit],
    ) -> Result<(), Error> {
        for edit in edits {
            let collection = collections.ensure(storage, origin.key.space(), &edit.collection)?;
            let slot = self.ensure(storage, &collection, &edit.document)?;
            let document = self.documents.at(slot)?;
            storage.remove(&layout::EDIT, edit_key(document.number, origin).as_slice().into())?;
            document.touch(&mut self.dirty, slot, self.source);
            document.stale(origin.time);
            self.stale = true;
            // Should it gain its effect again before the document is folded, it is not the one that was folded last.
            document.last = document.last.filter(|(_, last)| *last != origin.key);
        }
        if self.dirty.len() >= FULL_OF_STALE {
            self.write(storage)?;
        }
        Ok(())
    }

    /// The present state of a document, folded; `None` if no edit of it has an effect.
    pub(crate) fn get(
        &mut self,
        storage: &mut dyn Storage,
        collection: &Arc<CollectionFacts>,
        id: &DocumentId,
    ) -> Result<Option<DocumentState>, Error> {
        Ok(self.get_many(storage, collection, std::slice::from_ref(id))?.pop().flatten())
    }

    /// The same for many.
    pub(crate) fn get_many(
        &mut self,
        storage: &mut dyn Storage,
        collection: &Arc<CollectionFacts>,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<DocumentState>>, Error> {
        let mut states = vec![None; ids.len()];
        let texts: Vec<String> = ids.iter().map(DocumentId::text).collect();
        let (mut asked, mut places) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
        for ((place, text), state) in texts.iter().enumerate().zip(&mut states) {
            let Some(slot) = self.documents.find(collection.number, text) else {
                asked.push(&text[..]);
                places.push(place);
                continue;
            };
            if self.documents.get(slot).is_some_and(|document| document.stale_from.is_some()) {
                self.refold(storage)?;
            }
            let loaded = self.documents.get(slot).map(|document| &document.state);
            *state = loaded.filter(|state| state.exists()).cloned();
        }
        let mut failed = None;
        storage.documents_by_id(collection.number, &asked, &mut |at, stored| match read_stored(stored) {
            Ok(found) => {
                if let Some(state) = places.get(at).and_then(|place| states.get_mut(*place)) {
                    *state = Some(found.state).filter(DocumentState::exists);
                }
            }
            Err(error) => failed = Some(error),
        })?;
        failed.map_or(Ok(states), Err)
    }

    /// Writes what differs to storage, keeps the indexes, and says what changed since this was asked last.
    pub(crate) fn flush(&mut self, storage: &mut dyn Storage) -> Result<Vec<Difference>, Error> {
        self.write(storage)?;
        let differences = std::mem::take(&mut self.differences);
        Ok(if std::mem::take(&mut self.writes) > 1 { each_once(differences) } else { differences })
    }

    fn write(&mut self, storage: &mut dyn Storage) -> Result<(), Error> {
        self.refold(storage)?;
        let dirty = std::mem::take(&mut self.dirty);
        self.writes += usize::from(!dirty.is_empty());
        self.differences.reserve(dirty.len());
        for some in dirty.chunks(TOGETHER) {
            let (mut new, mut changed) = (Vec::with_capacity(some.len()), Vec::with_capacity(some.len()));
            for slot in some {
                let document = self.documents.at(*slot)?;
                self.differences.extend(document.settle(storage)?);
                marks::judge(storage, &document.collection, document.number, &document.state)?;
                // What does not exist yet may be deleted already: as long as one edit has an effect, the row stays.
                let is_kept = document.state.edits() > 0;
                match std::mem::replace(&mut document.is_stored, is_kept) {
                    true if is_kept => changed.push(Written::of(document)),
                    false if is_kept => new.push(Written::of(document)),
                    was_stored => {
                        if was_stored {
                            storage.remove_document(document.number)?;
                        }
                        self.documents.forget(*slot);
                    }
                }
            }
            storage.insert_many(&as_stored(&new))?;
            storage.upsert_many(&as_stored(&changed))?;
        }
        if self.documents.len() > KEPT {
            self.documents.clear();
        }
        Ok(())
    }

    // Folds all that is stale.
    fn refold(&mut self, storage: &mut dyn Storage) -> Result<(), Error> {
        if !self.stale {
            return Ok(());
        }
        let is_stale =
            |slot: &&Slot| self.documents.get(**slot).is_some_and(|document| document.stale_from.is_some());
        let stale: Vec<Slot> = self.dirty.iter().filter(is_stale).copied().collect();
        refold(storage, &mut self.documents, &mut self.bodies, &stale)?;
        self.stale = false;
        Ok(())
    }

    /// Forgets everything in memory; storage is the truth.
    pub(crate) fn clear(&mut self) {
        self.documents.clear();
        self.dirty.clear();
        self.stale = false;
        self.differences.clear();
        self.writes = 0;
        self.bodies.clear();
    }

    /// Forgets documents that storage holds as they are: what is known of their collection has changed.
    pub(crate) fn clear_clean(&mut self) {
        debug_assert!(self.dirty.is_empty());
        self.documents.clear();
    }

    /// Remembers the body of a commit that is just arriving.
    pub(crate) fn remember(&mut self, at: LogKey, body: Arc<DocumentBody>) {
        self.bodies.remember(at, body);
    }

    /// The edits of a commit that gains its effect.
    pub(crate) fn edits(&mut self, at: LogKey, body: Arc<DocumentBody>) -> Vec<Edit> {
        self.bodies.edits(at, body)
    }

    /// A decoded document body, remembered for a while.
    pub(crate) fn body(
        &mut self,
        storage: &dyn Storage,
        at: LogKey,
    ) -> Result<Option<Arc<DocumentBody>>, Error> {
        self.bodies.get(storage, at)
    }

    // The documents of a large commit, loaded, edit by edit; none for a small one. They are looked up in the
    // order of the index: in that of the edits each look-up of a random id would meet pages that the processor has not
    // seen for long.
    fn load_many(
        &mut self,
        storage: &mut dyn Storage,
        collections: &mut Collections,
        space: u32,
        edits: &[Edit],
    ) -> Result<Vec<Slot>, Error> {
        if edits.len() < MANY {
            return Ok(Vec::new());
        }
        let mut slots = Vec::with_capacity(edits.len());
        let mut wanted: Vec<Wanted> = Vec::with_capacity(edits.len());
        let mut last: Option<Arc<CollectionFacts>> = None;
        for (place, edit) in edits.iter().enumerate() {
            let collection = match last.take().filter(|last| last.name == edit.collection) {
                Some(same) => same,
                None => collections.ensure(storage, space, &edit.collection)?,
            };
            let text = edit.document.text();
            let known = self.documents.find(collection.number, &text);
            slots.push(known.unwrap_or_default());
            if known.is_none() {
                wanted.push(Wanted { collection: collection.clone(), text, place, found: None, first: true });
            }
            last = Some(collection);
        }
        wanted.sort_unstable_by(|left, right| left.key().cmp(&right.key()));
        let mut before: Option<(u64, &str)> = None;
        for one in &mut wanted {
            let at = (one.collection.number, &one.text[..]);
            one.first = before != Some(at);
            before = Some(at);
        }
        for group in wanted.chunk_by_mut(|left, right| left.collection.number == right.collection.number) {
            let Some(collection) = group.first().map(|one| one.collection.number) else { continue };
            let mut places: Vec<usize> = (0..group.len()).collect();
            places.retain(|at| group.get(*at).is_some_and(|one| one.first));
            let found = {
                let texts: Vec<&str> =
                    places.iter().filter_map(|at| group.get(*at)).map(|one| &one.text[..]).collect();
                stored_many(storage, collection, &texts)?
            };
            for (at, found) in places.into_iter().zip(found) {
                if let Some(one) = group.get_mut(at) {
                    one.found = found;
                }
            }
        }
        // New ones are numbered in the order of the edits.
        wanted.sort_unstable_by_key(|one| one.place);
        for Wanted { collection, text, place, found, first } in wanted {
            // A later edit of the same document finds it loaded.
            let known = if first { None } else { self.documents.find(collection.number, &text) };
            let Some(edit) = edits.get(place) else { continue };
            let slot = match known {
                Some(slot) => slot,
                None => self.load(&text, &collection, &edit.document, found),
            };
            if let Some(place) = slots.get_mut(place) {
                *place = slot;
            }
        }
        Ok(slots)
    }

    // A document, loaded; a new one if nobody has edited it yet.
    fn ensure(
        &mut self,
        storage: &dyn Storage,
        collection: &Arc<CollectionFacts>,
        id: &DocumentId,
    ) -> Result<Slot, Error> {
        let text = id.text();
        if let Some(slot) = self.documents.find(collection.number, &text) {
            return Ok(slot);
        }
        let found = stored_many(storage, collection.number, &[&text])?.pop().flatten();
        Ok(self.load(&text, collection, id, found))
    }

    fn load(
        &mut self,
        text: &str,
        collection: &Arc<CollectionFacts>,
        id: &DocumentId,
        found: Option<Stored>,
    ) -> Slot {
        let number = found.as_ref().map_or(self.next, |found| found.number);
        self.next = self.next.max(number + 1);
        self.documents.add(number, collection, id, text, found, self.source)
    }
}

// What documents that were written more than once differ in, in the order in which they first did.
fn each_once(differences: Vec<Difference>) -> Vec<Difference> {
    let mut places: HashMap<(u64, DocumentId), usize> = HashMap::with_capacity(differences.len());
    let mut once: Vec<Option<Difference>> = Vec::with_capacity(differences.len());
    for later in differences {
        match places.entry((later.collection.number, later.id.clone())) {
            Entry::Vacant(place) => {
                place.insert(once.len());
                once.push(Some(later));
            }
            Entry::Occupied(place) => {
                if let Some(one) = once.get_mut(*place.get()) {
                    *one = match one.take() {
                        Some(earlier) => earlier.then(later),
                        None => Some(later),
                    };
                }
            }
        }
    }
    once.into_iter().flatten().collect()
}

// A document that an edit is of, on the way to being loaded.
struct Wanted {
    collection: Arc<CollectionFacts>,
    text: String,
    /// Which edit it is.
    place: usize,
    found: Option<Stored>,
    /// Whether no edit before is of the same document.
    first: bool,
}

impl Wanted {
    // In the order of the index, and of the edits.
    fn key(&self) -> (u64, &str, usize) {
        (self.collection.number, &self.text, self.place)
    }
}

// The documents of a collection with the texts of their ids, those that are stored.
fn stored_many(storage: &dyn Storage, collection: u64, texts: &[&str]) -> Result<Vec<Option<Stored>>, Error> {
    let mut found: Vec<Option<Stored>> = texts.iter().map(|_| None).collect();
    let mut failed = None;
    storage.documents_by_id(collection, texts, &mut |at, stored| match read_stored(stored) {
        Ok(one) => {
            if let Some(place) = found.get_mut(at) {
                *place = Some(one);
            }
        }
        Err(error) => failed = Some(error),
    })?;
    failed.map_or(Ok(found), Err)
}

fn as_stored(written: &[Written]) -> Vec<StoredDocument<'_>> {
    written.iter().map(Written::as_stored).collect()
}

fn edit_key(number: u64, origin: Origin) -> [u8; 24] {
    let mut key = [0; 24];
    let numbers = [number, origin.time.0, origin.key.0];
    for (place, number) in key.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
        *place = number.to_be_bytes();
    }
    key
}
