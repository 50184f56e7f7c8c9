//! What the application does in the middle of an exchange, and what several exchanges of one file at once come to.

use std::sync::atomic::{AtomicBool, Ordering};

use driftless::Value;
use driftless_rows::{Options, PerColumn, Policy, Rows};

use crate::shop::{Shop, assert_same, settle, shops, shops_with};

// What the documents of `t` say in one field.
fn said(shop: &Shop, field: &str) -> Vec<Option<Value>> {
    let (documents, _) = shop.space.collection("t").unwrap().page(0, 100_000).unwrap();
    documents.into_iter().map(|document| document.fields.get(field).cloned()).collect()
}

#[test]
fn a_column_that_is_renamed_in_the_middle_of_a_first_copy_says_in_each_document_what_its_row_says() {
    let mut all = shops(2, "CREATE TABLE t(id INTEGER PRIMARY KEY, price, note);");
    driftless_rows::detach(&all[0].path).unwrap();
    all[0].sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, i, 'x' FROM n");
    let mut rows = Rows::attach(&all[0].path, &all[0].space, Options::default()).unwrap();
    let (other, mut done) = (rusqlite::Connection::open(&all[0].path).unwrap(), false);
    rows.on_progress(move |_| {
        if !std::mem::replace(&mut done, true) {
            other.execute_batch("ALTER TABLE t RENAME COLUMN price TO cost").unwrap();
        }
    });
    rows.sync().unwrap();
    all[0].rows = Some(rows);
    let said = said(&all[0], "price");
    assert_eq!(said.len(), 5000);
    assert!(said.iter().all(|price| matches!(price, Some(Value::I64(_)))), "{:?}", said.last());
    all[1].sql("ALTER TABLE t RENAME COLUMN price TO cost");
    settle(&mut all);
    assert_same(&all);
}

#[test]
fn two_programs_with_one_file_both_notice_that_a_column_was_renamed() {
    let mut all = shops(1, "CREATE TABLE t(id TEXT PRIMARY KEY, price, note);");
    all[0].sql("INSERT INTO t VALUES('1', 1, 'x'), ('2', 2, 'y')");
    all[0].sync();
    let mut second = Rows::open(&all[0].path, &all[0].database).unwrap();
    second.sync().unwrap();
    all[0].sql("ALTER TABLE t RENAME COLUMN price TO cost; ALTER TABLE t RENAME COLUMN id TO key");
    all[0].sync();
    all[0].sql("UPDATE t SET cost = 7, note = 'z' WHERE key = '1'");
    // It is noted already.
    assert_eq!(second.audit().unwrap(), 0);
    second.sync().unwrap();
    assert_eq!(said(&all[0], "price"), [Some(Value::I64(7)), Some(Value::I64(2))]);
    assert_eq!(all[0].quoted("SELECT cost v FROM t ORDER BY key"), "7 2");
}

#[test]
fn what_several_exchanges_of_one_file_find_at_once_counts_once() {
    let mut options = Options::default();
    options.columns = PerColumn::default().with("t", "n", Policy::Counter);
    let mut all = shops_with(2, "CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER);", &options);
    all[0].sql("INSERT INTO t VALUES('sum', 0)");
    settle(&mut all);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let mut rows = Rows::open(&all[0].path, &all[0].database).unwrap();
            let ends = &ends;
            scope.spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    rows.sync().unwrap();
                }
            });
        }
        for n in 0..100 {
            all[0].sql("PRAGMA busy_timeout = 60000; UPDATE t SET n = n + 1");
            all[0].sql(&format!("INSERT INTO t VALUES('{n}', {n})"));
        }
        ends.store(true, Ordering::Relaxed);
    });
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT n v FROM t WHERE id = 'sum'"), "100");
    assert_eq!(all[1].quoted("SELECT count(*) v FROM t"), "101");
}

#[test]
fn a_file_that_somebody_keeps_locked_is_watched_until_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let app = rusqlite::Connection::open(&path).unwrap();
    // Without a log beside the file whoever writes locks out whoever reads.
    app.execute_batch("PRAGMA journal_mode = DELETE; CREATE TABLE t(id TEXT PRIMARY KEY, a)").unwrap();
    let database = driftless::Database::memory().unwrap();
    let space = database.create_space("s").unwrap();
    let mut rows = Rows::attach(&path, &space, Options::default()).unwrap();
    rows.sync().unwrap();
    app.execute_batch("BEGIN EXCLUSIVE; INSERT INTO t VALUES('1', 'x')").unwrap();
    let (ends, (sender, told)) = (AtomicBool::new(false), std::sync::mpsc::channel());
    std::thread::scope(|scope| {
        let ends = &ends;
        let watch = scope
            .spawn(move || rows.watch(|| !ends.load(Ordering::Relaxed), |told| sender.send(told).unwrap()));
        assert_eq!(told.recv().unwrap().unwrap_err().code(), "file_busy");
        app.execute_batch("COMMIT").unwrap();
        let done = std::iter::from_fn(|| told.recv().ok()).find_map(Result::ok).unwrap();
        assert_eq!(done.flushed.rows, 1);
        ends.store(true, Ordering::Relaxed);
        watch.join().unwrap().unwrap();
    });
}
