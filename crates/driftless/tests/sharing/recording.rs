//! A transport that keeps every frame that came in, after it was decrypted and unpacked, and from whom.

use std::sync::{Arc, Mutex};

use driftless::{Address, PeerId};
use driftless_net::{BoxFuture, Connection, Listener, NetError, Receiver, Transport};

/// Frames, and who sent them.
pub(crate) type Frames = Arc<Mutex<Vec<(PeerId, Vec<u8>)>>>;

pub(crate) struct Recording {
    pub inner: Arc<dyn Transport>,
    pub frames: Frames,
}

fn record(connection: Connection, frames: &Frames) -> Connection {
    let Connection { peer, source, sender, receiver, meter } = connection;
    let receiver = Box::new(Hearing { peer, inner: receiver, frames: frames.clone() });
    Connection { peer, source, sender, receiver, meter }
}

impl Transport for Recording {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, NetError>> {
        Box::pin(async move { Ok(record(self.inner.dial(address).await?, &self.frames)) })
    }

    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Listener>, NetError>> {
        Box::pin(async move {
            let inner = self.inner.listen(address).await?;
            Ok(Box::new(Listening { inner, frames: self.frames.clone() }) as Box<dyn Listener>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

struct Listening {
    inner: Box<dyn Listener>,
    frames: Frames,
}

impl Listener for Listening {
    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetError>> {
        Box::pin(async move { Ok(record(self.inner.accept().await?, &self.frames)) })
    }

    fn address(&self) -> Address {
        self.inner.address()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

struct Hearing {
    peer: PeerId,
    inner: Box<dyn Receiver>,
    frames: Frames,
}

impl Receiver for Hearing {
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, NetError>> {
        Box::pin(async move {
            let frame = self.inner.recv().await?;
            if let Some(frame) = &frame {
                self.frames.lock().unwrap().push((self.peer, frame.clone()));
            }
            Ok(frame)
        })
    }

    fn limit(&mut self, bytes: usize) {
        self.inner.limit(bytes);
    }
}
