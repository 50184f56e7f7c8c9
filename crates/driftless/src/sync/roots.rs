//! Which spaces somebody pulls: what the application says, by a callback, by a query, or by a document that all devices of
//! the user share.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use driftless_core::document_id::DocumentId;
use driftless_core::filter::{FieldPath, Filter};
use driftless_core::id::SpaceId;
use driftless_core::operator::operators_from_json;
use driftless_core::value::{Map, Value};

use crate::collection::Collection;
use crate::database::Database;
use crate::error::Error;
use crate::transaction::Insert;

/// The collection and the document of a private space that name the roots of its user, and the field with the list.
const ROOTS: &str = "roots";

type Callback = dyn Fn(&Database) -> Result<Vec<SpaceId>, Error> + Send + Sync;

/// Which spaces a user pulls. It is asked anew whenever a pull begins.
#[derive(Clone)]
pub struct Roots(Arc<Callback>);

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").finish_non_exhaustive()
    }
}

impl<F: Fn(&Database) -> Result<Vec<SpaceId>, Error> + Send + Sync + 'static> From<F> for Roots {
    /// Whatever a callback says, which is given a handle that acts as the user. It may use the database; a panic counts
    /// as an error.
    fn from(callback: F) -> Self {
        Self(Arc::new(callback))
    }
}

impl Roots {
    /// Those that documents name: of each document of the collection that matches, the text of the field, or the texts in
    /// its list. What is not the id of a space names nothing. The space with the collection is found as by
    /// `Database::space`.
    pub fn query(space: &str, collection: &str, filter: Filter, field: FieldPath) -> Self {
        let (space, name) = (space.to_owned(), collection.to_owned());
        Self::from(move |user: &Database| {
            let found = user.space(&space)?.collection(&name)?.find(filter.clone()).run()?;
            let mut roots = Vec::new();
            for document in &found {
                roots.extend(at_path(&document.fields, &field).map(spaces_in).unwrap_or_default());
            }
            Ok(roots)
        })
    }

    /// Those in the `roots` document of the user's private space, which all devices of the user have: `Database::roots`.
    pub fn document() -> Self {
        Self::from(Database::roots)
    }

    /// Asks.
    pub(crate) fn of(&self, user: &Database) -> Result<Vec<SpaceId>, Error> {
        let answer = catch_unwind(AssertUnwindSafe(|| (self.0)(user)));
        answer.unwrap_or_else(|_| Err(Error::Invalid("the callback that names the roots panicked".into())))
    }
}

fn at_path<'v>(fields: &'v Map, path: &FieldPath) -> Option<&'v Value> {
    let mut parts = path.to_string();
    let mut fields = fields;
    loop {
        match parts.split_once('.') {
            Some((first, rest)) => {
                fields = fields.get(first)?.as_map()?;
                parts = rest.to_owned();
            }
            None => return fields.get(&parts),
        }
    }
}

fn spaces_in(value: &Value) -> Vec<SpaceId> {
    let space = |value: &Value| value.as_str()?.parse().ok();
    match value {
        Value::List(values) => values.iter().filter_map(space).collect(),
        value => space(value).into_iter().collect(),
    }
}

impl Database {
    /// The roots in the `roots` document of the user's private space, and of any other that a device of the user made
    /// at the same time. None where there is no such document yet; nothing is made for this.
    pub fn roots(&self) -> Result<Vec<SpaceId>, Error> {
        let mut roots = BTreeSet::new();
        for collection in self.roots_here()? {
            let document = collection.get(&roots_id()?)?;
            let list = document.and_then(|document| document.fields.get(ROOTS).map(spaces_in));
            roots.extend(list.unwrap_or_default());
        }
        Ok(roots.into_iter().collect())
    }

    /// Adds a root for all devices of the user; the private space is made at first need.
    pub fn add_root(&self, space: &SpaceId) -> Result<(), Error> {
        let collection = self.private_space()?.collection(ROOTS)?;
        if collection.get(&roots_id()?)?.is_none() {
            let insert = Insert { id: Some(roots_id()?), parent: None };
            // Also where another device does so at the same time: both insert nothing.
            collection.insert_with(Map::new(), insert)?;
        }
        let add = operators_from_json(&format!(r#"{{"$addToSet": {{"{ROOTS}": "{space}"}}}}"#));
        collection.edit(&roots_id()?, add.map_err(|error| Error::Invalid(error.to_string()))?).map(drop)
    }

    /// Takes a root away on all devices of the user; what is here of the space stays. `false` if it was none.
    pub fn remove_root(&self, space: &SpaceId) -> Result<bool, Error> {
        let mut was = false;
        for collection in self.roots_here()? {
            let document = collection.get(&roots_id()?)?;
            let list = document.and_then(|document| document.fields.get(ROOTS).map(spaces_in));
            if list.unwrap_or_default().contains(space) {
                let pull = operators_from_json(&format!(r#"{{"$pull": {{"{ROOTS}": "{space}"}}}}"#));
                collection.edit(&roots_id()?, pull.map_err(|error| Error::Invalid(error.to_string()))?)?;
                was = true;
            }
        }
        Ok(was)
    }

    fn roots_here(&self) -> Result<Vec<Collection>, Error> {
        let mut found = Vec::new();
        for space in self.own_spaces()?.into_iter().skip(1) {
            if self.read(|engine| engine.load(&space))? {
                found.push(self.space(&space.to_string())?.collection(ROOTS)?);
            }
        }
        Ok(found)
    }

    /// What all devices of the user share, if there is an identity: that, and the private spaces that it names.
    pub(crate) fn own_spaces(&self) -> Result<Vec<SpaceId>, Error> {
        let Some(identity) = self.identity()? else { return Ok(Vec::new()) };
        let mut own = vec![identity];
        if self.read(|engine| engine.load(&identity))? {
            let pointers = self.space(&identity.to_string())?.collection("private")?;
            for pointer in pointers.find(Filter::all()).run()? {
                let space = pointer.id.to_value();
                own.extend(space.as_str().and_then(|space| space.parse::<SpaceId>().ok()));
            }
        }
        Ok(own)
    }
}

fn roots_id() -> Result<DocumentId, Error> {
    Ok(DocumentId::string(ROOTS)?)
}
