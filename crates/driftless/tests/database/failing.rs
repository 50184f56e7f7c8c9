//! A disk that fails at a chosen write.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use driftless_store::{Document, DocumentVisitor, Key, Order, RowVisitor, Storage, StorageError, Table};

/// When the disk fails: after so many more writes. Below zero, never.
#[derive(Debug, Clone)]
pub(crate) struct Fuse(Arc<AtomicI64>, Arc<AtomicU64>, Arc<AtomicU64>);

impl Fuse {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(-1)), Arc::default(), Arc::default())
    }

    /// The write after the next `writes` fails.
    pub(crate) fn set(&self, writes: i64) {
        self.0.store(writes, Ordering::SeqCst);
    }

    /// How many rows were read since somebody asked last.
    pub(crate) fn reads(&self) -> u64 {
        self.1.swap(0, Ordering::SeqCst)
    }

    /// How many transactions were committed since somebody asked last.
    pub(crate) fn commits(&self) -> u64 {
        self.2.swap(0, Ordering::SeqCst)
    }

    fn read(&self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether a write has failed.
    pub(crate) fn is_blown(&self) -> bool {
        self.0.load(Ordering::SeqCst) == i64::MIN
    }
}

/// A storage whose writes fail once the fuse is blown, until it is rolled back. A failed `commit` may have been kept.
pub(crate) struct Failing {
    pub(crate) inner: Box<dyn Storage>,
    pub(crate) fuse: Fuse,
    pub(crate) keeps_failed_commit: bool,
}

impl Failing {
    fn burn(&self) -> Result<(), StorageError> {
        let left = self.fuse.0.load(Ordering::SeqCst);
        match left {
            i64::MIN | 0 => {
                self.fuse.0.store(i64::MIN, Ordering::SeqCst);
                Err(StorageError::Io("the disk is on fire".into()))
            }
            1.. => {
                self.fuse.0.store(left - 1, Ordering::SeqCst);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Storage for Failing {
    fn get(&self, table: &Table, key: Key<'_>) -> Result<Option<Vec<u8>>, StorageError> {
        self.fuse.read();
        self.inner.get(table, key)
    }

    fn put(&mut self, table: &Table, key: Key<'_>, value: &[u8]) -> Result<(), StorageError> {
        self.burn()?;
        self.inner.put(table, key, value)
    }

    fn remove(&mut self, table: &Table, key: Key<'_>) -> Result<(), StorageError> {
        self.burn()?;
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
        self.inner.range(table, from, to, order, &mut |key, value| {
            self.fuse.read();
            visit(key, value)
        })
    }

    fn declare_collection(&mut self, number: u64, space: &str, name: &str) -> Result<(), StorageError> {
        self.burn()?;
        self.inner.declare_collection(number, space, name)
    }

    fn upsert(&mut self, document: &Document<'_>) -> Result<(), StorageError> {
        self.burn()?;
        self.inner.upsert(document)
    }

    fn remove_document(&mut self, number: u64) -> Result<(), StorageError> {
        self.burn()?;
        self.inner.remove_document(number)
    }

    fn document(&self, number: u64, visit: &mut dyn FnMut(&Document<'_>)) -> Result<bool, StorageError> {
        self.fuse.read();
        self.inner.document(number, visit)
    }

    fn document_by_id(
        &self,
        collection: u64,
        id: &str,
        visit: &mut dyn FnMut(&Document<'_>),
    ) -> Result<bool, StorageError> {
        self.fuse.read();
        self.inner.document_by_id(collection, id, visit)
    }

    fn scan(
        &self,
        collection: u64,
        after: Option<u64>,
        visit: &mut DocumentVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.inner.scan(collection, after, &mut |document| {
            self.fuse.read();
            visit(document)
        })
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        self.fuse.2.fetch_add(1, Ordering::SeqCst);
        self.burn().or_else(|error| {
            if self.keeps_failed_commit {
                self.inner.commit()?;
            }
            Err(error)
        })?;
        self.inner.commit()
    }

    fn rollback(&mut self) -> Result<(), StorageError> {
        self.inner.rollback()
    }

    fn refresh(&mut self) -> Result<bool, StorageError> {
        self.inner.refresh()
    }

    fn size(&self) -> Result<u64, StorageError> {
        self.inner.size()
    }
}
