//! Waits for news from mailboxes that can tell, so that nobody has to ask again and again. It decides nothing: whoever
//! hears of none exchanges at its interval.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::Mailbox;
use crate::error::Error;

/// How long a mailbox has to say how it is now.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between the end of an exchange and the next one that news begin, at least: a mailbox may tell of some without end.
const PAUSE: Duration = Duration::from_secs(1);

/// What a mailbox has told so far.
#[derive(Debug)]
pub struct MailboxNews {
    mailbox: Mailbox,
    seen: Option<u64>,
    begun: Instant,
}

impl Mailbox {
    /// A number that is another one once something was put there for the space; with `seen`, waits until it is another than
    /// that. `None` from a mailbox that cannot tell, such as a folder.
    pub async fn watch(&self, seen: Option<u64>) -> Result<Option<u64>, Error> {
        Ok(self.place.watch(&self.space.to_string(), seen).await?)
    }

    /// For whoever exchanges again and again: `begin` before each exchange, `next` after it.
    pub fn news(&self) -> MailboxNews {
        MailboxNews { mailbox: self.clone(), seen: None, begun: Instant::now() }
    }
}

impl MailboxNews {
    /// An exchange begins: what is put from now on is news.
    pub async fn begin(&mut self) {
        if self.seen.is_none() {
            let now = timeout(PATIENCE, self.mailbox.watch(None)).await;
            self.seen = now.ok().and_then(Result::ok).flatten();
        }
        self.begun = Instant::now();
    }

    /// Waits for news since the last `begin`: for ever, where the mailbox cannot tell or does not answer. May be dropped
    /// at any time.
    pub async fn next(&mut self) {
        let Some(seen) = self.seen else { return pending().await };
        match self.mailbox.watch(Some(seen)).await {
            Ok(Some(number)) => {
                sleep_until(self.begun + PAUSE).await;
                self.seen = Some(number);
            }
            // It is tried again after the next exchange.
            Ok(None) | Err(_) => pending().await,
        }
    }

    /// Waits for news of any of these.
    pub async fn of_any(all: impl IntoIterator<Item = &mut Self>) {
        let mut all: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> =
            all.into_iter().map(|news| Box::pin(news.next()) as Pin<Box<_>>).collect();
        poll_fn(|context| match all.iter_mut().any(|next| next.as_mut().poll(context).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}
