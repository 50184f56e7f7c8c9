//! What was noted in the file: rows in which something happened, in what order, and how much of it is taken together.

use std::collections::HashMap;

use driftless::Value;

use crate::cell;
use crate::error::Error;
use crate::file::File;
use crate::ledger::{self, DELETED, FOUND};
use crate::schema::MAX_KEY_COLUMNS;

// Notes of an audit, or of attaching, that become one run. Whoever receives a run holds all of it in memory, decoded some
// 4 KiB for each row.
const FOUND_AT_ONCE: usize = 2_000;

/// One row that was noted.
pub(crate) struct Noted {
    /// Its last note.
    pub seq: i64,
    pub table: usize,
    pub key: Vec<Value>,
    pub at: i64,
    pub deleted: bool,
    /// Only an audit, or attaching, has found it.
    pub found: bool,
}

/// The last notes of those that are taken: of what the application did, and of what was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last {
    /// Up to here there are none of the first kind.
    pub behind: i64,
    pub changes: i64,
    pub found: i64,
}

// Notes on their way to one for each row.
#[derive(Default)]
struct Notes {
    noted: Vec<Option<Noted>>,
    places: HashMap<(usize, Vec<u8>), usize>,
}

impl Notes {
    fn add(&mut self, mut one: Noted) {
        let place = self.places.entry((one.table, plain(&one.key))).or_insert(usize::MAX);
        match self.noted.get_mut(*place) {
            // It is taken with what the application did.
            Some(Some(before)) if one.found && !before.found => {
                before.at = before.at.max(one.at);
                return;
            }
            Some(before) => {
                if let Some(before) = before.take() {
                    one.deleted |= before.deleted;
                    one.at = one.at.max(before.at);
                }
            }
            None => {}
        }
        *place = self.noted.len();
        self.noted.push(Some(one));
    }
}

impl File {
    /// What the application did, in the order of the last note of each row, each row once; behind it some of what was found.
    /// So its transactions are whole, however much there is to be found besides.
    pub(crate) fn noted(&self) -> Result<(Vec<Noted>, Last), Error> {
        let of = "SELECT * FROM driftless_pending";
        let mut notes = Notes::default();
        let behind = self.behind_found()?;
        let sql = format!("{of} WHERE op <> {FOUND} AND seq > ?1 ORDER BY seq");
        let changes = self.add_notes(&sql, behind, &mut notes)?;
        let found = "INDEXED BY driftless_found WHERE op =";
        let sql = format!("{of} {found} {FOUND} AND seq > ?1 ORDER BY seq LIMIT {FOUND_AT_ONCE}");
        let found = self.add_notes(&sql, i64::MIN, &mut notes)?;
        Ok((notes.noted.into_iter().flatten().collect(), Last { behind, changes, found }))
    }

    // Behind which number the application's notes are: what was found lies mostly before all of them, and is passed over
    // without being read. An index of their own would cost the application more than all the rest of a note.
    fn behind_found(&self) -> Result<i64, Error> {
        let sql = format!(
            "SELECT count(*), max(seq), (SELECT min(seq) FROM driftless_pending)
             FROM driftless_pending INDEXED BY driftless_found WHERE op = {FOUND}"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let (count, last, first): (i64, Option<i64>, Option<i64>) =
            statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(match (first, last) {
            (Some(first), Some(last)) if last.checked_sub(first) == Some(count - 1) => last,
            _ => i64::MIN,
        })
    }

    // The number of the last of them; 0 if there is none.
    fn add_notes(&self, sql: &str, behind: i64, notes: &mut Notes) -> Result<i64, Error> {
        let by_number: HashMap<i64, usize> =
            self.tables.iter().enumerate().map(|(at, table)| (table.number, at)).collect();
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([behind])?;
        let mut last = 0;
        while let Some(row) = rows.next()? {
            let (seq, number, op): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            last = seq;
            // Of a table that is not under sync any more.
            let Some(table) = by_number.get(&number).copied() else { continue };
            let columns =
                self.tables.get(table).map_or(0, |table| table.described.key.len()).min(MAX_KEY_COLUMNS);
            let key: Vec<Value> =
                (0..columns).map(|at| Ok(cell::read(row.get_ref(4 + at)?))).collect::<Result<_, Error>>()?;
            let (deleted, found) = (op == DELETED, op == FOUND);
            notes.add(Noted { seq, table, at: row.get(3)?, deleted, found, key });
        }
        Ok(last)
    }

    /// How often notes were taken away.
    pub(crate) fn turn(&self) -> Result<i64, Error> {
        Ok(ledger::get(&self.connection, ledger::TURN)?.unwrap_or_default())
    }
}

/// Bytes that are equal for equal keys only.
pub(crate) fn plain(key: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    for value in key {
        let (kind, content): (u8, &[u8]) = match value {
            Value::I64(number) => {
                bytes.push(1);
                bytes.extend(number.to_le_bytes());
                continue;
            }
            Value::F64(number) => {
                bytes.push(2);
                bytes.extend(number.get().to_le_bytes());
                continue;
            }
            Value::String(text) => (3, text.as_bytes()),
            Value::Bytes(content) => (4, content),
            other => {
                bytes.push(5);
                bytes.extend(other.to_json().as_bytes());
                continue;
            }
        };
        bytes.push(kind);
        bytes.extend((content.len() as u64).to_le_bytes());
        bytes.extend(content);
    }
    bytes
}
