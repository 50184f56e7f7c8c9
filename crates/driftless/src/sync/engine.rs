//! The sync engine: one task that carries out what the plan says is due. It hears of commits, of what connections tell,
//! and of commands; it never looks into a log.
//!
//! What is done when is decided by `plan`; what is said on a connection, by the session.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driftless_core::id::{PeerId, SpaceId};
use driftless_net::{Address, Neighbours, Place as Where};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::database::Database;
use crate::error::Error;
use crate::peers::exchanges::sentence;
use crate::peers::prefs;
use crate::state::changes::{Changes, Event};
use crate::sync::command::{Command, News};
use crate::sync::events::SyncEvent;
use crate::sync::ledger::Ledger;
use crate::sync::link::{EngineStatus, Flushed, Link, Order, STALLED, declined};
use crate::sync::network::Network;
use crate::sync::plan::{Action, CHECK_MS, Plan, Standing};
use crate::tables::layout::LogSeq;
use crate::walk;

/// Exchanges that a connection interrupts when it ends, and that are noted one by one.
const INTERRUPTED: usize = 16;
/// A peer of which it is said again and again that it is nearby is looked for at once no oftener than this.
const NEARBY_MS: u64 = 5000;

/// How the engine goes about its work.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Also dial addresses that are only good within one network cable (link-local), among which clouds keep secrets of
    /// their machines.
    pub link_local: bool,
}

/// The background synchroniser of a database that is on a network. Clones are the same; it ends with the network.
#[derive(Debug, Clone)]
pub struct SyncEngine {
    orders: mpsc::UnboundedSender<Order>,
}

impl SyncEngine {
    /// Exchanges now, without waiting until it is due: with one peer or all, one space or all.
    pub fn sync_now(&self, peer: Option<&PeerId>, space: Option<&SpaceId>) {
        self.tell(Order::SyncNow(peer.copied(), space.copied()));
    }

    /// Ends all connections and makes no more before `resume`; what is committed meanwhile waits.
    pub fn pause(&self) {
        self.tell(Order::Pause(true));
    }

    /// Goes on after `pause`.
    pub fn resume(&self) {
        self.tell(Order::Pause(false));
    }

    /// Waits until everything that is here now is with every peer that shares it, at most this long.
    pub async fn flush(&self, patience: Duration) -> Result<Flushed, Error> {
        self.ask(|reply| Order::Flush(patience, reply)).await
    }

    /// How it stands.
    pub async fn status(&self) -> Result<EngineStatus, Error> {
        self.ask(Order::Status).await
    }

    /// Says goodbye to every peer, writes down what waits for whom, and ends, within this time.
    pub async fn close(&self, patience: Duration) {
        // An engine that has ended already is what is asked for.
        let _ = self.ask(|reply| Order::Close(patience, reply)).await;
    }

    fn tell(&self, order: Order) {
        // An engine that has ended does nothing any more, whatever it is told.
        let _ = self.orders.send(order);
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.tell(order(reply));
        answer.await.map_err(|_| Error::Unreachable("the sync engine has ended".into()))
    }
}

impl Network {
    /// Starts the sync engine: from now on spaces are exchanged with the known peers by themselves, as users want it. A
    /// network has one engine; later calls give the same. Needs a tokio runtime.
    pub fn start(&self) -> Result<SyncEngine, Error> {
        self.start_with(EngineOptions::default())
    }

    /// The same, for whoever wants something special. Only the first call decides.
    pub fn start_with(&self, options: EngineOptions) -> Result<SyncEngine, Error> {
        let mut fresh = None;
        let orders = self.engine_orders(|| {
            let (orders, receiver) = mpsc::unbounded_channel();
            fresh = Some(receiver);
            orders
        });
        if let Some(receiver) = fresh {
            let seed = self.database().read(|engine| Ok(u64::from_be_bytes(engine.random())))?;
            let network = self.worker();
            let mut changes = self.database().changes();
            let task = Task::new(network, options, seed, orders.clone());
            tokio::spawn(async move { task.run(receiver, &mut changes).await });
        }
        Ok(SyncEngine { orders })
    }
}

/// Who waits until something is delivered.
struct Waiter {
    missing: BTreeMap<(PeerId, SpaceId), LogSeq>,
    until: Instant,
    reply: oneshot::Sender<Flushed>,
}

struct Task {
    network: Network,
    database: Database,
    options: EngineOptions,
    plan: Plan,
    begun: Instant,
    links: BTreeMap<PeerId, Vec<Link>>,
    ledger: Ledger,
    waiters: Vec<Waiter>,
    /// Spaces whose wishes are known to the plan.
    looked: BTreeSet<SpaceId>,
    /// Known peers that were looked for because they were heard of nearby, and when.
    nearby: BTreeMap<PeerId, u64>,
    orders: mpsc::UnboundedSender<Order>,
    us: PeerId,
}

impl Task {
    fn new(
        network: Network,
        options: EngineOptions,
        seed: u64,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Self {
        let database = network.database().clone();
        Self {
            us: database.peer().unwrap_or(PeerId([0; 32])),
            ledger: Ledger::new(database.clone()),
            network,
            database,
            options,
            plan: Plan::new(seed),
            begun: Instant::now(),
            links: BTreeMap::new(),
            waiters: Vec::new(),
            looked: BTreeSet::new(),
            nearby: BTreeMap::new(),
            orders,
        }
    }

    // Of a clock that never goes back.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, changes: &mut Changes) {
        let mut settings = self.database.settings();
        let mut stop = self.network.stopping();
        // Where it cannot be listened to nobody is found nearby, and the rest goes on; whoever serves is told.
        let mut hearsay = self.network.hearsay().ok().flatten();
        // A database that stopped says so to whoever writes; there is nothing left to exchange.
        if self.restore().and_then(|()| self.reload()).is_err() {
            return;
        }
        // Those who connected before there was an engine. Whoever does from now on is told to it.
        self.network.inbound_links().into_iter().for_each(|link| self.arrived(link));
        let closing = loop {
            self.work();
            let next = self.plan.next().map(|at| self.begun + Duration::from_millis(at));
            let until = self.waiters.iter().map(|waiter| waiter.until).chain(next).min();
            let sleep = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Close(patience, reply)) => break Some((patience, reply)),
                    Some(order) => self.take(order),
                    None => break None,
                },
                event = changes.next() => match event {
                    Some(Event::Change(change)) => {
                        let _step = walk::wake(Some(&change.space));
                        self.plan.committed(&change.space, None);
                    }
                    Some(Event::Missed) => {
                        let all: Vec<SpaceId> = self.looked.iter().copied().collect();
                        all.iter().for_each(|space| self.plan.committed(space, None));
                    }
                    None => break None,
                },
                told = settings.changed() => if told.is_err() || self.reload().is_err() { break None },
                told = heard_nearby(&mut hearsay) => self.heard_nearby(&told),
                _ = stop.wait_for(|stop| *stop) => break None,
                () = sleep => {}
            }
            self.give_up_waiting();
        };
        if let Some((patience, reply)) = closing {
            self.farewell(&mut orders, patience).await;
            self.end().await;
            let _ = reply.send(());
        } else {
            self.end().await;
        }
    }

    // Says goodbye to everybody, and hears whether it was heard.
    async fn farewell(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>, patience: Duration) {
        let until = Instant::now() + patience;
        self.links.values_mut().flatten().for_each(Link::end);
        while !self.links.is_empty() {
            match tokio::time::timeout_at(until, orders.recv()).await {
                Ok(Some(order)) => self.take(order),
                Ok(None) | Err(_) => break,
            }
        }
    }

    async fn end(&mut self) {
        for (peer, links) in std::mem::take(&mut self.links) {
            links.into_iter().for_each(|mut link| self.ledger.close(&peer, &mut link));
        }
        self.ledger.note(self.plan.take_unsent());
        self.ledger.finish().await;
    }

    fn restore(&mut self) -> Result<(), Error> {
        let now = self.now();
        for (peer, unsent) in self.database.unsent()? {
            self.plan.restore(peer, &unsent, now);
        }
        Ok(())
    }

    /// Takes over who the peers are, and what users want.
    fn reload(&mut self) -> Result<(), Error> {
        let here: BTreeSet<SpaceId> = self
            .database
            .read(|engine| Ok(engine.summaries()?.into_iter().map(|summary| summary.id).collect()))?;
        let wanted =
            self.database.read(|engine| prefs::all_wanted(engine.storage.as_ref(), here.iter().copied()))?;
        let before = std::mem::replace(&mut self.looked, here);
        for space in before.union(&self.looked) {
            let wanted = wanted.get(space).copied();
            if wanted.is_none() && self.plan.wanted(space).is_some() {
                // Nobody here wants it any more: not even what is committed is told.
                self.links.values().flatten().for_each(|link| link.command(Command::Close(*space)));
            }
            self.plan.want(*space, wanted);
        }
        let now = self.now();
        let peers = self.database.peers()?;
        let known: BTreeSet<PeerId> = peers.iter().map(|peer| peer.id).collect();
        for peer in peers {
            let mut spaces = self.network.spaces_with(&peer)?;
            spaces.retain(|space| self.looked.contains(space));
            let can = self.network.near(&peer.id).is_some()
                || peer.addresses.iter().any(|address| self.is_good(address).is_some());
            self.plan.peer(peer.id, spaces, now);
            self.plan.can_be_dialed(&peer.id, can);
        }
        let all: Vec<PeerId> = self.plan.peers().map(|(peer, _)| *peer).collect();
        for gone in all.iter().filter(|peer| !known.contains(peer)) {
            self.forget_unless_linked(gone);
        }
        Ok(())
    }

    /// Peers that are known and away are looked for where they are now heard of, without waiting until it is due; the
    /// same one not again and again, for anybody may say that it is there.
    fn heard_nearby(&mut self, told: &[PeerId]) {
        let now = self.now();
        for peer in told {
            let before = self.nearby.get(peer).copied();
            if self.first(peer).is_none()
                && before.is_none_or(|before| now >= before.saturating_add(NEARBY_MS))
                && matches!(self.database.known_peer(peer), Ok(Some(_)))
            {
                self.nearby.insert(*peer, now);
                self.plan.can_be_dialed(peer, true);
                self.plan.sync_now(Some(peer), None, now);
            }
        }
    }

    fn forget_unless_linked(&mut self, peer: &PeerId) {
        if !self.links.contains_key(peer) {
            self.plan.forget(peer);
        }
    }

    /// An address that may be dialed without anybody asking.
    fn is_good(&self, address: &str) -> Option<Address> {
        let address: Address = address.parse().ok()?;
        (self.options.link_local || !is_link_local(&address)).then_some(address)
    }

    fn take(&mut self, order: Order) {
        let now = self.now();
        match order {
            Order::Arrived(link) => self.arrived(link),
            Order::Dialed(peer, Ok(mut link)) => {
                if self.plan.is_paused() {
                    link.end();
                    self.plan.failed_to_connect(&peer, now);
                } else {
                    self.linked(peer, link);
                }
            }
            // Why is noted with the peer.
            Order::Dialed(peer, Err(error)) => {
                self.plan.failed_to_connect(&peer, now);
                self.network.tell(SyncEvent::DialFailed { peer, error: sentence(&error) });
            }
            Order::News(peer, number, news) => self.heard(peer, number, news),
            Order::Ended(peer, number, error) => self.ended(peer, number, error),
            Order::SyncNow(peer, space) => self.plan.sync_now(peer.as_ref(), space.as_ref(), now),
            Order::Pause(paused) => {
                self.network.pause(paused);
                if paused {
                    self.plan.pause();
                    let all: Vec<PeerId> = self.links.keys().copied().collect();
                    all.iter().for_each(|peer| self.leave(peer, |_| true));
                } else {
                    self.plan.resume();
                }
            }
            Order::Flush(patience, reply) => self.flush(patience, reply),
            Order::Status(reply) => {
                let standing = |(peer, _): (&PeerId, _)| {
                    let standing = self.plan.standing(peer)?;
                    Some((*peer, Standing { connected: self.first(peer).is_some(), ..standing }))
                };
                let peers = self.plan.peers().filter_map(standing).collect();
                let _ = reply.send(EngineStatus { paused: self.plan.is_paused(), peers });
            }
            // The second one to close waits for nothing.
            Order::Close(_, reply) => _ = reply.send(()),
        }
    }

    /// A connection that a peer made: it serves both sides.
    fn arrived(&mut self, mut link: Link) {
        let (peer, now) = (link.peer, self.now());
        if self.plan.is_paused() {
            return link.end();
        }
        let is_guest = !self.plan.knows(&peer);
        if is_guest {
            self.plan.peer(peer, [], now);
            self.plan.can_be_dialed(&peer, false);
        }
        self.linked(peer, link);
        if is_guest {
            // As long as it is connected, it is looked after like those that are known. It opens what it wants itself.
            for space in self.network.spaces_met(&peer).unwrap_or_default() {
                if self.looked.contains(&space) {
                    self.plan.share(&peer, space, now);
                }
            }
        }
    }

    fn linked(&mut self, peer: PeerId, link: Link) {
        let now = self.now();
        let first = self.first(&peer).is_none();
        let links = self.links.entry(peer).or_default();
        if links.iter().any(|other| other.number == link.number) {
            return;
        }
        if links.is_empty() {
            self.network.tell(SyncEvent::Connected { peer, dialed: link.dialed });
        }
        links.push(link);
        let arrived = links.iter().any(|link| !link.dialed && !link.ending());
        if first {
            self.plan.connected(peer, now);
        }
        // Of two that dial each other at once, the dial of the lower one stays.
        if self.us > peer && arrived {
            self.leave(&peer, |link| link.dialed);
        }
    }

    /// The connection over which a peer is spoken to.
    fn first(&self, peer: &PeerId) -> Option<&Link> {
        self.links.get(peer).and_then(|links| links.iter().find(|link| !link.ending()))
    }

    /// Ends connections with a peer.
    fn leave(&mut self, peer: &PeerId, which: impl Fn(&Link) -> bool) {
        let (now, before) = (self.now(), self.first(peer).map(|link| link.number));
        let links = self.links.get_mut(peer).into_iter().flatten();
        links.filter(|link| which(link) && !link.ending()).for_each(Link::end);
        let after = self.first(peer).map(|link| link.number);
        if before != after {
            self.plan.disconnected(peer, now);
            if after.is_some() {
                self.plan.connected(*peer, now);
            }
        }
    }

    fn ended(&mut self, peer: PeerId, number: u64, error: Option<Error>) {
        let now = self.now();
        let first = self.first(&peer).is_some_and(|link| link.number == number);
        let Some(links) = self.links.get_mut(&peer) else { return };
        let Some(at) = links.iter().position(|link| link.number == number) else { return };
        let mut link = links.remove(at);
        let none_left = links.is_empty();
        if none_left {
            let error = error.as_ref().map(|error| sentence(error));
            self.network.tell(SyncEvent::Disconnected { peer, error });
        }
        if first {
            let why = error.unwrap_or_else(|| Error::Unreachable("the connection ended before".into()));
            // Of very many, some are enough to say why.
            for space in self.plan.running(&peer).take(INTERRUPTED) {
                self.ledger.failed(&peer, &mut link, space, &why);
            }
        }
        self.ledger.close(&peer, &mut link);
        if none_left {
            self.links.remove(&peer);
        }
        if first {
            self.plan.disconnected(&peer, now);
            if self.first(&peer).is_some() {
                self.plan.connected(peer, now);
            }
        }
        match self.database.known_peer(&peer) {
            // What was exchanged with it for the first time is kept with it from now on.
            Ok(Some(peer)) => {
                for space in self.network.spaces_with(&peer).unwrap_or_default() {
                    if self.looked.contains(&space) && !self.plan.shares(&peer.id, &space) {
                        self.plan.share(&peer.id, space, now);
                    }
                }
            }
            Ok(None) if none_left => self.plan.forget(&peer),
            _ => {}
        }
    }

    fn heard(&mut self, peer: PeerId, number: u64, news: News) {
        let now = self.now();
        let Some(link) =
            self.links.get_mut(&peer).and_then(|links| links.iter_mut().find(|link| link.number == number))
        else {
            return;
        };
        link.heard = Instant::now();
        if let Some(event) = link.event(&news, |space| self.plan.is_running(&peer, space)) {
            self.network.tell(event);
        }
        match news {
            News::Settled(space, moved, traffic) => {
                if self.plan.is_running(&peer, &space) {
                    self.ledger.ended(&peer, link, space, moved, traffic, None);
                } else {
                    link.moves(space, moved, traffic);
                }
                self.settled(peer, space, now);
            }
            News::Unchanged(spaces, traffic) => {
                for space in spaces {
                    if self.plan.is_running(&peer, &space) {
                        self.ledger.ended(&peer, link, space, Default::default(), traffic, None);
                    }
                    self.plan.settled(&peer, &space, now);
                    deliver(&mut self.waiters, &self.database, &peer, &space);
                }
            }
            News::Closed(space) => {
                self.ledger.failed(&peer, link, space, &Error::NotOpen(space));
                self.plan.closed(&peer, &space, now);
            }
            News::Declined(space, why) => {
                self.ledger.failed(&peer, link, space, &declined(&why));
                self.plan.failed(&peer, &space, now);
            }
            News::Stalled(space, moved, traffic) => {
                self.ledger.ended(&peer, link, space, moved, traffic, Some(STALLED.to_owned()));
                self.plan.failed(&peer, &space, now);
            }
            News::Later(space) => {
                link.full = true;
                self.plan.failed(&peer, &space, now);
            }
            _ => {}
        }
        if self.first(&peer).is_some_and(|link| link.full)
            && self.plan.standing(&peer).is_some_and(|standing| !standing.running)
        {
            // What did not fit into this session goes into the next.
            self.leave(&peer, |link| link.full);
        }
    }

    fn settled(&mut self, peer: PeerId, space: SpaceId, now: u64) {
        if !self.plan.shares(&peer, &space) {
            self.plan.share(&peer, space, now);
            if self.looked.insert(space) {
                let wanted = self.database.read(|engine| prefs::wanted(engine.storage.as_ref(), &space));
                // A database that stopped is noticed by the next who writes.
                self.plan.want(space, wanted.unwrap_or_default());
            }
        }
        self.plan.settled(&peer, &space, now);
        deliver(&mut self.waiters, &self.database, &peer, &space);
    }

    fn flush(&mut self, patience: Duration, reply: oneshot::Sender<Flushed>) {
        let now = self.now();
        let ends = self.database.read(|engine| {
            let ends = engine.summaries()?.into_iter();
            Ok(ends.map(|summary| (summary.id, summary.counts.commits)).collect::<BTreeMap<_, _>>())
        });
        let ends = ends.unwrap_or_default();
        let mut missing = BTreeMap::new();
        for (peer, spaces) in self.plan.peers() {
            for space in spaces {
                if let Some(end) = ends.get(&space)
                    && self.plan.wanted(&space).is_some()
                    && delivered(&self.database, peer, &space) < *end
                {
                    missing.insert((*peer, space), *end);
                }
            }
        }
        missing.keys().for_each(|(peer, space)| self.plan.sync_now(Some(peer), Some(space), now));
        self.waiters.push(Waiter { missing, until: Instant::now() + patience, reply });
        self.give_up_waiting();
    }

    // Answers whoever has waited long enough, or for everything.
    fn give_up_waiting(&mut self) {
        let now = Instant::now();
        let over = |waiter: &mut Waiter| waiter.missing.is_empty() || waiter.until <= now;
        for waiter in self.waiters.extract_if(.., over) {
            let _ = waiter.reply.send(Flushed { missing: waiter.missing.into_keys().collect() });
        }
    }

    fn work(&mut self) {
        let now = self.now();
        for action in self.plan.due(now) {
            match action {
                Action::Dial(peer) if self.first(&peer).is_some() => self.plan.connected(peer, now),
                Action::Dial(peer) => self.dial(peer),
                Action::Exchange(peer, spaces) => match self.first(&peer) {
                    Some(link) => self.exchange(link, spaces),
                    None => self.plan.disconnected(&peer, now),
                },
                Action::Check(peer) => self.check(peer, now),
                // Those that the peer made are the peer's to end.
                Action::HangUp(peer) => self.leave(&peer, |link| link.dialed),
            }
        }
        self.ledger.note(self.plan.take_unsent());
    }

    fn exchange(&self, link: &Link, spaces: Vec<SpaceId>) {
        let (closed, open): (Vec<SpaceId>, Vec<SpaceId>) =
            spaces.into_iter().partition(|space| self.plan.was_closed(&link.peer, space));
        if !open.is_empty() {
            link.command(Command::OpenAll(open));
        }
        for space in closed {
            // Who is let in by another space shows it, as long as it has not entered by itself.
            let pass = self.database.read(|engine| engine.pass(&space));
            link.command(Command::Open(space, pass.unwrap_or_default()));
        }
    }

    // The transport finds out whether the other side is there; here is found whether it does its part.
    fn check(&mut self, peer: PeerId, now: u64) {
        let running = self.plan.standing(&peer).is_some_and(|standing| standing.running);
        let Some(links) = self.links.get_mut(&peer) else { return self.plan.disconnected(&peer, now) };
        for link in links.iter_mut() {
            self.ledger.moved(&peer, link);
            let silent = link.heard.elapsed() >= Duration::from_millis(CHECK_MS);
            if running && silent {
                link.cut();
            }
        }
        self.ledger.flush_quiet(Some(&peer));
    }

    fn dial(&self, peer: PeerId) {
        let (network, orders, options) = (self.network.worker(), self.orders.clone(), self.options);
        tokio::spawn(async move {
            let dialed = network.reach(&peer, |address| options.link_local || !is_link_local(address)).await;
            match dialed {
                Ok(exchange) => exchange.hand_over(&network, &orders),
                // An engine that has ended does not care.
                Err(error) => _ = orders.send(Order::Dialed(peer, Err(error))),
            }
        });
    }
}

// Waits until something is new nearby, and gives who is there.
async fn heard_nearby(hearsay: &mut Option<watch::Receiver<Neighbours>>) -> Vec<PeerId> {
    if let Some(told) = hearsay
        && told.changed().await.is_ok()
    {
        return told.borrow_and_update().addresses().filter_map(|address| address.peer).collect();
    }
    // Nobody looks, or not any more.
    *hearsay = None;
    std::future::pending().await
}

// How far of our log of a space a peer has everything.
fn delivered(database: &Database, peer: &PeerId, space: &SpaceId) -> LogSeq {
    let met = database.met_in(peer, space).ok().flatten();
    let known = || database.known_peer(peer).ok().flatten();
    let before = || known()?.agreed.into_iter().find(|agreed| agreed.space == *space);
    met.or_else(before).map_or(0, |agreed| agreed.position)
}

fn deliver(waiters: &mut [Waiter], database: &Database, peer: &PeerId, space: &SpaceId) {
    let at = (*peer, *space);
    if waiters.iter().any(|waiter| waiter.missing.contains_key(&at)) {
        let position = delivered(database, peer, space);
        for waiter in waiters {
            if waiter.missing.get(&at).is_some_and(|end| position >= *end) {
                waiter.missing.remove(&at);
            }
        }
    }
}

/// Addresses that mean something only on one cable, or everything: what somebody else says of them is a trap.
pub(crate) fn is_link_local(address: &Address) -> bool {
    let Where::Http { host, .. } = &address.place else { return false };
    let Ok(host) = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() else { return false };
    match host.to_canonical() {
        std::net::IpAddr::V4(ip) => {
            ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()
        }
        std::net::IpAddr::V6(ip) => {
            // The last is where one cloud tells its machines their secrets.
            ip.is_unicast_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_mean_nothing_elsewhere_are_not_dialed_by_themselves() {
        let trap = |text: &str| is_link_local(&text.parse().unwrap());
        for text in [
            "http://169.254.169.254:80",
            "http://[fe80::1]:80",
            "http://[fd00:ec2::254]:80",
            "http://[::ffff:169.254.169.254]:80",
            "http://0.0.0.0:80",
            "http://255.255.255.255:80",
            "http://[ff02::1]:80",
        ] {
            assert!(trap(text), "{text}");
        }
        for text in ["http://127.0.0.1:80", "http://192.168.1.5:80", "http://example.org:80", "memory:ann"] {
            assert!(!trap(text), "{text}");
        }
    }
}
