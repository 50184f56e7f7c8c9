//! What the commands about roots and invites print.

use driftless::{DocumentId, SpaceId, UserId};
use serde::Serialize;

/// An invite of one user to another; `answer` is open, accepted or declined.
#[derive(Serialize)]
pub(crate) struct UserInvite {
    pub(crate) id: DocumentId,
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    pub(crate) from: UserId,
    pub(crate) to: UserId,
    pub(crate) permission: String,
    pub(crate) answer: &'static str,
}

/// An invite that was accepted; `joined` if the space is here now.
#[derive(Serialize)]
pub(crate) struct Accepted {
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    pub(crate) joined: bool,
}

/// What was pulled anew: how many spaces, from how many peers that were reached, and how many commits came.
#[derive(Serialize)]
pub(crate) struct Reset {
    pub(crate) spaces: u64,
    pub(crate) peers: u64,
    pub(crate) received: u64,
}
