//! Collections, their secondary indexes and schemas: names, local numbers, paths. Local to this database, never sent.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use driftless_core::filter::FieldPath;
use driftless_core::id::SpaceId;
use driftless_store::{Key, Order, Storage};

use crate::error::Error;
use crate::schema::Schema;
use crate::tables::layout::{self, key};
use crate::tables::stored::{Stored, index_keys, read_stored};

/// A named set of documents in a space, as this database knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CollectionFacts {
    pub number: u64,
    pub space: u32,
    pub name: Arc<str>,
    pub indexes: Vec<IndexFacts>,
    pub schema: Option<Schema>,
}

/// An index on one path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IndexFacts {
    pub number: u64,
    pub path: FieldPath,
}

/// The collections that were met so far, and the next free numbers.
#[derive(Debug, Default)]
pub(crate) struct Collections {
    known: HashMap<(u32, String), Arc<CollectionFacts>>,
    next: u64,
    next_index: u64,
}

// Collections kept in memory: a hostile commit can name thousands.
const KNOWN: usize = 4096;

impl Collections {
    pub(crate) fn new(next: u64, next_index: u64) -> Self {
        Self { known: HashMap::new(), next: next.max(1), next_index: next_index.max(1) }
    }

    /// The next free collection number and index number, for storage.
    pub(crate) fn next_numbers(&self) -> [u64; 2] {
        [self.next, self.next_index]
    }

    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }

    /// The collection, if any document or index of it was ever made here.
    pub(crate) fn get(
        &mut self,
        storage: &dyn Storage,
        space: u32,
        name: &str,
    ) -> Result<Option<Arc<CollectionFacts>>, Error> {
        if let Some(facts) = self.known.get(&(space, name.to_owned())) {
            return Ok(Some(facts.clone()));
        }
        let Some(bytes) = storage.get(&layout::COLLECTION, name_key(space, name).as_slice().into())? else {
            return Ok(None);
        };
        let number = number(&bytes)?;
        self.remember(storage, number, space, name).map(Some)
    }

    /// The collection, made if it is new.
    pub(crate) fn ensure(
        &mut self,
        storage: &mut dyn Storage,
        space: u32,
        name: &str,
    ) -> Result<Arc<CollectionFacts>, Error> {
        if let Some(facts) = self.get(storage, space, name)? {
            return Ok(facts);
        }
        let number = self.next;
        self.next += 1;
        storage.put(&layout::COLLECTION, name_key(space, name).as_slice().into(), &number.to_be_bytes())?;
        let id = space_id(storage, space)?;
        storage.declare_collection(number, &id.to_string(), name)?;
        self.remember(storage, number, space, name)
    }

    /// Makes an index over `path` and fills it; `false` if it is there already.
    pub(crate) fn create_index(
        &mut self,
        storage: &mut dyn Storage,
        space: u32,
        name: &str,
        path: FieldPath,
    ) -> Result<bool, Error> {
        let facts = self.ensure(storage, space, name)?;
        if facts.indexes.iter().any(|index| index.path == path) {
            return Ok(false);
        }
        let index = self.next_index;
        self.next_index += 1;
        let mut at = key([facts.number]);
        at.extend_from_slice(path.to_string().as_bytes());
        storage.put(&layout::INDEX, at.as_slice().into(), &index.to_be_bytes())?;
        let (mut after, mut failed) = (None, None);
        loop {
            let mut keys = Vec::new();
            let mut seen = 0;
            storage.scan(facts.number, after, &mut |stored| {
                match read_stored(stored) {
                    Ok(Stored { state, .. }) => keys.extend(index_keys(
                        index,
                        stored.number,
                        state.exists().then_some(state.fields()),
                        &path,
                    )),
                    Err(error) => failed = Some(error),
                }
                after = Some(stored.number);
                seen += 1;
                if seen == 1000 || failed.is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            for key in keys {
                storage.put(&layout::INDEX_VALUE, key.as_slice().into(), &[])?;
            }
            if seen < 1000 {
                break;
            }
        }
        self.known.remove(&(space, name.to_owned()));
        Ok(true)
    }

    /// Gives a collection a schema, or takes it away. What is here has to be judged again.
    pub(crate) fn set_schema(
        &mut self,
        storage: &mut dyn Storage,
        space: u32,
        name: &str,
        schema: Option<&Schema>,
    ) -> Result<Arc<CollectionFacts>, Error> {
        let number = self.ensure(storage, space, name)?.number;
        match schema {
            Some(schema) => {
                storage.put(
                    &layout::COLLECTION_SCHEMA,
                    key([number]).as_slice().into(),
                    schema.as_json().as_bytes(),
                )?;
            }
            None => storage.remove(&layout::COLLECTION_SCHEMA, key([number]).as_slice().into())?,
        }
        self.known.remove(&(space, name.to_owned()));
        self.remember(storage, number, space, name)
    }

    /// The names of all collections of a space.
    pub(crate) fn names(storage: &dyn Storage, space: u32) -> Result<Vec<String>, Error> {
        let (lower, upper) = (space.to_be_bytes(), (space + 1).to_be_bytes());
        let mut names = Vec::new();
        let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Excluded(Key::Bytes(&upper)));
        storage.range(&layout::COLLECTION, lower, upper, Order::Ascending, &mut |key, _| {
            if let Key::Bytes(bytes) = key {
                names.extend(bytes.get(4..).and_then(|name| String::from_utf8(name.to_vec()).ok()));
            }
            ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    fn remember(
        &mut self,
        storage: &dyn Storage,
        number: u64,
        space: u32,
        name: &str,
    ) -> Result<Arc<CollectionFacts>, Error> {
        let (lower, upper) = (key([number]), key([number.saturating_add(1)]));
        let (mut indexes, mut damaged) = (Vec::new(), false);
        let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Excluded(Key::Bytes(&upper)));
        storage.range(&layout::INDEX, lower, upper, Order::Ascending, &mut |key, value| {
            let Key::Bytes(bytes) = key else { return ControlFlow::Break(()) };
            let path =
                bytes.get(8..).and_then(|path| std::str::from_utf8(path).ok()).map(str::parse::<FieldPath>);
            match (path, self::number(value)) {
                (Some(Ok(path)), Ok(number)) => indexes.push(IndexFacts { number, path }),
                _ => damaged = true,
            }
            ControlFlow::Continue(())
        })?;
        if damaged {
            return Err(Error::damaged("an index row does not decode"));
        }
        if self.known.len() == KNOWN {
            self.known.clear();
        }
        let schema = storage
            .get(&layout::COLLECTION_SCHEMA, key([number]).as_slice().into())?
            .map(|row| read_schema(&row))
            .transpose()?;
        let facts = Arc::new(CollectionFacts { number, space, name: name.into(), indexes, schema });
        self.known.insert((space, name.to_owned()), facts.clone());
        Ok(facts)
    }
}

/// The id of the space with a local number, by its row.
pub(crate) fn space_id(storage: &dyn Storage, space: u32) -> Result<SpaceId, Error> {
    let row = storage.get(&layout::SPACE, u64::from(space).into())?;
    row.and_then(|row| row.first_chunk().copied())
        .map(SpaceId)
        .ok_or_else(|| Error::damaged("a space row is missing"))
}

fn name_key(space: u32, name: &str) -> Vec<u8> {
    let mut key = space.to_be_bytes().to_vec();
    key.extend_from_slice(name.as_bytes());
    key
}

/// A schema as it is stored.
pub(crate) fn read_schema(row: &[u8]) -> Result<Schema, Error> {
    let schema = std::str::from_utf8(row).ok().and_then(|text| Schema::json(text).ok());
    schema.ok_or_else(|| Error::damaged("a schema row does not decode"))
}

pub(crate) fn number(bytes: &[u8]) -> Result<u64, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::damaged("a number row does not decode"))?;
    Ok(u64::from_be_bytes(bytes))
}
