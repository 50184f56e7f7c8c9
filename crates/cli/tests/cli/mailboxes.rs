//! Mailboxes from the command line: what is printed, and `kill -9` in the middle of sending and receiving.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::sandbox::Sandbox;

const ROWS: u64 = 8_000;

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
    let id = sandbox.space();
    sandbox.other(&["mailbox", "add", &id, &url]);
    assert_eq!(sandbox.other(&["mailbox", "sync"])["received"], 2);
    assert_eq!(sandbox.json(&["digest", "world"]), sandbox.other(&["digest", &id]));

    // Somebody takes it away, and leaves something else there.
    let there = Path::new(&sandbox.path("box")).join(&id);
    fs::remove_dir_all(&there).unwrap();
    fs::create_dir(&there).unwrap();
    fs::write(there.join("letter"), "x").unwrap();
    let told = sandbox.other(&["mailbox", "sync"]);
    assert_eq!((&told["alarms"][0]["kind"], &told["alarms"][0]["number"]), (&json!("gone"), &json!(1)));
    let listed = sandbox.ok(&["--dir", "other", "mailbox", "list"]);
    assert!(listed.contains("gone of p_"), "{listed}");
    let status = sandbox.other(&["status"]);
    assert_eq!(
        (&status["ok"], &status["mailboxes"][0]["alarms"][0]["kind"]),
        (&json!(false), &json!("gone"))
    );
    let checks = sandbox.other(&["doctor"]);
    let check = checks.as_array().unwrap().iter().find(|check| check["check"] == "mailboxes").unwrap();
    assert_eq!(check["ok"], false);
    let repaired = sandbox.ok(&["mailbox", "sync"]);
    assert!(repaired.contains("put 1 object again that had been lost there"), "{repaired}");
    assert_eq!(sandbox.other(&["mailbox", "sync"])["alarms"], json!([]));

    sandbox.fails(5, "invalid", &["mailbox", "add", "world", "gopher://box"]);
    sandbox.fails(5, "invalid", &["mailbox", "add", "world", "file://box"]);
    sandbox.fails(3, "not_found", &["mailbox", "remove", "world", "file:///nowhere"]);
    sandbox.ok(&["mailbox", "remove", "world"]);
    for words in [&["mailbox", "sync"][..], &["mailbox", "sync", "world"], &["mailbox", "remove", "world"]] {
        let (message, hint) = sandbox.fails(3, "not_found", words);
        assert!(
            message.starts_with("there is no mailbox") && hint.contains("mailbox add"),
            "{message}; {hint}"
        );
    }
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
    let second = format!("file://{}", sandbox.path("second"));
    sandbox.ok(&["mailbox", "add", "world", &second]);
    fs::remove_dir_all(sandbox.path("box")).unwrap();
    fs::write(sandbox.path("box"), "a file").unwrap();
    let ran = sandbox.run(&["mailbox", "sync"]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.stderr.contains(&format!("error: {url}: ")), "{ran:?}");
    assert!(ran.stdout.starts_with(&format!("{second}: sent 1 commit")), "the other is exchanged: {ran:?}");
    let status = sandbox.json(&["status"]);
    assert_eq!(status["ok"], false);
    let errors: Vec<_> = status["mailboxes"].as_array().unwrap().iter().map(|one| &one["error"]).collect();
    assert!(errors.contains(&&json!("this is no mailbox: not a directory")), "{errors:?}");
    for words in [&["status"][..], &["mailbox", "list"]] {
        let told = sandbox.ok(words);
        assert!(told.contains("the last exchange failed: this is no mailbox"), "{told}");
        assert!(!told.contains("All is well"), "{told}");
    }
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
    sandbox.fill(ROWS);
    sandbox.ok(&["mailbox", "add", "world", &url]);
    let id = sandbox.space();
    sandbox.ok(&["--dir", "other", "init"]);
    sandbox.other(&["mailbox", "add", &id, &url]);
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
    sandbox.other(&["mailbox", "sync"]);
    assert_eq!(sandbox.json(&["digest", "world"]), sandbox.other(&["digest", &id]));
    assert_eq!(sandbox.other(&["count", &id, "numbers"])["count"], ROWS);
    for words in [&["mailbox", "sync"][..], &["--dir", "other", "mailbox", "sync"]] {
        let idle = sandbox.json(words);
        assert_eq!((&idle["sent"], &idle["received"], &idle["alarms"]), (&json!(0), &json!(0), &json!([])));
    }
    assert!(sandbox.objects(&id) >= 4);
    assert_eq!(sandbox.json(&["fsck"])["ok"], true);
}
