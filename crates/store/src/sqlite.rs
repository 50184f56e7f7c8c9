//! The SQLite adapter: one file that anyone can open.
//!
//! **Layout.** Each table of the schema is a table of that name: `key INTEGER PRIMARY KEY, value BLOB`, or
//! `key BLOB PRIMARY KEY, value BLOB` without rowid. The view is `document (number, collection, id, deleted, json,
//! state)` and `collection (number, space, name)`; for people there is an SQL view `documents (space, collection, id,
//! json)` of what is not deleted. `application_id` is "drft", `user_version` the version of the schema.
//!
//! **Durability.** Write-ahead log, `synchronous=FULL`: `commit` returns after the log is flushed. One writer, guarded
//! above by `Folder::lock_writer`; readers hold a snapshot and never wait for the writer, nor it for them. A snapshot
//! held for long keeps the write-ahead log from starting over: refresh, or drop the handle.
//!
//! **What a crash leaves.** Every transaction whose `commit` returned, whole; of the one that was being committed all or
//! nothing. SQLite replays the log when the file is next opened. A new database is built in a draft beside it and
//! renamed into place, so the file is either absent or complete.
//!
//! **What is trusted.** Nothing: a file that is not ours, has other tables than its version says, holds values of
//! another type than we write, or a row whose checksum (`checksum`) is wrong is `Damaged`; triggers are off. Memory mapping is off too: through it a file that
//! somebody truncates would end the process with a signal instead of an error.

mod checksum;
mod copy;
mod open;
mod sql;

#[doc(hidden)]
pub use checksum::beneath_checksums;

use std::cell::Cell;
use std::ops::Bound;
use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, Params, Row, ToSql};

use crate::storage::{
    Document, DocumentVisitor, ID_TAKEN, Key, KeyKind, MAX_NUMBER, Order, RowVisitor, Schema, Storage,
    StorageError, Table, number,
};
use sql::TableSql;

/// How to open a database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Make a new one and write to it. Hold the writer lock of the folder.
    Create,
    /// Write to one that is there. Hold the writer lock of the folder.
    Open,
    /// Read one that is there, also while another process writes to it.
    Read,
}

/// What SQLite takes for the file system, how early its log is copied into the file, and how much of it is kept in memory.
#[doc(hidden)]
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// The name of a registered SQLite VFS. If left unset, that of the operating system.
    pub vfs: Option<String>,
    /// Pages of the write-ahead log after which it is copied. If left unset, what users have.
    pub checkpoint_pages: Option<u32>,
    /// The most memory that pages may take, in KiB. If left unset, 64 MiB, and up to 256 for a large file.
    pub cache_kib: Option<u32>,
}

/// A database in an SQLite file.
#[derive(Debug)]
pub struct SqliteStorage {
    connection: Connection,
    schema: Schema,
    tables: Vec<TableSql>,
    insert_many: String,
    phase: Cell<Phase>,
    // SQLite's counter of changes by other connections, as of our snapshot.
    seen: i64,
    // Rows are given as they are, whatever their checksums say.
    salvage: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    // Writes: no transaction.
    Idle,
    // Writes: in a transaction.
    Writing,
    // Reads only: in a transaction that holds the snapshot.
    Reading,
    // A write failed. SQLite may have undone the transaction by itself, so that the next write would stand alone in one
    // of its own: nothing more is answered until it is undone for certain.
    Failed { reader: bool },
}

// So many ids are asked for one by one.
const FEW: usize = 16;

// Ids that are asked for together, in their order: each with its place among them.
type Span<'i> = Vec<(&'i str, usize)>;

impl SqliteStorage {
    /// Opens the file at `path`. `Create` refuses a file that is there (`Exists`), the others one that is not
    /// (`NotFound`).
    pub fn open(path: impl AsRef<Path>, schema: &Schema, access: Access) -> Result<Self, StorageError> {
        Self::open_on(&Disk::default(), path, schema, access)
    }

    /// The same on another disk. `Create` makes the file itself on the disk of the operating system.
    #[doc(hidden)]
    pub fn open_on(
        disk: &Disk,
        path: impl AsRef<Path>,
        schema: &Schema,
        access: Access,
    ) -> Result<Self, StorageError> {
        let path = path.as_ref();
        schema.check()?;
        if access == Access::Create {
            open::create(path, schema)?;
        }
        Self::over(open::open(path, schema, access, disk)?, schema, access == Access::Read)
    }

    /// Opens a file for reading without asking whether it is whole, to save what can still be read from it. Whatever
    /// cannot be is `Damaged` when it is asked for.
    pub fn open_damaged(path: impl AsRef<Path>, schema: &Schema) -> Result<Self, StorageError> {
        schema.check()?;
        Ok(Self { salvage: true, ..Self::over(open::damaged(path.as_ref())?, schema, true)? })
    }

    // Ids between which there are so few others that all documents between them are read at once.
    fn span<'i>(&self, collection: i64, ids: &[&'i str]) -> Result<Option<Span<'i>>, StorageError> {
        if ids.len() < FEW {
            return Ok(None);
        }
        let mut span: Span<'i> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        span.sort_unstable();
        let (Some((first, _)), Some((last, _))) = (span.first(), span.last()) else { return Ok(None) };
        let most = ids.len() + ids.len() / 2;
        let limit = i64::try_from(most + 1).unwrap_or(i64::MAX);
        let mut counting = self.reading(sql::COUNT_BETWEEN)?;
        let between: i64 =
            counting.query_row((collection, first, last, limit), |row| row.get(0)).map_err(failure)?;
        Ok((between < limit).then_some(span))
    }

    fn documents_of_span(
        &self,
        collection: u64,
        numbered: i64,
        span: &Span<'_>,
        visit: &mut dyn FnMut(usize, &Document<'_>),
    ) -> Result<(), StorageError> {
        let (Some((first, _)), Some((last, _))) = (span.first(), span.last()) else { return Ok(()) };
        let mut statement = self.reading(sql::DOCUMENTS_BETWEEN)?;
        let mut rows = statement.query((numbered, first, last)).map_err(failure)?;
        let mut asked = span.iter().peekable();
        while let Some(row) = rows.next().map_err(failure)? {
            let id = row.get_ref(2).map_err(failure)?;
            let id = id.as_str().map_err(|_| misled())?;
            while asked.next_if(|(before, _)| *before < id).is_some() {}
            // What is damaged and was not asked for is nobody's business here.
            if asked.peek().is_none_or(|(next, _)| *next != id) {
                continue;
            }
            let mut look = |document: &Document<'_>| {
                while let Some((_, at)) = asked.next_if(|(id, _)| *id == document.id) {
                    visit(*at, document);
                }
                let is_between = document.collection == collection && document.id <= *last;
                is_between.then_some(()).ok_or_else(misled)
            };
            visit_document(row, &mut look).map_err(failure)???;
        }
        Ok(())
    }

    fn over(connection: Connection, schema: &Schema, reader: bool) -> Result<Self, StorageError> {
        connection.set_prepared_statement_cache_capacity(sql::statements(schema));
        let mut storage = Self {
            connection,
            schema: *schema,
            tables: schema.tables.iter().map(TableSql::new).collect(),
            insert_many: sql::insert_many(),
            phase: Cell::new(if reader { Phase::Reading } else { Phase::Idle }),
            seen: 0,
            salvage: false,
        };
        if reader {
            storage.seen = storage.data_version()?;
        }
        Ok(storage)
    }

    fn table(&self, table: &Table, key: Option<Key<'_>>) -> Result<&TableSql, StorageError> {
        let position = self.schema.position(table, key)?;
        self.tables.get(position).ok_or(StorageError::Key { table: table.name, why: "the table is not open" })
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, StorageError> {
        self.connection.prepare_cached(sql).map_err(failure)
    }

    // Every read starts here.
    fn reading(&self, sql: &str) -> Result<CachedStatement<'_>, StorageError> {
        if matches!(self.phase.get(), Phase::Failed { .. }) {
            return Err(given_up());
        }
        self.prepare(sql)
    }

    // Every write goes through here. It says how many rows were written.
    fn write(&self, sql: &str, params: impl Params) -> Result<usize, StorageError> {
        self.begin_writing()?;
        let written = self.prepare(sql).and_then(|mut statement| statement.execute(params).map_err(failure));
        written.inspect_err(|error| {
            // A refused key undoes its own statement only.
            if !matches!(error, StorageError::Key { .. }) {
                self.phase.set(Phase::Failed { reader: false });
            }
        })
    }

    fn begin_writing(&self) -> Result<(), StorageError> {
        match self.phase.get() {
            Phase::Writing => Ok(()),
            Phase::Reading => Err(StorageError::ReadOnly),
            Phase::Failed { .. } => Err(given_up()),
            Phase::Idle => {
                // IMMEDIATE: whoever else writes is met here, and not when there is something to lose.
                self.prepare(sql::BEGIN)?.execute([]).map_err(failure)?;
                self.phase.set(Phase::Writing);
                Ok(())
            }
        }
    }

    fn data_version(&self) -> Result<i64, StorageError> {
        self.number(sql::DATA_VERSION)
    }

    fn number(&self, sql: &str) -> Result<i64, StorageError> {
        self.prepare(sql)?.query_row([], |row| row.get(0)).map_err(failure)
    }

    fn snapshot(&self) -> Result<i64, StorageError> {
        if !self.connection.is_autocommit() {
            self.prepare(sql::ROLLBACK)?.execute([]).map_err(failure)?;
        }
        self.prepare(sql::BEGIN_READ)?.execute([]).map_err(failure)?;
        // The first read takes the snapshot, and this is one.
        self.data_version()
    }
}

impl Storage for SqliteStorage {
    fn get(&self, table: &Table, key: Key<'_>) -> Result<Option<Vec<u8>>, StorageError> {
        let mut statement = self.reading(&self.table(table, Some(key))?.get)?;
        let value = |row: &Row<'_>| {
            Ok(checksum::open(table.name, key, blob(row, 0)?, self.salvage).map(<[u8]>::to_vec))
        };
        statement.query_row([Bind(key)], value).optional().map_err(failure)?.transpose()
    }

    fn put(&mut self, table: &Table, key: Key<'_>, value: &[u8]) -> Result<(), StorageError> {
        let stored = checksum::seal(table.name, key, value);
        self.write(&self.table(table, Some(key))?.put, (Bind(key), stored)).map(|_| ())
    }

    fn put_many(&mut self, table: &Table, rows: &[(Key<'_>, &[u8])]) -> Result<(), StorageError> {
        let (many, rest) = rows.as_chunks::<{ sql::MANY }>();
        if !many.is_empty() {
            for (key, _) in rows {
                self.schema.position(table, Some(*key))?;
            }
            self.begin_writing()?;
            let mut statement = self.prepare(&self.table(table, None)?.put_many)?;
            for rows in many {
                let mut write = || {
                    for (n, (key, value)) in rows.iter().enumerate() {
                        statement.raw_bind_parameter(2 * n + 1, Bind(*key))?;
                        statement.raw_bind_parameter(2 * n + 2, checksum::seal(table.name, *key, value))?;
                    }
                    statement.raw_execute()
                };
                write().map_err(failure).inspect_err(|_| self.phase.set(Phase::Failed { reader: false }))?;
            }
        }
        rest.iter().try_for_each(|(key, value)| self.put(table, *key, value))
    }

    fn remove(&mut self, table: &Table, key: Key<'_>) -> Result<(), StorageError> {
        self.write(&self.table(table, Some(key))?.remove, [Bind(key)]).map(|_| ())
    }

    fn range(
        &self,
        table: &Table,
        from: Bound<Key<'_>>,
        to: Bound<Key<'_>>,
        order: Order,
        visit: &mut RowVisitor<'_>,
    ) -> Result<(), StorageError> {
        let sql = self.table(table, inner(from))?;
        self.table(table, inner(to))?;
        match table.key {
            KeyKind::U64 => {
                let Some((first, last)) = numbers(from, to) else { return Ok(()) };
                let mut statement = self.reading(sql.range(order, true))?;
                let mut rows = statement.query([first, last]).map_err(failure)?;
                while let Some(row) = rows.next().map_err(failure)? {
                    let key = Key::U64(unsigned(row, 0).map_err(failure)?);
                    let value = blob(row, 1).map_err(failure)?;
                    if visit(key, checksum::open(table.name, key, value, self.salvage)?).is_break() {
                        break;
                    }
                }
            }
            KeyKind::Bytes => {
                let (first, end) = (first_key(from), end_key(to));
                let mut statement = self.reading(sql.range(order, end.is_some()))?;
                let mut rows = match end {
                    Some(end) => statement.query([first, end]),
                    None => statement.query([first]),
                }
                .map_err(failure)?;
                while let Some(row) = rows.next().map_err(failure)? {
                    let key = Key::Bytes(blob(row, 0).map_err(failure)?);
                    let value = blob(row, 1).map_err(failure)?;
                    if visit(key, checksum::open(table.name, key, value, self.salvage)?).is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn declare_collection(&mut self, collection: u64, space: &str, name: &str) -> Result<(), StorageError> {
        self.write(sql::DECLARE_COLLECTION, (number(collection)?, space, name)).map(|_| ())
    }

    fn upsert(&mut self, document: &Document<'_>) -> Result<(), StorageError> {
        self.upsert_many(std::slice::from_ref(document))
    }

    fn upsert_many(&mut self, documents: &[Document<'_>]) -> Result<(), StorageError> {
        documents.iter().try_for_each(Document::check)?;
        if documents.is_empty() {
            return Ok(());
        }
        self.begin_writing()?;
        let mut upsert = self.prepare(sql::UPSERT_DOCUMENT)?;
        let mut state = Vec::new();
        for document in documents {
            checksum::seal_document_into(document, &mut state);
            let mut written = upsert.execute(bound(document, &state)).map_err(failure);
            if matches!(written, Ok(0)) {
                // Rare: the number is there with another id. The usual statement leaves the two indexes alone.
                let mut moved = self.prepare(sql::MOVE_DOCUMENT)?;
                written = moved.execute(bound(document, &state)).map_err(failure);
            }
            if let Err(error) = written {
                // A refused key undoes its own statement only.
                if !matches!(error, StorageError::Key { .. }) {
                    self.phase.set(Phase::Failed { reader: false });
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn insert_many(&mut self, documents: &[Document<'_>]) -> Result<(), StorageError> {
        let (many, rest) = documents.as_chunks::<{ sql::MANY }>();
        if !many.is_empty() {
            documents.iter().try_for_each(Document::check)?;
            self.begin_writing()?;
            let mut statement = self.prepare(&self.insert_many)?;
            let mut state = Vec::new();
            for documents in many {
                let mut write = || {
                    for (n, document) in documents.iter().enumerate() {
                        let first = 6 * n;
                        statement.raw_bind_parameter(first + 1, document.number.cast_signed())?;
                        statement.raw_bind_parameter(first + 2, document.collection.cast_signed())?;
                        statement.raw_bind_parameter(first + 3, document.id)?;
                        statement.raw_bind_parameter(first + 4, document.deleted)?;
                        statement.raw_bind_parameter(first + 5, document.json)?;
                        checksum::seal_document_into(document, &mut state);
                        statement.raw_bind_parameter(first + 6, &state[..])?;
                    }
                    statement.raw_execute()
                };
                // FAIL leaves what was written before: the transaction has to be undone.
                write().map_err(failure).inspect_err(|_| self.phase.set(Phase::Failed { reader: false }))?;
            }
        }
        rest.iter().try_for_each(|document| self.upsert(document))
    }

    fn remove_document(&mut self, document: u64) -> Result<(), StorageError> {
        self.write(sql::REMOVE_DOCUMENT, [number(document)?]).map(|_| ())
    }

    fn document(&self, document: u64, visit: &mut dyn FnMut(&Document<'_>)) -> Result<bool, StorageError> {
        let mut statement = self.reading(sql::DOCUMENT)?;
        let visited = statement.query_row([number(document)?], |row| visit_document(row, visit));
        visited.optional().map_err(failure)?.transpose().map(|found| found.is_some())
    }

    fn document_by_id(
        &self,
        collection: u64,
        id: &str,
        visit: &mut dyn FnMut(&Document<'_>),
    ) -> Result<bool, StorageError> {
        let mut statement = self.reading(sql::DOCUMENT_BY_ID)?;
        // An index that is damaged leads to the row of another document, which is sound in itself.
        let mut is_asked = false;
        let mut look = |document: &Document<'_>| {
            is_asked = document.collection == collection && document.id == id;
            if is_asked {
                visit(document);
            }
        };
        let visited = statement.query_row((number(collection)?, id), |row| visit_document(row, &mut look));
        let visited = visited.map(|found| found.and_then(|()| if is_asked { Ok(()) } else { Err(misled()) }));
        visited.optional().map_err(failure)?.transpose().map(|found| found.is_some())
    }

    fn documents_by_id(
        &self,
        collection: u64,
        ids: &[&str],
        visit: &mut dyn FnMut(usize, &Document<'_>),
    ) -> Result<(), StorageError> {
        let numbered = number(collection)?;
        if let Some(span) = self.span(numbered, ids)? {
            return self.documents_of_span(collection, numbered, &span, visit);
        }
        let mut statement = self.reading(sql::DOCUMENT_BY_ID)?;
        for (at, id) in ids.iter().enumerate() {
            let mut rows = statement.query((numbered, id)).map_err(failure)?;
            let Some(row) = rows.next().map_err(failure)? else { continue };
            let mut look = |document: &Document<'_>| {
                let is_asked = document.collection == collection && document.id == *id;
                if is_asked {
                    visit(at, document);
                }
                is_asked.then_some(()).ok_or_else(misled)
            };
            visit_document(row, &mut look).map_err(failure)???;
        }
        Ok(())
    }

    fn scan(
        &self,
        collection: u64,
        after: Option<u64>,
        visit: &mut DocumentVisitor<'_>,
    ) -> Result<(), StorageError> {
        let mut last = after;
        let after = after.map_or(Ok(-1), number)?;
        let mut statement = self.reading(sql::SCAN)?;
        let mut rows = statement.query([number(collection)?, after]).map_err(failure)?;
        while let Some(row) = rows.next().map_err(failure)? {
            let mut look = |document: &Document<'_>| {
                let is_asked =
                    document.collection == collection && last.is_none_or(|last| last < document.number);
                last = Some(document.number);
                is_asked.then(|| visit(document)).ok_or_else(misled)
            };
            if visit_document(row, &mut look).map_err(failure)???.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StorageError> {
        self.begin_writing()
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        match self.phase.get() {
            Phase::Idle | Phase::Reading => Ok(()),
            Phase::Failed { .. } => Err(given_up()),
            Phase::Writing => {
                let ended = self
                    .prepare(sql::COMMIT)
                    .and_then(|mut statement| statement.execute([]).map_err(failure));
                self.phase.set(if ended.is_ok() { Phase::Idle } else { Phase::Failed { reader: false } });
                ended.map(|_| ())
            }
        }
    }

    fn rollback(&mut self) -> Result<(), StorageError> {
        match self.phase.get() {
            Phase::Idle | Phase::Reading | Phase::Failed { reader: true } => return Ok(()),
            Phase::Writing | Phase::Failed { reader: false } => {}
        }
        self.phase.set(Phase::Failed { reader: false });
        // After some errors SQLite has rolled back by itself.
        if !self.connection.is_autocommit() {
            self.prepare(sql::ROLLBACK)?.execute([]).map_err(failure)?;
        }
        self.phase.set(Phase::Idle);
        Ok(())
    }

    fn refresh(&mut self) -> Result<bool, StorageError> {
        match self.phase.get() {
            Phase::Idle | Phase::Writing => return Ok(false),
            Phase::Failed { reader: false } => return Err(given_up()),
            Phase::Reading | Phase::Failed { reader: true } => {}
        }
        self.phase.set(Phase::Failed { reader: true });
        let version = self.snapshot()?;
        self.phase.set(Phase::Reading);
        Ok(std::mem::replace(&mut self.seen, version) != version)
    }

    fn check(&self, problem: &mut dyn FnMut(String)) -> Result<(), StorageError> {
        let mut statement = self.reading(sql::CHECK)?;
        let mut rows = statement.query([]).map_err(failure)?;
        loop {
            match rows.next() {
                Ok(None) => return Ok(()),
                Ok(Some(row)) => {
                    let line: String = row.get(0).map_err(failure)?;
                    if line != "ok" {
                        problem(line.replace('\n', "; "));
                    }
                }
                // What it cannot even walk over is damage too.
                Err(error) => match failure(error) {
                    StorageError::Damaged(what) => {
                        problem(what);
                        return Ok(());
                    }
                    other => return Err(other),
                },
            }
        }
    }

    fn shrink(&mut self) -> Result<(), StorageError> {
        if self.phase.get() != Phase::Idle {
            return Ok(());
        }
        // A bit at a time, each a transaction of its own: pages from the end of the file move to where there is room.
        while self.number(sql::FREE_PAGES)? > 0 {
            let before = self.number(sql::FREE_PAGES)?;
            let mut statement = self.prepare(sql::GIVE_BACK)?;
            let mut steps = statement.query([]).map_err(failure)?;
            while steps.next().map_err(failure)?.is_some() {}
            if self.number(sql::FREE_PAGES)? >= before {
                break;
            }
        }
        // Only now does the file itself end earlier. A reader may hinder that; then the next one does it.
        self.prepare(sql::CHECKPOINT)?.query_row([], |_| Ok(())).map_err(failure)
    }

    fn size(&self) -> Result<u64, StorageError> {
        self.reading(sql::SIZE)?.query_row([], |row| unsigned(row, 0)).map_err(failure)
    }
}

// A key as a parameter. The schema has checked its range.
struct Bind<'a>(Key<'a>);

impl ToSql for Bind<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self.0 {
            Key::U64(key) => match i64::try_from(key) {
                Ok(key) => Ok(ToSqlOutput::from(key)),
                Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
            },
            Key::Bytes(bytes) => Ok(ToSqlOutput::Borrowed(ValueRef::Blob(bytes))),
        }
    }
}

fn inner(bound: Bound<Key<'_>>) -> Option<Key<'_>> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

// The first and the last number of a range, both included; `None` if nothing can be between its bounds. The kind of the
// keys has been checked.
fn numbers(from: Bound<Key<'_>>, to: Bound<Key<'_>>) -> Option<(i64, i64)> {
    let first = match from {
        Bound::Included(Key::U64(number)) => number,
        Bound::Excluded(Key::U64(number)) => number.checked_add(1)?,
        _ => 0,
    };
    let last = match to {
        Bound::Included(Key::U64(number)) => number,
        Bound::Excluded(Key::U64(number)) => number.checked_sub(1)?,
        _ => MAX_NUMBER,
    };
    if first > last { None } else { Some((first.try_into().ok()?, last.try_into().ok()?)) }
}

// The smallest key of a range of bytes. The key right after another is that key and a zero byte.
fn first_key(from: Bound<Key<'_>>) -> Vec<u8> {
    match from {
        Bound::Included(Key::Bytes(key)) => key.to_vec(),
        Bound::Excluded(Key::Bytes(key)) => [key, &[0]].concat(),
        _ => Vec::new(),
    }
}

// The smallest key after a range of bytes, if it ends.
fn end_key(to: Bound<Key<'_>>) -> Option<Vec<u8>> {
    match to {
        Bound::Included(Key::Bytes(key)) => Some([key, &[0]].concat()),
        Bound::Excluded(Key::Bytes(key)) => Some(key.to_vec()),
        _ => None,
    }
}

fn blob<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number = row.get_ref(column)?.as_i64()?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

// The parameters of a document; numbers that were checked. `state` with its checksum.
fn bound<'a>(document: &Document<'a>, state: &'a [u8]) -> (i64, i64, &'a str, bool, &'a str, &'a [u8]) {
    let Document { number, collection, id, deleted, json, .. } = *document;
    (number.cast_signed(), collection.cast_signed(), id, deleted, json, state)
}

// Columns in the order of `sql`'s selects.
fn visit_document<T>(
    row: &Row<'_>,
    visit: &mut (impl FnMut(&Document<'_>) -> T + ?Sized),
) -> rusqlite::Result<Result<T, StorageError>> {
    let stored = Document {
        number: unsigned(row, 0)?,
        collection: unsigned(row, 1)?,
        id: row.get_ref(2)?.as_str()?,
        deleted: row.get(3)?,
        json: row.get_ref(4)?.as_str()?,
        state: blob(row, 5)?,
    };
    Ok(checksum::open_document(stored).map(|document| visit(&document)))
}

fn misled() -> StorageError {
    StorageError::Damaged("an index of the documents leads to another document".into())
}

fn given_up() -> StorageError {
    StorageError::Io("an earlier write of this transaction failed".into())
}

// What an error of SQLite means to a caller.
fn failure(error: rusqlite::Error) -> StorageError {
    use rusqlite::Error as E;
    let code = error.sqlite_error_code();
    match (&error, code) {
        (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) => {
            StorageError::Damaged(error.to_string())
        }
        (_, Some(ErrorCode::DiskFull)) => StorageError::Full,
        (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
            StorageError::Locked("its file is locked".into())
        }
        // The one constraint that a caller can run into: everything else is bound with the right type.
        (_, Some(ErrorCode::ConstraintViolation)) => ID_TAKEN,
        // A value of another type than we write, or a table that somebody took away.
        (
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..)
            | E::SqlInputError { .. },
            _,
        ) => StorageError::Damaged(error.to_string()),
        _ => StorageError::Io(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: Table = Table { position: 0, name: "rows", key: KeyKind::U64 };
    const SCHEMA: Schema = Schema { version: 1, tables: &[ROWS] };

    // A largest number of pages stands in for a full disk: SQLite answers both with the same error.
    #[test]
    fn a_full_disk_is_said_and_nothing_of_the_transaction_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("test.sqlite");
        let mut storage = SqliteStorage::open(&path, &SCHEMA, Access::Create).unwrap();
        storage.put(&ROWS, 1.into(), b"kept").unwrap();
        storage.commit().unwrap();
        storage.connection.pragma(None, "max_page_count", 20, |_| Ok(())).unwrap();
        let error = (2..100u64).find_map(|key| storage.put(&ROWS, key.into(), &[0; 4000]).err());
        assert_eq!(error, Some(StorageError::Full));
        // Now it would be a transaction of its own, and look committed with the rest.
        assert!(storage.put(&ROWS, 200.into(), b"alone").is_err());
        assert!(storage.commit().is_err());
        assert!(storage.get(&ROWS, 1.into()).is_err());
        storage.rollback().unwrap();
        let rows = |storage: &SqliteStorage| {
            let mut rows = Vec::new();
            let mut visit = |key: Key<'_>, value: &[u8]| {
                rows.push((key == Key::U64(1), value.to_vec()));
                std::ops::ControlFlow::Continue(())
            };
            storage.range(&ROWS, Bound::Unbounded, Bound::Unbounded, Order::Ascending, &mut visit).unwrap();
            rows
        };
        assert_eq!(rows(&storage), [(true, b"kept".to_vec())]);
        drop(storage);
        let storage = SqliteStorage::open(&path, &SCHEMA, Access::Open).unwrap();
        assert_eq!(rows(&storage), [(true, b"kept".to_vec())]);
    }

    // An index that is not used is a scan that sorts, or that reads every other collection.
    #[test]
    fn no_question_makes_sqlite_sort_or_read_a_whole_table() {
        let home = tempfile::tempdir().unwrap();
        let storage = SqliteStorage::open(home.path().join("test.sqlite"), &SCHEMA, Access::Create).unwrap();
        let rows = &storage.tables[0];
        for question in [
            sql::SCAN,
            sql::DOCUMENT,
            sql::DOCUMENT_BY_ID,
            &rows.get,
            rows.range(Order::Ascending, true),
            rows.range(Order::Descending, true),
        ] {
            let mut plan = storage.connection.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
            let unbound = rusqlite::params_from_iter(vec![0i64; plan.parameter_count()]);
            let steps = plan.query_map(unbound, |row| row.get::<_, String>(3)).unwrap();
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            assert!(steps.len() == 1 && steps[0].starts_with("SEARCH"), "{question}: {steps:?}");
        }
    }
}
