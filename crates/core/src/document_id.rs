//! The key of a document in its collection: a string, an integer, bytes, or a list of these.
//!
//! A random id is 16 bytes and reads `~` and 26 characters of base32. No string id may look like that, so the text of
//! an id names one id. Not to be confused with the ids of `crate::id`, which are hashes and keys of the system.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::cbor::{CborError, Kind, Reader, Writer};
use crate::id::{append_base32, from_base32};
use crate::limits::MAX_DOCUMENT_ID;
use crate::value::{JsonFault, Value, write_json_string};

/// Bytes of a random id.
pub const RANDOM_ID: usize = 16;
// Bytes that most ids do not outgrow.
const ROOM: usize = 48;
// Characters of base32 in the text of a random id.
const RANDOM_TEXT: usize = 26;

/// Why something cannot be a document's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentIdError {
    /// Another type, or a list that is empty or holds a list.
    #[error(
        "an id is a string, an integer, bytes, or a list of these; for the text `{0}` write it in quotes: '\"{0}\"'"
    )]
    Kind(String),
    /// A string in the shape of a random id that does not come from 16 bytes.
    #[error("`{0}` looks like a random id and is none; a string id must not be `~` and 26 base32 characters")]
    Random(String),
    /// Longer than `MAX_DOCUMENT_ID` when encoded.
    #[error("an id takes at most {MAX_DOCUMENT_ID} bytes")]
    TooLong,
    /// Malformed JSON in quotes, brackets or braces.
    #[error("not an id: {0}")]
    Json(#[from] crate::value::JsonError),
}

/// The key of a document in its collection. Ordered as the values they are: integers, strings, bytes, lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId(Key);

// The order of variants is the order of types of values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    I64(i64),
    String(String),
    Bytes(Vec<u8>),
    List(Vec<Key>),
}

impl DocumentId {
    /// The id of 16 random bytes.
    pub fn random(bytes: [u8; RANDOM_ID]) -> Self {
        Self(Key::Bytes(bytes.to_vec()))
    }

    /// A string as an id.
    pub fn string(text: impl Into<String>) -> Result<Self, DocumentIdError> {
        Self::checked(Key::String(text.into()))
    }

    /// Bytes as an id; 16 of them are a random id.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, DocumentIdError> {
        Self::checked(Key::Bytes(bytes.into()))
    }

    /// A list of ids that are not lists: a primary key of several columns.
    pub fn list(parts: Vec<DocumentId>) -> Result<Self, DocumentIdError> {
        Self::checked(Key::List(parts.into_iter().map(|part| part.0).collect()))
    }

    /// Reads a word of a command line: the text of `Display`, or any other word as a string id.
    pub fn parse_text(text: &str) -> Result<Self, DocumentIdError> {
        if looks_random(text) {
            return Self::from_value(&Value::from(text));
        }
        match Value::from_json(text) {
            Ok(value) => Self::from_value(&value),
            Err(error) => match error.fault {
                // A word that only begins like JSON is a word; what opens a quote or bracket was meant as JSON.
                JsonFault::Syntax(_) if !text.starts_with(['"', '[', '{']) => Self::string(text),
                JsonFault::IntegerTooLarge | JsonFault::FloatTooLarge => {
                    Err(DocumentIdError::Kind(text.to_owned()))
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Reads what `to_value` gives: the `_id` of JSON.
    pub fn from_value(value: &Value) -> Result<Self, DocumentIdError> {
        Self::checked(Key::from_value(value).ok_or_else(|| DocumentIdError::Kind(value.to_string()))?)
    }

    /// The id in JSON and in filters: a random id is the string of its text.
    pub fn to_value(&self) -> Value {
        self.0.to_value()
    }

    /// The parts of the key as they are, bytes as bytes: one, or those of a list.
    pub fn parts(&self) -> Vec<Value> {
        let part = |key: &Key| match key {
            Key::Bytes(bytes) => Value::Bytes(bytes.clone()),
            key => key.to_value(),
        };
        match &self.0 {
            Key::List(parts) => parts.iter().map(part).collect(),
            key => vec![part(key)],
        }
    }

    /// Whether the key is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.0, Key::List(_))
    }

    /// Appends the canonical CBOR.
    pub fn encode(&self, writer: &mut Writer) {
        self.0.encode(writer);
    }

    /// A number that is in order as the ids are, and the same for ids that begin alike: most of what sorting many ids asks
    /// is decided by it.
    pub fn rank(&self) -> u64 {
        let first = |bytes: &[u8]| {
            let mut first = [0; 8];
            first.iter_mut().skip(1).zip(bytes).for_each(|(to, byte)| *to = *byte);
            u64::from_be_bytes(first)
        };
        let (kind, rest) = match &self.0 {
            Key::I64(number) => (0, (number.cast_unsigned() ^ 1 << 63) >> 8),
            Key::String(text) => (1, first(text.as_bytes())),
            Key::Bytes(bytes) => (2, first(bytes)),
            Key::List(_) => (3, 0),
        };
        kind << 56 | rest
    }

    /// The text of the id, as `Display` writes it, in one allocation.
    pub fn text(&self) -> String {
        match &self.0 {
            Key::Bytes(bytes) if bytes.len() == RANDOM_ID => random_text(bytes),
            Key::String(text) => {
                let mut out = String::with_capacity(text.len() + 2);
                write_json_string(text, &mut out);
                out
            }
            key => key.to_value().to_json(),
        }
    }

    /// The canonical CBOR, at most `MAX_DOCUMENT_ID` bytes.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(ROOM);
        self.encode(&mut writer);
        writer.finish()
    }

    /// Reads an id.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let start = reader.position();
        let key = match reader.kind()? {
            Kind::List => {
                let mut parts = Vec::new();
                for _ in 0..reader.array()? {
                    parts.push(Key::decode(reader)?);
                }
                Key::List(parts)
            }
            _ => Key::decode(reader)?,
        };
        if reader.position() - start > MAX_DOCUMENT_ID {
            return Err(CborError::Limit("bytes of a document id"));
        }
        if key.fault().is_some() { Err(CborError::Unexpected) } else { Ok(Self(key)) }
    }

    /// Reads bytes that are exactly one canonical id.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, CborError> {
        crate::cbor::check(bytes, 1)?;
        Self::decode(&mut Reader::new(bytes))
    }

    fn checked(key: Key) -> Result<Self, DocumentIdError> {
        match key.fault() {
            Some(fault) => Err(fault),
            None if key.encoded_size() > MAX_DOCUMENT_ID => Err(DocumentIdError::TooLong),
            None => Ok(Self(key)),
        }
    }
}

impl Key {
    fn from_value(value: &Value) -> Option<Self> {
        Some(match value {
            Value::I64(value) => Self::I64(*value),
            Value::String(text) => match random_bytes(text) {
                Some(bytes) => Self::Bytes(bytes),
                None => Self::String(text.clone()),
            },
            Value::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Value::List(list) => Self::List(list.iter().map(Self::from_value).collect::<Option<_>>()?),
            _ => return None,
        })
    }

    fn to_value(&self) -> Value {
        match self {
            Self::I64(value) => Value::I64(*value),
            Self::String(text) => Value::String(text.clone()),
            Self::Bytes(bytes) if bytes.len() == RANDOM_ID => Value::String(random_text(bytes)),
            Self::Bytes(bytes) => Value::Bytes(bytes.clone()),
            Self::List(parts) => Value::List(parts.iter().map(Self::to_value).collect()),
        }
    }

    fn fault(&self) -> Option<DocumentIdError> {
        match self {
            Self::String(text) if looks_random(text) => Some(DocumentIdError::Random(text.clone())),
            Self::List(parts)
                if parts.is_empty() || parts.iter().any(|part| matches!(part, Self::List(_))) =>
            {
                Some(DocumentIdError::Kind(self.to_value().to_string()))
            }
            Self::List(parts) => parts.iter().find_map(Self::fault),
            _ => None,
        }
    }

    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::String(text) => {
                writer.str(text);
            }
            Self::I64(number) => {
                writer.i64(*number);
            }
            Self::Bytes(bytes) => {
                writer.bytes(bytes);
            }
            Self::List(parts) => {
                writer.array(parts.len() as u64);
                parts.iter().for_each(|part| part.encode(writer));
            }
        }
    }

    fn encoded_size(&self) -> usize {
        let mut writer = Writer::default();
        self.encode(&mut writer);
        writer.finish().len()
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        Ok(match reader.kind()? {
            Kind::Integer => Self::I64(reader.i64()?),
            Kind::Text => Self::String(reader.str()?.to_owned()),
            Kind::Bytes => Self::Bytes(reader.bytes()?.to_vec()),
            _ => return Err(CborError::Unexpected),
        })
    }
}

fn random_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(1 + RANDOM_TEXT);
    text.push('~');
    append_base32(bytes, &mut text);
    text
}

fn random_bytes(text: &str) -> Option<Vec<u8>> {
    if looks_random(text) { from_base32(text.strip_prefix('~')?) } else { None }
}

fn looks_random(text: &str) -> bool {
    text.strip_prefix('~').is_some_and(|rest| {
        rest.len() == RANDOM_TEXT && rest.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
    })
}

/// `~` and base32 for a random id, otherwise its JSON: `42`, `"FI-18"`, `["a",1]`.
impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<i64> for DocumentId {
    fn from(value: i64) -> Self {
        Self(Key::I64(value))
    }
}

/// As `to_value`.
impl Serialize for DocumentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}
