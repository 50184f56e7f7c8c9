//! The ledger in which the sync engine notes what exchanges came to, and what waits for whom.
//!
//! It writes in the background, many lines at once: nobody waits for it but the end.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::id::{PeerId, SpaceId};
use driftless_net::Traffic;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::database::Database;
use crate::error::Error;
use crate::peers::exchanges::{Outcome, PastExchange, Unsent, sentence};
use crate::sync::link::Link;
use crate::sync::stream::Moved;

/// Notes what exchanges came to, and what waits for whom.
pub(crate) struct Ledger {
    database: Database,
    lines: Vec<Outcome>,
    /// Exchanges in which nothing went over: counted, and written down now and then.
    quiet: BTreeMap<(PeerId, SpaceId), (u64, u64)>,
    /// Exchanges of which the last failed: the next that does not is worth a line.
    failed: BTreeSet<(PeerId, SpaceId)>,
    writer: Option<(mpsc::UnboundedSender<Page>, JoinHandle<()>)>,
}

type Page = (Vec<Outcome>, Vec<(PeerId, Unsent)>);

impl Ledger {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, lines: Vec::new(), quiet: BTreeMap::new(), failed: BTreeSet::new(), writer: None }
    }

    fn at_ms(&self) -> u64 {
        self.database.read(|engine| Ok(engine.now())).unwrap_or_default()
    }

    /// An exchange came to its end.
    pub(crate) fn ended(
        &mut self,
        peer: &PeerId,
        link: &mut Link,
        space: SpaceId,
        moved: Moved,
        traffic: Traffic,
        error: Option<String>,
    ) {
        link.moves(space, moved, traffic);
        let at_ms = self.at_ms();
        let key = (*peer, space);
        let failed_before = self.failed.remove(&key);
        let error = error.unwrap_or_default();
        if !error.is_empty() {
            self.failed.insert(key);
        }
        let nothing = link.moved.get(&space).is_none_or(|(all, noted)| all == noted);
        if nothing && error.is_empty() && !failed_before {
            let (count, last) = self.quiet.entry(key).or_default();
            (*count, *last) = (*count + 1, at_ms);
            return;
        }
        let (commits, bytes) = link.take(&space);
        self.line(
            *peer,
            space,
            PastExchange { at_ms, commits, bytes, error },
            u64::from(nothing && failed_before),
        );
    }

    /// An exchange failed, though the connection holds.
    pub(crate) fn failed(&mut self, peer: &PeerId, link: &mut Link, space: SpaceId, error: &Error) {
        let at_ms = self.at_ms();
        self.failed.insert((*peer, space));
        let (commits, bytes) = link.take(&space);
        self.line(*peer, space, PastExchange { at_ms, commits, bytes, error: sentence(error) }, 0);
    }

    fn line(&mut self, peer: PeerId, space: SpaceId, past: PastExchange, more: u64) {
        let quiet = self.quiet.remove(&(peer, space)).map_or(0, |(count, _)| count) + more;
        self.lines.push(Outcome { peer, space, quiet, past });
    }

    /// What went over live since it was last noted.
    pub(crate) fn moved(&mut self, peer: &PeerId, link: &mut Link) {
        let open: Vec<SpaceId> =
            link.moved.iter().filter(|(_, (all, noted))| all > noted).map(|(space, _)| *space).collect();
        let at_ms = if open.is_empty() { 0 } else { self.at_ms() };
        for space in open {
            let (commits, bytes) = link.take(&space);
            self.line(*peer, space, PastExchange { at_ms, commits, bytes, error: String::new() }, 0);
        }
    }

    /// A connection ended.
    pub(crate) fn close(&mut self, peer: &PeerId, link: &mut Link) {
        self.moved(peer, link);
        self.flush_quiet(Some(peer));
        self.note(Vec::new());
    }

    /// Exchanges that brought nothing are to be written down, too: of one peer, or all.
    pub(crate) fn flush_quiet(&mut self, peer: Option<&PeerId>) {
        let ours = |key: &(PeerId, SpaceId)| peer.is_none_or(|peer| key.0 == *peer);
        let from = peer.map_or((PeerId([0; 32]), SpaceId([0; 32])), |peer| (*peer, SpaceId([0; 32])));
        let keys: Vec<(PeerId, SpaceId)> =
            self.quiet.range(from..).map(|(key, _)| *key).take_while(|key| ours(key)).collect();
        for key in keys {
            let Some((quiet, at_ms)) = self.quiet.remove(&key) else { continue };
            let past = PastExchange { at_ms, commits: 0, bytes: 0, error: String::new() };
            self.lines.push(Outcome { peer: key.0, space: key.1, quiet, past });
        }
    }

    /// Hands over what is to be written.
    pub(crate) fn note(&mut self, unsent: Vec<(PeerId, Unsent)>) {
        if self.lines.is_empty() && unsent.is_empty() {
            return;
        }
        let database = self.database.clone();
        let (writer, _) = self.writer.get_or_insert_with(|| {
            let (pages, receiver) = mpsc::unbounded_channel();
            (pages, tokio::spawn(write(database, receiver)))
        });
        // A writer that has ended belongs to a database that has stopped.
        let _ = writer.send((std::mem::take(&mut self.lines), unsent));
    }

    /// Waits until all of it is written.
    pub(crate) async fn finish(&mut self) {
        self.flush_quiet(None);
        self.note(Vec::new());
        if let Some((pages, writer)) = self.writer.take() {
            drop(pages);
            let _ = writer.await;
        }
    }
}

async fn write(database: Database, mut pages: mpsc::UnboundedReceiver<Page>) {
    while let Some((mut lines, unsent)) = pages.recv().await {
        let mut unsent: BTreeMap<PeerId, Unsent> = unsent.into_iter().collect();
        while let Ok((more, newer)) = pages.try_recv() {
            lines.extend(more);
            unsent.extend(newer);
        }
        let database = database.clone();
        let unsent: Vec<_> = unsent.into_iter().collect();
        let work = tokio::task::spawn_blocking(move || database.note_exchanges(&lines, &unsent));
        // What cannot be written is known here no less; a database that has stopped says so to whoever writes.
        if !matches!(work.await, Ok(Ok(()))) {
            return;
        }
    }
}
