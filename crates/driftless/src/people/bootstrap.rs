//! How keys get in without a ticket: they ask, and the rules, the policy of the space or an admin answer.
//!
//! What is granted is what the id of a request stands for: this space, this key, this permission. It must not know of
//! connections, only who proved the key and from where.

use std::net::IpAddr;

use driftless_core::id::{AuthorId, CommitId, PeerId, RequestId, SpaceId};
use driftless_core::rules::{Level, Permission, RuleOperator, Subject};
use driftless_core::session::{AccessRequest, Answer};

use crate::database::Database;
use crate::error::Error;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::state::policy::Bootstrap;
use crate::tables::layout;
use crate::tables::requests::{self, Place, Row, Stage};

/// A request for access that waits for an admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Stands for the space, the key and the permission: what approving it grants.
    pub id: RequestId,
    /// The space.
    pub space: SpaceId,
    /// The key that asked, which it has proven.
    pub author: AuthorId,
    /// What it asks for.
    pub permission: Permission,
    /// What its owner says; nothing of it is proven.
    pub note: String,
    /// When it came, or was changed last, Unix milliseconds of this machine.
    pub at_ms: u64,
    /// The database it came from.
    pub peer: PeerId,
    /// The network address it came from, where the transport knows it.
    pub source: Option<IpAddr>,
}

/// What was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// The request.
    pub request: Request,
    /// What its key may do now.
    pub permission: Permission,
    /// The commit that says so; none if it was so already.
    pub commit: Option<CommitId>,
}

impl Space {
    /// What becomes of requests for access to this space.
    pub fn bootstrap(&self) -> Result<Bootstrap, Error> {
        let space = self.id();
        self.database().read(|engine| Ok(engine.present(&space)?.bootstrap()))
    }

    /// Decides it, on every device that serves the space. Needs the permission to administer it.
    pub fn set_bootstrap(&self, policy: Bootstrap) -> Result<CommitId, Error> {
        if !policy.is_allowed() {
            let why = "strangers cannot be made admins by a policy; approve at most `write`, or `queue`";
            return Err(Error::Invalid(why.into()));
        }
        let (space, key) = (self.id(), Bootstrap::SETTING.to_owned());
        let setting = RuleOperator::Setting { key, value: policy.encode() };
        self.database().write(|engine| engine.write_rules(&space, vec![setting]))
    }
}

impl Database {
    /// The requests that wait here for an admin, the oldest first. A request lives on the device that was asked.
    pub fn requests(&self) -> Result<Vec<Request>, Error> {
        self.read(|engine| {
            let now = engine.now();
            let rows = requests::list(engine.storage.as_ref())?.into_iter();
            let waiting = rows.filter(|(_, row)| row.stage == Stage::Waiting && !row.is_over(now));
            let mut waiting: Vec<Request> = waiting.map(|(at, row)| request(at, row)).collect();
            waiting.sort_by_key(|request| (request.at_ms, request.id));
            Ok(waiting)
        })
    }

    /// Grants what a request asks for, or another permission. Only the whole id will do: it stands for what was shown,
    /// and a request that was changed since has another one. Needs the permission to administer the space.
    pub fn approve(&self, id: &RequestId, permission: Option<Permission>) -> Result<Approved, Error> {
        self.write(|engine| {
            let request = find(engine, id)?;
            let (space, author) = (request.space, request.author);
            let wanted = permission.unwrap_or(request.permission);
            let present = engine.present(&space)?.rules.member(&author).map(|standing| standing.permission);
            let (permission, commit) = match present.filter(|present| present.covers(wanted)) {
                Some(present) => (present, None),
                None => (wanted, Some(engine.grant(&space, Subject::Key(author), Some(wanted))?)),
            };
            engine.requests.remove(engine.storage.as_mut(), &(space, author))?;
            engine.staged();
            Ok(Approved { request, permission, commit })
        })
    }

    /// Refuses a request, and whatever its key asks for in that space from now on. A grant lets the key in all the same.
    pub fn reject(&self, id: &RequestId) -> Result<Request, Error> {
        self.write(|engine| {
            let request = find(engine, id)?;
            let now = engine.now();
            let row = Row {
                stage: Stage::Rejected,
                at_ms: now,
                permission: request.permission,
                peer: request.peer,
                source: request.source,
                note: String::new(),
            };
            engine.requests.put(engine.storage.as_mut(), (request.space, request.author), row, now)?;
            engine.staged();
            Ok(request)
        })
    }
}

fn request((space, author): (SpaceId, AuthorId), row: Row) -> Request {
    let Row { at_ms, permission, peer, source, note, .. } = row;
    let id = RequestId::of(&space, &author, permission);
    Request { id, space, author, permission, note, at_ms, peer, source }
}

fn find(engine: &mut Engine, id: &RequestId) -> Result<Request, Error> {
    let now = engine.now();
    let rows = requests::list(engine.storage.as_ref())?.into_iter();
    let mut waiting = rows.filter(|(_, row)| row.stage == Stage::Waiting && !row.is_over(now));
    let found = waiting.find_map(|(at, row)| Some(request(at, row)).filter(|request| request.id == *id));
    found.ok_or_else(|| Error::not_found("request", id))
}

/// Who asks: a peer that has proven the key in its session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub peer: PeerId,
    pub source: Option<IpAddr>,
}

// What is to be done about a request.
enum Step {
    Answer(Answer),
    Grant,
    Queue,
}

/// Decides about a request whose key was proven, and does what follows. Only what grants or queues something writes.
pub(crate) fn decide(database: &Database, request: &AccessRequest, asker: Asker) -> Result<Answer, Error> {
    // Whom the program itself shuts out is told what a stranger is told.
    if database.ask_callbacks(&asker.peer, &request.space, &[request.author])?.closes {
        return Ok(Answer::Refused);
    }
    if let Step::Answer(answer) = database.read(|engine| step(engine, request, asker))? {
        return Ok(answer);
    }
    let answer = match database.write(|engine| take(engine, request, asker)) {
        Err(Error::ReadOnly) => return Ok(Answer::Refused),
        answer => answer?,
    };
    // What is said is durable.
    database.flush_if_staged()?;
    Ok(answer)
}

fn step(engine: &mut Engine, request: &AccessRequest, asker: Asker) -> Result<Step, Error> {
    let AccessRequest { space, author, permission, .. } = request;
    let (at, now, own) = ((*space, *author), engine.now(), engine.author());
    // The same looks for every space, here or not: how long they take must not tell.
    let known = engine.requests.get(engine.storage.as_ref(), &at)?.cloned();
    let place = engine.requests.place(engine.storage.as_ref(), &at, (asker.peer, asker.source), now)?;
    let here = engine.storage.get(&layout::SPACE_ID, space.0.as_slice().into())?.is_some();
    let refused = Ok(Step::Answer(Answer::Refused));
    if !here || !engine.load(space)? {
        return refused;
    }
    let (_, replica) = engine.parts(space)?;
    let policy = replica.bootstrap();
    let present = replica.rules.member(author).map(|standing| standing.permission);
    let grants = replica.rules.member(&own).is_some_and(|own| {
        let strength = own.permission.strength();
        own.permission.level() == Level::Admin
            && strength < permission.strength()
            && present.is_none_or(|present| strength < present.strength())
    });
    if let Some(present) = present.filter(|present| present.level() >= permission.level()) {
        return Ok(Step::Answer(Answer::Allowed(present)));
    }
    if !grants || known.as_ref().is_some_and(|row| row.stage == Stage::Rejected) {
        return refused;
    }
    let queued = known.filter(|row| row.stage == Stage::Waiting && !row.is_over(now));
    let full = place == Place::None;
    Ok(match policy {
        Bootstrap::Reject => return refused,
        // Whom an admin has removed, or given less, does not get it back by asking.
        Bootstrap::Approve(most) if !most.covers(*permission) || replica.rules.is_named(author) => {
            return refused;
        }
        Bootstrap::Approve(_) if full => Step::Answer(Answer::Full),
        Bootstrap::Approve(_) => Step::Grant,
        Bootstrap::Queue => match queued {
            Some(row) if row.permission == *permission && row.note == request.note => {
                Step::Answer(Answer::Queued(request.id()))
            }
            Some(row) if row.is_new(now) => Step::Answer(Answer::Full),
            _ if full => Step::Answer(Answer::Full),
            _ => Step::Queue,
        },
    })
}

fn take(engine: &mut Engine, request: &AccessRequest, asker: Asker) -> Result<Answer, Error> {
    let (at, now, permission) = ((request.space, request.author), engine.now(), request.permission);
    let row = |stage, note: &str| Row {
        stage,
        at_ms: now,
        permission,
        peer: asker.peer,
        source: asker.source,
        note: note.to_owned(),
    };
    let (row, answer) = match step(engine, request, asker)? {
        Step::Answer(answer) => return Ok(answer),
        Step::Queue => (row(Stage::Waiting, &request.note), Answer::Queued(request.id())),
        Step::Grant => match engine.grant(&request.space, Subject::Key(request.author), Some(permission)) {
            Ok(_) => (row(Stage::Approved, ""), Answer::Allowed(permission)),
            // This device may not sign now; nothing was written.
            Err(error) if error.is_answer() => return Ok(Answer::Refused),
            Err(error) => return Err(error),
        },
    };
    if let Place::Of(other) =
        engine.requests.place(engine.storage.as_ref(), &at, (asker.peer, asker.source), now)?
    {
        engine.requests.remove(engine.storage.as_mut(), &other)?;
    }
    engine.requests.put(engine.storage.as_mut(), at, row, now)?;
    engine.staged();
    Ok(answer)
}
