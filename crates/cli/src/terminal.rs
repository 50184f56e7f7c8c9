//! What a command talks to: two streams to print on, one to read from, and the folder where relative paths begin.
//!
//! Of a command that runs by itself these are the process's own; of one that runs in `serve`, those of its client.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::secret::{Own, Secrets};

// Bytes of one argument from a file or from standard input. A document is smaller; the rest is spacing.
const MAX_ARGUMENT: u64 = 64 * 1024 * 1024;

/// Where a command reads and prints.
pub(crate) struct Terminal {
    pub(crate) stdout: Box<dyn Write + Send>,
    pub(crate) stderr: Box<dyn Write + Send>,
    pub(crate) input: Input,
    pub(crate) secrets: Box<dyn Secrets>,
    pub(crate) looks: Looks,
}

/// Who is at the ends of the three streams.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Looks {
    /// A person could type on standard input.
    pub(crate) asks: bool,
    /// A person sees standard output.
    pub(crate) shows: bool,
    /// A person sees standard error.
    pub(crate) notes: bool,
    /// That person wants colours.
    pub(crate) colours: bool,
}

/// What a command can read: standard input and files.
pub(crate) struct Input {
    stdin: Box<dyn Read + Send>,
    folder: PathBuf,
}

impl Terminal {
    /// That of this process.
    pub(crate) fn own() -> Self {
        // Relative paths stay as they are.
        let input = Input::new(Box::new(io::stdin()), PathBuf::new());
        let (stdout, stderr) = (Box::new(io::stdout()), Box::new(io::stderr()));
        Self { stdout, stderr, input, secrets: Box::new(Own), looks: Looks::own() }
    }
}

impl Looks {
    /// That of this process.
    pub(crate) fn own() -> Self {
        Self {
            asks: io::stdin().is_terminal(),
            shows: io::stdout().is_terminal(),
            notes: io::stderr().is_terminal(),
            colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

impl Input {
    pub(crate) fn new(stdin: Box<dyn Read + Send>, folder: PathBuf) -> Self {
        Self { stdin, folder }
    }

    /// Standard input. It can be taken once; from then on it is empty.
    pub(crate) fn stdin(&mut self) -> Box<dyn Read + Send> {
        std::mem::replace(&mut self.stdin, Box::new(io::empty()))
    }

    /// A path that the user named.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// Opens a file that the user named.
    pub(crate) fn open(&self, path: &Path) -> Result<File, Failure> {
        File::open(self.path(path)).map_err(|error| Failure::file(path, &error))
    }

    /// The text of an argument that may be `-` for standard input or `@file`.
    pub(crate) fn argument(&mut self, word: &str) -> Result<String, Failure> {
        match word.strip_prefix('@') {
            Some(path) => read_text(self.open(Path::new(path))?, Path::new(path)),
            None if word == "-" => read_text(self.stdin(), Path::new("standard input")),
            None => Ok(word.to_owned()),
        }
    }
}

fn read_text(source: impl Read, path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    source.take(MAX_ARGUMENT + 1).read_to_end(&mut bytes).map_err(|error| Failure::file(path, &error))?;
    if bytes.len() as u64 > MAX_ARGUMENT {
        let message = format!("{}: more than {MAX_ARGUMENT} bytes", path.display());
        return Err(Failure::invalid("too_large", message, "many documents are read by `driftless import`"));
    }
    String::from_utf8(bytes).map_err(|_| {
        Failure::invalid("invalid_json", format!("{}: not UTF-8", path.display()), "save it as UTF-8")
    })
}
