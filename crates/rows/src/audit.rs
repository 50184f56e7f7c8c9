//! What the triggers missed: a row that a REPLACE deleted because of another unique column, or what was written while the
//! triggers were away. Rows are compared with what is known of them, by digests.

use rusqlite::params;

use crate::cell::{self, digest};
use crate::error::Error;
use crate::file::{File, Table, now_ms};
use crate::key;
use crate::ledger::{self, FOUND};
use crate::schema::quoted;

impl File {
    /// Whether a table has other rows than are known: enough to see that a REPLACE took one away.
    pub(crate) fn counts_differ(&self, table: &Table) -> Result<bool, Error> {
        let query = format!(
            "SELECT (SELECT count(*) FROM {}) <> (SELECT count(*) FROM driftless_known WHERE tbl = ?1)
                  + (SELECT count(*) FROM driftless_refused WHERE collection = ?2)",
            quoted(table.name())
        );
        let mut statement = self.connection.prepare_cached(&query)?;
        Ok(statement.query_row(params![table.number, table.collection], |row| row.get(0))?)
    }

    /// Notes the rows of a table that are not what is known of them. How many.
    pub(crate) fn audit_table(&self, table: &Table) -> Result<u64, Error> {
        let mut found = Vec::new();
        let columns = table.described.key.len();
        let names = table
            .qualified_key()
            .into_iter()
            .chain(table.columns.iter().map(|(column, _)| table.qualified(&column.name)));
        let names: Vec<String> = names.collect();
        let mut statement =
            self.connection.prepare(&format!("SELECT {} FROM {}", names.join(", "), quoted(table.name())))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let key = (0..columns).map(|at| Ok(cell::read(row.get_ref(at)?)));
            let key = key.collect::<Result<Vec<_>, Error>>()?;
            let known = match key::to_id(&key) {
                Ok(id) => ledger::known(&self.connection, table.number, &id.to_cbor())?,
                Err(_) => None,
            };
            let mut same = known.is_some();
            for (at, (column, _)) in table.columns.iter().enumerate() {
                let digest = digest(&cell::read(row.get_ref(columns + at)?));
                same = same && known.as_ref().is_some_and(|known| known.cell(column) == digest);
            }
            if !same {
                found.push(key);
            }
        }
        let mut statement = self.connection.prepare("SELECT id FROM driftless_known WHERE tbl = ?1")?;
        let mut rows = statement.query([table.number])?;
        while let Some(row) = rows.next()? {
            let id = crate::waiting::id(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
            let Some(key) = id.and_then(|id| table.key_of(&id)) else { continue };
            if self.row(table, &key)?.is_none() {
                found.push(key);
            }
        }
        let places: Vec<String> = (1..=columns).map(|n| format!("k{n}")).collect();
        let parameters: Vec<String> = (1..=columns).map(|n| format!("?{n}")).collect();
        let mut statement = self.connection.prepare(&format!(
            "INSERT INTO driftless_pending(tbl, op, at, {}) VALUES({}, {FOUND}, {}, {})",
            places.join(", "),
            table.number,
            now_ms(),
            parameters.join(", ")
        ))?;
        for key in &found {
            crate::file::bind(&mut statement, key)?;
            statement.raw_execute()?;
        }
        Ok(found.len() as u64)
    }

    /// Notes what the triggers missed in any table.
    pub(crate) fn audit(&mut self) -> Result<u64, Error> {
        self.write_followed(|file| {
            let mut found = 0;
            for table in file.tables.clone() {
                found += file.audit_table(&table)?;
            }
            Ok(found)
        })
    }

    /// Looks at the tables from which a REPLACE can take rows, if the counts say that it did.
    pub(crate) fn audit_counts(&mut self) -> Result<u64, Error> {
        let mut suspects = Vec::new();
        for table in &self.tables {
            if !table.described.unique.is_empty() && self.counts_differ(table)? {
                suspects.push(table.clone());
            }
        }
        if suspects.is_empty() {
            return Ok(0);
        }
        let suspects: Vec<i64> = suspects.iter().map(|table| table.number).collect();
        self.write_followed(|file| {
            let mut found = 0;
            for table in file.tables.iter().filter(|table| suspects.contains(&table.number)) {
                // What waits to be sent is different, and known to be.
                if !ledger::has_pending(&file.connection)? {
                    found += file.audit_table(table)?;
                }
            }
            Ok(found)
        })
    }
}
