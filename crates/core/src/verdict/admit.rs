//! Admission of a rule commit: may its author say this, as of the commit's ancestors and of nothing else?
//!
//! So every honest peer gives the same answer, whatever else it has. Later commits may make it void, never refused.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::bits::Bits;
use super::chains::{Chains, Place, Reach};
use super::foreign::Inside;
use super::frontier::FrontierId;
use super::judge::{Act, Cut, InviteAt, Key, Rank, Rule, Said, Standing, Table, Via, View, Whose};
use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::rules::{self, Level, Permission, RuleOperator, Strength, Subject, invite};
use crate::sign::Signature;

/// A rule commit whose header and signature are in order, not yet judged.
#[derive(Debug, Clone)]
pub struct RuleCommit {
    /// Its id.
    pub id: CommitId,
    /// Who signed it.
    pub author: AuthorId,
    /// Its time; it orders names and settings and decides nothing else.
    pub time: Timestamp,
    /// Where it stands among its author's commits.
    pub place: Place,
    /// The maximal rule commits among its ancestors. Without meaning for a genesis.
    pub frontier: FrontierId,
    /// What it says.
    pub operators: Vec<RuleOperator>,
}

/// What the log says of a commit that a keep names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Who signed it.
    pub author: AuthorId,
    /// Where it stands among its author's commits.
    pub place: Place,
    /// Whether it is an ancestor of the commit that names it.
    pub is_ancestor: bool,
}

/// Whether what was checked at admission is checked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proofs {
    Verify,
    /// For commits of the own log: only the signature check is left out.
    Trust,
}

/// What admission looks at: the space below one commit.
pub(super) struct Past<'a> {
    pub(super) table: &'a Table,
    pub(super) space: SpaceId,
    pub(super) ancestors: Arc<Bits>,
    pub(super) void: Arc<Bits>,
    pub(super) chains: &'a Chains,
    pub(super) kept: &'a dyn Fn(&CommitId) -> Option<Kept>,
    pub(super) proofs: Proofs,
    /// What the proof in an enrol or a withdraw shows, together with all that was shown before.
    pub(super) inside: Option<Inside>,
}

/// The genesis as a rule: it counts always and may say anything that needs no past.
pub(super) fn genesis(commit: RuleCommit) -> Result<Rule, Refusal> {
    let refers_back = |operator: &RuleOperator| match operator {
        RuleOperator::Grant { keep, .. } => keep.as_ref().is_some_and(|keep| !keep.is_empty()),
        RuleOperator::Redeem { .. } | RuleOperator::EndInvite { .. } => true,
        RuleOperator::Enrol { .. } | RuleOperator::Withdraw { .. } => true,
        _ => false,
    };
    let statements = statements(&commit.operators);
    let own = (Subject::Key(commit.author), Said::Is(Some(Permission::Admin(Strength::STRONGEST))));
    if commit.operators.iter().any(refers_back) || !statements.contains(&own) {
        return Err(Refusal::BadGenesis);
    }
    let key = Key::commit(Rank::GENESIS);
    let empty = Arc::new(Bits::default());
    Ok(rule(commit, empty, Act::Genesis, key, Via::Key, statements))
}

impl Past<'_> {
    /// The commit as a rule, with the strength it has for ever, or why not.
    pub(super) fn admit(&self, commit: RuleCommit) -> Result<Rule, Refusal> {
        if let [RuleOperator::Redeem { invite, index, proof }] = commit.operators.as_slice() {
            let (invite, index, proof) = (*invite, *index, *proof);
            return self.redeem(commit, invite, index, &proof);
        }
        if let [operator @ (RuleOperator::Enrol { .. } | RuleOperator::Withdraw { .. })] =
            commit.operators.as_slice()
        {
            let operator = operator.clone();
            return self.delegated(commit, &operator);
        }
        let standing = self.standing(&commit.author);
        let Some(standing) = standing.filter(|standing| standing.permission.level() == Level::Admin) else {
            return Err(Refusal::NotAdmin);
        };
        let (rank, via) = (standing.rank(), standing.via);
        let (mut cuts, mut ends) = (Vec::new(), Vec::new());
        for (at, operator) in commit.operators.iter().enumerate() {
            match operator {
                RuleOperator::Grant { subject, permission, keep } => {
                    self.may_grant(at, rank, *subject, *permission, keep.is_some())?;
                    if let Some(keep) = keep {
                        cuts.push(self.cut(at, Whose::Subject(*subject), keep)?);
                    }
                }
                RuleOperator::Invite { permission, .. } if Rank::of(Some(*permission)) <= rank => {
                    return Err(Refusal::PermissionNotWeaker { operator: at });
                }
                RuleOperator::EndInvite { invite, index, keep } => {
                    ends.push(self.end(at, rank, invite, *index, keep)?);
                }
                RuleOperator::Redeem { .. } | RuleOperator::Enrol { .. } | RuleOperator::Withdraw { .. } => {
                    return Err(Refusal::RedeemNotAlone);
                }
                RuleOperator::Invite { .. } | RuleOperator::Name(_) => {}
                RuleOperator::Setting { .. } | RuleOperator::Unknown { .. } => {}
            }
        }
        let statements = statements(&commit.operators);
        let admitted =
            rule(commit, self.ancestors.clone(), Act::Statement, Key::commit(rank), via, statements);
        Ok(Rule { cuts, ends, ..admitted })
    }

    pub(super) fn view(&self) -> View<'_> {
        View { within: &self.ancestors, void: &self.void }
    }

    pub(super) fn standing(&self, author: &AuthorId) -> Option<Standing> {
        self.table.standing(author, &self.ancestors, self.view(), None)
    }

    pub(super) fn said(&self, subject: Subject) -> Option<Option<Standing>> {
        self.table.said(subject, &self.ancestors, self.view(), None)
    }

    fn may_grant(
        &self,
        operator: usize,
        rank: Rank,
        subject: Subject,
        next: Option<Permission>,
        keeps: bool,
    ) -> Result<(), Refusal> {
        let present = match subject {
            Subject::Key(author) => self.standing(&author),
            Subject::Anyone | Subject::Space(_) => self.said(subject).flatten(),
        };
        if present.map_or(Rank::STRANGER, Standing::rank) <= rank {
            return Err(Refusal::SubjectNotWeaker { operator });
        }
        if next.is_some() && Rank::of(next) <= rank {
            return Err(Refusal::PermissionNotWeaker { operator });
        }
        let next = next.map(|permission| Standing { permission, via: Via::Key });
        if !keeps && present.is_some_and(|present| present.is_weakened_by(next)) {
            return Err(Refusal::KeepMissing { operator });
        }
        Ok(())
    }

    pub(super) fn cut(&self, operator: usize, whose: Whose, keep: &[CommitId]) -> Result<Cut, Refusal> {
        let mut places: HashMap<AuthorId, Vec<Place>> = HashMap::new();
        for id in keep {
            let fits = |kept: &Kept| {
                kept.is_ancestor
                    && match whose {
                        Whose::Subject(Subject::Key(author)) | Whose::Through(_, author) => {
                            kept.author == author
                        }
                        Whose::Subject(Subject::Anyone) => self.said(Subject::Key(kept.author)).is_none(),
                        Whose::Subject(Subject::Space(space)) => {
                            self.table.came_through(&space, &kept.author, &self.ancestors)
                        }
                    }
            };
            let kept = (self.kept)(id).filter(fits).ok_or(Refusal::KeptElsewhere { operator, kept: *id })?;
            places.entry(kept.author).or_default().push(kept.place);
        }
        let reach = |(author, places): (AuthorId, Vec<Place>)| -> (AuthorId, Reach) {
            (author, self.chains.reach(&author, places))
        };
        Ok(Cut { whose, kept: places.into_iter().map(reach).collect() })
    }

    /// The invite among the ancestors, and what it gives.
    fn invite(&self, id: &CommitId, index: u32) -> Option<(InviteAt, &RuleOperator, Permission)> {
        let rule = *self.table.ids.get(id).filter(|rule| self.ancestors.contains(**rule))?;
        let operator = self.table.get(rule)?.operators.get(index as usize)?;
        match operator {
            RuleOperator::Invite { permission, .. } => Some(((rule, index), operator, *permission)),
            _ => None,
        }
    }

    fn end(
        &self,
        operator: usize,
        rank: Rank,
        id: &CommitId,
        index: u32,
        keep: &[CommitId],
    ) -> Result<(InviteAt, BTreeSet<u32>), Refusal> {
        let (invite, _, permission) = self.invite(id, index).ok_or(Refusal::NoInvite)?;
        if Rank::of(Some(permission)) <= rank {
            return Err(Refusal::SubjectNotWeaker { operator });
        }
        let redeems = self.table.redeems_of(invite);
        let stays = |id: &CommitId| {
            let redeem = self.table.ids.get(id).copied();
            redeem
                .filter(|redeem| redeems.contains(redeem) && self.ancestors.contains(*redeem))
                .ok_or(Refusal::KeptElsewhere { operator, kept: *id })
        };
        Ok((invite, keep.iter().map(stays).collect::<Result<_, _>>()?))
    }

    fn redeem(
        &self,
        commit: RuleCommit,
        id: CommitId,
        index: u32,
        proof: &Signature,
    ) -> Result<Rule, Refusal> {
        let found = self.invite(&id, index).filter(|(at, ..)| self.view().counts(at.0));
        let (at, RuleOperator::Invite { key, uses, .. }, permission) = found.ok_or(Refusal::NoInvite)? else {
            return Err(Refusal::NoInvite);
        };
        if self.table.is_ended(at, self.view()) {
            return Err(Refusal::InviteEnded);
        }
        // Uses and names are those of all ancestors, counting or not: what was removed does not open again.
        let redeems = self.table.redeems_of(at).iter().filter(|redeem| self.ancestors.contains(**redeem));
        if uses.is_some_and(|uses| redeems.count() as u64 >= u64::from(uses)) {
            return Err(Refusal::InviteUsedUp);
        }
        if self.table.names(&commit.author, &self.ancestors) {
            return Err(Refusal::KeyNamedBefore);
        }
        if self.proofs == Proofs::Verify && !invite::verify(key, &self.space, &id, &commit.author, proof) {
            return Err(Refusal::ProofWrong);
        }
        let statements = vec![(Subject::Key(commit.author), Said::Is(Some(permission)))];
        let key = Key::redeem(Rank::of(Some(permission)));
        Ok(rule(commit, self.ancestors.clone(), Act::Redeem(at), key, Via::Key, statements))
    }
}

/// What the operators say about subjects; about one subject the last in order.
fn statements(operators: &[RuleOperator]) -> Vec<(Subject, Said)> {
    let mut statements: Vec<(Subject, Said)> = Vec::new();
    for operator in operators {
        if let RuleOperator::Grant { subject, permission, .. } = operator {
            statements.retain(|(other, _)| other != subject);
            statements.push((*subject, Said::Is(*permission)));
        }
    }
    statements
}

pub(super) fn rule(
    commit: RuleCommit,
    ancestors: Arc<Bits>,
    act: Act,
    key: Key,
    via: Via,
    statements: Vec<(Subject, Said)>,
) -> Rule {
    let RuleCommit { id, author, time, place, frontier, operators } = commit;
    let (cuts, ends) = (Vec::new(), Vec::new());
    Rule { id, author, time, place, operators, frontier, ancestors, act, key, via, statements, cuts, ends }
}

/// Checks the limits of operators that may have been made here rather than decoded.
pub(super) fn well_formed(commit: &RuleCommit) -> Result<(), Refusal> {
    rules::check(&commit.operators).map_err(Refusal::Malformed)
}
