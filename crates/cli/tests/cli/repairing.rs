//! Damage and copies as users meet them: `fsck`, `fsck --repair`, `backup`, `init --from`, damaged bundles.

use std::fs;

use serde_json::{Value, json};

use crate::sandbox::{Ran, Sandbox};

fn sql(sandbox: &Sandbox, dir: &str, sql: &str) {
    let file = format!("{}/driftless.sqlite", sandbox.path(dir));
    assert!(rusqlite::Connection::open(file).unwrap().execute(sql, []).unwrap() > 0, "{sql}");
}

// What is printed on standard output as JSON, whatever the exit code.
fn printed(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn error_code(ran: &Ran) -> Value {
    let line = ran.stderr.lines().last().unwrap_or_default();
    serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {ran:?}"))["error"]["code"]
        .clone()
}

const ONE: &str = r#"{"n": 1}"#;
const SPOIL_A_BODY: &str =
    "UPDATE body SET value = x'00' WHERE key = (SELECT key FROM body ORDER BY key LIMIT 1 OFFSET 3)";

#[test]
fn fsck_of_a_whole_database_says_what_it_looked_at() {
    let sandbox = Sandbox::with_subdivisions();
    let report = sandbox.json(&["fsck"]);
    assert_eq!(
        (&report["ok"], &report["problems"], &report["documents"]),
        (&json!(true), &json!([]), &json!(5127))
    );
    assert_eq!(sandbox.json(&["fsck", "world"])["spaces"], 1);
    assert!(sandbox.ok(&["fsck"]).contains("All is well"));
    sandbox.fails(3, "not_found", &["fsck", "moon"]);
    Sandbox::empty().fails(3, "not_found", &["fsck"]);
    let repaired = sandbox.json(&["fsck", "--repair"]);
    assert_eq!((&repaired["ok"], &repaired["repaired"]["kept"]), (&json!(true), &json!(null)));
}

#[test]
fn damage_is_exit_7_with_its_problems_and_a_repair_puts_it_right() {
    let sandbox = Sandbox::with_subdivisions();
    let view = sandbox.view("db");
    sql(&sandbox, "db", "UPDATE document SET json = '{}' WHERE id = '\"FI-18\"'");
    let ran = sandbox.run(&["fsck", "--json"]);
    assert_eq!((ran.code, error_code(&ran)), (Some(7), json!("damaged")));
    let report = printed(&ran);
    assert_eq!((&report["ok"], &report["problems"][0]["code"]), (&json!(false), &json!("document")));
    let said = sandbox.run(&["fsck"]);
    assert_eq!(said.code, Some(7));
    assert!(said.stdout.contains("FI-18") && said.stderr.contains("--repair"), "{said:?}");

    let repaired = sandbox.json(&["fsck", "--repair"]);
    assert_eq!((&repaired["ok"], &repaired["problems"][0]["code"]), (&json!(true), &json!("document")));
    assert!(fs::exists(repaired["repaired"]["kept"].as_str().unwrap()).unwrap());
    assert_eq!((sandbox.view("db"), &sandbox.json(&["fsck"])["ok"]), (view, &json!(true)));
    sandbox.ok(&["insert", "world", "c", ONE]);
}

#[cfg(unix)]
#[test]
fn what_is_lost_comes_back_from_a_peer_and_own_commits_stay() {
    let sandbox = Sandbox::new();
    for number in 0..6 {
        sandbox.ok(&["insert", "world", "c", ONE, "--id", &number.to_string()]);
    }
    let (mut at_ann, _) = sandbox.serve("db");
    sandbox.ok(&["--dir", "ben", "init", "--name", "ben"]);
    let ticket = sandbox.json(&["ticket", "world"])["ticket"].as_str().unwrap().to_owned();
    sandbox.ok(&["--dir", "ben", "join", &ticket]);
    assert_eq!(at_ann.interrupt().code(), Some(0));
    sandbox.ok(&["insert", "world", "c", ONE, "--id", "nobody-else-has-it"]);

    sql(&sandbox, "db", SPOIL_A_BODY);
    assert_eq!(sandbox.run(&["fsck"]).code, Some(7));
    // Without a peer: consistent again, and nothing is written that could use a number twice.
    fs::create_dir(sandbox.path("alone")).unwrap();
    fs::copy(sandbox.path("db") + "/driftless.sqlite", sandbox.path("alone") + "/driftless.sqlite").unwrap();
    let alone = sandbox.json(&["--dir", "alone", "fsck", "--repair", "--quiet"]);
    assert_eq!(alone["ok"], true);
    assert!(alone["repaired"]["spaces"][0]["dropped"].as_u64().unwrap() > 3, "{alone}");
    sandbox.fails(7, "chain_lost", &["--dir", "alone", "insert", "world", "c", ONE]);
    assert_eq!(sandbox.json(&["--dir", "alone", "status"])["lost"].as_array().unwrap().len(), 1);

    let (_at_ben, address) = sandbox.serve("ben");
    let repaired = sandbox.json(&["fsck", "--repair", "--peer", &address, "--quiet"]);
    assert_eq!(repaired["ok"], true, "{repaired}");
    assert!(repaired["repaired"]["synced"][0]["received"].as_u64().unwrap() > 3, "{repaired}");
    assert_eq!(sandbox.json(&["get", "world", "c", "nobody-else-has-it"])["n"], 1);
    sandbox.ok(&["insert", "world", "c", ONE]);
    sandbox.ok(&["sync", "world", "--peer", &address]);
    assert_eq!(sandbox.view("db"), sandbox.view("ben"));
    assert_eq!(sandbox.json(&["status"])["lost"], json!([]));
    // A database that is being served is not repaired under its feet.
    sandbox.fails(7, "locked", &["--dir", "ben", "fsck", "--repair"]);
    assert_eq!(sandbox.json(&["--dir", "ben", "fsck"])["ok"], true, "but it is looked at");
}

#[test]
fn a_file_of_which_nothing_is_left_is_reported_and_kept() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("db") + "/driftless.sqlite";
    let junk = vec![0x5a; fs::metadata(&file).unwrap().len() as usize];
    fs::write(&file, &junk).unwrap();
    let ran = sandbox.run(&["fsck", "--json"]);
    assert_eq!((ran.code, &printed(&ran)["problems"][0]["code"]), (Some(7), &json!("storage")));
    sandbox.fails(7, "damaged", &["fsck", "--repair"]);
    assert_eq!(fs::read(&file).unwrap(), junk);
}

#[cfg(unix)]
#[test]
fn a_backup_is_made_beside_a_server_and_restored_without_using_a_number_twice() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["insert", "world", "c", ONE]);
    let (mut at_ann, address) = sandbox.serve("db");
    let backup = sandbox.json(&["backup", "world.backup"]);
    assert_eq!(backup["bytes"], fs::metadata(sandbox.path("world.backup")).unwrap().len());
    sandbox.fails(1, "exists", &["backup", "world.backup"]);
    sandbox.ok(&["insert", "world", "c", ONE]);

    let made = sandbox.json(&["--dir", "copy", "init", "--from", "world.backup"]);
    assert_eq!(made["user"], "ann");
    sandbox.fails(1, "exists", &["--dir", "copy", "init", "--from", "world.backup"]);
    sandbox.fails(3, "file_not_found", &["--dir", "other", "init", "--from", "no.backup"]);
    assert_eq!(sandbox.ok(&["--dir", "copy", "count", "world", "c"]), "1\n");
    let (_, hint) = sandbox.fails(7, "restored", &["--dir", "copy", "insert", "world", "c", ONE]);
    assert!(hint.contains("sync"), "{hint}");
    let status = sandbox.json(&["--dir", "copy", "status"]);
    assert_eq!((&status["ok"], status["restored"]["guarded"].as_array().unwrap().len()), (&json!(false), 1));
    assert!(sandbox.ok(&["--dir", "copy", "status"]).contains("restored from a copy"));

    // It hears from the original, which therefore is in use: what is written here would fork it.
    assert_eq!(sandbox.json(&["--dir", "copy", "sync", "world", "--peer", &address])["received"], 1);
    assert_eq!(sandbox.view("copy"), sandbox.view("db"));
    sandbox.fails(7, "restored", &["--dir", "copy", "insert", "world", "c", ONE]);
    assert_eq!(at_ann.interrupt().code(), Some(0));
    sandbox.ok(&["--dir", "alone", "init", "--from", "world.backup", "--original-is-gone"]);
    sandbox.ok(&["--dir", "alone", "insert", "world", "c", ONE]);
}

#[test]
fn a_damaged_bundle_is_exit_5_after_its_intact_part_was_taken() {
    let sandbox = Sandbox::new();
    for _ in 0..5 {
        sandbox.ok(&["insert", "world", "c", ONE]);
    }
    sandbox.ok(&["bundle", "export", "world", "whole.bundle"]);
    let whole = fs::read(sandbox.path("whole.bundle")).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() * 3 / 4;
    bytes[middle] ^= 1;
    sandbox.file("flipped.bundle", &bytes);
    sandbox.file("cut.bundle", &whole[..middle]);
    for name in ["flipped.bundle", "cut.bundle"] {
        let dir = sandbox.path(name) + ".db";
        sandbox.ok(&["--dir", &dir, "init"]);
        let ran = sandbox.run(&["--dir", &dir, "bundle", "import", name, "--json"]);
        assert_eq!((ran.code, error_code(&ran)), (Some(5), json!("damaged_bundle")));
        let taken = printed(&ran);
        assert!(taken["applied"].as_u64().unwrap() >= 3, "{taken}");
        let damage = &taken["damage"][0];
        for field in ["frame", "offset", "bytes", "code", "reason"] {
            assert!(!damage[field].is_null(), "{taken}");
        }
        assert_eq!(sandbox.json(&["--dir", &dir, "bundle", "import", "whole.bundle"])["damaged"], 0);
        assert_eq!(sandbox.view(&dir), sandbox.view("db"));
        assert_eq!(sandbox.json(&["--dir", &dir, "fsck"])["ok"], true);
    }
}
