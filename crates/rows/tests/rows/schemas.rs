//! Keys and schemas: what is under sync, what is filled in, and what happens when the application changes its tables.

use std::time::Instant;

use driftless_rows::{DoubleCreate, Exchanged, Options, PerColumn, Policy, Rows, Tables};

use crate::shop::{assert_same, settle, shops, shops_with};

#[test]
fn a_key_that_the_application_leaves_out_is_filled_in_and_never_clashes() {
    let schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v); CREATE TABLE b(id BLOB PRIMARY KEY, v);";
    let mut shops = shops(2, schema);
    for shop in &shops {
        for n in 0..20 {
            shop.sql(&format!("INSERT INTO t(v) VALUES({n}); INSERT INTO b(v) VALUES({n})"));
        }
    }
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[0].quoted("SELECT count(*) v FROM t"), "40");
    let form = "SELECT count(*) v FROM t WHERE id GLOB '????????-????-7???-[89ab]???-????????????' AND id = lower(id)";
    assert_eq!(shops[0].quoted(form), "40");
    let form = "SELECT count(*) v FROM b WHERE typeof(id) = 'blob' AND length(id) = 16 AND substr(hex(id), 13, 1) = '7' AND substr(hex(id), 17, 1) IN ('8', '9', 'A', 'B')";
    assert_eq!(shops[0].quoted(form), "40");
    // The time comes first: later rows sort after earlier ones.
    let now = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";
    let close =
        format!("SELECT count(*) v FROM b WHERE abs({now} - (('0x' || substr(hex(id), 1, 12)) + 0)) >= 0");
    assert_eq!(shops[0].quoted(&close), "40");
    let same_time = "SELECT count(*) v FROM t WHERE substr(id, 1, 6) = (SELECT substr(lower(hex(id)), 1, 6) FROM b LIMIT 1)";
    assert_eq!(shops[0].quoted(same_time), "40");
}

#[test]
fn integer_keys_of_two_devices_do_not_clash_where_each_has_its_part() {
    let schema = "CREATE TABLE sale(id INTEGER PRIMARY KEY, v); CREATE TABLE auto(id INTEGER PRIMARY KEY AUTOINCREMENT, v);";
    let mut all = shops(2, schema);
    for (at, shop) in all.iter_mut().enumerate() {
        drop(shop.rows.take());
        driftless_rows::detach(&shop.path).unwrap();
        let mut options = Options::default();
        options.part = Some(at as u32 + 1);
        shop.rows = Some(Rows::attach(&shop.path, &shop.space, options).unwrap());
    }
    for round in 0..3 {
        for (at, shop) in all.iter().enumerate() {
            for n in 0..3 {
                shop.sql(&format!("INSERT INTO sale(v) VALUES('{at} {round} {n}'); INSERT INTO auto(v) VALUES('{at} {round} {n}')"));
            }
        }
        settle(&mut all);
        assert_same(&all);
    }
    assert_eq!(all[0].quoted("SELECT count(*) v FROM sale"), "18");
    assert_eq!(all[0].quoted("SELECT count(*) v FROM auto"), "18");
    assert_eq!(all[0].quoted("SELECT count(DISTINCT id >> 40) v FROM sale"), "2");
}

#[test]
fn composite_keys_and_tables_without_rowid_are_under_sync() {
    let schema = "
        CREATE TABLE line(bill TEXT NOT NULL, place INTEGER NOT NULL, what TEXT, PRIMARY KEY(bill, place)) WITHOUT ROWID;
        CREATE TABLE tag(article BLOB, tag TEXT, PRIMARY KEY(tag, article));
        CREATE TABLE strict(id INT PRIMARY KEY, any ANY, n REAL) STRICT;";
    let mut shops = shops(2, schema);
    shops[0].sql("INSERT INTO line VALUES('b', 1, 'x'), ('b', 2, 'y'), ('a', 1, NULL); INSERT INTO tag VALUES(x'00', 'red'); INSERT INTO strict VALUES(1, '7', 7), (2, 7, 7)");
    settle(&mut shops);
    assert_same(&shops);
    shops[1].sql(
        "UPDATE line SET place = 9 WHERE place = 2; DELETE FROM tag; UPDATE strict SET id = 3 WHERE id = 1",
    );
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[0].quoted("SELECT bill || place v FROM line ORDER BY 1"), "'a1' 'b1' 'b9'");
    assert_eq!(shops[0].quoted("SELECT typeof(\"any\") v FROM strict ORDER BY id"), "'integer' 'text'");
}

#[test]
fn a_table_without_a_usable_key_is_refused_with_advice() {
    let mut shops = shops(
        1,
        "CREATE TABLE good(id TEXT PRIMARY KEY); CREATE TABLE bare(v); CREATE TABLE loose(id TEXT PRIMARY KEY COLLATE NOCASE);",
    );
    let left_out: Vec<_> = shops[0].rows().left_out().iter().map(|table| table.table.clone()).collect();
    assert_eq!(left_out, ["bare", "loose"]);
    assert!(shops[0].rows().left_out()[0].why.contains("id TEXT PRIMARY KEY"));
    drop(shops[0].rows.take());
    driftless_rows::detach(&shops[0].path).unwrap();
    let mut options = Options::default();
    options.tables = Tables::Named(vec!["bare".into()]);
    let error = Rows::attach(&shops[0].path, &shops[0].space, options).unwrap_err();
    assert_eq!(error.code(), "table_refused");
    // A policy of what is nowhere in the file is a slip.
    for (table, column) in [("good", "nothing"), ("god", "id")] {
        let mut options = Options::default();
        options.columns = PerColumn::default().with(table, column, Policy::Counter);
        let error = Rows::attach(&shops[0].path, &shops[0].space, options).unwrap_err();
        assert_eq!(error.code(), "table_refused", "{error}");
    }
    assert_eq!(shops[0].quoted("SELECT count(*) v FROM sqlite_schema WHERE name LIKE 'driftless%'"), "0");
}

#[test]
fn rows_whose_key_cannot_be_an_id_stay_here_and_are_listed() {
    let mut shops = shops(2, "CREATE TABLE t(id PRIMARY KEY, v); CREATE TABLE u(id INT PRIMARY KEY, v);");
    shops[0].sql("INSERT INTO t VALUES(1.5, 'a'), (NULL, 'b'), ('good', 'c'), (CAST(x'ff' AS TEXT), 'd'); INSERT INTO u VALUES(NULL, 1)");
    settle(&mut shops);
    let refused = shops[0].rows().refused().unwrap();
    let why: Vec<_> = refused.iter().map(|row| (row.collection.as_str(), row.detail.as_str())).collect();
    assert_eq!(why.len(), 3, "{why:?}");
    // The key of the second was filled in.
    assert_eq!(shops[1].quoted("SELECT v FROM t ORDER BY v"), "'b' 'c'");
    shops[0].sql("UPDATE t SET id = 'now' WHERE id = 1.5");
    settle(&mut shops);
    assert_eq!(shops[1].quoted("SELECT v FROM t ORDER BY v"), "'a' 'b' 'c'");
}

#[test]
fn columns_and_tables_that_come_later_get_what_was_kept_for_them() {
    let mut shops = shops(2, "CREATE TABLE t(id TEXT PRIMARY KEY, a);");
    shops[0].sql("INSERT INTO t VALUES('1', 'x'), ('2', 'y')");
    settle(&mut shops);
    shops[0].sql("ALTER TABLE t ADD COLUMN color TEXT DEFAULT 'white'; UPDATE t SET color = 'red' WHERE id = '1'; CREATE TABLE more(id TEXT PRIMARY KEY, w); INSERT INTO more VALUES('m', 1)");
    settle(&mut shops);
    assert_eq!(shops[1].waiting(), [("t".into(), "\"1\"".into(), "column_missing".into())]);
    assert_eq!(shops[1].rows().status().unwrap().elsewhere, ["more"]);
    // The rest goes on.
    shops[0].sql("UPDATE t SET a = 'z' WHERE id = '1'");
    settle(&mut shops);
    assert_eq!(shops[1].quoted("SELECT a v FROM t ORDER BY id"), "'z' 'y'");
    shops[1].sql(
        "ALTER TABLE t ADD COLUMN color TEXT DEFAULT 'white'; CREATE TABLE more(id TEXT PRIMARY KEY, w);",
    );
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[1].quoted("SELECT color v FROM t ORDER BY id"), "'red' 'white'");
    assert_eq!(shops[1].waiting(), []);
}

#[test]
fn renamed_columns_and_tables_stay_the_same_fields_on_every_device() {
    let mut shops = shops(2, "CREATE TABLE t(id TEXT PRIMARY KEY, price REAL, old TEXT);");
    shops[0].sql("INSERT INTO t VALUES('1', 5, 'o')");
    settle(&mut shops);
    shops[0].sql("ALTER TABLE t RENAME COLUMN price TO cost; ALTER TABLE t RENAME TO article; UPDATE article SET cost = 6");
    settle(&mut shops);
    assert_eq!(shops[1].quoted("SELECT price v FROM t"), "6.0");
    shops[1].sql(
        "UPDATE t SET price = 7; ALTER TABLE t RENAME COLUMN price TO cost; ALTER TABLE t RENAME TO article",
    );
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[0].quoted("SELECT cost v FROM article"), "7.0");
    // A device that comes later and knows only the new names.
    drop(shops[1].rows.take());
    driftless_rows::detach(&shops[1].path).unwrap();
    shops[1].rows = Some(Rows::attach(&shops[1].path, &shops[1].space, Options::default()).unwrap());
    shops[1].sql("UPDATE article SET cost = 8");
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[0].quoted("SELECT cost v FROM article"), "8.0");
}

#[test]
fn a_column_can_be_dropped_and_a_table_made_anew_by_a_migration() {
    let mut shops = shops(2, "CREATE TABLE t(id TEXT PRIMARY KEY, a, b); INSERT INTO t VALUES('0', 0, 0);");
    shops[0].sql("INSERT INTO t VALUES('1', 'x', 'y')");
    settle(&mut shops);
    shops[0].sql("ALTER TABLE t DROP COLUMN b; UPDATE t SET a = 'z' WHERE id = '1'");
    settle(&mut shops);
    assert_eq!(shops[1].quoted("SELECT a || b v FROM t WHERE id = '1'"), "'zy'");
    shops[1].sql("BEGIN; CREATE TABLE n(id TEXT PRIMARY KEY, a); INSERT INTO n SELECT id, a FROM t; UPDATE n SET a = 'new' WHERE id = '0'; DROP TABLE t; ALTER TABLE n RENAME TO t; COMMIT");
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[0].quoted("SELECT a v FROM t ORDER BY id"), "'new' 'z'");
    shops[0].sql("DROP TABLE t");
    settle(&mut shops);
    assert_eq!(shops[1].quoted("SELECT count(*) v FROM t"), "2");
}

#[test]
fn a_column_more_costs_nothing_however_many_rows_there_are() {
    let full = std::env::var_os("DRIFTLESS_ROWS").is_some() || !cfg!(debug_assertions);
    let rows = if full { 100_000 } else { 20_000 };
    let mut shops = shops(2, "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT);");
    shops[0].sql(&format!(
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) INSERT INTO t SELECT n, 'x' FROM s"
    ));
    assert_eq!(shops[0].sync().flushed.rows, rows);
    crate::shop::carry(&shops.iter().collect::<Vec<_>>());
    assert_eq!(shops[1].sync().applied.inserted, rows);
    for shop in &mut shops {
        // The log of the file begins anew: what is in it afterwards is all that was written.
        shop.sql("PRAGMA wal_checkpoint(TRUNCATE)");
        let said = shop.space.digest().unwrap();
        let start = Instant::now();
        shop.sql("ALTER TABLE t ADD COLUMN b TEXT NOT NULL DEFAULT 'none'; ALTER TABLE t ADD COLUMN c");
        assert_eq!(shop.sync(), Exchanged::default());
        let took = start.elapsed();
        let log = std::fs::metadata(shop.path.with_extension("db-wal")).unwrap().len();
        eprintln!("ADD COLUMN over {rows} rows: {took:?}, {log} bytes were written");
        assert!(log < 64 * 4120, "{log} bytes: rows were written");
        assert!(took.as_millis() < 500, "{took:?}");
        assert_eq!(shop.space.digest().unwrap(), said);
    }
    shops[0].sql("UPDATE t SET b = 'some' WHERE id = 7");
    assert_eq!(shops[0].sync().flushed.rows, 1);
    settle(&mut shops);
    assert_same(&shops);
}

#[test]
fn columns_merge_by_the_policy_they_were_given() {
    let mut options = Options::default();
    options.columns = PerColumn::default()
        .with("t", "count", Policy::Counter)
        .with("t", "high", Policy::Max)
        .with("t", "low", Policy::Min)
        .with("t", "tags", Policy::Set);
    let schema =
        "CREATE TABLE t(id TEXT PRIMARY KEY, count INTEGER, high INTEGER, low REAL, tags TEXT, name TEXT);";
    let mut shops = shops_with(3, schema, &options);
    shops[0].sql("INSERT INTO t VALUES('1', 10, 5, 5, '[\"a\",\"b\"]', 'n')");
    settle(&mut shops);
    shops[0].sql(
        "UPDATE t SET count = count + 1, high = 9, low = 4, tags = '[\"a\",\"b\",\"c\"]', name = 'zero'",
    );
    shops[1].sql("UPDATE t SET count = count + 2; UPDATE t SET count = count + 3, high = 7, low = 1, tags = '[\"b\"]', name = 'one'");
    shops[2].sql("UPDATE t SET count = count - 4, high = 2, low = 8, tags = '[\"a\",\"b\",\"d\"]'");
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[0].quoted("SELECT count || ' ' || high || ' ' || low v FROM t"), "'12 9 1.0'");
    let mut tags: Vec<_> =
        serde_json::from_str::<Vec<String>>(shops[0].quoted("SELECT tags v FROM t").trim_matches('\''))
            .unwrap();
    tags.sort();
    assert_eq!(tags, ["b", "c", "d"]);
    // Of the name one value lost, and whoever wrote it can find it.
    let lost: usize = shops
        .iter_mut()
        .map(|shop| shop.rows().losers().unwrap().iter().filter(|lost| lost.loser.field == "name").count())
        .sum();
    assert!(lost > 0);
}

#[test]
fn the_same_key_on_two_devices_merges_or_is_refused_as_chosen() {
    let schema = "CREATE TABLE t(id TEXT PRIMARY KEY, a, b);";
    let mut merged = shops(2, schema);
    merged[0].sql("INSERT INTO t VALUES('1', 'here', NULL)");
    merged[1].sql("INSERT INTO t VALUES('1', 'there', 'more')");
    settle(&mut merged);
    assert_same(&merged);
    assert_eq!(merged[0].quoted("SELECT count(*) v FROM t"), "1");

    let mut options = Options::default();
    options.double_create = DoubleCreate::Refuse;
    let mut refused = shops_with(2, schema, &options);
    refused[0].sql("INSERT INTO t VALUES('1', 'here', NULL)");
    refused[0].sync();
    crate::shop::carry(&refused.iter().collect::<Vec<_>>());
    refused[1].sql("INSERT INTO t VALUES('1', 'there', 'more')");
    settle(&mut refused);
    assert_eq!(refused[0].quoted("SELECT a v FROM t"), "'here'");
    assert_eq!(refused[1].rows().refused().unwrap().len(), 1);
    assert_eq!(refused[1].quoted("SELECT a v FROM t"), "'there'");
    // Whoever gives up the own row gets the other, at once.
    refused[1].sql("DELETE FROM t");
    refused[1].sync();
    assert_eq!(refused[1].quoted("SELECT a v FROM t"), "'here'");
    settle(&mut refused);
    assert_same(&refused);
    assert_eq!((refused[1].waiting(), refused[1].rows().refused().unwrap()), (vec![], vec![]));
}

#[test]
fn a_column_that_is_added_is_no_other_column() {
    let mut options = Options::default();
    options.columns = PerColumn::default().with("art", "stock", Policy::Counter);
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE TABLE art(k, l, name, stock INTEGER, PRIMARY KEY(k, l));";
    let mut all = shops_with(2, schema, &options);
    all[0].sql("INSERT INTO t VALUES(1, 'a', 'old'); INSERT INTO art VALUES(1, 2, 'x', 100)");
    settle(&mut all);
    for shop in &mut all {
        shop.sql("ALTER TABLE t ADD COLUMN c; ALTER TABLE t ADD COLUMN d; ALTER TABLE art ADD COLUMN shelf INTEGER NOT NULL DEFAULT 0");
        shop.sync();
    }
    all[0].sql("UPDATE t SET c = 'paid'; UPDATE art SET stock = stock - 30");
    all[1].sql("UPDATE art SET shelf = 58, stock = stock - 12");
    settle(&mut all);
    all[0].sql("UPDATE t SET b = 'paid'");
    settle(&mut all);
    all[0].sql("UPDATE t SET a = 'd', b = 'mb'");
    all[1].sql("UPDATE t SET c = 'nc', d = 'a'");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT a || b || c || d v FROM t"), "'dmbnca'");
    assert_eq!(all[1].quoted("SELECT stock || ' ' || shelf v FROM art"), "'58 58'");
}

#[test]
fn a_policy_goes_with_the_column_and_the_table_that_are_renamed() {
    let mut options = Options::default();
    options.columns = PerColumn::default().with("art", "best", Policy::Max).with("art", "n", Policy::Counter);
    let mut all = shops_with(2, "CREATE TABLE art(id INTEGER PRIMARY KEY, best, n)", &options);
    all[0].sql("INSERT INTO art VALUES(1, 5, 10)");
    settle(&mut all);
    for shop in &mut all {
        shop.sql("ALTER TABLE art RENAME COLUMN best TO top; ALTER TABLE art RENAME TO thing");
        shop.sync();
    }
    all[0].sql("UPDATE thing SET top = 9, n = n + 1");
    all[1].sql("UPDATE thing SET top = 20, n = n + 2");
    settle(&mut all);
    all[0].sql("UPDATE thing SET top = 15");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].quoted("SELECT top || ' ' || n v FROM thing"), "'20 13'");
}

#[test]
fn a_table_or_a_column_that_was_dropped_and_made_again_has_what_the_documents_say() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, x, y)";
    let mut all = shops(2, schema);
    all[0].sql("INSERT INTO t VALUES(1, 'a', 'b'), (2, 'c', 'd')");
    settle(&mut all);
    all[0].sql("DROP TABLE t");
    all[0].sync();
    all[1].sql("UPDATE t SET x = 'e' WHERE id = 1; INSERT INTO t VALUES(3, 'f', 'g')");
    settle(&mut all);
    all[0].sql(schema);
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].quoted("SELECT group_concat(x, '') v FROM t"), "'ecf'");

    all[0].sql("ALTER TABLE t DROP COLUMN x");
    all[0].sync();
    all[0].sql("ALTER TABLE t ADD COLUMN x");
    settle(&mut all);
    all[1].sql("UPDATE t SET x = 'h' WHERE id = 2");
    settle(&mut all);
    let all_x = "SELECT group_concat(id || x, ' ') v FROM (SELECT * FROM t ORDER BY id)";
    assert_eq!((all[0].quoted(all_x), all[1].quoted(all_x)), ("'1e 2h 3f'".into(), "'1e 2h 3f'".into()));
    assert!(all[0].rows().waiting().unwrap().is_empty());
}

#[test]
fn a_column_that_was_added_later_is_not_taken_for_another() {
    let mut all = shops(2, "CREATE TABLE t(id TEXT PRIMARY KEY, a, b);");
    all[0].sql("INSERT INTO t VALUES('1', 'x', 'y')");
    settle(&mut all);
    for shop in &all {
        shop.sql("ALTER TABLE t ADD COLUMN d; ALTER TABLE t ADD COLUMN e");
    }
    settle(&mut all);
    // The same as another column has.
    all[0].sql("UPDATE t SET d = 'y', e = 'x'");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT a || b || d || e v FROM t"), "'xyyx'");
    all[1].sql("UPDATE t SET b = 'z', d = NULL");
    settle(&mut all);
    assert_same(&all);
    assert_eq!((all[0].rows().audit().unwrap(), all[1].rows().audit().unwrap()), (0, 0));
}

#[test]
fn a_table_that_was_dropped_and_made_again_says_nothing_of_its_documents_whenever_somebody_looks() {
    for between in [false, true] {
        for rows in ["", "INSERT INTO t(id, a) VALUES(2, 'new')"] {
            let mut all = shops(2, "CREATE TABLE t(id INTEGER PRIMARY KEY, a);");
            all[0].sql("INSERT INTO t VALUES(1, 'x'), (2, 'y'), (3, 'z')");
            settle(&mut all);
            // What was deleted before is deleted.
            all[0].sql("DELETE FROM t WHERE id = 3");
            if between {
                all[0].sync();
            }
            all[0].sql("DROP TABLE t");
            if between {
                all[0].sync();
            }
            all[0].sql(&format!("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); {rows}"));
            settle(&mut all);
            assert_eq!(all[0].quoted("SELECT id v FROM t WHERE id < 3 ORDER BY id"), "1 2");
            assert_eq!(all[1].quoted("SELECT a v FROM t WHERE id = 1"), "'x'");
            assert_eq!(all[1].quoted("SELECT count(*) v FROM t"), "2");
            assert_eq!(all[0].rows().audit().unwrap(), 0);
        }
    }
    // A migration that copies the rows into a new table keeps them, and what is not sent yet.
    let mut all = shops(2, "CREATE TABLE t(id INTEGER PRIMARY KEY, a);");
    all[0].sql("INSERT INTO t VALUES(1, 'x'), (2, 'y'), (3, 'z')");
    settle(&mut all);
    all[0].sql("UPDATE t SET a = 'mine' WHERE id = 1; DELETE FROM t WHERE id = 3; CREATE TABLE n(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t; UPDATE t SET a = 'yours' WHERE id = 2");
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT id || a v FROM t ORDER BY id"), "'1mine' '2yours'");
}

#[test]
fn what_waits_of_a_table_that_is_dropped_waits_no_more() {
    let mut all = shops(2, "CREATE TABLE t(id INTEGER PRIMARY KEY, n CHECK(n > 0));");
    let n = driftless::Map::from_json(r#"{"n": -4}"#).unwrap();
    all[0].space.collection("t").unwrap().save(&3.into(), n).unwrap();
    all[1].sql("INSERT INTO t VALUES(9, zeroblob(2000000))");
    settle(&mut all);
    assert_eq!((all[1].waiting().len(), all[1].rows().refused().unwrap().len()), (1, 1));
    all[1].sql("DROP TABLE t");
    all[1].sync();
    let status = all[1].rows().status().unwrap();
    assert_eq!((status.waiting, status.refused), (0, 0));
}
