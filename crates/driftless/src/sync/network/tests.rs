//! Places for connections, and who makes room for whom.

use driftless_net::MemoryNetwork;

use super::*;

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
