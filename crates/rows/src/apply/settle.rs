//! Rows that refer to others which have not come yet: each is tried when the one that it lacks has come, so that a chain of
//! them costs what as many rows cost, in whatever order they are. What refers to each other in a circle comes together.

use std::collections::{HashMap, VecDeque};

use driftless::{Document, DocumentId, Value};

use super::{PARENT, Pass};
use crate::error::Error;
use crate::file::{Table, bind};
use crate::schema::{Foreign, quoted};

/// A document and its table, and why it is not a row yet.
pub(super) type Late = (usize, DocumentId, String);
type At = (usize, DocumentId);

/// What a row refers to that is not there.
pub(super) struct Missing {
    /// The row, if it is referred to by its key.
    parent: Option<At>,
    pub(super) why: String,
}

impl Pass<'_> {
    // What waits for something that may have come by now, until nothing more comes.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let mut queue = VecDeque::from(std::mem::take(&mut self.later));
        let mut by_parent: HashMap<Option<At>, Vec<Late>> = HashMap::new();
        loop {
            let mut came = false;
            while let Some((table, id, why)) = queue.pop_front() {
                let document = self.document(table, &id)?;
                let missing = match &document {
                    Some(document) => self.missing_parents(table, document, false)?,
                    None => Vec::new(),
                };
                if let Some(missing) = missing.into_iter().next() {
                    by_parent.entry(missing.parent).or_default().push((table, id, why));
                    continue;
                }
                came = true;
                self.one(table, &id, document.as_ref())?;
                self.drain()?;
                queue.extend(std::mem::take(&mut self.later));
                queue.extend(by_parent.remove(&Some((table, id))).unwrap_or_default());
            }
            if !came {
                break;
            }
            // Something they refer to may have come otherwise: made way, or by another column than the key.
            queue.extend(std::mem::take(&mut by_parent).into_values().flatten());
        }
        self.settle_circles(by_parent.into_values().flatten().collect())?;
        self.drain()?;
        for (table, id, why) in std::mem::take(&mut self.later) {
            self.wait(table, &id, PARENT, &why, true)?;
        }
        Ok(())
    }

    // Rows that refer to each other come together, if every other parent is there. The others wait, and whoever refers to
    // them.
    fn settle_circles(&mut self, mut late: Vec<Late>) -> Result<(), Error> {
        late.sort();
        let places: HashMap<At, usize> =
            late.iter().enumerate().map(|(place, (table, id, _))| ((*table, id.clone()), place)).collect();
        let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
        let (mut lacks, mut out) = (vec![false; late.len()], Vec::new());
        for (place, (table, id, _)) in late.iter().enumerate() {
            let Some(document) = self.document(*table, id)? else { continue };
            for missing in self.missing_parents(*table, &document, true)? {
                match missing.parent.and_then(|parent| places.get(&parent)) {
                    Some(parent) => children.entry(*parent).or_default().push(place),
                    None => out.push(place),
                }
            }
        }
        while let Some(place) = out.pop() {
            match lacks.get_mut(place) {
                Some(lacks) if !*lacks => *lacks = true,
                _ => continue,
            }
            out.extend(children.remove(&place).unwrap_or_default());
        }
        for ((table, id, why), lacks) in late.iter().zip(&lacks) {
            if *lacks {
                self.wait(*table, id, PARENT, why, true)?;
            }
        }
        for ((table, id, _), _) in late.iter().zip(&lacks).filter(|(_, lacks)| !**lacks) {
            if let Some(document) = self.document(*table, id)? {
                let outcome = self.write(*table, id, &document)?;
                self.conclude(*table, id, outcome)?;
            }
        }
        Ok(())
    }

    // What a row refers to that is not in its table: the first of it, or all.
    pub(super) fn missing_parents(
        &self,
        table: usize,
        document: &Document,
        all: bool,
    ) -> Result<Vec<Missing>, Error> {
        let mut found = Vec::new();
        let Some(of) = self.file.tables.get(table) else { return Ok(found) };
        if of.described.foreign.is_empty() || !self.file.options.foreign_keys {
            return Ok(found);
        }
        let Some(key) = of.key_of(&document.id) else { return Ok(found) };
        for foreign in &of.described.foreign {
            if let Some(missing) = self.missing_parent(of, &key, document, foreign)? {
                found.push(missing);
                if !all {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn missing_parent(
        &self,
        of: &Table,
        key: &[Value],
        document: &Document,
        foreign: &Foreign,
    ) -> Result<Option<Missing>, Error> {
        let values: Option<Vec<Value>> =
            foreign.from.iter().map(|from| self.value(of, key, document, from)).collect();
        // What is NULL in part, or not said, refers to nothing.
        let Some(values) = values.filter(|values| !values.contains(&Value::Null)) else { return Ok(None) };
        let to_itself = foreign.parent.eq_ignore_ascii_case(of.name())
            && foreign
                .to
                .iter()
                .zip(&values)
                .all(|(to, value)| self.value(of, key, document, to).is_some_and(|own| own == *value));
        if to_itself {
            return Ok(None);
        }
        let matches: Vec<String> =
            foreign.to.iter().enumerate().map(|(n, to)| format!("{} = ?{}", quoted(to), n + 1)).collect();
        let query = format!("SELECT 1 FROM {} WHERE {}", quoted(&foreign.parent), matches.join(" AND "));
        let Ok(mut statement) = self.file.connection.prepare_cached(&query) else {
            let why = format!("there is no table {} here", foreign.parent);
            return Ok(Some(Missing { parent: None, why }));
        };
        bind(&mut statement, &values)?;
        if statement.raw_query().next()?.is_some() {
            return Ok(None);
        }
        let why = format!("{} {} is not here", foreign.parent, crate::flush::shown(&values));
        Ok(Some(Missing { parent: self.by_key(foreign, &values), why }))
    }

    // The row that values refer to, if they are its key.
    fn by_key(&self, foreign: &Foreign, values: &[Value]) -> Option<At> {
        let is_parent = |table: &Table| table.name().eq_ignore_ascii_case(&foreign.parent);
        let place = self.file.tables.iter().position(|table| is_parent(table))?;
        let parent = self.file.tables.get(place)?;
        let key = parent.described.key.iter().map(|at| {
            let name = &parent.column(*at)?.name;
            let to = foreign.to.iter().position(|to| to.eq_ignore_ascii_case(name))?;
            values.get(to).cloned()
        });
        let key = key.collect::<Option<Vec<Value>>>().filter(|key| key.len() == values.len())?;
        Some((place, crate::key::to_id(&key).ok()?))
    }
}
