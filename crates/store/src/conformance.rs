//! What every adapter must do, as functions that panic when it does not. For tests of adapters only.
//!
//! Each takes a factory of empty storages opened with `SCHEMA`; `all` calls every one. `model` drives random operations
//! against a naive twin. Durability, locks and files differ between adapters and are tested beside them.

pub mod model;

use std::ops::{Bound, ControlFlow};

use crate::storage::{Document, Key, KeyKind, Order, Schema, Storage, StorageError, Table};

use Bound::{Excluded, Included, Unbounded};

/// A table with integer keys.
pub const NUMBERS: Table = Table { position: 0, name: "numbers", key: KeyKind::U64 };
/// A table with byte keys.
pub const WORDS: Table = Table { position: 1, name: "words", key: KeyKind::Bytes };
/// A second table with integer keys; its name is a word of SQL.
pub const ORDER: Table = Table { position: 2, name: "order", key: KeyKind::U64 };
/// The tables that the functions here use.
pub const SCHEMA: Schema = Schema { version: 7, tables: &[NUMBERS, WORDS, ORDER] };

/// Makes an empty storage with the tables of `SCHEMA`.
pub type Factory<'f> = &'f dyn Fn() -> Box<dyn Storage>;

/// Calls every function of this file.
pub fn all(make: Factory<'_>) {
    a_value_put_is_got_until_it_is_replaced_or_removed(make);
    tables_do_not_mix(make);
    values_may_be_empty_or_large(make);
    integer_keys_order_as_numbers(make);
    byte_keys_order_as_bytes(make);
    every_pair_of_bounds_is_honoured(make);
    a_visitor_stops_when_it_breaks_and_may_read(make);
    a_key_that_cannot_be_is_refused_and_harms_nothing(make);
    rollback_restores_everything(make);
    commit_keeps_and_a_commit_of_nothing_is_nothing(make);
    documents_are_found_by_number_and_by_id(make);
    an_id_has_one_number_in_a_collection(make);
    a_document_may_move_to_another_id_and_collection(make);
    a_scan_ascends_through_one_collection(make);
    texts_come_back_as_they_were(make);
    many_at_once_are_the_same_as_one_by_one(make);
}

type Rows<K> = Vec<(K, Vec<u8>)>;

/// The rows of `NUMBERS` or `ORDER` between two bounds.
pub fn numbers(
    storage: &dyn Storage,
    table: &Table,
    from: Bound<u64>,
    to: Bound<u64>,
    order: Order,
) -> Rows<u64> {
    let mut rows = Vec::new();
    let mut visit = |key: Key<'_>, value: &[u8]| {
        let Key::U64(key) = key else { panic!("a row of {} has a key of bytes", table.name) };
        rows.push((key, value.to_vec()));
        ControlFlow::Continue(())
    };
    storage.range(table, from.map(Key::U64), to.map(Key::U64), order, &mut visit).unwrap();
    rows
}

/// The rows of `WORDS` between two bounds.
pub fn words(storage: &dyn Storage, from: Bound<&[u8]>, to: Bound<&[u8]>, order: Order) -> Rows<Vec<u8>> {
    let mut rows = Vec::new();
    let mut visit = |key: Key<'_>, value: &[u8]| {
        let Key::Bytes(key) = key else { panic!("a row of words has a number as its key") };
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    storage.range(&WORDS, from.map(Key::Bytes), to.map(Key::Bytes), order, &mut visit).unwrap();
    rows
}

/// The numbers and ids that a scan visits.
pub fn scanned(storage: &dyn Storage, collection: u64, after: Option<u64>) -> Vec<(u64, String)> {
    let mut seen = Vec::new();
    let mut visit = |document: &Document<'_>| {
        assert_eq!(document.collection, collection);
        seen.push((document.number, document.id.to_owned()));
        ControlFlow::Continue(())
    };
    storage.scan(collection, after, &mut visit).unwrap();
    seen
}

fn document(number: u64, collection: u64, id: &str) -> Document<'_> {
    Document { number, collection, id, deleted: false, json: r#"{"a":1}"#, state: b"state" }
}

fn assert_document(storage: &dyn Storage, expected: &Document<'_>) {
    let mut visits = 0;
    let mut visit = |found: &Document<'_>| {
        assert_eq!(found, expected);
        visits += 1;
    };
    assert!(storage.document(expected.number, &mut visit).unwrap());
    assert!(storage.document_by_id(expected.collection, expected.id, &mut visit).unwrap());
    assert_eq!(visits, 2);
}

fn assert_no_document(storage: &dyn Storage, number: u64, collection: u64, id: &str) {
    let mut visit = |found: &Document<'_>| panic!("found {found:?}");
    assert!(!storage.document(number, &mut visit).unwrap());
    assert!(!storage.document_by_id(collection, id, &mut visit).unwrap());
}

fn a_value_put_is_got_until_it_is_replaced_or_removed(make: Factory<'_>) {
    let mut storage = make();
    for (table, key) in [(&NUMBERS, Key::from(7)), (&WORDS, Key::from(b"seven"))] {
        assert_eq!(storage.get(table, key).unwrap(), None);
        storage.put(table, key, b"one").unwrap();
        assert_eq!(storage.get(table, key).unwrap().as_deref(), Some(&b"one"[..]));
        storage.put(table, key, b"two").unwrap();
        assert_eq!(storage.get(table, key).unwrap().as_deref(), Some(&b"two"[..]));
        storage.remove(table, key).unwrap();
        storage.remove(table, key).unwrap();
        assert_eq!(storage.get(table, key).unwrap(), None);
    }
}

fn tables_do_not_mix(make: Factory<'_>) {
    let mut storage = make();
    storage.put(&NUMBERS, 1.into(), b"numbers").unwrap();
    storage.put(&ORDER, 1.into(), b"order").unwrap();
    storage.remove(&ORDER, 1.into()).unwrap();
    assert_eq!(storage.get(&NUMBERS, 1.into()).unwrap().as_deref(), Some(&b"numbers"[..]));
    assert_eq!(numbers(&*storage, &ORDER, Unbounded, Unbounded, Order::Ascending), []);
}

fn values_may_be_empty_or_large(make: Factory<'_>) {
    let mut storage = make();
    let large: Vec<u8> = (0..1024 * 1024).map(|at: u32| (at % 251) as u8).collect();
    for (key, value) in [(1, Vec::new()), (2, large)] {
        storage.put(&NUMBERS, key.into(), &value).unwrap();
        storage.put(&WORDS, Key::Bytes(&key.to_be_bytes()), &value).unwrap();
        storage.commit().unwrap();
        assert!(storage.get(&NUMBERS, key.into()).unwrap().is_some_and(|got| got == value));
        assert!(storage.get(&WORDS, Key::Bytes(&key.to_be_bytes())).unwrap().is_some_and(|got| got == value));
    }
}

fn integer_keys_order_as_numbers(make: Factory<'_>) {
    let mut storage = make();
    let ascending =
        [0, 1, 9, 10, 255, 256, 65_536, u64::from(u32::MAX), i64::MAX as u64 - 1, i64::MAX as u64];
    for key in ascending.iter().rev() {
        storage.put(&NUMBERS, (*key).into(), &key.to_be_bytes()).unwrap();
    }
    let mut expected: Rows<u64> = ascending.map(|key| (key, key.to_be_bytes().to_vec())).into();
    assert_eq!(numbers(&*storage, &NUMBERS, Unbounded, Unbounded, Order::Ascending), expected);
    expected.reverse();
    assert_eq!(numbers(&*storage, &NUMBERS, Unbounded, Unbounded, Order::Descending), expected);
}

fn byte_keys_order_as_bytes(make: Factory<'_>) {
    let mut storage = make();
    let ascending: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"\0\xff", b"A", b"a", b"a\0", b"\xff\xff"];
    for key in ascending.iter().rev() {
        storage.put(&WORDS, Key::Bytes(key), key).unwrap();
    }
    let mut expected: Rows<Vec<u8>> = ascending.map(|key| (key.to_vec(), key.to_vec())).into();
    assert_eq!(words(&*storage, Unbounded, Unbounded, Order::Ascending), expected);
    expected.reverse();
    assert_eq!(words(&*storage, Unbounded, Unbounded, Order::Descending), expected);
}

// Every bound of every kind at keys that are there, that are not, and at the ends, in both orders; crossed ones too.
fn every_pair_of_bounds_is_honoured(make: Factory<'_>) {
    fn bounds<K: Copy>(keys: &[K]) -> Vec<Bound<K>> {
        keys.iter().flat_map(|key| [Included(*key), Excluded(*key)]).chain([Unbounded]).collect()
    }
    let mut storage = make();
    let (there, ends) = ([0, 2, 4, i64::MAX as u64], [0, 1, 2, 3, 4, i64::MAX as u64 - 1, i64::MAX as u64]);
    for key in there {
        storage.put(&NUMBERS, key.into(), b"").unwrap();
    }
    let (words_there, word_ends): ([&[u8]; 4], [&[u8]; 6]) =
        ([b"", b"b", b"b\0", b"\xff"], [b"", b"a", b"b", b"b\0", b"b\0\0", b"\xff"]);
    for key in words_there {
        storage.put(&WORDS, key.into(), b"").unwrap();
    }
    for order in [Order::Ascending, Order::Descending] {
        for (from, to) in
            bounds(&ends).iter().flat_map(|from| bounds(&ends).into_iter().map(move |to| (*from, to)))
        {
            let got = numbers(&*storage, &NUMBERS, from, to, order);
            let expected = model::between(there.into_iter(), from, to, order);
            assert_eq!(
                got.into_iter().map(|(key, _)| key).collect::<Vec<_>>(),
                expected,
                "{from:?} {to:?} {order:?}"
            );
        }
        let ends = bounds(&word_ends);
        for (from, to) in ends.iter().flat_map(|from| ends.iter().map(move |to| (*from, *to))) {
            let got = words(&*storage, from, to, order);
            let expected = model::between(words_there.into_iter(), from, to, order);
            assert_eq!(
                got.into_iter().map(|(key, _)| key).collect::<Vec<_>>(),
                expected,
                "{from:?} {to:?} {order:?}"
            );
        }
    }
}

fn a_visitor_stops_when_it_breaks_and_may_read(make: Factory<'_>) {
    let mut storage = make();
    for key in 0..10u64 {
        storage.put(&NUMBERS, key.into(), &[key as u8]).unwrap();
        storage.upsert(&document(key, 1, &key.to_string())).unwrap();
    }
    let storage = &*storage;
    let mut seen = Vec::new();
    let mut visit = |key: Key<'_>, value: &[u8]| {
        // The very same questions, asked while one of them is being answered.
        assert_eq!(storage.get(&NUMBERS, key).unwrap().as_deref(), Some(value));
        assert_eq!(numbers(storage, &NUMBERS, Unbounded, Unbounded, Order::Descending).len(), 10);
        seen.push(key == Key::U64(6));
        if seen.len() == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    storage.range(&NUMBERS, Unbounded, Unbounded, Order::Descending, &mut visit).unwrap();
    assert_eq!(seen, [false, false, false, true]);

    let mut documents = 0;
    let mut visit = |document: &Document<'_>| {
        assert_document(storage, document);
        assert_eq!(scanned(storage, 1, None).len(), 10);
        documents += 1;
        if documents == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    storage.scan(1, None, &mut visit).unwrap();
    assert_eq!(documents, 3);
}

fn a_key_that_cannot_be_is_refused_and_harms_nothing(make: Factory<'_>) {
    fn refused<T>(outcome: Result<T, StorageError>) {
        assert!(matches!(outcome, Err(StorageError::Key { .. })));
    }
    let mut storage = make();
    storage.put(&NUMBERS, 1.into(), b"before").unwrap();
    let too_large = Key::U64(i64::MAX as u64 + 1);
    let stranger = Table { position: 3, name: "stranger", key: KeyKind::U64 };
    let impostor = Table { position: 0, name: "words", key: KeyKind::U64 };
    for (table, key) in [
        (&NUMBERS, too_large),
        (&NUMBERS, Key::Bytes(b"1")),
        (&WORDS, Key::U64(1)),
        (&stranger, Key::U64(1)),
        (&impostor, Key::U64(1)),
    ] {
        let mut never = |_: Key<'_>, _: &[u8]| panic!("visited a row of a range that cannot be");
        refused(storage.get(table, key));
        refused(storage.put(table, key, b"x"));
        refused(storage.remove(table, key));
        refused(storage.range(table, Included(key), Unbounded, Order::Ascending, &mut never));
        refused(storage.range(table, Unbounded, Excluded(key), Order::Ascending, &mut never));
    }
    let number = i64::MAX as u64 + 1;
    refused(storage.upsert(&document(number, 1, "a")));
    refused(storage.upsert(&document(1, number, "a")));
    refused(storage.remove_document(number));
    refused(storage.document(number, &mut |_| {}));
    refused(storage.document_by_id(number, "a", &mut |_| {}));
    refused(storage.scan(number, None, &mut |_| ControlFlow::Continue(())));
    refused(storage.scan(1, Some(number), &mut |_| ControlFlow::Continue(())));
    refused(storage.declare_collection(number, "space", "name"));

    storage.put(&NUMBERS, 2.into(), b"after").unwrap();
    storage.commit().unwrap();
    assert_eq!(numbers(&*storage, &NUMBERS, Unbounded, Unbounded, Order::Ascending).len(), 2);
    assert_eq!(scanned(&*storage, 1, None), []);
}

fn rollback_restores_everything(make: Factory<'_>) {
    let mut storage = make();
    storage.rollback().unwrap();
    storage.put(&NUMBERS, 1.into(), b"kept").unwrap();
    storage.put(&NUMBERS, 2.into(), b"kept").unwrap();
    storage.put(&WORDS, b"word".into(), b"kept").unwrap();
    for (number, id) in [(1, "a"), (2, "b")] {
        storage.upsert(&document(number, 1, id)).unwrap();
    }
    storage.commit().unwrap();

    storage.put(&NUMBERS, 1.into(), b"new").unwrap();
    storage.put(&NUMBERS, 1.into(), b"newer").unwrap();
    storage.remove(&NUMBERS, 2.into()).unwrap();
    storage.put(&NUMBERS, 3.into(), b"new").unwrap();
    storage.remove(&WORDS, b"word".into()).unwrap();
    storage.put(&WORDS, b"word".into(), b"new").unwrap();
    // The two exchange their ids by way of a third.
    storage.upsert(&document(1, 1, "c")).unwrap();
    storage.upsert(&document(2, 1, "a")).unwrap();
    storage.upsert(&document(1, 1, "b")).unwrap();
    storage.upsert(&document(3, 2, "d")).unwrap();
    storage.remove_document(2).unwrap();
    storage.declare_collection(1, "space", "name").unwrap();
    storage.rollback().unwrap();

    let kept = |key| (key, b"kept".to_vec());
    assert_eq!(numbers(&*storage, &NUMBERS, Unbounded, Unbounded, Order::Ascending), [kept(1), kept(2)]);
    assert_eq!(storage.get(&WORDS, b"word".into()).unwrap().as_deref(), Some(&b"kept"[..]));
    assert_document(&*storage, &document(1, 1, "a"));
    assert_document(&*storage, &document(2, 1, "b"));
    assert_no_document(&*storage, 3, 2, "d");
    assert_eq!(scanned(&*storage, 1, None), [(1, "a".to_owned()), (2, "b".to_owned())]);
}

fn commit_keeps_and_a_commit_of_nothing_is_nothing(make: Factory<'_>) {
    let mut storage = make();
    storage.commit().unwrap();
    storage.commit().unwrap();
    storage.put(&NUMBERS, 1.into(), b"one").unwrap();
    storage.upsert(&document(1, 1, "a")).unwrap();
    storage.declare_collection(1, "space", "name").unwrap();
    storage.declare_collection(1, "space", "another name").unwrap();
    storage.commit().unwrap();
    storage.rollback().unwrap();
    assert_eq!(storage.get(&NUMBERS, 1.into()).unwrap().as_deref(), Some(&b"one"[..]));
    assert_document(&*storage, &document(1, 1, "a"));
    assert!(!storage.refresh().unwrap());
    storage.size().unwrap();
}

fn documents_are_found_by_number_and_by_id(make: Factory<'_>) {
    let mut storage = make();
    assert_no_document(&*storage, 1, 1, "a");
    storage.upsert(&document(1, 1, "a")).unwrap();
    assert_document(&*storage, &document(1, 1, "a"));
    let edited = Document { deleted: true, json: r#"{"a":[1,2]}"#, state: b"", ..document(1, 1, "a") };
    storage.upsert(&edited).unwrap();
    assert_document(&*storage, &edited);
    storage.commit().unwrap();
    assert_document(&*storage, &edited);
    assert_no_document(&*storage, 2, 1, "A");
    assert_no_document(&*storage, 2, 2, "a");
    storage.remove_document(1).unwrap();
    storage.remove_document(1).unwrap();
    assert_no_document(&*storage, 1, 1, "a");
}

fn an_id_has_one_number_in_a_collection(make: Factory<'_>) {
    let mut storage = make();
    storage.upsert(&document(1, 1, "a")).unwrap();
    storage.upsert(&document(2, 1, "b")).unwrap();
    storage.upsert(&document(3, 2, "a")).unwrap();
    for taken in [document(4, 1, "a"), document(2, 1, "a"), document(3, 1, "b")] {
        assert!(matches!(storage.upsert(&taken), Err(StorageError::Key { .. })));
    }
    for there in [document(1, 1, "a"), document(2, 1, "b"), document(3, 2, "a")] {
        assert_document(&*storage, &there);
    }
    // It is free again when its document is removed.
    storage.remove_document(1).unwrap();
    storage.upsert(&document(4, 1, "a")).unwrap();
    storage.commit().unwrap();
    assert_document(&*storage, &document(4, 1, "a"));
}

fn a_document_may_move_to_another_id_and_collection(make: Factory<'_>) {
    let mut storage = make();
    storage.upsert(&document(1, 1, "a")).unwrap();
    storage.upsert(&document(1, 1, "b")).unwrap();
    assert_document(&*storage, &document(1, 1, "b"));
    storage.upsert(&document(1, 2, "b")).unwrap();
    assert_document(&*storage, &document(1, 2, "b"));
    assert_no_document(&*storage, 2, 1, "b");
    assert_eq!(
        (scanned(&*storage, 1, None), scanned(&*storage, 2, None)),
        (vec![], vec![(1, "b".to_owned())])
    );
}

fn many_at_once_are_the_same_as_one_by_one(make: Factory<'_>) {
    let mut storage = make();
    let keys: Vec<[u8; 8]> = (0..200u64).map(u64::to_be_bytes).collect();
    let rows: Vec<(Key<'_>, &[u8])> = keys.iter().map(|key| (Key::Bytes(key), &key[4..])).collect();
    storage.put(&WORDS, Key::Bytes(&keys[7]), b"before").unwrap();
    storage.put_many(&WORDS, &rows).unwrap();
    for (key, value) in rows {
        assert_eq!(storage.get(&WORDS, key).unwrap().as_deref(), Some(value));
    }
    let ids: Vec<String> = (0..200).map(|id| format!("id {id}")).collect();
    let documents: Vec<Document<'_>> = (1..).zip(&ids).map(|(number, id)| document(number, 1, id)).collect();
    // One is there, and one under another id.
    storage.upsert(&Document { json: "{}", ..documents[3] }).unwrap();
    storage.upsert(&document(100, 2, "elsewhere")).unwrap();
    storage.upsert_many(&documents).unwrap();
    storage.commit().unwrap();
    documents.iter().for_each(|document| assert_document(&*storage, document));
    assert_no_document(&*storage, 300, 2, "elsewhere");
    let asked = ["id 5", "nobody", "id 199", "id 5"];
    let mut found = Vec::new();
    let mut visit = |at: usize, document: &Document<'_>| found.push((at, document.number));
    storage.documents_by_id(1, &asked, &mut visit).unwrap();
    assert_eq!(found, [(0, 6), (2, 200), (3, 6)]);
    // Many, in whatever order: all there are, every tenth, and some that are not there.
    let backwards = ids.iter().rev().map(String::as_str);
    let some = ids.iter().step_by(10).map(String::as_str).chain(["nobody", "id", "id 50"]);
    for asked in [backwards.collect::<Vec<_>>(), some.collect()] {
        let mut found = Vec::new();
        let mut visit = |at: usize, document: &Document<'_>| found.push((at, document.id.to_owned()));
        storage.documents_by_id(1, &asked, &mut visit).unwrap();
        found.sort_unstable();
        let there = asked.iter().enumerate().filter(|(_, id)| !["nobody", "id"].contains(id));
        assert_eq!(found, there.map(|(at, id)| (at, (*id).to_owned())).collect::<Vec<_>>());
    }
    // An id that another number has.
    let taken: Vec<Document<'_>> =
        (500..).zip(&ids).take(40).map(|(number, id)| document(number, 1, id)).collect();
    assert!(matches!(storage.upsert_many(&taken), Err(StorageError::Key { .. })));
    storage.rollback().unwrap();
    documents.iter().for_each(|document| assert_document(&*storage, document));
    // All new, or nothing of the transaction counts.
    let ids: Vec<String> = (200..300).map(|id| format!("id {id}")).collect();
    let new: Vec<Document<'_>> = (600..).zip(&ids).map(|(number, id)| document(number, 1, id)).collect();
    storage.insert_many(&new).unwrap();
    storage.commit().unwrap();
    documents.iter().chain(&new).for_each(|document| assert_document(&*storage, document));
    storage.insert_many(&[document(700, 1, "id 300"), document(701, 1, "id 250")]).unwrap_err();
    storage.rollback().unwrap();
    assert_no_document(&*storage, 700, 1, "id 300");
}

fn a_scan_ascends_through_one_collection(make: Factory<'_>) {
    let mut storage = make();
    for number in [9, 0, 300, 4, i64::MAX as u64] {
        // Ids that order otherwise than numbers.
        storage.upsert(&document(number, 1, &format!("{}", u64::MAX - number))).unwrap();
        storage.upsert(&document(number / 2 + 1000, 2, &number.to_string())).unwrap();
    }
    let visited =
        |after| scanned(&*storage, 1, after).into_iter().map(|(number, _)| number).collect::<Vec<_>>();
    assert_eq!(visited(None), [0, 4, 9, 300, i64::MAX as u64]);
    assert_eq!(visited(Some(0)), [4, 9, 300, i64::MAX as u64]);
    assert_eq!(visited(Some(5)), [9, 300, i64::MAX as u64]);
    assert_eq!(visited(Some(i64::MAX as u64)), []);
    assert_eq!(scanned(&*storage, 3, None), []);
}

fn texts_come_back_as_they_were(make: Factory<'_>) {
    let mut storage = make();
    // Not normalised, not cut at a zero, not compared by any language's rules.
    let ids =
        ["", "\0", "a\0b", "'; DROP TABLE document; --", "\u{e9}", "e\u{301}", "\u{10ffff}", "1", "01", " 1"];
    for (number, id) in ids.iter().enumerate() {
        let json = format!("{{\"text\":\"{id}\"}}");
        storage.upsert(&Document { json: &json, ..document(number as u64, 1, id) }).unwrap();
    }
    storage.declare_collection(1, "s_'\"", "n\0\u{301}").unwrap();
    storage.commit().unwrap();
    for (number, id) in ids.iter().enumerate() {
        let json = format!("{{\"text\":\"{id}\"}}");
        assert_document(&*storage, &Document { json: &json, ..document(number as u64, 1, id) });
    }
}
