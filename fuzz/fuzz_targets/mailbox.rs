//! The fuzzer's program for `mailbox`; what it runs and checks is in `fuzz/targets`.
#![no_main]

use driftless_fuzz_targets::{check, find};

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(find("mailbox").expect("a target of this name"), input));
