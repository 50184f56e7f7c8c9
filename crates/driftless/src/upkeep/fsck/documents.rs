//! The view of a space against the fold of its log, document by document: values, checkpoints, index entries, the digest.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use driftless_core::clock::Timestamp;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::{DocumentState, document_digest};
use driftless_store::{Document as StoredDocument, Key, Order};

use super::effects::Effects;
use super::{Checker, DERIVED, count};
use crate::error::Error;
use crate::state::replica::{Replica, Summary};
use crate::tables::collections::{CollectionFacts, Collections};
use crate::tables::digest::Sum;
use crate::tables::layout::{self, LogKey, key};
use crate::tables::log;
use crate::tables::marks;
use crate::tables::stored::{Stored, index_keys, read_stored};
use crate::tables::view::{View, read_key};

// What the documents of a space come to.
#[derive(Default)]
struct Found {
    visible: u64,
    view: Sum,
    edits: u64,
    largest: u64,
    entries: BTreeMap<u64, u64>,
    marks: u64,
}

impl Checker<'_> {
    pub(super) fn documents(
        &mut self,
        replica: &Replica,
        summary: &Summary,
        effects: &Effects,
    ) -> Result<(), Error> {
        self.stage("documents");
        let mut collections = Collections::new(1, 1);
        let (mut found, mut bodies) = (Found::default(), View::new(1));
        for name in Collections::names(self.storage, replica.number)? {
            let facts = collections.get(self.storage, replica.number, &name);
            let Some(Some(facts)) = self.note(facts, "index", DERIVED) else { continue };
            found.entries.extend(facts.indexes.iter().map(|index| (index.number, 0)));
            let storage = self.storage;
            let walked = storage.scan(facts.number, None, &mut |stored| {
                self.step();
                self.report.documents += 1;
                let checked = self.document(&facts, stored, &mut bodies, &mut found);
                self.note(checked, "document", DERIVED);
                ControlFlow::Continue(())
            });
            self.note(walked.map_err(Error::from), "document", DERIVED);
            let marks = std::mem::take(&mut found.marks);
            if let Some(counted) = self.note(marks::count(storage, facts.number), "mark", DERIVED) {
                self.expect(counted == marks, "mark", || {
                    format!("{counted} documents of {name} are marked, and {marks} of them are there")
                });
            }
        }
        self.expect(found.edits == effects.edits, "edit", || {
            format!("{} edits are found from their documents, and the log has {}", found.edits, effects.edits)
        });
        self.expect(found.visible == summary.documents && found.view == summary.view, "space", || {
            "the number or the digest of the documents is another".into()
        });
        for (index, entries) in &found.entries {
            let (lower, upper) = (key([*index]), key([index.saturating_add(1)]));
            let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Excluded(Key::Bytes(&upper)));
            let counted = count(self.storage, &layout::INDEX_VALUE, lower, upper);
            if let Some(counted) = self.note(counted, "index", DERIVED) {
                self.expect(counted == *entries, "index", || {
                    format!("index {index} has {counted} entries instead of {entries}")
                });
            }
        }
        let next = self.storage.get(&layout::META, b"next_numbers".into())?.unwrap_or_default();
        let next = next.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        self.expect(found.largest < next || found.largest == 0, "meta", || {
            "the next number of a document is in use".into()
        });
        Ok(())
    }

    fn document(
        &mut self,
        collection: &Arc<CollectionFacts>,
        stored: &StoredDocument<'_>,
        bodies: &mut View,
        found: &mut Found,
    ) -> Result<(), Error> {
        let name = || format!("document {} of {}", stored.id, collection.name);
        found.largest = found.largest.max(stored.number);
        let Ok(id) = DocumentId::parse_text(stored.id) else {
            return Err(Error::damaged(format!("{} has no id", name())));
        };
        let (folded, last) = self.fold(collection, &id, stored.number, bodies, found)?;
        let Stored { state, last: at, .. } = read_stored(stored)?;
        let same = state == folded && at == last && stored.deleted != folded.visible();
        self.expect(same, "document", || format!("{} is not what its edits make", name()));
        if let Some(schema) = &collection.schema {
            let at = key([collection.number, stored.number]);
            let marked = self.storage.get(&layout::MARK, at.as_slice().into())?.is_some();
            let fits = !folded.visible() || schema.fits(folded.fields());
            found.marks += u64::from(marked);
            self.expect(marked != fits, "mark", || format!("{} is not marked as its schema says", name()));
        }
        if folded.visible() {
            found.visible += 1;
            found.view.add(Sum::of(document_digest(&collection.name, &id, &folded)));
        }
        for index in &collection.indexes {
            let fields = folded.exists().then_some(folded.fields());
            for entry in index_keys(index.number, stored.number, fields, &index.path) {
                *found.entries.entry(index.number).or_default() += 1;
                let there = self.storage.get(&layout::INDEX_VALUE, entry.as_slice().into())?.is_some();
                self.expect(there, "index", || format!("{} is not in the index on {}", name(), index.path));
            }
        }
        Ok(())
    }

    // A document from nothing but its edits, held against its checkpoints on the way.
    fn fold(
        &mut self,
        collection: &CollectionFacts,
        id: &DocumentId,
        number: u64,
        bodies: &mut View,
        found: &mut Found,
    ) -> Result<(DocumentState, Option<(Timestamp, LogKey)>), Error> {
        let mut commits = Vec::new();
        let (lower, upper) = (key([number, 0, 0]), key([number, u64::MAX, u64::MAX]));
        let span = || (Bound::Included(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
        self.storage.range(&layout::EDIT, span().0, span().1, Order::Ascending, &mut |key, _| {
            commits.extend(read_key(key));
            ControlFlow::Continue(())
        })?;
        let mut checkpoints = BTreeMap::new();
        self.storage.range(
            &layout::CHECKPOINT,
            span().0,
            span().1,
            Order::Ascending,
            &mut |key, value| {
                // A document has few of them, each as large as the document.
                checkpoints.extend(read_key(key).map(|at| (at, *blake3::hash(value).as_bytes())));
                ControlFlow::Continue(())
            },
        )?;
        found.edits += commits.len() as u64;
        let mut state = DocumentState::default();
        let (mut last, mut at) = (None, 0);
        while let Some(&(time, _)) = commits.get(at) {
            // Commits of one time go in the order of their ids.
            let mut same = Vec::new();
            while let Some((_, key)) = commits.get(at).filter(|(next, _)| *next == time) {
                same.push((log::row(self.storage, *key)?, *key));
                at += 1;
            }
            same.sort_by_key(|(row, _)| row.id);
            for (row, key) in same {
                if row.time != time || key.space() != collection.space {
                    return Err(Error::damaged(format!("an edit of document {id} has no commit")));
                }
                let author = log::author(self.storage, row.author)?;
                let Some(body) = bodies.body(self.storage, key)? else { continue };
                for edit in &body.edits {
                    if edit.document == *id && edit.collection == collection.name {
                        state.apply(time, author, &edit.operators);
                    }
                }
                last = Some((time, key));
                if let Some(stored) = checkpoints.remove(&(time, key)) {
                    self.expect(stored == *blake3::hash(&state.to_bytes()).as_bytes(), "checkpoint", || {
                        format!(
                            "a checkpoint of document {id} of {} is not what its edits make",
                            collection.name
                        )
                    });
                }
            }
        }
        self.expect(checkpoints.is_empty(), "checkpoint", || {
            format!("a checkpoint of document {id} of {} belongs to no edit", collection.name)
        });
        Ok((state, last))
    }
}
