//! A database or a file that was put back to an older copy, or is a copy of one that goes on: nothing is lost, and nothing
//! is done twice.

use std::path::Path;

use driftless::{Database, Original, Permission, Strength, Subject};
use driftless_rows::{Options, PerColumn, Policy, Rows};
use rusqlite::Connection;

use crate::shop::{Shop, assert_same, settle, shops_with};

const SCHEMA: &str = "CREATE TABLE t(id TEXT PRIMARY KEY, a, n INTEGER);
    CREATE TABLE more(id TEXT PRIMARY KEY, tags TEXT, high INTEGER);
    CREATE TABLE range(id TEXT PRIMARY KEY, low INTEGER, high INTEGER, CHECK(low <= high));";

fn options() -> Options {
    let mut options = Options::default();
    options.columns = PerColumn::default()
        .with("t", "n", Policy::Counter)
        .with("more", "tags", Policy::Set)
        .with("more", "high", Policy::Max);
    options
}

// Two devices; the first one's database is in a folder, so that there can be copies of it.
fn devices() -> Vec<Shop> {
    let mut all = shops_with(1, SCHEMA, &options());
    let second = all.pop().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let space = database.create_space("catalogue").unwrap();
    let path = folder.path().join("shop.db");
    let app = Connection::open(&path).unwrap();
    app.execute_batch(SCHEMA).unwrap();
    let rows = Some(Rows::attach(&path, &space, options()).unwrap());
    let first = Shop { _folder: folder, path, database, space, rows, app };
    let key = Subject::Key(second.database.author().unwrap());
    first.space.grant(key, Permission::Write(Strength(5))).unwrap();
    second.database.import(&mut &*first.bundle(), &mut |_| {}).unwrap();
    let space = second.database.space(&first.space.id().to_string()).unwrap();
    driftless_rows::detach(&second.path).unwrap();
    let rows = Some(Rows::attach(&second.path, &space, options()).unwrap());
    vec![first, Shop { space, rows, ..second }]
}

fn copy_file(from: &Path, to: &Path) {
    let source = Connection::open(from).unwrap();
    let _ = std::fs::remove_file(to);
    source.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
}

// The first device goes on with a database that was made from a backup.
fn restore(first: Shop, backup: &Path) -> Shop {
    restore_of(first, backup, Original::IsGone)
}

fn restore_of(first: Shop, backup: &Path, original: Original) -> Shop {
    let Shop { _folder, path, rows, app, database, space, .. } = first;
    drop((rows, database, space));
    let folder = _folder.path().join("restored");
    let database = Database::builder().restore(&folder, backup, original, &mut |_, _| {}).unwrap();
    let space = database.space("catalogue").unwrap();
    let rows = Some(Rows::open(&path, &database).unwrap());
    Shop { _folder, path, database, space, rows, app }
}

// The first device's file is what it was.
fn put_back(first: Shop, copy: &Path) -> Shop {
    let Shop { _folder, path, rows, app, database, space } = first;
    drop((rows, app));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    std::fs::copy(copy, &path).unwrap();
    let app = Connection::open(&path).unwrap();
    let rows = Some(Rows::open(&path, &database).unwrap());
    Shop { _folder, path, database, space, rows, app }
}

#[test]
fn what_a_restored_database_has_lost_is_sent_again_from_the_file_and_what_others_wrote_later_holds() {
    let mut all = devices();
    all[0].sql("INSERT INTO t VALUES('1', 'old', 10), ('2', 'old', 0), ('3', 'gone', 0), ('5', 'same', 5)");
    settle(&mut all);
    let backup = all[0]._folder.path().join("backup");
    all[0].database.backup(&backup, &mut |_, _| {}).unwrap();
    all[0].sql("UPDATE t SET a = 'new', n = n + 5 WHERE id = '1'; INSERT INTO t VALUES('4', 'new', 7); DELETE FROM t WHERE id = '3'; UPDATE t SET a = 'mine' WHERE id = '2'");
    all[0].sync();
    let second = all.pop().unwrap();
    let first = restore(all.pop().unwrap(), &backup);
    all.extend([first, second]);
    // The second device has never heard of it, and writes later.
    all[1].sql("UPDATE t SET a = 'theirs' WHERE id = '2'");
    all[1].sync();
    let done = all[0].sync();
    assert_eq!(done.flushed.again, 3, "{done:?}");
    settle(&mut all);
    assert_same(&all);
    let rows = "SELECT id || a || n v FROM t ORDER BY id";
    // What was deleted is there again: nothing in the file says that it ever was.
    assert_eq!(all[1].quoted(rows), "'1new15' '2theirs0' '3gone0' '4new7' '5same5'");
    assert_eq!(all[0].sync().flushed.again, 0);
}

#[test]
fn a_counter_that_others_changed_since_a_restored_database_was_saved_is_what_they_made_of_it() {
    let mut all = devices();
    all[0].sql("INSERT INTO t VALUES('1', 'a', 10), ('2', 'a', 10), ('3', 'a', 10)");
    settle(&mut all);
    let backup = all[0]._folder.path().join("backup");
    all[0].database.backup(&backup, &mut |_, _| {}).unwrap();
    all[0].sql("UPDATE t SET n = n + 5 WHERE id = '2'; INSERT INTO t VALUES('4', 'a', 1)");
    all[0].sync();
    // Sold there; the database hears of it before the file does. Something was sold here meanwhile, too.
    all[1].sql("UPDATE t SET n = n - 3 WHERE id IN ('1', '3')");
    all[1].sync();
    let second = all.pop().unwrap();
    let first = restore(all.pop().unwrap(), &backup);
    all.extend([first, second]);
    all[0].sql("UPDATE t SET n = n - 1 WHERE id = '3'");
    crate::shop::carry(&all.iter().collect::<Vec<_>>());
    all[0].sync();
    let refused = all[0].rows().refused().unwrap();
    assert_eq!(refused.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["\"1\""]);
    assert!(refused[0].detail.contains("n 10"), "{refused:?}");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT id || a || n v FROM t ORDER BY id"), "'1a7' '2a15' '3a6' '4a1'");
}

#[test]
fn a_restored_database_that_has_lost_nothing_is_not_sent_anything_again() {
    let mut all = devices();
    all[0].sql("INSERT INTO t VALUES('1', 'a', 10)");
    settle(&mut all);
    // Sold there before this device writes last, heard of after.
    all[1].sql("UPDATE t SET n = n - 3 WHERE id = '1'");
    all[1].sync();
    all[0].sql("INSERT INTO t VALUES('2', 'a', 0)");
    all[0].sync();
    let backup = all[0]._folder.path().join("backup");
    all[0].database.backup(&backup, &mut |_, _| {}).unwrap();
    let second = all.pop().unwrap();
    let first = restore(all.pop().unwrap(), &backup);
    all.extend([first, second]);
    crate::shop::carry(&all.iter().collect::<Vec<_>>());
    assert_eq!(all[0].sync().flushed, driftless_rows::Flushed::default());
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT id || a || n v FROM t ORDER BY id"), "'1a7' '2a0'");
}

#[test]
fn a_file_put_back_to_an_older_copy_gets_what_the_space_has_and_undoes_nothing() {
    let mut all = devices();
    all[0].sql("INSERT INTO t VALUES('1', 'old', 10), ('2', 'old', 0)");
    settle(&mut all);
    let copy = all[0]._folder.path().join("copy.db");
    // It is copied while something is in the outbox, too.
    all[0].sql("UPDATE t SET n = n + 1 WHERE id = '2'");
    copy_file(&all[0].path, &copy);
    all[0].sync();
    all[0].sql("UPDATE t SET a = 'new', n = n + 5 WHERE id = '1'; DELETE FROM t WHERE id = '2'; INSERT INTO t VALUES('3', 'new', 7)");
    settle(&mut all);
    let second = all.pop().unwrap();
    let first = put_back(all.pop().unwrap(), &copy);
    all.extend([first, second]);
    all[0].sql("INSERT INTO t VALUES('4', 'later', 1); UPDATE t SET n = n + 1 WHERE id = '1'");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT id || a || n v FROM t ORDER BY id"), "'1new16' '3new7' '4later1'");
}

#[test]
fn a_file_and_a_database_that_are_both_put_back_lose_what_neither_has_and_nothing_else() {
    for file_is_newer in [true, false] {
        let mut all = devices();
        all[0].sql("INSERT INTO t VALUES('1', 'first', 1)");
        settle(&mut all);
        let (copy, backup) = (all[0]._folder.path().join("copy.db"), all[0]._folder.path().join("backup"));
        let save = |all: &[Shop], file: bool| match file {
            true => copy_file(&all[0].path, &copy),
            false => _ = all[0].database.backup(&backup, &mut |_, _| {}).unwrap(),
        };
        save(&all, !file_is_newer);
        all[0].sql("UPDATE t SET a = 'second', n = n + 1");
        all[0].sync();
        save(&all, file_is_newer);
        all[0].sql("UPDATE t SET a = 'third', n = n + 1");
        all[0].sync();
        let second = all.pop().unwrap();
        let first = put_back(restore(all.pop().unwrap(), &backup), &copy);
        all.extend([first, second]);
        all[0].sync();
        settle(&mut all);
        assert_same(&all);
        assert_eq!(all[1].quoted("SELECT a || n v FROM t"), "'second2'");
    }
}

#[test]
fn a_copy_of_a_file_beside_it_is_a_file_of_its_own_and_no_change_counts_twice() {
    let mut all = devices();
    all[0].sql("INSERT INTO t VALUES('1', 'a', 10)");
    settle(&mut all);
    let copy = all[0]._folder.path().join("copy.db");
    all[0].sql("UPDATE t SET n = n + 1");
    all[0].sync();
    copy_file(&all[0].path, &copy);
    let mut other = Rows::open(&copy, &all[0].database).unwrap();
    let app = Connection::open(&copy).unwrap();
    for round in 0..3 {
        all[0].sql(&format!("UPDATE t SET n = n + 10; INSERT INTO t VALUES('here{round}', 0, 0)"));
        app.execute_batch(&format!("UPDATE t SET n = n + 100; INSERT INTO t VALUES('there{round}', 0, 0)"))
            .unwrap();
        other.sync().unwrap();
        settle(&mut all);
        other.sync().unwrap();
    }
    settle(&mut all);
    other.sync().unwrap();
    assert_same(&all);
    assert_eq!(crate::shop::dump(&app), all[0].dump());
    assert_eq!(all[1].quoted("SELECT n v FROM t WHERE id = '1'"), "341");
    // On another device it is attached there first.
    let error = Rows::open(&copy, &all[1].database).unwrap_err();
    assert_eq!(error.code(), "attached");
    let error = Rows::attach(&copy, &all[1].space, options()).unwrap_err();
    assert_eq!(error.code(), "attached");
    driftless_rows::detach(&copy).unwrap();
    let mut rows = Rows::attach(&copy, &all[1].space, options()).unwrap();
    assert_eq!(rows.sync().unwrap().flushed.rows, 0);
    assert_eq!(crate::shop::dump(&app), all[0].dump());
}

#[test]
fn a_folder_of_a_database_that_was_copied_back_by_hand_gets_what_the_file_has() {
    let mut all = devices();
    all.truncate(1);
    let mut shop = all.pop().unwrap();
    shop.sql("INSERT INTO t VALUES('1', 'old', 10)");
    shop.sync();
    let (db, saved) = (shop._folder.path().join("db"), shop._folder.path().join("saved"));
    let copy = |from: &Path, to: &Path| {
        let _ = std::fs::remove_dir_all(to);
        std::fs::create_dir(to).unwrap();
        for file in std::fs::read_dir(from).unwrap().flatten() {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    // Also where more was written there since than was lost.
    for more in [0, 5] {
        let Shop { _folder, path, database, space, rows, app } = shop;
        drop((database, space, rows));
        copy(&db, &saved);
        let reopened = |folder: tempfile::TempDir, app| {
            let database = Database::open(&db).unwrap();
            let space = database.space("catalogue").unwrap();
            let rows = Some(Rows::open(&path, &database).unwrap());
            Shop { _folder: folder, path: path.clone(), database, space, rows, app }
        };
        shop = reopened(_folder, app);
        shop.sql(&format!(
            "UPDATE t SET a = 'new{more}', n = n + 5 WHERE id = '1'; INSERT INTO t VALUES('more{more}', 'new', 1)"
        ));
        shop.sync();
        let Shop { _folder, database, space, rows, app, .. } = shop;
        drop((database, space, rows));
        copy(&saved, &db);
        shop = reopened(_folder, app);
        for n in 0..more {
            let other = shop.space.collection("other").unwrap();
            other.insert(driftless::Map::from_iter([("n", driftless::Value::I64(n))])).unwrap();
        }
        let before = shop.dump();
        assert_eq!(shop.sync().flushed.again, 2, "{more}");
        assert_eq!(shop.dump(), before);
        assert_eq!(shop.sync(), driftless_rows::Exchanged::default());
        let document =
            shop.space.collection("t").unwrap().get(&driftless::DocumentId::string("1").unwrap()).unwrap();
        assert_eq!(
            document.unwrap().fields.to_json(),
            format!(r#"{{"a":"new{more}","n":{}}}"#, if more == 0 { 15 } else { 20 })
        );
    }
}

#[test]
fn what_others_wrote_earlier_and_comes_after_a_database_was_put_back_is_not_undone() {
    // It comes before the file and the database meet, or after.
    for before in [true, false] {
        let mut all = devices();
        all[0].sql(
            "INSERT INTO t VALUES('1', 'a', 10), ('2', 'a', 10); INSERT INTO more VALUES('m', '[\"a\"]', 5)",
        );
        settle(&mut all);
        // Sold there first; nobody hears of it yet.
        all[1].sql("UPDATE t SET n = n - 3 WHERE id = '1'; UPDATE more SET tags = '[\"a\",\"c\"]', high = 6");
        all[1].sync();
        all[0].sql("INSERT INTO t VALUES('3', 'later', 0)");
        all[0].sync();
        let backup = all[0]._folder.path().join("backup");
        all[0].database.backup(&backup, &mut |_, _| {}).unwrap();
        all[0].sql("UPDATE t SET n = n + 5; UPDATE more SET tags = '[\"a\",\"b\"]', high = 9");
        all[0].sync();
        let second = all.pop().unwrap();
        let first = restore(all.pop().unwrap(), &backup);
        all.extend([first, second]);
        all[0].sql("UPDATE t SET n = n + 100 WHERE id = '2'; UPDATE more SET tags = '[\"b\",\"d\"]'");
        if before {
            crate::shop::carry(&all.iter().collect::<Vec<_>>());
        }
        all[0].sync();
        let refused: Vec<String> = all[0].rows().refused().unwrap().into_iter().map(|row| row.key).collect();
        settle(&mut all);
        assert_same(&all);
        let shown = all[1].quoted("SELECT id || ' ' || n v FROM t ORDER BY id");
        match before {
            // What was lost of a counter that others changed is listed; what was written since is not lost.
            true => assert_eq!((refused, shown.as_str()), (vec!["\"1\"".into()], "'1 7' '2 115' '3 5'")),
            false => assert_eq!((refused, shown.as_str()), (vec![], "'1 12' '2 115' '3 5'")),
        }
        // Of the set what was taken out since is gone, and nothing that anybody put in.
        let tags = "SELECT group_concat(value, '') FROM (SELECT value FROM json_each(tags) ORDER BY value)";
        assert_eq!(all[0].quoted(&format!("SELECT ({tags}) || high v FROM more")), "'bcd9'");
    }
}

#[test]
fn a_document_of_which_a_row_shows_less_is_not_changed_by_a_database_that_was_put_back() {
    let mut all = devices();
    all[0].sql("INSERT INTO range VALUES('r', 1, 9)");
    settle(&mut all);
    all[0].sql("UPDATE range SET low = 6");
    all[1].sql("UPDATE range SET high = 4; UPDATE driftless_pending SET at = at + 10");
    settle(&mut all);
    let document = |all: &[Shop]| {
        let range = all[1].space.collection("range").unwrap();
        range.get(&driftless::DocumentId::string("r").unwrap()).unwrap().unwrap().fields.to_json()
    };
    assert_eq!(document(&all), r#"{"high":4,"low":6}"#);
    let backup = all[0]._folder.path().join("backup");
    all[0].database.backup(&backup, &mut |_, _| {}).unwrap();
    all[0].sql("INSERT INTO t VALUES('lost', 'a', 1)");
    all[0].sync();
    let second = all.pop().unwrap();
    let first = restore(all.pop().unwrap(), &backup);
    all.extend([first, second]);
    assert_eq!(all[0].sync().flushed.again, 1);
    settle(&mut all);
    assert_same(&all);
    assert_eq!(document(&all), r#"{"high":4,"low":6}"#);
    assert_eq!(all[0].quoted("SELECT low || ' ' || high v FROM range"), "'6 9'");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_original_may_go_on_sends_what_it_has_lost_once_it_was_in_touch() {
    let mut all = devices();
    all[0].sql("INSERT INTO t VALUES('1', 'a', 10)");
    settle(&mut all);
    let backup = all[0]._folder.path().join("backup");
    all[0].database.backup(&backup, &mut |_, _| {}).unwrap();
    all[0].sql("UPDATE t SET n = n + 5; INSERT INTO t VALUES('2', 'b', 1)");
    all[0].sync();
    let second = all.pop().unwrap();
    let first = restore_of(all.pop().unwrap(), &backup, Original::MayExist);
    all.extend([first, second]);
    let rows = all[0].dump();
    all[0].rows().sync().unwrap_err();
    assert_eq!(all[0].dump(), rows);
    let net = driftless_net::MemoryNetwork::new();
    let on = |shop: &Shop| {
        let transport = net.transport(shop.database.peer().unwrap());
        driftless::Network::over(&shop.database, std::sync::Arc::new(transport)).unwrap()
    };
    let (at_first, at_second) = (on(&all[0]), on(&all[1]));
    let address = at_second.serve(&"memory:second".parse().unwrap()).await.unwrap();
    at_first.sync_with_peer(&address, &all[0].space.id()).await.unwrap();
    assert_eq!(all[0].sync().flushed.again, 2);
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT id || n v FROM t ORDER BY id"), "'115' '21'");
}
