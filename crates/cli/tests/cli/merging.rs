//! Two databases that were edited apart, and a third: bundles bring them to the same digest.

use serde_json::json;

use crate::sandbox::Sandbox;

const EDITS: usize = 100;

/// Ann's database `db` and ben's `ben` with the same subdivisions; ben may write.
fn two_databases() -> Sandbox {
    let sandbox = Sandbox::with_subdivisions();
    let ben = sandbox.json(&["--dir", "ben", "init", "--name", "ben"])["author"].as_str().unwrap().to_owned();
    sandbox.ok(&["grant", "world", &ben, "write"]);
    carry(&sandbox, "db", "first.bundle", &["ben"]);
    sandbox
}

fn carry(sandbox: &Sandbox, from: &str, bundle: &str, to: &[&str]) {
    sandbox.ok(&["--dir", from, "bundle", "export", "world", bundle]);
    for to in to {
        sandbox.ok(&["--dir", to, "bundle", "import", bundle]);
    }
}

#[test]
fn a_hundred_edits_each_on_the_same_fields_come_to_one_digest_on_three_databases() {
    let sandbox = two_databases();
    assert_eq!(sandbox.view("ben"), sandbox.view("db"));
    for number in 0..EDITS {
        for dir in ["db", "ben"] {
            let edit = match number % 10 {
                // Fewer documents than edits, and the same fields: nearly every edit is in conflict.
                0..=6 => json!({"$set": {"note": format!("{dir} {number}")}, "$inc": {"visits": 1}}),
                7 => json!({"$push": {"seen": dir}}),
                8 => json!({"$unset": {"note": ""}}),
                _ => json!({"$set": {"name": format!("{dir} {number}")}}),
            };
            let id = ["AT-9", "FI-18", "CH-ZH"][number % 3];
            sandbox.ok(&["--dir", dir, "edit", "world", "subdivisions", id, &edit.to_string()]);
        }
    }
    sandbox.ok(&["--dir", "db", "delete", "world", "subdivisions", "AD-02"]);
    sandbox.ok(&["--dir", "ben", "edit", "world", "subdivisions", "AD-02", r#"{"$set": {"note": "late"}}"#]);
    assert_ne!(sandbox.view("ben"), sandbox.view("db"));

    for dir in ["db", "ben"] {
        sandbox.ok(&["--dir", dir, "bundle", "export", "world", &format!("{dir}.bundle")]);
    }
    let imported = sandbox.json(&["--dir", "ben", "bundle", "import", "db.bundle"]);
    assert_eq!((&imported["applied"], &imported["refused"]), (&json!(EDITS + 1), &json!(0)));
    sandbox.ok(&["--dir", "db", "bundle", "import", "ben.bundle"]);
    sandbox.ok(&["--dir", "cleo", "init", "--name", "cleo"]);
    sandbox.ok(&["--dir", "cleo", "bundle", "import", "ben.bundle"]);
    sandbox.ok(&["--dir", "cleo", "bundle", "import", "db.bundle"]);

    let digest = |dir| sandbox.json(&["--dir", dir, "digest", "world"]);
    assert_eq!(digest("ben"), digest("db"));
    assert_eq!(digest("cleo"), digest("db"));
    let get = |dir, id| sandbox.json(&["--dir", dir, "get", "world", "subdivisions", id]);
    for id in ["AT-9", "FI-18", "CH-ZH"] {
        assert_eq!(get("ben", id), get("db", id));
    }
    // Counters add up, whoever raised them: 70 of 100 edits on each side, spread over three documents.
    let visits = ["AT-9", "FI-18", "CH-ZH"].map(|id| get("cleo", id)["visits"].as_u64().unwrap());
    assert_eq!(visits.iter().sum::<u64>(), 140);
    sandbox.fails(3, "not_found", &["--dir", "ben", "get", "world", "subdivisions", "AD-02"]);

    // A bundle that is read twice changes nothing.
    let again = sandbox.json(&["--dir", "cleo", "bundle", "import", "db.bundle"]);
    assert_eq!((&again["known"], &again["applied"]), (&again["commits"], &json!(0)));
}

#[test]
fn a_bundle_goes_through_a_pipe() {
    let sandbox = Sandbox::with_subdivisions();
    sandbox.ok(&["--dir", "ben", "init"]);
    let mut command = sandbox.command(&["bundle", "export", "world", "-", "--json"]);
    let output = command.output().unwrap();
    assert!(output.status.success());
    let ran = sandbox.run_with(&["--dir", "ben", "bundle", "import", "-"], &output.stdout);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(sandbox.view("ben"), sandbox.view("db"));
}

#[test]
fn what_a_revoked_member_wrote_in_time_stays_and_the_rest_is_void() {
    let sandbox = two_databases();
    let edit = |note: &str| {
        let operators = json!({"$set": {"note": note}}).to_string();
        sandbox.ok(&["--dir", "ben", "edit", "world", "subdivisions", "AT-9", &operators]);
    };
    edit("in time");
    carry(&sandbox, "ben", "in-time.bundle", &["db"]);
    let members = sandbox.lines(&["members", "world"]);
    let ben = members.iter().find(|member| member["you"] == false).unwrap()["subject"].as_str().unwrap();
    assert_eq!(sandbox.json(&["revoke", "world", ben])["permission"], json!(null));
    edit("too late");
    carry(&sandbox, "ben", "too-late.bundle", &["db"]);
    assert_eq!(sandbox.json(&["get", "world", "subdivisions", "AT-9"])["note"], "in time");

    let status = sandbox.json(&["status"]);
    assert_eq!((&status["ok"], &status["spaces"][0]["void"]["count"]), (&json!(false), &json!(1)));
    let table = sandbox.ok(&["status"]);
    assert!(table.contains("void in world:") && table.contains("does not keep it"), "{table}");

    carry(&sandbox, "db", "rules.bundle", &["ben"]);
    assert_eq!(sandbox.view("ben"), sandbox.view("db"));
    sandbox.fails(4, "not_permitted", &["--dir", "ben", "delete", "world", "subdivisions", "AT-9"]);
}
