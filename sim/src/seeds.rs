//! Many seeds on all cores, until one fails; and what became of all of them together.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::mesh::Report;
use crate::peer::Fault;

/// Runs the seeds from `first` on, so many or without end, on all cores. Stops soon after one has failed; gives those that
/// have, the smallest first.
pub fn each(
    first: u64,
    seeds: Option<u64>,
    run: impl Fn(u64) -> Result<(), Fault> + Sync,
) -> Vec<(u64, Fault)> {
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    let work = || {
        while !stop.load(Ordering::SeqCst) {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seeds.is_some_and(|seeds| seed >= first.saturating_add(seeds)) {
                return;
            }
            let done = catch_unwind(AssertUnwindSafe(|| run(seed)));
            if let Err(fault) = done.unwrap_or_else(|_| Err("it panicked".into())) {
                stop.store(true, Ordering::SeqCst);
                failures.lock().unwrap_or_else(PoisonError::into_inner).push((seed, fault));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort();
    failures
}

/// What runs did, all together.
#[derive(Debug, Default)]
pub struct Coverage {
    /// How many there were.
    pub runs: u64,
    /// In how many of them each fault did something, and how often in all.
    pub faults: BTreeMap<&'static str, (u64, u64)>,
    /// The longest until everybody had everything, in milliseconds, and in which seed.
    pub slowest: (u64, u64),
    /// What members lacked who had been away, and how many commits were sent to them and by them.
    pub caught_up: (u64, u64),
}

impl Coverage {
    /// One more run.
    pub fn add(&mut self, seed: u64, report: &Report) {
        self.runs += 1;
        for (fault, times) in &report.faults {
            let (runs, all) = self.faults.entry(fault).or_default();
            (*runs, *all) = (*runs + 1, *all + times);
        }
        self.slowest = self.slowest.max((report.slowest, seed));
        for (lacked, carried) in &report.caught_up {
            self.caught_up.0 += lacked;
            self.caught_up.1 += carried;
        }
    }

    /// In how many runs a fault did something.
    pub fn runs_with(&self, fault: &str) -> u64 {
        self.faults.get(fault).map_or(0, |(runs, _)| *runs)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>8} {:>8}", format!("of {} runs", self.runs), "in", "times")?;
        for (fault, (runs, times)) in &self.faults {
            writeln!(f, "{fault:<24} {runs:>8} {times:>8}")?;
        }
        let (slowest, seed) = self.slowest;
        writeln!(
            f,
            "all lines good again, everybody had everything after at most {slowest} ms (seed {seed})"
        )?;
        let (lacked, carried) = self.caught_up;
        write!(f, "who had been away lacked {lacked} commits, and {carried} were sent")
    }
}
