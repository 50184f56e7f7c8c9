//! Copied and restored devices: one key in two databases is found out, shown with its proof, and repaired.

use std::path::Path;

use driftless::{
    AuthorId, Database, DocumentId, Error, Insert, Permission, Renewal, Space, Strength, Subject,
};

use crate::simulated::{Hand, bundle, database, folder, import, map, send};

fn insert(space: &Space, id: i64) -> Result<(), Error> {
    let insert = Insert { id: Some(DocumentId::from(id)), parent: None };
    space.collection("notes")?.insert_with(map(&format!(r#"{{"n": {id}}}"#)), insert).map(drop)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

// Everything goes everywhere.
fn meet(all: &[&Database], id: &str) {
    for _ in 0..2 {
        for from in all {
            let bytes = bundle(&from.space(id).unwrap());
            all.iter().for_each(|to| drop(import(to, &bytes)));
        }
    }
    let digests: Vec<_> = all.iter().map(|db| db.space(id).unwrap().digest().unwrap()).collect();
    assert!(digests.windows(2).all(|two| two[0] == two[1]), "{digests:?}");
}

fn is_forked(result: Result<(), Error>) -> bool {
    matches!(result, Err(error) if error.code() == "author_forked" && error.hint().contains("doctor"))
}

struct Copied {
    hand: Hand,
    _home: tempfile::TempDir,
    hub: Database,
    id: String,
    author: AuthorId,
    one: Database,
    two: Database,
}

// Somebody with this permission copies the folder of a closed database; both copies write before they meet anybody.
fn copied(permission: Option<Permission>) -> Copied {
    let (hand, home) = (Hand::new(), tempfile::tempdir().unwrap());
    let (first, second) = (home.path().join("one"), home.path().join("two"));
    let (hub, one) = (database(9, &hand), folder(1, &hand, &first));
    let author = one.author().unwrap();
    let space = match permission {
        // The founder itself.
        None => send(&one.create_space("home").unwrap(), &hub),
        Some(permission) => {
            let space = hub.create_space("home").unwrap();
            space.grant(Subject::Key(author), permission).unwrap();
            send(&space, &one);
            space
        }
    };
    let id = space.id().to_string();
    insert(&one.space(&id).unwrap(), 0).unwrap();
    drop(one);
    copy(&first, &second);
    let (one, two) = (folder(2, &hand, &first), folder(3, &hand, &second));
    hand.advance(1000);
    for (db, ids) in [(&one, [10, 11]), (&two, [20, 21])] {
        ids.into_iter().for_each(|id_of| insert(&db.space(&id).unwrap(), id_of).unwrap());
    }
    Copied { hand, _home: home, hub, id, author, one, two }
}

#[test]
fn copies_that_both_wrote_are_named_with_the_proof_on_every_replica() {
    let Copied { hand, hub, id, author, one, two, .. } = copied(Some(Permission::Write(Strength(5))));
    let another = database(8, &hand);
    import(&another, &bundle(&two.space(&id).unwrap()));
    import(&hub, &bundle(&one.space(&id).unwrap()));
    assert!(hub.status().unwrap().spaces[0].forked.is_empty());
    hand.advance(5000);
    meet(&[&hub, &another, &one, &two], &id);
    let mut commits = Vec::new();
    for db in [&hub, &another, &one, &two] {
        let status = db.status().unwrap();
        let [fork] = &status.spaces[0].forked[..] else { panic!("{status:?}") };
        assert_eq!((fork.author, fork.seq, fork.since_ms), (author, 2, hand.now()));
        assert_eq!(fork.proof, fork.commits, "each commit of a bundle carries its signature");
        let mut both = fork.commits;
        both.sort();
        commits.push(both);
        let log = db.space(&id).unwrap().log(driftless::LogQuery::default()).unwrap();
        for commit in both {
            assert!(log.iter().any(|line| line.commit == commit && line.seq == 2 && line.state == "applied"));
        }
        assert_eq!(status.copied.is_some(), db.author().unwrap() == author);
        assert_eq!(db.space(&id).unwrap().digest().unwrap().documents, 5);
    }
    assert!(commits.windows(2).all(|two| two[0] == two[1]));
    // A restart knows it, and so does a space that was folded again.
    for db in [&one, &two] {
        assert!(is_forked(insert(&db.space(&id).unwrap(), 30)));
        assert!(is_forked(db.create_space("more").map(drop)));
        assert!(!db.doctor().unwrap().iter().find(|check| check.check == "author").unwrap().ok);
    }
    one.space(&id).unwrap().rebuild().unwrap();
    assert_eq!(one.status().unwrap().spaces[0].forked.len(), 1);
    // What it cannot write it still takes.
    insert(&hub.space(&id).unwrap(), 31).unwrap();
    meet(&[&hub, &one, &two], &id);
}

#[test]
fn an_admin_who_was_copied_hands_on_what_it_may_to_new_keys() {
    let Copied { hand, hub, id, author, one, two, .. } = copied(None);
    meet(&[&hub, &one, &two], &id);
    hand.advance(1000);
    for db in [&one, &two] {
        let renewed = db.renew_author().unwrap();
        assert_eq!((renewed.former, renewed.author), (author, db.author().unwrap()));
        let space = db.space(&id).unwrap();
        assert_eq!(renewed.spaces, [(space.id(), Renewal::Granted(Permission::Admin(Strength(1))))]);
        assert!(db.status().unwrap().copied.is_none());
        hand.advance(1000);
        insert(&space, if std::ptr::eq(db, &one) { 30 } else { 40 }).unwrap();
    }
    assert_ne!(one.author().unwrap(), two.author().unwrap());
    meet(&[&hub, &one, &two], &id);
    for (db, document) in [(&one, 50), (&two, 60)] {
        // Their last commits under the old key met, and that is nobody's key any more.
        insert(&db.space(&id).unwrap(), document).unwrap();
        db.space(&id).unwrap().grant(Subject::Anyone, Permission::Read).unwrap();
        assert!(db.doctor().unwrap().iter().all(|check| check.ok), "{:?}", db.doctor());
    }
    meet(&[&hub, &one, &two], &id);
    assert_eq!(hub.space(&id).unwrap().digest().unwrap().documents, 9);
}

#[test]
fn of_a_writers_copies_one_keeps_the_key_and_the_other_is_granted_again() {
    let Copied { hand, _home, hub, id, author, one, two } = copied(Some(Permission::Write(Strength(5))));
    meet(&[&hub, &one, &two], &id);
    one.keep_author().unwrap();
    insert(&one.space(&id).unwrap(), 30).unwrap();
    assert_eq!(one.author().unwrap(), author);
    let renewed = two.renew_author().unwrap();
    let space = hub.space(&id).unwrap();
    assert_eq!(renewed.spaces, [(space.id(), Renewal::Ask(Permission::Write(Strength(5))))]);
    let refused = insert(&two.space(&id).unwrap(), 40).unwrap_err();
    assert_eq!(refused.code(), "not_permitted");
    let doctor = two.doctor().unwrap();
    let asks = doctor.iter().find(|check| check.check == "permissions").unwrap();
    assert!(asks.fix.as_ref().unwrap().contains(&renewed.author.to_string()), "{asks:?}");
    space.grant(Subject::Key(renewed.author), Permission::Write(Strength(5))).unwrap();
    meet(&[&hub, &one, &two], &id);
    hand.advance(1000);
    for db in [&one, &two] {
        insert(&db.space(&id).unwrap(), if std::ptr::eq(db, &one) { 50 } else { 60 }).unwrap();
    }
    meet(&[&hub, &one, &two], &id);
    assert_eq!(hub.status().unwrap().spaces[0].forked.len(), 1);
    assert!(one.status().unwrap().copied.is_none() && two.status().unwrap().copied.is_none());
    // A restart finds the new key, and the one before it.
    drop(two);
    let two = folder(4, &hand, &_home.path().join("two"));
    assert_eq!(two.author().unwrap(), renewed.author);
    insert(&two.space(&id).unwrap(), 70).unwrap();
}

#[test]
fn a_copy_that_goes_on_under_a_kept_key_is_met_again() {
    let Copied { hub, id, one, two, .. } = copied(Some(Permission::Write(Strength(5))));
    meet(&[&hub, &one, &two], &id);
    for db in [&one, &two] {
        db.keep_author().unwrap();
        insert(&db.space(&id).unwrap(), if std::ptr::eq(db, &one) { 30 } else { 40 }).unwrap();
    }
    meet(&[&hub, &one, &two], &id);
    for db in [&one, &two] {
        assert!(is_forked(insert(&db.space(&id).unwrap(), 50)));
    }
}

#[test]
fn a_restored_backup_catches_up_with_what_it_had_written_and_forks_nothing() {
    let (hand, home) = (Hand::new(), tempfile::tempdir().unwrap());
    let (place, backup) = (home.path().join("db"), home.path().join("backup"));
    let hub = database(9, &hand);
    let db = folder(1, &hand, &place);
    let id = db.create_space("home").unwrap().id().to_string();
    insert(&db.space(&id).unwrap(), 1).unwrap();
    drop(db);
    copy(&place, &backup);
    let db = folder(2, &hand, &place);
    (2..6).for_each(|document| insert(&db.space(&id).unwrap(), document).unwrap());
    send(&db.space(&id).unwrap(), &hub);
    drop(db);

    let restored = folder(3, &hand, &backup);
    meet(&[&hub, &restored], &id);
    insert(&restored.space(&id).unwrap(), 6).unwrap();
    meet(&[&hub, &restored], &id);
    for db in [&hub, &restored] {
        let status = db.status().unwrap();
        assert!(status.spaces[0].forked.is_empty() && status.copied.is_none());
        assert_eq!(status.spaces[0].documents, 6);
    }
}

#[test]
fn what_was_written_while_the_clock_was_wrong_is_written_again_when_it_is_right() {
    let (hand, right) = (Hand::new(), Hand::new());
    let home = tempfile::tempdir().unwrap();
    let (db, hub) = (folder(1, &hand, home.path()), database(2, &right));
    let space = db.create_space("home").unwrap();
    insert(&space, 1).unwrap();
    hand.advance(365 * 86_400_000);
    insert(&space, 2).unwrap();
    let notes = space.collection("notes").unwrap();
    notes.edit(&1.into(), driftless::operators_from_json(r#"{"$inc": {"n": 5}}"#).unwrap()).unwrap();
    hand.set_back(365 * 86_400_000);
    // Time never goes back: also what is written now would be in the future for everybody else.
    insert(&space, 3).unwrap();
    let there = send(&space, &hub);
    assert_eq!(hub.status().unwrap().spaces[0].counts.held, 3);
    let clock =
        |db: &Database| db.doctor().unwrap().into_iter().find(|check| check.check == "clock").unwrap();
    assert!(!clock(&db).ok && clock(&hub).ok);

    assert_eq!(db.rewrite_early().unwrap(), 3);
    assert_eq!(db.rewrite_early().unwrap(), 0);
    assert!(clock(&db).ok, "{:?}", clock(&db));
    let id = space.id().to_string();
    drop((notes, space, db));
    let db = folder(3, &hand, home.path());
    let space = db.space(&id).unwrap();
    assert!(clock(&db).ok, "{:?}", clock(&db));
    insert(&space, 4).unwrap();
    send(&space, &hub);
    for space in [&space, &there] {
        assert_eq!(space.digest().unwrap().documents, 4);
        let document = space.collection("notes").unwrap().get(&1.into()).unwrap().unwrap();
        assert_eq!(document.fields, map(r#"{"n": 6}"#));
    }
    assert_eq!(space.digest().unwrap(), there.digest().unwrap());
    // The year passes; what was taken back stays so.
    hand.advance(366 * 86_400_000);
    right.advance(366 * 86_400_000);
    assert_eq!(space.digest().unwrap(), there.digest().unwrap());
    assert_eq!(
        there.collection("notes").unwrap().get(&1.into()).unwrap().unwrap().fields,
        map(r#"{"n": 6}"#)
    );
    assert_eq!(hub.status().unwrap().spaces[0].counts.held, 0);
}
