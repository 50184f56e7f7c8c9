//! What `--json` prints: programs rely on these fields.

use serde_json::Value;

use crate::sandbox::Sandbox;

fn has(value: &Value, fields: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{value}"));
    let missing: Vec<_> = fields.iter().filter(|field| !object.contains_key(**field)).collect();
    assert!(missing.is_empty(), "{value} has no {missing:?}");
}

fn id<'v>(value: &'v Value, letter: &str) -> &'v str {
    let text = value.as_str().unwrap_or_else(|| panic!("{value}"));
    assert!(text.starts_with(letter) && text.len() == 54, "{text}");
    text
}

#[test]
fn each_command_prints_the_fields_of_the_contract() {
    let sandbox = Sandbox::empty();
    let init = sandbox.json(&["init", "--name", "ann"]);
    has(&init, &["dir", "user", "author"]);
    assert_eq!(init["user"], "ann");
    let author = id(&init["author"], "a_");

    let space_fields = ["space", "name", "commits", "documents", "heads"];
    let space = sandbox.json(&["space", "create", "world"]);
    has(&space, &space_fields);
    id(&space["space"], "s_");
    has(&sandbox.json(&["space", "show", "world"]), &space_fields);
    has(&sandbox.lines(&["space", "list"])[0], &space_fields);
    has(&sandbox.json(&["space", "rename", "world", "earth"]), &space_fields);

    let written = sandbox.json(&["insert", "earth", "c", r#"{"n": 1}"#, "--id", "x"]);
    has(&written, &["id", "commit"]);
    id(&written["commit"], "c_");
    let operators = r#"{"$inc": {"n": 1}}"#;
    for words in [
        &["edit", "earth", "c", "x", operators][..],
        &["save", "earth", "c", "x", r#"{"n": 5}"#],
        &["delete", "earth", "c", "x"],
        &["restore", "earth", "c", "x"],
    ] {
        has(&sandbox.json(words), &["id", "commit"]);
    }
    let system = ["_id", "_collection", "_created", "_updated", "_author"];
    has(&sandbox.json(&["get", "earth", "c", "x"]), &system);
    has(&sandbox.lines(&["find", "earth", "c"])[0], &system);
    has(&sandbox.json(&["count", "earth", "c"]), &["count"]);
    has(&sandbox.json(&["index", "create", "earth", "c", "n"]), &["space", "collection", "field"]);
    has(&sandbox.json(&["index", "list", "earth"]), &["space", "collection", "field"]);

    for line in sandbox.lines(&["log", "earth"]) {
        has(&line, &["commit", "author", "seq", "time", "parents", "edits", "state"]);
        assert_eq!((line["state"].as_str(), line["author"].as_str()), (Some("applied"), Some(author)));
    }
    has(&sandbox.json(&["digest", "earth"]), &["space", "heads", "commits", "documents", "view"]);
    has(&sandbox.json(&["rebuild", "earth"]), &["space", "heads", "commits", "documents", "view"]);
    has(&sandbox.json(&["compact", "earth"]), &["packed", "bytes_before", "bytes_after"]);

    let granted = sandbox.json(&["grant", "earth", "*", "read"]);
    has(&granted, &["space", "subject", "permission", "commit"]);
    let members = sandbox.lines(&["members", "earth"]);
    members.iter().for_each(|member| has(member, &["subject", "permission", "you"]));
    assert_eq!(members[0]["permission"], "admin:0");
    assert_eq!((&members[1]["subject"], &members[1]["permission"]), (&"*".into(), &"read".into()));
    has(&sandbox.json(&["revoke", "earth", "*"]), &["space", "subject", "permission", "commit"]);

    let status = sandbox.json(&["status", "earth"]);
    has(&status, &["ok", "user", "author", "bytes", "spaces", "refused"]);
    assert_eq!(status["ok"], true);
    has(
        &status["spaces"][0],
        &["space", "name", "commits", "documents", "applied", "held", "void", "wanted", "forked"],
    );
    has(&status["spaces"][0]["held"], &["count", "commits"]);

    has(&sandbox.json(&["bundle", "export", "earth", "e.bundle"]), &["space", "commits", "bytes"]);
    sandbox.ok(&["--dir", "copy", "init"]);
    let imported = sandbox.json(&["--dir", "copy", "bundle", "import", "e.bundle"]);
    has(&imported, &["spaces", "commits", "applied", "held", "void", "wanted", "refused", "declined"]);
    assert_eq!(imported["commits"], imported["applied"]);
    has(&sandbox.json(&["space", "forget", "earth"]), &space_fields);
}

#[test]
fn a_permission_that_is_granted_is_printed_as_it_can_be_granted() {
    let sandbox = Sandbox::new();
    let someone = sandbox.json(&["--dir", "ben", "init"])["author"].as_str().unwrap().to_owned();
    for (word, printed) in
        [("admin", "admin:10"), ("write", "write:100"), ("write:500", "write:500"), ("read", "read")]
    {
        assert_eq!(sandbox.json(&["grant", "world", &someone, word])["permission"], printed);
        let members = sandbox.lines(&["members", "world"]);
        let member = members.iter().find(|member| member["subject"] == someone.as_str()).unwrap();
        assert_eq!(member["permission"], printed);
    }
}

#[test]
fn the_folder_is_that_of_the_option_then_of_the_environment_then_of_the_platform() {
    let sandbox = Sandbox::empty();
    let init = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        (line["dir"].as_str().unwrap().to_owned(), line["user"].as_str().unwrap().to_owned())
    };
    let option = init(&mut sandbox.command(&["init", "--json", "--dir", "other"]));
    assert_eq!(option, ("other".into(), "somebody".into()));
    assert_eq!(init(&mut sandbox.command(&["init", "--json"])).0, sandbox.path("db"));
    let mut command = sandbox.command(&["init", "--json", "--user", "cleo"]);
    let platform = init(command.env("DRIFTLESS_DIR", ""));
    assert!(
        platform.0.starts_with(&sandbox.path("home")) && platform.0.ends_with("driftless"),
        "{platform:?}"
    );
    assert_eq!(platform.1, "cleo");
}
