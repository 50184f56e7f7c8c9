//! Dialing: the ways that the address names, all at once; the proof of the peer by TLS; the greeting. All of it within
//! one time limit.

use std::error::Error as _;
use std::sync::Arc;

use driftless_core::id::PeerId;
use iroh::endpoint::{ConnectError, ConnectingError, ConnectionError, IncomingAddr, TransportErrorCode};
use iroh::{EndpointAddr, EndpointId, RelayUrl, TransportAddr};
use tokio::time::timeout;

use super::endpoint::{Bound, Endpoints};
use super::link::{self, Arrival};
use super::{ALPN, Identity, Relay};
use crate::address::{Address, Place};
use crate::transport::{Connection, NetError};

/// TLS: the other side speaks none of our protocols.
const NO_PROTOCOL: u64 = 0x100 + 120;
/// The errors of TLS among those of QUIC.
const TLS_ERRORS: std::ops::Range<u64> = 0x100..0x200;

pub(super) async fn dial(
    identity: &Arc<Identity>,
    endpoints: &Endpoints,
    address: &Address,
) -> Result<Connection, NetError> {
    let Place::Iroh { sockets, relay } = &address.place else {
        return Err(NetError::Address(address.clone()));
    };
    let unreachable = |reason: String| NetError::Unreachable { address: address.clone(), reason };
    let peer = address.peer.ok_or_else(|| {
        unreachable("an iroh address must say which peer to look for: add #p_..".to_owned())
    })?;
    if peer == identity.peer {
        return Err(unreachable("it is the address of this database itself".to_owned()));
    }
    let id = EndpointId::from_bytes(&peer.0).map_err(|_| unreachable("no peer has such an id".to_owned()))?;
    let relay = relay.as_ref().filter(|_| identity.options.relay != Relay::None);
    let relay = relay.map(|url| url.parse::<RelayUrl>()).transpose();
    let relay = relay.map_err(|error| unreachable(error.to_string()))?;
    let lan = identity.lan().map_err(unreachable)?.filter(|_| relay.is_none() && sockets.is_empty());
    if relay.is_none() && sockets.is_empty() && lan.is_none() {
        return Err(unreachable("it names no socket, and no relay that may be used".to_owned()));
    }
    let bound = endpoints.dialing(identity).await.map_err(unreachable)?;
    if let Some(relay) = &relay {
        bound.learn_relay(relay).await;
    }
    let limit = identity.options.handshake;
    let dialed = timeout(limit, async {
        let found = match lan {
            Some(lan) => lan.find(id, limit / 2).await,
            None => Vec::new(),
        };
        if lan.is_some() && found.is_empty() {
            return Err(unreachable("nobody on the local network says that it is this peer".to_owned()));
        }
        let sockets = sockets.iter().copied().chain(found);
        let ways = sockets.map(TransportAddr::Ip).chain(relay.map(TransportAddr::Relay));
        connect(identity, bound, EndpointAddr::from_parts(id, ways), peer, address).await
    });
    let dialed = dialed.await;
    dialed.unwrap_or_else(|_| Err(unreachable(format!("no answer within {} s", limit.as_secs()))))
}

async fn connect(
    identity: &Identity,
    bound: Arc<Bound>,
    to: EndpointAddr,
    peer: PeerId,
    address: &Address,
) -> Result<Connection, NetError> {
    let connection = bound.endpoint.connect(to, ALPN).await;
    let connection = connection.map_err(|error| why_not_connected(address, &error))?;
    let refused =
        || NetError::Refused { address: address.clone(), reason: "it ended the handshake".to_owned() };
    let stream = connection.open_bi().await.map_err(|_| refused())?;
    let source = connection.paths().iter().find_map(|path| match path.remote_addr() {
        TransportAddr::Ip(socket) => Some(socket.ip().to_canonical()),
        _ => None,
    });
    let arrival = Arrival { peer, source, slot: None, bound };
    match link::greet(&identity.options, connection, stream, arrival).await {
        Err(NetError::Closed) => Err(refused()),
        greeted => greeted,
    }
}

fn why_not_connected(address: &Address, error: &ConnectError) -> NetError {
    let unreachable = |reason: String| NetError::Unreachable { address: address.clone(), reason };
    let refused = |reason: &str| NetError::Refused { address: address.clone(), reason: reason.to_owned() };
    let why = match error {
        ConnectError::Connection { source, .. }
        | ConnectError::Connecting { source: ConnectingError::ConnectionError { source, .. }, .. } => source,
        ConnectError::Connecting { source: ConnectingError::HandshakeFailure { .. }, .. } => {
            return NetError::Proof;
        }
        other => return unreachable(other.source().map_or_else(|| other.to_string(), ToString::to_string)),
    };
    let code = match why {
        ConnectionError::TransportError(error) => error.code,
        ConnectionError::ConnectionClosed(close) => close.error_code,
        ConnectionError::ApplicationClosed(_) => return refused("it ended the handshake"),
        ConnectionError::VersionMismatch => return refused("it speaks another version of QUIC"),
        other => return unreachable(other.to_string()),
    };
    match u64::from(code) {
        _ if code == TransportErrorCode::CONNECTION_REFUSED => {
            unreachable("it takes no connection now; it may have too many".to_owned())
        }
        NO_PROTOCOL => refused("it is no driftless peer, or of another version"),
        // Another key than the one that was asked for is answered, or none.
        tls if TLS_ERRORS.contains(&tls) => NetError::Proof,
        _ => unreachable(why.to_string()),
    }
}

/// The address that a connection came from, if it came on a direct way.
pub(super) fn source(from: &IncomingAddr) -> Option<std::net::IpAddr> {
    match from {
        IncomingAddr::Ip(socket) => Some(socket.ip().to_canonical()),
        _ => None,
    }
}
