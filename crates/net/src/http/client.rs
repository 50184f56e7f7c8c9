//! Dialing: a TCP connection, the upgrade to a WebSocket, the greeting. All of it within one time limit.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, http};

use super::greeting::{self, Arrival};
use super::socket::{MAX_MESSAGE, READ_BUFFER, Socket, WRITE_BUFFER};
use super::{HttpOptions, Identity, PATH, host_and_port};
use crate::address::{Address, Place};
use crate::transport::{Connection, Meter, NetError};

pub(super) async fn dial(
    identity: &Arc<Identity>,
    options: &HttpOptions,
    address: &Address,
) -> Result<Connection, NetError> {
    let dialed = timeout(options.handshake, dial_unbounded(identity, options, address)).await;
    dialed.unwrap_or_else(|_| {
        Err(NetError::Unreachable {
            address: address.clone(),
            reason: format!("no answer within {} s", options.handshake.as_secs()),
        })
    })
}

async fn dial_unbounded(
    identity: &Identity,
    options: &HttpOptions,
    address: &Address,
) -> Result<Connection, NetError> {
    let (host, port) = host_and_port(address)?;
    let unreachable =
        |error: std::io::Error| NetError::Unreachable { address: address.clone(), reason: error.to_string() };
    let refused = |reason: String| NetError::Refused { address: address.clone(), reason };

    let tcp = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    // Frames are whole messages; waiting for more to send would only delay them.
    tcp.set_nodelay(true).map_err(unreachable)?;
    let source = tcp.peer_addr().ok().map(|from| from.ip());
    let place = Address { place: Place::Http { host: host.to_owned(), port }, peer: None };
    let url = format!("ws{}{PATH}", place.to_string().trim_start_matches("http"));
    let request = url.into_client_request().map_err(|error| refused(error.to_string()))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let upgraded = client_async_with_config(request, tcp, Some(config)).await;
    let (socket, _) = upgraded.map_err(|error| refused(why_not_upgraded(&error)))?;

    let meter = Meter::default();
    let socket = Socket::of_client(socket, &meter);
    let arrival = Arrival { source, slot: None, meter };
    match greeting::call(identity, options, socket, arrival, address.peer).await {
        Err(NetError::Closed) => Err(refused("it ended the handshake".to_owned())),
        other => other,
    }
}

fn why_not_upgraded(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(answer) if answer.status() == http::StatusCode::SERVICE_UNAVAILABLE => {
            "it has too many connections".to_owned()
        }
        tungstenite::Error::Http(answer) => {
            format!("it answers HTTP {}, so it is no driftless peer, or of another version", answer.status())
        }
        tungstenite::Error::Io(_)
        | tungstenite::Error::Protocol(tungstenite::error::ProtocolError::HandshakeIncomplete) => {
            "it closed the connection at once; it may have too many".to_owned()
        }
        _ => "it does not speak HTTP as a driftless peer does".to_owned(),
    }
}
