//! Runs the simulator: `--seed N --steps N` for one run, `--seeds N` for the seeds from `--seed` on. Prints what each
//! run did as a digest; the same seed prints the same. `--mesh` is databases that sync by themselves over bad lines; without
//! it they exchange bundles, and a naive reference says what must come of it.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let mesh = arguments.iter().any(|argument| argument == "--mesh");
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (first, seeds, steps) =
        (number("--seed", 1), number("--seeds", 1), number("--steps", if mesh { 100 } else { 150 }));
    let mut failed = false;
    let mut out = std::io::stdout();
    for seed in first..first + seeds {
        let done = if mesh {
            driftless_sim::run_mesh(seed, steps).map(|report| format!("{} {:?}", report.trace, report.faults))
        } else {
            driftless_sim::run(seed, steps)
        };
        let line = match done {
            Ok(trace) => format!("seed {seed}: {trace}"),
            Err(fault) => {
                failed = true;
                let which = if mesh { " --mesh" } else { "" };
                format!(
                    "seed {seed} FAILED: {fault}\n  again: cargo run -p driftless-sim --{which} --seed {seed} --steps {steps}"
                )
            }
        };
        if writeln!(out, "{line}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
