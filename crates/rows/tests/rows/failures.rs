//! What other programs for the same purpose got wrong, each as a fact that holds here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{Database, Map};
use driftless_rows::{Options, Rows};

use crate::shop::{assert_same, carry, meet, settle, shops};

const SCHEMA: &str = "CREATE TABLE t(id TEXT PRIMARY KEY, a, b);";

fn both(shops: &[crate::shop::Shop]) {
    carry(&shops.iter().collect::<Vec<_>>());
}

// The same devices, but one's clock is elsewhere.
fn with_clock(ms: u64) -> Vec<crate::shop::Shop> {
    let mut all = shops(2, SCHEMA);
    let now = Arc::new(AtomicU64::new(ms));
    let database = Database::builder().clock(move || now.load(Ordering::Relaxed)).memory().unwrap();
    let key = driftless::Subject::Key(database.author().unwrap());
    all[0].space.grant(key, driftless::Permission::Write(driftless::Strength(3))).unwrap();
    database.import(&mut &*all[0].bundle(), &mut |_| {}).unwrap();
    let late = all.pop().unwrap();
    let space = database.space("catalogue").unwrap();
    driftless_rows::detach(&late.path).unwrap();
    let rows = Rows::attach(&late.path, &space, Options::default()).unwrap();
    all.push(crate::shop::Shop { database, space, rows: Some(rows), ..late });
    meet(&all.iter().collect::<Vec<_>>());
    all
}

#[test]
fn a_device_whose_clock_is_behind_is_heard_and_its_later_edits_win() {
    // Two minutes behind what it has seen, as a hybrid clock knows.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut all = with_clock(u64::try_from(now.as_millis()).unwrap() - 120_000);
    all[0].sql("INSERT INTO t VALUES('1', 'x', 0)");
    settle(&mut all);
    all[1].sql("INSERT INTO t VALUES('2', 'y', 0); UPDATE t SET a = 'later' WHERE id = '1'");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].quoted("SELECT a v FROM t ORDER BY id"), "'later' 'y'");
}

#[test]
fn edits_in_one_millisecond_end_the_same_whoever_hears_first() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut all = shops(3, SCHEMA);
        all[0].sql("INSERT INTO t VALUES('1', 'x', 0)");
        settle(&mut all);
        for (at, shop) in all.iter().enumerate() {
            shop.sql(&format!("UPDATE t SET a = {at}, b = {at}"));
            // All triggers saw one and the same millisecond.
            shop.sql("UPDATE driftless_pending SET at = 4000000000000");
        }
        for at in order {
            all[at].sync();
            both(&all);
        }
        settle(&mut all);
        assert_same(&all);
    }
}

#[test]
fn an_older_edit_that_arrives_after_history_was_packed_changes_nothing_that_is_newer() {
    let mut all = shops(2, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('1', 'x', 0)");
    settle(&mut all);
    all[0].sql("UPDATE t SET a = 'old', b = 'late'");
    all[0].sync();
    all[1].sql("UPDATE t SET a = 'new'");
    all[1].sync();
    all[1].database.compact(&mut |_, _| {}).unwrap();
    all[0].database.compact(&mut |_, _| {}).unwrap();
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].quoted("SELECT a || b v FROM t"), "'newlate'");
}

#[test]
fn one_exchange_goes_both_ways() {
    let mut all = shops(2, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('1', 'x', 0)");
    all[0].sync();
    both(&all);
    all[1].sql("INSERT INTO t VALUES('2', 'y', 0)");
    let done = all[1].sync();
    assert_eq!((done.flushed.rows, done.applied.inserted), (1, 1));
}

#[test]
fn one_key_on_two_devices_never_stops_a_third() {
    let mut all = shops(3, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('1', 'here', 0)");
    all[1].sql("INSERT INTO t VALUES('1', 'there', 1), ('2', 'z', 2)");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[2].quoted("SELECT count(*) v FROM t"), "2");
}

#[test]
fn documents_that_no_table_can_show_are_kept_and_stop_nothing() {
    let mut all =
        shops(2, "CREATE TABLE t(id TEXT PRIMARY KEY, a, b); CREATE TABLE n(id INTEGER PRIMARY KEY, v);");
    let map = |json: &str| Map::from_json(json).unwrap();
    let ids = |text: &str| driftless::DocumentId::parse_text(text).unwrap();
    let t = all[0].space.collection("t").unwrap();
    t.save(&ids("odd"), map(r#"{"a": {"deep": [1, {"x": true}]}, "b": true, "more": 1, "id": "other"}"#))
        .unwrap();
    t.save(&5.into(), map(r#"{"a": 1}"#)).unwrap();
    t.save(&ids(r#"["a", "b"]"#), map(r#"{"a": 1}"#)).unwrap();
    all[0].space.collection("n").unwrap().save(&ids("word"), map(r#"{"v": 1}"#)).unwrap();
    all[0].space.collection("unheard").unwrap().insert(map("{}")).unwrap();
    all[1].sql("INSERT INTO t VALUES('good', 'y', 0)");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT id v FROM t ORDER BY 1"), "'good' 'odd'");
    assert_eq!(all[1].quoted("SELECT a || b v FROM t WHERE id = 'odd'"), "'{\"deep\":[1,{\"x\":true}]}1'");
    let mut waiting = all[1].waiting();
    waiting.sort();
    let reasons: Vec<&str> = waiting.iter().map(|(.., reason)| reason.as_str()).collect();
    assert_eq!(reasons, ["key", "column_missing", "key", "key"], "{waiting:?}");
    // The application changes what it sees of it; the rest of the document stays.
    all[1].sql("UPDATE t SET b = 7 WHERE id = 'odd'");
    settle(&mut all);
    let kept = t.get(&ids("odd")).unwrap().unwrap().fields.to_json();
    assert_eq!(kept, r#"{"a":{"deep":[1,{"x":true}]},"b":7,"id":"other","more":1}"#);
}

#[test]
fn zero_the_empty_text_and_null_are_values_like_others() {
    let mut all = shops(2, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('', 1, 'x'), ('0', 'y', 2)");
    settle(&mut all);
    all[0].sql("UPDATE t SET a = 0, b = ''; UPDATE t SET b = NULL WHERE id = '0'");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT a || ':' || coalesce(b, 'null') v FROM t ORDER BY id"), "'0:' '0:null'");
    all[1].sql("UPDATE t SET a = NULL, b = x''");
    settle(&mut all);
    assert_same(&all);
}

#[test]
fn a_row_created_deleted_and_created_again_is_one_row_for_who_changes_it_meanwhile() {
    let mut all = shops(2, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('1', 'first', 1)");
    settle(&mut all);
    all[1].sql("UPDATE t SET b = 2");
    all[0].sql("DELETE FROM t; INSERT INTO t VALUES('1', 'second', 3); DELETE FROM t; INSERT INTO t VALUES('1', 'third', 4)");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT a v FROM t"), "'third'");
    all[0].sql("INSERT INTO t VALUES('2', 'never', 0); DELETE FROM t WHERE id = '2'");
    assert_eq!(all[0].sync().flushed.rows, 0);
}

#[test]
fn thousands_of_changes_take_no_longer_than_they_take() {
    let mut all = shops(2, SCHEMA);
    all[0].sql("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 5000) INSERT INTO t SELECT 'k' || n, n, NULL FROM s");
    assert_eq!(all[0].sync().flushed.rows, 5000);
    both(&all);
    assert_eq!(all[1].sync().applied.inserted, 5000);
    assert_same(&all);
}

#[test]
fn a_change_of_one_column_writes_that_column_and_no_other() {
    let schema = "CREATE TABLE t(id TEXT PRIMARY KEY, a, b); CREATE TABLE seen(what);
        CREATE TRIGGER on_a AFTER UPDATE OF a ON t BEGIN INSERT INTO seen VALUES('a'); END;
        CREATE TRIGGER on_b AFTER UPDATE OF b ON t BEGIN INSERT INTO seen VALUES('b'); END;";
    let mut all = shops(2, schema);
    all[0].sql("INSERT INTO t VALUES('1', 1, 1)");
    settle(&mut all);
    all[0].sql("UPDATE t SET b = 2");
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT what v FROM seen"), "'b'");
}

#[test]
fn a_row_that_was_deleted_and_made_again_takes_no_children_along() {
    let schema = "CREATE TABLE p(id TEXT PRIMARY KEY, v); CREATE TABLE c(id TEXT PRIMARY KEY, p REFERENCES p(id) ON DELETE CASCADE);";
    let mut all = shops(2, schema);
    all[0].sql("INSERT INTO p VALUES('1', 1); INSERT INTO c VALUES('c', '1')");
    settle(&mut all);
    all[0].sql("PRAGMA foreign_keys = OFF; DELETE FROM p; INSERT INTO p VALUES('1', 2)");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT p v FROM c"), "'1'");
}

#[test]
fn what_the_application_writes_again_and_again_without_a_change_says_nothing() {
    let mut all = shops(1, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('1', 1, 1)");
    all[0].sync();
    let commits = all[0].space.digest().unwrap().commits;
    all[0].sql("UPDATE t SET a = a; UPDATE t SET a = 2; UPDATE t SET a = 1; INSERT OR IGNORE INTO t VALUES('1', 9, 9)");
    assert_eq!(all[0].sync().flushed.rows, 0);
    assert_eq!(all[0].space.digest().unwrap().commits, commits);
}

#[test]
fn a_value_too_large_to_send_is_listed_and_stops_nothing() {
    let mut all = shops(2, SCHEMA);
    all[0].sql("INSERT INTO t VALUES('big', zeroblob(2000000), 1), ('two', zeroblob(600000), zeroblob(600000)), ('good', 1, 1)");
    settle(&mut all);
    assert_eq!(all[1].quoted("SELECT id v FROM t ORDER BY id"), "'good' 'two'");
    let refused = all[0].rows().refused().unwrap();
    assert_eq!((refused.len(), refused[0].key.as_str()), (1, "\"big\""));
    all[0].sql("UPDATE t SET a = 1 WHERE id = 'big'");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[0].rows().refused().unwrap(), []);
}

#[test]
fn a_schema_of_the_collection_marks_rows_and_stops_none() {
    let mut all = shops(2, SCHEMA);
    let t = all[0].space.collection("t").unwrap();
    t.set_schema(&driftless::Schema::json(r#"{"properties": {"a": {"type": "integer"}}}"#).unwrap()).unwrap();
    all[0].sql("INSERT INTO t VALUES('1', 'no number', 0), ('2', 7, 0)");
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT count(*) v FROM t"), "2");
    assert_eq!(t.marked(10).unwrap().len(), 1);
}

/// Opens what was sealed only while it is told to.
struct Turned(std::sync::atomic::AtomicBool);

impl driftless::MailboxSeal for Turned {
    fn name(&self) -> &str {
        "turned"
    }

    fn seal(&self, content: Vec<u8>) -> Result<Vec<u8>, driftless::Error> {
        Ok(content.iter().map(|byte| !byte).collect())
    }

    fn open(&self, _: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.load(Ordering::SeqCst).then(|| sealed.iter().map(|byte| !byte).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_mailbox_a_clock_that_is_behind_skips_nobody_and_what_cannot_be_opened_is_asked_again() {
    let place = driftless_net::mailbox::MemoryMailbox::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut all = with_clock(u64::try_from(now.as_millis()).unwrap() - 120_000);
    let seal = Arc::new(Turned(true.into()));
    let options = driftless::MailboxOptions { seal: Some(seal.clone()), ..Default::default() };
    let boxes: Vec<_> = all
        .iter()
        .map(|shop| shop.database.mailbox(&shop.space.id(), "memory:box", Arc::new(place.clone())))
        .collect();
    for round in 0..3 {
        // The one whose clock is behind is read after the other's have been.
        for (at, name) in [(0, "ahead"), (1, "behind"), (0, "again")] {
            all[at].sql(&format!("INSERT INTO t VALUES('{name}{round}', {round}, 0)"));
            all[at].sync();
            boxes[at].sync(&options, &mut |_| ()).await.unwrap();
            boxes[1 - at].sync(&options, &mut |_| ()).await.unwrap();
            all[1 - at].sync();
        }
    }
    all[1].sync();
    assert_eq!(all[1].dump(), all[0].dump());
    assert_eq!(all[0].quoted("SELECT count(*) v FROM t"), "9");
    // Without the key nothing of it comes, and what is sent meanwhile goes.
    seal.0.store(false, Ordering::SeqCst);
    all[0].sql("INSERT INTO t VALUES('secret', 0, 0)");
    all[1].sql("INSERT INTO t VALUES('other', 0, 0)");
    for at in [0, 1] {
        all[at].sync();
        boxes[at].sync(&options, &mut |_| ()).await.unwrap();
    }
    all[1].sync();
    assert_eq!(all[1].quoted("SELECT count(*) v FROM t"), "10");
    seal.0.store(true, Ordering::SeqCst);
    for at in [0, 1] {
        boxes[at].sync(&options, &mut |_| ()).await.unwrap();
        all[at].sync();
    }
    assert_eq!(all[1].dump(), all[0].dump());
    assert_eq!(all[0].quoted("SELECT count(*) v FROM t"), "11");
}

#[test]
fn a_document_that_says_another_key_in_a_field_does_not_become_another_row() {
    let mut all = shops(2, SCHEMA);
    let t = all[0].space.collection("t").unwrap();
    t.save(
        &driftless::DocumentId::string("real").unwrap(),
        Map::from_json(r#"{"id": "false", "a": 1}"#).unwrap(),
    )
    .unwrap();
    settle(&mut all);
    assert_same(&all);
    assert_eq!(all[1].quoted("SELECT id v FROM t"), "'real'");
}
