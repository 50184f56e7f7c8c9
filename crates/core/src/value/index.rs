//! The order-preserving bytes of values, for secondary indexes.
//!
//! Byte order of keys is `Value::compare`, and values that compare as equal have equal keys. A key is cut at
//! `MAX_INDEX_KEY` bytes: values that agree so far share a key, so an index narrows and never decides.

use std::ops::Bound;

use super::{Class, Map, Value};
use crate::limits::MAX_INDEX_KEY;

// Ends a list, a map, a text: below every class and every key, so that a prefix comes first.
const END: u8 = 0;
// Follows a zero byte that is part of a text. Above every class, so that "a" then anything is below "a\0".
const ESCAPE: u8 = 0xff;

/// A range of index keys.
pub type IndexRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The key of a value in an index.
pub fn index_key(value: &Value) -> Vec<u8> {
    let mut key = Vec::with_capacity(16);
    write(value, &mut key);
    // Cutting keeps the order: of two byte strings in order the cut ones are in order or equal.
    key.truncate(MAX_INDEX_KEY);
    key
}

/// The keys of all values in a range, and of some neighbours that share a cut key with the ends.
pub fn index_range(low: Bound<&Value>, high: Bound<&Value>) -> IndexRange {
    (index_bound(low), index_bound(high))
}

fn index_bound(bound: Bound<&Value>) -> Bound<Vec<u8>> {
    match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(value) => Bound::Included(index_key(value)),
        Bound::Excluded(value) => {
            let key = index_key(value);
            // A key that may have been cut also stands for other values.
            if key.len() < MAX_INDEX_KEY { Bound::Excluded(key) } else { Bound::Included(key) }
        }
    }
}

fn write(value: &Value, key: &mut Vec<u8>) {
    if key.len() >= MAX_INDEX_KEY {
        return;
    }
    key.push(mark(value.class()));
    match value {
        Value::Null => {}
        Value::Bool(value) => key.push(u8::from(*value)),
        Value::I64(integer) => {
            // The largest double that is not above, then how far the integer is above it: below 2^11.
            let exact = i128::from(*integer);
            let mut floor = *integer as f64;
            if floor as i128 > exact {
                floor = floor.next_down();
            }
            number(floor, (exact - floor as i128) as u16, key);
        }
        Value::F64(float) => number(float.get(), 0, key),
        Value::String(text) => escaped(text.as_bytes(), key),
        Value::Bytes(bytes) => escaped(bytes, key),
        Value::List(list) => {
            for value in list {
                if key.len() >= MAX_INDEX_KEY {
                    return;
                }
                write(value, key);
            }
            key.push(END);
        }
        Value::Map(map) => pairs(map, key),
    }
}

fn pairs(map: &Map, key: &mut Vec<u8>) {
    for (name, value) in map {
        if key.len() >= MAX_INDEX_KEY {
            return;
        }
        key.push(mark(Class::String));
        escaped(name.as_bytes(), key);
        write(value, key);
    }
    key.push(END);
}

fn mark(class: Class) -> u8 {
    class as u8 + 1
}

// Doubles in order as unsigned integers: positive ones get the sign bit, negative ones are inverted.
fn number(float: f64, above: u16, key: &mut Vec<u8>) {
    // -0.0 equals 0.0.
    let bits = if float == 0.0 { 0 } else { float.to_bits() };
    let ordered = if bits >> 63 == 0 { bits | 1 << 63 } else { !bits };
    key.extend_from_slice(&ordered.to_be_bytes());
    key.extend_from_slice(&above.to_be_bytes());
}

fn escaped(bytes: &[u8], key: &mut Vec<u8>) {
    // What lies beyond the cut need not be copied.
    for byte in bytes.iter().take(MAX_INDEX_KEY) {
        key.push(*byte);
        if *byte == END {
            key.push(ESCAPE);
        }
    }
    key.push(END);
}
