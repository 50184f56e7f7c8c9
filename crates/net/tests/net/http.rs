//! The HTTP adapter keeps the contract; and what strangers, lost peers and somebody in between cannot do to it. Time
//! is paused where a limit of time is waited for.

use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use driftless_core::sign::NodeKey;
use driftless_net::conformance::{self, Dials, Sides};
use driftless_net::{
    Address, Connection, HttpOptions, HttpTransport, Listener, MAX_FRAME, NetError, Place, Transport, http,
};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

const UPGRADE: &str = "GET /driftless/1 HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn key(byte: u8) -> NodeKey {
    NodeKey::from_seed(&[byte; 32])
}

fn alice() -> HttpTransport {
    HttpTransport::new(key(1), HttpOptions::default())
}

fn anywhere() -> Address {
    Address::http("127.0.0.1", 0).unwrap()
}

async fn bob_listens(options: HttpOptions) -> Box<dyn Listener> {
    HttpTransport::new(key(2), options).listen(&anywhere()).await.unwrap()
}

async fn connect(dialer: &HttpTransport, listener: &mut dyn Listener) -> (Connection, Connection) {
    let address = listener.address();
    let (dialed, accepted) = tokio::join!(dialer.dial(&address), listener.accept());
    (dialed.unwrap(), accepted.unwrap())
}

fn socket_address(address: &Address) -> (String, u16) {
    match &address.place {
        Place::Http { host, port } => (host.clone(), *port),
        Place::Iroh { .. } | Place::Memory { .. } => panic!("an HTTP listener has an HTTP address"),
    }
}

async fn tcp_to(listener: &dyn Listener) -> TcpStream {
    TcpStream::connect(socket_address(&listener.address())).await.unwrap()
}

async fn websocket_to(listener: &dyn Listener) -> WebSocketStream<TcpStream> {
    let tcp = tcp_to(listener).await;
    client_async(format!("ws://localhost{}", http::PATH), tcp).await.unwrap().0
}

// All that comes until the other side is done with this socket.
async fn rest_of(socket: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = socket.read(&mut buffer).await {
        rest.extend_from_slice(&buffer[..length]);
    }
    rest
}

#[tokio::test]
async fn http_conforms() {
    conformance::all(&Sides {
        dialer: &alice(),
        dialing: key(1).id(),
        listener: &HttpTransport::new(key(2), HttpOptions::default()),
        listening: key(2).id(),
        at: anywhere(),
        dials: Dials::Places,
    })
    .await;
}

#[tokio::test]
async fn http_conforms_with_a_queue_smaller_than_a_frame() {
    let options = HttpOptions { outbound: 1000, ..HttpOptions::default() };
    conformance::all(&Sides {
        dialer: &HttpTransport::new(key(1), options.clone()),
        dialing: key(1).id(),
        listener: &HttpTransport::new(key(2), options),
        listening: key(2).id(),
        at: anywhere(),
        dials: Dials::Places,
    })
    .await;
}

#[tokio::test]
async fn a_browser_learns_what_this_is_and_other_routes_are_served_beside_it() {
    let whence = get(async |ConnectInfo(from): ConnectInfo<std::net::SocketAddr>| from.ip().to_string());
    let transport = HttpTransport::new(key(2), HttpOptions::default());
    let transport = transport.with_routes(Router::new().route("/whence", whence));
    let mut listener = transport.listen(&anywhere()).await.unwrap();
    for (path, answer) in [("/", "This is a driftless peer."), ("/whence", "127.0.0.1"), ("/other", "404")] {
        let mut socket = tcp_to(&*listener).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let text = String::from_utf8(rest_of(&mut socket).await).unwrap();
        assert!(text.contains(answer), "{path}: {text}");
    }
    connect(&alice(), &mut *listener).await;
}

#[tokio::test]
async fn garbage_in_place_of_a_handshake_is_dropped_and_others_go_on() {
    let mut listener = bob_listens(HttpOptions::default()).await;
    let (mut dialed, mut accepted) = connect(&alice(), &mut *listener).await;
    // 32 bytes of anything are a Noise key; what follows them cannot be.
    for garbage in [vec![b"garbage".to_vec()], vec![vec![7; 32], vec![7; 64]], vec![vec![0; 60_000]]] {
        let mut socket = websocket_to(&*listener).await;
        for message in garbage {
            let _ = socket.send(Message::Binary(message.into())).await;
        }
        while let Some(Ok(_)) = socket.next().await {}
    }
    let mut socket = websocket_to(&*listener).await;
    socket.send(Message::Text("hello".into())).await.unwrap();
    assert!(!matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
    dialed.sender.send(b"still here".to_vec()).await.unwrap();
    assert_eq!(accepted.receiver.recv().await, Ok(Some(b"still here".to_vec())));
}

#[tokio::test]
async fn a_message_that_claims_a_gigabyte_is_refused_by_its_header() {
    let listener = bob_listens(HttpOptions::default()).await;
    let mut socket = tcp_to(&*listener).await;
    socket.write_all(UPGRADE.as_bytes()).await.unwrap();
    // A masked binary message of 2^30 bytes, of which none follows.
    let header = [&[0x82, 0xff][..], &(1_u64 << 30).to_be_bytes(), &[0; 4]].concat();
    socket.write_all(&header).await.unwrap();
    rest_of(&mut socket).await;
}

#[tokio::test(start_paused = true)]
async fn half_open_connections_are_dropped_at_the_time_limit() {
    let listener = bob_listens(HttpOptions::default()).await;
    // Nothing; half a head; a whole request and then no other; an upgrade without a handshake.
    for said in ["", "GET / HTTP/1.1\r\nhost: ", "GET / HTTP/1.1\r\nhost: a\r\n\r\n", UPGRADE] {
        let begun = Instant::now();
        let mut socket = tcp_to(&*listener).await;
        socket.write_all(said.as_bytes()).await.unwrap();
        rest_of(&mut socket).await;
        assert_eq!(begun.elapsed().as_secs(), 10, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_a_byte_at_a_time_is_dropped_at_the_time_limit() {
    let listener = bob_listens(HttpOptions::default()).await;
    let begun = Instant::now();
    let (mut reading, mut writing) = tcp_to(&*listener).await.into_split();
    let drip = async {
        let mut every_second = tokio::time::interval(Duration::from_secs(1));
        while writing.write_all(b"G").await.is_ok() {
            every_second.tick().await;
        }
    };
    let mut byte = [0];
    tokio::select! {
        () = drip => {}
        _ = reading.read(&mut byte) => {}
    }
    assert!((10..=11).contains(&begun.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_unreachable_after_the_time_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::http("127.0.0.1", silent.local_addr().unwrap().port()).unwrap();
    let begun = Instant::now();
    let refused = alice().dial(&address).await.map(|connection| connection.peer);
    assert!(matches!(refused, Err(NetError::Unreachable { reason, .. }) if reason.contains("10 s")));
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn a_server_that_is_no_peer_refuses_and_says_so() {
    for (answer, why) in [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "404"),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "too many"),
        ("SSH-2.0-OpenSSH_9.9\r\n", "does not speak HTTP"),
        ("", "closed the connection"),
    ] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::http("127.0.0.1", server.local_addr().unwrap().port()).unwrap();
        let serve = async {
            let mut socket = server.accept().await.unwrap().0;
            let mut head = [0; 4096];
            let _ = socket.read(&mut head).await;
            socket.write_all(answer.as_bytes()).await.unwrap();
        };
        let dialer = alice();
        let (refused, ()) = tokio::join!(dialer.dial(&address), serve);
        let refused = refused.map(|connection| connection.peer);
        assert!(
            matches!(&refused, Err(NetError::Refused { reason, .. }) if reason.contains(why)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn strangers_of_one_source_are_refused_past_their_cap_while_a_proven_peer_goes_on() {
    let mut listener = bob_listens(HttpOptions::default()).await;
    let (mut dialed, mut accepted) = connect(&alice(), &mut *listener).await;
    accepted.receiver.limit(MAX_FRAME);

    let mut waiting = Vec::new();
    let mut turned_away = 0;
    for _ in 0..40 {
        waiting.push(tcp_to(&*listener).await);
        if waiting.len() > 32 {
            let answer = rest_of(&mut waiting.pop().unwrap()).await;
            assert!(answer.starts_with(b"HTTP/1.1 503"), "{}", String::from_utf8_lossy(&answer));
            turned_away += 1;
        }
    }
    assert_eq!(turned_away, 8);
    let refused = alice().dial(&listener.address()).await.map(|connection| connection.peer);
    assert!(matches!(refused, Err(NetError::Refused { .. })), "{refused:?}");

    dialed.sender.send(b"still here".to_vec()).await.unwrap();
    assert_eq!(accepted.receiver.recv().await, Ok(Some(b"still here".to_vec())));

    // As many as leave can come, once the listener has noticed.
    drop(waiting);
    while alice().dial(&listener.address()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_has_not_proven_author_keys_counts_as_a_stranger() {
    let mut listener = bob_listens(HttpOptions { unproven_per_source: 2, ..HttpOptions::default() }).await;
    let (_one, mut first) = connect(&alice(), &mut *listener).await;
    let (_two, _second) = connect(&alice(), &mut *listener).await;
    assert!(alice().dial(&listener.address()).await.is_err());
    first.receiver.limit(MAX_FRAME);
    connect(&alice(), &mut *listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_lives_by_its_pings() {
    let mut listener = bob_listens(HttpOptions::default()).await;
    let (mut dialed, mut accepted) = connect(&alice(), &mut *listener).await;
    let an_hour = Duration::from_secs(3600);
    let (ours, theirs) =
        tokio::join!(timeout(an_hour, dialed.receiver.recv()), timeout(an_hour, accepted.receiver.recv()));
    assert!(ours.is_err() && theirs.is_err(), "{ours:?} {theirs:?}");
    dialed.sender.send(b"still here".to_vec()).await.unwrap();
    assert_eq!(accepted.receiver.recv().await, Ok(Some(b"still here".to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_dropped() {
    let mut listener = bob_listens(HttpOptions::default()).await;
    let mute = HttpOptions { ping: Duration::from_secs(3600), ..HttpOptions::default() };
    // Nobody reads at the other end, so it answers no pings either.
    let (_dialed, mut accepted) = connect(&HttpTransport::new(key(1), mute), &mut *listener).await;
    let begun = Instant::now();
    let ended = accepted.receiver.recv().await;
    assert!(matches!(ended, Err(NetError::Timeout(_))), "{ended:?}");
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_dropped() {
    let mut listener = bob_listens(HttpOptions::default()).await;
    let (_dialed, mut accepted) = connect(&alice(), &mut *listener).await;
    let begun = Instant::now();
    let ended = loop {
        if let Err(error) = accepted.sender.send(vec![1; 60_000]).await {
            break error;
        }
        if let Err(error) = accepted.sender.send(noise(60_000)).await {
            break error;
        }
    };
    assert!(matches!(ended, NetError::Timeout(_)), "{ended:?}");
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert_eq!(accepted.receiver.recv().await, Err(ended));
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let bytes = std::iter::from_fn(|| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        Some((state >> 56) as u8)
    });
    bytes.take(length).collect()
}

// Passes everything on, until told to put `bytes` into what the dialer reads.
async fn somebody_in_between(to: &Address, bytes: &'static [u8]) -> (Address, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::http("127.0.0.1", listener.local_addr().unwrap().port()).unwrap();
    let to = socket_address(to);
    let (now, told) = oneshot::channel();
    tokio::spawn(async move {
        let mut near = listener.accept().await.unwrap().0;
        let mut far = TcpStream::connect(to).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
            _ = told => {}
        }
        near.write_all(bytes).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    (address, now)
}

#[tokio::test]
async fn somebody_in_between_can_only_pass_on_or_cut() {
    // A clean WebSocket close, and a record of 40 bytes: neither is taken for the peer's.
    let record: &[u8] = &[
        0x82, 40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
        26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    ];
    for (bytes, error) in [
        (&[0x88, 0][..], NetError::Closed),
        (record, NetError::Protocol("a record that was altered on its way")),
    ] {
        let mut listener = bob_listens(HttpOptions::default()).await;
        let (between, now) = somebody_in_between(&listener.address(), bytes).await;
        let dialer = alice();
        let between = between.with_peer(key(2).id());
        let (dialed, accepted) = tokio::join!(dialer.dial(&between), listener.accept());
        let (mut dialed, mut accepted) = (dialed.unwrap(), accepted.unwrap());
        accepted.sender.send(b"passed on".to_vec()).await.unwrap();
        assert_eq!(dialed.receiver.recv().await, Ok(Some(b"passed on".to_vec())));
        now.send(()).unwrap();
        assert_eq!(dialed.receiver.recv().await, Err(error));
    }
}

#[tokio::test]
async fn a_listener_is_nobody_else_and_a_port_is_taken_once() {
    let named = anywhere().with_peer(key(9).id());
    let refused = alice().listen(&named).await.map(|listener| listener.address());
    assert_eq!(refused, Err(NetError::WrongPeer { expected: key(9).id(), found: key(1).id() }));
    let first = alice().listen(&anywhere()).await.unwrap();
    let again = alice().listen(&first.address()).await.map(|listener| listener.address());
    assert!(matches!(again, Err(NetError::Unreachable { .. })));
    let elsewhere = Address::memory("alice").unwrap();
    let refused = alice().dial(&elsewhere).await.map(|connection| connection.peer);
    assert_eq!(refused, Err(NetError::Address(elsewhere)));
}
