//! Listening: sockets are let in by the gate, served as HTTP/1.1, and those that ask for `PATH` become WebSockets. A
//! connection is handed to `accept` only when its peer is proven. One task each; whatever it does, the others go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, Extension};
use axum::response::Response;
use axum::{Router, routing::get};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::greeting::{self, Arrival};
use super::link::LINGER;
use super::socket::{MAX_MESSAGE, READ_BUFFER, Socket, WRITE_BUFFER};
use super::{HttpOptions, Identity, PATH, host_and_port};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug_span};

use crate::address::Address;
use crate::gate::{Caps, Gate, Slot};
use crate::source::Source;
use crate::transport::{BoxFuture, Connection, Listener, Meter, NetError};

/// Proven connections that `accept` has not taken yet.
const BACKLOG: usize = 64;
/// Bytes of the head of a request: ours are 200, a browser's are a few thousand.
const MAX_HEAD: usize = 16 * 1024;
/// After the system refused a socket (mostly: no file descriptors left), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a browser shows at `/`.
const WHAT_THIS_IS: &str = "This is a driftless peer. Databases sync with it by the address of this page.\n";
/// What a socket gets that the gate does not let in.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

pub(super) async fn listen(
    identity: Arc<Identity>,
    options: Arc<HttpOptions>,
    routes: Router,
    address: &Address,
) -> Result<Box<dyn Listener>, NetError> {
    let ours = identity.node.id();
    if let Some(expected) = address.peer.filter(|expected| *expected != ours) {
        return Err(NetError::WrongPeer { expected, found: ours });
    }
    let unreachable = |error: std::io::Error| NetError::Unreachable {
        address: address.clone(),
        reason: format!("cannot listen there: {error}"),
    };
    let tcp = TcpListener::bind(host_and_port(address)?).await.map_err(unreachable)?;
    let bound = tcp.local_addr().map_err(unreachable)?;
    // An IP address is always a host.
    let address = Address::http(&bound.ip().to_string(), bound.port()).unwrap_or_else(|_| address.clone());

    let (proven, backlog) = mpsc::channel(BACKLOG);
    let (stop, stopping) = watch::channel(false);
    let caps = Caps {
        connections: options.connections,
        unproven: options.unproven,
        unproven_per_source: options.unproven_per_source,
        grace: options.grace,
    };
    let door = Arc::new(Door { gate: Gate::new(caps), identity, options, proven });
    let routes = Router::new()
        .route("/", get(async || WHAT_THIS_IS))
        .route(PATH, get(upgrade))
        .layer(Extension(door.clone()))
        .merge(routes);
    tokio::spawn(let_in(tcp, door, routes, stopping));
    Ok(Box::new(HttpListener { address: address.with_peer(ours), backlog, stop }))
}

struct HttpListener {
    address: Address,
    backlog: mpsc::Receiver<Connection>,
    // Dropping it stops the listener as well.
    stop: watch::Sender<bool>,
}

impl Listener for HttpListener {
    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetError>> {
        Box::pin(async { self.backlog.recv().await.ok_or(NetError::Closed) })
    }

    fn address(&self) -> Address {
        self.address.clone()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.backlog.close();
            self.stop.send_replace(true);
            // The loop drops its end when the socket is closed.
            self.stop.closed().await;
        })
    }
}

/// What all sockets of one listener share.
struct Door {
    gate: Arc<Gate>,
    identity: Arc<Identity>,
    options: Arc<HttpOptions>,
    proven: mpsc::Sender<Connection>,
}

async fn let_in(tcp: TcpListener, door: Arc<Door>, routes: Router, stopping: watch::Receiver<bool>) {
    let mut serving = JoinSet::new();
    let mut stop = stopping.clone();
    loop {
        tokio::select! {
            accepted = tcp.accept() => match accepted {
                Ok((socket, from)) => match door.gate.enter(Source::of(from.ip())) {
                    Some(slot) => {
                        let routes = routes.clone();
                        serving.spawn(serve(socket, from, slot, routes, door.options.header, stopping.clone()));
                    }
                    None => turn_away(socket),
                },
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = serving.join_next() => {}
            _ = stop.changed() => break,
        }
    }
    drop((tcp, stop, stopping));
    // Answers that are on their way may finish; what is left is aborted with the set.
    let _ = timeout(LINGER, async { while serving.join_next().await.is_some() {} }).await;
}

fn turn_away(socket: TcpStream) {
    // Best effort: it must not cost a task or a wait.
    let _ = socket.try_write(TOO_MANY);
}

async fn serve(
    socket: TcpStream,
    from: SocketAddr,
    slot: Arc<Slot>,
    routes: Router,
    header: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = socket.set_nodelay(true);
    let routes = TowerToHyperService::new(routes);
    let place = slot.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        request.extensions_mut().insert(slot.clone());
        routes.call(request)
    });
    // Without a timer hyper's limit on the time for a head does nothing.
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
    );
    // An error is the other side's, and says nothing to anybody here.
    let served = tokio::select! {
        served = connection.as_mut() => Some(served),
        () = place.has_to_leave() => return,
        _ = stopping.changed() => None,
    };
    if served.is_none() {
        connection.as_mut().graceful_shutdown();
        drop(stopping);
        let _ = connection.await;
    }
}

async fn upgrade(
    Extension(door): Extension<Arc<Door>>,
    Extension(slot): Extension<Arc<Slot>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: WebSocketUpgrade,
) -> Response {
    request
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(async move |socket| {
            let (meter, place) = (Meter::default(), slot.clone());
            let socket = Socket::of_server(socket, &meter);
            let arrival = Arrival { source: Some(from.ip().to_canonical()), slot: Some(slot), meter };
            // Whoever fails is dropped without a word: it learns nothing, and costs nothing more.
            let step = debug_span!("net.accept", source = %from.ip(), peer = Empty);
            let answered = timeout(door.options.handshake, async {
                let connection = greeting::answer(&door.identity, &door.options, socket, arrival).await?;
                Span::current().record("peer", display(connection.peer));
                door.proven.send(connection).await.map_err(|_| NetError::Closed)
            });
            let answered = answered.instrument(step);
            tokio::select! {
                _ = answered => {}
                () = place.has_to_leave() => {}
            }
        })
}
