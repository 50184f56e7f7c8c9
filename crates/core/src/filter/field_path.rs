//! Where a filter, a sort or an index looks: dotted keys, the first of which may be a system field.

use std::fmt;
use std::str::FromStr;

use crate::document::SystemField;
use crate::limits::MAX_PATH_DEPTH;
use crate::value::{Map, Value, is_allowed_key};

/// Why a text does not name a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    /// An empty part.
    #[error("a field is one or more keys with dots between them, like `address.city`, not `{0}`")]
    Empty(String),
    /// More parts than `MAX_PATH_DEPTH`.
    #[error("a field has at most {MAX_PATH_DEPTH} keys")]
    TooLong,
    /// Begins with `_` or `$` and names nothing.
    #[error(
        "there is no field `{0}`; system fields are _id, _collection, _created, _updated, _author, _deleted, _parent"
    )]
    Unknown(String),
}

/// A field of documents, or of the system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath {
    pub(super) system: Option<SystemField>,
    // Empty for a system field.
    pub(super) keys: Vec<Key>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) text: String,
    // The position in a list, if the text is one.
    pub(super) position: Option<usize>,
}

impl FieldPath {
    /// Reads `a.b`, `tags.0` or `_created`.
    pub fn parse(text: &str) -> Result<Self, FieldPathError> {
        if let Some(system) = SystemField::from_key(text) {
            return Ok(Self { system: Some(system), keys: Vec::new() });
        }
        let mut keys = Vec::new();
        for part in text.split('.') {
            if part.is_empty() {
                return Err(FieldPathError::Empty(text.to_owned()));
            }
            if !is_allowed_key(part) {
                return Err(FieldPathError::Unknown(text.to_owned()));
            }
            if keys.len() == MAX_PATH_DEPTH {
                return Err(FieldPathError::TooLong);
            }
            let plain =
                part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            let position = if plain { part.parse().ok() } else { None };
            keys.push(Key { text: part.to_owned(), position });
        }
        Ok(Self { system: None, keys })
    }

    /// The system field, if it is one.
    pub fn system(&self) -> Option<SystemField> {
        self.system
    }

    /// The one value here, for sorting: through maps, and through lists by position only.
    pub fn value<'f>(&self, fields: &'f Map) -> Option<&'f Value> {
        let (first, rest) = self.keys.split_first()?;
        rest.iter().try_fold(fields.get(&first.text)?, |value, key| match value {
            Value::Map(map) => map.get(&key.text),
            Value::List(list) => list.get(key.position?),
            _ => None,
        })
    }
}

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<Self, FieldPathError> {
        Self::parse(text)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(system) = self.system {
            return f.write_str(system.key());
        }
        for (at, key) in self.keys.iter().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            f.write_str(&key.text)?;
        }
        Ok(())
    }
}
