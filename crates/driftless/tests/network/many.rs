//! Many spaces over one connection: bytes where nothing changed, changes on both sides, revocation, live changes.

use super::*;
use crate::counted::Counted;
use driftless::Durability;

// Quick to fill: many writes are flushed at once.
fn batched() -> Database {
    Database::builder().durability(Durability::Batched(Duration::from_millis(20))).memory().unwrap()
}

/// Two databases with the same spaces, and where the first one is served.
struct Two {
    here: Vec<Space>,
    bob: Database,
    at_bob: Network,
    counted: Counted,
    address: Address,
    _at_ann: Network,
}

impl Two {
    async fn with(count: usize) -> Self {
        let net = MemoryNetwork::new();
        let (ann, bob) = (batched(), batched());
        let counted = Counted::new(&net, bob.peer().unwrap());
        let at_bob = Network::over(&bob, Arc::new(counted.clone())).unwrap();
        let at_ann = on(&net, &ann);
        let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
        let author = bob.author().unwrap();
        let create = |n| {
            let space = ann.create_space(&format!("space {n}")).unwrap();
            space.grant(Subject::Key(author), write()).unwrap();
            fill(&space, 0, 1);
            space
        };
        let here = (0..count).map(create).collect();
        Self { here, bob, at_bob, counted, address, _at_ann: at_ann }
    }

    fn ids(&self) -> Vec<driftless::SpaceId> {
        self.here.iter().map(Space::id).collect()
    }

    fn there(&self, n: usize) -> Space {
        self.bob.space(&self.here[n].id().to_string()).unwrap()
    }

    /// Bytes, and how many commits went over.
    async fn sync(&self) -> (u64, u64) {
        let outcomes = self.at_bob.sync_all_with_peer(&self.address, &self.ids()).await.unwrap();
        assert_eq!(outcomes.len(), self.here.len());
        let synced: Vec<_> = outcomes.into_iter().map(|(_, synced)| synced.unwrap()).collect();
        assert!(synced.iter().all(|synced| synced.settled));
        let bytes = synced.iter().map(|synced| synced.traffic.sent + synced.traffic.received).sum();
        let commits = synced.iter().map(|synced| synced.moved.sent + synced.moved.received).sum();
        (bytes, commits)
    }

    /// The other side notes where both met when it sees that the connection ended, which may be after the next began.
    async fn quiet(&self) -> u64 {
        let mut bytes = 0;
        for _ in 0..100 {
            bytes = self.sync().await.0;
            if bytes <= 300 {
                break;
            }
            tokio::task::yield_now().await;
        }
        bytes
    }

    fn assert_equal(&self) {
        for (n, here) in self.here.iter().enumerate() {
            assert_eq!(here.digest().unwrap(), self.there(n).digest().unwrap(), "space {n}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_spaces_only_those_that_changed_cost_anything() {
    // More than are open at once, over one connection.
    let two = Two::with(600).await;
    assert_eq!(two.sync().await.1, 600 * 3);
    two.assert_equal();
    let bytes = two.quiet().await;
    assert!(bytes <= 300, "{bytes} bytes");
    two.counted.take();
    two.sync().await;
    let said = two.counted.take();
    assert!(said.bytes <= 64 && said.greeting + said.bytes <= 300, "{said:?}");
    for n in 0..20 {
        fill(&two.here[n * 7], 10, 1);
        if n >= 10 {
            fill(&two.there(n * 7), 20, 1);
        }
    }
    assert_eq!(two.sync().await.1, 30);
    let said = two.counted.take();
    assert!(said.before.is_some_and(|bytes| bytes <= 1024), "{said:?}");
    two.assert_equal();
    let bytes = two.quiet().await;
    assert!(bytes <= 300, "{bytes} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_spaces_that_is_closed_is_named_and_the_others_go_on() {
    let two = Two::with(6).await;
    two.sync().await;
    two.quiet().await;
    two.here[2].revoke(Subject::Key(two.bob.author().unwrap())).unwrap();
    fill(&two.here[3], 10, 1);
    let mut spaces = two.ids();
    spaces.push(driftless::SpaceId([7; 32]));
    let outcomes = two.at_bob.sync_all_with_peer(&two.address, &spaces).await.unwrap();
    for (space, synced) in outcomes {
        let closed = space == spaces[2] || space == spaces[6];
        assert_eq!(matches!(synced, Err(Error::NotOpen(_))), closed, "{synced:?}");
    }
    assert_eq!(two.here[3].digest().unwrap(), two.there(3).digest().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_was_the_same_when_a_kept_connection_began_is_followed_live() {
    let two = Two::with(20).await;
    two.sync().await;
    two.quiet().await;
    two.at_bob.keep_connected().unwrap();
    for (n, from, to) in [(3, two.here[3].clone(), two.there(3)), (4, two.there(4), two.here[4].clone())] {
        let mut watch = to.collection("items").unwrap().watch(Filter::all()).unwrap();
        fill(&from, 100, 1);
        let last = tokio::task::spawn_blocking(move || {
            while let Some(event) = watch.wait_for(Duration::from_secs(20)).unwrap() {
                if event.source.is_some() {
                    return event.id;
                }
            }
            None
        });
        assert_eq!(last.await.unwrap(), Some(100.into()), "space {n}");
    }
}
