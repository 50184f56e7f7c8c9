//! Documents in memory between two writes, found by the texts of their ids. Knows nothing of commits.

use std::collections::HashMap;
use std::sync::Arc;

use driftless_core::clock::Timestamp;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::{DocumentState, document_digest};
use driftless_core::value::Map;
use driftless_store::Storage;

use super::{ChangeKind, Difference, Source};
use crate::error::Error;
use crate::tables::collections::CollectionFacts;
use crate::tables::digest::Sum;
use crate::tables::layout::{self, LogKey};
use crate::tables::stored::{Stored, index_keys};

/// Documents kept in memory after they were written.
pub(super) const KEPT: usize = 4096;

/// A place in `Documents`, until it is cleared.
pub(super) type Slot = usize;

/// A document in memory.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub number: u64,
    pub collection: Arc<CollectionFacts>,
    pub id: DocumentId,
    pub text: Arc<str>,
    pub state: DocumentState,
    /// The last edit in the fold.
    pub last: Option<(Timestamp, LogKey)>,
    /// Whether storage has a row for it.
    pub is_stored: bool,
    /// What indexes and digest show, once that may differ from `state`.
    before: Before,
    pub dirty: bool,
    source: Source,
    /// It is to be folded again from this time on.
    pub stale_from: Option<Timestamp>,
}

// What of a document's former state has to be taken back where it was written.
#[derive(Debug, Clone, Default)]
struct Before {
    digest: Option<Sum>,
    // Only where the collection has indexes.
    fields: Option<Map>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Documents {
    all: Vec<Loaded>,
    /// By collection and the text of the id.
    by_id: HashMap<u64, HashMap<Arc<str>, Slot>>,
}

impl Documents {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn find(&self, collection: u64, text: &str) -> Option<Slot> {
        self.by_id.get(&collection)?.get(text).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Loaded> {
        self.all.get(slot)
    }

    /// One that must be there.
    pub(super) fn at(&mut self, slot: Slot) -> Result<&mut Loaded, Error> {
        self.all.get_mut(slot).ok_or_else(|| Error::damaged("a document vanished"))
    }

    pub(super) fn add(
        &mut self,
        number: u64,
        collection: &Arc<CollectionFacts>,
        id: &DocumentId,
        text: &str,
        found: Option<Stored>,
        source: Source,
    ) -> Slot {
        let is_stored = found.is_some();
        let (state, last) = found.map_or_else(Default::default, |found| (found.state, found.last));
        let text: Arc<str> = text.into();
        let slot = self.all.len();
        self.by_id.entry(collection.number).or_default().insert(text.clone(), slot);
        self.all.push(Loaded {
            number,
            collection: collection.clone(),
            id: id.clone(),
            text,
            state,
            last,
            is_stored,
            before: Before::default(),
            dirty: false,
            source,
            stale_from: None,
        });
        slot
    }

    /// Whoever asks for it by its id does not find it any more.
    pub(super) fn forget(&mut self, slot: Slot) {
        let Some(gone) = self.all.get(slot) else { return };
        if let Some(numbers) = self.by_id.get_mut(&gone.collection.number) {
            numbers.remove(&gone.text);
        }
    }

    /// Forgets all; room for as many as are usually there stays.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.all.shrink_to(2 * KEPT);
        if self.by_id.len() > 1 {
            self.by_id.clear();
        }
        for numbers in self.by_id.values_mut() {
            numbers.clear();
            numbers.shrink_to(2 * KEPT);
        }
    }
}

impl Loaded {
    /// Remembers what storage shows before the first change since it was written last.
    pub(super) fn touch(&mut self, dirty: &mut Vec<Slot>, slot: Slot, source: Source) {
        self.source = source;
        if !self.dirty {
            self.dirty = true;
            let is_indexed = !self.collection.indexes.is_empty() && self.state.exists();
            self.before =
                Before { digest: self.digest(), fields: is_indexed.then(|| self.state.fields().clone()) };
            dirty.push(slot);
        }
    }

    /// It has to be folded again from that time on.
    pub(super) fn stale(&mut self, time: Timestamp) {
        self.stale_from = Some(self.stale_from.map_or(time, |from| from.min(time)));
    }

    /// Corrects the indexes, and says what differs from what was written last. It counts as written.
    pub(super) fn settle(&mut self, storage: &mut dyn Storage) -> Result<Option<Difference>, Error> {
        self.dirty = false;
        let before = std::mem::take(&mut self.before);
        if !self.collection.indexes.is_empty() {
            self.write_indexes(storage, before.fields.as_ref())?;
        }
        Ok(self.difference(before.digest))
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

    fn write_indexes(&self, storage: &mut dyn Storage, before: Option<&Map>) -> Result<(), Error> {
        for index in &self.collection.indexes {
            let mut old = index_keys(index.number, self.number, before, &index.path);
            let exists = self.state.exists().then_some(self.state.fields());
            let new = index_keys(index.number, self.number, exists, &index.path);
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
}
