//! Disks that are full, or fail, at each call in turn: an error that says so, no acknowledgement of what is not there,
//! nothing more accepted until the database is opened again; and then everything acknowledged is there, also after the
//! power went, when nothing of what a failed flush left behind is.

use driftless::{Database, Durability, Error};

use crate::disk::{Disk, Fault, Files};
use crate::image::{Mode, Replay};
use crate::recorded::{Pen, Recording, Stand, VERIFY, examine};
use crate::verify::{Dump, documents, dump};
use crate::workload::{bundle, fields, notes};
use crate::{Dice, is_full, say};

// Of so many calls one is tried in a small run.
const SAMPLE: usize = 60;

// How the handle of a database that failed ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Killed,
}

struct Case<'r> {
    recording: &'r Recording,
    at: usize,
    // Before and after the step.
    stands: &'r [Stand; 2],
    calls: u64,
    fault: Fault,
    end: End,
}

// How the database stands after a step on a good disk, and how many calls there are that could fail.
fn on_a_good_disk(pen: &Pen, recording: &Recording, at: usize, fault: Fault) -> ([Stand; 2], u64) {
    let before = recording.stands[at].clone();
    let (session, place) = before.next;
    let session = &recording.sessions[session];
    pen.hand.set(at + 1);
    pen.disk.load(&before.files);
    pen.disk.arm(u64::MAX, fault);
    let db = pen.open(3000, session.durability).unwrap();
    session.steps[place].run(&db, &before.received).unwrap();
    let dump = dump(&db).unwrap().into();
    let told = db.space("home").ok().map(|space| bundle(&space).into());
    drop(db);
    let after = Stand { dump, told, ..recording.stands[at + 1].clone() };
    ([before, after], pen.disk.calls())
}

impl Case<'_> {
    // Opens, runs one step and closes on a disk that fails; whether it did.
    fn run(&self, pen: &Pen) -> Result<bool, String> {
        let [before, after] = self.stands;
        let (session, place) = before.next;
        let session = &self.recording.sessions[session];
        pen.hand.set(self.at + 1);
        pen.disk.load(&before.files);
        pen.disk.arm(self.calls, self.fault);
        let acknowledged = match pen.open(3000, session.durability) {
            Ok(db) => {
                let done = session.steps[place].run(&db, &before.received);
                let done = match done {
                    Ok(()) => true,
                    Err(error) => {
                        explicit(error)?;
                        refuses(&db, &[before, after])?;
                        false
                    }
                };
                if self.end == End::Killed {
                    pen.disk.arm(0, Fault::Gone);
                }
                drop(db);
                done
            }
            Err(error) => {
                explicit(error)?;
                false
            }
        };
        let struck = pen.disk.heal();
        if !struck {
            return Ok(false);
        }
        let allowed = if acknowledged { &self.stands[1..] } else { &self.stands[..] };
        // The same machine: what the program sees. Then the power goes: what the disk holds.
        let db = pen.open(3001, Durability::Each).map_err(|error| format!("does not open again: {error}"))?;
        let stands = examine(&db, allowed, VERIFY)?;
        let last = dump(&db).map_err(|error| error.to_string())?;
        pen.disk.arm(0, Fault::Gone);
        drop(db);
        pen.disk.heal();
        let left = cut(&pen.disk, &before.files);
        pen.disk.load(&left);
        let db = pen.open(3002, Durability::Each).map_err(|error| format!("does not open after: {error}"))?;
        let found = dump(&db).map_err(|error| error.to_string())?;
        same(&last, &found).map_err(|why| format!("after the power went, having stood {stands}: {why}"))?;
        Ok(true)
    }
}

// What a power cut leaves, if nothing that was not flushed arrives.
fn cut(disk: &Disk, start: &Files) -> Files {
    let mut replay = Replay::new(start);
    disk.log().iter().for_each(|event| replay.advance(event));
    replay.crash(Mode::Dropped, &mut Dice(1))
}

fn same(wanted: &Dump, found: &Dump) -> Result<(), String> {
    if wanted == found {
        return Ok(());
    }
    let missing: Vec<&String> = wanted.iter().filter(|line| !found.contains(line)).take(3).collect();
    Err(format!("what was acknowledged is not there: {missing:#?}"))
}

// An error that tells of the disk, and of nothing else.
fn explicit(error: Error) -> Result<(), String> {
    match error {
        Error::Io(_) | Error::Poisoned(_) => Ok(()),
        other => Err(format!("an error of the disk is told as {other:?}")),
    }
}

// After a failure nothing is accepted, and what is answered is right.
fn refuses(db: &Database, stands: &[&Stand]) -> Result<(), String> {
    match db.create_space("after the failure") {
        Err(Error::Poisoned(_)) => {}
        other => return Err(format!("goes on after a failure: {other:?}")),
    }
    if let Ok(home) = notes(db)
        && let Ok(written) = home.insert(fields("{}"))
    {
        return Err(format!("goes on after a failure: {written:?}"));
    }
    match documents(db) {
        Err(error) => explicit(error),
        Ok(found) if stands.iter().any(|stand| stand.dump.starts_with(&found)) => Ok(()),
        Ok(_) => Err("a wrong answer after a failure".into()),
    }
}

#[test]
fn a_disk_that_fails_at_any_call_is_told_and_loses_nothing() {
    let pen = Pen::new();
    let recording = pen.record(1);
    let (mut points, mut count) = ([0; 3], 0);
    for at in 0..recording.stands.len() - 1 {
        for (kind, fault) in [Fault::Full, Fault::Once, Fault::Gone].into_iter().enumerate() {
            let (stands, all) = on_a_good_disk(&pen, &recording, at, fault);
            let case = |calls, end| Case { recording: &recording, at, stands: &stands, calls, fault, end };
            for calls in 0..all {
                count += 1;
                let ends = match (is_full(), count % (2 * SAMPLE)) {
                    (true, _) if fault == Fault::Once => &[End::Closed, End::Killed][..],
                    (true, _) if count % 3 == 0 => &[End::Killed],
                    (true, _) | (false, 0) => &[End::Closed],
                    (false, SAMPLE) => &[End::Killed],
                    _ => continue,
                };
                for end in ends {
                    let struck = case(calls, *end).run(&pen).unwrap_or_else(|why| {
                        let after = recording.stands[at].after;
                        panic!("{fault:?} at call {calls} of the step after {after:?} ({end:?}): {why}")
                    });
                    points[kind] += usize::from(struck);
                }
            }
        }
    }
    say(&format!(
        "broken disks: {} calls on a full disk, {} calls that fail once, {} calls from which all fail, all passed",
        points[0], points[1], points[2]
    ));
}
