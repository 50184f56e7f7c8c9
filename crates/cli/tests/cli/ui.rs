//! `serve --ui`: the front on a served folder; what it answers has the fields that commands print.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::sandbox::{Running, Sandbox};

fn serve(sandbox: &Sandbox, words: &[&str]) -> (Running, String) {
    let serve = sandbox.start(&[&["serve", "--http", "127.0.0.1:0", "--json"], words].concat());
    let ui = serve.stdout.json()["ui"].as_str().expect("an address of the front").to_owned();
    (serve, ui)
}

/// Asks for an operation at the address that `serve` printed.
fn ask(ui: &str, operation: &str, arguments: &Value) -> (u16, Value) {
    let (place, token) = ui.strip_prefix("http://").unwrap().split_once("/#token=").unwrap();
    let body = arguments.to_string();
    let mut socket = TcpStream::connect(place).unwrap();
    let head = format!(
        "POST /api/1/{operation} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\nauthorization: Bearer {token}"
    );
    write!(socket, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

// Every field by its path; of a list those of its first line.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.insert(format!("{path}.{key}"));
                fields(value, &format!("{path}.{key}"), found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, &format!("{path}[]"), found)),
        _ => {}
    }
}

#[test]
fn the_front_answers_with_the_fields_that_commands_print() {
    let sandbox = Sandbox::new();
    let other = sandbox.path("other");
    sandbox.ok(&["--dir", &other, "init", "--name", "bea"]);
    let (mut serve, ui) = serve(&sandbox, &["--ui"]);
    sandbox.ok(&["insert", "world", "notes", r#"{"n": 1}"#, "--id", "a"]);
    let ticket = sandbox.json(&["ticket", "world"])["ticket"].as_str().unwrap().to_owned();
    sandbox.ok(&["--dir", &other, "join", &ticket]);
    // Makes a peer that has been met and noted, with something in its history.
    let mut bea = sandbox.start(&["--dir", &other, "serve", "--http", "127.0.0.1:0", "--json"]);
    let line = bea.stdout.json();
    sandbox.ok(&["peer", "add", line["addresses"][0].as_str().unwrap(), "--name", "bea"]);
    sandbox.ok(&["insert", "world", "notes", r#"{"n": 2}"#, "--id", "b"]);
    sandbox.ok(&["sync", "world", "--peer", "bea"]);
    let at = json!({"space": "world", "collection": "notes"});
    let with = |more: Value| {
        let mut all = at.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let space = || json!({"space": "world"});
    let cases: [(&str, Value, &[&str]); 14] = [
        ("sync", json!({"space": "world", "peer": "bea"}), &["sync", "world", "--peer", "bea"]),
        ("spaces", json!({}), &["space", "list"]),
        ("space", space(), &["space", "show", "world"]),
        ("get", with(json!({"id": "a"})), &["get", "world", "notes", "a"]),
        ("find", at.clone(), &["find", "world", "notes"]),
        ("count", at.clone(), &["count", "world", "notes"]),
        ("log", space(), &["log", "world"]),
        (
            "explain",
            with(json!({"id": "a", "peer": "bea"})),
            &["explain", "world", "notes", "a", "--peer", "bea"],
        ),
        ("members", space(), &["members", "world"]),
        ("effective", space(), &["members", "world", "--effective"]),
        ("status", json!({}), &["status"]),
        ("digest", space(), &["digest", "world"]),
        ("peers", json!({}), &["peers"]),
        ("peer", json!({"peer": "bea"}), &["peer", "show", "bea"]),
    ];
    for (operation, arguments, words) in cases {
        let printed = sandbox.lines(words);
        let (status, answer) = ask(&ui, operation, &arguments);
        assert_eq!(status, 200, "{operation}: {answer}");
        let printed = if answer.is_array() { Value::Array(printed) } else { printed[0].clone() };
        let (mut ours, mut theirs) = (BTreeSet::new(), BTreeSet::new());
        fields(&answer, "", &mut ours);
        fields(&printed, "", &mut theirs);
        // Files of other applications are the command's: the front speaks for a database.
        theirs.retain(|field| operation != "status" || !field.starts_with(".rows"));
        assert_eq!(ours, theirs, "{operation} has other fields than {words:?}");
        if operation == "sync" {
            // What went over a connection is written down in the background when it ends, and by the minute.
            assert_eq!(bea.interrupt().code(), Some(0));
            let noted = || sandbox.json(&["peer", "show", "bea"])["exchanges"] != json!([]);
            assert!((0..500).any(|_| noted()), "no exchange with bea was ever written down");
        }
    }
    let written = ask(&ui, "insert", &with(json!({"document": {"n": 3}, "id": 3}))).1;
    assert_eq!(written.as_object().unwrap().keys().collect::<Vec<_>>(), ["commit", "id"]);
    assert_eq!(sandbox.json(&["get", "world", "notes", "3"])["n"], 3);
    let refused = ask(&ui, "get", &with(json!({"id": "none"})));
    assert_eq!((refused.0, &refused.1["error"]["code"]), (404, &json!("not_found")));
    assert_eq!(serve.interrupt().code(), Some(0));
}

#[test]
fn a_token_file_keeps_the_token_and_only_loopback_is_listened_at() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("token");
    let token = |ui: &str| ui.split_once("#token=").unwrap().1.to_owned();
    let (mut first, ui) = serve(&sandbox, &["--ui", "127.0.0.1:0", "--ui-token-file", &file]);
    assert_eq!(first.interrupt().code(), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), token(&ui));
    let (mut second, again) = serve(&sandbox, &["--ui", "localhost:0", "--ui-token-file", &file]);
    assert_eq!(token(&again), token(&ui));
    assert_eq!(second.interrupt().code(), Some(0));
    let (mut third, fresh) = serve(&sandbox, &["--ui"]);
    assert_ne!(token(&fresh), token(&ui));
    assert_eq!(ask(&fresh, "hello", &json!({})).0, 200);
    assert_eq!(third.interrupt().code(), Some(0));

    sandbox.file("bad", "secret");
    let bad = sandbox.path("bad");
    #[cfg(unix)]
    std::fs::set_permissions(&bad, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    sandbox.fails(5, "not_loopback", &["serve", "--http", "127.0.0.1:0", "--ui", "0.0.0.0:0"]);
    sandbox.fails(5, "invalid_address", &["serve", "--http", "127.0.0.1:0", "--ui", "example.org"]);
    sandbox.fails(5, "invalid_address", &["serve", "--http", "127.0.0.1:0", "--ui", "--ui-origin", "null"]);
    sandbox.fails(5, "invalid_token", &["serve", "--http", "127.0.0.1:0", "--ui", "--ui-token-file", &bad]);
    sandbox.fails(2, "usage", &["serve", "--http", "127.0.0.1:0", "--ui-host", "db.example.org"]);
}
