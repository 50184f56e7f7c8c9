//! The SQLite adapter keeps the contract, and what only a file can promise: versions, damage, snapshots, modes.

use std::cell::Cell;
use std::fs;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};

use driftless_store::conformance::{self, NUMBERS, SCHEMA, WORDS, numbers};
use driftless_store::{Access, Document, Folder, Key, Order, Schema, SqliteStorage, Storage, StorageError};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::{TempDir, tempdir};

use crate::model::operations;

fn create(home: &TempDir) -> (PathBuf, SqliteStorage) {
    let path = home.path().join("test.sqlite");
    let storage = SqliteStorage::open(&path, &SCHEMA, Access::Create).unwrap();
    (path, storage)
}

fn open(path: &Path, access: Access) -> Result<SqliteStorage, StorageError> {
    SqliteStorage::open(path, &SCHEMA, access)
}

fn keys(storage: &dyn Storage) -> Vec<u64> {
    let rows = numbers(storage, &NUMBERS, Bound::Unbounded, Bound::Unbounded, Order::Ascending);
    rows.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn sqlite_conforms() {
    let (home, next) = (tempdir().unwrap(), Cell::new(0));
    conformance::all(&|| {
        next.set(next.get() + 1);
        let path = home.path().join(next.get().to_string());
        Box::new(SqliteStorage::open(path, &SCHEMA, Access::Create).unwrap())
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn sqlite_follows_the_model(operations in operations()) {
        let home = tempdir().unwrap();
        conformance::model::run(&mut create(&home).1, &operations);
    }
}

#[test]
fn committed_rows_are_there_again_and_others_are_not() {
    let home = tempdir().unwrap();
    let (path, mut storage) = create(&home);
    storage.put(&NUMBERS, 1.into(), b"one").unwrap();
    storage.commit().unwrap();
    storage.put(&NUMBERS, 2.into(), b"two").unwrap();
    drop(storage);
    assert_eq!(keys(&open(&path, Access::Open).unwrap()), [1]);
    assert!(storage_files(home.path()).iter().all(|name| name == "test.sqlite"), "closing leaves one file");
}

#[test]
fn a_database_is_created_once_and_opened_only_where_it_is() {
    let home = tempdir().unwrap();
    let path = home.path().join("test.sqlite");
    for access in [Access::Open, Access::Read] {
        assert!(matches!(open(&path, access), Err(StorageError::NotFound(_))));
        assert!(!path.exists());
    }
    drop(create(&home));
    assert!(matches!(open(&path, Access::Create), Err(StorageError::Exists(_))));
}

#[test]
fn a_creation_that_was_cut_short_is_begun_again() {
    // What a crash can leave: a draft that is empty, half written, or complete but not yet in place; with its journal.
    for step in 0..3 {
        let home = tempdir().unwrap();
        let draft = home.path().join("test.sqlite.new");
        match step {
            0 => fs::write(&draft, "").unwrap(),
            1 => {
                fs::write(&draft, vec![7; 5000]).unwrap();
                fs::write(home.path().join("test.sqlite.new-journal"), vec![8; 700]).unwrap();
            }
            _ => {
                let (path, storage) = create(&home);
                drop(storage);
                fs::rename(path, &draft).unwrap();
            }
        }
        let (path, mut storage) = create(&home);
        storage.put(&NUMBERS, 1.into(), b"one").unwrap();
        storage.commit().unwrap();
        drop(storage);
        assert_eq!(keys(&open(&path, Access::Open).unwrap()), [1]);
        assert_eq!(storage_files(home.path()), ["test.sqlite"]);
    }
}

fn storage_files(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_reader_sees_one_state_until_it_refreshes() {
    let home = tempdir().unwrap();
    let (path, mut writer) = create(&home);
    writer.put(&NUMBERS, 1.into(), b"").unwrap();
    writer.commit().unwrap();
    let mut reader = open(&path, Access::Read).unwrap();
    assert!(!reader.refresh().unwrap());
    assert_eq!(keys(&reader), [1]);

    writer.put(&NUMBERS, 2.into(), b"").unwrap();
    assert!(!reader.refresh().unwrap(), "what is not committed is nobody's business");
    writer.commit().unwrap();
    assert_eq!((keys(&reader), reader.get(&NUMBERS, 2.into()).unwrap()), (vec![1], None));
    assert!(reader.refresh().unwrap());
    assert_eq!(keys(&reader), [1, 2]);
    assert!(!reader.refresh().unwrap());

    assert_eq!(reader.put(&NUMBERS, 3.into(), b""), Err(StorageError::ReadOnly));
    reader.commit().unwrap();
    reader.rollback().unwrap();
    drop(writer);
    assert_eq!(keys(&reader), [1, 2]);
}

#[test]
fn a_reader_does_not_stop_a_writer_from_reopening() {
    let home = tempdir().unwrap();
    let (path, mut writer) = create(&home);
    writer.put(&NUMBERS, 1.into(), b"").unwrap();
    writer.commit().unwrap();
    let mut reader = open(&path, Access::Read).unwrap();
    drop(writer);
    let mut writer = open(&path, Access::Open).unwrap();
    writer.put(&NUMBERS, 2.into(), b"").unwrap();
    writer.commit().unwrap();
    assert_eq!(keys(&reader), [1]);
    assert!(reader.refresh().unwrap());
    assert_eq!(keys(&reader), [1, 2]);
}

#[test]
fn two_writers_that_ignore_the_lock_do_not_mix_their_transactions() {
    let home = tempdir().unwrap();
    let (path, mut first) = create(&home);
    let mut second = open(&path, Access::Open).unwrap();
    first.put(&NUMBERS, 1.into(), b"").unwrap();
    assert!(matches!(second.put(&NUMBERS, 2.into(), b""), Err(StorageError::Locked(_))));
    first.commit().unwrap();
    second.put(&NUMBERS, 2.into(), b"").unwrap();
    second.commit().unwrap();
    assert_eq!(keys(&first), [1, 2]);
}

#[test]
fn a_newer_file_is_refused_and_left_as_it_is() {
    let home = tempdir().unwrap();
    let (path, mut storage) = create(&home);
    storage.put(&NUMBERS, 1.into(), b"one").unwrap();
    storage.commit().unwrap();
    drop(storage);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 8).unwrap();
    let before = fs::read(&path).unwrap();
    for access in [Access::Open, Access::Read] {
        assert_eq!(open(&path, access).unwrap_err(), StorageError::Newer { found: 8, known: 7 });
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    let old = Schema { version: 9, ..SCHEMA };
    let refused = SqliteStorage::open(&path, &old, Access::Open).unwrap_err();
    assert_eq!(refused, StorageError::Older { found: 8, known: 9 });
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_newer_file_whose_version_is_still_in_its_log_is_left_as_it_is() {
    let home = tempdir().unwrap();
    let (path, storage) = create(&home);
    drop(storage);
    // A newer program raised the version and was killed: its log is copied away before it can tidy up, and put back.
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 8).unwrap();
    let log = home.path().join("test.sqlite-wal");
    let (file_before, log_before) = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
    drop(newer);
    fs::write(&path, &file_before).unwrap();
    fs::write(&log, &log_before).unwrap();

    for access in [Access::Read, Access::Open] {
        assert_eq!(open(&path, access).unwrap_err(), StorageError::Newer { found: 8, known: 7 });
        assert!(fs::read(&path).unwrap() == file_before && fs::read(&log).unwrap() == log_before);
    }
}

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_is() {
    let home = tempdir().unwrap();
    let path = home.path().join("test.sqlite");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE photos (name TEXT)").unwrap();
    let photos = fs::read(&path).unwrap();
    let text = b"Dear diary, this is not a database, and it is long enough to have a header.".to_vec();
    for content in [photos, Vec::new(), text, vec![0; 4096], b"SQLite format 3\0".to_vec()] {
        fs::write(&path, &content).unwrap();
        for access in [Access::Open, Access::Read] {
            assert!(matches!(open(&path, access), Err(StorageError::Damaged(_))));
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }
}

#[test]
fn tables_that_are_not_as_the_version_says_are_damage() {
    for change in [
        "DROP TABLE words",
        "DROP VIEW documents",
        "ALTER TABLE numbers ADD COLUMN more TEXT",
        "DROP TABLE numbers; CREATE VIEW numbers AS SELECT 1 AS key, x'00' AS value",
        "DROP INDEX document_by_collection",
        "PRAGMA application_id = 1",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = -1",
    ] {
        let home = tempdir().unwrap();
        let (path, storage) = create(&home);
        drop(storage);
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        assert!(matches!(open(&path, Access::Open), Err(StorageError::Damaged(_))), "{change}");
    }
    // Additions of the owner are no business of ours, but they do not run when we write.
    let home = tempdir().unwrap();
    let (path, storage) = create(&home);
    drop(storage);
    let additions = "CREATE TABLE mine (a); CREATE INDEX by_json ON document (json);
        CREATE TRIGGER bomb AFTER INSERT ON numbers BEGIN DELETE FROM numbers; END";
    Connection::open(&path).unwrap().execute_batch(additions).unwrap();
    let mut storage = open(&path, Access::Open).unwrap();
    storage.put(&NUMBERS, 1.into(), b"").unwrap();
    storage.commit().unwrap();
    assert_eq!(keys(&storage), [1]);
}

#[test]
fn values_of_another_type_are_damage_and_not_a_short_result() {
    let home = tempdir().unwrap();
    let (path, mut storage) = create(&home);
    for number in 1..4 {
        let id = number.to_string();
        storage
            .upsert(&Document { number, collection: 1, id: &id, deleted: false, json: "{}", state: b"" })
            .unwrap();
    }
    storage.commit().unwrap();
    drop(storage);
    let negative = "INSERT INTO numbers VALUES (-1, x'00'); UPDATE document SET json = CAST(x'ff' AS TEXT) WHERE number = 2";
    Connection::open(&path).unwrap().execute_batch(negative).unwrap();
    let storage = open(&path, Access::Open).unwrap();
    assert!(matches!(storage.document(2, &mut |_| {}), Err(StorageError::Damaged(_))));
    let mut seen = 0;
    let mut visit = |_: &Document<'_>| {
        seen += 1;
        ControlFlow::Continue(())
    };
    assert!(matches!(storage.scan(1, None, &mut visit), Err(StorageError::Damaged(_))));
    assert_eq!(seen, 1);
    assert_eq!(keys(&storage), [], "a key that no one can have put is not in any range");
}

#[test]
fn a_row_that_is_not_as_it_was_written_is_damage() {
    let document = Document { number: 1, collection: 1, id: "a", deleted: false, json: "{}", state: b"s" };
    for change in [
        "UPDATE numbers SET value = CAST(x'6f6f65' || substr(value, 4) AS BLOB) WHERE key = 1",
        "UPDATE numbers SET value = x'' WHERE key = 1",
        "UPDATE numbers SET key = 3 WHERE key = 1; UPDATE numbers SET key = 1 WHERE key = 2",
        "UPDATE numbers SET value = (SELECT value FROM words)",
        "UPDATE document SET json = '{ }'",
        "UPDATE document SET deleted = 1",
        "UPDATE document SET collection = 2",
        "UPDATE document SET number = 2",
        "UPDATE document SET state = CAST(x'74' || substr(state, 2) AS BLOB)",
    ] {
        let home = tempdir().unwrap();
        let (path, mut storage) = create(&home);
        storage.put(&NUMBERS, 1.into(), b"one").unwrap();
        storage.put(&NUMBERS, 2.into(), b"two").unwrap();
        storage.put(&WORDS, Key::Bytes(b"\0\0\0\0\0\0\0\x01"), b"one").unwrap();
        storage.upsert(&document).unwrap();
        storage.commit().unwrap();
        drop(storage);
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        let storage = open(&path, Access::Open).unwrap();
        let mut go_on = |_: &Document<'_>| ControlFlow::Continue(());
        let found = storage.get(&NUMBERS, 1.into()).and(storage.scan(1, None, &mut go_on));
        let found = found.and(storage.scan(2, None, &mut go_on));
        assert!(matches!(found, Err(StorageError::Damaged(_))), "{change}");
    }
}

#[test]
fn a_document_that_is_damaged_keeps_nobody_from_reading_others() {
    let home = tempdir().unwrap();
    let (path, mut storage) = create(&home);
    let ids: Vec<String> = (0..100).map(|number| format!("d{number:03}")).collect();
    for (number, id) in (1..).zip(&ids) {
        storage
            .upsert(&Document { number, collection: 1, id, deleted: false, json: "{}", state: b"s" })
            .unwrap();
    }
    storage.commit().unwrap();
    drop(storage);
    Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE document SET json = '{ }' WHERE id = 'd050'")
        .unwrap();
    let storage = open(&path, Access::Open).unwrap();
    let read = |asked: &[&str]| {
        let mut found = 0;
        storage.documents_by_id(1, asked, &mut |_, _| found += 1).map(|()| found)
    };
    let mut others: Vec<&str> = ids.iter().map(String::as_str).filter(|id| *id != "d050").collect();
    assert_eq!(read(&others), Ok(99));
    others.push("d050");
    assert!(matches!(read(&others), Err(StorageError::Damaged(_))));
}

// Whatever happens to the bytes: what is read is what was written, or an error. Never a panic, never a short result
// without one.
#[test]
fn truncated_and_overwritten_files_give_errors() {
    let home = tempdir().unwrap();
    let (path, mut storage) = create(&home);
    for key in 0..2000u64 {
        storage.put(&NUMBERS, key.into(), &[key as u8; 100]).unwrap();
        storage.put(&WORDS, Key::Bytes(&key.to_be_bytes()), &[key as u8; 100]).unwrap();
    }
    storage.commit().unwrap();
    drop(storage);
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    assert!(pages > 50);

    let read = || -> Result<(usize, usize), StorageError> {
        let storage = open(&path, Access::Open)?;
        let count = |table| {
            let mut rows = 0;
            let mut visit = |_: Key<'_>, _: &[u8]| {
                rows += 1;
                ControlFlow::Continue(())
            };
            storage
                .range(table, Bound::Unbounded, Bound::Unbounded, Order::Ascending, &mut visit)
                .map(|()| rows)
        };
        Ok((count(&NUMBERS)?, count(&WORDS)?))
    };
    assert_eq!(read(), Ok((2000, 2000)));
    for length in [0, 1, 99, 512, 4095, 4096, 4097, 3 * 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(read(), Err(StorageError::Damaged(_))), "cut to {length} bytes: {:?}", read());
    }
    for page in 0..pages {
        for filling in [0u8, 0xff] {
            let mut bytes = whole.clone();
            bytes[page * 4096..(page + 1) * 4096].fill(filling);
            fs::write(&path, &bytes).unwrap();
            match read() {
                // The page of an empty tree, or one nobody reads here.
                Ok(rows) => assert_eq!(rows, (2000, 2000), "page {page} filled with {filling}"),
                Err(error) => assert!(matches!(error, StorageError::Damaged(_)), "page {page}: {error}"),
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_any_file_of_a_database() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempdir().unwrap();
    let folder = Folder::create(home.path().join("database")).unwrap();
    let mut storage = SqliteStorage::open(folder.database_file(), &SCHEMA, Access::Create).unwrap();
    storage.put(&NUMBERS, 1.into(), b"one").unwrap();
    storage.commit().unwrap();
    let mut names = storage_files(folder.path());
    names.sort();
    assert_eq!(names, ["driftless.sqlite", "driftless.sqlite-shm", "driftless.sqlite-wal", "lock"]);
    for name in names {
        let mode = fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn anyone_with_sql_sees_plain_documents() {
    let home = tempdir().unwrap();
    let (path, mut storage) = create(&home);
    storage.declare_collection(1, "s_garden", "plants").unwrap();
    let fern = r#"{"name":"Fern","water":2}"#;
    let live = Document { number: 1, collection: 1, id: "fern", deleted: false, json: fern, state: b"x" };
    storage.upsert(&live).unwrap();
    storage.upsert(&Document { number: 2, id: "moss", deleted: true, ..live }).unwrap();
    storage.commit().unwrap();

    let window = Connection::open(&path).unwrap();
    let row: (String, String, String, i64) = window
        .query_row("SELECT space, collection, id, json ->> 'water' FROM documents", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap();
    assert_eq!(row, ("s_garden".into(), "plants".into(), "fern".into(), 2));
    let others: i64 = window.query_row("SELECT count(*) FROM documents", [], |row| row.get(0)).unwrap();
    assert_eq!(others, 1);
}

#[test]
fn a_database_says_its_size() {
    let home = tempdir().unwrap();
    let (_, mut storage) = create(&home);
    let before = storage.size().unwrap();
    assert!(before > 0 && before.is_multiple_of(4096));
    storage.put(&NUMBERS, 1.into(), &[7; 100_000]).unwrap();
    storage.commit().unwrap();
    assert!(storage.size().unwrap() >= before + 90_000);
}

#[test]
fn a_copy_is_of_one_moment_while_somebody_writes_and_overwrites_nothing() {
    let home = tempdir().unwrap();
    let (path, mut storage) = create(&home);
    for key in 0..5000u64 {
        storage.put(&NUMBERS, key.into(), &[7; 2000]).unwrap();
    }
    storage.commit().unwrap();
    let to = home.path().join("copy.sqlite");
    let mut seen = (0, 0);
    let mut progress = |done, all| {
        if seen.0 == 0 {
            storage.put(&NUMBERS, 9000.into(), b"later").unwrap();
            storage.commit().unwrap();
        }
        seen = (done, all);
    };
    let mut finish = |copy: &mut dyn Storage| copy.put(&NUMBERS, 6000.into(), b"mark");
    SqliteStorage::copy(&path, &to, &SCHEMA, &mut progress, &mut finish).unwrap();
    assert!(seen.0 == seen.1 && seen.1 > 10_000_000, "{seen:?}");
    let expected: Vec<u64> = (0..5000).chain([6000]).collect();
    assert_eq!(keys(&open(&to, Access::Read).unwrap()), expected);
    assert_eq!(storage.get(&NUMBERS, 6000.into()).unwrap(), None, "the mark is in the copy only");

    let refused = SqliteStorage::copy(&path, &to, &SCHEMA, &mut |_, _| {}, &mut |_| Ok(()));
    assert!(matches!(refused, Err(StorageError::Exists(_))), "{refused:?}");
    let failed = SqliteStorage::copy(&path, &home.path().join("no"), &SCHEMA, &mut |_, _| {}, &mut |_| {
        Err(StorageError::Full)
    });
    assert_eq!(failed, Err(StorageError::Full));
    drop(storage);
    let half_made = |name: &String| name.contains(".new") || name.starts_with("no");
    assert!(!storage_files(home.path()).iter().any(half_made), "nothing half made is left");
}

#[test]
fn damage_of_pages_is_told_and_what_is_whole_can_still_be_read() {
    let home = tempdir().unwrap();
    let (path, mut storage) = create(&home);
    for key in 0..2000u64 {
        storage.put(&NUMBERS, key.into(), &[7; 500]).unwrap();
    }
    storage.commit().unwrap();
    let mut told = Vec::new();
    storage.check(&mut |problem| told.push(problem)).unwrap();
    assert!(told.is_empty(), "{told:?}");
    drop(storage);
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.len() / 4096 / 2 * 4096;
    bytes[page..page + 4096].fill(0x5a);
    fs::write(&path, bytes).unwrap();

    let damaged = SqliteStorage::open_damaged(&path, &SCHEMA).unwrap();
    damaged.check(&mut |problem| told.push(problem)).unwrap();
    assert!(!told.is_empty());
    let read = (0..2000u64).filter(|key| matches!(damaged.get(&NUMBERS, (*key).into()), Ok(Some(_)))).count();
    assert!((1900..2000).contains(&read), "{read}");
}

#[test]
fn a_repaired_file_takes_the_place_of_the_damaged_one_which_is_kept() {
    let home = tempdir().unwrap();
    let folder = Folder::create(home.path().join("db")).unwrap();
    let lock = folder.lock_writer(std::time::Duration::ZERO).unwrap();
    let write = |path: &Path, key: u64| {
        let mut storage = SqliteStorage::open(path, &SCHEMA, Access::Create).unwrap();
        storage.put(&NUMBERS, key.into(), b"").unwrap();
        storage.commit().unwrap();
    };
    write(&folder.database_file(), 1);
    let repaired = folder.repair_file(&lock).unwrap();
    write(&repaired, 2);
    let kept = folder.replace_database(&lock, &repaired, "now").unwrap();
    assert_eq!(keys(&open(&folder.database_file(), Access::Open).unwrap()), [2]);
    assert_eq!(keys(&open(&kept, Access::Open).unwrap()), [1]);
    assert!(!repaired.exists());
}
