//! Random values, ids and operators, with the awkward ones often.

use driftless_core::document_id::DocumentId;
use driftless_core::id::SpaceId;
use driftless_core::operator::Operator;
use driftless_core::value::{Float, Map, Number, Path, Value};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) fn json(text: &str) -> Value {
    Value::from_json(text).unwrap()
}

pub(crate) fn map(text: &str) -> Map {
    Map::from_json(text).unwrap()
}

pub(crate) fn number() -> impl Strategy<Value = Value> {
    const EDGES: [i64; 9] =
        [0, 1, -1, i64::MAX, i64::MIN, i64::MAX - 512, (1 << 53) + 1, 1 << 53, -(1 << 53) - 1];
    prop_oneof![
        (-3i64..4).prop_map(Value::I64),
        proptest::sample::select(&EDGES[..]).prop_map(Value::I64),
        proptest::sample::select(&EDGES[..]).prop_map(|edge| Value::float(edge as f64).unwrap()),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_filter_map("not NaN", |float| Float::new(float).map(Value::F64)),
        proptest::sample::select(vec![
            0.0,
            -0.0,
            1.0,
            1.5,
            1e16,
            1e-7,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY
        ])
        .prop_map(|float| Value::float(float).unwrap()),
    ]
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab\u{0}]{0,3}",
        "\\PC{0,6}",
        proptest::sample::select(vec!["\u{0}\u{1}\"\\\n", "é", "\u{ffff}😀"]).prop_map(str::to_owned)
    ]
}

pub(crate) fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        4 => number(),
        3 => text().prop_map(Value::String),
        2 => vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 0..4).prop_map(Value::Bytes),
    ]
}

pub(crate) fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[abc]", "[ab.0é\\[\"]{0,2}"]
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec((key(), inner), 0..4).prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

pub(crate) fn fields() -> impl Strategy<Value = Map> {
    vec((key(), value()), 0..5).prop_map(|pairs| pairs.into_iter().collect())
}

pub(crate) fn id() -> impl Strategy<Value = DocumentId> {
    let single = prop_oneof![
        any::<i64>().prop_map(DocumentId::from),
        text().prop_map(|text| DocumentId::string(text).unwrap()),
        vec(any::<u8>(), 0..20).prop_map(|bytes| DocumentId::bytes(bytes).unwrap()),
        any::<[u8; 16]>().prop_map(DocumentId::random),
    ]
    .boxed();
    prop_oneof![3 => single.clone(), 1 => vec(single, 1..4).prop_map(|parts| DocumentId::list(parts).unwrap())]
}

pub(crate) fn path() -> impl Strategy<Value = Path> {
    vec(key(), 1..4).prop_map(|keys| Path::new(keys).unwrap())
}

pub(crate) fn step() -> impl Strategy<Value = Number> {
    number().prop_map(|value| value.as_number().unwrap())
}

pub(crate) fn operator() -> impl Strategy<Value = Operator> {
    let values = || vec(value(), 0..3);
    prop_oneof![
        1 => (fields(), proptest::option::of(id())).prop_map(|(fields, parent)| Operator::Insert { fields, parent }),
        4 => (path(), value()).prop_map(|(path, value)| Operator::Set { path, value }),
        1 => path().prop_map(|path| Operator::Unset { path }),
        2 => (path(), step()).prop_map(|(path, by)| Operator::Increment { path, by }),
        2 => (path(), values()).prop_map(|(path, values)| Operator::Push { path, values }),
        2 => (path(), values()).prop_map(|(path, values)| Operator::Pull { path, values }),
        2 => (path(), values()).prop_map(|(path, values)| Operator::AddToSet { path, values }),
        1 => Just(Operator::Delete),
        1 => Just(Operator::Restore),
        1 => Just(Operator::Moved { to: SpaceId([3; 32]) }),
        1 => Just(Operator::Unknown(vec![0x82, 10, 0xa1, 0x61, b'x', 1])),
    ]
}
