//! Pulls over a network: one direction, by the cursor that is remembered of each peer.

use driftless::{Address, Database, Error, Permission, Space, Subject};
use driftless_net::MemoryNetwork;

use crate::{fill, invite, memory, on};

fn ids(of: &Space) -> Vec<String> {
    let log = of.log(driftless::LogQuery::default()).unwrap();
    let mut ids: Vec<String> = log.iter().map(|line| line.commit.to_string()).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_gets_what_is_new_and_remembers_how_far_it_went() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, at_bob) = (on(&net, &ann), on(&net, &bob));
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), Permission::Read).unwrap();
    fill(&here, 0, 500);
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();

    // A space that is not here comes whole, without a session.
    let pulled = at_bob.pull(&address, &here.id()).await.unwrap();
    assert_eq!((pulled.moved.received, pulled.reconciled, pulled.wanted), (502, false, 0));
    let there = bob.space("team").unwrap();
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());

    fill(&here, 1000, 3);
    let pulled = at_bob.pull(&address, &here.id()).await.unwrap();
    assert_eq!((pulled.moved.received, pulled.moved.applied, pulled.reconciled), (3, 3, false));
    let pulled = at_bob.pull(&address, &here.id()).await.unwrap();
    assert_eq!((pulled.moved.received, pulled.moved.sent, pulled.reconciled), (0, 0, false));
    assert_eq!(pulled.cursor.unwrap().at, 505);
    assert!(pulled.traffic.sent + pulled.traffic.received < 700, "{:?}", pulled.traffic);
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_by_a_session_is_not_pulled_again() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let (at_ann, at_bob) = (on(&net, &ann), on(&net, &bob));
    let here = ann.create_space("team").unwrap();
    fill(&here, 0, 300);
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let (there, _) = at_bob.join(&here.invite(invite(&address)).unwrap()).await.unwrap();
    fill(&here, 500, 5);
    fill(&there, 600, 5);
    let pulled = at_bob.pull(&address, &here.id()).await.unwrap();
    assert!(pulled.reconciled && pulled.moved.received == 5 && pulled.moved.sent == 5, "{pulled:?}");
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());
    // What bob wrote arrived at ann after the cursor was given: it may come once more, and not again.
    fill(&here, 700, 5);
    let pulled = at_bob.pull(&address, &here.id()).await.unwrap();
    assert!(!pulled.reconciled && pulled.moved.applied == 5 && pulled.moved.received <= 10, "{pulled:?}");
    let pulled = at_bob.pull(&address, &here.id()).await.unwrap();
    assert_eq!((pulled.reconciled, pulled.moved.received), (false, 0));
    assert_eq!(ids(&there), ids(&here));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_pulls_nothing_and_learns_nothing() {
    let net = MemoryNetwork::new();
    let (ann, eve) = (memory(), memory());
    let (at_ann, at_eve) = (on(&net, &ann), on(&net, &eve));
    let here = ann.create_space("secret").unwrap();
    fill(&here, 0, 3);
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let real = at_eve.pull(&address, &here.id()).await.unwrap_err();
    let unknown = at_eve.pull(&address, &driftless::SpaceId([7; 32])).await.unwrap_err();
    assert!(matches!((real, unknown), (Error::NotOpen(_), Error::NotOpen(_))));
    assert!(eve.spaces().unwrap().is_empty());

    here.grant(Subject::Key(eve.author().unwrap()), Permission::Read).unwrap();
    assert_eq!(at_eve.pull(&address, &here.id()).await.unwrap().moved.received, 5);
    here.revoke(Subject::Key(eve.author().unwrap())).unwrap();
    fill(&here, 10, 1);
    assert!(matches!(at_eve.pull(&address, &here.id()).await, Err(Error::NotOpen(_))));
    assert_eq!(eve.space("secret").unwrap().digest().unwrap().documents, 3);
}

async fn serve(net: &MemoryNetwork, db: &Database, name: &str) -> (driftless::Network, Address) {
    let network = on(net, db);
    let address = network.serve(&format!("memory:{name}").parse().unwrap()).await.unwrap();
    (network, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_peer_was_restored_from_a_copy_both_reconcile_once() {
    let (net, dir) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let bob = memory();
    let at_bob = on(&net, &bob);
    let ann = Database::open(&first).unwrap();
    let here = ann.create_space("team").unwrap();
    let id = here.id();
    here.grant(Subject::Key(bob.author().unwrap()), Permission::Read).unwrap();
    // As others write: what a restored store has lost comes back to it.
    fill(&here, 0, 200);
    drop((here, ann));
    std::fs::create_dir(&second).unwrap();
    std::fs::copy(first.join("driftless.sqlite"), second.join("driftless.sqlite")).unwrap();

    let ann = Database::open(&first).unwrap();
    fill(&ann.space("team").unwrap(), 300, 20);
    let (network, address) = serve(&net, &ann, "before").await;
    let pulled = at_bob.pull(&address, &id).await.unwrap();
    assert_eq!((pulled.moved.received, pulled.reconciled), (222, false));
    network.close();
    drop((network, ann));

    let restored = Database::open(&second).unwrap();
    let (_network, address) = serve(&net, &restored, "after").await;
    let pulled = at_bob.pull(&address, &id).await.unwrap();
    assert_eq!((pulled.moved.received, pulled.moved.sent, pulled.reconciled), (0, 20, true));
    let (here, there) = (restored.space("team").unwrap(), bob.space("team").unwrap());
    assert_eq!(here.digest().unwrap(), there.digest().unwrap());
    fill(&here, 400, 2);
    let pulled = at_bob.pull(&address, &id).await.unwrap();
    assert_eq!((pulled.moved.applied, pulled.reconciled), (2, false));
    assert_eq!(ids(&there), ids(&here));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_remembered_over_a_restart_of_either_side() {
    let (net, dir) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let (at_ann, at_bob) = (dir.path().join("ann"), dir.path().join("bob"));
    for round in 0..3 {
        let (ann, bob) = (Database::open(&at_ann).unwrap(), Database::open(&at_bob).unwrap());
        let here = ann.space("team").or_else(|_| ann.create_space("team")).unwrap();
        if round == 0 {
            here.grant(Subject::Key(bob.author().unwrap()), Permission::Read).unwrap();
        }
        fill(&here, round * 100, 50);
        let (network, address) = serve(&net, &ann, &format!("ann{round}")).await;
        let pulled = on(&net, &bob).pull(&address, &here.id()).await.unwrap();
        let new = if round == 0 { 52 } else { 50 };
        assert_eq!((pulled.moved.received, pulled.reconciled), (new, false), "{round}");
        assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
        assert!(bob.fsck(None, &mut |_| {}).unwrap().problems.is_empty());
        network.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_was_forgotten_is_pulled_from_the_beginning() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let at_bob = on(&net, &bob);
    let (_network, address) = serve(&net, &ann, "ann").await;
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), Permission::Read).unwrap();
    fill(&here, 0, 50);
    at_bob.pull(&address, &here.id()).await.unwrap();
    bob.space("team").unwrap().forget().unwrap();
    let pulled = at_bob.pull(&address, &here.id()).await.unwrap();
    assert_eq!((pulled.moved.applied, pulled.reconciled), (52, false));
    assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_comes_in_many_pages() {
    let net = MemoryNetwork::new();
    let (ann, bob) = (memory(), memory());
    let at_bob = on(&net, &bob);
    let (_network, address) = serve(&net, &ann, "ann").await;
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Anyone, Permission::Read).unwrap();
    let items = here.collection("items").unwrap();
    for n in 0..60 {
        let text: String = (0..20_000).map(|at| char::from(b'a' + ((at * n) % 26) as u8)).collect();
        items.insert(driftless::Map::from_json(&format!(r#"{{"text": "{text}"}}"#)).unwrap()).unwrap();
    }
    let pulled = at_bob.pull(&address, &here.id()).await.unwrap();
    assert!(pulled.moved.rounds > 2 && !pulled.reconciled, "{pulled:?}");
    assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
}
