//! A document as users see it: its fields and, before them, the system fields.
//!
//! Times are Unix milliseconds. `_author` is who made the document. `_deleted` is there only when true, `_parent` only
//! when there is one. Nothing here knows how a document came about; that is `fold`.

use std::borrow::Cow;
use std::fmt::Write;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::document_id::DocumentId;
use crate::fold::DocumentState;
use crate::id::AuthorId;
use crate::value::{Map, Value};

/// A document with its system fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// `_id`
    pub id: DocumentId,
    /// `_collection`
    pub collection: String,
    /// `_created`
    pub created: Timestamp,
    /// `_updated`
    pub updated: Timestamp,
    /// `_author`: who made it.
    pub author: AuthorId,
    /// `_deleted`
    pub deleted: bool,
    /// `_parent`
    pub parent: Option<DocumentId>,
    /// Everything else.
    pub fields: Map,
}

/// A document that is looked at and not owned; what filters and sorting see.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'d> {
    /// `_id`
    pub id: &'d DocumentId,
    /// `_collection`
    pub collection: &'d str,
    /// `_created`
    pub created: Timestamp,
    /// `_updated`
    pub updated: Timestamp,
    /// `_author`
    pub author: &'d AuthorId,
    /// `_deleted`
    pub deleted: bool,
    /// `_parent`
    pub parent: Option<&'d DocumentId>,
    /// Everything else.
    pub fields: &'d Map,
}

/// The system fields, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SystemField {
    /// `_id`: as `DocumentId::to_value`
    Id,
    /// `_collection`
    Collection,
    /// `_created`: Unix milliseconds
    Created,
    /// `_updated`: Unix milliseconds
    Updated,
    /// `_author`: the text of the author id
    Author,
    /// `_deleted`: true or missing
    Deleted,
    /// `_parent`: as `DocumentId::to_value`, or missing
    Parent,
}

impl SystemField {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Id, Self::Collection, Self::Created, Self::Updated, Self::Author, Self::Deleted, Self::Parent];

    /// The key in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Id => "_id",
            Self::Collection => "_collection",
            Self::Created => "_created",
            Self::Updated => "_updated",
            Self::Author => "_author",
            Self::Deleted => "_deleted",
            Self::Parent => "_parent",
        }
    }

    /// The field of a key.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.key() == key)
    }
}

impl Document {
    /// The document that a state shows.
    pub fn new(collection: &str, id: &DocumentId, state: &DocumentState) -> Self {
        Subject::new(collection, id, state).to_document()
    }

    /// The same of a state that nobody else needs.
    pub fn from_state(collection: &str, id: DocumentId, state: DocumentState) -> Self {
        Self {
            id,
            collection: collection.to_owned(),
            created: state.created(),
            updated: state.updated(),
            author: *state.created_by(),
            deleted: state.deleted(),
            parent: state.parent().cloned(),
            fields: state.into_fields(),
        }
    }

    /// The document to be looked at.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            id: &self.id,
            collection: &self.collection,
            created: self.created,
            updated: self.updated,
            author: &self.author,
            deleted: self.deleted,
            parent: self.parent.as_ref(),
            fields: &self.fields,
        }
    }

    /// The JSON on one line, system fields first.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.subject().write_json(&mut out);
        out
    }
}

impl<'d> Subject<'d> {
    /// A state to be looked at as a document.
    pub fn new(collection: &'d str, id: &'d DocumentId, state: &'d DocumentState) -> Self {
        Self {
            id,
            collection,
            created: state.created(),
            updated: state.updated(),
            author: state.created_by(),
            deleted: state.deleted(),
            parent: state.parent(),
            fields: state.fields(),
        }
    }

    /// The value of a system field; `None` if the document does not have it.
    pub fn system(&self, field: SystemField) -> Option<Value> {
        let time = |time: Timestamp| Some(Value::I64(i64::try_from(time.ms()).unwrap_or(i64::MAX)));
        match field {
            SystemField::Id => Some(self.id.to_value()),
            SystemField::Collection => Some(Value::from(self.collection)),
            SystemField::Created => time(self.created),
            SystemField::Updated => time(self.updated),
            SystemField::Author => Some(Value::from(self.author.to_string())),
            SystemField::Deleted => self.deleted.then_some(Value::Bool(true)),
            SystemField::Parent => self.parent.map(DocumentId::to_value),
        }
    }

    /// The value of a field of the document or of the system, by its key.
    pub fn get(&self, key: &str) -> Option<Cow<'d, Value>> {
        match SystemField::from_key(key) {
            Some(field) => self.system(field).map(Cow::Owned),
            None => self.fields.get(key).map(Cow::Borrowed),
        }
    }

    /// An owned copy.
    pub fn to_document(&self) -> Document {
        Document {
            id: self.id.clone(),
            collection: self.collection.to_owned(),
            created: self.created,
            updated: self.updated,
            author: *self.author,
            deleted: self.deleted,
            parent: self.parent.cloned(),
            fields: self.fields.clone(),
        }
    }

    /// Appends the JSON on one line, system fields first.
    pub fn write_json(&self, out: &mut String) {
        out.push('{');
        for (at, (field, value)) in self.system_fields().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}\"{}\":", if at > 0 { "," } else { "" }, field.key());
            value.write_json(out);
        }
        if !self.fields.is_empty() {
            out.push(',');
        }
        self.fields.write_json_pairs(out);
        out.push('}');
    }

    fn system_fields(&self) -> impl Iterator<Item = (SystemField, Value)> {
        SystemField::ALL.into_iter().filter_map(|field| Some((field, self.system(field)?)))
    }
}

impl Serialize for Subject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (field, value) in self.system_fields() {
            map.serialize_entry(field.key(), &value)?;
        }
        for (key, value) in self.fields {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// System fields first; the border JSON.
impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.subject().serialize(serializer)
    }
}
