//! Somebody who may only read the space, and changes the file.

use driftless::{Permission, Strength, Subject};

use crate::shop::{Shop, assert_same, carry, settle, shops};

const SCHEMA: &str = "CREATE TABLE t(id TEXT PRIMARY KEY, a, b); CREATE TABLE c(id TEXT PRIMARY KEY, t TEXT REFERENCES t(id) ON DELETE CASCADE);";

fn both(all: &mut [Shop]) {
    for _ in 0..3 {
        for shop in all.iter_mut() {
            shop.sync();
        }
        carry(&all.iter().collect::<Vec<_>>());
    }
}

fn reader() -> Vec<Shop> {
    let mut all = shops(2, SCHEMA);
    all[0].sql(
        "INSERT INTO t VALUES('1', 'x', 0), ('2', 'y', 0), ('3', 'z', 0); INSERT INTO c VALUES('c', '3')",
    );
    settle(&mut all);
    let key = Subject::Key(all[1].database.author().unwrap());
    all[0].space.grant(key, Permission::Read).unwrap();
    both(&mut all);
    all
}

#[test]
fn what_a_reader_changes_is_listed_stays_there_and_stops_nothing() {
    let mut all = reader();
    all[1].sql("UPDATE t SET a = 'mine' WHERE id = '1'; INSERT INTO t VALUES('9', 'mine', 9); DELETE FROM t WHERE id = '2'");
    all[0].sql("UPDATE t SET b = 5; INSERT INTO t VALUES('4', 'new', 0)");
    both(&mut all);
    let done = all[1].sync();
    assert_eq!((done.flushed.rows, done.flushed.kept), (0, 3));
    let refused = all[1].rows().refused().unwrap();
    let keys: Vec<_> = refused.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(keys, ["\"1\"", "\"2\"", "\"9\""]);
    assert!(refused[0].detail.contains("not permitted"), "{refused:?}");
    // Nothing of it went to others, the rest came, and what was changed is as it was left.
    assert_eq!(all[0].quoted("SELECT id || a || b v FROM t ORDER BY id"), "'1x5' '2y5' '3z5' '4new0'");
    assert_eq!(all[1].quoted("SELECT id || a || b v FROM t ORDER BY id"), "'1mine0' '3z5' '4new0' '9mine9'");
    assert_eq!(all[1].rows().status().unwrap().pending, 3);
    // A row that is changed back is one like others again.
    all[1].sql("UPDATE t SET a = 'x' WHERE id = '1'");
    both(&mut all);
    assert_eq!(all[1].quoted("SELECT a || b v FROM t WHERE id = '1'"), "'x5'");
    assert_eq!(all[1].sync().flushed.kept, 2);
}

#[test]
fn a_reader_can_take_the_versions_of_the_space() {
    let mut all = reader();
    all[1].sql("PRAGMA foreign_keys = ON; UPDATE t SET a = 'mine' WHERE id = '1'; INSERT INTO t VALUES('9', 'mine', 9); DELETE FROM t WHERE id IN ('2', '3'); INSERT INTO c VALUES('d', '9')");
    both(&mut all);
    assert_eq!(all[1].rows().revert().unwrap(), 6);
    both(&mut all);
    assert_same(&all);
    assert_eq!(all[1].rows().refused().unwrap(), []);
    assert_eq!(all[1].waiting(), []);
    assert_eq!(all[1].rows().audit().unwrap(), 0);
    assert_eq!(all[1].quoted("SELECT id || t v FROM c"), "'c3'");
}

#[test]
fn what_a_reader_has_changed_is_sent_once_the_reader_may_write() {
    let mut all = reader();
    all[1].sql("UPDATE t SET a = 'mine' WHERE id = '1'; INSERT INTO t VALUES('9', 'mine', 9); DELETE FROM t WHERE id = '2'");
    both(&mut all);
    let key = Subject::Key(all[1].database.author().unwrap());
    all[0].space.grant(key, Permission::Write(Strength(5))).unwrap();
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].quoted("SELECT id || a || b v FROM t ORDER BY id"), "'1mine0' '3z0' '9mine9'");
    assert_eq!(all[1].rows().refused().unwrap(), []);
}

#[test]
fn a_row_whose_document_lost_its_effect_is_gone_when_every_document_is_looked_at() {
    let mut all = shops(3, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('1', 'x', 0)");
    settle(&mut all);
    // What the second device writes without knowing that it may not any more has no effect where that is known.
    let key = Subject::Key(all[1].database.author().unwrap());
    all[0].space.revoke(key).unwrap();
    all[1].sql("INSERT INTO t VALUES('2', 'y', 0); INSERT INTO c VALUES('c', '2')");
    all[1].sync();
    carry(&[&all[1], &all[2]]);
    all[2].sync();
    assert_eq!(all[2].quoted("SELECT id v FROM t ORDER BY id"), "'1' '2'");
    carry(&[&all[0], &all[2]]);
    // Without a place every document is looked at.
    all[2].sql("DELETE FROM driftless_settings WHERE name = 'place'");
    all[2].sync();
    assert_eq!(all[2].quoted("SELECT id v FROM t ORDER BY id"), "'1'");
    assert_eq!(all[2].quoted("SELECT id v FROM c"), "");
    assert_eq!(all[2].waiting(), []);
    assert_eq!(all[2].rows().audit().unwrap(), 0);
}

#[test]
fn a_reader_who_reverts_gets_the_default_of_a_column_that_came_after_the_row() {
    let mut all = reader();
    for shop in &all {
        shop.sql("ALTER TABLE t ADD COLUMN d TEXT DEFAULT 'none'; ALTER TABLE t ADD COLUMN e");
    }
    both(&mut all);
    assert_eq!((all[0].rows().audit().unwrap(), all[1].rows().audit().unwrap()), (0, 0));
    all[1].sql("UPDATE t SET d = 'mine', e = 5, a = 'mine' WHERE id = '1'");
    both(&mut all);
    assert_eq!(all[1].rows().revert().unwrap(), 1);
    both(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT a || d || coalesce(e, '-') v FROM t WHERE id = '1'"), "'xnone-'");
    assert_eq!(all[1].rows().audit().unwrap(), 0);
    assert_eq!(all[1].sync().flushed.kept, 0);
}

#[test]
fn what_the_application_keeps_beside_its_rows_is_right_after_a_revert() {
    let mut all = reader();
    all[1].sql("CREATE TABLE found(id TEXT); CREATE TRIGGER one AFTER INSERT ON t BEGIN INSERT INTO found VALUES(NEW.id); END; CREATE TRIGGER two AFTER DELETE ON t BEGIN DELETE FROM found WHERE id = OLD.id; END");
    all[1].sync();
    all[1].sql("INSERT INTO t VALUES('9', 'mine', 9), ('8', 'mine', 8)");
    assert_eq!(all[1].quoted("SELECT id v FROM found"), "'9' '8'");
    all[1].sync();
    assert_eq!(all[1].rows().revert().unwrap(), 2);
    assert_eq!(all[1].quoted("SELECT id v FROM t ORDER BY id"), "'1' '2' '3'");
    assert_eq!(all[1].quoted("SELECT id v FROM found"), "");
    assert_eq!(all[1].sync().flushed.kept, 0);
}

#[test]
fn a_revert_leaves_no_reference_to_a_row_that_is_gone() {
    let mut all = reader();
    all[1].sql("PRAGMA foreign_keys = ON; CREATE TABLE seen(t TEXT REFERENCES t(id) ON DELETE CASCADE); CREATE TABLE bill(t TEXT REFERENCES t(id))");
    all[1].sync();
    all[1].sql("INSERT INTO t VALUES('9', 'mine', 9), ('8', 'mine', 8); INSERT INTO seen VALUES('9'), ('1'); INSERT INTO bill VALUES('8')");
    all[1].sync();
    all[1].rows().revert().unwrap();
    assert_eq!(all[1].quoted("SELECT t v FROM seen"), "'1'");
    // What tables that are not under sync hold stays until they let it go.
    assert_eq!(all[1].quoted("SELECT id v FROM t ORDER BY id"), "'1' '2' '3' '8'");
    assert_eq!(all[1].quoted("SELECT count(*) v FROM pragma_foreign_key_check"), "0");
    let waiting = all[1].waiting();
    assert_eq!(waiting.iter().map(|row| row.2.as_str()).collect::<Vec<_>>(), ["refused"]);
    all[1].sql("DELETE FROM bill");
    all[1].rows().revert().unwrap();
    assert_eq!(all[1].quoted("SELECT id v FROM t ORDER BY id"), "'1' '2' '3'");
    assert_eq!(all[1].waiting(), []);
}

#[test]
fn rows_of_a_reader_go_by_a_revert_whatever_else_came_that_fits_no_row() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER CHECK(n > 0));";
    let mut all = shops(2, schema);
    all[0].sql("INSERT INTO t VALUES(1, 1), (2, 2)");
    settle(&mut all);
    let key = Subject::Key(all[1].database.author().unwrap());
    all[0].space.grant(key, Permission::Read).unwrap();
    both(&mut all);
    all[1]
        .sql("INSERT INTO t VALUES(7, 7); UPDATE t SET n = 5 WHERE id = 1; UPDATE t SET n = 6 WHERE id = 1");
    let n = driftless::Map::from_json(r#"{"n": -4}"#).unwrap();
    all[0].space.collection("t").unwrap().save(&3.into(), n).unwrap();
    carry(&[&all[0], &all[1]]);
    // Two rows were changed, however often.
    assert_eq!(all[1].rows().revert().unwrap(), 2);
    assert_eq!(all[1].quoted("SELECT id || ' ' || n v FROM t"), "'1 1' '2 2'");
    assert_eq!(all[1].rows().audit().unwrap(), 0);
}

#[test]
fn however_many_rows_a_reader_has_all_are_counted_and_none_is_noted_again_and_again() {
    let mut all = reader();
    all[1].sql("CREATE TABLE u(id INTEGER PRIMARY KEY, a)");
    all[1].sync();
    driftless_rows::detach(&all[1].path).unwrap();
    // Two thousand are as in the space, and five thousand are not there.
    all[0].sql("CREATE TABLE u(id INTEGER PRIMARY KEY, a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) INSERT INTO u SELECT i, i FROM n");
    all[0].sync();
    carry(&[&all[0], &all[1]]);
    all[1].sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 7000) INSERT INTO u SELECT i, i FROM n");
    all[1].rows =
        Some(driftless_rows::Rows::attach(&all[1].path, &all[1].space, Default::default()).unwrap());
    assert_eq!(all[1].sync().flushed.kept, 4500);
    assert_eq!(all[1].waiting(), []);
    assert_eq!(all[1].rows().refused().unwrap().len(), 4500);
    let last = "SELECT max(seq) || ' ' || count(*) v FROM driftless_pending";
    let noted = all[1].quoted(last);
    assert_eq!(all[1].sync().flushed.kept, 4500);
    assert_eq!(all[1].quoted(last), noted);
    all[1].sql("UPDATE u SET a = 'mine' WHERE id = 1; UPDATE u SET a = 5 WHERE id = 6000");
    assert_eq!(all[1].sync().flushed.kept, 4501);
    all[1].rows().revert().unwrap();
    assert_eq!(all[1].quoted("SELECT count(*) v FROM u"), "2500");
    all[1].sql("UPDATE u SET a = 'mine' WHERE id = 1");
    assert_eq!(all[1].sync().flushed.kept, 1);
}
