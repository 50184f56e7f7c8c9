//! How far the chain of each author goes: a few bytes per author, however long the history.
//!
//! Equal clocks do not mean equal graphs (an author may have forked): a check of the node goes with each number, and
//! heads decide in the end.

use std::collections::{BTreeMap, BTreeSet};

use super::bits::Bits;
use super::{Salt, short};
use crate::hash_graph::{HashGraph, Position};
use crate::limits::MAX_SUMMARY_AUTHORS;

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
    /// The ends of all chains that go beyond `above`; `None` if there are more than a summary may have.
    pub fn of<G: HashGraph>(graph: &G, salt: &Salt, above: Position) -> Result<Option<Self>, G::Error> {
        let mut entries = Vec::new();
        for tip in graph.tips()?.into_iter().filter(|tip| tip.at > above) {
            let check = salt.check(&graph.node(tip.at)?.id);
            entries.push(Entry { tag: salt.tag(&tip.author), seq: tip.seq, check });
        }
        entries.sort_unstable();
        entries.dedup();
        Ok((entries.len() <= MAX_SUMMARY_AUTHORS).then_some(Self(entries)))
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

    /// What a graph with this clock lacks. It has all up to `listed` of the authors that are listed here, and all up to
    /// `unlisted` of the others. Walks as many nodes as are found, and the authors. Says also whether somebody's chains
    /// part, so that the clock cannot tell.
    pub(super) fn lacks<G: HashGraph>(
        &self,
        graph: &G,
        salt: &Salt,
        listed: Position,
        unlisted: Position,
    ) -> Result<(Bits, bool), G::Error> {
        let theirs = self.chains();
        let bottom = listed.min(unlisted);
        let mut lacking = Bits::above(bottom);
        let mut forked = false;
        for tip in graph.tips()?.into_iter().filter(|tip| tip.at > bottom) {
            let chain = theirs.get(&salt.tag(&tip.author));
            let floor = if chain.is_some() { listed } else { unlisted };
            if chain.and_then(|chain| chain.last()).is_some_and(|(seq, _)| *seq > tip.seq) {
                // Further than ours; if that was another branch, heads will tell.
                continue;
            }
            let least = chain.and_then(|chain| chain.first()).map_or(0, |(seq, _)| *seq);
            let mut next = Some(tip.at);
            while let Some(at) = next.filter(|at| *at > floor) {
                let node = graph.node(at)?;
                let seq = node.author.map_or(0, |(_, seq)| seq);
                if chain.is_some_and(|chain| chain.contains(&(seq, salt.check(&node.id)))) {
                    break;
                }
                // Below all that they named, and none of it was met: their chains left ours somewhere further down.
                forked |= seq < least;
                if seq < least || !lacking.insert(at) {
                    break;
                }
                next = node.previous;
            }
        }
        Ok((lacking, forked))
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
