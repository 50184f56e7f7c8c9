//! One exchange of a file at a time: whoever else wants one waits. What two of them took at once would count twice.
//!
//! A file belongs to one database, and a database is open in one process; so those of this process are all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

static EXCHANGED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static ENDED: Condvar = Condvar::new();

/// As long as it is there nobody else has one for the same file.
pub(crate) struct Alone(PathBuf);

impl Alone {
    /// Waits until whoever has the file is done with it.
    pub(crate) fn wait(path: &Path) -> Self {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let files = EXCHANGED.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files =
            ENDED.wait_while(files, |files| files.contains(&path)).unwrap_or_else(PoisonError::into_inner);
        files.insert(path.clone());
        Self(path)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        EXCHANGED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        ENDED.notify_all();
    }
}
