//! One space in one session: what was said of it, what is on its way, and what is owed.
//!
//! Only numbers and marks; what follows from them is decided in `session`.

use std::collections::VecDeque;

use super::ask::Event;
use super::message::Slot;
use super::pass::Pass;
use crate::id::{CommitId, SpaceId};
use crate::limits::MAX_WANTED;
use crate::reconcile::Summary;

// One space in one session.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) space: SpaceId,
    /// The host has answered `Open`.
    pub(super) opened: bool,
    /// The peer wants no more of it: nothing is read for it any more.
    pub(super) declined: bool,
    pub(super) invite: Option<Pass>,
    pub(super) by_peer: bool,
    // Both sides opened at once: what the listener will open again if it may not show what it has, and the slot of the
    // listener that the dialer did not take.
    pub(super) yielded: Option<Option<Pass>>,
    pub(super) crossed: Option<Slot>,
    // The peer's summary is here.
    pub(super) answered: bool,
    // The host knows what the peer lacks.
    pub(super) ready: bool,
    // It was opened by its salted name, or is to be opened by its own.
    pub(super) reopened: bool,
    pub(super) plain: bool,
    // Nobody here asked for it: a peer that may not read it hears nothing of it.
    pub(super) unasked: bool,
    // It slept until it changed: both sides have said that they have it.
    pub(super) woken: bool,
    // The last that the peer said of its heads.
    pub(super) their_digest: Option<[u8; 8]>,
    // A frontier of which the peer has everything, as it said.
    pub(super) their_past: Option<[u8; 8]>,
    // We named a frontier as known to both, and the host has not looked whether that was true.
    pub(super) unconfirmed: bool,
    pub(super) our_summaries: u32,
    pub(super) their_summaries: u32,
    pub(super) reading: bool,
    // More may be there than what was read.
    pub(super) behind: bool,
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) in_flight: VecDeque<(u64, usize)>,
    pub(super) unacked: usize,
    pub(super) ended: bool,
    pub(super) received: u64,
    pub(super) ingesting: u64,
    // The peer owes an `End`: one in the beginning, one for each wish.
    pub(super) end_due: bool,
    pub(super) their_end: Option<([u8; 8], Vec<CommitId>)>,
    pub(super) checking: bool,
    pub(super) have_all: bool,
    // Heads of the peer stay away although it was asked for them.
    pub(super) stalled: bool,
    pub(super) rounds: u32,
    pub(super) their_wants: u32,
    // Wishes for bodies that brought nothing, one after the other: ours, and the peer's.
    pub(super) idle: Idle,
    pub(super) their_idle: Idle,
    // Parents that were missing when something came after the end.
    pub(super) orphaned: Vec<CommitId>,
    pub(super) settled: bool,
}

// Counts wishes for bodies after which no frame came. Not those that were as long as a wish may be: what the next one
// asks for may be there.
#[derive(Debug, Default)]
pub(super) struct Idle {
    pub(super) frames: Option<u64>,
    pub(super) rounds: u32,
}

impl Idle {
    pub(super) fn wish(&mut self, wanted: usize, frames: u64) -> u32 {
        self.rounds = if self.frames == Some(frames) { self.rounds + 1 } else { 0 };
        self.frames = (wanted < MAX_WANTED).then_some(frames);
        self.rounds
    }
}

impl Exchange {
    /// Whether this side wants the space from the peer, whatever the peer may have of it.
    pub(super) fn is_asked_for(&self) -> bool {
        !self.by_peer && !self.unasked
    }

    pub(super) fn outcome(&self) -> Event {
        if self.stalled { Event::Stalled(self.space) } else { Event::Settled(self.space) }
    }

    pub(super) fn new(space: SpaceId, invite: Option<Pass>, by_peer: bool) -> Self {
        Self {
            space,
            opened: false,
            declined: false,
            invite,
            by_peer,
            yielded: None,
            crossed: None,
            answered: by_peer,
            ready: false,
            reopened: false,
            plain: false,
            unasked: false,
            woken: false,
            their_digest: None,
            their_past: None,
            unconfirmed: false,
            our_summaries: 0,
            their_summaries: 0,
            reading: false,
            behind: false,
            sent: 0,
            acked: 0,
            in_flight: VecDeque::new(),
            unacked: 0,
            ended: false,
            received: 0,
            ingesting: 0,
            end_due: true,
            their_end: None,
            checking: false,
            have_all: false,
            stalled: false,
            rounds: 0,
            their_wants: 0,
            idle: Idle::default(),
            their_idle: Idle::default(),
            orphaned: Vec::new(),
            settled: false,
        }
    }

    /// Nothing is on its way, or looked for.
    pub(super) fn is_quiet(&self) -> bool {
        let still = !self.behind && !self.reading && !self.checking && self.ingesting == 0;
        still && self.in_flight.is_empty()
    }

    /// Both sides have the same, and nothing is on its way.
    pub(super) fn is_calm(&self) -> bool {
        self.is_quiet() && self.settled && !self.stalled && !self.declined
    }

    // The peer's first summary.
    pub(super) fn they_have(&mut self, summary: &Summary) {
        self.their_digest = Some(summary.digest);
        self.their_past = summary.past();
    }
}
