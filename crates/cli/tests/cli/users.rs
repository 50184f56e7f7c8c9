//! Users, passwords and keys on the command line, with and without a `serve` in between.

use std::process::Stdio;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox};

const SECRET: &str = "correct horse battery";

/// A sandbox whose default user ann has a password, given in a file, and a space `world`.
fn guarded() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.file("ann.txt", format!("{SECRET}\r\nnot this line\n"));
    sandbox.ok(&["init", "--name", "ann", "--password", "--password-file", "ann.txt"]);
    sandbox.ok(&["--password-file", "ann.txt", "space", "create", "world"]);
    sandbox
}

fn with_password(sandbox: &Sandbox, words: &[&str], password: &str) -> Ran {
    Ran::of(sandbox.command(words).env("DRIFTLESS_PASSWORD", password))
}

fn error(ran: &Ran) -> Value {
    let last = ran.stderr.lines().last().unwrap_or_default();
    serde_json::from_str::<Value>(last).expect(&ran.stderr)["error"].clone()
}

// What must hold alike by itself and through `serve`.
fn passwords_work(sandbox: &Sandbox) {
    // Looking needs none; nothing says what it is.
    assert_eq!(sandbox.json(&["--user", "ben", "count", "world", "notes"])["count"], 0);
    let insert = &["--user", "ben", "insert", "world", "notes", "{}"];
    let (message, hint) = sandbox.fails(4, "login_needed", insert);
    assert!(message.contains("ben") && hint.contains("--password-file"), "{message} {hint}");
    let json = [&insert[..], &["--json"]].concat();
    let wrong = with_password(sandbox, &json, "wrong guess");
    let unknown = &["--user", "nobody", "insert", "world", "notes", "{}", "--json"];
    let unknown = with_password(sandbox, unknown, "wrong guess");
    assert_eq!((wrong.code, unknown.code), (Some(4), Some(4)));
    assert_eq!(error(&wrong)["code"], "login_failed");
    assert_eq!(error(&wrong), error(&unknown));
    assert!(!wrong.stderr.contains("guess") && !wrong.stderr.contains("ben"), "{wrong:?}");
    let written = with_password(sandbox, &json, "ben's own");
    assert_eq!(written.code, Some(0), "{written:?}");
    let written: Value = serde_json::from_str(&written.stdout).unwrap();
    let id = written["id"].as_str().unwrap();
    let ben = sandbox.json(&["user", "show", "ben"])["keys"][0]["key"].clone();
    assert_eq!(sandbox.json(&["get", "world", "notes", id])["_author"], ben);
    sandbox.fails(3, "file_not_found", &[&["--password-file", "no.txt"], &insert[..]].concat());
}

fn add_ben(sandbox: &Sandbox) {
    sandbox.file("ben.txt", "ben's own\n");
    let words = ["user", "create", "ben", "--password", "--new-password-file", "ben.txt"];
    let ben = sandbox.json(&words);
    assert_eq!((&ben["user"], &ben["password"]), (&"ben".into(), &true.into()));
    let key = ben["keys"][0]["key"].as_str().unwrap();
    sandbox.ok(&["--password-file", "ann.txt", "grant", "world", key, "write"]);
}

#[test]
fn who_has_a_password_gives_it_to_sign_and_not_to_look() {
    let sandbox = guarded();
    add_ben(&sandbox);
    passwords_work(&sandbox);
    sandbox.fails(4, "login_needed", &["insert", "world", "notes", "{}"]);
    for words in [
        &["rebuild"][..],
        &["index", "create", "world", "notes", "n"],
        &["space", "rename", "world", "world"],
    ] {
        sandbox.ok(words);
    }
    let users = sandbox.lines(&["user", "list"]);
    let names: Vec<_> = users.iter().map(|user| (user["user"].as_str().unwrap(), &user["default"])).collect();
    assert_eq!(names, [("ann", &Value::Bool(true)), ("ben", &Value::Bool(false))]);
    sandbox.fails(1, "exists", &["user", "create", "ben"]);
    sandbox.fails(3, "not_found", &["user", "show", "nobody"]);
    sandbox.fails(4, "login_needed", &["user", "create", "cem", "--password"]);
}

#[cfg(unix)]
#[test]
fn through_serve_it_is_the_client_who_gives_the_password() {
    let sandbox = guarded();
    add_ben(&sandbox);
    let serve = ["--password-file", "ann.txt", "serve", "--http", "127.0.0.1:0", "--json", "-v"];
    let mut serve = sandbox.start(&serve);
    serve.stdout.json();
    passwords_work(&sandbox);
    // What `serve` runs as needs no password again, like a key in an agent.
    sandbox.ok(&["insert", "world", "notes", "{}"]);
    // Standard input and a password in one command; relative paths are the client's.
    let stdin = ["--user", "ben", "--password-file", "ben.txt", "insert", "world", "notes", "-"];
    assert_eq!(sandbox.run_with(&stdin, b"{\"n\": 1}").code, Some(0));
    // Guessing is bounded where somebody serves.
    let guess = ["--user", "ben", "insert", "world", "notes", "{}", "--json"];
    let codes: Vec<String> = (0..6)
        .map(|_| error(&with_password(&sandbox, &guess, "a guess"))["code"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(codes.last().unwrap(), "too_many_attempts", "{codes:?}");
    assert_eq!(serve.interrupt().code(), Some(0));
    let mut said = String::new();
    while let Some(line) = serve.stderr.next() {
        said += &line;
    }
    for secret in [SECRET, "ben's own", "a guess", "wrong guess"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn without_the_password_it_is_served_all_the_same() {
    let sandbox = guarded();
    let mut serve = sandbox.start(&["serve", "--http", "127.0.0.1:0"]);
    assert!(serve.stdout.next().unwrap().contains("serving"));
    assert!(serve.stderr.until("ann").contains("without"));
    sandbox.fails(4, "login_needed", &["insert", "world", "notes", "{}"]);
    assert_eq!(with_password(&sandbox, &["insert", "world", "notes", "{}"], SECRET).code, Some(0));
    sandbox.fails(4, "login_needed", &["insert", "world", "notes", "{}"]);
    assert_eq!(serve.interrupt().code(), Some(0));
}

#[test]
fn a_password_is_set_changed_and_removed() {
    let sandbox = Sandbox::new();
    sandbox.file("new.txt", "first");
    assert_eq!(sandbox.json(&["user", "show"])["password"], false);
    sandbox.ok(&["user", "passwd", "--new-password-file", "new.txt"]);
    assert_eq!(sandbox.json(&["user", "show"])["password"], true);
    let mut change = sandbox.command(&["user", "passwd"]);
    change.env("DRIFTLESS_PASSWORD", "first").env("DRIFTLESS_NEW_PASSWORD", "second");
    assert_eq!(Ran::of(&mut change).code, Some(0));
    let insert = &["insert", "world", "notes", "{}"];
    assert_eq!(with_password(&sandbox, insert, "first").code, Some(4));
    assert_eq!(with_password(&sandbox, insert, "second").code, Some(0));
    assert_eq!(with_password(&sandbox, &["user", "passwd", "--remove"], "second").code, Some(0));
    sandbox.ok(insert);
}

#[test]
fn keys_are_made_chosen_carried_and_ended() {
    let sandbox = Sandbox::new();
    let first = sandbox.json(&["status"])["author"].as_str().unwrap().to_owned();
    let second = sandbox.json(&["key", "new", "--default"])["key"].as_str().unwrap().to_owned();
    let keys = sandbox.lines(&["key", "list"]);
    let listed: Vec<_> = keys.iter().map(|key| key["key"].as_str().unwrap()).collect();
    assert_eq!(listed, [&second, &first]);
    assert!(sandbox.ok(&["key", "list"]).lines().nth(1).unwrap().ends_with("default"));
    assert_eq!(sandbox.json(&["key", "default", &first[..12]])["default"], true);

    let mut export = sandbox.command(&["key", "export", &second, "--password", "--json"]);
    let text = Ran::of(export.env("DRIFTLESS_KEY_PASSWORD", SECRET));
    let text: Value = serde_json::from_str(&text.stdout).expect(&text.stderr);
    sandbox.file("key.txt", format!("{}\n", text["text"].as_str().unwrap()));
    sandbox.file("secret.txt", SECRET);
    let dir = &["--dir", &sandbox.path("other")];
    sandbox.ok(&[&dir[..], &["init"]].concat());
    let import = [&dir[..], &["key", "import", "key.txt"]].concat();
    sandbox.fails(4, "login_needed", &import);
    sandbox.file("wrong.txt", "wrong");
    sandbox.fails(4, "login_failed", &[&import[..], &["--key-password-file", "wrong.txt"]].concat());
    let imported = sandbox.json(&[&import[..], &["--key-password-file", "secret.txt"]].concat());
    assert_eq!(imported["key"], second.as_str());
    sandbox.fails(5, "invalid", &["key", "import", "secret.txt"]);

    assert_eq!(sandbox.json(&["key", "revoke", &second])["state"], "revoked");
    sandbox.fails(5, "invalid", &["key", "revoke", &first]);
    sandbox.fails(5, "invalid", &["key", "default", &second]);
    sandbox.fails(3, "not_found", &["key", "export", &second]);
    sandbox.fails(3, "not_found", &["key", "export", "a_aaaaaaaa"]);
    assert!(sandbox.ok(&["key", "export", &first]).starts_with("driftless-key:"));
    sandbox.ok(&["insert", "world", "notes", "{}"]);
}

#[cfg(unix)]
#[test]
fn another_device_becomes_the_same_user_by_a_ticket() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.json(&["user", "show"])["id"], Value::Null);
    sandbox.fails(1, "no_address", &["user", "ticket"]);
    let (mut serve, _) = sandbox.serve("db");
    let ticket = sandbox.ok(&["user", "ticket", "--expires", "1h"]);
    let phone = sandbox.path("phone");
    sandbox.ok(&["--dir", &phone, "init", "--name", "phone"]);
    sandbox.ok(&["--dir", &phone, "user", "join", ticket.trim()]);
    let (here, there) = (sandbox.json(&["user", "show"]), sandbox.json(&["--dir", &phone, "user", "show"]));
    assert!(here["id"].as_str().unwrap().starts_with("u_"));
    assert_eq!((&here["id"], &here["identity"]), (&there["id"], &there["identity"]));
    let identity = sandbox.ok(&["user", "identity"]);
    let members = sandbox.lines(&["members", identity.trim()]);
    assert!(members.iter().any(|member| member["subject"] == there["keys"][0]["key"]), "{members:?}");
    // It lets one device in.
    let tablet = sandbox.path("tablet");
    sandbox.ok(&["--dir", &tablet, "init"]);
    sandbox.fails(4, "not_permitted", &["--dir", &tablet, "user", "join", ticket.trim()]);
    assert_eq!(serve.interrupt().code(), Some(0));
}

#[test]
fn no_argument_takes_a_password() {
    let sandbox = guarded();
    for words in [
        &["--password", SECRET, "status"][..],
        &["init", "--password", SECRET],
        &["user", "create", "ben", "--password", SECRET],
        &["user", "passwd", SECRET],
    ] {
        let ran = Ran::of(sandbox.command(words).stdin(Stdio::null()));
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
}
