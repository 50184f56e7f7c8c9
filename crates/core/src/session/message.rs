//! The messages of a session and their bytes: canonical CBOR lists that begin with a code. docs/protocol.md has each one.
//!
//! Decoding bounds every count before it reserves anything. What a message means is decided in `session`.

use super::access::{AccessRequest, Answer, Discovered};
use super::pass::{Pass, decode_pass, encode_pass};
use super::pull::Cursor;
use crate::cbor::{self, CborError, Reader, Writer};
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::leb128;
use crate::limits::{
    MAX_CELLS, MAX_FOUND, MAX_MARKS, MAX_PAGE_FRAMES, MAX_PROOFS, MAX_SUMMARY_AUTHORS, MAX_SUMMARY_HEADS,
    MAX_WANTED,
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
        }
        writer.finish()
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
            (32, 3) => {
                let number = reader.u64()?;
                let after = if reader.take_null()? { None } else { Some(SpaceId(reader.array_bytes()?)) };
                Self::Discover { number, after }
            }
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
mod tests {
    use super::super::{InviteProof, Role, Session, SpaceProof, numbered};
    use super::*;
    use crate::id::{PeerId, RequestId};
    use crate::reconcile::Entry;
    use crate::rules::Shown;
    use crate::rules::{Permission, Strength};
    use crate::sign::AuthorKey;

    fn messages() -> Vec<Message> {
        let entry = |seq| Entry { tag: [1; 4], seq, check: [2; 4] };
        let heads = vec![CommitId([3; 32]), CommitId([4; 32])];
        let clock = Clock(vec![entry(0), entry(300)]);
        let filter = Filter::from_bytes(&[7; 5]).unwrap();
        let summary = |detail| Summary { digest: [5; 8], detail };
        let invite = InviteProof {
            invite: CommitId([6; 32]),
            index: 70_000,
            joiner: AuthorId([7; 32]),
            proof: Signature([8; 64]),
        };
        let space = SpaceId([9; 32]);
        let shown = Shown { header: vec![1], signature: Some(Signature([5; 64])), body: Some(vec![2; 9]) };
        let team = Pass::Space(SpaceProof {
            joiner: AuthorId([7; 32]),
            space: SpaceId([6; 32]),
            proof: vec![shown; 2],
        });
        let request = |permission, note: &str| {
            let author = AuthorId([7; 32]);
            AccessRequest { space, author, permission, note: note.into() }
        };
        let verdict = Verdict { hash: [1; 32], code: "bad_header".into() };
        let cursor = Cursor { store: [1; 16], at: 70_000, digest: [2; 8] };
        vec![
            Message::Pull { request: 0, space, cursor: None, budget: 0, wanted: Vec::new() },
            Message::Pull {
                request: 300,
                space,
                cursor: Some(cursor),
                budget: u64::MAX,
                wanted: heads.clone(),
            },
            Message::Pulled { request: 3, frames: vec![vec![7; 30]; 2], cursor, more: true },
            Message::Pulled { request: 3, frames: Vec::new(), cursor, more: false },
            Message::Stale { request: 3, cursor },
            Message::Withheld { request: 24 },
            Message::Request { number: 0, request: request(Permission::Write(Strength(7)), "hi, it is me") },
            Message::Request { number: 300, request: request(Permission::Read, "") },
            Message::Answer { number: 0, answer: Answer::Refused },
            Message::Answer { number: 1, answer: Answer::Allowed(Permission::Admin(Strength(300))) },
            Message::Answer { number: 2, answer: Answer::Queued(RequestId([3; 32])) },
            Message::Answer { number: 3, answer: Answer::Full },
            Message::Discover { number: 0, after: None },
            Message::Discover { number: 24, after: Some(space) },
            Message::Found { number: 0, spaces: Vec::new(), more: false },
            Message::Found {
                number: 1,
                spaces: vec![Discovered { space, name: "team".into() }; 2],
                more: true,
            },
            Message::Hello { version: 1, nonce: [1; 16] },
            Message::Proof(vec![(AuthorId([1; 32]), Signature([2; 64])); 2]),
            Message::Open {
                slot: 24,
                space,
                invite: Some(Pass::Invite(invite)),
                summary: summary(Detail::Clock(clock.clone())),
            },
            Message::Open { slot: 0, space, invite: None, summary: Summary::default() },
            Message::Open { slot: 0, space, invite: Some(team), summary: Summary::default() },
            Message::Reopen { slot: 2, item: [3; 12], digest: [4; 8], clock: clock.clone() },
            Message::Spaces { count: 10_000, sum: [5; 8] },
            Message::Cells(vec![Cell { count: 300, sum: [6; 12], check: [7; 4] }; 2]),
            Message::Cells(Vec::new()),
            Message::More,
            Message::Rest { slot: 300 },
            Message::Have { slot: 3, summary: summary(Detail::Since([8; 8], clock.clone())) },
            Message::Have { slot: 3, summary: summary(Detail::Otherwise(clock)) },
            Message::Summary { slot: 3, summary: summary(Detail::Bare) },
            Message::Have { slot: 3, summary: summary(Detail::Recent([8; 8], filter.clone())) },
            Message::Summary { slot: 3, summary: summary(Detail::Marks(vec![[6; 12]; 3])) },
            Message::Summary { slot: 3, summary: summary(Detail::Filter(vec![true; 9], filter.clone())) },
            Message::Data { slot: 4, number: 1 << 40, frame: vec![1, 2, 3], digest: [4; 8] },
            Message::Ack { slot: 4, number: 256, refused: vec![verdict; 2], digest: [4; 8] },
            Message::End { slot: 4, digest: [1; 8], heads: heads.clone() },
            Message::Want { slot: 4, ids: heads.clone(), again: None },
            Message::Want {
                slot: 4,
                ids: heads,
                again: Some(summary(Detail::Again(3, vec![[6; 12]; 3], filter))),
            },
            Message::Decline { slot: 4, reason: "too_many".into(), retry_after_ms: 5000 },
            Message::Close { slot: u64::MAX },
        ]
    }

    // Every prefix, every flipped bit, every byte made the head of something long, every byte doubled or left out.
    fn each_damage(bytes: &[u8], mut look: impl FnMut(&[u8])) {
        let mut see = |damaged: &[u8]| {
            if damaged != bytes {
                look(damaged);
            }
        };
        for at in 0..bytes.len() {
            see(&bytes[..at]);
            let replace = |by: &[u8]| [&bytes[..at], by, &bytes[at + 1..]].concat();
            (0..8).for_each(|bit| see(&replace(&[bytes[at] ^ (1 << bit)])));
            for head in [0x3b, 0x5b, 0x7b, 0x9b, 0xbb] {
                see(&replace(&[&[head][..], &[0xff; 8]].concat()));
            }
            for other in [0x9f, 0xbf, 0xff, 0xf6, 0xfb, 0xc0] {
                see(&replace(&[other]));
            }
            see(&replace(&[bytes[at], bytes[at]]));
            see(&replace(&[]));
        }
    }

    fn message_is_canonical(bytes: &[u8]) -> bool {
        match Message::decode(bytes) {
            // Of a greeting that says more than we know, only the version is taken.
            Ok(Message::Hello { nonce: [0, ..], .. }) => true,
            Ok(message) => {
                assert_eq!(message.encode(), bytes);
                true
            }
            Err(_) => false,
        }
    }

    #[test]
    fn a_damaged_message_is_refused_or_is_another_message() {
        for message in messages() {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Ok(message.clone()));
            each_damage(&bytes, |damaged| {
                assert_ne!(Message::decode(damaged).as_ref(), Ok(&message));
                message_is_canonical(damaged);
            });
        }
    }

    #[test]
    fn a_session_ends_with_an_error_when_its_peer_sends_damage() {
        let greeting = [Message::Hello { version: 1, nonce: [1; 16] }, Message::Proof(Vec::new())];
        let new = || {
            let keys = vec![AuthorKey::from_seed(&[1; 32])];
            let mut session = Session::new(Role::Listener, PeerId([1; 32]), PeerId([2; 32]), [3; 16], keys);
            for (number, message) in (0..).zip(&greeting) {
                session.handle_frame(&numbered(number, message)).unwrap();
            }
            session
        };
        let mut heard = 0;
        for message in messages() {
            let bytes = message.encode();
            // Also what decodes comes without having been asked for, and in an order that nobody keeps to.
            let mut session = new();
            each_damage(&bytes, |damaged| {
                let number = u8::try_from(session.heard_messages).unwrap();
                let taken = session.handle_frame(&[&[number], damaged].concat());
                if taken.is_err() || number > 100 {
                    session = new();
                }
                heard += u32::from(taken.is_ok());
                while session.poll().is_some() {}
            });
        }
        assert!(heard > 100, "damage is looked at, not only the numbers before it: {heard}");
    }

    #[test]
    fn nesting_and_counts_that_lie_are_refused() {
        for message in messages() {
            let bytes = message.encode();
            for at in 0..bytes.len() {
                let lie = [&bytes[..at], &[0x9b], &[0xff; 8]].concat();
                // Of the length that was said, it may be the end of an id.
                assert!(!message_is_canonical(&lie) || lie.len() == bytes.len());
                assert!(!message_is_canonical(&[&bytes[..at], &[0x81; 100_000]].concat()));
            }
        }
    }
}
