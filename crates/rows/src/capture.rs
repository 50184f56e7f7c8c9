//! Triggers in the application's file that note which rows changed, in the application's own transaction: whoever writes,
//! with whatever program. A transaction that is rolled back leaves no note.
//!
//! A note is the table, the key and the time, never a value: values are read when the notes are taken, and compared with
//! what is known. So a trigger names no column but those of the key, and columns can come and go.

use rusqlite::Connection;

use crate::cell::Affinity;
use crate::error::Error;
use crate::ledger::{DELETED, INSERTED, UPDATED};
use crate::options::{Capture, Options};
use crate::schema::{Described, quoted};

// Unix milliseconds; the same within one statement. `unixepoch('subsec')` is younger than many a `sqlite3`.
const NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER)";

/// The setting that is there while documents are applied: their keys are not ours to choose.
pub(crate) const APPLYING: &str = "applying";
/// How a device numbers new rows of tables with integer keys, so that no other gives the same number.
const PART: u32 = 40;
/// Parts that devices can have.
pub(crate) const PARTS: i64 = 1 << 22;

/// The names of our triggers on a table.
pub(crate) fn names(number: i64) -> [String; 6] {
    ["insert", "update", "key", "delete", "fill", "part"].map(|kind| format!("driftless_{number}_{kind}"))
}

/// Makes the triggers of a table, as the options say.
pub(crate) fn install(
    file: &Connection,
    number: i64,
    table: &Described,
    options: &Options,
) -> Result<(), Error> {
    remove(file, number)?;
    let [insert, update, key, delete, fill, take] = names(number).map(|name| quoted(&name));
    let on = quoted(&table.name);
    let columns: Vec<String> = table
        .key
        .iter()
        .filter_map(|column| table.columns.get(*column))
        .map(|column| quoted(&column.name))
        .collect();
    let places: Vec<String> = (1..=columns.len()).map(|n| format!("k{n}")).collect();
    let note = |op: i64, row: &str| {
        let cells: Vec<String> = columns.iter().map(|column| format!("{row}.{column}")).collect();
        format!(
            "INSERT INTO driftless_pending(tbl, op, at, {}) VALUES({number}, {op}, {NOW}, {});",
            places.join(", "),
            cells.join(", ")
        )
    };
    let moved: Vec<String> =
        columns.iter().map(|column| format!("NEW.{column} IS NOT OLD.{column}")).collect();
    // Where the application notes its changes by itself, these are for what its triggers do while documents are applied.
    let applying = format!("EXISTS(SELECT 1 FROM driftless_settings WHERE name = '{APPLYING}')");
    let (when, and) = match options.capture {
        Capture::Triggers => (String::new(), String::new()),
        Capture::InProcess => (format!(" WHEN {applying}"), format!(" AND {applying}")),
    };
    file.execute_batch(&format!(
        "CREATE TRIGGER {insert} AFTER INSERT ON {on}{when} BEGIN {} END;
         CREATE TRIGGER {update} AFTER UPDATE ON {on}{when} BEGIN {} END;
         CREATE TRIGGER {key} AFTER UPDATE ON {on} WHEN ({}){and} BEGIN {} END;
         CREATE TRIGGER {delete} AFTER DELETE ON {on} BEGIN {} END;",
        note(INSERTED, "NEW"),
        note(UPDATED, "NEW"),
        moved.join(" OR "),
        note(DELETED, "OLD"),
        note(DELETED, "OLD"),
    ))?;
    let [Some(column)] = table.key.iter().map(|at| table.columns.get(*at)).collect::<Vec<_>>()[..] else {
        return Ok(());
    };
    let name = quoted(&column.name);
    let filled = match column.affinity {
        _ if column.not_null || table.without_rowid => None,
        Affinity::Text => Some(uuid_text()),
        Affinity::Blob => Some(uuid_blob()),
        _ => None,
    };
    // The application may call a column so.
    let is_column = |name: &str| table.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    let row = ["rowid", "oid", "_rowid_"].into_iter().find(|name| !is_column(name));
    if let (Some(filled), Some(row)) = (filled, row) {
        file.execute_batch(&format!(
            "CREATE TRIGGER {fill} AFTER INSERT ON {on} WHEN NEW.{name} IS NULL BEGIN
               UPDATE {on} SET {name} = {filled} WHERE {row} = NEW.{row} AND {name} IS NULL; END;"
        ))?;
    }
    let part = options.part.map(|part| i64::from(part) % PARTS);
    if let Some(part) = part.filter(|_| table.has_rowid_key()) {
        let (first, last) = (part << PART, ((part + 1) << PART) - 1);
        // SQLite numbers a row one above the highest, or above the highest that there ever was; of several rows of one
        // statement it writes that down after the last.
        let numbered = match table.autoincrement {
            true => format!(
                "NEW.{name} - coalesce((SELECT seq FROM sqlite_sequence WHERE name = {}), 0) BETWEEN 1 AND 1048576",
                text(&table.name)
            ),
            false => format!(
                "NEW.{name} = 1 + coalesce((SELECT max({name}) FROM {on} WHERE {name} < NEW.{name}), 0)
                   AND NOT EXISTS(SELECT 1 FROM {on} WHERE {name} > NEW.{name})"
            ),
        };
        file.execute_batch(&format!(
            "CREATE TRIGGER {take} AFTER INSERT ON {on} WHEN NEW.{name} NOT BETWEEN {first} AND {last} AND {numbered}
               AND NOT {applying} BEGIN
               UPDATE {on} SET {name} = coalesce((SELECT max({name}) FROM {on} WHERE {name} BETWEEN {first} AND {last}), {first}) + 1
               WHERE {name} = NEW.{name}; END;"
        ))?;
    }
    Ok(())
}

/// Takes the triggers of a table away.
pub(crate) fn remove(file: &Connection, number: i64) -> Result<(), Error> {
    for name in names(number) {
        file.execute_batch(&format!("DROP TRIGGER IF EXISTS {}", quoted(&name)))?;
    }
    Ok(())
}

/// The table on which the triggers of a number are now, if they are all there.
pub(crate) fn installed_on(file: &Connection, number: i64) -> Result<Option<String>, Error> {
    let [insert, update, key, delete, ..] = names(number);
    let mut statement =
        file.prepare_cached("SELECT max(tbl_name), count(*) FROM sqlite_schema WHERE type = 'trigger' AND name IN (?1, ?2, ?3, ?4)")?;
    let (table, count): (Option<String>, i64) =
        statement.query_row([insert, update, key, delete], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(table.filter(|_| count == 4))
}

/// Whether not one of the triggers of a number is there: they went with their table.
pub(crate) fn is_without(file: &Connection, number: i64) -> Result<bool, Error> {
    let [insert, update, key, delete, ..] = names(number);
    let mut statement = file.prepare_cached(
        "SELECT NOT EXISTS(SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name IN (?1, ?2, ?3, ?4))",
    )?;
    Ok(statement.query_row([insert, update, key, delete], |row| row.get(0))?)
}

fn text(name: &str) -> String {
    format!("'{}'", name.replace('\'', "''"))
}

// A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random ones.
fn uuid_text() -> String {
    format!(
        "(SELECT substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-7' || substr(r, 1, 3) || '-' || \
         substr('89ab', 1 + (random() & 3), 1) || substr(r, 4, 3) || '-' || substr(r, 7, 12) \
         FROM (SELECT printf('%012x', {NOW}) AS h, lower(hex(randomblob(9))) AS r))"
    )
}

fn uuid_blob() -> String {
    // Bytes by their number: there is no function that makes bytes out of one everywhere.
    let all: String = (0..=255).map(|byte| format!("{byte:02x}")).collect();
    let byte = |expression: &str| format!("substr(X'{all}', 1 + ({expression}), 1)");
    let time: Vec<String> = (0..6).rev().map(|at| byte(&format!("(t >> {}) & 255", at * 8))).collect();
    format!(
        "(SELECT CAST({} || {} || substr(r, 1, 1) || {} || substr(r, 2, 7) AS BLOB) \
         FROM (SELECT {NOW} AS t, randomblob(9) AS r))",
        time.join(" || "),
        byte("112 + (random() & 15)"),
        byte("128 + (random() & 63)"),
    )
}
