//! `kill -9` of `rows sync` at any moment, with many transactions over the same rows: no edit is lost, none counts twice.

use std::process::{Command, Stdio};

use rusqlite::Connection;

use crate::sandbox::Sandbox;

const ROWS: i64 = 200;
const TRANSACTIONS: i64 = 60;
// Transactions of the application between two processes.
const BETWEEN: i64 = 3;

// Runs until it ends, or for so many looks whether it has; how many there were.
fn looks(mut command: Command, most: u64) -> u64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut looks = 0;
    while looks < most && child.try_wait().unwrap().is_none() {
        looks += 1;
    }
    let _ = child.kill();
    child.wait().unwrap();
    looks
}

#[test]
fn whenever_an_exchange_is_killed_every_transaction_counts_once() {
    let sandbox = Sandbox::new();
    let open = |name: &str| {
        let app = Connection::open(sandbox.path(name)).unwrap();
        app.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        app.execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, a TEXT)",
        )
        .unwrap();
        app
    };
    let (here, there) = (open("here.db"), open("there.db"));
    here.execute_batch(&format!(
        "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {ROWS}) INSERT INTO t SELECT v, 0, 'new' FROM n"
    ))
    .unwrap();
    for name in ["here.db", "there.db"] {
        sandbox.ok(&["rows", "attach", name, "world", "--merge", "t.n=counter"]);
    }
    sandbox.ok(&["rows", "sync"]);
    let sync = || sandbox.command(&["rows", "sync"]);
    let whole = looks(sync(), u64::MAX);
    let mut moment = 7;
    for transaction in 1..=TRANSACTIONS {
        here.execute_batch(&format!("UPDATE t SET n = n + 1, a = 'edit {transaction}'")).unwrap();
        if transaction % BETWEEN == 0 {
            moment = (moment * 7_919 + 13) % 1_000;
            looks(sync(), whole * moment / 500);
        }
    }
    // The second time for what the first file sent.
    for _ in 0..2 {
        sandbox.ok(&["rows", "sync"]);
    }
    assert_eq!(sandbox.json(&["rows", "sync", "here.db", "--audit"])["found"], 0);
    for document in sandbox.lines(&["find", "world", "t"]) {
        assert_eq!(
            (&document["n"], &document["a"]),
            (&TRANSACTIONS.into(), &format!("edit {TRANSACTIONS}").into())
        );
    }
    for app in [&here, &there] {
        let query = "SELECT count(*), min(n), max(n), min(a) FROM t";
        let found = app.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        assert_eq!(found.unwrap(), (ROWS, TRANSACTIONS, TRANSACTIONS, format!("edit {TRANSACTIONS}")));
    }
    assert_eq!(sandbox.json(&["fsck"])["ok"], true);
}
