//! Somebody who may put objects there and says of others what is not so: nobody puts anything again for it, and no alarm
//! stays.

use driftless_core::id::{PeerId, base32};
use driftless_core::limits::MAX_PAGE;
use driftless_core::sign::{Domain, NodeKey};
use driftless_store::Storage;

use super::failing::{Failing, Fuse};
use super::*;

/// A writer with a key of its own and no commits.
struct Stranger(NodeKey);

/// Who a writer is: the key of its device, and its store.
type Who = (PeerId, [u8; 16]);

impl Stranger {
    /// Puts the object with this number, which says how far others are and what of theirs stands on nothing.
    fn puts(
        &self,
        place: &MemoryMailbox,
        space: SpaceId,
        number: u8,
        heard: &[(Who, u8, [u8; 32])],
        lacks: &[(Who, u8)],
    ) -> ObjectName {
        self.puts_with(place, space, number, (heard, lacks), &[])
    }

    /// The same, with these frames.
    fn puts_with(
        &self,
        place: &MemoryMailbox,
        space: SpaceId,
        number: u8,
        (heard, lacks): (&[(Who, u8, [u8; 32])], &[(Who, u8)]),
        frames: &[Vec<u8>],
    ) -> ObjectName {
        let store = [3; 16];
        let mut bytes =
            [&b"dlobject"[..], &[1], &space.0, &self.0.id().0, &store, &[number], &[0; 32]].concat();
        bytes.extend([0, heard.len() as u8]);
        for ((peer, store), number, hash) in heard {
            bytes.extend([&peer.0[..], store, &[*number], hash].concat());
        }
        bytes.push(lacks.len() as u8);
        for ((peer, store), number) in lacks {
            bytes.extend([&peer.0[..], store, &[*number]].concat());
        }
        // No seal, and a content that is plain.
        let content = frames.iter().fold(vec![0], |content, frame| [content, blob(frame)].concat());
        bytes.push(0);
        bytes.extend(blob(&content));
        let signature = self.0.sign_object(&[&Domain::MailboxObject.hash(&[&bytes])]);
        bytes.extend(signature.0);
        let hash = base32(&Domain::MailboxObject.hash(&[&bytes]));
        let name = format!("{space}/{}-{}/{number:016x}-{hash}", self.0.id(), base32(&store));
        let name = ObjectName::new(&name).unwrap();
        place.replace(&name, Some(bytes));
        name
    }
}

// A length and bytes.
fn blob(bytes: &[u8]) -> Vec<u8> {
    let (mut length, mut blob) = (bytes.len(), Vec::new());
    while length >= 0x80 {
        blob.push(length as u8 | 0x80);
        length >>= 7;
    }
    blob.push(length as u8);
    [&blob, bytes].concat()
}

fn who(place: &MemoryMailbox, db: &Database) -> Who {
    let first = objects_of(place, db)[0].to_string();
    let store = first.split('/').nth(1).unwrap().split_once('-').unwrap().1.to_owned();
    let store = driftless_core::id::from_base32(&store).unwrap().try_into().unwrap();
    (db.peer().unwrap(), store)
}

/// Bob has read what Ann put there, and has put one commit himself.
async fn scene() -> (MemoryMailbox, [Database; 2], Space) {
    let place = MemoryMailbox::new();
    let [ann, bob] = std::array::from_fn(|_| Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    fill(&here, 0, 20);
    sync(&on(&ann, here.id(), &place)).await;
    bob.add_mailbox(&here.id(), URL).unwrap();
    let at_bob = on(&bob, here.id(), &place);
    sync(&at_bob).await;
    fill(&space_of(&bob, here.id()), 100, 1);
    assert_eq!(sync(&at_bob).await.sent, 1);
    (place, [ann, bob], here)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_puts_a_space_again_because_a_stranger_says_that_it_lacks_something() {
    let (place, [ann, bob], here) = scene().await;
    let stranger = Stranger(NodeKey::from_seed(&[7; 32]));
    let lacks = [(who(&place, &ann), 1), (who(&place, &bob), 1)];
    for number in 1..=3 {
        stranger.puts(&place, here.id(), number, &[], &lacks);
        for db in [&ann, &bob] {
            assert_eq!(sync(&on(db, here.id(), &place)).await.sent, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_says_of_others_is_no_alarm_that_stays() {
    let (place, [ann, bob], here) = scene().await;
    let stranger = Stranger(NodeKey::from_seed(&[7; 32]));
    let nobody = (NodeKey::from_seed(&[8; 32]).id(), [1; 16]);
    let heard = [(who(&place, &ann), 1, [9; 32]), (nobody, 5, [9; 32])];
    stranger.puts(&place, here.id(), 1, &heard, &[]);
    let further = [(who(&place, &ann), 9, [9; 32])];
    Stranger(NodeKey::from_seed(&[6; 32])).puts(&place, here.id(), 1, &further, &[]);
    let told = sync(&on(&bob, here.id(), &place)).await;
    assert!(told.alarms.iter().all(|alarm| alarm.kind == AlarmKind::Withheld), "{told:?}");
    assert_eq!(sync(&on(&bob, here.id(), &place)).await.alarms, []);
    assert_eq!(bob.mailboxes().unwrap()[0].alarms, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beginnings_of_other_spaces_make_none_here_and_nobody_believed() {
    let (place, [ann, bob], here) = scene().await;
    let stranger = Stranger(NodeKey::from_seed(&[7; 32]));
    let own = Database::memory().unwrap();
    let begun = |_| own.create_space("notes").unwrap().feed(None, MAX_PAGE).unwrap().frames;
    let frames: Vec<_> = (0..5).flat_map(begun).collect();
    let lie = [(who(&place, &ann), 1, [9; 32])];
    stranger.puts_with(&place, here.id(), 1, (&lie, &[(who(&place, &ann), 1)]), &frames);
    sync(&on(&ann, here.id(), &place)).await;
    let told = sync(&on(&bob, here.id(), &place)).await;
    assert_eq!((told.received, told.refused), (0, frames.len() as u64));
    assert_eq!(sync(&on(&bob, here.id(), &place)).await.alarms, []);
    for db in [&ann, &bob] {
        assert_eq!(db.spaces().unwrap().len(), 1);
        assert!(db.space("notes").is_ok(), "its name stands for no other space");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_say_that_they_lack_costs_no_look_at_all_own_objects_each_time() {
    let (place, fuse) = (MemoryMailbox::new(), Fuse::new());
    let counting = fuse.clone();
    let ann = Database::builder().wrap_storage(move |inner| {
        let storage: Box<dyn Storage> =
            Box::new(Failing { inner, fuse: counting, keeps_failed_commit: false });
        storage
    });
    let ann = ann.memory().unwrap();
    let here = shared(&ann, &[]);
    fill(&here, 0, 400);
    sync_with(&on(&ann, here.id(), &place), &MailboxOptions { batch_commits: 1, ..small() }).await;
    let stranger = Stranger(NodeKey::from_seed(&[7; 32]));
    for number in 1..=100 {
        stranger.puts(&place, here.id(), number, &[], &[(who(&place, &ann), 2 + number)]);
    }
    fuse.reads();
    sync(&on(&ann, here.id(), &place)).await;
    let read = fuse.reads();
    assert!(read < 20_000, "{read} rows were read for 400 own objects and 100 of a stranger");
}
