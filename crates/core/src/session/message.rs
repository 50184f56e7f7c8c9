//! The messages of a session and their bytes: canonical CBOR lists that begin with a code. docs/protocol.md has each one.
//!
//! Decoding bounds every count before it reserves anything. What a message means is decided in `session`.

use super::access::{AccessRequest, Answer, Discovered};
use super::documents::{Changed, Located, Lookup, optional};
use super::pass::{Pass, decode_pass, encode_pass};
use super::pull::Cursor;
use crate::cbor::{self, CborError, Reader, Writer};
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::leb128;
use crate::limits::{
    MAX_CELLS, MAX_CHANGED, MAX_FOUND, MAX_MARKS, MAX_PAGE_FRAMES, MAX_PROOFS, MAX_SUMMARY_AUTHORS,
    MAX_SUMMARY_HEADS, MAX_WANTED,
};
use crate::reconcile::{Clock, Detail, Filter, Mark, Summary};
use crate::sign::Signature;
use crate::sketch::{Cell, Item};

/// The version of the protocol that this code speaks.
pub const PROTOCOL_VERSION: u64 = 1;

/// Identifies a space within one session; the dialer gives out even numbers, the listener odd ones.
pub type Slot = u64;

const DEPTH: usize = 8;

/// A received commit that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The hash of the received bytes.
    pub hash: [u8; 32],
    /// Why, as a stable word.
    pub code: String,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first message of each side.
    Hello {
        /// The version spoken.
        version: u64,
        /// Random; the other side's proofs sign it.
        nonce: [u8; 16],
    },
    /// Author keys, each proven for this session.
    Proof(Vec<(AuthorId, Signature)>),
    /// Begins the exchange of a space.
    Open {
        /// The number for it from now on.
        slot: Slot,
        /// Which space.
        space: SpaceId,
        /// By what, if not by a permission.
        invite: Option<Pass>,
        /// What the sender has.
        summary: Summary,
    },
    /// Begins the exchange of a space in which both sides met before. Who does not know it closes the slot.
    Reopen {
        /// The number for it from now on.
        slot: Slot,
        /// The salted name of the space and of the newest frontier that both sides had.
        item: Item,
        /// The sender's sync heads.
        digest: [u8; 8],
        /// What the sender has since that frontier.
        clock: Clock,
    },
    /// What the dialer has agreed on with the listener. All that changed here since is open.
    Spaces {
        /// In how many spaces.
        count: u64,
        /// The sum of their salted hashes.
        sum: [u8; 8],
    },
    /// The answer to `Spaces` and `More`: cells of the same of the listener; none if it is equal. All that changed there
    /// since is open.
    Cells(Vec<Cell>),
    /// The cells were too few.
    More,
    /// Both sides have the same of a space that the sender opened, and the slot is free: whoever changes it first opens
    /// it again.
    Rest {
        /// Which space.
        slot: Slot,
    },
    /// The answer to `Open`: what the sender has.
    Have {
        /// Which space.
        slot: Slot,
        /// What the sender has.
        summary: Summary,
    },
    /// A frame of commits.
    Data {
        /// Which space.
        slot: Slot,
        /// Counts the frames of this slot and direction, from 1.
        number: u64,
        /// The frame.
        frame: Vec<u8>,
        /// The sender's sync heads when it read the frame.
        digest: [u8; 8],
    },
    /// Everything up to a frame is durable, but for what was not taken.
    Ack {
        /// Which space.
        slot: Slot,
        /// The number of the frame.
        number: u64,
        /// What of the frame was not taken.
        refused: Vec<Verdict>,
        /// The sender's sync heads now.
        digest: [u8; 8],
    },
    /// Everything that the sender had for the receiver is sent.
    End {
        /// Which space.
        slot: Slot,
        /// The sender's sync heads now.
        digest: [u8; 8],
        /// Those heads that the receiver may not have, as many as fit.
        heads: Vec<CommitId>,
    },
    /// Asks for commits by id: heads whose ancestors are missing, or commits whose bodies are.
    Want {
        /// Which space.
        slot: Slot,
        /// The commits.
        ids: Vec<CommitId>,
        /// What the sender has, so that everything that leads to them is sent; else only the bodies are.
        again: Option<Summary>,
    },
    /// Says more of what the sender has, after a summary that asked for it.
    Summary {
        /// Which space.
        slot: Slot,
        /// What the sender has.
        summary: Summary,
    },
    /// An offer that local limits forbid for now.
    Decline {
        /// Which space.
        slot: Slot,
        /// A stable word.
        reason: String,
        /// Milliseconds after which it may be tried again.
        retry_after_ms: u64,
    },
    /// The space is not open. An unknown and a forbidden space look the same.
    Close {
        /// Which space.
        slot: Slot,
    },
    /// Asks for what came into the receiver's log of a space after a place in it. Needs no slot.
    Pull {
        /// Counts up within the session and direction.
        request: u64,
        /// Which space.
        space: SpaceId,
        /// After where; from the beginning without.
        cursor: Option<Cursor>,
        /// About how many bytes of frames; 0 asks for where the log ends, and nothing else.
        budget: u64,
        /// Commits whose bodies the sender lacks: they come first.
        wanted: Vec<CommitId>,
    },
    /// One page of what was asked for.
    Pulled {
        /// The number of the request.
        request: u64,
        /// Frames, each of which can be taken alone.
        frames: Vec<Vec<u8>>,
        /// The place behind them.
        cursor: Cursor,
        /// There is more behind it.
        more: bool,
    },
    /// The cursor is not of the sender's log: both sides have to reconcile.
    Stale {
        /// The number of the request.
        request: u64,
        /// Where the sender's log ends now: good as soon as both sides have reconciled.
        cursor: Cursor,
    },
    /// The space is not open to a pull. An unknown and a forbidden space look the same.
    Withheld {
        /// The number of the request.
        request: u64,
    },
    /// Asks for a permission in a space, for a key that the sender has proven.
    Request {
        /// Counts up within the session and direction, together with those of `Discover`.
        number: u64,
        /// Who wants what.
        request: AccessRequest,
    },
    /// The answer to `Request`.
    Answer {
        /// The number of the request.
        number: u64,
        /// What becomes of it.
        answer: Answer,
    },
    /// Asks which spaces the proven keys may read.
    Discover {
        /// Counts up within the session and direction, together with those of `Request`.
        number: u64,
        /// Only those whose ids are larger than this one.
        after: Option<SpaceId>,
    },
    /// The answer to `Discover`: spaces, ascending by id.
    Found {
        /// The number of the question.
        number: u64,
        /// The spaces.
        spaces: Vec<Discovered>,
        /// There are more behind them.
        more: bool,
    },
    /// Spaces in which something came; without any, something came somewhere.
    Changed(Vec<Changed>),
    /// Asks which spaces are shared with the sender by name, not with anyone. The answer is `Found`.
    Shared {
        /// Counts up within the session and direction, together with those of `Request`.
        number: u64,
        /// Only those whose ids are larger than this one.
        after: Option<SpaceId>,
        /// Of a key that another space lets in: then also what is shared with that space.
        pass: Option<Pass>,
    },
    /// Asks for the documents that somebody made in a collection.
    Find {
        /// Counts up within the session and direction, together with those of `Request`.
        number: u64,
        /// What is looked for.
        lookup: Lookup,
    },
    /// The answer to `Find`.
    Located {
        /// The number of the question.
        number: u64,
        /// What was found.
        located: Located,
    },
}

impl Message {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128);
        match self {
            Self::Hello { version, nonce } => {
                writer.array(3).u64(0).u64(*version).bytes(nonce);
            }
            Self::Proof(proofs) => {
                writer.array(2).u64(1).array(proofs.len() as u64);
                for (author, signature) in proofs {
                    writer.array(2).bytes(&author.0).bytes(&signature.0);
                }
            }
            Self::Open { slot, space, invite, summary } => {
                writer.array(5).u64(2).u64(*slot).bytes(&space.0);
                encode_pass(invite.as_ref(), &mut writer);
                encode_summary(summary, &mut writer);
            }
            Self::Reopen { slot, item, digest, clock } => {
                writer.array(5).u64(13).u64(*slot).bytes(item).bytes(digest).bytes(&clock.encode());
            }
            Self::Spaces { count, sum } => {
                writer.array(3).u64(11).u64(*count).bytes(sum);
            }
            Self::Cells(cells) => {
                writer.array(2).u64(12).bytes(&encode_cells(cells));
            }
            Self::More => {
                writer.array(1).u64(14);
            }
            Self::Rest { slot } => {
                writer.array(2).u64(15).u64(*slot);
            }
            Self::Have { slot, summary } => {
                writer.array(3).u64(3).u64(*slot);
                encode_summary(summary, &mut writer);
            }
            Self::Data { slot, number, frame, digest } => {
                writer.array(5).u64(4).u64(*slot).u64(*number).bytes(digest).bytes(frame);
            }
            Self::Ack { slot, number, refused, digest } => {
                writer.array(5).u64(5).u64(*slot).u64(*number).bytes(digest).array(refused.len() as u64);
                for verdict in refused {
                    writer.array(2).bytes(&verdict.hash).str(&verdict.code);
                }
            }
            Self::End { slot, digest, heads } => {
                writer.array(4).u64(6).u64(*slot).bytes(digest);
                encode_ids(heads, &mut writer);
            }
            Self::Want { slot, ids, again } => {
                writer.array(4).u64(7).u64(*slot);
                encode_ids(ids, &mut writer);
                match again {
                    Some(summary) => encode_summary(summary, &mut writer),
                    None => drop(writer.null()),
                }
            }
            Self::Summary { slot, summary } => {
                writer.array(3).u64(10).u64(*slot);
                encode_summary(summary, &mut writer);
            }
            Self::Decline { slot, reason, retry_after_ms } => {
                writer.array(4).u64(8).u64(*slot).str(reason).u64(*retry_after_ms);
            }
            Self::Close { slot } => {
                writer.array(2).u64(9).u64(*slot);
            }
            Self::Pull { request, space, cursor, budget, wanted } => {
                let cursor = cursor.map(|cursor| cursor.encode());
                writer.array(6).u64(20).u64(*request).bytes(&space.0);
                writer.bytes_or_null(cursor.as_ref().map(|cursor| &cursor[..])).u64(*budget);
                encode_ids(wanted, &mut writer);
            }
            Self::Pulled { request, frames, cursor, more } => {
                writer.array(5).u64(21).u64(*request).array(frames.len() as u64);
                for frame in frames {
                    writer.bytes(frame);
                }
                writer.bytes(&cursor.encode()).bool(*more);
            }
            Self::Stale { request, cursor } => {
                writer.array(3).u64(22).u64(*request).bytes(&cursor.encode());
            }
            Self::Withheld { request } => {
                writer.array(2).u64(23).u64(*request);
            }
            Self::Request { number, request } => {
                writer.array(6).u64(30).u64(*number);
                request.encode(&mut writer);
            }
            Self::Answer { number, answer } => {
                writer.array(4).u64(31).u64(*number);
                answer.encode(&mut writer);
            }
            Self::Discover { number, after } => {
                let after = after.as_ref().map(|after| &after.0[..]);
                writer.array(3).u64(32).u64(*number).bytes_or_null(after);
            }
            Self::Found { number, spaces, more } => {
                writer.array(4).u64(33).u64(*number).array(spaces.len() as u64);
                for space in spaces {
                    writer.array(2).bytes(&space.space.0).str(&space.name);
                }
                writer.bool(*more);
            }
            Self::Changed(spaces) => {
                writer.array(2).u64(24).array(spaces.len() as u64);
                spaces.iter().for_each(|changed| changed.encode(&mut writer));
            }
            Self::Shared { number, after, pass } => {
                let after = after.as_ref().map(|after| &after.0[..]);
                writer.array(4).u64(25).u64(*number).bytes_or_null(after);
                encode_pass(pass.as_ref(), &mut writer);
            }
            Self::Find { number, lookup } => lookup.encode(writer.array(5).u64(26).u64(*number)),
            Self::Located { number, located } => located.encode(writer.array(5).u64(27).u64(*number)),
        }
        writer.finish()
    }

    /// Whether bytes that were not decoded begin as `Data` does.
    pub(crate) fn is_data(bytes: &[u8]) -> bool {
        let mut reader = Reader::new(bytes);
        reader.array().is_ok_and(|length| length == 5) && reader.u64().is_ok_and(|code| code == 4)
    }

    /// Takes bytes from a peer apart.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::check(bytes, DEPTH)?;
        let mut reader = Reader::new(bytes);
        let length = reader.array()?;
        let code = reader.u64()?;
        Ok(match (code, length) {
            (0, 3) => Self::Hello { version: reader.u64()?, nonce: reader.array_bytes()? },
            // A newer version may say more; what it speaks is all that matters here.
            (0, _) => match reader.u64()? {
                PROTOCOL_VERSION => return Err(CborError::Unexpected),
                version => Self::Hello { version, nonce: [0; 16] },
            },
            (1, 2) => {
                let count = bounded(&mut reader, MAX_PROOFS, "author proofs")?;
                let mut proofs = Vec::with_capacity(count);
                for _ in 0..count {
                    reader.array_of(2)?;
                    proofs.push((AuthorId(reader.array_bytes()?), Signature(reader.array_bytes()?)));
                }
                Self::Proof(proofs)
            }
            (2, 5) => Self::Open {
                slot: reader.u64()?,
                space: SpaceId(reader.array_bytes()?),
                invite: decode_pass(&mut reader)?,
                summary: decode_summary(&mut reader)?,
            },
            (3, 3) => Self::Have { slot: reader.u64()?, summary: decode_summary(&mut reader)? },
            (4, 5) => Self::Data {
                slot: reader.u64()?,
                number: reader.u64()?,
                digest: reader.array_bytes()?,
                frame: reader.bytes()?.to_vec(),
            },
            (5, 5) => {
                let (slot, number, digest) = (reader.u64()?, reader.u64()?, reader.array_bytes()?);
                let count = bounded(&mut reader, MAX_WANTED, "verdicts")?;
                let mut refused = Vec::with_capacity(count);
                for _ in 0..count {
                    reader.array_of(2)?;
                    refused.push(Verdict { hash: reader.array_bytes()?, code: word(&mut reader)? });
                }
                Self::Ack { slot, number, refused, digest }
            }
            (6, 4) => Self::End {
                slot: reader.u64()?,
                digest: reader.array_bytes()?,
                heads: decode_ids(&mut reader, MAX_SUMMARY_HEADS)?,
            },
            (7, 4) => Self::Want {
                slot: reader.u64()?,
                ids: decode_ids(&mut reader, MAX_WANTED)?,
                again: match reader.take_null()? {
                    true => None,
                    false => Some(decode_summary(&mut reader)?),
                },
            },
            (8, 4) => Self::Decline {
                slot: reader.u64()?,
                reason: word(&mut reader)?,
                retry_after_ms: reader.u64()?,
            },
            (9, 2) => Self::Close { slot: reader.u64()? },
            (10, 3) => Self::Summary { slot: reader.u64()?, summary: decode_summary(&mut reader)? },
            (20, 6) => Self::Pull {
                request: reader.u64()?,
                space: SpaceId(reader.array_bytes()?),
                cursor: match reader.take_null()? {
                    true => None,
                    false => Some(Cursor::decode(&reader.array_bytes()?)),
                },
                budget: reader.u64()?,
                wanted: decode_ids(&mut reader, MAX_WANTED)?,
            },
            (21, 5) => {
                let request = reader.u64()?;
                let count = bounded(&mut reader, MAX_PAGE_FRAMES, "frames in a page")?;
                let frames: Result<_, _> = (0..count).map(|_| reader.bytes().map(<[u8]>::to_vec)).collect();
                let (frames, cursor) = (frames?, Cursor::decode(&reader.array_bytes()?));
                Self::Pulled { request, frames, cursor, more: reader.bool()? }
            }
            (22, 3) => Self::Stale { request: reader.u64()?, cursor: Cursor::decode(&reader.array_bytes()?) },
            (23, 2) => Self::Withheld { request: reader.u64()? },
            (30, 6) => Self::Request { number: reader.u64()?, request: AccessRequest::decode(&mut reader)? },
            (31, 4) => Self::Answer { number: reader.u64()?, answer: Answer::decode(&mut reader)? },
            (32, 3) => Self::Discover { number: reader.u64()?, after: optional(&mut reader)?.map(SpaceId) },
            (33, 4) => {
                let number = reader.u64()?;
                let count = bounded(&mut reader, MAX_FOUND, "spaces in a message")?;
                let spaces: Result<_, _> = (0..count).map(|_| Discovered::decode(&mut reader)).collect();
                Self::Found { number, spaces: spaces?, more: reader.bool()? }
            }
            (11, 3) => Self::Spaces { count: reader.u64()?, sum: reader.array_bytes()? },
            (12, 2) => Self::Cells(decode_cells(reader.bytes()?)?),
            (13, 5) => Self::Reopen {
                slot: reader.u64()?,
                item: reader.array_bytes()?,
                digest: reader.array_bytes()?,
                clock: Clock::decode(reader.bytes()?, MAX_SUMMARY_AUTHORS).ok_or(CborError::Unexpected)?,
            },
            (14, 1) => Self::More,
            (24, 2) => {
                let count = bounded(&mut reader, MAX_CHANGED, "spaces that changed")?;
                let spaces = (0..count).map(|_| Changed::decode(&mut reader)).collect::<Result<_, _>>()?;
                Self::Changed(spaces)
            }
            (25, 4) => Self::Shared {
                number: reader.u64()?,
                after: optional(&mut reader)?.map(SpaceId),
                pass: decode_pass(&mut reader)?,
            },
            (26, 5) => Self::Find { number: reader.u64()?, lookup: Lookup::decode(&mut reader)? },
            (27, 5) => Self::Located { number: reader.u64()?, located: Located::decode(&mut reader)? },
            (15, 2) => Self::Rest { slot: reader.u64()? },
            _ => return Err(CborError::Unexpected),
        })
    }
}

// Cells of a set, not of a difference: no count is below zero.
fn encode_cells(cells: &[Cell]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(18 * cells.len());
    for Cell { count, sum, check } in cells {
        bytes.extend_from_slice(sum);
        bytes.extend_from_slice(check);
        leb128::put(&mut bytes, count.unsigned_abs());
    }
    bytes
}

fn decode_cells(mut bytes: &[u8]) -> Result<Vec<Cell>, CborError> {
    let mut cells = Vec::new();
    while !bytes.is_empty() {
        if cells.len() == MAX_CELLS {
            return Err(CborError::Limit("cells"));
        }
        let cell = bytes.split_first_chunk().and_then(|(sum, rest)| {
            let (check, rest) = rest.split_first_chunk()?;
            let (count, rest) = leb128::take(rest)?;
            Some((Cell { count: i64::try_from(count).ok()?, sum: *sum, check: *check }, rest))
        });
        let (cell, rest) = cell.ok_or(CborError::Unexpected)?;
        cells.push(cell);
        bytes = rest;
    }
    Ok(cells)
}

fn encode_summary(summary: &Summary, writer: &mut Writer) {
    let Summary { digest, detail } = summary;
    match detail {
        Detail::Nothing => writer.array(2).u64(0).bytes(digest),
        Detail::Bare => writer.array(2).u64(1).bytes(digest),
        Detail::Since(known, clock) => {
            writer.array(4).u64(2).bytes(digest).bytes(known).bytes(&clock.encode())
        }
        Detail::Recent(known, filter) => {
            writer.array(4).u64(8).bytes(digest).bytes(known).bytes(filter.bytes())
        }
        Detail::Clock(clock) => writer.array(3).u64(3).bytes(digest).bytes(&clock.encode()),
        Detail::Otherwise(clock) => writer.array(3).u64(4).bytes(digest).bytes(&clock.encode()),
        Detail::Marks(marks) => writer.array(3).u64(5).bytes(digest).bytes(marks.as_flattened()),
        Detail::Filter(found, filter) => {
            let mut bits = vec![0; found.len().div_ceil(8)];
            for (at, _) in found.iter().enumerate().filter(|(_, found)| **found) {
                if let Some(byte) = bits.get_mut(at / 8) {
                    *byte |= 1 << (at % 8);
                }
            }
            writer.array(5).u64(6).bytes(digest).u64(found.len() as u64).bytes(&bits).bytes(filter.bytes())
        }
        Detail::Again(round, marks, filter) => writer
            .array(5)
            .u64(7)
            .bytes(digest)
            .u64(u64::from(*round))
            .bytes(marks.as_flattened())
            .bytes(filter.bytes()),
    };
}

fn decode_summary(reader: &mut Reader<'_>) -> Result<Summary, CborError> {
    let (length, kind, digest) = (reader.array()?, reader.u64()?, reader.array_bytes()?);
    let clock =
        |reader: &mut Reader<'_>, most| Clock::decode(reader.bytes()?, most).ok_or(CborError::Unexpected);
    let filter =
        |reader: &mut Reader<'_>| Filter::from_bytes(reader.bytes()?).ok_or(CborError::Limit("a filter"));
    let detail = match (kind, length) {
        (0, 2) => Detail::Nothing,
        (1, 2) => Detail::Bare,
        (2, 4) => Detail::Since(reader.array_bytes()?, clock(reader, MAX_SUMMARY_AUTHORS)?),
        (3, 3) => Detail::Clock(clock(reader, MAX_SUMMARY_AUTHORS)?),
        (4, 3) => Detail::Otherwise(clock(reader, 2 * MAX_SUMMARY_AUTHORS)?),
        (5, 3) => Detail::Marks(decode_marks(reader)?),
        (6, 5) => {
            let count = usize::try_from(reader.u64()?).ok().filter(|count| *count <= MAX_MARKS);
            let count = count.ok_or(CborError::Limit("marks"))?;
            let bits = reader.bytes()?;
            let bit = |at: usize| bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
            // One form only: as many bytes as bits need, and no bit beyond the last.
            if bits.len() != count.div_ceil(8) || (count..bits.len() * 8).any(bit) {
                return Err(CborError::Unexpected);
            }
            Detail::Filter((0..count).map(bit).collect(), filter(reader)?)
        }
        (7, 5) => {
            let round = u32::try_from(reader.u64()?).map_err(|_| CborError::Unexpected)?;
            Detail::Again(round, decode_marks(reader)?, filter(reader)?)
        }
        (8, 4) => Detail::Recent(reader.array_bytes()?, filter(reader)?),
        _ => return Err(CborError::Unexpected),
    };
    Ok(Summary { digest, detail })
}

fn decode_marks(reader: &mut Reader<'_>) -> Result<Vec<Mark>, CborError> {
    let (marks, rest) = reader.bytes()?.as_chunks();
    match rest {
        [] if marks.len() <= MAX_MARKS => Ok(marks.to_vec()),
        [] => Err(CborError::Limit("marks")),
        _ => Err(CborError::Unexpected),
    }
}

fn encode_ids(ids: &[CommitId], writer: &mut Writer) {
    writer.array(ids.len() as u64);
    for id in ids {
        writer.bytes(&id.0);
    }
}

fn decode_ids(reader: &mut Reader<'_>, limit: usize) -> Result<Vec<CommitId>, CborError> {
    let count = bounded(reader, limit, "ids in a message")?;
    (0..count).map(|_| reader.array_bytes().map(CommitId)).collect()
}

fn bounded(reader: &mut Reader<'_>, limit: usize, what: &'static str) -> Result<usize, CborError> {
    usize::try_from(reader.array()?).ok().filter(|count| *count <= limit).ok_or(CborError::Limit(what))
}

// A stable word of at most 64 bytes, as codes are.
fn word(reader: &mut Reader<'_>) -> Result<String, CborError> {
    let text = reader.str()?;
    if text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        return Err(CborError::Limit("a code"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
