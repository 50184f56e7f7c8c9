//! Which documents may have changed since a position of a space: those that new commits edit, and those that commits
//! edit which moved. Costs what changed, not what there is.

use std::collections::BTreeSet;

use driftless_core::commit::Kind;
use driftless_core::document_id::DocumentId;
use driftless_core::id::SpaceId;

use crate::engine::Engine;
use crate::error::Error;
use crate::layout::{self, LogKey};
use crate::log;
use crate::moved::{Position, moved_between};
use crate::replica::Summary;

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

    /// The documents of a collection that may have changed since `from`; `None` if looking at all of them is cheaper, or
    /// it is not known any more.
    pub(crate) fn changed_since(
        &self,
        space: &SpaceId,
        collection: &str,
        from: Position,
    ) -> Result<Option<BTreeSet<DocumentId>>, Error> {
        let (now, documents) = self.position(space)?;
        let Some(number) = self.space_number(space)? else { return Ok(None) };
        let Some(new) = now.next.checked_sub(from.next) else { return Ok(None) };
        let storage = self.storage.as_ref();
        let Some(moved) = moved_between(storage, number, from.row, now.row)? else { return Ok(None) };
        if new + moved.len() as u64 > documents.max(ALWAYS) {
            return Ok(None);
        }
        let mut changed = BTreeSet::new();
        for at in moved.into_iter().chain((from.next..now.next).map(|seq| LogKey::new(number, seq))) {
            let row = log::row(storage, at)?;
            // A body that is not here had no effect; when it comes, its commit moves.
            let Some(body) = log::body(storage, at)?.filter(|_| row.kind == Kind::Documents) else {
                continue;
            };
            let edits = log::decode_body(&row, &body).edits.into_iter();
            let edits = edits.filter(|edit| edit.collection == collection);
            changed.extend(edits.map(|edit| edit.document));
        }
        Ok(Some(changed))
    }
}
