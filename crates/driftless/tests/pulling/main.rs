//! Pull-based sync of what an application names: roots, hints, look-ups, invites, and what becomes of them when something
//! goes wrong. Over a network in memory and over HTTP.

mod flows;
mod invites;
mod vectors;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use driftless::{
    Address, Database, DocumentSync, DocumentSyncBuilder, Insert, Map, Network, Permission, Space, SpaceId,
    Strength, Subject, SyncBatch, UserId,
};
use driftless_net::MemoryNetwork;

static SERVED: AtomicU64 = AtomicU64::new(0);
const LONG: Duration = Duration::from_secs(10);

/// Where databases meet.
#[derive(Clone)]
enum Net {
    Memory(MemoryNetwork),
    Http,
}

impl Net {
    fn both() -> [Self; 2] {
        [Self::Memory(MemoryNetwork::new()), Self::Http]
    }

    fn memory() -> Self {
        Self::Memory(MemoryNetwork::new())
    }

    fn on(&self, db: &Database) -> Network {
        match self {
            Self::Memory(net) => Network::over(db, Arc::new(net.transport(db.peer().unwrap()))).unwrap(),
            Self::Http => Network::builder(db).http().open().unwrap(),
        }
    }

    async fn serve(&self, network: &Network, db: &Database) -> Address {
        let at = match self {
            // One database may be served more than once.
            Self::Memory(_) => {
                format!("memory:{}-{}", db.user().unwrap(), SERVED.fetch_add(1, Ordering::Relaxed))
            }
            Self::Http => "http://127.0.0.1:0".to_owned(),
        };
        network.serve(&at.parse().unwrap()).await.unwrap()
    }
}

/// A database on a network that pulls.
struct Device {
    db: Database,
    /// Ends with this.
    _network: Network,
    sync: DocumentSync,
    address: Address,
    batches: Receiver<SyncBatch>,
}

impl Device {
    async fn new(net: &Net, db: &Database) -> Self {
        Self::with(net, db, |sync| sync).await
    }

    async fn with(
        net: &Net,
        db: &Database,
        with: impl FnOnce(DocumentSyncBuilder) -> DocumentSyncBuilder,
    ) -> Self {
        let network = net.on(db);
        let (heard, batches) = channel();
        // Whoever does not look at batches does not mind.
        let sync = DocumentSync::builder(&network).on_sync(move |batch| _ = heard.send(batch.clone()));
        let sync = with(sync).start().unwrap();
        let address = net.serve(&network, db).await;
        Self { db: db.clone(), _network: network, sync, address, batches }
    }

    /// Everything that connected peers have for this one is here, as far as they are not saying more just now.
    async fn pull(&self) {
        self.sync.pull_now().await;
    }
}

fn db(name: &str) -> Database {
    Database::builder().user_name(name).memory().unwrap()
}

fn user(db: &Database) -> UserId {
    UserId(db.make_identity().unwrap().id().0)
}

fn fill(space: &Space, from: i64, count: i64) {
    let items = space.collection("items").unwrap();
    for n in from..from + count {
        let fields = Map::from_json(&format!(r#"{{"n": {n}}}"#)).unwrap();
        items.insert_with(fields, Insert { id: Some(n.into()), parent: None }).unwrap();
    }
}

fn documents(db: &Database, space: &SpaceId) -> Option<u64> {
    Some(db.space(&space.to_string()).ok()?.digest().unwrap().documents)
}

fn write() -> Permission {
    Permission::Write(Strength(30))
}

fn grant(space: &Space, to: &Database, permission: Permission) {
    space.grant(Subject::Key(to.author().unwrap()), permission).unwrap();
}

/// Waits for something that comes by itself, looking whenever something changes in a database.
async fn until(db: &Database, what: &str, mut holds: impl FnMut() -> bool) {
    let (changes, since) = (db.changes(), Instant::now());
    tokio::task::block_in_place(|| {
        while !holds() {
            assert!(since.elapsed() < LONG, "{what} does not come");
            changes.wait_for(Duration::from_millis(50));
        }
    });
}
