//! The header of a commit: what is hashed into its id and, through the id, signed. docs/format.md has every byte.
//!
//! Decoding checks all that a header can say about itself; what needs its ancestors is checked on admission.

use crate::cbor::{self, CborError, Kind as Cbor, Reader, Writer};
use crate::clock::Timestamp;
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::limits::{MAX_BODY, MAX_HEADER, MAX_PARENTS, MAX_RULE_BODY};
use crate::sign::Domain;

/// The version of the header layout that this code writes and knows.
pub const HEADER_VERSION: u64 = 1;

const CONTINUES: u64 = 1;
const NO_EXTENSIONS: &[u8] = &[0xa0];
// The header is a list; lists and maps may nest this deep inside it, which only extensions do.
const DEPTH: usize = 16;

/// What a commit's body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Rule operators: who may do what, the name, settings.
    Rules,
    /// Edits of documents.
    Documents,
}

/// How the bytes of a body are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEncoding {
    /// As they are.
    Plain,
    /// Under a key that this version does not know: kept and forwarded, without effect.
    Sealed,
}

/// The header of a commit, decoded. Valid in itself, not yet vouched for, not yet admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What the body holds.
    pub kind: Kind,
    /// Part of a larger transaction that the author's next commit goes on with.
    pub continues: bool,
    /// The space; `None` in a genesis, whose own id is the space's.
    pub space: Option<SpaceId>,
    /// The key that signed.
    pub author: AuthorId,
    /// Counts the author's commits in this space, from 1.
    pub seq: u64,
    /// The author's commit before this one in this space; `None` exactly when `seq` is 1.
    pub previous: Option<CommitId>,
    /// The other heads that the author saw: sorted, unique, without `previous`.
    pub parents: Vec<CommitId>,
    /// Greater than the time of every parent.
    pub time: Timestamp,
    /// The hash of the body under `Domain::Body`.
    pub body_hash: [u8; 32],
    /// Bytes of the body.
    pub body_length: u32,
    /// How to read the body.
    pub body_encoding: BodyEncoding,
    /// A canonical CBOR map of things this version does not know; kept as it is, and signed.
    pub extensions: Vec<u8>,
}

/// Why bytes are not a valid header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not canonical CBOR of this shape.
    #[error("the header is not canonical: {0}")]
    Encoding(#[from] CborError),
    /// Written by a newer driftless; the space needs a newer version here.
    #[error("header version {0} needs a newer driftless")]
    Newer(u64),
    /// Longer than `MAX_HEADER`.
    #[error("the header has {0} bytes, more than {MAX_HEADER}")]
    TooLong(usize),
    /// The fields contradict each other.
    #[error("the header contradicts itself: {0}")]
    Contradiction(&'static str),
}

impl Header {
    /// Whether this is the first commit of a space.
    pub fn is_genesis(&self) -> bool {
        self.space.is_none()
    }

    /// `previous` and the other parents.
    pub fn all_parents(&self) -> impl Iterator<Item = &CommitId> {
        self.previous.iter().chain(&self.parents)
    }

    /// Whether there is something in it that this version does not know.
    pub fn has_extensions(&self) -> bool {
        self.extensions != NO_EXTENSIONS
    }

    /// No extensions: the empty map.
    pub fn no_extensions() -> Vec<u8> {
        NO_EXTENSIONS.to_vec()
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(200 + 34 * self.parents.len());
        writer.array(13).u64(HEADER_VERSION);
        writer.u64(match self.kind {
            Kind::Rules => 0,
            Kind::Documents => 1,
        });
        writer.u64(if self.continues { CONTINUES } else { 0 });
        writer.bytes_or_null(self.space.as_ref().map(|id| &id.0[..]));
        writer.bytes(&self.author.0).u64(self.seq);
        writer.bytes_or_null(self.previous.as_ref().map(|id| &id.0[..]));
        writer.array(self.parents.len() as u64);
        for parent in &self.parents {
            writer.bytes(&parent.0);
        }
        writer.u64(self.time.0).bytes(&self.body_hash).u64(u64::from(self.body_length));
        writer.u64(match self.body_encoding {
            BodyEncoding::Plain => 0,
            BodyEncoding::Sealed => 1,
        });
        writer.raw(&self.extensions);
        writer.finish()
    }

    /// Takes `bytes` apart and checks everything that a header says about itself.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() > MAX_HEADER {
            return Err(HeaderError::TooLong(bytes.len()));
        }
        cbor::check(bytes, DEPTH)?;
        let mut reader = Reader::new(bytes);
        let length = reader.array()?;
        match reader.u64()? {
            HEADER_VERSION if length == 13 => {}
            HEADER_VERSION => return Err(CborError::Unexpected.into()),
            newer => return Err(HeaderError::Newer(newer)),
        }
        let kind = match reader.u64()? {
            0 => Kind::Rules,
            1 => Kind::Documents,
            _ => return Err(HeaderError::Contradiction("a kind that does not exist")),
        };
        let continues = match reader.u64()? {
            0 => false,
            CONTINUES => true,
            _ => return Err(HeaderError::Contradiction("a flag that does not exist")),
        };
        let space = id_or_null(&mut reader)?.map(SpaceId);
        let author = AuthorId(reader.array_bytes()?);
        let seq = reader.u64()?;
        let previous = id_or_null(&mut reader)?.map(CommitId);
        let count = reader.array()?;
        if count > MAX_PARENTS as u64 {
            return Err(HeaderError::Contradiction("too many parents"));
        }
        let mut parents = Vec::with_capacity(count as usize);
        for _ in 0..count {
            parents.push(CommitId(reader.array_bytes()?));
        }
        let time = Timestamp(reader.u64()?);
        let body_hash = reader.array_bytes()?;
        let body_length = u32::try_from(reader.u64()?)
            .map_err(|_| HeaderError::Contradiction("a body longer than the limit"))?;
        let body_encoding = match reader.u64()? {
            0 => BodyEncoding::Plain,
            1 => BodyEncoding::Sealed,
            _ => return Err(HeaderError::Contradiction("a body encoding that does not exist")),
        };
        if reader.kind()? != Cbor::Map {
            return Err(CborError::Unexpected.into());
        }
        let extensions = reader.raw()?.to_vec();
        let header = Self {
            kind,
            continues,
            space,
            author,
            seq,
            previous,
            parents,
            time,
            body_hash,
            body_length,
            body_encoding,
            extensions,
        };
        header.check()?;
        Ok(header)
    }

    // What must hold between the fields of one header.
    fn check(&self) -> Result<(), HeaderError> {
        let wrong = |why| Err(HeaderError::Contradiction(why));
        if self.seq == 0 || (self.seq == 1) != self.previous.is_none() {
            return wrong(
                "the first commit of an author has seq 1 and no previous, every other one has both",
            );
        }
        if self.is_genesis() && (self.kind != Kind::Rules || self.seq != 1 || !self.parents.is_empty()) {
            return wrong("a genesis is a rule commit without parents");
        }
        if !self.is_genesis() && self.all_parents().next().is_none() {
            return wrong("only a genesis has no parents");
        }
        if !self.parents.is_sorted_by(|a, b| a < b)
            || self.previous.is_some_and(|id| self.parents.contains(&id))
        {
            return wrong("parents are not sorted, unique and without the previous commit");
        }
        match self.kind {
            Kind::Rules if self.continues || self.body_encoding != BodyEncoding::Plain => {
                wrong("a rule commit stands alone and is readable by everyone")
            }
            Kind::Rules if self.body_length as usize > MAX_RULE_BODY => {
                wrong("a rule body longer than the limit")
            }
            _ if self.body_length as usize > MAX_BODY => wrong("a body longer than the limit"),
            _ => Ok(()),
        }
    }
}

/// The id of the commit whose header has these bytes.
pub fn commit_id(header: &[u8]) -> CommitId {
    CommitId(Domain::CommitId.hash(&[header]))
}

/// The hash of a body, as a header names it.
pub fn body_hash(body: &[u8]) -> [u8; 32] {
    Domain::Body.hash(&[body])
}

fn id_or_null(reader: &mut Reader<'_>) -> Result<Option<[u8; 32]>, CborError> {
    if reader.take_null()? { Ok(None) } else { reader.array_bytes().map(Some) }
}
