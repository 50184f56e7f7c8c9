//! A server that lost its end, whose clock went back, and which writes a thousand commits in one millisecond: whoever
//! pulls from it misses nothing, and nothing goes round in circles.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use driftless::{Permission, Space};

use crate::world::{START, World, all_same, builder, insert, seen};

const HOUR: u64 = 60 * 60 * 1000;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_and_nothing_goes_round_over_memory() {
    a_restored_server(&World::memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_and_nothing_goes_round_over_http() {
    a_restored_server(&World::http()).await;
}

fn fill(space: &Space, kind: &str, count: usize) {
    let notes = space.collection("notes").unwrap();
    for n in 0..count {
        insert(&notes, &format!("{kind}{n}"), &format!(r#"{{"n": {n}}}"#)).unwrap();
    }
}

async fn a_restored_server(world: &World) {
    let (first, second) = (world.path("first"), world.path("second"));
    let reader = world.device(2).await;
    let db = builder(1, &Arc::new(AtomicU64::new(START))).open(&first).unwrap();
    let home = db.create_space("team").unwrap();
    let space = home.id();
    home.grant(reader.key(), Permission::Read).unwrap();
    fill(&home, "a", 100);
    drop((home, db));
    std::fs::create_dir(&second).unwrap();
    std::fs::copy(first.join("driftless.sqlite"), second.join("driftless.sqlite")).unwrap();
    let server = world.device_at(3, &first, START + 1000).await;
    fill(&server.space(space), "b", 50);
    let pulled = reader.pull(&server, space).await;
    assert_eq!((pulled.moved.received, pulled.reconciled), (152, false));
    let old = pulled.cursor.unwrap();
    server.network.close();
    drop(server);

    // The backup takes its place, and its clock is two hours behind. The cursor is of a log that it does not have.
    let server = world.device_at(5, &second, START - 2 * HOUR).await;
    let (mut pulls, mut rounds) = (0, 0);
    loop {
        let pulled = reader.pull(&server, space).await;
        pulls += 1;
        rounds += pulled.moved.rounds;
        assert!(pulls <= 3 && rounds <= 6, "{pulls} pulls, {rounds} rounds: {pulled:?}");
        if pulls == 1 {
            // Both sides said what they have, once; what the server had lost went back to it.
            assert!(pulled.reconciled && pulled.moved.sent == 50 && pulled.moved.received == 0, "{pulled:?}");
            let now = pulled.cursor.unwrap();
            assert!(now.store != old.store || now.digest != old.digest || now.at >= old.at);
        }
        if !pulled.reconciled && pulled.moved.received == 0 {
            break;
        }
    }
    // The second brings back what the first gave, since it came after the new cursor; the third brings nothing.
    assert_eq!(pulls, 3);

    // A thousand in one millisecond, by a clock that stands before everything that is there.
    fill(&server.space(space), "c", 1000);
    let log =
        server.space(space).log(driftless::LogQuery { limit: Some(1000), ..Default::default() }).unwrap();
    let times: std::collections::BTreeSet<_> = log.iter().map(|line| line.time).collect();
    assert_eq!(times.len(), 1000);
    assert!(times.iter().all(|time| time.ms() <= START + 1001), "the clock went on with nobody's help");
    let pulled = reader.pull(&server, space).await;
    assert_eq!((pulled.moved.received, pulled.moved.applied, pulled.reconciled), (1000, 1000, false));
    assert!(pulled.moved.rounds <= 20, "{pulled:?}");
    for _ in 0..3 {
        let pulled = reader.pull(&server, space).await;
        assert_eq!((pulled.moved.received, pulled.moved.sent, pulled.reconciled), (0, 0, false));
        assert!(pulled.moved.rounds <= 1, "{pulled:?}");
    }
    // What it had lost is ahead of its clock for now; set right, it has everything.
    assert_eq!(server.db.status().unwrap().spaces[0].counts.held, 50);
    server.set_clock(2000);
    server.db.release_due().unwrap();
    // Who comes new, and who comes by a session, gets the same.
    let stranger = world.device(4).await;
    server.space(space).grant(stranger.key(), Permission::Read).unwrap();
    assert_eq!(stranger.meet(&server, space).await.moved.received, 1153);
    assert_eq!(reader.meet(&server, space).await.moved.received, 1);
    assert_eq!(seen(&reader.notes(space)).len(), 1150);
    all_same(&[&server, &reader, &stranger], space);
}
