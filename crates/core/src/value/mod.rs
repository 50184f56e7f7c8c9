//! Values: what a document is made of, their two equalities and their one order.
//!
//! `==` is equality of representation (1 and 1.0 differ, 0.0 and -0.0 differ): what digests see. `compare` and `same`
//! go by exact numeric value: what filters, `$pull`, `$addToSet`, sorting and indexes see. A NaN cannot be made.

mod cbor;
mod index;
mod json;
mod map;
mod path;
mod typed;

use std::cmp::Ordering;
use std::fmt;

pub use index::{IndexRange, index_key, index_range};
pub(crate) use json::write_json_string;
pub use json::{JsonError, JsonFault};
pub use map::{Iter, Map};
pub use path::{Path, PathError};
pub use typed::TypedError;

use crate::limits::MAX_VALUE_DEPTH;

/// A value in a document.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Value {
    /// Nothing. In filters a missing field is the same as null.
    #[default]
    Null,
    /// false or true
    Bool(bool),
    /// A 64-bit integer.
    I64(i64),
    /// A double, never NaN.
    F64(Float),
    /// UTF-8 text as given, never normalised.
    String(String),
    /// Bytes; in JSON `{"$bytes": base64}`.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Values by key.
    Map(Map),
}

/// A double that is not NaN. `==` compares bits.
#[derive(Clone, Copy)]
pub struct Float(f64);

impl Float {
    /// `None` for NaN.
    pub fn new(value: f64) -> Option<Self> {
        if value.is_nan() { None } else { Some(Self(value)) }
    }

    /// The double.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}

impl fmt::Debug for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The two kinds of number; what `$inc` adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// A 64-bit integer.
    I64(i64),
    /// A double, never NaN.
    F64(Float),
}

impl Number {
    /// The sum; integers saturate, mixed kinds become a double. `None` where doubles would give NaN (inf - inf).
    pub fn plus(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::I64(a), Self::I64(b)) => Some(Self::I64(a.saturating_add(b))),
            (a, b) => Float::new(a.to_f64() + b.to_f64()).map(Self::F64),
        }
    }

    // Rounds to nearest, ties to even, on every machine.
    fn to_f64(self) -> f64 {
        match self {
            Self::I64(value) => value as f64,
            Self::F64(value) => value.get(),
        }
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        match number {
            Number::I64(value) => Self::I64(value),
            Number::F64(value) => Self::F64(value),
        }
    }
}

/// Why a value may not stand in a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a number has no place in any order.
    #[error("NaN is not a value; leave the field out or write null")]
    NotANumber,
    /// Lists and maps are nested more than `MAX_VALUE_DEPTH` deep.
    #[error("lists and maps are nested more than {MAX_VALUE_DEPTH} deep")]
    TooDeep,
    /// A key begins with `$` or `_`.
    #[error("the key `{0}` begins with `$` or `_`, which is reserved; rename the field")]
    ReservedKey(String),
}

/// Whether documents may have this key. The empty key is allowed: JSON files have it, and a path is a list of keys.
pub fn is_allowed_key(key: &str) -> bool {
    !key.starts_with(['$', '_'])
}

/// The classes of the order of types; filters compare only within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// null, and what is missing
    Null,
    /// i64 and f64
    Number,
    /// text
    String,
    /// bytes
    Bytes,
    /// false before true
    Bool,
    /// element by element, then the shorter first
    List,
    /// pair by pair in order of keys, then the shorter first
    Map,
}

impl Class {
    /// The class that comes next in the order of types.
    pub fn next(self) -> Option<Self> {
        Some(match self {
            Self::Null => Self::Number,
            Self::Number => Self::String,
            Self::String => Self::Bytes,
            Self::Bytes => Self::Bool,
            Self::Bool => Self::List,
            Self::List => Self::Map,
            Self::Map => return None,
        })
    }

    /// The smallest value of the class.
    pub fn least(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Number => Value::F64(Float(f64::NEG_INFINITY)),
            Self::String => Value::String(String::new()),
            Self::Bytes => Value::Bytes(Vec::new()),
            Self::Bool => Value::Bool(false),
            Self::List => Value::List(Vec::new()),
            Self::Map => Value::Map(Map::new()),
        }
    }
}

/// What a value weighs and how deep it nests; see `Value::measure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measure {
    /// 16 per value and per key, and the bytes of texts: above the encoded size, near the size in memory.
    pub weight: u64,
    /// Lists and maps inside each other; a scalar is 0.
    pub depth: usize,
}

/// The weight of one value or key without its text.
pub const WEIGHT_UNIT: u64 = 16;

impl Value {
    /// A double; refuses NaN.
    pub fn float(value: f64) -> Result<Self, ValueError> {
        Float::new(value).map(Self::F64).ok_or(ValueError::NotANumber)
    }

    /// The class in the order of types.
    pub fn class(&self) -> Class {
        match self {
            Self::Null => Class::Null,
            Self::I64(_) | Self::F64(_) => Class::Number,
            Self::String(_) => Class::String,
            Self::Bytes(_) => Class::Bytes,
            Self::Bool(_) => Class::Bool,
            Self::List(_) => Class::List,
            Self::Map(_) => Class::Map,
        }
    }

    /// The total order of values: by class, numbers by exact numeric value.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::I64(a), Self::I64(b)) => a.cmp(b),
            (Self::I64(a), Self::F64(b)) => compare_exactly(*a, b.0),
            (Self::F64(a), Self::I64(b)) => compare_exactly(*b, a.0).reverse(),
            // Neither is NaN, so they are comparable.
            (Self::F64(a), Self::F64(b)) => a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) => {
                let unequal = a.iter().zip(b).map(|(a, b)| a.compare(b)).find(|order| order.is_ne());
                unequal.unwrap_or(a.len().cmp(&b.len()))
            }
            (Self::Map(a), Self::Map(b)) => {
                let pairs = a.iter().zip(b.iter());
                let unequal = pairs.map(|(a, b)| a.0.cmp(b.0).then_with(|| a.1.compare(b.1)));
                unequal.into_iter().find(|order| order.is_ne()).unwrap_or(a.len().cmp(&b.len()))
            }
            (a, b) => a.class().cmp(&b.class()),
        }
    }

    /// Whether the two compare as equal; 1 and 1.0 do.
    pub fn same(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }

    /// Weight and depth, in one walk.
    pub fn measure(&self) -> Measure {
        match self {
            Self::Null | Self::Bool(_) | Self::I64(_) | Self::F64(_) => {
                Measure { weight: WEIGHT_UNIT, depth: 0 }
            }
            Self::String(text) => Measure { weight: WEIGHT_UNIT + text.len() as u64, depth: 0 },
            Self::Bytes(bytes) => Measure { weight: WEIGHT_UNIT + bytes.len() as u64, depth: 0 },
            Self::List(list) => {
                let mut measure = Measure { weight: WEIGHT_UNIT, depth: 0 };
                for value in list {
                    measure.add(value.measure());
                }
                Measure { depth: measure.depth + 1, ..measure }
            }
            Self::Map(map) => map.measure(),
        }
    }

    /// Checks what only a program could have got wrong: depth and reserved keys, anywhere inside.
    pub fn check(&self) -> Result<(), ValueError> {
        self.check_at(MAX_VALUE_DEPTH)
    }

    fn check_at(&self, depth: usize) -> Result<(), ValueError> {
        match self {
            Self::List(list) => {
                let depth = depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
                list.iter().try_for_each(|value| value.check_at(depth))
            }
            Self::Map(map) => {
                let depth = depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
                map.iter().try_for_each(|(key, value)| {
                    if !is_allowed_key(key) {
                        return Err(ValueError::ReservedKey(key.to_owned()));
                    }
                    value.check_at(depth)
                })
            }
            _ => Ok(()),
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<Number> {
        match self {
            Self::I64(value) => Some(Number::I64(*value)),
            Self::F64(value) => Some(Number::F64(*value)),
            _ => None,
        }
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The integer, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::I64(value) = self { Some(*value) } else { None }
    }

    /// The elements, if it is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }
}

impl Map {
    /// Weight and depth, as `Value::measure` gives them.
    pub fn measure(&self) -> Measure {
        let mut measure = Measure { weight: WEIGHT_UNIT, depth: 0 };
        for (key, value) in self.iter() {
            measure.add(value.measure());
            measure.weight += WEIGHT_UNIT + key.len() as u64;
        }
        Measure { depth: measure.depth + 1, ..measure }
    }

    /// Checks depth (the map itself is one level) and reserved keys, anywhere inside.
    pub fn check(&self) -> Result<(), ValueError> {
        for (key, value) in self.iter() {
            if !is_allowed_key(key) {
                return Err(ValueError::ReservedKey(key.to_owned()));
            }
            value.check_at(MAX_VALUE_DEPTH - 1)?;
        }
        Ok(())
    }
}

impl Measure {
    fn add(&mut self, part: Self) {
        self.weight += part.weight;
        self.depth = self.depth.max(part.depth);
    }
}

// Compares without rounding either: 2^53 + 1 is not 2^53, and i64::MAX is below 2^63.
fn compare_exactly(integer: i64, float: f64) -> Ordering {
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    if float >= TWO_63 {
        Ordering::Less
    } else if float < -TWO_63 {
        Ordering::Greater
    } else {
        let whole = float.trunc();
        integer.cmp(&(whole as i64)).then_with(|| whole.partial_cmp(&float).unwrap_or(Ordering::Equal))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

/// The border JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Self {
        Self::List(value)
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Self {
        Self::Map(value)
    }
}
