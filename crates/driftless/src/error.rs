//! What can go wrong, in the user's words: one enum, with a stable code and a next step for each.

use driftless_core::document_id::{DocumentId, DocumentIdError};
use driftless_core::filter::{FieldPathError, FilterError};
use driftless_core::id::SpaceId;
use driftless_core::operator::OperatorError;
use driftless_core::query::SortError;
use driftless_core::session::{Cursor, SessionError};
use driftless_core::value::{JsonError, TypedError};
use driftless_net::NetError;
use driftless_net::mailbox::MailboxError;
use driftless_store::StorageError;

use crate::advice::advice;

/// One thing in a document that its schema does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// Where, as in operators: `address.zip`, `tags.1`; empty for the document as a whole.
    pub path: String,
    /// What is wrong there, in a sentence.
    pub message: String,
}

/// Why a call did not do what it was asked. `code` is stable; `hint` says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such space, document, user or index here.
    #[error("{what} {name} is not here")]
    NotFound {
        /// What was looked for: "space", "document", ..
        what: &'static str,
        /// By which name.
        name: String,
    },
    /// A prefix or name that stands for several.
    #[error("{name} stands for more than one {what}")]
    Ambiguous {
        /// What was looked for.
        what: &'static str,
        /// By which name.
        name: String,
    },
    /// The rules of the space do not let this user do that.
    #[error("not permitted: {0}")]
    NotPermitted(String),
    /// Another copy of this database signs with the same key. Nothing more is written under it until `doctor` was asked.
    #[error(
        "another copy of this database writes under the same key: its commit {seq} is not the one that is here"
    )]
    AuthorForked {
        /// The number of the other copy's commit.
        seq: u64,
    },
    /// The name or the password is wrong, or the key signs no more: which of these is not told.
    #[error("the user, the password or the key is not right")]
    LoginFailed,
    /// The user of this handle has a password, and has not given it.
    #[error("{0} has a password, and has not logged in")]
    LoginNeeded(String),
    /// Too many log-ins of one name failed within a minute.
    #[error("too many log-ins failed; the next one is possible in {seconds} seconds")]
    TooManyAttempts {
        /// How long to wait.
        seconds: u64,
    },
    /// More is asked for at once than is worked on.
    #[error("{0}")]
    Busy(&'static str),
    /// The input is not what it should be; nothing was changed.
    #[error("{0}")]
    Invalid(String),
    /// The filter does not parse.
    #[error("the filter is not valid: {0}")]
    Filter(#[from] FilterError),
    /// The operators do not parse.
    #[error("the edit is not valid: {0}")]
    Operators(#[from] OperatorError),
    /// A document would not fit the schema of its collection; nothing of the transaction was written.
    #[error("document {id} would not fit the schema of {collection}: {}", told(errors))]
    Schema {
        /// The collection.
        collection: String,
        /// The document; of several, the first.
        id: DocumentId,
        /// Everything that is wrong with it; at most 32 lines.
        errors: Vec<SchemaError>,
    },
    /// There is a database here already, or a document or a space of that name.
    #[error("{0} exists already")]
    Exists(String),
    /// Another process writes to this database.
    #[error("another process is writing to this database")]
    Locked,
    /// The database was opened for reading.
    #[error("this database was opened for reading only")]
    ReadOnly,
    /// Written by a newer driftless.
    #[error("{what} was written by a newer driftless (version {found}, this one knows {known})")]
    Newer {
        /// What: "the database", "the bundle".
        what: &'static str,
        /// The version found.
        found: u64,
        /// The newest version known here.
        known: u64,
    },
    /// Written by an older driftless whose files this one does not read.
    #[error("the database was written by an older driftless (version {found}, this one knows {known})")]
    Older {
        /// The version found.
        found: u64,
        /// The version known here.
        known: u64,
    },
    /// Stored bytes are not what was written.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// The database is a copy: its keys may have written more elsewhere, or may be in use there.
    #[error("this database was restored from a copy, and its keys may have written more since")]
    Restored,
    /// Commits of the own key were lost here; going on would use their numbers twice.
    #[error("this database has lost commits of its own key ({here} here, {} written)", match written {
        Some(written) => written.to_string(),
        None => "more".to_owned(),
    })]
    ChainLost {
        /// The number of the last commit that is here.
        here: u64,
        /// How many were written, if that is known.
        written: Option<u64>,
    },
    /// A durable write failed; this handle accepts nothing more.
    #[error("a write to the disk failed ({0}); this handle of the database stopped")]
    Poisoned(String),
    /// Nobody answers where the peer should be, or it stopped answering.
    #[error("{0}")]
    Unreachable(String),
    /// The peer does not open this space to us, or does not have it.
    #[error("the peer does not open space {0} to you")]
    NotOpen(SpaceId),
    /// The peer would let an admin decide, and has no room for another request now.
    #[error("the peer has no room for this request now")]
    QueueFull,
    /// A mailbox did not do what it was asked.
    #[error("{error}")]
    Mailbox {
        /// Which one; empty where that is not known. There is no secret in it.
        url: String,
        /// Why.
        error: MailboxError,
    },
    /// A cursor that is not of this log: of another store, or of what this one was before it was restored.
    #[error("the cursor is not of this log")]
    Stale {
        /// Where the log ends now: good once both sides have the same.
        now: Cursor,
    },
    /// The peer does not keep to the protocol, or speaks another version of it.
    #[error("{0}")]
    Peer(String),
    /// The disk or the file system said no.
    #[error("{0}")]
    Io(String),
}

impl Error {
    /// A stable snake_case word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Ambiguous { .. } => "ambiguous",
            Self::NotPermitted(_) => "not_permitted",
            Self::AuthorForked { .. } => "author_forked",
            Self::LoginFailed => "login_failed",
            Self::LoginNeeded(_) => "login_needed",
            Self::TooManyAttempts { .. } => "too_many_attempts",
            Self::Busy(_) => "busy",
            Self::Invalid(_) => "invalid",
            Self::Filter(_) => "invalid_filter",
            Self::Operators(_) => "invalid_operators",
            Self::Schema { .. } => "schema",
            Self::Exists(_) => "exists",
            Self::Locked => "locked",
            Self::ReadOnly => "read_only",
            Self::Newer { .. } => "newer_version",
            Self::Older { .. } => "older_version",
            Self::Damaged(_) => "damaged",
            Self::Restored => "restored",
            Self::ChainLost { .. } => "chain_lost",
            Self::Poisoned(_) => "poisoned",
            Self::Unreachable(_) => "peer_unreachable",
            Self::NotOpen(_) => "not_open",
            Self::QueueFull => "queue_full",
            Self::Mailbox { error, .. } => match error {
                MailboxError::Unreachable(_) | MailboxError::NoHost(_) => "mailbox_unreachable",
                MailboxError::Untrusted(_) => "mailbox_untrusted",
                MailboxError::Gone(_) => "mailbox_gone",
                MailboxError::Denied(_) => "mailbox_denied",
                MailboxError::Full(_) => "mailbox_full",
                MailboxError::Unusable(_) | MailboxError::TooLarge { .. } => "invalid",
            },
            Self::Stale { .. } => "stale_cursor",
            Self::Peer(_) => "peer_protocol",
            Self::Io(_) => "io",
        }
    }

    /// What the user can do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotFound { what: "space", .. } => "`driftless space list` shows the spaces that are here",
            Self::NotFound { what: "document", .. } => {
                "`driftless find SPACE COLLECTION` lists the documents"
            }
            Self::NotFound { what: "database", .. } => {
                "`driftless init` makes one; `--dir` names another folder"
            }
            Self::NotFound { what: "key", .. } => {
                "a key is an author id, or its first 8 or more characters if the space knows it, or a user's name here"
            }
            Self::NotFound { what: "request", .. } => {
                "`driftless requests` lists those that wait; one that asks for something else now has another id"
            }
            Self::NotFound { .. } => "check the name",
            Self::Ambiguous { .. } => "give more characters of the id",
            Self::NotPermitted(_) => "`driftless members SPACE` shows who may do what; an admin can `grant`",
            Self::AuthorForked { .. } => {
                "run `driftless doctor`: this copy takes a new key, or goes on with this one if the other is gone"
            }
            Self::LoginFailed => "`driftless user list` shows the users; give the password again",
            Self::LoginNeeded(_) => {
                "a password comes from a prompt, `--password-file FILE` or $DRIFTLESS_PASSWORD"
            }
            Self::TooManyAttempts { .. } => "wait, and make sure that nobody guesses your password",
            Self::Busy(_) => "try again in a few seconds",
            Self::Invalid(_) => "correct the input and try again; nothing was changed",
            Self::Filter(_) => "filters look like '{\"country\": \"FI\", \"population\": {\"$gt\": 1000}}'",
            Self::Operators(_) => "edits look like '{\"$set\": {\"name\": \"x\"}, \"$inc\": {\"n\": 1}}'",
            Self::Schema { .. } => {
                "correct the document; `driftless schema show SPACE COLLECTION` prints the schema"
            }
            Self::Exists(_) => "choose another name, or use what is there",
            Self::Locked => {
                "wait for it to end, or end it; reading commands work meanwhile. Start `driftless serve` before a \
                 `--watch`, and others can write beside it"
            }
            Self::ReadOnly => "open the database for writing",
            Self::Newer { .. } => "install the newer driftless; nothing was changed",
            Self::Older { .. } => {
                "export bundles with the older driftless and import them into a new database"
            }
            Self::Damaged(_) => {
                "`driftless fsck --repair` saves what can be; else restore a backup, or import bundles"
            }
            Self::Restored => {
                "`driftless sync` the space with a peer that was in touch with the original, then write"
            }
            Self::ChainLost { .. } => {
                "`driftless sync` with a peer that has them, then write; or write with a new key"
            }
            Self::Poisoned(_) => "make room on the disk or replace it, then open the database again",
            Self::Unreachable(_) => "check the address, and that `driftless serve` runs there",
            Self::NotOpen(_) => "ask a member for a ticket, or an admin to `grant` you a permission",
            Self::QueueFull => "ask again later; its admins can answer the requests that wait there",
            Self::Mailbox { url, error } => advice(url, error),
            Self::Stale { .. } => "`driftless sync` the space once, then go on from the new cursor",
            Self::Peer(_) => {
                "run the same version of driftless on both sides; if it is, the peer is not to be trusted"
            }
            Self::Io(_) => "check the path, the permissions and the free space",
        }
    }

    /// Whether this answers what was asked, so that nothing is wrong with the database. Whoever answers so has written
    /// nothing of what was asked; what was staged beside it, such as a commit that became due, is whole.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Ambiguous { .. }
                | Self::NotPermitted(_)
                | Self::AuthorForked { .. }
                | Self::LoginFailed
                | Self::LoginNeeded(_)
                | Self::TooManyAttempts { .. }
                | Self::Busy(_)
                | Self::Invalid(_)
                | Self::Filter(_)
                | Self::Operators(_)
                | Self::Schema { .. }
                | Self::Exists(_)
                | Self::Restored
                | Self::ChainLost { .. }
                | Self::Stale { .. }
        )
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    pub(crate) fn not_found(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound { what, name: name.to_string() }
    }
}

// The first, and how many there are besides.
fn told(errors: &[SchemaError]) -> String {
    let Some(first) = errors.first() else { return String::new() };
    let at = if first.path.is_empty() { String::new() } else { format!("{}: ", first.path) };
    match errors.len() {
        1 => format!("{at}{}", first.message),
        more => format!("{at}{} (and {} more)", first.message, more - 1),
    }
}

macro_rules! invalid {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::Invalid(error.to_string())
            }
        }
    )*};
}

invalid!(JsonError, DocumentIdError, FieldPathError, SortError, TypedError);

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<NetError> for Error {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Address(_) => Self::Invalid(error.to_string()),
            NetError::Proof
            | NetError::WrongPeer { .. }
            | NetError::Protocol(_)
            | NetError::TooLarge { .. } => Self::Peer(error.to_string()),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl From<MailboxError> for Error {
    fn from(error: MailboxError) -> Self {
        Self::Mailbox { url: String::new(), error }
    }
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        Self::Peer(error.to_string())
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Newer { found, known } => {
                Self::Newer { what: "the database", found: found.into(), known: known.into() }
            }
            StorageError::Older { found, known } => Self::Older { found: found.into(), known: known.into() },
            StorageError::Damaged(what) => Self::Damaged(what),
            StorageError::Locked(_) => Self::Locked,
            StorageError::ReadOnly => Self::ReadOnly,
            StorageError::Exists(what) | StorageError::Occupied(what) => Self::Exists(what),
            StorageError::NotFound(what) => Self::NotFound { what: "database", name: what },
            other => Self::Io(other.to_string()),
        }
    }
}
