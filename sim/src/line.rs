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
    /// The longest time on the way, in milliseconds.
    pub delay: u64,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Way {
    /// What is on its way, by when it arrives and its number.
    pub coming: BTreeMap<(u64, u64), Vec<u8>>,
    // Nothing overtakes, unless it is meant to.
    last: u64,
    // Commits that arrived, by slot and number of their frame.
    waiting: BTreeMap<(Slot, u64), Vec<CommitId>>,
    /// Commits that arrived and were taken.
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
        bytes: Vec<u8>,
        now: u64,
        number: u64,
        quality: &Quality,
        dice: &mut Dice,
    ) -> (Sent, u64) {
        let chance = dice.below(1000);
        let mut at = self.last.max(now + 1 + dice.below(quality.delay.max(1) as usize) as u64);
        let mut bytes = bytes;
        let mut sent = Sent::Well;
        let marks = [quality.loss, quality.repetition, quality.reordering, quality.garbling];
        let mut below = 0;
        for (kind, mark) in marks.into_iter().enumerate() {
            below += mark;
            if chance >= below {
                continue;
            }
            match kind {
                0 => return (Sent::Lost, at),
                1 => {
                    self.coming.insert((at, number), bytes.clone());
                    sent = Sent::Badly("repetition");
                }
                2 => {
                    at = now + 1;
                    sent = Sent::Badly("reordering");
                }
                _ => {
                    let place = dice.below(bytes.len());
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte ^= 1 << dice.below(8);
                    }
                    sent = Sent::Badly("garbling");
                }
            }
            break;
        }
        self.last = self.last.max(at);
        self.coming.insert((at, number + 1), bytes);
        (sent, at)
    }
}

impl Way {
    /// A message arrived.
    pub fn arrived(&mut self, message: &[u8], spaces: &[SpaceId]) {
        if let Some(Message::Data { slot, number, .. }) = decode(message) {
            self.waiting.insert((slot, number), commits(message, spaces));
        }
    }

    /// What the receiver answers: only what it says to have taken is at home there.
    pub fn answered(&mut self, message: &[u8]) {
        if let Some(Message::Ack { slot, number, refused, .. }) = decode(message) {
            let taken: Vec<_> = self.waiting.range((slot, 0)..=(slot, number)).map(|(at, _)| *at).collect();
            for commits in taken.iter().filter_map(|at| self.waiting.remove(at)) {
                self.delivered.extend(commits.into_iter().filter(|_| refused.is_empty()));
            }
        }
    }
}

/// The commits in a message, if it carries some. A frame does not say of which space it is: in a wrong one its commits have
/// ids that nobody else has.
pub fn commits(message: &[u8], spaces: &[SpaceId]) -> Vec<CommitId> {
    let Some(Message::Data { frame, .. }) = decode(message) else { return Vec::new() };
    let of = |space| frame::decode(space, &frame).unwrap_or_default();
    spaces.iter().flat_map(of).map(|commit| commit_id(&commit.header)).collect()
}

/// Whether it asks for what may have come before: its sender may not be told what is here, or lacks something.
pub fn asks_again(message: &[u8]) -> bool {
    match decode(message) {
        Some(Message::Open { summary, .. } | Message::Have { summary, .. }) => {
            summary.detail == Detail::Nothing
        }
        Some(Message::Want { again, .. }) => again.is_some(),
        _ => false,
    }
}

fn decode(message: &[u8]) -> Option<Message> {
    Message::decode(take_number(message)?.1).ok()
}
