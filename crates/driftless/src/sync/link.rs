//! What the sync engine hears and is told, and a connection as it sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use driftless_core::id::{PeerId, SpaceId};
use driftless_net::Traffic;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::error::Error;
use crate::peers::exchanges::sentence;
use crate::sync::command::{Command, News};
use crate::sync::events::SyncEvent;
use crate::sync::plan::Standing;
use crate::sync::stream::Moved;

/// Why an exchange failed in which the peer stopped to give.
pub(crate) const STALLED: &str = "the peer had less to give than it said";

/// Why an exchange failed that the peer does not want.
pub(crate) fn declined(why: &str) -> Error {
    Error::Peer(format!("the peer does not take more of this space for now: {why}"))
}

/// What the engine is told.
pub(crate) enum Order {
    /// A peer has connected to us.
    Arrived(Link),
    /// What a dial came to.
    Dialed(PeerId, Result<Link, Error>),
    /// A connection tells something.
    News(PeerId, u64, News),
    /// A connection ended.
    Ended(PeerId, u64, Option<Error>),
    /// Exchange now.
    SyncNow(Option<PeerId>, Option<SpaceId>),
    /// Do nothing more, or go on.
    Pause(bool),
    /// Say when all is delivered, or when so much time is over.
    Flush(Duration, oneshot::Sender<Flushed>),
    /// Say how everything stands.
    Status(oneshot::Sender<EngineStatus>),
    /// Say goodbye, and end.
    Close(Duration, oneshot::Sender<()>),
}

/// How the engine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineStatus {
    /// Nothing is done before `resume`.
    pub paused: bool,
    /// Every peer that it knows.
    pub peers: BTreeMap<PeerId, Standing>,
}

/// What `flush` came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flushed {
    /// To whom something of which space was not delivered in time; nothing if all was.
    pub missing: Vec<(PeerId, SpaceId)>,
}

/// A connection, as others see it.
pub(crate) struct Connected {
    pub(crate) peer: PeerId,
    /// Which of all connections of this network.
    pub(crate) number: u64,
    /// Since when no space is open on it, if none is.
    pub(crate) idle: watch::Sender<Option<Instant>>,
    pub(crate) leave: watch::Sender<bool>,
    /// Of a connection that the peer made: what it may be told.
    pub(crate) inbound: Option<mpsc::Sender<Command>>,
}

impl Connected {
    /// Ends the connection whatever it is doing.
    pub(crate) fn cut(&self) {
        self.leave.send_replace(true);
    }
}

/// A connection to a peer that is open.
pub(crate) struct Link {
    pub(crate) peer: PeerId,
    /// Of all connections of this network.
    pub(crate) number: u64,
    /// This side made it.
    pub(crate) dialed: bool,
    /// There is no room for more spaces in its session.
    pub(crate) full: bool,
    /// When it last told anything.
    pub(crate) heard: Instant,
    ending: bool,
    commands: mpsc::Sender<Command>,
    connected: Arc<Connected>,
    /// Commits that went over so far, of each space, and how many of them are noted.
    pub(crate) moved: BTreeMap<SpaceId, (u64, u64)>,
    bytes: u64,
    noted_bytes: u64,
    told: BTreeMap<SpaceId, Moved>,
    told_bytes: u64,
}

impl Link {
    pub(crate) fn new(connected: Arc<Connected>, commands: mpsc::Sender<Command>, dialed: bool) -> Self {
        Self {
            peer: connected.peer,
            number: connected.number,
            dialed,
            full: false,
            heard: Instant::now(),
            ending: false,
            commands,
            connected,
            moved: BTreeMap::new(),
            bytes: 0,
            noted_bytes: 0,
            told: BTreeMap::new(),
            told_bytes: 0,
        }
    }

    /// Tells the connection what to do, when it gets to it.
    pub(crate) fn command(&self, command: Command) {
        if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(command) {
            let commands = self.commands.clone();
            tokio::spawn(async move { commands.send(command).await.is_ok() });
        }
    }

    /// Says goodbye.
    pub(crate) fn end(&mut self) {
        self.ending = true;
        self.command(Command::End);
    }

    /// Whether this side has said goodbye.
    pub(crate) fn ending(&self) -> bool {
        self.ending
    }

    /// Ends it whatever it is doing.
    pub(crate) fn cut(&self) {
        self.connected.cut();
    }

    /// Takes over what went over so far.
    pub(crate) fn moves(&mut self, space: SpaceId, moved: Moved, traffic: Traffic) {
        self.bytes = self.bytes.max(traffic.sent + traffic.received);
        let commits = moved.sent + moved.received;
        if commits > 0 {
            self.moved.entry(space).or_default().0 = commits;
        }
    }

    /// What listeners hear of news: nothing of an exchange in which nothing went over and that nobody had asked for.
    pub(crate) fn event(&mut self, news: &News, running: impl Fn(&SpaceId) -> bool) -> Option<SyncEvent> {
        let peer = self.peer;
        let failed = |space: &SpaceId, error: &Error| {
            let (moved, error) = (Moved::default(), Some(sentence(error)));
            SyncEvent::Exchange { peer, space: *space, moved, bytes: 0, error }
        };
        let (space, moved, traffic, error) = match news {
            News::Settled(space, moved, traffic) => (space, moved, traffic, None),
            News::Stalled(space, moved, traffic) => (space, moved, traffic, Some(STALLED.to_owned())),
            News::Closed(space) => return Some(failed(space, &Error::NotOpen(*space))),
            News::Declined(space, why) => return Some(failed(space, &declined(why))),
            _ => return None,
        };
        let (moved, bytes) = self.untold(*space, *moved, *traffic);
        let is_worth_it = error.is_some() || moved.sent + moved.received > 0 || running(space);
        is_worth_it.then_some(SyncEvent::Exchange { peer, space: *space, moved, bytes, error })
    }

    // What went over in a space since this was asked last, and the bytes of all spaces meanwhile.
    fn untold(&mut self, space: SpaceId, moved: Moved, traffic: Traffic) -> (Moved, u64) {
        let before = self.told.get(&space).copied().unwrap_or_default();
        let mut since = Moved::default();
        since.add_since(&before, &moved);
        if moved != before {
            self.told.insert(space, moved);
        }
        let bytes = traffic.sent + traffic.received;
        (since, bytes.saturating_sub(std::mem::replace(&mut self.told_bytes, bytes)))
    }

    /// What of it is not noted yet: commits of this space, bytes of all.
    pub(crate) fn take(&mut self, space: &SpaceId) -> (u64, u64) {
        let bytes = self.bytes.saturating_sub(std::mem::replace(&mut self.noted_bytes, self.bytes));
        let commits = self.moved.get_mut(space).map_or(0, |(all, noted)| {
            let before = std::mem::replace(noted, *all);
            all.saturating_sub(before)
        });
        (commits, bytes)
    }
}
