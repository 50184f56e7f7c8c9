//! What `schema` prints with `--json`, and what a refused document is told.

use driftless::{DocumentId, SchemaError, SpaceId, WithSchema};
use serde::Serialize;
use serde_json::value::RawValue;

/// A collection that has a schema. `schema` is only told by `schema show`, `removed` only by `schema remove`.
#[derive(Serialize)]
pub(crate) struct Schema {
    pub(crate) space: SpaceId,
    pub(crate) collection: String,
    /// Documents here that do not fit.
    pub(crate) marked: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schema: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) removed: Option<bool>,
}

/// A document that does not fit the schema of its collection.
#[derive(Serialize)]
pub(crate) struct Marked {
    pub(crate) id: DocumentId,
    pub(crate) errors: Vec<Fault>,
}

/// One thing that is wrong with a document. `path` is empty for the document as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) message: String,
}

impl Schema {
    pub(crate) fn new(space: SpaceId, with: WithSchema) -> Self {
        let WithSchema { collection, marked, .. } = with;
        Self { space, collection, marked, schema: None, removed: None }
    }
}

impl From<SchemaError> for Fault {
    fn from(error: SchemaError) -> Self {
        Self { path: error.path, message: error.message }
    }
}

impl Fault {
    /// As a line.
    pub(crate) fn text(&self) -> String {
        if self.path.is_empty() { self.message.clone() } else { format!("{}: {}", self.path, self.message) }
    }
}
