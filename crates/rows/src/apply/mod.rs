//! From the database to the file: documents that changed become rows, in one transaction of the file, together with the
//! place up to which the space was followed. So it happens exactly once, whatever is killed when.
//!
//! A document is written as it is now, not edit by edit: doing it again changes nothing. The application's constraints
//! hold; what they refuse waits (`waiting`), and which of two rows has to wait is the same on every device: the one whose
//! parent is not there, and of two that claim one unique value the one that was created later.

mod many;
mod misfit;
mod row;
mod settle;
mod way;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use driftless::{Document, DocumentId, Since, Value};
use rusqlite::ErrorCode;

use crate::capture::APPLYING;
use crate::cell::{self, digest};
use crate::error::Error;
use crate::file::{Barred, File, Table, now_ms};
use crate::ledger::{self, INSERTED, UPDATED};

/// What an application of documents did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows that came.
    pub inserted: u64,
    /// Rows that are different.
    pub updated: u64,
    /// Rows that went.
    pub deleted: u64,
    /// Documents that are no rows now because a constraint says no, or are not wholly shown.
    pub waiting: u64,
}

// Documents that are read together. Of twice as many the vectors are so large that an allocator gives them back each time.
const TOGETHER: usize = 256;
// How often one row is tried in one pass: each time another row may have made way.
const TRIES: u32 = 16;
// How often in one pass it is looked at anew what of a document can be shown, because something else came.
const SHOWN: u32 = 2;
// How often what is applied waits for what the application writes meanwhile.
const ROUNDS: usize = 5;

// The stage of work that is told.
const WRITTEN: &str = "rows written";

/// Why a document is not a row.
pub(crate) const PARENT: &str = "parent_missing";
pub(crate) const UNIQUE: &str = "not_unique";
pub(crate) const NOT_NULL: &str = "not_null";
pub(crate) const CHECK: &str = "check";
pub(crate) const TYPE: &str = "type";
pub(crate) const OTHER: &str = "refused";
pub(crate) const KEY: &str = "key";
/// The row is there; a part of the document has no column.
pub(crate) const COLUMN: &str = "column_missing";

impl File {
    /// Writes what changed in the space to the tables.
    pub(crate) fn apply(&mut self, again: bool) -> Result<Applied, Error> {
        self.barred = Barred::default();
        let mut again = again;
        let mut round = 0;
        loop {
            let place = ledger::place(&self.connection)?;
            let since = self.space.changed_since(place.as_ref())?;
            let nothing = since.documents.as_ref().is_some_and(BTreeMap::is_empty);
            if nothing && !again {
                if place.as_ref() != Some(&since.place) {
                    self.write(|file| match file.is_followed()? {
                        true => ledger::put_place(&file.connection, &since.place),
                        false => Ok(()),
                    })?;
                }
                return Ok(Applied::default());
            }
            let done = self.pass(&since, self.keeps || round + 1 >= ROUNDS);
            self.let_triggers_run(true)?;
            if std::mem::take(&mut self.barred.again) {
                continue;
            }
            match done? {
                Some(applied) => return Ok(applied),
                // The application wrote meanwhile, or made other tables: that comes first.
                None => {
                    again |= self.follow_schema()?;
                    _ = self.flush()?;
                }
            }
            round += 1;
        }
    }

    fn pass(&mut self, since: &Since, anyway: bool) -> Result<Option<Applied>, Error> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let done = (|| {
            if !self.is_followed()? || (ledger::has_pending(&self.connection)? && !anyway) {
                return Ok(None);
            }
            self.connection.pragma_update(None, "defer_foreign_keys", true)?;
            self.effort.set(self.most_effort);
            let mut pass = Pass::new(self, since.in_line)?;
            pass.all(since)?;
            let applied = pass.finish(since)?;
            Ok(Some(applied))
        })();
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        done
    }
}

// What became of one document.
enum Outcome {
    Done,
    // Something it refers to is not there, perhaps not yet.
    Later(String),
    Waits(&'static str, String),
    // The table, or a trigger, says no to what the document is.
    Breaks(&'static str, String),
}

// One transaction of the file in which documents become rows.
struct Pass<'f> {
    file: &'f mut File,
    applied: Applied,
    queue: VecDeque<(usize, DocumentId)>,
    later: Vec<(usize, DocumentId, String)>,
    // Rows that the application's own foreign keys changed because their parent went: that is a change made here.
    cascaded: HashSet<(usize, DocumentId)>,
    // Rows of tables that others refer to, of which the documents are gone: they go when everything else is written.
    gone: Vec<(usize, DocumentId)>,
    // Rows that are going just now.
    leaving: HashSet<(usize, DocumentId)>,
    // Of each table, whether others refer to it.
    parents: Vec<bool>,
    // Documents that do not fit, and why.
    misfits: BTreeMap<(usize, DocumentId), (&'static str, String)>,
    tries: HashMap<(usize, DocumentId), u32>,
    // How often it was asked what can be shown of a document.
    shown: HashMap<(usize, DocumentId), u32>,
    // Written in this pass, of tables that refer to others.
    touched: BTreeSet<(usize, DocumentId)>,
    latest: u64,
    first_note: i64,
    busy: HashSet<(usize, Vec<u8>)>,
    triggers: bool,
    /// Whether anything waits, so that there is something to forget.
    waits: bool,
    /// Whether any table refers to others.
    refers: bool,
    /// Whether nothing that came was written without knowing what was here.
    in_line: bool,
    last: Option<row::Written>,
    /// The statement that inserted several rows last, and into which columns of which table.
    several: Option<((usize, Vec<usize>), String)>,
    /// The statements that say what is known of as many.
    many: ledger::Many,
    /// What is known of the rows that are written together, as long as that is sure.
    met: Option<ledger::Met>,
}

impl<'f> Pass<'f> {
    fn new(file: &'f mut File, in_line: bool) -> Result<Self, Error> {
        let clock: i64 = ledger::get(&file.connection, ledger::CLOCK)?.unwrap_or_default();
        let first_note =
            file.connection
                .query_row("SELECT coalesce(max(seq), 0) FROM driftless_pending", [], |row| row.get(0))?;
        let mut busy = HashSet::new();
        if first_note > 0 {
            // Rows that the application changes all the time wait for their turn.
            let mut statement = file.connection.prepare("SELECT * FROM driftless_pending")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let number: i64 = row.get(1)?;
                let Some(table) = file.tables.iter().position(|table| table.number == number) else {
                    continue;
                };
                let columns = file.tables.get(table).map_or(0, |table| table.described.key.len());
                let key: Vec<Value> = (0..columns)
                    .map(|at| Ok(cell::read(row.get_ref(4 + at)?)))
                    .collect::<Result<_, Error>>()?;
                if let Ok(id) = crate::key::to_id(&key) {
                    busy.insert((table, id.to_cbor()));
                }
            }
        }
        let triggers = file.options.triggers && file.tables.iter().any(|table| table.described.triggers);
        let waits = ledger::has_any(&file.connection, "driftless_waiting")?;
        let refers = file.tables.iter().any(|table| !table.described.foreign.is_empty());
        let is_parent = |table: &Arc<Table>| {
            let mut foreign = file.tables.iter().flat_map(|table| &table.described.foreign);
            foreign.any(|foreign| foreign.parent.eq_ignore_ascii_case(table.name()))
        };
        let parents = file.tables.iter().map(is_parent).collect();
        Ok(Self {
            file,
            applied: Applied::default(),
            queue: VecDeque::new(),
            later: Vec::new(),
            cascaded: HashSet::new(),
            gone: Vec::new(),
            leaving: HashSet::new(),
            parents,
            misfits: BTreeMap::new(),
            tries: HashMap::new(),
            shown: HashMap::new(),
            touched: BTreeSet::new(),
            latest: u64::try_from(clock).unwrap_or_default(),
            first_note,
            busy,
            triggers,
            waits,
            refers,
            // What waited may have met something before.
            in_line: in_line && !waits,
            last: None,
            several: None,
            many: ledger::Many::new(),
            met: None,
        })
    }

    fn all(&mut self, since: &Since) -> Result<(), Error> {
        if self.triggers {
            ledger::put(&self.file.connection, APPLYING, 1)?;
        }
        // Tables on which the application has triggers last: for the others none has to run.
        let mut order: Vec<usize> = (0..self.file.tables.len()).collect();
        order.sort_by_key(|table| self.has_triggers(*table));
        let mut done = 0;
        match &since.documents {
            Some(documents) => {
                let documents_there = documents.values().map(|ids| ids.len() as u64).sum();
                for table in order {
                    let ids = self.file.tables.get(table).and_then(|table| documents.get(&table.collection));
                    let ids = ids.map_or(&[][..], Vec::as_slice);
                    for ids in ids.chunks(TOGETHER) {
                        let collection = self.collection(table)?;
                        let documents = collection.get_many(ids)?;
                        let came: Vec<many::Came<'_>> =
                            ids.iter().zip(documents.iter().map(Option::as_ref)).collect();
                        self.together(table, &came)?;
                        self.drain()?;
                        done += ids.len() as u64;
                        self.file.tell(WRITTEN, done, documents_there);
                    }
                }
            }
            None => {
                let mut there = Vec::new();
                for table in order {
                    let collection = self.collection(table)?;
                    let (mut after, mut visible) = (0, 0);
                    loop {
                        let (documents, next) = collection.page(after, TOGETHER)?;
                        let is_there = |document: &'_ Document| !document.deleted;
                        let mut came: Vec<many::Came<'_>> = documents
                            .iter()
                            .map(|one| (&one.id, Some(one).filter(|one| is_there(one))))
                            .collect();
                        // In the order in which the file has them.
                        came.sort_unstable_by_key(|(id, _)| *id);
                        visible += came.iter().filter(|(_, document)| document.is_some()).count();
                        self.together(table, &came)?;
                        self.drain()?;
                        done += documents.len() as u64;
                        self.file.tell(WRITTEN, done, 0);
                        let Some(next) = next else { break };
                        after = next;
                    }
                    there.push((table, visible));
                }
                self.let_go()?;
                for (table, visible) in there {
                    self.remove_unspoken_of(table, visible)?;
                }
            }
        }
        self.let_go()?;
        self.retry_waiting()?;
        self.settle()?;
        self.show_misfits()?;
        self.take_back()?;
        // What was taken back may have lost its parent, or have been one.
        self.settle()?;
        self.show_misfits()
    }

    // Rows go after everything that comes was written: so those that refer to one of them are what their documents say, and
    // what the application's foreign keys take with it still belongs to it.
    fn let_go(&mut self) -> Result<(), Error> {
        if self.gone.is_empty() {
            return Ok(());
        }
        self.settle()?;
        for (table, id) in std::mem::take(&mut self.gone) {
            self.once_more(table, &id)?;
            self.drain()?;
        }
        Ok(())
    }

    // Of a document that lost every edit nothing is stored, not even that it is gone: its row is found by what is known.
    fn remove_unspoken_of(&mut self, table: usize, visible: usize) -> Result<(), Error> {
        let Some(number) = self.file.tables.get(table).map(|table| table.number) else { return Ok(()) };
        // Where nothing waits each document is a row: as many rows are those.
        let all_are_rows = !self.waits && self.later.is_empty() && self.misfits.is_empty();
        if all_are_rows && ledger::count_known(&self.file.connection, number)? <= visible {
            return Ok(());
        }
        let collection = self.collection(table)?;
        let mut after = Vec::new();
        loop {
            let known = ledger::known_after(&self.file.connection, number, &after, TOGETHER)?;
            let Some(last) = known.last() else { return Ok(()) };
            after.clone_from(last);
            let ids: Vec<DocumentId> = known.iter().filter_map(|bytes| crate::waiting::id(bytes)).collect();
            for (id, document) in ids.iter().zip(collection.get_many(&ids)?) {
                if document.is_some() || self.busy.contains(&(table, id.to_cbor())) {
                    continue;
                }
                match self.file.barred.why(table, id).cloned() {
                    Some(why) => self.wait(table, id, OTHER, &why, false)?,
                    // Whatever its parent's deletion has made of it.
                    None => self.remove(table, id)?,
                }
            }
            self.drain()?;
        }
    }

    pub(super) fn has_triggers(&self, table: usize) -> bool {
        self.triggers && self.file.tables.get(table).is_some_and(|table| table.described.triggers)
    }

    pub(super) fn collection(&self, table: usize) -> Result<driftless::Collection, Error> {
        let name = self.file.tables.get(table).map(|table| table.collection.clone()).unwrap_or_default();
        Ok(self.file.space.collection(&name)?)
    }

    pub(super) fn document(&self, table: usize, id: &DocumentId) -> Result<Option<Document>, Error> {
        Ok(self.collection(table)?.get(id)?)
    }

    // Rows that made way for others come again.
    fn drain(&mut self) -> Result<(), Error> {
        while let Some((table, id)) = self.queue.pop_front() {
            self.once_more(table, &id)?;
        }
        Ok(())
    }

    fn once_more(&mut self, table: usize, id: &DocumentId) -> Result<(), Error> {
        let tries = self.tries.entry((table, id.clone())).or_default();
        *tries += 1;
        if *tries > TRIES {
            return self.wait(table, id, OTHER, "other rows do not make way for it", true);
        }
        let document = self.document(table, id)?;
        self.one(table, id, document.as_ref())
    }

    // What waited for other rows is tried again, what was created first first. What does not fit its table goes on not to.
    fn retry_waiting(&mut self) -> Result<(), Error> {
        let waiting = {
            let mut statement = self.file.connection.prepare_cached(
                "SELECT collection, id FROM driftless_waiting WHERE reason NOT IN ('column_missing', 'key', 'check', 'not_null', 'type')",
            )?;
            let rows =
                statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
            rows.collect::<Result<Vec<_>, _>>()?
        };
        let mut documents = Vec::new();
        for (collection, id) in waiting {
            let Some(table) = self.file.table_of(&collection) else { continue };
            let Some(id) = crate::waiting::id(&id) else { continue };
            // Two that are shown in part would take each other out for ever.
            if self.shown.get(&(table, id.clone())).is_some_and(|shown| *shown >= SHOWN) {
                continue;
            }
            let document = self.document(table, &id)?;
            let created = document.as_ref().map(|document| document.created);
            documents.push((created, id, table, document));
        }
        documents.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
        for (_, id, table, document) in documents {
            self.one(table, &id, document.as_ref())?;
        }
        self.drain()
    }

    // What the application's triggers did to rows under sync is taken back: it came with the documents. What its foreign
    // keys did is a change that was made here.
    fn take_back(&mut self) -> Result<(), Error> {
        self.file.let_triggers_run(false)?;
        let mut touched = BTreeSet::new();
        if self.triggers {
            let notes = {
                let mut statement =
                    self.file.connection.prepare_cached("SELECT * FROM driftless_pending WHERE seq > ?1")?;
                let mut rows = statement.query([self.first_note])?;
                let mut notes = Vec::new();
                while let Some(row) = rows.next()? {
                    let number: i64 = row.get(1)?;
                    let Some(at) = self.file.tables.iter().position(|table| table.number == number) else {
                        continue;
                    };
                    let columns = self.file.tables.get(at).map_or(0, |table| table.described.key.len());
                    let key: Vec<Value> = (0..columns)
                        .map(|at| Ok(cell::read(row.get_ref(4 + at)?)))
                        .collect::<Result<_, Error>>()?;
                    notes.push((at, key));
                }
                notes
            };
            for (table, key) in notes {
                if let Ok(id) = crate::key::to_id(&key) {
                    touched.insert((table, id));
                }
            }
            self.file
                .connection
                .prepare_cached("DELETE FROM driftless_pending WHERE seq > ?1")?
                .execute([self.first_note])?;
            ledger::put(&self.file.connection, APPLYING, 0)?;
            self.file.connection.execute("DELETE FROM driftless_settings WHERE name = 'applying'", [])?;
        }
        // From here on none of them runs.
        self.triggers = false;
        for at in touched {
            if !self.cascaded.contains(&at) {
                self.restore(at.0, &at.1)?;
            }
        }
        let cascaded: Vec<_> = self.cascaded.iter().cloned().collect();
        for (table, id) in cascaded {
            let Some(table) = self.file.tables.get(table) else { continue };
            let Some(key) = table.key_of(&id) else { continue };
            self.file.note(table, &key, UPDATED, now_ms())?;
        }
        Ok(())
    }

    // Makes a row what its document says, whatever happened to it.
    fn restore(&mut self, table: usize, id: &DocumentId) -> Result<(), Error> {
        let Some(of) = self.file.tables.get(table).cloned() else { return Ok(()) };
        let Some(key) = of.key_of(id) else { return Ok(()) };
        let row = self.file.row(&of, &key)?;
        let known = ledger::known(&self.file.connection, of.number, &id.to_cbor())?;
        match (row, known) {
            (Some(_), None) => {
                let Err(refusal) = self.execute(&of.delete, &key) else { return Ok(()) };
                refusal.reason()?;
                // One that others hold stays, as a row that was made here.
                self.file.note(&of, &key, INSERTED, now_ms())
            }
            (row, Some(known)) => {
                let same = row.as_ref().is_some_and(|row| {
                    row.iter().zip(&of.columns).all(|(cell, (column, _))| digest(cell) == known.cell(column))
                });
                if same {
                    return Ok(());
                }
                let document = self.document(table, id)?;
                if row.is_some() {
                    let forgotten = self.file.forgotten(&of, &key, document.as_ref(), &known)?;
                    ledger::put_known(&self.file.connection, of.number, &id.to_cbor(), &forgotten)?;
                } else {
                    ledger::forget_known(&self.file.connection, of.number, &id.to_cbor())?;
                }
                self.one(table, id, document.as_ref())
            }
            (None, None) => Ok(()),
        }
    }

    pub(super) fn one(
        &mut self,
        table: usize,
        id: &DocumentId,
        document: Option<&Document>,
    ) -> Result<(), Error> {
        if !self.busy.is_empty() && self.busy.contains(&(table, id.to_cbor())) {
            let why = match self.file.keeps {
                true => "the row was changed here, and what it was changed to may not be sent",
                false => "the application is changing the row",
            };
            return self.wait(table, id, OTHER, why, false);
        }
        if let Some(why) = self.file.barred.why(table, id).cloned() {
            return self.wait(table, id, OTHER, &why, false);
        }
        // One that its parent has changed is sent first; then it gets what else came of it.
        if !self.cascaded.is_empty() && self.cascaded.contains(&(table, id.clone())) {
            let why = "the row was changed with one that it referred to";
            return self.wait(table, id, OTHER, why, false);
        }
        let Some(document) = document else { return self.remove(table, id) };
        self.latest = self.latest.max(document.updated.ms());
        let outcome = match self.missing_parents(table, document, false)?.pop() {
            Some(missing) => Outcome::Later(missing.why),
            None => self.write(table, id, document)?,
        };
        self.conclude(table, id, outcome)
    }

    pub(super) fn conclude(&mut self, table: usize, id: &DocumentId, outcome: Outcome) -> Result<(), Error> {
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Later(why) => {
                self.later.push((table, id.clone(), why));
                Ok(())
            }
            Outcome::Breaks(reason, why) => {
                self.misfits.insert((table, id.clone()), (reason, why));
                Ok(())
            }
            Outcome::Waits(reason, why) => {
                // Which of two rows is there must not depend on which was there before.
                let gone = matches!(reason, UNIQUE | PARENT);
                self.wait(table, id, reason, &why, gone)
            }
        }
    }

    pub(super) fn wait(
        &mut self,
        table: usize,
        id: &DocumentId,
        reason: &'static str,
        why: &str,
        gone: bool,
    ) -> Result<(), Error> {
        if gone {
            self.displace(table, id)?;
        }
        let Some(table) = self.file.tables.get(table) else { return Ok(()) };
        self.waits = true;
        ledger::put_waiting(&self.file.connection, &table.collection, id, reason, why, now_ms())
    }

    // Ends the transaction. Rows whose parents are missing all the same wait as well.
    fn finish(mut self, since: &Since) -> Result<Applied, Error> {
        ledger::put_place(&self.file.connection, &since.place)?;
        ledger::put(&self.file.connection, ledger::CLOCK, i64::try_from(self.latest).unwrap_or(i64::MAX))?;
        for _ in 0..TRIES {
            match self.file.connection.execute_batch("COMMIT") {
                Ok(()) => {
                    let waiting = "SELECT count(*) FROM driftless_waiting";
                    let waiting: i64 = self.file.connection.query_row(waiting, [], |row| row.get(0))?;
                    self.applied.waiting = waiting.unsigned_abs();
                    return Ok(self.applied);
                }
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    self.bar_what_others_hold()?;
                    for (table, id) in self.touched.clone() {
                        let Some(document) = self.document(table, &id)? else { continue };
                        if let Some(missing) = self.missing_parents(table, &document, false)?.pop() {
                            self.wait(table, &id, PARENT, &missing.why, true)?;
                        }
                    }
                    self.drain()?;
                    self.settle()?;
                    self.show_misfits()?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        for (table, _) in &self.touched {
            self.file.barred.bar_table(*table, "foreign keys of this file do not let all of it be");
        }
        Err(Error::Invalid(
            "foreign keys of this file are broken: `PRAGMA foreign_key_check` shows where".into(),
        ))
    }
}
