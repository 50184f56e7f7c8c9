//! The one door. Every commit, whoever made it, enters here: a local write, a bundle, later a peer or a mailbox.
//!
//! A vouched commit is admitted (its header fits its ancestors, and its author had the right), appended to the log,
//! judged, and folded, all in one storage transaction. Publishing comes after the flush, and not here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use driftless_core::commit::{Kind, RuleBody, Vouched};
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::limits::MAX_RUN;
use driftless_core::rules::{Permission, RuleOperator, Strength};
use driftless_core::verdict::{
    Change, FrontierId, Kept, ParentFrontier, Place, Refusal, RuleCommit, RuleIndex, Rules, Standing, Via,
};
use driftless_store::Storage;
use tracing::span::EnteredSpan;

use crate::door::judge::Body;
use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::fork;
use crate::state::replica::{Facts, Replica};
use crate::tables::layout::{self, LogKey, LogSeq, MAX_SPACES, Row, State};
use crate::tables::log::{self, Alike};
use crate::tables::refused::Reason;
use crate::tables::view::Source;
use crate::walk;

/// What became of a commit at the door.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entered {
    /// New in the log; `None` is applied.
    New(Option<State>),
    /// It was here already; nothing changed.
    Known,
    /// It was here without its body, which it brought.
    Completed(Option<State>),
    /// Not admitted: nothing of it was stored.
    Refused(Reason),
    /// Parents that are not here. It may come again after them.
    Early(Vec<CommitId>),
}

impl Engine {
    /// Takes one vouched commit through the door.
    pub(crate) fn enter(&mut self, commit: &Vouched) -> Result<Entered, Error> {
        let space = commit.space();
        let _step = walk::enter(&space);
        if !self.load(&space)? {
            return if commit.header().is_genesis() {
                self.found(commit)
            } else {
                Ok(Entered::Refused(Reason::UnknownSpace))
            };
        }
        // What is due counts as here before what may stand on it.
        self.release_due(&space)?;
        let admitting = walk::admit();
        let (storage, replica) = self.parts(&space)?;
        let alike = Alike::of(storage, &commit.id())?;
        if let Some((at, row)) = alike.find(storage, replica.number, &commit.id())? {
            return self.complete(&space, Facts::of(at, &row), commit);
        }
        let header = commit.header();
        let (mut parents, mut missing) = (Vec::new(), Vec::new());
        for id in header.all_parents() {
            match replica.facts(storage, id)? {
                Some(facts) => parents.push(facts),
                None => missing.push(*id),
            }
        }
        if !missing.is_empty() {
            return Ok(Entered::Early(missing));
        }
        // Admission: the header against its ancestors, and against nothing else.
        if parents.iter().any(|parent| parent.time >= header.time) {
            return Ok(Entered::Refused(Reason::Time));
        }
        let previous = header.previous.and_then(|_| parents.first().copied());
        if let Some(previous) = &previous {
            let author = replica.author(storage, previous.author)?;
            if author != header.author || previous.seq + 1 != header.seq {
                return Ok(Entered::Refused(Reason::Chain));
            }
            if previous.continues && (header.kind != Kind::Documents || previous.run + 1 >= MAX_RUN) {
                return Ok(Entered::Refused(Reason::Run));
            }
        }
        let frontier = match replica.frontier_of(&parents) {
            Ok(frontier) => frontier,
            Err(refusal) => return Ok(Entered::Refused(Reason::Rules(refusal))),
        };
        let number = replica.author_number(storage, &header.author)?;
        let place = replica.place_after(&header.author, number, header.seq, previous.as_ref());
        let admitted = Admitted { parents, previous, frontier, place, alike };
        match header.kind {
            Kind::Documents => match replica.rules.strength_at(frontier, &header.author) {
                Ok(standing) => {
                    drop(admitting);
                    let (facts, row) = self.append(&space, commit, admitted, standing)?;
                    let body = if commit.body().is_some() { Body::Stored } else { Body::Unknown };
                    Ok(Entered::New(self.settle_new(&space, facts, &row, body)?))
                }
                Err(refusal) => Ok(Entered::Refused(Reason::Rules(refusal))),
            },
            Kind::Rules => self.enter_rules(&space, commit, admitted, admitting),
        }
    }

    // The first commit of a space that was not here.
    fn found(&mut self, commit: &Vouched) -> Result<Entered, Error> {
        let Some(Ok(body)) = commit.body().map(RuleBody::decode) else {
            return Ok(Entered::Refused(Reason::Body));
        };
        let admitted = Admitted::genesis(Alike::of(self.storage.as_ref(), &commit.id())?);
        let rules = match Rules::new(rule_commit(commit, &admitted, body)) {
            Ok(rules) => rules,
            Err(refusal) => return Ok(Entered::Refused(Reason::Rules(refusal))),
        };
        let number = self.next_space()?;
        if number > MAX_SPACES {
            return Ok(Entered::Refused(Reason::TooManySpaces));
        }
        let space = commit.space();
        let replica = Replica::new(number, space, rules);
        self.storage.put(&layout::SPACE_ID, space.0.as_slice().into(), &number.to_be_bytes())?;
        // The row names the space for the collections that follow.
        self.storage.put(&layout::SPACE, u64::from(number).into(), &replica.summary().encode())?;
        self.replicas.insert(space, replica);
        self.parts(&space)?.1.rule_at.insert(1, RuleIndex(0));
        let standing = Standing { permission: Permission::Admin(Strength(0)), via: Via::Key };
        let (facts, _) = self.append(&space, commit, admitted, standing)?;
        Ok(Entered::New(self.rule_appended(&space, facts, Change::Nothing)?))
    }

    fn enter_rules(
        &mut self,
        space: &SpaceId,
        commit: &Vouched,
        admitted: Admitted,
        admitting: EnteredSpan,
    ) -> Result<Entered, Error> {
        let Some(Ok(body)) = commit.body().map(RuleBody::decode) else {
            return Ok(Entered::Refused(Reason::Body));
        };
        let kept = self.kept(space, &body, &admitted)?;
        let (_, replica) = self.parts(space)?;
        let find = |id: &CommitId| kept.iter().find(|(kept, _)| kept == id).map(|(_, kept)| *kept);
        let rule = rule_commit(commit, &admitted, body);
        // A redemption gives its author a standing; every other rule commit rests on one.
        let before = replica.rules.standing_at(admitted.frontier, &rule.author).unwrap_or_default();
        match replica.rules.admit_rule(rule, &replica.chains, &find) {
            Ok((index, change)) => {
                let at = replica.next;
                replica.rule_at.insert(at, index);
                drop(admitting);
                let reader = Standing { permission: Permission::Read, via: Via::Key };
                let (facts, _) = self.append(space, commit, admitted, before.unwrap_or(reader))?;
                Ok(Entered::New(self.rule_appended(space, facts, change)?))
            }
            Err(refusal) => Ok(Entered::Refused(Reason::Rules(refusal))),
        }
    }

    // A commit that is here already; it may bring the body that was missing.
    fn complete(&mut self, space: &SpaceId, facts: Facts, commit: &Vouched) -> Result<Entered, Error> {
        let (storage, replica) = self.parts(space)?;
        let at = replica.key(facts.at);
        // Whatever its state: what the body says may be the reason why it would be another.
        let (Some(body), Some(_)) = (commit.body(), log::state(storage, at)?) else {
            return Ok(Entered::Known);
        };
        if commit.header().kind == Kind::Rules || storage.get(&layout::BODY, at.0.into())?.is_some() {
            return Ok(Entered::Known);
        }
        storage.put(&layout::BODY, at.0.into(), body)?;
        // Peers may wait for it, whatever it changes here.
        replica.advanced = true;
        self.late += 1;
        self.staged();
        Ok(Entered::Completed(self.settle(space, at)?))
    }

    // Step 5 of the walk: the log row, and what follows from it in memory.
    fn append(
        &mut self,
        space: &SpaceId,
        commit: &Vouched,
        admitted: Admitted,
        standing: Standing,
    ) -> Result<(Facts, Row), Error> {
        let _step = walk::append();
        let now = self.now();
        let (storage, replica) = self.parts(space)?;
        let header = commit.header();
        let author = match replica.author_number(storage, &header.author)? {
            Some(number) => number,
            None => log::author_number(storage, &header.author)?,
        };
        let at = replica.next;
        let run =
            admitted.previous.filter(|previous| previous.continues).map_or(0, |previous| previous.run + 1);
        let row = Row {
            id: commit.id(),
            kind: header.kind,
            continues: header.continues,
            author,
            seq: header.seq,
            previous: admitted.previous.map(|previous| previous.at),
            parents: others(&admitted.parents, admitted.previous.is_some()),
            time: header.time,
            body_hash: commit.body().is_none().then_some(header.body_hash),
            body_length: header.body_length,
            body_encoding: header.body_encoding,
            extensions: if header.has_extensions() { header.extensions.clone() } else { Vec::new() },
            signature: commit.signature().map(|attached| (attached.signature, attached.verified)),
            frontier: admitted.frontier.0,
            strength: standing.permission.strength().0,
            via: standing.via,
            branch: admitted.place.branch,
            run,
        };
        let key = replica.key(at);
        log::append(storage, key, &row, commit.body(), admitted.alike)?;
        if run > 0 {
            let next_of = admitted.previous.map_or(at, |previous| previous.at);
            let link = layout::key([replica.key(next_of).0, key.0]);
            storage.put(&layout::RUN, link.as_slice().into(), &[])?;
        }
        let facts = Facts::of(key, &row);
        if facts.branch > 0 && !replica.tips.contains_key(&(facts.author, facts.branch)) {
            fork::note(storage, replica.number, &facts, now)?;
        }
        // A held commit moves neither our clock nor what we build on.
        // A time that our clock has passed already, though it was set back since, is no future; what stands on a held
        // commit waits with it.
        let ahead = header.time.is_ahead_of(now) && header.time > self.clock.last();
        let source = self.view.source;
        let (_, replica) = self.parts(space)?;
        let held =
            ahead || admitted.parents.iter().any(|parent| replica.held.contains(&(parent.time, parent.at)));
        let parents: Vec<u64> = admitted.parents.iter().map(|parent| parent.at).collect();
        replica.append(&header.author, facts, admitted.previous.as_ref(), &parents, held);
        replica.arrived[usize::from(source != Source::Local)] = true;
        if !held {
            self.clock.observe(header.time);
        }
        // One that waits for the rest of its transaction is decoded when that is here.
        if let (Kind::Documents, false, Some(body)) = (header.kind, header.continues, commit.body()) {
            self.view.remember(key, Arc::new(log::decode_body(&row, body)));
        }
        self.staged();
        Ok((facts, row))
    }

    // For each commit that a `keep` of this body names: whose it is, where in the chain, and whether it is an ancestor.
    fn kept(
        &mut self,
        space: &SpaceId,
        body: &RuleBody,
        admitted: &Admitted,
    ) -> Result<Vec<(CommitId, Kept)>, Error> {
        let (storage, replica) = self.parts(space)?;
        let mut kept = Vec::new();
        for id in body.operators.iter().flat_map(kept_by) {
            let Some(facts) = replica.facts(storage, id)? else { continue };
            let author = replica.author(storage, facts.author)?;
            kept.push((*id, facts.at, Kept { author, place: Replica::place(&facts), is_ancestor: false }));
        }
        let targets: BTreeSet<u64> = kept.iter().map(|(_, at, _)| *at).collect();
        let found = ancestors_among(
            storage,
            replica.number,
            admitted.parents.iter().map(|parent| parent.at).collect(),
            &targets,
        )?;
        let with = |(id, at, kept)| (id, Kept { is_ancestor: found.contains(&at), ..kept });
        Ok(kept.into_iter().map(with).collect())
    }
}

/// What of a commit at the door its ancestors decide.
struct Admitted {
    /// `previous` first, if there is one.
    parents: Vec<Facts>,
    previous: Option<Facts>,
    frontier: FrontierId,
    place: Place,
    alike: Alike,
}

impl Admitted {
    fn genesis(alike: Alike) -> Self {
        let place = Place { branch: 0, seq: 1 };
        Self { parents: Vec::new(), previous: None, frontier: FrontierId::GENESIS, place, alike }
    }
}

fn others(parents: &[Facts], has_previous: bool) -> Vec<u64> {
    parents.iter().skip(usize::from(has_previous)).map(|parent| parent.at).collect()
}

impl Replica {
    /// The rules frontier below a commit with these parents.
    pub(crate) fn frontier_of(&mut self, parents: &[Facts]) -> Result<FrontierId, Refusal> {
        frontier(&self.rule_at, &mut self.rules, parents)
    }

    /// The same in a copy of the rules.
    pub(crate) fn frontier_in(&self, rules: &mut Rules, parents: &[Facts]) -> Result<FrontierId, Refusal> {
        frontier(&self.rule_at, rules, parents)
    }
}

fn frontier(
    rule_at: &BTreeMap<LogSeq, RuleIndex>,
    rules: &mut Rules,
    parents: &[Facts],
) -> Result<FrontierId, Refusal> {
    rules.frontier_of_parents(parents.iter().map(|parent| match rule_at.get(&parent.at) {
        Some(index) => ParentFrontier::Rule(*index),
        None => ParentFrontier::Document(FrontierId(parent.frontier)),
    }))
}

fn rule_commit(commit: &Vouched, admitted: &Admitted, body: RuleBody) -> RuleCommit {
    let header = commit.header();
    RuleCommit {
        id: commit.id(),
        author: header.author,
        time: header.time,
        place: admitted.place,
        frontier: admitted.frontier,
        operators: body.operators,
    }
}

fn kept_by(operator: &RuleOperator) -> &[CommitId] {
    match operator {
        RuleOperator::Grant { keep: Some(keep), .. } | RuleOperator::EndInvite { keep, .. } => keep,
        RuleOperator::Withdraw { keep, .. } => keep,
        _ => &[],
    }
}

/// Which targets are among these commits and their ancestors. Walks back from the newest arrival and never
/// further than the oldest target: ancestors arrived before their descendants.
pub(crate) fn ancestors_among(
    storage: &dyn Storage,
    space: u32,
    from: BTreeSet<u64>,
    targets: &BTreeSet<u64>,
) -> Result<BTreeSet<u64>, Error> {
    let mut found = BTreeSet::new();
    let mut open = from;
    let Some(oldest) = targets.first().copied() else { return Ok(found) };
    while let Some(at) = open.pop_last().filter(|at| *at >= oldest) {
        if targets.contains(&at) {
            found.insert(at);
            if found.len() == targets.len() {
                break;
            }
        }
        let row = log::row(storage, LogKey::new(space, at))?;
        open.extend(row.previous.iter().chain(&row.parents));
    }
    Ok(found)
}
