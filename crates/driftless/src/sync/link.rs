//! What the sync engine hears and is told, and a connection as it sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use driftless_core::id::{PeerId, SpaceId};
use driftless_net::Traffic;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::error::Error;
use crate::sync::connection::{Command, News};
use crate::sync::plan::Standing;
use crate::sync::stream::Moved;

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

    /// What went over in a space since this was asked last, and the bytes of all spaces meanwhile.
    pub(crate) fn untold(&mut self, space: SpaceId, moved: Moved, traffic: Traffic) -> (Moved, u64) {
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
