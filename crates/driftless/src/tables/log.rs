//! The log: all commits of a space on this machine, in the order they arrived. Reads and appends rows and bodies.
//!
//! It decides nothing: a commit comes here after it was admitted. Rows are never changed once written.

use std::ops::{Bound, ControlFlow};

use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Kind, body_hash};
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_store::{Key, Order, Storage};

use crate::error::Error;
use crate::tables::layout::{self, LogKey, Row, State, id_key};

/// Appends a commit at `at`, with its body if it is here.
pub(crate) fn append(
    storage: &mut dyn Storage,
    at: LogKey,
    row: &Row,
    body: Option<&[u8]>,
    alike: Alike,
) -> Result<(), Error> {
    storage.put(&layout::LOG, at.0.into(), &row.encode(at.seq()))?;
    if let Some(body) = body {
        storage.put(&layout::BODY, at.0.into(), body)?;
    }
    let Alike(mut keys) = alike;
    keys.extend_from_slice(&at.0.to_be_bytes());
    storage.put(&layout::COMMIT_ID, id_key(&row.id).into(), &keys)?;
    Ok(())
}

/// The commits whose ids begin like one id: looked up once, when the commit comes to the door.
#[derive(Debug, Default)]
pub(crate) struct Alike(Vec<u8>);

impl Alike {
    pub(crate) fn of(storage: &dyn Storage, id: &CommitId) -> Result<Self, Error> {
        Ok(Self(storage.get(&layout::COMMIT_ID, id_key(id).into())?.unwrap_or_default()))
    }

    /// Where the commit itself stands in the log of `space`, if it is here.
    pub(crate) fn find(
        &self,
        storage: &dyn Storage,
        space: u32,
        id: &CommitId,
    ) -> Result<Option<(LogKey, Row)>, Error> {
        for chunk in self.0.as_chunks::<8>().0 {
            let at = LogKey(u64::from_be_bytes(*chunk));
            if at.space() == space {
                let row = row(storage, at)?;
                if row.id == *id {
                    return Ok(Some((at, row)));
                }
            }
        }
        Ok(None)
    }
}

/// Removes a commit from the index of ids.
pub(crate) fn forget_id(storage: &mut dyn Storage, at: LogKey, id: &CommitId) -> Result<(), Error> {
    let key = id_key(id).into();
    let keys = storage.get(&layout::COMMIT_ID, key)?.unwrap_or_default();
    let others = keys.as_chunks::<8>().0.iter().filter(|other| **other != at.0.to_be_bytes());
    let others = others.flatten().copied().collect::<Vec<u8>>();
    if others.is_empty() {
        storage.remove(&layout::COMMIT_ID, key)?;
    } else {
        storage.put(&layout::COMMIT_ID, key, &others)?;
    }
    Ok(())
}

/// Where a commit stands in the log of `space`.
pub(crate) fn find(storage: &dyn Storage, space: u32, id: &CommitId) -> Result<Option<(LogKey, Row)>, Error> {
    Alike::of(storage, id)?.find(storage, space, id)
}

/// Where the commits of a space stand whose ids begin with `prefix`.
pub(crate) fn with_prefix(
    storage: &dyn Storage,
    space: u32,
    prefix: &[u8; 8],
) -> Result<Vec<layout::LogSeq>, Error> {
    let mut id = CommitId([0; 32]);
    id.0[..8].copy_from_slice(prefix);
    let mut found = Vec::new();
    for chunk in Alike::of(storage, &id)?.0.as_chunks::<8>().0 {
        let at = LogKey(u64::from_be_bytes(*chunk));
        if at.space() == space && row(storage, at)?.id.0.starts_with(prefix) {
            found.push(at.seq());
        }
    }
    Ok(found)
}

/// The row at `at`, which must be there.
pub(crate) fn row(storage: &dyn Storage, at: LogKey) -> Result<Row, Error> {
    let bytes = storage.get(&layout::LOG, at.0.into())?;
    Row::decode(&bytes.ok_or_else(|| Error::damaged(format!("log row {} is missing", at.seq())))?, at.seq())
}

/// The body at `at`, if it is here.
pub(crate) fn body(storage: &dyn Storage, at: LogKey) -> Result<Option<Vec<u8>>, Error> {
    Ok(storage.get(&layout::BODY, at.0.into())?)
}

/// The body of a row; `None` if it never came. A row without the hash of its body came with it.
pub(crate) fn body_of(storage: &dyn Storage, at: LogKey, row: &Row) -> Result<Option<Vec<u8>>, Error> {
    match body(storage, at)? {
        None if row.body_hash.is_none() => Err(no_body(at)),
        body => Ok(body),
    }
}

fn no_body(at: LogKey) -> Error {
    Error::damaged(format!("the body of log row {} is missing", at.seq()))
}

/// What the body of a document commit does. One that is sealed or does not decode has no effect, the same everywhere.
pub(crate) fn decode_body(row: &Row, body: &[u8]) -> DocumentBody {
    match row.body_encoding {
        BodyEncoding::Plain => DocumentBody::decode(body).unwrap_or_default(),
        BodyEncoding::Sealed => DocumentBody::default(),
    }
}

/// The state of a commit, if it is not simply applied.
pub(crate) fn state(storage: &dyn Storage, at: LogKey) -> Result<Option<State>, Error> {
    storage.get(&layout::STATE, at.0.into())?.map(|bytes| State::decode(&bytes)).transpose()
}

/// Header and body of a row, as they would be sent: document bodies of void commits do not travel, rule bodies always.
pub(crate) fn parts(
    storage: &dyn Storage,
    space: &SpaceId,
    at: LogKey,
    row: &Row,
) -> Result<(Header, Option<Vec<u8>>), Error> {
    let body = body(storage, at)?;
    let header = header(storage, space, at, row, body.as_deref())?;
    let withheld =
        row.kind == Kind::Documents && matches!(state(storage, at)?, Some(State::Void | State::Retracted));
    Ok((header, if withheld { None } else { body }))
}

/// The header of a row, as it was signed.
pub(crate) fn header(
    storage: &dyn Storage,
    space: &SpaceId,
    at: LogKey,
    row: &Row,
    body: Option<&[u8]>,
) -> Result<Header, Error> {
    header_of(storage, space, at, row, body, author(storage, row.author)?)
}

/// The header of a row whose author is known.
pub(crate) fn header_of(
    storage: &dyn Storage,
    space: &SpaceId,
    at: LogKey,
    row: &Row,
    body: Option<&[u8]>,
    author: AuthorId,
) -> Result<Header, Error> {
    let id = |seq| -> Result<CommitId, Error> { Ok(self::row(storage, LogKey::new(at.space(), seq))?.id) };
    let mut parents = row.parents.iter().map(|seq| id(*seq)).collect::<Result<Vec<_>, _>>()?;
    parents.sort();
    let hash = row.body_hash.or_else(|| body.map(body_hash));
    Ok(Header {
        kind: row.kind,
        continues: row.continues,
        space: (row.id.0 != space.0).then_some(*space),
        author,
        seq: row.seq,
        previous: row.previous.map(id).transpose()?,
        parents,
        time: row.time,
        body_hash: hash.ok_or_else(|| no_body(at))?,
        body_length: row.body_length,
        body_encoding: row.body_encoding,
        extensions: if row.extensions.is_empty() { Header::no_extensions() } else { row.extensions.clone() },
    })
}

/// The key of an author's local number.
pub(crate) fn author(storage: &dyn Storage, number: u32) -> Result<AuthorId, Error> {
    let bytes = storage.get(&layout::AUTHOR, u64::from(number).into())?;
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map(AuthorId)
        .ok_or_else(|| Error::damaged("an author is missing"))
}

/// The local number of an author, made if it is new.
pub(crate) fn author_number(storage: &mut dyn Storage, author: &AuthorId) -> Result<u32, Error> {
    if let Some(number) = known_author(storage, author)? {
        return Ok(number);
    }
    let mut last = 0;
    storage.range(
        &layout::AUTHOR,
        Bound::Unbounded,
        Bound::Unbounded,
        Order::Descending,
        &mut |key, _| {
            if let Key::U64(number) = key {
                last = number;
            }
            ControlFlow::Break(())
        },
    )?;
    let number = u32::try_from(last + 1).map_err(|_| Error::Io("too many authors".into()))?;
    storage.put(&layout::AUTHOR, u64::from(number).into(), &author.0)?;
    storage.put(&layout::AUTHOR_ID, author.0.as_slice().into(), &number.to_be_bytes())?;
    Ok(number)
}

/// The local number of an author who wrote something here.
pub(crate) fn known_author(storage: &dyn Storage, author: &AuthorId) -> Result<Option<u32>, Error> {
    let bytes = storage.get(&layout::AUTHOR_ID, author.0.as_slice().into())?;
    bytes
        .map(|bytes| {
            bytes
                .try_into()
                .map(u32::from_be_bytes)
                .map_err(|_| Error::damaged("an author row does not decode"))
        })
        .transpose()
}
