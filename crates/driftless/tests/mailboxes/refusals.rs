//! A mailbox that does not let us do everything: what can be done is done, and the rest is told.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use driftless_net::BoxFuture;
use driftless_net::mailbox::{Listing, Mailbox as Place, MailboxError, Put};

use super::*;

/// Refuses to delete, or to put, as long as it is told to; counts what it is asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Strict {
    pub(super) inside: MemoryMailbox,
    pub(super) no_delete: Arc<AtomicBool>,
    pub(super) no_put: Arc<AtomicBool>,
    pub(super) asked: Arc<AtomicU64>,
    /// What is forgotten as soon as something is put.
    pub(super) forgets: Arc<Mutex<Option<Space>>>,
}

impl Strict {
    fn denied<T: Send + 'static>() -> BoxFuture<'static, Result<T, MailboxError>> {
        Box::pin(std::future::ready(Err(MailboxError::Denied("read only".into()))))
    }
}

impl Place for Strict {
    fn put_if_absent<'a>(
        &'a self,
        name: &'a ObjectName,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<Put, MailboxError>> {
        if self.no_put.load(Ordering::SeqCst) {
            return Self::denied();
        }
        if let Some(space) = self.forgets.lock().unwrap().take() {
            space.forget().unwrap();
        }
        self.inside.put_if_absent(name, bytes)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, MailboxError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.inside.list(prefix, after, limit)
    }

    fn get<'a>(
        &'a self,
        name: &'a ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, MailboxError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.inside.get(name, range)
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<(), MailboxError>> {
        if self.no_delete.load(Ordering::SeqCst) {
            return Self::denied();
        }
        self.inside.delete(name)
    }
}

pub(super) fn through(db: &Database, space: SpaceId, place: &Strict) -> Mailbox {
    db.mailbox(&space, URL, Arc::new(place.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_delete_reads_all_the_same_and_another_object_stands_for_the_changed_one() {
    let place = Strict::default();
    let [ann, bob, cid] = std::array::from_fn(|_| Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    let id = here.id();
    fill(&here, 0, 12);
    sync_with(&through(&ann, id, &place), &small()).await;
    sync(&through(&bob, id, &place)).await;
    fill(&space_of(&bob, id), 100, 3);
    sync(&through(&bob, id, &place)).await;
    let second = objects_of(&place.inside, &ann)[1].clone();
    place.inside.replace(&second, Some(b"something else".to_vec()));
    place.no_delete.store(true, Ordering::SeqCst);

    let synced = sync(&through(&ann, id, &place)).await;
    assert_eq!((synced.received, synced.repaired), (3, 1));
    assert!(synced.undeleted.as_ref().is_some_and(|why| why.contains("read only")), "{synced:?}");
    assert_eq!(place.inside.bytes(&second).unwrap(), b"something else");
    // Once, and whoever comes new has everything.
    let again = sync(&through(&ann, id, &place)).await;
    assert_eq!((again.repaired, again.objects_out, again.undeleted), (0, 0, None));
    let copied = sync(&through(&cid, id, &place)).await;
    assert_eq!(copied.alarms, []);
    same(&[&here, &space_of(&bob, id), &space_of(&cid, id)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_put_any_more_still_reads_and_is_told() {
    let place = Strict::default();
    let [ann, bob] = std::array::from_fn(|_| Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    let id = here.id();
    sync(&through(&ann, id, &place)).await;
    sync(&through(&bob, id, &place)).await;
    bob.add_mailbox(&id, URL).unwrap();
    place.no_put.store(true, Ordering::SeqCst);
    fill(&space_of(&bob, id), 0, 1);
    for turn in 0..3 {
        // The second time an object is there that was written down and not put.
        place.no_put.store(false, Ordering::SeqCst);
        fill(&here, 10 * turn, 2);
        sync(&through(&ann, id, &place)).await;
        place.no_put.store(true, Ordering::SeqCst);
        let mut received = 0;
        let mut count = |event| {
            if let MailboxEvent::Received { commits, .. } = event {
                received += commits;
            }
        };
        let refused = through(&bob, id, &place).sync(&MailboxOptions::default(), &mut count).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("read only")));
        assert_eq!(received, 2);
        assert!(bob.mailboxes().unwrap()[0].error.contains("read only"));
    }
    place.no_put.store(false, Ordering::SeqCst);
    assert_eq!(sync(&through(&bob, id, &place)).await.objects_out, 1);
    sync(&through(&ann, id, &place)).await;
    same(&[&here, &space_of(&bob, id)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_was_cancelled_says_nothing_of_how_the_mailbox_is() {
    let place = Strict::default();
    let ann = Database::memory().unwrap();
    let here = shared(&ann, &[]);
    let id = here.id();
    ann.add_mailbox(&id, URL).unwrap();
    let known = || ann.mailboxes().unwrap().remove(0);
    let cancelled = MailboxOptions::default();
    cancelled.control.cancel();
    assert!(!sync_with(&through(&ann, id, &place), &cancelled).await.finished);
    assert_eq!((known().last_ms, known().error), (0, String::new()));
    place.no_put.store(true, Ordering::SeqCst);
    through(&ann, id, &place).sync(&MailboxOptions::default(), &mut |_| ()).await.unwrap_err();
    let failed = known();
    assert!(failed.error.contains("read only"));
    // What was wrong is not known to be right.
    place.no_put.store(false, Ordering::SeqCst);
    sync_with(&through(&ann, id, &place), &cancelled).await;
    assert_eq!(known().error, failed.error);
    sync(&through(&ann, id, &place)).await;
    assert!(known().last_ms > 0 && known().error.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_object_stands_for_one_whose_commits_were_forgotten_meanwhile() {
    let place = Strict::default();
    let ann = Database::memory().unwrap();
    let here = shared(&ann, &[]);
    let id = here.id();
    fill(&here, 0, 12);
    sync_with(&through(&ann, id, &place), &small()).await;
    let all = objects_of(&place.inside, &ann);
    // One was changed, and stays; another is put again, and while it is the space is forgotten.
    place.inside.replace(&all[0], Some(vec![7; 300]));
    place.inside.replace(&all[1], None);
    place.no_delete.store(true, Ordering::SeqCst);
    *place.forgets.lock().unwrap() = Some(here);
    let synced = sync(&through(&ann, id, &place)).await;
    assert_eq!((synced.repaired, synced.sent), (1, 0));
    assert_eq!(objects_of(&place.inside, &ann), all);
}
