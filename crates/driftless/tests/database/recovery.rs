//! What is left after a process is killed or a disk fails: everything acknowledged, nothing in part.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use driftless::{Collection, Database, Durability, Error, Event, Insert, Space};

use crate::failing::{Failing, Fuse};
use crate::simulated::{Hand, database, filter, map, send};

const FOLDER: &str = "DRIFTLESS_TEST_CHILD_FOLDER";
const BATCHED: &str = "DRIFTLESS_TEST_CHILD_BATCHED";

fn two_spaces(db: &Database) -> [Collection; 2] {
    ["left", "right"].map(|name| {
        let space = db.space(name).or_else(|_| db.create_space(name)).unwrap();
        space.collection("notes").unwrap()
    })
}

// Both halves of number `n`, in two spaces and in one transaction.
fn write_pair(db: &Database, to: &[Collection; 2], n: i64) -> Result<(), driftless::Error> {
    let mut transaction = db.transaction();
    for half in to {
        let insert = Insert { id: Some(n.into()), parent: None };
        transaction.insert_with(half, map(&format!(r#"{{"n": {n}}}"#)), insert)?;
    }
    transaction.commit().map(drop)
}

fn numbers(of: &Collection) -> Vec<String> {
    let mut found: Vec<String> =
        of.find(filter("{}")).run().unwrap().iter().map(|document| document.id.to_string()).collect();
    found.sort();
    found
}

// The transactions that are there: each in both spaces, and as the log has it.
fn whole(db: &Database) -> Vec<String> {
    let spaces = two_spaces(db);
    let [left, right] = [&spaces[0], &spaces[1]].map(numbers);
    assert_eq!(left, right, "a transaction is there in part");
    for space in spaces.iter().map(Collection::space) {
        let before: (driftless::Digest, _) = (space.digest().unwrap(), counts(db, space));
        space.rebuild().unwrap();
        assert_eq!((space.digest().unwrap(), counts(db, space)), before);
    }
    left
}

fn counts(db: &Database, space: &Space) -> driftless::Counts {
    db.status().unwrap().spaces.iter().find(|status| status.id == space.id()).unwrap().counts
}

// Not a test of its own: the process that the tests below start and kill.
#[test]
fn a_process_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let batched = std::env::var(BATCHED).is_ok();
    let durability = if batched { Durability::Batched(Duration::from_millis(5)) } else { Durability::Each };
    let db = Database::builder().durability(durability).open(&folder).unwrap();
    let spaces = two_spaces(&db);
    let first = numbers(&spaces[0]).len() as i64;
    let changes = db.changes();
    let tell = move || {
        while let Some(Event::Change(change)) = changes.wait() {
            for document in change.documents.iter() {
                say(&document.id.to_string());
            }
        }
    };
    if batched {
        std::thread::spawn(tell);
    }
    for n in first.. {
        write_pair(&db, &spaces, n).unwrap();
        if !batched {
            say(&n.to_string());
        } else if n % 16 == 0 {
            db.flush().unwrap();
            say(&n.to_string());
        }
    }
}

fn say(number: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nacknowledged {number}").unwrap();
    out.flush().unwrap();
}

// Starts the writer, kills it after so many acknowledgements, and returns all that it gave.
fn kill_after(folder: &Path, acknowledgements: usize, batched: bool) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "recovery::a_process_that_writes_until_it_is_killed", "--nocapture"]);
    command.env(FOLDER, folder).stdout(Stdio::piped());
    if batched {
        command.env(BATCHED, "1");
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    let mut killed = false;
    for line in lines {
        let line = line.unwrap();
        // The last line may be cut.
        if let Some(number) = line.strip_prefix("acknowledged ") {
            acknowledged.push(number.to_owned());
        }
        if acknowledged.len() >= acknowledgements && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the writer ended by itself");
    acknowledged
}

fn survives_kills(batched: bool) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("db");
    let mut promised = Vec::new();
    for round in [3, 17, 1, 29, 8] {
        promised.extend(kill_after(&folder, round, batched));
        let db = Database::open(&folder).unwrap();
        let there = whole(&db);
        for number in &promised {
            assert!(there.contains(number), "{number} was acknowledged and is lost");
        }
        write_pair(&db, &two_spaces(&db), there.len() as i64).unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill_whole() {
    survives_kills(false);
}

#[test]
fn what_was_told_or_flushed_survives_a_kill_of_a_batching_writer() {
    survives_kills(true);
}

#[test]
fn a_disk_that_fails_at_any_write_stops_the_database_and_it_reopens_clean() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("db");
    let mut there = 0;
    let mut failures = 0;
    for writes in 0.. {
        let fuse = Fuse::new();
        let (burning, keeps_failed_commit) = (fuse.clone(), writes % 2 == 0);
        let db = Database::builder()
            .wrap_storage(move |inner| Box::new(Failing { inner, fuse: burning, keeps_failed_commit }))
            .open(&folder)
            .unwrap();
        let spaces = two_spaces(&db);
        let changes = db.changes();
        fuse.set(writes);
        let written = write_pair(&db, &spaces, there);
        if !fuse.is_blown() {
            written.unwrap();
            break;
        }
        failures += 1;
        let error = written.unwrap_err();
        assert!(error.to_string().contains("the disk is on fire"), "{error}");
        // Nothing is told of it, nothing is accepted or answered any more.
        assert!(changes.wait_for(Duration::ZERO).is_none());
        let poisoned = |result: Result<(), Error>| {
            assert!(matches!(&result, Err(Error::Poisoned(why)) if why.contains("on fire")), "{result:?}");
        };
        poisoned(write_pair(&db, &spaces, there + 1));
        poisoned(db.create_space("new").map(drop));
        poisoned(spaces[0].count(filter("{}")).map(drop));
        poisoned(db.flush());
        drop((spaces, db));
        let db = Database::open(&folder).unwrap();
        let now = whole(&db).len() as i64;
        assert!(now == there || now == there + 1);
        write_pair(&db, &two_spaces(&db), now).unwrap();
        there = now + 1;
        assert_eq!(whole(&db).len() as i64, there);
    }
    assert!(failures > 10, "a transaction over two spaces takes more writes than {failures}");
}

#[test]
fn a_disk_that_fails_while_somebody_reads_stops_the_database_too() {
    let (fast, hand, fuse) = (Hand::new(), Hand::new(), Fuse::new());
    let theirs = database(1, &fast).create_space("team").unwrap();
    fast.advance(3_600_000);
    theirs.collection("notes").unwrap().insert(map("{}")).unwrap();
    let (now, burning) = (hand.clone(), fuse.clone());
    let db = Database::builder()
        .clock(move || now.now())
        .wrap_storage(move |inner| Box::new(Failing { inner, fuse: burning, keeps_failed_commit: false }))
        .memory()
        .unwrap();
    let notes = send(&theirs, &db).collection("notes").unwrap();
    assert_eq!(notes.count(filter("{}")).unwrap(), 0);
    // What became due is folded by the one who looks.
    hand.advance(3_600_000);
    fuse.set(1);
    assert!(matches!(notes.count(filter("{}")), Err(Error::Io(_))));
    assert!(matches!(notes.count(filter("{}")), Err(Error::Poisoned(_))));
}
