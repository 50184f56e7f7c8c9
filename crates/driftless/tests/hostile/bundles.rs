//! Damaged files: flipped bits, cut ends, lying lengths, files in files.

use driftless::{CommitId, Error};

use crate::honest::{Honest, records};
use crate::simulated::{Hand, database};

// After a place is damaged, everything that does not stand on it is there, and `status` says that something is not.
// Only of a signature that nobody needed, because a later commit of its author vouches for it, nothing is lost.
fn damaged(honest: &Honest, bytes: &[u8], name: &str) {
    let taken = honest.take(bytes, name);
    assert!(taken.imported.is_ok(), "{name}: {:?}", taken.imported);
    if taken.codes.is_empty() {
        let there = taken.db.space(&honest.space.id().to_string()).unwrap();
        assert_eq!(there.digest().unwrap(), honest.space.digest().unwrap(), "{name}");
    }
    honest.heals(&taken.db, name);
}

#[test]
fn each_flipped_bit_of_one_commit_costs_at_most_what_stands_on_it() {
    let honest = Honest::new(6);
    let record = records(&honest.bytes)[6].clone();
    for at in record {
        for bit in 0..8 {
            let mut bytes = honest.bytes.clone();
            bytes[at] ^= 1 << bit;
            damaged(&honest, &bytes, &format!("byte {at} bit {bit}"));
        }
    }
}

#[test]
fn flipped_bits_across_a_bundle_are_noted_and_the_rest_is_taken() {
    let honest = Honest::new(120);
    let mut parts: Vec<usize> = (17..honest.bytes.len()).step_by(honest.bytes.len() / 61).collect();
    parts.push(honest.bytes.len() - 1);
    for at in parts {
        let mut bytes = honest.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        damaged(&honest, &bytes, &format!("byte {at}"));
    }
}

#[test]
fn a_damaged_marker_costs_no_record_but_its_own() {
    let honest = Honest::new(100);
    let digest = honest.space.digest().unwrap();
    let records = records(&honest.bytes);
    let commits = digest.commits as usize;
    // The last commit: nothing stands on it, and only it may be missing.
    let mut bytes = honest.bytes.clone();
    bytes[records[commits - 1].start] ^= 1;
    let taken = honest.take(&bytes, "last commit");
    let imported = taken.imported.unwrap();
    assert_eq!(imported.commits, commits as u64 - 1);
    let place = &records[commits - 1];
    let damage = imported.damage[0];
    assert_eq!(
        (damage.frame, damage.offset, damage.bytes, damage.code),
        (0, place.start as u64, place.len() as u64, "unreadable")
    );
    // The ends carry nothing: the commit before them is whole.
    for record in &records[commits..] {
        let mut bytes = honest.bytes.clone();
        bytes[record.start] ^= 1;
        let taken = honest.take(&bytes, "an end");
        assert_eq!(taken.db.space("team").unwrap().digest().unwrap(), digest);
        assert!(taken.codes.contains(&"unreadable".to_owned()));
    }
}

#[test]
fn a_bundle_that_is_cut_anywhere_gives_what_was_before_the_cut() {
    let honest = Honest::new(100);
    let ends = records(&honest.bytes);
    let cuts = (0..honest.bytes.len()).step_by(honest.bytes.len() / 83);
    let edges = ends.iter().rev().take(4).flat_map(|record| [record.start, record.end - 1]);
    for cut in cuts.chain(edges).chain(0..20) {
        let taken = honest.take(&honest.bytes[..cut], &format!("cut at {cut}"));
        if cut < 17 {
            assert!(matches!(taken.imported, Err(Error::Invalid(_))));
            continue;
        }
        let whole = ends.iter().filter(|record| record.end <= cut && record.len() > 9).count();
        assert_eq!(taken.imported.unwrap().commits, whole as u64, "cut at {cut}");
        assert!(taken.codes.contains(&"unreadable".to_owned()));
        honest.heals(&taken.db, "cut");
    }
}

#[test]
fn what_is_no_bundle_is_told_so_and_changes_nothing() {
    let honest = Honest::new(4);
    let mut newer = honest.bytes.clone();
    newer[16] = 2;
    let files: [(&[u8], &str); 5] = [
        (&[], "invalid"),
        (b"driftless", "invalid"),
        (&[0xd7; 10_000], "invalid"),
        (b"driftless-bundle\0", "invalid"),
        (&newer, "newer_version"),
    ];
    for (bytes, code) in files {
        let taken = honest.take(bytes, code);
        assert_eq!(taken.imported.unwrap_err().code(), code);
        assert!(taken.db.spaces().unwrap().is_empty());
        honest.heals(&taken.db, code);
    }
}

#[test]
fn two_bundles_in_one_file_are_both_taken() {
    let (one, two) = (Honest::new(20), Honest::named("other", 20));
    let taken = one.take(&[&one.bytes[..], &two.bytes].concat(), "two");
    for honest in [&one, &two] {
        let there = taken.db.space(&honest.space.id().to_string()).unwrap();
        assert_eq!(there.digest().unwrap(), honest.space.digest().unwrap());
    }
}

#[test]
fn lengths_that_lie_cost_no_more_than_their_record() {
    let honest = Honest::new(100);
    let record = records(&honest.bytes)[50].clone();
    let length = (record.len() - 9) as u32;
    for lie in [0, 1, length - 1, length + 1, length + 9, 1 << 20, 1 << 21, u32::MAX] {
        let mut bytes = honest.bytes.clone();
        bytes[record.start + 5..record.start + 9].copy_from_slice(&lie.to_be_bytes());
        let taken = honest.take(&bytes, "lie");
        assert_eq!(
            taken.imported.as_ref().unwrap().commits,
            honest.space.digest().unwrap().commits - 1,
            "{lie}"
        );
        honest.heals(&taken.db, "lie");
    }
}

#[test]
fn a_record_of_another_kind_is_not_passed_over_in_silence() {
    let honest = Honest::new(10);
    let last = records(&honest.bytes)[12].clone();
    for kind in [0, 2, 3, 4, 255] {
        let mut bytes = honest.bytes.clone();
        bytes[last.start + 4] = kind;
        damaged(&honest, &bytes, &format!("kind {kind}"));
    }
}

#[test]
fn a_damaged_commit_is_not_among_what_is_here() {
    let honest = Honest::new(30);
    let record = records(&honest.bytes)[20].clone();
    let mut bytes = honest.bytes.clone();
    bytes[record.start + 60] ^= 4;
    let db = database(50, &Hand::new());
    db.import(&mut &*bytes, &mut |_| {}).unwrap();
    let log = |space: &driftless::Space| -> Vec<CommitId> {
        space.log(driftless::LogQuery::default()).unwrap().iter().map(|line| line.commit).collect()
    };
    let (there, here) = (log(&db.space("team").unwrap()), log(&honest.space));
    assert!(there.len() < here.len() && there.iter().all(|id| here.contains(id)));
}

#[test]
fn the_place_of_every_damage_is_told_and_an_intact_bundle_has_none() {
    let honest = Honest::new(60);
    let records = records(&honest.bytes);
    let record = records[30].clone();
    let damage = |bytes: &[u8]| {
        let db = database(50, &Hand::new());
        let imported = db.import(&mut &*bytes, &mut |_| {}).unwrap();
        // What was not taken comes with the intact bundle.
        let again = db.import(&mut &*honest.bytes, &mut |_| {}).unwrap();
        assert_eq!((again.damaged, again.damage.as_slice()), (0, &[][..]));
        let there = db.space(&honest.space.id().to_string()).unwrap();
        assert_eq!(there.digest().unwrap(), honest.space.digest().unwrap());
        assert_eq!(imported.damaged, imported.damage.len() as u64);
        imported.damage
    };
    // In the middle of the header, so that the commit is another one, which nobody signed.
    let mut bytes = honest.bytes.clone();
    bytes[record.start + 60] ^= 4;
    let told = damage(&bytes);
    assert!(told.iter().any(|damage| damage.offset == record.start as u64), "{told:?}");
    assert!(told.iter().all(|damage| !damage.reason().is_empty()));
    // At the end of the record stands the body.
    let mut bytes = honest.bytes.clone();
    bytes[record.end - 1] ^= 1;
    let told = damage(&bytes);
    let bodies: Vec<u64> =
        told.iter().filter(|damage| damage.code == "bad_body").map(|damage| damage.offset).collect();
    assert_eq!(bodies, [record.start as u64], "{told:?}");
    let cut = record.start + 7;
    let told = damage(&honest.bytes[..cut]);
    let last = told.last().unwrap();
    assert_eq!((last.offset, last.bytes, last.code), (cut as u64, 0, "cut_off"), "{told:?}");
}
