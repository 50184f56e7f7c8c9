//! Places, and who is woken by what.

use driftless_core::rules::{Permission, Strength};
use driftless_net::MemoryNetwork;

use super::*;
use crate::people::ticket::Invite;

fn peer(n: usize) -> PeerId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.to_be_bytes());
    PeerId(id)
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_place_the_longest_idle_connection_makes_room() {
    let database = Database::memory().unwrap();
    let transport = MemoryNetwork::new().transport(database.peer().unwrap());
    let network = Network::over(&database, Arc::new(transport)).unwrap();
    let places: Vec<Option<Place>> =
        (0..=CONNECTIONS).map(|n| network.place(peer(n), CONNECTIONS_OF_PEER, None)).collect();
    assert_eq!(places.iter().flatten().count(), CONNECTIONS);
    let left = |n: usize| places[n].as_ref().is_some_and(|place| *place.connected.leave.borrow());
    // The first has a space open, the second has had none for as long as the others, and is older.
    places[0].as_ref().unwrap().connected.idle.send_replace(None);
    tokio::time::advance(IDLE - Duration::from_millis(1)).await;
    assert!(network.place(peer(9999), CONNECTIONS_OF_PEER, None).is_none());
    tokio::time::advance(Duration::from_millis(1)).await;
    let newcomer = network.place(peer(9999), CONNECTIONS_OF_PEER, None);
    assert!(newcomer.is_some() && !left(0) && left(1) && !left(2));
    assert_eq!(network.connected().len(), CONNECTIONS);
    drop((places, newcomer));
    assert!(network.connected().is_empty());
}

// Databases that share one space of a hub's each, and stay connected to it.
struct Hub {
    database: Database,
    network: Network,
    spaces: Vec<crate::Space>,
    members: Vec<(Network, crate::Watch)>,
}

impl Hub {
    async fn with(spaces: usize, members: usize) -> Self {
        let net = MemoryNetwork::new();
        let on = |database: &Database| {
            Network::over(database, Arc::new(net.transport(database.peer().unwrap()))).unwrap()
        };
        let database = Database::memory().unwrap();
        let network = on(&database);
        let address = network.serve(&"memory:hub".parse().unwrap()).await.unwrap();
        let spaces: Vec<_> =
            (0..spaces).map(|n| database.create_space(&format!("space {n}")).unwrap()).collect();
        let mut hub = Self { database, network, spaces, members: Vec::new() };
        for space in hub.spaces.iter().flat_map(|space| vec![space; members]) {
            let invite = Invite {
                permission: Permission::Write(Strength(10)),
                uses: None,
                expires: None,
                addresses: vec![address.to_string()],
            };
            let member = Database::memory().unwrap();
            let at_member = on(&member);
            let (there, _) = at_member.join(&space.invite(invite).unwrap()).await.unwrap();
            let watch = there.collection("notes").unwrap().watch(crate::Filter::all()).unwrap();
            at_member.keep_connected().unwrap();
            hub.members.push((at_member, watch));
        }
        // What each of them sees came over the connection that it keeps.
        for at in 0..hub.spaces.len() {
            hub.write(at, members);
        }
        // Those over which they joined are over.
        while hub.network.connected().len() > hub.members.len() {
            tokio::task::yield_now().await;
        }
        hub
    }

    // Writes in a space, and waits until each of its members sees it.
    fn write(&mut self, at: usize, members: usize) {
        let id = self.spaces[at].collection("notes").unwrap().insert(crate::Map::default()).unwrap().id;
        for (_, watch) in &mut self.members[at * members..][..members] {
            while watch.wait_for(Duration::from_secs(60)).unwrap().unwrap().id.as_ref() != Some(&id) {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_wakes_only_the_connections_of_peers_that_share_its_space() {
    let (spaces, members) = (8, 3);
    let mut hub = Hub::with(spaces, members).await;
    let routes = hub.network.shared.routes.clone();
    let before = routes.told();
    assert_eq!(before.len(), spaces * members);
    tokio::task::block_in_place(|| (0..10).for_each(|_| hub.write(5, members)));
    let told: Vec<u64> = routes.told().iter().map(|(number, now)| now - before[number]).collect();
    assert_eq!(told.iter().filter(|told| **told > 0).count(), members, "{told:?}");
    assert!(told.iter().all(|told| *told <= 10), "{told:?}");
    // What nobody shares wakes nobody.
    let before = routes.told();
    let alone = hub.database.create_space("alone").unwrap();
    alone.collection("notes").unwrap().insert(crate::Map::default()).unwrap();
    tokio::task::block_in_place(|| hub.write(0, members));
    let woken = routes.told().iter().filter(|(number, now)| **now > before[number]).count();
    assert_eq!(woken, members);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_a_peer_may_not_read_never_wakes_its_connection() {
    let mut hub = Hub::with(1, 1).await;
    let closed = hub.database.create_space("closed").unwrap();
    let address = "memory:hub".parse().unwrap();
    let mut exchange = hub.members[0].0.dial_or_note(&address).await.unwrap();
    let asked = exchange.open(closed.id(), None).await;
    assert!(matches!(asked, Err(Error::NotOpen(_))), "{asked:?}");
    let routes = hub.network.shared.routes.clone();
    let mut before = routes.told();
    assert_eq!(before.len(), 2);
    closed.collection("notes").unwrap().insert(crate::Map::default()).unwrap();
    tokio::task::block_in_place(|| hub.write(0, 1));
    // The one that keeps up with its own space was there first.
    *before.first_entry().unwrap().get_mut() += 1;
    assert_eq!(routes.told(), before);
}
