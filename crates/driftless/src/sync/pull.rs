//! Pages for peers that pull, and pages that were pulled. It must not know of connections.

use driftless_core::broken::{Broken, is as is_broken};
use driftless_core::id::{AuthorId, CommitId, PeerId, SpaceId};
use driftless_core::session::{Cursor, Fed};

use crate::database::Database;
use crate::error::Error;
use crate::feed::{self, Page, TakenFrames, TakenPage};
use crate::served::{Look, Served};
use crate::tables::cursor;
use crate::tables::layout::LogSeq;

/// What an honest peer does not get wrong.
pub(super) const FORGED: [&str; 3] = ["bad_header", "bad_signature", "bad_body"];

/// What a peer that has proven these keys gets.
pub(crate) fn feed(
    database: &Database,
    (peer, space, keys): (&PeerId, &SpaceId, &[AuthorId]),
    cursor: Option<&Cursor>,
    budget: u64,
    wanted: &[CommitId],
) -> Result<Fed, Error> {
    database.as_said((peer, space, keys), Look::Durable, |engine, said| {
        if !engine.load(space)? {
            return Ok(Some(Fed::Withheld));
        }
        match engine.serves(space, keys, said)? {
            Served::Ask => return Ok(None),
            Served::Yes => {}
            Served::No | Served::Unless => return Ok(Some(Fed::Withheld)),
        }
        Ok(Some(match engine.at_once(|engine| feed::page(engine, space, cursor, budget, wanted))? {
            Ok(Page { frames, cursor, more, .. }) => Fed::Page { frames, cursor, more },
            Err(now) => Fed::Stale(now),
        }))
    })
}

/// Takes a page of a peer, and with it, in one durable step, notes where the next one begins. Also says where our log
/// ends now, and which commits are new.
pub(crate) fn take(
    database: &Database,
    peer: &PeerId,
    space: &SpaceId,
    frames: &[Vec<u8>],
    cursor: &Cursor,
) -> Result<(TakenPage, LogSeq, Vec<CommitId>), Error> {
    database.write(|engine| {
        let TakenFrames { mut page, reasons, new } = feed::take(engine, space, frames)?;
        // A bit that flipped on the peer's disk or on the way: what was meant has to come again.
        page.unreadable += reasons.iter().filter(|reason| FORGED.contains(reason)).count() as u64;
        if !engine.load(space)? {
            return Ok((page, 1, new));
        }
        let storage = engine.storage.as_mut();
        let known = cursor::read(storage, peer, space)?;
        if (page.is_whole() || is_broken(Broken::CursorPastFailure)) && known != Some(*cursor) {
            cursor::write(storage, peer, space, cursor)?;
            engine.staged();
        } else if page.early > 0 && known.is_some() {
            cursor::remove(storage, peer, space)?;
            engine.staged();
        }
        let next = engine.parts(space)?.1.next;
        Ok((page, next, new))
    })
}
