//! Policies, the queue of an admin, and joining.

use driftless::{Bootstrap, Error, Filter, Permission, Requested, Strength, Subject};

use driftless_core::rules::Level;

use crate::{Scene, fill, on, write};

fn joined(requested: Result<Requested, Error>) -> (driftless::Space, Permission) {
    match requested.unwrap() {
        Requested::Joined { space, permission, synced } => {
            assert!(synced.settled);
            (space, permission)
        }
        other => panic!("{other:?}"),
    }
}

fn queued(requested: Result<Requested, Error>) -> driftless::RequestId {
    match requested.unwrap() {
        Requested::Queued(id) => id,
        other => panic!("{other:?}"),
    }
}

fn refused(requested: Result<Requested, Error>) {
    assert!(matches!(requested, Err(Error::NotOpen(_))), "{requested:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_nobody_is_let_in_and_nothing_is_kept() {
    let scene = Scene::new().await;
    let (_, at_bob) = scene.guest();
    assert_eq!(scene.space.bootstrap().unwrap(), Bootstrap::Reject);
    for permission in [Permission::Read, write(100), Permission::Admin(Strength(10))] {
        refused(at_bob.request(&scene.at, &scene.space.id(), permission, "let me in").await);
    }
    assert!(scene.ann.requests().unwrap().is_empty());
    assert_eq!(scene.space.members().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_anyone_lets_in_up_to_its_level() {
    let scene = Scene::new().await;
    scene.space.grant(Subject::Anyone, write(15)).unwrap();
    let (bob, at_bob) = scene.guest();
    let before = scene.space.summary().unwrap().commits;
    for permission in [Permission::Read, write(15), write(2)] {
        let (space, given) = joined(at_bob.request(&scene.at, &scene.space.id(), permission, "").await);
        // What it may do is what holds for anyone, whatever strength it asked for.
        assert_eq!((space.name().unwrap().as_str(), given), ("team", write(15)));
    }
    assert_eq!(scene.space.summary().unwrap().commits, before, "no commit is needed for that");
    refused(at_bob.request(&scene.at, &scene.space.id(), Permission::Admin(Strength(20)), "").await);
    // It can write at once, and the other side has it.
    fill(&bob.space("team").unwrap(), 1);
    at_bob.sync_with_peer(&scene.at, &scene.space.id()).await.unwrap();
    assert_eq!(scene.space.digest().unwrap().documents, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_a_request_approves_it_and_the_asker_joins() {
    let scene = Scene::new().await;
    scene.space.set_bootstrap(Bootstrap::Queue).unwrap();
    let (bob, at_bob) = scene.guest();
    let id = queued(at_bob.request(&scene.at, &scene.space.id(), write(100), "it is Bob").await);
    let waiting = scene.ann.requests().unwrap();
    assert_eq!(waiting.len(), 1);
    let request = &waiting[0];
    assert_eq!((request.id, request.space, request.author), (id, scene.space.id(), bob.author().unwrap()));
    assert_eq!((request.permission, request.note.as_str()), (write(100), "it is Bob"));
    assert_eq!((request.peer, request.at_ms), (bob.peer().unwrap(), 1_700_000_000_000));
    // Asking again is the same request, and changes nothing.
    assert_eq!(queued(at_bob.request(&scene.at, &scene.space.id(), write(100), "it is Bob").await), id);
    assert_eq!(scene.ann.requests().unwrap(), waiting);

    let approved = scene.ann.approve(&id, None).unwrap();
    assert_eq!((approved.permission, approved.request.author), (write(100), bob.author().unwrap()));
    assert!(scene.ann.requests().unwrap().is_empty());
    // It is a commit of the admin, in the history for ever.
    let log = scene.space.log(driftless::LogQuery::default()).unwrap();
    let line = log.iter().find(|line| Some(line.commit) == approved.commit).unwrap();
    assert_eq!((line.author, line.kind), (scene.ann.author().unwrap(), driftless::Kind::Rules));

    let (space, permission) = joined(at_bob.request(&scene.at, &scene.space.id(), write(100), "").await);
    assert_eq!(permission, write(100));
    fill(&space, 1);
    at_bob.sync_with_peer(&scene.at, &scene.space.id()).await.unwrap();
    assert_eq!(scene.space.digest().unwrap(), space.digest().unwrap());
    assert_eq!(scene.space.collection("items").unwrap().count(Filter::all()).unwrap(), 4);
    // Where it is, it stays, and asking again is only an exchange.
    joined(at_bob.request(&scene.at, &scene.space.id(), Permission::Read, "").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_is_what_is_granted() {
    let scene = Scene::new().await;
    scene.space.set_bootstrap(Bootstrap::Queue).unwrap();
    let (eve, at_eve) = scene.guest();
    let space = scene.space.id();
    let shown = queued(at_eve.request(&scene.at, &space, Permission::Read, "only to read").await);
    scene.clock.pass(10_000);
    let wanted = Permission::Admin(Strength(1));
    let changed = queued(at_eve.request(&scene.at, &space, wanted, "only to read").await);
    assert_ne!(shown, changed);
    let approved = scene.ann.approve(&shown, None);
    assert!(matches!(&approved, Err(Error::NotFound { what: "request", .. })), "{approved:?}");
    assert!(matches!(scene.ann.reject(&shown), Err(Error::NotFound { .. })));
    assert_eq!(scene.space.members().unwrap().len(), 1);
    // The admin looks again, and gives less than was asked for.
    let waiting = scene.ann.requests().unwrap();
    assert_eq!((waiting.len(), waiting[0].permission), (1, wanted));
    let approved = scene.ann.approve(&changed, Some(Permission::Read)).unwrap();
    assert_eq!(approved.permission, Permission::Read);
    let members = scene.space.members().unwrap();
    let member = members.iter().find(|member| member.subject == Subject::Key(eve.author().unwrap()));
    assert_eq!(member.unwrap().permission, Permission::Read);
    // A request is approved once.
    assert!(scene.ann.approve(&changed, None).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_rejected_is_refused_until_somebody_grants() {
    let scene = Scene::new().await;
    scene.space.set_bootstrap(Bootstrap::Queue).unwrap();
    let (bob, at_bob) = scene.guest();
    let space = scene.space.id();
    let id = queued(at_bob.request(&scene.at, &space, write(100), "").await);
    assert_eq!(scene.ann.reject(&id).unwrap().id, id);
    for permission in [write(100), Permission::Read] {
        scene.clock.pass(30 * 24 * 3600 * 1000);
        refused(at_bob.request(&scene.at, &space, permission, "please").await);
    }
    assert!(scene.ann.requests().unwrap().is_empty());
    // A policy does not override what an admin has decided about this key.
    scene.space.set_bootstrap(Bootstrap::Approve(write(10))).unwrap();
    refused(at_bob.request(&scene.at, &space, write(100), "please").await);
    scene.space.grant(Subject::Key(bob.author().unwrap()), Permission::Read).unwrap();
    joined(at_bob.request(&scene.at, &space, Permission::Read, "").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_approves_up_to_its_level_in_the_same_connection() {
    let scene = Scene::new().await;
    scene.space.set_bootstrap(Bootstrap::Approve(write(50))).unwrap();
    let space = scene.space.id();
    let (bob, at_bob) = scene.guest();
    for beyond in [write(49), Permission::Admin(Strength(100))] {
        refused(at_bob.request(&scene.at, &space, beyond, "").await);
    }
    let before = scene.space.summary().unwrap().commits;
    let (here, permission) = joined(at_bob.request(&scene.at, &space, write(60), "").await);
    assert_eq!(permission, write(60));
    assert_eq!(scene.space.summary().unwrap().commits, before + 1, "it is recorded in the history");
    fill(&here, 1);
    // Nobody has to answer anything.
    assert!(scene.ann.requests().unwrap().is_empty());

    // Whom an admin removes, or gives less, does not get it back by asking.
    scene.space.revoke(Subject::Key(bob.author().unwrap())).unwrap();
    refused(at_bob.request(&scene.at, &space, write(60), "").await);
    scene.space.grant(Subject::Key(bob.author().unwrap()), Permission::Read).unwrap();
    refused(at_bob.request(&scene.at, &space, write(60), "").await);
    joined(at_bob.request(&scene.at, &space, Permission::Read, "").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_set_the_policy_and_only_admins_approve() {
    let scene = Scene::new().await;
    let admin = Bootstrap::Approve(Permission::Admin(Strength(20)));
    assert!(matches!(scene.space.set_bootstrap(admin), Err(Error::Invalid(_))));
    scene.space.set_bootstrap(Bootstrap::Approve(write(100))).unwrap();
    let (bob, at_bob) = scene.guest();
    let (there, _) = joined(at_bob.request(&scene.at, &scene.space.id(), write(100), "").await);
    assert_eq!(there.bootstrap().unwrap(), Bootstrap::Approve(write(100)), "the policy travels");
    assert!(matches!(there.set_bootstrap(Bootstrap::Queue), Err(Error::NotPermitted(_))));
    scene.space.set_bootstrap(Bootstrap::Queue).unwrap();
    at_bob.sync_with_peer(&scene.at, &there.id()).await.unwrap();

    // Bob serves, too. He may not let anybody in, so nothing is queued with him, until he is an admin.
    let at = at_bob.serve(&"memory:bob".parse().unwrap()).await.unwrap();
    let (_, at_cem) = scene.guest();
    refused(at_cem.request(&at, &there.id(), Permission::Read, "").await);
    scene.space.grant(Subject::Key(bob.author().unwrap()), Permission::Admin(Strength(10))).unwrap();
    at_bob.sync_with_peer(&scene.at, &there.id()).await.unwrap();
    // Nobody gives what is not weaker than itself.
    refused(at_cem.request(&at, &there.id(), Permission::Admin(Strength(10)), "").await);
    let id = queued(at_cem.request(&at, &there.id(), Permission::Admin(Strength(11)), "").await);
    assert!(scene.ann.requests().unwrap().is_empty(), "a request lives where it was made");
    let before = there.summary().unwrap().commits;
    let refused = bob.approve(&id, Some(Permission::Admin(Strength(3))));
    assert!(matches!(refused, Err(Error::NotPermitted(_))), "{refused:?}");
    assert_eq!((bob.requests().unwrap().len(), there.summary().unwrap().commits), (1, before));
    bob.approve(&id, Some(write(100))).unwrap();
    let (at_last, permission) = joined(at_cem.request(&at, &there.id(), write(100), "").await);
    assert_eq!((permission.level(), at_last.digest().unwrap()), (Level::Write, there.digest().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_policy_holds_also_where_two_were_set_apart() {
    let scene = Scene::new().await;
    scene.space.grant(Subject::Anyone, Permission::Read).unwrap();
    let (bob, at_bob) = scene.guest();
    let (there, _) = joined(at_bob.request(&scene.at, &scene.space.id(), Permission::Read, "").await);
    scene.space.grant(Subject::Key(bob.author().unwrap()), Permission::Admin(Strength(5))).unwrap();
    at_bob.sync_with_peer(&scene.at, &there.id()).await.unwrap();
    scene.clock.pass(10);
    there.set_bootstrap(Bootstrap::Queue).unwrap();
    scene.clock.pass(10);
    scene.space.set_bootstrap(Bootstrap::Approve(Permission::Read)).unwrap();
    at_bob.sync_with_peer(&scene.at, &there.id()).await.unwrap();
    for space in [&scene.space, &there] {
        assert_eq!(space.bootstrap().unwrap(), Bootstrap::Approve(Permission::Read));
    }
    // What a weaker admin decided does not count once its permission is taken with all that it wrote unknown to us.
    scene.clock.pass(10);
    let cut = on(&scene.net, &bob);
    there.set_bootstrap(Bootstrap::Reject).unwrap();
    scene.space.revoke(Subject::Key(bob.author().unwrap())).unwrap();
    let _ = cut.sync_with_peer(&scene.at, &there.id()).await;
    assert_eq!(scene.space.bootstrap().unwrap(), Bootstrap::Approve(Permission::Read));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_with_the_space_and_is_not_there_after_a_week() {
    let scene = Scene::new().await;
    scene.space.set_bootstrap(Bootstrap::Queue).unwrap();
    let (_, at_bob) = scene.guest();
    let space = scene.space.id();
    let id = queued(at_bob.request(&scene.at, &space, write(100), "").await);
    scene.clock.pass(7 * 24 * 3600 * 1000);
    assert_eq!(scene.ann.requests().unwrap().len(), 1);
    scene.clock.pass(1);
    assert!(scene.ann.requests().unwrap().is_empty());
    assert!(matches!(scene.ann.approve(&id, None), Err(Error::NotFound { .. })));
    // Who still wants it asks again.
    assert_eq!(queued(at_bob.request(&scene.at, &space, write(100), "").await), id);
    assert_eq!(scene.ann.requests().unwrap().len(), 1);
    scene.space.forget().unwrap();
    assert!(scene.ann.requests().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_is_bounded_where_it_is_written() {
    let scene = Scene::new().await;
    scene.space.set_bootstrap(Bootstrap::Queue).unwrap();
    let (_, at_bob) = scene.guest();
    let note = "n".repeat(4097);
    let long = at_bob.request(&scene.at, &scene.space.id(), write(100), &note).await;
    assert!(matches!(long, Err(Error::Invalid(_))));
    queued(at_bob.request(&scene.at, &scene.space.id(), write(100), &note[1..]).await);
    assert_eq!(scene.ann.requests().unwrap()[0].note.len(), 4096);
}
