//! Which commits have their effect: steps 6 and 7 of the walk. A commit's state follows from the rules, the clock, the
//! retractions and the bodies that are here; when it changes, documents are folded with or without the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use driftless_core::broken::{Broken, is as is_broken};
use driftless_core::commit::Kind;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::verdict::{Change, FrontierId, RuleIndex, Verdict};
use driftless_store::{Key, Order, Storage};

use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::replica::{self, Facts, Replica};
use crate::tables::layout::{self, LogKey, Row, State, key, retract_key};
use crate::tables::log;
use crate::tables::view::Origin;
use crate::walk;

impl Engine {
    /// Gives a commit its first state: one that was just appended, or one of a log that is folded again.
    pub(crate) fn settle_new(
        &mut self,
        space: &SpaceId,
        facts: Facts,
        row: &Row,
        body: Body,
    ) -> Result<Option<State>, Error> {
        let _step = walk::judge();
        let (storage, replica) = self.parts(space)?;
        let at = replica.key(facts.at);
        let judged = judge(storage, replica, at, row, body)?;
        if judged.is_some() || !row.in_run() {
            self.move_to(space, at, row, None, judged, true)?;
            return Ok(judged);
        }
        // Part of a transaction: without effect until the last of it is here.
        self.move_to(space, at, row, None, Some(State::Incomplete), true)?;
        self.settle_run(space, at, row)?;
        log::state(self.storage.as_ref(), at)
    }

    /// Judges a commit again and makes the difference.
    pub(crate) fn settle(&mut self, space: &SpaceId, at: LogKey) -> Result<Option<State>, Error> {
        let (storage, replica) = self.parts(space)?;
        let row = log::row(storage, at)?;
        let old = log::state(storage, at)?;
        let judged = judge(storage, replica, at, &row, Body::Unknown)?;
        if !row.in_run() {
            if old != judged {
                self.move_to(space, at, &row, old, judged, false)?;
            }
            return Ok(judged);
        }
        // Whether its transaction is complete is decided for all of it at once.
        let was_eligible = matches!(old, None | Some(State::Incomplete));
        match judged {
            None if was_eligible => return Ok(old),
            None => self.move_to(space, at, &row, old, Some(State::Incomplete), false)?,
            Some(_) if old == judged => return Ok(old),
            Some(_) => self.move_to(space, at, &row, old, judged, false)?,
        }
        self.settle_run(space, at, &row)?;
        log::state(self.storage.as_ref(), at)
    }

    // Every commit of a transaction has its effect exactly if there is a way through it, from its first commit to a
    // last one, on which all are here and count. (An author who forked inside a transaction made several ways.)
    fn settle_run(&mut self, space: &SpaceId, at: LogKey, row: &Row) -> Result<(), Error> {
        let (storage, replica) = self.parts(space)?;
        let end = replica.key(replica.next);
        if row.continues && next_of_run(storage, at, end)?.is_empty() {
            // No way leads on from here yet, and none that there was before leads through here.
            return Ok(());
        }
        let number = replica.number;
        let (mut first, mut row) = (at, row.clone());
        while let Some(previous) = row.previous.filter(|_| row.run > 0) {
            first = LogKey::new(number, previous);
            row = log::row(storage, first)?;
        }
        let mut members: BTreeMap<LogKey, Member> = BTreeMap::new();
        let mut open = vec![(first, None)];
        while let Some((at, before)) = open.pop() {
            let row = log::row(storage, at)?;
            let state = log::state(storage, at)?;
            let eligible = matches!(state, None | Some(State::Incomplete));
            let reached =
                eligible && before.is_none_or(|before| members.get(&before).is_some_and(|m| m.reached));
            members.insert(at, Member { before, state, reached, ends: reached && !row.continues });
            if row.continues {
                open.extend(next_of_run(storage, at, end)?.into_iter().map(|next| (next, Some(at))));
            }
        }
        // Children stand after their parents in the log.
        let keys: Vec<LogKey> = members.keys().rev().copied().collect();
        for at in &keys {
            let Some(member) = members.get(at).copied() else { continue };
            if let Some(before) =
                member.before.filter(|_| member.ends).and_then(|before| members.get_mut(&before))
            {
                before.ends = true;
            }
        }
        for (at, member) in members {
            let new = if member.ends { None } else { Some(State::Incomplete) };
            if matches!(member.state, None | Some(State::Incomplete)) && member.state != new {
                let row = log::row(self.storage.as_ref(), at)?;
                self.move_to(space, at, &row, member.state, new, false)?;
            }
        }
        Ok(())
    }

    // The one place where a state changes: the row, the tallies, the documents, the retractions.
    fn move_to(
        &mut self,
        space: &SpaceId,
        at: LogKey,
        row: &Row,
        old: Option<State>,
        new: Option<State>,
        first: bool,
    ) -> Result<(), Error> {
        let (storage, replica) = self.parts(space)?;
        match new {
            Some(state) => storage.put(&layout::STATE, at.0.into(), &state.encode())?,
            None if first => {}
            None => storage.remove(&layout::STATE, at.0.into())?,
        }
        replica.count(old, new);
        let had_effect = old.is_none() && !first;
        if row.kind == Kind::Rules || had_effect == new.is_none() {
            return Ok(());
        }
        let author = replica.author(storage, row.author)?;
        let origin = Origin { key: at, time: row.time, author };
        if !first && at.seq() < replica.flushed {
            self.journal.moved(at);
        }
        let Some(body) = self.view.body(self.storage.as_ref(), at)? else { return Ok(()) };
        self.staged();
        let folding = walk::fold();
        let retracts = body.retracts.clone();
        if new.is_none() {
            let edits = self.view.edits(at, body);
            self.view.apply(self.storage.as_mut(), &mut self.collections, origin, edits)?;
        } else {
            self.view.withdraw(self.storage.as_mut(), &mut self.collections, origin, &body.edits)?;
        }
        drop(folding);
        // Inside a transaction a retraction has no effect: it could take back what its own effect rests on.
        for target in retracts.iter().filter(|_| !row.in_run()) {
            self.retract(space, at, target, new.is_none())?;
        }
        Ok(())
    }

    // A retraction takes effect or loses it: its target is judged again, if it is here.
    fn retract(&mut self, space: &SpaceId, by: LogKey, target: &CommitId, on: bool) -> Result<(), Error> {
        let (storage, replica) = self.parts(space)?;
        let row = retract_key(replica.number, target, by);
        if on {
            replica.retractions = true;
            storage.put(&layout::RETRACT, row.as_slice().into(), &[])?;
        } else {
            storage.remove(&layout::RETRACT, row.as_slice().into())?;
        }
        let next = replica.key(replica.next);
        let found = log::find(storage, replica.number, target)?;
        let Some((at, row)) = found.filter(|(at, _)| *at < next) else { return Ok(()) };
        // One that takes others back cannot be taken back, so a chain of them is not followed: it may be long.
        let body = self.view.body(self.storage.as_ref(), at)?;
        if row.kind == Kind::Documents && body.is_none_or(|body| body.retracts.is_empty()) {
            self.settle(space, at)?;
        }
        Ok(())
    }

    /// A rule commit is in the log: document commits whose verdict may have changed are judged again.
    pub(crate) fn rule_appended(
        &mut self,
        space: &SpaceId,
        facts: Facts,
        change: Change,
    ) -> Result<Option<State>, Error> {
        let _step = walk::judge();
        self.readers.changed(space);
        let (storage, replica) = self.parts(space)?;
        storage.put(&layout::RULE, replica.key(facts.at).0.into(), &[])?;
        let mut again = Vec::new();
        for (seq, index) in &replica.rule_at {
            let at = LogKey::new(replica.number, *seq);
            let first = *seq == facts.at;
            let old = if first { None } else { log::state(storage, at)? };
            let held = old == Some(State::Held) || first && replica.held.contains(&(facts.time, facts.at));
            let new = judge_rule(replica, Some(*index), held);
            if old != new {
                again.push((at, old, new, first));
            }
        }
        for (at, old, new, first) in again {
            let row = log::row(self.storage.as_ref(), at)?;
            self.move_to(space, at, &row, old, new, first)?;
        }
        match change {
            Change::Nothing => {}
            Change::Authors(authors) => self.judge_authors(space, &authors)?,
            Change::All => self.judge_all(space)?,
        }
        let (storage, replica) = self.parts(space)?;
        log::state(storage, replica.key(facts.at))
    }

    /// Gives a rule commit of the log its state, when everything is derived again.
    pub(crate) fn settle_rule(&mut self, space: &SpaceId, facts: Facts, row: &Row) -> Result<(), Error> {
        let (_, replica) = self.parts(space)?;
        let held = replica.held.contains(&(row.time, facts.at));
        let state = judge_rule(replica, replica.rule_at.get(&facts.at).copied(), held);
        let at = replica.key(facts.at);
        self.move_to(space, at, row, None, state, true)
    }

    // Follows each branch of the authors' chains back to its beginning.
    fn judge_authors(&mut self, space: &SpaceId, authors: &BTreeSet<AuthorId>) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        for author in authors {
            let (storage, replica) = self.parts(space)?;
            let Some(number) = log::known_author(storage, author)? else { continue };
            for tip in replica.tips_of(number) {
                let mut next = Some(tip.at);
                while let Some(at) = next.filter(|at| !seen.contains(at)) {
                    seen.insert(at);
                    let (storage, replica) = self.parts(space)?;
                    next = log::row(storage, replica.key(at))?.previous;
                }
            }
        }
        for at in seen {
            self.judge_document(space, at)?;
        }
        Ok(())
    }

    fn judge_all(&mut self, space: &SpaceId) -> Result<(), Error> {
        let last = self.parts(space)?.1.next;
        for at in 1..last {
            self.judge_document(space, at)?;
        }
        Ok(())
    }

    fn judge_document(&mut self, space: &SpaceId, at: u64) -> Result<(), Error> {
        let (storage, replica) = self.parts(space)?;
        let at = replica.key(at);
        if log::row(storage, at)?.kind == Kind::Documents {
            self.settle(space, at)?;
        }
        Ok(())
    }

    /// Commits whose time has come take their effect and become heads to build on.
    pub(crate) fn release_due(&mut self, space: &SpaceId) -> Result<(), Error> {
        let now = self.now();
        loop {
            let (storage, replica) = self.parts(space)?;
            let Some((time, at)) = replica.held.first().copied().filter(|(time, _)| !time.is_ahead_of(now))
            else {
                return Ok(());
            };
            let key = replica.key(at);
            let row = log::row(storage, key)?;
            let parents: Vec<u64> = row.previous.iter().chain(&row.parents).copied().collect();
            replica.release(Facts::of(key, &row), &parents);
            self.clock.observe(time);
            self.staged();
            match row.kind {
                Kind::Documents => drop(self.settle(space, key)?),
                Kind::Rules => {
                    let (_, replica) = self.parts(space)?;
                    let new = judge_rule(replica, replica.rule_at.get(&at).copied(), false);
                    self.move_to(space, key, &row, Some(State::Held), new, false)?;
                }
            }
        }
    }
}

/// Whether the body of a commit is here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// It was just stored.
    Stored,
    /// Storage is asked.
    Unknown,
}

#[derive(Clone, Copy)]
struct Member {
    before: Option<LogKey>,
    state: Option<State>,
    // All before it, and it, are here and count.
    reached: bool,
    // A complete way to a last commit leads through it.
    ends: bool,
}

// What the state of a rule commit should be. A verdict takes no notice of clocks: also a held one says what counts.
pub(crate) fn judge_rule(replica: &Replica, index: Option<RuleIndex>, held: bool) -> Option<State> {
    if held {
        return Some(State::Held);
    }
    let verdict = index.and_then(|index| replica.rules.rule_verdict(index));
    (verdict != Some(Verdict::Counts)).then_some(State::Void)
}

// What the state of a commit should be, leaving aside whether its transaction is complete.
pub(crate) fn judge(
    storage: &dyn Storage,
    replica: &mut Replica,
    at: LogKey,
    row: &Row,
    body: Body,
) -> Result<Option<State>, Error> {
    let author = replica.author(storage, row.author)?;
    let facts = Facts::of(at, row);
    let place = Replica::place(&facts);
    let frontier = FrontierId(row.frontier);
    let (strength, via) = replica::strength(row);
    // First: the rows that say held are where a restart finds what is to be released.
    if replica.held.contains(&(row.time, at.seq())) {
        return Ok(Some(State::Held));
    }
    if !replica.rules.counts(&author, frontier, strength, via, place) && !is_broken(Broken::RevokedKeyApplied)
    {
        return Ok(Some(State::Void));
    }
    if replica.retractions && is_retracted(storage, replica.number, at, row)? {
        return Ok(Some(State::Retracted));
    }
    if body == Body::Unknown && storage.get(&layout::BODY, at.0.into())?.is_none() {
        return Ok(Some(State::Wanted));
    }
    Ok(None)
}

// Whether another commit of the same author takes this one back. One that retracts cannot be retracted.
pub(crate) fn is_retracted(storage: &dyn Storage, space: u32, at: LogKey, row: &Row) -> Result<bool, Error> {
    let (lower, upper) =
        (retract_key(space, &row.id, LogKey(0)), retract_key(space, &row.id, LogKey(u64::MAX)));
    let mut by = Vec::new();
    let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
    storage.range(&layout::RETRACT, lower, upper, Order::Ascending, &mut |key, _| {
        if let Key::Bytes(bytes) = key {
            by.extend(bytes.last_chunk().map(|at| LogKey(u64::from_be_bytes(*at))));
        }
        ControlFlow::Continue(())
    })?;
    for by in by {
        if log::row(storage, by)?.author == row.author {
            let body = log::body(storage, at)?.unwrap_or_default();
            return Ok(log::decode_body(row, &body).retracts.is_empty());
        }
    }
    Ok(false)
}

// The commits that go on with a transaction after `at`, as far as the log goes to `end`.
pub(crate) fn next_of_run(storage: &dyn Storage, at: LogKey, end: LogKey) -> Result<Vec<LogKey>, Error> {
    let (lower, upper) = (key([at.0, 0]), key([at.0, end.0]));
    let mut next = Vec::new();
    let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Excluded(Key::Bytes(&upper)));
    storage.range(&layout::RUN, lower, upper, Order::Ascending, &mut |key, _| {
        if let Key::Bytes(bytes) = key {
            next.extend(bytes.last_chunk().map(|at| LogKey(u64::from_be_bytes(*at))));
        }
        ControlFlow::Continue(())
    })?;
    Ok(next)
}
