//! Vectors 8, 9, 10, 12 and 15 of the document store, over a network in memory and over HTTP.

use driftless::{SharePolicy, Value};

use super::*;

fn rooted(root: SpaceId) -> impl FnOnce(DocumentSyncBuilder) -> DocumentSyncBuilder {
    move |sync| sync.roots(move |_: &Database| Ok(vec![root]))
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_8_what_is_shared_after_the_cursor_passed_it_arrives_at_the_next_pull() {
    for net in Net::both() {
        let (ann, bob) = (db("ann"), db("bob"));
        let team = ann.create_space("team").unwrap();
        let private = ann.private_space().unwrap().collection("items").unwrap();
        let written = private.insert(Map::from_json(r#"{"title": "old"}"#).unwrap()).unwrap();
        grant(&team, &bob, Permission::Read);
        let root = team.id();
        let at_ann = Device::with(&net, &ann, rooted(root)).await;
        let at_bob = Device::with(&net, &bob, rooted(root)).await;
        at_bob.sync.connect(&at_ann.address).await.unwrap();
        fill(&team, 0, 10);
        until(&bob, "the root", || documents(&bob, &root) == Some(10)).await;
        // A document that is older than all that bob has pulled becomes visible to him: it comes whole.
        let beside = SharePolicy::Ref { space: root, collection: "items".into(), document: 0.into() };
        private.share(&written.id, &beside).unwrap();
        until(&bob, "the document", || documents(&bob, &root) == Some(11)).await;
        let there =
            bob.space("team").unwrap().collection("items").unwrap().get(&written.id).unwrap().unwrap();
        assert_eq!(there.fields.get("title"), Some(&Value::from("old")));
        // So does a whole space that is granted late, though it is older as well.
        let late = ann.create_space("late").unwrap();
        fill(&late, 0, 7);
        let cem = db("cem");
        let at_cem = Device::with(&net, &cem, rooted(late.id())).await;
        at_cem.sync.connect(&at_ann.address).await.unwrap();
        at_cem.pull().await;
        assert_eq!(documents(&cem, &late.id()), None);
        grant(&late, &cem, Permission::Read);
        until(&cem, "the space", || documents(&cem, &late.id()) == Some(7)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_9_a_removed_member_gets_nothing_new_and_what_it_writes_has_no_effect() {
    for net in Net::both() {
        let (ann, bob, cem) = (db("ann"), db("bob"), db("cem"));
        let team = ann.create_space("team").unwrap();
        grant(&team, &bob, write());
        grant(&team, &cem, write());
        let root = team.id();
        let at_ann = Device::with(&net, &ann, rooted(root)).await;
        let at_bob = Device::with(&net, &bob, rooted(root)).await;
        let at_cem = Device::with(&net, &cem, rooted(root)).await;
        at_bob.sync.connect(&at_ann.address).await.unwrap();
        at_cem.sync.connect(&at_ann.address).await.unwrap();
        fill(&team, 0, 5);
        until(&bob, "the root", || documents(&bob, &root) == Some(5)).await;
        team.revoke(Subject::Key(bob.author().unwrap())).unwrap();
        // He is still connected, and goes on as if nothing had happened.
        fill(&bob.space("team").unwrap(), 100, 5);
        fill(&team, 200, 3);
        until(&cem, "what ann wrote", || documents(&cem, &root) == Some(8)).await;
        at_bob.pull().await;
        at_ann.pull().await;
        assert_eq!(documents(&bob, &root), Some(10), "what he had and what he wrote");
        // Whatever reaches the others is kept, and has no effect.
        assert_eq!((documents(&ann, &root), documents(&cem, &root)), (Some(8), Some(8)));
        assert_eq!(bob.find_by("items", by(&ann), &bob.readers().unwrap(), None).unwrap().documents.len(), 5);
        assert!(at_bob.sync.find("items", by(&ann)).await[0].1.as_ref().unwrap().documents.is_empty());
    }
}

fn by(db: &Database) -> driftless::Creator {
    driftless::Creator::Author(db.author().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_10_after_a_peer_was_restored_from_a_backup_nothing_is_missed_and_nothing_loops() {
    for net in Net::both() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        let bob = db("bob");
        let ann = Database::open(&first).unwrap();
        let team = ann.create_space("team").unwrap();
        let root = team.id();
        grant(&team, &bob, write());
        fill(&team, 0, 20);
        std::fs::create_dir(&second).unwrap();
        ann.backup(second.join("driftless.sqlite"), &mut |_, _| {}).unwrap();
        fill(&team, 100, 5);
        let at_bob = Device::with(&net, &bob, rooted(root)).await;
        {
            let at_ann = Device::with(&net, &ann, rooted(root)).await;
            at_bob.sync.connect(&at_ann.address).await.unwrap();
            until(&bob, "the root", || documents(&bob, &root) == Some(25)).await;
            at_ann.sync.close().await.unwrap();
            at_ann._network.close_and_tell().await;
        }
        drop((team, ann));
        // The store is that of the backup again: it has lost five commits, which bob has.
        let restored = Database::open(&second).unwrap();
        let at_ann = Device::with(&net, &restored, rooted(root)).await;
        at_bob.sync.connect(&at_ann.address).await.unwrap();
        until(&restored, "what was lost", || documents(&restored, &root) == Some(25)).await;
        fill(&bob.space("team").unwrap(), 200, 2);
        until(&restored, "what bob wrote", || documents(&restored, &root) == Some(27)).await;
        at_bob.sync.idle().await;
        at_ann.sync.idle().await;
        let digest = |db: &Database| db.space(&root.to_string()).unwrap().digest().unwrap();
        assert_eq!(digest(&bob), digest(&restored));
        // Nothing is under way any more, and a flow brings nothing.
        let pulled = at_bob.sync.pull_now().await;
        let received: u64 =
            pulled.iter().flat_map(|flowed| &flowed.pulled).map(|pulled| pulled.moved.applied).sum();
        assert_eq!(received, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_12_documents_that_refer_to_each_other_are_shared_once_and_never_in_circles() {
    for net in Net::both() {
        let (ann, bob) = (db("ann"), db("bob"));
        let (team, other) = (ann.create_space("team").unwrap(), ann.create_space("other").unwrap());
        let (root, mine) = (team.id(), other.id());
        grant(&team, &bob, Permission::Read);
        let at_ann = Device::with(&net, &ann, rooted(root)).await;
        let at_bob = Device::with(&net, &bob, rooted(root)).await;
        at_bob.sync.connect(&at_ann.address).await.unwrap();
        let (here, there) = (team.collection("items").unwrap(), other.collection("items").unwrap());
        fill(&team, 1, 1);
        fill(&other, 2, 1);
        let beside =
            |space, n: i64| SharePolicy::Ref { space, collection: "items".into(), document: n.into() };
        // Each wants to be where the other is: one moves, and then both are there.
        there.share(&2.into(), &beside(root, 1)).unwrap();
        let again = here.share(&1.into(), &beside(mine, 2));
        assert!(again.as_ref().map_or(true, |shared| shared.from == shared.to), "{again:?}");
        // Nor does a document go where it is itself.
        let itself = here.share(&1.into(), &beside(root, 1));
        assert!(itself.as_ref().map_or(true, |shared| shared.from == shared.to), "{itself:?}");
        until(&bob, "both", || documents(&bob, &root) == Some(2)).await;
        at_bob.sync.idle().await;
        assert_eq!((documents(&ann, &root), documents(&ann, &mine)), (Some(2), Some(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_15_a_crash_before_the_counts_are_written_loses_counts_and_no_commit() {
    for net in Net::both() {
        let dir = tempfile::tempdir().unwrap();
        let ann = db("ann");
        let bob = Database::open(dir.path().join("bob")).unwrap();
        let team = ann.create_space("team").unwrap();
        let root = team.id();
        grant(&team, &bob, Permission::Read);
        let items = team.collection("items").unwrap();
        // Several pages.
        for _ in 0..30 {
            let text = Value::from("x".repeat(100_000).as_str());
            let mut fields = Map::new();
            fields.insert("text", text);
            items.insert(fields).unwrap();
        }
        let at_ann = Device::with(&net, &ann, rooted(root)).await;
        // The disk as it is after each batch: what a crash leaves there, before anything that is gathered is written.
        let (seen, images) = channel();
        let (from, folder, mut n) = (bob.clone(), dir.path().to_owned(), 0);
        let at_bob = Device::with(&net, &bob, |sync| {
            rooted(root)(sync).on_sync(move |_| {
                n += 1;
                let image = folder.join(n.to_string());
                std::fs::create_dir(&image).unwrap();
                from.backup(image.join("driftless.sqlite"), &mut |_, _| {}).unwrap();
                seen.send(image).unwrap();
            })
        })
        .await;
        at_bob.sync.connect(&at_ann.address).await.unwrap();
        until(&bob, "the root", || documents(&bob, &root) == Some(30)).await;
        let images: Vec<_> =
            std::iter::from_fn(|| images.recv_timeout(Duration::from_millis(500)).ok()).collect();
        assert!(images.len() >= 3, "{images:?}");
        for image in images {
            let again = Database::open(&image).unwrap();
            let received = |store: &Database| -> u64 {
                let progress = store.pull_progress().unwrap();
                progress.iter().filter(|row| row.root == root).map(|row| row.received).sum()
            };
            let before = received(&again);
            let at_again = Device::with(&net, &again, rooted(root)).await;
            at_again.sync.connect(&at_ann.address).await.unwrap();
            until(&again, "the rest", || documents(&again, &root) == Some(30)).await;
            at_again.sync.close().await.unwrap();
            // A loss costs at most that all is transferred again, by the pull and by the exchange that a restored copy has
            // with whom it meets first: the space has 32 commits.
            let came = received(&again) - before;
            assert!(came <= 2 * 32, "{came} came to what had counted {before}");
            assert!(again.fsck(None, &mut |_| {}).unwrap().problems.is_empty());
            assert_eq!(again.space("team").unwrap().digest().unwrap(), team.digest().unwrap());
        }
    }
}
