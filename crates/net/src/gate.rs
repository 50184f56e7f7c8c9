//! How many connections a listener has open, and for whom: a place is taken before the first byte is read, and given
//! back when the last part of the connection is dropped. Strangers who only wait make room for others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::source::Source;
use crate::transport::NetError;

/// What a stranger is told who had to leave.
pub(crate) const PLACE_LOST: NetError =
    NetError::Timeout("nothing was proven, and others waited for the place");

/// How many places more than a newcomer's a source has that gives one up at once.
const MANY_MORE: usize = 4;

/// What a gate lets in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    /// Connections in all.
    pub(crate) connections: usize,
    /// Of these, of strangers.
    pub(crate) unproven: usize,
    /// Of these, from one source.
    pub(crate) unproven_per_source: usize,
    /// How long a stranger has its place for sure.
    pub(crate) grace: Duration,
}

/// Counts the connections of one listener.
pub(crate) struct Gate {
    caps: Caps,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    open: usize,
    next: u64,
    // In the order in which they came.
    strangers: BTreeMap<u64, Stranger>,
    by_source: HashMap<Source, usize>,
}

/// A connection whose peer is not proven.
struct Stranger {
    source: Source,
    since: Instant,
    leave: watch::Sender<bool>,
}

impl Gate {
    pub(crate) fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self { caps, counts: Mutex::default() })
    }

    /// A place for a connection from `source`, unless its caps are reached. Then a stranger may have to leave for it: one
    /// who had time enough to prove itself, or one of very many from the same source. So whoever is quick gets in,
    /// however many half-open connections wait.
    pub(crate) fn enter(self: &Arc<Self>, source: Source) -> Option<Arc<Slot>> {
        let Caps { connections, unproven, unproven_per_source, grace } = self.caps;
        let mut counts = self.lock();
        if counts.open >= connections {
            return None;
        }
        let from_source = counts.by_source.get(&source).copied().unwrap_or(0);
        if from_source >= unproven_per_source {
            counts.make_room(&source, grace)?;
        } else if counts.strangers.len() >= unproven {
            let (most, count) = counts.by_source.iter().max_by_key(|(_, count)| **count)?;
            let (most, count) = (most.clone(), *count);
            if count <= from_source {
                return None;
            }
            let grace = if count >= from_source + MANY_MORE { Duration::ZERO } else { grace };
            counts.make_room(&most, grace)?;
        }
        let (leave, leaving) = watch::channel(false);
        let number = counts.next;
        counts.next += 1;
        counts.open += 1;
        counts.strangers.insert(number, Stranger { source: source.clone(), since: Instant::now(), leave });
        *counts.by_source.entry(source).or_default() += 1;
        drop(counts);
        Some(Arc::new(Slot { gate: self.clone(), number, leaving }))
    }

    /// Whether strangers have a good part of their places: then a source is worth a check.
    #[cfg(feature = "iroh")]
    pub(crate) fn is_crowded(&self) -> bool {
        self.lock().strangers.len() >= self.caps.unproven / 4
    }

    // A panic elsewhere leaves nothing half-done here.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    // The oldest stranger of a source leaves, if it is old enough.
    fn make_room(&mut self, source: &Source, grace: Duration) -> Option<()> {
        let (number, oldest) = self.strangers.iter().find(|(_, stranger)| stranger.source == *source)?;
        if oldest.since.elapsed() < grace {
            return None;
        }
        oldest.leave.send_replace(true);
        let number = *number;
        self.forget_stranger(number);
        Some(())
    }

    fn forget_stranger(&mut self, number: u64) {
        let Some(stranger) = self.strangers.remove(&number) else { return };
        if let Some(count) = self.by_source.get_mut(&stranger.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_source.remove(&stranger.source);
            }
        }
    }
}

/// The place of one connection.
pub(crate) struct Slot {
    gate: Arc<Gate>,
    number: u64,
    leaving: watch::Receiver<bool>,
}

impl Slot {
    /// The peer is no stranger any more: it counts only as a connection, and stays.
    pub(crate) fn prove(&self) {
        self.gate.lock().forget_stranger(self.number);
    }

    /// Waits until this connection has to leave, which it never has to once it is proven.
    pub(crate) async fn has_to_leave(&self) {
        if self.leaving.clone().wait_for(|leave| *leave).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.gate.lock();
        counts.open = counts.open.saturating_sub(1);
        counts.forget_stranger(self.number);
    }
}

/// The same for a connection that may have no place to lose, such as one that was dialed.
pub(crate) async fn has_to_leave(slot: Option<&Slot>) {
    match slot {
        Some(slot) => slot.has_to_leave().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(3);

    fn gate(connections: usize, unproven: usize, unproven_per_source: usize) -> Arc<Gate> {
        Gate::new(Caps { connections, unproven, unproven_per_source, grace: GRACE })
    }

    fn ip(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn each_cap_holds_and_a_place_that_is_left_is_free() {
        let by_source = gate(9, 9, 2);
        let kept: Vec<_> = (0..3).map(|_| by_source.enter(ip("10.0.0.1"))).collect();
        assert_eq!(kept.iter().flatten().count(), 2);
        assert!(by_source.enter(ip("10.0.0.2")).is_some());
        drop(kept);
        assert!(by_source.enter(ip("10.0.0.1")).is_some());
        assert!(by_source.lock().by_source.is_empty(), "nothing is remembered of who left");

        let strangers = gate(9, 2, 9);
        let kept: Vec<_> = (1..4).map(|host| strangers.enter(ip(&format!("10.0.0.{host}")))).collect();
        assert_eq!(kept.iter().flatten().count(), 2);
    }

    #[test]
    fn who_is_proven_counts_only_as_a_connection() {
        let gate = gate(3, 1, 1);
        let kept: Vec<_> = (0..4)
            .map(|_| {
                let slot = gate.enter(ip("10.0.0.1"))?;
                slot.prove();
                slot.prove();
                Some(slot)
            })
            .collect();
        assert_eq!(kept.iter().flatten().count(), 3);
        drop(kept);
        let counts = gate.lock();
        assert_eq!((counts.open, counts.strangers.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_stranger_of_a_source_leaves_for_the_next_after_a_while() {
        let gate = gate(9, 9, 2);
        let (first, second) = (gate.enter(ip("10.0.0.1")).unwrap(), gate.enter(ip("10.0.0.1")).unwrap());
        assert!(gate.enter(ip("10.0.0.1")).is_none(), "it may still prove itself");
        tokio::time::advance(GRACE).await;
        second.prove();
        let third = gate.enter(ip("10.0.0.1")).unwrap();
        let fourth = gate.enter(ip("10.0.0.1")).unwrap();
        first.has_to_leave().await;
        assert!(gate.enter(ip("10.0.0.1")).is_none());
        drop((first, second, third, fourth));
        let counts = gate.lock();
        assert_eq!((counts.open, counts.strangers.len(), counts.by_source.len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_with_many_places_leaves_one_to_a_source_with_none() {
        let gate = gate(99, 8, 8);
        let many: Vec<_> = (0..8).map(|_| gate.enter(ip("10.0.0.1")).unwrap()).collect();
        let others: Vec<_> = (2..9).map(|host| gate.enter(ip(&format!("10.0.0.{host}")))).collect();
        assert_eq!(others.iter().flatten().count(), 5, "until nobody has many more than the newcomer");
        many[0].has_to_leave().await;
        assert!(gate.enter(ip("10.0.0.20")).is_none());
        tokio::time::advance(GRACE).await;
        assert!(gate.enter(ip("10.0.0.20")).is_some());
        let one = others[0].as_ref().unwrap();
        assert!(tokio::time::timeout(GRACE, one.has_to_leave()).await.is_err(), "who has one place keeps it");
    }
}
