//! The queue holds so much and no more, whoever asks and however often.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use driftless::{Bootstrap, Database, DrivenSession, PeerId, Permission, Space, SpaceId, Strength};
use driftless_core::session::{AccessRequest, Answer, Message, Role, numbered, take_number};
use driftless_core::sign::{AuthorKey, Domain};

use crate::{Clock, write};

const THEM: PeerId = PeerId([66; 32]);

fn key(number: u32) -> AuthorKey {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    AuthorKey::from_seed(&seed)
}

// An address of a source of its own.
fn source(number: u32) -> IpAddr {
    if number.is_multiple_of(2) {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    } else {
        let [a, b, c, d] = number.to_be_bytes();
        IpAddr::from([0x20, 1, 0xd, 0xb8, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 1])
    }
}

/// One proven key at the other end of a session, without a network.
struct Stranger {
    session: DrivenSession,
    key: AuthorKey,
    spoken: u64,
    asked: u64,
}

impl Stranger {
    fn new(db: &Database, number: u32, from: IpAddr) -> Self {
        Self::greet(DrivenSession::new(db, Role::Listener, THEM).unwrap().from(from), db, THEM, number)
    }

    // Of a transport that does not know where it comes from.
    fn from_nowhere(db: &Database, number: u32, them: PeerId) -> Self {
        Self::greet(DrivenSession::new(db, Role::Listener, them).unwrap(), db, them, number)
    }

    fn greet(mut session: DrivenSession, db: &Database, them: PeerId, number: u32) -> Self {
        let key = key(number);
        let (messages, _) = session.work().unwrap();
        let Ok(Message::Hello { nonce, .. }) = Message::decode(take_number(&messages[0]).unwrap().1) else {
            panic!("no greeting")
        };
        let signed = [&[0][..], &them.0, &db.peer().unwrap().0, &[5; 16], &nonce].concat();
        let proof = vec![(key.id(), key.sign(Domain::AuthorProof, &[&signed]))];
        for (number, message) in
            (0..).zip([Message::Hello { version: 1, nonce: [5; 16] }, Message::Proof(proof)])
        {
            session.receive(&numbered(number, &message)).unwrap();
        }
        session.work().unwrap();
        Self { session, key, spoken: 2, asked: 0 }
    }

    fn ask(&mut self, space: SpaceId, permission: Permission, note: &str) -> Answer {
        let request = AccessRequest { space, author: self.key.id(), permission, note: note.into() };
        let message = Message::Request { number: self.asked, request };
        self.session.receive(&numbered(self.spoken, &message)).unwrap();
        (self.spoken, self.asked) = (self.spoken + 1, self.asked + 1);
        let (messages, _) = self.session.work().unwrap();
        match Message::decode(take_number(&messages[0]).unwrap().1) {
            Ok(Message::Answer { answer, .. }) => answer,
            other => panic!("{other:?}"),
        }
    }
}

fn is_queued(answer: Answer) -> bool {
    match answer {
        Answer::Queued(_) => true,
        Answer::Full => false,
        other => panic!("{other:?}"),
    }
}

fn queueing(db: &Database) -> Space {
    let space = db.create_space("team").unwrap();
    space.set_bootstrap(Bootstrap::Queue).unwrap();
    space
}

#[test]
fn a_key_asks_for_three_spaces_at_once() {
    let clock = Clock::new();
    let db = clock.database();
    let spaces: Vec<Space> = (0..5).map(|_| queueing(&db)).collect();
    let mut stranger = Stranger::new(&db, 0, source(0));
    let asked: Vec<bool> =
        spaces.iter().map(|space| is_queued(stranger.ask(space.id(), write(100), ""))).collect();
    assert_eq!(asked, [true, true, true, false, false]);
    // A place that is free again can be taken.
    db.reject(&db.requests().unwrap()[0].id).unwrap();
    assert!(is_queued(stranger.ask(spaces[3].id(), write(100), "")));
    assert!(!is_queued(stranger.ask(spaces[4].id(), write(100), "")));
    // So is one that is gone with its space.
    spaces[3].forget().unwrap();
    assert!(is_queued(stranger.ask(spaces[4].id(), write(100), "")));
}

#[test]
fn a_key_that_asks_again_changes_its_own_request_and_not_all_the_time() {
    let clock = Clock::new();
    let db = clock.database();
    let space = queueing(&db);
    let mut stranger = Stranger::new(&db, 0, source(0));
    assert!(is_queued(stranger.ask(space.id(), write(100), "one")));
    for n in 1..200 {
        // Each change would be a write.
        assert!(!is_queued(stranger.ask(space.id(), write(100), &n.to_string())));
        assert!(!is_queued(stranger.ask(space.id(), write(n), "one")) || n == 100);
        assert!(is_queued(stranger.ask(space.id(), write(100), "one")));
    }
    let requests = db.requests().unwrap();
    assert_eq!((requests.len(), requests[0].note.as_str()), (1, "one"));
    clock.pass(1000);
    assert!(is_queued(stranger.ask(space.id(), write(100), "two")));
    let again = db.requests().unwrap();
    assert_eq!((again.len(), again[0].note.as_str(), again[0].id), (1, "two", requests[0].id));
    clock.pass(1000);
    assert!(is_queued(stranger.ask(space.id(), Permission::Read, "two")));
    assert_ne!(db.requests().unwrap()[0].id, requests[0].id);
    assert_eq!(db.requests().unwrap().len(), 1);
}

#[test]
fn a_source_has_thirty_two_requests_and_an_honest_one_finds_its_place() {
    let clock = Clock::new();
    let db = clock.database();
    let space = queueing(&db);
    // A household: other addresses of the same 64 bits.
    let household = |n: u32| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n as u16]);
    let queued =
        (0..100).filter(|n| is_queued(Stranger::new(&db, *n, household(*n)).ask(space.id(), write(7), "")));
    assert_eq!(queued.count(), 32);
    assert!(is_queued(Stranger::new(&db, 200, source(200)).ask(space.id(), write(7), "")));
    assert_eq!(db.requests().unwrap().len(), 33);
}

#[test]
fn where_the_source_is_not_known_a_peer_has_thirty_two_requests() {
    let clock = Clock::new();
    let db = clock.database();
    let space = queueing(&db);
    let ask = |number, peer| {
        is_queued(Stranger::from_nowhere(&db, number, PeerId([peer; 32])).ask(space.id(), write(7), ""))
    };
    assert_eq!((0..40).filter(|number| ask(*number, 1)).count(), 32);
    assert!((100..140).all(|number| ask(number, number as u8)));
}

#[test]
fn a_space_has_256_requests_and_the_greediest_source_makes_room() {
    let clock = Clock::new();
    let db = clock.database();
    let space = queueing(&db);
    let ask = |number, from| is_queued(Stranger::new(&db, number, from).ask(space.id(), write(7), ""));
    // Eight sources take all that there is.
    for number in 0..256 {
        clock.pass(1);
        assert!(ask(number, source(number / 32)));
    }
    assert!(!ask(300, source(3)), "a greedy one gets no more");
    let before = db.requests().unwrap();
    // Others find room, until nobody has many more than they; those who came first stay.
    let found = (400..1000).filter(|number| ask(*number, source(*number))).count();
    assert_eq!(db.requests().unwrap().len(), 256);
    assert_eq!(found, 256 - 8 * 3);
    let now = db.requests().unwrap();
    let first = |requests: &[driftless::Request], greedy| -> Vec<u64> {
        let of_it = requests.iter().filter(|request| request.source == Some(source(greedy)));
        of_it.map(|request| request.at_ms).take(3).collect()
    };
    for greedy in 0..8 {
        assert_eq!(first(&now, greedy), first(&before, greedy), "who came first stays");
    }
    // After a week everything is free again.
    clock.pass(8 * 24 * 3600 * 1000);
    assert!(ask(300, source(3)));
    assert_eq!(db.requests().unwrap().len(), 1);
}

#[test]
fn a_database_has_1024_requests_and_grows_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let now = clock.0.clone();
    let db = Database::builder().clock(move || now.load(Ordering::SeqCst)).open(folder.path()).unwrap();
    let spaces: Vec<Space> = (0..6).map(|_| queueing(&db)).collect();
    let size = |folder: &std::path::Path| -> u64 {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    let before = size(folder.path());
    let note = "n".repeat(4096);
    let mut queued = 0;
    for number in 0..6 * 256 {
        let space = &spaces[number as usize % 6];
        queued +=
            u32::from(is_queued(Stranger::new(&db, number, source(number)).ask(space.id(), write(7), &note)));
    }
    assert_eq!((queued, db.requests().unwrap().len()), (1024, 1024));
    // SQLite's log of the last writes, which it uses again and again, is not part of it.
    drop((spaces, db));
    let grown = size(folder.path()).saturating_sub(before);
    assert!(grown <= 8 * 1024 * 1024, "{grown} bytes");
    let db = Database::open(folder.path()).unwrap();
    assert!(db.fsck(None, &mut |_| {}).unwrap().is_ok());
}

#[test]
fn keys_that_a_policy_let_in_take_places_too() {
    let clock = Clock::new();
    let db = clock.database();
    let space = db.create_space("club").unwrap();
    space.set_bootstrap(Bootstrap::Approve(write(10))).unwrap();
    let ask = |number, from| Stranger::new(&db, number, from).ask(space.id(), write(10), "");
    let allowed = Answer::Allowed(write(10));
    let let_in = (0..50).filter(|number| ask(*number, source(0)) == allowed).count();
    assert_eq!(let_in, 32);
    // In all a week sees 256, from however many sources: each is a commit that stays.
    let let_in = (100..600).filter(|number| ask(*number, source(*number)) == allowed).count();
    assert_eq!(let_in, 256 - 32);
    assert_eq!(space.members().unwrap().len(), 257);
    // Who is in, is in.
    assert_eq!(ask(0, source(0)), allowed);
    clock.pass(8 * 24 * 3600 * 1000);
    assert_eq!(ask(700, source(0)), allowed);
}

#[test]
fn so_many_rejections_are_remembered() {
    let clock = Clock::new();
    let db = clock.database();
    let space = queueing(&db);
    for number in 0..1030 {
        clock.pass(1);
        assert!(is_queued(Stranger::new(&db, number, source(number)).ask(space.id(), write(7), "")));
        db.reject(&db.requests().unwrap()[0].id).unwrap();
    }
    let ask = |number| Stranger::new(&db, number, source(number)).ask(space.id(), write(7), "");
    assert_eq!(ask(1029), Answer::Refused);
    assert_eq!(ask(6), Answer::Refused);
    assert!(is_queued(ask(5)), "the oldest was forgotten");
}

#[test]
fn a_strong_request_that_nobody_could_grant_is_not_queued() {
    let db = Clock::new().database();
    let space = queueing(&db);
    let mut stranger = Stranger::new(&db, 0, source(0));
    for permission in [Permission::Admin(Strength(0)), write(0)] {
        assert_eq!(stranger.ask(space.id(), permission, ""), Answer::Refused);
    }
    assert!(is_queued(stranger.ask(space.id(), Permission::Admin(Strength(1)), "")));
}

#[test]
fn what_was_queued_and_rejected_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let space = queueing(&db);
    assert!(is_queued(Stranger::new(&db, 0, source(0)).ask(space.id(), write(7), "first")));
    assert!(is_queued(Stranger::new(&db, 1, source(1)).ask(space.id(), write(7), "second")));
    let requests = db.requests().unwrap();
    let rejected = requests.iter().find(|request| request.note == "first").unwrap();
    db.reject(&rejected.id).unwrap();
    let left = db.requests().unwrap();
    let id = space.id();
    drop((space, db));
    let db = Database::open(folder.path()).unwrap();
    assert_eq!(db.requests().unwrap(), left);
    assert_eq!(left[0].source, Some(source(1)));
    assert_eq!(Stranger::new(&db, 0, source(0)).ask(id, write(7), ""), Answer::Refused);
}
