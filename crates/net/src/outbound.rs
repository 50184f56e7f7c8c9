//! The half of a connection that sends, for adapters whose frames leave in a task of their own: a queue with bounded
//! bytes, and how the connection ended, which both halves and the task know. What writes the frames is not known here.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::transport::{BoxFuture, MAX_FRAME, NetError, Sender};

/// What a frame in the queue costs besides its bytes, so that empty frames do not queue without end.
const FRAME_OVERHEAD: usize = 64;

/// How the connection ended, told to both halves: cleanly by the other side, or why not.
pub(crate) type Fate = watch::Sender<Option<Result<(), NetError>>>;

/// The first word on how it ended stands.
pub(crate) fn end(fate: &Fate, how: Result<(), NetError>) {
    fate.send_if_modified(|fate| {
        let first = fate.is_none();
        fate.get_or_insert(how);
        first
    });
}

/// A queue of at most `bytes`, or of one frame: the half for who sends, and the one for the task that writes.
pub(crate) fn queue(bytes: usize, fate: Arc<Fate>) -> (Outbound, Orders) {
    let room = Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
    // Bounded by `room`: what is in it holds a permit, but for one close.
    let (orders, ordered) = mpsc::unbounded_channel();
    let sender = Outbound { orders, room: room.clone(), bytes, fate, has_closed: false };
    (sender, Orders { ordered, room })
}

/// What is to be written next.
pub(crate) enum Order {
    /// A frame, and its share of the queue until it has left.
    Frame(Vec<u8>, OwnedSemaphorePermit),
    /// The end, and whom to tell when it has left.
    Close(oneshot::Sender<()>),
}

/// The end of the queue where frames leave.
pub(crate) struct Orders {
    ordered: mpsc::UnboundedReceiver<Order>,
    room: Arc<Semaphore>,
}

impl Orders {
    /// The next one; `None` when the sending half is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Order> {
        self.ordered.recv().await
    }

    /// Whether nothing waits now.
    #[cfg(feature = "http")]
    pub(crate) fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    /// Takes no more, and wakes whoever waits in `send`.
    pub(crate) fn close(&mut self) {
        self.room.close();
        self.ordered.close();
    }
}

/// The end of the queue where frames are handed over.
pub(crate) struct Outbound {
    orders: mpsc::UnboundedSender<Order>,
    room: Arc<Semaphore>,
    bytes: usize,
    fate: Arc<Fate>,
    has_closed: bool,
}

impl Outbound {
    fn ended(&self) -> NetError {
        match &*self.fate.borrow() {
            Some(Err(error)) => error.clone(),
            Some(Ok(())) | None => NetError::Closed,
        }
    }
}

impl Sender for Outbound {
    fn send(&mut self, frame: Vec<u8>) -> BoxFuture<'_, Result<(), NetError>> {
        Box::pin(async move {
            if frame.len() > MAX_FRAME {
                return Err(NetError::TooLarge { size: frame.len(), limit: MAX_FRAME });
            }
            if self.has_closed || self.fate.borrow().is_some() {
                return Err(self.ended());
            }
            // A queue smaller than a frame holds one frame.
            let cost = (frame.len() + FRAME_OVERHEAD).min(self.bytes);
            let cost = u32::try_from(cost).unwrap_or(u32::MAX);
            let share = self.room.clone().acquire_many_owned(cost).await.map_err(|_| self.ended())?;
            self.orders.send(Order::Frame(frame, share)).map_err(|_| self.ended())
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), NetError>> {
        Box::pin(async move {
            if self.has_closed || *self.fate.borrow() == Some(Ok(())) {
                return Ok(());
            }
            let (left, has_left) = oneshot::channel();
            self.orders.send(Order::Close(left)).map_err(|_| self.ended())?;
            self.has_closed = true;
            // The other side may have closed at the same time.
            has_left.await.or_else(|_| match &*self.fate.borrow() {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => Err(error.clone()),
                None => Err(NetError::Closed),
            })
        })
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        if !self.has_closed {
            end(&self.fate, Err(NetError::Closed));
        }
    }
}
