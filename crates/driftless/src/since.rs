//! Which documents may have changed since a position of a space: those that new commits edit, and those that commits
//! edit which moved. Costs what changed, not what there is.
//!
//! What follows a space from outside keeps a place, and asks from there. Only positions are compared here; whoever asks
//! reads the documents as they are then.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::commit::{BodyEncoding, DocumentBody, Kind};
use driftless_core::document_id::DocumentId;
use driftless_core::id::SpaceId;

use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::guard::STORE_ID;
use crate::state::replica::Summary;
use crate::tables::layout::{self, LogKey};
use crate::tables::log;
use crate::tables::moved::{Position, moved_between};

/// How far somebody has followed a space of one database: everything before it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(crate) store: [u8; 16],
    pub(crate) position: Position,
}

impl Place {
    /// The bytes to keep it as.
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.store);
        bytes[16..24].copy_from_slice(&self.position.next.to_be_bytes());
        bytes[24..].copy_from_slice(&self.position.row.to_be_bytes());
        bytes
    }

    /// Reads what `to_bytes` gave; `None` if it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (store, rest) = bytes.split_first_chunk()?;
        let (next, row) = rest.split_first_chunk()?;
        let position =
            Position { next: u64::from_be_bytes(*next), row: u64::from_be_bytes(row.try_into().ok()?) };
        Some(Self { store: *store, position })
    }
}

// Reading so many commits is never worth less than looking at every document.
const ALWAYS: u64 = 256;

impl Engine {
    /// The local number of a space, without loading it; `None` if it is not here.
    pub(crate) fn space_number(&self, space: &SpaceId) -> Result<Option<u32>, Error> {
        if let Some(replica) = self.replicas.get(space) {
            return Ok(Some(replica.number));
        }
        let Some(bytes) = self.storage.get(&layout::SPACE_ID, space.0.as_slice().into())? else {
            return Ok(None);
        };
        let number = bytes.try_into().map_err(|_| Error::damaged("a space number does not decode"))?;
        Ok(Some(u32::from_be_bytes(number)))
    }

    /// Where a space stands now, and how many documents it has.
    pub(crate) fn position(&self, space: &SpaceId) -> Result<(Position, u64), Error> {
        let (next, documents) = match self.replicas.get(space) {
            Some(replica) => (replica.next, replica.documents),
            None => {
                let number = self.space_number(space)?.ok_or_else(|| Error::not_found("space", space))?;
                let row = self.storage.get(&layout::SPACE, u64::from(number).into())?;
                let summary = Summary::decode(&row.ok_or_else(|| Error::damaged("a space row is missing"))?)?;
                (summary.next, summary.documents)
            }
        };
        Ok((Position { next, row: self.journal.last() }, documents))
    }

    /// Where a space of this database stands, for whoever follows it from outside.
    pub(crate) fn place(&self, space: &SpaceId) -> Result<Place, Error> {
        let store = self.storage.get(&layout::META, STORE_ID.into())?;
        let store = store.and_then(|store| store.try_into().ok());
        let store = store.ok_or_else(|| Error::damaged("the store id is missing"))?;
        Ok(Place { store, position: self.position(space)?.0 })
    }

    /// The documents of a collection that may have changed since `from`; `None` if looking at all of them is cheaper, or
    /// it is not known any more.
    pub(crate) fn changed_since(
        &self,
        space: &SpaceId,
        collection: &str,
        from: Position,
    ) -> Result<Option<BTreeSet<DocumentId>>, Error> {
        let edited = self.edited_since(space, from, |edited| edited == collection)?;
        let all = |edited: Edited| edited.documents.into_values().flatten().collect();
        Ok(edited.map(all))
    }

    /// The same of the collections that are asked for.
    pub(crate) fn edited_since(
        &self,
        space: &SpaceId,
        from: Position,
        is_asked_for: impl Fn(&str) -> bool,
    ) -> Result<Option<Edited>, Error> {
        let (now, documents) = self.position(space)?;
        let Some(number) = self.space_number(space)? else { return Ok(None) };
        let Some(new) = now.next.checked_sub(from.next) else { return Ok(None) };
        let storage = self.storage.as_ref();
        let Some(mut moved) = moved_between(storage, number, from.row, now.row)? else { return Ok(None) };
        // Those that came since are looked at once.
        moved.retain(|at| at.seq() < from.next);
        if new + moved.len() as u64 > documents.max(ALWAYS) {
            return Ok(None);
        }
        let mut in_line = moved.is_empty();
        let mut ranked: BTreeMap<String, Vec<(u64, DocumentId)>> = BTreeMap::new();
        for at in moved.into_iter().chain((from.next..now.next).map(|seq| LogKey::new(number, seq))) {
            let row = log::row(storage, at)?;
            let mut parents = row.previous.iter().chain(&row.parents);
            // The first may bring together what was there before.
            in_line &= at.seq() == from.next
                || parents.next().map(|parent| parent + 1) == Some(at.seq()) && parents.next().is_none();
            // A body that is not here had no effect; when it comes, its commit moves.
            let plain = row.kind == Kind::Documents && row.body_encoding == BodyEncoding::Plain;
            let Some(body) = log::body(storage, at)?.filter(|_| plain) else { continue };
            let mut add = |collection: &str, document: DocumentId| match ranked.get_mut(collection) {
                Some(documents) => documents.push((document.rank(), document)),
                None if is_asked_for(collection) => {
                    ranked.insert(collection.to_owned(), vec![(document.rank(), document)]);
                }
                None => {}
            };
            // One that does not decode has no effect, or that of its first edits is looked at in vain.
            let _ = DocumentBody::documents(&body, &mut add);
        }
        let in_order = |(collection, mut ranked): (String, Vec<(u64, DocumentId)>)| {
            ranked.sort_unstable();
            ranked.dedup();
            (collection, ranked.into_iter().map(|(_, document)| document).collect())
        };
        Ok(Some(Edited { documents: ranked.into_iter().map(in_order).collect(), in_line }))
    }
}

/// What commits since a position edit.
pub(crate) struct Edited {
    /// By collection, in order, each once.
    pub documents: BTreeMap<String, Vec<DocumentId>>,
    /// Each of the commits but the first came after the one before it, and after nothing else: of none of their edits
    /// another author did not know. Whether the first knew everything before it, the heads say.
    pub in_line: bool,
}
