//! SQLite alone, writing the very rows that a database of ours wrote: what storage costs without us. The rows are taken
//! from a file that a bench made, so this stays true whatever the layout becomes.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::fixture;
use crate::stopwatch::{Failure, median, spent};

type Cells = Vec<Value>;

/// All rows of a database file, table by table.
#[derive(Debug)]
pub(crate) struct Image {
    definitions: Vec<String>,
    tables: BTreeMap<String, Vec<Cells>>,
}

impl Image {
    /// Reads the file of a closed database.
    pub(crate) fn read(folder: &Path) -> Result<Self, Failure> {
        let connection = fixture::sqlite(folder)?;
        let mut schema =
            connection.prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
        let rows = schema.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let rows: Vec<(String, String, String)> = rows.collect::<Result<_, _>>()?;
        let mut tables = BTreeMap::new();
        for (_, name, _) in rows.iter().filter(|(kind, _, _)| kind == "table") {
            let mut statement = connection.prepare(&format!("SELECT * FROM \"{name}\""))?;
            let columns = statement.column_count();
            let cells =
                statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?;
            tables.insert(name.clone(), cells.collect::<Result<_, _>>()?);
        }
        Ok(Self { definitions: rows.into_iter().map(|(_, _, sql)| sql).collect(), tables })
    }

    /// What `later` has and this has not, as one step. What is only here was removed.
    pub(crate) fn step_to(&self, later: &Self) -> Step {
        let mut step = Step::default();
        for (table, rows) in &later.tables {
            let earlier = self.tables.get(table).map(Vec::as_slice).unwrap_or_default();
            let before: HashSet<String> = earlier.iter().map(|row| format!("{row:?}")).collect();
            let keys: HashSet<String> = rows.iter().map(|row| format!("{:?}", row.first())).collect();
            let new = rows.iter().filter(|row| !before.contains(&format!("{row:?}")));
            step.written.extend(new.map(|row| (table.clone(), row.clone())));
            let gone = earlier.iter().filter(|row| !keys.contains(&format!("{:?}", row.first())));
            step.removed.extend(gone.filter_map(|row| Some((table.clone(), row.first()?.clone()))));
        }
        step
    }

    /// The rows as `commits` equal steps: each gets its share of the tables that grow with the commits, and `every` on
    /// top, the rows of small tables that each commit writes again.
    pub(crate) fn steps(&self, commits: usize, every: &Step) -> Vec<Step> {
        let mut steps = vec![Step::default(); commits];
        for (table, rows) in self.tables.iter().filter(|(_, rows)| rows.len() >= commits) {
            let scattered = is_scattered(rows);
            for (at, step) in steps.iter_mut().enumerate() {
                let from = if scattered { (at * 7919) % rows.len() } else { at };
                step.written.extend(rows.get(from).map(|row| (table.clone(), row.clone())));
            }
        }
        let grows = |table: &String| self.tables.get(table).is_some_and(|rows| rows.len() >= commits);
        for step in &mut steps {
            step.written.extend(every.written.iter().filter(|(table, _)| !grows(table)).cloned());
            step.removed.extend(every.removed.iter().filter(|(table, _)| !grows(table)).cloned());
        }
        steps
    }

    /// An empty file with the same tables and the same settings.
    pub(crate) fn empty_copy(&self, folder: &Path) -> Result<Raw, Failure> {
        let connection = Connection::open(folder.join("raw.sqlite"))?;
        connection.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;")?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        let raw = Raw { connection };
        raw.set_up()?;
        for definition in &self.definitions {
            raw.connection.execute_batch(definition)?;
        }
        Ok(raw)
    }
}

/// What SQLite alone needs per commit, in CPU microseconds, to write to `copy`, batch by batch, what was committed in
/// `folder` since the copy was made.
pub(crate) fn again(folder: &Path, copy: &Path, commits: usize, batch: usize) -> Result<f64, Failure> {
    Ok(median(batches(folder, copy, commits, batch)?))
}

/// The same, batch by batch.
pub(crate) fn batches(folder: &Path, copy: &Path, commits: usize, batch: usize) -> Result<Vec<f64>, Failure> {
    let steps = since(folder, copy, commits / batch)?;
    let raw = Raw { connection: fixture::sqlite(copy)? };
    raw.set_up()?;
    let mut batches = Vec::new();
    for step in &steps {
        batches.push(spent(|| raw.write(step))?.1.cpu_each(batch));
    }
    Ok(batches)
}

// What was written in `folder` since `copy` was made, as equal steps.
fn since(folder: &Path, copy: &Path, count: usize) -> Result<Vec<Step>, Failure> {
    let connection = fixture::sqlite(folder)?;
    connection.execute("ATTACH ?1 AS old", [fixture::file(copy).to_string_lossy()])?;
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut steps = vec![Step::default(); count];
    for table in tables {
        let names = connection.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let (key, last) = match names.column_names().collect::<Vec<_>>().as_slice() {
            [key, .., last] => ((*key).to_owned(), (*last).to_owned()),
            _ => continue,
        };
        let columns = names.column_count();
        let mut new = connection.prepare(&format!(
            "SELECT new.* FROM main.\"{table}\" AS new LEFT JOIN old.\"{table}\" AS old USING ({key})
             WHERE old.{key} IS NULL OR old.{last} IS NOT new.{last}"
        ))?;
        let rows = new.query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?;
        let rows: Vec<Cells> = rows.collect::<Result<_, _>>()?;
        let scattered = is_scattered(&rows);
        for (at, step) in steps.iter_mut().enumerate() {
            // A small table is written again in every batch; of a growing one each batch has its part.
            let mine = |row: usize| match rows.len() {
                few if few < count => true,
                _ if scattered => row % count == at,
                many => row * count / many == at,
            };
            let part = rows.iter().enumerate().filter(|(row, _)| mine(*row));
            step.written.extend(part.map(|(_, row)| (table.clone(), row.clone())));
        }
    }
    Ok(steps)
}

// Numbers that do not follow one another are keys in no order, which SQLite gave back sorted.
fn is_scattered(rows: &[Cells]) -> bool {
    let key = |row: Option<&Cells>| row.and_then(|row| row.first()).cloned();
    match (key(rows.first()), key(rows.last())) {
        (Some(Value::Integer(first)), Some(Value::Integer(last))) => {
            last.abs_diff(first) > 2 * rows.len() as u64
        }
        _ => false,
    }
}

/// The rows of one transaction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    written: Vec<(String, Cells)>,
    removed: Vec<(String, Value)>,
}

impl Step {
    /// How many rows, and the bytes in them.
    pub(crate) fn size(&self) -> (usize, usize) {
        let bytes = |value: &Value| match value {
            Value::Null => 0,
            Value::Integer(_) | Value::Real(_) => 8,
            Value::Text(text) => text.len(),
            Value::Blob(blob) => blob.len(),
        };
        let rows = self.written.len() + self.removed.len();
        (rows, self.written.iter().flat_map(|(_, cells)| cells).map(bytes).sum())
    }
}

/// A file that SQLite alone writes to.
#[derive(Debug)]
pub(crate) struct Raw {
    connection: Connection,
}

impl Raw {
    // The settings of crates/store/src/sqlite/open.rs.
    fn set_up(&self) -> Result<(), Failure> {
        self.connection.set_prepared_statement_cache_capacity(256);
        let size = "SELECT page_count * page_size / 1024 FROM pragma_page_count, pragma_page_size";
        let size: i64 = self.connection.query_row(size, [], |row| row.get(0))?;
        for (pragma, value) in [
            ("synchronous", 2),
            ("temp_store", 2),
            ("cache_size", -size.clamp(64 * 1024, 256 * 1024)),
            ("mmap_size", 0),
            ("cell_size_check", 1),
            ("wal_autocheckpoint", 4000),
            ("journal_size_limit", 64 * 1024 * 1024),
        ] {
            self.connection.pragma(None, pragma, value, |_| Ok(()))?;
        }
        Ok(())
    }

    /// One durable transaction with the rows of a step.
    pub(crate) fn write(&self, step: &Step) -> Result<(), Failure> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for (table, cells) in &step.written {
            let places = if cells.len() == 2 { "?1, ?2" } else { "?1, ?2, ?3, ?4, ?5, ?6" };
            let sql = match table.as_str() {
                "collection" => format!("INSERT OR REPLACE INTO \"{table}\" VALUES (?1, ?2, ?3)"),
                _ => format!("INSERT OR REPLACE INTO \"{table}\" VALUES ({places})"),
            };
            self.connection.prepare_cached(&sql)?.execute(params_from_iter(cells))?;
        }
        for (table, key) in &step.removed {
            let sql = format!("DELETE FROM \"{table}\" WHERE key = ?1");
            self.connection.prepare_cached(&sql)?.execute([key])?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}
