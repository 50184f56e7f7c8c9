//! What one input may cost, and how that is measured: the peak of the heap and the processor time of this thread.

use std::sync::Once;
use std::time::Duration;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

use crate::target::Target;

// Counts every allocation of the programs that link this library: the fuzzers and the test of the corpus.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The input that may take `TIME`.
const PIECE: usize = 64 * 1024;
/// Time for each piece of input that has begun, in an optimised build.
const TIME: Duration = Duration::from_millis(50);
/// How much longer it may take without optimisation, or with the counters of the fuzzer, which also asserts, in every branch.
const SLOWER: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

/// What something cost, in one call or several.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    before: usize,
    /// Bytes of heap at most, beside what there was when it began.
    pub heap: usize,
    /// The time of the longest call.
    pub longest: Duration,
    /// How many calls there were.
    pub calls: usize,
}

impl Meter {
    /// Begins here.
    pub(crate) fn new() -> Self {
        Self { before: HEAP.current_usage(), heap: 0, longest: Duration::ZERO, calls: 0 }
    }

    /// What there is by now is no cost of what follows.
    pub(crate) fn restart(&mut self) {
        self.before = HEAP.current_usage();
    }

    /// The worst of both.
    pub(crate) fn join(&mut self, other: &Self) {
        self.heap = self.heap.max(other.heap);
        self.longest = self.longest.max(other.longest);
        self.calls += other.calls;
    }

    /// Measures one call.
    pub(crate) fn call<T>(&mut self, run: impl FnOnce() -> T) -> T {
        HEAP.reset_peak_usage();
        let began = spent();
        let result = run();
        self.longest = self.longest.max(spent().saturating_sub(began));
        self.heap = self.heap.max(HEAP.peak_usage().saturating_sub(self.before));
        self.calls += 1;
        result
    }
}

/// Runs `target` on `input` and panics if it took more heap or time than its input allows.
pub fn check(target: &Target, input: &[u8]) {
    // What is made once, such as the keys of a world, counts for nobody. A fuzzer's program has one target.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| (target.run)(&[]));
    let mut meter = Meter::new();
    meter.call(|| (target.run)(input));
    let Meter { heap, longest: took, .. } = meter;
    let most = target.allowance.per_byte * input.len() + target.allowance.heap;
    let name = target.name;
    assert!(heap <= most, "{name}: {heap} bytes of heap for {} bytes of input, {most} allowed", input.len());
    let pieces = input.len().div_ceil(PIECE).max(1) as u32;
    let most = TIME * pieces * target.allowance.time * SLOWER;
    assert!(took <= most, "{name}: {took:?} for {} bytes of input, {most:?} allowed", input.len());
}

// Of this thread, so that other work on the machine does not count.
fn spent() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
