//! Just enough of Rust's syntax to ask which paths a file uses: comments, literals and test items are blanked, the
//! rest is cut into words. It is not a parser and does not know macros; what it cannot see it lets pass.

use std::ops::Range;

/// The same text with comments and the insides of literals replaced by spaces; lines stay where they are.
pub fn without_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let after = &bytes[at..];
        let end = if after.starts_with(b"//") {
            at + after.iter().position(|b| *b == b'\n').unwrap_or(after.len())
        } else if after.starts_with(b"/*") {
            at + block_comment(after)
        } else if let Some(length) = raw_string(after).filter(|_| !continues_word(bytes, at)) {
            at + length
        } else if byte == b'"' {
            at + quoted(after)
        } else if let Some(length) = character(after).filter(|_| byte == b'\'') {
            at + length
        } else {
            at += 1;
            continue;
        };
        for blanked in &mut out[at..end] {
            if *blanked != b'\n' {
                *blanked = b' ';
            }
        }
        at = end;
    }
    // Every blanked range starts and ends between characters, so what is left is still UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

/// The text of `without_comments` with items under `#[cfg(test)]` blanked as well.
pub fn without_tests(text: &str) -> String {
    let mut blank = without_comments(text);
    for range in test_items(&blank) {
        let spaces: String =
            blank[range.clone()].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        // A character of several bytes becomes one space; later ranges are cut before earlier ones.
        blank.replace_range(range, &spaces);
    }
    blank
}

/// How many lines of a file are not inside an item under `#[cfg(test)]`.
pub fn lines_outside_tests(text: &str) -> usize {
    let blank = without_comments(text);
    let inside: usize = test_items(&blank).into_iter().map(|range| blank[range].lines().count()).sum();
    blank.lines().count().saturating_sub(inside)
}

/// Whether a whole file is tests, by where it lies.
pub fn is_test_file(path: &str) -> bool {
    path.split('/').any(|name| name == "tests" || name == "tests.rs")
}

// Byte ranges of items under `#[cfg(test)]` in text without comments, the last first.
fn test_items(blank: &str) -> Vec<Range<usize>> {
    let mut items = Vec::new();
    let mut from = 0;
    while let Some(found) = blank[from..].find("#[cfg(") {
        let start = from + found;
        let rest = &blank[start..];
        from = start + "#[cfg(".len();
        if !rest.starts_with("#[cfg(test)]") && !rest.starts_with("#[cfg(all(test") {
            continue;
        }
        let end = start + item_end(rest);
        items.push(start..end);
        from = end;
    }
    items.reverse();
    items
}

// Where the item ends that the text starts with: its closing brace, or a semicolon before any brace.
fn item_end(text: &str) -> usize {
    let mut open: Vec<char> = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => open.push(c),
            ')' | ']' => drop(open.pop()),
            '}' => {
                open.pop();
                if open.is_empty() {
                    return at + 1;
                }
            }
            ';' if open.is_empty() => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn block_comment(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn continues_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && bytes.get(at - 1).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

// The length of a raw string (`r"…"`, `br#"…"#`, …) that the text starts with.
fn raw_string(text: &[u8]) -> Option<usize> {
    let prefix = text.iter().take(2).take_while(|b| b"bcr".contains(b)).count();
    let hashes = text.get(prefix..)?.iter().take_while(|b| **b == b'#').count();
    let open = prefix + hashes;
    if prefix == 0 || text.get(prefix - 1) != Some(&b'r') || text.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let inside = text.get(open + 1..)?;
    let end = inside.windows(close.len()).position(|window| window == close);
    Some(end.map_or(text.len(), |end| open + 1 + end + close.len()))
}

fn quoted(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

// The length of a character literal; `None` for a lifetime.
fn character(text: &[u8]) -> Option<usize> {
    if text.get(1) == Some(&b'\\') {
        let close = text.iter().skip(3).position(|b| *b == b'\'')?;
        return Some(3 + close + 1);
    }
    // One character of at most four bytes, then the quote.
    let close = text.iter().skip(2).take(4).position(|b| *b == b'\'')? + 2;
    std::str::from_utf8(text.get(1..close)?).ok().filter(|c| c.chars().count() == 1).map(|_| close + 1)
}

/// A name, a `::`, or one other character, with its line counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'t> {
    /// The line it stands on.
    pub line: usize,
    /// The text itself.
    pub text: &'t str,
}

/// Cuts text (without comments) into words.
pub fn words(blank: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let (mut line, mut rest) = (1, blank);
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (text, after) = rest.split_at(length);
        if first == '\n' {
            line += 1;
        } else if !first.is_whitespace() {
            words.push(Word { line, text });
        }
        rest = after;
    }
    words
}

/// A path that a file names, such as `crate::id::CommitId`, taken out of its `use` braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used<'t> {
    /// The line of its last name.
    pub line: usize,
    /// The names after the head; a glob is `*`.
    pub names: Vec<&'t str>,
    /// What it is called here: the name after `as`, else the last name.
    pub called: &'t str,
}

/// Words that look like a name but cannot end the first part of a path.
const KEYWORDS: [&str; 9] = ["use", "return", "as", "in", "else", "match", "dyn", "impl", "mut"];

/// Every path that starts with `head` (`crate`, `std`, …), in `use` items and anywhere else.
pub fn used<'t>(words: &[Word<'t>], head: &str) -> Vec<Used<'t>> {
    let text = |at: usize| words.get(at).map_or("", |word: &Word<'_>| word.text);
    let mut found = Vec::new();
    for at in 0..words.len() {
        // `a::std::b` does not start with `std`, `::std::b` does.
        let starts =
            at < 2 || text(at - 1) != "::" || !is_name(text(at - 2)) || KEYWORDS.contains(&text(at - 2));
        if text(at) == head && text(at + 1) == "::" && starts {
            branch(words, at + 2, &[], &mut found);
        }
    }
    found
}

/// The paths of one `use` item whose first name stands at `at`.
pub fn used_at<'t>(words: &[Word<'t>], at: usize) -> Vec<Used<'t>> {
    let mut found = Vec::new();
    branch(words, at, &[], &mut found);
    found
}

// Reads one branch of a `use` tree, or an ordinary path; returns where it ends.
fn branch<'t>(words: &[Word<'t>], mut at: usize, before: &[&'t str], found: &mut Vec<Used<'t>>) -> usize {
    let mut names = before.to_vec();
    while let Some(word) = words.get(at) {
        let next = words.get(at + 1).map_or("", |word| word.text);
        match word.text {
            "{" => {
                at += 1;
                while let Some(inside) = words.get(at) {
                    match inside.text {
                        "}" => return at + 1,
                        "," => at += 1,
                        _ => at = branch(words, at, &names, found).max(at + 1),
                    }
                }
                return at;
            }
            name if is_name(name) || name == "*" => {
                names.push(name);
                if next == "::" {
                    at += 2;
                    continue;
                }
                let renamed = words.get(at + 2).filter(|alias| next == "as" && is_name(alias.text));
                let called = renamed.map_or(name, |alias| alias.text);
                found.push(Used { line: word.line, names, called });
                return at + if renamed.is_some() { 3 } else { 1 };
            }
            // `crate::Name::<T>`: the path ends at the name.
            _ => break,
        }
    }
    if let (Some(last), Some(word)) = (names.last().copied(), words.get(at.saturating_sub(1))) {
        found.push(Used { line: word.line, names, called: last });
    }
    at
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str, head: &str) -> Vec<String> {
        used(&words(&without_tests(text)), head).iter().map(|used| used.names.join("::")).collect()
    }

    #[test]
    fn paths_are_taken_out_of_braces_and_out_of_expressions() {
        let text = "use crate::{a::B, c::{self, D as E}, f};\nfn g() { crate::h::i::<T>(); x::crate_y::z() }";
        assert_eq!(paths(text, "crate"), ["a::B", "c::self", "c::D", "f", "h::i"]);
        assert_eq!(paths("use ::std::{fs, io::Read}; a::std::b()", "std"), ["fs", "io::Read"]);
        assert_eq!(paths("pub use crate::a::*;", "crate"), ["a::*"]);
    }

    #[test]
    fn comments_literals_and_tests_are_not_looked_into() {
        let text = "// crate::a\n/* crate::b /* */ crate::c */ \"crate::d \\\" crate::e\" r#\"crate::f\"#\n\
                    '\\'' 'x' fn k<'l>() { crate::m::n }\n#[cfg(test)]\nmod tests { use crate::o; }\nuse crate::p;";
        assert_eq!(paths(text, "crate"), ["m::n", "p"]);
        assert_eq!(paths("#[cfg(test)]\nmod tests;\nuse crate::a;", "crate"), ["a"]);
        assert_eq!(paths("#[cfg(not(test))]\nuse crate::a;", "crate"), ["a"]);
    }

    #[test]
    fn lines_are_counted_without_the_tests() {
        assert_eq!(lines_outside_tests("a\n\n#[cfg(test)]\nmod tests {\n    b\n}\n"), 2);
        assert_eq!(words(&without_comments("a\n/* \n */ b::c")).last(), Some(&Word { line: 3, text: "c" }));
    }
}
