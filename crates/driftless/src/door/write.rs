//! Local writes: edits become commits of the user, signed, and go through the same door as everybody's.

use std::collections::BTreeSet;

use driftless_core::cbor::Writer;
use driftless_core::clock::Timestamp;
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Kind, RuleBody, Vouched};
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::limits::{MAX_BODY, MAX_EDITS, MAX_KEEP, MAX_PARENTS, MAX_RUN};
use driftless_core::operator::Edit;
use driftless_core::rules::{Permission, RuleOperator, Strength, Subject};
use driftless_core::sign::AuthorKey;
use driftless_core::verdict::Via;
use driftless_store::Storage;

use crate::door::commit::Entered;
use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::replica::{Facts, Replica};
use crate::tables::layout::{self, LogKey};
use crate::tables::log;
use crate::tables::refused::Reason;
use crate::walk;

// Commits looked at to find what had been written before some time: as much as a page of a pull.
const LOOKED_BACK: usize = 4096;
// What a body needs besides its edits: salt, heads of lists, a margin.
const BODY_FRAME: usize = 64;

impl Engine {
    /// Founds a space in which this user is the admin that nobody can remove.
    pub(crate) fn create_space(&mut self, name: &str) -> Result<SpaceId, Error> {
        let author = self.author();
        self.alone(&author)?;
        let key = self.signing(&author)?;
        let admin = Permission::Admin(Strength(0));
        let operators = vec![
            RuleOperator::Grant { subject: Subject::Key(author), permission: Some(admin), keep: None },
            RuleOperator::Name(name.to_owned()),
        ];
        let body = RuleBody { operators }.encode(self.random());
        let now = self.now();
        let time = self.clock.tick(now);
        let header = header(Kind::Rules, None, author, time);
        let genesis = Vouched::sign(header, body, &key).map_err(too_large)?;
        match self.enter(&genesis)? {
            Entered::New(_) => Ok(genesis.space()),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes one transaction: one commit, or a run of them. Returns the last.
    pub(crate) fn write(&mut self, space: &SpaceId, bodies: Vec<DocumentBody>) -> Result<CommitId, Error> {
        self.load(space)?;
        let parents = self.parents(space, Kind::Documents, None)?;
        self.write_on(space, parents, bodies)
    }

    /// Writes one transaction on top of what `may_write` said.
    pub(crate) fn write_on(
        &mut self,
        space: &SpaceId,
        parents: Parents,
        bodies: Vec<DocumentBody>,
    ) -> Result<CommitId, Error> {
        self.write_after(space, parents, bodies.into_iter().map(|body| (None, body)).collect())
    }

    /// The same, after what `may_write` said; nothing was written to the space since. A body that says when its edits were
    /// made has that time, as far as it fits between what it builds on and now.
    pub(crate) fn write_after(
        &mut self,
        space: &SpaceId,
        parents: Parents,
        bodies: Vec<(Option<Timestamp>, DocumentBody)>,
    ) -> Result<CommitId, Error> {
        let mut parents = parents;
        let mut last = None;
        let count = bodies.len();
        for (at, (made, body)) in bodies.into_iter().enumerate() {
            let body = body.encode(self.random());
            let time = self.time_after(parents.latest, made);
            let commit = self.sign_at(space, Kind::Documents, at + 1 < count, &parents, body, time)?;
            parents.latest = time;
            parents.previous = Some((commit.id(), commit.header().seq));
            parents.others = Vec::new();
            last = Some(self.enter_own(&commit)?);
        }
        last.ok_or_else(|| Error::Invalid("an empty transaction".into()))
    }

    /// Writes rule operators as one commit.
    pub(crate) fn write_rules(
        &mut self,
        space: &SpaceId,
        operators: Vec<RuleOperator>,
    ) -> Result<CommitId, Error> {
        self.present(space)?;
        let parents = self.parents(space, Kind::Rules, None)?;
        let body = RuleBody { operators }.encode(self.random());
        let commit = self.sign(space, Kind::Rules, false, &parents, body)?;
        self.enter_own(&commit)
    }

    /// What a new commit of this user would build on, if the user may write documents in a space. One whose edits were
    /// made `at` some time builds on what is from before, where the rules known then let the user write.
    pub(crate) fn may_write(&mut self, space: &SpaceId, at: Option<Timestamp>) -> Result<Parents, Error> {
        self.present(space)?;
        match self.parents(space, Kind::Documents, at) {
            Err(Error::NotPermitted(_)) if at.is_some() => self.parents(space, Kind::Documents, None),
            found => found,
        }
    }

    fn enter_own(&mut self, commit: &Vouched) -> Result<CommitId, Error> {
        match self.enter(commit)? {
            Entered::New(_) => Ok(commit.id()),
            other => Err(unexpected(&other)),
        }
    }

    fn sign(
        &mut self,
        space: &SpaceId,
        kind: Kind,
        continues: bool,
        parents: &Parents,
        body: Vec<u8>,
    ) -> Result<Vouched, Error> {
        let time = self.time_after(parents.latest, None);
        self.sign_at(space, kind, continues, parents, body, time)
    }

    // The time that was asked for, but after `latest` and not after now.
    fn time_after(&mut self, latest: Timestamp, asked: Option<Timestamp>) -> Timestamp {
        let now = self.now();
        let tick = self.clock.tick(now);
        asked.map_or(tick, |asked| asked.max(latest.next()).min(tick))
    }

    fn sign_at(
        &mut self,
        space: &SpaceId,
        kind: Kind,
        continues: bool,
        parents: &Parents,
        body: Vec<u8>,
        time: Timestamp,
    ) -> Result<Vouched, Error> {
        let _step = walk::build(space);
        let header = Header {
            continues,
            seq: parents.previous.map_or(1, |(_, seq)| seq + 1),
            previous: parents.previous.map(|(id, _)| id),
            parents: parents.others.clone(),
            ..header(kind, Some(*space), parents.key.id(), time)
        };
        Vouched::sign(header, body, &parents.key).map_err(too_large)
    }

    // What the next commit builds on. More heads than a header can name are joined by merge commits first.
    fn parents(&mut self, space: &SpaceId, kind: Kind, before: Option<Timestamp>) -> Result<Parents, Error> {
        let own = self.author_in(space)?;
        self.alone(&own)?;
        let key = self.signing(&own)?;
        loop {
            let (storage, replica) = self.parts(space)?;
            let previous = own_last(storage, replica, &own)?;
            if let Some(forgotten) = forgotten_seq(storage, replica, &own)?
                && previous.is_none_or(|previous| previous.seq < forgotten)
            {
                return Err(Error::Invalid(format!(
                    "this key has written {forgotten} commits in this space before it was forgotten here; import them first"
                )));
            }
            self.guards.check(space, &own, previous.map_or(0, |previous| previous.seq))?;
            let (storage, replica) = self.parts(space)?;
            let mut heads: Vec<Facts> = replica.write_heads().copied().collect();
            heads.retain(|head| previous.is_none_or(|previous| previous.id != head.id));
            let late = before.is_some_and(|before| heads.iter().any(|head| head.time >= before));
            let earlier = match before.filter(|_| late) {
                Some(before) => last_before(storage, replica, &heads, before)?,
                None => None,
            };
            let on_top = earlier.is_none();
            heads = earlier.unwrap_or(heads);
            heads.retain(|head| previous.is_none_or(|previous| previous.id != head.id));
            let all: Vec<Facts> = previous.iter().chain(&heads).copied().collect();
            if all.is_empty() {
                let why =
                    "everything in this space is later than the clock of this device; set the clock right";
                return Err(Error::NotPermitted(why.into()));
            }
            if kind == Kind::Documents {
                let frontier = replica.frontier_of(&all);
                let standing = frontier.and_then(|frontier| replica.rules.strength_at(frontier, &own));
                standing.map_err(|refusal| Error::NotPermitted(refusal.to_string()))?;
            }
            let too_many = heads.len() > MAX_PARENTS;
            heads.truncate(MAX_PARENTS);
            let mut others: Vec<CommitId> = heads.iter().map(|head| head.id).collect();
            others.sort();
            let latest = all.iter().map(|facts| facts.time).max().unwrap_or_default();
            let previous = previous.map(|facts| (facts.id, facts.seq));
            let parents = Parents { key: key.clone(), previous, others, latest, on_top };
            if !too_many {
                return Ok(parents);
            }
            let body = DocumentBody::default().encode(self.random());
            let merge = self.sign(space, Kind::Documents, false, &parents, body)?;
            self.enter_own(&merge)?;
        }
    }
}

/// What the next commit builds on, and who signs it.
pub(crate) struct Parents {
    /// The key that signs it.
    key: AuthorKey,
    previous: Option<(CommitId, u64)>,
    others: Vec<CommitId>,
    // The latest time among them.
    latest: Timestamp,
    /// They are all heads: what is built on them comes after everything else that has an effect.
    pub(crate) on_top: bool,
}

fn header(kind: Kind, space: Option<SpaceId>, author: AuthorId, time: Timestamp) -> Header {
    Header {
        kind,
        continues: false,
        space,
        author,
        seq: 1,
        previous: None,
        parents: Vec::new(),
        time,
        body_hash: [0; 32],
        body_length: 0,
        body_encoding: BodyEncoding::Plain,
        extensions: Header::no_extensions(),
    }
}

// What had been written up to a time, as far as these heads know; `None` if it takes long to find, or more commits than
// one can name.
fn last_before(
    storage: &dyn Storage,
    replica: &Replica,
    heads: &[Facts],
    before: Timestamp,
) -> Result<Option<Vec<Facts>>, Error> {
    let mut open: BTreeSet<u64> = heads.iter().map(|head| head.at).collect();
    let (mut found, mut looked_at) = (Vec::new(), 0);
    while let Some(at) = open.pop_last() {
        looked_at += 1;
        if looked_at > LOOKED_BACK || found.len() > MAX_PARENTS {
            return Ok(None);
        }
        let key = LogKey::new(replica.number, at);
        let row = log::row(storage, key)?;
        // A transaction that is not whole is not built on.
        if row.time < before && !row.continues {
            found.push(Facts::of(key, &row));
        } else {
            open.extend(row.previous.iter().chain(&row.parents));
        }
    }
    Ok(Some(found).filter(|found| found.len() <= MAX_PARENTS))
}

/// The last commit of an author that is not held, of the longest branch if the chain has forked. If the author's clock
/// was wrong, the chain goes on before the held ones, and forks there, once. So it does before a transaction that a copy
/// of this database has begun and whose end has not come: what is written here must not become its end.
pub(crate) fn own_last(
    storage: &dyn Storage,
    replica: &mut Replica,
    author: &AuthorId,
) -> Result<Option<Facts>, Error> {
    let Some(number) = replica.author_number(storage, author)? else { return Ok(None) };
    let mut last: Option<Facts> = None;
    for tip in replica.tips_of(number) {
        let mut next = Some(tip).filter(|tip| last.is_none_or(|last| last.seq < tip.seq)).map(|tip| tip.at);
        while let Some(at) = next {
            let key = LogKey::new(replica.number, at);
            // Nearly always the last commit is a head, and those are in memory.
            let (facts, before) = match replica.heads.get(&at) {
                Some(head) if !head.facts.continues && head.write => (head.facts, None),
                _ => {
                    let row = log::row(storage, key)?;
                    (Facts::of(key, &row), row.previous)
                }
            };
            if !facts.continues && !replica.held.contains(&(facts.time, at)) {
                last = last.into_iter().chain([facts]).max_by_key(|facts| facts.seq);
                break;
            }
            next = before;
        }
    }
    Ok(last)
}

/// The commits of a subject that a weakening grant keeps: the last of each branch, as far as this database builds on it.
pub(crate) fn seen(
    storage: &dyn Storage,
    replica: &mut Replica,
    subject: &Subject,
) -> Result<Vec<CommitId>, Error> {
    let tips: Vec<(u32, u64)> = replica.tips.iter().map(|((author, _), tip)| (*author, tip.at)).collect();
    let mut kept: Vec<(u64, CommitId)> = Vec::new();
    for (author, at) in tips {
        let author = replica.author(storage, author)?;
        let mut next = match subject {
            Subject::Key(key) => (*key == author).then_some(at),
            Subject::Anyone => {
                let via = replica.rules.member(&author).map(|standing| standing.via);
                (via == Some(Via::Anyone)).then_some(at)
            }
            Subject::Space(space) => replica.rules.came_through(space, &author).then_some(at),
        };
        while let Some(at) = next {
            let row = log::row(storage, LogKey::new(replica.number, at))?;
            if !replica.held.contains(&(row.time, at)) {
                kept.push((row.seq, row.id));
                break;
            }
            next = row.previous;
        }
    }
    if matches!(subject, Subject::Key(_)) {
        // Who has more branches than one grant can name must not be safe from removal: the longest stay.
        kept.sort_by_key(|(seq, id)| (std::cmp::Reverse(*seq), *id));
        kept.dedup();
        kept.truncate(MAX_KEEP);
    }
    let mut kept: Vec<CommitId> = kept.into_iter().map(|(_, id)| id).collect();
    kept.sort();
    kept.dedup();
    if kept.len() > MAX_KEEP {
        return Err(Error::Invalid(format!(
            "more than {MAX_KEEP} chains to keep; take the permission from single keys"
        )));
    }
    Ok(kept)
}

/// Divides edits into bodies within the limits, in order.
pub(crate) fn divide(edits: Vec<Edit>) -> Result<Vec<DocumentBody>, Error> {
    let mut bodies: Vec<DocumentBody> = Vec::new();
    let mut size = usize::MAX;
    for edit in edits {
        edit.check().map_err(|error| Error::Invalid(error.to_string()))?;
        let mut writer = Writer::with_capacity(128);
        edit.encode(&mut writer);
        let length = writer.finish().len();
        if length + BODY_FRAME > MAX_BODY {
            return Err(Error::Invalid(format!(
                "one edit of {length} bytes; at most {MAX_BODY} bytes fit into a commit: divide the value"
            )));
        }
        match bodies.last_mut() {
            Some(body) if size + length <= MAX_BODY && body.edits.len() < MAX_EDITS => {
                size += length;
                body.edits.push(edit);
            }
            _ => {
                size = BODY_FRAME + length;
                bodies.push(DocumentBody { edits: vec![edit], retracts: Vec::new() });
            }
        }
    }
    check_run(bodies.len())?;
    Ok(bodies)
}

/// Whether so many commits can be one transaction.
pub(crate) fn check_run(commits: usize) -> Result<(), Error> {
    if commits > MAX_RUN as usize {
        return Err(Error::Invalid(format!(
            "a transaction of more than {MAX_RUN} commits; write it in parts"
        )));
    }
    Ok(())
}

// The number of commits that a key had written in a space when the space was forgotten here. It changes only when the
// space is forgotten, and the replica with it.
fn forgotten_seq(
    storage: &dyn Storage,
    replica: &mut Replica,
    author: &AuthorId,
) -> Result<Option<u64>, Error> {
    if let Some((_, seq)) = replica.forgotten.filter(|(known, _)| known == author) {
        return Ok(seq);
    }
    let row = storage.get(&layout::META, forgotten_key(&replica.id, author).as_slice().into())?;
    let seq = row.and_then(|row| row.try_into().ok()).map(u64::from_be_bytes);
    replica.forgotten = Some((*author, seq));
    Ok(seq)
}

pub(crate) fn forgotten_key(space: &SpaceId, author: &AuthorId) -> Vec<u8> {
    [b"forgotten", &space.0[..], &author.0[..]].concat()
}

fn too_large(error: driftless_core::commit::HeaderError) -> Error {
    Error::Invalid(error.to_string())
}

// A commit that we made ourselves was not taken: the rules say no, or something is very wrong.
fn unexpected(entered: &Entered) -> Error {
    match entered {
        Entered::Refused(Reason::Rules(refusal)) => Error::NotPermitted(refusal.to_string()),
        Entered::Refused(reason @ Reason::TooManySpaces) => Error::Invalid(reason.text()),
        other => Error::Damaged(format!("a commit of our own was not admitted: {other:?}")),
    }
}
