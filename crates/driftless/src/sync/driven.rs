//! A session over a database, without a network: what comes in and what goes out is in the caller's hands.
//!
//! Connections begin here; fuzzing and tests also drive it themselves, message by message. It reads no socket or clock.

use driftless_core::id::{CommitId, PeerId, SpaceId};
use driftless_core::limits::MAX_PAGE;
use driftless_core::rules::Subject;
use driftless_core::session::{Cursor, Event, Output, Pass, Role, Session};

use crate::database::Database;
use crate::error::Error;
use crate::people::ticket::Ticket;
use crate::sync::host::Host;
use crate::tables::cursor;

/// A new session with `them`, whom the transport has proven, and its host.
pub(crate) fn begin(database: &Database, role: Role, them: PeerId) -> Result<(Session, Host), Error> {
    let (us, nonce, keys) = database
        .read(|engine| Ok((engine.node.id(), engine.random(), engine.users.proving(&engine.acting))))?;
    Ok((Session::new(role, us, them, nonce, keys), Host::new(database.clone(), them)))
}

/// One side of a session. After each call that gives it something, `work` until nothing comes out.
#[derive(Debug)]
pub struct DrivenSession {
    session: Session,
    host: Host,
    them: PeerId,
}

/// What one piece of the work of a session gave.
#[derive(Debug)]
pub enum SessionTurn {
    /// A message for the other side.
    Message(Vec<u8>),
    /// Something was asked of the database, and answered.
    Work,
    /// News.
    News(Event),
}

impl DrivenSession {
    /// The session of a connection whose transport has proven `them`.
    pub fn new(database: &Database, role: Role, them: PeerId) -> Result<Self, Error> {
        let (session, host) = begin(database, role, them)?;
        Ok(Self { session, host, them })
    }

    /// Where the other side comes from, as a transport would know it.
    pub fn from(mut self, source: std::net::IpAddr) -> Self {
        self.host.source = Some(source);
        self
    }

    /// Asks for access.
    pub fn request(&mut self, request: driftless_core::session::AccessRequest) {
        self.session.request(request);
    }

    /// Begins the exchange of a space.
    pub fn open(&mut self, space: SpaceId) {
        self.session.open(space, None);
    }

    /// Begins the exchange of many spaces at once.
    pub fn open_all(&mut self, spaces: &[SpaceId]) {
        self.session.open_all(spaces);
    }

    /// Begins the exchange of the space of a ticket, which lets this side in. Once it is settled, `redeem`.
    pub fn join(&mut self, ticket: &Ticket) -> Result<(), Error> {
        let joiner = self.host.database().author()?;
        self.session.open(ticket.space, Some(Pass::Invite(ticket.proof(&joiner))));
        Ok(())
    }

    /// Writes that the ticket was used, if the rules do not name this side yet. It is durable like everything written here.
    pub fn redeem(&self, ticket: &Ticket) -> Result<Option<CommitId>, Error> {
        let joiner = self.host.database().author()?;
        self.host.database().write(|engine| {
            if engine.present(&ticket.space)?.rules.members().contains_key(&Subject::Key(joiner)) {
                return Ok(None);
            }
            engine.write_rules(&ticket.space, vec![ticket.redeem(&joiner)]).map(Some)
        })
    }

    /// Begins to pull a space, from where the last pull from this peer ended.
    pub fn pull(&mut self, space: SpaceId) -> Result<(), Error> {
        let (known, here) = self.host.database().read(|engine| {
            Ok((cursor::read(engine.storage.as_ref(), &self.them, &space)?, engine.load(&space)?))
        })?;
        let budget = if here && known.is_none() { 0 } else { MAX_PAGE as u64 };
        self.session.pull(space, known.filter(|_| here), budget);
        Ok(())
    }

    /// From where the next pull of a space from this peer goes on.
    pub fn cursor(&self, space: &SpaceId) -> Result<Option<Cursor>, Error> {
        self.host.database().read(|engine| cursor::read(engine.storage.as_ref(), &self.them, space))
    }

    /// Both sides have reconciled a space since the peer gave this cursor, in answer to a pull.
    pub fn keep_cursor(&self, space: &SpaceId, cursor: &Cursor) -> Result<(), Error> {
        self.host.database().write(|engine| {
            cursor::write(engine.storage.as_mut(), &self.them, space, cursor)?;
            engine.staged();
            Ok(())
        })
    }

    /// Something was written in a space.
    pub fn changed(&mut self, space: &SpaceId) {
        self.session.changed(space);
    }

    /// A message from the other side. An error ends the session.
    pub fn receive(&mut self, message: &[u8]) -> Result<(), Error> {
        if !Session::is_data(message) {
            self.host.acknowledge(&mut self.session)?;
        }
        Ok(self.session.handle_frame(message)?)
    }

    /// The connection is gone.
    pub fn end(self) -> Result<(), Error> {
        self.host.end()
    }

    /// Does what the session asks of the database; gives its messages for the other side, and its news.
    pub fn work(&mut self) -> Result<(Vec<Vec<u8>>, Vec<Event>), Error> {
        let (mut messages, mut news) = (Vec::new(), Vec::new());
        while let Some(turn) = self.turn()? {
            match turn {
                SessionTurn::Message(message) => messages.push(message),
                SessionTurn::Work => {}
                SessionTurn::News(event) => news.push(event),
            }
        }
        Ok((messages, news))
    }

    /// The same piece by piece, so that something else can be done in between; `None` if there is nothing left.
    pub fn turn(&mut self) -> Result<Option<SessionTurn>, Error> {
        Ok(match self.session.poll() {
            None if self.host.owes() => {
                self.host.acknowledge(&mut self.session)?;
                Some(SessionTurn::Work)
            }
            None => None,
            Some(Output::Send(message)) => Some(SessionTurn::Message(message)),
            Some(Output::Event(event)) => Some(SessionTurn::News(event)),
            Some(Output::Ask(ask)) => {
                self.host.answer(&mut self.session, ask)?;
                Some(SessionTurn::Work)
            }
        })
    }
}
