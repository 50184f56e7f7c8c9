//! Many seeds, in the time that a test may take. `just sim 1000` runs more of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 150;
const STEPS: u64 = 150;

#[test]
fn whatever_happens_replicas_that_have_met_are_equal_and_right() {
    let next = AtomicU64::new(1);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed > SEEDS {
                        break;
                    }
                    let done = catch_unwind(AssertUnwindSafe(|| driftless_sim::run(seed, STEPS)));
                    let fault = done.map_or(Some("it panicked".into()), Result::err);
                    failures.lock().unwrap().extend(fault.map(|fault| format!("seed {seed}: {fault}")));
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "run with `cargo run -p driftless-sim -- --seed N`:\n{}",
        failures.join("\n")
    );
}

#[test]
fn a_seed_does_the_same_every_time() {
    for seed in [3, 4] {
        assert_eq!(driftless_sim::run(seed, 60), driftless_sim::run(seed, 60));
    }
}
