//! A person with two devices: a space of their own lets both into the spaces of others.

use driftless::{CommitId, Member, SpaceId};

use super::live::until;
use super::*;

struct Scene {
    net: MemoryNetwork,
    /// Ann's, and where it is served; then the person's two devices.
    ann: Database,
    at: Address,
    one: Database,
    two: Database,
    /// The space of the person, on the first device, and Ann's space.
    me: Space,
    notes: Space,
    _serving: (Network, Network),
}

/// The two devices have the person's space; Ann grants it `Write(5)`.
async fn scene() -> Scene {
    let net = MemoryNetwork::new();
    let (ann, one, two) = (memory(), memory(), memory());
    let (at_ann, at_one) = (on(&net, &ann), on(&net, &one));
    let at = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let home = at_one.serve(&"memory:one".parse().unwrap()).await.unwrap();
    let me = one.create_space("me").unwrap();
    me.grant(Subject::Key(two.author().unwrap()), Permission::Admin(Strength(1))).unwrap();
    on(&net, &two).sync_with_peer(&home, &me.id()).await.unwrap();
    let notes = ann.create_space("notes").unwrap();
    fill(&notes, 0, 3);
    notes.grant(Subject::Space(me.id()), Permission::Write(Strength(5))).unwrap();
    Scene { net, ann, at, one, two, me, notes, _serving: (at_ann, at_one) }
}

impl Scene {
    async fn join(&self, device: &Database) -> Space {
        let network = on(&self.net, device);
        let joined = network.join_through(&self.at, &self.notes.id(), &self.me.id()).await;
        let (space, synced) = joined.unwrap();
        assert!(synced.settled);
        assert_eq!(space.digest().unwrap(), self.notes.digest().unwrap());
        space
    }

    async fn sync(&self, device: &Database) -> Result<driftless::Synced, Error> {
        on(&self.net, device).sync_with_peer(&self.at, &self.notes.id()).await
    }
}

fn bundle(space: &Space) -> Vec<u8> {
    let mut bytes = Vec::new();
    space.export(&mut bytes, &mut |_| {}).unwrap();
    bytes
}

fn documents(space: &Space) -> u64 {
    space.digest().unwrap().documents
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_comes_in_by_the_persons_space_and_goes_out_by_it() {
    let scene = scene().await;
    let (Scene { ann, one, two, me, notes, .. }, space) = (&scene, scene.notes.id());
    let on_one = scene.join(one).await;
    let on_two = scene.join(two).await;
    let here: Vec<Member> = notes.members().unwrap();
    assert!(here.iter().any(|member| member.subject == Subject::Space(me.id())));
    let by_me = |db: &Database| Subject::Key(db.author().unwrap());
    for device in [one, two] {
        let member = here.iter().find(|member| member.subject == by_me(device)).unwrap();
        assert_eq!(member.permission, Permission::Write(Strength(5)));
    }
    // Both write, like anybody else; joining again changes nothing.
    fill(&on_two, 100, 5);
    scene.sync(two).await.unwrap();
    assert_eq!(documents(notes), 8);
    let commits = notes.digest().unwrap().commits;
    scene.join(two).await;
    assert_eq!(notes.digest().unwrap().commits, commits);

    // The second device is lost. The first removes it at home, and withdraws it where it has come in.
    scene.sync(one).await.unwrap();
    let lost = two.author().unwrap();
    assert!(matches!(on_one.withdraw(&me.id(), &lost), Err(Error::NotPermitted(_))), "not removed yet");
    me.revoke(Subject::Key(lost)).unwrap();
    on_one.withdraw(&me.id(), &lost).unwrap();
    scene.sync(one).await.unwrap();
    assert!(!notes.members().unwrap().iter().any(|member| member.subject == Subject::Key(lost)));
    assert_eq!(documents(notes), 8, "what was seen of it stays");

    // Whoever has it writes on, and is served nothing; what reaches others all the same is void.
    fill(&on_two, 200, 4);
    fill(notes, 300, 1);
    assert!(matches!(scene.sync(two).await, Err(Error::NotOpen(_))));
    let again = on(&scene.net, two).join_through(&scene.at, &space, &me.id()).await;
    assert!(matches!(again, Err(Error::NotPermitted(_))), "{again:?}");
    assert_eq!(documents(&on_two), 12);
    let imported = ann.import(&mut bundle(&on_two).as_slice(), &mut |_| {}).unwrap();
    assert_eq!((imported.void, imported.refused), (4, 0), "{imported:?}");
    assert_eq!(documents(notes), 9);
    // The first goes on.
    fill(&on_one, 400, 1);
    scene.sync(one).await.unwrap();
    assert_eq!(documents(notes), 10);
    assert_eq!(on_one.digest().unwrap(), notes.digest().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_by_that_space_is_served_nothing() {
    let scene = scene().await;
    let (me, space) = (&scene.me, scene.notes.id());
    // Eve may read the person's space, but nothing there names her key.
    let eve = memory();
    me.grant(Subject::Anyone, Permission::Read).unwrap();
    let home: Address = "memory:one".parse().unwrap();
    on(&scene.net, &eve).sync_with_peer(&home, &me.id()).await.unwrap();
    let refused = on(&scene.net, &eve).join_through(&scene.at, &space, &me.id()).await;
    assert!(matches!(refused, Err(Error::NotPermitted(_))), "{refused:?}");
    // A space of her own lets her in, but is granted nothing there.
    let own = eve.create_space("own").unwrap();
    let refused = on(&scene.net, &eve).join_through(&scene.at, &space, &own.id()).await;
    assert!(matches!(refused, Err(Error::NotPermitted(_))), "{refused:?}");
    // Nor does an unknown space look different.
    let unknown = on(&scene.net, &eve).join_through(&scene.at, &SpaceId([7; 32]), &own.id()).await;
    assert!(matches!(unknown, Err(Error::NotPermitted(_))), "{unknown:?}");
    assert!(eve.space("notes").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_enrols_by_itself_where_it_can_read_already() {
    let scene = scene().await;
    let Scene { two, me, notes, .. } = &scene;
    // It has the space as anyone may; once both are here, the next exchange is enough.
    notes.grant(Subject::Anyone, Permission::Read).unwrap();
    scene.sync(two).await.unwrap();
    let member = |notes: &Space| {
        let members = notes.members().unwrap();
        members
            .iter()
            .find(|member| member.subject == Subject::Key(two.author().unwrap()))
            .map(|it| it.permission)
    };
    assert_eq!(member(notes), Some(Permission::Write(Strength(5))));
    let on_two = two.space("notes").unwrap();
    let before: CommitId = on_two.summary().unwrap().heads[0];
    assert!(matches!(on_two.enrol(&me.id()), Err(Error::NotPermitted(_))), "it has enrolled already");
    assert_eq!(on_two.summary().unwrap().heads, [before]);
    // Less for the person's space is less for each of its devices.
    notes.grant(Subject::Space(me.id()), Permission::Read).unwrap();
    assert_eq!(member(notes), Some(Permission::Read));
    scene.sync(two).await.unwrap();
    assert!(matches!(
        on_two.collection("items").unwrap().insert(Map::default()),
        Err(Error::NotPermitted(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stays_connected_enrols_as_soon_as_its_space_is_granted_something() {
    let scene = scene().await;
    let Scene { ann, two, me, notes, .. } = &scene;
    notes.grant(Subject::Space(me.id()), Permission::Read).unwrap();
    notes.revoke(Subject::Space(me.id())).unwrap();
    notes.grant(Subject::Anyone, Permission::Read).unwrap();
    scene.sync(two).await.unwrap();
    let key = Subject::Key(two.author().unwrap());
    let has = |notes: &Space| notes.members().unwrap().iter().any(|member| member.subject == key);
    assert!(!has(notes));
    let live = on(&scene.net, two);
    live.keep_connected().unwrap();
    notes.grant(Subject::Space(me.id()), Permission::Write(Strength(5))).unwrap();
    let there = notes.clone();
    until(ann, move || there.members().unwrap().iter().any(|member| member.subject == key)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_granted_something_as_a_person_comes_with_every_device() {
    let net = MemoryNetwork::new();
    let (ann, laptop, phone) = (memory(), memory(), memory());
    let (at_ann, at_laptop, at_phone) = (on(&net, &ann), on(&net, &laptop), on(&net, &phone));
    let at = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let home = at_laptop.serve(&"memory:laptop".parse().unwrap()).await.unwrap();
    let ticket = laptop.invite_device(vec![home.to_string()], None).unwrap();
    at_phone.join_identity(&ticket).await.unwrap();
    let me = laptop.identity().unwrap().unwrap();
    let notes = ann.create_space("notes").unwrap();
    fill(&notes, 0, 3);
    notes.grant(Subject::Space(me), Permission::Write(Strength(5))).unwrap();
    // Nobody told either device of anything but the id of the space.
    for (network, device) in [(&at_phone, &phone), (&at_laptop, &laptop)] {
        network.sync_with_peer(&at, &notes.id()).await.unwrap();
        let key = device.author().unwrap();
        let effective = notes.effective(Some(key)).unwrap().remove(0);
        assert_eq!(effective.permission, Some(Permission::Write(Strength(5))));
        let by = &effective.decided_by[0];
        assert_eq!((by.kind, by.through, by.author), ("enrolment", Some(me), key));
        assert!(by.text().contains(&format!("enrolled by space {me}")), "{}", by.text());
    }
    assert_eq!(documents(&phone.space("notes").unwrap()), 3);
    // On a database of the person the name of the user is the person, not one key.
    let own = laptop.create_space("own").unwrap();
    assert_eq!(own.find_subject(&laptop.user().unwrap()).unwrap(), Subject::Key(laptop.author().unwrap()));
    let theirs = laptop.space("notes").unwrap();
    assert_eq!(theirs.find_subject(&laptop.user().unwrap()).unwrap(), Subject::Space(me));
    assert_eq!(theirs.find_key(&laptop.user().unwrap()).unwrap(), laptop.author().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_by_another_space_is_the_same_after_opening_again_and_nothing_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let net = MemoryNetwork::new();
    let one = memory();
    let (me, theirs) = (one.create_space("me").unwrap(), memory());
    let ann = Database::open(folder.path()).unwrap();
    let at_ann = on(&net, &ann);
    let at = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let notes = ann.create_space("notes").unwrap();
    notes.grant(Subject::Space(me.id()), Permission::Write(Strength(5))).unwrap();
    let (on_one, _) = on(&net, &one).join_through(&at, &notes.id(), &me.id()).await.unwrap();
    fill(&on_one, 0, 3);
    me.grant(Subject::Key(theirs.author().unwrap()), Permission::Write(Strength(9))).unwrap();
    on(&net, &one).sync_with_peer(&at, &notes.id()).await.unwrap();
    let (digest, members) = (notes.digest().unwrap(), notes.members().unwrap());
    drop((notes, at_ann, ann));
    let ann = loop {
        // The tasks of the network let go of the database one after the other.
        match Database::open(folder.path()) {
            Ok(ann) => break ann,
            Err(Error::Locked) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let notes = ann.space("notes").unwrap();
    assert_eq!((notes.digest().unwrap(), notes.members().unwrap()), (digest.clone(), members));
    fill(&notes, 10, 1);
    let found = ann.fsck(None, &mut |_| {}).unwrap();
    assert!(found.problems.is_empty(), "{found:?}");
    assert_eq!(notes.rebuild().unwrap().documents, digest.documents + 1);
}
