//! The edit that `save` writes: the smallest one that turns one document into another.
//!
//! Field by field and into maps, so that two people who save different fields both keep their change. A changed list is
//! written whole, since positions mean nothing after a concurrent change; one that only grew at its end is appended to.

use super::Operator;
use crate::limits::MAX_PATH_DEPTH;
use crate::value::{Map, Path, Value};

/// The operators that turn `old` into `new`; none if they are equal in representation.
pub fn difference(old: &Map, new: &Map) -> Vec<Operator> {
    let mut operators = Vec::new();
    compare(old, new, &mut Vec::new(), &mut operators);
    operators
}

fn compare(old: &Map, new: &Map, at: &mut Vec<String>, operators: &mut Vec<Operator>) {
    for (key, _) in old.iter().filter(|(key, _)| new.get(key).is_none()) {
        write(key, at, operators, |path| Operator::Unset { path });
    }
    for (key, value) in new {
        match (old.get(key), value) {
            (Some(before), value) if before == value => {}
            (Some(Value::Map(before)), Value::Map(after)) if at.len() + 1 < MAX_PATH_DEPTH => {
                at.push(key.to_owned());
                compare(before, after, at, operators);
                at.pop();
            }
            (Some(Value::List(before)), Value::List(after)) if after.starts_with(before) => {
                let values = after.iter().skip(before.len()).cloned().collect();
                write(key, at, operators, |path| Operator::Push { path, values });
            }
            (_, value) => write(key, at, operators, |path| Operator::Set { path, value: value.clone() }),
        }
    }
}

// The keys of documents are allowed in paths and `at` is short enough, so a path always comes about.
fn write(key: &str, at: &[String], operators: &mut Vec<Operator>, operator: impl FnOnce(Path) -> Operator) {
    let keys = at.iter().cloned().chain([key.to_owned()]).collect();
    operators.extend(Path::new(keys).ok().map(operator));
}
