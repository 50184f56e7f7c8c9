//! Who has to make way: rows that refer to one that goes, and rows that hold a unique value which another claims.

use std::collections::HashSet;

use driftless::{Document, DocumentId, Value};

use super::Pass;
use crate::cell;
use crate::error::Error;
use crate::file::{Table, bind};
use crate::ledger;
use crate::schema::quoted;

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
    pub(super) fn displace(&mut self, table: usize, id: &DocumentId) -> Result<(), Error> {
        let Some(of) = self.file.tables.get(table).cloned() else { return Ok(()) };
        let Some(key) = of.key_of(id) else { return Ok(()) };
        if ledger::known(&self.file.connection, of.number, &id.to_cbor())?.is_none() {
            return Ok(());
        }
        // What was read of others may be of this one.
        self.met = None;
        // Forgotten first: a row that refers to itself comes by here again.
        ledger::forget_known(&self.file.connection, of.number, &id.to_cbor())?;
        self.make_way(table, &key, None, true)?;
        self.file.let_triggers_run(false)?;
        self.execute(&of.delete, &key).map(drop).or_else(|refusal| refusal.into_error(()))
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
                        self.displace(child, &id)?;
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

    // Why a row cannot be there: what it refers to is neither in its table nor among those that come with it.
    pub(super) fn missing_parent(
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
}

/// Whether a value is free now.
pub(super) enum Room {
    Made,
    /// It is not, and why.
    None(Option<String>),
}
