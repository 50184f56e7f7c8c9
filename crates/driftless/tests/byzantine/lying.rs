//! Lies about what a peer has: heads that never come, clocks without end, one commit or all bodies held back. What one
//! liar withholds comes from the next honest peer.

use driftless::{Permission, Strength};
use driftless_core::commit::{Header, Received, commit_id};
use driftless_core::frame::{self, FrameBuilder, FrameCommit};
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::limits::{MAX_SUMMARY_AUTHORS, MAX_SUMMARY_HEADS};
use driftless_core::session::{ClockEntry, Message, Summary};

use crate::peer::{Byzantine, Talk, Wire};
use crate::trio::{Honest, Trio};

// A summary that claims everything there is of everybody, and of very many others.
fn infinite(trio: &Trio) -> Summary {
    let mut clock: Vec<ClockEntry> = (0..MAX_SUMMARY_AUTHORS as u64 - 3)
        .map(|n| ClockEntry { author: n.to_be_bytes(), seq: u64::MAX, check: [1; 4] })
        .collect();
    for honest in [&trio.ann, &trio.bob, &trio.cem] {
        let author = honest.db.author().unwrap();
        clock.push(ClockEntry { author: author.0[..8].try_into().unwrap(), seq: u64::MAX, check: [2; 4] });
    }
    Summary { digest: [7; 8], heads: made_up(0), clock }
}

// Heads that nobody has, others for each `n`.
fn made_up(n: u8) -> Vec<CommitId> {
    (0..MAX_SUMMARY_HEADS as u8).map(|at| CommitId([at, n].repeat(16).try_into().unwrap())).collect()
}

// Answers everything in a slot with heads that nobody has, for as long as it is listened to.
async fn claim(talk: &mut Talk, slot: u64) -> u8 {
    let mut wishes = 0;
    while let Some(message) = talk.hear().await {
        match message {
            Message::Data { number, .. } => {
                talk.say(Message::Ack { slot, number, refused: Vec::new() }).await;
            }
            Message::Want { bodies, .. } => {
                assert!(!bodies);
                wishes += 1;
                talk.say(Message::End { slot, digest: [wishes; 8], heads: made_up(wishes) }).await;
            }
            _ => {}
        }
    }
    wishes
}

#[tokio::test(flavor = "multi_thread")]
async fn who_claims_everything_gets_three_questions_and_holds_nobody_up() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        trio.admit(mallory.author(), Permission::Write(Strength(20))).await;
        // Ann comes to the liar.
        let mut listener = mallory.listen("mallory").await;
        let address = listener.address();
        let summary = infinite(&trio);
        let lying = async {
            let (mut talk, slot, _) = mallory.answer(listener.as_mut()).await;
            talk.say(Message::Have { slot, summary: summary.clone() }).await;
            talk.say(Message::End { slot, digest: [0; 8], heads: made_up(0) }).await;
            claim(&mut talk, slot).await
        };
        let (synced, wishes) = tokio::join!(trio.ann.sync(&address, trio.id), lying);
        assert!(!synced.unwrap().settled, "{name}");
        assert_eq!(wishes, 3, "{name}");

        // The liar comes to Bob, and stays; meanwhile the honest go on.
        let mut talk = mallory.greet(&trio.bob.address).await;
        assert!(talk.open(0, trio.id, summary).await);
        assert!(matches!(talk.hear().await, Some(Message::Have { .. })), "{name}");
        talk.say(Message::End { slot: 0, digest: [0; 8], heads: made_up(0) }).await;
        let staying = tokio::spawn(async move { claim(&mut talk, 0).await });
        trio.holds(name).await;
        staying.abort();
    }
}

// Everything of the space that Ann gives to a member, in her order.
async fn stolen(mallory: &Byzantine, from: &Honest, space: SpaceId) -> (Vec<Received>, Vec<CommitId>) {
    let mut talk = mallory.open(&from.address, space).await;
    let mut commits = Vec::new();
    loop {
        match talk.hear().await.unwrap() {
            Message::Data { slot, number, frame } => {
                commits.extend(frame::decode(&space, &frame).unwrap());
                talk.say(Message::Ack { slot, number, refused: Vec::new() }).await;
            }
            Message::End { heads, .. } => return (commits, heads),
            _ => {}
        }
    }
}

fn pack(space: SpaceId, commits: &[Received]) -> Vec<u8> {
    let mut builder = FrameBuilder::new(space);
    for commit in commits {
        let header = Header::decode(&commit.header).unwrap();
        let (id, body) = (commit_id(&commit.header), commit.body.as_deref());
        builder.push(FrameCommit { header: &header, id, signature: commit.signature, body }).unwrap();
    }
    builder.finish_keeping_signatures()
}

// Serves one honest peer these commits, says that they are all, and has no more of them.
async fn serve(
    mallory: &Byzantine,
    to: &Honest,
    space: SpaceId,
    commits: &[Received],
    heads: &[CommitId],
) -> bool {
    let mut listener = mallory.listen("mallory").await;
    let address = listener.address();
    let lying = async {
        let (mut talk, slot, _) = mallory.answer(listener.as_mut()).await;
        let frame = pack(space, commits);
        let summary = Summary { digest: [7; 8], ..Summary::default() };
        talk.say(Message::Have { slot, summary }).await;
        talk.push_in(slot, frame.clone()).await;
        let end = || Message::End { slot, digest: [7; 8], heads: heads.to_vec() };
        talk.say(end()).await;
        while let Some(message) = talk.hear().await {
            match message {
                Message::Data { number, .. } => {
                    talk.say(Message::Ack { slot, number, refused: Vec::new() }).await;
                }
                Message::Want { .. } => {
                    talk.push_in(slot, frame.clone()).await;
                    talk.say(end()).await;
                }
                _ => {}
            }
        }
    };
    let (synced, ()) = tokio::join!(to.sync(&address, space), lying);
    synced.unwrap().settled
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_held_back_in_the_middle_comes_from_the_next_honest_peer() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        trio.admit(mallory.author(), Permission::Read).await;
        let before = trio.bob.commits();
        let space = trio.ann.space();
        trio.write(&space, 30);
        let (mut commits, heads) = stolen(&mallory, &trio.ann, trio.id).await;
        commits.remove(commits.len() - 15);
        assert!(!serve(&mallory, &trio.bob, trio.id, &commits, &heads).await, "{name}: settled with a gap");
        assert!(trio.bob.commits() < before + 16, "{name}");
        // From Cem, who has it from Ann; and then from nobody again.
        trio.cem.sync(&trio.ann.address, trio.id).await.unwrap();
        assert!(trio.bob.sync(&trio.cem.address, trio.id).await.unwrap().settled, "{name}");
        assert_eq!(trio.bob.commits(), before + 30, "{name}");
        trio.holds(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_held_back_come_from_the_next_honest_peer() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        trio.admit(mallory.author(), Permission::Read).await;
        let space = trio.ann.space();
        trio.write(&space, 30);
        let (mut commits, heads) = stolen(&mallory, &trio.ann, trio.id).await;
        let last = commits.len() - 30;
        commits[last..].iter_mut().for_each(|commit| commit.body = None);
        assert!(serve(&mallory, &trio.bob, trio.id, &commits, &heads).await, "{name}");
        assert_eq!(trio.bob.db.status().unwrap().spaces[0].counts.wanted, 30, "{name}");
        assert!(trio.bob.sync(&trio.ann.address, trio.id).await.unwrap().settled, "{name}");
        assert_eq!(trio.bob.db.status().unwrap().spaces[0].counts.wanted, 0, "{name}");
        trio.holds(name).await;
    }
}
