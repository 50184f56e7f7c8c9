//! An author who writes commits by hand, also such as no honest database would, and bundles of them.

use driftless::{AuthorId, CommitId, DocumentId, Kind, Operator, SpaceId, Timestamp};
use driftless_core::cbor::Writer;
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Received, Vouched};
use driftless_core::operator::Edit;
use driftless_core::sign::AuthorKey;

use crate::simulated::{START, map};

/// Writes commits of one author in one space, each a millisecond after the one before.
pub(crate) struct Pen {
    key: AuthorKey,
    space: SpaceId,
    ms: u64,
    pub(crate) encoding: BodyEncoding,
}

impl Pen {
    pub(crate) fn new(seed: u8, space: SpaceId) -> Self {
        let key = AuthorKey::from_seed(&[seed; 32]);
        Self { key, space, ms: START + 1000, encoding: BodyEncoding::Plain }
    }

    pub(crate) fn author(seed: u8) -> AuthorId {
        AuthorKey::from_seed(&[seed; 32]).id()
    }

    /// What it writes from now on is later.
    pub(crate) fn advance(&mut self, ms: u64) {
        self.ms += ms;
    }

    /// A commit after `previous`, or a first one on top of `parents`.
    pub(crate) fn write(
        &mut self,
        previous: Option<&Vouched>,
        parents: &[CommitId],
        continues: bool,
        body: DocumentBody,
    ) -> Vouched {
        self.ms += 1;
        let header = Header {
            kind: Kind::Documents,
            continues,
            space: Some(self.space),
            author: self.key.id(),
            seq: previous.map_or(1, |previous| previous.header().seq + 1),
            previous: previous.map(Vouched::id),
            parents: parents.to_vec(),
            time: Timestamp::from_ms(self.ms),
            body_hash: [0; 32],
            body_length: 0,
            body_encoding: self.encoding,
            extensions: Header::no_extensions(),
        };
        Vouched::sign(header, body.encode([7; 16]), &self.key).unwrap()
    }
}

/// A body that inserts a document into `notes` and takes commits back.
pub(crate) fn body(id: i64, retracts: &[CommitId]) -> DocumentBody {
    let fields = map(&format!(r#"{{"n": {id}}}"#));
    let operators = vec![Operator::Insert { fields, parent: None }];
    let edit = Edit { collection: "notes".into(), document: DocumentId::from(id), operators };
    DocumentBody { edits: vec![edit], retracts: retracts.to_vec() }
}

/// A bundle of these commits, in this order.
pub(crate) fn bundle_of<'c>(commits: impl IntoIterator<Item = &'c Vouched>) -> Vec<u8> {
    bundle_of_received(commits.into_iter().map(Vouched::to_received))
}

/// The same commit without its body.
pub(crate) fn without_body(commit: &Vouched) -> Received {
    Received { body: None, ..commit.to_received() }
}

pub(crate) fn bundle_of_received(commits: impl IntoIterator<Item = Received>) -> Vec<u8> {
    let mut bytes = b"driftless-bundle\x01".to_vec();
    let mut record = |kind: u8, payload: &[u8]| {
        bytes.extend_from_slice(&[0xd7, b'd', b'l', 0x1a, kind]);
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(payload);
    };
    for commit in commits {
        let mut writer = Writer::with_capacity(1000);
        let signature = commit.signature.as_ref().map(|signature| &signature.0[..]);
        writer.array(3).bytes(&commit.header).bytes_or_null(signature).bytes_or_null(commit.body.as_deref());
        record(1, &writer.finish());
    }
    record(2, &[]);
    record(3, &[]);
    bytes
}
