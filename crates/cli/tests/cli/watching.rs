//! `watch` in one process, writing in another.

use serde_json::json;

use crate::sandbox::Sandbox;

#[test]
fn a_watch_in_another_process_sees_each_change_of_its_result() {
    let sandbox = Sandbox::with_subdivisions();
    let watch = sandbox.start(&["watch", "world", "subdivisions", r#"{"country": "AT"}"#, "--json"]);
    for _ in 0..9 {
        let line = watch.stdout.json();
        assert_eq!((&line["kind"], &line["document"]["country"]), (&json!("insert"), &json!("AT")));
    }
    assert_eq!(watch.stdout.json(), json!({"kind": "ready", "id": null, "document": null, "origin": null}));

    sandbox.ok(&["edit", "world", "subdivisions", "AT-9", r#"{"$set": {"note": "the capital"}}"#]);
    let line = watch.stdout.json();
    assert_eq!((&line["kind"], &line["id"]), (&json!("update"), &json!("AT-9")));
    assert_eq!(
        (&line["document"]["note"], &line["document"]["_id"]),
        (&json!("the capital"), &json!("AT-9"))
    );

    // Leaves the result without being deleted; what is outside of it says nothing.
    sandbox.ok(&["edit", "world", "subdivisions", "FI-18", r#"{"$set": {"note": "far away"}}"#]);
    sandbox.ok(&["edit", "world", "subdivisions", "AT-1", r#"{"$set": {"country": "HU"}}"#]);
    let line = watch.stdout.json();
    assert_eq!((&line["kind"], &line["id"]), (&json!("delete"), &json!("AT-1")));
    sandbox.ok(&["insert", "world", "subdivisions", r#"{"country": "AT"}"#, "--id", "AT-10"]);
    let line = watch.stdout.json();
    assert_eq!((&line["kind"], &line["id"]), (&json!("insert"), &json!("AT-10")));
}

#[test]
#[cfg(unix)]
fn an_interrupted_watch_ends_well_and_people_see_signs() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["insert", "world", "shopping", r#"{"n": 1}"#, "--id", "milk"]);
    let mut watch = sandbox.start(&["watch", "world", "shopping"]);
    assert!(watch.stdout.next().unwrap().starts_with("+ milk {\"_id\":\"milk\""));
    watch.stderr.until("1 document; waiting");
    sandbox.ok(&["edit", "world", "shopping", "milk", r#"{"$inc": {"n": 1}}"#]);
    assert!(watch.stdout.next().unwrap().starts_with("~ milk {"));
    sandbox.ok(&["delete", "world", "shopping", "milk"]);
    assert_eq!(watch.stdout.next().unwrap(), "- milk");
    assert_eq!(watch.interrupt().code(), Some(0));
    assert_eq!((watch.stdout.next(), watch.stderr.next()), (None, None));
}
