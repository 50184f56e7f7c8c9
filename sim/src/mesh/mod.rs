//! Databases that sync by themselves over bad lines, in virtual time: the real database, session and plan, and weather
//! drawn from the seed. One event after the other; nothing here waits.

mod life;
mod weather;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driftless::plan::{Action, Plan, Unsent};
use driftless::{
    AuthorId, Changes, CommitId, DocumentId, DrivenSession, Error, Event as Told, Map, PeerId, Permission,
    Space, SpaceId, Strength, Subject, operators_from_json,
};
use driftless_core::session::{Event, Role};

use crate::dice::Dice;
use crate::disk::Disk;
use crate::hostile::Hostile;
use crate::line::{self, Quality, Sent, Way};
use crate::peer::{COLLECTIONS, Fault, Home, Peer, START, fault, is_refusal};
use crate::pieces;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Nothing that was acknowledged may take longer to reach everybody, once all lines are good again.
const PATIENCE: u64 = 10 * MINUTE;
/// What is in every document of the space that not everybody may read.
const MARKER: &[u8] = b"only-for-some";
const DOCUMENTS: usize = 4;
const MOST: usize = 7;

/// What a run did, and how often each fault did something.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// A digest of everything that happened.
    pub trace: String,
    /// Faults by name.
    pub faults: BTreeMap<&'static str, u64>,
}

/// A database, what it does by itself, and what its owner wrote.
#[derive(Debug)]
pub struct Member {
    /// The database.
    pub peer: Peer,
    changes: Option<Changes>,
    plan: Plan,
    // What survives a crash of what the plan knew.
    kept: BTreeMap<PeerId, Unsent>,
    // Written and not yet durable.
    staged: Vec<CommitId>,
    others: Vec<usize>,
    // How its clock differs from the time of the run, and by how many parts in 1,000 it runs faster.
    offset: i64,
    drift: i64,
    /// Whether it may read the second space.
    pub inside: bool,
    frozen: bool,
    waking: Option<u64>,
    backup: Option<(Disk, Vec<CommitId>)>,
}

#[derive(Debug)]
struct Connection {
    ends: [usize; 2],
    sides: [DrivenSession; 2],
    // What goes to the side of that number.
    ways: [Way; 2],
    // Messages so far.
    said: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// Something happens that no database asked for.
    Weather,
    /// A plan has something due.
    Wake(usize),
    /// A call for a peer ends.
    Dialed(usize, usize),
    /// A message arrives.
    Arrive(u64, usize),
    /// A connection is found to be dead.
    Dead(u64),
    /// A crashed member comes back.
    Revive(usize),
    /// A partition heals.
    Heal(usize, usize),
    /// A frozen process goes on.
    Thaw(usize),
    /// What was written becomes durable.
    Flush(usize),
}

/// Everything of one run.
#[derive(Debug)]
pub struct Mesh {
    dice: Dice,
    now: u64,
    number: u64,
    agenda: BTreeSet<(u64, u64, What)>,
    /// The databases.
    pub members: Vec<Member>,
    connections: BTreeMap<u64, Connection>,
    // From whom nothing reaches whom.
    cut: BTreeSet<(usize, usize)>,
    quality: Quality,
    /// The space of all, and that of some.
    pub spaces: [SpaceId; 2],
    hostile: Hostile,
    faults: BTreeMap<&'static str, u64>,
    trace: blake3::Hasher,
    /// Commits that a device lost for ever: it was restored, and nobody else had them.
    pub forgiven: BTreeSet<CommitId>,
    /// Commits that honest members wrote.
    pub acknowledged: BTreeSet<CommitId>,
}

fn writer(at: usize) -> Permission {
    Permission::Write(Strength(10 + at as u32))
}

/// How a plan names a member: a copy has the node key of its original, and is another member.
fn name(member: usize) -> PeerId {
    PeerId([member as u8; 32])
}

fn member(name: &PeerId) -> usize {
    usize::from(name.0[0])
}

impl Mesh {
    /// Three to five members and who calls whom; only the first has the spaces.
    pub fn new(seed: u64) -> Result<Self, Fault> {
        let mut dice = Dice::new(seed ^ 0x6d65_7368);
        let count = 3 + dice.below(3);
        let mut members = Vec::new();
        for at in 0..count {
            let disk = Disk::new().map_err(fault("a disk"))?;
            let peer = Peer::new(seed << 8 | at as u64, Home::Disk(disk), START)?;
            members.push(Member::new(peer, dice.bits(), at < 2 || dice.once_in(2)));
        }
        if let Some(last) = members.last_mut() {
            last.inside = false;
        }
        let founder = members.first().ok_or("nobody")?.peer.database()?.clone();
        let world = founder.create_space("world").map_err(fault("founding"))?;
        let inner = founder.create_space("inner").map_err(fault("founding"))?;
        let hostile = Hostile::new(dice.bytes(), world.id());
        for (at, other) in members.iter().enumerate().skip(1) {
            let author = other.peer.database()?.author().map_err(fault("an author"))?;
            let permission = if at == 1 { Permission::Admin(Strength(1)) } else { writer(at) };
            world.grant(Subject::Key(author), permission).map_err(fault("a grant"))?;
            if other.inside {
                inner.grant(Subject::Key(author), writer(at)).map_err(fault("a grant"))?;
            }
        }
        world.grant(Subject::Key(hostile.author()), writer(20)).map_err(fault("a grant"))?;
        founder.flush().map_err(fault("a flush"))?;
        let quality = Quality {
            loss: dice.below(4) * 3,
            repetition: dice.below(3) * 5,
            reordering: dice.below(3) * 5,
            garbling: dice.below(3) * 3,
            delay: *dice.pick(&[2, 20, 200, 2000]).unwrap_or(&20),
        };
        let mut mesh = Self {
            dice,
            now: 0,
            number: 0,
            agenda: BTreeSet::new(),
            members,
            connections: BTreeMap::new(),
            cut: BTreeSet::new(),
            quality,
            spaces: [world.id(), inner.id()],
            hostile,
            faults: BTreeMap::new(),
            trace: blake3::Hasher::new(),
            forgiven: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
        };
        // A line of members, and some more who know each other: nobody calls everybody.
        for at in 1..count {
            let to = if mesh.dice.once_in(2) { at - 1 } else { mesh.dice.below(at) };
            mesh.acquaint(at, to);
            if mesh.dice.once_in(3) {
                mesh.acquaint(to, at);
            }
        }
        for at in 0..count {
            mesh.begin(at)?;
        }
        mesh.plan_for(0, What::Weather);
        Ok(mesh)
    }

    fn acquaint(&mut self, from: usize, to: usize) {
        if let Some(member) = self.members.get_mut(from)
            && from != to
            && !member.others.contains(&to)
        {
            member.others.push(to);
        }
    }

    /// Runs until so many things that nobody asked for have happened.
    pub fn run(&mut self, steps: u64) -> Result<(), Fault> {
        let mut left = steps;
        while left > 0 {
            let Some((at, number, what)) = self.agenda.pop_first() else {
                return Err("nothing is due".into());
            };
            self.now = self.now.max(at);
            left -= u64::from(what == What::Weather);
            self.happen(what).map_err(|fault| format!("at {} ms, {what:?} {number}: {fault}", self.now))?;
        }
        Ok(())
    }

    /// All lines are good and all clocks right; everybody may read and write. Runs until everybody has everything, and
    /// says how long that took; then sees that it is silent.
    pub fn rest(&mut self) -> Result<u64, Fault> {
        self.cut.clear();
        self.quality = Quality { delay: 20, ..Quality::default() };
        self.agenda.retain(|(_, _, what)| !matches!(what, What::Weather | What::Heal(..)));
        let ahead = self.members.iter().map(|member| member.offset).max().unwrap_or_default().max(0);
        for at in 0..self.members.len() {
            let Some(member) = self.members.get_mut(at) else { continue };
            (member.offset, member.drift) = (ahead + 2 * DAY as i64, 0);
            if member.frozen {
                self.thaw(at)?;
            }
            if self.members.get(at).is_some_and(|member| member.changes.is_none()) {
                self.revive(at)?;
            }
        }
        for at in 0..self.members.len() {
            self.doctor(at)?;
            // Who was thrown out between two is no way from one to the other.
            self.acquaint(at, 0);
            let (now, spaces) = (self.now, self.spaces);
            let Some(member) = self.members.get_mut(at) else { continue };
            for other in member.others.clone() {
                member.plan.peer(name(other), spaces, now);
            }
        }
        // What admins wrote apart comes together first; it may throw somebody out once more.
        for _ in 0..3 {
            self.sync_now()?;
            self.run_for(2 * MINUTE)?;
            self.make_whole()?;
        }
        let begun = self.now;
        while self.now < begun + PATIENCE {
            if self.is_equal()? {
                let took = self.now - begun;
                self.silence()?;
                return Ok(took);
            }
            self.sync_now()?;
            self.run_for(5 * SECOND)?;
        }
        let mut told = format!("not equal after {} s", PATIENCE / SECOND);
        for (at, digests) in self.digests()?.iter().enumerate() {
            let status = self.database(at)?.status().map_err(fault("the status"))?;
            for (space, digest) in status.spaces.iter().zip(digests) {
                told += &format!("\n  {at}: {digest:?} {:?}", space.counts);
            }
            told += &format!("\n  {at}: refused {:?}", status.refused);
        }
        Err(told)
    }

    /// What became of the run.
    pub fn report(&self) -> Report {
        Report { trace: self.trace.finalize().to_hex()[..32].to_owned(), faults: self.faults.clone() }
    }

    fn sync_now(&mut self) -> Result<(), Fault> {
        for at in 0..self.members.len() {
            let now = self.now;
            if let Some(member) = self.members.get_mut(at) {
                member.plan.sync_now(None, None, now);
            }
            self.drive(at)?;
        }
        Ok(())
    }

    // Who was thrown out comes in again, so that what everybody has can be compared.
    fn make_whole(&mut self) -> Result<(), Fault> {
        let authors: Vec<(usize, AuthorId)> = (0..self.members.len())
            .map(|at| Ok((at, self.database(at)?.author().map_err(fault("an author"))?)))
            .collect::<Result<_, Fault>>()?;
        let founder = self.database(0)?;
        let founder = founder.author().map_err(fault("an author"))?;
        for (at, author) in authors {
            let inside = self.members.get(at).is_some_and(|member| member.inside);
            for space in self.spaces.into_iter().take(1 + usize::from(inside)) {
                if author == founder {
                    continue;
                }
                let space = self.space(0, &space)?;
                let members = space.members().map_err(fault("the members"))?;
                let mut own = members.iter().filter(|member| member.subject == Subject::Key(author));
                if own.any(|member| member.permission.may_write()) {
                    continue;
                }
                match space.grant(Subject::Key(author), writer(at)) {
                    // An admin that is as strong as the founder, who is itself, needs nothing.
                    Ok(commit) => self.wrote(0, commit),
                    Err(Error::AuthorForked { .. }) => return self.doctor(0),
                    Err(error) if is_refusal(&error) => {}
                    Err(error) => return Err(format!("a last grant: {error}")),
                }
            }
        }
        self.flush(0)
    }

    // Whoever may read a space has the same of it.
    fn is_equal(&mut self) -> Result<bool, Fault> {
        let digests = self.digests()?;
        let first: Vec<_> = digests.first().cloned().unwrap_or_default();
        let mut equal = true;
        for (digests, member) in digests.iter().zip(&self.members) {
            equal &= digests.first() == first.first();
            equal &= !member.inside || digests.get(1) == first.get(1);
        }
        Ok(equal)
    }

    fn digests(&self) -> Result<Vec<Vec<Option<driftless::Digest>>>, Fault> {
        let mut all = Vec::new();
        for at in 0..self.members.len() {
            let mut own = Vec::new();
            for space in &self.spaces {
                own.push(
                    self.space(at, space).and_then(|space| space.digest().map_err(fault("a digest"))).ok(),
                );
            }
            all.push(own);
        }
        Ok(all)
    }

    // Once everybody has everything, nobody says anything that was not asked for by the clock.
    fn silence(&mut self) -> Result<(), Fault> {
        self.run_for(30 * SECOND)?;
        let before: usize = self.connections.values().map(|connection| connection.said()).sum();
        self.run_for(20 * SECOND)?;
        let after: usize = self.connections.values().map(|connection| connection.said()).sum();
        if after > before + 64 * self.connections.len() {
            return Err(format!("{} messages though nothing changes", after - before));
        }
        Ok(())
    }

    fn run_for(&mut self, time: u64) -> Result<(), Fault> {
        let end = self.now + time;
        while let Some(next) = self.agenda.first().copied().filter(|(at, ..)| *at <= end) {
            self.agenda.remove(&next);
            self.now = self.now.max(next.0);
            self.happen(next.2).map_err(|fault| format!("at {} ms, {:?}: {fault}", self.now, next.2))?;
        }
        self.now = end;
        Ok(())
    }

    fn plan_for(&mut self, at: u64, what: What) {
        self.number += 2;
        self.agenda.insert((at, self.number, what));
    }

    fn note(&mut self, line: &str) {
        self.trace.update(line.as_bytes());
        self.trace.update(b"\n");
        if std::env::var_os("DRIFTLESS_SIM_TRACE").is_some() {
            eprintln!("{:>9} {line}", self.now);
        }
    }

    fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }
}
