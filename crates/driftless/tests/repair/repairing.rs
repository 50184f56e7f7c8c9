//! What a repair keeps: own commits that nobody else has, guards, the file itself.

use driftless::{Database, Error};

use crate::damage::{Pair, codes, flip, spoil_body, sql};
use crate::world::{fill, insert, send, sync};

#[test]
fn nothing_is_done_to_a_database_without_fault() {
    let pair = Pair::new();
    let repaired = pair.world.builder(9).repair(pair.world.path("db"), &mut |_| {}).unwrap();
    assert!(repaired.found.is_ok() && repaired.kept.is_none());
    assert!(repaired.found.commits > 100 && repaired.found.documents == 26);
}

#[test]
fn own_commits_that_nobody_else_has_survive_the_loss_of_one_before_them() {
    let pair = Pair::new();
    let db = pair.world.open("db", 4);
    let space = db.space("team").unwrap();
    fill(&space, 50_000, 6);
    let digest = space.digest().unwrap();
    drop((space, db));
    let folder = pair.copy("damaged");
    sql(&folder, "UPDATE body SET value = x'00' WHERE key = (SELECT key FROM body LIMIT 1 OFFSET 20)");
    let repaired = pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
    let saved = &repaired.spaces[0];
    let rescued = saved.rescued.clone().unwrap();
    assert_eq!(saved.rescued_commits + 1, saved.dropped, "only the damaged one is not in the bundle");
    assert_eq!(codes(&folder), Vec::<&str>::new());

    let db = pair.world.open("damaged", 10);
    let space = db.space("team").unwrap();
    assert!(space.digest().unwrap().commits < digest.commits);
    assert!(matches!(insert(&space, 7_777_777), Err(Error::ChainLost { written: Some(_), .. })));
    assert!(sync(&db, &pair.peer, &pair.theirs).unwrap().settled);
    assert_eq!(
        insert(&space, 7_777_777).unwrap_err().code(),
        "chain_lost",
        "six of its own are still missing"
    );
    let mut file = std::fs::File::open(rescued).unwrap();
    let imported = db.import(&mut file, &mut |_| {}).unwrap();
    assert_eq!((imported.damaged, imported.refused), (0, 0), "{imported:?}");
    assert_eq!(space.digest().unwrap(), digest);
    insert(&space, 7_777_777).unwrap();
    assert!(sync(&db, &pair.peer, &pair.theirs).unwrap().settled);
    assert_eq!(pair.theirs.digest().unwrap(), space.digest().unwrap());
    assert!(pair.peer.status().unwrap().spaces[0].forked.is_empty());
}

#[test]
fn nobody_writes_with_a_chain_of_which_nobody_knows_the_end() {
    let pair = Pair::new();
    let folder = pair.copy("damaged");
    sql(&folder, "UPDATE log SET value = x'08' WHERE key = (SELECT max(key) FROM log)");
    sql(&folder, "DELETE FROM tip");
    pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
    let db = pair.world.open("damaged", 10);
    let space = db.space("team").unwrap();
    assert!(sync(&db, &pair.peer, &pair.theirs).unwrap().settled);
    assert_eq!(space.digest().unwrap(), pair.theirs.digest().unwrap());
    let refused = insert(&space, 7_777_777);
    assert!(matches!(refused, Err(Error::ChainLost { written: None, .. })), "{refused:?}");
    assert_eq!(db.status().unwrap().lost[0].commits, None);
    // Another space is another chain.
    insert(&db.create_space("own").unwrap(), 1).unwrap();
}

#[test]
fn a_body_whose_hash_is_in_the_log_becomes_wanted_and_comes_back() {
    let pair = Pair::new();
    // A body that came later than its commit has its hash beside it.
    let late = pair.world.open("late", 20);
    let mut bytes = Vec::new();
    pair.theirs.export(&mut bytes, &mut |_| {}).unwrap();
    let text = b"document number 111";
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    bytes[at] ^= 1;
    let imported = late.import(&mut bytes.as_slice(), &mut |_| {}).unwrap();
    assert_eq!((imported.wanted, imported.damaged), (1, 1), "{imported:?}");
    bytes[at] ^= 1;
    late.import(&mut bytes.as_slice(), &mut |_| {}).unwrap();
    assert_eq!(late.space("team").unwrap().digest().unwrap(), pair.theirs.digest().unwrap());
    drop(late);
    let folder = pair.world.path("late");
    // The one whose log row says hash.
    spoil_body(&folder, "WHERE instr(value, CAST('document number 111' AS BLOB))");
    assert!(codes(&folder).contains(&"body"));
    let repaired = pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
    assert_eq!((repaired.spaces[0].dropped, repaired.spaces[0].wanted), (0, 1));
    let late = pair.world.open("late", 21);
    let author = late.author().unwrap();
    let db = pair.world.open("db", 22);
    let space = db.space("team").unwrap();
    space.grant(driftless::Subject::Key(author), driftless::Permission::Read).unwrap();
    assert!(sync(&late, &db, &space).unwrap().settled);
    assert_eq!(late.space("team").unwrap().digest().unwrap(), space.digest().unwrap());
    assert!(late.fsck(None, &mut |_| {}).unwrap().is_ok());
}

#[test]
fn a_database_that_somebody_has_open_is_not_repaired() {
    let pair = Pair::new();
    let folder = pair.copy("damaged");
    sql(&folder, "DELETE FROM edit");
    let db = Database::open(&folder).unwrap();
    let builder = pair.world.builder(9).patience(std::time::Duration::ZERO);
    assert!(matches!(builder.repair(&folder, &mut |_| {}), Err(Error::Locked)));
    drop(db);
    assert!(pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap().kept.is_some());
}

#[test]
fn packed_history_is_checked_and_what_a_damaged_pack_held_comes_back_from_a_peer() {
    let pair = Pair::new();
    let db = pair.world.open("db", 4);
    let space = db.space("team").unwrap();
    fill(&space, 70_000, 1500);
    assert!(db.compact(&mut |_, _| {}).unwrap().packed > 300);
    assert!(db.fsck(None, &mut |_| {}).unwrap().is_ok());
    let theirs = send(&space, &pair.peer);
    let digest = space.digest().unwrap();
    drop((space, db));
    assert_eq!(codes(&pair.world.path("db")), Vec::<&str>::new());
    // The packed are as good as the others where something else is damaged.
    let folder = pair.copy("derived");
    sql(&folder, "DELETE FROM edit WHERE key IN (SELECT key FROM edit LIMIT 1)");
    let repaired = pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
    assert_eq!(repaired.spaces[0].dropped, 0);
    assert_eq!(pair.world.open("derived", 10).space("team").unwrap().digest().unwrap(), digest);
    let folder = pair.copy("pack");
    flip(&folder, "pack", "value", "", -9);
    assert!(codes(&folder).contains(&"pack"), "{:?}", codes(&folder));
    let repaired = pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
    assert!(repaired.spaces[0].dropped > 0);
    let db = pair.world.open("pack", 11);
    assert!(sync(&db, &pair.peer, &theirs).unwrap().settled);
    assert_eq!(db.space("team").unwrap().digest().unwrap(), digest);
    assert!(db.fsck(None, &mut |_| {}).unwrap().is_ok());
}
