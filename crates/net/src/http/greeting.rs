//! The first messages on a WebSocket: the handshake, then the proofs; out of it comes a connection with a proven peer.
//! The caller bounds the time.

use std::net::IpAddr;
use std::sync::Arc;

use driftless_core::id::PeerId;

use super::link;
use super::socket::Socket;
use super::{HttpOptions, Identity};
use crate::gate::Slot;
use crate::noise::{Handshake, Role};
use crate::transport::{Connection, Meter, NetError};

/// What is known of a socket before its first message.
pub(super) struct Arrival {
    pub(super) source: Option<IpAddr>,
    /// The place it takes at a listener.
    pub(super) slot: Option<Arc<Slot>>,
    pub(super) meter: Meter,
}

/// Calls whoever answered; `expected` is the only peer that may.
pub(super) async fn call(
    identity: &Identity,
    options: &HttpOptions,
    mut socket: Socket,
    arrival: Arrival,
    expected: Option<PeerId>,
) -> Result<Connection, NetError> {
    let mut handshake = Handshake::new(Role::Dialer, &identity.process)?;
    socket.send(handshake.write()?).await?;
    handshake.read(&socket.recv().await?)?;
    socket.send(handshake.write()?).await?;
    let mut channel = handshake.finish()?;
    let (peer, encodings) = channel.verify(&socket.recv().await?)?;
    if let Some(expected) = expected.filter(|expected| *expected != peer) {
        return Err(NetError::WrongPeer { expected, found: peer });
    }
    socket.send(channel.prove(&identity.node)?).await?;
    Ok(link::connect(peer, encodings, channel, socket, arrival, options))
}

/// Answers whoever called.
pub(super) async fn answer(
    identity: &Identity,
    options: &HttpOptions,
    mut socket: Socket,
    arrival: Arrival,
) -> Result<Connection, NetError> {
    let mut handshake = Handshake::new(Role::Listener, &identity.process)?;
    handshake.read(&socket.recv().await?)?;
    socket.send(handshake.write()?).await?;
    handshake.read(&socket.recv().await?)?;
    let mut channel = handshake.finish()?;
    socket.send(channel.prove(&identity.node)?).await?;
    let (peer, encodings) = channel.verify(&socket.recv().await?)?;
    Ok(link::connect(peer, encodings, channel, socket, arrival, options))
}
