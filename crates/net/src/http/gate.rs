//! How many sockets a listener has open, and for whom: a place is taken before the first byte is read, and given back
//! when the last part of the connection is dropped.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::HttpOptions;

/// Counts the sockets of one listener.
pub(super) struct Gate {
    connections: usize,
    unproven: usize,
    unproven_per_source: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    open: usize,
    unproven: usize,
    by_source: HashMap<Source, usize>,
}

/// What one stranger has: an IPv4 address, or the 64 bits of IPv6 that a household gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

impl Gate {
    pub(super) fn new(options: &HttpOptions) -> Arc<Self> {
        Arc::new(Self {
            connections: options.connections,
            unproven: options.unproven,
            unproven_per_source: options.unproven_per_source,
            counts: Mutex::default(),
        })
    }

    /// A place for a socket from `address`, unless its caps are reached.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Slot>> {
        let source = Source::of(address);
        let mut counts = self.lock();
        let from_source = counts.by_source.get(&source).copied().unwrap_or(0);
        if counts.open >= self.connections
            || counts.unproven >= self.unproven
            || from_source >= self.unproven_per_source
        {
            return None;
        }
        counts.open += 1;
        counts.unproven += 1;
        counts.by_source.insert(source, from_source + 1);
        drop(counts);
        Some(Arc::new(Slot { gate: self.clone(), source, proven: AtomicBool::new(false) }))
    }

    // A panic elsewhere leaves nothing half-done here.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn forget_unproven(&mut self, source: Source) {
        self.unproven = self.unproven.saturating_sub(1);
        if let Some(count) = self.by_source.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

/// The place of one socket.
pub(super) struct Slot {
    gate: Arc<Gate>,
    source: Source,
    proven: AtomicBool,
}

impl Slot {
    /// The peer is no stranger any more: it counts only as a connection.
    pub(super) fn prove(&self) {
        if !self.proven.swap(true, Ordering::SeqCst) {
            self.gate.lock().forget_unproven(self.source);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.gate.lock();
        counts.open = counts.open.saturating_sub(1);
        if !*self.proven.get_mut() {
            counts.forget_unproven(self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(connections: usize, unproven: usize, unproven_per_source: usize) -> Arc<Gate> {
        Gate::new(&HttpOptions { connections, unproven, unproven_per_source, ..HttpOptions::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
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
        assert_eq!((counts.open, counts.unproven), (0, 0));
    }

    #[test]
    fn a_household_is_one_source() {
        assert_eq!(Source::of(ip("2001:db8::1")), Source::of(ip("2001:db8::ffff:0:0:1")));
        assert_ne!(Source::of(ip("2001:db8::1")), Source::of(ip("2001:db8:0:1::1")));
        assert_eq!(Source::of(ip("::ffff:10.0.0.1")), Source::of(ip("10.0.0.1")));
        assert_ne!(Source::of(ip("10.0.0.1")), Source::of(ip("10.0.0.2")));
    }
}
