//! Runs the simulator: `--seed N --steps N` for one run, `--seeds N` for the seeds from `--seed` on. Prints what each
//! run did as a digest; the same seed prints the same.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (first, seeds, steps) = (number("--seed", 1), number("--seeds", 1), number("--steps", 150));
    let mesh = arguments.iter().any(|argument| argument == "--mesh");
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
                format!("seed {seed} FAILED: {fault}")
            }
        };
        if writeln!(out, "{line}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
