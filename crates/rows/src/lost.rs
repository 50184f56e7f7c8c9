//! A file and its space that do not know the same past any more: the database was put back to an older copy, or the file
//! was, or is a copy of one that goes on elsewhere.
//!
//! What the file has and the space has lost is sent again, with the time at which the two last said the same: so what
//! others wrote later holds. A counter has no such time: where something came since, its document holds; of a set what was
//! taken out is not known then, and what is in either is in both.

use std::collections::HashSet;

use driftless::{Document, DocumentId, Map, Place, Value};

use crate::cell::{self, digest};
use crate::error::Error;
use crate::file::{EFFORT, File, Table, now_ms};
use crate::fitting::Fitting;
use crate::flush;
use crate::ledger::{self, FOUND, Known};
use crate::reconcile::{self, Policy};
use crate::schema::quoted;

// Why rows have to be compared.
const LOST: i64 = 1;
// What came to the space since this file has last sent something that is there.
enum Came {
    Nothing,
    To(HashSet<(String, DocumentId)>),
    Anything,
}

impl Came {
    fn has(&self, collection: &str, id: &DocumentId) -> bool {
        match self {
            Self::Nothing => false,
            Self::To(documents) => documents.contains(&(collection.to_owned(), id.clone())),
            Self::Anything => true,
        }
    }
}

// Rows that are compared together.
const TOGETHER: usize = 512;

impl File {
    /// Looks whether the space has everything that this file has told it, and takes care of it if not. How many rows
    /// will be sent again.
    pub(crate) fn recover(&mut self) -> Result<u64, Error> {
        // Another handle may have noticed that the file is a copy.
        if let Some(writer) = ledger::get(&self.connection, ledger::WRITER)? {
            self.writer = writer;
        }
        if ledger::get::<i64>(&self.connection, ledger::COMPARE)?.is_none() {
            if self.is_copy()? {
                // The space has all that this file has told, and more: what others told comes again from them.
                self.finish_outbox()?;
                let writer = flush::new_writer()?;
                self.write(|file| {
                    ledger::seal(&file.connection, &file.space, &writer)?;
                    ledger::forget(&file.connection, ledger::SENT)
                })?;
                self.writer = writer;
            } else if self.has_lost()? {
                self.write(|file| ledger::put(&file.connection, ledger::COMPARE, LOST))?;
            }
        }
        // What was taken before counts first: then the documents have it.
        self.finish_outbox()?;
        let Some(why) = ledger::get::<i64>(&self.connection, ledger::COMPARE)? else { return Ok(0) };
        match self.space.may_write() {
            Ok(()) => self.compare(why),
            // What whoever only reads has was told by others: it comes again from them.
            Err(driftless::Error::NotPermitted(_)) if why == LOST => {
                self.write(|file| file.begin_anew())?;
                Ok(0)
            }
            Err(driftless::Error::NotPermitted(_)) => self.compare(why),
            Err(error) => Err(error.into()),
        }
    }

    // The space is not where this file has left it, or beyond.
    fn has_lost(&self) -> Result<bool, Error> {
        let place = ledger::place(&self.connection)?;
        let is_reached = place.as_ref().map_or(Ok(true), |place| self.space.reaches(place))?;
        let Some((token, _)) = ledger::sent(&self.connection)? else { return Ok(!is_reached) };
        if !is_reached && !place.map_or(Ok(true), |place| self.has_only_another_name(&place))? {
            return Ok(true);
        }
        Ok(!self.was_committed(&token)?)
    }

    // Whether the database calls itself another one since, and has at least as much: a copy of it wrote beside it.
    fn has_only_another_name(&self, place: &Place) -> Result<bool, Error> {
        let mut bytes = place.to_bytes();
        let now = self.space.changed_since(None)?.place.to_bytes();
        if let (Some(name), Some(new)) = (bytes.first_chunk_mut::<16>(), now.first_chunk::<16>()) {
            *name = *new;
        }
        let renamed = Place::from_bytes(&bytes);
        Ok(renamed.map(|place| self.space.reaches(&place)).transpose()?.unwrap_or(false))
    }

    // Somebody has sent under our word what this file does not know of.
    fn is_copy(&self) -> Result<bool, Error> {
        let Some((token, _)) = ledger::sent(&self.connection)? else { return Ok(false) };
        let outbox = self.outbox()?;
        let tokens = outbox.iter().map(|outbox| &outbox.token).chain([&token]);
        for token in tokens {
            if self.is_committed_last(token)? {
                return Ok(false);
            }
        }
        self.was_committed(&token)
    }

    // What is known of each row is from now on what the space says; what rows say besides is noted.
    fn compare(&mut self, why: i64) -> Result<u64, Error> {
        let came = match why {
            LOST => self.came_since()?,
            _ => Came::Nothing,
        };
        self.write_followed(|file| {
            let clock: i64 = ledger::get(&file.connection, ledger::CLOCK)?.unwrap_or_default();
            let sent = ledger::sent(&file.connection)?.map_or(0, |(_, at)| at);
            let at = clock.max(sent);
            let mut noted = 0;
            for table in file.tables.clone() {
                file.hold_mirror(&table)?;
                noted += file.compare_table(&table, at, &came)?;
            }
            file.begin_anew()?;
            Ok(noted)
        })
    }

    fn begin_anew(&self) -> Result<(), Error> {
        ledger::forget(&self.connection, ledger::PLACE)?;
        ledger::forget(&self.connection, ledger::SENT)?;
        ledger::forget(&self.connection, ledger::COMPARE)
    }

    fn compare_table(&self, table: &Table, at: i64, came: &Came) -> Result<u64, Error> {
        let keys = table.described.key.len();
        let names = table.qualified_key().into_iter();
        let names = names.chain(table.columns.iter().map(|(column, _)| table.qualified(&column.name)));
        let names: Vec<String> = names.collect();
        let mut statement =
            self.connection.prepare(&format!("SELECT {} FROM {}", names.join(", "), quoted(table.name())))?;
        let mut rows = statement.query([])?;
        let (mut together, mut noted) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let cells = (0..names.len()).map(|at| Ok(cell::read(row.get_ref(at)?)));
            let mut key = cells.collect::<Result<Vec<_>, Error>>()?;
            let cells = key.split_off(keys);
            // One that cannot be a document is listed already.
            let Ok(id) = crate::key::to_id(&key) else { continue };
            together.push((id, key, cells));
            if together.len() == TOGETHER {
                noted += self.compare_rows(table, &std::mem::take(&mut together), at, came)?;
            }
        }
        noted += self.compare_rows(table, &together, at, came)?;
        self.compare_gone(table)?;
        Ok(noted)
    }

    fn compare_rows(
        &self,
        table: &Table,
        rows: &[(DocumentId, Vec<Value>, Vec<Value>)],
        at: i64,
        came: &Came,
    ) -> Result<u64, Error> {
        let ids: Vec<DocumentId> = rows.iter().map(|(id, ..)| id.clone()).collect();
        let documents = self.space.collection(&table.collection)?.get_many(&ids)?;
        let mut noted = 0;
        for ((id, key, cells), document) in rows.iter().zip(documents) {
            let bytes = id.to_cbor();
            let before = ledger::known(&self.connection, table.number, &bytes)?;
            let document = document.map(|document| self.shown(table, document)).transpose()?;
            let differs = match (&before, &document) {
                // Never sent: its note says so, or it is listed.
                (None, _) => false,
                (Some(_), None) => {
                    ledger::forget_known(&self.connection, table.number, &bytes)?;
                    true
                }
                (Some(before), Some(document)) => {
                    let mut said = self.said(table, document);
                    let mut held = Vec::new();
                    if came.has(&table.collection, id) {
                        held = self.hold(table, before, &mut said);
                    }
                    if !held.is_empty() {
                        let had = held.join(", ");
                        let why =
                            format!("the space has other values, which others changed; here it had {had}");
                        let key = flush::shown(key);
                        ledger::put_refused(&self.connection, &table.collection, &key, &why, now_ms())?;
                    }
                    ledger::put_known(&self.connection, table.number, &bytes, &said)?;
                    let mut both = cells.iter().zip(&table.columns);
                    !both.all(|(cell, (column, _))| said.cell(column) == digest(cell))
                }
            };
            if differs {
                self.note(table, key, FOUND, at)?;
                ledger::put_contested(&self.connection, &table.collection, &bytes)?;
                noted += 1;
            }
        }
        Ok(noted)
    }

    // A difference to a document to which something came since would undo that. So of counters that is known which was: what
    // the application did since is sent, and the row gets what the document says. Of sets nothing is known that only
    // the document has: nothing of it is taken out. Which counters, with what they had.
    fn hold(&self, table: &Table, before: &Known, said: &mut Known) -> Vec<String> {
        let base = |known: &Known| match known.base.as_deref().map(Value::from_json) {
            Some(Ok(Value::Map(base))) => base,
            _ => Map::new(),
        };
        let (had, mut base) = (base(before), base(said));
        let mut held = Vec::new();
        for (column, _) in &table.columns {
            let policy = self.options.columns.policy(table.name(), &column.name);
            let Some(value) = had.get(&column.field) else { continue };
            if before.cell(column) == said.cell(column) {
                continue;
            }
            let known = match (policy, base.get(&column.field)) {
                (Policy::Counter, _) => {
                    held.push(format!("{} {}", column.name, value.to_json()));
                    value.clone()
                }
                (Policy::Set, Some(now)) => match reconcile::of_both(value, now) {
                    Some(both) => both,
                    None => continue,
                },
                _ => continue,
            };
            said.set(column.number, digest(&known));
            base.insert(column.field.as_str(), known);
        }
        said.base = Some(Value::Map(base).to_json()).filter(|_| table.based);
        held
    }

    // The documents to which something came after the last that this file has sent, as far as the space has it.
    fn came_since(&self) -> Result<Came, Error> {
        let Some(place) = self.place_of_last()? else { return Ok(Came::Anything) };
        let came = self.space.changed_since(Some(&place))?.documents;
        let named = |(collection, ids): (String, Vec<DocumentId>)| {
            ids.into_iter().map(move |id| (collection.clone(), id))
        };
        Ok(came.map_or(Came::Anything, |came| Came::To(came.into_iter().flat_map(named).collect())))
    }

    // Of rows that were deleted and not sent, the documents of today are known.
    fn compare_gone(&self, table: &Table) -> Result<(), Error> {
        let mut statement = self.connection.prepare("SELECT id FROM driftless_known WHERE tbl = ?1")?;
        let mut rows = statement.query([table.number])?;
        let mut gone = Vec::new();
        while let Some(row) = rows.next()? {
            let id = crate::waiting::id(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
            let Some((id, key)) = id.and_then(|id| table.key_of(&id).map(|key| (id, key))) else { continue };
            if self.row(table, &key)?.is_none() {
                gone.push(id);
            }
        }
        for id in gone {
            let document = self.space.collection(&table.collection)?.get(&id)?;
            match document {
                Some(document) => {
                    let said = self.said(table, &document);
                    ledger::put_known(&self.connection, table.number, &id.to_cbor(), &said)?;
                }
                None => ledger::forget_known(&self.connection, table.number, &id.to_cbor())?,
            }
        }
        Ok(())
    }

    // Of a document that does not fit its table, what a row shows of it: the rest is no change that was made here.
    fn shown(&self, table: &Table, document: Document) -> Result<Document, Error> {
        if self.misfit(table, &document)?.is_none() {
            return Ok(document);
        }
        self.effort.set(EFFORT);
        match self.fitting(table, &document.id, 0, &mut |_| Ok(true))? {
            Fitting::Shown(fitting) => Ok(fitting),
            _ => Ok(document),
        }
    }

    // What would be known of a row that is exactly its document.
    pub(crate) fn said(&self, table: &Table, document: &Document) -> Known {
        let (mut known, mut base) = (Known::default(), Map::new());
        for (column, _) in &table.columns {
            let Some(field) = document.fields.get(&column.field) else { continue };
            let value = self.reconciler.cell(table.name(), &column.name, field);
            known.set(column.number, digest(&value));
            if table.based && self.reconciler.needs_before(table.name(), &column.name) {
                base.insert(column.field.as_str(), value);
            }
        }
        if table.based {
            known.base = Some(Value::Map(base).to_json());
        }
        known
    }
}
