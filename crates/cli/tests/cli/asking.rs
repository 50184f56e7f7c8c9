//! Getting in without a ticket: policies, requests, approvals and discovery, between processes.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

struct Scene {
    sandbox: Sandbox,
    space: String,
    address: String,
    _serve: crate::sandbox::Running,
}

// Ann serves `world`, and takes requests; Ben is somebody else.
fn scene() -> Scene {
    let sandbox = Sandbox::new();
    sandbox.ok(&["insert", "world", "things", r#"{"n": 1}"#, "--id", "one"]);
    let space = sandbox.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned();
    let (serve, address) = sandbox.serve("db");
    sandbox.person("ben");
    Scene { sandbox, space, address, _serve: serve }
}

impl Scene {
    fn ask(&self, more: &[&str]) -> Value {
        self.sandbox.json(&[&["--dir", "ben", "request", &self.address, &self.space], more].concat())
    }
}

#[cfg(unix)]
#[test]
fn somebody_asks_is_approved_joins_and_edits() {
    let scene = scene();
    let Scene { sandbox, space, address, .. } = &scene;
    let policy = sandbox.json(&["policy", "world"]);
    assert_eq!(policy, json!({ "space": space, "bootstrap": "reject", "commit": null }));
    sandbox.fails(4, "not_open", &["--dir", "ben", "request", address, space]);
    let policy = sandbox.json(&["policy", "world", "bootstrap", "queue"]);
    assert_eq!((&policy["bootstrap"], policy["commit"].is_string()), (&json!("queue"), true));

    let queued = scene.ask(&["--note", "it is \u{1b}[31mBen\nreally", "--permission", "write:50"]);
    assert_eq!((&queued["state"], &queued["permission"]), (&json!("queued"), &json!("write:50")));
    let id = queued["id"].as_str().unwrap();
    let listed = sandbox.json(&["requests"]);
    let ben = sandbox.json(&["--dir", "ben", "status"])["author"].clone();
    for (field, value) in [
        ("id", &queued["id"]),
        ("space", &json!(space)),
        ("name", &json!("world")),
        ("author", &ben),
        ("permission", &json!("write:50")),
        ("note", &json!("it is \u{1b}[31mBen\nreally")),
        ("source", &json!("127.0.0.1")),
    ] {
        assert_eq!(&listed[field], value, "{field}");
    }
    assert!(listed["time"].is_u64() && listed["peer"].as_str().unwrap().starts_with("p_"));
    // What a stranger wrote does nothing to a terminal, and the key is shown whole.
    let shown = sandbox.ok(&["requests"]);
    assert!(
        !shown.contains('\u{1b}') && shown.contains(ben.as_str().unwrap()) && shown.contains(id),
        "{shown}"
    );
    assert!(shown.lines().any(|line| line.contains("Ben") && line.contains("really")), "{shown}");

    assert_eq!(sandbox.json(&["status"])["requests"], 1);
    assert!(sandbox.ok(&["status"]).contains("1 request for access"));

    // Another wish is another request; the old id is good for nothing.
    let weaker = loop {
        // Not more often than once in a second.
        let asked =
            sandbox.run(&["--dir", "ben", "request", address, space, "--permission", "read", "--json"]);
        if asked.code == Some(0) {
            break serde_json::from_str::<Value>(&asked.stdout).unwrap();
        }
        assert!(asked.stderr.contains("queue_full"), "{asked:?}");
    };
    assert_ne!(weaker["id"], queued["id"]);
    sandbox.fails(3, "not_found", &["approve", id]);
    sandbox.fails(3, "not_found", &["reject", id]);
    sandbox.fails(5, "invalid_request", &["approve", &id[..20]]);

    let id = weaker["id"].as_str().unwrap();
    let approved = sandbox.json(&["approve", id, "--permission", "write"]);
    assert_eq!((&approved["author"], &approved["permission"]), (&ben, &json!("write:100")));
    assert!(approved["commit"].is_string());
    assert_eq!(sandbox.lines(&["requests"]), [] as [Value; 0]);

    let joined = scene.ask(&["--name", "planet"]);
    assert_eq!(
        (&joined["state"], &joined["name"], &joined["documents"]),
        (&json!("joined"), &json!("planet"), &json!(1))
    );
    assert_eq!((&joined["permission"], &joined["exchange"]["settled"]), (&json!("write:100"), &json!(true)));
    sandbox.ok(&["--dir", "ben", "edit", "planet", "things", "one", r#"{"$inc": {"n": 1}}"#]);
    // The peer is known now, by its address or its id.
    sandbox.ok(&["--dir", "ben", "sync"]);
    assert_eq!(sandbox.json(&["get", "world", "things", "one"])["n"], 2);
    let peer = sandbox.json(&["--dir", "ben", "peers"])["peer"].as_str().unwrap().to_owned();
    let again = sandbox.json(&["--dir", "ben", "request", &peer, "planet"]);
    assert_eq!(again["state"], "joined");
}

#[cfg(unix)]
#[test]
fn who_waits_joins_when_it_is_approved_and_hears_of_a_rejection() {
    let scene = scene();
    let Scene { sandbox, space, address, .. } = &scene;
    sandbox.ok(&["policy", "world", "bootstrap", "queue"]);
    sandbox.person("cleo");
    for (who, answer) in [("ben", "approve"), ("cleo", "reject")] {
        let mut waiting = sandbox.start(&["--dir", who, "request", address, space, "--wait", "--json"]);
        let line = waiting.stderr.until("queued as r_");
        let id = line.split_whitespace().find(|word| word.starts_with("r_")).unwrap().trim_end_matches(';');
        sandbox.json(&[answer, id]);
        if answer == "approve" {
            assert_eq!(waiting.stdout.json()["state"], "joined");
            assert_eq!(waiting.wait().code(), Some(0));
        } else {
            waiting.stderr.until("not_open");
            assert_eq!(waiting.wait().code(), Some(4));
        }
    }
    assert_eq!(sandbox.json(&["--dir", "ben", "count", "world", "things"])["count"], 1);
    sandbox.fails(4, "not_open", &["--dir", "cleo", "request", address, space]);
    assert_eq!(sandbox.lines(&["requests"]), [] as [Value; 0]);
}

#[cfg(unix)]
#[test]
fn a_policy_lets_in_at_once_also_into_a_database_that_is_served() {
    let scene = scene();
    let Scene { sandbox, space, address, .. } = &scene;
    assert_eq!(sandbox.json(&["policy", "world", "bootstrap", "approve:read"])["bootstrap"], "approve:read");
    sandbox.fails(4, "not_open", &["--dir", "ben", "request", address, space, "--permission", "write"]);
    let (_at_ben, _) = sandbox.serve("ben");
    let joined = scene.ask(&["--permission", "read"]);
    assert_eq!((&joined["state"], &joined["permission"]), (&json!("joined"), &json!("read")));
    // From then on it is kept connected.
    let watch = sandbox.start(&["--dir", "ben", "watch", "world", "things", "--json"]);
    watch.stdout.until("\"ready\"");
    sandbox.ok(&["edit", "world", "things", "one", r#"{"$set": {"n": 9}}"#]);
    watch.stdout.until("\"n\":9");
    sandbox.fails(4, "not_permitted", &["--dir", "ben", "policy", "world", "bootstrap", "reject"]);
}

#[cfg(unix)]
#[test]
fn a_peer_tells_which_spaces_it_lets_one_read() {
    let scene = scene();
    let Scene { sandbox, space, address, .. } = &scene;
    sandbox.ok(&["space", "create", "diary"]);
    assert_eq!(sandbox.lines(&["--dir", "ben", "discover", address]), [] as [Value; 0]);
    sandbox.ok(&["grant", "world", "*", "read"]);
    let found = sandbox.json(&["--dir", "ben", "discover", address]);
    assert_eq!(found, json!({ "space": space, "name": "world", "here": false }));
    // What was found can be fetched.
    sandbox.ok(&["--dir", "ben", "sync", space, "--peer", address]);
    assert_eq!(sandbox.json(&["--dir", "ben", "discover", address])["here"], true);
    assert!(sandbox.ok(&["--dir", "ben", "discover", address]).contains(space.as_str()));
}

#[test]
fn what_is_typed_wrong_is_named() {
    let sandbox = Sandbox::new();
    let space = sandbox.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned();
    sandbox.fails(6, "peer_unreachable", &["request", "http://127.0.0.1:1", &space]);
    sandbox.fails(6, "peer_unreachable", &["discover", "http://127.0.0.1:1"]);
    sandbox.fails(3, "not_found", &["request", "http://127.0.0.1:1", "nothing"]);
    sandbox.fails(3, "not_found", &["discover", "p_abcdefgh"]);
    sandbox.fails(5, "invalid_permission", &["request", "http://127.0.0.1:1", &space, "--permission", "own"]);
    let long = "n".repeat(4097);
    sandbox.fails(5, "invalid", &["request", "http://127.0.0.1:1", &space, "--note", &long]);
    sandbox.fails(5, "invalid_policy", &["policy", "world", "bootstrap", "sometimes"]);
    sandbox.fails(5, "invalid", &["policy", "world", "bootstrap", "approve:admin"]);
    sandbox.fails(2, "usage", &["policy", "world", "bootstrap"]);
    sandbox.fails(2, "usage", &["policy", "world", "sharing", "x"]);
    sandbox.fails(3, "not_found", &["reject", &format!("r_{}", "a".repeat(52))]);
    assert_eq!(sandbox.lines(&["requests"]), [] as [Value; 0]);
}
