//! A map from keys to values, iterated in byte order of keys.
//!
//! Most maps have a handful of keys, so it is a sorted vector: small, and quick to clone. A large one becomes a tree,
//! so that a hostile stream of new keys cannot make each insertion move the whole map.

use std::collections::{BTreeMap, btree_map};
use std::fmt;

use super::Value;

// Above this many keys a vector becomes a tree, for good.
const FEW: usize = 64;

/// Values by key. Keys are unique; equality is equality of representation.
#[derive(Clone)]
pub struct Map(Pairs);

#[derive(Clone)]
enum Pairs {
    Few(Vec<(Box<str>, Value)>),
    Many(BTreeMap<Box<str>, Value>),
}

impl Map {
    /// An empty map, which allocates nothing.
    pub const fn new() -> Self {
        Self(Pairs::Few(Vec::new()))
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        match &self.0 {
            Pairs::Few(pairs) => pairs.len(),
            Pairs::Many(pairs) => pairs.len(),
        }
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match &self.0 {
            Pairs::Few(pairs) => find(pairs, key).ok().and_then(|at| pairs.get(at)).map(|pair| &pair.1),
            Pairs::Many(pairs) => pairs.get(key),
        }
    }

    /// The value under a key, to be changed in place.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        match &mut self.0 {
            Pairs::Few(pairs) => match find(pairs, key) {
                Ok(at) => pairs.get_mut(at).map(|pair| &mut pair.1),
                Err(_) => None,
            },
            Pairs::Many(pairs) => pairs.get_mut(key),
        }
    }

    /// Puts a value and returns the one it replaces. The key is not checked here; see `Map::check`.
    pub fn insert(&mut self, key: impl Into<Box<str>>, value: Value) -> Option<Value> {
        let key = key.into();
        match &mut self.0 {
            Pairs::Few(pairs) => {
                // Sources are mostly sorted already: JSON that we wrote, and other maps.
                let place = match pairs.last() {
                    Some((last, _)) if **last >= *key => find(pairs, &key),
                    _ => Err(pairs.len()),
                };
                match place {
                    Ok(at) => return pairs.get_mut(at).map(|pair| std::mem::replace(&mut pair.1, value)),
                    Err(at) => pairs.insert(at, (key, value)),
                }
                if pairs.len() > FEW {
                    self.0 = Pairs::Many(std::mem::take(pairs).into_iter().collect());
                }
                None
            }
            Pairs::Many(pairs) => pairs.insert(key, value),
        }
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        match &mut self.0 {
            Pairs::Few(pairs) => find(pairs, key).ok().map(|at| pairs.remove(at).1),
            Pairs::Many(pairs) => pairs.remove(key),
        }
    }

    /// Pairs in byte order of keys.
    pub fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Pairs::Few(pairs) => Iter::Few(pairs.iter()),
            Pairs::Many(pairs) => Iter::Many(pairs.iter()),
        }
    }
}

fn find(pairs: &[(Box<str>, Value)], key: &str) -> Result<usize, usize> {
    pairs.binary_search_by(|pair| (*pair.0).cmp(key))
}

impl Default for Map {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Map {}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl<K: Into<Box<str>>> FromIterator<(K, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(pairs: I) -> Self {
        let mut map = Self::new();
        for (key, value) in pairs {
            map.insert(key, value);
        }
        map
    }
}

impl IntoIterator for Map {
    type Item = (Box<str>, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        match self.0 {
            Pairs::Few(pairs) => IntoIter(Either::Few(pairs.into_iter())),
            Pairs::Many(pairs) => IntoIter(Either::Many(pairs.into_iter())),
        }
    }
}

impl<'m> IntoIterator for &'m Map {
    type Item = (&'m str, &'m Value);
    type IntoIter = Iter<'m>;

    fn into_iter(self) -> Iter<'m> {
        self.iter()
    }
}

/// Pairs of a map in byte order of keys.
#[derive(Debug, Clone)]
pub enum Iter<'m> {
    /// over a sorted vector
    Few(std::slice::Iter<'m, (Box<str>, Value)>),
    /// over a tree
    Many(btree_map::Iter<'m, Box<str>, Value>),
}

impl<'m> Iterator for Iter<'m> {
    type Item = (&'m str, &'m Value);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(pairs) => pairs.next().map(|(key, value)| (&**key, value)),
            Self::Many(pairs) => pairs.next().map(|(key, value)| (&**key, value)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Few(pairs) => pairs.size_hint(),
            Self::Many(pairs) => pairs.size_hint(),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Owned pairs of a map in byte order of keys.
#[derive(Debug)]
pub struct IntoIter(Either);

#[derive(Debug)]
enum Either {
    Few(std::vec::IntoIter<(Box<str>, Value)>),
    Many(btree_map::IntoIter<Box<str>, Value>),
}

impl Iterator for IntoIter {
    type Item = (Box<str>, Value);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Either::Few(pairs) => pairs.next(),
            Either::Many(pairs) => pairs.next(),
        }
    }
}
