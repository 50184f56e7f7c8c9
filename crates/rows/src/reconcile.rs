//! What the change of a row says to its document, and what a document says to its row. Between the two is the fold of
//! driftless, which is the same everywhere: so whatever a reconciler makes of changes, all devices end with one row.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use driftless::{Map, Number, Operator, Path, Value};
use serde::{Deserialize, Serialize};

/// What happened to a row since the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It is there and was not.
    Create,
    /// It is there and different.
    Modify,
    /// It was deleted, and is there again.
    Recreate,
    /// It is gone.
    Delete,
}

/// A cell that is different.
#[derive(Debug, Clone, PartialEq)]
pub struct CellChange {
    /// The column in this file.
    pub column: String,
    /// The field of the document.
    pub field: String,
    /// The value now.
    pub now: Value,
    /// The value before, if the reconciler said that it needs it, and there was one.
    pub before: Option<Value>,
}

/// A row that is different.
#[derive(Debug, Clone, PartialEq)]
pub struct RowChange<'c> {
    /// The table in this file.
    pub table: &'c str,
    /// What happened.
    pub deed: Deed,
    /// All cells of a row that was created, those that changed of one that was modified, none of one that was deleted.
    pub cells: Vec<CellChange>,
    /// Who writes: a word that only this file has.
    pub writer: &'c str,
}

/// Decides how changes of rows merge, by the operators that it makes of them.
pub trait Reconciler: Send + Sync {
    /// What a change does to the document of the row.
    fn operators(&self, change: &RowChange<'_>) -> Vec<Operator>;

    /// The value that a cell gets from the field of the document.
    fn cell(&self, table: &str, column: &str, field: &Value) -> Value;

    /// Whether `cell` gives the field as it is, whatever it is. If never said, it is asked for each field.
    fn is_plain(&self, table: &str, column: &str) -> bool {
        let _ = (table, column);
        false
    }

    /// Whether `CellChange::before` is needed. Only of such a column can the document say something else than what was
    /// written in the row: then the row gets what it says.
    fn needs_before(&self, table: &str, column: &str) -> bool;
}

/// How concurrent changes of a column merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The last write wins.
    #[default]
    Last,
    /// A number: differences add up.
    Counter,
    /// The largest value that anybody wrote since the row was created.
    Max,
    /// The smallest.
    Min,
    /// A JSON array without order: what was added and taken out adds up.
    Set,
}

impl Policy {
    /// Its word: what is stored, and what the command takes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Counter => "counter",
            Self::Max => "max",
            Self::Min => "min",
            Self::Set => "set",
        }
    }

    /// For what policy a field was made that this one cannot be of, as far as that can be seen.
    pub(crate) fn misuses(self, field: &Value) -> Option<&'static str> {
        match (self, field) {
            (Self::Last | Self::Counter | Self::Set, Value::Map(map)) if is_of_writers(map) => {
                Some("max or min")
            }
            (Self::Max | Self::Min, Value::Map(map)) if is_of_writers(map) => None,
            (Self::Max | Self::Min, Value::List(_)) => Some("set"),
            (Self::Max | Self::Min, _) => Some("last or counter"),
            (Self::Last | Self::Counter, Value::List(_)) => Some("set"),
            (Self::Set, Value::String(text)) if matches!(Value::from_json(text), Ok(Value::List(_))) => {
                Some("last")
            }
            _ => None,
        }
    }
}

/// The default: a policy for each column, the last write where none is given; a deletion wins over every change, and
/// only a creation brings the row back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerColumn(BTreeMap<String, Policy>);

impl PerColumn {
    /// Gives a column of a table a policy. All devices have to give it the same.
    pub fn with(mut self, table: &str, column: &str, policy: Policy) -> Self {
        self.0.insert(format!("{table}.{column}"), policy);
        self
    }

    /// The policy of a column.
    pub fn policy(&self, table: &str, column: &str) -> Policy {
        if self.0.is_empty() {
            return Policy::Last;
        }
        self.0.get(&format!("{table}.{column}")).copied().unwrap_or_default()
    }

    // Of a column that is named as `iter` does.
    pub(crate) fn of(&self, name: &str) -> Policy {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// A column is called something else now.
    pub(crate) fn rename(&mut self, table: &str, before: &str, now: &str) {
        if let Some(policy) = self.0.remove(&format!("{table}.{before}")) {
            self.0.insert(format!("{table}.{now}"), policy);
        }
    }

    /// A table is.
    pub(crate) fn rename_table(&mut self, before: &str, now: &str) {
        let of = |name: String| match name.strip_prefix(before).and_then(|rest| rest.strip_prefix('.')) {
            Some(column) => format!("{now}.{column}"),
            None => name,
        };
        self.0 = std::mem::take(&mut self.0).into_iter().map(|(name, policy)| (of(name), policy)).collect();
    }

    /// Every column that has one, as `table.column`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Policy)> {
        self.0.iter().map(|(column, policy)| (column.as_str(), *policy))
    }
}

impl Reconciler for PerColumn {
    fn operators(&self, change: &RowChange<'_>) -> Vec<Operator> {
        let mut operators = Vec::with_capacity(1 + change.cells.len());
        match change.deed {
            Deed::Delete => return vec![Operator::Delete],
            Deed::Recreate => operators.push(Operator::Delete),
            Deed::Create | Deed::Modify => {}
        }
        let created = matches!(change.deed, Deed::Create | Deed::Recreate);
        let mut fields = Map::new();
        let mut more = Vec::new();
        for cell in &change.cells {
            let field = || Path::new(vec![cell.field.clone()]).ok();
            let set = || field().map(|path| Operator::Set { path, value: cell.now.clone() });
            match self.policy(change.table, &cell.column) {
                Policy::Last | Policy::Counter if created => {
                    fields.insert(cell.field.as_str(), cell.now.clone());
                }
                Policy::Last => more.extend(set()),
                Policy::Counter => {
                    match cell.before.as_ref().and_then(|before| difference(before, &cell.now)) {
                        Some(by) => more.extend(field().map(|path| Operator::Increment { path, by })),
                        None => more.extend(set()),
                    }
                }
                policy @ (Policy::Max | Policy::Min) => {
                    let wanted = if policy == Policy::Max { Ordering::Greater } else { Ordering::Less };
                    // What is no better says nothing: what was written before holds, also what was written here.
                    if cell.before.as_ref().is_none_or(|before| is_better(&cell.now, before, wanted)) {
                        let path = Path::new(vec![cell.field.clone(), change.writer.to_owned()]).ok();
                        more.extend(path.map(|path| Operator::Set { path, value: cell.now.clone() }));
                    }
                }
                Policy::Set => match (list(&cell.now), cell.before.as_ref().map(list)) {
                    (Some(values), None) if values.is_empty() => {
                        // So that there is one, without a member: whatever is in it already stays.
                        let member = || vec![Value::Bytes(Vec::new())];
                        more.extend(field().map(|path| Operator::AddToSet { path, values: member() }));
                        more.extend(field().map(|path| Operator::Pull { path, values: member() }));
                    }
                    (Some(values), None) => {
                        more.extend(field().map(|path| Operator::AddToSet { path, values }));
                    }
                    // Nothing can be added to what is no array.
                    (Some(now), Some(None)) => {
                        more.extend(field().map(|path| Operator::Set { path, value: Value::List(now) }));
                    }
                    (Some(now), Some(Some(before))) => {
                        let (added, gone) = (without(&now, &before), without(&before, &now));
                        if !gone.is_empty() {
                            more.extend(field().map(|path| Operator::Pull { path, values: gone }));
                        }
                        if !added.is_empty() {
                            more.extend(field().map(|path| Operator::AddToSet { path, values: added }));
                        }
                    }
                    // What is no array is a value like others.
                    (None, _) => more.extend(set()),
                },
            }
        }
        if created {
            operators.push(Operator::Insert { fields, parent: None });
        }
        operators.extend(more);
        operators
    }

    fn cell(&self, table: &str, column: &str, field: &Value) -> Value {
        match (self.policy(table, column), field) {
            (Policy::Max, Value::Map(map)) => best(map, Ordering::Greater),
            (Policy::Min, Value::Map(map)) => best(map, Ordering::Less),
            (Policy::Set, Value::List(_)) => Value::from(field.to_json()),
            _ => field.clone(),
        }
    }

    fn is_plain(&self, table: &str, column: &str) -> bool {
        matches!(self.policy(table, column), Policy::Last | Policy::Counter)
    }

    fn needs_before(&self, table: &str, column: &str) -> bool {
        self.policy(table, column) != Policy::Last
    }
}

// Whether each key is the word of a file: `w` and 16 digits.
fn is_of_writers(map: &Map) -> bool {
    let is_word = |name: &str| {
        let digits = name.strip_prefix('w').filter(|digits| digits.len() == 16);
        digits.is_some_and(|digits| digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    };
    let mut names = map.iter().map(|(name, _)| name).peekable();
    names.peek().is_some() && names.all(is_word)
}

fn is_better(now: &Value, before: &Value, wanted: Ordering) -> bool {
    *now != Value::Null && (*before == Value::Null || now.compare(before) == wanted)
}

// NULL is no number: it neither wins nor loses while there is another.
fn best(map: &Map, wanted: Ordering) -> Value {
    let values = map.iter().map(|(_, value)| value).filter(|value| **value != Value::Null);
    let better = |best: &&Value, value: &&Value| best.compare(value) == wanted;
    values.reduce(|best, value| if better(&best, &value) { best } else { value }).cloned().unwrap_or_default()
}

fn difference(before: &Value, now: &Value) -> Option<Number> {
    match (before, now) {
        (Value::I64(before), Value::I64(now)) => now.checked_sub(*before).map(Number::I64),
        (Value::I64(_) | Value::F64(_), Value::I64(_) | Value::F64(_)) => {
            let float = |value: &Value| match value {
                Value::I64(number) => *number as f64,
                Value::F64(number) => number.get(),
                _ => f64::NAN,
            };
            driftless::Float::new(float(now) - float(before)).map(Number::F64)
        }
        _ => None,
    }
}

// What is in one list and not in the other.
fn without(all: &[Value], other: &[Value]) -> Vec<Value> {
    let mut sorted: Vec<&Value> = other.iter().collect();
    sorted.sort_by(|a, b| a.compare(b));
    let is_among = |value: &Value| sorted.binary_search_by(|one| one.compare(value)).is_ok();
    all.iter().filter(|value| !is_among(value)).cloned().collect()
}

/// What is in both of two JSON arrays; `None` where one is none.
pub(crate) fn of_both(one: &Value, other: &Value) -> Option<Value> {
    let (one, other) = (list(one)?, list(other)?);
    let gone = without(&one, &other);
    Some(Value::from(Value::List(without(&one, &gone)).to_json()))
}

fn list(value: &Value) -> Option<Vec<Value>> {
    let Value::String(text) = value else { return None };
    match Value::from_json(text) {
        Ok(Value::List(list)) => Some(list),
        _ => None,
    }
}
