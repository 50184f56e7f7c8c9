//! The memory adapter keeps the contract, and cuts where it is told to.

use driftless_core::id::PeerId;
use driftless_net::conformance::{self, Dials, Sides};
use driftless_net::{Address, MemoryNetwork, NetError, Transport, pair};

const ALICE: PeerId = PeerId([1; 32]);
const BOB: PeerId = PeerId([2; 32]);

fn at(name: &str) -> Address {
    Address::memory(name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn memory_conforms() {
    let network = MemoryNetwork::new();
    conformance::all(&Sides {
        dialer: &network.transport(ALICE),
        dialing: ALICE,
        listener: &network.transport(BOB),
        listening: BOB,
        at: at("bob"),
        dials: Dials::Places,
    })
    .await;
}

#[tokio::test]
async fn a_cut_after_n_frames_delivers_n_frames() {
    let network = MemoryNetwork::new();
    let mut listener = network.transport(BOB).listen(&at("bob")).await.unwrap();
    for frames in 0..6_u8 {
        network.cut_after(Some(frames.into()));
        let (mut alice, mut bob) =
            (network.transport(ALICE).dial(&at("bob")).await.unwrap(), listener.accept().await.unwrap());
        // Alice and Bob take turns; each frame says its number.
        let mut arrived = 0;
        loop {
            let (from, to) = if arrived % 2 == 0 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
            if from.sender.send(vec![arrived]).await == Err(NetError::Closed) {
                break;
            }
            assert_eq!(to.receiver.recv().await, Ok(Some(vec![arrived])));
            arrived += 1;
        }
        assert_eq!(arrived, frames);
        assert_eq!(alice.receiver.recv().await, Err(NetError::Closed));
        assert_eq!(bob.receiver.recv().await, Err(NetError::Closed));
        assert_eq!(network.open(), 0);
    }
    network.cut_after(None);
    network.transport(ALICE).dial(&at("bob")).await.unwrap().sender.send(vec![]).await.unwrap();
}

#[tokio::test]
async fn frames_sent_before_a_cut_arrive() {
    let network = MemoryNetwork::new();
    let mut listener = network.transport(BOB).listen(&at("bob")).await.unwrap();
    let mut alice = network.transport(ALICE).dial(&at("bob")).await.unwrap();
    let mut bob = listener.accept().await.unwrap();
    alice.sender.send(vec![1]).await.unwrap();
    assert_eq!(network.open(), 1);
    network.cut_all();
    assert_eq!(network.open(), 0);
    assert_eq!(alice.sender.send(vec![2]).await, Err(NetError::Closed));
    assert_eq!(bob.receiver.recv().await, Ok(Some(vec![1])));
    assert_eq!(bob.receiver.recv().await, Err(NetError::Closed));
}

#[tokio::test]
async fn a_name_is_taken_once_and_free_again_when_its_listener_is_gone() {
    let network = MemoryNetwork::new();
    let bob = network.transport(BOB);
    let first = bob.listen(&at("bob")).await.unwrap();
    assert!(matches!(bob.listen(&at("bob")).await, Err(NetError::Unreachable { .. })));
    drop(first);
    assert!(bob.listen(&at("bob")).await.is_ok());
    let elsewhere = Address::http("localhost", 80).unwrap();
    assert_eq!(bob.dial(&elsewhere).await.map(|c| c.peer), Err(NetError::Address(elsewhere.clone())));
}

#[tokio::test]
async fn a_pair_needs_no_network() {
    let (mut alices, mut bobs) = pair(ALICE, BOB);
    assert_eq!((alices.peer, bobs.peer), (BOB, ALICE));
    alices.sender.send(vec![1]).await.unwrap();
    assert_eq!(bobs.receiver.recv().await, Ok(Some(vec![1])));
}
