//! Those who only hold a connection: half open at each stage there is, or proven, asking for everything, reading nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use driftless::{Address, SpaceId};
use driftless_core::reconcile::Summary;
use driftless_core::session::{Message, numbered};
use driftless_core::sign::{AuthorKey, Domain, NodeKey};
use driftless_net::{Connection, HttpOptions, HttpTransport, MAX_FRAME, Place, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const UPGRADE: &str = "GET /driftless/1 HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

fn socket_address(address: &Address) -> SocketAddr {
    match &address.place {
        Place::Http { host, port } => SocketAddr::new(host.parse().unwrap(), *port),
        Place::Iroh { .. } | Place::Memory { .. } => unreachable!(),
    }
}

/// A socket that stops half way: after nothing, in the head of its request, after the upgrade, or in the handshake.
pub(crate) async fn half_open(n: usize, from: IpAddr, to: &Address) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let mut socket = socket.connect(socket_address(to)).await.unwrap();
    let said: Vec<u8> = match n % 4 {
        0 => Vec::new(),
        1 => b"GET /driftless/1 HTTP/1.1\r\nhost: ".to_vec(),
        2 => UPGRADE.into(),
        // A masked message of 32 bytes, which may be a key: the first message of a handshake.
        _ => [UPGRADE.as_bytes(), &[0x82, 0x80 | 32, 0, 0, 0, 0], &[9; 32]].concat(),
    };
    // It may have been turned away already.
    let _ = socket.write_all(&said).await;
    if n % 4 >= 2 {
        let mut answer = [0; 16];
        let _ = tokio::time::timeout(Duration::from_millis(200), socket.read(&mut answer)).await;
    }
    socket
}

/// A peer that has proven a key, asks for a whole space, and reads nothing of it.
pub(crate) async fn slow_reader(n: u64, to: &Address, space: SpaceId) -> Connection {
    let mut seed = [77; 32];
    seed[..8].copy_from_slice(&n.to_be_bytes());
    let (node, key) = (NodeKey::from_seed(&seed), AuthorKey::from_seed(&seed));
    let us = node.id();
    let mut connection = HttpTransport::new(node, HttpOptions::default()).dial(to).await.unwrap();
    let nonce = [5; 16];
    let hello = Message::Hello { version: 1, nonce };
    connection.sender.send(numbered(0, &hello)).await.unwrap();
    let heard = connection.receiver.recv().await.unwrap().unwrap();
    let Ok(Message::Hello { nonce: theirs, .. }) = Message::decode(&heard[1..]) else {
        panic!("no greeting")
    };
    let signed = [&[0][..], &us.0, &connection.peer.0, &nonce, &theirs].concat();
    let proof = Message::Proof(vec![(key.id(), key.sign(Domain::AuthorProof, &[&signed]))]);
    connection.sender.send(numbered(1, &proof)).await.unwrap();
    connection.receiver.recv().await.unwrap().unwrap();
    connection.receiver.limit(MAX_FRAME);
    let open = Message::Open { slot: 0, space, invite: None, summary: Summary::default() };
    connection.sender.send(numbered(2, &open)).await.unwrap();
    connection
}
