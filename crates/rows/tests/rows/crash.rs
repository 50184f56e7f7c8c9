//! A process that is killed at any moment loses nothing and does nothing twice. The child is this test's own program.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::App as Connection;
use crate::shop::dump;
use driftless::{Database, Permission, Space, Strength, Subject};
use driftless_rows::{Options, PerColumn, Policy, Rows, Tables};

const FOLDER: &str = "DRIFTLESS_ROWS_CRASH";

struct Two {
    databases: Vec<Database>,
    rows: Vec<Rows>,
    apps: Vec<Connection>,
}

fn open(folder: &std::path::Path) -> Two {
    let databases: Vec<Database> =
        (0..2).map(|at| Database::open(folder.join(format!("db{at}"))).unwrap()).collect();
    let mut apps = Vec::new();
    let mut rows = Vec::new();
    for (at, database) in databases.iter().enumerate() {
        let path = folder.join(format!("shop{at}.db"));
        apps.push(Connection::open(&path).unwrap());
        rows.push(Rows::open(&path, database).unwrap());
    }
    Two { databases, rows, apps }
}

fn make(folder: &std::path::Path) {
    let first = Database::open(folder.join("db0")).unwrap();
    let space = first.create_space("s").unwrap();
    let second = Database::open(folder.join("db1")).unwrap();
    space.grant(Subject::Key(second.author().unwrap()), Permission::Write(Strength(3))).unwrap();
    carry(&space, &second);
    for (at, space) in [space, second.space("s").unwrap()].iter().enumerate() {
        let path = folder.join(format!("shop{at}.db"));
        let app = Connection::open(&path).unwrap();
        app.execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER); CREATE TABLE done(n INTEGER);",
        )
        .unwrap();
        if at == 0 {
            app.execute_batch("INSERT INTO t VALUES('sum', 0)").unwrap();
        }
        let mut options = Options::default();
        options.tables = Tables::Named(vec!["t".into()]);
        options.columns = PerColumn::default().with("t", "n", Policy::Counter);
        options.capture = crate::CAPTURE;
        Rows::attach(&path, space, options).unwrap().sync().unwrap();
        if at == 0 {
            carry(space, &second);
        }
    }
}

fn carry(from: &Space, to: &Database) {
    let mut bundle = Vec::new();
    from.export(&mut bundle, &mut |_| {}).unwrap();
    to.import(&mut &*bundle, &mut |_| {}).unwrap();
}

fn exchange(two: &Two) {
    for (from, to) in [(0, 1), (1, 0)] {
        carry(&two.databases[from].space("s").unwrap(), &two.databases[to]);
    }
}

#[test]
fn whatever_is_killed_when_nothing_is_lost_and_nothing_happens_twice() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return work(folder.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let kills = if std::env::var_os("DRIFTLESS_ROWS").is_some() { 200 } else { 12 };
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crash::whatever_is_killed_when_nothing_is_lost_and_nothing_happens_twice",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Some steps on, and then a moment that is another each time.
        let said =
            lines.by_ref().map_while(Result::ok).filter(|line| line.starts_with("step")).nth(1 + kill % 5);
        assert!(said.is_some(), "the child ended by itself");
        for _ in 0..(kill * 7919) % 40_000 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut two = open(folder.path());
    for _ in 0..3 {
        for rows in &mut two.rows {
            rows.sync().unwrap();
        }
        exchange(&two);
    }
    for rows in &mut two.rows {
        rows.sync().unwrap();
        assert_eq!(rows.audit().unwrap(), 0);
    }
    let one = |app: &Connection, query: &str| app.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    let done: i64 = two.apps.iter().map(|app| one(app, "SELECT count(*) FROM done")).sum();
    for app in &two.apps {
        assert_eq!(one(app, "SELECT n FROM t WHERE id = 'sum'"), done);
        assert_eq!(one(app, "SELECT count(*) FROM t"), done + 1);
    }
    let rows =
        |app: &Connection| dump(app).into_iter().filter(|line| line.starts_with("t:")).collect::<Vec<_>>();
    assert_eq!(rows(&two.apps[0]), rows(&two.apps[1]));
    eprintln!("{done} transactions, {kills} kills");
    assert!(done >= kills as i64);
}

// Until somebody kills it: both applications count, both files are exchanged.
fn work(folder: &std::path::Path) {
    let mut two = open(folder);
    for step in 0u64.. {
        for at in 0..2 {
            two.apps[at]
                .execute_batch(
                    "BEGIN IMMEDIATE; UPDATE t SET n = n + 1 WHERE id = 'sum'; INSERT INTO t(n) VALUES(0); INSERT INTO done VALUES(1); COMMIT",
                )
                .unwrap();
            let mut said = std::io::stdout().lock();
            writeln!(said, "step {step}").unwrap();
            drop(said);
            two.rows[at].sync().unwrap();
        }
        exchange(&two);
    }
}
