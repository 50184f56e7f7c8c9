//! What goes on after it was asked for: live queries and what sync does. Each is a task of its own that ends with its
//! client, by `cancel`, or because nobody reads it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftless::{SyncEvent, Watch, WatchEvent, WatchKind};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::arguments::Arguments;
use crate::desk::Desk;
use crate::limits::{MAX_WATCHED, TOGETHER};
use crate::outbox::{Gone, Outbox};
use crate::refusal::Refusal;

/// How a stream ends.
pub(crate) enum End {
    /// There is no more.
    Over,
    /// It could not go on.
    Failed(Refusal),
    /// Nobody is there any more.
    Gone,
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// Where one stream puts its events.
pub(crate) struct Events<'o> {
    pub(crate) id: u64,
    pub(crate) outbox: &'o Outbox,
    pub(crate) slow: Duration,
}

impl Events<'_> {
    async fn put(&self, event: Value) -> Result<(), End> {
        match timeout(self.slow, self.outbox.put(json!({"id": self.id, "event": event}))).await {
            Ok(put) => Ok(put?),
            Err(_) => Err(End::Failed(Refusal::new(
                429,
                "slow_reader",
                "nobody took what this stream tells",
                "read faster, or watch fewer documents; asking again begins with everything",
            ))),
        }
    }
}

/// A live query.
pub(crate) async fn watch(desk: &Desk, arguments: Arguments, events: &Events<'_>) -> End {
    match watch_on(desk, arguments, events).await {
        Ok(()) => End::Over,
        Err(end) => end,
    }
}

async fn watch_on(desk: &Desk, arguments: Arguments, events: &Events<'_>) -> Result<(), End> {
    let begun = desk.work(move |backend| {
        let collection = backend.collection(&arguments.text("space")?, &arguments.text("collection")?)?;
        let filter = arguments.filter()?;
        if collection.count(filter.clone())? > MAX_WATCHED {
            let message = format!("more than {MAX_WATCHED} documents match");
            return Err(Refusal::too_large(
                message,
                "watch a part of them, or `find` with `limit` and `skip`",
            ));
        }
        Ok(collection.watch(filter)?)
    });
    let mut watch = begun.await.map_err(End::Failed)?;
    while watch.ready().await {
        let (back, told) = desk.work(move |_| take(watch)).await.map_err(End::Failed)?;
        watch = back;
        for event in told {
            events.put(line(&event)).await?;
        }
    }
    Ok(())
}

// Some of what there is, without waiting.
fn take(mut watch: Watch) -> Result<(Watch, Vec<WatchEvent>), Refusal> {
    let mut told = Vec::new();
    while told.len() < TOGETHER
        && let Some(event) = watch.wait_for(Duration::ZERO)?
    {
        told.push(event);
    }
    Ok((watch, told))
}

fn line(event: &WatchEvent) -> Value {
    let kind = match event.kind {
        WatchKind::Insert => "insert",
        WatchKind::Update => "update",
        WatchKind::Delete => "delete",
        WatchKind::Ready => "ready",
    };
    json!({
        "kind": kind,
        "id": event.id,
        "document": event.document,
        "origin": event.source.map(driftless::Source::word),
    })
}

/// What sync does.
pub(crate) async fn events(desk: &Desk, events: &Events<'_>) -> End {
    let mut heard = match desk.backend.network() {
        Ok(network) => network.events(),
        Err(refusal) => return End::Failed(refusal),
    };
    while let Some(event) = heard.next().await {
        if let Some(event) = told(event)
            && let Err(end) = events.put(event).await
        {
            return end;
        }
    }
    End::Over
}

fn told(event: SyncEvent) -> Option<Value> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Some(match event {
        SyncEvent::Connected { peer, dialed } => {
            json!({"kind": "connected", "time": time, "peer": peer, "dialed": dialed})
        }
        SyncEvent::Disconnected { peer, error } => {
            json!({"kind": "disconnected", "time": time, "peer": peer, "error": error})
        }
        SyncEvent::DialFailed { peer, error } => {
            json!({"kind": "dial_failed", "time": time, "peer": peer, "error": error})
        }
        SyncEvent::Exchange { peer, space, moved, bytes, error } => json!({
            "kind": "exchange",
            "time": time,
            "peer": peer,
            "space": space,
            "sent": moved.sent,
            "received": moved.received,
            "applied": moved.applied,
            "held": moved.held,
            "void": moved.void,
            "wanted": moved.wanted,
            "refused": moved.refused,
            "declined": moved.declined,
            "bytes": bytes,
            "error": error,
        }),
        SyncEvent::Missed(count) => json!({"kind": "missed", "time": time, "count": count}),
        // What a later library tells besides.
        _ => return None,
    })
}
