//! What users want of a space, said and asked in the terminal.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

#[test]
fn a_user_says_what_he_wants_of_a_space_and_is_told_what_is_used() {
    let sandbox = Sandbox::new();
    let prefs = |words: &[&str]| sandbox.json(&[&["prefs", "world"], words].concat());
    let usual = prefs(&[]);
    assert_eq!(
        (&usual["tracked"], &usual["wanted"]),
        (&json!(false), &json!({"on_commit": true, "interval": 300}))
    );
    assert!(sandbox.lines(&["prefs"]).is_empty());

    let rare = prefs(&["--on-commit", "false", "--interval", "60", "--property", "colour=blue"]);
    assert_eq!(rare["tracked"], true);
    assert_eq!(rare["wanted"], json!({"on_commit": false, "interval": 60}));
    assert_eq!(rare["properties"], json!({"colour": "blue"}));
    let off = prefs(&["--enabled", "false", "--property", "colour"]);
    assert_eq!(
        (&off["wanted"], &off["interval"], &off["properties"]),
        (&Value::Null, &json!(60), &json!({}))
    );
    assert_eq!(sandbox.lines(&["prefs"]).len(), 1);
    assert!(sandbox.ok(&["prefs"]).contains("off"));
    assert_eq!(prefs(&["--interval", "none"])["interval"], Value::Null);

    sandbox.fails(5, "invalid_interval", &["prefs", "world", "--interval", "often"]);
    sandbox.fails(5, "invalid", &["prefs", "world", "--interval", "0"]);
    sandbox.fails(2, "usage", &["prefs", "--interval", "60"]);
    sandbox.fails(3, "not_found", &["prefs", "nowhere", "--interval", "60"]);
    assert_eq!(prefs(&["--remove"])["tracked"], false);
}
