//! The log for people: which commits there are, what they do, and in which state they are.

pub(crate) mod past;
pub(crate) mod contested;

use driftless_core::clock::Timestamp;
use driftless_core::commit::{DocumentBody, Kind, RuleBody};
use driftless_core::document_id::DocumentId;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::operator::{Operator, operators_to_value};
use driftless_core::rules::{RuleOperator, Subject};
use serde_json::json;

use crate::collection::Collection;
use crate::error::Error;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::status;
use crate::tables::log;

/// Which part of a log.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Only commits that edit this document of this collection. If left unset, all.
    pub document: Option<(String, DocumentId)>,
    /// At most so many. If left unset, all.
    pub limit: Option<usize>,
}

/// One commit.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// The id.
    pub commit: CommitId,
    /// Who wrote it.
    pub author: AuthorId,
    /// Its number among the author's commits.
    pub seq: u64,
    /// When, by the author's clock.
    pub time: Timestamp,
    /// What its author had seen.
    pub parents: Vec<CommitId>,
    /// Rules or documents.
    pub kind: Kind,
    /// What it does, readable.
    pub edits: Vec<serde_json::Value>,
    /// `applied`, `held`, `void` or `wanted`.
    pub state: &'static str,
}

impl Space {
    /// Commits, the newest arrival first.
    pub fn log(&self, query: LogQuery) -> Result<Vec<LogLine>, Error> {
        self.database().read(|engine| log(engine, &self.id(), &query))
    }
}

impl Collection {
    /// Whether any edit of a document that is in the log is the one that is looked for; the newest arrival is asked first.
    pub fn any_edit(
        &self,
        id: &DocumentId,
        is_it: &mut dyn FnMut(&[Operator]) -> bool,
    ) -> Result<bool, Error> {
        let space = self.space().id();
        self.space().database().read(|engine| {
            for at in (1..engine.present(&space)?.next).rev() {
                let (storage, replica) = engine.parts(&space)?;
                let key = replica.key(at);
                let row = log::row(storage, key)?;
                let body = log::body_of(storage, key, &row)?.filter(|_| row.kind == Kind::Documents);
                let Some(Ok(body)) = body.as_deref().map(DocumentBody::decode) else { continue };
                let edits = body.edits.iter();
                let mut edits = edits.filter(|edit| edit.document == *id && &*edit.collection == self.name());
                if edits.any(|edit| is_it(&edit.operators)) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}

fn log(engine: &mut Engine, space: &SpaceId, query: &LogQuery) -> Result<Vec<LogLine>, Error> {
    let limit = query.limit.unwrap_or(usize::MAX);
    let last = engine.present(space)?.next;
    let mut lines = Vec::new();
    for at in (1..last).rev() {
        if lines.len() >= limit {
            break;
        }
        let (storage, replica) = engine.parts(space)?;
        let key = replica.key(at);
        let row = log::row(storage, key)?;
        let body = log::body_of(storage, key, &row)?;
        if let Some((collection, id)) = &query.document {
            let edits = body.as_deref().filter(|_| row.kind == Kind::Documents).map(DocumentBody::decode);
            let Some(Ok(edits)) = edits else { continue };
            if !edits.edits.iter().any(|edit| edit.document == *id && *edit.collection == **collection) {
                continue;
            }
        }
        let author = replica.author(storage, row.author)?;
        let parents = row.previous.iter().chain(&row.parents);
        let parents =
            parents.map(|seq| Ok(log::row(storage, replica.key(*seq))?.id)).collect::<Result<_, Error>>()?;
        lines.push(LogLine {
            commit: row.id,
            author,
            seq: row.seq,
            time: row.time,
            parents,
            kind: row.kind,
            edits: edits(row.kind, body.as_deref()),
            state: status::word(log::state(storage, key)?),
        });
    }
    Ok(lines)
}

fn edits(kind: Kind, body: Option<&[u8]>) -> Vec<serde_json::Value> {
    let Some(body) = body else { return Vec::new() };
    match kind {
        Kind::Documents => {
            let body = DocumentBody::decode(body).unwrap_or_default();
            let edits = body.edits.iter().map(|edit| {
                json!({
                    "collection": &*edit.collection,
                    "id": edit.document.to_value().to_serde_json(),
                    "operators": operators_to_value(&edit.operators).to_serde_json(),
                })
            });
            edits.chain(body.retracts.iter().map(|id| json!({ "retract": id.to_string() }))).collect()
        }
        Kind::Rules => RuleBody::decode(body).unwrap_or_default().operators.iter().map(describe).collect(),
    }
}

fn describe(operator: &RuleOperator) -> serde_json::Value {
    let ids = |ids: &[CommitId]| ids.iter().map(CommitId::to_string).collect::<Vec<_>>();
    match operator {
        RuleOperator::Grant { subject, permission, keep } => {
            let subject = match subject {
                Subject::Key(author) => author.to_string(),
                Subject::Anyone => "*".into(),
                Subject::Space(space) => space.to_string(),
            };
            let level = permission.map(|permission| format!("{:?}", permission.level()).to_lowercase());
            let strength = permission.map(|permission| permission.strength().0);
            let keep = keep.as_deref().map(ids);
            json!({ "grant": { "subject": subject, "permission": level, "strength": strength, "keep": keep } })
        }
        RuleOperator::Name(name) => json!({ "name": name }),
        RuleOperator::Setting { key, .. } => json!({ "setting": key }),
        RuleOperator::Invite { permission, uses, expires_ms, .. } => {
            let level = format!("{:?}", permission.level()).to_lowercase();
            json!({ "invite": { "permission": level, "uses": uses, "expires_ms": expires_ms } })
        }
        RuleOperator::Redeem { invite, index, .. } => {
            json!({ "redeem": { "invite": invite.to_string(), "index": index } })
        }
        RuleOperator::EndInvite { invite, index, keep } => {
            json!({ "end_invite": { "invite": invite.to_string(), "index": index, "keep": ids(keep) } })
        }
        RuleOperator::Enrol { grant, index, .. } => json!({ "enrol": { "grant": grant, "index": index } }),
        RuleOperator::Withdraw { space, key, keep, .. } => {
            json!({ "withdraw": { "space": space, "key": key, "keep": keep } })
        }
        RuleOperator::Unknown { .. } => json!({ "unknown": true }),
    }
}
