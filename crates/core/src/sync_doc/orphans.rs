//! Changes of one peer whose parents are not here yet, bounded in number and bytes. It knows no message.

use std::collections::{BTreeMap, BTreeSet};

use crate::hash_graph::{HashGraphMut, NodeId};
use crate::limits::{MAX_ORPHAN_BYTES, MAX_ORPHANS};

/// What one peer sent too early.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Orphans {
    held: BTreeMap<NodeId, Orphan>,
    // Who waits for whom.
    awaited: BTreeSet<(NodeId, NodeId)>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Orphan {
    bytes: Vec<u8>,
    parents: Vec<NodeId>,
}

impl Orphans {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Keeps a change until `parents` are here; `false` if there is no room, and the peer must be asked again.
    pub(super) fn hold(&mut self, id: NodeId, parents: Vec<NodeId>, bytes: &[u8]) -> bool {
        if self.held.contains_key(&id) {
            return true;
        }
        let cost = bytes.len().saturating_add(parents.len().saturating_mul(64));
        let total = self.bytes.saturating_add(cost);
        if self.held.len() >= MAX_ORPHANS || total > MAX_ORPHAN_BYTES {
            return false;
        }
        self.bytes = total;
        self.awaited.extend(parents.iter().map(|parent| (*parent, id)));
        self.held.insert(id, Orphan { bytes: bytes.to_vec(), parents });
        true
    }

    /// Gives back those that waited for `parent`, to be tried again.
    pub(super) fn release(&mut self, parent: &NodeId) -> Vec<Vec<u8>> {
        let waiting: Vec<NodeId> =
            self.awaited.range((*parent, [0; 32])..=(*parent, [0xff; 32])).map(|(_, id)| *id).collect();
        waiting.iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Gives back those whose parents came by another way.
    pub(super) fn release_known<G: HashGraphMut + ?Sized>(
        &mut self,
        graph: &G,
    ) -> Result<Vec<Vec<u8>>, G::Error> {
        let mut ready = Vec::new();
        let parents: BTreeSet<NodeId> = self.awaited.iter().map(|(parent, _)| *parent).collect();
        for parent in parents {
            if graph.position(&parent)?.is_some() {
                ready.extend(self.release(&parent));
            }
        }
        Ok(ready)
    }

    /// The first on each way back from `heads` that is neither in the graph nor held, ascending.
    pub(super) fn missing<G: HashGraphMut + ?Sized>(
        &self,
        graph: &G,
        heads: &[NodeId],
    ) -> Result<Vec<NodeId>, G::Error> {
        let (mut seen, mut missing) = (BTreeSet::new(), BTreeSet::new());
        let mut waiting = heads.to_vec();
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) || graph.position(&id)?.is_some() {
                continue;
            }
            match self.held.get(&id) {
                Some(orphan) => waiting.extend(&orphan.parents),
                None => drop(missing.insert(id)),
            }
        }
        Ok(missing.into_iter().collect())
    }

    fn remove(&mut self, id: &NodeId) -> Option<Vec<u8>> {
        let Orphan { bytes, parents } = self.held.remove(id)?;
        self.bytes = self.bytes.saturating_sub(bytes.len().saturating_add(parents.len().saturating_mul(64)));
        for parent in parents {
            self.awaited.remove(&(parent, *id));
        }
        Some(bytes)
    }
}
