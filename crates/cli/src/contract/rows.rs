//! What `rows` prints with `--json`.

use driftless::{AuthorId, CommitId, DocumentId, SpaceId, Value};
use driftless_rows::LeftOut;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Attached {
    pub(crate) file: String,
    pub(crate) space: SpaceId,
    pub(crate) tables: Vec<driftless_rows::TableStatus>,
    pub(crate) left_out: Vec<LeftOut>,
    /// It was under sync before, and took the options.
    pub(crate) again: bool,
}

#[derive(Serialize)]
pub(crate) struct Detached {
    pub(crate) file: String,
}

#[derive(Serialize)]
pub(crate) struct Reverted {
    pub(crate) file: String,
    /// Rows that are what the space says again.
    pub(crate) reverted: u64,
}

/// Rows that went to the space, and that came from it.
#[derive(Serialize)]
pub(crate) struct Exchanged {
    pub(crate) file: String,
    pub(crate) sent: u64,
    pub(crate) refused: u64,
    /// Changed by somebody who may not write in the space.
    pub(crate) kept: u64,
    /// Of those sent, what the space had and has lost.
    pub(crate) again: u64,
    /// Rows of which nothing was noted, and that were found by comparing.
    pub(crate) found: u64,
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) deleted: u64,
    /// Documents that are no rows here now.
    pub(crate) waiting: u64,
}

#[derive(Serialize)]
pub(crate) struct Status {
    pub(crate) file: String,
    pub(crate) space: SpaceId,
    pub(crate) tables: Vec<driftless_rows::TableStatus>,
    /// Captured, and not in the space yet.
    pub(crate) pending: u64,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) refused: Vec<Refused>,
    /// Collections of the space without a table here.
    pub(crate) elsewhere: Vec<String>,
    /// Tables that cannot be under sync.
    pub(crate) left_out: Vec<LeftOut>,
    /// Null unless they were asked for.
    pub(crate) losers: Option<Vec<Loser>>,
}

#[derive(Serialize)]
pub(crate) struct Waiting {
    pub(crate) collection: String,
    pub(crate) id: DocumentId,
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) since: i64,
}

#[derive(Serialize)]
pub(crate) struct Refused {
    pub(crate) collection: String,
    pub(crate) key: String,
    pub(crate) detail: String,
    pub(crate) since: i64,
}

#[derive(Serialize)]
pub(crate) struct Loser {
    pub(crate) collection: String,
    pub(crate) id: DocumentId,
    pub(crate) field: String,
    pub(crate) value: Value,
    pub(crate) author: AuthorId,
    pub(crate) time: u64,
    pub(crate) commit: CommitId,
}

/// How a file stands, in the status of its database.
#[derive(Serialize)]
pub(crate) struct Standing {
    pub(crate) file: String,
    pub(crate) pending: u64,
    pub(crate) waiting: u64,
    pub(crate) refused: u64,
    /// Why it cannot be asked.
    pub(crate) error: Option<String>,
}
