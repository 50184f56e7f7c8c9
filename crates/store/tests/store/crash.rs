//! A process that is killed while it writes loses nothing it had acknowledged and leaves nothing half done.
//!
//! The child is this test binary again, told by the environment to write until it is killed. It says each commit on its
//! output after `commit` returned; nothing is timed.

use std::io::{BufRead, BufReader, Write};
use std::ops::Bound;
use std::process::{Command, Stdio};
use std::time::Duration;

use driftless_store::conformance::{NUMBERS, SCHEMA, WORDS, numbers, scanned, words};
use driftless_store::{Access, Document, Folder, Key, LOCK_PATIENCE, Order, SqliteStorage, Storage};
use tempfile::tempdir;

const CHILD: &str = "DRIFTLESS_STORE_CRASH_CHILD";
const BATCH: u64 = 10;

#[test]
fn what_was_acknowledged_survives_kill_and_nothing_is_partial() {
    if let Ok(path) = std::env::var(CHILD) {
        return write_until_killed(&path);
    }
    let home = tempdir().unwrap();
    let folder = Folder::create(home.path()).unwrap();
    drop(SqliteStorage::open(folder.database_file(), &SCHEMA, Access::Create).unwrap());

    let mut acknowledged = 0;
    // The last rounds are longer than the write-ahead log, so that a checkpoint is among what they did.
    for batches in [1, 2, 17, 100, 700, 701] {
        acknowledged = acknowledged.max(kill_after(home.path(), batches));
        // The lock died with its holder.
        let _lock = folder.lock_writer(Duration::ZERO).unwrap();
        let storage = SqliteStorage::open(folder.database_file(), &SCHEMA, Access::Open).unwrap();
        let kept = whole_batches(&storage);
        assert!(kept >= acknowledged, "{acknowledged} batches were acknowledged, {kept} are there");
        acknowledged = kept;
    }
}

// Runs a writer, kills it after it acknowledged so many batches, and returns the last one it acknowledged.
fn kill_after(path: &std::path::Path, batches: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::what_was_acknowledged_survives_kill_and_nothing_is_partial", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut heard, mut last) = (0, 0);
    // Goes on to the end of the pipe: what was said before the kill counts.
    for line in lines.map_while(Result::ok) {
        let Some(batch) = line.strip_prefix("committed ").and_then(|batch| batch.parse().ok()) else {
            continue;
        };
        (heard, last) = (heard + 1, batch);
        if heard == batches {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(heard >= batches, "the child ended by itself");
    last
}

fn write_until_killed(path: &str) {
    let folder = Folder::open(path).unwrap();
    let _lock = folder.lock_writer(LOCK_PATIENCE).unwrap();
    let mut storage = SqliteStorage::open(folder.database_file(), &SCHEMA, Access::Open).unwrap();
    // Not `println!`, which waits in the test harness.
    let mut output = std::io::stdout();
    for batch in whole_batches(&storage) + 1.. {
        for number in (batch - 1) * BATCH..batch * BATCH {
            storage.put(&NUMBERS, number.into(), &[number as u8; 2000]).unwrap();
        }
        storage.put(&WORDS, Key::Bytes(&batch.to_be_bytes()), b"").unwrap();
        let id = batch.to_string();
        let document =
            Document { number: batch, collection: 1, id: &id, deleted: false, json: "{}", state: b"" };
        storage.upsert(&document).unwrap();
        storage.commit().unwrap();
        writeln!(output, "committed {batch}").unwrap();
    }
}

// How many batches there are, if each is whole.
fn whole_batches(storage: &dyn Storage) -> u64 {
    let rows = numbers(storage, &NUMBERS, Bound::Unbounded, Bound::Unbounded, Order::Ascending);
    assert!(
        rows.iter()
            .zip(0..)
            .all(|((key, value), number)| *key == number && value[..] == [number as u8; 2000])
    );
    let batches = rows.len() as u64 / BATCH;
    assert_eq!(rows.len() as u64, batches * BATCH);
    let marks = words(storage, Bound::Unbounded, Bound::Unbounded, Order::Ascending);
    assert!(
        marks.iter().map(|(key, _)| key.clone()).eq((1..=batches).map(|batch| batch.to_be_bytes().to_vec()))
    );
    let documents = scanned(storage, 1, None);
    assert!(documents.into_iter().eq((1..=batches).map(|batch| (batch, batch.to_string()))));
    batches
}
