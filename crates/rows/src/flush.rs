//! From the file to the database: what was captured becomes one run of commits of whole transactions of the application.
//!
//! Exactly once, over crashes, by an outbox: one transaction of the file takes the notes away, says what is known now, and
//! puts the edits into the outbox; then they are committed together with the token of the outbox; then it is emptied.
//! Whoever finds an outbox after a crash looks whether its token was committed.

use std::collections::BTreeSet;

use driftless::{Collection, DocumentId, Operator, Path, Transaction, Value};
use rusqlite::params;

use crate::cell::{digest, weight};
use crate::error::Error;
use crate::file::{File, Table, now_ms, parameter};
use crate::key;
use crate::ledger::{self, DELETED, FOUND, Known, UPDATED};
use crate::notes::{Last, Noted};
use crate::options::DoubleCreate;
use crate::outbox::{FILES, TOKEN};
use crate::reconcile::{CellChange, Deed, RowChange};

// Times in one run: more are put together, the later one counts.
const TIMES: usize = 256;
// Bytes of values of one edit, which has to fit into a commit with its names.
const EDIT_BYTES: usize = 900 * 1024;
const VALUE_BYTES: usize = 1000 * 1024;
// Bytes of what an audit or attaching has found that go over in one run.
const FOUND_BYTES: usize = 16 * 1024 * 1024;
// Edits of one run. A commit has 4,096 at most; how many bytes there may be is said in `file`.
const RUN_EDITS: usize = 1_000_000;
// Values of fewer bytes fit into a commit, whatever becomes of them.
const SMALL: usize = 64 * 1024;
// What an edit takes besides its values, its names and its id.
const EDIT_FRAME: usize = 64;
const CELL_FRAME: usize = 24;
// Rows of one run that may be listed as contested.
const CONTESTED_AT_ONCE: usize = 20_000;

/// What a flush did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Rows that were created, changed or deleted, and are in the space now.
    pub rows: u64,
    /// Rows that cannot be in a document; they are listed.
    pub refused: u64,
    /// Rows that were changed here by somebody who may not write in the space: they are listed, and stay as they are.
    pub kept: u64,
    /// Of `rows`, those that the space had and has lost: it was put back to an older copy.
    pub again: u64,
    /// Of `rows`, those of which nothing was noted: a REPLACE took them away.
    pub found: u64,
    /// Documents have to be looked at again.
    pub(crate) retry: bool,
}

impl Flushed {
    pub(crate) fn and(self, more: Self) -> Self {
        let (rows, refused) = (self.rows + more.rows, self.refused + more.refused);
        let (again, found) = (self.again + more.again, self.found + more.found);
        Self { rows, refused, kept: more.kept, again, found, retry: self.retry || more.retry }
    }
}

struct Taken {
    last: Last,
    turn: i64,
    /// Rows that are taken later, of which a note goes all the same that they were deleted before they were made again.
    deleted: Vec<(usize, Vec<Value>, i64)>,
    edits: Vec<Change>,
    refused: Vec<Refused>,
    /// Of which any row was noted.
    tables: BTreeSet<usize>,
    seen: Vec<(usize, DocumentId)>,
    adopted: Vec<Adopted>,
}

// The collection, the key and why.
type Refused = (String, String, String);

// A row that was found, and is in the space: the space's values hold.
struct Adopted {
    table: usize,
    id: DocumentId,
    known: Known,
    /// What the row has that the space has not.
    differs: Option<String>,
}

struct Change {
    at: i64,
    table: usize,
    id: DocumentId,
    operators: Vec<Operator>,
    /// What is known of the row from now on; `None` if it is gone.
    known: Option<Known>,
    created: bool,
    /// Too much for one edit: each operator is one.
    divided: bool,
    /// What it takes of a run at most.
    bytes: usize,
    /// What its note would be if it were the only one.
    op: i64,
}

impl Taken {
    // These rows are taken another time: their last notes stay.
    fn end_before(&mut self, mut rows: impl Iterator<Item = Noted>) {
        let Some(first) = rows.next() else { return };
        if first.found {
            self.last.found = first.seq - 1;
            return;
        }
        self.last = Last { changes: first.seq - 1, found: 0, ..self.last };
        let deleted = std::iter::once(first).chain(rows).filter(|noted| noted.deleted);
        self.deleted = deleted.map(|noted| (noted.table, noted.key, noted.at)).collect();
    }
}

impl File {
    /// Commits what was captured.
    pub(crate) fn flush(&mut self) -> Result<Flushed, Error> {
        self.finish_outbox()?;
        let mut flushed = Flushed::default();
        let count = "SELECT count(*) FROM driftless_pending";
        let total = match &self.tell {
            Some(_) => self.connection.query_row(count, [], |row| row.get::<_, i64>(0))?.unsigned_abs(),
            None => 0,
        };
        let mut done = 0;
        self.keeps = false;
        loop {
            if ledger::has_pending(&self.connection)?
                && let Err(error @ driftless::Error::NotPermitted(_)) = self.space.may_write()
            {
                return Ok(flushed.and(self.keep_all(&error.to_string())?));
            }
            let Some(taken) = self.take()? else { return Ok(flushed) };
            // A row that was not sent may have made way for its document.
            flushed.retry |= ledger::has_any(&self.connection, "driftless_refused")?;
            done += taken.seen.len() as u64;
            self.tell("rows sent", done.min(total), total);
            flushed.rows += taken.edits.len() as u64;
            flushed.refused += taken.refused.len() as u64;
            flushed.retry |= taken.adopted.iter().any(|adopted| adopted.differs.is_some());
            if !self.send(taken)? {
                self.finish_outbox()?;
            }
        }
    }

    // Takes the notes away; `false` if somebody else took any since they were read, or has something in the outbox.
    fn take_away(&self, taken: &Taken) -> Result<bool, Error> {
        if !self.is_followed()?
            || self.turn()? != taken.turn
            || ledger::has_any(&self.connection, "driftless_outbox")?
        {
            return Ok(false);
        }
        ledger::put(&self.connection, ledger::TURN, taken.turn + 1)?;
        let Last { behind, changes, found } = taken.last;
        let of = "DELETE FROM driftless_pending";
        let sql = format!("{of} WHERE op <> {FOUND} AND seq > ?1 AND seq <= ?2");
        self.connection.prepare_cached(&sql)?.execute([behind, changes])?;
        if found > 0 {
            let sql = format!("{of} INDEXED BY driftless_found WHERE op = {FOUND} AND seq <= ?1");
            self.connection.prepare_cached(&sql)?.execute([found])?;
        }
        for (table, key, at) in &taken.deleted {
            let Some(table) = self.tables.get(*table) else { continue };
            self.note(table, key, DELETED, *at)?;
        }
        Ok(true)
    }

    // Reads what was captured, and the rows as they are, in one snapshot; `None` if there is nothing.
    fn take(&mut self) -> Result<Option<Taken>, Error> {
        loop {
            self.connection.execute_batch("BEGIN")?;
            let taken = match self.is_followed() {
                Ok(true) => self.look().map(Some),
                Ok(false) => Ok(None),
                Err(error) => Err(error),
            };
            self.connection.execute_batch("COMMIT")?;
            match taken? {
                Some(taken) => return Ok(taken),
                None => _ = self.follow_schema()?,
            }
        }
    }

    fn look(&self) -> Result<Option<Taken>, Error> {
        let (noted, last) = self.noted()?;
        if (last.changes, last.found) == (0, 0) {
            return Ok(None);
        }
        let clock: i64 = ledger::get(&self.connection, ledger::CLOCK)?.unwrap_or_default();
        let turn = self.turn()?;
        let mut taken = Taken {
            last,
            turn,
            deleted: Vec::new(),
            edits: Vec::new(),
            refused: Vec::new(),
            tables: noted.iter().map(|noted| noted.table).collect(),
            seen: Vec::new(),
            adopted: Vec::new(),
        };
        let there = self.space.collections()?;
        let (mut bytes, mut edits) = (0, 0);
        let mut later = noted.into_iter();
        while let Some(noted) = later.next() {
            let Some(table) = self.tables.get(noted.table) else { continue };
            let id = match key::to_id(&noted.key) {
                Ok(id) => id,
                Err(why) => {
                    // A key that was never filled in, of a row that has one by now, is nobody's.
                    if self.row_is_there(table, &noted.key)? {
                        taken.refused.push((table.collection.clone(), shown(&noted.key), why));
                    }
                    continue;
                }
            };
            taken.seen.push((noted.table, id.clone()));
            if noted.found
                && there.contains(&table.collection)
                && let Some(adopted) = self.adopted(noted.table, table, &noted.key, &id)?
            {
                taken.adopted.push(adopted);
                continue;
            }
            match self.change(table, &noted, &id, noted.at.max(clock))? {
                Ok(Some(change)) => {
                    bytes += change.bytes;
                    edits += change.operators.len();
                    let most = if noted.found { FOUND_BYTES } else { self.run_bytes };
                    if (bytes > most || edits > RUN_EDITS) && !taken.edits.is_empty() {
                        taken.seen.pop();
                        taken.end_before(std::iter::once(noted).chain(later));
                        break;
                    }
                    taken.edits.push(change);
                }
                Ok(None) => {}
                Err(why) => taken.refused.push((table.collection.clone(), shown(&noted.key), why)),
            }
        }
        self.refuse_double(&mut taken)?;
        Ok(Some(taken))
    }

    fn row_is_there(&self, table: &Table, key: &[Value]) -> Result<bool, Error> {
        let columns: Vec<String> = table
            .qualified_key()
            .iter()
            .zip(key)
            .enumerate()
            .map(|(n, (column, cell))| format!("{column} IS {}", parameter(n + 1, cell)))
            .collect();
        let query =
            format!("SELECT 1 FROM {} WHERE {}", crate::schema::quoted(table.name()), columns.join(" AND "));
        let mut statement = self.connection.prepare_cached(&query)?;
        crate::file::bind(&mut statement, key)?;
        Ok(statement.raw_query().next()?.is_some())
    }

    // What a row says now that is not known of it; `Err` says why it cannot be said.
    fn change(
        &self,
        table: &Table,
        noted: &Noted,
        id: &DocumentId,
        at: i64,
    ) -> Result<Result<Option<Change>, String>, Error> {
        let row = self.row(table, &noted.key)?;
        let encoded = id.to_cbor();
        let known = ledger::known(&self.connection, table.number, &encoded)?;
        let change = |deed, cells| RowChange { table: table.name(), deed, cells, writer: &self.writer };
        let made = |change: RowChange<'_>, known: Option<Known>| {
            let created = change.deed == Deed::Create;
            let operators = self.reconciler.operators(&change);
            let op = match (noted.deleted, noted.found) {
                (true, _) => DELETED,
                (_, true) => FOUND,
                _ => UPDATED,
            };
            let bytes = EDIT_FRAME + encoded.len() + table.collection.len();
            Change {
                at,
                table: noted.table,
                id: id.clone(),
                operators,
                known,
                created,
                divided: false,
                bytes,
                op,
            }
        };
        let Some(row) = row else {
            return Ok(Ok(known.map(|_| made(change(Deed::Delete, Vec::new()), None))));
        };
        let deed = match (&known, noted.deleted) {
            (None, _) => Deed::Create,
            (Some(_), true) => Deed::Recreate,
            (Some(_), false) => Deed::Modify,
        };
        let before = known.as_ref().and_then(|known| known.base.as_deref());
        let before = before.map(Value::from_json).and_then(Result::ok);
        let mut next = known.clone().unwrap_or_default();
        let (mut cells, mut base, mut bytes) = (Vec::new(), driftless::Map::new(), 0);
        for ((column, _), now) in table.columns.iter().zip(row) {
            let size = weight(&now);
            if size > VALUE_BYTES {
                return Ok(Err(format!(
                    "column {} holds {size} bytes; at most {VALUE_BYTES} can be sent",
                    column.name
                )));
            }
            let digest = digest(&now);
            let same =
                deed == Deed::Modify && known.as_ref().is_some_and(|known| known.cell(column) == digest);
            next.set(column.number, digest);
            let needed = table.based && self.reconciler.needs_before(table.name(), &column.name);
            if needed {
                base.insert(column.field.as_str(), now.clone());
            }
            if same {
                continue;
            }
            bytes += size + column.field.len() + CELL_FRAME;
            let before = before.as_ref().filter(|_| needed && deed == Deed::Modify);
            let before = before.and_then(|before| before.as_map()?.get(&column.field)).cloned();
            cells.push(CellChange { column: column.name.clone(), field: column.field.clone(), now, before });
        }
        if table.based {
            next.base = Some(Value::Map(base).to_json());
        }
        if deed == Deed::Modify && cells.is_empty() {
            return Ok(Ok(None));
        }
        let mut made = made(change(deed, cells), Some(next));
        made.bytes += bytes;
        if table.based || bytes > SMALL {
            return self.measured(table, made).map(|made| made.map(Some));
        }
        Ok(Ok(Some(made)))
    }

    // What a change takes, divided if that is too much for one edit; `Err` says why it cannot be sent at all.
    fn measured(&self, table: &Table, mut change: Change) -> Result<Result<Change, String>, Error> {
        let of = self.space.collection(&table.collection)?;
        let whole = match self.alone(&of, &change.id, change.operators.clone())? {
            Ok(whole) => whole,
            Err(why) => return Ok(Err(why)),
        };
        change.bytes = whole.to_bytes().len();
        if change.bytes <= EDIT_BYTES {
            return Ok(Ok(change));
        }
        change.operators = divided(std::mem::take(&mut change.operators));
        (change.divided, change.bytes) = (true, 0);
        for operator in &change.operators {
            let part = match self.alone(&of, &change.id, vec![operator.clone()])? {
                Ok(part) => part,
                Err(why) => return Ok(Err(why)),
            };
            match part.check() {
                Ok(()) => change.bytes += part.to_bytes().len(),
                Err(driftless::Error::Invalid(why)) => return Ok(Err(why)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Ok(change))
    }

    // Operators as a transaction of their own; `Err` says why they cannot be one.
    fn alone(
        &self,
        of: &Collection,
        id: &DocumentId,
        operators: Vec<Operator>,
    ) -> Result<Result<Transaction, String>, Error> {
        let mut alone = self.space.database().transaction();
        match alone.edit_unseen(of, id, operators) {
            Ok(()) => Ok(Ok(alone)),
            Err(driftless::Error::Invalid(why)) => Ok(Err(why)),
            Err(error) => Err(error.into()),
        }
    }

    // A row that nothing is known of, where the space has its document.
    fn adopted(
        &self,
        at: usize,
        table: &Table,
        key: &[Value],
        id: &DocumentId,
    ) -> Result<Option<Adopted>, Error> {
        if ledger::known(&self.connection, table.number, &id.to_cbor())?.is_some() {
            return Ok(None);
        }
        let Some(document) = self.space.collection(&table.collection)?.get(id)? else { return Ok(None) };
        let Some(row) = self.row(table, key)? else { return Ok(None) };
        let (mut known, mut differs) = (Known::default(), Vec::new());
        let mut base = driftless::Map::new();
        for ((column, _), cell) in table.columns.iter().zip(row) {
            known.set(column.number, digest(&cell));
            let field = document.fields.get(&column.field);
            let said = field.map(|field| self.reconciler.cell(table.name(), &column.name, field));
            if said.as_ref().is_some_and(|said| *said != cell) {
                differs.push(format!("{} {}", column.name, cell.to_json()));
            }
            if table.based && self.reconciler.needs_before(table.name(), &column.name) {
                base.insert(column.field.as_str(), cell);
            }
        }
        if table.based {
            known.base = Some(Value::Map(base).to_json());
        }
        let differs = Some(differs.join(", ")).filter(|differs| !differs.is_empty());
        Ok(Some(Adopted { table: at, id: id.clone(), known, differs }))
    }

    // Rows that were created here while the space has them.
    fn refuse_double(&self, taken: &mut Taken) -> Result<(), Error> {
        if self.options.double_create == DoubleCreate::Merge {
            return Ok(());
        }
        let mut kept = Vec::new();
        for change in std::mem::take(&mut taken.edits) {
            let Some(table) = self.tables.get(change.table) else { continue };
            if change.created && self.space.collection(&table.collection)?.get(&change.id)?.is_some() {
                let why = "another device has created a row under this key";
                let key = key_text(table, &change.id);
                taken.refused.push((table.collection.clone(), key, why.into()));
            } else {
                kept.push(change);
            }
        }
        taken.edits = kept;
        Ok(())
    }

    // Through the outbox into the database; `false` if somebody else did.
    fn send(&mut self, taken: Taken) -> Result<bool, Error> {
        let Taken { edits, refused, tables, seen, adopted, .. } = &taken;
        let token = random()?;
        let transaction = self.staged(edits, &token)?;
        // Nothing is noted as taken that can never be written.
        let bytes: usize = edits.iter().map(|change| change.bytes).sum();
        if let Some(transaction) = transaction.as_ref().filter(|_| bytes > FOUND_BYTES) {
            transaction.check()?;
        }
        let outbox = transaction.as_ref().map(Transaction::to_bytes);
        let waits = self.write(|file| {
            let connection = &file.connection;
            if !file.take_away(&taken)? {
                return Ok(None);
            }
            let waits = ledger::has_any(connection, "driftless_waiting")?;
            // Mostly there is nothing to forget.
            let refuses = ledger::has_any(connection, "driftless_refused")?;
            for (table, id) in seen.iter().filter(|_| refuses) {
                let Some(table) = file.tables.get(*table) else { continue };
                // It may have waited as a document, or been refused; what holds now is said again below.
                let key = key_text(table, id);
                ledger::forget_refused(connection, &table.collection, &key)?;
            }
            for change in edits {
                let Some(table) = file.tables.get(change.table) else { continue };
                let id = change.id.to_cbor();
                match &change.known {
                    Some(known) => ledger::put_known(connection, table.number, &id, known)?,
                    None => ledger::forget_known(connection, table.number, &id)?,
                }
                if waits {
                    ledger::forget_waiting(connection, &table.collection, &id)?;
                }
            }
            file.doubt(tables, refused)?;
            file.put_adopted(adopted)?;
            for (collection, key, why) in refused {
                ledger::put_refused(connection, collection, key, why, now_ms())?;
            }
            if let Some(outbox) = outbox {
                connection
                    .prepare_cached("INSERT INTO driftless_outbox(token, edits) VALUES(?1, ?2)")?
                    .execute(params![token, outbox])?;
            }
            Ok(Some(waits))
        })?;
        let (Some(transaction), Some(waits)) = (transaction, waits) else { return Ok(waits.is_some()) };
        let place = ledger::place(&self.connection)?;
        let next = match &place {
            Some(place) => transaction.commit_from(&self.space, place)?,
            None => {
                transaction.commit()?;
                None
            }
        };
        // What comes of a column that is merged may be something else than what the row says.
        let merged =
            edits.iter().any(|change| self.tables.get(change.table).is_some_and(|table| table.based));
        self.write(|file| {
            file.is_ours()?;
            // Where it is gone the file was attached anew: nothing of this is known in it.
            if file.connection.execute("DELETE FROM driftless_outbox WHERE token = ?1", [&token])? == 0 {
                return Ok(true);
            }
            ledger::put_sent(&file.connection, &token, now_ms())?;
            match next {
                // Of a document that is not wholly shown the row may be something else, too.
                Some(_) if merged || waits => {}
                Some(next) => ledger::put_place(&file.connection, &next)?,
                // Others wrote meanwhile: a value of ours may have lost.
                None if place.is_some() && edits.len() <= CONTESTED_AT_ONCE => {
                    for change in edits.iter().filter(|change| !change.created) {
                        let Some(table) = file.tables.get(change.table) else { continue };
                        ledger::put_contested(&file.connection, &table.collection, &change.id.to_cbor())?;
                    }
                }
                None => {}
            }
            Ok(true)
        })
    }

    fn put_adopted(&self, adopted: &[Adopted]) -> Result<(), Error> {
        for Adopted { table, id, known, differs } in adopted {
            let Some(table) = self.tables.get(*table) else { continue };
            let bytes = id.to_cbor();
            ledger::put_known(&self.connection, table.number, &bytes, known)?;
            if let Some(differs) = differs {
                let why = format!("the space has other values; here it had {differs}");
                let key = key_text(table, id);
                ledger::put_refused(&self.connection, &table.collection, &key, &why, now_ms())?;
                ledger::put_waiting(&self.connection, &table.collection, id, "other_values", &why, now_ms())?;
            }
        }
        Ok(())
    }

    // Notes, in the transaction that takes notes away, the tables from which a REPLACE may have taken rows: it deletes rows
    // only in a statement that a trigger notes. What becomes of a row that is `refused` no count shows.
    fn doubt(&self, tables: &BTreeSet<usize>, refused: &[Refused]) -> Result<(), Error> {
        for table in tables.iter().filter_map(|at| self.tables.get(*at)) {
            if table.described.replaces {
                let is_refused = refused.iter().any(|(collection, ..)| *collection == table.collection);
                let how = if is_refused { ledger::LOOK } else { ledger::COUNT };
                ledger::put(&self.connection, &ledger::unsure(table.number), how)?;
            }
        }
        Ok(())
    }

    // What was changed by somebody who may not write: the notes of it stay, one for each row, and the rows are listed. What was
    // found is taken in batches, each once, until nobody has noted anything since.
    fn keep_all(&mut self, why: &str) -> Result<Flushed, Error> {
        let count = |file: &Self, which: &str| -> Result<i64, Error> {
            let query = format!("SELECT count(*) FROM driftless_pending WHERE {which}");
            Ok(file.connection.query_row(&query, [], |row| row.get(0))?)
        };
        let stands = |file: &Self| -> Result<String, Error> {
            let last = "SELECT max(seq) FROM driftless_pending";
            let last: Option<i64> = file.connection.query_row(last, [], |row| row.get(0))?;
            Ok(format!("{} {} {} {why}", file.turn()?, file.schema, last.unwrap_or_default()))
        };
        let mut flushed = Flushed::default();
        if ledger::get(&self.connection, ledger::KEPT)? != Some(stands(self)?) {
            // Rows that are again what they were can be what the space says.
            flushed.retry = true;
            let mut left = count(self, &format!("op = {FOUND}"))?;
            loop {
                let Some((more, found)) = self.keep(why)? else { break };
                flushed.refused += more;
                left -= found;
                if left <= 0 || found == 0 {
                    break;
                }
            }
            if left <= 0 {
                let stands = stands(self)?;
                self.write(|file| ledger::put(&file.connection, ledger::KEPT, stands))?;
            }
        }
        flushed.kept = count(self, "true")?.unsigned_abs();
        self.keeps = flushed.kept > 0;
        Ok(flushed)
    }

    // Some of it: how many rows are refused, and how many notes of what was found were taken.
    fn keep(&mut self, why: &str) -> Result<Option<(u64, i64)>, Error> {
        let Some(taken) = self.take()? else { return Ok(None) };
        let found = format!("SELECT count(*) FROM driftless_pending WHERE op = {FOUND} AND seq <= ?1");
        let found: i64 = self.connection.query_row(&found, [taken.last.found], |row| row.get(0))?;
        self.write(|file| {
            let connection = &file.connection;
            if !file.take_away(&taken)? {
                return Ok(());
            }
            for (table, id) in &taken.seen {
                let Some(table) = file.tables.get(*table) else { continue };
                ledger::forget_refused(connection, &table.collection, &key_text(table, id))?;
            }
            file.doubt(&taken.tables, &taken.refused)?;
            file.put_adopted(&taken.adopted)?;
            for (collection, key, why) in &taken.refused {
                ledger::put_refused(connection, collection, key, why, now_ms())?;
            }
            for change in &taken.edits {
                let Some(table) = file.tables.get(change.table) else { continue };
                let Some(key) = table.key_of(&change.id) else { continue };
                file.note(table, &key, change.op, change.at)?;
                ledger::put_refused(connection, &table.collection, &shown(&key), why, now_ms())?;
            }
            Ok(())
        })?;
        Ok(Some((taken.refused.len() as u64, found)))
    }

    fn staged(&self, edits: &[Change], token: &[u8]) -> Result<Option<Transaction>, Error> {
        if edits.is_empty() {
            return Ok(None);
        }
        let mut transaction = self.space.database().transaction();
        let collections: Vec<Collection> = self
            .tables
            .iter()
            .map(|table| self.space.collection(&table.collection))
            .collect::<Result<_, _>>()?;
        // Edits in the order of their times, those of one time in the order of their notes.
        let mut order: Vec<&Change> = edits.iter().collect();
        order.sort_by_key(|change| change.at);
        let mut times: Vec<i64> = order.iter().map(|change| change.at).collect();
        times.dedup();
        let together = times.len().div_ceil(TIMES).max(1);
        let ends: Vec<i64> = times.chunks(together).filter_map(|times| times.last().copied()).collect();
        let mut ends = ends.into_iter().peekable();
        for change in order {
            while ends.next_if(|end| *end < change.at).is_some() {}
            let at = ends.peek().copied().unwrap_or(change.at);
            transaction.at(u64::try_from(at).unwrap_or_default());
            let Some(collection) = collections.get(change.table) else { continue };
            if change.divided {
                for operator in &change.operators {
                    transaction.edit_unseen(collection, &change.id, vec![operator.clone()])?;
                }
            } else {
                transaction.edit_unseen(collection, &change.id, change.operators.clone())?;
            }
        }
        let path = Path::new(vec![TOKEN.to_owned()]).map_err(|error| Error::Invalid(error.to_string()))?;
        let said = Operator::Set { path, value: Value::Bytes(token.to_vec()) };
        transaction.edit_unseen(&self.space.collection(FILES)?, &self.own_id()?, vec![said])?;
        Ok(Some(transaction))
    }
}

/// A word that only one file has.
pub(crate) fn new_writer() -> Result<String, Error> {
    let word: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("w{word}"))
}

// Eight random bytes.
fn random() -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; 8];
    getrandom::fill(&mut bytes).map_err(|error| Error::Invalid(format!("no random bytes: {error}")))?;
    Ok(bytes)
}

// The key of a document's row for people.
fn key_text(table: &Table, id: &DocumentId) -> String {
    table.key_of(id).map_or_else(|| id.text(), |key| shown(&key))
}

/// A key for people.
pub(crate) fn shown(key: &[Value]) -> String {
    key.iter().map(Value::to_json).collect::<Vec<_>>().join(", ")
}

// An insert of much more than fits into one commit: the document first, then its fields.
fn divided(operators: Vec<Operator>) -> Vec<Operator> {
    let mut all = Vec::new();
    for operator in operators {
        match operator {
            Operator::Insert { fields, parent } => {
                all.push(Operator::Insert { fields: driftless::Map::new(), parent });
                all.extend(fields.into_iter().filter_map(|(field, value)| {
                    Some(Operator::Set { path: Path::new(vec![field.into()]).ok()?, value })
                }));
            }
            other => all.push(other),
        }
    }
    all
}
