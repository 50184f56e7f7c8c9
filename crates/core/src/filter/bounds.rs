//! What an index can do for a filter: the entries it holds for a document, and the range of them to look at.
//!
//! An index on a path holds, for each document, each value at the path, each element of those that are lists, and null
//! where the path leads nowhere. So each document has at least one entry. A range is always a superset of the matches;
//! `Filter::matches` decides on each candidate.

use std::cmp::Ordering;
use std::ops::Bound;

use super::evaluate::any_in_map;
use super::{Condition, FieldPath, Filter, Test};
use crate::value::{Class, Map, Value};

/// A range of values in the order of values; it never ends before it starts.
pub type ValueRange = (Bound<Value>, Bound<Value>);

/// The entries that an index on `path` holds for a document: one or more, in order, each once. System fields have none
/// here, they are not among the fields.
pub fn index_values(fields: &Map, path: &FieldPath) -> Vec<Value> {
    let mut values: Vec<&Value> = Vec::new();
    let mut missing = path.system().is_none();
    any_in_map(fields, &path.keys, &mut |value| {
        match value {
            Some(value) => {
                values.push(value);
                values.extend(value.as_list().unwrap_or_default());
            }
            None => values.push(&Value::Null),
        }
        missing = false;
        // Never satisfied, so that all values are visited.
        false
    });
    if missing {
        values.push(&Value::Null);
    }
    values.sort_by(|a, b| a.compare(b));
    values.dedup_by(|a, b| a.same(b));
    values.into_iter().cloned().collect()
}

impl Filter {
    /// A range in which every match has an entry of an index on `path`; `None` if the filter does not narrow it.
    ///
    /// Only what all matches must meet counts: the top level and `$and`. A document may have several entries, one for
    /// each element of a list, and different conditions may hold for different elements. So the ranges of conditions
    /// are not intersected: the narrowest kind is chosen ($eq, then $elemMatch, $in, others).
    pub fn bounds(&self, path: &FieldPath) -> Option<ValueRange> {
        let mut ranges = Vec::new();
        collect(&self.conditions, path, &mut ranges);
        // The first of the best kind.
        ranges.into_iter().min_by_key(|(rank, _)| *rank).map(|(_, range)| range)
    }

    /// As `bounds`, for an index that is known to hold exactly one entry for each document: there all conditions are
    /// about that one value, and the ranges are intersected. An index that has ever held two entries for a document
    /// must not use this.
    pub fn bounds_of_single(&self, path: &FieldPath) -> Option<ValueRange> {
        let mut ranges = Vec::new();
        collect(&self.conditions, path, &mut ranges);
        ranges.into_iter().map(|(_, range)| range).reduce(intersect)
    }
}

// The lower, the narrower it tends to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Equal,
    Element,
    In,
    Other,
}

fn collect(conditions: &[Condition], path: &FieldPath, ranges: &mut Vec<(Rank, ValueRange)>) {
    for condition in conditions {
        match condition {
            Condition::And(conditions) => collect(conditions, path, ranges),
            Condition::Field(field, tests) if field == path && path.system().is_none() => {
                ranges.extend(tests.iter().filter_map(range));
            }
            Condition::Field(..) | Condition::Or(_) | Condition::Nor(_) => {}
        }
    }
}

// Where a value or element lies that passes the test.
fn range(test: &Test) -> Option<(Rank, ValueRange)> {
    use Bound::{Excluded, Included};
    Some(match test {
        Test::Equal(value) => (Rank::Equal, (Included(value.clone()), Included(value.clone()))),
        Test::Less(value) => (Rank::Other, (Included(value.class().least()), Excluded(value.clone()))),
        Test::LessOrEqual(value) => (Rank::Other, (Included(value.class().least()), Included(value.clone()))),
        Test::Greater(value) => (Rank::Other, (Excluded(value.clone()), end(value.class()))),
        Test::GreaterOrEqual(value) => (Rank::Other, (Included(value.clone()), end(value.class()))),
        // Nothing matches an empty list; any small range will do.
        Test::In(values) => {
            let bound = |value: Option<&Value>| Included(value.cloned().unwrap_or_default());
            (Rank::In, (bound(values.first()), bound(values.last())))
        }
        Test::Regex(_) => (Rank::Other, of_class(Class::String)),
        Test::Size(_) | Test::ElementFields(_) => (Rank::Other, of_class(Class::List)),
        // One element passes all of them, so here ranges may be intersected; the list itself is an entry as well.
        Test::ElementTests(tests) => {
            let ranges = tests.iter().filter(|test| !matches!(test, Test::ElementTests(_))).filter_map(range);
            (Rank::Element, ranges.map(|(_, range)| range).reduce(intersect).unwrap_or(of_class(Class::List)))
        }
        Test::Exists | Test::Not(_) => return None,
    })
}

fn of_class(class: Class) -> ValueRange {
    (Bound::Included(class.least()), end(class))
}

fn end(class: Class) -> Bound<Value> {
    class.next().map_or(Bound::Unbounded, |next| Bound::Excluded(next.least()))
}

fn intersect(a: ValueRange, b: ValueRange) -> ValueRange {
    let range = (tighter(a.0, b.0, Ordering::Greater), tighter(a.1, b.1, Ordering::Less));
    // Ordered maps panic when asked for a range that ends before it starts.
    let backwards = match (bound_value(&range.0), bound_value(&range.1)) {
        (Some(low), Some(high)) => match low.compare(high) {
            Ordering::Less => false,
            Ordering::Equal => !matches!(range, (Bound::Included(_), Bound::Included(_))),
            Ordering::Greater => true,
        },
        _ => false,
    };
    if backwards { (Bound::Included(Value::Null), Bound::Excluded(Value::Null)) } else { range }
}

fn bound_value(bound: &Bound<Value>) -> Option<&Value> {
    match bound {
        Bound::Included(value) | Bound::Excluded(value) => Some(value),
        Bound::Unbounded => None,
    }
}

// Of two bounds the one whose value is `wanted` than the other's; of equal ones that which excludes it.
fn tighter(a: Bound<Value>, b: Bound<Value>, wanted: Ordering) -> Bound<Value> {
    let order = match (bound_value(&a), bound_value(&b)) {
        (None, _) => return b,
        (_, None) => return a,
        (Some(x), Some(y)) => x.compare(y),
    };
    if order == wanted || (order.is_eq() && matches!(a, Bound::Excluded(_))) { a } else { b }
}
