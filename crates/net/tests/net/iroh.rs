//! The transport over iroh, on loopback only: directly, and through a relay that runs in the test.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use driftless_core::sign::NodeKey;
use driftless_net::conformance::{self, Dials, Sides};
use driftless_net::{
    Address, ByAddress, HttpOptions, HttpTransport, IrohOptions, IrohTransport, Listener, MAX_FRAME,
    NetError, Place, Relay, Transport, iroh as net_iroh,
};
use iroh::endpoint::presets;
use iroh::test_utils::run_relay_server;
use iroh::tls::CaTlsConfig;
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode};

fn key(n: u8) -> NodeKey {
    NodeKey::from_seed(&[n; 32])
}

fn here() -> Address {
    "iroh:127.0.0.1:0".parse().unwrap()
}

/// Nothing but direct ways, and soon out of patience.
fn direct() -> IrohOptions {
    IrohOptions { relay: Relay::None, handshake: Duration::from_secs(4), ..IrohOptions::default() }
}

fn over(n: u8, options: IrohOptions) -> IrohTransport {
    IrohTransport::new(&key(n), options)
}

async fn bob_listens(options: IrohOptions) -> Box<dyn Listener> {
    over(2, options).listen(&here()).await.unwrap()
}

fn sockets(address: &Address) -> Vec<SocketAddr> {
    match &address.place {
        Place::Iroh { sockets, .. } => sockets.clone(),
        other => panic!("an iroh listener has an iroh address, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn iroh_is_a_transport() {
    conformance::all(&Sides {
        dialer: &over(1, direct()),
        dialing: key(1).id(),
        listener: &over(2, direct()),
        listening: key(2).id(),
        at: here(),
        dials: Dials::Peers,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_smaller_than_a_frame_holds_one_frame() {
    let options = || IrohOptions { outbound: 1000, ..direct() };
    conformance::both_directions_flow_at_once(&Sides {
        dialer: &over(1, options()),
        dialing: key(1).id(),
        listener: &over(2, options()),
        listening: key(2).id(),
        at: here(),
        dials: Dials::Peers,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_says_at_which_sockets_it_is() {
    let listener = bob_listens(direct()).await;
    let text = listener.address().to_string();
    assert_eq!(text.parse(), Ok(listener.address()));
    let sockets = sockets(&listener.address());
    assert!(sockets.len() == 1 && sockets[0].ip().is_loopback() && sockets[0].port() != 0, "{text}");
    assert!(text.ends_with(&format!("#{}", key(2).id())) && !text.contains("http"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_carries_what_has_no_direct_way() {
    let (_, url, _server) = run_relay_server().await.unwrap();
    let url: Relay = url.as_str().parse().unwrap();
    let options = |relay| IrohOptions {
        relay,
        relay_certificates: CaTlsConfig::insecure_skip_verify(),
        ..IrohOptions::default()
    };
    let mut listener = bob_listens(options(url)).await;
    let Place::Iroh { relay, .. } = listener.address().place else { panic!("no iroh address") };
    assert!(relay.is_some());
    // Whoever dials knows only the relay, and has none of its own.
    let relayed = Address { place: Place::Iroh { sockets: Vec::new(), relay }, ..listener.address() };
    let alice = over(1, options(Relay::Named));
    let (dialed, accepted) = tokio::join!(alice.dial(&relayed), listener.accept());
    let (mut dialed, mut accepted) = (dialed.unwrap(), accepted.unwrap());
    assert_eq!((dialed.peer, accepted.peer), (key(2).id(), key(1).id()));
    accepted.receiver.limit(MAX_FRAME);
    let large = vec![7; MAX_FRAME];
    dialed.sender.send(large.clone()).await.unwrap();
    assert_eq!(accepted.receiver.recv().await, Ok(Some(large)));
    dialed.sender.close().await.unwrap();
    assert_eq!(accepted.receiver.recv().await, Ok(None));
    // Without relays there is no way to it.
    let refused = over(3, direct()).dial(&relayed).await.map(|connection| connection.peer);
    assert!(matches!(refused, Err(NetError::Unreachable { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_dialed_says_why() {
    let refused = async |address: &Address| {
        over(1, direct()).dial(address).await.map(|connection| connection.peer).unwrap_err().to_string()
    };
    let listener = bob_listens(direct()).await;
    let whoever = Address { peer: None, ..listener.address() };
    assert!(refused(&whoever).await.contains("which peer"));
    assert!(refused(&listener.address().with_peer(key(1).id())).await.contains("itself"));
    assert!(refused(&"iroh:".parse::<Address>().unwrap().with_peer(key(2).id())).await.contains("no socket"));
    let elsewhere: Address = "http://127.0.0.1:1".parse().unwrap();
    assert_eq!(
        over(1, direct()).dial(&elsewhere).await.map(|connection| connection.peer),
        Err(NetError::Address(elsewhere.clone()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_from_one_source_take_only_their_share_of_places() {
    let mut listener = bob_listens(IrohOptions { unproven_per_source: 2, ..direct() }).await;
    let address = listener.address();
    let alice = over(1, direct());
    let mut kept = Vec::new();
    for _ in 0..2 {
        let (dialed, accepted) = tokio::join!(alice.dial(&address), listener.accept());
        kept.push((dialed.unwrap(), accepted.unwrap()));
    }
    let refused = alice.dial(&address).await.map(|connection| connection.peer);
    assert!(matches!(refused, Err(NetError::Unreachable { .. })), "{refused:?}");
    // Who has proven author keys is no stranger any more.
    kept[0].1.receiver.limit(MAX_FRAME);
    let (dialed, accepted) = tokio::join!(alice.dial(&address), listener.accept());
    assert!(dialed.is_ok() && accepted.is_ok());
}

async fn raw(
    listener: &dyn Listener,
    protocol: &[u8],
) -> (Endpoint, Result<iroh::endpoint::Connection, String>) {
    let endpoint = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled).bind().await.unwrap();
    let mut to = EndpointAddr::new(EndpointId::from_bytes(&key(2).id().0).unwrap());
    for socket in sockets(&listener.address()) {
        to = to.with_ip_addr(socket);
    }
    let connection = endpoint.connect(to, protocol).await.map_err(|error| format!("{error:#}"));
    (endpoint, connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_finds_nobody() {
    let listener = bob_listens(direct()).await;
    let (_endpoint, connection) = raw(&*listener, b"something/1").await;
    assert!(connection.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_record_ends_the_connection() {
    let mut listener = bob_listens(direct()).await;
    // A greeting that is too long, an empty one, a stream that ends.
    for wrong in [&[0, 65, 1][..], &[0, 0], &[255, 255], &[0]] {
        let (_endpoint, connection) = raw(&*listener, net_iroh::ALPN).await;
        let connection = connection.unwrap();
        let (mut outgoing, _incoming) = connection.open_bi().await.unwrap();
        outgoing.write_all(wrong).await.unwrap();
        outgoing.finish().unwrap();
        connection.closed().await;
    }
    // A record that is too long, and one of a stranger's frame that is.
    for wrong in [&[0xff, 0xff][..], &[0, 5, 0, 0, 0x10, 2, 0]] {
        let (_endpoint, connection) = raw(&*listener, net_iroh::ALPN).await;
        let connection = connection.unwrap();
        let (mut outgoing, _incoming) = connection.open_bi().await.unwrap();
        outgoing.write_all(&[0, 1, 0]).await.unwrap();
        let mut accepted = listener.accept().await.unwrap();
        outgoing.write_all(wrong).await.unwrap();
        let refused = accepted.receiver.recv().await.unwrap_err();
        assert!(matches!(refused, NetError::Protocol(_) | NetError::TooLarge { .. }), "{refused:?}");
        connection.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_greets_is_dropped() {
    let listener = bob_listens(IrohOptions { handshake: Duration::from_millis(300), ..direct() }).await;
    let (_endpoint, connection) = raw(&*listener, net_iroh::ALPN).await;
    connection.unwrap().closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_is_closed_tells_the_other_side_at_once() {
    let mut listener = bob_listens(direct()).await;
    let alice = over(1, direct());
    let address = listener.address();
    let (dialed, accepted) = tokio::join!(alice.dial(&address), listener.accept());
    let (_dialed, mut accepted) = (dialed.unwrap(), accepted.unwrap());
    alice.close().await;
    let cut = tokio::time::timeout(Duration::from_secs(5), accepted.receiver.recv()).await;
    assert_eq!(cut, Ok(Err(NetError::Closed)), "long before it is silent for too long");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_chooses_the_transport() {
    let both = |n| {
        ByAddress::new()
            .with(Arc::new(HttpTransport::new(key(n), HttpOptions::default())))
            .with(Arc::new(over(n, direct())))
    };
    let (alice, bob) = (both(1), both(2));
    for at in ["http://127.0.0.1:0", "iroh:127.0.0.1:0"] {
        let mut listener = bob.listen(&at.parse().unwrap()).await.unwrap();
        let address = listener.address();
        assert!(address.to_string().starts_with(&at[..5]));
        let (dialed, accepted) = tokio::join!(alice.dial(&address), listener.accept());
        assert_eq!((dialed.unwrap().peer, accepted.unwrap().peer), (key(2).id(), key(1).id()));
    }
    let elsewhere = Address::memory("bob").unwrap();
    assert_eq!(
        alice.dial(&elsewhere).await.map(|connection| connection.peer),
        Err(NetError::Address(elsewhere.clone()))
    );
}

/// On loopback, and known to the local network.
fn near() -> IrohOptions {
    IrohOptions { lan: true, ..direct() }
}

/// Whether what this machine sends to a group comes back to it; in some containers it does not, and nobody is found.
fn hears_groups() -> bool {
    let try_it = || {
        let (socket, group) = (UdpSocket::bind("0.0.0.0:0")?, Ipv4Addr::new(239, 255, 74, 77));
        socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send_to(b"?", (group, socket.local_addr()?.port()))?;
        socket.recv(&mut [0]).map(drop)
    };
    let heard: std::io::Result<()> = try_it();
    if let Err(error) = &heard {
        eprintln!("not tried: this machine does not carry multicast: {error}");
    }
    heard.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_on_the_local_network_is_found_by_its_key_alone() {
    if !hears_groups() {
        return;
    }
    let alice = over(1, near());
    let mut neighbours = alice.neighbours().unwrap().unwrap();
    let mut listener = bob_listens(near()).await;
    let bob = key(2).id();
    let heard = neighbours.wait_for(|neighbours| neighbours.get(&bob).is_some());
    let at = tokio::time::timeout(Duration::from_secs(20), heard).await.unwrap().unwrap().get(&bob).cloned();
    assert_eq!(at, Some(listener.address()));
    let anywhere: Address = "iroh:".parse::<Address>().unwrap().with_peer(bob);
    let (dialed, accepted) = tokio::join!(alice.dial(&anywhere), listener.accept());
    assert_eq!((dialed.unwrap().peer, accepted.unwrap().peer), (bob, key(1).id()));
    // Alice, who only dials, has said nothing of herself; and who does not look finds nobody.
    assert_eq!(neighbours.borrow().addresses().count(), 1);
    let refused = over(3, direct()).dial(&anywhere).await.map(|connection| connection.peer);
    assert!(matches!(refused, Err(NetError::Unreachable { .. })), "{refused:?}");
    assert!(over(3, direct()).neighbours().unwrap().is_none());
    let nobody = "iroh:".parse::<Address>().unwrap().with_peer(key(9).id());
    let refused = alice.dial(&nobody).await.map(|connection| connection.peer).unwrap_err().to_string();
    assert!(refused.contains("local network"), "{refused}");
}
