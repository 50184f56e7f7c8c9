//! What the sync engine does next: a pure function of what users want, what happened, and the time.
//!
//! It knows no clock, no socket and no database: times are milliseconds of a clock that never goes back, chance is a
//! number it was given. What differs between two databases is not its business either; an exchange finds that out.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::id::{PeerId, SpaceId};

pub use crate::peers::exchanges::Unsent;
use crate::peers::prefs::{DEFAULT_INTERVAL, Wanted};

/// The longest pause between two attempts to reach a peer.
pub const LONGEST_PAUSE_MS: u64 = 64_000;
/// How often a connection that says nothing is checked.
pub const CHECK_MS: u64 = 60_000;
/// 2^6 seconds are the longest pause.
const MOST_DOUBLINGS: u32 = 6;

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Connect, trying the addresses of the peer in order. Answered by `connected` or `failed_to_connect`.
    Dial(PeerId),
    /// Exchange these spaces over the connection. Each is answered by `settled` or `failed`, or `disconnected` for all.
    Exchange(PeerId, Vec<SpaceId>),
    /// See whether the connection is alive. Answered by `disconnected` if it is not.
    Check(PeerId),
    /// End the connection: nobody wants anything over it any more.
    HangUp(PeerId),
}

/// How a peer stands with the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// There is a connection.
    pub connected: bool,
    /// One is being made.
    pub dialing: bool,
    /// An exchange is under way.
    pub running: bool,
    /// The spaces that wait for the peer.
    pub waiting: Vec<SpaceId>,
    /// How often in a row it failed.
    pub attempts: u32,
    /// How long it is until the next attempt, at least, in milliseconds.
    pub pause_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Link {
    #[default]
    Down,
    Dialing,
    Up {
        // Whether something was exchanged over it: a link that breaks before counts as an attempt that failed.
        proved: bool,
        checked: u64,
    },
}

#[derive(Debug, Clone, Copy, Default)]
struct Shared {
    // There is something to send or to fetch.
    waiting: bool,
    // An exchange is under way.
    running: bool,
    // How often in a row the peer did not open it.
    closed: u32,
    // When it was last exchanged; for one never exchanged, when the plan began to know it.
    last: u64,
}

impl Shared {
    // When it is exchanged again though nothing happens.
    fn due(&self, interval: Option<u64>, link: Link) -> Option<u64> {
        let interval = interval.map(|interval| interval.saturating_mul(1000));
        // Over a connection that others need it is asked for rarely.
        let up = matches!(link, Link::Up { .. });
        let pause = if up { DEFAULT_INTERVAL * 1000 } else { longest_pause_ms(self.closed) };
        let again = (self.closed > 0).then_some(pause);
        let soonest = interval.into_iter().chain(again).min()?;
        Some(self.last.saturating_add(soonest))
    }
}

#[derive(Debug, Clone, Default)]
struct Known {
    spaces: BTreeMap<SpaceId, Shared>,
    link: Link,
    attempts: u32,
    // No attempt before this.
    not_before: u64,
    // Nobody knows where the peer is: it has to come by itself.
    nowhere: bool,
    // Under which time it stands in the agenda.
    agenda: Option<u64>,
    // What of `unsent` was last asked for.
    kept: Unsent,
    // How many exchanges are under way.
    running: usize,
}

/// All that the engine has to remember. What something costs grows with what it concerns, not with how many peers and
/// spaces there are: who is to be looked at, and when, stands in an agenda.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    peers: BTreeMap<PeerId, Known>,
    wanted: BTreeMap<SpaceId, Wanted>,
    sharing: BTreeMap<SpaceId, BTreeSet<PeerId>>,
    agenda: BTreeSet<(u64, PeerId)>,
    // Whose `unsent` may not be what it was.
    changed: BTreeSet<PeerId>,
    paused: bool,
    dice: u64,
    now: u64,
}

impl Plan {
    /// A plan that knows nobody. `seed` spreads the pauses of many databases.
    pub fn new(seed: u64) -> Self {
        Self { dice: seed | 1, ..Self::default() }
    }

    /// What users want of a space from now on; `None` if nobody wants it exchanged. What becomes wanted is exchanged.
    pub fn want(&mut self, space: SpaceId, wanted: Option<Wanted>) {
        let before = match wanted {
            Some(wanted) => self.wanted.insert(space, wanted),
            None => self.wanted.remove(&space),
        };
        if before == wanted {
            return;
        }
        for peer in self.sharing.get(&space).cloned().unwrap_or_default() {
            if let Some(shared) = self.peers.get_mut(&peer).and_then(|known| known.spaces.get_mut(&space))
                && before.is_none()
            {
                shared.waiting = true;
            }
            self.schedule(&peer);
        }
    }

    /// What users want of a space.
    pub fn wanted(&self, space: &SpaceId) -> Option<Wanted> {
        self.wanted.get(space).copied()
    }

    /// A peer, and the spaces that are shared with it. Replaces what was said before; what waits goes on waiting.
    pub fn peer(&mut self, peer: PeerId, spaces: impl IntoIterator<Item = SpaceId>, now: u64) {
        self.now = self.now.max(now);
        let known = self.peers.entry(peer).or_default();
        let spaces: BTreeSet<SpaceId> = spaces.into_iter().collect();
        for gone in known.spaces.keys().filter(|space| !spaces.contains(space)) {
            remove_sharing(&mut self.sharing, gone, &peer);
        }
        known.spaces.retain(|space, _| spaces.contains(space));
        known.running = known.spaces.values().filter(|shared| shared.running).count();
        for space in spaces {
            // What has never been exchanged since the start is due: who knows what happened before.
            let new = Shared { waiting: true, last: now, ..Shared::default() };
            known.spaces.entry(space).or_insert(new);
            self.sharing.entry(space).or_default().insert(peer);
        }
        self.schedule(&peer);
    }

    /// One more space is shared with a peer that is known: the same on both sides just now.
    pub fn share(&mut self, peer: &PeerId, space: SpaceId, now: u64) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.spaces.entry(space).or_insert(Shared { last: now, ..Shared::default() });
        self.sharing.entry(space).or_default().insert(*peer);
        self.schedule(peer);
    }

    /// Whether there is any address at which a peer may be looked for. As long as nothing is said there is.
    pub fn can_be_dialed(&mut self, peer: &PeerId, can: bool) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if std::mem::replace(&mut known.nowhere, !can) == can {
            self.schedule(peer);
        }
    }

    /// Forgets a peer.
    pub fn forget(&mut self, peer: &PeerId) {
        let Some(known) = self.peers.remove(peer) else { return };
        for space in known.spaces.keys() {
            remove_sharing(&mut self.sharing, space, peer);
        }
        if let Some(at) = known.agenda {
            self.agenda.remove(&(at, *peer));
        }
        self.changed.remove(peer);
    }

    /// Whether a peer is known.
    pub fn knows(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Whether a space is shared with a peer.
    pub fn shares(&self, peer: &PeerId, space: &SpaceId) -> bool {
        self.peers.get(peer).is_some_and(|known| known.spaces.contains_key(space))
    }

    /// Whether an exchange of a space with a peer is under way.
    pub fn is_running(&self, peer: &PeerId, space: &SpaceId) -> bool {
        let shared = self.peers.get(peer).and_then(|known| known.spaces.get(space));
        shared.is_some_and(|shared| shared.running)
    }

    /// Whether a peer did not open a space when it was last asked.
    pub fn was_closed(&self, peer: &PeerId, space: &SpaceId) -> bool {
        let shared = self.peers.get(peer).and_then(|known| known.spaces.get(space));
        shared.is_some_and(|shared| shared.closed > 0)
    }

    /// The spaces of which an exchange with a peer is under way.
    pub fn running(&self, peer: &PeerId) -> impl Iterator<Item = SpaceId> {
        let known = self.peers.get(peer).filter(|known| known.running > 0);
        let spaces = known.into_iter().flat_map(|known| &known.spaces);
        spaces.filter(|(_, shared)| shared.running).map(|(space, _)| *space)
    }

    /// All peers, and the spaces that are shared with each.
    pub fn peers(&self) -> impl Iterator<Item = (&PeerId, Vec<SpaceId>)> {
        self.peers.iter().map(|(peer, known)| (peer, known.spaces.keys().copied().collect()))
    }

    /// How a peer stands.
    pub fn standing(&self, peer: &PeerId) -> Option<Standing> {
        let known = self.peers.get(peer)?;
        let waiting = known.spaces.iter().filter(|(_, shared)| shared.waiting);
        let waiting = waiting.map(|(space, _)| *space).collect();
        let connected = matches!(known.link, Link::Up { .. });
        let pause = known.not_before.saturating_sub(self.now);
        Some(Standing {
            connected,
            dialing: known.link == Link::Dialing,
            running: known.is_running(),
            waiting,
            attempts: known.attempts,
            pause_ms: if connected { 0 } else { pause },
        })
    }

    /// What was not sent when the database was closed.
    pub fn restore(&mut self, peer: PeerId, unsent: &Unsent, now: u64) {
        let known = self.peers.entry(peer).or_default();
        known.attempts = unsent.attempts;
        known.kept = unsent.clone();
        for space in &unsent.spaces {
            let shared = known.spaces.entry(*space).or_insert(Shared { last: now, ..Shared::default() });
            shared.waiting = true;
            self.sharing.entry(*space).or_default().insert(peer);
        }
        self.schedule(&peer);
    }

    /// What has to survive a restart; a peer for whom nothing waits is left out.
    pub fn unsent(&self) -> BTreeMap<PeerId, Unsent> {
        let unsent = self.peers.iter().map(|(peer, known)| (*peer, known.unsent()));
        unsent.filter(|(_, unsent)| *unsent != Unsent::default()).collect()
    }

    /// The same, of whom it is not what it was when this was last asked; nothing at all where nothing waits any more.
    pub fn take_unsent(&mut self) -> Vec<(PeerId, Unsent)> {
        let mut news = Vec::new();
        for peer in std::mem::take(&mut self.changed) {
            let Some(known) = self.peers.get_mut(&peer) else { continue };
            let mut unsent = known.unsent();
            // More attempts than these make no difference any more.
            unsent.attempts = unsent.attempts.min(MOST_DOUBLINGS);
            if unsent != known.kept {
                known.kept.clone_from(&unsent);
                news.push((peer, unsent));
            }
        }
        news
    }

    /// Commits of a space became durable, which `from` sent us if it was a peer.
    pub fn committed(&mut self, space: &SpaceId, from: Option<&PeerId>) {
        if !self.wanted.get(space).is_some_and(|wanted| wanted.on_commit) {
            return;
        }
        let mut touched = Vec::new();
        for peer in self.sharing.get(space).into_iter().flatten().filter(|peer| Some(*peer) != from) {
            // Over a link that is up the session sends it unasked; if the link breaks, all is exchanged on the next.
            if let Some(known) = self.peers.get_mut(peer)
                && !matches!(known.link, Link::Up { .. })
                && let Some(shared) = known.spaces.get_mut(space)
                && !std::mem::replace(&mut shared.waiting, true)
            {
                touched.push(*peer);
            }
        }
        for peer in touched {
            self.changed.insert(peer);
            self.schedule(&peer);
        }
    }

    /// There is a connection, whoever made it.
    pub fn connected(&mut self, peer: PeerId, now: u64) {
        self.now = self.now.max(now);
        let known = self.peers.entry(peer).or_default();
        known.link = Link::Up { proved: false, checked: now };
        known.not_before = now;
        for shared in known.spaces.values_mut() {
            (shared.waiting, shared.running) = (true, false);
        }
        known.running = 0;
        self.schedule(&peer);
    }

    /// No address led to the peer.
    pub fn failed_to_connect(&mut self, peer: &PeerId, now: u64) {
        let dice = self.throw();
        // The peer may have connected to us meanwhile.
        if let Some(known) = self.peers.get_mut(peer).filter(|known| known.link == Link::Dialing) {
            known.link = Link::Down;
            known.fail(now, dice);
            self.changed.insert(*peer);
            self.schedule(peer);
        }
    }

    /// The connection ended.
    pub fn disconnected(&mut self, peer: &PeerId, now: u64) {
        let dice = self.throw();
        let Some(known) = self.peers.get_mut(peer) else { return };
        // One that we ended is no failure.
        let Link::Up { proved, .. } = known.link else { return };
        known.link = Link::Down;
        for shared in known.spaces.values_mut() {
            shared.waiting |= std::mem::take(&mut shared.running);
        }
        known.running = 0;
        if proved {
            known.attempts = 0;
        }
        known.fail(now, dice);
        self.changed.insert(*peer);
        self.schedule(peer);
    }

    /// A space is the same on both sides.
    pub fn settled(&mut self, peer: &PeerId, space: &SpaceId, now: u64) {
        self.now = self.now.max(now);
        let Some(known) = self.peers.get_mut(peer) else { return };
        let failed = std::mem::take(&mut known.attempts) > 0;
        known.not_before = now;
        if let Link::Up { proved, checked } = &mut known.link {
            (*proved, *checked) = (true, now);
        }
        let Some(shared) = known.spaces.get_mut(space) else { return };
        let before = std::mem::replace(shared, Shared { last: now, ..Shared::default() });
        known.running -= usize::from(before.running);
        if known.kept != Unsent::default() {
            self.changed.insert(*peer);
        }
        // Most of all it is a live commit that has arrived, or one space of many: what is due later is found when the
        // agenda says so.
        if failed || (before.waiting || before.running) && known.running == 0 {
            self.schedule(peer);
        }
    }

    /// An exchange came to nothing, though the connection holds.
    pub fn failed(&mut self, peer: &PeerId, space: &SpaceId, now: u64) {
        let dice = self.throw();
        let Some(known) = self.peers.get_mut(peer) else { return };
        if let Some(shared) = known.spaces.get_mut(space) {
            known.running -= usize::from(shared.running);
            *shared = Shared { waiting: true, last: now, ..Shared::default() };
        }
        known.fail(now, dice);
        self.changed.insert(*peer);
        self.schedule(peer);
    }

    /// The peer does not open a space: it is asked again, for it may open it then. For such spaces alone no connection is
    /// kept, and the peer is dialed after pauses that grow; over a connection that others need it is asked when it is due.
    pub fn closed(&mut self, peer: &PeerId, space: &SpaceId, now: u64) {
        let shared = |plan: &Self| plan.peers.get(peer)?.spaces.get(space).copied();
        let before = shared(self).map_or(0, |shared| shared.closed);
        self.settled(peer, space, now);
        if let Some(shared) = self.peers.get_mut(peer).and_then(|known| known.spaces.get_mut(space)) {
            shared.closed = before.saturating_add(1);
        }
        if self.peers.get(peer).is_some_and(|known| known.running == 0) {
            self.schedule(peer);
        }
    }

    /// Somebody wants it now: everything, or what is named.
    pub fn sync_now(&mut self, peer: Option<&PeerId>, space: Option<&SpaceId>, now: u64) {
        self.now = self.now.max(now);
        let mut touched = Vec::new();
        for (id, known) in self.peers.iter_mut().filter(|(id, _)| peer.is_none_or(|peer| peer == *id)) {
            let named = known.spaces.iter_mut().filter(|(id, _)| space.is_none_or(|space| space == *id));
            let mut any = false;
            for (_, shared) in named {
                shared.waiting = true;
                any = true;
            }
            if any {
                known.not_before = now;
                touched.push(*id);
            }
        }
        touched.iter().for_each(|peer| self.schedule(peer));
    }

    /// Nothing is done until `resume`.
    pub fn pause(&mut self) {
        self.set_paused(true);
    }

    /// Goes on.
    pub fn resume(&mut self) {
        self.set_paused(false);
    }

    fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        let all: Vec<PeerId> = self.peers.keys().copied().collect();
        all.iter().for_each(|peer| self.schedule(peer));
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether anything waits for somebody, or is on its way.
    pub fn is_idle(&self) -> bool {
        self.peers.values().all(|known| {
            let mut wanted = known.spaces.iter().filter(|(space, _)| self.wanted.contains_key(space));
            !wanted.any(|(_, shared)| shared.waiting || shared.running)
        })
    }

    /// What is due. Each action is given out once: its answer, or time, brings the next.
    pub fn due(&mut self, now: u64) -> Vec<Action> {
        self.now = self.now.max(now);
        let mut due = Vec::new();
        while let Some((at, peer)) = self.agenda.first().copied().filter(|(at, _)| *at <= now) {
            self.agenda.remove(&(at, peer));
            if let Some(known) = self.peers.get_mut(&peer) {
                known.agenda = None;
            }
            due.push(peer);
        }
        // As many peers as there are get their turn, in the order of their names.
        due.sort_unstable();
        let mut actions = Vec::new();
        for peer in due {
            self.look(peer, now, &mut actions);
            self.schedule(&peer);
        }
        actions
    }

    fn look(&mut self, peer: PeerId, now: u64, actions: &mut Vec<Action>) {
        let Self { peers, wanted, paused, .. } = self;
        let Some(known) = peers.get_mut(&peer) else { return };
        let stays = known.stays(wanted) && !*paused;
        let needed = if *paused { Vec::new() } else { known.needed(wanted, now) };
        let running = known.is_running();
        match &mut known.link {
            Link::Dialing => {}
            Link::Down if (stays || !needed.is_empty()) && now >= known.not_before && !known.nowhere => {
                known.link = Link::Dialing;
                actions.push(Action::Dial(peer));
            }
            Link::Down => {}
            Link::Up { .. } if !stays && !running && needed.is_empty() => {
                known.link = Link::Down;
                actions.push(Action::HangUp(peer));
            }
            Link::Up { checked, .. } => {
                if now >= checked.saturating_add(CHECK_MS) {
                    *checked = now;
                    actions.push(Action::Check(peer));
                }
                if !needed.is_empty() && now >= known.not_before {
                    for space in &needed {
                        if let Some(shared) = known.spaces.get_mut(space) {
                            (shared.running, shared.waiting) = (true, true);
                        }
                    }
                    known.running += needed.len();
                    actions.push(Action::Exchange(peer, needed));
                }
            }
        }
    }

    /// When to ask for what is due again, if nothing happens before.
    pub fn next(&self) -> Option<u64> {
        self.agenda.first().map(|(at, _)| *at)
    }

    // Writes down when a peer is to be looked at again.
    fn schedule(&mut self, peer: &PeerId) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let at = known.next(&self.wanted, self.paused, self.now);
        let before = std::mem::replace(&mut known.agenda, at);
        if before != at {
            before.map(|at| self.agenda.remove(&(at, *peer)));
            at.map(|at| self.agenda.insert((at, *peer)));
        }
    }

    // Xorshift: only spreads pauses.
    fn throw(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }
}

fn remove_sharing(sharing: &mut BTreeMap<SpaceId, BTreeSet<PeerId>>, space: &SpaceId, peer: &PeerId) {
    if let Some(peers) = sharing.get_mut(space) {
        peers.remove(peer);
        if peers.is_empty() {
            sharing.remove(space);
        }
    }
}

impl Known {
    // Whether the connection is kept though nothing is to be done over it.
    fn stays(&self, wanted: &BTreeMap<SpaceId, Wanted>) -> bool {
        let mut open = self.spaces.iter().filter(|(_, shared)| shared.closed == 0);
        open.any(|(space, _)| wanted.get(space).is_some_and(|wanted| wanted.on_commit))
    }

    fn is_running(&self) -> bool {
        self.running > 0
    }

    fn needed(&self, wanted: &BTreeMap<SpaceId, Wanted>, now: u64) -> Vec<SpaceId> {
        let needed = self.spaces.iter().filter(|(space, shared)| {
            let Some(wanted) = wanted.get(space) else { return false };
            let due = shared.due(wanted.interval, self.link).is_some_and(|due| now >= due);
            !shared.running && (shared.waiting || due)
        });
        needed.map(|(space, _)| *space).collect()
    }

    fn unsent(&self) -> Unsent {
        let waiting = self.spaces.iter().filter(|(_, shared)| shared.waiting);
        Unsent { attempts: self.attempts, spaces: waiting.map(|(space, _)| *space).collect() }
    }

    // When something is due, as far as is known at `now`.
    fn next(&self, wanted: &BTreeMap<SpaceId, Wanted>, paused: bool, now: u64) -> Option<u64> {
        let idle = self.spaces.iter().filter(|(_, shared)| !shared.running && !paused);
        let needed = idle.filter_map(|(space, shared)| {
            let interval = wanted.get(space)?.interval;
            if shared.waiting { Some(0) } else { shared.due(interval, self.link) }
        });
        let needed = needed.min();
        let stays = !paused && self.stays(wanted);
        match self.link {
            Link::Dialing => None,
            Link::Down if self.nowhere => None,
            Link::Down if stays => Some(self.not_before),
            Link::Down => needed.map(|needed| needed.max(self.not_before)),
            // To be ended.
            Link::Up { .. } if !stays && !self.is_running() && needed.is_none_or(|needed| needed > now) => {
                Some(0)
            }
            Link::Up { checked, .. } => {
                let needed = needed.map(|needed| needed.max(self.not_before));
                needed.into_iter().chain([checked.saturating_add(CHECK_MS)]).min()
            }
        }
    }

    fn fail(&mut self, now: u64, dice: u64) {
        self.attempts = self.attempts.saturating_add(1);
        self.not_before = now.saturating_add(pause_ms(self.attempts, dice));
    }
}

/// How long to wait after so many attempts that failed in a row: between half of 2^n seconds and all of it, at most 64.
pub fn pause_ms(attempts: u32, dice: u64) -> u64 {
    let longest = longest_pause_ms(attempts);
    longest / 2 + dice % (longest / 2 + 1)
}

fn longest_pause_ms(attempts: u32) -> u64 {
    (1000 << attempts.min(MOST_DOUBLINGS)).min(LONGEST_PAUSE_MS)
}

#[cfg(test)]
mod tests;
