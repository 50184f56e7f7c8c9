//! Peers over iroh: QUIC between endpoints that are known by their key, which is the node key, so that TLS proves both
//! sides. iroh finds a way between them: a direct one where it can, through a relay where it cannot.
//!
//! What a stranger can cost is bounded here: connections (the gate), time (handshake, silence, slowness), memory (the
//! window of a connection, one record, then the limit of the receiver; the queue of what is sent). How packets find
//! their way, holes in NATs included, is iroh's. Nobody is asked where a peer is: an address says it; only where that is
//! wanted, the local network.

mod dial;
mod lan;
mod endpoint;
mod link;
mod listen;

use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use driftless_core::id::PeerId;
use driftless_core::sign::NodeKey;
use iroh::SecretKey;
use iroh::tls::CaTlsConfig;
use tokio::sync::watch;
use tracing::{Instrument, debug_span};

use self::lan::Lan;
use crate::address::{Address, AddressError, Place, checked_relay};
use crate::neighbours::Neighbours;
use crate::transport::{BoxFuture, Connection, Listener, NetError, Transport};

/// The protocol of a connection. The number is the version of all that follows.
pub const ALPN: &[u8] = b"driftless/1";

/// A side that wants to be heard says so within this time, whatever the network.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Silence after which the other side is taken for gone; iroh says that it is there every 5 seconds.
const IDLE: Duration = Duration::from_secs(30);
/// One record may take this long to leave.
const STALL: Duration = Duration::from_secs(60);
/// Open connections: some memory each.
const CONNECTIONS: usize = 4096;
/// Of these, connections of peers that the session has not called proven: a stranger's record is held before.
const UNPROVEN: usize = 256;
/// Of these, connections from one source: eight sources can fill `UNPROVEN`, one cannot.
const UNPROVEN_PER_SOURCE: usize = 32;
/// In this time a peer is proven on any network that is of use; who is not by then makes room where there is none.
const GRACE: Duration = Duration::from_secs(3);
/// Bytes that wait for one peer to take them: seven of the largest frames.
const OUTBOUND: usize = 8 * 1024 * 1024;

/// Which relays are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Relay {
    /// None at all: only direct ways, and nobody is asked for anything.
    None,
    /// None of our own; but where an address names a relay, that one.
    #[default]
    Named,
    /// Those that the makers of iroh run, whichever is near; and those that addresses name.
    Public,
    /// The one at this URL, `https://host`; and those that addresses name.
    At(String),
}

impl FromStr for Relay {
    type Err = AddressError;

    /// `none`, `named`, `default` (those of the makers of iroh) or a URL.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text {
            "none" => Ok(Self::None),
            "named" => Ok(Self::Named),
            "default" => Ok(Self::Public),
            url => checked_relay(url).map(Self::At),
        }
    }
}

/// The limits of an `IrohTransport`, and its relays. Each is the default unless set.
#[derive(Debug, Clone)]
pub struct IrohOptions {
    /// Which relays are used. If left unset, those that addresses name.
    pub relay: Relay,
    /// Whether this peer says on the local network that it is there while it listens, and looks who else is. Then an
    /// address that is a peer alone leads to whoever is there under that key. If left unset, not.
    pub lan: bool,
    /// Which certificates of relays are trusted. If left unset, those that browsers trust. Peers need none.
    pub relay_certificates: CaTlsConfig,
    /// Time from the first packet, or from dialing, until both sides have greeted. If left unset, 10 s.
    pub handshake: Duration,
    /// Silence after which a connection is dropped. If left unset, 30 s.
    pub idle: Duration,
    /// Time a peer may take for one record before it is too slow. If left unset, 60 s.
    pub stall: Duration,
    /// Connections of one listener. If left unset, 4,096.
    pub connections: usize,
    /// Connections whose peer has not proven author keys (`Receiver::limit`). If left unset, 256.
    pub unproven: usize,
    /// The same for one source: an IPv4 address, 64 bits of an IPv6 address, or a relay. If left unset, 32.
    pub unproven_per_source: usize,
    /// Time after which a connection whose peer has not proven author keys is closed if another one needs its place. If
    /// left unset, 3 s.
    pub grace: Duration,
    /// Bytes that may wait for one peer before `send` waits. If left unset, 8 MiB.
    pub outbound: usize,
}

impl Default for IrohOptions {
    fn default() -> Self {
        Self {
            relay: Relay::default(),
            lan: false,
            relay_certificates: CaTlsConfig::default(),
            handshake: HANDSHAKE,
            idle: IDLE,
            stall: STALL,
            connections: CONNECTIONS,
            unproven: UNPROVEN,
            unproven_per_source: UNPROVEN_PER_SOURCE,
            grace: GRACE,
            outbound: OUTBOUND,
        }
    }
}

/// A `Transport` over iroh. Clones share the node key and its endpoints.
#[derive(Clone)]
pub struct IrohTransport {
    identity: Arc<Identity>,
    endpoints: Arc<endpoint::Endpoints>,
}

/// Who we are on every connection of one transport, and what we allow on it.
struct Identity {
    peer: PeerId,
    secret: SecretKey,
    options: IrohOptions,
    lan: OnceLock<Result<Lan, String>>,
}

impl Identity {
    /// The local network, if it is wanted; looking begins with the first who asks.
    fn lan(&self) -> Result<Option<&Lan>, String> {
        if !self.options.lan {
            return Ok(None);
        }
        let lan = self.lan.get_or_init(|| Lan::start(self.secret.public()));
        lan.as_ref().map(Some).map_err(Clone::clone)
    }
}

impl IrohTransport {
    /// Connects and listens as the database with this node key. Nothing is opened before `dial` or `listen`, which
    /// need a tokio runtime with IO and time.
    pub fn new(node: &NodeKey, options: IrohOptions) -> Self {
        let secret = SecretKey::from_bytes(&node.seed());
        let identity = Identity { peer: node.id(), secret, options, lan: OnceLock::new() };
        Self { identity: Arc::new(identity), endpoints: Arc::default() }
    }
}

impl Transport for IrohTransport {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, NetError>> {
        let step = debug_span!("net.dial", %address);
        Box::pin(dial::dial(&self.identity, &self.endpoints, address).instrument(step))
    }

    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Listener>, NetError>> {
        Box::pin(listen::listen(self.identity.clone(), &self.endpoints, address))
    }

    fn neighbours(&self) -> Result<Option<watch::Receiver<Neighbours>>, NetError> {
        let nowhere = |reason| {
            let place = Place::Iroh { sockets: Vec::new(), relay: None };
            NetError::Unreachable { address: Address { place, peer: None }, reason }
        };
        Ok(self.identity.lan().map_err(nowhere)?.map(Lan::neighbours))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.endpoints.close())
    }
}
