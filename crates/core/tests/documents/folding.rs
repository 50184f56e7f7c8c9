//! The fold: the order of arrival does not matter, every operator is total, deletion is a flag, checkpoints are few.

use driftless_core::cbor;
use driftless_core::clock::Timestamp;
use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::{CHECKPOINT_EVERY, DocumentState, Position, document_digest, fold, is_kept, kept};
use driftless_core::id::SpaceId;
use driftless_core::id::{AuthorId, CommitId};
use driftless_core::limits::{MAX_DOCUMENT_DEPTH, MAX_DOCUMENT_WEIGHT};
use driftless_core::operator::{Operator, operators_from_json};
use driftless_core::value::{Map, Path, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::samples::{id, map, operator};

const ANN: AuthorId = AuthorId([1; 32]);
const BOB: AuthorId = AuthorId([2; 32]);

fn insert(fields: &str) -> Vec<Operator> {
    vec![Operator::Insert { fields: map(fields), parent: None }]
}

fn edit(operators: &str) -> Vec<Operator> {
    operators_from_json(operators).unwrap()
}

fn delete() -> Vec<Operator> {
    vec![Operator::Delete]
}

// Edits of Ann, one millisecond after the other.
fn after(edits: &[Vec<Operator>]) -> DocumentState {
    let mut state = DocumentState::default();
    for (ms, operators) in (1..).zip(edits) {
        state.apply(Timestamp::from_ms(ms), ANN, operators);
    }
    state
}

fn shown(edits: &[Vec<Operator>]) -> String {
    let state = after(edits);
    if state.visible() { state.fields().to_json() } else { "hidden".to_owned() }
}

fn position() -> impl Strategy<Value = Position> {
    // Few times and commits, so that the later parts of the order decide.
    (1u64..4, 0u8..3, 0u32..3).prop_map(|(time, commit, index)| Position {
        time: Timestamp(time),
        commit: CommitId([commit; 32]),
        index,
    })
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(
        edits in prop::collection::btree_map(position(), (0u8..3, vec(operator(), 0..4)), 0..12).prop_flat_map(|edits| {
            let edits: Vec<_> = edits.into_iter().map(|(position, (author, operators))| (position, AuthorId([author; 32]), operators)).collect();
            (Just(edits.clone()), Just(edits).prop_shuffle())
        }),
        pause in 0usize..12,
    ) {
        let (edits, mut arrived) = edits;
        arrived.sort_by_key(|edit| edit.0);
        let folded = fold(arrived.iter().map(|(position, author, operators)| (*position, *author, operators.as_slice())));
        // One by one as they are due, with a stop in the middle that goes through both stored forms.
        let mut state = DocumentState::default();
        let mut warnings = 0;
        for (at, (position, author, operators)) in edits.iter().enumerate() {
            if at == pause {
                let bytes = state.to_bytes();
                prop_assert_eq!(cbor::check(&bytes, MAX_DOCUMENT_DEPTH + 1), Ok(()));
                state = DocumentState::from_bytes(&bytes).unwrap();
                let fields = Map::from_json(&state.fields().to_json()).unwrap();
                state = DocumentState::from_bytes_and_fields(&state.to_bytes_without_fields(), fields).unwrap();
            }
            let before = state.clone();
            let effect = state.apply(position.time, *author, operators);
            warnings += effect.warnings;
            prop_assert_eq!(state.edits(), at as u64 + 1);
            if !effect.changed {
                prop_assert_eq!((before.fields(), before.visible(), before.updated()), (state.fields(), state.visible(), state.updated()));
            }
        }
        prop_assert_eq!(warnings, state.warnings());
        // Equality covers the weight that is kept up to date: a state read back has weighed its fields anew.
        prop_assert_eq!(DocumentState::from_bytes(&state.to_bytes()).unwrap(), state.clone());
        prop_assert_eq!(state, folded);
    }

    #[test]
    fn damaged_states_never_panic(operators in vec(operator(), 1..4), at in any::<prop::sample::Index>(), byte: u8) {
        let state = after(&[operators]);
        for (mut bytes, whole) in [(state.to_bytes(), true), (state.to_bytes_without_fields(), false)] {
            let at = at.index(bytes.len());
            let read = |bytes: &[u8]| {
                if whole { DocumentState::from_bytes(bytes) } else { DocumentState::from_bytes_and_fields(bytes, Map::new()) }
            };
            prop_assert!(read(&bytes[..at]).is_err());
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }

    #[test]
    fn the_digest_is_equal_exactly_for_equal_visible_documents(id in id(), a in vec(operator(), 1..3), b in vec(operator(), 1..3)) {
        let (a, b) = (after(&[a]), after(&[b]));
        let digest = |state| document_digest("t", &id, state);
        let document = |state| Document::new("t", &id, state);
        if a.visible() && b.visible() {
            prop_assert_eq!(digest(&a) == digest(&b), document(&a) == document(&b));
        }
        prop_assert_ne!(digest(&a), document_digest("u", &id, &a));
    }

    #[test]
    fn checkpoints_are_few_and_near(newest in 0u64..2_000_000, back in 0u64..2_000_000) {
        let ordinals = kept(newest);
        prop_assert!(ordinals.iter().all(|ordinal| is_kept(*ordinal, newest)));
        prop_assert!(ordinals.is_sorted_by(|a, b| a > b));
        let spans = (newest / CHECKPOINT_EVERY / 8).max(1).ilog2() as usize + 1;
        prop_assert!(ordinals.len() <= 8 + 5 * spans, "{} of {newest}", ordinals.len());
        // A late edit `back` edits before the end is refolded from the checkpoint before it.
        let back = back.min(newest);
        let from = ordinals.iter().find(|ordinal| **ordinal <= newest - back).copied().unwrap_or(0);
        prop_assert!(newest - from <= 2 * back + 2 * CHECKPOINT_EVERY, "{from} for {back} back from {newest}");
    }

    #[test]
    fn a_dropped_checkpoint_is_never_kept_later(number in 1u64..3000, newest in 0u64..300_000, more in 0u64..300_000) {
        let ordinal = number * CHECKPOINT_EVERY;
        prop_assert!(ordinal > newest || is_kept(ordinal, newest) || !is_kept(ordinal, newest + more));
    }
}

#[test]
fn every_kept_checkpoint_is_listed() {
    for newest in (0..40_000).step_by(61) {
        let listed = kept(newest);
        let kept: Vec<u64> = (0..=newest + 64).rev().filter(|ordinal| is_kept(*ordinal, newest)).collect();
        assert_eq!(listed, kept);
    }
}

#[test]
fn c1_an_edit_made_while_deleted_is_there_after_a_restore() {
    let mut edits = vec![insert(r#"{"a":1}"#), delete(), edit(r#"{"$set":{"b":2}}"#)];
    assert_eq!(shown(&edits), "hidden");
    edits.push(vec![Operator::Restore]);
    assert_eq!(shown(&edits), r#"{"a":1,"b":2}"#);
}

#[test]
fn c2_two_creators_merge_and_an_insert_after_a_deletion_starts_afresh() {
    let live = [insert(r#"{"a":1}"#), edit(r#"{"$set":{"c":3}}"#), insert(r#"{"b":2}"#)];
    assert_eq!(shown(&live), r#"{"a":1,"b":2,"c":3}"#);
    let deleted = [insert(r#"{"a":1}"#), delete(), edit(r#"{"$set":{"c":3}}"#), insert(r#"{"b":2}"#)];
    assert_eq!(shown(&deleted), r#"{"b":2}"#);
    assert_eq!(after(&live).created(), Timestamp::from_ms(1));
    assert_eq!(after(&deleted).created(), Timestamp::from_ms(4));
}

#[test]
fn c3_an_edit_of_a_document_that_does_not_exist_creates_it() {
    assert_eq!(shown(&[edit(r#"{"$inc":{"a.n":2}}"#)]), r#"{"a":{"n":2}}"#);
    assert_eq!(shown(&[edit(r#"{"$push":{"l":1}}"#)]), r#"{"l":[1]}"#);
    // What has no effect creates nothing, nor does a lone deletion or its restore.
    assert_eq!(shown(&[edit(r#"{"$unset":{"a":""}}"#)]), "hidden");
    assert_eq!(shown(&[vec![Operator::Unknown(vec![0x81, 10])]]), "hidden");
    assert_eq!(shown(&[vec![Operator::Moved { to: SpaceId([1; 32]) }]]), "hidden");
    assert_eq!(shown(&[delete()]), "hidden");
    assert_eq!(shown(&[delete(), vec![Operator::Restore]]), "hidden");
    assert_eq!(shown(&[delete(), edit(r#"{"$set":{"a":1}}"#), vec![Operator::Restore]]), r#"{"a":1}"#);
}

#[test]
fn c4_a_path_through_a_list_has_no_effect() {
    let state = after(&[
        insert(r#"{"l":[{"x":1}]}"#),
        edit(r#"{"$set":{"l.0":5}}"#),
        edit(r#"{"$unset":{"l.0.x":""}}"#),
    ]);
    assert_eq!(state.fields(), &map(r#"{"l":[{"x":1}]}"#));
    assert_eq!(state.warnings(), 2);
}

#[test]
fn delete_wins_over_later_edits_until_an_insert_or_restore() {
    let mut edits = vec![insert(r#"{"a":1}"#), delete(), edit(r#"{"$set":{"a":2}}"#), delete()];
    assert_eq!(shown(&edits), "hidden");
    edits.push(insert(r#"{"z":1}"#));
    assert_eq!(shown(&edits), r#"{"z":1}"#);
}

#[test]
fn the_parent_is_that_of_the_first_insert() {
    let with_parent =
        |parent: i64| vec![Operator::Insert { fields: Map::new(), parent: Some(parent.into()) }];
    let parent = |edits: &[Vec<Operator>]| after(edits).parent().map(DocumentId::to_string);
    assert_eq!(parent(&[with_parent(1), with_parent(2)]).as_deref(), Some("1"));
    assert_eq!(parent(&[insert("{}"), with_parent(2)]), None);
    assert_eq!(parent(&[edit(r#"{"$set":{"a":1}}"#), with_parent(2)]).as_deref(), Some("2"));
    assert_eq!(parent(&[with_parent(1), delete(), with_parent(2)]).as_deref(), Some("2"));
}

#[test]
fn what_each_operator_does() {
    for (before, operators, result, warnings) in [
        ("{}", r#"{"$set":{"a.b":1}}"#, r#"{"a":{"b":1}}"#, 0),
        (r#"{"a":1}"#, r#"{"$set":{"a.b":1}}"#, r#"{"a":1}"#, 1),
        (r#"{"a":null}"#, r#"{"$set":{"a.b":1}}"#, r#"{"a":null}"#, 1),
        (r#"{"a":{"b":1}}"#, r#"{"$unset":{"a.b":"","c":"","a.x.y":""}}"#, r#"{"a":{}}"#, 0),
        (r#"{"n":9223372036854775806}"#, r#"{"$inc":{"n":5}}"#, r#"{"n":9223372036854775807}"#, 0),
        (r#"{"n":-9223372036854775808}"#, r#"{"$inc":{"n":-1}}"#, r#"{"n":-9223372036854775808}"#, 0),
        (r#"{"n":1}"#, r#"{"$inc":{"n":0.5}}"#, r#"{"n":1.5}"#, 0),
        (r#"{"n":1.5}"#, r#"{"$inc":{"n":1}}"#, r#"{"n":2.5}"#, 0),
        (r#"{"n":{"$f64":"inf"}}"#, r#"{"$inc":{"n":{"$f64":"-inf"}}}"#, r#"{"n":{"$f64":"inf"}}"#, 1),
        (r#"{"n":"1"}"#, r#"{"$inc":{"n":1}}"#, r#"{"n":"1"}"#, 1),
        (
            r#"{"l":[1]}"#,
            r#"{"$push":{"l":{"$each":[1,2]},"m.n":[3]}}"#,
            r#"{"l":[1,1,2],"m":{"n":[[3]]}}"#,
            0,
        ),
        (r#"{"l":1}"#, r#"{"$push":{"l":1}}"#, r#"{"l":1}"#, 1),
        (r#"{"l":[1,2,1.0,"1"]}"#, r#"{"$pull":{"l":1}}"#, r#"{"l":[2,"1"]}"#, 0),
        (r#"{"l":[1,2,3]}"#, r#"{"$pullAll":{"l":[3,1,9],"none":[1]}}"#, r#"{"l":[2]}"#, 0),
        (r#"{"l":{}}"#, r#"{"$pull":{"l":1}}"#, r#"{"l":{}}"#, 1),
        (r#"{"l":[1]}"#, r#"{"$addToSet":{"l":{"$each":[1.0,2,2,3]}}}"#, r#"{"l":[1,2,3]}"#, 0),
        ("{}", r#"{"$addToSet":{"l":{"$each":["b","a","b"]}}}"#, r#"{"l":["b","a"]}"#, 0),
    ] {
        let state = after(&[insert(before), edit(operators)]);
        assert_eq!(
            (state.fields().to_json().as_str(), state.warnings()),
            (result, warnings),
            "{before} {operators}"
        );
        // A state that is read back weighs its fields anew: the weight was kept up to date.
        assert_eq!(DocumentState::from_bytes(&state.to_bytes()), Ok(state), "{before} {operators}");
    }
}

#[test]
fn an_edit_without_effect_does_not_touch_updated() {
    let mut state = after(&[insert(r#"{"a":1}"#)]);
    let effect = state.apply(Timestamp::from_ms(9), BOB, &edit(r#"{"$push":{"a":1}}"#));
    assert!(!effect.changed && effect.warnings == 1);
    assert_eq!((state.updated(), state.updated_by(), state.edits()), (Timestamp::from_ms(1), &ANN, 2));
    state.apply(Timestamp::from_ms(10), BOB, &edit(r#"{"$set":{"a":1}}"#));
    assert_eq!(
        (state.updated(), state.updated_by(), state.created_by()),
        (Timestamp::from_ms(10), &BOB, &ANN)
    );
}

#[test]
fn a_document_cannot_grow_or_nest_without_bound() {
    let path = |key: &str| Path::parse(key).unwrap();
    let push = Operator::Push { path: path("l"), values: vec![Value::from("x".repeat(1 << 20))] };
    let mut state = DocumentState::default();
    for _ in 0..20 {
        state.apply(Timestamp(1), ANN, std::slice::from_ref(&push));
    }
    assert_eq!(state.fields().get("l").and_then(Value::as_list).map(<[_]>::len), Some(15));
    assert_eq!(state.warnings(), 5);
    assert!(state.fields().measure().weight <= MAX_DOCUMENT_WEIGHT);
    // What makes it lighter always works, and then there is room again.
    state.apply(Timestamp(2), ANN, &edit(r#"{"$set":{"l":[]}}"#));
    state.apply(Timestamp(2), ANN, &[push]);
    assert_eq!(state.warnings(), 5);

    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let state = after(&[edit(&format!(r#"{{"$set":{{"a.b.c":{deep},"d.e.f.g.h":{deep}}}}}"#))]);
    assert!(state.fields().get("a").is_some() && state.fields().get("d").is_none());
    assert_eq!(state.warnings(), 1);
    assert!(state.fields().check().is_ok());
}

#[test]
fn a_document_in_json_has_its_system_fields_first() {
    let id = DocumentId::string("FI-18").unwrap();
    let operators =
        vec![Operator::Insert { fields: map(r#"{"title":"Milk","a":1.0}"#), parent: Some(7.into()) }];
    let mut state = after(&[operators]);
    let json = Document::new("tasks", &id, &state).to_json();
    let author = ANN.to_string();
    assert_eq!(
        json,
        format!(
            r#"{{"_id":"FI-18","_collection":"tasks","_created":1,"_updated":1,"_author":"{author}","_parent":7,"a":1.0,"title":"Milk"}}"#
        )
    );
    assert_eq!(serde_json::to_string(&Document::new("tasks", &id, &state)).unwrap(), json);
    state.apply(Timestamp::from_ms(2), BOB, &delete());
    assert!(Document::new("tasks", &id, &state).to_json().contains(r#""_updated":2,"_author":"#));
    assert!(Document::new("tasks", &id, &state).to_json().contains(r#""_deleted":true"#));
}
