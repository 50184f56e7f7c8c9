//! Commands on a folder that is being served work as if it were not, through `serve`.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::json;

use crate::sandbox::Sandbox;

#[test]
fn commands_do_the_same_while_the_folder_is_served() {
    let sandbox = Sandbox::new();
    let (mut serve, _) = sandbox.serve("db");
    let watch = sandbox.start(&["watch", "world", "shopping", "--json"]);
    watch.stdout.until("\"ready\"");
    sandbox.ok(&["insert", "world", "shopping", r#"{"n": 1}"#, "--id", "milk"]);
    let line = watch.stdout.json();
    assert_eq!(
        (&line["kind"], &line["id"], &line["origin"]),
        (&json!("insert"), &json!("milk"), &json!("local"))
    );

    // Standard input, files and paths are the client's.
    let ran = sandbox.run_with(
        &["import", "world", "rows", "-", "--key", "n", "--json"],
        b"{\"n\": 1}\n{\"n\": 2}\nrubbish",
    );
    assert_eq!((ran.code, ran.stdout.contains("\"inserted\":2,")), (Some(0), true), "{ran:?}");
    assert!(ran.stderr.contains("line 3 is rejected"), "{ran:?}");
    sandbox.file("bread.json", r#"{"n": 2}"#);
    sandbox.ok(&["insert", "world", "shopping", "@bread.json", "--id", "bread"]);
    assert_eq!(watch.stdout.json()["id"], "bread");
    sandbox.ok(&["bundle", "export", "world", "world.bundle"]);
    assert!(std::fs::metadata(sandbox.path("world.bundle")).unwrap().len() > 100);
    assert_eq!(sandbox.lines(&["find", "world", "shopping", "--sort", "n"]).len(), 2);

    // Failures are the same.
    sandbox.fails(3, "not_found", &["get", "world", "shopping", "unknown"]);
    sandbox.fails(3, "file_not_found", &["insert", "world", "shopping", "@nothing.json"]);
    sandbox.fails(5, "invalid_json", &["insert", "world", "shopping", "{"]);
    sandbox.fails(5, "invalid_filter", &["find", "world", "shopping", r#"{"a": {"$nope": 1}}"#]);
    sandbox.fails(1, "exists", &["init"]);
    sandbox.fails(7, "locked", &["serve", "--http", "127.0.0.1:0"]);
    sandbox.fails(3, "not_found", &["--user", "nobody", "status"]);
    assert_eq!(sandbox.json(&["status"])["ok"], true);
    assert_eq!(serve.interrupt().code(), Some(0));
    assert_eq!(watch.stdout.next(), None, "the watch ends with it");
    assert_eq!(sandbox.lines(&["find", "world", "shopping"]).len(), 2);
}

#[test]
fn a_killed_serve_leaves_nothing_in_the_way() {
    let sandbox = Sandbox::new();
    let (mut serve, _) = sandbox.serve("db");
    serve.kill();
    assert!(std::fs::symlink_metadata(sandbox.path("db/socket")).is_ok());
    sandbox.ok(&["insert", "world", "shopping", "{}", "--id", "1"]);
    let (mut serve, _) = sandbox.serve("db");
    sandbox.ok(&["insert", "world", "shopping", "{}", "--id", "2"]);
    assert_eq!(sandbox.json(&["count", "world", "shopping"])["count"], 2);
    assert_eq!(serve.interrupt().code(), Some(0));
    assert!(std::fs::symlink_metadata(sandbox.path("db/socket")).is_err());
}

#[test]
fn only_the_owner_reaches_the_socket_and_a_long_path_is_no_obstacle() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::empty();
    let long = format!("{}/db", "a-folder-with-a-rather-long-name/".repeat(5));
    for dir in ["short", &long] {
        sandbox.ok(&["--dir", dir, "init"]);
        let (mut serve, _) = sandbox.serve(dir);
        let mode = std::fs::metadata(sandbox.path(dir) + "/socket").unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        sandbox.ok(&["--dir", dir, "space", "create", "world"]);
        assert_eq!(serve.interrupt().code(), Some(0));
    }
}

#[test]
fn an_import_whose_client_is_killed_stores_no_part_of_a_transaction() {
    let sandbox = Sandbox::new();
    let (_serve, _) = sandbox.serve("db");
    let words = ["import", "world", "rows", "-", "--key", "n", "-v"];
    let mut import = sandbox.spawn(sandbox.command(&words).stdin(Stdio::piped()));
    let rows: String = (0..2_500).map(|n| format!("{{\"n\": {n}}}\n")).collect();
    import.stdin.as_mut().unwrap().write_all(rows.as_bytes()).unwrap();
    import.stderr.until("2000 rows are durable");
    import.kill();
    // Whoever writes next waits for nobody.
    sandbox.ok(&["insert", "world", "rows", "{}", "--id", "last"]);
    assert_eq!(sandbox.json(&["count", "world", "rows"])["count"], 2_001);
}
