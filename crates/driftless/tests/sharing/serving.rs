//! What a program itself says of who is served: it may open what the rules close, and close what they open.

use std::sync::atomic::AtomicBool;

use driftless::{Filter, Invite, Reader};

use super::*;

fn documents(db: &Database, space: &Space) -> Option<u64> {
    Some(db.space(&space.id().to_string()).ok()?.digest().unwrap().documents)
}

fn fill(space: &Space, count: usize) {
    for _ in 0..count {
        space.collection("notes").unwrap().insert(Map::new()).unwrap();
    }
}

fn flag(is: bool) -> (Arc<AtomicBool>, impl Fn(&Reader) -> bool + Send + Sync + 'static) {
    let flag = Arc::new(AtomicBool::new(is));
    let looked_at = flag.clone();
    (flag, move |_| looked_at.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_opens_a_space_to_be_read_and_nothing_more() {
    let mut world = World::new();
    let (ann, eve) = (world.database("ann"), world.database("eve"));
    let space = ann.create_space("notes").unwrap();
    fill(&space, 3);
    assert_eq!(code(world.sync(&eve, &ann, &space).await), "not_open");
    let (asked, heard) = std::sync::mpsc::channel();
    let reads = eve.peer().unwrap();
    let opens = move |reader: &Reader| {
        asked.send(reader.clone()).unwrap();
        reader.peer == reads
    };
    ann.share_resolver(opens).unwrap();
    // It has all of it, and checks all of it; what she writes is refused here as there.
    assert!(world.sync(&eve, &ann, &space).await.unwrap().settled);
    let reader = heard.recv().unwrap();
    assert_eq!((reader.space, reader.keys), (space.id(), vec![eve.author().unwrap()]));
    assert_eq!(same(&space, &eve).digest().unwrap(), space.digest().unwrap());
    let note = same(&space, &eve).collection("notes").unwrap().insert(Map::new());
    assert_eq!(code(note), "not_permitted");
    let address = world.address(&ann).await;
    let found = world.on(&eve).discover(&address).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
    let explained = space.explain("notes", &1.into(), Some(&eve.peer().unwrap())).unwrap();
    let permission = explained.steps.iter().find(|step| step.step == "permission").unwrap();
    assert!(permission.ok && permission.detail.contains("share resolver"), "{permission:?}");
    // Others are strangers still.
    let other = world.database("other");
    assert_eq!(code(world.sync(&other, &ann, &space).await), "not_open");
    // When it opens no more, nothing new goes over.
    ann.share_resolver(|_| false).unwrap();
    fill(&space, 1);
    assert!(world.sync(&eve, &ann, &space).await.is_err());
    assert_eq!(documents(&eve, &space), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_closes_a_space_whatever_lets_in_and_what_it_opens_again_arrives_whole() {
    let mut world = World::new();
    let (open, serves) = flag(false);
    let ann = world.builder("ann").share_filter(serves).share_resolver(|_| true).memory().unwrap();
    let ben = world.database("ben");
    let space = ann.create_space("notes").unwrap();
    fill(&space, 3);
    space.grant(Subject::Anyone, Permission::Read).unwrap();
    space.grant(Subject::Key(ben.author().unwrap()), Permission::Write(Strength(5))).unwrap();
    let address = world.address(&ann).await;
    let invite = Invite {
        permission: Permission::Read,
        uses: None,
        expires: None,
        addresses: vec![address.to_string()],
    };
    let ticket = space.invite(invite).unwrap();
    let at_ben = world.on(&ben);
    // By what he is granted, by a ticket, by asking, by pulling, by looking around.
    assert_eq!(code(world.sync(&ben, &ann, &space).await), "not_open");
    assert_eq!(code(at_ben.join(&ticket).await), "not_permitted");
    assert!(at_ben.discover(&address).await.unwrap().is_empty());
    assert_eq!(code(at_ben.request(&address, &space.id(), Permission::Read, "").await), "not_open");
    assert!(at_ben.pull(&address, &space.id()).await.is_err());
    assert_eq!(documents(&ben, &space), None);
    open.store(true, Ordering::Relaxed);
    ann.reconsider_shares().unwrap();
    world.sync(&ben, &ann, &space).await.unwrap();
    assert_eq!(documents(&ben, &space), Some(3));
    assert_eq!(at_ben.discover(&address).await.unwrap().len(), 1);
    // Closed again: nothing new from that moment, neither by an exchange nor by a pull, nor that there is something new.
    let before = ann.space("notes").unwrap().digest().unwrap();
    open.store(false, Ordering::Relaxed);
    ann.reconsider_shares().unwrap();
    fill(&space, 2);
    assert!(world.sync(&ben, &ann, &space).await.is_err());
    assert!(at_ben.pull(&address, &space.id()).await.is_err());
    assert_eq!(same(&space, &ben).digest().unwrap(), before);
    open.store(true, Ordering::Relaxed);
    ann.reconsider_shares().unwrap();
    at_ben.pull(&address, &space.id()).await.unwrap();
    assert_eq!(documents(&ben, &space), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_open_connection_nothing_more_is_sent_from_the_moment_it_closes() {
    let mut world = World::new();
    let (ann, ben) = (world.database("ann"), world.database("ben"));
    let space = ann.create_space("notes").unwrap();
    space.grant(Subject::Key(ben.author().unwrap()), Permission::Read).unwrap();
    fill(&space, 1);
    let (open, serves) = flag(true);
    let (closed, closing) = std::sync::mpsc::channel();
    ann.share_filter(move |reader| serves(reader) || closed.send(()).is_err()).unwrap();
    world.sync(&ben, &ann, &space).await.unwrap();
    let at_ben = world.on(&ben);
    let address = world.address(&ann).await;
    at_ben.sync_with_peer(&address, &space.id()).await.unwrap();
    at_ben.keep_connected().unwrap();
    let mut watch = same(&space, &ben).collection("notes").unwrap().watch(Filter::all()).unwrap();
    fill(&space, 1);
    let (watch, second) = tokio::task::spawn_blocking(move || {
        let mut live = 0;
        while live < 1 {
            let event = watch.wait_for(std::time::Duration::from_secs(20)).unwrap().unwrap();
            live += usize::from(event.source.is_some());
        }
        (watch, live)
    })
    .await
    .unwrap();
    assert_eq!(second, 1);
    drop(watch);
    open.store(false, Ordering::Relaxed);
    ann.reconsider_shares().unwrap();
    fill(&space, 1);
    // The open connection wanted to send it, and asked.
    closing.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    fill(&space, 1);
    assert!(world.sync(&ben, &ann, &space).await.is_err());
    assert_eq!(documents(&ben, &space), Some(2));
    open.store(true, Ordering::Relaxed);
    ann.reconsider_shares().unwrap();
    world.sync(&ben, &ann, &space).await.unwrap();
    assert_eq!(documents(&ben, &space), Some(4), "whole again");
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_may_use_the_database_and_when_they_panic_the_space_is_closed() {
    let mut world = World::new();
    let (ann, ben) = (world.database("ann"), world.database("ben"));
    let phone = world.device(&ben).await;
    let space = ann.create_space("notes").unwrap();
    let theirs = user(&ben);
    space.grant(Subject::Space(driftless::SpaceId(theirs.0)), Permission::Read).unwrap();
    fill(&space, 1);
    // A user is known where the identity is here, and then by each of the devices.
    let identity = ben.make_identity().unwrap();
    identity.grant(Subject::Key(ann.author().unwrap()), Permission::Read).unwrap();
    world.sync(&ann, &ben, &identity).await.unwrap();
    let db = ann.clone();
    ann.share_filter(move |reader| {
        // Not under the lock: it may look, and even write.
        let noted = db.private_space().unwrap().collection("asked").unwrap().insert(Map::new());
        noted.is_ok() && reader.users == [theirs]
    })
    .unwrap();
    for device in [&ben, &phone] {
        world.sync(device, &ann, &space).await.unwrap();
        assert_eq!(documents(device, &space), Some(1));
    }
    assert!(ann.private_space().unwrap().digest().unwrap().documents >= 2);
    for panics in [true, false] {
        ann.share_filter(move |_| if panics { panic!("on purpose") } else { true }).unwrap();
        ann.share_resolver(|_| panic!("on purpose")).unwrap();
        assert_eq!(world.sync(&ben, &ann, &space).await.is_err(), panics);
        let stranger = world.database("eve");
        assert_eq!(code(world.sync(&stranger, &ann, &space).await), "not_open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_readable_late_arrives_whole_and_whoever_is_removed_gets_nothing_new() {
    for pulls in [false, true] {
        let mut world = World::new();
        let (ann, ben) = (world.database("ann"), world.database("ben"));
        let address = world.address(&ann).await;
        let network = world.on(&ben);
        let get = async |space: &Space| match pulls {
            true => network.pull(&address, &space.id()).await.map(drop),
            false => network.sync_with_peer(&address, &space.id()).await.map(drop),
        };
        let space = ann.create_space("notes").unwrap();
        let notes = space.collection("notes").unwrap();
        fill(&space, 5);
        let old = notes.insert(Map::new()).unwrap().id;
        assert!(get(&space).await.is_err());
        // With the permission comes all that was there before.
        let key = Subject::Key(ben.author().unwrap());
        space.grant(key, Permission::Read).unwrap();
        get(&space).await.unwrap();
        assert_eq!(same(&space, &ben).digest().unwrap(), space.digest().unwrap());
        // A document that was written long ago, and moves to where he may read, comes after the cursor has passed.
        let other = ann.create_space("other").unwrap().collection("notes").unwrap();
        let hidden = other.insert(Map::new()).unwrap().id;
        fill(&space, 1);
        get(&space).await.unwrap();
        let like =
            driftless::SharePolicy::Ref { space: space.id(), collection: "notes".into(), document: old };
        other.share(&hidden, &like).unwrap();
        get(&space).await.unwrap();
        assert!(same(&space, &ben).collection("notes").unwrap().get(&hidden).unwrap().is_some());
        // From the moment of the removal on he gets nothing, and has what he had.
        let before = space.digest().unwrap();
        space.revoke(key).unwrap();
        fill(&space, 1);
        assert!(get(&space).await.is_err());
        assert_eq!(same(&space, &ben).digest().unwrap(), before);
        // Let in again, he gets what he missed.
        space.grant(key, Permission::Read).unwrap();
        get(&space).await.unwrap();
        assert_eq!(same(&space, &ben).digest().unwrap(), space.digest().unwrap());
    }
}
