//! The limits of connections by their name: one below, at, and one above. None of them can be asked for from outside, so
//! they stand here once more.

use driftless::{Permission, Strength};
use driftless_core::id::CommitId;
use driftless_core::limits::MAX_ROUNDS;

use crate::peer::{Byzantine, Talk, Wire};
use crate::pen::{chain, forged, frame, header, now, sign};
use crate::trio::Trio;

/// Connections at once, and of one peer.
const CONNECTIONS: u32 = 1024;
const CONNECTIONS_OF_PEER: usize = 16;
/// Commits that nobody signed, and frames that are none.
const MAX_FORGED: u32 = 64;

fn pen() -> Permission {
    Permission::Write(Strength(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_peer() {
    let [(_, wire), _] = Wire::each();
    let mut trio = Trio::new(&wire).await;
    let mallory = Byzantine::new(&wire, 66);
    let mut all: Vec<Talk> = Vec::new();
    for n in 1..=CONNECTIONS_OF_PEER + 1 {
        let mut talk = mallory.dial(&trio.ann.address).await;
        assert_eq!(talk.hear().await.is_some(), n <= CONNECTIONS_OF_PEER, "{n}");
        all.push(talk);
    }
    // One leaves, and another one can come, once Ann has noticed.
    all.truncate(CONNECTIONS_OF_PEER - 1);
    while mallory.dial(&trio.ann.address).await.hear().await.is_none() {
        tokio::task::yield_now().await;
    }
    trio.holds("connections of a peer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_all_peers() {
    let [(_, wire), _] = Wire::each();
    let mut trio = Trio::new(&wire).await;
    // What the honest had is over when Ann has noticed.
    while !trio.ann.network.connected().is_empty() {
        tokio::task::yield_now().await;
    }
    let mut all: Vec<Talk> = Vec::new();
    for n in 1..=CONNECTIONS + 1 {
        let mut talk = Byzantine::numbered(&wire, n).dial(&trio.ann.address).await;
        assert_eq!(talk.hear().await.is_some(), n <= CONNECTIONS, "{n}");
        all.push(talk);
    }
    drop(all);
    while !trio.ann.network.connected().is_empty() {
        tokio::task::yield_now().await;
    }
    trio.holds("connections").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forgeries_of_one_connection() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let grant = trio.admit(mallory.author(), pen()).await;
        let mine = sign(header(mallory.author(), trio.id, &[grant], now()), 1, &mallory.key);
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        for n in 1..=MAX_FORGED + 1 {
            let bytes = if n % 2 == 0 { forged(trio.id, &mine, n) } else { n.to_be_bytes().to_vec() };
            assert_eq!(talk.offer(bytes).await.is_some(), n <= MAX_FORGED, "{name}: {n}");
        }
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_already_in_one_connection() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let grant = trio.admit(mallory.author(), pen()).await;
        let mine = chain(&mallory.key, trio.id, &[grant], 1, 100);
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        assert_eq!(talk.offer(frame(trio.id, &mine)).await, Some(Vec::new()), "{name}");
        let most = (u64::from(MAX_ROUNDS) + 2) * (trio.ann.commits() + 1);
        for n in 1..=most + 1 {
            assert_eq!(talk.offer(frame(trio.id, &mine)).await.is_some(), n <= most, "{name}: {n} of {most}");
        }
        // What is refused is not here: it is noted once, and counted.
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        let orphan = sign(header(mallory.author(), trio.id, &[CommitId([9; 32])], now()), 1, &mallory.key);
        for _ in 0..100 {
            assert_eq!(talk.offer(frame(trio.id, [&orphan])).await.unwrap().len(), 1, "{name}");
        }
        let refused = trio.ann.db.status().unwrap().refused;
        assert_eq!((refused.len(), refused[0].times), (1, 100), "{name}");
        trio.holds(name).await;
    }
}
