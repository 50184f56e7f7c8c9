//! Many seeds, in the time that a test may take. `just sim 1000` runs more of them.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 150;
const STEPS: u64 = 150;
const MESHES: u64 = 1000;
const MESH_STEPS: u64 = 100;

#[test]
fn whatever_happens_replicas_that_have_met_are_equal_and_right() {
    each(SEEDS, "", |seed| driftless_sim::run(seed, STEPS).map(drop));
}

/// Faults that must do something in at least one of twenty runs; else they are not tried.
const FAULTS: [&str; 16] = [
    "loss",
    "repetition",
    "reordering",
    "garbling",
    "partition",
    "one-sided partition",
    "broken connection",
    "crash",
    "lost writes",
    "clock step",
    "clock drift",
    "stopped process",
    "restored backup",
    "clone",
    "revocation",
    "hostile peer",
];

#[test]
fn databases_that_sync_by_themselves_come_to_the_same_whatever_happens_on_the_way() {
    let counts = Mutex::new(BTreeMap::<&str, u64>::new());
    each(MESHES, "--mesh ", |seed| {
        let report = driftless_sim::run_mesh(seed, MESH_STEPS)?;
        let mut counts = counts.lock().unwrap();
        report.faults.keys().for_each(|fault| *counts.entry(fault).or_default() += 1);
        Ok(())
    });
    let counts = counts.into_inner().unwrap();
    println!("faults that did something, in so many of {MESHES} runs: {counts:?}");
    for fault in FAULTS {
        let runs = counts.get(fault).copied().unwrap_or_default();
        assert!(runs >= MESHES / 20, "{fault} did something in {runs} of {MESHES} runs only");
    }
}

fn each(seeds: u64, which: &str, run: impl Fn(u64) -> Result<(), String> + Sync) {
    let next = AtomicU64::new(1);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed > seeds {
                        break;
                    }
                    let done = catch_unwind(AssertUnwindSafe(|| run(seed)));
                    let fault = done.map_or(Some("it panicked".into()), Result::err);
                    failures.lock().unwrap().extend(fault.map(|fault| format!("seed {seed}: {fault}")));
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "run with `cargo run -p driftless-sim -- {which}--seed N`:\n{}",
        failures.join("\n")
    );
}

#[test]
fn a_seed_does_the_same_every_time() {
    for seed in [3, 4] {
        assert_eq!(driftless_sim::run(seed, 60), driftless_sim::run(seed, 60));
        assert_eq!(driftless_sim::run_mesh(seed, 40), driftless_sim::run_mesh(seed, 40));
    }
}
