//! Putting a damaged database right: everything in its log that still proves itself enters a new file through the one
//! door, which derives all else again. The damaged file is kept beside it.
//!
//! Nothing that does not verify is taken, and nothing is overwritten. What stands on a lost commit cannot enter before it
//! is back: it is written to a bundle, to be imported after a sync.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};

use driftless_core::commit::{Header, Kind, Received, body_hash, commit_id};
use driftless_core::filter::FieldPath;
use driftless_core::id::{AuthorId, CommitId, PeerId, SpaceId};
use driftless_core::sign::{AuthorKey, verify_commit};
use driftless_store::{Folder, Key, Order, SqliteStorage, Storage, WriterLock};

use crate::builder::Builder;
use crate::bundle;
use crate::database::Database;
use crate::door::ingest::{ingest, proof};
use crate::error::Error;
use crate::keyring::user::{Secrets, User};
use crate::peers::Peer;
use crate::state::engine::{Engine, NODE_KEY};
use crate::state::guard::{self, STORE_ID};
use crate::state::replica::Tip;
use crate::tables::layout::{self, LogKey, LogSeq, Row, SCHEMA, key};
use crate::tables::log;
use crate::tables::pack::Packed;
use crate::tables::requests;
use crate::upkeep::fsck::{self, FoundSpace, Progress, Report, all};

/// Bytes that enter at once, and commits: one durable write each.
const FRAME: usize = 1024 * 1024;
/// Nobody could have received a longer run without a signature.
const MAX_FRAME: usize = 4 * FRAME;

/// Bytes hashed per space to find single bits that flipped: some seconds. One bit of a body of 16 KiB takes half of it.
const MENDING: u64 = 4 << 30;

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// What was wrong before.
    pub found: Report,
    /// Where the damaged file is now; `None` if nothing was wrong, and nothing was done.
    pub kept: Option<PathBuf>,
    /// What became of each space.
    pub spaces: Vec<RepairedSpace>,
}

/// What a repair did with a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairedSpace {
    /// The space.
    pub space: SpaceId,
    /// Commits that are here.
    pub commits: u64,
    /// Commits that are not here any more: damaged, or standing on one that is. A sync with a peer brings them back.
    pub dropped: u64,
    /// Commits that wait for their bodies; a sync brings these too.
    pub wanted: u64,
    /// A bundle of the intact ones among the dropped. Import it after the sync.
    pub rescued: Option<PathBuf>,
    /// How many are in it.
    pub rescued_commits: u64,
    /// Own keys that have written commits which are lost here, and write in this space only when these are back.
    pub guarded: Vec<AuthorId>,
}

impl Builder {
    /// Repairs the database in `folder`, which nobody else may have open for writing. It must be closed in this process.
    /// If nothing is wrong, nothing is done.
    pub fn repair(
        mut self,
        folder: impl AsRef<Path>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Repaired, Error> {
        let path = folder.as_ref();
        let folder = Folder::open(path)?;
        let lock = folder.lock_writer(self.patience_or_default())?;
        let found = Database::fsck_folder(path, progress)?;
        if found.is_ok() {
            return Ok(Repaired { found, kept: None, spaces: Vec::new() });
        }
        let label = self.wall_clock().to_string();
        let draft = folder.repair_file(&lock)?;
        let spaces = match self.fill(&folder, &draft, &label, progress) {
            Ok(spaces) => spaces,
            Err(error) => {
                folder.repair_file(&lock)?;
                return Err(error);
            }
        };
        let kept = finish(&folder, &lock, &draft, &label, progress)?;
        Ok(Repaired { found, kept: Some(kept), spaces })
    }

    // Everything that can be saved, in a new file at `draft`.
    fn fill(
        &mut self,
        folder: &Folder,
        draft: &Path,
        label: &str,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Vec<RepairedSpace>, Error> {
        let old = SqliteStorage::open_damaged(folder.database_file(), &SCHEMA)?;
        let old = Packed::over(Box::new(old));
        let mut new = SqliteStorage::open(draft, &SCHEMA, driftless_store::Access::Create)?;
        let users = copy_local(&old, &mut new)?;
        let own = Own::of(&users);
        if new.get(&layout::META, NODE_KEY.into())?.is_none() {
            // Peers will know the database by another id.
            new.put(&layout::META, NODE_KEY.into(), &self.fresh()?)?;
        }
        new.commit()?;
        // Whose key it is does not matter here: nothing is written with it.
        let mut engine = self.engine(Box::new(new))?;
        let (found, _) = fsck::spaces(&old);
        let authors = authors(&old);
        let total = found.iter().map(|space| space.last).sum();
        let told = &mut Progress { stage: "repair", done: 0, total };
        let (mut spaces, mut dropped) = (Vec::new(), 0);
        for space in &found {
            let name = format!("rescued-{}-{label}.bundle", space.id.short());
            let mut saving = Saving::new(&old, space, &own, &authors, folder.path().join(name));
            saving.log(&mut engine, &mut |steps| {
                told.done += steps;
                progress(told);
            })?;
            let saved = saving.finish(&mut engine)?;
            dropped += saved.dropped;
            spaces.push(saved);
        }
        // A log that ends elsewhere is another log.
        if dropped > 0 || engine.storage.get(&layout::META, STORE_ID.into())?.is_none() {
            let store: [u8; 16] = engine.random();
            engine.storage.put(&layout::META, STORE_ID.into(), &store)?;
        }
        if guard::is_copy(&old).unwrap_or(false) {
            let now = engine.now();
            guard::mark_copy(engine.storage.as_mut(), now)?;
        }
        engine.staged();
        engine.flush()?;
        Ok(spaces)
    }
}

// The repaired file must be without fault before it takes the place of the other.
fn finish(
    folder: &Folder,
    lock: &WriterLock,
    draft: &Path,
    label: &str,
    progress: &mut dyn FnMut(&Progress),
) -> Result<PathBuf, Error> {
    let storage = SqliteStorage::open(draft, &SCHEMA, driftless_store::Access::Open)?;
    let report = fsck::check(&storage, None, progress);
    drop(storage);
    if let Some(problem) = report.problems.first() {
        let what = format!("the repaired database is not right either: {}", problem.what);
        folder.repair_file(lock)?;
        return Err(Error::Damaged(what));
    }
    Ok(folder.replace_database(lock, draft, label)?)
}

// What is nobody's but this database's: keys, users, peers, guards. Returns the users.
fn copy_local(old: &dyn Storage, new: &mut dyn Storage) -> Result<Vec<User>, Error> {
    let mut users = Vec::new();
    // Ranges stop where a page cannot be read; what is asked for by name may still be found.
    for name in ["node_key", "store_id"] {
        if let Ok(Some(row)) = old.get(&layout::META, name.as_bytes().into()) {
            let length = if name == "node_key" { 32 } else { 16 };
            if row.len() == length {
                new.put(&layout::META, name.as_bytes().into(), &row)?;
            }
        }
    }
    let tables =
        [&layout::META, &layout::USER, &layout::PEER, &layout::REFUSED, &layout::REQUEST, &layout::MAILBOX];
    for table in tables {
        for (key, row) in readable(old, table) {
            let Key::Bytes(name) = Key::Bytes(&key) else { continue };
            let good = match table.position {
                at if at == layout::META.position => {
                    !["node_key", "store_id", "next_numbers"].iter().any(|own| own.as_bytes() == name)
                        && name != guard::COPY
                }
                at if at == layout::USER.position => {
                    let user = User::decode(name, &row);
                    let good = user.is_some();
                    users.extend(user);
                    good
                }
                at if at == layout::PEER.position => {
                    name.try_into().is_ok_and(|id| Peer::decode(PeerId(id), &row).is_some())
                }
                at if at == layout::REQUEST.position => requests::is_whole(name, &row),
                // How far each was read and written is found out again: positions are not what they were.
                at if at == layout::MAILBOX.position => name.len() == 48,
                _ => name.try_into().is_ok_and(|hash| crate::tables::refused::decode(&hash, &row).is_some()),
            };
            if good {
                new.put(table, name.into(), &row)?;
            }
        }
    }
    if users.is_empty() {
        return Err(Error::Damaged(
            "the keys of its users cannot be read; restore a backup, or make a new database and join again"
                .into(),
        ));
    }
    Ok(users)
}

// The rows of a table keyed by bytes: from the beginning and from the end, as far as each way leads.
fn readable(old: &dyn Storage, table: &driftless_store::Table) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    for order in [Order::Ascending, Order::Descending] {
        let read = old.range(table, Bound::Unbounded, Bound::Unbounded, order, &mut |key, value| {
            if let Key::Bytes(key) = key {
                rows.insert(key.to_vec(), value.to_vec());
            }
            ControlFlow::Continue(())
        });
        if read.is_ok() {
            break;
        }
    }
    rows
}

// The keys that a local number may stand for: both tables that know it, of which one may be damaged.
fn authors(old: &dyn Storage) -> BTreeMap<u32, Vec<AuthorId>> {
    let mut authors: BTreeMap<u32, Vec<AuthorId>> = BTreeMap::new();
    for table in [&layout::AUTHOR, &layout::AUTHOR_ID] {
        // What can be read of a table that is damaged is taken.
        drop(all(old, table, &mut |key, row| {
            let (number, id) = match key {
                Key::U64(number) => (u32::try_from(number).ok(), row.try_into().ok()),
                Key::Bytes(id) => (row.try_into().ok().map(u32::from_be_bytes), id.try_into().ok()),
            };
            if let (Some(number), Some(id)) = (number, id) {
                authors.entry(number).or_default().push(AuthorId(id));
            }
            ControlFlow::Continue(())
        }));
    }
    for candidates in authors.values_mut() {
        candidates.dedup();
    }
    authors
}

// The keys of all users: those that sign, and of these the secrets that no password hides.
struct Own {
    signing: Vec<AuthorId>,
    secrets: Vec<AuthorKey>,
}

impl Own {
    fn of(users: &[User]) -> Self {
        let signing = users.iter().flat_map(User::active).collect();
        let plain = users.iter().filter_map(|user| match &user.secrets {
            Secrets::Plain(seeds) => Some(seeds.keys()),
            Secrets::Sealed(_) => None,
        });
        Self { signing, secrets: plain.flatten().collect() }
    }
}

// One space on its way from the damaged file to the new one.
struct Saving<'s> {
    old: &'s dyn Storage,
    space: &'s FoundSpace,
    own: &'s Own,
    authors: &'s BTreeMap<u32, Vec<AuthorId>>,
    frame: Vec<Received>,
    size: usize,
    // Commits of the frame that nothing vouches for yet.
    unvouched: BTreeSet<CommitId>,
    // Ids of rows that name themselves wrongly: what their header says.
    ids: HashMap<LogSeq, CommitId>,
    rows: u64,
    // Bytes that may still be hashed to find single bits.
    mending: u64,
    // The largest number seen of each own key.
    seen: BTreeMap<AuthorId, u64>,
    rescue: Rescue,
}

impl<'s> Saving<'s> {
    fn new(
        old: &'s dyn Storage,
        space: &'s FoundSpace,
        own: &'s Own,
        authors: &'s BTreeMap<u32, Vec<AuthorId>>,
        rescue: PathBuf,
    ) -> Self {
        Self {
            authors,
            old,
            space,
            own,
            frame: Vec::new(),
            size: 0,
            unvouched: BTreeSet::new(),
            ids: HashMap::new(),
            rows: 0,
            mending: MENDING,
            seen: BTreeMap::new(),
            rescue: Rescue { path: rescue, file: None, commits: 0 },
        }
    }

    fn log(&mut self, engine: &mut Engine, step: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let mut cut = false;
        for at in 1..=self.space.last {
            // What stands on a lost commit goes into frames of its own: it would vouch for what is before, and not enter.
            cut |= !self.commit(LogKey::new(self.space.number, at));
            let ends = (self.size >= FRAME || cut) && self.unvouched.is_empty();
            if ends || self.size >= MAX_FRAME {
                cut = false;
                self.enter(engine)?;
            }
            if at.is_multiple_of(256) {
                step(256);
            }
        }
        self.enter(engine)
    }

    // Takes what is left of a commit; `false` if its header cannot be made again.
    fn commit(&mut self, at: LogKey) -> bool {
        let row = log::row(self.old, at);
        // One that is not even there is a lost one, if the log is said to go so far.
        let said = self.space.summary.as_ref().map_or(0, |summary| summary.next);
        let there = matches!(self.old.get(&layout::LOG, at.0.into()), Ok(Some(_)));
        self.rows += u64::from(there || at.seq() < said);
        let Ok(row) = row else { return false };
        let mut body = log::body(self.old, at).ok().flatten();
        if let Some(body) = &mut body {
            self.mend(at, &row, body);
        }
        let Some(mut header) = self.header(at, &row, body.as_deref()) else { return false };
        self.correct(&row, &mut header);
        let bytes = header.encode();
        if Header::decode(&bytes).is_err() {
            return false;
        }
        let id = commit_id(&bytes);
        let own = self.own.secrets.iter().find(|key| key.id() == header.author);
        let signature = row.signature.map(|(signature, _)| signature);
        let mut signature = signature.filter(|signature| verify_commit(&header.author, &id, signature));
        // A commit of our own that is whole can be signed again: the same key signs the same way.
        if let (None, Some(key), true) = (signature, own, id == row.id) {
            signature = Some(key.sign_commit(&id));
        }
        if id != row.id {
            // Either its id is damaged, which a signature shows, or something that the id stands for.
            if signature.is_none() {
                return false;
            }
            self.ids.insert(at.seq(), id);
        }
        let fits =
            |body: &Vec<u8>| body.len() == header.body_length as usize && body_hash(body) == header.body_hash;
        let body = body.filter(fits);
        if body.is_none() && row.kind == Kind::Rules {
            return false;
        }
        if self.own.signing.contains(&header.author) {
            let seen = self.seen.entry(header.author).or_default();
            *seen = (*seen).max(header.seq);
        }
        if let Some(previous) = header.previous {
            self.unvouched.remove(&previous);
        }
        if signature.is_none() {
            self.unvouched.insert(id);
        }
        self.size += bytes.len() + body.as_ref().map_or(0, Vec::len) + 64;
        self.frame.push(Received { header: bytes, signature, body });
        if signature.is_none() {
            // What proves it was refused before, and will be again.
            let proof = proof(self.old, at).unwrap_or_default();
            if proof.iter().any(|received| received.signature.is_some()) {
                self.unvouched.remove(&id);
            }
            self.frame.extend(proof);
        }
        true
    }

    // The commonest damage of all is one bit. Its commit says whether the body with another bit is the one that was signed.
    fn mend(&mut self, at: LogKey, row: &Row, body: &mut [u8]) {
        let Some(header) = self.header(at, row, Some(body)) else { return };
        let fits = |body: &[u8]| {
            let hash = body_hash(body);
            match row.body_hash {
                Some(signed) => hash == signed,
                None => commit_id(&Header { body_hash: hash, ..header.clone() }.encode()) == row.id,
            }
        };
        // Each bit costs a hash of the whole body.
        let cost = (body.len() as u64).saturating_mul(body.len() as u64).saturating_mul(8);
        if fits(body) || cost > self.mending {
            return;
        }
        self.mending -= cost;
        for bit in 0..body.len() * 8 {
            let flip = |body: &mut [u8]| {
                body.iter_mut().skip(bit / 8).take(1).for_each(|byte| *byte ^= 1 << (bit % 8))
            };
            flip(body);
            if fits(body) {
                return;
            }
            flip(body);
        }
    }

    // The header of a row: of the keys that its author may have, with the one that fits its id.
    fn header(&self, at: LogKey, row: &Row, body: Option<&[u8]>) -> Option<Header> {
        let candidates = self.authors.get(&row.author)?;
        let header =
            |author: &AuthorId| log::header_of(self.old, &self.space.id, at, row, body, *author).ok();
        let fits = |header: &Header| commit_id(&header.encode()) == row.id;
        let fitting = candidates.iter().filter_map(header).find(fits);
        fitting.or_else(|| candidates.iter().find_map(header))
    }

    // Parents are named by position; one whose row names itself wrongly is named by what its header says.
    fn correct(&self, row: &Row, header: &mut Header) {
        if self.ids.is_empty() {
            return;
        }
        if let Some(id) = row.previous.and_then(|previous| self.ids.get(&previous)) {
            header.previous = Some(*id);
        }
        if row.parents.iter().any(|parent| self.ids.contains_key(parent)) {
            let id = |at: &LogSeq| match self.ids.get(at) {
                Some(id) => Some(*id),
                None => log::row(self.old, LogKey::new(self.space.number, *at)).ok().map(|row| row.id),
            };
            header.parents = row.parents.iter().filter_map(id).collect();
            header.parents.sort();
        }
    }

    // A frame goes through the door. What does not get in for want of parents is rescued.
    fn enter(&mut self, engine: &mut Engine) -> Result<(), Error> {
        self.size = 0;
        self.unvouched.clear();
        let taken = ingest(engine, std::mem::take(&mut self.frame))?;
        engine.flush()?;
        let early: Vec<Received> = taken.early.iter().map(|commit| commit.to_received()).collect();
        self.rescue.frame(&early)
    }

    fn finish(mut self, engine: &mut Engine) -> Result<RepairedSpace, Error> {
        let space = self.space.id;
        self.rescue.finish()?;
        let mut saved = RepairedSpace {
            space,
            commits: 0,
            dropped: self.rows,
            wanted: 0,
            rescued: self.rescue.file.is_some().then(|| self.rescue.path.clone()),
            rescued_commits: self.rescue.commits,
            guarded: Vec::new(),
        };
        if engine.load(&space)? {
            let (_, replica) = engine.parts(&space)?;
            saved.commits = replica.counts.commits;
            saved.dropped = self.rows.saturating_sub(saved.commits);
            saved.wanted = replica.counts.wanted;
            replica.alias = self.space.summary.as_ref().and_then(|summary| summary.alias.clone());
            replica.changed = true;
            engine.staged();
            self.indexes(engine)?;
        }
        if saved.dropped > 0 {
            for key in &self.own.signing {
                if let Some(seq) = self.lost(engine, key)? {
                    guard::note_lost(engine.storage.as_mut(), &space, key, seq)?;
                    saved.guarded.push(*key);
                }
            }
        }
        engine.staged();
        engine.flush()?;
        Ok(saved)
    }

    // How far the chain of an own key went, if that is further than what is here.
    fn lost(&self, engine: &mut Engine, author: &AuthorId) -> Result<Option<u64>, Error> {
        let mut here = 0;
        if engine.load(&self.space.id)? {
            let (storage, replica) = engine.parts(&self.space.id)?;
            let number = replica.author_number(storage, author)?;
            here = number.and_then(|number| replica.last_of(number)).map_or(0, |tip| tip.seq);
        }
        let seen = self.seen.get(author).copied().unwrap_or(0);
        let written = match self.tip(author) {
            Ok(tip) if tip >= seen => tip,
            // Nobody can tell what the rows said that are lost.
            _ => guard::UNKNOWN,
        };
        Ok((written > here).then_some(written))
    }

    // The number of the last commit of an author, as the damaged file has it beside the log.
    fn tip(&self, author: &AuthorId) -> Result<u64, Error> {
        let Some(number) = log::known_author(self.old, author)? else { return Ok(0) };
        let tips = crate::state::replica::load_tips(self.old, self.space.number)?;
        let tips = tips.range((number, 0)..=(number, u32::MAX));
        Ok(tips.map(|(_, Tip { seq, .. })| *seq).max().unwrap_or(0))
    }

    // Which indexes and schemas there are is known only here.
    fn indexes(&self, engine: &mut Engine) -> Result<(), Error> {
        let number = engine.parts(&self.space.id)?.1.number;
        let from = self.space.number.to_be_bytes();
        for (name, row) in readable(self.old, &layout::COLLECTION) {
            let name = name.strip_prefix(from.as_slice()).and_then(|name| std::str::from_utf8(name).ok());
            let (Some(name), Ok(collection)) = (name, crate::tables::collections::number(&row)) else {
                continue;
            };
            let mut paths: Vec<FieldPath> = Vec::new();
            let (lower, upper) = (key([collection]), key([collection.saturating_add(1)]));
            let (lower, upper) = (Bound::Included(Key::Bytes(&lower)), Bound::Excluded(Key::Bytes(&upper)));
            let read = self.old.range(&layout::INDEX, lower, upper, Order::Ascending, &mut |key, _| {
                let Key::Bytes(key) = key else { return ControlFlow::Break(()) };
                let path = key.get(8..).and_then(|path| std::str::from_utf8(path).ok());
                paths.extend(path.and_then(|path| path.parse().ok()));
                ControlFlow::Continue(())
            });
            // What could be read of it is taken.
            drop(read);
            engine.write_view()?;
            for path in paths {
                engine.collections.create_index(engine.storage.as_mut(), number, name, path)?;
            }
            engine.view.clear_clean();
            let schema =
                self.old.get(&layout::COLLECTION_SCHEMA, key([collection]).as_slice().into()).ok().flatten();
            if let Some(schema) = schema.and_then(|row| crate::tables::collections::read_schema(&row).ok()) {
                engine.set_schema(number, name, Some(&schema))?;
            }
        }
        Ok(())
    }
}

// A bundle of commits that cannot enter yet, made when there is a first one.
struct Rescue {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    commits: u64,
}

impl Rescue {
    fn frame(&mut self, commits: &[Received]) -> Result<(), Error> {
        if commits.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut options = std::fs::OpenOptions::new();
                options.write(true).create_new(true);
                // It holds what the database held.
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let mut file = BufWriter::new(options.open(&self.path)?);
                bundle::write_head(&mut file)?;
                self.file.insert(file)
            }
        };
        self.commits += commits.len() as u64;
        Ok(bundle::write_frame(file, commits)?)
    }

    fn finish(&mut self) -> Result<(), Error> {
        if let Some(file) = &mut self.file {
            bundle::write_end(file)?;
            file.flush()?;
            file.get_ref().sync_all()?;
        }
        Ok(())
    }
}
