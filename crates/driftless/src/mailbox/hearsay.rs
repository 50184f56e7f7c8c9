//! What writers say of others: how far they are, and what of theirs stands on nothing. Whoever may put an object may say
//! anything, so that only who has given commits is believed for good; what a stranger says is told, and forgotten.

use std::collections::BTreeMap;

use driftless_net::mailbox::MAX_LISTING;

use super::alarm::AlarmKind;
use super::exchange::{Exchange, Heard};
use super::object::{self, Head, Writer};
use super::row::{self, Reading};
use super::{MailboxEvent, alarms, blocking};
use crate::error::Error;

/// Writers who are heard in one exchange, writers of whom strangers are heard, and writers who were only heard of that are
/// remembered.
const MAX_HEARSAY: usize = 1024;
/// Pages of listings in which one looks whether something is gone.
const MAX_PAGES: usize = 1000;

impl Exchange<'_> {
    /// What an object says of others; its writer may say something else in a later one.
    pub(super) fn hear(&mut self, from: &Writer, head: &Head) {
        if !head.heard.is_empty() && (self.heard.len() < MAX_HEARSAY || self.heard.contains_key(from)) {
            self.heard.insert(*from, head.heard.clone());
        }
    }

    /// What others were shown of a writer, and this device was not.
    pub(super) async fn compare_with_hearsay(&mut self, own: &Writer) -> Result<(), Error> {
        let before: BTreeMap<Writer, Reading> = self.readings().await?.into_iter().collect();
        let gave = |writer: &Writer| before.get(writer).is_some_and(|reading| reading.gave > 0);
        let heard = std::mem::take(&mut self.heard);
        let (believed, strange): (Vec<_>, Vec<_>) = heard.iter().partition(|(from, _)| gave(from));
        let mut only_heard = before.values().filter(|reading| reading.at == 0).count();
        for (writer, (number, hash)) in furthest(believed.iter().map(|(_, heard)| *heard)) {
            if writer == *own {
                continue;
            }
            let mut reading = self.reading(&writer).await?;
            if reading == Reading::default() {
                // Never seen here.
                only_heard += 1;
                if only_heard > MAX_HEARSAY {
                    continue;
                }
            }
            if let Some(kind) = differs(&reading, number, &hash) {
                self.alarm(&writer, &mut reading, number, kind).await?;
            }
        }
        for (writer, (number, _)) in furthest(strange.iter().map(|(_, heard)| *heard)) {
            let reading = self.reading(&writer).await?;
            let known =
                reading.alarms.iter().any(|(at, kind, _)| (*at, *kind) == (number, AlarmKind::Withheld));
            if writer != *own && reading.at < number && !known {
                self.tell_once(&writer, number)?;
            }
        }
        for (writer, mut reading) in self.readings().await? {
            let at = reading.at;
            if reading.settle(|number, kind| kind == AlarmKind::Withheld && number <= at) {
                self.keep(&writer, &reading).await?;
            }
        }
        Ok(())
    }

    // An alarm that nothing is kept of.
    fn tell_once(&mut self, writer: &Writer, number: u64) -> Result<(), Error> {
        let now = self.mailbox.database.read(|engine| Ok(engine.now()))?;
        let one = Reading { alarms: vec![(number, AlarmKind::Withheld, now)], ..Reading::default() };
        for alarm in alarms(writer, &one) {
            self.done.alarms.push(alarm.clone());
            self.tell(MailboxEvent::Alarm(alarm));
        }
        Ok(())
    }

    /// Somebody has read own objects and found nowhere what they stand on: what others had put there is gone, or was
    /// never there for all. From the beginning on, only what own objects hold counts as being there; once in an exchange.
    pub(super) async fn hear_of_lacks(
        &mut self,
        from: &Reading,
        lacks: &[(Writer, u64)],
    ) -> Result<(), Error> {
        if lacks.is_empty() || self.stands_alone {
            return Ok(());
        }
        let (writer, own) = self.own().await?;
        let named = lacks.iter().filter(|(of, number)| *of == writer && *number <= own.number);
        let Some(number) = named.map(|(_, number)| *number).max() else { return Ok(()) };
        // Of a stranger that comes first: it is looked for once, and anybody can say so in any number of objects.
        let believed = from.gave > 0 || self.is_something_gone().await?;
        if !believed || !self.stands_on_others(number).await? {
            return Ok(());
        }
        self.stands_alone = true;
        let key = self.mailbox.key;
        blocking(&self.mailbox.database, move |database| {
            database.write_durably(|engine| {
                row::stand_alone(engine.storage.as_mut(), &key, own)?;
                engine.staged();
                Ok(())
            })
        })
        .await
    }

    // Whether anything that an own object may stand on is in no own object. How far these hold everything is looked for once.
    async fn stands_on_others(&mut self, number: u64) -> Result<bool, Error> {
        let (key, known) = (self.mailbox.key, self.whole_to);
        let (stands, whole) = blocking(&self.mailbox.database, move |database| {
            database.read(|engine| {
                let storage = engine.storage.as_ref();
                let last = row::sent(storage, &key, number)?.and_then(|sent| sent.runs.last());
                let Some(last) = last else { return Ok((false, known)) };
                let whole = match known {
                    Some(whole) => whole,
                    None => row::sent_runs(storage, &key)?.whole_to(),
                };
                Ok((whole < last, Some(whole)))
            })
        })
        .await?;
        self.whole_to = whole;
        Ok(stands)
    }

    // Whether objects of whoever gave something are not as they were read: then a stranger is believed that something is
    // lacked. It is looked for once.
    async fn is_something_gone(&mut self) -> Result<bool, Error> {
        if let Some(known) = self.something_gone {
            return Ok(known);
        }
        let (mut gone, mut pages) = (false, 0);
        for (writer, reading) in self.readings().await? {
            gone |= reading.gave > 0 && reading.alarms.iter().any(|(_, kind, _)| kind.is_change());
            let expected = reading.at.saturating_sub(reading.owed().len() as u64);
            let (prefix, mut after) = (writer.prefix(&self.mailbox.space), String::new());
            let (mut last, mut count) = (0, 0);
            while reading.gave > 0 && pages < MAX_PAGES {
                pages += 1;
                let page = self.list(&prefix, &after, MAX_LISTING).await?;
                for (number, _) in page.objects.iter().filter_map(|listed| object::read_name(&listed.name)) {
                    count += u64::from(number > last && number <= reading.at);
                    last = number;
                }
                match page.objects.last() {
                    Some(behind) if page.more && last < reading.at => after = behind.name.to_string(),
                    _ => {
                        gone |= count < expected;
                        break;
                    }
                }
            }
        }
        self.something_gone = Some(gone);
        Ok(gone)
    }
}

// What is said at most of each writer.
fn furthest<'h>(heard: impl Iterator<Item = &'h Heard>) -> BTreeMap<Writer, (u64, [u8; 32])> {
    let mut furthest = BTreeMap::new();
    for (writer, number, hash) in heard.flatten() {
        if furthest.len() < MAX_HEARSAY || furthest.contains_key(writer) {
            let known = furthest.entry(*writer).or_insert((*number, *hash));
            if known.0 < *number {
                *known = (*number, *hash);
            }
        }
    }
    furthest
}

fn differs(reading: &Reading, number: u64, hash: &[u8; 32]) -> Option<AlarmKind> {
    if reading.at < number {
        return Some(AlarmKind::Withheld);
    }
    let other = reading.at == number && reading.hash != *hash && !reading.owed().contains(&number);
    other.then_some(AlarmKind::Forked)
}
