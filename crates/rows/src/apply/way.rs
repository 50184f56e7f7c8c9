//! Who has to make way: rows that refer to one that goes, and rows that hold a unique value which another claims.

use driftless::{Document, DocumentId, Value};

use super::row::IGNORED;
use super::{OTHER, Pass};
use crate::cell;
use crate::error::Error;
use crate::file::{Table, bind};
use crate::ledger::{self, Known};
use crate::schema::{self, Compared, DescribedColumn, quoted};

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
        self.make_way(table, &key, None, false)?;
        self.file.let_triggers_run(self.has_triggers(table))?;
        match self.execute_guarded(table, &of.delete, &key) {
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

    // Takes a row out of the table for as long as its document has to wait. Nothing of this is a change of the document.
    // `false` if something that is not under sync holds it.
    pub(super) fn displace(&mut self, table: usize, id: &DocumentId) -> Result<bool, Error> {
        let Some(of) = self.file.tables.get(table).cloned() else { return Ok(true) };
        let Some(key) = of.key_of(id) else { return Ok(true) };
        let Some(known) = ledger::known(&self.file.connection, of.number, &id.to_cbor())? else {
            return Ok(true);
        };
        if self.file.barred.why(table, id).is_some() {
            return Ok(false);
        }
        // Forgotten first: a row that refers to itself comes by here again.
        ledger::forget_known(&self.file.connection, of.number, &id.to_cbor())?;
        self.make_way(table, &key, None, true)?;
        self.file.let_triggers_run(false)?;
        if let Err(refusal) = self.execute(&of.delete, &key) {
            refusal.reason()?;
            ledger::put_known(&self.file.connection, of.number, &id.to_cbor(), &known)?;
            return Ok(false);
        }
        Ok(true)
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
    // the application's foreign keys make of them.
    pub(super) fn make_way(
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
                        if !self.displace(child, &id)?
                            && let Ok(parent) = crate::key::to_id(key)
                        {
                            let why = "rows that refer to it are held by others that are not under sync";
                            self.file.barred.bar(table, &parent, why);
                            return Err(Error::Invalid(why.into()));
                        }
                        self.queue.push_back(at);
                    }
                }
            }
        }
        Ok(())
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
                .map(|(n, of)| format!("{} = ?{} COLLATE {}", quoted(&of.name), n + 1, quoted(&of.collation)))
                .collect();
            let query = format!(
                "SELECT {} FROM {} WHERE {}",
                of.key_columns().join(", "),
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
                self.displace(table, &id)?;
                self.queue.push_back((table, id));
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

/// Whether a value is free now.
pub(super) enum Room {
    Made,
    /// It is not, and why.
    None(Option<String>),
}
