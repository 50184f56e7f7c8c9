//! What was not admitted, and why: a bounded table keyed by the hash of the bytes received, never by an id they claim,
//! so that junk cannot stand in the way of the true commit.

use std::ops::{Bound, ControlFlow};

use driftless_core::commit::{Header, HeaderError, Received, VouchError};
use driftless_core::id::{AuthorId, SpaceId, base32};
use driftless_core::verdict::Refusal;
use driftless_store::{Key, Order, Storage};

use crate::error::Error;
use crate::tables::layout::{self, Bytes, put_bytes, put_number};

/// Rows kept; the oldest go first. A peer that sends junk must not fill the disk.
const MAX_ROWS: usize = 1000;
/// Rows that go at once when there is no more room, so that a flood is not sorted anew for each of its rows.
const DROPPED: usize = 256;

/// Why received bytes did not become a commit in the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reason {
    /// The bytes themselves are wrong.
    Vouch(VouchError),
    /// The rules did not let the author do that.
    Rules(Refusal),
    /// A commit of a space that is not here, without the space's genesis.
    UnknownSpace,
    /// The beginning of a space for which there is no room.
    TooManySpaces,
    /// Not later than its parents.
    Time,
    /// `previous` is not the author's commit with the number before.
    Chain,
    /// A transaction of too many commits, or one that goes on with rules.
    Run,
    /// A rule commit whose body is missing or does not decode.
    Body,
    /// Parents that never came.
    MissingParent,
    /// A piece of a file that is not a commit at all.
    Unreadable(&'static str),
}

impl Reason {
    /// Newer than this version knows: put off, not wrong.
    pub(crate) fn is_declined(&self) -> bool {
        matches!(self, Self::Vouch(VouchError::Header(HeaderError::Newer(_))))
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Vouch(VouchError::Header(HeaderError::Newer(_))) => "newer_version",
            Self::Vouch(VouchError::Header(_)) => "bad_header",
            Self::Vouch(VouchError::Signature) => "bad_signature",
            Self::Vouch(VouchError::Unvouched) => "unsigned",
            Self::Vouch(VouchError::Body) => "bad_body",
            Self::Rules(_) => "not_permitted",
            Self::UnknownSpace => "unknown_space",
            Self::TooManySpaces => "too_many_spaces",
            Self::Time => "bad_time",
            Self::Chain => "bad_chain",
            Self::Run => "bad_transaction",
            Self::Body => "bad_rule_body",
            Self::MissingParent => "missing_parent",
            Self::Unreadable(_) => "unreadable",
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Vouch(why) => why.to_string(),
            Self::Rules(why) => why.to_string(),
            Self::UnknownSpace => "its space is not here; import the space from its beginning".into(),
            Self::TooManySpaces => "this database holds as many spaces as it can; forget one first".into(),
            Self::Time => "its time is not after that of its parents".into(),
            Self::Chain => "its previous commit is not its author's commit before it".into(),
            Self::Run => "its transaction has too many commits".into(),
            Self::Body => "its rules are missing or do not decode".into(),
            Self::MissingParent => "commits before it are missing".into(),
            Self::Unreadable(what) => (*what).into(),
        }
    }
}

/// One line of what was refused.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedLine {
    /// Hash of the bytes received.
    pub hash: String,
    /// The space it claimed, if it claimed one.
    pub space: Option<SpaceId>,
    /// The author it claimed, if it claimed one. Nothing is proven by that.
    pub author: Option<AuthorId>,
    /// A stable word.
    pub code: String,
    /// One sentence.
    pub reason: String,
    /// Bytes received.
    pub bytes: u64,
    /// When it first came, Unix milliseconds of this machine.
    pub at_ms: u64,
    /// How often it came.
    pub times: u64,
}

/// What refused bytes say of themselves; nothing of it is proven.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    pub space: Option<SpaceId>,
    pub author: Option<AuthorId>,
    pub bytes: u64,
}

impl Claims {
    /// What a header says of itself.
    pub(crate) fn of(header: Option<&Header>, bytes: usize) -> Self {
        Self {
            space: header.and_then(|header| header.space),
            author: header.map(|header| header.author),
            bytes: bytes as u64,
        }
    }
}

/// What received bytes say of themselves.
pub(crate) fn claims(received: &Received) -> Claims {
    let size = received.header.len() + received.body.as_ref().map_or(0, Vec::len);
    Claims::of(Header::decode(&received.header).ok().as_ref(), size)
}

/// How many refusals are noted, once they were counted.
#[derive(Debug, Default)]
pub(crate) struct Room(Option<usize>);

impl Room {
    // Before a row that is new.
    fn make(&mut self, storage: &mut dyn Storage) -> Result<(), Error> {
        let mut rows = match self.0 {
            Some(rows) => rows,
            None => list(storage)?.len(),
        };
        if rows >= MAX_ROWS {
            let left = MAX_ROWS - DROPPED;
            for line in list(storage)?.iter().skip(left) {
                if let Some(hash) = driftless_core::id::from_base32(&line.hash) {
                    storage.remove(&layout::REFUSED, hash.as_slice().into())?;
                }
            }
            rows = left;
        }
        self.0 = Some(rows + 1);
        Ok(())
    }
}

/// Notes a refusal; one that came before is only counted.
pub(crate) fn note(
    storage: &mut dyn Storage,
    room: &mut Room,
    hash: [u8; 32],
    reason: &Reason,
    claims: &Claims,
    now: u64,
) -> Result<(), Error> {
    let before = storage.get(&layout::REFUSED, hash.as_slice().into())?;
    if before.is_none() {
        room.make(storage)?;
    }
    let before = before.and_then(|row| decode(&hash, &row));
    let (at_ms, times) = before.map_or((now, 1), |line| (line.at_ms, line.times.saturating_add(1)));
    let mut row = Vec::new();
    for number in [at_ms, times, claims.bytes] {
        put_number(&mut row, number);
    }
    put_bytes(&mut row, claims.space.as_ref().map_or(&[], |id| id.0.as_slice()));
    put_bytes(&mut row, claims.author.as_ref().map_or(&[], |id| id.0.as_slice()));
    put_bytes(&mut row, reason.code().as_bytes());
    put_bytes(&mut row, reason.text().as_bytes());
    storage.put(&layout::REFUSED, hash.as_slice().into(), &row)?;
    Ok(())
}

/// Everything noted, the newest first.
pub(crate) fn list(storage: &dyn Storage) -> Result<Vec<RefusedLine>, Error> {
    let mut lines = Vec::new();
    let visit = &mut |key: Key<'_>, row: &[u8]| {
        if let Key::Bytes(hash) = key {
            lines.extend(hash.try_into().ok().and_then(|hash| decode(&hash, row)));
        }
        ControlFlow::Continue(())
    };
    storage.range(&layout::REFUSED, Bound::Unbounded, Bound::Unbounded, Order::Ascending, visit)?;
    lines.sort_by(|a, b| b.at_ms.cmp(&a.at_ms).then_with(|| a.hash.cmp(&b.hash)));
    Ok(lines)
}

pub(crate) fn decode(hash: &[u8; 32], row: &[u8]) -> Option<RefusedLine> {
    let mut row = Bytes(row);
    let (at_ms, times, bytes) = (row.number()?, row.number()?, row.number()?);
    Some(RefusedLine {
        hash: base32(hash),
        at_ms,
        times,
        bytes,
        space: row.bytes()?.try_into().ok().map(SpaceId),
        author: row.bytes()?.try_into().ok().map(AuthorId),
        code: row.text()?.to_owned(),
        reason: row.text()?.to_owned(),
    })
}
