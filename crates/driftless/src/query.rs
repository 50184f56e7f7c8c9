//! Finding documents. An index narrows the candidates; the filter decides on every one of them.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use driftless_core::document::{Document, Subject};
use driftless_core::document_id::DocumentId;
use driftless_core::filter::{Filter, ValueRange};
use driftless_core::fold::DocumentState;
use driftless_core::query::Sort;
use driftless_store::{Document as StoredDocument, Key, Order};

use crate::collection::Collection;
use crate::error::Error;
use crate::state::engine::Engine;
use crate::tables::collections::{CollectionFacts, IndexFacts};
use crate::tables::layout;
use crate::tables::marks;
use crate::tables::stored::{index_span, read_stored};

/// A search, not yet run.
#[derive(Debug, Clone)]
pub struct Query {
    collection: Collection,
    filter: Filter,
    sort: Option<Sort>,
    limit: usize,
    skip: usize,
    deleted: bool,
    fitting: bool,
}

/// How a search is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The path whose index narrows the candidates; `None` looks at every document.
    pub index: Option<String>,
    /// How many documents are looked at.
    pub candidates: u64,
}

impl Collection {
    /// The documents that match; sort, limit and skip follow.
    pub fn find(&self, filter: Filter) -> Query {
        Query::new(self.clone(), filter)
    }

    /// How many documents match.
    pub fn count(&self, filter: Filter) -> Result<u64, Error> {
        self.find(filter).count()
    }
}

impl Query {
    fn new(collection: Collection, filter: Filter) -> Self {
        Self { collection, filter, sort: None, limit: usize::MAX, skip: 0, deleted: false, fitting: false }
    }

    /// The order. If left unset, that in which documents came here.
    pub fn sort(mut self, sort: Sort) -> Self {
        self.sort = Some(sort);
        self
    }

    /// At most so many. If left unset, all.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Without the first so many. If left unset, none is left out.
    pub fn skip(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// Deleted documents too. If left unset, only those that are there.
    pub fn include_deleted(mut self) -> Self {
        self.deleted = true;
        self
    }

    /// Without documents that do not fit the schema of the collection. If left unset, with them.
    pub fn fitting_only(mut self) -> Self {
        self.fitting = true;
        self
    }

    /// The documents.
    pub fn run(&self) -> Result<Vec<Document>, Error> {
        self.collection.space().database().read(|engine| self.run_in(engine))
    }

    /// The same for whoever holds the lock.
    pub(crate) fn run_in(&self, engine: &mut Engine) -> Result<Vec<Document>, Error> {
        let wanted = if self.sort.is_some() { usize::MAX } else { self.limit.saturating_add(self.skip) };
        let mut found = Vec::new();
        if wanted > 0 {
            self.each_in(engine, &mut |id, state| {
                found.push(Document::new(self.collection.name(), id, state));
                if found.len() >= wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        if let Some(sort) = &self.sort {
            found.sort_by(|a, b| sort.compare(&a.subject(), &b.subject()));
        }
        Ok(found.into_iter().skip(self.skip).take(self.limit).collect())
    }

    /// How many there are, without limit and skip.
    pub fn count(&self) -> Result<u64, Error> {
        let mut count = 0;
        self.each(&mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    /// How `run` would look.
    pub fn plan(&self) -> Result<Plan, Error> {
        self.collection.space().database().read(|engine| {
            let facts = self.collection.facts(engine)?;
            engine.write_view()?;
            let Some(facts) = facts else { return Ok(Plan { index: None, candidates: 0 }) };
            if let Some((index, range)) = self.index(&facts) {
                let candidates = candidates(engine, index, range)?.len() as u64;
                return Ok(Plan { index: Some(index.path.to_string()), candidates });
            }
            let mut candidates = 0;
            engine.storage.scan(facts.number, None, &mut |stored| {
                candidates += u64::from(self.deleted || !stored.deleted);
                ControlFlow::Continue(())
            })?;
            Ok(Plan { index: None, candidates })
        })
    }

    /// Visits each match until the visitor breaks, without sort, limit and skip. Says how many documents it looked at.
    pub(crate) fn each(
        &self,
        visit: &mut dyn FnMut(&DocumentId, &DocumentState) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        self.collection.space().database().read(|engine| self.each_in(engine, visit))
    }

    /// The same for whoever holds the lock.
    pub(crate) fn each_in(
        &self,
        engine: &mut Engine,
        visit: &mut dyn FnMut(&DocumentId, &DocumentState) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let Some(facts) = self.collection.facts(engine)? else { return Ok(0) };
        engine.write_view()?;
        let marked =
            if self.fitting { marks::all(engine.storage.as_ref(), &facts)? } else { BTreeSet::new() };
        let (mut failed, mut looked_at) = (None, 0);
        let mut look = |stored: &StoredDocument<'_>| {
            if (stored.deleted && !self.deleted) || marked.contains(&stored.number) {
                return ControlFlow::Continue(());
            }
            looked_at += 1;
            match self.matches(stored) {
                Ok(Some((id, state))) => visit(&id, &state),
                Ok(None) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        match self.index(&facts) {
            Some((index, range)) => {
                for number in candidates(engine, index, range)? {
                    let mut flow = ControlFlow::Continue(());
                    engine.storage.document(number, &mut |stored| flow = look(stored))?;
                    if flow.is_break() {
                        break;
                    }
                }
            }
            None => engine.storage.scan(facts.number, None, &mut look)?,
        }
        failed.map_or(Ok(looked_at), Err)
    }

    fn matches(&self, stored: &StoredDocument<'_>) -> Result<Option<(DocumentId, DocumentState)>, Error> {
        let state = read_stored(stored)?.state;
        if !state.exists() {
            return Ok(None);
        }
        let id =
            DocumentId::parse_text(stored.id).map_err(|_| Error::damaged("a document id does not decode"))?;
        let matches = self.filter.matches(&Subject::new(self.collection.name(), &id, &state));
        Ok(matches.then_some((id, state)))
    }

    // The index whose range is an equality if there is one, else any that the filter bounds.
    fn index<'f>(&self, facts: &'f CollectionFacts) -> Option<(&'f IndexFacts, ValueRange)> {
        let mut best = None;
        for index in &facts.indexes {
            let Some(range) = self.filter.bounds(&index.path) else { continue };
            let narrow = matches!(&range, (Bound::Included(a), Bound::Included(b)) if a.same(b));
            if narrow || best.is_none() {
                best = Some((index, range));
            }
            if narrow {
                break;
            }
        }
        best
    }
}

// Documents with an entry in the range, each once, in the order of their numbers.
fn candidates(engine: &Engine, index: &IndexFacts, range: ValueRange) -> Result<BTreeSet<u64>, Error> {
    let mut numbers = BTreeSet::new();
    let (lower, upper) = index_span(index.number, &range);
    let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Excluded(Key::Bytes(&upper)));
    engine.storage.range(&layout::INDEX_VALUE, lower, upper, Order::Ascending, &mut |key, _| {
        if let Key::Bytes(bytes) = key {
            numbers.extend(bytes.last_chunk().map(|number| u64::from_be_bytes(*number)));
        }
        ControlFlow::Continue(())
    })?;
    Ok(numbers)
}
