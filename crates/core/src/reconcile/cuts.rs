//! For graphs with many authors, or none: some nodes of the own past, close together near the end and far apart before,
//! then a filter of what lies above those that both sides have.
//!
//! Who has a node has all its ancestors, so a known node answers for everything below it. A filter may say that a node
//! is there which is not; then heads tell, and the next round is salted otherwise.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::bits::Bits;
use super::{Salt, short};
use crate::hash_graph::{HashGraph, NodeId, Position};
use crate::limits::{MAX_FILTER, MAX_MARKS};

/// The first bytes of the id of a node that the sender has.
pub type Mark = [u8; 12];

// Among the last nodes a mark is a whole frontier; before, a single node.
const EXACT: Position = 1024;
// With b bits a node and ln 2 * b probes, 0.6185^b of the nodes seem to be there and are not: of 10 bits, one in 120.
const BITS: usize = 10;
const PROBES: u64 = 7;

/// Marks of a graph: the frontiers of its last 1, 2, 4, .. nodes, and single nodes farther back.
pub(super) fn marks<G: HashGraph>(graph: &G) -> Result<Vec<Mark>, G::Error> {
    let len = graph.len();
    let floor = len.saturating_sub(EXACT);
    // A node belongs to the frontier of a prefix that it is in, and its first child is not.
    let mut first_child: BTreeMap<Position, Position> = BTreeMap::new();
    let mut ids = HashMap::new();
    for head in graph.heads()? {
        first_child.extend(graph.position(&head)?.map(|at| (at, Position::MAX)));
    }
    for at in (floor + 1..=len).rev() {
        let node = graph.node(at)?;
        ids.insert(at, node.id);
        for parent in node.parents {
            first_child.insert(parent, at);
        }
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut offset = 0;
    while offset < len {
        let end = len - offset;
        let frontier: Vec<Position> = if end > floor {
            let inside = first_child.range(..=end).filter(|(_, child)| **child > end);
            inside.map(|(at, _)| *at).collect()
        } else {
            vec![end]
        };
        for at in frontier {
            if seen.insert(at) && found.len() < MAX_MARKS {
                let id = match ids.get(&at) {
                    Some(id) => *id,
                    None => graph.node(at)?.id,
                };
                found.push(short(&id));
            }
        }
        offset = offset * 2 + 1;
    }
    Ok(found)
}

/// Where the nodes of marks stand, for each; `None` for those that are not here.
pub(super) fn find<G: HashGraph>(graph: &G, marks: &[Mark]) -> Result<Vec<Option<Position>>, G::Error> {
    let mut found = Vec::with_capacity(marks.len());
    for mark in marks {
        let mut here = None;
        for at in graph.with_prefix(&short(mark))? {
            if graph.node(at)?.id.starts_with(mark) {
                here = Some(at);
            }
        }
        found.push(here);
    }
    Ok(found)
}

/// The nodes that are neither in `base` nor in the past of it, ascending; `None` if there are more than a filter can
/// hold. Walks from the heads down to the last of them.
pub(super) fn above<G: HashGraph>(
    graph: &G,
    base: impl IntoIterator<Item = Position>,
) -> Result<Option<Vec<Position>>, G::Error> {
    let mut waiting: BTreeMap<Position, bool> = BTreeMap::new();
    for head in graph.heads()? {
        waiting.extend(graph.position(&head)?.map(|at| (at, false)));
    }
    waiting.extend(base.into_iter().map(|at| (at, true)));
    let mut open = waiting.values().filter(|below| !**below).count();
    let mut above = Vec::new();
    while let Some((at, below)) = waiting.pop_last().filter(|_| open > 0) {
        if !below {
            open -= 1;
            above.push(at);
            if above.len() > MAX_FILTER * 8 / BITS {
                return Ok(None);
            }
        }
        for parent in graph.node(at)?.parents {
            let known = waiting.insert(parent, below);
            match (known, below) {
                (None, false) => open += 1,
                (Some(false), true) => open -= 1,
                (Some(true), false) => drop(waiting.insert(parent, true)),
                _ => {}
            }
        }
    }
    above.reverse();
    Ok(Some(above))
}

/// What a graph lacks whose nodes above a common base are in `filter`: of `above`, what the filter has not or what it
/// `wanted`, and all that descends from it, since nobody has a node without its parents. What is `underway` is not in
/// the filter yet, and is asked for by its id should it not be taken.
pub(super) fn lacks<G: HashGraph>(
    graph: &G,
    above: &[Position],
    filter: &Filter,
    salt: &Salt,
    wanted: &[NodeId],
    underway: &Range<Position>,
) -> Result<Bits, G::Error> {
    let mut lacking = Bits::above(above.first().map_or(graph.len(), |first| first - 1));
    let mut lacked = BTreeSet::new();
    for at in above {
        let node = graph.node(*at)?;
        let here = underway.contains(at) || filter.contains(&node.id, salt);
        let here = here && !wanted.contains(&node.id);
        if !here || node.parents.iter().any(|parent| lacked.contains(parent)) {
            lacking.insert(*at);
            lacked.insert(*at);
        }
    }
    Ok(lacking)
}

/// A Bloom filter of nodes, with 10 bits for each and 7 probes, keyed by a salt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    bits: Vec<u8>,
}

impl Filter {
    pub(super) fn of<G: HashGraph>(graph: &G, nodes: &[Position], salt: &Salt) -> Result<Self, G::Error> {
        let mut filter = Self { bits: vec![0; (nodes.len() * BITS).div_ceil(8)] };
        let size = filter.bits.len();
        for at in nodes {
            for bit in probes(size, &graph.node(*at)?.id, salt) {
                if let Some(byte) = filter.bits.get_mut(bit / 8) {
                    *byte |= 1 << (bit % 8);
                }
            }
        }
        Ok(filter)
    }

    /// How many bytes one of so many nodes takes.
    pub(super) fn weight(nodes: Position) -> usize {
        usize::try_from(nodes).unwrap_or(usize::MAX).saturating_mul(BITS).div_ceil(8)
    }

    /// Takes received bits, if they are not too many.
    pub fn from_bytes(bits: &[u8]) -> Option<Self> {
        (bits.len() <= MAX_FILTER).then(|| Self { bits: bits.to_vec() })
    }

    /// The bits.
    pub fn bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Whether the node may be one of those that were put in.
    pub(super) fn contains(&self, id: &[u8; 32], salt: &Salt) -> bool {
        let set = |bit: usize| self.bits.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
        !self.bits.is_empty() && probes(self.bits.len(), id, salt).all(set)
    }
}

// Which bits of a filter of so many bytes stand for a node: `(start + i * step) mod size` for each probe i, where start and
// an odd step are two halves of one hash: as good as seven hashes (Kirsch and Mitzenmacher, "Less Hashing, Same
// Performance", 2006).
fn probes(bytes: usize, id: &[u8; 32], salt: &Salt) -> impl Iterator<Item = usize> {
    let hash = blake3::keyed_hash(salt.key(), id);
    let half = |from: usize| u64::from_le_bytes(short(hash.as_bytes().get(from..).unwrap_or_default()));
    let (start, step, size) = (half(0), half(8) | 1, (bytes as u64 * 8).max(1));
    (0..PROBES).map(move |probe| (start.wrapping_add(step.wrapping_mul(probe)) % size) as usize)
}
