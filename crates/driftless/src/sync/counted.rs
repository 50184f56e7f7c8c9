//! What pulls come to, gathered in memory and written down now and then: every second, after 256 changes, when nothing is
//! under way, and at the end.
//!
//! What a crash takes with it are counts. Cursors are not in here: they are written with the commits before them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::database::Database;
use crate::error::Error;
use crate::peers::progress::{self, At, PullProgress};

/// Changes after which they are written down.
const MOST: usize = 256;

/// What is not written down yet.
#[derive(Debug)]
pub(crate) struct Counted {
    database: Database,
    waiting: Mutex<(BTreeMap<At, PullProgress>, usize)>,
}

impl Counted {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, waiting: Mutex::default() }
    }

    /// Counts a pull; `true` if it is time to write.
    pub(crate) fn note(&self, since: &PullProgress) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (rows, changes) = &mut *waiting;
        rows.entry(since.at()).or_insert_with(|| PullProgress::new(since.at())).add(since);
        *changes += 1;
        *changes >= MOST
    }

    /// Writes what waits.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let (rows, _) = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if rows.is_empty() {
            return Ok(());
        }
        self.database.write(|engine| {
            for row in rows.values() {
                progress::add(engine.storage.as_mut(), row)?;
            }
            engine.staged();
            Ok(())
        })
    }

    /// Forgets what waits of a space, or of all.
    pub(crate) fn forget(&self, space: Option<&driftless_core::id::SpaceId>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0.retain(|(_, root, _), _| space.is_some_and(|space| root != space));
    }

    /// What is written down, and what is not yet.
    pub(crate) fn all(&self) -> Result<Vec<PullProgress>, Error> {
        let mut all: BTreeMap<At, PullProgress> =
            self.database.pull_progress()?.into_iter().map(|row| (row.at(), row)).collect();
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, row) in &waiting.0 {
            all.entry(*at).or_insert_with(|| PullProgress::new(*at)).add(row);
        }
        Ok(all.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use driftless_core::id::{PeerId, SpaceId};

    use super::*;

    #[test]
    fn changes_are_gathered_and_it_is_time_to_write_after_256() {
        let database = Database::memory().unwrap();
        let counted = Counted::new(database.clone());
        let one =
            PullProgress { pulls: 1, ..PullProgress::new((PeerId([1; 32]), SpaceId([2; 32]), [3; 16])) };
        assert!((1..MOST).all(|_| !counted.note(&one)) && counted.note(&one));
        assert!(database.pull_progress().unwrap().is_empty());
        counted.flush().unwrap();
        assert!(!counted.note(&one));
        assert_eq!(database.pull_progress().unwrap()[0].pulls, MOST as u64);
        assert_eq!(counted.all().unwrap()[0].pulls, MOST as u64 + 1);
        counted.forget(Some(&SpaceId([2; 32])));
        counted.flush().unwrap();
        assert_eq!(counted.all().unwrap()[0].pulls, MOST as u64);
    }
}
