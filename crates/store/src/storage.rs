//! The seam: what a storage is asked, in which words, and how it may fail.
//!
//! Object-safe on purpose: the database holds a `Box<dyn Storage>`. Nothing here knows an adapter.

use std::ops::{Bound, ControlFlow};

/// The largest integer key, document number and collection number: what a signed 64-bit column holds.
pub(crate) const MAX_NUMBER: u64 = i64::MAX as u64;

// Names the adapters use for the view, so that no table of a schema takes them.
const VIEW_NAMES: [&str; 4] = ["collection", "document", "document_by_collection", "documents"];

/// What the keys of a table are, and so how they are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Integers from 0 to `i64::MAX`, in numeric order.
    U64,
    /// Byte strings of any length (also none), compared byte by byte; a prefix comes first.
    Bytes,
}

/// A table of a schema. Declare each as a `const` and name it in `Schema::tables` at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// The index of this table in `Schema::tables`.
    pub position: usize,
    /// The name that people see in the file: lower-case letters, digits and `_`.
    pub name: &'static str,
    /// What its keys are.
    pub key: KeyKind,
}

/// All tables of a database, and the number that changes whenever they or their contents change shape.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Stored in the file; a program refuses files of a larger version than it knows.
    pub version: u32,
    /// The tables, each at its own `position`.
    pub tables: &'static [Table],
}

impl Schema {
    // Called by adapters when they open: a mistake in a schema is told at once, not by the first write it breaks.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        for (position, table) in self.tables.iter().enumerate() {
            let refuse = |why| Err(StorageError::Key { table: table.name, why });
            let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
            if table.position != position {
                return refuse("its position is not its index in the schema");
            }
            if table.name.is_empty() || !table.name.as_bytes().iter().all(letter) {
                return refuse("a table name has only lower-case letters, digits and `_`");
            }
            if VIEW_NAMES.contains(&table.name) || table.name.starts_with("sqlite") {
                return refuse("the name is taken by the view or by SQLite");
            }
            if self.tables.iter().take(position).any(|before| before.name == table.name) {
                return refuse("the name occurs twice in the schema");
            }
        }
        if self.version == 0 || self.version > i32::MAX as u32 {
            return Err(StorageError::Key {
                table: "schema",
                why: "its version is not from 1 to 2147483647",
            });
        }
        Ok(())
    }

    // The index of `table`, if it is one of this schema and `key` may stand in it.
    pub(crate) fn position(&self, table: &Table, key: Option<Key<'_>>) -> Result<usize, StorageError> {
        let refuse = |why| Err(StorageError::Key { table: table.name, why });
        if self.tables.get(table.position).is_none_or(|known| known != table) {
            return refuse("the table is not in the schema that was opened");
        }
        match (table.key, key) {
            (KeyKind::U64, Some(Key::U64(number))) if number > MAX_NUMBER => {
                refuse("the number is above i64::MAX")
            }
            (KeyKind::U64, Some(Key::Bytes(_))) => refuse("its keys are numbers"),
            (KeyKind::Bytes, Some(Key::U64(_))) => refuse("its keys are bytes"),
            _ => Ok(table.position),
        }
    }
}

/// The key of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    /// For a table of `KeyKind::U64`; at most `i64::MAX`.
    U64(u64),
    /// For a table of `KeyKind::Bytes`.
    Bytes(&'a [u8]),
}

impl From<u64> for Key<'_> {
    fn from(number: u64) -> Self {
        Self::U64(number)
    }
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Key<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

/// The direction in which `range` visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the smallest key up.
    Ascending,
    /// From the largest key down.
    Descending,
}

/// A row of the view: one document as people see it, and what the fold needs to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document<'a> {
    /// Its number in this database, at most `i64::MAX`.
    pub number: u64,
    /// The number of its collection, at most `i64::MAX`.
    pub collection: u64,
    /// The text of its id, unique in the collection.
    pub id: &'a str,
    /// Deleted documents stay as rows: edits go on folding underneath. People do not see them.
    pub deleted: bool,
    /// The document as readable JSON text. It is stored as given.
    pub json: &'a str,
    /// Opaque to storage.
    pub state: &'a [u8],
}

impl Document<'_> {
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        number(self.number)?;
        number(self.collection).map(|_| ())
    }
}

// A document or collection number as a signed integer.
pub(crate) fn number(number: u64) -> Result<i64, StorageError> {
    let refused = StorageError::Key { table: "document", why: "the number is above i64::MAX" };
    i64::try_from(number).map_err(|_| refused)
}

pub(crate) const ID_TAKEN: StorageError =
    StorageError::Key { table: "document", why: "another number has this id in this collection" };

/// How a storage fails. A variant exists where callers act differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// A table or key that cannot be: a mistake of the caller. Nothing was written, and the transaction goes on.
    #[error("bad key for table {table}: {why}")]
    Key {
        /// The table it was meant for.
        table: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A write through a handle that was opened for reading.
    #[error("the database was opened for reading only; open it for writing")]
    ReadOnly,
    /// There is no database at this path.
    #[error("there is no database in {0}; create one first")]
    NotFound(String),
    /// There is a database already where one should be created.
    #[error("there is already a database in {0}; open it instead")]
    Exists(String),
    /// The folder for a new database holds something else.
    #[error("{0} holds other files; choose a new or an empty folder")]
    Occupied(String),
    /// Another process writes.
    #[error(
        "another process has the database open for writing ({0}); close it there, or wait, and try again"
    )]
    Locked(String),
    /// Written by a newer program. The file was not touched.
    #[error("the database has format {found}, and this program knows format {known}; use a newer driftless")]
    Newer {
        /// The version in the file.
        found: u32,
        /// The version of the schema that was asked for.
        known: u32,
    },
    /// Written by an older program, in a format that nothing here converts. The file was not touched.
    #[error("the database has format {found}, and this program knows format {known}; use an older driftless")]
    Older {
        /// The version in the file.
        found: u32,
        /// The version of the schema that was asked for.
        known: u32,
    },
    /// The bytes are not what was written, or never were a database of ours.
    #[error("the database is damaged: {0}; keep the file, and restore a copy or clone from a peer")]
    Damaged(String),
    /// The disk or the quota is full. What was committed before is whole.
    #[error("the disk is full; make room, then open the database again")]
    Full,
    /// The disk or the file system failed.
    #[error("storage failed: {0}; open the database again")]
    Io(String),
}

/// Stops or goes on; called once for each row of a range.
pub type RowVisitor<'v> = dyn FnMut(Key<'_>, &[u8]) -> ControlFlow<()> + 'v;
/// Stops or goes on; called once for each document of a scan.
pub type DocumentVisitor<'v> = dyn FnMut(&Document<'_>) -> ControlFlow<()> + 'v;

/// Tables, the view, and one transaction over both.
///
/// Reads take `&self`, see what this handle wrote, and may be made from inside a visitor. Writes open the transaction
/// when none is open. After an error other than `Key` on a write, `commit` or `refresh`, the handle answers nothing more
/// until `rollback` (`refresh` on a read-only handle) succeeds; the database above drops it instead.
pub trait Storage: Send {
    /// The value at `key`, or `None`.
    fn get(&self, table: &Table, key: Key<'_>) -> Result<Option<Vec<u8>>, StorageError>;

    /// Writes the value at `key`, replacing what is there.
    fn put(&mut self, table: &Table, key: Key<'_>, value: &[u8]) -> Result<(), StorageError>;

    /// Writes many rows of one table, as `put` does each. After an error it is unknown which of them were written.
    fn put_many(&mut self, table: &Table, rows: &[(Key<'_>, &[u8])]) -> Result<(), StorageError> {
        rows.iter().try_for_each(|(key, value)| self.put(table, *key, value))
    }

    /// Removes the row at `key` if there is one.
    fn remove(&mut self, table: &Table, key: Key<'_>) -> Result<(), StorageError>;

    /// Visits the rows between two keys in `order`, until the visitor breaks. Bounds that cross are an empty range.
    fn range(
        &self,
        table: &Table,
        from: Bound<Key<'_>>,
        to: Bound<Key<'_>>,
        order: Order,
        visit: &mut RowVisitor<'_>,
    ) -> Result<(), StorageError>;

    /// Says which space and name a collection number stands for. Only people and their SQL read it: a document is in
    /// the view that they see once its collection is declared.
    fn declare_collection(&mut self, number: u64, space: &str, name: &str) -> Result<(), StorageError>;

    /// Writes a document at its number, replacing what is there. An id that another number has is a `Key` error.
    fn upsert(&mut self, document: &Document<'_>) -> Result<(), StorageError>;

    /// Writes many documents whose numbers and ids are not there yet. After an error it is unknown which of them were
    /// written.
    fn insert_many(&mut self, documents: &[Document<'_>]) -> Result<(), StorageError> {
        documents.iter().try_for_each(|document| self.upsert(document))
    }

    /// Writes many documents, as `upsert` does each. After an error it is unknown which of them were written.
    fn upsert_many(&mut self, documents: &[Document<'_>]) -> Result<(), StorageError> {
        documents.iter().try_for_each(|document| self.upsert(document))
    }

    /// Removes the document with this number if there is one.
    fn remove_document(&mut self, number: u64) -> Result<(), StorageError>;

    /// Visits the document with this number; whether there is one.
    fn document(&self, number: u64, visit: &mut dyn FnMut(&Document<'_>)) -> Result<bool, StorageError>;

    /// Visits the document with this id in a collection; whether there is one.
    fn document_by_id(
        &self,
        collection: u64,
        id: &str,
        visit: &mut dyn FnMut(&Document<'_>),
    ) -> Result<bool, StorageError>;

    /// The same for many ids: the visitor is told which of them it is. Those that are not there are not visited.
    fn documents_by_id(
        &self,
        collection: u64,
        ids: &[&str],
        visit: &mut dyn FnMut(usize, &Document<'_>),
    ) -> Result<(), StorageError> {
        for (at, id) in ids.iter().enumerate() {
            self.document_by_id(collection, id, &mut |document| visit(at, document))?;
        }
        Ok(())
    }

    /// Visits the documents of a collection, deleted ones too, by ascending number above `after`, until the visitor
    /// breaks.
    fn scan(
        &self,
        collection: u64,
        after: Option<u64>,
        visit: &mut DocumentVisitor<'_>,
    ) -> Result<(), StorageError>;

    /// Begins the transaction now, so that reads before the first write belong to it and need no locks of their own.
    /// If never called, the first write begins it.
    fn begin(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Ends the transaction and keeps it: durable when this returns. Does nothing when nothing was written. After an
    /// error it is unknown which of the two happened; opening again shows all of the transaction or nothing.
    fn commit(&mut self) -> Result<(), StorageError>;

    /// Ends the transaction and undoes all of it.
    fn rollback(&mut self) -> Result<(), StorageError>;

    /// Moves a read-only handle to the newest committed state; whether that is another one. Until then all its reads
    /// are of one state. A handle that writes is always at the newest, so `false`.
    fn refresh(&mut self) -> Result<bool, StorageError>;

    /// Looks for damage below tables and rows, such as pages that do not hang together: each found is told as one
    /// sentence, about a hundred at most. If never implemented, there is nothing below to look at.
    fn check(&self, problem: &mut dyn FnMut(String)) -> Result<(), StorageError> {
        let _ = problem;
        Ok(())
    }

    /// Gives room on the disk back that nothing uses any more. Outside a transaction; does nothing inside one.
    fn shrink(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Bytes the database takes on disk, without its log of recent writes; 0 for one that is in memory.
    fn size(&self) -> Result<u64, StorageError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn table(position: usize, name: &'static str) -> Table {
        Table { position, name, key: KeyKind::U64 }
    }

    #[test]
    fn a_mistake_in_a_schema_is_told_when_it_is_opened() {
        const GOOD: Schema = Schema { version: 1, tables: &[table(0, "log"), table(1, "commit_2")] };
        assert_eq!(GOOD.check(), Ok(()));
        const BAD: [&[Table]; 6] = [
            &[table(1, "log")],
            &[table(0, "log"), table(1, "log")],
            &[table(0, "")],
            &[table(0, "Log\"")],
            &[table(0, "documents")],
            &[table(0, "sqlite_schema")],
        ];
        for tables in BAD {
            assert!(
                matches!(Schema { version: 1, tables }.check(), Err(StorageError::Key { .. })),
                "{tables:?}"
            );
        }
        for version in [0, u32::MAX] {
            assert!(Schema { version, ..GOOD }.check().is_err());
        }
    }
}
