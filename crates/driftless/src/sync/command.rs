//! What the owner of a connection asks of it, and what it tells: the words between the two, nothing more.

use driftless_core::id::{CommitId, SpaceId};
use driftless_core::session::{AccessRequest, Answer, Cursor, Discovered, Located, Lookup, Pass, PullEnd};
use driftless_net::Traffic;

use crate::sync::stream::Moved;

/// What the owner of a connection may ask of it.
#[derive(Debug)]
pub(crate) enum Command {
    /// Begin the exchange of a space.
    Open(SpaceId, Option<Pass>),
    /// Pull what came after a cursor, in pages of so many bytes, and the bodies of these commits.
    Pull(SpaceId, Option<Cursor>, u64, Vec<CommitId>),
    /// Begin the exchange of many spaces.
    OpenAll(Vec<SpaceId>),
    /// End the exchange of a space.
    Close(SpaceId),
    /// Ask for access to a space.
    Request(Box<AccessRequest>),
    /// Ask which spaces may be read, beyond an id.
    Discover(Option<SpaceId>),
    /// Ask what the peer shares by name, beyond an id; also with the space of a pass.
    Shared(Option<SpaceId>, Option<Pass>),
    /// Ask for documents that somebody made.
    Find(Lookup),
    /// Say that something came into these spaces; without any, somewhere.
    Tell(Vec<SpaceId>),
    /// Say goodbye and end.
    End,
}

/// What a connection tells its owner.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// A space is the same on both sides; what moved so far.
    Settled(SpaceId, Moved, Traffic),
    /// Spaces are the same on both sides, as they were at the last meeting.
    Unchanged(Vec<SpaceId>, Traffic),
    /// A space did not fit into this session.
    Later(SpaceId),
    /// The peer does not open a space, or not any more.
    Closed(SpaceId),
    /// The peer wants no more of a space for now, and says why.
    Declined(SpaceId, String),
    /// Commits went over that the other side did not have.
    Moved,
    /// The exchange came to nothing more.
    Stalled(SpaceId, Moved, Traffic),
    /// A pull came to its end.
    Pulled(SpaceId, PullEnd, Moved, Traffic),
    /// What becomes of a request for access.
    Answered(SpaceId, Answer),
    /// Spaces that may be read, or are shared, and whether there are more behind them.
    Found(Vec<Discovered>, bool),
    /// Documents that the peer found.
    Located(Located),
}
