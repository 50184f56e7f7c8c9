//! What connections with a peer came to: the author keys it proved, and how far both sides have had the same.
//!
//! Remembered while the database is open; `peers` writes it down when a connection ends.

use std::collections::BTreeSet;

use driftless_core::id::{AuthorId, SpaceId};

use crate::layout::LogSeq;

/// Both sides had the same of a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The space.
    pub space: SpaceId,
    /// Up to this position of our log the peer had everything.
    pub position: LogSeq,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

/// What a connection came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Met {
    pub authors: Vec<AuthorId>,
    pub agreed: Vec<Agreed>,
}

impl Met {
    /// Takes over what is newer.
    pub(crate) fn merge(&mut self, newer: &Met) {
        if !newer.authors.is_empty() {
            self.authors.clone_from(&newer.authors);
        }
        // There may be thousands.
        let again: BTreeSet<SpaceId> = newer.agreed.iter().map(|new| new.space).collect();
        self.agreed.retain(|old| !again.contains(&old.space));
        self.agreed.extend_from_slice(&newer.agreed);
    }
}
