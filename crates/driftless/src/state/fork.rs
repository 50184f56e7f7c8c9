//! Forks: two commits of one author with one number. Who did it, the proof, since when it is known here; and whether it
//! was a copy of this very database that did, under a key that signs here.
//!
//! Both sides of a fork are kept and folded, so nothing here changes what counts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::sign::verify_commit;
use driftless_store::{Key, Order, Storage};

use crate::error::Error;
use crate::state::replica::{Facts, Replica, Tip};
use crate::tables::layout::{self, Bytes, LogKey};
use crate::tables::log;

/// One author, one number, two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// Whose key signed both.
    pub author: AuthorId,
    /// The number that was used twice.
    pub seq: u64,
    /// The two commits; the first is the one that came here first.
    pub commits: [CommitId; 2],
    /// The proof: for each of the two the first commit at or after it that carries a signature.
    pub proof: Vec<CommitId>,
    /// When the second came here, Unix milliseconds.
    pub since_ms: u64,
}

/// Another copy of this database, which was met by what it wrote under a key that signs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The key.
    pub author: AuthorId,
    /// Where it was met.
    pub space: SpaceId,
    /// The number of its commit.
    pub seq: u64,
    /// Its commit.
    pub commit: CommitId,
    /// When, Unix milliseconds.
    pub since_ms: u64,
}

const COPIED: &[u8] = b"copied";

fn copied_key(author: &AuthorId) -> Vec<u8> {
    [COPIED, &author.0[..]].concat()
}

/// The beginning of the keys of all forks of a space.
pub(crate) fn space_key(space: u32) -> Vec<u8> {
    [b"fork", &space.to_be_bytes()[..]].concat()
}

fn fork_key(space: u32, author: u32, branch: u32) -> Vec<u8> {
    [space_key(space), author.to_be_bytes().to_vec(), branch.to_be_bytes().to_vec()].concat()
}

impl Copied {
    /// What was noted, by the key.
    pub(crate) fn all(storage: &dyn Storage) -> Result<BTreeMap<AuthorId, Self>, Error> {
        let (mut found, mut whole) = (BTreeMap::new(), true);
        let visit = &mut |key: Key<'_>, row: &[u8]| {
            let Key::Bytes(key) = key else { return ControlFlow::Break(()) };
            let Some(author) = key.strip_prefix(COPIED) else { return ControlFlow::Break(()) };
            let copied = author.try_into().ok().and_then(|author| Self::decode(AuthorId(author), row));
            whole &= copied.is_some();
            found.extend(copied.map(|copied| (copied.author, copied)));
            ControlFlow::Continue(())
        };
        let from = Bound::Included(Key::Bytes(COPIED));
        storage.range(&layout::META, from, Bound::Unbounded, Order::Ascending, visit)?;
        if whole { Ok(found) } else { Err(Error::damaged("a note about a copy does not decode")) }
    }

    fn decode(author: AuthorId, row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        Some(Self {
            author,
            space: SpaceId(row.array()?),
            seq: u64::from_be_bytes(row.array()?),
            commit: CommitId(row.array()?),
            since_ms: u64::from_be_bytes(row.array()?),
        })
    }

    pub(crate) fn store(&self, storage: &mut dyn Storage) -> Result<(), Error> {
        let (seq, since) = (self.seq.to_be_bytes(), self.since_ms.to_be_bytes());
        let row = [&self.space.0[..], &seq, &self.commit.0, &since].concat();
        Ok(storage.put(&layout::META, copied_key(&self.author).as_slice().into(), &row)?)
    }

    pub(crate) fn forget(storage: &mut dyn Storage, author: &AuthorId) -> Result<(), Error> {
        Ok(storage.remove(&layout::META, copied_key(author).as_slice().into())?)
    }
}

/// Notes when a new branch of a chain came.
pub(crate) fn note(storage: &mut dyn Storage, space: u32, first: &Facts, now: u64) -> Result<(), Error> {
    let at = fork_key(space, first.author, first.branch);
    Ok(storage.put(&layout::META, at.as_slice().into(), &now.to_be_bytes())?)
}

/// The forks in a space, at most `limit`.
pub(crate) fn list(storage: &dyn Storage, replica: &mut Replica, limit: usize) -> Result<Vec<Fork>, Error> {
    let mut forks = Vec::new();
    for number in replica.forked() {
        if forks.len() >= limit {
            break;
        }
        let author = replica.author(storage, number)?;
        let tips: BTreeMap<u32, Tip> = replica
            .tips
            .range((number, 0)..=(number, u32::MAX))
            .map(|((_, branch), tip)| (*branch, *tip))
            .take(limit - forks.len() + 1)
            .collect();
        // A branch begins with the number after that at which it left another; the other went on with the same number.
        let mut sought: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        let mut begun = Vec::new();
        for (branch, tip) in &tips {
            let Some(left) = tip.fork else { continue };
            let (other, seq) = left.map_or((0, 1), |place| (place.branch, place.seq + 1));
            sought.entry(*branch).or_default().insert(seq);
            sought.entry(other).or_default().insert(seq);
            begun.push((*branch, other, seq));
        }
        let mut found = BTreeMap::new();
        for (branch, seqs) in &sought {
            if let Some(tip) = tips.get(branch) {
                find(storage, replica.number, (*branch, tip), &author, seqs, &mut found)?;
            }
        }
        for (branch, other, seq) in begun {
            let (Some(first), Some(second)) = (found.get(&(other, seq)), found.get(&(branch, seq))) else {
                return Err(Error::damaged("a fork is not where it should be"));
            };
            let since =
                storage.get(&layout::META, fork_key(replica.number, number, branch).as_slice().into())?;
            forks.push(Fork {
                author,
                seq,
                commits: [first.0, second.0],
                proof: first.1.into_iter().chain(second.1).collect(),
                since_ms: since.and_then(|since| since.try_into().ok()).map_or(0, u64::from_be_bytes),
            });
        }
    }
    Ok(forks)
}

type Found = BTreeMap<(u32, u64), (CommitId, Option<CommitId>)>;

// Back along one branch: the commits with these numbers, and the first signature at or after each.
fn find(
    storage: &dyn Storage,
    space: u32,
    (branch, tip): (u32, &Tip),
    author: &AuthorId,
    seqs: &BTreeSet<u64>,
    found: &mut Found,
) -> Result<(), Error> {
    let last = seqs.first().copied().unwrap_or_default();
    let (mut next, mut signed) = (Some(tip.at), None);
    while let Some(at) = next {
        let row = log::row(storage, LogKey::new(space, at))?;
        if row.branch != branch || row.seq < last {
            break;
        }
        if row
            .signature
            .is_some_and(|(signature, verified)| verified || verify_commit(author, &row.id, &signature))
        {
            signed = Some(row.id);
        }
        if seqs.contains(&row.seq) {
            found.insert((branch, row.seq), (row.id, signed));
        }
        next = row.previous;
    }
    Ok(())
}
