//! A collection across several spaces: what share policies put apart is found together, and each document says where it is.
//!
//! Each look is one look at the database: a document that moves between two of the spaces is seen once, never twice.

use std::collections::BTreeSet;

use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::filter::Filter;
use driftless_core::id::SpaceId;
use driftless_core::query::Sort;
use driftless_core::value::Map;

use crate::collection::Collection;
use crate::database::Database;
use crate::error::Error;
use crate::share::states_of;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::transaction::{Insert, Written};

/// Several spaces, or all that the user may read.
#[derive(Debug, Clone)]
pub struct Across {
    database: Database,
    spaces: Option<Vec<SpaceId>>,
}

/// The collections of one name in several spaces.
#[derive(Debug, Clone)]
pub struct AcrossCollection {
    across: Across,
    name: String,
}

/// A document, and the space in which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// `_space`
    pub space: SpaceId,
    /// The document.
    pub document: Document,
}

/// Choices for an insert across spaces.
#[derive(Debug, Clone, Default)]
pub struct Placing {
    /// The id. If left unset, 16 random bytes.
    pub id: Option<DocumentId>,
    /// The document that this one belongs under.
    pub parent: Option<DocumentId>,
    /// Where it goes. If left unset, to where its parent is; an error if it has none.
    pub space: Option<SpaceId>,
}

/// A search across spaces, not yet run.
#[derive(Debug, Clone)]
pub struct AcrossQuery {
    collection: AcrossCollection,
    filter: Filter,
    sort: Option<Sort>,
    limit: usize,
    skip: usize,
    deleted: bool,
}

impl Database {
    /// These spaces together, in this order.
    pub fn across(&self, spaces: &[SpaceId]) -> Across {
        let mut seen = BTreeSet::new();
        let spaces = spaces.iter().copied().filter(|space| seen.insert(*space)).collect();
        Across { database: self.clone(), spaces: Some(spaces) }
    }

    /// All spaces here that the user of this handle may read, whenever it is asked.
    pub fn across_all(&self) -> Across {
        Across { database: self.clone(), spaces: None }
    }
}

impl Across {
    /// The spaces, as of now.
    pub fn spaces(&self) -> Result<Vec<SpaceId>, Error> {
        self.database.read(|engine| self.spaces_in(engine))
    }

    /// The collections of one name.
    pub fn collection(&self, name: &str) -> Result<AcrossCollection, Error> {
        // Says whether the name is one.
        Space::new(self.database.clone(), SpaceId([0; 32])).collection(name)?;
        Ok(AcrossCollection { across: self.clone(), name: name.to_owned() })
    }

    fn spaces_in(&self, engine: &mut Engine) -> Result<Vec<SpaceId>, Error> {
        if let Some(spaces) = &self.spaces {
            for space in spaces {
                engine.present(space)?;
            }
            return Ok(spaces.clone());
        }
        let keys = engine.own_keys();
        let mut found = Vec::new();
        for space in engine.summaries()?.into_iter().map(|summary| summary.id) {
            // A device that another space lets in reads before it has entered.
            if engine.present(&space)?.rules.may_read(&keys) || engine.could_enrol(&space)? {
                found.push(space);
            }
        }
        Ok(found)
    }
}

impl AcrossCollection {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The documents that match in any of the spaces; sort, limit and skip follow.
    pub fn find(&self, filter: Filter) -> AcrossQuery {
        let collection = self.clone();
        AcrossQuery { collection, filter, sort: None, limit: usize::MAX, skip: 0, deleted: false }
    }

    /// How many documents match.
    pub fn count(&self, filter: Filter) -> Result<u64, Error> {
        self.find(filter).count()
    }

    /// A document, wherever it is; `None` if it is nowhere, or deleted. Where it is in several spaces, the one that was
    /// changed last.
    pub fn get(&self, id: &DocumentId) -> Result<Option<Placed>, Error> {
        self.across.database.read(|engine| {
            let mut found: Option<Placed> = None;
            for collection in self.collections(engine)? {
                let Some(facts) = collection.facts(engine)? else { continue };
                let state = engine.view.get(engine.storage.as_mut(), &facts, id)?;
                let Some(state) = state.filter(|state| state.visible()) else { continue };
                let next = placed(&collection, Document::new(&self.name, id, &state));
                let is_later = |found: &Placed| {
                    (found.document.updated, std::cmp::Reverse(found.space))
                        < (next.document.updated, std::cmp::Reverse(next.space))
                };
                if found.as_ref().is_none_or(is_later) {
                    found = Some(next);
                }
            }
            Ok(found)
        })
    }

    /// Inserts a document where its parent is, or where it is told to go.
    pub fn insert(&self, fields: Map, placing: Placing) -> Result<(SpaceId, Written), Error> {
        let Placing { id, parent, space } = placing;
        let database = &self.across.database;
        let space = match (space, &parent) {
            (Some(space), _) => space,
            (None, Some(parent)) => database.read(|engine| self.home_of(engine, parent))?,
            (None, None) => {
                let why = "a document without a parent goes to a space that is named: which one?";
                return Err(Error::Invalid(why.into()));
            }
        };
        let collection = Space::new(database.clone(), space).collection(&self.name)?;
        Ok((space, collection.insert_with(fields, Insert { id, parent })?))
    }

    fn home_of(&self, engine: &mut Engine, parent: &DocumentId) -> Result<SpaceId, Error> {
        let mut homes = Vec::new();
        for space in self.across.spaces_in(engine)? {
            let there = Space::new(self.across.database.clone(), space);
            if !states_of(engine, &there, parent)?.is_empty() {
                homes.push(space);
            }
        }
        match homes.as_slice() {
            [home] => Ok(*home),
            [] => Err(Error::not_found("document", parent)),
            _ => Err(Error::Ambiguous { what: "document", name: parent.to_string() }),
        }
    }

    fn collections(&self, engine: &mut Engine) -> Result<Vec<Collection>, Error> {
        let spaces = self.across.spaces_in(engine)?.into_iter();
        spaces.map(|space| Space::new(self.across.database.clone(), space).collection(&self.name)).collect()
    }
}

impl AcrossQuery {
    /// The order; ties are in order of document ids, then of spaces. If left unset, space by space, as documents came.
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

    /// The documents.
    pub fn run(&self) -> Result<Vec<Placed>, Error> {
        let most = self.limit.saturating_add(self.skip);
        self.collection.across.database.read(|engine| {
            let mut found: Vec<Placed> = Vec::new();
            for collection in self.collection.collections(engine)? {
                // Of a sorted result each space may give all; without an order the first spaces may be enough.
                let left = if self.sort.is_some() { most } else { most - found.len() };
                if left == 0 {
                    break;
                }
                let mut query = collection.find(self.filter.clone()).limit(left);
                query = if self.deleted { query.include_deleted() } else { query };
                query = match &self.sort {
                    Some(sort) => query.sort(sort.clone()),
                    None => query,
                };
                found.extend(query.run_in(engine)?.into_iter().map(|document| placed(&collection, document)));
            }
            if let Some(sort) = &self.sort {
                found.sort_by(|a, b| {
                    let order = sort.compare(&a.document.subject(), &b.document.subject());
                    order.then_with(|| a.space.cmp(&b.space))
                });
            }
            Ok(found.into_iter().skip(self.skip).take(self.limit).collect())
        })
    }

    /// How many there are, without limit and skip.
    pub fn count(&self) -> Result<u64, Error> {
        self.collection.across.database.read(|engine| {
            let mut count = 0;
            for collection in self.collection.collections(engine)? {
                let query = collection.find(self.filter.clone());
                let query = if self.deleted { query.include_deleted() } else { query };
                query.each_in(engine, &mut |_, _| {
                    count += 1;
                    std::ops::ControlFlow::Continue(())
                })?;
            }
            Ok(count)
        })
    }
}

impl Placed {
    /// The JSON on one line: `_space`, then the document.
    pub fn to_json(&self) -> String {
        let document = self.document.to_json();
        format!("{{\"_space\":\"{}\",{}", self.space, document.get(1..).unwrap_or_default())
    }
}

fn placed(collection: &Collection, document: Document) -> Placed {
    Placed { space: collection.space().id(), document }
}
