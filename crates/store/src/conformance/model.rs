//! Random operations against a naive twin: maps that are copied whole at each commit.
//!
//! A test generates lists of `Operation`s (see `tests/store/model.rs`) and `run` compares every answer.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::{NUMBERS, WORDS, numbers, words};
use crate::storage::{Document, Key, Order, Storage, StorageError};

/// One call of the seam.
#[derive(Debug, Clone)]
pub enum Operation {
    /// `put` in the table with integer keys.
    PutNumber(u64, Vec<u8>),
    /// `remove` from it.
    RemoveNumber(u64),
    /// `range` over it.
    RangeNumbers(Bound<u64>, Bound<u64>, Order),
    /// `put` in the table with byte keys.
    PutWord(Vec<u8>, Vec<u8>),
    /// `remove` from it.
    RemoveWord(Vec<u8>),
    /// `range` over it.
    RangeWords(Bound<Vec<u8>>, Bound<Vec<u8>>, Order),
    /// `upsert`, at this number.
    Upsert(u64, Content),
    /// `remove_document`.
    RemoveDocument(u64),
    /// `scan` of a collection after a number.
    Scan(u64, Option<u64>),
    /// `commit`.
    Commit,
    /// `rollback`.
    Rollback,
}

/// A document without its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The number of its collection.
    pub collection: u64,
    /// Its id.
    pub id: String,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Its text.
    pub json: String,
    /// Its state.
    pub state: Vec<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    numbers: BTreeMap<u64, Vec<u8>>,
    words: BTreeMap<Vec<u8>, Vec<u8>>,
    documents: BTreeMap<u64, Content>,
}

/// The keys, given in ascending order, that lie between two bounds, in `order`.
pub fn between<K: Ord>(keys: impl Iterator<Item = K>, from: Bound<K>, to: Bound<K>, order: Order) -> Vec<K> {
    let after = |key: &K| match &from {
        Bound::Included(from) => key >= from,
        Bound::Excluded(from) => key > from,
        Bound::Unbounded => true,
    };
    let before = |key: &K| match &to {
        Bound::Included(to) => key <= to,
        Bound::Excluded(to) => key < to,
        Bound::Unbounded => true,
    };
    let mut keys: Vec<K> = keys.filter(|key| after(key) && before(key)).collect();
    if order == Order::Descending {
        keys.reverse();
    }
    keys
}

/// Does all operations on an empty storage and on the twin; panics when they differ.
pub fn run(storage: &mut dyn Storage, operations: &[Operation]) {
    let (mut now, mut committed) = (State::default(), State::default());
    for operation in operations {
        apply(storage, &mut now, operation);
        match operation {
            Operation::Commit => committed = now.clone(),
            Operation::Rollback => now = committed.clone(),
            _ => continue,
        }
        assert_eq!(dump(storage), now, "after {operation:?}");
    }
    assert_eq!(dump(storage), now, "at the end");
    storage.rollback().unwrap();
    assert_eq!(dump(storage), committed, "after the last rollback");
}

fn apply(storage: &mut dyn Storage, twin: &mut State, operation: &Operation) {
    match operation {
        Operation::PutNumber(key, value) => {
            storage.put(&NUMBERS, Key::U64(*key), value).unwrap();
            twin.numbers.insert(*key, value.clone());
            assert_eq!(storage.get(&NUMBERS, Key::U64(*key)).unwrap().as_ref(), Some(value));
        }
        Operation::RemoveNumber(key) => {
            assert_eq!(storage.get(&NUMBERS, Key::U64(*key)).unwrap(), twin.numbers.remove(key));
            storage.remove(&NUMBERS, Key::U64(*key)).unwrap();
        }
        Operation::RangeNumbers(from, to, order) => {
            let got = numbers(storage, &NUMBERS, *from, *to, *order);
            let expected = between(twin.numbers.keys().copied(), *from, *to, *order);
            assert_eq!(
                got,
                expected.into_iter().map(|key| (key, twin.numbers[&key].clone())).collect::<Vec<_>>()
            );
        }
        Operation::PutWord(key, value) => {
            storage.put(&WORDS, Key::Bytes(key), value).unwrap();
            twin.words.insert(key.clone(), value.clone());
            assert_eq!(storage.get(&WORDS, Key::Bytes(key)).unwrap().as_ref(), Some(value));
        }
        Operation::RemoveWord(key) => {
            assert_eq!(storage.get(&WORDS, Key::Bytes(key)).unwrap(), twin.words.remove(key));
            storage.remove(&WORDS, Key::Bytes(key)).unwrap();
        }
        Operation::RangeWords(from, to, order) => {
            let borrowed = |bound: &Bound<Vec<u8>>| bound.clone();
            let got =
                words(storage, from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice), *order);
            let expected = between(twin.words.keys().cloned(), borrowed(from), borrowed(to), *order);
            let value = |key: Vec<u8>| (key.clone(), twin.words[&key].clone());
            assert_eq!(got, expected.into_iter().map(value).collect::<Vec<_>>());
        }
        Operation::Upsert(number, content) => upsert(storage, twin, *number, content),
        Operation::RemoveDocument(number) => {
            storage.remove_document(*number).unwrap();
            twin.documents.remove(number);
        }
        Operation::Scan(collection, after) => {
            let expected = twin.documents.iter().filter(|(number, content)| {
                content.collection == *collection && after.is_none_or(|after| **number > after)
            });
            let expected: Vec<_> = expected.map(|(number, content)| (*number, content.clone())).collect();
            assert_eq!(scan(storage, *collection, *after), expected);
        }
        Operation::Commit => storage.commit().unwrap(),
        Operation::Rollback => storage.rollback().unwrap(),
    }
}

fn upsert(storage: &mut dyn Storage, twin: &mut State, number: u64, content: &Content) {
    let Content { collection, id, deleted, json, state } = content;
    let outcome =
        storage.upsert(&Document { number, collection: *collection, id, deleted: *deleted, json, state });
    let taken = twin
        .documents
        .iter()
        .any(|(other, there)| *other != number && there.collection == *collection && there.id == *id);
    if taken {
        assert!(matches!(outcome, Err(StorageError::Key { .. })), "{outcome:?}");
    } else {
        outcome.unwrap();
        twin.documents.insert(number, content.clone());
    }
    // By id, whoever has it now.
    let mut found = None;
    assert!(storage.document_by_id(*collection, id, &mut |document| found = Some(owned(document))).unwrap());
    assert_eq!(
        found.as_ref().map(|(number, _)| number),
        twin.documents.iter().find_map(|(number, there)| {
            (there.collection == *collection && there.id == *id).then_some(number)
        })
    );
}

fn owned(document: &Document<'_>) -> (u64, Content) {
    let content = Content {
        collection: document.collection,
        id: document.id.to_owned(),
        deleted: document.deleted,
        json: document.json.to_owned(),
        state: document.state.to_vec(),
    };
    (document.number, content)
}

fn scan(storage: &dyn Storage, collection: u64, after: Option<u64>) -> Vec<(u64, Content)> {
    let mut documents = Vec::new();
    let mut visit = |document: &Document<'_>| {
        documents.push(owned(document));
        ControlFlow::Continue(())
    };
    storage.scan(collection, after, &mut visit).unwrap();
    documents
}

// Everything, read the long way. Generated collections are 0 to 3.
fn dump(storage: &dyn Storage) -> State {
    let documents: BTreeMap<u64, Content> =
        (0..4).flat_map(|collection| scan(storage, collection, None)).collect();
    for number in documents.keys() {
        let mut found = None;
        assert!(storage.document(*number, &mut |document| found = Some(owned(document).1)).unwrap());
        assert_eq!(found.as_ref(), documents.get(number));
    }
    State {
        numbers: numbers(storage, &NUMBERS, Bound::Unbounded, Bound::Unbounded, Order::Ascending)
            .into_iter()
            .collect(),
        words: words(storage, Bound::Unbounded, Bound::Unbounded, Order::Ascending).into_iter().collect(),
        documents,
    }
}
