//! Documents that come together: what is known of their rows is read at once, and rows that are new go into their table
//! with one statement for several. What cannot go that way goes one by one, with the same outcome.

use std::collections::HashMap;

use driftless::{Document, DocumentId, Value};

use super::Pass;
use super::row::{Cell, Refusal};
use crate::cell;
use crate::error::Error;
use crate::file::{Table, bind_from};
use crate::ledger;
use crate::schema::quoted;

// Rows of one statement. Twice as many cost the same.
pub(super) const ROWS: usize = 16;
// Values of one statement: SQLite allows some thousands more.
const VALUES: usize = 8_000;

/// One document that came, and what became of it.
pub(super) type Came<'d> = (&'d DocumentId, Option<&'d Document>);

// A row that is new here and goes in with others.
struct New<'d> {
    id: &'d DocumentId,
    document: &'d Document,
    key: Vec<Value>,
    bytes: Vec<u8>,
    cells: Vec<Cell<'d>>,
}

impl Pass<'_> {
    /// Writes documents of one table, each once.
    pub(super) fn together(&mut self, table: usize, came: &[Came<'_>]) -> Result<(), Error> {
        let Some(of) = self.file.tables.get(table).cloned() else { return Ok(()) };
        self.met = self.known_of(&of, came)?;
        let width = of.described.key.len() + of.columns.len();
        let at_once = !self.has_triggers(table) && of.described.foreign.is_empty() && width * ROWS <= VALUES;
        let mut new = Vec::new();
        for (id, document) in came {
            match document.filter(|_| at_once).and_then(|document| self.new_row(table, &of, id, document)) {
                Some(row) => {
                    if new.first().is_some_and(|first: &New<'_>| !first.is_like(&row)) {
                        self.one_by_one(table, &mut new)?;
                    }
                    new.push(row);
                    if new.len() == ROWS {
                        self.insert(table, &of, &mut new)?;
                    }
                }
                None => self.one(table, id, *document)?,
            }
        }
        self.one_by_one(table, &mut new)?;
        self.met = None;
        Ok(())
    }

    // What is known of rows, if there are not many others between them.
    fn known_of(
        &self,
        of: &Table,
        came: &[Came<'_>],
    ) -> Result<Option<HashMap<Vec<u8>, ledger::Known>>, Error> {
        let ids = || came.iter().map(|(id, _)| id.to_cbor());
        let (Some(first), Some(last)) = (ids().min(), ids().max()) else { return Ok(None) };
        ledger::known_between(&self.file.connection, of.number, &first, &last, came.len())
    }

    // A row that was not here, and that nothing speaks against but perhaps a constraint.
    fn new_row<'d>(
        &self,
        table: usize,
        of: &Table,
        id: &'d DocumentId,
        document: &'d Document,
    ) -> Option<New<'d>> {
        let is_barred = self.file.barred.why(table, id).is_some();
        if self.waits || is_barred || !self.busy.is_empty() || !self.cascaded.is_empty() {
            return None;
        }
        let bytes = id.to_cbor();
        if self.met.as_ref()?.contains_key(&bytes) {
            return None;
        }
        let (key, cells) = (of.key_of(id)?, self.cells(of, document));
        let is_plain = cells.iter().all(|cell| cell.kept && !cell::is_odd_text(&cell.value));
        let is_whole = cells.len() == document.fields.len();
        (is_plain && is_whole).then_some(New { id, document, key, bytes, cells })
    }

    fn one_by_one(&mut self, table: usize, new: &mut Vec<New<'_>>) -> Result<(), Error> {
        new.drain(..).try_for_each(|row| self.one(table, row.id, Some(row.document)))
    }

    // All of them with one statement, or each for itself if a constraint says no to one.
    fn insert(&mut self, table: usize, of: &Table, new: &mut Vec<New<'_>>) -> Result<(), Error> {
        self.file.let_triggers_run(false)?;
        let Some(first) = new.first() else { return Ok(()) };
        let width = first.key.len() + first.cells.len();
        let done = {
            let like = (table, first.cells.iter().map(|cell| cell.at).collect::<Vec<_>>());
            let sql = match self.several.take() {
                Some((same, sql)) if same == like => sql,
                _ => first.sql(of),
            };
            // A table that needs what only the application has is none that we can write.
            match self.file.connection.prepare_cached(&sql) {
                Err(error) => Err(error),
                Ok(mut statement) => {
                    self.several = Some((like, sql));
                    for (n, row) in new.iter().enumerate() {
                        let values = row.key.iter().chain(row.cells.iter().map(|cell| &*cell.value));
                        bind_from(&mut statement, n * width, values)?;
                    }
                    statement.raw_execute()
                }
            }
        };
        if let Err(error) = done {
            // Which row it is about, and what is to be done, is seen when each is tried alone.
            return Refusal(error).reason().and_then(|_| self.one_by_one(table, new));
        }
        let known: Vec<(&[u8], ledger::Known)> =
            new.iter().map(|row| (&row.bytes[..], self.next(of, None, &row.cells))).collect();
        ledger::add_many(&self.file.connection, &self.adding, of.number, &known)?;
        self.applied.inserted += new.len() as u64;
        for row in new.drain(..) {
            self.latest = self.latest.max(row.document.updated.ms());
        }
        Ok(())
    }
}

impl New<'_> {
    // Whether the same statement inserts both.
    fn is_like(&self, other: &Self) -> bool {
        self.cells.iter().map(|cell| cell.at).eq(other.cells.iter().map(|cell| cell.at))
    }

    fn sql(&self, of: &Table) -> String {
        let cells = self.cells.iter().filter_map(|cell| of.columns.get(cell.at));
        let names: Vec<String> =
            of.key_columns().into_iter().chain(cells.map(|(column, _)| quoted(&column.name))).collect();
        let row = |n: usize| {
            let row: Vec<String> = (1..=names.len()).map(|at| format!("?{}", n * names.len() + at)).collect();
            format!("({})", row.join(", "))
        };
        let rows: Vec<String> = (0..ROWS).map(row).collect();
        format!("INSERT OR ABORT INTO {}({}) VALUES{}", quoted(of.name()), names.join(", "), rows.join(", "))
    }
}
