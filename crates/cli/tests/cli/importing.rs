//! `import`: formats, keys, rows that cannot be documents, and importing again.

use serde_json::json;

use crate::sandbox::{Sandbox, subdivisions};

#[test]
fn importing_again_skips_what_is_the_same_and_updates_what_is_not() {
    let sandbox = Sandbox::new();
    let imported = sandbox.import(&subdivisions());
    assert_eq!(imported, json!({"inserted": 5127, "updated": 0, "skipped": 0, "rejected": 0}));
    let before = sandbox.json(&["digest", "world"]);
    let again = sandbox.import(&subdivisions());
    assert_eq!(again, json!({"inserted": 0, "updated": 0, "skipped": 5127, "rejected": 0}));
    assert_eq!(sandbox.json(&["digest", "world"]), before);

    sandbox.ok(&["edit", "world", "subdivisions", "AT-9", r#"{"$set": {"name": "Vienna"}}"#]);
    sandbox.ok(&["delete", "world", "subdivisions", "AT-1"]);
    let third = sandbox.import(&subdivisions());
    assert_eq!(third, json!({"inserted": 1, "updated": 1, "skipped": 5125, "rejected": 0}));
    assert_eq!(sandbox.json(&["digest", "world"])["documents"], before["documents"]);
}

#[test]
fn a_thousand_rows_are_one_transaction() {
    let sandbox = Sandbox::with_subdivisions();
    let commits = sandbox.lines(&["log", "world"]);
    let sizes: Vec<_> = commits
        .iter()
        .filter(|commit| commit["kind"] == "documents")
        .map(|commit| commit["edits"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [127, 1000, 1000, 1000, 1000, 1000]);
}

#[test]
fn json_csv_and_standard_input_are_read_alike() {
    let sandbox = Sandbox::new();
    let same = |collection: &str| {
        let mut rows = sandbox.lines(&["find", "world", collection, "--sort", "code"]);
        rows.iter_mut().for_each(|row| row.as_object_mut().unwrap().retain(|key, _| !key.starts_with('_')));
        rows
    };
    let rows = [json!({"code": "a", "name": "one"}), json!({"code": "b", "name": "two, with \"quotes\""})];
    let csv = sandbox.file("rows.csv", "code,name\na,one\nb,\"two, with \"\"quotes\"\"\"\n");
    let array = sandbox.file("array.json", json!(rows).to_string());
    let object = sandbox.file("object.json", json!({"version": 1, "rows": rows}).to_string());
    for (collection, file) in [("csv", &csv), ("array", &array), ("object", &object)] {
        sandbox.ok(&["import", "world", collection, file, "--key", "code"]);
        assert_eq!(same(collection), rows, "{collection}");
    }
    let ran = sandbox.run_with(&["import", "world", "piped", "-", "--format", "csv"], b"code,name\na,one\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 inserted, 0 updated, 0 skipped, 0 rejected"));
    assert_eq!(same("piped"), rows[..1]);
}

#[test]
fn rows_that_cannot_be_documents_are_named_with_their_lines_and_the_rest_goes_in() {
    let sandbox = Sandbox::new();
    let mut text = String::from("{\"code\": \"a\"}\n{\"code\": 1.5}\n\n{\"name\": \"no code\"}\nnot json\n");
    text.push_str(&"{\"_reserved\": 1}\n".repeat(20));
    text.push_str("{\"code\": 7}\n{\"code\": 7, \"again\": true}\n");
    let file = sandbox.file("rows.jsonl", text);
    let ran = sandbox.run(&["import", "world", "c", &file, "--key", "code", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let counts: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(counts, json!({"inserted": 2, "updated": 1, "skipped": 0, "rejected": 23}));
    let named: Vec<_> = ran.stderr.lines().filter(|line| line.contains(" is rejected: ")).collect();
    assert_eq!(named.len(), 10);
    assert!(
        named[0].starts_with("line 2 ") && named[1].starts_with("line 4 ") && named[2].starts_with("line 5 ")
    );
    assert!(ran.stderr.contains("13 more"), "{}", ran.stderr);
    assert_eq!(sandbox.json(&["get", "world", "c", "7"])["again"], true);
}

#[test]
fn a_file_that_breaks_off_keeps_what_was_stored_before() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("broken.json", "[{\"a\": 1},");
    sandbox.fails(5, "invalid_json", &["import", "world", "c", &file]);
    let file = sandbox.file("two.json", r#"{"a": [], "b": []}"#);
    let (message, _) = sandbox.fails(5, "invalid_json", &["import", "world", "c", &file]);
    assert!(message.contains("several arrays"), "{message}");
    assert_eq!(sandbox.ok(&["count", "world", "c"]), "0\n");
}
