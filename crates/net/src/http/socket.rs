//! A WebSocket as a stream and a sink of packets, the same for the two libraries that hold its ends. A message above
//! the size of a record is refused by its header. What is inside a record is not known here.

use std::future::ready;
use std::pin::Pin;

use axum::body::Bytes;
use axum::extract::ws;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::noise::MAX_RECORD;
use crate::transport::{Meter, NetError};

/// Bytes read at once. It is allocated for every socket, also those of strangers; large records bypass it.
pub(super) const READ_BUFFER: usize = 8 * 1024;
/// Bytes gathered before a write, so that a run of small frames is not as many packets.
pub(super) const WRITE_BUFFER: usize = 32 * 1024;
/// Bytes of the largest message, and of the largest piece of one.
pub(super) const MAX_MESSAGE: usize = MAX_RECORD;

/// What a peer sends.
#[derive(Debug)]
pub(super) enum Packet {
    Record(Bytes),
    Ping,
    Pong,
    Close,
}

pub(super) type Incoming = Pin<Box<dyn Stream<Item = Result<Packet, NetError>> + Send>>;
pub(super) type Outgoing = Pin<Box<dyn Sink<Packet, Error = NetError> + Send>>;

/// The two directions of one WebSocket.
pub(super) struct Socket {
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
}

impl Socket {
    /// The end that was dialed.
    pub(super) fn of_server(socket: ws::WebSocket, meter: &Meter) -> Self {
        let (sink, stream) = socket.split();
        let (sent, received) = (meter.clone(), meter.clone());
        let sink = sink.sink_map_err(|_| NetError::Closed).with(move |packet| {
            ready(Ok::<_, NetError>(match packet {
                Packet::Record(record) => {
                    sent.add_sent(record.len());
                    ws::Message::Binary(record)
                }
                Packet::Ping => ws::Message::Ping(Bytes::new()),
                Packet::Pong => ws::Message::Pong(Bytes::new()),
                Packet::Close => ws::Message::Close(None),
            }))
        });
        let stream = stream.map(move |message| {
            let message = message.map_err(|error| match error.into_inner().downcast() {
                Ok(error) => ended(*error),
                Err(_) => NetError::Closed,
            });
            match message? {
                ws::Message::Binary(record) => {
                    received.add_received(record.len());
                    Ok(Packet::Record(record))
                }
                ws::Message::Ping(_) => Ok(Packet::Ping),
                ws::Message::Pong(_) => Ok(Packet::Pong),
                ws::Message::Close(_) => Ok(Packet::Close),
                ws::Message::Text(_) => Err(TEXT),
            }
        });
        Self { outgoing: Box::pin(sink), incoming: Box::pin(stream) }
    }

    /// The end that dialed.
    pub(super) fn of_client<S>(socket: WebSocketStream<S>, meter: &Meter) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sink, stream) = socket.split();
        let (sent, received) = (meter.clone(), meter.clone());
        let sink = sink.sink_map_err(|_| NetError::Closed).with(move |packet| {
            ready(Ok::<_, NetError>(match packet {
                Packet::Record(record) => {
                    sent.add_sent(record.len());
                    Message::Binary(record)
                }
                Packet::Ping => Message::Ping(Bytes::new()),
                Packet::Pong => Message::Pong(Bytes::new()),
                Packet::Close => Message::Close(None),
            }))
        });
        let stream = stream.map(move |message| match message.map_err(ended)? {
            Message::Binary(record) => {
                received.add_received(record.len());
                Ok(Packet::Record(record))
            }
            Message::Ping(_) => Ok(Packet::Ping),
            Message::Pong(_) => Ok(Packet::Pong),
            Message::Close(_) => Ok(Packet::Close),
            Message::Text(_) => Err(TEXT),
            Message::Frame(_) => Err(NetError::Protocol("a raw piece of a message")),
        });
        Self { outgoing: Box::pin(sink), incoming: Box::pin(stream) }
    }

    /// Sends one record, and waits until it has left.
    pub(super) async fn send(&mut self, record: Vec<u8>) -> Result<(), NetError> {
        self.outgoing.send(Packet::Record(record.into())).await
    }

    /// The next record.
    pub(super) async fn recv(&mut self) -> Result<Bytes, NetError> {
        loop {
            match self.incoming.next().await.transpose()? {
                Some(Packet::Record(record)) => return Ok(record),
                Some(Packet::Ping | Packet::Pong) => {}
                Some(Packet::Close) | None => return Err(NetError::Closed),
            }
        }
    }
}

const TEXT: NetError = NetError::Protocol("a text message where only binary ones are");

fn ended(error: tungstenite::Error) -> NetError {
    match error {
        tungstenite::Error::Capacity(_) => NetError::Protocol("a message above the size of a record"),
        // A connection that is lost in the middle also is a violation in the eyes of a WebSocket.
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            NetError::Closed
        }
        tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_) => {
            NetError::Protocol("what is no WebSocket")
        }
        _ => NetError::Closed,
    }
}
