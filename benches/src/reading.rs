//! P4: a document by its id in a long history, and opening such a database; and what a commit costs there.

use std::path::{Path, PathBuf};

use driftless::{Collection, Database, DocumentId};

use crate::fixture::{self, BATCH, Place, batched, insert_each, notes, small};
use crate::raw;
use crate::stopwatch::{Failure, least, median, spent};
use crate::table::{Goal, Results, number};

const READS: usize = 10_000;
// Enough that SQLite's log and cache reach their sizes.
const BATCHES: usize = 100;

/// At a tenth of the history, then at all of it.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let commits = place.size(1_000_000, 100_000);
    let measured = [measure(place, commits / 10)?, measure(place, commits)?];
    let [short, long] = &measured;
    let name = number(commits as f64);
    results.add(
        format!("P4 read by id at {name} commits"),
        long.read,
        "us",
        Goal::AtMost(20.0),
        "CPU; random documents of all",
    );
    let mut growth = |what: &str, long: f64, short: f64| {
        let note = format!("{long:.1} : {short:.1} us");
        results.add(format!("P14 {what} at {name} : a tenth"), long / short, "x", Goal::AtMost(1.2), note);
    };
    growth("read by id", long.read, short.read);
    growth("one commit", long.commit, short.commit);
    results.add(
        format!("SQLite alone, same rows, at {name} : a tenth"),
        long.raw_commit / short.raw_commit,
        "x",
        Goal::Shown,
        format!("{:.1} : {:.1} us", long.raw_commit, short.raw_commit),
    );
    results.add(
        format!("P4 cold open at {name} commits"),
        long.cold_open / 1000.0,
        "ms",
        Goal::AtMost(100.0),
        format!(
            "wall, to the first document read; warm {:.1} ms; cold at a tenth {:.1} ms",
            long.warm_open / 1000.0,
            short.cold_open / 1000.0
        ),
    );
    Ok(())
}

// Microseconds.
struct Measured {
    read: f64,
    commit: f64,
    raw_commit: f64,
    cold_open: f64,
    warm_open: f64,
}

fn measure(place: &Place, commits: usize) -> Result<Measured, Failure> {
    let folder = kept(place, commits)?;
    let ids = some_ids(&folder, READS)?;
    // As it is now, for SQLite to write the same rows to.
    let copy = place.folder()?;
    std::fs::copy(fixture::file(&folder), fixture::file(copy.path()))?;
    fixture::remember(&fixture::file(&folder))?;
    let database = batched(&folder)?;
    let notes = notes(&database)?;
    // The first time fills SQLite's cache as far as it goes.
    read(&notes, &ids)?;
    let mut reads = Vec::new();
    for _ in 0..3 {
        reads.push(spent(|| read(&notes, &ids))?.1.cpu_each(ids.len()));
    }
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        let (_, took) = spent(|| insert_each(&notes, BATCH))?;
        batches.push(took.cpu_each(BATCH));
    }
    drop((notes, database));
    let raw_commit = raw::again(&folder, copy.path(), BATCHES * BATCH, BATCH)?;
    // Last, because afterwards the file is not in the system's memory any more.
    let open = |cold: bool| {
        if cold {
            fixture::forget(&fixture::file(&folder))?;
        }
        let (_, took) = spent(|| read(&fixture::notes(&Database::open(&folder)?)?, &ids[..1]))?;
        Ok(took.wall.as_secs_f64() * 1e6)
    };
    let warm_open = median((0..5).map(|_| open(false)).collect::<Result<_, Failure>>()?);
    let cold_open = median((0..5).map(|_| open(true)).collect::<Result<_, Failure>>()?);
    Ok(Measured { read: least(reads), commit: median(batches), raw_commit, cold_open, warm_open })
}

fn read(from: &Collection, ids: &[DocumentId]) -> Result<(), Failure> {
    for id in ids {
        from.get(id)?.ok_or("a document is missing")?;
    }
    Ok(())
}

// A database with at least so many commits, made once and kept beside the others.
fn kept(place: &Place, commits: usize) -> Result<PathBuf, Failure> {
    let folder = place.folder.join(format!("kept-{commits}"));
    if !place.fresh && folder.exists() {
        let there = batched(&folder).and_then(|database| Ok(database.spaces()?));
        if there.is_ok_and(|spaces| spaces.iter().any(|space| space.commits as usize > commits)) {
            return Ok(folder);
        }
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    eprintln!("  building {} commits in {}", number(commits as f64), folder.display());
    let database = batched(&folder)?;
    let notes = notes(&database)?;
    for at in 0..commits {
        notes.insert(small(at))?;
        if at % 1000 == 0 {
            database.flush()?;
        }
    }
    database.flush()?;
    drop(database);
    Ok(folder)
}

fn some_ids(folder: &Path, count: usize) -> Result<Vec<DocumentId>, Failure> {
    let connection = fixture::sqlite(folder)?;
    let last: i64 = connection.query_row("SELECT max(number) FROM document", [], |row| row.get(0))?;
    let mut statement = connection.prepare("SELECT id FROM document WHERE number = ?1")?;
    let mut ids = Vec::with_capacity(count);
    for at in 0..count as i64 {
        // Steps of a large prime: everywhere, in no order.
        let number = 1 + (at * 2_147_483_647) % last;
        let text: String = statement.query_row([number], |row| row.get(0))?;
        ids.push(DocumentId::parse_text(&text)?);
    }
    Ok(ids)
}
