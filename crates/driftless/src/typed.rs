//! Documents as Rust values, through serde. A document that fits neither the type nor the
//! schema of its collection is skipped here and stays as it is.

use std::marker::PhantomData;

use driftless_core::document_id::DocumentId;
use driftless_core::filter::Filter;
use driftless_core::value::Map;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::collection::Collection;
use crate::error::Error;
use crate::transaction::{Insert, Written};

/// A collection whose documents are values of `T`.
#[derive(Debug, Clone)]
pub struct TypedCollection<T> {
    untyped: Collection,
    values: PhantomData<fn() -> T>,
}

impl Collection {
    /// The same collection with documents as Rust values.
    pub fn typed<T>(&self) -> TypedCollection<T> {
        TypedCollection { untyped: self.clone(), values: PhantomData }
    }
}

impl<T> TypedCollection<T> {
    /// The collection with documents as they are.
    pub fn untyped(&self) -> &Collection {
        &self.untyped
    }
}

impl<T: Serialize + DeserializeOwned> TypedCollection<T> {
    /// Inserts a value under a random id.
    pub fn insert(&self, value: &T) -> Result<Written, Error> {
        self.untyped.insert(fields(value)?)
    }

    /// Inserts a value. An error if a document with that id is there.
    pub fn insert_with(&self, value: &T, insert: Insert) -> Result<Written, Error> {
        self.untyped.insert_with(fields(value)?, insert)
    }

    /// Makes a document equal to a value by the smallest edit; inserts it if it is not there.
    pub fn save(&self, id: &DocumentId, value: &T) -> Result<Written, Error> {
        self.untyped.save(id, fields(value)?)
    }

    /// A value; `None` if it is not there, deleted, or does not fit `T` or the schema.
    pub fn get(&self, id: &DocumentId) -> Result<Option<T>, Error> {
        Ok(self.untyped.get_fitting(id)?.and_then(|document| document.fields.to_typed().ok()))
    }

    /// The values that match and fit `T` and the schema, with their ids.
    pub fn find(&self, filter: Filter) -> Result<Vec<(DocumentId, T)>, Error> {
        let found = self.untyped.find(filter).fitting_only().run()?;
        let fitting = found
            .into_iter()
            .filter_map(|document| Some((document.id.clone(), document.fields.to_typed().ok()?)));
        Ok(fitting.collect())
    }
}

fn fields<T: Serialize>(value: &T) -> Result<Map, Error> {
    Ok(Map::from_typed(value)?)
}
