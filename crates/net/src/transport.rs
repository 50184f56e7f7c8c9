//! The seam: what every way to reach a peer offers, and the errors on which callers act differently.
//! Here is no adapter, and nothing that knows what is inside a frame.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless_core::id::PeerId;
use driftless_core::limits::MAX_BODY;
use tokio::sync::watch;

use crate::address::Address;
use crate::neighbours::Neighbours;

/// Bytes of the largest frame: one commit with a full body, its headers and proofs (1.2 MiB).
pub const MAX_FRAME: usize = MAX_BODY + MAX_BODY / 5;
/// Bytes of the largest frame until the session says that the peer has proven author keys: enough for that proof, and
/// all that a stranger can make us hold.
pub const UNPROVEN_FRAME: usize = 4 * 1024;

/// A future on the heap: what a method of a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One way to reach peers, and to be reached.
pub trait Transport: Send + Sync {
    /// Connects to whoever answers at `address`, or only to the peer it names. One attempt, bounded in time.
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, NetError>>;

    /// Waits at `address` for peers to dial. Port 0 takes any free port; `Listener::address` says which.
    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Listener>, NetError>>;

    /// Who is heard of on the local network, from now on; `None` where this transport does not look.
    fn neighbours(&self) -> Result<Option<watch::Receiver<Neighbours>>, NetError> {
        Ok(None)
    }

    /// For the end of the process: cuts what is still open, and waits until the other sides have been told, for which
    /// some networks need this process. Does nothing where the system tells them.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A place where peers can connect, until it is closed or dropped.
pub trait Listener: Send {
    /// The next connection whose peer has proven itself. Whoever fails to is dropped silently, so an error means that
    /// this listener is closed. Cancel-safe: a dropped future loses no connection.
    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetError>>;

    /// Where others reach this listener, with our own peer id: what they should dial.
    fn address(&self) -> Address;

    /// Accepts no more. Connections that were accepted go on.
    fn close(&mut self) -> BoxFuture<'_, ()>;
}

/// Two halves of one connection, to be moved to where frames are made and where they are read.
///
/// Read from `receiver` while you wait in `send`: two sides that both wait in `send` and read nothing wait for ever
/// (or until the transport calls the other side too slow).
pub struct Connection {
    /// The other side; it has proven that it holds this node key.
    pub peer: PeerId,
    /// The network address the other side came from, for status and caps per source; `None` within one process.
    pub source: Option<IpAddr>,
    /// Frames to the peer.
    pub sender: Box<dyn Sender>,
    /// Frames from the peer.
    pub receiver: Box<dyn Receiver>,
    /// Bytes on the wire of this connection, for status.
    pub meter: Meter,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({:?} {:?})", self.peer, self.meter.traffic())
    }
}

/// The half that sends. Dropped without `close`, it cuts the connection: frames on their way may be lost.
pub trait Sender: Send {
    /// Hands over one frame; waits while too many bytes wait for a slow peer. `TooLarge` (above `MAX_FRAME`) leaves
    /// the connection as it was, any other error is terminal. Success does not mean that the peer has it. Cancel-safe:
    /// a dropped future has either handed over the frame or not touched the connection.
    fn send(&mut self, frame: Vec<u8>) -> BoxFuture<'_, Result<(), NetError>>;

    /// Ends the connection cleanly, both ways: what was handed over before goes out first, then the other side's
    /// `recv` gives `None`. What the other side sends from now on may be lost. To close what either side has closed
    /// is fine.
    fn close(&mut self) -> BoxFuture<'_, Result<(), NetError>>;
}

/// The half that receives.
pub trait Receiver: Send {
    /// The next frame; `None`, now and from then on, after the other side closed cleanly. An error is terminal.
    /// Cancel-safe: a dropped future loses no frame.
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, NetError>>;

    /// The largest frame accepted from now on, at most `MAX_FRAME`; a larger one is `TooLarge`, before it is held in
    /// memory. A connection starts at `UNPROVEN_FRAME`; raising this says that the peer has proven author keys, and
    /// the connection then no longer counts against the caps on strangers. Raise it before telling the peer.
    fn limit(&mut self, bytes: usize);
}

/// Bytes on the wire so far, after compression and encryption, without the headers of the network below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes we sent.
    pub sent: u64,
    /// Bytes we received.
    pub received: u64,
}

/// Counts the traffic of one connection. Clones count the same connection, also after it has ended.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Meter {
    /// What has gone over the wire so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            sent: self.0.sent.load(Ordering::Relaxed),
            received: self.0.received.load(Ordering::Relaxed),
        }
    }

    /// For adapters: counts bytes that went out.
    pub fn add_sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// For adapters: counts bytes that came in.
    pub fn add_received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Why a connection was not made, or ended. A variant exists only where a caller acts differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The address is right for another transport: choose the transport by the address.
    #[error("{0} cannot be reached by this transport; choose the transport by the address")]
    Address(Address),
    /// Nobody answers, or a place to listen at cannot be had. Retry later, or try another address.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        address: Address,
        /// What the system said.
        reason: String,
    },
    /// Somebody answers who does not want to talk, or not this protocol. Retry later.
    #[error("{address} answers but refuses: {reason}")]
    Refused {
        /// Where.
        address: Address,
        /// What it said.
        reason: String,
    },
    /// Another peer answers than the address names. Retrying does not help: get a new address or ticket.
    #[error("expected peer {expected}, but {found} answers there; ask for its new address")]
    WrongPeer {
        /// The peer that the address names.
        expected: PeerId,
        /// The peer that proved itself.
        found: PeerId,
    },
    /// The other side could not prove that it is who it says: somebody may sit in between.
    #[error("the other side could not prove who it is; somebody may sit between you and it")]
    Proof,
    /// The connection was lost or cut, or this side has ended it.
    #[error("the connection is closed")]
    Closed,
    /// A frame above the limit: one to send that must be made smaller, or a peer that breaks the rules.
    #[error("a frame of {size} bytes is above the limit of {limit}")]
    TooLarge {
        /// Bytes of the frame, as announced.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The other side sent what this protocol does not allow.
    #[error("the other side broke the protocol: {0}")]
    Protocol(&'static str),
    /// Something that has a time limit took longer.
    #[error("timed out: {0}")]
    Timeout(&'static str),
}
