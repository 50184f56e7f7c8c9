//! Peers over HTTP/1.1: a WebSocket at `/driftless/1` whose binary messages are Noise records, so that a plain
//! `http://host:port` is confidential and both sides are proven. Other routes may be served beside it.
//!
//! What a stranger can cost is bounded here: sockets (the gate), time (header, handshake, silence, slowness), memory
//! (one record, then the limit of the receiver; the queue of what is sent).

mod client;
mod greeting;
mod link;
mod server;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use driftless_core::sign::NodeKey;
use tracing::{Instrument, debug_span};

use crate::address::{Address, Place};
use crate::noise::ProcessKey;
use crate::transport::{BoxFuture, Connection, Listener, NetError, Transport};

/// Where peers connect. The number is the version of all that follows.
pub const PATH: &str = "/driftless/1";

/// A side that wants to be heard says so within this time, whatever the network.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Silence after which the other side is taken for gone: three pings and some.
const IDLE: Duration = Duration::from_secs(60);
/// Between two pings; routers forget connections that are silent for half a minute.
const PING: Duration = Duration::from_secs(20);
/// One record may take this long to leave: 64 KiB a minute is less than any network that is of use.
const STALL: Duration = Duration::from_secs(60);
/// Open sockets: some memory each, and a file descriptor.
const CONNECTIONS: usize = 4096;
/// Of these, sockets of peers that the session has not called proven: a stranger's record is held before it is known.
const UNPROVEN: usize = 256;
/// Of these, sockets from one source: eight sources can fill `UNPROVEN`, one cannot.
const UNPROVEN_PER_SOURCE: usize = 32;
/// In this time a peer is proven on any network that is of use; who is not by then makes room where there is none.
const GRACE: Duration = Duration::from_secs(3);
/// Bytes that wait for one peer to take them: seven of the largest frames.
const OUTBOUND: usize = 8 * 1024 * 1024;

/// The limits of an `HttpTransport`. Each is the default unless set.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Time to send the head of a request. If left unset, 10 s.
    pub header: Duration,
    /// Time from there, or from dialing, until both sides are proven. If left unset, 10 s.
    pub handshake: Duration,
    /// Silence after which a connection is dropped. If left unset, 60 s.
    pub idle: Duration,
    /// Time between two pings that we send. If left unset, 20 s.
    pub ping: Duration,
    /// Time a peer may take for one record before it is too slow. If left unset, 60 s.
    pub stall: Duration,
    /// Sockets of one listener. If left unset, 4,096.
    pub connections: usize,
    /// Sockets whose peer has not proven author keys (`Receiver::limit`), plain HTTP included. If left unset, 256.
    pub unproven: usize,
    /// The same for one source: an IPv4 address, or 64 bits of an IPv6 address. If left unset, 32.
    pub unproven_per_source: usize,
    /// Time after which a socket whose peer has not proven author keys is closed if another one needs its place. If left
    /// unset, 3 s.
    pub grace: Duration,
    /// Bytes that may wait for one peer before `send` waits. If left unset, 8 MiB.
    pub outbound: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            header: HANDSHAKE,
            handshake: HANDSHAKE,
            idle: IDLE,
            ping: PING,
            stall: STALL,
            connections: CONNECTIONS,
            unproven: UNPROVEN,
            unproven_per_source: UNPROVEN_PER_SOURCE,
            grace: GRACE,
            outbound: OUTBOUND,
        }
    }
}

/// A `Transport` over HTTP. Clones share the node key and the key of the process.
#[derive(Clone)]
pub struct HttpTransport {
    identity: Arc<Identity>,
    options: Arc<HttpOptions>,
    routes: Router,
}

/// Who we are on every connection of one transport.
struct Identity {
    node: NodeKey,
    process: ProcessKey,
}

impl HttpTransport {
    /// Connects and listens as the database with this node key. Nothing is opened before `dial` or `listen`, which
    /// need a tokio runtime with IO and time.
    pub fn new(node: NodeKey, options: HttpOptions) -> Self {
        let identity = Arc::new(Identity { node, process: ProcessKey::generate() });
        Self { identity, options: Arc::new(options), routes: Router::new() }
    }

    /// Serves `routes` on the same sockets, besides `/` and `PATH`, which they must not contain. Requests carry
    /// `axum::extract::ConnectInfo<SocketAddr>`; their sockets count as unproven.
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }
}

impl Transport for HttpTransport {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, NetError>> {
        let step = debug_span!("net.dial", %address);
        Box::pin(client::dial(&self.identity, &self.options, address).instrument(step))
    }

    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Listener>, NetError>> {
        Box::pin(server::listen(self.identity.clone(), self.options.clone(), self.routes.clone(), address))
    }
}

fn host_and_port(address: &Address) -> Result<(&str, u16), NetError> {
    match &address.place {
        Place::Http { host, port } => Ok((host, *port)),
        Place::Iroh { .. } | Place::Memory { .. } => Err(NetError::Address(address.clone())),
    }
}
