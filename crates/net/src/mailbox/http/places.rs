//! How many requests of one kind are worked on at once, in all and for one source. Who finds no place waits a little.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::source::Source;

/// How long somebody waits for a place.
const PATIENCE: Duration = Duration::from_secs(10);

/// Places for requests of one kind.
pub(super) struct Places {
    all: Arc<Semaphore>,
    per_source: usize,
    sources: Arc<Mutex<HashMap<Source, Own>>>,
}

// The places of one source, and how many of its requests have one or wait for one.
struct Own {
    places: Arc<Semaphore>,
    here: usize,
}

/// The place of one request; it is free again when this is dropped.
pub(super) struct Place {
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    _here: Here,
}

// A request that has a place, or waits for one.
struct Here {
    source: Source,
    sources: Arc<Mutex<HashMap<Source, Own>>>,
}

impl Places {
    pub(super) fn new(all: usize, per_source: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_source, sources: Arc::default() }
    }

    /// A place, unless none becomes free in time: of this source, and in all. How many wait is bounded by the sockets.
    pub(super) async fn enter(&self, source: &Source) -> Option<Place> {
        let (own, here) = {
            let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            let own = sources
                .entry(source.clone())
                .or_insert_with(|| Own { places: Arc::new(Semaphore::new(self.per_source)), here: 0 });
            own.here += 1;
            (own.places.clone(), Here { source: source.clone(), sources: self.sources.clone() })
        };
        let permits = timeout(PATIENCE, async {
            let own = own.acquire_owned().await.ok()?;
            Some((own, self.all.clone().acquire_owned().await.ok()?))
        });
        Some(Place { _permits: permits.await.ok()??, _here: here })
    }

    /// How many requests have a place, or wait for one.
    pub(super) fn here(&self) -> usize {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.values().map(|own| own.here).sum()
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = sources.get_mut(&self.source) {
            own.here = own.here.saturating_sub(1);
            if own.here == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_source_leaves_places_to_others_and_what_is_left_is_free() {
        let places = Places::new(3, 2);
        let (one, other) = (Source::of([10, 0, 0, 1].into()), Source::of([10, 0, 0, 2].into()));
        let kept = [places.enter(&one).await, places.enter(&one).await];
        assert!(kept.iter().all(Option::is_some) && places.enter(&one).await.is_none());
        let third = places.enter(&other).await;
        assert!(
            third.is_some() && places.enter(&other).await.is_none(),
            "all are taken, and it waits in vain"
        );
        drop(third);
        assert!(places.enter(&other).await.is_some());
        drop(kept);
        assert_eq!(places.here(), 0);
    }
}
