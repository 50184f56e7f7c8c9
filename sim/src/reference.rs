//! What a space must look like, said plainly: from a set of commits to states and documents, everything computed from
//! nothing. Shares the verdicts' naive twin, the fold and the decoders with the core, and nothing with the database.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{AuthorId, CommitId, Counts, Document, Kind};
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Received, RuleBody, commit_id};
use driftless_core::fold::{Position, fold};
use driftless_core::operator::Operator;
use driftless_core::verdict::naive;

/// A set of commits as every database that has them must show it.
#[derive(Debug, Default)]
pub struct Expected {
    /// Visible documents by collection and text of the id.
    pub documents: BTreeMap<(String, String), Document>,
    /// How many commits are in which state.
    pub counts: Counts,
    /// Who wrote two commits with one number.
    pub forked: BTreeSet<AuthorId>,
    /// Commits that the rules do not admit; there must be none in a log.
    pub not_admitted: Vec<CommitId>,
}

struct Known {
    header: Header,
    body: DocumentBody,
    // Whether the body is in the log that is looked at.
    here: bool,
}

/// What follows from `log` on a machine whose clock says `now`. `bodies` has those that do not travel: a body of a
/// commit without effect says whether that commit takes others back.
pub fn expect(log: &[Received], bodies: &BTreeMap<CommitId, Vec<u8>>, now: u64) -> Result<Expected, String> {
    let mut known = BTreeMap::new();
    let mut judged = Vec::new();
    for commit in log {
        let header = Header::decode(&commit.header).map_err(|error| error.to_string())?;
        let id = commit_id(&commit.header);
        let bytes = commit.body.as_deref().or(bodies.get(&id).map(Vec::as_slice));
        let rules = (header.kind == Kind::Rules)
            .then(|| RuleBody::decode(bytes.unwrap_or_default()).unwrap_or_default().operators);
        judged.push(naive::Commit {
            id,
            author: header.author,
            time: header.time,
            previous: header.previous,
            parents: header.all_parents().copied().collect(),
            operators: rules,
        });
        // What does not decode, and what is sealed, has no effect.
        let plain = header.kind == Kind::Documents && header.body_encoding == BodyEncoding::Plain;
        let body = bytes.filter(|_| plain).and_then(|bytes| DocumentBody::decode(bytes).ok());
        known.insert(id, Known { header, body: body.unwrap_or_default(), here: commit.body.is_some() });
    }
    let judgement = naive::judge(&judged);
    let not_admitted = known.keys().filter(|id| !judgement.admitted.contains(id)).copied().collect();
    let space = Reference { known, counting: judgement.counting, now };
    Ok(Expected {
        documents: space.documents(),
        counts: space.counts(),
        forked: space.forked(),
        not_admitted,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Applied,
    Held,
    Void,
    Wanted,
}

struct Reference {
    known: BTreeMap<CommitId, Known>,
    counting: BTreeSet<CommitId>,
    now: u64,
}

impl Reference {
    // The state of a commit by itself: its time, its rules, its author's retractions, its body.
    fn alone(&self, id: &CommitId, commit: &Known) -> State {
        if commit.header.time.is_ahead_of(self.now) {
            return State::Held;
        }
        if !self.counting.contains(id) {
            return State::Void;
        }
        if commit.header.kind == Kind::Rules {
            return State::Applied;
        }
        if self.is_retracted(id, commit) {
            return State::Void;
        }
        if commit.here { State::Applied } else { State::Wanted }
    }

    fn is_retracted(&self, id: &CommitId, commit: &Known) -> bool {
        let retracts = |(by, other): (&CommitId, &Known)| {
            other.header.author == commit.header.author
                && other.body.retracts.contains(id)
                && !self.in_run(&other.header)
                && self.counting.contains(by)
                && !other.header.time.is_ahead_of(self.now)
                && other.here
        };
        commit.body.retracts.is_empty() && self.known.iter().any(retracts)
    }

    fn goes_on_from<'s>(&'s self, header: &'s Header) -> Option<(&'s CommitId, &'s Known)> {
        let before = self.known.get_key_value(header.previous.as_ref()?)?;
        before.1.header.continues.then_some(before)
    }

    fn in_run(&self, header: &Header) -> bool {
        header.continues || self.goes_on_from(header).is_some()
    }

    // All before it in its transaction, and it, are here and count.
    fn reached(&self, id: &CommitId, commit: &Known) -> bool {
        self.alone(id, commit) == State::Applied
            && self.goes_on_from(&commit.header).is_none_or(|(id, before)| self.reached(id, before))
    }

    // A way of commits that are here and count leads from it to the last of its transaction.
    fn ends(&self, id: &CommitId, commit: &Known) -> bool {
        let mut next = self.known.iter().filter(|(_, next)| next.header.previous.as_ref() == Some(id));
        self.alone(id, commit) == State::Applied
            && (!commit.header.continues || next.any(|(id, next)| self.ends(id, next)))
    }

    fn state(&self, id: &CommitId, commit: &Known) -> State {
        let alone = self.alone(id, commit);
        if alone != State::Applied || commit.header.kind == Kind::Rules || !self.in_run(&commit.header) {
            return alone;
        }
        if self.reached(id, commit) && self.ends(id, commit) { State::Applied } else { State::Wanted }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { commits: self.known.len() as u64, ..Counts::default() };
        for (id, commit) in &self.known {
            match self.state(id, commit) {
                State::Applied => {}
                State::Held => counts.held += 1,
                State::Void => counts.void += 1,
                State::Wanted => counts.wanted += 1,
            }
        }
        counts
    }

    fn documents(&self) -> BTreeMap<(String, String), Document> {
        type Edits<'r> = Vec<(Position, AuthorId, &'r [Operator])>;
        let mut ids = BTreeMap::new();
        let mut edits: BTreeMap<(String, String), Edits<'_>> = BTreeMap::new();
        for (id, commit) in &self.known {
            if commit.body.edits.is_empty() || self.state(id, commit) != State::Applied {
                continue;
            }
            for (index, edit) in (0..).zip(&commit.body.edits) {
                let at = (edit.collection.to_string(), edit.document.to_string());
                ids.insert(at.clone(), edit.document.clone());
                let position = Position { time: commit.header.time, commit: *id, index };
                edits.entry(at).or_default().push((position, commit.header.author, &edit.operators));
            }
        }
        let mut documents = BTreeMap::new();
        for (at, mut edits) in edits {
            edits.sort_by_key(|(position, ..)| *position);
            let state = fold(edits);
            if let Some(id) = ids.get(&at).filter(|_| state.visible()) {
                let document = Document::new(&at.0, id, &state);
                documents.insert(at, document);
            }
        }
        documents
    }

    fn forked(&self) -> BTreeSet<AuthorId> {
        let mut after: BTreeMap<(AuthorId, Option<CommitId>), u32> = BTreeMap::new();
        for commit in self.known.values() {
            *after.entry((commit.header.author, commit.header.previous)).or_default() += 1;
        }
        after.into_iter().filter(|(_, count)| *count > 1).map(|((author, _), _)| author).collect()
    }
}

/// Parents that an honest author should not have named: ancestors of another parent of the same commit.
pub fn redundant_parents(log: &[Received], of: &BTreeSet<CommitId>) -> Result<Vec<CommitId>, String> {
    let mut parents: BTreeMap<CommitId, (Vec<CommitId>, Vec<CommitId>)> = BTreeMap::new();
    for commit in log {
        let header = Header::decode(&commit.header).map_err(|error| error.to_string())?;
        let id = commit_id(&commit.header);
        parents.insert(id, (header.all_parents().copied().collect(), header.parents));
    }
    let above = |id: &CommitId| parents.get(id).map_or(Vec::new(), |(all, _)| all.clone());
    let mut found = Vec::new();
    for id in of {
        let Some((all, others)) = parents.get(id) else { continue };
        if all.len() < 2 {
            continue;
        }
        let below = driftless_core::graph::ancestors(all.iter().copied(), above);
        found.extend(others.iter().filter(|parent| below.contains(parent)).map(|_| *id));
    }
    Ok(found)
}
