//! Documents that their table says no to: a check, NOT NULL, a type, or a trigger of the application. They come last, when
//! everything else is there; what is shown of them is in `fitting`.

use driftless::{Document, DocumentId, Value};
use rusqlite::ffi;

use super::row::Refusal;
use super::{OTHER, Outcome, PARENT, Pass, TRIES};
use crate::error::Error;
use crate::file::{Table, now_ms};
use crate::fitting::Fitting;
use crate::ledger;

// What it costs to ask the application's triggers about one commit, beside what a table in memory says.
const ASKED: usize = 64 << 10;
// Columns of which is said what they would be.
const SAID: usize = 8;
const SHORT: usize = 64;

impl Pass<'_> {
    /// Shows what can be shown of the documents that did not fit; what that makes possible comes after.
    pub(super) fn show_misfits(&mut self) -> Result<(), Error> {
        for _ in 0..TRIES {
            if self.misfits.is_empty() {
                return Ok(());
            }
            let mut came = false;
            for ((table, id), (reason, why)) in std::mem::take(&mut self.misfits) {
                let Some(of) = self.file.tables.get(table).cloned() else { continue };
                let before = ledger::known(&self.file.connection, of.number, &id.to_cbor())?;
                *self.shown.entry((table, id.clone())).or_default() += 1;
                self.show_misfit(table, &of, &id, reason, &why)?;
                came |= before != ledger::known(&self.file.connection, of.number, &id.to_cbor())?;
            }
            self.drain()?;
            if came {
                self.retry_waiting()?;
            }
            // Those that made way may not fit either, and some that was put off may fit now.
            self.settle()?;
        }
        // Those that make way for each other for ever.
        for _ in 0..TRIES {
            for ((table, id), (reason, why)) in std::mem::take(&mut self.misfits) {
                self.wait(table, &id, reason, &why, true)?;
            }
            self.drain()?;
            self.settle()?;
            if self.misfits.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn show_misfit(
        &mut self,
        table: usize,
        of: &Table,
        id: &DocumentId,
        mut reason: &'static str,
        why: &str,
    ) -> Result<(), Error> {
        let Some(document) = self.document(table, id)? else { return self.remove(table, id) };
        self.file.hold_mirror(of)?;
        let outcome = match self.file.misfit(of, &document)? {
            Some(misfit) => {
                reason = Refusal(misfit).reason()?.0;
                let shown = self.file.fitting(of, id, 0, &mut |_| Ok(true))?;
                self.write_misfit(table, of, &document, shown, reason, why)?
            }
            None => Outcome::Breaks(reason, why.to_owned()),
        };
        let Outcome::Breaks(_, why) = outcome else { return self.conclude(table, id, outcome) };
        // It is a trigger of the application. What it says to a row that comes is the same on every device more often than what
        // it says to a change of the row that is here.
        if !self.displace(table, id)? || !self.has_triggers(table) {
            return self.wait(table, id, reason, &why, true);
        }
        self.file.let_triggers_run(true)?;
        let shown = self.file.fitting(of, id, ASKED, &mut |document| self.is_let_in(table, of, document));
        let outcome = match shown {
            // A trigger has rolled everything back.
            Err(error) if self.file.connection.is_autocommit() => {
                self.file.barred.bar(table, id, &error.to_string());
                return Err(error);
            }
            shown => self.write_misfit(table, of, &document, shown?, reason, &why)?,
        };
        match outcome {
            Outcome::Breaks(reason, why) => self.wait(table, id, reason, &why, true),
            outcome => self.conclude(table, id, outcome),
        }
    }

    // Writes what is shown of a document, and lists it if that is not all; without anything that is shown there is no row.
    fn write_misfit(
        &mut self,
        table: usize,
        of: &Table,
        document: &Document,
        shown: Fitting,
        reason: &'static str,
        why: &str,
    ) -> Result<Outcome, Error> {
        let id = &document.id;
        let shown = match shown {
            Fitting::Shown(shown) => shown,
            Fitting::Nothing => {
                self.wait(table, id, reason, why, true)?;
                return Ok(Outcome::Done);
            }
            // The row stays what it is until then.
            Fitting::Later => {
                let why = format!("{why}; what of it can be shown is looked at another time");
                self.wait(table, id, OTHER, &why, false)?;
                return Ok(Outcome::Done);
            }
        };
        if let Some(missing) = self.missing_parents(table, &shown, false)?.pop() {
            return Ok(Outcome::Waits(PARENT, missing.why));
        }
        let outcome = self.write(table, id, &shown)?;
        let less = self.less(of, document, &shown);
        if matches!(outcome, Outcome::Done) && !less.is_empty() {
            self.waits = true;
            let why = format!("{why}; the row is without {less}");
            ledger::put_waiting(&self.file.connection, &of.collection, id, reason, &why, now_ms())?;
        }
        Ok(outcome)
    }

    // What a document says and its row does not.
    fn less(&self, of: &Table, document: &Document, shown: &Document) -> String {
        let cell = |document: &Document, at: usize| {
            let (column, _) = of.columns.get(at)?;
            let field = document.fields.get(&column.field)?;
            Some(self.file.reconciler.cell(of.name(), &column.name, field))
        };
        let mut less = Vec::new();
        for (at, (column, _)) in of.columns.iter().enumerate() {
            let said = cell(document, at);
            if said != cell(shown, at) {
                let said: String = said.unwrap_or(Value::Null).to_json().chars().take(SHORT).collect();
                less.push(format!("{} {said}", column.name));
            }
        }
        let more = less.len().saturating_sub(SAID);
        less.truncate(SAID);
        match more {
            0 => less.join(", "),
            more => format!("{} and {more} others", less.join(", ")),
        }
    }

    // Whether the table lets a row in that is not there; what came of asking is undone.
    fn is_let_in(&self, table: usize, of: &Table, document: &Document) -> Result<bool, Error> {
        let Some(key) = of.key_of(&document.id) else { return Ok(false) };
        let cells = self.cells(of, document);
        let sql = super::row::insertion(of, &cells);
        debug_assert!(self.has_triggers(table) && self.file.triggers_on);
        let run = |sql: &str| self.file.connection.prepare_cached(sql).and_then(|mut run| run.raw_execute());
        run("SAVEPOINT driftless_asked")?;
        let done = self.execute(&sql, key.iter().chain(cells.iter().map(|cell| &*cell.value)));
        if self.file.connection.is_autocommit() {
            return match done {
                Err(refusal) => Err(refusal.0.into()),
                Ok(_) => Err(Error::Invalid("a trigger of the application ended the transaction".into())),
            };
        }
        run("ROLLBACK TO driftless_asked")?;
        run("RELEASE driftless_asked")?;
        match done {
            Ok(rows) => Ok(rows > 0),
            // Another row decides about that.
            Err(refusal) if refusal.is_unique() => Ok(true),
            Err(refusal) if refusal.is_by_row() => Ok(false),
            Err(refusal) => refusal.reason().map(|_| false),
        }
    }
}

impl Refusal {
    /// Whether the table, or a trigger of the application, says no to these values; not that something is missing here.
    pub(super) fn is_by_row(&self) -> bool {
        let codes = [
            ffi::SQLITE_CONSTRAINT_CHECK,
            ffi::SQLITE_CONSTRAINT_NOTNULL,
            ffi::SQLITE_CONSTRAINT_DATATYPE,
            ffi::SQLITE_CONSTRAINT_TRIGGER,
        ];
        codes.contains(&self.extended())
    }
}
