//! Schemas of collections: JSON Schema (draft 2020-12), judged here alone and never sent.
//!
//! A schema says nothing about commits: what does not fit is stored, folded and sent on like everything else.

mod effort;

use std::fmt;
use std::sync::Arc;

use driftless_core::limits::{MAX_REGEX_COMPILED, MAX_SCHEMA, MAX_SCHEMA_ERROR, MAX_SCHEMA_ERRORS};
use driftless_core::value::{Map, Value};
use jsonschema::paths::LocationSegment;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value as Json;

use crate::error::{Error, SchemaError};
use effort::Effort;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
// Of a value that is told; longer ones are only called "the value".
const TOLD: usize = 64;

/// What the documents of a collection are to be: a JSON Schema of draft 2020-12. Cheap to clone.
///
/// A document is shown to it as it is printed: without the fields that begin with `_`, bytes as `{"$bytes": base64}`,
/// infinities as `{"$f64": "inf"}`, a double without fraction as the integer that it equals. `format` is a note and
/// judges nothing. References stay within the schema (`#`, `#/$defs/NAME`), patterns have no look-around.
#[derive(Clone)]
pub struct Schema(Arc<Compiled>);

struct Compiled {
    text: String,
    validator: Validator,
    effort: Effort,
}

impl Schema {
    /// Reads a JSON Schema.
    pub fn json(text: &str) -> Result<Self, Error> {
        let refuse = |why: String| Error::Invalid(format!("this is not a schema: {why}"));
        if text.len() > MAX_SCHEMA {
            return Err(refuse(format!("it has more than {MAX_SCHEMA} bytes")));
        }
        let json: Json = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        match json.get("$schema") {
            None => {}
            Some(Json::String(draft)) if draft.trim_end_matches('#') == DRAFT => {}
            Some(other) => {
                return Err(refuse(format!("it is written for {other}, and {DRAFT} is known here")));
            }
        }
        let effort = Effort::of(&json).map_err(refuse)?;
        let options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .should_validate_formats(false)
            // This engine takes time that grows with the text, whatever the pattern; the other one can be led astray.
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_REGEX_COMPILED));
        let validator = options.build(&json).map_err(|error| {
            let SchemaError { path, message } = told(&error);
            refuse(if path.is_empty() { message } else { format!("at {path}: {message}") })
        })?;
        Ok(Self(Arc::new(Compiled { text: text.to_owned(), validator, effort })))
    }

    /// The schema of a Rust type.
    #[cfg(feature = "schema-derive")]
    pub fn of<T: schemars::JsonSchema>() -> Result<Self, Error> {
        Self::json(schemars::schema_for!(T).as_value().to_string().as_str())
    }

    /// The text that it was read from.
    pub fn as_json(&self) -> &str {
        &self.0.text
    }

    /// Why a document with these fields does not fit; empty if it does. The first 32 reasons are told.
    pub fn check(&self, fields: &Map) -> Vec<SchemaError> {
        let json = map(fields);
        if !self.0.effort.is_bearable(&json) {
            let message = "the schema goes over it too often to judge it";
            return vec![SchemaError { path: String::new(), message: message.into() }];
        }
        self.0.validator.iter_errors(&json).take(MAX_SCHEMA_ERRORS).map(|error| told(&error)).collect()
    }

    /// Whether a document with these fields fits.
    pub fn fits(&self, fields: &Map) -> bool {
        let json = map(fields);
        self.0.effort.is_bearable(&json) && self.0.validator.is_valid(&json)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.0.text).finish()
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

fn told(error: &jsonschema::ValidationError<'_>) -> SchemaError {
    let mut path = String::new();
    for segment in error.instance_path() {
        if !path.is_empty() {
            path.push('.');
        }
        match segment {
            LocationSegment::Property(key) => path.push_str(&key),
            LocationSegment::Index(at) => path.push_str(&at.to_string()),
        }
    }
    let is_short = match error.instance().as_ref() {
        Json::String(text) => text.len() <= TOLD,
        Json::Array(_) | Json::Object(_) => false,
        _ => true,
    };
    let message = if is_short { error.to_string() } else { error.masked_with("the value").to_string() };
    SchemaError { path: cut(path), message: cut(message) }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_SCHEMA_ERROR {
        let end = (0..=MAX_SCHEMA_ERROR).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

// As `Value::to_json` prints, without going through text.
fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(bool) => Json::Bool(*bool),
        Value::I64(number) => Json::from(*number),
        Value::F64(number) => match serde_json::Number::from_f64(number.get()) {
            Some(number) => Json::Number(number),
            None => serde_json::from_str(&value.to_json()).unwrap_or_default(),
        },
        Value::String(text) => Json::String(text.clone()),
        Value::Bytes(_) => serde_json::from_str(&value.to_json()).unwrap_or_default(),
        Value::List(values) => values.iter().map(json).collect(),
        Value::Map(fields) => map(fields),
    }
}

fn map(fields: &Map) -> Json {
    Json::Object(fields.iter().map(|(key, value)| (key.to_owned(), json(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Map {
        Map::from_json(text).unwrap()
    }

    fn refused(text: &str) -> String {
        Schema::json(text).unwrap_err().to_string()
    }

    #[test]
    fn a_document_is_shown_to_a_schema_as_it_is_printed() {
        let text = r#"{"b": {"$bytes": "AAEC"}, "f": 2.0, "h": 1.5, "i": 9007199254740993, "inf": {"$f64": "-inf"}, "l": [null, true], "m": {"s": "x"}}"#;
        let printed: Json = serde_json::from_str(&fields(text).to_json()).unwrap();
        assert_eq!(map(&fields(text)), printed);
        let schema = r#"{"properties": {"b": {"required": ["$bytes"]}, "f": {"type": "integer"}, "h": {"not": {"type": "integer"}},
            "i": {"const": 9007199254740993}, "inf": {"properties": {"$f64": {"const": "-inf"}}}}, "required": ["b", "f", "i", "inf"]}"#;
        assert_eq!(Schema::json(schema).unwrap().check(&fields(text)), []);
    }

    #[test]
    fn every_fault_is_told_with_its_path_and_none_at_length() {
        let schema = Schema::json(
            r#"{"required": ["title"], "properties": {"tags": {"items": {"type": "string"}}, "a": {"properties": {"zip": {"pattern": "^[0-9]+$"}}}}}"#,
        );
        let schema = schema.unwrap();
        let found = schema.check(&fields(r#"{"tags": ["x", 2, {"long": 1}], "a": {"zip": "x1"}}"#));
        let mut paths: Vec<_> = found.iter().map(|error| error.path.as_str()).collect();
        paths.sort();
        assert_eq!(paths, ["", "a.zip", "tags.1", "tags.2"]);
        assert!(found.iter().any(|error| error.message.contains("2 is not of type \"string\"")), "{found:?}");
        assert!(found.iter().all(|error| !error.message.contains("long")), "{found:?}");
        let many = format!(r#"{{"title": 1, "tags": [{}]}}"#, vec!["1"; 1000].join(","));
        assert_eq!(schema.check(&fields(&many)).len(), MAX_SCHEMA_ERRORS);
        let long = format!(r#"{{"title": 1, "a": {{"zip": "{}"}}}}"#, "ä".repeat(100_000));
        let found = schema.check(&fields(&long));
        assert!(found.iter().all(|error| error.message.len() < 300), "{found:?}");
    }

    #[test]
    fn nothing_is_fetched_and_other_drafts_are_named() {
        for reference in
            ["http://127.0.0.1:9/x", "file:///etc/passwd", "other.json", "#anchor", "#/$defs/none"]
        {
            let refused = refused(&format!(r#"{{"properties": {{"a": {{"$ref": "{reference}"}}}}}}"#));
            assert!(refused.contains(reference), "{refused}");
        }
        assert!(refused(r#"{"$schema": "http://json-schema.org/draft-04/schema#"}"#).contains("draft-04"));
        assert!(refused(r#"{"properties": {"a": {"type": "strng"}}}"#).contains("properties.a.type"));
        assert!(refused("{").contains("EOF"));
        assert!(refused("7").contains("7 is not"));
        Schema::json(
            r#"{"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://x.example/y"}"#,
        )
        .unwrap();
    }

    #[test]
    fn a_pattern_can_neither_hang_nor_fill_the_memory() {
        let schema = Schema::json(r#"{"properties": {"a": {"pattern": "^(a+)+$"}}}"#).unwrap();
        assert!(!schema.fits(&fields(&format!(r#"{{"a": "{}!"}}"#, "a".repeat(100_000)))));
        assert!(refused(r#"{"pattern": "(?=a)b"}"#).contains("regex"));
        assert!(refused(r#"{"pattern": "((a{100}){100}){100}"}"#).contains("regex"));
        let many = vec![r#"{"pattern": "a"}"#; 65].join(",");
        assert!(refused(&format!(r#"{{"allOf": [{many}]}}"#)).contains("64 patterns"));
    }

    #[test]
    fn a_schema_that_multiplies_or_never_ends_is_refused() {
        let mut defs = Vec::new();
        for n in 0..26 {
            let next = format!(r##"{{"$ref": "#/$defs/n{}"}}"##, n + 1);
            defs.push(format!(r#""n{n}": {{"allOf": [{next}, {next}]}}"#));
        }
        defs.push(r#""n26": {}"#.into());
        let text = format!(r##"{{"$ref": "#/$defs/n0", "$defs": {{{}}}}}"##, defs.join(","));
        assert!(refused(&text).contains("look at one value"));
        assert!(refused(r##"{"$ref": "#"}"##).contains("itself"));
        let deep = format!("{}{{}}{}", r#"{"not":"#.repeat(20), "}".repeat(20));
        assert!(refused(&deep).contains("16 steps"));
        let deep = format!("{}{{}}{}", r#"{"items":"#.repeat(129), "}".repeat(129));
        assert!(!refused(&deep).is_empty());
        assert!(refused(&format!("{{{}}}", " ".repeat(MAX_SCHEMA))).contains("bytes"));
        let chain: Vec<_> =
            (0..500).map(|n| format!(r##""n{n}": {{"items": {{"$ref": "#/$defs/n{}"}}}}"##, n + 1)).collect();
        let chain = format!(r##"{{"$ref": "#/$defs/n0", "$defs": {{{}, "n500": {{}}}}}}"##, chain.join(","));
        assert!(refused(&chain).contains("levels deep"));
    }

    #[test]
    fn a_schema_that_refers_to_itself_is_judged_as_far_as_that_is_bearable() {
        let tree =
            r##"{"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "integer"}}}"##;
        let tree = Schema::json(tree).unwrap();
        let nested = |levels: usize, last: &str| {
            fields(&format!("{}{last}{}", r#"{"left":"#.repeat(levels), "}".repeat(levels)))
        };
        assert!(tree.fits(&nested(60, r#"{"n": 1}"#)));
        assert_eq!(tree.check(&nested(60, r#"{"n": "x"}"#)).len(), 1);
        // As many calls as there can be fit on the stack of a thread.
        let deep = format!(
            "{}{{\"properties\":{{\"left\":{{\"$ref\":\"#\"}}}}}}{}",
            r#"{"allOf":["#.repeat(14),
            "]}".repeat(14)
        );
        assert!(Schema::json(&deep).unwrap().check(&nested(60, r#"{"n": 1}"#)).is_empty());
        // Each level costs twice the one above: a document of 60 levels must not cost a lifetime.
        let twice = r##"{"anyOf": [{"properties": {"left": {"$ref": "#"}}}, {"properties": {"left": {"$ref": "#"}}}]}"##;
        let twice = Schema::json(twice).unwrap();
        assert!(twice.fits(&nested(8, "{}")));
        assert!(!twice.fits(&nested(60, "{}")));
        assert!(twice.check(&nested(60, "{}"))[0].message.contains("too often"));
    }
}
