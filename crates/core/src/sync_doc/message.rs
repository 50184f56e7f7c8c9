//! What two sides say to each other, in Automerge's bytes. It knows no graph and no state.
//!
//! Bytes: type (0x42 or 0x43), heads, need, summaries, changes, and flags if anything is left. Counts and lengths are
//! LEB128; a list of hashes is a count and 32 bytes each.

use super::bloom::{BloomFilter, DecodeBloomError};
use super::wire::{Input, Wrong, put_bytes, put_hashes, put_number};
use crate::hash_graph::NodeId;
use crate::limits::MAX_SUMMARIES;

const V1: u8 = 0x42;
const V2: u8 = 0x43;

/// How the changes of a message are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageVersion {
    /// One chunk for each change. The only one that this module sends.
    V1,
    /// One chunk for all changes, or for the whole document: Automerge sends it to those who sent it flags.
    V2,
}

/// What a peer can do, as seen from the flags that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    /// It reads messages of version 1. Everybody does; nobody says so.
    MessageV1,
    /// It reads messages of version 2: it sent flags.
    MessageV2,
    /// It sends again what it sent when it is told `SYNC_RESET`.
    SyncReset,
}

/// What a message says beside its contents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct MessageFlags(u8);

impl MessageFlags {
    /// The receiver is to forget what it has sent.
    pub const SYNC_RESET: u8 = 1 << 0;
    /// The sender takes no changes.
    pub const READ_ONLY: u8 = 1 << 1;
    /// The sender understands `SYNC_RESET`.
    pub const SUPPORTS_SYNC_RESET: u8 = 1 << 2;

    // One byte for each flag once, then bits in a byte with this one set.
    const BITS: u8 = 0x80;
    const OLD_V2: u8 = 0x02;

    /// No flags.
    pub fn new() -> Self {
        Self(0)
    }

    /// Whether `flag` is among them.
    pub fn contains(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// Adds `flag`.
    pub fn set(&mut self, flag: u8) {
        self.0 |= flag & !Self::BITS;
    }

    fn read(bytes: &[u8]) -> Self {
        let bits = bytes.iter().filter(|byte| **byte & Self::BITS != 0);
        Self(bits.fold(0, |flags, byte| flags | (byte & !Self::BITS)))
    }
}

/// What the sender has: a request to send everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Have {
    /// Heads of what both are known to have.
    pub last_sync: Vec<NodeId>,
    /// What the sender has besides these and their past.
    pub bloom: BloomFilter,
}

/// Changes as they travel, each to be handed to a graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ChunkList {
    // One buffer, so that many small chunks cost hardly more than their bytes.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl ChunkList {
    /// No changes.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds one.
    pub fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        self.ends.push(self.bytes.len());
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).filter_map(|(start, end)| self.bytes.get(*start..*end))
    }
}

impl From<Vec<Vec<u8>>> for ChunkList {
    fn from(chunks: Vec<Vec<u8>>) -> Self {
        let mut list = Self::default();
        chunks.iter().for_each(|chunk| list.push(chunk));
        list
    }
}

impl From<Vec<u8>> for ChunkList {
    fn from(chunk: Vec<u8>) -> Self {
        Self { ends: vec![chunk.len()], bytes: chunk }
    }
}

/// One message, from one side to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The heads of the sender.
    pub heads: Vec<NodeId>,
    /// Changes that the sender asks for by name.
    pub need: Vec<NodeId>,
    /// What the sender has; without any, it asks for `need` alone.
    pub have: Vec<Have>,
    /// Changes for the receiver.
    pub changes: ChunkList,
    /// Absent in messages to and from those who know no flags.
    pub flags: Option<MessageFlags>,
    /// How `changes` are cut.
    pub version: MessageVersion,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadMessageError {
    /// The first byte is another.
    #[error("a sync message starts with one of {expected_one_of:?}, and this starts with {found}")]
    WrongType {
        /// What it may be.
        expected_one_of: Vec<u8>,
        /// What it is.
        found: u8,
    },
    /// They say something that cannot be.
    #[error("the sync message cannot be read: {0}")]
    Parse(String),
    /// A filter in it cannot be used.
    #[error(transparent)]
    Bloom(#[from] DecodeBloomError),
    /// They end too early.
    #[error("the sync message is cut off")]
    NotEnoughInput,
}

impl From<Wrong> for ReadMessageError {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Short => Self::NotEnoughInput,
            Wrong::Parse(reason) => Self::Parse(reason.into()),
        }
    }
}

impl Message {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![match self.version {
            MessageVersion::V1 => V1,
            MessageVersion::V2 => V2,
        }];
        put_hashes(&mut out, &self.heads);
        put_hashes(&mut out, &self.need);
        put_number(&mut out, self.have.len() as u64);
        for have in &self.have {
            put_hashes(&mut out, &have.last_sync);
            put_bytes(&mut out, &have.bloom.to_bytes());
        }
        put_number(&mut out, self.changes.len() as u64);
        for chunk in self.changes.iter() {
            put_bytes(&mut out, chunk);
        }
        if let Some(MessageFlags(bits)) = self.flags {
            put_bytes(&mut out, &[MessageFlags::OLD_V2, MessageFlags::BITS | bits]);
        }
        out
    }

    /// Reads a message. What comes after the flags is left unread, as Automerge leaves it.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadMessageError> {
        let mut input = Input(bytes);
        let version = match input.byte()? {
            V1 => MessageVersion::V1,
            V2 => MessageVersion::V2,
            found => return Err(ReadMessageError::WrongType { expected_one_of: vec![V1, V2], found }),
        };
        let (heads, need) = (input.hashes()?, input.hashes()?);
        let mut have = Vec::new();
        let summaries = input.count(2)?;
        if summaries > MAX_SUMMARIES {
            return Err(ReadMessageError::Parse(format!("more than {MAX_SUMMARIES} summaries")));
        }
        for _ in 0..summaries {
            let last_sync = input.hashes()?;
            have.push(Have { last_sync, bloom: BloomFilter::try_from(input.bytes()?)? });
        }
        let mut changes = ChunkList::empty();
        for _ in 0..input.count(1)? {
            changes.push(input.bytes()?);
        }
        let flags = if input.is_empty() { None } else { Some(MessageFlags::read(input.bytes()?)) };
        Ok(Self { heads, need, have, changes, flags, version })
    }

    /// What tells two messages of one peer apart, changes aside: a peer that says the same again has heard nothing in
    /// between. Filters follow from the rest, up to where they are mistaken.
    pub(super) fn claims(&self) -> [u8; 32] {
        let mut out = Vec::new();
        put_hashes(&mut out, &self.heads);
        put_hashes(&mut out, &self.need);
        for have in &self.have {
            put_hashes(&mut out, &have.last_sync);
        }
        *blake3::hash(&out).as_bytes()
    }
}
