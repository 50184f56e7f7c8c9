//! An operator who shows things without end, and strangers who fill a folder: an exchange ends, and says nothing wrong.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::MailboxControl;
use driftless_core::id::base32;
use driftless_net::BoxFuture;
use driftless_net::mailbox::{Listed, Listing, Mailbox as Place, MailboxError, Put};

use super::*;

/// Questions after which the place says that it is away: an exchange that comes so far would go on for ever.
const ENOUGH: u64 = 5000;

/// Lists names without end under one prefix, behind what is there, and has none of the objects.
#[derive(Debug)]
struct Endless {
    inside: MemoryMailbox,
    prefix: String,
    asked: AtomicU64,
    // Told after so many questions.
    cancel: Option<(u64, MailboxControl)>,
    // Answers nothing any more once an object is there.
    cuts: bool,
}

impl Endless {
    fn over(inside: &MemoryMailbox, prefix: &str) -> Arc<Self> {
        let (inside, prefix) = (inside.clone(), prefix.to_owned());
        Arc::new(Self { inside, prefix, asked: AtomicU64::new(0), cancel: None, cuts: false })
    }

    fn ask(&self) -> Result<(), MailboxError> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some((_, control)) = self.cancel.as_ref().filter(|(at, _)| *at == asked) {
            control.cancel();
        }
        if self.cuts && !self.inside.names().is_empty() {
            return Err(MailboxError::Unreachable("cut".into()));
        }
        if asked < ENOUGH { Ok(()) } else { Err(MailboxError::Unreachable("asked too often".into())) }
    }

    fn invent(&self, prefix: &str, after: &str, limit: usize) -> Listing {
        let shown = after.strip_prefix(&self.prefix).and_then(|rest| rest.get(..16));
        let from = shown.and_then(|number| u64::from_str_radix(number, 16).ok()).unwrap_or(0);
        let hash = base32(&[0xff; 32]);
        let objects = (from + 1..).take(limit).map(|number| Listed {
            name: ObjectName::new(&format!("{}{number:016x}-{hash}", self.prefix)).unwrap(),
            size: 100,
            mark: 1,
        });
        let objects: Vec<_> = objects.filter(|listed| listed.name.as_str().starts_with(prefix)).collect();
        Listing { more: !objects.is_empty(), objects, foreign: 0 }
    }
}

impl Place for Endless {
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
        Box::pin(async move {
            self.ask()?;
            let listing = self.inside.list(prefix, after, limit).await?;
            if listing.objects.is_empty() && prefix.starts_with(&self.prefix) {
                return Ok(self.invent(prefix, after, limit));
            }
            let more = listing.more || prefix == self.prefix;
            Ok(Listing { more, ..listing })
        })
    }

    fn get<'a>(
        &'a self,
        name: &'a ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, MailboxError>> {
        Box::pin(async move {
            self.ask()?;
            self.inside.get(name, range).await
        })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<(), MailboxError>> {
        self.inside.delete(name)
    }
}

/// Ann has put some objects there.
async fn scene(count: i64, options: &MailboxOptions) -> (MemoryMailbox, Database, Space, String) {
    let (place, ann) = (MemoryMailbox::new(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    fill(&here, 0, count);
    sync_with(&on(&ann, here.id(), &place), options).await;
    let first = objects_of(&place, &ann)[0].to_string();
    let prefix = format!("{}/", first.rsplit_once('/').unwrap().0);
    (place, ann, here, prefix)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_end_and_nothing_behind_them_hold_nobody() {
    let (place, ann, here, prefix) = scene(38, &small()).await;
    let bob = Database::memory().unwrap();
    for (db, received) in [(&ann, 0), (&bob, 39)] {
        let endless = Endless::over(&place, &prefix);
        let synced = sync(&db.mailbox(&here.id(), URL, endless.clone())).await;
        assert_eq!((synced.finished, synced.received, synced.alarms), (true, received, Vec::new()));
        // Of a first copy some pages are counted before.
        assert!(endless.asked.load(Ordering::SeqCst) < 1200);
    }
    same(&[&here, &space_of(&bob, here.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_after_own_objects_hears_that_it_is_cancelled() {
    let (place, ann, here, prefix) = scene(3, &small()).await;
    let options = MailboxOptions::default();
    let endless = Endless::over(&place, &prefix);
    let mut endless = Arc::into_inner(endless).unwrap();
    endless.cancel = Some((1, options.control.clone()));
    let endless = Arc::new(endless);
    let synced = sync_with(&ann.mailbox(&here.id(), URL, endless.clone()), &options).await;
    assert!(!synced.finished);
    assert_eq!(endless.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_lost_objects_than_are_put_at_once_make_no_twin() {
    let (place, ann, here, _) = scene(1110, &MailboxOptions { batch_commits: 1, ..small() }).await;
    let before = objects_of(&place, &ann);
    assert_eq!(before.len(), 1111);
    before[..1060].iter().for_each(|name| place.replace(name, None));
    for repaired in [1024, 36, 0] {
        let synced = sync(&on(&ann, here.id(), &place)).await;
        assert_eq!((synced.repaired, synced.alarms, synced.sent), (repaired, Vec::new(), 0));
    }
    assert_eq!(objects_of(&place, &ann), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_names_before_each_own_object_hides_none_and_makes_no_twin() {
    let (place, ann, here, prefix) = scene(38, &small()).await;
    let before = objects_of(&place, &ann);
    for number in 1..=8_u64 {
        for stranger in 0..1000_u64 {
            let hash = base32(&[&[0; 24][..], &stranger.to_be_bytes()].concat());
            let name = ObjectName::new(&format!("{prefix}{number:016x}-{hash}")).unwrap();
            place.replace(&name, Some(vec![7]));
        }
    }
    place.replace(&before[5], None);
    let synced = sync(&on(&ann, here.id(), &place)).await;
    assert_eq!((synced.repaired, synced.sent, synced.alarms), (1, 0, Vec::new()));
    assert!(before.iter().all(|name| place.bytes(name).is_some()));
    assert_eq!(objects_of(&place, &ann).len(), 8008);
}

#[tokio::test(flavor = "multi_thread")]
async fn crowds_of_odd_names_between_own_objects_hide_none_that_is_lost() {
    let (place, ann, here, prefix) = scene(38, &small()).await;
    let before = objects_of(&place, &ann);
    for (at, many) in [("0000000000000001z", 10_000), ("0000000000000003-0", 10_000)] {
        for odd in 0..many {
            place.replace(&ObjectName::new(&format!("{prefix}{at}{odd:05}")).unwrap(), Some(vec![7]));
        }
    }
    [2, 5, 7].iter().for_each(|at| place.replace(&before[*at], None));
    let synced = sync(&on(&ann, here.id(), &place)).await;
    assert_eq!((synced.repaired, synced.sent, synced.alarms), (3, 0, Vec::new()));
    assert!(before.iter().all(|name| place.bytes(name).is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_was_removed_and_added_again_is_gone_on_with() {
    let (place, ann) = (MemoryMailbox::new(), Database::memory().unwrap());
    let bob = Database::memory().unwrap();
    let here = shared(&ann, &[&bob]);
    let (at_ann, at_bob) = (on(&ann, here.id(), &place), on(&bob, here.id(), &place));
    ann.add_mailbox(&here.id(), URL).unwrap();
    sync(&at_ann).await;
    sync(&at_bob).await;
    fill(&space_of(&bob, here.id()), 10, 2);
    sync(&at_bob).await;
    sync(&at_ann).await;
    let writers = || {
        let folder = |name: &ObjectName| name.as_str().rsplit_once('/').unwrap().0.to_owned();
        place.names().iter().map(folder).collect::<std::collections::BTreeSet<_>>().len()
    };
    for n in 0..2 {
        assert!(ann.remove_mailbox(&here.id(), URL).unwrap());
        ann.add_mailbox(&here.id(), URL).unwrap();
        fill(&here, n, 1);
        let synced = sync(&at_ann).await;
        assert_eq!((synced.sent, synced.objects_out, synced.alarms), (1, 1, Vec::new()));
        assert_eq!(writers(), 2);
    }
    assert_eq!(ann.mailboxes().unwrap()[0].objects, 3);
    // Another mailbox at the same place gets everything, also what others have written.
    ann.remove_mailbox(&here.id(), URL).unwrap();
    let (empty, new) = (MemoryMailbox::new(), Database::memory().unwrap());
    sync(&on(&ann, here.id(), &empty)).await;
    for _ in 0..2 {
        sync(&on(&new, here.id(), &empty)).await;
    }
    same(&[&here, &space_of(&new, here.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_was_forgotten_comes_back_from_the_mailbox_without_alarm() {
    let (place, ann, here, _) = scene(38, &small()).await;
    let before = here.digest().unwrap();
    here.forget().unwrap();
    let synced = sync(&on(&ann, here.id(), &place)).await;
    assert_eq!((synced.received, synced.sent, synced.alarms), (39, 0, Vec::new()));
    assert_eq!(space_of(&ann, here.id()).digest().unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_hidden_until_it_cannot_be_made_again_makes_no_twin() {
    let (place, ann, bob) = (MemoryMailbox::new(), Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    fill(&here, 0, 3);
    // It is put, and nobody hears of that; then it is hidden, and what is put is another one.
    let without: driftless::MailboxFilter = Arc::new(|_| false);
    let options = MailboxOptions { send_filter: Some(without), ..MailboxOptions::default() };
    let mut cut = Arc::into_inner(Endless::over(&place, "nothing")).unwrap();
    cut.cuts = true;
    let cut = ann.mailbox(&here.id(), URL, Arc::new(cut)).sync(&options, &mut |_| ()).await;
    assert!(matches!(cut, Err(Error::Mailbox { error: MailboxError::Unreachable(_), .. })), "{cut:?}");
    let hidden = place.names()[0].clone();
    let bytes = place.bytes(&hidden);
    place.replace(&hidden, None);
    sync(&on(&ann, here.id(), &place)).await;
    // Others have everything, before it is shown again and after that.
    assert_eq!(sync(&on(&bob, here.id(), &place)).await.alarms, []);
    same(&[&here, &space_of(&bob, here.id())]);
    place.replace(&hidden, bytes);
    for db in [&ann, &bob] {
        assert_eq!(sync(&on(db, here.id(), &place)).await.alarms, []);
    }
    same(&[&here, &space_of(&bob, here.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_names_does_not_make_it_look_as_if_the_last_object_were_gone() {
    let (place, _, here, prefix) = scene(38, &small()).await;
    let bob = Database::memory().unwrap();
    sync(&on(&bob, here.id(), &place)).await;
    for stranger in 0..9_u8 {
        let hash = base32(&[&[0; 31][..], &[stranger]].concat());
        let name = ObjectName::new(&format!("{prefix}{:016x}-{hash}", 8)).unwrap();
        place.replace(&name, Some(vec![7]));
    }
    assert_eq!(sync(&on(&bob, here.id(), &place)).await.alarms, []);
}
