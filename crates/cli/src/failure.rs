//! Why a command ended without doing its work: an exit code, a stable word, a sentence, and what to do next.
//!
//! The exit codes are a contract with scripts; each code word belongs to exactly one of them.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use driftless::SchemaError;
use serde::Serialize;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Refused = 4,
    Invalid = 5,
    Unreachable = 6,
    Store = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that did not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Stable, snake_case, for programs.
    pub(crate) code: &'static str,
    /// One sentence, without a full stop.
    pub(crate) message: String,
    /// What the user can do now.
    pub(crate) hint: String,
    /// What is wrong with a document that does not fit the schema of its collection.
    pub(crate) errors: Vec<Fault>,
}

/// One thing that is wrong with a document. `path` is empty for the document as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) message: String,
}

#[derive(Serialize)]
struct Line<'f> {
    error: Reason<'f>,
}

#[derive(Serialize)]
struct Reason<'f> {
    code: &'f str,
    message: &'f str,
    hint: &'f str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'f [Fault],
}

impl Failure {
    pub(crate) fn new(
        exit: Exit,
        code: &'static str,
        message: impl Display,
        hint: impl Into<String>,
    ) -> Self {
        Self { exit, code, message: message.to_string(), hint: hint.into(), errors: Vec::new() }
    }

    pub(crate) fn usage(message: impl Display, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message, hint)
    }

    /// Input that is not what it should be.
    pub(crate) fn invalid(code: &'static str, message: impl Display, hint: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, code, message, hint)
    }

    /// A file that the user named and that cannot be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        let message = format!("{}: {}", path.display(), sentence(error));
        match error.kind() {
            io::ErrorKind::NotFound => Self::new(Exit::NotFound, "file_not_found", message, "check the path"),
            _ => Self::new(Exit::Failed, "io", message, "check the path, the permissions and the free space"),
        }
    }

    /// The same of one of several things; if it is not known which, nothing changes.
    pub(crate) fn about(self, name: &str) -> Self {
        match name {
            "" => self,
            name => Self { message: format!("{name}: {}", self.message), ..self },
        }
    }

    /// Nobody reads our output any more; there is nobody to tell either.
    pub(crate) fn is_silent(&self) -> bool {
        self.exit == Exit::Done
    }

    /// `{"error": {..}}` on one line.
    pub(crate) fn to_json(&self) -> String {
        let error =
            Reason { code: self.code, message: &self.message, hint: &self.hint, errors: &self.errors };
        // Strings always serialise.
        serde_json::to_string(&Line { error }).unwrap_or_default()
    }
}

impl From<SchemaError> for Fault {
    fn from(error: SchemaError) -> Self {
        Self { path: error.path, message: error.message }
    }
}

impl Fault {
    /// As a line.
    pub(crate) fn text(&self) -> String {
        if self.path.is_empty() { self.message.clone() } else { format!("{}: {}", self.path, self.message) }
    }
}

/// The message of an error of the operating system without its number.
fn sentence(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_lowercase(),
        None => text,
    }
}

/// Only standard output is written with a bare `?`; files go through `Failure::file`.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Done, "broken_pipe", "nobody reads the output", ""),
            _ => Self::new(
                Exit::Failed,
                "io",
                format!("standard output: {}", sentence(&error)),
                "check where the output goes",
            ),
        }
    }
}

impl From<driftless::Error> for Failure {
    fn from(error: driftless::Error) -> Self {
        let mut failure = Self::new(exit_of(error.code()), error.code(), &error, error.hint());
        if let driftless::Error::Mailbox { url, .. } = &error {
            failure = failure.about(url);
        }
        if let driftless::Error::Schema { errors, .. } = error {
            failure.errors = errors.into_iter().map(Fault::from).collect();
        }
        failure
    }
}

impl From<driftless_rows::Error> for Failure {
    fn from(error: driftless_rows::Error) -> Self {
        match error {
            driftless_rows::Error::Database(error) => error.into(),
            error => Self::new(exit_of(error.code()), error.code(), &error, error.hint()),
        }
    }
}

/// The exit code that belongs to a code word of the library.
fn exit_of(code: &str) -> Exit {
    match code {
        "not_found" | "not_attached" | "file_not_found" => Exit::NotFound,
        "not_permitted" | "not_open" | "queue_full" | "mailbox_denied" | "mailbox_full" | "author_forked"
        | "login_failed" | "login_needed" | "too_many_attempts" => Exit::Refused,
        "invalid" | "schema" | "invalid_filter" | "invalid_operators" | "ambiguous" | "table_refused"
        | "not_sqlite" => Exit::Invalid,
        "peer_unreachable" | "mailbox_unreachable" | "mailbox_untrusted" | "mailbox_gone" => {
            Exit::Unreachable
        }
        "locked" | "newer_version" | "damaged" | "poisoned" | "restored" | "chain_lost" => Exit::Store,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_no_failure_and_a_missing_file_is_not_found() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(Failure::from(pipe).is_silent());
        let missing = io::Error::from_raw_os_error(2);
        let failure = Failure::file(Path::new("x.csv"), &missing);
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::NotFound, "x.csv: no such file or directory")
        );
    }

    #[test]
    fn json_carries_code_message_and_hint() {
        let failure = Failure::usage("a \"word\"\n", "h");
        assert_eq!(failure.to_json(), r#"{"error":{"code":"usage","message":"a \"word\"\n","hint":"h"}}"#);
    }
}
