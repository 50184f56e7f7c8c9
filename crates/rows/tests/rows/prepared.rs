//! Files that somebody else prepared: nothing in them is believed, and nothing of them is written in anybody's name.

use driftless::{Database, DocumentId, Map, Value};
use driftless_rows::{Options, Rows};
use rusqlite::{Connection, params};

use crate::shop::{Shop, shops};

const SCHEMA: &str = "CREATE TABLE t(id TEXT PRIMARY KEY, a);";

// Edits of one document that somebody would like to see written by another.
fn edits(database: &Database, space: &driftless::Space, collection: &str) -> Vec<u8> {
    let mut transaction = database.transaction();
    let to = space.collection(collection).unwrap();
    transaction.insert(&to, Map::from_iter([("forged", Value::from(1))])).unwrap();
    transaction.to_bytes()
}

fn put_outbox(file: &Connection, edits: &[u8]) {
    file.execute("INSERT INTO driftless_outbox(token, edits) VALUES(x'0102030405060708', ?1)", [edits])
        .unwrap();
}

fn documents(space: &driftless::Space, collection: &str) -> usize {
    space.collection(collection).unwrap().page(0, 100).unwrap().0.len()
}

// A file of another database that says it is one of this one.
fn prepared(victim: &Shop, folder: &std::path::Path) -> std::path::PathBuf {
    let path = folder.join("prepared.db");
    let app = Connection::open(&path).unwrap();
    app.execute_batch(SCHEMA).unwrap();
    app.execute_batch("INSERT INTO t VALUES('1', 'theirs')").unwrap();
    let database = Database::memory().unwrap();
    drop(Rows::attach(&path, &database.create_space("s").unwrap(), Options::default()).unwrap());
    let put = "UPDATE driftless_settings SET value = ?2 WHERE name = ?1";
    app.execute(put, params!["space", victim.space.id().to_string()]).unwrap();
    app.execute(put, params!["database", victim.database.peer().unwrap().to_string()]).unwrap();
    // What a public space says of files is known to everybody.
    let files = victim.space.collection(":files").unwrap().page(0, 10).unwrap().0;
    app.execute(put, params!["writer", files[0].id.text()]).unwrap();
    path
}

#[test]
fn a_file_that_somebody_prepared_writes_nothing_and_can_be_attached_once_it_is_detached() {
    let mut victim = shops(1, SCHEMA).remove(0);
    victim.sql("INSERT INTO t VALUES('0', 'mine')");
    victim.sync();
    let private = victim.database.create_space("private").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = prepared(&victim, folder.path());
    let app = Connection::open(&path).unwrap();
    put_outbox(&app, &edits(&victim.database, &private, "notes"));
    app.execute(
        "UPDATE driftless_tables SET columns = replace(columns, '\"number\":1,', '\"number\":1152921504606846975,')",
        [],
    )
    .unwrap();
    let error = Rows::attach(&path, &victim.space, Options::default()).unwrap_err();
    assert_eq!(error.code(), "attached", "{error}");
    assert!(error.hint().contains("rows detach"), "{}", error.hint());
    assert_eq!(Rows::open(&path, &victim.database).unwrap_err().code(), "attached");
    driftless_rows::detach(&path).unwrap();
    let mut rows = Rows::attach(&path, &victim.space, Options::default()).unwrap();
    assert_eq!(rows.sync().unwrap().flushed.rows, 1);
    assert_eq!(documents(&private, "notes"), 0);
    assert_eq!(documents(&victim.space, "t"), 2);
}

#[test]
fn an_outbox_that_speaks_of_more_than_its_own_tables_is_not_committed() {
    let mut all = shops(1, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('0', 'mine')");
    all[0].sync();
    let private = all[0].database.create_space("private").unwrap();
    let names = edits(&all[0].database, &all[0].space, ":names");
    for forged in [edits(&all[0].database, &private, "t"), names, b"no transaction".to_vec()] {
        put_outbox(&all[0].app, &forged);
        all[0].sql("UPDATE t SET a = a || '!'");
        assert_eq!(all[0].sync().flushed.rows, 1);
        assert_eq!((documents(&private, "t"), documents(&all[0].space, ":names")), (0, 0));
        assert_eq!(all[0].quoted("SELECT count(*) v FROM driftless_outbox"), "0");
    }
    let id = DocumentId::string("0").unwrap();
    let said = all[0].space.collection("t").unwrap().get(&id).unwrap().unwrap();
    assert_eq!(said.fields.get("a"), Some(&Value::from("mine!!!")));
}

#[test]
fn a_number_of_a_column_that_no_table_has_is_an_error_and_no_panic() {
    let all = shops(1, SCHEMA);
    all[0].sql("UPDATE driftless_tables SET columns = replace(columns, '\"number\":1,', '\"number\":1152921504606846975,')");
    assert_eq!(Rows::open(&all[0].path, &all[0].database).unwrap_err().code(), "invalid");
    driftless_rows::detach(&all[0].path).unwrap();
    assert!(Rows::attach(&all[0].path, &all[0].space, Options::default()).is_ok());
}
