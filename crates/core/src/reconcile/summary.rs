//! Which summary is sent, how one is understood, and what follows from it: the plan of what to send.
//!
//! One `Reconciler` per graph and session. The opener offers; each side hears what the other says and may answer; after
//! at most four messages both have a plan. What a peer says of itself can only cost the peer.

use std::ops::Range;

use super::Salt;
use super::bits::Bits;
use super::clock::Clock;
use super::cuts::{self, Filter, Mark};
use super::plan::Plan;
use crate::hash_graph::{HashGraph, NodeId, Position};
use crate::limits::{MAX_AGREED, MAX_FILTER, MAX_ROUNDS};

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
    salt: Salt,
    agreed: Vec<Agreed>,
    // What our offer said: whoever names its frontier has it.
    offered: Option<Agreed>,
    // How long the graph was when the clock was sent.
    clock_at: Position,
    marks: Vec<Mark>,
    above: Option<Vec<Position>>,
    // How long the graph was then.
    above_at: Position,
    wanted: Vec<NodeId>,
    // How long the graph was when all was sent: what went over since then may be on its way.
    ended_at: Option<Position>,
    // Of what is asked for again, this went over since the end.
    underway: Range<Position>,
    // Up to here the other side has everything, as it said itself in this session.
    shared: Position,
    plan: Plan,
}

impl Reconciler {
    /// `agreed`: frontiers at which this graph and that of the other side met before, the newest last. What lies beyond
    /// the graph is ignored: it was lost here.
    pub fn new(salt: Salt, mut agreed: Vec<Agreed>) -> Self {
        agreed.drain(..agreed.len().saturating_sub(MAX_AGREED - 1));
        Self {
            salt,
            agreed,
            offered: None,
            clock_at: 0,
            marks: Vec::new(),
            above: None,
            above_at: 0,
            wanted: Vec::new(),
            ended_at: None,
            underway: 0..0,
            shared: 0,
            plan: Plan::nothing(0),
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
        self.agreed.retain(|agreed| agreed.digest != digest);
        self.agreed.push(Agreed { digest, len });
        // The first stays: it is what the other side finds if it forgets this session in a crash.
        if self.agreed.len() > MAX_AGREED {
            self.agreed.remove(1);
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
        self.offered = Some(Agreed { digest, len: graph.len() });
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

    /// A summary of the other side. `first`: it opened with this, and is owed an answer.
    pub fn hear<G: HashGraph>(
        &mut self,
        graph: &G,
        digest: [u8; 8],
        theirs: &Summary,
        first: bool,
    ) -> Result<Heard, G::Error> {
        let say = |detail| Some(Summary { digest, detail });
        let enough =
            || Heard { answer: first.then_some(Summary { digest, detail: Detail::Bare }), ready: true };
        if theirs.digest == digest {
            self.plan.renew(Plan::nothing(graph.len()));
            return Ok(enough());
        }
        match &theirs.detail {
            Detail::Nothing => {
                self.plan.renew(Plan::everything());
                Ok(enough())
            }
            // They stand where we met before.
            Detail::Bare if self.met(graph, &theirs.digest).is_some() => {
                let since = Detail::Recent(theirs.digest, Filter::default());
                self.hear(graph, digest, &Summary { digest: theirs.digest, detail: since }, first)
            }
            Detail::Bare if first => self.answer_all(graph, digest),
            // They are where we were, or know that they lack all we had: then that was nothing.
            Detail::Bare => {
                self.plan.renew(Plan::nothing(self.offered.map_or(0, |offered| offered.len)));
                Ok(enough())
            }
            Detail::Since(known, _) | Detail::Recent(known, _) => {
                let Some(agreed) = self.met(graph, known) else {
                    // An answer names only what we named ourselves.
                    return self.unknown(graph, digest, first);
                };
                // What was noted in another session may be wrong; heads below it are named.
                if self.offered.is_some_and(|offered| offered.digest == *known) {
                    self.shared = self.shared.max(agreed.len);
                }
                let lacking = match &theirs.detail {
                    Detail::Recent(_, filter) => {
                        let new: Vec<Position> = (agreed.len + 1..=graph.len()).collect();
                        cuts::lacks(graph, &new, filter, &self.salt, &[], &(0..0))?
                    }
                    Detail::Since(_, clock) => {
                        let (lacking, forked) = clock.lacks(graph, &self.salt, agreed.len, agreed.len)?;
                        if forked {
                            return Ok(Heard { answer: say(self.mark(graph)?), ready: false });
                        }
                        lacking
                    }
                    _ => Bits::default(),
                };
                let answer = match first {
                    false => None,
                    // They named it, and know it by its digest.
                    true if digest == *known => say(Detail::Bare),
                    true => match self.since(graph, agreed)? {
                        Some(since) => say(since),
                        // What they say to that makes another plan.
                        None => return Ok(Heard { answer: say(self.mark(graph)?), ready: false }),
                    },
                };
                self.plan.renew(Plan::only(lacking, graph.len()));
                Ok(Heard { answer, ready: true })
            }
            Detail::Clock(clock) => {
                let (lacking, forked) = clock.lacks(graph, &self.salt, 0, 0)?;
                let (false, Some(ours)) = (forked, Clock::of(graph, &self.salt, 0)?) else {
                    return Ok(Heard { answer: say(self.mark(graph)?), ready: false });
                };
                self.plan.renew(Plan::only(lacking, graph.len()));
                Ok(Heard { answer: say(Detail::Otherwise(ours.otherwise_than(clock))), ready: true })
            }
            Detail::Otherwise(clock) => {
                let (lacking, forked) = clock.lacks(graph, &self.salt, 0, self.clock_at)?;
                if forked {
                    return Ok(Heard { answer: say(self.mark(graph)?), ready: false });
                }
                self.plan.renew(Plan::only(lacking, graph.len()));
                Ok(Heard { answer: None, ready: true })
            }
            Detail::Marks(_) if graph.is_empty() => self.answer_all(graph, digest),
            Detail::Marks(marks) => {
                let found = cuts::find(graph, marks)?;
                self.above_at = graph.len();
                self.above = cuts::above(graph, found.iter().copied().flatten())?;
                let Some(above) = &self.above else {
                    self.plan.renew(Plan::everything());
                    return Ok(Heard { answer: say(Detail::Nothing), ready: true });
                };
                let filter = Filter::of(graph, above, &self.salt)?;
                let found = found.iter().map(Option::is_some).collect();
                Ok(Heard { answer: say(Detail::Filter(found, filter)), ready: false })
            }
            Detail::Filter(found, filter) => {
                let mut answer = None;
                if !found.is_empty() {
                    let common: Vec<Mark> = self
                        .marks
                        .iter()
                        .zip(found)
                        .filter(|(_, found)| **found)
                        .map(|(mark, _)| *mark)
                        .collect();
                    let base = cuts::find(graph, &common)?;
                    self.above_at = graph.len();
                    self.above = cuts::above(graph, base.into_iter().flatten())?;
                    answer = match &self.above {
                        Some(above) => say(Detail::Filter(Vec::new(), Filter::of(graph, above, &self.salt)?)),
                        None => say(Detail::Nothing),
                    };
                }
                self.plan.renew(match &self.above {
                    Some(above) => Plan::only(
                        cuts::lacks(graph, above, filter, &self.salt, &[], &(0..0))?,
                        self.above_at,
                    ),
                    None => Plan::everything(),
                });
                Ok(Heard { answer, ready: true })
            }
            Detail::Again(round, marks, filter) => {
                let found = cuts::find(graph, marks)?;
                self.plan.renew(match cuts::above(graph, found.into_iter().flatten())? {
                    Some(above) => {
                        let lacking = cuts::lacks(
                            graph,
                            &above,
                            filter,
                            &self.salt.round(*round),
                            &self.wanted,
                            &self.underway,
                        )?;
                        Plan::only(lacking, graph.len())
                    }
                    None => Plan::everything(),
                });
                Ok(Heard { answer: None, ready: true })
            }
        }
    }

    /// The other side lacks these heads, whatever its summary seems to say, and says again what it has.
    pub fn hear_again<G: HashGraph>(
        &mut self,
        graph: &G,
        digest: [u8; 8],
        theirs: &Summary,
        wanted: Vec<NodeId>,
    ) -> Result<(), G::Error> {
        self.wanted = wanted;
        self.underway = self.ended_at.take().map_or(0..0, |end| end + 1..self.plan.next());
        // What seemed certain was not.
        self.shared = 0;
        self.hear(graph, digest, theirs, false).map(|_| ())
    }

    /// What is said when something that the other side has did not come: first with other hashes, then that everything
    /// is to be sent.
    pub fn again<G: HashGraph>(
        &mut self,
        graph: &G,
        digest: [u8; 8],
        round: u32,
    ) -> Result<Summary, G::Error> {
        if round >= MAX_ROUNDS || graph.is_empty() {
            return Ok(Summary { digest, detail: Detail::Nothing });
        }
        let recent: Vec<Position> = (graph.len().saturating_sub(RECENT) + 1..=graph.len()).collect();
        debug_assert!(recent.len() * 10 / 8 < MAX_FILTER);
        let filter = Filter::of(graph, &recent, &self.salt.round(round))?;
        Ok(Summary { digest, detail: Detail::Again(round, cuts::marks(graph)?, filter) })
    }

    // What went on here since, in the way that costs least; `None` if marks may cost less.
    fn since<G: HashGraph>(&self, graph: &G, agreed: Agreed) -> Result<Option<Detail>, G::Error> {
        // Nodes without authors are in no clock.
        let clock = match graph.tips()?.is_empty() {
            true => None,
            false => Clock::of(graph, &self.salt, agreed.len)?,
        };
        let new = graph.len() - agreed.len;
        // A clock is exact, and a filter may cost another round: a few authors are worth that.
        let small = |clock: &Clock| clock.0.len() <= EAGER || clock.weight() <= Filter::weight(new);
        Ok(match clock {
            Some(clock) if small(&clock) && clock.0.len() <= FEW => Some(Detail::Since(agreed.digest, clock)),
            _ if new <= RECENT => {
                let new: Vec<Position> = (agreed.len + 1..=graph.len()).collect();
                Some(Detail::Recent(agreed.digest, Filter::of(graph, &new, &self.salt)?))
            }
            Some(clock) if clock.0.len() <= FEW => Some(Detail::Since(agreed.digest, clock)),
            _ => None,
        })
    }

    // When we had this frontier.
    fn met<G: HashGraph>(&self, graph: &G, digest: &[u8; 8]) -> Option<Agreed> {
        let mut known = self.agreed.iter().chain(&self.offered);
        known.find(|agreed| agreed.digest == *digest && agreed.len <= graph.len()).copied()
    }

    // A frontier that is not known here: from the beginning.
    fn unknown<G: HashGraph>(&mut self, graph: &G, digest: [u8; 8], first: bool) -> Result<Heard, G::Error> {
        if first {
            return self.answer_all(graph, digest);
        }
        self.plan.renew(Plan::everything());
        Ok(Heard { answer: None, ready: true })
    }

    // They have to hear everything first; where there is nothing, they owe no answer to it.
    fn answer_all<G: HashGraph>(&mut self, graph: &G, digest: [u8; 8]) -> Result<Heard, G::Error> {
        let ready = graph.is_empty();
        if ready {
            self.plan.renew(Plan::nothing(0));
        }
        Ok(Heard { answer: Some(Summary { digest, detail: self.all(graph)? }), ready })
    }

    // Everything that is here, in the way that costs least.
    fn all<G: HashGraph>(&mut self, graph: &G) -> Result<Detail, G::Error> {
        match graph.tips()?.len() {
            _ if graph.is_empty() => Ok(Detail::Nothing),
            1..=FEW => self.full(graph),
            _ => self.mark(graph),
        }
    }

    fn full<G: HashGraph>(&mut self, graph: &G) -> Result<Detail, G::Error> {
        match Clock::of(graph, &self.salt, 0)? {
            Some(clock) => {
                self.clock_at = graph.len();
                Ok(Detail::Clock(clock))
            }
            None => self.mark(graph),
        }
    }

    fn mark<G: HashGraph>(&mut self, graph: &G) -> Result<Detail, G::Error> {
        self.marks = cuts::marks(graph)?;
        Ok(Detail::Marks(self.marks.clone()))
    }
}
