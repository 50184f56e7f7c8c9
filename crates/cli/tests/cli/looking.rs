//! Looking back and looking into: `get --at`, `diff`, `log` of a document, `find --plan`, and `explain`.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

fn failing(told: &Value) -> Vec<&str> {
    let steps = told["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["ok"] == false).map(|step| step["step"].as_str().unwrap()).collect()
}

#[test]
fn a_document_is_printed_as_it_was_and_what_changed_since() {
    let sandbox = Sandbox::new();
    let commit = |words: &[&str]| sandbox.json(words)["commit"].as_str().unwrap().to_owned();
    let first = commit(&["insert", "world", "notes", r#"{"n": 1, "tags": ["a"]}"#, "--id", "x"]);
    commit(&["edit", "world", "notes", "x", r#"{"$inc": {"n": 4}, "$push": {"tags": "b"}}"#]);
    let deleted = commit(&["delete", "world", "notes", "x"]);
    let log = sandbox.lines(&["log", "world", "notes", "x"]);
    assert_eq!(log.len(), 3);
    assert_eq!(log[2]["commit"], first.as_str());

    let get = |at: &str| sandbox.json(&["get", "world", "notes", "x", "--at", at]);
    assert_eq!(get(&first)["n"], 1);
    assert_eq!(get(&first[..12])["tags"], json!(["a"]));
    assert_eq!(get(log[1]["commit"].as_str().unwrap())["n"], 5);
    assert!(get(&log[1]["time"].to_string())["n"].is_i64());
    sandbox.fails(3, "not_found", &["get", "world", "notes", "x"]);
    sandbox.fails(3, "not_found", &["get", "world", "notes", "x", "--at", &deleted]);
    sandbox.fails(3, "not_found", &["get", "world", "notes", "x", "--at", "1999-12-31"]);
    sandbox.fails(3, "not_found", &["get", "world", "notes", "x", "--at", "c_aaaaaaaaaaaa"]);
    sandbox.fails(5, "invalid_time", &["get", "world", "notes", "x", "--at", "yesterday"]);

    let second = log[1]["commit"].as_str().unwrap();
    let diff = |words: &[&str]| sandbox.json(&[&["diff", "world", "notes", "x"], words].concat());
    assert_eq!(diff(&["--from", &first, "--to", second]), json!({"$set": {"n": 5}, "$push": {"tags": "b"}}));
    assert_eq!(diff(&["--from", second]), json!({"$delete": true}));
    assert_eq!(diff(&["--from", &first, "--to", &first]), json!({}));
    assert_eq!(diff(&["--from", "1999-12-31", "--to", &first]), json!({"$insert": {"n": 1, "tags": ["a"]}}));
    // What `diff` prints, `edit` takes.
    sandbox.ok(&["insert", "world", "notes", r#"{"n": 1, "tags": ["a"]}"#, "--id", "y"]);
    let operators = diff(&["--from", &first, "--to", second]).to_string();
    sandbox.ok(&["edit", "world", "notes", "y", &operators]);
    assert_eq!(sandbox.json(&["get", "world", "notes", "y"])["n"], 5);
    sandbox.fails(5, "invalid_time", &["diff", "world", "notes", "x", "--from", "2026-02-30"]);
    sandbox.fails(2, "usage", &["diff", "world", "notes", "x"]);
}

#[test]
fn a_plan_says_which_index_and_how_many_documents() {
    let sandbox = Sandbox::with_subdivisions();
    let filter = r#"{"country": "AT"}"#;
    let plan = |words: &[&str]| {
        sandbox.json(&[&["find", "world", "subdivisions", filter, "--plan"], words].concat())
    };
    assert_eq!(plan(&[]), json!({"index": null, "candidates": 5127}));
    sandbox.ok(&["index", "create", "world", "subdivisions", "country"]);
    assert_eq!(plan(&[]), json!({"index": "country", "candidates": 9}));
    let text = sandbox.ok(&["find", "world", "subdivisions", filter, "--plan"]);
    assert!(text.contains("country") && text.contains("9 documents"), "{text}");
}

#[cfg(unix)]
#[test]
fn explain_follows_a_document_to_a_peer_and_names_the_step_where_it_stops() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["insert", "world", "notes", "{}", "--id", "x"]);
    let explain = |dir: &str, words: &[&str]| {
        sandbox.json(&[&["--dir", dir, "explain", "world", "notes", "x"], words].concat())
    };
    let told = explain("db", &[]);
    assert_eq!((&told["ok"], &told["fix"]), (&json!(true), &Value::Null));
    assert!(sandbox.ok(&["explain", "world", "notes", "x"]).contains("it is here"));

    let space = sandbox.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned();
    let ben = sandbox.json(&["--dir", "ben", "init"]);
    let (author, peer) = (ben["author"].as_str().unwrap(), ben["peer"].as_str().unwrap());
    assert_eq!(failing(&explain("db", &["--peer", peer])), ["peer"]);
    // Ben comes and may not read.
    let (_serve, address) = sandbox.serve("db");
    sandbox.fails(4, "not_open", &["--dir", "ben", "sync", &space, "--peer", &address]);
    let told = explain("db", &["--peer", peer]);
    assert_eq!(failing(&told), ["kept", "permission", "acknowledged"]);
    assert!(told.to_string().contains(author), "{told}");
    sandbox.ok(&["grant", "world", author, "read"]);
    sandbox.json(&["--dir", "ben", "sync", &space, "--peer", &address]);
    // Ann's side may hear a moment later than Ben's that both have the same.
    let told = (0..1000).map(|_| explain("db", &["--peer", peer])).find(|told| told["ok"] == true).unwrap();
    let permission =
        told["steps"].as_array().unwrap().iter().find(|step| step["step"] == "permission").unwrap();
    assert!(permission["detail"].as_str().unwrap().contains(author), "{permission}");

    // From Ben's side, by what he noted, in a process of its own.
    let ann = address.split_once('#').unwrap().1;
    let told = explain("ben", &["--peer", ann]);
    assert_eq!(failing(&told), [""; 0], "{told}");
    // What came later he has not.
    sandbox.ok(&["edit", "world", "notes", "x", r#"{"$set": {"n": 1}}"#]);
    let told = explain("db", &["--peer", peer]);
    assert_eq!(failing(&told), ["acknowledged"], "{told}");
    assert!(told["fix"].as_str().unwrap().contains("sync"), "{told}");
    sandbox.fails(3, "not_found", &["explain", "world", "notes", "x", "--peer", "p_aaaaaaaa"]);
    sandbox.fails(3, "not_found", &["explain", "nothing", "notes", "x"]);
}

#[test]
fn those_whom_a_space_lets_in_are_granted_and_shown_by_its_id() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["space", "create", "team"]);
    let team = sandbox.json(&["space", "show", "team"])["space"].as_str().unwrap().to_owned();
    assert_eq!(sandbox.json(&["grant", "world", &team, "write:5"])["subject"], team.as_str());
    let members = sandbox.lines(&["members", "world"]);
    let team_is = |member: &Value| member["subject"] == team.as_str() && member["permission"] == "write:5";
    assert!(members.iter().any(team_is), "{members:?}");
    sandbox.ok(&["revoke", "world", &team]);
    assert_eq!(sandbox.lines(&["members", "world"]).len(), 1);
}
