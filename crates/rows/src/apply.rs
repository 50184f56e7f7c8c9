//! From the database to the file: documents that changed become rows, in one transaction of the file, together with the
//! place up to which the space was followed. So it happens exactly once, whatever is killed when.
//!
//! A document is written as it is now, not edit by edit: doing it again changes nothing. The application's constraints
//! hold; what they refuse waits (`waiting`), and which of two rows has to wait is the same on every device: the one whose
//! parent is not there, and of two that claim one unique value the one that was created later.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use driftless::{Document, DocumentId, Since, Value};
use rusqlite::{ErrorCode, ffi};

use crate::capture::APPLYING;
use crate::cell::{self, Bound, digest};
use crate::error::Error;
use crate::file::{File, Table, bind, now_ms};
use crate::ledger::{self, Known, UPDATED};
use crate::schema::quoted;

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

// Documents that are read together.
const TOGETHER: usize = 512;
// How often one row is tried in one pass: each time another row may have made way.
const TRIES: u32 = 16;
// How often what is applied waits for what the application writes meanwhile.
const ROUNDS: usize = 5;

/// Why a document is not a row.
pub(crate) const PARENT: &str = "parent_missing";
pub(crate) const UNIQUE: &str = "not_unique";
pub(crate) const NOT_NULL: &str = "not_null";
pub(crate) const CHECK: &str = "check";
pub(crate) const OTHER: &str = "refused";
pub(crate) const KEY: &str = "key";
/// The row is there; a part of the document has no column.
pub(crate) const COLUMN: &str = "column_missing";

impl File {
    /// Writes what changed in the space to the tables.
    pub(crate) fn apply(&mut self, again: bool) -> Result<Applied, Error> {
        for round in 0.. {
            let place = ledger::place(&self.connection)?;
            let since = self.space.changed_since(place.as_ref())?;
            let nothing = since.documents.as_ref().is_some_and(Vec::is_empty);
            if nothing && !again {
                if place.as_ref() != Some(&since.place) {
                    self.write(|file| ledger::put_place(&file.connection, &since.place))?;
                }
                return Ok(Applied::default());
            }
            let done = self.pass(&since, round + 1 >= ROUNDS);
            self.let_triggers_run(true)?;
            match done? {
                Some(applied) => return Ok(applied),
                // The application wrote meanwhile: that comes first.
                None => _ = self.flush()?,
            }
        }
        Ok(Applied::default())
    }

    fn pass(&mut self, since: &Since, anyway: bool) -> Result<Option<Applied>, Error> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let done = (|| {
            if ledger::has_pending(&self.connection)? && !anyway {
                return Ok(None);
            }
            self.connection.pragma_update(None, "defer_foreign_keys", true)?;
            let mut pass = Pass::new(self)?;
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
}

// One transaction of the file in which documents become rows.
struct Pass<'f> {
    file: &'f mut File,
    applied: Applied,
    queue: VecDeque<(usize, DocumentId)>,
    later: Vec<(usize, DocumentId, String)>,
    // Rows that the application's own foreign keys changed because their parent went: that is a change made here.
    cascaded: HashSet<(usize, DocumentId)>,
    tries: HashMap<(usize, DocumentId), u32>,
    // Written in this pass, of tables that refer to others.
    touched: BTreeSet<(usize, DocumentId)>,
    latest: u64,
    first_note: i64,
    busy: HashSet<(usize, Vec<u8>)>,
    triggers: bool,
    statements: HashMap<(usize, bool, Vec<usize>), String>,
}

impl<'f> Pass<'f> {
    fn new(file: &'f mut File) -> Result<Self, Error> {
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
        Ok(Self {
            file,
            applied: Applied::default(),
            queue: VecDeque::new(),
            later: Vec::new(),
            cascaded: HashSet::new(),
            tries: HashMap::new(),
            touched: BTreeSet::new(),
            latest: u64::try_from(clock).unwrap_or_default(),
            first_note,
            busy,
            triggers,
            statements: HashMap::new(),
        })
    }

    fn all(&mut self, since: &Since) -> Result<(), Error> {
        if self.triggers {
            ledger::put(&self.file.connection, APPLYING, 1)?;
        }
        // Tables on which the application has triggers last: for the others none has to run.
        let mut order: Vec<usize> = (0..self.file.tables.len()).collect();
        order.sort_by_key(|table| self.has_triggers(*table));
        match &since.documents {
            Some(documents) => {
                let mut by_table: Vec<Vec<DocumentId>> = vec![Vec::new(); self.file.tables.len()];
                for (collection, id) in documents {
                    if let Some(ids) =
                        self.file.table_of(collection).and_then(|table| by_table.get_mut(table))
                    {
                        ids.push(id.clone());
                    }
                }
                for table in order {
                    let ids = by_table.get_mut(table).map(std::mem::take).unwrap_or_default();
                    for ids in ids.chunks(TOGETHER) {
                        let collection = self.collection(table)?;
                        let documents = collection.get_many(ids)?;
                        for (id, document) in ids.iter().zip(documents) {
                            self.one(table, id, document.as_ref())?;
                        }
                        self.drain()?;
                    }
                }
            }
            None => {
                for table in order {
                    let collection = self.collection(table)?;
                    let mut after = 0;
                    loop {
                        let (documents, next) = collection.page(after, TOGETHER)?;
                        for document in &documents {
                            let there = Some(document).filter(|document| !document.deleted);
                            self.one(table, &document.id, there)?;
                        }
                        self.drain()?;
                        let Some(next) = next else { break };
                        after = next;
                    }
                }
            }
        }
        self.retry_waiting()?;
        self.settle()?;
        self.take_back()
    }

    fn has_triggers(&self, table: usize) -> bool {
        self.triggers && self.file.tables.get(table).is_some_and(|table| table.described.triggers)
    }

    fn collection(&self, table: usize) -> Result<driftless::Collection, Error> {
        let name = self.file.tables.get(table).map(|table| table.collection.clone()).unwrap_or_default();
        Ok(self.file.space.collection(&name)?)
    }

    fn document(&self, table: usize, id: &DocumentId) -> Result<Option<Document>, Error> {
        Ok(self.collection(table)?.get(id)?)
    }

    // Rows that made way for others come again.
    fn drain(&mut self) -> Result<(), Error> {
        while let Some((table, id)) = self.queue.pop_front() {
            let document = self.document(table, &id)?;
            self.one(table, &id, document.as_ref())?;
        }
        Ok(())
    }

    // What waited is tried again, what was created first first.
    fn retry_waiting(&mut self) -> Result<(), Error> {
        let waiting = {
            let mut statement = self.file.connection.prepare_cached(
                "SELECT collection, id FROM driftless_waiting WHERE reason <> 'column_missing' AND reason <> 'table_missing'",
            )?;
            let rows =
                statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
            rows.collect::<Result<Vec<_>, _>>()?
        };
        let mut documents = Vec::new();
        for (collection, id) in waiting {
            let Some(table) = self.file.table_of(&collection) else { continue };
            let Some(id) = crate::waiting::id(&id) else { continue };
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

    // What waits for something that may have come by now, until nothing more comes.
    fn settle(&mut self) -> Result<(), Error> {
        loop {
            let later = std::mem::take(&mut self.later);
            let before = later.len();
            for (table, id, _) in &later {
                let document = self.document(*table, id)?;
                self.one(*table, id, document.as_ref())?;
            }
            self.drain()?;
            if self.later.len() >= before {
                break;
            }
        }
        // Rows that refer to each other in a circle come together, if every other parent is there.
        let mut circle: Vec<(usize, DocumentId, String)> = std::mem::take(&mut self.later);
        loop {
            let among: HashSet<(usize, DocumentId)> =
                circle.iter().map(|(table, id, _)| (*table, id.clone())).collect();
            let mut stays = Vec::new();
            let mut out = Vec::new();
            for (table, id, why) in circle {
                let document = self.document(table, &id)?;
                let missing = match &document {
                    Some(document) => self.missing_parent(table, document, Some(&among))?,
                    None => None,
                };
                if missing.is_some() { out.push((table, id, why)) } else { stays.push((table, id, why)) }
            }
            let done = out.is_empty();
            for (table, id, why) in out {
                self.wait(table, &id, PARENT, &why, true)?;
            }
            circle = stays;
            if done {
                break;
            }
        }
        for (table, id, _) in circle {
            if let Some(document) = self.document(table, &id)? {
                let outcome = self.write(table, &id, &document)?;
                self.conclude(table, &id, outcome)?;
            }
        }
        self.drain()?;
        for (table, id, why) in std::mem::take(&mut self.later) {
            self.wait(table, &id, PARENT, &why, true)?;
        }
        Ok(())
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
            note(self.file, table, &key)?;
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
                self.execute(&of.delete, &key).map(drop).or_else(|refusal| refusal.into_error(()))
            }
            (row, Some(known)) => {
                let same = row.as_ref().is_some_and(|row| {
                    row.iter().zip(&of.columns).all(|(cell, (column, _))| digest(cell) == known.cell(column))
                });
                if same {
                    return Ok(());
                }
                let mut forgotten = Known::default();
                forgotten.cells = vec![u64::MAX; known.cells.len()];
                if row.is_some() {
                    ledger::put_known(&self.file.connection, of.number, &id.to_cbor(), &forgotten)?;
                } else {
                    ledger::forget_known(&self.file.connection, of.number, &id.to_cbor())?;
                }
                let document = self.document(table, id)?;
                self.one(table, id, document.as_ref())
            }
            (None, None) => Ok(()),
        }
    }

    fn one(&mut self, table: usize, id: &DocumentId, document: Option<&Document>) -> Result<(), Error> {
        let at = (table, id.clone());
        if self.busy.contains(&(table, id.to_cbor())) {
            return self.wait(table, id, OTHER, "the application is changing the row", false);
        }
        let tries = self.tries.entry(at.clone()).or_default();
        *tries += 1;
        if *tries > TRIES {
            return self.wait(table, id, OTHER, "other rows do not make way for it", true);
        }
        // One that its parent's deletion has changed is sent first.
        if self.cascaded.contains(&at) {
            return Ok(());
        }
        let Some(document) = document else { return self.remove(table, id) };
        self.latest = self.latest.max(document.updated.ms());
        let outcome = match self.missing_parent(table, document, None)? {
            Some(why) => Outcome::Later(why),
            None => self.write(table, id, document)?,
        };
        self.conclude(table, id, outcome)
    }

    fn conclude(&mut self, table: usize, id: &DocumentId, outcome: Outcome) -> Result<(), Error> {
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Later(why) => {
                self.later.push((table, id.clone(), why));
                Ok(())
            }
            Outcome::Waits(reason, why) => {
                // Which of two rows is there must not depend on which was there before.
                let gone = matches!(reason, UNIQUE | PARENT);
                self.wait(table, id, reason, &why, gone)
            }
        }
    }

    fn wait(
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
        ledger::put_waiting(&self.file.connection, &table.collection, id, reason, why, now_ms())
    }

    fn remove(&mut self, table: usize, id: &DocumentId) -> Result<(), Error> {
        let Some(of) = self.file.tables.get(table).cloned() else { return Ok(()) };
        ledger::forget_waiting(&self.file.connection, &of.collection, &id.to_cbor())?;
        let Some(key) = of.key_of(id) else { return Ok(()) };
        if ledger::known(&self.file.connection, of.number, &id.to_cbor())?.is_none() {
            return Ok(());
        }
        self.make_way(table, &key, None, false)?;
        self.file.let_triggers_run(self.has_triggers(table))?;
        match self.execute(&of.delete, &key) {
            Ok(changed) => {
                ledger::forget_known(&self.file.connection, of.number, &id.to_cbor())?;
                self.applied.deleted += changed as u64;
                Ok(())
            }
            Err(refusal) => {
                let (reason, why) = refusal.reason()?;
                self.wait(table, id, reason, &why, false)
            }
        }
    }

    // Takes a row out of the table for as long as its document has to wait. Nothing of this is a change of the document.
    fn displace(&mut self, table: usize, id: &DocumentId) -> Result<(), Error> {
        let Some(of) = self.file.tables.get(table).cloned() else { return Ok(()) };
        let Some(key) = of.key_of(id) else { return Ok(()) };
        if ledger::known(&self.file.connection, of.number, &id.to_cbor())?.is_none() {
            return Ok(());
        }
        // Forgotten first: a row that refers to itself comes by here again.
        ledger::forget_known(&self.file.connection, of.number, &id.to_cbor())?;
        self.make_way(table, &key, None, true)?;
        self.file.let_triggers_run(false)?;
        self.execute(&of.delete, &key).map(drop).or_else(|refusal| refusal.into_error(()))
    }

    // Before a row goes, or columns of it that others refer to change: rows that refer to it are displaced, or are what
    // the application's foreign keys make of them.
    fn make_way(
        &mut self,
        table: usize,
        key: &[Value],
        columns: Option<&[String]>,
        displaced: bool,
    ) -> Result<(), Error> {
        let Some(parent) = self.file.tables.get(table).cloned() else { return Ok(()) };
        for child in 0..self.file.tables.len() {
            let Some(of) = self.file.tables.get(child).cloned() else { continue };
            for foreign in &of.described.foreign {
                let same = foreign.parent.eq_ignore_ascii_case(parent.name());
                let concerned = columns.is_none_or(|columns| {
                    foreign.to.iter().any(|to| columns.iter().any(|column| column.eq_ignore_ascii_case(to)))
                });
                if !same || !concerned {
                    continue;
                }
                let matches: Vec<String> = foreign
                    .from
                    .iter()
                    .zip(&foreign.to)
                    .map(|(from, to)| format!("c.{} = p.{}", quoted(from), quoted(to)))
                    .collect();
                let keys: Vec<String> = of.key_columns().iter().map(|column| format!("c.{column}")).collect();
                let key_of_parent: Vec<String> = parent
                    .key_columns()
                    .iter()
                    .enumerate()
                    .map(|(n, column)| format!("p.{column} = ?{}", n + 1))
                    .collect();
                let query = format!(
                    "SELECT {} FROM {} p JOIN {} c ON {} WHERE {}",
                    keys.join(", "),
                    quoted(parent.name()),
                    quoted(of.name()),
                    matches.join(" AND "),
                    key_of_parent.join(" AND ")
                );
                let rows = self.keys(&query, key, of.described.key.len())?;
                let acts = if columns.is_some() { foreign.acts_on_update } else { foreign.acts_on_delete };
                for row in rows {
                    let Ok(id) = crate::key::to_id(&row) else { continue };
                    let at = (child, id.clone());
                    if acts && !displaced {
                        // Its own children go with it, if that is what they do.
                        if self.cascaded.insert(at) && columns.is_none() {
                            self.make_way(child, &row, None, false)?;
                        }
                    } else if !(child == table && row == key) {
                        self.displace(child, &id)?;
                        self.queue.push_back(at);
                    }
                }
            }
        }
        Ok(())
    }

    fn keys(&self, query: &str, bound: &[Value], columns: usize) -> Result<Vec<Vec<Value>>, Error> {
        let mut statement = self.file.connection.prepare_cached(query)?;
        bind(&mut statement, bound)?;
        let mut rows = statement.raw_query();
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            keys.push((0..columns).map(|at| Ok(cell::read(row.get_ref(at)?))).collect::<Result<_, Error>>()?);
        }
        Ok(keys)
    }

    // The value that a document gives a column; `None` if it says nothing of it.
    fn value(&self, of: &Table, key: &[Value], document: &Document, name: &str) -> Option<Value> {
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

    // Why a row cannot be there: what it refers to is neither in its table nor among those that come with it.
    fn missing_parent(
        &self,
        table: usize,
        document: &Document,
        among: Option<&HashSet<(usize, DocumentId)>>,
    ) -> Result<Option<String>, Error> {
        let Some(of) = self.file.tables.get(table) else { return Ok(None) };
        if of.described.foreign.is_empty() || !self.file.options.foreign_keys {
            return Ok(None);
        }
        let Some(key) = of.key_of(&document.id) else { return Ok(None) };
        for foreign in &of.described.foreign {
            let values: Option<Vec<Value>> =
                foreign.from.iter().map(|from| self.value(of, &key, document, from)).collect();
            // What is NULL in part, or not said, refers to nothing.
            let Some(values) = values.filter(|values| !values.contains(&Value::Null)) else { continue };
            let to_itself =
                foreign.parent.eq_ignore_ascii_case(of.name())
                    && foreign.to.iter().zip(&values).all(|(to, value)| {
                        self.value(of, &key, document, to).is_some_and(|own| own == *value)
                    });
            if to_itself {
                continue;
            }
            let matches: Vec<String> =
                foreign.to.iter().enumerate().map(|(n, to)| format!("{} = ?{}", quoted(to), n + 1)).collect();
            let query = format!("SELECT 1 FROM {} WHERE {}", quoted(&foreign.parent), matches.join(" AND "));
            let Ok(mut statement) = self.file.connection.prepare_cached(&query) else {
                return Ok(Some(format!("there is no table {} here", foreign.parent)));
            };
            bind(&mut statement, &values)?;
            if statement.raw_query().next()?.is_some() {
                continue;
            }
            let comes = among.is_some_and(|among| {
                among.iter().any(|(parent, id)| {
                    let Some(of) = self.file.tables.get(*parent) else { return false };
                    of.name().eq_ignore_ascii_case(&foreign.parent)
                        && of.key_of(id).is_some_and(|key| key == values)
                })
            });
            if !comes {
                let shown = crate::flush::shown(&values);
                return Ok(Some(format!("{} {shown} is not here", foreign.parent)));
            }
        }
        Ok(None)
    }

    // Writes what is different of a row.
    fn write(&mut self, table: usize, id: &DocumentId, document: &Document) -> Result<Outcome, Error> {
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
            let why = format!("there is no column for {} here", unknown.join(", "));
            ledger::put_waiting(&self.file.connection, &of.collection, id, COLUMN, &why, now_ms())?;
        } else {
            ledger::forget_waiting(&self.file.connection, &of.collection, &bytes)?;
        }
        if known.is_some() && columns.is_empty() {
            return Ok(Outcome::Done);
        }
        let mut there = known.is_some();
        for _ in 0..TRIES {
            let sql = self.statement(table, &of, there, &columns, &values);
            if there {
                let names: Vec<String> = columns
                    .iter()
                    .filter_map(|at| of.columns.get(*at))
                    .map(|(column, _)| column.name.clone())
                    .collect();
                self.make_way(table, &key, Some(&names), false)?;
            }
            self.file.let_triggers_run(self.has_triggers(table))?;
            let all: Vec<Value> = if there {
                values.iter().chain(&key).cloned().collect()
            } else {
                key.iter().chain(&values).cloned().collect()
            };
            match self.execute(&sql, &all) {
                // The row went without a trace, by a REPLACE: it comes again.
                Ok(0) if there => {
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

    fn whole(
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

    fn statement(
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
    fn read_again(&self, of: &Table, key: &[Value], again: &[usize], next: &mut Known) -> Result<(), Error> {
        let Some(row) = self.file.row(of, key)? else { return Ok(()) };
        for at in again {
            if let (Some((column, _)), Some(cell)) = (of.columns.get(*at), row.get(*at)) {
                next.set(column.number, digest(cell));
            }
        }
        Ok(())
    }

    // Rows that hold a unique value which a document claims make way if they were created later, or are about to be
    // something else.
    fn make_room(
        &mut self,
        table: usize,
        of: &Table,
        key: &[Value],
        document: &Document,
    ) -> Result<Room, Error> {
        let mut made = false;
        let own_key = of.described.key.iter().filter_map(|at| of.column(*at));
        let mut indexes = of.described.unique.clone();
        indexes.push(own_key.map(|column| column.name.clone()).collect());
        for columns in &indexes {
            let claimed: Option<Vec<Value>> =
                columns.iter().map(|column| self.value(of, key, document, column)).collect();
            let Some(claimed) = claimed.filter(|claimed| !claimed.contains(&Value::Null)) else { continue };
            let matches: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(n, column)| format!("{} = ?{}", quoted(column), n + 1))
                .collect();
            let query = format!(
                "SELECT {} FROM {} WHERE {}",
                of.key_columns().join(", "),
                quoted(of.name()),
                matches.join(" AND ")
            );
            for other in self.keys(&query, &claimed, of.described.key.len())? {
                let known = match crate::key::to_id(&other) {
                    Ok(id) => ledger::known(&self.file.connection, of.number, &id.to_cbor())?.map(|_| id),
                    Err(_) => None,
                };
                let Some(id) = known else {
                    return Ok(Room::None(Some("a row that is not under sync holds its value".into())));
                };
                if other == key {
                    continue;
                }
                let holder = self.document(table, &id)?;
                let still = holder.as_ref().is_some_and(|holder| {
                    columns.iter().zip(&claimed).all(|(column, value)| {
                        self.value(of, &other, holder, column).is_some_and(|own| own == *value)
                    })
                });
                let older = holder
                    .as_ref()
                    .is_some_and(|holder| (holder.created, &holder.id) < (document.created, &document.id));
                if still && older {
                    let shown = crate::flush::shown(&other);
                    return Ok(Room::None(Some(format!(
                        "row {shown}, which was created before, has the same {}",
                        columns.join(", ")
                    ))));
                }
                self.displace(table, &id)?;
                self.queue.push_back((table, id));
                made = true;
            }
        }
        Ok(if made { Room::Made } else { Room::None(None) })
    }

    fn execute(&self, sql: &str, values: &[Value]) -> Result<usize, Refusal> {
        let mut statement = self.file.connection.prepare_cached(sql)?;
        bind(&mut statement, values).map_err(|error| match error {
            Error::File(error) => Refusal(error),
            other => Refusal(rusqlite::Error::ToSqlConversionFailure(other.to_string().into())),
        })?;
        Ok(statement.raw_execute()?)
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
                    for (table, id) in self.touched.clone() {
                        let Some(document) = self.document(table, &id)? else { continue };
                        if let Some(why) = self.missing_parent(table, &document, None)? {
                            self.wait(table, &id, PARENT, &why, true)?;
                        }
                    }
                    self.drain()?;
                    self.settle()?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Invalid(
            "foreign keys of this file are broken: `PRAGMA foreign_key_check` shows where".into(),
        ))
    }
}

enum Room {
    Made,
    None(Option<String>),
}

// A statement that SQLite did not carry out.
struct Refusal(rusqlite::Error);

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self(error)
    }
}

impl Refusal {
    fn extended(&self) -> i32 {
        self.0.sqlite_error().map_or(0, |error| error.extended_code)
    }

    fn is_unique(&self) -> bool {
        let unique =
            [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY, ffi::SQLITE_CONSTRAINT_ROWID];
        unique.contains(&self.extended())
    }

    fn text(&self) -> String {
        match &self.0 {
            rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
            other => other.to_string(),
        }
    }

    // Why the row waits; an error if it is not the row's fault.
    fn reason(self) -> Result<(&'static str, String), Error> {
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

    fn into_error<T>(self, done: T) -> Result<T, Error> {
        match self.reason() {
            Ok((_, why)) => Err(Error::Invalid(why)),
            Err(error) => {
                drop(done);
                Err(error)
            }
        }
    }
}

// Notes a row as the triggers would have.
fn note(file: &File, table: &Table, key: &[Value]) -> Result<(), Error> {
    let places: Vec<String> = (1..=key.len()).map(|n| format!("k{n}")).collect();
    let parameters: Vec<String> = (1..=key.len()).map(|n| format!("?{n}")).collect();
    let sql = format!(
        "INSERT INTO driftless_pending(tbl, op, at, {}) VALUES({}, {UPDATED}, {}, {})",
        places.join(", "),
        table.number,
        now_ms(),
        parameters.join(", ")
    );
    let mut statement = file.connection.prepare_cached(&sql)?;
    bind(&mut statement, key)?;
    statement.raw_execute()?;
    Ok(())
}
