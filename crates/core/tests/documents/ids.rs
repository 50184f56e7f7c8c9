//! Document ids: the text names one id, and a bare word on the command line is a string.

use driftless_core::cbor;
use driftless_core::document_id::DocumentId;
use driftless_core::limits::MAX_DOCUMENT_ID;
use driftless_core::value::Value;
use proptest::prelude::*;

use crate::samples::{id, json};

proptest! {
    #[test]
    fn an_id_survives_text_json_and_cbor(id in id()) {
        prop_assert_eq!(DocumentId::parse_text(&id.to_string()).unwrap(), id.clone());
        prop_assert_eq!(DocumentId::from_value(&id.to_value()).unwrap(), id.clone());
        prop_assert_eq!(serde_json::to_string(&id).unwrap(), id.to_value().to_json());
        prop_assert_eq!(DocumentId::from_cbor(&id.to_cbor()).unwrap(), id);
    }

    #[test]
    fn ids_are_ordered_as_their_cbor_values(a in id(), b in id()) {
        let value = |id: &DocumentId| Value::from_cbor(&id.to_cbor()).unwrap();
        prop_assert_eq!(a.cmp(&b), value(&a).compare(&value(&b)));
    }

    #[test]
    fn the_rank_of_ids_never_contradicts_their_order(a in id(), b in id()) {
        prop_assert!(a.rank() == b.rank() || a.rank().cmp(&b.rank()) == a.cmp(&b));
    }

    #[test]
    fn damaged_ids_never_panic(id in id(), at in any::<prop::sample::Index>(), byte: u8, words in "\\PC{0,12}") {
        let mut bytes = id.to_cbor();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = DocumentId::from_cbor(&bytes);
        let _ = DocumentId::decode(&mut cbor::Reader::new(&bytes[..at]));
        if let Ok(id) = DocumentId::parse_text(&words) {
            prop_assert_eq!(DocumentId::parse_text(&id.to_string()).unwrap(), id);
        }
    }
}

#[test]
fn a_bare_word_is_a_string_and_quotes_decide() {
    let parse = |text| DocumentId::parse_text(text).unwrap();
    let string = |text: &str| DocumentId::string(text).unwrap();
    assert_eq!(parse("FI-18"), string("FI-18"));
    assert_eq!(parse("007"), string("007"));
    assert_eq!(parse("~todo"), string("~todo"));
    assert_eq!(parse("42"), DocumentId::from(42));
    assert_eq!(parse("\"42\""), string("42"));
    assert_eq!(parse(r#"["a",1]"#), DocumentId::list(vec![string("a"), 1.into()]).unwrap());
    let random = DocumentId::random([7; 16]);
    assert_eq!(random.to_string().len(), 27);
    assert_eq!(parse(&random.to_string()), random);
    assert_eq!(random.to_value(), Value::from(random.to_string()));
}

#[test]
fn what_cannot_be_an_id_says_why() {
    for text in
        ["true", "null", "1.5", "1e5", "99999999999999999999", "[]", "[[1]]", "{\"a\":1}", "[\"a\"", "\"a"]
    {
        assert!(DocumentId::parse_text(text).is_err(), "{text}");
    }
    let random = DocumentId::random([7; 16]).to_string();
    assert!(DocumentId::string(random.clone()).is_err());
    assert!(DocumentId::from_cbor(&Value::from(random).to_cbor()).is_err());
    // The last character of a random id holds two unused bits.
    assert!(DocumentId::parse_text(&format!("~{}b", "a".repeat(25))).is_err());
    assert!(DocumentId::string("x".repeat(MAX_DOCUMENT_ID - 3)).is_ok());
    assert!(DocumentId::string("x".repeat(MAX_DOCUMENT_ID - 2)).is_err());
    assert!(DocumentId::from_cbor(&Value::from("x".repeat(MAX_DOCUMENT_ID)).to_cbor()).is_err());
    assert!(DocumentId::from_value(&json("2.0")).is_err());
}
