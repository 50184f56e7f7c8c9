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

/// Finds where the nodes of marks stand.
#[derive(Debug)]
pub(super) struct Find {
    marks: Vec<Mark>,
    found: Vec<Option<Position>>,
}

impl Find {
    pub(super) fn new(marks: Vec<Mark>) -> Self {
        Self { marks, found: Vec::new() }
    }

    /// Goes on while there is budget; says whether it came to the end.
    pub(super) fn step<G: HashGraph>(&mut self, graph: &G, budget: &mut usize) -> Result<bool, G::Error> {
        while let Some(mark) = self.marks.get(self.found.len()) {
            if *budget == 0 {
                return Ok(false);
            }
            *budget = budget.saturating_sub(2);
            let mut here = None;
            for at in graph.with_prefix(&short(mark))? {
                if graph.node(at)?.id.starts_with(mark) {
                    here = Some(at);
                }
            }
            self.found.push(here);
        }
        Ok(true)
    }

    /// Where they stand, for each; `None` for those that are not here.
    pub(super) fn end(self) -> Vec<Option<Position>> {
        self.found
    }
}

/// Some nodes of a graph, and how many.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    set: Bits,
    count: usize,
}

impl Nodes {
    fn insert(&mut self, at: Position) {
        self.count += usize::from(self.set.insert(at));
    }
}

/// Finds the nodes that are neither in a base nor in its past. Walks from the heads down to the last of them.
#[derive(Debug)]
pub(super) struct Above {
    // Whether each is below the base.
    waiting: BTreeMap<Position, bool>,
    open: usize,
    above: Nodes,
}

impl Above {
    pub(super) fn new<G: HashGraph>(
        graph: &G,
        base: impl IntoIterator<Item = Position>,
    ) -> Result<Self, G::Error> {
        let mut waiting: BTreeMap<Position, bool> = BTreeMap::new();
        for head in graph.heads()? {
            waiting.extend(graph.position(&head)?.map(|at| (at, false)));
        }
        waiting.extend(base.into_iter().map(|at| (at, true)));
        let open = waiting.values().filter(|below| !**below).count();
        Ok(Self { waiting, open, above: Nodes::default() })
    }

    /// Goes on while there is budget; says whether it came to the end.
    pub(super) fn step<G: HashGraph>(&mut self, graph: &G, budget: &mut usize) -> Result<bool, G::Error> {
        while self.open > 0 {
            if *budget == 0 {
                return Ok(false);
            }
            *budget -= 1;
            let Some((at, below)) = self.waiting.pop_last() else { break };
            if !below {
                self.open -= 1;
                self.above.insert(at);
            }
            for parent in graph.node(at)?.parents {
                let known = self.waiting.insert(parent, below);
                match (known, below) {
                    (None, false) => self.open += 1,
                    (Some(false), true) => self.open -= 1,
                    (Some(true), false) => drop(self.waiting.insert(parent, true)),
                    _ => {}
                }
            }
        }
        Ok(true)
    }

    pub(super) fn end(self) -> Nodes {
        self.above
    }
}

/// Makes a filter of some nodes.
#[derive(Debug)]
pub(super) struct Sift {
    nodes: Nodes,
    next: Position,
    salt: Salt,
    filter: Filter,
}

impl Sift {
    /// Of more than a filter can hold it makes an empty one: then the other side sends all that it has above the base.
    pub(super) fn new(nodes: Nodes, salt: Salt) -> Self {
        let size = (nodes.count * BITS).div_ceil(8);
        let (next, bits) = if size > MAX_FILTER { (Position::MAX, 0) } else { (0, size) };
        Self { nodes, next, salt, filter: Filter { bits: vec![0; bits] } }
    }

    /// Goes on while there is budget; says whether it came to the end.
    pub(super) fn step<G: HashGraph>(&mut self, graph: &G, budget: &mut usize) -> Result<bool, G::Error> {
        while let Some(at) = self.nodes.set.next(self.next) {
            if *budget == 0 {
                return Ok(false);
            }
            *budget -= 1;
            self.filter.add(&graph.node(at)?.id, &self.salt);
            self.next = at + 1;
        }
        Ok(true)
    }

    pub(super) fn end(self) -> (Nodes, Filter) {
        (self.nodes, self.filter)
    }
}

/// Finds what a graph lacks whose nodes above a common base are in a filter: of some nodes, what the filter has not or
/// what it wants, and all that descends from it, since nobody has a node without its parents.
#[derive(Debug)]
pub(super) struct Lacks {
    nodes: Of,
    next: Position,
    filter: Filter,
    salt: Salt,
    wanted: BTreeSet<NodeId>,
    // What is on its way: it is not in the filter yet, and is asked for by its id should it not be taken.
    underway: Range<Position>,
    lacking: Bits,
}

/// Which nodes are asked for.
#[derive(Debug)]
pub(super) enum Of {
    These(Nodes),
    /// All above the first up to the second.
    Between(Position, Position),
}

impl Of {
    fn next(&self, from: Position) -> Option<Position> {
        match self {
            Self::These(nodes) => nodes.set.next(from),
            Self::Between(above, to) => Some(from.max(above + 1)).filter(|at| at <= to),
        }
    }
}

impl Lacks {
    pub(super) fn new(
        nodes: Of,
        filter: Filter,
        salt: Salt,
        wanted: BTreeSet<NodeId>,
        underway: Range<Position>,
    ) -> Self {
        let lacking = Bits::above(nodes.next(0).map_or(0, |first| first - 1));
        Self { nodes, next: 0, filter, salt, wanted, underway, lacking }
    }

    /// Goes on while there is budget; says whether it came to the end.
    pub(super) fn step<G: HashGraph>(&mut self, graph: &G, budget: &mut usize) -> Result<bool, G::Error> {
        while let Some(at) = self.nodes.next(self.next) {
            if *budget == 0 {
                return Ok(false);
            }
            *budget -= 1;
            let node = graph.node(at)?;
            let here = self.underway.contains(&at) || self.filter.contains(&node.id, &self.salt);
            let here = here && !self.wanted.contains(&node.id);
            if !here || node.parents.iter().any(|parent| self.lacking.contains(*parent)) {
                self.lacking.insert(at);
            }
            self.next = at + 1;
        }
        Ok(true)
    }

    pub(super) fn end(self) -> Bits {
        self.lacking
    }
}

/// A Bloom filter of nodes, with 10 bits for each and 7 probes, keyed by a salt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    bits: Vec<u8>,
}

impl Filter {
    /// Of the nodes above a position.
    pub(super) fn above<G: HashGraph>(graph: &G, above: Position, salt: &Salt) -> Result<Self, G::Error> {
        let mut filter = Self { bits: vec![0; Self::weight(graph.len().saturating_sub(above))] };
        for at in above + 1..=graph.len() {
            filter.add(&graph.node(at)?.id, salt);
        }
        Ok(filter)
    }

    fn add(&mut self, id: &NodeId, salt: &Salt) {
        for bit in probes(self.bits.len(), id, salt) {
            if let Some(byte) = self.bits.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
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
