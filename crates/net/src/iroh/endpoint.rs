//! Sockets under the node key: one endpoint for all that is dialed, or the one that listens, so that a relay knows this
//! peer once. It stays when a listener is closed, so that the next one is found where the last one was; it is closed
//! when the transport and the last connection are gone.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iroh::endpoint::{IdleTimeout, Incoming, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, RelayConfig, RelayMap, RelayMode, RelayUrl};
use tokio::sync::oneshot;

use super::lan::Lan;
use super::{ALPN, Identity, Relay};
use crate::transport::UNPROVEN_FRAME;

/// Bytes of a stranger that are held before they are read: room for a few frames, and their records.
const STRANGER_WINDOW: u32 = 8 * UNPROVEN_FRAME as u32;
/// The same for a peer that is proven: what is on its way in a tenth of a second at 10 MB/s. iroh ends a connection in
/// which more than 1,024 pieces wait for others before them; here not even the loss of every second packet makes so many.
pub(super) const PROVEN_WINDOW: u32 = 1024 * 1024;
/// Bytes on their way to a peer that it has not acknowledged.
const SEND_WINDOW: u64 = PROVEN_WINDOW as u64;
/// Relays that addresses named and that are remembered as ways to be found ourselves.
const NAMED_RELAYS: usize = 8;
/// How long the endpoints of a process that ends may take to say so: a little more than iroh takes by itself.
const FAREWELL: Duration = Duration::from_secs(4);

/// The endpoints of one transport.
#[derive(Default)]
pub(super) struct Endpoints(tokio::sync::Mutex<Known>);

#[derive(Default)]
struct Known {
    dialing: Option<Arc<Bound>>,
    // With the sockets that were asked for.
    listening: Option<(Vec<SocketAddr>, Arc<Bound>)>,
}

/// What happens to who comes, while somebody listens.
pub(super) type Door = Box<dyn FnMut(Incoming) + Send>;

/// An endpoint in use.
pub(super) struct Bound {
    pub(super) endpoint: Endpoint,
    door: Arc<Mutex<Option<Door>>>,
    named: Mutex<BTreeSet<RelayUrl>>,
    announced: AtomicBool,
    // Dropped with this, it tells the task of the endpoint.
    _used: oneshot::Sender<()>,
}

impl Endpoints {
    /// The endpoint to dial with: the one that listens or has listened, if there is one.
    pub(super) async fn dialing(&self, identity: &Identity) -> Result<Arc<Bound>, String> {
        let mut known = self.0.lock().await;
        if let Some((_, listening)) = known.listening.as_ref().filter(|(_, bound)| bound.is_open()) {
            return Ok(listening.clone());
        }
        match &known.dialing {
            Some(bound) if bound.is_open() => Ok(bound.clone()),
            _ => Ok(known.dialing.insert(bind(identity, &[], false).await?).clone()),
        }
    }

    /// The endpoint to listen with, which from now on also dials.
    pub(super) async fn listening(
        &self,
        identity: &Identity,
        sockets: &[SocketAddr],
    ) -> Result<Arc<Bound>, String> {
        let mut known = self.0.lock().await;
        if let Some((asked, bound)) = known.listening.as_ref().filter(|(_, bound)| bound.is_open()) {
            if bound.has_door() {
                return Err("this database listens already".to_owned());
            }
            if asked == sockets {
                return Ok(bound.clone());
            }
        }
        let bound = bind(identity, sockets, true).await?;
        known.listening = Some((sockets.to_vec(), bound.clone()));
        known.dialing = None;
        Ok(bound)
    }

    /// Closes all, and waits until that is told.
    pub(super) async fn close(&self) {
        let mut known = self.0.lock().await;
        let listening = known.listening.take().map(|(_, bound)| bound);
        let all: Vec<_> = known.dialing.take().into_iter().chain(listening).collect();
        for bound in all {
            let _ = tokio::time::timeout(FAREWELL, bound.endpoint.close()).await;
        }
    }
}

impl Bound {
    fn is_open(&self) -> bool {
        !self.endpoint.is_closed()
    }

    fn has_door(&self) -> bool {
        lock(&self.door).is_some()
    }

    /// Gives who comes to `door`; with none, all are turned away.
    pub(super) fn set_door(&self, door: Option<Door>) {
        // What it holds is dropped after the lock is.
        let _before = std::mem::replace(&mut *lock(&self.door), door);
    }

    /// Says on the local network where it is, as long as it is open.
    pub(super) fn announce(&self, lan: &Lan) -> Result<(), String> {
        if self.announced.swap(true, Ordering::Relaxed) { Ok(()) } else { lan.announce(&self.endpoint) }
    }

    /// Makes a relay that an address names one of ours: through it others see where our packets come from.
    pub(super) async fn learn_relay(&self, relay: &RelayUrl) {
        let new = {
            let mut named = lock(&self.named);
            named.len() < NAMED_RELAYS && named.insert(relay.clone())
        };
        if new {
            let config = RelayConfig::from(relay.clone());
            let _ = self.endpoint.insert_relay(relay.clone(), Arc::new(config)).await;
        }
    }
}

// A panic elsewhere leaves nothing half-done here.
fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn bind(identity: &Identity, sockets: &[SocketAddr], listens: bool) -> Result<Arc<Bound>, String> {
    let options = &identity.options;
    let relays = match &options.relay {
        Relay::None => RelayMode::Disabled,
        Relay::Named => RelayMode::Custom(RelayMap::empty()),
        Relay::Public => RelayMode::Default,
        Relay::At(url) => RelayMode::custom([url.parse::<RelayUrl>().map_err(|error| error.to_string())?]),
    };
    // Longer than QUIC can say is for ever.
    let idle = IdleTimeout::try_from(options.idle).ok();
    let quic = QuicTransportConfig::builder()
        .max_idle_timeout(idle)
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(PROVEN_WINDOW))
        .receive_window(VarInt::from_u32(STRANGER_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .build();
    // No service that publishes or looks up where peers are.
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(identity.secret.clone())
        .relay_mode(relays)
        .ca_tls_config(options.relay_certificates.clone())
        .transport_config(quic);
    if listens {
        builder = builder.alpns(vec![ALPN.to_vec()]);
    }
    if !sockets.is_empty() {
        builder = builder.clear_ip_transports();
        for socket in sockets {
            builder = builder.bind_addr(*socket).map_err(|error| error.to_string())?;
        }
    }
    let endpoint = builder.bind().await.map_err(|error| format!("{error:#}"))?;
    let (used, unused) = oneshot::channel();
    let door = Arc::default();
    tokio::spawn(tend(endpoint.clone(), Arc::clone(&door), unused));
    Ok(Arc::new(Bound {
        endpoint,
        door,
        named: Mutex::default(),
        announced: AtomicBool::new(false),
        _used: used,
    }))
}

/// Answers whoever comes while the endpoint is in use, so that nobody waits in it, and closes it then.
async fn tend(endpoint: Endpoint, door: Arc<Mutex<Option<Door>>>, mut unused: oneshot::Receiver<()>) {
    loop {
        let incoming = tokio::select! {
            biased;
            _ = &mut unused => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        match &mut *lock(&door) {
            Some(door) => door(incoming),
            None => incoming.refuse(),
        }
    }
    endpoint.close().await;
}
