//! `schema`: what is refused here, what is marked, and what an import leaves out.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const SCHEMA: &str = r#"{
  "required": ["title"],
  "properties": {"title": {"type": "string"}, "stars": {"type": "integer", "maximum": 5}}
}
"#;

#[test]
fn a_document_that_does_not_fit_is_refused_with_every_reason() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("schema.json", SCHEMA);
    let set = sandbox.json(&["schema", "set", "world", "notes", &file]);
    assert_eq!((&set["collection"], &set["marked"]), (&json!("notes"), &json!(0)));
    let (message, hint) =
        sandbox.fails(5, "schema", &["insert", "world", "notes", r#"{"title": 7, "stars": 9}"#, "--id", "x"]);
    assert!(message.contains("would not fit") && hint.contains("schema show"), "{message} {hint}");
    let ran = sandbox.run(&["insert", "world", "notes", r#"{"title": 7, "stars": 9}"#, "--json"]);
    let told: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    let mut errors = told["error"]["errors"].as_array().unwrap().clone();
    errors.sort_by_key(|error| error["path"].to_string());
    assert_eq!(errors[0], json!({"path": "stars", "message": "9 is greater than the maximum of 5"}));
    assert_eq!((errors.len(), &errors[1]["path"]), (2, &json!("title")));
    // For people each on a line.
    let ran = sandbox.run(&["insert", "world", "notes", r#"{"title": 7, "stars": 9}"#]);
    assert!(ran.stderr.contains("\n  ") && ran.stderr.contains("and 1 more"), "{}", ran.stderr);
    assert_eq!(sandbox.json(&["count", "world", "notes"])["count"], 0);

    sandbox.ok(&["insert", "world", "notes", r#"{"title": "milk", "stars": 5}"#, "--id", "a"]);
    sandbox.fails(5, "schema", &["edit", "world", "notes", "a", r#"{"$inc": {"stars": 1}}"#]);
    sandbox.fails(5, "schema", &["save", "world", "notes", "a", "{}"]);
    assert_eq!(sandbox.ok(&["schema", "show", "world", "notes"]), SCHEMA);
    let shown = sandbox.json(&["schema", "show", "world", "notes"]);
    assert_eq!((&shown["schema"]["required"], &shown["marked"]), (&json!(["title"]), &json!(0)));
    assert_eq!(sandbox.json(&["schema", "remove", "world", "notes"])["removed"], true);
    assert_eq!(sandbox.json(&["schema", "remove", "world", "notes"])["removed"], false);
    sandbox.fails(3, "not_found", &["schema", "show", "world", "notes"]);
    sandbox.fails(3, "not_found", &["schema", "check", "world", "notes"]);
    sandbox.ok(&["save", "world", "notes", "a", "{}"]);
}

#[test]
fn what_is_here_is_judged_again_by_each_schema_and_told() {
    let sandbox = Sandbox::new();
    for (id, fields) in [("a", r#"{"title": "milk"}"#), ("b", r#"{"stars": 9}"#), ("c", r#"{"title": 1}"#)] {
        sandbox.ok(&["insert", "world", "notes", fields, "--id", id]);
    }
    let ran = sandbox.run_with(&["schema", "set", "world", "notes", "-", "--json"], SCHEMA.as_bytes());
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["marked"], 2, "{ran:?}");
    let marked = sandbox.lines(&["schema", "check", "world", "notes"]);
    assert_eq!(marked.iter().map(|line| line["id"].clone()).collect::<Vec<_>>(), [json!("b"), json!("c")]);
    assert_eq!(marked[1]["errors"][0]["path"], "title");
    assert_eq!(sandbox.lines(&["schema", "check", "world", "notes", "--limit", "1"]).len(), 1);
    assert_eq!(sandbox.lines(&["schema", "list"])[0]["marked"], 2);
    let status = sandbox.json(&["status"]);
    assert_eq!(status["ok"], true, "documents that do not fit are nobody's fault here");
    let schemas = &status["spaces"][0]["schemas"];
    assert_eq!((&schemas[0]["collection"], &schemas[0]["marked"]), (&json!("notes"), &json!(2)));
    assert!(sandbox.ok(&["status"]).contains("2 documents of notes in world do not fit"));
    let told = sandbox.ok(&["explain", "world", "notes", "c"]);
    assert!(told.contains("does not fit the schema at title"), "{told}");

    let other = sandbox.file("other.json", r#"{"properties": {"title": {"type": "integer"}}}"#);
    assert_eq!(sandbox.json(&["schema", "set", "world", "notes", &other])["marked"], 1);
    assert_eq!(sandbox.lines(&["schema", "check", "world", "notes"])[0]["id"], "a");
    for wrong in
        [r#"{"type": "strng"}"#, "{", r#"{"$ref": "http://example.com/x"}"#, r#"{"pattern": "(?=x)"}"#]
    {
        let file = sandbox.file("wrong.json", wrong);
        sandbox.fails(5, "invalid_schema", &["schema", "set", "world", "notes", &file]);
    }
    sandbox.fails(3, "file_not_found", &["schema", "set", "world", "notes", "nowhere.json"]);
    assert_eq!(sandbox.lines(&["schema", "check", "world", "notes"])[0]["id"], "a");
}

#[test]
fn an_import_leaves_out_what_does_not_fit() {
    let sandbox = Sandbox::new();
    let schema = sandbox.file("schema.json", SCHEMA);
    sandbox.ok(&["schema", "set", "world", "notes", &schema]);
    let rows = r#"{"id": 1, "title": "a"}
{"id": 2, "title": 2, "stars": "x"}
{"id": 3, "title": "c", "stars": 5}
"#;
    let file = sandbox.file("rows.jsonl", rows);
    let done = sandbox.json(&["import", "world", "notes", &file, "--key", "id"]);
    assert_eq!((&done["inserted"], &done["rejected"]), (&json!(2), &json!(1)));
    let ran = sandbox.run(&["import", "world", "notes", &file, "--key", "id"]);
    assert!(ran.stderr.contains("line 2 is rejected"), "{}", ran.stderr);
    assert_eq!(sandbox.json(&["count", "world", "notes"])["count"], 2);
}
