//! An operator who deletes, changes, hides and rolls back; and devices that were restored or copied. Each is noticed by
//! name, loses nothing here, and is put right by the writer's next sync.

use super::*;

/// Ann has put 8 objects of 5 commits there, and Bob has read the first `read` of them.
async fn scene(read: usize) -> (MemoryMailbox, Database, Database, Space) {
    let place = MemoryMailbox::new();
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    fill(&here, 0, 38);
    sync_with(&on(&ann, here.id(), &place), &small()).await;
    let objects = objects_of(&place, &ann);
    assert_eq!(objects.len(), 8);
    let hidden: Vec<_> = objects[read..].iter().map(|name| (name, place.bytes(name))).collect();
    hidden.iter().for_each(|(name, _)| place.replace(name, None));
    if read > 0 {
        sync(&on(&bob, here.id(), &place)).await;
    }
    hidden.into_iter().for_each(|(name, bytes)| place.replace(name, bytes));
    (place, ann, bob, here)
}

/// What Bob says first, what Ann repairs, and that Bob has everything and says nothing then.
async fn noticed_and_repaired(
    (place, ann, bob, here): (MemoryMailbox, Database, Database, Space),
    alarms: &[(u64, AlarmKind)],
    repairs: u64,
) {
    let (at_ann, at_bob) = (on(&ann, here.id(), &place), on(&bob, here.id(), &place));
    let synced = sync(&at_bob).await;
    assert_eq!(kinds(&synced), alarms);
    assert!(synced.alarms.iter().all(|alarm| alarm.peer == ann.peer().unwrap()));
    let before = here.digest().unwrap();
    assert_eq!(sync(&at_ann).await.repaired, repairs);
    assert_eq!(here.digest().unwrap(), before);
    let synced = sync(&at_bob).await;
    assert_eq!(synced.alarms, []);
    same(&[&here, &space_of(&bob, here.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_deleted_in_the_middle_is_missed_and_comes_back() {
    let scene = scene(2).await;
    scene.0.replace(&objects_of(&scene.0, &scene.1)[4], None);
    // What stands on it waits.
    let alarms =
        [(5, AlarmKind::Missing), (6, AlarmKind::Early), (7, AlarmKind::Early), (8, AlarmKind::Early)];
    noticed_and_repaired(scene, &alarms, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_ends_early_is_damaged_and_comes_back() {
    let scene = scene(7).await;
    let last = objects_of(&scene.0, &scene.1)[7].clone();
    let bytes = scene.0.bytes(&last).unwrap();
    scene.0.replace(&last, Some(bytes[..bytes.len() / 2].to_vec()));
    noticed_and_repaired(scene, &[(8, AlarmKind::Damaged)], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_another_byte_is_damaged_and_comes_back() {
    let scene = scene(7).await;
    let last = objects_of(&scene.0, &scene.1)[7].clone();
    let mut bytes = scene.0.bytes(&last).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    scene.0.replace(&last, Some(bytes));
    noticed_and_repaired(scene, &[(8, AlarmKind::Damaged)], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_under_the_name_of_another_is_damaged_and_comes_back() {
    let scene = scene(6).await;
    let names = objects_of(&scene.0, &scene.1);
    let (seventh, eighth) = (scene.0.bytes(&names[6]), scene.0.bytes(&names[7]));
    scene.0.replace(&names[6], eighth);
    scene.0.replace(&names[7], seventh);
    noticed_and_repaired(scene, &[(7, AlarmKind::Damaged)], 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_was_rolled_back_is_noticed_and_filled_again() {
    let scene = scene(8).await;
    for name in &objects_of(&scene.0, &scene.1)[3..] {
        scene.0.replace(name, None);
    }
    noticed_and_repaired(scene, &[(8, AlarmKind::Gone)], 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_was_emptied_is_noticed_and_filled_again() {
    let scene = scene(8).await;
    for name in scene.0.names() {
        scene.0.replace(&name, None);
    }
    noticed_and_repaired(scene, &[(8, AlarmKind::Gone)], 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_hidden_from_one_device_are_known_from_another() {
    let (place, ann, bob, here) = scene(4).await;
    let cid = Database::memory().unwrap();
    let shown = MemoryMailbox::new();
    // Bob is shown everything and writes; Cid is not shown the last of Ann's.
    let at_bob = on(&bob, here.id(), &place);
    sync(&at_bob).await;
    fill(&space_of(&bob, here.id()), 100, 1);
    sync(&at_bob).await;
    let hidden = objects_of(&place, &ann)[6..].to_vec();
    for name in place.names().iter().filter(|name| !hidden.contains(name)) {
        shown.replace(name, place.bytes(name));
    }
    let synced = sync(&on(&cid, here.id(), &shown)).await;
    let told: Vec<_> = synced.alarms.iter().map(|alarm| (alarm.peer, alarm.number, alarm.kind)).collect();
    let (ann_id, bob_id) = (ann.peer().unwrap(), bob.peer().unwrap());
    assert!(told.contains(&(ann_id, 8, AlarmKind::Withheld)), "{told:?}");
    assert!(told.contains(&(bob_id, 1, AlarmKind::Early)), "{told:?}");
    let synced = sync(&on(&cid, here.id(), &place)).await;
    assert_eq!(synced.alarms, []);
    same(&[&space_of(&bob, here.id()), &space_of(&cid, here.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn things_that_are_nobodys_objects_move_nothing() {
    let scene = scene(3).await;
    let (place, ann, _, here) = &scene;
    let first = objects_of(place, ann)[0].to_string();
    let prefix = first.rsplit_once('/').unwrap().0.to_owned();
    let hash = first.rsplit_once('-').unwrap().1;
    for odd in [
        format!("{prefix}/ffffffffffffffff-{hash}"),
        format!("{prefix}/0000000000000fff-{hash}"),
        format!("{prefix}/0000000000000000-{hash}"),
        format!("{prefix}/zzz"),
        format!("{}/p_nobody-x/0000000000000001-{hash}", here.id()),
        format!("{}/loose", here.id()),
        "elsewhere".to_owned(),
    ] {
        place.replace(&ObjectName::new(&odd).unwrap(), Some(vec![7; 9 * 1024 * 1024]));
    }
    let synced = sync(&on(&scene.2, here.id(), place)).await;
    assert!(synced.foreign >= 4, "{synced:?}");
    // What is too large was not even got.
    assert!(synced.bytes_in < 1024 * 1024);
    noticed_and_repaired(scene, &[], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_device_takes_a_store_of_its_own_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let place = MemoryMailbox::new();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let ann = Database::builder().open(&first).unwrap();
    let bob = Database::memory().unwrap();
    let here = shared(&ann, &[]);
    let id = here.id();
    fill(&here, 0, 5);
    sync(&on(&ann, id, &place)).await;
    drop((here, ann));
    // A copy of the files: both are the same store, and neither knows.
    std::fs::create_dir(&second).unwrap();
    for file in std::fs::read_dir(&first).unwrap().flatten() {
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), second.join(file.file_name())).unwrap();
        }
    }
    let (ann, twin) = (Database::builder().open(&first).unwrap(), Database::builder().open(&second).unwrap());
    fill(&space_of(&ann, id), 10, 3);
    sync(&on(&ann, id, &place)).await;
    fill(&space_of(&twin, id), 20, 3);
    twin.add_mailbox(&id, URL).unwrap();
    let told = sync(&on(&twin, id, &place)).await;
    assert_eq!(kinds(&told), [(2, AlarmKind::Forked)]);
    // Nobody can put that right.
    let check = &twin.check_mailboxes().unwrap()[0];
    assert!(!check.ok && !check.fix.as_ref().unwrap().contains("puts it right"), "{check:?}");
    assert_eq!(told.received, 3);
    sync(&on(&ann, id, &place)).await;
    let copied = sync(&on(&bob, id, &place)).await;
    assert_eq!(copied.refused, 0);
    let (one, two, three) = (space_of(&ann, id), space_of(&twin, id), space_of(&bob, id));
    same(&[&one, &two, &three]);
    assert_eq!(three.summary().unwrap().documents, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_exchanges_at_once_do_not_mix() {
    let (place, ann, _, here) = scene(0).await;
    let (one, two) = (on(&ann, here.id(), &place), on(&ann, here.id(), &place));
    let options = MailboxOptions::default();
    options.control.pause();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let control = options.control.clone();
    let task = tokio::spawn(async move { one.sync(&options, &mut |event| tell.send(event).unwrap()).await });
    assert_eq!(told.recv().await, Some(MailboxEvent::Paused));
    let refused = two.sync(&small(), &mut |_| ()).await;
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    control.resume();
    assert!(task.await.unwrap().unwrap().finished);
    sync(&two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_took_its_objects_away_for_ever_keeps_nobody_from_what_it_had_put_for_others() {
    let place = MemoryMailbox::new();
    let [ann, relay, bob, carol] = std::array::from_fn(|_| Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    fill(&here, 0, 10);
    let mut all = Vec::new();
    here.export(&mut all, &mut |_| {}).unwrap();
    for device in [&relay, &bob] {
        device.import(&mut &*all, &mut |_| {}).unwrap();
    }
    // What Ann wrote is put by the relay, so Bob puts only what he wrote on top of it.
    sync(&on(&relay, here.id(), &place)).await;
    fill(&space_of(&bob, here.id()), 10, 1);
    assert_eq!(sync(&on(&bob, here.id(), &place)).await.sent, 1);
    objects_of(&place, &relay).iter().for_each(|name| place.replace(name, None));

    let at_carol = on(&carol, here.id(), &place);
    let synced = sync(&at_carol).await;
    let mut alarms = kinds(&synced);
    alarms.sort();
    assert_eq!((synced.received, alarms), (0, vec![(1, AlarmKind::Withheld), (1, AlarmKind::Early)]));
    // Carol says so once. Then Bob puts everything, once.
    let said = sync(&at_carol).await;
    assert_eq!((said.objects_out, said.sent), (1, 0));
    assert_eq!(sync(&at_carol).await.objects_out, 0);
    assert_eq!(sync(&on(&bob, here.id(), &place)).await.sent, here.digest().unwrap().commits);
    let synced = sync(&at_carol).await;
    assert_eq!(kinds(&synced), [(1, AlarmKind::Withheld)]);
    same(&[&space_of(&bob, here.id()), &space_of(&carol, here.id())]);
    assert_eq!(sync(&on(&bob, here.id(), &place)).await.sent, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_restored_from_a_backup_is_another_writer_whose_objects_are_all_whole() {
    let (home, place) = (tempfile::tempdir().unwrap(), MemoryMailbox::new());
    let (ann, bob) = (Database::open(home.path().join("ann")).unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    fill(&here, 0, 20);
    sync_with(&on(&ann, here.id(), &place), &small()).await;
    let (id, restored) = (here.id(), home.path().join("restored"));
    std::fs::create_dir(&restored).unwrap();
    ann.backup(restored.join("driftless.sqlite"), &mut |_, _| {}).unwrap();
    fill(&here, 20, 10);
    sync_with(&on(&ann, id, &place), &small()).await;
    let before = objects_of(&place, &ann).len();
    drop((here, ann));

    let ann = Database::open(&restored).unwrap();
    let synced = sync(&on(&ann, id, &place)).await;
    // It has read what it had written since, and puts nothing of it again.
    assert_eq!((synced.received, synced.sent, objects_of(&place, &ann).len()), (10, 0, before));
    ann.accept_restored(&id).unwrap();
    fill(&space_of(&ann, id), 40, 1);
    sync(&on(&ann, id, &place)).await;
    let at_bob = sync(&on(&bob, id, &place)).await;
    assert_eq!((at_bob.alarms, at_bob.foreign), (Vec::new(), 0));
    same(&[&space_of(&ann, id), &space_of(&bob, id)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_alarm_fits_for_is_not_passed_over() {
    struct Closed;
    impl driftless::MailboxSeal for Closed {
        fn name(&self) -> &str {
            "closed"
        }
        fn seal(&self, content: Vec<u8>) -> Result<Vec<u8>, Error> {
            Ok(content)
        }
        fn open(&self, _: &str, sealed: &[u8]) -> Option<Vec<u8>> {
            Some(sealed.to_vec())
        }
    }
    let (place, ann, bob) = (MemoryMailbox::new(), Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    fill(&here, 0, 1100);
    let sealed = || MailboxOptions { seal: Some(Arc::new(Closed)), ..MailboxOptions::default() };
    sync_with(&on(&ann, here.id(), &place), &MailboxOptions { batch_commits: 1, ..sealed() }).await;
    assert_eq!(objects_of(&place, &ann).len(), 1102);
    let at_bob = on(&bob, here.id(), &place);
    assert_eq!(sync(&at_bob).await.alarms.len(), 1024);
    // Once it has the seal it gets everything.
    let synced = sync_with(&at_bob, &sealed()).await;
    assert!(synced.alarms.is_empty(), "{} alarms", synced.alarms.len());
    same(&[&here, &space_of(&bob, here.id())]);
}
