//! P3: one transaction of many inserts, beside SQLite alone.

use crate::fixture::{self, Place, batched, notes, small};
use crate::raw::{self, Image};
use crate::stopwatch::{Failure, Spent, least, quickest, spent};
use crate::table::{Goal, Results};

const DOCUMENTS: usize = 10_000;

/// Into an empty database, then again and again.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let (mut runs, mut alone): (Vec<Vec<Spent>>, Vec<f64>) = (Vec::new(), Vec::new());
    for at in 0..place.runs() {
        let (folder, copy) = (place.folder()?, place.folder()?);
        drop(notes(&batched(folder.path())?)?);
        std::fs::copy(fixture::file(folder.path()), fixture::file(copy.path()))?;
        let database = batched(folder.path())?;
        let times = if at == 0 { place.size(10, 3) } else { 2 };
        runs.push((0..times).map(|_| transaction(&database)).collect::<Result<_, _>>()?);
        drop(database);
        if at == 0 {
            alone = raw::batches(folder.path(), copy.path(), times * DOCUMENTS, DOCUMENTS)?;
        }
    }
    let best = quickest(runs.iter().filter_map(|run| run.first()).copied());
    results.add(
        "P3 one transaction of 10,000 inserts",
        best.cpu_rate(DOCUMENTS),
        "documents/s",
        Goal::AtLeast(60_000.0),
        format!("CPU; {:.0}/s of wall time", best.wall_rate(DOCUMENTS)),
    );
    results.add(
        "P3 SQLite alone, same rows",
        alone_once(place)?.cpu_rate(DOCUMENTS),
        "documents/s",
        Goal::Shown,
        "CPU, one transaction",
    );
    // The second, because the first also fills caches for the first time.
    let early = least(runs.iter().filter_map(|run| run.get(1)).map(|run| run.cpu_each(DOCUMENTS)));
    if let Some((late, times)) =
        runs.first().and_then(|run| Some((run.last()?.cpu_each(DOCUMENTS), run.len())))
    {
        results.add(
            format!("P14 transaction number {times} : number 2"),
            late / early,
            "x",
            Goal::AtMost(1.2),
            format!("{late:.1} : {early:.1} us per document"),
        );
        if let (Some(early), Some(late)) = (alone.get(1), alone.last()) {
            results.add(
                format!("SQLite alone, same rows, number {times} : number 2"),
                late / early,
                "x",
                Goal::Shown,
                format!("{late:.1} : {early:.1} us per document"),
            );
        }
    }
    Ok(())
}

fn transaction(database: &driftless::Database) -> Result<Spent, Failure> {
    let notes = notes(database)?;
    let maps: Vec<_> = (0..DOCUMENTS).map(small).collect();
    let (_, took) = spent(|| {
        let mut transaction = database.transaction();
        for map in maps {
            transaction.insert(&notes, map)?;
        }
        transaction.commit()?;
        Ok(database.flush()?)
    })?;
    Ok(took)
}

fn alone_once(place: &Place) -> Result<Spent, Failure> {
    let source = place.folder()?;
    drop(notes(&batched(source.path())?)?);
    let before = Image::read(source.path())?;
    transaction(&batched(source.path())?)?;
    let step = before.step_to(&Image::read(source.path())?);
    let mut runs = Vec::new();
    for _ in 0..place.runs() {
        let folder = place.folder()?;
        let raw = before.empty_copy(folder.path())?;
        runs.push(spent(|| raw.write(&step))?.1);
    }
    debug_assert!(fixture::file(source.path()).exists());
    Ok(quickest(runs))
}
