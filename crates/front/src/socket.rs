//! One client on a WebSocket: its operations side by side, its streams, and signals of what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use driftless::{Changes, Event, SpaceId};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::arguments::Arguments;
use crate::desk::Desk;
use crate::limits::{AT_WORK, FAREWELL, IDLE, IN_FLIGHT, NAMED, PING, SIGNALLED, STALL, STREAMS};
use crate::operation::{Operation, Work};
use crate::outbox::{Gone, Outbox, Outgoing};
use crate::refusal::Refusal;
use crate::stream::{self, End, Events};

/// What a client says.
#[derive(Deserialize)]
struct Request {
    id: u64,
    op: String,
    #[serde(default)]
    args: Option<Arguments>,
}

/// Streams by the id with which they were asked for, and how to end each.
#[derive(Default)]
struct Running(Mutex<HashMap<u64, Option<oneshot::Sender<()>>>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<oneshot::Sender<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Client {
    desk: Arc<Desk>,
    outbox: Outbox,
    running: Arc<Running>,
    in_flight: Arc<Semaphore>,
    at_work: Arc<Semaphore>,
}

/// Serves a client until it leaves, or `stop` comes.
pub(crate) async fn serve(socket: WebSocket, desk: Arc<Desk>, stop: impl Future<Output = ()> + Send) {
    let (sink, stream) = socket.split();
    let (outbox, outgoing) = Outbox::new();
    let changes = desk.backend.database.changes();
    let client = Client {
        desk,
        outbox: outbox.clone(),
        running: Arc::default(),
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
        at_work: Arc::new(Semaphore::new(AT_WORK)),
    };
    let (close, closing) = oneshot::channel();
    // Whoever ends first ends all: the client left, or takes nothing any more.
    let mut writing = tokio::spawn(write(sink, outgoing, closing));
    let signalling = signal(changes, &outbox);
    let code = tokio::select! {
        code = client.read(stream) => code,
        _ = &mut writing => return,
        _ = signalling => close_code::AWAY,
        () = stop => close_code::AWAY,
    };
    let _ = close.send(code);
    let _ = timeout(FAREWELL, writing).await;
}

async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut outgoing: Outgoing,
    mut closing: oneshot::Receiver<u16>,
) {
    let mut pings = interval_at(Instant::now() + PING, PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (message, _room) = tokio::select! {
            message = outgoing.recv() => match message {
                Some((text, room)) => (Message::Text(text.into()), Some(room)),
                None => return,
            },
            _ = pings.tick() => (Message::Ping(Default::default()), None),
            code = &mut closing => {
                let code = code.unwrap_or(close_code::NORMAL);
                let _ = sink.send(Message::Close(Some(CloseFrame { code, reason: Default::default() }))).await;
                // Where the client has closed, what answers it still waits to be sent.
                let _ = sink.close().await;
                return;
            }
        };
        match timeout(STALL, sink.send(message)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

impl Client {
    /// Takes what the client says until it has nothing more to say; gives the code to close with.
    async fn read(&self, mut stream: SplitStream<WebSocket>) -> u16 {
        let mut tasks = JoinSet::new();
        loop {
            // Whoever has asked for much waits until some of it is answered.
            let Ok(place) = self.in_flight.clone().acquire_owned().await else { return close_code::AWAY };
            while tasks.try_join_next().is_some() {}
            let message = loop {
                match timeout(IDLE, stream.next()).await {
                    Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                    Ok(Some(Ok(message))) => break message,
                    // What is too large or no WebSocket.
                    Ok(Some(Err(_))) => return close_code::SIZE,
                    Ok(None) | Err(_) => return close_code::NORMAL,
                }
            };
            let text = match message {
                Message::Text(text) => text,
                Message::Close(_) => return close_code::NORMAL,
                _ => return close_code::UNSUPPORTED,
            };
            match serde_json::from_str::<Request>(&text) {
                Ok(request) => self.begin(request, place, &mut tasks).await,
                Err(error) => {
                    let hint = "messages look like {\"id\": 1, \"op\": \"hello\", \"args\": {}}";
                    let refusal = Refusal::new(400, "invalid_message", error, hint);
                    if self.outbox.put(json!({"id": null, "error": refusal.to_json()})).await.is_err() {
                        return close_code::NORMAL;
                    }
                }
            }
        }
    }

    async fn begin(&self, request: Request, place: OwnedSemaphorePermit, tasks: &mut JoinSet<()>) {
        let Request { id, op, args } = request;
        let outbox = self.outbox.clone();
        let arguments = args.unwrap_or_default();
        if op == "cancel" {
            let cancelled = self.cancel(&arguments);
            let message = match cancelled {
                Ok(cancelled) => json!({"id": id, "ok": {"cancelled": cancelled}}),
                Err(refusal) => json!({"id": id, "error": refusal.to_json()}),
            };
            let _ = outbox.put(message).await;
            return;
        }
        let begun = Operation::find(&op, &arguments).and_then(|operation| match operation.work {
            Work::Watch | Work::Events => Ok((operation, Some(self.start(id)?))),
            _ => Ok((operation, None)),
        });
        let (operation, cancelled) = match begun {
            Ok(begun) => begun,
            Err(refusal) => {
                let _ = outbox.put(json!({"id": id, "error": refusal.to_json()})).await;
                return;
            }
        };
        let desk = self.desk.clone();
        let Some(cancelled) = cancelled else {
            let at_work = self.at_work.clone();
            tasks.spawn(async move {
                let _at_work = at_work.acquire_owned().await;
                let message = match desk.answer(operation, arguments).await {
                    Ok(answer) => json!({"id": id, "ok": answer}),
                    Err(refusal) => json!({"id": id, "error": refusal.to_json()}),
                };
                let _ = outbox.put(message).await;
                drop(place);
            });
            return;
        };
        drop(place);
        let running = self.running.clone();
        tasks.spawn(async move {
            let events = Events { id, outbox: &outbox, slow: desk.slow };
            let going = async {
                match operation.work {
                    Work::Watch => stream::watch(&desk, arguments, &events).await,
                    _ => stream::events(&desk, &events).await,
                }
            };
            let end = tokio::select! {
                end = going => end,
                _ = cancelled => End::Over,
            };
            running.lock().remove(&id);
            let message = match end {
                End::Over => json!({"id": id, "end": true}),
                End::Failed(refusal) => json!({"id": id, "error": refusal.to_json()}),
                End::Gone => return,
            };
            let _ = outbox.put(message).await;
        });
    }

    // Notes a stream, and gives what ends it.
    fn start(&self, id: u64) -> Result<oneshot::Receiver<()>, Refusal> {
        let mut running = self.running.lock();
        if running.contains_key(&id) {
            let hint = "give each operation an `id` that no other in flight has";
            return Err(Refusal::new(
                400,
                "invalid_message",
                format!("the stream {id} is there already"),
                hint,
            ));
        }
        if running.len() >= STREAMS {
            let message = format!("there are {STREAMS} streams on this connection");
            return Err(Refusal::new(
                429,
                "too_many_streams",
                message,
                "`cancel` some, or open another connection",
            ));
        }
        let (cancel, cancelled) = oneshot::channel();
        running.insert(id, Some(cancel));
        Ok(cancelled)
    }

    fn cancel(&self, arguments: &Arguments) -> Result<bool, Refusal> {
        let id = arguments.number("id")?;
        let id =
            id.ok_or_else(|| Refusal::arguments("the argument `id` is missing", "it is that of the stream"))?;
        let cancel = self.running.lock().get_mut(&id).and_then(Option::take);
        Ok(cancel.is_some_and(|cancel| cancel.send(()).is_ok()))
    }
}

/// Which collections changed, of each space and origin: `None` is any.
#[derive(Default)]
struct Signals {
    spaces: BTreeMap<(SpaceId, &'static str), Option<BTreeSet<String>>>,
    any: bool,
}

impl Signals {
    fn take(&mut self, event: Event) {
        let Event::Change(change) = event else {
            self.any = true;
            return;
        };
        for document in change.documents.iter() {
            let named = self
                .spaces
                .entry((change.space, document.source.word()))
                .or_insert_with(|| Some(BTreeSet::new()));
            if let Some(collections) = named {
                if !collections.contains(&*document.collection) {
                    collections.insert(document.collection.to_string());
                }
                if collections.len() > NAMED {
                    *named = None;
                }
            }
        }
        self.any |= self.spaces.len() > SIGNALLED;
    }

    fn messages(&mut self) -> Vec<Value> {
        let spaces = std::mem::take(&mut self.spaces);
        if std::mem::take(&mut self.any) {
            return vec![json!({"signal": SIGNAL, "space": null, "collections": null, "origin": null})];
        }
        let message = |((space, origin), collections): ((SpaceId, &str), Option<BTreeSet<String>>)| json!({"signal": SIGNAL, "space": space, "collections": collections, "origin": origin});
        spaces.into_iter().map(message).collect()
    }
}

const SIGNAL: &str = "document.changed";

// Ends with the database, or with the client.
async fn signal(mut changes: Changes, outbox: &Outbox) -> Result<(), Gone> {
    let mut signals = Signals::default();
    while let Some(event) = changes.next().await {
        signals.take(event);
        // While the client does not take what is there already, what comes is put together.
        let mut room = std::pin::pin!(outbox.has_room());
        loop {
            tokio::select! {
                biased;
                () = &mut room => break,
                event = changes.next() => match event {
                    Some(event) => signals.take(event),
                    None => return Ok(()),
                },
            }
        }
        for message in signals.messages() {
            outbox.put(message).await?;
        }
    }
    Ok(())
}
