//! Two databases over iroh, on loopback and without relays; and over both networks at the same time.

use driftless::{Network, Relay};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_goes_over_iroh_and_over_both_at_once() {
    let (ann, bob, cleo) = (memory(), memory(), memory());
    let direct = |db: &Database| Network::builder(db).http().iroh(Relay::None).open().unwrap();
    let (at_ann, at_bob, at_cleo) = (direct(&ann), direct(&bob), direct(&cleo));
    let here = ann.create_space("team").unwrap();
    fill(&here, 0, 500);
    let over_iroh = at_ann.serve(&"iroh:127.0.0.1:0".parse().unwrap()).await.unwrap();
    let over_http = at_ann.serve(&"http://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (there, synced) = at_bob.join(&here.invite(invite(&over_iroh)).unwrap()).await.unwrap();
    assert_eq!(synced.moved.received, 502);
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());
    let (third, _) = at_cleo.join(&here.invite(invite(&over_http)).unwrap()).await.unwrap();

    fill(&there, 1000, 10);
    let synced = at_bob.sync_with_peer(&over_iroh, &there.id()).await.unwrap();
    assert_eq!((synced.moved.sent, synced.peer), (10, ann.peer().unwrap()));
    at_cleo.sync_with_peer(&over_http, &third.id()).await.unwrap();
    assert_eq!(there.digest().unwrap(), third.digest().unwrap());
    // The peer is known by an address that holds without its name.
    let known = bob.peers().unwrap();
    assert_eq!(known[0].addresses, [over_iroh.to_string().split('#').next().unwrap()]);
    let nothing = at_bob.sync_with_peer(&over_iroh, &there.id()).await.unwrap();
    assert!(nothing.traffic.sent + nothing.traffic.received < 1024, "{:?}", nothing.traffic);

    // What is closed and told is gone at once for the others.
    at_ann.close_and_tell().await;
    assert!(matches!(at_bob.sync_with_peer(&over_iroh, &there.id()).await, Err(Error::Unreachable(_))));
}
