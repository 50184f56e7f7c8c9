//! Collections with a schema: setting it, asking for it, and which documents do not fit it.
//!
//! What is written here has to fit, and is judged under the lock. What others wrote is kept, and marked if it does not.

use std::collections::{HashMap, hash_map::Entry};
use std::sync::Arc;

use driftless_core::clock::Timestamp;
use driftless_core::commit::DocumentBody;
use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::DocumentState;
use driftless_core::id::{AuthorId, SpaceId};

use crate::collection::Collection;
use crate::error::{Error, SchemaError};
use crate::schema::Schema;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::tables::collections::{CollectionFacts, Collections};
use crate::tables::marks;
use crate::tables::stored::{Stored, read_stored};

/// A document that does not fit the schema of its collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Marked {
    /// The document as it is.
    pub document: Document,
    /// What is wrong with it; at most 32 lines.
    pub errors: Vec<SchemaError>,
}

/// A collection that has a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct WithSchema {
    /// The collection.
    pub collection: String,
    /// Its schema.
    pub schema: Schema,
    /// How many documents here do not fit it.
    pub marked: u64,
}

impl Collection {
    /// Says what the documents of this collection are to be, in this database. Those that are here are judged at once,
    /// all in one transaction; says how many do not fit. What is written here from now on has to fit; what others write
    /// is kept and marked. The schema stays here: it is not sent, and changes no digest.
    pub fn set_schema(&self, schema: &Schema) -> Result<u64, Error> {
        self.change_schema(Some(schema))
    }

    /// Takes the schema away, and all marks; `false` if there is none.
    pub fn remove_schema(&self) -> Result<bool, Error> {
        let there = self.schema()?.is_some();
        if there {
            self.change_schema(None)?;
        }
        Ok(there)
    }

    /// The schema, if this collection has one here.
    pub fn schema(&self) -> Result<Option<Schema>, Error> {
        self.space().database().read(|engine| Ok(self.facts(engine)?.and_then(|facts| facts.schema.clone())))
    }

    /// The documents that do not fit the schema, in the order in which they came here, and why.
    pub fn marked(&self, limit: usize) -> Result<Vec<Marked>, Error> {
        self.space().database().read(|engine| {
            let Some(facts) = self.facts(engine)? else { return Ok(Vec::new()) };
            let Some(schema) = &facts.schema else { return Ok(Vec::new()) };
            engine.write_view()?;
            let mut found = Vec::new();
            for number in marks::some(engine.storage.as_ref(), facts.number, None, limit)? {
                let mut marked = Ok(None);
                engine.storage.document(number, &mut |stored| {
                    marked = read_stored(stored).and_then(|Stored { state, .. }| {
                        let id = DocumentId::parse_text(stored.id)
                            .map_err(|_| Error::damaged("a document id does not decode"))?;
                        let document = Document::new(self.name(), &id, &state);
                        Ok(Some(Marked { document, errors: schema.check(state.fields()) }))
                    });
                })?;
                found.extend(marked?);
            }
            Ok(found)
        })
    }

    /// As `get`, without what does not fit the schema.
    pub(crate) fn get_fitting(&self, id: &DocumentId) -> Result<Option<Document>, Error> {
        self.space().database().read(|engine| {
            let Some(facts) = self.facts(engine)? else { return Ok(None) };
            let state = engine.view.get(engine.storage.as_mut(), &facts, id)?;
            let fits = |state: &DocumentState| {
                state.visible() && facts.schema.as_ref().is_none_or(|schema| schema.fits(state.fields()))
            };
            Ok(state.filter(fits).map(|state| Document::new(self.name(), id, &state)))
        })
    }

    fn change_schema(&self, schema: Option<&Schema>) -> Result<u64, Error> {
        self.space().database().write(|engine| {
            let space = engine.present(&self.space().id())?.number;
            engine.set_schema(space, self.name(), schema)
        })
    }
}

impl Space {
    /// The collections that have a schema here.
    pub fn schemas(&self) -> Result<Vec<WithSchema>, Error> {
        self.database().read(|engine| {
            engine.present(&self.id())?;
            with_schema(engine, &self.id())
        })
    }
}

/// The collections of a loaded space that have a schema.
pub(crate) fn with_schema(engine: &mut Engine, space: &SpaceId) -> Result<Vec<WithSchema>, Error> {
    let number = engine.parts(space)?.1.number;
    engine.write_view()?;
    let mut found = Vec::new();
    for collection in Collections::names(engine.storage.as_ref(), number)? {
        let facts = engine.collections.get(engine.storage.as_ref(), number, &collection)?;
        let Some(facts) = facts else { continue };
        let Some(schema) = facts.schema.clone() else { continue };
        let marked = marks::count(engine.storage.as_ref(), facts.number)?;
        found.push(WithSchema { collection, schema, marked });
    }
    Ok(found)
}

impl Engine {
    /// Changes a schema and judges what is here again.
    pub(crate) fn set_schema(
        &mut self,
        space: u32,
        name: &str,
        schema: Option<&Schema>,
    ) -> Result<u64, Error> {
        self.write_view()?;
        let facts = self.collections.set_schema(self.storage.as_mut(), space, name, schema)?;
        let marked = marks::judge_all(self.storage.as_mut(), &facts)?;
        self.view.clear_clean();
        self.staged();
        Ok(marked)
    }

    /// Whether the documents of a loaded space would fit the schemas of their collections after these edits.
    pub(crate) fn check_fit<'b>(
        &mut self,
        space: &SpaceId,
        bodies: impl Iterator<Item = &'b DocumentBody>,
    ) -> Result<(), Error> {
        let number = self.parts(space)?.1.number;
        let mut last: Option<(&str, Option<Arc<CollectionFacts>>)> = None;
        // In the order in which they are first met, so that the first is told of.
        let (mut places, mut met) = (HashMap::new(), Vec::new());
        for edit in bodies.flat_map(|body| &body.edits) {
            let facts = match &last {
                Some((name, facts)) if *name == &*edit.collection => facts.clone(),
                _ => {
                    let facts = self.collections.get(self.storage.as_ref(), number, &edit.collection)?;
                    let facts = facts.filter(|facts| facts.schema.is_some());
                    last = Some((&edit.collection, facts.clone()));
                    facts
                }
            };
            let Some(facts) = facts else { continue };
            let place = match places.entry((facts.number, &edit.document)) {
                Entry::Occupied(place) => *place.get(),
                Entry::Vacant(place) => {
                    let state = self.view.get(self.storage.as_mut(), &facts, &edit.document)?;
                    met.push((facts, &edit.document, state.unwrap_or_default()));
                    *place.insert(met.len() - 1)
                }
            };
            if let Some((_, _, state)) = met.get_mut(place) {
                // Later than everything that has its effect here, as the commit will be.
                let time = state.updated().max(Timestamp(1));
                state.apply(time, AuthorId([0; 32]), &edit.operators);
            }
        }
        for (facts, id, state) in met {
            let Some(schema) = &facts.schema else { continue };
            if state.visible() && !schema.fits(state.fields()) {
                let errors = schema.check(state.fields());
                return Err(Error::Schema { collection: facts.name.to_string(), id: id.clone(), errors });
            }
        }
        Ok(())
    }
}
