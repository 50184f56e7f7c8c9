//! What `share` prints with `--json`.

use driftless::{CommitId, DocumentId, SpaceId};
use serde::Serialize;

/// `commits` are the last one there and the last one here; none if the document was there already.
#[derive(Serialize)]
pub(crate) struct Shared {
    pub(crate) id: DocumentId,
    /// The space in which it was.
    pub(crate) from: SpaceId,
    /// The policy.
    pub(crate) to: String,
    /// The space in which it is.
    pub(crate) space: SpaceId,
    /// How many documents moved, those under it included.
    pub(crate) documents: u64,
    pub(crate) commits: Vec<CommitId>,
}
