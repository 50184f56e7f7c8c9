//! Two hosts of random graphs over a network that loses, repeats and reorders: they reconnect until they are equal.

mod graphs;

use std::collections::{BTreeSet, VecDeque};

use driftless_core::hash_graph::{HashGraph, NodeId};
use driftless_core::id::{PeerId, SpaceId};
use driftless_core::session::{Event, GraphHost, Output, Role, Session};
use driftless_core::sign::AuthorKey;
use graphs::Graph;
use proptest::prelude::*;

const SPACE: SpaceId = SpaceId([5; 32]);
// So few nodes are looked at before something else has its turn that every summary takes many turns.
const STEP: usize = 3;

struct Side {
    host: GraphHost<Graph>,
    session: Session,
    settled: bool,
    arriving: VecDeque<Vec<u8>>,
    /// What the other side has said that it has, durably, since the world began.
    acknowledged: BTreeSet<NodeId>,
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

struct World {
    sides: [Side; 2],
    dice: Dice,
    messages: usize,
    again: usize,
}

impl World {
    fn new(graphs: [Graph; 2], seed: u64) -> Self {
        let [left, right] = graphs;
        let side = |role, graph| {
            let mut host = GraphHost::new();
            host.set_step(STEP);
            host.insert(SPACE, graph);
            Side {
                host,
                session: session(role, 0),
                settled: false,
                arriving: VecDeque::new(),
                acknowledged: BTreeSet::new(),
            }
        };
        let sides = [side(Role::Dialer, left), side(Role::Listener, right)];
        Self { sides, dice: Dice(seed | 1), messages: 0, again: 0 }
    }

    fn graph(&mut self, side: usize) -> &mut Graph {
        self.sides[side].host.graph_mut(&SPACE).unwrap()
    }

    fn ids(&self, side: usize) -> BTreeSet<NodeId> {
        self.sides[side].host.graph(&SPACE).unwrap().at.keys().copied().collect()
    }

    // A new connection; `known` keeps what was agreed on before.
    fn connect(&mut self, number: u64, known: bool) {
        for (side, role) in self.sides.iter_mut().zip([Role::Dialer, Role::Listener]) {
            let graph = side.host.remove(&SPACE).unwrap();
            let agreed = side.host.agreed().clone();
            side.host = GraphHost::new();
            side.host.set_step(STEP);
            side.host.insert(SPACE, graph);
            if known {
                side.host.restore(agreed);
            }
            side.session = session(role, number);
            side.settled = false;
            side.arriving.clear();
        }
        self.sides[0].session.open(SPACE, None);
    }

    // Works until nothing is on its way, or the connection broke. `loss`: one message in so many is lost, repeated or
    // comes late; 0 is none.
    fn run(&mut self, loss: u64) -> bool {
        loop {
            for at in [0, 1] {
                while let Some(output) = self.sides[at].session.poll() {
                    match output {
                        Output::Send(bytes) => {
                            self.messages += 1;
                            let to = &mut self.sides[1 - at].arriving;
                            match if loss == 0 { 9 } else { self.dice.roll(loss) } {
                                0 => {}
                                1 => to.extend([bytes.clone(), bytes]),
                                2 => to.push_front(bytes),
                                _ => to.push_back(bytes),
                            }
                        }
                        Output::Ask(ask) => {
                            let side = &mut self.sides[at];
                            side.host.answer(&mut side.session, ask).unwrap();
                        }
                        Output::Event(Event::Settled(_)) => self.sides[at].settled = true,
                        Output::Event(_) => {}
                    }
                }
            }
            let at = self.dice.roll(2) as usize;
            let at = if self.sides[at].arriving.is_empty() { 1 - at } else { at };
            let Some(bytes) = self.sides[at].arriving.pop_front() else {
                return self.sides.iter().all(|side| side.settled);
            };
            if self.sides[at].session.handle_frame(&bytes).is_err() {
                return false;
            }
        }
    }

    // What came in since the last look, and how much of it had been acknowledged before.
    fn look(&mut self) {
        for at in [0, 1] {
            let received = std::mem::take(&mut self.graph(at).received);
            let before = &self.sides[at].acknowledged;
            self.again += received.iter().filter(|id| before.contains(*id)).count();
            let here = self.ids(at);
            self.sides[at].acknowledged = here;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_network_does_they_become_equal_and_then_silent(
        seed in 1_u64..,
        named in any::<bool>(),
        shared in 0_u64..150,
        new in (0_u64..80, 0_u64..80),
        authors in 1_u64..180,
        loss in prop_oneof![Just(0_u64), 4_u64..40],
        known in any::<bool>(),
        reset in any::<bool>(),
    ) {
        let mut dice = Dice(seed);
        let mut base = Graph::new(named);
        write(&mut base, &mut dice, shared, (0, authors));
        let mut graphs = [base.clone(), base];
        write(&mut graphs[0], &mut dice, new.0, (0, authors));
        write(&mut graphs[1], &mut dice, new.1, (authors, authors));
        let mut world = World::new(graphs, seed);
        world.look();
        let mut sessions = 0;
        loop {
            sessions += 1;
            prop_assert!(sessions < 400, "no end of reconnecting");
            world.connect(sessions, known);
            // After a while the network gets better: a connection must live long enough to say something.
            let loss = if loss == 0 || sessions > 40 { 0 } else { loss + sessions };
            let settled = world.run(loss);
            world.look();
            if sessions == 2 && reset {
                // One side loses everything, also what it knows of the other.
                world.sides[1].host = GraphHost::new();
                world.sides[1].host.set_step(STEP);
                world.sides[1].host.insert(SPACE, Graph::new(named));
                world.sides[1].acknowledged.clear();
                continue;
            }
            if settled {
                break;
            }
        }
        prop_assert_eq!(world.ids(0), world.ids(1));
        // Nothing that was here when a connection began came over it again, but for false positives and what they cost.
        prop_assert!(world.again == 0, "{} came again in {sessions} sessions", world.again);
        // Silence: another connection says that all is equal, and nothing travels.
        world.connect(sessions + 1, true);
        world.messages = 0;
        prop_assert!(world.run(0));
        prop_assert!(world.messages <= 8, "{} messages", world.messages);
        world.look();
        world.sides.iter_mut().for_each(|side| side.session.changed(&SPACE));
        world.messages = 0;
        prop_assert!(world.run(0));
        prop_assert_eq!(world.messages, 0);
        let received: usize = (0..2).map(|at| world.graph(at).received.len()).sum();
        prop_assert_eq!(received, 0);
    }

    #[test]
    fn what_is_written_while_connected_goes_over_once(
        seed in 1_u64..,
        rounds in proptest::collection::vec((0_usize..2, 1_u64..5), 1..12),
    ) {
        let mut dice = Dice(seed);
        let mut base = Graph::new(true);
        write(&mut base, &mut dice, 30, (0, 3));
        let mut world = World::new([base.clone(), base], seed);
        world.connect(1, true);
        prop_assert!(world.run(0));
        let mut written = 0;
        for (side, count) in rounds {
            write(world.graph(side), &mut dice, count, (side as u64 * 10, 3));
            written += count as usize;
            world.sides[side].session.changed(&SPACE);
            prop_assert!(world.run(0));
            prop_assert_eq!(world.ids(0), world.ids(1));
        }
        let received: usize = (0..2).map(|at| world.graph(at).received.len()).sum();
        prop_assert_eq!(received, written);
        // Both remember where they met last.
        let agreed: Vec<_> = world.sides.iter().map(|side| side.host.agreed()[&SPACE].last().unwrap().digest).collect();
        prop_assert_eq!(agreed[0], agreed[1]);
        let len = world.graph(0).len();
        prop_assert_eq!(world.sides[0].host.agreed()[&SPACE].last().unwrap().len, len);
    }
}
