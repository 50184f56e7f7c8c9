//! Odd states that a database is left in by bundles that were cut: what the user does next goes on as if nothing was.

use driftless::{Event, Insert, Kind, Permission, Source, Space, Strength, Subject};
use driftless_core::commit::Received;

use crate::honest::{Honest, received, sign};
use crate::pen::{Pen, body, bundle_of, bundle_of_received, without_body};
use crate::simulated::{Hand, START, bundle, database, import, map, send};

// Two databases with one seed would draw the same ids.
fn insert(space: &Space, id: i64) {
    let insert = Insert { id: Some(id.into()), parent: None };
    space.collection("notes").unwrap().insert_with(map(&format!(r#"{{"n": {id}}}"#)), insert).unwrap();
}

// Bob's key on another machine, with half of a transaction of hers.
fn half(whole: bool) {
    let hand = Hand::new();
    let (ann, bob) = (database(1, &hand), database(2, &hand));
    let here = ann.create_space("home").unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), Permission::Write(Strength(3))).unwrap();
    let there = send(&here, &bob);
    if whole {
        there.collection("notes").unwrap().insert(map("{}")).unwrap();
    }
    let start = there.digest().unwrap().documents;
    let mut large = bob.transaction();
    let notes = there.collection("notes").unwrap();
    for _ in 0..3 {
        let text = "x".repeat(600_000);
        large.insert(&notes, map(&format!(r#"{{"text": "{text}"}}"#))).unwrap();
    }
    large.commit().unwrap();
    let all = received(&bundle(&there));
    // Bob restores a backup that ends in the middle.
    let copy = database(2, &hand);
    import(&copy, &bundle_of_received(all[..all.len() - 1].to_vec()));
    hand.advance(1000);
    let restored = copy.space("home").unwrap();
    assert_eq!(restored.digest().unwrap().documents, start);
    insert(&restored, 1);
    insert(&restored, 2);
    assert_eq!(restored.digest().unwrap().documents, start + 2);
    let status = copy.status().unwrap();
    assert_eq!(status.spaces[0].counts.wanted, 2);
    // The rest is found after all.
    import(&copy, &bundle(&there));
    assert_eq!(restored.digest().unwrap().documents, start + 5);
    assert_eq!(send(&restored, &bob).digest().unwrap(), restored.digest().unwrap());
    assert_eq!(restored.rebuild().unwrap(), restored.digest().unwrap());
}

#[test]
fn half_of_an_own_transaction_is_not_completed_by_the_next_write() {
    half(true);
    half(false);
}

#[test]
fn an_admin_with_half_of_an_own_transaction_can_still_write_rules() {
    let hand = Hand::new();
    let ann = database(1, &hand);
    let here = ann.create_space("home").unwrap();
    let notes = here.collection("notes").unwrap();
    let mut large = ann.transaction();
    for _ in 0..2 {
        let text = "x".repeat(600_000);
        large.insert(&notes, map(&format!(r#"{{"text": "{text}"}}"#))).unwrap();
    }
    large.commit().unwrap();
    let all = received(&bundle(&here));
    let copy = database(1, &hand);
    import(&copy, &bundle_of_received(all[..all.len() - 1].to_vec()));
    hand.advance(1000);
    let restored = copy.space("home").unwrap();
    restored.grant(Subject::Anyone, Permission::Read).unwrap();
    assert_eq!(restored.members().unwrap().len(), 2);
}

#[test]
fn what_an_import_waits_for_leaves_out_what_was_waited_for_before() {
    let honest = Honest::new(4);
    let mut pen = Pen::new(crate::honest::MALLORY, honest.space.id());
    let first = pen.write(None, &[honest.grant], false, body(1000, &[]));
    let half = pen.write(Some(&first), &[], true, body(1001, &[]));
    let rest = pen.write(Some(&half), &[], false, body(1002, &[]));
    let db = database(50, &honest.hand);
    import(&db, &honest.bytes);
    assert_eq!(import(&db, &bundle_of_received([without_body(&first)])).wanted, 1);
    let done = import(&db, &bundle_of([&half]));
    assert_eq!((done.wanted, done.applied), (1, 0));
    let done = import(&db, &bundle_of([&half, &rest]));
    assert_eq!((done.wanted, done.applied, done.known), (0, 1, 1));
    // Halves that come in two frames of one bundle while something older still waits.
    let again = database(51, &honest.hand);
    import(&again, &honest.with([without_body(&first)]));
    let done = import(&again, &bundle_of([&half, &rest]));
    assert_eq!((done.wanted, done.applied), (0, 2));
}

#[test]
fn a_change_is_laid_to_who_caused_it() {
    let hand = Hand::new();
    let ann = database(1, &hand);
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(Pen::author(9)), Permission::Write(Strength(10))).unwrap();
    let grant = here.digest().unwrap().heads[0];
    let mut pen = Pen::new(9, here.id());
    let commit = pen.write(None, &[grant], false, body(1, &[]));
    hand.advance(5000);
    import(&ann, &bundle_of([&commit]));
    let changes = ann.changes();
    // Taken away here, by a call that is neither a transaction nor an import.
    here.rebuild().unwrap();
    while let Some(event) = changes.wait_for(std::time::Duration::from_millis(200)) {
        let Event::Change(change) = event else { continue };
        assert!(change.documents.iter().all(|document| document.source == Source::Local));
    }
}

#[test]
fn an_honest_commit_of_the_forger_is_taken_beside_its_forgeries() {
    let honest = Honest::new(4);
    let good = sign(honest.header(Kind::Documents), body(1000, &[]).encode([7; 16]));
    let unsigned = Received { signature: None, ..good.clone() };
    let db = database(50, &honest.hand);
    // The same commit unsigned before and after itself: what is refused is the bytes, never the id.
    import(&db, &honest.with([unsigned.clone()]));
    import(&db, &honest.with([unsigned.clone(), good, unsigned]));
    assert_eq!(db.space("team").unwrap().digest().unwrap().documents, 5);
    assert!(honest.hand.now() >= START);
}
