//! Answers a session from hash graphs: what a database does for its spaces, for any graph, without rules about who may
//! read. Frames are nodes as they travel, each behind its length.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Session;
use super::access::Answer;
use super::ask::{Ask, Checked, Ingested, Opened, ReadFrame, Surveyed};
use super::documents::Located;
use super::message::{Slot, Verdict};
use super::pull::Fed;
use crate::hash_graph::{HashGraph, HashGraphMut, Inserted, Position};
use crate::id::{CommitId, SpaceId};
use crate::leb128;
use crate::limits::{FRAME_TARGET, MAX_SUMMARY_HEADS, MAX_WANTED, WALK_STEP};
use crate::reconcile::{Agreed, Heard, Plan, Reconciler, Summary, frontier_digest};
use crate::sign::Domain;

/// The graphs that one side of a session has, and what it remembers of the other.
#[derive(Debug)]
pub struct GraphHost<G> {
    graphs: BTreeMap<SpaceId, G>,
    agreed: BTreeMap<SpaceId, Vec<Agreed>>,
    streams: BTreeMap<Slot, Stream>,
    // How many nodes were looked at for the peer in slots that are closed.
    looked: BTreeMap<SpaceId, u64>,
    step: usize,
}

#[derive(Debug)]
struct Stream {
    space: SpaceId,
    reconciler: Reconciler,
    wanted: VecDeque<Position>,
    // The peer opened it, and is not answered yet.
    opening: bool,
}

impl<G> Default for GraphHost<G> {
    fn default() -> Self {
        Self {
            graphs: BTreeMap::new(),
            agreed: BTreeMap::new(),
            streams: BTreeMap::new(),
            looked: BTreeMap::new(),
            step: WALK_STEP,
        }
    }
}

impl<G: HashGraphMut> GraphHost<G> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The graph of a space, if there is one. Tell the session when it `changed`.
    pub fn graph_mut(&mut self, space: &SpaceId) -> Option<&mut G> {
        self.graphs.get_mut(space)
    }

    /// The graph of a space, if there is one.
    pub fn graph(&self, space: &SpaceId) -> Option<&G> {
        self.graphs.get(space)
    }

    /// The spaces that have a graph.
    pub fn spaces(&self) -> impl Iterator<Item = &SpaceId> {
        self.graphs.keys()
    }

    /// Puts a graph under the name of a space; an empty one to receive into.
    pub fn insert(&mut self, space: SpaceId, graph: G) {
        self.remove(&space);
        self.graphs.insert(space, graph);
    }

    /// Takes a graph out again. Slots that are open for it close with the next thing that they ask.
    pub fn remove(&mut self, space: &SpaceId) -> Option<G> {
        self.streams.retain(|_, stream| stream.space != *space);
        self.graphs.remove(space)
    }

    /// How many nodes are looked at in one answer, at least one; the rest is for the next ones. 1024 if left unset.
    pub fn set_step(&mut self, nodes: usize) {
        self.step = nodes.max(1);
    }

    /// What is worth keeping for the next session with the same peer: where both sides met, per space, the newest last.
    pub fn agreed(&self) -> &BTreeMap<SpaceId, Vec<Agreed>> {
        &self.agreed
    }

    /// Takes over what was kept of an earlier session with the same peer. What is wrong with it costs bytes, nothing else.
    pub fn restore(&mut self, agreed: BTreeMap<SpaceId, Vec<Agreed>>) {
        self.agreed = agreed;
    }

    /// Does what a session asks, and gives it the answer.
    pub fn answer(&mut self, session: &mut Session, ask: Ask) -> Result<(), G::Error> {
        if let Ask::Hear { slot, .. }
        | Ask::Read { slot }
        | Ask::Ingest { slot, .. }
        | Ask::Check { slot, .. }
        | Ask::Confirm { slot, .. }
        | Ask::Want { slot, .. }
        | Ask::Go { slot } = &ask
            && self.at(*slot).is_none()
        {
            session.handle_opened(*slot, None);
            return Ok(());
        }
        let met = match &ask {
            Ask::Open { slot, .. }
            | Ask::Hear { slot, .. }
            | Ask::Ingest { slot, .. }
            | Ask::Acknowledged { slot, .. }
            | Ask::Check { slot, .. }
            | Ask::Confirm { slot, .. } => Some(*slot),
            _ => None,
        };
        match ask {
            Ask::Open { slot, space, theirs, salt, .. } => {
                let Some(graph) = self.graphs.get(&space) else {
                    session.handle_opened(slot, None);
                    return Ok(());
                };
                let digest = frontier_digest(&graph.heads()?);
                let agreed = self.agreed.get(&space).cloned().unwrap_or_default();
                let mut reconciler = Reconciler::new(salt, agreed);
                reconciler.count_from(self.looked.get(&space).copied().unwrap_or(0));
                let opening = theirs.is_some();
                let mut stream = Stream { space, reconciler, wanted: VecDeque::new(), opening };
                match theirs {
                    Some(theirs) => {
                        stream.meet(graph, &theirs.digest)?;
                        stream.reconciler.begin(theirs, true);
                        self.streams.insert(slot, stream);
                        self.go(session, slot)?;
                    }
                    None => {
                        let summary = stream.reconciler.offer(graph, digest)?;
                        self.streams.insert(slot, stream);
                        session.handle_opened(slot, Some(Opened { summary, readable: true, ready: false }));
                    }
                }
            }
            Ask::Hear { slot, theirs } => {
                let Some((stream, graph)) = self.at(slot) else { return Ok(()) };
                stream.meet(graph, &theirs.digest)?;
                stream.reconciler.begin(theirs, false);
                self.go(session, slot)?;
            }
            Ask::Go { slot } => self.go(session, slot)?,
            Ask::Read { slot } => {
                let read = self.read(slot)?;
                session.handle_read(slot, read);
            }
            Ask::Ingest { slot, number, frame, digest } => {
                let ingested = self.ingest(slot, &frame, &digest)?;
                session.handle_ingested(slot, number, ingested);
            }
            Ask::Acknowledged { slot, digest } => {
                if let Some((stream, graph)) = self.at(slot) {
                    stream.meet(graph, &digest)?;
                }
            }
            Ask::Check { slot, heads, digest, round } => {
                let Some((stream, graph)) = self.at(slot) else { return Ok(()) };
                let ours = frontier_digest(&graph.heads()?);
                let mut checked = Checked::default();
                if digest == ours {
                    stream.meet(graph, &digest)?;
                } else {
                    for head in heads {
                        if graph.position(&head.0)?.is_none() {
                            checked.missing.push(head);
                        }
                    }
                    if !checked.missing.is_empty() {
                        checked.again = stream.reconciler.again(graph, ours, round)?;
                    }
                }
                session.handle_checked(slot, checked);
            }
            Ask::Confirm { slot, digest, round } => {
                let Some((stream, graph)) = self.at(slot) else { return Ok(()) };
                stream.meet(graph, &digest)?;
                let ours = frontier_digest(&graph.heads()?);
                let again = stream.reconciler.confirm(graph, ours, round)?;
                session.handle_confirmed(slot, again);
            }
            Ask::Want { slot, ids, again } => {
                let Some((stream, graph)) = self.at(slot) else { return Ok(()) };
                match again {
                    Some(theirs) => {
                        let wanted = ids.iter().map(|id| id.0).collect();
                        stream.reconciler.begin_again(theirs, wanted);
                        self.go(session, slot)?;
                    }
                    None => {
                        for id in ids.iter().take(MAX_WANTED) {
                            stream.wanted.extend(graph.position(&id.0)?);
                        }
                    }
                }
            }
            Ask::Survey { .. } => {
                let found = self.survey()?;
                session.handle_surveyed(found);
            }
            Ask::Forget { slot } => {
                if let Some(stream) = self.streams.remove(&slot) {
                    self.looked.insert(stream.space, stream.reconciler.looked());
                }
            }
            // A graph is no store: it has no places that another could go on from.
            Ask::Feed { request, .. } => session.handle_fed(request, Fed::Withheld),
            Ask::Take { request, .. } => session.handle_taken(request, false),
            // There are no rules that could let anybody in, and no names.
            Ask::Request { number, .. } => session.handle_answer(number, Answer::Refused),
            Ask::Discover { number, .. } | Ask::Shared { number, .. } => {
                session.handle_found(number, Vec::new(), false);
            }
            Ask::Find { number, .. } => session.handle_located(number, Located::default()),
            Ask::Tell { .. } => {}
        }
        met.into_iter().for_each(|slot| self.keep(slot));
        Ok(())
    }

    // Goes on with what the peer said, as far as one step reaches.
    fn go(&mut self, session: &mut Session, slot: Slot) -> Result<(), G::Error> {
        let step = self.step;
        let Some((stream, graph)) = self.at(slot) else { return Ok(()) };
        let digest = frontier_digest(&graph.heads()?);
        let heard = stream.reconciler.go(graph, digest, step)?;
        let opening = stream.opening;
        if stream.reconciler.is_busy() {
            session.handle_pending(slot);
        }
        if let Some(Heard { answer, ready }) = heard {
            stream.opening = false;
            if opening {
                let summary = answer.unwrap_or(Summary { digest, ..Summary::default() });
                session.handle_opened(slot, Some(Opened { summary, readable: true, ready }));
            } else {
                session.handle_heard(slot, Heard { answer, ready });
            }
        }
        Ok(())
    }

    // What lies beyond the graph was lost here: there both meet anew.
    fn survey(&self) -> Result<Vec<Surveyed>, G::Error> {
        let mut found = Vec::new();
        for (space, agreed) in &self.agreed {
            let (Some(agreed), Some(graph)) = (agreed.last(), self.graphs.get(space)) else { continue };
            if agreed.len <= graph.len() {
                let changed = frontier_digest(&graph.heads()?) != agreed.digest;
                found.push(Surveyed { space: *space, digest: agreed.digest, changed });
            }
        }
        Ok(found)
    }

    fn at(&mut self, slot: Slot) -> Option<(&mut Stream, &mut G)> {
        let stream = self.streams.get_mut(&slot)?;
        let graph = self.graphs.get_mut(&stream.space)?;
        Some((stream, graph))
    }

    fn keep(&mut self, slot: Slot) {
        let Some(stream) = self.streams.get(&slot) else { return };
        let agreed = stream.reconciler.agreed();
        if !agreed.is_empty() && self.agreed.get(&stream.space).is_none_or(|kept| kept != agreed) {
            self.agreed.insert(stream.space, agreed.to_vec());
        }
    }

    fn read(&mut self, slot: Slot) -> Result<Option<ReadFrame>, G::Error> {
        let Some((stream, graph)) = self.at(slot) else { return Ok(None) };
        let mut frame = Vec::new();
        while frame.len() < FRAME_TARGET {
            let at = match stream.wanted.pop_front() {
                Some(at) => at,
                None => match stream.plan().peek(graph.len()) {
                    Some(at) => {
                        stream.plan().sent();
                        at
                    }
                    None => break,
                },
            };
            let bytes = graph.bytes(at)?;
            leb128::put(&mut frame, bytes.len() as u64);
            frame.extend_from_slice(&bytes);
        }
        let mut read = ReadFrame { digest: frontier_digest(&graph.heads()?), ..ReadFrame::default() };
        if frame.is_empty() {
            stream.reconciler.ended(graph.len());
            for head in graph.heads()? {
                let known = graph.position(&head)?.is_some_and(|at| stream.reconciler.knows(at));
                if !known && read.heads.len() < MAX_SUMMARY_HEADS {
                    read.heads.push(CommitId(head));
                }
            }
        } else {
            read.frame = Some(frame);
        }
        Ok(Some(read))
    }

    fn ingest(&mut self, slot: Slot, mut frame: &[u8], theirs: &[u8; 8]) -> Result<Ingested, G::Error> {
        let Some((stream, graph)) = self.at(slot) else { return Ok(Ingested::default()) };
        let mut ingested = Ingested::default();
        let (mut orphans, mut orphaned) = (BTreeSet::new(), BTreeSet::new());
        while !frame.is_empty() {
            let node = leb128::take(frame)
                .and_then(|(length, rest)| rest.split_at_checked(usize::try_from(length).ok()?));
            let Some((bytes, rest)) = node else {
                let hash = Domain::Refused.hash(&[frame]);
                ingested.refused.push(Verdict { hash, code: "unreadable".into() });
                break;
            };
            frame = rest;
            match graph.insert(bytes)? {
                Inserted::New(at) | Inserted::Known(at) => stream.plan().has(at),
                Inserted::Missing { id, parents } => {
                    orphaned.extend(parents.into_iter().filter(|parent| !orphans.contains(parent)));
                    // Its parents may come from elsewhere: then it is missing all the same.
                    orphaned.insert(id);
                    orphans.insert(id);
                }
                Inserted::Refused(code) => {
                    let hash = Domain::Refused.hash(&[bytes]);
                    ingested.refused.push(Verdict { hash, code: code.into() });
                }
            }
        }
        ingested.orphaned = orphaned.into_iter().take(MAX_WANTED).map(CommitId).collect();
        ingested.digest = frontier_digest(&graph.heads()?);
        stream.meet(graph, theirs)?;
        Ok(ingested)
    }
}

impl Stream {
    fn plan(&mut self) -> &mut Plan {
        self.reconciler.plan()
    }

    // The other side has these heads; if they are ours, that is where both met last.
    fn meet<G: HashGraph>(&mut self, graph: &G, theirs: &[u8; 8]) -> Result<(), G::Error> {
        if frontier_digest(&graph.heads()?) == *theirs {
            self.reconciler.agree(*theirs, graph.len());
        }
        Ok(())
    }
}
