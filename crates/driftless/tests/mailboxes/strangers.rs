//! Whoever reaches a mailbox can be many writers there. That keeps nobody from being read, and costs no exchange more than
//! so much.

use std::sync::atomic::Ordering;

use driftless_core::id::base32;
use driftless_core::sign::{Domain, NodeKey};

use super::refusals::{Strict, through};
use super::*;

/// The first object of a device that has a key and no commits, as docs/mailbox.md says.
fn signed(space: SpaceId, seed: u64) -> (ObjectName, Vec<u8>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let key = NodeKey::from_seed(&bytes);
    let mut object = [&b"dlobject\x01"[..], &space.0, &key.id().0, &[7; 16], &[1], &[0; 32]].concat();
    // Stands for none, has read none, lacks nothing, no seal; content: plain, and no frames.
    object.extend_from_slice(&[0, 0, 0, 0, 1, 0]);
    let signature = key.sign_object(&[&Domain::MailboxObject.hash(&[&object])]);
    object.extend_from_slice(&signature.0);
    let hash = Domain::MailboxObject.hash(&[&object]);
    let name = format!("{space}/{}-{}/{:016x}-{}", key.id(), base32(&[7; 16]), 1, base32(&hash));
    (ObjectName::new(&name).unwrap(), object)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_among_thousands_of_strangers_is_read() {
    let place = Strict::default();
    let [ann, bob, cid] = std::array::from_fn(|_| Database::memory().unwrap());
    let here = shared(&ann, &[&bob, &cid]);
    let id = here.id();
    // Half of them have signed what they put.
    for seed in 0..1600 {
        let (name, bytes) = signed(id, seed);
        place.inside.replace(&name, Some(if seed % 2 == 0 { bytes } else { vec![seed as u8; 50] }));
    }
    fill(&here, 0, 3);
    sync(&through(&ann, id, &place)).await;
    let at_bob = through(&bob, id, &place);
    let mut turns = 0;
    while bob.space(&id.to_string()).is_err() {
        turns += 1;
        let before = place.asked.load(Ordering::SeqCst);
        sync(&at_bob).await;
        let asked = place.asked.load(Ordering::SeqCst) - before;
        assert!(asked < 10_000, "{asked}");
        assert!(turns <= 4, "was not read");
    }
    same(&[&here, &space_of(&bob, id)]);
    // Who has given something is read each time; who comes new is read soon, once the others were looked at.
    for _ in 0..4 {
        sync(&at_bob).await;
    }
    fill(&here, 10, 1);
    sync(&through(&ann, id, &place)).await;
    assert_eq!(sync(&at_bob).await.received, 1);
    let mut all = Vec::new();
    here.export(&mut all, &mut |_| {}).unwrap();
    cid.import(&mut &*all, &mut |_| {}).unwrap();
    fill(&space_of(&cid, id), 100, 1);
    sync(&through(&cid, id, &place)).await;
    assert_eq!(sync(&at_bob).await.received, 1);
    // And what is remembered of strangers is bounded.
    assert!(sync(&at_bob).await.alarms.len() <= 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_make_one_read_in_an_exchange_is_bounded() {
    let place = Strict::default();
    let [ann, bob] = std::array::from_fn(|_| Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    let id = here.id();
    fill(&here, 0, 3);
    sync(&through(&ann, id, &place)).await;
    sync(&through(&bob, id, &place)).await;
    // As many objects of 8 MiB as one likes, for each of many writers.
    for seed in 0..4 {
        let name = signed(id, seed).0.to_string();
        let (folder, rest) = name.rsplit_once('/').unwrap();
        for number in 1..4 {
            let name = format!("{folder}/{number:016x}{}", &rest[16..]);
            place.inside.replace(&ObjectName::new(&name).unwrap(), Some(vec![seed as u8; 8 * 1024 * 1024]));
        }
    }
    fill(&here, 10, 1);
    sync(&through(&ann, id, &place)).await;
    let synced = sync(&through(&bob, id, &place)).await;
    assert_eq!(synced.received, 1);
    assert!(synced.bytes_in < 74 * 1024 * 1024, "{synced:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_much_that_is_missing_everything_is_asked_for_in_turn() {
    let place = Strict::default();
    let [ann, bob] = std::array::from_fn(|_| Database::memory().unwrap());
    let here = shared(&ann, &[]);
    let id = here.id();
    fill(&here, 0, 299);
    let options = MailboxOptions { batch_commits: 1, ..MailboxOptions::default() };
    sync_with(&through(&ann, id, &place), &options).await;
    let objects = objects_of(&place.inside, &ann);
    // An operator shows only the last one; then the one before it as well, which stands on none that is here.
    let hidden: Vec<_> = objects[1..299].iter().map(|name| (name, place.inside.bytes(name))).collect();
    hidden.iter().for_each(|(name, _)| place.inside.replace(name, None));
    let at_bob = through(&bob, id, &place);
    assert_eq!(sync(&at_bob).await.alarms.len(), 299);
    let early =
        |synced: &MailboxSynced| kinds(synced).iter().filter(|(_, kind)| *kind == AlarmKind::Early).count();
    place.inside.replace(hidden[200].0, hidden[200].1.clone());
    let both = [&objects[299], hidden[200].0].map(|name| place.inside.bytes(name).unwrap().len() as u64);
    let (before, mut got) = (place.asked.load(Ordering::SeqCst), 0);
    for _ in 0..5 {
        got += sync(&at_bob).await.bytes_in;
    }
    assert!(got >= both.iter().sum(), "{got} of {both:?}");
    // So many at a time.
    assert!(place.asked.load(Ordering::SeqCst) - before < 5 * 150);
    hidden.into_iter().for_each(|(name, bytes)| place.inside.replace(name, bytes));
    assert_eq!(early(&sync(&at_bob).await), 0);
    same(&[&here, &space_of(&bob, id)]);
}
