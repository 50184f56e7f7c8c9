//! The files of a repository, read once: paths for all of them, text for those that the rules look into.
//! It decides nothing; the rules do.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::{fs, io};

/// Folders that are not part of what is kept: build results and the history.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// Paths relative to the root, with `/` between names, and the text of the files that are read.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads a folder. Text is kept for Rust, Markdown and TOML; other files are known by path only.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let kind = entry.file_type()?;
                if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    let path = entry.path();
                    let read = path.extension().is_some_and(|e| e == "rs" || e == "md" || e == "toml");
                    let text = if read { fs::read_to_string(&path)? } else { String::new() };
                    let below = path.strip_prefix(root).map_err(io::Error::other)?;
                    let names: Vec<_> = below.iter().map(|name| name.to_string_lossy()).collect();
                    tree.files.insert(names.join("/"), text);
                }
            }
        }
        Ok(tree)
    }

    /// A made-up tree.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }

    /// Path and text of the files with one of the given extensions, in order of path.
    pub fn with_extension<'t>(&'t self, extension: &'t str) -> impl Iterator<Item = (&'t str, &'t str)> {
        self.iter()
            .filter(move |(path, _)| path.strip_suffix(extension).is_some_and(|stem| stem.ends_with('.')))
    }

    /// Path and text of every file, in order of path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is a file or a folder of this path.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.range(folder.clone()..).next().is_some_and(|(next, _)| next.starts_with(&folder))
    }

    /// Whether some file, anywhere, has this name.
    pub fn has_name(&self, name: &str) -> bool {
        self.files.keys().any(|path| path.rsplit('/').next() == Some(name))
    }
}

/// One place where a rule does not hold, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path relative to the root.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub advice: String,
}

impl Finding {
    /// A finding at a line.
    pub fn new(file: &str, line: usize, advice: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_exist_by_the_files_in_them() {
        let tree = Tree::of(&[("a/b/c.rs", ""), ("a.md", "")]);
        assert!(tree.has("a/b/c.rs") && tree.has("a/b") && tree.has("a/b/") && tree.has("a"));
        assert!(!tree.has("a/b/c") && !tree.has("b") && !tree.has("a/bc"));
        assert!(tree.has_name("c.rs") && !tree.has_name("b"));
    }
}
