//! What a session asks of the database: may the peer read, what is here, what does it lack, take this frame.
//!
//! One host per connection. It remembers per slot how far the peer's copy goes and how far the log was read for it.
//! Every read is authorized anew, against keys that the peer has proven. It never waits for the network.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::{Bound, ControlFlow};

use driftless_core::commit::{Header, Vouched, commit_id};
use driftless_core::frame::{self, FrameBuilder, FrameCommit, PushError};
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::limits::{FRAME_TARGET, MAX_ROUNDS, MAX_SUMMARY_AUTHORS, MAX_SUMMARY_HEADS, MAX_WANTED};
use driftless_core::rules::Subject;
use driftless_core::session::{
    Ask, ClockEntry, Declined, InviteProof, Opened, ReadFrame, Session, Slot, Summary, Verdict,
};
use driftless_core::sign::{Domain, verify_commit};
use driftless_core::verdict::{Chains, Place, Reach};
use driftless_store::{Key, Order, Storage};

use crate::database::Database;
use crate::engine::Engine;
use crate::error::Error;
use crate::ingest::{Tally, ingest, proof};
use crate::layout::{self, LogKey, LogSeq, State};
use crate::log;
use crate::refused::{self, Claims, Reason};
use crate::replica::{self, Facts, Replica};
use crate::view::Source;

// Rows looked at under one lock while searching for something that the peer lacks.
const SCAN: u64 = 4096;
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
}

/// Answers the questions of one session.
#[derive(Debug)]
pub(crate) struct Host {
    database: Database,
    streams: HashMap<Slot, Stream>,
    /// What went over the session.
    pub(crate) moved: Moved,
    forged: u64,
    failure: Option<Error>,
}

#[derive(Debug)]
struct Stream {
    space: SpaceId,
    keys: Vec<AuthorId>,
    invite: Option<InviteProof>,
    by_peer: bool,
    next: LogSeq,
    /// Per author the parts of the chains that the peer has.
    cover: HashMap<u32, Reach>,
    /// Asked for by id.
    wanted: VecDeque<LogSeq>,
    /// How many were, in all.
    given: u64,
    /// Up to where we asked for bodies: each is asked for once.
    asked: LogSeq,
    /// Up to here the peer has our log, or was sent it.
    reached: LogSeq,
    /// Commits that came and were here already.
    known: u64,
}

impl Host {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, streams: HashMap::new(), moved: Moved::default(), forged: 0, failure: None }
    }

    /// Does what a session asks and gives it the answer. An error ends the connection.
    pub(crate) fn answer(&mut self, session: &mut Session, ask: Ask) -> Result<(), Error> {
        match ask {
            Ask::Open { slot, space, keys, invite, by_peer } => {
                let stream = Stream {
                    space,
                    keys,
                    invite,
                    by_peer,
                    next: 1,
                    cover: HashMap::new(),
                    wanted: VecDeque::new(),
                    given: 0,
                    asked: 0,
                    reached: 0,
                    known: 0,
                };
                let opened = self.open(&stream)?;
                if opened.is_some() {
                    self.streams.insert(slot, stream);
                }
                session.handle_opened(slot, opened);
            }
            Ask::Begin { slot, theirs } => self.begin(slot, &theirs)?,
            Ask::Read { slot } => {
                let read = self.read(slot)?;
                session.handle_read(slot, read);
            }
            Ask::Ingest { slot, number, frame } => {
                let (refused, declined, orphaned) = self.ingest(slot, &frame)?;
                session.handle_ingested(slot, number, refused, declined, orphaned);
            }
            Ask::Check { slot, heads, digest } => {
                let (missing, bodies) = self.check(slot, &heads, digest)?;
                session.handle_checked(slot, missing, bodies);
            }
            Ask::Want { slot, ids, bodies } => self.want(slot, &ids, bodies)?,
            Ask::Forget { slot } => drop(self.streams.remove(&slot)),
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// How far of our log of a space the peer has everything, once both sides have said that they have the same.
    pub(crate) fn reached(&self, space: &SpaceId) -> LogSeq {
        let streams = self.streams.values().filter(|stream| stream.space == *space);
        streams.map(|stream| stream.reached).max().unwrap_or_default()
    }

    fn open(&self, stream: &Stream) -> Result<Option<Opened>, Error> {
        self.database.read(|engine| {
            if !engine.load(&stream.space)? {
                // A space that we want and do not have yet; a peer may not know that we do not have it.
                let nothing = Opened { summary: Summary::default(), readable: false };
                return Ok((!stream.by_peer).then_some(nothing));
            }
            let readable = may_read(engine, stream)?;
            if stream.by_peer && !readable {
                return Ok(None);
            }
            Ok(Some(Opened { summary: summary(engine, &stream.space)?, readable }))
        })
    }

    // From where on, and without whose commits, the log is read for this peer.
    fn begin(&mut self, slot: Slot, theirs: &Summary) -> Result<(), Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(()) };
        // By author, then by seq and check: a peer may say many things of one author, and a chain may be long.
        let mut clock: HashMap<u32, HashSet<(u64, [u8; 4])>> = HashMap::new();
        // Where the walk along the chains goes on; chains that meet are walked on once.
        let mut walks: BTreeMap<LogSeq, u32> = BTreeMap::new();
        let mut start = self.database.read(|engine| {
            if !engine.load(&stream.space)? {
                return Ok(stream.next);
            }
            let (storage, replica) = engine.parts(&stream.space)?;
            let tips: Vec<(u32, Place, LogSeq)> = replica
                .tips
                .iter()
                .map(|((author, branch), tip)| (*author, Place { branch: *branch, seq: tip.seq }, tip.at))
                .collect();
            if theirs.digest == frontier_digest(replica) {
                for (author, place, _) in tips {
                    let id = replica.author(storage, author)?;
                    stream.cover(&replica.chains, &id, author, place);
                }
                return Ok(replica.next);
            }
            if theirs.clock.is_empty() {
                return Ok(stream.next);
            }
            for entry in &theirs.clock {
                for author in authors_with_prefix(storage, &entry.author)? {
                    clock.entry(author).or_default().insert((entry.seq, entry.check));
                }
            }
            let furthest: HashMap<u32, u64> = clock
                .iter()
                .map(|(author, entries)| (*author, entries.iter().map(|(seq, _)| *seq).max().unwrap_or(0)))
                .collect();
            for (author, place, at) in tips {
                if furthest.get(&author).is_some_and(|seq| *seq > place.seq) {
                    // Further than ours: if that was another branch, heads will tell.
                    let id = replica.author(storage, author)?;
                    stream.cover(&replica.chains, &id, author, place);
                } else {
                    walks.insert(at, author);
                }
            }
            Ok(replica.next)
        })?;
        // Back along each chain to what the peer has: as many steps as it lacks commits, or says that it does. The log
        // is not held meanwhile for longer than a look takes.
        while !walks.is_empty() {
            self.database.read(|engine| {
                let (storage, replica) = engine.parts(&stream.space)?;
                for _ in 0..SCAN {
                    let Some((at, author)) = walks.pop_last() else { break };
                    let row = log::row(storage, LogKey::new(replica.number, at))?;
                    let named =
                        |entries: &HashSet<(u64, [u8; 4])>| entries.contains(&(row.seq, first(&row.id.0)));
                    if clock.get(&author).is_some_and(named) {
                        let id = replica.author(storage, author)?;
                        let place = Place { branch: row.branch, seq: row.seq };
                        stream.cover(&replica.chains, &id, author, place);
                    } else {
                        start = start.min(at);
                        walks.extend(row.previous.map(|previous| (previous, author)));
                    }
                }
                Ok(())
            })?;
        }
        stream.next = start;
        Ok(())
    }

    // The next frame of what the peer lacks.
    fn read(&mut self, slot: Slot) -> Result<Option<ReadFrame>, Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(None) };
        // Nothing is sent before it is durable here.
        self.database.flush_if_staged()?;
        let moved = &mut self.moved;
        loop {
            let found = self.database.read_many(|engine| {
                if !engine.load(&stream.space)? {
                    return Ok(Some(Some(ReadFrame::default())));
                }
                if !may_read(engine, stream)? {
                    if stream.by_peer {
                        return Ok(Some(None));
                    }
                    // It gives and gets nothing, not even what our heads are.
                    return Ok(Some(Some(ReadFrame::default())));
                }
                let found = next_frame(engine, stream, moved)?;
                if matches!(&found, Some(Some(read)) if read.frame.is_none()) {
                    stream.reached = engine.parts(&stream.space)?.1.next - 1;
                }
                Ok(found)
            })?;
            if let Some(read) = found {
                return Ok(read);
            }
        }
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
                return Ok((vec![Verdict { hash, code: "unreadable".into() }], None, Vec::new()));
            }
        };
        moved.received += received.len() as u64;
        let forged = &mut self.forged;
        let ingested = self.database.write(|engine| {
            engine.source(Source::Peer);
            let before = end(engine, &stream.space)?;
            let taken = ingest(engine, received)?;
            if stream.reached == before {
                // What follows came from the peer.
                stream.reached = end(engine, &stream.space)?;
            }
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
            let verdicts: Vec<Verdict> =
                verdicts.into_iter().map(|(hash, code)| Verdict { hash, code: code.into() }).collect();
            // What was taken stays, whatever is thought of the peer from now on.
            let next = if engine.load(&stream.space)? { engine.parts(&stream.space)?.1.next } else { 1 };
            Ok(((verdicts, declined, orphaned), next))
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
    ) -> Result<(Vec<CommitId>, Vec<CommitId>), Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(Default::default()) };
        self.database.read(|engine| {
            if !engine.load(&stream.space)? {
                return Ok((heads.to_vec(), Vec::new()));
            }
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
            Ok((missing, bodies))
        })
    }

    fn want(&mut self, slot: Slot, ids: &[CommitId], bodies: bool) -> Result<(), Error> {
        let Some(stream) = self.streams.get_mut(&slot) else { return Ok(()) };
        if !bodies {
            // What we believed of the peer's copy was wrong: everything again, and it takes what it lacks.
            stream.cover.clear();
            stream.next = 1;
            return Ok(());
        }
        self.database.read(|engine| {
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
            let author = replica.author(storage, facts.author)?;
            self.cover(&replica.chains, &author, facts.author, Replica::place(&facts));
        }
        Ok(())
    }

    fn cover(&mut self, chains: &Chains, author: &AuthorId, number: u32, place: Place) {
        chains.extend(author, self.cover.entry(number).or_default(), place);
    }
}

type Ingested = (Vec<Verdict>, Option<Declined>, Vec<CommitId>);

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

// The last position in the log of a space; 0 if it is not here.
fn end(engine: &mut Engine, space: &SpaceId) -> Result<LogSeq, Error> {
    Ok(if engine.load(space)? { engine.parts(space)?.1.next - 1 } else { 0 })
}

fn note(engine: &mut Engine, hash: [u8; 32], reason: &Reason, claims: &Claims) -> Result<(), Error> {
    let now = engine.now();
    refused::note(engine.storage.as_mut(), &mut engine.room, hash, reason, claims, now)?;
    engine.staged();
    Ok(())
}

// Whether one of the proven keys may read, or an invite that is still good lets the peer in.
fn may_read(engine: &mut Engine, stream: &Stream) -> Result<bool, Error> {
    let now = engine.now();
    let (_, replica) = engine.parts(&stream.space)?;
    let rules = &replica.rules;
    if rules.members().contains_key(&Subject::Anyone)
        || stream.keys.iter().any(|key| rules.member(key).is_some())
    {
        return Ok(true);
    }
    let Some(invite) = &stream.invite else { return Ok(false) };
    Ok(rules.invite_opens((&invite.invite, invite.index), &invite.joiner, &invite.proof, now))
}

fn summary(engine: &mut Engine, space: &SpaceId) -> Result<Summary, Error> {
    let (storage, replica) = engine.parts(space)?;
    let tips: Vec<(u32, replica::Tip)> =
        replica.tips.iter().map(|((author, _), tip)| (*author, *tip)).collect();
    let mut clock = Vec::with_capacity(tips.len());
    for (author, tip) in tips.into_iter().take(MAX_SUMMARY_AUTHORS) {
        let author = replica.author(storage, author)?;
        let id = log::row(storage, replica.key(tip.at))?.id;
        clock.push(ClockEntry { author: first(&author.0), seq: tip.seq, check: first(&id.0) });
    }
    // The clock says more than heads would; they follow with the end.
    Ok(Summary { digest: frontier_digest(replica), heads: Vec::new(), clock })
}

fn first<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    let mut first = [0; N];
    first.copy_from_slice(&bytes[..N]);
    first
}

fn heads(replica: &Replica) -> Vec<CommitId> {
    let mut heads: Vec<CommitId> = replica.sync_heads().map(|head| head.id).collect();
    heads.sort();
    heads.truncate(MAX_SUMMARY_HEADS);
    heads
}

/// A digest of all sync heads: equal digests mean equal sets of commits.
pub(crate) fn frontier_digest(replica: &Replica) -> [u8; 8] {
    let mut heads: Vec<CommitId> = replica.sync_heads().map(|head| head.id).collect();
    heads.sort();
    let parts: Vec<&[u8]> = heads.iter().map(|id| &id.0[..]).collect();
    first(&Domain::Frontier.hash(&parts))
}

fn nothing_more(replica: &Replica) -> ReadFrame {
    ReadFrame { frame: None, digest: frontier_digest(replica), heads: heads(replica) }
}

// `None`: nothing found within the rows of one look; look again.
fn next_frame(
    engine: &mut Engine,
    stream: &mut Stream,
    moved: &mut Moved,
) -> Result<Option<Option<ReadFrame>>, Error> {
    let space = stream.space;
    let (storage, replica) = engine.parts(&space)?;
    let mut builder = FrameBuilder::new(space);
    let mut count = 0;
    while let Some(at) = stream.wanted.front().copied().filter(|_| builder.size() < FRAME_TARGET) {
        if !add(storage, replica, at, &mut builder)? {
            break;
        }
        stream.wanted.pop_front();
        count += 1;
    }
    let end = replica.next.min(stream.next.saturating_add(SCAN));
    // A frame ends only where every commit in it is vouched for.
    while stream.next < replica.next
        && (builder.unvouched() || (stream.next < end && builder.size() < FRAME_TARGET))
    {
        let at = stream.next;
        let row = log::row(storage, replica.key(at))?;
        let facts = Facts::of(replica.key(at), &row);
        let author = replica.author(storage, row.author)?;
        let place = Replica::place(&facts);
        if !stream.cover.get(&row.author).is_some_and(|reach| reach.contains(place)) {
            if !add(storage, replica, at, &mut builder)? {
                break;
            }
            stream.cover(&replica.chains, &author, row.author, place);
            count += 1;
        }
        stream.next += 1;
    }
    if count > 0 {
        moved.sent += count;
        return Ok(Some(Some(ReadFrame { frame: Some(builder.finish()), ..nothing_more(replica) })));
    }
    Ok((stream.next >= replica.next).then(|| Some(nothing_more(replica))))
}

// Adds the commit at `at`; `false` if the frame is full.
fn add(
    storage: &dyn Storage,
    replica: &Replica,
    at: LogSeq,
    builder: &mut FrameBuilder,
) -> Result<bool, Error> {
    let key = replica.key(at);
    let row = log::row(storage, key)?;
    let (header, body) = log::parts(storage, &replica.id, key, &row)?;
    // A signature that came inside a run was not needed then; it is sent only if it is good.
    let signature = match row.signature {
        Some((signature, true)) => Some(signature),
        Some((signature, false)) => verify_commit(&header.author, &row.id, &signature).then_some(signature),
        None => None,
    };
    match builder.push(FrameCommit { header: &header, id: row.id, signature, body: body.as_deref() }) {
        Ok(()) => {}
        Err(PushError::Full) => return Ok(false),
        Err(error) => return Err(Error::damaged(format!("commit {at} cannot be sent: {error}"))),
    }
    if signature.is_none() {
        // What proves it goes right behind it; the receiver refuses that and keeps it.
        for received in proof(storage, key)? {
            let header = Header::decode(&received.header).map_err(|error| {
                Error::damaged(format!("the proof of commit {at} does not decode: {error}"))
            })?;
            let id = commit_id(&received.header);
            let proof = FrameCommit { header: &header, id, signature: received.signature, body: None };
            if builder.push(proof).is_err() {
                break;
            }
        }
    }
    Ok(true)
}

fn authors_with_prefix(storage: &dyn Storage, prefix: &[u8; 8]) -> Result<Vec<u32>, Error> {
    let mut upper = [0xff; 32];
    upper[..8].copy_from_slice(prefix);
    let mut found = BTreeSet::new();
    let (lower, upper) = (Bound::Included(Key::Bytes(prefix)), Bound::Included(Key::Bytes(&upper)));
    storage.range(&layout::AUTHOR_ID, lower, upper, Order::Ascending, &mut |_, number| {
        found.extend(number.first_chunk().map(|number| u32::from_be_bytes(*number)));
        ControlFlow::Continue(())
    })?;
    Ok(found.into_iter().collect())
}
