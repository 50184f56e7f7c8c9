//! Sessions that never end by themselves: wishes, openings, orphans without end. Each is bounded, and then cut off.

use driftless::{Permission, Strength};
use driftless_core::id::CommitId;
use driftless_core::limits::{MAX_REOPENS, MAX_ROUNDS, MAX_WANTED};
use driftless_core::reconcile::Summary;
use driftless_core::session::{Message, take_number};

use crate::peer::{Byzantine, Talk, Wire};
use crate::pen::{chain, frame, header, now, sign};
use crate::trio::Trio;

fn pen() -> Permission {
    Permission::Write(Strength(20))
}

// Hears everything up to the end of an exchange, and says that it has it.
async fn take_all(talk: &mut Talk) -> Option<usize> {
    let mut frames = 0;
    loop {
        match talk.hear().await? {
            Message::Data { slot, number, .. } => {
                frames += 1;
                talk.say(Message::Ack { slot, number, refused: Vec::new(), digest: [7; 8] }).await;
            }
            Message::End { .. } => return Some(frames),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_for_heads_are_granted_three_times() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        trio.admit(mallory.author(), Permission::Read).await;
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        take_all(&mut talk).await.unwrap();
        let mut rounds = 0;
        loop {
            talk.say(Message::Want {
                slot: 0,
                ids: vec![CommitId([1; 32])],
                again: Some(Summary::default()),
            })
            .await;
            if take_all(&mut talk).await.is_none() {
                break;
            }
            rounds += 1;
        }
        assert_eq!(rounds, MAX_ROUNDS, "{name}");
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_for_bodies_that_bring_nothing_come_to_an_end() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        trio.admit(mallory.author(), Permission::Read).await;
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        take_all(&mut talk).await.unwrap();
        // As long as a wish may be: the next one may be for something that is here.
        for n in 0..20 {
            let ids = (0..MAX_WANTED).map(|at| CommitId([at as u8 ^ n; 32])).collect();
            talk.say(Message::Want { slot: 0, ids, again: None }).await;
            assert_eq!(take_all(&mut talk).await, Some(0), "{name}");
        }
        // The same body again and again is given as often as there are commits, and then not any more.
        let (mut given, mut rounds) = (0, 0);
        loop {
            talk.say(Message::Want { slot: 0, ids: vec![CommitId(trio.id.0)], again: None }).await;
            let Some(frames) = take_all(&mut talk).await else { break };
            given += frames;
            rounds += 1;
            assert!(rounds < 1000, "{name}: nobody has had enough");
        }
        assert!(given as u64 <= trio.ann.commits() + 1, "{name}: {given}");
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_and_closing_comes_to_an_end() {
    let [(_, wire), _] = Wire::each();
    let mut trio = Trio::new(&wire).await;
    let mallory = Byzantine::new(&wire, 66);
    trio.admit(mallory.author(), Permission::Read).await;
    let mut talk = mallory.greet(&trio.ann.address).await;
    let mut opened = 0;
    for slot in (0..).step_by(2) {
        let have = |message: &Message| matches!(message, Message::Have { slot: of, .. } if *of == slot);
        if !talk.open(slot, trio.id, Summary::default()).await || talk.until(have).await.is_none() {
            break;
        }
        opened += 1;
        talk.say(Message::Close { slot }).await;
    }
    assert_eq!(opened, MAX_REOPENS);
    trio.holds("openings").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_after_the_end_are_asked_for_three_times_and_their_parents_let_them_in() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let grant = trio.admit(mallory.author(), pen()).await;
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        talk.say(Message::End { slot: 0, digest: [0; 8], heads: Vec::new() }).await;
        take_all(&mut talk).await.unwrap();
        let before = trio.ann.commits();
        // Commits that stand on others, live: Ann asks for them in the same connection, and takes them all.
        let commits = chain(&mallory.key, trio.id, &[grant], 20, 100);
        assert!(talk.push(frame(trio.id, &commits[10..])).await);
        let asked = talk.until(|message| matches!(message, Message::Want { .. })).await.unwrap();
        assert!(
            matches!(asked, Message::Want { ids, again: Some(_), .. } if ids.contains(&commits[9].id())),
            "{name}"
        );
        assert_eq!(talk.offer(frame(trio.id, &commits)).await, Some(Vec::new()), "{name}");
        assert_eq!(trio.ann.commits(), before + 20, "{name}");
        talk.say(Message::End { slot: 0, digest: [1; 8], heads: Vec::new() }).await;
        // Orphans without parents for ever: each is asked about a few times, and no more.
        let mut frames = 2;
        for n in 0..50_u8 {
            let orphan = header(mallory.author(), trio.id, &[CommitId([n; 32])], now());
            let orphan = sign(orphan, 1, &mallory.key);
            if !talk.push(frame(trio.id, [&orphan])).await {
                break;
            }
            frames += 1;
            // What is asked for is said to be all there.
            loop {
                match talk.hear().await.unwrap() {
                    Message::Want { .. } => {
                        talk.say(Message::End { slot: 0, digest: [n; 8], heads: Vec::new() }).await;
                    }
                    Message::Ack { .. } => break,
                    _ => {}
                }
            }
        }
        let wishes = talk.heard.iter().filter(|bytes| {
            matches!(Message::decode(take_number(bytes).unwrap().1), Ok(Message::Want { .. }))
        });
        assert!(wishes.count() <= frames * MAX_ROUNDS as usize, "{name}");
        trio.holds(name).await;
    }
}
