//! Four bytes at the end of each value that tell whether a row is as it was written. SQLite has no such thing: a bit that
//! flips in a file would be read as another value. Covers the table and the key too, so that a row that turns up where
//! it does not belong is noticed. It is no defence against somebody who writes to the file.

use std::path::Path;

use crc32fast::Hasher;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::storage::{Document, Key, StorageError};

const LENGTH: usize = 4;

/// The value as it is stored.
pub(super) fn seal(table: &str, key: Key<'_>, value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(value.len() + LENGTH);
    stored.extend_from_slice(value);
    stored.extend_from_slice(&of_row(table, key, value));
    stored
}

/// The value as it was given, from what is stored. `salvage`: whatever its checksum says; the caller will look for itself.
pub(super) fn open<'v>(
    table: &str,
    key: Key<'_>,
    stored: &'v [u8],
    salvage: bool,
) -> Result<&'v [u8], StorageError> {
    match stored.split_last_chunk::<LENGTH>() {
        Some((value, checksum)) if salvage || *checksum == of_row(table, key, value) => Ok(value),
        _ => Err(StorageError::Damaged(format!("a row of table {table} is not as it was written"))),
    }
}

/// The state of a document as it is stored: its checksum is that of the whole row.
pub(super) fn seal_document(document: &Document<'_>) -> Vec<u8> {
    let mut stored = Vec::new();
    seal_document_into(document, &mut stored);
    stored
}

/// The same, in place of what `stored` held.
pub(super) fn seal_document_into(document: &Document<'_>, stored: &mut Vec<u8>) {
    stored.clear();
    stored.reserve_exact(document.state.len() + LENGTH);
    stored.extend_from_slice(document.state);
    stored.extend_from_slice(&of_document(document));
}

/// The row as it was given, from one whose state is as stored.
pub(super) fn open_document(stored: Document<'_>) -> Result<Document<'_>, StorageError> {
    if let Some((state, checksum)) = stored.state.split_last_chunk::<LENGTH>() {
        let document = Document { state, ..stored };
        if *checksum == of_document(&document) {
            return Ok(document);
        }
    }
    Err(StorageError::Damaged(format!("document {} is not as it was written", stored.number)))
}

fn of_row(table: &str, key: Key<'_>, value: &[u8]) -> [u8; LENGTH] {
    let mut hasher = Hasher::new();
    hasher.update(table.as_bytes());
    match key {
        Key::U64(number) => hasher.update(&number.to_be_bytes()),
        Key::Bytes(bytes) => {
            hasher.update(&(bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        }
    }
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

fn of_document(document: &Document<'_>) -> [u8; LENGTH] {
    let mut hasher = Hasher::new();
    for number in [document.number, document.collection, u64::from(document.deleted)] {
        hasher.update(&number.to_be_bytes());
    }
    for part in [document.id.as_bytes(), document.json.as_bytes(), document.state] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_be_bytes()
}

/// Runs `damage` on the file at `path` as if there were no checksums: for tests of damage that they do not tell.
#[doc(hidden)]
pub fn beneath_checksums(path: &Path, damage: impl FnOnce(&Connection)) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    let mut tables = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%(key %' AND name NOT LIKE 'sqlite%'",
    )?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for (table, column) in tables.iter().map(|table| (&table[..], "value")).chain([("document", "state")]) {
        let strip =
            format!("UPDATE \"{table}\" SET {column} = substr({column}, 1, length({column}) - {LENGTH})");
        connection.execute(&strip, [])?;
    }
    damage(&connection);
    for table in tables {
        let mut rows = connection.prepare(&format!("SELECT key, value FROM \"{table}\""))?;
        let rows: Vec<(Value, Vec<u8>)> =
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        for (key, value) in rows {
            let sealed = match &key {
                Value::Integer(number) => seal(&table, Key::U64(number.cast_unsigned()), &value),
                Value::Blob(bytes) => seal(&table, Key::Bytes(bytes), &value),
                _ => continue,
            };
            connection
                .execute(&format!("UPDATE \"{table}\" SET value = ?1 WHERE key = ?2"), (sealed, key))?;
        }
    }
    let mut rows = connection.prepare("SELECT number, collection, id, deleted, json, state FROM document")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (id, json, state): (String, String, Vec<u8>) = (row.get(2)?, row.get(4)?, row.get(5)?);
        let (number, collection): (i64, i64) = (row.get(0)?, row.get(1)?);
        let document = Document {
            number: number.cast_unsigned(),
            collection: collection.cast_unsigned(),
            id: &id,
            deleted: row.get(3)?,
            json: &json,
            state: &state,
        };
        let sealed = seal_document(&document);
        connection.execute("UPDATE document SET state = ?1 WHERE number = ?2", (sealed, number))?;
    }
    Ok(())
}
