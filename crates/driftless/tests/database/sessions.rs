//! What a session costs in storage: rows that are read follow what differs, not what there is, and nothing is flushed for
//! what is only a hint.

use std::path::Path;

use driftless::{
    Database, DrivenSession, Insert, Permission, SessionTurn, Space, SpaceId, Strength, Subject,
};
use driftless_core::session::{Event, Role, Session};
use driftless_store::Storage;

use crate::failing::{Failing, Fuse};
use crate::pen::{Pen, body, bundle_of};
use crate::simulated::{Hand, bundle, database, import, map, send};

// A database in memory or in a folder that counts on `fuse`.
fn counted(seed: u8, hand: &Hand, fuse: &Fuse, folder: Option<&Path>) -> Database {
    let (hand, fuse) = (hand.clone(), fuse.clone());
    let wrap = move |inner| {
        let storage: Box<dyn Storage> = Box::new(Failing { inner, fuse, keeps_failed_commit: false });
        storage
    };
    let builder = Database::builder().seed([seed; 32]).clock(move || hand.now());
    let builder = builder.wrap_storage(wrap);
    match folder {
        Some(folder) => builder.open(folder).unwrap(),
        None => builder.memory().unwrap(),
    }
}

fn write(to: &Space, numbers: std::ops::Range<i64>) {
    let items = to.collection("items").unwrap();
    for n in numbers {
        let fields = map(&format!(r#"{{"n": {n}}}"#));
        items.insert_with(fields, Insert { id: Some(n.into()), parent: None }).unwrap();
    }
}

// One session from its beginning until neither side says anything more; how many bytes were said.
fn exchange(ours: &Database, theirs: &Database, space: &SpaceId) -> usize {
    let mut dialer = DrivenSession::new(ours, Role::Dialer, theirs.peer().unwrap()).unwrap();
    let mut listener = DrivenSession::new(theirs, Role::Listener, ours.peer().unwrap()).unwrap();
    dialer.open(*space);
    let (mut settled, mut said) = (0, 0);
    loop {
        let (asked, news) = dialer.work().unwrap();
        settled += news.iter().filter(|event| matches!(event, Event::Settled(_))).count();
        asked.iter().for_each(|message| listener.receive(message).unwrap());
        let (answered, news) = listener.work().unwrap();
        settled += news.iter().filter(|event| matches!(event, Event::Settled(_))).count();
        answered.iter().for_each(|message| dialer.receive(message).unwrap());
        if asked.is_empty() && answered.is_empty() {
            break;
        }
        said += asked.iter().chain(&answered).map(Vec::len).sum::<usize>();
    }
    assert!(settled >= 2, "both sides settle");
    dialer.end().unwrap();
    listener.end().unwrap();
    let digest = |database: &Database| database.space(&space.to_string()).unwrap().digest().unwrap();
    assert_eq!(digest(ours), digest(theirs));
    said
}

// Rows that both sides read in sessions over `commits` by so many authors: strangers with the same and with one commit
// more on one side, then acquaintances with the same and with one commit more.
fn rows(commits: i64, authors: u8) -> [u64; 4] {
    let (hand, fuse) = (Hand::new(), Fuse::new());
    let [ann, bob, eve] = [1, 2, 3].map(|seed| counted(seed, &hand, &fuse, None));
    let here = ann.create_space("team").unwrap();
    for other in [&bob, &eve] {
        here.grant(Subject::Key(other.author().unwrap()), Permission::Write(Strength(10))).unwrap();
    }
    let pens: Vec<u8> = (0..authors).map(|author| 100 + author).collect();
    for pen in &pens {
        here.grant(Subject::Key(Pen::author(*pen)), Permission::Write(Strength(5))).unwrap();
    }
    write(&here, 0..commits);
    hand.advance(10_000);
    let heads = here.digest().unwrap().heads;
    let by_pens: Vec<_> =
        pens.iter().map(|pen| Pen::new(*pen, here.id()).write(None, &heads, false, body(0, &[]))).collect();
    import(&ann, &bundle_of(&by_pens));
    for other in [&bob, &eve] {
        import(other, &bundle(&here));
    }
    let read = |ours: &Database, theirs: &Database| {
        fuse.reads();
        exchange(ours, theirs, &here.id());
        fuse.reads()
    };
    let same = read(&ann, &bob);
    write(&here, commits..commits + 1);
    let one_more = read(&ann, &eve);
    // Both have the same now, and know it.
    exchange(&ann, &bob, &here.id());
    let known = read(&ann, &bob);
    write(&here, commits + 1..commits + 2);
    let known_one_more = read(&ann, &bob);
    [same, one_more, known, known_one_more]
}

#[test]
fn what_a_session_reads_does_not_grow_with_the_history() {
    for authors in [0, 100] {
        let (short, long) = (rows(1_100, authors), rows(20_000, authors));
        for (case, (short, long)) in short.iter().zip(long).enumerate() {
            assert!(
                long <= short + short / 4 + 20,
                "{authors} authors, case {case}: {short} rows, then {long}"
            );
        }
        let [_, few, known, known_one_more] = long;
        assert!(authors > 0 || few <= 150, "{few} rows for one commit between strangers");
        assert!(known <= 30 && known_one_more <= 150, "{known} and {known_one_more} rows");
    }
}

#[test]
fn that_two_met_is_flushed_with_the_next_commit_and_not_for_itself() {
    let (hand, fuse, dir) = (Hand::new(), Fuse::new(), tempfile::tempdir().unwrap());
    let open = |seed, name: &str| counted(seed, &hand, &fuse, Some(&dir.path().join(name)));
    let (ann, bob) = (open(1, "ann"), open(2, "bob"));
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), Permission::Write(Strength(10))).unwrap();
    write(&here, 0..5);
    import(&bob, &bundle(&here));
    fuse.commits();
    let strangers = exchange(&ann, &bob, &here.id());
    assert_eq!(fuse.commits(), 0, "nothing moved");
    let acquainted = exchange(&ann, &bob, &here.id());
    assert!(acquainted < strangers, "{acquainted} bytes, and {strangers} between strangers");
    // A commit is acknowledged when it is durable, and takes along what waited.
    write(&here, 5..6);
    assert_eq!(fuse.commits(), 1);
    exchange(&ann, &bob, &here.id());
    // One side read, the other flushed.
    assert_eq!(fuse.commits(), 2);

    // Closed in good order, both know it again.
    let space = here.id();
    drop((here, ann, bob));
    let (ann, bob) = (open(3, "ann"), open(4, "bob"));
    assert_eq!(exchange(&ann, &bob, &space), acquainted);
    let there = bob.space(&space.to_string()).unwrap();
    write(&there, 6..7);
    assert_eq!(ann.fsck(None, &mut |_| {}).unwrap().problems.len(), 0);
}

#[test]
fn what_two_remembered_of_a_space_is_forgotten_with_it() {
    let hand = Hand::new();
    let (ann, bob) = (database(1, &hand), database(2, &hand));
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), Permission::Write(Strength(10))).unwrap();
    let there = send(&here, &bob);
    exchange(&bob, &ann, &here.id());
    let acquainted = exchange(&bob, &ann, &here.id());
    there.forget().unwrap();
    send(&here, &bob);
    assert!(exchange(&bob, &ann, &here.id()) > acquainted);
}

#[test]
fn frames_that_came_together_become_durable_together_and_are_acknowledged_then() {
    let (hand, fuse) = (Hand::new(), Fuse::new());
    let (ann, bob) = (counted(1, &hand, &Fuse::new(), None), counted(2, &hand, &fuse, None));
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), Permission::Write(Strength(10))).unwrap();
    import(&bob, &bundle(&here));
    let items = here.collection("items").unwrap();
    for number in 0..500 {
        let fields = map(&format!(r#"{{"text": "{}"}}"#, format!("{number} ").repeat(250)));
        items.insert_with(fields, Insert { id: Some(number.into()), parent: None }).unwrap();
    }
    let mut asking = DrivenSession::new(&bob, Role::Dialer, ann.peer().unwrap()).unwrap();
    let mut giving = DrivenSession::new(&ann, Role::Listener, bob.peer().unwrap()).unwrap();
    asking.open(here.id());
    let (mut frames, mut commits) = (0, 0);
    loop {
        let asked = asking.work().unwrap().0;
        asked.iter().for_each(|message| giving.receive(message).unwrap());
        let given = giving.work().unwrap().0;
        fuse.commits();
        let here_before = documents(&bob);
        for message in &given {
            asking.receive(message).unwrap();
        }
        // What is said next may acknowledge, so what was taken until then is durable.
        let mut durable = 0;
        while let Some(turn) = asking.turn().unwrap() {
            durable += fuse.commits();
            if let SessionTurn::Message(message) = turn {
                giving.receive(&message).unwrap();
                assert!(durable > 0 || documents(&bob) == here_before, "said before it is durable");
            }
        }
        frames += given.iter().filter(|message| Session::is_data(message)).count();
        commits += durable;
        if asked.is_empty() && given.is_empty() {
            break;
        }
    }
    assert_eq!(documents(&bob), 500);
    assert!(frames > 5, "{frames} frames");
    assert!(commits < frames as u64, "{commits} transactions for {frames} frames");
}

fn documents(database: &Database) -> u64 {
    database.spaces().unwrap().iter().map(|space| space.documents).sum()
}
