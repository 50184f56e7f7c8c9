//! Runs the simulator. `--mesh` is databases that sync by themselves over bad lines, `--bundles` those that exchange
//! bundles while a naive reference says what must come of it; without either it is both. `--seed N` is the first seed;
//! `--seeds N` runs so many of them, `--forever` all from there on. The same seed does the same, everywhere.

use std::io::Write;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use driftless_sim::seeds::{Coverage, each};
use driftless_sim::{MESH_STEPS, STEPS, run, run_mesh};

const NEWS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let (mesh, bundles) = (given("--mesh"), given("--bundles"));
    let (mesh, bundles) = (mesh || !bundles, bundles || !mesh);
    // Without end it begins somewhere else each time.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let forever = given("--forever");
    let first = number("--seed").unwrap_or(if forever { now << 16 } else { 1 });
    let seeds = if forever { None } else { Some(number("--seeds").unwrap_or(1)) };
    let steps = number("--steps");

    let begun = Instant::now();
    let coverage = Mutex::new((Coverage::default(), begun));
    let say = |line: String| _ = writeln!(std::io::stdout(), "{line}");
    let again = |which: &str, seed: u64, fault: String| {
        let steps = steps.map_or(String::new(), |steps| format!(" --steps {steps}"));
        format!("{fault}\n  again: cargo run -p driftless-sim -- --{which} --seed {seed}{steps}")
    };
    let failures = each(first, seeds, |seed| {
        let (mut lines, mut report) = (Vec::new(), None);
        if bundles {
            let trace = run(seed, steps.unwrap_or(STEPS)).map_err(|fault| again("bundles", seed, fault))?;
            lines.push(format!("seed {seed}, bundles: {trace}"));
        }
        if mesh {
            let done =
                run_mesh(seed, steps.unwrap_or(MESH_STEPS)).map_err(|fault| again("mesh", seed, fault))?;
            lines.push(format!("seed {seed}, mesh: {} {:?}", done.trace, done.faults));
            report = Some(done);
        }
        let mut held = coverage.lock().unwrap_or_else(PoisonError::into_inner);
        let (coverage, last) = &mut *held;
        match report {
            Some(report) => coverage.add(seed, &report),
            None => coverage.runs += 1,
        }
        if seeds == Some(1) {
            lines.into_iter().for_each(say);
        } else if last.elapsed() >= NEWS {
            *last = Instant::now();
            let slowest = coverage.slowest.0 / 1000;
            let (runs, time) = (coverage.runs, begun.elapsed().as_secs());
            say(format!("{time:>6} s: {runs} seeds, up to {seed}; all equal after at most {slowest} s"));
        }
        Ok(())
    });
    let (coverage, _) = coverage.into_inner().unwrap_or_else(PoisonError::into_inner);
    if seeds != Some(1) {
        say(format!("{coverage}"));
    }
    for (seed, fault) in &failures {
        say(format!("seed {seed} FAILED: {fault}"));
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
