//! Who is heard of on the local network. It is hearsay: a known peer is looked for there, and proves itself when it is
//! dialed; of others nothing follows.

use std::time::Duration;

use driftless_core::id::PeerId;
use driftless_net::{Address, Neighbours};
use tokio::sync::watch;

use crate::error::Error;
use crate::peers::Peer;
use crate::sync::network::{Exchange, Network};

impl Network {
    /// Waits this long for peers on the local network to say that they are there, and gives where they say they are, each
    /// with its peer id. An error where this network does not look (`NetworkBuilder::lan`).
    pub async fn neighbours(&self, patience: Duration) -> Result<Vec<Address>, Error> {
        let told = self.hearsay()?.ok_or_else(|| {
            Error::Invalid("this network does not look for peers on the local network".into())
        })?;
        tokio::time::sleep(patience).await;
        let ours = self.database().peer()?;
        let neighbours = told.borrow();
        Ok(neighbours.addresses().filter(|address| address.peer != Some(ours)).cloned().collect())
    }

    /// What is heard, from now on; nothing where nobody looks.
    pub(crate) fn hearsay(&self) -> Result<Option<watch::Receiver<Neighbours>>, Error> {
        Ok(self.transport().neighbours()?)
    }

    /// Where a peer may be found nearby.
    pub(crate) fn near(&self, peer: &PeerId) -> Option<Address> {
        let told = self.hearsay().ok()??;
        let neighbours = told.borrow();
        let anywhere = || {
            // Where very many say that they are there, this one is asked for by name.
            let anywhere = neighbours.is_full().then(|| "iroh:".parse::<Address>().ok()).flatten();
            anywhere.map(|anywhere| anywhere.with_peer(*peer))
        };
        neighbours.get(peer).cloned().or_else(anywhere)
    }

    /// Tries where a known peer is heard of nearby. That is true for now, if at all: it is not written down.
    pub(crate) async fn reach_near(&self, peer: &Peer) -> Result<Option<Exchange>, Error> {
        let Some(near) = self.near(&peer.id) else { return Ok(None) };
        // Why not is of no interest: anybody may have said that it is there.
        let Ok(exchange) = self.dial(&near).await else { return Ok(None) };
        if !peer.last_error.is_empty() {
            self.database().change_peer(peer.id, |peer| peer.last_error.clear())?;
        }
        Ok(Some(exchange))
    }
}
