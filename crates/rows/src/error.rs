//! What can go wrong with a file under sync, in the user's words.

/// Why a call on a file did not do what it was asked. Single rows that cannot be sent or applied are no errors: they are
/// listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database of documents says no.
    #[error(transparent)]
    Database(#[from] driftless::Error),
    /// SQLite says no.
    #[error("the file: {0}")]
    File(#[from] rusqlite::Error),
    /// A table that cannot be under sync as it is.
    #[error("table {table} cannot be under sync: {why}")]
    Table {
        /// Its name.
        table: String,
        /// What is missing, and what to do.
        why: String,
    },
    /// The file is attached already, to another space or by another database.
    #[error("{0}")]
    Attached(String),
    /// The file is not attached.
    #[error("{0} is not attached to a space")]
    NotAttached(String),
    /// The input is not what it should be; nothing was changed.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// A stable snake_case word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Database(error) => error.code(),
            Self::File(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == rusqlite::ErrorCode::DatabaseBusy =>
            {
                "file_busy"
            }
            Self::File(_) => "file",
            Self::Table { .. } => "table_refused",
            Self::Attached(_) => "attached",
            Self::NotAttached(_) => "not_attached",
            Self::Invalid(_) => "invalid",
        }
    }

    /// What the user can do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Database(error) => error.hint(),
            Self::File(_) => "check that the path names a SQLite file, and that no program keeps it locked",
            Self::Table { .. } => "change the table, or name the others with `--table`",
            Self::Attached(_) => "`driftless rows detach` it where it is attached",
            Self::NotAttached(_) => "`driftless rows attach FILE SPACE` puts it under sync",
            Self::Invalid(_) => "correct the input and try again; nothing was changed",
        }
    }
}
