//! The canonical CBOR of values. The profile is that of `crate::cbor`; a decoder sees only bytes that passed `check`.

use super::{Float, Map, Value, is_allowed_key};
use crate::cbor::{CborError, Kind, Reader, Writer};
use crate::limits::MAX_VALUE_DEPTH;

impl Value {
    /// Appends the canonical CBOR. Values that `check` refuses are written too, and refused by every reader.
    pub fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Null => {
                writer.null();
            }
            Self::Bool(value) => {
                writer.bool(*value);
            }
            Self::I64(value) => {
                writer.i64(*value);
            }
            Self::F64(value) => {
                writer.f64(value.get());
            }
            Self::String(text) => {
                writer.str(text);
            }
            Self::Bytes(bytes) => {
                writer.bytes(bytes);
            }
            Self::List(list) => {
                writer.array(list.len() as u64);
                list.iter().for_each(|value| value.encode(writer));
            }
            Self::Map(map) => map.encode(writer),
        }
    }

    /// The canonical CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.encode(&mut writer);
        writer.finish()
    }

    /// Reads one value of a document: bounded in depth, without reserved keys.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        decode(reader, MAX_VALUE_DEPTH)
    }

    /// Reads bytes that are exactly one canonical value.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, CborError> {
        crate::cbor::check(bytes, MAX_VALUE_DEPTH)?;
        Self::decode(&mut Reader::new(bytes))
    }
}

impl Map {
    /// Appends the canonical CBOR, where a shorter key comes before a longer one (RFC 8949 4.2.1).
    pub fn encode(&self, writer: &mut Writer) {
        writer.map(self.len() as u64);
        let lengths = self.iter().map(|(key, _)| key.len());
        if lengths.is_sorted() {
            return self.iter().for_each(|(key, value)| {
                writer.str(key);
                value.encode(writer);
            });
        }
        let mut pairs: Vec<_> = self.iter().collect();
        // Stable, so it is O(n) for keys of one length, which are in byte order already.
        pairs.sort_by_key(|(key, _)| key.len());
        for (key, value) in pairs {
            writer.str(key);
            value.encode(writer);
        }
    }

    /// Reads a map of a document; the map itself is one level of depth.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        pairs(reader, MAX_VALUE_DEPTH - 1)
    }
}

fn decode(reader: &mut Reader<'_>, depth: usize) -> Result<Value, CborError> {
    Ok(match reader.kind()? {
        Kind::Null => {
            reader.take_null()?;
            Value::Null
        }
        Kind::Bool => Value::Bool(reader.bool()?),
        Kind::Integer => Value::I64(reader.i64()?),
        Kind::Float => Value::F64(Float::new(reader.f64()?).ok_or(CborError::Unsupported)?),
        Kind::Bytes => Value::Bytes(reader.bytes()?.to_vec()),
        Kind::Text => Value::String(reader.str()?.to_owned()),
        Kind::List => {
            let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
            // The length is a claim: nothing is reserved for it, and each element takes at least one byte of input.
            let mut list = Vec::new();
            for _ in 0..reader.array()? {
                list.push(decode(reader, depth)?);
            }
            Value::List(list)
        }
        Kind::Map => Value::Map(pairs(reader, depth.checked_sub(1).ok_or(CborError::TooDeep)?)?),
    })
}

// The values of the map may nest `depth` deep.
fn pairs(reader: &mut Reader<'_>, depth: usize) -> Result<Map, CborError> {
    let mut map = Map::new();
    for _ in 0..reader.map()? {
        let key = reader.str()?;
        if !is_allowed_key(key) {
            return Err(CborError::Unexpected);
        }
        let value = decode(reader, depth)?;
        if map.insert(key, value).is_some() {
            return Err(CborError::NotCanonical);
        }
    }
    Ok(map)
}
