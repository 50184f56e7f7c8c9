//! Two files that are edited apart and end the same.

use std::sync::Arc;

use driftless::{Database, Invite, Network, Permission, Strength};
use driftless_net::MemoryNetwork;
use driftless_rows::{Options, Rows};
use rusqlite::Connection;

use crate::shop::{assert_same, settle, shops};

const SCHEMA: &str =
    "CREATE TABLE article(id TEXT PRIMARY KEY, name TEXT, price REAL, stock INTEGER DEFAULT 0);";

#[tokio::test(flavor = "multi_thread")]
async fn two_files_edited_by_the_sqlite3_program_end_the_same_over_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [folder.path().join("here.db"), folder.path().join("there.db")];
    let sqlite3 = |path: &std::path::Path, sql: &str| {
        let out = std::process::Command::new("sqlite3").arg(path).arg(sql).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    for path in &paths {
        sqlite3(path, SCHEMA);
    }
    sqlite3(&paths[0], "INSERT INTO article VALUES('m', 'milk', 1.2, 5), ('b', 'bread', 3, 2)");
    let net = MemoryNetwork::new();
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let on = |db: &Database| Network::over(db, Arc::new(net.transport(db.peer().unwrap()))).unwrap();
    let (at_ann, at_bob) = (on(&ann), on(&bob));
    let here = ann.create_space("catalogue").unwrap();
    let mut here_rows = Rows::attach(&paths[0], &here, Options::default()).unwrap();
    assert_eq!(here_rows.sync().unwrap().flushed.rows, 2);
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let invite = Invite {
        permission: Permission::Write(Strength(10)),
        uses: None,
        expires: None,
        addresses: vec![address.to_string()],
    };
    let (there, _) = at_bob.join(&here.invite(invite).unwrap()).await.unwrap();
    let mut there_rows = Rows::attach(&paths[1], &there, Options::default()).unwrap();
    assert_eq!(there_rows.sync().unwrap().applied.inserted, 2);
    // Both go on alone, with a program that knows nothing of us.
    sqlite3(&paths[0], "UPDATE article SET price = 1.3 WHERE id = 'm'; DELETE FROM article WHERE id = 'b'");
    sqlite3(
        &paths[1],
        "UPDATE article SET stock = 4 WHERE id = 'm'; INSERT INTO article VALUES('e', 'eggs', 2.5, 30)",
    );
    for _ in 0..2 {
        here_rows.sync().unwrap();
        there_rows.sync().unwrap();
        at_bob.sync_with_peer(&address, &there.id()).await.unwrap();
    }
    let all = "SELECT * FROM article ORDER BY id";
    assert_eq!(sqlite3(&paths[0], all), "e|eggs|2.5|30\nm|milk|1.3|4\n");
    assert_eq!(sqlite3(&paths[1], all), sqlite3(&paths[0], all));
}

#[test]
fn rows_that_were_there_before_are_the_same_on_both_sides() {
    let mut shops = shops(2, &format!("{SCHEMA} INSERT INTO article VALUES('m', 'milk', 1.2, 5)"));
    shops[0].sql("INSERT INTO article VALUES('a', 'apple', 1, 1)");
    shops[1].sql("INSERT INTO article VALUES('b', 'bread', 2, 2)");
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[0].quoted("SELECT id v FROM article ORDER BY id"), "'a' 'b' 'm'");
}

#[test]
fn a_transaction_that_is_rolled_back_leaves_no_trace() {
    let mut shops = shops(1, SCHEMA);
    shops[0].sync();
    shops[0].sql("BEGIN; INSERT INTO article VALUES('x', 'x', 1, 1); SAVEPOINT s; INSERT INTO article VALUES('y', 'y', 1, 1); ROLLBACK TO s; COMMIT");
    shops[0].sql("BEGIN; DELETE FROM article; ROLLBACK");
    assert_eq!(shops[0].sync().flushed.rows, 1);
    let documents = shops[0].space.collection("article").unwrap();
    assert!(documents.get(&driftless::DocumentId::string("y").unwrap()).unwrap().is_none());
}

#[test]
fn a_file_that_is_detached_is_as_it_was() {
    let schema = "CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE TABLE b(x TEXT, y BLOB, PRIMARY KEY(x, y)) WITHOUT ROWID;
        CREATE INDEX i ON a(v); CREATE VIEW w AS SELECT * FROM a; CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET v = v + 1 WHERE id = NEW.id; END;
        INSERT INTO a(v) VALUES(1), (2); INSERT INTO b VALUES('p', x'00');";
    let mut shops = shops(1, "");
    let shop = &mut shops[0];
    drop(shop.rows.take());
    driftless_rows::detach(&shop.path).unwrap();
    shop.sql(schema);
    let everything = |path: &std::path::Path| {
        let out = std::process::Command::new("sqlite3").arg(path).arg(".dump").output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let before = everything(&shop.path);
    let mut rows = Rows::attach(&shop.path, &shop.space, Options::default()).unwrap();
    assert_eq!(rows.sync().unwrap().flushed.rows, 3);
    assert_ne!(everything(&shop.path), before);
    rows.detach().unwrap();
    assert_eq!(everything(&shop.path), before);
    // And again, with the space that has its rows.
    let mut rows = Rows::attach(&shop.path, &shop.space, Options::default()).unwrap();
    assert_eq!(rows.sync().unwrap().flushed.rows, 0);
    let app = Connection::open(&shop.path).unwrap();
    app.execute_batch("INSERT INTO a(v) VALUES(7)").unwrap();
    assert_eq!(rows.sync().unwrap().flushed.rows, 1);
}
