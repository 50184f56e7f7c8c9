//! Ten thousand random filters: both storages, with and without the help of indexes, find what core's evaluator finds
//! when it looks at every document.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use driftless::{Document, FieldPath, Filter, Insert};
use proptest::prelude::*;
use proptest::strategy::{Union, ValueTree};
use proptest::test_runner::TestRunner;

use crate::simulated::{Hand, database, filter, folder, map, send};

const FILTERS: u32 = 10_000;
const DOCUMENTS: i64 = 40;
// The first three have an index.
const PATHS: [&str; 6] = ["a", "b.c", "list", "plain", "list.a", "b"];

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

// Few values, so that they meet: of every type, and those that are almost equal.
fn scalar() -> impl Strategy<Value = String> {
    prop::sample::select(strings(&[
        "null",
        "0",
        "-1",
        "1",
        "2",
        "1.0",
        "1.5",
        "-0.0",
        "9007199254740993",
        "9007199254740992.0",
        "true",
        "false",
        r#""""#,
        r#""a""#,
        r#""ab""#,
        r#""b""#,
        r#"{"$bytes": "YQ=="}"#,
        r#"{"$f64": "inf"}"#,
    ]))
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => scalar(),
        2 => prop::collection::vec(scalar(), 0..3).prop_map(|values| format!("[{}]", values.join(", "))),
        1 => (prop::sample::select(vec!["a", "c"]), scalar()).prop_map(|(key, value)| format!(r#"{{"{key}": {value}}}"#)),
    ]
}

fn fields() -> impl Strategy<Value = String> {
    let field = |key: &'static str, value: BoxedStrategy<String>| {
        prop::option::weighted(0.8, value)
            .prop_map(move |value| value.map(|value| format!(r#""{key}": {value}"#)))
    };
    let inner = scalar().prop_map(|value| format!(r#"{{"c": {value}}}"#));
    let element = prop_oneof![scalar(), (scalar()).prop_map(|value| format!(r#"{{"a": {value}}}"#))];
    let list = prop::collection::vec(element, 0..4).prop_map(|values| format!("[{}]", values.join(", ")));
    let all = (
        field("a", value().boxed()),
        field("b", prop_oneof![inner, value()].boxed()),
        field("list", prop_oneof![4 => list, 1 => scalar()].boxed()),
        field("plain", value().boxed()),
    );
    all.prop_map(|(a, b, list, plain)| {
        let fields: Vec<String> = [a, b, list, plain].into_iter().flatten().collect();
        format!("{{{}}}", fields.join(", "))
    })
}

// What may stand in the braces after a field.
fn tests() -> impl Strategy<Value = String> {
    let compare = (prop::sample::select(vec!["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), value())
        .prop_map(|(operator, value)| format!(r#""{operator}": {value}"#));
    let several = (prop::sample::select(vec!["$in", "$nin"]), prop::collection::vec(value(), 0..4))
        .prop_map(|(operator, values)| format!(r#""{operator}": [{}]"#, values.join(", ")));
    let exists = any::<bool>().prop_map(|there| format!(r#""$exists": {there}"#));
    let regex = prop::sample::select(strings(&["^a", "b$", "^$", "A"]))
        .prop_map(|regex| format!(r#""$regex": "{regex}", "$options": "i""#));
    let size = (0..3).prop_map(|size| format!(r#""$size": {size}"#));
    let range = (scalar(), scalar()).prop_map(|(low, high)| format!(r#""$gte": {low}, "$lt": {high}"#));
    let flat = Union::new_weighted(vec![
        (6, compare.boxed()),
        (2, several.boxed()),
        (2, range.boxed()),
        (1, exists.boxed()),
        (1, regex.boxed()),
        (1, size.boxed()),
    ]);
    flat.prop_recursive(2, 4, 1, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tests| format!(r#""$not": {{{tests}}}"#)),
            inner.clone().prop_map(|tests| format!(r#""$elemMatch": {{{tests}}}"#)),
            inner.prop_map(|tests| format!(r#""$elemMatch": {{"a": {{{tests}}}}}"#)),
        ]
    })
}

fn filters() -> impl Strategy<Value = String> {
    let path = || prop::sample::select(PATHS.to_vec());
    let id = (0..DOCUMENTS).prop_map(|id| format!(r#"{{"_id": {{"$gte": {id}}}}}"#));
    let condition = prop_oneof![
        3 => (path(), tests()).prop_map(|(path, tests)| format!(r#"{{"{path}": {{{tests}}}}}"#)),
        1 => (path(), scalar()).prop_map(|(path, value)| format!(r#"{{"{path}": {{"$eq": {value}}}}}"#)),
        1 => (path(), tests(), tests()).prop_map(|(path, one, other)| {
            let other_path = if path == "a" { "plain" } else { "a" };
            format!(r#"{{"{path}": {{{one}}}, "{other_path}": {{{other}}}}}"#)
        }),
    ];
    prop_oneof![20 => condition, 1 => id].prop_recursive(2, 6, 3, |inner| {
        (prop::sample::select(vec!["$and", "$or", "$nor"]), prop::collection::vec(inner, 1..4))
            .prop_map(|(operator, filters)| format!(r#"{{"{operator}": [{}]}}"#, filters.join(", ")))
    })
}

fn ids<'d>(documents: impl IntoIterator<Item = &'d Document>) -> BTreeSet<String> {
    documents.into_iter().map(|document| document.id.to_string()).collect()
}

#[test]
fn ten_thousand_filters_find_the_same_in_memory_in_sqlite_and_by_looking_at_everything() {
    let home = tempfile::tempdir().unwrap();
    let hand = Hand::new();
    let databases = [database(1, &hand), folder(2, &hand, &home.path().join("db"))];
    let mut runner = TestRunner::deterministic();
    let space = databases[0].create_space("home").unwrap();
    let items = space.collection("items").unwrap();
    for id in 0..DOCUMENTS {
        let fields = fields().new_tree(&mut runner).unwrap().current();
        items.insert_with(map(&fields), Insert { id: Some(id.into()), parent: None }).unwrap();
    }
    let collections = [items, send(&space, &databases[1]).collection("items").unwrap()];
    for path in &PATHS[..3] {
        let path = FieldPath::parse(path).unwrap();
        collections.iter().for_each(|items| assert!(items.create_index(&path).unwrap()));
    }
    let all = collections[0].find(Filter::all()).run().unwrap();
    assert_eq!(collections[1].find(Filter::all()).run().unwrap(), all);
    assert_eq!(all.len() as i64, DOCUMENTS);

    let strategy = filters();
    let (mut by_index, mut telling, mut refused) = (0, 0, String::new());
    for _ in 0..FILTERS {
        let text = strategy.new_tree(&mut runner).unwrap().current();
        let wanted = match Filter::parse(&text) {
            Ok(filter) => filter,
            Err(error) => {
                writeln!(refused, "{text}: {error}").unwrap();
                continue;
            }
        };
        let matching = ids(all.iter().filter(|document| wanted.matches(&document.subject())));
        for items in &collections {
            let query = items.find(filter(&text));
            assert_eq!(ids(&query.run().unwrap()), matching, "{text}");
            by_index += u32::from(query.plan().unwrap().index.is_some());
        }
        telling += u32::from(!matching.is_empty() && matching.len() < all.len());
    }
    // Otherwise the test would say nothing.
    assert_eq!(refused, "");
    assert!(
        by_index > FILTERS / 4 && telling > FILTERS / 4,
        "{by_index} by index, {telling} tell documents apart"
    );
}
