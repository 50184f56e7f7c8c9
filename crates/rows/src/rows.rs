//! The handle: a SQLite file and a space that say the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use driftless::{Database, Progress, Space, SpaceId};
use serde::{Deserialize, Serialize};

use crate::alone::Alone;
use crate::apply::Applied;
use crate::attach::{self, LeftOut};
use crate::error::Error;
use crate::file::{File, connect};
use crate::flush::Flushed;
use crate::ledger;
use crate::options::Options;
use crate::reconcile::Reconciler;
use crate::waiting::{LostValue, RefusedRow, WaitingRow};

/// A file under sync.
pub struct Rows {
    file: File,
    left_out: Vec<LeftOut>,
    was_attached: bool,
}

/// What one exchange between a file and its space did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// From the file to the space.
    pub flushed: Flushed,
    /// From the space to the file.
    pub applied: Applied,
}

/// How a file stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Its path.
    pub file: PathBuf,
    /// The space.
    pub space: SpaceId,
    /// The tables under sync, and the collections they are.
    pub tables: Vec<TableStatus>,
    /// Changes that were captured and are not in the space yet.
    pub pending: u64,
    /// Documents that are no rows here.
    pub waiting: u64,
    /// Rows that are not sent.
    pub refused: u64,
    /// Collections of the space that have no table here.
    pub elsewhere: Vec<String>,
    /// Tables that would be under sync and cannot be.
    pub left_out: Vec<LeftOut>,
}

/// One table under sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    /// Its name in the file.
    pub table: String,
    /// Its collection in the space.
    pub collection: String,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("file", &self.file.path).field("space", &self.file.space.id()).finish()
    }
}

impl Rows {
    /// Puts a file under sync with a space: its rows become documents, and documents rows, with the first `sync`. Where
    /// the space has a row of the file already, the space's values hold. A file that is attached to this space takes all of the
    /// options (`options` says those that it has), but keeps its policies: others are refused. Tables that are not wanted any
    /// more are left alone from then on, with their rows and documents.
    pub fn attach(path: impl AsRef<Path>, space: &Space, options: Options) -> Result<Self, Error> {
        let path = path.as_ref();
        let connection = connect(path)?;
        let _alone = Alone::wait(path);
        let was_attached = ledger::is_attached(&connection)?;
        if !was_attached {
            attach::attach(&connection, space, &options)?;
        } else if !ledger::belongs_to(&connection, space)? {
            return Err(Error::Attached(format!(
                "{} was put under sync with another space, or by another database, perhaps before it was copied",
                path.display()
            )));
        } else {
            attach::take_options(&connection, &options)?;
        }
        let mut file = File::new(path, connection, space.clone())?;
        file.follow_schema()?;
        let left_out = file.left_out()?;
        Ok(Self { file, left_out, was_attached })
    }

    /// Opens a file that is attached to a space of this database.
    pub fn open(path: impl AsRef<Path>, database: &Database) -> Result<Self, Error> {
        let path = path.as_ref();
        let connection = connect(path)?;
        if !ledger::is_attached(&connection)? {
            return Err(Error::NotAttached(path.display().to_string()));
        }
        let space: Option<String> = ledger::get(&connection, ledger::SPACE)?;
        let space = database.space(&space.unwrap_or_default())?;
        if !ledger::belongs_to(&connection, &space)? {
            let path = path.display();
            return Err(Error::Attached(format!(
                "{path} was put under sync by another database, perhaps before it was copied"
            )));
        }
        Ok(Self { file: File::new(path, connection, space)?, left_out: Vec::new(), was_attached: true })
    }

    /// Merges columns by something else than the policies of the options. Every device has to use the same.
    pub fn with_reconciler(mut self, reconciler: Arc<dyn Reconciler>) -> Result<Self, Error> {
        (self.file.reconciler, self.file.by_options) = (reconciler, false);
        self.file.load()?;
        Ok(self)
    }

    /// Tells how far `sync` is: rows sent, then rows written. `total` is 0 where it is not known. If left unset, nobody is told.
    pub fn on_progress(&mut self, tell: impl FnMut(&Progress) + Send + 'static) {
        self.file.tell = Some(Box::new(tell));
    }

    /// The tables that `attach` left out, and why.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Whether the file was under sync before it was attached or opened.
    pub fn was_attached(&self) -> bool {
        self.was_attached
    }

    /// What was chosen when the file was attached, or since.
    pub fn options(&self) -> &Options {
        &self.file.options
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The space.
    pub fn space(&self) -> &Space {
        &self.file.space
    }

    /// Commits what the application wrote, then writes what came from others: after this the file and the space say the
    /// same, but for what is listed.
    pub fn sync(&mut self) -> Result<Exchanged, Error> {
        let _alone = self.alone()?;
        self.file.follow_schema()?;
        let lost = self.file.recover()?;
        let mut flushed = self.file.flush()?;
        flushed.again = lost.min(flushed.rows);
        let schema = std::mem::take(&mut self.file.followed);
        // What is found is sent, and then nothing is in doubt.
        for round in 0..2 {
            let found = self.file.audit_replaced(schema && round == 0)?;
            if found == 0 {
                break;
            }
            let more = self.file.flush()?;
            flushed = Flushed { found: flushed.found + found, ..flushed.and(more) };
        }
        let again = schema || flushed.retry || (flushed.rows > 0 && self.has_waiting()?);
        let mut applied = self.file.apply(again)?;
        // What the application's foreign keys made of what was applied.
        if ledger::has_pending(&self.file.connection)? && !self.file.keeps {
            let more = self.file.flush()?;
            flushed = flushed.and(more);
            let last = self.file.apply(self.has_waiting()?)?;
            applied = Applied {
                inserted: applied.inserted + last.inserted,
                updated: applied.updated + last.updated,
                deleted: applied.deleted + last.deleted,
                waiting: self.count("driftless_waiting")?,
            };
        }
        flushed.retry = false;
        Ok(Exchanged { flushed, applied })
    }

    /// Only commits what the application wrote.
    pub fn flush(&mut self) -> Result<Flushed, Error> {
        let _alone = self.alone()?;
        self.file.follow_schema()?;
        let lost = self.file.recover()?;
        let flushed = self.file.flush()?;
        Ok(Flushed { again: lost.min(flushed.rows), ..flushed })
    }

    /// Only writes what came from others. What the application wrote is committed first if there is any.
    pub fn apply(&mut self) -> Result<Applied, Error> {
        let _alone = self.alone()?;
        self.file.follow_schema()?;
        self.file.recover()?;
        self.file.apply(false)
    }

    /// Compares every row with what is known of it, for what the triggers could not see; the next `sync` sends it. How
    /// many rows are different.
    pub fn audit(&mut self) -> Result<u64, Error> {
        let _alone = self.alone()?;
        self.file.found = 0;
        self.file.follow_schema()?;
        // A table that has lost its triggers was looked at already.
        Ok(self.file.found + self.file.audit()?)
    }

    /// Makes rows that were changed here, and are not in the space, what the space says of them; rows that were created
    /// are gone. How many. Refused to whoever may write in the space.
    pub fn revert(&mut self) -> Result<u64, Error> {
        let _alone = self.alone()?;
        if self.file.space.may_write().is_ok() {
            return Err(Error::Invalid(
                "you may write in this space: what was changed here is sent by the next exchange, and not undone".into(),
            ));
        }
        self.file.follow_schema()?;
        self.file.recover()?;
        let reverted = self.file.revert()?;
        self.file.apply(true)?;
        Ok(reverted)
    }

    /// Documents that are no rows here, and why.
    pub fn waiting(&self) -> Result<Vec<WaitingRow>, Error> {
        self.file.waiting()
    }

    /// Rows that are not sent, and why.
    pub fn refused(&self) -> Result<Vec<RefusedRow>, Error> {
        self.file.refused()
    }

    /// Values that lost against others in rows that were changed on two devices at once.
    pub fn losers(&mut self) -> Result<Vec<LostValue>, Error> {
        self.file.losers()
    }

    /// How the file stands.
    pub fn status(&self) -> Result<Status, Error> {
        let tables: Vec<TableStatus> = self
            .file
            .tables
            .iter()
            .map(|table| TableStatus { table: table.name().to_owned(), collection: table.collection.clone() })
            .collect();
        let elsewhere = self.file.space.collections()?.into_iter();
        let elsewhere = elsewhere
            .filter(|name| name != crate::outbox::FILES && name != attach::NAMES)
            .filter(|name| !tables.iter().any(|table| table.collection == *name));
        Ok(Status {
            file: self.file.path.clone(),
            space: self.file.space.id(),
            elsewhere: elsewhere.collect(),
            left_out: self.file.left_out()?,
            tables,
            pending: self.count("driftless_pending")?,
            waiting: self.count("driftless_waiting")?,
            refused: self.count("driftless_refused")?,
        })
    }

    /// Takes everything of ours out of the file: its tables are what they were, with the rows they have now. The space
    /// stays as it is. What was written and not yet committed stays in the file only.
    pub fn detach(self) -> Result<(), Error> {
        detach(&self.file.path)
    }

    /// A number that changes when another connection has written to the file.
    pub(crate) fn data_version(&self) -> Result<i64, Error> {
        Ok(self.file.connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    // One exchange at a time, and only of a file that is still attached to this space.
    fn alone(&self) -> Result<Alone, Error> {
        let alone = Alone::wait(&self.file.path);
        self.file.is_ours()?;
        Ok(alone)
    }

    fn count(&self, table: &str) -> Result<u64, Error> {
        let query = format!("SELECT count(*) FROM {table}");
        let count: i64 = self.file.connection.query_row(&query, [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    fn has_waiting(&self) -> Result<bool, Error> {
        ledger::has_any(&self.file.connection, "driftless_waiting")
    }
}

/// Takes everything of ours out of a file, also where its database is gone.
pub fn detach(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    let connection = connect(path)?;
    let _alone = Alone::wait(path);
    if !ledger::is_attached(&connection)? {
        return Err(Error::NotAttached(path.display().to_string()));
    }
    attach::detach(&connection)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use driftless::Database;

    use super::Rows;
    use crate::options::Options;

    // As `Rows::audit` does it, but the schema is changed between its two looks.
    #[test]
    fn a_key_column_that_is_renamed_just_before_an_audit_begins_is_no_deletion() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let app = rusqlite::Connection::open(&path).unwrap();
        app.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a); INSERT INTO t VALUES('1', 1), ('2', 2)")
            .unwrap();
        let database = Database::memory().unwrap();
        let space = database.create_space("s").unwrap();
        let mut file = Rows::attach(&path, &space, Options::default()).unwrap().file;
        file.flush().unwrap();
        assert!(!file.follow_schema().unwrap());
        app.execute_batch("ALTER TABLE t RENAME COLUMN id TO key").unwrap();
        assert_eq!(file.audit().unwrap(), 0);
        app.execute_batch("ALTER TABLE t RENAME COLUMN key TO name; UPDATE t SET a = 3 WHERE name = '1'")
            .unwrap();
        assert_eq!(file.flush().unwrap().rows, 1);
        assert_eq!(space.collection("t").unwrap().page(0, 10).unwrap().0.len(), 2);
    }

    #[test]
    fn what_was_renamed_just_before_a_process_was_killed_is_told_by_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let app = rusqlite::Connection::open(&path).unwrap();
        app.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, price)").unwrap();
        let database = Database::memory().unwrap();
        let space = database.create_space("s").unwrap();
        let mut rows = Rows::attach(&path, &space, Options::default()).unwrap();
        rows.sync().unwrap();
        app.execute_batch("ALTER TABLE t RENAME TO shelf; ALTER TABLE shelf RENAME COLUMN price TO cost")
            .unwrap();
        rows.file.follow().unwrap();
        drop(rows);
        Rows::open(&path, &database).unwrap().sync().unwrap();
        let path = folder.path().join("another.db");
        let app = rusqlite::Connection::open(&path).unwrap();
        app.execute_batch("CREATE TABLE shelf(id TEXT PRIMARY KEY, cost)").unwrap();
        let rows = Rows::attach(&path, &space, Options::default()).unwrap();
        assert_eq!(rows.status().unwrap().tables[0].collection, "t");
        assert!(rows.file.tables[0].columns.iter().any(|(column, _)| column.field == "price"));
    }

    #[test]
    fn one_transaction_looks_at_so_much_of_what_does_not_fit_and_the_next_ones_at_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let app = rusqlite::Connection::open(&path).unwrap();
        app.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, low, high, CHECK(low <= high))").unwrap();
        let database = Database::memory().unwrap();
        let space = database.create_space("s").unwrap();
        let mut rows = Rows::attach(&path, &space, Options::default()).unwrap();
        let t = space.collection("t").unwrap();
        let fields = |json: &str| driftless::Map::from_json(json).unwrap();
        let set = |json: &str| driftless::operators_from_json(json).unwrap();
        for id in 1..=10 {
            t.save(&id.into(), fields(r#"{"low": 1, "high": 2}"#)).unwrap();
            t.edit(&id.into(), set(r#"{"$set": {"low": 5}}"#)).unwrap();
        }
        rows.file.most_effort = 8 * 1100;
        let count = || app.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap();
        let mut there = Vec::new();
        for id in 20..30 {
            t.save(&id.into(), fields(r#"{"low": 1, "high": 2}"#)).unwrap();
            rows.sync().unwrap();
            there.push(count() - (id - 19));
        }
        assert!((1..10).contains(&there[0]) && there.is_sorted(), "{there:?}");
        assert_eq!(there[9], 10, "{there:?}");
        assert!(rows.waiting().unwrap().iter().all(|row| row.reason == "check"));
    }

    #[test]
    fn more_than_one_run_can_hold_goes_over_in_several_with_what_was_deleted_and_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let app = rusqlite::Connection::open(&path).unwrap();
        app.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)").unwrap();
        let database = Database::memory().unwrap();
        let space = database.create_space("s").unwrap();
        let mut rows = Rows::attach(&path, &space, Options::default()).unwrap();
        app.execute_batch("INSERT INTO t VALUES(1, 1, 1), (99, 1, 1)").unwrap();
        rows.sync().unwrap();
        rows.file.run_bytes = 2000;
        app.execute_batch(
            "BEGIN; DELETE FROM t WHERE id = 99; DELETE FROM t WHERE id = 1;
             WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 50) INSERT INTO t SELECT i, i, 'x' FROM n;
             INSERT INTO t(id, a) VALUES(99, 2); COMMIT",
        )
        .unwrap();
        let told = Arc::new(AtomicUsize::new(0));
        let runs = Arc::clone(&told);
        rows.on_progress(move |_| _ = runs.fetch_add(1, Ordering::Relaxed));
        assert_eq!(rows.sync().unwrap().flushed.rows, 51);
        assert!(told.load(Ordering::Relaxed) > 2);
        let documents = space.collection("t").unwrap().page(0, 100).unwrap().0;
        let there: Vec<_> = documents.iter().filter(|document| !document.deleted).collect();
        assert_eq!(there.len(), 50);
        let again = there.iter().find(|document| document.id == 99.into()).unwrap();
        assert_eq!(again.fields.to_json(), r#"{"a":2,"b":null}"#);
        assert_eq!(rows.audit().unwrap(), 0);
    }
}
