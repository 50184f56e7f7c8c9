//! Every limit of a database by its name: one below it and at it something is taken, one above it is refused or begins
//! something new, where it is written and where it is received.

use driftless::{Database, DocumentId, Insert, Kind, Permission, Space, Subject, Timestamp};
use driftless_core::commit::{Header, Received, Vouched};
use driftless_core::document_id::DocumentIdError;
use driftless_core::id::PeerId;
use driftless_core::limits::{
    MAX_AHEAD_MS, MAX_BODY, MAX_COLLECTION_NAME, MAX_DOCUMENT_ID, MAX_EDITS, MAX_HEADER, MAX_KEEP,
    MAX_PARENTS, MAX_RUN, MAX_SPACE_NAME,
};

use crate::honest::{Honest, MALLORY, sign, sign_bytes};
use crate::pen::{Pen, body, bundle_of, bundle_of_received};
use crate::simulated::{START, database, import, map};

// Rows of the table of refusals, and how many go at once when it is full.
const REFUSED: usize = 1000;
const DROPPED: usize = 256;
// Commits of a bundle that wait for their parents, and bytes of them.
const WAITING: usize = 1000;
const WAITING_BYTES: usize = 4 * 1024 * 1024;

fn around(limit: usize) -> [(usize, bool); 3] {
    [(limit - 1, true), (limit, true), (limit + 1, false)]
}

// A fresh database that has the honest space.
fn fresh(honest: &Honest) -> (Database, Space) {
    let db = database(50, &honest.hand);
    import(&db, &honest.bytes);
    let space = db.space(&honest.space.id().to_string()).unwrap();
    (db, space)
}

fn commits(space: &Space) -> u64 {
    space.digest().unwrap().commits
}

// First commits of Mallory's on top of the grant: a head each.
fn forks(honest: &Honest, count: usize) -> Vec<Vouched> {
    let mut pen = Pen::new(MALLORY, honest.space.id());
    (0..count).map(|n| pen.write(None, &[honest.grant], false, body(1000 + n as i64, &[]))).collect()
}

#[test]
fn max_ahead_ms() {
    let honest = Honest::new(4);
    for (ahead, applied) in around(MAX_AHEAD_MS as usize) {
        let (db, _) = fresh(&honest);
        let time = Timestamp::from_ms(honest.hand.now() + ahead as u64);
        let header = Header { time, ..honest.header(Kind::Documents) };
        let commit = sign(header, body(1000, &[]).encode([7; 16]));
        import(&db, &honest.with([commit]));
        assert_eq!(db.status().unwrap().spaces[0].counts.held == 0, applied, "{ahead}");
    }
}

#[test]
fn max_run_where_it_is_received() {
    let honest = Honest::new(4);
    for (length, whole) in around(MAX_RUN as usize) {
        let (db, space) = fresh(&honest);
        let before = commits(&space);
        let mut pen = Pen::new(MALLORY, honest.space.id());
        let mut run: Vec<Vouched> = Vec::new();
        for at in 0..length {
            let parents = if at == 0 { vec![honest.grant] } else { Vec::new() };
            let next = pen.write(run.last(), &parents, at + 1 < length, body(1000, &[]));
            run.push(next);
        }
        import(&db, &bundle_of(&run));
        assert_eq!(commits(&space) - before, length.min(MAX_RUN as usize) as u64);
        let codes: Vec<String> = db.status().unwrap().refused.into_iter().map(|line| line.code).collect();
        assert_eq!(codes.is_empty(), whole, "{length}: {codes:?}");
        assert!(whole || codes == ["bad_transaction"], "{codes:?}");
        assert_eq!(
            space.collection("notes").unwrap().get(&1000.into()).unwrap().is_some(),
            whole,
            "{length}"
        );
    }
}

#[test]
fn max_edits_and_max_body_where_they_are_written() {
    for (count, one) in around(MAX_EDITS) {
        let db = Database::memory().unwrap();
        let space = db.create_space("team").unwrap();
        let items = space.collection("items").unwrap();
        let before = commits(&space);
        let mut transaction = db.transaction();
        for n in 0..count {
            let insert = Insert { id: Some((n as i64).into()), parent: None };
            transaction.insert_with(&items, map("{}"), insert).unwrap();
        }
        transaction.commit().unwrap();
        assert_eq!(commits(&space) - before, if one { 1 } else { 2 }, "{count}");
        assert_eq!(space.digest().unwrap().documents, count as u64);
    }
    let db = Database::memory().unwrap();
    let items = db.create_space("team").unwrap().collection("items").unwrap();
    let written = |length: usize| {
        items.insert(driftless::Map::from_iter([("a".to_owned(), "x".repeat(length).into())])).is_ok()
    };
    // What stands around a value is less than 200 bytes; where the limit lies exactly, it does so once.
    let (mut taken, mut refused) = (MAX_BODY - 200, MAX_BODY);
    assert!(written(taken) && !written(refused));
    while taken + 1 < refused {
        let middle = taken.midpoint(refused);
        if written(middle) { taken = middle } else { refused = middle }
    }
    assert!(written(taken - 1) && written(taken) && !written(taken + 1));
}

#[test]
fn max_parents_where_they_are_written() {
    let honest = Honest::new(4);
    for (heads, one) in around(MAX_PARENTS) {
        let ann = database(1, &honest.hand);
        import(&ann, &honest.bytes);
        let space = ann.space(&honest.space.id().to_string()).unwrap();
        // Her own last commit is named as the one before, and not among the others.
        space.grant(Subject::Key(Pen::author(76)), Permission::Read).unwrap();
        import(&ann, &bundle_of(&forks(&honest, heads)));
        assert_eq!(space.digest().unwrap().heads.len(), heads + 1);
        let before = commits(&space);
        space.grant(Subject::Key(Pen::author(77)), Permission::Read).unwrap();
        assert_eq!(commits(&space) - before == 1, one, "{heads}");
        assert_eq!(space.digest().unwrap().heads.len(), 1);
    }
}

#[test]
fn max_keep_where_it_is_written() {
    let honest = Honest::new(4);
    for (branches, _) in around(MAX_KEEP) {
        let ann = database(1, &honest.hand);
        import(&ann, &honest.bytes);
        import(&ann, &bundle_of(&forks(&honest, branches)));
        let space = ann.space(&honest.space.id().to_string()).unwrap();
        space.revoke(Subject::Key(Pen::author(MALLORY))).unwrap();
        let void = ann.status().unwrap().spaces[0].counts.void;
        assert_eq!(void, branches.saturating_sub(MAX_KEEP) as u64, "{branches}");
    }
}

#[test]
fn names_and_ids_where_they_are_written() {
    let db = Database::memory().unwrap();
    for (length, taken) in around(MAX_SPACE_NAME) {
        assert_eq!(db.create_space(&"s".repeat(length)).is_ok(), taken, "MAX_SPACE_NAME at {length}");
    }
    let space = db.create_space("team").unwrap();
    for (length, taken) in around(MAX_COLLECTION_NAME) {
        let written = space.collection(&"c".repeat(length)).and_then(|items| items.insert(map("{}")));
        assert_eq!(written.is_ok(), taken, "MAX_COLLECTION_NAME at {length}");
    }
    for (length, taken) in around(MAX_DOCUMENT_ID) {
        let id: Result<DocumentId, DocumentIdError> = DocumentId::string("x".repeat(length - 3));
        assert_eq!(id.is_ok(), taken, "MAX_DOCUMENT_ID at {length}");
    }
    for (length, taken) in around(128) {
        let made = Database::builder().user_name("u".repeat(length)).memory();
        assert_eq!(made.is_ok(), taken, "a user's name of {length}");
    }
}

#[test]
fn rows_of_the_table_of_refusals() {
    let honest = Honest::new(4);
    for (count, all) in around(REFUSED) {
        let (db, _) = fresh(&honest);
        let junk = (0..count as u32).map(|n| sign_bytes(n.to_be_bytes().to_vec(), None, MALLORY));
        import(&db, &bundle_of_received(junk));
        let left = db.status().unwrap().refused.len();
        assert_eq!(left, if all { count } else { count - DROPPED }, "{count}");
    }
}

#[test]
fn commits_of_a_bundle_that_wait_for_their_parents() {
    let honest = Honest::new(4);
    let mut pen = Pen::new(MALLORY, honest.space.id());
    let parent = pen.write(None, &[honest.grant], false, body(999, &[]));
    for (count, all) in around(WAITING) {
        let (db, space) = fresh(&honest);
        let before = commits(&space);
        let mut children: Vec<Vouched> =
            (0..count).map(|n| pen.write(Some(&parent), &[], false, body(1000 + n as i64, &[]))).collect();
        children.push(parent.clone());
        import(&db, &bundle_of(&children));
        let refused = db.status().unwrap().refused.len();
        assert_eq!(refused, usize::from(!all), "{count}");
        assert_eq!(commits(&space) - before, (count + 1 - refused) as u64);
    }
    // Each counts for its body, and for the largest header. A body that does not decode is a body.
    for (bytes, all) in around(WAITING_BYTES) {
        let (db, _) = fresh(&honest);
        let header = || Header {
            seq: 2,
            previous: Some(parent.id()),
            parents: Vec::new(),
            time: Timestamp::from_ms(START + 900_000),
            ..honest.header(Kind::Documents)
        };
        let mut children: Vec<Received> = Vec::new();
        let mut left = bytes;
        for n in 0..5 {
            let room = (left - MAX_HEADER * (5 - n)) / (5 - n);
            children.push(sign(header(), vec![n as u8; room]));
            left -= room + MAX_HEADER;
        }
        assert_eq!(left, 0);
        children.push(parent.to_received());
        import(&db, &bundle_of_received(children));
        assert_eq!(db.status().unwrap().refused.is_empty(), all, "{bytes}");
    }
}

#[test]
fn addresses_of_tickets_and_of_peers() {
    let db = Database::memory().unwrap();
    let space = db.create_space("team").unwrap();
    for (count, taken) in around(16) {
        let addresses = (0..count).map(|n| format!("http://192.0.2.7:{}", 1000 + n)).collect();
        let permission = Permission::Read;
        let invite = driftless::Invite { permission, uses: None, expires: None, addresses };
        let ticket = space.invite(invite);
        assert_eq!(ticket.is_ok(), taken, "{count}");
        if let Ok(ticket) = ticket {
            let again: driftless::Ticket = ticket.to_string().parse().unwrap();
            assert_eq!(again.addresses.len(), count);
        }
        let peer = PeerId([count as u8; 32]);
        for n in 0..count {
            db.add_peer(peer, &format!("http://192.0.2.7:{}", 1000 + n)).unwrap();
        }
        assert_eq!(db.find_peer(&peer.to_string()).unwrap().addresses.len(), count.min(16));
    }
}
