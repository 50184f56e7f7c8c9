//! Many threads and several handles at one database: nothing lost, nobody left waiting, changes told in order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use driftless::{Access, ChangeKind, Database, DocumentId, Durability, Error, Event, Insert, WatchKind};

use crate::simulated::{filter, map};

const PATIENCE: Duration = Duration::from_secs(120);

// Runs `work` on a thread of its own; a test that hangs fails instead.
fn within_patience(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    let outcome = ended.recv_timeout(PATIENCE);
    assert_ne!(outcome, Err(mpsc::RecvTimeoutError::Timeout), "somebody waits for ever");
    worker.join().unwrap();
}

#[test]
fn thirty_two_writers_lose_nothing_while_others_read_and_watch() {
    within_patience(|| {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("db");
        let db = Database::open(&folder).unwrap();
        let notes = db.create_space("home").unwrap().collection("notes").unwrap();
        let mut watch = notes.watch(filter("{}")).unwrap();
        let writing = AtomicBool::new(true);
        let mut written = BTreeSet::new();
        std::thread::scope(|scope| {
            let watcher = scope.spawn(move || {
                let mut seen = BTreeSet::new();
                while seen.len() < 32 * 8 {
                    let event = watch.wait_for(PATIENCE).unwrap().expect("every insert is told");
                    if event.kind == WatchKind::Insert {
                        seen.insert(event.id.unwrap());
                    }
                }
                seen
            });
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = 0;
                    while writing.load(Ordering::SeqCst) {
                        let count = notes.count(filter("{}")).unwrap();
                        assert!(count >= last);
                        last = count;
                    }
                });
            }
            let writers: Vec<_> = (0..32)
                .map(|thread| {
                    let notes = &notes;
                    let insert = move |n| notes.insert(map(&format!(r#"{{"n": {}}}"#, thread * 8 + n)));
                    scope.spawn(move || (0..8).map(|n| insert(n).unwrap().id).collect::<Vec<_>>())
                })
                .collect();
            for writer in writers {
                written.extend(writer.join().unwrap());
            }
            assert_eq!(watcher.join().unwrap(), written);
            writing.store(false, Ordering::SeqCst);
        });
        assert_eq!(written.len(), 32 * 8);
        let digest = notes.space().digest().unwrap();
        drop((notes, db));
        let db = Database::open(&folder).unwrap();
        let space = db.space("home").unwrap();
        assert_eq!(space.digest().unwrap(), digest);
        for id in &written {
            assert!(space.collection("notes").unwrap().get(id).unwrap().is_some());
        }
        assert_eq!(space.rebuild().unwrap(), digest);
    });
}

#[test]
fn changes_are_told_in_the_order_in_which_they_became_durable() {
    within_patience(|| {
        let db = Database::memory().unwrap();
        let notes = db.create_space("home").unwrap().collection("notes").unwrap();
        let id = DocumentId::from(1);
        let changes = db.changes();
        let rounds = 300;
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        let insert = Insert { id: Some(id.clone()), parent: None };
                        let _ = notes.insert_with(map("{}"), insert);
                        let _ = notes.delete(&id);
                    }
                });
            }
            scope.spawn(|| {
                let mut there = false;
                while let Some(event) = changes.wait_for(Duration::from_millis(500)) {
                    match event {
                        Event::Missed => return,
                        Event::Change(change) => {
                            for change in change.documents.iter() {
                                match change.kind {
                                    ChangeKind::Insert => assert!(!there, "told twice to appear"),
                                    ChangeKind::Update | ChangeKind::Delete => {
                                        assert!(there, "told to go twice")
                                    }
                                }
                                there = change.kind != ChangeKind::Delete;
                            }
                        }
                    }
                }
            });
        });
    });
}

#[test]
fn a_reading_handle_sees_what_is_durable_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("db");
    let missing = Database::builder().access(Access::Read).open(&folder);
    assert!(matches!(missing, Err(Error::NotFound { .. })));
    let hour = Durability::Batched(Duration::from_secs(3600));
    let db = Database::builder().durability(hour).open(&folder).unwrap();
    let notes = db.create_space("home").unwrap().collection("notes").unwrap();
    db.flush().unwrap();
    let reader = Database::builder().access(Access::Read).open(&folder).unwrap();
    let read = reader.space("home").unwrap().collection("notes").unwrap();
    let count = || {
        reader.refresh().unwrap();
        read.count(filter("{}")).unwrap()
    };
    notes.insert(map("{}")).unwrap();
    assert_eq!((notes.count(filter("{}")).unwrap(), count()), (1, 0));
    db.flush().unwrap();
    assert_eq!(count(), 1);
    assert!(!reader.refresh().unwrap());
    assert!(matches!(read.insert(map("{}")), Err(Error::ReadOnly)));
    assert!(matches!(reader.create_space("other"), Err(Error::ReadOnly)));
    assert_eq!(reader.space("home").unwrap().digest().unwrap(), notes.space().digest().unwrap());
    assert_eq!(reader.status().unwrap(), db.status().unwrap());
    let locked = Database::builder().patience(Duration::ZERO).open(&folder);
    assert!(matches!(locked, Err(Error::Locked)), "{locked:?}");
}
