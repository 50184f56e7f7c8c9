//! A database that was copied with `cp -a`, or restored from an old copy: what `status` and `doctor` say and do.

use std::process::Command;

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

impl Sandbox {
    fn copy(&self, from: &str, to: &str) {
        let copied = Command::new("cp").args(["-a", &self.path(from), &self.path(to)]).status().unwrap();
        assert!(copied.success());
    }

    fn member(&self, dir: &str, permission: &str) -> String {
        let author = self.json(&["--dir", dir, "init", "--name", dir])["author"].as_str().unwrap().to_owned();
        self.ok(&["grant", "world", &author, permission]);
        author
    }

    fn put(&self, dir: &str, id: &str) {
        self.ok(&["--dir", dir, "insert", "world", "notes", "{}", "--id", id]);
    }

    fn check(&self, dir: &str, name: &str) -> Value {
        let checks = self.json(&["--dir", dir, "doctor"]);
        checks.as_array().unwrap().iter().find(|check| check["check"] == name).unwrap().clone()
    }
}

#[cfg(unix)]
#[test]
fn copies_that_were_written_apart_meet_are_named_and_go_on() {
    let sandbox = Sandbox::new();
    let space = sandbox.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned();
    let ann = sandbox.json(&["status"])["author"].clone();
    for dir in ["ben", "cleo"] {
        sandbox.member(dir, "write");
    }
    sandbox.ok(&["bundle", "export", "world", "world.bundle"]);
    for dir in ["ben", "cleo"] {
        sandbox.ok(&["--dir", dir, "bundle", "import", "world.bundle"]);
    }
    sandbox.copy("db", "copy");
    for dir in ["db", "copy"] {
        (0..3).for_each(|number| sandbox.put(dir, &format!("{dir}{number}")));
    }
    let ((_ben, at_ben), (_cleo, at_cleo)) = (sandbox.serve("ben"), sandbox.serve("cleo"));
    let sync = |dir: &str, address: &str| sandbox.json(&["--dir", dir, "sync", &space, "--peer", address]);
    sync("db", &at_ben);
    sync("copy", &at_cleo);
    sync("ben", &at_cleo);
    sync("db", &at_ben);
    sync("copy", &at_cleo);
    let views = ["db", "copy", "ben", "cleo"].map(|dir| sandbox.view(dir));
    assert!(views.iter().all(|view| *view == views[0]), "{views:?}");
    for dir in ["db", "copy", "ben", "cleo"] {
        let status = sandbox.json(&["--dir", dir, "status"]);
        let fork = &status["spaces"][0]["forked"][0];
        assert_eq!((&fork["author"], &status["ok"]), (&ann, &json!(false)));
        assert_eq!(fork["commits"].as_array().unwrap().len(), 2);
        assert_eq!(fork["proof"].as_array().unwrap().len(), 2);
        assert!(fork["since"].as_u64().unwrap() > 1_700_000_000_000);
        assert_eq!(status["copied"].is_null(), ["ben", "cleo"].contains(&dir));
        assert!(sandbox.ok(&["--dir", dir, "status"]).contains("Was a device copied"));
    }

    for dir in ["db", "copy"] {
        let (_, hint) = sandbox.fails(4, "author_forked", &["--dir", dir, "insert", "world", "notes", "{}"]);
        assert!(hint.contains("doctor"), "{hint}");
        assert_eq!(sandbox.check(dir, "author")["ok"], false);
        let checks = sandbox.json(&["--dir", dir, "doctor", "--fix"]);
        let author = checks.as_array().unwrap().iter().find(|check| check["check"] == "author").unwrap();
        assert_eq!((&author["ok"], &author["fixed"]), (&json!(true), &json!(true)));
        assert_ne!(sandbox.json(&["--dir", dir, "status"])["author"], ann);
        sandbox.put(dir, &format!("{dir}-again"));
        sandbox.ok(&["--dir", dir, "ticket", "world", "--address", "127.0.0.1:1"]);
    }
    sync("db", &at_ben);
    sync("copy", &at_cleo);
    sync("ben", &at_cleo);
    sync("db", &at_ben);
    sync("copy", &at_ben);
    for dir in ["db", "copy"] {
        sandbox.put(dir, &format!("{dir}-at-last"));
    }
    sync("db", &at_ben);
    sync("copy", &at_ben);
    sync("db", &at_ben);
    assert_eq!(sandbox.view("db"), sandbox.view("copy"));
    assert_eq!(sandbox.json(&["--dir", "db", "digest", "world"])["documents"], 10);
}

#[cfg(unix)]
#[test]
fn copies_of_one_device_exchange_with_each_other() {
    let sandbox = Sandbox::new();
    sandbox.put("db", "first");
    sandbox.copy("db", "copy");
    sandbox.put("db", "one");
    sandbox.put("copy", "two");
    let (serve, address) = sandbox.serve("copy");
    // They are one peer by their node key, and still talk.
    let synced = sandbox.json(&["sync", "world", "--peer", &address]);
    assert_eq!((&synced["settled"], &synced["applied"]), (&json!(true), &json!(1)));
    assert_eq!(sandbox.view("db"), sandbox.view("copy"));
    sandbox.ok(&["doctor", "--fix"]);
    // The copy of this key that is left goes on with it, while it serves.
    sandbox.fails(4, "author_forked", &["--dir", "copy", "space", "create", "more"]);
    sandbox.ok(&["--dir", "copy", "doctor", "--fix", "--keep-key"]);
    sandbox.put("copy", "three");
    sandbox.put("db", "four");
    drop(serve);
    let (_serve, address) = sandbox.serve("copy");
    let synced = sandbox.json(&["sync", "world", "--peer", &address]);
    assert_eq!(synced["settled"], true);
    assert_eq!(sandbox.view("db"), sandbox.view("copy"));
}

#[cfg(unix)]
#[test]
fn an_old_copy_that_is_restored_catches_up_at_a_peer() {
    let sandbox = Sandbox::new();
    let space = sandbox.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned();
    sandbox.member("ben", "write");
    sandbox.ok(&["bundle", "export", "world", "world.bundle"]);
    sandbox.ok(&["--dir", "ben", "bundle", "import", "world.bundle"]);
    sandbox.copy("db", "backup");
    (0..5).for_each(|number| sandbox.put("db", &format!("{number}")));
    let (_ben, address) = sandbox.serve("ben");
    let sync = |dir: &str| sandbox.json(&["--dir", dir, "sync", &space, "--peer", &address]);
    sync("db");
    std::fs::remove_dir_all(sandbox.path("db")).unwrap();
    sandbox.copy("backup", "db");
    assert_eq!(sync("db")["received"], 5);
    sandbox.put("db", "more");
    sync("db");
    assert_eq!(sandbox.view("db"), sandbox.view("ben"));
    let status = sandbox.json(&["status"]);
    assert_eq!((&status["ok"], &status["copied"]), (&json!(true), &Value::Null));
}

#[cfg(unix)]
#[test]
fn doctor_finds_all_well_and_closes_files_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let checks = sandbox.json(&["doctor"]);
    for check in checks.as_array().unwrap() {
        assert_eq!(
            (&check["ok"], &check["fix"], &check["fixed"]),
            (&json!(true), &Value::Null, &json!(false))
        );
    }
    let file = sandbox.path("db/driftless.sqlite");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(sandbox.check("db", "files")["ok"], false);
    assert!(sandbox.ok(&["doctor"]).contains("--fix"));
    sandbox.ok(&["doctor", "--fix"]);
    assert_eq!(sandbox.check("db", "files")["ok"], true);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    sandbox.fails(2, "usage", &["doctor", "--keep-key"]);
}
