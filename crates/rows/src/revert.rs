//! Taking back what was changed in the file and is not in the space.

use std::collections::BTreeMap;

use driftless::Value;

use crate::cell;
use crate::error::Error;
use crate::file::{File, Table};
use crate::ledger::{self, Known};

impl File {
    /// Forgets what was noted, and what was known of these rows, so that they are written anew as their documents are; rows
    /// without a document go. How many. What is applied next has to look at every document.
    pub(crate) fn revert(&mut self) -> Result<u64, Error> {
        self.let_triggers_run(false)?;
        // Rows that refer to one that goes wait for it then, as for every other parent that is missing.
        self.connection.pragma_update(None, "foreign_keys", false)?;
        let done = self.write(|file| file.forget_changes());
        self.connection.pragma_update(None, "foreign_keys", self.options.foreign_keys)?;
        self.let_triggers_run(true)?;
        self.keeps = false;
        done
    }

    fn forget_changes(&self) -> Result<u64, Error> {
        let mut reverted = 0;
        for (number, keys) in self.changed_keys()? {
            let Some(table) = self.tables.iter().find(|table| table.number == number) else { continue };
            for key in keys {
                reverted += u64::from(self.forget_change(table, &key)?);
            }
        }
        self.connection.execute("DELETE FROM driftless_pending", [])?;
        ledger::forget(&self.connection, ledger::PLACE)?;
        Ok(reverted)
    }

    // The keys of noted rows by the numbers of their tables.
    fn changed_keys(&self) -> Result<BTreeMap<i64, Vec<Vec<Value>>>, Error> {
        let mut keys: BTreeMap<i64, Vec<Vec<Value>>> = BTreeMap::new();
        let mut statement = self.connection.prepare("SELECT * FROM driftless_pending ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(1)?;
            let Some(table) = self.tables.iter().find(|table| table.number == number) else { continue };
            let key = (0..table.described.key.len()).map(|at| Ok(cell::read(row.get_ref(4 + at)?)));
            keys.entry(number).or_default().push(key.collect::<Result<_, Error>>()?);
        }
        Ok(keys)
    }

    fn forget_change(&self, table: &Table, key: &[Value]) -> Result<bool, Error> {
        // One that cannot be a document was never going to be sent.
        let Ok(id) = crate::key::to_id(key) else { return Ok(false) };
        let bytes = id.to_cbor();
        let row = self.row(table, key)?;
        let known = ledger::known(&self.connection, table.number, &bytes)?;
        ledger::forget_refused(&self.connection, &table.collection, &crate::flush::shown(key))?;
        match (row, known) {
            (None, None) => return Ok(false),
            (None, Some(_)) => ledger::forget_known(&self.connection, table.number, &bytes)?,
            (Some(_), Some(known)) => {
                let forgotten = Known { cells: vec![u64::MAX; known.cells.len()], base: None };
                ledger::put_known(&self.connection, table.number, &bytes, &forgotten)?;
            }
            (Some(_), None) => {
                let mut statement = self.connection.prepare_cached(&table.delete)?;
                crate::file::bind(&mut statement, key)?;
                statement.raw_execute()?;
            }
        }
        Ok(true)
    }
}
