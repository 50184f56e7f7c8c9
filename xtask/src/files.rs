//! Rules about single Rust files: their name, their first line, their length, and marks of unfinished work.

use crate::source;
use crate::tree::{Finding, Tree};

/// Names that could stand on any file. If only such a word fits, the thing is not understood yet.
const EMPTY_NAMES: [&str; 14] = [
    "manager", "managers", "helper", "helpers", "util", "utils", "common", "misc", "ops", "handler",
    "handlers", "types", "info", "data",
];

/// Lines of a file, tests not counted, above which it is split along a noun.
pub const MAX_LINES: usize = 800;

/// Every Rust file and folder of Rust files has a name that divides.
pub fn names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _) in tree.with_extension("rs") {
        for name in path.trim_end_matches(".rs").split('/') {
            if EMPTY_NAMES.contains(&name) {
                findings.push(Finding::new(
                    path,
                    1,
                    format!("`{name}` says nothing; name it after what it holds"),
                ));
            }
        }
    }
    findings
}

/// Every Rust file opens by saying what it is.
pub fn openings(tree: &Tree) -> Vec<Finding> {
    tree.with_extension("rs")
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| {
            Finding::new(path, 1, "open with one to six `//!` lines: what it is, what it must not know")
        })
        .collect()
}

/// No Rust file is longer than `MAX_LINES` without its tests.
pub fn lengths(tree: &Tree) -> Vec<Finding> {
    tree.with_extension("rs")
        .filter(|(path, _)| !source::is_test_file(path))
        .map(|(path, text)| (path, source::lines_outside_tests(text)))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| {
            let advice = format!("{lines} lines without tests, {MAX_LINES} are allowed; split along a noun");
            Finding::new(path, MAX_LINES + 1, advice)
        })
        .collect()
}

/// Nothing is left for later in the code: it is done now, or said in an issue.
pub fn unfinished(tree: &Tree) -> Vec<Finding> {
    // Written in two halves, so that this file does not find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let marks = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
        concat!("```", "ignore"),
        concat!("```rust,", "ignore"),
    ];
    let mut findings = Vec::new();
    for (path, text) in tree.with_extension("rs") {
        for (at, line) in text.lines().enumerate() {
            let word =
                line.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| words.contains(word));
            if let Some(mark) = word.or_else(|| marks.into_iter().find(|mark| line.contains(mark))) {
                findings.push(Finding::new(path, at + 1, format!("`{mark}`: finish it now, or take it out")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_nothing_are_found_in_files_and_folders() {
        let tree = Tree::of(&[
            ("crates/a/src/utils.rs", ""),
            ("crates/a/src/common/mod.rs", ""),
            ("crates/a/src/database.rs", ""),
            ("examples/data/README.md", ""),
        ]);
        let found: Vec<_> = names(&tree).into_iter().map(|finding| finding.file).collect();
        assert_eq!(found, ["crates/a/src/common/mod.rs", "crates/a/src/utils.rs"]);
    }

    #[test]
    fn a_file_without_an_opening_line_is_found() {
        let tree = Tree::of(&[("a.rs", "//! What it is.\n"), ("b.rs", "use a;\n//! late"), ("c.rs", "")]);
        let found: Vec<_> = openings(&tree).into_iter().map(|finding| finding.file).collect();
        assert_eq!(found, ["b.rs", "c.rs"]);
    }

    #[test]
    fn a_file_may_be_long_only_by_its_tests() {
        let long = "x();\n".repeat(MAX_LINES + 1);
        let fits = "x();\n".repeat(MAX_LINES);
        let tested = format!("{fits}#[cfg(test)]\nmod tests {{\n{long}}}\n");
        let tree = Tree::of(&[
            ("src/a.rs", &long),
            ("src/b.rs", &fits),
            ("src/c.rs", &tested),
            ("tests/d.rs", &long),
        ]);
        assert_eq!(lengths(&tree), [Finding::new("src/a.rs", 801, lengths(&tree)[0].advice.clone())]);
    }

    #[test]
    fn unfinished_marks_are_found_with_their_line() {
        for (mark, line) in [
            (concat!("// TO", "DO: later"), 2),
            (concat!("// (FIX", "ME)"), 2),
            (concat!("todo", "!()"), 2),
            (concat!("unimplemented", "!(\"x\")"), 2),
            (concat!("#[", "ignore = \"slow\"]"), 2),
            (concat!("/// ```", "ignore"), 2),
        ] {
            let tree = Tree::of(&[("a.rs", &format!("//! a\n{mark}\n"))]);
            let lines: Vec<_> = unfinished(&tree).into_iter().map(|finding| finding.line).collect();
            assert_eq!(lines, [line], "{mark}");
        }
        let fine = Tree::of(&[("a.rs", "let todos = collection(\"todo\"); // ignored, not to do\n")]);
        assert_eq!(unfinished(&fine), []);
    }
}
