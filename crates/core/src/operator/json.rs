//! Operators as people write them: MongoDB's update language, and back for `log` and `diff`.

use std::collections::BTreeSet;

use super::Operator;
use crate::document_id::DocumentId;
use crate::value::{JsonError, Map, Path, PathError, Value, ValueError};

const SUPPORTED: &str = "$set, $unset, $inc, $push, $pull, $pullAll, $addToSet, $delete, $restore";

/// Why a text is not a list of operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// Not JSON, or not JSON of values.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// No operator at all, or a whole document.
    #[error(
        "`{0}` is not an operator; an edit is like {{\"$set\": {{\"title\": \"Milk\"}}}}; to write a whole document use `save`"
    )]
    NotAnOperator(String),
    /// Another type than expected somewhere.
    #[error("{operator} expects {expected}")]
    Shape {
        /// The operator.
        operator: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// MongoDB has it; we do not.
    #[error("{0} is not supported yet; there are {SUPPORTED}, and $each in $push and $addToSet")]
    NotSupported(String),
    /// Nobody has it.
    #[error("there is no operator {0}; there are {SUPPORTED}")]
    Unknown(String),
    /// A path that cannot be written to.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Two operators on one path, or on a path and one inside it.
    #[error("`{0}` and `{1}` change the same field; write two edits")]
    Conflict(String, String),
    /// A value that may not stand in a document.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// Reads `{"$set": {"a.b": 1}, "$push": {"tags": {"$each": ["x"]}}, ..}`, or a list of such objects, applied in order.
pub fn operators_from_json(text: &str) -> Result<Vec<Operator>, OperatorError> {
    operators_from_value(&Value::from_json_with_operators(text)?)
}

/// As `operators_from_json`, from a value that is already read and whose keys may begin with `$`.
pub fn operators_from_value(value: &Value) -> Result<Vec<Operator>, OperatorError> {
    match value {
        Value::Map(map) => group(map),
        Value::List(list) if !list.is_empty() => {
            let mut operators = Vec::new();
            for value in list {
                let map = value.as_map().ok_or_else(|| OperatorError::NotAnOperator(value.to_json()))?;
                operators.extend(group(map)?);
            }
            Ok(operators)
        }
        _ => Err(OperatorError::NotAnOperator(value.to_json())),
    }
}

// The operators of one object. Their order must not matter, since an object has none.
fn group(map: &Map) -> Result<Vec<Operator>, OperatorError> {
    if map.is_empty() {
        return Err(OperatorError::NotAnOperator("{}".to_owned()));
    }
    let mut operators: Vec<Operator> = Vec::new();
    for (name, argument) in map {
        let shape = |expected| OperatorError::Shape { operator: name.to_owned(), expected };
        match name {
            "$set" | "$unset" | "$inc" | "$push" | "$pull" | "$pullAll" | "$addToSet" => {
                let fields =
                    argument.as_map().ok_or_else(|| shape("an object of fields, like {\"title\": ..}"))?;
                for (path, argument) in fields {
                    operators.push(on_field(name, Path::parse(path)?, argument)?);
                }
            }
            "$delete" | "$restore" if *argument != Value::Bool(true) => return Err(shape("true")),
            "$delete" => operators.push(Operator::Delete),
            "$restore" if map.get("$delete").is_some() => {
                return Err(OperatorError::Conflict("$delete".to_owned(), "$restore".to_owned()));
            }
            "$restore" => operators.push(Operator::Restore),
            "$mul" | "$min" | "$max" | "$rename" | "$pop" | "$currentDate" | "$setOnInsert" | "$bit" => {
                return Err(OperatorError::NotSupported(name.to_owned()));
            }
            _ if name.starts_with('$') => return Err(OperatorError::Unknown(name.to_owned())),
            _ => return Err(OperatorError::NotAnOperator(name.to_owned())),
        }
    }
    refuse_conflicts(&operators)?;
    Ok(operators)
}

fn refuse_conflicts(operators: &[Operator]) -> Result<(), OperatorError> {
    let mut paths: Vec<&Path> = operators.iter().filter_map(Operator::path).collect();
    // A path sorts directly before the paths inside it.
    paths.sort();
    match paths.windows(2).find_map(|pair| <&[&Path; 2]>::try_from(pair).ok().filter(|[a, b]| a.conflicts(b)))
    {
        Some([a, b]) => Err(OperatorError::Conflict(a.to_string(), b.to_string())),
        None => Ok(()),
    }
}

fn on_field(name: &str, path: Path, argument: &Value) -> Result<Operator, OperatorError> {
    let shape = |expected| OperatorError::Shape { operator: format!("{name} of `{path}`"), expected };
    Ok(match name {
        "$set" => Operator::Set { value: literal(argument)?, path },
        "$unset" => Operator::Unset { path },
        "$inc" => Operator::Increment { by: argument.as_number().ok_or_else(|| shape("a number"))?, path },
        "$push" => Operator::Push { values: each(name, argument)?, path },
        "$addToSet" => Operator::AddToSet { values: each(name, argument)?, path },
        "$pullAll" => {
            let list = argument.as_list().ok_or_else(|| shape("a list of values"))?;
            Operator::Pull { values: list.iter().map(literal).collect::<Result<_, _>>()?, path }
        }
        _ => match argument {
            Value::Map(map) if map.iter().any(|(key, _)| key.starts_with('$')) => {
                return Err(shape(
                    "a value to take out; conditions like $in are not supported, use $pullAll with a list",
                ));
            }
            _ => Operator::Pull { values: vec![literal(argument)?], path },
        },
    })
}

fn each(name: &str, argument: &Value) -> Result<Vec<Value>, OperatorError> {
    let Some(map) = argument.as_map().filter(|map| map.iter().any(|(key, _)| key.starts_with('$'))) else {
        return Ok(vec![literal(argument)?]);
    };
    if let Some((modifier, _)) = map.iter().find(|(key, _)| matches!(*key, "$position" | "$slice" | "$sort"))
    {
        return Err(OperatorError::NotSupported(modifier.to_owned()));
    }
    if let Some((modifier, _)) = map.iter().find(|(key, _)| *key != "$each") {
        return Err(OperatorError::Unknown(format!("{modifier} in {name}")));
    }
    match map.get("$each").and_then(Value::as_list) {
        Some(list) => list.iter().map(literal).collect(),
        None => Err(OperatorError::Shape { operator: "$each".to_owned(), expected: "a list of values" }),
    }
}

fn literal(value: &Value) -> Result<Value, OperatorError> {
    value.check()?;
    Ok(value.clone())
}

/// Operators as `operators_from_value` reads them: one object where their order does not matter, else a list of them.
/// `$insert`, `$parent`, `$moved` and `$unknown` appear here only.
pub fn operators_to_value(operators: &[Operator]) -> Value {
    let mut groups: Vec<Map> = Vec::new();
    let mut paths: BTreeSet<&[String]> = BTreeSet::new();
    for operator in operators {
        let (name, argument) = shown(operator);
        let fits = match (operator.path(), groups.last()) {
            (Some(path), Some(group)) => {
                // An insert or a deletion before a change of a field is not the same after it.
                !paths.is_empty() && !is_taken(&paths, path) && group.get("$insert").is_none()
            }
            _ => false,
        };
        if !fits {
            groups.push(Map::new());
            paths.clear();
        }
        paths.extend(operator.path().map(Path::keys));
        if let Some(group) = groups.last_mut() {
            put(group, name, operator.path(), argument);
        }
        if let (Operator::Insert { parent: Some(parent), .. }, Some(group)) = (operator, groups.last_mut()) {
            group.insert("$parent", DocumentId::to_value(parent));
        }
    }
    if groups.len() == 1 {
        return Value::Map(groups.pop().unwrap_or_default());
    }
    Value::List(groups.into_iter().map(Value::Map).collect())
}

// Whether one of the paths is this one, around it or inside it.
fn is_taken(paths: &BTreeSet<&[String]>, path: &Path) -> bool {
    let keys = path.keys();
    let around =
        (1..=keys.len()).filter_map(|length| keys.get(..length)).any(|prefix| paths.contains(prefix));
    around || paths.range(keys..).next().is_some_and(|next| next.starts_with(keys))
}

fn put(group: &mut Map, name: &str, path: Option<&Path>, argument: Value) {
    let Some(path) = path else {
        group.insert(name, argument);
        return;
    };
    match group.get_mut(name) {
        Some(Value::Map(fields)) => {
            fields.insert(path.to_string(), argument);
        }
        _ => {
            group.insert(name, Value::Map(Map::from_iter([(path.to_string(), argument)])));
        }
    }
}

fn shown(operator: &Operator) -> (&'static str, Value) {
    let each = |values: &[Value]| match values {
        [value] => value.clone(),
        _ => Value::Map(Map::from_iter([("$each", Value::List(values.to_vec()))])),
    };
    match operator {
        Operator::Insert { fields, .. } => ("$insert", Value::Map(fields.clone())),
        Operator::Set { value, .. } => ("$set", value.clone()),
        Operator::Unset { .. } => ("$unset", Value::from("")),
        Operator::Increment { by, .. } => ("$inc", Value::from(*by)),
        Operator::Push { values, .. } => ("$push", each(values)),
        Operator::AddToSet { values, .. } => ("$addToSet", each(values)),
        Operator::Pull { values, .. } => match values.as_slice() {
            [value] => ("$pull", value.clone()),
            values => ("$pullAll", Value::List(values.to_vec())),
        },
        Operator::Delete => ("$delete", Value::Bool(true)),
        Operator::Restore => ("$restore", Value::Bool(true)),
        Operator::Moved { to } => ("$moved", Value::from(to.to_string())),
        Operator::Unknown(bytes) => ("$unknown", Value::Bytes(bytes.clone())),
    }
}
