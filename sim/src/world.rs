//! The replicas of a run and what may happen to them, one step at a time, drawn from the seed.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{
    AuthorId, CommitId, DocumentId, Error, Insert, LogQuery, Map, Permission, Space, SpaceId, Strength,
    Subject, Written, operators_from_json,
};
use driftless_core::commit::{Received, commit_id};
use tempfile::TempDir;

use crate::dice::Dice;
use crate::hostile::Hostile;
use crate::peer::{COLLECTIONS, Fault, Home, Peer, START, fault, is_refusal};
use crate::pieces;
use crate::reference::Expected;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
/// Documents of each collection: few, so that edits meet.
const DOCUMENTS: usize = 4;
/// Replicas at most, copies included.
const MOST_PEERS: usize = 7;

/// Everything of one run.
#[derive(Debug)]
pub struct World {
    /// The choices to come.
    pub dice: Dice,
    /// The replicas.
    pub peers: Vec<Peer>,
    /// The space that all of them share.
    pub space: SpaceId,
    /// Every body that was seen anywhere: those of commits without effect do not travel.
    pub bodies: BTreeMap<CommitId, Vec<u8>>,
    /// Commits that honest replicas wrote.
    pub honest: BTreeSet<CommitId>,
    hostile: Hostile,
    trace: blake3::Hasher,
    folder: TempDir,
    made: u64,
}

impl World {
    /// Three to six replicas that share a space of which they know everything.
    pub fn new(seed: u64) -> Result<Self, Fault> {
        let mut dice = Dice::new(seed);
        let folder = tempfile::tempdir().map_err(fault("a folder"))?;
        let count = 3 + dice.below(4);
        let on_disk = dice.once_in(3);
        let mut peers = Vec::new();
        for at in 0..count as u64 {
            let home = if on_disk && at % 2 == 1 {
                Home::Folder(folder.path().join(at.to_string()))
            } else {
                Home::Memory
            };
            peers.push(Peer::new(seed << 8 | at, home, START)?);
        }
        let first = peers.first().ok_or("no replicas")?.database()?.clone();
        let space = first.create_space("world").map_err(fault("founding"))?;
        let hostile = Hostile::new(dice.bytes(), space.id());
        let mut authors: Vec<AuthorId> = Vec::new();
        for peer in peers.iter().skip(1) {
            authors.push(peer.database()?.author().map_err(fault("an author"))?);
        }
        for (at, author) in (1..).zip(authors) {
            let strength = Strength(if at < 3 { at } else { 10 + at });
            let permission = if at < 3 { Permission::Admin(strength) } else { Permission::Write(strength) };
            space.grant(Subject::Key(author), permission).map_err(fault("a first grant"))?;
        }
        let strength = Strength(2 + dice.below(8) as u32);
        let permission =
            if dice.once_in(2) { Permission::Admin(strength) } else { Permission::Write(strength) };
        space.grant(Subject::Key(hostile.author()), permission).map_err(fault("a first grant"))?;
        let mut world = Self {
            dice,
            peers,
            space: space.id(),
            bodies: BTreeMap::new(),
            honest: BTreeSet::new(),
            hostile,
            trace: blake3::Hasher::new(),
            folder,
            made: 100,
        };
        let bundle = world.export(0)?;
        for peer in &world.peers {
            peer.import(&bundle)?;
        }
        Ok(world)
    }

    /// What happened so far, as a short text.
    pub fn trace(&self) -> String {
        self.trace.finalize().to_hex()[..32].to_owned()
    }

    /// Adds a line to the trace. `DRIFTLESS_SIM_TRACE` shows it.
    pub fn note(&mut self, line: &str) {
        self.trace.update(line.as_bytes());
        self.trace.update(b"\n");
        if std::env::var_os("DRIFTLESS_SIM_TRACE").is_some() {
            eprintln!("{line}");
        }
    }

    /// One replica.
    pub fn peer(&self, at: usize) -> Result<&Peer, Fault> {
        self.peers.get(at).ok_or_else(|| "no such replica".into())
    }

    /// Everything that a replica would send; remembers the bodies.
    pub fn export(&mut self, from: usize) -> Result<Vec<u8>, Fault> {
        let bundle = self.peer(from)?.export(&self.space)?;
        for commit in pieces::split(&bundle)? {
            if let Some(body) = commit.body {
                self.bodies.entry(commit_id(&commit.header)).or_insert(body);
            }
        }
        Ok(bundle)
    }

    /// Whatever comes next.
    pub fn step(&mut self) -> Result<(), Fault> {
        let at = self.dice.below(self.peers.len());
        let clock = self.peer(at)?.clock.clone();
        clock.set(clock.now() + self.dice.below(4) as u64 * 10);
        match self.dice.below(100) {
            0..34 => self.write(at),
            34..63 => self.exchange(at),
            63..70 => self.turn_clock(at),
            70..77 => self.grant(at),
            77..90 => self.forge(at),
            90..93 => self.restart(at),
            93..96 => self.copy(at),
            96 => self.write_much(at),
            97 => self.observe(at),
            _ => self.rebuild(at),
        }
    }

    fn document(&mut self) -> DocumentId {
        DocumentId::from(self.dice.below(DOCUMENTS) as i64)
    }

    fn write(&mut self, at: usize) -> Result<(), Fault> {
        let space = self.peer(at)?.space(&self.space)?;
        let name = *self.dice.pick(&COLLECTIONS).ok_or("no collection")?;
        let collection = space.collection(name).map_err(fault("a collection"))?;
        let id = self.document();
        let n = self.dice.below(1000);
        let fields = |text: String| Map::from_json(&text).map_err(fault("fields"));
        let set = |text: String| operators_from_json(&text).map_err(fault("operators"));
        let mut whole = None;
        let (what, done) = match self.dice.below(12) {
            0 | 1 => {
                let fields = fields(format!(r#"{{"a": {n}, "log": [{n}]}}"#))?;
                let insert = Insert { id: Some(id.clone()), parent: None };
                ("insert", collection.insert_with(fields, insert))
            }
            2 | 3 => {
                let fields = fields(format!(r#"{{"a": {n}, "b": {{"c": {}}}, "n": 0}}"#, n % 7))?;
                whole = Some(fields.clone());
                ("save", collection.save(&id, fields))
            }
            4 | 5 => ("delete", collection.delete(&id)),
            6 => ("restore", collection.restore(&id)),
            7 => ("set", collection.edit(&id, set(format!(r#"{{"$set": {{"a": {n}, "b.c": {n}}}}}"#))?)),
            8 => {
                let text = format!(r#"{{"$inc": {{"n": {n}}}, "$unset": {{"b": true}}}}"#);
                ("increment", collection.edit(&id, set(text)?))
            }
            9 => {
                let text = format!(r#"{{"$push": {{"log": {n}}}, "$pull": {{"set": {}}}}}"#, n % 3);
                ("push", collection.edit(&id, set(text)?))
            }
            10 => {
                let text = format!(r#"{{"$addToSet": {{"set": {}}}}}"#, n % 3);
                ("add", collection.edit(&id, set(text)?))
            }
            _ => ("transaction", self.transaction(&space)),
        };
        let commit = self.accept(at, &format!("{what} {name} {id}"), done)?;
        let (Some(commit), false) = (commit, what == "transaction") else { return Ok(()) };
        let newest =
            space.log(LogQuery { limit: Some(1), ..LogQuery::default() }).map_err(fault("the log"))?;
        let state = newest.first().filter(|line| line.commit == commit).map(|line| line.state);
        match state {
            // A rule commit that nobody may build on yet can take the right away already.
            Some("void") => Ok(()),
            Some("applied") => {
                let now = collection.get(&id).map_err(fault("a document"))?.map(|document| document.fields);
                if whole.is_some() && now != whole {
                    return Err(format!("what was saved is not what is there: {whole:?}, {now:?}"));
                }
                Ok(())
            }
            other => Err(format!("a commit of our own is {other:?} right after it was written")),
        }
    }

    // Several edits, some of them of one document, in one commit.
    fn transaction(&mut self, space: &Space) -> Result<Written, Error> {
        let mut transaction = space.database().transaction();
        let mut last = DocumentId::from(0);
        for _ in 0..2 + self.dice.below(4) {
            let collection = space.collection(self.dice.pick(&COLLECTIONS).copied().unwrap_or("notes"))?;
            last = self.document();
            let n = self.dice.below(100);
            match self.dice.below(4) {
                0 => {
                    let fields = Map::from_json(&format!(r#"{{"t": {n}}}"#))?;
                    transaction.save(&collection, &last, fields).map(drop)?;
                }
                1 if transaction.get(&collection, &last)?.is_some() => {
                    transaction.delete(&collection, &last)?;
                }
                _ => {
                    if transaction.get(&collection, &last)?.is_some() {
                        let operators = operators_from_json(&format!(r#"{{"$push": {{"log": {n}}}}}"#))?;
                        transaction.edit(&collection, &last, operators)?;
                    }
                }
            }
        }
        let commit = transaction.commit()?.pop().map(|(_, commit)| commit);
        Ok(Written { id: last, commit })
    }

    // More than fits into one commit.
    fn write_much(&mut self, at: usize) -> Result<(), Fault> {
        let space = self.peer(at)?.space(&self.space)?;
        let collection = space.collection("notes").map_err(fault("a collection"))?;
        let mut transaction = space.database().transaction();
        let done = (|| {
            for (n, length) in [(0, 600_000), (1, 600_000), (2, 10), (0, 10), (1, 10)] {
                let fields = Map::from_json(&format!(r#"{{"a": "{}"}}"#, "x".repeat(length)))?;
                transaction.save(&collection, &DocumentId::from(n), fields)?;
            }
            let commit = transaction.commit()?.pop().map(|(_, commit)| commit);
            Ok(Written { id: DocumentId::from(0), commit })
        })();
        self.accept(at, "a large transaction", done).map(drop)
    }

    // A commit was acknowledged, or there was a reason that a user understands.
    fn accept(
        &mut self,
        at: usize,
        what: &str,
        done: Result<Written, Error>,
    ) -> Result<Option<CommitId>, Fault> {
        match done {
            Ok(written) => {
                self.note(&format!("{at}: {what}: {:?}", written.commit));
                if let (Some(commit), Some(peer)) = (written.commit, self.peers.get_mut(at)) {
                    peer.written.push(commit);
                    self.honest.insert(commit);
                }
                Ok(written.commit)
            }
            Err(error @ Error::AuthorForked { .. }) => {
                self.note(&format!("{at}: {what}: {error}"));
                self.doctor(at).map(|()| None)
            }
            Err(error) if is_refusal(&error) => {
                self.note(&format!("{at}: {what}: {error}"));
                Ok(None)
            }
            Err(error) => Err(format!("{what} at {at}: {error}")),
        }
    }

    // A copy that met the other one takes a new key, or believes that it is the only one left.
    fn doctor(&mut self, at: usize) -> Result<(), Fault> {
        let before = self.peer(at)?.space(&self.space)?.summary().map_err(fault("a space"))?.commits;
        let database = self.peer(at)?.database()?.clone();
        if self.dice.once_in(3) {
            self.note(&format!("{at}: keeps its key"));
            return database.keep_author().map_err(fault("keeping a key"));
        }
        let renewed = database.renew_author().map_err(fault("a new key"))?;
        self.note(&format!("{at}: {renewed:?}"));
        let space = self.peer(at)?.space(&self.space)?;
        let now = space.summary().map_err(fault("a space"))?.commits;
        let written = LogQuery { limit: Some((now - before) as usize), ..LogQuery::default() };
        let written = space.log(written).map_err(fault("the log"))?;
        self.honest.extend(written.iter().map(|line| line.commit));
        Ok(())
    }

    fn grant(&mut self, at: usize) -> Result<(), Fault> {
        let space = self.peer(at)?.space(&self.space)?;
        let authors = self.authors()?;
        let subject = match self.dice.pick(&authors) {
            Some(author) if !self.dice.once_in(10) => Subject::Key(*author),
            _ => Subject::Anyone,
        };
        let strength = Strength(1 + self.dice.below(12) as u32);
        let permission = match self.dice.below(7) {
            0 => None,
            1 => Some(Permission::Read),
            2 | 3 => Some(Permission::Write(strength)),
            _ => Some(Permission::Admin(strength)),
        };
        let done = match permission {
            Some(permission) => space.grant(subject, permission),
            None => space.revoke(subject),
        };
        let written = done.map(|commit| Written { id: DocumentId::from(0), commit: Some(commit) });
        self.accept(at, &format!("grant {subject:?} {permission:?}"), written).map(drop)
    }

    fn authors(&self) -> Result<Vec<AuthorId>, Fault> {
        let own = |peer: &Peer| peer.database()?.author().map_err(fault("an author"));
        let mut authors = self.peers.iter().map(own).collect::<Result<Vec<_>, _>>()?;
        authors.push(self.hostile.author());
        Ok(authors)
    }

    fn turn_clock(&mut self, at: usize) -> Result<(), Fault> {
        let clock = self.peer(at)?.clock.clone();
        let now = clock.now();
        let then = match self.dice.below(4) {
            0 => now + DAY * (1 + self.dice.below(3) as u64),
            1 => now + MINUTE * self.dice.below(120) as u64,
            2 => now.saturating_sub(MINUTE * self.dice.below(40) as u64),
            // Back to what the others have.
            _ => self.peers.iter().map(|peer| peer.clock.now()).max().unwrap_or(now),
        };
        clock.set(then);
        self.note(&format!("{at}: clock {now} -> {then}"));
        Ok(())
    }

    fn exchange(&mut self, from: usize) -> Result<(), Fault> {
        let to = self.dice.below(self.peers.len());
        if from == to {
            return Ok(());
        }
        let mut bundle = self.export(from)?;
        let how = match self.dice.below(8) {
            0..3 => "whole",
            3 => {
                bundle.truncate(18 + self.dice.below(bundle.len() - 18));
                "cut"
            }
            4 | 5 => {
                let mut commits = pieces::split(&bundle)?;
                let more = self.dice.below(5);
                for _ in 0..more {
                    commits.extend(self.dice.pick(&commits).cloned());
                }
                self.dice.shuffle(&mut commits);
                bundle = pieces::join(&commits, 1 + self.dice.below(10));
                "shuffled"
            }
            6 => {
                let commits = pieces::split(&bundle)?;
                let first = self.dice.below(commits.len());
                let some: Vec<&Received> = commits.iter().skip(first).take(1 + self.dice.below(8)).collect();
                bundle = pieces::join(some, 1);
                "a piece"
            }
            _ => {
                let bit = self.dice.below(8);
                let place = 17 + self.dice.below(bundle.len() - 17);
                if let Some(byte) = bundle.get_mut(place) {
                    *byte ^= 1 << bit;
                }
                "damaged"
            }
        };
        let done = self.peer(to)?.import(&bundle)?;
        self.note(&format!("{from} -> {to}: {how}: {done:?}"));
        self.compare(from, to)
    }

    fn forge(&mut self, at: usize) -> Result<(), Fault> {
        let known = self.peer(at)?.known(&self.space)?;
        let authors = self.authors()?;
        let now = self.peer(at)?.clock.now();
        let (what, commits) = self.hostile.commits(&mut self.dice, &known, &authors, now);
        for commit in &commits {
            if let Some(body) = &commit.body {
                self.bodies.entry(commit_id(&commit.header)).or_insert_with(|| body.clone());
            }
        }
        let done = self.peer(at)?.import(&pieces::join(&commits, 1))?;
        self.note(&format!("{at}: hostile {what}: {done:?}"));
        Ok(())
    }

    fn restart(&mut self, at: usize) -> Result<(), Fault> {
        let before = self.peer(at)?.digest(&self.space)?;
        let status = self.peer(at)?.status(&self.space)?;
        let peer = self.peers.get_mut(at).ok_or("no such replica")?;
        if !peer.restart()? {
            return Ok(());
        }
        let (after, again) = (self.peer(at)?.digest(&self.space)?, self.peer(at)?.status(&self.space)?);
        self.note(&format!("{at}: restart"));
        if before != after || status != again {
            return Err(format!("{at} is not the same after it was opened again"));
        }
        let log = self.peer(at)?.log(&self.space)?;
        let here: BTreeSet<CommitId> = log.iter().map(|commit| commit_id(&commit.header)).collect();
        match self.peer(at)?.written.iter().find(|commit| !here.contains(commit)) {
            Some(lost) => Err(format!("{at} has lost {lost}, which it acknowledged")),
            None => Ok(()),
        }
    }

    fn copy(&mut self, at: usize) -> Result<(), Fault> {
        if self.peers.len() >= MOST_PEERS {
            return Ok(());
        }
        self.made += 1;
        let (to, seed) = (self.folder.path().join(self.made.to_string()), self.dice.bits());
        let peer = self.peers.get_mut(at).ok_or("no such replica")?;
        if let Some(copy) = peer.copy(&to, seed)? {
            self.peers.push(copy);
            self.note(&format!("{at}: copied, keys and all"));
        }
        Ok(())
    }

    fn rebuild(&mut self, at: usize) -> Result<(), Fault> {
        let before = self.peer(at)?.digest(&self.space)?;
        let status = self.peer(at)?.status(&self.space)?;
        let after = self.peer(at)?.space(&self.space)?.rebuild().map_err(fault("a rebuild"))?;
        self.note(&format!("{at}: rebuild"));
        if before != after || status != self.peer(at)?.status(&self.space)? {
            return Err(format!("{at} folded from its log is another: {before:?}, {after:?}"));
        }
        Ok(())
    }

    // Somebody new takes everything, in one order or another.
    fn observe(&mut self, at: usize) -> Result<(), Fault> {
        let now = self.peer(at)?.clock.now();
        let observer = Peer::new(self.dice.bits(), Home::Memory, now)?;
        let mut commits = self.peer(at)?.log(&self.space)?;
        if self.dice.once_in(2)
            && let Some((_, others)) = commits.split_first_mut()
        {
            self.dice.shuffle(others);
        }
        observer.import(&pieces::join(&commits, 20))?;
        // Only so much waits for its parents; the rest is refused and comes again.
        observer.import(&self.export(at)?)?;
        self.note(&format!("{at}: observed"));
        let (here, there) = (self.peer(at)?.digest(&self.space)?, observer.digest(&self.space)?);
        if here.heads != there.heads {
            return Err(format!("a new replica did not take everything that {at} has"));
        }
        same_view(self.peer(at)?, &observer, &self.space)
    }

    fn compare(&self, a: usize, b: usize) -> Result<(), Fault> {
        same_view(self.peer(a)?, self.peer(b)?, &self.space)
    }
}

/// Two replicas with the same heads, of which none waits for a clock or a body, show the same.
pub fn same_view(a: &Peer, b: &Peer, space: &SpaceId) -> Result<(), Fault> {
    let (one, other) = (a.digest(space)?, b.digest(space)?);
    let waits = |peer: &Peer| -> Result<bool, Fault> {
        let counts = peer.status(space)?.counts;
        Ok(counts.held + counts.wanted > 0)
    };
    if one == other || one.heads != other.heads || waits(a)? || waits(b)? {
        return Ok(());
    }
    Err(format!("equal heads, and not the same documents: {one:?}, {other:?}"))
}

/// A replica shows what the reference computes.
pub fn agrees(peer: &Peer, space: &SpaceId, expected: &Expected) -> Result<(), Fault> {
    let status = peer.status(space)?;
    let documents = peer.documents(space)?;
    if documents != expected.documents {
        for (at, document) in &expected.documents {
            if documents.get(at) != Some(document) {
                return Err(format!("{at:?} is {:?}, not {document:?}", documents.get(at)));
            }
        }
        let more = documents.keys().find(|at| !expected.documents.contains_key(*at));
        return Err(format!("{more:?} should not be there"));
    }
    if status.documents != documents.len() as u64 {
        return Err(format!("{} documents are counted, {} are there", status.documents, documents.len()));
    }
    if status.counts != expected.counts {
        return Err(format!("states are counted as {:?}, not {:?}", status.counts, expected.counts));
    }
    if status.forked.iter().map(|fork| fork.author).collect::<BTreeSet<_>>() != expected.forked {
        return Err(format!("forked are {:?}, not {:?}", status.forked, expected.forked));
    }
    Ok(())
}
