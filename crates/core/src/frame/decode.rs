//! A frame back into commits. Every count is checked against the bytes that are left before anything is allocated.
//!
//! Says nothing about what the headers mean: a frame that decodes may hold commits that nobody will take.

use super::{
    BODY, CONTINUES, EXPLICIT, EXTENDED, FRAME_VERSION, GENESIS, IMPLIED, LEAST_COMMIT, PREVIOUS, RULES,
    SEALED, SIGNED,
};
use crate::clock::Timestamp;
use crate::commit::{BodyEncoding, Header, Kind, Received, body_hash, commit_id};
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::leb128::{take, unfold_sign};
use crate::limits::{MAX_FRAME, MAX_FRAME_COMMITS, MAX_HEADER, MAX_PARENTS};
use crate::sign::Signature;

/// Why bytes are not a frame. Nothing of such a frame is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Written by a newer driftless.
    #[error("frame version {0} is not known here: update driftless")]
    Version(u8),
    /// It ends inside a column, or a count says more than there is.
    #[error("the frame ends too early")]
    Truncated,
    /// There are bytes after the last body.
    #[error("there are bytes after the frame")]
    Trailing,
    /// More than a limit allows, as it is or decoded.
    #[error("the frame has more than allowed: {0}")]
    TooLarge(&'static str),
    /// A column says what cannot be.
    #[error("the frame contradicts itself: {0}")]
    Malformed(&'static str),
}

// One commit while the columns are read.
#[derive(Clone, Default)]
struct Draft<'b> {
    flags: u8,
    author: usize,
    seq: u64,
    previous: u64,
    parents: usize,
    time: Timestamp,
    body_length: u32,
    extensions: Option<&'b [u8]>,
    body_hash: Option<&'b [u8; 32]>,
    signature: Option<&'b [u8; 64]>,
    body: Option<&'b [u8]>,
}

/// The commits of a frame of `space`, in its order, with each header as it was signed.
pub fn decode(space: &SpaceId, bytes: &[u8]) -> Result<Vec<Received>, FrameError> {
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::TooLarge("bytes"));
    }
    let mut input = Input(bytes);
    match input.array::<1>()? {
        [FRAME_VERSION] => {}
        [newer] => return Err(FrameError::Version(*newer)),
    }
    let count = input.count(LEAST_COMMIT)?;
    if count == 0 {
        return Err(FrameError::Malformed("no commits"));
    }
    if count > MAX_FRAME_COMMITS {
        return Err(FrameError::TooLarge("commits"));
    }
    let authors = input.ids()?;
    let outside = input.ids()?;
    let (drafts, parents) = columns(&mut input, count, authors.len())?;
    if !input.0.is_empty() {
        return Err(FrameError::Trailing);
    }
    Ledger { space, authors, outside, ids: Vec::with_capacity(count), last: vec![None; authors.len()] }
        .assemble(drafts, &parents)
}

// Reads column after column. The references to parents of all commits come back in one list.
fn columns<'b>(
    input: &mut Input<'b>,
    count: usize,
    authors: usize,
) -> Result<(Vec<Draft<'b>>, Vec<u64>), FrameError> {
    let flags = input.bytes(count)?;
    let mut drafts: Vec<_> = flags.iter().map(|flags| Draft { flags: *flags, ..Draft::default() }).collect();
    for draft in &mut drafts {
        draft.author = input.below(authors as u64, "an author that is not in the table")? as usize;
    }
    for draft in drafts.iter_mut().filter(|draft| draft.previous() != IMPLIED) {
        draft.seq = input.number()?;
    }
    for draft in drafts.iter_mut().filter(|draft| draft.previous() == EXPLICIT) {
        draft.previous = input.number()?;
    }
    let mut total = 0;
    for draft in &mut drafts {
        draft.parents = input.below(MAX_PARENTS as u64 + 1, "too many parents")? as usize;
        total += draft.parents;
    }
    // Each takes a byte here, and 34 in a header.
    if total > input.0.len() {
        return Err(FrameError::Truncated);
    }
    if total * 34 > MAX_FRAME {
        return Err(FrameError::TooLarge("headers"));
    }
    let mut parents = Vec::with_capacity(total);
    for _ in 0..total {
        parents.push(input.number()?);
    }
    times(input, &mut drafts)?;
    for draft in &mut drafts {
        draft.body_length = input.below(1 << 32, "a body longer than the limit")? as u32;
    }
    content(input, &mut drafts)?;
    Ok((drafts, parents))
}

fn times(input: &mut Input<'_>, drafts: &mut [Draft<'_>]) -> Result<(), FrameError> {
    let mut ms = 0_u64;
    for draft in drafts.iter_mut() {
        ms = ms
            .checked_add_signed(unfold_sign(input.number()?))
            .filter(|ms| *ms < 1 << 48)
            .ok_or(FrameError::Malformed("a time before or after all time"))?;
        draft.time = Timestamp::from_ms(ms);
    }
    let mut before = Timestamp::default();
    for draft in drafts.iter_mut() {
        let expected = if draft.time.ms() == before.ms() { before.counter().wrapping_add(1) } else { 0 };
        let counter = input.below(1 << 16, "a counter of more than 16 bits")? as u16;
        draft.time.0 |= u64::from(expected.wrapping_add(counter));
        before = draft.time;
    }
    Ok(())
}

fn content<'b>(input: &mut Input<'b>, drafts: &mut [Draft<'b>]) -> Result<(), FrameError> {
    let mut lengths = Vec::new();
    for _ in drafts.iter().filter(|draft| draft.has(EXTENDED)) {
        lengths.push(input.below(MAX_HEADER as u64 + 1, "extensions longer than a header")? as usize);
    }
    for (draft, length) in drafts.iter_mut().filter(|draft| draft.has(EXTENDED)).zip(lengths) {
        draft.extensions = Some(input.bytes(length)?);
    }
    for draft in drafts.iter_mut().filter(|draft| !draft.has(BODY)) {
        draft.body_hash = Some(input.array()?);
    }
    for draft in drafts.iter_mut().filter(|draft| draft.has(SIGNED)) {
        draft.signature = Some(input.array()?);
    }
    for draft in drafts.iter_mut().filter(|draft| draft.has(BODY)) {
        draft.body = Some(input.bytes(draft.body_length as usize)?);
    }
    Ok(())
}

// What commits are named by while headers are put together again.
struct Ledger<'a> {
    space: &'a SpaceId,
    authors: &'a [[u8; 32]],
    outside: &'a [[u8; 32]],
    ids: Vec<CommitId>,
    // Of each author, the last commit so far: its id and seq.
    last: Vec<Option<(CommitId, u64)>>,
}

impl Ledger<'_> {
    fn assemble(mut self, drafts: Vec<Draft<'_>>, parents: &[u64]) -> Result<Vec<Received>, FrameError> {
        let mut received = Vec::with_capacity(drafts.len());
        let (mut room, mut parents) = (MAX_FRAME, parents);
        for draft in drafts {
            let (own, rest) = parents.split_at_checked(draft.parents).ok_or(FrameError::Truncated)?;
            parents = rest;
            let header = self.header(&draft, own)?;
            let (author, seq) = (draft.author, header.seq);
            let header = header.encode();
            let length = header.len()
                + draft.signature.map_or(0, |signature| signature.len())
                + draft.body.map_or(0, <[u8]>::len);
            room = room.checked_sub(length).ok_or(FrameError::TooLarge("headers"))?;
            let id = commit_id(&header);
            // It would be the beginning of a space that nobody asked for.
            if draft.previous() == GENESIS && id.0 != self.space.0 {
                return Err(FrameError::Malformed("the genesis of another space"));
            }
            self.ids.push(id);
            if let Some(last) = self.last.get_mut(author) {
                *last = Some((id, seq));
            }
            received.push(Received {
                header,
                signature: draft.signature.map(|signature| Signature(*signature)),
                body: draft.body.map(<[u8]>::to_vec),
            });
        }
        Ok(received)
    }

    fn header(&self, draft: &Draft<'_>, parents: &[u64]) -> Result<Header, FrameError> {
        let (previous, seq) = match draft.previous() {
            IMPLIED => {
                let last = self.last.get(draft.author).copied().flatten();
                let (id, seq) = last.ok_or(FrameError::Malformed("no commit of the author before it"))?;
                (Some(id), seq.checked_add(1).ok_or(FrameError::Malformed("a seq beyond all numbers"))?)
            }
            EXPLICIT => (Some(self.named(draft.previous)?), draft.seq),
            _ => (None, draft.seq),
        };
        let author = self.authors.get(draft.author).ok_or(FrameError::Malformed("an unknown author"))?;
        Ok(Header {
            kind: if draft.has(RULES) { Kind::Rules } else { Kind::Documents },
            continues: draft.has(CONTINUES),
            space: (draft.previous() != GENESIS).then_some(*self.space),
            author: AuthorId(*author),
            seq,
            previous,
            parents: parents.iter().map(|parent| self.named(*parent)).collect::<Result<_, _>>()?,
            time: draft.time,
            // Of a body that is here the hash is never taken from the sender.
            body_hash: match draft.body_hash {
                Some(hash) => *hash,
                None => body_hash(draft.body.unwrap_or_default()),
            },
            body_length: draft.body_length,
            body_encoding: if draft.has(SEALED) { BodyEncoding::Sealed } else { BodyEncoding::Plain },
            extensions: draft.extensions.map_or_else(Header::no_extensions, <[u8]>::to_vec),
        })
    }

    // The commit behind a reference; `ids` ends just before the commit that makes it.
    fn named(&self, reference: u64) -> Result<CommitId, FrameError> {
        let number = usize::try_from(reference >> 1).unwrap_or(usize::MAX);
        let id = if reference & 1 == 0 {
            self.ids.iter().nth_back(number).copied()
        } else {
            self.outside.get(number).copied().map(CommitId)
        };
        id.ok_or(FrameError::Malformed("a reference to nothing"))
    }
}

impl Draft<'_> {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn previous(&self) -> u8 {
        self.flags & PREVIOUS
    }
}

// What has not been read yet.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn bytes(&mut self, length: usize) -> Result<&'b [u8], FrameError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(FrameError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<&'b [u8; N], FrameError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(FrameError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, FrameError> {
        let cut_off = self.0.len() < 10 && self.0.iter().all(|byte| byte & 0x80 != 0);
        let otherwise = || match cut_off {
            true => FrameError::Truncated,
            false => FrameError::Malformed("a number that is not in its shortest form"),
        };
        let (number, rest) = take(self.0).ok_or_else(otherwise)?;
        self.0 = rest;
        Ok(number)
    }

    fn below(&mut self, limit: u64, otherwise: &'static str) -> Result<u64, FrameError> {
        let number = self.number()?;
        if number < limit { Ok(number) } else { Err(FrameError::Malformed(otherwise)) }
    }

    // A count of things of at least `least` bytes each, all of which must still be there.
    fn count(&mut self, least: usize) -> Result<usize, FrameError> {
        let count = usize::try_from(self.number()?).map_err(|_| FrameError::Truncated)?;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.0.len() => Ok(count),
            _ => Err(FrameError::Truncated),
        }
    }

    fn ids(&mut self) -> Result<&'b [[u8; 32]], FrameError> {
        let count = self.count(32)?;
        let (ids, _) = self.bytes(count * 32)?.as_chunks();
        Ok(ids)
    }
}
