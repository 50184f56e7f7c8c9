//! Very many small exchanges leave very many small objects. What a device needs that comes new.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use driftless_net::BoxFuture;
use driftless_net::mailbox::{Listing, Mailbox as Place, MailboxError, Put};

use super::refusals::{Strict, through};
use super::*;

// As many as in a long life with `DRIFTLESS_MAILBOXES=full`.
fn count() -> i64 {
    if std::env::var_os("DRIFTLESS_MAILBOXES").is_some_and(|full| full == "full") { 10_000 } else { 1000 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_reads_thousands_of_small_objects_and_everything_is_there() {
    let home = tempfile::tempdir().unwrap();
    let place = Strict::default();
    let ann = Database::memory().unwrap();
    let bob = Database::open(home.path().join("bob")).unwrap();
    let here = shared(&ann, &[]);
    let id = here.id();
    fill(&here, 0, count() - 1);
    let begun = Instant::now();
    let options = MailboxOptions { batch_commits: 1, ..MailboxOptions::default() };
    let put = sync_with(&through(&ann, id, &place), &options).await;
    assert_eq!(put.objects_out, count() as u64);
    eprintln!("{} objects put in {:?}", put.objects_out, begun.elapsed());
    let (begun, before) = (Instant::now(), place.asked.load(Ordering::SeqCst));
    let copied = sync(&through(&bob, id, &place)).await;
    assert_eq!((copied.objects_in, copied.alarms.len()), (count() as u64, 0));
    same(&[&here, &space_of(&bob, id)]);
    let asked = place.asked.load(Ordering::SeqCst) - before;
    eprintln!("read in {:?}, {asked} questions, {} bytes", begun.elapsed(), copied.bytes_in);
    let begun = Instant::now();
    sync(&through(&bob, id, &place)).await;
    eprintln!("an exchange without news: {:?}", begun.elapsed());
}

/// Each answer needs the runtime to come round some times; several may be waited for at once.
#[derive(Debug, Default)]
struct Far {
    inside: MemoryMailbox,
    asked: AtomicU64,
    most: AtomicU64,
    /// How many objects more it gives; then it fails.
    gives: AtomicU64,
}

impl Place for Far {
    fn put_if_absent<'a>(
        &'a self,
        name: &'a ObjectName,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<Put, MailboxError>> {
        self.inside.put_if_absent(name, bytes)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, MailboxError>> {
        self.inside.list(prefix, after, limit)
    }

    fn get<'a>(
        &'a self,
        name: &'a ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, MailboxError>> {
        Box::pin(async move {
            let now = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            self.asked.fetch_sub(1, Ordering::SeqCst);
            let less = |left: u64| left.checked_sub(1);
            if self.gives.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_err() {
                return Err(MailboxError::Unreachable("the line is cut".into()));
            }
            self.inside.get(name, range).await
        })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<(), MailboxError>> {
        self.inside.delete(name)
    }

    fn at_once(&self) -> usize {
        8
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_next_is_asked_for_meanwhile_and_taken_in_order() {
    let place = Arc::new(Far { gives: AtomicU64::new(u64::MAX), ..Far::default() });
    let [ann, bob] = std::array::from_fn(|_| Database::memory().unwrap());
    let here = shared(&ann, &[]);
    let id = here.id();
    fill(&here, 0, 99);
    let options = MailboxOptions { batch_commits: 1, ..MailboxOptions::default() };
    sync_with(&ann.mailbox(&id, URL, place.clone()), &options).await;
    let at_bob = bob.mailbox(&id, URL, place.clone());
    // One that is not there any more, and one that is not what it was.
    let objects = objects_of(&place.inside, &ann);
    place.inside.replace(&objects[40], None);
    place.inside.replace(&objects[60], Some(b"something longer than what was there".repeat(40)));
    place.gives.store(30, Ordering::SeqCst);
    let cut = at_bob.sync(&MailboxOptions::default(), &mut |_| ()).await;
    assert!(matches!(cut, Err(Error::Unreachable(_))), "{cut:?}");
    let got = space_of(&bob, id).summary().unwrap().commits;
    assert!((20..=30).contains(&got), "{got}");
    place.gives.store(u64::MAX, Ordering::SeqCst);
    let synced = sync(&at_bob).await;
    assert_eq!(kinds(&synced)[0], (41, AlarmKind::Missing));
    assert!(kinds(&synced).contains(&(61, AlarmKind::Damaged)) || synced.alarms.len() == 60);
    assert!((2..=8).contains(&place.most.load(Ordering::SeqCst)), "several at once, and not all");
    sync_with(&ann.mailbox(&id, URL, place.clone()), &options).await;
    assert_eq!(sync(&at_bob).await.alarms, []);
    same(&[&here, &space_of(&bob, id)]);
}
