//! What lies between two databases: a connection in virtual time, what is on its way, and what goes wrong there.
//!
//! It moves bytes and looks at them; it decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{CommitId, SpaceId};
use driftless_core::commit::commit_id;
use driftless_core::frame;
use driftless_core::reconcile::Detail;
use driftless_core::session::{Message, Slot, take_number};

use crate::dice::Dice;

// Two hours.
const LONGEST: u64 = 2 * 60 * 60_000;

/// How bad a line is. Each is a chance in 1,000 per message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quality {
    /// A message never comes.
    pub loss: usize,
    /// A message comes twice.
    pub repetition: usize,
    /// A message comes before the one before it.
    pub reordering: usize,
    /// Some bits are others.
    pub garbling: usize,
    /// A message, and what comes after it, is on the way for up to two hours.
    pub stall: usize,
    /// The longest time on the way, in milliseconds.
    pub delay: u64,
}

/// A message, and what is in it. Taken apart once: most of what a run does is looking at messages.
#[derive(Debug, Clone, Default)]
pub struct Parcel {
    /// As it was said.
    pub bytes: Vec<u8>,
    /// What it says, if that can be understood.
    pub message: Option<Message>,
    /// The commits in it. A frame does not say of which space it is: in a wrong one its commits have ids that nobody else
    /// has.
    pub commits: Vec<CommitId>,
    // Those that come with their bodies: without, it may come back with one.
    whole: Vec<CommitId>,
    /// How many commits it carries.
    pub count: usize,
}

impl Parcel {
    /// Takes a message apart.
    pub fn new(bytes: Vec<u8>, spaces: &[SpaceId]) -> Self {
        let message = take_number(&bytes).and_then(|(_, message)| Message::decode(message).ok());
        let (mut commits, mut whole, mut count) = (Vec::new(), Vec::new(), 0);
        if let Some(Message::Data { frame, .. }) = &message {
            for space in spaces {
                let received = frame::decode(space, frame).unwrap_or_default();
                count = count.max(received.len());
                for commit in &received {
                    let id = commit_id(&commit.header);
                    commits.push(id);
                    whole.extend(commit.body.as_ref().map(|_| id));
                }
            }
        }
        Self { bytes, message, commits, whole, count }
    }

    /// Whether it asks for what may have come before: its sender may not be told what is here, or lacks something.
    pub fn asks_again(&self) -> bool {
        match &self.message {
            Some(Message::Open { summary, .. } | Message::Have { summary, .. }) => {
                summary.detail == Detail::Nothing
            }
            Some(Message::Want { again, .. }) => again.is_some(),
            _ => false,
        }
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Way {
    /// What is on its way, by when it arrives and its number.
    pub coming: BTreeMap<(u64, u64), Parcel>,
    // Nothing overtakes, unless it is meant to.
    last: u64,
    // Commits that arrived, and those of them that were whole, by slot and number of their frame.
    waiting: BTreeMap<(Slot, u64), (Vec<CommitId>, Vec<CommitId>)>,
    /// Commits that arrived with their bodies and were taken.
    pub delivered: BTreeSet<CommitId>,
    /// Whether its sender asked for what may have come before.
    pub again: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Well,
    /// It is on its way, and something is wrong with it or its place.
    Badly(&'static str),
    /// It is lost.
    Lost,
}

impl Way {
    /// Puts a message on its way at `now`; when it arrives.
    pub fn send(
        &mut self,
        parcel: Parcel,
        now: u64,
        number: u64,
        quality: &Quality,
        dice: &mut Dice,
    ) -> (Sent, u64) {
        let chance = dice.below(1000);
        let mut at = self.last.max(now + 1 + dice.below(quality.delay.max(1) as usize) as u64);
        let mut parcel = parcel;
        let mut sent = Sent::Well;
        let marks = [quality.loss, quality.repetition, quality.reordering, quality.garbling, quality.stall];
        let mut below = 0;
        for (kind, mark) in marks.into_iter().enumerate() {
            below += mark;
            if chance >= below {
                continue;
            }
            match kind {
                0 => return (Sent::Lost, at),
                1 => {
                    self.coming.insert((at, number), parcel.clone());
                    sent = Sent::Badly("repetition");
                }
                2 => {
                    at = now + 1;
                    sent = Sent::Badly("reordering");
                }
                4 => {
                    at += dice.below(LONGEST as usize) as u64;
                    sent = Sent::Badly("delay");
                }
                _ => {
                    let place = dice.below(parcel.bytes.len());
                    if let Some(byte) = parcel.bytes.get_mut(place) {
                        *byte ^= 1 << dice.below(8);
                    }
                    parcel = Parcel::new(parcel.bytes, &[]);
                    sent = Sent::Badly("garbling");
                }
            }
            break;
        }
        self.last = self.last.max(at);
        self.coming.insert((at, number + 1), parcel);
        (sent, at)
    }
}

impl Way {
    /// A message arrived.
    pub fn arrived(&mut self, parcel: &Parcel) {
        if let Some(Message::Data { slot, number, .. }) = &parcel.message {
            self.waiting.insert((*slot, *number), (parcel.commits.clone(), parcel.whole.clone()));
        }
    }

    /// What the receiver answers: only what it says to have taken is at home there. Gives that.
    pub fn answered(&mut self, parcel: &Parcel) -> Vec<CommitId> {
        let Some(Message::Ack { slot, number, refused, .. }) = &parcel.message else { return Vec::new() };
        let taken: Vec<_> = self.waiting.range((*slot, 0)..=(*slot, *number)).map(|(at, _)| *at).collect();
        let mut told = Vec::new();
        for (commits, whole) in taken.iter().filter_map(|at| self.waiting.remove(at)) {
            if refused.is_empty() {
                self.delivered.extend(whole);
                told.extend(commits);
            }
        }
        told
    }
}
