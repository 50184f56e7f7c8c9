//! What a liar writes: commits of any author, seq, parents and time, and frames of them in any order.

use driftless::{AuthorId, CommitId, DocumentId, Kind, Map, Operator, SpaceId, Timestamp};
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Received, Vouched, body_hash, commit_id};
use driftless_core::frame::{FrameBuilder, FrameCommit};
use driftless_core::operator::Edit;
use driftless_core::sign::{AuthorKey, Signature};

/// Now, as this machine says.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// 2999-01-01.
pub(crate) const FAR: u64 = 32_472_144_000_000;

/// A header of a first commit on top of `parents`; a script changes what it likes.
pub(crate) fn header(author: AuthorId, space: SpaceId, parents: &[CommitId], ms: u64) -> Header {
    Header {
        kind: Kind::Documents,
        continues: false,
        space: Some(space),
        author,
        seq: 1,
        previous: None,
        parents: parents.to_vec(),
        time: Timestamp::from_ms(ms),
        body_hash: [0; 32],
        body_length: 0,
        body_encoding: BodyEncoding::Plain,
        extensions: Header::no_extensions(),
    }
}

/// A body that inserts document `id` with a text.
pub(crate) fn body(id: i64, text: &str) -> DocumentBody {
    let fields = Map::from_json(&format!(r#"{{"n": {id}, "text": "{text}"}}"#)).unwrap();
    let operators = vec![Operator::Insert { fields, parent: None }];
    let edit = Edit { collection: "items".into(), document: DocumentId::from(id), operators };
    DocumentBody { edits: vec![edit], retracts: Vec::new() }
}

pub(crate) fn sign(header: Header, id: i64, key: &AuthorKey) -> Vouched {
    Vouched::sign(header, body(id, "mallory").encode([7; 16]), key).unwrap()
}

/// A chain of `count` commits that begins on top of `parents`, of documents from `first` on.
pub(crate) fn chain(
    key: &AuthorKey,
    space: SpaceId,
    parents: &[CommitId],
    count: usize,
    first: i64,
) -> Vec<Vouched> {
    let mut commits: Vec<Vouched> = Vec::new();
    for at in 0..count {
        let parents = if at == 0 { parents } else { &[] };
        let mut header = header(key.id(), space, parents, now() + at as u64);
        if let Some(last) = commits.last() {
            (header.seq, header.previous) = (last.header().seq + 1, Some(last.id()));
        }
        commits.push(sign(header, first + at as i64, key));
    }
    commits
}

/// A frame of these commits, each with its own signature.
pub(crate) fn frame<'c>(space: SpaceId, commits: impl IntoIterator<Item = &'c Vouched>) -> Vec<u8> {
    let mut builder = FrameBuilder::new(space);
    for commit in commits {
        builder.push(FrameCommit::from(commit)).unwrap();
    }
    builder.finish_keeping_signatures()
}

/// A frame of one commit that was changed after it was signed.
pub(crate) fn changed(space: SpaceId, commit: &Vouched, change: impl Fn(&mut Received)) -> Vec<u8> {
    let mut received = commit.to_received();
    change(&mut received);
    let header = Header::decode(&received.header).unwrap();
    let mut builder = FrameBuilder::new(space);
    let body = received.body.as_deref();
    builder
        .push(FrameCommit { header: &header, id: commit.id(), signature: received.signature, body })
        .unwrap();
    builder.finish_keeping_signatures()
}

/// A frame of a commit in the name of the header's author, under somebody else's signature.
pub(crate) fn in_the_name_of_another(header: Header, key: &AuthorKey) -> Vec<u8> {
    let space = header.space.unwrap();
    let body = body(1, "mallory").encode([7; 16]);
    let header = Header { body_hash: body_hash(&body), body_length: body.len() as u32, ..header };
    let id = commit_id(&header.encode());
    let mut builder = FrameBuilder::new(space);
    let signature = Some(key.sign_commit(&id));
    builder.push(FrameCommit { header: &header, id, signature, body: Some(&body) }).unwrap();
    builder.finish_keeping_signatures()
}

/// A frame of one commit under a signature that nobody made; another one for each `n`.
pub(crate) fn forged(space: SpaceId, commit: &Vouched, n: u32) -> Vec<u8> {
    let mut signature = [3; 64];
    signature[..4].copy_from_slice(&n.to_be_bytes());
    changed(space, commit, |received| received.signature = Some(Signature(signature)))
}
