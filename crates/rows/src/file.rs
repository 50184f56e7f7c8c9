//! A file that is attached: its connection, its space, and its tables as they are now, in the words of both sides.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftless::{DocumentId, Progress, Space, Value};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement};

use crate::cell::{self, Affinity, Bound};
use crate::error::Error;
use crate::key;
use crate::ledger::{self, KnownColumn};
use crate::mirror::Mirror;
use crate::options::Options;
use crate::reconcile::Reconciler;
use crate::schema::{self, Described, DescribedColumn, quoted};

// How long to wait for the application to end its transaction.
const PATIENCE: Duration = Duration::from_secs(5);
// Statements that are kept: some for each table.
const STATEMENTS: usize = 512;

// What the application wrote goes over in one run up to here: at most two commits for each MiB, one more for each of 256
// times, and one for each 4,096 edits are fewer than the 1,024 that a run can have.
pub(crate) const RUN_BYTES: usize = 256 * 1024 * 1024;

/// What may be looked at of one document that does not fit its table, in bytes of values; of one that takes more nothing is
/// shown. It is also what may be looked at in one transaction, which keeps the application waiting: what is over comes
/// another time.
pub(crate) const EFFORT: usize = 256 << 20;

// The most memory that pages of the file may take, in KiB (negative means KiB to SQLite).
const CACHE: i32 = -16 * 1024;

/// A file under sync.
pub(crate) struct File {
    pub path: PathBuf,
    pub connection: Connection,
    pub space: Space,
    pub options: Options,
    pub reconciler: Arc<dyn Reconciler>,
    /// It is what the options say, and not one that the program brought.
    pub by_options: bool,
    pub tables: Vec<Arc<Table>>,
    /// The version of the schema with which `tables` was read.
    pub schema: i64,
    /// Bytes that may go over in one run.
    pub run_bytes: usize,
    /// The tables became others since somebody asked.
    pub followed: bool,
    /// Rows that were found to be different in tables that had lost their triggers.
    pub found: u64,
    /// A word that only this file has.
    pub writer: String,
    pub triggers_on: bool,
    /// Whoever wants to know how far long work is.
    pub tell: Option<Tell>,
    /// Rows were changed here that may not be sent; their notes stay.
    pub keeps: bool,
    pub barred: Barred,
    /// Of tables that were asked, by their numbers; `None` where there can be none.
    pub mirrors: HashMap<i64, Option<Mirror>>,
    /// What may still be looked at of documents that do not fit, in this transaction.
    pub effort: Cell<usize>,
    /// What it is when one begins.
    pub most_effort: usize,
}

/// What is not tried in this application of documents, and why: it would undo or stop all the rest.
#[derive(Debug, Default)]
pub(crate) struct Barred {
    documents: HashMap<(usize, DocumentId), String>,
    tables: HashMap<usize, String>,
    /// Something came in: what was begun begins again without it.
    pub again: bool,
}

// Documents of one table that are barred one by one; then it is the whole table.
const BARRED: usize = 16;

impl Barred {
    pub(crate) fn why(&self, table: usize, id: &DocumentId) -> Option<&String> {
        if self.documents.is_empty() && self.tables.is_empty() {
            return None;
        }
        self.tables.get(&table).or_else(|| self.documents.get(&(table, id.clone())))
    }

    pub(crate) fn bar(&mut self, table: usize, id: &DocumentId, why: &str) {
        if self.documents.keys().filter(|(of, _)| *of == table).count() >= BARRED {
            return self.bar_table(table, why);
        }
        self.again |= self.documents.insert((table, id.clone()), why.to_owned()).is_none();
    }

    pub(crate) fn bar_table(&mut self, table: usize, why: &str) {
        self.again |= self.tables.insert(table, why.to_owned()).is_none();
    }
}

pub(crate) type Tell = Box<dyn FnMut(&Progress) + Send>;

/// A table under sync.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub number: i64,
    pub collection: String,
    pub described: Described,
    /// The columns besides the key, with their place in `described`.
    pub columns: Vec<(KnownColumn, usize)>,
    /// Columns whose values before are needed.
    pub based: bool,
    /// Of each column, whether its cells are what the documents say as it is.
    pub plain: Vec<bool>,
    pub read: String,
    pub delete: String,
}

impl Table {
    pub(crate) fn column(&self, at: usize) -> Option<&DescribedColumn> {
        self.described.columns.get(at)
    }

    pub(crate) fn name(&self) -> &str {
        &self.described.name
    }

    pub(crate) fn affinity(&self, at: usize) -> Affinity {
        self.column(at).map_or(Affinity::Blob, |column| column.affinity)
    }

    /// The columns of the key, in quotes.
    pub(crate) fn key_columns(&self) -> Vec<String> {
        self.described
            .key
            .iter()
            .filter_map(|at| self.column(*at))
            .map(|column| quoted(&column.name))
            .collect()
    }

    /// The cells of the key that a document's id stands for; `None` if this table cannot have such a key.
    pub(crate) fn key_of(&self, id: &DocumentId) -> Option<Vec<Value>> {
        let cells = key::from_id(id, self.described.key.len())?;
        let fits = self.described.key.iter().zip(&cells).all(|(at, cell)| match cell {
            Value::I64(_) if self.described.has_rowid_key() => true,
            _ if self.described.has_rowid_key() => false,
            // Text that looks like a number becomes one in such a column.
            cell => self.affinity(*at).keeps(cell),
        });
        fits.then_some(cells)
    }

    /// A column with its table. A name alone that is none any more SQLite would take for a text.
    pub(crate) fn qualified(&self, column: &str) -> String {
        format!("{}.{}", quoted(self.name()), quoted(column))
    }

    /// The columns of the key, each with its table.
    pub(crate) fn qualified_key(&self) -> Vec<String> {
        let columns = self.described.key.iter().filter_map(|at| self.column(*at));
        columns.map(|column| self.qualified(&column.name)).collect()
    }

    /// Binds the cells of the key, from parameter `from` on.
    pub(crate) fn matches_key(&self, from: usize) -> String {
        let columns = self.qualified_key().into_iter().enumerate();
        columns.map(|(n, column)| format!("{column} = ?{}", n + from)).collect::<Vec<_>>().join(" AND ")
    }

    /// The value of a document in a column of this name, where there is one.
    pub(crate) fn known_column(&self, name: &str) -> Option<&KnownColumn> {
        self.columns.iter().map(|(known, _)| known).find(|known| known.name.eq_ignore_ascii_case(name))
    }
}

/// The name of a collection for a table, or of a field for a column: those that driftless keeps for itself get a mark.
pub(crate) fn name_there(name: &str) -> String {
    if name.starts_with(['_', '$', ':']) { format!(":{name}") } else { name.to_owned() }
}

/// Whether `name_there` can have said this.
pub(crate) fn is_name_there(name: &str) -> bool {
    match name.strip_prefix(':') {
        Some(marked) => marked.starts_with(['_', '$', ':']),
        None => !name.starts_with(['_', '$']),
    }
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn connect(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let unusable = |why| Error::Unusable { path: path.display().to_string(), why };
    let opened = Connection::open_with_flags(path, flags);
    let connection = opened.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) if !path.exists() => Error::Missing(path.display().to_string()),
        Some(ErrorCode::CannotOpen) => unusable("is no file that can be opened"),
        _ => error.into(),
    })?;
    connection.busy_timeout(PATIENCE)?;
    // SQLite looks at a file when it first reads it.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(
        |error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => unusable("is not a SQLite file"),
            Some(ErrorCode::CannotOpen) => unusable("is no file that can be opened"),
            _ => error.into(),
        },
    )?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "cache_size", CACHE)?;
    // The file may have been made by somebody who wants us to run code; views and triggers of it run none of ours.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(connection)
}

/// What was chosen when the file was attached, or since.
pub(crate) fn options(file: &Connection) -> Result<Options, Error> {
    let options: Option<String> = ledger::get(file, ledger::OPTIONS)?;
    let options = options.map(|text| serde_json::from_str(&text)).transpose();
    let options = options.map_err(|error| Error::Invalid(format!("the options in the file: {error}")))?;
    Ok(options.unwrap_or_default())
}

impl File {
    pub(crate) fn new(path: &Path, connection: Connection, space: Space) -> Result<Self, Error> {
        let options = options(&connection)?;
        let writer: Option<String> = ledger::get(&connection, ledger::WRITER)?;
        let reconciler = Arc::new(options.columns.clone());
        connection.pragma_update(None, "foreign_keys", options.foreign_keys)?;
        let mut file = Self {
            path: path.to_owned(),
            connection,
            space,
            options,
            reconciler,
            by_options: true,
            tables: Vec::new(),
            schema: 0,
            followed: false,
            found: 0,
            run_bytes: RUN_BYTES,
            writer: writer.unwrap_or_default(),
            triggers_on: true,
            tell: None,
            keeps: false,
            barred: Barred::default(),
            mirrors: HashMap::new(),
            effort: Cell::new(0),
            most_effort: EFFORT,
        };
        file.load()?;
        Ok(file)
    }

    /// Takes the options that another handle has put into the file.
    pub(crate) fn read_options(&mut self) -> Result<(), Error> {
        self.options = options(&self.connection)?;
        if self.by_options {
            self.reconciler = Arc::new(self.options.columns.clone());
        }
        Ok(self.connection.pragma_update(None, "foreign_keys", self.options.foreign_keys)?)
    }

    /// Reads the tables again, as they are.
    pub(crate) fn load(&mut self) -> Result<(), Error> {
        // First: what changes meanwhile makes it another one.
        self.schema = schema::version(&self.connection)?;
        let mut tables = Vec::new();
        for (number, name, collection, columns) in listed(&self.connection)? {
            // One that was dropped is there again when somebody makes it again.
            let Some(mut described) = schema::describe(&self.connection, &name)? else { continue };
            if !self.options.foreign_keys {
                described.foreign.clear();
            }
            tables.push(Arc::new(self.table(number, collection, described, columns)));
        }
        self.tables = tables;
        self.barred = Barred::default();
        self.mirrors.clear();
        Ok(())
    }

    /// Whether `tables` is what there is, in the words that were agreed on: to be asked in a transaction, until the end of
    /// which it holds.
    pub(crate) fn is_followed(&self) -> Result<bool, Error> {
        let version = schema::version(&self.connection)?;
        if version != self.schema {
            // Another program may have taken our tables out, and perhaps made others: that is a change of the schema, too.
            self.is_ours()?;
            return Ok(false);
        }
        Ok(ledger::get(&self.connection, ledger::SCHEMA)? == Some(version))
    }

    /// Says so if the file is not attached to this space of this database any more, whoever detached it.
    pub(crate) fn is_ours(&self) -> Result<(), Error> {
        let path = self.path.display();
        if !ledger::is_attached(&self.connection)? {
            return Err(Error::NotAttached(path.to_string()));
        }
        match ledger::belongs_to(&self.connection, &self.space)? {
            true => Ok(()),
            false => Err(Error::Attached(format!("{path} was put under sync with another space meanwhile"))),
        }
    }

    fn table(
        &self,
        number: i64,
        collection: String,
        described: Described,
        columns: Vec<KnownColumn>,
    ) -> Table {
        let place = |name: &str| described.columns.iter().position(|column| column.name == name);
        let columns: Vec<(KnownColumn, usize)> = columns
            .into_iter()
            .filter_map(|column| place(&column.name).map(|place| (column, place)))
            .filter(|(_, place)| !described.is_key(*place))
            .collect();
        let based =
            columns.iter().any(|(column, _)| self.reconciler.needs_before(&described.name, &column.name));
        let plain = columns
            .iter()
            .map(|(column, _)| self.reconciler.is_plain(&described.name, &column.name))
            .collect();
        let mut table = Table {
            number,
            collection,
            described,
            columns,
            based,
            plain,
            read: String::new(),
            delete: String::new(),
        };
        let names: Vec<String> =
            table.columns.iter().map(|(column, _)| table.qualified(&column.name)).collect();
        let names = if names.is_empty() { "NULL".to_owned() } else { names.join(", ") };
        let (on, key) = (quoted(table.name()), table.matches_key(1));
        table.read = format!("SELECT {names} FROM {on} WHERE {key}");
        table.delete = format!("DELETE FROM {on} WHERE {key}");
        table
    }

    pub(crate) fn table_of(&self, collection: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.collection == collection)
    }

    /// The cells of a row besides its key, in the order of `Table::columns`; `None` if it is not there.
    pub(crate) fn row(&self, table: &Table, key: &[Value]) -> Result<Option<Vec<Value>>, Error> {
        let mut statement = self.connection.prepare_cached(&table.read)?;
        bind(&mut statement, key)?;
        let mut rows = statement.raw_query();
        let Some(row) = rows.next()? else { return Ok(None) };
        let cells = (0..table.columns.len()).map(|at| Ok(cell::read(row.get_ref(at)?)));
        Ok(Some(cells.collect::<Result<_, Error>>()?))
    }

    /// Tells how far a stage of work is; `total` is 0 where that is not known.
    pub(crate) fn tell(&mut self, stage: &'static str, done: u64, total: u64) {
        if let Some(tell) = &mut self.tell {
            tell(&Progress { stage, done, total });
        }
    }

    /// Lets triggers run for what this connection writes, or not.
    pub(crate) fn let_triggers_run(&mut self, on: bool) -> Result<(), Error> {
        if self.triggers_on != on {
            self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on)?;
            self.triggers_on = on;
        }
        Ok(())
    }

    /// Runs `work` in a transaction that may write.
    pub(crate) fn write<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|done| {
            self.connection.execute_batch("COMMIT")?;
            Ok(done)
        });
        if done.is_err() && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        done
    }

    /// The same on tables that are as this handle knows them, which they stay until the end. Another change of the schema
    /// is followed first, and `work` begins after it.
    pub(crate) fn write_followed<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            let done = self.write(|file| match file.is_followed()? {
                true => work(file).map(Some),
                false => Ok(None),
            })?;
            match done {
                Some(done) => return Ok(done),
                None => _ = self.follow_schema()?,
            }
        }
    }

    /// Notes a row as the triggers would.
    pub(crate) fn note(&self, table: &Table, key: &[Value], op: i64, at: i64) -> Result<(), Error> {
        let places: Vec<String> = (1..=key.len()).map(|n| format!("k{n}")).collect();
        let parameters: Vec<String> = (1..=key.len()).map(|n| format!("?{n}")).collect();
        let mut statement = self.connection.prepare_cached(&format!(
            "INSERT INTO driftless_pending(tbl, {}, op, at) VALUES({}, {}, ?{}, ?{})",
            places.join(", "),
            table.number,
            parameters.join(", "),
            key.len() + 1,
            key.len() + 2,
        ))?;
        bind(&mut statement, key)?;
        statement.raw_bind_parameter(key.len() + 1, op)?;
        statement.raw_bind_parameter(key.len() + 2, at)?;
        statement.raw_execute()?;
        Ok(())
    }
}

/// Binds values to parameters from 1 on; text that is no UTF-8 is bound as its bytes.
pub(crate) fn bind<'v>(
    statement: &mut Statement<'_>,
    values: impl IntoIterator<Item = &'v Value>,
) -> Result<(), Error> {
    bind_from(statement, 0, values)
}

/// The same behind so many parameters.
pub(crate) fn bind_from<'v>(
    statement: &mut Statement<'_>,
    before: usize,
    values: impl IntoIterator<Item = &'v Value>,
) -> Result<(), Error> {
    for (at, value) in (before + 1..).zip(values) {
        match cell::bound(value) {
            Bound::As(value) => statement.raw_bind_parameter(at, value)?,
            Bound::Text(bytes) => statement.raw_bind_parameter(at, bytes)?,
        }
    }
    Ok(())
}

/// The parameter of this number, made text by SQL where the value is bound as the bytes of one.
pub(crate) fn parameter(number: usize, value: &Value) -> String {
    match cell::bound(value) {
        Bound::Text(_) => format!("CAST(?{number} AS TEXT)"),
        Bound::As(_) => format!("?{number}"),
    }
}

type Listed = (i64, String, String, Vec<KnownColumn>);

/// The tables that were attached.
pub(crate) fn listed(file: &Connection) -> Result<Vec<Listed>, Error> {
    let mut statement = file
        .prepare_cached("SELECT number, name, collection, columns FROM driftless_tables ORDER BY number")?;
    let mut rows = statement.query([])?;
    let mut listed = Vec::new();
    while let Some(row) = rows.next()? {
        let columns: String = row.get(3)?;
        let wrong =
            |why: &dyn std::fmt::Display| Error::Invalid(format!("driftless_tables in the file: {why}"));
        let columns: Vec<KnownColumn> = serde_json::from_str(&columns).map_err(|error| wrong(&error))?;
        if let Some(column) = columns.iter().find(|column| column.number >= ledger::MAX_NUMBER) {
            return Err(wrong(&format!(
                "column number {}; `rows detach` it, and attach it anew",
                column.number
            )));
        }
        listed.push((row.get(0)?, row.get(1)?, row.get(2)?, columns));
    }
    Ok(listed)
}
