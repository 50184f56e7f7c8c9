//! Writing one row: what is different of it, under the application's constraints.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::rc::Rc;

use driftless::{Document, DocumentId, Value};
use rusqlite::{ErrorCode, ffi};

use super::way::Room;
use super::{CHECK, COLUMN, KEY, NOT_NULL, OTHER, Outcome, PARENT, Pass, TRIES, TYPE, UNIQUE};
use crate::cell::{self, digest};
use crate::error::Error;
use crate::file::{Table, bind, now_ms};
use crate::ledger::{self, Known, KnownColumn};
use crate::schema::quoted;

// One cell that a document speaks of.
pub(super) struct Cell<'d> {
    /// Its place in `Table::columns`.
    pub at: usize,
    pub value: Cow<'d, Value>,
    pub digest: u64,
    /// Whether the column stores it as it is.
    pub kept: bool,
}

impl Cell<'_> {
    /// Whether it is another than what is known of its row.
    pub(super) fn differs(&self, of: &Table, known: &Known) -> bool {
        of.columns.get(self.at).is_some_and(|(column, _)| known.cell(column) != self.digest)
    }
}

/// The statement that was used last, and for what.
pub(super) struct Written {
    table: usize,
    there: bool,
    columns: Vec<usize>,
    sql: Rc<str>,
}

impl Pass<'_> {
    // The value that a document gives a column; `None` if it says nothing of it.
    pub(super) fn value(&self, of: &Table, key: &[Value], document: &Document, name: &str) -> Option<Value> {
        let place = of
            .described
            .key
            .iter()
            .position(|at| of.column(*at).is_some_and(|column| column.name.eq_ignore_ascii_case(name)));
        if let Some(place) = place {
            return key.get(place).cloned();
        }
        let column = of.known_column(name)?;
        let field = document.fields.get(&column.field)?;
        Some(self.file.reconciler.cell(of.name(), &column.name, field))
    }

    // Writes what is different of a row.
    pub(super) fn write(
        &mut self,
        table: usize,
        id: &DocumentId,
        document: &Document,
    ) -> Result<Outcome, Error> {
        let Some(of) = self.file.tables.get(table).cloned() else { return Ok(Outcome::Done) };
        let Some(key) = of.key_of(id) else {
            return Ok(Outcome::Waits(KEY, "its id is no key of this table".into()));
        };
        let bytes = id.to_cbor();
        let connection = &self.file.connection;
        let mut cells = self.cells(&of, document);
        // One that was made and never changed is mostly new here: to note what is known of it is to ask whether it was.
        let mut reserved = false;
        if self.met.is_none() && document.created == document.updated {
            let next = self.next(&of, None, &cells);
            reserved = ledger::add_known(connection, of.number, &bytes, &next)?;
        }
        let known = match &mut self.met {
            Some(met) => met.take(&bytes),
            None if reserved => None,
            None => ledger::known(connection, of.number, &bytes)?,
        };
        // Of a column that came since the row, and that the document does not speak of, the default stays.
        if cells.len() < document.fields.len() {
            let unknown = document.fields.iter().map(|(field, _)| field);
            let unknown: Vec<&str> = unknown
                .filter(|field| !of.columns.iter().any(|(column, _)| column.field == *field))
                .collect();
            let why = format!("there is no column for {} here", some_of(&unknown));
            ledger::put_waiting(connection, &of.collection, id, COLUMN, &why, now_ms())?;
            self.waits = true;
        } else if self.waits {
            ledger::forget_waiting(connection, &of.collection, &bytes)?;
        }
        let mut next = self.next(&of, known.clone(), &cells);
        if let Some(known) = &known {
            self.restore_defaults(table, &of, document, known, &mut next)?;
            cells.retain(|cell| cell.differs(&of, known));
            if cells.is_empty() {
                if next != *known {
                    ledger::put_known(&self.file.connection, of.number, &bytes, &next)?;
                }
                return Ok(Outcome::Done);
            }
        }
        let mut there = known.is_some();
        for _ in 0..TRIES {
            let sql = self.statement(table, &of, there, &cells);
            if there && self.refers {
                let names: Vec<String> = cells
                    .iter()
                    .filter_map(|cell| of.columns.get(cell.at))
                    .map(|(column, _)| column.name.clone())
                    .collect();
                self.make_way(table, &key, Some(&names))?;
            }
            self.file.let_triggers_run(self.has_triggers(table))?;
            let values = cells.iter().map(|cell| &*cell.value);
            let guarded = self.has_triggers(table) || (there && self.refers);
            let written = match there {
                true => self.execute_guarded(guarded, &sql, values.chain(&key)),
                false => self.execute_guarded(guarded, &sql, key.iter().chain(values)),
            };
            let refusal = match written {
                Ok(0) if !there || self.file.row(&of, &key)?.is_some() => {
                    if reserved {
                        ledger::forget_known(&self.file.connection, of.number, &bytes)?;
                    }
                    return Ok(Outcome::Breaks(OTHER, IGNORED.into()));
                }
                // The row went without a trace, by a REPLACE: it comes again.
                Ok(0) => {
                    there = false;
                    cells = self.cells(&of, document);
                    next = self.next(&of, None, &cells);
                    continue;
                }
                Ok(_) => {
                    let again =
                        cells.iter().filter(|cell| !cell.kept).map(|cell| cell.at).collect::<Vec<_>>();
                    if !again.is_empty() {
                        self.read_again(&of, &key, &again, &mut next)?;
                    }
                    if !reserved || !again.is_empty() {
                        ledger::put_known(&self.file.connection, of.number, &bytes, &next)?;
                    }
                    if there {
                        self.applied.updated += 1;
                        if !self.in_line {
                            ledger::put_contested(&self.file.connection, &of.collection, &bytes)?;
                        }
                    } else {
                        self.applied.inserted += 1;
                    }
                    if !of.described.foreign.is_empty() {
                        self.touched.insert((table, id.clone()));
                    }
                    return Ok(Outcome::Done);
                }
                Err(refusal) if self.file.connection.is_autocommit() => {
                    self.file.barred.bar(table, id, &refusal.text());
                    return Err(refusal.0.into());
                }
                Err(refusal) => refusal,
            };
            if std::mem::take(&mut reserved) {
                ledger::forget_known(&self.file.connection, of.number, &bytes)?;
            }
            if !refusal.is_unique() {
                let is_by_row = refusal.is_by_row();
                let (reason, why) = refusal.reason()?;
                return Ok(if is_by_row {
                    Outcome::Breaks(reason, why)
                } else {
                    Outcome::Waits(reason, why)
                });
            }
            if let Room::None(why) = self.make_room(table, &of, &key, document)? {
                return Ok(Outcome::Waits(UNIQUE, why.unwrap_or_else(|| refusal.text())));
            }
        }
        Ok(Outcome::Waits(UNIQUE, "other rows do not make way for it".into()))
    }

    // A column that a document spoke of once, and does not any more, was of a row that was deleted before this one was made, or
    // was taken out: it has its default, as where the row is made only now. What a row has in a column of which nobody ever
    // spoke is its own.
    fn restore_defaults(
        &mut self,
        table: usize,
        of: &Table,
        document: &Document,
        known: &Known,
        next: &mut Known,
    ) -> Result<(), Error> {
        let mut silent: Vec<&(KnownColumn, usize)> = silent(of, document, known).collect();
        if silent.is_empty() {
            return Ok(());
        }
        let mut spoken = vec![false; silent.len()];
        self.collection(table)?.get_keeping(&document.id, &mut |before| {
            for (spoken, (column, _)) in spoken.iter_mut().zip(&silent) {
                *spoken |= before.fields.get(&column.field).is_some();
            }
            match spoken.iter().all(|spoken| *spoken) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(true),
            }
        })?;
        let mut spoken = spoken.into_iter();
        silent.retain(|_| spoken.next().unwrap_or_default());
        let Some(key) = of.key_of(&document.id).filter(|_| !silent.is_empty()) else { return Ok(()) };
        if self.refers {
            let names: Vec<String> = silent.iter().map(|(column, _)| column.name.clone()).collect();
            self.make_way(table, &key, Some(&names))?;
        }
        self.file.let_triggers_run(self.has_triggers(table))?;
        for (column, place) in silent {
            if let Some(digest) = self.file.to_default(of, &key, column, *place)?
                && digest != known.cell(column)
            {
                next.set(column.number, digest);
                self.applied.updated += 1;
            }
        }
        Ok(())
    }

    // What a document says of the columns that there are.
    pub(super) fn cells<'d>(&self, of: &Table, document: &'d Document) -> Vec<Cell<'d>> {
        let mut cells = Vec::with_capacity(of.columns.len());
        for (at, (column, place)) in of.columns.iter().enumerate() {
            let Some(field) = document.fields.get(&column.field) else { continue };
            let value = match of.plain.get(at) {
                Some(true) => Cow::Borrowed(field),
                _ => Cow::Owned(self.file.reconciler.cell(of.name(), &column.name, field)),
            };
            let (digest, kept) = (digest(&value), of.affinity(*place).keeps(&value));
            cells.push(Cell { at, value, digest, kept });
        }
        cells
    }

    // What is known of a row once it has these cells.
    pub(super) fn next(&self, of: &Table, known: Option<Known>, cells: &[Cell<'_>]) -> Known {
        let mut next = known.unwrap_or_else(|| {
            Known::with_room(of.columns.last().map_or(0, |(column, _)| column.number + 1))
        });
        let mut base = driftless::Map::new();
        for cell in cells {
            let Some((column, _)) = of.columns.get(cell.at) else { continue };
            next.set(column.number, cell.digest);
            if of.based && self.file.reconciler.needs_before(of.name(), &column.name) {
                base.insert(column.field.as_str(), cell.value.clone().into_owned());
            }
        }
        if of.based {
            next.base = Some(Value::Map(base).to_json());
        }
        next
    }

    // The statement that writes these cells. Mostly it is that of the row before.
    pub(super) fn statement(&mut self, table: usize, of: &Table, there: bool, cells: &[Cell<'_>]) -> Rc<str> {
        let columns = cells.iter().map(|cell| cell.at);
        let odd = cells.iter().any(|cell| cell::is_odd_text(&cell.value));
        if let Some(last) = &self.last
            && !odd
            && last.table == table
            && last.there == there
            && columns.clone().eq(last.columns.iter().copied())
        {
            return last.sql.clone();
        }
        let names =
            columns.clone().filter_map(|at| of.columns.get(at)).map(|(column, _)| quoted(&column.name));
        let values = cells.iter().map(|cell| &*cell.value);
        // What the table says of conflicts is not asked: nothing is ever replaced.
        let sql = if there {
            let set: Vec<String> = names
                .zip(values)
                .enumerate()
                .map(|(n, (name, value))| format!("{name} = {}", parameter(n + 1, value)))
                .collect();
            let on = quoted(of.name());
            format!("UPDATE OR ABORT {on} SET {} WHERE {}", set.join(", "), of.matches_key(set.len() + 1))
        } else {
            insertion(of, cells)
        };
        let sql: Rc<str> = sql.into();
        if !odd {
            self.last = Some(Written { table, there, columns: columns.collect(), sql: sql.clone() });
        }
        sql
    }

    // What SQLite has made of values on the way into their columns.
    pub(super) fn read_again(
        &self,
        of: &Table,
        key: &[Value],
        again: &[usize],
        next: &mut Known,
    ) -> Result<(), Error> {
        let Some(row) = self.file.row(of, key)? else { return Ok(()) };
        for at in again {
            if let (Some((column, _)), Some(cell)) = (of.columns.get(*at), row.get(*at)) {
                next.set(column.number, digest(cell));
            }
        }
        Ok(())
    }

    /// As `execute`; of what triggers of the application or chains of foreign keys make fail nothing is left behind.
    pub(super) fn execute_guarded<'v>(
        &self,
        guarded: bool,
        sql: &str,
        values: impl IntoIterator<Item = &'v Value>,
    ) -> Result<usize, Refusal> {
        if !guarded {
            return self.execute(sql, values);
        }
        let run = |sql: &str| self.file.connection.prepare_cached(sql).and_then(|mut run| run.raw_execute());
        run("SAVEPOINT driftless_row")?;
        let done = self.execute(sql, values);
        // A trigger can have rolled everything back.
        if !self.file.connection.is_autocommit() {
            if done.is_err() {
                run("ROLLBACK TO driftless_row")?;
            }
            run("RELEASE driftless_row")?;
        }
        done
    }

    pub(super) fn execute<'v>(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = &'v Value>,
    ) -> Result<usize, Refusal> {
        let mut statement = self.file.connection.prepare_cached(sql)?;
        bind(&mut statement, values).map_err(|error| match error {
            Error::File(error) => Refusal(error),
            other => Refusal(rusqlite::Error::ToSqlConversionFailure(other.to_string().into())),
        })?;
        Ok(statement.raw_execute()?)
    }
}

fn parameter(n: usize, value: &Value) -> String {
    if cell::is_odd_text(value) { format!("CAST(?{n} AS TEXT)") } else { format!("?{n}") }
}

/// The statement that makes a row of these cells.
pub(super) fn insertion(of: &Table, cells: &[Cell<'_>]) -> String {
    let keys = of.key_columns();
    let first = keys.len() + 1;
    let values = cells.iter().enumerate().map(|(n, cell)| parameter(n + first, &cell.value));
    let parameters: Vec<String> = (1..first).map(|n| format!("?{n}")).chain(values).collect();
    let columns = cells.iter().filter_map(|cell| of.columns.get(cell.at));
    let names: Vec<String> =
        keys.into_iter().chain(columns.map(|(column, _)| quoted(&column.name))).collect();
    let on = quoted(of.name());
    format!("INSERT OR ABORT INTO {on}({}) VALUES({})", names.join(", "), parameters.join(", "))
}

/// The columns of a row of which more is known than its document says.
pub(super) fn silent<'t>(
    of: &'t Table,
    document: &'t Document,
    known: &'t Known,
) -> impl Iterator<Item = &'t (KnownColumn, usize)> {
    of.columns.iter().filter(|(column, _)| {
        known.cells.get(column.number).is_some_and(|digest| *digest != 0)
            && document.fields.get(&column.field).is_none()
    })
}

// Some names, for people: there may be thousands, and each may be long.
fn some_of(names: &[&str]) -> String {
    let short = |name: &&str| name.chars().take(64).collect::<String>();
    let shown: Vec<String> = names.iter().take(8).map(short).collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} others", shown.join(", ")),
    }
}

/// Why a row is as it was though nothing failed.
pub(super) const IGNORED: &str = "a trigger of the application ignores it";

/// A statement that SQLite did not carry out.
pub(super) struct Refusal(pub(super) rusqlite::Error);

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self(error)
    }
}

impl Refusal {
    pub(super) fn extended(&self) -> i32 {
        self.0.sqlite_error().map_or(0, |error| error.extended_code)
    }

    pub(super) fn is_unique(&self) -> bool {
        let unique =
            [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY, ffi::SQLITE_CONSTRAINT_ROWID];
        unique.contains(&self.extended())
    }

    pub(super) fn text(&self) -> String {
        match &self.0 {
            rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            other => other.to_string(),
        }
    }

    // Why the row waits; an error if it is not the row's fault.
    pub(super) fn reason(self) -> Result<(&'static str, String), Error> {
        let text = self.text();
        // The table or one of its triggers needs what only the application has.
        if matches!(&self.0, rusqlite::Error::SqlInputError { error, .. } if error.code == ErrorCode::Unknown)
        {
            return Ok((OTHER, text));
        }
        Ok(match self.extended() {
            ffi::SQLITE_CONSTRAINT_NOTNULL => (NOT_NULL, text),
            ffi::SQLITE_CONSTRAINT_CHECK => (CHECK, text),
            ffi::SQLITE_CONSTRAINT_DATATYPE => (TYPE, text),
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => (PARENT, text),
            _ => match self.0.sqlite_error_code() {
                // What a trigger of the application says, or what it needs and we do not have.
                Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
                | Some(ErrorCode::Unknown) => (OTHER, text),
                _ => return Err(self.0.into()),
            },
        })
    }
}
