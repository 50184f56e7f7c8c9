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
    taken: Arc<Mutex<HashMap<Source, usize>>>,
}

/// The place of one request; it is free again when this is dropped.
pub(super) struct Place {
    source: Source,
    taken: Arc<Mutex<HashMap<Source, usize>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new(all: usize, per_source: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_source, taken: Arc::default() }
    }

    /// A place, unless the source has as many as it may, or none becomes free in time. Whoever waits counts for its
    /// source, too.
    pub(super) async fn enter(&self, source: &Source) -> Option<Place> {
        {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let count = taken.entry(source.clone()).or_default();
            if *count >= self.per_source {
                return None;
            }
            *count += 1;
        }
        let mut place = Place { source: source.clone(), taken: self.taken.clone(), _permit: None };
        let permit = timeout(PATIENCE, self.all.clone().acquire_owned()).await.ok()?.ok()?;
        place._permit = Some(permit);
        Some(place)
    }

    /// How many places are taken by requests that are worked on, or wait.
    pub(super) fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.source);
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
        assert_eq!(places.taken(), 0);
    }
}
