//! The log of a space from a cursor on, page by page, and such pages through the door. For peers that pull and for local
//! use alike.
//!
//! It asks nobody whether the reader may read. What the reader wrote itself is in a page like everything else: duplicates
//! cost bytes and nothing else.

use std::collections::{BTreeSet, VecDeque};

use driftless_core::commit::{Header, commit_id};
use driftless_core::frame::{self, FrameBuilder, FrameCommit, PushError};
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::limits::{FRAME_TARGET, MAX_FRAME, MAX_FRAME_COMMITS, MAX_PAGE, MAX_PAGE_FRAMES};
use driftless_core::session::Cursor;
use driftless_core::sign::verify_commit;
use driftless_store::Storage;

use crate::database::Database;
use crate::door::ingest::{Tally, ingest, proof};
use crate::error::Error;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::state::guard::STORE_ID;
use crate::state::replica::{Replica, next_digest};
use crate::tables::layout::{self, LogSeq};
use crate::tables::log;
use crate::tables::view::Source;

/// What came into a space after a cursor, as much as fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Frames of commits, parents first. Each can be taken alone, in this order.
    pub frames: Vec<Vec<u8>>,
    /// How many commits are in them.
    pub commits: u64,
    /// The place behind them: from here the next page goes on.
    pub cursor: Cursor,
    /// There is more.
    pub more: bool,
}

/// What became of a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakenPage {
    /// Commits in it.
    pub received: u64,
    /// Those that were here already.
    pub known: u64,
    /// New, and with their effect.
    pub applied: u64,
    /// New, ahead of our clock.
    pub held: u64,
    /// New, without effect.
    pub void: u64,
    /// New, waiting for a body or the rest of a transaction.
    pub wanted: u64,
    /// Not taken.
    pub refused: u64,
    /// Put off: a newer driftless would take them.
    pub declined: u64,
    /// Parents are missing: this page does not follow on what is here.
    pub early: u64,
    /// Frames that do not decode.
    pub unreadable: u64,
    /// Signatures verified.
    pub signatures: u64,
}

impl TakenPage {
    /// Nothing of it has to come again: its cursor can be kept.
    pub fn is_whole(&self) -> bool {
        self.declined == 0 && self.early == 0 && self.unreadable == 0
    }
}

impl Space {
    /// What came into this space here after `cursor`, or from the beginning: about `budget` bytes of it, at least one
    /// commit. Only what is durable. `Error::Stale` if the cursor is not of this log.
    pub fn feed(&self, cursor: Option<&Cursor>, budget: usize) -> Result<Page, Error> {
        let database = self.database();
        let budget = budget.clamp(1, MAX_PAGE) as u64;
        let space = self.id();
        database.read_durable(|engine| {
            let page = engine.at_once(|engine| page(engine, &space, cursor, budget, &[]))?;
            page.map_err(|now| Error::Stale { now })
        })
    }
}

impl Database {
    /// Takes a page of a space of another store; the first one brings the space with it. Once this returns, the page's
    /// cursor may be kept in place of the one before, if the page `is_whole`.
    pub fn take_page(&self, space: &SpaceId, page: &Page) -> Result<TakenPage, Error> {
        self.write(|engine| Ok(take(engine, space, &page.frames)?.page))
    }
}

/// The page after `cursor`, behind the bodies that are wanted and here. Where there cannot be one: the cursor of the end.
pub(crate) fn page(
    engine: &mut Engine,
    space: &SpaceId,
    cursor: Option<&Cursor>,
    budget: u64,
    wanted: &[CommitId],
) -> Result<Result<Page, Cursor>, Error> {
    if !engine.load(space)? {
        return Err(Error::not_found("space", space));
    }
    let store = engine.storage.get(&layout::META, STORE_ID.into())?;
    let store = store.and_then(|store| store.try_into().ok());
    let store = store.ok_or_else(|| Error::damaged("the store id is missing"))?;
    let (storage, replica) = engine.parts(space)?;
    // Nothing leaves before it is durable.
    let end = replica.flushed.saturating_sub(1);
    let place = |at, digest: &[u8; 32]| {
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Cursor { store, at, digest: first }
    };
    let from = cursor.map_or(0, |cursor| cursor.at);
    let digest = if from <= end { replica.digest_at(storage, from)? } else { None };
    let digest = digest.filter(|digest| cursor.is_none_or(|cursor| *cursor == place(from, digest)));
    let Some(mut digest) = digest.filter(|_| budget > 0) else {
        let digest = replica.digest_at(storage, end)?;
        let digest = digest.ok_or_else(|| Error::damaged("a digest of the log is missing"))?;
        return Ok(Err(place(end, &digest)));
    };
    let (mut frames, mut at, mut bytes) = (Vec::new(), from, 0);
    let mut places = VecDeque::new();
    for id in wanted {
        places.extend(replica.facts(storage, id)?.map(|facts| facts.at));
    }
    let mut builder = FrameBuilder::new(*space);
    if push_wanted(storage, replica, &mut places, &mut builder, |_| ())? > 0 {
        let frame = builder.finish();
        bytes = frame.len() as u64;
        frames.push(frame);
    }
    while at < end && bytes < budget && frames.len() < MAX_PAGE_FRAMES {
        let target = FRAME_TARGET.min(usize::try_from(budget - bytes).unwrap_or(FRAME_TARGET));
        let (frame, ids) = next_frame(storage, replica, at, end, target)?;
        let size = bytes.saturating_add(frame.len() as u64);
        if !frames.is_empty() && size > MAX_FRAME as u64 {
            // With this one the page would be too large for one message.
            break;
        }
        bytes = size;
        at += ids.len() as u64;
        digest = ids.iter().fold(digest, next_digest_of);
        frames.push(frame);
    }
    Ok(Ok(Page { frames, commits: at - from, cursor: place(at, &digest), more: at < end }))
}

fn next_digest_of(digest: [u8; 32], id: &CommitId) -> [u8; 32] {
    next_digest(&digest, id)
}

// The commits after `at` in a frame of about `target` bytes, and their ids.
fn next_frame(
    storage: &dyn Storage,
    replica: &Replica,
    at: LogSeq,
    end: LogSeq,
    target: usize,
) -> Result<(Vec<u8>, Vec<CommitId>), Error> {
    let mut most = MAX_FRAME_COMMITS;
    loop {
        let (mut builder, mut ids) = (FrameBuilder::new(replica.id), Vec::new());
        let mut full = false;
        for at in at + 1..=end {
            // A frame ends only where every commit in it is vouched for.
            let enough = !builder.is_empty() && !builder.unvouched() && builder.size() >= target;
            if enough || builder.len() >= most {
                break;
            }
            match push(storage, replica, at, &mut builder)? {
                Some(pushed) => ids.push(pushed.id),
                None => {
                    full = true;
                    break;
                }
            }
        }
        if full && builder.unvouched() && (1..builder.len()).contains(&builder.closed()) {
            most = builder.closed();
            continue;
        }
        return Ok((builder.finish(), ids));
    }
}

/// A commit that is in a frame now.
pub(crate) struct Pushed {
    pub id: CommitId,
    /// With its body.
    pub whole: bool,
}

/// Adds the commit at `at` to a frame, with what proves it; `None` if the frame is full.
pub(crate) fn push(
    storage: &dyn Storage,
    replica: &Replica,
    at: LogSeq,
    builder: &mut FrameBuilder,
) -> Result<Option<Pushed>, Error> {
    push_if(storage, replica, at, builder, |_| true)
}

/// The same, with its body only if `keep` says so.
pub(crate) fn push_if(
    storage: &dyn Storage,
    replica: &Replica,
    at: LogSeq,
    builder: &mut FrameBuilder,
    keep: impl FnOnce(&Header) -> bool,
) -> Result<Option<Pushed>, Error> {
    let key = replica.key(at);
    let row = log::row(storage, key)?;
    let (header, body) = log::parts(storage, &replica.id, key, &row)?;
    let body = body.filter(|_| keep(&header));
    // A signature that came inside a run was not needed then; it is sent only if it is good.
    let signature = match row.signature {
        Some((signature, true)) => Some(signature),
        Some((signature, false)) => verify_commit(&header.author, &row.id, &signature).then_some(signature),
        None => None,
    };
    match builder.push(FrameCommit { header: &header, id: row.id, signature, body: body.as_deref() }) {
        Ok(()) => {}
        Err(PushError::Full) => return Ok(None),
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
    Ok(Some(Pushed { id: row.id, whole: body.is_some() }))
}

/// Adds commits that are wanted for their bodies to a frame, as many as fit, from the front of `wanted`. What has no
/// signature of its own comes with what vouches for it: the commits that came behind it. Those whose bodies are not here
/// either go to `missing`.
pub(crate) fn push_wanted(
    storage: &dyn Storage,
    replica: &Replica,
    wanted: &mut VecDeque<LogSeq>,
    builder: &mut FrameBuilder,
    mut missing: impl FnMut(LogSeq),
) -> Result<u64, Error> {
    let (mut pushed, last) = (BTreeSet::new(), replica.next.saturating_sub(1));
    while let Some(first) = wanted.front().copied().filter(|_| builder.size() < FRAME_TARGET) {
        // Looked at when it is its turn: a thousand bodies may be a GiB.
        if log::body(storage, replica.key(first))?.is_none() {
            missing(first);
            wanted.pop_front();
            continue;
        }
        // What others vouch for begins a frame: so all of them fit into it, as they did when they came.
        let alone = log::row(storage, replica.key(first))?.signature.is_some();
        if !alone && !builder.is_empty() && !pushed.contains(&first) {
            break;
        }
        let mut at = first;
        while !pushed.contains(&at) && push(storage, replica, at, builder)?.is_some() {
            pushed.insert(at);
            if !builder.unvouched() || at == last {
                break;
            }
            at += 1;
        }
        if !pushed.contains(&first) {
            break;
        }
        wanted.pop_front();
    }
    Ok(pushed.len() as u64)
}

/// What became of the frames of a page.
#[derive(Default)]
pub(crate) struct TakenFrames {
    pub page: TakenPage,
    /// Why what was not taken was not.
    pub reasons: Vec<&'static str>,
    /// What is new here.
    pub new: Vec<CommitId>,
}

/// Takes the frames of a page; staged.
pub(crate) fn take(engine: &mut Engine, space: &SpaceId, frames: &[Vec<u8>]) -> Result<TakenFrames, Error> {
    engine.source(Source::Peer);
    let TakenFrames { mut page, mut reasons, mut new } = TakenFrames::default();
    for frame in frames {
        // One after the other: a few bytes of a frame can stand for many.
        let Ok(received) = frame::decode(space, frame) else {
            page.unreadable += 1;
            break;
        };
        page.received += received.len() as u64;
        let taken = ingest(engine, received)?;
        let Tally { known, applied, held, void, wanted, refused, declined, signatures } = taken.tally;
        page.known += known;
        page.applied += applied;
        page.held += held;
        page.void += void;
        page.wanted += wanted;
        page.refused += refused;
        page.declined += declined;
        page.signatures += signatures;
        page.early += taken.early.len() as u64;
        reasons.extend(taken.refused.into_iter().map(|(_, reason)| reason));
        new.extend(taken.new);
    }
    Ok(TakenFrames { page, reasons, new })
}
