//! Callbacks for whoever wants to be called when something was committed here, or came from elsewhere.
//!
//! Each has a thread of its own, after the durable commit and outside every lock: one that is slow or panics is in
//! nobody's way. It may use the database.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::database::Database;
use crate::error::Error;
use crate::state::changes::{Change, Event, Hush};
use crate::tables::view::Source;

/// A callback at work; it is not called any more once this is dropped.
#[derive(Debug)]
#[must_use = "the callback is called for as long as this is kept"]
pub struct Hook {
    hush: Hush,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    missed: AtomicU64,
    panics: AtomicU64,
}

impl Hook {
    /// How often the callback was so slow that it missed changes: more than a thousand waited for it.
    pub fn missed(&self) -> u64 {
        self.counts.missed.load(Ordering::Relaxed)
    }

    /// How often the callback panicked; it is called again for what comes after.
    pub fn panics(&self) -> u64 {
        self.counts.panics.load(Ordering::Relaxed)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.hush.hush();
    }
}

impl Database {
    /// Calls `f` with every change that a call on this database made, once it is durable.
    pub fn on_local_commit(&self, f: impl FnMut(&Change) + Send + 'static) -> Result<Hook, Error> {
        self.hook(Side::Local, f)
    }

    /// Calls `f` with every change that came from elsewhere, by a peer or a bundle, once it is durable.
    pub fn on_remote_commit(&self, f: impl FnMut(&Change) + Send + 'static) -> Result<Hook, Error> {
        self.hook(Side::Remote, f)
    }

    fn hook(&self, side: Side, mut f: impl FnMut(&Change) + Send + 'static) -> Result<Hook, Error> {
        let (changes, counts) = (self.changes(), Arc::new(Counts::default()));
        let hook = Hook { hush: changes.hush(), counts: counts.clone() };
        let work = move || {
            while let Some(event) = changes.wait() {
                match event {
                    Event::Missed => _ = counts.missed.fetch_add(1, Ordering::Relaxed),
                    Event::Change(change) => {
                        let Some(change) = side.of(change) else { continue };
                        if catch_unwind(AssertUnwindSafe(|| f(&change))).is_err() {
                            counts.panics.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("hook".into());
        thread.spawn(work).map_err(|error| Error::Invalid(format!("no thread for a callback: {error}")))?;
        Ok(hook)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Local,
    Remote,
}

impl Side {
    // What of a change comes from this side. Commits of both may have become durable together.
    fn of(self, mut change: Change) -> Option<Change> {
        let (ours, others) = match self {
            Self::Local => (change.local, change.remote),
            Self::Remote => (change.remote, change.local),
        };
        if ours && others {
            let is_ours = |source: Source| (source == Source::Local) == (self == Self::Local);
            Arc::make_mut(&mut change.documents).retain(|document| is_ours(document.source));
        }
        ours.then_some(change)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::space::Space;

    const LONG: Duration = Duration::from_secs(60);

    fn insert(space: &Space, n: i64) {
        let fields = driftless_core::value::Map::from_json(&format!(r#"{{"n": {n}}}"#)).unwrap();
        space.collection("items").unwrap().insert(fields).unwrap();
    }

    #[test]
    fn each_side_hears_of_its_own_commits_also_where_they_change_no_document() {
        let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
        let space = ann.create_space("notes").unwrap();
        let ((at_local, local), (at_remote, remote)) = (channel(), channel());
        let _local = ann.on_local_commit(move |change| at_local.send(change.clone()).unwrap()).unwrap();
        let _remote = bob.on_remote_commit(move |change| at_remote.send(change.clone()).unwrap()).unwrap();
        let _never = bob.on_local_commit(|_| panic!("nothing is written at bob's")).unwrap();
        insert(&space, 1);
        let change = local.recv_timeout(LONG).unwrap();
        assert_eq!((change.space, change.documents.len(), change.remote), (space.id(), 1, false));
        let anyone = driftless_core::rules::Subject::Anyone;
        space.grant(anyone, driftless_core::rules::Permission::Read).unwrap();
        assert_eq!(local.recv_timeout(LONG).unwrap().documents.len(), 0);
        let mut bundle = Vec::new();
        space.export(&mut bundle, &mut |_| {}).unwrap();
        bob.import(&mut &*bundle, &mut |_| {}).unwrap();
        let change = remote.recv_timeout(LONG).unwrap();
        assert_eq!((change.space, change.documents.len(), change.local), (space.id(), 1, false));
        assert_eq!(_never.panics(), 0);
    }

    #[test]
    fn a_callback_that_panics_waits_or_writes_is_in_nobodys_way() {
        let db = Database::memory().unwrap();
        let space = db.create_space("notes").unwrap();
        let (block, blocked) = channel::<()>();
        let slow = db.on_local_commit(move |_| _ = blocked.recv()).unwrap();
        let (heard, hearing) = channel();
        let mut calls = 0;
        let panicking = db
            .on_local_commit(move |_| {
                calls += 1;
                heard.send(calls).unwrap();
                assert!(calls > 1, "on purpose");
            })
            .unwrap();
        let (done, written) = channel();
        let (also, mut once) = (db.create_space("also").unwrap(), true);
        let writing = db
            .on_local_commit(move |_| {
                if std::mem::take(&mut once) {
                    insert(&also, 1);
                    done.send(()).unwrap();
                }
            })
            .unwrap();
        for n in 0..2000 {
            insert(&space, n);
        }
        written.recv_timeout(LONG).unwrap();
        while hearing.recv_timeout(LONG).unwrap() < 2 {}
        assert_eq!(panicking.panics(), 1);
        drop(block);
        while slow.missed() == 0 {
            std::thread::yield_now();
        }
        drop((slow, writing, panicking));
        insert(&space, 2000);
        // Whoever was dropped hears of nothing more.
        while hearing.recv_timeout(LONG).is_ok() {}
    }
}
