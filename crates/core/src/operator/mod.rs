//! Operators, what a commit does to a document, and their form in a commit.
//!
//! An edit is `[collection, id, [operator, ..]]`; an operator is a list whose first element is its code. What an
//! operator does is `fold`'s. A code we do not know is kept as bytes and has no effect here; a known code in another
//! shape is an error, and then the whole body has no effect, the same everywhere.

mod difference;
mod json;

pub use difference::difference;
pub use json::{OperatorError, operators_from_json, operators_from_value, operators_to_value};

use std::sync::Arc;

use crate::cbor::{CborError, Kind, Reader, Writer};
use crate::document_id::DocumentId;
use crate::id::SpaceId;
use crate::limits::MAX_COLLECTION_NAME;
use crate::value::{Map, Number, Path, Value, ValueError};

/// One change of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// Makes the document: replaces a deleted one, sets the fields of a live one.
    Insert {
        /// The first fields.
        fields: Map,
        /// The document it belongs to; what the first insert says holds for ever.
        parent: Option<DocumentId>,
    },
    /// Sets the value at a path, making maps on the way.
    Set {
        /// Where.
        path: Path,
        /// What.
        value: Value,
    },
    /// Takes the value at a path out.
    Unset {
        /// Where.
        path: Path,
    },
    /// Adds to the number at a path; a missing one counts as zero.
    Increment {
        /// Where.
        path: Path,
        /// How much.
        by: Number,
    },
    /// Appends to the list at a path; a missing one is made.
    Push {
        /// Where.
        path: Path,
        /// What, in order.
        values: Vec<Value>,
    },
    /// Takes every element equal to one of the values out of the list at a path.
    Pull {
        /// Where.
        path: Path,
        /// What, compared by `Value::same`.
        values: Vec<Value>,
    },
    /// Appends those values that the list at a path does not hold yet; a missing list is made.
    AddToSet {
        /// Where.
        path: Path,
        /// What, compared by `Value::same`.
        values: Vec<Value>,
    },
    /// Hides the document; edits go on folding underneath.
    Delete,
    /// Shows a deleted document again.
    Restore,
    /// Says where the document went that the next operator deletes. Without effect on the document.
    Moved {
        /// The space it lives in from then on.
        to: SpaceId,
    },
    /// An operator of a newer driftless, as it came: kept, forwarded, without effect here.
    Unknown(Vec<u8>),
}

const INSERT: u64 = 0;
const SET: u64 = 1;
const UNSET: u64 = 2;
const INCREMENT: u64 = 3;
const PUSH: u64 = 4;
const PULL: u64 = 5;
const ADD_TO_SET: u64 = 6;
const DELETE: u64 = 7;
const RESTORE: u64 = 8;
const MOVED: u64 = 9;

impl Operator {
    /// Appends the canonical CBOR.
    pub fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Insert { fields, parent } => {
                head(writer, INSERT, if parent.is_some() { 2 } else { 1 });
                fields.encode(writer);
                if let Some(parent) = parent {
                    parent.encode(writer);
                }
            }
            Self::Set { path, value } => {
                head(writer, SET, 2);
                path.encode(writer);
                value.encode(writer);
            }
            Self::Unset { path } => {
                head(writer, UNSET, 1);
                path.encode(writer);
            }
            Self::Increment { path, by } => {
                head(writer, INCREMENT, 2);
                path.encode(writer);
                Value::from(*by).encode(writer);
            }
            Self::Push { path, values } => encode_list(writer, PUSH, path, values),
            Self::Pull { path, values } => encode_list(writer, PULL, path, values),
            Self::AddToSet { path, values } => encode_list(writer, ADD_TO_SET, path, values),
            Self::Delete => head(writer, DELETE, 0),
            Self::Restore => head(writer, RESTORE, 0),
            Self::Moved { to } => {
                head(writer, MOVED, 1);
                writer.bytes(&to.0);
            }
            Self::Unknown(bytes) => {
                writer.raw(bytes);
            }
        }
    }

    /// Reads an operator from bytes that passed `cbor::check`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut ahead = reader.clone();
        let length = ahead.array()?;
        if length == 0 {
            // What comes next belongs to something else.
            return Err(CborError::Unexpected);
        }
        let code = ahead.u64()?;
        if code > MOVED {
            return Ok(Self::Unknown(reader.raw()?.to_vec()));
        }
        *reader = ahead;
        let lengths = match code {
            INSERT => 2..=3,
            UNSET | MOVED => 2..=2,
            DELETE | RESTORE => 1..=1,
            _ => 3..=3,
        };
        if !lengths.contains(&length) {
            return Err(CborError::Unexpected);
        }
        Ok(match code {
            INSERT => Self::Insert {
                fields: Map::decode(reader)?,
                parent: if length == 3 { Some(DocumentId::decode(reader)?) } else { None },
            },
            SET => Self::Set { path: Path::decode(reader)?, value: Value::decode(reader)? },
            UNSET => Self::Unset { path: Path::decode(reader)? },
            INCREMENT => Self::Increment {
                path: Path::decode(reader)?,
                by: Value::decode(reader)?.as_number().ok_or(CborError::Unexpected)?,
            },
            PUSH => Self::Push { path: Path::decode(reader)?, values: decode_list(reader)? },
            PULL => Self::Pull { path: Path::decode(reader)?, values: decode_list(reader)? },
            ADD_TO_SET => Self::AddToSet { path: Path::decode(reader)?, values: decode_list(reader)? },
            DELETE => Self::Delete,
            RESTORE => Self::Restore,
            _ => Self::Moved { to: SpaceId(reader.array_bytes()?) },
        })
    }

    /// Where it acts; `None` for what acts on the whole document, or is unknown.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Set { path, .. }
            | Self::Unset { path }
            | Self::Increment { path, .. }
            | Self::Push { path, .. }
            | Self::Pull { path, .. }
            | Self::AddToSet { path, .. } => Some(path),
            Self::Insert { .. } | Self::Delete | Self::Restore | Self::Moved { .. } | Self::Unknown(_) => {
                None
            }
        }
    }

    /// Checks the values of an operator that a program made; readers check what they read.
    pub fn check(&self) -> Result<(), ValueError> {
        match self {
            Self::Insert { fields, .. } => fields.check(),
            Self::Set { value, .. } => value.check(),
            Self::Push { values, .. } | Self::Pull { values, .. } | Self::AddToSet { values, .. } => {
                // In a commit the values are not inside a list of the document, so each may be of full depth.
                values.iter().try_for_each(Value::check)
            }
            _ => Ok(()),
        }
    }
}

fn head(writer: &mut Writer, code: u64, more: u64) {
    writer.array(1 + more).u64(code);
}

fn encode_list(writer: &mut Writer, code: u64, path: &Path, values: &[Value]) {
    head(writer, code, 2);
    path.encode(writer);
    writer.array(values.len() as u64);
    values.iter().for_each(|value| value.encode(writer));
}

fn decode_list(reader: &mut Reader<'_>) -> Result<Vec<Value>, CborError> {
    if reader.kind()? != Kind::List {
        return Err(CborError::Unexpected);
    }
    let mut values = Vec::new();
    for _ in 0..reader.array()? {
        values.push(Value::decode(reader)?);
    }
    Ok(values)
}

// The collection and the document of an edit.
fn place<'b>(reader: &mut Reader<'b>) -> Result<(&'b str, DocumentId), CborError> {
    reader.array_of(3)?;
    let collection = reader.str()?;
    if !is_collection_name(collection) {
        return Err(CborError::Limit("a collection name"));
    }
    Ok((collection, DocumentId::decode(reader)?))
}

/// What one commit does to one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The collection the document is in.
    pub collection: Arc<str>,
    /// The document.
    pub document: DocumentId,
    /// What happens, in order.
    pub operators: Vec<Operator>,
}

impl Edit {
    /// Appends the canonical CBOR.
    pub fn encode(&self, writer: &mut Writer) {
        writer.array(3).str(&self.collection);
        self.document.encode(writer);
        writer.array(self.operators.len() as u64);
        self.operators.iter().for_each(|operator| operator.encode(writer));
    }

    /// The canonical CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.encode(&mut writer);
        writer.finish()
    }

    /// Reads an edit from bytes that passed `cbor::check`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        Self::decode_after(None, reader)
    }

    /// Reads the edit that follows another one: most are of the same collection, whose name is then there already.
    pub fn decode_after(before: Option<&Self>, reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let (collection, document) = place(reader)?;
        let collection = match before {
            Some(before) if *before.collection == *collection => before.collection.clone(),
            _ => collection.into(),
        };
        let mut operators = Vec::new();
        for _ in 0..reader.array()? {
            operators.push(Operator::decode(reader)?);
        }
        Ok(Self { collection, document, operators })
    }

    /// Reads only which document an edit is of, and skips what happens to it.
    pub fn decode_place<'b>(reader: &mut Reader<'b>) -> Result<(&'b str, DocumentId), CborError> {
        let place = place(reader)?;
        reader.skip()?;
        Ok(place)
    }

    /// Checks an edit that a program made, before it is encoded.
    pub fn check(&self) -> Result<(), EditError> {
        if !is_collection_name(&self.collection) {
            return Err(EditError::CollectionName(self.collection.to_string()));
        }
        Ok(self.operators.iter().try_for_each(Operator::check)?)
    }
}

/// Why an edit cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Not a name for a collection.
    #[error(
        "`{0}` cannot name a collection: use 1 to {MAX_COLLECTION_NAME} bytes without control characters, not beginning with `$` or `_`"
    )]
    CollectionName(String),
    /// A value that may not stand in a document.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// Whether collections may be called so.
pub fn is_collection_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_COLLECTION_NAME
        && !name.starts_with(['$', '_'])
        && !name.chars().any(char::is_control)
}
