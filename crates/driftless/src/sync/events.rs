//! What sync does, told as it happens: connections, exchanges with their counts, what failed.
//!
//! Nobody waits for a listener: one that is too slow loses what is oldest, and is told how much.

use driftless_core::id::{PeerId, SpaceId};
use tokio::sync::broadcast;

use crate::sync::stream::Moved;

/// Events that wait for one listener.
pub(crate) const EVENTS: usize = 256;

/// Something that the sync engine did, or that happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEvent {
    /// A peer is connected that was not.
    Connected {
        /// Who.
        peer: PeerId,
        /// This side made the connection.
        dialed: bool,
    },
    /// The last connection with a peer ended.
    Disconnected {
        /// With whom.
        peer: PeerId,
        /// Why, unless one side said goodbye.
        error: Option<String>,
    },
    /// A peer could not be reached.
    DialFailed {
        /// Who.
        peer: PeerId,
        /// Why.
        error: String,
    },
    /// A space was exchanged, or could not be.
    Exchange {
        /// With whom.
        peer: PeerId,
        /// Which space.
        space: SpaceId,
        /// What went over since the last such event of both.
        moved: Moved,
        /// Bytes on the wire meanwhile, both directions, for all spaces of the connection.
        bytes: u64,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// This listener was too slow for so many events.
    Missed(u64),
}

/// Hears what the sync engine does, from when it was made.
#[derive(Debug)]
pub struct SyncEvents {
    receiver: broadcast::Receiver<SyncEvent>,
}

impl SyncEvents {
    pub(crate) fn new(receiver: broadcast::Receiver<SyncEvent>) -> Self {
        Self { receiver }
    }

    /// The next event; `None` when the network is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<SyncEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(SyncEvent::Missed(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
