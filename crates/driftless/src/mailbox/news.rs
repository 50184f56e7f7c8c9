//! Waits for news: that something was put into a mailbox that can tell, or written here and is not there yet; so nobody has
//! to ask again and again. It decides nothing: whoever hears of none exchanges at its interval.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::{Mailbox, row};
use crate::error::Error;
use crate::state::changes::{Changes, Event};

/// How long a mailbox has to say how it is now.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between the beginning of an exchange and the next one that news begin, at least: a mailbox may tell of some without end,
/// and what is written within that time goes into one object.
const PAUSE: Duration = Duration::from_secs(1);

/// What a mailbox has told so far, and what was written here.
#[derive(Debug)]
pub struct MailboxNews {
    mailbox: Mailbox,
    seen: Option<u64>,
    // Of what is written here; none if that is not to be sent.
    changes: Option<Changes>,
    // Heard, and no exchange has begun since.
    heard: bool,
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
        let changes = Some(self.database.changes());
        MailboxNews { mailbox: self.clone(), seen: None, changes, heard: false, begun: Instant::now() }
    }

    // Something of the space is here and not there, as far as is known.
    fn is_unsent(&self) -> bool {
        let unsent = self.database.read(|engine| {
            let own = row::own(engine.storage.as_ref(), &self.key)?.unwrap_or_default();
            Ok(engine.load(&self.space)? && engine.parts(&self.space)?.1.next - 1 > own.upto)
        });
        unsent.unwrap_or(false)
    }
}

impl MailboxNews {
    /// An exchange begins: what is put from now on is news.
    pub async fn begin(&mut self) {
        if self.seen.is_none() {
            let now = timeout(PATIENCE, self.mailbox.watch(None)).await;
            self.seen = now.ok().and_then(Result::ok).flatten();
        }
        self.heard = false;
        self.begun = Instant::now();
    }

    /// The same for whoever sends nothing: what is written here is no news.
    pub fn only_there(self) -> Self {
        Self { changes: None, ..self }
    }

    /// Waits for news since the last `begin`: for ever, where the mailbox cannot tell or does not answer and nothing is
    /// written here. May be dropped at any time.
    pub async fn next(&mut self) {
        let Self { mailbox, seen, changes, heard, begun } = self;
        if !*heard {
            tokio::select! {
                () = put_there(mailbox, seen) => {}
                () = written_here(mailbox, changes.as_mut()) => {}
            }
            *heard = true;
        }
        sleep_until(*begun + PAUSE).await;
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

async fn put_there(mailbox: &Mailbox, seen: &mut Option<u64>) {
    let Some(before) = *seen else { return pending().await };
    match mailbox.watch(Some(before)).await {
        Ok(Some(number)) => *seen = Some(number),
        // It is tried again after the next exchange.
        Ok(None) | Err(_) => pending().await,
    }
}

// What an exchange brought here is there already, and no news.
async fn written_here(mailbox: &Mailbox, changes: Option<&mut Changes>) {
    let Some(changes) = changes else { return pending().await };
    loop {
        let of_it = match changes.next().await {
            Some(Event::Change(change)) => change.space == mailbox.space,
            Some(Event::Missed) => true,
            None => return pending().await,
        };
        if of_it && mailbox.is_unsent() {
            return;
        }
    }
}
