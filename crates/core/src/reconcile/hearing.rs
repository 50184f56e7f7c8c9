//! How a summary is understood, and what follows from it: an answer, and the plan of what to send.
//!
//! A peer may say what makes us look at everything that is here, so this goes on in steps, each with a budget of nodes,
//! and the steps of one peer have an end: after that it is sent everything in order, which costs no look at all.

use std::collections::BTreeSet;

use super::bits::Bits;
use super::clock::{Clock, ClockWalk};
use super::cuts::{Above, Filter, Find, Lacks, Mark, Nodes, Of, Sift};
use super::plan::Plan;
use super::summary::{Agreed, Detail, Heard, Reconciler, Summary};
use crate::hash_graph::{HashGraph, NodeId, Position};
use crate::limits::{MAX_SUMMARY_AUTHORS, MAX_WALKS, WALK_STEP};

/// Something that the other side said and that is not understood yet.
#[derive(Debug)]
pub(super) struct Said {
    theirs: Summary,
    first: bool,
    // Heads that it lacks, whatever its summary seems to say.
    wanted: Option<Vec<NodeId>>,
}

/// What is being understood.
#[derive(Debug)]
pub(super) struct Work {
    // Ours when it began.
    digest: [u8; 8],
    len: Position,
    first: bool,
    // Whether the other side waits for an answer, or takes none.
    owed: bool,
    silent: bool,
    next: Next,
}

/// What is to be done next for it.
#[derive(Debug)]
enum Next {
    Chains(ClockWalk, After),
    Find(Find, Cut),
    Above(Above, Position, Cut),
    Sift(Sift, Position, Cut),
    Lacks(Lacks, Position, After),
    // These do not stop in between, so they begin with a fresh budget.
    Mark,
    Answer(Bits, After),
}

/// Why chains or a filter are looked at, and so what is said in the end.
#[derive(Debug)]
enum After {
    Since(Agreed, [u8; 8]),
    Clock(Clock),
    Ready(Option<Filter>),
}

/// Why nodes are looked for that lie above marks.
#[derive(Debug)]
enum Cut {
    Marks(Vec<bool>),
    Common(Filter),
    Again(u32, Filter, BTreeSet<NodeId>),
}

enum Step {
    Done(Heard),
    Next(Next),
}

impl Reconciler {
    /// Takes in a summary of the other side; `go` understands it. `first`: it opened with this, and is owed an answer.
    pub fn begin(&mut self, theirs: Summary, first: bool) {
        self.later.push_back(Said { theirs, first, wanted: None });
    }

    /// The other side lacks these heads, whatever its summary seems to say, and says again what it has. No answer follows.
    pub fn begin_again(&mut self, theirs: Summary, wanted: Vec<NodeId>) {
        self.later.push_back(Said { theirs, first: false, wanted: Some(wanted) });
    }

    /// Whether something is not understood yet: `go` is to be called.
    pub fn is_busy(&self) -> bool {
        self.work.is_some() || !self.later.is_empty()
    }

    /// Goes on with what is to be understood, until about `budget` nodes were looked at. Gives what followed from one
    /// summary when its end is reached. `digest` is that of the heads now.
    pub fn go<G: HashGraph>(
        &mut self,
        graph: &G,
        digest: [u8; 8],
        budget: usize,
    ) -> Result<Option<Heard>, G::Error> {
        let mut left = budget;
        let mut work = match self.work.take() {
            Some(work) => work,
            None => {
                let Some(said) = self.later.pop_front() else { return Ok(None) };
                let (first, len) = (said.first, graph.len());
                let (owed, silent) = (first || owes(&said.theirs.detail), said.wanted.is_some());
                match self.start(graph, digest, said)? {
                    Step::Done(heard) => return Ok(Some(self.said(heard.silent_if(silent), len))),
                    Step::Next(next) => Work { digest, len, first, owed, silent, next },
                }
            }
        };
        loop {
            if self.looked > MAX_WALKS.saturating_mul(work.len).saturating_add(WALK_STEP as u64) {
                self.plan.renew(Plan::everything());
                let nothing = Summary { digest: work.digest, detail: Detail::Nothing };
                let heard = Heard { answer: work.owed.then_some(nothing), ready: true };
                return Ok(Some(heard.silent_if(work.silent)));
            }
            let whole = matches!(work.next, Next::Mark | Next::Answer(..));
            if left == 0 || whole && left < budget / 2 {
                self.work = Some(work);
                return Ok(None);
            }
            let before = left;
            let ended = match &mut work.next {
                Next::Chains(walk, _) => walk.step(graph, &mut left)?,
                Next::Find(find, _) => find.step(graph, &mut left)?,
                Next::Above(above, ..) => above.step(graph, &mut left)?,
                Next::Sift(sift, ..) => sift.step(graph, &mut left)?,
                Next::Lacks(lacks, ..) => lacks.step(graph, &mut left)?,
                Next::Mark | Next::Answer(..) => true,
            };
            self.looked = self.looked.saturating_add((before - left) as u64);
            if !ended {
                continue;
            }
            let (digest, len, first) = (work.digest, work.len, work.first);
            match self.walked(graph, (digest, len, first), work.next)? {
                Step::Done(heard) => return Ok(Some(self.said(heard.silent_if(work.silent), len))),
                Step::Next(next) => work.next = next,
            }
        }
    }

    // What is answered says how our graph stood, at this length. Whoever has the same by then says only that.
    fn said(&mut self, heard: Heard, len: Position) -> Heard {
        if let Some(Summary { digest, .. }) = heard.answer.as_ref().filter(|answer| owes(&answer.detail)) {
            self.note_offer(*digest, len);
        }
        heard
    }

    /// Understands a summary at once, whatever it costs: `begin`, and `go` to the end.
    pub fn hear<G: HashGraph>(
        &mut self,
        graph: &G,
        digest: [u8; 8],
        theirs: &Summary,
        first: bool,
    ) -> Result<Heard, G::Error> {
        self.begin(theirs.clone(), first);
        self.finish(graph, digest)
    }

    /// The same for what follows a wish: `begin_again`, and `go` to the end.
    pub fn hear_again<G: HashGraph>(
        &mut self,
        graph: &G,
        digest: [u8; 8],
        theirs: &Summary,
        wanted: Vec<NodeId>,
    ) -> Result<(), G::Error> {
        self.begin_again(theirs.clone(), wanted);
        self.finish(graph, digest).map(drop)
    }

    fn finish<G: HashGraph>(&mut self, graph: &G, digest: [u8; 8]) -> Result<Heard, G::Error> {
        let mut last = Heard::default();
        while self.is_busy() {
            last = self.go(graph, digest, usize::MAX)?.unwrap_or(last);
        }
        Ok(last)
    }

    /// Forgets what is not understood yet.
    pub fn stop(&mut self) {
        self.work = None;
        self.later.clear();
    }

    /// How many nodes were looked at for the other side, so far and before: what a later one is to `count_from`.
    pub fn looked(&self) -> u64 {
        self.looked
    }

    /// Goes on counting: the same peer had so many nodes of this graph looked at before.
    pub fn count_from(&mut self, looked: u64) {
        self.looked = self.looked.saturating_add(looked);
    }

    fn start<G: HashGraph>(&mut self, graph: &G, digest: [u8; 8], said: Said) -> Result<Step, G::Error> {
        let Said { theirs, first, wanted } = said;
        if wanted.is_some() {
            self.underway = self.ended_at.take().map_or(0..0, |end| end + 1..self.plan.next());
            // What seemed certain was not.
            self.shared = 0;
            self.outdated |= self.above.take().is_some();
        }
        let bare = Summary { digest, detail: Detail::Bare };
        let enough = Step::Done(Heard { answer: first.then(|| bare.clone()), ready: true });
        let len = graph.len();
        if theirs.digest == digest {
            self.plan.renew(Plan::nothing(len));
            // Who asked waits, also where both became equal meanwhile.
            let answer = (first || owes(&theirs.detail)).then_some(bare);
            return Ok(Step::Done(Heard { answer, ready: true }));
        }
        let detail = match theirs.detail {
            // They stand where we met before.
            Detail::Bare if self.met(graph, &theirs.digest).is_some() => {
                Detail::Recent(theirs.digest, Filter::default())
            }
            detail => detail,
        };
        Ok(match detail {
            Detail::Nothing => {
                self.plan.renew(Plan::everything());
                enough
            }
            Detail::Bare if first => self.answer_all(graph, digest)?,
            // They are where we were, or know that they lack all we had: then that was nothing.
            Detail::Bare => {
                self.plan.renew(Plan::nothing(self.offered.first().map_or(0, |offered| offered.len)));
                enough
            }
            Detail::Since(known, _) | Detail::Recent(known, _) if self.met(graph, &known).is_none() => {
                // From the beginning. An answer names only what we named ourselves.
                if first {
                    return self.answer_all(graph, digest);
                }
                self.plan.renew(Plan::everything());
                enough
            }
            Detail::Since(known, clock) => {
                let agreed = self.again_at(graph, known);
                let walk = ClockWalk::new(graph, &clock, self.salt, agreed.len, agreed.len)?;
                Step::Next(Next::Chains(walk, After::Since(agreed, known)))
            }
            Detail::Recent(known, filter) => {
                let agreed = self.again_at(graph, known);
                let new = Of::Between(agreed.len, len);
                let lacks = Lacks::new(new, filter, self.salt, BTreeSet::new(), 0..0);
                Step::Next(Next::Lacks(lacks, len, After::Since(agreed, known)))
            }
            Detail::Clock(clock) => {
                let walk = ClockWalk::new(graph, &clock, self.salt, 0, 0)?;
                Step::Next(Next::Chains(walk, After::Clock(clock)))
            }
            Detail::Otherwise(clock) => {
                let walk = ClockWalk::new(graph, &clock, self.salt, 0, self.clock_at)?;
                Step::Next(Next::Chains(walk, After::Ready(None)))
            }
            Detail::Marks(_) if graph.is_empty() => self.answer_all(graph, digest)?,
            Detail::Marks(marks) => Step::Next(Next::Find(Find::new(marks), Cut::Marks(Vec::new()))),
            Detail::Filter(found, filter) if found.is_empty() => match self.above.take() {
                Some((above, at)) => Step::Next(self.sifted(above, at, filter, None)),
                // It was made before what went over since.
                None if std::mem::take(&mut self.outdated) => Step::Done(Heard { answer: None, ready: true }),
                // None was asked for, or the answer came before.
                None => {
                    self.plan.renew(Plan::everything());
                    enough
                }
            },
            Detail::Filter(found, filter) => {
                let common = self.marks.iter().zip(found).filter(|(_, found)| *found);
                let common: Vec<Mark> = common.map(|(mark, _)| *mark).collect();
                Step::Next(Next::Find(Find::new(common), Cut::Common(filter)))
            }
            Detail::Again(round, marks, filter) => {
                let wanted = wanted.unwrap_or_default().into_iter().collect();
                Step::Next(Next::Find(Find::new(marks), Cut::Again(round, filter, wanted)))
            }
        })
    }

    fn walked<G: HashGraph>(
        &mut self,
        graph: &G,
        (digest, len, first): ([u8; 8], Position, bool),
        next: Next,
    ) -> Result<Step, G::Error> {
        let say = |detail| Some(Summary { digest, detail });
        Ok(match next {
            Next::Chains(walk, after) => match walk.end() {
                (_, true) => Step::Next(Next::Mark),
                (lacking, false) => Step::Next(Next::Answer(lacking, after)),
            },
            Next::Find(find, cut) => {
                let found = find.end();
                let above = Above::new(graph, found.iter().copied().flatten())?;
                let cut = match cut {
                    Cut::Marks(_) => Cut::Marks(found.iter().map(Option::is_some).collect()),
                    cut => cut,
                };
                Step::Next(Next::Above(above, graph.len(), cut))
            }
            Next::Above(above, at, Cut::Again(round, filter, wanted)) => {
                let salt = self.salt.round(round);
                let lacks = Lacks::new(Of::These(above.end()), filter, salt, wanted, self.underway.clone());
                Step::Next(Next::Lacks(lacks, at, After::Ready(None)))
            }
            Next::Above(above, at, cut) => Step::Next(Next::Sift(Sift::new(above.end(), self.salt), at, cut)),
            Next::Sift(sift, at, cut) => {
                let (above, ours) = sift.end();
                match cut {
                    Cut::Marks(found) => {
                        self.above = Some((above, at));
                        self.outdated = false;
                        Step::Done(Heard { answer: say(Detail::Filter(found, ours)), ready: false })
                    }
                    Cut::Common(theirs) | Cut::Again(_, theirs, _) => {
                        Step::Next(self.sifted(above, at, theirs, Some(ours)))
                    }
                }
            }
            Next::Lacks(lacks, _, After::Since(agreed, known)) => {
                Step::Next(Next::Answer(lacks.end(), After::Since(agreed, known)))
            }
            Next::Lacks(lacks, at, after) => {
                self.plan.renew(Plan::only(lacks.end(), at));
                let answer = match after {
                    After::Ready(Some(ours)) => say(Detail::Filter(Vec::new(), ours)),
                    _ => None,
                };
                Step::Done(Heard { answer, ready: true })
            }
            Next::Mark => Step::Done(Heard { answer: say(self.mark(graph)?), ready: false }),
            Next::Answer(lacking, after) => {
                let answer = match after {
                    After::Ready(_) => None,
                    After::Since(..) if !first => None,
                    // They named it, and know it by its digest.
                    After::Since(_, known) if digest == known => say(Detail::Bare),
                    After::Since(agreed, _) => match self.since(graph, agreed)? {
                        Some(since) => say(since),
                        // What they say to that makes another plan.
                        None => return Ok(Step::Next(Next::Mark)),
                    },
                    After::Clock(theirs) => match Clock::of(graph, &self.salt, 0, MAX_SUMMARY_AUTHORS)? {
                        Some(ours) => say(Detail::Otherwise(ours.otherwise_than(&theirs))),
                        None => return Ok(Step::Next(Next::Mark)),
                    },
                };
                self.plan.renew(Plan::only(lacking, len));
                Step::Done(Heard { answer, ready: true })
            }
        })
    }

    fn sifted(&self, above: Nodes, at: Position, theirs: Filter, ours: Option<Filter>) -> Next {
        let lacks = Lacks::new(Of::These(above), theirs, self.salt, BTreeSet::new(), 0..0);
        Next::Lacks(lacks, at, After::Ready(ours))
    }

    // They name where we met. What was noted in another session may be wrong; heads below it are named.
    fn again_at<G: HashGraph>(&mut self, graph: &G, known: [u8; 8]) -> Agreed {
        let agreed = self.met(graph, &known).unwrap_or(Agreed { digest: known, len: 0 });
        if self.offered.iter().any(|offered| offered.digest == known) {
            self.shared = self.shared.max(agreed.len);
        }
        agreed
    }

    // They have to hear everything first; where there is nothing, they owe no answer to it.
    fn answer_all<G: HashGraph>(&mut self, graph: &G, digest: [u8; 8]) -> Result<Step, G::Error> {
        let ready = graph.is_empty();
        if ready {
            self.plan.renew(Plan::nothing(0));
        }
        Ok(Step::Done(Heard { answer: Some(Summary { digest, detail: self.all(graph)? }), ready }))
    }
}

impl Heard {
    fn silent_if(self, silent: bool) -> Self {
        if silent { Self { answer: None, ready: true } } else { self }
    }
}

fn owes(detail: &Detail) -> bool {
    match detail {
        Detail::Clock(_) | Detail::Marks(_) => true,
        Detail::Filter(found, _) => !found.is_empty(),
        _ => false,
    }
}
