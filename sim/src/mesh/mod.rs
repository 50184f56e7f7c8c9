//! Databases that sync by themselves over bad lines, in virtual time: the real database, session and plan, and weather
//! drawn from the seed. One event after the other; nothing here waits.

mod away;
mod impostor;
mod life;
mod watch;
mod weather;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driftless::plan::{self, Action, Plan, Unsent};
use driftless::{
    AuthorId, Changes, CommitId, Cursor, DocumentId, DrivenSession, Error, Event as Told, Invite, Map,
    PeerId, Permission, Preferences, SessionTurn, Space, SpaceId, Strength, Subject, Ticket,
    operators_from_json,
};
use driftless_core::session::{Event, Message, PullEnd, Role, numbered, take_number};

use crate::dice::Dice;
use crate::disk::Disk;
use crate::hostile::Hostile;
use crate::line::{Parcel, Quality, Sent, Way};
use crate::peer::{COLLECTIONS, Fault, Home, Peer, START, fault, is_refusal};
use crate::pieces;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Nothing that was acknowledged may take longer to reach everybody, once all lines are good again: the longest pause
/// between two calls, and one interval.
pub const PATIENCE: u64 = plan::LONGEST_PAUSE_MS + INTERVAL;
const INTERVAL: u64 = driftless::DEFAULT_INTERVAL * SECOND;
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
    /// The longest that anything took to reach everybody after the lines were good again, in milliseconds.
    pub slowest: u64,
    /// What two members who met after one of them was away lacked, and how many commits that took on the line.
    pub caught_up: Vec<(u64, u64)>,
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
    // Its clock that never goes back stood still for so long: its machine slept.
    slept: u64,
    asleep: Option<u64>,
    // The longest that its disk takes for what is to be durable, and until when it is at work.
    slow: u64,
    busy: u64,
    // It comes in by this.
    ticket: Option<Ticket>,
    // Commits of which it told a peer that they are durable.
    told: BTreeSet<CommitId>,
}

#[derive(Debug)]
struct Connection {
    ends: [usize; 2],
    sides: [DrivenSession; 2],
    // Author keys that each side has heard the other prove.
    proven: [Vec<AuthorId>; 2],
    // The dialer only pulls this; what came instead of a page is kept until both have reconciled.
    pulls: Option<SpaceId>,
    cursor: Option<Cursor>,
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
    /// The power of a machine is cut.
    Crash(usize),
    /// Two cannot reach each other from now on, until then.
    Cut(usize, usize, u64),
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
    // What clocks show is a multiple of so many milliseconds.
    tick: u64,
    // No more harm is done by itself.
    calm: bool,
    // Some messages that were said, for somebody to say again.
    overheard: Vec<Message>,
    // How many commits were in the frames that two said.
    carried: BTreeMap<(usize, usize), u64>,
    // Commits in frames that were sent, and those among them that had come from there.
    sent: u64,
    echoes: u64,
    slowest: u64,
    caught_up: Vec<(u64, u64)>,
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
            stall: dice.below(3),
            delay: *dice.pick(&[2, 20, 200, 2000]).unwrap_or(&20),
        };
        let tick = *dice.pick(&[1, 1, SECOND, MINUTE]).unwrap_or(&1);
        let mut mesh = Self {
            dice,
            now: 0,
            number: 0,
            agenda: BTreeSet::new(),
            members,
            connections: BTreeMap::new(),
            cut: BTreeSet::new(),
            quality,
            tick,
            calm: false,
            overheard: Vec::new(),
            carried: BTreeMap::new(),
            sent: 0,
            echoes: 0,
            slowest: 0,
            caught_up: Vec::new(),
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

    /// What became of the run.
    pub fn report(&self) -> Report {
        Report {
            trace: self.trace.finalize().to_hex()[..32].to_owned(),
            faults: self.faults.clone(),
            slowest: self.slowest,
            caught_up: self.caught_up.clone(),
        }
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
