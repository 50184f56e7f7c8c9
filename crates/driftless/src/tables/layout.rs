//! The bytes of every table but the documents: table names, keys, rows. docs/format.md says the same in words.
//!
//! Nothing here reads or writes a table; it only knows what the bytes mean.

use driftless_core::clock::Timestamp;
use driftless_core::commit::{BodyEncoding, Kind};
use driftless_core::id::CommitId;
use driftless_core::rules::Strength;
use driftless_core::sign::Signature;
use driftless_core::verdict::Via;
use driftless_store::{KeyKind, Schema, Table};

use crate::error::Error;

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $position:literal $text:literal $kind:ident;)*) => {
        $($(#[$doc])* pub(crate) const $name: Table = Table { position: $position, name: $text, key: KeyKind::$kind };)*
        /// Every table, at its position, and the version of this layout.
        pub const SCHEMA: Schema = Schema { version: 1, tables: &[$($name),*] };
    };
}

tables! {
    /// Facts about the database itself: node key, store id, next free numbers, seqs of spaces that were forgotten.
    META = 0 "meta" Bytes;
    /// Local number of a space -> `SpaceRow`.
    SPACE = 1 "space" U64;
    /// Space id -> local number.
    SPACE_ID = 2 "space_id" Bytes;
    /// Local number of an author -> public key.
    AUTHOR = 3 "author" U64;
    /// Public key -> local number.
    AUTHOR_ID = 4 "author_id" Bytes;
    /// `LogKey` -> `Row`. Rows are never changed.
    LOG = 5 "log" U64;
    /// `LogKey` -> the body as it was signed.
    BODY = 6 "body" U64;
    /// The first 63 bits of a commit id -> the `LogKey`s of the commits that begin so.
    COMMIT_ID = 7 "commit_id" U64;
    /// Space, author, branch -> `Tip`: the last commit of each branch of an author's chain.
    TIP = 8 "tip" Bytes;
    /// `LogKey` of a head -> whether it is one for sync (bit 0) and for writing (bit 1).
    HEAD = 9 "head" U64;
    /// `LogKey` -> `State`, for every commit that is not simply applied.
    STATE = 10 "state" U64;
    /// Space number << 32 | frontier number -> the rule commits in it.
    FRONTIER = 11 "frontier" U64;
    /// `LogKey` of each rule commit, in order of arrival -> nothing.
    RULE = 12 "rule" U64;
    /// Document, time, `LogKey` -> nothing: which commits with an effect edit a document.
    EDIT = 13 "edit" Bytes;
    /// Document, time, `LogKey` -> the document after that commit.
    CHECKPOINT = 14 "checkpoint" Bytes;
    /// Space number, name -> collection number.
    COLLECTION = 15 "collection_id" Bytes;
    /// Collection number, path -> index number.
    INDEX = 16 "index_id" Bytes;
    /// Index number, value, document -> nothing.
    INDEX_VALUE = 17 "index_value" Bytes;
    /// Hash of received bytes -> `RefusedRow`.
    REFUSED = 18 "refused" Bytes;
    /// Name of a user -> `UserRow`.
    USER = 19 "user" Bytes;
    /// Space number, id of a retracted commit, `LogKey` of the retracting one -> nothing.
    RETRACT = 20 "retract" Bytes;
    /// `LogKey` of a commit that continues, `LogKey` of the next of its run -> nothing.
    RUN = 21 "run" Bytes;
    /// `LogKey` of a commit without a good signature -> refused commits after it, up to one that is signed: its proof.
    PROOF = 22 "proof" U64;
    /// Public node key -> `Peer`.
    PEER = 23 "peer" Bytes;
    /// `LogKey` of the first of a run of cold commits -> their rows and bodies, compressed.
    PACK = 24 "pack" U64;
    /// Public node key, space id -> the last frontiers that both sides had.
    AGREED = 25 "agreed" Bytes;
    /// `LogKey` of each `DIGEST_EVERY`th commit -> the running digest of the log up to it.
    LOG_DIGEST = 26 "log_digest" U64;
    /// Public node key, space id -> up to where everything was pulled from that peer.
    CURSOR = 27 "cursor" Bytes;
    /// Name of a user, space id -> what that user wants of that space.
    PREFERENCES = 28 "preferences" Bytes;
    /// Space id, author key -> a request for access that waits, was approved by the policy, or was rejected.
    REQUEST = 29 "request" Bytes;
    /// Public node key -> what waits for that peer.
    UNSENT = 30 "unsent" Bytes;
    /// Public node key, space id -> what exchanges of that space with that peer came to.
    EXCHANGES = 31 "exchanges" Bytes;
    /// Collection number -> the text of its schema.
    COLLECTION_SCHEMA = 32 "collection_schema" Bytes;
    /// Collection number, document -> nothing: it does not fit the schema.
    MARK = 33 "mark" Bytes;
    /// Public node key, space id, store id -> what pulls of that space from that store came to.
    PULLS = 34 "pulls" Bytes;
    /// Space id, mailbox -> its URL, what is wanted of it, and what came of the last exchange.
    MAILBOX = 35 "mailbox" Bytes;
    /// Space id, mailbox -> `Own`: how far this store has written there.
    MAILBOX_OWN = 36 "mailbox_own" Bytes;
    /// Space id, mailbox, number -> `Sent`: an object of this store.
    MAILBOX_SENT = 37 "mailbox_sent" Bytes;
    /// Space id, mailbox, writer -> `Reading`: how far the objects of another store were read, and what is wrong with them.
    MAILBOX_READ = 38 "mailbox_read" Bytes;
}

/// Position of a commit in the log of its space, from 1.
pub type LogSeq = u64;

/// Commits between two stored digests of a log: as many rows are read at most to check a cursor.
pub(crate) const DIGEST_EVERY: LogSeq = 64;

/// Space number and `LogSeq` in one key, so that the log of a space is one range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LogKey(pub u64);

const SEQ_BITS: u32 = 40;
/// Spaces in one database: what remains of 63 bits.
pub(crate) const MAX_SPACES: u32 = 1 << 22;

impl LogKey {
    pub(crate) fn new(space: u32, seq: LogSeq) -> Self {
        Self((u64::from(space) << SEQ_BITS) | (seq & ((1 << SEQ_BITS) - 1)))
    }

    pub(crate) fn space(self) -> u32 {
        (self.0 >> SEQ_BITS) as u32
    }

    pub(crate) fn seq(self) -> LogSeq {
        self.0 & ((1 << SEQ_BITS) - 1)
    }
}

/// The key of a retraction: space, the commit taken back, the commit that does it.
pub(crate) fn retract_key(space: u32, target: &CommitId, by: LogKey) -> Vec<u8> {
    [&u64::from(space).to_be_bytes(), &target.0[..], &by.0.to_be_bytes()].concat()
}

/// The key under which a commit is found by its id.
pub(crate) fn id_key(id: &CommitId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&id.0[..8]);
    u64::from_be_bytes(first) >> 1
}

/// Big-endian numbers one after the other: byte order is number order.
pub(crate) fn key<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A commit in the log: integers for authors and parents; the header is rebuilt from it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub id: CommitId,
    pub kind: Kind,
    pub continues: bool,
    pub author: u32,
    pub seq: u64,
    pub previous: Option<LogSeq>,
    pub parents: Vec<LogSeq>,
    pub time: Timestamp,
    /// Only where the body was not here when the commit came; else the body says it.
    pub body_hash: Option<[u8; 32]>,
    pub body_length: u32,
    pub body_encoding: BodyEncoding,
    /// Canonical CBOR; empty stands for the empty map.
    pub extensions: Vec<u8>,
    pub signature: Option<(Signature, bool)>,
    /// Interned frontier of rule commits among the ancestors.
    pub frontier: u32,
    /// The strength that the author had here, and by which kind of statement.
    pub strength: u32,
    pub via: Via,
    /// Branch of the author's chain.
    pub branch: u32,
    /// How many commits of the same transaction come before.
    pub run: u32,
}

const CONTINUES: u8 = 1;
const RULES: u8 = 2;
const SIGNED: u8 = 4;
const VERIFIED: u8 = 8;
const HASHED: u8 = 16;
const EXTENDED: u8 = 32;
const SEALED: u8 = 64;
const BY_KEY: u8 = 128;

// Above the strength of an author that another space let in; its strength there follows.
const INSIDE: u64 = 1 << 32;

impl Row {
    /// Whether it is one of several commits of one transaction.
    pub(crate) fn in_run(&self) -> bool {
        self.continues || self.run > 0
    }

    /// `at` is where the row will stand; parents are written relative to it.
    pub(crate) fn encode(&self, at: LogSeq) -> Vec<u8> {
        let mut flags = 0;
        let mut set = |bit, on: bool| flags |= if on { bit } else { 0 };
        set(CONTINUES, self.continues);
        set(RULES, self.kind == Kind::Rules);
        set(SIGNED, self.signature.is_some());
        set(VERIFIED, self.signature.is_some_and(|(_, verified)| verified));
        set(HASHED, self.body_hash.is_some());
        set(EXTENDED, !self.extensions.is_empty());
        set(SEALED, self.body_encoding == BodyEncoding::Sealed);
        set(BY_KEY, self.via != Via::Anyone);
        let mut out = Vec::with_capacity(128);
        out.push(flags);
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.time.0.to_be_bytes());
        if let Some((signature, _)) = &self.signature {
            out.extend_from_slice(&signature.0);
        }
        if let Some(hash) = &self.body_hash {
            out.extend_from_slice(hash);
        }
        for number in [
            u64::from(self.author),
            self.seq,
            self.previous.map_or(0, |previous| at - previous),
            u64::from(self.body_length),
            u64::from(self.frontier),
        ] {
            put_number(&mut out, number);
        }
        match self.via {
            Via::Key | Via::Anyone => put_number(&mut out, u64::from(self.strength)),
            Via::Space(inside) => {
                put_number(&mut out, u64::from(self.strength) | INSIDE);
                put_number(&mut out, u64::from(inside.0));
            }
        }
        for number in [u64::from(self.branch), u64::from(self.run), self.parents.len() as u64] {
            put_number(&mut out, number);
        }
        for parent in &self.parents {
            put_number(&mut out, at - parent);
        }
        out.extend_from_slice(&self.extensions);
        out
    }

    pub(crate) fn decode(bytes: &[u8], at: LogSeq) -> Result<Self, Error> {
        Self::take(&mut Bytes(bytes), at)
            .ok_or_else(|| Error::damaged(format!("log row {at} does not decode")))
    }

    fn take(bytes: &mut Bytes<'_>, at: LogSeq) -> Option<Self> {
        let flags = bytes.array::<1>()?[0];
        let has = |bit| flags & bit != 0;
        let id = CommitId(bytes.array()?);
        let time = Timestamp(u64::from_be_bytes(bytes.array()?));
        let signature = if has(SIGNED) { Some((Signature(bytes.array()?), has(VERIFIED))) } else { None };
        let body_hash = if has(HASHED) { Some(bytes.array()?) } else { None };
        let author = bytes.number32()?;
        let seq = bytes.number()?;
        let previous = match bytes.number()? {
            0 => None,
            back => Some(at.checked_sub(back)?),
        };
        let body_length = bytes.number32()?;
        let frontier = bytes.number32()?;
        let strength = bytes.number()?;
        let via = match (strength & INSIDE, has(BY_KEY)) {
            (0, true) => Via::Key,
            (0, false) => Via::Anyone,
            _ => Via::Space(Strength(bytes.number32()?)),
        };
        let strength = u32::try_from(strength & !INSIDE).ok()?;
        let branch = bytes.number32()?;
        let run = bytes.number32()?;
        let count = bytes.number()?;
        let mut parents = Vec::new();
        for _ in 0..count {
            parents.push(at.checked_sub(bytes.number()?)?);
        }
        let extensions = bytes.0.to_vec();
        if extensions.is_empty() == has(EXTENDED) {
            return None;
        }
        Some(Self {
            id,
            kind: if has(RULES) { Kind::Rules } else { Kind::Documents },
            continues: has(CONTINUES),
            author,
            seq,
            previous,
            parents,
            time,
            body_hash,
            body_length,
            body_encoding: if has(SEALED) { BodyEncoding::Sealed } else { BodyEncoding::Plain },
            extensions,
            signature,
            frontier,
            strength,
            via,
            branch,
            run,
        })
    }
}

/// The state of a commit that is not simply applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Too far ahead of our clock.
    Held,
    /// Does not count: its author's right was taken away before it.
    Void,
    /// Does not count: its own author took it back.
    Retracted,
    /// The body is not here.
    Wanted,
    /// Part of a transaction of which not all is here, or not all counts.
    Incomplete,
}

impl State {
    const ALL: [Self; 5] = [Self::Held, Self::Void, Self::Retracted, Self::Wanted, Self::Incomplete];

    pub(crate) fn encode(self) -> [u8; 1] {
        [Self::ALL.iter().position(|state| *state == self).unwrap_or_default() as u8]
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        bytes
            .first()
            .and_then(|number| Self::ALL.get(usize::from(*number)))
            .copied()
            .ok_or_else(|| Error::damaged("a state row does not decode"))
    }
}

/// Appends a number in LEB128: seven bits a byte, low first.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes rows apart; `None` at the first byte that is missing.
pub(crate) struct Bytes<'b>(pub &'b [u8]);

impl<'b> Bytes<'b> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn number32(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    /// A length, then that many bytes.
    pub(crate) fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was() {
        let row = Row {
            id: CommitId([3; 32]),
            kind: Kind::Documents,
            continues: true,
            author: 7,
            seq: 300,
            previous: Some(90),
            parents: vec![99, 12],
            time: Timestamp(123_456_789),
            body_hash: Some([1; 32]),
            body_length: 1 << 20,
            body_encoding: BodyEncoding::Sealed,
            extensions: vec![0xa1, 0, 0],
            signature: Some((Signature([9; 64]), false)),
            frontier: 5,
            strength: u32::MAX,
            via: Via::Space(Strength(6)),
            branch: 2,
            run: 3,
        };
        let bytes = row.encode(100);
        assert_eq!(Row::decode(&bytes, 100).unwrap(), row);
        for cut in 0..bytes.len() - 3 {
            assert!(Row::decode(&bytes[..cut], 100).is_err());
        }
    }

    #[test]
    fn log_keys_of_a_space_are_one_range() {
        let key = LogKey::new(3, 17);
        assert_eq!((key.space(), key.seq()), (3, 17));
        assert!(key < LogKey::new(3, 18) && LogKey::new(3, u64::MAX) < LogKey::new(4, 0));
    }
}
