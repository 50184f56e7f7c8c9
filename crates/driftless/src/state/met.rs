//! What connections with a peer came to: the author keys it proved, and how far both sides have had the same.
//!
//! Remembered while the database is open; `peers` writes it down when a connection ends.

use std::collections::BTreeMap;

use driftless_core::id::{AuthorId, SpaceId};

use crate::tables::layout::LogSeq;

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
    pub agreed: BTreeMap<SpaceId, Agreed>,
}

impl Met {
    /// Takes over what is newer.
    pub(crate) fn merge(&mut self, newer: &Met) {
        if !newer.authors.is_empty() {
            self.authors.clone_from(&newer.authors);
        }
        self.agreed.extend(&newer.agreed);
    }
}
