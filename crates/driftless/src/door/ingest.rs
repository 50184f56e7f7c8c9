//! A frame from somewhere else: sorted out, then commit by commit through the door. The same for bundles and peers.
//!
//! Waiting for parents is the caller's business; what was refused is noted here.

use std::collections::{HashMap, HashSet};

use driftless_core::commit::{Received, Vouched, vouch};
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::sign::Signature;
use driftless_store::Storage;

use crate::door::commit::Entered;
use crate::error::Error;
use crate::state::engine::Engine;
use crate::tables::layout::{self, Bytes, LogKey, LogSeq, State, put_bytes};
use crate::tables::log;
use crate::tables::refused::{self, Claims, Reason};

/// What became of the commits of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub known: u64,
    pub applied: u64,
    pub held: u64,
    pub void: u64,
    pub wanted: u64,
    pub refused: u64,
    pub declined: u64,
    pub signatures: u64,
}

/// A frame that went through the door.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub tally: Tally,
    /// The spaces that it had commits of, each once, and where their logs ended before.
    pub spaces: Vec<(SpaceId, LogSeq)>,
    /// Commits that are here now, known or new.
    pub here: Vec<(SpaceId, CommitId)>,
    /// Those of them that were not here before, or got their bodies.
    pub new: Vec<CommitId>,
    /// Commits whose parents are not here.
    pub early: Vec<Vouched>,
    /// What was not taken: the hash of the bytes, and why.
    pub refused: Vec<([u8; 32], &'static str)>,
}

/// Takes the commits of one frame, in causal order.
pub(crate) fn ingest(engine: &mut Engine, received: Vec<Received>) -> Result<Taken, Error> {
    let frame = vouch(received);
    let mut taken = Taken::default();
    taken.tally.signatures = frame.verified;
    for unusable in frame.unusable {
        let claims = Claims::of(unusable.header.as_ref(), unusable.size);
        taken.refuse(engine, unusable.hash, &Reason::Vouch(unusable.why), &claims)?;
    }
    let mut rest = take_vouched(engine, frame.vouched)?;
    rest.tally.signatures += taken.tally.signatures;
    rest.tally.refused += taken.tally.refused;
    rest.tally.declined += taken.tally.declined;
    rest.refused.extend(taken.refused);
    Ok(rest)
}

/// Takes commits that are vouched for already.
pub(crate) fn take_vouched(engine: &mut Engine, commits: Vec<Vouched>) -> Result<Taken, Error> {
    let mut taken = Taken::default();
    // What does not enter, by the commit that it vouches for.
    let mut outside: HashMap<CommitId, Vouched> = HashMap::new();
    let mut met: HashSet<SpaceId> = HashSet::new();
    for commit in commits {
        let space = commit.space();
        if met.insert(space) {
            let next = if engine.load(&space)? { engine.parts(&space)?.1.next } else { 1 };
            taken.spaces.push((space, next));
        }
        let tally = &mut taken.tally;
        let author = commit.header().author;
        let own = if engine.users.signs(&author) { engine.own_tip(&space, &author)? } else { None };
        let entered = engine.enter(&commit)?;
        if let (Entered::New(_), Some(tip)) = (&entered, own) {
            engine.met_own(commit.header(), commit.id(), tip)?;
        }
        if matches!(entered, Entered::New(_) | Entered::Completed(_)) {
            taken.new.push(commit.id());
        }
        match entered {
            Entered::Known => tally.known += 1,
            // Its body came, and the rest of its transaction is still not here.
            Entered::Completed(Some(State::Wanted | State::Incomplete)) => tally.known += 1,
            Entered::New(state) | Entered::Completed(state) => match state {
                None => tally.applied += 1,
                Some(State::Held) => tally.held += 1,
                Some(State::Void | State::Retracted) => tally.void += 1,
                Some(State::Wanted | State::Incomplete) => tally.wanted += 1,
            },
            Entered::Refused(reason) => {
                let received = commit.to_received();
                taken.refuse(engine, received.hash(), &reason, &refused::claims(&received))?;
                outside.extend(commit.header().previous.map(|previous| (previous, commit)));
                continue;
            }
            Entered::Early(_) => {
                outside.extend(commit.header().previous.map(|previous| (previous, commit.clone())));
                taken.early.push(commit);
                continue;
            }
        }
        taken.here.push((space, commit.id()));
    }
    keep_proofs(engine, &outside)?;
    Ok(taken)
}

impl Taken {
    fn refuse(
        &mut self,
        engine: &mut Engine,
        hash: [u8; 32],
        reason: &Reason,
        claims: &Claims,
    ) -> Result<(), Error> {
        if reason.is_declined() {
            self.tally.declined += 1;
        } else {
            self.tally.refused += 1;
        }
        self.refused.push((hash, reason.code()));
        let now = engine.now();
        refused::note(engine.storage.as_mut(), &mut engine.room, hash, reason, claims, now)?;
        engine.staged();
        Ok(())
    }
}

// A commit that entered because a later one vouches for it, which did not enter itself: without the later one we could
// prove it to nobody, and others would refuse it and all that stands on it. So the header and the signature are kept
// beside it and travel with it; everybody else refuses the later one for the same reason, and keeps them in turn.
fn keep_proofs(engine: &mut Engine, outside: &HashMap<CommitId, Vouched>) -> Result<(), Error> {
    for (previous, first) in outside {
        let space = first.space();
        if !engine.load(&space)? {
            continue;
        }
        let (storage, replica) = engine.parts(&space)?;
        let Some((at, row)) = log::find(storage, replica.number, previous)? else { continue };
        if row.signature.is_some_and(|(_, verified)| verified) {
            continue;
        }
        let (mut proof, mut next) = (Vec::new(), Some(first));
        while let Some(commit) = next {
            put_bytes(&mut proof, commit.header_bytes());
            let signature = commit.signature().filter(|_| commit.is_signed());
            put_bytes(&mut proof, signature.as_ref().map_or(&[], |attached| &attached.signature.0[..]));
            next = if commit.is_signed() { None } else { outside.get(&commit.id()) };
        }
        storage.put(&layout::PROOF, at.0.into(), &proof)?;
        engine.staged();
    }
    Ok(())
}

/// What proves a commit that has no good signature of its own: refused commits, to be sent right after it.
pub(crate) fn proof(storage: &dyn Storage, at: LogKey) -> Result<Vec<Received>, Error> {
    let Some(bytes) = storage.get(&layout::PROOF, at.0.into())? else { return Ok(Vec::new()) };
    let (mut bytes, mut proof) = (Bytes(&bytes), Vec::new());
    while let (Some(header), Some(signature)) = (bytes.bytes(), bytes.bytes()) {
        let signature = signature.try_into().ok().map(Signature);
        proof.push(Received { header: header.to_vec(), signature, body: None });
    }
    Ok(proof)
}
