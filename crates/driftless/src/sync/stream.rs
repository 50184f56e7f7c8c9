//! One space in one session, as the host sees it: who may read, what the peer lacks, what goes into the next frame.
//!
//! It reads the database and writes nothing.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};

use driftless_core::frame::FrameBuilder;
use driftless_core::id::{AuthorId, CommitId, PeerId, SpaceId};
use driftless_core::limits::{FRAME_TARGET, MAX_SUMMARY_HEADS, MAX_WANTED};
use driftless_core::reconcile::{Agreed, Reconciler, Summary};
use driftless_core::session::{Pass, ReadFrame};

use crate::database::Database;
use crate::error::Error;
use crate::feed::{push, push_wanted};
use crate::served::{Look, Served};
use crate::state::engine::Engine;
use crate::state::replica::Replica;
use crate::state::serving::Said;
use crate::sync::space_graph::{SpaceGraph, frontier_digest};
use crate::tables::layout::LogSeq;
use crate::tables::log;

// Bodies that a peer waits for and that are not here either.
const MAX_UNMET: usize = 16 * MAX_WANTED;

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

    pub(super) fn add_since(&mut self, before: &Self, now: &Self) {
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

/// One space in one session, as the host answers for it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) space: SpaceId,
    pub(super) keys: Vec<AuthorId>,
    pub(super) pass: Option<Box<Pass>>,
    /// What the callbacks of the program said of the peer.
    pub(super) said: Said,
    /// Whether what the pass shows lets the peer in, as of so many rule commits: proofs are long.
    pub(super) let_in: Cell<Option<(u32, bool)>>,
    /// The peer opened it, and is not answered yet.
    pub(super) opening: bool,
    /// What the peer lacks, and where both sides met.
    pub(super) reconciler: Reconciler,
    /// Where they had met when that was last noted.
    pub(super) noted: LogSeq,
    /// Asked for by id.
    pub(super) wanted: VecDeque<LogSeq>,
    /// What the peer has, or got, without its body, which is not here either: it gets it as soon as it is.
    pub(super) unmet: BTreeSet<LogSeq>,
    /// Bodies that had come late when that was last looked through.
    pub(super) late: u64,
    /// How many were, in all.
    pub(super) given: u64,
    /// Up to where we asked for bodies: each is asked for once.
    pub(super) asked: LogSeq,
    /// How many were wanted when that was last looked at: more than that are asked for from the beginning.
    pub(super) wanting: u64,
    /// Commits that came and were here already.
    pub(super) known: u64,
}

impl Stream {
    /// What is to be noted of where both sides met, if that is at least so many commits after what is noted.
    pub(super) fn to_note(&self, every: u64) -> Option<&Agreed> {
        self.reconciler.agreed().last().filter(|agreed| agreed.len >= self.noted.saturating_add(every))
    }

    pub(super) fn note(&mut self, engine: &mut Engine, peer: &PeerId, every: u64) {
        let Some(len) = self.to_note(every).map(|agreed| agreed.len) else { return };
        if engine.writable {
            engine.agreed.note(peer, &self.space, self.reconciler.agreed());
        }
        self.noted = len;
    }

    /// The peer has this commit: it sent it, with its body or without.
    pub(super) fn has(&mut self, engine: &mut Engine, id: &CommitId, whole: bool) -> Result<(), Error> {
        let (storage, replica) = engine.parts(&self.space)?;
        if let Some(facts) = replica.facts(storage, id)? {
            self.reconciler.plan().has(facts.at);
            if whole {
                self.unmet.remove(&facts.at);
            } else if log::body(storage, replica.key(facts.at))?.is_none() {
                lacks(&mut self.unmet, facts.at);
            }
        }
        Ok(())
    }
}

/// Whether one of the proven keys may read, or an invite that is still good or another space lets the peer in; none
/// where the callbacks of the program have to be asked first.
pub(super) fn may_read(engine: &mut Engine, stream: &Stream) -> Result<Option<bool>, Error> {
    // Other work may have put it out of memory since it was looked at, and a forgotten space is nobody's to read.
    if !engine.load(&stream.space)? {
        return Ok(Some(false));
    }
    match engine.serves(&stream.space, &stream.keys, &stream.said)? {
        Served::Yes => Ok(Some(true)),
        Served::No => Ok(Some(false)),
        Served::Ask => Ok(None),
        Served::Unless => passes(engine, stream).map(Some),
    }
}

// Whether what the peer has shown lets it in.
fn passes(engine: &mut Engine, stream: &Stream) -> Result<bool, Error> {
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

// Notes a body that the peer lacks. What is too much for memory comes with the next session.
fn lacks(unmet: &mut BTreeSet<LogSeq>, at: LogSeq) {
    if unmet.len() < MAX_UNMET {
        unmet.insert(at);
    }
}

fn nothing_more(replica: &Replica, stream: &Stream) -> ReadFrame {
    let unknown = replica.sync_heads().filter(|head| !stream.reconciler.knows(head.at));
    let mut heads: Vec<CommitId> = unknown.map(|head| head.id).collect();
    heads.sort_unstable();
    heads.truncate(MAX_SUMMARY_HEADS);
    ReadFrame { frame: None, digest: frontier_digest(replica), heads }
}

// Looks at what a peer may read of a space. Where the callbacks of the program have to be asked first, that is done
// outside the lock.
pub(super) fn decided<T>(
    (database, peer, much): (&Database, &PeerId, Look),
    stream: &mut Stream,
    mut look: impl FnMut(&mut Engine, &mut Stream, bool) -> Result<T, Error>,
) -> Result<T, Error> {
    loop {
        let once = |engine: &mut Engine| match may_read(engine, stream)? {
            Some(readable) => look(engine, stream, readable).map(Some),
            None => Ok(None),
        };
        let done = match much {
            Look::Any => database.read(once)?,
            Look::Durable => database.read_durable(once)?,
        };
        if let Some(done) = done {
            return Ok(done);
        }
        stream.said = database.ask_callbacks(peer, &stream.space, &stream.keys)?;
    }
}

/// What is here, if the peer goes by a frontier that may never have been.
pub(super) fn confirm(
    database: &Database,
    peer: &PeerId,
    stream: &mut Stream,
    round: u32,
) -> Result<Option<Summary>, Error> {
    let readable = decided((database, peer, Look::Any), stream, |_, _, readable| Ok(readable))?;
    let Some(graph) = SpaceGraph::of(database, stream.space)? else { return Ok(None) };
    let again = stream.reconciler.confirm(&graph, graph.digest, round)?;
    // Who may not read it learns not even what there is.
    Ok(again.map(|again| if readable { again } else { Summary::default() }))
}

/// The next frame of what the peer lacks, or that there is nothing more.
pub(super) fn next_frame(
    engine: &mut Engine,
    stream: &mut Stream,
    moved: &mut Moved,
) -> Result<ReadFrame, Error> {
    let space = stream.space;
    let late = engine.late;
    let (storage, replica) = engine.parts(&space)?;
    if std::mem::replace(&mut stream.late, late) != late {
        // Bodies came late, here or in another space: the peer gets those that it waits for.
        for at in stream.unmet.clone() {
            if log::body(storage, replica.key(at))?.is_some() {
                stream.unmet.remove(&at);
                stream.wanted.push_back(at);
            }
        }
    }
    let mut builder = FrameBuilder::new(space);
    let unmet = &mut stream.unmet;
    let mut count = push_wanted(storage, replica, &mut stream.wanted, &mut builder, |at| lacks(unmet, at))?;
    let plan = stream.reconciler.plan();
    // A frame ends only where every commit in it is vouched for.
    while builder.unvouched() || builder.size() < FRAME_TARGET {
        let Some(at) = plan.peek(replica.next - 1) else { break };
        let Some(pushed) = push(storage, replica, at, &mut builder)? else { break };
        if !pushed.whole {
            lacks(&mut stream.unmet, at);
        }
        plan.sent();
        count += 1;
    }
    if count == 0 {
        stream.reconciler.ended(replica.next - 1);
        return Ok(nothing_more(replica, stream));
    }
    moved.sent += count;
    Ok(ReadFrame { frame: Some(builder.finish()), digest: frontier_digest(replica), heads: Vec::new() })
}
