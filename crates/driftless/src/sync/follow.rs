//! Who follows the connections of a network: hears of each as soon as both sides know each other, may use it beside its
//! owner, and is told of everything durable that came over it.
//!
//! Hints are marks, not queues: however often a peer says that something changed, it is remembered once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};

use driftless_core::id::{CommitId, PeerId, SpaceId};
use driftless_core::session::Changed;
use tokio::sync::{Notify, mpsc};

use crate::peers::progress::PullProgress;
use crate::sync::command::{Command, News};
use crate::sync::counted::Counted;

/// What became durable at once of what a peer sent of one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncBatch {
    /// From whom it came.
    pub peer: PeerId,
    /// Of which space.
    pub root: SpaceId,
    /// New, and with their effect.
    pub applied: u64,
    /// New, ahead of our clock.
    pub held: u64,
    /// New, without effect.
    pub void: u64,
    /// New, waiting for a body or the rest of a transaction.
    pub wanted: u64,
    /// Not taken.
    pub refused: u64,
    /// The commits that are new here, or got their bodies.
    pub ids: Vec<CommitId>,
    /// Bytes of the frames.
    pub bytes: u64,
}

impl SyncBatch {
    pub(crate) fn new(peer: PeerId, root: SpaceId, ids: Vec<CommitId>, bytes: u64) -> Self {
        Self { peer, root, applied: 0, held: 0, void: 0, wanted: 0, refused: 0, ids, bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.applied + self.held + self.void + self.wanted + self.refused == 0 && self.ids.is_empty()
    }
}

/// Where batches go. What does not fit is counted, and waits for nobody.
#[derive(Debug, Clone)]
pub(crate) struct Batches {
    pub(crate) counted: Arc<Counted>,
    pub(crate) sender: SyncSender<SyncBatch>,
    pub(crate) missed: Arc<AtomicU64>,
}

impl Batches {
    /// Counts a batch of so many commits that the store with this id served, and tells of it if it brought anything.
    pub(crate) fn tell(&self, batch: SyncBatch, received: u64, store: [u8; 16]) {
        let SyncBatch { applied, held, void, wanted, refused, bytes, .. } = batch;
        let whose = (batch.peer, batch.root, store);
        let since = PullProgress {
            received,
            applied,
            held,
            void,
            wanted,
            refused,
            bytes,
            ..PullProgress::new(whose)
        };
        self.counted.note(&since);
        if batch.is_empty() {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.sender.try_send(batch) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a peer has said that changed since somebody last looked.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    marks: Mutex<Marks>,
    pub(crate) news: Notify,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Something, nobody knows where.
    pub(crate) anything: bool,
    /// These spaces, and the heads that they have there.
    pub(crate) spaces: BTreeSet<Changed>,
}

/// Spaces that are remembered one by one; of more, only that there are some.
const MARKED: usize = 1024;

impl Hints {
    pub(crate) fn mark(&self, changed: Vec<Changed>) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.anything |= changed.is_empty();
        for changed in changed {
            marks.spaces.retain(|before| before.space != changed.space);
            marks.spaces.insert(changed);
        }
        if marks.spaces.len() > MARKED {
            *marks = Marks { anything: true, spaces: BTreeSet::new() };
        }
        drop(marks);
        self.news.notify_one();
    }

    pub(crate) fn are_marked(&self) -> bool {
        *self.marks.lock().unwrap_or_else(PoisonError::into_inner) != Marks::default()
    }

    pub(crate) fn take(&self) -> Marks {
        std::mem::take(&mut *self.marks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection, for whoever follows.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) peer: PeerId,
    pub(crate) number: u64,
    /// Does not keep the connection open.
    pub(crate) commands: mpsc::WeakSender<Command>,
    pub(crate) news: mpsc::UnboundedReceiver<News>,
    pub(crate) hints: Arc<Hints>,
}

/// Who follows all connections.
#[derive(Debug, Clone)]
pub(crate) struct Follower {
    pub(crate) opened: mpsc::UnboundedSender<Followed>,
    pub(crate) batches: Batches,
}

/// Who hears what one connection tells: its owner, and whoever follows.
#[derive(Debug)]
pub(crate) struct Ears {
    owner: mpsc::UnboundedSender<News>,
    follower: Option<mpsc::UnboundedSender<News>>,
    hints: Option<Arc<Hints>>,
    announce: Option<(mpsc::UnboundedSender<Followed>, Followed)>,
}

impl Ears {
    pub(crate) fn new(owner: mpsc::UnboundedSender<News>) -> Self {
        Self { owner, follower: None, hints: None, announce: None }
    }

    /// Also for whoever follows.
    pub(crate) fn followed(
        mut self,
        by: &Follower,
        peer: PeerId,
        number: u64,
        commands: mpsc::WeakSender<Command>,
    ) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        let hints = Arc::new(Hints::default());
        self.follower = Some(sender);
        self.hints = Some(hints.clone());
        self.announce = Some((by.opened.clone(), Followed { peer, number, commands, news, hints }));
        self
    }

    /// The peer has proven who it is.
    pub(crate) fn proven(&mut self) {
        if let Some((opened, followed)) = self.announce.take() {
            // Whoever has stopped to follow hears of nothing.
            let _ = opened.send(followed);
        }
    }

    /// Something changed at the peer.
    pub(crate) fn changed(&self, changed: Vec<Changed>) {
        if let Some(hints) = &self.hints {
            hints.mark(changed);
        }
    }

    pub(crate) fn tell(&mut self, news: News) {
        if let Some(follower) = &self.follower
            && !matches!(news, News::Moved)
            && follower.send(news.clone()).is_err()
        {
            self.follower = None;
        }
        // The owner may have lost interest; the exchange goes on for the peer's sake.
        let _ = self.owner.send(news);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_remembered_once_each_and_never_more_than_there_is_room_for() {
        let hint = |n: u32, digest| {
            let mut space = [0; 32];
            space[..4].copy_from_slice(&n.to_be_bytes());
            Changed { space: SpaceId(space), digest: [digest; 8] }
        };
        let hints = Hints::default();
        assert_eq!(hints.take(), Marks::default());
        for digest in 0..100 {
            hints.mark(vec![hint(1, digest), hint(2, 0)]);
        }
        assert_eq!(hints.take(), Marks { anything: false, spaces: [hint(1, 99), hint(2, 0)].into() });
        hints.mark(Vec::new());
        assert!(hints.take().anything);
        (0..=MARKED as u32).for_each(|n| hints.mark(vec![hint(n, 0)]));
        assert_eq!(hints.take(), Marks { anything: true, spaces: BTreeSet::new() });
    }
}
