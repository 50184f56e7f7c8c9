//! Lies in pulls: pages that never end, hold nothing or are no pages; and strangers who pull.

use driftless::{Address, Cursor, Database, Error, Permission, Strength};
use driftless_core::id::SpaceId;
use driftless_core::limits::MAX_PAGE;
use driftless_core::session::Message;
use driftless_net::Listener;

use crate::peer::{Byzantine, Talk, Wire};
use crate::trio::{CANARY, Trio};

fn place(at: u64) -> Cursor {
    Cursor { store: [9; 16], at, digest: [at as u8; 8] }
}

// Answers every pull with what the script makes of its number, until it is cut off; how many it answered.
async fn feed(mallory: &Byzantine, listener: &mut dyn Listener, page: impl Fn(u64) -> Message) -> u64 {
    let mut talk = mallory.accept(listener).await;
    let mut answered = 0;
    while let Some(message) = talk.hear().await {
        match message {
            Message::Pull { request, .. } => {
                assert_eq!(request, answered);
                talk.say(page(request)).await;
                answered += 1;
            }
            Message::Open { slot, .. } => drop(talk.say(Message::Close { slot }).await),
            _ => {}
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_pulls_from_a_liar_ends_soon_and_goes_on_with_the_others() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let (whole, id) = (trio.ann.space().feed(None, MAX_PAGE).unwrap(), trio.id);
        let mallory = Byzantine::new(&wire, 66);
        let mut listener = mallory.listen("mallory").await;
        let address: Address = listener.address();
        let pulled = |frames: Vec<Vec<u8>>, more: bool| {
            move |request| Message::Pulled {
                request,
                frames: frames.clone(),
                cursor: place(request + 1),
                more,
            }
        };

        let nothing = feed(&mallory, listener.as_mut(), pulled(Vec::new(), true));
        let (done, answered) = tokio::join!(trio.bob.network.pull(&address, &id), nothing);
        assert!(matches!(done, Err(Error::Peer(_))) && answered == 1, "{name}: {done:?} {answered}");

        // What was whole once is remembered of the liar, and of nobody else.
        let again = feed(&mallory, listener.as_mut(), pulled(whole.frames.clone(), true));
        let (done, answered) = tokio::join!(trio.bob.network.pull(&address, &id), again);
        assert!(matches!(done, Err(Error::Peer(_))), "{name}: {done:?}");
        assert!(answered <= 7, "{name}: the same was taken {answered} times");

        let garbage = feed(&mallory, listener.as_mut(), pulled(vec![vec![0xff; 99]; 9], true));
        let (done, answered) = tokio::join!(trio.bob.network.pull(&address, &id), garbage);
        assert!(matches!(done, Err(Error::Peer(_) | Error::NotOpen(_))), "{name}: {done:?}");
        assert_eq!(answered, 1, "{name}");

        // The beginning of another space is no page of this one.
        let other = Database::memory().unwrap().create_space("team").unwrap().feed(None, MAX_PAGE).unwrap();
        let foreign = feed(&mallory, listener.as_mut(), pulled(other.frames, true));
        let (done, answered) = tokio::join!(trio.bob.network.pull(&address, &id), foreign);
        assert!(matches!(done, Err(Error::Peer(_) | Error::NotOpen(_))), "{name}: {done:?}");
        assert_eq!((answered, trio.bob.db.spaces().unwrap().len()), (1, 1), "{name}");

        let stale = feed(&mallory, listener.as_mut(), |request| Message::Stale { request, cursor: place(7) });
        let (done, answered) = tokio::join!(trio.bob.network.pull(&address, &id), stale);
        assert!(matches!(done, Err(Error::NotOpen(_))) && answered == 1, "{name}: {done:?} {answered}");

        let synced = trio.bob.network.pull(&trio.ann.address, &id).await.unwrap();
        assert!(synced.cursor.is_some(), "{name}");
        trio.holds(name).await;
        let space = trio.ann.space();
        trio.write(&space, 3);
        let synced = trio.bob.network.pull(&trio.ann.address, &id).await.unwrap();
        assert!(synced.moved.applied == 3 && !synced.reconciled, "{name}: {synced:?}");
    }
}

// What is said to a pull.
async fn pull(talk: &mut Talk, request: u64, space: SpaceId, cursor: Option<Cursor>) -> Option<Message> {
    talk.say(Message::Pull { request, space, cursor, budget: u64::MAX, wanted: Vec::new() }).await;
    talk.hear().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_pulls_learns_nothing_and_a_member_no_more_than_a_page() {
    for (name, wire) in Wire::each() {
        let mut trio = Trio::new(&wire).await;
        let mallory = Byzantine::new(&wire, 66);
        let good = trio.ann.space().feed(None, MAX_PAGE).unwrap().cursor;
        let mut talk = mallory.greet(&trio.ann.address).await;
        let greeting = talk.heard.len();
        let mut request = 0;
        for space in [trio.id, SpaceId([7; 32])] {
            for cursor in [None, Some(good), Some(place(1))] {
                let said = pull(&mut talk, request, space, cursor).await;
                assert_eq!(said, Some(Message::Withheld { request }), "{name}");
                request += 1;
            }
        }
        for heard in &talk.heard[greeting..] {
            for secret in [CANARY.as_bytes(), &trio.id.0, &good.store, b"team"] {
                assert!(!heard.windows(secret.len()).any(|part| part == secret), "{name}");
            }
        }
        // The right to read counts from the moment it is there, and until it is taken.
        trio.admit(mallory.author(), Permission::Write(Strength(20))).await;
        for (cursor, stale) in [(None, false), (Some(good), false), (Some(place(1)), true)] {
            let said = pull(&mut talk, request, trio.id, cursor).await;
            let is = matches!(said, Some(Message::Stale { .. }));
            assert!(
                is == stale && (stale || matches!(said, Some(Message::Pulled { .. }))),
                "{name}: {said:?}"
            );
            request += 1;
        }
        trio.ann.space().revoke(driftless::Subject::Key(mallory.author())).unwrap();
        let said = pull(&mut talk, request, trio.id, None).await;
        assert_eq!(said, Some(Message::Withheld { request }), "{name}");
        // A page that was not asked for ends the connection.
        talk.say(Message::Pulled { request: 0, frames: Vec::new(), cursor: good, more: false }).await;
        assert!(talk.is_cut_off().await, "{name}");
        trio.holds(name).await;
    }
}
