//! `serve --metrics`: how it goes, in the text form that Prometheus reads, over a small HTTP server of its own.
//!
//! It answers `GET /metrics` and nothing else, a few at a time, and holds nothing back from whoever reaches it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use driftless::EngineStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Serving;
use crate::failure::{Exit, Failure};

// A question longer or slower than this is none, and so many are answered at once.
const MOST_BYTES: usize = 8 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 8;

/// `PORT` of this machine alone, or `IP:PORT`.
pub(super) fn place(word: &str) -> Result<SocketAddr, Failure> {
    let port = word.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    port.or_else(|_| word.parse()).map_err(|_| {
        let message = format!("`{}` is not IP:PORT", crate::output::escape(word));
        Failure::invalid("invalid_address", message, "`--metrics 127.0.0.1:9477`, or a port of this machine")
    })
}

/// Tells how it goes, for as long as the runtime lives; gives where it really is.
pub(super) async fn serve(at: SocketAddr, serving: Arc<Serving>) -> Result<SocketAddr, Failure> {
    let cannot = |error| {
        let hint = "choose another place with `--metrics IP:PORT`; port 0 takes any free one";
        Failure::new(Exit::Failed, "cannot_listen", error, hint)
    };
    let listener = TcpListener::bind(at).await.map_err(cannot)?;
    let at = listener.local_addr().map_err(cannot)?;
    // What `serve` keeps open ends with it, whoever asks meanwhile.
    let (serving, places) = (Arc::downgrade(&serving), Arc::new(Semaphore::new(AT_ONCE)));
    tokio::spawn(async move {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Some(serving) = serving.upgrade() else { return };
            tokio::spawn(async move {
                // Whoever does not wait for the answer asks again.
                let _ = tokio::time::timeout(PATIENCE, answer(stream, serving)).await;
                drop(place);
            });
        }
    });
    Ok(at)
}

async fn answer(mut stream: TcpStream, serving: Arc<Serving>) -> std::io::Result<()> {
    let mut question = Vec::new();
    while !question.windows(4).any(|end| end == b"\r\n\r\n") && question.len() < MOST_BYTES {
        if stream.read_buf(&mut question).await? == 0 {
            break;
        }
    }
    let (status, body) = if question.starts_with(b"GET /metrics ") {
        let engine = serving.engine.status().await.ok();
        let told = tokio::task::spawn_blocking(move || text(&serving, engine.as_ref())).await;
        match told {
            Ok(Ok(text)) => ("200 OK", text),
            _ => ("503 Service Unavailable", "the database does not answer\n".to_owned()),
        }
    } else {
        ("404 Not Found", "there is only /metrics\n".to_owned())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

// Numbers of one kind under their name.
struct Page(String);

impl Page {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP driftless_{name} {help}\n# TYPE driftless_{name} {kind}");
    }

    fn number(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}=\"{}\"", quoted(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "driftless_{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.begin(name, "gauge", help);
        self.number(name, &[], value);
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn text(serving: &Serving, engine: Option<&EngineStatus>) -> Result<String, driftless::Error> {
    let database = &serving.database;
    let mut page = Page(String::new());
    page.one("database_bytes", "Bytes of the database file.", database.bytes_on_disk()?);
    page.one("connections", "Connections that are open.", serving.network.connected().len());
    let (spaces, peers) = (database.spaces()?, database.peers()?);
    let named: Vec<(String, _)> = spaces.into_iter().map(|space| (space.id.to_string(), space)).collect();
    page.begin("commits", "gauge", "Commits of a space that are here.");
    for (id, space) in &named {
        page.number("commits", &[("space", id), ("name", &space.name)], space.commits);
    }
    page.begin("documents", "gauge", "Visible documents of a space.");
    for (id, space) in &named {
        page.number("documents", &[("space", id), ("name", &space.name)], space.documents);
    }
    page.begin("lag_commits", "gauge", "Commits that the known peer lacks who is furthest behind.");
    let lag = super::network::behind(&peers, named.iter().map(|(_, space)| (space.id, space.commits)));
    for (id, space) in &named {
        if let Some(lag) = lag.get(&space.id) {
            page.number("lag_commits", &[("space", id), ("name", &space.name)], lag);
        }
    }
    page.begin(
        "peer_last_sync_seconds",
        "gauge",
        "When an exchange with a peer last ended well, Unix seconds.",
    );
    let peers: Vec<(String, _)> = peers.into_iter().map(|peer| (peer.id.to_string(), peer)).collect();
    for (id, peer) in peers.iter().filter(|(_, peer)| peer.last_sync_ms > 0) {
        page.number("peer_last_sync_seconds", &[("peer", id)], peer.last_sync_ms as f64 / 1000.0);
    }
    page.begin("exchanges_total", "counter", "Exchanges with a peer that ended well, and that did not.");
    for (id, peer) in &peers {
        page.number("exchanges_total", &[("peer", id), ("outcome", "well")], peer.successes);
        page.number("exchanges_total", &[("peer", id), ("outcome", "failed")], peer.failures);
    }
    for (name, kind, help, value) in serving.mailbox.iter().flat_map(super::hub::numbers) {
        page.begin(name, kind, help);
        page.number(name, &[], value);
    }
    if let Some(engine) = engine {
        let connected = engine.peers.values().filter(|peer| peer.connected).count();
        let waiting: usize = engine.peers.values().map(|peer| peer.waiting.len()).sum();
        page.one("peers_connected", "Peers that are connected.", connected);
        page.one("peers_away", "Known peers that are not.", engine.peers.len() - connected);
        page.one("waiting_spaces", "Spaces that wait for a peer, of all peers together.", waiting);
        page.one("paused", "Whether sync is paused.", u8::from(engine.paused));
    }
    Ok(page.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_this_machine_and_labels_keep_their_quotes() {
        assert_eq!(place("9477").unwrap().to_string(), "127.0.0.1:9477");
        assert_eq!(place("0.0.0.0:1").unwrap().to_string(), "0.0.0.0:1");
        assert_eq!(place("example.org").unwrap_err().code, "invalid_address");
        let mut page = Page(String::new());
        page.number("commits", &[("name", "a\"b\\c\nd")], 3);
        assert_eq!(page.0, "driftless_commits{name=\"a\\\"b\\\\c\\nd\"} 3\n");
    }
}
