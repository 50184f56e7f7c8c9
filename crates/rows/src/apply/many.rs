//! Documents that come together: what is known of their rows is read at once, rows that are new go into their table with
//! one statement for several, and rows that are different are written with one that stays at hand. What cannot go that
//! way goes one by one, with the same outcome.

use driftless::{Document, DocumentId, Value};

use super::Pass;
use super::row::{Cell, Refusal, silent};
use crate::cell;
use crate::error::Error;
use crate::file::{Table, bind, bind_from};
use crate::ledger::{self, Known, ROWS};
use crate::schema::quoted;

// Values of one statement: SQLite allows some thousands more.
const VALUES: usize = 8_000;
// Rows that are different, until they are written.
const CHANGED: usize = 4 * ROWS;

/// One document that came, and what became of it.
pub(super) type Came<'d> = (&'d DocumentId, Option<&'d Document>);

// A row that is written with others.
struct Plain<'d> {
    id: &'d DocumentId,
    document: &'d Document,
    key: Vec<Value>,
    bytes: &'d [u8],
    /// Of a row that is there, those that are different.
    cells: Vec<Cell<'d>>,
    /// What is known of it once it is written.
    known: Known,
}

// How a document becomes a row.
enum Way<'d> {
    Same,
    New(Plain<'d>),
    Changed(Plain<'d>),
    Alone,
}

impl Pass<'_> {
    /// Writes documents of one table, each once.
    pub(super) fn together(&mut self, table: usize, came: &[Came<'_>]) -> Result<(), Error> {
        let Some(of) = self.file.tables.get(table).cloned() else { return Ok(()) };
        let ids: Vec<Vec<u8>> = came.iter().map(|(id, _)| id.to_cbor()).collect();
        self.met = Some(ledger::known_of(&self.file.connection, of.number, &ids)?);
        let width = of.described.key.len() + of.columns.len();
        let at_once = !self.has_triggers(table) && of.described.foreign.is_empty() && width * ROWS <= VALUES;
        let (mut new, mut changed) = (Vec::new(), Vec::new());
        let is_parent = self.parents.get(table).copied().unwrap_or_default();
        for ((id, document), bytes) in came.iter().zip(&ids) {
            if is_parent && document.is_none() && self.met.as_mut().is_none_or(|met| met.get(bytes).is_some())
            {
                self.gone.push((table, (*id).clone()));
                continue;
            }
            let way = match document.filter(|_| at_once) {
                Some(document) => self.way(table, &of, id, document, bytes),
                None => Way::Alone,
            };
            match way {
                Way::Same => {}
                Way::New(row) => {
                    if new.first().is_some_and(|first: &Plain<'_>| !first.is_like(&row)) {
                        self.one_by_one(table, &mut new)?;
                    }
                    new.push(row);
                    if new.len() == ROWS {
                        self.insert(table, &of, &mut new)?;
                    }
                }
                Way::Changed(row) => {
                    changed.push(row);
                    if changed.len() == CHANGED {
                        self.update(table, &of, std::mem::take(&mut changed))?;
                    }
                }
                Way::Alone => self.one(table, id, *document)?,
            }
        }
        self.update(table, &of, changed)?;
        self.one_by_one(table, &mut new)?;
        self.met = None;
        Ok(())
    }

    // Nothing speaks against what goes with others, but perhaps a constraint.
    fn way<'d>(
        &mut self,
        table: usize,
        of: &Table,
        id: &'d DocumentId,
        document: &'d Document,
        bytes: &'d [u8],
    ) -> Way<'d> {
        let is_barred = self.file.barred.why(table, id).is_some();
        if self.waits || is_barred || !self.busy.is_empty() || !self.cascaded.is_empty() {
            return Way::Alone;
        }
        let Some(known) = self.met.as_mut().map(|met| met.get(bytes).cloned()) else { return Way::Alone };
        let mut cells = self.cells(of, document);
        // A row of a table that others may refer to can have to make way first.
        if cells.len() != document.fields.len() || (known.is_some() && self.refers) {
            return Way::Alone;
        }
        if cells.len() < of.columns.len()
            && known.as_ref().is_some_and(|known| silent(of, document, known).next().is_some())
        {
            return Way::Alone;
        }
        if known.as_ref().is_some_and(|known| !cells.iter().any(|cell| cell.differs(of, known))) {
            self.latest = self.latest.max(document.updated.ms());
            return Way::Same;
        }
        let next = self.next(of, known.clone(), &cells);
        if let Some(known) = &known {
            cells.retain(|cell| cell.differs(of, known));
        }
        let is_plain = cells.iter().all(|cell| cell.kept && !cell::is_odd_text(&cell.value));
        let Some(key) = of.key_of(id).filter(|_| is_plain) else { return Way::Alone };
        let row = Plain { id, document, key, bytes, cells, known: next };
        if known.is_some() { Way::Changed(row) } else { Way::New(row) }
    }

    fn one_by_one(&mut self, table: usize, rows: &mut Vec<Plain<'_>>) -> Result<(), Error> {
        rows.drain(..).try_for_each(|row| self.one(table, row.id, Some(row.document)))
    }

    // All of them with one statement, or each for itself if a constraint says no to one.
    fn insert(&mut self, table: usize, of: &Table, new: &mut Vec<Plain<'_>>) -> Result<(), Error> {
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
        let known = new.iter().map(|row| (row.bytes, &row.known));
        self.many.add_known(&self.file.connection, of.number, known)?;
        self.applied.inserted += new.len() as u64;
        self.written(new);
        new.clear();
        Ok(())
    }

    // Each with the statement of the one before it, where the same columns are different.
    fn update(&mut self, table: usize, of: &Table, changed: Vec<Plain<'_>>) -> Result<(), Error> {
        if changed.is_empty() {
            return Ok(());
        }
        self.file.let_triggers_run(false)?;
        let mut is_done = Vec::with_capacity(changed.len());
        for like in changed.chunk_by(Plain::is_like) {
            let sql = self.statement(table, of, true, like.first().map_or(&[], |row| &row.cells));
            let mut statement = match self.file.connection.prepare_cached(&sql) {
                Ok(statement) => statement,
                // A table that needs what only the application has.
                Err(error) => {
                    Refusal(error).reason()?;
                    is_done.extend(like.iter().map(|_| false));
                    continue;
                }
            };
            for row in like {
                bind(&mut statement, row.cells.iter().map(|cell| &*cell.value).chain(&row.key))?;
                is_done.push(match statement.raw_execute() {
                    Ok(rows) => rows > 0,
                    Err(error) => Refusal(error).reason().map(|_| false)?,
                });
            }
        }
        let mut is_done = is_done.into_iter();
        let (done, mut alone): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|_| is_done.next().unwrap_or_default());
        let connection = &self.file.connection;
        self.many.put_known(connection, of.number, done.iter().map(|row| (row.bytes, &row.known)))?;
        if !self.in_line {
            self.many.put_contested(connection, &of.collection, done.iter().map(|row| row.bytes))?;
        }
        self.applied.updated += done.len() as u64;
        self.written(&done);
        // What is to be done with the others is seen when each is tried alone.
        self.one_by_one(table, &mut alone)
    }

    fn written(&mut self, rows: &[Plain<'_>]) {
        let updated = rows.iter().map(|row| row.document.updated.ms());
        self.latest = self.latest.max(updated.max().unwrap_or_default());
    }
}

impl Plain<'_> {
    // Whether the same statement writes both.
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
