//! Arrows point down: between crates (read from each Cargo.toml) and between the modules of a crate (`lib.rs` lists
//! them low to high; a module uses only those above it in the list). So it is inside a folder whose `mod.rs` says that
//! it lists its modules low to high.

use std::collections::BTreeMap;

use crate::source::{self, Word};
use crate::tree::{Finding, Tree};

/// The crates of the house and the floor each stands on. A crate uses only floors below its own.
const FLOORS: [(&str, u8); 8] = [
    ("driftless-core", 1),
    ("driftless-store", 2),
    ("driftless-net", 2),
    ("driftless", 3),
    ("driftless-rows", 4),
    ("driftless-front", 4),
    ("driftless-cli", 5),
    // Used by the programs of the fuzzer, which are a workspace of their own.
    ("driftless-fuzz-targets", 6),
];

/// Floors of crates that are not in the house (chores, benches, examples): they use any, none uses them.
const ABOVE_ALL: u8 = u8::MAX;

/// Every crate depends only on crates of lower floors, in every kind of dependency; an example only on what its readers
/// have, `driftless`.
pub fn crates(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let manifests: Vec<_> = manifests(tree).collect();
    let ours: Vec<&str> = manifests.iter().map(|(_, _, name)| *name).collect();
    for (path, text, name) in &manifests {
        if path.starts_with("crates/") && floor(name) == ABOVE_ALL {
            findings.push(Finding::new(
                path,
                1,
                format!(
                    "`{name}` has no floor; add it to FLOORS in xtask/src/layers.rs and to ARCHITECTURE.md"
                ),
            ));
        }
        for (line, used) in dependencies(text) {
            let known = ours.contains(&used) || FLOORS.iter().any(|(crate_name, _)| *crate_name == used);
            if path.starts_with("examples/") && known && used != "driftless" && used != *name {
                let advice = format!("`{name}` is an example: it uses `driftless` and not `{used}`");
                findings.push(Finding::new(path, line, advice));
                continue;
            }
            // A crate may name itself, to switch features on for its own tests.
            if !known || used == *name || floor(used) < floor(name) {
                continue;
            }
            let advice =
                format!("`{name}` must not depend on `{used}`, which is not below it; turn the arrow around");
            findings.push(Finding::new(path, line, advice));
        }
    }
    findings
}

/// The feature that lets tests break rules is switched on by the tests of the simulation, and by nothing else.
pub fn broken_rules(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text, _) in manifests(tree).filter(|(path, ..)| *path != "crates/core/Cargo.toml") {
        let mut section = "";
        for (line, said) in (1..).zip(text.lines()) {
            if said.starts_with('[') {
                section = said.trim();
            }
            let named = said.contains("\"broken\"") || said.contains("/broken\"");
            if named && (path != "sim/Cargo.toml" || section != "[dev-dependencies]") {
                let advice =
                    "only the dev-dependencies of `sim` may have the feature `broken`; leave it out here";
                findings.push(Finding::new(path, line, advice));
            }
        }
    }
    findings
}

fn floor(name: &str) -> u8 {
    FLOORS.iter().find(|(known, _)| *known == name).map_or(ABOVE_ALL, |(_, floor)| *floor)
}

// Path, text and package name of every manifest that has a package.
fn manifests(tree: &Tree) -> impl Iterator<Item = (&str, &str, &str)> {
    tree.with_extension("toml").filter_map(|(path, text)| {
        let manifest = path == "Cargo.toml" || path.ends_with("/Cargo.toml");
        let package = text.split("[package]").nth(1).filter(|_| manifest)?;
        let value = package.lines().find_map(|line| line.strip_prefix("name")?.trim().strip_prefix('='))?;
        Some((path, text, value.trim().trim_matches('"')))
    })
}

// Line and package name of every dependency of a manifest, also of a renamed one.
fn dependencies(manifest: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    // In `[dependencies]` each line is one; `[dependencies.x]` is one by itself and says more about it below.
    let (mut list, mut single) = (false, false);
    for (at, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let after = section.rsplit_once("dependencies").map(|(_, after)| after);
            list = after == Some("") && section != "workspace.dependencies";
            let name = after.and_then(|after| after.strip_prefix('.'));
            single = name.is_some() && !section.starts_with("workspace.");
            found.extend(name.filter(|_| single).map(|name| (at + 1, name)));
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            let key = key.trim();
            if list {
                let renamed = value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
                found.push((at + 1, renamed.unwrap_or(key.trim_end_matches(".workspace"))));
            } else if single && key == "package" {
                found.push((at + 1, value.trim().trim_matches('"')));
            }
        }
    }
    found
}

// What the `mod.rs` of a folder says whose modules have an order.
const ORDERED: &str = "low to high";

/// Every module uses only modules listed above it in its crate's `lib.rs` (or `main.rs`), or in the `mod.rs` of its
/// folder.
pub fn modules(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _, _) in manifests(tree) {
        let folder = path.trim_end_matches("Cargo.toml");
        let root = ["lib.rs", "main.rs"].map(|name| format!("{folder}src/{name}"));
        if let Some(root) = root.iter().find(|root| tree.text(root).is_some()) {
            modules_of(tree, folder, root, &mut findings);
        }
        let rooms = tree.with_extension("rs").filter_map(|(path, text)| {
            let room = path.strip_prefix(folder)?.strip_prefix("src/")?.strip_suffix("/mod.rs")?;
            let opening: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
            (!room.contains('/') && opening.contains(ORDERED)).then_some((path, room, text))
        });
        for (root, room, text) in rooms {
            inside(tree, (folder, root, room), text, &mut findings);
        }
    }
    findings
}

// Modules of one folder of a crate.
fn inside(
    tree: &Tree,
    (folder, root, room): (&str, &str, &str),
    root_text: &str,
    findings: &mut Vec<Finding>,
) {
    let root_text = source::without_tests(root_text);
    let listed = listed(&source::words(&root_text));
    for (own, module) in listed.iter().enumerate() {
        let file = format!("{folder}src/{room}/{module}.rs");
        let below = format!("{folder}src/{room}/{module}/");
        for (path, text) in tree.with_extension("rs") {
            if (path != file && !path.starts_with(&below)) || source::is_test_file(path) {
                continue;
            }
            let text = source::without_tests(text);
            for used in source::used(&source::words(&text), "crate") {
                let [first, name, ..] = used.names[..] else { continue };
                if first == room && listed.iter().position(|listed| *listed == name) > Some(own) {
                    let advice = format!(
                        "`{room}::{module}` uses `{name}`, which {root} lists below it; move what both need up that \
                         list, or correct its order"
                    );
                    findings.push(Finding::new(path, used.line, advice));
                }
            }
        }
    }
}

fn modules_of(tree: &Tree, folder: &str, root: &str, findings: &mut Vec<Finding>) {
    let root_text = source::without_tests(tree.text(root).unwrap_or_default());
    let root_words = source::words(&root_text);
    let listed = listed(&root_words);
    let exported = exported(&root_words, &listed);
    let place = |name: &str| {
        let module = exported.get(name).copied().unwrap_or(name);
        listed.iter().position(|listed| *listed == module)
    };
    for (own, module) in listed.iter().enumerate() {
        let file = format!("{folder}src/{module}.rs");
        let below = format!("{folder}src/{module}/");
        for (path, text) in tree.with_extension("rs") {
            if (path != file && !path.starts_with(&below)) || source::is_test_file(path) {
                continue;
            }
            // `src/a.rs` and `src/a/mod.rs` are one `super` away from the root, `src/a/b.rs` two.
            let inside = path.strip_prefix(&below).filter(|rest| *rest != "mod.rs");
            let depth =
                1 + inside.map_or(0, |rest| 1 + rest.trim_end_matches("/mod.rs").matches('/').count());
            let text = source::without_tests(text);
            for (line, name) in used_from_root(&source::words(&text), depth) {
                if name == "*" {
                    findings.push(Finding::new(path, line, "name what you use instead of `crate::*`"));
                } else if place(name).is_some_and(|used| used > own) {
                    let used = exported.get(name).unwrap_or(&name);
                    let advice = format!(
                        "`{module}` uses `{used}`, which {root} lists below it; move what both need up \
                         that list, or correct its order (rustfmt sorts neighbours: keep them apart by blank lines)"
                    );
                    findings.push(Finding::new(path, line, advice));
                }
            }
        }
    }
}

// The modules that a crate's root declares, in order.
fn listed<'t>(root: &[Word<'t>]) -> Vec<&'t str> {
    let mut depth = 0usize;
    let mut modules = Vec::new();
    for (at, word) in root.iter().enumerate() {
        match word.text {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            "mod" if depth == 0 => modules.extend(root.get(at + 1).map(|name| name.text)),
            _ => {}
        }
    }
    modules
}

// Names that the root re-exports, with the module each comes from.
fn exported<'t>(root: &[Word<'t>], listed: &[&'t str]) -> BTreeMap<&'t str, &'t str> {
    let mut exported = BTreeMap::new();
    for (at, word) in root.iter().enumerate() {
        if word.text != "use" {
            continue;
        }
        for used in source::used_at(root, at + 1) {
            let mut names = used.names.iter().skip_while(|name| **name == "crate" || **name == "self");
            if let Some(module) = names.next().filter(|module| listed.contains(module)) {
                exported.insert(used.called, *module);
            }
        }
    }
    exported
}

// Line and first name of every path that a file takes from its crate's root, by `crate::` or by `super::`.
fn used_from_root<'t>(words: &[Word<'t>], depth: usize) -> Vec<(usize, &'t str)> {
    let mut found: Vec<_> = source::used(words, "crate")
        .iter()
        .filter_map(|used| Some((used.line, *used.names.first()?)))
        .collect();
    for used in source::used(words, "super") {
        // The head is the first `super`; the others are names.
        let climbed = 1 + used.names.iter().take_while(|name| **name == "super").count();
        if let Some(name) = used.names.get(climbed - 1).filter(|name| climbed == depth && **name != "*") {
            found.push((used.line, *name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{rest}")
    }

    fn lines(findings: &[Finding]) -> Vec<(&str, usize)> {
        findings.iter().map(|finding| (finding.file.as_str(), finding.line)).collect()
    }

    #[test]
    fn an_arrow_that_points_up_is_found_however_it_is_written() {
        for rest in [
            "[dependencies]\ndriftless.workspace = true",
            "[dependencies]\ndriftless = { path = \"../driftless\" }",
            "[dependencies]\nabove = { package = \"driftless\", path = \"../driftless\" }",
            "[target.'cfg(unix)'.dev-dependencies]\ndriftless = \"1\"",
            "[build-dependencies.driftless]\npath = \"../driftless\"",
            "[dependencies]\ndriftless-net = \"1\"",
            "[dependencies]\nxtask = { path = \"../../xtask\" }",
        ] {
            let store = manifest("driftless-store", rest);
            let chores = manifest("xtask", "");
            let tree = Tree::of(&[("crates/store/Cargo.toml", &store), ("xtask/Cargo.toml", &chores)]);
            assert_eq!(crates(&tree).len(), 1, "{rest}");
        }
    }

    #[test]
    fn an_example_uses_the_database_alone() {
        for (used, wrong) in [("driftless", 0), ("driftless-core", 1), ("clap", 0)] {
            let example = manifest("driftless-chat", &format!("[dependencies]\n{used}.workspace = true"));
            let tree = Tree::of(&[("examples/chat/Cargo.toml", &example)]);
            assert_eq!(crates(&tree).len(), wrong, "{used}");
        }
    }

    #[test]
    fn arrows_that_point_down_are_fine_and_a_new_crate_needs_a_floor() {
        let cli = manifest("driftless-cli", "[dependencies]\ndriftless = \"1\"\nclap = \"4\"\n");
        let chores = manifest("xtask", "[dependencies]\ndriftless-cli = \"1\"\n");
        let tree = Tree::of(&[("crates/cli/Cargo.toml", &cli), ("xtask/Cargo.toml", &chores)]);
        assert_eq!(crates(&tree), []);
        let tree = Tree::of(&[("crates/new/Cargo.toml", &manifest("driftless-new", ""))]);
        assert_eq!(lines(&crates(&tree)), [("crates/new/Cargo.toml", 1)]);
    }

    #[test]
    fn rules_are_broken_only_in_the_tests_of_the_simulation() {
        let switch = "driftless-core = { workspace = true, features = [\"broken\"] }\n";
        let (tests, all) = (
            format!("[dev-dependencies]\n{switch}"),
            format!("[dependencies]\n{switch}[dev-dependencies]\n"),
        );
        let tree = Tree::of(&[
            ("sim/Cargo.toml", &manifest("driftless-sim", &tests)),
            ("crates/cli/Cargo.toml", &manifest("driftless-cli", &tests)),
        ]);
        assert_eq!(broken_rules(&tree).len(), 1);
        assert_eq!(broken_rules(&Tree::of(&[("sim/Cargo.toml", &manifest("driftless-sim", &all))])).len(), 1);
    }

    #[test]
    fn a_module_that_uses_one_below_it_in_the_list_is_found() {
        let root = "pub mod low;\npub mod middle;\nmod high;\npub use high::Peak;\npub use low::Base;\n";
        for (middle, found) in [
            ("use crate::low::A;", 0),
            ("use crate::{low::A, high::B};", 1),
            ("fn f() -> crate::high::B {}", 1),
            ("use super::high::B;", 1),
            ("use crate::Peak;", 1),
            ("use crate::Base;", 0),
            ("use crate::*;", 1),
            ("// crate::high", 0),
            ("#[cfg(test)]\nmod tests {\n use crate::high::B;\n}", 0),
        ] {
            let tree = Tree::of(&[
                ("crates/core/Cargo.toml", &manifest("driftless-core", "")),
                ("crates/core/src/lib.rs", root),
                ("crates/core/src/middle.rs", middle),
            ]);
            assert_eq!(modules(&tree).len(), found, "{middle}");
        }
    }

    #[test]
    fn a_folder_that_says_so_has_an_order_too() {
        for (says, found) in [("//! Modules are listed low to high.\n", 1), ("//! In no order.\n", 0)] {
            let tree = Tree::of(&[
                ("crates/core/Cargo.toml", &manifest("driftless-core", "")),
                ("crates/core/src/lib.rs", "mod room;\n"),
                ("crates/core/src/room/mod.rs", &format!("{says}mod low;\nmod high;\n")),
                ("crates/core/src/room/low.rs", "use crate::room::high::A;\n"),
                ("crates/core/src/room/high.rs", "use crate::room::low::B;\nuse crate::room::high::C;\n"),
            ]);
            assert_eq!(modules(&tree).len(), found, "{says}");
        }
    }

    #[test]
    fn files_inside_a_module_keep_to_its_place() {
        let tree = Tree::of(&[
            ("crates/core/Cargo.toml", &manifest("driftless-core", "")),
            ("crates/core/src/lib.rs", "mod low;\nmod high;\n"),
            ("crates/core/src/low/mod.rs", "mod part;\nuse part::high;\n"),
            ("crates/core/src/low/part.rs", "\nuse super::super::high::A;\nuse super::high::B;\n"),
            ("crates/core/src/low/tests.rs", "use crate::high;\n"),
        ]);
        assert_eq!(lines(&modules(&tree)), [("crates/core/src/low/part.rs", 2)]);
    }
}
