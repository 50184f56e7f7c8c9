//! Taking back what was changed in the file and is not in the space.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{Document, Value};
use rusqlite::ErrorCode;

use crate::cell::{self, digest};
use crate::error::Error;
use crate::file::{File, Table};
use crate::ledger::{self, Known, KnownColumn};
use crate::schema::quoted;

impl File {
    /// Forgets what was noted, and what was known of these rows, so that they are written anew as their documents are; rows
    /// without a document go. How many. What is applied next has to look at every document.
    pub(crate) fn revert(&mut self) -> Result<u64, Error> {
        self.let_triggers_run(false)?;
        let done = self.write_followed(|file| file.forget_changes());
        self.let_triggers_run(true)?;
        self.keeps = false;
        done
    }

    fn forget_changes(&self) -> Result<u64, Error> {
        let mut reverted = 0;
        for (number, keys) in self.changed_keys()? {
            let Some(table) = self.tables.iter().find(|table| table.number == number) else { continue };
            let mut seen = BTreeSet::new();
            // A row that was changed more than once is one row.
            for key in keys.iter().filter(|key| seen.insert(crate::notes::plain(key))) {
                reverted += u64::from(self.forget_change(table, key)?);
            }
        }
        self.connection.execute("DELETE FROM driftless_pending", [])?;
        let turn: i64 = ledger::get(&self.connection, ledger::TURN)?.unwrap_or_default();
        ledger::put(&self.connection, ledger::TURN, turn + 1)?;
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
            // One that was created here is taken for one whose document is gone: it goes as such a row does.
            (Some(_), known) => {
                let document = self.space.collection(&table.collection)?.get(&id)?;
                let known = known.unwrap_or_default();
                let forgotten = self.forgotten(table, key, document.as_ref(), &known)?;
                ledger::put_known(&self.connection, table.number, &bytes, &forgotten)?;
            }
        }
        Ok(true)
    }

    /// What is known of a row that is to be written anew as its document is: nothing. Columns that came after the document,
    /// of which it does not speak, get their default here.
    pub(crate) fn forgotten(
        &self,
        table: &Table,
        key: &[Value],
        document: Option<&Document>,
        known: &Known,
    ) -> Result<Known, Error> {
        let numbers = table.columns.iter().map(|(column, _)| column.number + 1).max().unwrap_or_default();
        let cells = vec![u64::MAX; numbers.max(known.cells.len())];
        let mut forgotten = Known { cells, base: None };
        let Some(document) = document else { return Ok(forgotten) };
        let Some(row) = self.row(table, key)? else { return Ok(forgotten) };
        let is_spoken_of = |field: &str| document.fields.get(field).is_some();
        for ((column, place), cell) in table.columns.iter().zip(&row) {
            if is_spoken_of(&column.field) {
                continue;
            }
            forgotten.set(column.number, known.cell(column));
            if digest(cell) == known.cell(column) {
                continue;
            }
            if let Some(digest) = self.to_default(table, key, column, *place)? {
                forgotten.set(column.number, digest);
            }
        }
        Ok(forgotten)
    }

    /// Gives a column of a row its default: the digest of it. What cannot be the default stays.
    pub(crate) fn to_default(
        &self,
        table: &Table,
        key: &[Value],
        column: &KnownColumn,
        place: usize,
    ) -> Result<Option<u64>, Error> {
        let default = table.column(place).and_then(|column| column.default.as_deref());
        let sql = format!(
            "UPDATE OR ABORT {} SET {} = ({}) WHERE {}",
            quoted(table.name()),
            quoted(&column.name),
            default.unwrap_or("NULL"),
            table.matches_key(1)
        );
        let done = self.connection.prepare_cached(&sql).map_err(Error::from).and_then(|mut statement| {
            crate::file::bind(&mut statement, key)?;
            Ok(statement.raw_execute()?)
        });
        match done {
            Ok(_) => {
                let after = self.row(table, key)?.unwrap_or_default();
                let at = table.columns.iter().position(|(one, _)| one.number == column.number);
                Ok(at.and_then(|at| after.get(at)).map(digest))
            }
            // An audit finds it.
            Err(Error::File(error))
                if matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::Unknown)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
