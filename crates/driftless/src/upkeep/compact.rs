//! Making the log smaller: cold commits move into packs, and the file gives back what is free.
//!
//! A commit is cold when many came after it. What every opening or exchange reads stays as it is, and so does what may
//! still change: rule commits, the last commits of authors, heads, and commits without body.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use driftless_core::commit::Kind;
use driftless_core::id::SpaceId;
use driftless_core::sign::verify_commit;
use driftless_store::{Key, Order, Storage};

use crate::database::Database;
use crate::error::Error;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::tables::layout::{self, LogKey, LogSeq, Row};
use crate::tables::log;
use crate::tables::pack::{self, MAX_PACKED, MAX_WEIGHT};

/// What `compact` did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Commits that were moved into packs.
    pub packed: u64,
    /// Bytes of the file before; 0 in memory.
    pub bytes_before: u64,
    /// Bytes of the file after.
    pub bytes_after: u64,
}

/// Which commits are moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cold {
    /// The newest so many stay: what peers ask for, and what late edits fold into.
    pub(crate) hot: u64,
    /// A run shorter than this is not worth a row of its own.
    pub(crate) least: usize,
}

const COLD: Cold = Cold { hot: 1000, least: 32 };
// What one transaction moves at most, in commits and in bytes: others wait for the lock meanwhile.
const BATCH: usize = 4096;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

impl Database {
    /// Packs the cold commits of all spaces and gives back the room. `progress` hears of commits looked at, and of all.
    pub fn compact(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Compacted, Error> {
        let spaces: Vec<SpaceId> = self.spaces()?.into_iter().map(|space| space.id).collect();
        compact(self, &spaces, progress)
    }
}

impl Space {
    /// Packs the cold commits of this space and gives back the room. Nothing else can be told from outside: the same
    /// commits are here, and are served. May be interrupted at any moment.
    pub fn compact(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Compacted, Error> {
        compact(self.database(), &[self.id()], progress)
    }
}

fn compact(
    database: &Database,
    spaces: &[SpaceId],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Compacted, Error> {
    let mut done = Compacted { bytes_before: database.bytes_on_disk()?, ..Compacted::default() };
    let commits = |space| database.read(|engine| Ok(engine.present(space)?.counts.commits));
    let all = spaces.iter().map(commits).sum::<Result<u64, _>>()?;
    let mut before = 0;
    for space in spaces {
        let mut next = 1;
        loop {
            // The lock is taken once per batch, so that others can work meanwhile.
            let batch = database.write(|engine| pack_batch(engine, space, next, COLD))?;
            done.packed += batch.packed;
            let Some(from) = batch.next else { break };
            next = from;
            progress(before + next, all);
        }
        before += commits(space)?;
        progress(before, all.max(before));
    }
    // Not staged, so that nobody else's write ends up in it.
    database.flush()?;
    database.read(|engine| Ok(engine.storage.shrink()?))?;
    done.bytes_after = database.bytes_on_disk()?;
    Ok(done)
}

#[derive(Debug, Default)]
pub(crate) struct Batch {
    packed: u64,
    /// Where the next batch begins; `None` if nothing cold comes after this one.
    pub(crate) next: Option<LogSeq>,
}

/// Packs what is cold from `from` on, as much as one transaction should move.
pub(crate) fn pack_batch(
    engine: &mut Engine,
    space: &SpaceId,
    from: LogSeq,
    cold: Cold,
) -> Result<Batch, Error> {
    let replica = engine.present(space)?;
    let end = replica.next.saturating_sub(cold.hot);
    let (from, to) = (replica.key(from), replica.key(end.max(1)));
    let mut stays: BTreeSet<LogSeq> = replica.heads.keys().copied().collect();
    stays.extend(replica.tips.values().map(|tip| tip.at));
    let storage = engine.storage.as_mut();
    let found = rows(storage, from, to)?;
    let mut batch = Batch { packed: 0, next: found.next };
    // Everything is read and made before the first write.
    let (mut packs, mut run) = (Vec::new(), Run::default());
    for (at, row) in found.rows {
        let row = Row::decode(&row, at.seq())?;
        let body = if row.kind == Kind::Rules || stays.contains(&at.seq()) {
            None
        } else {
            storage.get(&layout::BODY, at.0.into())?
        };
        let Some(body) = body else {
            packs.extend(run.end(storage, cold.least)?);
            continue;
        };
        let weight = weight(&row, &body);
        if !run.takes(at, weight) {
            // A run that is full is packed; one that is only interrupted, if it is worth it.
            let least = if run.full(weight) { 1 } else { cold.least };
            packs.extend(run.end(storage, least)?);
        }
        run.push(at, row, body, weight);
    }
    match (batch.next, run.commits.first()) {
        // The next batch goes on with what is not full yet.
        (Some(_), Some(first)) => batch.next = Some(first.at.seq()),
        // Where the hot ones begin, a run that is not full may still grow.
        (None, Some(_)) if cold.least < COLD.least => packs.extend(run.end(storage, cold.least)?),
        _ => {}
    }
    for pack in packs {
        batch.packed += pack.commits;
        write(storage, &pack)?;
    }
    if batch.packed > 0 {
        engine.staged();
    }
    Ok(batch)
}

struct Pack {
    first: LogKey,
    commits: u64,
    bytes: Vec<u8>,
}

fn write(storage: &mut dyn Storage, pack: &Pack) -> Result<(), Error> {
    storage.put(&layout::PACK, pack.first.0.into(), &pack.bytes)?;
    for at in pack.first.0..pack.first.0 + pack.commits {
        storage.remove(&layout::LOG, at.into())?;
        storage.remove(&layout::BODY, at.into())?;
    }
    Ok(())
}

struct Found {
    rows: Vec<(LogKey, Vec<u8>)>,
    next: Option<LogSeq>,
}

// The rows that are not in packs yet, from one position up to another, as many as fit in a batch.
fn rows(storage: &dyn Storage, from: LogKey, to: LogKey) -> Result<Found, Error> {
    let (mut rows, mut bytes, mut next, mut failed) = (Vec::new(), 0, None, None);
    let (from, to) = (Bound::Included(from.0.into()), Bound::Excluded(to.0.into()));
    storage.range(&layout::LOG, from, to, Order::Ascending, &mut |key, row| {
        let Key::U64(at) = key else { return ControlFlow::Break(()) };
        if rows.len() == BATCH || bytes > BATCH_BYTES {
            next = Some(LogKey(at).seq());
            return ControlFlow::Break(());
        }
        match Row::decode(row, LogKey(at).seq()) {
            Ok(decoded) => bytes += row.len() + decoded.body_length as usize,
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        rows.push((LogKey(at), row.to_vec()));
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(Found { rows, next }), Err)
}

// What a commit adds to a frame, and so to a run without signatures: its header as it is sent, and its body.
fn weight(row: &Row, body: &[u8]) -> usize {
    256 + 34 * row.parents.len() + row.extensions.len() + body.len()
}

struct Commit {
    at: LogKey,
    row: Row,
    body: Vec<u8>,
}

impl Commit {
    fn is_signed(&self) -> bool {
        self.row.signature.is_some_and(|(_, verified)| verified)
    }

    // A signature that came inside a run was not verified then.
    fn verify(&mut self, storage: &dyn Storage) -> Result<(), Error> {
        if let Some((signature, verified @ false)) = &mut self.row.signature {
            let author = log::author(storage, self.row.author)?;
            *verified = verify_commit(&author, &self.row.id, signature);
        }
        Ok(())
    }
}

// Commits one after the other, to be one pack.
#[derive(Default)]
struct Run {
    commits: Vec<Commit>,
    weight: usize,
}

impl Run {
    fn full(&self, more: usize) -> bool {
        self.commits.len() == MAX_PACKED || self.weight + more > MAX_WEIGHT
    }

    fn takes(&self, at: LogKey, weight: usize) -> bool {
        self.commits.last().is_none_or(|last| last.at.0 + 1 == at.0 && !self.full(weight))
    }

    fn push(&mut self, at: LogKey, row: Row, body: Vec<u8>, weight: usize) {
        self.commits.push(Commit { at, row, body });
        self.weight += weight;
    }

    // The run as a pack, if it has so many commits; starts over in any case.
    fn end(&mut self, storage: &dyn Storage, least: usize) -> Result<Option<Pack>, Error> {
        let mut run = std::mem::take(self);
        let Some(first) = run.commits.first().map(|commit| commit.at) else { return Ok(None) };
        if run.commits.len() < least {
            return Ok(None);
        }
        drop_signatures(storage, first, &mut run.commits)?;
        let rows = run.commits.into_iter().map(|commit| (commit.row.encode(commit.at.seq()), commit.body));
        let commits: Vec<(Vec<u8>, Vec<u8>)> = rows.collect();
        Ok(Some(Pack { first, commits: commits.len() as u64, bytes: pack::encode(first, &commits)? }))
    }
}

// A signature vouches for the run of `previous` before it, so of each author's run in a pack the last one says all.
// Every commit stays vouched for from inside its pack, or as it was before; and the first signature after a run that
// began before the pack stays too, so that no run without one grows from pack to pack.
fn drop_signatures(storage: &dyn Storage, first: LogKey, commits: &mut [Commit]) -> Result<(), Error> {
    let place = |at: LogSeq| at.checked_sub(first.seq()).and_then(|place| usize::try_from(place).ok());
    let previous: Vec<Option<usize>> =
        commits.iter().map(|commit| commit.row.previous.and_then(place)).collect();
    let followed: BTreeSet<usize> = previous.iter().flatten().copied().collect();
    // Commits without a signature whose run began before this pack.
    let mut open = BTreeSet::new();
    let mut kept = BTreeSet::new();
    for (at, (commit, inside)) in commits.iter_mut().zip(&previous).enumerate() {
        let reaches_out = match (commit.row.previous, inside) {
            (None, _) => false,
            (_, Some(previous)) => open.contains(previous),
            (Some(previous), None) => {
                let row = log::row(storage, LogKey::new(first.space(), previous))?;
                !row.signature.is_some_and(|(_, verified)| verified)
            }
        };
        if reaches_out || !followed.contains(&at) {
            commit.verify(storage)?;
            kept.insert(at);
        }
        if reaches_out && !commit.is_signed() {
            open.insert(at);
        }
    }
    // Commits that a later one in this pack vouches for.
    let mut vouched = BTreeSet::new();
    for (at, (commit, inside)) in commits.iter_mut().zip(&previous).enumerate().rev() {
        let proven = commit.is_signed() || vouched.contains(&at);
        if vouched.contains(&at) && !kept.contains(&at) {
            commit.row.signature = None;
        }
        vouched.extend(inside.filter(|_| proven));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use driftless_core::value::Map;
    use proptest::prelude::*;

    use super::*;
    use crate::space::Digest;

    // A space in which three wrote, some of it unsigned as it came inside runs, and each commit as the log tells it.
    struct Written {
        db: Database,
        space: Space,
    }

    fn exchange(from: &Space, to: &Database) {
        let mut bytes = Vec::new();
        from.export(&mut bytes, &mut |_| {}).unwrap();
        to.import(&mut bytes.as_slice(), &mut |_| {}).unwrap();
    }

    fn memory(seed: u8) -> Database {
        Database::builder().seed([seed; 32]).memory().unwrap()
    }

    fn written(turns: &[(u8, u8)]) -> Written {
        let peers = [memory(1), memory(2), memory(3)];
        let space = peers[0].create_space("team").unwrap();
        space
            .grant(
                driftless_core::rules::Subject::Anyone,
                driftless_core::rules::Permission::Write(driftless_core::rules::Strength(3)),
            )
            .unwrap();
        let id = space.id().to_string();
        for (who, count) in turns {
            let peer = &peers[usize::from(*who) % 3];
            exchange(&space, peer);
            let notes = peer.space(&id).unwrap().collection("notes").unwrap();
            for number in 0..*count {
                let text = "x".repeat(usize::from(number) * 40);
                notes
                    .insert(Map::from_json(&format!(r#"{{"n": {number}, "text": "{text}"}}"#)).unwrap())
                    .unwrap();
            }
            exchange(&peer.space(&id).unwrap(), &peers[0]);
        }
        let [db, ..] = peers;
        Written { db, space }
    }

    // All that the log says of each commit, but for signatures that others vouch for.
    fn told(space: &Space) -> Vec<(Row, Option<Vec<u8>>)> {
        let look = |engine: &mut Engine| {
            engine.present(&space.id())?;
            let (storage, replica) = engine.parts(&space.id())?;
            let keys: Vec<LogKey> = (1..replica.next).map(|at| replica.key(at)).collect();
            keys.into_iter()
                .map(|at| {
                    let row = log::row(storage, at)?;
                    assert_eq!(log::find(storage, at.space(), &row.id)?, Some((at, row.clone())));
                    Ok((Row { signature: None, ..row }, log::body(storage, at)?))
                })
                .collect()
        };
        space.database().read(look).unwrap()
    }

    fn pack_all(space: &Space, cold: Cold) -> u64 {
        let (mut packed, mut next) = (0, Some(1));
        while let Some(from) = next {
            let batch = space.database().write(|engine| pack_batch(engine, &space.id(), from, cold)).unwrap();
            packed += batch.packed;
            next = batch.next;
        }
        packed
    }

    fn arrived(space: &Space) -> Digest {
        let other = memory(9);
        exchange(space, &other);
        let other = other.space(&space.id().to_string()).unwrap();
        // What came unsigned is packed and served again.
        pack_all(&other, Cold { hot: 0, least: 1 });
        let third = memory(10);
        exchange(&other, &third);
        third.space(&space.id().to_string()).unwrap().digest().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn a_packed_log_tells_what_it_told_before(
            turns in proptest::collection::vec((0..3u8, 1..30u8), 1..8),
            hot in 0..20u64,
            least in 1..4usize,
        ) {
            let Written { db, space } = written(&turns);
            let (before, digest) = (told(&space), space.digest().unwrap());
            let packed = pack_all(&space, Cold { hot, least });
            prop_assert!(packed > 0 || before.len() < 40);
            prop_assert_eq!(pack_all(&space, Cold { hot, least }), 0);
            prop_assert_eq!(&told(&space), &before);
            prop_assert_eq!(&space.rebuild().unwrap(), &digest);
            prop_assert_eq!(&arrived(&space), &digest);
            // And it goes on: later commits are packed behind the first.
            space.collection("notes").unwrap().insert(Map::default()).unwrap();
            pack_all(&space, Cold { hot: 0, least });
            prop_assert_eq!(&told(&space)[..before.len()], &before[..]);
            space.forget().unwrap();
            let left = |engine: &mut Engine| {
                let mut left = 0;
                engine.storage.range(&layout::PACK, Bound::Unbounded, Bound::Unbounded, Order::Ascending, &mut |_, _| {
                    left += 1;
                    ControlFlow::Continue(())
                })?;
                Ok(left)
            };
            prop_assert_eq!(db.read(left).unwrap(), 0);
        }
    }

    #[test]
    fn of_a_run_of_one_author_a_pack_keeps_one_signature() {
        let Written { space, .. } = written(&[(0, 60)]);
        pack_all(&space, Cold { hot: 0, least: 1 });
        let signed = |engine: &mut Engine| {
            let (storage, replica) = engine.parts(&space.id())?;
            (1..replica.next)
                .map(|at| Ok(u64::from(log::row(storage, replica.key(at))?.signature.is_some())))
                .sum::<Result<u64, Error>>()
        };
        // The genesis, the grant, the last in the pack, and the last of all, which stays outside.
        assert_eq!(space.database().read(signed).unwrap(), 4u64);
    }

    #[test]
    fn the_file_shrinks_and_opens_again() {
        let home = tempfile::tempdir().unwrap();
        let batched = || {
            let never = std::time::Duration::from_secs(1_000_000);
            Database::builder().durability(crate::Durability::Batched(never)).open(home.path()).unwrap()
        };
        let db = batched();
        let space = db.create_space("home").unwrap();
        let notes = space.collection("notes").unwrap();
        for number in 0..3000 {
            notes.insert(Map::from_json(&format!(r#"{{"n": {number}}}"#)).unwrap()).unwrap();
        }
        let before = (told(&space), space.digest().unwrap());
        let mut last = (0, 0);
        let done = db.compact(&mut |done, all| last = (done, all)).unwrap();
        assert_eq!(last, (3001, 3001));
        assert!((1500..2001).contains(&done.packed), "{done:?}");
        assert!(done.bytes_after + 150_000 < done.bytes_before, "{done:?}");
        let again = space.compact(&mut |_, _| {}).unwrap();
        assert_eq!((again.packed, again.bytes_after), (0, done.bytes_after));
        drop((notes, space, db));
        let db = batched();
        let space = db.space("home").unwrap();
        assert_eq!((told(&space), space.digest().unwrap()), before);
    }

    #[test]
    fn a_damaged_pack_is_an_error_that_says_so() {
        let Written { db, space } = written(&[(0, 50)]);
        pack_all(&space, Cold { hot: 0, least: 1 });
        db.write(|engine| {
            let (mut first, mut bytes) = (0, Vec::new());
            engine.storage.range(
                &layout::PACK,
                Bound::Unbounded,
                Bound::Unbounded,
                Order::Ascending,
                &mut |key, pack| {
                    if let Key::U64(key) = key {
                        (first, bytes) = (key, pack.to_vec());
                    }
                    ControlFlow::Break(())
                },
            )?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            engine.storage.remove(&layout::PACK, first.into())?;
            engine.storage.put(&layout::PACK, first.into(), &bytes)?;
            engine.staged();
            Ok(())
        })
        .unwrap();
        let exported = space.export(&mut Vec::new(), &mut |_| {});
        assert!(matches!(exported, Err(Error::Damaged(_))), "{exported:?}");
    }
}
