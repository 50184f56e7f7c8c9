//! Values, paths and document ids: CBOR, JSON at the border, text, and the order of values.

use driftless_core::cbor::{Reader, Writer, check};
use driftless_core::document_id::DocumentId;
use driftless_core::value::{Path, Value, index_key};
use serde::{Deserialize, Serialize};

use crate::{Hex, RefusedBytes, hold};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    about: String,
    valid: Vec<Valid>,
    also_read: Vec<Spelling>,
    ascending: Vec<Vec<String>>,
    refused_bytes: Vec<RefusedBytes>,
    refused_json: Vec<RefusedText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Valid {
    json: String,
    bytes: Hex,
    index_key: Hex,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelling {
    json: String,
    bytes: Hex,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedText {
    text: String,
    reason: String,
}

impl RefusedText {
    fn new<T, E: std::fmt::Display>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Self {
        let Err(reason) = parse(text) else { panic!("{text} was not refused") };
        Self { text: text.into(), reason: reason.to_string() }
    }

    fn check<T, E: std::fmt::Display>(&self, parse: impl Fn(&str) -> Result<T, E>) {
        assert_eq!(
            parse(&self.text).map(drop).map_err(|error| error.to_string()),
            Err(self.reason.clone()),
            "{}",
            self.text
        );
    }
}

fn value(json: &str) -> Value {
    Value::from_json(json).unwrap()
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn values() -> Values {
    let deepest = nested(64);
    let valid = [
        "null",
        "false",
        "true",
        "0",
        "23",
        "24",
        "255",
        "256",
        "65536",
        "4294967296",
        "-1",
        "-25",
        "9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "0.0",
        "-0.0",
        "1.0",
        "0.1",
        "1e300",
        "5e-324",
        r#"{"$f64":"inf"}"#,
        r#"{"$f64":"-inf"}"#,
        r#""""#,
        r#""a\"\\\n\u0000é€😀""#,
        r#"{"$bytes":""}"#,
        r#"{"$bytes":"AP8="}"#,
        "[]",
        r#"[1,1.0,"x",[null]]"#,
        "{}",
        r#"{"":0,"a":1,"aa":2,"b":3,"é":4}"#,
        r#"{"a.b":{"c":[]}}"#,
        &deepest,
    ];
    let also_read = [
        r#"{"$i64":"5"}"#,
        r#"{"$i64":"-9223372036854775808"}"#,
        " [ 1 , 2 ] ",
        r#""\u00e9\ud83d\ude00\/""#,
        "1E2",
        "-0",
        r#"{"b":1,"a":2}"#,
    ];
    let ascending: [&[&str]; 22] = [
        &["null"],
        &[r#"{"$f64":"-inf"}"#],
        &["-9223372036854775808", "-9223372036854775808.0"],
        &["-1.5"],
        &["-1", "-1.0"],
        &["0", "0.0", "-0.0"],
        &["1", "1.0"],
        &["9007199254740992", "9007199254740992.0"],
        &["9007199254740993"],
        &["9223372036854775807"],
        &["9223372036854775808.0"],
        &[r#"{"$f64":"inf"}"#],
        &[r#""""#],
        &[r#""a""#],
        &[r#""a\u0000""#],
        &[r#""aa""#],
        &[r#"{"$bytes":"YQ=="}"#],
        &["false"],
        &["true"],
        &["[1]", "[1.0]"],
        &["[1,0]"],
        &[r#"{"a":1}"#, r#"{"a":1.0}"#],
    ];
    let refused_bytes = [
        ("nothing", vec![]),
        ("two items", vec![0, 0]),
        ("an integer beyond i64", vec![0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("a negative integer beyond i64", vec![0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("23 in two bytes", vec![0x18, 23]),
        ("a float of 2 bytes", vec![0xf9, 0x3c, 0]),
        ("a float of 4 bytes", vec![0xfa, 0x3f, 0x80, 0, 0]),
        ("not a number", vec![0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
        ("undefined", vec![0xf7]),
        ("a simple value", vec![0xe0]),
        ("a tag", vec![0xc0, 0x60]),
        ("a text of indefinite length", vec![0x7f, 0x61, b'a', 0xff]),
        ("a list of indefinite length", vec![0x9f, 0xff]),
        ("a text cut off", vec![0x62, b'a']),
        ("text that is not UTF-8", vec![0x61, 0x80]),
        ("a number as key", vec![0xa1, 0, 0]),
        ("a key twice", vec![0xa2, 0x61, b'a', 0, 0x61, b'a', 0]),
        ("keys out of order", vec![0xa2, 0x62, b'a', b'a', 0, 0x61, b'b', 0]),
        ("a key with $", vec![0xa1, 0x61, b'$', 0]),
        ("a key with _", vec![0xa1, 0x61, b'_', 0]),
        ("65 lists deep", [vec![0x81; 64], vec![0x80]].concat()),
        ("a list that claims 2^64-1 elements", [&[0x9b][..], &[0xff; 8]].concat()),
    ];
    let too_deep = nested(65);
    let refused_json = [
        "",
        "nul",
        "1 2",
        "01",
        "NaN",
        "9223372036854775808",
        "-9223372036854775809",
        "1e999",
        r#"{"a":1,"a":2}"#,
        r#"{"_a":1}"#,
        r#"{"$set":1}"#,
        r#"{"$f64":"nan"}"#,
        r#"{"$bytes":"AA"}"#,
        r#"{"$i64":"1","a":2}"#,
        r#""\ud800""#,
        &too_deep,
    ];
    Values {
        about: "json: as it is written. also_read: other spellings of values. ascending: of two lines the first is \
                less, values on one line are the same. reason: a sentence of ours."
            .into(),
        valid: valid
            .map(|json| Valid {
                json: json.into(),
                bytes: Hex(value(json).to_cbor()),
                index_key: Hex(index_key(&value(json))),
            })
            .into(),
        also_read: also_read
            .map(|json| Spelling { json: json.into(), bytes: Hex(value(json).to_cbor()) })
            .into(),
        ascending: ascending.iter().map(|same| same.iter().map(|json| (*json).into()).collect()).collect(),
        refused_bytes: refused_bytes
            .map(|(name, bytes)| RefusedBytes::new(name, bytes, Value::from_cbor))
            .into(),
        refused_json: refused_json.map(|text| RefusedText::new(text, Value::from_json)).into(),
    }
}

#[test]
fn values_are_read_written_and_ordered_as_the_vectors_say() {
    hold("values", &values(), |file: Values| {
        for Valid { json, bytes, index_key: kept } in &file.valid {
            let read = Value::from_cbor(&bytes.0).unwrap();
            assert_eq!(read.to_json(), *json);
            assert_eq!(read, value(json));
            assert_eq!(read.to_cbor(), bytes.0);
            assert_eq!(index_key(&read), kept.0);
        }
        for Spelling { json, bytes } in &file.also_read {
            assert_eq!(value(json).to_cbor(), bytes.0);
            assert_ne!(value(json).to_json(), *json, "this is how it is written");
        }
        let ranks = || (0..).zip(&file.ascending);
        let flat = || ranks().flat_map(|(rank, same)| same.iter().map(move |json| (rank, value(json))));
        for (left_rank, left) in flat() {
            for (right_rank, right) in flat() {
                let order: std::cmp::Ordering = i32::cmp(&left_rank, &right_rank);
                assert_eq!(left.compare(&right), order, "{left} {right}");
                assert_eq!(index_key(&left).cmp(&index_key(&right)), order, "{left} {right}");
            }
        }
        file.refused_bytes.iter().for_each(|refused| refused.check(Value::from_cbor));
        file.refused_json.iter().for_each(|refused| refused.check(Value::from_json));
    });
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    about: String,
    ids: Vec<Name>,
    refused_ids: Vec<RefusedBytes>,
    refused_id_texts: Vec<RefusedText>,
    paths: Vec<Spelled>,
    refused_paths: Vec<RefusedBytes>,
    refused_path_texts: Vec<RefusedText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    text: String,
    json: String,
    bytes: Hex,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    text: String,
    bytes: Hex,
}

fn path_bytes(path: &Path) -> Vec<u8> {
    let mut writer = Writer::default();
    path.encode(&mut writer);
    writer.finish()
}

fn decode_path(bytes: &[u8]) -> Result<Path, driftless_core::cbor::CborError> {
    check(bytes, 1)?;
    Path::decode(&mut Reader::new(bytes))
}

fn names() -> Names {
    let text = |text: &str| DocumentId::string(text).unwrap();
    let random = DocumentId::random(std::array::from_fn(|n| n as u8 * 17));
    let ids = [
        DocumentId::from(0),
        DocumentId::from(-1),
        DocumentId::from(i64::MAX),
        DocumentId::from(i64::MIN),
        text(""),
        text("FI-18"),
        text("42"),
        text("~short"),
        text(&format!("~{}", "A".repeat(26))),
        text("a \"quoted\" name"),
        text(&"x".repeat(1021)),
        random.clone(),
        DocumentId::bytes([0; 15]).unwrap(),
        DocumentId::bytes([]).unwrap(),
        DocumentId::list(vec![text("a"), 1.into(), random]).unwrap(),
        DocumentId::list(vec![DocumentId::from(7)]).unwrap(),
    ];
    let cbor_text = |text: &str| Value::from(text).to_cbor();
    let looks_random = format!("~{}", "a".repeat(26));
    let refused_ids = [
        ("nothing", vec![]),
        ("null", vec![0xf6]),
        ("a bool", vec![0xf5]),
        ("a float", vec![0xfb, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a map", vec![0xa0]),
        ("an empty list", vec![0x80]),
        ("a list in a list", vec![0x81, 0x81, 1]),
        ("null in a list", vec![0x81, 0xf6]),
        ("a text that looks like a random id", cbor_text(&looks_random)),
        ("such a text in a list", [vec![0x81], cbor_text(&looks_random)].concat()),
        ("1,025 bytes", cbor_text(&"x".repeat(1022))),
        ("an integer beyond i64", vec![0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    ];
    let not_from_bytes = format!("~{}b", "a".repeat(25));
    let paths = ["a", "a.b", "é.0", r#"["a.b"]"#, r#"["","x"]"#, r#"["[a"]"#];
    let refused_paths = [
        ("empty", vec![0x80]),
        ("a text", vec![0x61, b'a']),
        ("a number in it", vec![0x81, 0]),
        ("33 keys", [&[0x98, 33][..], &[0x60; 33]].concat()),
        ("a reserved key", vec![0x81, 0x61, b'_']),
    ];
    let long = ["a"; 33].join(".");
    Names {
        about: "text: on a command line and in the view. json: the _id of a document. The text of a path: keys with \
                dots, or a JSON list of keys. reason: a sentence of ours."
            .into(),
        ids: ids
            .map(|id| Name { text: id.to_string(), json: id.to_value().to_json(), bytes: Hex(id.to_cbor()) })
            .into(),
        refused_ids: refused_ids
            .map(|(name, bytes)| RefusedBytes::new(name, bytes, DocumentId::from_cbor))
            .into(),
        refused_id_texts: [&not_from_bytes, "1.5", "null", "true", "[]", "[[1]]", "{}", "9223372036854775808"]
            .map(|text| RefusedText::new(text, DocumentId::parse_text))
            .into(),
        paths: paths
            .map(|text| Spelled { text: text.into(), bytes: Hex(path_bytes(&Path::parse(text).unwrap())) })
            .into(),
        refused_paths: refused_paths
            .map(|(name, bytes)| RefusedBytes::new(name, bytes, decode_path))
            .into(),
        refused_path_texts: ["", "a..b", ".a", "a.", "_id", "a.$x", "[]", &long]
            .map(|text| RefusedText::new(text, Path::parse))
            .into(),
    }
}

#[test]
fn document_ids_and_paths_are_read_and_written_as_the_vectors_say() {
    hold("names", &names(), |file: Names| {
        for Name { text, json, bytes } in &file.ids {
            let id = DocumentId::from_cbor(&bytes.0).unwrap();
            assert_eq!(id.to_cbor(), bytes.0);
            assert_eq!(id.to_string(), *text);
            assert_eq!(DocumentId::parse_text(text), Ok(id.clone()));
            assert_eq!(id.to_value().to_json(), *json);
            assert_eq!(DocumentId::from_value(&value(json)), Ok(id));
        }
        file.refused_ids.iter().for_each(|refused| refused.check(DocumentId::from_cbor));
        file.refused_id_texts.iter().for_each(|refused| refused.check(DocumentId::parse_text));
        for Spelled { text, bytes } in &file.paths {
            let path = decode_path(&bytes.0).unwrap();
            assert_eq!(path_bytes(&path), bytes.0);
            assert_eq!(path.to_string(), *text);
            assert_eq!(Path::parse(text), Ok(path));
        }
        file.refused_paths.iter().for_each(|refused| refused.check(decode_path));
        file.refused_path_texts.iter().for_each(|refused| refused.check(Path::parse));
    });
}
