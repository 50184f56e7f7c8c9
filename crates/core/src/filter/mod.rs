//! Filters: MongoDB's query language over documents. The one evaluator that decides, whatever storage narrowed before.
//!
//! A path through a list goes into each of its maps, and a numeric key also indexes the list. A condition holds for a
//! field if it holds for a value at its path, or, where that value is a list, for one of its elements. `$ne`, `$nin`,
//! `$not`, `$nor` are exact negations. Comparisons hold only within one class of types; null is the same as missing.

mod bounds;
mod evaluate;
mod field_path;
mod parse;

pub use bounds::{ValueRange, index_values};
pub use field_path::{FieldPath, FieldPathError};
pub use parse::FilterError;

use regex::Regex;

use crate::document::Subject;
use crate::value::Value;

/// A parsed filter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    // All must hold; none is the filter that everything matches.
    conditions: Vec<Condition>,
}

impl Filter {
    /// The filter `{}`.
    pub fn all() -> Self {
        Self::default()
    }

    /// Reads `{"done": false, "due": {"$lt": 5}}`.
    pub fn parse(json: &str) -> Result<Self, FilterError> {
        parse::filter(&Value::from_json_with_operators(json)?)
    }

    /// As `parse`, from a value that is already read and whose keys may begin with `$` and `_`.
    pub fn from_value(value: &Value) -> Result<Self, FilterError> {
        parse::filter(value)
    }

    /// Whether it matches everything because it says nothing.
    pub fn is_all(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether the document matches.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        evaluate::all(&self.conditions, subject)
    }
}

#[derive(Debug, Clone)]
enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    // None of them holds.
    Nor(Vec<Condition>),
    // All tests hold for the field, each perhaps for another of its values.
    Field(FieldPath, Vec<Test>),
}

#[derive(Debug, Clone)]
enum Test {
    Equal(Value),
    Less(Value),
    LessOrEqual(Value),
    Greater(Value),
    GreaterOrEqual(Value),
    // Sorted by `Value::compare`.
    In(Vec<Value>),
    Exists,
    Regex(Regex),
    Size(usize),
    // An element passes all tests.
    ElementTests(Vec<Test>),
    // An element is a map that meets all conditions.
    ElementFields(Vec<Condition>),
    // Not all of them hold.
    Not(Vec<Test>),
}
