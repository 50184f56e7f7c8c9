//! Very many small exchanges leave very many small objects. What a device needs that comes new.

use std::sync::atomic::Ordering;
use std::time::Instant;

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
