//! The crash sweep: the power goes after each write, flush, truncation, creation and deletion of the workload, and again
//! while what it left is recovered.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use driftless::Durability;

use crate::disk::Files;
use crate::image::{MODES, Replay};
use crate::recorded::{Pen, Recording, VERIFY, allowed};
use crate::verify::dump;
use crate::workload::{fields, notes};
use crate::{Dice, is_full, say};

fn mark(files: &Files, stands: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    (files, stands).hash(&mut hasher);
    hasher.finish()
}

#[test]
fn a_crash_anywhere_loses_nothing_that_was_acknowledged() {
    let pen = Pen::new();
    let Recording { start, log, stands, .. } = pen.record(1);
    pen.hand.set(stands.len());
    let sample = if is_full() { 1 } else { log.len() / 40 + 1 };
    let second = if is_full() { 2000 } else { 24 };
    let (mut dice, mut seen) = (Dice(1), HashSet::new());
    let (mut points, mut images, mut pairs) = (0, 0, 0);
    let mut replay = Replay::new(&start);
    for at in 0..=log.len() {
        if at > 0 {
            replay.advance(&log[at - 1]);
        }
        if at % sample != 0 {
            continue;
        }
        points += 1;
        for mode in MODES {
            let left = replay.crash(mode, &mut dice);
            let stands = allowed(&stands, at);
            images += 1;
            if !seen.insert(mark(&left, stands[0].acknowledged)) {
                continue;
            }
            let place =
                || format!("crash after event {at} of {} ({mode:?}, after {:?})", log.len(), stands[0].after);
            if let Err(why) = pen.check(&left, stands, VERIFY, &place) {
                panic!("{why}");
            }
            // Again, inside the recovery of what was left.
            let chance = log.len() / sample * MODES.len() / (second / 4).max(1);
            if pairs < second && dice.below(chance.max(1)) == 0 {
                pairs += crash_again(&pen, &left, at, stands, &mut dice);
            }
        }
    }
    say(&format!(
        "crash sweep: {points} crash points of {} events, {images} images in {} modes, {pairs} pairs, all passed",
        log.len(),
        MODES.len()
    ));
}

// Recovers, writes and closes on a recording disk, and crashes at up to some of the events of that.
fn crash_again(
    pen: &Pen,
    left: &Files,
    at: usize,
    before: &[crate::recorded::Stand],
    dice: &mut Dice,
) -> usize {
    pen.disk.load(left);
    let db = pen.open(2000, Durability::Each).unwrap();
    let found = dump(&db).unwrap();
    let recovered = before.iter().find(|stand| *stand.dump == found).unwrap().clone();
    let mut stands = vec![recovered];
    stands[0].acknowledged = 0;
    if let Ok(notes) = notes(&db) {
        notes.insert(fields(r#"{"between": "crashes"}"#)).unwrap();
        let mut stand = stands[0].clone();
        stand.acknowledged = pen.disk.events();
        stand.dump = dump(&db).unwrap().into();
        stands.push(stand);
    }
    drop(db);
    let log = pen.disk.log();
    let mut replay = Replay::new(left);
    let wanted: HashSet<usize> = (0..8).map(|_| dice.below(log.len() + 1)).collect();
    for second in 0..=log.len() {
        if second > 0 {
            replay.advance(&log[second - 1]);
        }
        if !wanted.contains(&second) {
            continue;
        }
        let mode = MODES[dice.below(MODES.len())];
        let again = replay.crash(mode, dice);
        let allowed = allowed(&stands, second);
        // What was sent after the first stand only: others know that, and no more.
        let place = || format!("crash after event {at}, and after event {second} of the recovery ({mode:?})");
        if let Err(why) = pen.check(&again, allowed, VERIFY, &place) {
            panic!("{why}");
        }
    }
    wanted.len()
}
