//! How keys get in without a ticket: policies, the queue and its bounds, what strangers learn, and discovery.

mod asking;
mod bounds;
mod discovery;
mod flood;
mod raw;
mod strangers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{Address, Database, Map, Network, Permission, Space, Strength};
use driftless_net::MemoryNetwork;

fn memory() -> Database {
    Database::memory().unwrap()
}

fn on(network: &MemoryNetwork, db: &Database) -> Network {
    Network::over(db, Arc::new(network.transport(db.peer().unwrap()))).unwrap()
}

fn write(strength: u32) -> Permission {
    Permission::Write(Strength(strength))
}

fn fill(space: &Space, count: usize) {
    let items = space.collection("items").unwrap();
    for n in 0..count {
        items.insert(Map::from_json(&format!(r#"{{"n": {n}}}"#)).unwrap()).unwrap();
    }
}

/// A clock that tests move.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000_000)))
    }

    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    fn database(&self) -> Database {
        let clock = self.0.clone();
        Database::builder().clock(move || clock.load(Ordering::SeqCst)).memory().unwrap()
    }
}

/// Ann serves a space; others may come.
struct Scene {
    net: MemoryNetwork,
    clock: Clock,
    ann: Database,
    space: Space,
    at: Address,
    _network: Network,
}

impl Scene {
    async fn new() -> Self {
        let (net, clock) = (MemoryNetwork::new(), Clock::new());
        let ann = clock.database();
        let network = on(&net, &ann);
        let space = ann.create_space("team").unwrap();
        fill(&space, 3);
        let at = network.serve(&"memory:ann".parse().unwrap()).await.unwrap();
        Self { net, clock, ann, space, at, _network: network }
    }

    /// Somebody new, and its network.
    fn guest(&self) -> (Database, Network) {
        let db = self.clock.database();
        let network = on(&self.net, &db);
        (db, network)
    }
}
