//! What `--json` prints: one struct per kind of line. Programs depend on these names; fields are added, never renamed.
//!
//! Documents print themselves and failures live in `failure`. Times are Unix milliseconds.

use driftless::{AuthorId, CommitId, Document, DocumentId, PeerId, SpaceId};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Init {
    pub(crate) dir: String,
    pub(crate) user: String,
    pub(crate) author: AuthorId,
    pub(crate) peer: PeerId,
}

#[derive(Serialize)]
pub(crate) struct Compacted {
    pub(crate) packed: u64,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
}

#[derive(Serialize)]
pub(crate) struct Space {
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    pub(crate) commits: u64,
    pub(crate) documents: u64,
    pub(crate) heads: Vec<CommitId>,
}

impl From<driftless::SpaceSummary> for Space {
    fn from(summary: driftless::SpaceSummary) -> Self {
        Self {
            space: summary.id,
            name: summary.name,
            commits: summary.commits,
            documents: summary.documents,
            heads: summary.heads,
        }
    }
}

/// `commit` is null when nothing had to be written.
#[derive(Serialize)]
pub(crate) struct Written {
    pub(crate) id: DocumentId,
    pub(crate) commit: Option<CommitId>,
}

#[derive(Serialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) skipped: u64,
    pub(crate) rejected: u64,
}

#[derive(Serialize)]
pub(crate) struct Count {
    pub(crate) count: u64,
}

/// The last three are null when `kind` is `ready`.
#[derive(Serialize)]
pub(crate) struct Change<'d> {
    pub(crate) kind: &'static str,
    pub(crate) id: Option<&'d DocumentId>,
    pub(crate) document: Option<&'d Document>,
    pub(crate) origin: Option<&'static str>,
}

#[derive(Serialize)]
pub(crate) struct Index {
    pub(crate) space: SpaceId,
    pub(crate) collection: String,
    pub(crate) field: String,
    /// Only after `index create`: false if it was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<bool>,
}

#[derive(Serialize)]
pub(crate) struct Commit {
    pub(crate) commit: CommitId,
    pub(crate) author: AuthorId,
    pub(crate) seq: u64,
    pub(crate) time: u64,
    pub(crate) parents: Vec<CommitId>,
    pub(crate) kind: &'static str,
    pub(crate) edits: Vec<serde_json::Value>,
    pub(crate) state: &'static str,
}

/// `view` is equal on two replicas exactly when their visible documents are equal.
#[derive(Serialize)]
pub(crate) struct Digest {
    pub(crate) space: SpaceId,
    pub(crate) heads: Vec<CommitId>,
    pub(crate) commits: u64,
    pub(crate) documents: u64,
    pub(crate) view: String,
}

impl From<driftless::Digest> for Digest {
    fn from(digest: driftless::Digest) -> Self {
        Self {
            space: digest.space,
            heads: digest.heads,
            commits: digest.commits,
            documents: digest.documents,
            view: digest.view,
        }
    }
}

/// After `grant` and `revoke`; `permission` is null after `revoke`.
#[derive(Serialize)]
pub(crate) struct Granted {
    pub(crate) space: SpaceId,
    pub(crate) subject: String,
    pub(crate) permission: Option<String>,
    pub(crate) commit: CommitId,
}

/// Somebody whom the rules name.
#[derive(Serialize)]
pub(crate) struct Member {
    pub(crate) subject: String,
    pub(crate) permission: String,
    pub(crate) you: bool,
}

/// `ok` is true when nothing is held, void, wanted, refused or forked.
#[derive(Serialize)]
pub(crate) struct Status {
    pub(crate) ok: bool,
    pub(crate) user: String,
    pub(crate) author: AuthorId,
    pub(crate) bytes: u64,
    pub(crate) spaces: Vec<SpaceStatus>,
    pub(crate) refused: Vec<Refused>,
}

#[derive(Serialize)]
pub(crate) struct SpaceStatus {
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    pub(crate) commits: u64,
    pub(crate) documents: u64,
    pub(crate) applied: u64,
    pub(crate) held: Waiting,
    pub(crate) void: Waiting,
    pub(crate) wanted: Waiting,
    /// Authors with two commits of one seq.
    pub(crate) forked: Vec<AuthorId>,
}

/// How many, and the first hundred of them.
#[derive(Serialize)]
pub(crate) struct Waiting {
    pub(crate) count: u64,
    pub(crate) commits: Vec<Pending>,
}

#[derive(Serialize)]
pub(crate) struct Pending {
    pub(crate) commit: CommitId,
    pub(crate) author: AuthorId,
    pub(crate) time: u64,
    pub(crate) reason: String,
}

/// `hash` is over the bytes that came; `time` is when they came last.
#[derive(Serialize)]
pub(crate) struct Refused {
    pub(crate) hash: String,
    pub(crate) space: Option<SpaceId>,
    pub(crate) author: Option<AuthorId>,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) bytes: u64,
    pub(crate) time: u64,
    pub(crate) times: u64,
}

#[derive(Serialize)]
pub(crate) struct Exported {
    pub(crate) space: SpaceId,
    pub(crate) commits: u64,
    pub(crate) bytes: u64,
}

/// `commits` counts all in the bundle, `known` those that were here already.
#[derive(Serialize)]
pub(crate) struct Imported {
    pub(crate) spaces: Vec<SpaceId>,
    pub(crate) commits: u64,
    pub(crate) known: u64,
    pub(crate) applied: u64,
    pub(crate) held: u64,
    pub(crate) void: u64,
    pub(crate) wanted: u64,
    pub(crate) refused: u64,
    pub(crate) declined: u64,
    pub(crate) signatures: u64,
}

impl From<driftless::Imported> for Imported {
    fn from(imported: driftless::Imported) -> Self {
        Self {
            spaces: imported.spaces,
            commits: imported.commits,
            known: imported.known,
            applied: imported.applied,
            held: imported.held,
            void: imported.void,
            wanted: imported.wanted,
            refused: imported.refused,
            declined: imported.declined,
            signatures: imported.signatures,
        }
    }
}

/// The first line of `serve`.
#[derive(Serialize)]
pub(crate) struct Serving {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<String>,
}

/// `expires` is null when the ticket does not.
#[derive(Serialize)]
pub(crate) struct Ticket {
    pub(crate) ticket: String,
    pub(crate) space: SpaceId,
    pub(crate) permission: String,
    pub(crate) uses: Option<u32>,
    pub(crate) expires: Option<u64>,
    pub(crate) addresses: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Joined {
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    pub(crate) commits: u64,
    pub(crate) documents: u64,
    pub(crate) exchange: Synced,
}

/// One exchange of one space with one peer.
#[derive(Serialize)]
pub(crate) struct Synced {
    pub(crate) space: SpaceId,
    pub(crate) peer: PeerId,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) rounds: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) applied: u64,
    pub(crate) held: u64,
    pub(crate) void: u64,
    pub(crate) wanted: u64,
    pub(crate) refused: u64,
    pub(crate) declined: u64,
    pub(crate) signatures: u64,
    /// Both have the same now.
    pub(crate) settled: bool,
}

impl From<driftless::Synced> for Synced {
    fn from(synced: driftless::Synced) -> Self {
        let driftless::Synced { space, peer, moved, traffic, settled } = synced;
        Self {
            space,
            peer,
            sent: moved.sent,
            received: moved.received,
            rounds: moved.rounds,
            bytes_out: traffic.sent,
            bytes_in: traffic.received,
            applied: moved.applied,
            held: moved.held,
            void: moved.void,
            wanted: moved.wanted,
            refused: moved.refused,
            declined: moved.declined,
            signatures: moved.signatures,
            settled,
        }
    }
}

/// `connected` is null where no `serve` runs; `last_sync` and `rate` where there was no exchange yet.
#[derive(Serialize)]
pub(crate) struct Peer {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<String>,
    pub(crate) spaces: Vec<SpaceId>,
    pub(crate) connected: Option<bool>,
    pub(crate) last_sync: Option<u64>,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    /// The part of exchanges that ended well, 0 to 1.
    pub(crate) rate: Option<f64>,
    /// Why the last one failed; null if it did not.
    pub(crate) last_error: Option<String>,
}

impl Peer {
    pub(crate) fn new(peer: driftless::Peer, connected: Option<bool>) -> Self {
        let exchanges = peer.successes.saturating_add(peer.failures);
        Self {
            peer: peer.id,
            addresses: peer.addresses,
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
