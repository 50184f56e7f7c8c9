//! Sync through a mailbox: a place that several devices append to and nobody trusts. Each writes numbered objects under
//! its own prefix and reads those of the others, from where it stopped. docs/mailbox.md says how.
//!
//! `exchange` goes through the stages; what may be read in a mailbox is whatever its operator can read.

pub(crate) mod alarm;
mod object;
pub(crate) mod row;
mod passed;
mod build;
pub(crate) mod settings;
mod check;
mod effort;
mod ahead;
mod exchange;
mod gone;
mod hearsay;
mod writers;
mod receive;
mod send;
pub(crate) mod news;
pub(crate) mod continuous;
pub(crate) mod hub;

use std::sync::Arc;
use std::time::Duration;

use driftless_core::clock::Timestamp;
use driftless_core::commit::{Header, Kind};
use driftless_core::id::{AuthorId, SpaceId, base32};
use driftless_net::mailbox::{Access, FolderUse, Mailbox as Place};
use tokio::sync::watch;

use crate::database::Database;
use crate::error::Error;
use alarm::Alarm;
use exchange::Exchange;
use object::Writer;
use row::{MailboxKey, Reading};
use settings::Came;

/// One space of a database, and one mailbox.
#[derive(Debug, Clone)]
pub struct Mailbox {
    database: Database,
    space: SpaceId,
    place: Arc<dyn Place>,
    key: MailboxKey,
    url: String,
    // It may be there and empty although objects were put there.
    anew: bool,
}

impl Database {
    /// The mailbox at `url`, which `place` reaches, for a space that may not be here yet: then the first sync brings it.
    pub fn mailbox(&self, space: &SpaceId, url: &str, place: Arc<dyn Place>) -> Mailbox {
        let (key, url) = (settings::key(space, url), settings::shown(url));
        Mailbox { database: self.clone(), space: *space, place, key, url, anew: false }
    }

    /// The same, with the place that the URL names, and the token that was remembered for it. A folder is made if it is not
    /// there, unless the mailbox was added before: then its disk may not be mounted. That it cannot be opened is remembered
    /// like an exchange that failed.
    pub fn open_mailbox(&self, space: &SpaceId, url: &str) -> Result<Mailbox, Error> {
        self.open_place(space, url, None, false)
    }

    /// The same, with a token that is not remembered (yet), to probe whether it is the right one.
    pub fn open_mailbox_with(&self, space: &SpaceId, url: &str, token: &str) -> Result<Mailbox, Error> {
        self.open_place(space, url, Some(token), false)
    }

    /// The same, and the folder is made again and filled if it is gone: what was put there is lost for good.
    pub fn open_mailbox_anew(&self, space: &SpaceId, url: &str) -> Result<Mailbox, Error> {
        Ok(Mailbox { anew: true, ..self.open_place(space, url, None, true)? })
    }

    fn open_place(
        &self,
        space: &SpaceId,
        url: &str,
        token: Option<&str>,
        anew: bool,
    ) -> Result<Mailbox, Error> {
        let (key, known) = self.mailbox_settings(space, url)?;
        let folder = if known.is_some() && !anew { FolderUse::Find } else { FolderUse::Make };
        let remembered = known.map(|known| known.token).filter(|token| !token.is_empty());
        let token = token.map(str::to_owned).or(remembered);
        match driftless_net::mailbox::open(url, &Access { token, folder }) {
            Ok(place) => {
                // Once the folder is there it is known whether a link leads to it.
                let (key, _) = self.mailbox_settings(space, url)?;
                Ok(Mailbox { key, ..self.mailbox(space, url, place) })
            }
            Err(error) => {
                let error = Error::Mailbox { url: settings::shown(url), error };
                self.note_mailbox(&key, Came::Failed(&error), None)?;
                Err(error)
            }
        }
    }
}

/// A commit as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxCommit {
    /// Who made it.
    pub author: AuthorId,
    /// When.
    pub time: Timestamp,
    /// Bytes of its content.
    pub bytes: u64,
}

impl MailboxCommit {
    // Rules always travel: without them nobody could judge what follows.
    fn keeps(filter: &MailboxFilter, header: &Header) -> bool {
        header.kind == Kind::Rules
            || filter(&Self { author: header.author, time: header.time, bytes: header.body_length.into() })
    }
}

/// Whether the content of a commit travels. Its header always does: commits stand on each other, and one that is left out
/// would take all later ones with it. A device without the content shows the commit as `wanted`.
pub type MailboxFilter = Arc<dyn Fn(&MailboxCommit) -> bool + Send + Sync>;

/// Turns the content of objects into what is stored, and back: encryption, as a rule. What stands around the content
/// (who wrote the object, its number, how far others were read) stays readable.
pub trait MailboxSeal: Send + Sync {
    /// A name of up to 64 bytes, by which readers know what they need.
    fn name(&self) -> &str;

    /// Content into what is stored.
    fn seal(&self, content: Vec<u8>) -> Result<Vec<u8>, Error>;

    /// The content again; `None` where it cannot be had here, or not now: then it is asked again at each sync.
    fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// How to exchange.
#[derive(Clone)]
pub struct MailboxOptions {
    /// Bytes at which an object ends. If left unset, 1 MiB.
    pub batch_bytes: usize,
    /// Commits at which an object ends. If left unset, 10,000.
    pub batch_commits: u64,
    /// Whether objects of others are read. If left unset, they are.
    pub receive: bool,
    /// Whether own commits are sent. If left unset, they are.
    pub send: bool,
    /// Whose content is put into the mailbox. If left unset, everybody's.
    pub send_filter: Option<MailboxFilter>,
    /// Whose content is taken from it. If left unset, everybody's.
    pub receive_filter: Option<MailboxFilter>,
    /// What seals the content. If left unset, nothing does, and the operator can read it.
    pub seal: Option<Arc<dyn MailboxSeal>>,
    /// Pauses, resumes and cancels.
    pub control: MailboxControl,
    /// After how long without an answer the mailbox counts as stalled. If left unset, 10 seconds.
    pub stalled_after: Duration,
    /// After how long it is given up. If left unset, 3 minutes.
    pub given_up_after: Duration,
}

impl Default for MailboxOptions {
    fn default() -> Self {
        Self {
            batch_bytes: 1024 * 1024,
            batch_commits: 10_000,
            receive: true,
            send: true,
            send_filter: None,
            receive_filter: None,
            seal: None,
            control: MailboxControl::default(),
            stalled_after: Duration::from_secs(10),
            given_up_after: Duration::from_secs(180),
        }
    }
}

impl std::fmt::Debug for MailboxOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailboxOptions").field("batch_bytes", &self.batch_bytes).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Run,
    Pause,
    Cancel,
}

/// Pauses and resumes an exchange, between two questions, and cancels it at once. Clones control the same exchanges.
#[derive(Debug, Clone)]
pub struct MailboxControl(Arc<watch::Sender<Wish>>);

impl Default for MailboxControl {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Wish::Run)))
    }
}

impl MailboxControl {
    /// Does nothing more until `resume`.
    pub fn pause(&self) {
        self.0.send_replace(Wish::Pause);
    }

    /// Goes on.
    pub fn resume(&self) {
        self.0.send_replace(Wish::Run);
    }

    /// Ends the exchange, and waits for no answer: what is being put may arrive or not. The next one goes on where it stopped.
    pub fn cancel(&self) {
        self.0.send_replace(Wish::Cancel);
    }
}

/// What happens in an exchange, while it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxEvent {
    /// The first copy of a space begins: so much is there to be read.
    Found {
        /// Objects.
        objects: u64,
        /// Bytes.
        bytes: u64,
    },
    /// An object of another device was taken.
    Received {
        /// Commits that were not here.
        commits: u64,
        /// Bytes of the object.
        bytes: u64,
    },
    /// An object was put.
    Sent {
        /// Its commits.
        commits: u64,
        /// Its bytes.
        bytes: u64,
    },
    /// An own object that was lost or changed was put again.
    Repaired {
        /// Its number.
        number: u64,
    },
    /// Something is wrong.
    Alarm(Alarm),
    /// The mailbox has not answered for so long; it is still waited for.
    Stalled {
        /// How long.
        waited: Duration,
    },
    /// It was paused.
    Paused,
    /// It goes on.
    Resumed,
}

/// What an exchange came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailboxSynced {
    /// It was not cancelled.
    pub finished: bool,
    /// Commits that were sent.
    pub sent: u64,
    /// Commits that were received and were not here.
    pub received: u64,
    /// Commits that were received and not taken; `status` says why.
    pub refused: u64,
    /// Objects that were put.
    pub objects_out: u64,
    /// Objects that were taken.
    pub objects_in: u64,
    /// Bytes that were put.
    pub bytes_out: u64,
    /// Bytes that were got.
    pub bytes_in: u64,
    /// Own objects that were lost or changed, and are there again.
    pub repaired: u64,
    /// Why the mailbox kept own objects that somebody had changed, if it did: others stand for them now.
    pub undeleted: Option<String>,
    /// Things that are no objects of anybody.
    pub foreign: u64,
    /// What is wrong now.
    pub alarms: Vec<Alarm>,
}

impl Mailbox {
    /// Whether whoever runs the mailbox can read what is in it.
    pub fn operator_can_read(&self, options: &MailboxOptions) -> bool {
        options.seal.is_none()
    }

    /// Whether the place is there, lets us in and keeps its promises, as far as can be tried without leaving anything.
    pub async fn probe(&self) -> Result<(), Error> {
        self.place.probe().await.map_err(|error| self.told(error.into()))
    }

    // Which mailbox it was.
    fn told(&self, error: Error) -> Error {
        match error {
            Error::Mailbox { error, .. } => Error::Mailbox { url: self.url.clone(), error },
            error => error,
        }
    }

    /// Receives what others have put there, applies it, sends what is new here, puts again what was lost of the own
    /// objects. Each object counts as soon as it is through, so an exchange that ends early loses nothing.
    pub async fn sync(
        &self,
        options: &MailboxOptions,
        event: &mut (dyn FnMut(MailboxEvent) + Send),
    ) -> Result<MailboxSynced, Error> {
        let mut exchange = Exchange::begin(self, options, event)?;
        let done = exchange.run().await.map_err(|error| self.told(error));
        let came = match &done {
            Ok(done) if !done.finished => Came::Cancelled,
            Ok(_) => Came::Through,
            Err(error) => Came::Failed(error),
        };
        self.database.note_mailbox(&self.key, came, Some(exchange.open))?;
        done
    }
}

// Work on the database, away from whoever drives the futures.
async fn blocking<T: Send + 'static>(
    database: &Database,
    work: impl FnOnce(&Database) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let database = database.clone();
    let done = tokio::task::spawn_blocking(move || work(&database)).await;
    done.unwrap_or_else(|_| Err(Error::Io("the work on the database was stopped".into())))
}

/// The alarms of a writer, as users see them.
fn alarms(writer: &Writer, reading: &Reading) -> Vec<Alarm> {
    let alarm = |(number, kind, since_ms): &(u64, alarm::AlarmKind, u64)| Alarm {
        peer: writer.peer,
        store: base32(&writer.store),
        number: *number,
        kind: *kind,
        since_ms: *since_ms,
    };
    reading.alarms.iter().map(alarm).collect()
}
