//! Every kind of damage is found, named by a word of its own, repaired, and after a sync nothing is missing.

use std::path::Path;

use driftless::{Database, Original};

use crate::damage::{FILE, Pair, RAW, codes, flip, spoil_body, spoil_pages, sql};
use crate::world::{insert, sync};

type Damage = (&'static str, &'static str, fn(&Path));

// What is damaged, the word for it, and how.
const DERIVED: [Damage; 28] = [
    ("value", "document", |at| sql(at, "UPDATE document SET json = '{\"n\":-1}' WHERE id = '3'")),
    ("deleted", "document", |at| sql(at, "UPDATE document SET deleted = 1 WHERE id = '5'")),
    ("state", "document", |at| flip(at, "document", "state", "WHERE id = '5'", 3)),
    ("json", "document", |at| sql(at, "UPDATE document SET json = 'x' WHERE id = '5'")),
    ("row", "document", |at| sql(at, "DELETE FROM document WHERE id = '6'")),
    ("entry", "index", |at| {
        sql(at, "DELETE FROM index_value WHERE key IN (SELECT key FROM index_value LIMIT 1)")
    }),
    ("entries", "index", |at| {
        sql(at, "INSERT INTO index_value SELECT CAST(key || x'00' AS BLOB), value FROM index_value LIMIT 1")
    }),
    ("edit", "edit", |at| sql(at, "DELETE FROM edit WHERE key IN (SELECT key FROM edit LIMIT 1)")),
    ("checkpoint", "checkpoint", |at| flip(at, "checkpoint", "value", "", -3)),
    ("tip", "tip", |at| flip(at, "tip", "value", "", 0)),
    ("head", "space", |at| sql(at, "DELETE FROM head")),
    ("heads", "head", |at| sql(at, "INSERT INTO head SELECT key, x'03' FROM log LIMIT 1")),
    ("held", "state", |at| sql(at, "INSERT INTO state SELECT key, x'01' FROM log LIMIT 1 OFFSET 9")),
    ("states", "space", |at| sql(at, "INSERT INTO state SELECT key, x'63' FROM log LIMIT 1 OFFSET 9")),
    ("view", "space", |at| flip(at, "space", "value", "", 70)),
    ("log digest", "space", |at| flip(at, "space", "value", "", 40)),
    ("tally", "space", |at| flip(at, "space", "value", "", 97)),
    ("space", "space", |at| sql(at, "UPDATE space SET value = x'00'")),
    ("space id", "space", |at| sql(at, "DELETE FROM space_id")),
    ("commit id", "commit_id", |at| {
        sql(at, "DELETE FROM commit_id WHERE key IN (SELECT key FROM commit_id LIMIT 1)")
    }),
    ("author", "author", |at| flip(at, "author", "value", "WHERE key = 2", 9)),
    ("author id", "author", |at| sql(at, "DELETE FROM author_id")),
    ("rule", "space", |at| sql(at, "DELETE FROM rule WHERE key = (SELECT max(key) FROM rule)")),
    ("frontier", "space", |at| {
        sql(at, "UPDATE frontier SET value = x'00' WHERE key = (SELECT max(key) FROM frontier)")
    }),
    ("run", "run", |at| sql(at, "DELETE FROM run")),
    ("digests", "log_digest", |at| sql(at, "INSERT INTO log_digest SELECT max(key), zeroblob(32) FROM log")),
    ("cursor", "cursor", |at| sql(at, "INSERT INTO cursor VALUES (zeroblob(64), x'ff')")),
    ("mark", "mark", |at| sql(at, "INSERT INTO mark VALUES (x'ff', x'')")),
];

const LOCAL: [Damage; 10] = [
    ("collection", "collection", |at| sql(at, "UPDATE collection_id SET value = x'ffffffffffffffff'")),
    ("number", "space", |at| sql(at, "UPDATE space_id SET value = x'ffffffff'")),
    ("node key", "meta", |at| sql(at, "DELETE FROM meta WHERE key = CAST('node_key' AS BLOB)")),
    ("store id", "meta", |at| sql(at, "UPDATE meta SET value = x'00' WHERE key = CAST('store_id' AS BLOB)")),
    ("numbers", "meta", |at| {
        sql(at, "UPDATE meta SET value = zeroblob(24) WHERE key = CAST('next_numbers' AS BLOB)")
    }),
    ("peer", "peer", |at| sql(at, "INSERT INTO peer VALUES (zeroblob(32), x'ff')")),
    ("refused", "refused", |at| sql(at, "INSERT INTO refused VALUES (zeroblob(32), x'ff')")),
    ("schema", "schema", |at| sql(at, "INSERT INTO collection_schema VALUES (zeroblob(8), x'ff')")),
    ("request", "request", |at| sql(at, "INSERT INTO request VALUES (zeroblob(64), x'ff')")),
    ("user", "user", |at| sql(at, "INSERT INTO user VALUES (CAST('zoe' AS BLOB), x'01')")),
];

// Repairs without a peer must bring everything back.
#[test]
fn what_is_derived_is_found_and_made_again_from_the_log() {
    let pair = Pair::new();
    assert!(codes(&pair.world.path("db")).is_empty());
    let digest = pair.theirs.digest().unwrap();
    let raw = DERIVED.map(|(name, _, damage)| (name, "", damage));
    for (name, code, damage) in DERIVED.into_iter().chain(LOCAL).chain(raw) {
        // What a disk does the checksum tells first, and in its own words.
        let name = &format!("{name}{}", if code.is_empty() { RAW } else { "" });
        let folder = pair.copy(name);
        damage(&folder);
        let found = codes(&folder);
        let told = if code.is_empty() { !found.is_empty() } else { found.contains(&code) };
        assert!(told, "{name}: {found:?}");
        let repaired = pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
        assert!(repaired.kept.is_some_and(|kept| kept.exists()), "{name}");
        assert_eq!((repaired.spaces[0].dropped, repaired.spaces[0].wanted), (0, 0), "{name}");
        assert_eq!(codes(&folder), Vec::<&str>::new(), "{name}");
        let db = pair.world.open(name, 10);
        let space = db.space("team").unwrap();
        assert_eq!(space.digest().unwrap(), digest, "{name}");
        insert(&space, 99_999).unwrap();
    }
}

const LOG: [Damage; 7] = [
    ("body", "commit", |at| spoil_body(at, "ORDER BY key LIMIT 1 OFFSET 8")),
    ("no body", "log_row", |at| {
        sql(at, "DELETE FROM body WHERE key = (SELECT key FROM body LIMIT 1 OFFSET 20)")
    }),
    ("time", "commit", |at| flip(at, "log", "value", "ORDER BY key LIMIT 1 OFFSET 10", 38)),
    ("flags", "log_row", |at| flip(at, "log", "value", "ORDER BY key LIMIT 1 OFFSET 10", 0)),
    ("row", "log_row", |at| sql(at, "DELETE FROM log WHERE key = (SELECT key FROM log LIMIT 1 OFFSET 12)")),
    ("no row", "log_row", |at| {
        sql(at, "UPDATE log SET value = x'08' WHERE key = (SELECT max(key) FROM log)")
    }),
    ("genesis", "commit", |at| spoil_body(at, "ORDER BY key")),
];

#[test]
fn a_lost_commit_is_found_taken_out_with_what_stands_on_it_and_fetched_again() {
    let pair = Pair::new();
    let digest = pair.theirs.digest().unwrap();
    for (name, code, damage) in LOG {
        let folder = pair.copy(name);
        damage(&folder);
        let found = codes(&folder);
        assert!(found.contains(&code), "{name}: {found:?}");
        let repaired = pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
        let saved = &repaired.spaces[0];
        assert!(saved.dropped > 0, "{name}: {saved:?}");
        assert_eq!(codes(&folder), Vec::<&str>::new(), "{name}");
        let db = pair.world.open(name, 10);
        if let Ok(space) = db.space("team") {
            // Its numbers are used: another commit with one of them would fork it.
            assert_eq!(insert(&space, 99_999).unwrap_err().code(), "chain_lost", "{name}");
            assert_eq!(db.status().unwrap().lost.len(), 1, "{name}");
        }
        let synced = sync(&db, &pair.peer, &pair.theirs).unwrap();
        assert!(synced.settled && synced.moved.refused == 0, "{name}: {synced:?}");
        let space = db.space("team").unwrap();
        assert_eq!(space.digest().unwrap(), digest, "{name}");
        assert!(db.fsck(None, &mut |_| {}).unwrap().is_ok(), "{name}");
        assert!(db.status().unwrap().lost.is_empty(), "{name}");
        insert(&space, 99_999).unwrap();
        assert!(db.status().unwrap().spaces[0].forked.is_empty(), "{name}");
    }
}

const PROVEN: [Damage; 3] = [
    ("bit of a body", "commit", |at| {
        flip(at, "body", "value", "ORDER BY key LIMIT 1 OFFSET 8", -9);
    }),
    // Behind flags, id and time.
    ("signature", "signature", |at| flip(at, "log", "value", "ORDER BY key DESC LIMIT 1", 60)),
    ("id", "commit", |at| flip(at, "log", "value", "ORDER BY key DESC LIMIT 1", 7)),
];

#[test]
fn what_the_rest_of_a_commit_proves_is_made_again() {
    let pair = Pair::new();
    for (name, code, damage) in PROVEN {
        let folder = pair.copy(name);
        damage(&folder);
        assert!(codes(&folder).contains(&code), "{name}: {:?}", codes(&folder));
        let repaired = pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
        assert_eq!(repaired.spaces[0].dropped, 0, "{name}");
        let db = pair.world.open(name, 10);
        assert_eq!(db.space("team").unwrap().digest().unwrap(), pair.theirs.digest().unwrap(), "{name}");
    }
}

#[test]
fn whole_pages_that_are_lost_cost_what_was_in_them_and_come_back_from_a_peer() {
    let pair = Pair::new();
    let digest = pair.theirs.digest().unwrap();
    for (name, text) in [("documents", "document number 5\""), ("log", "document number 7")] {
        let folder = pair.copy(name);
        assert!(spoil_pages(&folder, text.as_bytes()) > 0);
        assert!(codes(&folder).contains(&"storage"), "{name}: {:?}", codes(&folder));
        pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
        assert_eq!(codes(&folder), Vec::<&str>::new(), "{name}");
        let db = pair.world.open(name, 10);
        assert!(sync(&db, &pair.peer, &pair.theirs).unwrap().settled, "{name}");
        assert_eq!(db.space("team").unwrap().digest().unwrap(), digest, "{name}");
    }
}

#[test]
fn a_file_of_which_nothing_can_be_read_is_reported_and_left_as_it_is() {
    let pair = Pair::new();
    let folder = pair.copy("junk");
    let junk = vec![0x77; 50_000];
    std::fs::write(folder.join(FILE), &junk).unwrap();
    let report = Database::fsck_folder(&folder, &mut |_| {}).unwrap();
    assert_eq!(report.problems[0].code, "storage");
    let refused = pair.world.builder(9).repair(&folder, &mut |_| {});
    assert_eq!(refused.unwrap_err().code(), "damaged");
    assert_eq!(std::fs::read(folder.join(FILE)).unwrap(), junk);
    assert!(Database::fsck_folder(pair.world.path("nothing"), &mut |_| {}).is_err());
}

#[test]
fn a_row_far_behind_the_log_costs_no_search_for_all_that_could_be_before_it() {
    let pair = Pair::new();
    let folder = pair.copy("far");
    sql(&folder, "INSERT INTO log SELECT max(key) + 999999999999, value FROM log");
    assert!(codes(&folder).contains(&"log_row"));
    let repaired = pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
    assert!(repaired.spaces[0].dropped <= 1 && repaired.spaces[0].guarded.is_empty());
    assert_eq!(codes(&folder), Vec::<&str>::new());
    let db = pair.world.open("far", 10);
    assert_eq!(db.space("team").unwrap().digest().unwrap(), pair.theirs.digest().unwrap());
}

#[test]
fn a_copy_that_is_repaired_before_it_is_opened_is_still_a_copy() {
    let pair = Pair::new();
    let db = pair.world.open("db", 5);
    db.backup(pair.world.path("backup"), &mut |_, _| {}).unwrap();
    drop(db);
    let folder = pair.world.path("by hand");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(pair.world.path("backup"), folder.join(FILE)).unwrap();
    sql(&folder, "DELETE FROM head");
    pair.world.builder(9).repair(&folder, &mut |_| {}).unwrap();
    let db = pair.world.open("by hand", 6);
    assert_eq!(db.restored().unwrap().unwrap().guarded.len(), 1);
    assert_eq!(insert(&db.space("team").unwrap(), 77).unwrap_err().code(), "restored");
    let other = pair.world.builder(7);
    let again =
        other.restore(pair.world.path("x"), &pair.world.path("backup"), Original::MayExist, &mut |_, _| {});
    assert!(again.is_ok());
}
