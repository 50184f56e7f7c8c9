//! A device with a file under sync: a clock that goes when told, and an application that writes.

use std::path::PathBuf;

use driftless::{Database, Permission, Space, Strength, Subject};
use driftless_rows::{Exchanged, Options, Rows};
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

use crate::App;

/// One device.
pub(crate) struct Shop {
    pub(crate) _folder: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) database: Database,
    pub(crate) space: Space,
    pub(crate) rows: Option<Rows>,
    pub(crate) app: App,
}

/// Devices whose files have the same schema, in one space.
pub(crate) fn shops(count: usize, schema: &str) -> Vec<Shop> {
    shops_with(count, schema, &Options::default())
}

pub(crate) fn shops_with(count: usize, schema: &str, options: &Options) -> Vec<Shop> {
    let mut options = options.clone();
    options.capture = crate::CAPTURE;
    let mut shops: Vec<Shop> = Vec::new();
    for at in 0..count {
        let database = Database::memory().unwrap();
        let space = match shops.first() {
            None => database.create_space("catalogue").unwrap(),
            Some(first) => {
                let key = Subject::Key(database.author().unwrap());
                first.space.grant(key, Permission::Write(Strength(5))).unwrap();
                database.import(&mut &*first.bundle(), &mut |_| {}).unwrap();
                database.space("catalogue").unwrap()
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("shop{at}.db"));
        let app = App::open(&path).unwrap();
        app.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;").unwrap();
        app.execute_batch(schema).unwrap();
        let rows = Rows::attach(&path, &space, options.clone()).unwrap();
        shops.push(Shop { _folder: folder, path, database, space, rows: Some(rows), app });
    }
    meet(&shops.iter().collect::<Vec<_>>());
    shops
}

impl Shop {
    pub(crate) fn bundle(&self) -> Vec<u8> {
        let mut bundle = Vec::new();
        self.space.export(&mut bundle, &mut |_| {}).unwrap();
        bundle
    }

    /// What the application does.
    pub(crate) fn sql(&self, sql: &str) {
        self.app.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) fn rows(&mut self) -> &mut Rows {
        self.rows.as_mut().unwrap()
    }

    pub(crate) fn sync(&mut self) -> Exchanged {
        self.rows().sync().unwrap()
    }

    /// Everything in the tables of the application, by `quote` and `typeof`.
    pub(crate) fn dump(&self) -> Vec<String> {
        dump(&self.app)
    }

    /// One value, as `quote` shows it.
    pub(crate) fn quoted(&self, query: &str) -> String {
        let query = format!("SELECT group_concat(quote(v), ' ') FROM ({query})");
        self.app.query_row(&query, [], |row| row.get::<_, Option<String>>(0)).unwrap().unwrap_or_default()
    }

    pub(crate) fn waiting(&mut self) -> Vec<(String, String, String)> {
        let waiting = self.rows().waiting().unwrap();
        waiting.into_iter().map(|row| (row.collection, row.id.to_string(), row.reason)).collect()
    }
}

pub(crate) fn dump(app: &Connection) -> Vec<String> {
    let mut lines = Vec::new();
    let mut tables = app
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'driftless\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name")
        .unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for table in tables {
        let mut columns = app.prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0").unwrap();
        let columns: Vec<String> =
            columns.query_map([&table], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let cells: Vec<String> = columns
            .iter()
            .map(|column| column.replace('"', "\"\""))
            .map(|column| format!("CASE WHEN typeof(\"{column}\") = 'text' THEN hex(CAST(\"{column}\" AS BLOB)) ELSE quote(\"{column}\") END || ':' || typeof(\"{column}\")"))
            .collect();
        let query = format!("SELECT {} FROM \"{table}\" ORDER BY 1", cells.join(" || ' ' || "));
        let mut rows = app.prepare(&query).unwrap();
        let rows = rows
            .query_map([], |row| {
                Ok(match row.get::<_, Value>(0)? {
                    Value::Text(text) => text,
                    other => format!("{other:?}"),
                })
            })
            .unwrap();
        let mut rows: Vec<String> = rows.map(Result::unwrap).collect();
        rows.sort();
        lines.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
    }
    lines
}

/// Everybody gets what everybody has.
pub(crate) fn carry(shops: &[&Shop]) {
    for from in shops {
        let bundle = from.bundle();
        for to in shops {
            if !std::ptr::eq(*from, *to) {
                to.database.import(&mut &*bundle, &mut |_| {}).unwrap();
            }
        }
    }
}

pub(crate) fn meet(shops: &[&Shop]) {
    carry(shops);
    carry(shops);
}

/// Exchanges between files and spaces, and between spaces, until nothing is new.
pub(crate) fn settle(shops: &mut [Shop]) {
    for _ in 0..6 {
        for shop in shops.iter_mut() {
            shop.sync();
        }
        carry(&shops.iter().collect::<Vec<_>>());
    }
    shops.iter_mut().for_each(|shop| assert_eq!(shop.sync().flushed.rows, 0, "it goes on for ever"));
}

/// All files have the same rows, and hold their own constraints.
pub(crate) fn assert_same(shops: &[Shop]) {
    for shop in shops {
        assert_eq!(shop.dump(), shops[0].dump());
        let broken: i64 = shop
            .app
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(broken, 0);
    }
    let digests: Vec<_> = shops.iter().map(|shop| shop.space.digest().unwrap().view).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}
