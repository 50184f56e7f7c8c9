//! What every adapter must do, as async functions that panic when it does not. For tests of adapters only.
//!
//! Each takes a mailbox that may hold anything already, and works under names of its own; `all` calls every one.

use std::sync::Arc;

use super::{Listed, MAX_OBJECT, Mailbox, MailboxError, ObjectName, Put};

/// Calls every function of this file. `salt` is part of every name: give another one for each call on the same place.
pub async fn all(mailbox: Arc<dyn Mailbox>, salt: &str) {
    what_is_put_can_be_listed_and_got(&*mailbox, &format!("{salt}-a")).await;
    a_name_keeps_its_first_bytes(&*mailbox, &format!("{salt}-b")).await;
    a_listing_goes_on_after_any_name(&*mailbox, &format!("{salt}-c")).await;
    a_prefix_may_end_in_the_middle_of_a_part(&*mailbox, &format!("{salt}-d")).await;
    a_range_gives_no_more_than_there_is(&*mailbox, &format!("{salt}-e")).await;
    what_is_deleted_is_gone(&*mailbox, &format!("{salt}-f")).await;
    the_largest_object_fits_and_no_larger(&*mailbox, &format!("{salt}-g")).await;
    of_many_writers_of_one_name_one_wins(mailbox.clone(), &format!("{salt}-h")).await;
    many_writers_at_once_lose_nothing(mailbox, &format!("{salt}-i")).await;
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("a name of the tests is a name")
}

async fn put(mailbox: &dyn Mailbox, at: &str, bytes: &[u8]) -> Put {
    mailbox.put_if_absent(&name(at), bytes.to_vec()).await.expect("an object can be put")
}

async fn listed(mailbox: &dyn Mailbox, prefix: &str, after: &str, limit: usize) -> (Vec<Listed>, bool) {
    let listing = mailbox.list(prefix, after, limit).await.expect("a place can be listed");
    (listing.objects, listing.more)
}

async fn names(mailbox: &dyn Mailbox, prefix: &str, after: &str, limit: usize) -> (Vec<String>, bool) {
    let (objects, more) = listed(mailbox, prefix, after, limit).await;
    (objects.iter().map(|object| object.name.to_string()).collect(), more)
}

/// Bytes come back as they were, with their size, and nothing is there that was not put.
pub async fn what_is_put_can_be_listed_and_got(mailbox: &dyn Mailbox, at: &str) {
    assert_eq!(listed(mailbox, &format!("{at}/"), "", 10).await, (Vec::new(), false));
    let (first, empty) = (format!("{at}/x/1"), format!("{at}/x/2"));
    assert_eq!(mailbox.get(&name(&first), 0..10).await, Ok(None));
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(put(mailbox, &first, &bytes).await, Put::Stored);
    assert_eq!(put(mailbox, &empty, &[]).await, Put::Stored);
    assert_eq!(mailbox.get(&name(&first), 0..256).await, Ok(Some(bytes)));
    assert_eq!(mailbox.get(&name(&empty), 0..256).await, Ok(Some(Vec::new())));
    let (objects, more) = listed(mailbox, &format!("{at}/"), "", 10).await;
    let found: Vec<_> = objects.iter().map(|object| (object.name.to_string(), object.size)).collect();
    assert_eq!((found, more), (vec![(first, 256), (empty, 0)], false));
}

/// A second put under the same name changes nothing, and says so.
pub async fn a_name_keeps_its_first_bytes(mailbox: &dyn Mailbox, at: &str) {
    let at = format!("{at}/1");
    assert_eq!(put(mailbox, &at, b"first").await, Put::Stored);
    assert_eq!(put(mailbox, &at, b"second, and longer").await, Put::Exists);
    assert_eq!(mailbox.get(&name(&at), 0..100).await, Ok(Some(b"first".to_vec())));
}

/// Page after page in the order of bytes, also across folders whose names begin alike.
pub async fn a_listing_goes_on_after_any_name(mailbox: &dyn Mailbox, at: &str) {
    let mut all: Vec<String> = ["a/1", "a/2", "a-b/1", "a0/1", "b/x/1", "b/x/2", "b/y/1", "c"]
        .iter()
        .map(|part| format!("{at}/{part}"))
        .collect();
    for at in all.iter().rev() {
        assert_eq!(put(mailbox, at, b"x").await, Put::Stored);
    }
    all.sort();
    let prefix = format!("{at}/");
    for limit in [1, 2, 3, 100] {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let (page, more) = names(mailbox, &prefix, &after, limit).await;
            assert!(page.len() <= limit);
            after = page.last().cloned().unwrap_or_default();
            found.extend(page);
            if !more {
                break;
            }
        }
        assert_eq!(found, all, "pages of {limit}");
    }
    // After what is not there itself: the way to pass over a whole folder.
    let (page, _) = names(mailbox, &prefix, &format!("{at}/a0"), 1).await;
    assert_eq!(page, [format!("{at}/a0/1")]);
    let (page, _) = names(mailbox, &prefix, &format!("{at}/a."), 1).await;
    assert_eq!(page, [format!("{at}/a/1")]);
    let (page, _) = names(mailbox, &prefix, &format!("{at}/b/x0"), 9).await;
    assert_eq!(page, [format!("{at}/b/y/1"), format!("{at}/c")]);
}

/// All objects whose names begin so, wherever that ends.
pub async fn a_prefix_may_end_in_the_middle_of_a_part(mailbox: &dyn Mailbox, at: &str) {
    for part in ["w/0001-a", "w/0001-b", "w/0002-a", "w2/0001-a"] {
        put(mailbox, &format!("{at}/{part}"), b"x").await;
    }
    let (page, more) = names(mailbox, &format!("{at}/w/0001-"), "", 9).await;
    assert_eq!((page, more), (vec![format!("{at}/w/0001-a"), format!("{at}/w/0001-b")], false));
    let (page, _) = names(mailbox, &format!("{at}/w"), &format!("{at}/w/0001-b"), 9).await;
    assert_eq!(page, [format!("{at}/w/0002-a"), format!("{at}/w2/0001-a")]);
}

/// A part of an object; past its end there is nothing.
pub async fn a_range_gives_no_more_than_there_is(mailbox: &dyn Mailbox, at: &str) {
    let at = format!("{at}/1");
    put(mailbox, &at, b"0123456789").await;
    for (range, bytes) in [(0..4, "0123"), (4..6, "45"), (8..1000, "89"), (10..20, ""), (500..600, "")] {
        assert_eq!(mailbox.get(&name(&at), range).await, Ok(Some(bytes.as_bytes().to_vec())));
    }
}

/// A deleted object is neither listed nor got, deleting it again is no error, and its name is free.
pub async fn what_is_deleted_is_gone(mailbox: &dyn Mailbox, at: &str) {
    let (at, prefix) = (format!("{at}/1"), format!("{at}/"));
    put(mailbox, &at, b"first").await;
    assert_eq!(mailbox.delete(&name(&at)).await, Ok(()));
    assert_eq!(mailbox.delete(&name(&at)).await, Ok(()));
    assert_eq!(mailbox.get(&name(&at), 0..9).await, Ok(None));
    assert_eq!(listed(mailbox, &prefix, "", 9).await.0, []);
    assert_eq!(put(mailbox, &at, b"second").await, Put::Stored);
    assert_eq!(mailbox.get(&name(&at), 0..9).await, Ok(Some(b"second".to_vec())));
}

/// The limit holds where objects are made.
pub async fn the_largest_object_fits_and_no_larger(mailbox: &dyn Mailbox, at: &str) {
    let (fits, not) = (name(&format!("{at}/1")), name(&format!("{at}/2")));
    assert_eq!(mailbox.put_if_absent(&fits, vec![7; MAX_OBJECT]).await, Ok(Put::Stored));
    let got = mailbox.get(&fits, 0..u64::MAX).await.expect("a large object can be got");
    assert_eq!(got.map(|bytes| bytes.len()), Some(MAX_OBJECT));
    let refused = mailbox.put_if_absent(&not, vec![7; MAX_OBJECT + 1]).await;
    assert!(matches!(refused, Err(MailboxError::TooLarge { .. })), "{refused:?}");
    assert_eq!(mailbox.get(&not, 0..1).await, Ok(None));
}

/// Exactly one put of a name stores, however many there are at once, and nobody sees a part of it.
pub async fn of_many_writers_of_one_name_one_wins(mailbox: Arc<dyn Mailbox>, at: &str) {
    let at = name(&format!("{at}/1"));
    let writers: Vec<_> = (0..16_u8)
        .map(|number| {
            let (mailbox, at) = (mailbox.clone(), at.clone());
            tokio::spawn(async move {
                let put = mailbox.put_if_absent(&at, vec![number; 50_000]).await;
                (number, put.expect("a put is answered"))
            })
        })
        .collect();
    let mut winner = None;
    for writer in writers {
        let (number, put) = writer.await.expect("a writer ends");
        let seen = mailbox.get(&at, 0..50_000).await.expect("an object can be got");
        let seen = seen.expect("once a put has returned the object is there");
        assert!(seen.len() == 50_000 && seen.iter().all(|byte| *byte == seen[0]), "a mixture");
        if put == Put::Stored {
            assert_eq!(winner.replace(number), None, "two writers stored one name");
        }
    }
    let seen = mailbox.get(&at, 0..1).await.expect("an object can be got");
    assert_eq!(seen, winner.map(|number| vec![number]));
}

/// Objects of many writers, each under its own names, are all there.
pub async fn many_writers_at_once_lose_nothing(mailbox: Arc<dyn Mailbox>, at: &str) {
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (mailbox, at) = (mailbox.clone(), format!("{at}/w{writer}"));
            tokio::spawn(async move {
                for number in 0..25 {
                    let stored = put(&*mailbox, &format!("{at}/{number:016}"), at.as_bytes()).await;
                    assert_eq!(stored, Put::Stored);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    let (page, more) = names(&*mailbox, &format!("{at}/"), "", 1000).await;
    assert_eq!((page.len(), more), (200, false));
}
