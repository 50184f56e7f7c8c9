//! A network within this process that tells bytes apart: what proves who is there, the commits, and all the rest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use driftless::{Address, PeerId};
use driftless_core::session::{Message, take_number};
use driftless_net::{
    BoxFuture, Connection, Listener, MemoryNetwork, MemoryTransport, NetError, Receiver, Sender, Transport,
};

/// Bytes of messages, both ways.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bytes {
    /// Greetings and proofs of keys.
    pub proofs: u64,
    /// Frames of commits.
    pub commits: u64,
    /// What is said to find out which commits to send, and that they have arrived.
    pub overhead: u64,
    /// The same before the first frame of commits.
    pub first: Option<u64>,
    /// Messages that are not proofs.
    pub messages: u64,
}

#[derive(Debug, Default)]
struct Counters {
    bytes: Mutex<Bytes>,
    // Frames whose message does not decode: a bench that miscounts says so.
    unknown: AtomicU64,
}

/// The transport of the side that dials; it counts both ways.
#[derive(Clone)]
pub(crate) struct Counted {
    inner: MemoryTransport,
    counters: Arc<Counters>,
}

impl Counted {
    pub(crate) fn new(network: &MemoryNetwork, peer: PeerId) -> Self {
        Self { inner: network.transport(peer), counters: Arc::default() }
    }

    /// What was said since this was asked last; `None` if there was something that is no message.
    pub(crate) fn take(&self) -> Option<Bytes> {
        let bytes = std::mem::take(&mut *self.counters.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        (self.counters.unknown.load(Ordering::Relaxed) == 0).then_some(bytes)
    }
}

impl Counters {
    fn count(&self, frame: &[u8]) {
        let length = frame.len() as u64;
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, message)) = take_number(frame) else {
            self.unknown.fetch_add(1, Ordering::Relaxed);
            return;
        };
        match Message::decode(message) {
            Ok(Message::Hello { .. } | Message::Proof(_)) => {
                bytes.proofs += length;
                return;
            }
            Ok(Message::Data { frame, .. }) => {
                bytes.first = bytes.first.or(Some(bytes.overhead));
                bytes.commits += frame.len() as u64;
                bytes.overhead += length - frame.len() as u64;
            }
            Ok(_) => bytes.overhead += length,
            Err(_) => drop(self.unknown.fetch_add(1, Ordering::Relaxed)),
        }
        bytes.messages += 1;
    }
}

impl Transport for Counted {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, NetError>> {
        Box::pin(async move {
            let connection = self.inner.dial(address).await?;
            let (sender, receiver) = (connection.sender, connection.receiver);
            let sender = Box::new(Ear { inner: sender, counters: self.counters.clone() });
            let receiver = Box::new(Ear { inner: receiver, counters: self.counters.clone() });
            Ok(Connection { sender, receiver, ..connection })
        })
    }

    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Listener>, NetError>> {
        self.inner.listen(address)
    }
}

struct Ear<T: ?Sized> {
    counters: Arc<Counters>,
    inner: Box<T>,
}

impl Sender for Ear<dyn Sender> {
    fn send(&mut self, frame: Vec<u8>) -> BoxFuture<'_, Result<(), NetError>> {
        self.counters.count(&frame);
        self.inner.send(frame)
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), NetError>> {
        self.inner.close()
    }
}

impl Receiver for Ear<dyn Receiver> {
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, NetError>> {
        Box::pin(async move {
            let frame = self.inner.recv().await?;
            if let Some(frame) = &frame {
                self.counters.count(frame);
            }
            Ok(frame)
        })
    }

    fn limit(&mut self, bytes: usize) {
        self.inner.limit(bytes);
    }
}
