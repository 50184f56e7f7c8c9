//! Foreign keys that act: what goes with a parent, or changes with it, is what still refers to it, whoever hears of what when.

use std::collections::{BTreeMap, BTreeSet};

use driftless::Value;

use crate::shop::{Shop, assert_same, carry, settle, shops};

const CASCADE: &str = "
    CREATE TABLE author(id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE book(id INTEGER PRIMARY KEY, author INTEGER REFERENCES author(id) ON DELETE CASCADE, name TEXT);
    CREATE TABLE page(id INTEGER PRIMARY KEY, book INTEGER REFERENCES book(id) ON DELETE CASCADE, words TEXT);";

fn two(schema: &str, rows: &str) -> Vec<Shop> {
    let mut all = shops(2, schema);
    all[0].sql(rows);
    settle(&mut all);
    all
}

// Nothing of it is listed, and nothing is left to be found.
fn assert_settled(all: &mut [Shop]) {
    settle(all);
    assert_same(all);
    for shop in all {
        assert_eq!(shop.waiting(), []);
        assert_eq!(shop.rows().audit().unwrap(), 0);
    }
}

#[test]
fn a_row_that_left_its_parent_does_not_go_with_it() {
    for keys in ["ON", "OFF"] {
        for apart in [false, true] {
            let mut all = two(
                CASCADE,
                "INSERT INTO author VALUES(1, 'a'), (2, 'b'), (9, 'z'); INSERT INTO book VALUES(1, 1, 'x'), (2, 9, 'y'), (3, 1, 'w'); INSERT INTO page VALUES(1, 1, 'p'), (2, 2, 'q'), (3, 3, 'r')",
            );
            // Two authors were one; one book of the third stays without, and one goes with its page.
            let edits = [
                "UPDATE book SET author = 2 WHERE id = 1",
                "UPDATE book SET author = NULL WHERE id = 2; UPDATE page SET words = 'new' WHERE id = 2",
                "DELETE FROM author WHERE id IN (1, 9)",
            ];
            for sql in edits {
                all[0].sql(&format!("PRAGMA foreign_keys = ON; {sql}; PRAGMA foreign_keys = {keys}"));
                if apart {
                    all[0].sync();
                }
            }
            assert_settled(&mut all);
            let books = "SELECT id || ' ' || coalesce(author, '-') v FROM book ORDER BY id";
            assert_eq!(all[1].quoted(books), "'1 2' '2 -'");
            assert_eq!(all[1].quoted("SELECT words v FROM page ORDER BY id"), "'p' 'new'");
        }
    }
}

#[test]
fn rows_that_go_with_their_parent_elsewhere_are_no_change_made_here() {
    let mut all = two(
        CASCADE,
        "INSERT INTO author VALUES(1, 'a'); INSERT INTO book VALUES(1, 1, 'x'); INSERT INTO page VALUES(1, 1, 'p'), (2, 1, 'q')",
    );
    all[0].sql("PRAGMA foreign_keys = ON; DELETE FROM author");
    all[0].sync();
    carry(&[&all[0], &all[1]]);
    let done = all[1].sync();
    assert_eq!((done.flushed.rows, done.applied.deleted, done.applied.waiting), (0, 4, 0));
    assert_settled(&mut all);
}

#[test]
fn what_else_came_of_a_row_that_loses_its_parent_is_written() {
    for (action, left) in [("SET NULL", "-"), ("SET DEFAULT", "7")] {
        for (parent, child) in [("author", "book"), ("zebra", "book")] {
            let schema = format!(
                "CREATE TABLE {parent}(id INTEGER PRIMARY KEY, name TEXT);
                 CREATE TABLE {child}(id INTEGER PRIMARY KEY, author INTEGER DEFAULT 7 REFERENCES {parent}(id) ON DELETE {action}, name TEXT);"
            );
            let rows = format!(
                "INSERT INTO {parent} VALUES(1, 'a'), (7, 'nobody'); INSERT INTO {child} VALUES(1, 1, 'old')"
            );
            for keys in ["ON", "OFF"] {
                let mut all = two(&schema, &rows);
                all[0].sql(&format!(
                    "PRAGMA foreign_keys = {keys}; BEGIN; UPDATE {child} SET name = 'new'; DELETE FROM {parent} WHERE id = 1; COMMIT"
                ));
                assert_settled(&mut all);
                let row = format!("SELECT coalesce(author, '-') || name v FROM {child}");
                assert_eq!(all[1].quoted(&row), format!("'{left}new'"), "{action} {keys}");
            }
        }
    }
}

#[test]
fn what_else_came_of_a_row_that_follows_its_parent_is_written() {
    for parent in ["author", "zebra"] {
        let schema = format!(
            "CREATE TABLE {parent}(id INTEGER PRIMARY KEY, code TEXT UNIQUE);
             CREATE TABLE book(id INTEGER PRIMARY KEY, author TEXT REFERENCES {parent}(code) ON UPDATE CASCADE, name TEXT);"
        );
        let rows = format!(
            "INSERT INTO {parent} VALUES(1, 'a'), (2, 'b'); INSERT INTO book VALUES(1, 'a', 'old'), (2, 'a', 'other')"
        );
        let mut all = two(&schema, &rows);
        all[0].sql(&format!(
            "PRAGMA foreign_keys = ON; BEGIN; UPDATE book SET name = 'new' WHERE id = 1; UPDATE book SET author = 'b' WHERE id = 2; UPDATE {parent} SET code = 'c' WHERE id = 1; COMMIT"
        ));
        // A row that nobody there knew of follows as well, with what comes of it later.
        all[1].sql("PRAGMA foreign_keys = ON; INSERT INTO book VALUES(3, 'a', 'mine')");
        assert_settled(&mut all);
        assert_eq!(
            all[0].quoted("SELECT id || author || name v FROM book ORDER BY id"),
            "'1cnew' '2bother' '3cmine'"
        );
    }
}

#[test]
fn a_key_that_follows_its_parent_is_a_row_of_its_own_everywhere() {
    let mut all = two(
        "CREATE TABLE a(id INTEGER PRIMARY KEY, code TEXT UNIQUE);
         CREATE TABLE b(code TEXT REFERENCES a(code) ON UPDATE CASCADE, n INTEGER, words TEXT, PRIMARY KEY(code, n));",
        "INSERT INTO a VALUES(1, 'x'); INSERT INTO b VALUES('x', 1, 'one'), ('x', 2, 'two')",
    );
    all[0].sql("PRAGMA foreign_keys = ON; UPDATE b SET words = 'new' WHERE n = 1; UPDATE a SET code = 'y'");
    assert_settled(&mut all);
    assert_eq!(all[1].quoted("SELECT code || n || words v FROM b"), "'y1new' 'y2two'");
}

#[test]
fn a_chain_of_rows_that_are_gone_goes_as_a_chain() {
    let mut all = two(
        "CREATE TABLE node(id INTEGER PRIMARY KEY, up INTEGER REFERENCES node(id) ON DELETE CASCADE, name TEXT);",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO node SELECT i, nullif(i - 1, 0), 'n' FROM n;
         INSERT INTO node VALUES(5000, 5000, 'self'), (6000, NULL, 'one'), (6001, 6000, 'two'); UPDATE node SET up = 6001 WHERE id = 6000",
    );
    // What hangs on the last one is moved up; the rest, a circle and one that refers to itself are gone.
    all[0].sql("INSERT INTO node VALUES(9000, 3000, 'leaf')");
    settle(&mut all);
    all[0].sql("PRAGMA foreign_keys = OFF; UPDATE node SET up = 1 WHERE id = 9000; DELETE FROM node WHERE id BETWEEN 2 AND 8000");
    assert_settled(&mut all);
    assert_eq!(all[1].quoted("SELECT id v FROM node"), "1 9000");
}

// What may be there at the end: a row that nobody deleted, and that was not left behind by what it referred to, has to be.
#[derive(Default)]
struct Model {
    alive: BTreeMap<(String, i64), bool>,
    // What a space ever said is gone.
    deleted: BTreeSet<(&'static str, i64)>,
    // What a document referred to when each space had it last.
    parents: BTreeMap<(usize, &'static str, i64), driftless::Value>,
}

const TABLES: [&str; 6] = ["b_author", "a_book", "c_page", "d_note", "e_tag", "f_tree"];

fn column(table: &str) -> &'static str {
    match table {
        "a_book" | "d_note" => "author",
        "c_page" => "book",
        "e_tag" => "code",
        "f_tree" => "up",
        _ => "name",
    }
}

impl Model {
    fn exchange(&mut self, all: &mut [Shop], at: usize) {
        all[at].rows().flush().unwrap();
        self.look(all);
        all[at].sync();
        self.look(all);
    }

    fn look(&mut self, all: &[Shop]) {
        for (at, shop) in all.iter().enumerate() {
            for table in TABLES {
                let (documents, _) = shop.space.collection(table).unwrap().page(0, 1000).unwrap();
                for document in &documents {
                    let Some(Value::I64(id)) = document.id.parts().first().cloned() else { continue };
                    if document.deleted {
                        self.deleted.insert((table, id));
                    } else if let Some(parent) = document.fields.get(column(table)) {
                        self.parents.insert((at, table, id), parent.clone());
                    }
                }
            }
        }
    }

    // Whether a row went with what it referred to, on a device that has seen it do so.
    fn went(&self, table: &'static str, id: i64) -> bool {
        let parent = ["b_author", "a_book", "f_tree"][match table {
            "a_book" => 0,
            "c_page" => 1,
            _ => 2,
        }];
        (0..2).any(|at| match self.parents.get(&(at, table, id)) {
            Some(Value::I64(was)) => self.deleted.contains(&(parent, *was)),
            _ => false,
        })
    }
}

#[test]
fn whatever_is_moved_and_deleted_and_whoever_hears_of_it_when_nothing_else_is_gone() {
    for seed in 1..=8 {
        random(seed);
    }
}

fn random(seed: u64) {
    let schema = "
        CREATE TABLE b_author(id INTEGER PRIMARY KEY, name TEXT, code TEXT UNIQUE);
        CREATE TABLE a_book(id INTEGER PRIMARY KEY, author INTEGER REFERENCES b_author(id) ON DELETE CASCADE, name TEXT);
        CREATE TABLE c_page(id INTEGER PRIMARY KEY, book INTEGER REFERENCES a_book(id) ON DELETE CASCADE, name TEXT);
        CREATE TABLE d_note(id INTEGER PRIMARY KEY, author INTEGER REFERENCES b_author(id) ON DELETE SET NULL, name TEXT);
        CREATE TABLE e_tag(id INTEGER PRIMARY KEY, code TEXT REFERENCES b_author(code) ON UPDATE CASCADE ON DELETE SET NULL, name TEXT);
        CREATE TABLE f_tree(id INTEGER PRIMARY KEY, up INTEGER REFERENCES f_tree(id) ON DELETE CASCADE, name TEXT);";
    let mut all = shops(2, schema);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = move |most: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % most
    };
    let mut model = Model::default();
    for shop in &all {
        shop.sql("PRAGMA foreign_keys = ON");
    }
    let tables = TABLES;
    for step in 0..160u64 {
        let at = draw(2) as usize;
        let (table, id) = (tables[draw(6) as usize], draw(6) as i64);
        let to = draw(6) as i64;
        let column = column(table);
        let value = match table {
            "e_tag" => format!("(SELECT code FROM b_author WHERE id = {to})"),
            "b_author" => format!("'name{step}'"),
            "a_book" | "d_note" => format!("(SELECT id FROM b_author WHERE id = {to})"),
            "c_page" => format!("(SELECT id FROM a_book WHERE id = {to})"),
            // Never in a circle.
            _ => format!("(SELECT id FROM f_tree WHERE id < min({to}, {id}))"),
        };
        let sql = match draw(8) {
            0..=2 if table == "b_author" => {
                format!("INSERT OR IGNORE INTO b_author VALUES({id}, 'n', 'c{at}{step}')")
            }
            0..=2 => format!("INSERT OR IGNORE INTO {table} VALUES({id}, {value}, 'n')"),
            3 if table == "b_author" => format!("UPDATE b_author SET code = 'c{at}{step}' WHERE id = {id}"),
            3 | 4 => format!("UPDATE {table} SET {column} = {value} WHERE id = {id}"),
            5 => format!("UPDATE {table} SET name = 'step{step}' WHERE id = {id}"),
            // All that refer to it go elsewhere, and then it goes.
            6 => format!(
                "BEGIN; UPDATE a_book SET author = (SELECT id FROM b_author WHERE id <> {id} LIMIT 1) WHERE author = {id}; UPDATE d_note SET name = 'left{step}' WHERE author = {id}; DELETE FROM b_author WHERE id = {id}; COMMIT"
            ),
            _ => format!("DELETE FROM {table} WHERE id = {id}"),
        };
        let before = rows(&all[at], &tables);
        all[at].sql(&sql);
        let after = rows(&all[at], &tables);
        // What a deletion takes is what a device saw go, by its own application.
        for key in before.iter().filter(|key| !after.contains(key)) {
            model.alive.insert(key.clone(), false);
        }
        for key in after {
            model.alive.entry(key).or_insert(true);
        }
        match draw(6) {
            0 => model.exchange(&mut all, at),
            1 => {
                model.exchange(&mut all, at);
                carry(&all.iter().collect::<Vec<_>>());
            }
            2 => {
                carry(&all.iter().collect::<Vec<_>>());
                model.exchange(&mut all, at ^ 1);
            }
            _ => {}
        }
    }
    for at in [0, 1, 0, 1] {
        model.exchange(&mut all, at);
        carry(&all.iter().collect::<Vec<_>>());
    }
    settle(&mut all);
    model.look(&all);
    assert_same(&all);
    for shop in &mut all {
        assert_eq!(shop.rows().audit().unwrap(), 0, "{seed}");
    }
    let waiting = all[0].waiting();
    let there = rows(&all[0], &tables);
    for ((table, id), alive) in &model.alive {
        // What waits is listed; a row of which a parent was deleted goes with it.
        let waits = waiting.iter().any(|(of, row, _)| of == table && row == &id.to_string());
        let goes = matches!(table.as_str(), "a_book" | "c_page" | "f_tree");
        if *alive && !waits && !goes {
            assert!(there.contains(&(table.clone(), *id)), "{seed}: {table} {id} is gone");
        }
    }
    for (table, documents) in tables.iter().map(|table| (table, all[0].space.collection(table).unwrap())) {
        let (documents, _) = documents.page(0, 1000).unwrap();
        let visible = documents.iter().filter(|document| !document.deleted).count();
        let rows = there.iter().filter(|(of, _)| of == table).count();
        let waits = waiting.iter().filter(|(of, ..)| of == table).count();
        assert_eq!(visible, rows + waits, "{seed}: {table}: {waiting:?}");
        // What no application deleted went with what it referred to when it went.
        if !matches!(*table, "a_book" | "c_page" | "f_tree") {
            continue;
        }
        for document in documents.iter().filter(|document| document.deleted) {
            let Some(Value::I64(id)) = document.id.parts().first().cloned() else { continue };
            if model.alive.get(&((*table).to_owned(), id)) == Some(&true) {
                assert!(model.went(table, id), "{seed}: {table} {id} is gone");
            }
        }
    }
}

fn rows(shop: &Shop, tables: &[&str]) -> Vec<(String, i64)> {
    let mut all = Vec::new();
    for table in tables {
        let mut statement = shop.app.prepare(&format!("SELECT id FROM {table}")).unwrap();
        let ids = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        all.extend(ids.map(|id| ((*table).to_owned(), id.unwrap())));
    }
    all
}
