//! Pulls from a peer by the cursor that is remembered of it; where that is not good any more, both sides reconcile.

use driftless_core::id::{PeerId, SpaceId};
use driftless_core::limits::MAX_PAGE;
use driftless_core::session::{Cursor, PullEnd};
use driftless_net::{Address, Traffic};

use crate::cursor;
use crate::error::Error;
use crate::sync::connection::Command;
use crate::sync::host::Moved;
use crate::sync::network::{Exchange, Network};

/// What one pull of a space did.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// The space.
    pub space: SpaceId,
    /// From whom.
    pub peer: PeerId,
    /// Commits, states, signatures.
    pub moved: Moved,
    /// Bytes on the wire.
    pub traffic: Traffic,
    /// There was no cursor that the peer's log knows, so both sides reconciled in a session.
    pub reconciled: bool,
    /// Where the next pull goes on, if everything up to there is here.
    pub cursor: Option<Cursor>,
    /// Commits here that wait for a body or for the rest of their transaction. A session asks for those; a pull does not.
    pub wanted: u64,
}

impl Network {
    /// Gets what came into the store of the peer at an address since the last pull from it, in one direction and without
    /// a summary; and remembers how far that went.
    pub async fn pull(&self, address: &Address, space: &SpaceId) -> Result<Pulled, Error> {
        let mut exchange = self.dial_or_note(address).await?;
        let pulled = self.pull_over(&mut exchange, *space).await;
        let peer = exchange.peer;
        exchange.end().await;
        self.note(peer, address, *space, pulled.as_ref().err())?;
        pulled
    }

    async fn pull_over(&self, exchange: &mut Exchange, space: SpaceId) -> Result<Pulled, Error> {
        let (database, peer) = (self.database().clone(), exchange.peer);
        let (known, here) = database.read(|engine| {
            Ok((cursor::read(engine.storage.as_ref(), &peer, &space)?, engine.load(&space)?))
        })?;
        // What is here without a cursor came otherwise: to get all of it again would cost more than to reconcile.
        let budget = if here && known.is_none() { 0 } else { MAX_PAGE as u64 };
        let (end, moved, traffic) =
            exchange.pull(Command::Pull(space, known.filter(|_| here), budget), space).await?;
        let mut pulled = Pulled { space, peer, moved, traffic, reconciled: false, cursor: None, wanted: 0 };
        let now = match end {
            PullEnd::Withheld => return Err(Error::NotOpen(space)),
            PullEnd::Whole => None,
            PullEnd::Stale(now) => Some(now),
            PullEnd::Unfit => None,
        };
        if end != PullEnd::Whole {
            let synced = exchange.open(space, None).await?;
            (pulled.moved, pulled.traffic, pulled.reconciled) = (synced.moved, synced.traffic, true);
            if let Some(now) = now.filter(|_| synced.settled) {
                // It is from before the session, so all up to it is here.
                let write = move || {
                    database.write(|engine| {
                        cursor::write(engine.storage.as_mut(), &peer, &space, &now)?;
                        engine.staged();
                        Ok(())
                    })
                };
                let written = tokio::task::spawn_blocking(write).await;
                written.map_err(|_| Error::Poisoned("the work for a pull stopped".into()))??;
            }
        }
        (pulled.cursor, pulled.wanted) = self.database().read(|engine| {
            let cursor = cursor::read(engine.storage.as_ref(), &peer, &space)?;
            let wanted = if engine.load(&space)? { engine.parts(&space)?.1.counts.wanted } else { 0 };
            Ok((cursor, wanted))
        })?;
        Ok(pulled)
    }
}
