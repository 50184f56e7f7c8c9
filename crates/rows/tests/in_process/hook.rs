//! What the pre-update hook sees, and how it goes together with triggers.

use std::path::Path;

use driftless::Database;
use driftless_rows::{Capture, Captured, Options, Rows};
use rusqlite::Connection;

use crate::shop::{Shop, assert_same, settle, shops};

const SCHEMA: &str = "CREATE TABLE t(id TEXT PRIMARY KEY, a, b UNIQUE);
    CREATE TABLE n(id INTEGER PRIMARY KEY, v); CREATE TABLE w(x INT, y TEXT, v, PRIMARY KEY(y, x)) WITHOUT ROWID;";

// What was noted, in a form that does not depend on who noted it.
fn noted(path: &Path) -> Vec<String> {
    let file = Connection::open(path).unwrap();
    let query =
        "SELECT tbl || ' ' || op || ' ' || quote(k1) || ' ' || quote(k2) FROM driftless_pending ORDER BY 1";
    let mut statement = file.prepare(query).unwrap();
    let lines: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    lines
}

fn shop() -> Shop {
    let mut shops = shops(1, SCHEMA);
    shops[0].sync();
    shops.remove(0)
}

#[test]
fn a_row_that_replace_takes_away_is_seen_without_an_audit() {
    let mut all = shops(2, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('1', 'x', 'u'), ('2', 'y', 'v')");
    settle(&mut all);
    all[0].sql("REPLACE INTO t VALUES('3', 'z', 'u')");
    assert_eq!(noted(&all[0].path), ["2 0 '3' NULL", "2 2 '1' NULL"]);
    // As many rows as before: nothing would look for what is gone.
    all[0].sync();
    all[0].sql("UPDATE OR REPLACE t SET b = 'u' WHERE id = '2'; INSERT INTO t VALUES('4', 1, 1)");
    assert_eq!(noted(&all[0].path), ["2 0 '4' NULL", "2 1 '2' NULL", "2 2 '3' NULL"]);
    settle(&mut all);
    assert_same(&all);
    // The row itself, replaced, is a changed row: a field that is not known here stays.
    all[1].sql("ALTER TABLE t ADD COLUMN more; UPDATE t SET more = 'kept'");
    settle(&mut all);
    all[0].sql("REPLACE INTO t(id, a, b) VALUES('2', 'new', 'u')");
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT a || more v FROM t WHERE id = '2'"), "'newkept'");
}

#[test]
fn a_blob_that_is_written_in_place_is_read_again() {
    let mut all = shops(2, "CREATE TABLE t(id TEXT PRIMARY KEY, v BLOB);");
    all[0].sql("INSERT INTO t VALUES('1', x'000000')");
    settle(&mut all);
    {
        let sale = all[0].app.transaction().unwrap();
        let mut blob = sale.blob_open("main", "t", "v", 1, false).unwrap();
        std::io::Write::write_all(&mut blob, b"abc").unwrap();
        blob.close().unwrap();
        sale.commit().unwrap();
    }
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT v FROM t"), "X'616263'");
}

#[test]
fn triggers_and_a_connection_that_captures_note_each_change_once() {
    let scripts = [
        "INSERT INTO t VALUES('1', 'x', 1), ('2', 'y', 2); INSERT INTO n(v) VALUES('a'); INSERT INTO w VALUES(1, 'p', 0)",
        "UPDATE t SET a = 'z'; UPDATE t SET id = '9' WHERE id = '1'; UPDATE w SET x = x + 1; UPDATE n SET id = 70",
        "INSERT INTO t(a) VALUES('no key'); DELETE FROM t WHERE id = '2'; DELETE FROM n; DELETE FROM w",
        "BEGIN; INSERT INTO n VALUES(5, 5); SAVEPOINT s; INSERT INTO n VALUES(6, 6); ROLLBACK TO s; COMMIT",
        "INSERT INTO n VALUES(8, 8) ON CONFLICT DO NOTHING; INSERT INTO n VALUES(8, 9) ON CONFLICT(id) DO UPDATE SET v = 0",
    ];
    let folder = tempfile::tempdir().unwrap();
    let database = Database::memory().unwrap();
    let space = database.create_space("s").unwrap();
    for (at, script) in scripts.iter().enumerate() {
        let mut said = Vec::new();
        for (name, capture, hook) in [
            ("triggers", Capture::Triggers, false),
            ("both", Capture::Triggers, true),
            ("hook", Capture::InProcess, true),
        ] {
            let path = folder.path().join(format!("{at} {name}"));
            let app = Connection::open(&path).unwrap();
            app.execute_batch(SCHEMA).unwrap();
            app.execute_batch("INSERT INTO t VALUES('1', 0, 3), ('2', 0, 4); INSERT INTO n VALUES(1, 1); INSERT INTO w VALUES(7, 'q', 0)").unwrap();
            let mut options = Options::default();
            options.capture = capture;
            Rows::attach(&path, &space, options).unwrap();
            app.execute_batch("DELETE FROM driftless_pending; DELETE FROM t WHERE id IN('1', '2') AND 0")
                .unwrap();
            if at == 0 {
                app.execute_batch("DELETE FROM t; DELETE FROM n; DELETE FROM driftless_pending").unwrap();
            }
            match hook {
                true => Captured::new(app).unwrap().execute_batch(script).unwrap(),
                false => app.execute_batch(script).unwrap(),
            }
            said.push(noted(&path));
        }
        // A key that was filled in is another each time.
        let said: Vec<Vec<String>> = said
            .into_iter()
            .map(|notes| {
                notes
                    .into_iter()
                    .map(|note| note.split('-').next().unwrap_or_default()[..6].to_owned())
                    .collect()
            })
            .collect();
        assert_eq!(said[0], said[1], "{script}");
        assert_eq!(said[0], said[2], "{script}");
        assert!(!said[0].is_empty());
    }
}

#[test]
fn what_is_not_noted_is_not_committed() {
    let shop = shop();
    shop.sql("INSERT INTO t(id) VALUES('first')");
    Connection::open(&shop.path).unwrap().execute_batch("DELETE FROM driftless_pending").unwrap();
    // Past the calls that note: nothing is written, and the connection goes on.
    let error = Connection::execute(&shop.app, "INSERT INTO n(v) VALUES('past')", []).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ConstraintViolation));
    assert_eq!(shop.quoted("SELECT count(*) v FROM n"), "0");
    shop.app.execute("INSERT INTO n(v) VALUES(?1)", ["noted"]).unwrap();
    assert_eq!(noted(&shop.path), ["1 0 1 NULL"]);
    // Within a transaction everything can be used.
    let mut shop = shop;
    let sale = shop.app.transaction().unwrap();
    sale.prepare("UPDATE n SET v = 'more'").unwrap().execute([]).unwrap();
    sale.commit().unwrap();
    assert_eq!(noted(&shop.path), ["1 0 1 NULL", "1 1 1 NULL"]);
    let sale = shop.app.transaction().unwrap();
    sale.execute("DELETE FROM n", []).unwrap();
    drop(sale);
    let sale = shop.app.transaction().unwrap();
    sale.execute("DELETE FROM n", []).unwrap();
    sale.rollback().unwrap();
    assert_eq!(noted(&shop.path).len(), 2);
    // A statement that fails leaves nothing either.
    assert!(shop.app.execute("INSERT INTO n VALUES(2, 2), (1, 1)", []).is_err());
    assert!(shop.app.is_autocommit());
    assert_eq!(noted(&shop.path).len(), 2);
}

#[test]
fn what_the_application_asks_of_its_connection_is_what_it_was() {
    let shop = shop();
    assert_eq!(shop.app.execute("INSERT INTO n(id, v) VALUES(40, 1), (41, 2)", []).unwrap(), 2);
    assert_eq!(shop.app.last_insert_rowid(), 41);
    assert_eq!(shop.app.execute("UPDATE n SET v = 3", []).unwrap(), 2);
    assert_eq!(shop.app.last_insert_rowid(), 41);
    shop.app.execute_batch("PRAGMA user_version = 7; VACUUM; ANALYZE").unwrap();
    let app = shop.app.into_inner().unwrap();
    app.execute_batch("INSERT INTO n(v) VALUES(9)").unwrap();
    assert_eq!(noted(&shop.path).len(), 4);
}

#[test]
fn tables_of_other_schemas_are_not_taken_for_ours() {
    let shop = shop();
    shop.app.execute_batch("ATTACH ':memory:' AS other; CREATE TABLE other.t(id TEXT PRIMARY KEY); INSERT INTO other.t VALUES('o');
        CREATE TEMP TABLE n(id INTEGER PRIMARY KEY); INSERT INTO temp.n VALUES(1); DROP TABLE temp.n").unwrap();
    assert_eq!(noted(&shop.path), Vec::<String>::new());
    shop.app.execute_batch("INSERT INTO main.t(id) VALUES('m')").unwrap();
    assert_eq!(noted(&shop.path), ["2 0 'm' NULL"]);
}

#[test]
fn a_key_is_noted_as_it_is_stored() {
    let mut all = shops(
        2,
        "CREATE TABLE t(id INT PRIMARY KEY, v); CREATE TABLE g(a, twice GENERATED ALWAYS AS (a * 2) STORED, id TEXT PRIMARY KEY, v);",
    );
    all[0].sql("INSERT INTO t VALUES('5', 'x'); INSERT INTO g(a, id) VALUES(1, 7)");
    assert_eq!(noted(&all[0].path), ["1 0 '7' NULL", "2 0 5 NULL"]);
    settle(&mut all);
    all[0].sql("UPDATE t SET id = '6'; UPDATE g SET id = 8, v = 'y'; ALTER TABLE g DROP COLUMN v");
    all[0].sql("UPDATE g SET a = 2");
    settle(&mut all);
    assert_same(&all[..1]);
    assert_eq!(all[1].quoted("SELECT id v FROM t"), "6");
    assert_eq!(all[1].quoted("SELECT id || ' ' || a v FROM g"), "'8 2'");
}

#[test]
fn a_file_that_is_attached_renamed_and_detached_meanwhile_is_followed() {
    let mut all = shops(2, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('1', 'x', 1); ALTER TABLE t RENAME TO s; UPDATE s SET a = 'y'");
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT a v FROM t"), "'y'");
    drop(all[0].rows.take());
    driftless_rows::detach(&all[0].path).unwrap();
    all[0].sql("UPDATE s SET a = 'z'; ALTER TABLE s RENAME TO t");
    let mut options = Options::default();
    options.capture = Capture::InProcess;
    all[0].rows = Some(Rows::attach(&all[0].path, &all[0].space, options.clone()).unwrap());
    all[0].sync();
    all[0].sql("UPDATE t SET a = 'noted'");
    settle(&mut all);
    assert_same(&all);
    // Attached again with triggers: from then on they note, and another program is heard.
    options.capture = Capture::Triggers;
    all[0].rows = None;
    all[0].rows = Some(Rows::attach(&all[0].path, &all[0].space, options).unwrap());
    all[0].sync();
    Connection::open(&all[0].path).unwrap().execute_batch("UPDATE t SET a = 'by another'").unwrap();
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT a v FROM t"), "'by another'");
}
