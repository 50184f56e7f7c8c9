//! How a document lies in storage: its row in the view, and its entries in indexes.

use std::ops::Bound;

use driftless_core::clock::Timestamp;
use driftless_core::filter::{FieldPath, ValueRange, index_values};
use driftless_core::fold::DocumentState;
use driftless_core::value::{Map, Value, index_key, index_range};
use driftless_store::Document as StoredDocument;

use crate::error::Error;
use crate::tables::layout::{self, LogKey, key};

/// The entries that an index holds for a document.
pub(crate) fn index_keys(index: u64, number: u64, fields: Option<&Map>, path: &FieldPath) -> Vec<Vec<u8>> {
    let values: Vec<Value> = fields.map(|fields| index_values(fields, path)).unwrap_or_default();
    let entry = |value| [&index.to_be_bytes(), index_key(value).as_slice(), &number.to_be_bytes()].concat();
    let mut keys: Vec<Vec<u8>> = values.iter().map(entry).collect();
    // Values that share a cut key share an entry.
    keys.sort();
    keys.dedup();
    keys
}

/// The keys of an index between which every match of a range has an entry.
pub(crate) fn index_span(index: u64, range: &ValueRange) -> (Vec<u8>, Vec<u8>) {
    let (low, high) = index_range(range.0.as_ref(), range.1.as_ref());
    let (mut lower, mut upper) = (key([index]), key([index]));
    match low {
        Bound::Unbounded => {}
        Bound::Included(value) | Bound::Excluded(value) => lower.extend_from_slice(&value),
    }
    match high {
        Bound::Unbounded => upper = key([index + 1]),
        // Above every document that follows the value.
        Bound::Included(value) | Bound::Excluded(value) => {
            upper.extend_from_slice(&value);
            upper.extend_from_slice(&[0xff; 9]);
        }
    }
    (lower, upper)
}

/// A document as storage has it.
pub(crate) struct Stored {
    pub number: u64,
    pub state: DocumentState,
    /// The last edit in the fold.
    pub last: Option<(Timestamp, LogKey)>,
}

/// Reads a document row.
pub(crate) fn read_stored(stored: &StoredDocument<'_>) -> Result<Stored, Error> {
    let wrong = || Error::damaged(format!("document {} does not decode", stored.id));
    let fields = Map::from_json(stored.json).map_err(|_| wrong())?;
    let mut bytes = layout::Bytes(stored.state);
    let time = Timestamp(u64::from_be_bytes(bytes.array().ok_or_else(wrong)?));
    let at = LogKey(u64::from_be_bytes(bytes.array().ok_or_else(wrong)?));
    let state = DocumentState::from_bytes_and_fields(bytes.0, fields).map_err(|_| wrong())?;
    Ok(Stored { number: stored.number, state, last: (at.0 != 0).then_some((time, at)) })
}
