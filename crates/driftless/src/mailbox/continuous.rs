//! Exchanges with a mailbox again and again: one task, which is told when, and stops when its handle is dropped.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Mailbox, MailboxEvent, MailboxOptions, MailboxSynced};

/// Triggers that wait: one stands for all.
const TRIGGERS: usize = 1;

/// What came of the exchanges so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    count: u64,
    last: Option<Result<MailboxSynced, String>>,
}

/// A mailbox that is exchanged again and again. Dropping it ends that.
#[derive(Debug)]
pub struct MailboxTask {
    trigger: mpsc::Sender<()>,
    enabled: watch::Sender<bool>,
    told: watch::Receiver<Told>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for MailboxTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mailbox {
    /// Exchanges now, and `interval` after the end of each exchange, whether it went well or not; sooner, where the mailbox
    /// tells that something was put there, and when something is written here; with `Duration::MAX` only then. Needs a runtime.
    pub fn continuous(
        self,
        options: MailboxOptions,
        interval: Duration,
        mut event: impl FnMut(MailboxEvent) + Send + 'static,
    ) -> MailboxTask {
        let (trigger, mut triggers) = mpsc::channel(TRIGGERS);
        let (enabled, mut wanted) = watch::channel(true);
        let (tell, told) = watch::channel(Told::default());
        let task = tokio::spawn(async move {
            let news = self.news();
            let mut news = if options.send { news } else { news.only_there() };
            let mut due = Some(Instant::now());
            loop {
                let on = *wanted.borrow_and_update();
                tokio::select! {
                    () = until(due), if on => {}
                    () = news.next(), if on => {}
                    asked = triggers.recv() => if asked.is_none() { return },
                    changed = wanted.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        continue;
                    }
                }
                news.begin().await;
                let done = self.sync(&options, &mut event).await.map_err(|error| error.to_string());
                tell.send_modify(|told| {
                    told.count += 1;
                    told.last = Some(done);
                });
                due = Instant::now().checked_add(interval);
            }
        });
        MailboxTask { trigger, enabled, told, task }
    }
}

// Never, if that is later than any time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl MailboxTask {
    /// Exchanges as soon as it can, also while it is switched off.
    pub fn trigger(&self) {
        // One that waits already will do.
        let _ = self.trigger.try_send(());
    }

    /// Switches the interval on or off.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.send_replace(enabled);
    }

    /// Waits for the end of an exchange that nobody was told of, and says what came of it; `None` once it has ended.
    pub async fn next(&mut self) -> Option<Result<MailboxSynced, String>> {
        self.told.changed().await.ok()?;
        self.told.borrow_and_update().last.clone()
    }

    /// How many exchanges there were.
    pub fn count(&self) -> u64 {
        self.told.borrow().count
    }
}
