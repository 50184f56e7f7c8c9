//! Every SQL statement of the adapter. Names come from a schema, which is part of the program; data is always bound.

use crate::storage::{KeyKind, Order, Schema, Table};

pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const BEGIN_READ: &str = "BEGIN";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";
pub(super) const DATA_VERSION: &str = "PRAGMA data_version";
pub(super) const FREE_PAGES: &str = "PRAGMA freelist_count";
pub(super) const GIVE_BACK: &str = "PRAGMA incremental_vacuum(2000)";
pub(super) const CHECKPOINT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
pub(super) const SIZE: &str = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";

pub(super) const CHECK: &str = "PRAGMA integrity_check(100)";

pub(super) const DECLARE_COLLECTION: &str = "INSERT INTO collection (number, space, name) VALUES (?1, ?2, ?3) \
     ON CONFLICT (number) DO UPDATE SET space = excluded.space, name = excluded.name";

// Only the columns that no index holds: an edit of a document writes one row of one tree.
pub(super) const UPSERT_DOCUMENT: &str = "INSERT INTO document (number, collection, id, deleted, json, state) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
     ON CONFLICT (number) DO UPDATE SET deleted = excluded.deleted, json = excluded.json, state = excluded.state \
     WHERE collection = excluded.collection AND id = excluded.id";
/// Rows that one statement writes where there are many: SQLite starts, finds its place in the tree and ends once for all
/// of them.
pub(super) const MANY: usize = 32;

/// `MANY` documents, none of which is there. FAIL: without a copy of each page it touches, for the case that it is undone;
/// whoever meets an error undoes the transaction.
pub(super) fn insert_many() -> String {
    let numbered = |n: usize| {
        let columns: Vec<String> = (1..=6).map(|column| format!("?{}", n * 6 + column)).collect();
        format!("({})", columns.join(", "))
    };
    let rows: Vec<String> = (0..MANY).map(numbered).collect();
    format!(
        "INSERT OR FAIL INTO document (number, collection, id, deleted, json, state) VALUES {}",
        rows.join(", ")
    )
}

pub(super) const MOVE_DOCUMENT: &str =
    "UPDATE document SET collection = ?2, id = ?3, deleted = ?4, json = ?5, state = ?6 WHERE number = ?1";
pub(super) const REMOVE_DOCUMENT: &str = "DELETE FROM document WHERE number = ?1";
pub(super) const DOCUMENT: &str =
    "SELECT number, collection, id, deleted, json, state FROM document WHERE number = ?1";
pub(super) const DOCUMENT_BY_ID: &str =
    "SELECT number, collection, id, deleted, json, state FROM document WHERE collection = ?1 AND id = ?2";
/// Documents of a collection between two ids; the index alone says how many they are.
pub(super) const COUNT_BETWEEN: &str = "SELECT count(*) FROM (SELECT 1 FROM document \
     WHERE collection = ?1 AND id BETWEEN ?2 AND ?3 LIMIT ?4)";
pub(super) const DOCUMENTS_BETWEEN: &str = "SELECT number, collection, id, deleted, json, state FROM document \
     WHERE collection = ?1 AND id BETWEEN ?2 AND ?3 ORDER BY id";
// INDEXED BY: without statistics SQLite might rather sort a whole collection by number.
pub(super) const SCAN: &str = "SELECT number, collection, id, deleted, json, state \
     FROM document INDEXED BY document_by_collection \
     WHERE collection = ?1 AND number > ?2 ORDER BY number";

// The statements above, with room to spare for the ones a visitor needs a second time.
const FIXED_STATEMENTS: usize = 32;
// Eight verbs of a table.
const TABLE_STATEMENTS: usize = 8;

/// How many prepared statements a connection keeps: all of them.
pub(super) fn statements(schema: &Schema) -> usize {
    FIXED_STATEMENTS + TABLE_STATEMENTS * schema.tables.len()
}

/// What the file must hold: names, and the statements that make them, exactly as SQLite keeps them.
pub(super) fn definitions(schema: &Schema) -> Vec<(&'static str, String)> {
    let tables = schema.tables.iter().map(|table| (table.name, definition(table)));
    // A rowid is the last column of every index: this one finds a collection's documents in order of number.
    tables
        .chain(
            [
                (
                    "collection",
                    "CREATE TABLE collection (number INTEGER PRIMARY KEY, space TEXT NOT NULL, name TEXT NOT NULL) \
                     STRICT",
                ),
                (
                    "document",
                    "CREATE TABLE document (number INTEGER PRIMARY KEY, collection INTEGER NOT NULL, \
                     id TEXT NOT NULL, deleted INTEGER NOT NULL, json TEXT NOT NULL, state BLOB NOT NULL, \
                     UNIQUE (collection, id)) STRICT",
                ),
                (
                    "document_by_collection",
                    "CREATE INDEX document_by_collection ON document (collection)",
                ),
                (
                    "documents",
                    "CREATE VIEW documents AS \
                     SELECT collection.space, collection.name AS collection, document.id, document.json \
                     FROM document JOIN collection ON collection.number = document.collection \
                     WHERE NOT document.deleted",
                ),
            ]
            .map(|(name, sql)| (name, sql.to_owned())),
        )
        .collect()
}

fn definition(table: &Table) -> String {
    let name = table.name;
    match table.key {
        KeyKind::U64 => {
            format!("CREATE TABLE \"{name}\" (key INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT")
        }
        KeyKind::Bytes => {
            format!(
                "CREATE TABLE \"{name}\" (key BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID"
            )
        }
    }
}

/// The statements of one table, written once when it is opened.
#[derive(Debug)]
pub(super) struct TableSql {
    pub(super) get: String,
    pub(super) put: String,
    pub(super) put_many: String,
    pub(super) remove: String,
    ascending: String,
    descending: String,
    ascending_to_end: String,
    descending_from_end: String,
}

impl TableSql {
    pub(super) fn new(table: &Table) -> Self {
        let name = table.name;
        // Numbers have a largest one, so their ranges are closed; bytes have none, so theirs are half-open.
        let between = match table.key {
            KeyKind::U64 => "key >= ?1 AND key <= ?2",
            KeyKind::Bytes => "key >= ?1 AND key < ?2",
        };
        let range = |keys: &str, direction: &str| {
            format!("SELECT key, value FROM \"{name}\" WHERE {keys} ORDER BY key {direction}")
        };
        Self {
            get: format!("SELECT value FROM \"{name}\" WHERE key = ?1"),
            put: format!("INSERT OR REPLACE INTO \"{name}\" (key, value) VALUES (?1, ?2)"),
            put_many: {
                let rows: Vec<String> =
                    (0..MANY).map(|n| format!("(?{}, ?{})", 2 * n + 1, 2 * n + 2)).collect();
                format!("INSERT OR REPLACE INTO \"{name}\" (key, value) VALUES {}", rows.join(", "))
            },
            remove: format!("DELETE FROM \"{name}\" WHERE key = ?1"),
            ascending: range(between, "ASC"),
            descending: range(between, "DESC"),
            ascending_to_end: range("key >= ?1", "ASC"),
            descending_from_end: range("key >= ?1", "DESC"),
        }
    }

    /// The select of a range; `ends` if it has a last key.
    pub(super) fn range(&self, order: Order, ends: bool) -> &str {
        match (order, ends) {
            (Order::Ascending, true) => &self.ascending,
            (Order::Descending, true) => &self.descending,
            (Order::Ascending, false) => &self.ascending_to_end,
            (Order::Descending, false) => &self.descending_from_end,
        }
    }
}
