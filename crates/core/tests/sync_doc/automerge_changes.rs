//! Automerge's changes as opaque nodes: what the header, the parents, the actor and the number of a change say, and
//! nothing of what it does.

use driftless_core::hash_graph::{Format, NodeId, Parsed};
use sha2::{Digest, Sha256};

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Changes;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const LARGEST: usize = 1 << 20;

fn number(bytes: &[u8]) -> Result<(usize, &[u8]), &'static str> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok((number, &bytes[at + 1..]));
        }
    }
    Err("a bad number")
}

fn put_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

impl Format for Changes {
    fn parse(&self, bytes: &[u8]) -> Result<Parsed, &'static str> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or("no chunk")?;
        let (checksum, rest) = rest.split_first_chunk::<4>().ok_or("short")?;
        let (kind, rest) = rest.split_first().ok_or("short")?;
        let (length, body) = number(rest)?;
        if body.len() != length {
            return Err("not one chunk");
        }
        let body = match kind {
            1 => body.to_vec(),
            2 => miniz_oxide::inflate::decompress_to_vec_with_limit(body, LARGEST)
                .map_err(|_| "not deflated")?,
            _ => return Err("not a change"),
        };
        let mut hashed = vec![1];
        put_number(&mut hashed, body.len());
        hashed.extend(&body);
        let id: NodeId = Sha256::digest(&hashed).into();
        if !id.starts_with(checksum) {
            return Err("a wrong checksum");
        }
        let (count, rest) = number(&body)?;
        let (parents, rest) = rest.split_at_checked(count.saturating_mul(32)).ok_or("short")?;
        let (length, rest) = number(rest)?;
        let (actor, rest) = rest.split_at_checked(length).ok_or("short")?;
        let (seq, _) = number(rest)?;
        let mut author = [0; 8];
        author.iter_mut().zip(actor).for_each(|(to, from)| *to = *from);
        Ok(Parsed { id, parents: parents.as_chunks::<32>().0.to_vec(), author: Some((author, seq as u64)) })
    }
}
