//! Mailboxes in a bucket from the command line, over a real server of S3.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::s3_server::{BUCKET, KEYS, Server};
use crate::sandbox::Sandbox;

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn two_devices_meet_in_a_bucket_and_no_key_is_kept_or_shown() {
    let sandbox = Sandbox::new().with(&KEYS).with(&[("AWS_ALLOW_HTTP", "true")]);
    let root = sandbox.path("s3");
    let server = Server::start(Path::new(&root), true);
    let (bucket, endpoint) = (format!("s3://{BUCKET}/ann/notes"), server.endpoint());
    sandbox.ok(&["insert", "world", "towns", r#"{"name": "Turku"}"#]);
    let added = sandbox.json(&["mailbox", "add", "world", &bucket, "--endpoint", &endpoint]);
    assert_eq!(added["url"], format!("{bucket}?endpoint={endpoint}"));
    assert_eq!(files(&Path::new(&root).join(BUCKET)), Vec::<std::path::PathBuf>::new(), "the probe is gone");
    let sent = sandbox.json(&["mailbox", "sync"]);
    assert_eq!((&sent["sent"], &sent["alarms"]), (&json!(2), &json!([])));

    sandbox.ok(&["--dir", "other", "init"]);
    let id = sandbox.space();
    sandbox.other(&["mailbox", "add", &id, &bucket, "--endpoint", &endpoint, "--region", "eu-north-1"]);
    assert_eq!(sandbox.other(&["mailbox", "sync"])["received"], 2);
    assert_eq!(sandbox.json(&["digest", "world"]), sandbox.other(&["digest", &id]));

    // The operator takes an object away: it is told, and put again.
    let objects = files(&Path::new(&root).join(BUCKET));
    assert_eq!(objects.len(), 1, "{objects:?}");
    fs::remove_file(&objects[0]).unwrap();
    assert_eq!(sandbox.other(&["mailbox", "sync"])["alarms"][0]["kind"], "gone");
    assert_eq!(sandbox.json(&["mailbox", "sync"])["repaired"], 1);
    assert_eq!(sandbox.other(&["mailbox", "sync"])["alarms"], json!([]));

    // The same bucket, whether its server stands in the URL or in the environment.
    let sandbox = sandbox.with(&[("AWS_ENDPOINT_URL", &endpoint)]);
    let again = sandbox.json(&["mailbox", "add", "world", &bucket]);
    assert_eq!((&again["url"], &again["objects"]), (&added["url"], &json!(1)));
    assert_eq!(sandbox.lines(&["mailbox", "list"]).len(), 1);
    sandbox.ok(&["mailbox", "remove", "world", &bucket]);
    assert_eq!(sandbox.json(&["mailbox", "add", "world", &bucket])["url"], added["url"]);
    assert_eq!(sandbox.json(&["mailbox", "sync"])["sent"], 0);

    // Neither in what is printed, nor in what is stored.
    let listed = sandbox.run(&["-v", "mailbox", "list"]);
    let synced = sandbox.run(&["-v", "mailbox", "sync"]);
    drop(server);
    let failed = sandbox.run(&["-v", "mailbox", "sync"]);
    assert_eq!(failed.code, Some(6), "{failed:?}");
    assert!(failed.stderr.contains("check the endpoint"), "{failed:?}");
    for said in [listed, synced, failed] {
        assert!(!format!("{said:?}").contains(KEYS[1].1), "{said:?}");
    }
    for file in files(Path::new(&sandbox.path("db"))) {
        let bytes = fs::read(&file).unwrap();
        let secret = KEYS[1].1.as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", file.display());
    }
    sandbox.ok(&["mailbox", "remove", "world", &bucket]);
    assert_eq!(sandbox.lines(&["mailbox", "list"]), Vec::<Value>::new());
}

#[test]
fn what_a_bucket_needs_is_said() {
    let sandbox = Sandbox::new();
    let add = |url: &str| sandbox.fails(5, "invalid", &["mailbox", "add", "world", url]).0;
    assert!(add("s3://key:secret@letters").contains("never in the URL"));
    assert!(add("s3://letters?endpoint=http://127.0.0.1:1").contains("AWS_ALLOW_HTTP=true"));
    assert!(add("s3://letters?endpoint=https://ann:secret@host").contains("without a name or a password"));
    let (message, hint) = sandbox.fails(4, "mailbox_denied", &["mailbox", "add", "world", "s3://letters"]);
    assert!(message.contains("AWS_ACCESS_KEY_ID is not set"), "{message}");
    assert!(hint.contains("AWS_SECRET_ACCESS_KEY"), "{hint}");
    let words = ["mailbox", "add", "world", "file:///tmp/x", "--endpoint", "https://s3.example.com"];
    sandbox.fails(5, "invalid", &words);

    let sandbox = Sandbox::new().with(&KEYS).with(&[("AWS_ALLOW_HTTP", "true")]);
    let careless = Server::start(Path::new(&sandbox.path("s3")), false);
    let endpoint = careless.endpoint();
    let words = ["mailbox", "add", "world", &format!("s3://{BUCKET}"), "--endpoint", &endpoint];
    let (message, _) = sandbox.fails(5, "invalid", &words);
    assert!(message.contains("If-None-Match"), "{message}");
    let words = ["mailbox", "add", "world", "s3://nothing", "--endpoint", &endpoint];
    assert!(sandbox.fails(5, "invalid", &words).0.contains("no such bucket"));
    let words = ["mailbox", "add", "world", &format!("s3://{BUCKET}"), "--endpoint", &endpoint];
    let sandbox = sandbox.with(&[("AWS_SECRET_ACCESS_KEY", "another")]);
    let (message, hint) = sandbox.fails(4, "mailbox_denied", &words);
    assert!(
        message.starts_with(&format!("s3://{BUCKET}")) && hint.contains("AWS_SECRET_ACCESS_KEY"),
        "{message}"
    );
    assert_eq!(sandbox.lines(&["mailbox", "list"]), Vec::<Value>::new());
}
