//! A small database, damaged in every page and in many single bits: whatever was hit, it is found where it matters, and a
//! repair with an intact peer ends with the same documents, or says that it cannot.

use std::path::{Path, PathBuf};

use driftless::{Database, Permission, Space, Strength, Subject};

use crate::damage::{FILE, codes};
use crate::world::{World, fill, insert, send, sync};

struct Small {
    world: World,
    peer: Database,
    theirs: Space,
    bytes: Vec<u8>,
}

impl Small {
    fn new() -> Self {
        let world = World::new();
        let (db, peer) = (world.open("db", 1), world.memory(2));
        let space = db.create_space("team").unwrap();
        let write = Permission::Write(Strength(10));
        space.grant(Subject::Key(peer.author().unwrap()), write).unwrap();
        space.collection("items").unwrap().create_index(&"n".parse().unwrap()).unwrap();
        fill(&space, 0, 20);
        let theirs = send(&space, &peer);
        fill(&theirs, 100, 20);
        send(&theirs, &db);
        fill(&space, 40, 10);
        send(&space, &peer);
        drop((space, db));
        let bytes = std::fs::read(world.path("db").join(FILE)).unwrap();
        Self { world, peer, theirs, bytes }
    }

    fn with(&self, name: &str, damage: impl FnOnce(&mut [u8])) -> PathBuf {
        let folder = self.world.path(name);
        std::fs::create_dir(&folder).unwrap();
        let mut bytes = self.bytes.clone();
        damage(&mut bytes);
        std::fs::write(folder.join(FILE), bytes).unwrap();
        folder
    }

    // Whether the repair worked. If it did, nothing is wrong any more, and a sync brings back what was lost.
    fn heals(&self, folder: &Path, name: &str) -> bool {
        match self.world.builder(9).repair(folder, &mut |_| {}) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.code(), "damaged", "{name}: {error}");
                return false;
            }
        }
        assert_eq!(codes(folder), Vec::<&str>::new(), "{name}");
        let db = self.world.open(name, 10);
        // The key of another user than the one whose space it is may not read it: then nobody could fetch it.
        if db.author().unwrap() == self.peer.author().unwrap() {
            return false;
        }
        let synced = sync(&db, &self.peer, &self.theirs).unwrap();
        assert!(synced.settled, "{name}: {synced:?}");
        let space = db.space(&self.theirs.id().to_string()).unwrap();
        assert_eq!(space.digest().unwrap(), self.theirs.digest().unwrap(), "{name}");
        assert!(db.fsck(None, &mut |_| {}).unwrap().is_ok(), "{name}");
        true
    }
}

#[test]
fn every_page_can_be_lost() {
    let small = Small::new();
    let pages = small.bytes.len() / 4096;
    let mut healed = 0;
    for page in 0..pages {
        let name = format!("page {page}");
        let folder = small.with(&name, |bytes| bytes[page * 4096..][..4096].fill(0x5a));
        assert!(!codes(&folder).is_empty(), "{name}");
        healed += usize::from(small.heals(&folder, &name));
    }
    // Not without the page that says where the others are, nor without the only copy of the keys.
    assert!(healed + 4 >= pages, "{healed} of {pages}");
}

#[test]
fn a_bit_that_flips_anywhere_is_found_or_does_not_matter() {
    let small = Small::new();
    let digest = small.theirs.digest().unwrap();
    let (mut found, mut harmless) = (0, 0);
    for n in 0..150 {
        // A step that meets every part of a page.
        let at = (n * 7919 * 131) % small.bytes.len();
        let name = format!("bit {at}");
        let folder = small.with(&name, |bytes| bytes[at] ^= 1 << (n % 8));
        if codes(&folder).is_empty() {
            harmless += 1;
            let db = small.world.builder(10).open(&folder).unwrap();
            let space = db.space("team").unwrap();
            assert_eq!(space.digest().unwrap(), digest, "{name}");
            assert_eq!(space.rebuild().unwrap(), digest, "{name}");
            // Of a seed nobody can tell that it was another one; it is not let in.
            drop(insert(&space, 9999));
        } else {
            found += 1;
            small.heals(&folder, &name);
        }
    }
    assert!(found > 10 && harmless > 10, "{found} {harmless}");
}
