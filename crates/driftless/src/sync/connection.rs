//! One connection at work: moves frames between the network, the session and the host, until it ends.
//!
//! It decides nothing. Database work runs where it may block; the network never waits for it longer than one frame.

use std::collections::VecDeque;
use std::time::Duration;

use driftless_core::id::SpaceId;
use driftless_core::limits::SESSION_WINDOW;
use driftless_core::session::{Cursor, Event, Output, Pass, PullEnd, Session};
use driftless_net::{Connection, MAX_FRAME, NetError, Receiver, Sender, Traffic};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

use crate::error::Error;
use crate::met::{Agreed, Met};

use crate::sync::host::{Host, Moved};

/// How long a peer may take to say who it is and to prove its keys.
const GREETING: Duration = Duration::from_secs(10);
/// Bytes that may wait here while we wait for the peer to take ours: what an honest peer sends unasked, twice.
const INBOX: usize = 2 * SESSION_WINDOW;

/// What the owner of a connection may ask of it.
#[derive(Debug)]
pub(crate) enum Command {
    /// Begin the exchange of a space.
    Open(SpaceId, Option<Pass>),
    /// Pull what came after a cursor, in pages of so many bytes.
    Pull(SpaceId, Option<Cursor>, u64),
    /// Begin the exchange of many spaces.
    OpenAll(Vec<SpaceId>),
    /// Say goodbye and end.
    End,
}

/// What a connection tells its owner.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// A space is the same on both sides; what moved so far.
    Settled(SpaceId, Moved, Traffic),
    /// Spaces are the same on both sides, as they were at the last meeting.
    Unchanged(Vec<SpaceId>, Traffic),
    /// A space did not fit into this session.
    Later(SpaceId),
    /// The peer does not open a space, or not any more.
    Closed(SpaceId),
    /// The peer wants no more of a space for now, and says why.
    Declined(SpaceId, String),
    /// Commits went over that the other side did not have.
    Moved,
    /// The exchange came to nothing more.
    Stalled(SpaceId, Moved, Traffic),
    /// A pull came to its end.
    Pulled(SpaceId, PullEnd, Moved, Traffic),
}

/// Runs a connection to its end. `changed` names spaces in which something became durable; `None` is any. `idle` hears
/// since when no space is open. `state` is there for the caller to end, however this ends.
pub(crate) async fn run(
    connection: Connection,
    state: &mut Option<(Session, Host)>,
    mut changed: broadcast::Receiver<Option<SpaceId>>,
    mut commands: mpsc::Receiver<Command>,
    news: mpsc::UnboundedSender<News>,
    idle: &watch::Sender<Option<Instant>>,
) -> Result<(), Error> {
    let Connection { peer, mut sender, mut receiver, meter, .. } = connection;
    let Some(database) = state.as_ref().map(|(_, host)| host.database().clone()) else {
        return Err(stopped());
    };
    let (us, ours) = (database.peer()?, database.clone());
    let notes = database;
    let mut inbox = Inbox::default();
    let deadline = Instant::now() + GREETING;
    let mut greeted = false;
    let mut progress = 0;
    loop {
        // Whatever the last input led to goes out before the next one is taken.
        loop {
            let Some((session, _)) = state.as_mut() else { return Err(stopped()) };
            let Some(output) = session.poll() else { break };
            match output {
                Output::Send(bytes) => {
                    let sent = inbox.while_sending(sender.as_mut(), bytes, receiver.as_mut());
                    if greeted {
                        sent.await?;
                    } else {
                        tokio::time::timeout_at(deadline, sent).await.map_err(|_| silent())??;
                    }
                }
                Output::Ask(ask) => {
                    let Some((mut session, mut host)) = state.take() else { return Err(stopped()) };
                    let work = tokio::task::spawn_blocking(move || {
                        let answered = host.answer(&mut session, ask);
                        (session, host, answered)
                    });
                    let (session, host, answered) = work.await.map_err(|_| stopped())?;
                    let now = host.moved.progress();
                    *state = Some((session, host));
                    answered?;
                    if std::mem::replace(&mut progress, now) != now {
                        let _ = news.send(News::Moved);
                    }
                }
                Output::Event(event) => {
                    if matches!(event, Event::Proven(_)) {
                        receiver.limit(MAX_FRAME);
                        greeted = true;
                    }
                    let met = match &event {
                        Event::Proven(authors) => Some(Met { authors: authors.clone(), agreed: Vec::new() }),
                        Event::Settled(space) => {
                            let position =
                                state.as_ref().map(|(_, host)| host.reached(space)).unwrap_or_default();
                            let at_ms = notes.read(|engine| Ok(engine.now()))?;
                            let agreed = vec![Agreed { space: *space, position, at_ms }];
                            Some(Met { authors: Vec::new(), agreed })
                        }
                        Event::Unchanged(spaces) => {
                            let reached = state.as_ref().map(|(_, host)| host.reached_before(spaces));
                            let reached = reached.transpose()?.unwrap_or_default();
                            let at_ms = notes.read(|engine| Ok(engine.now()))?;
                            let agreed = reached.into_iter();
                            let agreed =
                                agreed.map(|(space, position)| Agreed { space, position, at_ms }).collect();
                            Some(Met { authors: Vec::new(), agreed })
                        }
                        _ => None,
                    };
                    if let Some(met) = met {
                        notes.met_peer(peer, &met)?;
                    }
                    // Whoever has our own node key is the original of this copy, or another one, and in use.
                    let same: &[SpaceId] = match &event {
                        Event::Settled(space) => std::slice::from_ref(space),
                        Event::Unchanged(spaces) => spaces,
                        _ => &[],
                    };
                    if !same.is_empty() && peer != us {
                        let (database, spaces) = (ours.clone(), same.to_vec());
                        let lifted = tokio::task::spawn_blocking(move || {
                            spaces.iter().try_for_each(|space| database.caught_up(space))
                        });
                        lifted.await.map_err(|_| stopped())??;
                    }
                    let moved = |space: &SpaceId| {
                        state.as_ref().map(|(_, host)| host.moved_in(space)).unwrap_or_default()
                    };
                    if let Some(told) = tell(event, moved, meter.traffic()) {
                        // The owner may have lost interest; the exchange goes on for the peer's sake.
                        let _ = news.send(told);
                    }
                }
            }
        }
        let Some((session, _)) = state.as_mut() else { return Err(stopped()) };
        let open = session.spaces().next().is_some() || session.is_pulling();
        idle.send_if_modified(|since| {
            let changes = open == since.is_some();
            if changes {
                *since = (!open).then(Instant::now);
            }
            changes
        });
        tokio::select! {
            frame = inbox.next(receiver.as_mut()) => match frame? {
                Some(frame) => session.handle_frame(&frame).map_err(Error::from)?,
                None => return Ok(()),
            },
            () = tokio::time::sleep_until(deadline), if !greeted => return Err(silent()),
            command = commands.recv() => match command {
                Some(Command::Open(space, pass)) => session.open(space, pass),
                Some(Command::Pull(space, cursor, budget)) => session.pull(space, cursor, budget),
                Some(Command::OpenAll(spaces)) => session.open_all(&spaces),
                Some(Command::End) | None => {
                    sender.close().await?;
                    return Ok(());
                }
            },
            change = changed.recv() => match change {
                Ok(Some(space)) => session.changed(&space),
                // Too many to follow one by one: look at all of them.
                Ok(None) | Err(broadcast::error::RecvError::Lagged(_)) => session.missed(),
                Err(broadcast::error::RecvError::Closed) => {
                    sender.close().await?;
                    return Ok(());
                }
            },
        }
    }
}

// Frames that came while we were sending. Two sides that only send would wait for each other for ever.
#[derive(Default)]
struct Inbox {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    end: Option<Result<(), NetError>>,
}

impl Inbox {
    async fn next(&mut self, receiver: &mut dyn Receiver) -> Result<Option<Vec<u8>>, NetError> {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes = self.bytes.saturating_sub(frame.len());
            return Ok(Some(frame));
        }
        match &self.end {
            Some(end) => end.clone().map(|()| None),
            None => receiver.recv().await,
        }
    }

    async fn while_sending(
        &mut self,
        sender: &mut dyn Sender,
        bytes: Vec<u8>,
        receiver: &mut dyn Receiver,
    ) -> Result<(), Error> {
        let mut sent = sender.send(bytes);
        loop {
            let frame = tokio::select! {
                biased;
                done = &mut sent => return Ok(done?),
                frame = receiver.recv(), if self.end.is_none() => frame,
            };
            match frame {
                Ok(Some(frame)) if self.bytes + frame.len() <= INBOX && self.frames.len() < INBOX / 1024 => {
                    self.bytes += frame.len();
                    self.frames.push_back(frame);
                }
                Ok(Some(_)) => return Err(Error::Peer("the peer sends and does not read".into())),
                Ok(None) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
    }
}

fn silent() -> Error {
    Error::Peer("the peer did not say in time who it is".into())
}

fn tell(event: Event, moved: impl Fn(&SpaceId) -> Moved, traffic: Traffic) -> Option<News> {
    Some(match event {
        Event::Proven(_) => return None,
        Event::Settled(space) => News::Settled(space, moved(&space), traffic),
        Event::Unchanged(spaces) => News::Unchanged(spaces, traffic),
        Event::Later(space) => News::Later(space),
        Event::Closed(space) => News::Closed(space),
        Event::Declined(space, reason, _) => News::Declined(space, reason),
        Event::Stalled(space) => News::Stalled(space, moved(&space), traffic),
        Event::Pulled(space, end) => {
            let moved = moved(&space);
            News::Pulled(space, end, moved, traffic)
        }
    })
}

fn stopped() -> Error {
    Error::Poisoned("the work for a connection stopped".into())
}

#[cfg(test)]
mod tests {
    use driftless_core::id::PeerId;
    use driftless_net::pair;

    use super::*;

    // What becomes of a connection on which we wait to send while the other side sends these frames and reads nothing.
    async fn waits(frames: usize, bytes: usize) -> Result<(), Error> {
        let (mut ours, mut theirs) = pair(PeerId([1; 32]), PeerId([2; 32]));
        ours.receiver.limit(MAX_FRAME);
        let mut inbox = Inbox::default();
        let sending = async {
            loop {
                let sent = inbox.while_sending(ours.sender.as_mut(), vec![0], ours.receiver.as_mut());
                sent.await?;
            }
        };
        let hostile = async {
            for _ in 0..frames {
                theirs.sender.send(vec![0; bytes]).await.unwrap();
            }
            // Each time, we take what is on its way.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = sending => ended,
            () = hostile => Ok(()),
        }
    }

    #[tokio::test]
    async fn what_waits_while_we_send_is_bounded_by_number_and_by_bytes() {
        let (frames, mebibyte) = (INBOX / 1024, 1024 * 1024);
        for (count, bytes, taken) in [
            (frames - 1, 1, true),
            (frames, 1, true),
            (frames + 1, 1, false),
            (INBOX / mebibyte - 1, mebibyte, true),
            (INBOX / mebibyte, mebibyte, true),
            (INBOX / mebibyte + 1, mebibyte, false),
        ] {
            let waited = waits(count, bytes).await;
            assert_eq!(waited.is_ok(), taken, "{count} frames of {bytes} bytes: {waited:?}");
        }
    }
}
