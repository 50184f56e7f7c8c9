//! A network in memory that counts the commits which come in, so that a test sees what comes twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless_core::frame;
use driftless_core::id::{PeerId, SpaceId};
use driftless_core::session::{Message, take_number};
use driftless_net::{
    Address, BoxFuture, Connection, Listener, MemoryNetwork, MemoryTransport, NetError, Receiver, Transport,
};

/// Commits in the frames that a side receives, over all of its connections.
#[derive(Clone)]
pub(crate) struct Counted {
    inner: MemoryTransport,
    commits: Arc<AtomicU64>,
}

impl Counted {
    pub(crate) fn new(network: &MemoryNetwork, peer: PeerId) -> Self {
        Self { inner: network.transport(peer), commits: Arc::default() }
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    fn on(&self, connection: Connection) -> Connection {
        let receiver = Box::new(Ear { inner: connection.receiver, commits: self.commits.clone() });
        Connection { receiver, ..connection }
    }
}

impl Transport for Counted {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, NetError>> {
        Box::pin(async move { Ok(self.on(self.inner.dial(address).await?)) })
    }

    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Listener>, NetError>> {
        Box::pin(async move {
            let inner = self.inner.listen(address).await?;
            Ok(Box::new(Door { inner, counted: self.clone() }) as Box<dyn Listener>)
        })
    }
}

struct Door {
    inner: Box<dyn Listener>,
    counted: Counted,
}

impl Listener for Door {
    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetError>> {
        Box::pin(async move { Ok(self.counted.on(self.inner.accept().await?)) })
    }

    fn address(&self) -> Address {
        self.inner.address()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

struct Ear {
    inner: Box<dyn Receiver>,
    commits: Arc<AtomicU64>,
}

impl Receiver for Ear {
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, NetError>> {
        Box::pin(async move {
            let received = self.inner.recv().await?;
            let message = received.as_ref().and_then(|bytes| take_number(bytes));
            if let Some((_, message)) = message
                && let Ok(Message::Data { frame, .. }) = Message::decode(message)
            {
                // Whose space it is plays no part in how many there are.
                let commits = frame::decode(&SpaceId([0; 32]), &frame).unwrap().len();
                self.commits.fetch_add(commits as u64, Ordering::SeqCst);
            }
            Ok(received)
        })
    }

    fn limit(&mut self, bytes: usize) {
        self.inner.limit(bytes);
    }
}
