//! Who was heard of on the local network: hearsay, until a connection proves it. How they are found is an adapter's.

use std::collections::BTreeMap;

use driftless_core::id::PeerId;

use crate::address::Address;

/// Peers that are written down; whoever can say that it is one peer can say that it is very many.
pub const MAX_NEIGHBOURS: usize = 256;

/// The peers that say that they are on the local network, and where; each address names its peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbours(BTreeMap<PeerId, Address>);

impl Neighbours {
    /// Where a peer says that it is.
    pub fn get(&self, peer: &PeerId) -> Option<&Address> {
        self.0.get(peer)
    }

    /// All of them, in the order of their ids.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.0.values()
    }

    /// Whether there may be more than are written down.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX_NEIGHBOURS
    }

    /// For adapters: a peer says that it is there; `false` if that is nothing new, or there are too many.
    pub fn hear(&mut self, peer: PeerId, address: Address) -> bool {
        if self.is_full() && !self.0.contains_key(&peer) {
            return false;
        }
        let address = address.with_peer(peer);
        self.0.insert(peer, address.clone()) != Some(address)
    }

    /// For adapters: a peer is not heard of any more; `false` if it was not there.
    pub fn forget(&mut self, peer: &PeerId) -> bool {
        self.0.remove(peer).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_that_it_is_very_many_is_written_down_as_some() {
        let mut neighbours = Neighbours::default();
        let peer = |n: usize| PeerId(std::array::from_fn(|at| n.to_be_bytes()[at % 8]));
        let address: Address = "iroh:192.168.1.5:1".parse().unwrap();
        for n in 0..2 * MAX_NEIGHBOURS {
            assert_eq!(neighbours.hear(peer(n), address.clone()), n < MAX_NEIGHBOURS);
        }
        assert!(neighbours.is_full());
        // Those that are there may move, and make room when they go.
        assert!(neighbours.hear(peer(0), "iroh:192.168.1.6:1".parse().unwrap()));
        assert!(!neighbours.hear(peer(1), address.clone()), "nothing new");
        assert!(neighbours.forget(&peer(2)) && !neighbours.forget(&peer(2)));
        assert!(neighbours.hear(peer(300), address.clone()));
        assert_eq!(neighbours.get(&peer(300)), Some(&address.with_peer(peer(300))));
    }
}
