//! Reads the arguments of an operation: an object whose fields the operation declares. Documents, filters and operators go
//! to the database as the text they came as, so that no number is rounded on the way.

use std::collections::BTreeMap;

use driftless::{At, DocumentId, Filter, Map, Operator, Space, Value, from_utc, operators_from_json};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::refusal::Refusal;

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// A whole number, not negative.
    Number,
    /// True or false.
    Flag,
    /// A document id as `_id` shows it.
    Id,
    /// An object: a document, a filter, operators.
    Object,
    /// A commit id, Unix milliseconds, or a date.
    Moment,
}

/// An argument that an operation declares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Argument {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) about: &'static str,
}

/// The arguments that came, each as the JSON it is. Null is as if left out.
#[derive(Debug, Default)]
pub(crate) struct Arguments(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = BTreeMap::<String, Box<RawValue>>::deserialize(deserializer)?;
        fields.retain(|_, value| value.get() != "null");
        Ok(Self(fields))
    }
}

impl Arguments {
    /// Reads the body of a request; an empty one has no arguments.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map_err(|error| {
            Refusal::new(400, "invalid_json", format!("the arguments are no JSON object: {error}"), OBJECT)
        })
    }

    /// Nothing is there that was not declared, and nothing is missing.
    pub(crate) fn check(&self, declared: &[Argument]) -> Result<(), Refusal> {
        let hint = || {
            let names: Vec<_> =
                declared
                    .iter()
                    .map(|argument| {
                        if argument.required {
                            argument.name.to_owned()
                        } else {
                            format!("{}?", argument.name)
                        }
                    })
                    .collect();
            match names.is_empty() {
                true => "it takes no arguments".to_owned(),
                false => format!("it takes {}", names.join(", ")),
            }
        };
        let known = |name: &String| declared.iter().any(|argument| argument.name == *name);
        if let Some(unknown) = self.0.keys().find(|name| !known(name)) {
            let shown: String = unknown.chars().take(64).collect();
            return Err(Refusal::arguments(format!("there is no argument `{shown}`"), hint()));
        }
        let missing = |argument: &&Argument| argument.required && !self.0.contains_key(argument.name);
        match declared.iter().find(missing) {
            Some(missing) => {
                Err(Refusal::arguments(format!("the argument `{}` is missing", missing.name), hint()))
            }
            None => Ok(()),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<T>, Refusal> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let wrong = |_| Refusal::arguments(format!("`{name}` is not {what}"), "see /docs");
        serde_json::from_str(value.get()).map(Some).map_err(wrong)
    }

    pub(crate) fn maybe_text(&self, name: &str) -> Result<Option<String>, Refusal> {
        self.read(name, "text")
    }

    /// A text that was declared as required.
    pub(crate) fn text(&self, name: &str) -> Result<String, Refusal> {
        Ok(self.maybe_text(name)?.unwrap_or_default())
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.read(name, "a whole number")
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        Ok(self.read(name, "true or false")?.unwrap_or_default())
    }

    /// An object or value as the text it came as; an empty object if it was left out.
    pub(crate) fn raw(&self, name: &str) -> &str {
        self.0.get(name).map_or("{}", |value| value.get())
    }

    pub(crate) fn maybe_id(&self, name: &str) -> Result<Option<DocumentId>, Refusal> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let value = Value::from_json(value.get()).map_err(|error| invalid_json(&error, "invalid_id"))?;
        let wrong = |error| Refusal::new(400, "invalid_id", error, "ids are what `_id` of a document shows");
        DocumentId::from_value(&value).map(Some).map_err(wrong)
    }

    /// An id that was declared as required.
    pub(crate) fn id(&self, name: &str) -> Result<DocumentId, Refusal> {
        self.maybe_id(name)?.ok_or_else(|| Refusal::arguments(format!("`{name}` is missing"), "see /docs"))
    }

    pub(crate) fn filter(&self) -> Result<Filter, Refusal> {
        Ok(Filter::parse(self.raw("filter")).map_err(driftless::Error::from)?)
    }

    pub(crate) fn operators(&self) -> Result<Vec<Operator>, Refusal> {
        Ok(operators_from_json(self.raw("operators")).map_err(driftless::Error::from)?)
    }

    /// The fields of a new document.
    pub(crate) fn document(&self) -> Result<Map, Refusal> {
        Map::from_json(self.raw("document")).map_err(|error| invalid_json(&error, "invalid_json"))
    }

    /// The fields of a document that is there: what was read may come back, its system fields are left out.
    pub(crate) fn whole_document(&self, id: &DocumentId) -> Result<Map, Refusal> {
        const SYSTEM: [&str; 7] =
            ["_id", "_collection", "_created", "_updated", "_author", "_deleted", "_parent"];
        let Ok(Value::Map(mut map)) = Value::from_json_with_operators(self.raw("document")) else {
            return self.document();
        };
        if map.get("_id").is_some_and(|other| *other != id.to_value()) {
            let hint = "leave `_id` out, or name that document";
            return Err(Refusal::arguments("the document has another `_id` than the argument `id`", hint));
        }
        for key in SYSTEM {
            map.remove(key);
        }
        Map::from_json(&map.to_json()).map_err(|error| invalid_json(&error, "invalid_json"))
    }

    /// A point in the history of a space; now, if it was left out.
    pub(crate) fn moment(&self, name: &str, space: &Space) -> Result<At, Refusal> {
        let Some(value) = self.0.get(name) else { return Ok(At::Now) };
        if let Ok(ms) = serde_json::from_str::<u64>(value.get()) {
            return Ok(At::Time(ms));
        }
        let word = self.text(name)?;
        if word.starts_with("c_") {
            return Ok(At::Commit(space.find_commit(&word)?));
        }
        from_utc(&word).map(At::Time).ok_or_else(|| {
            let hint =
                "`2026-11-20`, `2026-11-20T12:00:00`, Unix milliseconds, or a commit as `log` shows it";
            Refusal::new(400, "invalid_time", format!("`{name}` is neither a time nor a commit"), hint)
        })
    }
}

const OBJECT: &str = "arguments look like {\"space\": \"home\", \"collection\": \"notes\"}";

fn invalid_json(error: &driftless::JsonError, code: &'static str) -> Refusal {
    Refusal::new(400, code, error, "documents look like {\"title\": \"Milk\"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: [Argument; 2] = [
        Argument { name: "space", kind: Kind::Text, required: true, about: "" },
        Argument { name: "limit", kind: Kind::Number, required: false, about: "" },
    ];

    #[test]
    fn what_was_not_declared_or_is_missing_is_said() {
        let check = |text: &str| Arguments::parse(text).and_then(|arguments| arguments.check(&DECLARED));
        assert_eq!(check(r#"{"space": "home", "limit": null}"#), Ok(()));
        for (text, code) in [
            (r#"{"space": "home", "more": 1}"#, "invalid_arguments"),
            (r#"{"limit": 1}"#, "invalid_arguments"),
            (r#"{"space": null}"#, "invalid_arguments"),
            ("", "invalid_arguments"),
            ("[]", "invalid_json"),
            ("{", "invalid_json"),
            (&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), "invalid_json"),
        ] {
            assert_eq!(check(text).unwrap_err().code, code, "{}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn numbers_reach_the_database_as_they_were_written() {
        let text = r#"{"document": {"a": 9007199254740993, "b": {"$i64": "9223372036854775807"}, "c": 1.0}}"#;
        let map = Arguments::parse(text).unwrap().document().unwrap();
        assert_eq!(map.to_json(), r#"{"a":9007199254740993,"b":9223372036854775807,"c":1.0}"#);
        let nested = format!(r#"{{"document": {{"a": {}1{}}}}}"#, "[".repeat(90_000), "]".repeat(90_000));
        assert_eq!(Arguments::parse(&nested).unwrap().document().unwrap_err().code, "invalid_json");
        let beyond = Arguments::parse(r#"{"document": {"a": 18446744073709551616}}"#).unwrap();
        assert_eq!(beyond.document().unwrap_err().code, "invalid_json");
    }
}
