//! What a schema may cost: before it is taken, and for one document if it refers to itself.
//!
//! Documents come from strangers, and a schema in which two branches go into the same value again costs twice as much
//! with each level of it. This counts looks, and never says whether a document fits.

use std::collections::{BTreeMap, HashMap};

use driftless_core::limits::{
    MAX_SCHEMA_DEPTH, MAX_SCHEMA_EFFORT, MAX_SCHEMA_EFFORT_EACH, MAX_SCHEMA_LOOKS, MAX_SCHEMA_PATTERNS,
    MAX_SCHEMA_STEPS,
};
use serde_json::Value;

/// A schema as a graph: which parts of it look at the same value, and which at the values inside.
#[derive(Debug)]
pub(super) struct Effort {
    parts: Vec<Part>,
    refers_to_itself: bool,
}

// One subschema. All numbers are places among the parts.
#[derive(Debug, Default)]
struct Part {
    same: Vec<usize>,
    properties: BTreeMap<String, usize>,
    // Of a map: what looks at any other value, and at values whatever their key.
    other: Vec<usize>,
    any: Vec<usize>,
    // Of a list: the first ones, and all.
    first: Vec<usize>,
    items: Vec<usize>,
}

// Keys under which one subschema, a list of them, or several by key stand.
const SAME: [&str; 4] = ["not", "if", "then", "else"];
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const SAME_MAPS: [&str; 1] = ["dependentSchemas"];

impl Effort {
    /// Reads a schema; the text says why it is not taken.
    pub(super) fn of(schema: &Value) -> Result<Self, String> {
        let mut reader = Reader { schema, known: HashMap::new(), parts: Vec::new(), patterns: 0 };
        reader.part(schema, 1)?;
        let mut effort = Self { parts: reader.parts, refers_to_itself: false };
        effort.measure()?;
        Ok(effort)
    }

    /// Whether a document may be judged: always, unless the schema refers to itself.
    pub(super) fn is_bearable(&self, document: &Value) -> bool {
        if !self.refers_to_itself {
            return true;
        }
        let mut spent = Spent { looks: 0, values: 0 };
        self.visit(document, &BTreeMap::from([(0, 1)]), &mut spent)
    }

    // `entering`: the parts that look at this value, and how often each.
    fn visit(&self, value: &Value, entering: &BTreeMap<usize, u64>, spent: &mut Spent) -> bool {
        let mut looking = BTreeMap::new();
        for (part, times) in entering {
            self.enter(*part, *times, &mut looking);
        }
        let looks = looking.values().fold(0_u64, |sum, times| sum.saturating_add(*times));
        spent.values += 1;
        spent.looks = spent.looks.saturating_add(looks);
        if spent.looks > MAX_SCHEMA_EFFORT.saturating_add(MAX_SCHEMA_EFFORT_EACH * spent.values) {
            return false;
        }
        let inside = |of: &dyn Fn(&Part) -> Vec<usize>| {
            let mut inside = BTreeMap::new();
            for (part, times) in &looking {
                let Some(part) = self.parts.get(*part) else { continue };
                for next in of(part) {
                    let sum = inside.entry(next).or_insert(0_u64);
                    *sum = sum.saturating_add(*times);
                }
            }
            inside
        };
        match value {
            Value::Object(fields) => fields.iter().all(|(key, value)| {
                let inside = inside(&|part| {
                    let named = part.properties.get(key);
                    let other = if named.is_none() { part.other.as_slice() } else { &[] };
                    named.into_iter().chain(other).chain(&part.any).copied().collect()
                });
                inside.is_empty() || self.visit(value, &inside, spent)
            }),
            Value::Array(values) => values.iter().enumerate().all(|(at, value)| {
                let inside =
                    inside(&|part| part.first.get(at).into_iter().chain(&part.items).copied().collect());
                inside.is_empty() || self.visit(value, &inside, spent)
            }),
            _ => true,
        }
    }

    // A part and all that look at the same value because of it. `measure` has made sure that this ends, and soon.
    fn enter(&self, part: usize, times: u64, looking: &mut BTreeMap<usize, u64>) {
        let sum = looking.entry(part).or_insert(0);
        *sum = sum.saturating_add(times);
        for next in self.parts.get(part).map(|part| part.same.as_slice()).unwrap_or_default() {
            self.enter(*next, times, looking);
        }
    }

    fn measure(&mut self) -> Result<(), String> {
        let mut same = Measure::new(&self.parts, true);
        let mut all = Measure::new(&self.parts, false);
        for part in 0..self.parts.len() {
            let (looks, steps) = same.of(part, 1);
            if same.circular {
                return Err("it refers to itself without going into a value".into());
            }
            if looks > MAX_SCHEMA_LOOKS {
                return Err(format!("more than {MAX_SCHEMA_LOOKS} parts of it look at one value"));
            }
            if steps > MAX_SCHEMA_STEPS || same.too_deep {
                return Err(format!("it looks at one value over more than {MAX_SCHEMA_STEPS} steps"));
            }
        }
        all.of(0, 1);
        if all.too_deep {
            return Err(too_deep());
        }
        self.refers_to_itself = all.circular;
        Ok(())
    }
}

struct Spent {
    looks: u64,
    values: u64,
}

fn too_deep() -> String {
    format!("it goes more than {MAX_SCHEMA_DEPTH} levels deep")
}

// How many parts are reached from a part, each as often as there are ways to it, and over how many steps.
struct Measure<'p> {
    parts: &'p [Part],
    only_same: bool,
    known: HashMap<usize, Measured>,
    circular: bool,
    too_deep: bool,
}

#[derive(Clone, Copy)]
enum Measured {
    NotYet,
    Is(u64, usize),
}

impl<'p> Measure<'p> {
    fn new(parts: &'p [Part], only_same: bool) -> Self {
        Self { parts, only_same, known: HashMap::new(), circular: false, too_deep: false }
    }

    fn of(&mut self, at: usize, depth: usize) -> (u64, usize) {
        match self.known.get(&at) {
            Some(Measured::Is(looks, steps)) => return (*looks, *steps),
            Some(Measured::NotYet) => {
                self.circular = true;
                return (0, 0);
            }
            None => {}
        }
        if depth > MAX_SCHEMA_DEPTH {
            self.too_deep = true;
            return (0, 0);
        }
        let Some(part) = self.parts.get(at) else { return (0, 0) };
        self.known.insert(at, Measured::NotYet);
        let (mut looks, mut steps) = (1_u64, 0);
        let inside = part.properties.values().chain(&part.other).chain(&part.any);
        let inside = inside.chain(&part.first).chain(&part.items);
        let inside = inside.take(if self.only_same { 0 } else { usize::MAX });
        for next in part.same.iter().chain(inside) {
            let (more, further) = self.of(*next, depth + 1);
            (looks, steps) = (looks.saturating_add(more), steps.max(further));
        }
        self.known.insert(at, Measured::Is(looks, steps + 1));
        (looks, steps + 1)
    }
}

struct Reader<'s> {
    schema: &'s Value,
    // By address: a part that several refer to is one.
    known: HashMap<*const Value, usize>,
    parts: Vec<Part>,
    patterns: usize,
}

impl<'s> Reader<'s> {
    fn part(&mut self, schema: &'s Value, depth: usize) -> Result<usize, String> {
        if let Some(part) = self.known.get(&std::ptr::from_ref(schema)) {
            return Ok(*part);
        }
        if depth > MAX_SCHEMA_DEPTH {
            return Err(too_deep());
        }
        let at = self.parts.len();
        self.parts.push(Part::default());
        self.known.insert(std::ptr::from_ref(schema), at);
        let Some(keys) = schema.as_object() else { return Ok(at) };
        let mut part = Part::default();
        for (key, value) in keys {
            match (key.as_str(), value) {
                ("$ref", Value::String(to)) => part.same.push(self.part(self.target(to)?, depth + 1)?),
                ("$dynamicRef" | "$dynamicAnchor" | "$recursiveRef" | "$recursiveAnchor" | "$anchor", _) => {
                    return Err(format!("{key} is not known here; refer with `#/$defs/NAME`"));
                }
                ("$id", _) if at > 0 => return Err("only the whole schema may have an $id".into()),
                ("pattern", _) => self.patterns += 1,
                ("properties", Value::Object(values)) => {
                    for (name, value) in values {
                        part.properties.insert(name.clone(), self.part(value, depth + 1)?);
                    }
                }
                ("patternProperties", Value::Object(values)) => {
                    self.patterns += values.len();
                    for value in values.values() {
                        part.any.push(self.part(value, depth + 1)?);
                    }
                }
                ("additionalProperties", _) => part.other.push(self.part(value, depth + 1)?),
                ("unevaluatedProperties" | "propertyNames", _) => part.any.push(self.part(value, depth + 1)?),
                ("items" | "contains" | "unevaluatedItems", _) => {
                    part.items.push(self.part(value, depth + 1)?)
                }
                ("prefixItems", Value::Array(values)) => {
                    for value in values {
                        part.first.push(self.part(value, depth + 1)?);
                    }
                }
                (key, Value::Array(values)) if SAME_LISTS.contains(&key) => {
                    for value in values {
                        part.same.push(self.part(value, depth + 1)?);
                    }
                }
                (key, Value::Object(values)) if SAME_MAPS.contains(&key) => {
                    for value in values.values() {
                        part.same.push(self.part(value, depth + 1)?);
                    }
                }
                (key, _) if SAME.contains(&key) => part.same.push(self.part(value, depth + 1)?),
                _ => {}
            }
        }
        if self.patterns > MAX_SCHEMA_PATTERNS {
            return Err(format!("it has more than {MAX_SCHEMA_PATTERNS} patterns"));
        }
        if let Some(place) = self.parts.get_mut(at) {
            *place = part;
        }
        Ok(at)
    }

    fn target(&self, to: &str) -> Result<&'s Value, String> {
        let pointer = to.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let pointer = pointer.ok_or_else(|| {
            format!("it refers to {to}; nothing is fetched, so only `#` and `#/..` can be referred to")
        })?;
        if pointer.contains('%') {
            return Err(format!("it refers to {to}; write the name without %"));
        }
        self.schema.pointer(pointer).ok_or_else(|| format!("it refers to {to}, which is not there"))
    }
}
