//! Commits into a frame. The caller gives the order; what is out of order is written whole, and stays correct.
//!
//! A signature is left out where a later commit of the same frame vouches: the rule is that of `commit::vouch`.

use std::collections::HashMap;

use super::{
    BODY, CONTINUES, EXPLICIT, EXTENDED, FIRST, FRAME_VERSION, GENESIS, IMPLIED, RULES, SEALED, SIGNED,
};
use crate::clock::Timestamp;
use crate::commit::{BodyEncoding, Header, Kind, Vouched};
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::leb128::{fold_sign, put};
use crate::limits::{MAX_BODY, MAX_FRAME, MAX_FRAME_COMMITS, MAX_HEADER, MAX_PARENTS};
use crate::sign::Signature;

/// A commit to be sent, as it lies in the log.
#[derive(Debug, Clone, Copy)]
pub struct FrameCommit<'c> {
    /// The header.
    pub header: &'c Header,
    /// The hash of the header.
    pub id: CommitId,
    /// The author's signature, where it is known here.
    pub signature: Option<Signature>,
    /// The body, where it is here and shall travel. It must be the one that the header names: its hash is not sent.
    pub body: Option<&'c [u8]>,
}

impl<'c> From<&'c Vouched> for FrameCommit<'c> {
    fn from(commit: &'c Vouched) -> Self {
        let signature = commit.signature().map(|attached| attached.signature);
        Self { header: commit.header(), id: commit.id(), signature, body: commit.body() }
    }
}

/// Why a commit is not in the frame now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It is for the next frame. Never said by an empty one.
    #[error("the frame is full: finish it and begin another")]
    Full,
    /// It belongs to another space than the frame.
    #[error("the commit is of another space: begin a frame for that space")]
    Foreign,
    /// `Header::decode` would not take this header.
    #[error("the header is not valid: {0}")]
    Invalid(&'static str),
}

/// Collects commits of one space into one frame.
#[derive(Debug)]
pub struct FrameBuilder {
    space: SpaceId,
    authors: HashMap<AuthorId, Author>,
    author_table: Vec<u8>,
    outside: HashMap<CommitId, usize>,
    outside_table: Vec<u8>,
    inside: HashMap<CommitId, usize>,
    places: Vec<Place>,
    columns: Columns,
    time: Timestamp,
    spent: usize,
    // Commits for which nothing in the frame vouches, and the length of the longest beginning without any.
    unvouched: usize,
    closed: usize,
    signatures: usize,
}

#[derive(Debug, Clone, Copy)]
struct Author {
    index: usize,
    last: usize,
}

#[derive(Debug)]
struct Place {
    author: usize,
    seq: u64,
    signature: Option<Signature>,
    // The commit of this frame for which this one vouches, if it is vouched for itself.
    below: Option<usize>,
    // A vouched commit after it in this frame vouches for it.
    covered: bool,
}

#[derive(Debug, Default)]
struct Columns {
    flags: Vec<u8>,
    authors: Vec<u8>,
    seqs: Vec<u8>,
    previous: Vec<u8>,
    parent_counts: Vec<u8>,
    parents: Vec<u8>,
    milliseconds: Vec<u8>,
    counters: Vec<u8>,
    body_lengths: Vec<u8>,
    body_hashes: Vec<u8>,
    extension_lengths: Vec<u8>,
    extensions: Vec<u8>,
    bodies: Vec<u8>,
}

// Version and the three counts.
const HEAD: usize = 16;
const SIGNATURE: usize = 64;

impl FrameBuilder {
    /// An empty frame for commits of `space`.
    pub fn new(space: SpaceId) -> Self {
        Self {
            space,
            authors: HashMap::new(),
            author_table: Vec::new(),
            outside: HashMap::new(),
            outside_table: Vec::new(),
            inside: HashMap::new(),
            places: Vec::new(),
            columns: Columns::default(),
            time: Timestamp::default(),
            spent: HEAD,
            unvouched: 0,
            closed: 0,
            signatures: 0,
        }
    }

    /// Adds a commit; one that is refused leaves the frame as it was. A body of another length than the header says
    /// does not travel.
    pub fn push(&mut self, commit: FrameCommit<'_>) -> Result<(), PushError> {
        let header = commit.header;
        self.check(header)?;
        if header.is_genesis() && commit.id.0 != self.space.0 {
            return Err(PushError::Foreign);
        }
        let body = commit.body.filter(|body| body.len() == header.body_length as usize);
        let spent = self.spent + cost(header, body);
        if self.places.len() >= MAX_FRAME_COMMITS || spent > MAX_FRAME {
            return Err(PushError::Full);
        }
        self.spent = spent;

        let at = self.places.len();
        let before = self.authors.get(&header.author).copied();
        let author = before.map_or(self.authors.len(), |author| author.index);
        if before.is_none() {
            self.author_table.extend_from_slice(&header.author.0);
        }
        self.authors.insert(header.author, Author { index: author, last: at });

        let previous_at = header.previous.and_then(|previous| self.inside.get(&previous).copied());
        let below = previous_at.filter(|below| {
            let place = &self.places[*below];
            place.author == author && Some(place.seq) == header.seq.checked_sub(1)
        });
        let previous = match header.previous {
            None if header.is_genesis() => GENESIS,
            None => FIRST,
            Some(_) if below.is_some() && below == before.map(|author| author.last) => IMPLIED,
            Some(_) => EXPLICIT,
        };

        self.columns.flags.push(flags(header, body.is_some()) | previous);
        put(&mut self.columns.authors, author as u64);
        if previous != IMPLIED {
            put(&mut self.columns.seqs, header.seq);
        }
        if let (EXPLICIT, Some(id)) = (previous, &header.previous) {
            let reference = self.reference(at, id);
            put(&mut self.columns.previous, reference);
        }
        put(&mut self.columns.parent_counts, header.parents.len() as u64);
        for parent in &header.parents {
            let reference = self.reference(at, parent);
            put(&mut self.columns.parents, reference);
        }
        self.columns.time(self.time, header.time);
        self.columns.content(header, body);
        self.time = header.time;
        self.inside.insert(commit.id, at);
        let signature = commit.signature;
        self.places.push(Place { author, seq: header.seq, signature, below, covered: false });
        self.count_vouched(at);
        Ok(())
    }

    /// How many commits are in it.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no commit in it. Such a frame must not be sent; no receiver takes it.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of the frame if it were finished now: at most 16 too many. Cheap enough to ask after each commit.
    pub fn size(&self) -> usize {
        let columns: usize = self.columns.in_order().iter().map(|column| column.len()).sum();
        HEAD + self.author_table.len()
            + self.outside_table.len()
            + columns
            + self.columns.bodies.len()
            + self.signatures * SIGNATURE
    }

    /// Whether the frame must not be cut here: the last signature of some author's run is not in it, and the receiver
    /// would take the commits without one as unvouched.
    pub fn unvouched(&self) -> bool {
        self.unvouched > 0
    }

    /// How many of the first commits make a frame that can stand alone. If the frame is full while `unvouched`,
    /// exactly these are to be put in a frame of their own.
    pub fn closed(&self) -> usize {
        self.closed
    }

    /// The frame, with the signatures it needs: none for a commit for which a later one in it vouches.
    pub fn finish(self) -> Vec<u8> {
        self.write(|place| place.signature.filter(|_| !place.covered))
    }

    /// The frame, with every signature that was given.
    pub fn finish_keeping_signatures(self) -> Vec<u8> {
        self.write(|place| place.signature)
    }

    fn write(mut self, signature: impl Fn(&Place) -> Option<Signature>) -> Vec<u8> {
        let mut signatures = Vec::with_capacity(self.signatures * SIGNATURE);
        for (place, flags) in self.places.iter().zip(&mut self.columns.flags) {
            if let Some(signature) = signature(place) {
                *flags |= SIGNED;
                signatures.extend_from_slice(&signature.0);
            }
        }
        let mut out = Vec::with_capacity(self.size() + signatures.len());
        out.push(FRAME_VERSION);
        put(&mut out, self.places.len() as u64);
        put(&mut out, self.authors.len() as u64);
        out.extend_from_slice(&self.author_table);
        put(&mut out, self.outside.len() as u64);
        out.extend_from_slice(&self.outside_table);
        for column in self.columns.in_order() {
            out.extend_from_slice(column);
        }
        out.extend_from_slice(&signatures);
        out.extend_from_slice(&self.columns.bodies);
        out
    }

    // What has no place in the columns. Everything else about a header is the receiver's to judge.
    fn check(&self, header: &Header) -> Result<(), PushError> {
        if header.space.is_some_and(|space| space != self.space) {
            return Err(PushError::Foreign);
        }
        if header.is_genesis() && header.previous.is_some() {
            return Err(PushError::Invalid("a genesis with a commit before it"));
        }
        if header.parents.len() > MAX_PARENTS {
            return Err(PushError::Invalid("too many parents"));
        }
        if header.extensions.len() > MAX_HEADER {
            return Err(PushError::Invalid("extensions longer than a header"));
        }
        if header.body_length as usize > MAX_BODY {
            return Err(PushError::Invalid("a body longer than the limit"));
        }
        Ok(())
    }

    // Even: that many places back, less one. Odd: in the table of ids outside.
    fn reference(&mut self, at: usize, id: &CommitId) -> u64 {
        if let Some(place) = self.inside.get(id) {
            return 2 * (at - place - 1) as u64;
        }
        let next = self.outside.len();
        let table = &mut self.outside_table;
        let index = *self.outside.entry(*id).or_insert_with(|| {
            table.extend_from_slice(&id.0);
            next
        });
        2 * index as u64 + 1
    }

    // Each place is covered once, so all pushes together take time linear in their number.
    fn count_vouched(&mut self, at: usize) {
        let mut vouching = self.places.get(at);
        if vouching.is_none_or(|place| place.signature.is_none()) {
            self.unvouched += 1;
            return;
        }
        self.signatures += 1;
        while let Some(below) = vouching.and_then(|place| place.below) {
            let place = &mut self.places[below];
            if place.covered {
                break;
            }
            place.covered = true;
            if place.signature.is_some() {
                // What is under a signature was covered when that commit came.
                self.signatures -= 1;
                break;
            }
            self.unvouched -= 1;
            vouching = self.places.get(below);
        }
        if self.unvouched == 0 {
            self.closed = self.places.len();
        }
    }
}

impl Columns {
    // Between flags and signatures; bodies come last.
    fn in_order(&self) -> [&[u8]; 12] {
        [
            &self.flags,
            &self.authors,
            &self.seqs,
            &self.previous,
            &self.parent_counts,
            &self.parents,
            &self.milliseconds,
            &self.counters,
            &self.body_lengths,
            &self.extension_lengths,
            &self.extensions,
            &self.body_hashes,
        ]
    }

    // Milliseconds and counters apart: counters are nearly always as expected, and then a column of zeros.
    fn time(&mut self, before: Timestamp, time: Timestamp) {
        put(&mut self.milliseconds, fold_sign(time.ms() as i64 - before.ms() as i64));
        let expected = if time.ms() == before.ms() { before.counter().wrapping_add(1) } else { 0 };
        put(&mut self.counters, u64::from(time.counter().wrapping_sub(expected)));
    }

    fn content(&mut self, header: &Header, body: Option<&[u8]>) {
        put(&mut self.body_lengths, u64::from(header.body_length));
        if header.has_extensions() {
            put(&mut self.extension_lengths, header.extensions.len() as u64);
            self.extensions.extend_from_slice(&header.extensions);
        }
        match body {
            Some(body) => self.bodies.extend_from_slice(body),
            None => self.body_hashes.extend_from_slice(&header.body_hash),
        }
    }
}

// At least what the commit adds to the frame, and at least what it decodes into: a header's fixed parts are at most
// 166 bytes, a parent takes 34 in a header and 35 here.
fn cost(header: &Header, body: Option<&[u8]>) -> usize {
    170 + 36 * header.parents.len() + header.extensions.len() + SIGNATURE + body.map_or(0, <[u8]>::len)
}

fn flags(header: &Header, body: bool) -> u8 {
    let set = |bit, on| if on { bit } else { 0 };
    set(RULES, header.kind == Kind::Rules)
        | set(CONTINUES, header.continues)
        | set(BODY, body)
        | set(SEALED, header.body_encoding == BodyEncoding::Sealed)
        | set(EXTENDED, header.has_extensions())
}
