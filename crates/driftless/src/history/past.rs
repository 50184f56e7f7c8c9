//! Documents as they were: at a time, or as of a commit; and the smallest edit from one to the other.
//!
//! Past is what counts now: an edit that lost its effect since is in no past either.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use driftless_core::clock::Timestamp;
use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::DocumentState;
use driftless_core::id::{AuthorId, CommitId, ID_TEXT, MIN_PREFIX, SpaceId};
use driftless_core::operator::{Operator, difference};
use driftless_store::{Key, Order};

use crate::collection::Collection;
use crate::door::commit::ancestors_among;
use crate::error::Error;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::tables::layout::{self, LogKey, Row, id_key, key};
use crate::tables::log;

// Commits whose bodies are in memory together.
const AT_ONCE: usize = 64;
// Times have 48 bits of milliseconds.
const LAST_MS: u64 = (1 << 48) - 2;

/// A point in the history of a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// All edits up to the end of this millisecond, by their authors' clocks.
    Time(u64),
    /// This commit and what its author had seen.
    Commit(CommitId),
    /// Everything that is here.
    Now,
}

impl Collection {
    /// A document as it was; `None` if it was not there then, or deleted.
    pub fn get_at(&self, id: &DocumentId, at: At) -> Result<Option<Document>, Error> {
        let state = self.state_at(id, at)?;
        Ok(state.visible().then(|| Document::new(self.name(), id, &state)))
    }

    /// A document as those of its commits make it that are kept: each in the order of the fold is asked about with what it would
    /// make of those that were kept before it, unless it would leave no document. Where the commit that made the document
    /// is not kept, neither are those that only change it. `None` if there is no document then, or `keep` breaks off.
    pub fn get_keeping(
        &self,
        id: &DocumentId,
        keep: &mut dyn FnMut(&Document) -> ControlFlow<(), bool>,
    ) -> Result<Option<Document>, Error> {
        let database = self.space().database();
        let commits = database.read(|engine| effective(engine, self, id, Timestamp(u64::MAX), None))?;
        let (mut state, mut is_made) = (DocumentState::default(), true);
        for commits in commits.chunks(AT_ONCE) {
            for (time, author, operators) in database.read(|engine| edits_of(engine, self, id, commits))? {
                if !is_made && !operators.iter().any(|operator| matches!(operator, Operator::Insert { .. })) {
                    continue;
                }
                let mut next = state.clone();
                next.apply(time, author, &operators);
                let kept = match next.visible() {
                    true => keep(&Document::new(self.name(), id, &next)),
                    false => ControlFlow::Continue(true),
                };
                match kept {
                    ControlFlow::Break(()) => return Ok(None),
                    ControlFlow::Continue(true) => (state, is_made) = (next, true),
                    ControlFlow::Continue(false) => is_made = state.visible(),
                }
            }
        }
        Ok(state.visible().then(|| Document::from_state(self.name(), id.clone(), state)))
    }

    /// The operators that make the document of one moment into that of another; none if they are the same.
    pub fn diff(&self, id: &DocumentId, from: At, to: At) -> Result<Vec<Operator>, Error> {
        let (from, to) = (self.state_at(id, from)?, self.state_at(id, to)?);
        let fields = || to.fields().clone();
        Ok(match (from.visible(), to.visible()) {
            (false, false) => Vec::new(),
            (true, false) => vec![Operator::Delete],
            (true, true) => difference(from.fields(), to.fields()),
            (false, true) if from.exists() => {
                [vec![Operator::Restore], difference(from.fields(), to.fields())].concat()
            }
            (false, true) => vec![Operator::Insert { fields: fields(), parent: to.parent().cloned() }],
        })
    }

    fn state_at(&self, id: &DocumentId, at: At) -> Result<DocumentState, Error> {
        let space = self.space().id();
        self.space().database().read(|engine| {
            let (until, commit) = match at {
                At::Now => (Timestamp(u64::MAX), None),
                At::Time(ms) => {
                    (Timestamp(Timestamp::from_ms(ms.min(LAST_MS) + 1).0.saturating_sub(1)), None)
                }
                At::Commit(id) => {
                    engine.present(&space)?;
                    let (storage, replica) = engine.parts(&space)?;
                    let facts = replica.facts(storage, &id)?.ok_or_else(|| Error::not_found("commit", id))?;
                    (facts.time, Some(facts.at))
                }
            };
            let mut state = DocumentState::default();
            for (at, row) in effective(engine, self, id, until, commit)? {
                let author = log::author(engine.storage.as_ref(), row.author)?;
                let Some(body) = engine.view.body(engine.storage.as_ref(), at)? else { continue };
                for edit in &body.edits {
                    if edit.document == *id && &*edit.collection == self.name() {
                        state.apply(row.time, author, &edit.operators);
                    }
                }
            }
            Ok(state)
        })
    }
}

/// The commits with an effect that edit a document, in the order of the fold: up to a time, and of those, if a commit is
/// given, it and its ancestors.
pub(crate) fn effective(
    engine: &mut Engine,
    collection: &Collection,
    id: &DocumentId,
    until: Timestamp,
    commit: Option<u64>,
) -> Result<Vec<(LogKey, Row)>, Error> {
    let Some(facts) = collection.facts(engine)? else { return Ok(Vec::new()) };
    engine.write_view()?;
    let space = engine.present(&collection.space().id())?.number;
    let storage = engine.storage.as_ref();
    let mut number = None;
    storage.document_by_id(facts.number, &id.to_string(), &mut |stored| number = Some(stored.number))?;
    let Some(number) = number else { return Ok(Vec::new()) };
    let (lower, upper) = (key([number, 0, 0]), key([number, until.0, u64::MAX]));
    let mut found = Vec::new();
    let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
    storage.range(&layout::EDIT, lower, upper, Order::Ascending, &mut |key, _| {
        if let Key::Bytes(bytes) = key {
            found.extend(bytes.last_chunk().map(|at| LogKey(u64::from_be_bytes(*at))));
        }
        ControlFlow::Continue(())
    })?;
    if let Some(commit) = commit {
        let targets: BTreeSet<u64> = found.iter().map(|at| at.seq()).collect();
        let among = ancestors_among(storage, space, BTreeSet::from([commit]), &targets)?;
        found.retain(|at| among.contains(&at.seq()));
    }
    let mut rows =
        found.into_iter().map(|at| Ok((at, log::row(storage, at)?))).collect::<Result<Vec<_>, Error>>()?;
    rows.sort_by_key(|(_, row)| (row.time, row.id));
    Ok(rows)
}

// What each commit does to a document; nothing for one whose body is not here.
fn edits_of(
    engine: &mut Engine,
    collection: &Collection,
    id: &DocumentId,
    commits: &[(LogKey, Row)],
) -> Result<Vec<(Timestamp, AuthorId, Vec<Operator>)>, Error> {
    let mut edits = Vec::with_capacity(commits.len());
    for (at, row) in commits {
        let author = log::author(engine.storage.as_ref(), row.author)?;
        let Some(body) = engine.view.body(engine.storage.as_ref(), *at)? else { continue };
        let own =
            body.edits.iter().filter(|edit| edit.document == *id && &*edit.collection == collection.name());
        edits.push((row.time, author, own.flat_map(|edit| edit.operators.iter().cloned()).collect()));
    }
    Ok(edits)
}

impl Space {
    /// A commit that is here, by its id or a prefix of at least 8 characters.
    pub fn find_commit(&self, text: &str) -> Result<CommitId, Error> {
        self.database().read(|engine| find_commit(engine, &self.id(), text))
    }
}

fn find_commit(engine: &mut Engine, space: &SpaceId, text: &str) -> Result<CommitId, Error> {
    let missing = || Error::not_found("commit", text);
    let prefix = text.strip_prefix("c_").unwrap_or(text);
    if prefix.len() < MIN_PREFIX || prefix.len() > ID_TEXT || !prefix.is_ascii() {
        return Err(missing());
    }
    // The least and the greatest id that begin so; the last character of an id stands for one bit.
    let filled = |with: &str, last: &str| {
        let rest = ID_TEXT - prefix.len();
        let text =
            format!("c_{prefix}{}{}", with.repeat(rest.saturating_sub(1)), if rest > 0 { last } else { "" });
        text.parse::<CommitId>().map_err(|_| missing())
    };
    let (least, greatest) = (filled("a", "a")?, filled("7", "q")?);
    let number = engine.present(space)?.number;
    let storage = engine.storage.as_ref();
    let mut keys = Vec::new();
    let (lower, upper) =
        (Bound::Included(Key::U64(id_key(&least))), Bound::Included(Key::U64(id_key(&greatest))));
    storage.range(&layout::COMMIT_ID, lower, upper, Order::Ascending, &mut |_, value| {
        keys.extend(value.as_chunks::<8>().0.iter().map(|at| LogKey(u64::from_be_bytes(*at))));
        ControlFlow::Continue(())
    })?;
    let mut found = Vec::new();
    for at in keys.into_iter().filter(|at| at.space() == number) {
        let id = log::row(storage, at)?.id;
        if least <= id && id <= greatest {
            found.push(id);
        }
    }
    match found.as_slice() {
        [] => Err(missing()),
        [one] => Ok(*one),
        _ => Err(Error::Ambiguous { what: "commit", name: text.to_owned() }),
    }
}
