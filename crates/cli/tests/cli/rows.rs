//! `rows`: files of SQLite under sync, as scripts meet them.

use rusqlite::Connection;
use serde_json::Value;

use crate::sandbox::Sandbox;

fn has(value: &Value, fields: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{value}"));
    let missing: Vec<_> = fields.iter().filter(|field| !object.contains_key(**field)).collect();
    assert!(missing.is_empty(), "{value} has no {missing:?}");
}

#[test]
fn each_command_prints_the_fields_of_the_contract() {
    let sandbox = Sandbox::new();
    let app = Connection::open(sandbox.path("app.db")).unwrap();
    app.execute_batch(
        "CREATE TABLE t(id TEXT PRIMARY KEY, u UNIQUE, n INTEGER); CREATE TABLE bare(v); INSERT INTO t VALUES('a', 1, 1)",
    )
    .unwrap();
    let attached =
        sandbox.json(&["rows", "attach", "app.db", "world", "--merge", "t.n=counter", "--part", "3"]);
    has(&attached, &["file", "space", "tables", "left_out", "again"]);
    assert_eq!(attached["tables"][0]["table"], "t");
    assert_eq!(attached["left_out"][0]["table"], "bare");
    let exchanged =
        ["file", "sent", "refused", "kept", "again", "found", "inserted", "updated", "deleted", "waiting"];
    let first = sandbox.json(&["rows", "sync"]);
    has(&first, &exchanged);
    assert_eq!(first["sent"], 1);
    // A document that cannot be a row, and one that can.
    sandbox.ok(&["insert", "world", "t", r#"{"u": 1, "n": 1}"#, "--id", "b"]);
    sandbox.ok(&["edit", "world", "t", "a", r#"{"$inc": {"n": 4}}"#]);
    let second = sandbox.json(&["rows", "sync", "app.db", "--audit"]);
    assert_eq!((&second["updated"], &second["waiting"]), (&1.into(), &1.into()));
    let n: i64 = app.query_row("SELECT n FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(n, 5);
    let status = sandbox.json(&["rows", "status", "--losers"]);
    has(
        &status,
        &["file", "space", "tables", "pending", "waiting", "refused", "elsewhere", "left_out", "losers"],
    );
    has(&status["left_out"][0], &["table", "why"]);
    has(&status["waiting"][0], &["collection", "id", "reason", "detail", "since"]);
    assert_eq!(status["waiting"][0]["reason"], "not_unique");
    assert!(sandbox.ok(&["rows", "status"]).contains("not_unique"));
    has(&sandbox.json(&["rows", "detach", "app.db"]), &["file"]);
    let left: i64 = app
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'driftless%'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn what_cannot_be_says_why_and_what_to_do() {
    let sandbox = Sandbox::new();
    let app = Connection::open(sandbox.path("app.db")).unwrap();
    app.execute_batch("CREATE TABLE bare(v)").unwrap();
    std::fs::write(
        sandbox.path("text.txt"),
        "no file of SQLite, but long enough to be taken for one".repeat(9),
    )
    .unwrap();
    for (words, exit, code) in [
        (&["rows", "sync"][..], 3, "not_attached"),
        (&["rows", "sync", "app.db"], 3, "not_attached"),
        (&["rows", "attach", "none.db", "world"], 3, "file_not_found"),
        (&["rows", "attach", "app.db", "nowhere"], 3, "not_found"),
        (&["rows", "attach", "app.db", "world", "--table", "bare"], 5, "table_refused"),
        (&["rows", "attach", "app.db", "world", "--merge", "t.n=best"], 5, "invalid_policy"),
        (&["rows", "attach", "app.db", "world", "--merge", "t.n=counter"], 5, "table_refused"),
        (&["rows", "attach", "app.db", "world", "--part", "4194304"], 5, "invalid"),
        (&["rows", "attach", "text.txt", "world"], 5, "not_sqlite"),
        (&["rows", "attach", ".", "world"], 5, "not_sqlite"),
        (&["rows", "detach", "app.db"], 3, "not_attached"),
    ] {
        let ran = sandbox.run(&[words, &["--json"]].concat());
        assert_eq!(ran.code, Some(exit), "{words:?}: {ran:?}");
        let said: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        assert_eq!(said["error"]["code"], code, "{words:?}: {ran:?}");
    }
    // A file is under sync with one space only.
    app.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY)").unwrap();
    sandbox.ok(&["rows", "attach", "app.db", "world"]);
    sandbox.ok(&["space", "create", "other"]);
    let ran = sandbox.run(&["rows", "attach", "app.db", "other", "--json"]);
    assert!(ran.stderr.contains("\"attached\""), "{ran:?}");
}

#[test]
fn a_file_that_is_gone_is_in_nobodys_way() {
    let sandbox = Sandbox::new();
    for name in ["here.db", "gone.db"] {
        let app = Connection::open(sandbox.path(name)).unwrap();
        app.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY)").unwrap();
        sandbox.ok(&["rows", "attach", name, "world"]);
    }
    std::fs::remove_file(sandbox.path("gone.db")).unwrap();
    Connection::open(sandbox.path("here.db")).unwrap().execute_batch("INSERT INTO t VALUES('a')").unwrap();
    for words in [["rows", "sync"], ["rows", "status"]] {
        let ran = sandbox.run(&words);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stdout.contains("here.db") && ran.stderr.contains("gone.db"), "{ran:?}");
    }
    assert_eq!(sandbox.lines(&["find", "world", "t"]).len(), 1);
    assert!(sandbox.ok(&["rows", "detach", "gone.db"]).contains("gone"));
    sandbox.ok(&["rows", "sync"]);
}

#[test]
fn what_a_reader_changes_is_not_sent_is_said_and_can_be_undone() {
    let sandbox = Sandbox::new();
    let app = |name: &str| {
        let app = Connection::open(sandbox.path(name)).unwrap();
        app.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a)").unwrap();
        app
    };
    let (here, there) = (app("here.db"), app("there.db"));
    here.execute_batch("INSERT INTO t VALUES('1', 'x'), ('2', 'y')").unwrap();
    sandbox.ok(&["rows", "attach", "here.db", "world"]);
    sandbox.ok(&["rows", "sync"]);
    let reader = sandbox.json(&["--dir", "other", "init"])["author"].as_str().unwrap().to_owned();
    sandbox.ok(&["grant", "world", &reader, "read"]);
    let carry = || {
        let _ = std::fs::remove_file(sandbox.path("bundle"));
        sandbox.ok(&["bundle", "export", "world", "bundle"]);
        sandbox.ok(&["--dir", "other", "bundle", "import", "bundle"]);
    };
    carry();
    let space = sandbox.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned();
    sandbox.ok(&["--dir", "other", "rows", "attach", "there.db", &space]);
    sandbox.ok(&["--dir", "other", "rows", "sync"]);
    there.execute_batch("UPDATE t SET a = 'mine' WHERE id = '1'; INSERT INTO t VALUES('9', 'mine')").unwrap();
    here.execute_batch("UPDATE t SET a = 'new'").unwrap();
    sandbox.ok(&["rows", "sync"]);
    carry();
    let told = sandbox.run(&["--dir", "other", "rows", "sync", "--json"]);
    assert_eq!(told.code, Some(4), "{told:?}");
    let failure: Value = serde_json::from_str(told.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(failure["error"]["code"], "not_permitted", "{told:?}");
    assert!(failure["error"]["message"].as_str().unwrap().contains("2 rows"), "{told:?}");
    assert!(failure["error"]["hint"].as_str().unwrap().contains("rows revert"), "{told:?}");
    assert_eq!(serde_json::from_str::<Value>(&told.stdout).unwrap()["kept"], 2, "{told:?}");
    let status = sandbox.json(&["--dir", "other", "rows", "status"]);
    assert_eq!((&status["pending"], &status["refused"][1]["key"]), (&2.into(), &"\"9\"".into()), "{status}");
    let all = |app: &Connection| {
        let query = "SELECT group_concat(id || a, ' ') FROM (SELECT * FROM t ORDER BY id)";
        app.query_row(query, [], |row| row.get::<_, String>(0)).unwrap()
    };
    // The rest went on.
    assert_eq!(all(&there), "1mine 2new 9mine");
    assert_eq!(sandbox.json(&["--dir", "other", "rows", "revert", "there.db"])["reverted"], 2);
    assert_eq!(all(&there), "1new 2new");
    let exchanged = sandbox.json(&["--dir", "other", "rows", "sync"]);
    assert_eq!((&exchanged["kept"], &exchanged["sent"]), (&0.into(), &0.into()));
}

#[test]
fn rows_that_a_restored_database_has_lost_are_sent_again_and_said_to_be() {
    let sandbox = Sandbox::new();
    let app = Connection::open(sandbox.path("app.db")).unwrap();
    app.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a); INSERT INTO t VALUES('a', 'old')").unwrap();
    sandbox.ok(&["rows", "attach", "app.db", "world"]);
    sandbox.ok(&["rows", "sync"]);
    sandbox.ok(&["backup", "saved"]);
    app.execute_batch("UPDATE t SET a = 'new'; INSERT INTO t VALUES('b', 'new')").unwrap();
    sandbox.ok(&["rows", "sync"]);
    sandbox.ok(&["--dir", "restored", "init", "--from", "saved", "--original-is-gone"]);
    let told = sandbox.run(&["--dir", "restored", "rows", "sync", "app.db"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains("lost 2 rows"), "{told:?}");
    assert_eq!(sandbox.json(&["--dir", "restored", "get", "world", "t", "a"])["a"], "new");
    assert_eq!(sandbox.json(&["--dir", "restored", "rows", "sync", "app.db"])["again"], 0);
}

#[test]
fn a_status_says_what_is_not_well_with_rows_and_a_sync_what_it_found() {
    let sandbox = Sandbox::new();
    let app = Connection::open(sandbox.path("app.db")).unwrap();
    app.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, u UNIQUE, n CHECK(n > 0)); CREATE TABLE bare(v); INSERT INTO t VALUES('a', 1, 1), ('b', 2, 1)")
        .unwrap();
    sandbox.ok(&["rows", "attach", "app.db", "world", "--merge", "t.n=counter"]);
    assert!(sandbox.ok(&["status"]).contains("2 not exchanged yet"));
    sandbox.ok(&["rows", "sync"]);
    let well = sandbox.ok(&["status"]);
    assert!(well.contains("All is well") && !well.contains("rows of"), "{well}");
    // Row b goes without a trigger that tells of it; and one changes that nobody notes.
    app.execute_batch("INSERT OR REPLACE INTO t VALUES('c', 2, 1)").unwrap();
    let told = sandbox.ok(&["rows", "sync"]);
    assert!(told.contains("2 sent") && told.contains("1 found by comparing"), "{told}");
    let hidden =
        "PRAGMA writable_schema = OFF; DROP TRIGGER driftless_1_update; UPDATE t SET u = 9 WHERE id = 'a'";
    app.execute_batch(hidden).unwrap();
    let found = sandbox.json(&["rows", "sync", "--audit"]);
    assert_eq!((&found["sent"], &found["found"]), (&1.into(), &1.into()), "{found}");
    // What waits and what is left out is told until it is mended.
    sandbox.ok(&["edit", "world", "t", "a", r#"{"$inc": {"n": -5}}"#]);
    sandbox.ok(&["rows", "sync"]);
    let said = sandbox.ok(&["status"]);
    assert!(said.contains("1 waiting") && !said.contains("All is well"), "{said}");
    let status = sandbox.json(&["status"]);
    assert_eq!((&status["ok"], &status["rows"][0]["waiting"]), (&false.into(), &1.into()), "{status}");
    let said = sandbox.ok(&["rows", "status"]);
    assert!(said.contains("left out") && said.contains("bare") && said.contains("without n -4"), "{said}");
    sandbox.ok(&["edit", "world", "t", "a", r#"{"$inc": {"n": 5}}"#]);
    sandbox.ok(&["rows", "sync"]);
    assert_eq!(sandbox.json(&["status"])["ok"], true);
    // Attached again it keeps how it merges, and says so.
    let again = sandbox.run(&["rows", "attach", "app.db", "world"]);
    assert!(again.stderr.contains("before"), "{again:?}");
    let other = sandbox.run(&["rows", "attach", "app.db", "world", "--merge", "t.n=max", "--json"]);
    assert_eq!(other.code, Some(5), "{other:?}");
    drop(app);
    std::fs::remove_file(sandbox.path("app.db")).unwrap();
    let said = sandbox.ok(&["status"]);
    assert!(said.contains("is not there") && !said.contains("All is well"), "{said}");
}

#[test]
fn a_file_that_is_attached_again_keeps_what_is_not_said() {
    let sandbox = Sandbox::new();
    let app = Connection::open(sandbox.path("app.db")).unwrap();
    app.execute_batch("CREATE TABLE article(id INTEGER PRIMARY KEY, a); CREATE TABLE customer(id INTEGER PRIMARY KEY, a); INSERT INTO customer VALUES(1, 'secret')")
        .unwrap();
    let attach = |more: &[&str]| {
        let words = [&["rows", "attach", "app.db", "world"], more].concat();
        let tables = sandbox.json(&words)["tables"].as_array().unwrap().clone();
        tables.iter().map(|table| table["table"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let options = || -> Value {
        let query = "SELECT value FROM driftless_settings WHERE name = 'options'";
        serde_json::from_str(&app.query_row(query, [], |row| row.get::<_, String>(0)).unwrap()).unwrap()
    };
    assert_eq!(
        attach(&["--table", "article", "--refuse-double", "--no-triggers", "--no-foreign-keys"]),
        "article"
    );
    assert_eq!(attach(&["--part", "1"]), "article");
    let kept = options();
    assert_eq!((&kept["double_create"], &kept["triggers"]), (&"refuse".into(), &false.into()), "{kept}");
    assert_eq!((&kept["foreign_keys"], &kept["part"]), (&false.into(), &1.into()), "{kept}");
    sandbox.ok(&["rows", "sync"]);
    assert_eq!(sandbox.lines(&["find", "world", "customer"]).len(), 0);
    assert_eq!(
        attach(&["--all-tables", "--merge-double", "--triggers", "--foreign-keys"]),
        "article customer"
    );
    let widened = options();
    assert_eq!((&widened["double_create"], &widened["part"]), (&"merge".into(), &1.into()), "{widened}");
    assert_eq!((&widened["triggers"], &widened["foreign_keys"]), (&true.into(), &true.into()), "{widened}");
    assert_eq!(attach(&["--table", "article"]), "article");
    sandbox.ok(&["rows", "sync"]);
    assert_eq!(sandbox.lines(&["find", "world", "customer"]).len(), 0);
}

#[test]
fn a_file_that_is_locked_or_none_any_more_is_named_and_stops_nothing() {
    let sandbox = Sandbox::new();
    for name in ["here.db", "odd.db", "zoo.db"] {
        let app = Connection::open(sandbox.path(name)).unwrap();
        app.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY)").unwrap();
        sandbox.ok(&["rows", "attach", name, "world"]);
    }
    std::fs::write(sandbox.path("odd.db"), "this is a text").unwrap();
    for words in [&["rows", "sync"][..], &["rows", "status"]] {
        let ran = sandbox.run(words);
        assert!(ran.code != Some(0) && ran.stdout.contains("zoo.db"), "{ran:?}");
        assert!(ran.stderr.contains("odd.db is not a SQLite file"), "{ran:?}");
    }
    sandbox.ok(&["rows", "detach", "odd.db"]);
    sandbox.ok(&["rows", "sync"]);
    assert_eq!(std::fs::read(sandbox.path("odd.db")).unwrap(), b"this is a text");
    // A program keeps one locked while a watch begins, and lets go later.
    let app = Connection::open(sandbox.path("here.db")).unwrap();
    app.execute_batch("BEGIN EXCLUSIVE; INSERT INTO t VALUES('late')").unwrap();
    let ran = sandbox.run(&["rows", "status"]);
    assert!(ran.stdout.contains("zoo.db") && ran.stderr.contains("here.db"), "{ran:?}");
    let mut watch = sandbox.start(&["rows", "sync", "--watch"]);
    watch.stderr.until("waiting for changes");
    app.execute_batch("COMMIT").unwrap();
    watch.stdout.until("here.db: 1 sent");
    // What is taken out of sync elsewhere is watched no more.
    sandbox.ok(&["rows", "detach", "here.db"]);
    sandbox.ok(&["rows", "detach", "zoo.db"]);
    assert!(!watch.wait().success());
}

#[test]
fn an_audit_finds_what_nobody_noted_or_listed() {
    let sandbox = Sandbox::new();
    let app = Connection::open(sandbox.path("app.db")).unwrap();
    app.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a)").unwrap();
    sandbox.ok(&["rows", "attach", "app.db", "world"]);
    sandbox.ok(&["rows", "sync"]);
    app.execute_batch("INSERT INTO t VALUES('a', 1), ('big', zeroblob(2000000))").unwrap();
    for sent in [1, 0] {
        let found = sandbox.json(&["rows", "sync", "--audit"]);
        assert_eq!((&found["sent"], &found["found"]), (&sent.into(), &0.into()), "{found}");
    }
}
