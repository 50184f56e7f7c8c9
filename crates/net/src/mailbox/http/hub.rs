//! A hub: serves a mailbox to whoever reaches it, and trusts nobody. What one source can hold is bounded: sockets (the
//! gate), requests at once, the time of each, bytes of objects, and how much may lie there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::places::Places;
use super::quota::Quota;
use super::requests::Desk;
use super::watched::Watched;
use crate::gate::{Caps, Gate, Slot};
use crate::mailbox::{Mailbox, MailboxError, ObjectName};
use crate::source::Source;

/// Bytes of the head of a request, and of what of an answer waits to leave.
const MAX_HEAD: usize = 16 * 1024;
/// After the system refused a socket, so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers may take that are on their way when the hub is closed.
const LINGER: Duration = Duration::from_secs(5);
/// How long a socket has its place for sure while others wait for one.
const GRACE: Duration = Duration::from_secs(30);
/// What a socket gets that the gate does not let in.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Whether an object may stand under a name, as far as it says itself. It is asked before an object is stored, and before
/// one is deleted: one that may stand there stays.
pub type Admit = Arc<dyn Fn(&ObjectName, &[u8]) -> bool + Send + Sync>;

/// How much a hub takes on itself. Each is the default unless set.
#[derive(Debug, Clone, Copy)]
pub struct HubLimits {
    /// Objects in all. If left unset, a million.
    pub objects: u64,
    /// Bytes of all objects. If left unset, 16 GiB.
    pub bytes: u64,
    /// Objects under one prefix, which is one writer in one space. If left unset, 100,000.
    pub prefix_objects: u64,
    /// Bytes under one prefix. If left unset, 4 GiB.
    pub prefix_bytes: u64,
    /// Sockets. If left unset, 2,048.
    pub connections: usize,
    /// Sockets of one source, an IPv4 address or 64 bits of an IPv6 address. If left unset, 64; a proxy is one source, so
    /// a hub that listens on an address of its machine alone leaves this and the next out.
    pub connections_per_source: usize,
    /// Objects that come or leave at once: each is held in memory. If left unset, 16, of which one source has 4.
    pub bodies: usize,
    /// Time for one request and its answer, also one that waits for news. If left unset, 120 seconds.
    pub request: Duration,
    /// Time for the head of a request, and for the next one on the same socket. If left unset, 30 seconds.
    pub header: Duration,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            objects: 1_000_000,
            bytes: 16 << 30,
            prefix_objects: 100_000,
            prefix_bytes: 4 << 30,
            connections: 2048,
            connections_per_source: 64,
            bodies: 16,
            request: Duration::from_secs(120),
            header: Duration::from_secs(30),
        }
    }
}

/// How a hub is to be.
#[derive(Clone, Default)]
pub struct HubOptions {
    /// What it takes on itself.
    pub limits: HubLimits,
    /// What everybody has to show. If left unset, whoever reaches it may use it.
    pub token: Option<String>,
    /// What may stand under a name. If left unset, anything, and everything may be deleted.
    pub admit: Option<Admit>,
}

impl std::fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.is_some();
        f.debug_struct("HubOptions")
            .field("limits", &self.limits)
            .field("token", &token)
            .finish_non_exhaustive()
    }
}

/// Why a hub does not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// It cannot listen there.
    #[error("cannot listen at {at}: {reason}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// What it is to serve does not answer.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
}

/// What a hub has done since it began, and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubNumbers {
    /// Objects that lie there.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were put.
    pub put: u64,
    /// Objects that were got, or parts of them.
    pub got: u64,
    /// Requests that were refused, for whatever reason.
    pub refused: u64,
    /// Who waits for news now.
    pub waiting: u64,
}

/// A mailbox that is served. Dropping it ends that at once.
pub struct Hub {
    address: SocketAddr,
    desk: Arc<Desk>,
    stop: watch::Sender<bool>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Hub {
    /// Serves the mailbox at an address; port 0 takes any free one. What lies there is counted first. Needs a runtime with
    /// IO and time.
    pub async fn serve(
        place: Arc<dyn Mailbox>,
        at: SocketAddr,
        options: HubOptions,
    ) -> Result<Self, HubError> {
        let limits = options.limits;
        let cannot = |error: std::io::Error| HubError::Listen { at, reason: error.to_string() };
        let tcp = TcpListener::bind(at).await.map_err(cannot)?;
        let address = tcp.local_addr().map_err(cannot)?;
        // Behind a proxy of this machine all are one source.
        let share = |all: usize, of_one: usize| if address.ip().is_loopback() { all } else { of_one };
        let places = |all: usize| Places::new(all, share(all, all.div_ceil(4)));
        let desk = Arc::new(Desk {
            quota: Quota::count(limits, &*place).await?,
            place,
            watched: Watched::new(),
            bodies: places(limits.bodies),
            // A listing may read a large folder.
            listings: places(limits.bodies.div_ceil(2)),
            waiting: places(limits.connections.div_ceil(2)),
            deleting: tokio::sync::Mutex::default(),
            closing: watch::Sender::new(false),
            token: options.token,
            admit: options.admit,
            put: AtomicU64::new(0),
            got: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let caps = Caps {
            connections: limits.connections,
            unproven: limits.connections,
            unproven_per_source: share(limits.connections, limits.connections_per_source),
            grace: GRACE.min(limits.request),
        };
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(let_in(tcp, Gate::new(caps), desk.clone(), limits, stopping));
        Ok(Self { address, desk, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done, and holds.
    pub fn numbers(&self) -> HubNumbers {
        let (objects, bytes) = self.desk.quota.all();
        HubNumbers {
            objects,
            bytes,
            put: self.desk.put.load(Ordering::Relaxed),
            got: self.desk.got.load(Ordering::Relaxed),
            refused: self.desk.refused.load(Ordering::Relaxed),
            waiting: self.desk.waiting.here() as u64,
        }
    }

    /// Ends it: what is being answered may finish, within some seconds.
    pub async fn close(&self) {
        self.desk.closing.send_replace(true);
        self.stop.send_replace(true);
        // Everybody who serves drops its end.
        self.stop.closed().await;
    }
}

async fn let_in(
    tcp: TcpListener,
    gate: Arc<Gate>,
    desk: Arc<Desk>,
    limits: HubLimits,
    mut stopping: watch::Receiver<bool>,
) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            accepted = tcp.accept() => match accepted {
                Ok((socket, from)) => {
                    let source = Source::of(from.ip());
                    match gate.enter(source.clone()) {
                        Some(slot) => {
                            serving.spawn(serve(socket, source, slot, desk.clone(), limits, stopping.clone()));
                        }
                        None => drop(socket.try_write(TOO_MANY)),
                    }
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = serving.join_next() => {}
            _ = stopping.changed() => break,
        }
    }
    drop(tcp);
    // What is left then is aborted with the set.
    let _ = timeout(LINGER, async { while serving.join_next().await.is_some() {} }).await;
}

async fn serve(
    socket: TcpStream,
    source: Source,
    slot: Arc<Slot>,
    desk: Arc<Desk>,
    limits: HubLimits,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = socket.set_nodelay(true);
    // Until when the request that is being answered has to be through, its answer included: a slow end of either is cut.
    let (due, mut until) = watch::channel(Instant::now() + limits.header + limits.request);
    let service = service_fn(move |request: Request<Incoming>| {
        due.send_replace(Instant::now() + limits.request);
        let (desk, source) = (desk.clone(), source.clone());
        async move { Ok::<_, std::convert::Infallible>(desk.answer(&source, request).await) }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(socket), service)
    );
    let overdue = async {
        loop {
            let due = *until.borrow_and_update();
            tokio::select! {
                () = sleep_until(due) => return,
                changed = until.changed() => if changed.is_err() { return },
            }
        }
    };
    // An error is the other side's, and says nothing to anybody here.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = overdue => return,
        () = slot.has_to_leave() => return,
        _ = stopping.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
