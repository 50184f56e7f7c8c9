//! Two databases in one exchange over a network that drops, repeats, cuts, changes and makes up messages. It has no key of
//! a member, so nothing may get in but what members wrote; and an honest exchange afterwards brings both together.

use std::collections::{BTreeSet, VecDeque};
use std::sync::LazyLock;

use driftless::{Database, DrivenSession, Error, Map, PeerId, Space};
use driftless_core::id::{AuthorId, CommitId};
use driftless_core::reconcile::{Clock, Detail, Summary};
use driftless_core::rules::{Level, Permission, Strength};
use driftless_core::session::{Creator, Message, Role, numbered, take_number};

use crate::choices::Choices;
use crate::encodings::messages;
use crate::world::{LEFT, RIGHT, WORLD, database, import, sound};

/// Messages that one input delivers or damages.
const MOST: usize = 96;
/// Messages after which an honest exchange of so little must be over.
const ENOUGH: usize = 200;

struct Side {
    database: Database,
    space: Option<Space>,
    session: DrivenSession,
    arriving: VecDeque<Vec<u8>>,
    /// What its user wrote.
    written: BTreeSet<CommitId>,
    // Messages that were its turn.
    heard: u64,
}

impl Side {
    fn new(seed: u8, role: Role, commits: usize, them: PeerId) -> Self {
        let database = database(seed);
        import(&database, &WORLD.bundle(commits));
        let session = begin(&database, role, them);
        let mut side = Self {
            database,
            space: None,
            session,
            arriving: VecDeque::new(),
            written: BTreeSet::new(),
            heard: 0,
        };
        side.space = side.database.space(&WORLD.space.to_string()).ok();
        side
    }

    fn write(&mut self, number: u8) -> Result<(), Error> {
        let Some(space) = &self.space else { return Ok(()) };
        let fields = Map::from_json(&format!(r#"{{"n": {number}}}"#)).expect("fields");
        let mut transaction = self.database.transaction();
        transaction.insert(&space.collection("notes")?, fields)?;
        self.written.extend(transaction.commit()?.into_iter().map(|(_, commit)| commit));
        Ok(())
    }
}

// The node keys of the left and the right database.
static PEERS: LazyLock<[PeerId; 2]> =
    LazyLock::new(|| [LEFT, RIGHT].map(|seed| database(seed).peer().expect("a node key")));

// The keys that they prove.
static AUTHORS: LazyLock<[AuthorId; 2]> =
    LazyLock::new(|| [LEFT, RIGHT].map(|seed| database(seed).author().expect("an author key")));

const LEVELS: [Level; 3] = [Level::Read, Level::Write, Level::Admin];

fn begin(database: &Database, role: Role, them: PeerId) -> DrivenSession {
    DrivenSession::new(database, role, them).expect("memory does not fail")
}

struct Pair {
    sides: [Side; 2],
}

impl Pair {
    fn connect(&mut self) {
        let [left, right] = &mut self.sides;
        left.session = begin(&left.database, Role::Dialer, PEERS[1]);
        right.session = begin(&right.database, Role::Listener, PEERS[0]);
        (left.heard, right.heard) = (0, 0);
        left.arriving.clear();
        right.arriving.clear();
        left.session.open(WORLD.space);
    }

    // What both sides have to do; messages go into the queue of the other side. False if a session ended.
    fn work(&mut self) -> bool {
        for at in 0..2 {
            match self.sides[at].session.work() {
                Ok((sent, _)) => self.sides[1 - at].arriving.extend(sent),
                Err(error) => {
                    blames_the_peer(&error);
                    return false;
                }
            }
        }
        true
    }

    fn give(&mut self, to: usize, message: &[u8]) -> bool {
        let side = &mut self.sides[to];
        side.heard += u64::from(take_number(message).is_some_and(|(number, _)| number == side.heard));
        match side.session.receive(message) {
            Ok(()) => self.work(),
            Err(error) => {
                blames_the_peer(&error);
                false
            }
        }
    }
}

// No message makes a database think that it is broken itself.
fn blames_the_peer(error: &Error) {
    assert!(matches!(error, Error::Peer(_)), "a message led to: {error:?}");
}

pub(crate) fn sessions(input: &[u8]) {
    let mut choices = Choices::new(input);
    let whole = WORLD.known.len();
    let [left_has, right_has] = [whole - choices.below(whole), whole - choices.below(whole)];
    let left = Side::new(LEFT, Role::Dialer, left_has, PEERS[1]);
    let right = Side::new(RIGHT, Role::Listener, right_has, PEERS[0]);
    let mut pair = Pair { sides: [left, right] };
    pair.connect();
    let mut alive = pair.work();
    for _ in 0..MOST {
        if choices.is_empty() {
            break;
        }
        if !alive {
            pair.connect();
            alive = pair.work();
        }
        alive = alive && step(&mut pair, &mut choices);
    }
    end_well(&mut pair);
}

fn step(pair: &mut Pair, choices: &mut Choices<'_>) -> bool {
    let what = choices.byte();
    let to = usize::from(what >> 7);
    let side = &mut pair.sides[to];
    match what & 0x0f {
        // What goes on as it should, with what was said before it.
        0..=5 => match side.arriving.pop_front() {
            Some(message) => pair.give(to, &message),
            None => true,
        },
        6 => {
            side.arriving.pop_front();
            true
        }
        7 => match side.arriving.front().cloned() {
            Some(message) => pair.give(to, &message),
            None => true,
        },
        8 => {
            side.arriving.rotate_left(usize::from(side.arriving.len() > 1));
            true
        }
        9 | 10 => {
            if let Some(message) = side.arriving.front_mut() {
                bytes_change(message, choices);
            }
            true
        }
        11 | 12 => {
            if let Some(message) = side.arriving.front_mut()
                && let Some((number, bytes)) = take_number(message)
                && let Ok(mut decoded) = Message::decode(bytes)
            {
                meaning_changes(&mut decoded, choices);
                *message = numbered(number, &decoded);
            }
            true
        }
        13 => {
            let mut made = messages();
            let mut message = made.swap_remove(choices.below(made.len()));
            meaning_changes(&mut message, choices);
            let next = numbered(pair.sides[to].heard, &message);
            pair.give(to, &next)
        }
        14 => false,
        _ => {
            side.write(what).expect("a member may write");
            side.session.changed(&WORLD.space);
            pair.work()
        }
    }
}

fn bytes_change(message: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let at = usize::from(choices.byte()) * message.len() / 256;
    match choices.below(4) {
        0 => message.truncate(at),
        1 => drop(message.splice(at..at, choices.bytes().iter().copied())),
        2 => drop(message.drain(at..message.len().min(at + 1 + choices.below(8)))),
        _ => {
            let flip = choices.byte();
            if let Some(byte) = message.get_mut(at) {
                *byte ^= flip;
            }
        }
    }
}

// A message that decodes, and lies.
fn meaning_changes(message: &mut Message, choices: &mut Choices<'_>) {
    let known: Vec<CommitId> = WORLD.known.iter().map(|known| known.id).collect();
    match message {
        Message::Hello { nonce, .. } => nonce[0] ^= choices.byte(),
        Message::Proof(proofs) => {
            let first = proofs.first().copied();
            proofs.extend(first);
            proofs.truncate(choices.below(3));
        }
        Message::Open { slot, space, summary, .. } => {
            *slot = choices.below(4) as u64;
            if choices.below(4) != 0 {
                *space = WORLD.space;
            }
            summary_changes(summary, choices);
        }
        Message::Reopen { slot, item, digest, clock } => {
            *slot = choices.below(4) as u64;
            item[0] ^= choices.byte();
            digest[0] ^= choices.byte();
            clock_changes(clock, choices);
        }
        Message::Spaces { count, sum } => {
            *count = count.wrapping_add(choices.number());
            sum[0] ^= choices.byte();
        }
        Message::Cells(cells) => {
            let first = cells.first().copied();
            cells.extend(first);
            cells.truncate(choices.below(4));
        }
        Message::More => {}
        Message::Rest { slot } => *slot = choices.below(4) as u64,
        Message::Have { slot, summary } => {
            *slot ^= choices.below(2) as u64;
            summary_changes(summary, choices);
        }
        Message::Data { slot, number, frame, .. } => match choices.below(3) {
            0 => *slot ^= choices.below(3) as u64,
            1 => *number = choices.number(),
            _ => bytes_change(frame, choices),
        },
        Message::Ack { slot, number, refused, digest } => {
            digest[0] ^= choices.byte();
            *slot ^= choices.below(2) as u64;
            *number = number.wrapping_add(choices.number());
            refused.truncate(choices.below(2));
        }
        Message::End { slot, digest, heads } => {
            *slot ^= choices.below(2) as u64;
            digest[0] ^= choices.byte();
            heads.extend(choices.pick(&known));
            heads.truncate(choices.below(4));
        }
        Message::Want { slot, ids, again } => {
            *slot ^= choices.below(2) as u64;
            ids.extend(choices.pick(&known));
            match again {
                Some(summary) if choices.below(2) == 0 => summary_changes(summary, choices),
                again => *again = (choices.below(2) == 0).then(Summary::default),
            }
        }
        Message::Summary { slot, summary } => {
            *slot ^= choices.below(2) as u64;
            summary_changes(summary, choices);
        }
        Message::Decline { slot, .. } | Message::Close { slot } => *slot = choices.below(4) as u64,
        Message::Pull { request, space, cursor, budget, wanted } => {
            wanted.extend(choices.pick(&known));
            *request = choices.number();
            if choices.below(4) != 0 {
                *space = WORLD.space;
            }
            if choices.below(2) == 0 {
                *cursor = None;
            }
            *budget = choices.number();
        }
        Message::Pulled { request, frames, .. } => {
            *request = choices.below(4) as u64;
            frames.truncate(choices.below(3));
        }
        Message::Stale { request, cursor } => {
            *request = choices.below(4) as u64;
            cursor.at = choices.number();
        }
        Message::Withheld { request } => *request = choices.below(4) as u64,
        Message::Request { number, request } => {
            *number = choices.number();
            if choices.below(4) != 0 {
                request.space = WORLD.space;
            }
            if choices.below(4) != 0 {
                request.author = AUTHORS[choices.below(2)];
            }
            let (level, strength) = (*choices.pick(&LEVELS).unwrap_or(&Level::Read), choices.number());
            request.permission = Permission::new(level, Strength(strength as u32));
            request.note.truncate(choices.below(4));
        }
        Message::Answer { number, .. } => *number = choices.below(4) as u64,
        Message::Discover { number, after } => {
            *number = choices.number();
            if choices.below(2) == 0 {
                *after = None;
            }
        }
        Message::Changed(spaces) => {
            spaces.truncate(choices.below(3));
            if let Some(changed) = spaces.first_mut() {
                changed.space = WORLD.space;
                changed.digest[0] ^= choices.byte();
            }
        }
        Message::Shared { number, after, .. } => {
            *number = choices.number();
            if choices.below(2) == 0 {
                *after = None;
            }
        }
        Message::Find { number, lookup } => {
            *number = choices.number();
            if choices.below(2) == 0 {
                lookup.by = Creator::Author(AUTHORS[choices.below(2)]);
                lookup.after = None;
            }
        }
        Message::Located { number, located } => {
            *number = choices.below(4) as u64;
            located.documents.truncate(choices.below(3));
        }
        Message::Found { number, spaces, more } => {
            *number = choices.below(4) as u64;
            spaces.truncate(choices.below(3));
            *more ^= choices.below(2) == 0;
        }
    }
}

fn summary_changes(summary: &mut Summary, choices: &mut Choices<'_>) {
    summary.digest[0] ^= choices.byte();
    match &mut summary.detail {
        Detail::Since(known, clock) => {
            known[0] ^= choices.byte();
            clock_changes(clock, choices);
        }
        Detail::Recent(known, _) => known[0] ^= choices.byte(),
        Detail::Clock(clock) | Detail::Otherwise(clock) => clock_changes(clock, choices),
        Detail::Filter(found, _) => {
            found.iter_mut().for_each(|found| *found ^= choices.below(2) == 0);
        }
        Detail::Again(round, marks, _) => {
            *round = choices.below(4) as u32;
            marks.truncate(choices.below(4));
        }
        Detail::Marks(marks) => marks.truncate(choices.below(4)),
        detail => *detail = if choices.below(2) == 0 { Detail::Bare } else { Detail::Nothing },
    }
}

fn clock_changes(clock: &mut Clock, choices: &mut Choices<'_>) {
    if let Some(entry) = clock.0.first_mut() {
        entry.seq = choices.number();
        entry.check[0] ^= choices.byte();
    }
    clock.0.truncate(choices.below(4));
    clock.0.sort_unstable();
    clock.0.dedup();
}

// An honest exchange brings both together, and neither has anything that no member wrote.
fn end_well(pair: &mut Pair) {
    // Of an empty database the other learns the space; here both begin with at least its genesis.
    let own = |side: &Side| {
        let space = side.space.as_ref().expect("each side begins with a part of the space");
        sound(space).expect("memory does not fail")
    };
    let before: BTreeSet<CommitId> = pair.sides.iter().flat_map(&own).collect();
    let wrote = |id: &CommitId| pair.sides.iter().any(|side| side.written.contains(id));
    let made_up = before.iter().find(|id| !wrote(id) && !is_of_the_world(id));
    assert_eq!(made_up, None, "a commit that nobody wrote got in");
    pair.connect();
    assert!(pair.work());
    for _ in 0..ENOUGH {
        let Some(to) = (0..2).find(|to| !pair.sides[*to].arriving.is_empty()) else { break };
        let message = pair.sides[to].arriving.pop_front().expect("it is not empty");
        assert!(pair.give(to, &message), "an honest exchange failed");
    }
    let both = pair.sides.each_ref().map(own);
    assert_eq!(both[0], both[1], "an honest exchange did not bring both together");
    assert_eq!(both[0], before, "an exchange lost or made commits");
    let digests =
        pair.sides.each_ref().map(|side| side.space.as_ref().map(|space| space.digest().expect("memory")));
    assert_eq!(digests[0], digests[1]);
}

fn is_of_the_world(id: &CommitId) -> bool {
    WORLD.known.iter().any(|known| known.id == *id)
}
