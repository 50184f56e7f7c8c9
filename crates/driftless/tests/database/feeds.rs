//! Feeds and cursors: whoever keeps a cursor gets everything after it, once, and is told when the log is another.

use driftless::{Cursor, Database, Error, Insert, Page, Permission, Space, Strength, Subject};
use driftless_store::Storage;
use proptest::prelude::*;

use crate::failing::{Failing, Fuse};
use crate::pen::{Pen, body, bundle_of_received, without_body};
use crate::simulated::{Hand, bundle, database, folder, import, map, send};

const LARGE: usize = 1 << 19;

fn write(to: &Space, numbers: impl IntoIterator<Item = i64>) {
    let items = to.collection("items").unwrap();
    for n in numbers {
        let fields = map(&format!(r#"{{"n": {n}}}"#));
        items.insert_with(fields, Insert { id: Some(n.into()), parent: None }).unwrap();
    }
}

// Everything after `cursor`, page by page, into `to`; gives the number of commits and the cursor behind the last.
fn drain(from: &Space, to: &Database, cursor: Option<Cursor>, budget: usize) -> (u64, Cursor) {
    let (mut cursor, mut commits) = (cursor, 0);
    loop {
        let page = from.feed(cursor.as_ref(), budget).unwrap();
        let taken = to.take_page(&from.id(), &page).unwrap();
        assert!(taken.is_whole() && taken.received >= page.commits, "{taken:?}");
        commits += page.commits;
        cursor = Some(page.cursor);
        if !page.more {
            return (commits, page.cursor);
        }
    }
}

fn end(of: &Space) -> Cursor {
    let mut cursor = None;
    loop {
        let page = of.feed(cursor.as_ref(), LARGE).unwrap();
        cursor = Some(page.cursor);
        if !page.more {
            return page.cursor;
        }
    }
}

fn is_stale(of: &Space, cursor: &Cursor) -> bool {
    match of.feed(Some(cursor), LARGE) {
        Err(Error::Stale { now }) => {
            assert_eq!(now, end(of));
            true
        }
        other => {
            other.unwrap();
            false
        }
    }
}

#[test]
fn the_first_page_brings_the_space_and_the_next_ones_what_is_new() {
    let hand = Hand::new();
    let (ann, bob) = (database(1, &hand), database(2, &hand));
    let here = ann.create_space("team").unwrap();
    write(&here, 0..300);
    let (commits, cursor) = drain(&here, &bob, None, LARGE);
    assert_eq!(commits, 301);
    let there = bob.space("team").unwrap();
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());

    let page = here.feed(Some(&cursor), LARGE).unwrap();
    assert_eq!(page, Page { frames: Vec::new(), commits: 0, cursor, more: false });
    write(&here, 300..303);
    assert_eq!(drain(&here, &bob, Some(cursor), LARGE).0, 3);
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());
}

#[test]
fn a_budget_of_one_byte_gives_one_commit_and_a_large_one_stays_bounded() {
    let hand = Hand::new();
    let (ann, bob) = (database(1, &hand), database(2, &hand));
    let here = ann.create_space("team").unwrap();
    write(&here, 0..70);
    let mut cursor = None;
    for n in 1..=71 {
        let page = here.feed(cursor.as_ref(), 1).unwrap();
        assert_eq!((page.commits, page.cursor.at, page.more), (1, n, n < 71));
        bob.take_page(&here.id(), &page).unwrap();
        cursor = Some(page.cursor);
    }
    assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());

    let items = here.collection("items").unwrap();
    for n in 0..4 {
        let text = "x".repeat(900_000 - n);
        items.insert(map(&format!(r#"{{"text": "{text}"}}"#))).unwrap();
    }
    let page = here.feed(cursor.as_ref(), usize::MAX).unwrap();
    assert_eq!((page.frames.len(), page.commits, page.more), (1, 1, true));
    assert_eq!(drain(&here, &bob, cursor, usize::MAX).0, 4);
    assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
}

#[test]
fn a_cursor_is_good_after_a_restart() {
    let (hand, dir) = (Hand::new(), tempfile::tempdir().unwrap());
    let bob = database(2, &hand);
    let mut cursor = None;
    // Across stored digests of the log, and between them.
    for (round, count) in [(0, 63), (1, 1), (2, 1), (3, 200)] {
        let ann = folder(10 + round, &hand, dir.path());
        let here = ann.space("team").or_else(|_| ann.create_space("team")).unwrap();
        let genesis = u64::from(round == 0);
        write(&here, i64::from(round) * 1000..i64::from(round) * 1000 + count);
        let (commits, next) = drain(&here, &bob, cursor, 2000);
        assert_eq!(commits, count as u64 + genesis);
        assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
        assert!(ann.fsck(None, &mut |_| {}).unwrap().problems.is_empty());
        cursor = Some(next);
    }
}

#[test]
fn a_store_restored_from_an_old_copy_is_found_by_the_digest() {
    let (hand, dir) = (Hand::new(), tempfile::tempdir().unwrap());
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let ann = folder(1, &hand, &first);
    let here = ann.create_space("team").unwrap();
    write(&here, 0..100);
    let before = end(&here);
    drop((here, ann));
    std::fs::create_dir(&second).unwrap();
    std::fs::copy(first.join("driftless.sqlite"), second.join("driftless.sqlite")).unwrap();

    let ann = folder(3, &hand, &first);
    let here = ann.space("team").unwrap();
    write(&here, 100..110);
    let after = end(&here);
    // The same file from before: the same store id, another future.
    let copy = folder(4, &hand, &second);
    let there = copy.space("team").unwrap();
    assert_eq!(before.store, end(&there).store);
    assert!(!is_stale(&there, &before));
    assert!(is_stale(&there, &after), "the log does not go so far");
    hand.advance(5);
    write(&there, 200..240);
    assert!(is_stale(&there, &after), "the log went another way");
    assert!(!is_stale(&here, &after) && !is_stale(&there, &before) && !is_stale(&here, &before));
}

#[test]
fn a_cursor_of_another_store_space_or_future_and_a_forged_one_are_stale() {
    let (hand, dir) = (Hand::new(), tempfile::tempdir().unwrap());
    let (ann, bob) = (folder(1, &hand, &dir.path().join("ann")), database(2, &hand));
    let here = ann.create_space("team").unwrap();
    write(&here, 0..150);
    let cursor = end(&here);
    let middle = here.feed(None, 4000).unwrap().cursor;
    assert!(middle.at > 1 && middle.at < cursor.at);
    // The same commits in the same order in another store.
    assert!(is_stale(&send(&here, &bob), &cursor));
    let other = ann.create_space("other").unwrap();
    write(&other, 0..200);
    assert!(is_stale(&other, &cursor) && is_stale(&other, &middle));
    for at in [cursor.at + 1, 1 << 40, u64::MAX, 0] {
        assert!(is_stale(&here, &Cursor { at, ..cursor }), "{at}");
    }
    for good in [cursor, middle] {
        for at in 0..32 {
            let mut bytes = good.encode();
            bytes[at] ^= 1;
            assert!(is_stale(&here, &Cursor::decode(&bytes)), "byte {at}");
        }
    }
    // A backup that is opened becomes another store.
    let restored = dir.path().join("restored");
    std::fs::create_dir(&restored).unwrap();
    ann.backup(restored.join("driftless.sqlite"), &mut |_, _| {}).unwrap();
    let backup = folder(5, &hand, &restored);
    assert!(is_stale(&backup.space("team").unwrap(), &cursor));
}

#[test]
fn headers_travel_past_a_body_that_is_not_here_and_it_is_wanted_there() {
    let hand = Hand::new();
    let (ann, bob) = (database(1, &hand), database(2, &hand));
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(Pen::author(9)), Permission::Write(Strength(5))).unwrap();
    let mut pen = Pen::new(9, here.id());
    let heads = here.digest().unwrap().heads;
    let mut commits = vec![pen.write(None, &heads, false, body(0, &[]))];
    for n in 1..1000 {
        let next = pen.write(commits.last(), &[], false, body(n, &[]));
        commits.push(next);
    }
    hand.advance(10_000);
    let received = commits.iter().enumerate().map(|(n, commit)| match n {
        500 => without_body(commit),
        _ => commit.to_received(),
    });
    import(&ann, &bundle_of_received(received));
    let (count, _) = drain(&here, &bob, None, 10_000);
    assert_eq!(count, 1002);
    let counts = bob.status().unwrap().spaces[0].counts;
    assert_eq!((counts.commits, counts.wanted), (1002, 1));
    assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
}

#[test]
fn to_check_a_cursor_reads_a_bounded_number_of_rows() {
    let fuse = Fuse::new();
    let reads = fuse.clone();
    let wrap = move |inner| {
        let storage: Box<dyn Storage> = Box::new(Failing { inner, fuse, keeps_failed_commit: false });
        storage
    };
    let ann = Database::builder().wrap_storage(wrap).memory().unwrap();
    let here = ann.create_space("team").unwrap();
    write(&here, 0..640);
    let mut cursor = None;
    let mut most = 0;
    loop {
        reads.reads();
        let page = here.feed(cursor.as_ref(), 1).unwrap();
        most = most.max(reads.reads());
        let good = page.cursor;
        assert!(is_stale(&here, &Cursor { digest: [9; 8], ..good }));
        reads.reads();
        assert!(matches!(here.feed(Some(&Cursor { digest: [9; 8], ..good }), 1), Err(Error::Stale { .. })));
        most = most.max(reads.reads());
        if !page.more {
            break;
        }
        cursor = Some(good);
    }
    // 63 rows between two stored digests; and what it takes to send one commit.
    assert!((64..=75).contains(&most), "{most} rows");
}

#[test]
fn packed_history_is_fed_like_any_other() {
    let (hand, dir) = (Hand::new(), tempfile::tempdir().unwrap());
    let (ann, bob) = (folder(1, &hand, dir.path()), database(2, &hand));
    let here = ann.create_space("team").unwrap();
    write(&here, 0..500);
    let old = here.feed(None, 20_000).unwrap();
    bob.take_page(&here.id(), &old).unwrap();
    write(&here, 500..2000);
    let packed = here.compact(&mut |_, _| {}).unwrap();
    assert!(packed.packed > old.cursor.at, "{packed:?}");
    let (commits, _) = drain(&here, &bob, Some(old.cursor), LARGE);
    assert_eq!(old.commits + commits, 2001);
    assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
    assert!(ann.fsck(None, &mut |_| {}).unwrap().problems.is_empty());
}

#[test]
fn a_page_that_does_not_follow_or_does_not_decode_is_not_whole() {
    let hand = Hand::new();
    let (ann, bob) = (database(1, &hand), database(2, &hand));
    let here = ann.create_space("team").unwrap();
    write(&here, 0..10);
    let first = here.feed(None, 1).unwrap();
    let second = here.feed(Some(&first.cursor), 1).unwrap();
    let third = here.feed(Some(&second.cursor), LARGE).unwrap();
    bob.take_page(&here.id(), &first).unwrap();
    let taken = bob.take_page(&here.id(), &third).unwrap();
    assert!(!taken.is_whole() && taken.early == 9, "{taken:?}");
    let damaged = Page { frames: vec![vec![0xff; 9]], ..third.clone() };
    let taken = bob.take_page(&here.id(), &damaged).unwrap();
    assert!(!taken.is_whole() && taken.unreadable == 1, "{taken:?}");
    for page in [second, third] {
        assert!(bob.take_page(&here.id(), &page).unwrap().is_whole());
    }
    assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // Two write, also each what the other knows already; a third pulls from one of them now and then, in pages of any
    // size, some of them again, and sees some of it otherwise. In the end it has what an exchange of everything gives.
    #[test]
    fn whatever_comes_in_between_a_cursor_skips_nothing(
        steps in prop::collection::vec((0..7_u8, 1..2000_usize), 1..40),
    ) {
        let hand = Hand::new();
        let (ann, bob, cem) = (database(1, &hand), database(2, &hand), database(3, &hand));
        let here = ann.create_space("team").unwrap();
        here.grant(Subject::Key(bob.author().unwrap()), Permission::Write(Strength(10))).unwrap();
        let there = send(&here, &bob);
        let mut cursor: Option<Cursor> = None;
        for (step, (what, size)) in steps.into_iter().enumerate() {
            hand.advance(1);
            let first = step as i64 * 100;
            match what {
                0 => write(&here, first..first + size as i64 % 8),
                1 => write(&there, first..first + size as i64 % 8),
                2 => drop(send(&there, &ann)),
                3 => drop(send(&here, &bob)),
                // By another way.
                4 => drop(send(&there, &cem)),
                _ => {
                    let page = here.feed(cursor.as_ref(), if what == 5 { 1 } else { size }).unwrap();
                    let seen = cursor.map_or(0, |cursor| cursor.at);
                    prop_assert_eq!(page.cursor.at, seen + page.commits);
                    prop_assert!(cem.take_page(&here.id(), &page).unwrap().is_whole());
                    if size % 3 == 0 {
                        // Its answer was lost: the same comes again, and maybe more.
                        let again = here.feed(cursor.as_ref(), size).unwrap();
                        prop_assert!(cem.take_page(&here.id(), &again).unwrap().is_whole());
                    }
                    cursor = Some(page.cursor);
                }
            }
        }
        drain(&here, &cem, cursor, 500);
        import(&cem, &bundle(&there));
        drop(send(&there, &ann));
        prop_assert_eq!(cem.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
    }
}
