//! The rules of the house, held against this repository. Each rule is tried on small made-up trees beside its code.

use std::path::Path;

use xtask::tree::{Finding, Tree};
use xtask::{files, layers, licences, links, purity};

/// Findings of the module rule that wait for a change elsewhere: a file and the start of the advice. One that no
/// longer occurs fails the test as well, so that this list only shrinks. `limits` belongs first in the core's list.
const AWAITED: [(&str, &str); 0] = [];

fn hold(rule: fn(&Tree) -> Vec<Finding>) {
    hold_except(rule, &[]);
}

fn hold_except(rule: fn(&Tree) -> Vec<Finding>, awaited: &[(&str, &str)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tree = Tree::read(&root).expect("the repository can be read");
    assert!(tree.has("crates/core/src/lib.rs"), "this is the repository");
    let findings = rule(&tree);
    let is = |finding: &Finding, (file, start): &(&str, &str)| {
        finding.file == *file && finding.advice.starts_with(start)
    };
    for awaited in awaited {
        let occurs = findings.iter().any(|finding| is(finding, awaited));
        assert!(
            occurs,
            "{}: {} is settled; take it out of AWAITED in xtask/tests/tidy.rs",
            awaited.0, awaited.1
        );
    }
    let new = findings.iter().filter(|finding| !awaited.iter().any(|awaited| is(finding, awaited)));
    let new: Vec<String> = new.map(Finding::to_string).collect();
    assert!(new.is_empty(), "\n{}\n", new.join("\n"));
}

#[test]
fn pages_name_only_paths_that_exist() {
    hold(links::paths);
}

#[test]
fn links_between_pages_lead_somewhere() {
    hold(links::links);
}

#[test]
fn modules_use_only_modules_listed_above_them() {
    hold_except(layers::modules, &AWAITED);
}

#[test]
fn crates_depend_only_on_crates_below_them() {
    hold(layers::crates);
}

#[test]
fn nothing_but_the_tests_of_the_simulation_can_break_rules() {
    hold(layers::broken_rules);
}

#[test]
fn the_core_is_pure() {
    hold(purity::core);
}

#[test]
fn tables_of_another_licence_are_not_built_in() {
    hold(licences::embedded);
}

#[test]
fn file_names_say_something() {
    hold(files::names);
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    hold(files::openings);
}

#[test]
fn no_file_is_too_long() {
    hold(files::lengths);
}

#[test]
fn nothing_is_left_unfinished() {
    hold(files::unfinished);
}
