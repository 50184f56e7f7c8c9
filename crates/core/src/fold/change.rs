//! The fields of a document and what each operator does to them, within depth and weight.
//!
//! The weight is kept up to date by what changes, so that a document near the limit costs no more than a small one.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::limits::{MAX_DOCUMENT_DEPTH, MAX_DOCUMENT_WEIGHT};
use crate::value::{Map, Measure, Number, Path, Value, WEIGHT_UNIT};

/// What one operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Changed,
    // It asked for what is already so, and may.
    Nothing,
    // It does not fit what is there: counted as a warning.
    Misfit,
}

/// Fields with their weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    map: Map,
    weight: u64,
}

impl Default for Fields {
    fn default() -> Self {
        Self { map: Map::new(), weight: Map::new().measure().weight }
    }
}

impl Fields {
    /// `None` if they are too heavy or too deep for a document.
    pub(super) fn new(map: Map) -> Option<Self> {
        let Measure { weight, depth } = map.measure();
        if weight > MAX_DOCUMENT_WEIGHT || depth > MAX_DOCUMENT_DEPTH {
            None
        } else {
            Some(Self { map, weight })
        }
    }

    pub(super) fn map(&self) -> &Map {
        &self.map
    }

    pub(super) fn into_map(self) -> Map {
        self.map
    }

    pub(super) fn merge(&mut self, fields: Cow<'_, Map>) -> Outcome {
        let Measure { weight: added, depth } = fields.measure();
        let pairs = fields.iter().filter_map(|(key, _)| Some((key, self.map.get(key)?)));
        let removed: u64 = pairs.map(|(key, value)| key_weight(key) + value.measure().weight).sum();
        // The new map's own unit is not added, the present one has it.
        if depth > MAX_DOCUMENT_DEPTH || !self.weigh(added - WEIGHT_UNIT, removed) {
            return Outcome::Misfit;
        }
        if self.map.is_empty() {
            self.map = fields.into_owned();
            return Outcome::Changed;
        }
        for (key, value) in fields.iter() {
            self.map.insert(key, value.clone());
        }
        Outcome::Changed
    }

    pub(super) fn set(&mut self, path: &Path, value: &Value) -> Outcome {
        self.replace(path, |_| Some(value.clone()))
    }

    pub(super) fn increment(&mut self, path: &Path, by: Number) -> Outcome {
        self.replace(path, |present| {
            let sum = match present {
                Some(value) => value.as_number()?.plus(by)?,
                None => by,
            };
            Some(Value::from(sum))
        })
    }

    pub(super) fn unset(&mut self, path: &Path) -> Outcome {
        let Some((map, [key])) = walk(&mut self.map, path) else {
            // A map on the way is missing: so is the field. Anything but a map on the way does not fit.
            return if walk(&mut self.map, path).is_some() { Outcome::Nothing } else { Outcome::Misfit };
        };
        let Some(value) = map.remove(key) else {
            return Outcome::Nothing;
        };
        self.weight = self.weight.saturating_sub(key_weight(key) + value.measure().weight);
        Outcome::Changed
    }

    pub(super) fn push(&mut self, path: &Path, values: &[Value]) -> Outcome {
        match self.list(path) {
            Ok(_) if values.is_empty() => Outcome::Nothing,
            Ok(_) => self.append(path, values.to_vec()),
            Err(outcome) => outcome,
        }
    }

    pub(super) fn add_to_set(&mut self, path: &Path, values: &[Value]) -> Outcome {
        let present = match self.list(path) {
            Ok(list) => list.map_or(&[][..], |list| list.as_slice()),
            Err(outcome) => return outcome,
        };
        // One walk over the list whatever the number of values.
        let mut wanted: BTreeSet<Ordered<'_>> = values.iter().map(Ordered).collect();
        for value in present {
            wanted.remove(&Ordered(value));
            if wanted.is_empty() {
                return Outcome::Nothing;
            }
        }
        let fresh: Vec<Value> =
            values.iter().filter(|value| wanted.remove(&Ordered(value))).cloned().collect();
        if fresh.is_empty() { Outcome::Nothing } else { self.append(path, fresh) }
    }

    pub(super) fn pull(&mut self, path: &Path, values: &[Value]) -> Outcome {
        let list = match self.list(path) {
            Ok(Some(list)) => list,
            Ok(None) => return Outcome::Nothing,
            Err(outcome) => return outcome,
        };
        let unwanted: BTreeSet<Ordered<'_>> = values.iter().map(Ordered).collect();
        let mut removed = 0;
        list.retain(|value| {
            let stays = !unwanted.contains(&Ordered(value));
            if !stays {
                removed += value.measure().weight;
            }
            stays
        });
        self.weight = self.weight.saturating_sub(removed);
        if removed == 0 { Outcome::Nothing } else { Outcome::Changed }
    }

    // The list at a path, `None` if nothing is there yet; an error if something else is there, or in the way.
    fn list(&mut self, path: &Path) -> Result<Option<&mut Vec<Value>>, Outcome> {
        let Some((map, rest)) = walk(&mut self.map, path) else {
            return Err(Outcome::Misfit);
        };
        let [key] = rest else { return Ok(None) };
        match map.get_mut(key) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(_) => Err(Outcome::Misfit),
        }
    }

    // Appends to a list that `list` found, or makes it.
    fn append(&mut self, path: &Path, values: Vec<Value>) -> Outcome {
        let (mut weight, mut depth) = (0, 0);
        for measure in values.iter().map(Value::measure) {
            weight += measure.weight;
            depth = depth.max(measure.depth);
        }
        if path.keys().len() + 1 + depth > MAX_DOCUMENT_DEPTH {
            return Outcome::Misfit;
        }
        if !matches!(self.list(path), Ok(Some(_))) {
            return self.set(path, &Value::List(values));
        }
        if !self.weigh(weight, 0) {
            return Outcome::Misfit;
        }
        if let Ok(Some(list)) = self.list(path) {
            list.extend(values);
        }
        Outcome::Changed
    }

    // Puts at a path what `new` makes of what is there; `None` from `new` is a misfit.
    fn replace(&mut self, path: &Path, new: impl FnOnce(Option<&Value>) -> Option<Value>) -> Outcome {
        let Some((map, rest)) = walk(&mut self.map, path) else {
            return Outcome::Misfit;
        };
        let Some((key, inner)) = rest.split_first() else {
            return Outcome::Misfit;
        };
        // When keys are left over, walk ended because the first of them is missing.
        let present = map.get(key);
        let Some(value) = new(present) else {
            return Outcome::Misfit;
        };
        let Measure { weight, depth } = value.measure();
        if path.keys().len() + depth > MAX_DOCUMENT_DEPTH {
            return Outcome::Misfit;
        }
        let (mut added, mut removed) = (weight, 0);
        match present {
            Some(present) => removed = present.measure().weight,
            None => {
                added += key_weight(key) + inner.iter().map(|key| WEIGHT_UNIT + key_weight(key)).sum::<u64>()
            }
        }
        if !weigh(&mut self.weight, added, removed) {
            return Outcome::Misfit;
        }
        let nested =
            inner.iter().rfold(value, |value, key| Value::Map(Map::from_iter([(key.as_str(), value)])));
        map.insert(key.as_str(), nested);
        Outcome::Changed
    }

    fn weigh(&mut self, added: u64, removed: u64) -> bool {
        weigh(&mut self.weight, added, removed)
    }
}

// Takes note of a change of weight, unless it makes the document too heavy.
fn weigh(weight: &mut u64, added: u64, removed: u64) -> bool {
    let next = weight.saturating_sub(removed).saturating_add(added);
    if next > MAX_DOCUMENT_WEIGHT && added > removed {
        return false;
    }
    *weight = next;
    true
}

fn key_weight(key: &str) -> u64 {
    WEIGHT_UNIT + key.len() as u64
}

// Goes down as far as there are maps: the last map and the keys from there, at least one. `None` if something that is
// no map is in the way: a scalar, or a list, whose positions mean nothing after a concurrent change.
fn walk<'m, 'p>(fields: &'m mut Map, path: &'p Path) -> Option<(&'m mut Map, &'p [String])> {
    let (mut map, mut rest) = (fields, path.keys());
    while let [key, inner @ ..] = rest
        && !inner.is_empty()
    {
        if map.get(key).is_none() {
            break;
        }
        let Some(Value::Map(next)) = map.get_mut(key) else {
            return None;
        };
        (map, rest) = (next, inner);
    }
    Some((map, rest))
}

// A value in the order of values.
#[derive(Clone, Copy)]
struct Ordered<'v>(&'v Value);

impl PartialEq for Ordered<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.same(other.0)
    }
}

impl Eq for Ordered<'_> {}

impl PartialOrd for Ordered<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.compare(other.0)
    }
}
