//! An author who writes commits by hand, also such as no database of ours would.

use driftless::{AuthorId, CommitId, DocumentId, Kind, Operator, SpaceId, Timestamp};
use driftless_core::cbor::Writer;
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Received, Vouched};
use driftless_core::operator::Edit;
use driftless_core::sign::AuthorKey;

/// A chain of one author in one space.
pub(crate) struct Pen {
    key: AuthorKey,
    space: SpaceId,
    last: Option<(CommitId, u64)>,
    parents: Vec<CommitId>,
    pub(crate) ms: u64,
}

impl Pen {
    /// One that begins on top of `parents`, each commit a millisecond after the one before.
    pub(crate) fn new(seed: u8, space: SpaceId, parents: &[CommitId], ms: u64) -> Self {
        let key = AuthorKey::from_seed(&[seed; 32]);
        Self { key, space, last: None, parents: parents.to_vec(), ms }
    }

    pub(crate) fn author(seed: u8) -> AuthorId {
        AuthorKey::from_seed(&[seed; 32]).id()
    }

    /// The next commit, with this body, whatever is in it.
    pub(crate) fn write(&mut self, body: Vec<u8>) -> Vouched {
        self.ms += 1;
        let header = Header {
            kind: Kind::Documents,
            continues: false,
            space: Some(self.space),
            author: self.key.id(),
            seq: self.last.map_or(1, |(_, seq)| seq + 1),
            previous: self.last.map(|(id, _)| id),
            parents: std::mem::take(&mut self.parents),
            time: Timestamp::from_ms(self.ms),
            body_hash: [0; 32],
            body_length: 0,
            body_encoding: BodyEncoding::Plain,
            extensions: Header::no_extensions(),
        };
        let commit = Vouched::sign(header, body, &self.key).unwrap();
        self.last = Some((commit.id(), commit.header().seq));
        commit
    }
}

/// A body with one edit of a document in `notes`.
pub(crate) fn body(id: &str, operators: Vec<Operator>) -> Vec<u8> {
    let edit = Edit { collection: "notes".into(), document: DocumentId::string(id).unwrap(), operators };
    DocumentBody { edits: vec![edit], retracts: Vec::new() }.encode([7; 16])
}

/// A bundle of these commits, in this order.
pub(crate) fn bundle_of(commits: impl IntoIterator<Item = Received>) -> Vec<u8> {
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
