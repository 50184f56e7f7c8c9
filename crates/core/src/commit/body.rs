//! The body of a commit: 16 random bytes, and a map. Key 0 holds edits or rule operators, key 1 retracted commits.
//!
//! The random bytes make the body's hash say nothing about a body that is gone. Unknown map keys are kept, because
//! bodies are stored as they came; they have no effect. A body that does not decode has no effect, the same everywhere.

use crate::cbor::{self, CborError, Reader, Writer};
use crate::document_id::DocumentId;
use crate::id::CommitId;
use crate::limits::{MAX_BODY, MAX_EDITS, MAX_KEEP, MAX_RULE_BODY, MAX_RULE_OPERATORS, MAX_VALUE_DEPTH};
use crate::operator::Edit;
use crate::rules::RuleOperator;

const EDITS: u64 = 0;
const RETRACTS: u64 = 1;
// body list, map, edits, edit, operators, operator, then a value.
const DEPTH: usize = MAX_VALUE_DEPTH + 8;

/// Why a body has no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not canonical CBOR of this shape.
    #[error("the body does not decode: {0}")]
    Encoding(#[from] CborError),
    /// More than one of the limits allows.
    #[error("the body breaks a limit: {0}")]
    Limit(&'static str),
}

/// What a commit does to documents.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DocumentBody {
    /// In order.
    pub edits: Vec<Edit>,
    /// Own document commits that shall have no effect any more. Ignored in a transaction of several commits.
    pub retracts: Vec<CommitId>,
}

impl DocumentBody {
    /// The canonical bytes. `salt` is random.
    pub fn encode(&self, salt: [u8; 16]) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128);
        writer.array(2).bytes(&salt).map(if self.retracts.is_empty() { 1 } else { 2 });
        writer.u64(EDITS).array(self.edits.len() as u64);
        for edit in &self.edits {
            edit.encode(&mut writer);
        }
        if !self.retracts.is_empty() {
            writer.u64(RETRACTS).array(self.retracts.len() as u64);
            for id in &self.retracts {
                writer.bytes(&id.0);
            }
        }
        writer.finish()
    }

    /// Takes a body apart, within all limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Self::default();
        fields(bytes, MAX_BODY, |key, reader| {
            match key {
                EDITS => {
                    for _ in 0..count(reader, MAX_EDITS, "edits in one commit")? {
                        body.edits.push(Edit::decode_after(body.edits.last(), reader)?);
                    }
                }
                RETRACTS => {
                    for _ in 0..count(reader, MAX_KEEP, "retracted commits")? {
                        body.retracts.push(CommitId(reader.array_bytes()?));
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(body)
    }

    /// The documents that a body edits, in order, by their collections: also those of a body that has no effect because
    /// something in it does not decode. What else is in it is passed over.
    pub fn documents(bytes: &[u8], mut visit: impl FnMut(&str, DocumentId)) -> Result<(), BodyError> {
        if bytes.len() > MAX_BODY {
            return Err(BodyError::Limit("bytes of a body"));
        }
        walk(bytes, |key, reader| {
            if key != EDITS {
                return Ok(false);
            }
            for _ in 0..count(reader, MAX_EDITS, "edits in one commit")? {
                let (collection, document) = Edit::decode_place(reader)?;
                visit(collection, document);
            }
            Ok(true)
        })
    }
}

/// What a commit does to the rules of its space.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleBody {
    /// In order.
    pub operators: Vec<RuleOperator>,
}

impl RuleBody {
    /// The canonical bytes. `salt` is random; in a genesis it makes the space unique.
    pub fn encode(&self, salt: [u8; 16]) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128);
        writer.array(2).bytes(&salt).map(1);
        writer.u64(EDITS).array(self.operators.len() as u64);
        for operator in &self.operators {
            operator.encode(&mut writer);
        }
        writer.finish()
    }

    /// Takes a body apart, within all limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Self::default();
        fields(bytes, MAX_RULE_BODY, |key, reader| {
            if key != EDITS {
                return Ok(false);
            }
            for _ in 0..count(reader, MAX_RULE_OPERATORS, "rule operators in one commit")? {
                body.operators.push(RuleOperator::decode(reader)?);
            }
            Ok(true)
        })?;
        Ok(body)
    }
}

// Walks the map of a body; `take` says whether it knew the key.
fn fields(
    bytes: &[u8],
    limit: usize,
    take: impl FnMut(u64, &mut Reader<'_>) -> Result<bool, BodyError>,
) -> Result<(), BodyError> {
    if bytes.len() > limit {
        return Err(BodyError::Limit("bytes of a body"));
    }
    cbor::check(bytes, DEPTH)?;
    walk(bytes, take)
}

fn walk(
    bytes: &[u8],
    mut take: impl FnMut(u64, &mut Reader<'_>) -> Result<bool, BodyError>,
) -> Result<(), BodyError> {
    let mut reader = Reader::new(bytes);
    reader.array_of(2)?;
    let _salt: [u8; 16] = reader.array_bytes()?;
    for _ in 0..reader.map()? {
        let key = reader.u64()?;
        if !take(key, &mut reader)? {
            reader.skip()?;
        }
    }
    Ok(())
}

fn count(reader: &mut Reader<'_>, limit: usize, what: &'static str) -> Result<u64, BodyError> {
    let count = reader.array()?;
    if count > limit as u64 { Err(BodyError::Limit(what)) } else { Ok(count) }
}
