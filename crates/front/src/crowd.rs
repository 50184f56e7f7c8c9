//! Who has a socket open: a place is taken before the first byte is read. Those that have not shown the token are few,
//! and the oldest of them makes room for the next, so that whoever holds sockets open keeps nobody out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::limits::{CONNECTIONS, STRANGERS};

/// Counts open sockets.
#[derive(Default)]
pub(crate) struct Crowd(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    open: usize,
    next: u64,
    // In the order in which they came.
    strangers: BTreeMap<u64, watch::Sender<bool>>,
}

/// The place of one socket; given back when it is dropped.
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    leaving: watch::Receiver<bool>,
}

impl Crowd {
    /// A place for a socket, unless all are taken by those who showed the token.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Arc<Place>> {
        let mut counts = self.lock();
        if counts.strangers.len() >= STRANGERS || counts.open >= CONNECTIONS {
            let (_, leave) = counts.strangers.pop_first()?;
            leave.send_replace(true);
        }
        let (leave, leaving) = watch::channel(false);
        let number = counts.next;
        counts.next += 1;
        counts.open += 1;
        counts.strangers.insert(number, leave);
        drop(counts);
        Some(Arc::new(Place { crowd: self.clone(), number, leaving }))
    }

    // A panic elsewhere leaves nothing half-done here.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It has shown the token, and stays.
    pub(crate) fn stay(&self) {
        self.crowd.lock().strangers.remove(&self.number);
    }

    /// Waits until it has to make room, which it never has to once it stays.
    pub(crate) async fn has_to_leave(&self) {
        if self.leaving.clone().wait_for(|leave| *leave).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.lock();
        counts.open = counts.open.saturating_sub(1);
        counts.strangers.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_make_room_and_those_who_showed_the_token_stay() {
        let crowd = Arc::new(Crowd::default());
        let known: Vec<_> = (0..4).map(|_| crowd.enter().unwrap()).collect();
        known.iter().for_each(|place| place.stay());
        let strangers: Vec<_> = (0..STRANGERS * 2).map(|_| crowd.enter().unwrap()).collect();
        let left = strangers.iter().filter(|place| *place.leaving.borrow()).count();
        assert_eq!(left, STRANGERS, "the older half has to leave");
        assert!(known.iter().all(|place| !*place.leaving.borrow()));
        drop(strangers);
        let all: Vec<_> = (known.len()..CONNECTIONS)
            .map(|_| {
                let place = crowd.enter().unwrap();
                place.stay();
                place
            })
            .collect();
        assert!(crowd.enter().is_none());
        drop(all);
        assert_eq!(crowd.lock().open, known.len());
    }
}
