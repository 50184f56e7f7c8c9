//! Peers that are heard of on the local network; what is heard is said by the test.

use std::sync::Mutex;

use driftless::{PeerId, SyncEngine};
use driftless_net::{BoxFuture, Connection, Listener, Neighbours, NetError, Transport};
use tokio::sync::watch;

use super::*;

/// A transport in memory, beside which somebody says who is near.
struct Hearing {
    inner: Arc<dyn Transport>,
    said: watch::Sender<Neighbours>,
    dialed: Arc<Mutex<Vec<String>>>,
}

impl Transport for Hearing {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, NetError>> {
        self.dialed.lock().unwrap().push(address.to_string().split('#').next().unwrap().to_owned());
        self.inner.dial(address)
    }

    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Listener>, NetError>> {
        self.inner.listen(address)
    }

    fn neighbours(&self) -> Result<Option<watch::Receiver<Neighbours>>, NetError> {
        Ok(Some(self.said.subscribe()))
    }
}

struct World {
    net: MemoryNetwork,
    said: watch::Sender<Neighbours>,
    dialed: Arc<Mutex<Vec<String>>>,
    here: Space,
    there: Space,
    at_bob: Network,
    ann: Network,
}

impl World {
    /// Ann serves a space, and Bob has joined it where she was then. She is there no more, unless she `stays`.
    async fn new(stays: bool) -> Self {
        let net = MemoryNetwork::new();
        let (ann, bob) = (memory(), memory());
        let here = ann.create_space("team").unwrap();
        let before = on(&net, &ann);
        let address = before.serve(&"memory:home".parse().unwrap()).await.unwrap();
        let (said, dialed) = (watch::Sender::default(), Arc::default());
        let inner = Arc::new(net.transport(bob.peer().unwrap()));
        let hearing = Hearing { inner, said: said.clone(), dialed: Arc::clone(&dialed) };
        let at_bob = Network::over(&bob, Arc::new(hearing)).unwrap();
        let (there, _) = at_bob.join(&here.invite(invite(&address)).unwrap()).await.unwrap();
        let ann = if stays {
            before
        } else {
            before.close_and_tell().await;
            let ann = on(&net, &ann);
            ann.serve(&"memory:cafe".parse().unwrap()).await.unwrap();
            ann
        };
        dialed.lock().unwrap().clear();
        Self { net, said, dialed, here, there, at_bob, ann }
    }

    fn say(&self, peer: PeerId, at: &str) {
        self.said.send_modify(|said| _ = said.hear(peer, at.parse().unwrap()));
    }

    fn ann_is(&self) -> PeerId {
        self.here.database().peer().unwrap()
    }

    fn dials(&self, at: &str) -> usize {
        self.dialed.lock().unwrap().iter().filter(|dialed| *dialed == at).count()
    }

    async fn failed(&self, engine: &SyncEngine) -> u32 {
        engine.status().await.unwrap().peers[&self.ann_is()].attempts
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_peer_is_found_where_it_is_now() {
    let world = World::new(false).await;
    let engine = world.at_bob.start().unwrap();
    fill(&world.here, 0, 3);
    fill(&world.there, 100, 3);
    // She is nowhere that Bob knows of, and he tries more and more rarely.
    while world.failed(&engine).await < 6 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let eve = memory().peer().unwrap();
    world.say(eve, "memory:eve");
    world.say(world.ann_is(), "memory:cafe");
    let before = tokio::time::Instant::now();
    while world.dials("memory:cafe") == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(before.elapsed() < Duration::from_secs(1), "not when it would have been due");
    assert_eq!(engine.flush(Duration::from_secs(30)).await.unwrap().missing, []);
    assert_eq!(world.there.digest().unwrap(), world.here.digest().unwrap());
    // Whoever is not known is listed, and dialed by nobody.
    assert_eq!(world.dials("memory:eve"), 0);
    let listed = world.at_bob.neighbours(Duration::from_secs(1)).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|address| address.peer.unwrap()).collect();
    assert!(listed.len() == 2 && listed.contains(&eve) && listed.contains(&world.ann_is()));
    // What was heard is true for now: it is no address of the peer.
    let known = world.there.database().peers().unwrap();
    assert_eq!(known[0].addresses, ["memory:home"]);
    assert_eq!(known[0].last_error, "");
    drop(world.ann);
}

#[tokio::test(start_paused = true)]
async fn who_lies_about_where_somebody_is_costs_a_try_now_and_then() {
    let world = World::new(true).await;
    let mallory = memory();
    let lying = on(&world.net, &mallory);
    lying.serve(&"memory:trap".parse().unwrap()).await.unwrap();
    world.say(world.ann_is(), "memory:trap");
    // It is passed over for the address that is known.
    let engine = world.at_bob.start().unwrap();
    fill(&world.there, 0, 3);
    assert_eq!(engine.flush(Duration::from_secs(30)).await.unwrap().missing, []);
    assert_eq!(world.there.digest().unwrap(), world.here.digest().unwrap());
    assert_eq!(world.dials("memory:trap"), 1);
    // Ann goes, and the liar says ten times a second for half a minute that she is here or there.
    world.ann.close_and_tell().await;
    let begun = world.dials("memory:trap");
    for n in 0..300 {
        world.say(world.ann_is(), ["memory:trap", "memory:nowhere"][n % 2]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let tries = world.dials("memory:trap") + world.dials("memory:nowhere") - begun;
    assert!((1..=15).contains(&tries), "{tries} tries in 30 seconds");
}
