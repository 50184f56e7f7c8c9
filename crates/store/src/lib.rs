//! Bytes at rest: the `Storage` seam, and its adapters. It has never heard of commits, of rules or of networks.
//!
//! **The contract.** A storage holds named tables (`get, put, remove, range`; keys are integers or bytes) and the view
//! (`upsert, remove_document, document, document_by_id, scan`: current documents, which people also open with other
//! programs). There is one transaction: the first write opens it, reads through the same handle see it, `commit` makes
//! it durable before it returns, `rollback` and a crash undo all of it. A read that fails returns its error: a visitor
//! that was not stopped by an error or by itself has seen everything there is. After an error on a write, drop the
//! handle and open again. One process writes at a time (`Folder::lock_writer`); any number read beside it.
//!
//! Whatever else a database is, is above this seam, once. Each adapter passes `conformance`.
//! Modules are listed low to high; a module uses only those above it.

mod storage;

mod folder;

mod memory;

#[cfg(feature = "sqlite")]
mod sqlite;

pub mod conformance;

pub use folder::{Folder, LOCK_PATIENCE, WriterLock};
pub use memory::MemoryStorage;
#[cfg(feature = "sqlite")]
pub use sqlite::{Access, SqliteStorage};
#[cfg(feature = "sqlite")]
#[doc(hidden)]
pub use sqlite::{Disk, beneath_checksums};
pub use storage::{
    Document, DocumentVisitor, Key, KeyKind, Order, RowVisitor, Schema, Storage, StorageError, Table,
};
