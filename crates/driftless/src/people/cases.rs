//! Cases that the rules of a space must decide as somebody expects, with or without rule commits that nobody has signed.
//!
//! The rules themselves decide each case on a draft: as the door does for a commit, and as serving does for a reader.

use driftless_core::id::{AuthorId, CommitId};
use driftless_core::rules::{Permission, RuleOperator, Subject};
use driftless_core::verdict::Refusal;
use driftless_store::Storage;

use crate::door::write::seen;
use crate::error::Error;
use crate::people::decided::{decision, why, why_rule_void};
use crate::people::draft::{Draft, Drafted};
use crate::people::grant::{Keep, weakens};
use crate::space::Space;
use crate::state::replica::Replica;
use crate::tables::log;

/// A grant, or with no permission a removal, as part of a draft or as what a case does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftGrant {
    /// Whom it is about.
    pub subject: Subject,
    /// What the subject gets; `None` takes everything away.
    pub permission: Option<Permission>,
    /// What stays of a subject that is weakened.
    pub keep: Keep,
}

/// A rule commit of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftRule {
    /// Whose commit it is.
    pub by: AuthorId,
    /// How many of the draft's rule commits its author has seen, counted from the first. If left unset, all before it.
    pub knowing: Option<usize>,
    /// What it says.
    pub grant: DraftGrant,
}

/// Something that a key does after the draft, or may have done already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCase {
    /// Who does it.
    pub who: AuthorId,
    /// How many of the draft's rule commits that key has seen, counted from the first. If left unset, all.
    pub knowing: Option<usize>,
    /// What it does.
    pub does: Deed,
}

/// What a case is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Be served the space.
    Read,
    /// Write a document.
    Write,
    /// Change a rule that concerns nobody else, such as the name.
    Administer,
    /// Say what somebody may do.
    Grant(DraftGrant),
    /// Have written this commit, which is here.
    Wrote(CommitId),
}

/// What becomes of a deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has its effect.
    Allowed,
    /// Every honest peer refuses it.
    Refused,
    /// It is admitted and has no effect.
    Void,
}

/// How a case was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What becomes of it.
    pub fate: Fate,
    /// By which rule, in a sentence. `draft 2` is the second rule commit of the draft.
    pub because: String,
}

impl Space {
    /// What becomes of each case if the rule commits of `draft` are added to the rules that are here. Nothing is signed,
    /// stored or sent. An error where the rules would refuse one of the draft.
    pub fn judge_cases(&self, draft: &[DraftRule], cases: &[PolicyCase]) -> Result<Vec<Decided>, Error> {
        self.database().read(|engine| {
            engine.present(&self.id())?;
            let (storage, replica) = engine.parts(&self.id())?;
            let mut drafted = Draft::new(replica)?;
            for (at, DraftRule { by, knowing, grant }) in draft.iter().enumerate() {
                let knowing = knowing.unwrap_or(at).min(at);
                let operator = operator(&mut drafted, storage, replica, grant, knowing)?;
                if let Err(refusal) = drafted.write(storage, replica, *by, knowing, vec![operator])? {
                    return Err(Error::NotPermitted(format!("draft {}: {refusal}", at + 1)));
                }
            }
            let judge = |case| {
                let mut draft = drafted.clone();
                let Decided { fate, because } = judge(&mut draft, storage, replica, case)?;
                Ok(Decided { fate, because: draft.named(because) })
            };
            cases.iter().map(judge).collect()
        })
    }
}

fn operator(
    draft: &mut Draft,
    storage: &dyn Storage,
    replica: &mut Replica,
    grant: &DraftGrant,
    knowing: usize,
) -> Result<RuleOperator, Error> {
    let DraftGrant { subject, permission, ref keep } = *grant;
    let weakens = weakens(draft.present(&subject, knowing)?, permission);
    let keep = match keep {
        Keep::Seen if !weakens => None,
        Keep::Seen => {
            let mut kept = seen(storage, replica, &subject)?;
            if let Subject::Key(author) = &subject {
                kept.extend(draft.of(author, knowing).map(|drafted| drafted.id));
            }
            Some(kept)
        }
        Keep::Nothing => Some(Vec::new()),
        Keep::Commits(commits) => Some(commits.clone()),
    };
    let keep = keep.map(|mut keep| {
        keep.sort();
        keep.dedup();
        keep
    });
    Ok(RuleOperator::Grant { subject, permission, keep })
}

fn judge(
    draft: &mut Draft,
    storage: &dyn Storage,
    replica: &mut Replica,
    case: &PolicyCase,
) -> Result<Decided, Error> {
    let who = case.who;
    let knowing = case.knowing.unwrap_or(draft.len()).min(draft.len());
    match &case.does {
        Deed::Read => {
            // Whoever serves knows the whole draft.
            let fate = if draft.rules.may_read(&[who]) { Fate::Allowed } else { Fate::Refused };
            let decided = draft.rules.deciding(&who);
            let by = decision(&mut draft.rules, &decided);
            let may = if fate == Fate::Allowed { "it may read" } else { "it may not read" };
            let nobody = if by.is_empty() { ": no statement names it, and none is about anyone" } else { "" };
            Ok(Decided { fate, because: format!("{may}{by}{nobody}") })
        }
        Deed::Write => match draft.write_document(storage, replica, &who, knowing)? {
            Ok((frontier, verdict)) => {
                let void = why(&mut draft.rules, verdict, &who, frontier);
                admitted(draft, &who, knowing, void)
            }
            Err(refusal) => refused(draft, &who, knowing, &refusal),
        },
        Deed::Administer => {
            let name = RuleOperator::Name(draft.rules.name().unwrap_or_default().to_owned());
            written(draft, storage, replica, (who, knowing), name)
        }
        Deed::Grant(grant) => {
            let operator = operator(draft, storage, replica, grant, knowing)?;
            written(draft, storage, replica, (who, knowing), operator)
        }
        Deed::Wrote(id) => {
            let found = log::find(storage, replica.number, id)?;
            let (at, row) = found.ok_or_else(|| Error::not_found("commit", id))?;
            let author = replica.author(storage, row.author)?;
            if author != who {
                return Err(Error::Invalid(format!("{id} was written by {author}")));
            }
            let void = draft.why_void(replica, at, &row, &author);
            let fate = if void.is_some() { Fate::Void } else { Fate::Allowed };
            Ok(Decided { fate, because: void.unwrap_or_else(|| "it counts".to_owned()) })
        }
    }
}

fn written(
    draft: &mut Draft,
    storage: &dyn Storage,
    replica: &mut Replica,
    (who, knowing): (AuthorId, usize),
    operator: RuleOperator,
) -> Result<Decided, Error> {
    match draft.write(storage, replica, who, knowing, vec![operator])? {
        Ok((Drafted { rule, .. }, _)) => {
            let void = why_rule_void(&mut draft.rules, rule);
            admitted(draft, &who, knowing, void)
        }
        Err(refusal) => refused(draft, &who, knowing, &refusal),
    }
}

fn admitted(
    draft: &mut Draft,
    who: &AuthorId,
    knowing: usize,
    void: Option<String>,
) -> Result<Decided, Error> {
    if let Some(because) = void {
        return Ok(Decided { fate: Fate::Void, because });
    }
    let by = decided(draft, who, knowing)?;
    Ok(Decided { fate: Fate::Allowed, because: format!("it may{by}") })
}

fn refused(draft: &mut Draft, who: &AuthorId, knowing: usize, refusal: &Refusal) -> Result<Decided, Error> {
    let by = decided(draft, who, knowing)?;
    Ok(Decided { fate: Fate::Refused, because: format!("{refusal}{by}") })
}

// What its author had when it was written.
fn decided(draft: &mut Draft, who: &AuthorId, knowing: usize) -> Result<String, Error> {
    let frontier = draft.frontier(knowing)?;
    let decided = draft.rules.decided_at(frontier, who).unwrap_or_default();
    Ok(decision(&mut draft.rules, &decided))
}
