//! Who may do what, on the command line: what is told before it is signed, which rule decided, cases in a file, and a
//! removal that two served databases feel at once.

use driftless_core::cbor::Writer;
use driftless_core::clock::Timestamp;
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Kind, RuleBody, Vouched};
use driftless_core::document_id::DocumentId;
use driftless_core::operator::{Edit, Operator};
use driftless_core::rules::{Permission, RuleOperator, Strength, Subject};
use driftless_core::sign::AuthorKey;
use driftless_core::value::Map;
use serde_json::{Value, json};

use crate::sandbox::{Running, Sandbox};

/// Ann's space `world`, and Mal, who may write in it and has written three documents; the key of Mal.
fn with_mal() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let mal = sandbox.json(&["--dir", "mal", "init", "--name", "mal"])["author"].as_str().unwrap().to_owned();
    sandbox.ok(&["grant", "world", &mal, "write"]);
    carry(&sandbox, "db", "mal");
    for n in ["1", "2", "3"] {
        sandbox.ok(&["--dir", "mal", "insert", "world", "c", &format!("{{\"n\": {n}}}"), "--id", n]);
    }
    carry(&sandbox, "mal", "db");
    (sandbox, mal)
}

fn carry(sandbox: &Sandbox, from: &str, to: &str) {
    sandbox.ok(&["--dir", from, "bundle", "export", "world", "w.bundle"]);
    sandbox.ok(&["--dir", to, "bundle", "import", "w.bundle"]);
}

#[test]
fn a_removal_says_what_stays_and_what_becomes_void_before_it_is_signed() {
    let (sandbox, mal) = with_mal();
    let prefix = &mal[..12];
    let log = sandbox.lines(&["--dir", "mal", "log", "world"]);
    let second = log.iter().find(|line| line["seq"] == 2 && line["author"] == mal.as_str()).unwrap();
    let second = second["commit"].as_str().unwrap();

    let tried = sandbox.json(&["revoke", "world", prefix, "--dry-run"]);
    assert_eq!((&tried["commit"], &tried["present"]), (&Value::Null, &json!("write:100")));
    assert_eq!((&tried["permission"], &tried["lost"]), (&Value::Null, &json!([])));
    assert_eq!((&tried["kept"][0]["commits"], &tried["kept"][0]["seq"]), (&json!(3), &json!(3)));
    let less = sandbox.json(&["grant", "world", prefix, "none", "--dry-run", "--keep", &second[..12]]);
    assert_eq!((&less["kept"][0]["commits"], &less["lost"][0]["commits"]), (&json!(2), &json!(1)));
    let nothing = sandbox.json(&["revoke", "world", prefix, "--dry-run", "--keep-nothing"]);
    assert_eq!((&nothing["kept"], &nothing["lost"][0]["commits"]), (&json!([]), &json!(3)));
    assert_eq!(sandbox.json(&["count", "world", "c"])["count"], 3, "nothing was signed");

    // Where nobody can be asked it goes ahead, and says the same on standard error.
    let ran = sandbox.run(&["revoke", "world", prefix, "--keep", second]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains(&format!("kept: {second} of {mal}, number 2")), "{ran:?}");
    assert!(ran.stderr.contains(&format!("void: 1 commit of {mal}")), "{ran:?}");
    assert_eq!(ran.stdout.trim(), format!("{mal}  none"));
    assert_eq!(sandbox.json(&["count", "world", "c"])["count"], 2);

    // Which rule that was, of the key and of the document.
    let removal = &sandbox.lines(&["members", "world", "--effective", "--key", prefix])[0];
    assert_eq!((&removal["permission"], &removal["as_anyone"]), (&Value::Null, &json!(false)));
    let commit = removal["decided_by"][0]["commit"].as_str().unwrap();
    for words in [&["explain", "world", "--key", prefix][..], &["explain", "world", "c", "3"]] {
        let told = sandbox.json(words);
        assert_eq!(told["ok"], false);
        assert!(told["steps"].to_string().contains(commit), "{told}");
        assert!(sandbox.ok(words).contains(commit));
    }
    assert!(sandbox.ok(&["members", "world", "--effective"]).contains(commit));
    sandbox.fails(2, "usage", &["members", "world", "--key", prefix]);
    sandbox.fails(2, "usage", &["explain", "world", "c"]);
    sandbox.fails(2, "usage", &["revoke", "world", prefix, "--keep-nothing", "--keep", second]);
    sandbox.fails(3, "not_found", &["revoke", "world", prefix, "--keep", "c_aaaaaaaa"]);
}

#[test]
fn making_a_space_public_warns_and_a_public_admin_needs_a_word_more() {
    let sandbox = Sandbox::new();
    let public = sandbox.json(&["grant", "world", "*", "read"]);
    assert!(public["warnings"][0].as_str().unwrap().contains("anyone"), "{public}");
    let (_, hint) = sandbox.fails(5, "public_admin", &["grant", "world", "*", "admin"]);
    assert!(hint.contains("--allow-public-admin"), "{hint}");
    sandbox.ok(&["grant", "world", "*", "admin", "--allow-public-admin"]);
    assert_eq!(sandbox.json(&["revoke", "world", "*"])["lost"], json!([]));
}

#[test]
fn cases_in_a_file_are_decided_by_the_rules_and_a_draft() {
    let (sandbox, mal) = with_mal();
    let file = |expected: &str| {
        let cases = json!({
            "keys": {"mal": mal, "new": null},
            "draft": [
                {"by": "ann", "grant": "new", "permission": "admin:5"},
                {"by": "new", "revoke": "mal", "keep": "nothing"},
            ],
            "cases": [
                {"who": "mal", "does": "read", "expected": expected, "because": "draft 2 of new"},
                {"who": "mal", "does": "write", "knowing": 0, "expected": "void"},
                {"who": "new", "does": "grant", "what": {"subject": "mal", "permission": "write:9"}, "expected": "allowed"},
                {"who": "new", "does": "revoke", "what": "ann", "expected": "refused"},
                {"who": "new", "does": "admin", "knowing": 0, "expected": "refused"},
            ],
        });
        sandbox.file("cases.json", cases.to_string())
    };
    let lines = sandbox.lines(&["policy", "test", "world", &file("refused")]);
    assert!(lines.len() == 5 && lines.iter().all(|line| line["ok"] == true), "{lines:?}");
    assert!(sandbox.ok(&["policy", "test", "world", &file("refused")]).contains("refused"));
    let ran = sandbox.run(&["policy", "test", "world", &file("allowed"), "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("policy_failed") && ran.stdout.contains("\"found\":\"refused\""), "{ran:?}");
    // Nothing of it was signed.
    assert_eq!(sandbox.lines(&["members", "world"]).len(), 2);
    for (wrong, code) in
        [("{}", 5), (r#"{"cases": [{"who": "ann", "does": "fly", "expected": "allowed"}]}"#, 5)]
    {
        sandbox.fails(
            code,
            "invalid_cases",
            &["policy", "test", "world", &sandbox.file("wrong.json", wrong)],
        );
    }
    let refused = r#"{"draft": [{"by": "ann", "revoke": "ann"}], "cases": []}"#;
    sandbox.fails(4, "not_permitted", &["policy", "test", "world", &sandbox.file("refused.json", refused)]);
}

#[cfg(unix)]
#[test]
fn a_member_who_is_removed_while_both_serve_sees_nothing_more_and_what_he_writes_is_void() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["space", "create", "open"]);
    let (_at_ann, address) = sandbox.serve("db");
    sandbox.ok(&["--dir", "mal", "init", "--name", "mal"]);
    for space in ["world", "open"] {
        let ticket = sandbox.json(&["ticket", space])["ticket"].as_str().unwrap().to_owned();
        sandbox.ok(&["--dir", "mal", "join", &ticket]);
    }
    let mal = sandbox.json(&["--dir", "mal", "status"])["author"].as_str().unwrap().to_owned();
    let (_at_mal, _) = sandbox.serve("mal");
    let watch = |space: &str| -> Running {
        let watch = sandbox.start(&["--dir", "mal", "watch", space, "c", "--json"]);
        watch.stdout.until("\"ready\"");
        watch
    };
    let (closed, open) = (watch("world"), watch("open"));
    sandbox.ok(&["insert", "world", "c", "{}", "--id", "before"]);
    closed.stdout.until("\"before\"");
    sandbox.ok(&["--dir", "mal", "insert", "world", "c", "{}", "--id", "in-time"]);
    let ann = sandbox.start(&["watch", "world", "c", "--json"]);
    ann.stdout.until("\"in-time\"");

    sandbox.ok(&["revoke", "world", &mal, "--yes"]);
    sandbox.ok(&["insert", "world", "c", "{}", "--id", "after"]);
    sandbox.ok(&["--dir", "mal", "insert", "world", "c", "{}", "--id", "too-late"]);
    // The other space is live still over the same connection: what comes there came later than anything here.
    sandbox.ok(&["insert", "open", "c", "{}", "--id", "marker"]);
    open.stdout.until("\"marker\"");
    sandbox.fails(4, "not_open", &["--dir", "mal", "sync", "world", "--peer", &address]);
    let ids = |dir: &str| {
        let found = sandbox.lines(&["--dir", dir, "find", "world", "c", "--sort", "_id"]);
        found.iter().map(|document| document["_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("mal"), ["before", "in-time", "too-late"]);
    assert_eq!(ids("db"), ["after", "before", "in-time"]);
    carry(&sandbox, "mal", "db");
    assert_eq!(ids("db"), ["after", "before", "in-time"], "what he wrote since is void");
    let rebuilt = sandbox.json(&["rebuild", "world"])["view"].clone();
    assert_eq!(rebuilt, sandbox.view("db"));
    // Let in again, he gets what he missed, by himself.
    sandbox.ok(&["grant", "world", &mal, "read"]);
    sandbox.ok(&["--dir", "mal", "sync", "world", "--peer", &address]);
    assert_eq!(sandbox.view("mal"), sandbox.view("db"));
    drop(closed);
}

/// A space that somebody else made by hand, with names that act on a terminal; the file, and the space.
fn hostile_bundle(sandbox: &Sandbox) -> (String, String) {
    let name = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}red\n\r";
    let key = AuthorKey::from_seed(&[9; 32]);
    let grant =
        |subject, permission| RuleOperator::Grant { subject, permission: Some(permission), keep: None };
    let operators = vec![
        grant(Subject::Key(key.id()), Permission::Admin(Strength(0))),
        grant(Subject::Anyone, Permission::Write(Strength(100))),
        RuleOperator::Name(name.to_owned()),
        RuleOperator::Setting { key: name.to_owned(), value: vec![0] },
    ];
    let header = Header {
        kind: Kind::Rules,
        continues: false,
        space: None,
        author: key.id(),
        seq: 1,
        previous: None,
        parents: Vec::new(),
        time: Timestamp::from_ms(1_767_225_600_000),
        body_hash: [0; 32],
        body_length: 0,
        body_encoding: BodyEncoding::Plain,
        extensions: Header::no_extensions(),
    };
    let genesis = Vouched::sign(header, RuleBody { operators }.encode([7; 16]), &key).unwrap();
    let fields = Map::from_json(&json!({name: name}).to_string()).unwrap();
    let operators = vec![Operator::Insert { fields, parent: None }];
    let edit = Edit { collection: name.into(), document: DocumentId::string(name).unwrap(), operators };
    let header = Header {
        kind: Kind::Documents,
        space: Some(genesis.space()),
        seq: 2,
        previous: Some(genesis.id()),
        time: Timestamp::from_ms(1_767_225_600_001),
        ..genesis.header().clone()
    };
    let body = DocumentBody { edits: vec![edit], retracts: Vec::new() };
    let document = Vouched::sign(header, body.encode([7; 16]), &key).unwrap();
    let records = [&genesis, &document].map(|commit| {
        let received = commit.to_received();
        let mut writer = Writer::with_capacity(1000);
        let signature = received.signature.as_ref().map(|signature| &signature.0[..]);
        writer
            .array(3)
            .bytes(&received.header)
            .bytes_or_null(signature)
            .bytes_or_null(received.body.as_deref());
        (1, writer.finish())
    });
    let mut bytes = b"driftless-bundle\x01".to_vec();
    for (kind, payload) in records.into_iter().chain([(2, Vec::new()), (3, Vec::new())]) {
        bytes.extend_from_slice(&[0xd7, b'd', b'l', 0x1a, kind]);
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&payload);
    }
    (sandbox.file("hostile.bundle", bytes), genesis.space().to_string())
}

#[test]
fn names_that_others_gave_cannot_act_on_a_terminal() {
    let acts = |text: &str| {
        text.chars().any(|character| {
            (character.is_control() && character != '\n') || ('\u{202a}'..='\u{202e}').contains(&character)
        })
    };
    let sandbox = Sandbox::new();
    let (bundle, space) = hostile_bundle(&sandbox);
    let hostile = "\u{1b}[31m\u{202e}\u{9b}x";
    sandbox.ok(&["bundle", "import", &bundle]);
    let turned = "\u{202e}c";
    sandbox.ok(&["insert", &space, turned, &json!({hostile: hostile}).to_string(), "--id", hostile]);
    let cases =
        json!({"keys": {hostile: null}, "cases": [{"who": hostile, "does": "write", "expected": "allowed"}]});
    let cases = sandbox.file("cases.json", cases.to_string());
    let own = sandbox.json(&["status"])["author"].as_str().unwrap().to_owned();
    let id = "\"\\u001b[31m\\u202e\\u009bx\"";
    for words in [
        &["space", "list"][..],
        &["space", "show", &space],
        &["status"],
        &["digest", &space],
        &["log", &space],
        &["members", &space],
        &["members", &space, "--effective"],
        &["explain", &space, turned, id],
        &["explain", &space, hostile, id],
        &["explain", &space, "--key", &own],
        &["find", &space, turned],
        &["find", &space, hostile],
        &["get", &space, turned, id],
        &["index", "create", &space, turned, "a"],
        &["index", "list"],
        &["policy", "test", &space, &cases],
        &["rebuild", &space],
        &["compact", &space],
        &["fsck"],
        &["doctor"],
        &["bundle", "export", &space, "again.bundle"],
        &["bundle", "import", "again.bundle"],
        &["watch-is-no-such-command"],
        &["grant", &space, "*", "read"],
        &["grant", &space, hostile, "read"],
        &["revoke", &space, hostile, "--dry-run"],
        &["members", &space, "--effective", "--key", hostile],
        &["explain", &space, "--key", hostile],
        &["policy", "test", &space, hostile],
        &["ticket", &space],
        &["sync", &space],
        &["space", "rename", &space, hostile],
        &["space", "forget", &space],
    ] {
        for words in [words, &[words, &["--json"]].concat()] {
            let ran = sandbox.run(words);
            assert!(!acts(&ran.stdout) && !acts(&ran.stderr), "{words:?}: {ran:?}");
            // One line of a table for one space: the line breaks in its name are shown, not made.
            if words == ["space", "list"] {
                assert_eq!(ran.stdout.lines().count(), 3, "{ran:?}");
            }
        }
    }
}

#[test]
fn what_a_team_took_back_is_withdrawn_where_the_team_was_let_in() {
    let (sandbox, mal) = with_mal();
    sandbox.ok(&["revoke", "world", &mal]);
    let eve = sandbox.json(&["--dir", "eve", "init", "--name", "eve"])["author"].as_str().unwrap().to_owned();
    sandbox.ok(&["space", "create", "team"]);
    let team = sandbox.json(&["space", "show", "team"])["space"].as_str().unwrap().to_owned();
    sandbox.ok(&["grant", "team", &eve, "write"]);
    let withdraw = ["withdraw", "world", "--of", "team", eve.as_str()];
    sandbox.fails(4, "not_permitted", &withdraw);
    sandbox.ok(&["grant", "world", &team, "write:5"]);
    sandbox.fails(4, "not_permitted", &withdraw);
    sandbox.ok(&["revoke", "team", &eve]);
    let line = sandbox.json(&withdraw);
    assert_eq!((&line["key"], &line["of"], &line["permission"]), (&json!(eve), &json!(team), &Value::Null));
    assert!(line["commit"].as_str().unwrap().starts_with("c_"), "{line}");
    sandbox.fails(4, "not_permitted", &withdraw);
    sandbox.fails(5, "invalid_subject", &["withdraw", "world", "--of", "team", "*"]);
    sandbox.fails(3, "not_found", &["withdraw", "world", "--of", "nothing", &eve]);
}
