//! Putting a file under sync, following its schema, and leaving it as it was.

use std::sync::Arc;

use driftless::{DocumentId, Map, Space, Value};
use rusqlite::{Connection, params};
use serde::Serialize;

use crate::capture;
use crate::cell::{self, digest};
use crate::error::Error;
use crate::file::{File, is_name_there, listed, name_there};
use crate::ledger::{self, KnownColumn};
use crate::options::{Options, Tables};
use crate::reconcile::PerColumn;
use crate::schema::{self, Described, DescribedColumn, quoted};

/// The collection with the names that tables and columns had before they were renamed.
pub(crate) const NAMES: &str = ":names";
const BEFORE: &str = "before";
// Documents that are read together.
const SOME: usize = 512;
// Why a table is left out of which the documents were made for other policies.
const MISUSED: &str = "documents of the space were made for other policies of its columns: `rows detach` the file, and attach \
    it with the policies that they have on other devices";

/// A table that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub table: String,
    /// What is missing, and what to do.
    pub why: String,
}

/// Makes our tables and triggers in the file, all or nothing.
pub(crate) fn attach(file: &Connection, space: &Space, options: &Options) -> Result<(), Error> {
    file.execute_batch("BEGIN IMMEDIATE")?;
    let done = (|| {
        ledger::create(file)?;
        ledger::put(file, ledger::SPACE, space.id().to_string())?;
        ledger::put(file, ledger::PEER, space.database().peer()?.to_string())?;
        ledger::seal(file, space, &crate::flush::new_writer()?)?;
        put_options(file, options)?;
        let all = schema::tables(file)?;
        check(file, &all, options)?;
        for name in all {
            if !is_wanted(options, &name) {
                continue;
            }
            if let (Some(why), Tables::Named(_)) = (add(file, space, &name, options)?, &options.tables) {
                return Err(Error::Table { table: name, why });
            }
        }
        check_documents(file, space, options)?;
        note_schema(file)?;
        Ok(file.execute_batch("COMMIT")?)
    })();
    if done.is_err() && !file.is_autocommit() {
        file.execute_batch("ROLLBACK")?;
    }
    done
}

// A name that is nowhere in the file is a slip: what it was to say would never hold.
fn check(file: &Connection, all: &[String], options: &Options) -> Result<(), Error> {
    if let Some(part) = options.part.filter(|part| i64::from(*part) >= capture::PARTS) {
        let last = capture::PARTS - 1;
        return Err(Error::Invalid(format!(
            "there is no part {part}: give this device a number from 0 to {last}"
        )));
    }
    let is_there = |name: &str| all.iter().any(|table| table.eq_ignore_ascii_case(name));
    let missing = |table: &str| {
        let why = "there is no table of that name in the file".to_owned();
        Err(Error::Table { table: table.to_owned(), why })
    };
    if let Tables::Named(named) = &options.tables
        && let Some(name) = named.iter().find(|name| !is_there(name))
    {
        return missing(name);
    }
    for (wish, _) in options.columns.iter() {
        let mut described = None;
        for table in all {
            // Names may have dots.
            if let Some(column) = wish.strip_prefix(table.as_str()).and_then(|rest| rest.strip_prefix('.')) {
                let of = schema::describe(file, table)?;
                let columns = of.iter().flat_map(|of| &of.columns);
                let place = columns.into_iter().position(|known| known.name == column);
                if place.is_some_and(|place| of.iter().any(|of| of.is_key(place))) {
                    return Err(Error::Invalid(format!(
                        "{wish} is of the key of its table, which says what row it is: two keys are two rows, and do not \
                         merge; give a policy to other columns"
                    )));
                }
                described = Some((table, column, place.is_some()));
                if place.is_some() {
                    break;
                }
            }
        }
        match described {
            None => return missing(wish.split('.').next().unwrap_or_default()),
            Some((table, column, false)) => {
                let why = format!("it has no column {column}, which was given a policy");
                return Err(Error::Table { table: table.clone(), why });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

// What merges as a map, or as an array, has to be one in the documents that there are, and nothing else may be: otherwise a
// change would have no effect on them, or would make something else of them for everybody.
fn check_documents(file: &Connection, space: &Space, options: &Options) -> Result<(), Error> {
    for (_, table, collection, columns) in listed(file)? {
        if let Some(why) = misused(space, &table, &collection, &columns, options)? {
            return Err(Error::Invalid(why));
        }
    }
    Ok(())
}

// A column of which the documents were made for another policy.
fn misused(
    space: &Space,
    table: &str,
    collection: &str,
    columns: &[KnownColumn],
    options: &Options,
) -> Result<Option<String>, Error> {
    let collection = space.collection(collection)?;
    let mut after = 0;
    loop {
        let (some, next) = collection.page(after, SOME)?;
        for document in some.iter().filter(|document| !document.deleted) {
            for column in columns {
                let Some(value) = document.fields.get(&column.field) else { continue };
                let policy = options.columns.policy(table, &column.name);
                if let Some(others) = policy.misuses(value) {
                    return Ok(Some(format!(
                        "{table}.{} is in documents of the space that were not made for {}, but for {others}: attach it with the \
                         policy that it has on other devices, or another column",
                        column.name,
                        policy.word()
                    )));
                }
            }
        }
        let Some(next) = next else { return Ok(None) };
        after = next;
    }
}

/// Gives a file that is attached other options; its triggers follow them. Policies stay: documents are made for them.
pub(crate) fn take_options(file: &Connection, options: &Options) -> Result<(), Error> {
    file.execute_batch("BEGIN IMMEDIATE")?;
    let done = (|| {
        check(file, &schema::tables(file)?, options)?;
        let before = crate::file::options(file)?.columns;
        let wished = || options.columns.iter().chain(before.iter()).map(|(column, _)| column);
        let other = wished().find(|column| options.columns.of(column) != before.of(column));
        if let Some(column) = other.filter(|_| options.columns != PerColumn::default()) {
            let (was, wished) = (before.of(column).word(), options.columns.of(column).word());
            return Err(Error::Invalid(format!(
                "{column} was attached as {was}, and is to be {wished} now: what is in the space was made for {was}; leave the \
                 policies as they were, or detach the file on every device, make another column, and attach it with {wished}"
            )));
        }
        put_options(file, &Options { columns: before, ..options.clone() })?;
        for (number, ..) in listed(file)? {
            // Where they are missing, somebody made the table anew; that is followed later.
            let on = capture::installed_on(file, number)?;
            let on = on.map(|name| schema::describe(file, &name)).transpose()?.flatten();
            if let Some(described) = on {
                capture::install(file, number, &described, options)?;
            }
        }
        // Other tables may be wanted now.
        ledger::put(file, ledger::SCHEMA, -1)?;
        Ok(file.execute_batch("COMMIT")?)
    })();
    if done.is_err() && !file.is_autocommit() {
        file.execute_batch("ROLLBACK")?;
    }
    done
}

fn put_options(file: &Connection, options: &Options) -> Result<(), Error> {
    let text = serde_json::to_string(options).map_err(|error| Error::Invalid(error.to_string()))?;
    ledger::put(file, ledger::OPTIONS, text)
}

fn is_wanted(options: &Options, name: &str) -> bool {
    match &options.tables {
        Tables::All => true,
        Tables::Named(named) => named.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)),
    }
}

// Puts one more table under sync, and notes its rows; says why it cannot.
fn add(file: &Connection, space: &Space, name: &str, options: &Options) -> Result<Option<String>, Error> {
    let Some(described) = schema::describe(file, name)? else { return Ok(Some("it is gone".into())) };
    if let Some(why) = why_not(file, space, &described)? {
        return Ok(Some(why));
    }
    let number: i64 =
        file.query_row("SELECT 1 + coalesce(max(number), 0) FROM driftless_tables", [], |row| row.get(0))?;
    let collection = collection_of(file, space, name)?;
    let mut columns = Vec::new();
    for (at, column) in described.columns.iter().enumerate().filter(|(at, _)| !described.is_key(*at)) {
        // A row that is made of a document has the default where that does not speak of a column.
        let base = default_digest(file, column)?;
        let column = agreed(space, &collection, at, column, &described, &columns)?;
        columns.push(KnownColumn { base, ..column });
    }
    file.execute(
        "INSERT INTO driftless_tables VALUES(?1, ?2, ?3, ?4)",
        params![number, described.name, collection, json(&columns)?],
    )?;
    capture::install(file, number, &described, options)?;
    let keys: Vec<String> = described
        .key
        .iter()
        .filter_map(|at| described.columns.get(*at))
        .map(|column| quoted(&column.name))
        .collect();
    let places: Vec<String> = (1..=keys.len()).map(|n| format!("k{n}")).collect();
    file.execute(
        &format!(
            "INSERT INTO driftless_pending(tbl, op, at, {}) SELECT {number}, {}, {}, {} FROM {}",
            places.join(", "),
            ledger::FOUND,
            crate::file::now_ms(),
            keys.join(", "),
            quoted(name)
        ),
        [],
    )?;
    Ok(None)
}

// Why a table cannot be under sync.
fn why_not(file: &Connection, space: &Space, described: &Described) -> Result<Option<String>, Error> {
    if let Some(why) = described.refusal(file)? {
        return Ok(Some(why));
    }
    let collection = collection_of(file, space, &described.name)?;
    let is_none = space.collection(&collection).is_err();
    Ok(is_none
        .then(|| "its name cannot be that of a collection: it has control characters, or is too long".into()))
}

// The collection of a table that comes under sync: what it was called before, unless another table is that.
fn collection_of(file: &Connection, space: &Space, name: &str) -> Result<String, Error> {
    let mut taken: Vec<String> = listed(file)?.into_iter().map(|(_, _, collection, _)| collection).collect();
    taken.extend(schema::tables(file)?.iter().filter(|other| *other != name).map(|other| name_there(other)));
    let before = before(space, "table", name)?.filter(|before| !taken.contains(before));
    Ok(before.unwrap_or_else(|| name_there(name)))
}

// A column as it comes under sync: its field is nobody else's.
fn agreed(
    space: &Space,
    collection: &str,
    number: usize,
    column: &DescribedColumn,
    described: &Described,
    known: &[KnownColumn],
) -> Result<KnownColumn, Error> {
    let is_known = |field: &str| known.iter().any(|known| known.field == field);
    let others = described.columns.iter().filter(|other| other.name != column.name);
    let others: Vec<String> = others.map(|other| name_there(&other.name)).collect();
    let before = before(space, collection, &column.name)?;
    let mut field = before
        .filter(|before| !is_known(before) && !others.contains(before))
        .unwrap_or_else(|| name_there(&column.name));
    // Where a column of this name was renamed, and there is another of the name now.
    while is_known(&field) {
        field.push(':');
    }
    let (name, declared) = (column.name.clone(), column.declared.clone());
    Ok(KnownColumn { number, name, field, declared, base: 0 })
}

fn json(columns: &[KnownColumn]) -> Result<String, Error> {
    serde_json::to_string(columns).map_err(|error| Error::Invalid(error.to_string()))
}

// What something was called in the space before it was renamed somewhere.
fn before(space: &Space, of: &str, name: &str) -> Result<Option<String>, Error> {
    // Of a name that is too long for an id nobody can have said it.
    let Ok(id) = name_id(of, name) else { return Ok(None) };
    let document = space.collection(NAMES)?.get(&id)?;
    Ok(document.and_then(|document| match document.fields.get(BEFORE) {
        // Anybody who writes in the space can say this.
        Some(Value::String(before)) if is_name_there(before) => Some(before.clone()),
        _ => None,
    }))
}

fn name_id(of: &str, name: &str) -> Result<DocumentId, Error> {
    let part = |text: &str| DocumentId::string(text).map_err(|error| Error::Invalid(error.to_string()));
    DocumentId::list(vec![part(of)?, part(name)?]).map_err(|error| Error::Invalid(error.to_string()))
}

fn note_schema(file: &Connection) -> Result<(), Error> {
    ledger::put(file, ledger::SCHEMA, schema::version(file)?)
}

/// Takes our triggers and tables away.
pub(crate) fn detach(file: &Connection) -> Result<(), Error> {
    file.execute_batch("BEGIN IMMEDIATE")?;
    let done = (|| {
        // Also what nobody understands who has not made it.
        let triggers =
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'driftless\\_%' ESCAPE '\\'";
        let triggers =
            file.prepare(triggers)?.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        for trigger in triggers {
            file.execute_batch(&format!("DROP TRIGGER {}", quoted(&trigger)))?;
        }
        for table in ledger::TABLES {
            file.execute_batch(&format!("DROP TABLE IF EXISTS {}", quoted(table)))?;
        }
        file.execute_batch("COMMIT")?;
        Ok(())
    })();
    if done.is_err() && !file.is_autocommit() {
        file.execute_batch("ROLLBACK")?;
    }
    done
}

fn keeps_its_place(described: &Described, known: &[KnownColumn], name: &str, place: usize) -> bool {
    let before: Vec<&str> =
        known.iter().map(|column| column.name.as_str()).filter(|name| !name.is_empty()).collect();
    let now: Vec<usize> = (0..described.columns.len()).filter(|at| !described.is_key(*at)).collect();
    let at = now.iter().position(|column| *column == place);
    before.len() == now.len()
        && at.is_some_and(|at| at + 1 < now.len() && before.get(at).is_some_and(|before| *before == name))
}

// What somebody renamed, to be told to others; and columns, whose policies go with them: table, before, now.
#[derive(Default)]
struct Renamed(Vec<(String, String, String)>, Vec<(String, String, String)>);

impl File {
    /// The tables that would be under sync and cannot be, and why.
    pub(crate) fn left_out(&self) -> Result<Vec<LeftOut>, Error> {
        let mut left_out = Vec::new();
        for name in schema::tables(&self.connection)? {
            if !is_wanted(&self.options, &name) || self.tables.iter().any(|table| table.name() == name) {
                continue;
            }
            let Some(described) = schema::describe(&self.connection, &name)? else { continue };
            let why = why_not(&self.connection, &self.space, &described)?;
            left_out.push(LeftOut { table: name, why: why.unwrap_or_else(|| MISUSED.to_owned()) });
        }
        Ok(left_out)
    }

    /// Follows what became of the tables since the last time; `true` if something did.
    pub(crate) fn follow_schema(&mut self) -> Result<bool, Error> {
        let is_followed = self.is_followed()?;
        if !is_followed {
            self.follow()?;
        }
        self.tell_names()?;
        Ok(!is_followed)
    }

    /// The same, and others are told nothing yet of what was renamed.
    pub(crate) fn follow(&mut self) -> Result<(), Error> {
        self.followed = true;
        // Another handle may have followed it already; what it knew is not what we do.
        if ledger::get(&self.connection, ledger::SCHEMA)? == Some(schema::version(&self.connection)?) {
            self.read_options()?;
            self.connection.flush_prepared_statement_cache();
            return self.load();
        }
        self.read_options()?;
        self.write(|file| {
            file.is_ours()?;
            let renamed = file.follow_tables()?;
            file.keep_names(renamed.0)?;
            // What could be no key of a table may be one now, and what did not fit may fit.
            file.connection.execute(
                "UPDATE driftless_waiting SET reason = 'refused' WHERE reason IN ('key', 'check', 'not_null', 'type')",
                [],
            )?;
            note_schema(&file.connection)
        })?;
        self.connection.flush_prepared_statement_cache();
        self.load()
    }

    fn kept_names(&self) -> Result<Vec<(String, String, String)>, Error> {
        let kept: Option<String> = ledger::get(&self.connection, ledger::TELL)?;
        let kept = kept.map(|kept| serde_json::from_str(&kept)).transpose();
        let kept = kept.map_err(|error| Error::Invalid(format!("what was renamed in the file: {error}")))?;
        Ok(kept.unwrap_or_default())
    }

    // What was renamed is kept in the file, in the transaction that follows it, until it is certain that others can hear it.
    fn keep_names(&self, renamed: Vec<(String, String, String)>) -> Result<(), Error> {
        if renamed.is_empty() {
            return Ok(());
        }
        let mut kept = self.kept_names()?;
        kept.extend(renamed);
        let kept = serde_json::to_string(&kept).map_err(|error| Error::Invalid(error.to_string()))?;
        ledger::put(&self.connection, ledger::TELL, kept)
    }

    fn tell_names(&mut self) -> Result<(), Error> {
        let kept = self.kept_names()?;
        if kept.is_empty() {
            return Ok(());
        }
        for (of, name, before) in kept {
            let Ok(id) = name_id(&of, &name) else { continue };
            let fields = Map::from_iter([(BEFORE, Value::from(before))]);
            match self.space.collection(NAMES)?.save(&id, fields) {
                Ok(_) => {}
                // It is told once somebody may write who syncs this file.
                Err(driftless::Error::NotPermitted(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.write(|file| ledger::forget(&file.connection, ledger::TELL))
    }

    fn follow_tables(&mut self) -> Result<Renamed, Error> {
        let mut renamed = Renamed::default();
        let mut there = Vec::new();
        for (number, name, collection, columns) in listed(&self.connection)? {
            // SQLite keeps triggers with the table that they are on, whatever it is called.
            let on = capture::installed_on(&self.connection, number)?;
            let now = on.clone().unwrap_or_else(|| name.clone());
            if !is_wanted(&self.options, &name) {
                // Somebody has chosen others since.
                capture::remove(&self.connection, number)?;
                self.forget_table(number)?;
                continue;
            }
            let Some(described) = schema::describe(&self.connection, &now)? else {
                // That says nothing about the documents: where the table is made again, they become rows of it.
                self.forget_table(number)?;
                continue;
            };
            if described.refusal(&self.connection)?.is_some() {
                capture::remove(&self.connection, number)?;
                self.forget_table(number)?;
                continue;
            }
            there.push(described.name.clone());
            if described.name != name {
                self.options.columns.rename_table(&name, &described.name);
                if let Tables::Named(named) = &mut self.options.tables {
                    let same = named.iter_mut().filter(|wanted| wanted.eq_ignore_ascii_case(&name));
                    same.for_each(|wanted| wanted.clone_from(&described.name));
                }
                self.take_policies()?;
                renamed.0.push(("table".into(), described.name.clone(), collection.clone()));
            }
            let next = self.follow_columns(number, &collection, &described, &columns, &mut renamed)?;
            for (table, before, now) in std::mem::take(&mut renamed.1) {
                self.options.columns.rename(&table, &before, &now);
                self.take_policies()?;
            }
            self.connection.execute(
                "UPDATE driftless_tables SET name = ?2, columns = ?3 WHERE number = ?1",
                params![number, described.name, json(&next)?],
            )?;
            if on.is_none() {
                // It was dropped and made anew, as many a migration does. What is not in it any more says nothing.
                self.load()?;
                let table = self.tables.iter().find(|table| table.number == number).cloned();
                if let Some(table) = table {
                    let is_anew = capture::is_without(&self.connection, number)?;
                    capture::install(&self.connection, number, &described, &self.options)?;
                    let (found, forgotten) = self.audit_table(&table, !is_anew)?;
                    self.found += found;
                    if forgotten > 0 {
                        ledger::forget(&self.connection, ledger::PLACE)?;
                    }
                }
            }
        }
        for name in schema::tables(&self.connection)? {
            let new = is_wanted(&self.options, &name) && !there.contains(&name);
            if new && add(&self.connection, &self.space, &name, &self.options)?.is_none() {
                let added = listed(&self.connection)?.into_iter().find(|(_, listed, ..)| *listed == name);
                if let Some((number, _, collection, columns)) = added
                    && misused(&self.space, &name, &collection, &columns, &self.options)?.is_some()
                {
                    capture::remove(&self.connection, number)?;
                    self.forget_table(number)?;
                    continue;
                }
                // Documents of it may have come before it did.
                self.connection.execute("DELETE FROM driftless_settings WHERE name = 'place'", [])?;
            }
        }
        Ok(renamed)
    }

    fn take_policies(&mut self) -> Result<(), Error> {
        if self.by_options {
            self.reconciler = Arc::new(self.options.columns.clone());
        }
        put_options(&self.connection, &self.options)
    }

    fn forget_table(&self, number: i64) -> Result<(), Error> {
        let collection = "collection = (SELECT collection FROM driftless_tables WHERE number = ?1)";
        for of in ["driftless_waiting", "driftless_refused", "driftless_contested"] {
            self.connection.execute(&format!("DELETE FROM {of} WHERE {collection}"), [number])?;
        }
        for of in
            ["driftless_tables WHERE number", "driftless_known WHERE tbl", "driftless_pending WHERE tbl"]
        {
            self.connection.execute(&format!("DELETE FROM {of} = ?1"), [number])?;
        }
        ledger::forget(&self.connection, &ledger::unsure(number))?;
        ledger::forget(&self.connection, &ledger::surplus(number))
    }

    fn follow_columns(
        &self,
        number: i64,
        collection: &str,
        described: &Described,
        known: &[KnownColumn],
        renamed: &mut Renamed,
    ) -> Result<Vec<KnownColumn>, Error> {
        let is_there = |name: &str| described.columns.iter().any(|column| column.name == name);
        let mut next: Vec<KnownColumn> = known.to_vec();
        let added: Vec<(usize, &DescribedColumn)> = described
            .columns
            .iter()
            .enumerate()
            .filter(|(at, column)| {
                !described.is_key(*at) && !known.iter().any(|known| known.name == column.name)
            })
            .collect();
        if added.is_empty() && known.iter().all(|known| known.name.is_empty() || is_there(&known.name)) {
            return Ok(next);
        }
        let gone: Vec<usize> = (0..known.len())
            .filter(|at| known.get(*at).is_some_and(|known| !known.name.is_empty() && !is_there(&known.name)))
            .collect();
        let mut taken = Vec::new();
        for at in gone {
            let Some(column) = next.get_mut(at) else { continue };
            let same =
                added.iter().find(|(place, new)| !taken.contains(place) && new.declared == column.declared);
            let same = match same {
                // A new column comes last; one in the place of another, before others, is that one.
                Some((place, new))
                    if keeps_its_place(described, known, &column.name, *place)
                        || self.holds_the_same(number, described, column, &new.name)? =>
                {
                    Some((*place, *new))
                }
                _ => None,
            };
            match same {
                Some((place, new)) => {
                    taken.push(place);
                    renamed.1.push((described.name.clone(), column.name.clone(), new.name.clone()));
                    column.name.clone_from(&new.name);
                    renamed.0.push((collection.to_owned(), new.name.clone(), column.field.clone()));
                }
                // Its number is nobody else's ever.
                None => column.name.clear(),
            }
        }
        let mut more = false;
        for (place, column) in added {
            if taken.contains(&place) {
                continue;
            }
            let base = default_digest(&self.connection, column)?;
            // Those of the key have numbers, too, and are not among these.
            let number = next.iter().map(|column| column.number + 1).max().unwrap_or_default();
            // One that was dropped and is there again: what the documents say of it comes back.
            let field = name_there(&column.name);
            if let Some(gone) = next.iter_mut().find(|gone| gone.name.is_empty() && gone.field == field) {
                gone.field.clear();
                ledger::forget(&self.connection, ledger::PLACE)?;
            }
            let column = agreed(&self.space, collection, number, column, described, &next)?;
            next.push(KnownColumn { base, ..column });
            more = true;
        }
        if more {
            self.connection.execute(
                "UPDATE driftless_waiting SET reason = 'refused' WHERE collection = ?1 AND reason = 'column_missing'",
                [collection],
            )?;
        }
        Ok(next)
    }

    // Whether a column under a new name has the values of one that is gone: then it was renamed.
    fn holds_the_same(
        &self,
        number: i64,
        described: &Described,
        column: &KnownColumn,
        name: &str,
    ) -> Result<bool, Error> {
        let keys: Vec<String> = described
            .key
            .iter()
            .filter_map(|at| described.columns.get(*at))
            .map(|column| quoted(&column.name))
            .collect();
        let mut statement = self.connection.prepare(&format!(
            "SELECT {}, {} FROM {} LIMIT 100",
            keys.join(", "),
            quoted(name),
            quoted(&described.name)
        ))?;
        let mut rows = statement.query([])?;
        let (mut same, mut other) = (0, 0);
        while let Some(row) = rows.next()? {
            let key = (0..keys.len()).map(|at| Ok(cell::read(row.get_ref(at)?)));
            let key = key.collect::<Result<Vec<_>, Error>>()?;
            let Ok(id) = crate::key::to_id(&key) else { continue };
            let Some(known) = ledger::known(&self.connection, number, &id.to_cbor())? else { continue };
            match known.cell(column) == digest(&cell::read(row.get_ref(keys.len())?)) {
                true => same += 1,
                false => other += 1,
            }
        }
        Ok(same >= other)
    }
}

// Of what rows have in a column that nobody said; 0 if that is not certain.
fn default_digest(file: &Connection, column: &DescribedColumn) -> Result<u64, Error> {
    let Some(default) = &column.default else { return Ok(digest(&Value::Null)) };
    let value = file.query_row(&format!("SELECT {default}"), [], |row| Ok(cell::read(row.get_ref(0)?)));
    Ok(match value {
        Ok(value) if column.affinity.keeps(&value) => digest(&value),
        _ => 0,
    })
}
