//! One space in memory: its rules, the tips of its authors' chains, its heads, what is held, and its tallies.
//!
//! Everything here is small and rebuilt from small tables at open; nothing grows with the length of the log.
//! Changes are written to storage once per flush, in the same transaction as the commits that made them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};

use driftless_core::clock::Timestamp;
use driftless_core::commit::RuleBody;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::rules::Strength;
use driftless_core::sign::Domain;
use driftless_core::verdict::{Chains, FrontierId, Kept, Place, RuleCommit, RuleIndex, Rules, Via};
use driftless_store::{Key, Order, Storage};

use crate::error::Error;
use crate::state::policy::Bootstrap;
use crate::tables::digest::Sum;
use crate::tables::layout::{self, Bytes, DIGEST_EVERY, LogKey, LogSeq, Row, State, put_bytes, put_number};
use crate::tables::log;

/// What of a commit its children need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub at: LogSeq,
    pub id: CommitId,
    pub continues: bool,
    pub author: u32,
    pub seq: u64,
    pub time: Timestamp,
    pub frontier: u32,
    pub branch: u32,
    pub run: u32,
}

impl Facts {
    pub(crate) fn of(at: LogKey, row: &Row) -> Self {
        Self {
            at: at.seq(),
            id: row.id,
            continues: row.continues,
            author: row.author,
            seq: row.seq,
            time: row.time,
            frontier: row.frontier,
            branch: row.branch,
            run: row.run,
        }
    }
}

/// A commit without children, among all commits (`sync`) or among those that are not held (`write`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub facts: Facts,
    pub sync: bool,
    pub write: bool,
}

/// The last commit of one branch of an author's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    pub seq: u64,
    pub at: LogSeq,
    /// For a branch that left another: the commit it left after; inside `None` for a second first commit.
    pub fork: Option<Option<Place>>,
}

/// How many commits are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All commits in the log.
    pub commits: u64,
    /// Ahead of our clock.
    pub held: u64,
    /// Without effect: not permitted any more, or taken back.
    pub void: u64,
    /// Waiting for a body, or for the rest of a transaction.
    pub wanted: u64,
}

impl Counts {
    /// Commits that have their effect.
    pub fn applied(&self) -> u64 {
        self.commits.saturating_sub(self.held).saturating_sub(self.void).saturating_sub(self.wanted)
    }

    fn of(&mut self, state: State) -> &mut u64 {
        match state {
            State::Held => &mut self.held,
            State::Void | State::Retracted => &mut self.void,
            State::Wanted | State::Incomplete => &mut self.wanted,
        }
    }
}

/// One space on this machine.
#[derive(Debug)]
pub(crate) struct Replica {
    pub number: u32,
    pub id: SpaceId,
    pub next: LogSeq,
    /// Where the log ended at the last flush.
    pub flushed: LogSeq,
    pub log_digest: [u8; 32],
    pub rules: Rules,
    pub rule_at: BTreeMap<LogSeq, RuleIndex>,
    pub chains: Chains,
    pub tips: BTreeMap<(u32, u32), Tip>,
    pub heads: BTreeMap<LogSeq, Head>,
    pub held: BTreeSet<(Timestamp, LogSeq)>,
    pub counts: Counts,
    pub documents: u64,
    pub view: Sum,
    /// The largest time that was applied: the clock goes on after it.
    pub time: Timestamp,
    /// A name that only this database uses.
    pub alias: Option<String>,
    /// Whether commits arrived since the last flush.
    pub advanced: bool,
    /// Whether some of them were written here, and some came from elsewhere.
    pub arrived: [bool; 2],
    /// Whether any commit here takes others back.
    pub retractions: bool,
    /// How far a key had written here when the space was last forgotten: that of the key which asked last.
    pub forgotten: Option<(AuthorId, Option<u64>)>,
    /// What becomes of requests for access, as of so many rule commits.
    bootstrap: Option<(u32, Bootstrap)>,
    authors: HashMap<u32, AuthorId>,
    numbers: HashMap<AuthorId, u32>,
    by_id: HashMap<CommitId, LogSeq>,
    changed_tips: BTreeSet<(u32, u32)>,
    changed_heads: BTreeSet<LogSeq>,
    frontiers_stored: u32,
    /// Digests of the log that are not stored yet.
    pub digests: BTreeMap<LogSeq, [u8; 32]>,
    pub changed: bool,
}

/// What `space list` shows, read without loading the space.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub id: SpaceId,
    pub next: LogSeq,
    pub log_digest: [u8; 32],
    pub counts: Counts,
    pub documents: u64,
    pub view: Sum,
    pub time: Timestamp,
    pub name: String,
    pub alias: Option<String>,
}

impl Summary {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.log_digest);
        out.extend_from_slice(&self.view.to_bytes());
        let counts = &self.counts;
        for number in
            [self.next, counts.commits, counts.held, counts.void, counts.wanted, self.documents, self.time.0]
        {
            put_number(&mut out, number);
        }
        put_bytes(&mut out, self.name.as_bytes());
        if let Some(alias) = &self.alias {
            put_bytes(&mut out, alias.as_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let take = |bytes: &mut Bytes<'_>| {
            Some(Self {
                id: SpaceId(bytes.array()?),
                log_digest: bytes.array()?,
                view: Sum::from_bytes(&bytes.array()?),
                next: bytes.number()?,
                counts: Counts {
                    commits: bytes.number()?,
                    held: bytes.number()?,
                    void: bytes.number()?,
                    wanted: bytes.number()?,
                },
                documents: bytes.number()?,
                time: Timestamp(bytes.number()?),
                name: bytes.text()?.to_owned(),
                alias: if bytes.0.is_empty() { None } else { Some(bytes.text()?.to_owned()) },
            })
        };
        take(&mut Bytes(bytes)).ok_or_else(|| Error::damaged("a space row does not decode"))
    }

    /// The name in this database: the local one, else the one that the rules give.
    pub(crate) fn local_name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }
}

/// The running digest of a log without commits.
fn first_digest(space: &SpaceId) -> [u8; 32] {
    Domain::LogDigest.hash(&[&space.0])
}

/// The running digest of a log after one commit more.
pub(crate) fn next_digest(digest: &[u8; 32], id: &CommitId) -> [u8; 32] {
    Domain::LogDigest.hash(&[digest, &id.0])
}

impl Replica {
    /// What becomes of requests for access.
    pub(crate) fn bootstrap(&mut self) -> Bootstrap {
        let count = self.rules.rule_count();
        // Only a rule commit changes what counts, and strangers may ask often.
        if let Some((_, bootstrap)) = self.bootstrap.filter(|(known, _)| *known == count) {
            return bootstrap;
        }
        let settings = self.rules.settings();
        let bootstrap =
            settings.get(Bootstrap::SETTING).map_or(Bootstrap::Reject, |value| Bootstrap::decode(value));
        self.bootstrap = Some((count, bootstrap));
        bootstrap
    }

    /// A space of which only the genesis is known, which is not in the log yet.
    pub(crate) fn new(number: u32, id: SpaceId, rules: Rules) -> Self {
        Self {
            number,
            id,
            next: 1,
            flushed: 1,
            log_digest: first_digest(&id),
            rules,
            rule_at: BTreeMap::new(),
            chains: Chains::default(),
            tips: BTreeMap::new(),
            heads: BTreeMap::new(),
            held: BTreeSet::new(),
            counts: Counts::default(),
            documents: 0,
            view: Sum::default(),
            time: Timestamp::default(),
            alias: None,
            advanced: false,
            arrived: [false; 2],
            retractions: false,
            forgotten: None,
            bootstrap: None,
            authors: HashMap::new(),
            numbers: HashMap::new(),
            by_id: HashMap::new(),
            changed_tips: BTreeSet::new(),
            changed_heads: BTreeSet::new(),
            frontiers_stored: 0,
            digests: BTreeMap::new(),
            changed: true,
        }
    }

    pub(crate) fn key(&self, at: LogSeq) -> LogKey {
        LogKey::new(self.number, at)
    }

    pub(crate) fn author(&mut self, storage: &dyn Storage, number: u32) -> Result<AuthorId, Error> {
        if let Some(author) = self.authors.get(&number) {
            return Ok(*author);
        }
        let author = log::author(storage, number)?;
        self.authors.insert(number, author);
        self.numbers.insert(author, number);
        Ok(author)
    }

    /// The local number of an author who wrote something in this database.
    pub(crate) fn author_number(
        &mut self,
        storage: &dyn Storage,
        author: &AuthorId,
    ) -> Result<Option<u32>, Error> {
        if let Some(number) = self.numbers.get(author) {
            return Ok(Some(*number));
        }
        let number = log::known_author(storage, author)?;
        if let Some(number) = number {
            self.numbers.insert(*author, number);
        }
        Ok(number)
    }

    /// What children need to know of a commit; heads are in memory.
    pub(crate) fn facts(&self, storage: &dyn Storage, id: &CommitId) -> Result<Option<Facts>, Error> {
        if let Some(head) = self.by_id.get(id).and_then(|at| self.heads.get(at)) {
            return Ok(Some(head.facts));
        }
        Ok(log::find(storage, self.number, id)?.map(|(at, row)| Facts::of(at, &row)))
    }

    /// Where a commit after `previous` stands in its author's chain.
    pub(crate) fn place_after(
        &self,
        author: &AuthorId,
        number: Option<u32>,
        seq: u64,
        previous: Option<&Facts>,
    ) -> Place {
        let tip = |branch| number.and_then(|number| self.tips.get(&(number, branch)));
        // The last commit of a branch was never extended: the first to extend it goes on with the branch.
        let extended = match previous {
            Some(previous) => tip(previous.branch).is_some_and(|tip| tip.seq > previous.seq),
            None => tip(0).is_some(),
        };
        self.chains.place(author, seq, previous.map(Self::place), extended)
    }

    /// Takes the next position for a commit whose row is written there.
    pub(crate) fn append(
        &mut self,
        author: &AuthorId,
        facts: Facts,
        previous: Option<&Facts>,
        parents: &[LogSeq],
        held: bool,
    ) {
        debug_assert_eq!(facts.at, self.next);
        self.next += 1;
        self.log_digest = next_digest(&self.log_digest, &facts.id);
        if facts.at.is_multiple_of(DIGEST_EVERY) {
            self.digests.insert(facts.at, self.log_digest);
        }
        self.counts.commits += 1;
        self.advanced = true;
        self.chains.enter(author, Self::place(&facts), previous.map(Self::place));
        let fork = (facts.branch > 0)
            .then(|| self.chains.forks(author).get(facts.branch as usize - 1).copied().flatten());
        self.tips.insert((facts.author, facts.branch), Tip { seq: facts.seq, at: facts.at, fork });
        self.changed_tips.insert((facts.author, facts.branch));
        self.join(facts, parents, held);
    }

    /// A commit joins the heads, and covers its parents.
    pub(crate) fn join(&mut self, facts: Facts, parents: &[LogSeq], held: bool) {
        for parent in parents {
            self.cover(*parent, !held);
        }
        self.heads.insert(facts.at, Head { facts, sync: true, write: !held });
        self.by_id.insert(facts.id, facts.at);
        self.changed_heads.insert(facts.at);
        if held {
            self.held.insert((facts.time, facts.at));
        } else {
            self.time = self.time.max(facts.time);
        }
        self.changed = true;
    }

    /// Forgets heads and what is held: they are derived again from the log.
    pub(crate) fn start_over(&mut self) {
        self.changed_heads.extend(self.heads.keys());
        self.heads.clear();
        self.by_id.clear();
        self.held.clear();
        self.changed = true;
    }

    /// A held commit is due: it joins what local commits build on.
    pub(crate) fn release(&mut self, facts: Facts, parents: &[LogSeq]) {
        self.held.remove(&(facts.time, facts.at));
        for parent in parents {
            if let Some(head) = self.heads.get_mut(parent) {
                head.write = false;
            }
            self.drop_if_covered(*parent);
        }
        self.heads.entry(facts.at).or_insert(Head { facts, sync: false, write: true }).write = true;
        self.by_id.insert(facts.id, facts.at);
        self.changed_heads.insert(facts.at);
        self.time = self.time.max(facts.time);
        self.changed = true;
    }

    /// Counts a commit out of one state and into another; `None` is applied.
    pub(crate) fn count(&mut self, old: Option<State>, new: Option<State>) {
        if let Some(old) = old {
            *self.counts.of(old) -= 1;
        }
        if let Some(new) = new {
            *self.counts.of(new) += 1;
        }
        self.changed = true;
    }

    /// The running digest of the log up to a position: from the last one that is stored before it. `None` where that one
    /// is not as it should be, or the log does not go so far.
    pub(crate) fn digest_at(&self, storage: &dyn Storage, at: LogSeq) -> Result<Option<[u8; 32]>, Error> {
        let last = self.next - 1;
        if at >= last {
            return Ok((at == last).then_some(self.log_digest));
        }
        let from = at - at % DIGEST_EVERY;
        let stored = match (from, self.digests.get(&from)) {
            (0, _) => Some(first_digest(&self.id)),
            (_, Some(digest)) => Some(*digest),
            (_, None) => storage
                .get(&layout::LOG_DIGEST, self.key(from).0.into())?
                .and_then(|digest| digest.try_into().ok()),
        };
        let Some(mut digest) = stored else { return Ok(None) };
        for at in from + 1..=at {
            digest = next_digest(&digest, &log::row(storage, self.key(at))?.id);
        }
        Ok(Some(digest))
    }

    /// The frontier for sync: every admitted commit without a child.
    pub(crate) fn sync_heads(&self) -> impl Iterator<Item = &Facts> {
        self.heads.values().filter(|head| head.sync).map(|head| &head.facts)
    }

    /// What a new commit names as parents: heads among the commits that are not held.
    pub(crate) fn write_heads(&self) -> impl Iterator<Item = &Facts> {
        self.heads.values().filter(|head| head.write).map(|head| &head.facts)
    }

    /// The last commit of an author here: of the longest branch if the chain has forked.
    pub(crate) fn last_of(&self, author: u32) -> Option<Tip> {
        self.tips.range((author, 0)..=(author, u32::MAX)).map(|(_, tip)| *tip).max_by_key(|tip| tip.seq)
    }

    /// The last commits of all branches of an author.
    pub(crate) fn tips_of(&self, author: u32) -> Vec<Tip> {
        self.tips.range((author, 0)..=(author, u32::MAX)).map(|(_, tip)| *tip).collect()
    }

    /// Authors whose chain has more than one branch.
    pub(crate) fn forked(&self) -> BTreeSet<u32> {
        self.tips.iter().filter(|(_, tip)| tip.fork.is_some()).map(|((author, _), _)| *author).collect()
    }

    pub(crate) fn place(facts: &Facts) -> Place {
        Place { branch: facts.branch, seq: facts.seq }
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            id: self.id,
            next: self.next,
            log_digest: self.log_digest,
            counts: self.counts,
            documents: self.documents,
            view: self.view,
            time: self.time,
            name: self.rules.name().unwrap_or_default().to_owned(),
            alias: self.alias.clone(),
        }
    }

    /// Writes what changed since the last flush.
    pub(crate) fn flush(&mut self, storage: &mut dyn Storage) -> Result<(), Error> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        self.flushed = self.next;
        storage.put(&layout::SPACE, u64::from(self.number).into(), &self.summary().encode())?;
        for (author, branch) in std::mem::take(&mut self.changed_tips) {
            let Some(tip) = self.tips.get(&(author, branch)) else { continue };
            let mut value = Vec::new();
            let left = tip.fork.flatten().map(|place| (u64::from(place.branch) + 1, place.seq));
            let (from, after) = left.unwrap_or_default();
            for number in [tip.seq, tip.at, from, after] {
                put_number(&mut value, number);
            }
            storage.put(&layout::TIP, tip_key(self.number, author, branch).as_slice().into(), &value)?;
        }
        for id in self.frontiers_stored..self.rules.frontier_count() {
            let heads = self.rules.heads_of(FrontierId(id)).unwrap_or_default();
            let mut value = Vec::new();
            for head in heads {
                put_number(&mut value, u64::from(head.0));
            }
            let key = (u64::from(self.number) << 32) | u64::from(id);
            storage.put(&layout::FRONTIER, key.into(), &value)?;
        }
        self.frontiers_stored = self.rules.frontier_count();
        for (at, digest) in std::mem::take(&mut self.digests) {
            storage.put(&layout::LOG_DIGEST, self.key(at).0.into(), &digest)?;
        }
        for at in std::mem::take(&mut self.changed_heads) {
            let key = self.key(at).0.into();
            match self.heads.get(&at) {
                Some(head) => {
                    storage.put(&layout::HEAD, key, &[u8::from(head.sync) | (u8::from(head.write) << 1)])?;
                }
                None => storage.remove(&layout::HEAD, key)?,
            }
        }
        Ok(())
    }

    /// Loads a space from its small tables.
    pub(crate) fn load(storage: &dyn Storage, number: u32) -> Result<Self, Error> {
        let bytes = storage.get(&layout::SPACE, u64::from(number).into())?;
        let summary = Summary::decode(&bytes.ok_or_else(|| Error::damaged("a space row is missing"))?)?;
        let tips = load_tips(storage, number)?;
        let chains = load_chains(storage, &tips)?;
        let (rules, rule_at) = load_rules(storage, number, &chains)?;
        let mut replica = Self::new(number, summary.id, rules);
        replica.frontiers_stored = replica.rules.frontier_count();
        replica.rule_at = rule_at;
        replica.chains = chains;
        replica.tips = tips;
        replica.next = summary.next;
        replica.flushed = summary.next;
        replica.log_digest = summary.log_digest;
        replica.counts = summary.counts;
        replica.documents = summary.documents;
        replica.view = summary.view;
        replica.time = summary.time;
        replica.alias = summary.alias;
        replica.changed = false;
        replica.retractions = has_retractions(storage, number)?;
        for (at, flags) in range(storage, &layout::HEAD, number)? {
            let facts = Facts::of(at, &log::row(storage, at)?);
            let flags = flags.first().copied().unwrap_or_default();
            replica.heads.insert(at.seq(), Head { facts, sync: flags & 1 != 0, write: flags & 2 != 0 });
            replica.by_id.insert(facts.id, at.seq());
        }
        // Nothing came after the last commit, so it is a head; without this, heads that are lost would go unnoticed.
        if replica.next > 1 && !replica.heads.get(&(replica.next - 1)).is_some_and(|head| head.sync) {
            return Err(Error::damaged("the heads of a space are missing"));
        }
        for (at, state) in range(storage, &layout::STATE, number)? {
            if State::decode(&state)? == State::Held {
                replica.held.insert((log::row(storage, at)?.time, at.seq()));
            }
        }
        Ok(replica)
    }

    // A child covers a head: for sync always, for writing unless the child is held.
    fn cover(&mut self, at: LogSeq, write: bool) {
        if let Some(head) = self.heads.get_mut(&at) {
            head.sync = false;
            head.write &= !write;
        }
        self.drop_if_covered(at);
    }

    fn drop_if_covered(&mut self, at: LogSeq) {
        let Some(head) = self.heads.get(&at) else { return };
        if !head.sync && !head.write {
            self.by_id.remove(&head.facts.id);
            self.heads.remove(&at);
        }
        self.changed_heads.insert(at);
    }
}

fn has_retractions(storage: &dyn Storage, number: u32) -> Result<bool, Error> {
    let (lower, upper) = (layout::key([u64::from(number)]), layout::key([u64::from(number) + 1]));
    let mut found = false;
    let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Excluded(Key::Bytes(&upper)));
    storage.range(&layout::RETRACT, lower, upper, Order::Ascending, &mut |_, _| {
        found = true;
        ControlFlow::Break(())
    })?;
    Ok(found)
}

fn tip_key(space: u32, author: u32, branch: u32) -> Vec<u8> {
    [space, author, branch].iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// All rows of a space in a table that is keyed by `LogKey`.
pub(crate) fn range(
    storage: &dyn Storage,
    table: &driftless_store::Table,
    number: u32,
) -> Result<Vec<(LogKey, Vec<u8>)>, Error> {
    let (lower, upper) = (LogKey::new(number, 0).0, LogKey::new(number, u64::MAX).0);
    let mut rows = Vec::new();
    let (lower, upper) = (Bound::Excluded(Key::U64(lower)), Bound::Included(Key::U64(upper)));
    storage.range(table, lower, upper, Order::Ascending, &mut |key, value| {
        if let Key::U64(at) = key {
            rows.push((LogKey(at), value.to_vec()));
        }
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

/// The next commits of a space that are wanted, after a position, so many at most.
pub(crate) fn wanted_after(
    storage: &dyn Storage,
    number: u32,
    after: LogSeq,
    most: usize,
) -> Result<Vec<LogKey>, Error> {
    let (lower, upper) = (LogKey::new(number, after).0, LogKey::new(number, u64::MAX).0);
    let (mut found, mut damaged) = (Vec::new(), None);
    let (lower, upper) = (Bound::Excluded(Key::U64(lower)), Bound::Included(Key::U64(upper)));
    storage.range(&layout::STATE, lower, upper, Order::Ascending, &mut |key, value| {
        match (key, State::decode(value)) {
            (Key::U64(at), Ok(State::Wanted)) => found.push(LogKey(at)),
            (_, Err(error)) => damaged = Some(error),
            _ => {}
        }
        let enough = found.len() >= most || damaged.is_some();
        if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    damaged.map_or(Ok(found), Err)
}

pub(crate) fn load_tips(storage: &dyn Storage, number: u32) -> Result<BTreeMap<(u32, u32), Tip>, Error> {
    let (lower, upper) = (tip_key(number, 0, 0), tip_key(number, u32::MAX, u32::MAX));
    let (mut tips, mut damaged) = (BTreeMap::new(), false);
    let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
    storage.range(&layout::TIP, lower, upper, Order::Ascending, &mut |key, value| {
        let read = || {
            let Key::Bytes(key) = key else { return None };
            let mut key = Bytes(key.get(4..)?);
            let (author, branch) = (u32::from_be_bytes(key.array()?), u32::from_be_bytes(key.array()?));
            let mut value = Bytes(value);
            let (seq, at, from, after) =
                (value.number()?, value.number()?, value.number32()?, value.number()?);
            let left = from.checked_sub(1).map(|branch| Place { branch, seq: after });
            let fork = (branch > 0).then_some(left);
            Some(((author, branch), Tip { seq, at, fork }))
        };
        match read() {
            Some((key, tip)) => {
                tips.insert(key, tip);
            }
            None => damaged = true,
        }
        ControlFlow::Continue(())
    })?;
    if damaged { Err(Error::damaged("a chain tip does not decode")) } else { Ok(tips) }
}

// The forks of every author, in the order of their branches.
fn load_chains(storage: &dyn Storage, tips: &BTreeMap<(u32, u32), Tip>) -> Result<Chains, Error> {
    let mut forks: BTreeMap<u32, Vec<Option<Place>>> = BTreeMap::new();
    for ((author, _), tip) in tips {
        if let Some(fork) = tip.fork {
            forks.entry(*author).or_default().push(fork);
        }
    }
    let named = forks.into_iter().map(|(author, forks)| Ok((log::author(storage, author)?, forks)));
    Ok(Chains::restore(named.collect::<Result<Vec<_>, Error>>()?))
}

// Replays the admitted rule commits in the order in which they arrived; their signatures were checked then.
fn load_rules(
    storage: &dyn Storage,
    number: u32,
    chains: &Chains,
) -> Result<(Rules, BTreeMap<LogSeq, RuleIndex>), Error> {
    let (mut commits, mut rule_at) = (Vec::new(), BTreeMap::new());
    for (index, (at, _)) in (0..).zip(range(storage, &layout::RULE, number)?) {
        let row = log::row(storage, at)?;
        let body = log::body(storage, at)?.and_then(|body| RuleBody::decode(&body).ok());
        let body = body.ok_or_else(|| Error::damaged(format!("the rules at {} do not decode", at.seq())))?;
        commits.push(RuleCommit {
            id: row.id,
            author: log::author(storage, row.author)?,
            time: row.time,
            place: Place { branch: row.branch, seq: row.seq },
            frontier: FrontierId(row.frontier),
            operators: body.operators,
        });
        rule_at.insert(at.seq(), RuleIndex(index));
    }
    let mut frontiers = Vec::new();
    let (lower, upper) = (u64::from(number) << 32, (u64::from(number) << 32) | u64::from(u32::MAX));
    let (lower, upper) = (Bound::Included(Key::U64(lower)), Bound::Included(Key::U64(upper)));
    storage.range(&layout::FRONTIER, lower, upper, Order::Ascending, &mut |_, value| {
        let (mut bytes, mut heads) = (Bytes(value), Vec::new());
        while let Some(head) = bytes.number32() {
            heads.push(RuleIndex(head));
        }
        frontiers.push(heads);
        ControlFlow::Continue(())
    })?;
    let kept = |id: &CommitId| {
        let (_, row) = log::find(storage, number, id).ok()??;
        let author = log::author(storage, row.author).ok()?;
        Some(Kept { author, place: Place { branch: row.branch, seq: row.seq }, is_ancestor: true })
    };
    let rules = Rules::restore(commits, &frontiers, chains, &kept);
    let rules =
        rules.map_err(|refusal| Error::damaged(format!("the rules do not hold together: {refusal}")))?;
    Ok((rules, rule_at))
}

/// The strength of a commit as rows and rules know it.
pub(crate) fn strength(row: &Row) -> (Strength, Via) {
    (Strength(row.strength), row.via)
}
