//! The statements of rule commits, one by one: what was said of whom, and what decides now.
//!
//! It judges nothing: the tables keep what they decided by.

use std::collections::BTreeSet;

use super::bits::Bits;
use super::judge::{Act, Rule, Said, View};
use super::{FrontierId, Refusal, RuleIndex, Rules};
use crate::clock::Timestamp;
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::rules::{Permission, Subject};

/// One statement of a rule commit about a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// Which rule commit.
    pub rule: RuleIndex,
    /// Its id.
    pub commit: CommitId,
    /// Who made it.
    pub author: AuthorId,
    /// When, by its author's clock.
    pub time: Timestamp,
    /// Whom it is about.
    pub subject: Subject,
    /// What it gives.
    pub permission: Option<Permission>,
    /// By what.
    pub source: Source,
}

/// What kind of rule commit makes a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The first commit of the space.
    Genesis,
    /// A grant.
    Grant,
    /// The redemption of an invite that this rule commit holds.
    Invite(RuleIndex),
    /// The enrolment of a key that another space lets in, by the grant in this rule commit.
    Enrolment(RuleIndex, SpaceId),
}

impl Rules {
    /// Whether somebody who has proven these keys may read, as of all heads: one of them may, or nothing was proven and
    /// anyone may. A statement about a key, also `none`, beats one about anyone.
    pub fn may_read(&self, keys: &[AuthorId]) -> bool {
        match keys {
            [] => self.table.said(Subject::Anyone, &self.within, self.view(), None).flatten().is_some(),
            keys => keys.iter().any(|key| self.member(key).is_some()),
        }
    }

    /// All subjects that some statement is about, counting or not, sorted.
    pub fn subjects(&self) -> BTreeSet<Subject> {
        self.table.subjects().copied().collect()
    }

    /// All statements about a subject in the order they came, also those that do not count or were followed by others.
    pub fn statements(&self, subject: &Subject) -> impl Iterator<Item = Statement> {
        self.table.about(subject).iter().map(|(rule, said)| self.statement(*subject, *rule, said.at_most()))
    }

    /// What decides what an author may do as of all heads, the newest first: the causally last statement about its key,
    /// or where there is none about anyone; several if they are concurrent, of which the weakest holds.
    pub fn deciding(&self, author: &AuthorId) -> Vec<Statement> {
        self.decided(author, &self.within, self.view())
    }

    /// The same of what is said about this very subject.
    pub fn deciding_about(&self, subject: Subject) -> Vec<Statement> {
        self.heard(subject, &self.within, self.view())
    }

    /// What decided what an author might do when it wrote something on a frontier: in the verdicts of what is below it.
    pub fn decided_at(&mut self, frontier: FrontierId, author: &AuthorId) -> Result<Vec<Statement>, Refusal> {
        let (closure, void) = self.past(frontier)?;
        Ok(self.decided(author, &closure, View { within: &closure, void: &void }))
    }

    fn decided(&self, author: &AuthorId, closure: &Bits, view: View<'_>) -> Vec<Statement> {
        let about_key = self.heard(Subject::Key(*author), closure, view);
        if about_key.is_empty() { self.heard(Subject::Anyone, closure, view) } else { about_key }
    }

    fn heard(&self, subject: Subject, closure: &Bits, view: View<'_>) -> Vec<Statement> {
        let mut found = Vec::new();
        self.table.each_said(
            subject,
            closure,
            view,
            None,
            |_| true,
            |rule, standing| {
                found.push(self.statement(subject, rule, standing.map(|standing| standing.permission)));
            },
        );
        found
    }

    fn statement(&self, subject: Subject, rule: u32, permission: Option<Permission>) -> Statement {
        let Rule { id, author, time, ref act, .. } = *self.table.rule(rule);
        let source = match *act {
            Act::Genesis => Source::Genesis,
            Act::Statement | Act::Withdraw(_) => Source::Grant,
            Act::Redeem((invite, _)) => Source::Invite(RuleIndex(invite)),
            Act::Enrol(grant, space) => Source::Enrolment(RuleIndex(grant), space),
        };
        Statement { rule: RuleIndex(rule), commit: id, author, time, subject, permission, source }
    }

    /// Whether any statement is about this very key, also one that gives it nothing.
    pub fn is_named(&self, author: &AuthorId) -> bool {
        self.table.said(Subject::Key(*author), &self.within, self.view(), None).is_some()
    }
}

impl Said {
    // What it gives where nothing bounds it.
    fn at_most(self) -> Option<Permission> {
        match self {
            Self::Is(permission) => permission,
            Self::Enrolled(enrolment) => Some(enrolment.standing.permission),
        }
    }
}
