//! The application's constraints hold for what comes from others, and which row has to wait is the same everywhere.

use crate::shop::{assert_same, carry, settle, shops};

const SHOP: &str = "
    CREATE TABLE category(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, parent TEXT REFERENCES category(id));
    CREATE TABLE article(id TEXT PRIMARY KEY, category TEXT NOT NULL REFERENCES category(id), sku TEXT UNIQUE, price REAL CHECK(price >= 0));
    CREATE TABLE image(id TEXT PRIMARY KEY, article TEXT REFERENCES article(id) ON DELETE CASCADE, file TEXT);
    CREATE TABLE note(id TEXT PRIMARY KEY, article TEXT REFERENCES article(id) ON DELETE SET NULL, words TEXT);
    INSERT INTO category VALUES('food', 'Food', NULL);
";

#[test]
fn children_come_before_their_parents_and_in_circles() {
    let mut shops = shops(2, SHOP);
    settle(&mut shops);
    shops[0].sql(
        "PRAGMA foreign_keys = OFF; INSERT INTO article VALUES('m', 'dairy', 's1', 1); INSERT INTO category VALUES('dairy', 'Dairy', 'food');
         INSERT INTO category VALUES('a', 'A', 'b'), ('b', 'B', 'a'), ('self', 'Self', 'self'); PRAGMA foreign_keys = ON",
    );
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[1].quoted("SELECT count(*) v FROM category"), "5");
    assert_eq!(shops[1].waiting(), []);
}

#[test]
fn a_row_whose_parent_was_deleted_elsewhere_waits_on_every_device_until_the_parent_is_back() {
    let mut shops = shops(3, SHOP);
    shops[0].sql("INSERT INTO category VALUES('toys', 'Toys', NULL)");
    settle(&mut shops);
    shops[0].sql("DELETE FROM category WHERE id = 'toys'");
    shops[1].sql("INSERT INTO article VALUES('ball', 'toys', 's1', 3)");
    settle(&mut shops);
    assert_same(&shops);
    for shop in &mut shops {
        assert_eq!(shop.waiting(), [("article".into(), "\"ball\"".into(), "parent_missing".into())]);
    }
    shops[2].sql("INSERT INTO category VALUES('toys', 'Toys again', NULL)");
    settle(&mut shops);
    assert_same(&shops);
    for shop in &mut shops {
        assert_eq!(shop.waiting(), []);
        assert_eq!(shop.quoted("SELECT id || price v FROM article"), "'ball3.0'");
    }
}

#[test]
fn of_many_rows_that_come_together_only_those_wait_that_a_constraint_is_against() {
    let mut shops = shops(
        2,
        "CREATE TABLE coin(id INTEGER PRIMARY KEY, mark TEXT UNIQUE, weight REAL CHECK(weight > 0), mint TEXT) STRICT;",
    );
    settle(&mut shops);
    // Here another coin has one of the marks already.
    shops[1].sql("INSERT INTO coin VALUES(-1, 'm50', 1.0, 'here')");
    shops[1].sync();
    std::thread::yield_now();
    shops[0].sql(
        "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 200)
         INSERT INTO coin SELECT value, 'm' || value, value + 0.5, NULL FROM n",
    );
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[1].quoted("SELECT count(*) v FROM coin"), "200");
    for shop in &mut shops {
        assert_eq!(shop.waiting(), [("coin".into(), "50".into(), "not_unique".into())]);
    }
    // All of them change, and some go, in one.
    shops[0].sql("UPDATE coin SET mint = 'there'; DELETE FROM coin WHERE id IN (7, 77, -1)");
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[1].quoted("SELECT count(*) v FROM coin WHERE mint = 'there' OR id = 50"), "198");
    assert_eq!(shops[1].waiting(), []);
    // Nothing that was applied is taken for a change made here.
    assert_eq!(shops[1].sync().flushed.rows, 0);
    assert_eq!(shops[1].rows().audit().unwrap(), 0);
}

#[test]
fn of_two_rows_that_claim_one_unique_value_the_one_created_first_stays_everywhere() {
    let mut shops = shops(3, SHOP);
    settle(&mut shops);
    shops[0].sql("INSERT INTO article VALUES('first', 'food', 'same', 1)");
    shops[0].sync();
    std::thread::yield_now();
    shops[1].sql("INSERT INTO article VALUES('second', 'food', 'same', 2)");
    settle(&mut shops);
    assert_same(&shops);
    let there = shops[0].quoted("SELECT id v FROM article");
    for shop in &mut shops {
        let waiting = shop.waiting();
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0].2, "not_unique");
        assert_eq!(shop.rows().losers().unwrap(), []);
    }
    // Whoever holds the value gives it up: the other comes in, everywhere.
    shops[2].sql("UPDATE article SET sku = 'other'");
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[0].quoted("SELECT count(*) v FROM article"), "2");
    assert!(!there.is_empty());
    assert_eq!(shops[0].waiting(), []);
}

#[test]
fn unique_values_that_are_swapped_in_one_transaction_are_swapped_everywhere() {
    let mut shops = shops(2, SHOP);
    shops[0].sql("INSERT INTO article VALUES('a', 'food', 's1', 1), ('b', 'food', 's2', 2); INSERT INTO image VALUES('i', 'a', 'x.png')");
    settle(&mut shops);
    shops[0].sql("BEGIN; UPDATE article SET sku = NULL WHERE id = 'a'; UPDATE article SET sku = 's1' WHERE id = 'b'; UPDATE article SET sku = 's2' WHERE id = 'a'; COMMIT");
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[1].quoted("SELECT sku v FROM article ORDER BY id"), "'s2' 's1'");
    assert_eq!(shops[1].quoted("SELECT article v FROM image"), "'a'");
}

#[test]
fn what_foreign_keys_do_to_rows_of_others_is_a_change_that_everybody_gets() {
    let mut shops = shops(3, SHOP);
    shops[0].sql("INSERT INTO article VALUES('m', 'food', 's', 1)");
    settle(&mut shops);
    shops[0].sql("PRAGMA foreign_keys = ON; DELETE FROM article");
    shops[1].sql("INSERT INTO image VALUES('i', 'm', 'late.png'); INSERT INTO note VALUES('n', 'm', 'late')");
    settle(&mut shops);
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[2].quoted("SELECT count(*) v FROM image"), "0");
    assert_eq!(shops[2].quoted("SELECT words || typeof(article) v FROM note"), "'latenull'");
    assert_eq!(shops[2].waiting(), []);
}

#[test]
fn one_row_that_a_check_refuses_never_stops_the_rest() {
    let mut shops = shops(2, SHOP);
    settle(&mut shops);
    shops[0].sql("PRAGMA ignore_check_constraints = ON; INSERT INTO article VALUES('bad', 'food', 's1', -1), ('good', 'food', 's2', 1)");
    settle(&mut shops);
    assert_eq!(shops[1].quoted("SELECT id v FROM article"), "'good'");
    let waiting = shops[1].rows().waiting().unwrap();
    assert_eq!((waiting[0].reason.as_str(), waiting.len()), ("check", 1));
    assert!(waiting[0].detail.contains("CHECK"), "{waiting:?}");
    shops[0].sql("UPDATE article SET price = 5 WHERE id = 'bad'");
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[1].waiting(), []);
}

#[test]
fn a_replace_takes_rows_away_without_a_trigger_and_is_found() {
    let mut shops = shops(2, SHOP);
    shops[0].sql("INSERT INTO article VALUES('a', 'food', 's1', 1), ('b', 'food', 's2', 2)");
    settle(&mut shops);
    // Row a goes because of its sku, and no trigger tells of it.
    shops[0].sql("INSERT OR REPLACE INTO article VALUES('c', 'food', 's1', 3)");
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[1].quoted("SELECT id v FROM article ORDER BY id"), "'b' 'c'");
}

#[test]
fn a_row_that_a_replace_took_away_is_found_at_once_whatever_else_there_is_to_send() {
    let schema = "CREATE TABLE t(id TEXT PRIMARY KEY, u TEXT UNIQUE, v);
        CREATE TABLE part(id TEXT PRIMARY KEY, u TEXT, v); CREATE UNIQUE INDEX some ON part(u) WHERE v = 1;
        CREATE TABLE made(id TEXT PRIMARY KEY, u TEXT); CREATE UNIQUE INDEX lower_u ON made(lower(u));";
    for (taken, left) in [
        // What is taken is given back; the row that took it is the same again, or gone.
        (
            "BEGIN; UPDATE OR REPLACE t SET u = 'y' WHERE id = 'a'; UPDATE t SET u = 'x' WHERE id = 'a'; COMMIT",
            "ac",
        ),
        ("INSERT OR REPLACE INTO t VALUES('z', 'y', 0); DELETE FROM t WHERE id = 'z'", "ac"),
        // The row that takes it is too large to be sent.
        ("INSERT OR REPLACE INTO t VALUES('z', 'y', zeroblob(2000000))", "acz"),
        ("INSERT OR REPLACE INTO part VALUES('z', 'y', 1); DELETE FROM part WHERE id = 'z'", "abc"),
        ("INSERT OR REPLACE INTO made VALUES('z', 'Y'); DELETE FROM made WHERE id = 'z'", "abc"),
    ] {
        let mut shops = shops(2, schema);
        for table in ["t", "part"] {
            shops[0].sql(&format!("INSERT INTO {table} VALUES('a', 'x', 1), ('b', 'y', 1), ('c', 'z', 1)"));
        }
        shops[0].sql("INSERT INTO made VALUES('a', 'x'), ('b', 'y'), ('c', 'z')");
        settle(&mut shops);
        // Some row is refused already, and one that was is not any more.
        shops[0]
            .sql("INSERT INTO t VALUES('big', 'p', zeroblob(2000000)), ('large', 'q', zeroblob(2000000))");
        shops[0].sync();
        shops[0].sql("DELETE FROM t WHERE id = 'large'");
        shops[0].sync();
        shops[0].sql(taken);
        // Also where somebody only flushed first, or was killed there.
        shops[0].rows().flush().unwrap();
        shops[0].sync();
        let ids = |shop: &crate::shop::Shop, table: &str| {
            shop.quoted(&format!(
                "SELECT group_concat(CAST(id AS TEXT), '') v FROM (SELECT id FROM {table} WHERE id <> 'big' ORDER BY id)"
            ))
        };
        assert_eq!(ids(&shops[0], "t"), format!("'{left}'"), "{taken}");
        settle(&mut shops);
        for table in ["t", "part", "made"] {
            assert_eq!(ids(&shops[1], table), ids(&shops[0], table).replace('z', ""), "{table}: {taken}");
        }
        // What is refused is listed, and found by nobody.
        assert_eq!(shops[0].rows().audit().unwrap(), 0, "{taken}");
    }
}

#[test]
fn a_table_that_replaces_on_conflict_never_loses_a_row_by_what_is_applied() {
    let mut shops = shops(
        2,
        "CREATE TABLE t(id TEXT PRIMARY KEY ON CONFLICT REPLACE, u TEXT UNIQUE ON CONFLICT REPLACE);",
    );
    shops[0].sql("INSERT INTO t VALUES('a', 'x')");
    shops[0].sync();
    shops[1].sql("INSERT INTO t VALUES('b', 'x')");
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[0].space.digest().unwrap().documents, shops[1].space.digest().unwrap().documents);
    assert_eq!(shops[0].waiting().len(), 1);
}

#[test]
fn triggers_of_the_application_maintain_what_is_not_under_sync_and_double_nothing_that_is() {
    let schema = "
        CREATE TABLE article(id TEXT PRIMARY KEY, name TEXT, changed INTEGER DEFAULT 0);
        CREATE TABLE stock(article TEXT PRIMARY KEY, count INTEGER);
        CREATE TABLE sale(id TEXT PRIMARY KEY, article TEXT, count INTEGER);
        CREATE TRIGGER sold AFTER INSERT ON sale BEGIN UPDATE stock SET count = count - NEW.count WHERE article = NEW.article; END;
        CREATE TRIGGER touched AFTER UPDATE OF name ON article BEGIN UPDATE article SET changed = changed + 1 WHERE id = NEW.id; END;
        CREATE VIRTUAL TABLE search USING fts5(id UNINDEXED, name);
        CREATE TRIGGER found AFTER INSERT ON article BEGIN INSERT INTO search VALUES(NEW.id, NEW.name); END;
        CREATE TRIGGER renamed AFTER UPDATE OF name ON article BEGIN UPDATE search SET name = NEW.name WHERE id = NEW.id; END;";
    let mut shops = shops(2, schema);
    shops[0].sql("INSERT INTO article(id, name) VALUES('m', 'milk'); INSERT INTO stock VALUES('m', 10)");
    settle(&mut shops);
    shops[0].sql("INSERT INTO sale VALUES('1', 'm', 3); UPDATE article SET name = 'fresh milk'");
    settle(&mut shops);
    for shop in &shops {
        assert_eq!(shop.quoted("SELECT count v FROM stock"), "7");
        assert_eq!(shop.quoted("SELECT changed v FROM article"), "1");
        assert_eq!(shop.quoted("SELECT id v FROM search WHERE search MATCH 'fresh'"), "'m'");
    }
    let refs: Vec<_> = shops.iter().collect();
    carry(&refs);
    assert_eq!(shops[0].space.digest().unwrap(), shops[1].space.digest().unwrap());
}

#[test]
fn the_application_hears_of_a_row_that_makes_way_for_another_that_it_goes_and_that_it_comes_back() {
    let schema = "
        CREATE TABLE shelf(id TEXT PRIMARY KEY, place INTEGER NOT NULL UNIQUE);
        CREATE TABLE article(id TEXT PRIMARY KEY, shelf TEXT REFERENCES shelf(id) ON DELETE CASCADE, sku TEXT UNIQUE);
        CREATE TABLE search(id TEXT);
        CREATE TRIGGER found AFTER INSERT ON article BEGIN INSERT INTO search VALUES(NEW.id); END;
        CREATE TRIGGER lost AFTER DELETE ON article BEGIN DELETE FROM search WHERE id = OLD.id; END;
        CREATE TRIGGER kept BEFORE DELETE ON shelf WHEN OLD.id = 'low' BEGIN SELECT raise(ABORT, 'it is screwed down'); END;";
    let mut shops = shops(2, schema);
    shops[0].sql(
        "INSERT INTO shelf VALUES('high', 1), ('low', 2);
         INSERT INTO article VALUES('rice', 'high', 'r'), ('oil', 'high', 'o'), ('salt', 'low', 's')",
    );
    settle(&mut shops);
    // Unique values change places: of two articles, and of the shelves on which they are.
    shops[0].sql(
        "UPDATE article SET sku = 'x' WHERE id = 'rice'; UPDATE article SET sku = 'r' WHERE id = 'oil';
         UPDATE article SET sku = 'o' WHERE id = 'rice'; UPDATE shelf SET place = 0 WHERE id = 'high';
         UPDATE shelf SET place = 1 WHERE id = 'low'; UPDATE shelf SET place = 2 WHERE id = 'high'",
    );
    settle(&mut shops);
    assert_same(&shops);
    for shop in &mut shops {
        assert_eq!(shop.waiting(), []);
        let found = "SELECT group_concat(id) v FROM (SELECT id FROM search ORDER BY id)";
        assert_eq!(shop.quoted(found), "'oil,rice,salt'");
    }
}

#[test]
fn a_reference_to_no_column_of_its_parent_stops_nothing_where_foreign_keys_are_off() {
    let mut options = driftless_rows::Options::default();
    options.foreign_keys = false;
    let schema = "CREATE TABLE p(id INTEGER PRIMARY KEY, v); CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(nope));
        CREATE TABLE d(id INTEGER PRIMARY KEY, p REFERENCES p(id) ON DELETE CASCADE);";
    let mut shops = crate::shop::shops_with(2, schema, &options);
    shops[0].sql("PRAGMA foreign_keys = OFF; INSERT INTO p VALUES(1, 'x'), (2, 'y'); INSERT INTO c VALUES(1, 1); INSERT INTO d VALUES(1, 1)");
    settle(&mut shops);
    shops[0].sql("DELETE FROM p WHERE id = 1");
    settle(&mut shops);
    for shop in &mut shops {
        assert_eq!(shop.quoted("SELECT id v FROM p"), "2");
        assert_eq!(shop.quoted("SELECT id v FROM c UNION ALL SELECT id FROM d"), "1 1");
        assert_eq!(shop.waiting(), []);
    }
}
