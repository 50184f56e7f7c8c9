//! A mailbox that stops answering: it is noticed and told, given up after a while, and the next exchange goes on from where
//! that one stopped. The clock is the runtime's, and is turned on whenever everybody waits.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless_net::BoxFuture;
use driftless_net::mailbox::{Listing, Mailbox as Place, MailboxError, Put};

use super::*;

/// Answers so many questions for an object, and then none any more, and never says so.
#[derive(Debug)]
struct Mute {
    inside: MemoryMailbox,
    answers: AtomicU64,
}

impl Mute {
    async fn speaks(&self) {
        let left =
            self.answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |answers| answers.checked_sub(1));
        if left.is_err() {
            std::future::pending().await
        }
    }
}

impl Place for Mute {
    fn put_if_absent<'a>(
        &'a self,
        name: &'a ObjectName,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<Put, MailboxError>> {
        Box::pin(async move {
            self.speaks().await;
            self.inside.put_if_absent(name, bytes).await
        })
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
            self.speaks().await;
            self.inside.get(name, range).await
        })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<(), MailboxError>> {
        self.inside.delete(name)
    }
}

fn mute(db: &Database, space: SpaceId, inside: &MemoryMailbox, answers: u64) -> Mailbox {
    db.mailbox(&space, URL, Arc::new(Mute { inside: inside.clone(), answers: AtomicU64::new(answers) }))
}

#[tokio::test(start_paused = true)]
async fn a_first_copy_from_a_mailbox_that_falls_silent_is_given_up_and_goes_on_from_there() {
    let place = MemoryMailbox::new();
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    let id = here.id();
    fill(&here, 0, 50);
    sync_with(&on(&ann, id, &place), &small()).await;
    bob.add_mailbox(&id, URL).unwrap();
    let (options, mut stalls) = (MailboxOptions::default(), Vec::new());
    let mut note = |event| {
        if let MailboxEvent::Stalled { waited } = event {
            stalls.push(waited.as_secs());
        }
    };
    let given_up = mute(&bob, id, &place, 4).sync(&options, &mut note).await;
    assert!(
        matches!(&given_up, Err(Error::Mailbox { error: MailboxError::Unreachable(why), .. }) if why.contains("180 seconds")),
        "{given_up:?}"
    );
    assert_eq!(stalls, (1..=18).map(|tens| tens * 10).collect::<Vec<_>>());
    let known = &bob.mailboxes().unwrap()[0];
    assert!(known.error.contains("180 seconds") && known.last_ms == 0, "{known:?}");
    // What came is here, and does not come again.
    assert_eq!(space_of(&bob, id).summary().unwrap().commits, 20);
    let rest = sync(&on(&bob, id, &place)).await;
    assert_eq!((rest.objects_in, rest.received), (7, 31));
    same(&[&here, &space_of(&bob, id)]);
    assert_eq!(bob.mailboxes().unwrap()[0].error, "");
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_falls_silent_while_it_is_written_gets_each_object_once() {
    let place = MemoryMailbox::new();
    let ann = Database::memory().unwrap();
    let here = shared(&ann, &[]);
    fill(&here, 0, 50);
    let given_up = mute(&ann, here.id(), &place, 3).sync(&small(), &mut |_| ()).await;
    assert!(
        matches!(given_up, Err(Error::Mailbox { error: MailboxError::Unreachable(_), .. })),
        "{given_up:?}"
    );
    assert_eq!(place.names().len(), 3);
    let rest = sync_with(&on(&ann, here.id(), &place), &small()).await;
    assert_eq!((rest.alarms.len(), place.names().len()), (0, 11));
    assert_eq!(sync(&on(&ann, here.id(), &place)).await.objects_out, 0);
}

#[tokio::test(start_paused = true)]
async fn who_cancels_does_not_wait_for_a_mailbox_that_says_nothing() {
    let place = MemoryMailbox::new();
    let ann = Database::memory().unwrap();
    let here = shared(&ann, &[]);
    let options = MailboxOptions::default();
    let control = options.control.clone();
    let mut cancel = |event| {
        if matches!(event, MailboxEvent::Stalled { .. }) {
            control.cancel();
        }
    };
    let begun = tokio::time::Instant::now();
    let cancelled = mute(&ann, here.id(), &place, 0).sync(&options, &mut cancel).await.unwrap();
    assert!(!cancelled.finished);
    assert!(begun.elapsed() < Duration::from_secs(11));
}
