//! Admission of those whom another space lets in: how a key enrols, and how its enrolment is withdrawn.
//!
//! It sees the other space only as `foreign` read it out of proofs, never as this machine may have it.

use super::admit::{Past, RuleCommit, rule};
use super::foreign::Inside;
use super::judge::{Act, Enrolment, Key, Rank, Rule, Said, Standing, Via, Whose, Withdrawal};
use super::refusal::Refusal;
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::rules::{Permission, RuleOperator, Strength, Subject};

impl Past<'_> {
    pub(super) fn delegated(&self, commit: RuleCommit, operator: &RuleOperator) -> Result<Rule, Refusal> {
        match operator {
            RuleOperator::Enrol { grant, index, .. } => self.enrol(commit, grant, *index),
            RuleOperator::Withdraw { space, key, keep, .. } => self.withdraw(commit, *space, *key, keep),
            _ => Err(Refusal::RedeemNotAlone),
        }
    }

    fn enrol(&self, commit: RuleCommit, grant: &CommitId, index: u32) -> Result<Rule, Refusal> {
        let (grant, enrolment) = self.may_enrol(&commit.author, grant, index)?;
        let statements = vec![(Subject::Key(commit.author), Said::Enrolled(enrolment))];
        let (act, standing) = (Act::Enrol(grant, enrolment.space), enrolment.standing);
        let key = Key::redeem(standing.rank());
        Ok(rule(commit, self.ancestors.clone(), act, key, standing.via, statements))
    }

    /// What an enrolment gives to `author`, and the grant it rests on.
    pub(super) fn may_enrol(
        &self,
        author: &AuthorId,
        grant: &CommitId,
        index: u32,
    ) -> Result<(u32, Enrolment), Refusal> {
        let (grant, space, given) = self.space_grant(grant, index).ok_or(Refusal::NoSpaceGrant)?;
        // Whom a statement here names has what it says; only other enrolments by the same space stand aside.
        let named = self.table.statements.get(&Subject::Key(*author)).into_iter().flatten();
        let by_other = |said: &Said| !matches!(said, Said::Enrolled(other) if other.space == space);
        if named.into_iter().any(|(rule, said)| self.ancestors.contains(*rule) && by_other(said)) {
            return Err(Refusal::KeyNamedBefore);
        }
        // Also one that does not count: what was taken back does not open again.
        let mut withdrawn = self.table.withdrawals_of(space, *author);
        if withdrawn.any(|(rule, it)| self.ancestors.contains(rule) && it.left.is_none()) {
            return Err(Refusal::Withdrawn);
        }
        let inside = self.inside.and_then(|inside| inside.permission).ok_or(Refusal::NotLetIn)?;
        let standing = Standing {
            permission: Permission::new(given.level().min(inside.level()), given.strength()),
            via: Via::Space(inside.strength()),
        };
        let bound = self.said(Subject::Space(space)).flatten().ok_or(Refusal::NoSpaceGrant)?;
        let now = Standing { permission: standing.permission.weakest(bound.permission), ..standing };
        if self.standing(author) == Some(now) {
            return Err(Refusal::EnrolledAlready);
        }
        Ok((grant, Enrolment { space, standing }))
    }

    /// The grant about a space that is named, if it counts and nothing later about that space does.
    fn space_grant(&self, id: &CommitId, index: u32) -> Option<(u32, SpaceId, Permission)> {
        let grant = *self.table.ids.get(id)?;
        let rule = self.table.get(grant)?;
        let operator = rule.operators.get(index as usize)?;
        let RuleOperator::Grant { subject: Subject::Space(space), permission: Some(given), .. } = operator
        else {
            return None;
        };
        let subject = Subject::Space(*space);
        let later = |operator: &RuleOperator| matches!(operator, RuleOperator::Grant { subject: about, .. } if *about == subject);
        let mut about = self.table.statements.get(&subject).into_iter().flatten();
        let is_last = !rule.operators.iter().skip(index as usize + 1).any(later)
            && !about.any(|(other, _)| {
                self.view().counts(*other) && self.table.rule(*other).ancestors.contains(grant)
            });
        (self.view().counts(grant) && is_last).then_some((grant, *space, *given))
    }

    fn withdraw(
        &self,
        commit: RuleCommit,
        space: SpaceId,
        key: AuthorId,
        keep: &[CommitId],
    ) -> Result<Rule, Refusal> {
        let by = self.standing(&commit.author).filter(|standing| standing.via != Via::Anyone);
        let by = by.ok_or(Refusal::MayNotWrite)?;
        let granted = self.said(Subject::Space(space)).flatten().ok_or(Refusal::NoSpaceGrant)?;
        let inside = self.inside.unwrap_or(Inside::STRANGER);
        if !inside.is_named {
            return Err(Refusal::NothingToWithdraw);
        }
        let (rank, left) = match self.table.through(space, key, &self.ancestors, self.view()) {
            Some(now) => {
                let now = now.ok_or(Refusal::NothingToWithdraw)?;
                let left = inside.permission.map(|inside| now.within(inside));
                if left == Some(now) {
                    return Err(Refusal::NothingToWithdraw);
                }
                (now.rank(), left)
            }
            // Not enrolled yet: it would be as weak as a key let in by that space can be, until it shows otherwise.
            None => {
                let counts = |(rule, _): &(u32, Withdrawal)| self.view().counts(*rule);
                let mut before = self.table.withdrawals_of(space, key);
                if inside.permission.is_some() || before.any(|withdrawal| counts(&withdrawal)) {
                    return Err(Refusal::NothingToWithdraw);
                }
                (Rank::made(granted.permission.strength(), Via::Space(Strength::WEAKEST)), None)
            }
        };
        if rank <= by.rank() {
            return Err(Refusal::SubjectNotWeaker { operator: 0 });
        }
        let cuts = vec![self.cut(0, Whose::Through(space, key), keep)?];
        let act = Act::Withdraw(Withdrawal { space, key, left });
        let made = rule(commit, self.ancestors.clone(), act, Key::commit(by.rank()), by.via, Vec::new());
        Ok(Rule { cuts, ..made })
    }
}

impl Standing {
    /// At most what the other space gives now: never a higher level or a stronger place inside it than before.
    fn within(self, inside: Permission) -> Self {
        let before = match self.via {
            Via::Space(before) => before,
            Via::Key | Via::Anyone => Strength::STRONGEST,
        };
        let level = self.permission.level().min(inside.level());
        Self {
            permission: Permission::new(level, self.permission.strength()),
            via: Via::Space(before.max(inside.strength())),
        }
    }
}
