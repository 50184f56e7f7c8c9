//! What every adapter must do, as async functions that panic when it does not. For tests of adapters only.
//!
//! Each takes two transports that can reach each other, and a place where one of them may listen; `all` calls every
//! one. What is lost with a connection, and what strangers can do, differs between adapters and is tested beside them.

use std::time::Duration;

use driftless_core::id::PeerId;
use driftless_core::sign::NodeKey;
use tokio::time::timeout;

use crate::address::Address;
use crate::transport::{
    Connection, Listener, MAX_FRAME, NetError, Receiver, Sender, Transport, UNPROVEN_FRAME,
};

/// Two sides that can reach each other.
pub struct Sides<'a> {
    /// The one that dials.
    pub dialer: &'a dyn Transport,
    /// Its peer id.
    pub dialing: PeerId,
    /// The one that listens.
    pub listener: &'a dyn Transport,
    /// Its peer id.
    pub listening: PeerId,
    /// Where it can, again and again.
    pub at: Address,
    /// What can be dialed without a name.
    pub dials: Dials,
}

/// What an adapter needs to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dials {
    /// A place: whoever is there can be found out.
    Places,
    /// A peer, which is looked for at some places: another one that is there never shows itself.
    Peers,
}

/// Bytes after which `send` must wait when nobody reads: far more than any queue and any socket holds.
const MORE_THAN_ANY_QUEUE: usize = 256 * 1024 * 1024;
/// Time after which a `send` counts as waiting. A wrong guess only makes the test weaker.
const WAITING: Duration = Duration::from_millis(500);

/// Calls every function of this file.
pub async fn all(sides: &Sides<'_>) {
    both_sides_know_who_the_other_is(sides).await;
    frames_arrive_whole_and_in_order(sides).await;
    frames_up_to_the_limit_arrive_and_one_above_ends_the_connection(sides).await;
    the_limit_can_be_raised_in_the_middle(sides).await;
    a_frame_too_large_to_send_harms_nothing(sides).await;
    both_directions_flow_at_once(sides).await;
    who_does_not_read_slows_the_sender_and_loses_nothing(sides).await;
    a_dropped_recv_loses_no_frame(sides).await;
    a_close_is_seen_after_everything_sent_before(sides).await;
    a_dropped_connection_is_no_close(sides).await;
    another_peer_than_the_address_names_is_an_error(sides).await;
    nobody_at_an_address_is_an_error(sides).await;
    many_connections_do_not_mix(sides).await;
    a_closed_listener_accepts_no_more(sides).await;
    traffic_is_counted(sides).await;
}

async fn listen(sides: &Sides<'_>) -> Box<dyn Listener> {
    sides.listener.listen(&sides.at).await.expect("the place to listen at is free")
}

/// A connection from both ends: the dialer's, and the listener's.
pub async fn connect(sides: &Sides<'_>) -> (Connection, Connection) {
    let mut listener = listen(sides).await;
    connect_to(sides, &mut *listener).await
}

async fn connect_to(sides: &Sides<'_>, listener: &mut dyn Listener) -> (Connection, Connection) {
    let address = listener.address();
    let (dialed, accepted) = tokio::join!(sides.dialer.dial(&address), listener.accept());
    (dialed.expect("a listener can be dialed"), accepted.expect("who dialed is accepted"))
}

// The same connection when both sides have proven all there is to prove.
async fn connect_proven(sides: &Sides<'_>) -> (Connection, Connection) {
    let (mut dialed, mut accepted) = connect(sides).await;
    dialed.receiver.limit(MAX_FRAME);
    accepted.receiver.limit(MAX_FRAME);
    (dialed, accepted)
}

// Bytes that differ from frame to frame; every second kind does not shrink.
fn frame(number: usize, length: usize) -> Vec<u8> {
    let mut state = number as u64 | 1;
    let noise = std::iter::from_fn(|| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(number as u64 * 2 + 1);
        Some(if number.is_multiple_of(2) { number as u8 } else { (state >> 56) as u8 })
    });
    noise.take(length).collect()
}

async fn expect(receiver: &mut dyn Receiver, wanted: &[u8]) {
    let got = receiver.recv().await.expect("the connection is up").expect("the other side has not closed");
    assert!(got == wanted, "got {} bytes {:?}, not {}", got.len(), got.get(..8), wanted.len());
}

/// `peer` is the node key of the other side, at both ends, and the listener's address names its own.
pub async fn both_sides_know_who_the_other_is(sides: &Sides<'_>) {
    let mut listener = listen(sides).await;
    assert_eq!(listener.address().peer, Some(sides.listening));
    let (dialed, accepted) = connect_to(sides, &mut *listener).await;
    assert_eq!((dialed.peer, accepted.peer), (sides.listening, sides.dialing));
}

/// Frames of many sizes, the empty one among them, come back from an echo as they were sent.
pub async fn frames_arrive_whole_and_in_order(sides: &Sides<'_>) {
    let (mut dialed, mut accepted) = connect(sides).await;
    let lengths = || (0..200).map(|number| (number, number * number % UNPROVEN_FRAME));
    let echo = async {
        while let Some(frame) = accepted.receiver.recv().await.expect("the connection is up") {
            accepted.sender.send(frame).await.expect("the connection is up");
        }
    };
    let talk = async {
        for (number, length) in lengths() {
            dialed.sender.send(frame(number, length)).await.expect("the connection is up");
            expect(&mut *dialed.receiver, &frame(number, length)).await;
        }
        dialed.sender.close().await.expect("an open connection can be closed");
    };
    tokio::join!(echo, talk);
}

/// At every limit: one byte less and the limit itself arrive, one byte more is `TooLarge`, for good.
pub async fn frames_up_to_the_limit_arrive_and_one_above_ends_the_connection(sides: &Sides<'_>) {
    for limit in [UNPROVEN_FRAME, 100_000, MAX_FRAME - 1] {
        // Both frames that shrink on the wire and frames that do not.
        for kind in [0, 1] {
            let (mut dialed, mut accepted) = connect(sides).await;
            accepted.receiver.limit(limit);
            for length in [limit - 1, limit] {
                dialed.sender.send(frame(kind, length)).await.expect("the connection is up");
                expect(&mut *accepted.receiver, &frame(kind, length)).await;
            }
            dialed.sender.send(frame(kind, limit + 1)).await.expect("it is for the receiver to refuse");
            let refused = accepted.receiver.recv().await;
            assert!(
                matches!(refused, Err(NetError::TooLarge { size, limit: at }) if size > at && at == limit),
                "{refused:?}"
            );
            assert_eq!(accepted.receiver.recv().await, refused, "an error is terminal");
            assert!(accepted.sender.send(Vec::new()).await.is_err(), "an error is terminal");
            assert!(dialed.receiver.recv().await.is_err(), "the other side is cut off");
        }
    }
}

/// A limit raised after some frames holds for the next one.
pub async fn the_limit_can_be_raised_in_the_middle(sides: &Sides<'_>) {
    let (mut dialed, mut accepted) = connect(sides).await;
    dialed.sender.send(frame(1, UNPROVEN_FRAME)).await.expect("the connection is up");
    expect(&mut *accepted.receiver, &frame(1, UNPROVEN_FRAME)).await;
    accepted.receiver.limit(MAX_FRAME);
    dialed.sender.send(frame(3, MAX_FRAME)).await.expect("the connection is up");
    expect(&mut *accepted.receiver, &frame(3, MAX_FRAME)).await;
}

/// A frame above `MAX_FRAME` is refused where it is sent, and the connection goes on.
pub async fn a_frame_too_large_to_send_harms_nothing(sides: &Sides<'_>) {
    let (mut dialed, mut accepted) = connect(sides).await;
    let refused = dialed.sender.send(vec![0; MAX_FRAME + 1]).await;
    assert_eq!(refused, Err(NetError::TooLarge { size: MAX_FRAME + 1, limit: MAX_FRAME }));
    dialed.sender.send(b"next".to_vec()).await.expect("the connection is as it was");
    expect(&mut *accepted.receiver, b"next").await;
}

/// Both sides send more than any queue between them takes, and read at the same time.
pub async fn both_directions_flow_at_once(sides: &Sides<'_>) {
    const FRAMES: usize = 60;
    const LENGTH: usize = 300_001;
    async fn send(sender: &mut dyn Sender, kind: usize) {
        for number in 0..FRAMES {
            sender.send(frame(number * 2 + kind, LENGTH)).await.expect("the connection is up");
        }
    }
    async fn receive(receiver: &mut dyn Receiver, kind: usize) {
        for number in 0..FRAMES {
            expect(receiver, &frame(number * 2 + kind, LENGTH)).await;
        }
    }
    let (mut dialed, mut accepted) = connect_proven(sides).await;
    tokio::join!(
        send(&mut *dialed.sender, 1),
        receive(&mut *dialed.receiver, 0),
        send(&mut *accepted.sender, 0),
        receive(&mut *accepted.receiver, 1),
    );
}

/// `send` waits while nobody reads; dropping such a future loses nothing, and all that was sent arrives.
pub async fn who_does_not_read_slows_the_sender_and_loses_nothing(sides: &Sides<'_>) {
    let (mut dialed, mut accepted) = connect_proven(sides).await;
    let length = MAX_FRAME / 2;
    let mut sent = 0;
    let large = frame(1, length);
    while let Ok(done) = timeout(WAITING, dialed.sender.send(large.clone())).await {
        done.expect("the connection is up");
        sent += 1;
        assert!(sent * length < MORE_THAN_ANY_QUEUE, "nobody reads, and nothing waits");
    }
    let last = async {
        dialed.sender.send(b"last".to_vec()).await.expect("the connection is up");
    };
    let read = async {
        for _ in 0..sent {
            expect(&mut *accepted.receiver, &large).await;
        }
        expect(&mut *accepted.receiver, b"last").await;
    };
    tokio::join!(last, read);
}

/// `recv` beside something else that happens first goes on where it was.
pub async fn a_dropped_recv_loses_no_frame(sides: &Sides<'_>) {
    const FRAMES: usize = 20;
    let (mut dialed, mut accepted) = connect_proven(sides).await;
    let send = async {
        for number in 0..FRAMES {
            dialed.sender.send(frame(number, 200_000)).await.expect("the connection is up");
        }
    };
    let receive = async {
        for number in 0..FRAMES {
            let got = loop {
                // Polled once or twice, then dropped.
                tokio::select! {
                    biased;
                    got = accepted.receiver.recv() => break got,
                    () = tokio::task::yield_now() => {}
                }
                tokio::task::yield_now().await;
            };
            assert!(got.expect("the connection is up") == Some(frame(number, 200_000)));
        }
    };
    tokio::join!(send, receive);
}

/// After `close` the other side receives everything, then `None`, again and again; nothing can be sent any more.
pub async fn a_close_is_seen_after_everything_sent_before(sides: &Sides<'_>) {
    let (dialed, accepted) = connect_proven(sides).await;
    let (mut closing, mut staying) = (dialed, accepted);
    for round in 0..2 {
        let close = async {
            for number in 0..10 {
                closing.sender.send(frame(number, 150_000)).await.expect("the connection is up");
            }
            closing.sender.close().await.expect("an open connection can be closed");
            assert!(closing.sender.send(Vec::new()).await.is_err(), "a closed connection sends nothing");
            drop(closing);
        };
        let read = async {
            for number in 0..10 {
                expect(&mut *staying.receiver, &frame(number, 150_000)).await;
            }
            for _ in 0..2 {
                assert_eq!(staying.receiver.recv().await, Ok(None));
            }
            assert!(staying.sender.send(Vec::new()).await.is_err(), "the other side has closed");
            assert_eq!(staying.sender.close().await, Ok(()), "to close what is closed is fine");
        };
        tokio::join!(close, read);
        if round == 0 {
            // And the other way round.
            let (dialed, accepted) = connect_proven(sides).await;
            (closing, staying) = (accepted, dialed);
        } else {
            return;
        }
    }
}

/// A side that vanishes without `close` is an error, never `None`.
pub async fn a_dropped_connection_is_no_close(sides: &Sides<'_>) {
    let (dialed, mut accepted) = connect(sides).await;
    drop(dialed);
    assert_eq!(accepted.receiver.recv().await, Err(NetError::Closed));
    assert_eq!(accepted.receiver.recv().await, Err(NetError::Closed));
    let (mut dialed, accepted) = connect(sides).await;
    drop(accepted);
    assert_eq!(dialed.receiver.recv().await, Err(NetError::Closed));
    assert!(dialed.sender.send(Vec::new()).await.is_err());
}

/// An address that names a peer connects to no other, and the error says who answered where that can be known.
pub async fn another_peer_than_the_address_names_is_an_error(sides: &Sides<'_>) {
    let mut listener = listen(sides).await;
    let expected = NodeKey::from_seed(&[7; 32]).id();
    let address = listener.address().with_peer(expected);
    let refused = sides.dialer.dial(&address).await.map(|connection| connection.peer);
    if sides.dials == Dials::Peers {
        assert_eq!(refused, Err(NetError::Proof));
        let (dialed, accepted) = connect_to(sides, &mut *listener).await;
        assert_eq!((dialed.peer, accepted.peer), (sides.listening, sides.dialing));
        return;
    }
    assert_eq!(refused, Err(NetError::WrongPeer { expected, found: sides.listening }));
    // And whoever dials without a name to expect still gets through.
    let whoever = Address { peer: None, ..listener.address() };
    let (dialed, accepted) = tokio::join!(sides.dialer.dial(&whoever), listener.accept());
    assert_eq!(dialed.expect("a listener can be dialed").peer, sides.listening);
    assert_eq!(accepted.expect("who dialed is accepted").peer, sides.dialing);
}

/// Where nobody listens any more, dialing is `Unreachable` and says where.
pub async fn nobody_at_an_address_is_an_error(sides: &Sides<'_>) {
    let mut listener = listen(sides).await;
    let gone = listener.address();
    listener.close().await;
    drop(listener);
    let refused = sides.dialer.dial(&gone).await.map(|connection| connection.peer);
    assert!(
        matches!(&refused, Err(NetError::Unreachable { address, .. }) if *address == gone),
        "{refused:?}"
    );
}

/// What is sent on one connection arrives on its other end only.
pub async fn many_connections_do_not_mix(sides: &Sides<'_>) {
    let mut listener = listen(sides).await;
    let mut connections = Vec::new();
    for number in 0..8_usize {
        let (mut dialed, accepted) = connect_to(sides, &mut *listener).await;
        dialed.sender.send(frame(number, 1000)).await.expect("the connection is up");
        connections.push((dialed, accepted));
    }
    for (number, (_, accepted)) in connections.iter_mut().enumerate().rev() {
        expect(&mut *accepted.receiver, &frame(number, 1000)).await;
    }
}

/// `close` ends `accept`, but not the connections that were accepted.
pub async fn a_closed_listener_accepts_no_more(sides: &Sides<'_>) {
    let mut listener = listen(sides).await;
    let (mut dialed, mut accepted) = connect_to(sides, &mut *listener).await;
    listener.close().await;
    assert_eq!(listener.accept().await.map(|connection| connection.peer), Err(NetError::Closed));
    drop(listener);
    dialed.sender.send(b"still here".to_vec()).await.expect("the connection is up");
    expect(&mut *accepted.receiver, b"still here").await;
}

/// What one side sent is what the other received, and a large frame is seen in it.
pub async fn traffic_is_counted(sides: &Sides<'_>) {
    let (mut dialed, mut accepted) = connect_proven(sides).await;
    let before = dialed.meter.traffic();
    dialed.sender.send(frame(1, 100_000)).await.expect("the connection is up");
    expect(&mut *accepted.receiver, &frame(1, 100_000)).await;
    accepted.sender.send(b"thanks".to_vec()).await.expect("the connection is up");
    expect(&mut *dialed.receiver, b"thanks").await;
    let (ours, theirs) = (dialed.meter.traffic(), accepted.meter.traffic());
    assert_eq!((ours.sent, ours.received), (theirs.received, theirs.sent));
    assert!((100_000..101_000).contains(&(ours.sent - before.sent)), "{before:?} {ours:?}");
    assert!((6..200).contains(&(ours.received - before.received)), "{before:?} {ours:?}");
}
