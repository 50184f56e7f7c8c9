//! Wall time and CPU time of a piece of work, and what to make of several runs. Knows nothing of databases.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What a bench may fail with.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a piece of work took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub wall: Duration,
    /// CPU of all threads of this process.
    pub cpu: Duration,
}

impl Spent {
    /// CPU microseconds for each of `count`.
    pub(crate) fn cpu_each(&self, count: usize) -> f64 {
        micros(self.cpu) / count as f64
    }

    /// How many of `count` per CPU second.
    pub(crate) fn cpu_rate(&self, count: usize) -> f64 {
        count as f64 / self.cpu.as_secs_f64()
    }

    /// How many of `count` per second of wall time.
    pub(crate) fn wall_rate(&self, count: usize) -> f64 {
        count as f64 / self.wall.as_secs_f64()
    }
}

/// Does `work` and says what it took.
pub(crate) fn spent<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, Spent), Failure> {
    let (wall, cpu) = (Instant::now(), process_cpu());
    let done = work()?;
    Ok((done, Spent { wall: wall.elapsed(), cpu: process_cpu().saturating_sub(cpu) }))
}

/// Waits for `work` and says what it took.
pub(crate) async fn spent_by<T, E: Into<Failure>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<(T, Spent), Failure> {
    let (wall, cpu) = (Instant::now(), process_cpu());
    let done = work.await.map_err(Into::into)?;
    Ok((done, Spent { wall: wall.elapsed(), cpu: process_cpu().saturating_sub(cpu) }))
}

/// The middle one; 0 of none.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// The smallest.
pub(crate) fn least(numbers: impl IntoIterator<Item = f64>) -> f64 {
    numbers.into_iter().fold(f64::INFINITY, f64::min)
}

/// The one that took the least CPU.
pub(crate) fn quickest(runs: impl IntoIterator<Item = Spent>) -> Spent {
    runs.into_iter().min_by_key(|spent| spent.cpu).unwrap_or_default()
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
