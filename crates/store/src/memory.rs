//! The memory adapter: ordered maps and a journal that undoes them. For tests, documentation and scratch databases.
//!
//! It promises what the seam promises except durability: everything is gone when it is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use crate::storage::{
    Document, DocumentVisitor, ID_TAKEN, Key, KeyKind, Order, RowVisitor, Schema, Storage, StorageError,
    Table, number,
};

/// A storage in memory. A clone is another storage that holds the same.
#[derive(Debug, Clone)]
pub struct MemoryStorage {
    schema: Schema,
    // Keys of integer tables are eight big-endian bytes, which order like the integers.
    tables: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    documents: BTreeMap<u64, Row>,
    // By collection: numbers by id, and ids by number for scans in order.
    collections: BTreeMap<u64, Collection>,
    journal: Vec<Undo>,
}

#[derive(Debug, Clone, Default)]
struct Collection {
    numbers: BTreeMap<String, u64>,
    members: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
struct Row {
    collection: u64,
    id: String,
    deleted: bool,
    json: String,
    state: Vec<u8>,
}

// What stood there before one write.
#[derive(Debug, Clone)]
enum Undo {
    Value { position: usize, key: Vec<u8>, before: Option<Vec<u8>> },
    Document { number: u64, before: Option<Row> },
}

impl MemoryStorage {
    /// An empty storage with the tables of `schema`.
    pub fn new(schema: &Schema) -> Result<Self, StorageError> {
        schema.check()?;
        Ok(Self {
            schema: *schema,
            tables: schema.tables.iter().map(|_| BTreeMap::new()).collect(),
            documents: BTreeMap::new(),
            collections: BTreeMap::new(),
            journal: Vec::new(),
        })
    }

    /// Whether something was written since the last `commit`.
    pub fn is_changed(&self) -> bool {
        !self.journal.is_empty()
    }

    fn set(&mut self, position: usize, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let table = self.tables.get_mut(position)?;
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        }
    }

    fn set_document(&mut self, number: u64, row: Option<Row>) -> Option<Row> {
        let before = self.documents.remove(&number);
        if let Some(before) = &before
            && let Some(collection) = self.collections.get_mut(&before.collection)
        {
            collection.numbers.remove(&before.id);
            collection.members.remove(&number);
        }
        if let Some(row) = row {
            let collection = self.collections.entry(row.collection).or_default();
            collection.numbers.insert(row.id.clone(), number);
            collection.members.insert(number);
            self.documents.insert(number, row);
        }
        before
    }
}

impl Storage for MemoryStorage {
    fn get(&self, table: &Table, key: Key<'_>) -> Result<Option<Vec<u8>>, StorageError> {
        let position = self.schema.position(table, Some(key))?;
        let value = with_bytes(key, |key| self.tables.get(position).and_then(|table| table.get(key)));
        Ok(value.cloned())
    }

    fn put(&mut self, table: &Table, key: Key<'_>, value: &[u8]) -> Result<(), StorageError> {
        let position = self.schema.position(table, Some(key))?;
        let key = with_bytes(key, <[u8]>::to_vec);
        let before = self.set(position, key.clone(), Some(value.to_vec()));
        self.journal.push(Undo::Value { position, key, before });
        Ok(())
    }

    fn remove(&mut self, table: &Table, key: Key<'_>) -> Result<(), StorageError> {
        let position = self.schema.position(table, Some(key))?;
        let key = with_bytes(key, <[u8]>::to_vec);
        let before = self.set(position, key.clone(), None);
        self.journal.push(Undo::Value { position, key, before });
        Ok(())
    }

    fn range(
        &self,
        table: &Table,
        from: Bound<Key<'_>>,
        to: Bound<Key<'_>>,
        order: Order,
        visit: &mut RowVisitor<'_>,
    ) -> Result<(), StorageError> {
        let position = self.schema.position(table, inner(from))?;
        self.schema.position(table, inner(to))?;
        let Some(rows) = self.tables.get(position).filter(|_| !crossed(from, to)) else { return Ok(()) };
        let owned = |bound: Bound<Key<'_>>| bound.map(|key| with_bytes(key, <[u8]>::to_vec));
        let mut rows = rows.range::<[u8], _>((
            owned(from).as_ref().map(Vec::as_slice),
            owned(to).as_ref().map(Vec::as_slice),
        ));
        let next = || match order {
            Order::Ascending => rows.next(),
            Order::Descending => rows.next_back(),
        };
        for (key, value) in std::iter::from_fn(next) {
            let key = match table.key {
                KeyKind::U64 => Key::U64(key.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))),
                KeyKind::Bytes => Key::Bytes(key),
            };
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    // Nothing reads it back through the seam, and nobody opens memory with another program.
    fn declare_collection(&mut self, collection: u64, _space: &str, _name: &str) -> Result<(), StorageError> {
        number(collection).map(|_| ())
    }

    fn upsert(&mut self, document: &Document<'_>) -> Result<(), StorageError> {
        document.check()?;
        let numbers = self.collections.get(&document.collection).map(|collection| &collection.numbers);
        let holder = numbers.and_then(|numbers| numbers.get(document.id));
        if holder.is_some_and(|holder| *holder != document.number) {
            return Err(ID_TAKEN);
        }
        let row = Row {
            collection: document.collection,
            id: document.id.to_owned(),
            deleted: document.deleted,
            json: document.json.to_owned(),
            state: document.state.to_vec(),
        };
        let before = self.set_document(document.number, Some(row));
        self.journal.push(Undo::Document { number: document.number, before });
        Ok(())
    }

    fn remove_document(&mut self, number: u64) -> Result<(), StorageError> {
        crate::storage::number(number)?;
        let before = self.set_document(number, None);
        self.journal.push(Undo::Document { number, before });
        Ok(())
    }

    fn document(&self, number: u64, visit: &mut dyn FnMut(&Document<'_>)) -> Result<bool, StorageError> {
        crate::storage::number(number)?;
        let row = self.documents.get(&number);
        Ok(row.map(|row| visit(&row.document(number))).is_some())
    }

    fn document_by_id(
        &self,
        collection: u64,
        id: &str,
        visit: &mut dyn FnMut(&Document<'_>),
    ) -> Result<bool, StorageError> {
        number(collection)?;
        let found = self.collections.get(&collection).and_then(|collection| collection.numbers.get(id));
        found.map_or(Ok(false), |number| self.document(*number, visit))
    }

    fn scan(
        &self,
        collection: u64,
        after: Option<u64>,
        visit: &mut DocumentVisitor<'_>,
    ) -> Result<(), StorageError> {
        number(collection)?;
        number(after.unwrap_or(0))?;
        let Some(collection) = self.collections.get(&collection) else { return Ok(()) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for number in collection.members.range((from, Bound::Unbounded)).copied() {
            let flow = self.documents.get(&number).map(|row| visit(&row.document(number)));
            if flow == Some(ControlFlow::Break(())) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        self.journal.clear();
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), StorageError> {
        // Last write first: each undo restores what stood there just before its write.
        while let Some(undo) = self.journal.pop() {
            match undo {
                Undo::Value { position, key, before } => drop(self.set(position, key, before)),
                Undo::Document { number, before } => drop(self.set_document(number, before)),
            }
        }
        Ok(())
    }

    fn refresh(&mut self) -> Result<bool, StorageError> {
        Ok(false)
    }

    fn size(&self) -> Result<u64, StorageError> {
        Ok(0)
    }
}

impl Row {
    fn document(&self, number: u64) -> Document<'_> {
        Document {
            number,
            collection: self.collection,
            id: &self.id,
            deleted: self.deleted,
            json: &self.json,
            state: &self.state,
        }
    }
}

fn with_bytes<T>(key: Key<'_>, use_it: impl FnOnce(&[u8]) -> T) -> T {
    match key {
        Key::U64(number) => use_it(&number.to_be_bytes()),
        Key::Bytes(bytes) => use_it(bytes),
    }
}

fn inner(bound: Bound<Key<'_>>) -> Option<Key<'_>> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

// `BTreeMap::range` panics on these; for the seam they are empty ranges.
fn crossed(from: Bound<Key<'_>>, to: Bound<Key<'_>>) -> bool {
    match (inner(from), inner(to)) {
        (Some(from_key), Some(to_key)) if from_key == to_key => {
            !matches!((from, to), (Bound::Included(_), Bound::Included(_)))
        }
        (Some(from), Some(to)) => from > to,
        _ => false,
    }
}
