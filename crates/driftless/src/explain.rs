//! Why a document is, or is not, here and at a peer: the chain of decisions, step by step.
//!
//! It decides nothing itself; it asks the log, the rules, the view and the notes about peers.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::clock::{Timestamp, utc};
use driftless_core::commit::Kind;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::DocumentState;
use driftless_core::id::{AuthorId, PeerId, SpaceId};
use driftless_core::operator::{Edit, Operator};
use driftless_core::rules::{Level, Subject};
use driftless_core::verdict::{Statement, Via};

use crate::collection::Collection;
use crate::error::Error;
use crate::history::past::effective;
use crate::peers::Peer;
use crate::people::decided::{decision, ruling, why_void};
use crate::schema::Schema;
use crate::share::{Pointers, pointers};
use crate::space::Space;
use crate::state::engine::Engine;
use crate::state::replica;
use crate::state::serving::Said;
use crate::status::why;
use crate::tables::layout::{LogKey, Row, State};
use crate::tables::log;
use crate::tables::refused;

/// Commits that are told of one by one, the newest first.
const TOLD: usize = 50;

/// Why a document is where it is, or is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The decisions, in order.
    pub steps: Vec<Step>,
    /// What to do about the first step that is not well, if there is something.
    pub fix: Option<String>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// A stable word: `space`, `commits`, `commit`, `refused`, `document`, `schema`, `moved`, `underneath`; for a peer `peer`,
    /// `kept`, `permission`, `exchange`, `acknowledged`; for a key `space`, `statement`, `permission`, `commits`, `void`.
    pub step: &'static str,
    /// Nothing stands in the way here.
    pub ok: bool,
    /// What was found, in a sentence.
    pub detail: String,
}

impl Explanation {
    fn step(&mut self, step: &'static str, ok: bool, detail: impl Into<String>, fix: &str) {
        self.steps.push(Step { step, ok, detail: detail.into() });
        if !ok && self.fix.is_none() && !fix.is_empty() {
            self.fix = Some(fix.to_owned());
        }
    }

    /// Whether nothing stands in the way.
    pub fn ok(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }
}

impl Space {
    /// Why a document is, or is not, here; and at a peer, if one is given.
    pub fn explain(
        &self,
        collection: &str,
        id: &DocumentId,
        peer: Option<&PeerId>,
    ) -> Result<Explanation, Error> {
        let collection = self.collection(collection)?;
        let mut told = Explanation { steps: Vec::new(), fix: None };
        let last = self.database().read(|engine| here(engine, &collection, id, &mut told))?;
        if let Some(peer) = peer {
            let known = self.database().peer_now(peer)?;
            let keys = known.as_ref().map(|known| known.authors.clone()).unwrap_or_default();
            let said = self.database().ask_callbacks(peer, &self.id(), &keys)?;
            self.database().read(|engine| there(engine, &self.id(), (peer, said), known, last, &mut told))?;
        }
        Ok(told)
    }

    /// Why a key may do what it may do here, and what of its commits has no effect.
    pub fn explain_key(&self, key: &AuthorId) -> Result<Explanation, Error> {
        let mut told = Explanation { steps: Vec::new(), fix: None };
        self.database().read(|engine| of_key(engine, &self.id(), key, &mut told))?;
        Ok(told)
    }
}

// Returns the positions of the commits that edit the document.
fn here(
    engine: &mut Engine,
    collection: &Collection,
    id: &DocumentId,
    told: &mut Explanation,
) -> Result<Vec<u64>, Error> {
    let space = collection.space().id();
    let replica = engine.present(&space)?;
    let name = replica.summary().local_name().to_owned();
    told.step("space", true, format!("{name} is here, with {} commits", replica.counts.commits), "");
    let (number, next) = (replica.number, replica.next);
    let mut edits: Vec<(LogKey, Row)> = Vec::new();
    let mut wanted = Vec::new();
    for at in 1..next {
        let key = LogKey::new(number, at);
        let storage = engine.storage.as_ref();
        let row = log::row(storage, key)?;
        if row.kind != Kind::Documents {
            continue;
        }
        match engine.view.body(engine.storage.as_ref(), key)? {
            Some(body) => {
                let edits_it = |edit: &Edit| edit.document == *id && &*edit.collection == collection.name();
                if body.edits.iter().any(edits_it) {
                    edits.push((key, row));
                }
            }
            None if log::state(engine.storage.as_ref(), key)? == Some(State::Wanted) => {
                wanted.push(row.id);
            }
            None => {}
        }
    }
    let applied = edits.iter().map(|(key, _)| log::state(engine.storage.as_ref(), *key));
    let applied = applied.collect::<Result<Vec<_>, _>>()?.into_iter().filter(Option::is_none).count();
    if edits.is_empty() {
        let detail = format!("no commit here edits {id} in {}", collection.name());
        told.step(
            "commits",
            false,
            detail,
            "check the collection and the id; if others have the document, `driftless sync` with one of them",
        );
    } else {
        let detail = format!("{} commits edit it, {applied} of them with their effect", edits.len());
        told.step("commits", true, detail, "");
    }
    for (key, row) in edits.iter().rev().take(TOLD) {
        commit(engine, &space, *key, row, told)?;
    }
    if let Some(first) = wanted.first() {
        let detail = format!(
            "{} commits are here without their content, such as {first}: they may edit it",
            wanted.len()
        );
        told.step("commit", false, detail, "`driftless sync` asks peers for it");
    }
    let refused = refused::list(engine.storage.as_ref())?;
    let refused: Vec<_> = refused.iter().filter(|line| line.space == Some(space)).collect();
    if let Some(line) = refused.first() {
        let detail =
            format!("{} commits of this space were refused, the last because {}", refused.len(), line.reason);
        told.step("refused", !edits.is_empty(), detail, "`driftless status` lists what was refused, and why");
    }
    document(engine, collection, id, told)?;
    Ok(edits.iter().map(|(key, _)| key.seq()).collect())
}

fn commit(
    engine: &mut Engine,
    space: &SpaceId,
    key: LogKey,
    row: &Row,
    told: &mut Explanation,
) -> Result<(), Error> {
    let now = engine.now();
    let (storage, replica) = engine.parts(space)?;
    let author = replica.author(storage, row.author)?;
    let whose = format!("{} of {author}, number {}, at {} UTC", row.id, row.seq, utc(row.time.ms()));
    let (strength, via) = replica::strength(row);
    let by = match via {
        Via::Key => "by a statement about its key",
        Via::Anyone => "as anyone",
        Via::Space(_) => "as one whom another space lets in",
    };
    let state = log::state(storage, key)?;
    let (ok, why, fix) = match state {
        None => (true, format!("has its effect; it was written with strength {}, {by}", strength.0), ""),
        Some(State::Void) => {
            let why = why_void(storage, replica, key, row)?.unwrap_or_else(|| why(State::Void).to_owned());
            let fix = "an admin can `driftless grant` its author a permission; then it can be written again";
            (false, format!("is void: {why}"), fix)
        }
        Some(State::Held) => {
            let ahead = row.time.ms().saturating_sub(now) / 1000;
            let why = format!("is held: its time is {ahead} seconds ahead of this clock");
            (
                false,
                why,
                "set the clock of this machine if it is wrong; else that of its author, who runs `driftless doctor`",
            )
        }
        Some(State::Wanted) => {
            (false, format!("is wanted: {}", why(State::Wanted)), "`driftless sync` asks peers for it")
        }
        Some(State::Incomplete) => {
            (false, format!("waits: {}", why(State::Incomplete)), "`driftless sync` asks peers for the rest")
        }
        // What its author took back is meant to be so.
        Some(State::Retracted) => (true, "has no effect: its author took it back".into(), ""),
    };
    told.step("commit", ok, format!("{whose}: {why}"), fix);
    Ok(())
}

fn document(
    engine: &mut Engine,
    collection: &Collection,
    id: &DocumentId,
    told: &mut Explanation,
) -> Result<(), Error> {
    let Some(facts) = collection.facts(engine)? else {
        let detail = format!("there is no collection {} here", collection.name());
        told.step("document", false, detail, "`driftless find` needs the name of a collection that is here");
        return Ok(());
    };
    let state = engine.view.get(engine.storage.as_mut(), &facts, id)?.unwrap_or_default();
    if state.visible() {
        told.step("document", true, format!("it is here, the result of {} edits", state.edits()), "");
        if let Some(schema) = &facts.schema {
            fitting(schema, &state, told);
        }
        return Ok(());
    }
    if !state.deleted() {
        told.step("document", false, "it is not here: no edit with an effect makes it", "");
        return Ok(());
    }
    if moved(engine, collection, id, told)? {
        return Ok(());
    }
    // The deletion that holds: the last that no restoration or insertion follows.
    let mut deleted = None;
    for (key, row) in effective(engine, collection, id, Timestamp(u64::MAX), None)? {
        let Some(body) = engine.view.body(engine.storage.as_ref(), key)? else { continue };
        let edits =
            body.edits.iter().filter(|edit| edit.document == *id && &*edit.collection == collection.name());
        for operator in edits.flat_map(|edit| &edit.operators) {
            match operator {
                Operator::Delete => deleted = Some((row.id, row.author, row.time)),
                Operator::Restore | Operator::Insert { .. } => deleted = None,
                _ => {}
            }
        }
    }
    let detail = match deleted {
        Some((commit, author, time)) => {
            let author = log::author(engine.storage.as_ref(), author)?;
            format!("it was deleted by {author} with {commit}, at {} UTC", utc(time.ms()))
        }
        None => "it is deleted".to_owned(),
    };
    told.step("document", false, detail, "`driftless restore` brings it back");
    Ok(())
}

fn fitting(schema: &Schema, state: &DocumentState, told: &mut Explanation) {
    let errors = schema.check(state.fields());
    if errors.is_empty() {
        told.step("schema", true, "it fits the schema of its collection here", "");
        return;
    }
    let fix = "correct it with `driftless edit`, or change the schema with `driftless schema set`";
    for error in errors {
        let at = if error.path.is_empty() { String::new() } else { format!(" at {}", error.path) };
        told.step("schema", false, format!("it does not fit the schema{at}: {}", error.message), fix);
    }
}

// Where a document went that is deleted here, and what of it stayed behind; says whether it went anywhere.
fn moved(
    engine: &mut Engine,
    collection: &Collection,
    id: &DocumentId,
    told: &mut Explanation,
) -> Result<bool, Error> {
    let Pointers { to: pointers, unseen } = pointers(engine, collection, id)?;
    for pointer in &pointers {
        let (to, commit, at) = (pointer.to, pointer.commit, utc(pointer.time.ms()));
        let author = log::author(engine.storage.as_ref(), pointer.author)?;
        let name = match engine.load(&to)? {
            true => format!("{} ({to})", engine.parts(&to)?.1.summary().local_name()),
            false => format!("{to}, which is not here"),
        };
        let detail = format!("it was moved to space {name}, by {author} with {commit}, at {at} UTC");
        let fix = format!("`driftless explain {to} {} {id}` tells of it there", collection.name());
        told.step("moved", false, detail, &fix);
    }
    if pointers.len() > 1 {
        let detail = "it was moved to several spaces at once, and lives in each of them";
        told.step("moved", false, detail, "keep one of them, and `driftless delete` it in the others");
    }
    if unseen > 0 {
        let detail =
            format!("{unseen} commits edit it that did not go along: they lie underneath the deletion");
        told.step(
            "underneath",
            false,
            detail,
            "`driftless restore` shows it here with them, `driftless log` lists them",
        );
    }
    Ok(!pointers.is_empty())
}

fn there(
    engine: &mut Engine,
    space: &SpaceId,
    (id, said): (&PeerId, Said),
    known: Option<Peer>,
    edits: Vec<u64>,
    told: &mut Explanation,
) -> Result<(), Error> {
    let Some(peer) = known else {
        let fix =
            "`driftless sync --peer ADDR` exchanges with it, `driftless peer add ADDR` notes where it is";
        told.step("peer", false, format!("{id} was never met"), fix);
        return Ok(());
    };
    told.step("peer", true, format!("{id} is known, at {} addresses", peer.addresses.len()), "");
    let kept = peer.spaces.contains(space) || peer.agreed.iter().any(|agreed| agreed.space == *space);
    let detail =
        if kept { "the space is exchanged with it" } else { "the space was never exchanged with it" };
    told.step(
        "kept",
        kept,
        detail,
        "`driftless sync SPACE --peer PEER` begins with it; there, `driftless join` with a ticket",
    );
    permission(engine, space, &peer, &said, told)?;
    let failed = !peer.last_error.is_empty();
    let detail = match (peer.last_sync_ms, failed) {
        (_, true) => format!("the last exchange failed: {}", peer.last_error),
        (0, false) => "none was made from here; it may have connected itself".to_owned(),
        (at, false) => format!("the last one ended well at {} UTC", utc(at)),
    };
    told.step("exchange", !failed, detail, "check that the peer runs and where, then `driftless sync`");
    let agreed = peer.agreed.iter().find(|agreed| agreed.space == *space);
    let position = agreed.map_or(0, |agreed| agreed.position);
    let newer = edits.iter().filter(|at| **at > position).count();
    let (ok, detail) = match (agreed, edits.len(), newer) {
        (None, ..) => (false, "both sides were never known to have the same of this space".to_owned()),
        (Some(_), 0, _) => (false, "there is nothing of it here that could be sent".to_owned()),
        (Some(agreed), _, 0) => {
            (true, format!("the peer has said that it has all of it, at {} UTC", utc(agreed.at_ms)))
        }
        (Some(agreed), all, newer) => (
            false,
            format!(
                "{newer} of its {all} commits are newer than the last full exchange, at {} UTC",
                utc(agreed.at_ms)
            ),
        ),
    };
    told.step(
        "acknowledged",
        ok,
        detail,
        "`driftless sync` exchanges now; `driftless serve` stays connected",
    );
    Ok(())
}

// Whether the keys that the peer has proven let it read, and which statement says so.
fn permission(
    engine: &mut Engine,
    space: &SpaceId,
    peer: &Peer,
    said: &Said,
    told: &mut Explanation,
) -> Result<(), Error> {
    if said.closes {
        let fix = "the program that serves decides that; ask whoever runs it";
        told.step("permission", false, "the share filter of this program closes the space to it", fix);
        return Ok(());
    }
    let (_, replica) = engine.parts(space)?;
    let rules = &replica.rules;
    let reader = peer.authors.iter().find(|author| rules.member(author).is_some()).copied();
    if !rules.may_read(&peer.authors) && said.opens {
        told.step("permission", true, "the share resolver of this program opens the space to it", "");
        return Ok(());
    }
    if !rules.may_read(&peer.authors) {
        let Some(first) = peer.authors.first() else {
            let fix = "exchange with it once: `driftless sync`";
            told.step("permission", false, "the peer has proven no key here yet", fix);
            return Ok(());
        };
        let by = rules.deciding(first);
        let by = decision(&mut replica.rules, &by);
        let detail = format!("none of the keys that it has proven may read this space, such as {first}{by}");
        let fix = format!("`driftless grant {space} {first} read`, or give it a ticket");
        told.step("permission", false, detail, &fix);
        return Ok(());
    }
    let standing = reader.and_then(|reader| rules.member(&reader));
    let decided =
        reader.map_or_else(|| rules.deciding_about(Subject::Anyone), |reader| rules.deciding(&reader));
    let by_key = standing.is_some_and(|standing| standing.via != Via::Anyone);
    let permission = match standing {
        Some(standing) => Some(standing.permission),
        None => rules.members().get(&Subject::Anyone).copied(),
    };
    let level = permission.map_or("read", |permission| match permission.level() {
        Level::Read => "read",
        Level::Write => "write",
        Level::Admin => "admin",
    });
    let by = decision(&mut replica.rules, &decided);
    let detail = match reader {
        Some(author) if by_key => format!("its key {author} has the permission to {level}{by}"),
        _ => format!("anyone has the permission to {level}{by}"),
    };
    told.step("permission", true, detail, "");
    Ok(())
}

// What a key may do, which statements say so, and what of its commits has no effect.
fn of_key(engine: &mut Engine, space: &SpaceId, key: &AuthorId, told: &mut Explanation) -> Result<(), Error> {
    let name = engine.present(space)?.summary().local_name().to_owned();
    let (storage, replica) = engine.parts(space)?;
    told.step("space", true, format!("{name} is here, with {} commits", replica.counts.commits), "");
    let statements: Vec<Statement> = replica.rules.statements(&Subject::Key(*key)).collect();
    for statement in statements.iter().rev().take(TOLD).rev() {
        let ruling = ruling(&mut replica.rules, statement);
        told.step("statement", ruling.void.is_none(), ruling.text(), "");
    }
    let (standing, decided) = (replica.rules.member(key), replica.rules.deciding(key));
    let by = decision(&mut replica.rules, &decided);
    let permission = standing.map(|standing| standing.permission);
    match permission {
        Some(permission) => told.step("permission", true, format!("it has {permission} now{by}"), ""),
        None if by.is_empty() => {
            let fix = format!("`driftless grant {space} {key} read`, or give its owner a ticket");
            told.step("permission", false, "no statement here names it, and none is about anyone", &fix);
        }
        None => {
            let fix = format!("an admin who is stronger can `driftless grant {space} {key} write`");
            told.step("permission", false, format!("it may do nothing now{by}"), &fix);
        }
    }
    let Some(number) = replica.author_number(storage, key)? else {
        told.step("commits", true, "it has written nothing that is here", "");
        return Ok(());
    };
    let (mut seen, mut why) = (BTreeSet::new(), BTreeMap::<String, u64>::new());
    for tip in replica.tips_of(number) {
        let mut next = Some(tip.at);
        while let Some(at) = next.filter(|at| seen.insert(*at)) {
            let at = replica.key(at);
            let row = log::row(storage, at)?;
            next = row.previous;
            if let Some(reason) = why_void(storage, replica, at, &row)? {
                *why.entry(reason).or_default() += 1;
            }
        }
    }
    let void: u64 = why.values().sum();
    let detail = format!("{} of its commits are here, {void} of them void", seen.len());
    told.step("commits", void == 0, detail, "");
    for (reason, commits) in why.into_iter().take(TOLD) {
        told.step("void", false, format!("{commits} because {reason}"), "");
    }
    Ok(())
}
