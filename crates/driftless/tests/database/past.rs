//! Documents as they were, what changed between two moments, and how a search is run.

use driftless::{
    At, Collection, CommitId, DocumentId, Insert, Operator, operators_from_json, operators_to_value,
};

use crate::simulated::{Hand, database, filter, map, send};

fn edit(notes: &Collection, operators: &str) -> CommitId {
    let written = notes.edit(&"x".parse_id(), operators_from_json(operators).unwrap()).unwrap();
    written.commit.unwrap()
}

trait ParseId {
    fn parse_id(&self) -> DocumentId;
}

impl ParseId for str {
    fn parse_id(&self) -> DocumentId {
        DocumentId::string(self).unwrap()
    }
}

fn text(operators: &[Operator]) -> String {
    operators_to_value(operators).to_json()
}

#[test]
fn a_document_is_shown_as_it_was_at_a_time_and_as_of_a_commit() {
    let hand = Hand::new();
    let (ann, ben) = (database(1, &hand), database(2, &hand));
    let home = ann.create_space("home").unwrap();
    home.grant(driftless::Subject::Anyone, driftless::Permission::Write(driftless::Strength(9))).unwrap();
    let (notes, x) = (home.collection("notes").unwrap(), "x".parse_id());
    let insert = Insert { id: Some(x.clone()), parent: None };
    hand.advance(1000);
    let before = hand.now();
    hand.advance(1000);
    let first = notes.insert_with(map(r#"{"n": 1, "tags": ["a"]}"#), insert).unwrap().commit.unwrap();
    let inserted = hand.now();
    let theirs = send(&home, &ben).collection("notes").unwrap();
    hand.advance(1000);
    let by_ann = edit(&notes, r#"{"$set": {"n": 2}}"#);
    let by_ben = edit(&theirs, r#"{"$push": {"tags": "b"}, "$unset": {"n": true}}"#);
    hand.advance(1000);
    send(theirs.space(), &ann);
    let joined = edit(&notes, r#"{"$set": {"m": 3}}"#);
    hand.advance(1000);
    notes.delete(&x).unwrap();

    let shown = |at| notes.get_at(&x, at).unwrap().map(|document| document.fields);
    assert_eq!(shown(At::Time(before)), None);
    assert_eq!(shown(At::Time(inserted)), Some(map(r#"{"n": 1, "tags": ["a"]}"#)));
    assert_eq!(shown(At::Commit(first)), Some(map(r#"{"n": 1, "tags": ["a"]}"#)));
    // Each had not seen the other.
    assert_eq!(shown(At::Commit(by_ann)), Some(map(r#"{"n": 2, "tags": ["a"]}"#)));
    assert_eq!(shown(At::Commit(by_ben)), Some(map(r#"{"tags": ["a", "b"]}"#)));
    let last = shown(At::Commit(joined)).unwrap();
    assert_eq!((last.get("m").is_some(), last.get("tags")), (true, map(r#"{"t": ["a", "b"]}"#).get("t")));
    assert_eq!(shown(At::Now), None);
    assert_eq!(shown(At::Time(u64::MAX)), None);
    assert_eq!(notes.get_at(&"y".parse_id(), At::Now).unwrap(), None);
    let nowhere = notes.get_at(&x, At::Commit(CommitId([1; 32]))).unwrap_err();
    assert_eq!(nowhere.code(), "not_found");

    let diff = |from, to| text(&notes.diff(&x, from, to).unwrap());
    assert_eq!(diff(At::Commit(first), At::Commit(by_ann)), r#"{"$set":{"n":2}}"#);
    assert_eq!(diff(At::Commit(first), At::Commit(by_ben)), r#"{"$push":{"tags":"b"},"$unset":{"n":""}}"#);
    assert_eq!(diff(At::Time(before), At::Time(inserted)), r#"{"$insert":{"n":1,"tags":["a"]}}"#);
    assert_eq!(diff(At::Commit(joined), At::Now), r#"{"$delete":true}"#);
    assert!(diff(At::Now, At::Commit(first)).contains("$restore"));
    assert!(notes.diff(&x, At::Commit(first), At::Time(inserted)).unwrap().is_empty());
}

#[test]
fn a_commit_is_found_by_a_prefix_of_its_id() {
    let hand = Hand::new();
    let home = database(1, &hand).create_space("home").unwrap();
    let notes = home.collection("notes").unwrap();
    let commits: Vec<_> =
        (0..50).map(|n| notes.insert(map(&format!(r#"{{"n": {n}}}"#))).unwrap().commit.unwrap()).collect();
    for commit in commits {
        let whole = commit.to_string();
        for text in [&whole[..], &whole[2..], &whole[..10], &whole[2..11], &whole[..53]] {
            assert_eq!(home.find_commit(text).unwrap(), commit);
        }
        for text in ["", "c_", &whole[..9], "c_aaaaaaaaaaaa", "c_!!!!!!!!!!", &format!("{whole}a")] {
            assert_eq!(home.find_commit(text).unwrap_err().code(), "not_found", "{text}");
        }
    }
}

#[test]
fn a_plan_names_the_index_and_counts_the_candidates() {
    let hand = Hand::new();
    let notes = database(1, &hand).create_space("home").unwrap().collection("notes").unwrap();
    for n in 0..20 {
        notes.insert(map(&format!(r#"{{"n": {n}, "even": {}}}"#, n % 2 == 0))).unwrap();
    }
    let plan = |json| notes.find(filter(json)).plan().unwrap();
    assert_eq!((plan(r#"{"n": 3}"#).index, plan(r#"{"n": 3}"#).candidates), (None, 20));
    notes.create_index(&driftless::FieldPath::parse("n").unwrap()).unwrap();
    let found = plan(r#"{"n": {"$gte": 16}, "even": true}"#);
    assert_eq!((found.index.as_deref(), found.candidates), (Some("n"), 4));
    assert_eq!(plan(r#"{"even": true}"#).candidates, 20);
}
