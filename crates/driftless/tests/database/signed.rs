//! Histories that are signed by hand from the genesis on, by members who have no database.

use driftless::{
    AuthorId, CommitId, Database, DocumentId, Imported, Kind, Permission, Space, SpaceId, Strength, Subject,
    Timestamp, operators_from_json,
};
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, RuleBody, Vouched};
use driftless_core::operator::{Edit, Operator};
use driftless_core::rules::RuleOperator;
use driftless_core::sign::AuthorKey;

use crate::pen::bundle_of;
use crate::simulated::{START, import};

/// A key without a database.
pub(crate) struct Member(AuthorKey);

impl Member {
    pub(crate) fn new(seed: u8) -> Self {
        Self(AuthorKey::from_seed(&[seed; 32]))
    }

    pub(crate) fn author(&self) -> AuthorId {
        self.0.id()
    }

    /// A header of the first commit in a space on top of `parent`, `ms` after the start.
    pub(crate) fn first(&self, space: SpaceId, parent: CommitId, ms: u64) -> Header {
        Header {
            kind: Kind::Documents,
            continues: false,
            space: Some(space),
            author: self.author(),
            seq: 1,
            previous: None,
            parents: vec![parent],
            time: Timestamp::from_ms(START + ms),
            body_hash: [0; 32],
            body_length: 0,
            body_encoding: BodyEncoding::Plain,
            extensions: Header::no_extensions(),
        }
    }

    /// The header of the commit after `previous`, a millisecond later.
    pub(crate) fn after(&self, previous: &Vouched) -> Header {
        Header {
            seq: previous.header().seq + 1,
            previous: Some(previous.id()),
            parents: Vec::new(),
            time: Timestamp(previous.header().time.0 + (1 << 16)),
            continues: false,
            ..previous.header().clone()
        }
    }

    /// The genesis of a space in which this key is the admin and the others may write, a second before the start.
    pub(crate) fn found(&self, others: &[&Member]) -> Vouched {
        let grant = |author, permission| RuleOperator::Grant {
            subject: Subject::Key(author),
            permission: Some(permission),
            keep: None,
        };
        let mut operators = vec![grant(self.author(), Permission::Admin(Strength(0)))];
        operators.push(RuleOperator::Name("team".into()));
        operators.extend(others.iter().map(|other| grant(other.author(), Permission::Write(Strength(9)))));
        let header = Header {
            kind: Kind::Rules,
            space: None,
            parents: Vec::new(),
            time: Timestamp::from_ms(START - 1000),
            ..self.first(SpaceId([0; 32]), CommitId([0; 32]), 0)
        };
        Vouched::sign(header, RuleBody { operators }.encode([7; 16]), &self.0).unwrap()
    }

    /// The first commit of this key right after a genesis.
    pub(crate) fn begin(&self, genesis: &Vouched, ms: u64) -> Header {
        self.first(genesis.space(), genesis.id(), ms)
    }

    pub(crate) fn sign(&self, header: Header, body: &DocumentBody) -> Vouched {
        Vouched::sign(header, body.encode([7; 16]), &self.0).unwrap()
    }
}

/// A body of edits of documents of `notes`.
pub(crate) fn body(edits: impl IntoIterator<Item = (i64, Vec<Operator>)>) -> DocumentBody {
    let edit =
        |(id, operators)| Edit { collection: "notes".into(), document: DocumentId::from(id), operators };
    DocumentBody { edits: edits.into_iter().map(edit).collect(), retracts: Vec::new() }
}

/// Operators from JSON.
pub(crate) fn operators(json: &str) -> Vec<Operator> {
    operators_from_json(json).unwrap()
}

/// The space that a genesis founds.
pub(crate) fn space(of: &Database, genesis: &Vouched) -> Space {
    of.space(&genesis.space().to_string()).unwrap()
}

/// Hands commits to a database, in this order.
pub(crate) fn deliver(to: &Database, commits: &[&Vouched]) -> Imported {
    import(to, &bundle_of(commits.iter().copied()))
}
