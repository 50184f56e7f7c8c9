//! Pulls from a peer by the cursor that is remembered of it; where that is not good any more, both sides reconcile.

use driftless_core::id::{CommitId, PeerId, SpaceId};
use driftless_core::limits::{MAX_PAGE, MAX_WANTED};
use driftless_core::session::{Cursor, PullEnd};
use driftless_net::{Address, Traffic};

use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::replica;
use crate::sync::command::Command;
use crate::sync::network::{Exchange, Network};
use crate::sync::stream::Moved;
use crate::tables::cursor;
use crate::tables::log;

/// Commits here that have no body.
#[derive(Default)]
struct Lacking {
    count: u64,
    /// As many as can be asked for at once.
    ids: Vec<CommitId>,
}

// `None` where the space is not here.
fn lacking(engine: &mut Engine, space: &SpaceId) -> Result<Option<Lacking>, Error> {
    if !engine.load(space)? {
        return Ok(None);
    }
    let mut lacking = Lacking::default();
    let first = engine.random::<8>();
    let (storage, replica) = engine.parts(space)?;
    if replica.counts.wanted == 0 {
        return Ok(Some(lacking));
    }
    for key in replica::wanted_after(storage, replica.number, 0, usize::MAX)? {
        // What waits for the rest of a transaction has its body.
        if log::body(storage, key)?.is_none() {
            lacking.count += 1;
            lacking.ids.push(log::row(storage, key)?.id);
        }
    }
    // Of too many, now these and now those: a peer may have any.
    if lacking.ids.len() > MAX_WANTED {
        let first = usize::try_from(u64::from_be_bytes(first) % lacking.count).unwrap_or_default();
        lacking.ids.rotate_left(first);
        lacking.ids.truncate(MAX_WANTED);
    }
    Ok(Some(lacking))
}

/// What one pull of a space did.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// The space.
    pub space: SpaceId,
    /// From whom.
    pub peer: PeerId,
    /// Commits, states, signatures.
    pub moved: Moved,
    /// Bytes on the wire; of several spaces in one connection, what went over since the one before.
    pub traffic: Traffic,
    /// There was no cursor that the peer's log knows, so both sides reconciled in a session.
    pub reconciled: bool,
    /// All that the peer has is here; else it had less to give than it said.
    pub settled: bool,
    /// Where the next pull goes on, if everything up to there is here.
    pub cursor: Option<Cursor>,
    /// Commits here that wait for a body that the peer does not have either, or for the rest of their transaction.
    pub wanted: u64,
}

impl Network {
    /// Gets what came into the store of the peer at an address since the last pull from it, in one direction and without
    /// a summary; and remembers how far that went.
    pub async fn pull(&self, address: &Address, space: &SpaceId) -> Result<Pulled, Error> {
        let pulled = self.pull_all(address, &[*space]).await?.pop();
        pulled.map_or_else(|| Err(Error::not_found("space", space)), |(_, pulled)| pulled)
    }

    /// The same for many spaces over one connection. Gives what became of each; an error where the peer could not be
    /// reached.
    pub async fn pull_all(
        &self,
        address: &Address,
        spaces: &[SpaceId],
    ) -> Result<Vec<(SpaceId, Result<Pulled, Error>)>, Error> {
        let mut exchange = self.dial_or_note(address).await?;
        let mut done: Vec<(SpaceId, Result<Pulled, Error>)> = Vec::with_capacity(spaces.len());
        let (mut before, mut ended) = (Traffic::default(), false);
        for space in spaces {
            let mut pulled = match ended {
                false => self.pull_over(&mut exchange, *space).await,
                // One tells why, the others that it concerns them, too.
                true => Err(Error::Unreachable("the connection to the peer ended before".into())),
            };
            match &mut pulled {
                Ok(Pulled { traffic, .. }) => {
                    let Traffic { sent, received } = std::mem::replace(&mut before, *traffic);
                    *traffic = Traffic { sent: traffic.sent - sent, received: traffic.received - received };
                }
                Err(Error::NotOpen(_)) => {}
                Err(_) => ended = true,
            }
            done.push((*space, pulled));
        }
        let peer = exchange.peer;
        exchange.end().await;
        let outcomes: Vec<_> = done.iter().map(|(space, pulled)| (*space, pulled.as_ref().err())).collect();
        self.note_all(peer, address, &outcomes)?;
        Ok(done)
    }

    pub(crate) async fn pull_over(&self, exchange: &mut Exchange, space: SpaceId) -> Result<Pulled, Error> {
        let (database, peer) = (self.database().clone(), exchange.peer);
        let (known, mut lacking) = database.read(|engine| {
            let known = cursor::read(engine.storage.as_ref(), &peer, &space)?;
            Ok((known, lacking(engine, &space)?))
        })?;
        let here = lacking.is_some();
        // What is here without a cursor came otherwise: to get all of it again would cost more than to reconcile.
        let budget = if here && known.is_none() { 0 } else { MAX_PAGE as u64 };
        let mut from = known.filter(|_| here);
        let (end, moved, traffic) = loop {
            let before = lacking.unwrap_or_default();
            let pull = Command::Pull(space, from, budget, before.ids);
            let pulled = exchange.pull(pull, space).await?;
            // Bodies that were asked for came, and there are more to ask for.
            (from, lacking) = database.read(|engine| {
                let from = cursor::read(engine.storage.as_ref(), &peer, &space)?;
                Ok((from, self::lacking(engine, &space)?))
            })?;
            let fewer = lacking.as_ref().is_some_and(|now| now.count > 0 && now.count < before.count);
            if pulled.0 != PullEnd::Whole || !fewer {
                break pulled;
            }
        };
        let mut pulled =
            Pulled { space, peer, moved, traffic, reconciled: false, settled: true, cursor: None, wanted: 0 };
        let now = match end {
            PullEnd::Withheld => return Err(Error::NotOpen(space)),
            PullEnd::Whole => None,
            PullEnd::Stale(now) => Some(now),
            PullEnd::Unfit => None,
        };
        if end != PullEnd::Whole {
            let synced = exchange.open(space, None).await?;
            (pulled.moved, pulled.traffic, pulled.reconciled) = (synced.moved, synced.traffic, true);
            pulled.settled = synced.settled;
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
