//! What a session asks of the database: may the peer read, what is here, what does it lack, take this frame.
//!
//! One host per connection. It remembers per slot how far the peer's copy goes and how far the log was read for it.
//! Every read is authorized anew, against keys that the peer has proven. It never waits for the network.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use driftless_core::commit::Vouched;
use driftless_core::frame::{self, FrameBuilder};
use driftless_core::hash_graph::HashGraph;
use driftless_core::id::{AuthorId, CommitId, PeerId, SpaceId};
use driftless_core::limits::{FRAME_TARGET, MAX_ROUNDS, MAX_SUMMARY_HEADS, MAX_WANTED};
use driftless_core::reconcile::{Agreed, Heard, Reconciler, Salt, Summary};
use driftless_core::session::{
    Ask, Checked, Cursor, Declined, Ingested, Opened, Pass, ReadFrame, Session, Slot, Surveyed, Verdict,
};
use driftless_core::sign::Domain;

use crate::agreed;
use crate::database::Database;
use crate::engine::Engine;
use crate::error::Error;
use crate::feed::push;
use crate::ingest::{Tally, ingest};
use crate::layout::{self, LogSeq, State};
use crate::log;
use crate::refused::{self, Claims, Reason};
use crate::replica::{self, Replica};
use crate::sync::pull;
use crate::sync::space_graph::{SpaceGraph, frontier_digest};
use crate::view::Source;

// Commits after which it is noted, in the middle of a connection, where both sides met.
const NOTE_EVERY: u64 = 1000;
// Commits with a broken header, signature or body, and frames that are none, in one connection. An honest peer sends
// what it has let in itself, so it sends none of these; a few may be the fault of its disk.
const MAX_FORGED: u64 = 64;

/// What went over a session so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Commits sent.
    pub sent: u64,
    /// Commits received.
    pub received: u64,
    /// Received, new, and with their effect.
    pub applied: u64,
    /// Received, new, ahead of our clock.
    pub held: u64,
    /// Received, new, without effect.
    pub void: u64,
    /// Received, new, waiting for a body or the rest of a transaction.
    pub wanted: u64,
    /// Received and not taken.
    pub refused: u64,
    /// Received and put off.
    pub declined: u64,
    /// Signatures verified.
    pub signatures: u64,
    /// Frames received.
    pub rounds: u64,
}

impl Moved {
    /// Grows whenever something went over that was new to its receiver, as far as can be known.
    pub(crate) fn progress(&self) -> u64 {
        self.sent + self.applied + self.held + self.void + self.wanted
    }

    fn add_since(&mut self, before: &Self, now: &Self) {
        self.sent += now.sent - before.sent;
        self.received += now.received - before.received;
        self.applied += now.applied - before.applied;
        self.held += now.held - before.held;
        self.void += now.void - before.void;
        self.wanted += now.wanted - before.wanted;
        self.refused += now.refused - before.refused;
        self.declined += now.declined - before.declined;
        self.signatures += now.signatures - before.signatures;
        self.rounds += now.rounds - before.rounds;
    }
}

/// Answers the questions of one session.
#[derive(Debug)]
pub(crate) struct Host {
    database: Database,
    peer: PeerId,
    streams: HashMap<Slot, Stream>,
    /// What went over the session, and of each space.
    pub(crate) moved: Moved,
    moved_in: HashMap<SpaceId, Moved>,
    forged: u64,
    /// Commits that were pulled and were here already.
    pulled: HashMap<SpaceId, u64>,
    failure: Option<Error>,
}

#[derive(Debug)]
struct Stream {
    space: SpaceId,
    keys: Vec<AuthorId>,
    pass: Option<Box<Pass>>,
    /// Whether what the pass shows lets the peer in, as of so many rule commits: proofs are long.
    let_in: Cell<Option<(u32, bool)>>,
    by_peer: bool,
    /// What the peer lacks, and where both sides met.
    reconciler: Reconciler,
    /// Where they had met when that was last noted.
    noted: LogSeq,
    /// Asked for by id.
    wanted: VecDeque<LogSeq>,
    /// How many were, in all.
    given: u64,
    /// Up to where we asked for bodies: each is asked for once.
    asked: LogSeq,
    /// Commits that came and were here already.
    known: u64,
}

impl Host {
    pub(crate) fn new(database: Database, peer: PeerId) -> Self {
        Self {
            database,
            peer,
            streams: HashMap::new(),
            moved: Moved::default(),
            moved_in: HashMap::new(),
            forged: 0,
            pulled: HashMap::new(),
            failure: None,
        }
    }

    /// Does what a session asks and gives it the answer. An error ends the connection.
    pub(crate) fn answer(&mut self, session: &mut Session, ask: Ask) -> Result<(), Error> {
        match ask {
            Ask::Open { slot, space, keys, invite: pass, theirs, salt } => {
                let by_peer = theirs.is_some();
                let stream = self.stream(space, keys, pass, by_peer, salt)?;
                let opened = self.open(slot, stream, theirs.as_ref())?;
                session.handle_opened(slot, opened);
            }
            Ask::Hear { slot, theirs } => {
                let heard = self.hear(slot, &theirs, Vec::new())?;
                session.handle_heard(slot, heard);
            }
            Ask::Read { slot } => {
                let before = self.moved;
                let read = self.read(slot)?;
                self.count(slot, &before);
                session.handle_read(slot, read);
            }
            Ask::Ingest { slot, number, frame, digest } => {
                let before = self.moved;
                let ingested = self.ingest(slot, &frame)?;
                self.count(slot, &before);
                self.meet(slot, &digest)?;
                session.handle_ingested(slot, number, ingested);
            }
            Ask::Acknowledged { slot, digest } => self.meet(slot, &digest)?,
            Ask::Check { slot, heads, digest, round } => {
                self.meet(slot, &digest)?;
                let checked = self.check(slot, &heads, digest, round)?;
                session.handle_checked(slot, checked);
            }
            Ask::Want { slot, ids, again } => match again {
                Some(theirs) => {
                    let wanted = ids.iter().map(|id| id.0).collect();
                    self.hear(slot, &theirs, wanted)?;
                }
                None => self.want(slot, &ids)?,
            },
            Ask::Feed { request, space, keys, cursor, budget } => {
                let fed = pull::feed(&self.database, &space, &keys, cursor.as_ref(), budget)?;
                session.handle_fed(request, fed);
            }
            Ask::Take { request, space, frames, cursor, more } => {
                let before = self.moved;
                let whole = self.take(space, &frames, &cursor, more)?;
                self.moved_in.entry(space).or_default().add_since(&before, &self.moved);
                session.handle_taken(request, whole);
            }
            Ask::Survey { keys } => {
                let found = self.survey(&keys)?;
                session.handle_surveyed(found);
            }
            Ask::Forget { slot } => {
                self.note_agreed(slot, 1)?;
                self.streams.remove(&slot);
            }
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    // Takes a page that was pulled; whether nothing of it has to come again.
    fn take(
        &mut self,
        space: SpaceId,
        frames: &[Vec<u8>],
        cursor: &Cursor,
        more: bool,
    ) -> Result<bool, Error> {
        let (page, reasons, next) = pull::take(&self.database, &self.peer, &space, frames, cursor)?;
        let moved = &mut self.moved;
        moved.rounds += 1;
        moved.received += page.received;
        moved.applied += page.applied;
        moved.held += page.held;
        moved.void += page.void;
        moved.wanted += page.wanted;
        moved.refused += page.refused;
        moved.declined += page.declined;
        moved.signatures += page.signatures;
        self.forged += page.unreadable;
        self.forged += reasons.iter().filter(|reason| FORGED.contains(reason)).count() as u64;
        bounded(self.forged, MAX_FORGED, "the peer sends what nobody signed")?;
        bounded(u64::from(more && page.received == 0), 0, "the peer promises more and sends nothing")?;
        // A log holds each commit once.
        let known = self.pulled.entry(space).or_default();
        *known += page.known;
        bounded(
            *known,
            (u64::from(MAX_ROUNDS) + 2).saturating_mul(next),
            "the peer sends the same again and again",
        )?;
        Ok(page.is_whole())
    }

    /// Whose session it is.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// What of it was of one space.
    pub(crate) fn moved_in(&self, space: &SpaceId) -> Moved {
        self.moved_in.get(space).copied().unwrap_or_default()
    }

    fn count(&mut self, slot: Slot, before: &Moved) {
        if let Some(stream) = self.streams.get(&slot) {
            self.moved_in.entry(stream.space).or_default().add_since(before, &self.moved);
        }
    }

    /// How far of our log of a space the peer has everything, once both sides have said that they have the same.
    pub(crate) fn reached(&self, space: &SpaceId) -> LogSeq {
        let streams = self.streams.values().filter(|stream| stream.space == *space);
        streams
            .filter_map(|stream| stream.reconciler.agreed().last())
            .map(|agreed| agreed.len)
            .max()
            .unwrap_or(0)
    }

    /// The same for spaces that were not opened, in the order of their ids.
    pub(crate) fn reached_before(&self, spaces: &[SpaceId]) -> Result<Vec<(SpaceId, LogSeq)>, Error> {
        let spaces: BTreeSet<&SpaceId> = spaces.iter().collect();
        let agreed = self.database.read(|engine| agreed::newest(engine.storage.as_ref(), &self.peer))?;
        let reached = agreed.into_iter().filter(|(space, _)| spaces.contains(space));
        Ok(reached.map(|(space, agreed)| (space, agreed.len)).collect())
    }

    /// Where both sides met before, of what is here and what the peer may read. Loads only spaces that changed: in the
    /// others the rules are those under which both met.
    fn survey(&self, keys: &[AuthorId]) -> Result<Vec<Surveyed>, Error> {
        let (agreed, here) = self.database.read(|engine| {
            let agreed = agreed::newest(engine.storage.as_ref(), &self.peer)?;
            let here = if agreed.is_empty() { Vec::new() } else { engine.summaries()? };
            Ok((agreed, here))
        })?;
        let here: HashMap<SpaceId, replica::Summary> =
            here.into_iter().map(|summary| (summary.id, summary)).collect();
        let mut found = Vec::with_capacity(agreed.len());
        for (space, Agreed { digest, len }) in agreed {
            // What lies beyond the log was lost here: there both meet anew.
            let Some(summary) = here.get(&space).filter(|summary| len < summary.next) else { continue };
            let changed = summary.next - 1 > len || summary.counts.wanted > 0;
            let readable = !changed
                || self
                    .database
                    .read(|engine| Ok(engine.load(&space)? && pull::may_read(engine, &space, keys)?))?;
            if readable {
                found.push(Surveyed { space, digest, changed });
            }
        }
        Ok(found)
    }

    /// Notes where both sides met: the connection has ended.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        let slots: Vec<Slot> = self.streams.keys().copied().collect();
        slots.into_iter().try_for_each(|slot| self.note_agreed(slot, 1))
    }

    fn stream(
        &self,
        space: SpaceId,
        keys: Vec<AuthorId>,
        pass: Option<Box<Pass>>,
        by_peer: bool,
        salt: Salt,
    ) -> Result<Stream, Error> {
        let agreed =
            self.database.read(|engine| agreed::read(engine.storage.as_ref(), &self.peer, &space))?;
        let noted = agreed.last().map_or(0, |agreed| agreed.len);
        let reconciler = Reconciler::new(salt, agreed);
        let wanted = VecDeque::new();
        Ok(Stream {
            space,
            keys,
            pass,
            let_in: Cell::new(None),
            by_peer,
            reconciler,
            noted,
            wanted,
            given: 0,
            asked: 0,
            known: 0,
        })
    }

    // `theirs`: what the peer said that it has, if it asked.
    fn open(
        &mut self,
        slot: Slot,
        mut stream: Stream,
        theirs: Option<&Summary>,
    ) -> Result<Option<Opened>, Error> {
        let opened = match SpaceGraph::of(&self.database, stream.space)? {
            // A space that we want and do not have yet; a peer may not know that we do not have it.
            None if theirs.is_none() => Opened { summary: Summary::default(), readable: false, ready: false },
            None => return Ok(None),
            Some(graph) => {
                let readable = self.database.read(|engine| may_read(engine, &stream))?;
                match theirs {
                    Some(_) if !readable => return Ok(None),
                    Some(theirs) => {
                        let heard = stream.reconciler.hear(&graph, graph.digest, theirs, true)?;
                        if theirs.digest == graph.digest {
                            stream.reconciler.agree(graph.digest, graph.len());
                        }
                        let summary = heard.answer.unwrap_or_default();
                        Opened { summary, readable, ready: heard.ready }
                    }
                    None => {
                        let summary = stream.reconciler.offer(&graph, graph.digest)?;
                        Opened { summary, readable, ready: false }
                    }
                }
            }
        };
        self.streams.insert(slot, stream);
        Ok(Some(opened))
    }

    // What the peer lacks, now that it said what it has; `wanted` are heads that it lacks for certain.
    fn hear(&mut self, slot: Slot, theirs: &Summary, wanted: Vec<[u8; 32]>) -> Result<Heard, Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(Heard::default()) };
        let ready = Heard { answer: None, ready: true };
        let Some(graph) = SpaceGraph::of(&self.database, stream.space)? else { return Ok(ready) };
        if !self.database.read(|engine| may_read(engine, stream))? {
            // It gives and gets nothing: `read` sees to that. It is not even told what is here.
            return Ok(ready);
        }
        let heard = match wanted.is_empty() {
            true => stream.reconciler.hear(&graph, graph.digest, theirs, false)?,
            false => {
                stream.reconciler.hear_again(&graph, graph.digest, theirs, wanted)?;
                ready
            }
        };
        self.meet(slot, &theirs.digest)?;
        Ok(heard)
    }

    // The peer has these heads. If they are ours, that is where both sides met last.
    fn meet(&mut self, slot: Slot, theirs: &[u8; 8]) -> Result<(), Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(()) };
        let met = self.database.read(|engine| {
            if !engine.load(&stream.space)? {
                return Ok(None);
            }
            let (_, replica) = engine.parts(&stream.space)?;
            Ok((frontier_digest(replica) == *theirs).then(|| replica.next - 1))
        })?;
        if let Some(len) = met {
            stream.reconciler.agree(*theirs, len);
            self.note_agreed(slot, NOTE_EVERY)?;
        }
        Ok(())
    }

    // Writes down where both sides met, if that is at least so many commits after what is noted.
    fn note_agreed(&mut self, slot: Slot, every: u64) -> Result<(), Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(()) };
        let agreed = stream.reconciler.agreed();
        let len = agreed.last().map_or(0, |agreed| agreed.len);
        if len < stream.noted.saturating_add(every) {
            return Ok(());
        }
        self.database.write(|engine| {
            agreed::write(engine.storage.as_mut(), &self.peer, &stream.space, agreed)?;
            engine.staged();
            Ok(())
        })?;
        stream.noted = len;
        Ok(())
    }

    // The next frame of what the peer lacks.
    fn read(&mut self, slot: Slot) -> Result<Option<ReadFrame>, Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(None) };
        // Nothing is sent before it is durable here.
        self.database.flush_if_staged()?;
        let moved = &mut self.moved;
        self.database.read_many(|engine| {
            if !engine.load(&stream.space)? {
                return Ok(Some(ReadFrame::default()));
            }
            if !may_read(engine, stream)? {
                // It gives and gets nothing, not even what our heads are.
                return Ok((!stream.by_peer).then(ReadFrame::default));
            }
            next_frame(engine, stream, moved).map(Some)
        })
    }

    // What of a frame was not taken, whether to send no more, and which parents of it are missing.
    fn ingest(&mut self, slot: Slot, bytes: &[u8]) -> Result<Ingested, Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(Ingested::default()) };
        let moved = &mut self.moved;
        moved.rounds += 1;
        let received = match frame::decode(&stream.space, bytes) {
            Ok(received) => received,
            Err(_) => {
                let hash = Domain::Refused.hash(&[bytes]);
                let claims =
                    Claims { space: Some(stream.space), bytes: bytes.len() as u64, ..Claims::default() };
                self.database
                    .write(|engine| note(engine, hash, &Reason::Unreadable("a damaged frame"), &claims))?;
                moved.refused += 1;
                self.forged += 1;
                bounded(self.forged, MAX_FORGED, "the peer sends what nobody signed")?;
                let refused = vec![Verdict { hash, code: "unreadable".into() }];
                return Ok(Ingested { refused, ..Ingested::default() });
            }
        };
        moved.received += received.len() as u64;
        let forged = &mut self.forged;
        let ingested = self.database.write(|engine| {
            engine.source(Source::Peer);
            let taken = ingest(engine, received)?;
            let Tally { known, applied, held, void, wanted, refused, declined, signatures } = taken.tally;
            moved.applied += applied;
            moved.held += held;
            moved.void += void;
            moved.wanted += wanted;
            moved.refused += refused;
            moved.declined += declined;
            moved.signatures += signatures;
            let mut verdicts = taken.refused;
            *forged += verdicts.iter().filter(|(_, code)| FORGED.contains(code)).count() as u64;
            stream.known += known;
            let orphaned = orphaned(engine, &stream.space, &taken.early)?;
            for commit in &taken.early {
                // An honest peer sends parents first; this one comes again when they are here.
                let received = commit.to_received();
                let hash = received.hash();
                note(engine, hash, &Reason::MissingParent, &refused::claims(&received))?;
                moved.refused += 1;
                verdicts.push((hash, Reason::MissingParent.code()));
            }
            for (_, id) in &taken.here {
                stream.has(engine, id)?;
            }
            let newer = verdicts.iter().any(|(_, code)| *code == "newer_version");
            let declined =
                newer.then(|| Declined { reason: "newer_version".into(), retry_after_ms: 3_600_000 });
            let refused =
                verdicts.into_iter().map(|(hash, code)| Verdict { hash, code: code.into() }).collect();
            // What was taken stays, whatever is thought of the peer from now on.
            let (mut digest, mut next) = ([0; 8], 1);
            if engine.load(&stream.space)? {
                let readable = may_read(engine, stream)?;
                let (_, replica) = engine.parts(&stream.space)?;
                next = replica.next;
                if readable {
                    digest = frontier_digest(replica);
                }
            }
            Ok((Ingested { refused, declined, orphaned, digest }, next))
        });
        let (ingested, next) = ingested?;
        bounded(self.forged, MAX_FORGED, "the peer sends what nobody signed")?;
        // What was here already came once, and once more for each time that all was asked for, and each body once.
        let most = (u64::from(MAX_ROUNDS) + 2).saturating_mul(next);
        bounded(stream.known, most, "the peer sends the same again and again")?;
        Ok(ingested)
    }

    fn check(
        &mut self,
        slot: Slot,
        heads: &[CommitId],
        digest: [u8; 8],
        round: u32,
    ) -> Result<Checked, Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(Checked::default()) };
        let (mut checked, readable) = self.database.read(|engine| {
            if !engine.load(&stream.space)? {
                return Ok((Checked { missing: heads.to_vec(), ..Checked::default() }, false));
            }
            let readable = may_read(engine, stream)?;
            let (storage, replica) = engine.parts(&stream.space)?;
            let mut missing = Vec::new();
            if digest != frontier_digest(replica) {
                for head in heads {
                    if replica.facts(storage, head)?.is_none() {
                        missing.push(*head);
                    }
                }
            }
            let mut bodies = Vec::new();
            if replica.counts.wanted > 0 && missing.is_empty() {
                for (key, state) in
                    replica::range_after(storage, &layout::STATE, replica.number, stream.asked)?
                {
                    if State::decode(&state)? != State::Wanted {
                        continue;
                    }
                    let row = log::row(storage, key)?;
                    stream.asked = key.seq();
                    // What waits for the rest of a transaction has its body.
                    if log::body(storage, key)?.is_none() {
                        bodies.push(row.id);
                    }
                    if bodies.len() == MAX_WANTED {
                        break;
                    }
                }
            }
            Ok((Checked { missing, bodies, again: Summary::default() }, readable))
        })?;
        if readable
            && !checked.missing.is_empty()
            && let Some(graph) = SpaceGraph::of(&self.database, stream.space)?
        {
            checked.again = stream.reconciler.again(&graph, graph.digest, round)?;
        }
        Ok(checked)
    }

    // Bodies that the peer wants.
    fn want(&mut self, slot: Slot, ids: &[CommitId]) -> Result<(), Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(()) };
        self.database.read(|engine| {
            if !engine.load(&stream.space)? {
                return Ok(());
            }
            let (storage, replica) = engine.parts(&stream.space)?;
            for id in ids {
                // Nobody lacks more bodies than there are commits.
                if stream.given >= replica.next {
                    break;
                }
                let Some(facts) = replica.facts(storage, id)? else { continue };
                if log::body(storage, replica.key(facts.at))?.is_some() {
                    stream.given += 1;
                    stream.wanted.push_back(facts.at);
                }
            }
            Ok(())
        })
    }
}

impl Stream {
    // The peer has this commit: it sent it.
    fn has(&mut self, engine: &mut Engine, id: &CommitId) -> Result<(), Error> {
        let (storage, replica) = engine.parts(&self.space)?;
        if let Some(facts) = replica.facts(storage, id)? {
            self.reconciler.plan().has(facts.at);
        }
        Ok(())
    }
}

// Parents that are neither here nor among the commits that wait for them.
fn orphaned(engine: &mut Engine, space: &SpaceId, early: &[Vouched]) -> Result<Vec<CommitId>, Error> {
    if early.is_empty() || !engine.load(space)? {
        return Ok(Vec::new());
    }
    let (storage, replica) = engine.parts(space)?;
    let waiting: HashSet<CommitId> = early.iter().map(Vouched::id).collect();
    let mut missing = BTreeSet::new();
    for header in early.iter().map(Vouched::header) {
        for parent in header.previous.iter().chain(&header.parents) {
            if missing.len() < MAX_WANTED
                && !waiting.contains(parent)
                && replica.facts(storage, parent)?.is_none()
            {
                missing.insert(*parent);
            }
        }
    }
    Ok(missing.into_iter().collect())
}

// What an honest peer does not get wrong.
const FORGED: [&str; 3] = ["bad_header", "bad_signature", "bad_body"];

fn bounded(count: u64, most: u64, otherwise: &str) -> Result<(), Error> {
    if count <= most { Ok(()) } else { Err(Error::Peer(otherwise.into())) }
}

fn note(engine: &mut Engine, hash: [u8; 32], reason: &Reason, claims: &Claims) -> Result<(), Error> {
    let now = engine.now();
    refused::note(engine.storage.as_mut(), &mut engine.room, hash, reason, claims, now)?;
    engine.staged();
    Ok(())
}

// Whether one of the proven keys may read, or an invite that is still good or another space lets the peer in.
fn may_read(engine: &mut Engine, stream: &Stream) -> Result<bool, Error> {
    // Other work may have put it out of memory since it was looked at, and a forgotten space is nobody's to read.
    if !engine.load(&stream.space)? {
        return Ok(false);
    }
    if pull::may_read(engine, &stream.space, &stream.keys)? {
        return Ok(true);
    }
    let now = engine.now();
    let Some(pass) = &stream.pass else { return Ok(false) };
    let (_, replica) = engine.parts(&stream.space)?;
    let rules = &mut replica.rules;
    match &**pass {
        Pass::Invite(invite) => {
            Ok(rules.invite_opens((&invite.invite, invite.index), &invite.joiner, &invite.proof, now))
        }
        Pass::Space(shown) => {
            let count = rules.rule_count();
            if let Some((_, let_in)) = stream.let_in.get().filter(|(before, _)| *before == count) {
                return Ok(let_in);
            }
            let doors = rules.delegations().into_iter().filter(|door| door.space == shown.space);
            let doors: Vec<_> = doors.map(|door| (door.commit, door.index)).collect();
            let let_in =
                doors.into_iter().any(|door| rules.lets_in(&shown.joiner, door, &shown.proof).is_ok());
            stream.let_in.set(Some((count, let_in)));
            Ok(let_in)
        }
    }
}

fn nothing_more(replica: &Replica, stream: &Stream) -> ReadFrame {
    let unknown = replica.sync_heads().filter(|head| !stream.reconciler.knows(head.at));
    let mut heads: Vec<CommitId> = unknown.map(|head| head.id).collect();
    heads.sort_unstable();
    heads.truncate(MAX_SUMMARY_HEADS);
    ReadFrame { frame: None, digest: frontier_digest(replica), heads }
}

fn next_frame(engine: &mut Engine, stream: &mut Stream, moved: &mut Moved) -> Result<ReadFrame, Error> {
    let space = stream.space;
    let (storage, replica) = engine.parts(&space)?;
    let mut builder = FrameBuilder::new(space);
    let mut count = 0;
    while let Some(at) = stream.wanted.front().copied().filter(|_| builder.size() < FRAME_TARGET) {
        if push(storage, replica, at, &mut builder)?.is_none() {
            break;
        }
        stream.wanted.pop_front();
        count += 1;
    }
    let plan = stream.reconciler.plan();
    // A frame ends only where every commit in it is vouched for.
    while builder.unvouched() || builder.size() < FRAME_TARGET {
        let Some(at) = plan.peek(replica.next - 1) else { break };
        if push(storage, replica, at, &mut builder)?.is_none() {
            break;
        }
        plan.sent();
        count += 1;
    }
    if count == 0 {
        return Ok(nothing_more(replica, stream));
    }
    moved.sent += count;
    Ok(ReadFrame { frame: Some(builder.finish()), digest: frontier_digest(replica), heads: Vec::new() })
}

#[cfg(test)]
mod tests {
    use driftless_core::session::Role;

    use super::*;
    use crate::sync::driven::begin;

    #[test]
    fn a_space_that_other_work_put_out_of_memory_is_served_on() {
        let database = Database::memory().unwrap();
        let space = database.create_space("notes").unwrap().id();
        let (mut session, mut host) = begin(&database, Role::Listener, PeerId([2; 32])).unwrap();
        let keys = vec![database.read(|engine| Ok(engine.author())).unwrap()];
        let (slot, salt, summary) = (0, Salt::new(&[]), Summary::default());
        let open = Ask::Open { slot, space, keys, invite: None, theirs: Some(summary.clone()), salt };
        host.answer(&mut session, open).unwrap();
        for ask in [
            Ask::Want { slot, ids: vec![CommitId([1; 32])], again: None },
            Ask::Want { slot, ids: Vec::new(), again: Some(summary.clone()) },
            Ask::Hear { slot, theirs: summary },
            Ask::Read { slot },
        ] {
            let cleared = database.read(|engine| {
                engine.replicas.clear();
                Ok(())
            });
            cleared.unwrap();
            host.answer(&mut session, ask).unwrap();
        }
        assert!(host.moved.sent > 0);
    }
}
