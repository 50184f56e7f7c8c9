//! Roots, invites between users, and pulling anew, between processes.

use serde_json::json;

use crate::sandbox::Sandbox;

#[test]
fn an_invite_is_found_accepted_and_the_space_is_a_root() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["insert", "world", "things", r#"{"n": 1}"#, "--id", "one"]);
    let space = sandbox.json(&["space", "show", "world"])["space"].clone();
    sandbox.person("ben");
    // A root makes the identity of a user, which others invite.
    assert!(sandbox.lines(&["--dir", "ben", "roots"]).is_empty());
    sandbox.fails(3, "not_found", &["--dir", "ben", "roots", "remove", space.as_str().unwrap()]);
    let roots = sandbox.json(&["--dir", "ben", "roots", "add", space.as_str().unwrap()]);
    assert_eq!(roots, json!({ "space": space, "name": "", "here": false }));
    sandbox.ok(&["--dir", "ben", "roots", "remove", space.as_str().unwrap()]);
    sandbox.json(&["--dir", "ben", "user", "identity"]);
    let ben = sandbox.json(&["--dir", "ben", "user", "show"])["id"].as_str().unwrap().to_owned();

    let (_serve, address) = sandbox.serve("db");
    let invite = sandbox.json(&["invite", "world", &ben, "--address", &address]);
    assert_eq!((&invite["space"], &invite["to"], &invite["answer"]), (&space, &json!(ben), &json!("open")));
    assert_eq!(sandbox.lines(&["--dir", "ben", "invites"]).len(), 0);
    let found = sandbox.json(&["--dir", "ben", "invites", "--from", &address]);
    assert_eq!(found, invite);
    sandbox.fails(4, "not_permitted", &["decline", invite["id"].as_str().unwrap()]);

    let accepted = sandbox.json(&["--dir", "ben", "accept", invite["id"].as_str().unwrap()]);
    assert_eq!(accepted, json!({ "space": space, "name": "world", "joined": true }));
    assert_eq!(sandbox.json(&["--dir", "ben", "roots"])["space"], space);
    assert_eq!(sandbox.json(&["--dir", "ben", "get", "world", "things", "one"])["n"], 1);
    let reset = sandbox.json(&["--dir", "ben", "reset", "world"]);
    assert_eq!((&reset["spaces"], &reset["received"]), (&json!(1), &json!(0)));
    assert_eq!(sandbox.json(&["--dir", "ben", "reset", "--all"])["peers"], 1);
    let declined = sandbox.json(&["--dir", "ben", "decline", invite["id"].as_str().unwrap()]);
    assert_eq!(declined["answer"], "declined");
    assert!(sandbox.lines(&["--dir", "ben", "roots"]).is_empty());
    sandbox.fails(3, "not_found", &["--dir", "ben", "accept", "~nothing"]);
    sandbox.fails(2, "usage", &["reset"]);
}
