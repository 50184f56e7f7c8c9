//! One exchange with a mailbox, stage after stage: look after the own objects, receive, send. It remembers nothing that
//! is not in the database as well: whoever drops it in the middle loses only work.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use driftless_net::mailbox::{Listed, Listing, MAX_OBJECT, MailboxError, ObjectName};

use super::ahead::Ahead;
use super::alarm::AlarmKind;
use super::effort::Effort;
use super::object::{self, MAX_LACKS, Object, Unusable, Writer};
use super::passed::PassedOver;
use super::row::{self, Own, Reading, Turns};
use super::{Mailbox, MailboxEvent, MailboxOptions, MailboxSynced, Wish, alarms, blocking};
use crate::database::Database;
use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::guard::STORE_ID;
use crate::tables::layout::{self, LogSeq};

/// Writers who have given nothing yet and of whom something is kept: names are free.
pub(super) const MAX_STRANGERS: usize = 1024;

pub(super) struct Exchange<'e> {
    pub(super) mailbox: &'e Mailbox,
    pub(super) options: &'e MailboxOptions,
    // Only so that it can be shared between threads: nobody ever waits for it.
    event: Mutex<&'e mut (dyn FnMut(MailboxEvent) + Send)>,
    pub(super) done: MailboxSynced,
    /// What others say of how far others are, by who says so.
    pub(super) heard: BTreeMap<Writer, Heard>,
    /// What is asked in vain.
    pub(super) effort: Effort,
    /// Nothing seals what is put, or something was read that no seal had closed.
    pub(super) open: bool,
    /// Objects that stood on commits that were nowhere when this began. What still does then is told to others.
    pub(super) lacked: BTreeSet<(Writer, u64)>,
    /// Somebody lacks what own objects stand on: what others have put does not count any more.
    pub(super) stands_alone: bool,
    /// Whether objects that were read are not there any more, once that was looked for.
    pub(super) something_gone: Option<bool>,
    /// Up to where own objects hold everything, once that was looked for.
    pub(super) whole_to: Option<LogSeq>,
    /// Where what is not all done in one exchange goes on.
    pub(super) turns: Turns,
    /// The same of what is looked at in vain.
    pub(super) passed: PassedOver,
    /// Something is not all done in this one.
    pub(super) turned: bool,
    /// Writers of whom something is kept.
    pub(super) kept: BTreeSet<Writer>,
    /// How many of them have given nothing that was not here.
    pub(super) strangers: usize,
    /// Bytes that strangers had there, and nothing was in them.
    pub(super) in_vain: u64,
    /// What keeps from putting anything: told once the others were read.
    held: Option<MailboxError>,
    _alone: Alone,
}

/// How far a writer says that others are.
pub(super) type Heard = Vec<(Writer, u64, [u8; 32])>;

// Two exchanges of one space with one mailbox would use the same numbers.
struct Alone(Database, row::MailboxKey);

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.read(|engine| Ok(engine.exchanging.remove(&self.1)));
    }
}

impl<'e> Exchange<'e> {
    pub(super) fn begin(
        mailbox: &'e Mailbox,
        options: &'e MailboxOptions,
        event: &'e mut (dyn FnMut(MailboxEvent) + Send),
    ) -> Result<Self, Error> {
        if !mailbox.database.read(|engine| Ok(engine.exchanging.insert(mailbox.key)))? {
            return Err(Error::Busy("this space is being exchanged with this mailbox already"));
        }
        let alone = Alone(mailbox.database.clone(), mailbox.key);
        let (done, heard, lacked) = (MailboxSynced::default(), BTreeMap::new(), BTreeSet::new());
        Ok(Self {
            mailbox,
            options,
            event: Mutex::new(event),
            done,
            heard,
            effort: Effort::new(),
            open: options.seal.is_none(),
            lacked,
            stands_alone: false,
            something_gone: None,
            whole_to: None,
            turns: Turns::default(),
            passed: PassedOver::default(),
            turned: false,
            kept: BTreeSet::new(),
            strangers: 0,
            in_vain: 0,
            held: None,
            _alone: alone,
        })
    }

    pub(super) async fn run(&mut self) -> Result<MailboxSynced, Error> {
        self.done.finished = match self.stages().await {
            // Whatever was waited for, nobody waits for it any more.
            Err(_) if self.is_cancelled() => false,
            done => done?,
        };
        let readings = self.readings().await?;
        let kept = readings.iter().flat_map(|(writer, reading)| alarms(writer, reading));
        self.done.alarms.extend(kept);
        Ok(std::mem::take(&mut self.done))
    }

    // `false` where it was cancelled.
    async fn stages(&mut self) -> Result<bool, Error> {
        self.forget_another().await?;
        self.is_still_there().await?;
        self.held = self.finish_what_was_begun().await?;
        let lost = self.look_after_own().await?;
        self.lacked = self.early().await?;
        self.effort.begin();
        let mut spent = None;
        // Who may put nothing reads all the same.
        if self.options.receive {
            match self.receive().await {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // Whoever makes much work for all keeps nobody from putting what is new.
                Err(error) if self.effort.is_spent() && !self.is_cancelled() => spent = Some(error),
                Err(error) => return Err(error),
            }
        }
        self.effort.begin();
        let done = match self.held.take() {
            Some(error) => return Err(error.into()),
            None if self.options.send => self.send(lost).await?,
            None => true,
        };
        spent.map_or(Ok(done), Err)
    }

    pub(super) fn tell(&mut self, event: MailboxEvent) {
        (self.event.get_mut().unwrap_or_else(PoisonError::into_inner))(event);
    }

    fn is_cancelled(&self) -> bool {
        *self.options.control.0.borrow() == Wish::Cancel
    }

    /// Waits while it is paused; `false` once it is cancelled.
    pub(super) async fn goes_on(&mut self) -> bool {
        let mut wishes = self.options.control.0.subscribe();
        let paused = *wishes.borrow() == Wish::Pause;
        if paused {
            self.tell(MailboxEvent::Paused);
        }
        let wish = wishes.wait_for(|wish| *wish != Wish::Pause).await.map_or(Wish::Cancel, |wish| *wish);
        if paused {
            self.effort.begin();
            self.tell(MailboxEvent::Resumed);
        }
        wish == Wish::Run
    }

    /// Waits for the mailbox, and says so if that takes long.
    pub(super) async fn patiently<T>(
        &mut self,
        work: impl Future<Output = Result<T, MailboxError>> + Send,
    ) -> Result<T, Error> {
        Ok(self.tried(work).await??)
    }

    /// The same, for whoever goes on without what the mailbox did not do.
    pub(super) async fn tried<T>(
        &mut self,
        work: impl Future<Output = Result<T, MailboxError>> + Send,
    ) -> Result<Result<T, MailboxError>, Error> {
        if self.is_cancelled() {
            return Err(Error::Unreachable("the exchange was cancelled".into()));
        }
        if !self.effort.ask() {
            let spent = "the mailbox shows more and more, and nothing comes of it; the next exchange goes on from there";
            return Err(Error::Unreachable(spent.into()));
        }
        let mut work = std::pin::pin!(work);
        let mut wishes = self.options.control.0.subscribe();
        let patience = self.options.stalled_after.max(Duration::from_millis(1));
        let mut waited = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                _ = wishes.wait_for(|wish| *wish == Wish::Cancel) => {
                    return Err(MailboxError::Unreachable("the exchange was cancelled".into()).into());
                }
                () = tokio::time::sleep(patience) => {
                    waited += patience;
                    self.tell(MailboxEvent::Stalled { waited });
                    if waited >= self.options.given_up_after {
                        let why = format!("no answer for {} seconds", waited.as_secs());
                        return Err(MailboxError::Unreachable(why).into());
                    }
                }
            }
        }
    }

    pub(super) async fn list(&mut self, prefix: &str, after: &str, limit: usize) -> Result<Listing, Error> {
        let place = self.mailbox.place.clone();
        let listing = self.patiently(place.list(prefix, after, limit)).await?;
        // So that whoever adds them up never gets too far.
        Ok(Listing { foreign: listing.foreign.min(u32::MAX.into()), ..listing })
    }

    /// The object that a listing names, if it is what the name says.
    pub(super) async fn fetch(
        &mut self,
        writer: &Writer,
        listed: &Listed,
    ) -> Result<Option<Result<(Object, u64), Unusable>>, Error> {
        if listed.size > MAX_OBJECT as u64 {
            return Ok(Some(Err(Unusable::Damaged)));
        }
        let place = self.mailbox.place.clone();
        let got = self.patiently(place.get(&listed.name, 0..MAX_OBJECT as u64 + 1)).await?;
        self.looked_at(writer, listed, got).await
    }

    /// The same of the first of these, where the others are asked for as well.
    pub(super) async fn fetch_first(
        &mut self,
        writer: &Writer,
        listed: &[Listed],
        ahead: &mut Ahead,
    ) -> Result<Option<Result<(Object, u64), Unusable>>, Error> {
        let Some(first) = listed.first() else { return Ok(None) };
        if let Some(begun) = ahead.next(listed) {
            let stopped = |_| Err(MailboxError::Unreachable("what was asked for was stopped".into()));
            let got = self.patiently(async { begun.await.unwrap_or_else(stopped) }).await?;
            if got.as_ref().is_none_or(|bytes| bytes.len() as u64 == first.size) {
                return self.looked_at(writer, first, got).await;
            }
            // The listing was wrong or old.
        }
        self.fetch(writer, first).await
    }

    async fn looked_at(
        &mut self,
        writer: &Writer,
        listed: &Listed,
        got: Option<Vec<u8>>,
    ) -> Result<Option<Result<(Object, u64), Unusable>>, Error> {
        let Some((number, hash)) = object::read_name(&listed.name) else { return Ok(None) };
        let Some(bytes) = got else { return Ok(None) };
        self.done.bytes_in += bytes.len() as u64;
        let (space, writer) = (self.mailbox.space, *writer);
        let read = blocking(&self.mailbox.database, move |_| {
            Ok(object::read(&bytes, &space, &writer, number, &hash)
                .map(|object| (object, bytes.len() as u64)))
        });
        read.await.map(Some)
    }

    /// `false` where the mailbox does not let us.
    pub(super) async fn delete(&mut self, name: &ObjectName) -> Result<bool, Error> {
        let place = self.mailbox.place.clone();
        match self.tried(place.delete(name)).await? {
            Ok(()) => Ok(true),
            Err(error @ (MailboxError::Denied(_) | MailboxError::Unusable(_))) => {
                self.done.undeleted = Some(error.to_string());
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Who this store is in mailboxes, and how far it has written in this one.
    pub(super) async fn own(&self) -> Result<(Writer, Own), Error> {
        let key = self.mailbox.key;
        blocking(&self.mailbox.database, move |database| {
            database.read(|engine| {
                let writer = Writer { peer: engine.node.id(), store: store(engine)? };
                let own = row::own(engine.storage.as_ref(), &key)?;
                // A store that was restored has another id, and begins anew.
                let own = own.filter(|own| own.store == writer.store);
                Ok((writer, own.unwrap_or(Own { store: writer.store, ..Own::default() })))
            })
        })
        .await
    }

    pub(super) async fn readings(&self) -> Result<Vec<(Writer, Reading)>, Error> {
        let key = self.mailbox.key;
        blocking(&self.mailbox.database, move |database| {
            database.read(|engine| row::readings(engine.storage.as_ref(), &key))
        })
        .await
    }

    // Objects of others that stand on commits that are in no object here.
    async fn early(&self) -> Result<BTreeSet<(Writer, u64)>, Error> {
        let early = |(writer, reading): (Writer, Reading)| {
            let numbers = reading.alarms.into_iter().filter(|(_, kind, _)| *kind == AlarmKind::Early);
            numbers.map(move |(number, ..)| (writer, number))
        };
        Ok(self.readings().await?.into_iter().flat_map(early).collect())
    }

    /// What is lacked since the exchange before this one: one object of each writer, so that nobody crowds out others.
    pub(super) async fn lacks(&self) -> Result<Vec<(Writer, u64)>, Error> {
        let early = self.early().await?;
        let mut lacks: Vec<_> = early.intersection(&self.lacked).copied().collect();
        lacks.dedup_by_key(|(writer, _)| *writer);
        lacks.truncate(MAX_LACKS);
        Ok(lacks)
    }

    /// Remembers how far a writer was read. `false` if it is one stranger too many.
    pub(super) async fn keep(&mut self, writer: &Writer, reading: &Reading) -> Result<bool, Error> {
        if !self.kept.contains(writer) {
            if reading.gave == 0 && !reading.is_only_heard_of() {
                if self.strangers >= MAX_STRANGERS {
                    return Ok(false);
                }
                self.strangers += 1;
            }
            self.kept.insert(*writer);
        }
        let (key, bytes) = (row::read_key(&self.mailbox.key, writer), reading.encode());
        let keep = blocking(&self.mailbox.database, move |database| {
            database.write(|engine| {
                engine.storage.put(&layout::MAILBOX_READ, key.as_slice().into(), &bytes)?;
                engine.staged();
                Ok(())
            })
        });
        keep.await.map(|()| true)
    }

    /// Raises an alarm, and tells of it if it is new.
    pub(super) async fn alarm(
        &mut self,
        writer: &Writer,
        reading: &mut Reading,
        number: u64,
        kind: AlarmKind,
    ) -> Result<(), Error> {
        self.alarm_all(writer, reading, std::iter::once(number), kind).await
    }

    /// The same for many, which are written down at once.
    pub(super) async fn alarm_all(
        &mut self,
        writer: &Writer,
        reading: &mut Reading,
        numbers: impl Iterator<Item = u64> + Send,
        kind: AlarmKind,
    ) -> Result<(), Error> {
        let now = self.mailbox.database.read(|engine| Ok(engine.now()))?;
        let new = numbers.filter(|number| reading.raise(*number, kind, now));
        let new = Reading { alarms: new.map(|number| (number, kind, now)).collect(), ..Reading::default() };
        if !new.alarms.is_empty() && self.keep(writer, reading).await? {
            alarms(writer, &new).into_iter().for_each(|alarm| self.tell(MailboxEvent::Alarm(alarm)));
        }
        Ok(())
    }
}

pub(super) fn store(engine: &Engine) -> Result<[u8; 16], Error> {
    let store = engine.storage.get(&layout::META, STORE_ID.into())?;
    store.and_then(|store| store.try_into().ok()).ok_or_else(|| Error::damaged("the store id is missing"))
}
