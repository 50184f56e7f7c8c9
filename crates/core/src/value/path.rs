//! Where an operator acts: a list of keys. Dots exist only in text, at the border.

use std::fmt;

use super::{Value, is_allowed_key};
use crate::cbor::{CborError, Reader, Writer};
use crate::limits::MAX_PATH_DEPTH;

/// Why a text or a list of keys is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No key, or an empty part between dots.
    #[error("a path is one or more keys with dots between them, like `address.city`")]
    Empty,
    /// More keys than `MAX_PATH_DEPTH`.
    #[error("a path has at most {MAX_PATH_DEPTH} keys")]
    TooLong,
    /// A key of the system or of the query language.
    #[error("`{0}` cannot be set: keys that begin with `$` or `_` are reserved")]
    Reserved(String),
}

/// A non-empty list of at most `MAX_PATH_DEPTH` keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<String>);

impl Path {
    /// A path of these keys; keys may hold dots and may be empty.
    pub fn new(keys: Vec<String>) -> Result<Self, PathError> {
        if keys.is_empty() {
            return Err(PathError::Empty);
        }
        if keys.len() > MAX_PATH_DEPTH {
            return Err(PathError::TooLong);
        }
        match keys.iter().find(|key| !is_allowed_key(key)) {
            Some(key) => Err(PathError::Reserved(key.clone())),
            None => Ok(Self(keys)),
        }
    }

    /// Reads `a.b`, or a JSON list of keys like `["a.b","c"]` where a key itself holds a dot or is empty.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.starts_with('[')
            && let Ok(Value::List(list)) = Value::from_json(text)
        {
            let keys = list
                .into_iter()
                .map(|key| if let Value::String(key) = key { Ok(key) } else { Err(PathError::Empty) });
            return Self::new(keys.collect::<Result<_, _>>()?);
        }
        let keys: Vec<String> = text.split('.').take(MAX_PATH_DEPTH + 1).map(str::to_owned).collect();
        if keys.iter().any(String::is_empty) {
            return Err(PathError::Empty);
        }
        Self::new(keys)
    }

    /// The keys.
    pub fn keys(&self) -> &[String] {
        &self.0
    }

    /// Whether one is the other or lies inside it, so that the order of changing both matters.
    pub fn conflicts(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }

    /// Appends the list of keys.
    pub fn encode(&self, writer: &mut Writer) {
        writer.array(self.0.len() as u64);
        for key in &self.0 {
            writer.str(key);
        }
    }

    /// Reads a list of keys.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let length = reader.array()?;
        if length > MAX_PATH_DEPTH as u64 {
            return Err(CborError::Limit("keys in a path"));
        }
        let mut keys = Vec::new();
        for _ in 0..length {
            keys.push(reader.str()?.to_owned());
        }
        Self::new(keys).map_err(|_| CborError::Unexpected)
    }
}

/// The text that `parse` reads.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |key: &String| !key.is_empty() && !key.contains('.');
        if self.0.iter().all(plain) && !self.0.first().is_some_and(|key| key.starts_with('[')) {
            return f.write_str(&self.0.join("."));
        }
        let keys = self.0.iter().map(|key| Value::String(key.clone())).collect();
        f.write_str(&Value::List(keys).to_json())
    }
}
