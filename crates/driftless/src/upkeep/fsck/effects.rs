//! Which commits of a space have an effect, judged again; and the rows that follow from it: states, tallies, runs,
//! retractions, and which commits edit which document.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::commit::Kind;
use driftless_core::id::CommitId;
use driftless_store::StorageError;

use super::{Checker, count, count_at};
use crate::door::judge::{Body, judge, judge_rule, next_of_run};
use crate::error::Error;
use crate::state::replica::{Counts, Replica, Summary};
use crate::tables::collections::Collections;
use crate::tables::layout::{self, LogKey, LogSeq, Row, State, key, retract_key};
use crate::tables::log;
use crate::tables::view::View;

/// What the documents of a space must show.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Pairs of a commit that has an effect and a document that it edits.
    pub edits: u64,
}

// The rows that a walk over the log expects.
#[derive(Default)]
struct Expected {
    counts: Counts,
    states: u64,
    runs: u64,
    retractions: u64,
    edits: u64,
    // States of the members of transactions that were begun and not yet passed.
    members: BTreeMap<LogSeq, Option<State>>,
}

impl Checker<'_> {
    pub(super) fn effects(&mut self, replica: &mut Replica, summary: &Summary) -> Result<Effects, Error> {
        self.stage("states");
        let number = replica.number;
        replica.retractions = true;
        let mut expected = Expected::default();
        let (mut view, mut collections) = (View::new(1), Collections::new(1, 1));
        for at in 1..replica.next {
            self.step();
            let key = replica.key(at);
            let row = log::row(self.storage, key)?;
            let state = self.state(replica, &mut expected, key, &row)?;
            let stored = log::state(self.storage, key);
            if let Some(stored) = self.note(stored, "state", super::DERIVED) {
                self.expect(stored == state, "state", || format!("commit {} is in another state", row.id));
            }
            expected.counts.commits += 1;
            expected.states += u64::from(state.is_some());
            match state {
                None => {}
                Some(State::Held) => expected.counts.held += 1,
                Some(State::Void | State::Retracted) => expected.counts.void += 1,
                Some(State::Wanted | State::Incomplete) => expected.counts.wanted += 1,
            }
            if let Some(previous) = row.previous.filter(|_| row.run > 0) {
                expected.runs += 1;
                let link = layout::key([replica.key(previous).0, key.0]);
                let there = self.storage.get(&layout::RUN, link.as_slice().into())?.is_some();
                self.expect(there, "run", || format!("commit {} is not found in its run", row.id));
            }
            if row.kind == Kind::Documents && state.is_none() {
                self.effect(&mut view, &mut collections, &mut expected, key, &row)?;
            }
        }
        self.expect(summary.counts == expected.counts, "space", || {
            "the tallies are not those of the log".into()
        });
        for (table, rows, code) in
            [(&layout::STATE, expected.states, "state"), (&layout::RUN, expected.runs, "run")]
        {
            let counted = count_at(self.storage, table, number)?;
            self.expect(counted == rows, code, || {
                format!("{counted} rows in {} instead of {rows}", table.name)
            });
        }
        let (lower, upper) = (key([u64::from(number)]), key([u64::from(number) + 1]));
        let counted = count(
            self.storage,
            &layout::RETRACT,
            std::ops::Bound::Included(driftless_store::Key::Bytes(&lower)),
            std::ops::Bound::Excluded(driftless_store::Key::Bytes(&upper)),
        )?;
        self.expect(counted == expected.retractions, "retract", || "there are more retractions".into());
        Ok(Effects { edits: expected.edits })
    }

    // The state that a commit should be in.
    fn state(
        &mut self,
        replica: &mut Replica,
        expected: &mut Expected,
        key: LogKey,
        row: &Row,
    ) -> Result<Option<State>, Error> {
        let at = key.seq();
        if row.kind == Kind::Rules {
            let held = replica.held.contains(&(row.time, at));
            return Ok(judge_rule(replica, replica.rule_at.get(&at).copied(), held));
        }
        if !row.in_run() {
            return judge(self.storage, replica, key, row, Body::Unknown);
        }
        if row.run == 0 {
            self.run_from(replica, expected, key)?;
        }
        match expected.members.remove(&at) {
            Some(state) => Ok(state),
            // Its beginning does not lead to it: its links are damaged, and named.
            None => judge(self.storage, replica, key, row, Body::Unknown),
        }
    }

    // Every commit of a transaction has its effect exactly if a way on which all are here and count leads through it,
    // from the first to a last one.
    fn run_from(
        &mut self,
        replica: &mut Replica,
        expected: &mut Expected,
        first: LogKey,
    ) -> Result<(), Error> {
        struct Member {
            before: Option<LogKey>,
            judged: Option<State>,
            reached: bool,
            ends: bool,
        }
        let end = replica.key(replica.next);
        let mut members: BTreeMap<LogKey, Member> = BTreeMap::new();
        let mut open = vec![(first, None)];
        while let Some((at, before)) = open.pop() {
            let row = log::row(self.storage, at)?;
            let judged = judge(self.storage, replica, at, &row, Body::Unknown)?;
            let reached = judged.is_none()
                && before.is_none_or(|before| members.get(&before).is_some_and(|before| before.reached));
            if row.continues {
                // Later ones only, so that damaged links do not lead in a circle.
                let next = next_of_run(self.storage, at, end)?.into_iter().filter(|next| *next > at);
                open.extend(next.filter(|next| !members.contains_key(next)).map(|next| (next, Some(at))));
            }
            members.insert(at, Member { before, judged, reached, ends: reached && !row.continues });
        }
        let keys: Vec<LogKey> = members.keys().rev().copied().collect();
        for at in keys {
            let Some((ends, before)) = members.get(&at).map(|member| (member.ends, member.before)) else {
                continue;
            };
            if let Some(before) = before.filter(|_| ends).and_then(|before| members.get_mut(&before)) {
                before.ends = true;
            }
        }
        for (at, member) in members {
            let state = member.judged.or((!member.ends).then_some(State::Incomplete));
            expected.members.insert(at.seq(), state);
        }
        Ok(())
    }

    // A commit with an effect: its edits are found from their documents, its retractions from their targets.
    fn effect(
        &mut self,
        view: &mut View,
        collections: &mut Collections,
        expected: &mut Expected,
        at: LogKey,
        row: &Row,
    ) -> Result<(), Error> {
        let Some(body) = view.body(self.storage, at)? else { return Ok(()) };
        let mut seen = BTreeSet::new();
        for edit in &body.edits {
            let id = edit.document.to_string();
            if !seen.insert((edit.collection.clone(), id.clone())) {
                continue;
            }
            expected.edits += 1;
            let Some(facts) = collections.get(self.storage, at.space(), &edit.collection)? else {
                self.expect(false, "collection", || format!("collection {} is missing", edit.collection));
                continue;
            };
            let mut document = None;
            let mut visit = |stored: &driftless_store::Document<'_>| document = Some(stored.number);
            let looked = self.storage.document_by_id(facts.number, &id, &mut visit);
            if let Err(error) = looked {
                let what = format!("document {id} of {} cannot be read: {error}", edit.collection);
                let code = match error {
                    StorageError::Key { .. } => "collection",
                    _ => "document",
                };
                self.problem(code, what, super::DERIVED);
                continue;
            }
            let there = match document {
                Some(number) => {
                    let edit = key([number, row.time.0, at.0]);
                    self.storage.get(&layout::EDIT, edit.as_slice().into())?.is_some()
                }
                None => false,
            };
            self.expect(there, if document.is_some() { "edit" } else { "document" }, || {
                format!("document {id} of {} does not know of commit {}", edit.collection, row.id)
            });
        }
        let targets: BTreeSet<&CommitId> = body.retracts.iter().filter(|_| !row.in_run()).collect();
        for target in targets {
            expected.retractions += 1;
            let retraction = retract_key(at.space(), target, at);
            let there = self.storage.get(&layout::RETRACT, retraction.as_slice().into())?.is_some();
            self.expect(there, "retract", || format!("the retraction of commit {target} is missing"));
        }
        Ok(())
    }
}
