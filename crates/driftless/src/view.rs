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
use driftless_store::{Document as StoredDocument, Key, Order, Storage};

use crate::collections::{CollectionFacts, Collections};
use crate::digest::Sum;
use crate::error::Error;
use crate::layout::{self, LogKey, key};
use crate::log;
use crate::marks;
use crate::stored::{index_keys, read_stored};

/// Decoded bodies kept while many documents of the same commits are folded.
const DECODED: usize = 32;
/// Edits in them: a decoded edit of a row takes some 4 KiB.
const DECODED_EDITS: usize = 2048;
/// Documents kept in memory after a flush.
const CACHED: usize = 4096;
/// Edits of one commit from which on their documents are looked up together.
const MANY: usize = 64;

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
    text: String,
    state: DocumentState,
    last: Option<(Timestamp, LogKey)>,
    /// The state that storage, indexes and digest show, once it differs from `state`.
    before: Option<DocumentState>,
    dirty: bool,
    source: Source,
    stale_from: Option<Timestamp>,
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
    numbers: HashMap<(u64, String), u64>,
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
        edits: &[Edit],
    ) -> Result<(), Error> {
        self.load_many(storage, collections, origin.key.space(), edits)?;
        for edit in edits {
            let collection = collections.ensure(storage, origin.key.space(), &edit.collection)?;
            let number = self.ensure(storage, &collection, &edit.document)?;
            let document =
                self.loaded.get_mut(&number).ok_or_else(|| Error::damaged("a document vanished"))?;
            document.touch(&mut self.dirty, number, self.source);
            let again = document.last.is_some_and(|(_, last)| last == origin.key);
            if !again {
                storage.put(&layout::EDIT, edit_key(number, origin).as_slice().into(), &[])?;
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
            document.state.apply(origin.time, origin.author, &edit.operators);
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
        let at = (collection.number, id.text());
        if let Some(number) = self.numbers.get(&at).copied() {
            self.refold(storage, number)?;
            let state = self.loaded.get(&number).map(|document| &document.state);
            return Ok(state.filter(|state| state.exists()).cloned());
        }
        let mut found = Ok(None);
        storage.document_by_id(at.0, &at.1, &mut |stored| {
            found = read_stored(stored).map(|(state, _)| Some(state).filter(DocumentState::exists));
        })?;
        found
    }

    /// Writes what differs to storage, keeps the indexes, and says what changed.
    pub(crate) fn flush(&mut self, storage: &mut dyn Storage) -> Result<Vec<Difference>, Error> {
        let mut differences = Vec::new();
        for number in std::mem::take(&mut self.dirty) {
            if self.loaded.get(&number).is_some_and(|document| document.stale_from.is_some()) {
                self.refold(storage, number)?;
            }
            let Some(document) = self.loaded.get_mut(&number) else { continue };
            let before = document.before.take();
            document.dirty = false;
            differences.extend(document.difference(before.as_ref()));
            document.write_indexes(storage, number, before.as_ref())?;
            marks::judge(storage, &document.collection, number, &document.state)?;
            // What does not exist yet may be deleted already: as long as one edit has an effect, the row stays.
            if document.state.edits() > 0 {
                let fields = document.state.fields().to_json();
                let state = document.stored_state();
                storage.upsert(&StoredDocument {
                    number,
                    collection: document.collection.number,
                    id: &document.text,
                    deleted: !document.state.visible(),
                    json: &fields,
                    state: &state,
                })?;
            } else {
                storage.remove_document(number)?;
                let gone = self.loaded.remove(&number);
                if let Some(gone) = gone {
                    self.numbers.remove(&(gone.collection.number, gone.text));
                }
            }
        }
        if self.loaded.len() > CACHED {
            self.loaded.clear();
            self.numbers.clear();
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

    // Loads the documents of a large commit, so that `ensure` finds them. They are looked up in the order of the index:
    // in that of the edits each look-up of a random id would meet pages that the processor has not seen for long.
    fn load_many(
        &mut self,
        storage: &mut dyn Storage,
        collections: &mut Collections,
        space: u32,
        edits: &[Edit],
    ) -> Result<(), Error> {
        if edits.len() < MANY {
            return Ok(());
        }
        let mut wanted = Vec::with_capacity(edits.len());
        for (place, edit) in edits.iter().enumerate() {
            let collection = collections.ensure(storage, space, &edit.collection)?;
            let at = (collection.number, edit.document.text());
            if !self.numbers.contains_key(&at) {
                wanted.push((at, place, collection, &edit.document, None));
            }
        }
        wanted.sort_unstable_by(|(left, first, ..), (right, second, ..)| (left, first).cmp(&(right, second)));
        wanted.dedup_by(|(later, ..), (first, ..)| later == first);
        for (at, .., found) in &mut wanted {
            *found = stored(storage, at)?;
        }
        // New ones are numbered in the order of the edits.
        wanted.sort_unstable_by_key(|(_, place, ..)| *place);
        for (at, _, collection, id, found) in wanted {
            self.load(at, &collection, id, found);
        }
        Ok(())
    }

    // The number of a document, loaded; a new one if nobody has edited it yet.
    fn ensure(
        &mut self,
        storage: &dyn Storage,
        collection: &Arc<CollectionFacts>,
        id: &DocumentId,
    ) -> Result<u64, Error> {
        let at = (collection.number, id.text());
        if let Some(number) = self.numbers.get(&at) {
            return Ok(*number);
        }
        let found = stored(storage, &at)?;
        Ok(self.load(at, collection, id, found))
    }

    fn load(
        &mut self,
        at: (u64, String),
        collection: &Arc<CollectionFacts>,
        id: &DocumentId,
        found: Option<Stored>,
    ) -> u64 {
        let Stored { number, state, last } = found.unwrap_or_else(|| {
            let number = self.next;
            self.next += 1;
            Stored { number, state: DocumentState::default(), last: None }
        });
        let loaded = Loaded {
            collection: collection.clone(),
            id: id.clone(),
            text: at.1.clone(),
            state,
            last,
            before: None,
            dirty: false,
            source: self.source,
            stale_from: None,
        };
        self.loaded.insert(number, loaded);
        self.numbers.insert(at, number);
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
            self.before = Some(self.state.clone());
            dirty.push(number);
        }
    }

    fn digest(&self, state: Option<&DocumentState>) -> Option<Sum> {
        let state = state.filter(|state| state.visible())?;
        Some(Sum::of(document_digest(&self.collection.name, &self.id, state)))
    }

    fn difference(&self, before: Option<&DocumentState>) -> Option<Difference> {
        let (removed, added) = (self.digest(before), self.digest(Some(&self.state)));
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
        before: Option<&DocumentState>,
    ) -> Result<(), Error> {
        for index in &self.collection.indexes {
            let mut old = index_keys(
                index.number,
                number,
                before.filter(|state| state.exists()).map(DocumentState::fields),
                &index.path,
            );
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
        let mut bytes = key([time.0, at.0]);
        bytes.extend_from_slice(&self.state.to_bytes_without_fields());
        bytes
    }
}

// The document of a collection and the text of an id, if it is stored.
fn stored(storage: &dyn Storage, at: &(u64, String)) -> Result<Option<Stored>, Error> {
    let mut found = Ok(None);
    storage.document_by_id(at.0, &at.1, &mut |stored| {
        found = read_stored(stored).map(|(state, last)| Some(Stored { number: stored.number, state, last }));
    })?;
    found
}

fn edit_key(number: u64, origin: Origin) -> Vec<u8> {
    key([number, origin.time.0, origin.key.0])
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
