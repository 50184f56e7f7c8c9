//! Connections inside one process: bounded channels, no bytes on any wire, peers as they say they are. For tests of
//! everything above the seam, which can lose a connection after any number of frames. It never waits for time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use driftless_core::id::PeerId;
use tokio::sync::{mpsc, watch};

use crate::address::{Address, Place};
use crate::transport::{
    BoxFuture, Connection, Listener, MAX_FRAME, Meter, NetError, Receiver, Sender, Transport, UNPROVEN_FRAME,
};

/// Frames on their way in one direction before `send` waits.
const FRAMES_IN_FLIGHT: usize = 16;
/// Connections that nobody has accepted yet before `dial` waits.
const DIALS_IN_FLIGHT: usize = 64;

/// The peers of one process that can reach each other, and the scissors for the cables between them.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Mutex<Switchboard>>);

#[derive(Default)]
struct Switchboard {
    listeners: HashMap<String, (PeerId, mpsc::Sender<Connection>)>,
    cables: Vec<Weak<Cable>>,
    cut_after: Option<u64>,
}

impl MemoryNetwork {
    /// A network without peers.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the database with the node key `peer` uses to reach the others.
    pub fn transport(&self, peer: PeerId) -> MemoryTransport {
        MemoryTransport { network: self.clone(), peer }
    }

    /// Each connection dialed from now on carries `frames` frames, both directions counted together, and is cut when
    /// somebody sends one more. `None` (as at first): none is cut.
    pub fn cut_after(&self, frames: Option<u64>) {
        self.lock().cut_after = frames;
    }

    /// Cuts every connection there is now; frames that were sent still arrive.
    pub fn cut_all(&self) {
        for cable in self.lock().cables.drain(..).filter_map(|cable| cable.upgrade()) {
            cable.cut();
        }
    }

    /// How many connections are open: neither cut, nor closed, nor dropped by both sides.
    pub fn open(&self) -> usize {
        let mut switchboard = self.lock();
        switchboard.forget_dead_cables();
        switchboard.cables.len()
    }

    // A panic elsewhere leaves nothing half-done here.
    fn lock(&self) -> MutexGuard<'_, Switchboard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Switchboard {
    fn forget_dead_cables(&mut self) {
        self.cables.retain(|cable| cable.upgrade().is_some_and(|cable| cable.carries()));
    }
}

/// A `Transport` between the peers of one `MemoryNetwork`; addresses are `memory:name`.
#[derive(Clone)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    peer: PeerId,
}

impl Transport for MemoryTransport {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, NetError>> {
        Box::pin(async move {
            let unreachable = || NetError::Unreachable {
                address: address.clone(),
                reason: "nobody listens under this name".to_owned(),
            };
            let name = name_of(address)?;
            let (found, door) = self.network.lock().listeners.get(name).cloned().ok_or_else(unreachable)?;
            if let Some(expected) = address.peer.filter(|expected| *expected != found) {
                return Err(NetError::WrongPeer { expected, found });
            }
            let place = door.reserve().await.map_err(|_| unreachable())?;
            let mut switchboard = self.network.lock();
            let cable = Arc::new(Cable::new(switchboard.cut_after));
            switchboard.forget_dead_cables();
            switchboard.cables.push(Arc::downgrade(&cable));
            let (ours, theirs) = join(self.peer, found, cable);
            place.send(theirs);
            Ok(ours)
        })
    }

    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Listener>, NetError>> {
        Box::pin(async move {
            let name = name_of(address)?;
            let mut switchboard = self.network.lock();
            if switchboard.listeners.get(name).is_some_and(|(_, door)| !door.is_closed()) {
                return Err(NetError::Unreachable {
                    address: address.clone(),
                    reason: "somebody listens under this name already".to_owned(),
                });
            }
            let (door, dialed) = mpsc::channel(DIALS_IN_FLIGHT);
            switchboard.listeners.insert(name.to_owned(), (self.peer, door));
            let address = Address { peer: Some(self.peer), ..address.clone() };
            Ok(Box::new(MemoryListener { address, dialed }) as Box<dyn Listener>)
        })
    }
}

fn name_of(address: &Address) -> Result<&str, NetError> {
    match &address.place {
        Place::Memory { name } => Ok(name),
        Place::Http { .. } | Place::Iroh { .. } => Err(NetError::Address(address.clone())),
    }
}

struct MemoryListener {
    address: Address,
    // Its other end in the network is closed when this is dropped, and the name is then free.
    dialed: mpsc::Receiver<Connection>,
}

impl Listener for MemoryListener {
    fn accept(&mut self) -> BoxFuture<'_, Result<Connection, NetError>> {
        Box::pin(async { self.dialed.recv().await.ok_or(NetError::Closed) })
    }

    fn address(&self) -> Address {
        self.address.clone()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.dialed.close();
        Box::pin(async {})
    }
}

/// Two ends of one connection: what `left` holds (its peer is `right`), and what `right` holds.
pub fn pair(left: PeerId, right: PeerId) -> (Connection, Connection) {
    join(left, right, Arc::new(Cable::new(None)))
}

fn join(left: PeerId, right: PeerId, cable: Arc<Cable>) -> (Connection, Connection) {
    let (to_right, from_left) = mpsc::channel(FRAMES_IN_FLIGHT);
    let (to_left, from_right) = mpsc::channel(FRAMES_IN_FLIGHT);
    let end = |peer, frames, arriving| {
        let meter = Meter::default();
        Connection {
            peer,
            source: None,
            sender: Box::new(MemorySender { cable: cable.clone(), frames, meter: meter.clone() }),
            receiver: Box::new(MemoryReceiver {
                cable: cable.clone(),
                arriving,
                limit: UNPROVEN_FRAME,
                end: None,
                meter: meter.clone(),
            }),
            meter,
        }
    };
    (end(right, to_right, from_right), end(left, to_left, from_left))
}

/// What both ends of a connection share.
struct Cable {
    cut: watch::Sender<bool>,
    closed: AtomicBool,
    sent: AtomicU64,
    carries_at_most: u64,
}

impl Cable {
    fn new(cut_after: Option<u64>) -> Self {
        Self {
            cut: watch::Sender::new(false),
            closed: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            carries_at_most: cut_after.unwrap_or(u64::MAX),
        }
    }

    fn carries(&self) -> bool {
        !*self.cut.borrow() && !self.closed.load(Ordering::SeqCst)
    }

    fn cut(&self) {
        self.cut.send_replace(true);
    }

    async fn until_cut(&self) {
        // The sender lives in `self`, so the only way out is a cut.
        let _ = self.cut.subscribe().wait_for(|cut| *cut).await;
    }
}

enum Parcel {
    Frame(Vec<u8>),
    End,
}

struct MemorySender {
    cable: Arc<Cable>,
    frames: mpsc::Sender<Parcel>,
    meter: Meter,
}

impl MemorySender {
    async fn reserve(&self) -> Result<mpsc::Permit<'_, Parcel>, NetError> {
        if !self.cable.carries() {
            return Err(NetError::Closed);
        }
        tokio::select! {
            biased;
            () = self.cable.until_cut() => Err(NetError::Closed),
            place = self.frames.reserve() => place.map_err(|_| NetError::Closed),
        }
    }
}

impl Sender for MemorySender {
    fn send(&mut self, frame: Vec<u8>) -> BoxFuture<'_, Result<(), NetError>> {
        Box::pin(async move {
            if frame.len() > MAX_FRAME {
                return Err(NetError::TooLarge { size: frame.len(), limit: MAX_FRAME });
            }
            let place = self.reserve().await?;
            if self.cable.sent.fetch_add(1, Ordering::SeqCst) >= self.cable.carries_at_most {
                self.cable.cut();
                return Err(NetError::Closed);
            }
            self.meter.add_sent(frame.len());
            place.send(Parcel::Frame(frame));
            Ok(())
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), NetError>> {
        Box::pin(async move {
            // By either side, and cut or not since.
            if self.cable.closed.load(Ordering::SeqCst) {
                return Ok(());
            }
            let place = self.reserve().await?;
            self.cable.closed.store(true, Ordering::SeqCst);
            place.send(Parcel::End);
            Ok(())
        })
    }
}

struct MemoryReceiver {
    cable: Arc<Cable>,
    arriving: mpsc::Receiver<Parcel>,
    limit: usize,
    end: Option<Result<(), NetError>>,
    meter: Meter,
}

impl Receiver for MemoryReceiver {
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, NetError>> {
        Box::pin(async move {
            if let Some(end) = &self.end {
                return end.clone().map(|()| None);
            }
            // What was sent before a cut arrives, so that a cut after n frames means n frames.
            let parcel = tokio::select! {
                biased;
                parcel = self.arriving.recv() => parcel,
                () = self.cable.until_cut() => None,
            };
            let end = match parcel {
                Some(Parcel::Frame(frame)) if frame.len() <= self.limit => {
                    self.meter.add_received(frame.len());
                    return Ok(Some(frame));
                }
                Some(Parcel::Frame(frame)) => {
                    self.cable.cut();
                    Err(NetError::TooLarge { size: frame.len(), limit: self.limit })
                }
                Some(Parcel::End) => Ok(()),
                None => Err(NetError::Closed),
            };
            self.end = Some(end.clone());
            end.map(|()| None)
        })
    }

    fn limit(&mut self, bytes: usize) {
        self.limit = bytes.min(MAX_FRAME);
    }
}
