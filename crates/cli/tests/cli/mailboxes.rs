//! Mailboxes from the command line: what is printed, and `kill -9` in the middle of sending and receiving.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const ROWS: u64 = 8_000;

fn space(sandbox: &Sandbox) -> String {
    sandbox.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned()
}

fn other(sandbox: &Sandbox, words: &[&str]) -> Value {
    sandbox.json(&[&["--dir", "other"], words].concat())
}

#[test]
fn what_is_sent_is_received_and_what_is_wrong_is_told() {
    let sandbox = Sandbox::new();
    let url = format!("file://{}", sandbox.path("box"));
    sandbox.ok(&["insert", "world", "towns", r#"{"name": "Turku"}"#]);
    let added = sandbox.json(&["mailbox", "add", "world", &url]);
    assert_eq!((&added["objects"], &added["unsent"]), (&json!(0), &json!(true)));
    assert_eq!(added["operator_can_read"], true);
    let sent = sandbox.json(&["mailbox", "sync"]);
    assert_eq!((&sent["sent"], &sent["received"], &sent["alarms"]), (&json!(2), &json!(0), &json!([])));
    assert!(sent["bytes_out"].as_u64().unwrap() > 100);

    sandbox.ok(&["--dir", "other", "init"]);
    let id = space(&sandbox);
    other(&sandbox, &["mailbox", "add", &id, &url]);
    assert_eq!(other(&sandbox, &["mailbox", "sync"])["received"], 2);
    assert_eq!(sandbox.json(&["digest", "world"]), other(&sandbox, &["digest", &id]));

    // Somebody empties the folder.
    std::fs::remove_dir_all(sandbox.path("box")).unwrap();
    let told = other(&sandbox, &["mailbox", "sync"]);
    assert_eq!((&told["alarms"][0]["kind"], &told["alarms"][0]["number"]), (&json!("gone"), &json!(1)));
    let listed = sandbox.ok(&["--dir", "other", "mailbox", "list"]);
    assert!(listed.contains("gone of p_"), "{listed}");
    let status = other(&sandbox, &["status"]);
    assert_eq!(
        (&status["ok"], &status["mailboxes"][0]["alarms"][0]["kind"]),
        (&json!(false), &json!("gone"))
    );
    let checks = other(&sandbox, &["doctor"]);
    let check = checks.as_array().unwrap().iter().find(|check| check["check"] == "mailboxes").unwrap();
    assert_eq!(check["ok"], false);
    assert_eq!(sandbox.json(&["mailbox", "sync"])["repaired"], 1);
    assert_eq!(other(&sandbox, &["mailbox", "sync"])["alarms"], json!([]));

    sandbox.fails(5, "invalid", &["mailbox", "add", "world", "gopher://box"]);
    sandbox.fails(5, "invalid", &["mailbox", "add", "world", "file://box"]);
    sandbox.fails(3, "not_found", &["mailbox", "remove", "world", "file:///nowhere"]);
    sandbox.ok(&["mailbox", "remove", "world"]);
    sandbox.fails(3, "not_found", &["mailbox", "sync"]);
}

#[test]
fn status_says_what_came_of_each_mailbox_and_that_its_operator_can_read() {
    let sandbox = Sandbox::new();
    let url = format!("file://{}", sandbox.path("box"));
    sandbox.ok(&["mailbox", "add", "world", &url]);
    let status = &sandbox.json(&["status"])["mailboxes"][0];
    assert_eq!(
        (&status["url"], &status["last"], &status["unsent"]),
        (&json!(url), &json!(null), &json!(true))
    );
    assert!(sandbox.ok(&["status"]).contains("not exchanged yet, something waits to be sent"));
    sandbox.ok(&["mailbox", "sync"]);
    let status = sandbox.json(&["status"]);
    assert_eq!((&status["ok"], &status["mailboxes"][0]["operator_can_read"]), (&json!(true), &json!(true)));
    assert!(status["mailboxes"][0]["last"].as_u64().unwrap() > 0);
    let told = sandbox.ok(&["status"]);
    assert!(told.contains("whoever runs it can read what is in it"), "{told}");
    // One that cannot be reached any more.
    std::fs::remove_dir_all(sandbox.path("box")).unwrap();
    std::fs::write(sandbox.path("box"), "a file").unwrap();
    sandbox.fails(6, "peer_unreachable", &["mailbox", "sync"]);
    assert!(
        sandbox.json(&["status"])["mailboxes"][0]["error"].as_str().unwrap().contains("cannot be reached")
    );
    // Passwords are not for what is remembered.
    for secret in ["postgres://ann:hunter2@db/notes", "https://h/box?password=hunter2"] {
        let told = sandbox.fails(5, "invalid", &["mailbox", "add", "world", secret]);
        assert!(!format!("{told:?}").contains("hunter2"));
    }
}

#[test]
fn a_sync_that_is_killed_while_it_sends_or_receives_loses_nothing_and_does_nothing_twice() {
    let sandbox = Sandbox::new();
    let url = format!("file://{}", sandbox.path("box"));
    let rows = (0..ROWS).fold(String::new(), |mut text, number| {
        writeln!(text, r#"{{"n": {number}, "text": "{}"}}"#, "x".repeat(500)).unwrap();
        text
    });
    let file = sandbox.file("numbers.jsonl", rows);
    sandbox.ok(&["import", "world", "numbers", &file, "--key", "n"]);
    sandbox.ok(&["mailbox", "add", "world", &url]);
    let id = space(&sandbox);
    sandbox.ok(&["--dir", "other", "init"]);
    other(&sandbox, &["mailbox", "add", &id, &url]);
    // Each is cut a little later than the last one, and goes on where that stopped.
    for _ in 0..3 {
        let mut sync = sandbox.start(&["mailbox", "sync", "-v"]);
        sync.stderr.until("sent");
        sync.kill();
        let mut sync = sandbox.start(&["--dir", "other", "mailbox", "sync", "-v"]);
        sync.stderr.until("opened");
        sync.kill();
    }
    sandbox.ok(&["mailbox", "sync"]);
    for _ in 0..3 {
        let mut sync = sandbox.start(&["--dir", "other", "mailbox", "sync", "-v"]);
        sync.stderr.until("received");
        sync.kill();
    }
    other(&sandbox, &["mailbox", "sync"]);
    assert_eq!(sandbox.json(&["digest", "world"]), other(&sandbox, &["digest", &id]));
    assert_eq!(other(&sandbox, &["count", &id, "numbers"])["count"], ROWS);
    for words in [&["mailbox", "sync"][..], &["--dir", "other", "mailbox", "sync"]] {
        let idle = sandbox.json(words);
        assert_eq!((&idle["sent"], &idle["received"], &idle["alarms"]), (&json!(0), &json!(0), &json!([])));
    }
    // One writer, one object for each number.
    let mut numbers = Vec::new();
    let folder = std::path::PathBuf::from(sandbox.path("box")).join(&id);
    for writer in std::fs::read_dir(folder).unwrap().flatten() {
        for object in std::fs::read_dir(writer.path()).unwrap().flatten() {
            let name = object.file_name().into_string().unwrap();
            if !name.starts_with('.') {
                numbers.push(name.split_once('-').unwrap().0.to_owned());
            }
        }
    }
    numbers.sort();
    let wanted: Vec<_> = (1..=numbers.len()).map(|number| format!("{number:016x}")).collect();
    assert!(numbers.len() >= 4);
    assert_eq!(numbers, wanted);
    assert_eq!(sandbox.json(&["fsck"])["ok"], true);
}
