//! What can go wrong with a file under sync, in the user's words.

use rusqlite::ErrorCode;

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
    /// There is no file.
    #[error("{0} is not there")]
    Missing(String),
    /// What the path names is no SQLite file, or one that cannot be opened.
    #[error("{path} {why}")]
    Unusable {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
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
            Self::File(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "file_busy",
                Some(ErrorCode::ReadOnly) => "file_read_only",
                Some(ErrorCode::DiskFull) => "disk_full",
                _ => "file",
            },
            Self::Missing(_) => "file_not_found",
            Self::Unusable { .. } => "not_sqlite",
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
            Self::File(_) => match self.code() {
                "file_busy" => {
                    "a program keeps the file locked: wait until its transaction has ended, and try again; nothing was changed"
                }
                "file_read_only" => {
                    "make the file and its folder writable: which rows change is noted in the file itself"
                }
                "disk_full" => "make room on the disk of the file, and try again; nothing is lost",
                _ => "`sqlite3 FILE 'PRAGMA integrity_check'` says whether the file itself is in order",
            },
            Self::Missing(_) => {
                "check the path; `driftless rows detach FILE` takes one that is gone off the list"
            }
            Self::Unusable { .. } => "name the SQLite file in which the application keeps its tables",
            Self::Table { .. } => "change the table, or name the others with `--table`",
            Self::Attached(_) => {
                "nothing in it is believed here. `driftless rows detach FILE` takes away what was put into it there, and leaves its \
                 rows; then `driftless rows attach` begins anew"
            }
            Self::NotAttached(_) => "`driftless rows attach FILE SPACE` puts it under sync",
            Self::Invalid(_) => "correct the input and try again; nothing was changed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_can_do_about_a_file_is_said_by_its_own_code() {
        for (code, said) in
            [(5, "file_busy"), (6, "file_busy"), (8, "file_read_only"), (13, "disk_full"), (11, "file")]
        {
            let error = Error::from(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
            assert_eq!(error.code(), said);
        }
    }
}
