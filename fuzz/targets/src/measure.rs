//! What one input may cost, and how that is measured: the peak of the heap and the processor time of this thread.

use std::sync::Once;
use std::time::Duration;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

use crate::target::Target;

// Counts every allocation of the programs that link this library: the fuzzers and the test of the corpus.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Bytes of heap for each byte of input.
const HEAP_PER_BYTE: usize = 16;
/// The input that may take `TIME`.
const PIECE: usize = 64 * 1024;
/// Time for each piece of input that has begun, in an optimised build.
const TIME: Duration = Duration::from_millis(50);
/// How much longer it may take without optimisation, or with the counters of the fuzzer, which also asserts, in every branch.
const SLOWER: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

/// Runs `target` on `input` and panics if it took more heap or time than its input allows.
pub fn check(target: &Target, input: &[u8]) {
    // What is made once, such as the keys of a world, counts for nobody. A fuzzer's program has one target.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| (target.run)(&[]));
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let began = spent();
    (target.run)(input);
    let took = spent().saturating_sub(began);
    let heap = HEAP.peak_usage().saturating_sub(before);
    let most = HEAP_PER_BYTE * input.len() + target.allowance.heap;
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
