//! Many seeds, in the time that a test may take. `just sim 5000` runs more of them, `just sim` all.

use std::io::Write;
use std::sync::Mutex;

use driftless_sim::mesh::PATIENCE;
use driftless_sim::seeds::{Coverage, each};
use driftless_sim::{MESH_STEPS, STEPS, run, run_mesh};

const SEEDS: u64 = 150;
const MESHES: u64 = 1000;

/// Faults that must do something in at least so many of a hundred runs; else they are not tried.
const FAULTS: [(&str, u64); 27] = [
    ("loss", 5),
    ("repetition", 5),
    ("reordering", 5),
    ("garbling", 5),
    ("delay", 5),
    ("partition", 5),
    ("one-sided partition", 5),
    ("swizzle", 5),
    ("broken connection", 5),
    ("crash", 5),
    ("lost writes", 5),
    ("slow disk", 5),
    ("damaged page", 5),
    ("clock step", 5),
    ("clock drift", 5),
    ("stopped process", 5),
    ("sleeping machine", 5),
    ("restored backup", 5),
    ("clone", 5),
    ("grant", 5),
    ("revocation", 30),
    ("join by ticket", 5),
    ("other interval", 5),
    ("sync off", 5),
    ("hostile peer", 5),
    ("hostile session", 5),
    ("look at a member", 5),
];

fn passes(which: &str, seeds: u64, run: impl Fn(u64) -> Result<(), String> + Sync) {
    let failures = each(1, Some(seeds), run);
    let failures = failures.iter().map(|(seed, fault)| format!("seed {seed}: {fault}"));
    let failures: Vec<String> = failures.collect();
    let again = format!("run with `cargo run -p driftless-sim -- --{which} --seed N`");
    assert!(failures.is_empty(), "{again}:\n{}", failures.join("\n"));
}

#[test]
fn whatever_happens_replicas_that_have_met_are_equal_and_right() {
    passes("bundles", SEEDS, |seed| run(seed, STEPS).map(drop));
}

#[test]
fn databases_that_sync_by_themselves_come_to_the_same_whatever_happens_on_the_way() {
    let coverage = Mutex::new(Coverage::default());
    passes("mesh", MESHES, |seed| {
        let report = run_mesh(seed, MESH_STEPS)?;
        coverage.lock().unwrap().add(seed, &report);
        Ok(())
    });
    let coverage = coverage.into_inner().unwrap();
    // Past the test harness, which shows what tests print only when they fail.
    writeln!(std::io::stderr(), "{coverage}").unwrap();
    for (fault, least) in FAULTS {
        let runs = coverage.runs_with(fault);
        assert!(runs * 100 >= MESHES * least, "{fault} did something in {runs} of {MESHES} runs only");
    }
    assert!(coverage.slowest.0 <= PATIENCE, "the slowest took {:?}", coverage.slowest);
    let (lacked, carried) = coverage.caught_up;
    assert!(carried * 5 <= lacked * 6, "{carried} commits were sent to those who lacked {lacked}");
}

#[test]
fn a_seed_does_the_same_every_time() {
    for seed in [3, 4] {
        assert_eq!(run(seed, 60), run(seed, 60));
        assert_eq!(run_mesh(seed, 40), run_mesh(seed, 40));
    }
}
