//! Requests for access and discovery in a session: heard for proven keys only, one answer each, and bounded.

use driftless_core::id::{AuthorId, PeerId, RequestId, SpaceId};
use driftless_core::limits::{MAX_ASKED, MAX_ASKED_AT_ONCE, MAX_CHANGED};
use driftless_core::rules::{Permission, Strength};
use driftless_core::session::{
    AccessRequest, Answer, Ask, Changed, Creator, Discovered, Event, Located, Lookup, Message, Output, Pass,
    Role, Session, SessionError, SpaceProof, numbered, take_number,
};
use driftless_core::sign::{AuthorKey, Domain};

const A: SpaceId = SpaceId([10; 32]);
const DIALER: PeerId = PeerId([0; 32]);
const LISTENER: PeerId = PeerId([1; 32]);

fn key(number: u8) -> AuthorKey {
    AuthorKey::from_seed(&[number; 32])
}

fn request(author: AuthorId) -> AccessRequest {
    AccessRequest { space: A, author, permission: Permission::Write(Strength(7)), note: "hello".into() }
}

/// One side. Its host lets in whoever asks, and has ten spaces, so many in a page.
struct Side {
    session: Session,
    events: Vec<Event>,
    heard: Vec<AccessRequest>,
    proven: Vec<AuthorId>,
    answers: bool,
    said: Vec<Message>,
    passes: Vec<Option<Pass>>,
}

impl Side {
    fn new(role: Role) -> Self {
        let (us, them) = if role == Role::Dialer { (DIALER, LISTENER) } else { (LISTENER, DIALER) };
        let keys = vec![key(role as u8)];
        Self {
            session: Session::new(role, us, them, [role as u8; 16], keys),
            events: Vec::new(),
            heard: Vec::new(),
            proven: Vec::new(),
            answers: true,
            said: Vec::new(),
            passes: Vec::new(),
        }
    }

    fn work(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => {
                    self.said.push(Message::decode(take_number(&bytes).unwrap().1).unwrap());
                    messages.push(bytes);
                }
                Output::Event(event) => self.events.push(event),
                Output::Ask(Ask::Request { number, request }) => {
                    let answer = Answer::Allowed(request.permission);
                    self.heard.push(request);
                    if self.answers {
                        self.session.handle_answer(number, answer);
                    }
                }
                Output::Ask(Ask::Discover { number, keys, after }) => {
                    self.proven = keys;
                    let first = after.map_or(0, |after| after.0[0] + 1);
                    let found = (first..10)
                        .take(4)
                        .map(|n| Discovered { space: SpaceId([n; 32]), name: n.to_string() });
                    if self.answers {
                        self.session.handle_found(number, found.collect(), first + 4 < 10);
                    }
                }
                Output::Ask(Ask::Shared { number, pass, .. }) => {
                    self.passes.push(pass.map(|pass| *pass));
                    let spaces = vec![Discovered { space: A, name: "shared".into() }];
                    self.session.handle_found(number, spaces, false);
                }
                Output::Ask(Ask::Find { number, keys, lookup }) => {
                    self.proven = keys;
                    let documents = vec![(A, lookup.collection.into_bytes())];
                    if self.answers {
                        self.session.handle_located(number, Located { documents, next: None, cut: false });
                    }
                }
                Output::Ask(Ask::Tell { spaces, .. }) => {
                    let readable = spaces.into_iter().filter(|space| *space == A);
                    let told = readable.map(|space| Changed { space, digest: [4; 8] });
                    self.session.handle_told(told.collect());
                }
                Output::Ask(other) => panic!("{other:?}"),
            }
        }
        messages
    }
}

fn run(sides: &mut [Side; 2]) -> Result<(), SessionError> {
    loop {
        let mut quiet = true;
        for from in 0..2 {
            for message in sides[from].work() {
                quiet = false;
                sides[1 - from].session.handle_frame(&message)?;
            }
        }
        if quiet {
            return Ok(());
        }
    }
}

fn pair() -> [Side; 2] {
    [Side::new(Role::Dialer), Side::new(Role::Listener)]
}

// A listener that has greeted somebody, and the number of the next message.
fn greeted() -> (Side, u64) {
    let mut side = Side::new(Role::Listener);
    side.work();
    let nonce = [0; 16];
    let signed = [&[0][..], &DIALER.0, &LISTENER.0, &nonce, &[1; 16]].concat();
    let proof = vec![(key(0).id(), key(0).sign(Domain::AuthorProof, &[&signed]))];
    for (number, message) in (0..).zip([Message::Hello { version: 1, nonce }, Message::Proof(proof)]) {
        side.session.handle_frame(&numbered(number, &message)).unwrap();
        side.work();
    }
    side.said.clear();
    (side, 2)
}

#[test]
fn a_request_is_one_question_and_one_answer_in_either_direction() {
    for asker in 0..2 {
        let mut sides = pair();
        sides[asker].session.request(request(key(asker as u8).id()));
        // A listener asks when the dialer has said something.
        sides[0].session.discover(None);
        assert!(sides[asker].session.is_asking());
        run(&mut sides).unwrap();
        assert!(!sides[asker].session.is_asking());
        let answered = Event::Answered(A, Answer::Allowed(Permission::Write(Strength(7))));
        assert!(sides[asker].events.contains(&answered));
        assert_eq!(sides[1 - asker].heard, [request(key(asker as u8).id())]);
    }
}

#[test]
fn spaces_come_page_by_page_and_are_asked_for_with_the_proven_keys() {
    let mut sides = pair();
    let (mut after, mut found, mut pages) = (None, Vec::new(), 0);
    loop {
        sides[0].session.discover(after);
        run(&mut sides).unwrap();
        pages += 1;
        let Some(Event::Found(spaces, more)) = sides[0].events.pop() else { panic!("no answer") };
        found.extend(spaces.into_iter().map(|found| found.space));
        after = found.last().copied();
        if !more {
            break;
        }
    }
    assert_eq!(found, (0..10).map(|n| SpaceId([n; 32])).collect::<Vec<_>>());
    assert_eq!((pages, &sides[1].proven), (3, &vec![key(0).id()]));
}

fn profile() -> Lookup {
    Lookup { collection: "profile".into(), by: Creator::Author(key(0).id()), after: None }
}

#[test]
fn what_is_shared_by_name_and_what_somebody_made_is_asked_for_with_the_proven_keys() {
    let mut sides = pair();
    let pass = |joiner| Pass::Space(SpaceProof { joiner, space: A, proof: Vec::new() });
    for joiner in [key(0).id(), key(9).id()] {
        sides[0].session.shared(None, Some(pass(joiner)));
        run(&mut sides).unwrap();
        let found = vec![Discovered { space: A, name: "shared".into() }];
        assert_eq!(sides[0].events.pop(), Some(Event::Found(found, false)));
    }
    // The pass of a key that was not proven is none.
    assert_eq!(sides[1].passes, [Some(pass(key(0).id())), None]);

    sides[0].session.find(profile());
    run(&mut sides).unwrap();
    let found = Located { documents: vec![(A, b"profile".to_vec())], next: None, cut: false };
    assert_eq!(sides[0].events.pop(), Some(Event::Located(found.clone())));
    assert_eq!(sides[1].proven, [key(0).id()]);
    // Nor is the answer to one question that to another.
    let (mut side, number) = greeted();
    side.session.discover(None);
    side.session.handle_frame(&numbered(number, &Message::Changed(Vec::new()))).unwrap();
    side.work();
    let answer = Message::Located { number: 0, located: found };
    assert!(side.session.handle_frame(&numbered(number + 1, &answer)).is_err());
}

#[test]
fn a_peer_hears_that_something_changed_where_it_may_read_and_nowhere_else() {
    let (mut sides, other) = (pair(), SpaceId([3; 32]));
    // Nothing is said before both sides are ready.
    let mut early = Side::new(Role::Listener);
    early.session.tell(Vec::new());
    assert!(early.work().len() == 1, "only the greeting");
    sides[0].session.discover(None);
    run(&mut sides).unwrap();
    sides[0].events.clear();
    for (told, heard) in [
        (vec![A, other], Some(vec![Changed { space: A, digest: [4; 8] }])),
        (vec![other], None),
        (Vec::new(), Some(Vec::new())),
        // Too many to name are not named.
        (vec![other; MAX_CHANGED + 1], Some(Vec::new())),
    ] {
        sides[1].session.tell(told);
        run(&mut sides).unwrap();
        assert_eq!(sides[0].events.pop(), heard.map(Event::Changed));
    }
}

#[test]
fn a_key_that_is_only_named_is_not_heard() {
    let (mut side, number) = greeted();
    let stranger = Message::Request { number: 0, request: request(key(9).id()) };
    let refused = side.session.handle_frame(&numbered(number, &stranger));
    assert!(matches!(refused, Err(SessionError::Unexpected(_))), "{refused:?}");
    side.work();
    assert!(side.heard.is_empty() && side.said.is_empty());
}

#[test]
fn nothing_is_heard_before_the_proof() {
    for message in [
        Message::Request { number: 0, request: request(key(0).id()) },
        Message::Discover { number: 0, after: None },
    ] {
        let mut side = Side::new(Role::Listener);
        assert!(side.session.handle_frame(&numbered(0, &message)).is_err());
        let mut side = Side::new(Role::Listener);
        side.session.handle_frame(&numbered(0, &Message::Hello { version: 1, nonce: [0; 16] })).unwrap();
        assert!(side.session.handle_frame(&numbered(1, &message)).is_err());
        side.work();
        assert!(side.heard.is_empty());
    }
}

#[test]
fn answers_that_nobody_asked_for_and_spaces_out_of_order_end_the_session() {
    let space = |n| Discovered { space: SpaceId([n; 32]), name: String::new() };
    let found = |spaces, more| Message::Found { number: 0, spaces, more };
    let answer = Message::Answer { number: 0, answer: Answer::Full };
    for (asked, message, good) in [
        (false, answer.clone(), false),
        (false, found(Vec::new(), false), false),
        // Nor is the answer to another question one.
        (true, answer, false),
        (true, found(vec![space(2), space(1)], false), false),
        (true, found(vec![space(1), space(1)], false), false),
        (true, found(Vec::new(), true), false),
        (true, found(vec![space(1), space(2)], true), true),
    ] {
        let (mut side, number) = greeted();
        side.session.handle_frame(&numbered(number, &Message::Discover { number: 0, after: None })).unwrap();
        if asked {
            side.session.discover(None);
        }
        side.work();
        let heard = side.session.handle_frame(&numbered(number + 1, &message));
        assert_eq!(heard.is_ok(), good, "{message:?}");
    }
}

#[test]
fn questions_are_counted_numbered_and_few_at_once() {
    // As many as are allowed in one session, of all kinds; one more ends it.
    let (mut side, first) = greeted();
    let question = |number: u64| match number % 4 {
        0 => Message::Request { number, request: request(key(0).id()) },
        1 => Message::Find { number, lookup: profile() },
        2 => Message::Shared { number, after: None, pass: None },
        _ => Message::Discover { number, after: None },
    };
    for number in 0..MAX_ASKED {
        side.session.handle_frame(&numbered(first + number, &question(number))).unwrap();
        side.work();
    }
    let beyond = side.session.handle_frame(&numbered(first + MAX_ASKED, &question(MAX_ASKED)));
    assert_eq!(beyond, Err(SessionError::Unexpected("too many questions")));

    // As many as may wait for their answers.
    let (mut side, first) = greeted();
    side.answers = false;
    for number in 0..=MAX_ASKED_AT_ONCE as u64 {
        let kind = Message::Find { number, lookup: profile() };
        let heard = side.session.handle_frame(&numbered(first + number, &kind));
        assert_eq!(heard.is_ok(), number < MAX_ASKED_AT_ONCE as u64);
        side.work();
    }

    // A number is used once.
    let (mut side, first) = greeted();
    side.session.handle_frame(&numbered(first, &question(5))).unwrap();
    side.work();
    assert!(side.session.handle_frame(&numbered(first + 1, &question(5))).is_err());

    // Our own beyond those that may wait are asked one after the other.
    let mut sides = pair();
    for _ in 0..20 {
        sides[0].session.discover(None);
    }
    run(&mut sides).unwrap();
    assert_eq!(sides[0].events.iter().filter(|event| matches!(event, Event::Found(..))).count(), 20);
}

#[test]
fn all_refusals_are_the_same_bytes_and_an_id_stands_for_what_is_granted() {
    let refused = Message::Answer { number: 1, answer: Answer::Refused }.encode();
    assert_eq!(refused, [0x84, 0x18, 31, 1, 0, 0xf6]);
    let (space, other) = (SpaceId([1; 32]), SpaceId([2; 32]));
    let (ann, bob) = (key(1).id(), key(2).id());
    let (write, weaker) = (Permission::Write(Strength(10)), Permission::Write(Strength(11)));
    let ids = [
        RequestId::of(&space, &ann, write),
        RequestId::of(&other, &ann, write),
        RequestId::of(&space, &bob, write),
        RequestId::of(&space, &ann, weaker),
        RequestId::of(&space, &ann, Permission::Admin(Strength(10))),
        RequestId::of(&space, &ann, Permission::Read),
    ];
    assert!((0..ids.len()).all(|at| !ids[..at].contains(&ids[at])));
    let noted = AccessRequest { space, author: ann, permission: write, note: "changed".into() };
    assert_eq!(noted.id(), ids[0], "a note is not granted");
}
