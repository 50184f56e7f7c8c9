//! A connection with a proven peer: one stream both ways, in which each record has its length before it, two bytes. A
//! task writes and one reads, a few records ahead of `recv`, so that who does not read slows the other side down.
//!
//! The first record of each side is its greeting: the encodings that it reads, and what later versions add. The end of
//! QUIC's stream means nothing; only the end inside a record is the peer's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use driftless_core::id::PeerId;
use iroh::endpoint::{
    Connection as Quic, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::IrohOptions;
use super::endpoint::{Bound, PROVEN_WINDOW};
use crate::compression::Encodings;
use crate::framing::{self, Joined, Joiner};
use crate::gate::{PLACE_LOST, Slot, has_to_leave};
use crate::outbound::{self, Fate, Order, Orders, end};
use crate::transport::{BoxFuture, Connection, MAX_FRAME, Meter, NetError, Receiver, UNPROVEN_FRAME};

/// Bytes of the content of a record: few enough for a stranger's, enough that its length costs nothing.
const RECORD: usize = 16 * 1024;
/// Bytes of the length before a record.
const LENGTH: usize = 2;
/// Records that are read before `recv` asks for them.
const READ_AHEAD: usize = 2;
/// Bytes of the longest greeting.
const GREETING: usize = 64;
/// How long a side that has closed waits for the other to read its end.
const LINGER: Duration = Duration::from_secs(5);
/// Says with the end of the connection that the end inside a record was read.
const ENDED: VarInt = VarInt::from_u32(1);
/// Says that the connection is cut.
const CUT: VarInt = VarInt::from_u32(2);

const TOO_SLOW: NetError = NetError::Timeout("the other side takes too long to receive");
const SILENT: NetError = NetError::Timeout("the other side has been silent for too long");

/// What is known of a connection before its first record.
pub(super) struct Arrival {
    pub(super) peer: PeerId,
    pub(super) source: Option<IpAddr>,
    /// The place it takes at a listener.
    pub(super) slot: Option<Arc<Slot>>,
    pub(super) bound: Arc<Bound>,
}

/// Greets the other side, starts to write, and gives the two halves out. The caller bounds the time.
pub(super) async fn greet(
    options: &IrohOptions,
    quic: Quic,
    (mut outgoing, incoming): (SendStream, RecvStream),
    arrival: Arrival,
) -> Result<Connection, NetError> {
    let Arrival { peer, source, slot, bound } = arrival;
    let meter = Meter::default();
    let greeting = [Encodings::ours().0];
    outgoing.write_all(&[0, greeting.len() as u8, greeting[0]]).await.map_err(not_written)?;
    meter.add_sent(LENGTH + greeting.len());
    let mut records = Records::new(incoming, GREETING, meter.clone());
    // What later versions say after it is for those who know them.
    let theirs = records.next().await?.first().copied();
    let encodings = Encodings(theirs.ok_or(NetError::Protocol("an empty greeting"))?);
    records.longest = RECORD;

    let fate = Arc::new(Fate::new(None));
    let (sender, ordered) = outbound::queue(options.outbound, fate.clone());
    let (arriving, arrived) = mpsc::channel(READ_AHEAD);
    let writer = Writer {
        outgoing,
        quic: quic.clone(),
        encodings,
        ordered,
        stall: options.stall,
        fate: fate.clone(),
        meter: meter.clone(),
        slot: slot.clone(),
        _bound: bound.clone(),
    };
    tokio::spawn(writer.run());
    tokio::spawn(records.hand_over(arriving, quic.clone()));
    let receiver = IrohReceiver {
        arrived,
        joiner: Joiner::new(RECORD, UNPROVEN_FRAME),
        quic,
        fate,
        slot,
        _bound: bound,
    };
    let (sender, receiver) = (Box::new(sender), Box::new(receiver));
    Ok(Connection { peer, source, sender, receiver, meter })
}

fn lost(error: &ConnectionError) -> NetError {
    match error {
        ConnectionError::TimedOut => SILENT,
        _ => NetError::Closed,
    }
}

fn not_written(error: WriteError) -> NetError {
    match error {
        WriteError::ConnectionLost(error) => lost(&error),
        _ => NetError::Closed,
    }
}

fn not_read(error: ReadError) -> NetError {
    match error {
        ReadError::ConnectionLost(error) => lost(&error),
        _ => NetError::Closed,
    }
}

/// The records that arrive.
struct Records {
    incoming: RecvStream,
    // The length and as much of the record as is here.
    begun: Vec<u8>,
    longest: usize,
    meter: Meter,
}

impl Records {
    fn new(incoming: RecvStream, longest: usize, meter: Meter) -> Self {
        Self { incoming, begun: Vec::new(), longest, meter }
    }

    /// Hands all over that come, until nobody wants them any more, and keeps the stream for as long as the connection:
    /// without it the other side could not even send what nobody reads.
    async fn hand_over(mut self, arriving: mpsc::Sender<Result<Vec<u8>, NetError>>, quic: Quic) {
        loop {
            let record = tokio::select! {
                record = self.next() => record,
                () = arriving.closed() => break,
            };
            let last = record.is_err();
            if arriving.send(record).await.is_err() || last {
                break;
            }
        }
        quic.closed().await;
    }

    async fn next(&mut self) -> Result<Vec<u8>, NetError> {
        loop {
            let wanted = match *self.begun.as_slice() {
                [high, low, ..] => LENGTH + usize::from(u16::from_be_bytes([high, low])),
                _ => LENGTH,
            };
            if wanted > LENGTH + self.longest {
                return Err(NetError::Protocol("a record above its largest size"));
            }
            let missing = wanted.saturating_sub(self.begun.len());
            if missing == 0 && wanted >= LENGTH && self.begun.len() >= LENGTH {
                return Ok(std::mem::take(&mut self.begun).split_off(LENGTH));
            }
            match self.incoming.read_chunk(missing).await.map_err(not_read)? {
                Some(bytes) => {
                    self.meter.add_received(bytes.len());
                    self.begun.extend_from_slice(&bytes);
                }
                None => return Err(NetError::Closed),
            }
        }
    }
}

struct Writer {
    outgoing: SendStream,
    quic: Quic,
    encodings: Encodings,
    ordered: Orders,
    stall: Duration,
    fate: Arc<Fate>,
    meter: Meter,
    slot: Option<Arc<Slot>>,
    _bound: Arc<Bound>,
}

impl Writer {
    async fn run(mut self) {
        let (fate, quic) = (self.fate.clone(), self.quic.clone());
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
                // Whoever reads the end closes the connection; before, the end could be lost with it.
                let _ = timeout(LINGER, quic.closed()).await;
                end(&fate, Err(NetError::Closed));
            }
            // The end that the other side sent may still wait to be read: reading finds out.
            Some(Err(NetError::Closed)) => {
                let _ = timeout(LINGER, ending.wait_for(Option::is_some)).await;
                end(&fate, Err(NetError::Closed));
            }
            Some(Err(error)) => end(&fate, Err(error)),
            None => {}
        }
        let clean = *fate.borrow() == Some(Ok(()));
        quic.close(if clean { ENDED } else { CUT }, b"");
    }

    // Ends well only after a close.
    async fn write_until_closed(&mut self) -> Result<(), NetError> {
        loop {
            match self.ordered.next().await {
                Some(Order::Frame(frame, share)) => {
                    for payload in framing::cut(&frame, self.encodings, RECORD) {
                        self.write_record(payload).await?;
                    }
                    drop(share);
                }
                Some(Order::Close(left)) => {
                    self.write_record(framing::END.to_vec()).await?;
                    self.deliver().await?;
                    let _ = left.send(());
                    return Ok(());
                }
                // The sending half ends the connection when it is dropped.
                None => return Err(NetError::Closed),
            }
        }
    }

    async fn write_record(&mut self, payload: Vec<u8>) -> Result<(), NetError> {
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
        self.meter.add_sent(LENGTH + payload.len());
        let written = timeout(self.stall, async {
            self.outgoing.write_all(&length).await?;
            self.outgoing.write_chunk(payload.into()).await
        });
        written.await.map_err(|_| TOO_SLOW)?.map_err(not_written)
    }

    // Packets are sent by this process, which may be about to end: so the other side must have them all.
    async fn deliver(&mut self) -> Result<(), NetError> {
        let _ = self.outgoing.finish();
        let acknowledged = timeout(self.stall, self.outgoing.stopped()).await;
        match acknowledged.map_err(|_| TOO_SLOW)? {
            Ok(_) => Ok(()),
            Err(_) => match self.quic.close_reason() {
                // It has read even the end.
                Some(ConnectionError::ApplicationClosed(close)) if close.error_code == ENDED => Ok(()),
                Some(error) => Err(lost(&error)),
                None => Err(NetError::Closed),
            },
        }
    }
}

struct IrohReceiver {
    arrived: mpsc::Receiver<Result<Vec<u8>, NetError>>,
    joiner: Joiner,
    quic: Quic,
    fate: Arc<Fate>,
    slot: Option<Arc<Slot>>,
    _bound: Arc<Bound>,
}

impl IrohReceiver {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, NetError> {
        loop {
            let record = self.arrived.recv().await.unwrap_or(Err(NetError::Closed))?;
            match self.joiner.push(&record)? {
                Joined::Part => {}
                Joined::Frame(frame) => return Ok(Some(frame)),
                Joined::End => return Ok(None),
            }
        }
    }
}

impl Receiver for IrohReceiver {
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
            // Where the writer is gone already, this ends the connection.
            let fate = self.fate.borrow().clone().unwrap_or(Err(NetError::Closed));
            self.quic.close(if fate.is_ok() { ENDED } else { CUT }, b"");
            self.arrived.close();
            fate.map(|()| None)
        })
    }

    fn limit(&mut self, bytes: usize) {
        self.joiner.limit = bytes.min(MAX_FRAME);
        if bytes > UNPROVEN_FRAME {
            self.quic.set_receive_window(VarInt::from_u32(PROVEN_WINDOW));
            if let Some(slot) = &self.slot {
                slot.prove();
            }
        }
    }
}
