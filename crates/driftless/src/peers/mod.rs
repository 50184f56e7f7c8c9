//! The peers that this database knows: who they are, where they may be found, which spaces are kept in sync with them,
//! and what happened last. Local; never sent.

pub(crate) mod exchanges;
pub(crate) mod prefs;
pub(crate) mod progress;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Bound, ControlFlow};

use driftless_core::id::{AuthorId, PeerId, SpaceId};
use driftless_store::{Key, Order, Storage};

use crate::database::Database;
use crate::error::Error;
use crate::peers::exchanges::{Exchanges, Outcome, Unsent};
use crate::state::met::{Agreed, Met};
use crate::tables::agreed;
use crate::tables::layout::{self, Bytes, put_bytes, put_number};

/// Addresses kept for a peer, the last one that worked first.
const MAX_ADDRESSES: usize = 16;
/// Bytes of a name.
const MAX_NAME: usize = 64;
/// Peers kept.
const MAX_PEERS: usize = 10_000;

/// A remote database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its node key.
    pub id: PeerId,
    /// A name that only this database uses; empty if it has none.
    pub name: String,
    /// Where it may be found, the last one that worked first.
    pub addresses: Vec<String>,
    /// Where others say that it may be found. Nothing is dialed there before somebody adds it to the addresses.
    pub advertised: Vec<String>,
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
            name: String::new(),
            addresses: Vec::new(),
            advertised: Vec::new(),
            spaces: Vec::new(),
            authors: Vec::new(),
            agreed: Vec::new(),
            last_sync_ms: 0,
            successes: 0,
            failures: 0,
            last_error: String::new(),
        }
    }

    /// An address that is tried first from now on: somebody named it, or the peer has just proven itself there.
    pub(crate) fn prefer(&mut self, address: &str) {
        self.advertised.retain(|other| other != address);
        self.addresses.retain(|other| other != address);
        self.addresses.insert(0, address.to_owned());
        self.addresses.truncate(MAX_ADDRESSES);
    }

    // What became of an exchange, or of several that brought nothing.
    fn noted(&mut self, outcome: &Outcome) {
        let past = &outcome.past;
        self.successes += outcome.quiet;
        if past.error.is_empty() {
            self.successes += u64::from(past.commits > 0);
            self.last_sync_ms = self.last_sync_ms.max(past.at_ms);
            self.last_error.clear();
        } else {
            self.failures += 1;
            self.last_error.clone_from(&past.error);
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
        put_bytes(&mut row, self.name.as_bytes());
        for addresses in [&self.addresses, &self.advertised] {
            put_number(&mut row, addresses.len() as u64);
            for address in addresses {
                put_bytes(&mut row, address.as_bytes());
            }
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
        peer.name = row.text()?.to_owned();
        for addresses in [&mut peer.addresses, &mut peer.advertised] {
            for _ in 0..row.number()? {
                addresses.push(row.text()?.to_owned());
            }
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

    /// A peer by its name, its id, or a prefix of that of at least 8 characters.
    pub fn find_peer(&self, text: &str) -> Result<Peer, Error> {
        let mut found = self.peers()?;
        let named = |peer: &Peer| !text.is_empty() && peer.name == text;
        if found.iter().any(named) {
            found.retain(named);
        } else {
            found.retain(|peer| peer.id.to_string() == text || peer.id.has_prefix(text));
        }
        match (found.pop(), found.pop()) {
            (Some(peer), None) => Ok(peer),
            (Some(_), Some(_)) => Err(Error::Ambiguous { what: "peer", name: text.to_owned() }),
            _ => Err(Error::not_found("peer", text)),
        }
    }

    /// Notes an address of a peer; it is tried first from now on.
    pub fn add_peer(&self, id: PeerId, address: &str) -> Result<Peer, Error> {
        self.change_peer(id, |peer| peer.prefer(address))
    }

    /// Takes an address of a peer away; `false` if it was not there.
    pub fn remove_peer_address(&self, id: &PeerId, address: &str) -> Result<bool, Error> {
        self.known_peer(id)?.ok_or_else(|| Error::not_found("peer", id))?;
        let mut there = false;
        self.change_peer(*id, |peer| {
            for addresses in [&mut peer.addresses, &mut peer.advertised] {
                let before = addresses.len();
                addresses.retain(|other| other != address);
                there |= addresses.len() < before;
            }
        })?;
        Ok(there)
    }

    /// Notes where others say that a known peer may be found. Nothing is dialed there: `add_peer` confirms an address.
    pub fn advertise_peer(&self, id: &PeerId, addresses: &[String]) -> Result<Peer, Error> {
        self.known_peer(id)?.ok_or_else(|| Error::not_found("peer", id))?;
        self.change_peer(*id, |peer| {
            for address in addresses {
                let address = address.split('#').next().unwrap_or_default().trim_end_matches('/');
                let is_known = |known: &Vec<String>| known.iter().any(|known| known == address);
                if !is_known(&peer.addresses) && !is_known(&peer.advertised) {
                    peer.advertised.insert(0, address.to_owned());
                }
            }
            peer.advertised.truncate(MAX_ADDRESSES);
        })
    }

    /// Gives a peer a name that only this database uses; an empty one takes it away.
    pub fn name_peer(&self, id: &PeerId, name: &str) -> Result<Peer, Error> {
        self.known_peer(id)?.ok_or_else(|| Error::not_found("peer", id))?;
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("the name of a peer has at most {MAX_NAME} bytes")));
        }
        if !name.is_empty() && self.peers()?.iter().any(|peer| peer.name == name && peer.id != *id) {
            return Err(Error::Exists(format!("a peer with the name {name}")));
        }
        self.change_peer(*id, |peer| name.clone_into(&mut peer.name))
    }

    /// A peer by its id.
    pub(crate) fn known_peer(&self, id: &PeerId) -> Result<Option<Peer>, Error> {
        let row = self.read(|engine| Ok(engine.storage.get(&layout::PEER, id.0.as_slice().into())?))?;
        let decode =
            |row: Vec<u8>| Peer::decode(*id, &row).ok_or_else(|| Error::damaged("a peer does not decode"));
        row.map(decode).transpose()
    }

    /// Forgets a peer.
    pub fn remove_peer(&self, id: &PeerId) -> Result<(), Error> {
        self.write(|engine| {
            engine.storage.remove(&layout::PEER, id.0.as_slice().into())?;
            exchanges::forget_peer(engine.storage.as_mut(), id)?;
            engine.staged();
            Ok(())
        })?;
        self.tell_settings();
        Ok(())
    }

    /// Writes down what became of exchanges, and what waits for whom; nothing of it for a peer that is not known.
    pub(crate) fn note_exchanges(
        &self,
        outcomes: &[Outcome],
        unsent: &[(PeerId, Unsent)],
    ) -> Result<(), Error> {
        if outcomes.is_empty() && unsent.is_empty() {
            return Ok(());
        }
        self.write(|engine| {
            let storage = engine.storage.as_mut();
            let mut peers = BTreeMap::new();
            for id in outcomes.iter().map(|outcome| outcome.peer).chain(unsent.iter().map(|(id, _)| *id)) {
                if let Entry::Vacant(entry) = peers.entry(id) {
                    let row = storage.get(&layout::PEER, id.0.as_slice().into())?;
                    entry.insert(row.and_then(|row| Peer::decode(id, &row)));
                }
            }
            for outcome in outcomes {
                let Some(Some(peer)) = peers.get_mut(&outcome.peer) else { continue };
                peer.noted(outcome);
                let at = agreed::key(&outcome.peer, &outcome.space);
                let row = storage.get(&layout::EXCHANGES, at.as_slice().into())?;
                let row = row.and_then(|row| Exchanges::decode(outcome.space, &row));
                let mut exchanges = row.unwrap_or_else(|| Exchanges::new(outcome.space));
                exchanges.take(outcome);
                storage.put(&layout::EXCHANGES, at.as_slice().into(), &exchanges.encode())?;
            }
            for (id, unsent) in unsent {
                let at = id.0.as_slice();
                if *unsent != Unsent::default() && matches!(peers.get(id), Some(Some(_))) {
                    storage.put(&layout::UNSENT, at.into(), &unsent.encode())?;
                } else {
                    storage.remove(&layout::UNSENT, at.into())?;
                }
            }
            if !outcomes.is_empty() {
                for peer in peers.values().flatten() {
                    storage.put(&layout::PEER, peer.id.0.as_slice().into(), &peer.encode())?;
                }
            }
            engine.staged();
            Ok(())
        })
    }

    /// Where both sides last had the same of a space, since the database was opened.
    pub(crate) fn met_in(&self, id: &PeerId, space: &SpaceId) -> Result<Option<Agreed>, Error> {
        self.read(|engine| Ok(engine.met.get(id).and_then(|met| met.agreed.get(space)).copied()))
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
        let known = self.known_peer(id)?;
        self.read(|engine| {
            let Some(met) = engine.met.get(id) else { return Ok(known) };
            let mut peer = known.unwrap_or_else(|| Peer::new(*id));
            peer.take(met);
            Ok(Some(peer))
        })
    }

    /// Changes what is known of a peer, which is made if it is new.
    pub(crate) fn change_peer(&self, id: PeerId, change: impl FnOnce(&mut Peer)) -> Result<Peer, Error> {
        let mut differs = false;
        let peer = self.write(|engine| {
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
            let (addresses, spaces) = (peer.addresses.clone(), peer.spaces.clone());
            change(&mut peer);
            differs = (addresses, spaces) != (peer.addresses.clone(), peer.spaces.clone());
            engine.storage.put(&layout::PEER, id.0.as_slice().into(), &peer.encode())?;
            engine.staged();
            Ok(peer)
        })?;
        if differs {
            self.tell_settings();
        }
        Ok(peer)
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
