//! What a session asks its host, and is answered; what it tells, and how it fails.

use super::access::{AccessRequest, Answer, Discovered};
use super::documents::{Changed, Located, Lookup};
use super::message::{PROTOCOL_VERSION, Slot, Verdict};
use super::pass::Pass;
use super::pull::{Cursor, PullEnd};
use crate::cbor::CborError;
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::reconcile::{Salt, Summary};

/// Which side of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The side that connected.
    Dialer,
    /// The side that was connected to.
    Listener,
}

/// What the host must do for the session, and answer with a `handle_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Whether the peer may read the space, and what is here of it: `handle_opened`, or `handle_pending` first.
    Open {
        /// For which slot.
        slot: Slot,
        /// Which space.
        space: SpaceId,
        /// The author keys that the peer has proven.
        keys: Vec<AuthorId>,
        /// By what, if not by a permission.
        invite: Option<Box<Pass>>,
        /// What the peer has, if it asked; else this side did, and offers.
        theirs: Option<Summary>,
        /// The key of the short hashes in summaries.
        salt: Salt,
    },
    /// The peer has what this summary says: `handle_heard`, or `handle_pending` first.
    Hear {
        /// For which slot.
        slot: Slot,
        /// What the peer has.
        theirs: Summary,
    },
    /// The next frame of what the peer lacks: `handle_read`.
    Read {
        /// For which slot.
        slot: Slot,
    },
    /// Take a frame through the door: `handle_ingested` when it is durable.
    Ingest {
        /// For which slot.
        slot: Slot,
        /// The number of the frame.
        number: u64,
        /// The frame.
        frame: Vec<u8>,
        /// The peer's heads when it read the frame.
        digest: [u8; 8],
    },
    /// Everything sent is durable there, and these are the peer's heads now. No answer.
    Acknowledged {
        /// For which slot.
        slot: Slot,
        /// The digest of its heads.
        digest: [u8; 8],
    },
    /// Which of these heads are not here; if none, which wanted bodies were not asked for before in this slot:
    /// `handle_checked`.
    Check {
        /// For which slot.
        slot: Slot,
        /// The heads that the peer named, and parents that were missing.
        heads: Vec<CommitId>,
        /// The digest of all of them.
        digest: [u8; 8],
        /// How often it will have been asked for heads, should some be missing.
        round: u32,
    },
    /// All is said and acknowledged, and this side named a frontier as known to both. Unless the peer's heads are ours: what
    /// `Reconciler::confirm` finds of it, to `handle_confirmed`.
    Confirm {
        /// For which slot.
        slot: Slot,
        /// The digest of the peer's heads, as it said last.
        digest: [u8; 8],
        /// As in `Check`.
        round: u32,
    },
    /// The peer wants these; `Read` gives them next. No answer without `again`; with it `handle_heard`, or
    /// `handle_pending` first.
    Want {
        /// For which slot.
        slot: Slot,
        /// The commits.
        ids: Vec<CommitId>,
        /// What the peer has, so that all that leads to them is sent; else only their bodies.
        again: Option<Summary>,
    },
    /// Go on with what is pending; other work had its turn. Answered like what it belongs to.
    Go {
        /// For which slot.
        slot: Slot,
    },
    /// Where both sides met before, in every space that is here and that the peer may read: `handle_surveyed`.
    Survey {
        /// The author keys that the peer has proven.
        keys: Vec<AuthorId>,
    },
    /// The slot is closed: forget what was kept for it. No answer.
    Forget {
        /// Which slot.
        slot: Slot,
    },
    /// What came into the log after a place in it, for a peer that pulls: `handle_fed`.
    Feed {
        /// For which request.
        request: u64,
        /// Which space.
        space: SpaceId,
        /// The author keys that the peer has proven.
        keys: Vec<AuthorId>,
        /// After where; from the beginning without.
        cursor: Option<Cursor>,
        /// About how many bytes; for 0 only where the log ends.
        budget: u64,
        /// Commits whose bodies the peer lacks: first those that are here.
        wanted: Vec<CommitId>,
    },
    /// What becomes of a request for access, of a key that the peer has proven: `handle_answer`.
    Request {
        /// For which number.
        number: u64,
        /// Who wants what.
        request: AccessRequest,
    },
    /// Which spaces the peer may read: `handle_found`.
    Discover {
        /// For which number.
        number: u64,
        /// The author keys that the peer has proven.
        keys: Vec<AuthorId>,
        /// Only those with larger ids.
        after: Option<SpaceId>,
    },
    /// Which spaces are shared with the peer by name, not with anyone: `handle_found`.
    Shared {
        /// For which number.
        number: u64,
        /// The author keys that the peer has proven.
        keys: Vec<AuthorId>,
        /// Only those with larger ids.
        after: Option<SpaceId>,
        /// Of one of these keys, that another space lets in: also what is shared with that space.
        pass: Option<Box<Pass>>,
    },
    /// What documents somebody made in spaces that the peer may read: `handle_located`.
    Find {
        /// For which number.
        number: u64,
        /// The author keys that the peer has proven.
        keys: Vec<AuthorId>,
        /// What is looked for.
        lookup: Lookup,
    },
    /// Which of these spaces the peer may read, and their heads now: `handle_told`.
    Tell {
        /// The author keys that the peer has proven.
        keys: Vec<AuthorId>,
        /// The spaces.
        spaces: Vec<SpaceId>,
    },
    /// Take a page that was pulled through the door, and remember its cursor: `handle_taken` when both are durable.
    Take {
        /// For which request.
        request: u64,
        /// Which space.
        space: SpaceId,
        /// The frames.
        frames: Vec<Vec<u8>>,
        /// The place behind them in the peer's log.
        cursor: Cursor,
        /// There is more behind it.
        more: bool,
    },
}

/// What the user of the session may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer has proven these author keys.
    Proven(Vec<AuthorId>),
    /// Both sides have the same, and what either writes from now on is sent at once.
    Settled(SpaceId),
    /// Both sides have the same of these, as they had when they last met; what either writes opens them.
    Unchanged(Vec<SpaceId>),
    /// A side opens no more spaces in one session, and this one waited for room: it is for another one.
    Later(SpaceId),
    /// The peer does not open this space, or not any more.
    Closed(SpaceId),
    /// The peer does not want more of this space for now.
    Declined(SpaceId, String, u64),
    /// Everything here is sent, but heads that the peer named did not come in three rounds.
    Stalled(SpaceId),
    /// A pull of this space came to its end.
    Pulled(SpaceId, PullEnd),
    /// What becomes of our request for access to this space.
    Answered(SpaceId, Answer),
    /// Spaces that the peer lets us read, or shares with us, and whether there are more behind them.
    Found(Vec<Discovered>, bool),
    /// Something came into these spaces at the peer; without any, somewhere.
    Changed(Vec<Changed>),
    /// Documents that the peer found for us.
    Located(Located),
}

/// What comes out of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes for the peer.
    Send(Vec<u8>),
    /// Work for the host.
    Ask(Ask),
    /// News.
    Event(Event),
}

/// Why a session cannot go on. The connection is to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Bytes that are not a message.
    #[error("the peer sent bytes that are not a message: {0}")]
    Message(#[from] CborError),
    /// The peer speaks another version.
    #[error("the peer speaks protocol version {0}, this driftless speaks {PROTOCOL_VERSION}")]
    Version(u64),
    /// A proof that does not prove the key.
    #[error("the peer claims a key that it does not have")]
    Proof,
    /// Something was lost or changed places on the way.
    #[error("message {expected} of the peer is missing")]
    Lost {
        /// The one that should have come.
        expected: u64,
    },
    /// A message that has no place here.
    #[error("the peer does not follow the protocol: {0}")]
    Unexpected(&'static str),
}

/// What a host found of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What is here: an offer, or an answer to what the peer said.
    pub summary: Summary,
    /// Whether the peer may read it.
    pub readable: bool,
    /// Whether it is known by now what the peer lacks.
    pub ready: bool,
}

/// A space in which both sides met before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surveyed {
    /// Which space.
    pub space: SpaceId,
    /// The newest frontier that both sides had.
    pub digest: [u8; 8],
    /// Whether anything came since, or is wanted.
    pub changed: bool,
}

/// What a host found of what it was asked to check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// The heads that are not here.
    pub missing: Vec<CommitId>,
    /// Else the bodies that are not here.
    pub bodies: Vec<CommitId>,
    /// What is here, where heads are missing.
    pub again: Summary,
}

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ingested {
    /// What was not taken.
    pub refused: Vec<Verdict>,
    /// That no more is to be sent.
    pub declined: Option<Declined>,
    /// Parents that it needs and that are not here.
    pub orphaned: Vec<CommitId>,
    /// The digest of our heads now.
    pub digest: [u8; 8],
}

/// What the host read for a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadFrame {
    /// The next frame, if there is anything more.
    pub frame: Option<Vec<u8>>,
    /// The digest of our sync heads.
    pub digest: [u8; 8],
    /// Those heads that the peer may not have, as many as fit.
    pub heads: Vec<CommitId>,
}

/// An offer that local limits forbid for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// A stable word.
    pub reason: String,
    /// Milliseconds after which it may be tried again.
    pub retry_after_ms: u64,
}
