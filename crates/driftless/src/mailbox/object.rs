//! The bytes of an object in a mailbox, and its name. docs/mailbox.md says the same in words.
//!
//! An object says who wrote it, and its writer's node key signs it; the commits inside vouch for themselves as well.

use driftless_core::id::{PeerId, SpaceId, base32, from_base32};
use driftless_core::sign::{Domain, NodeKey, Signature, verify_object};
use driftless_net::mailbox::{MAX_OBJECT, ObjectName};

use crate::error::Error;
use crate::tables::layout::{Bytes, put_bytes, put_number};

const MAGIC: &[u8; 8] = b"dlobject";
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const LEVEL: i32 = 3;
/// Bytes that the frames of an object may have, before compression: some that fit, at two to one.
const MAX_PLAIN: usize = 2 * MAX_OBJECT;
/// Numbers of lost objects that one object may stand for.
pub(super) const MAX_INSTEAD: usize = 1024;
/// Other writers of which one object tells how far they are.
pub(super) const MAX_HEARD: usize = 64;
/// Other writers of which one object says that commits are nowhere that theirs stand on: as many as are read.
pub(super) const MAX_LACKS: usize = 1024;
/// Frames of one object: each has at least one commit.
const MAX_FRAMES: usize = 65_536;
/// Bytes of the name of a seal.
const MAX_SEAL: usize = 64;

/// A store that writes into a mailbox: a device, and which life of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Writer {
    pub peer: PeerId,
    pub store: [u8; 16],
}

impl Writer {
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.peer.0[..], &self.store].concat()
    }

    pub(super) fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self { peer: PeerId(bytes.array()?), store: bytes.array()? })
    }

    /// The second part of the names of its objects.
    pub(super) fn folder(&self) -> String {
        format!("{}-{}", self.peer, base32(&self.store))
    }

    pub(super) fn of_folder(folder: &str) -> Option<Self> {
        let (peer, store) = folder.split_once('-')?;
        let store = from_base32(store)?.try_into().ok()?;
        let writer = Self { peer: peer.parse().ok()?, store };
        (writer.folder() == folder).then_some(writer)
    }

    /// What the names of its objects begin with.
    pub(super) fn prefix(&self, space: &SpaceId) -> String {
        format!("{space}/{}/", self.folder())
    }
}

/// The first part of the name of an object with this number.
pub(super) fn numbered(number: u64) -> String {
    format!("{number:016x}")
}

/// The name of an object.
pub(super) fn name(space: &SpaceId, writer: &Writer, number: u64, hash: &[u8; 32]) -> Option<ObjectName> {
    ObjectName::new(&format!("{}{}-{}", writer.prefix(space), numbered(number), base32(hash)))
}

/// Number and hash out of a name.
pub(super) fn read_name(name: &ObjectName) -> Option<(u64, [u8; 32])> {
    let (number, hash) = name.parts().nth(2)?.split_once('-')?;
    let digits = number.len() == 16 && number.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let number = u64::from_str_radix(number, 16).ok().filter(|number| digits && *number > 0)?;
    Some((number, from_base32(hash)?.try_into().ok()?))
}

/// What stands before the commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub space: SpaceId,
    pub writer: Writer,
    pub number: u64,
    /// The hash of the object before; zeros for the first.
    pub previous: [u8; 32],
    /// Lost objects of the same writer, whose commits are in this one.
    pub instead: Vec<u64>,
    /// How far the writer has read others: a number, and the hash of that object.
    pub heard: Vec<(Writer, u64, [u8; 32])>,
    /// Objects of others, one of each, that stand on commits which the writer has found nowhere.
    pub lacks: Vec<(Writer, u64)>,
    /// Who can open it; empty if anybody can.
    pub seal: String,
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = [&MAGIC[..], &[VERSION], &self.space.0, &self.writer.bytes()].concat();
        put_number(&mut out, self.number);
        out.extend_from_slice(&self.previous);
        put_number(&mut out, self.instead.len() as u64);
        self.instead.iter().for_each(|number| put_number(&mut out, *number));
        put_number(&mut out, self.heard.len() as u64);
        for (writer, number, hash) in &self.heard {
            out.extend_from_slice(&writer.bytes());
            put_number(&mut out, *number);
            out.extend_from_slice(hash);
        }
        put_lacks(&mut out, &self.lacks);
        put_bytes(&mut out, self.seal.as_bytes());
        out
    }

    fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (space, writer) = (SpaceId(bytes.array()?), Writer::take(bytes)?);
        let (number, previous) = (bytes.number()?, bytes.array()?);
        let count = usize::try_from(bytes.number()?).ok().filter(|count| *count <= MAX_INSTEAD)?;
        let instead = (0..count).map(|_| bytes.number()).collect::<Option<_>>()?;
        let count = usize::try_from(bytes.number()?).ok().filter(|count| *count <= MAX_HEARD)?;
        let heard = (0..count).map(|_| Some((Writer::take(bytes)?, bytes.number()?, bytes.array()?)));
        let heard = heard.collect::<Option<_>>()?;
        let count = usize::try_from(bytes.number()?).ok().filter(|count| *count <= MAX_LACKS)?;
        let lacks = (0..count).map(|_| Some((Writer::take(bytes)?, bytes.number()?)));
        let lacks = lacks.collect::<Option<_>>()?;
        let seal = bytes.text().filter(|seal| seal.len() <= MAX_SEAL)?.to_owned();
        Some(Self { space, writer, number, previous, instead, heard, lacks, seal })
    }
}

/// Whether what stands before the commits of an object names this writer.
pub(super) fn is_of(head: &[u8], writer: &Writer) -> bool {
    head.get(MAGIC.len() + 33..).is_some_and(|rest| rest.starts_with(&writer.bytes()))
}

fn put_lacks(out: &mut Vec<u8>, lacks: &[(Writer, u64)]) {
    put_number(out, lacks.len() as u64);
    for (writer, number) in lacks {
        out.extend_from_slice(&writer.bytes());
        put_number(out, *number);
    }
}

/// What tells one list of what is lacked from another; zeros for the empty one.
pub(super) fn lacks_mark(lacks: &[(Writer, u64)]) -> [u8; 8] {
    let mut bytes = Vec::new();
    put_lacks(&mut bytes, lacks);
    let hash = Domain::MailboxObject.hash(&[&bytes]);
    hash.first_chunk().copied().filter(|_| !lacks.is_empty()).unwrap_or_default()
}

/// An object whose writer is proven; its commits are not looked at yet.
#[derive(Debug)]
pub(super) struct Object {
    pub head: Head,
    /// Frames, compressed, or what a seal made of that.
    pub content: Vec<u8>,
}

/// Why bytes are not what their name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    /// They are not what its writer put there.
    Damaged,
    /// Written by a newer driftless.
    Newer,
}

/// The whole bytes of an object, and their hash.
pub(super) fn write(key: &NodeKey, head: &[u8], content: &[u8]) -> (Vec<u8>, [u8; 32]) {
    let mut bytes = head.to_vec();
    put_bytes(&mut bytes, content);
    let signature = key.sign_object(&[&Domain::MailboxObject.hash(&[&bytes])]);
    bytes.extend_from_slice(&signature.0);
    let hash = Domain::MailboxObject.hash(&[&bytes]);
    (bytes, hash)
}

/// The object behind a name, if these are its bytes and its writer made them.
pub(super) fn read(
    bytes: &[u8],
    space: &SpaceId,
    writer: &Writer,
    number: u64,
    hash: &[u8; 32],
) -> Result<Object, Unusable> {
    if bytes.len() > MAX_OBJECT || Domain::MailboxObject.hash(&[bytes]) != *hash {
        return Err(Unusable::Damaged);
    }
    let (signed, signature) = bytes.split_last_chunk::<64>().ok_or(Unusable::Damaged)?;
    let digest = Domain::MailboxObject.hash(&[signed]);
    if !verify_object(&writer.peer, &[&digest], &Signature(*signature)) {
        return Err(Unusable::Damaged);
    }
    let rest = signed.strip_prefix(MAGIC).ok_or(Unusable::Damaged)?;
    let (version, rest) = rest.split_first().ok_or(Unusable::Damaged)?;
    if *version > VERSION {
        return Err(Unusable::Newer);
    }
    let mut rest = Bytes(rest);
    let head = Head::take(&mut rest).ok_or(Unusable::Damaged)?;
    let content = rest.bytes().filter(|_| rest.0.is_empty()).ok_or(Unusable::Damaged)?.to_vec();
    let same = head.space == *space && head.writer == *writer && head.number == number;
    if same { Ok(Object { head, content }) } else { Err(Unusable::Damaged) }
}

/// Whether these bytes are what the name says: an object that the writer in it has signed for that place.
pub(super) fn belongs(at: &ObjectName, bytes: &[u8]) -> bool {
    let mut parts = at.parts();
    let space = parts.next().and_then(|space| space.parse().ok());
    let writer = parts.next().and_then(Writer::of_folder);
    let Some(((space, writer), (number, hash))) = space.zip(writer).zip(read_name(at)) else { return false };
    name(&space, &writer, number, &hash).as_ref() == Some(at)
        && read(bytes, &space, &writer, number, &hash).is_ok()
}

/// Frames into what an object holds.
pub(super) fn pack(frames: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::new();
    frames.iter().for_each(|frame| put_bytes(&mut plain, frame));
    let packed = zstd::bulk::compress(&plain, LEVEL)?;
    let (kind, bytes) = if packed.len() < plain.len() { (ZSTD, packed) } else { (PLAIN, plain) };
    Ok([&[kind][..], &bytes].concat())
}

/// The frames again; `None` if these bytes are none.
pub(super) fn unpack(content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let plain = match content.split_first()? {
        (&PLAIN, plain) => plain.to_vec(),
        (&ZSTD, packed) => zstd::bulk::decompress(packed, MAX_PLAIN).ok()?,
        _ => return None,
    };
    let (mut rest, mut frames) = (Bytes(&plain), Vec::new());
    while !rest.0.is_empty() {
        let frame = rest.bytes().filter(|frame| !frame.is_empty() && frames.len() < MAX_FRAMES)?;
        frames.push(frame.to_vec());
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(key: &NodeKey) -> Head {
        let writer = Writer { peer: key.id(), store: [5; 16] };
        Head {
            space: SpaceId([1; 32]),
            writer,
            number: 300,
            previous: [2; 32],
            instead: vec![1, 7],
            heard: vec![(writer, 9, [4; 32])],
            lacks: vec![(writer, 3), (writer, 4)],
            seal: "age".into(),
        }
    }

    #[test]
    fn an_object_comes_back_as_it_was_and_no_changed_byte_passes() {
        let key = NodeKey::from_seed(&[9; 32]);
        let head = head(&key);
        let (bytes, hash) = write(&key, &head.encode(), b"content");
        let at = name(&head.space, &head.writer, head.number, &hash).unwrap();
        assert_eq!(read_name(&at), Some((300, hash)));
        let folder = at.parts().nth(1).unwrap();
        assert_eq!(Writer::of_folder(folder), Some(head.writer));
        assert!(belongs(&at, &bytes) && !belongs(&at, &bytes[1..]));
        let shifted = name(&head.space, &head.writer, 301, &hash).unwrap();
        assert!(!belongs(&shifted, &bytes));
        let deeper = ObjectName::new(&format!("{at}/x")).unwrap();
        assert!(!belongs(&deeper, &bytes) && !belongs(&ObjectName::new("a").unwrap(), &bytes));
        assert!(is_of(&bytes, &head.writer) && !is_of(&bytes, &Writer { store: [6; 16], ..head.writer }));
        let object = read(&bytes, &head.space, &head.writer, 300, &hash).unwrap();
        assert_eq!((object.head, object.content.as_slice()), (head.clone(), &b"content"[..]));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read(&changed, &head.space, &head.writer, 300, &hash).is_err());
            // Nor under the name that it should have then.
            let named = Domain::MailboxObject.hash(&[&changed]);
            assert!(read(&changed, &head.space, &head.writer, 300, &named).is_err());
            assert!(read(&bytes[..at], &head.space, &head.writer, 300, &hash).is_err());
        }
        // In another place it is nobody's.
        assert!(read(&bytes, &SpaceId([8; 32]), &head.writer, 300, &hash).is_err());
        assert!(read(&bytes, &head.space, &head.writer, 301, &hash).is_err());
        let other = Writer { store: [6; 16], ..head.writer };
        assert!(read(&bytes, &head.space, &other, 300, &hash).is_err());
    }

    #[test]
    fn what_unpacks_to_more_than_the_limit_is_not_unpacked() {
        let frames = vec![vec![3; 70_000], vec![1]];
        let packed = pack(&frames).unwrap();
        assert!(packed.len() < 1000);
        assert_eq!(unpack(&packed), Some(frames));
        let bomb = zstd::bulk::compress(&vec![0; MAX_PLAIN + 1], LEVEL).unwrap();
        assert_eq!(unpack(&[&[ZSTD][..], &bomb].concat()), None);
        // Nor into more frames than there can be.
        for (frame, count) in [(&[0][..], 1), (&[1, 9], MAX_FRAMES + 1)] {
            assert_eq!(unpack(&[&[PLAIN][..], &frame.repeat(count)].concat()), None);
        }
        assert!(unpack(&[&[PLAIN][..], &[1, 9].repeat(MAX_FRAMES)].concat()).is_some());
        assert_eq!(unpack(&[PLAIN, 0xff, 0xff]), None);
        assert_eq!(unpack(&[]), None);
    }
}
