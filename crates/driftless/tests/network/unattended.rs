//! Sync that runs by itself: what waits for a peer that is away, what users want, several addresses, pauses and ends. Time
//! is virtual where a test waits for it.

use driftless::{Flushed, Preferences, SyncEngine};
use tokio::time::Instant;

use super::*;
use crate::counted::Counted;

const HOUR: Duration = Duration::from_secs(3600);
const LONG: Duration = Duration::from_secs(600);

// Two databases that share a space, of which the second has joined; nobody is connected.
async fn shared(net: &MemoryNetwork, ann: &Database, bob: &Database) -> (Network, Space, Space) {
    let at_ann = on(net, ann);
    let here = ann.create_space("team").unwrap();
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let ticket = here.invite(invite(&address)).unwrap();
    let (there, _) = on(net, bob).join(&ticket).await.unwrap();
    (at_ann, here, there)
}

// Waits until both have the same, and says how long it took.
async fn same(here: &Space, there: &Space, patience: Duration) -> Duration {
    let begun = Instant::now();
    let mut changes = (here.database().changes(), there.database().changes());
    while here.digest().unwrap() != there.digest().unwrap() {
        let changed = async {
            tokio::select! {
                _ = changes.0.next() => {}
                _ = changes.1.next() => {}
            }
        };
        let left = patience.saturating_sub(begun.elapsed());
        assert!(tokio::time::timeout(left, changed).await.is_ok(), "not the same after {patience:?}");
    }
    begun.elapsed()
}

async fn idle(engine: &SyncEngine) {
    let flushed = engine.flush(LONG).await.unwrap();
    assert_eq!(flushed, Flushed { missing: vec![] });
}

#[tokio::test(start_paused = true)]
async fn what_was_written_while_a_peer_was_away_for_an_hour_reaches_it_once_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let net = MemoryNetwork::new();
    let open = || Database::open(folder.path().join("ann")).unwrap();
    let (mut ann, bob) = (open(), memory());
    let bob_counts = Counted::new(&net, bob.peer().unwrap());
    let at_bob = Network::over(&bob, Arc::new(bob_counts.clone())).unwrap();
    let here = ann.create_space("team").unwrap();
    let address = at_bob.serve(&"memory:bob".parse().unwrap()).await.unwrap();
    let there = {
        let at_ann = on(&net, &ann);
        let ann_address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
        let (there, _) = at_bob.join(&here.invite(invite(&ann_address)).unwrap()).await.unwrap();
        at_ann.connect(&address).await.unwrap();
        while !at_ann.connected().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // What was only ever exchanged over connections that the peer made is kept with it as well.
        let engine = at_ann.start().unwrap();
        fill(&here, 0, 1);
        idle(&engine).await;
        assert_eq!(there.digest().unwrap(), here.digest().unwrap());
        engine.close(Duration::from_secs(5)).await;
        there
    };
    drop((here, at_bob));
    // Bob is away.
    for round in 0..10 {
        let at_ann = on(&net, &ann);
        let engine = at_ann.start().unwrap();
        fill(&ann.space("team").unwrap(), 100 + 100 * round, 100);
        tokio::time::sleep(HOUR / 10).await;
        let status = engine.status().await.unwrap();
        let standing = &status.peers[&bob.peer().unwrap()];
        assert!(!standing.connected && standing.waiting == [there.id()], "{standing:?}");
        assert!(standing.attempts >= 6 || round == 0, "it goes on where it was: {standing:?}");
        engine.close(Duration::from_secs(5)).await;
        assert_eq!(ann.unsent().unwrap()[&bob.peer().unwrap()].spaces, [there.id()]);
        drop((engine, at_ann, std::mem::replace(&mut ann, memory())));
        ann = open();
    }
    let known = &ann.peers().unwrap()[0];
    assert!(known.failures >= 50 && known.last_error.contains("nobody listens"), "{known:?}");
    let at_ann = on(&net, &ann);
    let engine = at_ann.start().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // He comes back.
    let before = bob_counts.commits();
    let at_bob = Network::over(&bob, Arc::new(bob_counts.clone())).unwrap();
    at_bob.serve(&"memory:bob".parse().unwrap()).await.unwrap();
    let here = ann.space("team").unwrap();
    let took = same(&here, &there, LONG).await;
    assert!(took <= Duration::from_secs(64), "{took:?}");
    assert_eq!(there.digest().unwrap().documents, 1001);
    assert_eq!(bob_counts.commits() - before, 1000, "each commit goes over once");
    idle(&engine).await;
    engine.close(Duration::from_secs(5)).await;
    assert!(ann.unsent().unwrap().is_empty());
    let past = ann.exchanges(&bob.peer().unwrap()).unwrap();
    assert_eq!(past.len(), 1);
    let last = past[0].history.iter().rev().find(|past| past.commits > 0).unwrap();
    assert_eq!((last.commits, last.error.as_str(), past[0].last_error.as_str()), (1000, "", ""), "{past:?}");
    assert!(last.bytes > 1000 && past[0].last_sync_ms > 0);
}

#[tokio::test(start_paused = true)]
async fn the_smallest_interval_of_two_users_is_used_and_where_both_are_off_nothing_is_sent() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, here, there) = shared(&net, &ann, &bob).await;
    bob.create_user("other", None).unwrap();
    let as_other = bob.login("other", None).unwrap().space("team").unwrap();
    let every = |seconds| Preferences { on_commit: false, interval: Some(seconds), ..Preferences::default() };
    there.set_preferences(&every(300)).unwrap();
    as_other.set_preferences(&every(60)).unwrap();
    let at_bob = on(&net, &bob);
    let engine = at_bob.start().unwrap();
    same(&here, &there, LONG).await;
    for n in 0..5 {
        // Just after an exchange, when the connection has ended.
        tokio::time::sleep(Duration::from_secs(1)).await;
        fill(&here, n, 1);
        let took = same(&here, &there, LONG).await;
        assert!((55..=60).contains(&took.as_secs()), "{took:?}");
    }
    let off = Preferences { enabled: false, ..Preferences::default() };
    there.set_preferences(&off).unwrap();
    as_other.set_preferences(&off).unwrap();
    assert_eq!(bob.status().unwrap().spaces[0].sync, None, "the status says so");
    tokio::time::sleep(HOUR).await;
    let before = bob.peers().unwrap();
    fill(&here, 100, 1);
    fill(&there, 200, 1);
    tokio::time::sleep(HOUR).await;
    assert_eq!(at_bob.connected(), []);
    assert_eq!(there.digest().unwrap().documents, 6);
    assert_eq!(bob.peers().unwrap(), before);
    // Nor is it given to who asks.
    let served = at_bob.serve(&"memory:bob".parse().unwrap()).await.unwrap();
    assert!(matches!(at_ann.sync_with_peer(&served, &here.id()).await, Err(Error::NotOpen(_))));
    // One of them wants it again.
    as_other.set_preferences(&every(60)).unwrap();
    same(&here, &there, Duration::from_secs(64)).await;
    idle(&engine).await;
    assert_eq!(there.digest().unwrap().documents, 7);
}

#[tokio::test(start_paused = true)]
async fn a_space_that_is_turned_off_while_it_is_live_is_told_nothing_more() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (_at_ann, here, there) = shared(&net, &ann, &bob).await;
    let (other, _) = (bob.create_space("other").unwrap(), ());
    let at_bob = on(&net, &bob);
    let engine = at_bob.start().unwrap();
    fill(&there, 0, 1);
    same(&here, &there, LONG).await;
    there.set_preferences(&Preferences { enabled: false, ..Preferences::default() }).unwrap();
    fill(&other, 0, 1);
    engine.status().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    fill(&there, 1, 1);
    tokio::time::sleep(HOUR).await;
    assert_eq!(here.digest().unwrap().documents, 1);
    there.forget_preferences().unwrap();
    same(&here, &there, Duration::from_secs(64)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_address_is_passed_over_for_the_next_and_the_one_that_works_is_first() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (_at_ann, here, there) = shared(&net, &ann, &bob).await;
    let id = ann.peer().unwrap();
    for dead in ["memory:gone", "memory:nowhere", "not an address"] {
        bob.add_peer(id, dead).unwrap();
    }
    bob.advertise_peer(&id, &["memory:trap".to_owned()]).unwrap();
    bob.name_peer(&id, "ann at home").unwrap();
    let trap = on(&net, &memory());
    trap.serve(&"memory:trap".parse().unwrap()).await.unwrap();
    let at_bob = on(&net, &bob);
    let engine = at_bob.start().unwrap();
    fill(&there, 0, 1);
    idle(&engine).await;
    assert_eq!(here.digest().unwrap(), there.digest().unwrap());
    let known = bob.find_peer("ann at home").unwrap();
    assert_eq!((known.id, known.addresses[0].as_str(), known.addresses.len()), (id, "memory:ann", 4));
    assert_eq!((known.advertised, trap.connected()), (vec!["memory:trap".to_owned()], vec![]));
    assert!(bob.remove_peer_address(&id, "memory:gone").unwrap());
    assert!(!bob.remove_peer_address(&id, "memory:gone").unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_only_advertised_is_never_dialed_and_one_that_answers_wrongly_is_left() {
    let net = MemoryNetwork::new();
    let (ann, bob, eve) = (memory(), memory(), memory());
    let (at_ann, here, there) = shared(&net, &ann, &bob).await;
    let id = ann.peer().unwrap();
    at_ann.close();
    let at_eve = on(&net, &eve);
    at_eve.serve(&"memory:eve".parse().unwrap()).await.unwrap();
    bob.remove_peer_address(&id, "memory:ann").unwrap();
    bob.advertise_peer(&id, &["memory:eve".to_owned(), "memory:later".to_owned()]).unwrap();
    let at_bob = on(&net, &bob);
    let engine = at_bob.start().unwrap();
    fill(&there, 0, 1);
    tokio::time::sleep(HOUR).await;
    assert_eq!(bob.find_peer(&id.to_string()).unwrap().failures, 0, "nobody was dialed");
    // Whoever is confirmed and has another key gets nothing.
    bob.add_peer(id, "memory:eve").unwrap();
    tokio::time::sleep(HOUR).await;
    let known = bob.find_peer(&id.to_string()).unwrap();
    assert!(
        known.failures > 10 && known.last_error.contains("another") | known.last_error.contains("expected"),
        "{known:?}"
    );
    assert!(eve.spaces().unwrap().is_empty());
    let again = on(&net, &ann);
    again.serve(&"memory:later".parse().unwrap()).await.unwrap();
    assert_eq!(at_bob.connect(&"memory:later".parse().unwrap()).await.unwrap(), id);
    same(&here, &there, Duration::from_secs(64)).await;
    engine.close(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn while_it_is_paused_nobody_is_connected_and_what_is_written_waits() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, here, there) = shared(&net, &ann, &bob).await;
    let at_bob = on(&net, &bob);
    let (at_ann_engine, engine) = (at_ann.start().unwrap(), at_bob.start().unwrap());
    idle(&engine).await;
    engine.pause();
    assert!(engine.status().await.unwrap().paused);
    fill(&there, 0, 1);
    fill(&here, 10, 1);
    let missing = engine.flush(HOUR).await.unwrap().missing;
    assert_eq!(missing, [(ann.peer().unwrap(), there.id())]);
    assert_eq!((at_bob.connected(), here.digest().unwrap().documents), (vec![], 1));
    engine.resume();
    idle(&engine).await;
    assert_eq!(here.digest().unwrap(), there.digest().unwrap());
    drop(at_ann_engine);
}

#[tokio::test(start_paused = true)]
async fn a_flush_means_delivered_and_the_end_says_goodbye() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, here, there) = shared(&net, &ann, &bob).await;
    let ann_engine = at_ann.start().unwrap();
    let at_bob = on(&net, &bob);
    let engine = at_bob.start().unwrap();
    for n in 0..20 {
        fill(&there, 10 * n, 10);
        fill(&here, 1000 + 10 * n, 10);
        idle(&engine).await;
        assert!(here.collection("items").unwrap().get(&(10 * n).into()).unwrap().is_some());
        // Also whoever was connected to knows when all is there.
        idle(&ann_engine).await;
        assert!(there.collection("items").unwrap().get(&(1000 + 10 * n).into()).unwrap().is_some());
    }
    engine.close(Duration::from_secs(5)).await;
    assert_eq!(net.open(), 0);
    // What has ended does nothing and says so.
    engine.sync_now(None, None);
    assert!(matches!(engine.flush(LONG).await, Err(Error::Unreachable(_))));
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_cut_again_and_again_end_in_the_same_on_both_sides() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, here, there) = shared(&net, &ann, &bob).await;
    let (_ann_engine, at_bob) = (at_ann.start().unwrap(), on(&net, &bob));
    let engine = at_bob.start().unwrap();
    for round in 0..40 {
        net.cut_after(Some(3 + round * 7 % 23));
        fill(&here, 100 * round as i64, 10);
        fill(&there, 10_000 + 100 * round as i64, 10);
        tokio::time::sleep(Duration::from_secs(round % 5)).await;
        net.cut_all();
    }
    net.cut_after(None);
    let took = same(&here, &there, Duration::from_secs(128)).await;
    assert_eq!(there.digest().unwrap().documents, 800, "{took:?}");
    idle(&engine).await;
}

#[tokio::test(start_paused = true)]
async fn one_engine_serves_a_network_and_hears_of_connections_from_before() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, here, there) = shared(&net, &ann, &bob).await;
    let at_bob = on(&net, &bob);
    let engine = at_bob.start().unwrap();
    fill(&there, 0, 1);
    idle(&engine).await;
    // Bob is connected already when ann's begins.
    let late = at_ann.start().unwrap();
    at_ann.start().unwrap().sync_now(Some(&bob.peer().unwrap()), Some(&here.id()));
    fill(&here, 10, 1);
    idle(&late).await;
    let status = late.status().await.unwrap();
    assert_eq!(status.peers.values().filter(|peer| peer.connected).count(), 1, "{status:?}");
    assert_eq!(here.digest().unwrap(), there.digest().unwrap());
    // Nothing is remembered of who was only ever connected, unless somebody says so.
    assert!(ann.peers().unwrap().is_empty());
}
