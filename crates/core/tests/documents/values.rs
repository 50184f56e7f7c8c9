//! Values: both encodings are lossless and canonical, the order is total, index keys keep it.

use std::cmp::Ordering;

use driftless_core::cbor;
use driftless_core::limits::{MAX_INDEX_KEY, MAX_VALUE_DEPTH};
use driftless_core::value::{JsonFault, Map, Path, Value, index_key};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::samples::{fields, json, map, path, scalar, value};

proptest! {
    #[test]
    fn cbor_is_canonical_and_lossless(value in value()) {
        let bytes = value.to_cbor();
        prop_assert_eq!(cbor::check(&bytes, MAX_VALUE_DEPTH), Ok(()));
        prop_assert_eq!(Value::from_cbor(&bytes), Ok(value));
    }

    #[test]
    fn json_is_lossless(value in value()) {
        let text = value.to_json();
        prop_assert_eq!(Value::from_json(&text).unwrap(), value.clone());
        // Others read it as JSON.
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        prop_assert_eq!(Value::from_serde_json(&value.to_serde_json()), Ok(value));
    }

    #[test]
    fn json_of_others_is_read_the_same(fields in fields()) {
        // With white space and everything beyond ASCII escaped.
        let text = serde_json::to_string_pretty(&fields).unwrap();
        let escaped: String = text
            .chars()
            .map(|c| if c.is_ascii() { c.to_string() } else { c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect() })
            .collect();
        prop_assert_eq!(Map::from_json(&text).unwrap(), fields.clone());
        prop_assert_eq!(Map::from_json(&escaped).unwrap(), fields);
    }

    #[test]
    fn the_order_is_total_and_index_keys_keep_it(a in value(), b in value(), c in value()) {
        prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
        if a.compare(&b).is_le() && b.compare(&c).is_le() {
            prop_assert!(a.compare(&c).is_le());
        }
        if a == b {
            prop_assert!(a.same(&b));
        }
        let (key_a, key_b) = (index_key(&a), index_key(&b));
        if key_a.len() < MAX_INDEX_KEY && key_b.len() < MAX_INDEX_KEY {
            prop_assert_eq!(key_a.cmp(&key_b), a.compare(&b), "{:?} {:?}", a, b);
        } else {
            prop_assert!(a.compare(&b).is_eq() || key_a.cmp(&key_b) != a.compare(&b).reverse());
        }
    }

    #[test]
    fn the_order_of_scalars_too(a in scalar(), b in scalar()) {
        prop_assert_eq!(index_key(&a).cmp(&index_key(&b)), a.compare(&b), "{:?} {:?}", a, b);
    }

    #[test]
    fn cut_index_keys_never_turn_the_order_round(n in 200usize..300, a in "[ab]{0,80}", b in "[ab]{0,80}") {
        let prefix = "x".repeat(n);
        let (a, b) = (Value::from(format!("{prefix}{a}")), Value::from(format!("{prefix}{b}")));
        let (key_a, key_b) = (index_key(&a), index_key(&b));
        prop_assert!(key_a.len() <= MAX_INDEX_KEY && key_b.len() <= MAX_INDEX_KEY);
        prop_assert!(key_a == key_b || key_a.cmp(&key_b) == a.compare(&b));
    }

    #[test]
    fn damaged_bytes_are_an_error_or_another_value(value in value(), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut bytes = value.to_cbor();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok(other) = Value::from_cbor(&bytes) {
            prop_assert_eq!(other.to_cbor(), bytes.clone());
        }
        // A reader that skipped the check must hold, too.
        let _ = Value::decode(&mut cbor::Reader::new(&bytes));
        let mut text: Vec<char> = value.to_json().chars().collect();
        let at = at % text.len();
        if cut { text.truncate(at) } else { text[at] = byte as char }
        let _ = Value::from_json(&text.into_iter().collect::<String>());
    }

    #[test]
    fn arbitrary_input_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[\\[\\]{}\",:\\\\0-9a-fu.+eE$\\- ]{0,30}") {
        let _ = Value::from_cbor(&bytes);
        let _ = Value::decode(&mut cbor::Reader::new(&bytes));
        if let Ok(value) = Value::from_json(&text) {
            prop_assert_eq!(Value::from_json(&value.to_json()).unwrap(), value);
        }
    }

    #[test]
    fn a_map_is_an_ordered_map(pairs in prop::collection::vec(("[a-d]{0,4}", 0i64..9), 0..200), gone in "[a-d]{0,2}") {
        let mut reference: std::collections::BTreeMap<String, Value> = Default::default();
        let mut map = Map::new();
        for (key, value) in pairs {
            prop_assert_eq!(map.insert(key.as_str(), Value::I64(value)), reference.insert(key, Value::I64(value)));
        }
        prop_assert_eq!(map.remove(&gone), reference.remove(&gone));
        prop_assert_eq!(map.len(), reference.len());
        prop_assert!(map.iter().eq(reference.iter().map(|(key, value)| (key.as_str(), value))));
        prop_assert!(reference.iter().all(|(key, value)| map.get(key) == Some(value)));
        // Small and large maps with the same pairs are equal.
        let small: Map = map.clone().into_iter().collect();
        prop_assert_eq!(small, map);
    }

    #[test]
    fn the_text_of_a_path_names_it(path in path()) {
        prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
    }
}

#[test]
fn integers_and_doubles_compare_by_exact_value() {
    let float = |value| Value::float(value).unwrap();
    let two_63 = 9_223_372_036_854_775_808.0;
    for (a, b, order) in [
        (Value::I64(1), float(1.0), Ordering::Equal),
        (Value::I64(i64::MAX), float(two_63), Ordering::Less),
        (Value::I64(i64::MIN), float(-two_63), Ordering::Equal),
        (Value::I64((1 << 53) + 1), float((1i64 << 53) as f64), Ordering::Greater),
        (Value::I64(-1), float(-1.5), Ordering::Greater),
        (Value::I64(0), float(-0.0), Ordering::Equal),
        (float(0.0), float(-0.0), Ordering::Equal),
        (Value::I64(i64::MAX), float(f64::INFINITY), Ordering::Less),
    ] {
        assert_eq!(a.compare(&b), order, "{a} {b}");
    }
    assert_ne!(float(0.0), float(-0.0));
    assert_ne!(Value::I64(1), float(1.0));
}

#[test]
fn index_keys_keep_the_order_of_all_awkward_numbers() {
    let integers =
        [0, 1, -1, 2, 1 << 53, (1 << 53) + 1, (1 << 53) - 1, (1 << 62) + 1, i64::MAX, i64::MAX - 1, i64::MIN];
    let mut numbers: Vec<Value> = Vec::new();
    for integer in integers {
        for integer in [integer, integer.saturating_neg()] {
            let float = integer as f64;
            numbers.push(Value::I64(integer));
            numbers.extend(
                [float, float.next_up(), float.next_down()].map(|float| Value::float(float).unwrap()),
            );
        }
    }
    numbers
        .extend([f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 0.5].map(|float| Value::float(float).unwrap()));
    for a in &numbers {
        for b in &numbers {
            assert_eq!(index_key(a).cmp(&index_key(b)), a.compare(b), "{a} {b}");
        }
    }
}

#[test]
fn the_order_of_types() {
    let ascending = [
        "null",
        r#"{"$f64":"-inf"}"#,
        "-1",
        "0.5",
        "9e99",
        r#""""#,
        r#""b""#,
        r#"{"$bytes":""}"#,
        "false",
        "true",
        "[]",
        "[null]",
        "[1]",
        "[1,1]",
        "[2]",
        "{}",
        r#"{"a":1}"#,
        r#"{"a":1,"b":1}"#,
        r#"{"b":0}"#,
    ];
    for pair in ascending.windows(2) {
        assert_eq!(json(pair[0]).compare(&json(pair[1])), Ordering::Less, "{pair:?}");
    }
}

#[test]
fn json_keeps_integers_and_doubles_apart() {
    for text in [
        "1",
        "1.0",
        "-0.0",
        "1e16",
        "1e-7",
        "5e-324",
        "9223372036854775807",
        "-9223372036854775808",
        r#"{"$f64":"inf"}"#,
    ] {
        assert_eq!(json(text).to_json(), text);
    }
    assert_eq!(json("-0"), Value::I64(0));
    assert_eq!(json("1E2"), Value::float(100.0).unwrap());
    assert_eq!(json(r#"{"$i64":"9007199254740993"}"#), Value::I64(9_007_199_254_740_993));
    assert_eq!(json(r#" { "$bytes" : "AAE=" } "#), Value::Bytes(vec![0, 1]));
    assert_eq!(json(r#""\ud83d\ude00\/""#), Value::from("😀/"));
}

#[test]
fn json_that_would_lose_something_is_refused() {
    let fault = |text| Value::from_json(text).map_err(|error| error.fault).unwrap_err();
    assert_eq!(fault("9223372036854775808"), JsonFault::IntegerTooLarge);
    assert_eq!(fault("123456789012345678901234567890"), JsonFault::IntegerTooLarge);
    assert_eq!(fault("1e999"), JsonFault::FloatTooLarge);
    assert_eq!(fault(r#"{"a":1,"a":1}"#), JsonFault::RepeatedKey("a".to_owned()));
    assert_eq!(fault(r#"{"a":{"_x":1}}"#), JsonFault::ReservedKey("_x".to_owned()));
    assert_eq!(fault(r#"{"$set":1}"#), JsonFault::ReservedKey("$set".to_owned()));
    assert!(matches!(fault(r#"{"$f64":"nan"}"#), JsonFault::Special(_)));
    assert!(matches!(fault(r#"{"$bytes":"AA"}"#), JsonFault::Special(_)));
    assert!(matches!(fault(r#"{"$bytes":"AAE=","x":1}"#), JsonFault::Special(_)));
    for text in [
        "",
        "nul",
        "NaN",
        "01",
        "1.",
        ".5",
        "+1",
        "1x",
        "[1,]",
        "{\"a\"}",
        "\"\\ud800\"",
        "\"\n\"",
        "1 2",
        "\"\\u00g0\"",
    ] {
        assert!(matches!(fault(text), JsonFault::Syntax(_)), "{text}");
    }
    let error = Value::from_json("{\n  \"a\": x}").unwrap_err();
    assert_eq!((error.line, error.column), (2, 8));
}

#[test]
fn nesting_is_bounded_alike_in_json_and_cbor() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let deepest = json(&nested(MAX_VALUE_DEPTH));
    assert_eq!(deepest.measure().depth, MAX_VALUE_DEPTH);
    assert_eq!(deepest.check(), Ok(()));
    assert_eq!(Value::from_cbor(&deepest.to_cbor()).unwrap(), deepest);
    let deeper = Value::List(vec![deepest]);
    assert!(deeper.check().is_err());
    assert!(Value::from_cbor(&deeper.to_cbor()).is_err());
    assert!(Value::decode(&mut cbor::Reader::new(&deeper.to_cbor())).is_err());
    assert_eq!(Value::from_json(&nested(MAX_VALUE_DEPTH + 1)).unwrap_err().fault, JsonFault::TooDeep);
    assert_eq!(Value::from_json(&"{\"a\":".repeat(100_000)).unwrap_err().fault, JsonFault::TooDeep);
}

#[test]
fn cbor_with_reserved_keys_is_refused() {
    for key in ["$a", "_a"] {
        let bytes = Value::Map(Map::from_iter([(key, Value::Null)])).to_cbor();
        assert!(Value::from_cbor(&bytes).is_err());
    }
    assert_eq!(Value::from_cbor(&[0xa1, 0x60, 0xf6]).unwrap(), json(r#"{"":null}"#));
    assert!(Value::from_cbor(&[0x1b, 255, 255, 255, 255, 255, 255, 255, 255]).is_err(), "beyond i64");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    title: String,
    due: Option<u32>,
    score: f64,
    kind: Kind,
    tags: Vec<(String, i8)>,
    rest: Value,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Repeated { days: u16 },
    Other(String),
}

#[test]
fn typed_documents_come_back_as_they_were() {
    for kind in [Kind::Plain, Kind::Repeated { days: 7 }, Kind::Other("x".to_owned())] {
        let rest = json(r#"{"b":{"$bytes":"AAE="},"c":[1.0,{"$f64":"inf"}]}"#);
        let tags = vec![("a".to_owned(), -1)];
        let task = Task { title: "Milk".to_owned(), due: None, score: f64::INFINITY, kind, tags, rest };
        let fields = Map::from_typed(&task).unwrap();
        // Bytes inside `rest` go through serde as border JSON or as bytes; both come back.
        assert_eq!(fields.to_typed::<Task>().unwrap(), task);
    }
}

#[test]
fn typed_values_that_have_no_place_are_refused_not_changed() {
    assert!(Value::from_typed(&f64::NAN).is_err());
    assert!(Value::from_typed(&vec![Some(f32::NAN)]).is_err());
    assert!(Value::from_typed(&u64::MAX).is_err());
    assert!(Value::from_typed(&serde_json::json!({"_id": 1})).is_err());
    assert!(Value::from_serde_json(&serde_json::json!(u64::MAX)).is_err());
    assert!(Map::from_typed(&1).is_err());
    assert!(map(r#"{"title":1}"#).to_typed::<Task>().is_err());
}
