//! Starting over: folding a space again from its log, and forgetting a space. The log is the truth, all else follows.

use std::ops::{Bound, ControlFlow};

use driftless_core::commit::Kind;
use driftless_core::id::SpaceId;
use driftless_store::{Key, Order, Storage, Table};

use crate::collections::Collections;
use crate::digest::Sum;
use crate::engine::Engine;
use crate::error::Error;
use crate::layout::{self, LogKey, key};
use crate::log;
use crate::replica::{Counts, Facts};
use crate::space::{Digest, Space};
use crate::write::forgotten_key;

// Rows removed between two looks at storage.
const BATCH: usize = 1000;

impl Space {
    /// Throws the view away and folds it again from the log.
    pub fn rebuild(&self) -> Result<Digest, Error> {
        self.database().write(|engine| rebuild(engine, &self.id()))?;
        self.digest()
    }

    /// Removes the local copy. Other replicas keep theirs; a bundle brings it back.
    pub fn forget(&self) -> Result<(), Error> {
        self.database().write(|engine| forget(engine, &self.id()))
    }
}

/// Throws away what follows from the log of a space, and derives it again in the order in which commits arrived.
fn rebuild(engine: &mut Engine, space: &SpaceId) -> Result<(), Error> {
    engine.present(space)?;
    engine.write_view()?;
    clear_view(engine, space)?;
    let (_, replica) = engine.parts(space)?;
    // What had its effect keeps it, also if the clock was set back since.
    let held = replica.held.clone();
    replica.start_over();
    // The log seems to end where it was folded: what stands later has no state yet.
    let last = std::mem::replace(&mut replica.next, 1);
    for at in 1..last {
        let (storage, replica) = engine.parts(space)?;
        replica.next = at + 1;
        let key = replica.key(at);
        let row = log::row(storage, key)?;
        let facts = Facts::of(key, &row);
        let parents: Vec<u64> = row.previous.iter().chain(&row.parents).copied().collect();
        replica.join(facts, &parents, held.contains(&(row.time, at)));
        match row.kind {
            Kind::Documents => drop(engine.settle_new(space, facts, &row)?),
            Kind::Rules => engine.settle_rule(space, facts, &row)?,
        }
    }
    engine.staged();
    Ok(())
}

/// Removes a space and everything of it, but remembers how far this user's key had written in it.
fn forget(engine: &mut Engine, space: &SpaceId) -> Result<(), Error> {
    engine.present(space)?;
    engine.write_view()?;
    clear_view(engine, space)?;
    let own = engine.author();
    let (storage, replica) = engine.parts(space)?;
    let number = replica.number;
    if let Some(tip) = log::known_author(storage, &own)?.and_then(|author| replica.last_of(author)) {
        let row = tip.seq.to_be_bytes();
        storage.put(&layout::META, forgotten_key(space, &own).as_slice().into(), &row)?;
    }
    for at in 1..replica.next {
        let at = LogKey::new(number, at);
        let row = log::row(storage, at)?;
        log::forget_id(storage, at, &row.id)?;
    }
    let (lower, upper) = (LogKey::new(number, 0).0, LogKey::new(number, u64::MAX).0);
    for table in [&layout::LOG, &layout::BODY, &layout::HEAD, &layout::RULE] {
        remove_numbers(storage, table, lower, upper)?;
    }
    remove_bytes(storage, &layout::RUN, &key([lower]), &key([upper + 1]))?;
    let (lower, upper) = (u64::from(number) << 32, (u64::from(number) << 32) | u64::from(u32::MAX));
    remove_numbers(storage, &layout::FRONTIER, lower, upper)?;
    let (lower, upper) = (number.to_be_bytes(), (number + 1).to_be_bytes());
    remove_bytes(storage, &layout::TIP, &lower, &upper)?;
    remove_bytes(storage, &layout::COLLECTION, &lower, &upper)?;
    storage.remove(&layout::SPACE, u64::from(number).into())?;
    storage.remove(&layout::SPACE_ID, space.0.as_slice().into())?;
    engine.replicas.remove(space);
    engine.collections.clear();
    engine.staged();
    Ok(())
}

// Removes the documents of a space with their edits, checkpoints and index entries, and all states.
fn clear_view(engine: &mut Engine, space: &SpaceId) -> Result<(), Error> {
    let number = engine.parts(space)?.1.number;
    let storage = engine.storage.as_mut();
    for name in Collections::names(storage, number)? {
        let Some(facts) = engine.collections.get(storage, number, &name)? else { continue };
        for index in &facts.indexes {
            let (lower, upper) = (key([index.number]), key([index.number + 1]));
            remove_bytes(storage, &layout::INDEX_VALUE, &lower, &upper)?;
        }
        loop {
            let mut numbers = Vec::new();
            storage.scan(facts.number, None, &mut |stored| {
                numbers.push(stored.number);
                if numbers.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            for number in &numbers {
                storage.remove_document(*number)?;
                let (lower, upper) = (key([*number]), key([*number + 1]));
                remove_bytes(storage, &layout::EDIT, &lower, &upper)?;
                remove_bytes(storage, &layout::CHECKPOINT, &lower, &upper)?;
            }
            if numbers.len() < BATCH {
                break;
            }
        }
    }
    let (lower, upper) = (LogKey::new(number, 0), LogKey::new(number, u64::MAX));
    remove_numbers(storage, &layout::STATE, lower.0, upper.0)?;
    remove_bytes(storage, &layout::RETRACT, &key([u64::from(number)]), &key([u64::from(number) + 1]))?;
    engine.view.clear();
    let (_, replica) = engine.parts(space)?;
    replica.documents = 0;
    replica.view = Sum::default();
    replica.counts = Counts { commits: replica.counts.commits, ..Counts::default() };
    replica.changed = true;
    Ok(())
}

fn remove_numbers(storage: &mut dyn Storage, table: &Table, lower: u64, upper: u64) -> Result<(), Error> {
    loop {
        let mut keys = Vec::new();
        let bounds = (Bound::Included(Key::U64(lower)), Bound::Included(Key::U64(upper)));
        storage.range(table, bounds.0, bounds.1, Order::Ascending, &mut |key, _| {
            if let Key::U64(number) = key {
                keys.push(number);
            }
            if keys.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        for key in &keys {
            storage.remove(table, (*key).into())?;
        }
        if keys.len() < BATCH {
            return Ok(());
        }
    }
}

// From `lower` up to, not including, `upper`.
fn remove_bytes(storage: &mut dyn Storage, table: &Table, lower: &[u8], upper: &[u8]) -> Result<(), Error> {
    loop {
        let mut keys = Vec::new();
        let bounds = (Bound::Included(Key::Bytes(lower)), Bound::Excluded(Key::Bytes(upper)));
        storage.range(table, bounds.0, bounds.1, Order::Ascending, &mut |key, _| {
            if let Key::Bytes(bytes) = key {
                keys.push(bytes.to_vec());
            }
            if keys.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        for key in &keys {
            storage.remove(table, key.as_slice().into())?;
        }
        if keys.len() < BATCH {
            return Ok(());
        }
    }
}
