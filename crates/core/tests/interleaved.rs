//! Two sessions over random graphs, one step at a time in any order: writes, opens from either side, closes. Whenever
//! nothing is on its way, both sides have the same and have said so.

mod graphs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use driftless_core::hash_graph::NodeId;
use driftless_core::id::{PeerId, SpaceId};
use driftless_core::reconcile::Agreed;
use driftless_core::session::{Ask, Event, GraphHost, Message, Output, Role, Session, Slot, take_number};
use driftless_core::sign::AuthorKey;
use graphs::Graph;
use proptest::prelude::*;

const SPACE: SpaceId = SpaceId([5; 32]);

struct Side {
    host: GraphHost<Graph>,
    session: Session,
    arriving: VecDeque<Vec<u8>>,
    /// What its slot said last, since something last moved in it.
    said: Option<Event>,
    /// Per frame of a slot, what is in it; taken out when it is acknowledged.
    sent: BTreeMap<(Slot, u64), Vec<NodeId>>,
    /// What was on its way when the other side wanted more: it may come twice.
    underway: BTreeSet<NodeId>,
    /// What the other side has acknowledged, or sent.
    theirs: BTreeSet<NodeId>,
    /// The same when it read last.
    before: BTreeSet<NodeId>,
    /// What was sent although the other side had said that it has it, and in which slot.
    again: Vec<(Slot, NodeId)>,
    messages: usize,
}

struct World {
    sides: [Side; 2],
    dice: Dice,
    /// What they remember of each other is wrong: that may cost bytes.
    wasteful: bool,
}

// A generator of small numbers from one seed, so that a failing case is one number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn write(graph: &mut Graph, dice: &mut Dice, count: u64, authors: (u64, u64)) {
    for _ in 0..count {
        let author = (authors.0 + dice.roll(authors.1)) as u32;
        let heads: Vec<NodeId> = graph.heads.iter().copied().collect();
        let some: Vec<NodeId> = heads.into_iter().filter(|_| dice.roll(3) > 0).collect();
        graph.make(author, &some);
    }
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

fn nodes(frame: &[u8]) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut frame = frame;
    while let Some((length, rest)) = take_number(frame) {
        found.push(rest[..32].try_into().unwrap());
        frame = &rest[length as usize..];
    }
    found
}

impl World {
    fn new(graphs: [Graph; 2], seed: u64) -> Self {
        let roles = [Role::Dialer, Role::Listener];
        let mut graphs = graphs.into_iter();
        let sides = roles.map(|role| {
            let mut host = GraphHost::new();
            host.set_step(1 + seed as usize % 7);
            host.insert(SPACE, graphs.next().unwrap());
            Side {
                host,
                session: session(role, seed),
                arriving: VecDeque::new(),
                said: None,
                sent: BTreeMap::new(),
                underway: BTreeSet::new(),
                theirs: BTreeSet::new(),
                before: BTreeSet::new(),
                again: Vec::new(),
                messages: 0,
            }
        });
        let mut world = Self { sides, dice: Dice(seed | 1), wasteful: false };
        world.greet();
        world
    }

    fn connect(&mut self, number: u64) {
        for (side, role) in self.sides.iter_mut().zip([Role::Dialer, Role::Listener]) {
            let graph = side.host.remove(&SPACE).unwrap();
            let agreed = side.host.agreed().clone();
            side.host = GraphHost::new();
            side.host.set_step(1 + number as usize % 7);
            side.host.insert(SPACE, graph);
            side.host.restore(agreed);
            side.session = session(role, number);
            side.arriving.clear();
            side.sent.clear();
            side.again.clear();
            side.said = None;
        }
        self.greet();
    }

    // A listener begins when the dialer has said something.
    fn greet(&mut self) {
        self.sides[0].session.open(SpaceId([6; 32]), None);
    }

    fn graph(&mut self, side: usize) -> &mut Graph {
        self.sides[side].host.graph_mut(&SPACE).unwrap()
    }

    fn ids(&self, side: usize) -> BTreeSet<NodeId> {
        self.sides[side].host.graph(&SPACE).into_iter().flat_map(|graph| graph.at.keys().copied()).collect()
    }

    // What authors made two of whose nodes have the same number, as clones do, in graphs that know authors.
    fn forked(&self, at: usize) -> BTreeSet<NodeId> {
        let Some(graph) = self.sides[at].host.graph(&SPACE).filter(|graph| graph.named) else {
            return BTreeSet::new();
        };
        let mut numbers = BTreeSet::new();
        let twice = graph.made.iter().filter(|made| !numbers.insert((made.author, made.seq)));
        let forked: BTreeSet<u32> = twice.map(|made| made.author).collect();
        graph.made.iter().filter(|made| forked.contains(&made.author)).map(|made| made.id).collect()
    }

    // The next output of a side, if there is one.
    fn output(&mut self, at: usize) -> bool {
        let Some(output) = self.sides[at].session.poll() else { return false };
        match output {
            Output::Send(bytes) => {
                let side = &mut self.sides[at];
                side.messages += 1;
                match Message::decode(take_number(&bytes).unwrap().1).unwrap() {
                    Message::Data { slot, number, frame, .. } => {
                        let nodes = nodes(&frame);
                        let again = nodes.iter().filter(|id| side.before.contains(*id));
                        side.again.extend(again.map(|id| (slot, *id)));
                        side.sent.insert((slot, number), nodes);
                        side.said = None;
                    }
                    Message::Open { .. } => side.said = None,
                    _ => {}
                }
                self.sides[1 - at].arriving.push_back(bytes);
            }
            Output::Ask(ask) => {
                let side = &mut self.sides[at];
                if let Ask::Ingest { frame, .. } = &ask {
                    side.theirs.extend(nodes(frame));
                }
                match &ask {
                    Ask::Read { .. } => side.before = side.theirs.clone(),
                    Ask::Want { .. } => side.underway.extend(side.sent.values().flatten()),
                    _ => {}
                }
                side.host.answer(&mut side.session, ask).unwrap();
            }
            Output::Event(Event::Settled(SPACE)) => self.sides[at].said = Some(Event::Settled(SPACE)),
            Output::Event(Event::Stalled(SPACE)) => self.sides[at].said = Some(Event::Stalled(SPACE)),
            Output::Event(_) => {}
        }
        true
    }

    // The next message for a side, if there is one.
    fn arrival(&mut self, at: usize) -> bool {
        let Some(bytes) = self.sides[at].arriving.pop_front() else { return false };
        // What came before its parents was not kept.
        let kept = self.ids(1 - at);
        let side = &mut self.sides[at];
        match Message::decode(take_number(&bytes).unwrap().1).unwrap() {
            Message::Ack { slot, number, .. } => {
                let sent = side.sent.remove(&(slot, number)).into_iter().flatten();
                side.theirs.extend(sent.filter(|id| kept.contains(id) && !side.underway.contains(id)));
            }
            Message::Want { .. } => {
                side.underway.extend(side.sent.values().flatten());
                side.said = None;
            }
            Message::Data { .. } | Message::Open { .. } => side.said = None,
            _ => {}
        }
        side.session.handle_frame(&bytes).unwrap();
        true
    }

    fn drain(&mut self) {
        let mut steps = 0;
        loop {
            let at = self.dice.roll(2) as usize;
            let outputs = self.dice.roll(2) == 0;
            let moved = if outputs { self.output(at) } else { self.arrival(at) };
            if !moved && !(0..2).any(|at| self.output(at) || self.arrival(at)) {
                return;
            }
            steps += 1;
            assert!(steps < 100_000, "no end of messages");
        }
    }

    fn open(&mut self, at: usize) {
        self.sides[at].session.open(SPACE, None);
    }

    fn write(&mut self, at: usize, count: u64, authors: (u64, u64)) {
        let host = &mut self.sides[at].host;
        write(host.graph_mut(&SPACE).unwrap(), &mut self.dice, count, authors);
        self.sides[at].session.changed(&SPACE);
    }

    fn is_open(&self, at: usize) -> bool {
        self.sides[at].session.spaces().any(|space| *space == SPACE)
    }

    // Nothing is on its way: a space that is open is the same on both sides, and both know it.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let open = [self.is_open(0), self.is_open(1)];
        prop_assert_eq!(open[0], open[1], "one side thinks that the space is open");
        if open[0] {
            let lengths = [self.ids(0).len(), self.ids(1).len()];
            prop_assert!(
                self.ids(0) == self.ids(1),
                "{lengths:?} nodes, {:?} and {:?}",
                self.sides[0].said,
                self.sides[1].said
            );
            for side in &self.sides {
                prop_assert_eq!(&side.said, &Some(Event::Settled(SPACE)));
            }
        }
        if self.wasteful {
            return Ok(());
        }
        for at in [0, 1] {
            // A clock names the ends of an author's chains, and not where they part: what stands between may seem to be lacking,
            // once whenever the space is opened. Nothing else goes again.
            let forked = self.forked(at);
            let again = &self.sides[at].again;
            let other = again.iter().filter(|(_, id)| !forked.contains(id)).count();
            prop_assert_eq!(other, 0, "sent although it was acknowledged");
            let once: BTreeSet<&(Slot, NodeId)> = again.iter().collect();
            prop_assert_eq!(once.len(), again.len(), "sent twice in one slot although it was acknowledged");
        }
        Ok(())
    }
}

fn agreed_wrong(graph: &Graph, digests: &[[u8; 8]], dice: &mut Dice) -> BTreeMap<SpaceId, Vec<Agreed>> {
    let len = graph.nodes.len() as u64;
    let mut rows = Vec::new();
    for _ in 0..dice.roll(6) {
        // Also what only the other side ever had.
        let known = digests.get(dice.roll(digests.len() as u64 * 2) as usize).copied();
        let digest = known.unwrap_or([dice.roll(3) as u8; 8]);
        let len = [0, dice.roll(len + 1), len, len + dice.roll(9), u64::MAX][dice.roll(5) as usize];
        rows.push(Agreed { digest, len });
    }
    BTreeMap::from([(SPACE, rows)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whenever_nothing_is_on_its_way_both_sides_have_the_same(
        seed in 1_u64..,
        named in any::<bool>(),
        shared in prop_oneof![Just(0_u64), 1_u64..150],
        new in (0_u64..60, 0_u64..60),
        authors in 1_u64..180,
        clones in any::<bool>(),
        wrong in any::<bool>(),
        opener in 0_usize..2,
        steps in 0_u64..400,
    ) {
        let mut dice = Dice(seed);
        let mut base = Graph::new(named);
        write(&mut base, &mut dice, shared, (0, authors));
        let mut digests = vec![base.digest()];
        let mut graphs = [base.clone(), base];
        // Clones go on with the same keys.
        let others = if clones { (0, authors) } else { (authors, authors) };
        write(&mut graphs[0], &mut dice, new.0, (0, authors));
        write(&mut graphs[1], &mut dice, new.1, others);
        digests.extend(graphs.iter().map(Graph::digest));
        let mut world = World::new(graphs, seed);
        world.wasteful = wrong;
        if wrong {
            for at in [0, 1] {
                let rows = agreed_wrong(world.graph(at), &digests, &mut dice);
                world.sides[at].host.restore(rows);
            }
        }
        world.open(opener);
        for _ in 0..steps {
            let at = world.dice.roll(2) as usize;
            match world.dice.roll(60) {
                0 => { let count = world.dice.roll(4); world.write(at, count, if at == 0 { (0, authors) } else { others }) }
                1 => world.open(at),
                2 if world.dice.roll(6) == 0 => world.sides[at].session.close(&SPACE),
                3..30 => drop(world.output(at)),
                _ => drop(world.arrival(at)),
            }
        }
        world.drain();
        world.check()?;
        // Whatever happened: it can be opened again, from either side, and then all goes over that is new.
        for round in 0..4 {
            let at = world.dice.roll(2) as usize;
            match round {
                1 => world.sides[at].session.close(&SPACE),
                3 => world.connect(seed.wrapping_add(1)),
                _ => {}
            }
            world.drain();
            world.check()?;
            world.open(at);
            world.drain();
            prop_assert!(world.is_open(0));
            world.check()?;
            world.write(at, 2, (0, authors));
            world.drain();
            world.check()?;
            // And then silence.
            world.sides.iter_mut().for_each(|side| { side.messages = 0; side.session.changed(&SPACE) });
            world.drain();
            prop_assert_eq!([world.sides[0].messages, world.sides[1].messages], [0, 0]);
        }
    }
}

fn of(authors: u64, count: u64) -> Graph {
    let mut graph = Graph::new(true);
    (0..count).for_each(|number| drop(graph.make((number % authors) as u32, &[])));
    graph
}

#[test]
fn an_empty_graph_is_filled_in_one_session_however_many_authors_there_are() {
    for authors in [1, 16, 17, 128, 129, 2000] {
        for opener in [0, 1] {
            for full in [0, 1] {
                let mut graphs = [Graph::new(true), Graph::new(true)];
                graphs[full] = of(authors, 2000);
                let mut world = World::new(graphs, 7);
                world.open(opener);
                world.drain();
                world.check().unwrap();
                assert!(world.is_open(0), "{authors} authors");
                // Nobody sends a filter to whom nothing is.
                assert!(world.sides.iter().all(|side| side.messages < 12), "{authors} authors");
            }
        }
    }
}

#[test]
fn a_space_that_both_sides_open_at_once_goes_over_once() {
    let mut world = World::new([of(3, 40), Graph::new(true)], 7);
    // Both are ready for anything.
    world.drain();
    world.open(1);
    world.open(0);
    world.drain();
    world.check().unwrap();
    assert_eq!([world.sides[0].session.spaces().count(), world.sides[1].session.spaces().count()], [1, 1]);
    assert_eq!(world.graph(1).received.len(), 40);
    // Who opens it once more hears how it stands.
    for at in [0, 1] {
        world.sides[at].said = None;
        world.open(at);
    }
    world.drain();
    world.check().unwrap();
}

#[test]
fn a_side_that_gets_the_same_from_elsewhere_while_it_is_asked_for_it_says_so() {
    for writes in [false, true] {
        // Of nodes without authors, and of more authors than a clock is said for, marks ask for an answer.
        for authors in [0, 200] {
            let mut all = of(authors.max(1), 300);
            all.named = authors > 0;
            let mut some = Graph::new(all.named);
            all.made[..250].iter().for_each(|made| assert!(some.take(made)));
            let mut world = World::new([some, all.clone()], 7);
            world.drain();
            world.open(0);
            // The other side has asked what is here above the marks.
            let had = loop {
                assert!(world.output(0) || world.arrival(1) || world.output(1), "nobody asked");
                if world.sides[0].arriving.len() == 1 {
                    break world.graph(1).received.len();
                }
            };
            all.made[250..].iter().for_each(|made| assert!(world.graph(0).take(made)));
            if writes {
                world.write(1, 3, (500, 3));
            }
            world.drain();
            world.check().unwrap();
            let received = [world.graph(0).received.len(), world.graph(1).received.len() - had];
            assert_eq!(received, [if writes { 3 } else { 0 }, 0]);
            world.write(0, 2, (0, 1));
            world.drain();
            world.check().unwrap();
        }
    }
}

#[test]
fn a_graph_that_is_taken_out_at_any_moment_closes_its_slot_on_both_sides() {
    for moment in 0..60 {
        for at in [0, 1] {
            let mut world = World::new([of(200, 300), of(150, 200)], 7);
            world.open(0);
            for _ in 0..moment {
                if !(0..2).any(|at| world.output(at)) {
                    let _ = (0..2).any(|at| world.arrival(at));
                }
            }
            let graph = world.sides[at].host.remove(&SPACE).unwrap();
            world.drain();
            world.sides[at].session.changed(&SPACE);
            world.drain();
            assert_eq!([world.is_open(0), world.is_open(1)], [false; 2], "after {moment} steps");
            world.sides[at].host.insert(SPACE, graph);
            world.open(1 - at);
            world.drain();
            world.check().unwrap();
            assert!(world.is_open(0));
        }
    }
}

#[test]
fn what_was_refused_for_a_missing_parent_comes_again_at_once_and_every_time() {
    for elsewhere in [false, true] {
        let mut world = World::new([of(3, 40), of(3, 40)], 7);
        // It has to send again what the other side lost.
        world.wasteful = true;
        world.open(0);
        world.drain();
        for _ in 0..8 {
            let before = world.graph(1).clone();
            let heads: Vec<NodeId> = world.graph(0).heads.iter().copied().collect();
            let parent = world.graph(0).make(1, &heads);
            world.sides[0].session.changed(&SPACE);
            world.drain();
            *world.graph(1) = before;
            let child = world.graph(0).make(2, &[parent.id]);
            world.sides[0].session.changed(&SPACE);
            while world.output(0) {}
            while world.arrival(1) {}
            assert!(world.output(1));
            assert!(!world.ids(1).contains(&child.id));
            if elsewhere {
                // Before it looks what it has to ask for.
                world.graph(1).take(&parent);
            }
            world.drain();
            world.check().unwrap();
            assert!(world.ids(1).contains(&child.id));
        }
    }
}
