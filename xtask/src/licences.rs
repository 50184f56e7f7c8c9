//! Holds the licence and the source of every package in the lock file against `deny.toml`, so that the check runs
//! where cargo-deny is not installed. It understands licence expressions (SPDX), not licence texts.

use serde_json::Value;

use crate::tree::{Finding, Tree};

/// The one place that packages come from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// No crate takes in the tables of `examples/data`: they are under another licence than the programs built here.
pub fn embedded(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.with_extension("rs").filter(|(path, _)| path.starts_with("crates/")) {
        for (at, line) in text.lines().enumerate() {
            if line.contains("include_") && line.contains("examples/data") {
                findings.push(Finding::new(
                    path,
                    at + 1,
                    "read the table at run time; built in, its licence (LGPL) would bind the program",
                ));
            }
        }
    }
    findings
}

/// The licences listed under `[licenses]` as `allow = [..]` in the text of a `deny.toml`.
pub fn allowed(deny: &str) -> Vec<String> {
    let section: Vec<&str> = deny.lines().skip_while(|line| line.trim() != "[licenses]").collect();
    let section = section.join("\n");
    let list = section.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// One sentence per package of `cargo metadata` that may not be used.
pub fn check(metadata: &Value, allowed: &[String]) -> Vec<String> {
    let packages = metadata.get("packages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if packages.is_empty() {
        return vec!["`cargo metadata` names no packages".to_owned()];
    }
    packages.iter().filter_map(|package| refusal(package, allowed)).collect()
}

fn refusal(package: &Value, allowed: &[String]) -> Option<String> {
    let text = |field: &str| package.get(field).and_then(Value::as_str);
    let name = format!("{} {}", text("name").unwrap_or("?"), text("version").unwrap_or("?"));
    // A package without a source is one of this repository.
    if let Some(source) = text("source").filter(|source| *source != CRATES_IO) {
        return Some(format!("{name} comes from {source}; only crates.io is allowed"));
    }
    let Some(expression) = text("license") else {
        return Some(format!("{name} states no licence expression; look at it and find another crate"));
    };
    match satisfied(expression, allowed) {
        Some(true) => None,
        Some(false) => Some(format!("{name} is under {expression}, which deny.toml does not allow")),
        None => Some(format!("{name}: `{expression}` is not a licence expression")),
    }
}

/// Whether a licence expression can be met with the allowed licences alone; `None` if it is not an expression.
/// The old way to write a choice, `MIT/Apache-2.0`, is understood.
pub fn satisfied(expression: &str, allowed: &[String]) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = choice(&words, &mut at, allowed)?;
    (at == words.len()).then_some(met)
}

// AND binds more tightly than OR.
fn choice(words: &[&str], at: &mut usize, allowed: &[String]) -> Option<bool> {
    let mut met = all(words, at, allowed)?;
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at, allowed)?;
    }
    Some(met)
}

fn all(words: &[&str], at: &mut usize, allowed: &[String]) -> Option<bool> {
    let mut met = one(words, at, allowed)?;
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed)?;
    }
    Some(met)
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> Option<bool> {
    let word = *words.get(*at)?;
    *at += 1;
    if word == "(" {
        let met = choice(words, at, allowed)?;
        *at += 1;
        return (words.get(*at - 1) == Some(&")")).then_some(met);
    }
    if ["OR", "AND", "WITH", ")"].contains(&word) {
        return None;
    }
    let mut licence = word.to_owned();
    if words.get(*at) == Some(&"WITH") {
        licence = format!("{licence} WITH {}", words.get(*at + 1)?);
        *at += 2;
    }
    Some(allowed.contains(&licence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<String> {
        allowed(
            "[graph]\n[licenses]\nallow = [\n  \"MIT\", # plain\n  # \"GPL-3.0\"\n  \"Apache-2.0 WITH LLVM-exception\",\n]\n",
        )
    }

    #[test]
    fn a_table_that_is_built_into_a_crate_is_found() {
        let line = "//! a\nconst T: &str = include_str!(\"../../../examples/data/countries.jsonl\");\n";
        let tree = Tree::of(&[("crates/cli/src/demo.rs", line), ("xtask/src/a.rs", line)]);
        assert_eq!(embedded(&tree).len(), 1);
        assert!(
            embedded(&Tree::of(&[("crates/cli/src/demo.rs", "open(\"examples/data/a.jsonl\")")])).is_empty()
        );
    }

    #[test]
    fn the_list_is_read_without_its_comments() {
        assert_eq!(two(), ["MIT", "Apache-2.0 WITH LLVM-exception"]);
    }

    #[test]
    fn expressions_are_met_or_not() {
        for (expression, met) in [
            ("MIT", Some(true)),
            ("GPL-3.0", Some(false)),
            ("GPL-3.0 OR MIT", Some(true)),
            ("GPL-3.0/MIT", Some(true)),
            ("GPL-3.0 AND MIT", Some(false)),
            ("Apache-2.0", Some(false)),
            ("Apache-2.0 WITH LLVM-exception", Some(true)),
            ("(GPL-3.0 OR MIT) AND MIT", Some(true)),
            ("MIT OR GPL-3.0 AND GPL-2.0", Some(true)),
            ("(MIT", None),
            ("MIT MIT", None),
            ("MIT OR", None),
            ("", None),
        ] {
            assert_eq!(satisfied(expression, &two()), met, "{expression}");
        }
    }

    #[test]
    fn packages_with_a_foreign_source_or_licence_are_refused() {
        let package = |source: Option<&str>, license: Option<&str>| serde_json::json!({"packages": [{"name": "a", "version": "1", "source": source, "license": license}]});
        assert_eq!(check(&package(None, Some("MIT")), &two()).len(), 0);
        assert_eq!(check(&package(Some(CRATES_IO), Some("MIT")), &two()).len(), 0);
        assert_eq!(check(&package(Some(CRATES_IO), Some("GPL-3.0")), &two()).len(), 1);
        assert_eq!(check(&package(Some(CRATES_IO), None), &two()).len(), 1);
        assert_eq!(check(&package(Some("git+https://a.b/c"), Some("MIT")), &two()).len(), 1);
        assert_eq!(check(&serde_json::json!({}), &two()).len(), 1);
    }
}
