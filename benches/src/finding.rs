//! Searching 100,000 documents, with and without an index.

use driftless::{Collection, FieldPath, Filter, Map, Value};

use crate::fixture::{Place, batched, insert_all, notes, small};
use crate::stopwatch::{Failure, least, spent};
use crate::table::{Goal, Results, number};

const MATCHES: usize = 100;

/// A filter that a hundred documents match, in a small and in a large collection.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let many = place.size(100_000, 20_000);
    let few = measure(place, many / 10)?;
    let all = measure(place, many)?;
    let name = number(many as f64);
    results.add(
        format!("find in {name} documents, no index"),
        all.scan / 1000.0,
        "ms",
        Goal::AtMost(150.0),
        format!("CPU; {MATCHES} matches, {} documents/s", number(many as f64 / all.scan * 1e6)),
    );
    results.add(
        format!("find in {name} documents, index"),
        all.indexed,
        "us",
        Goal::AtMost(2000.0),
        format!("CPU; {MATCHES} matches, {:.1} us each", all.indexed / MATCHES as f64),
    );
    results.add(
        format!("P14 find with index in {name} : a tenth"),
        all.indexed / few.indexed,
        "x",
        Goal::AtMost(1.2),
        format!("{:.0} : {:.0} us", all.indexed, few.indexed),
    );
    results.add(
        format!("make an index over {name} documents"),
        many as f64 / all.build * 1e6,
        "documents/s",
        Goal::Shown,
        "CPU",
    );
    Ok(())
}

// CPU microseconds.
struct Measured {
    scan: f64,
    build: f64,
    indexed: f64,
}

fn measure(place: &Place, documents: usize) -> Result<Measured, Failure> {
    let folder = place.folder()?;
    let database = batched(folder.path())?;
    let notes = notes(&database)?;
    let groups = documents / MATCHES;
    let map = |number: usize| -> Map {
        let mut map = small(number);
        map.insert("group", Value::I64((number % groups) as i64));
        map
    };
    insert_all(&notes, documents, map)?;
    let scan = best_find(&notes, groups, 3)?;
    let (_, build) = spent(|| {
        notes.create_index(&FieldPath::parse("group")?)?;
        Ok(database.flush()?)
    })?;
    let indexed = best_find(&notes, groups, 100)?;
    Ok(Measured { scan, build: build.cpu_each(1), indexed })
}

fn best_find(notes: &Collection, groups: usize, times: usize) -> Result<f64, Failure> {
    let mut runs = Vec::new();
    for at in 0..times {
        let filter = Filter::parse(&format!(r#"{{"group": {}}}"#, at % groups))?;
        let (found, took) = spent(|| Ok(notes.find(filter).run()?))?;
        if found.len() != MATCHES {
            return Err(format!("{} documents instead of {MATCHES}", found.len()).into());
        }
        runs.push(took.cpu_each(1));
    }
    Ok(least(runs))
}
