//! The first minute: a database, a space, five thousand real documents, queries, an index, edits.

use serde_json::json;

use crate::sandbox::Sandbox;

#[test]
fn real_documents_are_imported_found_sorted_and_counted() {
    let sandbox = Sandbox::with_subdivisions();
    assert_eq!(sandbox.ok(&["count", "world", "subdivisions"]), "5127\n");
    assert_eq!(
        sandbox.json(&["count", "world", "subdivisions", r#"{"country": "AT"}"#]),
        json!({"count": 9})
    );

    let found = sandbox.lines(&[
        "find",
        "world",
        "subdivisions",
        r#"{"country": "AT"}"#,
        "--sort",
        "-name",
        "--skip",
        "1",
        "--limit",
        "2",
    ]);
    let names: Vec<_> = found.iter().map(|document| document["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Vorarlberg", "Tirol"]);
    assert_eq!((&found[0]["_id"], &found[0]["_collection"]), (&json!("AT-8"), &json!("subdivisions")));

    let filter =
        r#"{"$or": [{"type": "Canton"}, {"name": {"$regex": "^Wien$"}}], "country": {"$in": ["AT", "CH"]}}"#;
    assert_eq!(sandbox.json(&["count", "world", "subdivisions", filter]), json!({"count": 27}));
}

#[test]
fn an_index_changes_how_documents_are_found_and_not_which() {
    let sandbox = Sandbox::with_subdivisions();
    let find = ["find", "world", "subdivisions", r#"{"country": "FI"}"#, "--sort", "code"];
    let before = sandbox.lines(&find);
    assert_eq!(before.len(), 19);
    assert!(sandbox.run(&[&find[..], &["-v"]].concat()).stderr.contains("every document"));

    let create = ["index", "create", "world", "subdivisions", "country"];
    assert_eq!(sandbox.json(&create)["created"], true);
    assert_eq!(sandbox.json(&create)["created"], false);
    assert_eq!(sandbox.lines(&find), before);
    assert!(sandbox.run(&[&find[..], &["-v"]].concat()).stderr.contains("index on country"));
    assert_eq!(sandbox.json(&["index", "list"])["field"], "country");

    sandbox.ok(&["edit", "world", "subdivisions", "AT-9", r#"{"$set": {"country": "FI"}}"#]);
    assert_eq!(sandbox.lines(&find).len(), 20);
}

#[test]
fn a_document_is_edited_saved_deleted_and_restored_and_its_history_shows_it() {
    let sandbox = Sandbox::new();
    let milk = |words: &[&str]| {
        let (verb, rest) = words.split_first().unwrap();
        sandbox.json(&[&[*verb, "world", "shopping", "milk"], rest].concat())
    };
    let fields = r#"{"title": "Milk", "tags": ["cold"]}"#;
    let insert = ["insert", "world", "shopping", fields, "--id", "milk", "--parent", "list"];
    assert_eq!(sandbox.ok(&insert), "milk\n");
    milk(&["edit", r#"{"$inc": {"count": 2}, "$push": {"tags": {"$each": ["dairy", "white"]}}}"#]);
    let document = milk(&["get"]);
    assert_eq!(document["count"], 2);
    assert_eq!(document["tags"], json!(["cold", "dairy", "white"]));
    assert_eq!((&document["_id"], &document["_parent"]), (&json!("milk"), &json!("list")));

    // What `get` printed can be saved; what is equal writes nothing.
    let printed = sandbox.ok(&["get", "world", "shopping", "milk"]);
    let same = sandbox.run_with(&["save", "world", "shopping", "milk", "-", "--json"], printed.as_bytes());
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&same.stdout).unwrap(),
        json!({"id": "milk", "commit": null})
    );
    let file = sandbox.file("milk.json", r#"{"title": "Oat milk"}"#);
    milk(&["save", &format!("@{file}")]);
    assert_eq!((milk(&["get"])["title"].clone(), milk(&["get"]).get("count")), (json!("Oat milk"), None));

    milk(&["delete"]);
    sandbox.fails(3, "not_found", &["get", "world", "shopping", "milk"]);
    assert!(sandbox.lines(&["find", "world", "shopping"]).is_empty());
    assert_eq!(sandbox.lines(&["find", "world", "shopping", "--deleted"])[0]["_deleted"], true);
    milk(&["restore"]);
    assert_eq!(milk(&["get"])["title"], "Oat milk");

    let history = sandbox.lines(&["log", "world", "shopping", "milk"]);
    assert_eq!(history.len(), 5);
    let times: Vec<_> = history.iter().map(|line| line["time"].as_u64().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    assert_eq!(sandbox.lines(&["log", "world", "--limit", "2"]), history[..2]);
}

#[test]
fn ids_are_words_integers_and_lists_and_random_ones_are_printed() {
    let sandbox = Sandbox::new();
    for (word, id) in [
        ("FI-18", json!("FI-18")),
        ("-5", json!(-5)),
        ("\"42\"", json!("42")),
        ("[1,\"a\"]", json!([1, "a"])),
    ] {
        let written = sandbox.json(&["insert", "world", "things", "{}", "--id", word]);
        assert_eq!(written["id"], id);
        assert_eq!(sandbox.json(&["get", "world", "things", word])["_id"], id);
    }
    let random = sandbox.ok(&["insert", "world", "things", "{}"]);
    assert!(random.starts_with('~') && random.trim().len() == 27, "{random}");
    assert_eq!(sandbox.json(&["get", "world", "things", random.trim()])["_id"], random.trim());
}

#[test]
fn spaces_have_local_names_and_go_when_they_are_forgotten() {
    let sandbox = Sandbox::new();
    let space = sandbox.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned();
    assert_eq!(sandbox.json(&["space", "rename", &space[..12], "planet"])["name"], "planet");
    assert_eq!(sandbox.json(&["digest", "planet"])["space"], space.as_str());
    sandbox.fails(3, "not_found", &["digest", "world"]);
    assert_eq!(sandbox.lines(&["space", "list"]).len(), 1);
    assert_eq!(sandbox.json(&["space", "forget", "planet"])["space"], space.as_str());
    assert!(sandbox.lines(&["space", "list"]).is_empty());
}

#[test]
fn a_rebuild_comes_to_the_same_digest() {
    let sandbox = Sandbox::with_subdivisions();
    sandbox.ok(&["edit", "world", "subdivisions", "AT-9", r#"{"$inc": {"visits": 1}}"#]);
    let before = sandbox.json(&["digest", "world"]);
    assert_eq!(sandbox.json(&["rebuild"]), before);
    assert_eq!(sandbox.json(&["rebuild", "world"]), before);
    assert_eq!(sandbox.json(&["digest", "world"]), before);
}

#[test]
fn packing_what_is_young_changes_nothing() {
    let sandbox = Sandbox::with_subdivisions();
    let before = sandbox.json(&["digest", "world"]);
    assert_eq!(sandbox.json(&["compact"])["packed"], 0);
    assert!(sandbox.ok(&["compact", "world"]).starts_with("0 commits packed"));
    assert_eq!(sandbox.json(&["digest", "world"]), before);
    sandbox.fails(3, "not_found", &["compact", "nowhere"]);
}
