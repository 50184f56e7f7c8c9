//! Many spaces in one session: what did not change is told apart by one digest, whatever one side forgot or lost.

mod graphs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use driftless_core::id::{PeerId, SpaceId};
use driftless_core::limits::{MAX_BULK, MAX_CELLS, MAX_OPENS};
use driftless_core::reconcile::Clock;
use driftless_core::session::{
    Ask, Event, GraphHost, Message, Opened, Output, Role, Session, SessionError, Slot, Surveyed, numbered,
    take_number,
};
use driftless_core::sign::{AuthorKey, Domain};
use driftless_core::sketch::Cell;
use graphs::Graph;
use proptest::prelude::*;

fn space(number: usize) -> SpaceId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SpaceId(id)
}

fn graph(author: u32, nodes: u64) -> Graph {
    let mut graph = Graph::new(true);
    write(&mut graph, author, nodes);
    graph
}

fn write(graph: &mut Graph, author: u32, nodes: u64) {
    for _ in 0..nodes {
        let heads: Vec<_> = graph.heads.iter().copied().collect();
        graph.make(author, &heads);
    }
}

struct Side {
    host: GraphHost<Graph>,
    /// What the other side may not read.
    secret: BTreeSet<SpaceId>,
    slots: BTreeMap<Slot, SpaceId>,
    session: Session,
    events: Vec<Event>,
    arriving: VecDeque<Vec<u8>>,
    opened: usize,
}

fn session(role: Role, number: u64) -> Session {
    let (us, them) = match role {
        Role::Dialer => (PeerId([1; 32]), PeerId([2; 32])),
        Role::Listener => (PeerId([2; 32]), PeerId([1; 32])),
    };
    let mut nonce = [us.0[0]; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    Session::new(role, us, them, nonce, vec![AuthorKey::from_seed(&[us.0[0]; 32])])
}

impl Side {
    fn new(role: Role) -> Self {
        Self {
            host: GraphHost::new(),
            secret: BTreeSet::new(),
            slots: BTreeMap::new(),
            session: session(role, 0),
            events: Vec::new(),
            arriving: VecDeque::new(),
            opened: 0,
        }
    }

    fn answer(&mut self, ask: Ask) {
        let secret = |space: &SpaceId| self.secret.contains(space);
        match &ask {
            Ask::Open { slot, space, theirs, .. } => {
                self.opened += 1;
                self.slots.insert(*slot, *space);
                if secret(space) {
                    let opened = Opened { summary: Default::default(), readable: false, ready: false };
                    return self.session.handle_opened(*slot, theirs.is_none().then_some(opened));
                }
                if theirs.is_none() && self.host.graph(space).is_none() {
                    self.host.insert(*space, Graph::new(true));
                }
            }
            Ask::Read { slot } if self.slots.get(slot).is_some_and(secret) => {
                return self.session.handle_read(*slot, None);
            }
            _ => {}
        }
        self.host.answer(&mut self.session, ask).unwrap();
    }

    fn write(&mut self, number: usize, author: u32) {
        write(self.host.graph_mut(&space(number)).unwrap(), author, 1);
    }

    fn same(&self) -> BTreeSet<SpaceId> {
        let mut same = BTreeSet::new();
        for event in &self.events {
            match event {
                Event::Settled(space) => drop(same.insert(*space)),
                Event::Unchanged(spaces) => same.extend(spaces),
                _ => {}
            }
        }
        same
    }

    fn closed(&self) -> Vec<SpaceId> {
        let closed = self.events.iter().filter_map(|event| match event {
            Event::Closed(space) => Some(*space),
            _ => None,
        });
        closed.collect()
    }
}

struct World {
    sides: [Side; 2],
    sessions: u64,
    /// Messages and their bytes, and how many of the bytes were frames and their acknowledgements.
    messages: Vec<Message>,
    bytes: usize,
    data: usize,
}

impl World {
    fn new() -> Self {
        let sides = [Side::new(Role::Dialer), Side::new(Role::Listener)];
        Self { sides, sessions: 0, messages: Vec::new(), bytes: 0, data: 0 }
    }

    /// Both have these spaces, and know it.
    fn met(spaces: usize, nodes: u64) -> Self {
        let mut world = Self::new();
        for number in 0..spaces {
            let graph = graph(1, nodes);
            world.sides.iter_mut().for_each(|side| side.host.insert(space(number), graph.clone()));
        }
        let mut agreed = BTreeMap::new();
        for chunk in (0..spaces).collect::<Vec<_>>().chunks(500) {
            world.connect();
            chunk.iter().for_each(|number| world.sides[0].session.open(space(*number), None));
            world.run().unwrap();
            agreed.extend(world.sides[0].host.agreed().clone());
        }
        assert_eq!(agreed.len(), spaces);
        world
    }

    fn connect(&mut self) {
        self.sessions += 1;
        for (side, role) in self.sides.iter_mut().zip([Role::Dialer, Role::Listener]) {
            let mut host = GraphHost::new();
            host.set_step(5);
            let spaces: Vec<SpaceId> = side.host.spaces().copied().collect();
            for space in spaces {
                host.insert(space, side.host.remove(&space).unwrap());
            }
            host.restore(side.host.agreed().clone());
            let session = session(role, self.sessions);
            let secret = std::mem::take(&mut side.secret);
            *side = Side { host, secret, session, ..Side::new(role) };
        }
        (self.messages, self.bytes, self.data) = (Vec::new(), 0, 0);
    }

    fn open_all(&mut self, spaces: &[SpaceId]) {
        self.connect();
        self.sides[0].session.open_all(spaces);
        self.run().unwrap();
    }

    /// Until nothing is on its way.
    fn run(&mut self) -> Result<(), SessionError> {
        loop {
            for at in [0, 1] {
                while let Some(output) = self.sides[at].session.poll() {
                    match output {
                        Output::Send(bytes) => {
                            let message = Message::decode(take_number(&bytes).unwrap().1).unwrap();
                            self.bytes += bytes.len();
                            if matches!(message, Message::Data { .. } | Message::Ack { .. }) {
                                self.data += bytes.len();
                            }
                            self.messages.push(message);
                            self.sides[1 - at].arriving.push_back(bytes);
                        }
                        Output::Ask(ask) => self.sides[at].answer(ask),
                        Output::Event(event) => self.sides[at].events.push(event),
                    }
                }
            }
            let Some(at) = (0..2).find(|at| !self.sides[*at].arriving.is_empty()) else { return Ok(()) };
            let bytes = self.sides[at].arriving.pop_front().unwrap();
            self.sides[at].session.handle_frame(&bytes)?;
        }
    }

    fn assert_equal(&self, spaces: &[SpaceId]) {
        for space in spaces {
            let digests = self.sides.each_ref().map(|side| side.host.graph(space).map(Graph::digest));
            assert_eq!(digests[0], digests[1], "{space}");
        }
    }

    fn opens(&self) -> usize {
        let open = |message: &&Message| matches!(message, Message::Open { .. } | Message::Reopen { .. });
        self.messages.iter().filter(open).count()
    }
}

fn all(count: usize) -> Vec<SpaceId> {
    (0..count).map(space).collect()
}

#[test]
fn ten_of_ten_thousand_spaces_cost_a_kilobyte_and_none_a_quarter_of_it() {
    let spaces = all(10_000);
    let mut world = World::met(10_000, 3);
    world.open_all(&spaces);
    assert_eq!(world.sides[0].same().len(), 10_000);
    assert_eq!(world.opens(), 0);
    assert!(world.bytes <= 300, "{} bytes", world.bytes);

    for (ours, theirs) in [(10, 0), (0, 10), (5, 5)] {
        (0..ours).for_each(|n| world.sides[0].write(n * 37, 2));
        (0..theirs).for_each(|n| world.sides[1].write(5000 + n * 41, 3));
        world.open_all(&spaces);
        assert_eq!(world.sides[0].same().len(), 10_000);
        assert_eq!(world.opens(), 10);
        world.assert_equal(&spaces);
        // And what is not data, but for the ends that name what was sent.
        let (first, around) = (world.before_data(), world.bytes - world.data);
        assert!(first <= 1024, "{first} bytes before data");
        assert!(around <= 1500, "{around} bytes around data");
    }
    world.open_all(&spaces);
    assert!(world.bytes <= 300, "{} bytes", world.bytes);
}

impl World {
    // What is said until the first frame, but for frames.
    fn before_data(&self) -> usize {
        let data = |message: &Message| matches!(message, Message::Data { .. });
        let first = self.messages.iter().position(data).unwrap_or(self.messages.len());
        self.messages[..first].iter().map(|message| numbered(0, message).len()).sum()
    }
}

#[test]
fn what_was_never_met_or_is_unknown_to_one_side_is_opened() {
    let mut world = World::met(20, 2);
    // One that only one side has, one for each; one that nobody has.
    world.sides[0].host.insert(space(100), graph(5, 3));
    world.sides[1].host.insert(space(101), graph(6, 3));
    let mut spaces = all(20);
    spaces.extend([100, 101, 102].map(space));
    world.open_all(&spaces);
    assert_eq!(world.sides[0].closed(), [space(100), space(102)]);
    assert_eq!(world.sides[0].same().len(), 21);
    world.assert_equal(&all(20));
    assert_eq!(world.sides[0].host.graph(&space(101)).unwrap().digest(), graph(6, 3).digest());
}

#[test]
fn a_space_that_sleeps_is_opened_when_it_changes_on_either_side() {
    let mut world = World::met(30, 2);
    world.open_all(&all(30));
    assert_eq!(world.opens(), 0);
    for (side, number) in [(0, 3), (1, 4), (1, 3), (0, 4)] {
        world.sides[side].write(number, 8 + side as u32);
        world.sides[side].session.changed(&space(number));
        world.run().unwrap();
        world.assert_equal(&all(30));
    }
    assert_eq!(world.opens(), 2);
    // Nobody said which ones changed.
    for (side, number) in [(0, 10), (1, 11), (0, 3)] {
        world.sides[side].write(number, 8 + side as u32);
        world.sides[side].session.missed();
    }
    world.run().unwrap();
    world.assert_equal(&all(30));
    assert_eq!(world.opens(), 4);
    assert!(world.sides[0].events.contains(&Event::Settled(space(11))));
}

#[test]
fn what_changed_after_the_survey_is_not_lost() {
    for side in [0, 1] {
        let mut world = World::met(10, 2);
        world.connect();
        world.sides[0].session.open_all(&all(10));
        // At every step, before whatever comes next is looked at.
        let mut steps = 0;
        while steps < 40 {
            steps += 1;
            let number = steps % 10;
            world.sides[side].write(number, 9);
            world.sides[side].session.changed(&space(number));
            for at in [0, 1] {
                if let Some(bytes) = world.sides[at].arriving.pop_front() {
                    world.sides[at].session.handle_frame(&bytes).unwrap();
                }
                if let Some(output) = world.sides[at].session.poll() {
                    match output {
                        Output::Send(bytes) => world.sides[1 - at].arriving.push_back(bytes),
                        Output::Ask(ask) => world.sides[at].answer(ask),
                        Output::Event(event) => world.sides[at].events.push(event),
                    }
                }
            }
        }
        world.run().unwrap();
        world.assert_equal(&all(10));
    }
}

#[test]
fn a_space_that_the_peer_may_not_read_any_more_is_not_there() {
    let mut world = World::met(10, 2);
    // Both went on in it, and then the listener's rules changed.
    world.sides[1].write(3, 4);
    world.sides[1].secret.insert(space(3));
    world.open_all(&all(10));
    // The dialer asked for it as for any that differs, and learned what it learns of one that is not there.
    assert_eq!(world.sides[0].closed(), [space(3)]);
    assert!(!world.sides[0].same().contains(&space(3)));
    assert_eq!(world.sides[0].same().len(), 9);
    let lone = world.messages.iter().filter(|message| matches!(message, Message::Reopen { .. })).count();
    assert_eq!(lone, 0);
    world.sides[1].write(3, 4);
    world.messages.clear();
    world.sides[1].session.changed(&space(3));
    world.run().unwrap();
    assert_eq!(world.messages, []);
}

#[test]
fn a_space_that_is_closed_to_the_peer_while_it_sleeps_is_said_to_be_closed_and_nothing_else() {
    let mut world = World::met(10, 2);
    world.open_all(&all(10));
    assert_eq!(world.sides[0].session.spaces().count(), 10);
    world.messages.clear();
    world.sides[1].write(3, 4);
    world.sides[1].secret.insert(space(3));
    world.sides[1].session.changed(&space(3));
    world.run().unwrap();
    assert_eq!(world.sides[0].closed(), [space(3)]);
    assert!(world.sides[0].session.spaces().all(|open| *open != space(3)));
    let told = |message: &Message| matches!(message, Message::Data { .. } | Message::Open { .. });
    assert!(!world.messages.iter().any(told), "{:?}", world.messages);
    // The others go on.
    world.sides[1].write(4, 4);
    world.sides[1].session.changed(&space(4));
    world.run().unwrap();
    world.assert_equal(&[space(4)]);
}

#[test]
fn more_than_fits_follows_in_the_same_session_and_what_rests_is_live() {
    let spaces = all(MAX_BULK + 5);
    let mut world = World::new();
    for space in &spaces {
        world.sides[1].host.insert(*space, graph(1, 1));
    }
    world.open_all(&spaces);
    assert_eq!(world.sides[0].same().len(), MAX_BULK + 5);
    world.assert_equal(&spaces);
    let rests = |world: &World| world.messages.iter().filter(|m| matches!(m, Message::Rest { .. })).count();
    assert_eq!(rests(&world), 5);
    // Whatever changes now, on either side, goes over, and another space rests for it.
    for number in (0..spaces.len()).step_by(3) {
        world.sides[number % 2].write(number, number as u32 % 2 + 2);
        world.sides[number % 2].session.changed(&spaces[number]);
        if number % 7 == 0 {
            world.run().unwrap();
        }
    }
    world.run().unwrap();
    world.assert_equal(&spaces);
    // And then silence.
    world.sides.iter_mut().for_each(|side| side.session.missed());
    world.messages.clear();
    world.run().unwrap();
    assert_eq!(world.messages, []);

    // All of them changed at the listener, which has no room to open all: the dialer opens the rest.
    (0..spaces.len()).for_each(|number| world.sides[1].write(number, 2));
    world.open_all(&spaces);
    assert_eq!(world.sides[0].same().len(), MAX_BULK + 5);
    world.assert_equal(&spaces);
}

#[test]
fn what_is_written_while_the_other_side_lets_a_space_rest_goes_over() {
    for writer in [0, 1] {
        let spaces = all(MAX_BULK + 1);
        let mut world = World::new();
        for space in &spaces {
            world.sides[1].host.insert(*space, graph(1, 1));
        }
        world.open_all(&spaces[..MAX_BULK]);
        // A space more than fits lets the first one rest, in which something is on its way.
        world.sides[0].session.open_all(&spaces[MAX_BULK..]);
        world.sides[writer].write(0, 2);
        world.sides[writer].session.changed(&spaces[0]);
        world.run().unwrap();
        world.assert_equal(&spaces);
        assert!(world.sides.iter().all(|side| side.closed().is_empty()));
    }
}

#[test]
fn a_side_that_lost_all_settles_in_the_session_in_which_it_gets_everything_again() {
    for side in [0, 1] {
        for changed in [false, true] {
            let mut world = World::met(1, 3);
            world.sides[side].host.insert(space(0), Graph::new(true));
            if changed {
                world.sides[1 - side].write(0, 5);
            }
            world.connect();
            world.sides[0].session.open(space(0), None);
            world.run().unwrap();
            world.assert_equal(&all(1));
            assert!(world.sides.iter().all(|side| side.events.contains(&Event::Settled(space(0)))));
        }
    }
}

#[test]
fn a_side_that_lost_all_and_wrote_as_much_anew_gets_what_it_lost_in_the_same_session() {
    for side in [0, 1] {
        // As long as before, shorter, and longer.
        for written in [3, 2, 4, 2000] {
            for changed in [false, true] {
                let mut world = World::met(1, 3);
                // What it remembers of the other side is of a log that is gone.
                world.sides[side].host.insert(space(0), graph(11, written));
                if changed {
                    world.sides[1 - side].write(0, 5);
                }
                world.open_all(&all(1));
                world.assert_equal(&all(1));
                assert!(world.sides.iter().all(|side| side.same() == all(1).into_iter().collect()));
                // Then there is nothing to open.
                world.open_all(&all(1));
                assert_eq!(world.opens(), 0);
            }
        }
    }
}

#[test]
fn a_difference_beyond_all_cells_opens_each_space() {
    let spaces = MAX_OPENS + 5;
    let mut world = World::met(spaces, 1);
    // The listener remembers nothing.
    world.sides[1].host.restore(BTreeMap::new());
    world.open_all(&all(spaces));
    let later = world.sides[0].events.iter().filter(|event| matches!(event, Event::Later(_))).count();
    assert_eq!((world.sides[0].same().len(), later), (MAX_OPENS, 5));
}

/// One honest side whose peer says whatever it likes.
struct Attack {
    session: Session,
    said: Vec<Message>,
    number: u64,
}

impl Attack {
    fn on(role: Role) -> Self {
        let (us, them) = (PeerId([1; 32]), PeerId([2; 32]));
        let key = AuthorKey::from_seed(&[9; 32]);
        let session = Session::new(role, us, them, [3; 16], vec![key.clone()]);
        let mut attack = Self { session, said: Vec::new(), number: 0 };
        attack.say(Message::Hello { version: 1, nonce: [4; 16] }).unwrap();
        let signed = match role {
            Role::Listener => [&[0][..], &them.0, &us.0, &[4; 16], &[3; 16]].concat(),
            Role::Dialer => [&[1][..], &us.0, &them.0, &[3; 16], &[4; 16]].concat(),
        };
        let proof = (key.id(), key.sign(Domain::AuthorProof, &[&signed]));
        attack.say(Message::Proof(vec![proof])).unwrap();
        attack
    }

    // The host has met the peer in one hundred spaces, and opens none.
    fn say(&mut self, message: Message) -> Result<(), SessionError> {
        self.number += 1;
        let heard = self.session.handle_frame(&numbered(self.number - 1, &message));
        self.work();
        heard
    }

    fn work(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => {
                    self.said.push(Message::decode(take_number(&bytes).unwrap().1).unwrap());
                }
                Output::Ask(Ask::Survey { .. }) => {
                    let met = |space| Surveyed { space, digest: [5; 8], changed: false };
                    self.session.handle_surveyed(all(100).into_iter().map(met).collect());
                }
                Output::Ask(Ask::Open { slot, .. }) => self.session.handle_opened(slot, None),
                _ => {}
            }
        }
    }
}

#[test]
fn what_a_hostile_peer_says_of_many_spaces_ends_the_session_or_costs_little() {
    let cell = Cell { count: i64::MAX, sum: [9; 12], check: [8; 4] };
    let reopen = |slot| Message::Reopen { slot, item: [1; 12], digest: [2; 8], clock: Clock::default() };
    let spaces = Message::Spaces { count: u64::MAX, sum: [0xff; 8] };
    let to_listener: [&[Message]; 6] = [
        &[spaces.clone(), spaces.clone()],
        &[Message::More],
        &[Message::Cells(Vec::new())],
        &[spaces.clone(), Message::Cells(vec![cell; 3])],
        &[reopen(0), reopen(0)],
        &[reopen(1)],
    ];
    for messages in to_listener {
        let mut attack = Attack::on(Role::Listener);
        let (last, first) = messages.split_last().unwrap();
        first.iter().for_each(|message| attack.say(message.clone()).unwrap());
        assert!(matches!(attack.say(last.clone()), Err(SessionError::Unexpected(_))), "{messages:?}");
    }
    // Cells come to an end.
    let mut attack = Attack::on(Role::Listener);
    attack.say(Message::Spaces { count: 99, sum: [0; 8] }).unwrap();
    let mut wishes = 0;
    while attack.say(Message::More).is_ok() {
        wishes += 1;
    }
    let cells = attack.said.iter().map(|said| if let Message::Cells(cells) = said { cells.len() } else { 0 });
    assert_eq!((wishes, cells.sum::<usize>()), (7, MAX_CELLS));
    // A name that nobody knows is a slot that closes, as a space that nobody may read is.
    let mut attack = Attack::on(Role::Listener);
    attack.say(reopen(0)).unwrap();
    assert_eq!(attack.said.last(), Some(&Message::Close { slot: 0 }));

    let dialer = || {
        let mut attack = Attack::on(Role::Dialer);
        attack.session.open_all(&all(100));
        // It waits until the listener has heard its proof.
        attack.work();
        assert!(matches!(attack.said.last(), Some(Message::Spaces { count: 100, .. })));
        attack
    };
    let to_dialer: [&[Message]; 5] = [
        &[Message::Cells(Vec::new()), Message::Cells(Vec::new())],
        &[Message::Cells(vec![cell; 16]), Message::Cells(Vec::new())],
        &[Message::Cells(vec![cell; MAX_CELLS - 1]), Message::Cells(vec![cell; 2])],
        &[spaces],
        &[Message::More],
    ];
    for messages in to_dialer {
        let mut attack = dialer();
        let (last, first) = messages.split_last().unwrap();
        first.iter().for_each(|message| attack.say(message.clone()).unwrap());
        assert!(matches!(attack.say(last.clone()), Err(SessionError::Unexpected(_))), "{messages:?}");
    }
    // Cells that were made up are as good as none: each space is opened.
    let mut attack = dialer();
    attack.say(Message::Cells(vec![cell; MAX_CELLS])).unwrap();
    assert_eq!(attack.session.spaces().count(), 0, "the host opened none");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_either_side_wrote_forgot_or_lost_they_become_equal(
        count in 1_usize..60,
        written in proptest::collection::vec((0_usize..2, 0_usize..60), 0..20),
        forgotten in proptest::collection::vec((0_usize..2, 0_usize..60), 0..20),
        stale in proptest::collection::vec((0_usize..2, 0_usize..60), 0..10),
        lost in proptest::collection::vec((0_usize..2, 0_usize..60), 0..5),
        asked in 1_usize..70,
    ) {
        let mut world = World::met(count, 3);
        let before = world.sides.each_ref().map(|side| side.host.agreed().clone());
        let at = |number: usize| number % count;
        // They meet once more, and one side crashes before it has noted that.
        for (side, number) in &stale {
            world.sides[*side].write(at(*number), 4 + *side as u32);
        }
        world.open_all(&all(count));
        for (side, number) in &stale {
            let mut agreed = world.sides[*side].host.agreed().clone();
            agreed.insert(space(at(*number)), before[*side][&space(at(*number))].clone());
            world.sides[*side].host.restore(agreed);
        }
        for (side, number) in &forgotten {
            let mut agreed = world.sides[*side].host.agreed().clone();
            agreed.remove(&space(at(*number)));
            world.sides[*side].host.restore(agreed);
        }
        for (side, number) in &lost {
            world.sides[*side].host.insert(space(at(*number)), Graph::new(true));
        }
        for (side, number) in &written {
            world.sides[*side].write(at(*number), 10 + *side as u32);
        }
        let asked = all(asked.min(count));
        world.open_all(&asked);
        world.assert_equal(&asked);
        prop_assert_eq!(world.sides[0].same().intersection(&asked.iter().copied().collect()).count(), asked.len());
        // Then there is nothing to open.
        world.open_all(&all(count));
        world.assert_equal(&all(count));
        world.open_all(&all(count));
        prop_assert_eq!(world.opens(), 0);
        prop_assert!(world.bytes <= 300);
    }
}
