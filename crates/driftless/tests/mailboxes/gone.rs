//! A folder whose disk is not mounted, and what is written while nobody asks the mailbox.

use driftless_net::mailbox::MailboxError;

use super::*;

fn gone(result: Result<MailboxSynced, Error>) -> bool {
    let error = result.unwrap_err();
    assert_eq!(error.code(), "mailbox_gone");
    assert!(error.hint().contains("mounted"));
    matches!(error, Error::Mailbox { error: MailboxError::Gone(_), .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_gone_or_empty_is_not_filled_again_before_somebody_says_so() {
    let disk = tempfile::tempdir().unwrap();
    let (root, elsewhere) = (disk.path().join("box"), disk.path().join("elsewhere"));
    let url = format!("file://{}", root.display());
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    fill(&here, 0, 20);
    for db in [&ann, &bob] {
        db.open_mailbox(&here.id(), &url).unwrap();
        db.add_mailbox(&here.id(), &url).unwrap();
    }
    let exchange = async |db: &Database| db.open_mailbox(&here.id(), &url)?.sync(&small(), &mut |_| ()).await;
    // Nobody has put anything there yet, so an empty folder is all right.
    assert_eq!(exchange(&bob).await.unwrap().received, 0);
    exchange(&ann).await.unwrap();
    assert!(exchange(&bob).await.unwrap().received > 20);

    // The disk is taken out; then what is below it is found, with things of others on it.
    std::fs::rename(&root, &elsewhere).unwrap();
    for db in [&ann, &bob] {
        assert!(gone(exchange(db).await));
        assert!(!root.exists());
    }
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("letter.txt"), "x").unwrap();
    fill(&here, 20, 1);
    for db in [&ann, &bob] {
        assert!(gone(exchange(db).await), "also one that has only read there");
        assert!(ann.mailboxes().unwrap()[0].error.contains("gone"));
    }
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 1, "nothing was put there");
    // It is there again: as if nothing had been.
    std::fs::remove_dir_all(&root).unwrap();
    std::fs::rename(&elsewhere, &root).unwrap();
    let synced = exchange(&ann).await.unwrap();
    assert_eq!((synced.sent, synced.repaired), (1, 0));
    assert_eq!(exchange(&bob).await.unwrap().received, 1);

    // It is lost for good.
    std::fs::remove_dir_all(&root).unwrap();
    let anew = ann.open_mailbox_anew(&here.id(), &url).unwrap();
    assert_eq!(sync(&anew).await.repaired, synced.objects_out + 5);
    assert_eq!(exchange(&bob).await.unwrap().alarms, []);
    let carl = Database::memory().unwrap();
    sync(&carl.open_mailbox(&here.id(), &url).unwrap()).await;
    same(&[&here, &space_of(&bob, here.id()), &space_of(&carl, here.id())]);
}

#[tokio::test]
async fn what_is_written_is_put_soon_and_what_an_exchange_brought_begins_none() {
    let (place, hour) = (MemoryMailbox::new(), Duration::from_secs(3600));
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[]);
    let mut task = on(&ann, here.id(), &place).continuous(MailboxOptions::default(), hour, |_| ());
    task.next().await.unwrap().unwrap();
    fill(&here, 0, 3);
    // All that was written together goes into one object.
    assert_eq!(task.next().await.unwrap().unwrap().sent, 3);
    sync(&on(&bob, here.id(), &place)).await;
    same(&[&here, &space_of(&bob, here.id())]);

    let mut at_bob = on(&bob, here.id(), &place).continuous(MailboxOptions::default(), hour, |_| ());
    at_bob.next().await.unwrap().unwrap();
    fill(&here, 3, 1);
    task.next().await.unwrap().unwrap();
    at_bob.trigger();
    assert_eq!(at_bob.next().await.unwrap().unwrap().received, 1);
    let more = tokio::time::timeout(Duration::from_secs(3), at_bob.next()).await;
    assert!(more.is_err(), "{more:?}");
}
