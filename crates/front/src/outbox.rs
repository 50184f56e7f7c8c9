//! What waits for one client: bounded in bytes, so that who does not read is waited for, and not collected for.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::limits::OUTBOUND;
use crate::numbers::tame;

/// Room in which a signal fits, whatever it names.
const SOME: u32 = 64 * 1024;

/// The end that messages are put into. Clones share its room.
#[derive(Clone)]
pub(crate) struct Outbox {
    room: Arc<Semaphore>,
    messages: mpsc::UnboundedSender<(String, OwnedSemaphorePermit)>,
}

/// The end that a client is sent from. A message takes its room until it has left.
pub(crate) type Outgoing = mpsc::UnboundedReceiver<(String, OwnedSemaphorePermit)>;

/// The client is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

impl Outbox {
    pub(crate) fn new() -> (Self, Outgoing) {
        let (messages, outgoing) = mpsc::unbounded_channel();
        (Self { room: Arc::new(Semaphore::new(OUTBOUND)), messages }, outgoing)
    }

    /// Puts a message in, when there is room. One larger than all the room waits for all of it. Cancel-safe: it is in, or not.
    pub(crate) async fn put(&self, mut message: Value) -> Result<(), Gone> {
        tame(&mut message);
        self.put_text(message.to_string()).await
    }

    async fn put_text(&self, text: String) -> Result<(), Gone> {
        let bytes = u32::try_from(text.len().min(OUTBOUND)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(bytes).await.map_err(|_| Gone)?;
        self.messages.send((text, room)).map_err(|_| Gone)
    }

    /// Waits until there is some room.
    pub(crate) async fn has_room(&self) {
        let _ = self.room.acquire_many(SOME).await;
    }
}
