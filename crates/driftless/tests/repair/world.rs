//! Databases in folders, whose clock the test decides, and peers of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{Builder, Database, Insert, Map, Network, Space, Synced};
use driftless_net::MemoryNetwork;

/// 2026-01-01T00:00:00Z
const START: u64 = 1_767_225_600_000;

/// A folder for databases, and one clock for all of them.
pub(crate) struct World {
    home: tempfile::TempDir,
    now: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), now: Arc::new(AtomicU64::new(START)) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// How a database is opened here. `seed` is another one each time.
    pub(crate) fn builder(&self, seed: u8) -> Builder {
        let now = self.now.clone();
        Database::builder().seed([seed; 32]).clock(move || now.fetch_add(1, Ordering::SeqCst))
    }

    pub(crate) fn open(&self, name: &str, seed: u8) -> Database {
        self.builder(seed).open(self.path(name)).unwrap()
    }

    pub(crate) fn memory(&self, seed: u8) -> Database {
        self.builder(seed).memory().unwrap()
    }
}

/// Inserts documents with the ids `from..from + count` and some fields.
pub(crate) fn fill(space: &Space, from: i64, count: i64) {
    for n in from..from + count {
        insert(space, n).unwrap();
    }
}

pub(crate) fn insert(space: &Space, n: i64) -> Result<(), driftless::Error> {
    let fields = Map::from_json(&format!(r#"{{"n": {n}, "text": "document number {n}"}}"#)).unwrap();
    let items = space.collection("items").unwrap();
    items.insert_with(fields, Insert { id: Some(n.into()), parent: None }).map(drop)
}

/// Everything `from` has of a space goes to `to`.
pub(crate) fn send(from: &Space, to: &Database) -> Space {
    let mut bytes = Vec::new();
    from.export(&mut bytes, &mut |_| {}).unwrap();
    to.import(&mut bytes.as_slice(), &mut |_| {}).unwrap();
    to.space(&from.id().to_string()).unwrap()
}

/// One exchange of a space, both ways.
pub(crate) fn sync(one: &Database, other: &Database, space: &Space) -> Result<Synced, driftless::Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let net = MemoryNetwork::new();
        let on = |db: &Database| Network::over(db, Arc::new(net.transport(db.peer().unwrap()))).unwrap();
        let (one, other) = (on(one), on(other));
        let address = other.serve(&"memory:other".parse().unwrap()).await.unwrap();
        one.sync_with_peer(&address, &space.id()).await
    })
}
