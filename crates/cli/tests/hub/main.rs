//! A served database under half-open connections and under peers that ask for much and read nothing: it goes on serving
//! whoever is honest, and afterwards it holds no more than before. Linux tells what a process holds.
#![cfg(target_os = "linux")]

mod attackers;
#[allow(dead_code, reason = "shared with the tests of the command, which use the rest")]
#[path = "../cli/sandbox.rs"]
mod sandbox;

use std::time::{Duration, Instant};

use driftless::{Address, Database, Insert, Map, Network, SpaceId};

use attackers::{half_open, slow_reader};
use sandbox::{Running, Sandbox};

/// How many of each: `just hub` runs the full size, the tests of every change a fifth of it.
fn size() -> (usize, usize) {
    if std::env::var_os("DRIFTLESS_HUB").is_some() { (1500, 300) } else { (300, 60) }
}

/// One hub at a time: what it takes is measured.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What the hub may hold more while it is attacked, and after it.
const MOST: u64 = 256 * 1024 * 1024;
const LEFT: u64 = 64 * 1024 * 1024;

struct Hub {
    _sandbox: Sandbox,
    serve: Running,
    address: Address,
    space: SpaceId,
    honest: Honest,
}

struct Honest {
    db: Database,
    network: Network,
}

#[derive(Debug, Clone, Copy)]
struct Holds {
    memory: u64,
    descriptors: usize,
}

impl Hub {
    async fn new() -> Self {
        let (soft, hard) = {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            (limit.current.unwrap_or(u64::MAX), limit.maximum)
        };
        let needed = 4096;
        if soft < needed {
            let raised = rustix::process::Rlimit { current: Some(needed), maximum: hard };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)
                .expect("this test needs 4096 open files: raise `ulimit -n`");
        }
        let sandbox = Sandbox::with_subdivisions();
        // Documents that do not compress away, so that there is much to ask for.
        let mut state = 1_u64;
        let lines: String = (0..400)
            .map(|n| {
                let bytes = std::iter::from_fn(|| {
                    state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    Some(char::from(b'a' + ((state >> 56) % 26) as u8))
                });
                format!("{{\"n\": {n}, \"bytes\": \"{}\"}}\n", bytes.take(8000).collect::<String>())
            })
            .collect();
        let file = sandbox.file("large.jsonl", lines);
        sandbox.ok(&["import", "world", "large", &file, "--key", "n"]);
        // Anyone may read: so every attacker is somebody who may ask.
        sandbox.ok(&["grant", "world", "*", "read"]);
        let serve = sandbox.start(&["serve", "--http", "127.0.0.1:0", "--json"]);
        let address: Address = serve.stdout.json()["addresses"][0].as_str().unwrap().parse().unwrap();
        let ticket = sandbox.json(&["ticket", "world"])["ticket"].as_str().unwrap().to_owned();
        let db = Database::memory().unwrap();
        let network = db.network().unwrap();
        let (space, _) = network.join(&ticket.parse().unwrap()).await.unwrap();
        let space = space.id();
        let mut hub = Self { _sandbox: sandbox, serve, address, space, honest: Honest { db, network } };
        hub.honest_exchanges(20, 0).await;
        hub
    }

    fn holds(&self) -> Holds {
        let of = format!("/proc/{}", self.serve.id());
        let status = std::fs::read_to_string(format!("{of}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        let descriptors = std::fs::read_dir(format!("{of}/fd")).unwrap().count();
        Holds { memory: kilobytes * 1024, descriptors }
    }

    // Each writes a document and brings it over, on a connection of its own; how long the slowest of a hundred took.
    async fn honest_exchanges(&mut self, count: i64, from: i64) -> Duration {
        let items = self.honest.db.space("world").unwrap().collection("honest").unwrap();
        let mut took = Vec::new();
        for n in from..from + count {
            let fields = Map::from_json(&format!(r#"{{"n": {n}}}"#)).unwrap();
            items.insert_with(fields, Insert { id: Some(n.into()), parent: None }).unwrap();
            let begun = Instant::now();
            let synced = self.honest.network.sync_with_peer(&self.address, &self.space).await.unwrap();
            assert!(synced.settled && synced.moved.sent >= 1, "{synced:?}");
            took.push(begun.elapsed());
        }
        took.sort();
        took[took.len() * 99 / 100]
    }

    // When all attackers are gone, what they took is given back, while honest exchanges go on.
    async fn returns_to(&mut self, before: Holds, left: u64, from: i64) -> Holds {
        let begun = Instant::now();
        for n in 0.. {
            let now = self.holds();
            if now.descriptors <= before.descriptors + 2 && now.memory <= before.memory + left {
                eprintln!("after {:?}: {now:?}", begun.elapsed());
                return now;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{before:?} {now:?}");
            self.honest_exchanges(1, from + n).await;
        }
        unreachable!()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_and_slow_readers_take_nothing_from_an_honest_peer() {
    let _alone = ALONE.lock().await;
    let mut hub = Hub::new().await;
    let (half, slow) = size();
    let (mut before, mut left) = (hub.holds(), LEFT);
    // Twice: what an allocator keeps after the first time is used again, and what leaks is not.
    for round in 0..2 {
        let mut readers = Vec::new();
        for n in 0..slow {
            readers.push(slow_reader(n as u64, &hub.address, hub.space).await);
        }
        // Thirty a source; the hub holds at most 32 of one and 256 in all, so most of these wait in vain.
        let mut waiting = Vec::new();
        for n in 0..half {
            waiting.push(half_open(n, [127, 0, 0, 2 + (n / 30) as u8].into(), &hub.address).await);
        }
        let slowest = hub.honest_exchanges(100, 1000 * (1 + 2 * round)).await;
        let during = hub.holds();
        eprintln!("{half} half open, {slow} slow: p99 {slowest:?}; {before:?}, then {during:?}");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        assert!(during.memory <= before.memory + MOST, "{before:?} {during:?}");
        assert!(during.descriptors <= before.descriptors + 256 + slow + 8, "{before:?} {during:?}");
        drop((waiting, readers));
        before = hub.returns_to(before, left, 1000 * (2 + 2 * round)).await;
        left = LEFT / 4;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_peer_gets_in_from_the_address_of_its_attackers() {
    let _alone = ALONE.lock().await;
    let mut hub = Hub::new().await;
    let before = hub.holds();
    let (half, _) = size();
    let mut waiting = Vec::new();
    for n in 0..half {
        waiting.push(half_open(n, [127, 0, 0, 1].into(), &hub.address).await);
    }
    // It is told that there are too many, and asks again, as every peer does that is kept connected.
    let begun = Instant::now();
    while let Err(error) = hub.honest.network.sync_with_peer(&hub.address, &hub.space).await {
        assert!(begun.elapsed() < Duration::from_secs(10), "{error}");
    }
    eprintln!("let in after {:?}", begun.elapsed());
    drop(waiting);
    hub.returns_to(before, LEFT, 3000).await;
}
