//! What may be wrong with this database on this machine, and what can be done: a clock that was wrong, a key that a copy
//! uses too, peers that are not reached. It looks; changes are calls of their own.

use driftless_core::clock::Clock;
use driftless_core::commit::{DocumentBody, Kind};
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::operator::Edit;
use driftless_core::rules::{Permission, RuleOperator, Strength, Subject};
use driftless_core::sign::AuthorKey;
use driftless_core::verdict::Via;
use zeroize::Zeroizing;

use crate::database::Database;
use crate::door::judge::is_retracted;
use crate::door::write::divide;
use crate::error::Error;
use crate::keyring::user::KeyState;
use crate::state::engine::{Engine, NODE_KEY};
use crate::state::fork::Copied;
use crate::state::guard::STORE_ID;
use crate::status::SpaceStatus;
use crate::tables::layout::{self, LogSeq, State};
use crate::tables::log;
use crate::upkeep::rebuild::hold_early;

/// Commits that one commit takes back.
const RETRACTED_AT_ONCE: usize = 10_000;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// A stable word: `store`, `clock`, `author`, `permissions`, `forks`, `spaces`, `refused`, `peers`.
    pub check: &'static str,
    /// Nothing is wrong with it.
    pub ok: bool,
    /// What was found, in a sentence.
    pub detail: String,
    /// What to do about it, if something can be done.
    pub fix: Option<String>,
}

impl Check {
    /// One thing, and what was found. What is well needs no remedy.
    pub fn new(check: &'static str, ok: bool, detail: impl Into<String>, fix: &str) -> Self {
        Self { check, ok, detail: detail.into(), fix: (!ok).then(|| fix.to_owned()) }
    }
}

/// What a new author key may do in a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The key before it, an admin, granted it this as its last commit.
    Granted(Permission),
    /// Anyone has a permission there.
    Anyone(Permission),
    /// The key before it had this and could not hand it on: an admin must grant it, or a ticket be redeemed.
    Ask(Permission),
}

/// A new author key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// The key that signs from now on.
    pub author: AuthorId,
    /// The key before it. It signs no more; what it may read stays readable.
    pub former: AuthorId,
    /// What the new key may do.
    pub spaces: Vec<(SpaceId, Renewal)>,
}

impl Database {
    /// Looks at everything that may be wrong here.
    pub fn doctor(&self) -> Result<Vec<Check>, Error> {
        let bytes = self.bytes_on_disk()?;
        let mut checks = vec![Check::new("store", true, format!("opens and reads; {bytes} bytes"), "")];
        let (early, behind) = self.read(|engine| {
            let mut early = 0;
            for space in spaces(engine)? {
                for key in active(engine) {
                    early += early_commits(engine, &space, &key)?.len();
                }
            }
            let behind = engine.clock.last().is_ahead_of(engine.now());
            Ok((early, behind))
        })?;
        checks.push(match (early, behind) {
            (0, false) => Check::new("clock", true, "it agrees with the times of what is here", ""),
            (0, true) => Check::new(
                "clock",
                false,
                "it is more than 10 minutes behind times that are here: it was wrong, or is",
                "set the clock of this machine; if it is right now, `driftless doctor --fix` lets time go on from it",
            ),
            (count, _) => Check::new(
                "clock",
                false,
                format!("{count} commits of this device are more than 10 minutes ahead of it: it was wrong, or is"),
                "set the clock of this machine; if it is right now, `driftless doctor --fix` writes them again",
            ),
        });
        let status = self.status()?;
        let author = self.author()?;
        let copied = self.read(|engine| Ok(copied(engine)))?;
        let (own, others): (Vec<_>, Vec<_>) =
            copied.into_iter().partition(|(name, _)| *name == self.acting().name);
        checks.push(match own.first() {
            Some((_, Copied { author, seq, commit, .. })) => Check::new(
                "author",
                false,
                format!("another copy of this database signs with {author}: its commit {seq} is {commit}, not the one here"),
                "`driftless doctor --fix` takes a new key; `--fix --keep-key` goes on with this one if no other copy does",
            ),
            None => Check::new("author", true, format!("only this database was met under {author}"), ""),
        });
        for (name, Copied { author, .. }) in others {
            checks.push(Check::new(
                "users",
                false,
                format!("another copy of this database signs with {author}, a key of {name}"),
                &format!("`driftless --user {name} doctor --fix` takes a new key"),
            ));
        }
        checks.extend(self.missing_permissions()?);
        let mut forks = Vec::new();
        for space in &status.spaces {
            forks.extend(
                space.forked.iter().map(|fork| format!("{} in {} at {}", fork.author, space.name, fork.seq)),
            );
        }
        let detail = match forks.len() {
            0 => "nobody has signed two commits of one number".to_owned(),
            _ => format!("two commits of one number, both kept: {}", forks.join(", ")),
        };
        checks.push(Check::new("forks", true, detail, ""));
        checks.extend(status.spaces.iter().map(check_space));
        let refused = status.refused.len();
        checks.push(Check::new(
            "refused",
            refused == 0,
            format!("{refused} commits were refused"),
            "`driftless status` says why",
        ));
        checks.extend(self.check_peers()?);
        Ok(checks)
    }

    // Spaces in which a former key had a permission that no present one has.
    fn missing_permissions(&self) -> Result<Vec<Check>, Error> {
        self.read(|engine| {
            let Some(user) = engine.users.get(&engine.acting.name) else { return Ok(Vec::new()) };
            let (author, active): (AuthorId, Vec<AuthorId>) = (user.default_key(), user.active().collect());
            let former = user.keys.iter().filter(|own| own.state == KeyState::Former);
            let former: Vec<AuthorId> = former.map(|own| own.author).collect();
            let mut checks = Vec::new();
            for space in spaces(engine)? {
                let replica = engine.present(&space)?;
                let rules = &replica.rules;
                let name = replica.summary().local_name().to_owned();
                let lost = former.iter().find_map(|key| rules.member(key)).filter(|_| active.iter().all(|key| rules.member(key).is_none()));
                if let Some(standing) = lost {
                    let level = format!("{:?}", standing.permission.level()).to_lowercase();
                    checks.push(Check::new(
                        "permissions",
                        false,
                        format!("in {name} this device has had the permission to {level} by its key before this one"),
                        &format!("an admin of {name} runs `driftless grant {space} {author} {level}`, or gives you a ticket"),
                    ));
                }
            }
            Ok(checks)
        })
    }

    fn check_peers(&self) -> Result<Vec<Check>, Error> {
        let check = |peer: crate::peers::Peer| match (peer.last_sync_ms, peer.last_error.as_str()) {
            (0, "") => Check::new("peers", true, format!("{} is known and was not asked yet", peer.id), ""),
            (_, "") => Check::new("peers", true, format!("{} answered last time", peer.id), ""),
            (_, error) => Check::new(
                "peers",
                false,
                format!("the last exchange with {} failed: {error}", peer.id),
                "check that it runs and where; `driftless peer add ADDR` notes another address, `driftless sync` tries again",
            ),
        };
        Ok(self.peers()?.into_iter().map(check).collect())
    }

    /// Takes a new author key in the place of the one of this user that another copy of this database uses too, else of
    /// the default one: a copy must not go on with the keys of the other. Where the key before it is an admin, its last commit makes the new one an admin of the next weaker strength. The node key is
    /// new as well, from the next time the database is opened.
    pub fn renew_author(&self) -> Result<Renewed, Error> {
        self.change_users(renew)
    }

    /// Goes on with the author keys of this user although a copy of this database was met that uses it: right where that copy is gone
    /// or has taken a new key. If not, it will be met again.
    pub fn keep_author(&self) -> Result<(), Error> {
        self.write(|engine| {
            while let Some(author) = engine.copied_key() {
                Copied::forget(engine.storage.as_mut(), &author)?;
                engine.copied.remove(&author);
                engine.staged();
            }
            Ok(())
        })
    }

    /// After the clock of this machine was ahead and is right again: takes back what this device wrote at times that are
    /// still to come, and writes it again with the present time. Returns how many commits were taken back.
    pub fn rewrite_early(&self) -> Result<u64, Error> {
        self.write(rewrite_early)
    }
}

fn check_space(space: &SpaceStatus) -> Check {
    let counts = &space.counts;
    let detail = format!(
        "{}: {} commits, {} applied, {} held, {} void, {} wanted",
        space.name,
        counts.commits,
        counts.applied(),
        counts.held,
        counts.void,
        counts.wanted
    );
    let fix = "`driftless sync` asks peers for what is wanted; what is held takes effect when it is due";
    Check::new("spaces", counts.wanted + counts.held == 0, detail, fix)
}

// Keys of the acting user that sign.
fn active(engine: &Engine) -> Vec<AuthorId> {
    engine.users.get(&engine.acting.name).map_or_else(Vec::new, |user| user.active().collect())
}

// Keys that another copy of this database uses too, and whose they are.
fn copied(engine: &Engine) -> Vec<(String, Copied)> {
    let owner = |author: &AuthorId| engine.users.owner(author).filter(|_| engine.users.signs(author));
    let all = engine.copied.values();
    all.filter_map(|copied| Some((owner(&copied.author)?.name.clone(), copied.clone()))).collect()
}

fn spaces(engine: &Engine) -> Result<Vec<SpaceId>, Error> {
    Ok(engine.summaries()?.into_iter().map(|summary| summary.id).collect())
}

// Its errors come before the first write.
fn renew(engine: &mut Engine) -> Result<Renewed, Error> {
    let former = engine.copied_key().unwrap_or(engine.author());
    let (author, spaces) = engine.change_keys(|engine, user, keys| {
        let key = AuthorKey::from_seed(&Zeroizing::new(engine.random()));
        let author = key.id();
        user.add(author)?;
        keys.push(key);
        let copied = engine.copied.remove(&former);
        let done = engine.with_key(former, |engine| hand_on(engine, former, author));
        if done.is_err() {
            engine.copied.extend(copied.map(|copied| (former, copied)));
        }
        let spaces = done?;
        Copied::forget(engine.storage.as_mut(), &former)?;
        for own in user.keys.iter_mut().filter(|own| own.author == former) {
            own.state = KeyState::Former;
        }
        // In the place of the other, which comes right behind.
        let at = user.keys.iter().position(|own| own.author == former).unwrap_or_default();
        if let Some(moved) = user.keys.get_mut(at..) {
            moved.rotate_right(1);
        }
        Ok((author, spaces))
    })?;
    // Two databases with one node key would be one peer to everybody.
    let (node, store): ([u8; 32], [u8; 16]) = (engine.random(), engine.random());
    engine.storage.put(&layout::META, NODE_KEY.into(), &node)?;
    engine.storage.put(&layout::META, STORE_ID.into(), &store)?;
    Ok(Renewed { author, former, spaces })
}

fn hand_on(
    engine: &mut Engine,
    former: AuthorId,
    author: AuthorId,
) -> Result<Vec<(SpaceId, Renewal)>, Error> {
    let mut found = Vec::new();
    for space in spaces(engine)? {
        let rules = &engine.present(&space)?.rules;
        let Some(standing) = rules.member(&former) else { continue };
        let (permission, strength) = (standing.permission, standing.permission.strength());
        let next = Strength(strength.0.saturating_add(1));
        let renewal = match (permission, standing.via) {
            (_, Via::Anyone) => Renewal::Anyone(permission),
            (Permission::Admin(_), Via::Key) if next < Strength::WEAKEST => {
                let granted = Permission::Admin(next);
                let grant = RuleOperator::Grant {
                    subject: Subject::Key(author),
                    permission: Some(granted),
                    keep: None,
                };
                match engine.write_rules(&space, vec![grant]) {
                    Ok(_) => Renewal::Granted(granted),
                    Err(Error::NotPermitted(_)) => Renewal::Ask(permission),
                    Err(error) => return Err(error),
                }
            }
            _ => Renewal::Ask(permission),
        };
        found.push((space, renewal));
    }
    Ok(found)
}

/// Document commits of a key that are ahead of this clock and not taken back, the first one first.
fn early_commits(engine: &mut Engine, space: &SpaceId, own: &AuthorId) -> Result<Vec<LogSeq>, Error> {
    engine.present(space)?;
    let now = engine.now();
    let (storage, replica) = engine.parts(space)?;
    let Some(number) = replica.author_number(storage, own)? else { return Ok(Vec::new()) };
    let mut early = Vec::new();
    for tip in replica.tips_of(number) {
        let mut next = Some(tip.at);
        while let Some(at) = next {
            let (key, seen) = (replica.key(at), early.contains(&at));
            let row = log::row(storage, key)?;
            if seen || !row.time.is_ahead_of(now) {
                break;
            }
            let state = log::state(storage, key)?;
            let standing = matches!(state, None | Some(State::Held | State::Incomplete));
            if row.kind == Kind::Documents && standing && !is_retracted(storage, replica.number, key, &row)? {
                early.push(at);
            }
            next = row.previous;
        }
    }
    early.sort_unstable();
    Ok(early)
}

fn rewrite_early(engine: &mut Engine) -> Result<u64, Error> {
    let mut rewritten = 0;
    let mut early = Vec::new();
    let all = spaces(engine)?;
    for key in active(engine) {
        engine.alone(&key)?;
        engine.signing(&key)?;
        for space in &all {
            let commits = early_commits(engine, space, &key)?;
            if !commits.is_empty() {
                early.push((*space, key, commits));
            }
        }
    }
    // From here on time goes on from what is not ahead.
    let now = engine.now();
    for space in &all {
        if engine.present(space)?.time.is_ahead_of(now) {
            hold_early(engine, space)?;
        }
    }
    engine.clock = Clock::default();
    for replica in engine.replicas.values() {
        engine.clock.observe(replica.time);
    }
    for (space, key, commits) in early {
        rewritten += commits.len() as u64;
        let (mut ids, mut edits): (Vec<CommitId>, Vec<Edit>) = (Vec::new(), Vec::new());
        for at in commits {
            let (storage, replica) = engine.parts(&space)?;
            let at = replica.key(at);
            ids.push(log::row(storage, at)?.id);
            edits.extend(
                engine.view.body(engine.storage.as_ref(), at)?.iter().flat_map(|body| body.edits.clone()),
            );
        }
        // Only their own author takes commits back.
        engine.with_key(key, |engine| {
            for ids in ids.chunks(RETRACTED_AT_ONCE) {
                engine.write(&space, vec![DocumentBody { edits: Vec::new(), retracts: ids.to_vec() }])?;
            }
            if !edits.is_empty() {
                engine.write(&space, divide(edits)?)?;
            }
            Ok(())
        })?;
    }
    Ok(rewritten)
}
