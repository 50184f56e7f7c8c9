//! What the triggers missed: a row that a REPLACE deleted because of another unique column, or what was written while the
//! triggers were away. Rows are compared with what is known of them, by digests.

use std::collections::BTreeSet;

use driftless::Value;

use crate::cell::{self, digest};
use crate::error::Error;
use crate::file::{File, Table, now_ms};
use crate::key;
use crate::ledger::{self, COUNT, FOUND};
use crate::schema::quoted;

// The id of a document as bytes, and the key of its row.
type Keyed = (Vec<u8>, Vec<Value>);

impl File {
    /// Notes the rows of a table that are not what is known of them, and not noted. How many that are not listed; and of how many that are not there
    /// nothing is known any more, where that `says` nothing.
    pub(crate) fn audit_table(&self, table: &Table, says: bool) -> Result<(u64, u64), Error> {
        let noted = self.noted_ids(table)?;
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
                Ok(id) if noted.contains(&id.to_cbor()) => continue,
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
        let gone: Vec<Keyed> = self.gone(table)?.into_iter().filter(|(id, _)| !noted.contains(id)).collect();
        let mut forgotten = 0;
        if says {
            found.extend(gone.into_iter().map(|(_, key)| key));
        } else {
            for (id, _) in gone {
                ledger::forget_known(&self.connection, table.number, &id)?;
                forgotten += 1;
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
        // What is listed as refused is tried again, but nobody has missed it.
        let refused: BTreeSet<String> = {
            let mut statement =
                self.connection.prepare_cached("SELECT key FROM driftless_refused WHERE collection = ?1")?;
            statement.query_map([&table.collection], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        let missed = found.iter().filter(|key| !refused.contains(&crate::flush::shown(key)));
        Ok((missed.count() as u64, forgotten))
    }

    /// Notes what the triggers missed in any table.
    pub(crate) fn audit(&mut self) -> Result<u64, Error> {
        self.write_followed(|file| {
            let mut found = 0;
            for table in file.tables.clone() {
                found += file.audit_table(&table, true)?.0;
            }
            Ok(found)
        })
    }

    /// Notes the rows that a REPLACE has taken away since it was last looked; after a change of the schema it may have been
    /// from any table. How many. Without a doubt this asks one question of our own table.
    pub(crate) fn audit_replaced(&mut self, schema: bool) -> Result<u64, Error> {
        let doubts =
            "SELECT EXISTS(SELECT 1 FROM driftless_settings WHERE name >= 'unsure ' AND name < 'unsure!')";
        if !schema && !self.connection.prepare_cached(doubts)?.query_row([], |row| row.get(0))? {
            return Ok(0);
        }
        self.write_followed(|file| {
            let mut found = 0;
            for table in file.tables.iter().filter(|table| table.described.replaces) {
                let doubt = ledger::get(&file.connection, &ledger::unsure(table.number))?;
                if let Some(doubt) = doubt.or(schema.then_some(COUNT)) {
                    found += file.audit_doubted(table, doubt)?;
                }
            }
            Ok(found)
        })
    }

    // Each row that was noted came to be known, or went from both. So the number of rows that are not known is what it was,
    // unless one that is known went unseen.
    fn audit_doubted(&self, table: &Table, doubt: i64) -> Result<u64, Error> {
        let (unsure, surplus) = (ledger::unsure(table.number), ledger::surplus(table.number));
        let is_settled = !ledger::has_pending(&self.connection)?;
        if doubt == COUNT && !is_settled {
            // The next exchange takes what the application is writing, and counts.
            ledger::put(&self.connection, &unsure, COUNT)?;
            return Ok(0);
        }
        let query = format!("SELECT count(*) FROM {}", quoted(table.name()));
        let rows: i64 = self.connection.prepare_cached(&query)?.query_row([], |row| row.get(0))?;
        let known = ledger::count_known(&self.connection, table.number)?;
        let now = rows - i64::try_from(known).unwrap_or(i64::MAX);
        let before = ledger::get(&self.connection, &surplus)?.unwrap_or(0);
        let found = if doubt == COUNT && now == before { 0 } else { self.note_gone(table)? };
        let now = now + i64::try_from(found).unwrap_or(i64::MAX);
        if is_settled && now != before {
            ledger::put(&self.connection, &surplus, now)?;
        }
        ledger::forget(&self.connection, &unsure)?;
        Ok(found)
    }

    // Rows that are known, not there, and not noted.
    fn note_gone(&self, table: &Table) -> Result<u64, Error> {
        let noted = self.noted_ids(table)?;
        let gone = self.gone(table)?;
        let gone = gone.iter().filter(|(id, _)| !noted.contains(id));
        let mut found = 0;
        for (_, key) in gone {
            self.note(table, key, FOUND, now_ms())?;
            found += 1;
        }
        Ok(found)
    }

    // Of the rows of a table that are known, those that are not there.
    fn gone(&self, table: &Table) -> Result<Vec<Keyed>, Error> {
        let mut statement = self.connection.prepare("SELECT id FROM driftless_known WHERE tbl = ?1")?;
        let mut rows = statement.query([table.number])?;
        let mut gone = Vec::new();
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            let Some(key) = crate::waiting::id(bytes).and_then(|id| table.key_of(&id)) else { continue };
            if self.row(table, &key)?.is_none() {
                gone.push((bytes.to_vec(), key));
            }
        }
        Ok(gone)
    }

    fn noted_ids(&self, table: &Table) -> Result<BTreeSet<Vec<u8>>, Error> {
        let mut statement =
            self.connection.prepare_cached("SELECT * FROM driftless_pending WHERE tbl = ?1")?;
        let mut rows = statement.query([table.number])?;
        let mut noted = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let key = (0..table.described.key.len()).map(|at| Ok(cell::read(row.get_ref(4 + at)?)));
            if let Ok(id) = key::to_id(&key.collect::<Result<Vec<_>, Error>>()?) {
                noted.insert(id.to_cbor());
            }
        }
        Ok(noted)
    }
}
