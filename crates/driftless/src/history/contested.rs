//! Values that lost: what somebody wrote to a field without knowing of the value that stands there now.
//!
//! Nothing is decided here; the fold has decided, and the log still has what it passed over.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::clock::Timestamp;
use driftless_core::document_id::DocumentId;
use driftless_core::id::{AuthorId, CommitId};
use driftless_core::operator::Operator;
use driftless_core::value::Value;

use crate::collection::Collection;
use crate::door::commit::ancestors_among;
use crate::error::Error;
use crate::history::past::effective;
use crate::tables::log;

/// A value of a field that lost against one that was written beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loser {
    /// The field.
    pub field: String,
    /// The value that is not there.
    pub value: Value,
    /// Who wrote it.
    pub author: AuthorId,
    /// When.
    pub time: Timestamp,
    /// With which commit.
    pub commit: CommitId,
}

struct Written {
    at: u64,
    loser: Loser,
}

impl Collection {
    /// The values that lost in a document: written to a field by somebody who did not know of what stands there, and
    /// different from it. What its own author, or somebody who had seen it, wrote over is no loser.
    pub fn losers(&self, id: &DocumentId) -> Result<Vec<Loser>, Error> {
        let space = self.space().id();
        self.space().database().read(|engine| {
            let mut fields: BTreeMap<String, Vec<Written>> = BTreeMap::new();
            for (at, row) in effective(engine, self, id, Timestamp(u64::MAX), None)? {
                let author = log::author(engine.storage.as_ref(), row.author)?;
                let Some(body) = engine.view.body(engine.storage.as_ref(), at)? else { continue };
                let edits =
                    body.edits.iter().filter(|edit| edit.document == *id && &*edit.collection == self.name());
                for operator in edits.flat_map(|edit| &edit.operators) {
                    let mut write = |field: &str, value: &Value| {
                        let loser = Loser {
                            field: field.to_owned(),
                            value: value.clone(),
                            author,
                            time: row.time,
                            commit: row.id,
                        };
                        fields.entry(field.to_owned()).or_default().push(Written { at: at.seq(), loser });
                    };
                    match operator {
                        Operator::Insert { fields, .. } => {
                            fields.iter().for_each(|(field, value)| write(field, value));
                        }
                        Operator::Set { path, value } => {
                            if let [field] = path.keys() {
                                write(field, value);
                            }
                        }
                        _ => {}
                    }
                }
            }
            let number = engine.present(&space)?.number;
            let storage = engine.storage.as_ref();
            let mut losers = Vec::new();
            for written in fields.into_values() {
                let Some((winner, before)) = written.split_last() else { continue };
                let targets: BTreeSet<u64> = before.iter().map(|written| written.at).collect();
                let known = ancestors_among(storage, number, BTreeSet::from([winner.at]), &targets)?;
                let lost = before.iter().filter(|written| {
                    !known.contains(&written.at)
                        && written.at != winner.at
                        && written.loser.value != winner.loser.value
                });
                losers.extend(lost.map(|written| written.loser.clone()));
            }
            Ok(losers)
        })
    }
}
