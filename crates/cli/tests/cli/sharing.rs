//! `share` and `find --across`: what they print, and what they say no to.

use serde_json::Value;

use crate::sandbox::Sandbox;

#[test]
fn sharing_says_where_a_document_went_and_it_is_found_there() {
    let sandbox = Sandbox::empty();
    sandbox.ok(&["init", "--name", "ann"]);
    let home = sandbox.json(&["space", "create", "home"])["space"].as_str().unwrap().to_owned();
    sandbox.ok(&["insert", "home", "notes", r#"{"n": 2}"#, "--id", "a"]);
    sandbox.ok(&["insert", "home", "notes", r#"{"n": 1}"#, "--id", "b"]);
    sandbox.ok(&["insert", "home", "steps", "{}", "--parent", "a"]);
    sandbox.ok(&["user", "create", "ben"]);
    sandbox.ok(&["--user", "ben", "user", "identity"]);
    let shared = sandbox.json(&["share", "home", "notes", "a", "users:ben"]);
    let fields: Vec<&String> = shared.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["commits", "documents", "from", "id", "space", "to"]);
    assert_eq!((&shared["from"], &shared["documents"]), (&home.clone().into(), &2.into()));
    assert!(shared["to"].as_str().unwrap().starts_with("users:u_"));
    assert_eq!(shared["commits"].as_array().unwrap().len(), 2);
    let found = sandbox.lines(&["find", "*", "notes", "--across", "--sort", "n"]);
    let places: Vec<&Value> = found.iter().map(|document| &document["_space"]).collect();
    assert_eq!(places, [&Value::from(home.clone()), &shared["space"]]);
    let words = ["find", "ann+ben,home", "notes", r#"{"n": {"$gt": 1}}"#, "--across", "--limit", "5"];
    assert_eq!(sandbox.lines(&words)[0]["_id"], "a");
    let back = sandbox.json(&["share", "home", "notes", "a", "members", "--alone"]);
    assert_eq!((&back["space"], &back["documents"]), (&home.into(), &1.into()));
    let again = sandbox.json(&["share", "home", "notes", "a", "members"]);
    assert_eq!((&again["documents"], &again["commits"]), (&0.into(), &Value::Array(Vec::new())));
}

#[test]
fn what_is_no_policy_or_names_nobody_is_said_and_moves_nothing() {
    let sandbox = Sandbox::empty();
    sandbox.ok(&["init", "--name", "ann"]);
    sandbox.ok(&["space", "create", "home"]);
    sandbox.ok(&["insert", "home", "notes", "{}", "--id", "a"]);
    sandbox.ok(&["user", "create", "ben"]);
    for (policy, expected) in [
        ("everybody", (5, "invalid_policy")),
        ("users:", (5, "invalid_policy")),
        ("ref:home/notes", (5, "invalid_policy")),
        ("users:cem", (3, "not_found")),
        // Ben is here, and has no identity yet.
        ("users:ben", (3, "not_found")),
        ("ref:home/notes/b", (3, "not_found")),
        ("ref:home/notes/a", (5, "invalid")),
    ] {
        sandbox.fails(expected.0, expected.1, &["share", "home", "notes", "a", policy]);
    }
    sandbox.fails(3, "not_found", &["share", "home", "notes", "b", "self"]);
    sandbox.fails(3, "not_found", &["find", "home,work", "notes", "--across"]);
    assert_eq!(sandbox.lines(&["space", "list"]).len(), 1);
}
