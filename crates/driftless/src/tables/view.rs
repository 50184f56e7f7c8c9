//! The view: current documents, derived from the log. Appending in order is one step; what arrives late marks its
//! document stale, and a stale document is folded once, at the end of the batch or when it is read.
//!
//! It does not decide which commits count. It is told which have an effect, and can be rebuilt from them.

use std::collections::{HashMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use driftless_core::broken::{Broken, is as is_broken};
use driftless_core::clock::Timestamp;
use driftless_core::commit::DocumentBody;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::{CHECKPOINT_EVERY, DocumentState, document_digest, is_kept};
use driftless_core::id::AuthorId;
use driftless_core::operator::Edit;
use driftless_core::value::Map;
use driftless_store::{Document as StoredDocument, Key, Order, Storage};

use crate::error::Error;
use crate::tables::collections::{CollectionFacts, Collections};
use crate::tables::digest::Sum;
use crate::tables::layout::{self, LogKey, key};
use crate::tables::log;
use crate::tables::marks;
use crate::tables::stored::{index_keys, read_stored};

/// Decoded bodies kept while many documents of the same commits are folded.
const DECODED: usize = 32;
/// Edits in them: a decoded edit of a row takes some 4 KiB.
const DECODED_EDITS: usize = 2048;
/// Documents kept in memory after a flush.
const CACHED: usize = 4096;
/// Edits of one commit from which on their documents are looked up together.
const MANY: usize = 64;
/// Documents that are written together.
const TOGETHER: usize = 128;

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

#[derive(Debug, Clone)]
struct Loaded {
    collection: Arc<CollectionFacts>,
    id: DocumentId,
    text: Arc<str>,
    state: DocumentState,
    last: Option<(Timestamp, LogKey)>,
    /// What indexes and digest show, once that may differ from `state`.
    before: Before,
    dirty: bool,
    source: Source,
    stale_from: Option<Timestamp>,
}

// What of a document's former state has to be taken back where it was written.
#[derive(Debug, Clone, Default)]
struct Before {
    digest: Option<Sum>,
    // Only where the collection has indexes.
    fields: Option<Map>,
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

// A document as storage has it.
struct Stored {
    number: u64,
    state: DocumentState,
    last: Option<(Timestamp, LogKey)>,
}

/// The documents of a database in memory between flushes.
#[derive(Debug, Default)]
pub(crate) struct View {
    loaded: HashMap<u64, Loaded>,
    /// By collection and the text of the id.
    numbers: HashMap<u64, HashMap<Arc<str>, u64>>,
    dirty: Vec<u64>,
    next: u64,
    /// Who causes what is applied now.
    pub source: Source,
    decoded: VecDeque<(LogKey, Arc<DocumentBody>)>,
}

impl View {
    /// A view that goes on numbering documents from `next`.
    pub(crate) fn new(next: u64) -> Self {
        Self { next: next.max(1), ..Self::default() }
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Whether there is something that storage does not hold yet.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// A commit gains its effect: its edits join the fold.
    pub(crate) fn apply(
        &mut self,
        storage: &mut dyn Storage,
        collections: &mut Collections,
        origin: Origin,
        edits: Vec<Edit>,
    ) -> Result<(), Error> {
        let mut numbers = self.load_many(storage, collections, origin.key.space(), &edits)?.into_iter();
        let mut entries = Vec::with_capacity(edits.len());
        for edit in edits {
            let number = match numbers.next() {
                Some(number) => number,
                None => {
                    let collection = collections.ensure(storage, origin.key.space(), &edit.collection)?;
                    self.ensure(storage, &collection, &edit.document)?
                }
            };
            let document =
                self.loaded.get_mut(&number).ok_or_else(|| Error::damaged("a document vanished"))?;
            document.touch(&mut self.dirty, number, self.source);
            let again = document.last.is_some_and(|(_, last)| last == origin.key);
            if !again {
                entries.push(edit_key(number, origin));
            }
            // Equal times are ordered by commit id; that is rare enough to fold again.
            let in_order = again
                || document
                    .last
                    .is_none_or(|(time, _)| origin.time > time || is_broken(Broken::TieByArrival));
            if document.stale_from.is_some() || !in_order {
                let from = document.stale_from.map_or(origin.time, |from| from.min(origin.time));
                document.stale_from = Some(from);
                continue;
            }
            document.state.apply_owned(origin.time, origin.author, edit.operators);
            document.last = Some((origin.time, origin.key));
            let edits = document.state.edits();
            if again && (edits - 1).is_multiple_of(CHECKPOINT_EVERY) {
                // The commit goes on after its checkpoint; a fold that starts there would miss the rest of it.
                let at = key([number, origin.time.0, origin.key.0]);
                storage.remove(&layout::CHECKPOINT, at.as_slice().into())?;
            } else if edits.is_multiple_of(CHECKPOINT_EVERY) {
                put_checkpoint(storage, number, origin.time, origin.key, &document.state)?;
            }
        }
        let entries: Vec<(Key<'_>, &[u8])> = entries.iter().map(|key| (Key::Bytes(key), &[][..])).collect();
        storage.put_many(&layout::EDIT, &entries)?;
        Ok(())
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
            let number = self.ensure(storage, &collection, &edit.document)?;
            storage.remove(&layout::EDIT, edit_key(number, origin).as_slice().into())?;
            let document =
                self.loaded.get_mut(&number).ok_or_else(|| Error::damaged("a document vanished"))?;
            document.touch(&mut self.dirty, number, self.source);
            let from = document.stale_from.map_or(origin.time, |from| from.min(origin.time));
            document.stale_from = Some(from);
            // Should it gain its effect again before the document is folded, it is not the one that was folded last.
            document.last = document.last.filter(|(_, last)| *last != origin.key);
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
            let Some(number) = self.number(collection.number, text) else {
                asked.push(&text[..]);
                places.push(place);
                continue;
            };
            self.refold(storage, number)?;
            let loaded = self.loaded.get(&number).map(|document| &document.state);
            *state = loaded.filter(|state| state.exists()).cloned();
        }
        let mut failed = None;
        storage.documents_by_id(collection.number, &asked, &mut |at, stored| match read_stored(stored) {
            Ok((found, _)) => {
                if let Some(state) = places.get(at).and_then(|place| states.get_mut(*place)) {
                    *state = Some(found).filter(DocumentState::exists);
                }
            }
            Err(error) => failed = Some(error),
        })?;
        failed.map_or(Ok(states), Err)
    }

    fn number(&self, collection: u64, text: &str) -> Option<u64> {
        self.numbers.get(&collection)?.get(text).copied()
    }

    /// Writes what differs to storage, keeps the indexes, and says what changed.
    pub(crate) fn flush(&mut self, storage: &mut dyn Storage) -> Result<Vec<Difference>, Error> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut differences = Vec::with_capacity(dirty.len());
        let mut written = Vec::with_capacity(dirty.len().min(TOGETHER));
        for number in dirty {
            if self.loaded.get(&number).is_some_and(|document| document.stale_from.is_some()) {
                self.refold(storage, number)?;
            }
            let Some(document) = self.loaded.get_mut(&number) else { continue };
            let before = std::mem::take(&mut document.before);
            document.dirty = false;
            document.write_indexes(storage, number, before.fields.as_ref())?;
            differences.extend(document.difference(before.digest));
            marks::judge(storage, &document.collection, number, &document.state)?;
            // What does not exist yet may be deleted already: as long as one edit has an effect, the row stays.
            if document.state.edits() > 0 {
                written.push(Written {
                    number,
                    collection: document.collection.number,
                    text: document.text.clone(),
                    deleted: !document.state.visible(),
                    json: document.state.fields().to_json(),
                    state: document.stored_state(),
                });
                if written.len() == TOGETHER {
                    write(storage, &written)?;
                    written.clear();
                }
            } else {
                storage.remove_document(number)?;
                if let Some(gone) = self.loaded.remove(&number)
                    && let Some(numbers) = self.numbers.get_mut(&gone.collection.number)
                {
                    numbers.remove(&gone.text);
                }
            }
        }
        write(storage, &written)?;
        if self.loaded.len() > CACHED {
            self.loaded = HashMap::new();
            self.numbers = HashMap::new();
        }
        Ok(differences)
    }

    /// Forgets everything in memory; storage is the truth.
    pub(crate) fn clear(&mut self) {
        self.loaded.clear();
        self.numbers.clear();
        self.dirty.clear();
        self.decoded.clear();
    }

    /// Forgets documents that storage holds as they are: what is known of their collection has changed.
    pub(crate) fn clear_clean(&mut self) {
        debug_assert!(self.dirty.is_empty());
        self.loaded.clear();
        self.numbers.clear();
    }

    /// Remembers the body of a commit that is just arriving.
    pub(crate) fn remember(&mut self, at: LogKey, body: Arc<DocumentBody>) {
        self.decoded.push_back((at, body));
        let mut edits: usize = self.decoded.iter().map(|(_, body)| body.edits.len()).sum();
        // The newest stays, however large it is.
        while self.decoded.len() > DECODED || (edits > DECODED_EDITS && self.decoded.len() > 1) {
            let Some((_, oldest)) = self.decoded.pop_front() else { break };
            edits -= oldest.edits.len();
        }
    }

    /// The edits of a commit that gains its effect. Those of a large one are not remembered any longer: each is needed
    /// once, and has not to be copied.
    pub(crate) fn edits(&mut self, at: LogKey, body: Arc<DocumentBody>) -> Vec<Edit> {
        if body.edits.len() >= MANY {
            self.decoded.retain(|(key, _)| *key != at);
        }
        Arc::try_unwrap(body).map_or_else(|shared| shared.edits.clone(), |own| own.edits)
    }

    /// A decoded document body, remembered for a while.
    pub(crate) fn body(
        &mut self,
        storage: &dyn Storage,
        at: LogKey,
    ) -> Result<Option<Arc<DocumentBody>>, Error> {
        if let Some((_, body)) = self.decoded.iter().rev().find(|(key, _)| *key == at) {
            return Ok(Some(body.clone()));
        }
        let row = log::row(storage, at)?;
        let Some(bytes) = log::body_of(storage, at, &row)? else { return Ok(None) };
        let body = Arc::new(log::decode_body(&row, &bytes));
        self.remember(at, body.clone());
        Ok(Some(body))
    }

    // The numbers of the documents of a large commit, loaded, edit by edit; none for a small one. They are looked up in the
    // order of the index: in that of the edits each look-up of a random id would meet pages that the processor has not
    // seen for long.
    fn load_many(
        &mut self,
        storage: &mut dyn Storage,
        collections: &mut Collections,
        space: u32,
        edits: &[Edit],
    ) -> Result<Vec<u64>, Error> {
        if edits.len() < MANY {
            return Ok(Vec::new());
        }
        let mut numbers = Vec::with_capacity(edits.len());
        let mut wanted: Vec<Wanted> = Vec::with_capacity(edits.len());
        let mut last: Option<Arc<CollectionFacts>> = None;
        for (place, edit) in edits.iter().enumerate() {
            let collection = match last.take().filter(|last| last.name == edit.collection) {
                Some(same) => same,
                None => collections.ensure(storage, space, &edit.collection)?,
            };
            let text = edit.document.text();
            let known = self.number(collection.number, &text);
            numbers.push(known.unwrap_or_default());
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
            let known = if first { None } else { self.number(collection.number, &text) };
            let Some(edit) = edits.get(place) else { continue };
            let number = match known {
                Some(number) => number,
                None => self.load(text.into(), &collection, &edit.document, found),
            };
            if let Some(place) = numbers.get_mut(place) {
                *place = number;
            }
        }
        Ok(numbers)
    }

    // The number of a document, loaded; a new one if nobody has edited it yet.
    fn ensure(
        &mut self,
        storage: &dyn Storage,
        collection: &Arc<CollectionFacts>,
        id: &DocumentId,
    ) -> Result<u64, Error> {
        let text = id.text();
        if let Some(number) = self.number(collection.number, &text) {
            return Ok(number);
        }
        let found = stored_many(storage, collection.number, &[&text])?.pop().flatten();
        Ok(self.load(text.into(), collection, id, found))
    }

    fn load(
        &mut self,
        text: Arc<str>,
        collection: &Arc<CollectionFacts>,
        id: &DocumentId,
        found: Option<Stored>,
    ) -> u64 {
        let Stored { number, state, last } = found.unwrap_or_else(|| {
            let number = self.next;
            self.next += 1;
            Stored { number, state: DocumentState::default(), last: None }
        });
        self.numbers.entry(collection.number).or_default().insert(text.clone(), number);
        let loaded = Loaded {
            collection: collection.clone(),
            id: id.clone(),
            text,
            state,
            last,
            before: Before::default(),
            dirty: false,
            source: self.source,
            stale_from: None,
        };
        self.loaded.insert(number, loaded);
        number
    }

    // Folds a stale document from the last checkpoint before what changed.
    fn refold(&mut self, storage: &mut dyn Storage, number: u64) -> Result<(), Error> {
        let Some(document) = self.loaded.get(&number) else { return Ok(()) };
        let Some(from) = document.stale_from else { return Ok(()) };
        let (collection, id) = (document.collection.clone(), document.id.clone());
        let (mut state, after) = start_of_refold(storage, number, from)?;
        let mut commits = Vec::new();
        let lower = after.map_or(key([number, 0, 0]), |(time, _)| key([number, time.0, u64::MAX]));
        let upper = key([number, u64::MAX, u64::MAX]);
        let (lower, upper) = (Bound::Excluded(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
        storage.range(&layout::EDIT, lower, upper, Order::Ascending, &mut |key, _| {
            commits.extend(read_key(key));
            ControlFlow::Continue(())
        })?;
        let mut last = after;
        let mut at = 0;
        while let Some(&(time, _)) = commits.get(at) {
            // Commits of one time go in the order of their ids.
            let mut same = Vec::new();
            while let Some((_, key)) = commits.get(at).filter(|(next, _)| *next == time) {
                same.push((log::row(storage, *key)?, *key));
                at += 1;
            }
            if !is_broken(Broken::TieByArrival) {
                same.sort_by_key(|(row, _)| row.id);
            }
            let tie = same.len() > 1;
            for (row, key) in same {
                let author = log::author(storage, row.author)?;
                let Some(body) = self.body(storage, key)? else { continue };
                for edit in &body.edits {
                    if edit.document == id && edit.collection == collection.name {
                        state.apply(time, author, &edit.operators);
                    }
                }
                // Only a whole commit with a time of its own can be gone on from.
                if state.edits().is_multiple_of(CHECKPOINT_EVERY) && !tie {
                    put_checkpoint(storage, number, time, key, &state)?;
                }
                last = Some((time, key));
            }
        }
        if let Some(document) = self.loaded.get_mut(&number) {
            // It was marked as changed, by whom it was, when it became stale.
            document.last = last;
            document.state = state;
            document.stale_from = None;
        }
        Ok(())
    }
}

impl Loaded {
    // Remembers what storage shows before the first change since the last flush.
    fn touch(&mut self, dirty: &mut Vec<u64>, number: u64, source: Source) {
        self.source = source;
        if !self.dirty {
            self.dirty = true;
            let is_indexed = !self.collection.indexes.is_empty() && self.state.exists();
            self.before =
                Before { digest: self.digest(), fields: is_indexed.then(|| self.state.fields().clone()) };
            dirty.push(number);
        }
    }

    fn digest(&self) -> Option<Sum> {
        let is_seen = self.state.visible();
        is_seen.then(|| Sum::of(document_digest(&self.collection.name, &self.id, &self.state)))
    }

    fn difference(&self, removed: Option<Sum>) -> Option<Difference> {
        let added = self.digest();
        let kind = match (&removed, &added) {
            (None, None) => return None,
            (None, Some(_)) => ChangeKind::Insert,
            (Some(_), None) => ChangeKind::Delete,
            (Some(removed), Some(added)) if removed == added => return None,
            (Some(_), Some(_)) => ChangeKind::Update,
        };
        Some(Difference {
            collection: self.collection.clone(),
            id: self.id.clone(),
            kind,
            source: self.source,
            added: added.unwrap_or_default(),
            removed: removed.unwrap_or_default(),
        })
    }

    fn write_indexes(
        &self,
        storage: &mut dyn Storage,
        number: u64,
        before: Option<&Map>,
    ) -> Result<(), Error> {
        for index in &self.collection.indexes {
            let mut old = index_keys(index.number, number, before, &index.path);
            let exists = self.state.exists().then_some(self.state.fields());
            let new = index_keys(index.number, number, exists, &index.path);
            old.retain(|key| !new.contains(key));
            for key in old {
                storage.remove(&layout::INDEX_VALUE, key.as_slice().into())?;
            }
            for key in new {
                storage.put(&layout::INDEX_VALUE, key.as_slice().into(), &[])?;
            }
        }
        Ok(())
    }

    fn stored_state(&self) -> Vec<u8> {
        let (time, at) = self.last.unwrap_or((Timestamp(0), LogKey(0)));
        let state = self.state.to_bytes_without_fields();
        let mut bytes = Vec::with_capacity(16 + state.len());
        bytes.extend_from_slice(&time.0.to_be_bytes());
        bytes.extend_from_slice(&at.0.to_be_bytes());
        bytes.extend_from_slice(&state);
        bytes
    }
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
        Ok((state, last)) => {
            if let Some(place) = found.get_mut(at) {
                *place = Some(Stored { number: stored.number, state, last });
            }
        }
        Err(error) => failed = Some(error),
    })?;
    failed.map_or(Ok(found), Err)
}

fn write(storage: &mut dyn Storage, written: &[Written]) -> Result<(), Error> {
    let documents: Vec<StoredDocument<'_>> = written.iter().map(Written::as_stored).collect();
    Ok(storage.upsert_many(&documents)?)
}

fn edit_key(number: u64, origin: Origin) -> [u8; 24] {
    let mut key = [0; 24];
    let numbers = [number, origin.time.0, origin.key.0];
    for (place, number) in key.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
        *place = number.to_be_bytes();
    }
    key
}

pub(crate) fn read_key(key: Key<'_>) -> Option<(Timestamp, LogKey)> {
    let Key::Bytes(bytes) = key else { return None };
    let mut bytes = layout::Bytes(bytes.get(8..)?);
    let time = u64::from_be_bytes(bytes.array()?);
    Some((Timestamp(time), LogKey(u64::from_be_bytes(bytes.array()?))))
}

fn put_checkpoint(
    storage: &mut dyn Storage,
    number: u64,
    time: Timestamp,
    at: LogKey,
    state: &DocumentState,
) -> Result<(), Error> {
    storage.put(&layout::CHECKPOINT, key([number, time.0, at.0]).as_slice().into(), &state.to_bytes())?;
    // Old ones thin out: as many remain as the logarithm of the number of edits.
    let mut old = Vec::new();
    checkpoints(storage, number, |time, at, ordinal| {
        if !is_kept(ordinal, state.edits()) {
            old.push(key([number, time.0, at.0]));
        }
    })?;
    for key in old {
        storage.remove(&layout::CHECKPOINT, key.as_slice().into())?;
    }
    Ok(())
}

// Drops the checkpoints that a change at `from` made wrong; returns the last good one.
fn start_of_refold(
    storage: &mut dyn Storage,
    number: u64,
    from: Timestamp,
) -> Result<(DocumentState, Option<(Timestamp, LogKey)>), Error> {
    let (mut good, mut wrong) = (None, Vec::new());
    checkpoints(storage, number, |time, at, _| {
        if time < from {
            good = Some((time, at));
        } else {
            wrong.push(key([number, time.0, at.0]));
        }
    })?;
    for key in wrong {
        storage.remove(&layout::CHECKPOINT, key.as_slice().into())?;
    }
    let Some((time, at)) = good else { return Ok((DocumentState::default(), None)) };
    let bytes = storage.get(&layout::CHECKPOINT, key([number, time.0, at.0]).as_slice().into())?;
    let state = bytes.and_then(|bytes| DocumentState::from_bytes(&bytes).ok());
    Ok((state.ok_or_else(|| Error::damaged("a checkpoint does not decode"))?, Some((time, at))))
}

fn checkpoints(
    storage: &dyn Storage,
    number: u64,
    mut visit: impl FnMut(Timestamp, LogKey, u64),
) -> Result<(), Error> {
    let (lower, upper) = (key([number, 0, 0]), key([number, u64::MAX, u64::MAX]));
    let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
    let mut damaged = false;
    storage.range(&layout::CHECKPOINT, lower, upper, Order::Ascending, &mut |key, value| {
        match (read_key(key), DocumentState::from_bytes(value)) {
            (Some((time, at)), Ok(state)) => visit(time, at, state.edits()),
            _ => damaged = true,
        }
        ControlFlow::Continue(())
    })?;
    if damaged { Err(Error::damaged("a checkpoint does not decode")) } else { Ok(()) }
}
