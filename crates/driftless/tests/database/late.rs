//! Many commits that were made apart over the same documents: they end the same, and cost what they edit.

use driftless::{Database, DocumentId, Insert, Permission, Space, Strength, Subject, operators_from_json};
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
