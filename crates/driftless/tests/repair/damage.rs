//! Ways to damage a database file, and a database with something in every table to be damaged.

use std::path::{Path, PathBuf};

use driftless::{Database, Permission, Space, Strength, Subject, operators_from_json};
use rusqlite::Connection;

use crate::world::{World, fill, send};

/// A database in a folder and a peer in memory that has the same space, by two authors, with rules, runs, an index,
/// deleted documents, a document with checkpoints and void commits.
pub(crate) struct Pair {
    pub(crate) world: World,
    pub(crate) peer: Database,
    pub(crate) theirs: Space,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let (db, peer) = (world.open("db", 1), world.memory(2));
        let space = db.create_space("team").unwrap();
        let write = Permission::Write(Strength(10));
        space.grant(Subject::Key(peer.author().unwrap()), write).unwrap();
        let items = space.collection("items").unwrap();
        items.create_index(&"n".parse().unwrap()).unwrap();
        fill(&space, 0, 12);
        let theirs = send(&space, &peer);
        fill(&theirs, 100, 12);
        let late = world.memory(3);
        send(&theirs, &late);
        send(&theirs, &db);
        let increment = r#"{"$inc": {"n": 1}, "$set": {"text": "again"}}"#;
        for _ in 0..150 {
            items.edit(&3.into(), operators_from_json(increment).unwrap()).unwrap();
        }
        items.delete(&4.into()).unwrap();
        let mut transaction = db.transaction();
        // Two bodies of more than half the largest size: a run of two commits.
        let text = "x".repeat(600_000);
        for n in 0..2 {
            let fields = driftless::Map::from_json(&format!(r#"{{"n": {n}, "text": "{text}"}}"#)).unwrap();
            let insert = driftless::Insert { id: Some((n + 1000).into()), parent: None };
            transaction.insert_with(&items, fields, insert).unwrap();
        }
        transaction.commit().unwrap();
        let theirs = send(&space, &peer);
        Self { world, peer, theirs }
    }

    /// A copy of the closed database in a folder of its own.
    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        let folder = self.world.path(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(self.world.path("db").join(FILE), folder.join(FILE)).unwrap();
        folder
    }
}

pub(crate) const FILE: &str = "driftless.sqlite";

// Damage whose checksum is right again, or, in `raw` folders, as a disk does it.
fn beneath(folder: &Path, damage: impl FnOnce(&Connection)) {
    let file = folder.join(FILE);
    if folder.to_string_lossy().ends_with(RAW) {
        damage(&Connection::open(file).unwrap());
    } else {
        driftless_store::beneath_checksums(&file, damage).unwrap();
    }
}

/// How the name of a folder ends in which damage does not mend its checksum.
pub(crate) const RAW: &str = "-raw";

/// Runs SQL on the file of a database, as anybody can.
pub(crate) fn sql(folder: &Path, sql: &str) {
    beneath(folder, |connection| {
        let changed = connection.execute(sql, []).unwrap();
        assert!(changed > 0, "{sql}");
    });
}

/// Changes one bit of a value; `at` counts bytes, from the end if it is below zero.
pub(crate) fn flip(folder: &Path, table: &str, column: &str, which: &str, at: i64) {
    beneath(folder, |connection| flip_in(connection, table, column, which, at));
}

fn flip_in(connection: &Connection, table: &str, column: &str, which: &str, at: i64) {
    let select = format!("SELECT {column} FROM \"{table}\" {which}");
    let mut value: Vec<u8> = connection.query_row(&select, [], |row| row.get(0)).expect(&select);
    let index = if at < 0 { value.len() as i64 + at } else { at } as usize;
    let before = value.clone();
    value[index] ^= 4;
    let update = format!("UPDATE \"{table}\" SET {column} = ?1 WHERE {column} = ?2");
    assert!(connection.execute(&update, [&value, &before]).unwrap() > 0);
}

/// Overwrites the last bytes of a body, so that nothing tells what stood there.
pub(crate) fn spoil_body(folder: &Path, which: &str) {
    beneath(folder, |connection| {
        let select = format!("SELECT key, value FROM body {which}");
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (key, mut value): (i64, Vec<u8>) = connection.query_row(&select, [], read).expect(&select);
        let last = value.len() - 4;
        value[last..].fill(0x5a);
        assert_eq!(connection.execute("UPDATE body SET value = ?1 WHERE key = ?2", (value, key)).unwrap(), 1);
    });
}

/// Overwrites whole pages of the file that hold a text.
pub(crate) fn spoil_pages(folder: &Path, holding: &[u8]) -> usize {
    let mut bytes = std::fs::read(folder.join(FILE)).unwrap();
    let mut spoilt = 0;
    for page in bytes.chunks_mut(4096).skip(1) {
        if page.windows(holding.len()).any(|window| window == holding) {
            page.fill(0x5a);
            spoilt += 1;
        }
    }
    std::fs::write(folder.join(FILE), bytes).unwrap();
    spoilt
}

/// The codes of what `fsck` finds.
pub(crate) fn codes(folder: &Path) -> Vec<&'static str> {
    let report = Database::fsck_folder(folder, &mut |_| {}).unwrap();
    let mut codes: Vec<_> = report.problems.iter().map(|problem| problem.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}
