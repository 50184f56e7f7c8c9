//! `serve --iroh` on loopback, without relays: beside HTTP, in tickets, and as one leg of a way between three.

use serde_json::json;

use crate::sandbox::{Running, Sandbox};

impl Sandbox {
    /// A process that serves a database over both networks, and its addresses: HTTP, iroh.
    fn serve_both(&self, dir: &str) -> (Running, String, String) {
        self.serve_over_iroh(dir, &["--relay", "none"])
    }

    /// The same, in another way.
    pub(crate) fn serve_over_iroh(&self, dir: &str, more: &[&str]) -> (Running, String, String) {
        let words = ["--dir", dir, "serve", "--http", "127.0.0.1:0", "--iroh", "127.0.0.1:0", "--json"];
        let serve = self.start(&[&words[..], more].concat());
        let line = serve.stdout.json();
        let address = |at: usize| line["addresses"][at].as_str().unwrap().to_owned();
        assert_eq!(line["addresses"].as_array().unwrap().len(), 2);
        (serve, address(0), address(1))
    }
}

#[cfg(unix)]
#[test]
fn three_meet_over_two_networks() {
    let sandbox = Sandbox::with_subdivisions();
    let (_ann, over_http, over_iroh) = sandbox.serve_both("db");
    assert!(over_http.starts_with("http://127.0.0.1:") && over_iroh.starts_with("iroh:127.0.0.1:"));
    let peer = over_http.split('#').nth(1).unwrap();
    assert!(over_iroh.ends_with(peer), "one peer, whatever the network");

    // Ben joins over HTTP, and passes on over iroh what he has.
    let ticket = sandbox.json(&["ticket", "world", "--address", &over_http])["ticket"].clone();
    sandbox.ok(&["--dir", "ben", "init", "--name", "ben"]);
    sandbox.ok(&["--dir", "ben", "join", ticket.as_str().unwrap(), "--name", "world"]);
    let (mut ben, _, ben_over_iroh) = sandbox.serve_both("ben");
    sandbox.ok(&["--dir", "cleo", "init", "--name", "cleo"]);
    let cleo = sandbox.json(&["--dir", "cleo", "status"])["author"].clone();
    sandbox.ok(&["grant", "world", cleo.as_str().unwrap(), "write"]);
    let space = sandbox.json(&["digest", "world"])["space"].clone();
    let space = space.as_str().unwrap();
    sandbox.json(&["--dir", "ben", "sync", "world", "--peer", &over_http]);
    let synced = sandbox.json(&["--dir", "cleo", "sync", space, "--peer", &ben_over_iroh]);
    assert_eq!((&synced["settled"], &synced["refused"]), (&json!(true), &json!(0)));
    sandbox.ok(&["--dir", "cleo", "edit", space, "subdivisions", "FI-18", r#"{"$set": {"from": "cleo"}}"#]);
    // The address of Ben is known: this goes over iroh again.
    assert_eq!(sandbox.json(&["--dir", "cleo", "sync", space])["sent"], json!(1));
    sandbox.json(&["--dir", "ben", "sync", "world", "--peer", &over_http]);
    assert_eq!(sandbox.json(&["get", "world", "subdivisions", "FI-18"])["from"], json!("cleo"));

    // Tickets of who serves both name both; a fourth gets in over iroh alone.
    let both = sandbox.json(&["ticket", "world"]);
    assert_eq!(both["addresses"], json!([over_http, over_iroh]));
    let one = sandbox.json(&["ticket", "world", "--address", &over_iroh])["ticket"].clone();
    sandbox.ok(&["--dir", "dora", "init", "--name", "dora"]);
    let joined = sandbox.json(&["--dir", "dora", "join", one.as_str().unwrap()]);
    assert_eq!(joined["documents"], json!(5127));
    assert_eq!(ben.interrupt().code(), Some(0));
    sandbox.fails(6, "peer_unreachable", &["--dir", "cleo", "sync", space, "--peer", &ben_over_iroh]);
}

#[test]
fn what_iroh_cannot_use_is_named() {
    let sandbox = Sandbox::new();
    sandbox.fails(5, "invalid_address", &["serve", "--iroh", "nowhere"]);
    sandbox.fails(5, "invalid_address", &["serve", "--iroh", "127.0.0.1:0", "--relay", "nobody"]);
    let nobody = "iroh:127.0.0.1:9,https://a,https://b";
    sandbox.fails(5, "invalid_address", &["sync", "world", "--peer", nobody]);
}

/// A relay without TLS on loopback, and its URL.
async fn relay() -> (iroh_relay::server::Server, String) {
    use iroh_relay::server::{RelayConfig, Server, ServerConfig};
    let relay = RelayConfig::new(([127, 0, 0, 1], 0));
    let mut config = ServerConfig::default();
    config.relay = Some(relay);
    let server = Server::spawn(config).await.unwrap();
    let at = server.http_addr().unwrap();
    (server, format!("http://{at}"))
}

#[cfg(unix)]
#[test]
fn three_meet_through_a_relay() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (server, url) = runtime.block_on(relay());
    let sandbox = Sandbox::new();
    sandbox.ok(&["insert", "world", "notes", r#"{"by": "ann"}"#, "--id", "ann"]);
    let (_ann, _, at_ann) = sandbox.serve_over_iroh("db", &["--relay", &url]);
    assert!(at_ann.contains(&url), "the relay is in the address: {at_ann}");
    // Whoever knows nothing but the relay and the peer: where packets might go directly is cut out.
    let (_, peer) = at_ann.split_once('#').unwrap();
    let relayed = format!("iroh:{url}#{peer}");
    let ticket = sandbox.json(&["ticket", "world", "--address", &relayed])["ticket"].clone();
    let ticket = ticket.as_str().unwrap();
    for dir in ["ben", "cleo"] {
        sandbox.ok(&["--dir", dir, "init", "--name", dir]);
        let joined = sandbox.json(&["--dir", dir, "join", ticket, "--name", "world"]);
        assert_eq!(joined["documents"], json!(1));
    }
    // Both keep in touch by themselves from now on: each commit of one is seen by the other.
    let (_ben, _, at_ben) = sandbox.serve_over_iroh("ben", &["--relay", &url]);
    let (_cleo, _, _) = sandbox.serve_over_iroh("cleo", &["--relay", &url]);
    assert!(at_ben.contains(&url), "{at_ben}");
    let watch = sandbox.start(&["--dir", "cleo", "watch", "world", "notes", "--json"]);
    watch.stdout.until("\"ready\"");
    sandbox.ok(&["--dir", "ben", "insert", "world", "notes", r#"{"by": "ben"}"#, "--id", "ben"]);
    watch.stdout.until("\"id\":\"ben\"");
    // It went through the relay, and without it nobody knows a way.
    assert!(server.metrics().server.accepts.get() >= 3);
    drop(server);
    sandbox.ok(&["--dir", "dora", "init", "--name", "dora"]);
    sandbox.fails(6, "peer_unreachable", &["--dir", "dora", "join", ticket]);
}
