//! Live queries: that they tell what is so, what they cost, and when they end. A reading handle stands for a second
//! process: it has a connection of its own, and hears nothing from the one that writes.

use std::collections::BTreeMap;
use std::time::Duration;

use driftless::{
    Access, Collection, Database, Document, DocumentId, Durability, Filter, Insert, Permission, Strength,
    Subject, Watch, WatchEvent, WatchKind, operators_from_json,
};

use crate::pen::{Pen, body, bundle_of, bundle_of_received, without_body};
use crate::simulated::{Hand, bundle, database, filter, folder, import, map, send};

const SOON: Duration = Duration::from_secs(20);

fn reader(at: &std::path::Path) -> Database {
    Database::builder().access(Access::Read).open(at).unwrap()
}

// Everything that a watch has to tell now.
fn drain(watch: &mut Watch) -> Vec<WatchEvent> {
    std::iter::from_fn(|| watch.wait_for(Duration::ZERO).unwrap()).collect()
}

// What a watch has told so far, applied.
#[derive(Default)]
struct Heard(BTreeMap<DocumentId, Document>);

impl Heard {
    fn hear(&mut self, watch: &mut Watch) {
        for event in drain(watch) {
            match (event.kind, event.id, event.document) {
                (WatchKind::Ready, ..) => {}
                (WatchKind::Insert, Some(id), Some(document)) => {
                    assert!(self.0.insert(id, document).is_none(), "inserted twice");
                }
                (WatchKind::Update, Some(id), Some(document)) => {
                    let before = self.0.insert(id, document.clone());
                    assert!(before.is_some_and(|before| before != document), "no difference is told");
                }
                (WatchKind::Delete, Some(id), None) => assert!(self.0.remove(&id).is_some()),
                (kind, id, document) => panic!("{kind:?} {id:?} {document:?}"),
            }
        }
    }

    fn is(&self, collection: &Collection, wanted: &str) {
        let found = collection.find(filter(wanted)).run().unwrap();
        let found: BTreeMap<_, _> =
            found.into_iter().map(|document| (document.id.clone(), document)).collect();
        assert_eq!(self.0, found);
    }
}

fn insert(into: &Collection, id: i64, json: &str) {
    into.insert_with(map(json), Insert { id: Some(id.into()), parent: None }).unwrap();
}

fn edit(in_: &Collection, id: i64, json: &str) {
    in_.edit(&id.into(), operators_from_json(json).unwrap()).unwrap();
}

#[test]
fn ten_changes_among_a_hundred_thousand_documents_are_ten_looks() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("db");
    let db = Database::open(&at).unwrap();
    let items = db.create_space("home").unwrap().collection("items").unwrap();
    for first in (0..100_000).step_by(10_000) {
        let mut transaction = db.transaction();
        for n in first..first + 10_000 {
            let insert = Insert { id: Some(n.into()), parent: None };
            transaction.insert_with(&items, map(&format!(r#"{{"n": {n}}}"#)), insert).unwrap();
        }
        transaction.commit().unwrap();
    }
    // Few match, so that the first look is the only expensive thing.
    let wanted = || filter(r#"{"n": {"$lt": 100}}"#);
    let other = reader(&at);
    let there = other.space("home").unwrap().collection("items").unwrap();
    let (mut writing, mut reading) = (items.watch(wanted()).unwrap(), there.watch(wanted()).unwrap());
    assert_eq!((drain(&mut writing).len(), drain(&mut reading).len()), (101, 101));
    let before = (writing.looked_at(), reading.looked_at());
    assert_eq!(before, (100_000, 100_000));
    for n in [0, 1, 2, 3, 4, 50_000, 60_000, 70_000, 80_000, 90_000] {
        edit(&items, n, r#"{"$set": {"seen": true}}"#);
    }
    for watch in [&mut writing, &mut reading] {
        let told: Vec<_> = drain(watch).into_iter().map(|event| (event.kind, event.id)).collect();
        let wanted: Vec<_> = (0..5).map(|n: i64| (WatchKind::Update, Some(n.into()))).collect();
        assert_eq!(told, wanted);
    }
    assert_eq!((writing.looked_at() - before.0, reading.looked_at() - before.1), (10, 10));
    // A file in which nothing has changed costs nothing.
    other.refresh().unwrap();
    assert!(drain(&mut reading).is_empty());
    assert_eq!(reading.looked_at() - before.1, 10);
}

#[test]
fn a_watch_that_fell_behind_looks_at_what_changed_and_not_at_everything() {
    let db = database(1, &Hand::new());
    let space = db.create_space("home").unwrap();
    let (items, others) = (space.collection("items").unwrap(), space.collection("others").unwrap());
    let mut transaction = db.transaction();
    for n in 0..6000 {
        transaction.insert_with(&items, map("{}"), Insert { id: Some(n.into()), parent: None }).unwrap();
    }
    transaction.commit().unwrap();
    let (mut watch, mut heard) = (items.watch(Filter::all()).unwrap(), Heard::default());
    heard.hear(&mut watch);
    let before = watch.looked_at();
    for n in 0..3000 {
        edit(&items, n % 3, r#"{"$inc": {"n": 1}}"#);
        insert(&others, n, "{}");
    }
    heard.hear(&mut watch);
    heard.is(&items, "{}");
    assert!(watch.looked_at() - before <= 6, "{}", watch.looked_at() - before);
}

#[test]
fn a_change_costs_watches_on_other_collections_nothing() {
    let db = database(1, &Hand::new());
    let (home, away) = (db.create_space("home").unwrap(), db.create_space("away").unwrap());
    let mut others: Vec<Watch> = (0..1000)
        .map(|n| {
            let space = if n % 2 == 0 { &home } else { &away };
            space.collection(&format!("c{n}")).unwrap().watch(Filter::all()).unwrap()
        })
        .collect();
    let here = home.collection("c1").unwrap();
    let mut watch = here.watch(Filter::all()).unwrap();
    drain(&mut watch);
    for n in 0..50 {
        insert(&here, n, "{}");
    }
    assert_eq!(drain(&mut watch).len(), 50);
    for watch in &mut others {
        assert_eq!(drain(watch).len(), 1, "only that it is ready");
        assert_eq!(watch.looked_at(), 0);
    }
}

#[test]
fn two_watches_of_one_reading_process_both_see_a_change() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("db");
    let db = folder(1, &Hand::new(), &at);
    let items = db.create_space("home").unwrap().collection("items").unwrap();
    let other = reader(&at);
    let there = other.space("home").unwrap().collection("items").unwrap();
    let mut watches = [there.watch(Filter::all()).unwrap(), there.watch(Filter::all()).unwrap()];
    // The collection did not even exist.
    insert(&items, 1, "{}");
    for watch in &mut watches {
        assert_eq!(watch.wait_for(SOON).unwrap().unwrap().kind, WatchKind::Ready);
        assert_eq!(watch.wait_for(SOON).unwrap().unwrap().kind, WatchKind::Insert);
    }
}

#[tokio::test]
async fn a_task_waits_for_a_watch_without_a_thread() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("db");
    let db = folder(1, &Hand::new(), &at);
    let items = db.create_space("home").unwrap().collection("items").unwrap();
    let other = reader(&at);
    let there = other.space("home").unwrap().collection("items").unwrap();
    let mut watches = [items.watch(Filter::all()).unwrap(), there.watch(Filter::all()).unwrap()];
    for watch in &mut watches {
        assert!(watch.ready().await, "the first result waits");
        assert_eq!(drain(watch).len(), 1);
    }
    // Nothing is left behind by a change that came before anybody waited for it.
    insert(&items, 1, "{}");
    insert(&items, 2, "{}");
    for watch in &mut watches {
        let mut told = Vec::new();
        while told.len() < 2 {
            assert!(watch.ready().await);
            told.extend(drain(watch));
        }
        assert!(told.iter().all(|event| event.kind == WatchKind::Insert), "{told:?}");
    }
    let writing = async {
        tokio::task::yield_now().await;
        insert(&items, 3, "{}");
    };
    let (ready, ()) = tokio::join!(watches[0].ready(), writing);
    assert!(ready);
    assert_eq!(drain(&mut watches[0]).len(), 1);
    drop((db, items, other, there));
    for watch in &mut watches {
        assert!(!watch.ready().await, "the database is closed");
    }
}

#[test]
fn a_watch_ends_with_the_last_other_handle() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("db");
    let db = folder(1, &Hand::new(), &at);
    let items = db.create_space("home").unwrap().collection("items").unwrap();
    let other = reader(&at);
    let there = other.space("home").unwrap().collection("items").unwrap();
    let mut watches = [items.watch(Filter::all()).unwrap(), there.watch(Filter::all()).unwrap()];
    watches.iter_mut().for_each(|watch| drop(drain(watch)));
    std::thread::scope(|scope| {
        for watch in &mut watches {
            scope.spawn(|| assert_eq!(watch.wait().unwrap(), None));
        }
        drop((db, items, other, there));
    });
    // It holds nothing of the database: the writer lock is free.
    folder(2, &Hand::new(), &at);
}

#[test]
fn commits_that_change_their_effect_are_seen_from_outside() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("db");
    let hand = Hand::new();
    let ann = folder(1, &hand, &at);
    let space = ann.create_space("team").unwrap();
    let grant = space.grant(Subject::Key(Pen::author(9)), Permission::Write(Strength(10))).unwrap();
    let bob = database(2, &hand);
    space.grant(Subject::Key(bob.author().unwrap()), Permission::Admin(Strength(1))).unwrap();
    let at_bob = send(&space, &bob);
    let notes = space.collection("notes").unwrap();
    let other = reader(&at);
    let there = other.space("team").unwrap().collection("notes").unwrap();
    let (mut watch, mut heard) = (there.watch(Filter::all()).unwrap(), Heard::default());
    let mut pen = Pen::new(9, space.id());
    hand.advance(5000);
    let mut sees = |documents: usize, looks: u64| {
        let before = watch.looked_at();
        heard.hear(&mut watch);
        heard.is(&there, "{}");
        heard.is(&notes, "{}");
        assert_eq!((heard.0.len(), watch.looked_at() - before), (documents, looks));
    };
    // Its body comes later.
    let one = pen.write(None, &[grant], false, body(1, &[]));
    import(&ann, &bundle_of_received([without_body(&one)]));
    sees(0, 0);
    import(&ann, &bundle_of([&one]));
    sees(1, 1);
    // A transaction, the rest of which comes later.
    let two = pen.write(Some(&one), &[], true, body(2, &[]));
    import(&ann, &bundle_of([&two]));
    sees(1, 1);
    let three = pen.write(Some(&two), &[], false, body(3, &[]));
    import(&ann, &bundle_of([&three]));
    sees(3, 2);
    // Taken back: the document that is told to go, and that of the commit which does it.
    let four = pen.write(Some(&three), &[], false, body(4, &[one.id()]));
    import(&ann, &bundle_of([&four]));
    sees(3, 2);
    // A stronger key that knew of nothing takes the right away from all that was not taken back.
    at_bob.revoke(Subject::Key(Pen::author(9))).unwrap();
    import(&ann, &bundle(&at_bob));
    sees(0, 3);
    // Derived again from the log: everything is looked at, nothing is told.
    insert(&notes, 7, "{}");
    sees(1, 1);
    space.rebuild().unwrap();
    sees(1, 1);
}

#[test]
fn whatever_happens_what_was_told_is_what_is_found() {
    const WANTED: &str = r#"{"n": {"$gte": 0}}"#;
    for seed in 1..=4u64 {
        let home = tempfile::tempdir().unwrap();
        let (at, hand) = (home.path().join("db"), Hand::new());
        let ann = folder(1, &hand, &at);
        let space = ann.create_space("team").unwrap();
        let items = space.collection("items").unwrap();
        let peers = [database(2, &hand), database(3, &hand)];
        let keys = [0, 1].map(|n: usize| Subject::Key(peers[n].author().unwrap()));
        // One is an administrator, the other one's right comes and goes.
        space.grant(keys[0], Permission::Admin(Strength(1))).unwrap();
        let write = Permission::Write(Strength(10));
        space.grant(keys[1], write).unwrap();
        let spaces = [send(&space, &peers[0]), send(&space, &peers[1])];
        let other = reader(&at);
        let there = other.space("team").unwrap().collection("items").unwrap();
        let mut watches = [items.watch(filter(WANTED)).unwrap(), there.watch(filter(WANTED)).unwrap()];
        let mut heard = [Heard::default(), Heard::default()];
        let mut random = seed;
        let mut below = |limit: u64| {
            // Knuth's constants; the high bits are the good ones.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % limit
        };
        let mut told = 0;
        for _ in 0..400 {
            hand.advance(1 + below(3));
            let who = below(3) as usize;
            let writes_to = if who == 0 { &space } else { &spaces[who - 1] };
            let (id, n) = (below(20) as i64, below(7) as i64 - 2);
            let set = operators_from_json(&format!(r#"{{"$set": {{"n": {n}}}}}"#)).unwrap();
            let restore = operators_from_json(r#"{"$restore": true}"#).unwrap();
            // Who may not write just now does not.
            match below(10) {
                0 | 1 => {
                    let insert = Insert { id: Some(id.into()), parent: None };
                    let fields = map(&format!(r#"{{"n": {n}}}"#));
                    drop(writes_to.collection("items").unwrap().insert_with(fields, insert));
                }
                2 | 3 => drop(writes_to.collection("items").unwrap().edit(&id.into(), set)),
                4 if below(2) == 0 => drop(writes_to.collection("items").unwrap().edit(&id.into(), restore)),
                4 => drop(writes_to.collection("items").unwrap().delete(&id.into())),
                5 | 6 => drop(import(&ann, &bundle(&spaces[below(2) as usize]))),
                7 => drop(import(&peers[below(2) as usize], &bundle(&space))),
                8 => {
                    // What the other one had written, and the administrator had not seen, loses its effect.
                    import(&ann, &bundle(&spaces[1]));
                    spaces[0].revoke(keys[1]).unwrap();
                    import(&ann, &bundle(&spaces[0]));
                }
                _ if below(2) == 0 => {
                    space.grant(keys[1], write).unwrap();
                    import(&peers[1], &bundle(&space));
                }
                _ if below(4) == 0 => drop(space.rebuild().unwrap()),
                _ => {}
            }
            // Sometimes several things happen before anybody looks.
            if below(3) == 0 {
                for (watch, heard) in watches.iter_mut().zip(&mut heard) {
                    heard.hear(watch);
                    heard.is(&items, WANTED);
                    told = told.max(heard.0.len());
                }
            }
        }
        let counts = ann.status().unwrap().spaces[0].counts;
        assert!(counts.void > 3, "seed {seed}: {counts:?}");
        assert!(told > 3, "seed {seed} told at most {told}");
    }
}

#[test]
fn batched_changes_are_told_when_they_are_durable() {
    let hour = Durability::Batched(Duration::from_secs(3600));
    let db = Database::builder().durability(hour).memory().unwrap();
    let items = db.create_space("home").unwrap().collection("items").unwrap();
    let mut watch = items.watch(Filter::all()).unwrap();
    drain(&mut watch);
    insert(&items, 1, "{}");
    assert!(drain(&mut watch).is_empty());
    db.flush().unwrap();
    assert_eq!(drain(&mut watch).len(), 1);
}
