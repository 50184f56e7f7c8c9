//! Decoders of text: values, filters, operators, ids, paths, tickets, addresses. What is accepted comes back the same
//! from what it prints.

use std::ops::Bound;

use driftless::Ticket;
use driftless_core::cbor::{Reader, Writer};
use driftless_core::clock::Timestamp;
use driftless_core::document::Subject;
use driftless_core::document_id::DocumentId;
use driftless_core::filter::{FieldPath, Filter, index_values};
use driftless_core::fold::DocumentState;
use driftless_core::id::{AuthorId, CommitId, PeerId, SpaceId, base32, from_base32};
use driftless_core::operator::{Operator, operators_from_json, operators_to_value};
use driftless_core::query::Sort;
use driftless_core::value::{Map, Path, Value, index_key, index_range};
use driftless_net::Address;

pub(crate) const OPERATORS: &str = r#"{"$set": {"a.b": [1, {"c": 2.5}]}, "$unset": {"d": ""}, "$inc": {"n": 3},
    "$push": {"l": {"$each": [1, "x"]}}, "$pull": {"p": 4}, "$pullAll": {"q": [1, 2]}, "$addToSet": {"s": true}}"#;
pub(crate) const DOCUMENT: &str = r#"{"a": {"b": 2}, "c": [1, -2.5, null, {"x": 1}], "d": "aab", "l": [{"x": 1}], "m": [1, 2, 3], "q": {"$bytes": "AAEC"}}"#;
pub(crate) const VALUES: [&str; 6] = [
    DOCUMENT,
    r#"{"a": [1, -2.5e3, null, true, "\u00e9\n\ud83d\ude00"], "c": {"$f64": "inf"}, "d": {"$i64": "9007199254740993"}}"#,
    r#"[[], {}, "", 0, -0.0, {"$f64": "-inf"}]"#,
    "9223372036854775807",
    "-1e-7",
    r#""~aaaaaaaaaaaaaaaaaaaaaaaaaa""#,
];
const FILTERS: [&str; 4] = [
    r#"{"$or": [{"a.b": {"$gt": 1, "$lte": 2.5}}, {"c": {"$in": [1, null, "x"]}}], "n": {"$exists": false}}"#,
    r#"{"d": {"$not": {"$regex": "^b+a"}}, "l": {"$elemMatch": {"x": 1}}, "m": {"$size": 3}}"#,
    r#"{"m": {"$elemMatch": {"$gte": 2, "$lt": 9}}, "a.b": {"$ne": "2", "$nin": [3]}, "_collection": "notes"}"#,
    r#"{"$and": [{"c.x": 1}, {"$nor": [{"c": {"$size": 1}}]}], "d": {"$regex": "A{2}b", "$options": "i"}}"#,
];

/// A filter, and after a line with nothing but `---` a document and a path for an index.
pub(crate) fn filter(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut parts = text.split("\n---\n");
    let Ok(filter) = Filter::parse(parts.next().unwrap_or_default()) else { return };
    let Ok(fields) = Map::from_json(parts.next().unwrap_or(DOCUMENT)) else { return };
    let path = parts.next().unwrap_or("a.b");
    let id = DocumentId::from(7);
    let author = AuthorId([1; 32]);
    let subject = Subject {
        id: &id,
        collection: "notes",
        created: Timestamp(1),
        updated: Timestamp(2),
        author: &author,
        deleted: false,
        parent: None,
        fields: &fields,
    };
    let matches = filter.matches(&subject);
    let Ok(path) = FieldPath::parse(path) else { return };
    // What matches has an entry in the range of an index that the filter names, by value and by key.
    let values = index_values(&fields, &path);
    assert!(!values.is_empty());
    let ranges = [filter.bounds(&path), filter.bounds_of_single(&path).filter(|_| values.len() == 1)];
    for (low, high) in ranges.into_iter().flatten() {
        let keys = index_range(low.as_ref(), high.as_ref());
        let entry = |value: &Value| lies_in(value, &low, &high) && key_lies_in(value, &keys);
        assert!(!matches || values.iter().any(entry), "{filter:?} matches outside of {low:?}..{high:?}");
    }
}

fn lies_in(value: &Value, low: &Bound<Value>, high: &Bound<Value>) -> bool {
    let above = match low {
        Bound::Included(low) => value.compare(low).is_ge(),
        Bound::Excluded(low) => value.compare(low).is_gt(),
        Bound::Unbounded => true,
    };
    above
        && match high {
            Bound::Included(high) => value.compare(high).is_le(),
            Bound::Excluded(high) => value.compare(high).is_lt(),
            Bound::Unbounded => true,
        }
}

fn key_lies_in(value: &Value, range: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> bool {
    std::ops::RangeBounds::<Vec<u8>>::contains(range, &index_key(value))
}

pub(crate) fn operators(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(operators) = operators_from_json(text) else { return };
    for operator in &operators {
        let mut writer = Writer::default();
        operator.encode(&mut writer);
        let bytes = writer.finish();
        assert_eq!(Operator::decode(&mut Reader::new(&bytes)).as_ref(), Ok(operator));
    }
    // `{"$inc": {}}` changes nothing; what shows nothing is not read as an edit, lest somebody meant one.
    if operators.is_empty() {
        return;
    }
    let shown = operators_to_value(&operators).to_json();
    assert_eq!(operators_from_json(&shown).map(|again| operators_to_value(&again).to_json()), Ok(shown));
    let mut state = DocumentState::default();
    for time in 1..3 {
        state.apply(Timestamp(time), AuthorId([1; 32]), &operators);
    }
    let bytes = state.to_bytes();
    assert_eq!(DocumentState::from_bytes(&bytes).map(|state| state.to_bytes()), Ok(bytes));
}

pub(crate) fn json(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(value) = Value::from_json(text) {
        assert_eq!(Value::from_json(&value.to_json()).as_ref(), Ok(&value));
        assert_eq!(Value::from_cbor(&value.to_cbor()).as_ref(), Ok(&value));
    }
    if let Ok(fields) = Map::from_json(text) {
        assert_eq!(Map::from_json(&fields.to_json()).as_ref(), Ok(&fields));
    }
    let _ = Value::from_json_with_operators(text);
}

/// Ids, paths, sort orders.
pub(crate) fn names(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = Sort::parse(text);
    let _ = FieldPath::parse(text);
    let _ = Path::parse(text);
    if let Some(bytes) = from_base32(text) {
        assert_eq!(base32(&bytes), text);
    }
    if let Ok(id) = DocumentId::parse_text(text) {
        assert_eq!(DocumentId::parse_text(&id.to_string()).as_ref(), Ok(&id));
        assert_eq!(DocumentId::from_cbor(&id.to_cbor()), Ok(id));
    }
    let ids = [
        text.parse::<CommitId>().map(|id| id.to_string()),
        text.parse::<SpaceId>().map(|id| id.to_string()),
        text.parse::<AuthorId>().map(|id| id.to_string()),
        text.parse::<PeerId>().map(|id| id.to_string()),
    ];
    for id in ids.into_iter().flatten() {
        assert_eq!(id, text);
    }
}

/// A ticket as text, or else its bytes, which are then written as text.
pub(crate) fn ticket(input: &[u8]) {
    let text = match std::str::from_utf8(input).ok().filter(|text| text.starts_with("driftless:")) {
        Some(text) => text.to_owned(),
        None => format!("driftless:{}", base32(input)),
    };
    if let Ok(ticket) = text.parse::<Ticket>() {
        assert_eq!(ticket.to_string(), text.trim());
        assert!(!format!("{ticket:?}").contains("secret"));
    }
}

pub(crate) fn address(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

fn owned(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn filter_seeds() -> Vec<Vec<u8>> {
    let paths = ["a.b", "c", "m", "c.x"];
    let whole =
        FILTERS.iter().zip(paths).map(|(filter, path)| format!("{filter}\n---\n{DOCUMENT}\n---\n{path}"));
    whole.map(String::into_bytes).chain(owned(&FILTERS)).chain(owned(&["{}"])).collect()
}

pub(crate) fn operators_seeds() -> Vec<Vec<u8>> {
    owned(&[OPERATORS, r#"{"$inc": {"a.b": {"$f64": "inf"}}, "$push": {"c": [1]}}"#, r#"{"$delete": true}"#])
}

pub(crate) fn json_seeds() -> Vec<Vec<u8>> {
    owned(&VALUES)
}

pub(crate) fn names_seeds() -> Vec<Vec<u8>> {
    let mut seeds =
        owned(&["-a.b,c", "a.b.0.c", "[1, \"a\", {\"$bytes\": \"AAEC\"}]", "_id", "7", "word", "\"7\""]);
    let ids = [
        CommitId([200; 32]).to_string(),
        SpaceId([2; 32]).to_string(),
        AuthorId([1; 32]).to_string(),
        PeerId([3; 32]).to_string(),
        DocumentId::random([5; 16]).to_string(),
    ];
    seeds.extend(ids.map(String::into_bytes));
    seeds
}

pub(crate) fn ticket_seeds() -> Vec<Vec<u8>> {
    let mut writer = Writer::default();
    writer.array(8).u64(1).bytes(&[1; 32]).str("winter").bytes(&[2; 32]).bytes(&[3; 32]).u64(300);
    writer.bytes(&[4; 32]).array(2).str("http://127.0.0.1:4321").str("http://[::1]:80");
    let bytes = writer.finish();
    vec![format!("driftless:{}", base32(&bytes)).into_bytes(), bytes]
}

pub(crate) fn address_seeds() -> Vec<Vec<u8>> {
    let peer = PeerId([7; 32]);
    let long = [
        format!("http://example.org:80/#{peer}"),
        format!("http://[2001:db8::1]:80/#{peer}"),
        format!("memory:alice#{peer}"),
        format!("iroh:192.0.2.7:1,[2001:db8::1]:2,https://relay.example.org:443#{peer}"),
    ];
    let short =
        ["http://127.0.0.1:4321", "http://Example.ORG:80/", "http://[::1]:0", "memory:alice", "https://a:1"];
    owned(&short).into_iter().chain(long.map(String::into_bytes)).collect()
}
