//! Which connections hear of a change: those that follow its space, and no other. What a change costs grows with them,
//! not with all that are open.
//!
//! A connection follows a space from before it first looks at it, so that it misses nothing, until the space is closed on
//! it. What it has not looked at yet is kept once per space, however often that changes: no queue, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftless_core::id::SpaceId;
use tokio::sync::Notify;

/// All connections of a network, and what each of them follows.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    ears: BTreeMap<u64, Entry>,
    followers: HashMap<SpaceId, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Entry {
    bell: Arc<Bell>,
    follows: BTreeSet<SpaceId>,
}

#[derive(Debug, Default)]
struct Bell {
    news: Mutex<News>,
    rung: Notify,
}

#[derive(Debug, Default)]
struct News {
    spaces: BTreeSet<SpaceId>,
    any: bool,
    /// How often there was some.
    told: u64,
}

/// What one connection hears. It hears nothing more once this is gone.
#[derive(Debug)]
pub(crate) struct Ear {
    routes: Arc<Routes>,
    number: u64,
    bell: Arc<Bell>,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    /// This space.
    Space(SpaceId),
    /// Nobody knows which.
    Any,
}

impl Routes {
    /// For the connection with this number, which no other has. It follows nothing yet.
    pub(crate) fn ear(self: &Arc<Self>, number: u64) -> Ear {
        let bell = Arc::new(Bell::default());
        let entry = Entry { bell: bell.clone(), follows: BTreeSet::new() };
        self.lock().ears.insert(number, entry);
        Ear { routes: self.clone(), number, bell }
    }

    /// Something became durable in a space.
    pub(crate) fn tell(&self, space: &SpaceId) {
        let table = self.lock();
        for number in table.followers.get(space).into_iter().flatten() {
            if let Some(entry) = table.ears.get(number) {
                entry.bell.ring(Changed::Space(*space));
            }
        }
    }

    /// Something became durable, and nobody knows where.
    pub(crate) fn tell_all(&self) {
        self.lock().ears.values().for_each(|entry| entry.bell.ring(Changed::Any));
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, changed: Changed) {
        let mut news = self.news();
        news.told += 1;
        match changed {
            Changed::Any => {
                news.any = true;
                news.spaces.clear();
            }
            Changed::Space(space) if !news.any => _ = news.spaces.insert(space),
            Changed::Space(_) => {}
        }
        drop(news);
        self.rung.notify_one();
    }
}

impl Ear {
    /// From now on it hears of changes of these spaces. To be called before the first look at what is in them.
    pub(crate) fn follow<'s>(&self, spaces: impl IntoIterator<Item = &'s SpaceId>) {
        let table = &mut *self.routes.lock();
        let Some(entry) = table.ears.get_mut(&self.number) else { return };
        for space in spaces {
            if entry.follows.insert(*space) {
                table.followers.entry(*space).or_default().insert(self.number);
            }
        }
    }

    /// It hears no more of a space.
    pub(crate) fn leave(&self, space: &SpaceId) {
        let table = &mut *self.routes.lock();
        if table.ears.get_mut(&self.number).is_some_and(|entry| entry.follows.remove(space)) {
            table.unfollow(self.number, space);
        }
    }

    /// What changed since this was last asked. Cancel-safe.
    pub(crate) async fn next(&self) -> Changed {
        loop {
            {
                let mut news = self.bell.news();
                if std::mem::take(&mut news.any) {
                    return Changed::Any;
                }
                if let Some(space) = news.spaces.pop_first() {
                    return Changed::Space(space);
                }
            }
            self.bell.rung.notified().await;
        }
    }
}

impl Table {
    fn unfollow(&mut self, number: u64, space: &SpaceId) {
        if let Some(followers) = self.followers.get_mut(space) {
            followers.remove(&number);
            if followers.is_empty() {
                self.followers.remove(space);
            }
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let table = &mut *self.routes.lock();
        let Some(entry) = table.ears.remove(&self.number) else { return };
        entry.follows.iter().for_each(|space| table.unfollow(self.number, space));
    }
}

#[cfg(test)]
impl Routes {
    /// How often each connection was told that something changed, by their numbers.
    pub(crate) fn told(&self) -> BTreeMap<u64, u64> {
        self.lock().ears.iter().map(|(number, entry)| (*number, entry.bell.news().told)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn next(ear: &Ear) -> Option<Changed> {
        match pin!(ear.next()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(changed) => Some(changed),
            Poll::Pending => None,
        }
    }

    fn space(n: u8) -> SpaceId {
        SpaceId([n; 32])
    }

    #[test]
    fn a_change_is_heard_by_those_who_follow_its_space_and_once_however_often_it_came() {
        let routes = Arc::new(Routes::default());
        let (one, other) = (routes.ear(1), routes.ear(2));
        one.follow(&[space(1), space(2)]);
        other.follow(&[space(2)]);
        for _ in 0..100 {
            routes.tell(&space(1));
        }
        assert_eq!(next(&one), Some(Changed::Space(space(1))));
        assert_eq!(next(&one), None);
        assert_eq!(next(&other), None);
        routes.tell(&space(2));
        routes.tell_all();
        for ear in [&one, &other] {
            assert_eq!(next(ear), Some(Changed::Any));
            assert_eq!(next(ear), None);
        }
    }

    #[test]
    fn nothing_is_left_of_a_connection_that_ended_or_closed_its_spaces() {
        let routes = Arc::new(Routes::default());
        let (one, other) = (routes.ear(1), routes.ear(2));
        one.follow(&[space(1), space(2)]);
        other.follow(&[space(2)]);
        one.leave(&space(1));
        routes.tell(&space(1));
        assert_eq!(next(&one), None);
        drop(one);
        assert_eq!(routes.lock().followers.len(), 1);
        drop(other);
        assert!(routes.lock().followers.is_empty() && routes.lock().ears.is_empty());
    }
}
