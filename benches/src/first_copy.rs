//! P13, memory: an existing file with a million rows is attached, and copied to a device that has nothing: two processes,
//! each with its database on the disk, and what each of them held at most.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use driftless::{Database, Invite, Permission, Strength, Ticket};
use driftless_rows::{Options, Rows};
use rusqlite::Connection;

use crate::fixture::Place;
use crate::process::Process;
use crate::rows::{SCHEMA, insert};
use crate::stopwatch::Failure;
use crate::table::{Goal, Results, number};

/// The first argument of the process whose file has the rows.
pub(crate) const HERE: &str = "rows-here-for-a-bench";
/// The first argument of the process that gets them.
pub(crate) const THERE: &str = "rows-there-for-a-bench";
const MIB: f64 = 1024.0 * 1024.0;
const MOST: f64 = 128.0;
// As `driftless rows` has it.
const PAGES: u64 = 32 * 1024 * 1024;
const DONE: &str = "done";

/// A million rows; with `--quick` 50,000.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let count = place.size(1_000_000, 50_000);
    let folder = place.folder()?;
    let at = |name: &str| folder.path().join(name);
    let mut app = Connection::open(at("here.db"))?;
    app.execute_batch(SCHEMA)?;
    insert(&mut app, count)?;
    drop(app);
    let mut here = Process::start(&[HERE, &folder.path().display().to_string()])?;
    follow(&mut here, "of the device that has them", count, results)?;
    let ticket = here.hear()?;
    let mut there = Process::start(&[THERE, &folder.path().display().to_string()])?;
    there.tell(&ticket)?;
    follow(&mut there, "of the new device", count, results)?;
    report(&here, "of the device that has them, serving", count, String::new(), results)?;
    let rows = |name: &str| -> Result<(i64, i64), Failure> {
        let query = "SELECT count(*), sum(n) FROM item";
        Ok(Connection::open(at(name))?.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
    };
    assert_eq!(rows("here.db")?, rows("there.db")?);
    Ok(())
}

// Hears what a process has done until it is done; what each step took, and what the process held by then, is the note.
fn follow(process: &mut Process, who: &str, count: usize, results: &mut Results) -> Result<(), Failure> {
    let (mut steps, mut started) = (Vec::new(), Instant::now());
    loop {
        let said = process.hear()?;
        if said == DONE {
            return report(process, who, count, steps.join(", "), results);
        }
        let (took, peak) = (started.elapsed().as_secs_f64(), process.used()?.peak as f64 / MIB);
        steps.push(format!("{said} {took:.1} s, {peak:.0} MiB"));
        eprintln!("  {who}: {}", steps.last().map_or("", String::as_str));
        started = Instant::now();
    }
}

fn report(
    process: &Process,
    who: &str,
    count: usize,
    note: String,
    results: &mut Results,
) -> Result<(), Failure> {
    let peak = process.used()?.peak as f64 / MIB;
    let name = format!("P13 first copy of {} rows: memory {who}", number(count as f64));
    results.add(name, peak, "MiB", Goal::AtMost(MOST), note);
    Ok(())
}

/// The process that has the rows: attaches its file, commits its rows, prints a ticket, and serves until its input ends.
pub(crate) fn here(folder: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let database = Database::builder().page_memory(PAGES).open(folder.join("here"))?;
        let space = database.create_space("items")?;
        say("opened")?;
        let mut rows = Rows::attach(folder.join("here.db"), &space, Options::default())?;
        say("attached")?;
        rows.sync()?;
        say("synced")?;
        drop(rows);
        let network = database.network()?;
        let address = network.serve(&"http://127.0.0.1:0".parse()?).await?;
        let invite = Invite {
            permission: Permission::Write(Strength(5)),
            uses: None,
            expires: None,
            addresses: vec![address.to_string()],
        };
        say(DONE)?;
        say(&space.invite(invite)?.to_string())?;
        tokio::task::block_in_place(|| std::io::stdin().lines().for_each(drop));
        Ok(())
    })
}

/// The process that has nothing: joins by the ticket it is told, and writes what came into its file.
pub(crate) fn there(folder: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        let ticket: Ticket = line.trim().parse()?;
        Connection::open(folder.join("there.db"))?.execute_batch(SCHEMA)?;
        let database = Database::builder().page_memory(PAGES).open(folder.join("there"))?;
        say("opened")?;
        let network = database.network()?;
        network.join(&ticket).await?;
        network.close();
        drop(network);
        say("joined")?;
        let space = database.space("items")?;
        let mut rows = Rows::attach(folder.join("there.db"), &space, Options::default())?;
        rows.sync()?;
        say("applied")?;
        say(DONE)?;
        tokio::task::block_in_place(|| std::io::stdin().lines().for_each(drop));
        Ok(())
    })
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
