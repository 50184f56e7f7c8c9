//! P12: bytes in the file for each small commit, and which tables they are in.

use driftless::FieldPath;

use crate::fixture::{self, Place, batched, insert_each, notes};
use crate::stopwatch::Failure;
use crate::table::{Goal, Results};

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
        let parts = if index { String::new() } else { tables(folder.path(), many)? };
        results.add(format!("P12 bytes per small commit{name}"), each, "B", Goal::AtMost(600.0), parts);
        if !index {
            results.add(
                format!("P14 bytes per commit up to {many} : up to {few}"),
                each / (first / few as f64),
                "x",
                Goal::AtMost(1.2),
                "the file after a checkpoint",
            );
        }
    }
    Ok(())
}

// The largest trees of the file, in bytes of pages per commit.
fn tables(folder: &std::path::Path, commits: usize) -> Result<String, Failure> {
    let connection = fixture::sqlite(folder)?;
    let mut statement = connection
        .prepare("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY sum(pgsize) DESC LIMIT 8")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, f64>(1)?)))?;
    let parts: Vec<String> = rows
        .map(|row| row.map(|(name, bytes)| format!("{name} {:.0}", bytes / commits as f64)))
        .collect::<Result<_, _>>()?;
    Ok(parts.join(", "))
}
