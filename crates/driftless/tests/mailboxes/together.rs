//! Honest devices and an honest mailbox.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use driftless::{Filter, MailboxSeal};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn three_devices_that_are_never_on_at_once_end_with_the_same() {
    let place = MemoryMailbox::new();
    let (ann, bob, cid) =
        (Database::memory().unwrap(), Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[&bob, &cid]);
    let id = here.id();
    fill(&here, 0, 40);
    let (at_ann, at_bob, at_cid) = (on(&ann, id, &place), on(&bob, id, &place), on(&cid, id, &place));
    let first = sync_with(&at_ann, &small()).await;
    assert_eq!((first.sent, first.received, first.finished), (43, 0, true));
    let found = Mutex::new(Vec::new());
    let copied = at_bob.sync(&small(), &mut |event| found.lock().unwrap().push(event)).await.unwrap();
    assert_eq!((copied.sent, copied.received, copied.objects_in), (0, 43, 9));
    let events = found.into_inner().unwrap();
    assert!(matches!(events[0], MailboxEvent::Found { objects: 9, .. }), "{events:?}");

    let there = space_of(&bob, id);
    fill(&there, 100, 20);
    fill(&here, 200, 3);
    assert_eq!(sync_with(&at_bob, &small()).await.sent, 20);
    assert_eq!(sync(&at_cid).await.received, 63);
    let third = space_of(&cid, id);
    fill(&third, 300, 7);
    assert_eq!(sync(&at_cid).await.sent, 7);
    let back = sync(&at_ann).await;
    assert_eq!((back.sent, back.received), (3, 27));
    for mailbox in [&at_bob, &at_cid] {
        sync(mailbox).await;
    }
    same(&[&here, &there, &third]);
    assert_eq!(third.collection("items").unwrap().count(Filter::parse("{}").unwrap()).unwrap(), 70);
    // Nothing is new: nothing is sent, nothing is got.
    let before = place.names();
    for mailbox in [&at_ann, &at_bob, &at_cid] {
        let idle = sync(mailbox).await;
        assert_eq!((idle.sent, idle.received, idle.bytes_in, idle.bytes_out), (0, 0, 0, 0));
        assert_eq!(idle.alarms, []);
    }
    assert_eq!(place.names(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_turns_of_writers_that_stand_on_each_other_are_read_by_a_newcomer() {
    let place = MemoryMailbox::new();
    let (ann, bob, new) =
        (Database::memory().unwrap(), Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    let (at_ann, at_bob, at_new) =
        (on(&ann, here.id(), &place), on(&bob, here.id(), &place), on(&new, here.id(), &place));
    sync(&at_ann).await;
    sync(&at_bob).await;
    let there = space_of(&bob, here.id());
    for turn in 0..10 {
        fill(&here, turn * 10, 2);
        sync(&at_ann).await;
        sync(&at_bob).await;
        fill(&there, turn * 10 + 5, 2);
        sync(&at_bob).await;
        sync(&at_ann).await;
    }
    let copied = sync(&at_new).await;
    assert_eq!((copied.received, copied.refused), (42, 0));
    assert_eq!(copied.alarms, []);
    same(&[&here, &there, &space_of(&new, here.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_larger_than_a_batch_is_an_object_of_its_own() {
    let place = MemoryMailbox::new();
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    fill(&here, 0, 3);
    // Does not compress.
    let mut text = String::new();
    let mut number = 1_u64;
    while text.len() < 600_000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!("{:x}", number >> 20));
    }
    let fields = Map::from_json(&format!(r#"{{"text": "{text}"}}"#)).unwrap();
    here.collection("items").unwrap().insert(fields).unwrap();
    fill(&here, 10, 3);
    let options = MailboxOptions { batch_bytes: 1000, ..MailboxOptions::default() };
    let synced = sync_with(&on(&ann, here.id(), &place), &options).await;
    assert!(synced.objects_out >= 2 && synced.bytes_out > 300_000, "{synced:?}");
    sync(&on(&bob, here.id(), &place)).await;
    same(&[&here, &space_of(&bob, here.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_goes_on_where_it_was_cancelled() {
    let place = MemoryMailbox::new();
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    fill(&here, 0, 50);
    sync_with(&on(&ann, here.id(), &place), &small()).await;
    let at_bob = on(&bob, here.id(), &place);
    let options = MailboxOptions::default();
    let mut objects = 0;
    let mut count = |event| {
        objects += u64::from(matches!(event, MailboxEvent::Received { .. }));
        if objects == 4 {
            options.control.cancel();
        }
    };
    let cut = at_bob.sync(&options, &mut count).await.unwrap();
    assert_eq!((cut.finished, cut.objects_in), (false, 4));
    let rest = sync(&at_bob).await;
    assert_eq!((rest.finished, rest.objects_in), (true, 7));
    same(&[&here, &space_of(&bob, here.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_exchange_waits_and_resumes() {
    let place = MemoryMailbox::new();
    let ann = Database::memory().unwrap();
    let here = shared(&ann, &[]);
    fill(&here, 0, 5);
    let at_ann = on(&ann, here.id(), &place);
    let options = MailboxOptions::default();
    options.control.pause();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let control = options.control.clone();
    let task =
        tokio::spawn(
            async move { at_ann.sync(&options, &mut |event| tell.send(event).unwrap()).await.unwrap() },
        );
    assert_eq!(told.recv().await, Some(MailboxEvent::Paused));
    assert_eq!(place.names(), []);
    control.resume();
    assert_eq!(told.recv().await, Some(MailboxEvent::Resumed));
    assert_eq!(task.await.unwrap().sent, 6);
}

/// Turns bytes around; opens only while it is told to.
struct Turned(AtomicBool);

impl MailboxSeal for Turned {
    fn name(&self) -> &str {
        "turned"
    }

    fn seal(&self, content: Vec<u8>) -> Result<Vec<u8>, Error> {
        Ok(content.iter().map(|byte| !byte).collect())
    }

    fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let opens = name == "turned" && self.0.load(Ordering::SeqCst);
        opens.then(|| sealed.iter().map(|byte| !byte).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_yet_is_kept_and_asked_again() {
    let place = MemoryMailbox::new();
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    fill(&here, 0, 12);
    let seal = Arc::new(Turned(AtomicBool::new(false)));
    let sealed = MailboxOptions { seal: Some(seal.clone()), ..small() };
    let (at_ann, at_bob) = (on(&ann, here.id(), &place), on(&bob, here.id(), &place));
    assert!(!at_ann.operator_can_read(&sealed) && at_ann.operator_can_read(&small()));
    for db in [&ann, &bob] {
        db.add_mailbox(&here.id(), URL).unwrap();
        assert!(db.mailboxes().unwrap()[0].operator_can_read);
    }
    sync_with(&at_ann, &sealed).await;
    assert!(!ann.mailboxes().unwrap()[0].operator_can_read);
    // Neither without the seal, nor with one that has no key.
    for options in [small(), sealed.clone()] {
        let synced = sync_with(&at_bob, &options).await;
        assert_eq!(kinds(&synced), [(1, AlarmKind::Sealed), (2, AlarmKind::Sealed), (3, AlarmKind::Sealed)]);
    }
    seal.0.store(true, Ordering::SeqCst);
    let synced = sync_with(&at_bob, &sealed).await;
    assert_eq!((synced.received, synced.alarms), (13, Vec::new()));
    same(&[&here, &space_of(&bob, here.id())]);
    // What was put once without the seal stays readable.
    fill(&here, 20, 1);
    sync(&at_ann).await;
    sync_with(&at_ann, &sealed).await;
    assert!(ann.mailboxes().unwrap()[0].operator_can_read);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_takes_contents_away_and_no_commit() {
    let place = MemoryMailbox::new();
    let (ann, bob, cid) =
        (Database::memory().unwrap(), Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    fill(&here, 0, 4);
    let large = Map::from_json(&format!(r#"{{"text": "{}"}}"#, "x".repeat(5000))).unwrap();
    here.collection("items").unwrap().insert(large).unwrap();
    fill(&here, 10, 4);
    let without: driftless::MailboxFilter = Arc::new(|commit| commit.bytes < 1000);
    let options = MailboxOptions { receive_filter: Some(without), ..MailboxOptions::default() };
    sync(&on(&ann, here.id(), &place)).await;
    sync_with(&on(&bob, here.id(), &place), &options).await;
    sync(&on(&cid, here.id(), &place)).await;
    let (there, third) = (space_of(&bob, here.id()), space_of(&cid, here.id()));
    assert_eq!(there.digest().unwrap().heads, here.digest().unwrap().heads);
    assert_eq!(there.collection("items").unwrap().count(Filter::parse("{}").unwrap()).unwrap(), 8);
    same(&[&here, &third]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_exchanged_again_and_again_until_it_is_switched_off() {
    let place = MemoryMailbox::new();
    let ann = Database::memory().unwrap();
    let here = shared(&ann, &[]);
    let mut task = on(&ann, here.id(), &place).continuous(small(), Duration::from_millis(1), |_| ());
    assert_eq!(task.next().await.unwrap().unwrap().sent, 1);
    assert!(task.next().await.unwrap().unwrap().finished);
    task.set_enabled(false);
    fill(&here, 0, 1);
    // One that had begun may end; then nothing happens before it is asked for.
    task.trigger();
    while place.names().len() < 2 {
        task.next().await.unwrap().unwrap();
    }
    assert!(task.count() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_no_interval_is_exchanged_when_asked() {
    let place = MemoryMailbox::new();
    let ann = Database::memory().unwrap();
    let here = shared(&ann, &[]);
    let mut task = on(&ann, here.id(), &place).continuous(small(), Duration::MAX, |_| ());
    for count in 1..4 {
        assert!(task.next().await.unwrap().unwrap().finished);
        assert_eq!(task.count(), count);
        task.trigger();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_remembered_with_what_came_of_it() {
    let place = MemoryMailbox::new();
    let ann = Database::memory().unwrap();
    let here = shared(&ann, &[]);
    assert!(ann.add_mailbox(&here.id(), URL).unwrap());
    assert!(!ann.add_mailbox(&here.id(), URL).unwrap());
    let known = ann.mailboxes().unwrap();
    assert_eq!((known.len(), known[0].unsent, known[0].last_ms), (1, true, 0));
    sync(&on(&ann, here.id(), &place)).await;
    let known = ann.mailboxes().unwrap();
    assert_eq!((known[0].objects, known[0].unsent, known[0].error.as_str()), (1, false, ""));
    assert!(known[0].last_ms > 0);
    assert!(ann.remove_mailbox(&here.id(), URL).unwrap());
    assert_eq!(ann.mailboxes().unwrap(), []);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn one_place_is_one_mailbox_however_its_url_is_written() {
    let home = tempfile::tempdir().unwrap();
    let home = std::fs::canonicalize(home.path()).unwrap();
    let (folder, link) = (home.join("Sync"), home.join("link"));
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    let ann = Database::memory().unwrap();
    let here = shared(&ann, &[]);
    let id = here.id();
    let whole = format!("file://{}", folder.display());
    let (slash, linked) = (format!("{whole}/"), format!("file://{}", link.display()));
    for (turn, url) in [&linked, &slash, &whole].into_iter().enumerate() {
        assert_eq!(ann.add_mailbox(&id, url).unwrap(), turn == 0);
        fill(&here, turn as i64, 1);
        let synced = sync(&ann.open_mailbox(&id, url).unwrap()).await;
        assert_eq!((synced.objects_out, synced.alarms), (1, Vec::new()));
    }
    let known = ann.mailboxes().unwrap();
    assert_eq!((known.len(), known[0].url.as_str(), known[0].objects), (1, whole.as_str(), 3));
    assert!([&linked, &slash].into_iter().all(|url| known[0].is_at(url)) && !known[0].is_at("file:///Sync"));
    // What is remembered is found by its own name, wherever links lead meanwhile.
    std::fs::rename(&folder, home.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(home.join("elsewhere"), &folder).unwrap();
    assert_eq!(sync(&ann.open_mailbox(&id, &whole).unwrap()).await.objects_out, 0);
    assert!(ann.remove_mailbox(&id, &slash).unwrap() && ann.mailboxes().unwrap().is_empty());

    // Of a hub and its token as well.
    assert!(ann.add_mailbox(&id, "http://127.0.0.1:1").unwrap());
    assert!(!ann.add_mailbox(&id, "http://127.0.0.1:1/").unwrap());
    assert!(ann.set_mailbox_token(&id, "http://127.0.0.1:1/mailbox", Some("secret")).unwrap());
    assert!(ann.remove_mailbox(&id, "http://127.0.0.1:1/mailbox/").unwrap());
    assert_eq!(ann.mailboxes().unwrap(), []);
}
