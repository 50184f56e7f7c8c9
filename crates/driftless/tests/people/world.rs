//! Databases of several people, whose clock the test decides, and how they meet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{
    Builder, Database, Error, Filter, Insert, Map, Network, Permission, Space, Strength, Subject, Synced,
};
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

    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    /// Time goes by.
    pub(crate) fn pass(&self, ms: u64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }

    /// How a database is opened here. `seed` is another one each time.
    pub(crate) fn builder(&self, seed: u8) -> Builder {
        let now = self.now.clone();
        Database::builder().seed([seed; 32]).clock(move || now.fetch_add(1, Ordering::SeqCst))
    }

    pub(crate) fn memory(&self, seed: u8) -> Database {
        self.builder(seed).memory().unwrap()
    }
}

pub(crate) fn write() -> Permission {
    Permission::Write(Strength(100))
}

pub(crate) fn admin(strength: u32) -> Permission {
    Permission::Admin(Strength(strength))
}

pub(crate) fn key(db: &Database) -> Subject {
    Subject::Key(db.author().unwrap())
}

/// Inserts documents with the ids `from..from + count`.
pub(crate) fn fill(space: &Space, from: i64, count: i64) {
    for n in from..from + count {
        insert(space, n).unwrap();
    }
}

pub(crate) fn insert(space: &Space, n: i64) -> Result<(), Error> {
    let fields = Map::from_json(&format!(r#"{{"n": {n}}}"#)).unwrap();
    let items = space.collection("items").unwrap();
    items.insert_with(fields, Insert { id: Some(n.into()), parent: None }).map(drop)
}

/// What everybody can see: each document's fields by its id.
pub(crate) fn seen(space: &Space) -> BTreeMap<String, String> {
    let items = space.collection("items").unwrap();
    let found = items.find(Filter::all()).run().unwrap();
    found.into_iter().map(|document| (document.id.to_string(), document.fields.to_json())).collect()
}

/// The ids of all documents that can be seen.
pub(crate) fn visible(space: &Space) -> Vec<i64> {
    let mut ids: Vec<i64> = seen(space).keys().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// Everything `from` has of a space goes to `to` as a file.
pub(crate) fn send(from: &Space, to: &Database) -> Space {
    let mut bytes = Vec::new();
    from.export(&mut bytes, &mut |_| {}).unwrap();
    to.import(&mut bytes.as_slice(), &mut |_| {}).unwrap();
    to.space(&from.id().to_string()).unwrap()
}

/// One exchange of a space over a network in memory, both ways; `one` asks `other`.
pub(crate) fn meet(one: &Database, other: &Database, space: &Space) -> Result<Synced, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let net = MemoryNetwork::new();
        let on = |db: &Database| Network::over(db, Arc::new(net.transport(db.peer().unwrap()))).unwrap();
        let (one, other) = (on(one), on(other));
        let address = other.serve(&"memory:other".parse().unwrap()).await.unwrap();
        one.sync_with_peer(&address, &space.id()).await
    })
}

/// Everybody has the same, and it is what their logs say.
pub(crate) fn all_same(spaces: &[&Space]) {
    let first = spaces[0].digest().unwrap();
    for space in spaces {
        assert_eq!(space.digest().unwrap(), first);
        assert_eq!(space.rebuild().unwrap(), first, "the view is not the log's");
    }
}
