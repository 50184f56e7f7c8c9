//! The own objects: those that were lost are put again, and what is new is put behind them.
//!
//! An object is written down before it is put, and counts after: whatever happens in between, it is put once, under one
//! name. Somebody else's object under our name means that this store has a twin; then it becomes another writer.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use driftless_core::sign::NodeKey;
use driftless_net::mailbox::{Listed, MAX_LISTING, MAX_OBJECT, MailboxError, Put};
use driftless_store::{Key, Order};

use super::alarm::AlarmKind;
use super::build::{Built, Most, build};
use super::exchange::{Exchange, store};
use super::object::{self, Head, MAX_HEARD, Unusable, Writer};
use super::row::{self, Own, Reading, Runs, Sent, Thin};
use super::{MailboxCommit, MailboxEvent, blocking};
use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::guard::STORE_ID;
use crate::tables::layout::{self, LogSeq};
use crate::tables::log;

/// Own objects that are put again in one exchange; the others in the next.
const MAX_REPAIRS: usize = 1024;
/// Objects under the own names that are looked into, to see whose they are.
const MAX_STRANGERS: usize = 64;
/// Pages of the own names that can hold nothing of ours: no numbers, or numbers that were not reached yet.
const MAX_ODD: u64 = 8;
/// Bytes at which an object ends, at most: with one more frame it still fits.
const MAX_BATCH: usize = 4 * 1024 * 1024;
/// Commits without contents that are looked at again in one exchange; the others in the next.
const MAX_CHECKED: usize = 10_000;

impl Exchange<'_> {
    /// A store that was restored has another id: what it remembers of its objects is of the one that it was.
    pub(super) async fn forget_another(&self) -> Result<(), Error> {
        let key = self.mailbox.key;
        blocking(&self.mailbox.database, move |database| {
            let another = |engine: &mut Engine| {
                let now = Writer { peer: engine.node.id(), store: store(engine)? };
                // The first object may have been begun and not counted.
                let begun = row::sent(engine.storage.as_ref(), &key, 1)?;
                Ok(match row::own(engine.storage.as_ref(), &key)? {
                    Some(own) => own.store != now.store,
                    None => begun.is_some_and(|sent| !object::is_of(&sent.head, &now)),
                })
            };
            if !database.read(another)? {
                return Ok(());
            }
            database.write_durably(|engine| {
                for table in [&layout::MAILBOX_SENT, &layout::MAILBOX_OWN] {
                    row::remove(engine.storage.as_mut(), table, &key)?;
                }
                engine.staged();
                Ok(())
            })
        })
        .await
    }

    /// Numbers of own objects that are not there as they were put, and whether something else lies in its place.
    pub(super) async fn look_after_own(&mut self) -> Result<Vec<(u64, bool)>, Error> {
        let (writer, own) = self.own().await?;
        let prefix = writer.prefix(&self.mailbox.space);
        let (mut after, mut next, mut lost, mut strangers) = (String::new(), 1, Vec::new(), 0);
        // Of what lies there without being ours no more is looked at than can matter.
        let mut odd = 0;
        while odd <= MAX_ODD {
            let page = self.list(&prefix, &after, MAX_LISTING).await?;
            let mut found: BTreeMap<u64, Vec<Listed>> = BTreeMap::new();
            for listed in &page.objects {
                match object::read_name(&listed.name) {
                    Some((number, _)) => found.entry(number).or_default().push(listed.clone()),
                    None => self.done.foreign += 1,
                }
            }
            // Of the last number of a page the own object may be in the next one, or behind a crowd of others.
            // Where there is no number at all, the next one is behind a crowd.
            let last = found.keys().next_back().copied();
            let last = last.or(Some(next).filter(|next| *next <= own.number)).filter(|_| page.more);
            let end = match last {
                Some(last) if last > next => {
                    found.remove(&last);
                    last - 1
                }
                Some(last) => {
                    if let Some(listed) = self.own_object(&writer, last).await? {
                        found.entry(last).or_default().push(listed);
                    }
                    last
                }
                None if page.more => next - 1,
                None => own.number,
            };
            odd += u64::from(page.more && (last.is_none() || end > own.number));
            let (missing, changed, unknown) = self.compare(found, next, end.min(own.number)).await?;
            lost.extend(missing.into_iter().map(|number| (number, false)));
            for (number, listed, mut sent) in changed {
                match self.fetch(&writer, &listed).await? {
                    Some(Ok(_)) if listed.size == sent.size => {
                        self.effort.begin();
                        sent.mark = listed.mark;
                        self.write_sent(number, sent).await?;
                    }
                    _ => lost.push((number, !self.delete(&listed.name).await?)),
                }
            }
            for listed in unknown {
                strangers += 1;
                if strangers <= MAX_STRANGERS
                    && let Some(Ok((object, _))) = self.fetch(&writer, &listed).await?
                {
                    // Signed with our key, and not by us.
                    self.become_another(&writer, object.head.number).await?;
                    return Ok(Vec::new());
                }
                self.done.foreign += 1;
            }
            match page.objects.last() {
                Some(_) if page.more && lost.len() < MAX_REPAIRS && last.is_some() => {
                    (after, next) = (format!("{prefix}{}.", object::numbered(end)), end.saturating_add(1));
                }
                Some(odd) if page.more && lost.len() < MAX_REPAIRS => after = odd.name.to_string(),
                _ => break,
            }
        }
        lost.truncate(MAX_REPAIRS);
        Ok(lost)
    }

    // An own object as it is listed now.
    async fn own_object(&mut self, writer: &Writer, number: u64) -> Result<Option<Listed>, Error> {
        let key = self.mailbox.key;
        let sent = blocking(&self.mailbox.database, move |database| {
            database.read(|engine| row::sent(engine.storage.as_ref(), &key, number))
        });
        let Some(sent) = sent.await? else { return Ok(None) };
        let Some(name) = object::name(&self.mailbox.space, writer, number, &sent.hash) else {
            return Ok(None);
        };
        let listing = self.list(name.as_str(), "", 1).await?;
        let there = listing.objects.into_iter().find(|listed| listed.name == name);
        if there.is_some() {
            self.effort.begin();
        }
        Ok(there)
    }

    // Own objects from `next` to `end`: those that are missing, those that look different, and what else is there.
    async fn compare(
        &self,
        mut found: BTreeMap<u64, Vec<Listed>>,
        next: u64,
        end: u64,
    ) -> Result<(Vec<u64>, Vec<(u64, Listed, Sent)>, Vec<Listed>), Error> {
        let key = self.mailbox.key;
        blocking(&self.mailbox.database, move |database| {
            database.read(|engine| {
                let (mut missing, mut changed) = (Vec::new(), Vec::new());
                let (lower, upper) = (row::sent_key(&key, next), row::sent_key(&key, end));
                let bounds = (Bound::Included(Key::Bytes(&lower)), Bound::Included(Key::Bytes(&upper)));
                if next <= end {
                    engine.storage.range(
                        &layout::MAILBOX_SENT,
                        bounds.0,
                        bounds.1,
                        Order::Ascending,
                        &mut |key, value| {
                            let Key::Bytes(key) = key else { return ControlFlow::Break(()) };
                            let number = key.last_chunk::<8>().map(|number| u64::from_be_bytes(*number));
                            let Some((number, sent)) = number.zip(Sent::decode(value)) else {
                                return ControlFlow::Continue(());
                            };
                            let listed = found.get_mut(&number).and_then(|listed| {
                                let ours = |one: &Listed| {
                                    object::read_name(&one.name).is_some_and(|(_, hash)| hash == sent.hash)
                                };
                                listed.iter().position(ours).map(|at| listed.swap_remove(at))
                            });
                            match listed {
                                None if !sent.replaced && missing.len() < MAX_REPAIRS => missing.push(number),
                                Some(listed)
                                    if !sent.replaced
                                        && (listed.size != sent.size || listed.mark != sent.mark) =>
                                {
                                    changed.push((number, listed, sent));
                                }
                                _ => {}
                            }
                            // To the end, however many are missing: what is ours must not look like a twin's.
                            ControlFlow::Continue(())
                        },
                    )?;
                }
                // Under one number there may be more than a page: then ours is not among those that were compared.
                let mut unknown = Vec::new();
                for (number, listed) in found {
                    let sent = row::sent(engine.storage.as_ref(), &key, number)?;
                    let ours = |one: &Listed| {
                        object::read_name(&one.name).map(|(_, hash)| hash)
                            == sent.as_ref().map(|sent| sent.hash)
                    };
                    unknown.extend(listed.into_iter().filter(|one| !ours(one)));
                }
                Ok((missing, changed, unknown))
            })
        })
        .await
    }

    /// An object that was written down and perhaps put, when somebody stopped us. Why it cannot be put, if so.
    pub(super) async fn finish_what_was_begun(&mut self) -> Result<Option<MailboxError>, Error> {
        let (writer, own) = self.own().await?;
        let (key, number) = (self.mailbox.key, own.number + 1);
        let begun = blocking(&self.mailbox.database, move |database| {
            database.read(|engine| row::sent(engine.storage.as_ref(), &key, number))
        });
        let Some(sent) = begun.await? else { return Ok(None) };
        if self.own_object(&writer, number).await?.is_none()
            && let Some(bytes) = self.rebuild(&sent).await?
        {
            match self.put(&writer, number, &sent.hash, bytes).await? {
                Ok(_) => {}
                Err(error @ MailboxError::Unreachable(_)) => return Err(error.into()),
                Err(error) => return Ok(Some(error)),
            }
        }
        // Also one that cannot be made again: it may have been put and be shown later, and then its number must not be
        // that of another. A later object stands for it.
        self.count(number, sent, None).await.map(|()| None)
    }

    /// Puts again what was lost, then what is new. `false` where it was cancelled.
    pub(super) async fn send(&mut self, lost: Vec<(u64, bool)>) -> Result<bool, Error> {
        let mut again = Vec::new();
        for (number, taken) in lost {
            if !self.goes_on().await {
                return Ok(false);
            }
            let key = self.mailbox.key;
            let sent = blocking(&self.mailbox.database, move |database| {
                database.read(|engine| row::sent(engine.storage.as_ref(), &key, number))
            });
            let Some(mut sent) = sent.await? else { continue };
            // Where something else has the name and stays, another object stands for it.
            let bytes = if taken { None } else { self.rebuild(&sent).await? };
            match bytes {
                Some(bytes) => {
                    let (writer, _) = self.own().await?;
                    sent.mark = self.put(&writer, number, &sent.hash, bytes).await??;
                    self.write_sent(number, sent).await?;
                    self.repaired(number);
                }
                None => again.push((number, sent)),
            }
        }
        for (number, mut sent) in again {
            // Contents may have come since: then they are more than one object.
            let mut left = sent.runs.clone();
            loop {
                let built = match left.first().zip(left.last()) {
                    Some((first, last)) => {
                        self.build_only(left.clone(), (first.saturating_sub(1), last), self.most()).await?
                    }
                    None => Built::default(),
                };
                left.forget_below(built.upto);
                let whole = left.is_empty();
                if built.frames.is_empty() && !whole {
                    // Its commits are not here any more: no object holds them, so none may say that it stands for it.
                    break;
                }
                let (_, own) = self.own().await?;
                let instead = if whole { vec![number] } else { Vec::new() };
                self.put_new(Built { upto: own.upto, ..built }, instead).await?;
                if whole {
                    sent.replaced = true;
                    self.write_sent(number, sent).await?;
                    self.repaired(number);
                    break;
                }
            }
        }
        if !self.send_contents().await? {
            return Ok(false);
        }
        loop {
            if !self.goes_on().await {
                return Ok(false);
            }
            let built = self.next().await?;
            match built {
                None => {
                    self.tell_lacks().await?;
                    return Ok(true);
                }
                Some(built) => self.put_new(built, Vec::new()).await?,
            }
        }
    }

    // Contents of commits that went without them: they have come since, or the filter lets them through now. They are put
    // once more, whole. `false` where it was cancelled.
    async fn send_contents(&mut self) -> Result<bool, Error> {
        let (mut ready, checked) = self.contents_that_came().await?;
        while let Some((first, last)) = ready.first().zip(ready.last()) {
            if !self.goes_on().await {
                return Ok(false);
            }
            let built = self.build_only(ready.clone(), (first.saturating_sub(1), last), self.most()).await?;
            ready.forget_below(built.upto);
            let (_, own) = self.own().await?;
            if built.frames.is_empty() {
                break;
            }
            self.put_new(Built { upto: own.upto, ..built }, Vec::new()).await?;
        }
        if let Some(checked) = checked {
            let key = self.mailbox.key;
            let note = blocking(&self.mailbox.database, move |database| {
                database.write(|engine| {
                    let thin = Thin { checked, ..Thin::read(engine.storage.as_ref(), &key)? };
                    thin.write(engine.storage.as_mut(), &key)?;
                    engine.staged();
                    Ok(())
                })
            });
            note.await?;
        }
        Ok(true)
    }

    // Which commits that went without their contents can go with them now; and how far was looked, if not to the end.
    async fn contents_that_came(&self) -> Result<(Runs, Option<LogSeq>), Error> {
        let (space, key) = (self.mailbox.space, self.mailbox.key);
        let filter = self.options.send_filter.clone();
        blocking(&self.mailbox.database, move |database| {
            database.read_durable(|engine| {
                let thin = Thin::read(engine.storage.as_ref(), &key)?;
                let mut ready = Runs::default();
                if thin.runs.is_empty() || !engine.load(&space)? {
                    return Ok((ready, None));
                }
                let (storage, replica) = engine.parts(&space)?;
                let looked: Vec<LogSeq> = thin.runs.after(thin.checked).take(MAX_CHECKED).collect();
                for at in looked.iter().copied().filter(|at| *at < replica.flushed) {
                    let at_key = replica.key(at);
                    let row = log::row(storage, at_key)?;
                    let (header, body) = log::parts(storage, &replica.id, at_key, &row)?;
                    let keeps = || filter.as_ref().is_none_or(|filter| MailboxCommit::keeps(filter, &header));
                    if body.is_some() && keeps() {
                        ready.insert(at);
                    }
                }
                let end = if looked.len() < MAX_CHECKED { 0 } else { looked.last().copied().unwrap_or(0) };
                Ok((ready, Some(end).filter(|end| *end != thin.checked)))
            })
        })
        .await
    }

    fn most(&self) -> Most {
        Most {
            bytes: self.options.batch_bytes.clamp(1, MAX_BATCH),
            commits: self.options.batch_commits.max(1),
        }
    }

    // An object without commits, if nobody was told yet what is lacked here.
    async fn tell_lacks(&mut self) -> Result<(), Error> {
        let ((_, own), lacks) = (self.own().await?, self.lacks().await?);
        if !lacks.is_empty() && object::lacks_mark(&lacks) != own.told {
            self.put_new(Built { upto: own.upto, ..Built::default() }, Vec::new()).await?;
        }
        Ok(())
    }

    fn repaired(&mut self, number: u64) {
        self.done.repaired += 1;
        self.tell(MailboxEvent::Repaired { number });
    }

    // The commits of the next object; `None` if everything is there.
    async fn next(&mut self) -> Result<Option<Built>, Error> {
        let (space, key) = (self.mailbox.space, self.mailbox.key);
        let filter = self.options.send_filter.clone();
        let most = self.most();
        let (_, own) = self.own().await?;
        blocking(&self.mailbox.database, move |database| {
            // Nothing is sent before it is durable here.
            let built = database.read_durable(|engine| {
                if !engine.load(&space)? {
                    return Ok(None);
                }
                let (storage, replica) = engine.parts(&space)?;
                let end = replica.flushed.saturating_sub(1);
                let there = |at| own.there.contains(at);
                build(storage, replica, (own.upto, end), &there, most, filter.as_ref()).map(Some)
            })?;
            let Some(built) = built else { return Ok(None) };
            if built.frames.is_empty() && built.upto > own.upto {
                let mut own = own;
                own.upto = built.upto;
                own.there.forget_to(built.upto);
                database.write(|engine| {
                    engine.storage.put(&layout::MAILBOX_OWN, key.as_slice().into(), &own.encode())?;
                    engine.staged();
                    Ok(())
                })?;
            }
            Ok(Some(built).filter(|built| !built.frames.is_empty()))
        })
        .await
    }

    async fn frames_of(&self, runs: Runs) -> Result<Built, Error> {
        let Some((first, last)) = runs.first().zip(runs.last()) else { return Ok(Built::default()) };
        // More never was an object; it ends somewhere, and is not the same then.
        let most = Most { bytes: 2 * MAX_OBJECT, commits: u64::MAX };
        self.build_only(runs, (first.saturating_sub(1), last), most).await
    }

    // Frames of these positions, between these two.
    async fn build_only(&self, runs: Runs, (from, to): (LogSeq, LogSeq), most: Most) -> Result<Built, Error> {
        let (space, filter) = (self.mailbox.space, self.options.send_filter.clone());
        blocking(&self.mailbox.database, move |database| {
            database.read_durable(|engine| {
                if !engine.load(&space)? {
                    return Ok(Built::default());
                }
                let (storage, replica) = engine.parts(&space)?;
                let to = to.min(replica.flushed.saturating_sub(1));
                let skip = |at| !runs.contains(at);
                build(storage, replica, (from, to), &skip, most, filter.as_ref())
            })
        })
        .await
    }

    // The bytes of an object that was put before; `None` if they are not the same any more.
    async fn rebuild(&self, sent: &Sent) -> Result<Option<Vec<u8>>, Error> {
        let built = self.frames_of(sent.runs.clone()).await?;
        let (bytes, hash) = self.write_object(sent.head.clone(), built.frames).await?;
        Ok((hash == sent.hash).then_some(bytes))
    }

    async fn write_object(&self, head: Vec<u8>, frames: Vec<Vec<u8>>) -> Result<(Vec<u8>, [u8; 32]), Error> {
        let seal = self.options.seal.clone();
        blocking(&self.mailbox.database, move |database| {
            let content = object::pack(&frames)?;
            let content = seal.map_or_else(|| Ok(content.clone()), |seal| seal.seal(content.clone()))?;
            let key: NodeKey = database.read(|engine| Ok(engine.node.clone()))?;
            Ok(object::write(&key, &head, &content))
        })
        .await
    }

    // One new object: written down, put, counted.
    async fn put_new(&mut self, built: Built, instead: Vec<u64>) -> Result<(), Error> {
        let (writer, own) = self.own().await?;
        let (readings, lacks) = (self.readings().await?, self.lacks().await?);
        let told = object::lacks_mark(&lacks);
        // Whoever gave something first, so that strangers crowd nobody out.
        let (gave, others): (Vec<_>, Vec<_>) =
            readings.iter().filter(|(_, reading)| reading.at > 0).partition(|(_, reading)| reading.gave > 0);
        let heard = gave.into_iter().chain(others).take(MAX_HEARD);
        let head = Head {
            space: self.mailbox.space,
            writer,
            number: own.number + 1,
            previous: own.previous,
            instead,
            heard: heard.map(|(writer, reading)| (*writer, reading.at, reading.hash)).collect(),
            lacks,
            seal: self.options.seal.as_ref().map_or_else(String::new, |seal| seal.name().to_owned()),
        };
        let (number, commits) = (head.number, built.runs.count());
        let head = head.encode();
        let (bytes, hash) = self.write_object(head.clone(), built.frames).await?;
        let size = bytes.len() as u64;
        let mut sent = Sent {
            hash,
            size,
            mark: 0,
            head,
            runs: built.runs,
            thin: built.thin,
            upto: built.upto,
            replaced: false,
        };
        self.write_sent(number, sent.clone()).await?;
        sent.mark = self.put(&writer, number, &hash, bytes).await??;
        self.count(number, sent, Some(told)).await?;
        self.done.sent += commits;
        self.tell(MailboxEvent::Sent { commits, bytes: size });
        Ok(())
    }

    // Puts an object, and says which mark it got.
    async fn put(
        &mut self,
        writer: &Writer,
        number: u64,
        hash: &[u8; 32],
        bytes: Vec<u8>,
    ) -> Result<Result<u64, MailboxError>, Error> {
        let name = object::name(&self.mailbox.space, writer, number, hash);
        let name = name.ok_or_else(|| Error::Io("an object of a mailbox has no name".into()))?;
        let (place, size) = (self.mailbox.place.clone(), bytes.len() as u64);
        match self.tried(place.put_if_absent(&name, bytes)).await? {
            Ok(Put::Stored) => {
                self.done.bytes_out += size;
                self.done.objects_out += 1;
                self.effort.begin();
            }
            Ok(Put::Exists) => {}
            Err(error) => return Ok(Err(error)),
        }
        let listing = self.list(name.as_str(), "", 1).await?;
        let listed = listing.objects.first().filter(|listed| listed.name == name && listed.size == size);
        Ok(Ok(listed.map_or(0, |listed| listed.mark)))
    }

    async fn write_sent(&self, number: u64, sent: Sent) -> Result<(), Error> {
        let at = row::sent_key(&self.mailbox.key, number);
        blocking(&self.mailbox.database, move |database| {
            database.write_durably(|engine| {
                engine.storage.put(&layout::MAILBOX_SENT, at.as_slice().into(), &sent.encode())?;
                engine.staged();
                Ok(())
            })
        })
        .await
    }

    // From now on the object is there.
    async fn count(&self, number: u64, sent: Sent, told: Option<[u8; 8]>) -> Result<(), Error> {
        let (key, (writer, mut own)) = (self.mailbox.key, self.own().await?);
        own.store = writer.store;
        own.told = told.unwrap_or(own.told);
        (own.number, own.previous) = (number, sent.hash);
        own.upto = own.upto.max(sent.upto);
        own.there.forget_to(own.upto);
        blocking(&self.mailbox.database, move |database| {
            database.write_durably(|engine| {
                let at = row::sent_key(&key, number);
                engine.storage.put(&layout::MAILBOX_SENT, at.as_slice().into(), &sent.encode())?;
                engine.storage.put(&layout::MAILBOX_OWN, key.as_slice().into(), &own.encode())?;
                let mut thin = Thin::read(engine.storage.as_ref(), &key)?;
                let before = thin.clone();
                if !thin.runs.is_empty() {
                    sent.runs.after(0).for_each(|at| thin.runs.remove(at));
                }
                sent.thin.after(0).for_each(|at| thin.runs.insert(at));
                if thin != before {
                    thin.write(engine.storage.as_mut(), &key)?;
                }
                engine.staged();
                Ok(())
            })
        })
        .await
    }

    // This store was restored or copied, and its twin has written. From now on it is another writer, and reads what the
    // twin wrote like anybody's.
    async fn become_another(&mut self, twin: &Writer, number: u64) -> Result<(), Error> {
        let (key, (_, before)) = (self.mailbox.key, self.own().await?);
        blocking(&self.mailbox.database, move |database| {
            database.write_durably(|engine| {
                let new = Own { store: engine.random(), ..Own::default() };
                debug_assert!(store(engine)? != new.store);
                engine.storage.put(&layout::META, STORE_ID.into(), &new.store)?;
                row::remove(engine.storage.as_mut(), &layout::MAILBOX_SENT, &key)?;
                row::remove(engine.storage.as_mut(), &layout::MAILBOX_OWN, &key)?;
                engine.storage.put(&layout::MAILBOX_OWN, key.as_slice().into(), &new.encode())?;
                engine.staged();
                Ok(())
            })
        })
        .await?;
        if before.number == 0 {
            // Nobody has written twice: the space was forgotten here, or the copy was made before anything was put.
            return Ok(());
        }
        let mut reading = Reading::default();
        self.alarm(twin, &mut reading, number, AlarmKind::Forked).await
    }
}

/// What is wrong with bytes that are no object.
pub(super) fn kind(unusable: Unusable) -> AlarmKind {
    match unusable {
        Unusable::Damaged => AlarmKind::Damaged,
        Unusable::Newer => AlarmKind::Newer,
    }
}
