//! Discovery: exactly what the proven keys may read.

use std::collections::BTreeSet;

use driftless::{Invite, Permission, SpaceId, Subject};
use driftless_core::session::Message;

use crate::raw::Raw;
use crate::{Scene, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_tells_of_the_spaces_that_the_key_may_read_and_of_nothing_else() {
    let scene = Scene::new().await;
    let (bob, at_bob) = scene.guest();
    let bobs = Subject::Key(bob.author().unwrap());
    assert_eq!(at_bob.discover(&scene.at).await.unwrap(), []);

    let (mine, open) = (scene.ann.create_space("diary").unwrap(), scene.ann.create_space("news").unwrap());
    open.grant(Subject::Anyone, Permission::Read).unwrap();
    scene.space.grant(bobs, write(10)).unwrap();
    // How Ann calls it is hers; what its rules call it is for its members.
    scene.space.rename("those people").unwrap();
    let found = at_bob.discover(&scene.at).await.unwrap();
    let found: BTreeSet<(SpaceId, &str)> =
        found.iter().map(|found| (found.space, found.name.as_str())).collect();
    assert_eq!(found, [(scene.space.id(), "team"), (open.id(), "news")].into());
    assert!(bob.spaces().unwrap().is_empty(), "to look is not to join");

    // What is taken away is not told of any more; what was one's own elsewhere does not count here.
    scene.space.revoke(bobs).unwrap();
    open.revoke(Subject::Anyone).unwrap();
    assert_eq!(at_bob.discover(&scene.at).await.unwrap(), []);
    mine.grant(bobs, Permission::Read).unwrap();
    assert_eq!(at_bob.discover(&scene.at).await.unwrap().len(), 1);
    mine.forget().unwrap();
    assert_eq!(at_bob.discover(&scene.at).await.unwrap(), []);
    // Also what comes later, by a ticket that somebody redeems.
    let later = scene.ann.create_space("later").unwrap();
    let addresses = vec![scene.at.to_string()];
    let invite = Invite { permission: Permission::Read, uses: None, expires: None, addresses };
    at_bob.join(&later.invite(invite).unwrap()).await.unwrap();
    assert_eq!(at_bob.discover(&scene.at).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_proven_no_key_hears_of_nothing() {
    let scene = Scene::new().await;
    scene.space.grant(Subject::Anyone, Permission::Read).unwrap();
    let mut raw = Raw::hello(&scene.net, driftless::PeerId([66; 32]), &scene.at, [5; 16]).await;
    assert!(raw.prove(Vec::new()).await);
    raw.say(Message::Discover { number: 0, after: None }).await;
    assert_eq!(raw.hear().await, Some(Message::Found { number: 0, spaces: Vec::new(), more: false }));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_spaces_come_in_pages_and_each_page_is_decided_anew() {
    let scene = Scene::new().await;
    let (bob, at_bob) = scene.guest();
    let bobs = Subject::Key(bob.author().unwrap());
    let mut ids = BTreeSet::new();
    for n in 0..300 {
        let space = scene.ann.create_space(&format!("space {n}")).unwrap();
        // Every second one is not for Bob: pages are as long as if they were not there.
        if n % 2 == 0 || n > 20 {
            space.grant(bobs, Permission::Read).unwrap();
            ids.insert(space.id());
        }
    }
    let found = at_bob.discover(&scene.at).await.unwrap();
    assert_eq!(found.iter().map(|found| found.space).collect::<BTreeSet<_>>(), ids);

    let key = driftless_core::sign::AuthorKey::from_seed(&[3; 32]);
    for id in &ids {
        let space = scene.ann.space(&id.to_string()).unwrap();
        space.grant(Subject::Key(key.id()), Permission::Read).unwrap();
    }
    let mut raw = Raw::greet(&scene.net, driftless::PeerId([66; 32]), &scene.at, &key).await;
    raw.say(Message::Discover { number: 0, after: None }).await;
    let Some(Message::Found { spaces, more: true, .. }) = raw.hear().await else { panic!("one page only") };
    assert_eq!(spaces.len(), 256);
    let (after, last) = (spaces.last().map(|found| found.space), ids.last().copied().unwrap());
    scene.ann.space(&last.to_string()).unwrap().revoke(Subject::Key(key.id())).unwrap();
    raw.say(Message::Discover { number: 1, after }).await;
    let Some(Message::Found { spaces, more: false, .. }) = raw.hear().await else { panic!("no end") };
    assert_eq!(spaces.len(), ids.len() - 256 - 1);
    assert!(spaces.iter().all(|found| found.space != last));
}
