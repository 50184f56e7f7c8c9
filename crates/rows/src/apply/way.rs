//! Who has to make way: rows that refer to one that goes, and rows that hold a unique value which another claims.

use std::collections::HashSet;

use driftless::{Document, DocumentId, Value};

use super::row::IGNORED;
use super::{OTHER, Pass};
use crate::cell;
use crate::error::Error;
use crate::file::{Table, bind};
use crate::ledger::{self, Known};
use crate::schema::{self, Action, Compared, DescribedColumn, quoted};

impl Pass<'_> {
    pub(super) fn remove(&mut self, table: usize, id: &DocumentId) -> Result<(), Error> {
        let Some(of) = self.file.tables.get(table).cloned() else { return Ok(()) };
        if self.waits {
            ledger::forget_waiting(&self.file.connection, &of.collection, &id.to_cbor())?;
        }
        let Some(key) = of.key_of(id) else { return Ok(()) };
        if ledger::known(&self.file.connection, of.number, &id.to_cbor())?.is_none() {
            return Ok(());
        }
        self.leaving.insert((table, id.clone()));
        let way = self.make_way(table, &key, None);
        self.leaving.remove(&(table, id.clone()));
        way?;
        self.file.let_triggers_run(self.has_triggers(table))?;
        match self.execute_guarded(self.has_triggers(table) || self.refers, &of.delete, &key) {
            Ok(0) if self.file.row(&of, &key)?.is_some() => self.wait(table, id, OTHER, IGNORED, false),
            Ok(changed) => {
                ledger::forget_known(&self.file.connection, of.number, &id.to_cbor())?;
                self.applied.deleted += changed as u64;
                Ok(())
            }
            Err(refusal) if self.file.connection.is_autocommit() => {
                self.file.barred.bar(table, id, &refusal.text());
                Err(refusal.0.into())
            }
            // Whatever holds it: it has to go, and cannot.
            Err(refusal) => {
                let (_, why) = refusal.reason()?;
                self.wait(table, id, OTHER, &why, false)
            }
        }
    }

    // Takes a row out of the table for as long as its document has to wait, and before it those that refer to it. Nothing
    // of this is a change of the document. `false` if something that is not under sync holds it.
    pub(super) fn displace(&mut self, table: usize, id: &DocumentId) -> Result<bool, Error> {
        let mut steps = vec![Step::Enter((table, id.clone()), None)];
        while let Some(step) = steps.pop() {
            let stays = match step {
                Step::Enter(at, parent) => match self.begin_to_displace(&at)? {
                    Begun::Gone => None,
                    Begun::Stays => Some(parent),
                    Begun::Goes(key, known) => {
                        let children = self.referring(at.0, &key, None)?;
                        steps.push(Step::Leave(at.clone(), key, known, parent));
                        for child in children {
                            self.queue.push_back(child.at.clone());
                            steps.push(Step::Enter(child.at, Some(at.clone())));
                        }
                        None
                    }
                },
                Step::Leave(at, key, known, parent) => {
                    (!self.end_to_displace(&at, &key, &known)?).then_some(parent)
                }
            };
            match stays {
                None => {}
                Some(None) => return Ok(false),
                // What refers to it cannot go, so it has to stay as well.
                Some(Some((table, id))) => return Err(self.hold(table, &id, HELD)),
            }
        }
        Ok(true)
    }

    fn hold(&mut self, table: usize, id: &DocumentId, why: &str) -> Error {
        self.file.barred.bar(table, id, why);
        Error::Invalid(why.into())
    }

    fn begin_to_displace(&mut self, (table, id): &At) -> Result<Begun, Error> {
        let Some(of) = self.file.tables.get(*table) else { return Ok(Begun::Gone) };
        let Some(key) = of.key_of(id) else { return Ok(Begun::Gone) };
        let Some(known) = ledger::known(&self.file.connection, of.number, &id.to_cbor())? else {
            return Ok(Begun::Gone);
        };
        if self.file.barred.why(*table, id).is_some() {
            return Ok(Begun::Stays);
        }
        // What was read of others may be of this one.
        self.met = None;
        // Forgotten first: a row that refers to itself comes by here again.
        ledger::forget_known(&self.file.connection, of.number, &id.to_cbor())?;
        Ok(Begun::Goes(key, known))
    }

    fn end_to_displace(&mut self, (table, id): &At, key: &[Value], known: &Known) -> Result<bool, Error> {
        let Some(of) = self.file.tables.get(*table).cloned() else { return Ok(true) };
        // The application hears that the row goes, as it will hear that it comes; but it cannot keep it.
        let heard = self.has_triggers(*table);
        self.file.let_triggers_run(heard)?;
        match self.execute_guarded(heard, &of.delete, key) {
            Ok(gone) if gone > 0 => return Ok(true),
            Err(refusal) if self.file.connection.is_autocommit() => {
                self.file.barred.bar(*table, id, &refusal.text());
                return Err(refusal.0.into());
            }
            _ => {}
        }
        self.file.let_triggers_run(false)?;
        let Err(refusal) = self.execute(&of.delete, key) else { return Ok(true) };
        refusal.reason()?;
        ledger::put_known(&self.file.connection, of.number, &id.to_cbor(), known)?;
        Ok(false)
    }

    // Rows of tables that are not under sync, and refer to one that would be gone: it has to stay.
    pub(super) fn bar_what_others_hold(&mut self) -> Result<(), Error> {
        let under_sync =
            |name: &str| self.file.tables.iter().position(|table| table.name().eq_ignore_ascii_case(name));
        let mut held = Vec::new();
        for name in schema::tables(&self.file.connection)? {
            if under_sync(&name).is_some() {
                continue;
            }
            let foreign = schema::describe(&self.file.connection, &name)?.map(|table| table.foreign);
            for foreign in foreign.unwrap_or_default() {
                let Some(parent) = under_sync(&foreign.parent) else { continue };
                held.push((name.clone(), foreign, parent));
            }
        }
        for (name, foreign, parent) in held {
            let Some(of) = self.file.tables.get(parent).cloned() else { continue };
            let pairs = foreign.from.iter().zip(&foreign.to);
            let matches = pairs.map(|(from, to)| format!("p.{} = c.{}", quoted(to), quoted(from)));
            let from: Vec<String> = foreign.from.iter().map(|from| format!("c.{}", quoted(from))).collect();
            let query = format!(
                "SELECT DISTINCT {} FROM {} c WHERE {} IS NOT NULL AND NOT EXISTS(SELECT 1 FROM {} p WHERE {})",
                from.join(", "),
                quoted(&name),
                from.join(" IS NOT NULL AND "),
                quoted(of.name()),
                matches.collect::<Vec<_>>().join(" AND ")
            );
            let is_key = foreign.to.len() == of.described.key.len()
                && of.described.key.iter().zip(&foreign.to).all(|(at, to)| {
                    of.column(*at).is_some_and(|column| column.name.eq_ignore_ascii_case(to))
                });
            let why = format!("rows of {name}, which is not under sync, refer to it");
            for key in self.keys(&query, &[], foreign.from.len())? {
                match crate::key::to_id(&key) {
                    Ok(id) if is_key => self.file.barred.bar(parent, &id, &why),
                    _ => self.file.barred.bar_table(parent, &why),
                }
            }
        }
        match self.file.barred.again {
            true => Err(Error::Invalid("rows that are not under sync hold others".into())),
            false => Ok(()),
        }
    }

    // Before a row goes, or columns of it that others refer to change: rows that refer to it are displaced, or are what
    // the application's foreign keys make of them. Asked is what their documents say: a row that has only not been
    // written yet as it is to be does not go with a row that its document has left.
    pub(super) fn make_way(
        &mut self,
        table: usize,
        key: &[Value],
        columns: Option<&[String]>,
    ) -> Result<(), Error> {
        let (mut seen, mut gone) = (HashSet::new(), Vec::new());
        let mut parents = vec![(table, key.to_vec(), columns.map(<[String]>::to_vec))];
        while let Some((table, key, columns)) = parents.pop() {
            for child in self.referring(table, &key, columns.as_deref())? {
                let Child { at, key: row, .. } = &child;
                if self.leaving.contains(at) {
                    continue;
                }
                let document = self.document(at.0, &at.1)?;
                let is_kept = document.as_ref().is_some_and(|document| !document.deleted);
                let refers = match &document {
                    Some(document) if is_kept => self.still_refers(table, &key, &child, document)?,
                    _ => false,
                };
                // A row with another key is another row, of which nobody would hear.
                let rekeys = child.action == Action::Changes && self.is_of_key(at.0, &child.from);
                let is_busy = !self.busy.is_empty() && self.busy.contains(&(at.0, at.1.to_cbor()));
                match child.action {
                    Action::Goes | Action::Changes if refers && !rekeys => {
                        let changed = (child.action == Action::Changes).then(|| child.from.clone());
                        // Its own children go with it, or with what it was, if that is what they do.
                        self.cascaded.insert(at.clone());
                        if seen.insert((at.clone(), changed.clone())) {
                            parents.push((at.0, row.clone(), changed));
                        }
                    }
                    // It is written as its document says before anything else becomes of its parent.
                    _ if is_busy => {
                        let Ok(parent) = crate::key::to_id(&key) else { continue };
                        return Err(self.hold(table, &parent, "a row that refers to it was changed here"));
                    }
                    // Whatever becomes of it goes with it.
                    _ if !is_kept && columns.is_none() => {
                        self.leaving.insert(at.clone());
                        gone.push(at.clone());
                        parents.push((at.0, row.clone(), None));
                    }
                    // It stays, and gets what its document says.
                    Action::Changes if !rekeys => {
                        self.doubt(at, &child.from)?;
                        self.queue.push_back(at.clone());
                    }
                    _ if self.displace(at.0, &at.1)? => self.queue.push_back(at.clone()),
                    _ => {
                        if let Ok(parent) = crate::key::to_id(&key) {
                            return Err(self.hold(table, &parent, HELD));
                        }
                    }
                }
            }
        }
        // Those that others of them refer to come last.
        for (table, id) in gone.into_iter().rev() {
            self.remove(table, &id)?;
        }
        Ok(())
    }

    // Whether what a document says refers to a row, as the row of the document does.
    fn still_refers(
        &self,
        table: usize,
        key: &[Value],
        child: &Child,
        document: &Document,
    ) -> Result<bool, Error> {
        let (Some(parent), Some(of)) = (self.file.tables.get(table), self.file.tables.get(child.at.0)) else {
            return Ok(false);
        };
        let (mut matches, mut values) = (vec![parent.matches_key(1)], key.to_vec());
        for (from, to) in child.from.iter().zip(&child.to) {
            // Of what it does not speak the row stays what it is.
            let Some(value) = self.value(of, &child.key, document, from) else { continue };
            if value == Value::Null {
                return Ok(false);
            }
            values.push(value);
            matches.push(format!("{} = ?{}", parent.qualified(to), values.len()));
        }
        let query = format!("SELECT 1 FROM {} WHERE {}", quoted(parent.name()), matches.join(" AND "));
        Ok(!self.keys(&query, &values, 0)?.is_empty())
    }

    // Whether one of these columns is of the key of a table.
    fn is_of_key(&self, table: usize, columns: &[String]) -> bool {
        let is_among = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        let Some(of) = self.file.tables.get(table) else { return false };
        of.described.key.iter().filter_map(|at| of.column(*at)).any(|column| is_among(&column.name))
    }

    // Columns of a row are about to be something that nobody has said.
    fn doubt(&mut self, (table, id): &At, columns: &[String]) -> Result<(), Error> {
        let Some(of) = self.file.tables.get(*table).cloned() else { return Ok(()) };
        let Some(mut known) = ledger::known(&self.file.connection, of.number, &id.to_cbor())? else {
            return Ok(());
        };
        self.met = None;
        for column in columns.iter().filter_map(|column| of.known_column(column)) {
            known.set(column.number, u64::MAX);
        }
        ledger::put_known(&self.file.connection, of.number, &id.to_cbor(), &known)
    }

    // The rows under sync that refer to a row, or to columns of it; not itself, but where its own columns follow others.
    fn referring(
        &self,
        table: usize,
        key: &[Value],
        columns: Option<&[String]>,
    ) -> Result<Vec<Child>, Error> {
        let mut children = Vec::new();
        let Some(parent) = self.file.tables.get(table) else { return Ok(children) };
        for (child, of) in self.file.tables.iter().enumerate() {
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
                let action = if columns.is_some() { foreign.on_update } else { foreign.on_delete };
                let itself = columns.is_some() && action != Action::Holds;
                for row in self.keys(&query, key, of.described.key.len())? {
                    let Ok(id) = crate::key::to_id(&row) else { continue };
                    if itself || !(child == table && row == key) {
                        let (from, to) = (foreign.from.clone(), foreign.to.clone());
                        children.push(Child { at: (child, id), key: row, action, from, to });
                    }
                }
            }
        }
        Ok(children)
    }

    pub(super) fn keys(
        &self,
        query: &str,
        bound: &[Value],
        columns: usize,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let mut statement = self.file.connection.prepare_cached(query)?;
        bind(&mut statement, bound)?;
        let mut rows = statement.raw_query();
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            keys.push((0..columns).map(|at| Ok(cell::read(row.get_ref(at)?))).collect::<Result<_, Error>>()?);
        }
        Ok(keys)
    }

    // Rows that hold a unique value which a document claims make way if they were created later, or are about to be
    // something else.
    pub(super) fn make_room(
        &mut self,
        table: usize,
        of: &Table,
        key: &[Value],
        document: &Document,
    ) -> Result<Room, Error> {
        let mut made = false;
        let own_key = of.described.key.iter().filter_map(|at| of.column(*at));
        let mut indexes = of.described.unique.clone();
        let compared =
            |column: &DescribedColumn| Compared { name: column.name.clone(), collation: "BINARY".into() };
        indexes.push(own_key.map(compared).collect());
        for columns in &indexes {
            let claimed: Option<Vec<Value>> =
                columns.iter().map(|column| self.value(of, key, document, &column.name)).collect();
            let Some(claimed) = claimed.filter(|claimed| !claimed.contains(&Value::Null)) else { continue };
            let matches: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(n, column)| {
                    let name = of.qualified(&column.name);
                    format!("{name} = ?{} COLLATE {}", n + 1, quoted(&column.collation))
                })
                .collect();
            let query = format!(
                "SELECT {} FROM {} WHERE {}",
                of.qualified_key().join(", "),
                quoted(of.name()),
                matches.join(" AND ")
            );
            for other in self.keys(&query, &claimed, of.described.key.len())? {
                let known = match crate::key::to_id(&other) {
                    Ok(id) => ledger::known(&self.file.connection, of.number, &id.to_cbor())?
                        .map(|known| (id, known)),
                    Err(_) => None,
                };
                let Some((id, known)) = known else {
                    return Ok(Room::None(Some("a row that is not under sync holds its value".into())));
                };
                if other == key {
                    continue;
                }
                let holder = self.document(table, &id)?;
                let still = holder.as_ref().is_some_and(|holder| {
                    // As its row is: what is the same to an index need not be the same value.
                    columns.iter().zip(&claimed).all(|(column, value)| {
                        self.value(of, &other, holder, &column.name)
                            .is_some_and(|own| own == *value || self.is_shown(of, &column.name, &own, &known))
                    })
                });
                let older = holder
                    .as_ref()
                    .is_some_and(|holder| (holder.created, &holder.id) < (document.created, &document.id));
                if still && older {
                    let shown = crate::flush::shown(&other);
                    return Ok(Room::None(Some(format!(
                        "row {shown}, which was created before, has the same {}",
                        columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
                    ))));
                }
                if holder.is_none() {
                    self.remove(table, &id)?;
                } else {
                    self.displace(table, &id)?;
                    self.queue.push_back((table, id));
                }
                made = true;
            }
        }
        Ok(if made { Room::Made } else { Room::None(None) })
    }
}

impl Pass<'_> {
    // Whether a row has what its document says in a column, as far as is known.
    fn is_shown(&self, of: &Table, name: &str, value: &Value, known: &Known) -> bool {
        let found = of.columns.iter().find(|(column, _)| column.name.eq_ignore_ascii_case(name));
        // A key is what it is.
        found.is_none_or(|(column, place)| {
            known.cell(column) == cell::digest(value) || !of.affinity(*place).keeps(value)
        })
    }
}

type At = (usize, DocumentId);

// A row that refers to another.
struct Child {
    at: At,
    key: Vec<Value>,
    /// What the foreign key makes of it.
    action: Action,
    from: Vec<String>,
    to: Vec<String>,
}

const HELD: &str = "rows that refer to it are held by others that are not under sync";

// A row is displaced after those that refer to it: chains of them may be long, so this is no recursion. Each with the row
// for whose sake it goes.
enum Step {
    Enter(At, Option<At>),
    Leave(At, Vec<Value>, Known, Option<At>),
}

enum Begun {
    Gone,
    Stays,
    Goes(Vec<Value>, Known),
}

/// Whether a value is free now.
pub(super) enum Room {
    Made,
    /// It is not, and why.
    None(Option<String>),
}
