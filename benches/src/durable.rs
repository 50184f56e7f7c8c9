//! P2: commits that are on the disk before the call returns, beside SQLite alone, and many writers together.

use driftless::Database;

use crate::fixture::{self, Place, insert_each, notes, small};
use crate::raw::Image;
use crate::stopwatch::{Failure, Spent, median, spent};
use crate::table::{Goal, Results, number};

const WRITERS: usize = 32;

/// In turns with SQLite, so that both meet the same disk.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let (rounds, each) = (place.size(30, 6), 50);
    let source = place.folder()?;
    let fill = |count| {
        let database = fixture::batched(source.path())?;
        insert_each(&notes(&database)?, count).map(drop)
    };
    fill(rounds * each)?;
    let before = Image::read(source.path())?;
    fill(1)?;
    let every = before.step_to(&Image::read(source.path())?);
    let steps = before.steps(rounds * each, &every);

    let (ours, theirs) = (place.folder()?, place.folder()?);
    let raw = before.empty_copy(theirs.path())?;
    let database = Database::open(ours.path())?;
    let notes = notes(&database)?;
    let (mut own, mut alone): (Vec<Spent>, Vec<Spent>) = (Vec::new(), Vec::new());
    for round in steps.chunks(each) {
        alone.push(spent(|| round.iter().try_for_each(|step| raw.write(step)))?.1);
        let maps: Vec<_> = (0..each).map(small).collect();
        own.push(spent(|| maps.into_iter().try_for_each(|map| Ok(notes.insert(map).map(drop)?)))?.1);
    }
    let wall = |runs: &[Spent]| median(runs.iter().map(|run| run.wall_rate(each)).collect());
    let cpu = |runs: &[Spent]| median(runs.iter().map(|run| run.cpu_each(each)).collect());
    let (rate, reference) = (wall(&own), wall(&alone));
    let (rows, bytes) = steps.last().map(|step| step.size()).unwrap_or_default();
    results.add(
        "P2 durable commits : SQLite alone, same rows",
        100.0 * rate / reference,
        "%",
        Goal::AtLeast(90.0),
        format!("{rate:.0} : {reference:.0} /s; {rows} rows, {bytes} B"),
    );
    results.add(
        "P2 CPU of a durable commit",
        cpu(&own),
        "us",
        Goal::Shown,
        format!("SQLite alone {} us", number(cpu(&alone))),
    );

    let each = place.size(50, 10);
    let (_, together) = spent(|| {
        std::thread::scope(|scope| {
            let write = || (0..each).try_for_each(|at| notes.insert(small(at)).map(drop));
            let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
            for writer in writers {
                writer.join().map_err(|_| "a writer stopped")??;
            }
            Ok(())
        })
    })?;
    let group = together.wall_rate(WRITERS * each);
    results.add(
        format!("P2 {WRITERS} writers : one"),
        group / rate,
        "x",
        Goal::AtLeast(5.0),
        format!("{group:.0} commits/s"),
    );
    Ok(())
}
