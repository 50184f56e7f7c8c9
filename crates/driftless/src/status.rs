//! What is not simply applied, and why: held, void, wanted, refused, forked.

use driftless_core::clock::Timestamp;
use driftless_core::id::{AuthorId, CommitId, SpaceId};

use crate::database::Database;
use crate::error::Error;
use crate::fitting::{WithSchema, with_schema};
use crate::peers::prefs::{self, Wanted};
use crate::people::decided;
use crate::space::SpaceSummary;
use crate::state::engine::Engine;
use crate::state::fork::{self, Copied, Fork};
use crate::state::guard::{Lost, Restored};
use crate::state::replica::{self, Counts};
use crate::tables::layout::{self, State};
use crate::tables::log;
use crate::tables::refused::{self, RefusedLine};

// Lines shown per state and space; the counts are complete.
const SHOWN: usize = 100;

/// The state of a database.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Each space.
    pub spaces: Vec<SpaceStatus>,
    /// What was not admitted, the newest first.
    pub refused: Vec<RefusedLine>,
    /// Whether another copy of this database was met that signs with the same key: a key of the user of the handle, else
    /// one of another user.
    pub copied: Option<Copied>,
    /// The database began as a copy of another.
    pub restored: Option<Restored>,
    /// Chains of own keys of which the end was lost here and has not come back.
    pub lost: Vec<Lost>,
}

/// The state of a space.
#[derive(Debug, Clone, PartialEq)]
pub struct SpaceStatus {
    /// The id.
    pub id: SpaceId,
    /// Its name here.
    pub name: String,
    /// What users want of it together; `None` if it is off for all of them: then nothing is sent or fetched.
    pub sync: Option<Wanted>,
    /// Visible documents.
    pub documents: u64,
    /// How many commits are in which state.
    pub counts: Counts,
    /// Ahead of our clock; at most 100 lines.
    pub held: Vec<Pending>,
    /// Without effect; at most 100 lines.
    pub void: Vec<Pending>,
    /// Waiting for a body or for the rest of a transaction; at most 100 lines.
    pub wanted: Vec<Pending>,
    /// Collections that have a schema, and how many of their documents do not fit it.
    pub schemas: Vec<WithSchema>,
    /// Where somebody has signed two commits with one number: a copied or restored device; at most 100.
    pub forked: Vec<Fork>,
}

/// A commit that is not applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The commit.
    pub commit: CommitId,
    /// Who wrote it.
    pub author: AuthorId,
    /// Its time.
    pub time: Timestamp,
    /// Why it has no effect, in one sentence.
    pub reason: String,
}

impl Database {
    /// What is waiting, held, void, wanted and refused, and why.
    pub fn status(&self) -> Result<Status, Error> {
        self.read(status)
    }
}

fn status(engine: &mut Engine) -> Result<Status, Error> {
    let ids: Vec<SpaceId> = engine.summaries()?.into_iter().map(|summary| summary.id).collect();
    let spaces = ids.into_iter().map(|id| space(engine, id)).collect::<Result<_, _>>()?;
    let mut copied = Copied::all(engine.storage.as_ref())?;
    copied.retain(|author, _| engine.users.signs(author));
    let user = engine.users.get(&engine.acting.name);
    let first = user.and_then(|user| user.active().find(|key| copied.contains_key(key)));
    let first = first.or_else(|| copied.keys().next().copied());
    let copied = first.and_then(|author| copied.remove(&author));
    let mut lost: Vec<Lost> = engine.guards.lost().collect();
    for index in (0..lost.len()).rev() {
        let Lost { space, author, commits } = lost[index];
        if !engine.load(&space)? {
            continue;
        }
        let (storage, replica) = engine.parts(&space)?;
        let number = replica.author_number(storage, &author)?;
        let here = number.and_then(|number| replica.last_of(number)).map_or(0, |tip| tip.seq);
        if commits.is_some_and(|commits| here >= commits) {
            lost.swap_remove(index);
        }
    }
    let refused = refused::list(engine.storage.as_ref())?;
    Ok(Status { spaces, refused, restored: engine.guards.restored(), lost, copied })
}

fn space(engine: &mut Engine, id: SpaceId) -> Result<SpaceStatus, Error> {
    let summary = SpaceSummary::read(engine, id)?;
    let wanted = prefs::wanted(engine.storage.as_ref(), &id)?;
    let schemas = with_schema(engine, &id)?;
    let (storage, replica) = engine.parts(&id)?;
    let mut status = SpaceStatus {
        id,
        name: summary.name,
        sync: wanted,
        documents: summary.documents,
        counts: replica.counts,
        held: Vec::new(),
        void: Vec::new(),
        wanted: Vec::new(),
        schemas,
        forked: Vec::new(),
    };
    status.forked = fork::list(storage, replica, SHOWN)?;
    for (at, state) in replica::range(storage, &layout::STATE, replica.number)? {
        let state = State::decode(&state)?;
        let lines = match state {
            State::Held => &mut status.held,
            State::Void | State::Retracted => &mut status.void,
            State::Wanted | State::Incomplete => &mut status.wanted,
        };
        if lines.len() < SHOWN {
            let row = log::row(storage, at)?;
            let author = replica.author(storage, row.author)?;
            let reason = match state {
                State::Void => decided::why_void(storage, replica, at, &row)?,
                _ => None,
            };
            let reason = reason.unwrap_or_else(|| why(state).to_owned());
            lines.push(Pending { commit: row.id, author, time: row.time, reason });
        }
    }
    Ok(status)
}

/// One sentence for a state.
pub(crate) fn why(state: State) -> &'static str {
    match state {
        State::Held => "its time is more than 10 minutes ahead of this clock; it takes effect when it is due",
        State::Void => "a stronger admin took its author's permission away before it",
        State::Retracted => "its author took it back",
        State::Wanted => "its content is not here",
        State::Incomplete => "the rest of its transaction is not here, or not all of it counts",
    }
}

/// One word for a state: that of the four which users know.
pub(crate) fn word(state: Option<State>) -> &'static str {
    match state {
        None => "applied",
        Some(State::Held) => "held",
        Some(State::Void | State::Retracted) => "void",
        Some(State::Wanted | State::Incomplete) => "wanted",
    }
}
