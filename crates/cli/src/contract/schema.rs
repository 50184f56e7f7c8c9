//! What `schema` prints with `--json`.

use driftless::{DocumentId, SpaceId, WithSchema};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::failure::Fault;

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

impl Schema {
    pub(crate) fn new(space: SpaceId, with: WithSchema) -> Self {
        let WithSchema { collection, marked, .. } = with;
        Self { space, collection, marked, schema: None, removed: None }
    }
}
