//! A collection: a named set of documents in a space. A handle; the state is in the database.

use std::sync::Arc;

use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::filter::FieldPath;
use driftless_core::operator::is_collection_name;

use crate::error::Error;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::tables::collections::CollectionFacts;

/// A named set of documents in a space.
#[derive(Debug, Clone)]
pub struct Collection {
    space: Space,
    name: String,
}

impl Space {
    /// A collection by name; it exists as soon as a document is in it.
    pub fn collection(&self, name: &str) -> Result<Collection, Error> {
        if !is_collection_name(name) {
            return Err(Error::Invalid(
                "a collection name has 1 to 256 bytes, no control characters, and begins neither with $ nor with _"
                    .into(),
            ));
        }
        Ok(Collection { space: self.clone(), name: name.to_owned() })
    }
}

impl Collection {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The space it is in.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// A document; `None` if it is not there or deleted.
    pub fn get(&self, id: &DocumentId) -> Result<Option<Document>, Error> {
        self.space.database().read(|engine| {
            let Some(facts) = self.facts(engine)? else { return Ok(None) };
            let state = engine.view.get(engine.storage.as_mut(), &facts, id)?;
            Ok(state.filter(|state| state.visible()).map(|state| Document::new(&self.name, id, &state)))
        })
    }

    /// Makes an index on a path; `false` if it is there already. Indexes are local to this database.
    pub fn create_index(&self, path: &FieldPath) -> Result<bool, Error> {
        self.space.database().write(|engine| {
            let number = engine.present(&self.space.id())?.number;
            engine.write_view()?;
            let made =
                engine.collections.create_index(engine.storage.as_mut(), number, &self.name, path.clone())?;
            engine.view.clear_clean();
            engine.staged();
            Ok(made)
        })
    }

    /// The paths that have an index.
    pub fn indexes(&self) -> Result<Vec<FieldPath>, Error> {
        self.space.database().read(|engine| {
            let facts = self.facts(engine)?;
            Ok(facts
                .map(|facts| facts.indexes.iter().map(|index| index.path.clone()).collect())
                .unwrap_or_default())
        })
    }

    /// What the database knows of this collection; `None` if nothing was ever in it.
    pub(crate) fn facts(&self, engine: &mut Engine) -> Result<Option<Arc<CollectionFacts>>, Error> {
        let number = match engine.writable {
            true => engine.present(&self.space.id())?.number,
            // Nothing is released where only is read, so the space need not be loaded.
            false => engine
                .space_number(&self.space.id())?
                .ok_or_else(|| Error::not_found("space", self.space.id()))?,
        };
        engine.collections.get(engine.storage.as_ref(), number, &self.name)
    }
}
