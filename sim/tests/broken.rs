//! A rule that is broken on purpose is noticed before the seeds of the other tests are through.
#![allow(clippy::print_stdout)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use driftless_core::broken::{self, Broken};

/// What `tests/seeds.rs` tries.
const SEEDS: u64 = 1000;
const STEPS: u64 = 100;

// The first seed that notices, and what it says.
fn noticed(rule: Broken) -> (u64, String) {
    broken::set(Some(rule));
    let found = (1..=SEEDS).find_map(|seed| {
        let run = catch_unwind(AssertUnwindSafe(|| driftless_sim::run_mesh(seed, STEPS)));
        let fault = run.map_or(Some("it panicked".into()), Result::err)?;
        Some((seed, fault))
    });
    broken::set(None);
    let (seed, fault) =
        found.unwrap_or_else(|| panic!("{rule:?} is broken, and {SEEDS} seeds did not notice"));
    println!("{rule:?}: seed {seed}: {fault}");
    assert!(
        driftless_sim::run_mesh(seed, STEPS).is_ok(),
        "{rule:?}: seed {seed} fails with the rule whole as well"
    );
    (seed, fault)
}

#[test]
fn edits_of_one_time_in_order_of_arrival_are_noticed() {
    noticed(Broken::TieByArrival);
}

#[test]
fn an_acknowledgement_before_it_is_durable_is_noticed() {
    noticed(Broken::AcknowledgedBeforeDurable);
}

#[test]
fn a_cursor_that_goes_past_a_failure_is_noticed() {
    let (_, fault) = noticed(Broken::CursorPastFailure);
    assert!(fault.contains("pulls from"), "{fault}");
}

#[test]
fn a_key_that_was_thrown_out_and_still_counts_is_noticed() {
    noticed(Broken::RevokedKeyApplied);
}

#[test]
fn a_commit_that_is_sent_back_is_noticed() {
    let (_, fault) = noticed(Broken::EchoOnceTooOften);
    assert!(fault.contains("had come from"), "{fault}");
}

#[test]
fn the_list_of_rules_is_whole() {
    assert_eq!(Broken::ALL.len(), 5);
}
