//! Listening: peers are let in by the gate, proven by TLS, greeted, and only then handed to `accept`. One task each;
//! whatever it does, the others go on.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use driftless_core::id::PeerId;
use iroh::TransportAddr;
use iroh::Watcher;
use iroh::endpoint::{Incoming, IncomingAddr};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::dial::source;
use super::endpoint::{Bound, Endpoints};
use super::link::{self, Arrival};
use super::{Identity, Relay};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug_span};

use crate::address::{Address, MAX_SOCKETS, Place};
use crate::gate::{Caps, Gate, Slot};
use crate::source::Source;
use crate::transport::{BoxFuture, Connection, Listener, NetError};

/// Proven connections that `accept` has not taken yet.
const BACKLOG: usize = 64;
/// How long a listener waits for its sockets to be known, and for a relay to take it.
const READY: Duration = Duration::from_secs(5);

pub(super) async fn listen(
    identity: Arc<Identity>,
    endpoints: &Endpoints,
    address: &Address,
) -> Result<Box<dyn Listener>, NetError> {
    let Place::Iroh { sockets, .. } = &address.place else {
        return Err(NetError::Address(address.clone()));
    };
    let ours = identity.peer;
    if let Some(expected) = address.peer.filter(|expected| *expected != ours) {
        return Err(NetError::WrongPeer { expected, found: ours });
    }
    let options = &identity.options;
    let gate = Gate::new(Caps {
        connections: options.connections,
        unproven: options.unproven,
        unproven_per_source: options.unproven_per_source,
        grace: options.grace,
    });
    let (proven, backlog) = mpsc::channel(BACKLOG);
    let no_place = |reason| NetError::Unreachable {
        address: address.clone(),
        reason: format!("cannot listen there: {reason}"),
    };
    let bound = endpoints.listening(&identity, sockets).await.map_err(no_place)?;
    if let Some(lan) = identity.lan().map_err(no_place)? {
        bound.announce(lan).map_err(no_place)?;
    }
    // The endpoint holds its door, so the door must not hold the endpoint.
    let (weak, host) = (Arc::downgrade(&bound), identity.clone());
    let let_in = move |incoming: Incoming| {
        let from = incoming.remote_addr();
        let source = match &from {
            IncomingAddr::Ip(socket) => Source::of(socket.ip()),
            IncomingAddr::Relay { url, .. } => Source::Relay(url.to_string()),
            _ => return incoming.ignore(),
        };
        // Where there is little room, nobody takes it in the name of others.
        if matches!(from, IncomingAddr::Ip(_)) && !incoming.remote_addr_validated() && gate.is_crowded() {
            // An error: it is validated.
            let _ = incoming.retry();
            return;
        }
        match gate.enter(source) {
            Some(slot) => {
                let door = Greeter { identity: host.clone(), proven: proven.clone(), bound: weak.clone() };
                tokio::spawn(door.serve(incoming, from, slot));
            }
            None => incoming.refuse(),
        }
    };
    bound.set_door(Some(Box::new(let_in)));
    let address = reached_at(&bound, &identity.options.relay).await.with_peer(ours);
    Ok(Box::new(IrohListener { address, backlog, bound: Some(bound) }))
}

/// Where others find the endpoint, when it knows.
async fn reached_at(bound: &Bound, relay: &Relay) -> Address {
    let endpoint = &bound.endpoint;
    let _ = timeout(READY, async {
        if matches!(relay, Relay::Public | Relay::At(_)) {
            endpoint.online().await;
        }
        let mut known = endpoint.watch_addr();
        while known.get().ip_addrs().next().is_none() && known.updated().await.is_ok() {}
    })
    .await;
    let known = endpoint.addr();
    let mut sockets: Vec<SocketAddr> = known.ip_addrs().copied().collect();
    // Shorter ones first, and those that only neighbours reach last: the address has room for some.
    sockets.sort_by_key(|socket| (socket.is_ipv6(), local_only(socket), *socket));
    sockets.truncate(MAX_SOCKETS);
    let found = known.addrs.iter().find_map(|way| match way {
        TransportAddr::Relay(url) => Some(url.to_string()),
        _ => None,
    });
    // A relay that was named is one also where it is away just now.
    let relay = match relay {
        Relay::At(url) => Some(url.clone()),
        _ => found,
    };
    Address::iroh(&sockets, relay.as_deref())
        .or_else(|_| Address::iroh(&sockets, None))
        .unwrap_or(Address { place: Place::Iroh { sockets, relay: None }, peer: None })
}

fn local_only(socket: &SocketAddr) -> bool {
    match socket {
        SocketAddr::V4(socket) => socket.ip().is_link_local(),
        SocketAddr::V6(socket) => socket.ip().is_unicast_link_local() || socket.ip().is_unique_local(),
    }
}

struct IrohListener {
    address: Address,
    backlog: mpsc::Receiver<Connection>,
    // Until it is closed.
    bound: Option<Arc<Bound>>,
}

impl IrohListener {
    fn shut(&mut self) {
        if let Some(bound) = self.bound.take() {
            bound.set_door(None);
        }
        self.backlog.close();
        // What has been proven but not been taken is dropped: it would keep the endpoint.
        while self.backlog.try_recv().is_ok() {}
    }
}

impl Drop for IrohListener {
    fn drop(&mut self) {
        self.shut();
    }
}

impl Listener for IrohListener {
    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetError>> {
        Box::pin(async { self.backlog.recv().await.ok_or(NetError::Closed) })
    }

    fn address(&self) -> Address {
        self.address.clone()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.shut();
        Box::pin(std::future::ready(()))
    }
}

/// What greets one peer.
struct Greeter {
    identity: Arc<Identity>,
    proven: mpsc::Sender<Connection>,
    bound: Weak<Bound>,
}

impl Greeter {
    async fn serve(self, incoming: Incoming, from: IncomingAddr, slot: Arc<Slot>) {
        let place = slot.clone();
        // Whoever fails is dropped without a word: it learns nothing, and costs nothing more.
        let step = debug_span!("net.accept", source = source(&from).map(display), peer = Empty);
        let greeted = timeout(self.identity.options.handshake, self.greet(incoming, &from, slot));
        let greeted = greeted.instrument(step);
        tokio::select! {
            _ = greeted => {}
            () = place.has_to_leave() => {}
        }
    }

    async fn greet(&self, incoming: Incoming, from: &IncomingAddr, slot: Arc<Slot>) -> Result<(), NetError> {
        let connection = incoming.await.map_err(|_| NetError::Closed)?;
        let stream = connection.accept_bi().await.map_err(|_| NetError::Closed)?;
        let bound = self.bound.upgrade().ok_or(NetError::Closed)?;
        let peer = PeerId(*connection.remote_id().as_bytes());
        let arrival = Arrival { peer, source: source(from), slot: Some(slot), bound };
        let connection = link::greet(&self.identity.options, connection, stream, arrival).await?;
        Span::current().record("peer", display(peer));
        self.proven.send(connection).await.map_err(|_| NetError::Closed)
    }
}
