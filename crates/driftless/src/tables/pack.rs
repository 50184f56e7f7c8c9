//! Packs: the rows and bodies of a run of cold commits, compressed into one row; and the storage that finds a commit
//! whether it lies in a pack or not.
//!
//! Which commits are cold is decided in `compact`. Nothing above the log knows that there are packs.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow, Range};

use driftless_core::limits::MAX_BODY;
use driftless_core::sign::Domain;
use driftless_store::{Document, DocumentVisitor, Key, Order, RowVisitor, Storage, StorageError, Table};

use crate::error::Error;
use crate::tables::layout::{self, Bytes, LogKey, put_number};

/// Commits in one pack: what is unpacked to read one of them.
pub(crate) const MAX_PACKED: usize = 256;
/// Bytes of headers and bodies in one pack, unless one commit is larger. No run of commits without a signature grows by
/// more than this when those inside a pack go, so what a frame may hold still holds it.
pub(crate) const MAX_WEIGHT: usize = 128 * 1024;

// Bytes that a pack decodes into: one largest commit, with room for its row.
const MAX_PLAIN: usize = MAX_BODY + MAX_WEIGHT;
const VERSION: u8 = 1;
const CHECK: usize = 8;
// Rows and bodies are mostly hashes and keys: higher levels find no more.
const LEVEL: i32 = 3;
// Unpacked packs that are remembered: whoever reads a log reads its neighbours next, several at once.
const REMEMBERED: usize = 8;
const REMEMBERED_BYTES: usize = 1024 * 1024;

/// The bytes of a pack whose first commit stands at `first`: rows and bodies of consecutive commits.
pub(crate) fn encode(first: LogKey, commits: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::new();
    for (row, body) in commits {
        put_number(&mut plain, row.len() as u64);
        put_number(&mut plain, body.len() as u64);
    }
    // Like beside like compresses best.
    commits.iter().for_each(|(row, _)| plain.extend_from_slice(row));
    commits.iter().for_each(|(_, body)| plain.extend_from_slice(body));
    let mut head = Vec::new();
    put_number(&mut head, commits.len() as u64);
    put_number(&mut head, plain.len() as u64);
    let packed = zstd::bulk::compress(&plain, LEVEL)?;
    let mut out = vec![VERSION];
    out.extend_from_slice(&check(first, &head, &packed));
    out.extend_from_slice(&head);
    out.extend_from_slice(&packed);
    Ok(out)
}

fn check(first: LogKey, head: &[u8], packed: &[u8]) -> [u8; CHECK] {
    let hash = Domain::Pack.hash(&[&first.0.to_be_bytes(), head, packed]);
    let mut check = [0; CHECK];
    check.copy_from_slice(&hash[..CHECK]);
    check
}

// How many commits a pack says it holds.
fn count(bytes: &[u8]) -> Option<u64> {
    Bytes(bytes.get(1 + CHECK..)?).number()
}

/// How many commits lie in packs, of one space or of all.
pub(crate) fn commits(storage: &dyn Storage, space: Option<u32>) -> Result<u64, StorageError> {
    let (first, last) = space.map_or((0, u32::MAX >> 10), |space| (space, space));
    let from = Bound::Included(Key::U64(LogKey::new(first, 0).0));
    let to = Bound::Included(Key::U64(LogKey::new(last, u64::MAX).0));
    let mut commits = 0;
    storage.range(&layout::PACK, from, to, Order::Ascending, &mut |_, bytes| {
        commits += count(bytes).unwrap_or(0).min(MAX_PACKED as u64);
        ControlFlow::Continue(())
    })?;
    Ok(commits)
}

/// Whether these are the bytes of a pack whose first commit stands at `first`.
pub(crate) fn is_whole(first: LogKey, bytes: &[u8]) -> bool {
    Pack::take(first, bytes).is_some()
}

/// A pack, taken apart.
#[derive(Debug)]
struct Pack {
    first: LogKey,
    plain: Vec<u8>,
    rows: Vec<Range<usize>>,
    bodies: Vec<Range<usize>>,
}

impl Pack {
    fn decode(first: LogKey, bytes: &[u8]) -> Result<Self, StorageError> {
        let damaged =
            || StorageError::Damaged(format!("the pack at log row {} does not decode", first.seq()));
        Self::take(first, bytes).ok_or_else(damaged)
    }

    fn take(first: LogKey, bytes: &[u8]) -> Option<Self> {
        let mut rest = Bytes(bytes);
        let ([VERSION], sum) = (rest.array()?, rest.array::<CHECK>()?) else { return None };
        let after = rest.0;
        let count = usize::try_from(rest.number()?).ok().filter(|count| (1..=MAX_PACKED).contains(count))?;
        let size = usize::try_from(rest.number()?).ok().filter(|size| *size <= MAX_PLAIN)?;
        let head = after.get(..after.len() - rest.0.len())?;
        if check(first, head, rest.0) != sum {
            return None;
        }
        let plain = zstd::bulk::decompress(rest.0, size).ok().filter(|plain| plain.len() == size)?;
        let mut index = Bytes(&plain);
        let mut lengths = Vec::with_capacity(count);
        for _ in 0..count {
            lengths.push((usize::try_from(index.number()?).ok()?, usize::try_from(index.number()?).ok()?));
        }
        let mut end = plain.len() - index.0.len();
        let mut next = |length: usize| {
            let start = end;
            end = start.checked_add(length)?;
            Some(start..end)
        };
        let rows = lengths.iter().map(|(row, _)| next(*row)).collect::<Option<Vec<_>>>()?;
        let bodies = lengths.iter().map(|(_, body)| next(*body)).collect::<Option<Vec<_>>>()?;
        (end == plain.len()).then_some(Self { first, plain, rows, bodies })
    }

    // The place of a commit in it.
    fn place(&self, at: LogKey) -> Option<usize> {
        let place = usize::try_from(at.0.checked_sub(self.first.0)?).ok()?;
        (place < self.rows.len()).then_some(place)
    }

    fn value(&self, table: &Table, place: usize) -> Option<&[u8]> {
        let ranges = if *table == layout::LOG { &self.rows } else { &self.bodies };
        self.plain.get(ranges.get(place)?.clone())
    }
}

/// A storage that finds rows of the log and bodies also in packs. Everything else it passes on.
pub(crate) struct Packed {
    inner: Box<dyn Storage>,
    // The last one read is the first.
    recent: RefCell<VecDeque<Pack>>,
}

impl Packed {
    pub(crate) fn over(inner: Box<dyn Storage>) -> Self {
        Self { inner, recent: RefCell::default() }
    }

    fn recall(&self, table: &Table, at: LogKey) -> Option<Vec<u8>> {
        let mut recent = self.recent.borrow_mut();
        let (found, place) =
            recent.iter().enumerate().find_map(|(found, pack)| Some((found, pack.place(at)?)))?;
        if found > 0 {
            let pack = recent.remove(found)?;
            recent.push_front(pack);
        }
        recent.front()?.value(table, place).map(<[u8]>::to_vec)
    }

    // Unpacks the pack that `at` is in, if it is in one.
    fn unpack(&self, at: LogKey) -> Result<bool, StorageError> {
        let (mut found, mut failed) = (None, None);
        let from = Bound::Included(LogKey::new(at.space(), 0).0.into());
        let to = Bound::Included(at.0.into());
        self.inner.range(&layout::PACK, from, to, Order::Descending, &mut |key, bytes| {
            if let Key::U64(first) = key
                && count(bytes).is_none_or(|count| at.0 - first < count)
            {
                match Pack::decode(LogKey(first), bytes) {
                    Ok(pack) => found = Some(pack),
                    Err(error) => failed = Some(error),
                }
            }
            ControlFlow::Break(())
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let Some(pack) = found else { return Ok(false) };
        let mut recent = self.recent.borrow_mut();
        let mut room = REMEMBERED_BYTES.saturating_sub(pack.plain.len());
        recent.truncate(REMEMBERED - 1);
        recent.retain(|pack| {
            let fits = pack.plain.len() <= room;
            room = if fits { room - pack.plain.len() } else { 0 };
            fits
        });
        recent.push_front(pack);
        Ok(true)
    }

    // What is remembered may be gone now.
    fn forget(&mut self) {
        self.recent.get_mut().clear();
    }
}

impl Storage for Packed {
    fn get(&self, table: &Table, key: Key<'_>) -> Result<Option<Vec<u8>>, StorageError> {
        let at = match key {
            Key::U64(at) if *table == layout::LOG || *table == layout::BODY => LogKey(at),
            _ => return self.inner.get(table, key),
        };
        if let Some(value) = self.recall(table, at) {
            return Ok(Some(value));
        }
        match self.inner.get(table, key)? {
            None if self.unpack(at)? => Ok(self.recall(table, at)),
            found => Ok(found),
        }
    }

    fn put(&mut self, table: &Table, key: Key<'_>, value: &[u8]) -> Result<(), StorageError> {
        self.inner.put(table, key, value)
    }

    fn put_many(&mut self, table: &Table, rows: &[(Key<'_>, &[u8])]) -> Result<(), StorageError> {
        self.inner.put_many(table, rows)
    }

    fn remove(&mut self, table: &Table, key: Key<'_>) -> Result<(), StorageError> {
        if *table == layout::PACK {
            self.forget();
        }
        self.inner.remove(table, key)
    }

    fn range(
        &self,
        table: &Table,
        from: Bound<Key<'_>>,
        to: Bound<Key<'_>>,
        order: Order,
        visit: &mut RowVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.inner.range(table, from, to, order, visit)
    }

    fn declare_collection(&mut self, number: u64, space: &str, name: &str) -> Result<(), StorageError> {
        self.inner.declare_collection(number, space, name)
    }

    fn upsert(&mut self, document: &Document<'_>) -> Result<(), StorageError> {
        self.inner.upsert(document)
    }

    fn insert_many(&mut self, documents: &[Document<'_>]) -> Result<(), StorageError> {
        self.inner.insert_many(documents)
    }

    fn upsert_many(&mut self, documents: &[Document<'_>]) -> Result<(), StorageError> {
        self.inner.upsert_many(documents)
    }

    fn remove_document(&mut self, number: u64) -> Result<(), StorageError> {
        self.inner.remove_document(number)
    }

    fn document(&self, number: u64, visit: &mut dyn FnMut(&Document<'_>)) -> Result<bool, StorageError> {
        self.inner.document(number, visit)
    }

    fn document_by_id(
        &self,
        collection: u64,
        id: &str,
        visit: &mut dyn FnMut(&Document<'_>),
    ) -> Result<bool, StorageError> {
        self.inner.document_by_id(collection, id, visit)
    }

    fn documents_by_id(
        &self,
        collection: u64,
        ids: &[&str],
        visit: &mut dyn FnMut(usize, &Document<'_>),
    ) -> Result<(), StorageError> {
        self.inner.documents_by_id(collection, ids, visit)
    }

    fn scan(
        &self,
        collection: u64,
        after: Option<u64>,
        visit: &mut DocumentVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.inner.scan(collection, after, visit)
    }

    fn begin(&mut self) -> Result<(), StorageError> {
        self.inner.begin()
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        self.inner.commit()
    }

    fn rollback(&mut self) -> Result<(), StorageError> {
        self.forget();
        self.inner.rollback()
    }

    fn refresh(&mut self) -> Result<bool, StorageError> {
        self.forget();
        self.inner.refresh()
    }

    fn check(&self, problem: &mut dyn FnMut(String)) -> Result<(), StorageError> {
        self.inner.check(problem)
    }

    fn shrink(&mut self) -> Result<(), StorageError> {
        self.inner.shrink()
    }

    fn size(&self) -> Result<u64, StorageError> {
        self.inner.size()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pack_comes_back_and_any_damage_is_noticed(
            commits in proptest::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 1..20),
            place in any::<proptest::sample::Index>(),
            bit in 0..8u8,
        ) {
            let first = LogKey::new(3, 17);
            let bytes = encode(first, &commits).unwrap();
            let pack = Pack::decode(first, &bytes).unwrap();
            for (at, (row, body)) in commits.iter().enumerate() {
                let place = pack.place(LogKey(first.0 + at as u64)).unwrap();
                prop_assert_eq!(pack.value(&layout::LOG, place), Some(&row[..]));
                prop_assert_eq!(pack.value(&layout::BODY, place), Some(&body[..]));
            }
            prop_assert_eq!(pack.place(LogKey(first.0 + commits.len() as u64)), None);
            prop_assert_eq!(pack.place(LogKey(first.0 - 1)), None);
            let mut damaged = bytes.clone();
            damaged[place.index(bytes.len())] ^= 1 << bit;
            prop_assert!(matches!(Pack::decode(first, &damaged), Err(StorageError::Damaged(_))));
            prop_assert!(Pack::decode(LogKey::new(3, 18), &bytes).is_err());
            prop_assert!(Pack::decode(first, &bytes[..place.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_pack_that_says_it_is_huge_is_refused_before_it_is_unpacked() {
        let first = LogKey::new(1, 1);
        let packed = zstd::bulk::compress(&vec![0; 1 << 28], LEVEL).unwrap();
        for size in [1 << 28, 100] {
            let mut head = Vec::new();
            put_number(&mut head, 1);
            put_number(&mut head, size);
            let bytes = [&[VERSION][..], &check(first, &head, &packed), &head, &packed].concat();
            assert!(Pack::decode(first, &bytes).is_err());
        }
    }
}
