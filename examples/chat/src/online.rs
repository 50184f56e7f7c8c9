//! The database of a user on the network: opened, served, and kept connected with every device it has met.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use driftless::{Address, Database, Network, Relay, Requested, SpaceId};
use tokio::runtime::{Builder, Runtime};

use crate::room::{Room, WRITER};

// What is said to peers at the end gets this long.
const FAREWELL: Duration = Duration::from_secs(2);

/// What carries messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Carrier {
    /// Encrypted by driftless itself, over plain HTTP
    Http,
    /// QUIC, directly or through relays
    Iroh,
}

/// A database on the network.
pub(crate) struct Online {
    pub(crate) database: Database,
    pub(crate) network: Network,
    pub(crate) username: String,
    carrier: Carrier,
    address: Address,
    // Drives the network on threads of its own; the rest of the program only waits for it.
    runtime: Runtime,
}

impl Online {
    /// Opens the database in a folder, and serves it.
    pub(crate) fn open(
        dir: &Path,
        username: &str,
        carrier: Carrier,
        relay: Relay,
        listen: Option<SocketAddr>,
    ) -> Result<Self, Box<dyn Error>> {
        let database = Database::builder().user_name(username).open(dir.join("database"))?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let entered = runtime.enter();
        // A relay is no way to a device that only hears itself.
        let anywhere = carrier == Carrier::Iroh && relay != Relay::None;
        let usual = if anywhere { [0, 0, 0, 0] } else { [127, 0, 0, 1] };
        let network = match carrier {
            Carrier::Http => Network::builder(&database).http().open()?,
            Carrier::Iroh => Network::builder(&database).iroh(relay).open()?,
        };
        drop(entered);
        let place = dir.join(carrier.scheme().trim_end_matches(['/', ':']));
        let address = runtime.block_on(serve(&network, carrier, listen, (usual, 0).into(), &place))?;
        let address = address.with_peer(database.peer()?);
        Ok(Self { database, network, username: username.to_owned(), carrier, address, runtime })
    }

    /// How others connect to a room that this device has made.
    pub(crate) fn invitation(&self, room: &Room) -> String {
        format!("{}@{}", room.id(), self.address)
    }

    /// The room at an address; asks to be let in where it is not here yet.
    pub(crate) fn connect(&self, word: &str) -> Result<Room, Box<dyn Error>> {
        let (room, address) = word.split_once('@').ok_or("`--connect` takes ROOM@ADDRESS")?;
        let id: SpaceId = room.parse().map_err(|_| "what stands before the @ is not the id of a room")?;
        let has_scheme = [Carrier::Http, Carrier::Iroh].iter().any(|any| address.starts_with(any.scheme()));
        let scheme = if has_scheme { "" } else { self.carrier.scheme() };
        let address: Address = format!("{scheme}{address}").parse()?;
        let find =
            || Ok::<_, driftless::Error>(Room::all(&self.database)?.into_iter().find(|room| room.id() == id));
        if let Some(room) = find()? {
            // Nobody has to be there; but where they may be found is worth knowing.
            if let Some(peer) = address.peer {
                self.database.add_peer(peer, &Address { peer: None, ..address }.to_string())?;
            }
            return Ok(room);
        }
        match self.runtime.block_on(self.network.request(&address, &id, WRITER, &self.username))? {
            Requested::Joined { .. } => Ok(find()?.ok_or("the room did not arrive; connect again")?),
            Requested::Queued(_) => Err("an admin of that room decides; connect again later".into()),
        }
    }

    /// Stays in touch with every device that was ever met, and looks for it again where it is away.
    pub(crate) fn keep_connected(&self) -> Result<(), driftless::Error> {
        let _entered = self.runtime.enter();
        self.network.keep_connected()
    }

    /// Serves until Ctrl-C.
    pub(crate) fn wait_for_ctrl_c(&self) -> std::io::Result<()> {
        self.runtime.block_on(tokio::signal::ctrl_c())
    }

    /// Tells the peers that this device leaves.
    pub(crate) fn close(self) {
        self.runtime.block_on(self.network.close_and_tell());
        self.runtime.shutdown_timeout(FAREWELL);
    }
}

impl Carrier {
    fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Iroh => "iroh:",
        }
    }
}

// Serves where it is wished. Else where it was the last time, which is in the file `place`: others remember where this
// device was. Else at the usual place.
async fn serve(
    network: &Network,
    carrier: Carrier,
    listen: Option<SocketAddr>,
    usual: SocketAddr,
    place: &Path,
) -> Result<Address, Box<dyn Error>> {
    let last = || fs::read_to_string(place).ok()?.parse().ok();
    let at = listen.or_else(last).unwrap_or(usual);
    let on = |at: SocketAddr| format!("{}{at}", carrier.scheme()).parse::<Address>();
    let address = match network.serve(&on(at)?).await {
        Err(_) if listen.is_none() => network.serve(&on(usual)?).await?,
        served => served?,
    };
    let text = Address { peer: None, ..address.clone() }.to_string();
    if let Some(port) = text.split(',').next().and_then(|first| first.rsplit(':').next()?.parse().ok()) {
        fs::write(place, SocketAddr::new(at.ip(), port).to_string())?;
    }
    Ok(address)
}
