//! What stands behind the front: a database as one of its users, and the network that it may be on.

use driftless::{Collection, Database, Error, Network, Peer, PeerId, Space, SyncEngine};
use tokio::runtime::Handle;

use crate::refusal::Refusal;

/// A database, and how it is reached by peers. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) database: Database,
    pub(crate) network: Option<Network>,
    pub(crate) engine: Option<SyncEngine>,
}

impl Backend {
    pub(crate) fn space(&self, name: &str) -> Result<Space, Error> {
        self.database.space(name)
    }

    pub(crate) fn collection(&self, space: &str, collection: &str) -> Result<Collection, Error> {
        self.space(space)?.collection(collection)
    }

    pub(crate) fn network(&self) -> Result<&Network, Refusal> {
        self.network.as_ref().ok_or_else(|| {
            let hint = "`driftless serve` is on the network; a program gives the front its network";
            Refusal::new(400, "not_online", "this front has no network", hint)
        })
    }

    /// A peer by its name or id; one that only ever connected to us, by its whole id.
    pub(crate) fn peer(&self, word: &str) -> Result<PeerId, Error> {
        match (self.database.find_peer(word), word.parse::<PeerId>()) {
            (Ok(peer), _) => Ok(peer.id),
            (Err(_), Ok(id)) => Ok(id),
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Whether each peer is connected, and which spaces wait for it; on a thread that may block.
    pub(crate) fn standing(&self) -> Standing {
        let connected = self.network.as_ref().map(Network::connected);
        let status = self.engine.as_ref().and_then(|engine| Handle::current().block_on(engine.status()).ok());
        // Without an engine, what one has written down when it ended.
        let waiting = match status {
            Some(status) => {
                status.peers.into_iter().map(|(peer, standing)| (peer, standing.waiting)).collect()
            }
            None => {
                let unsent = self.database.unsent().unwrap_or_default();
                unsent.into_iter().map(|(peer, unsent)| (peer, unsent.spaces)).collect()
            }
        };
        Standing { connected, waiting }
    }
}

/// How peers stand now.
pub(crate) struct Standing {
    connected: Option<Vec<PeerId>>,
    waiting: std::collections::BTreeMap<PeerId, Vec<driftless::SpaceId>>,
}

impl Standing {
    /// Null where there is no network.
    pub(crate) fn connected(&self, peer: &Peer) -> Option<bool> {
        self.connected.as_ref().map(|connected| connected.contains(&peer.id))
    }

    pub(crate) fn waiting(&self, peer: &Peer) -> &[driftless::SpaceId] {
        self.waiting.get(&peer.id).map_or(&[], Vec::as_slice)
    }
}
