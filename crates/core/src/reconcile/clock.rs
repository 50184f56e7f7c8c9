//! How far the chain of each author goes: a few bytes per author, however long the history.
//!
//! Equal clocks do not mean equal graphs (an author may have forked): a check of the node goes with each number, and
//! heads decide in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::bits::Bits;
use super::{Salt, short};
use crate::hash_graph::{HashGraph, Position, Tip};

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The salted hash of the author.
    pub tag: [u8; 4],
    /// The number of the last node; 0 says that there is none.
    pub seq: u64,
    /// The salted hash of that node's id.
    pub check: [u8; 4],
}

/// The ends of chains, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clock(pub Vec<Entry>);

type Chains = BTreeMap<[u8; 4], BTreeSet<(u64, [u8; 4])>>;

impl Clock {
    /// The ends of all chains that go beyond `above`; `None` if there are more than `most`.
    pub fn of<G: HashGraph>(
        graph: &G,
        salt: &Salt,
        above: Position,
        most: usize,
    ) -> Result<Option<Self>, G::Error> {
        let mut entries = Vec::new();
        let tips = graph.tips()?;
        // Who has too many to say looks at none of them.
        if tips.iter().filter(|tip| tip.at > above).count() > most {
            return Ok(None);
        }
        for tip in tips.into_iter().filter(|tip| tip.at > above) {
            let check = salt.check(&graph.node(tip.at)?.id);
            entries.push(Entry { tag: salt.tag(&tip.author), seq: tip.seq, check });
        }
        entries.sort_unstable();
        entries.dedup();
        Ok(Some(Self(entries)))
    }

    /// What this clock says otherwise than `theirs`: who is not listed stands as `theirs` says. At most
    /// as many entries as both have together.
    #[must_use]
    pub fn otherwise_than(&self, theirs: &Self) -> Self {
        let (ours, theirs) = (self.chains(), theirs.chains());
        let tags: BTreeSet<&[u8; 4]> = ours.keys().chain(theirs.keys()).collect();
        let mut entries = Vec::new();
        for tag in tags {
            match (ours.get(tag), theirs.get(tag)) {
                (ours, theirs) if ours == theirs => {}
                (Some(ours), _) => {
                    entries.extend(ours.iter().map(|(seq, check)| Entry {
                        tag: *tag,
                        seq: *seq,
                        check: *check,
                    }));
                }
                (None, _) => entries.push(Entry { tag: *tag, seq: 0, check: [0; 4] }),
            }
        }
        Self(entries)
    }

    fn chains(&self) -> Chains {
        let mut chains = Chains::new();
        for entry in &self.0 {
            let chain = chains.entry(entry.tag).or_default();
            if entry.seq > 0 {
                chain.insert((entry.seq, entry.check));
            }
        }
        chains
    }

    /// How many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        self.0.iter().map(|entry| 9 + entry.seq.checked_ilog2().unwrap_or(0) as usize / 7).sum()
    }

    /// The bytes: per entry the tag, the check, and the number in LEB128.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * 10);
        for entry in &self.0 {
            out.extend_from_slice(&entry.tag);
            out.extend_from_slice(&entry.check);
            crate::leb128::put(&mut out, entry.seq);
        }
        out
    }

    /// Reads what `encode` wrote, of at most `most` entries; `None` for anything else.
    pub fn decode(mut bytes: &[u8], most: usize) -> Option<Self> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some((head, rest)) = bytes.split_at_checked(8) {
            let (seq, rest) = crate::leb128::take(rest)?;
            let entry = Entry { tag: short(head), seq, check: short(head.get(4..)?) };
            if entries.last().is_some_and(|last| *last >= entry) || entries.len() == most {
                return None;
            }
            entries.push(entry);
            bytes = rest;
        }
        bytes.is_empty().then_some(Self(entries))
    }
}

/// Finds what a graph with a clock lacks, some nodes at a time: it has all up to `listed` of the authors that the clock
/// lists, and all up to `unlisted` of the others. Walks as many nodes as are found, and the authors.
#[derive(Debug)]
pub(super) struct ClockWalk {
    theirs: Vec<Entry>,
    salt: Salt,
    listed: Position,
    unlisted: Position,
    tips: std::vec::IntoIter<Tip>,
    // The chain that is walked: what they said of it, and where it goes on.
    said: Range<usize>,
    floor: Position,
    next: Option<Position>,
    lacking: Bits,
    forked: bool,
}

impl ClockWalk {
    pub(super) fn new<G: HashGraph>(
        graph: &G,
        theirs: &Clock,
        salt: Salt,
        listed: Position,
        unlisted: Position,
    ) -> Result<Self, G::Error> {
        let mut entries = theirs.0.clone();
        entries.sort_unstable();
        // A chain that ends below costs not even the hash of its author.
        let mut tips = graph.tips()?;
        tips.retain(|tip| tip.at > listed.min(unlisted));
        Ok(Self {
            theirs: entries,
            salt,
            listed,
            unlisted,
            tips: tips.into_iter(),
            said: 0..0,
            floor: 0,
            next: None,
            lacking: Bits::above(listed.min(unlisted)),
            forked: false,
        })
    }

    /// Goes on while there is budget, which every node and author costs; says whether it came to the end.
    pub(super) fn step<G: HashGraph>(&mut self, graph: &G, budget: &mut usize) -> Result<bool, G::Error> {
        while *budget > 0 {
            *budget -= 1;
            let Some(at) = self.next.take().filter(|at| *at > self.floor) else {
                let Some(tip) = self.tips.next() else { return Ok(true) };
                self.enter(&tip);
                continue;
            };
            let node = graph.node(at)?;
            let seq = node.author.map_or(0, |(_, seq)| seq);
            let said = self.theirs.get(self.said.clone()).unwrap_or_default();
            let said_here = (seq, self.salt.check(&node.id));
            if seq > 0 && said.binary_search_by_key(&said_here, |entry| (entry.seq, entry.check)).is_ok() {
                continue;
            }
            // Below all that they named, and none of it was met: their chains left ours somewhere further down.
            let least = said.iter().map(|entry| entry.seq).find(|seq| *seq > 0).unwrap_or(0);
            self.forked |= seq < least;
            if seq >= least && self.lacking.insert(at) {
                self.next = node.previous;
            }
        }
        Ok(false)
    }

    fn enter(&mut self, tip: &Tip) {
        let tag = self.salt.tag(&tip.author);
        let from = self.theirs.partition_point(|entry| entry.tag < tag);
        let to = self.theirs.partition_point(|entry| entry.tag <= tag);
        self.said = from..to;
        self.floor = if from < to { self.listed } else { self.unlisted };
        let last = self.theirs.get(self.said.clone()).unwrap_or_default().last();
        // Further than ours; if that was another branch, heads will tell.
        let further = last.is_some_and(|last| last.seq > tip.seq);
        self.next = (!further).then_some(tip.at);
    }

    /// What the other graph lacks, and whether somebody's chains part, so that the clock cannot tell.
    pub(super) fn end(self) -> (Bits, bool) {
        (self.lacking, self.forked)
    }
}
