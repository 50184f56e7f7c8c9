//! P13: an existing file of SQLite under sync: what the application pays for being captured, what a flush and an
//! application of documents cost, and what goes over the wire, beside SQLite alone and a trigger without sync.
//!
//! What the receiver does is measured apart from what the sender does: message by message, without a network between them.

use std::path::Path;

use driftless::{Database, DrivenSession, Network, Permission, SpaceId, Strength, Subject};
use driftless_core::session::Role;
use driftless_rows::{Options, Rows};
use rusqlite::Connection;

use crate::fixture::{Place, batched};
use crate::session::{self, Recorded};
use crate::stopwatch::{Failure, Spent, least, quickest, spent};
use crate::table::{Goal, Results, number};

pub(crate) const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    CREATE TABLE item(id TEXT PRIMARY KEY, title TEXT, body TEXT, n INTEGER, done INTEGER);";
const LOG: &str = "CREATE TABLE log(seq INTEGER PRIMARY KEY, id TEXT);
    CREATE TRIGGER log_insert AFTER INSERT ON item BEGIN INSERT INTO log(id) VALUES(NEW.id); END;
    CREATE TRIGGER log_update AFTER UPDATE ON item BEGIN INSERT INTO log(id) VALUES(NEW.id); END;";

// What the application does: one transaction each.
pub(crate) fn insert(app: &mut Connection, count: usize) -> Result<(), Failure> {
    let transaction = app.transaction()?;
    insert_into(&transaction, count)?;
    transaction.commit()?;
    Ok(())
}

fn insert_into(app: &Connection, count: usize) -> Result<(), Failure> {
    let mut statement = app.prepare_cached("INSERT INTO item VALUES(?1, ?2, ?3, ?4, 0)")?;
    for at in 0..count {
        let id = blake3::hash(&at.to_le_bytes()).to_hex();
        let body = format!("the body of item {at:09}, which has some sixty characters of text");
        statement.execute((&id[..32], format!("item {at}"), &body[..60], at as i64))?;
    }
    Ok(())
}

fn update(app: &mut Connection) -> Result<(), Failure> {
    app.execute("UPDATE item SET n = n + 1", [])?;
    Ok(())
}

fn file(path: &Path, more: &str) -> Result<Connection, Failure> {
    let app = Connection::open(path)?;
    app.execute_batch(SCHEMA)?;
    app.execute_batch(more)?;
    Ok(app)
}

// Inserts and updates of SQLite alone, or with a trigger that only writes the key down.
fn alone(place: &Place, count: usize, more: &str) -> Result<[Spent; 2], Failure> {
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..place.runs() {
        let folder = place.folder()?;
        let mut app = file(&folder.path().join("app.db"), more)?;
        runs[0].push(spent(|| insert(&mut app, count))?.1);
        runs[1].push(spent(|| update(&mut app))?.1);
    }
    Ok(runs.map(quickest))
}

#[derive(Default)]
struct Measured {
    capture: Vec<Spent>,
    flush: Vec<Spent>,
    // The receiver's part of an exchange, and the sender's.
    receive: Vec<Spent>,
    send: Vec<Spent>,
    apply: Vec<Spent>,
    // Both, and HTTP.
    exchange: Vec<Spent>,
    bytes: f64,
}

impl Measured {
    fn report(&self, what: &str, count: usize, alone: [&Spent; 2], bytes: f64, results: &mut Results) {
        let rate = |spent: &[Spent]| quickest(spent.iter().copied()).cpu_rate(count);
        let [plain, log] = alone.map(|spent| number(spent.cpu_rate(count)));
        let (flush, receive, apply) = (rate(&self.flush), rate(&self.receive), rate(&self.apply));
        let (send, exchange) = (number(rate(&self.send)), rate(&self.exchange));
        let together = 1.0 / (1.0 / receive + 1.0 / apply);
        let rows = "rows/s";
        results.add(
            format!("P13 capture of {what}"),
            rate(&self.capture),
            rows,
            Goal::AtLeast(150_000.0),
            format!("CPU; SQLite alone {plain}, with a trigger that writes the key down {log}"),
        );
        results.add(format!("from the file into commits, {what}"), flush, rows, Goal::Shown, "CPU");
        results.add(
            format!("P13 verify and apply {what}"),
            together,
            rows,
            Goal::AtLeast(150_000.0),
            format!(
                "CPU of the receiver; into the database {}, from there into the file {}; SQLite alone {plain}",
                number(receive),
                number(apply)
            ),
        );
        let both = format!("CPU of both sides; the sender alone, without a network, {send}");
        results.add(format!("exchange over loopback HTTP, {what}"), exchange, rows, Goal::Shown, both);
        results.add(
            format!("P13 bytes on the wire, {what}"),
            self.bytes / count as f64,
            "B/row",
            Goal::AtMost(bytes),
            "everything received by an exchange over loopback HTTP, compressed as it is there",
        );
    }
}

// What `here` has and `there` lacks, message by message: what the sender and the receiver spent.
fn by_hand(here: &Database, there: &Database, space: &SpaceId) -> Result<[Spent; 2], Failure> {
    let mut sides = [
        DrivenSession::new(here, Role::Listener, there.peer()?)?,
        DrivenSession::new(there, Role::Dialer, here.peer()?)?,
    ];
    sides[1].open(*space);
    let mut spent_by = [Spent::default(); 2];
    let mut arriving = [Vec::new(), Vec::new()];
    loop {
        let mut quiet = true;
        for at in [1, 0] {
            let messages: Vec<Vec<u8>> = std::mem::take(&mut arriving[at]);
            let side = &mut sides[at];
            let work = || {
                messages.iter().try_for_each(|message| side.receive(message))?;
                Ok(side.work()?.0)
            };
            let (sent, took) = spent(work)?;
            spent_by[at].wall += took.wall;
            spent_by[at].cpu += took.cpu;
            quiet &= sent.is_empty();
            arriving[1 - at].extend(sent);
        }
        if quiet {
            break;
        }
    }
    let flushed = spent(|| Ok(there.flush()?))?.1;
    spent_by[1].wall += flushed.wall;
    spent_by[1].cpu += flushed.cpu;
    sides.into_iter().try_for_each(DrivenSession::end)?;
    Ok(spent_by)
}

/// Rows of five columns; all of them are inserted, then one column of each is changed.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let count = place.size(100_000, 10_000);
    let plain = alone(place, count, "")?;
    let log = alone(place, count, LOG)?;
    let (mut inserts, mut updates) = (Measured::default(), Measured::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for _ in 0..place.runs() {
        let folder = place.folder()?;
        let at = |name: &str| folder.path().join(name);
        let [here, there, third] = ["here", "there", "third"].map(|name| batched(&at(name)));
        let (here, there, third) = (here?, there?, third?);
        let space = here.create_space("items")?;
        for other in [&there, &third] {
            space.grant(Subject::Key(other.author()?), Permission::Write(Strength(5)))?;
        }
        here.flush()?;
        let mut app = file(&at("here.db"), "")?;
        let mut rows = Rows::attach(at("here.db"), &space, Options::default())?;
        rows.sync()?;
        let on = |db: &Database| Network::builder(db).http().open();
        let (at_here, at_third) = {
            let _entered = runtime.enter();
            (on(&here)?, on(&third)?)
        };
        let address = runtime.block_on(at_here.serve(&"http://127.0.0.1:0".parse()?))?;
        runtime.block_on(at_third.sync_with_peer(&address, &space.id()))?;
        by_hand(&here, &there, &space.id())?;
        drop(file(&at("there.db"), "")?);
        let mut other = Rows::attach(at("there.db"), &there.space("items")?, Options::default())?;
        other.sync()?;
        for (measured, is_insert) in [(&mut inserts, true), (&mut updates, false)] {
            let change = || if is_insert { insert(&mut app, count) } else { update(&mut app) };
            measured.capture.push(spent(change)?.1);
            let flush = || {
                rows.sync()?;
                Ok(here.flush()?)
            };
            measured.flush.push(spent(flush)?.1);
            let [sender, receiver] = by_hand(&here, &there, &space.id())?;
            measured.send.push(sender);
            measured.receive.push(receiver);
            measured.apply.push(spent(|| Ok(other.sync()?))?.1);
            let exchange = || {
                let synced = runtime.block_on(at_third.sync_with_peer(&address, &space.id()))?;
                third.flush()?;
                Ok(synced)
            };
            let (synced, both) = spent(exchange)?;
            measured.exchange.push(both);
            measured.bytes = synced.traffic.received as f64;
        }
        let rows_there = |path| -> Result<i64, Failure> {
            Ok(Connection::open(path)?.query_row("SELECT sum(n) FROM item", [], |row| row.get(0))?)
        };
        assert_eq!(rows_there(at("here.db"))?, rows_there(at("there.db"))?);
        at_here.close();
        at_third.close();
    }
    inserts.report("inserted rows", count, [&plain[0], &log[0]], 125.0, results);
    updates.report("updates of one column", count, [&plain[1], &log[1]], 55.0, results);
    in_process(place, count, results)?;
    match session::run(place, SCHEMA, count) {
        Ok([insert, update]) => {
            beside("inserted rows", &insert, count, results);
            beside("updates of one column", &update, count, results);
        }
        Err(why) => eprintln!("  the session extension is not measured: {why}"),
    }
    add_column(place, count, results)
}

// What the session extension of SQLite takes for the same, without anybody who merges.
fn beside(what: &str, recorded: &Recorded, count: usize, results: &mut Results) {
    let rate = |spent: std::time::Duration| count as f64 / spent.as_secs_f64();
    let alone = number(rate(recorded.alone));
    results.add(
        format!("session extension: changeset of {what}"),
        rate(recorded.recorded),
        "rows/s",
        Goal::Shown,
        format!(
            "CPU of the `sqlite3` program; {alone} without a session; {:.1} B/row, not compressed",
            recorded.bytes as f64 / count as f64
        ),
    );
}

#[cfg(feature = "preupdate")]
fn in_process(place: &Place, count: usize, results: &mut Results) -> Result<(), Failure> {
    use driftless_rows::{Capture, Captured};
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..place.runs() {
        let folder = place.folder()?;
        let path = folder.path().join("app.db");
        drop(file(&path, "")?);
        let mut options = Options::default();
        options.capture = Capture::InProcess;
        let _rows = Rows::attach(&path, &Database::memory()?.create_space("items")?, options)?;
        let mut app = Captured::open(&path)?;
        app.execute_batch("PRAGMA synchronous = NORMAL")?;
        let inserting = || {
            let transaction = app.transaction()?;
            insert_into(&transaction, count)?;
            Ok(transaction.commit()?)
        };
        runs[0].push(spent(inserting)?.1);
        runs[1].push(spent(|| Ok(app.execute("UPDATE item SET n = n + 1", [])?))?.1);
    }
    for (what, runs) in ["inserted rows", "updates of one column"].iter().zip(runs) {
        results.add(
            format!("P13 capture of {what}, in process"),
            quickest(runs).cpu_rate(count),
            "rows/s",
            Goal::AtLeast(150_000.0),
            "CPU; by the pre-update hook, without a trigger that notes",
        );
    }
    Ok(())
}

#[cfg(not(feature = "preupdate"))]
fn in_process(_: &Place, _: usize, _: &mut Results) -> Result<(), Failure> {
    eprintln!("  capture in process is not measured: build the bench with `--features preupdate`");
    Ok(())
}

// A column more, and a column more with a default, in both files: until each file and its space agree again.
fn add_column(place: &Place, count: usize, results: &mut Results) -> Result<(), Failure> {
    let folder = place.folder()?;
    let at = |name: &str| folder.path().join(name);
    let (here, there) = (batched(&at("here"))?, batched(&at("there"))?);
    let space = here.create_space("items")?;
    space.grant(Subject::Key(there.author()?), Permission::Write(Strength(5)))?;
    let mut app = file(&at("here.db"), "")?;
    insert(&mut app, count)?;
    let mut rows = Rows::attach(at("here.db"), &space, Options::default())?;
    rows.sync()?;
    let mut bundle = Vec::new();
    space.export(&mut bundle, &mut |_| {})?;
    there.import(&mut &*bundle, &mut |_| {})?;
    let app_there = file(&at("there.db"), "")?;
    let mut rows_there = Rows::attach(at("there.db"), &there.space("items")?, Options::default())?;
    rows_there.sync()?;
    for (app, rows, who) in
        [(&app, &mut rows, "that has them"), (&app_there, &mut rows_there, "that got them")]
    {
        let mut took = Vec::new();
        for column in ["more TEXT", "color TEXT NOT NULL DEFAULT 'white'", "size INTEGER DEFAULT 5"] {
            let adding = || {
                app.execute(&format!("ALTER TABLE item ADD COLUMN {column}"), [])?;
                let done = rows.sync()?;
                match done.flushed.rows + done.applied.inserted + done.applied.updated {
                    0 => Ok(()),
                    touched => Err(format!("{touched} rows were touched").into()),
                }
            };
            took.push(spent(adding)?.1.wall.as_secs_f64() * 1e3);
        }
        let worst = took.iter().copied().fold(0.0, f64::max);
        results.add(
            format!("P13 ADD COLUMN at {} rows, device {who}", number(count as f64)),
            worst,
            "ms",
            Goal::AtMost(50.0),
            format!("the slowest of three, wall; the quickest {:.1}; no row is touched", least(took)),
        );
    }
    Ok(())
}
