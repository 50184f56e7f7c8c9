//! The flow on a connection and on each change: discover, roots, pull, inject; each side for itself.

use driftless::{Creator, Error, Filter, Roots};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_side_pulls_the_roots_that_it_wants_and_hears_of_every_batch() {
    for net in Net::both() {
        let (ann, bob) = (db("ann"), db("bob"));
        let (team, other) = (ann.create_space("team").unwrap(), ann.create_space("other").unwrap());
        for space in [&team, &other] {
            grant(space, &bob, write());
            fill(space, 0, 20);
        }
        let root = team.id();
        let at_ann = Device::with(&net, &ann, |sync| sync.roots(move |_: &Database| Ok(vec![root]))).await;
        let at_bob = Device::with(&net, &bob, |sync| sync.roots(move |_: &Database| Ok(vec![root]))).await;
        at_bob.sync.connect(&at_ann.address).await.unwrap();
        until(&bob, "the root", || documents(&bob, &root) == Some(20)).await;
        // What the application did not name does not come.
        assert_eq!(documents(&bob, &other.id()), None);
        let batch = at_bob.batches.recv_timeout(LONG).unwrap();
        assert_eq!((batch.peer, batch.root), (ann.peer().unwrap(), root));
        assert_eq!((batch.applied, batch.held + batch.void + batch.wanted + batch.refused), (22, 0));
        assert!(batch.ids.len() == 22 && batch.bytes > 0);

        // Both write; a change is told, and pulled, in both directions.
        fill(&team, 100, 1);
        until(&bob, "what ann wrote", || documents(&bob, &root) == Some(21)).await;
        fill(&bob.space("team").unwrap(), 200, 2);
        until(&ann, "what bob wrote", || documents(&ann, &root) == Some(23)).await;
        let from_bob: u64 = std::iter::repeat_with(|| at_ann.batches.recv_timeout(LONG).unwrap())
            .scan(0, |sum, batch| {
                *sum += batch.applied;
                Some(*sum)
            })
            .find(|sum| *sum >= 2)
            .unwrap();
        assert_eq!(from_bob, 2);
        assert_eq!(team.digest().unwrap(), bob.space("team").unwrap().digest().unwrap());
        // Whoever is told by a hint what it has already asks for nothing.
        at_bob.sync.idle().await;
        let of_root = |progress: Vec<driftless::PullProgress>| -> u64 {
            progress.iter().filter(|row| row.root == root).map(|row| row.applied).sum()
        };
        assert_eq!(of_root(at_bob.sync.progress().unwrap()), 23);
        assert_eq!(of_root(at_ann.sync.progress().unwrap()), 2);
        at_bob.sync.close().await.unwrap();
        assert_eq!(of_root(bob.pull_progress().unwrap()), 23);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_are_asked_for_anew_off_the_lock_and_a_panic_is_contained() {
    let net = Net::memory();
    let (ann, bob) = (db("ann"), db("bob"));
    let team = ann.create_space("team").unwrap();
    grant(&team, &bob, Permission::Read);
    let at_ann = Device::new(&net, &ann).await;
    // The list is what bob's own documents say; the callback uses the database that it is called for.
    let lists = bob.create_space("lists").unwrap().collection("joined").unwrap();
    let query = Roots::query(
        "lists",
        "joined",
        Filter::parse(r#"{"on": true}"#).unwrap(),
        "in.space".parse().unwrap(),
    );
    let at_bob = Device::with(&net, &bob, |sync| sync.roots(query)).await;
    at_bob.sync.connect(&at_ann.address).await.unwrap();
    at_bob.pull().await;
    assert_eq!(documents(&bob, &team.id()), None);
    let joined = format!(r#"{{"on": true, "in": {{"space": ["no space", "{}"]}}}}"#, team.id());
    lists.insert(Map::from_json(&joined).unwrap()).unwrap();
    at_bob.sync.trigger_pull("bob");
    until(&bob, "the root that was joined", || documents(&bob, &team.id()) == Some(0)).await;

    let cem = db("cem");
    let network = net.on(&cem);
    let panicking = |_: &Database| -> Result<Vec<SpaceId>, Error> { panic!("on purpose") };
    let sync = DocumentSync::builder(&network).roots(panicking).start().unwrap();
    sync.connect(&at_ann.address).await.unwrap();
    let flowed = sync.pull_now().await;
    assert!(matches!(flowed[0].failed[..], [(None, Error::Invalid(_))]), "{flowed:?}");
    assert!(matches!(DocumentSync::builder(&network).start(), Err(Error::Exists(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_panics_is_called_for_the_next_batch() {
    let net = Net::memory();
    let (ann, bob) = (db("ann"), db("bob"));
    let team = ann.create_space("team").unwrap();
    grant(&team, &bob, Permission::Read);
    let (root, mut calls) = (team.id(), 0);
    let (heard, batches) = channel();
    let at_ann = Device::new(&net, &ann).await;
    let at_bob = Device::with(&net, &bob, |sync| {
        sync.roots(move |_: &Database| Ok(vec![root])).on_sync(move |_| {
            calls += 1;
            heard.send(calls).unwrap();
            assert!(calls > 1, "on purpose");
        })
    })
    .await;
    at_bob.sync.connect(&at_ann.address).await.unwrap();
    assert_eq!(batches.recv_timeout(LONG), Ok(1));
    fill(&team, 0, 1);
    assert_eq!(batches.recv_timeout(LONG), Ok(2));
    assert_eq!((at_bob.sync.panics(), at_bob.sync.missed()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_told_by_hand_where_that_is_wanted() {
    let net = Net::memory();
    let (ann, bob) = (db("ann"), db("bob"));
    let team = ann.create_space("team").unwrap();
    grant(&team, &bob, Permission::Read);
    let root = team.id();
    let at_ann = Device::with(&net, &ann, DocumentSyncBuilder::notify_by_hand).await;
    let at_bob = Device::with(&net, &bob, |sync| sync.roots(move |_: &Database| Ok(vec![root]))).await;
    at_bob.sync.connect(&at_ann.address).await.unwrap();
    until(&bob, "the root", || documents(&bob, &root) == Some(0)).await;
    at_bob.sync.idle().await;
    fill(&team, 0, 3);
    // A flow that nothing has asked for would be one of these.
    assert_eq!(at_bob.batches.try_iter().map(|batch| batch.ids.len()).sum::<usize>(), 2);
    assert_eq!(documents(&bob, &root), Some(0));
    at_ann.sync.notify_peers();
    until(&bob, "what was told", || documents(&bob, &root) == Some(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_found_by_its_collection_and_whoever_made_it() {
    for net in Net::both() {
        let (ann, bob, eve) = (db("ann"), db("bob"), db("eve"));
        let team = ann.create_space("team").unwrap();
        grant(&team, &bob, Permission::Read);
        let cards = team.collection("cards").unwrap();
        cards.insert(Map::from_json(r#"{"name": "Ann"}"#).unwrap()).unwrap();
        fill(&team, 0, 5);
        let at_ann = Device::new(&net, &ann).await;
        let by_key = Creator::Author(ann.author().unwrap());
        let find = async |who: &Database, by, collection| {
            let device = Device::with(&net, who, |sync| sync.roots(|_: &Database| Ok(Vec::new()))).await;
            device.sync.connect(&at_ann.address).await.unwrap();
            let mut found = device.sync.find(collection, by).await;
            found.pop().unwrap().1.unwrap().documents
        };
        let found = find(&bob, by_key, "cards").await;
        assert_eq!((found.len(), found[0].0), (1, team.id()));
        assert_eq!(found[0].1, cards.find(Filter::all()).run().unwrap()[0]);
        // Nothing of the space is here for that.
        assert_eq!(documents(&bob, &team.id()), None);
        assert_eq!(find(&bob, by_key, "items").await.len(), 5);
        assert!(find(&bob, by_key, "other").await.is_empty());
        assert!(find(&bob, Creator::Author(bob.author().unwrap()), "cards").await.is_empty());
        // Whoever may not read the space finds nothing; nor does the id of a user say more than the asker may read.
        assert!(find(&eve, by_key, "cards").await.is_empty());
        let by_user = Creator::User(user(&ann));
        assert!(find(&bob, by_user, "cards").await.is_empty());
        grant(&ann.make_identity().unwrap(), &bob, Permission::Read);
        assert_eq!(find(&bob, by_user, "cards").await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_is_bounded_and_goes_on_behind_the_spaces_that_it_saw() {
    let (ann, readers) = (db("ann"), |db: &Database| db.readers().unwrap());
    for n in 0..70 {
        let cards = ann.create_space(&format!("space {n}")).unwrap().collection("cards").unwrap();
        (0..2).for_each(|_| _ = cards.insert(Map::new()).unwrap());
    }
    let by = Creator::Author(ann.author().unwrap());
    let first = ann.find_by("cards", by, &readers(&ann), None).unwrap();
    assert_eq!((first.documents.len(), first.cut), (64, false));
    let (mut after, mut all) = (first.next, first.documents.len());
    while let Some(space) = after {
        let page = ann.find_by("cards", by, &readers(&ann), Some(space)).unwrap();
        (after, all) = (page.next, all + page.documents.len());
    }
    assert_eq!(all, 140);
    // What does not fit is left out, and it is said that something is.
    let large = ann.create_space("large").unwrap().collection("large").unwrap();
    for size in [400_000, 10, 400_000] {
        let text = "x".repeat(size);
        large.insert(Map::from_json(&format!(r#"{{"text": "{text}"}}"#)).unwrap()).unwrap();
    }
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = ann.find_by("large", by, &readers(&ann), after).unwrap();
        found.push((page.documents.len(), page.cut));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    found.retain(|(count, _)| *count > 0);
    assert_eq!(found, [(2, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_looks_at_everything_again_and_transfers_only_what_is_missing() {
    let net = Net::memory();
    let (ann, bob) = (db("ann"), db("bob"));
    let team = ann.create_space("team").unwrap();
    grant(&team, &bob, Permission::Read);
    fill(&team, 0, 100);
    let root = team.id();
    let at_ann = Device::new(&net, &ann).await;
    let at_bob = Device::with(&net, &bob, |sync| sync.roots(move |_: &Database| Ok(vec![root]))).await;
    at_bob.sync.connect(&at_ann.address).await.unwrap();
    until(&bob, "the root", || documents(&bob, &root) == Some(100)).await;
    at_bob.sync.idle().await;
    at_bob.sync.reset_for_root(&root).unwrap();
    let again = || at_bob.sync.progress().unwrap().iter().any(|row| row.root == root && row.reconciled == 1);
    until(&bob, "the pull after the reset", again).await;
    at_bob.sync.idle().await;
    let progress = at_bob.sync.progress().unwrap();
    assert_eq!(progress.iter().map(|row| row.received).sum::<u64>(), 0, "{progress:?}");
    at_bob.sync.reset_all().unwrap();
    until(&bob, "the pull after the second reset", again).await;
    fill(&team, 500, 1);
    until(&bob, "what came after", || documents(&bob, &root) == Some(101)).await;
}
