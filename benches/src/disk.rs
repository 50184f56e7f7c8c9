//! P12: bytes in the file for each small commit, which tables they are in, and what packing cold history leaves.

use std::path::Path;

use driftless::FieldPath;

use crate::fixture::{self, Place, batched, insert_each, notes};
use crate::stopwatch::{Failure, spent};
use crate::table::{Goal, Results, number};

/// Without and with an index on the field.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let (few, many) = (place.size(10_000, 2_000), place.size(100_000, 20_000));
    for (index, name) in [(false, ""), (true, ", with an index")] {
        let folder = place.folder()?;
        let mut sizes = Vec::new();
        for count in [few, many - few] {
            let database = batched(folder.path())?;
            let notes = notes(&database)?;
            if index {
                notes.create_index(&FieldPath::parse("title")?)?;
            }
            insert_each(&notes, count)?;
            drop((notes, database));
            sizes.push(fixture::bytes_on_disk(folder.path())? as f64);
        }
        let (first, last) = (sizes[0], sizes[1]);
        let each = (last - first) / (many - few) as f64;
        let parts = if index { String::new() } else { parts(&trees(folder.path())?, many, &[]) };
        results.add(format!("P12 bytes per small commit{name}"), each, "B", Goal::AtMost(600.0), parts);
        if !index {
            results.add(
                format!("P14 bytes per commit up to {many} : up to {few}"),
                each / (first / few as f64),
                "x",
                Goal::AtMost(1.2),
                "the file after a checkpoint",
            );
            packed(folder.path(), results)?;
        }
    }
    Ok(())
}

// What the log takes per commit when all that is cold is in packs, and what reading it then costs.
fn packed(folder: &Path, results: &mut Results) -> Result<(), Failure> {
    let database = batched(folder)?;
    let space = notes(&database)?.space().clone();
    let commits = space.digest()?.commits as usize;
    let export = || Ok(space.export(&mut std::io::sink(), &mut |_| {})?);
    let (_, plain) = spent(export)?;
    let (done, packing) = spent(|| Ok(database.compact(&mut |_, _| {})?))?;
    let (_, reading) = spent(export)?;
    drop((space, database));
    let trees = trees(folder)?;
    let log = ["log", "body", "commit_id", "pack"];
    let bytes: f64 =
        trees.iter().filter(|(name, _)| log.contains(&name.as_str())).map(|(_, bytes)| bytes).sum();
    let packed = done.packed as usize;
    results.add(
        "P12 bytes of log per commit, cold history packed",
        bytes / commits as f64,
        "B",
        Goal::AtMost(120.0),
        format!(
            "{}; file {:.0} before, {:.0} after",
            parts(&trees, commits, &log),
            done.bytes_before as f64 / commits as f64,
            done.bytes_after as f64 / commits as f64
        ),
    );
    results.add("packing cold commits", packing.cpu_rate(packed), "/s", Goal::Shown, "CPU");
    results.add(
        "export of a packed log",
        reading.cpu_rate(commits),
        "/s",
        Goal::Shown,
        format!("CPU; not packed {}/s", number(plain.cpu_rate(commits))),
    );
    Ok(())
}

// The trees of the file with the bytes of their pages, the largest first.
fn trees(folder: &Path) -> Result<Vec<(String, f64)>, Failure> {
    let connection = fixture::sqlite(folder)?;
    let mut statement =
        connection.prepare("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY sum(pgsize) DESC")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

// Of these trees, bytes per commit.
fn parts(trees: &[(String, f64)], commits: usize, which: &[&str]) -> String {
    let shown = trees.iter().filter(|(name, _)| which.is_empty() || which.contains(&name.as_str()));
    let parts: Vec<String> =
        shown.take(8).map(|(name, bytes)| format!("{name} {:.0}", bytes / commits as f64)).collect();
    parts.join(", ")
}
