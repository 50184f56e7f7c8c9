//! What a first copy of many rows takes of memory: each side is a process of its own, which says what it held at most.
//! 50,000 rows by default, the million with `just rows`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::process::Command;

use driftless::{Database, Permission, Strength, Subject};
use driftless_rows::{Options, Rows};
use rusqlite::Connection;

const FOLDER: &str = "DRIFTLESS_ROWS_MEMORY";
const SIDE: &str = "DRIFTLESS_ROWS_SIDE";
const NAME: &str = "memory::a_first_copy_of_many_rows_takes_little_memory_on_both_sides";
const MIB: u64 = 1024 * 1024;

#[test]
fn a_first_copy_of_many_rows_takes_little_memory_on_both_sides() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return work(folder.as_ref(), &std::env::var(SIDE).unwrap());
    }
    if !Path::new("/proc/self/status").exists() {
        eprintln!("not run: what a process held at most is told by Linux alone");
        return;
    }
    // What is there whatever is copied, and the database's own pages, make up most of what the small copy takes.
    let (rows, most) =
        if std::env::var_os("DRIFTLESS_ROWS").is_some() { (1_000_000, 128) } else { (50_000, 96) };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let schema = "PRAGMA journal_mode = WAL; CREATE TABLE item(id TEXT PRIMARY KEY, title TEXT, body TEXT, n INTEGER);";
    let app = Connection::open(at("here.db")).unwrap();
    app.execute_batch(&format!(
        "{schema} WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows})
         INSERT INTO item SELECT lower(hex(randomblob(16))), 'item ' || n, lower(hex(randomblob(30))), n FROM s"
    ))
    .unwrap();
    drop(app);
    Connection::open(at("there.db")).unwrap().execute_batch(schema).unwrap();
    let here = Database::open(at("here")).unwrap();
    let there = Database::open(at("there")).unwrap();
    let space = here.create_space("items").unwrap();
    space.grant(Subject::Key(there.author().unwrap()), Permission::Write(Strength(3))).unwrap();
    drop((space, here, there));
    for side in ["here", "there"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(FOLDER, folder.path())
            .env(SIDE, side)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
        let peak = said.lines().find_map(|line| line.split("peak ").nth(1)).unwrap().trim();
        let peak: u64 = peak.parse::<u64>().unwrap() * 1024;
        eprintln!("{rows} rows, {side}: at most {} MiB", peak / MIB);
        assert!(peak < most * MIB, "{side} held {} MiB", peak / MIB);
    }
    let sum = |name: &str| -> (i64, i64) {
        let file = Connection::open(at(name)).unwrap();
        file.query_row("SELECT count(*), sum(n) FROM item", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(sum("here.db"), sum("there.db"));
}

fn work(folder: &Path, side: &str) {
    let database = Database::builder().page_memory(32 * MIB).open(folder.join(side)).unwrap();
    let bundle = folder.join("bundle");
    if side == "there" {
        database.import(&mut BufReader::new(File::open(&bundle).unwrap()), &mut |_| {}).unwrap();
    }
    let space = database.space("items").unwrap();
    let mut rows = Rows::attach(folder.join(format!("{side}.db")), &space, Options::default()).unwrap();
    rows.sync().unwrap();
    if side == "here" {
        space.export(&mut BufWriter::new(File::create(&bundle).unwrap()), &mut |_| {}).unwrap();
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let mut said = std::io::stdout().lock();
    writeln!(said, "peak {}", peak.trim().trim_end_matches(" kB")).unwrap();
}
