//! A network in memory that counts what is said, and the commits which come in: so a test sees what comes twice.

use std::sync::{Arc, Mutex};

use driftless_core::id::PeerId;
use driftless_core::session::{Message, take_number};
use driftless_net::{
    Address, BoxFuture, Connection, Listener, MemoryNetwork, MemoryTransport, NetError, Receiver, Sender,
    Transport,
};

/// What went over all connections of a side.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    /// Bytes of greetings, and of all other messages.
    pub(crate) greeting: u64,
    pub(crate) bytes: u64,
    /// The same up to the first frame of commits.
    pub(crate) before: Option<u64>,
    /// Commits in the frames that came in.
    pub(crate) commits: u64,
}

/// The transport of one side.
#[derive(Clone)]
pub(crate) struct Counted {
    inner: MemoryTransport,
    said: Arc<Mutex<Said>>,
}

impl Counted {
    pub(crate) fn new(network: &MemoryNetwork, peer: PeerId) -> Self {
        Self { inner: network.transport(peer), said: Arc::default() }
    }

    pub(crate) fn commits(&self) -> u64 {
        self.said.lock().unwrap().commits
    }

    /// What was said since this was asked last.
    pub(crate) fn take(&self) -> Said {
        std::mem::take(&mut self.said.lock().unwrap())
    }

    fn on(&self, connection: Connection) -> Connection {
        let receiver = Box::new(Ear { inner: connection.receiver, said: self.said.clone() });
        let sender = Box::new(Mouth { inner: connection.sender, said: self.said.clone() });
        Connection { receiver, sender, ..connection }
    }
}

impl Said {
    fn count(&mut self, bytes: &[u8], incoming: bool) {
        let message = take_number(bytes).map(|(_, message)| Message::decode(message));
        let length = bytes.len() as u64;
        match message {
            Some(Ok(Message::Hello { .. } | Message::Proof(_))) => return self.greeting += length,
            Some(Ok(Message::Data { frame, .. })) => {
                self.before.get_or_insert(self.bytes);
                if incoming {
                    // How many there are stands behind the version.
                    self.commits += take_number(&frame[1..]).unwrap().0;
                }
            }
            _ => {}
        }
        self.bytes += length;
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
    said: Arc<Mutex<Said>>,
}

impl Receiver for Ear {
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, NetError>> {
        Box::pin(async move {
            let received = self.inner.recv().await?;
            if let Some(bytes) = &received {
                self.said.lock().unwrap().count(bytes, true);
            }
            Ok(received)
        })
    }

    fn limit(&mut self, bytes: usize) {
        self.inner.limit(bytes);
    }
}

struct Mouth {
    inner: Box<dyn Sender>,
    said: Arc<Mutex<Said>>,
}

impl Sender for Mouth {
    fn send(&mut self, frame: Vec<u8>) -> BoxFuture<'_, Result<(), NetError>> {
        self.said.lock().unwrap().count(&frame, false);
        self.inner.send(frame)
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), NetError>> {
        self.inner.close()
    }
}
