//! Following a space from outside: what may have changed since a place, and documents many at a time.
//!
//! For whoever mirrors documents somewhere else and keeps the place there, in the same transaction as what it mirrors.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::DocumentState;

use crate::collection::Collection;
use crate::error::Error;
use crate::since::Place;
use crate::space::Space;
use crate::tables::stored::{Stored, read_stored};

/// What may have changed in a space since a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Since {
    /// Where the space stands now.
    pub place: Place,
    /// The documents that may be different, by collection, in order and each once; `None` if that is not known or would
    /// cost more than looking at every document.
    pub documents: Option<BTreeMap<String, Vec<DocumentId>>>,
    /// Whether every commit since was written by somebody who had everything before it: so nothing in `documents` met a
    /// change that its author did not know of. `false` where that is not known.
    pub in_line: bool,
}

impl Space {
    /// The documents that may have changed since `place`. Only what is durable; without a place, everything may have.
    pub fn changed_since(&self, place: Option<&Place>) -> Result<Since, Error> {
        let (database, space) = (self.database(), self.id());
        database.flush_if_staged()?;
        database.read(|engine| {
            let heads = engine.present(&space)?.heads.len();
            let now = engine.place(&space)?;
            let from = place.filter(|place| place.store == now.store).map(|place| place.position);
            let edited = match from {
                Some(from) => engine.at_once(|engine| engine.edited_since(&space, from, |_| true))?,
                None => None,
            };
            let in_line = heads == 1 && edited.as_ref().is_some_and(|edited| edited.in_line);
            let documents = edited.map(|edited| edited.documents);
            Ok(Since { place: now, documents, in_line })
        })
    }

    /// Whether everything that was here at `place` is here still: not if this database is another one since, or was put
    /// back to an older copy of itself.
    pub fn reaches(&self, place: &Place) -> Result<bool, Error> {
        let space = self.id();
        self.database().read(|engine| {
            engine.present(&space)?;
            let now = engine.place(&space)?;
            let (from, to) = (place.position, now.position);
            Ok(place.store == now.store && from.next <= to.next && from.row <= to.row)
        })
    }

    /// Whether the user of this handle may write documents here now; the error says why not.
    pub fn may_write(&self) -> Result<(), Error> {
        let space = self.id();
        self.database().write(|engine| engine.may_write(&space, None).map(drop))
    }
}

/// Bytes of stored documents at which a page ends.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

impl Collection {
    /// Documents by their ids, in the order of the ids: `None` for one that is not there, or deleted.
    pub fn get_many(&self, ids: &[DocumentId]) -> Result<Vec<Option<Document>>, Error> {
        self.space().database().read(|engine| {
            let Some(facts) = self.facts(engine)? else { return Ok(vec![None; ids.len()]) };
            engine.at_once(|engine| {
                let states = engine.view.get_many(engine.storage.as_mut(), &facts, ids)?;
                let shown = |(id, state): (&DocumentId, Option<DocumentState>)| {
                    let state = state.filter(DocumentState::visible)?;
                    Some(Document::from_state(self.name(), id.clone(), state))
                };
                Ok(ids.iter().zip(states).map(shown).collect())
            })
        })
    }

    /// At most `limit` documents, deleted ones too, that came here after `after`, and where the next ones begin; `None`
    /// once there are no more. It begins with 0. Large documents are fewer in a page.
    pub fn page(&self, after: u64, limit: usize) -> Result<(Vec<Document>, Option<u64>), Error> {
        self.space().database().read(|engine| {
            let Some(facts) = self.facts(engine)? else { return Ok((Vec::new(), None)) };
            engine.write_view()?;
            let (mut found, mut next, mut failed, mut bytes) = (Vec::new(), None, None, 0);
            engine.storage.scan(facts.number, Some(after), &mut |stored| {
                if found.len() >= limit || bytes >= PAGE_BYTES {
                    return ControlFlow::Break(());
                }
                bytes += stored.json.len() + stored.state.len();
                let read = read_stored(stored).and_then(|Stored { state, .. }| {
                    let id = DocumentId::parse_text(stored.id)
                        .map_err(|_| Error::damaged("a document id does not decode"))?;
                    Ok(state.exists().then(|| Document::from_state(self.name(), id, state)))
                });
                match read {
                    Ok(document) => found.extend(document),
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                next = Some(stored.number);
                ControlFlow::Continue(())
            })?;
            failed.map_or(Ok((found, next)), Err)
        })
    }
}
