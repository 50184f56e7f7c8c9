//! The same exchanges by others, in the same run: the `automerge` crate's sync of one document, and negentropy, which
//! only finds out which ids differ. Knows nothing of our databases.

use automerge::sync::{State, SyncDoc};
use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ROOT};
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use crate::stopwatch::{Failure, Spent, spent};

/// What an exchange said, both ways.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    /// Bytes beyond those of changes.
    pub overhead: u64,
    /// Bytes of changes.
    pub changes: u64,
    /// CPU of both sides.
    pub spent: Spent,
}

/// Two Automerge documents with the same `n` changes.
#[derive(Debug)]
pub(crate) struct Documents {
    n: usize,
    ours: AutoCommit,
    theirs: AutoCommit,
    before_last: AutoCommit,
}

// What two Automerge peers know of each other.
#[derive(Debug, Default)]
struct States {
    ours: State,
    theirs: State,
}

impl States {
    // As if both had been restarted since.
    fn persisted(self) -> Result<Self, Failure> {
        Ok(Self { ours: State::decode(&self.ours.encode())?, theirs: State::decode(&self.theirs.encode())? })
    }
}

fn actor(number: u8) -> ActorId {
    ActorId::from([number; 16])
}

// A value that is there already would be no change: numbers go on.
fn change(document: &mut AutoCommit, from: usize, count: usize) -> Result<(), Failure> {
    for number in from..from + count {
        document.put(ROOT, format!("note{}", number % 1000), format!("note {number:07}"))?;
        document.commit();
    }
    Ok(())
}

impl Documents {
    /// A chain of one-op changes by one actor.
    pub(crate) fn new(n: usize) -> Result<Self, Failure> {
        let mut ours = AutoCommit::new().with_actor(actor(1));
        change(&mut ours, 0, n - 1)?;
        let before_last = ours.fork().with_actor(actor(2));
        change(&mut ours, n - 1, 1)?;
        let theirs = ours.fork().with_actor(actor(2));
        Ok(Self { n, ours, theirs, before_last })
    }

    /// An exchange after so many new changes on each side, between peers that have met, or have not.
    pub(crate) fn exchange(&self, ours: usize, theirs: usize, met: bool) -> Result<Said, Failure> {
        let (mut left, mut right) = (self.ours.clone(), self.theirs.clone());
        let mut states = States::default();
        if met {
            sync(&mut left, &mut right, &mut states)?;
            states = states.persisted()?;
        }
        change(&mut left, self.n, ours)?;
        change(&mut right, self.n + ours, theirs)?;
        sync(&mut left, &mut right, &mut states)
    }

    /// An exchange between peers that have met, one of which has lost its newest change and what it knew of the other.
    pub(crate) fn lost(&self) -> Result<Said, Failure> {
        let (mut left, mut right) = (self.ours.clone(), self.theirs.clone());
        let mut states = States::default();
        sync(&mut left, &mut right, &mut states)?;
        let mut states = states.persisted()?;
        // The state that was saved before the newest change came.
        let (mut before, mut older) = (self.before_last.clone(), States::default());
        let mut same = self.before_last.clone();
        sync(&mut same, &mut before, &mut older)?;
        states.theirs = older.persisted()?.theirs;
        let said = sync(&mut left, &mut before, &mut states)?;
        // Changes that are sent again are no use to anybody.
        let one = self.exchange(1, 0, true)?.changes;
        Ok(Said { overhead: said.overhead + said.changes - one, changes: one, ..said })
    }
}

fn sync(left: &mut AutoCommit, right: &mut AutoCommit, states: &mut States) -> Result<Said, Failure> {
    let (mut said, mut total) = (Said::default(), 0);
    let (_, spent) = spent(|| {
        loop {
            let one = step(left, &mut states.ours, right, &mut states.theirs)?;
            let other = step(right, &mut states.theirs, left, &mut states.ours)?;
            for (bytes, changes) in [one, other].into_iter().flatten() {
                total += bytes;
                said.changes += changes;
            }
            if one.is_none() && other.is_none() {
                return Ok(());
            }
        }
    })?;
    if left.get_heads() != right.get_heads() {
        return Err("two Automerge documents are not the same after an exchange".into());
    }
    Ok(Said { overhead: total - said.changes, spent, ..said })
}

// One message and its bytes, and those of changes in it.
fn step(
    from: &mut AutoCommit,
    from_state: &mut State,
    to: &mut AutoCommit,
    to_state: &mut State,
) -> Result<Option<(u64, u64)>, Failure> {
    let Some(message) = from.sync().generate_sync_message(from_state) else { return Ok(None) };
    let changes = message.changes.iter().map(|chunk| chunk.len() as u64).sum();
    let bytes = message.encode();
    to.sync().receive_sync_message(to_state, automerge::sync::Message::decode(&bytes)?)?;
    Ok(Some((bytes.len() as u64, changes)))
}

/// What negentropy says about sets that share `n` ids, with so many more on each side. Ids are ordered as their commits
/// are, which suits it best; the list of what is then asked for is counted, and nothing is sent.
pub(crate) fn negentropy(n: usize, ours: usize, theirs: usize) -> Result<Said, Failure> {
    let set = |own: usize, name: u8| -> Result<NegentropyStorageVector, Failure> {
        let mut set = NegentropyStorageVector::with_capacity(n + own);
        for at in 0..n + own {
            let owner = if at < n { 0 } else { name };
            let mut hasher = blake3::Hasher::new();
            hasher.update(&[owner]).update(&at.to_be_bytes());
            set.insert(at as u64, Id::from_byte_array(*hasher.finalize().as_bytes()))?;
        }
        set.seal()?;
        Ok(set)
    };
    let (left, right) = (set(ours, 1)?, set(theirs, 2)?);
    let (mut have, mut need, mut overhead) = (Vec::new(), Vec::new(), 0);
    let (_, spent) = spent(|| {
        let mut asks = Negentropy::borrowed(&left, 0)?;
        let mut answers = Negentropy::borrowed(&right, 0)?;
        let mut next = Some(asks.initiate()?);
        while let Some(question) = next {
            let answer = answers.reconcile(&question)?;
            overhead += (question.len() + answer.len()) as u64;
            next = asks.reconcile_with_ids(&answer, &mut have, &mut need)?;
        }
        Ok(())
    })?;
    if (have.len(), need.len()) != (ours, theirs) {
        return Err("negentropy did not find the difference".into());
    }
    Ok(Said { overhead: overhead + 32 * need.len() as u64, changes: 0, spent })
}
