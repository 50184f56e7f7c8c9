//! `-v`, `-vv`, `--log` and `$DRIFTLESS_LOG`: which steps a process tells on standard error.

use serde_json::Value;

use crate::sandbox::Sandbox;

const SECRET: &str = "nobody may read this in a log";

fn insert(sandbox: &Sandbox, more: &[&str]) -> String {
    let document = format!(r#"{{"text": "{SECRET}"}}"#);
    let ran = sandbox.run(&[&["insert", "world", "notes", &document], more].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stderr.contains(SECRET), "{}", ran.stderr);
    ran.stderr
}

#[test]
fn steps_are_told_as_finely_as_was_asked() {
    let sandbox = Sandbox::new();
    assert!(!insert(&sandbox, &[]).contains("walk."));
    let told = insert(&sandbox, &["-v"]);
    assert!(told.contains("walk.durable") && !told.contains("walk.stage"), "{told}");
    let told = insert(&sandbox, &["-vv"]);
    let places: Vec<_> = ["walk.stage", "walk.build", "walk.append", "walk.durable", "walk.publish"]
        .iter()
        .map(|step| told.find(step).unwrap_or_else(|| panic!("no {step} in {told}")))
        .collect();
    assert!(places.is_sorted(), "{told}");
    // What is named wins over -v.
    let told = insert(&sandbox, &["-v", "--log", "driftless[walk.append]=trace"]);
    assert!(told.contains("walk.append") && !told.contains("walk.durable"), "{told}");
    let mut command = sandbox.command(&["insert", "world", "notes", "{}"]);
    let ran = command.env("DRIFTLESS_LOG", "driftless=debug").output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stderr).contains("walk.durable"), "{ran:?}");
    sandbox.fails(5, "invalid_log_filter", &["status", "--log", "driftless=loudly"]);
}

#[test]
fn with_json_each_step_is_a_line_of_json() {
    let sandbox = Sandbox::new();
    let told = insert(&sandbox, &["--log", "driftless=trace", "--json"]);
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    let lines: Vec<Value> = told.lines().map(read).collect();
    let names: Vec<&str> = lines.iter().filter_map(|line| line["span"]["name"].as_str()).collect();
    assert!(names.contains(&"walk.append") && names.contains(&"walk.durable"), "{names:?}");
    let staged = lines.iter().find(|line| line["span"]["name"] == "walk.stage").unwrap();
    assert!(staged["span"]["space"].as_str().unwrap().starts_with("s_"), "{staged}");
    assert!(staged["time.busy"].is_string() && staged["level"] == "TRACE", "{staged}");
}
