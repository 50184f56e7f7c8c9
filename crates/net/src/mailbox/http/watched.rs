//! Who waits for news: a number for the first part of all names, another one after each put. After a restart all numbers
//! are others, so nobody misses what happened meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

pub(super) struct Watched {
    start: u64,
    // The last number that was given, for whoever waits.
    last: watch::Sender<u64>,
    // By first part; as many as there were put since the start, which the quota bounds.
    numbers: Mutex<HashMap<String, u64>>,
}

/// The first part of a name, or of the beginning of one.
pub(super) fn first(text: &str) -> &str {
    text.split('/').next().unwrap_or_default()
}

impl Watched {
    pub(super) fn new() -> Self {
        // Room for a thousand puts in each millisecond.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self::starting_at(u64::try_from(now).unwrap_or_default() << 10)
    }

    fn starting_at(start: u64) -> Self {
        Self { start, last: watch::Sender::new(start), numbers: Mutex::default() }
    }

    /// Something was put under this first part.
    pub(super) fn changed(&self, first: &str) {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.last.borrow().saturating_add(1);
        numbers.insert(first.to_owned(), next);
        // Under the lock, so that numbers go up.
        self.last.send_replace(next);
    }

    fn number(&self, first: &str) -> u64 {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.get(first).copied().unwrap_or(self.start)
    }

    /// The number of a first part, once it is another than `seen`.
    pub(super) async fn wait(&self, first: &str, seen: Option<u64>) -> u64 {
        let mut last = self.last.subscribe();
        loop {
            last.borrow_and_update();
            let number = self.number(first);
            if seen != Some(number) || last.changed().await.is_err() {
                return number;
            }
        }
    }

    /// The number as it is.
    pub(super) fn now(&self, first: &str) -> u64 {
        self.number(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_hears_of_its_own_part_and_of_what_came_before_it_asked() {
        let watched = Watched::starting_at(7);
        let seen = watched.wait("s", None).await;
        assert_eq!(seen, 7);
        watched.changed("t");
        assert_eq!(watched.now("s"), 7);
        let mut waits = std::pin::pin!(watched.wait("s", Some(seen)));
        let waiting = futures_util::poll!(waits.as_mut());
        assert!(waiting.is_pending());
        watched.changed("s");
        assert_eq!(waits.await, 9);
        assert_eq!(watched.wait("s", Some(seen)).await, 9, "at once");
        let again = Watched::starting_at(8);
        assert_eq!(again.wait("s", Some(9)).await, 8, "after a restart");
    }
}
