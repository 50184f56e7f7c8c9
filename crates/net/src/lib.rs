//! Bytes in flight: the `Transport` seam, and its adapters. It has never heard of commits, of storage or of spaces.
//!
//! **The contract.** A transport dials an [`Address`] or listens at one; either gives a [`Connection`] whose `peer` is
//! *proven*, not claimed. A connection carries whole frames in order, each exactly once, both ways at the same time,
//! until it ends. It ends cleanly (`recv` gives `None`: the other side called `close` and everything it sent before has
//! arrived) or with an error, and an error is terminal: what was not yet received may or may not have been sent. `send`
//! waits while the other side is slow, so memory is bounded, and neither `send` nor `recv` loses anything when its
//! future is dropped. No frame above the receiver's limit is ever held in memory.
//!
//! Retrying, choosing among addresses, and what frames mean is above this seam. Each adapter passes `conformance`.
//! Modules are listed low to high; a module uses only those above it.

mod address;

mod source;

mod neighbours;

mod transport;

#[cfg(any(feature = "http", feature = "iroh"))]
mod compression;

#[cfg(any(feature = "http", feature = "iroh"))]
mod framing;

#[cfg(any(feature = "http", feature = "iroh"))]
mod gate;

#[cfg(any(feature = "http", feature = "iroh"))]
mod outbound;

mod memory;

pub mod mailbox;

mod by_address;

#[cfg(feature = "http")]
mod noise;

#[cfg(feature = "http")]
pub mod http;

#[cfg(feature = "iroh")]
pub mod iroh;

pub mod conformance;

pub use address::{Address, AddressError, Place};
pub use by_address::ByAddress;
#[cfg(any(feature = "http", feature = "iroh"))]
#[doc(hidden)]
pub use framing::{cut_frame, join_records};
#[cfg(feature = "http")]
pub use http::{HttpOptions, HttpTransport};
#[cfg(feature = "iroh")]
pub use iroh::{IrohOptions, IrohTransport, Relay};
pub use memory::{MemoryNetwork, MemoryTransport, pair};
pub use neighbours::{MAX_NEIGHBOURS, Neighbours};
pub use source::Source;
pub use transport::{
    BoxFuture, Connection, Listener, MAX_FRAME, Meter, NetError, Receiver, Sender, Traffic, Transport,
    UNPROVEN_FRAME,
};
