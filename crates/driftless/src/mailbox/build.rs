//! Commits of the log into the frames of an object, leaving out what is in the mailbox already. The same positions give
//! the same bytes, so that an object that was lost can be made again under its name.

use driftless_core::frame::FrameBuilder;
use driftless_core::limits::{FRAME_TARGET, MAX_FRAME_COMMITS};
use driftless_store::Storage;

use super::row::Runs;
use super::{MailboxCommit, MailboxFilter};
use crate::error::Error;
use crate::feed::push_if;
use crate::state::replica::Replica;
use crate::tables::layout::LogSeq;

/// The commits of one object.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub frames: Vec<Vec<u8>>,
    pub runs: Runs,
    /// Which of them without their contents.
    pub thin: Runs,
    /// How far the log was looked through.
    pub upto: LogSeq,
}

/// Where an object ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub bytes: usize,
    pub commits: u64,
}

/// Frames of the commits after `from`, up to `to`, without those that `skip` names. At least one commit, if there is one:
/// what is larger than a batch is an object of its own.
pub(super) fn build(
    storage: &dyn Storage,
    replica: &Replica,
    (from, to): (LogSeq, LogSeq),
    skip: &dyn Fn(LogSeq) -> bool,
    most: Most,
    filter: Option<&MailboxFilter>,
) -> Result<Built, Error> {
    let mut built = Built { upto: from, ..Built::default() };
    let mut bytes = 0;
    while built.upto < to && bytes < most.bytes && built.runs.count() < most.commits {
        let room = usize::try_from(most.commits - built.runs.count()).unwrap_or(MAX_FRAME_COMMITS);
        let (frame, positions, scanned) = frame(storage, replica, (built.upto, to), skip, room, filter)?;
        built.upto = scanned;
        for (at, whole) in positions {
            built.runs.insert(at);
            if !whole {
                built.thin.insert(at);
            }
        }
        if let Some(frame) = frame {
            bytes += frame.len();
            built.frames.push(frame);
        }
    }
    Ok(built)
}

// Of each position, whether its content is in the frame.
type Framed = (Option<Vec<u8>>, Vec<(LogSeq, bool)>, LogSeq);

fn frame(
    storage: &dyn Storage,
    replica: &Replica,
    (from, to): (LogSeq, LogSeq),
    skip: &dyn Fn(LogSeq) -> bool,
    room: usize,
    filter: Option<&MailboxFilter>,
) -> Result<Framed, Error> {
    let mut most = MAX_FRAME_COMMITS;
    loop {
        let (mut builder, mut positions, mut scanned) = (FrameBuilder::new(replica.id), Vec::new(), from);
        let mut full = false;
        for at in from + 1..=to {
            // A frame ends only where every commit in it is vouched for.
            let large = builder.size() >= FRAME_TARGET || positions.len() >= room;
            let enough = !builder.is_empty() && !builder.unvouched() && large;
            if enough || builder.len() >= most {
                break;
            }
            // What vouches for the one before is needed, whether it is there already or not.
            if !builder.unvouched() && skip(at) {
                scanned = at;
                continue;
            }
            let keep = |header: &driftless_core::commit::Header| {
                filter.is_none_or(|filter| MailboxCommit::keeps(filter, header))
            };
            let Some(pushed) = push_if(storage, replica, at, &mut builder, keep)? else {
                full = true;
                break;
            };
            positions.push((at, pushed.whole));
            scanned = at;
        }
        if full && builder.unvouched() && (1..builder.len()).contains(&builder.closed()) {
            most = builder.closed();
            continue;
        }
        let frame = (!builder.is_empty()).then(|| builder.finish());
        return Ok((frame, positions, scanned));
    }
}
