//! The core reads no clock, file, socket, environment or random number, starts no thread, and pulls in no crate that
//! does. The web build in CI shows that it links; this shows that it does not ask.

use crate::source;
use crate::tree::{Finding, Tree};

/// Where the pure crate's sources lie.
const PURE: &str = "crates/core/src/";

/// Parts of `std` that reach outside the arguments.
const STD: [&str; 7] = ["time", "fs", "net", "env", "thread", "process", "os"];

/// Crates that do so for their caller.
const CRATES: [&str; 8] =
    ["rand", "getrandom", "tokio", "js_sys", "web_sys", "wasm_bindgen", "chrono", "rusqlite"];

/// Nothing in the core, tests aside, names a way out of it.
pub fn core(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.with_extension("rs") {
        if !path.starts_with(PURE) || source::is_test_file(path) {
            continue;
        }
        let text = source::without_tests(text);
        let words = source::words(&text);
        let of_std = source::used(&words, "std").into_iter().filter_map(|used| {
            let part = used.names.first().filter(|part| STD.contains(part) || **part == "*")?;
            Some((used.line, format!("std::{part}")))
        });
        let of_crates = words.iter().zip(words.iter().skip(1)).filter_map(|(word, next)| {
            let path = next.text == "::" || next.text == ";";
            (path && CRATES.contains(&word.text)).then(|| (word.line, word.text.to_owned()))
        });
        for (line, what) in of_std.chain(of_crates) {
            let advice = format!("the core must not use `{what}`; take the value as an argument");
            findings.push(Finding::new(path, line, advice));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_out_of_the_core_is_found() {
        for (text, found) in [
            ("let now = std::time::SystemTime::now();", 1),
            ("use std::{fmt, fs, thread};", 2),
            ("use ::std::env;", 1),
            ("use std::net as wire;", 1),
            ("let seed = rand::random();", 1),
            ("use getrandom;", 1),
            ("use std::fmt; // std::fs", 0),
            ("let rand = time(thread);", 0),
            ("#[cfg(test)]\nmod tests { use std::fs; }", 0),
        ] {
            assert_eq!(core(&Tree::of(&[("crates/core/src/a.rs", text)])).len(), found, "{text}");
            assert_eq!(core(&Tree::of(&[("crates/store/src/a.rs", text)])), []);
        }
    }
}
