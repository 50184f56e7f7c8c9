//! Databases that talk to each other, over a network in memory.

mod counted;
mod delegation;
mod first_copy;
mod hostile;
#[cfg(feature = "iroh")]
mod iroh;
mod live;
mod many;
mod nearby;
mod proxied;
mod pulls;
mod unattended;

use std::sync::Arc;
use std::time::Duration;

use driftless::{
    Address, Database, Error, Filter, Insert, Invite, Map, Network, Permission, Space, Strength, Subject,
};
use driftless_net::MemoryNetwork;

fn memory() -> Database {
    Database::memory().unwrap()
}

fn on(network: &MemoryNetwork, db: &Database) -> Network {
    Network::over(db, Arc::new(network.transport(db.peer().unwrap()))).unwrap()
}

fn fill(space: &Space, from: i64, count: i64) {
    let items = space.collection("items").unwrap();
    for n in from..from + count {
        let fields = Map::from_json(&format!(r#"{{"n": {n}}}"#)).unwrap();
        items.insert_with(fields, Insert { id: Some(n.into()), parent: None }).unwrap();
    }
}

fn write() -> Permission {
    Permission::Write(Strength(10))
}

fn invite(address: &Address) -> Invite {
    Invite { permission: write(), uses: None, expires: None, addresses: vec![address.to_string()] }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_lets_a_second_database_in_and_both_end_with_the_same() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, at_bob) = (on(&net, &ann), on(&net, &bob));
    let here = ann.create_space("team").unwrap();
    fill(&here, 0, 500);
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let ticket = here.invite(invite(&address)).unwrap();
    let (there, synced) = at_bob.join(&ticket.to_string().parse().unwrap()).await.unwrap();
    assert!(synced.settled);
    assert_eq!(synced.moved.received, 502);
    assert!(synced.moved.signatures <= 502 / 32, "{synced:?}");
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());

    // Both go on alone, and meet again.
    fill(&here, 1000, 50);
    fill(&there, 2000, 50);
    let synced = at_bob.sync_with_peer(&address, &there.id()).await.unwrap();
    assert_eq!((synced.moved.sent, synced.moved.received, synced.moved.refused), (50, 50, 0));
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());
    let synced = at_bob.sync_with_peer(&address, &there.id()).await.unwrap();
    assert_eq!((synced.moved.sent, synced.moved.received), (0, 0));
    assert!(synced.traffic.sent + synced.traffic.received < 1024, "{:?}", synced.traffic);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_one_side_shows_on_the_other_while_they_are_connected() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, at_bob) = (on(&net, &ann), on(&net, &bob));
    let here = ann.create_space("team").unwrap();
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let ticket = here.invite(invite(&address)).unwrap();
    let (there, _) = at_bob.join(&ticket).await.unwrap();
    at_bob.keep_connected().unwrap();
    for (from, to, first) in [(&here, &there, 0), (&there, &here, 100)] {
        let mut watch = to.collection("items").unwrap().watch(Filter::all()).unwrap();
        fill(from, first, 1);
        let last = tokio::task::spawn_blocking(move || {
            let mut seen = 0;
            while let Some(event) = watch.wait_for(Duration::from_secs(20)).unwrap() {
                seen += usize::from(event.source.is_some());
                if seen == 1 {
                    return event.id;
                }
            }
            None
        });
        assert_eq!(last.await.unwrap(), Some(first.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_permission_learns_nothing() {
    let net = MemoryNetwork::new();
    let (ann, eve) = (memory(), memory());
    let (at_ann, at_eve) = (on(&net, &ann), on(&net, &eve));
    let here = ann.create_space("secret").unwrap();
    fill(&here, 0, 3);
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let real = at_eve.sync_with_peer(&address, &here.id()).await.unwrap_err();
    let unknown = at_eve.sync_with_peer(&address, &driftless::SpaceId([7; 32])).await.unwrap_err();
    assert!(matches!((real, unknown), (Error::NotOpen(_), Error::NotOpen(_))));
    assert!(eve.spaces().unwrap().is_empty());

    // After a grant she may read, after a revocation not any more.
    here.grant(Subject::Key(eve.author().unwrap()), Permission::Read).unwrap();
    at_eve.sync_with_peer(&address, &here.id()).await.unwrap();
    assert_eq!(eve.space("secret").unwrap().digest().unwrap().documents, 3);
    here.revoke(Subject::Key(eve.author().unwrap())).unwrap();
    fill(&here, 10, 1);
    assert!(at_eve.sync_with_peer(&address, &here.id()).await.is_err());
    assert_eq!(eve.space("secret").unwrap().digest().unwrap().documents, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_good_as_often_and_as_long_as_it_says() {
    let net = MemoryNetwork::new();
    let ann = memory();
    let at_ann = on(&net, &ann);
    let here = ann.create_space("team").unwrap();
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let once = here.invite(Invite { uses: Some(1), ..invite(&address) }).unwrap();
    let over = here.invite(Invite { expires: Some(Duration::ZERO), ..invite(&address) }).unwrap();
    let (bob, cem) = (memory(), memory());
    on(&net, &bob).join(&once).await.unwrap();
    // Joining again with the same key goes on; another key comes too late.
    on(&net, &bob).join(&once).await.unwrap();
    for ticket in [&once, &over] {
        let refused = on(&net, &cem).join(ticket).await.unwrap_err();
        assert!(matches!(refused, Error::NotPermitted(_)), "{refused:?}");
    }
    assert_eq!(here.members().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_at_any_frame_loses_nothing() {
    for cut in 1..40 {
        let net = MemoryNetwork::new();
        let (ann, bob) = (memory(), memory());
        let (at_ann, at_bob) = (on(&net, &ann), on(&net, &bob));
        let here = ann.create_space("team").unwrap();
        fill(&here, 0, 300);
        let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
        let ticket = here.invite(invite(&address)).unwrap();
        net.cut_after(Some(cut));
        let first = at_bob.join(&ticket).await;
        net.cut_after(None);
        let (there, _) = at_bob.join(&ticket).await.unwrap();
        let synced = at_bob.sync_with_peer(&address, &there.id()).await.unwrap();
        assert!(synced.settled);
        assert_eq!(there.digest().unwrap(), here.digest().unwrap(), "cut after {cut}, {first:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_goes_over_http() {
    let (ann, bob) = (memory(), memory());
    let (at_ann, at_bob) = (ann.network().unwrap(), bob.network().unwrap());
    let here = ann.create_space("team").unwrap();
    fill(&here, 0, 500);
    let address = at_ann.serve(&"http://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let ticket = here.invite(invite(&address)).unwrap();
    let (there, synced) = at_bob.join(&ticket).await.unwrap();
    assert_eq!(synced.moved.received, 502);
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());
    fill(&there, 1000, 10);
    let synced = at_bob.sync_with_peer(&address, &there.id()).await.unwrap();
    assert_eq!((synced.moved.sent, synced.moved.received), (10, 0));
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());
    let nothing = at_bob.sync_with_peer(&address, &there.id()).await.unwrap();
    assert!(nothing.traffic.sent + nothing.traffic.received < 1024, "{:?}", nothing.traffic);
}
