//! A member who is removed while connections are open: whatever he says on them, he is told that it is over and is served
//! nothing that was written since.

use std::time::{Duration, Instant};

use driftless::{Insert, Map, Permission, Space, Strength, Subject};
use driftless_core::reconcile::Summary;
use driftless_core::session::Message;

use crate::peer::{Byzantine, Talk, Wire};
use crate::trio::Trio;

const BEFORE: &str = "written-before-he-was-removed";
const AFTER: &str = "written-after-he-was-removed";

fn write(space: &Space, id: i64, text: &str) {
    let fields = Map::from_json(&format!(r#"{{"text": "{text}"}}"#)).unwrap();
    let insert = Insert { id: Some(id.into()), parent: None };
    space.collection("others").unwrap().insert_with(fields, insert).unwrap();
}

fn heard(talk: &Talk, text: &str) -> bool {
    talk.heard.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

// Takes what comes until a text was in it.
async fn follow(talk: &mut Talk, text: &str) {
    while !heard(talk, text) {
        if let Some(Message::Data { slot, number, .. }) = talk.hear().await {
            talk.say(Message::Ack { slot, number, refused: Vec::new(), digest: [7; 8] }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_removed_is_served_nothing_from_then_on_whatever_is_open() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let (id, mallory) = (trio.id, Byzantine::new(&wire, 66));
        trio.admit(mallory.author(), Permission::Write(Strength(20))).await;
        let address = &trio.ann.address;
        let mut live = mallory.open(address, id).await;
        let mut silent = mallory.open(address, id).await;
        let mut pulling = mallory.greet(address).await;
        let space = trio.ann.space();
        write(&space, 1, BEFORE);
        follow(&mut live, BEFORE).await;
        pulling
            .say(Message::Pull { request: 0, space: id, cursor: None, budget: u64::MAX, wanted: Vec::new() })
            .await;
        let Some(Message::Pulled { cursor, .. }) = pulling.hear().await else { panic!("{name}") };

        space.revoke(Subject::Key(mallory.author())).unwrap();
        let removed = Instant::now();
        write(&space, 2, AFTER);
        let closed = live.until(|message| matches!(message, Message::Close { slot: 0 })).await;
        let took = removed.elapsed();
        assert!(closed.is_some() && took < Duration::from_secs(1), "{name}: {took:?}");
        // Who reads nothing and acknowledges nothing gets what was on its way before, and the same end.
        let closed = silent.until(|message| matches!(message, Message::Close { slot: 0 })).await;
        assert!(closed.is_some(), "{name}");
        // From where he was, and from the beginning.
        for (request, cursor) in [(1, Some(cursor)), (2, None)] {
            pulling
                .say(Message::Pull { request, space: id, cursor, budget: u64::MAX, wanted: Vec::new() })
                .await;
            assert_eq!(pulling.hear().await, Some(Message::Withheld { request }), "{name}");
        }
        // He asks again for everything on what is still a connection.
        live.say(Message::Want { slot: 0, ids: Vec::new(), again: Some(Summary::default()) }).await;
        live.open(2, id, Summary::default()).await;
        assert_eq!(live.hear().await, Some(Message::Close { slot: 2 }), "{name}");
        write(&space, 3, AFTER);
        live.open(4, id, Summary::default()).await;
        assert_eq!(live.hear().await, Some(Message::Close { slot: 4 }), "{name}");
        for talk in [&live, &silent, &pulling] {
            assert!(!heard(talk, AFTER), "{name}");
        }
        assert!(heard(&live, BEFORE));
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_space_is_served_to_whoever_proves_no_removed_key() {
    let (wire, [removed, other]) = (Wire::each()[0].1.clone(), [66, 67]);
    let trio = Trio::new(&wire).await;
    let space = trio.ann.space();
    let (removed, other) = (Byzantine::new(&wire, removed), Byzantine::new(&wire, other));
    space.grant(Subject::Key(removed.author()), Permission::Read).unwrap();
    space.grant(Subject::Anyone, Permission::Read).unwrap();
    space.revoke(Subject::Key(removed.author())).unwrap();
    // A statement about a key beats one about anyone.
    let mut talk = removed.greet(&trio.ann.address).await;
    talk.open(0, trio.id, Summary::default()).await;
    assert_eq!(talk.hear().await, Some(Message::Close { slot: 0 }));
    other.open(&trio.ann.address, trio.id).await;
}
