//! Much at once: rows that no commit can hold, more of them than one run can hold, and what the application does while a
//! first copy goes on.

use std::sync::{Arc, Mutex};

use driftless::{DocumentId, Map, Operator, Value};
use driftless_rows::{Options, PerColumn, Policy, Rows};

use crate::shop::{Shop, assert_same, settle, shops, shops_with};

fn halves(count: usize) -> String {
    format!(
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT json_group_array(i + 0.5) FROM n)"
    )
}

fn sets() -> Vec<Shop> {
    let mut options = Options::default();
    options.columns = PerColumn::default().with("t", "tags", Policy::Set);
    shops_with(
        2,
        "CREATE TABLE t(id TEXT PRIMARY KEY, tags TEXT); CREATE TABLE other(id TEXT PRIMARY KEY, a);",
        &options,
    )
}

#[test]
fn a_set_that_no_commit_can_hold_is_listed_and_stops_nothing() {
    let mut all = sets();
    all[0].sql(&format!("INSERT INTO t VALUES('large', {}), ('small', '[1]')", halves(120_000)));
    all[0].sql("INSERT INTO other VALUES('1', 'x')");
    assert!(
        all[0].quoted("SELECT length(tags) v FROM t WHERE id = 'large'").parse::<usize>().unwrap()
            < 1_000_000
    );
    let done = all[0].sync();
    assert_eq!((done.flushed.rows, done.flushed.refused), (2, 1));
    let refused = all[0].rows().refused().unwrap();
    assert_eq!(refused.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["\"large\""]);
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT id v FROM t"), "'small'");
    all[0].sql("UPDATE t SET tags = '[1, 2]' WHERE id = 'large'");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].rows().refused().unwrap(), []);
}

#[test]
fn an_outbox_that_can_never_be_written_is_given_up_and_its_rows_are_sent() {
    let mut all = sets();
    all[0].sql("INSERT INTO t VALUES('1', '[1]'), ('2', '[2]'), ('3', '[3]')");
    settle(&mut all);
    // As an earlier version left it: taken, and known, and too large.
    let t = all[0].space.collection("t").unwrap();
    let mut transaction = all[0].database.transaction();
    let large = Value::from_json(&format!("[{}0.5]", "0.5,".repeat(200_000))).unwrap();
    let fields = Map::from_iter([("tags", large)]);
    transaction
        .edit_unseen(&t, &DocumentId::string("1").unwrap(), vec![Operator::Insert { fields, parent: None }])
        .unwrap();
    transaction.edit_unseen(&t, &DocumentId::string("2").unwrap(), vec![Operator::Delete]).unwrap();
    all[0].sql("DELETE FROM t WHERE id = '2'; UPDATE t SET tags = '[1, 7]' WHERE id = '1'; DELETE FROM driftless_pending; DELETE FROM driftless_known WHERE id = (SELECT min(id) FROM driftless_known)");
    all[0]
        .app
        .execute(
            "INSERT INTO driftless_outbox(token, edits) VALUES(x'0102030405060708', ?1)",
            [transaction.to_bytes()],
        )
        .unwrap();
    assert_eq!(all[0].sync().flushed.rows, 2);
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT id || tags v FROM t ORDER BY id"), "'1[1,7]' '3[3]'");
}

#[test]
fn many_large_rows_that_are_there_at_first_go_over_in_several_runs() {
    let mut all = shops(2, "CREATE TABLE photo(id INTEGER PRIMARY KEY, image BLOB);");
    driftless_rows::detach(&all[0].path).unwrap();
    all[0].sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) INSERT INTO photo SELECT i, zeroblob(600000) FROM n");
    let mut rows = Rows::attach(&all[0].path, &all[0].space, Options::default()).unwrap();
    let runs = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&runs);
    rows.on_progress(move |progress| *counted.lock().unwrap() += u32::from(progress.stage == "rows sent"));
    assert_eq!(rows.sync().unwrap().flushed.rows, 40);
    all[0].rows = Some(rows);
    assert!(*runs.lock().unwrap() >= 2);
    settle(&mut all);
    assert_same(&all);
}

#[test]
fn a_transaction_of_the_application_in_the_middle_of_a_first_copy_goes_over_whole() {
    let all = shops(1, "CREATE TABLE t(id INTEGER PRIMARY KEY, a);");
    driftless_rows::detach(&all[0].path).unwrap();
    all[0].sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 7000) INSERT INTO t SELECT i, 0 FROM n");
    let mut rows = Rows::attach(&all[0].path, &all[0].space, Options::default()).unwrap();
    let other = rusqlite::Connection::open(&all[0].path).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (t, told) = (all[0].space.collection("t").unwrap(), Arc::clone(&seen));
    rows.on_progress(move |progress| {
        if progress.stage != "rows sent" {
            return;
        }
        let mut told = told.lock().unwrap();
        // What was sent before, in the first and in the last rows.
        told.push(
            [10, 6990]
                .map(|id| t.get(&DocumentId::from(id)).unwrap().and_then(|row| row.fields.get("a").cloned())),
        );
        if told.len() == 1 {
            other.execute_batch("UPDATE t SET a = 1 WHERE id IN (10, 6990)").unwrap();
        }
    });
    rows.sync().unwrap();
    let seen = seen.lock().unwrap();
    let (before, after) = (Some(Value::I64(0)), Some(Value::I64(1)));
    assert_eq!(seen[..3], [[None, None], [before, None], [after.clone(), after]]);
}
