//! A table in memory that is declared as one of the file is, and empty: it says whether a row can be in such a table whatever
//! else is there. It knows nothing of indexes, triggers and other tables.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, ffi};

use driftless::Value;

use crate::cell::{self, Bound};
use crate::error::Error;
use crate::schema::quoted;

/// One such table.
pub(crate) struct Mirror {
    connection: Connection,
    name: String,
}

impl Mirror {
    /// Like a table of a file; `None` if it needs what only the application has, such as a function.
    pub(crate) fn of(file: &Connection, name: &str) -> Result<Option<Self>, Error> {
        let query = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        let declared: Option<String> = file.query_row(query, [name], |row| row.get(0)).optional()?;
        // The text stands in somebody else's file: nothing but this is done for it.
        let declared = declared.filter(|sql| {
            let start = sql.get(..12).unwrap_or_default();
            start.eq_ignore_ascii_case("CREATE TABLE")
        });
        let Some(declared) = declared else { return Ok(None) };
        let connection = Connection::open_in_memory()?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.pragma_update(None, "foreign_keys", false)?;
        let made = connection.execute(&declared, []);
        Ok(made.is_ok().then(|| Self { connection, name: name.to_owned() }))
    }

    /// Why the table says no to a row, each cell with the name of its column; `None` if it does not.
    pub(crate) fn refusal(&self, cells: &[(&str, Value)]) -> Result<Option<rusqlite::Error>, Error> {
        let names: Vec<String> = cells.iter().map(|(name, _)| quoted(name)).collect();
        let values: Vec<String> = cells
            .iter()
            .enumerate()
            .map(|(n, (_, value))| match cell::is_odd_text(value) {
                true => format!("CAST(?{} AS TEXT)", n + 1),
                false => format!("?{}", n + 1),
            })
            .collect();
        let (on, names, values) = (quoted(&self.name), names.join(", "), values.join(", "));
        let sql = format!("INSERT OR ABORT INTO {on}({names}) VALUES({values})");
        let mut statement = self.connection.prepare_cached(&sql)?;
        for (n, (_, value)) in cells.iter().enumerate() {
            match cell::bound(value) {
                Bound::As(value) => statement.raw_bind_parameter(n + 1, value)?,
                Bound::Text(bytes) => statement.raw_bind_parameter(n + 1, bytes)?,
            }
        }
        let done = statement.raw_execute();
        drop(statement);
        self.connection.prepare_cached(&format!("DELETE FROM {on}"))?.execute([])?;
        Ok(done.err().filter(is_by_row))
    }
}

// Whether a row breaks what its table alone says: not where a function is missing, or there is no memory.
fn is_by_row(error: &rusqlite::Error) -> bool {
    let codes =
        [ffi::SQLITE_CONSTRAINT_CHECK, ffi::SQLITE_CONSTRAINT_NOTNULL, ffi::SQLITE_CONSTRAINT_DATATYPE];
    error.sqlite_error().is_some_and(|error| codes.contains(&error.extended_code))
}
