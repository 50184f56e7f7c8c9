//! Databases that stay connected: what one writes reaches all who may read it, once, and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use driftless::{Changes, Database, Event, Filter, Network, Permission, Space, Subject};
use driftless_net::MemoryNetwork;

use crate::counted::Counted;
use crate::{fill, invite, memory, on, write};

// Waits, change by change, until something holds in a database that is connected.
pub(crate) async fn until(db: &Database, holds: impl Fn() -> bool + Send + 'static) {
    let changes: Changes = db.changes();
    let done = tokio::task::spawn_blocking(move || {
        let end = Instant::now() + Duration::from_secs(20);
        while !holds() && Instant::now() < end {
            changes.wait_for(Duration::from_millis(100));
        }
        holds()
    });
    assert!(done.await.unwrap(), "waited in vain");
}

async fn until_same(db: &Database, here: &Space, there: &Space) {
    let (here, there) = (here.clone(), there.clone());
    until(db, move || here.digest().unwrap() == there.digest().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_in_a_line_hear_of_each_other_and_a_grant_travels_by_itself() {
    let net = MemoryNetwork::new();
    let (ann, bob, cem) = (memory(), memory(), memory());
    let (at_ann, at_bob, at_cem) = (on(&net, &ann), on(&net, &bob), on(&net, &cem));
    let first = ann.create_space("team").unwrap();
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let (second, _) = at_bob.join(&first.invite(invite(&address)).unwrap()).await.unwrap();
    let address = at_bob.serve(&"memory:bob".parse().unwrap()).await.unwrap();
    first.grant(Subject::Key(cem.author().unwrap()), write()).unwrap();
    at_bob.keep_connected().unwrap();
    let known = second.clone();
    until(&bob, move || known.members().unwrap().len() == 3).await;
    at_cem.sync_with_peer(&address, &first.id()).await.unwrap();
    let third = cem.space("team").unwrap();
    at_cem.keep_connected().unwrap();
    fill(&first, 0, 5);
    until_same(&cem, &first, &third).await;
    fill(&third, 10, 5);
    until_same(&ann, &third, &first).await;
    // A grant changes no document, and is news all the same.
    first.grant(Subject::Key(driftless::AuthorId([3; 32])), Permission::Read).unwrap();
    let known = third.clone();
    until(&cem, move || known.members().unwrap().len() == 4).await;
    until_same(&bob, &first, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_from_a_peer_goes_to_others_and_not_back() {
    let net = MemoryNetwork::new();
    let (ann, bob, cem) = (memory(), memory(), memory());
    let (at_ann, at_bob, at_cem) = (on(&net, &ann), on(&net, &bob), on(&net, &cem));
    let here = ann.create_space("team").unwrap();
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let (there, _) = at_bob.join(&here.invite(invite(&address)).unwrap()).await.unwrap();
    fill(&there, 0, 20);
    let synced = at_bob.sync_with_peer(&address, &there.id()).await.unwrap();
    assert_eq!((synced.moved.sent, synced.moved.received), (20, 0));
    let (_, synced) = at_cem.join(&here.invite(invite(&address)).unwrap()).await.unwrap();
    assert_eq!((synced.moved.received, synced.moved.sent, synced.moved.refused), (24, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_is_revoked_while_connected_gets_nothing_more() {
    let net = MemoryNetwork::new();
    let (ann, eve) = (memory(), memory());
    let (at_ann, at_eve) = (on(&net, &ann), on(&net, &eve));
    let (open, secret) = (ann.create_space("open").unwrap(), ann.create_space("secret").unwrap());
    let key = Subject::Key(eve.author().unwrap());
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    for space in [&open, &secret] {
        space.grant(key, Permission::Read).unwrap();
        fill(space, 0, 1);
        at_eve.sync_with_peer(&address, &space.id()).await.unwrap();
    }
    at_eve.keep_connected().unwrap();
    let (read, hidden) = (eve.space("open").unwrap(), eve.space("secret").unwrap());
    // Both spaces are live over one connection.
    fill(&secret, 10, 1);
    until_same(&eve, &secret, &hidden).await;
    let before = hidden.digest().unwrap();
    secret.revoke(key).unwrap();
    fill(&secret, 20, 3);
    fill(&open, 20, 3);
    until_same(&eve, &open, &read).await;
    assert_eq!(hidden.digest().unwrap(), before);
    assert!(at_eve.sync_with_peer(&address, &secret.id()).await.is_err());
    assert_eq!(hidden.digest().unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_ends_with_its_last_space_and_goes_on_when_one_is_opened_again() {
    let net = MemoryNetwork::new();
    let (ann, eve) = (memory(), memory());
    let (at_ann, at_eve) = (on(&net, &ann), on(&net, &eve));
    let key = Subject::Key(eve.author().unwrap());
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let spaces = ["one", "two"].map(|name| ann.create_space(name).unwrap());
    for space in &spaces {
        space.grant(key, Permission::Read).unwrap();
        fill(space, 0, 3);
        at_eve.sync_with_peer(&address, &space.id()).await.unwrap();
    }
    // Both know what they have, so nothing is open: the spaces sleep until they change.
    at_eve.keep_connected().unwrap();
    let there = eve.space("one").unwrap();
    fill(&spaces[0], 10, 1);
    until_same(&eve, &spaces[0], &there).await;
    let before = eve.space("two").unwrap().digest().unwrap();
    for space in &spaces {
        space.revoke(key).unwrap();
        fill(space, 20, 1);
    }
    let known = eve.clone();
    let told = move || known.peers().unwrap()[0].last_error.contains("does not open");
    until(&eve, told).await;
    assert_eq!(eve.space("two").unwrap().digest().unwrap(), before);
    assert_eq!(there.digest().unwrap().documents, 4);
    // It is asked for again by itself.
    spaces[0].grant(key, Permission::Read).unwrap();
    until_same(&eve, &spaces[0], &there).await;
    assert_eq!(eve.space("two").unwrap().digest().unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_may_send_much_at_once_in_many_spaces() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, at_bob) = (on(&net, &ann), on(&net, &bob));
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let mut pairs = Vec::new();
    for n in 0..6 {
        let here = ann.create_space(&format!("space {n}")).unwrap();
        let (there, _) = at_bob.join(&here.invite(invite(&address)).unwrap()).await.unwrap();
        pairs.push((here, there));
    }
    for (here, there) in &pairs {
        for (space, first) in [(here, 0), (there, 1000)] {
            let items = space.collection("items").unwrap();
            for n in first..first + 12 {
                // Little that compresses away, so that frames are full.
                let fields = format!(r#"{{"n": {n}, "text": "{}"}}"#, "drift ".repeat(10_000));
                items.insert(driftless::Map::from_json(&fields).unwrap()).unwrap();
            }
        }
    }
    at_bob.keep_connected().unwrap();
    for (here, there) in &pairs {
        until_same(&bob, here, there).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_ends_with_its_last_handle() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, at_bob) = (on(&net, &ann), on(&net, &bob));
    let here = ann.create_space("team").unwrap();
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    at_bob.join(&here.invite(invite(&address)).unwrap()).await.unwrap();
    drop(at_ann);
    // A dial that was on its way may still be taken; soon nobody listens any more.
    let mut tries = 0;
    while at_bob.sync_with_peer(&address, &here.id()).await.is_ok() {
        tries += 1;
        assert!(tries < 1000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_takes_its_effect_in_a_served_database_that_nobody_uses() {
    let (net, wall) = (MemoryNetwork::new(), Arc::new(AtomicU64::new(1_800_000_000_000)));
    let now = wall.clone();
    let served = Database::builder().clock(move || now.load(Ordering::SeqCst)).memory().unwrap();
    let early = Database::builder().clock(|| 1_800_003_600_000).memory().unwrap();
    let space = early.create_space("home").unwrap();
    fill(&space, 0, 3);
    let mut bundle = Vec::new();
    space.export(&mut bundle, &mut |_| {}).unwrap();
    served.import(&mut &*bundle, &mut |_| {}).unwrap();
    assert_eq!(served.status().unwrap().spaces[0].counts.held, 4);
    assert_eq!(served.release_due().unwrap(), Some(Duration::from_secs(3000)));
    let changes = served.changes();
    let network = on(&net, &served);
    network.serve(&"memory:served".parse().unwrap()).await.unwrap();
    wall.fetch_add(3_000_000, Ordering::SeqCst);
    let heard = tokio::task::spawn_blocking(move || {
        let mut documents = 0;
        while documents < 3 {
            match changes.wait_for(Duration::from_secs(60)) {
                Some(Event::Change(change)) => documents += change.documents.len(),
                _ => break,
            }
        }
        documents
    });
    assert_eq!(heard.await.unwrap(), 3);
    assert_eq!(served.release_due().unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_dial_each_other_at_once_keep_one_connection_for_the_spaces_of_both() {
    for _ in 0..8 {
        let net = MemoryNetwork::new();
        let databases = [memory(), memory()];
        let counted = databases.each_ref().map(|db| Counted::new(&net, db.peer().unwrap()));
        let networks = [0, 1].map(|at| Network::over(&databases[at], Arc::new(counted[at].clone())).unwrap());
        let (mut addresses, mut pairs) = (Vec::new(), Vec::new());
        for (at, network) in networks.iter().enumerate() {
            addresses.push(network.serve(&format!("memory:{at}").parse().unwrap()).await.unwrap());
        }
        // Each knows the other for the sake of another space.
        for at in [0, 1] {
            let here = databases[at].create_space(&format!("of {at}")).unwrap();
            let ticket = here.invite(invite(&addresses[at])).unwrap();
            let (there, _) = networks[1 - at].join(&ticket).await.unwrap();
            pairs.push(if at == 0 { [here, there] } else { [there, here] });
        }
        networks.iter().for_each(|network| network.keep_connected().unwrap());
        // Once both hear of both spaces, each holds one end of the one connection.
        for (at, spaces) in pairs.iter().enumerate() {
            for side in [0, 1] {
                fill(&spaces[side], side as i64 * 100, 1);
                until_same(&databases[1 - side], &spaces[side], &spaces[1 - side]).await;
            }
            assert_eq!(spaces[0].digest().unwrap().documents, 2, "space {at}");
        }
        let end = Instant::now() + Duration::from_secs(20);
        while networks.iter().any(|network| network.connected().len() != 1) {
            assert!(Instant::now() < end, "two connections are kept");
            tokio::task::yield_now().await;
        }
        for spaces in &pairs {
            for side in [0, 1] {
                let before = counted[1 - side].commits();
                fill(&spaces[side], 1000 + side as i64 * 100, 20);
                until_same(&databases[1 - side], &spaces[side], &spaces[1 - side]).await;
                assert_eq!(counted[1 - side].commits() - before, 20);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_cannot_be_reached_says_so_among_the_peers() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, at_bob) = (on(&net, &ann), on(&net, &bob));
    let here = ann.create_space("team").unwrap();
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    at_bob.join(&here.invite(invite(&address)).unwrap()).await.unwrap();
    assert!(at_bob.sync_with_peer(&nowhere(ann.peer().unwrap()), &here.id()).await.is_err());
    let known = bob.peers().unwrap();
    assert_eq!((known.len(), known[0].successes, known[0].failures), (1, 1, 1), "{known:?}");
    assert!(known[0].last_error.contains("nobody listens"), "{known:?}");
    // Of whom nothing is known, nothing is noted.
    assert!(at_bob.sync_with_peer(&nowhere(driftless::PeerId([9; 32])), &here.id()).await.is_err());
    assert_eq!(bob.peers().unwrap().len(), 1);
}

fn nowhere(peer: driftless::PeerId) -> driftless::Address {
    "memory:nowhere".parse::<driftless::Address>().unwrap().with_peer(peer)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_write_at_once_reaches_all_of_them_through_one_that_is_in_the_middle() {
    let net = MemoryNetwork::new();
    let hub = memory();
    let at_hub = on(&net, &hub);
    let here = hub.create_space("team").unwrap();
    let address = at_hub.serve(&"memory:hub".parse().unwrap()).await.unwrap();
    at_hub.keep_connected().unwrap();
    let mut members = Vec::new();
    for _ in 0..6 {
        let db = memory();
        let at_db = on(&net, &db);
        let (there, _) = at_db.join(&here.invite(invite(&address)).unwrap()).await.unwrap();
        at_db.keep_connected().unwrap();
        members.push((at_db, there));
    }
    // Each time the last one to write is another one, and nothing that follows brings along what was left behind.
    for round in 0..20 {
        let writing: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(n, (_, there))| {
                let there = there.clone();
                std::thread::spawn(move || fill(&there, (round * 6 + n as i64) * 10, 3))
            })
            .collect();
        writing.into_iter().for_each(|writing| writing.join().unwrap());
        for (_, there) in &members {
            let (there, count) = (there.clone(), (round as u64 + 1) * 18);
            let items = there.collection("items").unwrap();
            until(there.database(), move || items.count(Filter::all()).unwrap() == count).await;
        }
    }
}
