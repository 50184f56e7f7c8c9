//! Peers that take without reading, read without acknowledging, or send without reading. What waits for them is bounded,
//! and nobody else waits.

use driftless::{Permission, Strength};
use driftless_core::limits::{FRAME_TARGET, MAX_FRAME, SEND_WINDOW};
use driftless_core::session::{Message, Summary};

use crate::peer::{Byzantine, Wire};
use crate::trio::Trio;

// Two windows of documents that do not compress.
fn much(trio: &Trio) {
    let items = trio.ann.space().collection("large").unwrap();
    let mut state = 1_u64;
    for n in 0..40 {
        let bytes: String = std::iter::from_fn(|| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            Some(char::from(b'a' + ((state >> 56) % 26) as u8))
        })
        .take(2 * SEND_WINDOW / 40)
        .collect();
        let fields = driftless::Map::from_json(&format!(r#"{{"n": {n}, "bytes": "{bytes}"}}"#)).unwrap();
        items.insert(fields).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_acknowledges_gets_one_window() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        trio.admit(mallory.author(), Permission::Read).await;
        much(&trio);
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        let mut heard = 0;
        // Nothing comes any more when the window is full: so ask for something else, and see that it is answered.
        loop {
            match talk.hear().await.unwrap() {
                Message::Data { frame, .. } => heard += frame.len(),
                other => panic!("{name}: {other:?}"),
            }
            if heard >= SEND_WINDOW {
                break;
            }
        }
        talk.open(2, driftless_core::id::SpaceId([1; 32]), Summary::default()).await;
        while let Some(message) = talk.hear().await {
            match message {
                Message::Data { frame, .. } => heard += frame.len(),
                other => {
                    assert_eq!(other, Message::Close { slot: 2 }, "{name}");
                    break;
                }
            }
        }
        assert!(heard <= SEND_WINDOW + FRAME_TARGET + MAX_FRAME / 4, "{name}: {heard}");
        trio.holds(name).await;
        drop(talk);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_reads_nothing_holds_nobody_up() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        much(&trio);
        let mut deaf = Vec::new();
        for seed in 100..110 {
            let mallory = Byzantine::new(&wire, seed);
            trio.ann
                .space()
                .grant(driftless::Subject::Key(mallory.author()), Permission::Write(Strength(20)))
                .unwrap();
            let mut talk = mallory.greet(&trio.ann.address).await;
            talk.open(0, trio.id, Summary::default()).await;
            talk.say(Message::End { slot: 0, digest: [0; 8], heads: Vec::new() }).await;
            deaf.push(talk);
        }
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_and_reads_nothing_is_cut_off() {
    let [(_, wire), _] = Wire::each();
    let mut trio = Trio::new(&wire).await;
    let mallory = Byzantine::new(&wire, 66);
    let mut talk = mallory.greet(&trio.ann.address).await;
    // Each opening is answered; the answers fill what lies between, and then Ann's memory, up to a limit.
    let mut said = 0_u64;
    while talk.open(2 * said, driftless_core::id::SpaceId([1; 32]), Summary::default()).await {
        said += 1;
        assert!(said < 100_000, "nobody has had enough");
    }
    trio.holds("deaf").await;
}
