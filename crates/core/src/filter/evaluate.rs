//! Whether a document matches. Work is linear in the conditions times what their paths touch.

use std::cmp::Ordering;

use super::field_path::Key;
use super::{Condition, FieldPath, Test};
use crate::document::Subject;
use crate::value::{Map, Value};

pub(super) fn all(conditions: &[Condition], subject: &Subject<'_>) -> bool {
    conditions.iter().all(|condition| holds(condition, &|path, test| test_subject(path, test, subject)))
}

// `field` decides a test at a path of whatever the conditions are about.
fn holds(condition: &Condition, field: &dyn Fn(&FieldPath, &Test) -> bool) -> bool {
    match condition {
        Condition::And(conditions) => conditions.iter().all(|condition| holds(condition, field)),
        Condition::Or(conditions) => conditions.iter().any(|condition| holds(condition, field)),
        Condition::Nor(conditions) => !conditions.iter().any(|condition| holds(condition, field)),
        Condition::Field(path, tests) => tests.iter().all(|test| field(path, test)),
    }
}

fn test_subject(path: &FieldPath, test: &Test, subject: &Subject<'_>) -> bool {
    match path.system {
        Some(field) => {
            let value = subject.system(field);
            decide(test, &|test| at_end(value.as_ref(), test))
        }
        None => test_fields(path, test, subject.fields),
    }
}

fn test_fields(path: &FieldPath, test: &Test, fields: &Map) -> bool {
    decide(test, &|test| any_in_map(fields, &path.keys, &mut |value| at_end(value, test)))
}

// A negation is about all values of a field together, so it stands outside the search for one that passes.
fn decide(test: &Test, some: &dyn Fn(&Test) -> bool) -> bool {
    match test {
        Test::Not(tests) => !tests.iter().all(|test| decide(test, some)),
        test => some(test),
    }
}

/// Whether `passes` says yes for one of the values at a path; it is asked with `None` where a map lacks a key.
pub(super) fn any_in_map<'v>(
    map: &'v Map,
    keys: &[Key],
    passes: &mut dyn FnMut(Option<&'v Value>) -> bool,
) -> bool {
    let Some((key, rest)) = keys.split_first() else {
        return false;
    };
    match map.get(&key.text) {
        Some(value) => any(value, rest, passes),
        None => passes(None),
    }
}

fn any<'v>(value: &'v Value, keys: &[Key], passes: &mut dyn FnMut(Option<&'v Value>) -> bool) -> bool {
    let Some((key, rest)) = keys.split_first() else {
        return passes(Some(value));
    };
    match value {
        Value::Map(map) => any_in_map(map, keys, passes),
        Value::List(list) => {
            let indexed = key.position.and_then(|position| list.get(position));
            if indexed.is_some_and(|value| any(value, rest, passes)) {
                return true;
            }
            // Maps in the list are looked into; lists in the list are not, as in MongoDB.
            list.iter().any(|value| value.as_map().is_some_and(|map| any_in_map(map, keys, passes)))
        }
        _ => passes(None),
    }
}

// The value at the end of a path: itself or, for a list, one of its elements.
fn at_end(value: Option<&Value>, test: &Test) -> bool {
    match test {
        Test::Exists => value.is_some(),
        Test::Size(size) => value.and_then(Value::as_list).is_some_and(|list| list.len() == *size),
        Test::ElementTests(tests) => {
            let list = value.and_then(Value::as_list).unwrap_or_default();
            list.iter().any(|value| tests.iter().all(|test| decide(test, &|test| element(value, test))))
        }
        Test::ElementFields(conditions) => {
            let list = value.and_then(Value::as_list).unwrap_or_default();
            let meets = |map: &Map| {
                conditions
                    .iter()
                    .all(|condition| holds(condition, &|path, test| test_fields(path, test, map)))
            };
            list.iter().filter_map(Value::as_map).any(meets)
        }
        test => {
            let value = value.unwrap_or(&Value::Null);
            single(value, test)
                || value.as_list().is_some_and(|list| list.iter().any(|value| single(value, test)))
        }
    }
}

// An element of a list stands for itself: its own elements are not looked at, but for $elemMatch in $elemMatch.
fn element(value: &Value, test: &Test) -> bool {
    match test {
        Test::Exists | Test::Size(_) | Test::ElementTests(_) | Test::ElementFields(_) => {
            at_end(Some(value), test)
        }
        test => single(value, test),
    }
}

fn single(value: &Value, test: &Test) -> bool {
    let compared = |other: &Value, holds: fn(Ordering) -> bool| {
        value.class() == other.class() && holds(value.compare(other))
    };
    match test {
        Test::Equal(other) => value.same(other),
        Test::Less(other) => compared(other, Ordering::is_lt),
        Test::LessOrEqual(other) => compared(other, Ordering::is_le),
        Test::Greater(other) => compared(other, Ordering::is_gt),
        Test::GreaterOrEqual(other) => compared(other, Ordering::is_ge),
        Test::In(values) => values.binary_search_by(|other| other.compare(value)).is_ok(),
        Test::Regex(regex) => value.as_str().is_some_and(|text| regex.is_match(text)),
        // These look at more than one value; `at_end` and `decide` have dealt with them.
        Test::Exists | Test::Size(_) | Test::ElementTests(_) | Test::ElementFields(_) | Test::Not(_) => false,
    }
}
