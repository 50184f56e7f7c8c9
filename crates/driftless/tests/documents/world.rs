//! Devices whose clocks the test sets, on one transport: in memory, or HTTP on loopback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{
    Address, Builder, Collection, Database, Document, DocumentId, Error, Filter, Insert, Map, Network,
    Permission, Pulled, Space, SpaceId, Strength, Subject, Synced, operators_from_json,
};
use driftless_net::MemoryNetwork;

/// 2026-01-01T00:00:00Z
pub(crate) const START: u64 = 1_767_225_600_000;

/// How devices reach each other.
#[derive(Clone)]
enum Wire {
    Memory(MemoryNetwork),
    Http,
}

/// Where a vector runs: one transport, and a folder for databases.
pub(crate) struct World {
    wire: Wire,
    home: tempfile::TempDir,
}

impl World {
    /// Over a network in memory.
    pub(crate) fn memory() -> Self {
        Self { wire: Wire::Memory(MemoryNetwork::new()), home: tempfile::tempdir().unwrap() }
    }

    /// Over HTTP on loopback.
    pub(crate) fn http() -> Self {
        Self { wire: Wire::Http, home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A device with a database in memory; `seed` is another one each time.
    pub(crate) async fn device(&self, seed: u8) -> Device {
        let clock = Arc::new(AtomicU64::new(START));
        let db = builder(seed, &clock).memory().unwrap();
        self.connect(db, clock).await
    }

    /// A device with a database in a folder, whose clock stands as given.
    pub(crate) async fn device_at(&self, seed: u8, folder: &Path, now: u64) -> Device {
        let clock = Arc::new(AtomicU64::new(now));
        let db = builder(seed, &clock).open(folder).unwrap();
        self.connect(db, clock).await
    }

    async fn connect(&self, db: Database, clock: Arc<AtomicU64>) -> Device {
        let network = match &self.wire {
            Wire::Memory(network) => {
                Network::over(&db, Arc::new(network.transport(db.peer().unwrap()))).unwrap()
            }
            Wire::Http => db.network().unwrap(),
        };
        let place = match &self.wire {
            Wire::Memory(_) => {
                let folder = db.folder().map(|folder| folder.display().to_string()).unwrap_or_default();
                format!("memory:{}{}", db.peer().unwrap(), folder.replace(['/', '\\'], "-"))
            }
            Wire::Http => "http://127.0.0.1:0".to_owned(),
        };
        let address = network.serve(&place.parse().unwrap()).await.unwrap();
        Device { db, network, address, clock }
    }
}

/// How a database is opened whose clock the test sets.
pub(crate) fn builder(seed: u8, clock: &Arc<AtomicU64>) -> Builder {
    let clock = clock.clone();
    Database::builder().seed([seed; 32]).clock(move || clock.load(Ordering::SeqCst))
}

/// One database that serves, and its clock, which only the test moves.
pub(crate) struct Device {
    pub(crate) db: Database,
    pub(crate) network: Network,
    pub(crate) address: Address,
    clock: Arc<AtomicU64>,
}

impl Device {
    pub(crate) fn key(&self) -> Subject {
        Subject::Key(self.db.author().unwrap())
    }

    /// Sets the clock, in milliseconds after `START`; before it, if negative.
    pub(crate) fn set_clock(&self, after: i64) {
        self.clock.store(START.saturating_add_signed(after), Ordering::SeqCst);
    }

    pub(crate) fn space(&self, id: SpaceId) -> Space {
        self.db.space(&id.to_string()).unwrap()
    }

    pub(crate) fn notes(&self, id: SpaceId) -> Collection {
        self.space(id).collection("notes").unwrap()
    }

    /// One exchange with another device, both ways.
    pub(crate) async fn meet(&self, other: &Self, space: SpaceId) -> Synced {
        let synced = self.network.sync_with_peer(&other.address, &space).await.unwrap();
        assert!(synced.settled, "{synced:?}");
        synced
    }

    pub(crate) async fn pull(&self, from: &Self, space: SpaceId) -> Pulled {
        self.network.pull(&from.address, &space).await.unwrap()
    }
}

/// A space that the first device founded, and that all have, with the right to write.
pub(crate) async fn shared(devices: &[&Device]) -> SpaceId {
    let space = devices[0].db.create_space("team").unwrap();
    for other in &devices[1..] {
        space.grant(other.key(), Permission::Write(Strength(10))).unwrap();
    }
    for other in &devices[1..] {
        other.meet(devices[0], space.id()).await;
    }
    space.id()
}

pub(crate) fn map(text: &str) -> Map {
    Map::from_json(text).unwrap()
}

pub(crate) fn name(text: &str) -> DocumentId {
    DocumentId::string(text).unwrap()
}

/// Inserts under an id that the test chose.
pub(crate) fn insert(to: &Collection, id: &str, fields: &str) -> Result<(), Error> {
    to.insert_with(map(fields), Insert { id: Some(name(id)), parent: None }).map(drop)
}

pub(crate) fn edit(to: &Collection, id: &str, operators: &str) -> Result<(), Error> {
    to.edit(&name(id), operators_from_json(operators).unwrap()).map(drop)
}

pub(crate) fn get(of: &Collection, id: &str) -> Option<Document> {
    of.get(&name(id)).unwrap()
}

/// The fields of a document as JSON; `-` if it is not there.
pub(crate) fn shown(of: &Collection, id: &str) -> String {
    get(of, id).map_or("-".into(), |document| document.fields.to_json())
}

/// What everybody can see of a collection: each document's fields by its id.
pub(crate) fn seen(of: &Collection) -> BTreeMap<String, String> {
    let found = of.find(Filter::all()).run().unwrap();
    found.into_iter().map(|document| (document.id.to_string(), document.fields.to_json())).collect()
}

/// All have the same, and it is what their logs say.
pub(crate) fn all_same(devices: &[&Device], space: SpaceId) {
    let first = devices[0].space(space).digest().unwrap();
    for device in devices {
        let here = device.space(space);
        assert_eq!(here.digest().unwrap(), first);
        assert_eq!(here.rebuild().unwrap(), first, "the view is not the log's");
        let report = device.db.fsck(None, &mut |_| {}).unwrap();
        assert_eq!(report.problems, []);
    }
}
