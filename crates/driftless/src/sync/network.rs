//! The database on a network: serves its spaces to peers, joins by tickets, exchanges with peers, keeps peers live.
//!
//! It makes connections and hears of their news; what is said on them is decided by the session.

mod beside;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use driftless_core::id::{PeerId, SpaceId};
use driftless_core::session::{Pass, PullEnd, Role};
use driftless_net::{Address, Connection, NetError, Traffic, Transport};
use tokio::sync::{broadcast, mpsc, watch};

use crate::database::Database;
use crate::error::Error;
use crate::peers::Peer;
use crate::state::changes::{Changes, Event};
use crate::sync::command::{Command, News};
use crate::sync::connection::run;
use crate::sync::driven::begin;
use crate::sync::events::{EVENTS, SyncEvent, SyncEvents};
use crate::sync::follow::{Ears, Follower};
use crate::sync::link::{Connected, Link, Order};
use crate::sync::routes::Routes;
use crate::sync::stream::Moved;
use crate::walk;

/// An exchange in which nothing happens for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections at once, and of one peer: each holds a task and the frames that it waits to send.
const CONNECTIONS: usize = 1024;
const CONNECTIONS_OF_PEER: usize = 16;
/// A connection on which no space is open for this long makes room where there is none: whoever opens one that it may
/// not read, or none at all, costs a place and nothing else.
const IDLE: Duration = Duration::from_secs(10);

/// How often a served database looks for commits that are due: also a clock that is set forward makes some so.
const RELEASE: Duration = Duration::from_secs(5);
const SHORTEST_RELEASE: Duration = Duration::from_millis(100);

/// What one exchange of a space did.
#[derive(Debug, Clone, PartialEq)]
pub struct Synced {
    /// The space.
    pub space: SpaceId,
    /// With whom.
    pub peer: PeerId,
    /// Commits, states, signatures.
    pub moved: Moved,
    /// Bytes on the wire; of several spaces in one connection, what went over since the one before.
    pub traffic: Traffic,
    /// Both sides have the same; else the peer had less to give than it said.
    pub settled: bool,
}

/// A database that talks to peers. Clones are the same network; it ends with `close` or the last clone.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
    // Whose keys join, and come first among those that are proven.
    database: Database,
    // What works for the network has none of these: so it does not keep the network alive.
    _alive: Option<Arc<Alive>>,
}

// Stops the network when its last handle is gone.
#[derive(Debug)]
struct Alive(watch::Sender<bool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

struct Shared {
    transport: Arc<dyn Transport>,
    /// What changes, until somebody tells it to the connections.
    changes: Mutex<Option<Changes>>,
    routes: Arc<Routes>,
    connected: Mutex<BTreeMap<u64, Arc<Connected>>>,
    engine: OnceLock<mpsc::UnboundedSender<Order>>,
    /// Who follows the connections that begin from now on.
    follower: Mutex<Option<Follower>>,
    /// What the engine does, for whoever listens.
    events: broadcast::Sender<SyncEvent>,
    /// No peer is let in.
    paused: AtomicBool,
    stop: watch::Sender<bool>,
    next: Mutex<u64>,
}

// A connection among those that are counted.
struct Place {
    shared: Arc<Shared>,
    connected: Arc<Connected>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connected = self.shared.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.remove(&self.number);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// Puts a database on a network of your choice.
    pub fn over(database: &Database, transport: Arc<dyn Transport>) -> Result<Self, Error> {
        let (stop, _) = watch::channel(false);
        let changes = Mutex::new(Some(database.changes()));
        let database = database.clone();
        let connected = Mutex::default();
        let shared = Shared {
            transport,
            changes,
            routes: Arc::default(),
            connected,
            engine: OnceLock::new(),
            follower: Mutex::default(),
            events: broadcast::channel(EVENTS).0,
            paused: AtomicBool::new(false),
            stop,
            next: Mutex::new(0),
        };
        let _alive = Some(Arc::new(Alive(shared.stop.clone())));
        Ok(Self { shared: Arc::new(shared), database, _alive })
    }

    /// The same network, for the user of another handle to the same database: what is joined and dialed through it is so
    /// as that user. Connections prove the keys of all users who are logged in when they begin.
    pub fn acting_as(&self, database: &Database) -> Result<Self, Error> {
        if !database.is_same(&self.database) {
            return Err(Error::Invalid("a network serves one database".into()));
        }
        Ok(Self { database: database.clone(), ..self.clone() })
    }

    /// What the sync engine does, from now on.
    pub fn events(&self) -> SyncEvents {
        SyncEvents::new(self.shared.events.subscribe())
    }

    /// Tells whoever listens; it costs nothing where nobody does.
    pub(crate) fn tell(&self, event: SyncEvent) {
        let _ = self.shared.events.send(event);
    }

    pub(crate) fn worker(&self) -> Self {
        Self { shared: self.shared.clone(), database: self.database.clone(), _alive: None }
    }

    // While the database is served, what is due takes its effect though nobody asks.
    fn release_due(&self) {
        let (database, mut stop) = (self.database.clone(), self.shared.stop.subscribe());
        tokio::spawn(async move {
            loop {
                let database = database.clone();
                let work = tokio::task::spawn_blocking(move || database.release_due()).await;
                // A database that stopped says so to whoever writes.
                let Ok(Ok(next)) = work else { return };
                let pause = next.unwrap_or(RELEASE).clamp(SHORTEST_RELEASE, RELEASE);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = closed(&mut stop) => return,
                }
            }
        });
    }

    /// Serves the database at an address, and says at which it really is. Peers that connect are kept live.
    pub async fn serve(&self, at: &Address) -> Result<Address, Error> {
        let mut listener = self.shared.transport.listen(at).await?;
        let address = listener.address();
        self.release_due();
        let (this, mut stop) = (self.worker(), self.shared.stop.subscribe());
        tokio::spawn(async move {
            loop {
                let connection = tokio::select! {
                    connection = listener.accept() => connection,
                    () = closed(&mut stop) => break,
                };
                let Ok(connection) = connection else { break };
                let (commands, receiver) = mpsc::channel(8);
                if this.shared.paused.load(Ordering::Relaxed) {
                    continue;
                }
                let (news, mut heard) = mpsc::unbounded_channel();
                let peer = connection.peer;
                let place = this.place(peer, CONNECTIONS_OF_PEER, Some(commands.clone()));
                let Some(place) = place else { continue };
                let number = place.number;
                this.tell_engine(Order::Arrived(Link::new(place.connected.clone(), commands.clone(), false)));
                let this = this.worker();
                tokio::spawn(async move {
                    let listening = async {
                        while let Some(news) = heard.recv().await {
                            this.tell_engine(Order::News(peer, number, news));
                        }
                    };
                    let running = (commands.downgrade(), receiver);
                    let running = this.run(connection, place, Role::Listener, running, news);
                    // What went wrong with one connection concerns nobody else; the peer dials again.
                    let (ended, ()) = tokio::join!(running, listening);
                    drop(commands);
                    this.remember_met(peer).await;
                    this.tell_engine(Order::Ended(peer, number, ended.err()));
                });
            }
            listener.close().await;
        });
        Ok(address)
    }

    /// Exchanges a space with the peer at an address, both directions, and remembers the peer.
    pub async fn sync_with_peer(&self, address: &Address, space: &SpaceId) -> Result<Synced, Error> {
        let mut exchange = self.dial_or_note(address).await?;
        // Who is let in by another space shows it, as long as it has not entered by itself.
        let pass = self.database.read(|engine| engine.pass(space))?;
        let synced = match exchange.open(*space, pass).await {
            Ok(synced) => self.enrol_over(&mut exchange, synced).await,
            Err(error) => Err(error),
        };
        exchange.end().await;
        self.note(exchange.peer, address, *space, synced.as_ref().err())?;
        synced
    }

    /// Exchanges many spaces with the peer at an address over one connection, and remembers the peer. What changed on
    /// neither side since the last time costs nothing of its own. Gives what became of each space; an error where the
    /// peer could not be reached.
    pub async fn sync_all_with_peer(
        &self,
        address: &Address,
        spaces: &[SpaceId],
    ) -> Result<Vec<(SpaceId, Result<Synced, Error>)>, Error> {
        let (mut left, mut done) = (spaces.to_vec(), Vec::new());
        // Where there are more to open than fit into one session, the rest goes into another one.
        while !left.is_empty() {
            let mut exchange = match self.dial(address).await {
                Ok(exchange) => exchange,
                Err(error) => {
                    self.failed(address.peer, &error)?;
                    return Err(error);
                }
            };
            let before = left.len();
            let mut synced = exchange.open_all(&mut left).await;
            for (space, outcome) in &mut synced {
                if matches!(outcome, Err(Error::NotOpen(_)))
                    && let Some(pass) = self.database.read(|engine| engine.pass(space))?
                {
                    // Who is let in by another space shows it.
                    *outcome = exchange.open(*space, Some(pass)).await;
                }
                if let Ok(settled) = outcome {
                    *outcome = self.enrol_over(&mut exchange, settled.clone()).await;
                }
            }
            exchange.end().await;
            let stuck = left.len() == before;
            let outcomes: Vec<_> =
                synced.iter().map(|(space, synced)| (*space, synced.as_ref().err())).collect();
            self.note_all(exchange.peer, address, &outcomes)?;
            done.extend(synced);
            if stuck {
                let space = left.first().copied().unwrap_or(SpaceId([0; 32]));
                return Err(Error::Peer(format!("there is no room to open space {space}")));
            }
        }
        Ok(done)
    }

    /// Starts the sync engine, if it is not at work already: known peers are kept connected, and spaces exchanged as users
    /// want it, until the network is closed.
    pub fn keep_connected(&self) -> Result<(), Error> {
        self.start().map(drop)
    }

    /// Connects to whoever answers at an address, and remembers that it is there: the address is confirmed from then on.
    pub async fn connect(&self, address: &Address) -> Result<PeerId, Error> {
        let mut exchange = self.dial_or_note(address).await?;
        let peer = exchange.peer;
        exchange.end().await;
        self.note_all(peer, address, &[])?;
        Ok(peer)
    }

    /// Tries where a known peer is heard of on the local network, then its addresses in order, and remembers which of
    /// these worked.
    pub(crate) async fn reach(
        &self,
        id: &PeerId,
        is_good: impl Fn(&Address) -> bool,
    ) -> Result<Exchange, Error> {
        let peer = self.database().known_peer(id)?.ok_or_else(|| Error::not_found("peer", id))?;
        let mut failed = Error::Unreachable(format!("peer {id} has no address"));
        if let Some(exchange) = self.reach_near(&peer).await? {
            return Ok(exchange);
        }
        for (at, text) in peer.addresses.iter().enumerate() {
            let Some(address) = text.parse::<Address>().ok().filter(&is_good) else { continue };
            match self.dial(&address.with_peer(*id)).await {
                Ok(exchange) => {
                    if at > 0 || !peer.last_error.is_empty() {
                        self.database().change_peer(*id, |peer| {
                            peer.prefer(text);
                            peer.last_error.clear();
                        })?;
                    }
                    return Ok(exchange);
                }
                Err(error) => failed = error,
            }
        }
        self.failed(Some(*id), &failed)?;
        Err(failed)
    }

    /// Where to tell the engine something; the first who asks makes it.
    pub(crate) fn engine_orders(
        &self,
        make: impl FnOnce() -> mpsc::UnboundedSender<Order>,
    ) -> mpsc::UnboundedSender<Order> {
        self.shared.engine.get_or_init(make).clone()
    }

    /// The connections that peers have made.
    pub(crate) fn inbound_links(&self) -> Vec<Link> {
        let connected = self.shared.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let inbound = connected
            .values()
            .filter_map(|connected| Some(Link::new(connected.clone(), connected.inbound.clone()?, false)));
        inbound.collect()
    }

    /// Hears of the end of the network.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.shared.stop.subscribe()
    }

    /// While it is paused no peer is let in.
    pub(crate) fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    // Tells the engine what a connection tells, if there is one.
    fn tell_engine(&self, order: Order) {
        if let Some(engine) = self.shared.engine.get() {
            // One that has ended hears nothing any more.
            let _ = engine.send(order);
        }
    }

    /// The peers that are connected now.
    pub fn connected(&self) -> Vec<PeerId> {
        let connected = self.shared.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.values().map(|connected| connected.peer).collect()
    }

    // Counts a connection until what this gives is dropped; `None` where there are too many.
    fn place(&self, peer: PeerId, most: usize, inbound: Option<mpsc::Sender<Command>>) -> Option<Place> {
        let mut connected = self.shared.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if connected.values().filter(|other| other.peer == peer).count() >= most {
            return None;
        }
        if connected.len() >= CONNECTIONS {
            let idle =
                connected.iter().filter_map(|(number, other)| Some(((*other.idle.borrow())?, *number)));
            let (since, number) = idle.min()?;
            if since.elapsed() < IDLE {
                return None;
            }
            connected.remove(&number)?.leave.send_replace(true);
        }
        let mut next = self.shared.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        let idle = watch::Sender::new(Some(tokio::time::Instant::now()));
        let number = *next;
        let place = Arc::new(Connected { peer, number, idle, leave: watch::Sender::new(false), inbound });
        connected.insert(*next, place.clone());
        Some(Place { shared: self.shared.clone(), connected: place, number: *next })
    }

    /// Ends all connections and serves no more.
    pub fn close(&self) {
        self.shared.stop.send_replace(true);
    }

    /// The same, and waits until the peers have been told; over iroh they otherwise learn only from silence that a
    /// process has ended.
    pub async fn close_and_tell(&self) {
        self.close();
        self.shared.transport.close().await;
    }

    /// What is kept in sync with a peer: also what was only ever exchanged over connections that the peer made.
    pub(crate) fn spaces_with(&self, peer: &Peer) -> Result<BTreeSet<SpaceId>, Error> {
        let mut spaces = self.spaces_met(&peer.id)?;
        spaces.extend(&peer.spaces);
        Ok(spaces)
    }

    /// What was ever the same here and at a peer.
    pub(crate) fn spaces_met(&self, peer: &PeerId) -> Result<BTreeSet<SpaceId>, Error> {
        let met = self.database.read(|engine| engine.agreed.newest(engine.storage.as_ref(), peer))?;
        let now = self.database.met(peer)?.agreed.into_keys();
        Ok(met.into_iter().map(|(space, _)| space).chain(now).collect())
    }

    // Notes that a peer could not be reached, if it is one that is known: whoever looks at the peers sees it.
    fn failed(&self, peer: Option<PeerId>, error: &Error) -> Result<(), Error> {
        let database = &self.database;
        let Some(id) = peer.filter(|id| database.find_peer(&id.to_string()).is_ok()) else { return Ok(()) };
        database.change_peer(id, |known| {
            known.failures += 1;
            known.last_error = error.to_string();
        })?;
        Ok(())
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        self.shared.transport.as_ref()
    }

    /// Whose network it is.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Connects to the peer at an address; that it is not there is noted.
    pub(crate) async fn dial_or_note(&self, address: &Address) -> Result<Exchange, Error> {
        let dialed = self.dial(address).await;
        if let Err(error) = &dialed {
            self.failed(address.peer, error)?;
        }
        dialed
    }

    pub(super) async fn dial(&self, address: &Address) -> Result<Exchange, Error> {
        let connection = self.shared.transport.dial(address).await?;
        let peer = connection.peer;
        let (commands, receiver) = mpsc::channel(8);
        let (sender, news) = mpsc::unbounded_channel();
        let this = self.worker();
        let receiver = (commands.downgrade(), receiver);
        let place = this.place(peer, usize::MAX, None);
        let place =
            place.ok_or_else(|| Error::Unreachable("too many connections are open already".into()))?;
        let connected = place.connected.clone();
        let task =
            tokio::spawn(async move { this.run(connection, place, Role::Dialer, receiver, sender).await });
        Ok(Exchange { peer, commands, news, task: Some(task), connected: Some(connected) })
    }

    // Connections hear of changes in what they follow from the first of them on.
    fn tell_changes(&self) {
        let changes = self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut changes) = changes else { return };
        let (routes, mut stop) = (self.shared.routes.clone(), self.shared.stop.subscribe());
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = changes.next() => event,
                    () = closed(&mut stop) => return,
                };
                let space = match event {
                    Some(Event::Change(change)) => Some(change.space),
                    Some(Event::Missed) => None,
                    None => return,
                };
                let _step = walk::wake(space.as_ref());
                match space {
                    Some(space) => routes.tell(&space),
                    None => routes.tell_all(),
                }
            }
        });
    }

    async fn run(
        &self,
        connection: Connection,
        place: Place,
        role: Role,
        (sender, commands): (mpsc::WeakSender<Command>, mpsc::Receiver<Command>),
        news: mpsc::UnboundedSender<News>,
    ) -> Result<(), Error> {
        let mut stop = self.shared.stop.subscribe();
        let (session, mut host) = begin(&self.database, role, connection.peer)?;
        host.source = connection.source;
        let ear = Arc::new(self.shared.routes.ear(place.number));
        host.ear = Some(ear.clone());
        let mut ears = Ears::new(news);
        if let Some(follower) = self.follower() {
            ears = ears.followed(&follower, connection.peer, place.number, sender);
            host.batches = Some(follower.batches);
        }
        let mut state = Some((session, host));
        self.tell_changes();
        let mut leave = place.connected.leave.subscribe();
        let idle = &place.connected.idle;
        let done = tokio::select! {
            done = run(connection, &mut state, &ear, commands, ears, idle) => done,
            () = closed(&mut stop) => Ok(()),
            () = closed(&mut leave) => Err(Error::Unreachable("others waited for the place".into())),
        };
        if let Some((_, host)) = state
            && let Some(host) = host.end_at_once()
        {
            // What is noted is a hint: that it could not be written is no reason to say that the exchange failed.
            let _ = tokio::task::spawn_blocking(move || host.end()).await;
        }
        done
    }

    async fn remember_met(&self, peer: PeerId) {
        let this = self.worker();
        // Less is known of the peer where this cannot be written; nothing else is lost.
        let _ = tokio::task::spawn_blocking(move || this.remember(&peer)).await;
    }

    // Writes down what connections with a peer came to, if that is news.
    fn remember(&self, peer: &PeerId) -> Result<(), Error> {
        let database = &self.database;
        let met = database.met(peer)?;
        let known = database.known_peer(peer)?;
        let news = known.is_some_and(|known| {
            let mut now = known.clone();
            now.take(&met);
            now != known
        });
        if news { database.change_peer(*peer, |known| known.take(&met)).map(drop) } else { Ok(()) }
    }

    /// Writes down what became of an exchange.
    pub(crate) fn note(
        &self,
        peer: PeerId,
        address: &Address,
        space: SpaceId,
        error: Option<&Error>,
    ) -> Result<(), Error> {
        self.note_all(peer, address, &[(space, error)])
    }

    /// The same of several spaces.
    pub(crate) fn note_all(
        &self,
        peer: PeerId,
        address: &Address,
        outcomes: &[(SpaceId, Option<&Error>)],
    ) -> Result<(), Error> {
        let database = &self.database;
        let now = database.read(|engine| Ok(engine.now()))?;
        let address =
            address.to_string().split('#').next().unwrap_or_default().trim_end_matches('/').to_owned();
        let met = database.met(&peer)?;
        database.change_peer(peer, |known| {
            known.take(&met);
            // An address over iroh says all places of the peer there are: one from before is out of date.
            let kind = |address: &str| address.starts_with("iroh:");
            known.addresses.retain(|other| !(kind(other) && kind(&address)));
            known.prefer(&address);
            let mut spaces: BTreeSet<SpaceId> = known.spaces.iter().copied().collect();
            for (space, error) in outcomes {
                match error {
                    None => {
                        known.last_sync_ms = now;
                        known.successes += 1;
                        known.last_error.clear();
                        // What the peer does not open is not asked of it again and again.
                        if spaces.insert(*space) {
                            known.spaces.push(*space);
                        }
                    }
                    Some(error) => {
                        known.failures += 1;
                        known.last_error = error.to_string();
                    }
                }
            }
        })?;
        Ok(())
    }
}

/// A connection that this side made, and its news.
pub(crate) struct Exchange {
    pub(crate) peer: PeerId,
    commands: mpsc::Sender<Command>,
    news: mpsc::UnboundedReceiver<News>,
    /// Only of a connection that this made.
    task: Option<tokio::task::JoinHandle<Result<(), Error>>>,
    connected: Option<Arc<Connected>>,
}

impl Exchange {
    /// Exchanges a space, until both sides have the same.
    pub(crate) async fn open(&mut self, space: SpaceId, pass: Option<Pass>) -> Result<Synced, Error> {
        // If the connection has ended, its news say why.
        let _ = self.commands.send(Command::Open(space, pass)).await;
        self.settled(space).await
    }

    /// Pulls a space, and says how that ended.
    pub(crate) async fn pull(
        &mut self,
        command: Command,
        space: SpaceId,
    ) -> Result<(PullEnd, Moved, Traffic), Error> {
        self.ask(command, |news| match news {
            News::Pulled(of, end, moved, traffic) if of == space => Some((end, moved, traffic)),
            _ => None,
        })
        .await
    }

    /// Does what a command says, and waits for the news that answer it.
    pub(crate) async fn ask<T>(
        &mut self,
        command: Command,
        answer: impl Fn(News) -> Option<T>,
    ) -> Result<T, Error> {
        // If the connection has ended, its news say why.
        let _ = self.commands.send(command).await;
        loop {
            match tokio::time::timeout(PATIENCE, self.news.recv()).await {
                Err(_) => return Err(Error::Unreachable("the peer does not answer any more".into())),
                Ok(Some(news)) => {
                    if let Some(answer) = answer(news) {
                        return Ok(answer);
                    }
                }
                Ok(None) => return Err(self.failure().await),
            }
        }
    }

    // The peer must have what was just written before the connection ends: only then others will let this key in. What
    // others write meanwhile may settle first.
    pub(super) async fn sent_more(&mut self, before: Synced) -> Result<Synced, Error> {
        loop {
            let now = self.settled(before.space).await?;
            if now.moved.sent > before.moved.sent {
                return Ok(now);
            }
        }
    }

    async fn settled(&mut self, space: SpaceId) -> Result<Synced, Error> {
        loop {
            for (of, outcome) in self.next().await? {
                match outcome {
                    Some(outcome) if of == space => return outcome,
                    _ => {}
                }
            }
        }
    }

    // What became of each space; those for which there was no room are left.
    async fn open_all(&mut self, left: &mut Vec<SpaceId>) -> Vec<(SpaceId, Result<Synced, Error>)> {
        // If the connection has ended, its news say why.
        let _ = self.commands.send(Command::OpenAll(left.clone())).await;
        let mut waiting: BTreeSet<SpaceId> = left.drain(..).collect();
        let mut done: Vec<(SpaceId, Result<Synced, Error>)> = Vec::new();
        let mut before = Traffic::default();
        while !waiting.is_empty() {
            let news = match self.next().await {
                Ok(news) => news,
                Err(error) => {
                    // One tells why, the others that it concerns them, too.
                    let others = || Error::Unreachable("the connection to the peer ended before".into());
                    let mut why = Some(error);
                    let failed =
                        waiting.into_iter().map(|space| (space, Err(why.take().unwrap_or_else(others))));
                    done.extend(failed);
                    break;
                }
            };
            for (space, mut outcome) in news.into_iter().filter(|(space, _)| waiting.remove(space)) {
                if let Some(Ok(Synced { traffic, .. })) = &mut outcome {
                    let Traffic { sent, received } = std::mem::replace(&mut before, *traffic);
                    *traffic = Traffic { sent: traffic.sent - sent, received: traffic.received - received };
                }
                match outcome {
                    Some(outcome) => done.push((space, outcome)),
                    None => left.push(space),
                }
            }
        }
        done
    }

    // The next news: what became of some spaces, or that there was no room for one.
    async fn next(&mut self) -> Result<Vec<(SpaceId, Option<Result<Synced, Error>>)>, Error> {
        let news = tokio::time::timeout(PATIENCE, self.news.recv()).await;
        let Ok(news) = news else {
            return Err(Error::Unreachable("the peer does not answer any more".into()));
        };
        let peer = self.peer;
        let synced = |space, moved, traffic, settled| {
            (space, Some(Ok(Synced { space, peer, moved, traffic, settled })))
        };
        Ok(match news {
            Some(News::Settled(space, moved, traffic)) => vec![synced(space, moved, traffic, true)],
            Some(News::Stalled(space, moved, traffic)) => vec![synced(space, moved, traffic, false)],
            Some(News::Unchanged(spaces, traffic)) => {
                let each = spaces.into_iter();
                each.map(|space| synced(space, Moved::default(), traffic, true)).collect()
            }
            Some(News::Later(space)) => vec![(space, None)],
            Some(News::Closed(space)) => vec![(space, Some(Err(Error::NotOpen(space))))],
            Some(News::Declined(space, why)) => {
                let why = format!("the peer does not take more of this space for now: {why}");
                vec![(space, Some(Err(Error::Peer(why))))]
            }
            Some(
                News::Moved | News::Pulled(..) | News::Answered(..) | News::Found(..) | News::Located(_),
            ) => Vec::new(),
            None => return Err(self.failure().await),
        })
    }

    /// Hands the connection over to the engine, which hears of all its news.
    pub(crate) fn hand_over(self, network: &Network, orders: &mpsc::UnboundedSender<Order>) {
        let Self { peer, commands, mut news, task: Some(task), connected: Some(connected) } = self else {
            return;
        };
        let link = Link::new(connected, commands, true);
        let (orders, number, network) = (orders.clone(), link.number, network.worker());
        // If the engine has ended, the connection ends with what is dropped here.
        let _ = orders.send(Order::Dialed(peer, Ok(link)));
        tokio::spawn(async move {
            while let Some(news) = news.recv().await {
                // A key that another space lets in enters by itself, as soon as it has the rules.
                let same: &[SpaceId] = match &news {
                    News::Settled(space, ..) => std::slice::from_ref(space),
                    News::Unchanged(spaces, _) => spaces,
                    _ => &[],
                };
                for space in same {
                    // Whatever is in its way is in the way the next time as well.
                    let _ = network.enrol_where_let_in(*space).await;
                }
                // An engine that has ended hears nothing any more.
                let _ = orders.send(Order::News(peer, number, news));
            }
            let error = task.await.ok().and_then(Result::err);
            network.remember_met(peer).await;
            let _ = orders.send(Order::Ended(peer, number, error));
        });
    }

    async fn failure(&mut self) -> Error {
        match &mut self.task {
            Some(task) => match task.await {
                Ok(Err(error)) => error,
                _ => Error::from(NetError::Closed),
            },
            None => Error::from(NetError::Closed),
        }
    }

    /// Says goodbye.
    pub(crate) async fn end(&mut self) {
        if self.commands.send(Command::End).await.is_ok() {
            // Until what was sent is out; the outcome is known already.
            if let Some(task) = &mut self.task {
                let _ = tokio::time::timeout(PATIENCE, task).await;
            }
        }
    }
}

// Waits until the network is closed, or a place has to be left.
async fn closed(stop: &mut watch::Receiver<bool>) {
    // An error means that the network is gone, which is the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests;
