//! Devices that meet at a hub over HTTP, which takes nothing on trust.

use std::sync::Arc;
use std::time::Duration;

use driftless::{
    Database, Error, HubLimits, HubOptions, Mailbox, MailboxEvent, MailboxHub, MailboxOptions, SpaceId,
};
use driftless_net::mailbox::{FolderMailbox, Mailbox as _, MailboxError, ObjectName, Put};

use super::{fill, kinds, same, shared, small, space_of, sync, sync_with};

struct Scene {
    hub: MailboxHub,
    folder: tempfile::TempDir,
    ann: Database,
    ben: Database,
    space: SpaceId,
}

async fn scene(options: HubOptions) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let hub = MailboxHub::serve(&url, "127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let (ann, ben) = (Database::memory().unwrap(), Database::memory().unwrap());
    let space = shared(&ann, &[&ben]);
    fill(&space, 0, 20);
    Scene { hub, folder, space: space.id(), ann, ben }
}

impl Scene {
    fn url(&self) -> String {
        format!("http://{}", self.hub.address())
    }

    fn on(&self, db: &Database) -> Mailbox {
        db.open_mailbox(&self.space, &self.url()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_exchange_through_a_hub_and_what_is_damaged_there_is_put_right() {
    let scene = scene(HubOptions::default()).await;
    let (ann, ben) = (scene.on(&scene.ann), scene.on(&scene.ben));
    let sent = sync_with(&ann, &small()).await;
    assert!(sent.objects_out >= 4, "{sent:?}");
    assert_eq!(sync(&ben).await.received, 22);
    fill(&space_of(&scene.ben, scene.space), 100, 5);
    sync(&ben).await;
    assert_eq!(sync(&ann).await.received, 5);
    let (at_ann, at_ben) = (space_of(&scene.ann, scene.space), space_of(&scene.ben, scene.space));
    same(&[&at_ann, &at_ben]);
    assert_eq!(scene.hub.numbers().objects, sent.objects_out + 1);

    // Whoever runs the hub changes one object and takes another away.
    let place = FolderMailbox::open(scene.folder.path()).unwrap();
    let listed = place.list(&format!("{}/{}", scene.space, scene.ann.peer().unwrap()), "", 9).await.unwrap();
    let path = |at: usize| scene.folder.path().join(listed.objects[at].name.as_str());
    std::fs::write(path(1), b"damage").unwrap();
    std::fs::remove_file(path(2)).unwrap();
    let repaired = sync(&ann).await;
    assert_eq!((repaired.repaired, kinds(&repaired)), (2, Vec::new()));
    let cleo = Database::memory().unwrap();
    assert_eq!(sync(&scene.on(&cleo)).await.received, 27);
    same(&[&at_ann, &space_of(&cleo, scene.space)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_under_the_prefix_of_another_or_takes_a_whole_object_away() {
    let scene = scene(HubOptions::default()).await;
    sync_with(&scene.on(&scene.ann), &small()).await;
    sync(&scene.on(&scene.ben)).await;
    let mallory = driftless_net::mailbox::open(&scene.url(), &Default::default()).unwrap();
    let listed = mallory.list("", "", 1000).await.unwrap().objects;
    let before = scene.hub.numbers();
    let (ben, ann) = (scene.ben.peer().unwrap().to_string(), scene.ann.peer().unwrap().to_string());
    let first = listed.iter().find(|object| object.name.as_str().contains(&ann)).unwrap().name.clone();
    let bytes = mallory.get(&first, 0..u64::MAX).await.unwrap().unwrap();
    let text = first.as_str();
    let other_space = Database::memory().unwrap().create_space("x").unwrap().id().to_string();
    let next = text.replacen("/0000000000000001-", "/0000000000000099-", 1);
    let mut changed = bytes.clone();
    changed[200] ^= 1;
    for (at, bytes) in [
        (next.clone(), bytes.clone()),
        (text.replacen(&ann, &ben, 1), bytes.clone()),
        (text.replacen(&scene.space.to_string(), &other_space, 1), bytes.clone()),
        (next, changed),
        ("whatever".to_owned(), b"x".to_vec()),
        (format!("{text}/x"), bytes.clone()),
        (format!("{}/{ann}/1", scene.space), bytes.clone()),
    ] {
        let at = ObjectName::new(&at).unwrap();
        let put = mallory.put_if_absent(&at, bytes).await;
        assert!(matches!(put, Err(MailboxError::Denied(_))), "{at}: {put:?}");
    }
    assert!(matches!(mallory.delete(&first).await, Err(MailboxError::Denied(_))));
    // What is there already is there, whoever brings it.
    assert_eq!(mallory.put_if_absent(&first, bytes).await, Ok(Put::Exists));
    let after = scene.hub.numbers();
    assert_eq!((after.objects, after.bytes, after.put), (before.objects, before.bytes, before.put));
    assert_eq!(after.refused, before.refused + 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_put_as_much_as_it_may_is_told_so_and_others_go_on() {
    let limits = HubLimits { prefix_objects: 2, ..HubLimits::default() };
    let scene = scene(HubOptions { limits, ..HubOptions::default() }).await;
    let ann = scene.on(&scene.ann);
    let full = ann.sync(&small(), &mut |_| ()).await.unwrap_err();
    assert!(matches!(full, Error::MailboxFull(_)), "{full:?}");
    assert_eq!((full.code(), scene.hub.numbers().objects), ("mailbox_full", 2));
    // What is there is read, and another device has room of its own.
    let ben = scene.on(&scene.ben);
    let received = sync(&ben).await.received;
    assert!((1..22).contains(&received), "{received}");
    fill(&space_of(&scene.ben, scene.space), 100, 1);
    assert_eq!(sync(&ben).await.sent, 1);
    assert_eq!(scene.hub.numbers().objects, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_wakes_who_watches_long_before_its_interval() {
    let token = "a-token".to_owned();
    let scene = scene(HubOptions { token: Some(token.clone()), ..HubOptions::default() }).await;
    for db in [&scene.ann, &scene.ben] {
        db.add_mailbox(&scene.space, &scene.url()).unwrap();
        let denied = scene.on(db).sync(&small(), &mut |_| ()).await.unwrap_err();
        assert!(denied.to_string().contains("token"), "{denied}");
        assert!(db.set_mailbox_token(&scene.space, &scene.url(), Some(&token)).unwrap());
        let shown = format!("{:?} {:?}", db.mailboxes().unwrap(), scene.on(db));
        assert!(!shown.contains(&token), "{shown}");
    }
    let hour = Duration::from_secs(3600);
    let mut task = scene.on(&scene.ben).continuous(small(), hour, |_| ());
    assert_eq!(task.next().await.unwrap().unwrap().received, 0);
    let ann = scene.on(&scene.ann);
    sync(&ann).await;
    let received = tokio::time::timeout(Duration::from_secs(60), async {
        while task.next().await.unwrap().unwrap().received == 0 {}
    });
    received.await.expect("it is woken");
    same(&[&space_of(&scene.ann, scene.space), &space_of(&scene.ben, scene.space)]);
    // An empty token is none.
    assert!(scene.ann.set_mailbox_token(&scene.space, &scene.url(), Some("a b")).is_err());
    assert!(!scene.ann.set_mailbox_token(&scene.space, "file:///x", None).unwrap());
    drop(Arc::new(task));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_from_a_hub_is_paused_and_cancelled_and_gets_each_object_once() {
    let scene = scene(HubOptions::default()).await;
    let sent = sync_with(&scene.on(&scene.ann), &small()).await;
    let at_ben = scene.on(&scene.ben);
    let options = MailboxOptions::default();
    let control = options.control.clone();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut taken = 0;
    let pausing = {
        let (control, at_ben, options) = (control.clone(), at_ben.clone(), options.clone());
        tokio::spawn(async move {
            let mut event = |event: MailboxEvent| {
                if matches!(event, MailboxEvent::Received { .. }) {
                    taken += 1;
                    match taken {
                        1 => control.pause(),
                        3 => control.cancel(),
                        _ => {}
                    }
                }
                tell.send(event).unwrap();
            };
            at_ben.sync(&options, &mut event).await.unwrap()
        })
    };
    let mut seen = Vec::new();
    while seen.last() != Some(&MailboxEvent::Paused) {
        seen.push(told.recv().await.unwrap());
    }
    let received = |event: &&MailboxEvent| matches!(event, MailboxEvent::Received { .. });
    assert_eq!(seen.iter().filter(received).count(), 1);
    assert!(told.try_recv().is_err());
    control.resume();
    let cut = pausing.await.unwrap();
    assert_eq!((cut.finished, cut.objects_in), (false, 3));
    // Somebody else does the rest, later.
    let rest = sync(&at_ben).await;
    assert_eq!((rest.finished, rest.objects_in), (true, sent.objects_out - 3));
    assert_eq!(cut.bytes_in + rest.bytes_in, sent.bytes_out);
    same(&[&space_of(&scene.ann, scene.space), &space_of(&scene.ben, scene.space)]);
}
