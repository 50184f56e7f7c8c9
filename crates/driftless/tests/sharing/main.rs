//! Documents move to the space that a share policy names, and who receives them is decided there.

mod across;
mod audiences;
mod leaks;
mod moving;
mod recording;
mod serving;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use driftless::{
    Address, Builder, Database, Error, Map, Network, PeerId, Permission, Space, Strength, Subject, UserId,
};
use driftless_net::MemoryNetwork;

const START: u64 = 1_800_000_000_000;

/// Databases on one network, all with the same clock, which goes on by a second whenever somebody is made.
struct World {
    net: MemoryNetwork,
    clock: Arc<AtomicU64>,
    made: u64,
    serving: Mutex<HashMap<PeerId, (Network, Address)>>,
}

impl World {
    fn new() -> Self {
        Self {
            net: MemoryNetwork::new(),
            clock: Arc::new(AtomicU64::new(START)),
            made: 0,
            serving: Mutex::default(),
        }
    }

    fn tick(&self) {
        self.clock.fetch_add(1000, Ordering::Relaxed);
    }

    fn builder(&mut self, name: &str) -> Builder {
        self.tick();
        self.made += 1;
        let clock = self.clock.clone();
        let seed = *blake3::hash(&self.made.to_be_bytes()).as_bytes();
        Database::builder().user_name(name).seed(seed).clock(move || clock.load(Ordering::Relaxed))
    }

    fn database(&mut self, name: &str) -> Database {
        self.builder(name).memory().unwrap()
    }

    fn on(&self, db: &Database) -> Network {
        Network::over(db, Arc::new(self.net.transport(db.peer().unwrap()))).unwrap()
    }

    /// Where a database is served, from now on.
    async fn address(&self, db: &Database) -> Address {
        let peer = db.peer().unwrap();
        if let Some((_, address)) = self.serving.lock().unwrap().get(&peer) {
            return address.clone();
        }
        let network = self.on(db);
        let address = network.serve(&format!("memory:{peer}").parse().unwrap()).await.unwrap();
        self.serving.lock().unwrap().insert(peer, (network, address.clone()));
        address
    }

    /// One more device of a user.
    async fn device(&mut self, of: &Database) -> Database {
        let device = self.database(&of.user().unwrap());
        let address = self.address(of).await;
        let ticket = of.invite_device(vec![address.to_string()], None).unwrap();
        self.on(&device).join_identity(&ticket).await.unwrap();
        device
    }

    /// `to` gets from `from` what that lets it have of a space, and gives what it has.
    async fn sync(&self, to: &Database, from: &Database, space: &Space) -> Result<driftless::Synced, Error> {
        let address = self.address(from).await;
        self.on(to).sync_with_peer(&address, &space.id()).await
    }
}

fn user(db: &Database) -> UserId {
    UserId(db.make_identity().unwrap().id().0)
}

fn same(space: &Space, db: &Database) -> Space {
    db.space(&space.id().to_string()).unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.unwrap_err().code()
}
