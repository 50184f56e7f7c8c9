//! Joining a space: by a ticket, as another device of a user, or as a key that another space lets in.
//!
//! It makes one exchange, writes what lets the key in, and sees that the peer gets it before the connection ends.

use driftless_core::id::{AuthorId, SpaceId};
use driftless_core::rules::Subject;
use driftless_core::session::Pass;
use driftless_net::Address;

use crate::error::Error;
use crate::people::ticket::Ticket;
use crate::space::Space;
use crate::sync::network::{Exchange, Network, Synced};

impl Network {
    /// Joins a space by a ticket, or goes on with a join that was cut.
    pub async fn join(&self, ticket: &Ticket) -> Result<(Space, Synced), Error> {
        let database = self.database();
        let author = database.author()?;
        let mut failed = Error::Invalid("the ticket has no address".into());
        for address in &ticket.addresses {
            let address: Address = address.parse().map_err(|error| Error::Invalid(format!("{error}")))?;
            let mut exchange = match self.dial(&address.clone().with_peer(ticket.peer)).await {
                Ok(exchange) => exchange,
                Err(error) => {
                    failed = error;
                    continue;
                }
            };
            let synced = self.join_over(&mut exchange, ticket, author).await;
            exchange.end().await;
            let synced = synced?;
            self.note(exchange.peer, &address, ticket.space, None)?;
            // Where it says that it is besides: nobody has met it there.
            database.advertise_peer(&exchange.peer, &ticket.addresses)?;
            return Ok((database.space(&ticket.space.to_string())?, synced));
        }
        Err(failed)
    }

    /// Joins a space of which only the id is known, by the space `by`, which is here and lets in this database's key: the
    /// peer at the address serves it if that space grants something to those of `by`. Then enrols.
    pub async fn join_through(
        &self,
        address: &Address,
        space: &SpaceId,
        by: &SpaceId,
    ) -> Result<(Space, Synced), Error> {
        let database = self.database();
        let pass = database.read(|engine| engine.pass_by(by))?;
        let mut exchange = self.dial_or_note(address).await?;
        let synced = match exchange.open(*space, Some(pass)).await {
            Ok(synced) => self.enrol_over(&mut exchange, synced).await,
            Err(Error::NotOpen(_)) => Err(Error::NotPermitted(format!(
                "the peer lets in no key of space {by} there: ask an admin to grant that space something, or synchronise it"
            ))),
            Err(error) => Err(error),
        };
        exchange.end().await;
        self.note(exchange.peer, address, *space, synced.as_ref().err())?;
        let synced = synced?;
        Ok((database.space(&space.to_string())?, synced))
    }

    /// A key that another space lets in enters this one, as soon as it has the rules.
    pub(super) async fn enrol_over(&self, exchange: &mut Exchange, synced: Synced) -> Result<Synced, Error> {
        if self.enrol_where_let_in(synced.space).await? {
            self.told(exchange, synced).await
        } else {
            Ok(synced)
        }
    }

    /// Enters a space by whichever other one lets a key of the user in; says whether it did.
    pub(super) async fn enrol_where_let_in(&self, space: SpaceId) -> Result<bool, Error> {
        let database = self.database().clone();
        let enrolled = tokio::task::spawn_blocking(move || {
            if !database.read(|engine| engine.could_enrol(&space))? {
                return Ok(false);
            }
            database.write(|engine| engine.enrol_where_let_in(&space))
        });
        enrolled.await.map_err(|_| Error::Poisoned("enrolling stopped".into()))?
    }

    /// Joins the identity that another device of the user lives in, by a ticket of that device: from then on this
    /// device is the same user.
    pub async fn join_identity(&self, ticket: &Ticket) -> Result<(Space, Synced), Error> {
        if self.database().identity()?.is_some_and(|identity| identity != ticket.space) {
            return Err(Error::Exists(format!("an identity of user {}", self.database().user()?)));
        }
        let (space, synced) = self.join(ticket).await?;
        self.database().adopt_identity(&space.id())?;
        Ok((space, synced))
    }

    pub(super) async fn join_over(
        &self,
        exchange: &mut Exchange,
        ticket: &Ticket,
        author: AuthorId,
    ) -> Result<Synced, Error> {
        let database = self.database().clone();
        let synced = exchange.open(ticket.space, Some(Pass::Invite(ticket.proof(&author)))).await;
        let synced = synced.map_err(|error| match error {
            Error::NotOpen(_) => Error::NotPermitted(
                "the peer does not let this ticket in: it is wrong, used up, expired or ended".into(),
            ),
            other => other,
        })?;
        let (space, redeem) = (ticket.space, ticket.redeem(&author));
        let redeemed = tokio::task::spawn_blocking(move || {
            let stated = database.read(|engine| {
                let members = engine.present(&space)?.rules.members();
                Ok(members.contains_key(&Subject::Key(author)))
            })?;
            if !stated {
                // By the key that the proof was made for, whatever others may do there.
                database.write(|engine| {
                    engine.with_key(author, |engine| engine.write_rules(&space, vec![redeem]))
                })?;
            }
            Ok::<_, Error>(!stated)
        });
        if !redeemed.await.map_err(|_| Error::Poisoned("joining stopped".into()))?? {
            return Ok(synced);
        }
        self.told(exchange, synced).await
    }

    // Waits until the peer has what was just written; not where it may not read that here, as far as is known.
    async fn told(&self, exchange: &mut Exchange, synced: Synced) -> Result<Synced, Error> {
        let (database, peer, space) = (self.database().clone(), exchange.peer, synced.space);
        let serves = tokio::task::spawn_blocking(move || {
            let keys = database.met(&peer)?.authors;
            database.serves(&peer, &space, &keys)
        });
        if serves.await.map_err(|_| Error::Poisoned("joining stopped".into()))?? {
            return exchange.sent_more(synced).await;
        }
        Ok(synced)
    }
}
