//! What `peers` and `peer` print with `--json`.

use driftless::{PeerId, SpaceId};
use serde::Serialize;

/// `connected` is null where no `serve` runs; `last_sync` and `rate` where there was no exchange yet.
#[derive(Serialize)]
pub(crate) struct Peer {
    pub(crate) peer: PeerId,
    /// Null if it has none.
    pub(crate) name: Option<String>,
    pub(crate) addresses: Vec<String>,
    /// Where others say that it is; not dialed.
    pub(crate) advertised: Vec<String>,
    pub(crate) spaces: Vec<SpaceId>,
    pub(crate) connected: Option<bool>,
    pub(crate) last_sync: Option<u64>,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    /// The part of exchanges that ended well, 0 to 1.
    pub(crate) rate: Option<f64>,
    /// Why the last one failed; null if it did not.
    pub(crate) last_error: Option<String>,
    /// What waits for it.
    pub(crate) waiting: Vec<SpaceId>,
    /// What came of each space; only `peer show` tells it.
    pub(crate) exchanges: Vec<Exchanges>,
}

/// Who says on the local network to be there.
#[cfg(feature = "iroh")]
#[derive(Serialize)]
pub(crate) struct Neighbour {
    pub(crate) peer: PeerId,
    /// Of a known peer that has one.
    pub(crate) name: Option<String>,
    pub(crate) known: bool,
    /// With its peer; good for as long as it stays there.
    pub(crate) address: String,
}

/// What exchanges of one space with one peer came to.
#[derive(Serialize)]
pub(crate) struct Exchanges {
    pub(crate) space: SpaceId,
    /// Up to which position of the log of this database the peer has everything; null if that is not known.
    pub(crate) cursor: Option<u64>,
    /// Commits that it lacks.
    pub(crate) lag: Option<u64>,
    pub(crate) last_sync: Option<u64>,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) last_error: Option<String>,
    /// The last 16 in which something went over, or that failed; the newest last.
    pub(crate) history: Vec<PastExchange>,
}

/// One exchange that is over.
#[derive(Serialize)]
pub(crate) struct PastExchange {
    pub(crate) time: u64,
    pub(crate) commits: u64,
    pub(crate) bytes: u64,
    /// Null if it went well.
    pub(crate) error: Option<String>,
}

impl Peer {
    pub(crate) fn new(peer: driftless::Peer, connected: Option<bool>) -> Self {
        let exchanges = peer.successes.saturating_add(peer.failures);
        Self {
            peer: peer.id,
            name: Some(peer.name).filter(|name| !name.is_empty()),
            addresses: peer.addresses,
            advertised: peer.advertised,
            exchanges: Vec::new(),
            waiting: Vec::new(),
            spaces: peer.spaces,
            connected,
            last_sync: Some(peer.last_sync_ms).filter(|time| *time > 0),
            successes: peer.successes,
            failures: peer.failures,
            rate: (exchanges > 0).then(|| peer.successes as f64 / exchanges as f64),
            last_error: Some(peer.last_error).filter(|error| !error.is_empty()),
        }
    }
}
