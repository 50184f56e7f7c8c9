//! Three honest databases that all have one space, and what must be true of them whatever a fourth peer did.

use std::time::Duration;

use driftless::{Address, Database, Insert, Map, Network, Permission, Space, Strength, Subject, Synced};
use driftless_core::id::{AuthorId, CommitId, SpaceId};

use crate::peer::Wire;

/// What no stranger may ever hear: it stands in every honest document.
pub(crate) const CANARY: &str = "canary-7f3a9c51d2";

pub(crate) struct Honest {
    pub(crate) db: Database,
    pub(crate) network: Network,
    pub(crate) address: Address,
}

impl Honest {
    async fn new(wire: &Wire, name: &str) -> Self {
        let db = Database::memory().unwrap();
        let network = wire.join(&db);
        let address = network.serve(&wire.place(name)).await.unwrap();
        Self { db, network, address }
    }

    pub(crate) fn space(&self) -> Space {
        self.db.space("team").unwrap()
    }

    pub(crate) async fn sync(&self, with: &Address, space: SpaceId) -> Result<Synced, driftless::Error> {
        let synced =
            tokio::time::timeout(Duration::from_secs(120), self.network.sync_with_peer(with, &space));
        synced.await.expect("an exchange came to no end")
    }

    pub(crate) fn commits(&self) -> u64 {
        self.space().digest().unwrap().commits
    }
}

/// Ann, who made the space; Bob and Cem, who may write.
pub(crate) struct Trio {
    pub(crate) ann: Honest,
    pub(crate) bob: Honest,
    pub(crate) cem: Honest,
    pub(crate) id: SpaceId,
    written: i64,
}

impl Trio {
    pub(crate) async fn new(wire: &Wire) -> Self {
        let (ann, bob, cem) =
            (Honest::new(wire, "ann").await, Honest::new(wire, "bob").await, Honest::new(wire, "cem").await);
        let space = ann.db.create_space("team").unwrap();
        for other in [&bob, &cem] {
            let author = other.db.author().unwrap();
            space.grant(Subject::Key(author), Permission::Write(Strength(10))).unwrap();
        }
        let mut trio = Self { ann, bob, cem, id: space.id(), written: 0 };
        trio.write(&space, 20);
        trio.converge().await;
        trio
    }

    /// Lets a key in; the commit that says so.
    pub(crate) async fn admit(&self, author: AuthorId, permission: Permission) -> CommitId {
        let grant = self.ann.space().grant(Subject::Key(author), permission).unwrap();
        self.converge().await;
        grant
    }

    pub(crate) fn write(&mut self, space: &Space, count: i64) {
        let items = space.collection("items").unwrap();
        for _ in 0..count {
            self.written += 1;
            let fields =
                Map::from_json(&format!(r#"{{"n": {}, "text": "{CANARY}"}}"#, self.written)).unwrap();
            items.insert_with(fields, Insert { id: Some((-self.written).into()), parent: None }).unwrap();
        }
    }

    /// Each of the three writes.
    pub(crate) fn write_everywhere(&mut self) {
        for space in [self.ann.space(), self.bob.space(), self.cem.space()] {
            self.write(&space, 2);
        }
    }

    /// The honest exchange among the three; it must come to its end, and all must then have the same.
    pub(crate) async fn converge(&self) {
        for (who, with) in
            [(&self.bob, &self.ann), (&self.cem, &self.bob), (&self.ann, &self.cem), (&self.bob, &self.cem)]
        {
            let synced = who.sync(&with.address, self.id).await.unwrap();
            assert!(synced.settled, "{synced:?}");
        }
        let digest = self.ann.space().digest().unwrap();
        assert_eq!(self.bob.space().digest().unwrap(), digest);
        assert_eq!(self.cem.space().digest().unwrap(), digest);
    }

    /// After an attack: everybody writes, all converge, no honest document is missing, nothing grew that should not.
    pub(crate) async fn holds(&mut self, script: &str) {
        self.write_everywhere();
        self.converge().await;
        for honest in [&self.ann, &self.bob, &self.cem] {
            let space = honest.space();
            let items = space.collection("items").unwrap();
            for n in 1..=self.written {
                let found = items.get(&(-n).into()).unwrap();
                assert!(found.is_some(), "{script}: document {n} is gone");
            }
            let status = honest.db.status().unwrap();
            assert!(status.refused.len() <= 1000, "{script}: {} refusals kept", status.refused.len());
            assert_eq!(
                space.rebuild().unwrap(),
                space.digest().unwrap(),
                "{script}: the view is not the log's"
            );
        }
    }
}
