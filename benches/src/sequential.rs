//! P1: one commit after the other, flushed in batches; and whether a long history makes them dearer.

use std::time::Duration;

use driftless::DocumentId;

use crate::fixture::{BATCH, Place, batched, edit, notes, small};
use crate::stopwatch::{Failure, Spent, least, median, quickest, spent};
use crate::table::{Goal, Results};

const COMMITS: usize = 10_000;

#[derive(Clone, Copy)]
enum On {
    OneEach,
    OneForAll,
}

// CPU microseconds per commit, batch by batch; and the first so many commits as a whole.
struct Run {
    batches: Vec<f64>,
    whole: Spent,
}

/// One document each, then all on one.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    for (on, name) in [(On::OneEach, "one document each"), (On::OneForAll, "all on one document")] {
        let long = place.size(10 * COMMITS, 3 * COMMITS);
        let mut runs = Vec::new();
        for at in 0..place.runs() {
            // One long run is enough to see growth.
            runs.push(commits(place, on, if at == 0 { long } else { COMMITS })?);
        }
        let best = quickest(runs.iter().map(|run| run.whole));
        results.add(
            format!("P1 10,000 commits, {name}"),
            best.cpu_rate(COMMITS),
            "/s",
            Goal::AtLeast(10_000.0),
            format!("CPU; {:.0}/s of wall time, flushed every {BATCH}", best.wall_rate(COMMITS)),
        );
        let thousand = 1000 / BATCH;
        let middle = |run: &Run, end: usize| median(run.batches[end - thousand..end].to_vec());
        let first = least(runs.iter().map(|run| middle(run, thousand)));
        let last = least(runs.iter().map(|run| middle(run, COMMITS / BATCH)));
        results.add(
            format!("P1 last thousand : first, {name}"),
            last / first,
            "x",
            Goal::AtMost(1.2),
            format!("{last:.1} : {first:.1} us"),
        );
        let end = least(runs.first().map(|run| middle(run, run.batches.len())));
        results.add(
            format!("P14 thousand up to {long} : up to {COMMITS}, {name}"),
            end / last,
            "x",
            Goal::AtMost(1.2),
            format!("{end:.1} : {last:.1} us"),
        );
    }
    Ok(())
}

fn commits(place: &Place, on: On, count: usize) -> Result<Run, Failure> {
    let folder = place.folder()?;
    let database = batched(folder.path())?;
    let notes = notes(&database)?;
    let one = notes.insert(small(0))?.id;
    database.flush()?;
    let mut run = Run { batches: Vec::new(), whole: Spent::default() };
    for first in (0..count).step_by(BATCH) {
        // Made before the watch starts.
        let work: Vec<_> = (first..first + BATCH)
            .map(|number| Ok((small(number), edit(number)?)))
            .collect::<Result<_, Failure>>()?;
        let (_, batch) = spent(|| {
            for (map, operators) in work {
                match on {
                    On::OneEach => drop::<DocumentId>(notes.insert(map)?.id),
                    On::OneForAll => drop(notes.edit(&one, operators)?),
                }
            }
            Ok(database.flush()?)
        })?;
        run.batches.push(batch.cpu_each(BATCH));
        if first < COMMITS {
            run.whole.cpu += batch.cpu;
            run.whole.wall += batch.wall;
        }
    }
    debug_assert!(run.whole.cpu > Duration::ZERO);
    Ok(run)
}
