//! `serve --lan` and `peers --lan`, by multicast within this machine.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use serde_json::Value;

use crate::sandbox::Sandbox;

const LAN: [&str; 3] = ["--relay", "none", "--lan"];

#[cfg(unix)]
/// Whether what this machine sends to a group comes back to it; in some containers it does not, and nobody is found.
fn hears_groups() -> bool {
    let try_it = || {
        let (socket, group) = (UdpSocket::bind("0.0.0.0:0")?, Ipv4Addr::new(239, 255, 74, 77));
        socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send_to(b"?", (group, socket.local_addr()?.port()))?;
        socket.recv(&mut [0]).map(drop)
    };
    let heard: std::io::Result<()> = try_it();
    if let Err(error) = &heard {
        eprintln!("not tried: this machine does not carry multicast: {error}");
    }
    heard.is_ok()
}

#[cfg(unix)]
#[test]
fn a_peer_that_moved_is_found_on_the_local_network_by_its_key() {
    if !hears_groups() {
        return;
    }
    let sandbox = Sandbox::new();
    let (mut ann, _, before) = sandbox.serve_over_iroh("db", &LAN);
    let ticket = sandbox.json(&["ticket", "world", "--address", &before])["ticket"].clone();
    sandbox.ok(&["--dir", "ben", "init", "--name", "ben"]);
    sandbox.ok(&["--dir", "ben", "join", ticket.as_str().unwrap(), "--name", "world"]);
    assert_eq!(ann.interrupt().code(), Some(0));
    let (_ann, _, now) = sandbox.serve_over_iroh("db", &LAN);
    assert_ne!(before, now, "she is somewhere else");

    // Nobody tells Ben where she is now.
    let (_ben, _, at_ben) = sandbox.serve_over_iroh("ben", &LAN);
    let watch = sandbox.start(&["--dir", "ben", "watch", "world", "notes", "--json"]);
    watch.stdout.until("\"ready\"");
    sandbox.ok(&["insert", "world", "notes", r#"{"by": "ann"}"#, "--id", "milk"]);
    watch.stdout.until("\"id\":\"milk\"");

    // Who has heard nothing yet listens, is not told of, and knows nobody; Ben knows Ann.
    sandbox.ok(&["--dir", "cleo", "init", "--name", "cleo"]);
    let seen = |dir: &str| sandbox.lines(&["--dir", dir, "peers", "--lan", "--timeout", "4s"]);
    let line = |lines: &[Value], address: &str| {
        let found = lines.iter().find(|line| line["address"] == address);
        found.unwrap_or_else(|| panic!("no {address} in {lines:?}")).clone()
    };
    let lines = seen("cleo");
    assert_eq!(line(&lines, &now)["known"], false);
    assert_eq!(line(&lines, &at_ben)["known"], false);
    let lines = seen("ben");
    assert_eq!(line(&lines, &now)["known"], true);
    assert!(
        lines.iter().all(|line| line["address"] != at_ben.as_str()),
        "nobody is told of himself: {lines:?}"
    );
    sandbox.fails(2, "usage", &["peers", "--timeout", "1s"]);
    sandbox.fails(5, "invalid_duration", &["peers", "--lan", "--timeout", "soon"]);
}
