//! The application's tables, as SQLite describes them: what of them can be under sync, and their constraints.
//!
//! It only reads. What was agreed on for a table when it was attached is in `ledger`.

use rusqlite::{Connection, OptionalExtension};

use crate::cell::Affinity;
use crate::error::Error;

/// Everything of ours in the file begins so.
pub(crate) const OURS: &str = "driftless_";

/// A table as it is in the file now.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub name: String,
    pub columns: Vec<DescribedColumn>,
    /// Places in `columns`, in the order of the key.
    pub key: Vec<usize>,
    pub without_rowid: bool,
    pub foreign: Vec<Foreign>,
    /// Columns of each unique index over plain columns, besides the key.
    pub unique: Vec<Vec<Compared>>,
    /// A REPLACE can take away rows besides that of its key: some unique index, of whatever kind, says so.
    pub replaces: bool,
    /// Numbers of rows are never used again.
    pub autoincrement: bool,
    /// The application has triggers of its own on it.
    pub triggers: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct DescribedColumn {
    pub name: String,
    pub declared: String,
    pub affinity: Affinity,
    pub default: Option<String>,
    pub not_null: bool,
}

/// A column of a unique index, and by what collation its values are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compared {
    pub name: String,
    pub collation: String,
}

/// One foreign key of a table.
#[derive(Debug, Clone)]
pub(crate) struct Foreign {
    pub parent: String,
    pub from: Vec<String>,
    pub to: Vec<String>,
    pub on_delete: Action,
    pub on_update: Action,
}

/// What a foreign key makes of a row when what it refers to goes, or becomes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing: that must not be.
    Holds,
    /// It goes, too.
    Goes,
    /// Its columns get another value.
    Changes,
}

/// A name in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A number that is another one after each change of the schema.
pub(crate) fn version(file: &Connection) -> Result<i64, Error> {
    Ok(file.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))?)
}

/// The tables of the application, by name.
pub(crate) fn tables(file: &Connection) -> Result<Vec<String>, Error> {
    let mut statement = file.prepare(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    Ok(names.into_iter().filter(|name| !name.starts_with(OURS)).collect())
}

/// A table; `None` if there is none of that name.
pub(crate) fn describe(file: &Connection, name: &str) -> Result<Option<Described>, Error> {
    let found = file
        .query_row(
            "SELECT name, wr, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name = ?1",
            [name],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?, row.get::<_, bool>(2)?)),
        )
        .optional()?;
    let Some((name, without_rowid, strict)) = found else { return Ok(None) };
    let (mut columns, mut key) = (Vec::new(), Vec::new());
    let mut statement = file.prepare(
        "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid",
    )?;
    let mut rows = statement.query([&name])?;
    while let Some(row) = rows.next()? {
        // Generated columns follow from the others.
        if row.get::<_, i64>(5)? != 0 {
            continue;
        }
        let declared: String = row.get(1)?;
        let place: i64 = row.get(4)?;
        if place > 0 {
            key.push((place, columns.len()));
        }
        columns.push(DescribedColumn {
            name: row.get(0)?,
            affinity: Affinity::of(&declared, strict),
            declared,
            not_null: row.get(2)?,
            default: row.get(3)?,
        });
    }
    key.sort_unstable();
    let key = key.into_iter().map(|(_, column)| column).collect();
    let trigger = format!(
        "SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE \
         AND name NOT LIKE '{}%')",
        OURS.replace('_', "\\_")
    );
    let trigger = trigger.replace("%')", "%' ESCAPE '\\')");
    let triggers = file.query_row(&trigger, [&name], |row| row.get(0))?;
    let made: Option<String> =
        file.query_row("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1", [&name], |row| {
            row.get(0)
        })?;
    let autoincrement = made.is_some_and(|made| made.to_ascii_uppercase().contains("AUTOINCREMENT"));
    let foreign = foreign(file, &name)?;
    let unique = unique(file, &name)?;
    let indexes = "SELECT EXISTS(SELECT 1 FROM pragma_index_list(?1) WHERE \"unique\" AND origin <> 'pk')";
    let replaces = file.query_row(indexes, [&name], |row| row.get(0))?;
    Ok(Some(Described {
        name,
        columns,
        key,
        without_rowid,
        foreign,
        unique,
        replaces,
        autoincrement,
        triggers,
    }))
}

fn foreign(file: &Connection, table: &str) -> Result<Vec<Foreign>, Error> {
    let mut statement = file.prepare(
        "SELECT id, \"table\", \"from\", \"to\", on_update, on_delete FROM pragma_foreign_key_list(?1) ORDER BY id, seq",
    )?;
    let mut rows = statement.query([table])?;
    let mut found: Vec<(i64, Foreign)> = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let action = |at: usize, cascade: Action| {
            Ok::<_, Error>(match row.get::<_, String>(at)?.as_str() {
                "NO ACTION" | "RESTRICT" => Action::Holds,
                "CASCADE" => cascade,
                _ => Action::Changes,
            })
        };
        if found.last().is_none_or(|(last, _)| *last != id) {
            let parent = row.get(1)?;
            let (on_update, on_delete) = (action(4, Action::Changes)?, action(5, Action::Goes)?);
            let of = Foreign { parent, from: Vec::new(), to: Vec::new(), on_delete, on_update };
            found.push((id, of));
        }
        if let Some((_, foreign)) = found.last_mut() {
            foreign.from.push(row.get(2)?);
            foreign.to.extend(row.get::<_, Option<String>>(3)?);
        }
    }
    let mut all = Vec::new();
    for (_, mut foreign) in found {
        if foreign.to.is_empty() {
            // The parent's primary key is meant.
            let mut key = file.prepare("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")?;
            let key = key.query_map([&foreign.parent], |row| row.get(0))?;
            foreign.to = key.collect::<Result<_, _>>()?;
        }
        let mut parent = file.prepare("SELECT name FROM pragma_table_xinfo(?1)")?;
        let parent = parent.query_map([&foreign.parent], |row| row.get(0))?;
        let parent: Vec<String> = parent.collect::<Result<_, _>>()?;
        let is_column = |to: &String| parent.iter().any(|column| column.eq_ignore_ascii_case(to));
        // One that names no columns of its parent holds nothing, where SQLite lets it be at all.
        let is_there = parent.is_empty() || foreign.to.iter().all(is_column);
        if foreign.to.len() == foreign.from.len() && is_there {
            all.push(foreign);
        }
    }
    Ok(all)
}

fn unique(file: &Connection, table: &str) -> Result<Vec<Vec<Compared>>, Error> {
    let mut statement = file.prepare(
        "SELECT name FROM pragma_index_list(?1) WHERE \"unique\" AND origin <> 'pk' AND NOT partial ORDER BY seq",
    )?;
    let names: Vec<String> = statement.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    for name in names {
        let mut statement =
            file.prepare("SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
        let columns = statement.query_map([&name], |row| {
            let (name, collation): (Option<String>, String) = (row.get(0)?, row.get(1)?);
            Ok(name.map(|name| Compared { name, collation }))
        })?;
        let columns: Vec<Option<Compared>> = columns.collect::<Result<_, _>>()?;
        // An expression has no name.
        if let Some(columns) = columns.into_iter().collect::<Option<Vec<Compared>>>() {
            all.push(columns);
        }
    }
    Ok(all)
}

impl Described {
    /// Why this table cannot be under sync, and what to do; `None` if it can.
    pub(crate) fn refusal(&self, file: &Connection) -> Result<Option<String>, Error> {
        if self.key.is_empty() {
            return Ok(Some(
                "it has no primary key, so nothing says which of its rows is which; give it one, for example \
                 `id TEXT PRIMARY KEY`, which is filled in where the application leaves it out"
                    .into(),
            ));
        }
        if self.key.len() > MAX_KEY_COLUMNS {
            return Ok(Some(format!("its primary key has more than {MAX_KEY_COLUMNS} columns")));
        }
        if self.columns.len() > MAX_COLUMNS {
            return Ok(Some(format!("it has more than {MAX_COLUMNS} columns")));
        }
        let collations = file.prepare(
            "SELECT x.name, x.coll FROM pragma_index_list(?1) i, pragma_index_xinfo(i.name) x \
             WHERE i.origin = 'pk' AND x.key AND x.coll <> 'BINARY'",
        );
        let collation = collations?
            .query_row([&self.name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            .optional()?;
        Ok(collation.map(|(column, collation)| {
            format!(
                "its key column {column} is compared by {collation}, so two keys could be one row; use a key that is \
                 compared by its bytes"
            )
        }))
    }

    pub(crate) fn is_key(&self, column: usize) -> bool {
        self.key.contains(&column)
    }

    /// The key is the rowid itself.
    pub(crate) fn has_rowid_key(&self) -> bool {
        !self.without_rowid
            && self.key.len() == 1
            && self
                .key
                .iter()
                .filter_map(|column| self.columns.get(*column))
                .all(|column| column.declared.eq_ignore_ascii_case("integer"))
    }
}

/// Columns of a primary key: each is a column of ours that every pending row has.
pub(crate) const MAX_KEY_COLUMNS: usize = 8;
/// Columns of a table: what one document weighs with nothing in it.
pub(crate) const MAX_COLUMNS: usize = 1000;
