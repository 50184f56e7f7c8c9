//! Asks a peer for access to a space, or which spaces it lets this user read; and joins where access is there.

use driftless_core::id::{RequestId, SpaceId};
use driftless_core::limits::{MAX_FOUND, MAX_NOTE};
use driftless_core::rules::Permission;
use driftless_core::session::{AccessRequest, Answer, Discovered};
use driftless_net::Address;

use crate::error::Error;
use crate::space::Space;
use crate::sync::command::{Command, News};
use crate::sync::network::{Exchange, Network, Synced};

/// Spaces that a peer may tell of: what a hostile one can make us hold, 20 MiB.
const MAX_LISTED: usize = 65_536;

/// What became of a request for access.
#[derive(Debug)]
pub enum Requested {
    /// Access is there, and the space is here now.
    Joined {
        /// The space.
        space: Space,
        /// What this user may do in it.
        permission: Permission,
        /// What the first exchange did.
        synced: Box<Synced>,
    },
    /// An admin decides; this is the id of the request there. Ask again to hear of it.
    Queued(RequestId),
}

impl Network {
    /// Asks the peer at an address to give this user a permission in a space that need not be here, and joins at once
    /// where it does, or has done so before. Asking again changes the request that waits there. A refusal is
    /// `Error::NotOpen`, also where the peer does not have the space.
    pub async fn request(
        &self,
        address: &Address,
        space: &SpaceId,
        permission: Permission,
        note: &str,
    ) -> Result<Requested, Error> {
        if note.len() > MAX_NOTE {
            return Err(Error::Invalid(format!("a note has at most {MAX_NOTE} bytes")));
        }
        let author = self.database().author()?;
        let request = AccessRequest { space: *space, author, permission, note: note.to_owned() };
        let mut exchange = self.dial_or_note(address).await?;
        let requested = self.request_over(&mut exchange, request).await;
        exchange.end().await;
        if let Ok(Requested::Joined { .. }) = &requested {
            self.note(exchange.peer, address, *space, None)?;
        }
        requested
    }

    async fn request_over(
        &self,
        exchange: &mut Exchange,
        request: AccessRequest,
    ) -> Result<Requested, Error> {
        let space = request.space;
        let answer = exchange.ask(Command::Request(Box::new(request)), |news| match news {
            News::Answered(of, answer) if of == space => Some(answer),
            _ => None,
        });
        match answer.await? {
            Answer::Refused => Err(Error::NotOpen(space)),
            Answer::Full => Err(Error::QueueFull),
            Answer::Queued(id) => Ok(Requested::Queued(id)),
            Answer::Allowed(permission) => {
                let synced = exchange.open(space, None).await?;
                let space = self.database().space(&space.to_string())?;
                Ok(Requested::Joined { space, permission, synced: Box::new(synced) })
            }
        }
    }

    /// Which spaces the peer at an address lets this user read, by id, with the names that their rules give. It tells of
    /// no others.
    pub async fn discover(&self, address: &Address) -> Result<Vec<Discovered>, Error> {
        let mut exchange = self.dial_or_note(address).await?;
        let found = discover_over(&mut exchange).await;
        exchange.end().await;
        found
    }
}

async fn discover_over(exchange: &mut Exchange) -> Result<Vec<Discovered>, Error> {
    let mut found: Vec<Discovered> = Vec::new();
    loop {
        let after = found.last().map(|last| last.space);
        let (page, more) = exchange
            .ask(Command::Discover(after), |news| match news {
                News::Found(spaces, more) => Some((spaces, more)),
                _ => None,
            })
            .await?;
        let goes_on = page.first().is_none_or(|first| after.is_none_or(|after| first.space > after));
        if !goes_on || found.len() > MAX_LISTED - MAX_FOUND {
            return Err(Error::Peer("the peer tells of spaces without end".into()));
        }
        found.extend(page);
        if !more {
            return Ok(found);
        }
    }
}
