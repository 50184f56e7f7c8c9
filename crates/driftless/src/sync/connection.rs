//! One connection at work: moves frames between the network, the session and the host, until it ends.
//!
//! It decides nothing. Database work runs where it may block, several answers in one go as long as they are small; the
//! network never waits for it longer than that, or one frame.

use std::collections::VecDeque;
use std::time::Duration;

use driftless_core::id::SpaceId;
use driftless_core::limits::SESSION_WINDOW;
use driftless_core::session::{Ask, Event, Output, Session};
use driftless_net::{Connection, MAX_FRAME, NetError, Receiver, Sender, Traffic};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::Instrument;

use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::met::{Agreed, Met};

use crate::sync::command::{Command, News};
use crate::sync::follow::Ears;
use crate::sync::host::Host;
use crate::sync::routes::{Changed, Ear};
use crate::sync::stream::Moved;
use crate::walk;

/// How long a peer may take to say who it is and to prove its keys.
const GREETING: Duration = Duration::from_secs(10);
/// Bytes that may wait here while we wait for the peer to take ours: what an honest peer sends unasked, twice.
const INBOX: usize = 2 * SESSION_WINDOW;

/// Answers of the database in one go, and bytes to be sent that may wait for the next of them: waking another thread and
/// being woken by it costs more than most answers do.
const ANSWERS: usize = 16;
const WAITING: usize = 16 * 1024;
/// What hides how long the work for an answer took: it depends on whether a space is here, and in memory.
const VEIL: Duration = Duration::from_millis(5);

/// Runs a connection to its end. `ear` hears of spaces that its host follows, `idle` since when no space is open. `state` is there for the caller to end, however this ends.
pub(crate) async fn run(
    connection: Connection,
    state: &mut Option<(Session, Host)>,
    ear: &Ear,
    mut commands: mpsc::Receiver<Command>,
    mut ears: Ears,
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
    // Long work that goes on after everything else had its turn.
    let mut held: Option<Ask> = None;
    let (mut outputs, mut failed) = (VecDeque::new(), None);
    loop {
        // Whatever the last input led to goes out before the next one is taken.
        loop {
            let Some((session, host)) = state.as_mut() else { return Err(stopped()) };
            let output = match outputs.pop_front() {
                Some(output) => output,
                // Nothing is asked of a database that failed, and what it answered before has been said.
                None => match (failed.take(), session.poll()) {
                    (Some(error), _) => return Err(error),
                    (None, Some(output)) => output,
                    (None, None) => break,
                },
            };
            match output {
                Output::Send(bytes) => {
                    let step = walk::send(&peer, bytes.len());
                    let sent = inbox.while_sending(sender.as_mut(), bytes, receiver.as_mut());
                    let sent = sent.instrument(step);
                    if greeted {
                        sent.await?;
                    } else {
                        tokio::time::timeout_at(deadline, sent).await.map_err(|_| silent())??;
                    }
                }
                Output::Ask(ask @ Ask::Go { .. }) => {
                    held = Some(ask);
                    break;
                }
                Output::Ask(ask) => {
                    let Some(ask) = host.answer_at_once(session, ask) else { continue };
                    let knocked = matches!(ask, Ask::Request { .. }).then(Instant::now);
                    let now;
                    (outputs, failed, now) = work(state, |session, host| answer(session, host, ask)).await?;
                    if let Some(knocked) = knocked {
                        tokio::time::sleep_until(knocked + veiled(knocked.elapsed())).await;
                    }
                    if std::mem::replace(&mut progress, now) != now {
                        ears.tell(News::Moved);
                    }
                }
                Output::Event(event) => {
                    if matches!(event, Event::Proven(_)) {
                        receiver.limit(MAX_FRAME);
                        greeted = true;
                        ears.proven();
                    }
                    if let Event::Changed(changed) = event {
                        ears.changed(changed);
                        continue;
                    }
                    let met = match &event {
                        Event::Proven(authors) => Some(Met { authors: authors.clone(), ..Met::default() }),
                        Event::Settled(space) => {
                            let position =
                                state.as_ref().map(|(_, host)| host.reached(space)).unwrap_or_default();
                            let at_ms = notes.read(|engine| Ok(engine.now()))?;
                            let agreed = [(*space, Agreed { space: *space, position, at_ms })].into();
                            Some(Met { agreed, ..Met::default() })
                        }
                        Event::Unchanged(spaces) => {
                            let reached = state.as_ref().map(|(_, host)| host.reached_before(spaces));
                            let reached = reached.transpose()?.unwrap_or_default();
                            let at_ms = notes.read(|engine| Ok(engine.now()))?;
                            let agreed = reached.into_iter();
                            let agreed = agreed
                                .map(|(space, position)| (space, Agreed { space, position, at_ms }))
                                .collect();
                            Some(Met { agreed, ..Met::default() })
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
                    let guarded = || {
                        let free = |engine: &mut Engine| {
                            Some(same.iter().all(|space| !engine.guards.is_restored(space)))
                        };
                        ours.glance(free) != Some(true)
                    };
                    if !same.is_empty() && peer != us && guarded() {
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
                        ears.tell(told);
                    }
                }
            }
        }
        let Some((session, host)) = state.as_ref() else { return Err(stopped()) };
        let owes = host.owes();
        let open = session.spaces().next().is_some() || session.is_pulling() || session.is_asking();
        idle.send_if_modified(|since| {
            let changes = open == since.is_some();
            if changes {
                *since = (!open).then(Instant::now);
            }
            changes
        });
        let input = tokio::select! {
            frame = inbox.next(receiver.as_mut()) => match frame? {
                Some(frame) => Input::Frame(frame),
                None => return Ok(()),
            },
            command = commands.recv() => Input::Command(command),
            changed = ear.next() => Input::Changed(changed),
            () = tokio::time::sleep_until(deadline), if !greeted => return Err(silent()),
            // One of these at a time, and a step of long work after each.
            () = std::future::ready(()), if held.is_some() => Input::Nothing,
            // What came is made durable together with all that is there already: unless it is ready now, it is not.
            () = tokio::task::yield_now(), if owes => Input::Nothing,
        };
        if owes && !input.is_data() {
            let done = |session: &mut Session, host: &mut Host| (VecDeque::new(), host.acknowledge(session));
            (_, failed, _) = work(state, done).await?;
            if let Some(error) = failed.take() {
                return Err(error);
            }
        }
        let Some((session, _)) = state.as_mut() else { return Err(stopped()) };
        match input {
            Input::Nothing => {}
            Input::Frame(frame) => session.handle_frame(&frame).map_err(Error::from)?,
            Input::Command(command) => match command {
                Some(Command::Open(space, pass)) => session.open(space, pass),
                Some(Command::Pull(space, cursor, budget, wanted)) => {
                    session.pull_with(space, cursor, budget, wanted);
                }
                Some(Command::OpenAll(spaces)) => session.open_all(&spaces),
                Some(Command::Close(space)) => session.close(&space),
                Some(Command::Request(request)) => session.request(*request),
                Some(Command::Discover(after)) => session.discover(after),
                Some(Command::Shared(after, pass)) => session.shared(after, pass),
                Some(Command::Find(lookup)) => session.find(lookup),
                Some(Command::Tell(spaces)) => session.tell(spaces),
                Some(Command::End) | None => {
                    sender.close().await?;
                    return Ok(());
                }
            },
            Input::Changed(Changed::Space(space)) => session.changed(&space),
            Input::Changed(Changed::Any) => session.missed(),
        }
        if let Some(ask) = held.take() {
            (outputs, failed, _) = work(state, |session, host| answer(session, host, ask)).await?;
        }
    }
}

// What a connection waits for.
enum Input {
    Frame(Vec<u8>),
    Command(Option<Command>),
    Changed(Changed),
    Nothing,
}

impl Input {
    fn is_data(&self) -> bool {
        matches!(self, Self::Frame(frame) if Session::is_data(frame))
    }
}

// Does what the session asks where it may block; gives what is to be done then, why it failed, and how much moved so far.
async fn work(
    state: &mut Option<(Session, Host)>,
    asked: impl FnOnce(&mut Session, &mut Host) -> (VecDeque<Output>, Result<(), Error>) + Send + 'static,
) -> Result<(VecDeque<Output>, Option<Error>, u64), Error> {
    let Some((mut session, mut host)) = state.take() else { return Err(stopped()) };
    let work = tokio::task::spawn_blocking(move || {
        let (outputs, answered) = asked(&mut session, &mut host);
        (session, host, outputs, answered)
    });
    let (session, host, outputs, answered) = work.await.map_err(|_| stopped())?;
    let moved = host.moved.progress();
    *state = Some((session, host));
    Ok((outputs, answered.err(), moved))
}

// Answers a question, and those that follow from it; gives what is to be done meanwhile, in order. News end it: they are
// told while everything is as they say.
fn answer(session: &mut Session, host: &mut Host, mut ask: Ask) -> (VecDeque<Output>, Result<(), Error>) {
    let (mut outputs, mut waiting) = (VecDeque::new(), 0);
    for _ in 0..ANSWERS {
        if let Err(error) = host.answer(session, ask) {
            return (outputs, Err(error));
        }
        ask = loop {
            match session.poll() {
                // Others come first, and what it took to answer is hidden of each by itself.
                Some(Output::Ask(next @ (Ask::Go { .. } | Ask::Request { .. }))) => {
                    outputs.push_back(Output::Ask(next));
                    return (outputs, Ok(()));
                }
                Some(Output::Ask(next)) => break next,
                Some(Output::Send(bytes)) => {
                    waiting += bytes.len();
                    outputs.push_back(Output::Send(bytes));
                }
                Some(event) => {
                    outputs.push_back(event);
                    return (outputs, Ok(()));
                }
                None => return (outputs, Ok(())),
            }
        };
        if waiting > WAITING {
            break;
        }
    }
    outputs.push_back(Output::Ask(ask));
    (outputs, Ok(()))
}

// When the answer to a request for access leaves: after a multiple of `VEIL`, and never at once.
fn veiled(work: Duration) -> Duration {
    let veils = work.as_micros() / VEIL.as_micros() + 1;
    VEIL.saturating_mul(u32::try_from(veils).unwrap_or(u32::MAX))
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
        Event::Proven(_) | Event::Changed(_) => return None,
        Event::Settled(space) => News::Settled(space, moved(&space), traffic),
        Event::Unchanged(spaces) => News::Unchanged(spaces, traffic),
        Event::Later(space) => News::Later(space),
        Event::Closed(space) => News::Closed(space),
        Event::Declined(space, reason, _) => News::Declined(space, reason),
        Event::Stalled(space) => News::Stalled(space, moved(&space), traffic),
        Event::Answered(space, answer) => News::Answered(space, answer),
        Event::Found(spaces, more) => News::Found(spaces, more),
        Event::Located(located) => News::Located(located),
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
