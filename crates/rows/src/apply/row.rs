//! Writing one row: what is different of it, under the application's constraints.

use driftless::{Document, DocumentId, Value};
use rusqlite::{ErrorCode, ffi};

use super::way::Room;
use super::{CHECK, COLUMN, KEY, NOT_NULL, OTHER, Outcome, PARENT, Pass, TRIES, UNIQUE};
use crate::cell::{self, Bound, digest};
use crate::error::Error;
use crate::file::{Table, bind, now_ms};
use crate::ledger::{self, Known};
use crate::schema::quoted;

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
        let known = ledger::known(&self.file.connection, of.number, &bytes)?;
        let mut next = known.clone().unwrap_or_default();
        let (mut columns, mut values, mut again) = (Vec::new(), Vec::new(), Vec::new());
        let (mut said, mut base) = (0, driftless::Map::new());
        for (at, (column, place)) in of.columns.iter().enumerate() {
            let Some(field) = document.fields.get(&column.field) else { continue };
            said += 1;
            let value = self.file.reconciler.cell(of.name(), &column.name, field);
            let digest = digest(&value);
            if of.based && self.file.reconciler.needs_before(of.name(), &column.name) {
                base.insert(column.field.as_str(), value.clone());
            }
            if known.as_ref().is_some_and(|known| known.cell(column) == digest) {
                continue;
            }
            if !of.affinity(*place).keeps(&value) {
                again.push(at);
            }
            next.set(column.number, digest);
            columns.push(at);
            values.push(value);
        }
        if of.based {
            next.base = Some(Value::Map(base).to_json());
        }
        // Of a column that came since the row, and that the document does not speak of, the default stays.
        if said < document.fields.len() {
            let unknown = document.fields.iter().map(|(field, _)| field);
            let unknown: Vec<&str> = unknown
                .filter(|field| !of.columns.iter().any(|(column, _)| column.field == *field))
                .collect();
            let why = format!("there is no column for {} here", some_of(&unknown));
            self.waits = true;
            ledger::put_waiting(&self.file.connection, &of.collection, id, COLUMN, &why, now_ms())?;
        } else if self.waits {
            ledger::forget_waiting(&self.file.connection, &of.collection, &bytes)?;
        }
        if known.is_some() && columns.is_empty() {
            return Ok(Outcome::Done);
        }
        let mut there = known.is_some();
        for _ in 0..TRIES {
            let sql = self.statement(table, &of, there, &columns, &values);
            if there && self.refers {
                let names: Vec<String> = columns
                    .iter()
                    .filter_map(|at| of.columns.get(*at))
                    .map(|(column, _)| column.name.clone())
                    .collect();
                self.make_way(table, &key, Some(&names))?;
            }
            self.file.let_triggers_run(self.has_triggers(table))?;
            let all: Vec<Value> = if there {
                values.iter().chain(&key).cloned().collect()
            } else {
                key.iter().chain(&values).cloned().collect()
            };
            match self.execute_guarded(self.has_triggers(table) || (there && self.refers), &sql, &all) {
                Ok(0) if !there || self.file.row(&of, &key)?.is_some() => {
                    return Ok(Outcome::Waits(OTHER, IGNORED.into()));
                }
                // The row went without a trace, by a REPLACE: it comes again.
                Ok(0) => {
                    there = false;
                    next = Known::default();
                    (columns, values) = self.whole(&of, document, &mut next, &mut again);
                }
                Ok(_) => {
                    if !again.is_empty() {
                        self.read_again(&of, &key, &again, &mut next)?;
                    }
                    ledger::put_known(&self.file.connection, of.number, &bytes, &next)?;
                    if there {
                        self.applied.updated += 1;
                        ledger::put_contested(&self.file.connection, &of.collection, &bytes)?;
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
                Err(refusal) if !refusal.is_unique() => {
                    let (reason, why) = refusal.reason()?;
                    return Ok(Outcome::Waits(reason, why));
                }
                Err(refusal) => match self.make_room(table, &of, &key, document)? {
                    Room::Made => {}
                    Room::None(why) => {
                        return Ok(Outcome::Waits(UNIQUE, why.unwrap_or_else(|| refusal.text())));
                    }
                },
            }
        }
        Ok(Outcome::Waits(UNIQUE, "other rows do not make way for it".into()))
    }

    pub(super) fn whole(
        &self,
        of: &Table,
        document: &Document,
        next: &mut Known,
        again: &mut Vec<usize>,
    ) -> (Vec<usize>, Vec<Value>) {
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for (at, (column, place)) in of.columns.iter().enumerate() {
            let Some(field) = document.fields.get(&column.field) else { continue };
            let value = self.file.reconciler.cell(of.name(), &column.name, field);
            if !of.affinity(*place).keeps(&value) && !again.contains(&at) {
                again.push(at);
            }
            next.set(column.number, digest(&value));
            columns.push(at);
            values.push(value);
        }
        (columns, values)
    }

    pub(super) fn statement(
        &mut self,
        table: usize,
        of: &Table,
        there: bool,
        columns: &[usize],
        values: &[Value],
    ) -> String {
        let text = |value: &Value| matches!(cell::bound(value), Bound::Text(_));
        let odd = values.iter().any(text);
        let at = (table, there, columns.to_vec());
        if !odd && let Some(sql) = self.statements.get(&at) {
            return sql.clone();
        }
        let parameter = |n: usize, value: &Value| {
            if text(value) { format!("CAST(?{n} AS TEXT)") } else { format!("?{n}") }
        };
        let names =
            columns.iter().filter_map(|at| of.columns.get(*at)).map(|(column, _)| quoted(&column.name));
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
            let keys = of.key_columns();
            let first = keys.len() + 1;
            let parameters = (1..first)
                .map(|n| format!("?{n}"))
                .chain(values.iter().enumerate().map(|(n, value)| parameter(n + first, value)));
            let parameters: Vec<String> = parameters.collect();
            let names: Vec<String> = keys.iter().cloned().chain(names).collect();
            format!(
                "INSERT OR ABORT INTO {}({}) VALUES({})",
                quoted(of.name()),
                names.join(", "),
                parameters.join(", ")
            )
        };
        if !odd {
            self.statements.insert(at, sql.clone());
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
    pub(super) fn execute_guarded(
        &self,
        guarded: bool,
        sql: &str,
        values: &[Value],
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

    pub(super) fn execute(&self, sql: &str, values: &[Value]) -> Result<usize, Refusal> {
        let mut statement = self.file.connection.prepare_cached(sql)?;
        bind(&mut statement, values).map_err(|error| match error {
            Error::File(error) => Refusal(error),
            other => Refusal(rusqlite::Error::ToSqlConversionFailure(other.to_string().into())),
        })?;
        Ok(statement.raw_execute()?)
    }
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
            other => other.to_string(),
        }
    }

    // Why the row waits; an error if it is not the row's fault.
    pub(super) fn reason(self) -> Result<(&'static str, String), Error> {
        let text = self.text();
        Ok(match self.extended() {
            ffi::SQLITE_CONSTRAINT_NOTNULL => (NOT_NULL, text),
            ffi::SQLITE_CONSTRAINT_CHECK => (CHECK, text),
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
