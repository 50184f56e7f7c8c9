//! A connection with a proven peer. A task writes: it alone holds the sealing key, so records leave in the order of
//! their nonces. Reading is done by whoever calls `recv`, so that who does not read slows the other side down.

use std::sync::Arc;
use std::time::Duration;

use driftless_core::id::PeerId;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout, timeout_at};

use super::HttpOptions;
use super::greeting::Arrival;
use super::socket::{Incoming, Outgoing, Packet, Socket};
use crate::compression::Encodings;
use crate::framing::{self, Joined, Joiner};
use crate::gate::{PLACE_LOST, Slot, has_to_leave};
use crate::noise::{Channel, MAX_PAYLOAD, Opener, Sealer};
use crate::outbound::{self, Fate, Order, Orders, end};
use crate::transport::{BoxFuture, Connection, MAX_FRAME, NetError, Receiver, UNPROVEN_FRAME};

/// How long a side that has closed waits for the other to take its last bytes.
pub(super) const LINGER: Duration = Duration::from_secs(5);
/// Starts to write and gives the two halves out.
pub(super) fn connect(
    peer: PeerId,
    encodings: Encodings,
    channel: Channel,
    socket: Socket,
    arrival: Arrival,
    options: &HttpOptions,
) -> Connection {
    let fate = Arc::new(Fate::new(None));
    let (sender, ordered) = outbound::queue(options.outbound, fate.clone());
    let (give_back, given_back) = oneshot::channel();
    let mut pings = interval_at(Instant::now() + options.ping, options.ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let writer = Writer {
        outgoing: socket.outgoing,
        sealer: channel.sealer,
        encodings,
        ordered,
        pings,
        stall: options.stall,
        fate: fate.clone(),
        given_back,
        slot: arrival.slot.clone(),
    };
    tokio::spawn(writer.run());
    let receiver = HttpReceiver {
        incoming: Some(socket.incoming),
        opener: channel.opener,
        joiner: Joiner::new(MAX_PAYLOAD, UNPROVEN_FRAME),
        heard: Instant::now(),
        idle: options.idle,
        fate,
        give_back: Some(give_back),
        slot: arrival.slot,
    };
    let (sender, receiver) = (Box::new(sender), Box::new(receiver));
    Connection { peer, source: arrival.source, sender, receiver, meter: arrival.meter }
}

struct Writer {
    outgoing: Outgoing,
    sealer: Sealer,
    encodings: Encodings,
    ordered: Orders,
    pings: Interval,
    stall: Duration,
    fate: Arc<Fate>,
    given_back: oneshot::Receiver<Incoming>,
    slot: Option<Arc<Slot>>,
}

impl Writer {
    async fn run(mut self) {
        let fate = self.fate.clone();
        let mut ending = fate.subscribe();
        let slot = self.slot.clone();
        let ended = tokio::select! {
            ended = self.write_until_closed() => Some(ended),
            () = has_to_leave(slot.as_deref()) => Some(Err(PLACE_LOST)),
            // One of the halves knows that all is over.
            _ = ending.wait_for(Option::is_some) => None,
        };
        self.ordered.close();
        match ended {
            Some(Ok(())) => {
                self.linger().await;
                end(&fate, Err(NetError::Closed));
            }
            // The socket is broken, but the end that the other side sent may still wait in it: reading finds out.
            Some(Err(NetError::Closed)) | None => {}
            Some(Err(error)) => end(&fate, Err(error)),
        }
    }

    // Ends well only after a close.
    async fn write_until_closed(&mut self) -> Result<(), NetError> {
        loop {
            tokio::select! {
                order = self.ordered.next() => match order {
                    Some(Order::Frame(frame, share)) => {
                        self.write_frame(&frame).await?;
                        drop(share);
                        if self.ordered.is_empty() {
                            self.flush().await?;
                        }
                    }
                    Some(Order::Close(left)) => {
                        self.write_record(&framing::END).await?;
                        self.put(Packet::Close).await?;
                        self.flush().await?;
                        let _ = left.send(());
                        return Ok(());
                    }
                    // The sending half ends the connection when it is dropped.
                    None => return Err(NetError::Closed),
                },
                _ = self.pings.tick() => {
                    self.put(Packet::Ping).await?;
                    self.flush().await?;
                }
            }
        }
    }

    async fn write_frame(&mut self, frame: &[u8]) -> Result<(), NetError> {
        for payload in framing::cut(frame, self.encodings, MAX_PAYLOAD) {
            self.write_record(&payload).await?;
        }
        Ok(())
    }

    async fn write_record(&mut self, payload: &[u8]) -> Result<(), NetError> {
        let record = self.sealer.seal(payload)?;
        self.put(Packet::Record(record.into())).await
    }

    async fn put(&mut self, packet: Packet) -> Result<(), NetError> {
        timeout(self.stall, self.outgoing.feed(packet)).await.unwrap_or(Err(TOO_SLOW))
    }

    async fn flush(&mut self) -> Result<(), NetError> {
        timeout(self.stall, self.outgoing.flush()).await.unwrap_or(Err(TOO_SLOW))
    }

    // A socket that is closed while bytes wait in it to be read resets the connection, and the other side could lose
    // the end it was sent. So what still arrives is read, for a while, once nobody else reads.
    async fn linger(self) {
        let _ = timeout(LINGER, async {
            if let Ok(mut incoming) = self.given_back.await {
                while let Some(Ok(_)) = incoming.next().await {}
            }
        })
        .await;
    }
}

const TOO_SLOW: NetError = NetError::Timeout("the other side takes too long to receive");
const SILENT: NetError = NetError::Timeout("the other side has been silent for too long");

struct HttpReceiver {
    incoming: Option<Incoming>,
    opener: Opener,
    joiner: Joiner,
    heard: Instant,
    idle: Duration,
    fate: Arc<Fate>,
    give_back: Option<oneshot::Sender<Incoming>>,
    slot: Option<Arc<Slot>>,
}

impl HttpReceiver {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, NetError> {
        loop {
            let Some(incoming) = &mut self.incoming else { return Err(NetError::Closed) };
            // What has arrived is looked at before the clock is.
            let packet = timeout_at(self.heard + self.idle, incoming.next()).await.map_err(|_| SILENT)?;
            self.heard = Instant::now();
            match packet.transpose()? {
                Some(Packet::Record(record)) => match self.joiner.push(&self.opener.open(&record)?)? {
                    Joined::Part => {}
                    Joined::Frame(frame) => return Ok(Some(frame)),
                    Joined::End => return Ok(None),
                },
                Some(Packet::Ping | Packet::Pong) => {}
                // Anybody on the way can close a WebSocket; only the end inside a record is the peer's.
                Some(Packet::Close) | None => return Err(NetError::Closed),
            }
        }
    }
}

impl Receiver for HttpReceiver {
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, NetError>> {
        Box::pin(async move {
            if let Some(fate) = &*self.fate.borrow() {
                return fate.clone().map(|()| None);
            }
            let mut ending = self.fate.subscribe();
            let next = tokio::select! {
                biased;
                next = self.next() => next,
                _ = ending.wait_for(Option::is_some) => Err(NetError::Closed),
            };
            match next {
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => end(&self.fate, Ok(())),
                Err(error) => end(&self.fate, Err(error)),
            }
            // The writer drops its half as well, and with both the socket goes.
            self.incoming = None;
            match &*self.fate.borrow() {
                Some(fate) => fate.clone().map(|()| None),
                None => Err(NetError::Closed),
            }
        })
    }

    fn limit(&mut self, bytes: usize) {
        self.joiner.limit = bytes.min(MAX_FRAME);
        if let Some(slot) = self.slot.as_ref().filter(|_| bytes > UNPROVEN_FRAME) {
            slot.prove();
        }
    }
}

impl Drop for HttpReceiver {
    fn drop(&mut self) {
        if let (Some(incoming), Some(give_back)) = (self.incoming.take(), self.give_back.take()) {
            let _ = give_back.send(incoming);
        }
    }
}
