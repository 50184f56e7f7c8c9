//! Operators: their bytes, MongoDB's language for them, and the edit that `save` writes.

use driftless_core::cbor;
use driftless_core::clock::Timestamp;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::DocumentState;
use driftless_core::id::AuthorId;
use driftless_core::limits::MAX_VALUE_DEPTH;
use driftless_core::operator::{
    Edit, Operator, difference, is_collection_name, operators_from_json, operators_from_value,
    operators_to_value,
};
use driftless_core::value::{Map, Number, Path, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::samples::{fields, id, json, map, operator};

fn after(operators: &[&[Operator]]) -> DocumentState {
    let mut state = DocumentState::default();
    for operators in operators {
        state.apply(Timestamp(1), AuthorId([1; 32]), operators);
    }
    state
}

proptest! {
    #[test]
    fn an_edit_is_canonical_and_lossless(document in id(), operators in vec(operator(), 0..4)) {
        let edit = Edit { collection: "tasks".into(), document, operators };
        prop_assert_eq!(edit.check(), Ok(()));
        let bytes = edit.to_cbor();
        prop_assert_eq!(cbor::check(&bytes, MAX_VALUE_DEPTH + 4), Ok(()));
        prop_assert_eq!(Edit::decode(&mut cbor::Reader::new(&bytes)), Ok(edit));
    }

    #[test]
    fn damaged_edits_never_panic(document in id(), operators in vec(operator(), 1..4), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = Edit { collection: "tasks".into(), document, operators }.to_cbor();
        let at = at.index(bytes.len());
        let _ = Edit::decode(&mut cbor::Reader::new(&bytes[..at]));
        bytes[at] = byte;
        let _ = Edit::decode(&mut cbor::Reader::new(&bytes));
    }

    #[test]
    fn the_difference_turns_the_old_into_the_new(old in fields(), new in fields()) {
        let made = after(&[&[Operator::Insert { fields: old.clone(), parent: None }], &difference(&old, &new)]);
        prop_assert_eq!(made.fields(), &new);
        prop_assert_eq!(made.warnings(), 0);
        prop_assert!(difference(&new, &new).is_empty());
    }

    #[test]
    fn what_log_shows_can_be_applied_again(operators in vec(operator(), 1..5)) {
        let written: Vec<_> = operators
            .into_iter()
            .filter(|operator| !matches!(operator, Operator::Insert { .. } | Operator::Moved { .. } | Operator::Unknown(_)))
            .collect();
        prop_assume!(!written.is_empty());
        let shown = operators_to_value(&written);
        let read = operators_from_json(&shown.to_json()).unwrap();
        // In one object the order is that of names; it must not matter.
        prop_assert_eq!(&after(&[&read]), &after(&[&written]));
    }
}

#[test]
fn the_language_of_updates() {
    let path = |text| Path::parse(text).unwrap();
    let read = operators_from_json(
        r#"{"$set":{"a.b":1},"$inc":{"n":2},"$push":{"tags":{"$each":["x","y"]},"log":{"at":1}},"$pull":{"old":"x"},
            "$pullAll":{"gone":[1,2]},"$addToSet":{"set":"z"},"$unset":{"c":""},"$delete":true}"#,
    );
    let mut read = read.unwrap();
    let mut expected = vec![
        Operator::Set { path: path("a.b"), value: Value::I64(1) },
        Operator::Increment { path: path("n"), by: Number::I64(2) },
        Operator::Push { path: path("tags"), values: vec![Value::from("x"), Value::from("y")] },
        Operator::Push { path: path("log"), values: vec![json(r#"{"at":1}"#)] },
        Operator::Pull { path: path("old"), values: vec![Value::from("x")] },
        Operator::Pull { path: path("gone"), values: vec![Value::I64(1), Value::I64(2)] },
        Operator::AddToSet { path: path("set"), values: vec![Value::from("z")] },
        Operator::Unset { path: path("c") },
        Operator::Delete,
    ];
    let order = |operator: &Operator| format!("{operator:?}");
    read.sort_by_key(order);
    expected.sort_by_key(order);
    assert_eq!(read, expected);
}

#[test]
fn mistakes_in_operators_say_what_to_do() {
    for (text, hint) in [
        (r#"{"title":"Milk"}"#, "save"),
        ("{}", "$set"),
        ("[]", "$set"),
        ("3", "$set"),
        (r#"{"$rename":{"a":"b"}}"#, "not supported yet"),
        (r#"{"$push":{"a":{"$each":[1],"$slice":5}}}"#, "$slice is not supported yet"),
        (r#"{"$push":{"a":{"$each":1}}}"#, "a list"),
        (r#"{"$foo":{"a":1}}"#, "there is no operator $foo"),
        (r#"{"$pull":{"a":{"$gt":1}}}"#, "$pullAll"),
        (r#"{"$inc":{"a":"1"}}"#, "a number"),
        (r#"{"$set":{"_id":1}}"#, "reserved"),
        (r#"{"$set":{"a":{"$x":1}}}"#, "reserved"),
        (r#"{"$set":{"a..b":1}}"#, "dots"),
        (r#"{"$set":{"a":1},"$inc":{"a.b":1}}"#, "same field"),
        (r#"{"$delete":true,"$restore":true}"#, "$restore"),
        (r#"{"$delete":1}"#, "true"),
        (r#"{"$set":5}"#, "object of fields"),
        (r#"{"$set":{"a":1}"#, "JSON"),
    ] {
        let error = operators_from_json(text).unwrap_err().to_string();
        assert!(error.contains(hint), "{text}: {error}");
    }
}

#[test]
fn the_smallest_edit() {
    let shown = |old: &str, new: &str| operators_to_value(&difference(&map(old), &map(new))).to_json();
    let old = r#"{"a":1,"b":{"c":1,"d":[1]},"gone":true,"l":[1,2]}"#;
    let new = r#"{"a":1.0,"b":{"c":1,"d":[1,2,3]},"l":[2],"new":{"x":1}}"#;
    assert_eq!(
        shown(old, new),
        r#"{"$push":{"b.d":{"$each":[2,3]}},"$set":{"a":1.0,"l":[2],"new":{"x":1}},"$unset":{"gone":""}}"#
    );
    assert_eq!(shown(old, old), "[]");
    // Deeper than a path reaches, the map there is written whole.
    let deep = |leaf: &str| format!("{}{leaf}{}", r#"{"k":"#.repeat(40), "}".repeat(40));
    let operators = difference(&map(&deep("1")), &map(&deep("2")));
    assert_eq!(operators[0].path().unwrap().keys().len(), 32);
    let made = after(&[&[Operator::Insert { fields: map(&deep("1")), parent: None }], &operators]);
    assert_eq!(made.fields(), &map(&deep("2")));
}

#[test]
fn the_bytes_of_an_edit() {
    let operators = operators_from_json(r#"[{"$set":{"a.b":1}},{"$delete":true}]"#).unwrap();
    let edit = Edit { collection: "t".into(), document: DocumentId::from(5), operators };
    assert_eq!(edit.to_cbor(), b"\x83\x61t\x05\x82\x83\x01\x82\x61a\x61b\x01\x81\x07");
}

#[test]
fn unknown_codes_are_kept_and_known_codes_are_strict() {
    let decode = |bytes: &[u8]| {
        cbor::check(bytes, MAX_VALUE_DEPTH).unwrap();
        Operator::decode(&mut cbor::Reader::new(bytes))
    };
    assert_eq!(decode(b"\x82\x0a\xa1\x61x\x01"), Ok(Operator::Unknown(b"\x82\x0a\xa1\x61x\x01".to_vec())));
    for bad in [
        &b"\x82\x07\x00"[..],
        b"\x81\x09",
        b"\x82\x09\x41\x00",
        b"\x81\x01",
        b"\x83\x01\x80\x00",
        b"\x83\x01\x81\x62_a\x00",
        b"\x83\x03\x81\x61a\x61b",
        b"\x83\x04\x81\x61a\x00",
        b"\x81\x20",
        b"\x80",
        b"\x01",
        b"\x82\x00\x80",
    ] {
        assert!(decode(bad).is_err(), "{bad:x?}");
    }
}

#[test]
fn names_of_collections() {
    assert!(
        is_collection_name("tasks")
            && is_collection_name("tâches du jour")
            && is_collection_name(&"x".repeat(256))
    );
    for bad in ["", "_x", "$x", "a\nb", "a\u{7f}", &"x".repeat(257)] {
        assert!(!is_collection_name(bad), "{bad:?}");
        let edit = Edit { collection: bad.into(), document: 1.into(), operators: vec![] };
        assert!(edit.check().is_err());
        assert!(Edit::decode(&mut cbor::Reader::new(&edit.to_cbor())).is_err());
    }
}

#[test]
fn what_only_a_program_can_get_wrong_is_checked_before_writing() {
    let reserved = Map::from_iter([("_x", Value::Null)]);
    let operators = vec![Operator::Insert { fields: reserved, parent: None }];
    assert!(Edit { collection: "t".into(), document: 1.into(), operators }.check().is_err());
    assert!(operators_from_value(&json("[1]")).is_err());
}
