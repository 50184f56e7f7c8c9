//! One database: insert, edit, find, transactions, live queries.

use std::time::Duration;

use driftless::{
    Database, DocumentId, Error, FieldPath, Insert, Sort, Value, WatchKind, operators_from_json,
};

use crate::simulated::{Hand, database, filter, map};

#[test]
fn a_document_goes_through_its_whole_life() {
    let db = database(1, &Hand::new());
    let space = db.create_space("home").unwrap();
    let notes = space.collection("notes").unwrap();
    let written = notes.insert(map(r#"{"title": "milk", "n": 1}"#)).unwrap();
    assert!(written.commit.is_some());

    notes
        .edit(&written.id, operators_from_json(r#"{"$inc": {"n": 2}, "$push": {"tags": "x"}}"#).unwrap())
        .unwrap();
    let document = notes.get(&written.id).unwrap().unwrap();
    assert_eq!(document.fields, map(r#"{"title": "milk", "n": 3, "tags": ["x"]}"#));
    assert_eq!(document.author, db.author().unwrap());
    assert!(document.updated > document.created);

    // Saving what is there already writes nothing; saving something else writes the difference.
    assert_eq!(notes.save(&written.id, document.fields.clone()).unwrap().commit, None);
    notes.save(&written.id, map(r#"{"title": "milk", "n": 3}"#)).unwrap();
    assert_eq!(notes.get(&written.id).unwrap().unwrap().fields, map(r#"{"title": "milk", "n": 3}"#));

    notes.delete(&written.id).unwrap();
    assert_eq!(notes.get(&written.id).unwrap(), None);
    assert_eq!(space.digest().unwrap().documents, 0);
    assert!(matches!(notes.delete(&written.id), Err(Error::NotFound { .. })));
    assert_eq!(notes.find(filter("{}")).include_deleted().run().unwrap().len(), 1);

    notes.restore(&written.id).unwrap();
    assert_eq!(notes.get(&written.id).unwrap().unwrap().fields.get("n"), Some(&Value::I64(3)));
    assert_eq!(space.log(Default::default()).unwrap().len(), 6);
}

#[test]
fn chosen_ids_are_taken_once() {
    let db = database(1, &Hand::new());
    let notes = db.create_space("home").unwrap().collection("notes").unwrap();
    let id = DocumentId::parse_text("FI-18").unwrap();
    let insert = || Insert { id: Some(id.clone()), parent: None };
    notes.insert_with(map("{}"), insert()).unwrap();
    assert!(matches!(notes.insert_with(map("{}"), insert()), Err(Error::Exists(_))));
    assert!(matches!(notes.edit(&DocumentId::from(7), vec![]), Err(Error::NotFound { .. })));
}

#[test]
fn an_index_changes_nothing_but_the_way() {
    let db = database(1, &Hand::new());
    let space = db.create_space("home").unwrap();
    let people = space.collection("people").unwrap();
    let mut transaction = db.transaction();
    for n in 0..300 {
        let fields = map(&format!(r#"{{"n": {n}, "group": "g{}", "tags": [{}, "t"]}}"#, n % 7, n % 5));
        transaction.insert(&people, fields).unwrap();
    }
    transaction.commit().unwrap();
    let searches = [
        r#"{"group": "g3"}"#,
        r#"{"n": {"$gte": 10, "$lt": 20}}"#,
        r#"{"tags": 3, "group": {"$in": ["g1", "g2"]}}"#,
        r#"{"$or": [{"n": 5}, {"group": "g0"}]}"#,
        r#"{"missing": null}"#,
    ];
    let ids = |search: &str| {
        let found = people.find(filter(search)).sort(Sort::parse("-n").unwrap()).run().unwrap();
        found.into_iter().map(|document| document.id).collect::<Vec<_>>()
    };
    let before: Vec<_> = searches.iter().map(|search| ids(search)).collect();
    assert_eq!(before[1].len(), 10);
    for path in ["group", "n", "tags"] {
        assert!(people.create_index(&FieldPath::parse(path).unwrap()).unwrap());
        assert!(!people.create_index(&FieldPath::parse(path).unwrap()).unwrap());
    }
    assert_eq!(people.find(filter(searches[0])).plan().unwrap().index.as_deref(), Some("group"));
    let after: Vec<_> = searches.iter().map(|search| ids(search)).collect();
    assert_eq!(before, after);

    // The index follows edits and deletions.
    let id = before[0][0].clone();
    people.edit(&id, operators_from_json(r#"{"$set": {"group": "new"}}"#).unwrap()).unwrap();
    assert_eq!(ids(r#"{"group": "new"}"#), std::slice::from_ref(&id));
    people.delete(&id).unwrap();
    assert!(ids(r#"{"group": "new"}"#).is_empty());
}

#[test]
fn a_transaction_is_all_or_nothing_and_sees_itself() {
    let db = database(1, &Hand::new());
    let (a, b) = (db.create_space("a").unwrap(), db.create_space("b").unwrap());
    let (from, to) = (a.collection("items").unwrap(), b.collection("items").unwrap());
    let moved = from.insert(map(r#"{"n": 1}"#)).unwrap().id;

    let mut transaction = db.transaction();
    transaction.delete(&from, &moved).unwrap();
    let id = transaction.insert(&to, map(r#"{"n": 1}"#)).unwrap();
    transaction.edit(&to, &id, operators_from_json(r#"{"$inc": {"n": 1}}"#).unwrap()).unwrap();
    assert_eq!(transaction.get(&to, &id).unwrap().unwrap().fields, map(r#"{"n": 2}"#));
    assert_eq!(transaction.get(&from, &moved).unwrap(), None);
    assert_eq!(to.get(&id).unwrap(), None);
    assert_eq!(transaction.commit().unwrap().len(), 2);
    assert_eq!(to.get(&id).unwrap().unwrap().fields, map(r#"{"n": 2}"#));
    assert_eq!(from.get(&moved).unwrap(), None);

    let mut dropped = db.transaction();
    dropped.insert(&to, map("{}")).unwrap();
    drop(dropped);
    assert_eq!(to.count(filter("{}")).unwrap(), 1);
}

#[test]
fn a_transaction_larger_than_a_commit_is_a_run_of_commits() {
    let db = database(1, &Hand::new());
    let space = db.create_space("big").unwrap();
    let items = space.collection("items").unwrap();
    let mut transaction = db.transaction();
    for n in 0..10_000 {
        transaction.insert(&items, map(&format!(r#"{{"n": {n}}}"#))).unwrap();
    }
    transaction.commit().unwrap();
    let digest = space.digest().unwrap();
    assert_eq!((digest.documents, digest.commits), (10_000, 4));
    assert_eq!(items.count(filter(r#"{"n": {"$gte": 9000}}"#)).unwrap(), 1000);
}

#[test]
fn a_watch_tells_the_present_and_then_what_changes() {
    let db = database(1, &Hand::new());
    let notes = db.create_space("home").unwrap().collection("notes").unwrap();
    let first = notes.insert(map(r#"{"open": true}"#)).unwrap().id;
    let mut watch = notes.watch(filter(r#"{"open": true}"#)).unwrap();
    let mut next = || watch.wait_for(Duration::from_secs(10)).unwrap().unwrap();
    let event = next();
    assert_eq!((event.kind, event.id), (WatchKind::Insert, Some(first.clone())));
    assert_eq!(next().kind, WatchKind::Ready);

    notes.insert(map(r#"{"open": false}"#)).unwrap();
    let set = |json: &str| operators_from_json(json).unwrap();
    notes.edit(&first, set(r#"{"$set": {"n": 1}}"#)).unwrap();
    assert_eq!(next().kind, WatchKind::Update);
    notes.edit(&first, set(r#"{"$set": {"open": false}}"#)).unwrap();
    let event = next();
    assert_eq!((event.kind, event.document), (WatchKind::Delete, None));
}

#[test]
fn values_of_a_rust_type_are_documents() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Note {
        title: String,
        done: bool,
        tags: Vec<String>,
    }
    let db = Database::memory().unwrap();
    let untyped = db.create_space("home").unwrap().collection("notes").unwrap();
    let notes = untyped.typed::<Note>();
    let note = Note { title: "milk".into(), done: false, tags: vec!["shop".into()] };
    let id = notes.insert(&note).unwrap().id;
    assert_eq!(notes.get(&id).unwrap(), Some(note));
    // A document that does not fit is skipped by the typed view, and stays.
    untyped.insert(map(r#"{"title": 7}"#)).unwrap();
    assert_eq!(notes.find(filter("{}")).unwrap().len(), 1);
    assert_eq!(untyped.count(filter("{}")).unwrap(), 2);
}
