//! From the JSON of a filter to its conditions, within limits.

use regex::RegexBuilder;

use super::{Condition, FieldPath, FieldPathError, Filter, Test};
use crate::limits::{MAX_FILTER_OPERATORS, MAX_FILTER_REGEXES, MAX_REGEX, MAX_REGEX_COMPILED};
use crate::value::{JsonError, Map, Value, ValueError};

const ON_FIELDS: &str =
    "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $not, $exists, $regex with $options, $elemMatch, $size";
const ON_TOP: &str = "$and, $or, $nor";

/// Why a text is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not JSON, or not JSON of values.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Another type than expected somewhere.
    #[error("{operator} expects {expected}")]
    Shape {
        /// The operator, or what stands for it.
        operator: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// An operator that does not exist here.
    #[error("there is no operator {0} here; on a field there are {ON_FIELDS}; around conditions {ON_TOP}")]
    Unknown(String),
    /// Operators and plain keys in one object.
    #[error("the object of `{0}` mixes operators and fields; to compare with a whole object use $eq")]
    Mixed(String),
    /// A path that names nothing.
    #[error(transparent)]
    Field(#[from] FieldPathError),
    /// A value that no document can hold.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Not a regular expression, or one that compiles into too much.
    #[error("$regex: {0}")]
    Regex(String),
    /// More than `MAX_FILTER_OPERATORS`.
    #[error("a filter has at most {MAX_FILTER_OPERATORS} operators; compare with many values by $in")]
    TooManyOperators,
}

pub(super) fn filter(value: &Value) -> Result<Filter, FilterError> {
    let map = value.as_map().ok_or_else(|| shape("a filter", "an object, like {\"done\": false}"))?;
    let mut parser = Parser { operators: 0, regexes: 0, elements: 0 };
    Ok(Filter { conditions: parser.conditions(map)? })
}

fn shape(operator: &str, expected: &'static str) -> FilterError {
    FilterError::Shape { operator: operator.to_owned(), expected }
}

// Nesting is bounded by the depth of the value, which whoever read it has bounded.
struct Parser {
    operators: usize,
    regexes: usize,
    // How many $elemMatch we are in: inside one there are no system fields.
    elements: usize,
}

impl Parser {
    fn count(&mut self) -> Result<(), FilterError> {
        self.operators += 1;
        if self.operators > MAX_FILTER_OPERATORS { Err(FilterError::TooManyOperators) } else { Ok(()) }
    }

    fn conditions(&mut self, map: &Map) -> Result<Vec<Condition>, FilterError> {
        map.iter().map(|(key, value)| self.condition(key, value)).collect()
    }

    fn condition(&mut self, key: &str, value: &Value) -> Result<Condition, FilterError> {
        self.count()?;
        match key {
            "$and" => Ok(Condition::And(self.several(key, value)?)),
            "$or" => Ok(Condition::Or(self.several(key, value)?)),
            "$nor" => Ok(Condition::Nor(self.several(key, value)?)),
            _ if key.starts_with('$') => Err(FilterError::Unknown(key.to_owned())),
            _ => {
                let path = FieldPath::parse(key)?;
                if path.system().is_some() && self.elements > 0 {
                    return Err(FieldPathError::Unknown(format!("{key} inside $elemMatch")).into());
                }
                Ok(Condition::Field(path, self.tests_or_literal(key, value)?))
            }
        }
    }

    // A list of filters, each of which is a conjunction.
    fn several(&mut self, operator: &str, value: &Value) -> Result<Vec<Condition>, FilterError> {
        let fault = || shape(operator, "a list of one or more filters");
        let list = value.as_list().filter(|list| !list.is_empty()).ok_or_else(fault)?;
        list.iter()
            .map(|value| {
                self.count()?;
                Ok(Condition::And(self.conditions(value.as_map().ok_or_else(fault)?)?))
            })
            .collect()
    }

    fn tests_or_literal(&mut self, field: &str, value: &Value) -> Result<Vec<Test>, FilterError> {
        match value {
            Value::Map(map) if is_operators(map) => self.tests(field, map),
            value => Ok(vec![Test::Equal(literal(value)?)]),
        }
    }

    fn tests(&mut self, field: &str, map: &Map) -> Result<Vec<Test>, FilterError> {
        if map.iter().any(|(key, _)| !key.starts_with('$')) {
            return Err(FilterError::Mixed(field.to_owned()));
        }
        let mut tests = Vec::new();
        for (operator, value) in map {
            self.count()?;
            tests.push(match operator {
                "$eq" => Test::Equal(literal(value)?),
                "$ne" => Test::Not(vec![Test::Equal(literal(value)?)]),
                "$gt" => Test::Greater(literal(value)?),
                "$gte" => Test::GreaterOrEqual(literal(value)?),
                "$lt" => Test::Less(literal(value)?),
                "$lte" => Test::LessOrEqual(literal(value)?),
                "$in" => Test::In(sorted(operator, value)?),
                "$nin" => Test::Not(vec![Test::In(sorted(operator, value)?)]),
                "$exists" => match value {
                    Value::Bool(true) => Test::Exists,
                    Value::Bool(false) => Test::Not(vec![Test::Exists]),
                    _ => return Err(shape(operator, "true or false")),
                },
                "$regex" => {
                    self.regexes += 1;
                    if self.regexes > MAX_FILTER_REGEXES {
                        return Err(FilterError::Regex(format!(
                            "a filter has at most {MAX_FILTER_REGEXES} of them"
                        )));
                    }
                    regex(value, map.get("$options"))?
                }
                "$options" if map.get("$regex").is_some() => continue,
                "$options" => return Err(shape(operator, "$regex beside it")),
                "$size" => match value.as_i64().and_then(|size| usize::try_from(size).ok()) {
                    Some(size) => Test::Size(size),
                    None => return Err(shape(operator, "a number of elements")),
                },
                "$elemMatch" => self.element(value)?,
                "$not" => match value {
                    Value::Map(map) if is_operators(map) => Test::Not(self.tests(field, map)?),
                    _ => {
                        return Err(shape(operator, "an object of operators, like {\"$gt\": 5}; or use $ne"));
                    }
                },
                _ => return Err(FilterError::Unknown(operator.to_owned())),
            });
        }
        Ok(tests)
    }

    fn element(&mut self, value: &Value) -> Result<Test, FilterError> {
        let map = value.as_map().ok_or_else(|| shape("$elemMatch", "an object of operators or of fields"))?;
        let on_top = |map: &Map| map.iter().any(|(key, _)| matches!(key, "$and" | "$or" | "$nor"));
        if is_operators(map) && !on_top(map) {
            return Ok(Test::ElementTests(self.tests("$elemMatch", map)?));
        }
        self.elements += 1;
        let conditions = self.conditions(map);
        self.elements -= 1;
        Ok(Test::ElementFields(conditions?))
    }
}

fn is_operators(map: &Map) -> bool {
    map.iter().any(|(key, _)| key.starts_with('$'))
}

fn literal(value: &Value) -> Result<Value, FilterError> {
    value.check()?;
    Ok(value.clone())
}

fn sorted(operator: &str, value: &Value) -> Result<Vec<Value>, FilterError> {
    let list = value.as_list().ok_or_else(|| shape(operator, "a list of values"))?;
    let mut values = list.iter().map(literal).collect::<Result<Vec<_>, _>>()?;
    values.sort_by(Value::compare);
    Ok(values)
}

fn regex(pattern: &Value, options: Option<&Value>) -> Result<Test, FilterError> {
    let pattern = pattern.as_str().ok_or_else(|| shape("$regex", "a string"))?;
    if pattern.len() > MAX_REGEX {
        return Err(FilterError::Regex(format!("at most {MAX_REGEX} bytes")));
    }
    let options = match options {
        Some(options) => {
            options.as_str().ok_or_else(|| shape("$options", "a string of the letters i, m, s, x"))?
        }
        None => "",
    };
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(MAX_REGEX_COMPILED).dfa_size_limit(MAX_REGEX_COMPILED);
    for option in options.chars() {
        match option {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            _ => return Err(shape("$options", "a string of the letters i, m, s, x")),
        };
    }
    builder.build().map(Test::Regex).map_err(|error| FilterError::Regex(error.to_string()))
}
