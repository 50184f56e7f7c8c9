//! What a session asks of the database: may the peer read, what is here, what does it lack, take this frame.
//!
//! One host per connection. It remembers per slot how far the peer's copy goes and how far the log was read for it.
//! Every read is authorized anew, against keys that the peer has proven. It never waits for the network.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use driftless_core::broken::{Broken, is as is_broken};
use driftless_core::commit::commit_id;
use driftless_core::frame;
use driftless_core::id::{AuthorId, CommitId, PeerId, SpaceId};
use driftless_core::limits::{MAX_ROUNDS, WALK_STEP};
use driftless_core::reconcile::{Agreed, Heard, Reconciler, Salt, Summary};
use driftless_core::session::{
    Ask, Checked, Cursor, Declined, Ingested, Opened, Pass, ReadFrame, Session, Slot, Surveyed, Verdict,
};
use driftless_core::sign::Domain;

use crate::database::Database;
use crate::door::ingest::{Tally, ingest};
use crate::error::Error;
use crate::peers::prefs;
use crate::people::bootstrap::{self, Asker};
use crate::served::Look;
use crate::state::engine::Engine;
use crate::state::replica;
use crate::state::serving::Said;
use crate::sync::discovery;
use crate::sync::follow::{Batches, SyncBatch};
use crate::sync::lookup;
use crate::sync::missing::{check, orphaned};
use crate::sync::owed::{Owed, Taken};
use crate::sync::pull;
use crate::sync::routes::Ear;
use crate::sync::space_graph::{SpaceGraph, frontier_digest};
use crate::sync::stream::{Moved, Stream, confirm, decided, may_read, next_frame};
use crate::tables::cursor;
use crate::tables::layout::LogSeq;
use crate::tables::refused::{self, Claims, Reason};
use crate::tables::view::Source;
use crate::walk;

// Commits after which it is noted, in the middle of a connection, where both sides met.
const NOTE_EVERY: u64 = 1000;
// Heads that are looked through without going to a thread that may take its time.
const FEW_HEADS: usize = 64;
// Commits with a broken header, signature or body, and frames that are none, in one connection. An honest peer sends
// what it has let in itself, so it sends none of these; a few may be the fault of its disk.
const MAX_FORGED: u64 = 64;

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
    /// How many commits were looked at for summaries of the peer, in slots that are closed.
    looked: HashMap<SpaceId, u64>,
    /// Where the peer came from, where the transport knows it.
    pub(crate) source: Option<IpAddr>,
    /// Hears of changes in the spaces that are looked at here, if anybody tells them.
    pub(crate) ear: Option<Arc<Ear>>,
    /// Who is told of what became durable.
    pub(crate) batches: Option<Batches>,
    failure: Option<Error>,
    owed: Owed,
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
            looked: HashMap::new(),
            source: None,
            ear: None,
            batches: None,
            failure: None,
            owed: Owed::default(),
        }
    }

    /// Does what a session asks and gives it the answer. An error ends the connection.
    pub(crate) fn answer(&mut self, session: &mut Session, ask: Ask) -> Result<(), Error> {
        let before = self.moved;
        let step = walk::answer(&self.peer, &ask, |slot| self.streams.get(&slot).map(|stream| stream.space));
        let answered = step.in_scope(|| self.answer_one(session, ask));
        walk::commits(&step, (self.moved.sent - before.sent) + (self.moved.received - before.received));
        answered
    }

    /// Whether frames wait for others to become durable with them.
    pub(crate) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Makes the frames that were taken durable, and says so.
    pub(crate) fn acknowledge(&mut self, session: &mut Session) -> Result<(), Error> {
        for Taken { slot, number, ingested, news } in self.owed.settle(&self.database)? {
            if let Some((batch, moved)) = news {
                self.tell_batch(batch, moved, None)?;
            }
            session.handle_ingested(slot, number, ingested);
        }
        Ok(())
    }

    fn answer_one(&mut self, session: &mut Session, ask: Ask) -> Result<(), Error> {
        if !matches!(ask, Ask::Ingest { .. }) {
            self.acknowledge(session)?;
        }
        match ask {
            Ask::Open { slot, space, keys, invite: pass, theirs, salt } => {
                self.follow([&space]);
                let stream = self.stream(space, keys, pass, theirs.is_some(), salt)?;
                match theirs {
                    Some(theirs) => self.open_for_peer(session, slot, stream, theirs)?,
                    None => {
                        let opened = self.open(slot, stream)?;
                        session.handle_opened(slot, Some(opened));
                    }
                }
            }
            Ask::Hear { slot, theirs } => {
                self.meet(slot, &theirs.digest)?;
                if let Some(stream) = self.streams.get_mut(&slot) {
                    stream.reconciler.begin(theirs, false);
                }
                self.go(session, slot)?;
            }
            Ask::Go { slot } => self.go(session, slot)?,
            Ask::Read { slot } => {
                let before = self.moved;
                let read = self.read(slot)?;
                self.count(slot, &before);
                session.handle_read(slot, read);
            }
            Ask::Ingest { slot, number, frame, digest } => {
                let (more, before) = (Owed::is_full(&frame), self.moved);
                let alone = !more && !self.owes();
                let (ingested, news) = self.ingest(slot, &frame, alone)?;
                self.count(slot, &before);
                self.meet(slot, &digest)?;
                if alone {
                    if let Some((batch, moved)) = news {
                        self.tell_batch(batch, moved, None)?;
                    }
                    session.handle_ingested(slot, number, ingested);
                    return Ok(());
                }
                self.owed.push(Taken { slot, number, ingested, news });
                if !more || self.owed.is_enough() {
                    self.acknowledge(session)?;
                }
            }
            Ask::Acknowledged { slot, digest } => self.meet(slot, &digest)?,
            Ask::Check { slot, heads, digest, round } => {
                self.meet(slot, &digest)?;
                let reader = (&self.database, &self.peer);
                let checked = match self.streams.get_mut(&slot) {
                    Some(stream) => check(reader, stream, &heads, digest, round)?,
                    None => Checked::default(),
                };
                session.handle_checked(slot, checked);
            }
            Ask::Confirm { slot, digest, round } => {
                self.meet(slot, &digest)?;
                let stream = self.streams.get_mut(&slot);
                let again = stream.map(|stream| confirm(&self.database, &self.peer, stream, round));
                session.handle_confirmed(slot, again.transpose()?.flatten());
            }
            Ask::Want { slot, ids, again } => match again {
                Some(theirs) => {
                    if let Some(stream) = self.streams.get_mut(&slot) {
                        stream.reconciler.begin_again(theirs, ids.iter().map(|id| id.0).collect());
                    }
                    self.go(session, slot)?;
                }
                None => self.want(slot, &ids)?,
            },
            Ask::Feed { request, space, keys, cursor, budget, wanted } => {
                let reader = (&self.peer, &space, keys.as_slice());
                let fed = pull::feed(&self.database, reader, cursor.as_ref(), budget, &wanted)?;
                session.handle_fed(request, fed);
            }
            Ask::Take { request, space, frames, cursor, more } => {
                let before = self.moved;
                let whole = self.take(space, &frames, &cursor, more)?;
                self.moved_in.entry(space).or_default().add_since(&before, &self.moved);
                session.handle_taken(request, whole);
            }
            Ask::Request { number, request } => {
                let asker = Asker { peer: self.peer, source: self.source };
                let answer = bootstrap::decide(&self.database, &request, asker)?;
                session.handle_answer(number, answer);
            }
            Ask::Discover { number, keys, after } => {
                let (found, more) = discovery::page(&self.database, &self.peer, &keys, after)?;
                session.handle_found(number, found, more);
            }
            Ask::Shared { number, keys, after, pass } => {
                let pass = lookup::by_space(pass.as_deref());
                let (found, more) = lookup::shared(&self.database, (&self.peer, &keys), after, pass)?;
                session.handle_found(number, found, more);
            }
            Ask::Find { number, keys, lookup } => {
                let located = lookup::find(&self.database, (&self.peer, &keys), &lookup)?;
                session.handle_located(number, located);
            }
            Ask::Tell { keys, spaces } => {
                let told = lookup::told(&self.database, (&self.peer, &keys), &spaces)?;
                session.handle_told(told);
            }
            Ask::Survey { keys } => {
                let found = self.survey(session, &keys)?;
                session.handle_surveyed(found);
            }
            Ask::Forget { slot } => {
                self.note_agreed(slot, 1)?;
                self.forget(session, slot);
            }
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Answers what memory alone can answer, if nobody else holds the database; else gives the question back. Never
    /// waits, so that the end of an exchange in which nothing moves need not wake another thread.
    pub(crate) fn answer_at_once(&mut self, session: &mut Session, ask: Ask) -> Option<Ask> {
        let (slot, theirs) = match &ask {
            Ask::Acknowledged { slot, digest }
            | Ask::Check { slot, digest, .. }
            | Ask::Confirm { slot, digest, .. } => (*slot, Some(digest)),
            Ask::Forget { slot } => (*slot, None),
            _ => return Some(ask),
        };
        if self.owes() {
            return Some(ask);
        }
        let Some(stream) = self.streams.get_mut(&slot) else { return Some(ask) };
        let done = self.database.glance(|engine| {
            let Some(theirs) = theirs else {
                return (!engine.agreed.is_full()).then(|| stream.note(engine, &self.peer, 1));
            };
            let replica = engine.replicas.get(&stream.space)?;
            let small = replica.heads.len() <= FEW_HEADS && replica.counts.wanted == 0;
            if !small || engine.agreed.is_full() || frontier_digest(replica) != *theirs {
                return None;
            }
            stream.reconciler.agree(*theirs, replica.next - 1);
            stream.note(engine, &self.peer, NOTE_EVERY);
            Some(())
        });
        match (done, ask) {
            (None, ask) => return Some(ask),
            // They have our heads: nothing is missing here, and no body.
            (Some(()), Ask::Check { .. }) => session.handle_checked(slot, Checked::default()),
            (Some(()), Ask::Confirm { .. }) => session.handle_confirmed(slot, None),
            (Some(()), Ask::Forget { .. }) => self.forget(session, slot),
            (Some(()), _) => {}
        }
        None
    }

    // Takes a page that was pulled; whether nothing of it has to come again.
    fn take(
        &mut self,
        space: SpaceId,
        frames: &[Vec<u8>],
        cursor: &Cursor,
        more: bool,
    ) -> Result<bool, Error> {
        let (page, next, ids) = pull::take(&self.database, &self.peer, &space, frames, cursor)?;
        let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
        let before = self.moved;
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
        let now = self.moved_since(&before);
        self.tell_batch(SyncBatch::new(self.peer, space, ids, bytes), now, Some(cursor.store))?;
        self.forged += page.unreadable;
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

    // Says what became durable, if somebody wants to hear of it: after the view has it, outside of every lock.
    fn tell_batch(&self, mut batch: SyncBatch, moved: Moved, store: Option<[u8; 16]>) -> Result<(), Error> {
        let Some(batches) = &self.batches else { return Ok(()) };
        (batch.applied, batch.held, batch.void) = (moved.applied, moved.held, moved.void);
        (batch.wanted, batch.refused) = (moved.wanted, moved.refused);
        self.database.flush_if_staged()?;
        let known = || {
            let cursor = self
                .database
                .read(|engine| cursor::read(engine.storage.as_ref(), &self.peer, &batch.root))?;
            Ok::<_, Error>(cursor.map_or([0; 16], |cursor| cursor.store))
        };
        let store = store.map_or_else(known, Ok)?;
        batches.tell(batch, moved.received, store);
        Ok(())
    }

    fn moved_since(&self, before: &Moved) -> Moved {
        let mut moved = Moved::default();
        moved.add_since(before, &self.moved);
        moved
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
        let agreed =
            self.database.read(|engine| engine.agreed.newest(engine.storage.as_ref(), &self.peer))?;
        let reached = agreed.into_iter().filter(|(space, _)| spaces.contains(space));
        Ok(reached.map(|(space, agreed)| (space, agreed.len)).collect())
    }

    /// Where both sides met before, of what is here and what the peer may read. Loads only spaces that changed: in the
    /// others the rules are those under which both met.
    fn survey(&self, session: &Session, keys: &[AuthorId]) -> Result<Vec<Surveyed>, Error> {
        let (agreed, here, asked) = self.database.read(|engine| {
            let agreed = engine.agreed.newest(engine.storage.as_ref(), &self.peer)?;
            let here = if agreed.is_empty() { Vec::new() } else { engine.summaries()? };
            let wanted = prefs::all_wanted(engine.storage.as_ref(), agreed.iter().map(|(space, _)| *space))?;
            let agreed: Vec<_> = agreed.into_iter().filter(|(space, _)| wanted.contains_key(space)).collect();
            self.follow(agreed.iter().map(|(space, _)| space));
            Ok((agreed, here, !engine.callbacks.is_none()))
        })?;
        let here: HashMap<SpaceId, replica::Summary> =
            here.into_iter().map(|summary| (summary.id, summary)).collect();
        let mut found = Vec::with_capacity(agreed.len());
        for (space, Agreed { digest, len }) in agreed {
            // What lies beyond the log was lost here: there both meet anew.
            let Some(summary) = here.get(&space).filter(|summary| len < summary.next) else {
                self.unfollow(session, &space);
                continue;
            };
            let changed = summary.next - 1 > len || summary.counts.wanted > 0;
            // Callbacks may say something else by now.
            let as_before = !changed && !asked;
            if as_before || self.database.serves(&self.peer, &space, keys)? {
                found.push(Surveyed { space, digest, changed });
            } else {
                self.unfollow(session, &space);
            }
        }
        Ok(found)
    }

    /// As `end`, if that can be done at once; else gives itself back.
    pub(crate) fn end_at_once(mut self) -> Option<Self> {
        if self.owes() {
            return Some(self);
        }
        let noted = self.database.glance(|engine| {
            let full = engine.agreed.is_full();
            (!full).then(|| self.streams.values_mut().for_each(|stream| stream.note(engine, &self.peer, 1)))
        });
        if noted.is_some() { None } else { Some(self) }
    }

    /// Notes where both sides met: the connection has ended.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        if self.owes() {
            self.database.flush_if_staged()?;
        }
        let slots: Vec<Slot> = self.streams.keys().copied().collect();
        slots.into_iter().try_for_each(|slot| self.note_agreed(slot, 1))
    }

    fn forget(&mut self, session: &Session, slot: Slot) {
        let Some(stream) = self.streams.remove(&slot) else { return };
        self.looked.insert(stream.space, stream.reconciler.looked());
        self.unfollow(session, &stream.space);
    }

    // Before the first look at them: what happens after it must be heard.
    fn follow<'s>(&self, spaces: impl IntoIterator<Item = &'s SpaceId>) {
        if let Some(ear) = &self.ear {
            ear.follow(spaces);
        }
    }

    // Unless the session has it open elsewhere, or opens it when it changes.
    fn unfollow(&self, session: &Session, space: &SpaceId) {
        if let Some(ear) = self.ear.as_ref().filter(|_| !session.follows(space)) {
            ear.leave(space);
        }
    }

    fn stream(
        &self,
        space: SpaceId,
        keys: Vec<AuthorId>,
        pass: Option<Box<Pass>>,
        opening: bool,
        salt: Salt,
    ) -> Result<Stream, Error> {
        let agreed =
            self.database.read(|engine| engine.agreed.read(engine.storage.as_ref(), &self.peer, &space))?;
        let noted = agreed.last().map_or(0, |agreed| agreed.len);
        let mut reconciler = Reconciler::new(salt, agreed);
        reconciler.count_from(self.looked.get(&space).copied().unwrap_or(0));
        let (wanted, unmet) = (VecDeque::new(), BTreeSet::new());
        Ok(Stream {
            space,
            keys,
            pass,
            said: Said::default(),
            let_in: Cell::new(None),
            opening,
            reconciler,
            noted,
            wanted,
            unmet,
            late: 0,
            given: 0,
            asked: 0,
            wanting: 0,
            known: 0,
        })
    }

    // Ours: what we say that we have.
    fn open(&mut self, slot: Slot, mut stream: Stream) -> Result<Opened, Error> {
        let opened = match SpaceGraph::of(&self.database, stream.space)? {
            // A space that we want and do not have yet; a peer may not know that we do not have it.
            None => Opened { summary: Summary::default(), readable: false, ready: false },
            Some(graph) => {
                let readable =
                    decided((&self.database, &self.peer, Look::Any), &mut stream, |_, _, readable| {
                        Ok(readable)
                    })?;
                let summary = stream.reconciler.offer(&graph, graph.digest)?;
                Opened { summary, readable, ready: false }
            }
        };
        self.streams.insert(slot, stream);
        Ok(opened)
    }

    // The peer's, which is answered once it is known what it lacks.
    fn open_for_peer(
        &mut self,
        session: &mut Session,
        slot: Slot,
        mut stream: Stream,
        theirs: Summary,
    ) -> Result<(), Error> {
        // What is off for all users here is not exchanged, whoever asks for it.
        let readable =
            decided((&self.database, &self.peer, Look::Any), &mut stream, |engine, stream, readable| {
                Ok(readable && prefs::wanted(engine.storage.as_ref(), &stream.space)?.is_some())
            })?;
        if !readable {
            session.handle_opened(slot, None);
            self.unfollow(session, &stream.space);
            return Ok(());
        }
        let digest = theirs.digest;
        stream.reconciler.begin(theirs, true);
        self.streams.insert(slot, stream);
        self.meet(slot, &digest)?;
        self.go(session, slot)
    }

    // Goes on with what the peer said that it has, as far as one step reaches: other connections have the database
    // meanwhile, and the other spaces of this one their turn.
    fn go(&mut self, session: &mut Session, slot: Slot) -> Result<(), Error> {
        let Some(stream) = self.streams.get_mut(&slot) else {
            session.handle_heard(slot, Heard::default());
            return Ok(());
        };
        let opening = stream.opening;
        let graph = SpaceGraph::of(&self.database, stream.space)?;
        let readable = graph.is_some()
            && decided((&self.database, &self.peer, Look::Any), stream, |_, _, readable| Ok(readable))?;
        let Some(graph) = graph.filter(|_| readable) else {
            stream.reconciler.stop();
            if opening {
                let space = stream.space;
                self.streams.remove(&slot);
                session.handle_opened(slot, None);
                self.unfollow(session, &space);
            } else {
                // It gives and gets nothing: `read` sees to that. It is not even told what is here.
                session.handle_heard(slot, Heard { answer: None, ready: true });
            }
            return Ok(());
        };
        let heard = stream.reconciler.go(&graph, graph.digest, WALK_STEP)?;
        stream.opening &= heard.is_none();
        if stream.reconciler.is_busy() {
            session.handle_pending(slot);
        }
        match heard {
            Some(Heard { answer, ready }) if opening => {
                let summary = answer.unwrap_or_default();
                session.handle_opened(slot, Some(Opened { summary, readable: true, ready }));
            }
            Some(heard) => session.handle_heard(slot, heard),
            None => {}
        }
        Ok(())
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

    // Notes where both sides met, if that is at least so many commits after what is noted.
    fn note_agreed(&mut self, slot: Slot, every: u64) -> Result<(), Error> {
        let Some(stream) = self.streams.get_mut(&slot).filter(|stream| stream.to_note(every).is_some())
        else {
            return Ok(());
        };
        let full = self.database.read(|engine| {
            stream.note(engine, &self.peer, every);
            Ok(engine.agreed.is_full())
        })?;
        if full { self.database.flush() } else { Ok(()) }
    }

    // The next frame of what the peer lacks.
    fn read(&mut self, slot: Slot) -> Result<Option<ReadFrame>, Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(None) };
        let moved = &mut self.moved;
        // Nothing is sent before it is durable here.
        decided((&self.database, &self.peer, Look::Durable), stream, |engine, stream, readable| {
            if !engine.load(&stream.space)? {
                return Ok(Some(ReadFrame::default()));
            }
            if !readable {
                // It gets nothing, not even what our heads are.
                return Ok(None);
            }
            let last = engine.parts(&stream.space)?.1.next - 1;
            let nothing = stream.wanted.is_empty() && stream.reconciler.plan().peek(last).is_none();
            if nothing {
                return next_frame(engine, stream, moved).map(Some);
            }
            engine.at_once(|engine| next_frame(engine, stream, moved).map(Some))
        })
    }

    // What of a frame was not taken, whether to send no more, and which parents of it are missing.
    // Takes a frame; with it, what is told of it here. It is durable when this returns, or once it is acknowledged.
    fn ingest(
        &mut self,
        slot: Slot,
        bytes: &[u8],
        durably: bool,
    ) -> Result<(Ingested, Option<(SyncBatch, Moved)>), Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok((Ingested::default(), None)) };
        let before = self.moved;
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
                return Ok((Ingested { refused, ..Ingested::default() }, None));
            }
        };
        moved.received += received.len() as u64;
        let bodiless: HashSet<CommitId> = received
            .iter()
            .filter(|commit| commit.body.is_none())
            .map(|commit| commit_id(&commit.header))
            .collect();
        let (forged, mut new) = (&mut self.forged, Vec::new());
        let owed = &mut self.owed;
        let take = |engine: &mut Engine| {
            owed.begin(engine.undone);
            engine.source(Source::Peer);
            let taken = ingest(engine, received)?;
            new = taken.new;
            let Tally { known, applied, held, void, wanted, refused, declined, signatures } = taken.tally;
            moved.applied += applied;
            moved.held += held;
            moved.void += void;
            moved.wanted += wanted;
            moved.refused += refused;
            moved.declined += declined;
            moved.signatures += signatures;
            let mut verdicts = taken.refused;
            *forged += verdicts.iter().filter(|(_, code)| pull::FORGED.contains(code)).count() as u64;
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
            for (_, id) in taken.here.iter().filter(|_| !is_broken(Broken::EchoOnceTooOften)) {
                stream.has(engine, id, !bodiless.contains(id))?;
            }
            let newer = verdicts.iter().any(|(_, code)| *code == "newer_version");
            let declined =
                newer.then(|| Declined { reason: "newer_version".into(), retry_after_ms: 3_600_000 });
            let refused =
                verdicts.into_iter().map(|(hash, code)| Verdict { hash, code: code.into() }).collect();
            // What was taken stays, whatever is thought of the peer from now on.
            let (mut digest, mut next) = ([0; 8], 1);
            if engine.load(&stream.space)? {
                // Where callbacks have to be asked first the peer is not told what our heads are, this once.
                let readable = may_read(engine, stream)? == Some(true);
                let (_, replica) = engine.parts(&stream.space)?;
                next = replica.next;
                if readable {
                    digest = frontier_digest(replica);
                }
            }
            Ok((Ingested { refused, declined, orphaned, digest }, next))
        };
        // The peer is told that it is durable.
        let (ingested, next) = match durably {
            true => self.database.write_durably(take)?,
            false => self.database.write_unpromised(take)?,
        };
        let (space, known) = (stream.space, stream.known);
        let (now, bytes) = (self.moved_since(&before), bytes.len() as u64);
        let news = (SyncBatch::new(self.peer, space, new, bytes), now);
        bounded(self.forged, MAX_FORGED, "the peer sends what nobody signed")?;
        // What was here already came once, and once more for each time that all was asked for, and each body once.
        let most = (u64::from(MAX_ROUNDS) + 2).saturating_mul(next);
        bounded(known, most, "the peer sends the same again and again")?;
        Ok((ingested, Some(news)))
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
                // Whether its body is here is seen when it is its turn: a thousand of them may be a GiB.
                if let Some(facts) = replica.facts(storage, id)? {
                    stream.given += 1;
                    stream.wanted.push_back(facts.at);
                }
            }
            Ok(())
        })
    }
}

fn bounded(count: u64, most: u64, otherwise: &str) -> Result<(), Error> {
    if count <= most { Ok(()) } else { Err(Error::Peer(otherwise.into())) }
}

fn note(engine: &mut Engine, hash: [u8; 32], reason: &Reason, claims: &Claims) -> Result<(), Error> {
    let now = engine.now();
    refused::note(engine.storage.as_mut(), &mut engine.room, hash, reason, claims, now)?;
    engine.staged();
    Ok(())
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
