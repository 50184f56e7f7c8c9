//! Many commits that were made apart over the same documents: they end the same, and cost what they edit.

use std::collections::HashSet;
use std::time::Duration;

use driftless::{
    Database, DocumentId, Event, Insert, Permission, Space, Strength, Subject, operators_from_json,
};
use driftless_store::Storage;

use crate::failing::{Failing, Fuse};
use crate::simulated::{Hand, bundle, database, import, map, send};

const DOCUMENTS: i64 = 100;
const COMMITS: u64 = 70;

// One transaction adds to every document.
fn add_to_all(space: &Space, by: u64) {
    let items = space.collection("items").unwrap();
    let mut transaction = space.database().transaction();
    for number in 0..DOCUMENTS {
        let adding = format!(r#"{{"$inc": {{"sum": {by}}}, "$set": {{"last": {by}}}}}"#);
        transaction.edit(&items, &DocumentId::from(number), operators_from_json(&adding).unwrap()).unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn many_commits_made_apart_over_the_same_documents_are_each_read_a_few_times() {
    let (hand, fuse) = (Hand::new(), Fuse::new());
    let ann = database(1, &hand);
    let (clock, counting) = (hand.clone(), fuse.clone());
    let bob = Database::builder().seed([2; 32]).clock(move || clock.now());
    let bob = bob.wrap_storage(move |inner| {
        let storage: Box<dyn Storage> =
            Box::new(Failing { inner, fuse: counting, keeps_failed_commit: false });
        storage
    });
    let bob = bob.memory().unwrap();
    let here = ann.create_space("notes").unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), Permission::Write(Strength(5))).unwrap();
    let items = here.collection("items").unwrap();
    for number in 0..DOCUMENTS {
        items.insert_with(map("{}"), Insert { id: Some(number.into()), parent: None }).unwrap();
    }
    let there = send(&here, &bob);
    for by in 0..COMMITS {
        for space in [&here, &there] {
            hand.advance(10);
            add_to_all(space, by);
        }
    }
    let sent = bundle(&here);
    bob.flush().unwrap();
    fuse.reads();
    import(&bob, &sent);
    bob.flush().unwrap();
    // An entry says of each edit which commit it is in; the commits themselves are read for all documents at once.
    let (edits, reads) = (2 * COMMITS * DOCUMENTS.cast_unsigned(), fuse.reads());
    assert!(reads < edits + edits / 2, "{reads} rows were read for {edits} edits");
    import(&ann, &bundle(&there));
    assert_eq!(here.digest().unwrap(), there.digest().unwrap());
    let one = there.collection("items").unwrap().get(&DocumentId::from(7)).unwrap().unwrap();
    assert_eq!(
        one.fields,
        map(&format!(r#"{{"last": {}, "sum": {}}}"#, COMMITS - 1, COMMITS * (COMMITS - 1)))
    );
}

// Makes so many documents in one transaction, and adds to a counter before the first and after the last.
fn fill(space: &Space, from: i64, count: i64, by: u64) {
    let items = space.collection("items").unwrap();
    let add = || operators_from_json(&format!(r#"{{"$inc": {{"sum": {by}}}}}"#)).unwrap();
    let mut transaction = space.database().transaction();
    if by > 0 {
        transaction.edit(&items, &DocumentId::from(-1), add()).unwrap();
    }
    for number in from..from + count {
        transaction.insert_with(&items, map("{}"), Insert { id: Some(number.into()), parent: None }).unwrap();
    }
    if by > 0 {
        transaction.edit(&items, &DocumentId::from(-1), add()).unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn an_edit_counts_once_however_much_came_with_it() {
    let hand = Hand::new();
    let (ann, bob) = (database(1, &hand), database(2, &hand));
    let here = ann.create_space("notes").unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), Permission::Write(Strength(5))).unwrap();
    let counter = DocumentId::from(-1);
    let zero = Insert { id: Some(counter.clone()), parent: None };
    here.collection("items").unwrap().insert_with(map(r#"{"sum": 0}"#), zero).unwrap();
    let there = send(&here, &bob);
    let heard = bob.changes();
    let add = |space: &Space, by: u64| {
        hand.advance(10);
        let adding = format!(r#"{{"$inc": {{"sum": {by}}}}}"#);
        space.collection("items").unwrap().edit(&counter, operators_from_json(&adding).unwrap()).unwrap();
    };
    // What comes is late, and more than is kept until it is written.
    add(&here, 1);
    add(&there, 100);
    for (turn, count) in [4000, 4000, 4000, 2000].into_iter().enumerate() {
        hand.advance(10);
        fill(&here, 10_000 * turn as i64, count, 0);
    }
    hand.advance(10);
    fill(&here, 100_000, 4000, 10);
    import(&bob, &bundle(&here));
    import(&ann, &bundle(&there));
    for space in [&here, &there] {
        let document = space.collection("items").unwrap().get(&counter).unwrap().unwrap();
        assert_eq!(document.fields, map(r#"{"sum": 121}"#));
    }
    assert_eq!(here.digest().unwrap(), there.digest().unwrap());
    // Each difference is told once.
    let mut most = 0;
    while let Some(Event::Change(change)) = heard.wait_for(Duration::ZERO) {
        let mut told = HashSet::new();
        for document in change.documents.iter() {
            assert!(told.insert((document.collection.clone(), document.id.clone())), "told twice");
        }
        most = most.max(told.len());
    }
    assert!(most > 16_000, "{most}");
}
