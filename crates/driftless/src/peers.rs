//! The peers that this database knows: who they are, where they may be found, which spaces are kept in sync with them,
//! and what happened last. Local; never sent.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use driftless_core::id::{AuthorId, PeerId, SpaceId};
use driftless_store::{Key, Order, Storage};

use crate::database::Database;
use crate::error::Error;
use crate::layout::{self, Bytes, put_bytes, put_number};
use crate::met::{Agreed, Met};

/// Addresses kept for a peer, the last one that worked first.
const MAX_ADDRESSES: usize = 16;
/// Peers kept.
const MAX_PEERS: usize = 10_000;

/// A remote database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its node key.
    pub id: PeerId,
    /// Where it may be found, the last one that worked first.
    pub addresses: Vec<String>,
    /// The spaces that are kept in sync with it.
    pub spaces: Vec<SpaceId>,
    /// The author keys that it proved last.
    pub authors: Vec<AuthorId>,
    /// For each space the last moment when both sides had the same.
    pub agreed: Vec<Agreed>,
    /// When an exchange with it last ended well, Unix milliseconds; 0 is never.
    pub last_sync_ms: u64,
    /// Exchanges that ended well.
    pub successes: u64,
    /// Exchanges that did not.
    pub failures: u64,
    /// Why the last one failed, if it did.
    pub last_error: String,
}

impl Peer {
    fn new(id: PeerId) -> Self {
        Self {
            id,
            addresses: Vec::new(),
            spaces: Vec::new(),
            authors: Vec::new(),
            agreed: Vec::new(),
            last_sync_ms: 0,
            successes: 0,
            failures: 0,
            last_error: String::new(),
        }
    }

    /// Takes over what connections came to.
    pub(crate) fn take(&mut self, met: &Met) {
        if !met.authors.is_empty() {
            self.authors.clone_from(&met.authors);
        }
        self.agreed.retain(|old| !met.agreed.contains_key(&old.space));
        self.agreed.extend(met.agreed.values());
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::new();
        for number in [self.last_sync_ms, self.successes, self.failures] {
            put_number(&mut row, number);
        }
        put_bytes(&mut row, self.last_error.as_bytes());
        put_number(&mut row, self.addresses.len() as u64);
        for address in &self.addresses {
            put_bytes(&mut row, address.as_bytes());
        }
        put_number(&mut row, self.spaces.len() as u64);
        for space in &self.spaces {
            row.extend_from_slice(&space.0);
        }
        put_number(&mut row, self.authors.len() as u64);
        for author in &self.authors {
            row.extend_from_slice(&author.0);
        }
        for agreed in &self.agreed {
            row.extend_from_slice(&agreed.space.0);
            put_number(&mut row, agreed.position);
            put_number(&mut row, agreed.at_ms);
        }
        row
    }

    pub(crate) fn decode(id: PeerId, row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        let mut peer = Self::new(id);
        (peer.last_sync_ms, peer.successes, peer.failures) = (row.number()?, row.number()?, row.number()?);
        peer.last_error = row.text()?.to_owned();
        for _ in 0..row.number()? {
            peer.addresses.push(row.text()?.to_owned());
        }
        for _ in 0..row.number()? {
            peer.spaces.push(SpaceId(row.array()?));
        }
        for _ in 0..row.number()? {
            peer.authors.push(AuthorId(row.array()?));
        }
        while let Some(space) = row.array() {
            let (position, at_ms) = (row.number()?, row.number()?);
            peer.agreed.push(Agreed { space: SpaceId(space), position, at_ms });
        }
        Some(peer)
    }
}

impl Database {
    /// All peers, in the order of their ids.
    pub fn peers(&self) -> Result<Vec<Peer>, Error> {
        self.read(|engine| list(engine.storage.as_ref()))
    }

    /// All peers with what connections came to since the database was opened, also those who only ever connected to us:
    /// how far they acknowledged each space now, and whose keys they proved.
    pub fn peers_now(&self) -> Result<Vec<Peer>, Error> {
        let known = self.peers()?.into_iter().map(|peer| (peer.id, peer));
        let mut peers: BTreeMap<PeerId, Peer> = known.collect();
        self.read(|engine| {
            for (id, met) in &engine.met {
                peers.entry(*id).or_insert_with(|| Peer::new(*id)).take(met);
            }
            Ok(())
        })?;
        Ok(peers.into_values().collect())
    }

    /// A peer by its id or a prefix of at least 8 characters.
    pub fn find_peer(&self, text: &str) -> Result<Peer, Error> {
        let mut found = self.peers()?;
        found.retain(|peer| peer.id.to_string() == text || peer.id.has_prefix(text));
        match (found.pop(), found.pop()) {
            (Some(peer), None) => Ok(peer),
            (Some(_), Some(_)) => Err(Error::Ambiguous { what: "peer", name: text.to_owned() }),
            _ => Err(Error::not_found("peer", text)),
        }
    }

    /// Notes an address of a peer; it is tried first from now on.
    pub fn add_peer(&self, id: PeerId, address: &str) -> Result<Peer, Error> {
        self.change_peer(id, |peer| {
            peer.addresses.retain(|other| other != address);
            peer.addresses.insert(0, address.to_owned());
            peer.addresses.truncate(MAX_ADDRESSES);
        })
    }

    /// Forgets a peer.
    pub fn remove_peer(&self, id: &PeerId) -> Result<(), Error> {
        self.write(|engine| {
            engine.storage.remove(&layout::PEER, id.0.as_slice().into())?;
            engine.staged();
            Ok(())
        })
    }

    /// Remembers what a connection with a peer came to.
    pub(crate) fn met_peer(&self, id: PeerId, met: &Met) -> Result<(), Error> {
        self.read(|engine| {
            if engine.met.len() < MAX_PEERS || engine.met.contains_key(&id) {
                engine.met.entry(id).or_default().merge(met);
            }
            Ok(())
        })
    }

    /// What connections with a peer came to since the database was opened.
    pub(crate) fn met(&self, id: &PeerId) -> Result<Met, Error> {
        self.read(|engine| Ok(engine.met.get(id).cloned().unwrap_or_default()))
    }

    /// A peer with what connections that are open came to; `None` if it was never met.
    pub(crate) fn peer_now(&self, id: &PeerId) -> Result<Option<Peer>, Error> {
        let known = self.peers()?.into_iter().find(|peer| peer.id == *id);
        self.read(|engine| {
            let Some(met) = engine.met.get(id) else { return Ok(known) };
            let mut peer = known.unwrap_or_else(|| Peer::new(*id));
            peer.take(met);
            Ok(Some(peer))
        })
    }

    /// Changes what is known of a peer, which is made if it is new.
    pub(crate) fn change_peer(&self, id: PeerId, change: impl FnOnce(&mut Peer)) -> Result<Peer, Error> {
        self.write(|engine| {
            let row = engine.storage.get(&layout::PEER, id.0.as_slice().into())?;
            let mut peer = match row {
                Some(row) => {
                    Peer::decode(id, &row).ok_or_else(|| Error::damaged("a peer does not decode"))?
                }
                None if list(engine.storage.as_ref())?.len() >= MAX_PEERS => {
                    return Err(Error::Invalid(format!("more than {MAX_PEERS} peers; remove some")));
                }
                None => Peer::new(id),
            };
            change(&mut peer);
            engine.storage.put(&layout::PEER, id.0.as_slice().into(), &peer.encode())?;
            engine.staged();
            Ok(peer)
        })
    }
}

pub(crate) fn list(storage: &dyn Storage) -> Result<Vec<Peer>, Error> {
    let (mut peers, mut damaged) = (Vec::new(), false);
    storage.range(&layout::PEER, Bound::Unbounded, Bound::Unbounded, Order::Ascending, &mut |key, row| {
        let Key::Bytes(id) = key else { return ControlFlow::Break(()) };
        match id.try_into().ok().and_then(|id| Peer::decode(PeerId(id), row)) {
            Some(peer) => peers.push(peer),
            None => damaged = true,
        }
        ControlFlow::Continue(())
    })?;
    if damaged { Err(Error::damaged("a peer does not decode")) } else { Ok(peers) }
}
