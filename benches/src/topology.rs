//! Histories of several shapes, each as an Automerge document and as a graph of opaque nodes: the same changes, of the
//! same length, with the same parents. Knows nothing of sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use automerge::legacy::{Key, ObjectId, Op, OpType};
use automerge::{ActorId, Automerge, Change, ChangeHash, ExpandedChange, ScalarValue};
use driftless_core::hash_graph::{Format, HashGraphMut, Inserted, MemoryGraph, NodeId, Parsed};

use crate::stopwatch::Failure;

/// New changes that a side may have.
pub(crate) const MOST_NEW: usize = 1000;
const HEADS: usize = 100;
const EPHEMERAL: usize = 2000;

/// Who wrote, and side by side with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topology {
    /// Four authors take turns.
    Chain,
    /// A hundred authors take turns.
    Hundred,
    /// Up to two thousand authors, one after the other; each comes once.
    Ephemeral,
    /// A chain, and on it a hundred authors side by side, who stay apart.
    Wide,
}

impl Topology {
    pub(crate) const ALL: [Self; 4] = [Self::Chain, Self::Hundred, Self::Ephemeral, Self::Wide];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain, 4 authors",
            Self::Hundred => "100 authors",
            Self::Ephemeral => "2,000 ephemeral authors",
            Self::Wide => "100 concurrent heads",
        }
    }
}

/// Nodes that say who made them and after what, and nothing else that anybody reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opaque;

impl Format for Opaque {
    fn parse(&self, bytes: &[u8]) -> Result<Parsed, &'static str> {
        parse(bytes).ok_or("these bytes are no node")
    }
}

fn parse(bytes: &[u8]) -> Option<Parsed> {
    let (author, rest) = bytes.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let (count, rest) = rest.split_first()?;
    let (ids, _) = rest.split_at_checked(usize::from(*count) * 32)?;
    let parents = ids.as_chunks().0.to_vec();
    Some(Parsed {
        id: *blake3::hash(bytes).as_bytes(),
        parents,
        author: Some((*author, u64::from(u32::from_be_bytes(*seq)))),
    })
}

/// One change in both forms.
#[derive(Debug, Clone)]
struct Made {
    change: Change,
    bytes: Vec<u8>,
    id: NodeId,
    // How many changes lead to it at most: Automerge counts operations so.
    depth: u64,
}

// Changes are written, and remembered for those who write on them.
#[derive(Default)]
struct Writer {
    made: Vec<Made>,
    // The last of each author and its number.
    last: BTreeMap<u32, (usize, u64)>,
}

impl Writer {
    fn write(&mut self, author: u32, parents: &[usize]) -> Result<usize, Failure> {
        let number = self.made.len();
        let (previous, seq) = self.last.get(&author).map_or((None, 1), |(at, seq)| (Some(*at), seq + 1));
        let depth = parents.iter().map(|at| self.made[*at].depth).max().unwrap_or(0) + 1;
        let mut deps: Vec<ChangeHash> = parents.iter().map(|at| self.made[*at].change.hash()).collect();
        deps.sort_unstable();
        let mut actor = [0x5a; 16];
        actor[..4].copy_from_slice(&author.to_be_bytes());
        let change = Change::from(ExpandedChange {
            operations: vec![Op {
                action: OpType::Put(ScalarValue::Str(format!("note {number:07}").into())),
                obj: ObjectId::Root,
                key: Key::Map(format!("note{number}").into()),
                pred: Vec::new().into(),
                insert: false,
            }],
            actor_id: ActorId::from(actor),
            hash: None,
            seq,
            start_op: NonZeroU64::new(depth).ok_or("a change counts from 1")?,
            time: 0,
            message: None,
            deps,
            extra_bytes: Vec::new(),
            author: None,
        });
        // The author's own last node is a parent, too: what Automerge's numbers say without naming it.
        let mut ids: BTreeSet<NodeId> = parents.iter().map(|at| self.made[*at].id).collect();
        ids.extend(previous.map(|at| self.made[at].id));
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&[&author.to_be_bytes()[..], &[0x5a; 4]].concat());
        bytes.extend_from_slice(&(seq as u32).to_be_bytes());
        bytes.push(ids.len() as u8);
        ids.iter().for_each(|id| bytes.extend_from_slice(id));
        bytes.extend_from_slice(&(number as u32).to_be_bytes());
        // A chunk of Automerge says its own length; a node has it before itself.
        bytes.resize(bytes.len().max(change.raw_bytes().len().saturating_sub(1)), 0x5a);
        let id = *blake3::hash(&bytes).as_bytes();
        self.made.push(Made { change, bytes, id, depth });
        self.last.insert(author, (number, seq));
        Ok(number)
    }
}

/// Both forms of what one side has.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    pub document: Automerge,
    pub graph: MemoryGraph<Opaque>,
}

impl Copies {
    fn take(&mut self, made: &[Made]) -> Result<(), Failure> {
        for made in made {
            let Ok(Inserted::New(_)) = self.graph.insert(&made.bytes) else {
                return Err("a node of the bench is not taken".into());
            };
        }
        self.document.apply_changes(made.iter().map(|made| made.change.clone()))?;
        Ok(())
    }
}

/// What two sides have in common, and what each may write on it.
#[derive(Debug)]
pub(crate) struct History {
    pub common: Copies,
    new: [Vec<Made>; 2],
}

impl History {
    /// A history of `n` changes of this shape.
    pub(crate) fn new(topology: Topology, n: usize) -> Result<Self, Failure> {
        let mut writer = Writer::default();
        let mut tip: Vec<usize> = Vec::new();
        let chain = if topology == Topology::Wide { n - HEADS } else { n };
        for at in 0..chain {
            let author = match topology {
                Topology::Chain | Topology::Wide => at % 4,
                Topology::Hundred => at % HEADS,
                Topology::Ephemeral => at / n.div_ceil(EPHEMERAL),
            };
            tip = vec![writer.write(author as u32, &tip)?];
        }
        let mut heads = Vec::new();
        if topology == Topology::Wide {
            for head in 0..HEADS {
                heads.push(writer.write(4 + head as u32, &tip)?);
            }
        }
        let mut common = Copies { document: Automerge::new(), graph: MemoryGraph::new(Opaque) };
        common.take(&writer.made)?;
        let mut new = [Vec::new(), Vec::new()];
        for (side, new) in new.iter_mut().enumerate() {
            let first = writer.made.len();
            let (mut tip, mut heads) = (tip.clone(), heads.clone());
            for at in 0..MOST_NEW {
                // Each author writes on one side only: nobody forks.
                let half = at % (HEADS / 2) * 2 + side;
                match topology {
                    Topology::Chain => tip = vec![writer.write((at % 2 * 2 + side) as u32, &tip)?],
                    Topology::Hundred => tip = vec![writer.write(half as u32, &tip)?],
                    Topology::Ephemeral => {
                        let author = EPHEMERAL + at / (n.div_ceil(EPHEMERAL)) * 2 + side;
                        tip = vec![writer.write(author as u32, &tip)?];
                    }
                    Topology::Wide => heads[half] = writer.write(4 + half as u32, &[heads[half]])?,
                }
            }
            *new = writer.made.split_off(first);
            // The other side does not know them; their authors do not write there.
            writer.last.retain(|_, (at, _)| *at < first);
        }
        Ok(Self { common, new })
    }

    /// What each side has after it wrote so many.
    pub(crate) fn sides(&self, new: usize) -> Result<[Copies; 2], Failure> {
        let mut sides = [self.common.clone(), self.common.clone()];
        for (side, made) in sides.iter_mut().zip(&self.new) {
            side.take(&made[..new])?;
        }
        Ok(sides)
    }
}
