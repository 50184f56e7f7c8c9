//! Commits signed by hand, however wrong, and bundles of them. It judges nothing.

use driftless_core::cbor::Writer;
use driftless_core::commit::{Received, commit_id};
use driftless_core::sign::AuthorKey;

/// The key of a seed.
pub(crate) fn key(seed: u8) -> AuthorKey {
    AuthorKey::from_seed(&[seed; 32])
}

/// Signs header bytes as they are.
pub(crate) fn sign(header: Vec<u8>, body: Option<Vec<u8>>, key: &AuthorKey) -> Received {
    let signature = Some(key.sign_commit(&commit_id(&header)));
    Received { header, signature, body }
}

/// A bundle of these commits. A frame ends after each for which `ends` says so.
pub(crate) fn bundle<'c>(
    commits: impl IntoIterator<Item = &'c Received>,
    mut ends: impl FnMut(usize) -> bool,
) -> Vec<u8> {
    let mut bytes = b"driftless-bundle\x01".to_vec();
    for (at, commit) in commits.into_iter().enumerate() {
        let mut writer = Writer::with_capacity(1000);
        let signature = commit.signature.as_ref().map(|signature| &signature.0[..]);
        writer.array(3).bytes(&commit.header).bytes_or_null(signature).bytes_or_null(commit.body.as_deref());
        record(&mut bytes, 1, &writer.finish());
        if ends(at) {
            record(&mut bytes, 2, &[]);
        }
    }
    record(&mut bytes, 2, &[]);
    record(&mut bytes, 3, &[]);
    bytes
}

fn record(bytes: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    bytes.extend_from_slice(&[0xd7, b'd', b'l', 0x1a, kind]);
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes.extend_from_slice(payload);
}
