//! What can be chosen when a file is attached, and what cannot be.

use driftless::Database;
use driftless_rows::{Options, PerColumn, Policy, Rows, Tables};

use crate::shop::{assert_same, settle, shops, shops_with};

const SCHEMA: &str = "CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER, tags TEXT); CREATE TABLE bare(v); CREATE TABLE two(a TEXT COLLATE NOCASE PRIMARY KEY);";

fn merging(policies: &[(&str, Policy)]) -> Options {
    let mut options = Options::default();
    let with = |columns: PerColumn, (column, policy): &(&str, Policy)| columns.with("t", column, *policy);
    options.columns = policies.iter().fold(PerColumn::default(), with);
    options
}

#[test]
fn a_part_that_is_none_and_a_policy_of_a_key_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(SCHEMA).unwrap();
    let space = Database::memory().unwrap().create_space("s").unwrap();
    let mut too_high = Options::default();
    too_high.part = Some(4_194_304);
    for (options, said) in
        [(too_high.clone(), "from 0 to 4194303"), (merging(&[("id", Policy::Counter)]), "t.id is of the key")]
    {
        let error = Rows::attach(&path, &space, options).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        // Nothing of it is left in the file.
        assert_eq!(Rows::open(&path, space.database()).unwrap_err().code(), "not_attached");
    }
    too_high.part = Some(4_194_303);
    let rows = Rows::attach(&path, &space, too_high.clone()).unwrap();
    assert!(!rows.was_attached());
    too_high.part = Some(u32::MAX);
    let error = Rows::attach(&path, &space, too_high).unwrap_err();
    assert_eq!(error.code(), "invalid");
}

#[test]
fn a_file_that_is_attached_again_keeps_its_policies_and_takes_the_rest() {
    let mut all = shops_with(2, SCHEMA, &merging(&[("n", Policy::Counter)]));
    all[0].sql("INSERT INTO t VALUES('m', 10, NULL)");
    settle(&mut all);
    let attach = |shop: &crate::shop::Shop, mut options: Options| {
        options.capture = crate::CAPTURE;
        Rows::attach(&shop.path, &shop.space, options)
    };
    for (policies, said) in [
        (&[("n", Policy::Max)][..], "t.n was attached as counter, and is to be max"),
        (&[("n", Policy::Counter), ("tags", Policy::Set)], "t.tags was attached as last, and is to be set"),
        (&[("tags", Policy::Last)], "t.n was attached as counter, and is to be last"),
    ] {
        let error = attach(&all[0], merging(policies)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    for policies in [&[][..], &[("n", Policy::Counter)]] {
        let mut options = merging(policies);
        options.tables = Tables::Named(vec!["t".into()]);
        let rows = attach(&all[0], options).unwrap();
        assert!(rows.was_attached());
        all[0].rows = Some(rows);
    }
    all[0].sql("UPDATE t SET n = n + 1");
    all[1].sql("UPDATE t SET n = n + 1");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].quoted("SELECT n v FROM t"), "12");
}

#[test]
fn a_policy_that_could_not_change_the_documents_that_there_are_is_refused() {
    let mut all = shops(1, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('m', 10, '[1]')");
    settle(&mut all);
    driftless_rows::detach(&all[0].path).unwrap();
    for policies in [[("n", Policy::Max)], [("n", Policy::Min)], [("tags", Policy::Set)]] {
        let error = Rows::attach(&all[0].path, &all[0].space, merging(&policies)).unwrap_err();
        assert!(error.to_string().contains("not made for"), "{error}");
    }
    let mut rows = Rows::attach(&all[0].path, &all[0].space, merging(&[("n", Policy::Counter)])).unwrap();
    rows.sync().unwrap();
    all[0].sql("UPDATE t SET n = 13");
    rows.sync().unwrap();
    assert_eq!(all[0].quoted("SELECT n v FROM t"), "13");
}

#[test]
fn tables_that_are_left_out_are_told_as_long_as_they_are() {
    let mut all = shops(1, SCHEMA);
    let told =
        |rows: &Rows| rows.status().unwrap().left_out.into_iter().map(|one| one.table).collect::<Vec<_>>();
    assert_eq!(told(all[0].rows()), ["bare", "two"]);
    assert!(all[0].rows().status().unwrap().left_out[1].why.contains("NOCASE"));
    all[0].sql("CREATE TABLE later(x)");
    all[0].sync();
    assert_eq!(told(all[0].rows()), ["bare", "later", "two"]);
    all[0].sql("DROP TABLE bare; DROP TABLE later; CREATE TABLE later(x TEXT PRIMARY KEY)");
    all[0].sync();
    assert_eq!(told(all[0].rows()), ["two"]);
    // Those that were never asked for are no matter.
    let mut options = Options::default();
    options.tables = Tables::Named(vec!["t".into()]);
    let rows = Rows::attach(&all[0].path, &all[0].space, options).unwrap();
    assert_eq!(told(&rows), Vec::<String>::new());
}

#[test]
fn options_that_a_file_does_not_speak_of_are_what_they_are_if_left_unset() {
    let mut all = shops(
        2,
        "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id), x);",
    );
    drop(all[0].rows.take());
    all[0].sql("UPDATE driftless_settings SET value = '{}' WHERE name = 'options'");
    all[0].rows = Some(Rows::open(&all[0].path, &all[0].database).unwrap());
    // Foreign keys hold; the last write wins.
    all[1].sql("PRAGMA foreign_keys = OFF; INSERT INTO c VALUES(1, 7, 'lost')");
    settle(&mut all);
    assert_eq!(all[0].waiting(), [("c".into(), "1".into(), "parent_missing".into())]);
    all[1].sql("INSERT INTO p VALUES(7)");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].quoted("SELECT x v FROM c"), "'lost'");
}

#[test]
fn rows_whose_key_is_the_rowid_keep_their_keys_and_lose_values_that_nobody_said() {
    // A column without a default, which documents of other devices do not speak of; a trigger writes to it.
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, seen INTEGER);
        CREATE TRIGGER look AFTER UPDATE OF name ON t BEGIN UPDATE t SET seen = 1 WHERE id = NEW.id; END;";
    let mut all = shops(2, schema);
    let t = all[0].space.collection("t").unwrap();
    let map = |json: &str| driftless::Map::from_json(json).unwrap();
    for key in [i64::MIN, -5, 0, i64::MAX] {
        t.save(&key.into(), map(r#"{"name": "there"}"#)).unwrap();
    }
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT rowid v FROM t ORDER BY id"), format!("{} -5 0 {}", i64::MIN, i64::MAX));
    t.save(&(-5).into(), map(r#"{"name": "new"}"#)).unwrap();
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT name || typeof(seen) v FROM t WHERE id = -5"), "'newnull'");
    assert_eq!(all[1].rows().audit().unwrap(), 0);
    // The key of a row is changed: it is another row.
    all[1].sql("UPDATE t SET id = 77 WHERE id = 0");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].quoted("SELECT id v FROM t WHERE id IN (0, 77)"), "77");
}

#[test]
fn a_file_without_the_policies_of_other_devices_is_refused_however_many_older_documents_there_are() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, high INTEGER, tags TEXT);";
    let options = merging(&[("high", Policy::Max), ("tags", Policy::Set)]);
    let mut shop = shops_with(1, schema, &options).pop().unwrap();
    let t = shop.space.collection("t").unwrap();
    for id in 1..=600 {
        t.save(&id.into(), driftless::Map::from_json("{}").unwrap()).unwrap();
    }
    let plain = Database::memory().unwrap().create_space("plain").unwrap();
    for id in 1..=600 {
        let fields = if id == 600 { r#"{"high": 5}"# } else { "{}" };
        let fields = driftless::Map::from_json(fields).unwrap();
        plain.collection("t").unwrap().save(&id.into(), fields).unwrap();
    }
    shop.sql("INSERT INTO t VALUES(1000, 5, '[1]')");
    shop.sync();
    let path = shop._folder.path().join("other.db");
    let app = rusqlite::Connection::open(&path).unwrap();
    app.execute_batch(schema).unwrap();
    for (wish, space, looks) in [
        (merging(&[]), &shop.space, "max or min"),
        (merging(&[("high", Policy::Max)]), &shop.space, "for set"),
        (merging(&[("high", Policy::Counter), ("tags", Policy::Set)]), &shop.space, "max or min"),
        (merging(&[("high", Policy::Max)]), &plain, "last or counter"),
    ] {
        let refused = Rows::attach(&path, space, wish).unwrap_err();
        assert_eq!(refused.code(), "invalid");
        assert!(refused.to_string().contains(looks), "{refused}");
    }
    let mut rows = Rows::attach(&path, &shop.space, options).unwrap();
    rows.sync().unwrap();
    let high: i64 = app.query_row("SELECT high FROM t WHERE id = 1000", [], |row| row.get(0)).unwrap();
    assert_eq!(high, 5);
    drop(rows);
    // A table that is made later is left out, and said to be.
    let path = shop._folder.path().join("later.db");
    let app = rusqlite::Connection::open(&path).unwrap();
    let mut rows = Rows::attach(&path, &shop.space, merging(&[])).unwrap();
    app.execute_batch(schema).unwrap();
    rows.sync().unwrap();
    assert!(rows.status().unwrap().left_out[0].why.contains("policies"), "{:?}", rows.status());
}

#[test]
fn tables_that_are_not_wanted_any_more_are_left_alone_and_a_renamed_one_stays_wanted() {
    let schema =
        "CREATE TABLE article(id INTEGER PRIMARY KEY, a); CREATE TABLE customer(id INTEGER PRIMARY KEY, a);";
    let named = |names: &[&str]| {
        let mut options = Options::default();
        options.tables = Tables::Named(names.iter().map(|name| (*name).to_owned()).collect());
        options
    };
    let mut shop = shops_with(1, schema, &named(&["article"])).pop().unwrap();
    shop.sql("INSERT INTO article VALUES(1, 'x'); INSERT INTO customer VALUES(1, 'secret')");
    shop.sync();
    shop.sql("ALTER TABLE article RENAME TO goods; INSERT INTO goods VALUES(2, 'y')");
    shop.sync();
    let under_sync = |rows: &Rows| -> Vec<String> {
        rows.status().unwrap().tables.into_iter().map(|table| table.table).collect()
    };
    assert_eq!(under_sync(shop.rows()), ["goods"]);
    assert_eq!(shop.rows().options().tables, Tables::Named(vec!["goods".into()]));
    // Widened, and taken back: what was not sent until then stays here.
    let mut rows = Rows::attach(&shop.path, &shop.space, named(&["goods", "customer"])).unwrap();
    assert_eq!(under_sync(&rows), ["goods", "customer"]);
    assert_eq!(under_sync(&Rows::attach(&shop.path, &shop.space, named(&["goods"])).unwrap()), ["goods"]);
    rows.sync().unwrap();
    shop.sync();
    assert_eq!(shop.space.collection("customer").unwrap().page(0, 10).unwrap().0.len(), 0);
    assert_eq!(shop.space.collection("article").unwrap().page(0, 10).unwrap().0.len(), 2);
    let triggers = "SELECT count(*) v FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'customer'";
    assert_eq!(shop.quoted(triggers), "0");
}
