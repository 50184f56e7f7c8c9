//! Pages name only what is there: paths in backticks and in code blocks, and links between pages. The changelog is
//! history and may name what is gone. Headings inside a page (`#…`) are not followed.

use crate::tree::{Finding, Tree};

/// Folders at the top of the repository, those that may come included: a word that starts so is a path.
const TOP: [&str; 10] = [
    "crates/",
    "docs/",
    "xtask/",
    "examples/",
    "sim/",
    "fuzz/",
    "benches/",
    "conformance/",
    ".ci/",
    ".github/",
];

/// Every path of this repository that a page names exists.
pub fn paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (page, text) in pages(tree) {
        for (at, line, fenced) in lines(text) {
            let spans: Vec<&str> = if fenced { vec![line] } else { code_spans(line) };
            for span in spans {
                for word in span.split_whitespace() {
                    let alone = !fenced && word == span.trim();
                    if is_path(word, alone) && !exists(tree, page, word) {
                        let advice =
                            format!("`{word}` does not exist; correct the page, or take the backticks off");
                        findings.push(Finding::new(page, at, advice));
                    }
                }
            }
        }
    }
    findings
}

/// Every link from a page to a file leads somewhere.
pub fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (page, text) in pages(tree) {
        for (at, line, _) in lines(text).filter(|(_, _, fenced)| !fenced) {
            for target in targets(line) {
                let path = target.split(['#', '?']).next().unwrap_or_default();
                let elsewhere = target.contains("://") || target.starts_with("mailto:") || path.is_empty();
                if !elsewhere && !resolve(page, path).is_some_and(|path| tree.has(&path)) {
                    findings.push(Finding::new(page, at, format!("the link to `{target}` leads nowhere")));
                }
            }
        }
    }
    findings
}

fn pages(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.with_extension("md").filter(|(path, _)| *path != "CHANGELOG.md")
}

// Line number, line, and whether it lies in a code block.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut fence: Option<&str> = None;
    text.lines().enumerate().map(move |(at, line)| {
        let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        let inside = fence.is_some();
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        (at + 1, line, inside || mark.is_some())
    })
}

// What stands between backticks in one line.
fn code_spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

fn is_path(word: &str, alone: bool) -> bool {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let named = TOP.iter().any(|top| word.starts_with(top));
    let file = [".md", ".rs", ".toml"].iter().any(|end| word.len() > end.len() && word.ends_with(end));
    // `/etc/x.toml` and `~/x.toml` are somebody else's; `*.md` and `<name>.rs` are not plain.
    plain && !word.starts_with('/') && (named || (alone && (file || word == "justfile")))
}

fn exists(tree: &Tree, page: &str, word: &str) -> bool {
    let beside = resolve(page, word).is_some_and(|path| tree.has(&path));
    tree.has(word) || beside || (!word.contains('/') && tree.has_name(word))
}

// `target` as seen from the folder of `page`; `None` if it leaves the repository.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut names: Vec<&str> = page.split('/').collect();
    names.pop();
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    Some(names.join("/"))
}

// Targets of `[text](target)` and `[label]: target` in one line, code spans left out.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for prose in line.split('`').step_by(2) {
        for after in prose.split("](").skip(1) {
            found.extend(after.split([')', ' ']).next());
        }
    }
    // The text of a link may be code: then the target stands at the start of the next piece of prose.
    let reference = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    found.extend(reference.and_then(|(_, target)| target.split_whitespace().next()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<Finding>, page: &str, text: &str) -> Vec<usize> {
        let tree = Tree::of(&[
            (page, text),
            ("crates/core/src/id.rs", ""),
            ("docs/rules.md", ""),
            ("justfile", ""),
            (".ci/run", ""),
        ]);
        rule(&tree).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_path_that_is_not_there_is_found_in_backticks_and_in_code_blocks() {
        for (text, found) in [
            ("see `crates/core/src/id.rs`, `crates/core/`, `id.rs`, `docs/rules.md` and `justfile`", 0),
            ("run `.ci/run` or `cargo run --manifest-path crates/core`", 0),
            ("see `crates/core/src/key.rs`", 1),
            ("see `docs/gone.md` and `gone.md`", 2),
            ("net comes later, in crates/net, and `Cargo::metadata`, `a/b`, `*.md`, `/etc/a.toml`", 0),
            ("```sh\ndriftless import a examples/data/gone.jsonl\n```", 1),
            ("```sh\ndriftless bundle export world.md\n```", 0),
        ] {
            assert_eq!(check(paths, "README.md", text).len(), found, "{text}");
        }
        assert_eq!(check(paths, "docs/guide.md", "a\n`rules.md` beside it, `../gone.md` not\n"), [2]);
        assert!(check(paths, "CHANGELOG.md", "`crates/gone` is gone").is_empty());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        for (text, found) in [
            ("[rules](docs/rules.md), [part](docs/rules.md#keep), [web](https://a.b/c.md), [here](#top)", 0),
            ("[`id`](crates/core/src/id.rs) and [title](docs/rules.md \"Rules\")", 0),
            ("[rules](rules.md)", 1),
            ("[`id`](crates/core/src/key.rs)", 1),
            ("[out](../other.md)", 1),
            ("[label]: docs/gone.md", 1),
            ("`[code](gone.md)`\n```\n[code](gone.md)\n```", 0),
        ] {
            assert_eq!(check(links, "README.md", text).len(), found, "{text}");
        }
        assert!(check(links, "docs/guide.md", "[rules](rules.md) [id](../crates/core/src/id.rs)").is_empty());
    }
}
