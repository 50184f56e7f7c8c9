//! Capture in the application's own process: a connection of the application's whose every change of a row is seen by
//! SQLite's pre-update hook, also one that no trigger sees. It writes the same notes as the triggers (`capture`), into the
//! same transaction, and none that a trigger has written already.
//!
//! A hook must not write. So what it saw is written down after each statement, and before a transaction ends; one in which
//! something is not written down cannot be committed. A note too many is harmless (`flush` reads the row), one too few is not.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftless::Value;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{Action, PreUpdateCase, PreUpdateNewValueAccessor, PreUpdateOldValueAccessor};
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, Params};

use crate::capture::installed_on;
use crate::cell;
use crate::error::Error;
use crate::file::{bind_from, listed, now_ms, parameter};
use crate::ledger::{self, DELETED, INSERTED, UPDATED};
use crate::schema::{MAX_KEY_COLUMNS, quoted};

const PENDING: &str = "driftless_pending";
// Notes are written through a view of this connection alone, so that `last_insert_rowid()` stays the application's.
const NOTE: &str = "driftless_note";
const ALONE: &str = "driftless_alone";

/// A connection of the application to a file under sync that captures what is written through it, with SQLite's pre-update
/// hook. It sees what triggers cannot: rows that `REPLACE` takes away, and BLOBs that are written in place.
///
/// ```
/// # use driftless::Database;
/// # use driftless_rows::{Captured, Options, Rows};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("shop.db");
/// # let database = Database::memory()?;
/// let mut shop = Captured::open(&path)?;
/// shop.execute_batch("CREATE TABLE article(id TEXT PRIMARY KEY, name TEXT UNIQUE, price REAL)")?;
/// let mut rows = Rows::attach(&path, &database.create_space("catalogue")?, Options::default())?;
///
/// let sale = shop.transaction()?;
/// sale.execute("INSERT INTO article VALUES('m', 'milk', ?1)", [1.2])?;
/// // Takes the row `m` away, which no trigger is told.
/// sale.execute("REPLACE INTO article VALUES('w', 'milk', ?1)", [1.3])?;
/// sale.commit()?;
/// assert_eq!(rows.sync()?.flushed.rows, 1);
/// # Ok(())
/// # }
/// ```
///
/// Everything that rusqlite offers can be used. But a statement that is not run by `execute`, `execute_batch` or a
/// `transaction` of this type, and writes outside a transaction what no trigger notes, fails, and nothing is written. That a
/// file was attached, or has other tables, is noticed by the next of these calls. The hook is one for each connection: a
/// session of SQLite's on the same one takes its place.
#[derive(Debug)]
pub struct Captured {
    connection: Connection,
    seen: Arc<Mutex<Seen>>,
}

/// A transaction of a connection that captures. Dropped without `commit`, it is rolled back.
#[derive(Debug)]
pub struct CapturedTransaction<'c> {
    captured: &'c Captured,
}

// What the hook knows, and what it saw that is not written down.
#[derive(Debug, Default)]
struct Seen {
    /// The schema of the file that `tables` was read with.
    version: Option<i64>,
    tables: HashMap<String, Keyed>,
    changes: Vec<Change>,
    /// What is written now are notes.
    writing: bool,
    /// A key could not be read: then the transaction must not be committed.
    failed: Option<String>,
}

// A table under sync: its number, and which of its columns are the key.
#[derive(Debug)]
struct Keyed {
    number: i64,
    key: Vec<i32>,
    /// The columns of the key with their table, in quotes, and the table.
    names: Vec<String>,
    quoted: String,
}

#[derive(Debug)]
struct Change {
    table: i64,
    op: i64,
    at: i64,
    key: Vec<Value>,
}

impl Captured {
    /// Opens a file, as rusqlite does. Whether it is under sync already does not matter.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::new(Connection::open(path)?)
    }

    /// Captures what is written through a connection from now on. Its hooks for commits and rollbacks are ours.
    pub fn new(mut connection: Connection) -> Result<Self, Error> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let here = Arc::clone(&seen);
        connection.preupdate_hook(Some(
            move |_: Action, schema: &str, table: &str, case: &PreUpdateCase| {
                lock(&here).note(schema, table, case);
            },
        ))?;
        let here = Arc::clone(&seen);
        connection.commit_hook(Some(move || {
            let seen = lock(&here);
            seen.failed.is_some() || !seen.changes.is_empty()
        }))?;
        let here = Arc::clone(&seen);
        connection.rollback_hook(Some(move || {
            let mut seen = lock(&here);
            seen.changes.clear();
            seen.failed = None;
        }))?;
        let captured = Self { connection, seen };
        captured.refresh()?;
        Ok(captured)
    }

    /// Runs one statement, and tells how many rows it changed.
    pub fn execute<P: Params>(&self, sql: &str, parameters: P) -> Result<usize, Error> {
        self.run(sql, || Ok(self.connection.execute(sql, parameters)?))
    }

    /// Runs statements one after the other, also such as begin and end transactions.
    pub fn execute_batch(&self, sql: &str) -> Result<(), Error> {
        let mut batch = Batch::new(&self.connection, sql);
        while let Some(mut statement) = batch.next()? {
            let sql = statement.expanded_sql().unwrap_or_default();
            self.run(&sql, || {
                let mut rows = statement.raw_query();
                while rows.next()?.is_some() {}
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Begins a transaction.
    pub fn transaction(&mut self) -> Result<CapturedTransaction<'_>, Error> {
        self.refresh()?;
        self.connection.execute_batch("BEGIN")?;
        Ok(CapturedTransaction { captured: self })
    }

    /// Captures no more, and gives the connection back.
    pub fn into_inner(self) -> Result<Connection, Error> {
        self.note_down()?;
        let mut connection = self.connection;
        connection.preupdate_hook(None::<fn(Action, &str, &str, &PreUpdateCase)>)?;
        connection.commit_hook(None::<fn() -> bool>)?;
        connection.rollback_hook(None::<fn()>)?;
        Ok(connection)
    }

    // Runs a statement and writes down what it changed, in one transaction, be it the statement's own.
    fn run<T>(&self, sql: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.note_down()?;
        self.refresh()?;
        let alone = self.connection.is_autocommit() && writes(sql);
        if alone {
            self.connection.execute_batch(&format!("SAVEPOINT {ALONE}"))?;
        }
        let done = work().and_then(|done| {
            self.note_down()?;
            if alone {
                self.connection.execute_batch(&format!("RELEASE {ALONE}"))?;
            }
            Ok(done)
        });
        if alone && done.is_err() && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        done
    }

    // Learns which tables are under sync, if the schema of the file is another than the last time.
    fn refresh(&self) -> Result<(), Error> {
        let file = &self.connection;
        let version: i64 = file.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))?;
        if lock(&self.seen).version == Some(version) {
            return Ok(());
        }
        let mut tables = HashMap::new();
        let attached = ledger::is_attached(file)?;
        if attached {
            for (number, name, ..) in listed(file)? {
                let name = installed_on(file, number)?.unwrap_or(name);
                let mut key = file.prepare_cached(
                    "SELECT cid, name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk",
                )?;
                let key = key.query_map([&name], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
                let key = key.collect::<Result<Vec<(i32, String)>, _>>()?;
                let of = quoted(&name);
                let (key, names) =
                    key.into_iter().map(|(at, name)| (at, format!("{of}.{}", quoted(&name)))).unzip();
                let keyed = Keyed { number, key, names, quoted: of };
                tables.insert(name, keyed);
            }
        }
        // A trigger on a table that is gone would be in the way of the application's own changes of the schema.
        file.execute_batch(&if attached { note_view() } else { format!("DROP VIEW IF EXISTS temp.{NOTE}") })?;
        let mut seen = lock(&self.seen);
        seen.tables = tables;
        // What is made in a transaction may be gone with it.
        seen.version = Some(version).filter(|_| file.is_autocommit());
        Ok(())
    }

    // Writes down what the hook saw.
    fn note_down(&self) -> Result<(), Error> {
        let changes = {
            let mut seen = lock(&self.seen);
            if let Some(why) = &seen.failed {
                return Err(Error::Invalid(format!("a change could not be captured: {why}; roll it back")));
            }
            if seen.changes.is_empty() {
                return Ok(());
            }
            seen.writing = true;
            std::mem::take(&mut seen.changes)
        };
        let written = self.write_all(&changes);
        let mut seen = lock(&self.seen);
        seen.writing = false;
        if written.is_err() {
            seen.changes = changes;
        }
        written
    }

    fn write_all(&self, changes: &[Change]) -> Result<(), Error> {
        for Change { table, op, at, key } in changes {
            let mut cells: Vec<String> = (1..=3).map(|n| format!("?{n}")).collect();
            cells.extend(key.iter().enumerate().map(|(n, cell)| parameter(n + 4, cell)));
            cells.resize(3 + MAX_KEY_COLUMNS, "NULL".into());
            let mut write = self
                .connection
                .prepare_cached(&format!("INSERT INTO temp.{NOTE} VALUES({})", cells.join(", ")))?;
            // A row that is there was not deleted but replaced, or a BLOB of it was written to: its values are read again.
            let op = if *op == DELETED && self.is_there(*table, key)? { UPDATED } else { *op };
            write.raw_bind_parameter(1, table)?;
            write.raw_bind_parameter(2, op)?;
            write.raw_bind_parameter(3, at)?;
            bind_from(&mut write, 3, key)?;
            write.raw_execute()?;
        }
        Ok(())
    }

    fn is_there(&self, table: i64, key: &[Value]) -> Result<bool, Error> {
        let query = {
            let seen = lock(&self.seen);
            let Some(keyed) = seen.tables.values().find(|keyed| keyed.number == table) else {
                return Ok(false);
            };
            let names = keyed.names.iter().zip(key).enumerate();
            let cells = names.map(|(n, (name, cell))| format!("{name} IS {}", parameter(n + 1, cell)));
            let cells: Vec<String> = cells.collect();
            format!("SELECT 1 FROM {} WHERE {}", keyed.quoted, cells.join(" AND "))
        };
        let mut statement = self.connection.prepare_cached(&query)?;
        bind_from(&mut statement, 0, key)?;
        Ok(statement.raw_query().next()?.is_some())
    }
}

impl Deref for Captured {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl CapturedTransaction<'_> {
    /// Ends the transaction; what it changed and the notes of that are in the file, or nothing is.
    pub fn commit(self) -> Result<(), Error> {
        self.captured.note_down()?;
        Ok(self.captured.connection.execute_batch("COMMIT")?)
    }

    /// Ends the transaction, as if it had never been.
    pub fn rollback(self) -> Result<(), Error> {
        Ok(self.captured.connection.execute_batch("ROLLBACK")?)
    }
}

impl Deref for CapturedTransaction<'_> {
    type Target = Captured;

    fn deref(&self) -> &Captured {
        self.captured
    }
}

impl Drop for CapturedTransaction<'_> {
    fn drop(&mut self) {
        if !self.captured.connection.is_autocommit() {
            // Nobody is there to be told; the connection says it with the next statement.
            let _ = self.captured.connection.execute_batch("ROLLBACK");
        }
    }
}

impl Seen {
    fn note(&mut self, schema: &str, table: &str, case: &PreUpdateCase) {
        if self.writing || schema != "main" {
            return;
        }
        let noted = match case {
            PreUpdateCase::Insert(new) if table == PENDING => self.is_noted(new),
            case => self.see(table, case),
        };
        if let Err(error) = noted {
            self.failed = Some(error.to_string());
        }
    }

    fn see(&mut self, table: &str, case: &PreUpdateCase) -> rusqlite::Result<()> {
        let Some(keyed) = self.tables.get(table) else { return Ok(()) };
        let (number, at) = (keyed.number, now_ms());
        let change = |op, key| Change { table: number, op, at, key };
        let more = match case {
            PreUpdateCase::Insert(new) => [Some(change(INSERTED, keyed.new_key(new)?)), None],
            PreUpdateCase::Delete(old) => [Some(change(DELETED, keyed.old_key(old)?)), None],
            PreUpdateCase::Update { old_value_accessor, new_value_accessor } => {
                let (before, after) =
                    (keyed.old_key(old_value_accessor)?, keyed.new_key(new_value_accessor)?);
                let moved = (before != after).then(|| change(DELETED, before));
                [Some(change(UPDATED, after)), moved]
            }
            PreUpdateCase::Unknown => [None, None],
        };
        self.changes.extend(more.into_iter().flatten());
        Ok(())
    }

    // A trigger has written a note: what was seen of that is settled.
    fn is_noted(&mut self, note: &PreUpdateNewValueAccessor) -> rusqlite::Result<()> {
        let table = note.get_new_column_value(1)?.as_i64().unwrap_or_default();
        let op = note.get_new_column_value(2)?.as_i64().unwrap_or_default();
        let mut key = Vec::with_capacity(MAX_KEY_COLUMNS);
        for at in 4..4 + MAX_KEY_COLUMNS {
            key.push(cell::read(note.get_new_column_value(i32::try_from(at).unwrap_or_default())?));
        }
        let same = self.changes.iter().rposition(|change| {
            change.table == table && change.op == op && change.key.iter().zip(&key).all(|(a, b)| a == b)
        });
        if let Some(same) = same {
            self.changes.remove(same);
        }
        Ok(())
    }
}

impl Keyed {
    fn new_key(&self, new: &PreUpdateNewValueAccessor) -> rusqlite::Result<Vec<Value>> {
        self.cells(|at| new.get_new_column_value(at))
    }

    fn old_key(&self, old: &PreUpdateOldValueAccessor) -> rusqlite::Result<Vec<Value>> {
        self.cells(|at| old.get_old_column_value(at))
    }

    fn cells<'v>(
        &self,
        cell: impl Fn(i32) -> rusqlite::Result<ValueRef<'v>>,
    ) -> rusqlite::Result<Vec<Value>> {
        self.key.iter().map(|at| Ok(cell::read(cell(*at)?))).collect()
    }
}

// The hook runs within a statement of this connection, and never while one of ours holds this.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note_view() -> String {
    let keys: Vec<String> = (1..=MAX_KEY_COLUMNS).map(|n| format!("k{n}")).collect();
    let (nulls, new): (Vec<String>, Vec<String>) =
        keys.iter().map(|key| (format!("NULL AS {key}"), format!("NEW.{key}"))).unzip();
    format!(
        "CREATE TEMP VIEW IF NOT EXISTS {NOTE} AS SELECT 0 AS tbl, 0 AS op, 0 AS at, {};
         CREATE TEMP TRIGGER IF NOT EXISTS {NOTE}_down INSTEAD OF INSERT ON {NOTE} BEGIN
           INSERT INTO {PENDING}(tbl, op, at, {}) VALUES(NEW.tbl, NEW.op, NEW.at, {}); END;",
        nulls.join(", "),
        keys.join(", "),
        new.join(", ")
    )
}

// Whether a statement changes rows, so that it needs a transaction with room for notes. Others may not run within one.
fn writes(sql: &str) -> bool {
    let mut rest = sql.trim_start();
    loop {
        let skipped = match rest {
            comment if comment.starts_with("--") => comment.split_once('\n').map(|(_, rest)| rest),
            comment if comment.starts_with("/*") => comment.split_once("*/").map(|(_, rest)| rest),
            _ => break,
        };
        rest = skipped.unwrap_or_default().trim_start();
    }
    let word = rest.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    ["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"].iter().any(|write| word.eq_ignore_ascii_case(write))
}

#[cfg(test)]
mod tests {
    use super::writes;

    #[test]
    fn statements_that_change_rows_are_told_from_others() {
        for sql in [
            "insert into t values(1)",
            " -- why\n/* how */ Update t set a = 1",
            "WITH x AS (SELECT 1) DELETE FROM t",
        ] {
            assert!(writes(sql), "{sql}");
        }
        for sql in
            ["", "--", "/*", "BEGIN", "COMMIT", "VACUUM", "PRAGMA user_version = 1", "SELECT 1", "insertion"]
        {
            assert!(!writes(sql), "{sql}");
        }
    }
}
