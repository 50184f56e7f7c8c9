//! What the sync engine does next: a pure function of what users want, what happened, and the time.
//!
//! It knows no clock, no socket and no database: times are milliseconds of a clock that never goes back, chance is a
//! number it was given. What differs between two databases is not its business either; an exchange finds that out.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::id::{PeerId, SpaceId};

use crate::prefs::Wanted;

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

/// What survives a restart: who has not been reached, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unsent {
    /// How often in a row it failed.
    pub attempts: u32,
    /// The spaces that wait for the peer.
    pub spaces: Vec<SpaceId>,
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
    // When it was last exchanged; for one never exchanged, when the plan began to know it.
    last: u64,
}

impl Shared {
    // When it is exchanged again though nothing happens.
    fn due(&self, interval: u64) -> u64 {
        self.last.saturating_add(interval.saturating_mul(1000))
    }
}

#[derive(Debug, Clone, Default)]
struct Known {
    spaces: BTreeMap<SpaceId, Shared>,
    link: Link,
    attempts: u32,
    // No attempt before this.
    not_before: u64,
}

/// All that the engine has to remember.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    peers: BTreeMap<PeerId, Known>,
    wanted: BTreeMap<SpaceId, Wanted>,
    paused: bool,
    dice: u64,
}

impl Plan {
    /// A plan that knows nobody. `seed` spreads the pauses of many databases.
    pub fn new(seed: u64) -> Self {
        Self { dice: seed | 1, ..Self::default() }
    }

    /// What users want of a space from now on; `None` if nobody wants it exchanged.
    pub fn want(&mut self, space: SpaceId, wanted: Option<Wanted>) {
        match wanted {
            Some(wanted) => _ = self.wanted.insert(space, wanted),
            None => _ = self.wanted.remove(&space),
        }
    }

    /// What users want of a space.
    pub fn wanted(&self, space: &SpaceId) -> Option<Wanted> {
        self.wanted.get(space).copied()
    }

    /// A peer, and the spaces that are shared with it. Replaces what was said before; what waits goes on waiting.
    pub fn peer(&mut self, peer: PeerId, spaces: impl IntoIterator<Item = SpaceId>, now: u64) {
        let known = self.peers.entry(peer).or_default();
        let spaces: BTreeSet<SpaceId> = spaces.into_iter().collect();
        known.spaces.retain(|space, _| spaces.contains(space));
        for space in spaces {
            // What has never been exchanged since the start is due: who knows what happened before.
            known.spaces.entry(space).or_insert(Shared { waiting: true, running: false, last: now });
        }
    }

    /// Forgets a peer.
    pub fn forget(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// What was not sent when the database was closed.
    pub fn restore(&mut self, peer: PeerId, unsent: &Unsent, now: u64) {
        let known = self.peers.entry(peer).or_default();
        known.attempts = unsent.attempts;
        for space in &unsent.spaces {
            let shared = known.spaces.entry(*space).or_insert(Shared { last: now, ..Shared::default() });
            shared.waiting = true;
        }
    }

    /// What has to survive a restart; a peer for whom nothing waits is left out.
    pub fn unsent(&self) -> BTreeMap<PeerId, Unsent> {
        let unsent = self.peers.iter().map(|(peer, known)| {
            let waiting = known.spaces.iter().filter(|(_, shared)| shared.waiting);
            let spaces = waiting.map(|(space, _)| *space).collect();
            (*peer, Unsent { attempts: known.attempts, spaces })
        });
        unsent.filter(|(_, unsent)| unsent.attempts > 0 || !unsent.spaces.is_empty()).collect()
    }

    /// Commits of a space became durable, which `from` sent us if it was a peer.
    pub fn committed(&mut self, space: &SpaceId, from: Option<&PeerId>) {
        if !self.wanted.get(space).is_some_and(|wanted| wanted.on_commit) {
            return;
        }
        for (peer, known) in &mut self.peers {
            // Over a link that is up the session sends it unasked; if the link breaks, all is exchanged on the next.
            if Some(peer) != from
                && !matches!(known.link, Link::Up { .. })
                && let Some(shared) = known.spaces.get_mut(space)
            {
                shared.waiting = true;
            }
        }
    }

    /// There is a connection, whoever made it.
    pub fn connected(&mut self, peer: PeerId, now: u64) {
        let known = self.peers.entry(peer).or_default();
        known.link = Link::Up { proved: false, checked: now };
        known.not_before = now;
        for shared in known.spaces.values_mut() {
            (shared.waiting, shared.running) = (true, false);
        }
    }

    /// No address led to the peer.
    pub fn failed_to_connect(&mut self, peer: &PeerId, now: u64) {
        let dice = self.throw();
        // The peer may have connected to us meanwhile.
        if let Some(known) = self.peers.get_mut(peer).filter(|known| known.link == Link::Dialing) {
            known.link = Link::Down;
            known.fail(now, dice);
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
        if proved {
            known.attempts = 0;
        }
        known.fail(now, dice);
    }

    /// A space is the same on both sides.
    pub fn settled(&mut self, peer: &PeerId, space: &SpaceId, now: u64) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.attempts = 0;
        known.not_before = now;
        if let Link::Up { proved, checked } = &mut known.link {
            (*proved, *checked) = (true, now);
        }
        if let Some(shared) = known.spaces.get_mut(space) {
            *shared = Shared { waiting: false, running: false, last: now };
        }
    }

    /// An exchange came to nothing, though the connection holds.
    pub fn failed(&mut self, peer: &PeerId, space: &SpaceId, now: u64) {
        let dice = self.throw();
        let Some(known) = self.peers.get_mut(peer) else { return };
        if let Some(shared) = known.spaces.get_mut(space) {
            *shared = Shared { waiting: true, running: false, last: now };
        }
        known.fail(now, dice);
    }

    /// The peer does not open a space: it is asked again when the next exchange is due, not before.
    pub fn closed(&mut self, peer: &PeerId, space: &SpaceId, now: u64) {
        self.settled(peer, space, now);
    }

    /// Somebody wants it now: everything, or what is named.
    pub fn sync_now(&mut self, peer: Option<&PeerId>, space: Option<&SpaceId>, now: u64) {
        for (_, known) in self.peers.iter_mut().filter(|(id, _)| peer.is_none_or(|peer| peer == *id)) {
            let named = known.spaces.iter_mut().filter(|(id, _)| space.is_none_or(|space| space == *id));
            for (_, shared) in named {
                shared.waiting = true;
                known.not_before = now;
            }
        }
    }

    /// Nothing is done until `resume`.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Goes on.
    pub fn resume(&mut self) {
        self.paused = false;
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
        let Self { peers, wanted, paused, .. } = self;
        let mut actions = Vec::new();
        for (peer, known) in peers {
            let stays = known.stays(wanted) && !*paused;
            let needed = if *paused { Vec::new() } else { known.needed(wanted, now) };
            let running = known.spaces.values().any(|shared| shared.running);
            match &mut known.link {
                Link::Dialing => {}
                Link::Down if (stays || !needed.is_empty()) && now >= known.not_before => {
                    known.link = Link::Dialing;
                    actions.push(Action::Dial(*peer));
                }
                Link::Down => {}
                Link::Up { .. } if !stays && !running && needed.is_empty() => {
                    known.link = Link::Down;
                    actions.push(Action::HangUp(*peer));
                }
                Link::Up { checked, .. } => {
                    if now >= checked.saturating_add(CHECK_MS) {
                        *checked = now;
                        actions.push(Action::Check(*peer));
                    }
                    if !needed.is_empty() && now >= known.not_before {
                        for space in &needed {
                            if let Some(shared) = known.spaces.get_mut(space) {
                                (shared.running, shared.waiting) = (true, true);
                            }
                        }
                        actions.push(Action::Exchange(*peer, needed));
                    }
                }
            }
        }
        actions
    }

    /// When to ask for what is due again, if nothing happens before.
    pub fn next(&self) -> Option<u64> {
        if self.paused {
            return None;
        }
        let soonest = self.peers.values().filter_map(|known| {
            let spaces = known.spaces.iter().filter(|(_, shared)| !shared.running);
            let needed = spaces.filter_map(|(space, shared)| {
                let wanted = self.wanted.get(space)?;
                let due = if shared.waiting { 0 } else { shared.due(wanted.interval?) };
                Some(due.max(known.not_before))
            });
            let needed = needed.min();
            match known.link {
                Link::Dialing => None,
                Link::Down if known.stays(&self.wanted) => Some(known.not_before),
                Link::Down => needed,
                Link::Up { checked, .. } => {
                    needed.into_iter().chain([checked.saturating_add(CHECK_MS)]).min()
                }
            }
        });
        soonest.min()
    }

    // Xorshift: only spreads pauses.
    fn throw(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }
}

impl Known {
    // Whether the connection is kept though nothing is to be done over it.
    fn stays(&self, wanted: &BTreeMap<SpaceId, Wanted>) -> bool {
        self.spaces.keys().any(|space| wanted.get(space).is_some_and(|wanted| wanted.on_commit))
    }

    fn needed(&self, wanted: &BTreeMap<SpaceId, Wanted>, now: u64) -> Vec<SpaceId> {
        let needed = self.spaces.iter().filter(|(space, shared)| {
            let Some(wanted) = wanted.get(space) else { return false };
            let due = wanted.interval.is_some_and(|interval| now >= shared.due(interval));
            !shared.running && (shared.waiting || due)
        });
        needed.map(|(space, _)| *space).collect()
    }

    fn fail(&mut self, now: u64, dice: u64) {
        self.attempts = self.attempts.saturating_add(1);
        self.not_before = now.saturating_add(pause_ms(self.attempts, dice));
    }
}

/// How long to wait after so many attempts that failed in a row: between half of 2^n seconds and all of it, at most 64.
pub fn pause_ms(attempts: u32, dice: u64) -> u64 {
    let longest = (1000 << attempts.min(MOST_DOUBLINGS)).min(LONGEST_PAUSE_MS);
    longest / 2 + dice % (longest / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Wanted = Wanted { on_commit: true, interval: Some(300) };
    const ANN: PeerId = PeerId([1; 32]);
    const BEN: PeerId = PeerId([2; 32]);
    const NOTES: SpaceId = SpaceId([7; 32]);
    const SHOP: SpaceId = SpaceId([8; 32]);

    fn dial(peer: PeerId) -> Vec<Action> {
        vec![Action::Dial(peer)]
    }

    fn exchange(peer: PeerId, spaces: &[SpaceId]) -> Vec<Action> {
        vec![Action::Exchange(peer, spaces.to_vec())]
    }

    fn plan(wanted: Wanted) -> Plan {
        let mut plan = Plan::new(5);
        plan.want(NOTES, Some(wanted));
        plan.peer(ANN, [NOTES], 0);
        plan
    }

    /// Connected at 0, everything the same.
    fn quiet(wanted: Wanted) -> Plan {
        let mut plan = plan(wanted);
        assert_eq!(plan.due(0), dial(ANN));
        plan.connected(ANN, 0);
        assert_eq!(plan.due(0), exchange(ANN, &[NOTES]));
        plan.settled(&ANN, &NOTES, 0);
        plan
    }

    #[test]
    fn who_syncs_on_commit_stays_connected_and_who_does_not_hangs_up() {
        let mut live = quiet(USUAL);
        assert_eq!((live.due(0), live.is_idle()), (vec![], true));
        assert_eq!(live.next(), Some(CHECK_MS));
        assert_eq!(live.due(CHECK_MS), [Action::Check(ANN)]);
        let mut rare = quiet(Wanted { on_commit: false, interval: Some(300) });
        assert_eq!(rare.due(0), [Action::HangUp(ANN)]);
        rare.committed(&NOTES, None);
        assert_eq!((rare.due(299_999), rare.next()), (vec![], Some(300_000)));
        assert_eq!(rare.due(300_000), dial(ANN));
    }

    #[test]
    fn the_smallest_interval_of_all_users_is_used_and_where_all_are_off_nothing_is_sent() {
        let (slow, fast) = (
            Wanted { on_commit: false, interval: Some(300) },
            Wanted { on_commit: false, interval: Some(60) },
        );
        let mut plan = quiet(slow.and(fast));
        assert_eq!(plan.due(0), [Action::HangUp(ANN)]);
        assert_eq!((plan.due(59_999), plan.due(60_000)), (vec![], dial(ANN)));
        plan.connected(ANN, 60_000);
        plan.want(NOTES, None);
        assert_eq!(plan.due(60_000), [Action::HangUp(ANN)]);
        plan.committed(&NOTES, None);
        assert_eq!((plan.due(u64::MAX), plan.next()), (vec![], None));
    }

    #[test]
    fn failures_pause_up_to_64_seconds_and_never_give_up() {
        let mut plan = plan(USUAL);
        let mut now = 0;
        for attempt in 1..100 {
            assert_eq!(plan.due(now), dial(ANN), "attempt {attempt}");
            assert_eq!(plan.due(now), []);
            plan.failed_to_connect(&ANN, now);
            let next = plan.next().unwrap();
            let longest = (1000 << attempt.min(6)).min(LONGEST_PAUSE_MS);
            assert!((longest / 2..=longest).contains(&(next - now)), "attempt {attempt}: {}", next - now);
            assert_eq!(plan.due(next - 1), []);
            now = next;
        }
        plan.connected(ANN, now);
        assert_eq!(plan.due(now), exchange(ANN, &[NOTES]));
        plan.settled(&ANN, &NOTES, now);
        plan.disconnected(&ANN, now);
        assert!(plan.next().unwrap() <= now + 2000, "after it worked the pauses begin anew");
    }

    #[test]
    fn a_connection_that_breaks_before_anything_was_exchanged_is_an_attempt_that_failed() {
        let mut plan = plan(USUAL);
        let mut now = 0;
        for _ in 0..8 {
            assert_eq!(plan.due(now), dial(ANN));
            plan.connected(ANN, now);
            assert_eq!(plan.due(now), exchange(ANN, &[NOTES]));
            plan.disconnected(&ANN, now);
            now = plan.next().unwrap();
        }
        assert_eq!(plan.unsent()[&ANN], Unsent { attempts: 8, spaces: vec![NOTES] });
    }

    #[test]
    fn what_was_not_sent_survives_a_restart_and_is_due_at_once() {
        let mut before = quiet(USUAL);
        before.disconnected(&ANN, 10);
        before.committed(&NOTES, None);
        before.due(5000);
        before.failed_to_connect(&ANN, 5000);
        let unsent = before.unsent();
        assert_eq!(unsent[&ANN], Unsent { attempts: 2, spaces: vec![NOTES] });
        let mut after = Plan::new(6);
        after.want(NOTES, Some(Wanted { on_commit: true, interval: None }));
        after.restore(ANN, &unsent[&ANN], 0);
        assert!(!after.is_idle());
        assert_eq!(after.due(0), dial(ANN));
        after.failed_to_connect(&ANN, 0);
        assert!(
            after.next().unwrap() >= 4000,
            "it goes on where it was, and does not knock every second again"
        );
    }

    #[test]
    fn a_commit_from_a_peer_goes_to_the_others() {
        let mut plan = Plan::new(5);
        plan.want(NOTES, Some(Wanted { on_commit: true, interval: None }));
        plan.peer(ANN, [NOTES], 0);
        plan.peer(BEN, [NOTES], 0);
        for peer in [ANN, BEN] {
            plan.connected(peer, 0);
            plan.settled(&peer, &NOTES, 0);
        }
        plan.disconnected(&BEN, 0);
        plan.committed(&NOTES, Some(&ANN));
        assert_eq!(plan.unsent().keys().collect::<Vec<_>>(), [&BEN]);
        assert_eq!(plan.unsent()[&BEN].spaces, [NOTES]);
    }

    #[test]
    fn only_what_users_want_is_exchanged_and_now_means_now() {
        let mut plan = quiet(USUAL);
        plan.peer(ANN, [NOTES, SHOP], 0);
        assert_eq!(plan.due(0), []);
        plan.want(SHOP, Some(USUAL));
        assert_eq!(plan.due(0), exchange(ANN, &[SHOP]));
        plan.failed(&ANN, &SHOP, 0);
        assert_eq!(plan.due(0), []);
        plan.sync_now(None, Some(&SHOP), 0);
        assert_eq!(plan.due(0), exchange(ANN, &[SHOP]));
    }

    #[test]
    fn while_paused_nothing_is_done_and_afterwards_all_of_it() {
        let mut plan = quiet(USUAL);
        plan.pause();
        assert_eq!((plan.due(0), plan.next()), (vec![Action::HangUp(ANN)], None));
        plan.committed(&NOTES, None);
        assert_eq!(plan.due(1_000_000), []);
        plan.resume();
        assert_eq!(plan.due(1_000_000), dial(ANN));
    }
}
