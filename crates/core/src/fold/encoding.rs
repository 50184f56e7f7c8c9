//! A state as bytes: without its fields, which the view holds as JSON, and whole, for a checkpoint. And its digest.

use super::DocumentState;
use super::change::Fields;
use crate::cbor::{self, CborError, Reader, Writer};
use crate::clock::Timestamp;
use crate::document_id::DocumentId;
use crate::id::AuthorId;
use crate::limits::MAX_DOCUMENT_DEPTH;
use crate::sign::Domain;
use crate::value::Map;

const EXISTS: u64 = 1;
const DELETED: u64 = 2;
const INSERTED: u64 = 4;
// Bytes that a state without fields, and most documents, do not outgrow: so they are allocated once.
const STATE_ROOM: usize = 128;
const DOCUMENT_ROOM: usize = 512;
// Elements besides the fields.
const ELEMENTS: u64 = 8;

impl DocumentState {
    /// Everything but the fields, to be stored beside them.
    pub fn to_bytes_without_fields(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(STATE_ROOM);
        writer.array(ELEMENTS);
        self.encode(&mut writer);
        writer.finish()
    }

    /// A state from bytes without fields and the fields that were stored beside them.
    pub fn from_bytes_and_fields(bytes: &[u8], fields: Map) -> Result<Self, CborError> {
        cbor::check(bytes, 2)?;
        let mut reader = Reader::new(bytes);
        reader.array_of(ELEMENTS)?;
        Self::decode(&mut reader)?.with_fields(fields)
    }

    /// The whole state, as a checkpoint holds it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(ELEMENTS + 1);
        self.encode(&mut writer);
        self.fields().encode(&mut writer);
        writer.finish()
    }

    /// A state from the bytes of a checkpoint.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::check(bytes, MAX_DOCUMENT_DEPTH + 1)?;
        let mut reader = Reader::new(bytes);
        reader.array_of(ELEMENTS + 1)?;
        let state = Self::decode(&mut reader)?;
        let fields = Map::decode(&mut reader)?;
        state.with_fields(fields)
    }

    fn with_fields(self, fields: Map) -> Result<Self, CborError> {
        let fields = Fields::new(fields).ok_or(CborError::Limit("a document"))?;
        Ok(Self { fields, ..self })
    }

    fn encode(&self, writer: &mut Writer) {
        let flag = |set, bit| if set { bit } else { 0 };
        let flags = flag(self.exists, EXISTS) | flag(self.deleted, DELETED) | flag(self.inserted, INSERTED);
        writer.u64(flags).u64(self.created.0);
        writer.bytes(self.created_by.as_bytes()).u64(self.updated.0);
        writer.bytes_or_null((self.updated_by != self.created_by).then_some(self.updated_by.as_bytes()));
        encode_parent(self.parent.as_ref(), writer);
        writer.u64(self.edits).u64(u64::from(self.warnings));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let flags = reader.u64()?;
        let created = Timestamp(reader.u64()?);
        let created_by = AuthorId(reader.array_bytes()?);
        let updated = Timestamp(reader.u64()?);
        let updated_by = if reader.take_null()? { created_by } else { AuthorId(reader.array_bytes()?) };
        let parent = if reader.take_null()? { None } else { Some(DocumentId::decode(reader)?) };
        Ok(Self {
            exists: flags & EXISTS != 0,
            deleted: flags & DELETED != 0,
            inserted: flags & INSERTED != 0,
            fields: Fields::default(),
            created,
            created_by,
            updated,
            updated_by,
            parent,
            edits: reader.u64()?,
            warnings: u32::try_from(reader.u64()?).map_err(|_| CborError::Unexpected)?,
        })
    }
}

fn encode_parent(parent: Option<&DocumentId>, writer: &mut Writer) {
    match parent {
        Some(parent) => parent.encode(writer),
        None => drop(writer.null()),
    }
}

/// The digest of a visible document: equal on two replicas exactly when they show the same document, system fields
/// included. Asked for visible documents only; a sum of these is the `view` of a space.
pub fn document_digest(collection: &str, id: &DocumentId, state: &DocumentState) -> [u8; 32] {
    let mut writer = Writer::with_capacity(DOCUMENT_ROOM);
    writer.array(8).str(collection);
    id.encode(&mut writer);
    state.fields().encode(&mut writer);
    writer.u64(state.created.0).bytes(state.created_by.as_bytes());
    writer.u64(state.updated.0).bytes(state.updated_by.as_bytes());
    encode_parent(state.parent.as_ref(), &mut writer);
    Domain::DocumentDigest.hash(&[&writer.finish()])
}
