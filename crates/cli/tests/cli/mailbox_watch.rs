//! `mailbox sync --watch`, how it ends, and what comes of an exchange that is stopped.

use serde_json::json;

use crate::sandbox::Sandbox;

const ROWS: u64 = 6_000;

#[test]
fn an_interval_of_nothing_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.fails(2, "usage", &["mailbox", "sync", "--watch", "--interval", "0"]);
    sandbox.fails(2, "usage", &["mailbox", "sync", "--interval", "5"]);
    sandbox.fails(3, "not_found", &["mailbox", "sync", "--watch"]);
}

#[cfg(unix)]
#[test]
fn a_watch_sends_what_is_written_soon_and_ends_well_when_it_is_told_to() {
    let sandbox = Sandbox::new();
    let url = format!("file://{}", sandbox.path("box"));
    sandbox.ok(&["mailbox", "add", "world", &url]);
    let watch = ["mailbox", "sync", "--watch", "--interval", "3600", "--json"];
    for name in ["INT", "TERM"] {
        let mut running = sandbox.start(&watch);
        assert_eq!(running.stdout.json()["finished"], true);
        // Nobody else writes meanwhile, and is told how to.
        let (_, hint) = sandbox.fails(7, "locked", &["insert", "world", "towns", "{}"]);
        assert!(hint.contains("driftless serve"), "{hint}");
        assert_eq!(running.signal(name).code(), Some(0));
        assert_eq!(running.stderr.next(), None);
    }
    // Beside `serve` others write, and that is sent long before its time.
    let mut serve = sandbox.start(&["serve", "--http", "127.0.0.1:0", "--json"]);
    serve.stdout.json();
    let mut running = sandbox.start(&watch);
    assert_eq!(running.stdout.json()["sent"], 0);
    sandbox.ok(&["insert", "world", "towns", r#"{"name": "Turku"}"#]);
    assert_eq!(running.stdout.json()["sent"], 1);
    assert_eq!(running.interrupt().code(), Some(0));
    // Nothing of it is left in `serve`: another one exchanges at once.
    let mut running = sandbox.start(&watch);
    assert_eq!(running.stdout.json()["sent"], 0);
    assert_eq!(serve.interrupt().code(), Some(0));
    running.wait();
}

#[cfg(unix)]
#[test]
fn a_first_copy_that_is_interrupted_goes_on_the_next_time() {
    let sandbox = Sandbox::new();
    let url = format!("file://{}", sandbox.path("box"));
    sandbox.fill(ROWS);
    sandbox.ok(&["mailbox", "add", "world", &url]);
    sandbox.ok(&["mailbox", "sync"]);
    let id = sandbox.space();
    let objects = sandbox.objects(&id) as u64;
    assert!(objects >= 3);
    sandbox.ok(&["--dir", "other", "init"]);
    sandbox.other(&["mailbox", "add", &id, &url]);
    let mut sync = sandbox.start(&["--dir", "other", "mailbox", "sync", "-v", "--json"]);
    sync.stderr.until("received");
    let code = sync.interrupt().code();
    let told = sync.stdout.json();
    // It may just have had all of it.
    if told["finished"] == json!(false) {
        assert_eq!(code, Some(1));
        sync.stderr.until("stopped before everything was exchanged");
    }
    let rest = sandbox.other(&["mailbox", "sync"]);
    let read = |line: &serde_json::Value| line["objects_in"].as_u64().unwrap();
    assert_eq!((read(&told) + read(&rest), &rest["finished"]), (objects, &json!(true)));
    assert_eq!(sandbox.json(&["digest", "world"]), sandbox.other(&["digest", &id]));
}
