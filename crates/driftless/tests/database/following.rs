//! What mirrors a space: edits that were made before they are told, and what changed since a place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{
    Database, DocumentId, Map, Permission, Place, Space, Strength, Subject, operators_from_json,
};

const NOON: u64 = 1_700_000_000_000;

struct Hand {
    space: Space,
    now: Arc<AtomicU64>,
}

impl Hand {
    fn database() -> (Database, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(NOON));
        let clock = now.clone();
        let database = Database::builder().clock(move || clock.load(Ordering::Relaxed)).memory().unwrap();
        (database, now)
    }

    fn pair() -> (Self, Self) {
        let ((ann, ann_now), (bob, bob_now)) = (Self::database(), Self::database());
        let space = ann.create_space("shop").unwrap();
        space.grant(Subject::Key(bob.author().unwrap()), Permission::Write(Strength(5))).unwrap();
        let ann = Self { space, now: ann_now };
        bob.import(&mut &*ann.bundle(), &mut |_| {}).unwrap();
        let space = bob.space("shop").unwrap();
        (ann, Self { space, now: bob_now })
    }

    fn bundle(&self) -> Vec<u8> {
        let mut bundle = Vec::new();
        self.space.export(&mut bundle, &mut |_| {}).unwrap();
        bundle
    }

    fn take(&self, from: &Self) {
        self.space.database().import(&mut &*from.bundle(), &mut |_| {}).unwrap();
    }

    fn set(&self, at: Option<u64>, field: &str, value: i64) {
        let items = self.space.collection("items").unwrap();
        let mut transaction = self.space.database().transaction();
        if let Some(at) = at {
            transaction.at(at);
        }
        let operators = operators_from_json(&format!(r#"{{"$set": {{"{field}": {value}}}}}"#)).unwrap();
        transaction.edit_unseen(&items, &1.into(), operators).unwrap();
        transaction.commit().unwrap();
    }

    fn fields(&self) -> String {
        self.space.collection("items").unwrap().get(&1.into()).unwrap().unwrap().fields.to_json()
    }

    fn last(&self) -> u64 {
        let line = self.space.log(driftless::LogQuery { document: None, limit: Some(1) }).unwrap().remove(0);
        line.time.ms()
    }
}

#[test]
fn an_edit_made_earlier_loses_to_what_was_written_between_whoever_hears_first() {
    let (ann, bob) = Hand::pair();
    ann.now.store(NOON + 60_000, Ordering::Relaxed);
    bob.now.store(NOON + 120_000, Ordering::Relaxed);
    ann.set(None, "price", 1);
    // Bob has Ann's commit when he tells what he did before it.
    bob.take(&ann);
    bob.set(Some(NOON + 30_000), "price", 2);
    bob.set(Some(NOON + 30_000), "stock", 7);
    ann.take(&bob);
    assert_eq!((ann.fields(), bob.fields()), (bob.fields(), r#"{"price":1,"stock":7}"#.to_owned()));
}

#[test]
fn a_time_is_never_after_now_and_never_before_the_authors_last() {
    let (ann, _) = Hand::pair();
    ann.now.store(NOON + 60_000, Ordering::Relaxed);
    ann.set(Some(NOON + 3_600_000), "n", 1);
    assert_eq!(ann.last(), NOON + 60_000);
    ann.set(Some(NOON - 3_600_000), "n", 2);
    assert_eq!(ann.last(), NOON + 60_000);
    assert_eq!(ann.fields(), r#"{"n":2}"#);
}

#[test]
fn who_may_write_only_since_a_grant_writes_after_it() {
    let (ann, bob) = Hand::pair();
    bob.set(Some(NOON - 3_600_000), "n", 1);
    ann.take(&bob);
    assert_eq!(ann.fields(), r#"{"n":1}"#);
    assert_eq!(bob.last(), NOON);
}

#[test]
fn one_transaction_may_hold_edits_of_several_times_and_takes_effect_as_one() {
    let (ann, bob) = Hand::pair();
    ann.now.store(NOON + 60_000, Ordering::Relaxed);
    let items = ann.space.collection("items").unwrap();
    let mut transaction = ann.space.database().transaction();
    for n in 0..3u64 {
        transaction.at(NOON + 1000 * (n + 1));
        transaction
            .edit_unseen(&items, &(n as i64).into(), operators_from_json(r#"{"$set":{"a":1}}"#).unwrap())
            .unwrap();
    }
    assert_eq!(transaction.len(), 3);
    transaction.commit().unwrap();
    let log = ann.space.log(driftless::LogQuery::default()).unwrap();
    let times: Vec<u64> = log.iter().map(|line| line.time.ms() - NOON).filter(|ms| *ms > 0).collect();
    assert_eq!(
        {
            let mut sorted = times.clone();
            sorted.sort_unstable();
            sorted
        },
        [1000, 2000, 3000]
    );
    bob.take(&ann);
    assert_eq!(bob.space.digest().unwrap().documents, 3);
}

#[test]
fn a_place_says_what_changed_since_and_skips_what_one_wrote_oneself() {
    let (ann, bob) = Hand::pair();
    let start = bob.space.changed_since(None).unwrap();
    assert_eq!(start.documents, None);
    let kept = Place::from_bytes(&start.place.to_bytes()).unwrap();
    assert_eq!(bob.space.changed_since(Some(&kept)).unwrap().documents, Some(BTreeMap::new()));
    ann.set(None, "n", 1);
    bob.take(&ann);
    let since = bob.space.changed_since(Some(&kept)).unwrap();
    assert_eq!(since.documents, Some(BTreeMap::from([("items".to_owned(), vec![DocumentId::from(1)])])));

    let write = |place: &Place, at: Option<u64>| {
        let items = bob.space.collection("items").unwrap();
        let mut transaction = bob.space.database().transaction();
        if let Some(at) = at {
            transaction.at(at);
        }
        transaction
            .edit_unseen(&items, &2.into(), operators_from_json(r#"{"$set":{"m":1}}"#).unwrap())
            .unwrap();
        transaction.commit_from(&bob.space, place).unwrap()
    };
    // From a place before the other's commit: there is something to look at.
    assert_eq!(write(&kept, None), None);
    let place = bob.space.changed_since(Some(&kept)).unwrap().place;
    let next = write(&place, None).unwrap();
    assert_eq!(bob.space.changed_since(Some(&next)).unwrap().documents, Some(BTreeMap::new()));
    // What is older than something here may have lost against it.
    ann.now.store(NOON + 5000, Ordering::Relaxed);
    bob.now.store(NOON + 5000, Ordering::Relaxed);
    ann.set(None, "n", 2);
    bob.take(&ann);
    let place = bob.space.changed_since(Some(&next)).unwrap().place;
    assert_eq!(write(&place, Some(NOON + 2000)), None);
    // A place of another database is none.
    assert_eq!(ann.space.changed_since(Some(&place)).unwrap().documents, None);
}

#[test]
fn documents_come_many_at_a_time_and_page_by_page() {
    let db = Database::memory().unwrap();
    let items = db.create_space("shop").unwrap().collection("items").unwrap();
    for n in 0..10 {
        items.save(&n.into(), Map::from_json(&format!(r#"{{"n":{n}}}"#)).unwrap()).unwrap();
    }
    items.delete(&3.into()).unwrap();
    let many = items.get_many(&[2.into(), 3.into(), 77.into()]).unwrap();
    assert_eq!(many.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let (page, next) = items.page(after, 4).unwrap();
        seen.extend(page.into_iter().map(|document| (document.id.to_string(), document.deleted)));
        let Some(next) = next else { break };
        after = next;
    }
    assert_eq!(seen.len(), 10);
    assert_eq!(
        seen.iter().filter(|(_, deleted)| *deleted).map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
        ["3"]
    );
}

#[test]
fn a_transaction_says_which_documents_it_edits_and_whether_it_can_be_written() {
    let database = Database::memory().unwrap();
    let space = database.create_space("shop").unwrap();
    let (t, other) = (space.collection("t").unwrap(), space.collection("other").unwrap());
    let mut transaction = database.transaction();
    let fields = |text: String| Map::from_iter([("v", driftless::Value::from(text))]);
    let one = transaction.insert(&t, fields("x".repeat(900_000))).unwrap();
    let two = transaction.insert(&other, fields("y".into())).unwrap();
    let said: Vec<_> = transaction.documents().collect();
    assert_eq!(said, [(space.id(), "t", &one), (space.id(), "other", &two)]);
    transaction.check().unwrap();
    transaction.insert(&t, fields("z".repeat(1_100_000))).unwrap();
    assert_eq!(transaction.check().unwrap_err().code(), "invalid");
}

#[test]
fn a_secret_is_the_same_for_one_purpose_and_one_database_only() {
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let secret = ann.secret_for("files").unwrap();
    assert_eq!(secret, ann.clone().secret_for("files").unwrap());
    assert_ne!(secret, ann.secret_for("other files").unwrap());
    assert_ne!(secret, bob.secret_for("files").unwrap());
}

#[test]
fn a_page_of_large_documents_has_fewer_of_them() {
    let db = Database::memory().unwrap();
    let items = db.create_space("shop").unwrap().collection("items").unwrap();
    for n in 0..12 {
        let text = "x".repeat(800_000);
        items.save(&n.into(), Map::from_json(&format!(r#"{{"text":"{text}"}}"#)).unwrap()).unwrap();
    }
    let (mut after, mut pages) = (0, Vec::new());
    while let (page, Some(next)) = items.page(after, 512).unwrap() {
        (after, pages) = (next, [pages, vec![page.len()]].concat());
    }
    assert_eq!(pages.iter().sum::<usize>(), 12);
    assert!(pages.iter().all(|count| *count <= 6), "{pages:?}");
}
