//! A copy is consistent while others write, and never writes a number that the original may have used.

use driftless::{Error, Original, Permission, Strength, Subject};

use crate::world::{World, fill, insert, send, sync};

#[test]
fn a_backup_is_of_one_moment_while_others_write() {
    let world = World::new();
    let db = world.open("db", 1);
    let space = db.create_space("team").unwrap();
    fill(&space, 0, 50);
    let before = space.digest().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1000.. {
                if stop.load(std::sync::atomic::Ordering::SeqCst) {
                    break;
                }
                insert(&space, n).unwrap();
            }
        });
        for n in 0..5 {
            let mut told = (0, 0);
            let to = world.path(&format!("{n}.backup"));
            let bytes = db.backup(&to, &mut |done, all| told = (done, all)).unwrap();
            assert!(bytes > 0 && told.0 == told.1 && told.1 > 0, "{told:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    for n in 0..5 {
        let backup = world.path(&format!("{n}.backup"));
        let name = format!("copy{n}");
        let builder = world.builder(10 + n);
        let copy = builder.restore(world.path(&name), &backup, Original::MayExist, &mut |_, _| {}).unwrap();
        let there = copy.space("team").unwrap();
        let digest = there.digest().unwrap();
        assert!(digest.commits >= before.commits);
        assert_eq!(there.rebuild().unwrap(), digest, "a copy holds together");
    }
    let again = db.backup(world.path("0.backup"), &mut |_, _| {});
    assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
}

#[test]
fn a_restored_copy_writes_only_after_it_has_caught_up() {
    let world = World::new();
    let (db, bob) = (world.open("db", 1), world.memory(2));
    let space = db.create_space("team").unwrap();
    let write = Permission::Write(Strength(10));
    space.grant(Subject::Key(bob.author().unwrap()), write).unwrap();
    fill(&space, 0, 5);
    db.backup(world.path("backup"), &mut |_, _| {}).unwrap();
    // What the backup does not know: these numbers are used.
    fill(&space, 5, 5);
    send(&space, &bob);
    let digest = space.digest().unwrap();
    drop((space, db));

    let builder = world.builder(3);
    let copy = builder
        .restore(world.path("copy"), &world.path("backup"), Original::MayExist, &mut |_, _| {})
        .unwrap();
    let there = copy.space("team").unwrap();
    assert_eq!(copy.status().unwrap().restored.unwrap().guarded, [there.id()]);
    let refused = insert(&there, 100).unwrap_err();
    assert_eq!(refused.code(), "restored", "{refused}");
    // A space of its own is nobody else's.
    insert(&copy.create_space("own").unwrap(), 1).unwrap();
    drop((there, copy));
    let copy = world.open("copy", 4);
    let there = copy.space("team").unwrap();
    assert_eq!(insert(&there, 100).unwrap_err().code(), "restored", "also after it is opened again");

    assert!(sync(&copy, &bob, &there).unwrap().settled);
    assert_eq!(there.digest().unwrap(), digest);
    assert_eq!(copy.restored().unwrap().unwrap().guarded, []);
    fill(&there, 100, 3);
    assert!(sync(&copy, &bob, &there).unwrap().settled);
    let theirs = bob.status().unwrap();
    assert!(theirs.spaces[0].forked.is_empty() && copy.status().unwrap().spaces[0].forked.is_empty());
}

#[test]
fn a_copy_whose_original_is_gone_goes_on_at_once() {
    let world = World::new();
    let db = world.open("db", 1);
    let space = db.create_space("team").unwrap();
    fill(&space, 0, 5);
    db.backup(world.path("backup"), &mut |_, _| {}).unwrap();
    let (author, peer) = (db.author().unwrap(), db.peer().unwrap());
    drop((space, db));
    std::fs::remove_dir_all(world.path("db")).unwrap();
    let builder = world.builder(3);
    let copy =
        builder.restore(world.path("db"), &world.path("backup"), Original::IsGone, &mut |_, _| {}).unwrap();
    assert_eq!((copy.author().unwrap(), copy.peer().unwrap()), (author, peer));
    let there = copy.space("team").unwrap();
    fill(&there, 5, 5);
    assert_eq!(there.digest().unwrap().documents, 10);
}

#[test]
fn a_backup_that_is_copied_by_hand_is_guarded_too() {
    let world = World::new();
    let db = world.open("db", 1);
    let space = db.create_space("team").unwrap();
    fill(&space, 0, 5);
    db.backup(world.path("backup"), &mut |_, _| {}).unwrap();
    std::fs::create_dir(world.path("copy")).unwrap();
    std::fs::copy(world.path("backup"), world.path("copy").join("driftless.sqlite")).unwrap();
    let copy = world.open("copy", 2);
    let there = copy.space("team").unwrap();
    assert_eq!(there.digest().unwrap(), space.digest().unwrap());
    assert_eq!(insert(&there, 9).unwrap_err().code(), "restored");
    copy.accept_restored(&there.id()).unwrap();
    insert(&there, 9).unwrap();
}

#[test]
fn nothing_is_made_from_what_is_no_backup() {
    let world = World::new();
    std::fs::write(world.path("junk"), vec![7; 10_000]).unwrap();
    for (name, code) in [("junk", "damaged"), ("nothing", "not_found")] {
        let builder = world.builder(1);
        let made = builder.restore(world.path("db"), &world.path(name), Original::MayExist, &mut |_, _| {});
        assert_eq!(made.unwrap_err().code(), code);
        assert!(!world.path("db").exists());
    }
}
