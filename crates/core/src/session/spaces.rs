//! Many spaces in one session: those that stand where both sides last met are compared all at once, by one digest, and
//! found by a sketch where that differs. Only what changed or differs is opened; the rest sleeps until it changes.
//!
//! Who may read what is decided where a space is opened, not here: what is compared says only where both once met.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Ask, Event, Output, Role, SessionError, Surveyed};
use super::message::{Message, Slot};
use super::{Exchange, Session, Stage};
use crate::id::SpaceId;
use crate::limits::{FIRST_CELLS, MAX_BULK, MAX_CELLS, MAX_OPENS, MAX_SLOTS};
use crate::reconcile::{Clock, Detail, Salt, Summary};
use crate::sketch::{Cell, Item, Sketch};

/// What is known of the spaces that both sides had before this session.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    // To be opened once the peer is ready, and once the host has said which of them changed.
    waiting: Vec<SpaceId>,
    requested: Vec<SpaceId>,
    // The listener's: to be opened once it is known what both had before, or something settled without that.
    held: Vec<SpaceId>,
    surveying: bool,
    surveyed: bool,
    known: BTreeMap<SpaceId, Known>,
    names: BTreeMap<Item, SpaceId>,
    // What the peer said before the host knew.
    early: Vec<(Slot, Item, [u8; 8], Clock)>,
    // Slots of ours that the peer is to hear of before anything is compared.
    opening: BTreeSet<Slot>,
    // Not to be compared: the peer may not read it, or there was no room to open it.
    left_out: BTreeSet<SpaceId>,
    comparison: Comparison,
    // Requested, and the same as at the last meeting as far as we know.
    candidates: BTreeSet<SpaceId>,
    // Closed and the same on both sides: opened when it changes.
    asleep: BTreeSet<SpaceId>,
    // To be opened as soon as there is room.
    deferred: BTreeSet<SpaceId>,
}

#[derive(Debug)]
struct Known {
    item: Item,
    hash: u64,
    digest: [u8; 8],
    changed: bool,
}

// How far the two sides are with comparing.
#[derive(Debug, Default)]
enum Comparison {
    #[default]
    None,
    // The dialer: as soon as all that changed is opened; then with the cells that came.
    ToSay,
    Said(Vec<Cell>),
    // The listener: what the dialer has; then how many cells it was told.
    Heard(u64, u64),
    Told(Sketch, usize),
    Done,
}

impl Session {
    /// Exchanges many spaces: those that changed on either side since both last met, or never met, are opened; the
    /// others are `Unchanged` after one message from each side, and opened when they change. Once per session, and by
    /// the dialer; otherwise each is opened like a single one, by the listener not before the dialer has said what it has.
    pub fn open_all(&mut self, spaces: &[SpaceId]) {
        if self.stage != Stage::Open || !self.heard {
            self.spaces.waiting.extend_from_slice(spaces);
        } else if self.role == Role::Dialer && !self.spaces.surveyed && self.spaces.requested.is_empty() {
            self.spaces.requested = spaces.to_vec();
            self.survey();
        } else if self.role == Role::Listener && self.is_early() {
            self.spaces.held.extend_from_slice(spaces);
        } else {
            spaces.iter().for_each(|space| self.start_or_defer(space));
        }
    }

    // The dialer may be about to say what it has.
    fn is_early(&self) -> bool {
        let said = self.spaces.surveyed && !matches!(self.spaces.comparison, Comparison::None);
        !said && !self.slots.values().any(|exchange| exchange.settled)
    }

    /// Opens what waited for the dialer to say what it has.
    pub(super) fn open_held(&mut self) {
        for space in std::mem::take(&mut self.spaces.held) {
            self.start_or_defer(&space);
        }
    }

    /// Something may have changed in any space.
    pub fn missed(&mut self) {
        let slots: Vec<Slot> = self.slots.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.changed_in(slot));
        if !self.spaces.asleep.is_empty() || !self.spaces.candidates.is_empty() {
            self.survey();
        }
    }

    /// Where this side and the peer met before, as the host found it.
    pub fn handle_surveyed(&mut self, found: Vec<Surveyed>) {
        if !std::mem::take(&mut self.spaces.surveying) {
            return;
        }
        if std::mem::replace(&mut self.spaces.surveyed, true) {
            let changed = found.into_iter().filter(|found| found.changed);
            return changed.for_each(|found| self.wake(&found.space));
        }
        let salt = self.salt();
        for Surveyed { space, digest, changed } in found {
            let (item, hash) = item(&salt, &space, &digest);
            self.spaces.names.insert(item, space);
            self.spaces.known.insert(space, Known { item, hash, digest, changed });
        }
        for space in std::mem::take(&mut self.spaces.requested) {
            if self.spaces.known.get(&space).is_some_and(|known| !known.changed) && !self.is_open(&space) {
                self.spaces.candidates.insert(space);
            } else {
                self.start_or_defer(&space);
            }
        }
        for (slot, item, digest, clock) in std::mem::take(&mut self.spaces.early) {
            if self.reopened(slot, &item, digest, clock).is_err() {
                self.send(&Message::Close { slot });
            }
        }
        match self.spaces.comparison {
            Comparison::Heard(..) => self.open_changed(),
            Comparison::None if !self.spaces.candidates.is_empty() => {
                self.spaces.comparison = Comparison::ToSay;
                self.compare();
            }
            _ => {}
        }
    }

    pub(super) fn open_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.spaces.waiting);
        if !waiting.is_empty() {
            self.open_all(&waiting);
        }
    }

    /// The spaces that are not open because nothing in them changed.
    pub(super) fn asleep(&self) -> impl Iterator<Item = &SpaceId> {
        self.spaces.asleep.iter().chain(&self.spaces.candidates)
    }

    /// Whether a change in a space that is not open makes any difference.
    pub(super) fn is_woken_by(&self, space: &SpaceId) -> bool {
        let Spaces { asleep, candidates, known, .. } = &self.spaces;
        let unchanged = || known.get(space).is_some_and(|known| !known.changed);
        asleep.contains(space) || candidates.contains(space) || unchanged()
    }

    /// Something changed in a space that is not open.
    pub(super) fn wake(&mut self, space: &SpaceId) {
        if let Some(known) = self.spaces.known.get_mut(space) {
            known.changed = true;
        }
        if self.spaces.candidates.remove(space) {
            self.start_or_defer(space);
        } else if self.spaces.asleep.contains(space) {
            self.defer(*space);
        }
    }

    /// The space is open now, or not to be opened: it is not for here any more.
    pub(super) fn rouse(&mut self, space: &SpaceId) {
        self.spaces.candidates.remove(space);
        self.spaces.asleep.remove(space);
        self.spaces.deferred.remove(space);
    }

    /// The peer hears of a slot of ours now, or never will.
    pub(super) fn no_longer_opening(&mut self, slot: Slot) {
        if self.spaces.opening.remove(&slot) {
            self.compare();
        }
    }

    /// Nobody hears of a space that was opened unasked and that the peer may not read.
    pub(super) fn leave_out(&mut self, slot: Slot) {
        let Some(exchange) = self.slots.remove(&slot) else { return };
        self.outputs.push_back(Output::Ask(Ask::Forget { slot }));
        self.spaces.left_out.insert(exchange.space);
        self.no_longer_opening(slot);
    }

    /// How a space is opened that both sides have met in: by its salted name, and what is new since then.
    pub(super) fn reopening(&self, slot: Slot, summary: &Summary) -> Option<Message> {
        let exchange =
            self.slots.get(&slot).filter(|exchange| exchange.invite.is_none() && !exchange.plain)?;
        let known = self.spaces.known.get(&exchange.space)?;
        match &summary.detail {
            Detail::Since(digest, clock) if *digest == known.digest => {
                let (item, digest, clock) = (known.item, summary.digest, clock.clone());
                Some(Message::Reopen { slot, item, digest, clock })
            }
            _ => None,
        }
    }

    /// Opens a space by its salted name as it was when both sides met.
    pub(super) fn met_in(&self, slot: Slot, space: &SpaceId) -> Option<Message> {
        let Known { item, digest, .. } = *self.spaces.known.get(space)?;
        Some(Message::Reopen { slot, item, digest, clock: Clock::default() })
    }

    /// The peer opens a space by its salted name. The slot is free.
    pub(super) fn handle_reopen(
        &mut self,
        slot: Slot,
        item: Item,
        digest: [u8; 8],
        clock: Clock,
    ) -> Result<(), SessionError> {
        if self.slots.len() + self.spaces.early.len() >= MAX_SLOTS {
            return Err(SessionError::Unexpected("a slot that is not free"));
        }
        if self.spaces.surveyed {
            self.reopened(slot, &item, digest, clock)?;
        } else {
            self.spaces.early.push((slot, item, digest, clock));
            self.survey();
        }
        Ok(())
    }

    /// The peer closed a slot. True if it only did not know the salted name: then the space is opened by its own.
    pub(super) fn open_plainly(&mut self, slot: Slot) -> bool {
        self.spaces.early.retain(|(early, ..)| *early != slot);
        let Some(exchange) = self.slots.get(&slot).filter(|exchange| exchange.reopened && !exchange.answered)
        else {
            return false;
        };
        let (space, unasked) = (exchange.space, exchange.unasked);
        self.slots.remove(&slot);
        self.outputs.push_back(Output::Ask(Ask::Forget { slot }));
        if let Some(slot) = self.start(space, None)
            && let Some(exchange) = self.slots.get_mut(&slot)
        {
            exchange.plain = true;
            exchange.unasked = unasked;
        }
        true
    }

    /// What the dialer has: how many spaces, and the sum of their salted hashes.
    pub(super) fn handle_spaces(&mut self, count: u64, sum: [u8; 8]) -> Result<(), SessionError> {
        if self.role == Role::Dialer || !matches!(self.spaces.comparison, Comparison::None) {
            return Err(SessionError::Unexpected("spaces that are counted again"));
        }
        self.spaces.comparison = Comparison::Heard(count, u64::from_be_bytes(sum));
        if self.spaces.surveyed {
            self.open_changed();
        } else {
            self.survey();
        }
        Ok(())
    }

    /// The dialer could not find what differs.
    pub(super) fn handle_more(&mut self) -> Result<(), SessionError> {
        let Comparison::Told(sketch, told) = &mut self.spaces.comparison else {
            return Err(SessionError::Unexpected("a wish for cells before there are any"));
        };
        if *told >= MAX_CELLS {
            return Err(SessionError::Unexpected("a wish for cells without end"));
        }
        let cells = sketch.cells(*told * 2).split_off(*told);
        *told += cells.len();
        self.send(&Message::Cells(cells));
        Ok(())
    }

    /// Cells of what the listener has; none at all if it has the same.
    pub(super) fn handle_cells(&mut self, mut new: Vec<Cell>) -> Result<(), SessionError> {
        let Comparison::Said(cells) = &mut self.spaces.comparison else {
            return Err(SessionError::Unexpected("cells that nobody asked for"));
        };
        let last = new.is_empty();
        if cells.len() + new.len() > MAX_CELLS || last && !cells.is_empty() {
            return Err(SessionError::Unexpected("too many cells, or none"));
        }
        cells.append(&mut new);
        let cells = std::mem::take(cells);
        let differing: Vec<SpaceId> = if last {
            Vec::new()
        } else {
            match self.sketch().difference(&cells) {
                Some(difference) => {
                    difference.ours.iter().filter_map(|item| self.spaces.names.get(item).copied()).collect()
                }
                None if cells.len() < MAX_CELLS => {
                    self.spaces.comparison = Comparison::Said(cells);
                    self.send(&Message::More);
                    return Ok(());
                }
                None => self.spaces.candidates.iter().copied().collect(),
            }
        };
        self.spaces.comparison = Comparison::Done;
        for space in differing {
            if self.spaces.candidates.remove(&space) {
                self.start_or_defer(&space);
            }
        }
        let same = std::mem::take(&mut self.spaces.candidates);
        self.outputs.push_back(Output::Event(Event::Unchanged(same.iter().copied().collect())));
        self.spaces.asleep.extend(same);
        Ok(())
    }

    fn survey(&mut self) {
        // One that is under way will find what happened until now.
        if !std::mem::replace(&mut self.spaces.surveying, true) {
            self.outputs.push_back(Output::Ask(Ask::Survey { keys: self.proven.clone() }));
        }
    }

    // The listener opens what changed here before it says whether all else is the same.
    fn open_changed(&mut self) {
        let known: Vec<(SpaceId, bool)> =
            self.spaces.known.iter().map(|(space, known)| (*space, known.changed)).collect();
        let open: BTreeSet<SpaceId> = self.slots.values().map(|exchange| exchange.space).collect();
        for (space, changed) in known.into_iter().filter(|(space, _)| !open.contains(space)) {
            if changed && self.has_bulk_room() {
                let _ = self.start_unasked(&space);
                continue;
            }
            if changed {
                self.spaces.left_out.insert(space);
            }
            self.spaces.asleep.insert(space);
        }
        self.open_held();
        self.compare();
    }

    // Says what there is to compare, once the peer has heard of everything that is opened.
    fn compare(&mut self) {
        if !self.spaces.opening.is_empty() {
            return;
        }
        match self.spaces.comparison {
            Comparison::ToSay => {
                let (count, sum) = self.sum();
                self.spaces.comparison = Comparison::Said(Vec::new());
                self.send(&Message::Spaces { count, sum: sum.to_be_bytes() });
            }
            Comparison::Heard(count, sum) => {
                if self.sum() == (count, sum) {
                    self.spaces.comparison = Comparison::Done;
                    return self.send(&Message::Cells(Vec::new()));
                }
                let sketch = self.sketch();
                // As many as that differ at least.
                let least = (sketch.len() as u64).abs_diff(count);
                let told = usize::try_from(least).unwrap_or(MAX_CELLS).saturating_mul(2);
                let cells = sketch.cells(told.clamp(FIRST_CELLS, MAX_CELLS));
                self.spaces.comparison = Comparison::Told(sketch, cells.len());
                self.send(&Message::Cells(cells));
            }
            _ => {}
        }
    }

    fn compared(&self) -> impl Iterator<Item = &Known> {
        let compared = self.spaces.known.iter().filter(|(space, _)| !self.spaces.left_out.contains(*space));
        compared.map(|(_, known)| known)
    }

    fn sum(&self) -> (u64, u64) {
        self.compared().fold((0, 0), |(count, sum), known| (count + 1, known.hash.wrapping_add(sum)))
    }

    fn sketch(&self) -> Sketch {
        Sketch::new(*self.salt().key(), self.compared().map(|known| known.item).collect())
    }

    pub(super) fn is_open(&self, space: &SpaceId) -> bool {
        self.slots.values().any(|exchange| exchange.space == *space)
    }

    // Half of the slots are for what each side opens of many.
    fn has_bulk_room(&self) -> bool {
        self.slots.len() < MAX_SLOTS
            && self.our_opens < MAX_OPENS
            && self.slots.values().filter(|exchange| !exchange.by_peer).count() < MAX_BULK
    }

    fn start_or_defer(&mut self, space: &SpaceId) {
        if let Some(exchange) = self.slots.values().find(|exchange| exchange.space == *space) {
            if exchange.settled && !exchange.stalled {
                self.outputs.push_back(Output::Event(Event::Settled(*space)));
            }
        } else if self.spaces.asleep.contains(space) {
            self.outputs.push_back(Output::Event(Event::Unchanged(vec![*space])));
        } else if self.has_bulk_room()
            && let Some(slot) = self.start(*space, None)
        {
            self.spaces.opening.insert(slot);
        } else {
            self.defer(*space);
        }
    }

    // Opens it as soon as there is room.
    fn defer(&mut self, space: SpaceId) {
        self.spaces.deferred.insert(space);
        self.make_room();
    }

    /// Opens what waits for room. Where there is none, a space rests that is the same on both sides: it needs no slot
    /// before it changes.
    pub(super) fn make_room(&mut self) {
        while let Some(space) = self.spaces.deferred.first().copied() {
            if self.our_opens >= MAX_OPENS {
                let deferred = std::mem::take(&mut self.spaces.deferred).into_iter();
                return self.outputs.extend(deferred.map(|space| Output::Event(Event::Later(space))));
            }
            if !self.has_bulk_room() {
                let calm = |exchange: &Exchange| {
                    !exchange.by_peer && exchange.invite.is_none() && exchange.is_calm()
                };
                let Some((slot, _)) = self.slots.iter().find(|(_, exchange)| calm(exchange)) else { return };
                self.rest(*slot);
                continue;
            }
            self.spaces.deferred.remove(&space);
            let woken = self.spaces.asleep.remove(&space);
            if let Some(slot) = self.start_unasked(&space)
                && let Some(exchange) = self.slots.get_mut(&slot)
            {
                exchange.woken = woken;
            }
        }
    }

    fn rest(&mut self, slot: Slot) {
        let Some(exchange) = self.slots.remove(&slot) else { return };
        self.send(&Message::Rest { slot });
        if let Some(slot) = exchange.crossed {
            self.send(&Message::Close { slot });
        }
        self.outputs.push_back(Output::Ask(Ask::Forget { slot }));
        self.no_longer_opening(slot);
        self.spaces.asleep.insert(exchange.space);
    }

    /// The peer needs the slot for another space.
    pub(super) fn handle_rest(&mut self, slot: Slot) -> Result<(), SessionError> {
        let Some(exchange) = self.slots.get(&slot) else { return Ok(()) };
        if !exchange.by_peer {
            return Err(SessionError::Unexpected("a slot of ours that is to rest"));
        }
        let calm = exchange.is_calm();
        if let Some(space) = self.leave(slot, false) {
            self.spaces.asleep.insert(space);
            // What the peer did not wait for goes over in another slot.
            if !calm {
                self.wake(&space);
            }
        }
        Ok(())
    }

    fn start_unasked(&mut self, space: &SpaceId) -> Option<Slot> {
        let slot = self.start(*space, None)?;
        self.spaces.opening.insert(slot);
        if let Some(exchange) = self.slots.get_mut(&slot) {
            exchange.unasked = self.role == Role::Listener;
        }
        Some(slot)
    }

    fn reopened(
        &mut self,
        slot: Slot,
        item: &Item,
        digest: [u8; 8],
        clock: Clock,
    ) -> Result<(), SessionError> {
        let named = self.spaces.names.get(item).copied();
        let Some(known) = named.and_then(|space| self.spaces.known.get(&space)) else {
            self.send(&Message::Close { slot });
            return Ok(());
        };
        let summary = Summary { digest, detail: Detail::Since(known.digest, clock) };
        match named.filter(|space| !self.is_open_by_peer(space)) {
            Some(space) => self.opened_by_peer(slot, Exchange::new(space, None, true), summary),
            None => {
                self.send(&Message::Close { slot });
                Ok(())
            }
        }
    }
}

// A space as it stands in the sketch, and its part of the sum.
fn item(salt: &Salt, space: &SpaceId, digest: &[u8; 8]) -> (Item, u64) {
    let name = blake3::keyed_hash(salt.key(), &space.0);
    let mut hasher = blake3::Hasher::new_keyed(salt.key());
    let held = hasher.update(&space.0).update(digest).finalize();
    let (mut item, mut hash) = ([0; 12], [0; 8]);
    item[..8].copy_from_slice(&name.as_bytes()[..8]);
    item[8..].copy_from_slice(&held.as_bytes()[..4]);
    hash.copy_from_slice(&held.as_bytes()[4..12]);
    (item, u64::from_be_bytes(hash))
}
