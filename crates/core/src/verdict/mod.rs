//! Which commits count: the rules of one space in memory, kept up to date as rule commits arrive.
//!
//! A commit is *admitted* iff it counts in the set of its ancestors and itself, and has *effect* iff it counts in
//! everything known here. Both are pure functions of sets of commits; docs/rules.md defines them, `naive` computes
//! them plainly. This part does not read the log: it is given facts, and is asked about document commits it never holds.
//!
//! Order of calls: `frontier_of_parents`, then for a rule commit `admit_rule`, for a document commit `strength_at`
//! (admission) and `counts` (effect). When `admit_rule` returns a `Change`, ask `counts` again for what it names.

mod admit;
mod bits;
mod chains;
mod delegation;
mod foreign;
mod frontier;
mod judge;
pub mod naive;
mod refusal;
mod statement;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub use admit::{Kept, RuleCommit};
pub use chains::{Chains, Place, Reach};
pub use foreign::{Revealed, read as read_proof};
pub use frontier::{FrontierId, ParentFrontier, RuleIndex};
pub use judge::{Standing, Via};
pub use refusal::Refusal;
pub use statement::{Source, Statement};

use crate::clock::Timestamp;
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::rules::{Permission, RuleOperator, Shown, Strength, Subject};
use crate::sign::Signature;
use admit::{Past, Proofs};
use bits::Bits;
use foreign::{Foreign, Inside};
use frontier::Frontiers;
use judge::{Act, Finding, Rule, Table, View, Whose};

/// Remembered standings; beyond this many they are forgotten and computed again.
const MAX_STANDINGS: usize = 1 << 16;

/// Whether a commit has effect, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Counts,
    /// Void: this rule commit's keep (or end of an invite) left it out.
    CutBy(RuleIndex),
    /// Void: a rule commit that its author's permission rests on does not count any more.
    PermissionLost,
}

/// Whose document commits must be judged again after a rule commit was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nobody's: always so for a grant without a keep.
    Nothing,
    /// Those of these authors.
    Authors(BTreeSet<AuthorId>),
    /// Everybody's.
    All,
}

/// An invite as it stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invitation {
    /// The rule commit that holds it.
    pub commit: CommitId,
    /// Its place among the operators of that commit.
    pub index: u32,
    /// What it gives.
    pub permission: Permission,
    /// How often it may be redeemed along one history.
    pub uses: Option<u32>,
    /// Redemptions that count. More than `uses` means that it was used on both sides of a partition.
    pub redeemed: u32,
    /// Unix milliseconds after which a device should not serve a joiner.
    pub expires_ms: Option<u64>,
    /// Whether it was ended.
    pub ended: bool,
}

/// A grant about another space that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delegation {
    /// The other space.
    pub space: SpaceId,
    /// The rule commit that holds the grant.
    pub commit: CommitId,
    /// Its place among the operators of that commit.
    pub index: u32,
    /// The most that a key of that space gets here.
    pub permission: Permission,
}

/// All admitted rule commits of one space, and the verdicts over them. Memory: per rule commit about 300 bytes and
/// one bit for each one before it. A clone is a draft: what is admitted there is not known here.
#[derive(Debug, Clone)]
pub struct Rules {
    space: SpaceId,
    table: Table,
    frontiers: Frontiers,
    // Everything known here, and what of it is void.
    within: Bits,
    void: Bits,
    standings: HashMap<(FrontierId, AuthorId), Option<Standing>>,
    // What rule commits here have shown of other spaces.
    foreign: HashMap<SpaceId, Foreign>,
}

impl Rules {
    /// The rules of the space that `genesis` begins. Its frontier field is ignored.
    pub fn new(mut genesis: RuleCommit) -> Result<Self, Refusal> {
        admit::well_formed(&genesis)?;
        genesis.frontier = FrontierId::GENESIS;
        let mut rules = Self {
            space: SpaceId::from(genesis.id),
            table: Table::default(),
            frontiers: Frontiers::default(),
            within: Bits::default(),
            void: Bits::default(),
            standings: HashMap::new(),
            foreign: HashMap::new(),
        };
        let index = rules.table.enter(admit::genesis(genesis)?);
        rules.within.insert(index);
        rules.own_frontier(index);
        Ok(rules)
    }

    /// The rules as they were, from the own log: rule commits in the order they were admitted (genesis first), and
    /// the heads of every frontier by id, as `heads_of` gave them out. Proofs are not verified again.
    pub fn restore(
        commits: impl IntoIterator<Item = RuleCommit>,
        frontiers: &[Vec<RuleIndex>],
        chains: &Chains,
        kept: &dyn Fn(&CommitId) -> Option<Kept>,
    ) -> Result<Self, Refusal> {
        let mut commits = commits.into_iter();
        let mut rules = Self::new(commits.next().ok_or(Refusal::BadGenesis)?)?;
        let mut waiting = frontiers.iter().enumerate().peekable();
        // A frontier was interned once all its heads were here, and none of a later id before.
        let mut catch_up = |rules: &mut Self| {
            let here = rules.table.len();
            while let Some((id, heads)) = waiting.next_if(|(_, heads)| heads.iter().all(|head| head.0 < here))
            {
                if rules.intern(heads)?.0 as usize != id {
                    return Err(Refusal::UnknownFrontier);
                }
            }
            Ok(waiting.peek().is_none())
        };
        for commit in commits {
            catch_up(&mut rules)?;
            rules.admit(commit, chains, kept, Proofs::Trust)?;
        }
        if catch_up(&mut rules)? { Ok(rules) } else { Err(Refusal::UnknownFrontier) }
    }

    /// The space.
    pub fn space(&self) -> SpaceId {
        self.space
    }

    /// The frontier that these rule commits make: reduced to the maximal ones, the same id for the same ones. No
    /// commits at all make the genesis's.
    pub fn intern(&mut self, heads: &[RuleIndex]) -> Result<FrontierId, Refusal> {
        let mut heads = heads.to_vec();
        heads.sort_unstable();
        heads.dedup();
        if heads.last().is_some_and(|last| last.0 >= self.table.len()) {
            return Err(Refusal::UnknownFrontier);
        }
        if let Some(id) = self.frontiers.find(&heads) {
            return Ok(id);
        }
        let (mut closure, mut maximal) = (Bits::default(), Vec::new());
        // From the newest: whatever an accepted one has below it is not maximal.
        for head in heads.into_iter().rev() {
            if !closure.contains(head.0) {
                closure.union(&self.table.rule(head.0).ancestors);
                closure.insert(head.0);
                maximal.push(head);
            }
        }
        maximal.reverse();
        if maximal.is_empty() {
            return Ok(FrontierId::GENESIS);
        }
        Ok(self.frontiers.put(maximal, || Arc::new(closure)))
    }

    /// The frontier of a commit with these parents. Without any work when all parents contribute the same.
    pub fn frontier_of_parents(
        &mut self,
        parents: impl IntoIterator<Item = ParentFrontier>,
    ) -> Result<FrontierId, Refusal> {
        let mut parents = parents.into_iter();
        let Some(first) = parents.next() else { return Ok(FrontierId::GENESIS) };
        let others: Vec<_> = parents.filter(|parent| *parent != first).collect();
        if let (ParentFrontier::Document(id), true) = (first, others.is_empty()) {
            return self.frontiers.get(id).map(|_| id).ok_or(Refusal::UnknownFrontier);
        }
        let mut heads = Vec::new();
        for parent in others.into_iter().chain([first]) {
            match parent {
                ParentFrontier::Rule(index) => heads.push(index),
                ParentFrontier::Document(id) => {
                    heads.extend(&self.frontiers.get(id).ok_or(Refusal::UnknownFrontier)?.heads);
                }
            }
        }
        self.intern(&heads)
    }

    /// The heads of an interned frontier, for storage. Ids run from 0 to `frontier_count`.
    pub fn heads_of(&self, frontier: FrontierId) -> Option<&[RuleIndex]> {
        Some(&self.frontiers.get(frontier)?.heads)
    }

    /// How many frontiers have been interned; whoever stores a commit stores those that are new.
    pub fn frontier_count(&self) -> u32 {
        self.frontiers.len()
    }

    /// The frontier of everything: what a commit stands on whose parents are all heads.
    pub fn frontier_of_all(&mut self) -> Result<FrontierId, Refusal> {
        let all: Vec<_> = (0..self.table.len()).map(RuleIndex).collect();
        self.intern(&all)
    }

    /// Admits a rule commit or says why not. `kept` looks up what keeps name; `chains` must know their places.
    /// A refused commit leaves no trace.
    pub fn admit_rule(
        &mut self,
        commit: RuleCommit,
        chains: &Chains,
        kept: &dyn Fn(&CommitId) -> Option<Kept>,
    ) -> Result<(RuleIndex, Change), Refusal> {
        self.admit(commit, chains, kept, Proofs::Verify)
    }

    fn admit(
        &mut self,
        commit: RuleCommit,
        chains: &Chains,
        kept: &dyn Fn(&CommitId) -> Option<Kept>,
        proofs: Proofs,
    ) -> Result<(RuleIndex, Change), Refusal> {
        admit::well_formed(&commit)?;
        if self.table.ids.contains_key(&commit.id) {
            return Err(Refusal::Repeated);
        }
        let (ancestors, void) = self.past(commit.frontier)?;
        let shown = self.look_inside(&commit.author, &commit.operators, &ancestors, proofs)?;
        let inside = shown.as_ref().map(|shown| shown.inside);
        let past =
            Past { table: &self.table, space: self.space, ancestors, void, chains, kept, proofs, inside };
        let rule = match past.admit(commit) {
            Ok(rule) => rule,
            Err(refusal) => {
                shown.into_iter().for_each(|shown| self.forget(&shown));
                return Err(refusal);
            }
        };
        let index = self.table.enter(without_proof(rule));
        if let Some(shown) = shown {
            self.foreign.entry(shown.space).or_default().shown_by(index, shown.nodes);
        }
        self.own_frontier(index);
        self.within.insert(index);
        let (counts, changed) = self.table.settle(index, &self.within, &mut self.void);
        Ok((RuleIndex(index), self.change(index, counts, &changed)))
    }

    // What the proof in an enrol or a withdraw says of its key, with all that was shown among the ancestors. So who
    // shows an older state of the other space than was shown before shows nothing.
    fn look_inside(
        &mut self,
        author: &AuthorId,
        operators: &[RuleOperator],
        ancestors: &Bits,
        proofs: Proofs,
    ) -> Result<Option<Look>, Refusal> {
        let (space, key, proof) = match operators {
            [RuleOperator::Enrol { grant, index, proof }] => {
                match self
                    .table
                    .ids
                    .get(grant)
                    .and_then(|rule| self.table.rule(*rule).operators.get(*index as usize))
                {
                    Some(RuleOperator::Grant { subject: Subject::Space(space), .. }) => {
                        (*space, author, proof)
                    }
                    _ => return Err(Refusal::NoSpaceGrant),
                }
            }
            [RuleOperator::Withdraw { space, key, proof, .. }] => (*space, key, proof),
            _ => return Ok(None),
        };
        // Nothing is read about a space that nobody spoke of.
        if !self.table.statements.contains_key(&Subject::Space(space)) {
            return Err(Refusal::NoSpaceGrant);
        }
        let foreign = self.foreign.entry(space).or_default();
        let mut known = foreign.known(ancestors);
        let revealed = foreign::take(&space, proof, &|id| foreign.has(id, &known), proofs)?;
        let before = foreign.len();
        let nodes = foreign.add(revealed);
        nodes.iter().for_each(|node| known.insert(*node));
        match foreign.inside(known, key) {
            Ok(inside) => Ok(Some(Look { space, nodes, before, inside })),
            Err(refusal) => {
                foreign.forget(before);
                Err(refusal)
            }
        }
    }

    fn forget(&mut self, look: &Look) {
        if let Some(foreign) = self.foreign.get_mut(&look.space) {
            foreign.forget(look.before);
        }
    }

    // What a new rule commit says about others holds in its descendants, and it has none yet: only its keeps act now.
    fn change(&self, index: u32, counts: bool, changed: &[u32]) -> Change {
        let cuts = self.table.rule(index).cuts.iter().filter(|_| counts).map(|cut| match cut.whose {
            Whose::Subject(subject) => subject,
            Whose::Through(_, author) => Subject::Key(author),
        });
        let indirect = changed.iter().flat_map(|rule| judge::concerns(self.table.rule(*rule)));
        let mut authors = BTreeSet::new();
        for subject in cuts.chain(indirect) {
            match subject {
                Subject::Key(author) => drop(authors.insert(author)),
                Subject::Anyone => return Change::All,
                Subject::Space(space) => authors.extend(self.table.enrolled_by(&space)),
            };
        }
        if authors.is_empty() { Change::Nothing } else { Change::Authors(authors) }
    }

    fn own_frontier(&mut self, index: u32) {
        let ancestors = &self.table.rule(index).ancestors;
        self.frontiers.put(vec![RuleIndex(index)], || {
            let mut closure = (**ancestors).clone();
            closure.insert(index);
            Arc::new(closure)
        });
    }

    // The rule commits below a frontier and what of them is void among themselves. Computed from the largest head's
    // own past, which was judged when that head was admitted, and the rest in order of admission.
    fn past(&mut self, id: FrontierId) -> Result<(Arc<Bits>, Arc<Bits>), Refusal> {
        let frontier = self.frontiers.get(id).ok_or(Refusal::UnknownFrontier)?;
        let closure = frontier.closure.clone();
        if let Some(void) = &frontier.void {
            return Ok((closure, void.clone()));
        }
        let void = self.void_below(&closure, &frontier.heads);
        if let Some(frontier) = self.frontiers.get_mut(id) {
            frontier.void = Some(void.clone());
        }
        Ok((closure, void))
    }

    fn void_below(&self, closure: &Bits, heads: &[RuleIndex]) -> Arc<Bits> {
        // Without a keep among them, all that were admitted count.
        if !closure.meets(&self.table.voiders) {
            return Arc::default();
        }
        let largest = heads.iter().max_by_key(|head| self.table.rule(head.0).ancestors.count());
        let base = largest.and_then(|head| {
            let rule = self.table.rule(head.0);
            let void = self.frontiers.get(rule.frontier)?.void.clone()?;
            Some((rule.ancestors.clone(), void))
        });
        let (below, mut void) = base.unwrap_or_default();
        let mut within = (*below).clone();
        for index in closure.without(&below) {
            within.insert(index);
            let rule = self.table.rule(index);
            let settled = self.table.judge_rule(index, View { within: &within, void: &void });
            // Most commits void nothing and count; then the set of the void ones is shared, not copied.
            if rule.voids() || settled != Finding::Counts {
                self.table.settle(index, &within, Arc::make_mut(&mut void));
            }
        }
        void
    }

    /// What an author may do as of a frontier, in the verdicts of what is below it: the admission of a document
    /// commit. Its strength is to be stored with the commit, together with `via`.
    pub fn strength_at(&mut self, frontier: FrontierId, author: &AuthorId) -> Result<Standing, Refusal> {
        self.standing_at(frontier, author)?
            .filter(|standing| standing.permission.may_write())
            .ok_or(Refusal::MayNotWrite)
    }

    /// What holds for an author as of a frontier, if anything.
    pub fn standing_at(
        &mut self,
        frontier: FrontierId,
        author: &AuthorId,
    ) -> Result<Option<Standing>, Refusal> {
        if let Some(standing) = self.standings.get(&(frontier, *author)) {
            return Ok(*standing);
        }
        let (closure, void) = self.past(frontier)?;
        let view = View { within: &closure, void: &void };
        let standing = self.table.standing(author, &closure, view, None);
        if self.standings.len() >= MAX_STANDINGS {
            self.standings.clear();
        }
        self.standings.insert((frontier, *author), standing);
        Ok(standing)
    }

    /// What the statements about this very subject give as of a frontier, if anything.
    pub fn stated_at(
        &mut self,
        frontier: FrontierId,
        subject: Subject,
    ) -> Result<Option<Permission>, Refusal> {
        let (closure, void) = self.past(frontier)?;
        let view = View { within: &closure, void: &void };
        let said = self.table.said(subject, &closure, view, None).flatten();
        Ok(said.map(|standing| standing.permission))
    }

    /// Whether a document commit that was admitted with `strength` and `via` has effect, in everything known here.
    pub fn counts(
        &self,
        author: &AuthorId,
        frontier: FrontierId,
        strength: Strength,
        via: Via,
        place: Place,
    ) -> bool {
        self.verdict(author, frontier, strength, via, place) == Verdict::Counts
    }

    /// Like `counts`, with the reason.
    pub fn verdict(
        &self,
        author: &AuthorId,
        frontier: FrontierId,
        strength: Strength,
        via: Via,
        place: Place,
    ) -> Verdict {
        let Some(frontier) = self.frontiers.get(frontier) else { return Verdict::PermissionLost };
        let commit = (author, place);
        verdict(self.table.judge_document(commit, &frontier.closure, strength, via, self.view()))
    }

    /// The verdict on an admitted rule commit, in everything known here.
    pub fn rule_verdict(&self, rule: RuleIndex) -> Option<Verdict> {
        self.table.get(rule.0).map(|_| verdict(self.table.judge_rule(rule.0, self.view())))
    }

    /// The number of admitted rule commits.
    pub fn rule_count(&self) -> u32 {
        self.table.len()
    }

    /// Where a rule commit stands here, if it was admitted.
    pub fn index_of(&self, id: &CommitId) -> Option<RuleIndex> {
        self.table.ids.get(id).copied().map(RuleIndex)
    }

    /// The id of an admitted rule commit.
    pub fn id_of(&self, rule: RuleIndex) -> Option<CommitId> {
        self.table.get(rule.0).map(|rule| rule.id)
    }

    /// How the author of an admitted rule commit came by that strength.
    pub fn via_of(&self, rule: RuleIndex) -> Option<Via> {
        self.table.get(rule.0).map(|rule| rule.via)
    }

    /// The strength an admitted rule commit has for ever; a redeem has that of its invite, an enrol that of its grant. `None` for the genesis,
    /// The id, the author and the time of an admitted rule commit.
    pub fn made_by(&self, rule: RuleIndex) -> Option<(CommitId, AuthorId, Timestamp)> {
        self.table.get(rule.0).map(|rule| (rule.id, rule.author, rule.time))
    }

    /// What an admitted rule commit says.
    pub fn operators_of(&self, rule: RuleIndex) -> &[RuleOperator] {
        self.table.get(rule.0).map_or(&[], |rule| &rule.operators)
    }

    /// The strength an admitted rule commit has for ever; a redeem has that of its invite. `None` for the genesis,
    /// which is stronger than every other.
    pub fn strength_of(&self, rule: RuleIndex) -> Option<Strength> {
        self.table.get(rule.0)?.key.0.strength()
    }

    /// The frontier an admitted rule commit stands on.
    pub fn frontier_of(&self, rule: RuleIndex) -> Option<FrontierId> {
        self.table.get(rule.0).map(|rule| rule.frontier)
    }

    /// What holds for each key that is named and still has a permission, and for anyone, as of all heads.
    pub fn members(&self) -> BTreeMap<Subject, Permission> {
        let said = |subject: &Subject| {
            let standing = self.table.said(*subject, &self.within, self.view(), None)??;
            Some((*subject, standing.permission))
        };
        self.table.subjects().filter_map(said).collect()
    }

    /// What holds for one author as of all heads, by a statement about its key or about anyone.
    pub fn member(&self, author: &AuthorId) -> Option<Standing> {
        self.table.standing(author, &self.within, self.view(), None)
    }

    /// All invites that count, in order of admission.
    pub fn invitations(&self) -> Vec<Invitation> {
        let mut found = Vec::new();
        for (rule, operator, at) in self.counting_operators() {
            if let RuleOperator::Invite { permission, uses, expires_ms, .. } = operator {
                let redeems = self.table.redeems_of((rule, at)).iter();
                found.push(Invitation {
                    commit: self.table.rule(rule).id,
                    index: at,
                    permission: *permission,
                    uses: *uses,
                    redeemed: redeems.filter(|redeem| self.view().counts(**redeem)).count() as u32,
                    expires_ms: *expires_ms,
                    ended: self.table.is_ended((rule, at), self.view()),
                });
            }
        }
        found
    }

    /// Whether a device should serve somebody who shows this proof of an invite, at `now_ms` of its own clock.
    pub fn invite_opens(
        &self,
        (invite, index): (&CommitId, u32),
        joiner: &AuthorId,
        proof: &Signature,
        now_ms: u64,
    ) -> bool {
        let Some(rule) = self.index_of(invite) else { return false };
        let operator = self.table.rule(rule.0).operators.get(index as usize);
        let Some(RuleOperator::Invite { key, uses, expires_ms, .. }) = operator else { return false };
        let redeems = self.table.redeems_of((rule.0, index)).iter();
        let redeemed = redeems.filter(|redeem| self.view().counts(**redeem)).count() as u32;
        self.view().counts(rule.0)
            && !self.table.is_ended((rule.0, index), self.view())
            && expires_ms.is_none_or(|expires| now_ms < expires)
            && uses.is_none_or(|uses| redeemed < uses)
            && crate::rules::invite::verify(key, &self.space, invite, joiner, proof)
    }

    /// The redemption by which a rule commit lets its author in, as the invite's commit and index.
    pub fn redeemed_by(&self, rule: RuleIndex) -> Option<(RuleIndex, u32)> {
        match self.table.get(rule.0)?.act {
            Act::Redeem((invite, index)) => Some((RuleIndex(invite), index)),
            _ => None,
        }
    }

    /// The grants about other spaces that hold, and may be named in an enrol.
    pub fn delegations(&self) -> Vec<Delegation> {
        let (view, mut found) = (self.view(), Vec::new());
        for (rule, operator, index) in self.counting_operators() {
            let RuleOperator::Grant { subject: subject @ Subject::Space(space), permission: Some(_), .. } =
                operator
            else {
                continue;
            };
            let said = self.table.said(*subject, &self.within, view, None).flatten();
            let later = |other: u32| view.counts(other) && self.table.rule(other).ancestors.contains(rule);
            let about = self.table.statements.get(subject).into_iter().flatten();
            if let Some(bound) = said.filter(|_| !about.into_iter().any(|(other, _)| later(*other))) {
                let commit = self.table.rule(rule).id;
                found.retain(|other: &Delegation| other.commit != commit || other.space != *space);
                found.push(Delegation { space: *space, commit, index, permission: bound.permission });
            }
        }
        found
    }

    /// The commits of another space that rule commits here have shown.
    pub fn shown(&self, space: &SpaceId) -> HashSet<CommitId> {
        self.foreign.get(space).map(Foreign::all).unwrap_or_default()
    }

    /// Whether any statement has ever named a key, counting or not.
    pub fn was_named(&self, author: &AuthorId) -> bool {
        self.table.names(author, &self.within)
    }

    /// Whether a key has enrolled by another space, whatever became of it.
    pub fn came_through(&self, space: &SpaceId, author: &AuthorId) -> bool {
        self.table.came_through(space, author, &self.within)
    }

    /// The keys that have something here through another space, and what.
    pub fn enrolled(&self, space: &SpaceId) -> Vec<(AuthorId, Standing)> {
        let left = |author: &AuthorId| {
            let through = self.table.through(*space, *author, &self.within, self.view());
            Some((*author, through??))
        };
        self.table.enrolled_by(space).filter_map(left).collect()
    }

    /// What `joiner` would get if it enrolled now, by a grant about another space and with this proof: so that a device
    /// may serve it before it has.
    pub fn lets_in(
        &mut self,
        joiner: &AuthorId,
        grant: (CommitId, u32),
        proof: &[Shown],
    ) -> Result<Standing, Refusal> {
        let all = self.frontier_of_all()?;
        let (ancestors, void) = self.past(all)?;
        let operator = [RuleOperator::Enrol { grant: grant.0, index: grant.1, proof: proof.to_vec() }];
        let shown = self.look_inside(joiner, &operator, &ancestors, Proofs::Verify)?;
        let inside = shown.as_ref().map(|shown| shown.inside);
        let (chains, kept) = (&Chains::new(), &|_: &CommitId| None);
        let (table, space, proofs) = (&self.table, self.space, Proofs::Verify);
        let past = Past { table, space, ancestors, void, chains, kept, proofs, inside };
        let given = past.may_enrol(joiner, &grant.0, grant.1).map(|(_, enrolment)| enrolment.standing);
        shown.into_iter().for_each(|shown| self.forget(&shown));
        given
    }

    /// The name of the space: the last in (time, id) order that counts.
    pub fn name(&self) -> Option<&str> {
        let names = self.counting_operators().filter_map(|(rule, operator, at)| match operator {
            RuleOperator::Name(name) => Some((self.when(rule, at), name.as_str())),
            _ => None,
        });
        names.max().map(|(_, name)| name)
    }

    /// The settings of the space: of each key the last value in (time, id) order that counts.
    pub fn settings(&self) -> BTreeMap<&str, &[u8]> {
        let settings = self.counting_operators().filter_map(|(rule, operator, at)| match operator {
            RuleOperator::Setting { key, value } => {
                Some((self.when(rule, at), key.as_str(), value.as_slice()))
            }
            _ => None,
        });
        let mut settings: Vec<_> = settings.collect();
        settings.sort_unstable();
        settings.into_iter().map(|(_, key, value)| (key, value)).collect()
    }

    fn view(&self) -> View<'_> {
        View { within: &self.within, void: &self.void }
    }

    fn when(&self, rule: u32, operator: u32) -> (Timestamp, CommitId, u32) {
        let rule = self.table.rule(rule);
        (rule.time, rule.id, operator)
    }

    fn counting_operators(&self) -> impl Iterator<Item = (u32, &RuleOperator, u32)> {
        let counting = self.table.all().filter(|(index, _)| self.view().counts(*index));
        counting.flat_map(|(index, rule)| {
            (0..).zip(&rule.operators).map(move |(at, operator)| (index, operator, at))
        })
    }
}

// What a proof showed, until the commit that holds it is admitted or refused.
struct Look {
    space: SpaceId,
    nodes: Vec<u32>,
    before: usize,
    inside: Inside,
}

// What was shown is held once, among all that is known of the other space.
fn without_proof(mut rule: Rule) -> Rule {
    for operator in &mut rule.operators {
        if let RuleOperator::Enrol { proof, .. } | RuleOperator::Withdraw { proof, .. } = operator {
            *proof = Vec::new();
        }
    }
    rule
}

fn verdict(finding: Finding) -> Verdict {
    match finding {
        Finding::Counts => Verdict::Counts,
        Finding::Cut(rule) => Verdict::CutBy(RuleIndex(rule)),
        Finding::Changed => Verdict::PermissionLost,
    }
}
