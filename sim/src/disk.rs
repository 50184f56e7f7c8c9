//! A disk in memory: it keeps what was committed when the database above it is gone, and nothing else.
//!
//! An image of it is a backup, or a copied device.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use driftless::SCHEMA;
use driftless_store::{
    Document, DocumentVisitor, Key, MemoryStorage, Order, RowVisitor, Storage, StorageError, Table,
};

/// A disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct Disk {
    storage: Arc<RwLock<MemoryStorage>>,
    // How often the power was cut, and how often before this handle was given out: a process that died writes nothing.
    cuts: Arc<AtomicU64>,
    before: u64,
}

impl Disk {
    /// An empty disk.
    pub fn new() -> Result<Self, StorageError> {
        Ok(Self::holding(MemoryStorage::new(&SCHEMA)?))
    }

    /// Another disk with what is committed on this one. Nothing may be under way.
    pub fn image(&self) -> Result<Self, StorageError> {
        let mut image = self.read().clone();
        image.rollback()?;
        Ok(Self::holding(image))
    }

    fn holding(storage: MemoryStorage) -> Self {
        Self { storage: Arc::new(RwLock::new(storage)), cuts: Arc::default(), before: 0 }
    }

    /// The power was cut: what was not committed is gone. Whether there was anything.
    pub fn cut(&self) -> Result<bool, StorageError> {
        let mut storage = self.write();
        let lost = storage.is_changed();
        storage.rollback()?;
        self.cuts.fetch_add(1, Ordering::SeqCst);
        Ok(lost)
    }

    /// What a database writes to.
    pub fn storage(&self) -> Box<dyn Storage> {
        Box::new(Self { before: self.cuts.load(Ordering::SeqCst), ..self.clone() })
    }

    // A visitor may read again: there is one thread, so nobody waits to write meanwhile.
    fn read(&self) -> RwLockReadGuard<'_, MemoryStorage> {
        self.storage.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, MemoryStorage> {
        self.storage.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    // For what a process does: nothing after it died.
    fn alive(&self) -> Result<RwLockWriteGuard<'_, MemoryStorage>, StorageError> {
        if self.cuts.load(Ordering::SeqCst) != self.before {
            return Err(StorageError::Io("the power was cut".into()));
        }
        Ok(self.write())
    }
}

impl Storage for Disk {
    fn get(&self, table: &Table, key: Key<'_>) -> Result<Option<Vec<u8>>, StorageError> {
        self.read().get(table, key)
    }

    fn put(&mut self, table: &Table, key: Key<'_>, value: &[u8]) -> Result<(), StorageError> {
        self.alive()?.put(table, key, value)
    }

    fn remove(&mut self, table: &Table, key: Key<'_>) -> Result<(), StorageError> {
        self.alive()?.remove(table, key)
    }

    fn range(
        &self,
        table: &Table,
        from: Bound<Key<'_>>,
        to: Bound<Key<'_>>,
        order: Order,
        visit: &mut RowVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.read().range(table, from, to, order, visit)
    }

    fn declare_collection(&mut self, number: u64, space: &str, name: &str) -> Result<(), StorageError> {
        self.alive()?.declare_collection(number, space, name)
    }

    fn upsert(&mut self, document: &Document<'_>) -> Result<(), StorageError> {
        self.alive()?.upsert(document)
    }

    fn remove_document(&mut self, number: u64) -> Result<(), StorageError> {
        self.alive()?.remove_document(number)
    }

    fn document(&self, number: u64, visit: &mut dyn FnMut(&Document<'_>)) -> Result<bool, StorageError> {
        self.read().document(number, visit)
    }

    fn document_by_id(
        &self,
        collection: u64,
        id: &str,
        visit: &mut dyn FnMut(&Document<'_>),
    ) -> Result<bool, StorageError> {
        self.read().document_by_id(collection, id, visit)
    }

    fn scan(
        &self,
        collection: u64,
        after: Option<u64>,
        visit: &mut DocumentVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.read().scan(collection, after, visit)
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        self.alive()?.commit()
    }

    fn rollback(&mut self) -> Result<(), StorageError> {
        self.alive()?.rollback()
    }

    fn refresh(&mut self) -> Result<bool, StorageError> {
        self.alive()?.refresh()
    }

    fn size(&self) -> Result<u64, StorageError> {
        self.read().size()
    }
}
