//! Four bytes at the end of each value that tell whether a row is as it was written. SQLite has no such thing: a bit that
//! flips in a file would be read as another value. Covers the table and the key too, so that a row that turns up where
//! it does not belong is noticed. It is no defence against somebody who writes to the file.

use crc32fast::Hasher;

use crate::storage::{Document, Key, StorageError, Table};

const LENGTH: usize = 4;

/// The value as it is stored.
pub(super) fn seal(table: &Table, key: Key<'_>, value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(value.len() + LENGTH);
    stored.extend_from_slice(value);
    stored.extend_from_slice(&of_row(table, key, value));
    stored
}

/// The value as it was given, from what is stored.
pub(super) fn open<'v>(table: &Table, key: Key<'_>, stored: &'v [u8]) -> Result<&'v [u8], StorageError> {
    match stored.split_last_chunk::<LENGTH>() {
        Some((value, checksum)) if *checksum == of_row(table, key, value) => Ok(value),
        _ => Err(StorageError::Damaged(format!("a row of table {} is not as it was written", table.name))),
    }
}

/// The state of a document as it is stored: its checksum is that of the whole row.
pub(super) fn seal_document(document: &Document<'_>) -> Vec<u8> {
    let mut stored = Vec::with_capacity(document.state.len() + LENGTH);
    stored.extend_from_slice(document.state);
    stored.extend_from_slice(&of_document(document));
    stored
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

fn of_row(table: &Table, key: Key<'_>, value: &[u8]) -> [u8; LENGTH] {
    let mut hasher = Hasher::new();
    hasher.update(table.name.as_bytes());
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
