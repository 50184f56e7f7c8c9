//! Two terminals and more: `serve`, `ticket`, `join`, `sync`, and what happens when somebody does not answer, is not
//! let in, or is killed.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::sandbox::{Running, Sandbox};

impl Sandbox {
    /// A database of somebody beside `db`.
    pub(crate) fn person(&self, dir: &str) {
        self.ok(&["--dir", dir, "init", "--name", dir]);
    }

    /// A process that serves a database, and its address.
    pub(crate) fn serve(&self, dir: &str) -> (Running, String) {
        let serve = self.start(&["--dir", dir, "serve", "--http", "127.0.0.1:0", "--json"]);
        let address = serve.stdout.json()["addresses"][0].as_str().unwrap().to_owned();
        (serve, address)
    }

    fn ticket(&self, dir: &str, words: &[&str]) -> String {
        let ticket = self.json(&[&["--dir", dir, "ticket", "world"], words].concat());
        ticket["ticket"].as_str().unwrap().to_owned()
    }

    /// Edits the same fields of the same documents, one process for each edit.
    fn edit_a_hundred_times(&self, dir: &str) {
        for number in 0..100 {
            let id = ["FI-18", "AT-9", "DE-BE", "FR-IDF"][number % 4];
            let edit = format!(r#"{{"$set": {{"note": "{dir} {number}"}}, "$inc": {{"visits": 1}}}}"#);
            self.ok(&["--dir", dir, "edit", "world", "subdivisions", id, &edit]);
        }
    }
}

fn documents(count: u64) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, "{{\"n\": {number}, \"word\": \"{:x}\"}}", number * 0x9e37_79b9_7f4a).unwrap();
        text
    })
}

#[cfg(unix)]
#[test]
fn the_story_of_two_terminals() {
    let sandbox = Sandbox::with_subdivisions();
    let (mut at_ann, _) = sandbox.serve("db");
    let ticket = sandbox.ticket("db", &[]);
    sandbox.person("ben");
    let joined = sandbox.json(&["--dir", "ben", "join", &ticket, "--name", "planet"]);
    assert_eq!((&joined["name"], &joined["documents"]), (&json!("planet"), &json!(5127)));
    assert_eq!(
        sandbox.lines(&["--dir", "ben", "find", "planet", "subdivisions", r#"{"country": "AT"}"#]).len(),
        9
    );
    sandbox.ok(&["--dir", "ben", "space", "rename", "planet", "world"]);

    // What one changes shows on the other side, while both serve.
    let (mut at_ben, _) = sandbox.serve("ben");
    for (from, to) in [("db", "ben"), ("ben", "db")] {
        let filter = r#"{"_id": "FI-18"}"#;
        let watch = sandbox.start(&["--dir", to, "watch", "world", "subdivisions", filter, "--json"]);
        watch.stdout.until("\"ready\"");
        let edit = format!(r#"{{"$set": {{"from": "{from}"}}}}"#);
        sandbox.ok(&["--dir", from, "edit", "world", "subdivisions", "FI-18", &edit]);
        let change: Value = serde_json::from_str(&watch.stdout.until("update")).unwrap();
        assert_eq!((&change["document"]["from"], &change["origin"]), (&json!(from), &json!("peer")));
    }

    // Both stop, and go on alone.
    assert_eq!(at_ann.interrupt().code(), Some(0));
    assert_eq!(at_ben.interrupt().code(), Some(0));
    sandbox.edit_a_hundred_times("db");
    sandbox.edit_a_hundred_times("ben");
    assert_ne!(sandbox.view("db"), sandbox.view("ben"));

    // Together again, and a third joins at the second.
    let (_at_ann, address) = sandbox.serve("db");
    let (_at_ben, second) = sandbox.serve("ben");
    let synced = sandbox.json(&["--dir", "ben", "sync", "world", "--peer", &address]);
    assert_eq!((&synced["refused"], &synced["settled"]), (&json!(0), &json!(true)));
    sandbox.person("cleo");
    // Only an admin makes tickets.
    sandbox.fails(4, "not_permitted", &["--dir", "ben", "ticket", "world"]);
    let cleo = sandbox.json(&["--dir", "cleo", "status"])["author"].clone();
    sandbox.ok(&["grant", "world", cleo.as_str().unwrap(), "write"]);
    sandbox.json(&["--dir", "ben", "sync", "world", "--peer", &address]);
    let space = joined["space"].as_str().unwrap();
    sandbox.json(&["--dir", "cleo", "sync", space, "--peer", &second]);
    assert_eq!(sandbox.view("db"), sandbox.view("ben"));
    assert_eq!(sandbox.view("ben"), sandbox.view("cleo"));
    let visits = sandbox.json(&["--dir", "cleo", "get", "world", "subdivisions", "FI-18"])["visits"].clone();
    assert_eq!(visits, 50);
}

#[cfg(unix)]
#[test]
fn a_join_that_is_killed_on_either_side_goes_on_where_it_was() {
    const ROWS: u64 = 20_000;
    let sandbox = Sandbox::new();
    let file = sandbox.file("rows.jsonl", documents(ROWS));
    sandbox.ok(&["import", "world", "rows", &file, "--key", "n"]);
    let total = sandbox.json(&["digest", "world"])["commits"].as_u64().unwrap();
    let (mut serve, _) = sandbox.serve("db");
    sandbox.person("ben");
    let here = || match sandbox.run(&["--dir", "ben", "digest", "world", "--json"]) {
        ran if ran.code == Some(0) => {
            serde_json::from_str::<Value>(&ran.stdout).unwrap()["commits"].as_u64().unwrap()
        }
        _ => 0,
    };
    let mut before = 0;
    for (turn, moment) in [(0, 2), (1, 5), (2, 8), (3, 11)] {
        let ticket = sandbox.ticket("db", &[]);
        let mut join = sandbox.start(&["--dir", "ben", "join", &ticket, "-v"]);
        // Either it is killed while it runs, or it was quicker.
        while let Some(line) = join.stderr.next() {
            let count = line.split(' ').next().and_then(|word| word.parse::<u64>().ok());
            if count.is_some_and(|count| count >= before.max(moment)) {
                break;
            }
        }
        if turn % 2 == 0 {
            join.kill();
        } else {
            serve.kill();
            join.wait();
            serve = sandbox.serve("db").0;
        }
        let now = here();
        assert!(now >= before, "{now} commits after {before}");
        before = now;
    }
    let ticket = sandbox.ticket("db", &[]);
    let now = sandbox.json(&["digest", "world"])["commits"].as_u64().unwrap();
    let joined = sandbox.json(&["--dir", "ben", "join", &ticket]);
    let received = joined["exchange"]["received"].as_u64().unwrap();
    assert!(now > total, "each ticket is a commit");
    // Of what is here only the statement that Ben joined was not Ann's first.
    assert!(received <= now + 1 - before, "{received} received, {before} of {now} were here");
    assert_eq!(joined["documents"], ROWS);
    assert_eq!(sandbox.view("db"), sandbox.view("ben"));
    assert_eq!(sandbox.json(&["--dir", "ben", "status"])["ok"], true);
}

#[test]
fn tickets_and_peers_that_are_no_good_say_why() {
    let sandbox = Sandbox::new();
    sandbox.fails(1, "no_address", &["ticket", "world"]);
    let ticket = sandbox.ticket("db", &["--address", "127.0.0.1:1"]);
    sandbox.person("ben");
    sandbox.fails(6, "peer_unreachable", &["--dir", "ben", "join", &ticket]);
    sandbox.fails(5, "invalid_ticket", &["--dir", "ben", "join", "rubbish"]);
    for broken in [&ticket[..ticket.len() / 2], &ticket[..ticket.len() - 1], "driftless:abc", "driftless:"] {
        let (message, _) = sandbox.fails(5, "invalid_ticket", &["--dir", "ben", "join", broken]);
        assert!(message.contains("damaged"), "{message}");
    }
    sandbox.fails(5, "invalid_duration", &["ticket", "world", "--expires", "soon"]);
    sandbox.fails(5, "invalid_address", &["ticket", "world", "--address", "nowhere"]);
    sandbox.fails(3, "no_peers", &["sync"]);
    sandbox.fails(3, "not_found", &["sync", "nothing"]);
    sandbox.fails(6, "peer_unreachable", &["sync", "world", "--peer", "http://127.0.0.1:1"]);
    sandbox.fails(5, "invalid_address", &["sync", "--peer", "ftp://a:1"]);
    sandbox.fails(5, "invalid_address", &["serve", "--http", "nowhere"]);
    sandbox.fails(5, "invalid_address", &["peer", "add", "http://127.0.0.1:1"]);
}

#[test]
fn a_peer_can_be_noted_shown_and_forgotten() {
    let sandbox = Sandbox::new();
    sandbox.person("ben");
    let (_serve, address) = sandbox.serve("ben");
    let (place, peer) = address.split_once("/#").unwrap();
    let noted = sandbox.json(&["peer", "add", &address]);
    assert_eq!((&noted["peer"], &noted["addresses"]), (&json!(peer), &json!([place])));
    assert_eq!(sandbox.json(&["peer", "show", &peer[..10]]), noted);
    assert_eq!(sandbox.lines(&["peers"]), [noted]);
    // Somebody is there, but has no such space for us.
    sandbox.fails(4, "not_open", &["sync", "world", "--peer", peer]);
    sandbox.ok(&["peer", "remove", peer]);
    assert_eq!(sandbox.lines(&["peers"]), [] as [Value; 0]);
    sandbox.fails(3, "not_found", &["peer", "show", peer]);
}

#[cfg(unix)]
#[test]
fn all_spaces_of_a_peer_are_synced_over_one_connection() {
    let sandbox = Sandbox::new();
    let (_serve, address) = sandbox.serve("db");
    sandbox.person("ben");
    for space in ["one", "two", "three"] {
        sandbox.ok(&["space", "create", space]);
        sandbox.ok(&["insert", space, "things", r#"{"n": 1}"#]);
        let ticket = sandbox.json(&["ticket", space])["ticket"].as_str().unwrap().to_owned();
        sandbox.ok(&["--dir", "ben", "join", &ticket]);
    }
    sandbox.ok(&["insert", "two", "things", r#"{"n": 2}"#]);
    sandbox.ok(&["--dir", "ben", "insert", "three", "things", r#"{"n": 3}"#]);
    let moved = |line: &Value| line["sent"].as_u64().unwrap() + line["received"].as_u64().unwrap();
    let bytes = |line: &Value| line["bytes_out"].as_u64().unwrap() + line["bytes_in"].as_u64().unwrap();
    let synced = sandbox.lines(&["--dir", "ben", "sync"]);
    assert_eq!((synced.len(), synced.iter().map(moved).sum::<u64>()), (3, 2));
    assert_eq!(sandbox.lines(&["find", "three", "things"]).len(), 2);
    assert_eq!(sandbox.lines(&["--dir", "ben", "find", "two", "things"]).len(), 2);
    for words in [&["--dir", "ben", "sync"][..], &["--dir", "ben", "sync", "--peer", &address]] {
        let synced = sandbox.lines(words);
        assert_eq!((synced.len(), synced.iter().map(moved).sum::<u64>()), (3, 0));
        // One greeting for all of them.
        assert!(synced.iter().filter(|line| bytes(line) > 0).count() >= 1);
        assert!(synced.iter().map(bytes).sum::<u64>() <= 1024, "{synced:?}");
    }
}

#[cfg(unix)]
#[test]
fn who_is_not_let_in_learns_nothing() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["insert", "world", "things", r#"{"secret": true}"#]);
    let space = sandbox.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned();
    let (_serve, address) = sandbox.serve("db");
    let once = sandbox.ticket("db", &["--uses", "1", "--permission", "read"]);
    let over = sandbox.ticket("db", &["--expires", "0s"]);
    sandbox.person("ben");
    sandbox.person("eve");
    sandbox.ok(&["--dir", "ben", "join", &once]);
    for ticket in [&once, &over] {
        sandbox.fails(4, "not_permitted", &["--dir", "eve", "join", ticket]);
    }
    let (real, _) = sandbox.fails(4, "not_open", &["--dir", "eve", "sync", &space, "--peer", &address]);
    // What is there and not hers looks as what is not there at all.
    let other =
        sandbox.json(&["--dir", "ben", "space", "create", "other"])["space"].as_str().unwrap().to_owned();
    let (unknown, _) = sandbox.fails(4, "not_open", &["--dir", "eve", "sync", &other, "--peer", &address]);
    assert_eq!(real.replace(&space, ""), unknown.replace(&other, ""));
    assert_eq!(sandbox.lines(&["--dir", "eve", "space", "list"]), [] as [Value; 0]);
    // Who may read only is not heard when writing.
    sandbox.fails(4, "not_permitted", &["--dir", "ben", "insert", "world", "things", "{}"]);
}

#[cfg(unix)]
#[test]
fn a_pull_fetches_what_is_new_there_and_sends_nothing() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("rows.jsonl", documents(300));
    sandbox.ok(&["import", "world", "rows", &file, "--key", "n"]);
    let (_serve, address) = sandbox.serve("db");
    let ticket = sandbox.ticket("db", &[]);
    sandbox.person("ben");
    sandbox.ok(&["--dir", "ben", "join", &ticket]);
    let pull = || sandbox.json(&["--dir", "ben", "sync", "--pull"]);
    // The first one compares both and learns where the log of the other ends.
    let first = pull();
    assert_eq!(
        (&first["reconciled"], &first["received"], &first["settled"]),
        (&json!(true), &json!(0), &json!(true))
    );
    sandbox.ok(&["insert", "world", "rows", r#"{"n": 1000}"#]);
    sandbox.ok(&["--dir", "ben", "insert", "world", "rows", r#"{"n": 2000}"#]);
    let second = pull();
    assert_eq!(
        (&second["reconciled"], &second["applied"], &second["sent"]),
        (&json!(false), &json!(1), &json!(0))
    );
    assert_eq!((&second["space"], &second["peer"]), (&first["space"], &first["peer"]));
    assert!(second["cursor"].as_str().unwrap().starts_with("k_"), "{second}");
    let third = pull();
    assert_eq!((&third["received"], &third["cursor"]), (&json!(0), &second["cursor"]));
    assert!(third["bytes_in"].as_u64().unwrap() < 1000, "{third}");
    let count = |dir: &str| sandbox.lines(&["--dir", dir, "find", "world", "rows"]).len();
    assert_eq!((count("db"), count("ben")), (301, 302));
    // By the address, in words, and from nobody.
    let told = sandbox.ok(&["--dir", "ben", "sync", "world", "--pull", "--peer", &address]);
    assert!(told.contains("world from p_") && told.contains("0 received"), "{told}");
    sandbox.fails(6, "peer_unreachable", &["--dir", "ben", "sync", "--pull", "--peer", "http://127.0.0.1:1"]);
}
