//! Which summary is sent. How one is understood stands in `hearing`.
//!
//! One `Reconciler` per graph and session. The opener offers; each side hears what the other says and may answer; after
//! at most four messages both have a plan. What a peer says of itself can only cost the peer.

use std::collections::VecDeque;
use std::ops::Range;

use super::clock::Clock;
use super::cuts::{self, Filter, Mark, Nodes};
use super::hearing::{Said, Work};
use super::plan::Plan;
use super::{Salt, frontier_digest};
use crate::hash_graph::{HashGraph, Position, walk};
use crate::limits::{MAX_AGREED, MAX_ROUNDS, MAX_SUMMARY_AUTHORS, WALK_STEP};

// Frontiers of our own that the other side may name in an answer: an exchange asks for no more than these.
const MAX_OFFERED: usize = 8;
// Authors whose clock is sent before anybody asked: it costs less than a message.
const EAGER: usize = 16;
// Authors up to whom a clock is smaller than marks and filters.
const FEW: usize = 128;
// Nodes in the filter of a repair, and at most in one of what went on since both sides met.
const RECENT: Position = 1024;

/// A frontier at which both sides once were, and how long our graph was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The digest of the frontier.
    pub digest: [u8; 8],
    /// Everything up to here is on both sides.
    pub len: Position,
}

/// What one side has, in few bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// The digest of all heads: equal digests mean equal graphs.
    pub digest: [u8; 8],
    /// The rest.
    pub detail: Detail,
}

impl Summary {
    /// The frontier that its sender had, as it remembers, and what it has above that is all that it says.
    pub fn past(&self) -> Option<[u8; 8]> {
        match &self.detail {
            Detail::Since(known, _) | Detail::Recent(known, _) => Some(*known),
            _ => None,
        }
    }
}

/// How a summary says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Detail {
    /// There is nothing here, or nothing that may be said.
    #[default]
    Nothing,
    /// Nothing but the digest: the other side may ask, or knows enough.
    Bare,
    /// Both sides have what had this frontier; these chains went on.
    Since([u8; 8], Clock),
    /// The same, where a filter of what is new is smaller than the chains that went on.
    Recent([u8; 8], Filter),
    /// All chains.
    Clock(Clock),
    /// The chains that stand otherwise than in the clock that was received.
    Otherwise(Clock),
    /// Nodes that are here.
    Marks(Vec<Mark>),
    /// Which of the received marks are here, and a filter of what is here above them. None received: above those that
    /// the other side found here.
    Filter(Vec<bool>, Filter),
    /// After something did not arrive: marks, a filter of the last nodes, and the round that salts it.
    Again(u32, Vec<Mark>, Filter),
}

/// What followed from a summary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// To be sent.
    pub answer: Option<Summary>,
    /// Whether it is known now what the other side lacks.
    pub ready: bool,
}

/// One side of the reconciliation of one graph.
#[derive(Debug)]
pub struct Reconciler {
    pub(super) salt: Salt,
    agreed: Vec<Agreed>,
    // What our offer said, and whatever else asked for an answer: whoever names its frontier has it.
    pub(super) offered: Vec<Agreed>,
    // What it named as known to both without having seen it in this session.
    named: Option<Agreed>,
    // How long the graph was when the clock was sent.
    pub(super) clock_at: Position,
    pub(super) marks: Vec<Mark>,
    // What lies above the marks that both have, and how long the graph was then.
    pub(super) above: Option<(Nodes, Position)>,
    // Their filter of it is to come, and they have said anew what they have since it was asked for: that counts.
    pub(super) outdated: bool,
    // How long the graph was when all was sent: what went over since then may be on its way.
    pub(super) ended_at: Option<Position>,
    // Of what is asked for again, this went over since the end.
    pub(super) underway: Range<Position>,
    // Up to here the other side has everything, as it said itself in this session.
    pub(super) shared: Position,
    pub(super) plan: Plan,
    // What is being understood, and what comes after it.
    pub(super) work: Option<Work>,
    pub(super) later: VecDeque<Said>,
    // How many nodes were looked at for the other side.
    pub(super) looked: u64,
}

impl Reconciler {
    /// `agreed`: frontiers at which this graph and that of the other side met before, the newest last. What lies beyond
    /// the graph is ignored: it was lost here.
    pub fn new(salt: Salt, mut agreed: Vec<Agreed>) -> Self {
        agreed.drain(..agreed.len().saturating_sub(MAX_AGREED - 1));
        Self {
            salt,
            agreed,
            offered: Vec::new(),
            named: None,
            clock_at: 0,
            marks: Vec::new(),
            above: None,
            outdated: false,
            ended_at: None,
            underway: 0..0,
            shared: 0,
            plan: Plan::nothing(0),
            work: None,
            later: VecDeque::new(),
            looked: 0,
        }
    }

    /// What is to be sent. Meaningful once a summary was heard that made it ready.
    pub fn plan(&mut self) -> &mut Plan {
        &mut self.plan
    }

    /// Whether the other side has what stands at `at` for certain, unless it did not take it or is wrong about itself.
    pub fn knows(&self, at: Position) -> bool {
        at <= self.shared || self.plan.passed(at)
    }

    /// All that the other side lacks of a graph of this length has been sent.
    pub fn ended(&mut self, len: Position) {
        self.ended_at.get_or_insert(len);
    }

    /// Both sides have this frontier now: the newest of those that were agreed on.
    pub fn agree(&mut self, digest: [u8; 8], len: Position) {
        self.shared = self.shared.max(len);
        self.named = None;
        self.agreed.retain(|agreed| agreed.digest != digest);
        self.agreed.push(Agreed { digest, len });
        // The first stays: it is what the other side finds if it forgets this session in a crash.
        if self.agreed.len() > MAX_AGREED {
            self.agreed.remove(1);
        }
    }

    // What was said that asks for an answer. However often the other side makes us say something, the first and the newest
    // are enough.
    pub(super) fn note_offer(&mut self, digest: [u8; 8], len: Position) {
        self.offered.push(Agreed { digest, len });
        if self.offered.len() > MAX_OFFERED {
            self.offered.remove(1);
        }
    }

    /// The frontiers that both sides had, the newest last.
    pub fn agreed(&self) -> &[Agreed] {
        &self.agreed
    }

    /// The opener's summary.
    pub fn offer<G: HashGraph>(&mut self, graph: &G, digest: [u8; 8]) -> Result<Summary, G::Error> {
        if graph.is_empty() {
            return Ok(Summary::default());
        }
        self.note_offer(digest, graph.len());
        let authors = graph.tips()?.len();
        if let Some(agreed) = self.agreed.iter().rev().find(|agreed| agreed.len <= graph.len()).copied() {
            if agreed.digest == digest {
                return Ok(Summary { digest, detail: Detail::Bare });
            }
            if let Some(detail) = self.since(graph, agreed)? {
                return Ok(Summary { digest, detail });
            }
        }
        let detail = match authors {
            0 => self.mark(graph)?,
            authors if authors <= EAGER => self.full(graph)?,
            authors if authors <= FEW => Detail::Bare,
            _ => self.mark(graph)?,
        };
        Ok(Summary { digest, detail })
    }

    /// What is said when something that the other side has did not come: first with other hashes, then that everything
    /// is to be sent.
    pub fn again<G: HashGraph>(
        &mut self,
        graph: &G,
        digest: [u8; 8],
        round: u32,
    ) -> Result<Summary, G::Error> {
        // Now the other side names all its heads.
        self.named = None;
        if round >= MAX_ROUNDS || graph.is_empty() {
            return Ok(Summary { digest, detail: Detail::Nothing });
        }
        let filter = Filter::above(graph, graph.len().saturating_sub(RECENT), &self.salt.round(round))?;
        Ok(Summary { digest, detail: Detail::Again(round, cuts::marks(graph)?, filter) })
    }

    /// Called when all is said and sent, and the other side's heads are still not ours. `None` if this graph had the
    /// frontier that was named as known to both; else, or if that takes too long to see, it says again what is here, and
    /// the other side names its heads.
    pub fn confirm<G: HashGraph>(
        &mut self,
        graph: &G,
        digest: [u8; 8],
        round: u32,
    ) -> Result<Option<Summary>, G::Error> {
        match self.named.take() {
            Some(named) if !had(graph, named)? => self.again(graph, digest, round).map(Some),
            _ => Ok(None),
        }
    }

    // What went on here since, in the way that costs least; `None` if marks may cost less.
    pub(super) fn since<G: HashGraph>(
        &mut self,
        graph: &G,
        agreed: Agreed,
    ) -> Result<Option<Detail>, G::Error> {
        self.named = Some(agreed);
        // Nodes without authors are in no clock.
        let clock = match graph.tips()?.is_empty() {
            true => None,
            false => Clock::of(graph, &self.salt, agreed.len, FEW)?,
        };
        let new = graph.len() - agreed.len;
        // A clock is exact, and a filter may cost another round: a few authors are worth that.
        let small = |clock: &Clock| clock.0.len() <= EAGER || clock.weight() <= Filter::weight(new);
        Ok(match clock {
            Some(clock) if small(&clock) => Some(Detail::Since(agreed.digest, clock)),
            _ if new <= RECENT => {
                Some(Detail::Recent(agreed.digest, Filter::above(graph, agreed.len, &self.salt)?))
            }
            Some(clock) => Some(Detail::Since(agreed.digest, clock)),
            None => None,
        })
    }

    // When we had this frontier.
    pub(super) fn met<G: HashGraph>(&self, graph: &G, digest: &[u8; 8]) -> Option<Agreed> {
        let mut known = self.agreed.iter().chain(&self.offered);
        known.find(|agreed| agreed.digest == *digest && agreed.len <= graph.len()).copied()
    }

    // Everything that is here, in the way that costs least.
    pub(super) fn all<G: HashGraph>(&mut self, graph: &G) -> Result<Detail, G::Error> {
        match graph.tips()?.len() {
            _ if graph.is_empty() => Ok(Detail::Nothing),
            1..=FEW => self.full(graph),
            _ => self.mark(graph),
        }
    }

    fn full<G: HashGraph>(&mut self, graph: &G) -> Result<Detail, G::Error> {
        match Clock::of(graph, &self.salt, 0, MAX_SUMMARY_AUTHORS)? {
            Some(clock) => {
                self.clock_at = graph.len();
                Ok(Detail::Clock(clock))
            }
            None => self.mark(graph),
        }
    }

    pub(super) fn mark<G: HashGraph>(&mut self, graph: &G) -> Result<Detail, G::Error> {
        self.marks = cuts::marks(graph)?;
        Ok(Detail::Marks(self.marks.clone()))
    }
}

// Whether the first nodes of a graph had this frontier. False also where more nodes came since than are looked at at once.
fn had<G: HashGraph>(graph: &G, agreed: Agreed) -> Result<bool, G::Error> {
    let len = graph.len();
    if len.checked_sub(agreed.len).is_none_or(|new| new > WALK_STEP as Position) {
        return Ok(false);
    }
    // A node of the frontier is a head, or all its children came later.
    let mut frontier = walk::positions(graph, &graph.heads()?)?;
    frontier.retain(|at| *at <= agreed.len);
    for at in agreed.len + 1..=len {
        frontier.extend(graph.node(at)?.parents.into_iter().filter(|parent| *parent <= agreed.len));
    }
    let frontier = walk::newest(graph, &frontier, WALK_STEP)?;
    Ok(frontier_digest(&walk::ids(graph, &frontier)?) == agreed.digest)
}
