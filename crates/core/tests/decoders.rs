//! Every decoder that the other tests leave out, fed with cut, changed and made-up bytes. Never a panic; what is
//! accepted is its own canonical form, so that no two byte strings mean the same commit or message.

use driftless_core::cbor::{Reader, Writer, check};
use driftless_core::clock::Timestamp;
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Kind, Received, RuleBody, vouch};
use driftless_core::document_id::DocumentId;
use driftless_core::filter::{FieldPath, Filter};
use driftless_core::id::{AuthorId, CommitId, PeerId, SpaceId, from_base32};
use driftless_core::operator::{Edit, Operator, operators_from_json, operators_to_value};
use driftless_core::query::Sort;
use driftless_core::rules::{Permission, RuleOperator, Strength, Subject};
use driftless_core::sign::AuthorKey;
use driftless_core::value::{Map, Path, Value};
use proptest::prelude::*;

fn header() -> Header {
    Header {
        kind: Kind::Documents,
        continues: true,
        space: Some(SpaceId([1; 32])),
        author: AuthorId([2; 32]),
        seq: 300,
        previous: Some(CommitId([3; 32])),
        parents: vec![CommitId([4; 32]), CommitId([5; 32])],
        time: Timestamp(1 << 50),
        body_hash: [6; 32],
        body_length: 70_000,
        body_encoding: BodyEncoding::Sealed,
        extensions: vec![0xa1, 0x01, 0x82, 0x02, 0xa0],
    }
}

fn document_body() -> Vec<u8> {
    let fields = Map::from_json(r#"{"a": [1, -2.5, null, {"b": "c"}], "d": {"$bytes": "AAEC"}}"#).unwrap();
    let mut operators = vec![Operator::Insert { fields, parent: Some(DocumentId::from(7)) }];
    operators.extend(operators_from_json(OPERATORS).unwrap());
    let edit = Edit { collection: "notes".into(), document: DocumentId::random([1; 16]), operators };
    DocumentBody { edits: vec![edit], retracts: vec![CommitId([8; 32])] }.encode([9; 16])
}

fn rule_body() -> Vec<u8> {
    let operators = vec![
        RuleOperator::Grant {
            subject: Subject::Anyone,
            permission: Some(Permission::Write(Strength(300))),
            keep: Some(vec![CommitId([1; 32]), CommitId([2; 32])]),
        },
        RuleOperator::Name("winter".into()),
        RuleOperator::Setting { key: "policy".into(), value: vec![0x82, 1, 0xa0] },
    ];
    RuleBody { operators }.encode([9; 16])
}

const OPERATORS: &str = r#"{"$set": {"a.b": [1, {"c": 2.5}]}, "$unset": {"d": ""}, "$inc": {"n": 3},
    "$push": {"l": {"$each": [1, "x"]}}, "$pull": {"p": 4}, "$pullAll": {"q": [1, 2]}, "$addToSet": {"s": true}}"#;
const FILTER: &str = r#"{"$or": [{"a.b": {"$gt": 1, "$lte": 2.5}}, {"c": {"$in": [1, null, "x"]}}],
    "d": {"$not": {"$regex": "^a+b"}}, "l": {"$elemMatch": {"x": 1}}, "m": {"$size": 3}, "n": {"$exists": false}}"#;
const VALUE: &str =
    r#"{"a": [1, -2.5e3, null, true, "\u00e9\n"], "b": {"$bytes": "AAEC"}, "c": {"$f64": "inf"}}"#;

// Every prefix, every flipped bit, every byte made the head of something long, every byte doubled or left out.
fn each_damage(bytes: &[u8], mut look: impl FnMut(&[u8])) {
    let mut see = |damaged: &[u8]| {
        if damaged != bytes {
            look(damaged);
        }
    };
    for at in 0..bytes.len() {
        see(&bytes[..at]);
        let replace = |by: &[u8]| [&bytes[..at], by, &bytes[at + 1..]].concat();
        (0..8).for_each(|bit| see(&replace(&[bytes[at] ^ (1 << bit)])));
        for head in [0x3b, 0x5b, 0x7b, 0x9b, 0xbb] {
            see(&replace(&[&[head][..], &[0xff; 8]].concat()));
        }
        for other in [0x9f, 0xbf, 0xff, 0xf6, 0xfb, 0xc0] {
            see(&replace(&[other]));
        }
        see(&replace(&[bytes[at], bytes[at]]));
        see(&replace(&[]));
    }
}

fn header_is_canonical(bytes: &[u8]) -> bool {
    Header::decode(bytes).is_ok_and(|header| {
        assert_eq!(header.encode(), bytes);
        true
    })
}

// Bodies are stored as they came and may hold more than is known; what is known comes back the same.
fn bodies_are_canonical(bytes: &[u8]) -> bool {
    let documents = DocumentBody::decode(bytes).is_ok_and(|body| {
        assert_eq!(DocumentBody::decode(&body.encode([0; 16])), Ok(body));
        true
    });
    let rules = RuleBody::decode(bytes).is_ok_and(|body| {
        assert_eq!(RuleBody::decode(&body.encode([0; 16])), Ok(body));
        true
    });
    documents || rules
}

fn paths_are_canonical(bytes: &[u8]) -> bool {
    check(bytes, 2).is_ok()
        && Path::decode(&mut Reader::new(bytes)).is_ok_and(|path| {
            let mut writer = Writer::default();
            path.encode(&mut writer);
            assert_eq!(writer.finish(), bytes);
            true
        })
}

// Everything that takes text.
fn texts(text: &str) {
    if let Ok(operators) = operators_from_json(text) {
        for operator in &operators {
            let mut writer = Writer::default();
            operator.encode(&mut writer);
            let bytes = writer.finish();
            assert_eq!(Operator::decode(&mut Reader::new(&bytes)).as_ref(), Ok(operator));
        }
        operators_to_value(&operators);
    }
    if let Ok(value) = Value::from_json(text) {
        assert_eq!(Value::from_json(&value.to_json()), Ok(value.clone()));
        assert_eq!(Value::from_cbor(&value.to_cbor()), Ok(value));
    }
    let _ = Value::from_json_with_operators(text);
    let _ = Map::from_json(text);
    let _ = Filter::parse(text);
    let _ = Sort::parse(text);
    let _ = FieldPath::parse(text);
    let _ = Path::parse(text);
    let _ = from_base32(text);
    if let Ok(id) = DocumentId::parse_text(text) {
        assert_eq!(DocumentId::parse_text(&id.to_string()), Ok(id));
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

#[test]
fn a_damaged_header_is_refused_or_is_another_header() {
    let bytes = header().encode();
    assert!(header_is_canonical(&bytes));
    let mut accepted = 0;
    each_damage(&bytes, |damaged| {
        assert_ne!(Header::decode(damaged), Ok(header()));
        accepted += usize::from(header_is_canonical(damaged));
    });
    // Ids and hashes may be anything.
    assert!(accepted > 0);
}

#[test]
fn a_damaged_body_is_refused_or_is_another_body() {
    for bytes in [document_body(), rule_body()] {
        assert!(bodies_are_canonical(&bytes));
        each_damage(&bytes, |damaged| {
            bodies_are_canonical(damaged);
        });
    }
}

#[test]
fn a_frame_of_damaged_commits_vouches_for_none_of_them() {
    let key = AuthorKey::from_seed(&[1; 32]);
    let body = document_body();
    let header = Header { body_encoding: BodyEncoding::Plain, ..header() };
    let good = driftless_core::commit::Vouched::sign(header, body, &key).unwrap().to_received();
    assert_eq!(vouch(vec![good.clone()]).vouched.len(), 1);
    for at in (0..good.header.len()).step_by(3) {
        let mut damaged = good.clone();
        damaged.header[at] ^= 1 << (at % 8);
        let frame = vouch(vec![damaged]);
        assert!(frame.vouched.is_empty() && !frame.unusable.is_empty());
    }
    for at in 0..64 {
        let mut damaged = good.clone();
        damaged.signature.as_mut().unwrap().0[at] ^= 1 << (at % 8);
        assert!(vouch(vec![damaged]).vouched.is_empty());
    }
    // The body goes, the commit stays.
    let mut body = good.body.clone().unwrap();
    body[20] ^= 1;
    let frame = vouch(vec![Received { body: Some(body), ..good }]);
    assert_eq!((frame.vouched.len(), frame.unusable.len()), (1, 1));
    assert_eq!(frame.vouched[0].body(), None);
}

#[test]
fn a_damaged_path_is_refused_or_is_another_path() {
    let mut writer = Writer::default();
    Path::parse("one.two.three").unwrap().encode(&mut writer);
    let bytes = writer.finish();
    assert!(paths_are_canonical(&bytes));
    each_damage(&bytes, |damaged| {
        paths_are_canonical(damaged);
    });
}

#[test]
fn damaged_texts_are_refused_or_mean_something_else() {
    let ids = [
        CommitId([200; 32]).to_string(),
        AuthorId([1; 32]).to_string(),
        DocumentId::random([5; 16]).to_string(),
    ];
    let long = [OPERATORS, FILTER, VALUE, "-a.b,c", "a.b.0.c", "[1, \"a\", [2]]"];
    for text in long.into_iter().chain(ids.iter().map(String::as_str)) {
        texts(text);
        for (at, _) in text.char_indices() {
            texts(&text[..at]);
            for by in ["", "\"", "{", "}", "[", "]", ":", ",", "$", ".", "\\", "-", "9", "é", "\0", "1e999"]
            {
                let next =
                    (at + 1..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
                texts(&format!("{}{by}{}", &text[..at], &text[next..]));
            }
        }
    }
}

#[test]
fn a_hundred_thousand_levels_are_refused_everywhere() {
    const LEVELS: usize = 100_000;
    for head in [0x81u8, 0xa1, 0x9f, 0xd8] {
        let bytes = vec![head; LEVELS];
        assert!(!header_is_canonical(&bytes) && !bodies_are_canonical(&bytes));
        assert!(!paths_are_canonical(&bytes));
        assert!(Value::from_cbor(&bytes).is_err() && DocumentId::from_cbor(&bytes).is_err());
    }
    let nested = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(LEVELS), close.repeat(LEVELS))
    };
    let deep = [
        nested("[", "1", "]"),
        nested("[", "", ""),
        nested(r#"{"a":"#, "1", "}"),
        nested(r#"{"$and":["#, "{}", "]}"),
        nested(r#"{"$not":"#, "{}", "}"),
        nested(r#"{"a":{"$elemMatch":"#, "{}", "}}"),
        nested(r#"{"a":{"$not":"#, "{}", "}}"),
        nested(r#"{"$set":{"a":"#, "1", "}}"),
        nested("a.", "a", ""),
    ];
    for text in &deep {
        assert!(Filter::parse(text).is_err() && operators_from_json(text).is_err());
        assert!(Value::from_json(text).is_err() && Value::from_json_with_operators(text).is_err());
        texts(text);
    }
    assert!(deep.last().is_some_and(|dots| Path::parse(dots).is_err() && FieldPath::parse(dots).is_err()));
}

#[test]
fn a_count_that_lies_reserves_nothing() {
    // A list or map of 2^64 - 1 elements, at every place where a count is expected.
    for bytes in [document_body(), rule_body(), header().encode()] {
        for at in 0..bytes.len() {
            for head in [0x9b, 0xbb, 0x5b, 0x7b] {
                let lie = [&bytes[..at], &[head], &[0xff; 8]].concat();
                let accepted = header_is_canonical(&lie) || bodies_are_canonical(&lie);
                // Of the length that was said, it may be the end of an id.
                assert!(!accepted || lie.len() == bytes.len());
            }
        }
    }
}

proptest! {
    #[test]
    fn made_up_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        header_is_canonical(&bytes);
        bodies_are_canonical(&bytes);
        paths_are_canonical(&bytes);
    }

    // Several places at once, in what was valid.
    #[test]
    fn several_changes_are_refused_or_canonical(
        which in 0usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = [header().encode(), document_body(), rule_body()][which].clone();
        for (at, by) in changes {
            let at = at.index(bytes.len());
            bytes[at] = by;
        }
        header_is_canonical(&bytes);
        bodies_are_canonical(&bytes);
    }
}
