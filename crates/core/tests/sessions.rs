//! Sessions joined by queues, over graphs in memory: they settle, go on after a cut, keep to
//! their windows, and take no harm from a peer that lies.

mod graphs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use driftless_core::id::{AuthorId, CommitId, PeerId, SpaceId};
use driftless_core::limits::{MAX_ROUNDS, MAX_SLOTS, SEND_WINDOW, SESSION_WINDOW};
use driftless_core::reconcile::{Clock, Detail, Entry, Summary};
use driftless_core::session::{
    Ask, Event, GraphHost, InviteProof, Message, Opened, Output, Pass, Role, Session, SessionError, Slot,
    numbered, take_number,
};
use driftless_core::sign::{AuthorKey, Domain, Signature};

use driftless_core::hash_graph::HashGraphMut;
use graphs::Graph;

/// A database of one test: graphs, some of which the other side may not read.
#[derive(Default)]
struct Host {
    graphs: GraphHost<Graph>,
    secret: BTreeSet<SpaceId>,
    /// Zeros behind each node.
    padding: usize,
    slots: BTreeMap<Slot, SpaceId>,
    forgotten: usize,
}

const A: SpaceId = SpaceId([0xaa; 32]);

fn id(number: u32) -> CommitId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    CommitId(id)
}

impl Clone for Host {
    // What a database keeps when its connections end.
    fn clone(&self) -> Self {
        let mut graphs = GraphHost::new();
        graphs.set_step(5);
        for space in self.spaces() {
            let graph = self.graphs.graph(&space).unwrap();
            graphs.insert(space, Graph { received: Vec::new(), ..graph.clone() });
        }
        graphs.restore(self.graphs.agreed().clone());
        Self { graphs, secret: self.secret.clone(), padding: self.padding, ..Self::default() }
    }
}

impl Host {
    fn with(numbers: impl IntoIterator<Item = u32>) -> Self {
        Self::padded(0, numbers)
    }

    fn padded(padding: usize, numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut host = Self { padding, ..Self::default() };
        host.graphs.set_step(5);
        host.write(A, numbers);
        host
    }

    fn spaces(&self) -> Vec<SpaceId> {
        self.graphs.spaces().copied().collect()
    }

    /// A chain of nodes with these ids; numbers of one hundred are one author's.
    fn write(&mut self, space: SpaceId, numbers: impl IntoIterator<Item = u32>) {
        let padding = self.padding;
        let graph = self.graph(space);
        graph.padding = padding;
        for number in numbers {
            graph.write(id(number).0, number / 100);
        }
    }

    fn graph(&mut self, space: SpaceId) -> &mut Graph {
        if self.graphs.graph(&space).is_none() {
            self.graphs.insert(space, Graph::new(true));
        }
        self.graphs.graph_mut(&space).unwrap()
    }

    fn ids(&self, space: SpaceId) -> BTreeSet<CommitId> {
        let graph = self.graphs.graph(&space);
        graph.map_or_else(BTreeSet::new, |graph| graph.at.keys().map(|id| CommitId(*id)).collect())
    }

    fn received(&self) -> Vec<CommitId> {
        let graph = self.graphs.graph(&A);
        graph.map_or_else(Vec::new, |graph| graph.received.iter().map(|id| CommitId(*id)).collect())
    }

    fn answer(&mut self, session: &mut Session, ask: Ask) {
        match &ask {
            Ask::Open { slot, space, theirs, .. } => {
                let own = theirs.is_none();
                self.slots.insert(*slot, *space);
                if self.secret.contains(space) {
                    let opened = Opened { summary: Summary::default(), readable: false, ready: false };
                    return session.handle_opened(*slot, own.then_some(opened));
                }
                if own {
                    self.graph(*space);
                }
            }
            Ask::Read { slot } if self.slots.get(slot).is_some_and(|space| self.secret.contains(space)) => {
                return session.handle_read(*slot, None);
            }
            Ask::Forget { .. } => self.forgotten += 1,
            _ => {}
        }
        self.graphs.answer(session, ask).unwrap();
    }
}

/// One side: its session, its host, what it heard, and what is on its way to it.
struct Side {
    session: Session,
    host: Host,
    events: Vec<Event>,
    arriving: VecDeque<Vec<u8>>,
}

impl Side {
    fn new(role: Role, host: Host) -> Self {
        let (us, them) = peers(role);
        let keys = vec![key(role)];
        let session = Session::new(role, us, them, nonce(role), keys);
        Self { session, host, events: Vec::new(), arriving: VecDeque::new() }
    }

    /// Everything that the last input led to; gives what is for the peer.
    fn work(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => sent.push(bytes),
                Output::Ask(ask) => self.host.answer(&mut self.session, ask),
                Output::Event(event) => self.events.push(event),
            }
        }
        sent
    }

    fn settled(&self) -> bool {
        self.events.contains(&Event::Settled(A))
    }
}

fn peers(role: Role) -> (PeerId, PeerId) {
    let (dialer, listener) = (PeerId([1; 32]), PeerId([2; 32]));
    if role == Role::Dialer { (dialer, listener) } else { (listener, dialer) }
}

fn nonce(role: Role) -> [u8; 16] {
    [if role == Role::Dialer { 11 } else { 12 }; 16]
}

fn key(role: Role) -> AuthorKey {
    AuthorKey::from_seed(&[if role == Role::Dialer { 21 } else { 22 }; 32])
}

struct Pair {
    left: Side,
    right: Side,
    delivered: usize,
}

impl Pair {
    fn new(left: Host, right: Host) -> Self {
        let (left, right) = (Side::new(Role::Dialer, left), Side::new(Role::Listener, right));
        Self { left, right, delivered: 0 }
    }

    /// Delivers up to `limit` messages in all, the right side first if `right_first`.
    fn run(&mut self, limit: usize, right_first: bool) {
        loop {
            self.right.arriving.extend(self.left.work());
            self.left.arriving.extend(self.right.work());
            if self.delivered == limit {
                return;
            }
            let right =
                if right_first { !self.right.arriving.is_empty() } else { self.left.arriving.is_empty() };
            let side = if right { &mut self.right } else { &mut self.left };
            let Some(bytes) = side.arriving.pop_front() else { return };
            side.session.handle_frame(&bytes).unwrap();
            self.delivered += 1;
        }
    }

    fn open(&mut self, spaces: &[SpaceId]) {
        spaces.iter().for_each(|space| self.left.session.open(*space, None));
    }
}

#[test]
fn two_sides_settle_in_every_order_whoever_is_behind() {
    let logs = [Host::with(0..0), Host::with(0..1), Host::with(0..30), Host::with((0..10).chain(100..120))];
    for (left, right, right_first) in (0..32).map(|n| (n % 4, n / 4 % 4, n / 16 == 1)) {
        let mut pair = Pair::new(logs[left].clone(), logs[right].clone());
        pair.open(&[A]);
        pair.run(usize::MAX, right_first);
        let all: BTreeSet<CommitId> = logs[left].ids(A).union(&logs[right].ids(A)).copied().collect();
        assert!(pair.left.settled() && pair.right.settled(), "{left} {right} {:?}", pair.left.events);
        assert_eq!((pair.left.host.ids(A), pair.right.host.ids(A)), (all.clone(), all));
    }
}

#[test]
fn who_has_nothing_yet_gets_everything_and_goes_on_live() {
    let mut pair = Pair::new(Host::default(), Host::with(0..20));
    pair.open(&[A]);
    pair.run(usize::MAX, true);
    assert!(pair.left.settled() && pair.right.settled());
    for round in 1..20 {
        let side = if round % 2 == 0 { &mut pair.left } else { &mut pair.right };
        side.events.clear();
        side.host.write(A, [1000 + round]);
        side.session.changed(&A);
        pair.run(usize::MAX, round % 3 == 0);
        assert_eq!(pair.left.host.ids(A), pair.right.host.ids(A));
        assert!(pair.left.settled() && pair.right.settled());
    }
    // Each commit went one way, once.
    assert_eq!((pair.left.host.received().len(), pair.right.host.received().len()), (30, 9));
}

#[test]
fn changes_while_settling_and_on_both_sides_at_once_arrive() {
    for at in 0..30 {
        let mut pair = Pair::new(Host::with(0..10), Host::with((0..5).chain(50..55)));
        pair.open(&[A]);
        pair.run(at, false);
        for (side, number) in [(&mut pair.left, 2000), (&mut pair.right, 3000)] {
            side.host.write(A, [number]);
            side.session.changed(&A);
        }
        pair.run(usize::MAX, true);
        assert_eq!(pair.left.host.ids(A), pair.right.host.ids(A), "after {at}");
        assert!(pair.left.settled() && pair.right.settled(), "after {at}");
    }
}

#[test]
fn many_spaces_settle_over_one_connection_and_one_may_be_opened_by_both() {
    let spaces: Vec<SpaceId> = (0..200).map(|n| SpaceId([n; 32])).collect();
    let (mut left, mut right) = (Host::default(), Host::default());
    for (n, space) in spaces.iter().enumerate() {
        left.write(*space, 0..(n as u32 % 7));
        right.write(*space, 0..(n as u32 % 5));
    }
    let mut pair = Pair::new(left, right);
    pair.open(&spaces);
    spaces.iter().for_each(|space| pair.right.session.open(*space, None));
    pair.run(usize::MAX, false);
    for space in &spaces {
        assert!(pair.left.events.contains(&Event::Settled(*space)));
        assert!(pair.right.events.contains(&Event::Settled(*space)));
        assert_eq!(pair.left.host.ids(*space), pair.right.host.ids(*space));
    }
    pair.left.session.close(&spaces[3]);
    pair.run(usize::MAX, false);
    assert!(pair.right.events.contains(&Event::Closed(spaces[3])));
    assert!(!pair.right.session.spaces().any(|space| *space == spaces[3]));
}

#[test]
fn a_third_gets_through_the_second_what_the_first_writes() {
    let mut near = Pair::new(Host::with(0..5), Host::with(0..1));
    near.open(&[A]);
    near.run(usize::MAX, true);
    let mut far = Pair::new(near.right.host.clone(), Host::with(0..1));
    far.open(&[A]);
    far.run(usize::MAX, true);
    near.left.host.write(A, 10..15);
    near.left.session.changed(&A);
    near.run(usize::MAX, true);
    far.left.host.write(A, 10..15);
    far.left.session.changed(&A);
    far.run(usize::MAX, false);
    assert_eq!(far.right.host.ids(A), near.left.host.ids(A));
}

#[test]
fn after_a_cut_at_any_message_nothing_that_was_acknowledged_is_sent_again() {
    for cut in 0..120 {
        // A frame holds one node, so that what is here is what was acknowledged.
        let mut pair = Pair::new(Host::padded(66_000, 0..25), Host::padded(66_000, (0..5).chain(150..170)));
        pair.open(&[A]);
        pair.run(cut, cut % 2 == 0);
        let (left, right) = (pair.left.host.clone(), pair.right.host.clone());
        let kept = (left.ids(A), right.ids(A));
        let mut pair = Pair::new(left, right);
        pair.open(&[A]);
        pair.run(usize::MAX, false);
        assert!(pair.left.settled() && pair.right.settled());
        assert_eq!(pair.left.host.ids(A), pair.right.host.ids(A), "cut {cut}");
        assert_eq!(pair.left.host.ids(A).len(), 45);
        for (side, kept) in [(&pair.left, kept.0), (&pair.right, kept.1)] {
            assert!(side.host.received().iter().all(|id| !kept.contains(id)), "cut {cut}");
            assert_eq!(side.host.received().len() + kept.len(), 45);
        }
    }
}

#[test]
fn windows_are_kept_by_each_space_and_by_all_together() {
    let spaces: Vec<SpaceId> = (0..20).map(|n| SpaceId([n; 32])).collect();
    let mut left = Host { padding: 66_000, ..Host::default() };
    spaces.iter().for_each(|space| left.write(*space, 0..40));
    let mut right = Host::default();
    spaces.iter().for_each(|space| right.write(*space, 0..0));
    let mut pair = Pair::new(left, right);
    pair.open(&spaces);
    let mut most = 0;
    loop {
        // The right side hears everything but its answers to data are slow.
        let before = pair.delivered;
        let limit = before + 1;
        pair.run(limit, false);
        let mut waiting = BTreeMap::<Slot, usize>::new();
        for bytes in &pair.right.arriving {
            let (_, message) = take_number(bytes).unwrap();
            if let Message::Data { slot, frame, .. } = Message::decode(message).unwrap() {
                *waiting.entry(slot).or_default() += frame.len();
            }
        }
        most = most.max(waiting.values().sum());
        assert!(waiting.values().all(|bytes| *bytes < SEND_WINDOW + 67_000));
        assert!(waiting.values().sum::<usize>() <= SESSION_WINDOW);
        if pair.delivered == before {
            break;
        }
    }
    assert!(most > SESSION_WINDOW / 2, "{most}");
    assert!(spaces.iter().all(|space| pair.right.host.ids(*space).len() == 40));
}

/// The listener under test, and a peer that is not a session.
struct Attack {
    side: Side,
    heard: Vec<Message>,
    said: u64,
}

impl Attack {
    fn greeted(host: Host) -> Self {
        let mut side = Side::new(Role::Listener, host);
        side.work();
        let mut attack = Self { side, heard: Vec::new(), said: 0 };
        attack.say(Message::Hello { version: 1, nonce: nonce(Role::Dialer) }).unwrap();
        attack.say(proof(0, nonce(Role::Listener))).unwrap();
        attack
    }

    fn open(host: Host) -> Self {
        let mut attack = Self::greeted(host);
        attack.say(open(0, A)).unwrap();
        attack
    }

    fn say(&mut self, message: Message) -> Result<(), SessionError> {
        let done = self.hand(&message);
        let heard = self.side.work();
        self.heard.extend(heard.iter().map(|bytes| Message::decode(take_number(bytes).unwrap().1).unwrap()));
        done
    }

    fn hand(&mut self, message: &Message) -> Result<(), SessionError> {
        self.said += 1;
        self.side.session.handle_frame(&numbered(self.said - 1, message))
    }
}

fn proof(role: u8, theirs: [u8; 16]) -> Message {
    let key = key(Role::Dialer);
    let (us, them) = peers(Role::Dialer);
    let signed = [&[role][..], &us.0, &them.0, &nonce(Role::Dialer), &theirs].concat();
    Message::Proof(vec![(key.id(), key.sign(Domain::AuthorProof, &[&signed]))])
}

fn open(slot: Slot, space: SpaceId) -> Message {
    Message::Open { slot, space, invite: None, summary: Summary::default() }
}

fn end(heads: Vec<CommitId>) -> Message {
    Message::End { slot: 0, digest: [9; 8], heads }
}

#[test]
fn a_greeting_that_is_not_for_this_session_ends_it() {
    let hello = Message::Hello { version: 1, nonce: nonce(Role::Dialer) };
    let listener = || {
        let mut side = Side::new(Role::Listener, Host::with(0..3));
        let sent = side.work();
        (side, sent)
    };
    // The role of the other side, the nonce of another session.
    for bad in [proof(1, nonce(Role::Listener)), proof(0, [13; 16]), proof(0, nonce(Role::Dialer))] {
        let (mut side, _) = listener();
        side.session.handle_frame(&numbered(0, &hello)).unwrap();
        assert_eq!(side.session.handle_frame(&numbered(1, &bad)), Err(SessionError::Proof));
        assert!(side.session.proven().is_empty());
    }
    // What the listener says is no proof of the one who says it back.
    let (mut side, sent) = listener();
    side.session.handle_frame(&sent[0]).unwrap();
    assert!(side.work().is_empty());
    assert!(side.session.handle_frame(&numbered(1, &proof(0, nonce(Role::Listener)))).is_err());
    // A dialer gets its own proof back.
    let mut dialer = Side::new(Role::Dialer, Host::default());
    dialer.work();
    dialer
        .session
        .handle_frame(&numbered(0, &Message::Hello { version: 1, nonce: nonce(Role::Listener) }))
        .unwrap();
    let own = dialer.work().remove(0);
    assert_eq!(dialer.session.handle_frame(&own), Err(SessionError::Proof));

    let (mut side, _) = listener();
    let newer = numbered(0, &Message::Hello { version: 2, nonce: [0; 16] });
    assert_eq!(side.session.handle_frame(&newer), Err(SessionError::Version(2)));
    let (mut side, _) = listener();
    assert!(side.session.handle_frame(&numbered(0, &open(0, A))).is_err());
    assert!(side.session.handle_frame(&numbered(1, &Message::Proof(vec![]))).is_err());
    let (mut side, _) = listener();
    side.session.handle_frame(&numbered(0, &hello)).unwrap();
    assert!(side.session.handle_frame(&numbered(1, &hello)).is_err());
    let many = Message::Proof(vec![(AuthorId([1; 32]), Signature([0; 64])); 17]);
    assert!(matches!(side.session.handle_frame(&numbered(2, &many)), Err(SessionError::Message(_))));

    let mut attack = Attack::greeted(Host::with(0..3));
    assert!(attack.say(hello.clone()).is_err());
    assert!(attack.say(proof(0, nonce(Role::Listener))).is_err());
}

#[test]
fn an_invite_for_somebody_else_is_not_shown_to_the_host() {
    let mut attack = Attack::greeted(Host::with(0..3));
    let invite = |joiner| InviteProof { invite: id(1), index: 0, joiner, proof: Signature([0; 64]) };
    for (slot, joiner, kept) in [(0, AuthorId([5; 32]), false), (2, key(Role::Dialer).id(), true)] {
        let message = Message::Open {
            slot,
            space: SpaceId([slot as u8; 32]),
            invite: Some(Pass::Invite(invite(joiner))),
            summary: Summary::default(),
        };
        attack.hand(&message).unwrap();
        let Some(Output::Ask(Ask::Open { invite, keys, .. })) = attack.side.session.poll() else { panic!() };
        assert_eq!(invite.is_some(), kept);
        assert_eq!(keys, [key(Role::Dialer).id()]);
        attack.side.session.handle_opened(slot, None);
        attack.side.work();
    }
}

#[test]
fn messages_out_of_turn_are_named() {
    let data = |slot, number| Message::Data { slot, number, frame: vec![1], digest: [7; 8] };
    let ack = |number| Message::Ack { slot: 0, number, refused: Vec::new(), digest: [7; 8] };
    let want =
        |bodies: bool| Message::Want { slot: 0, ids: vec![id(0)], again: (!bodies).then(Summary::default) };
    let have = Message::Have { slot: 0, summary: Summary::default() };
    let bad: Vec<Vec<Message>> = vec![
        vec![open(1, SpaceId([3; 32]))],
        vec![open(0, SpaceId([3; 32]))],
        vec![open(2, A)],
        vec![Message::Close { slot: 0 }, open(0, A)],
        vec![have],
        vec![data(0, 2)],
        vec![data(0, 1), data(0, 1)],
        vec![ack(4)],
        vec![ack(0)],
        vec![ack(1), ack(1)],
        vec![end(Vec::new()), end(Vec::new())],
        vec![want(false), want(false)],
        vec![want(true), want(true)],
    ];
    for messages in bad {
        // Frames so large that the first two fill the window: the end is not said yet.
        let padding = if matches!(messages[0], Message::Want { .. }) { 600_000 } else { 0 };
        let mut attack = Attack::open(Host::padded(padding, 0..3));
        let (last, before) = messages.split_last().unwrap();
        let early: Vec<_> = before.iter().map(|message| attack.say(message.clone())).collect();
        let done = attack.say(last.clone());
        assert!(matches!(done, Err(SessionError::Unexpected(_))), "{early:?} {messages:?}");
    }
    // What is said of a slot that is closed may have been on its way.
    let mut attack = Attack::open(Host::with(0..3));
    attack.say(Message::Close { slot: 0 }).unwrap();
    for late in [data(0, 7), ack(9), want(true), end(Vec::new()), Message::Close { slot: 0 }, data(77, 1)] {
        attack.say(late).unwrap();
    }
    assert_eq!((attack.side.host.forgotten, attack.side.host.received().len()), (1, 0));
    attack.say(open(2, A)).unwrap();
    assert!(attack.side.session.spaces().eq([&A]));
}

#[test]
fn a_peer_can_open_only_so_many_spaces() {
    let mut attack = Attack::greeted(Host { secret: BTreeSet::new(), ..Host::default() });
    let space = |n: usize| SpaceId(Domain::Frontier.hash(&[&n.to_be_bytes()]));
    (0..=MAX_SLOTS).for_each(|n| attack.side.host.write(space(n), 0..1));
    for n in 0..MAX_SLOTS {
        attack.say(open(2 * n as Slot, space(n))).unwrap();
    }
    assert!(attack.say(open(2 * MAX_SLOTS as Slot, space(MAX_SLOTS))).is_err());
}

#[test]
fn heads_that_never_come_end_as_stalled_and_what_is_new_goes_on() {
    let mut attack = Attack::open(Host::with(0..3));
    attack.say(Message::Ack { slot: 0, number: 1, refused: vec![], digest: [7; 8] }).unwrap();
    let mut ends = 0;
    while !attack.side.events.contains(&Event::Stalled(A)) {
        attack.say(end(vec![id(99)])).unwrap();
        ends += 1;
        assert!(ends <= MAX_ROUNDS + 1);
    }
    assert!(!attack.side.settled());
    assert!(attack.say(end(vec![id(99)])).is_err());
    // The head comes after all: now it is the same on both sides.
    let mut other = Graph::new(true);
    other.write(id(99).0, 7);
    let node = other.bytes(1).unwrap();
    let frame = [&[node.len() as u8], &node[..]].concat();
    attack.say(Message::Data { slot: 0, number: 1, frame, digest: [9; 8] }).unwrap();
    assert!(attack.side.settled());
    assert!(attack.side.host.ids(A).contains(&id(99)));
}

#[test]
fn endless_wishes_end_the_session() {
    let mut attack = Attack::open(Host::with(0..3));
    let mut acked = 0;
    let mut wishes = 0;
    loop {
        let sent =
            attack.heard.iter().filter(|message| matches!(message, Message::Data { .. })).count() as u64;
        if sent > acked {
            attack.say(Message::Ack { slot: 0, number: sent, refused: vec![], digest: [7; 8] }).unwrap();
            acked = sent;
        }
        wishes += 1;
        if attack.say(Message::Want { slot: 0, ids: vec![id(2)], again: Some(Summary::default()) }).is_err() {
            break;
        }
    }
    assert_eq!(wishes, MAX_ROUNDS + 1);
}

#[test]
fn wishes_for_bodies_that_bring_nothing_end_the_session() {
    let mut attack = Attack::open(Host::with(0..3));
    attack.say(Message::Ack { slot: 0, number: 1, refused: vec![], digest: [7; 8] }).unwrap();
    let wish = |n: u32| Message::Want { slot: 0, ids: vec![id(900 + n)], again: None };
    (0..MAX_ROUNDS + 2).for_each(|n| attack.say(wish(n)).unwrap());
    assert!(attack.say(wish(99)).is_err());
}

#[test]
fn a_peer_that_declines_gets_nothing_more_and_the_other_direction_settles() {
    let mut attack = Attack::open(Host::padded(600_000, 0..10));
    let data = |heard: &[Message]| heard.iter().filter(|m| matches!(m, Message::Data { .. })).count();
    let before = data(&attack.heard);
    attack.say(Message::Decline { slot: 0, reason: "quota".into(), retry_after_ms: 1 }).unwrap();
    for number in 1..=before as u64 {
        attack.say(Message::Ack { slot: 0, number, refused: vec![], digest: [7; 8] }).unwrap();
    }
    attack.side.session.changed(&A);
    attack.say(end(Vec::new())).unwrap();
    attack.say(Message::Want { slot: 0, ids: vec![id(5)], again: Some(Summary::default()) }).unwrap();
    assert_eq!(data(&attack.heard), before);
    assert_eq!(attack.heard.iter().filter(|m| matches!(m, Message::End { .. })).count(), 2);
    assert!(attack.side.events.contains(&Event::Declined(A, "quota".into(), 1)));
}

#[test]
fn who_may_not_read_hears_neither_heads_nor_commits_and_is_closed_at_once() {
    let mut attack = Attack::greeted(Host { secret: BTreeSet::from([A]), ..Host::with(0..3) });
    attack.heard.clear();
    attack.say(open(0, A)).unwrap();
    attack.say(open(2, SpaceId([1; 32]))).unwrap();
    assert_eq!(attack.heard, [Message::Close { slot: 0 }, Message::Close { slot: 2 }]);
    // What this side opens itself says nothing of what is here.
    attack.heard.clear();
    attack.side.session.open(A, None);
    attack.say(Message::Close { slot: 2 }).unwrap();
    let summary = Summary::default();
    assert_eq!(attack.heard, [Message::Open { slot: 1, space: A, invite: None, summary }]);

    // Permission may end in the middle.
    let mut attack = Attack::open(Host::with(0..3));
    attack.side.host.secret.insert(A);
    attack.side.host.write(A, 10..11);
    attack.heard.clear();
    attack.side.session.changed(&A);
    attack.say(Message::Ack { slot: 0, number: 1, refused: vec![], digest: [7; 8] }).unwrap();
    assert_eq!(attack.heard, [Message::Close { slot: 0 }]);
}

#[test]
fn bytes_that_are_cut_changed_or_unknown_are_an_error_or_a_message_never_a_panic() {
    let clock = Clock(vec![Entry { tag: [1; 4], seq: u64::MAX, check: [2; 4] }]);
    let summary = Summary { digest: [3; 8], detail: Detail::Clock(clock) };
    let invite =
        InviteProof { invite: id(1), index: 7, joiner: AuthorId([1; 32]), proof: Signature([5; 64]) };
    let messages = [
        Message::Hello { version: 1, nonce: [7; 16] },
        proof(0, [1; 16]),
        Message::Open { slot: 2, space: A, invite: Some(Pass::Invite(invite)), summary: summary.clone() },
        Message::Have { slot: 0, summary },
        Message::Data { slot: 0, number: 1, frame: vec![1; 40], digest: [7; 8] },
        Message::Ack { slot: 0, number: 1, refused: Vec::new(), digest: [7; 8] },
        end(vec![id(4)]),
        Message::Want { slot: 0, ids: vec![id(0)], again: None },
        Message::Decline { slot: 0, reason: "quota".into(), retry_after_ms: u64::MAX },
        Message::Close { slot: 0 },
    ];
    for message in &messages {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(message));
        for length in 0..bytes.len() {
            assert!(Message::decode(&bytes[..length]).is_err());
        }
        for (at, change) in (0..bytes.len()).flat_map(|at| [1, 0x20, 0x80, 0xff].map(|change| (at, change))) {
            let mut bytes = bytes.clone();
            bytes[at] ^= change;
            let mut side = Side::new(Role::Listener, Host::with(0..3));
            let _ = side.session.handle_frame(&[&[0], &bytes[..]].concat());
            if at % 8 == 0 || at < 8 {
                let mut attack = Attack::open(Host::with(0..3));
                let said = u8::try_from(attack.said).unwrap();
                let _ = attack.side.session.handle_frame(&[&[said], &bytes[..]].concat());
                attack.side.work();
            }
        }
    }
    for bytes in [&[][..], &[0x80], &[0x81, 0x18, 0x63], &[0x82, 0x0a, 0x00], &[0x9b, 0xff], &[0x82, 0, 1]] {
        assert!(Message::decode(bytes).is_err());
    }
}

#[test]
fn what_one_space_makes_us_look_through_keeps_no_other_waiting() {
    let b = SpaceId([0xbb; 32]);
    for closes in [false, true] {
        let (mut left, mut right) = (Host::with(0..1), Host::with(0..3000));
        left.write(b, 0..2);
        right.write(b, 0..2);
        let mut pair = Pair::new(left, right);
        pair.open(&[A, b]);
        let (mut went_on, mut answered) = (Vec::new(), Vec::new());
        // Until there is nothing more to do for the right side, whatever the left side would answer.
        while {
            let sent = pair.left.work();
            pair.right.arriving.extend(sent);
            !pair.right.arriving.is_empty()
        } {
            for bytes in std::mem::take(&mut pair.right.arriving) {
                pair.right.session.handle_frame(&bytes).unwrap();
            }
            while let Some(output) = pair.right.session.poll() {
                match output {
                    Output::Send(bytes) => {
                        let (_, message) = take_number(&bytes).unwrap();
                        match Message::decode(message).unwrap() {
                            Message::Have { slot, .. } => answered.push(slot),
                            Message::Hello { .. } | Message::Proof(_) => {
                                pair.left.session.handle_frame(&bytes).unwrap();
                            }
                            _ => {}
                        }
                    }
                    Output::Ask(ask) => {
                        if let Ask::Go { slot } = &ask {
                            went_on.push(*slot);
                            if closes && went_on.len() == 100 {
                                pair.right.session.close(&A);
                            }
                        }
                        pair.right.host.answer(&mut pair.right.session, ask);
                    }
                    Output::Event(_) => {}
                }
            }
        }
        // The space that was opened second is answered first, and what is closed is not looked at any more.
        let whole = if closes { (vec![2], 100) } else { (vec![2, 0], 600) };
        assert_eq!(answered, whole.0);
        assert!(went_on.iter().all(|slot| *slot == 0));
        assert_eq!(went_on.len() / 10, whole.1 / 10);
    }
}
