//! Pull: what came into a store after a place in its log, in one round trip and without a summary.
//!
//! The receiver keeps the place as a cursor; the store that serves keeps nothing. One request is answered by one page,
//! or by word that the cursor is not of this log: then both sides reconcile. It must not know what is in a page.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::ask::{Ask, Event, Output};
use super::message::Message;
use super::{Session, SessionError, Stage};
use crate::id::{CommitId, SpaceId, base32, from_base32};
use crate::limits::{MAX_PAGE, MAX_PULLS, MAX_WANTED};

/// A place in the log of one space in one store: everything up to it was looked at.
///
/// The digest tells a log that went another way: that of a store restored from a copy, or of a copy of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The id of the store.
    pub store: [u8; 16],
    /// The last position that was looked at; 0 before the first.
    pub at: u64,
    /// The first bytes of the running digest of the log up to there.
    pub digest: [u8; 8],
}

/// Why a text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: expected `k_` and 52 characters of a-z and 2-7, as a page or a pull gave it")]
pub struct CursorError;

impl Cursor {
    /// The bytes: store, position, digest.
    pub fn encode(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.store);
        bytes[16..24].copy_from_slice(&self.at.to_be_bytes());
        bytes[24..].copy_from_slice(&self.digest);
        bytes
    }

    /// What `encode` wrote. Each 32 bytes are a cursor; only the store that gave it can tell whether it is a good one.
    pub fn decode(bytes: &[u8; 32]) -> Self {
        let (mut store, mut at, mut digest) = ([0; 16], [0; 8], [0; 8]);
        store.copy_from_slice(&bytes[..16]);
        at.copy_from_slice(&bytes[16..24]);
        digest.copy_from_slice(&bytes[24..]);
        Self { store, at: u64::from_be_bytes(at), digest }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k_{}", base32(&self.encode()))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = text.strip_prefix("k_").and_then(from_base32).and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| Self::decode(&bytes)).ok_or(CursorError)
    }
}

impl serde::Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a host has for a peer that pulls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fed {
    /// What came after the cursor.
    Page {
        /// Frames, each of which can be taken alone, in this order.
        frames: Vec<Vec<u8>>,
        /// The place behind them.
        cursor: Cursor,
        /// There is more behind it.
        more: bool,
    },
    /// The cursor is not of this log, or nothing but a cursor was asked for. This is where the log ends now.
    Stale(Cursor),
    /// The peer may not read the space, or it is not here.
    Withheld,
}

/// How a pull ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullEnd {
    /// Everything is here up to where the log of the peer ended.
    Whole,
    /// The cursor is not of the peer's log. Once both sides have reconciled, the cursor that came instead is good.
    Stale(Cursor),
    /// A page could not be taken whole: both sides have to reconcile.
    Unfit,
    /// The peer does not open the space.
    Withheld,
}

// The pulls of one session, in both directions.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    next: u64,
    waiting: Vec<(SpaceId, Option<Cursor>, u64, Vec<CommitId>)>,
    ours: BTreeMap<u64, Pull>,
    // The last request of the peer, and how many the host has not answered.
    last: Option<u64>,
    theirs: usize,
}

#[derive(Debug)]
struct Pull {
    space: SpaceId,
    budget: u64,
    /// The place behind a page that the host is taking, and whether there is more.
    taking: Option<(Cursor, bool)>,
}

impl Session {
    /// Asks for everything that came into the peer's store after `cursor`, in pages of about `budget` bytes: from the
    /// beginning without a cursor; only for where its log ends if the budget is 0.
    pub fn pull(&mut self, space: SpaceId, cursor: Option<Cursor>, budget: u64) {
        self.pull_with(space, cursor, budget, Vec::new());
    }

    /// The same, and before it bodies that are wanted here: those that the peer has by now.
    pub fn pull_with(
        &mut self,
        space: SpaceId,
        cursor: Option<Cursor>,
        budget: u64,
        mut wanted: Vec<CommitId>,
    ) {
        wanted.truncate(MAX_WANTED);
        let ready = self.stage == Stage::Open && self.heard;
        if ready && self.pulls.ours.len() < MAX_PULLS {
            self.ask_page(space, cursor, budget, wanted);
        } else {
            self.pulls.waiting.push((space, cursor, budget, wanted));
        }
    }

    /// Whether a pull of this side waits for its end.
    pub fn is_pulling(&self) -> bool {
        !self.pulls.ours.is_empty() || !self.pulls.waiting.is_empty()
    }

    /// What there is for the peer that pulls.
    pub fn handle_fed(&mut self, request: u64, fed: Fed) {
        self.pulls.theirs = self.pulls.theirs.saturating_sub(1);
        self.send(&match fed {
            Fed::Page { frames, cursor, more } => Message::Pulled { request, frames, cursor, more },
            Fed::Stale(cursor) => Message::Stale { request, cursor },
            Fed::Withheld => Message::Withheld { request },
        });
    }

    /// A page is durable. `whole`: nothing of it has to come again.
    pub fn handle_taken(&mut self, request: u64, whole: bool) {
        let Some(pull) = self.pulls.ours.remove(&request) else { return };
        match pull.taking {
            Some((cursor, true)) if whole => self.ask_page(pull.space, Some(cursor), pull.budget, Vec::new()),
            _ => self.end_pull(pull.space, if whole { PullEnd::Whole } else { PullEnd::Unfit }),
        }
    }

    /// The peer is ready, or answered one: what waits is asked for.
    pub(super) fn start_pulls(&mut self) {
        while self.pulls.ours.len() < MAX_PULLS && !self.pulls.waiting.is_empty() {
            let (space, cursor, budget, wanted) = self.pulls.waiting.remove(0);
            self.ask_page(space, cursor, budget, wanted);
        }
    }

    pub(super) fn handle_pull(
        &mut self,
        request: u64,
        space: SpaceId,
        cursor: Option<Cursor>,
        budget: u64,
        wanted: Vec<CommitId>,
    ) -> Result<(), SessionError> {
        if self.pulls.last.is_some_and(|last| request <= last) {
            return Err(SessionError::Unexpected("a pull with a number that was used"));
        }
        if self.pulls.theirs >= MAX_PULLS {
            return Err(SessionError::Unexpected("too many pulls at once"));
        }
        self.pulls.last = Some(request);
        self.pulls.theirs += 1;
        let (keys, budget) = (self.proven.clone(), budget.min(MAX_PAGE as u64));
        self.outputs.push_back(Output::Ask(Ask::Feed { request, space, keys, cursor, budget, wanted }));
        Ok(())
    }

    pub(super) fn handle_fed_by_peer(&mut self, request: u64, fed: Fed) -> Result<(), SessionError> {
        let unasked = SessionError::Unexpected("a page that nobody asked for");
        let Some(pull) = self.pulls.ours.get_mut(&request) else { return Err(unasked) };
        let space = pull.space;
        let end = match fed {
            Fed::Page { .. } if pull.taking.is_some() => return Err(unasked),
            Fed::Page { frames, cursor, more } => {
                pull.taking = Some((cursor, more));
                self.outputs.push_back(Output::Ask(Ask::Take { request, space, frames, cursor, more }));
                return Ok(());
            }
            Fed::Stale(cursor) => PullEnd::Stale(cursor),
            Fed::Withheld => PullEnd::Withheld,
        };
        self.pulls.ours.remove(&request);
        self.end_pull(space, end);
        Ok(())
    }

    fn ask_page(&mut self, space: SpaceId, cursor: Option<Cursor>, budget: u64, wanted: Vec<CommitId>) {
        let request = self.pulls.next;
        self.pulls.next += 1;
        self.pulls.ours.insert(request, Pull { space, budget, taking: None });
        self.send(&Message::Pull { request, space, cursor, budget, wanted });
    }

    fn end_pull(&mut self, space: SpaceId, end: PullEnd) {
        self.outputs.push_back(Output::Event(Event::Pulled(space, end)));
        self.start_pulls();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_short_text_and_nothing_else_is_one() {
        let cursor = Cursor { store: [1; 16], at: 1 << 39, digest: [2; 8] };
        let text = cursor.to_string();
        assert_eq!(text.len(), 54);
        assert_eq!(text.parse(), Ok(cursor));
        assert_eq!(Cursor::decode(&cursor.encode()), cursor);
        for wrong in ["", "k_", &text[2..], &text[..53], &text.to_uppercase(), &text.replace("k_", "c_")] {
            assert_eq!(wrong.parse::<Cursor>(), Err(CursorError), "{wrong}");
        }
    }
}
