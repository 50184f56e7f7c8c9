//! Bundles: a space in a file, so that two databases can exchange commits by any means that moves files.
//!
//! A sequence of records, each behind a marker, so that a damaged place costs only what it touches. Commits come in
//! causal order, in frames that vouch for themselves. Nothing in a bundle is believed before it went through the door.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};

use driftless_core::cbor::{self, CborError, Reader, Writer};
use driftless_core::commit::{Header, Received, Vouched, commit_id};
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::limits::{MAX_BODY, MAX_HEADER};
use driftless_core::sign::{Domain, Signature};

use crate::database::Database;
use crate::door::ingest::{Taken, Tally, ingest, proof, take_vouched};
use crate::error::Error;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::state::replica;
use crate::tables::layout::{self, LogSeq, State};
use crate::tables::log;
use crate::tables::refused::{self, Claims, Reason};
use crate::tables::view::Source;

const MAGIC: &[u8; 16] = b"driftless-bundle";
const VERSION: u8 = 1;
// Stands before every record. A reader that lost its way looks for the next one.
const MARKER: [u8; 4] = [0xd7, b'd', b'l', 0x1a];
const COMMIT: u8 = 1;
const END_OF_FRAME: u8 = 2;
const END: u8 = 3;
const RECORD_HEAD: usize = 9;
/// Bytes of one record: a header, a body, a signature and their CBOR.
const MAX_RECORD: usize = MAX_HEADER + MAX_BODY + 256;
/// Bytes at which a frame ends: one durable write per frame on the other side.
const FRAME: usize = 1024 * 1024;
/// Bytes of one frame at most. Longer runs without a signature do not exist: nobody could have received them.
const MAX_FRAME: usize = 4 * MAX_RECORD;
/// Frames and damaged places of one durable write.
const MAX_PIECES: usize = 256;
/// Commits that wait for their parents while a bundle is read, and their bytes.
const MAX_WAITING: usize = 1000;
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// Damaged places that are named one by one.
const MAX_NAMED: usize = 1000;
const CUT_OFF: &str = "cut_off";

/// What an export wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Commits.
    pub commits: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What became of the commits in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// The spaces it had commits of.
    pub spaces: Vec<SpaceId>,
    /// Commits seen.
    pub commits: u64,
    /// Were here already.
    pub known: u64,
    /// New, and have their effect.
    pub applied: u64,
    /// New, ahead of our clock.
    pub held: u64,
    /// New, without effect: not permitted any more.
    pub void: u64,
    /// New, waiting for a body or the rest of a transaction.
    pub wanted: u64,
    /// Not taken, each with a reason in `status`.
    pub refused: u64,
    /// Put off: written by a newer driftless.
    pub declined: u64,
    /// Signatures verified.
    pub signatures: u64,
    /// Damaged places of the file, and commits in it whose bytes are not what was signed.
    pub damaged: u64,
    /// The first of these, at most 1,000.
    pub damage: Vec<Damage>,
}

/// A damaged place of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The frame in which it lies, from 0.
    pub frame: u64,
    /// The byte of the file at which it begins.
    pub offset: u64,
    /// How many bytes it takes; 0 where the file ends early.
    pub bytes: u64,
    /// A stable word.
    pub code: &'static str,
}

impl Damage {
    /// One sentence for its code.
    pub fn reason(&self) -> &'static str {
        match self.code {
            CUT_OFF => "the file ends early",
            "bad_header" => "the header of a commit does not decode",
            "bad_signature" => "the signature of a commit is not its author's, or the commit was changed",
            "unsigned" => "no signature vouches for a commit: what vouched for it is damaged",
            "bad_body" => "the body of a commit is not the one that was signed",
            _ => "bytes that are no record",
        }
    }
}

impl Space {
    /// Writes all commits of the space as a bundle, which `Database::import` takes anywhere.
    pub fn export(&self, to: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> Result<Exported, Error> {
        export(self.database(), &self.id(), to, progress)
    }
}

impl Database {
    /// Takes what a bundle holds. What is damaged or not permitted in it is noted in `status`; the rest is taken.
    pub fn import(
        &self,
        from: &mut dyn Read,
        progress: &mut dyn FnMut(&Imported),
    ) -> Result<Imported, Error> {
        import(self, from, progress)
    }
}

fn export(
    database: &Database,
    space: &SpaceId,
    to: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported, Error> {
    let mut done = Exported::default();
    let mut put = |bytes: &[u8], done: &mut Exported| -> Result<(), Error> {
        to.write_all(bytes)?;
        done.bytes += bytes.len() as u64;
        Ok(())
    };
    put(MAGIC, &mut done)?;
    put(&[VERSION], &mut done)?;
    let (mut frame, mut unvouched) = (0, HashSet::new());
    let mut next = 1;
    loop {
        // The lock is taken once per batch, so that others can work meanwhile.
        let batch =
            database.read_durable(|engine| engine.at_once(|engine| batch(engine, space, &mut next)))?;
        if batch.is_empty() {
            break;
        }
        for Exportable { id, previous, signed, received } in batch {
            let bytes = commit_record(&received);
            put(&record(COMMIT, &bytes), &mut done)?;
            done.commits += 1;
            progress(done.commits);
            frame += bytes.len();
            if let Some(previous) = previous {
                unvouched.remove(&previous);
            }
            if !signed {
                unvouched.insert(id);
            }
            // A frame ends only where every commit in it is vouched for.
            if frame >= FRAME && unvouched.is_empty() {
                put(&record(END_OF_FRAME, &[]), &mut done)?;
                frame = 0;
            }
        }
    }
    put(&record(END_OF_FRAME, &[]), &mut done)?;
    put(&record(END, &[]), &mut done)?;
    to.flush()?;
    Ok(done)
}

struct Exportable {
    id: CommitId,
    previous: Option<CommitId>,
    // The signature is known to be good. One that came inside a run was not needed then; it travels on unproven.
    signed: bool,
    received: Received,
}

// The next commits of the log, about a frame of them, each with what proves it.
fn batch(engine: &mut Engine, space: &SpaceId, next: &mut u64) -> Result<Vec<Exportable>, Error> {
    let last = engine.present(space)?.next;
    let (storage, replica) = engine.parts(space)?;
    let (mut batch, mut size) = (Vec::new(), 0);
    while *next < last && size <= FRAME {
        let at = replica.key(*next);
        let row = log::row(storage, at)?;
        let (header, body) = log::parts(storage, space, at, &row)?;
        let received = Received {
            header: header.encode(),
            signature: row.signature.map(|(signature, _)| signature),
            body,
        };
        size += received.header.len() + received.body.as_ref().map_or(0, Vec::len);
        let signed = row.signature.is_some_and(|(_, verified)| verified);
        batch.push(Exportable { id: row.id, previous: header.previous, signed, received });
        if !signed {
            for received in proof(storage, at)? {
                let id = commit_id(&received.header);
                let previous = Header::decode(&received.header).ok().and_then(|header| header.previous);
                batch.push(Exportable { id, previous, signed: received.signature.is_some(), received });
            }
        }
        *next += 1;
    }
    Ok(batch)
}

/// Begins a bundle that is written by hand, frame by frame.
pub(crate) fn write_head(to: &mut dyn Write) -> std::io::Result<()> {
    to.write_all(MAGIC)?;
    to.write_all(&[VERSION])
}

/// Writes commits as one frame, in which each must be vouched for.
pub(crate) fn write_frame(to: &mut dyn Write, commits: &[Received]) -> std::io::Result<()> {
    for received in commits {
        to.write_all(&record(COMMIT, &commit_record(received)))?;
    }
    to.write_all(&record(END_OF_FRAME, &[]))
}

/// Ends a bundle.
pub(crate) fn write_end(to: &mut dyn Write) -> std::io::Result<()> {
    to.write_all(&record(END, &[]))
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(RECORD_HEAD + payload.len());
    record.extend_from_slice(&MARKER);
    record.push(kind);
    record.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    record.extend_from_slice(payload);
    record
}

fn commit_record(received: &Received) -> Vec<u8> {
    let body = received.body.as_deref();
    let mut writer = Writer::with_capacity(received.header.len() + body.map_or(0, <[u8]>::len) + 80);
    writer.array(3).bytes(&received.header);
    writer.bytes_or_null(received.signature.as_ref().map(|signature| &signature.0[..])).bytes_or_null(body);
    writer.finish()
}

type Parts<'b> = (&'b [u8], Option<Signature>, Option<&'b [u8]>);

// Takes the record of a commit apart without looking at more than the heads of its parts.
fn commit_parts(bytes: &[u8]) -> Result<Parts<'_>, CborError> {
    let mut reader = Reader::new(bytes);
    reader.array_of(3)?;
    let header = reader.bytes()?;
    let signature = if reader.take_null()? { None } else { Some(Signature(reader.array_bytes()?)) };
    let body = if reader.take_null()? { None } else { Some(reader.bytes()?) };
    if reader.position() == bytes.len() { Ok((header, signature, body)) } else { Err(CborError::Trailing) }
}

fn read_commit(bytes: &[u8]) -> Result<Received, CborError> {
    cbor::check(bytes, 2)?;
    let (header, signature, body) = commit_parts(bytes)?;
    Ok(Received { header: header.to_vec(), signature, body: body.map(<[u8]>::to_vec) })
}

fn import(
    database: &Database,
    from: &mut dyn Read,
    progress: &mut dyn FnMut(&Imported),
) -> Result<Imported, Error> {
    let mut window = Window::new(from);
    let head = window.fill(MAGIC.len() + 1)?;
    match head.strip_prefix(MAGIC) {
        Some([VERSION, ..]) => window.consume(MAGIC.len() + 1),
        Some([newer, ..]) if *newer > VERSION => {
            return Err(Error::Newer {
                what: "the bundle",
                found: u64::from(*newer),
                known: u64::from(VERSION),
            });
        }
        _ => return Err(Error::Invalid("this is not a driftless bundle".into())),
    }
    let mut import = Import::default();
    let (mut frame, mut size, mut ended) = (Frame::default(), 0, false);
    // Frames that are whole: many small ones share one durable write.
    let (mut frames, mut whole) = (Vec::new(), 0);
    while let Some((offset, piece)) = window.next()? {
        let mut frame_ends = false;
        match piece {
            Piece::Record(COMMIT, payload) => {
                import.done.commits += 1;
                size += RECORD_HEAD + payload.len();
                frame.commits.push((offset, payload));
            }
            Piece::Record(END, payload) if payload.is_empty() => ended = true,
            Piece::Record(END_OF_FRAME, payload) if payload.is_empty() => frame_ends = true,
            // A record of a kind that does not exist was another one.
            Piece::Record(_, payload) => {
                let bytes = payload.len() as u64;
                import.done.damaged(frame.number, offset, bytes, "unreadable");
                import.unreadable.push((Domain::Refused.hash(&[&payload]), bytes));
            }
            Piece::Damage { hash, bytes } => {
                import.done.damaged(frame.number, offset, bytes, "unreadable");
                import.unreadable.push((hash, bytes));
            }
        }
        if (frame_ends || size >= MAX_FRAME) && !frame.commits.is_empty() {
            let next = Frame { number: frame.number + 1, commits: Vec::new() };
            frames.push(std::mem::replace(&mut frame, next));
            whole += std::mem::take(&mut size);
        }
        if whole >= FRAME || frames.len() + import.unreadable.len() >= MAX_PIECES {
            database.write(|engine| import.take(engine, std::mem::take(&mut frames)))?;
            whole = 0;
            progress(&import.done);
        }
    }
    let last = frame.number;
    frames.push(frame);
    database.write(|engine| {
        import.take(engine, frames)?;
        if !ended {
            import.done.damaged(last, window.offset, 0, CUT_OFF);
            let hash = Domain::Refused.hash(&[b"truncated bundle"]);
            import.refuse(engine, hash, &Reason::Unreadable("the bundle ends early"), &Claims::default())?;
        }
        import.finish(engine)
    })?;
    progress(&import.done);
    Ok(import.done)
}

// The records of the commits of one frame, and where in the file each begins.
#[derive(Default)]
struct Frame {
    number: u64,
    commits: Vec<(u64, Vec<u8>)>,
}

impl Imported {
    fn damaged(&mut self, frame: u64, offset: u64, bytes: u64, code: &'static str) {
        self.damaged += 1;
        if self.damage.len() < MAX_NAMED {
            self.damage.push(Damage { frame, offset, bytes, code });
        }
    }
}

#[derive(Default)]
struct Import {
    done: Imported,
    // Where the log of each space ended before: what stands later is new.
    first: HashMap<SpaceId, LogSeq>,
    unreadable: Vec<([u8; 32], u64)>,
    waiting: Vec<Vouched>,
    waiting_bytes: usize,
}

impl Import {
    // Frames: each sorted out, then through the door, in one storage transaction.
    fn take(&mut self, engine: &mut Engine, frames: Vec<Frame>) -> Result<(), Error> {
        engine.source(Source::Bundle);
        for (hash, bytes) in std::mem::take(&mut self.unreadable) {
            let claims = Claims { bytes, ..Claims::default() };
            self.refuse(engine, hash, &Reason::Unreadable("a damaged place in a bundle"), &claims)?;
        }
        frames.into_iter().try_for_each(|frame| self.take_frame(engine, frame))
    }

    fn take_frame(&mut self, engine: &mut Engine, frame: Frame) -> Result<(), Error> {
        let mut received = Vec::with_capacity(frame.commits.len());
        // By the hash under which it would be refused.
        let mut places = HashMap::new();
        for (offset, payload) in frame.commits {
            let bytes = (RECORD_HEAD + payload.len()) as u64;
            match read_commit(&payload) {
                Ok(commit) => {
                    places.insert(commit.hash(), (offset, bytes));
                    received.push(commit);
                }
                Err(error) => {
                    self.done.damaged(frame.number, offset, bytes, "bad_header");
                    let claims = Claims { bytes: payload.len() as u64, ..Claims::default() };
                    let why = Reason::Vouch(driftless_core::commit::HeaderError::from(error).into());
                    self.refuse(engine, Domain::Refused.hash(&[&payload]), &why, &claims)?;
                }
            }
        }
        let taken = ingest(engine, received)?;
        for (hash, code) in &taken.refused {
            // What the rules do not admit is refused too, and was not damaged by anybody.
            let damage = matches!(*code, "bad_header" | "bad_signature" | "unsigned" | "bad_body");
            if let Some((offset, bytes)) = places.get(hash).filter(|_| damage) {
                self.done.damaged(frame.number, *offset, *bytes, code);
            }
        }
        self.note(&taken);
        self.wait(engine, taken.early)
    }

    fn note(&mut self, taken: &Taken) {
        let Tally { known, applied, held, void, wanted, refused, declined, signatures } = taken.tally;
        self.done.known += known;
        self.done.applied += applied;
        self.done.held += held;
        self.done.void += void;
        self.done.wanted += wanted;
        self.done.refused += refused;
        self.done.declined += declined;
        self.done.signatures += signatures;
        for (space, next) in &taken.spaces {
            if let Entry::Vacant(first) = self.first.entry(*space) {
                first.insert(*next);
                self.done.spaces.push(*space);
            }
        }
    }

    // Keeps commits whose parents may still come, within bounds.
    fn wait(&mut self, engine: &mut Engine, early: Vec<Vouched>) -> Result<(), Error> {
        for commit in early {
            let size = commit.body().map_or(0, <[u8]>::len) + MAX_HEADER;
            if self.waiting.len() < MAX_WAITING && self.waiting_bytes + size <= MAX_WAITING_BYTES {
                self.waiting_bytes += size;
                self.waiting.push(commit);
            } else {
                self.refuse_commit(engine, &commit)?;
            }
        }
        Ok(())
    }

    // Commits that came before their parents, as long as that gets one of them in.
    fn finish(&mut self, engine: &mut Engine) -> Result<(), Error> {
        loop {
            let waiting = std::mem::take(&mut self.waiting);
            let before = waiting.len();
            self.waiting_bytes = 0;
            let taken = take_vouched(engine, waiting)?;
            self.note(&taken);
            self.wait(engine, taken.early)?;
            if self.waiting.len() == before || self.waiting.is_empty() {
                break;
            }
        }
        for commit in std::mem::take(&mut self.waiting) {
            self.refuse_commit(engine, &commit)?;
        }
        // A transaction that came in two frames is whole now.
        self.recount(engine)
    }

    // States settle while later commits of the bundle arrive: what was incomplete may be applied now.
    fn recount(&mut self, engine: &mut Engine) -> Result<(), Error> {
        if self.done.wanted == 0 {
            return Ok(());
        }
        let mut wanted = 0;
        for (space, first) in &self.first {
            if !engine.load(space)? {
                continue;
            }
            let (storage, replica) = engine.parts(space)?;
            if replica.counts.wanted == 0 {
                continue;
            }
            for (at, state) in replica::range(storage, &layout::STATE, replica.number)? {
                let waits = matches!(State::decode(&state)?, State::Wanted | State::Incomplete);
                wanted += u64::from(waits && at.seq() >= *first);
            }
        }
        let settled = self.done.wanted.saturating_sub(wanted);
        self.done.wanted -= settled;
        self.done.applied += settled;
        Ok(())
    }

    fn refuse_commit(&mut self, engine: &mut Engine, commit: &Vouched) -> Result<(), Error> {
        let received = commit.to_received();
        self.refuse(engine, received.hash(), &Reason::MissingParent, &refused::claims(&received))
    }

    fn refuse(
        &mut self,
        engine: &mut Engine,
        hash: [u8; 32],
        reason: &Reason,
        claims: &Claims,
    ) -> Result<(), Error> {
        if reason.is_declined() {
            self.done.declined += 1;
        } else {
            self.done.refused += 1;
        }
        let now = engine.now();
        refused::note(engine.storage.as_mut(), &mut engine.room, hash, reason, claims, now)?;
        engine.staged();
        Ok(())
    }
}

enum Piece {
    Record(u8, Vec<u8>),
    Damage { hash: [u8; 32], bytes: u64 },
}

// A piece of a file in memory: never more than one record, and what is needed to see where it ends.
struct Window<'r> {
    from: &'r mut dyn Read,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
    // Where in the file `start` is.
    offset: u64,
}

impl<'r> Window<'r> {
    fn new(from: &'r mut dyn Read) -> Self {
        Self { from, buffer: Vec::new(), start: 0, ended: false, offset: 0 }
    }

    // At least `wanted` bytes, or all that are left.
    fn fill(&mut self, wanted: usize) -> Result<&[u8], Error> {
        while !self.ended && self.buffer.len() - self.start < wanted {
            if self.start > FRAME {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let old = self.buffer.len();
            self.buffer.resize(old + FRAME, 0);
            let tail = self.buffer.get_mut(old..).unwrap_or_default();
            let count = match self.from.read(tail) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    self.buffer.truncate(old);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.buffer.truncate(old + count);
            self.ended = count == 0;
        }
        Ok(self.buffer.get(self.start..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        let start = (self.start + count).min(self.buffer.len());
        self.offset += (start - self.start) as u64;
        self.start = start;
    }

    // The next record, or the damage before it, and the byte at which it begins. `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Piece)>, Error> {
        let begin = self.offset;
        let mut damage = blake3::Hasher::new();
        damage.update(Domain::Refused.bytes());
        let mut skipped = 0;
        loop {
            if self.fill(RECORD_HEAD)?.is_empty() {
                break;
            }
            if let Some((kind, length)) = self.record_here()? {
                if skipped > 0 {
                    break;
                }
                let payload = self.fill(RECORD_HEAD + length)?;
                let payload = payload.get(RECORD_HEAD..RECORD_HEAD + length).unwrap_or_default().to_vec();
                self.consume(RECORD_HEAD + length);
                return Ok(Some((begin, Piece::Record(kind, payload))));
            }
            let lost = self.fill(1)?.first().copied();
            damage.update(lost.as_slice());
            skipped += 1;
            self.consume(1);
        }
        let damage = || Piece::Damage { hash: *damage.finalize().as_bytes(), bytes: skipped };
        Ok((skipped > 0).then(|| (begin, damage())))
    }

    // Whether a whole record begins here: a marker, a length that fits, and after it another marker or the end. If what
    // comes after is damaged, the record must show by itself that it ends there. That takes no longer if it is long:
    // markers may stand everywhere, each with a length that lies.
    fn record_here(&mut self) -> Result<Option<(u8, usize)>, Error> {
        let Some(rest) = self.fill(RECORD_HEAD)?.strip_prefix(&MARKER) else { return Ok(None) };
        let Some(([kind, a, b, c, d], _)) = rest.split_first_chunk() else { return Ok(None) };
        let (kind, length) = (*kind, u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        if length > MAX_RECORD {
            return Ok(None);
        }
        let end = RECORD_HEAD + length;
        let window = self.fill(end + MARKER.len())?;
        let whole = match window.get(end..) {
            None => false,
            Some(after) if after.is_empty() || after.starts_with(&MARKER) => true,
            Some(_) if kind == COMMIT => {
                window.get(RECORD_HEAD..end).is_some_and(|payload| commit_parts(payload).is_ok())
            }
            Some(_) => matches!(kind, END_OF_FRAME | END) && length == 0,
        };
        Ok(whole.then_some((kind, length)))
    }
}
