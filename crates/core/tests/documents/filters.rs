//! Filters and sorting: MongoDB's semantics by a table and by a second, naive evaluator; index ranges are supersets.

use std::collections::BTreeSet;

use driftless_core::clock::Timestamp;
use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::filter::{FieldPath, Filter, index_values};
use driftless_core::id::AuthorId;
use driftless_core::query::{Deleted, Query, Sort};
use driftless_core::value::{Map, Value, index_key, index_range};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::samples::map;

fn document(id: i64, fields: Map) -> Document {
    Document {
        id: id.into(),
        collection: "tasks".to_owned(),
        created: Timestamp::from_ms(1_000),
        updated: Timestamp::from_ms(2_000),
        author: AuthorId([1; 32]),
        deleted: false,
        parent: Some(DocumentId::string("root").unwrap()),
        fields,
    }
}

// And whether the index ranges that the filter gives would have found the document.
fn matches(filter: &str, fields: &str) -> bool {
    let fields = map(fields);
    let parsed = Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    let matches = parsed.matches(&document(1, fields.clone()).subject());
    for path in ["a", "b", "c", "a.b", "a.1", "a.0.b"].map(|path| FieldPath::parse(path).unwrap()) {
        assert!(!matches || is_found(&parsed, &path, &fields), "{filter} on {path} misses {fields:?}");
    }
    matches
}

// As an adapter looks: in an ordered map, which must not panic.
fn is_found(filter: &Filter, path: &FieldPath, fields: &Map) -> bool {
    let entries = index_values(fields, path);
    let index: BTreeSet<Vec<u8>> = entries.iter().map(index_key).collect();
    let single = if entries.len() == 1 { filter.bounds_of_single(path) } else { None };
    [filter.bounds(path), single].into_iter().flatten().all(|(low, high)| {
        let range = index_range(low.as_ref(), high.as_ref());
        index.range(range).next().is_some()
    })
}

#[test]
fn the_language_of_filters() {
    for (filter, yes, no) in [
        ("{}", &["{}"][..], &[][..]),
        (
            r#"{"a":1}"#,
            &[r#"{"a":1}"#, r#"{"a":1.0}"#, r#"{"a":[2,1]}"#],
            &[r#"{"a":true}"#, r#"{"a":"1"}"#, "{}", r#"{"a":[[1]]}"#],
        ),
        (r#"{"a":[1,2]}"#, &[r#"{"a":[1,2]}"#, r#"{"a":[[1,2]]}"#], &[r#"{"a":[2,1]}"#, r#"{"a":1}"#]),
        (r#"{"a":{"b":1}}"#, &[r#"{"a":{"b":1}}"#], &[r#"{"a":{"b":1,"c":1}}"#]),
        (
            r#"{"a.b":1}"#,
            &[r#"{"a":{"b":1}}"#, r#"{"a":[{"c":1},{"b":[1]}]}"#],
            &[r#"{"a":[[{"b":1}]]}"#, r#"{"a":1}"#],
        ),
        (r#"{"a.1":5}"#, &[r#"{"a":[0,5]}"#, r#"{"a":{"1":5}}"#, r#"{"a":[{"1":5}]}"#], &[r#"{"a":[5]}"#]),
        (r#"{"a.0.b":5}"#, &[r#"{"a":[{"b":5}]}"#, r#"{"a":[[{"b":5}]]}"#], &[r#"{"a":[{},{"b":5}]}"#]),
        (r#"{"a":null}"#, &["{}", r#"{"a":null}"#, r#"{"a":[null]}"#], &[r#"{"a":0}"#, r#"{"a":[]}"#]),
        (
            r#"{"a.b":null}"#,
            &["{}", r#"{"a":1}"#, r#"{"a":[{"b":1},{}]}"#],
            &[r#"{"a":{"b":1}}"#, r#"{"a":[1]}"#, r#"{"a":[]}"#],
        ),
        (r#"{"a":{"$ne":1}}"#, &["{}", r#"{"a":2}"#], &[r#"{"a":1}"#, r#"{"a":[1,2]}"#]),
        (
            r#"{"a":{"$gt":1}}"#,
            &[r#"{"a":2}"#, r#"{"a":[0,2]}"#],
            &[r#"{"a":1}"#, r#"{"a":"2"}"#, r#"{"a":true}"#, "{}"],
        ),
        (r#"{"a":{"$gt":1,"$lt":3}}"#, &[r#"{"a":2}"#, r#"{"a":[0,9]}"#], &[r#"{"a":3}"#]),
        (r#"{"a":{"$lte":null}}"#, &["{}", r#"{"a":null}"#], &[r#"{"a":0}"#]),
        (r#"{"a":{"$gte":"b"}}"#, &[r#"{"a":"b"}"#], &[r#"{"a":"B"}"#, r#"{"a":9}"#]),
        (r#"{"a":{"$in":[1,"x",null]}}"#, &[r#"{"a":"x"}"#, "{}", r#"{"a":[7,1]}"#], &[r#"{"a":2}"#]),
        (r#"{"a":{"$nin":[1,"x"]}}"#, &["{}", r#"{"a":2}"#], &[r#"{"a":[2,"x"]}"#]),
        (r#"{"a":{"$in":[]}}"#, &[], &["{}", r#"{"a":[]}"#]),
        (r#"{"a":{"$exists":true}}"#, &[r#"{"a":null}"#, r#"{"a":[]}"#], &["{}"]),
        (r#"{"a.b":{"$exists":false}}"#, &["{}", r#"{"a":[1]}"#], &[r#"{"a":[{},{"b":1}]}"#]),
        (
            r#"{"a":{"$regex":"^M","$options":"i"}}"#,
            &[r#"{"a":"milk"}"#, r#"{"a":[1,"M"]}"#],
            &[r#"{"a":"am"}"#, "{}"],
        ),
        (r#"{"a":{"$not":{"$regex":"x"}}}"#, &["{}", r#"{"a":"y"}"#], &[r#"{"a":["y","x"]}"#]),
        (r#"{"a":{"$not":{"$gt":1,"$lt":3}}}"#, &["{}", r#"{"a":3}"#], &[r#"{"a":2}"#, r#"{"a":[0,9]}"#]),
        (r#"{"a":{"$size":2}}"#, &[r#"{"a":[1,2]}"#], &[r#"{"a":[1]}"#, r#"{"a":2}"#, r#"{"a":[[1,2]]}"#]),
        (r#"{"a":{"$elemMatch":{"$gt":1,"$lt":3}}}"#, &[r#"{"a":[0,2]}"#], &[r#"{"a":[0,9]}"#, r#"{"a":2}"#]),
        (
            r#"{"a":{"$elemMatch":{"x":1,"y":2}}}"#,
            &[r#"{"a":[{"x":1,"y":2}]}"#],
            &[r#"{"a":[{"x":1},{"y":2}]}"#, r#"{"a":{"x":1,"y":2}}"#],
        ),
        (
            r#"{"a":{"$elemMatch":{"$or":[{"x":1},{"y":1}]}}}"#,
            &[r#"{"a":[{"y":1}]}"#],
            &[r#"{"a":[{"x":2}]}"#],
        ),
        (r#"{"$or":[{"a":1},{"b":1}]}"#, &[r#"{"b":1}"#], &["{}"]),
        (r#"{"$nor":[{"a":1},{"b":1}]}"#, &["{}"], &[r#"{"b":1}"#]),
        (r#"{"$and":[{"a":1},{"b":1}],"c":1}"#, &[r#"{"a":1,"b":1,"c":1}"#], &[r#"{"a":1,"b":1}"#]),
        (r#"{"_id":1,"_collection":"tasks","_created":{"$lt":1500},"_parent":"root"}"#, &["{}"], &[]),
        (r#"{"_updated":{"$gte":3000}}"#, &[], &["{}"]),
        (r#"{"_deleted":{"$exists":false}}"#, &["{}"], &[]),
        (r#"{"a":{"$bytes":"AAE="}}"#, &[r#"{"a":{"$bytes":"AAE="}}"#], &[r#"{"a":"AAE="}"#]),
    ] {
        for fields in yes {
            assert!(matches(filter, fields), "{filter} should match {fields}");
        }
        for fields in no {
            assert!(!matches(filter, fields), "{filter} should not match {fields}");
        }
    }
}

#[test]
fn mistakes_in_filters_say_what_to_do() {
    let many = format!(r#"{{"$or":[{}{{"a":1}}]}}"#, r#"{"a":1},"#.repeat(600));
    let regexes = format!(r#"{{"$or":[{}{{"a":1}}]}}"#, r#"{"a":{"$regex":"x"}},"#.repeat(17));
    for (text, hint) in [
        ("[]", "an object"),
        ("{", "JSON"),
        (r#"{"$xor":[]}"#, "$and, $or, $nor"),
        (r#"{"a":{"$like":"x"}}"#, "$regex"),
        (r#"{"a":{"$gt":1,"b":2}}"#, "$eq"),
        (r#"{"a":{"b":{"$gt":1}}}"#, "reserved"),
        (r#"{"$or":[]}"#, "one or more"),
        (r#"{"$and":{"a":1}}"#, "a list"),
        (r#"{"a":{"$in":1}}"#, "a list of values"),
        (r#"{"a":{"$not":1}}"#, "$ne"),
        (r#"{"a":{"$exists":1}}"#, "true or false"),
        (r#"{"a":{"$size":-1}}"#, "number of elements"),
        (r#"{"a":{"$regex":"("}}"#, "$regex"),
        (r#"{"a":{"$regex":"a","$options":"g"}}"#, "i, m, s, x"),
        (r#"{"a":{"$options":"i"}}"#, "$regex"),
        (r#"{"a":{"$regex":"(((a{99}){99}){99}){99}"}}"#, "$regex"),
        (r#"{"_size":1}"#, "_created"),
        (r#"{"a":{"$elemMatch":{"_id":1}}}"#, "$elemMatch"),
        (r#"{"a..b":1}"#, "dots"),
        (&many, "$in"),
        (&regexes, "at most 16"),
    ] {
        let error = Filter::parse(text).unwrap_err().to_string();
        assert!(error.contains(hint), "{text}: {error}");
    }
}

// Small documents and filters that often have to do with each other.

fn scalar() -> impl Strategy<Value = Value> {
    proptest::sample::select(vec![
        "null",
        "0",
        "1",
        "1.0",
        "2",
        "true",
        "false",
        "\"x\"",
        "\"y\"",
        r#"{"$bytes":"AA=="}"#,
    ])
    .prop_map(|text| Value::from_json(text).unwrap())
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            2 => vec(inner.clone(), 0..4).prop_map(Value::List),
            2 => vec((key(), inner), 0..3).prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["a", "a", "b", "0"])
}

fn fields() -> impl Strategy<Value = Map> {
    vec((key(), value()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn path() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["a", "b", "a.b", "a.a", "a.0", "a.1", "a.0.b", "a.b.a"])
}

fn one(key: &str, value: Value) -> Value {
    Value::Map(Map::from_iter([(key, value)]))
}

fn tests() -> impl Strategy<Value = Value> {
    let names = proptest::sample::select(vec!["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]);
    let test = prop_oneof![
        4 => (names, value()).prop_map(|(name, value)| (name, value)),
        1 => (any::<bool>(), vec(value(), 0..3)).prop_map(|(not, list)| (if not { "$nin" } else { "$in" }, Value::List(list))),
        1 => any::<bool>().prop_map(|exists| ("$exists", Value::Bool(exists))),
        1 => (0i64..3).prop_map(|size| ("$size", Value::I64(size))),
        1 => Just(("$regex", Value::from("x"))),
    ];
    let tests = vec(test, 1..4).prop_map(|tests| Value::Map(tests.into_iter().collect())).boxed();
    prop_oneof![
        4 => tests.clone(),
        1 => tests.clone().prop_map(|tests| one("$not", tests)),
        1 => tests.clone().prop_map(|tests| one("$elemMatch", tests)),
        1 => tests.clone().prop_map(|tests| one("$elemMatch", one("$not", tests))),
        1 => (key(), tests).prop_map(|(key, tests)| one("$elemMatch", one(key, tests))),
        1 => value(),
    ]
}

fn filter() -> impl Strategy<Value = Value> {
    let field = vec((path(), tests()), 1..3).prop_map(|pairs| Value::Map(pairs.into_iter().collect()));
    field.prop_recursive(2, 8, 3, |inner| {
        let names = proptest::sample::select(vec!["$and", "$or", "$nor"]);
        (names, vec(inner, 1..3)).prop_map(|(name, filters)| one(name, Value::List(filters)))
    })
}

// The second evaluator: works on the JSON of the filter, collects all values first, copies freely.

fn reached(value: &Value, keys: &[&str]) -> Vec<Option<Value>> {
    let [key, rest @ ..] = keys else { return vec![Some(value.clone())] };
    match value {
        Value::Map(map) => map.get(key).map_or(vec![None], |value| reached(value, rest)),
        Value::List(list) => {
            let indexed = key
                .parse::<usize>()
                .ok()
                .and_then(|at| list.get(at))
                .into_iter()
                .flat_map(|v| reached(v, rest));
            let inside = list.iter().filter(|v| v.as_map().is_some()).flat_map(|v| reached(v, keys));
            indexed.chain(inside).collect()
        }
        _ => vec![None],
    }
}

fn naive(filter: &Value, fields: &Value) -> bool {
    let each = |filters: &Value, hit: &dyn Fn(&Value) -> bool| {
        filters.as_list().unwrap().iter().map(hit).collect::<Vec<_>>()
    };
    filter.as_map().unwrap().iter().all(|(key, argument)| match key {
        "$and" => each(argument, &|filter| naive(filter, fields)).iter().all(|hit| *hit),
        "$or" => each(argument, &|filter| naive(filter, fields)).iter().any(|hit| *hit),
        "$nor" => !each(argument, &|filter| naive(filter, fields)).iter().any(|hit| *hit),
        path => {
            let values = reached(fields, &path.split('.').collect::<Vec<_>>());
            naive_tests(argument, &values, true)
        }
    })
}

// `expand`: whether a list stands for its elements, too.
fn naive_tests(tests: &Value, values: &[Option<Value>], expand: bool) -> bool {
    let Some(tests) = tests.as_map().filter(|tests| tests.iter().any(|(name, _)| name.starts_with('$')))
    else {
        return naive_tests(&one("$eq", tests.clone()), values, expand);
    };
    let mut single: Vec<Value> = Vec::new();
    for value in values {
        single.push(value.clone().unwrap_or_default());
        if let Some(Value::List(list)) = value.as_ref().filter(|_| expand) {
            single.extend(list.clone());
        }
    }
    let lists = || values.iter().flatten().filter_map(Value::as_list);
    let ordered = |other: &Value, name: &str| {
        single.iter().filter(|value| value.class() == other.class()).map(|value| value.compare(other)).any(
            |order| match name {
                "$gt" => order.is_gt(),
                "$gte" => order.is_ge(),
                "$lt" => order.is_lt(),
                _ => order.is_le(),
            },
        )
    };
    tests.iter().all(|(name, argument)| match name {
        "$eq" => single.iter().any(|value| value.same(argument)),
        "$ne" => !single.iter().any(|value| value.same(argument)),
        "$in" => argument.as_list().unwrap().iter().any(|other| single.iter().any(|value| value.same(other))),
        "$nin" => {
            !argument.as_list().unwrap().iter().any(|other| single.iter().any(|value| value.same(other)))
        }
        "$exists" => values.iter().any(Option::is_some) == (*argument == Value::Bool(true)),
        "$size" => lists().any(|list| argument.same(&Value::I64(list.len() as i64))),
        "$regex" => single
            .iter()
            .any(|value| value.as_str().is_some_and(|text| text.contains(argument.as_str().unwrap()))),
        "$not" => !naive_tests(argument, values, expand),
        "$elemMatch" if argument.as_map().unwrap().iter().all(|(name, _)| name.starts_with('$')) => {
            lists().any(|list| list.iter().any(|value| naive_tests(argument, &[Some(value.clone())], false)))
        }
        "$elemMatch" => {
            lists().any(|list| list.iter().any(|value| value.as_map().is_some() && naive(argument, value)))
        }
        _ => ordered(argument, name),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn both_evaluators_agree(filter in filter(), fields in fields()) {
        let parsed = Filter::from_value(&filter).unwrap();
        let expected = naive(&filter, &Value::Map(fields.clone()));
        prop_assert_eq!(parsed.matches(&document(1, fields).subject()), expected);
    }

    #[test]
    fn an_index_range_holds_every_match(filter in filter(), path in path(), fields in fields()) {
        let (filter, path) = (Filter::from_value(&filter).unwrap(), FieldPath::parse(path).unwrap());
        prop_assert!(!index_values(&fields, &path).is_empty());
        let found = is_found(&filter, &path, &fields);
        prop_assert!(found || !filter.matches(&document(1, fields).subject()));
    }

    #[test]
    fn any_text_is_a_filter_or_an_error(text in "[\\[\\]{}\":, a$b0-9gtineqor]{0,40}") {
        let _ = Filter::parse(&text);
    }
}

#[test]
fn ranges_are_as_narrow_as_lists_allow() {
    let bounds = |filter: &str| {
        let (filter, path) = (Filter::parse(filter).unwrap(), FieldPath::parse("a").unwrap());
        (format!("{:?}", filter.bounds(&path)), format!("{:?}", filter.bounds_of_single(&path)))
    };
    let range = |low: &str, high: &str| format!("Some(({low}, {high}))");
    let (many, single) = bounds(r#"{"a":{"$gte":1,"$lt":5},"b":1}"#);
    assert_eq!(many, range("Included(1)", r#"Excluded("")"#));
    assert_eq!(single, range("Included(1)", "Excluded(5)"));
    assert_eq!(bounds(r#"{"a":{"$elemMatch":{"$gte":1,"$lt":5}}}"#).0, range("Included(1)", "Excluded(5)"));
    assert_eq!(bounds(r#"{"$and":[{"a":{"$gt":0}},{"a":3}]}"#).0, range("Included(3)", "Included(3)"));
    assert_eq!(bounds(r#"{"a":{"$in":[7,3,5]}}"#).0, range("Included(3)", "Included(7)"));
    // Nothing can be in such a range, and it may be asked for all the same.
    assert_eq!(bounds(r#"{"a":{"$gt":5,"$lt":3}}"#).1, range("Included(null)", "Excluded(null)"));
    for without in
        [r#"{"a":{"$ne":1}}"#, r#"{"$or":[{"a":1},{"b":1}]}"#, r#"{"a":{"$exists":true}}"#, r#"{"b":1}"#]
    {
        assert_eq!(bounds(without).0, "None");
    }
}

#[test]
fn an_index_holds_elements_and_the_list_itself() {
    let values = |fields: &str, path: &str| {
        format!("{:?}", index_values(&map(fields), &FieldPath::parse(path).unwrap()))
    };
    assert_eq!(values(r#"{"a":[2,1,1.0]}"#, "a"), "[1, 2, [2,1,1.0]]");
    assert_eq!(values(r#"{"a":[{"b":1},{"b":[2]},{}]}"#, "a.b"), "[null, 1, 2, [2]]");
    assert_eq!(values("{}", "a"), "[null]");
    assert_eq!(values(r#"{"a":[]}"#, "a.b"), "[null]");
}

#[test]
fn a_query_sorts_by_value_and_then_by_id_and_cuts() {
    let of = |id: i64, fields: &str| document(id, map(fields));
    let mut deleted = of(9, r#"{"due":1}"#);
    deleted.deleted = true;
    let all =
        [of(3, r#"{"due":2}"#), of(1, r#"{"due":2.0}"#), of(2, "{}"), of(4, r#"{"due":"soon"}"#), deleted];
    let ids = |query: &Query| {
        let found = all.iter().filter(|document| query.matches(&document.subject())).cloned().collect();
        query.arrange(found).iter().map(|document| document.id.to_string()).collect::<Vec<_>>().join(" ")
    };
    let sorted = |sort| Query { sort: Sort::parse(sort).unwrap(), ..Query::default() };
    assert_eq!(ids(&sorted("")), "1 2 3 4");
    assert_eq!(ids(&sorted("due")), "2 1 3 4");
    assert_eq!(ids(&sorted("-due")), "4 1 3 2");
    assert_eq!(ids(&sorted("-due,-_id")), "4 3 1 2");
    assert_eq!(ids(&Query { skip: 1, limit: Some(2), ..sorted("due") }), "1 3");
    assert_eq!(ids(&Query { deleted: Deleted::Included, ..sorted("due") }), "2 9 1 3 4");
    assert!(
        Sort::parse("a,,b").is_err() && Sort::parse("_x").is_err() && Sort::parse(&"a,".repeat(99)).is_err()
    );
}
