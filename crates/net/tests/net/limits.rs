//! The limits of a listener by their name and with their default: one below, at, and one above. Those of frames
//! (`UNPROVEN_FRAME`, `MAX_FRAME`) are in `conformance`, for every transport.

use std::net::SocketAddr;
use std::time::Duration;

use driftless_core::sign::NodeKey;
use driftless_net::{Address, HttpOptions, HttpTransport, Listener, Place, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Sockets of one source that have proven nothing, and of all sources.
const UNPROVEN_PER_SOURCE: usize = 32;
const UNPROVEN: usize = 256;
/// Bytes of the head of a request.
const MAX_HEAD: usize = 16 * 1024;

async fn listening(options: HttpOptions) -> (Box<dyn Listener>, SocketAddr) {
    let transport = HttpTransport::new(NodeKey::from_seed(&[2; 32]), options);
    let listener = transport.listen(&Address::http("127.0.0.1", 0).unwrap()).await.unwrap();
    let Place::Http { host, port } = listener.address().place else { panic!("no HTTP address") };
    (listener, SocketAddr::new(host.parse().unwrap(), port))
}

async fn from(source: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new([127, 0, 0, source].into(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

// Whether a socket was let in: it gets an answer to what it asks, and is not turned away.
async fn is_let_in(socket: &mut TcpStream) -> bool {
    let mut answer = [0; 12];
    let _ = socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let read = timeout(Duration::from_secs(20), socket.read_exact(&mut answer)).await.unwrap();
    read.is_ok() && answer == *b"HTTP/1.1 200"
}

#[tokio::test]
async fn unproven_of_one_source() {
    let (_listener, to) = listening(HttpOptions::default()).await;
    let mut all = Vec::new();
    for n in 1..=UNPROVEN_PER_SOURCE + 1 {
        let mut socket = from(1, to).await;
        assert_eq!(is_let_in(&mut socket).await, n <= UNPROVEN_PER_SOURCE, "{n}");
        all.push(socket);
    }
    // Another source is not concerned.
    assert!(is_let_in(&mut from(2, to).await).await);
}

#[tokio::test]
async fn unproven_of_all_sources() {
    let (_listener, to) = listening(HttpOptions::default()).await;
    let mut all = Vec::new();
    for n in 0..UNPROVEN {
        let mut socket = from(2 + (n / UNPROVEN_PER_SOURCE) as u8, to).await;
        assert!(is_let_in(&mut socket).await, "{n}");
        all.push(socket);
    }
    // One more of a source that has as many as any is turned away; one of a new source takes the place of the oldest
    // of a source that has very many more.
    assert!(!is_let_in(&mut from(2, to).await).await);
    assert!(is_let_in(&mut from(100, to).await).await);
    let mut closed = 0;
    for socket in &mut all {
        let mut rest = Vec::new();
        if timeout(Duration::from_millis(5), socket.read_to_end(&mut rest)).await.is_ok() {
            closed += 1;
        }
    }
    assert_eq!(closed, 1);
}

#[tokio::test]
async fn connections() {
    let (_listener, to) = listening(HttpOptions { connections: 3, ..HttpOptions::default() }).await;
    let mut all = Vec::new();
    for n in 1..=4 {
        let mut socket = from(n, to).await;
        assert_eq!(is_let_in(&mut socket).await, n <= 3, "{n}");
        all.push(socket);
    }
}

#[tokio::test]
async fn the_head_of_a_request() {
    let (_listener, to) = listening(HttpOptions::default()).await;
    // The library fills a buffer of that size before it says that there is no more room.
    for (bytes, taken) in [(MAX_HEAD / 2, true), (MAX_HEAD - 1, true), (2 * MAX_HEAD, false)] {
        let mut socket = from(1, to).await;
        let head = "GET / HTTP/1.1\r\nhost: a\r\nx: ";
        let head = format!("{head}{}\r\n\r\n", "x".repeat(bytes - head.len() - 4));
        let _ = socket.write_all(head.as_bytes()).await;
        let mut answer = [0; 12];
        let read = timeout(Duration::from_secs(20), socket.read_exact(&mut answer)).await.unwrap();
        assert_eq!(read.is_ok() && answer == *b"HTTP/1.1 200", taken, "{bytes}");
    }
}
