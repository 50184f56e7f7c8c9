//! The demo ends with equal digests, with the real table, with made-up places, and with a file.

use std::process::Command;

use serde_json::Value;

use crate::sandbox::{Sandbox, subdivisions};

fn digests(story: &Value) -> Vec<&str> {
    story["nodes"].as_array().unwrap().iter().map(|node| node["digest"].as_str().unwrap()).collect()
}

#[test]
fn the_demo_ends_with_three_equal_digests() {
    let sandbox = Sandbox::empty();
    let file = subdivisions();
    let story = sandbox.json(&["demo", file.to_str().unwrap()]);
    assert_eq!((&story["ok"], &story["documents"]), (&Value::Bool(true), &5127.into()));
    let digests = digests(&story);
    assert_eq!(digests.len(), 3);
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    assert!(story["seconds"].as_f64().unwrap() > 0.0);
    let conflict = &story["conflict"];
    assert_ne!(conflict["ann"], conflict["ben"]);
    assert!(conflict["winner"] == conflict["ann"] || conflict["winner"] == conflict["ben"]);
    assert_eq!(conflict["visits"], 2);
    let exchanges = story["exchanges"].as_array().unwrap();
    assert!(exchanges[0]["received"].as_u64() > Some(5) && exchanges[1]["sent"].as_u64() > Some(90));
    assert!(story["live"].as_array().unwrap().iter().all(|edit| edit["milliseconds"].as_f64() > Some(0.0)));
}

#[test]
fn the_demo_tells_its_story_to_people_and_keeps_its_folders_when_asked() {
    let sandbox = Sandbox::empty();
    let file = subdivisions();
    let story = sandbox.ok(&["demo", file.to_str().unwrap(), "--keep", "kept"]);
    assert!(story.contains("Equal digests") && story.contains("Cleo"), "{story}");
    let lines = story.lines().count();
    assert!((20..50).contains(&lines), "{lines} lines");
    assert_eq!(sandbox.view("kept/ann"), sandbox.view("kept/cleo"));
    // A second run does not write over the first.
    sandbox.fails(1, "exists", &["demo", file.to_str().unwrap(), "--keep", "kept"]);
}

#[test]
fn the_demo_needs_no_source_tree() {
    let sandbox = Sandbox::empty();
    // A program that lies elsewhere, as an installed one does.
    let program = sandbox.path("driftless");
    std::fs::copy(env!("CARGO_BIN_EXE_driftless"), &program).unwrap();
    let output =
        Command::new(program).args(["demo", "--json"]).current_dir(sandbox.path("")).output().unwrap();
    let story: Value = serde_json::from_slice(&output.stdout).expect("a story");
    assert_eq!((&story["ok"], &story["documents"]), (&Value::Bool(true), &5000.into()));
}

#[test]
fn a_table_that_is_none_is_not_valid() {
    let sandbox = Sandbox::empty();
    let file = sandbox.file("few.jsonl", "{\"code\": \"a\"}\n");
    sandbox.fails(5, "invalid_table", &["demo", &file]);
    let file = sandbox.file("none.jsonl", "{\"name\": \"a\"}\n");
    sandbox.fails(5, "invalid_table", &["demo", &file]);
    sandbox.fails(3, "file_not_found", &["demo", "nowhere.jsonl"]);
}
