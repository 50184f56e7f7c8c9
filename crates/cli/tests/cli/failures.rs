//! Every exit code, with its sentence and its hint, for people and for programs.

use std::fs;
use std::process::Stdio;

use crate::sandbox::Sandbox;

#[test]
fn wrong_usage_is_2() {
    let sandbox = Sandbox::new();
    let (message, hint) = sandbox.fails(2, "usage", &["find", "world"]);
    assert!(message.contains("<COLLECTION>") && hint.contains("driftless find"), "{message} {hint}");
    let (message, hint) = sandbox.fails(2, "usage", &["finde"]);
    assert!(message.contains("finde") && hint.contains("find"), "{message} {hint}");
    sandbox.fails(2, "usage", &["find", "world", "c", "--limit", "many"]);
    sandbox.fails(2, "usage", &["log", "world", "collection-without-id"]);
    sandbox.fails(2, "usage", &["--dir", "", "status"]);
    let (_, hint) = sandbox.fails(2, "usage", &["import", "world", "c", "file.txt"]);
    assert!(hint.contains("--format"), "{hint}");

    let ran = sandbox.run(&[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("Usage: driftless"));
    assert!(sandbox.run(&["--json"]).stderr.contains("a command is missing"));
}

#[test]
fn what_is_not_here_is_3() {
    let empty = Sandbox::empty();
    for words in
        [&["status"][..], &["insert", "s", "c", "{}"], &["find", "s", "c"], &["space", "create", "s"]]
    {
        let (_, hint) = empty.fails(3, "not_found", words);
        assert!(hint.contains("driftless init"), "{hint}");
    }
    assert!(!fs::exists(empty.path("db")).unwrap(), "a command that fails makes nothing");

    let sandbox = Sandbox::new();
    let (message, hint) = sandbox.fails(3, "not_found", &["find", "moon", "c"]);
    assert!(message.contains("space moon") && hint.contains("space list"), "{message} {hint}");
    sandbox.fails(3, "not_found", &["digest", "s_aaaaaaaa"]);
    let (message, hint) = sandbox.fails(3, "not_found", &["get", "world", "c", "nobody"]);
    assert!(message.contains("document nobody") && hint.contains("find"), "{message} {hint}");
    for verb in ["delete", "restore"] {
        sandbox.fails(3, "not_found", &[verb, "world", "c", "nobody"]);
    }
    sandbox.fails(3, "not_found", &["edit", "world", "c", "nobody", r#"{"$set": {"a": 1}}"#]);
    let (message, _) = sandbox.fails(3, "not_found", &["--user", "ben", "status"]);
    assert!(message.contains("user ben"), "{message}");
    let (message, _) = sandbox.fails(3, "file_not_found", &["bundle", "import", "no.bundle"]);
    assert!(message.contains("no.bundle"), "{message}");
    sandbox.fails(3, "file_not_found", &["import", "world", "c", "no.csv"]);
    sandbox.fails(3, "file_not_found", &["insert", "world", "c", "@no.json"]);
    sandbox.fails(3, "file_not_found", &["bundle", "export", "world", "no/folder.bundle"]);
}

#[test]
fn what_the_rules_forbid_is_4() {
    let sandbox = Sandbox::with_subdivisions();
    sandbox.ok(&["bundle", "export", "world", "w.bundle"]);
    sandbox.ok(&["--dir", "ben", "init"]);
    sandbox.ok(&["--dir", "ben", "bundle", "import", "w.bundle"]);
    let operators = r#"{"$set": {"note": "mine"}}"#;
    let (_, hint) = sandbox.fails(
        4,
        "not_permitted",
        &["--dir", "ben", "edit", "world", "subdivisions", "AT-9", operators],
    );
    assert!(hint.contains("grant"), "{hint}");
    sandbox.fails(4, "not_permitted", &["--dir", "ben", "insert", "world", "c", "{}"]);
    sandbox.fails(4, "not_permitted", &["--dir", "ben", "grant", "world", "*", "write"]);
    let file = sandbox.file("rows.jsonl", "{\"a\": 1}\n");
    sandbox.fails(4, "not_permitted", &["--dir", "ben", "import", "world", "c", &file]);
    assert_eq!(sandbox.view("ben"), sandbox.view("db"));
}

#[test]
fn input_that_is_not_valid_is_5() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["insert", "world", "c", "{}", "--id", "x"]);
    let (message, hint) = sandbox.fails(5, "invalid_json", &["insert", "world", "c", "{\"a\": }"]);
    assert!(message.contains("line 1 column 7") && hint.contains("quotes"), "{message} {hint}");
    for json in ["[1]", "{\"_a\": 1}", "{\"a\": 123456789012345678901}", "{\"a\": 1, \"a\": 2}", ""] {
        sandbox.fails(5, "invalid_json", &["insert", "world", "c", json]);
    }
    sandbox.fails(5, "invalid_json", &["save", "world", "c", "x", r#"{"_id": "y"}"#]);
    let (message, hint) =
        sandbox.fails(5, "invalid_operators", &["edit", "world", "c", "x", r#"{"$sett": {"a": 1}}"#]);
    assert!(message.contains("$sett") && hint.contains("$set"), "{message} {hint}");
    sandbox.fails(5, "invalid_operators", &["edit", "world", "c", "x", r#"{"title": "a whole document"}"#]);
    let (message, _) = sandbox.fails(5, "invalid_filter", &["find", "world", "c", r#"{"a": {"$gtt": 1}}"#]);
    assert!(message.contains("$gtt"), "{message}");
    sandbox.fails(5, "invalid_filter", &["watch", "world", "c", "nonsense"]);
    sandbox.fails(5, "invalid_sort", &["find", "world", "c", "--sort", ",,"]);
    sandbox.fails(5, "invalid_id", &["get", "world", "c", "1.5"]);
    sandbox.fails(5, "invalid_path", &["index", "create", "world", "c", "a..b"]);
    sandbox.fails(5, "invalid_subject", &["grant", "world", "ben", "write"]);
    sandbox.fails(5, "invalid_permission", &["grant", "world", "*", "own"]);
    sandbox.fails(5, "invalid", &["space", "create", ""]);
    let file = sandbox.file("not.bundle", "this is no bundle, and never was one");
    sandbox.fails(5, "invalid", &["bundle", "import", &file]);
    let file = sandbox.file("latin1.json", b"{\"a\": \"\xe4\"}");
    sandbox.fails(5, "invalid_json", &["insert", "world", "c", &format!("@{file}")]);

    sandbox.ok(&["space", "create", "world"]);
    let (message, _) = sandbox.fails(5, "ambiguous", &["digest", "world"]);
    assert!(message.contains("more than one"), "{message}");
}

#[test]
fn what_is_there_already_is_1() {
    let sandbox = Sandbox::new();
    let (message, hint) = sandbox.fails(1, "exists", &["init"]);
    assert!(message.contains("exists already") && hint.contains("--dir"), "{message} {hint}");
    assert_eq!(sandbox.json(&["status"])["user"], "ann", "nothing was overwritten");
    sandbox.ok(&["insert", "world", "c", "{}", "--id", "x"]);
    sandbox.fails(1, "exists", &["insert", "world", "c", "{}", "--id", "x"]);
}

#[test]
fn a_database_that_another_process_writes_to_is_7_and_can_be_read() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["insert", "world", "c", "{}", "--id", "x"]);
    let mut import =
        sandbox.spawn(sandbox.command(&["import", "world", "c", "-", "-v"]).stdin(Stdio::piped()));
    import.stderr.until("opened");
    let (_, hint) = sandbox.fails(7, "locked", &["insert", "world", "c", "{}"]);
    assert!(hint.contains("reading commands work"), "{hint}");
    assert_eq!(sandbox.ok(&["count", "world", "c"]), "1\n");
    sandbox.ok(&["digest", "world"]);
    assert_eq!(import.wait().code(), Some(0));
    sandbox.ok(&["insert", "world", "c", "{}"]);
}

fn database_file(sandbox: &Sandbox) -> std::path::PathBuf {
    let files = fs::read_dir(sandbox.path("db")).unwrap().map(|entry| entry.unwrap().path());
    let is_sqlite = |path: &std::path::PathBuf| fs::read(path).unwrap().starts_with(b"SQLite format 3\0");
    files.into_iter().find(is_sqlite).expect("a database is a SQLite file")
}

#[test]
fn a_database_of_a_newer_driftless_is_7_and_stays_as_it_is() {
    let sandbox = Sandbox::new();
    let file = database_file(&sandbox);
    let sqlite = rusqlite::Connection::open(&file).unwrap();
    sqlite.pragma_update(None, "user_version", 9999).unwrap();
    sqlite.close().unwrap();
    let before = fs::read(&file).unwrap();
    for words in [&["status"][..], &["insert", "world", "c", "{}"], &["find", "world", "c"]] {
        let (message, hint) = sandbox.fails(7, "newer_version", words);
        assert!(message.contains("9999") && hint.contains("newer driftless"), "{message} {hint}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_damaged_database_is_7() {
    let sandbox = Sandbox::new();
    let file = database_file(&sandbox);
    let size = fs::metadata(&file).unwrap().len();
    fs::write(&file, vec![0x5a; size as usize]).unwrap();
    for words in [&["status"][..], &["insert", "world", "c", "{}"]] {
        let (_, hint) = sandbox.fails(7, "damaged", words);
        assert!(hint.contains("bundle") || hint.contains("backup"), "{hint}");
    }
}
