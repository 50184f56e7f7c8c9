//! Cells that devices wrote apart, and that together break what the table says: the rows are a function of the documents,
//! whoever heard of what when, and whatever the row was before.

use driftless_rows::{Options, PerColumn, Policy, Rows};

use crate::App;
use crate::shop::{Shop, assert_same, carry, dump, settle, shops, shops_with};

const RANGE: &str =
    "CREATE TABLE t(id TEXT PRIMARY KEY, low INTEGER NOT NULL, high INTEGER, name TEXT, CHECK(low <= high));
    CREATE TABLE part(id TEXT PRIMARY KEY, t TEXT REFERENCES t(id) ON DELETE CASCADE);";
const ALL: &str = "SELECT id || ' ' || low || ' ' || high || ' ' || name v FROM t ORDER BY id";

// What somebody sees who had nothing before, with the documents of a device.
fn anew(shop: &Shop, schema: &str, options: &Options) -> Vec<String> {
    let path = shop._folder.path().join("anew.db");
    let _ = std::fs::remove_file(&path);
    let app = App::open(&path).unwrap();
    app.execute_batch(schema).unwrap();
    let mut options = options.clone();
    options.capture = crate::CAPTURE;
    let mut rows = Rows::attach(&path, &shop.space, options).unwrap();
    assert_eq!(rows.sync().unwrap().flushed.rows, 0);
    dump(&app)
}

#[test]
fn cells_that_break_a_check_together_leave_the_newest_row_that_fits_on_every_device() {
    for later in [0, 1] {
        let mut all = shops(3, RANGE);
        all[0].sql("INSERT INTO t VALUES('r', 1, 9, 'range'); INSERT INTO part VALUES('p', 'r')");
        // The third device hears of all of it at once.
        for _ in 0..2 {
            all[0].sync();
            all[1].sync();
            carry(&[&all[0], &all[1]]);
        }
        let edits = ["UPDATE t SET low = 6", "UPDATE t SET high = 4"];
        all[later ^ 1].sql(edits[later ^ 1]);
        all[later ^ 1].sync();
        std::thread::yield_now();
        all[later].sql(&format!("{}; UPDATE driftless_pending SET at = at + 10", edits[later]));
        all[later].sync();
        settle(&mut all);
        assert_same(&all);
        let first = ["'r 1 4 range'", "'r 6 9 range'"][later];
        for shop in &mut all {
            assert_eq!(shop.quoted(ALL), first);
            assert_eq!(shop.quoted("SELECT id v FROM part"), "'p'");
            let waiting = shop.rows().waiting().unwrap();
            assert_eq!((waiting.len(), waiting[0].reason.as_str()), (1, "check"));
            let less = ["without low 6", "without high 4"][later];
            assert!(waiting[0].detail.contains(less), "{waiting:?}");
            assert_eq!(shop.rows().audit().unwrap(), 0);
        }
        assert_eq!(anew(&all[0], RANGE, &Options::default()), all[0].dump());
        // What is edited in the row meanwhile stays, and is everybody's.
        all[1].sql("UPDATE t SET name = 'mine'");
        settle(&mut all);
        assert_same(&all);
        assert_eq!(all[2].quoted(ALL), first.replace("range", "mine"));
        assert_eq!(all.iter_mut().map(|shop| shop.waiting().len()).collect::<Vec<_>>(), [1, 1, 1]);
        // Once the document fits it is the row.
        all[2].sql(["UPDATE t SET high = 8", "UPDATE t SET low = 3"][later]);
        settle(&mut all);
        assert_same(&all);
        assert_eq!(all[0].quoted(ALL), ["'r 6 8 mine'", "'r 3 4 mine'"][later]);
        for shop in &mut all {
            assert_eq!(shop.waiting(), []);
        }
    }
}

#[test]
fn a_document_of_which_nothing_ever_fitted_is_no_row_and_comes_once_it_fits() {
    let mut all = shops(2, RANGE);
    let map = |json: &str| driftless::Map::from_json(json).unwrap();
    let id = driftless::DocumentId::string("r").unwrap();
    let t = all[0].space.collection("t").unwrap();
    t.save(&id, map(r#"{"low": 5, "high": 1, "name": "odd"}"#)).unwrap();
    all[1].sql("INSERT INTO t VALUES('good', 1, 2, 'good')");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].waiting(), [("t".into(), "\"r\"".into(), "check".into())]);
    // A change alone makes no row of what never was one.
    t.save(&id, map(r#"{"low": 5, "high": 1, "name": "other"}"#)).unwrap();
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT id v FROM t"), "'good'");
    t.save(&id, map(r#"{"low": null, "high": 6, "name": "other"}"#)).unwrap();
    settle(&mut all);
    assert_eq!(all[1].waiting(), [("t".into(), "\"r\"".into(), "not_null".into())]);
    // Where the application makes the row anew, that holds.
    all[1].sql("INSERT INTO t VALUES('r', 2, 6, 'new')");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].quoted(ALL), "'good 1 2 good' 'r 2 6 new'");
    assert_eq!(all[0].waiting(), []);
}

#[test]
fn what_a_table_or_a_trigger_says_no_to_is_the_same_everywhere_and_nobodys_row_is_lost() {
    let strict = "CREATE TABLE t(id TEXT PRIMARY KEY, a INTEGER NOT NULL, b, name TEXT) STRICT;"
        .replace("b,", "b ANY,");
    let trigger = "CREATE TABLE t(id TEXT PRIMARY KEY, a, b, name TEXT); CREATE TABLE heard(id TEXT);
        CREATE TRIGGER new BEFORE INSERT ON t WHEN NEW.a > NEW.b BEGIN SELECT raise(ABORT, 'too much'); END;
        CREATE TRIGGER changed BEFORE UPDATE ON t WHEN NEW.a > NEW.b BEGIN SELECT raise(FAIL, 'too much'); END;";
    let ignore = trigger
        .replace("raise(ABORT, 'too much')", "raise(IGNORE)")
        .replace("raise(FAIL, 'too much')", "raise(IGNORE)");
    let only_changes = "CREATE TABLE t(id TEXT PRIMARY KEY, a, b, name TEXT);
        CREATE TRIGGER paid BEFORE UPDATE OF a ON t WHEN OLD.b = 1 BEGIN SELECT raise(ABORT, 'it is paid'); END;";
    for (schema, edits, reason, rows) in [
        (trigger.to_owned(), ["UPDATE t SET a = 6", "UPDATE t SET b = 4"], Some("refused"), "6 9"),
        (ignore, ["UPDATE t SET a = 6", "UPDATE t SET b = 4"], Some("refused"), "6 9"),
        // What one device let be is let be where the row is made of it.
        (only_changes.to_owned(), ["UPDATE t SET a = 6", "UPDATE t SET b = 1"], None, "6 1"),
        (strict, ["UPDATE t SET a = 6", "UPDATE t SET b = 4"], None, "6 4"),
    ] {
        let mut all = shops(3, &schema);
        all[0].sql("INSERT INTO t VALUES('r', 1, 9, 'x')");
        for _ in 0..2 {
            all[0].sync();
            all[1].sync();
            carry(&[&all[0], &all[1]]);
        }
        all[0].sql(edits[0]);
        all[0].sync();
        all[1].sql(&format!("{}; UPDATE driftless_pending SET at = at + 10", edits[1]));
        all[1].sync();
        settle(&mut all);
        assert_same(&all);
        assert_eq!(all[2].quoted("SELECT a || ' ' || b v FROM t"), format!("'{rows}'"), "{schema}");
        for shop in &mut all {
            let reasons: Vec<String> = shop.waiting().into_iter().map(|(.., reason)| reason).collect();
            assert_eq!(reasons.first().map(String::as_str), reason, "{schema}");
        }
        all[2].sql("UPDATE t SET name = 'mine'");
        settle(&mut all);
        assert_same(&all);
        assert_eq!(
            all[0].quoted("SELECT name || a || b v FROM t"),
            format!("'mine{}'", rows.replace(' ', ""))
        );
        assert_eq!(anew(&all[0], &schema, &Options::default()), all[0].dump());
    }
}

#[test]
fn counters_that_are_sold_twice_do_not_go_below_what_the_table_allows_and_add_up_once_they_can() {
    let schema = "CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER CHECK(n >= 0));";
    let mut options = Options::default();
    options.columns = PerColumn::default().with("t", "n", Policy::Counter);
    let mut all = shops_with(3, schema, &options);
    all[0].sql("INSERT INTO t VALUES('m', 5)");
    settle(&mut all);
    all[0].sql("UPDATE t SET n = n - 3");
    all[0].sync();
    all[1].sql("UPDATE t SET n = n - 4; UPDATE driftless_pending SET at = at + 10");
    all[1].sync();
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT n v FROM t"), "2");
    all[2].sql("UPDATE t SET n = n - 1");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].quoted("SELECT n v FROM t"), "1");
    // What was sold and was not there is made up for by what comes in.
    all[0].sql("UPDATE t SET n = n + 10");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT n v FROM t"), "7");
    assert_eq!(all[1].waiting(), []);
}

#[test]
fn a_file_put_back_to_an_older_copy_shows_of_a_misfit_what_others_show() {
    let mut all = shops(2, RANGE);
    all[0].sql("INSERT INTO t VALUES('r', 1, 9, 'range')");
    settle(&mut all);
    let copy = all[1]._folder.path().join("copy.db");
    all[1].app.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    all[0].sql("UPDATE t SET low = 6");
    all[1].sql("UPDATE t SET high = 4; UPDATE driftless_pending SET at = at + 10");
    settle(&mut all);
    let second = all.pop().unwrap();
    let Shop { _folder, path, rows, app, database, space } = second;
    drop((rows, app));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    std::fs::copy(&copy, &path).unwrap();
    let app = App::open(&path).unwrap();
    let rows = Some(Rows::open(&path, &database).unwrap());
    all.push(Shop { _folder, path, rows, app, database, space });
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted(ALL), "'r 6 9 range'");
    assert_eq!(all[1].waiting().len(), 1);
}

#[test]
fn a_check_that_goes_lets_in_what_did_not_fit() {
    let mut all = shops(2, RANGE);
    all[0].sql("INSERT INTO t VALUES('r', 1, 9, 'range')");
    settle(&mut all);
    all[0].sql("UPDATE t SET low = 6");
    all[1].sql("UPDATE t SET high = 4");
    settle(&mut all);
    assert_eq!(all[0].waiting().len(), 1);
    for shop in &mut all {
        shop.sql(
            "PRAGMA foreign_keys = OFF; BEGIN; CREATE TABLE new(id TEXT PRIMARY KEY, low INTEGER NOT NULL, high INTEGER, name TEXT);
             INSERT INTO new SELECT * FROM t; DROP TABLE t; ALTER TABLE new RENAME TO t; COMMIT; PRAGMA foreign_keys = ON",
        );
    }
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted(ALL), "'r 6 4 range'");
    assert_eq!(all[1].waiting(), []);
}

// Numbers that come out the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[test]
fn whatever_is_written_and_heard_in_whatever_order_tables_with_checks_are_the_same() {
    let schema = "CREATE TABLE kind(id INTEGER PRIMARY KEY, most INTEGER);
        CREATE TABLE t(id INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER, n INTEGER CHECK(n >= 0), u INTEGER UNIQUE,
            kind INTEGER REFERENCES kind(id), CHECK(low <= high));
        CREATE TABLE part(id INTEGER PRIMARY KEY, t INTEGER REFERENCES t(id) ON DELETE CASCADE, a INTEGER CHECK(a <> 3));";
    let mut options = Options::default();
    options.columns = PerColumn::default().with("t", "n", Policy::Counter);
    let mut misfits = 0;
    let rounds = if std::env::var_os("DRIFTLESS_ROWS").is_some() { 60 } else { 6 };
    for round in 0..rounds {
        let mut dice = Dice(round);
        let mut all = shops_with(3, schema, &options);
        for shop in &all {
            shop.sql("PRAGMA foreign_keys = ON");
        }
        for _ in 0..40 {
            let at = dice.below(3) as usize;
            let (id, a, b, kind) = (dice.below(4), dice.below(9), dice.below(9), dice.below(3));
            let sql = match dice.below(9) {
                0 => format!("INSERT INTO t VALUES({id}, {a}, {}, {b}, {}, NULL)", a + b, dice.below(5)),
                1 => format!("UPDATE t SET low = {a} WHERE id = {id}"),
                2 => format!("UPDATE t SET high = {b} WHERE id = {id}"),
                3 => format!("UPDATE t SET n = n - {a} WHERE id = {id}"),
                4 => format!("UPDATE t SET n = n + {a}, u = {} WHERE id = {id}", dice.below(5)),
                5 => format!(
                    "INSERT OR REPLACE INTO kind VALUES({kind}, {a}); UPDATE t SET kind = {kind} WHERE id = {id}"
                ),
                6 => format!("INSERT INTO part VALUES({a}, {id}, {b})"),
                7 => format!("DELETE FROM t WHERE id = {id}"),
                _ => format!("DELETE FROM kind WHERE id = {kind}"),
            };
            // What the application's own constraints refuse does not happen.
            let _ = all[at].app.execute_batch(&sql);
            match dice.below(4) {
                0 => _ = all[at].sync(),
                1 => {
                    all[at].sync();
                    let other = dice.below(3) as usize;
                    if other != at {
                        let bundle = all[at].bundle();
                        all[other].database.import(&mut &*bundle, &mut |_| {}).unwrap();
                        all[other].sync();
                    }
                }
                _ => {}
            }
        }
        settle(&mut all);
        for shop in &all {
            assert_eq!(shop.dump(), all[0].dump(), "round {round}");
            assert_eq!(anew(shop, schema, &options), shop.dump(), "round {round}, anew");
        }
        let waiting: Vec<_> = all.iter_mut().map(Shop::waiting).collect();
        assert!(waiting.iter().all(|one| *one == waiting[0]), "round {round}: {waiting:?}");
        misfits += waiting[0].iter().filter(|(.., reason)| reason == "check").count();
    }
    eprintln!("{misfits} misfits in {rounds} rounds");
}

#[test]
fn a_row_that_is_shown_in_part_is_there_whatever_becomes_of_its_parent() {
    let schema = "
        CREATE TABLE p(id INTEGER PRIMARY KEY, v TEXT);
        CREATE TRIGGER new BEFORE INSERT ON p WHEN NEW.v = 'bad' BEGIN SELECT raise(ABORT, 'bad'); END;
        CREATE TRIGGER changed BEFORE UPDATE ON p WHEN NEW.v = 'bad' BEGIN SELECT raise(ABORT, 'bad'); END;
        CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p(id), low INTEGER, high INTEGER, CHECK(low <= high));";
    let mut all = shops(2, schema);
    all[0].sql("INSERT INTO p VALUES(1, 'fine'); INSERT INTO c VALUES(1, 1, 1, 9)");
    settle(&mut all);
    all[0].sql("UPDATE c SET low = 6");
    all[1].sql("UPDATE c SET high = 4");
    settle(&mut all);
    assert_same(&all);
    let shown = all[0].quoted("SELECT low || ' ' || high v FROM c");
    assert_ne!(shown, "");
    // An application without the triggers says what they do not let in.
    let t = all[0].space.collection("p").unwrap();
    for v in ["bad", "good"] {
        let set = format!(r#"{{"$set": {{"v": "{v}"}}}}"#);
        t.edit(&1.into(), driftless::operators_from_json(&set).unwrap()).unwrap();
        settle(&mut all);
        assert_same(&all);
        for shop in &mut all {
            assert_eq!(shop.quoted("SELECT low || ' ' || high v FROM c"), shown, "{v}");
            let waits = shop.waiting().iter().any(|(of, ..)| of == "c");
            assert!(waits, "what it is without is listed");
        }
    }
    assert_eq!(all[1].quoted("SELECT v FROM p"), "'good'");
}

#[test]
fn rows_that_a_trigger_deleted_are_back_with_those_that_they_refer_to() {
    let schema = "
        CREATE TABLE node(id INTEGER PRIMARY KEY, up INTEGER REFERENCES node(id), name TEXT);
        CREATE TABLE wipe(id INTEGER PRIMARY KEY);";
    let mut all = shops(2, schema);
    all[0].sql("INSERT INTO node VALUES(2, NULL, 'b'); INSERT INTO node VALUES(1, 2, 'a'); INSERT INTO node VALUES(3, 1, 'c')");
    settle(&mut all);
    all[1].sql("CREATE TRIGGER wipes AFTER INSERT ON wipe BEGIN DELETE FROM node; END");
    all[1].sync();
    all[0].sql("INSERT INTO wipe VALUES(1)");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT id v FROM node"), "1 2 3");
    assert_eq!(all[1].waiting(), []);
}
