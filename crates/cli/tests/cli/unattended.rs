//! Sync that runs by itself: nobody types `sync`. What is known of peers, and what `serve` is told and tells.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::sandbox::Sandbox;

impl Sandbox {
    // Waits until two databases show the same.
    fn until_same(&self, one: &str, other: &str, patience: Duration) {
        let end = Instant::now() + patience;
        while self.view(one) != self.view(other) {
            assert!(Instant::now() < end, "{one} and {other} are not the same after {patience:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn three_processes_keep_each_other_up_to_date_though_the_one_in_the_middle_is_killed() {
    three_processes(&[]);
}

#[cfg(all(unix, feature = "iroh"))]
#[test]
fn three_processes_do_so_over_two_networks() {
    three_processes(&["--iroh", "127.0.0.1:0", "--relay", "none"]);
}

// Ann and Ben over HTTP; Ben and Cem over what `second` adds, else over HTTP too.
#[cfg(unix)]
fn three_processes(second: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.person("ben");
    sandbox.person("cem");
    let serve = |dir: &str, at: &str, second: &[&str]| {
        let running = sandbox.start(&[&["--dir", dir, "serve", "--http", at, "--json"], second].concat());
        let line = running.stdout.json();
        let addresses = line["addresses"].as_array().unwrap().iter();
        (running, addresses.map(|address| address.as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let (mut at_ann, _) = sandbox.serve("db");
    let ticket = |dir: &str, permission: &str, more: &[&str]| {
        let words = ["--dir", dir, "ticket", "world", "--permission", permission];
        sandbox.json(&[&words[..], more].concat())["ticket"].as_str().unwrap().to_owned()
    };
    sandbox.ok(&["--dir", "ben", "join", &ticket("db", "admin", &[])]);
    let (mut at_ben, addresses) = serve("ben", "127.0.0.1:0", second);
    let leg = addresses.last().unwrap().clone();
    sandbox.ok(&["--dir", "cem", "join", &ticket("ben", "write", &["--address", &leg])]);
    let (mut at_cem, _) = serve("cem", "127.0.0.1:0", second);

    // By ben to cem, who has never heard of ann.
    let watch = sandbox.start(&["--dir", "cem", "watch", "world", "c", "--json"]);
    watch.stdout.until("\"ready\"");
    let mut fastest = Duration::MAX;
    for id in ["one", "two", "three"] {
        sandbox.ok(&["insert", "world", "c", "{}", "--id", id]);
        let begun = Instant::now();
        watch.stdout.until(id);
        fastest = fastest.min(begun.elapsed());
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");

    at_ben.kill();
    for n in 0..5 {
        sandbox.ok(&["insert", "world", "c", "{}", "--id", &format!("ann{n}")]);
        sandbox.ok(&["--dir", "cem", "insert", "world", "c", "{}", "--id", &format!("cem{n}")]);
    }
    // At the same places as before.
    let at = addresses[0].split("//").nth(1).unwrap().split('/').next().unwrap();
    let place = leg.trim_start_matches("iroh:").split('#').next().unwrap();
    let second: Vec<&str> =
        second.iter().map(|word| if *word == "127.0.0.1:0" { place } else { word }).collect();
    let (mut at_ben, again) = serve("ben", at, &second);
    assert_eq!(again, addresses);
    sandbox.until_same("db", "ben", Duration::from_secs(70));
    sandbox.until_same("ben", "cem", Duration::from_secs(70));
    assert_eq!(sandbox.json(&["--dir", "cem", "count", "world", "c"])["count"], 13);

    // What happened is told where it happened.
    let peer = &sandbox.lines(&["--dir", "cem", "peers"])[0];
    assert_eq!((&peer["connected"], &peer["waiting"]), (&json!(true), &json!([])), "{peer}");
    for running in [&mut at_cem, &mut at_ben, &mut at_ann] {
        assert_eq!(running.interrupt().code(), Some(0));
    }
    let id = sandbox.lines(&["--dir", "cem", "peers"])[0]["peer"].as_str().unwrap().to_owned();
    let shown = sandbox.json(&["--dir", "cem", "peer", "show", &id]);
    let past = &shown["exchanges"][0];
    assert_eq!((&past["lag"], past["last_error"].is_null()), (&json!(0), true), "{shown}");
    assert!(
        past["history"].as_array().unwrap().iter().any(|past| past["commits"].as_u64() > Some(0)),
        "{shown}"
    );
    assert!(sandbox.ok(&["--dir", "cem", "peer", "show", &id]).contains("went well"));
}

#[test]
fn a_peer_has_a_name_and_several_addresses() {
    let sandbox = Sandbox::new();
    let peer = format!("p_{}", "a".repeat(52));
    let address = format!("http://192.0.2.7:7477/#{peer}");
    let added = sandbox.json(&["peer", "add", &address, "--name", "office"]);
    assert_eq!((&added["name"], &added["addresses"]), (&json!("office"), &json!(["http://192.0.2.7:7477"])));
    let words = ["peer", "address", "office", "add", "http://192.0.2.8:1"];
    assert_eq!(sandbox.json(&words)["addresses"], json!(["http://192.0.2.8:1", "http://192.0.2.7:7477"]));
    sandbox.ok(&["peer", "address", "office", "remove", "http://192.0.2.7:7477"]);
    sandbox.fails(3, "not_found", &["peer", "address", "office", "remove", "http://192.0.2.7:7477"]);
    sandbox.fails(5, "invalid_address", &["peer", "address", "office", "add", &address.replace("aa", "bb")]);
    assert_eq!(sandbox.json(&["peer", "name", "office", "home"])["name"], "home");
    assert_eq!(sandbox.json(&["peer", "show", "home"])["peer"], json!(peer));
    sandbox.fails(3, "not_found", &["peer", "show", "office"]);
    assert!(sandbox.ok(&["peers"]).contains("home"));
}

#[test]
fn a_space_that_is_off_for_all_says_so() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.json(&["status"])["spaces"][0]["sync"], json!({"on_commit": true, "interval": 300}));
    sandbox.ok(&["prefs", "world", "--enabled", "false"]);
    let status = sandbox.json(&["status"]);
    assert!(status["spaces"][0]["sync"].is_null() && status["ok"] == true, "{status}");
    assert!(sandbox.ok(&["status"]).contains("world is off for all users"));
}

#[cfg(unix)]
#[test]
fn serve_reads_a_file_and_tells_how_it_goes() {
    let sandbox = Sandbox::new();
    let file = sandbox
        .file("driftless.toml", "http = '127.0.0.1:0'\nmetrics = '127.0.0.1:0'\naddress = ['example.org:1']");
    let mut serve = sandbox.start(&["serve", "--config", &file, "--address", "example.org:2", "--json"]);
    let line = serve.stdout.json();
    assert!(line["addresses"][0].as_str().unwrap().starts_with("http://example.org:2/"), "{line}");
    let at = line["metrics"].as_str().unwrap().trim_start_matches("http://").trim_end_matches("/metrics");
    let ask = |question: &str| {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(question.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    sandbox.ok(&["insert", "world", "c", "{}"]);
    let answer = ask("GET /metrics HTTP/1.1\r\nhost: here\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("name=\"world\"} 2\n") && answer.contains("driftless_paused 0\n"), "{answer}");
    assert!(ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(ask("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert_eq!(serve.interrupt().code(), Some(0));
    let wrong = sandbox.file("wrong.toml", "htpp = 1");
    sandbox.fails(5, "invalid_config", &["serve", "--config", &wrong]);
    sandbox.fails(3, "file_not_found", &["serve", "--config", "nowhere.toml"]);
}
