//! Somebody with a database of their own, who serves it and exchanges with others.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use driftless::{
    Address, Collection, Database, Digest, Document, DocumentId, Durability, Filter, Insert, Invite, Map,
    Network, OpenMode, Operator, Permission, Space, Synced, Ticket,
};
use serde::Serialize;
use tokio::runtime::Handle;

use super::table::id_of;
use crate::failure::{Exit, Failure};
use crate::import::ROWS_PER_TRANSACTION;
use crate::input;

// Far more than an edit needs to the other side of one machine.
const PATIENCE: Duration = Duration::from_secs(20);
const COLLECTION: &str = "subdivisions";

/// A database, and the one space in it once it has one.
pub(super) struct Person {
    /// As in a sentence; the folder has it in lower case.
    pub(super) name: &'static str,
    pub(super) dir: PathBuf,
    database: Database,
    space: Option<Space>,
    handle: Handle,
    online: Option<Online>,
}

/// The database on a network, and where it serves there.
struct Online {
    network: Network,
    address: Address,
}

/// An exchange that `to` began with `from`; `sent` and `out` are those of `to`.
#[derive(Serialize)]
pub(super) struct Exchanged {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
    pub(super) signatures: u64,
    pub(super) rounds: u64,
    pub(super) seconds: f64,
}

impl Person {
    /// Makes a database in a folder of that name; every commit is durable before the next.
    pub(super) fn new(name: &'static str, folder: &Path, handle: &Handle) -> Result<Self, Failure> {
        let dir = folder.join(name.to_lowercase());
        let builder = Database::builder().open_mode(OpenMode::Create).durability(Durability::Each);
        let database = builder.user_name(name).open(&dir)?;
        Ok(Self { name, dir, database, space: None, handle: handle.clone(), online: None })
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn space(&self) -> Result<&Space, Failure> {
        let missing = || Failure::new(Exit::NotFound, "not_found", format!("{} has no space", self.name), "");
        self.space.as_ref().ok_or_else(missing)
    }

    pub(super) fn collection(&self) -> Result<Collection, Failure> {
        Ok(self.space()?.collection(COLLECTION)?)
    }

    pub(super) fn digest(&self) -> Result<Digest, Failure> {
        Ok(self.space()?.digest()?)
    }

    pub(super) fn document(&self, id: &DocumentId) -> Result<Option<Document>, Failure> {
        Ok(self.collection()?.get(id)?)
    }

    /// Makes the space, and puts all rows into it.
    pub(super) fn import(&mut self, rows: &[Map]) -> Result<(), Failure> {
        let space = self.database.create_space("world")?;
        let collection = space.collection(COLLECTION)?;
        for rows in rows.chunks(ROWS_PER_TRANSACTION as usize) {
            let mut transaction = self.database.transaction();
            for fields in rows {
                let insert = Insert { id: Some(id_of(fields)?), parent: None };
                transaction.insert_with(&collection, fields.clone(), insert)?;
            }
            transaction.commit()?;
        }
        self.space = Some(space);
        Ok(())
    }

    /// Opens a network, and serves on it at any free port of this machine.
    pub(super) fn connect(&mut self) -> Result<(), Failure> {
        let network = {
            let _entered = self.handle.enter();
            self.database.network()?
        };
        let anywhere = input::address("127.0.0.1:0")?;
        let address = self.handle.block_on(network.serve(&anywhere))?;
        self.online = Some(Online { network, address });
        Ok(())
    }

    /// Ends all connections.
    pub(super) fn cut(&mut self) {
        if let Some(online) = self.online.take() {
            online.network.close();
        }
    }

    fn online(&self) -> Result<&Online, Failure> {
        let missing = || Failure::new(Exit::Failed, "offline", format!("{} is offline", self.name), "");
        self.online.as_ref().ok_or_else(missing)
    }

    /// Where this one serves.
    pub(super) fn address(&self) -> Result<String, Failure> {
        Ok(self.online()?.address.to_string())
    }

    /// Keeps the known peers connected.
    pub(super) fn stay(&self) -> Result<(), Failure> {
        let _entered = self.handle.enter();
        Ok(self.online()?.network.keep_connected()?)
    }

    /// A ticket for one more person.
    pub(super) fn ticket(&self, permission: Permission) -> Result<Ticket, Failure> {
        let addresses = vec![self.address()?];
        Ok(self.space()?.invite(Invite { permission, uses: Some(1), expires: None, addresses })?)
    }

    /// Joins by somebody's ticket.
    pub(super) fn join(&mut self, from: &Person, ticket: &Ticket) -> Result<Exchanged, Failure> {
        let begun = Instant::now();
        let (space, synced) = self.handle.block_on(self.online()?.network.join(ticket))?;
        self.space = Some(space);
        Ok(Exchanged::new(from, self, &synced, begun))
    }

    /// Exchanges the space with somebody, both directions.
    pub(super) fn sync(&self, with: &Person) -> Result<Exchanged, Failure> {
        let begun = Instant::now();
        let (here, there) = (self.online()?, with.online()?);
        let space = self.space()?.id();
        let exchange = here.network.sync_with_peer(&there.address, &space);
        let synced = self.handle.block_on(exchange)?;
        Ok(Exchanged::new(with, self, &synced, begun))
    }

    /// Edits a document, and waits until somebody connected has that. Gives the time.
    pub(super) fn show(
        &self,
        to: &Person,
        id: &DocumentId,
        edit: Vec<Operator>,
    ) -> Result<Duration, Failure> {
        let filter = Filter::all();
        let mut watch = to.collection()?.watch(filter)?;
        // The documents that are there already.
        while watch.wait_for(Duration::ZERO)?.is_some() {}
        let begun = Instant::now();
        self.collection()?.edit(id, edit)?;
        while let Some(event) = watch.wait_for(PATIENCE)? {
            if event.id.as_ref() == Some(id) {
                return Ok(begun.elapsed());
            }
        }
        let message = format!("an edit of {} did not reach {}", self.name, to.name);
        Err(Failure::new(Exit::Unreachable, "peer_unreachable", message, "run the demo again"))
    }
}

impl Exchanged {
    fn new(from: &Person, to: &Person, synced: &Synced, begun: Instant) -> Self {
        Self {
            from: from.name,
            to: to.name,
            sent: synced.moved.sent,
            received: synced.moved.received,
            bytes_out: synced.traffic.sent,
            bytes_in: synced.traffic.received,
            signatures: synced.moved.signatures,
            rounds: synced.moved.rounds,
            seconds: begun.elapsed().as_secs_f64(),
        }
    }
}
