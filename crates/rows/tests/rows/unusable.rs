//! Tables that cannot be under sync any more, and tables that only their application can write: the others go on.

use driftless_rows::Rows;

use crate::shop::{Shop, assert_same, carry, settle, shops};

const SCHEMA: &str = "CREATE TABLE t(id TEXT PRIMARY KEY, v); CREATE TABLE other(id TEXT PRIMARY KEY, a);";

fn listed(shop: &mut Shop) -> Vec<(String, String)> {
    shop.rows().status().unwrap().left_out.into_iter().map(|table| (table.table, table.why)).collect()
}

#[test]
fn a_table_that_was_made_anew_without_a_usable_key_is_left_out_and_listed_until_it_has_one() {
    for column in ["id", "id TEXT PRIMARY KEY COLLATE NOCASE"] {
        let mut all = shops(2, SCHEMA);
        all[0].sql("INSERT INTO t VALUES('1', 'x')");
        settle(&mut all);
        let anew = |column: &str| {
            format!(
                "BEGIN; CREATE TABLE n({column}, v); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t; COMMIT"
            )
        };
        all[0].sql(&anew(column));
        all[0].sql("INSERT INTO other VALUES('1', 'y'); UPDATE t SET v = 'here'");
        all[1].sql("INSERT INTO t VALUES('2', 'there')");
        settle(&mut all);
        assert_eq!(all[1].quoted("SELECT a v FROM other"), "'y'");
        let said = listed(&mut all[0]);
        assert!(matches!(&said[..], [(table, why)] if table == "t" && why.contains("key")), "{said:?}");
        assert_eq!(all[0].quoted("SELECT v FROM t"), "'here'");
        assert_eq!(all[0].rows().status().unwrap().tables.len(), 1);
        all[0].sql(&anew("id TEXT PRIMARY KEY"));
        settle(&mut all);
        assert_same(&all);
        assert_eq!(all[0].quoted("SELECT v FROM t WHERE id = '2'"), "'there'");
        assert_eq!(listed(&mut all[0]), []);
    }
}

#[test]
fn names_of_any_length_stop_nothing() {
    let mut all = shops(2, SCHEMA);
    let name = "x".repeat(5_000);
    all.iter().for_each(|shop| shop.sql(&format!("ALTER TABLE t ADD COLUMN {name}")));
    all[0].sql(&format!(
        "INSERT INTO t(id, v, {name}) VALUES('1', 'a', 'b'); INSERT INTO other VALUES('1', 'y')"
    ));
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT a v FROM other"), "'y'");
    all[0].sql(&format!("ALTER TABLE t RENAME COLUMN v TO {}", "y".repeat(5_000)));
    all[0].sql("INSERT INTO other VALUES('2', 'z')");
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT a v FROM other"), "'y' 'z'");
    assert_eq!(all[1].quoted("SELECT v FROM t"), "'a'");
    driftless_rows::detach(&all[1].path).unwrap();
    assert!(Rows::attach(&all[1].path, &all[1].space, driftless_rows::Options::default()).is_ok());
}

#[test]
fn a_table_that_needs_what_only_its_application_has_waits_and_stops_nothing() {
    // Made by a program that has a collation and a function of its own.
    let made = [
        (
            "CREATE TABLE t(id TEXT PRIMARY KEY, v); CREATE INDEX i ON t(v COLLATE NOCASE);",
            "NOCASE",
            "localized",
        ),
        ("CREATE TABLE t(id TEXT PRIMARY KEY, v CHECK(typeof(v)));", "typeof", "accepts"),
    ];
    for (made, known, own) in made {
        let mut all = shops(2, "CREATE TABLE other(id TEXT PRIMARY KEY, a);");
        all[0].sql("CREATE TABLE t(id TEXT PRIMARY KEY, v)");
        all[1].sql(made);
        all[1].sql(&format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '{known}', '{own}'); PRAGMA writable_schema = RESET"
        ));
        let version: i64 = all[1].app.query_row("PRAGMA schema_version", [], |row| row.get(0)).unwrap();
        all[1].sql(&format!("PRAGMA schema_version = {}", version + 1));
        all[0].sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) INSERT INTO t SELECT 'k' || i, i FROM n");
        all[0].sql("INSERT INTO other VALUES('1', 'y')");
        for _ in 0..2 {
            all.iter_mut().for_each(|shop| _ = shop.sync());
            carry(&all.iter().collect::<Vec<_>>());
        }
        all[1].sync();
        assert_eq!(all[1].quoted("SELECT a v FROM other"), "'y'");
        assert_eq!(all[1].waiting().len(), 40);
        assert!(all[1].waiting().iter().all(|(collection, ..)| collection == "t"));
    }
}
