//! A space as a bundle: one-op commits by four authors, written out and taken into an empty database.

use driftless::{Permission, Space, Strength, Subject};

use crate::fixture::{Place, batched, in_memory, insert_each, notes};
use crate::stopwatch::{Failure, quickest, spent};
use crate::table::{Goal, Results, number};

pub(crate) const AUTHORS: usize = 4;
const ROUNDS: usize = 5;

/// Every signature that is needed is verified; the import is durable.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let commits = place.size(100_000, 10_000);
    eprintln!("  writing {} commits by {AUTHORS} authors", number(commits as f64));
    let space = written_by_many(in_memory()?, commits)?;
    let name = number(commits as f64);
    let mut bytes = Vec::new();
    let (_, exporting) = spent(|| Ok(space.export(&mut bytes, &mut |_| {})?))?;
    results.add(format!("export of {name} commits"), exporting.cpu_rate(commits), "/s", Goal::Shown, "CPU");
    let (mut runs, mut signatures) = (Vec::new(), 0);
    for _ in 0..place.size(2, 1) {
        let folder = place.folder()?;
        let database = driftless::Database::open(folder.path())?;
        let (done, took) = spent(|| Ok(database.import(&mut bytes.as_slice(), &mut |_| {})?))?;
        if done.refused + done.held + done.void + done.wanted > 0 || (done.applied as usize) < commits {
            return Err(format!("not everything was taken: {done:?}").into());
        }
        signatures = done.signatures;
        runs.push(took);
    }
    let best = quickest(runs);
    results.add(
        format!("import of {name} commits by {AUTHORS} authors"),
        best.cpu_rate(commits),
        "/s",
        Goal::AtLeast(50_000.0),
        format!("CPU; {:.0}/s of wall time; the goal is that of P5", best.wall_rate(commits)),
    );
    results.add(
        "import: commits per verified signature",
        commits as f64 / signatures as f64,
        "",
        Goal::AtLeast(32.0),
        format!(
            "{signatures} signatures; a bundle has {:.0} B per commit",
            bytes.len() as f64 / commits as f64
        ),
    );
    // A second time, nothing is new.
    let folder = place.folder()?;
    let database = batched(folder.path())?;
    database.import(&mut bytes.as_slice(), &mut |_| {})?;
    let (_, again) = spent(|| Ok(database.import(&mut bytes.as_slice(), &mut |_| {})?))?;
    results.add(format!("import of {name} known commits"), again.cpu_rate(commits), "/s", Goal::Shown, "CPU");
    Ok(())
}

// Each author writes a part, then all hear of it, and so on.
pub(crate) fn written_by_many(first: driftless::Database, commits: usize) -> Result<Space, Failure> {
    let part = commits / (AUTHORS * ROUNDS);
    let space = notes(&first)?.space().clone();
    let mut others = Vec::new();
    for _ in 1..AUTHORS {
        let database = in_memory()?;
        space.grant(Subject::Key(database.author()?), Permission::Write(Strength(1)))?;
        others.push(database);
    }
    let send = |from: &Space, to: &driftless::Database| -> Result<(), Failure> {
        let mut bytes = Vec::new();
        from.export(&mut bytes, &mut |_| {})?;
        to.import(&mut bytes.as_slice(), &mut |_| {})?;
        Ok(())
    };
    for _ in 0..ROUNDS {
        for other in &others {
            send(&space, other)?;
            let notes = notes(other)?;
            insert_each(&notes, part)?;
            send(notes.space(), &first)?;
        }
        insert_each(&notes(&first)?, part)?;
    }
    Ok(space)
}
