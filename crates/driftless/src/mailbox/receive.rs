//! The objects of others: found, checked, and taken through the one door, writer by writer from where each was left.
//!
//! What cannot be taken is an alarm and stays owed; later objects are read all the same, and what lies before them without
//! being anything is passed over, some of it in each exchange. A writer whose commits stand on another's waits for that one
//! to be read first.

use std::collections::HashSet;

use driftless_core::commit::{Header, Received, commit_id};
use driftless_core::frame;
use driftless_core::id::{CommitId, SpaceId};
use driftless_net::mailbox::{MAX_LISTING, MAX_OBJECT};

use super::ahead::Ahead;
use super::alarm::AlarmKind;
use super::exchange::{Exchange, store};
use super::object::{self, Object, Writer};
use super::passed::{Then, Vain};
use super::row::{self, MAX_ALARMS, MailboxKey, Own, Reading};
use super::send::kind;
use super::writers::Order;
use super::{MailboxCommit, MailboxEvent, MailboxFilter, blocking};
use crate::door::ingest::ingest;
use crate::error::Error;
use crate::state::engine::Engine;
use crate::tables::layout;
use crate::tables::view::Source;

/// Names of one writer that are looked at in vain before it goes on where the last exchange stopped: of whoever has given
/// something, and of anybody else.
const FIRST: u64 = 32;
const FIRST_OF_STRANGERS: u64 = 4;
/// Owed objects of one writer that are asked for again in one exchange.
const MAX_OWED: usize = 64;
/// Objects of one writer in one exchange of which nothing is learned.
const MAX_IDLE: u64 = 4096;
/// Pages of listings that are counted for the progress of a first copy.
const MAX_COUNTED: usize = 1000;
/// Objects under one number that are looked at in one exchange.
const MAX_TWINS: usize = 4;

/// Where the reading of a writer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// At the end of what is there.
    End,
    /// Before an object whose commits stand on others that are not here.
    Blocked,
    Cancelled,
}

#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    new: u64,
    refused: u64,
    early: bool,
    newer: bool,
    /// Commits that were not here, or not known to be there.
    learned: u64,
    /// That the writer was read to there is written down already.
    kept: bool,
    /// Some of its commits are here, known or new.
    here: bool,
    /// The filter took contents away.
    thin: bool,
}

impl Reading {
    // Whether an object was taken without all of its contents.
    fn thins(&mut self, number: u64, taken: Taken) {
        if taken.thin { self.thin.insert(number) } else { self.thin.remove(number) }
    }
}

impl Exchange<'_> {
    /// Reads everybody else. `false` where it was cancelled.
    pub(super) async fn receive(&mut self) -> Result<bool, Error> {
        let (own, _) = self.own().await?;
        self.begin_turns().await?;
        let order = self.order(&own).await?;
        let done = self.read_all(&own, &order).await;
        self.turns.round = self.turns.round.wrapping_add(u64::from(self.turned));
        self.keep_turns().await?;
        done
    }

    async fn read_all(&mut self, own: &Writer, order: &Order) -> Result<bool, Error> {
        let mut writers = order.writers.clone();
        self.say_what_is_there(&writers).await?;
        for writer in &writers {
            if !self.ask_again(writer, true).await? {
                return Ok(false);
            }
        }
        // As long as reading one lets another go on; and then past what stands on nothing.
        let mut force = false;
        loop {
            let (before, mut blocked) = (self.done.objects_in, Vec::new());
            for writer in &writers {
                match self.read_on(writer, force).await? {
                    Stand::End => {}
                    Stand::Blocked => blocked.push(*writer),
                    Stand::Cancelled => return Ok(false),
                }
                self.was_read(order, writer).await?;
            }
            let went_on = self.done.objects_in > before;
            if blocked.is_empty() || (!went_on && force) {
                break;
            }
            force = !went_on;
            writers = blocked;
        }
        // What one was asked for may be what another stands on.
        loop {
            let before = self.done.objects_in;
            for (writer, reading) in self.readings().await? {
                let asks = !reading.owed().is_empty() || !reading.thin.is_empty();
                if asks && writer != *own && !self.ask_again(&writer, false).await? {
                    return Ok(false);
                }
            }
            if self.done.objects_in == before {
                break;
            }
        }
        self.compare_with_hearsay(own).await?;
        Ok(true)
    }

    // For the progress of a first copy: how much there is.
    async fn say_what_is_there(&mut self, writers: &[Writer]) -> Result<(), Error> {
        let readings = self.readings().await?;
        if readings.iter().any(|(_, reading)| reading.at > 0) {
            return Ok(());
        }
        let (mut objects, mut bytes, mut pages) = (0, 0_u64, 0);
        for writer in writers {
            let (prefix, mut after) = (writer.prefix(&self.mailbox.space), String::new());
            while pages < MAX_COUNTED {
                pages += 1;
                if !self.goes_on().await {
                    return Ok(());
                }
                let page = self.list(&prefix, &after, MAX_LISTING).await?;
                objects += page.objects.len() as u64;
                bytes = page.objects.iter().fold(bytes, |bytes, listed| bytes.saturating_add(listed.size));
                match page.objects.last() {
                    Some(last) if page.more => after = last.name.to_string(),
                    _ => break,
                }
            }
        }
        if objects > 0 {
            self.tell(MailboxEvent::Found { objects, bytes });
        }
        Ok(())
    }

    pub(super) async fn reading(&self, writer: &Writer) -> Result<Reading, Error> {
        let (key, writer) = (self.mailbox.key, *writer);
        blocking(&self.mailbox.database, move |database| {
            database.read(|engine| row::reading(engine.storage.as_ref(), &key, &writer))
        })
        .await
    }

    // Whether the last object that was read is still there, if `first`; and what is owed, once more.
    async fn ask_again(&mut self, writer: &Writer, first: bool) -> Result<bool, Error> {
        let mut reading = self.reading(writer).await?;
        let prefix = writer.prefix(&self.mailbox.space);
        if first && reading.at > 0 {
            let (at, hash) = (reading.at, reading.hash);
            // By its whole name: others may lie there under the same number.
            let name = object::name(&self.mailbox.space, writer, at, &hash);
            let page = self.list(name.as_ref().map_or(prefix.as_str(), |name| name.as_str()), "", 1).await?;
            let there = page.objects.first().is_some_and(|listed| Some(&listed.name) == name.as_ref());
            let owed = reading.owed().contains(&at);
            if !there && !owed {
                self.alarm(writer, &mut reading, at, AlarmKind::Gone).await?;
            } else if reading.settle(|_, kind| kind == AlarmKind::Gone) {
                self.keep(writer, &reading).await?;
            }
        }
        // What a filter left out is fetched once nothing filters any more.
        let mut owed = reading.owed();
        owed.sort_unstable();
        if self.options.receive_filter.is_none() {
            owed.extend(reading.thin.after(0).take(MAX_OWED));
        }
        owed.dedup();
        // From the first on, because the later ones stand on them; and of the rest now these, now those.
        let (mut at, mut in_vain, mut turned) = (0, 0, false);
        while let Some(number) = owed.get(at).copied() {
            at += 1;
            if !self.goes_on().await {
                return Ok(false);
            }
            in_vain += usize::from(!self.ask_for(writer, &mut reading, number).await?);
            if in_vain >= MAX_OWED / 2 {
                if turned {
                    break;
                }
                (turned, in_vain) = (true, 0);
                self.in_turn(owed.get_mut(at..).unwrap_or_default(), MAX_OWED / 2, u64::from(!first));
            }
        }
        Ok(true)
    }

    // One object that is owed. `false` if it still is.
    async fn ask_for(&mut self, writer: &Writer, reading: &mut Reading, number: u64) -> Result<bool, Error> {
        let prefix = writer.prefix(&self.mailbox.space);
        let stopped = self.passed.owed(writer, number).map(|name| format!("{prefix}{name}"));
        let numbered = format!("{prefix}{}-", object::numbered(number));
        let page = self.list(&numbered, &stopped.unwrap_or_default(), MAX_TWINS).await?;
        // All the way round: after the last of them comes the first.
        let last = page.objects.last().filter(|_| page.more);
        let last = last.and_then(|last| last.name.as_str().strip_prefix(&prefix)).map(str::to_owned);
        let mut settled = false;
        for listed in page.objects {
            let Some(Ok((object, bytes))) = self.fetch(writer, &listed).await? else { continue };
            let taken = self.take(writer, &object, reading, bytes).await?;
            if let Some(taken) = taken.filter(|taken| !taken.early && !taken.newer) {
                settled = true;
                reading.settle(|at, kind| at == number && kind.is_owed());
                reading.thins(number, taken);
                self.keep(writer, reading).await?;
            }
        }
        self.passed.stop_owed(writer, reading.gave > 0, number, last.filter(|_| !settled));
        Ok(settled)
    }

    // Reads the objects of a writer from where it was left. Past those that stand on others only with `force`.
    async fn read_on(&mut self, writer: &Writer, force: bool) -> Result<Stand, Error> {
        let mut reading = self.reading(writer).await?;
        if !self.has_room_for(&reading) {
            return Ok(Stand::End);
        }
        let prefix = writer.prefix(&self.mailbox.space);
        let mut after = format!("{prefix}{}.", object::numbered(reading.at));
        let first = if reading.gave > 0 { FIRST } else { FIRST_OF_STRANGERS };
        let mut vain = Vain::new(first, self.passed.name(writer));
        let (mut idle, mut ahead) = (0, Ahead::of(&self.mailbox.place));
        'pages: loop {
            let page = self.list(&prefix, &after, MAX_LISTING).await?;
            if page.objects.iter().all(|listed| object::read_name(&listed.name).is_none())
                && let Some(last) =
                    page.objects.last().and_then(|last| last.name.as_str().strip_prefix(&prefix))
            {
                match vain.page(last) {
                    Then::On => {}
                    Then::Behind(name) => {
                        after = format!("{prefix}{name}");
                        continue;
                    }
                    Then::Later => {
                        self.passed.stop(writer, reading.gave > 0, Some(last.to_owned()));
                        return Ok(Stand::End);
                    }
                }
            }
            for (at, listed) in page.objects.iter().enumerate() {
                if !self.goes_on().await {
                    return Ok(Stand::Cancelled);
                }
                let Some((number, hash)) = object::read_name(&listed.name) else {
                    self.done.foreign += 1;
                    continue;
                };
                if idle > MAX_IDLE {
                    // The next exchange goes on from there: others wait as well.
                    return Ok(Stand::End);
                }
                let rest = page.objects.get(at..).unwrap_or_default();
                let (object, bytes) = match self.fetch_first(writer, rest, &mut ahead).await? {
                    Some(Ok(object)) => object,
                    unusable => {
                        // Anybody can put such a thing there: it moves nothing. Or it is gone since it was listed.
                        if let Some(Err(unusable)) = unusable {
                            self.in_vain += listed.size.min(MAX_OBJECT as u64);
                            if number == reading.at + 1 {
                                self.alarm(writer, &mut reading, number, kind(unusable)).await?;
                            } else {
                                self.done.foreign += 1;
                            }
                        }
                        let name = listed.name.as_str().strip_prefix(&prefix).unwrap_or_default();
                        match vain.name(name) {
                            Then::On if self.has_room_for(&reading) => continue,
                            Then::Behind(name) if self.has_room_for(&reading) => {
                                (after, ahead) = (format!("{prefix}{name}"), Ahead::of(&self.mailbox.place));
                                continue 'pages;
                            }
                            _ => {
                                self.passed.stop(writer, reading.gave > 0, Some(name.to_owned()));
                                return Ok(Stand::End);
                            }
                        }
                    }
                };
                if !self.bridge(writer, &mut reading, number).await? {
                    return Ok(Stand::End);
                }
                let follows = number == reading.at + 1
                    && (reading.owed().contains(&reading.at) || object.head.previous == reading.hash);
                if number <= reading.at || (!follows && !reading.owed().contains(&(number - 1))) {
                    self.alarm(writer, &mut reading, number, AlarmKind::Forked).await?;
                }
                // With nothing wrong, its place is kept together with what is in it.
                let plain = follows && reading.alarms.is_empty() && self.kept.contains(writer);
                let then = plain.then_some((number, hash));
                let taken = self.take_and_keep(writer, &object, &mut reading, bytes, then).await?;
                idle += u64::from(taken.is_none_or(|taken| taken.learned == 0));
                if taken.is_none_or(|taken| !taken.here) {
                    self.in_vain += bytes;
                    if !self.has_room_for(&reading) {
                        return Ok(Stand::End);
                    }
                } else {
                    ahead.trust();
                }
                if taken.is_some_and(|taken| taken.kept) {
                    continue;
                }
                let whole = taken.is_some_and(|taken| !taken.early && !taken.newer);
                if taken.is_some_and(|taken| taken.early) && !force {
                    return Ok(Stand::Blocked);
                }
                match taken {
                    None => self.alarm(writer, &mut reading, number, AlarmKind::Sealed).await?,
                    Some(taken) if taken.newer => {
                        self.alarm(writer, &mut reading, number, AlarmKind::Newer).await?;
                    }
                    Some(_) if !whole => self.alarm(writer, &mut reading, number, AlarmKind::Early).await?,
                    Some(_) => {
                        let instead: HashSet<u64> = object.head.instead.iter().copied().collect();
                        reading.settle(|at, kind| {
                            kind.is_owed()
                                && (at == number || (kind != AlarmKind::Sealed && instead.contains(&at)))
                        });
                    }
                }
                let is_owed = |(at, kind, _): &(u64, AlarmKind, u64)| *at == number && kind.is_owed();
                if taken.is_none_or(|taken| taken.early || taken.newer) && !reading.alarms.iter().any(is_owed)
                {
                    // No alarm fits any more: it is read again once some are settled.
                    return Ok(Stand::End);
                }
                if number > reading.at {
                    (reading.at, reading.hash) = (number, hash);
                }
                taken.into_iter().for_each(|taken| reading.thins(number, taken));
                self.keep(writer, &reading).await?;
            }
            match page.objects.last() {
                Some(last) if page.more => after = last.name.to_string(),
                _ => {
                    self.passed.stop(writer, reading.gave > 0, None);
                    return Ok(Stand::End);
                }
            }
        }
    }

    // Every number up to this one is owed if it was not read. `false` where that is more than can be remembered.
    async fn bridge(&mut self, writer: &Writer, reading: &mut Reading, number: u64) -> Result<bool, Error> {
        let gap = number.saturating_sub(reading.at).saturating_sub(1);
        let room = MAX_ALARMS.saturating_sub(reading.alarms.len()) as u64;
        if gap > room {
            self.alarm(writer, reading, reading.at + 1, AlarmKind::Missing).await?;
            return Ok(false);
        }
        let known: HashSet<u64> = reading.owed_at_all().collect();
        let missing = (reading.at + 1..number).filter(|at| !known.contains(at));
        self.alarm_all(writer, reading, missing, AlarmKind::Missing).await?;
        // Owed from now on: what stands after it counts.
        if gap > 0 {
            reading.at = number - 1;
        }
        Ok(true)
    }

    async fn take(
        &mut self,
        writer: &Writer,
        object: &Object,
        reading: &mut Reading,
        bytes: u64,
    ) -> Result<Option<Taken>, Error> {
        self.take_and_keep(writer, object, reading, bytes, None).await
    }

    // Takes what is in an object; `None` where it is sealed, and stays so. With `then`, the writer was read up to there,
    // if all of it was taken.
    async fn take_and_keep(
        &mut self,
        writer: &Writer,
        object: &Object,
        reading: &mut Reading,
        bytes: u64,
        then: Option<(u64, [u8; 32])>,
    ) -> Result<Option<Taken>, Error> {
        self.hear(writer, &object.head);
        let content = match (object.head.seal.as_str(), &self.options.seal) {
            ("", _) => Some(object.content.clone()),
            (name, Some(seal)) => seal.open(name, &object.content),
            _ => None,
        };
        let Some(content) = content else { return Ok(None) };
        let (key, space, filter) =
            (self.mailbox.key, self.mailbox.space, self.options.receive_filter.clone());
        let place = row::read_key(&key, writer);
        let read_to = then.map(|(at, hash)| Reading { at, hash, ..reading.clone() });
        let taken = blocking(&self.mailbox.database, move |database| {
            let Some(frames) = object::unpack(&content) else { return Ok(None) };
            let taken = database.write_durably(|engine| {
                let mut taken = take(engine, &key, &space, &frames, filter.as_ref())?;
                if let Some(mut reading) = read_to.filter(|_| !taken.early && !taken.newer && !taken.thin) {
                    reading.gave = reading.gave.saturating_add(taken.learned);
                    engine.storage.put(&layout::MAILBOX_READ, place.as_slice().into(), &reading.encode())?;
                    taken.kept = true;
                }
                Ok(taken)
            });
            taken.map(Some)
        })
        .await?;
        let Some(taken) = taken else {
            // Its writer signed what is no content: it will not change, and holds nothing.
            self.alarm(writer, reading, object.head.number, AlarmKind::Forked).await?;
            return Ok(Some(Taken::default()));
        };
        reading.gave = reading.gave.saturating_add(taken.learned);
        if let Some((at, hash)) = then.filter(|_| taken.kept) {
            (reading.at, reading.hash) = (at, hash);
        }
        if taken.learned > 0 {
            self.effort.begin();
        }
        // Of a stranger's objects there is nothing to be read.
        self.open |= object.head.seal.is_empty() && taken.here;
        self.hear_of_lacks(reading, &object.head.lacks).await?;
        self.done.received += taken.new;
        self.done.refused += taken.refused;
        if !taken.early && !taken.newer {
            self.done.objects_in += 1;
            self.tell(MailboxEvent::Received { commits: taken.new, bytes });
        }
        Ok(Some(taken))
    }
}

// The frames of an object, through the door; and which positions of the log are in the mailbox now.
fn take(
    engine: &mut Engine,
    key: &MailboxKey,
    space: &SpaceId,
    frames: &[Vec<u8>],
    filter: Option<&MailboxFilter>,
) -> Result<Taken, Error> {
    engine.source(Source::Peer);
    let mut done = Taken::default();
    let store = store(engine)?;
    let own = row::own(engine.storage.as_ref(), key)?.filter(|own| own.store == store);
    let mut own = own.unwrap_or(Own { store, ..Own::default() });
    for bytes in frames {
        // One after the other: a few bytes of a frame can stand for many.
        let Ok(mut received) = frame::decode(space, bytes) else {
            done.refused += 1;
            continue;
        };
        if !engine.load(space)? && received.iter().all(|commit| commit_id(&commit.header).0 != space.0) {
            // The beginning of the space is in an object of somebody else.
            done.early = true;
            break;
        }
        let (bodiless, thin) = without(&mut received, filter);
        done.thin |= thin;
        let taken = ingest(engine, received)?;
        let tally = taken.tally;
        done.new += tally.applied + tally.held + tally.void + tally.wanted;
        done.refused += tally.refused;
        done.newer |= tally.declined > 0;
        done.early |= !taken.early.is_empty();
        done.here |= !taken.here.is_empty();
        for (of, id) in &taken.here {
            if of != space || bodiless.contains(id) || !engine.load(space)? {
                continue;
            }
            let (storage, replica) = engine.parts(space)?;
            if let Some(facts) = replica.facts(storage, id)?.filter(|facts| facts.at > own.upto) {
                done.learned += u64::from(!own.there.contains(facts.at));
                own.is_there(facts.at);
            }
        }
    }
    done.learned = done.learned.max(done.new);
    engine.storage.put(&layout::MAILBOX_OWN, key.as_slice().into(), &own.encode())?;
    engine.staged();
    Ok(done)
}

// Takes contents away that are not wanted here; which commits came without theirs, and whether something was taken.
fn without(received: &mut [Received], filter: Option<&MailboxFilter>) -> (HashSet<CommitId>, bool) {
    let (mut bodiless, mut thin) = (HashSet::new(), false);
    for commit in received {
        let came = commit.body.is_some();
        if let Some(filter) = filter
            && came
            && Header::decode(&commit.header).is_ok_and(|header| !MailboxCommit::keeps(filter, &header))
        {
            commit.body = None;
            thin = true;
        }
        if !came {
            bodiless.insert(commit_id(&commit.header));
        }
    }
    (bodiless, thin)
}
