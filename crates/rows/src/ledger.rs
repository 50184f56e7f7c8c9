//! What we keep in the application's file: settings, the tables under sync, what was captured, what is known of each row,
//! what waits. Everything is in tables whose names begin with `driftless_`, and goes when the file is detached.

use driftless::{DocumentId, Place, Space};
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::schema::MAX_KEY_COLUMNS;

/// The format of our tables.
pub(crate) const VERSION: i64 = 1;

pub(crate) const FORMAT: &str = "format";
pub(crate) const SPACE: &str = "space";
pub(crate) const PEER: &str = "database";
pub(crate) const WRITER: &str = "writer";
/// What only the database can have written that has made our tables: nobody else's are believed.
const SEAL: &str = "seal";
pub(crate) const PLACE: &str = "place";
/// The latest time of what was applied, in milliseconds: what is captured after it is later.
pub(crate) const CLOCK: &str = "clock";
pub(crate) const SCHEMA: &str = "schema";
pub(crate) const OPTIONS: &str = "options";
/// The token of the last outbox that was committed, and when: 8 bytes and 8 of milliseconds.
pub(crate) const SENT: &str = "sent";
/// It is there while rows have to be compared with a space that has lost something.
pub(crate) const COMPARE: &str = "compare";

/// What was renamed here and others were not told yet: of what, its name, and its name before.
pub(crate) const TELL: &str = "tell";
/// How often notes were taken away: whoever has read some sees that they are not there any more.
pub(crate) const TURN: &str = "turn";

/// How the notes stood when all of them were last kept of somebody who may not write.
pub(crate) const KEPT: &str = "kept";

/// Of a table, by its number: a REPLACE may have taken rows away since they were counted.
pub(crate) fn unsure(table: i64) -> String {
    format!("unsure {table}")
}

/// What is to be done about such a table: its rows are counted, or looked at one by one.
pub(crate) const COUNT: i64 = 1;
pub(crate) const LOOK: i64 = 2;

/// Of a table, by its number: how many more rows it had than were known when they were last counted.
pub(crate) fn surplus(table: i64) -> String {
    format!("surplus {table}")
}

/// Kinds of what is pending.
pub(crate) const INSERTED: i64 = 0;
pub(crate) const UPDATED: i64 = 1;
pub(crate) const DELETED: i64 = 2;
/// Found by an audit, not by a trigger.
pub(crate) const FOUND: i64 = 3;

/// Makes our tables.
pub(crate) fn create(file: &Connection) -> Result<(), Error> {
    let keys: Vec<String> = (1..=MAX_KEY_COLUMNS).map(|n| format!("k{n}")).collect();
    file.execute_batch(&format!(
        "CREATE TABLE driftless_settings(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
         CREATE TABLE driftless_tables(number INTEGER PRIMARY KEY, name TEXT NOT NULL, collection TEXT NOT NULL, columns TEXT NOT NULL);
         CREATE TABLE driftless_pending(seq INTEGER PRIMARY KEY, tbl INTEGER NOT NULL, op INTEGER NOT NULL, at INTEGER NOT NULL, {});
         CREATE INDEX driftless_found ON driftless_pending(seq) WHERE op = {FOUND};
         CREATE TABLE driftless_known(tbl INTEGER NOT NULL, id BLOB NOT NULL, cells BLOB NOT NULL, base TEXT, PRIMARY KEY(tbl, id)) WITHOUT ROWID;
         CREATE TABLE driftless_outbox(number INTEGER PRIMARY KEY, token BLOB NOT NULL, edits BLOB NOT NULL);
         CREATE TABLE driftless_waiting(collection TEXT NOT NULL, id BLOB NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY(collection, id)) WITHOUT ROWID;
         CREATE TABLE driftless_refused(collection TEXT NOT NULL, key TEXT NOT NULL, detail TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY(collection, key)) WITHOUT ROWID;
         CREATE TABLE driftless_contested(collection TEXT NOT NULL, id BLOB NOT NULL, PRIMARY KEY(collection, id)) WITHOUT ROWID;",
        keys.join(", ")
    ))?;
    put(file, FORMAT, VERSION)
}

/// Our tables, in the order in which they can be dropped.
pub(crate) const TABLES: [&str; 8] = [
    "driftless_contested",
    "driftless_refused",
    "driftless_waiting",
    "driftless_outbox",
    "driftless_known",
    "driftless_pending",
    "driftless_tables",
    "driftless_settings",
];

/// Whether the file is attached.
pub(crate) fn is_attached(file: &Connection) -> Result<bool, Error> {
    let query =
        "SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'driftless_settings')";
    Ok(file.query_row(query, [], |row| row.get(0))?)
}

/// A setting; `None` if it is not there.
pub(crate) fn get<T: FromSql>(file: &Connection, name: &str) -> Result<Option<T>, Error> {
    let mut statement = file.prepare_cached("SELECT value FROM driftless_settings WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

pub(crate) fn put(file: &Connection, name: &str, value: impl rusqlite::ToSql) -> Result<(), Error> {
    let mut statement = file.prepare_cached(
        "INSERT INTO driftless_settings VALUES(?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
    )?;
    statement.execute(params![name, value])?;
    Ok(())
}

pub(crate) fn place(file: &Connection) -> Result<Option<Place>, Error> {
    Ok(get::<Vec<u8>>(file, PLACE)?.and_then(|bytes| Place::from_bytes(&bytes)))
}

pub(crate) fn put_place(file: &Connection, place: &Place) -> Result<(), Error> {
    put(file, PLACE, place.to_bytes())
}

/// What was sent last and when, if anything was.
pub(crate) fn sent(file: &Connection) -> Result<Option<(Vec<u8>, i64)>, Error> {
    let Some(bytes) = get::<Vec<u8>>(file, SENT)? else { return Ok(None) };
    let Some((token, at)) = bytes.split_last_chunk() else { return Ok(None) };
    Ok(Some((token.to_vec(), i64::from_be_bytes(*at))))
}

pub(crate) fn put_sent(file: &Connection, token: &[u8], at: i64) -> Result<(), Error> {
    put(file, SENT, [token, &at.to_be_bytes()].concat())
}

pub(crate) fn forget(file: &Connection, name: &str) -> Result<(), Error> {
    file.prepare_cached("DELETE FROM driftless_settings WHERE name = ?1")?.execute([name])?;
    Ok(())
}

/// A column as it was agreed on: a number that only it ever has, its name here, and the field it is in documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownColumn {
    pub number: usize,
    pub name: String,
    pub field: String,
    pub declared: String,
    /// The digest of what rows have that were there before the column.
    pub base: u64,
}

/// Numbers of columns: each column that a table ever had has one, and so many digests are kept of each row.
pub(crate) const MAX_NUMBER: usize = 65_536;

/// What is known of a row: what was last sent of it or applied to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Digests of cells by the number of the column; 0 where nothing is known.
    pub cells: Vec<u64>,
    /// Cells whose value is needed to say how they changed: JSON of fields.
    pub base: Option<String>,
}

impl Known {
    /// Of which nothing is known yet, with room for so many cells.
    pub(crate) fn with_room(cells: usize) -> Self {
        Self { cells: Vec::with_capacity(cells), base: None }
    }

    pub(crate) fn cell(&self, column: &KnownColumn) -> u64 {
        self.cells.get(column.number).copied().filter(|digest| *digest != 0).unwrap_or(column.base)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 * self.cells.len());
        self.cells.iter().for_each(|digest| bytes.extend_from_slice(&digest.to_le_bytes()));
        bytes
    }

    pub(crate) fn set(&mut self, number: usize, digest: u64) {
        if self.cells.len() <= number {
            self.cells.resize(number + 1, 0);
        }
        if let Some(cell) = self.cells.get_mut(number) {
            *cell = digest;
        }
    }
}

pub(crate) fn known(file: &Connection, table: i64, id: &[u8]) -> Result<Option<Known>, Error> {
    let mut statement =
        file.prepare_cached("SELECT cells, base FROM driftless_known WHERE tbl = ?1 AND id = ?2")?;
    Ok(statement.query_row(params![table, id], |row| read_known(row, 0)).optional()?)
}

fn read_known(row: &Row<'_>, first: usize) -> rusqlite::Result<Known> {
    let cells = row.get_ref(first)?.as_blob()?.as_chunks::<8>().0;
    let cells = cells.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    Ok(Known { cells, base: row.get(first + 1)? })
}

/// What is known of rows that are looked at together, by id.
#[derive(Debug, Default)]
pub(crate) struct Met {
    rows: Vec<(Vec<u8>, Option<Known>)>,
    // Whoever asks mostly asks in the order of the ids.
    next: usize,
}

impl Met {
    fn add(&mut self, id: &[u8], known: Known) {
        self.rows.push((id.to_vec(), Some(known)));
    }

    fn find(&mut self, id: &[u8]) -> Option<&mut Option<Known>> {
        let is_next = self.rows.get(self.next).is_some_and(|(next, _)| next == id);
        let at = match is_next {
            true => self.next,
            false => self.rows.binary_search_by(|(other, _)| other.as_slice().cmp(id)).ok()?,
        };
        self.next = at + 1;
        self.rows.get_mut(at).map(|(_, known)| known)
    }

    /// What is known of a row.
    pub(crate) fn get(&mut self, id: &[u8]) -> Option<&mut Known> {
        self.find(id)?.as_mut()
    }

    /// The same, which is asked once.
    pub(crate) fn take(&mut self, id: &[u8]) -> Option<Known> {
        self.find(id)?.take()
    }
}

/// What is known of rows of a table.
pub(crate) fn known_of(file: &Connection, table: i64, ids: &[Vec<u8>]) -> Result<Met, Error> {
    let mut met = Met::default();
    let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(met) };
    let mut statement = file.prepare_cached(
        "SELECT id, cells, base FROM driftless_known WHERE tbl = ?1 AND id >= ?2 AND id <= ?3 LIMIT ?4",
    )?;
    // All that lie between are read at once, if there are not many others.
    let limit = i64::try_from(ids.len() + 1).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![table, first, last, limit])?;
    while let Some(row) = rows.next()? {
        met.add(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?, read_known(row, 1)?);
    }
    if met.rows.len() <= ids.len() {
        return Ok(met);
    }
    met.rows.clear();
    for id in ids {
        if let Some(known) = known(file, table, id)? {
            met.add(id, known);
        }
    }
    met.rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(met)
}

/// Of how many rows of a table something is known.
pub(crate) fn count_known(file: &Connection, table: i64) -> Result<usize, Error> {
    let mut statement = file.prepare_cached("SELECT count(*) FROM driftless_known WHERE tbl = ?1")?;
    let count: i64 = statement.query_row([table], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The next ids of rows of which something is known, in their order.
pub(crate) fn known_after(
    file: &Connection,
    table: i64,
    after: &[u8],
    most: usize,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut statement = file
        .prepare_cached("SELECT id FROM driftless_known WHERE tbl = ?1 AND id > ?2 ORDER BY id LIMIT ?3")?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let ids = statement.query_map(params![table, after, most], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

pub(crate) fn put_known(file: &Connection, table: i64, id: &[u8], known: &Known) -> Result<(), Error> {
    let mut statement = file.prepare_cached(
        "INSERT INTO driftless_known VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET cells = ?3, base = ?4",
    )?;
    statement.execute(params![table, id, known.bytes(), known.base])?;
    Ok(())
}

/// Notes what is known of a row of which nothing was; `false` if something was, which stays.
pub(crate) fn add_known(file: &Connection, table: i64, id: &[u8], known: &Known) -> Result<bool, Error> {
    let mut statement =
        file.prepare_cached("INSERT INTO driftless_known VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?;
    Ok(statement.execute(params![table, id, known.bytes(), known.base])? > 0)
}

/// Rows of one statement of `Many`. Twice as many cost the same.
pub(crate) const ROWS: usize = 16;

/// Statements that write several rows of ours.
#[derive(Debug)]
pub(crate) struct Many {
    add: String,
    put: String,
    contest: String,
}

impl Many {
    pub(crate) fn new() -> Self {
        let known = numbered(|n| format!("(?1, ?{}, ?{}, ?{})", 3 * n + 2, 3 * n + 3, 3 * n + 4));
        let contested = numbered(|n| format!("(?1, ?{})", n + 2));
        Self {
            // FAIL: without a copy of what it changes; an error ends the transaction.
            add: format!("INSERT OR FAIL INTO driftless_known VALUES{known}"),
            // Without looking whether it is there, which an upsert does.
            put: format!("INSERT OR REPLACE INTO driftless_known VALUES{known}"),
            contest: format!("INSERT OR IGNORE INTO driftless_contested VALUES{contested}"),
        }
    }

    /// Notes what is known of rows of none of which anything was.
    pub(crate) fn add_known<'k>(
        &self,
        file: &Connection,
        table: i64,
        rows: impl ExactSizeIterator<Item = (&'k [u8], &'k Known)>,
    ) -> Result<(), Error> {
        write_known(file, &self.add, table, rows)
    }

    /// Notes what is known of rows, whatever was.
    pub(crate) fn put_known<'k>(
        &self,
        file: &Connection,
        table: i64,
        rows: impl ExactSizeIterator<Item = (&'k [u8], &'k Known)>,
    ) -> Result<(), Error> {
        write_known(file, &self.put, table, rows)
    }

    /// Notes rows in which a value may have lost.
    pub(crate) fn put_contested<'k>(
        &self,
        file: &Connection,
        collection: &str,
        mut ids: impl ExactSizeIterator<Item = &'k [u8]>,
    ) -> Result<(), Error> {
        if ids.len() >= ROWS {
            let mut statement = file.prepare_cached(&self.contest)?;
            statement.raw_bind_parameter(1, collection)?;
            while ids.len() >= ROWS {
                for (n, id) in ids.by_ref().take(ROWS).enumerate() {
                    statement.raw_bind_parameter(n + 2, id)?;
                }
                statement.raw_execute()?;
            }
        }
        ids.try_for_each(|id| put_contested(file, collection, id))
    }
}

fn numbered(row: impl Fn(usize) -> String) -> String {
    (0..ROWS).map(row).collect::<Vec<_>>().join(", ")
}

fn write_known<'k>(
    file: &Connection,
    sql: &str,
    table: i64,
    mut rows: impl ExactSizeIterator<Item = (&'k [u8], &'k Known)>,
) -> Result<(), Error> {
    if rows.len() >= ROWS {
        let mut statement = file.prepare_cached(sql)?;
        statement.raw_bind_parameter(1, table)?;
        while rows.len() >= ROWS {
            for (n, (id, known)) in rows.by_ref().take(ROWS).enumerate() {
                statement.raw_bind_parameter(3 * n + 2, id)?;
                statement.raw_bind_parameter(3 * n + 3, known.bytes())?;
                statement.raw_bind_parameter(3 * n + 4, known.base.as_deref())?;
            }
            statement.raw_execute()?;
        }
    }
    rows.try_for_each(|(id, known)| put_known(file, table, id, known))
}

pub(crate) fn forget_known(file: &Connection, table: i64, id: &[u8]) -> Result<(), Error> {
    file.prepare_cached("DELETE FROM driftless_known WHERE tbl = ?1 AND id = ?2")?
        .execute(params![table, id])?;
    Ok(())
}

/// Notes why a document is not a row, or not wholly.
pub(crate) fn put_waiting(
    file: &Connection,
    collection: &str,
    id: &DocumentId,
    reason: &str,
    detail: &str,
    now: i64,
) -> Result<(), Error> {
    let mut statement = file.prepare_cached(
        "INSERT INTO driftless_waiting VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET reason = ?3, detail = ?4",
    )?;
    statement.execute(params![collection, id.to_cbor(), reason, detail, now])?;
    Ok(())
}

pub(crate) fn forget_waiting(file: &Connection, collection: &str, id: &[u8]) -> Result<(), Error> {
    let mut statement =
        file.prepare_cached("DELETE FROM driftless_waiting WHERE collection = ?1 AND id = ?2")?;
    statement.execute(params![collection, id])?;
    Ok(())
}

/// Notes why a row of the file is not sent.
pub(crate) fn put_refused(
    file: &Connection,
    collection: &str,
    key: &str,
    detail: &str,
    now: i64,
) -> Result<(), Error> {
    let mut statement = file.prepare_cached(
        "INSERT INTO driftless_refused VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET detail = ?3",
    )?;
    statement.execute(params![collection, key, detail, now])?;
    Ok(())
}

pub(crate) fn forget_refused(file: &Connection, collection: &str, key: &str) -> Result<(), Error> {
    let mut statement =
        file.prepare_cached("DELETE FROM driftless_refused WHERE collection = ?1 AND key = ?2")?;
    statement.execute(params![collection, key])?;
    Ok(())
}

pub(crate) fn put_contested(file: &Connection, collection: &str, id: &[u8]) -> Result<(), Error> {
    let mut statement = file.prepare_cached("INSERT OR IGNORE INTO driftless_contested VALUES(?1, ?2)")?;
    statement.execute(params![collection, id])?;
    Ok(())
}

/// Whether something was captured that was not sent.
pub(crate) fn has_pending(file: &Connection) -> Result<bool, Error> {
    has_any(file, "driftless_pending")
}

/// Whether one of our tables has a row.
pub(crate) fn has_any(file: &Connection, table: &str) -> Result<bool, Error> {
    let mut statement = file.prepare_cached(&format!("SELECT EXISTS(SELECT 1 FROM {table})"))?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Gives the file its word, and seals it.
pub(crate) fn seal(file: &Connection, space: &Space, writer: &str) -> Result<(), Error> {
    put(file, WRITER, writer)?;
    put(file, SEAL, sealing(space, writer)?.as_bytes())
}

// The word of a file says which one it is, and is read by everybody who reads the space.
fn sealing(space: &Space, writer: &str) -> Result<blake3::Hash, Error> {
    let secret = space.database().secret_for("a SQLite file under sync")?;
    let said = [&space.id().0[..], writer.as_bytes()].concat();
    Ok(blake3::keyed_hash(&secret, &said))
}

/// Whether the file belongs to this space of this database, and its tables were made by it, in the format that is read here.
pub(crate) fn belongs_to(file: &Connection, space: &Space) -> Result<bool, Error> {
    let format = get::<i64>(file, FORMAT)?.unwrap_or_default();
    if format != VERSION {
        return Err(Error::Attached(format!(
            "it was put under sync in format {format}, of which this version knows nothing: use a version that does"
        )));
    }
    let peer = space.database().peer()?.to_string();
    if get::<String>(file, SPACE)? != Some(space.id().to_string()) || get::<String>(file, PEER)? != Some(peer)
    {
        return Ok(false);
    }
    let (writer, seal) = (get::<String>(file, WRITER)?.unwrap_or_default(), get::<Vec<u8>>(file, SEAL)?);
    // Such hashes are compared in the same time whatever is in them.
    let sealing = sealing(space, &writer)?;
    Ok(seal.and_then(|seal| blake3::Hash::from_slice(&seal).ok()) == Some(sealing))
}
