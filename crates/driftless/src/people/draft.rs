//! A copy of a space's rules in memory, to see what rule commits that nobody has signed would do.
//!
//! The rules that decide are the core's own, on a clone: nothing here judges. Nothing of a draft is stored or sent.

use std::collections::BTreeSet;

use driftless_core::clock::Timestamp;
use driftless_core::commit::Kind;
use driftless_core::id::{AuthorId, CommitId};
use driftless_core::rules::{Permission, RuleOperator, Subject};
use driftless_core::verdict::{
    Chains, Change, FrontierId, Kept, Place, Refusal, RuleCommit, RuleIndex, Rules, Verdict,
};
use driftless_store::Storage;

use crate::door::write::own_last;
use crate::error::Error;
use crate::people::decided::{why, why_rule_void};
use crate::state::replica::{self, Facts, Replica};
use crate::tables::layout::{LogKey, LogSeq, Row};
use crate::tables::log;

/// The rules of a space, and what was drafted on top of them.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) rules: Rules,
    chains: Chains,
    /// What a commit stands on that knows everything here and nothing of the draft.
    base: FrontierId,
    written: Vec<Drafted>,
}

/// A rule commit that nobody has signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drafted {
    pub(crate) id: CommitId,
    pub(crate) author: AuthorId,
    pub(crate) place: Place,
    pub(crate) rule: RuleIndex,
}

impl Draft {
    /// What is here.
    pub(crate) fn new(replica: &Replica) -> Result<Self, Error> {
        let mut rules = replica.rules.clone();
        let heads: Vec<Facts> = replica.write_heads().copied().collect();
        let base = replica.frontier_in(&mut rules, &heads).map_err(damaged)?;
        Ok(Self { rules, chains: replica.chains.clone(), base, written: Vec::new() })
    }

    /// How many rule commits were drafted.
    pub(crate) fn len(&self) -> usize {
        self.written.len()
    }

    /// The drafted rule commits of an author, among the first so many.
    pub(crate) fn of(&self, author: &AuthorId, knowing: usize) -> impl Iterator<Item = &Drafted> {
        self.written.iter().take(knowing).filter(move |drafted| drafted.author == *author)
    }

    /// What a commit stands on that knows everything here and the first so many of the draft.
    pub(crate) fn frontier(&mut self, knowing: usize) -> Result<FrontierId, Error> {
        let mut heads = self.rules.heads_of(self.base).unwrap_or_default().to_vec();
        heads.extend(self.written.iter().take(knowing).map(|drafted| drafted.rule));
        self.rules.intern(&heads).map_err(damaged)
    }

    /// What holds for a subject as far as a commit knows that knows the first so many of the draft.
    pub(crate) fn present(&mut self, subject: &Subject, knowing: usize) -> Result<Option<Permission>, Error> {
        let frontier = self.frontier(knowing)?;
        present(&mut self.rules, frontier, subject).map_err(damaged)
    }

    /// A sentence in which the commits of the draft are named by their numbers.
    pub(crate) fn named(&self, mut text: String) -> String {
        for (at, drafted) in (1..).zip(&self.written) {
            text = text.replace(&drafted.id.to_string(), &format!("draft {at}"));
        }
        text
    }

    /// Why a commit that is here does not count in the draft, if it does not.
    pub(crate) fn why_void(
        &mut self,
        replica: &Replica,
        at: LogKey,
        row: &Row,
        author: &AuthorId,
    ) -> Option<String> {
        if row.kind == Kind::Rules {
            let rule = replica.rule_at.get(&at.seq()).copied()?;
            return why_rule_void(&mut self.rules, rule);
        }
        let frontier = FrontierId(row.frontier);
        let verdict = judged(&self.rules, replica, at.seq(), row, author).ok()?;
        why(&mut self.rules, verdict, author, frontier)
    }

    // Where the next commit of an author would stand, who knows the first so many of the draft.
    fn place(
        &self,
        storage: &dyn Storage,
        replica: &mut Replica,
        author: &AuthorId,
        knowing: usize,
    ) -> Result<(Place, Option<Place>), Error> {
        let own = self.written.iter().enumerate().filter(|(_, drafted)| drafted.author == *author);
        let (known, unknown): (Vec<_>, Vec<_>) = own.partition(|(at, _)| *at < knowing);
        let previous = match known.last() {
            Some((_, drafted)) => Some(drafted.place),
            None => own_last(storage, replica, author)?.map(|facts| Replica::place(&facts)),
        };
        let extended = match (&previous, unknown.is_empty()) {
            (_, false) => true,
            (Some(previous), true) if known.is_empty() => {
                // Of a chain that goes on, held, from there.
                let number = replica.author_number(storage, author)?;
                let tip = number.and_then(|number| replica.tips.get(&(number, previous.branch)));
                tip.is_some_and(|tip| tip.seq > previous.seq)
            }
            (None, true) => {
                let number = replica.author_number(storage, author)?;
                number.is_some_and(|number| replica.last_of(number).is_some())
            }
            _ => false,
        };
        let seq = previous.map_or(1, |previous| previous.seq + 1);
        Ok((self.chains.place(author, seq, previous, extended), previous))
    }

    /// Adds a rule commit as if its author had signed it, who knows the first so many of the draft: the same admission
    /// that the door asks.
    pub(crate) fn write(
        &mut self,
        storage: &dyn Storage,
        replica: &mut Replica,
        author: AuthorId,
        knowing: usize,
        operators: Vec<RuleOperator>,
    ) -> Result<Result<(Drafted, Change), Refusal>, Error> {
        let knowing = knowing.min(self.written.len());
        let (place, previous) = self.place(storage, replica, &author, knowing)?;
        let number = self.written.len() as u64 + 1;
        let frontier = self.frontier(knowing)?;
        let time = Timestamp(replica.time.0.saturating_add(number));
        let id = drafted_id(number);
        let commit = RuleCommit { id, author, time, place, frontier, operators };
        let kept = |id: &CommitId| {
            if let Some((at, drafted)) =
                self.written.iter().enumerate().find(|(_, drafted)| drafted.id == *id)
            {
                let (author, place) = (drafted.author, drafted.place);
                return Some(Kept { author, place, is_ancestor: at < knowing });
            }
            let facts = replica.facts(storage, id).ok()??;
            let author = log::author(storage, facts.author).ok()?;
            // Of what is here, a commit that joins all heads has all below it but what is held.
            let is_ancestor = !replica.held.contains(&(facts.time, facts.at));
            Some(Kept { author, place: Replica::place(&facts), is_ancestor })
        };
        let (rule, change) = match self.rules.admit_rule(commit, &self.chains, &kept) {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.chains.enter(&author, place, previous);
        let drafted = Drafted { id, author, place, rule };
        self.written.push(drafted);
        Ok(Ok((drafted, change)))
    }

    /// What becomes of a document that an author writes now, who knows the first so many of the draft: on which frontier
    /// it stands, if it is admitted, and whether it has its effect.
    pub(crate) fn write_document(
        &mut self,
        storage: &dyn Storage,
        replica: &mut Replica,
        author: &AuthorId,
        knowing: usize,
    ) -> Result<Result<(FrontierId, Verdict), Refusal>, Error> {
        let (place, _) = self.place(storage, replica, author, knowing)?;
        let frontier = self.frontier(knowing)?;
        let standing = match self.rules.strength_at(frontier, author) {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let strength = standing.permission.strength();
        Ok(Ok((frontier, self.rules.verdict(author, frontier, strength, standing.via, place))))
    }

    /// The verdict of the draft on a commit that is here.
    pub(crate) fn verdict(
        &self,
        storage: &dyn Storage,
        replica: &mut Replica,
        at: LogSeq,
    ) -> Result<Verdict, Error> {
        verdict(storage, replica, &self.rules, at)
    }

    /// The commits here that would not count any more after `change`, which the draft made, with their authors.
    pub(crate) fn falls(
        &self,
        storage: &dyn Storage,
        replica: &mut Replica,
        change: &Change,
    ) -> Result<Vec<(LogSeq, AuthorId)>, Error> {
        let mut judged: BTreeSet<LogSeq> = replica.rule_at.keys().copied().collect();
        match change {
            Change::Nothing => {}
            Change::All => judged.extend(1..replica.next),
            Change::Authors(authors) => {
                for author in authors {
                    let Some(number) = replica.author_number(storage, author)? else { continue };
                    for tip in replica.tips_of(number) {
                        let mut next = Some(tip.at);
                        while let Some(at) = next.filter(|at| judged.insert(*at)) {
                            next = log::row(storage, replica.key(at))?.previous;
                        }
                    }
                }
            }
        }
        let mut fallen = Vec::new();
        for at in judged {
            if self.verdict(storage, replica, at)? != Verdict::Counts
                && now(storage, replica, at)? == Verdict::Counts
            {
                let row = log::row(storage, replica.key(at))?;
                fallen.push((at, replica.author(storage, row.author)?));
            }
        }
        Ok(fallen)
    }
}

/// What holds for a subject as of a frontier.
pub(crate) fn present(
    rules: &mut Rules,
    frontier: FrontierId,
    subject: &Subject,
) -> Result<Option<Permission>, Refusal> {
    Ok(match subject {
        Subject::Key(author) => rules.standing_at(frontier, author)?.map(|standing| standing.permission),
        Subject::Anyone | Subject::Space(_) => rules.stated_at(frontier, *subject)?,
    })
}

/// The verdict on a commit in everything that is here.
pub(crate) fn now(storage: &dyn Storage, replica: &mut Replica, at: LogSeq) -> Result<Verdict, Error> {
    let row = log::row(storage, replica.key(at))?;
    let author = replica.author(storage, row.author)?;
    judged(&replica.rules, replica, at, &row, &author)
}

// The same by other rules.
fn verdict(
    storage: &dyn Storage,
    replica: &mut Replica,
    rules: &Rules,
    at: LogSeq,
) -> Result<Verdict, Error> {
    let row = log::row(storage, replica.key(at))?;
    let author = replica.author(storage, row.author)?;
    judged(rules, replica, at, &row, &author)
}

fn judged(
    rules: &Rules,
    replica: &Replica,
    at: LogSeq,
    row: &Row,
    author: &AuthorId,
) -> Result<Verdict, Error> {
    if row.kind == Kind::Rules {
        let index = replica.rule_at.get(&at).copied();
        let verdict = index.and_then(|index| rules.rule_verdict(index));
        return verdict.ok_or_else(|| Error::damaged("a rule commit is not among the rules"));
    }
    let (strength, via) = replica::strength(row);
    let place = Replica::place(&Facts::of(LogKey::new(replica.number, at), row));
    Ok(rules.verdict(author, FrontierId(row.frontier), strength, via, place))
}

// No hash of a header ends in so many zeros but by searching for it.
fn drafted_id(number: u64) -> CommitId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    CommitId(id)
}

fn damaged(refusal: Refusal) -> Error {
    Error::damaged(format!("the rules do not hold together: {refusal}"))
}
