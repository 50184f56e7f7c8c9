//! What nobody signed, what was signed for something else, and what comes again: commits, frames, whole sessions.

use driftless::{Database, Permission, Strength};
use driftless_core::commit::Header;
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::limits::MAX_PAGE;
use driftless_core::reconcile::Summary;
use driftless_core::session::{Message, numbered};
use driftless_core::sign::{AuthorKey, Signature};
use driftless_net::NetError;

use crate::peer::{Byzantine, Wire};
use crate::pen::{chain, changed, forged, frame, header, in_the_name_of_another, now, sign};
use crate::trio::{CANARY, Trio};

fn pen() -> Permission {
    Permission::Write(Strength(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_forges_is_heard_a_while_and_then_cut_off() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let grant = trio.admit(mallory.author(), pen()).await;
        let before = trio.ann.space().digest().unwrap();
        let mine = sign(header(mallory.author(), trio.id, &[grant], now()), 1, &mallory.key);
        let bytes = frame(trio.id, [&mine]);
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        // Every byte of a good frame flipped, and signatures that are none, until it is enough.
        let mutants = (0..bytes.len()).map(|at| {
            let mut mutant = bytes.clone();
            mutant[at] ^= 1 << (at % 8);
            mutant
        });
        let mut taken = 0;
        for mutant in mutants.chain((0..).map(|n| forged(trio.id, &mine, n))) {
            match talk.offer(mutant).await {
                Some(verdicts) => taken += usize::from(!verdicts.is_empty()),
                None => break,
            }
            assert!(taken < 1000, "{name}: nobody has had enough");
        }
        assert!(taken > 0, "{name}");
        // What a flipped bit may still be is the same commit without its body, or a body with other salt: nothing else.
        let after = trio.ann.space().digest().unwrap();
        assert!(after.commits <= before.commits + 1, "{name}");
        assert_eq!(after.documents, before.documents, "{name}");
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_the_beginnings_of_other_spaces_makes_none_here() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        trio.admit(mallory.author(), Permission::Read).await;
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        let own = Database::memory().unwrap();
        for _ in 0..5 {
            let foreign = own.create_space("team").unwrap();
            for frame in foreign.feed(None, MAX_PAGE).unwrap().frames {
                let verdicts = talk.offer(frame).await.unwrap();
                assert_eq!(verdicts.len(), 1, "{name}");
                assert_eq!(verdicts[0].code, "unreadable", "{name}");
            }
        }
        assert_eq!(trio.ann.db.spaces().unwrap().len(), 1, "{name}");
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_hears_nothing_of_a_space_whatever_it_says() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let eve = Byzantine::new(&wire, 67);
        let honest = trio.bob.db.author().unwrap();
        let mut talk = eve.greet(&trio.ann.address).await;
        let good = sign(header(eve.author(), trio.id, &[CommitId(trio.id.0)], now()), 1, &eve.key);
        let as_honest =
            in_the_name_of_another(header(honest, trio.id, &[CommitId(trio.id.0)], now()), &eve.key);
        // Each message of the protocol, for a slot that the space was asked for in, and for one that nobody opened.
        for slot in [0, 2, 4, 1, 3] {
            if slot % 2 == 0 {
                let space = if slot == 2 { SpaceId([1; 32]) } else { trio.id };
                talk.open(slot, space, Summary::default()).await;
                assert_eq!(talk.hear().await, Some(Message::Close { slot }), "{name}");
            }
            let ids = vec![good.id(), CommitId(trio.id.0)];
            for message in [
                Message::Have { slot, summary: Summary::default() },
                Message::Data { slot, number: 1, frame: frame(trio.id, [&good]), digest: [7; 8] },
                Message::Data { slot, number: 2, frame: as_honest.clone(), digest: [7; 8] },
                Message::Ack { slot, number: 1, refused: Vec::new(), digest: [7; 8] },
                Message::End { slot, digest: [1; 8], heads: ids.clone() },
                Message::Want { slot, ids: ids.clone(), again: Some(Summary::default()) },
                Message::Want { slot, ids, again: None },
                Message::Decline { slot, reason: "busy".into(), retry_after_ms: 1 },
                Message::Close { slot },
            ] {
                assert!(talk.say(message).await, "{name}");
            }
        }
        // The last word is answered, so all before it was heard.
        talk.open(6, trio.id, Summary::default()).await;
        assert_eq!(talk.hear().await, Some(Message::Close { slot: 6 }), "{name}");
        for bytes in &talk.heard {
            for secret in [CANARY.as_bytes(), &honest.0, &trio.id.0, b"team"] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{name}: {bytes:?}");
            }
        }
        assert!(trio.ann.db.status().unwrap().refused.is_empty(), "{name}: a stranger fills no table");
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_played_again_proves_nothing_and_changes_nothing() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let grant = trio.admit(mallory.author(), pen()).await;
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        let commits = chain(&mallory.key, trio.id, &[grant], 5, 100);
        assert_eq!(talk.offer(frame(trio.id, &commits)).await, Some(Vec::new()), "{name}");
        let before = trio.ann.space().digest().unwrap();
        let recorded = std::mem::take(&mut talk.said);

        // The same bytes on a new connection: the proof was for other nonces.
        let mut again = mallory.dial(&trio.ann.address).await;
        for bytes in recorded {
            let _ = again.say_bytes(bytes).await;
        }
        assert!(again.is_cut_off().await, "{name}");
        assert!(again.heard.len() <= 2, "{name}: {:?}", again.heard);

        // The same frame a thousand times on the old one: nothing changes, and somewhere it is enough.
        let mut times = 0;
        while talk.offer(frame(trio.id, &commits)).await.is_some() {
            times += 1;
            assert!(times < 1000, "{name}: nobody has had enough");
        }
        // A large frame of what is here already, once, is no offence.
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        assert_eq!(talk.offer(frame(trio.id, &commits)).await, Some(Vec::new()), "{name}");
        assert_eq!(trio.ann.space().digest().unwrap(), before, "{name}");
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_without_parents_fill_no_table_and_the_real_parent_lets_its_children_in() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let grant = trio.admit(mallory.author(), pen()).await;
        let before = trio.ann.commits();
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        for batch in 0..40_u64 {
            let orphans: Vec<_> = (0..100_u64)
                .map(|n| {
                    let mut parent = [9; 32];
                    parent[..8].copy_from_slice(&(batch * 100 + n).to_be_bytes());
                    sign(header(mallory.author(), trio.id, &[CommitId(parent)], now()), 1, &mallory.key)
                })
                .collect();
            let verdicts = talk.offer(frame(trio.id, &orphans)).await.unwrap();
            assert!(verdicts.iter().all(|verdict| verdict.code == "missing_parent"), "{name}");
        }
        assert!(trio.ann.db.status().unwrap().refused.len() <= 1000, "{name}");
        assert_eq!(trio.ann.commits(), before, "{name}");
        // A chain without its first commit, and then with it.
        let commits = chain(&mallory.key, trio.id, &[grant], 20, 100);
        assert_eq!(talk.offer(frame(trio.id, &commits[1..])).await.unwrap().len(), 19, "{name}");
        assert_eq!(talk.offer(frame(trio.id, &commits)).await, Some(Vec::new()), "{name}");
        assert_eq!(trio.ann.commits(), before + 20, "{name}");
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_another_space_and_a_missing_right_let_nothing_in() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let grant = trio.admit(mallory.author(), Permission::Read).await;
        let before = trio.ann.commits();
        let (bob, stranger) = (trio.bob.db.author().unwrap(), AuthorKey::from_seed(&[68; 32]));
        let mut talk = mallory.open(&trio.ann.address, trio.id).await;
        let reader = sign(header(mallory.author(), trio.id, &[grant], now()), 1, &mallory.key);
        let outsider = sign(header(stranger.id(), trio.id, &[grant], now()), 1, &stranger);
        let named = in_the_name_of_another(header(bob, trio.id, &[grant], now()), &mallory.key);
        let foreign = SpaceId([9; 32]);
        let elsewhere = sign(header(mallory.author(), foreign, &[grant], now()), 1, &mallory.key);
        let last =
            Header { seq: u64::MAX, previous: Some(grant), ..header(mallory.author(), trio.id, &[], now()) };
        let last = sign(last, 1, &mallory.key);
        for (bytes, code) in [
            (frame(trio.id, [&reader]), "not_permitted"),
            (frame(trio.id, [&outsider]), "not_permitted"),
            (named, "bad_signature"),
            (frame(foreign, [&elsewhere]), "bad_signature"),
            (frame(trio.id, [&last]), "bad_chain"),
            (changed(trio.id, &reader, |received| received.signature = None), "unsigned"),
            (
                changed(trio.id, &reader, |received| received.signature = Some(Signature([0; 64]))),
                "bad_signature",
            ),
            (vec![1, 2, 3], "unreadable"),
            (Vec::new(), "unreadable"),
        ] {
            let verdicts = talk.offer(bytes).await.unwrap();
            let codes: Vec<_> = verdicts.iter().map(|verdict| verdict.code.as_str()).collect();
            assert_eq!(codes, [code], "{name}");
        }
        assert_eq!(trio.ann.commits(), before, "{name}");
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_above_the_limit_ends_its_connection_and_tiny_ones_are_passed_over() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        // Before its proof a stranger may say 4 KiB at once.
        let mut stranger = mallory.dial(&trio.ann.address).await;
        let _ = stranger.say_bytes(vec![0; 4097]).await;
        assert!(stranger.is_cut_off().await, "{name}");
        let mut talk = mallory.greet(&trio.ann.address).await;
        let too_large = talk.say_bytes(vec![0; driftless_net::MAX_FRAME + 1]).await;
        assert!(matches!(too_large, Err(NetError::TooLarge { .. })), "{name}");
        for n in 0..20_000 {
            assert!(talk.say(Message::Close { slot: n }).await, "{name}");
        }
        talk.open(0, trio.id, Summary::default()).await;
        assert_eq!(talk.hear().await, Some(Message::Close { slot: 0 }), "{name}");
        // A whole message of zeros is no message.
        let mut zeros = numbered(talk.spoken, &Message::Close { slot: 0 });
        zeros.truncate(3);
        zeros.resize(driftless_net::MAX_FRAME, 0);
        let _ = talk.say_bytes(zeros).await;
        assert!(talk.is_cut_off().await, "{name}");
        trio.holds(name).await;
    }
}
