//! Frames that were taken and are not acknowledged yet: those that are there together become durable together.
//!
//! It knows what is to be said of each, and not how it was taken or how that is said.

use driftless_core::limits::{FRAME_TARGET, SEND_WINDOW};
use driftless_core::session::{Ingested, Slot};

use crate::database::Database;
use crate::error::Error;
use crate::sync::follow::SyncBatch;
use crate::sync::stream::Moved;

// Frames of this size are rarely the last: until the next ones are there a frame is not made durable, which takes as long
// for several as for one.
const FULL: usize = FRAME_TARGET / 4;
// Frames that become durable together: meanwhile the other half of what a sender may send is on its way.
const TOGETHER: usize = SEND_WINDOW / FRAME_TARGET / 2;

/// What is said of a frame once it is durable.
#[derive(Debug)]
pub(super) struct Taken {
    pub slot: Slot,
    pub number: u64,
    pub ingested: Ingested,
    /// What is told of it here.
    pub news: Option<(SyncBatch, Moved)>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Owed {
    frames: Vec<Taken>,
    // How often the database had taken something back before the first.
    undone: u64,
}

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether a frame of this size is likely to be followed by more.
    pub(super) fn is_full(frame: &[u8]) -> bool {
        frame.len() >= FULL
    }

    /// Whether no more is waited for.
    pub(super) fn is_enough(&self) -> bool {
        self.frames.len() >= TOGETHER
    }

    /// One is being taken; so often has the database taken something back.
    pub(super) fn begin(&mut self, undone: u64) {
        if self.frames.is_empty() {
            self.undone = undone;
        }
    }

    /// One was taken.
    pub(super) fn push(&mut self, taken: Taken) {
        self.frames.push(taken);
    }

    /// Makes all of them durable, and gives them out.
    pub(super) fn settle(&mut self, database: &Database) -> Result<Vec<Taken>, Error> {
        if self.frames.is_empty() {
            return Ok(Vec::new());
        }
        if database.read_durable(|engine| Ok(engine.undone))? != self.undone {
            let why = "what came was taken back together with something that met the damage";
            return Err(Error::damaged(why));
        }
        Ok(std::mem::take(&mut self.frames))
    }
}
