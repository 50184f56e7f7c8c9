//! Grants: a permission is given, weakened or taken away. What a weakening keeps and what it voids is told before it is
//! signed, by the rules themselves on a draft.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::clock::Timestamp;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::limits::{MAX_AHEAD_MS, MAX_KEEP};
use driftless_core::rules::{Level, Permission, RuleOperator, Subject};
use driftless_core::verdict::{Refusal, Verdict};
use driftless_store::Storage;

use crate::door::write::seen;
use crate::error::Error;
use crate::peers;
use crate::people::draft::{Draft, now};
use crate::space::Space;
use crate::state::engine::Engine;
use crate::state::replica::{Facts, Replica};
use crate::tables::layout::LogSeq;
use crate::tables::log;

/// What arrived later than it says it was written is worth a word for so long.
const RECENTLY_MS: u64 = 24 * 60 * 60 * 1000;

/// What a weakening keeps of its subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Keep {
    /// All that is here: the last commit of each branch.
    #[default]
    Seen,
    /// Nothing: all that the subject wrote with a weaker strength than the granter's becomes void.
    Nothing,
    /// These commits of the subject, and its own chain below them.
    Commits(Vec<CommitId>),
}

/// What a grant would do, told by the rules before anybody signs it. `Space::grant_with` signs exactly this.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GrantPlan {
    /// The space.
    pub space: SpaceId,
    /// Whom it is about.
    pub subject: Subject,
    /// What holds for it now.
    pub present: Option<Permission>,
    /// What will hold for it.
    pub permission: Option<Permission>,
    /// Whether it loses something: then `keep` says what of it stays.
    pub weakens: bool,
    /// What is signed as kept; `None` for a grant that weakens nothing.
    pub keep: Option<Vec<CommitId>>,
    /// Each commit of `keep`, and how much of the chain below it counts now.
    pub branches: Vec<KeptBranch>,
    /// Commits here that would not count any more, by author: the subject's own that are not kept, and those of others
    /// that rest on what it granted.
    pub losses: Vec<Loss>,
    /// Commits of the subject that say they are older than what was here before them, and came within the last day.
    pub late: Option<Late>,
    /// When this database and a peer last had the same of this space, Unix milliseconds. What the subject wrote since
    /// may be elsewhere already, and becomes void there.
    pub exchanged_ms: Option<u64>,
    /// Whether it lets anyone do something that only named keys could do before.
    pub opens: bool,
    /// Anyone may become an admin only where this is set.
    pub allow_public_admin: bool,
}

/// A commit that a weakening grant keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBranch {
    /// Who wrote it.
    pub author: AuthorId,
    /// The last commit that stays.
    pub commit: CommitId,
    /// Its number among its author's commits.
    pub seq: u64,
    /// When it was written, by its author's clock.
    pub time: Timestamp,
    /// How many of its author's commits stay with it: it and its chain below, without what another branch counted, and
    /// without what is void already.
    pub commits: u64,
}

/// Commits of one author that become void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Whose.
    pub author: AuthorId,
    /// How many.
    pub commits: u64,
}

/// Commits that came later than they say they were written: their author was offline, or dated them back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// How many.
    pub commits: u64,
    /// The earliest time that one of them gives.
    pub written: Timestamp,
    /// None of them was here before this time.
    pub since: Timestamp,
}

impl GrantPlan {
    /// Whether anyone would become an admin.
    pub fn is_public_admin(&self) -> bool {
        self.subject == Subject::Anyone
            && self.permission.is_some_and(|permission| permission.level() == Level::Admin)
    }

    /// Commits of the subject that stay.
    pub fn kept(&self) -> u64 {
        self.branches.iter().map(|branch| branch.commits).sum()
    }

    /// Commits here that would not count any more.
    pub fn lost(&self) -> u64 {
        self.losses.iter().map(|loss| loss.commits).sum()
    }
}

impl Space {
    /// Gives a key, the keys of another space, or anyone a permission. A weaker one than now keeps the commits that are here. It asks nothing and
    /// warns of nothing: `plan_grant` tells a person first.
    pub fn grant(&self, subject: Subject, permission: Permission) -> Result<CommitId, Error> {
        self.database().write(|engine| engine.grant(&self.id(), subject, Some(permission)))
    }

    /// Takes every permission away. Commits that are here stay; what the key writes without knowing of this is void.
    pub fn revoke(&self, subject: Subject) -> Result<CommitId, Error> {
        self.database().write(|engine| engine.grant(&self.id(), subject, None))
    }

    /// What a grant would do; `None` takes every permission away. Nothing is signed, stored or sent. An error where the
    /// rules would refuse it.
    pub fn plan_grant(
        &self,
        subject: Subject,
        permission: Option<Permission>,
        keep: &Keep,
    ) -> Result<GrantPlan, Error> {
        self.database().read(|engine| plan(engine, &self.id(), subject, permission, keep))
    }

    /// Signs what was planned. Commits of the subject that came since are not kept.
    pub fn grant_with(&self, plan: &GrantPlan) -> Result<CommitId, Error> {
        if plan.space != self.id() {
            return Err(Error::Invalid("the grant was planned for another space".into()));
        }
        if plan.is_public_admin() && !plan.allow_public_admin {
            return Err(Error::Invalid(
                "anyone would be an admin, and could remove every weaker one; allow that explicitly".into(),
            ));
        }
        let GrantPlan { subject, permission, ref keep, .. } = *plan;
        let operator = RuleOperator::Grant { subject, permission, keep: keep.clone() };
        self.database().write(|engine| engine.write_rules(&self.id(), vec![operator]))
    }
}

impl Engine {
    /// Gives or takes away a permission. Taking away keeps what this database has seen of the subject.
    pub(crate) fn grant(
        &mut self,
        space: &SpaceId,
        subject: Subject,
        permission: Option<Permission>,
    ) -> Result<CommitId, Error> {
        self.present(space)?;
        let (storage, replica) = self.parts(space)?;
        let present = present(replica, &subject)?;
        let keep = if weakens(present, permission) { Some(seen(storage, replica, &subject)?) } else { None };
        self.write_rules(space, vec![RuleOperator::Grant { subject, permission, keep }])
    }
}

fn present(replica: &mut Replica, subject: &Subject) -> Result<Option<Permission>, Error> {
    let heads: Vec<Facts> = replica.write_heads().copied().collect();
    let frontier = replica.frontier_of(&heads);
    let present =
        frontier.and_then(|frontier| crate::people::draft::present(&mut replica.rules, frontier, subject));
    present.map_err(|refusal| Error::damaged(format!("the rules do not hold together: {refusal}")))
}

/// Whether a subject loses something. Who was never named loses nothing by `none`; what it wrote as anyone stays all the same.
pub(crate) fn weakens(present: Option<Permission>, next: Option<Permission>) -> bool {
    present.map_or(next.is_none(), |present| present.is_weakened_by(next))
}

fn plan(
    engine: &mut Engine,
    space: &SpaceId,
    subject: Subject,
    permission: Option<Permission>,
    keep: &Keep,
) -> Result<GrantPlan, Error> {
    engine.present(space)?;
    let (author, now_ms) = (engine.author_in(space)?, engine.now());
    let exchanged_ms = exchanged(engine, space)?;
    let (storage, replica) = engine.parts(space)?;
    let present = present(replica, &subject)?;
    let weakens = weakens(present, permission);
    let keep = match keep {
        Keep::Seen if !weakens => None,
        Keep::Seen => Some(seen(storage, replica, &subject)?),
        Keep::Nothing => Some(Vec::new()),
        Keep::Commits(commits) => {
            let commits: BTreeSet<CommitId> = commits.iter().copied().collect();
            if commits.len() > MAX_KEEP {
                return Err(Error::Invalid(format!("a grant names at most {MAX_KEEP} commits to keep")));
            }
            Some(commits.into_iter().collect())
        }
    };
    let mut draft = Draft::new(replica)?;
    let operator = RuleOperator::Grant { subject, permission, keep: keep.clone() };
    let change = match draft.write(storage, replica, author, 0, vec![operator])? {
        Ok((_, change)) => change,
        Err(Refusal::KeptElsewhere { kept, .. }) => {
            return Err(Error::Invalid(format!(
                "{kept} cannot be kept: it is no commit of the subject here"
            )));
        }
        Err(refusal) => return Err(Error::NotPermitted(refusal.to_string())),
    };
    let mut losses: BTreeMap<AuthorId, u64> = BTreeMap::new();
    for (_, author) in draft.falls(storage, replica, &change)? {
        *losses.entry(author).or_default() += 1;
    }
    let losses = losses.into_iter().map(|(author, commits)| Loss { author, commits }).collect();
    let mut walk = Walk::default();
    let mut branches = Vec::new();
    for id in keep.iter().flatten() {
        branches.extend(walk.branch(storage, replica, id)?);
    }
    branches.sort_by_key(|branch| (branch.author, std::cmp::Reverse(branch.seq)));
    let late = if weakens { walk.late(storage, replica, now_ms)? } else { None };
    let opens = subject == Subject::Anyone
        && permission.is_some_and(|next| present.is_none_or(|present| present.level() < next.level()));
    Ok(GrantPlan {
        space: *space,
        subject,
        present,
        permission,
        weakens,
        keep,
        branches,
        losses,
        late,
        exchanged_ms,
        opens,
        allow_public_admin: false,
    })
}

// When this database and some peer last had the same of a space.
fn exchanged(engine: &Engine, space: &SpaceId) -> Result<Option<u64>, Error> {
    let peers = peers::list(engine.storage.as_ref())?;
    let noted = peers
        .iter()
        .flat_map(|peer| &peer.agreed)
        .chain(engine.met.values().flat_map(|met| met.agreed.values()));
    Ok(noted.filter(|agreed| agreed.space == *space).map(|agreed| agreed.at_ms).max())
}

// The chains below what is kept.
#[derive(Default)]
struct Walk {
    seen: BTreeMap<LogSeq, Timestamp>,
}

impl Walk {
    fn branch(
        &mut self,
        storage: &dyn Storage,
        replica: &mut Replica,
        id: &CommitId,
    ) -> Result<Option<KeptBranch>, Error> {
        let Some((key, row)) = log::find(storage, replica.number, id)? else { return Ok(None) };
        let author = replica.author(storage, row.author)?;
        let mut branch = KeptBranch { author, commit: *id, seq: row.seq, time: row.time, commits: 0 };
        let mut next = Some(key.seq());
        while let Some(at) = next.filter(|at| !self.seen.contains_key(at)) {
            let row = log::row(storage, replica.key(at))?;
            self.seen.insert(at, row.time);
            branch.commits += u64::from(now(storage, replica, at)? == Verdict::Counts);
            next = row.previous;
        }
        Ok(Some(branch))
    }

    // What came after something that is more than a clock's error younger cannot have been here when it says it was written.
    fn late(&self, storage: &dyn Storage, replica: &Replica, now_ms: u64) -> Result<Option<Late>, Error> {
        let (mut newest, mut late) = (Timestamp::default(), None::<Late>);
        let Some((last, _)) = self.seen.last_key_value() else { return Ok(None) };
        for at in 1..=*last {
            let time = match self.seen.get(&at) {
                Some(time) => *time,
                None => log::row(storage, replica.key(at))?.time,
            };
            let recent = newest.ms().saturating_add(RECENTLY_MS) >= now_ms;
            if recent && self.seen.contains_key(&at) && time.ms().saturating_add(MAX_AHEAD_MS) < newest.ms() {
                let late = late.get_or_insert(Late { commits: 0, written: time, since: newest });
                late.commits += 1;
                late.written = late.written.min(time);
                late.since = late.since.min(newest);
            }
            // What is ahead of our clock tells nothing about when it came.
            if time.ms() <= now_ms {
                newest = newest.max(time);
            }
        }
        Ok(late)
    }
}
