//! Bundles taken apart into commits and put together again, in any order. Reads only what the database has written.

use driftless_core::cbor::{CborError, Reader, Writer};
use driftless_core::commit::Received;
use driftless_core::sign::Signature;

const HEAD: &[u8; 17] = b"driftless-bundle\x01";
const MARKER: [u8; 4] = [0xd7, b'd', b'l', 0x1a];
const COMMIT: u8 = 1;
const END_OF_FRAME: u8 = 2;
const END: u8 = 3;

/// The commits of a bundle, in their order.
pub fn split(bundle: &[u8]) -> Result<Vec<Received>, String> {
    let wrong = || "the bundle is not one that a database wrote".to_owned();
    let mut rest = bundle.strip_prefix(HEAD).ok_or_else(wrong)?;
    let mut commits = Vec::new();
    while let Some(record) = rest.strip_prefix(&MARKER) {
        let ([kind, a, b, c, d], after) = record.split_first_chunk::<5>().ok_or_else(wrong)?;
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (payload, after) = after.split_at_checked(length).ok_or_else(wrong)?;
        if *kind == COMMIT {
            commits.push(read(payload).map_err(|error| error.to_string())?);
        }
        rest = after;
    }
    if rest.is_empty() { Ok(commits) } else { Err(wrong()) }
}

/// A bundle of these commits, a new frame after each `frame` of them.
pub fn join<'c>(commits: impl IntoIterator<Item = &'c Received>, frame: usize) -> Vec<u8> {
    let mut bundle = HEAD.to_vec();
    for (at, commit) in commits.into_iter().enumerate() {
        if at > 0 && at % frame.max(1) == 0 {
            record(&mut bundle, END_OF_FRAME, &[]);
        }
        let mut writer = Writer::default();
        writer.array(3).bytes(&commit.header);
        writer.bytes_or_null(commit.signature.as_ref().map(|signature| &signature.0[..]));
        writer.bytes_or_null(commit.body.as_deref());
        record(&mut bundle, COMMIT, &writer.finish());
    }
    record(&mut bundle, END_OF_FRAME, &[]);
    record(&mut bundle, END, &[]);
    bundle
}

fn record(bundle: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    bundle.extend_from_slice(&MARKER);
    bundle.push(kind);
    bundle.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bundle.extend_from_slice(payload);
}

fn read(payload: &[u8]) -> Result<Received, CborError> {
    let mut reader = Reader::new(payload);
    reader.array_of(3)?;
    let header = reader.bytes()?.to_vec();
    let signature = if reader.take_null()? { None } else { Some(Signature(reader.array_bytes()?)) };
    let body = if reader.take_null()? { None } else { Some(reader.bytes()?.to_vec()) };
    Ok(Received { header, signature, body })
}
