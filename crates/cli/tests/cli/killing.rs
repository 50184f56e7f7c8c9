//! `kill -9` in the middle of an import: what was called durable is there, whole transactions only, and the same
//! import again completes the work.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::json;

use crate::sandbox::Sandbox;

const ROWS: u64 = 20_000;
const TRANSACTION: u64 = 1_000;

fn rows(range: std::ops::Range<u64>) -> String {
    range.fold(String::new(), |mut text, number| {
        writeln!(text, "{{\"n\": {number}, \"square\": {}}}", number * number).unwrap();
        text
    })
}

fn count(sandbox: &Sandbox) -> u64 {
    sandbox.json(&["count", "world", "numbers"])["count"].as_u64().unwrap()
}

#[test]
fn an_import_that_is_killed_while_it_runs_leaves_whole_transactions_and_can_be_completed() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("numbers.jsonl", rows(0..ROWS));
    let words = ["import", "world", "numbers", &file, "--key", "n", "-v"];
    let mut before = 0;
    // Each attempt goes on where the last one was cut off.
    for moment in [1, 4, 5, 11, 17] {
        let mut import = sandbox.start(&words);
        import.stderr.until(&format!("{} rows are durable", moment * TRANSACTION));
        import.kill();
        let there = count(&sandbox);
        assert_eq!(there % TRANSACTION, 0);
        assert!(there >= moment * TRANSACTION && there >= before, "{there} after {moment} transactions");
        before = there;
    }
    let completed = sandbox.json(&words[..6]);
    assert_eq!(completed, json!({"inserted": ROWS - before, "updated": 0, "skipped": before, "rejected": 0}));
    assert_eq!(count(&sandbox), ROWS);
    let digest = sandbox.json(&["digest", "world"]);
    assert_eq!(sandbox.json(&["rebuild", "world"]), digest);
    assert_eq!(sandbox.json(&["status"])["ok"], true);
}

#[test]
fn a_transaction_that_was_not_complete_leaves_no_trace() {
    let sandbox = Sandbox::new();
    let words = ["import", "world", "numbers", "-", "--key", "n", "-v"];
    let mut import = sandbox.spawn(sandbox.command(&words).stdin(Stdio::piped()));
    // Three transactions and a half; the import then waits for more.
    import.stdin.as_mut().unwrap().write_all(rows(0..3_500).as_bytes()).unwrap();
    import.stderr.until("3000 rows are durable");
    assert_eq!(count(&sandbox), 3_000, "a reader sees what is durable, and no more");
    import.kill();
    assert_eq!(count(&sandbox), 3_000);
    let ran = sandbox.run_with(&[&words[..6], &["--json"]].concat(), rows(0..3_500).as_bytes());
    let counts: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(counts, json!({"inserted": 500, "updated": 0, "skipped": 3_000, "rejected": 0}));
}
