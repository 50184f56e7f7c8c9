//! One value of SQLite as a value of a document and back, and its digest.
//!
//! Every value that SQLite stores has one, and comes back with the same bytes and the same type.

use driftless::{Float, Map, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};

// The only key of the map that stands for text which is no UTF-8.
const TEXT: &str = "text";

/// How a column changes the type of what is stored in it (sqlite.org/datatype3.html, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affinity {
    Text,
    Numeric,
    Integer,
    Real,
    Blob,
}

impl Affinity {
    pub(crate) fn of(declared: &str, strict: bool) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        if strict && declared == "ANY" {
            Self::Blob
        } else if has("INT") {
            Self::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if has("BLOB") || declared.is_empty() {
            Self::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Self::Real
        } else {
            Self::Numeric
        }
    }

    /// Whether such a column stores this value as it is.
    pub(crate) fn keeps(self, value: &Value) -> bool {
        match value {
            Value::Null | Value::Bytes(_) => true,
            Value::I64(_) => matches!(self, Self::Integer | Self::Numeric | Self::Blob),
            // Negative zero, and what is a whole number, may be stored as an integer.
            Value::F64(float) => match self {
                Self::Real | Self::Blob => float.get() != 0.0,
                _ => false,
            },
            Value::String(text) => matches!(self, Self::Text | Self::Blob) || !may_be_number(text),
            _ => false,
        }
    }
}

// Whether a column for numbers may make one of this text.
fn may_be_number(text: &str) -> bool {
    let text = text.trim_matches(|letter: char| letter.is_ascii_whitespace() || letter == '\u{b}');
    text.parse::<f64>().is_ok()
}

/// What SQLite shows as a value of a document.
pub(crate) fn read(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::I64(number),
        // SQLite has no NaN: it stores NULL.
        ValueRef::Real(number) => Float::new(number).map_or(Value::Null, Value::F64),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::from(text),
            Err(_) => Value::Map(Map::from_iter([(TEXT, Value::Bytes(bytes.to_vec()))])),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

/// A value of a document, to be bound to a parameter.
pub(crate) enum Bound<'v> {
    As(ToSqlOutput<'v>),
    /// Text that is no UTF-8: bound as bytes, and made text by SQL.
    Text(&'v [u8]),
}

/// Whether a value is bound as `Bound::Text`.
pub(crate) fn is_odd_text(value: &Value) -> bool {
    matches!(value, Value::Map(map) if map.len() == 1 && matches!(map.get(TEXT), Some(Value::Bytes(_))))
}

/// A value of a document as SQLite stores it. What SQLite does not have becomes what its own JSON functions make of it.
pub(crate) fn bound(value: &Value) -> Bound<'_> {
    use rusqlite::types::Value as Owned;
    let as_is = |value| Bound::As(ToSqlOutput::Borrowed(value));
    match value {
        Value::Null => as_is(ValueRef::Null),
        Value::Bool(flag) => as_is(ValueRef::Integer((*flag).into())),
        Value::I64(number) => as_is(ValueRef::Integer(*number)),
        Value::F64(number) => as_is(ValueRef::Real(number.get())),
        Value::String(text) => as_is(ValueRef::Text(text.as_bytes())),
        Value::Bytes(bytes) => as_is(ValueRef::Blob(bytes)),
        Value::Map(map) => match (map.len(), map.get(TEXT)) {
            (1, Some(Value::Bytes(bytes))) => Bound::Text(bytes),
            _ => Bound::As(ToSqlOutput::Owned(Owned::Text(value.to_json()))),
        },
        Value::List(_) => Bound::As(ToSqlOutput::Owned(Owned::Text(value.to_json()))),
    }
}

/// Bytes of a value, without what holds it together.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Map(map) => map.iter().map(|(_, value)| weight(value)).sum(),
        _ => 9,
    }
}

/// Eight bytes that are equal for equal values of one type, and hardly ever for others; never zero.
pub(crate) fn digest(value: &Value) -> u64 {
    let (kind, bytes): (u8, &[u8]) = match value {
        Value::Null => return 1,
        Value::I64(number) => return number_digest(2, *number as u64),
        Value::F64(number) => return number_digest(3, number.get().to_bits()),
        Value::Bool(flag) => return number_digest(4, (*flag).into()),
        Value::String(text) => (5, text.as_bytes()),
        Value::Bytes(bytes) => (6, bytes),
        other => return bytes_digest(7, other.to_json().as_bytes()),
    };
    bytes_digest(kind, bytes)
}

// Bytes that are hashed in one piece, with their kind before them.
const PIECE: usize = 256;

fn bytes_digest(kind: u8, bytes: &[u8]) -> u64 {
    // Short ones are their own digest.
    if bytes.len() < 8 {
        let mut own = [0; 8];
        own[..bytes.len()].copy_from_slice(bytes);
        own[7] = kind << 4 | bytes.len() as u8;
        return u64::from_le_bytes(own);
    }
    // In one piece, which is cheaper than a hasher that is fed.
    let hash = if bytes.len() < PIECE {
        let mut piece = [kind; PIECE];
        piece[1..=bytes.len()].copy_from_slice(bytes);
        blake3::hash(&piece[..=bytes.len()])
    } else {
        blake3::Hasher::new().update(&[kind]).update(bytes).finalize()
    };
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first).max(2)
}

// One to one for each kind (the finisher of splitmix64).
fn number_digest(kind: u64, bits: u64) -> u64 {
    let mut mixed = bits.wrapping_add(kind.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_different_types_that_look_alike_have_different_digests() {
        let one = [
            Value::Null,
            Value::I64(1),
            Value::F64(Float::new(1.0).unwrap()),
            Value::from("1"),
            Value::Bytes(b"1".to_vec()),
            Value::from(""),
            Value::Bytes(Vec::new()),
            Value::from("1\0"),
            Value::from("a text of more than eight bytes"),
            Value::Bytes(b"a text of more than eight bytes".to_vec()),
        ];
        let digests: std::collections::BTreeSet<u64> = one.iter().map(digest).collect();
        assert_eq!(digests.len(), one.len());
        assert!(!digests.contains(&0));
    }

    #[test]
    fn affinity_goes_by_the_words_of_the_declaration() {
        for (declared, affinity) in [
            ("INT", Affinity::Integer),
            ("VARCHAR(10)", Affinity::Text),
            ("", Affinity::Blob),
            ("DOUBLE PRECISION", Affinity::Real),
            ("DECIMAL(10,2)", Affinity::Numeric),
            ("FLOATING POINT", Affinity::Integer),
        ] {
            assert_eq!(Affinity::of(declared, false), affinity, "{declared}");
        }
        assert_eq!(Affinity::of("ANY", true), Affinity::Blob);
    }
}
