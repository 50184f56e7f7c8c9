//! A folder of somebody's own pages, served under `/pages/` beside the inspector. Like it they hold no data and need no
//! token; what they ask of the database does.
//!
//! Only plain names are looked for, and nothing outside of the folder is sent, wherever a link in it leads.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::limits::MAX_PAGE;

/// Folders in folders.
const DEEP: usize = 8;

/// The kinds of files, by how their names end; others are bytes that a browser does not look into.
const KINDS: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("txt", "text/plain; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
    ("wasm", "application/wasm"),
];

/// A folder of pages.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    folder: PathBuf,
}

impl Pages {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        if !folder.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { folder })
    }

    /// The kind and the bytes of the file at what follows `/pages/`; `index.html` where that is a folder. Reads the disk.
    pub(crate) fn find(&self, path: &str) -> Option<(&'static str, Vec<u8>)> {
        let (names, last) = path.rsplit_once('/').unwrap_or(("", path));
        let last = if last.is_empty() { "index.html" } else { last };
        let names: Vec<&str> =
            names.split('/').filter(|_| !names.is_empty()).chain(std::iter::once(last)).collect();
        if names.len() > DEEP || !names.iter().all(|name| plain(name)) {
            return None;
        }
        let file = names.iter().fold(self.folder.clone(), |folder, name| folder.join(name));
        // What a link leads to counts by where it is.
        let file =
            file.canonicalize().ok().filter(|file| file.starts_with(&self.folder) && file.is_file())?;
        let mut content = Vec::new();
        File::open(&file).ok()?.take(MAX_PAGE + 1).read_to_end(&mut content).ok()?;
        if content.len() as u64 > MAX_PAGE {
            return None;
        }
        let ending = last.rsplit_once('.').map_or("", |(_, ending)| ending);
        let kind = KINDS.iter().find(|(name, _)| *name == ending).map(|(_, kind)| *kind);
        Some((kind.unwrap_or("application/octet-stream"), content))
    }
}

// Neither hidden nor a way up, and the same in every file system.
fn plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_of_the_folder_is_sent() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("pages");
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        for (file, content) in
            [("secret", "s"), ("pages/index.html", "i"), ("pages/deep/a.js", "a"), ("pages/.env", "e")]
        {
            std::fs::write(home.path().join(file), content).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(home.path().join("secret"), folder.join("link")).unwrap();
        let pages = Pages::open(&folder).unwrap();
        assert_eq!(pages.find("").unwrap(), ("text/html; charset=utf-8", b"i".to_vec()));
        assert_eq!(pages.find("deep/a.js").unwrap(), ("text/javascript; charset=utf-8", b"a".to_vec()));
        for path in [
            "../secret",
            "deep/../../secret",
            "link",
            ".env",
            "%2e%2e/secret",
            "deep",
            "deep/",
            "/etc/passwd",
            "deep//a.js",
            "none",
            "a\\b",
            "\0",
        ] {
            assert!(pages.find(path).is_none(), "{path:?}");
        }
        assert!(Pages::open(&home.path().join("secret")).is_err());
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read_whole() {
        let home = tempfile::tempdir().unwrap();
        let file = File::create(home.path().join("large.bin")).unwrap();
        file.set_len(MAX_PAGE).unwrap();
        let pages = Pages::open(home.path()).unwrap();
        assert_eq!(pages.find("large.bin").unwrap().1.len() as u64, MAX_PAGE);
        file.set_len(MAX_PAGE + 1).unwrap();
        assert!(pages.find("large.bin").is_none());
    }
}
