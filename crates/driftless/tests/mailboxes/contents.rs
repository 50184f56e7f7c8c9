//! Contents that come later than their commits: from elsewhere, or because a filter lets them through now.

use driftless::MailboxFilter;

use super::*;

fn small_only() -> MailboxFilter {
    Arc::new(|commit| commit.bytes < 1000)
}

fn large(space: &Space) {
    let fields = Map::from_json(&format!(r#"{{"text": "{}"}}"#, "x".repeat(5000))).unwrap();
    space.collection("items").unwrap().insert(fields).unwrap();
}

fn wanted(db: &Database) -> u64 {
    db.status().unwrap().spaces[0].counts.wanted
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_kept_back_is_sent_once_it_lets_it_through() {
    let place = MemoryMailbox::new();
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    let (at_ann, at_bob) = (on(&ann, here.id(), &place), on(&bob, here.id(), &place));
    fill(&here, 0, 4);
    large(&here);
    fill(&here, 10, 4);
    large(&here);
    let filtered = MailboxOptions { send_filter: Some(small_only()), ..MailboxOptions::default() };
    for _ in 0..2 {
        sync_with(&at_ann, &filtered).await;
    }
    assert_eq!(place.names().len(), 1);
    sync(&at_bob).await;
    assert_eq!(wanted(&bob), 2);
    // Only what was kept back travels, and only once.
    assert_eq!(sync(&at_ann).await.sent, 2);
    assert_eq!(sync(&at_ann).await.sent, 0);
    assert_eq!(sync(&at_bob).await.alarms, []);
    assert_eq!(wanted(&bob), 0);
    same(&[&here, &space_of(&bob, here.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_that_came_another_way_are_put_there_for_those_who_want_them() {
    let place = MemoryMailbox::new();
    let (ann, bob, cid) =
        (Database::memory().unwrap(), Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    let at = |db: &Database| on(db, here.id(), &place);
    large(&here);
    let filtered = MailboxOptions { send_filter: Some(small_only()), ..MailboxOptions::default() };
    sync_with(&at(&ann), &filtered).await;
    for db in [&bob, &cid] {
        sync(&at(db)).await;
        sync(&at(db)).await;
        assert_eq!(wanted(db), 1);
    }
    // By hand.
    let mut bundle = Vec::new();
    here.export(&mut bundle, &mut |_| ()).unwrap();
    bob.import(&mut bundle.as_slice(), &mut |_| ()).unwrap();
    assert_eq!(wanted(&bob), 0);
    assert_eq!(sync(&at(&bob)).await.sent, 1);
    sync(&at(&cid)).await;
    assert_eq!(wanted(&cid), 0);
    same(&[&here, &space_of(&cid, here.id())]);
    // Then nobody has anything to say.
    for db in [&ann, &bob, &cid] {
        sync(&at(db)).await;
    }
    for db in [&ann, &bob, &cid] {
        let idle = sync(&at(db)).await;
        assert_eq!((idle.sent, idle.bytes_in, idle.alarms.len()), (0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_left_out_is_fetched_once_nothing_filters() {
    let place = MemoryMailbox::new();
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    let (at_ann, at_bob) = (on(&ann, here.id(), &place), on(&bob, here.id(), &place));
    fill(&here, 0, 12);
    large(&here);
    fill(&here, 20, 12);
    sync_with(&at_ann, &small()).await;
    let filtered = MailboxOptions { receive_filter: Some(small_only()), ..MailboxOptions::default() };
    sync_with(&at_bob, &filtered).await;
    assert_eq!(wanted(&bob), 1);
    // Of six objects only the one that had it is read again.
    let again = sync(&at_bob).await;
    assert_eq!((again.objects_in, wanted(&bob)), (1, 0));
    same(&[&here, &space_of(&bob, here.id())]);
    assert_eq!(sync(&at_bob).await.bytes_in, 0);
}
