//! Pull-based sync of what an application names: discover, ask for the roots, pull each since its cursor. On every
//! connection, whoever made it, whenever a peer says that something changed, and when it is told to.
//!
//! It connects to known peers where no sync engine does. What is pulled in which order is in `flow`.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftless_core::id::{PeerId, SpaceId};
use driftless_core::limits::MAX_CHANGED;
use driftless_core::session::{Creator, Lookup};
use driftless_net::Address;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::database::Database;
use crate::error::Error;
use crate::peers::progress::{self, PullProgress};
use crate::share::invites::UserInvite;
use crate::state::changes::Event;
use crate::sync::command::Command;
use crate::sync::counted::Counted;
use crate::sync::engine::is_link_local;
use crate::sync::flow::{Flow, Flowed, Scope, Seen, find_over};
use crate::sync::follow::{Batches, Followed, Follower, SyncBatch};
use crate::sync::lookup::FoundBy;
use crate::sync::network::{Exchange, Network};
use crate::sync::roots::Roots;
use crate::tables::cursor;
use crate::{sync::follow::Hints, tables::agreed};

/// How long a hint waits for others, and a change for others to be told of with it.
const GATHER: Duration = Duration::from_millis(20);
/// What pulls came to is written down so often, and when nothing has been under way for so long.
const WRITE: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_millis(100);
/// How long both sides may take to know each other.
const GREETING: Duration = Duration::from_secs(20);
/// Batches that wait for a slow callback.
const BATCHES: usize = 1024;
/// The longest pause before a flow, or a dial, that failed is tried again is 2 to the power of this, in seconds.
const SLOWEST: u32 = 6;
/// The longest time without a look at whom to connect to.
const LOOK: Duration = Duration::from_secs(1);

type OnSync = Box<dyn FnMut(&SyncBatch) + Send>;

/// How to sync what an application names; made by `DocumentSync::builder`.
pub struct DocumentSyncBuilder {
    network: Network,
    users: Vec<Database>,
    roots: Roots,
    on_sync: Option<OnSync>,
    tell: bool,
}

impl DocumentSyncBuilder {
    /// Also for the user of another handle to the same database. If left unset, only for the one of the network.
    pub fn user(mut self, user: &Database) -> Self {
        self.users.push(user.clone());
        self
    }

    /// Which spaces each user pulls. If left unset, those in the user's `roots` document.
    pub fn roots(mut self, roots: impl Into<Roots>) -> Self {
        self.roots = roots.into();
        self
    }

    /// Called once for each batch that became durable, after the view has it, on a thread of its own and outside of every
    /// lock. Where it is too slow it misses batches: `DocumentSync::missed`. A panic is contained.
    pub fn on_sync(mut self, f: impl FnMut(&SyncBatch) + Send + 'static) -> Self {
        self.on_sync = Some(Box::new(f));
        self
    }

    /// Peers are only told of changes by `DocumentSync::notify_peers`. If left unset, they are told of every change.
    pub fn notify_by_hand(mut self) -> Self {
        self.tell = false;
        self
    }

    /// Begins. Of a network that is followed by another `DocumentSync`: an error. Needs a tokio runtime.
    pub fn start(self) -> Result<DocumentSync, Error> {
        let Self { network, users, roots, on_sync, tell } = self;
        let database = network.database().clone();
        // A handle to another database would pull into it what is asked for here.
        users.iter().try_for_each(|user| network.acting_as(user).map(drop))?;
        let (sender, batches) = sync_channel(BATCHES);
        let (missed, panics) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = panics.clone();
        if let Some(mut on_sync) = on_sync {
            let work = move || {
                while let Ok(batch) = batches.recv() {
                    if catch_unwind(AssertUnwindSafe(|| on_sync(&batch))).is_err() {
                        counts.fetch_add(1, Ordering::Relaxed);
                    }
                }
            };
            let thread = std::thread::Builder::new().name("on_sync".into());
            let thread = thread.spawn(work);
            thread.map_err(|error| Error::Invalid(format!("no thread for a callback: {error}")))?;
        }
        let (opened, connections) = mpsc::unbounded_channel();
        let counted = Arc::new(Counted::new(database));
        let batches = Batches { counted: counted.clone(), sender, missed: missed.clone() };
        let follower = Follower { opened, batches };
        if !network.follow(follower) {
            return Err(Error::Exists("a document sync of this network".into()));
        }
        let shared = Arc::new(Shared {
            network: network.worker(),
            counted,
            users,
            roots,
            lines: Mutex::default(),
            turns: Mutex::default(),
            under_way: watch::Sender::new(0),
            ended: tokio::sync::Notify::new(),
            stop: watch::Sender::new(false),
            missed,
            panics,
        });
        tokio::spawn(follow(shared.clone(), connections));
        tokio::spawn(dial_known(shared.clone()));
        tokio::spawn(write_down(shared.clone()));
        tokio::spawn(hear_changes(shared.clone(), tell));
        let alive = Arc::new(Alive(shared.stop.clone()));
        Ok(DocumentSync { shared, _alive: alive })
    }
}

/// Keeps the roots of users in sync by pulling them. Clones are the same; it ends with `close`, with the last clone, or
/// with its network.
#[derive(Clone)]
pub struct DocumentSync {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

// Stops it when its last handle is gone.
struct Alive(watch::Sender<bool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

struct Shared {
    network: Network,
    users: Vec<Database>,
    roots: Roots,
    counted: Arc<Counted>,
    lines: Mutex<BTreeMap<u64, Line>>,
    /// One flow per peer at a time, however many connections there are.
    turns: Mutex<BTreeMap<PeerId, Arc<tokio::sync::Mutex<()>>>>,
    under_way: watch::Sender<usize>,
    /// A connection ended.
    ended: tokio::sync::Notify,
    stop: watch::Sender<bool>,
    missed: Arc<AtomicU64>,
    panics: Arc<AtomicU64>,
}

// A connection that is followed.
struct Line {
    peer: PeerId,
    commands: mpsc::WeakSender<Command>,
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    Pull(Scope, Option<oneshot::Sender<Flowed>>),
    Find(Lookup, oneshot::Sender<Result<FoundBy, Error>>),
}

impl DocumentSync {
    /// Over a network; begins with `start`.
    pub fn builder(network: &Network) -> DocumentSyncBuilder {
        DocumentSyncBuilder {
            users: vec![network.database().clone()],
            network: network.clone(),
            roots: Roots::document(),
            on_sync: None,
            tell: true,
        }
    }

    /// Connects to whoever answers at an address, and stays connected as long as that lasts; from then on the peer is a
    /// known one, to which connections are made by themselves.
    pub async fn connect(&self, address: &Address) -> Result<PeerId, Error> {
        let exchange = self.shared.network.dial_or_note(address).await?;
        let peer = exchange.peer;
        self.shared.network.note_all(peer, address, &[])?;
        self.shared.hold(exchange);
        let mut begun = self.shared.under_way.subscribe();
        let followed = begun.wait_for(|_| self.shared.lines().values().any(|line| line.peer == peer));
        // It may have ended at once; then it is dialed again.
        let _ = tokio::time::timeout(GREETING, followed).await;
        Ok(peer)
    }

    /// Tells every connected peer that something changed: a hint without names, on which it pulls what it wants. Changes
    /// are told by themselves unless that was switched off.
    pub fn notify_peers(&self) {
        self.shared.tell(&[]);
    }

    /// Runs the flow now for one user, by local name, on every connection: for when its roots changed.
    pub fn trigger_pull(&self, user: &str) {
        self.shared.order(|| Scope { user: Some(user.to_owned()), ..Scope::everything() });
    }

    /// Runs the flow for all users on every connection, and says what came of it, peer by peer.
    pub async fn pull_now(&self) -> Vec<Flowed> {
        let mut answers = Vec::new();
        for line in self.shared.lines().values() {
            let (reply, answer) = oneshot::channel();
            if line.orders.send(Order::Pull(Scope::everything(), Some(reply))).is_ok() {
                answers.push(answer);
            }
        }
        let mut flowed = Vec::new();
        for answer in answers {
            // A connection that ended has nothing to say.
            flowed.extend(answer.await);
        }
        flowed
    }

    /// The documents of a collection that somebody made, as the connected peers have them: one page of each, as
    /// `Database::find_by` answers there.
    pub async fn find(&self, collection: &str, by: Creator) -> Vec<(PeerId, Result<FoundBy, Error>)> {
        let mut answers = Vec::new();
        for line in self.shared.lines().values() {
            let lookup = Lookup { collection: collection.to_owned(), by, after: None };
            let (reply, answer) = oneshot::channel();
            if line.orders.send(Order::Find(lookup, reply)).is_ok() {
                answers.push((line.peer, answer));
            }
        }
        let mut found = Vec::new();
        for (peer, answer) in answers {
            let ended = Err(Error::Unreachable("the connection ended before".into()));
            found.push((peer, answer.await.unwrap_or(ended)));
        }
        found
    }

    /// Forgets how far a space was pulled from every peer, and where both sides met, and pulls it again: both sides look
    /// at all that they have, and only what is missing travels.
    pub fn reset_for_root(&self, space: &SpaceId) -> Result<(), Error> {
        self.shared.counted.forget(Some(space));
        self.shared.network.database().reset_pulls(Some(space))?;
        let spaces = BTreeSet::from([*space]);
        self.shared.order(|| Scope { spaces: spaces.clone(), ..Scope::default() });
        Ok(())
    }

    /// The same for every space.
    pub fn reset_all(&self) -> Result<(), Error> {
        self.shared.counted.forget(None);
        self.shared.network.database().reset_pulls(None)?;
        self.shared.order(Scope::everything);
        Ok(())
    }

    /// Accepts an invite: the space is a root of the user on all devices, and is pulled at once.
    pub fn accept(&self, invite: &UserInvite) -> Result<(), Error> {
        let user = self.invited(invite)?;
        user.accept(invite)?;
        self.trigger_pull(&user.user()?);
        Ok(())
    }

    // Which of the users is invited.
    fn invited(&self, invite: &UserInvite) -> Result<&Database, Error> {
        for user in &self.shared.users {
            if user.identity()?.is_some_and(|identity| identity.0 == invite.to.0) {
                return Ok(user);
            }
        }
        Err(Error::NotPermitted("only who is invited answers an invite".into()))
    }

    /// What pulls came to, by peer, space and store.
    pub fn progress(&self) -> Result<Vec<PullProgress>, Error> {
        self.shared.counted.all()
    }

    /// The peers whose connections are followed.
    pub fn peers(&self) -> BTreeSet<PeerId> {
        self.shared.lines().values().map(|line| line.peer).collect()
    }

    /// How many batches the callback missed, being too slow.
    pub fn missed(&self) -> u64 {
        self.shared.missed.load(Ordering::Relaxed)
    }

    /// How often the callback panicked; it is called again for the next batch.
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// Waits until no flow is under way. What a peer is about to say is not known here.
    pub async fn idle(&self) {
        let mut under_way = self.shared.under_way.subscribe();
        // An error means that it has ended, which is the same.
        let _ = under_way.wait_for(|under_way| *under_way == 0).await;
    }

    /// Ends, and writes down what pulls came to.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.stop.send_replace(true);
        self.idle().await;
        let shared = self.shared.clone();
        let written = tokio::task::spawn_blocking(move || shared.counted.flush()).await;
        written.map_err(|_| Error::Poisoned("writing down what pulls came to stopped".into()))?
    }
}

impl Database {
    /// Forgets how far a space, or every space, was pulled from every peer, and where both sides met: the next pull
    /// reconciles all of it.
    pub fn reset_pulls(&self, space: Option<&SpaceId>) -> Result<(), Error> {
        let spaces: Vec<SpaceId> = match space {
            Some(space) => vec![*space],
            None => {
                self.read(|engine| Ok(engine.summaries()?.into_iter().map(|space| space.id).collect()))?
            }
        };
        self.write(|engine| {
            for space in &spaces {
                engine.agreed.forget(space);
                let storage = engine.storage.as_mut();
                agreed::forget(storage, space)?;
                cursor::forget(storage, space)?;
            }
            progress::forget(engine.storage.as_mut(), space)?;
            engine.staged();
            Ok(())
        })
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<u64, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, peer: PeerId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|other, turn| *other == peer || Arc::strong_count(turn) > 1);
        turns.entry(peer).or_default().clone()
    }

    fn order(&self, scope: impl Fn() -> Scope) {
        for line in self.lines().values() {
            // A connection that ended has nothing to do.
            let _ = line.orders.send(Order::Pull(scope(), None));
        }
    }

    // Tells all connected peers; what they may not read, their connections leave out.
    fn tell(&self, spaces: &[SpaceId]) {
        for line in self.lines().values() {
            let Some(commands) = line.commands.upgrade() else { continue };
            let told = Command::Tell(spaces.to_vec());
            if let Err(mpsc::error::TrySendError::Full(command)) = commands.try_send(told) {
                tokio::spawn(async move { commands.send(command).await.is_ok() });
            }
        }
    }

    // Keeps a connection until it ends, or all does.
    fn hold(self: &Arc<Self>, mut exchange: Exchange) {
        let (mut stop, shared) = (self.stop.subscribe(), self.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = exchange.ended() => {}
                () = stopped(&mut stop) => exchange.end().await,
            }
            shared.ended.notify_one();
        });
    }

    // What the users' devices share, as far as it may be something else since these spaces changed.
    fn own_spaces(&self, known: BTreeSet<SpaceId>, changed: &[SpaceId]) -> BTreeSet<SpaceId> {
        let identities: Vec<SpaceId> =
            self.users.iter().filter_map(|user| user.identity().ok().flatten()).collect();
        if identities.iter().all(|identity| known.contains(identity) && !changed.contains(identity)) {
            return known;
        }
        self.users.iter().flat_map(|user| user.own_spaces().unwrap_or_default()).collect()
    }

    async fn flow(&self, line: &mut Exchange, seen: &mut Seen, scope: &Scope) -> Flowed {
        let turn = self.turn(line.peer);
        let _turn = turn.lock().await;
        let flow =
            Flow { network: &self.network, users: &self.users, roots: &self.roots, counted: &self.counted };
        flow.run(line, seen, scope).await
    }
}

// Each connection that begins has a task of its own.
async fn follow(shared: Arc<Shared>, mut connections: mpsc::UnboundedReceiver<Followed>) {
    let (mut stop, mut closing) = (shared.stop.subscribe(), shared.network.stopping());
    loop {
        let followed = tokio::select! {
            followed = connections.recv() => followed,
            () = stopped(&mut stop) => return,
            () = stopped(&mut closing) => {
                shared.stop.send_replace(true);
                return;
            }
        };
        let Some(followed) = followed else { return };
        let (orders, receiver) = mpsc::unbounded_channel();
        let (number, peer) = (followed.number, followed.peer);
        shared.lines().insert(number, Line { peer, commands: followed.commands.clone(), orders });
        // What is due on it at once counts from now on.
        shared.under_way.send_modify(|under_way| *under_way += 1);
        let shared = shared.clone();
        tokio::spawn(async move {
            attend(&shared, followed, receiver).await;
            shared.lines().remove(&number);
        });
    }
}

// What is under way until this is dropped.
struct UnderWay<'s>(&'s Shared);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|under_way| *under_way -= 1);
    }
}

async fn attend(shared: &Shared, followed: Followed, mut orders: mpsc::UnboundedReceiver<Order>) {
    let Followed { peer, commands, mut news, hints, .. } = followed;
    let (mut stop, mut seen, mut failures) = (shared.stop.subscribe(), Seen::default(), 0_u32);
    let mut first = Some(UnderWay(shared));
    let mut due = Some(Order::Pull(Scope::everything(), None));
    let mut again: Option<(Instant, Scope)> = None;
    loop {
        if let Some(order) = due.take() {
            let under_way = first.take().unwrap_or_else(|| {
                shared.under_way.send_modify(|under_way| *under_way += 1);
                UnderWay(shared)
            });
            let Some(mut line) = Exchange::beside(peer, &commands, news) else { return };
            let ended = tokio::select! {
                ended = carry_out(shared, &mut line, &mut seen, order) => ended,
                () = stopped(&mut stop) => return,
            };
            news = line.into_news();
            drop(under_way);
            again = match ended {
                None => {
                    failures = 0;
                    None
                }
                Some(scope) => {
                    let pause = Duration::from_secs(1 << failures);
                    failures = (failures + 1).min(SLOWEST);
                    Some((Instant::now() + pause, scope))
                }
            };
        }
        let retry = async {
            match &again {
                Some((at, _)) => tokio::time::sleep_until(*at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            told = news.recv() => if told.is_none() { return },
            order = orders.recv() => match order {
                Some(order) => due = Some(order),
                None => return,
            },
            () = gathered(&hints) => {
                due = hinted(shared, &hints).await.map(|scope| Order::Pull(scope, None));
            }
            () = retry => due = again.take().map(|(_, scope)| Order::Pull(scope, None)),
            () = stopped(&mut stop) => return,
        }
    }
}

// Waits for hints, and until those that come together are together. Takes none: it may be left at any moment.
async fn gathered(hints: &Hints) {
    if !hints.are_marked() {
        hints.news.notified().await;
    }
    tokio::time::sleep(GATHER).await;
}

// What hints are about that is not here.
async fn hinted(shared: &Shared, hints: &Hints) -> Option<Scope> {
    let (marks, database) = (hints.take(), shared.network.database().clone());
    let scope = tokio::task::spawn_blocking(move || Scope::of(marks, &database)).await;
    // A database that failed says so to whoever writes.
    scope.ok()?.ok().filter(|scope| !scope.is_empty())
}

// Waits until it is over.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could stop it is gone, which is the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

// What to try again, if it failed and could succeed later.
async fn carry_out(shared: &Shared, line: &mut Exchange, seen: &mut Seen, order: Order) -> Option<Scope> {
    match order {
        Order::Find(lookup, reply) => {
            seen.asked += 1;
            // Who does not wait for it any more does not need it.
            let _ = reply.send(find_over(line, lookup).await);
            None
        }
        Order::Pull(scope, reply) => {
            let flowed = shared.flow(line, seen, &scope).await;
            // What the peer does not have yet it may get; nobody would tell this side of it.
            let lacking = lacking(shared, &flowed.withheld);
            let failed = !flowed.failed.is_empty();
            if let Some(reply) = reply {
                let _ = reply.send(flowed);
            }
            if failed { Some(scope) } else { lacking }
        }
    }
}

// Roots that are not here.
fn lacking(shared: &Shared, withheld: &[SpaceId]) -> Option<Scope> {
    let database = shared.network.database();
    let is_here = |space: &SpaceId| database.read(|engine| engine.load(space)).unwrap_or(true);
    let spaces: BTreeSet<SpaceId> = withheld.iter().filter(|space| !is_here(space)).copied().collect();
    (!spaces.is_empty()).then(|| Scope { spaces, ..Scope::default() })
}

// What changes here is told to all connected peers, some of it at once; and where it may change the roots, all is looked
// at anew, also if nobody pulled it.
async fn hear_changes(shared: Arc<Shared>, tell: bool) {
    let (mut changes, mut stop) = (shared.network.database().changes(), shared.stop.subscribe());
    let (mut changed, mut anything) = (BTreeSet::new(), false);
    let (mut until, mut own): (Option<Instant>, BTreeSet<SpaceId>) = (None, BTreeSet::new());
    loop {
        let gathered = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = changes.next() => {
                match event {
                    Some(Event::Change(change)) => _ = changed.insert(change.space),
                    Some(Event::Missed) => anything = true,
                    None => return,
                }
                anything |= changed.len() > MAX_CHANGED;
                until = until.or_else(|| Some(Instant::now() + GATHER));
            }
            () = gathered => {
                let spaces: Vec<SpaceId> = std::mem::take(&mut changed).into_iter().collect();
                let anything = std::mem::take(&mut anything);
                if tell {
                    shared.tell(if anything { &[] } else { &spaces });
                }
                own = shared.own_spaces(own, &spaces);
                let named: BTreeSet<SpaceId> = spaces.into_iter().filter(|space| own.contains(space)).collect();
                if anything || !named.is_empty() {
                    let everything = anything;
                    shared.order(|| Scope { everything, spaces: named.clone(), user: None });
                }
                until = None;
            }
            () = stopped(&mut stop) => return,
        }
    }
}

// What pulls came to is written down every second, and soon after nothing is under way any more.
async fn write_down(shared: Arc<Shared>) {
    let (mut stop, mut under_way) = (shared.stop.subscribe(), shared.under_way.subscribe());
    loop {
        tokio::select! {
            () = tokio::time::sleep(WRITE) => {}
            changed = under_way.changed() => {
                let idle = changed.is_ok() && *under_way.borrow_and_update() == 0;
                let still = tokio::time::timeout(QUIET, under_way.changed());
                if !idle || still.await.is_ok() { continue }
            }
            () = stopped(&mut stop) => return,
        }
        let shared = shared.clone();
        // A database that failed says so to whoever writes.
        let _ = tokio::task::spawn_blocking(move || shared.counted.flush()).await;
    }
}

// Known peers are connected to, as long as no sync engine does so.
async fn dial_known(shared: Arc<Shared>) {
    let (mut stop, mut settings) = (shared.stop.subscribe(), shared.network.database().settings());
    let mut failed: BTreeMap<PeerId, (u32, Instant)> = BTreeMap::new();
    loop {
        if !shared.network.has_engine() {
            for peer in shared.network.database().peers().unwrap_or_default() {
                let connected = shared.network.connected().contains(&peer.id);
                let waits = failed.get(&peer.id).is_some_and(|(_, until)| *until > Instant::now());
                if connected || waits || peer.addresses.is_empty() {
                    continue;
                }
                let reached = tokio::select! {
                    reached = shared.network.reach(&peer.id, |address| !is_link_local(address)) => reached,
                    () = stopped(&mut stop) => return,
                };
                match reached {
                    Ok(exchange) => {
                        failed.remove(&peer.id);
                        shared.hold(exchange);
                    }
                    Err(_) => {
                        let times = failed.get(&peer.id).map_or(0, |(times, _)| *times);
                        let until = Instant::now() + Duration::from_secs(1 << times);
                        failed.insert(peer.id, ((times + 1).min(SLOWEST), until));
                    }
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shared.ended.notified() => {}
            told = settings.changed() => if told.is_err() { return },
            () = stopped(&mut stop) => return,
        }
    }
}
