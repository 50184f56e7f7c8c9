//! What was made to hurt costs little: at most ten milliseconds in one go, and a mebibyte in all.
//!
//! One test in one binary: the counting allocator counts what all threads of a program allocate.

use std::time::Duration;

use driftless_fuzz_targets::attacks;

/// Without optimisation everything takes about this many times as long.
const SLOWER: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

#[test]
fn no_hostile_input_costs_more_than_ten_milliseconds_or_a_mebibyte() {
    let attacks = attacks();
    assert!(attacks.len() > 20);
    for attack in attacks {
        assert!(attack.meter.calls > 0, "{attack:?}");
        assert!(attack.meter.heap <= 1024 * 1024, "{attack:?}");
        assert!(attack.meter.longest <= Duration::from_millis(10) * SLOWER, "{attack:?}");
    }
}
