//! Whose objects are read in an exchange, and in which order. Names are free, so that anybody can be many writers: whoever
//! has given commits is always read, and of the others so many that an exchange ends, each in turn.

use std::collections::{BTreeSet, HashSet};

use driftless_core::sign::Domain;
use driftless_net::mailbox::MAX_LISTING;

use super::blocking;
use super::exchange::Exchange;
use super::object::Writer;
use super::passed::PassedOver;
use super::row::{Reading, Turns};
use crate::error::Error;

/// Writers who have given nothing yet that are read in one exchange in the order of their folders, whatever they are; and
/// as many of those in whose folders nothing was looked for yet.
const MAX_TURN: usize = 512;
/// Writers who have given something that are read in one exchange.
const MAX_GIVERS: usize = 4096;
/// Pages of the listing of folders in one exchange, and names in them.
const MAX_PAGES: usize = 2048;
const MAX_NAMES: usize = 65_536;
/// Bytes that strangers may have there in vain before the rest of them waits for the next exchange.
const MAX_IN_VAIN: u64 = 64 * 1024 * 1024;

/// Whom to read.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// In this order.
    pub writers: Vec<Writer>,
    /// Those of them of whom nothing is known.
    strangers: HashSet<Writer>,
    /// Those of the strangers whose turn it is; not those who are read because they are new.
    turn: HashSet<Writer>,
}

impl Exchange<'_> {
    /// What is known of writers when others begin to be read.
    pub(super) async fn begin_turns(&mut self) -> Result<(), Error> {
        let key = self.mailbox.key;
        let kept = blocking(&self.mailbox.database, move |database| {
            database.read(|engine| {
                let storage = engine.storage.as_ref();
                Ok((Turns::read(storage, &key)?, PassedOver::read(storage, &key)?))
            })
        });
        (self.turns, self.passed) = kept.await?;
        let readings = self.readings().await?;
        self.strangers = readings.iter().filter(|(_, reading)| is_stranger(reading)).count();
        self.kept = readings.into_iter().map(|(writer, _)| writer).collect();
        Ok(())
    }

    /// Whoever has a folder there or has been read before, without `own`.
    pub(super) async fn order(&mut self, own: &Writer) -> Result<Order, Error> {
        let readings = self.readings().await?.into_iter().filter(|(writer, _)| writer != own);
        let (mut givers, mut known) = (Vec::new(), Vec::new());
        for (writer, reading) in readings.filter(|(_, reading)| reading.at > 0 || reading.gave > 0) {
            if reading.gave > 0 { givers.push(writer) } else { known.push(writer) }
        }
        if givers.len() > MAX_GIVERS {
            self.in_turn(&mut givers, MAX_GIVERS, 0);
            givers.truncate(MAX_GIVERS);
        }
        let mut met: HashSet<Writer> = givers.iter().chain(&known).copied().collect();
        met.insert(*own);
        let found = self.folders().await?;
        let strangers: Vec<Writer> = found.into_iter().filter(|writer| met.insert(*writer)).collect();
        let vain: HashSet<u64> = self.turns.vain.iter().copied().collect();
        let turn: HashSet<Writer> = strangers.iter().take(MAX_TURN).copied().collect();
        let rest = strangers.iter().skip(MAX_TURN);
        let new: Vec<Writer> =
            rest.filter(|writer| !vain.contains(&short(writer))).take(MAX_TURN).copied().collect();
        let mut order = Order { writers: givers, strangers: HashSet::new(), turn };
        order.writers.extend(known);
        for writer in new.into_iter().chain(strangers.into_iter().take(MAX_TURN)) {
            order.strangers.insert(writer);
            order.writers.push(writer);
        }
        Ok(order)
    }

    /// Whether a writer is still read in this exchange.
    pub(super) fn has_room_for(&self, reading: &Reading) -> bool {
        reading.gave > 0 || self.in_vain <= MAX_IN_VAIN
    }

    /// A writer was read: the next exchange begins behind the last stranger whose turn it was.
    pub(super) async fn was_read(&mut self, order: &Order, writer: &Writer) -> Result<(), Error> {
        if !order.strangers.contains(writer) || self.in_vain > MAX_IN_VAIN {
            return Ok(());
        }
        if order.turn.contains(writer) && order.turn.len() >= MAX_TURN {
            self.turns.folder = writer.folder();
        }
        let (folder, gave) = (short(writer), self.reading(writer).await?.gave > 0);
        let known = self.turns.vain.iter().position(|known| *known == folder);
        match known {
            None if !gave => self.turns.vain.push(folder),
            Some(at) if gave => drop(self.turns.vain.remove(at)),
            _ => {}
        }
        Ok(())
    }

    /// Remembers where the next exchange goes on.
    pub(super) async fn keep_turns(&mut self) -> Result<(), Error> {
        let (key, turns, passed) = (self.mailbox.key, self.turns.clone(), self.passed.clone());
        blocking(&self.mailbox.database, move |database| {
            let same = database.read(|engine| {
                let storage = engine.storage.as_ref();
                Ok(Turns::read(storage, &key)? == turns && PassedOver::read(storage, &key)? == passed)
            })?;
            if same {
                return Ok(());
            }
            database.write(|engine| {
                turns.write(engine.storage.as_mut(), &key)?;
                passed.write(engine.storage.as_mut(), &key)?;
                engine.staged();
                Ok(())
            })
        })
        .await
    }

    /// Puts those first whose turn it is, where not all can be first. Of `pass` there are two in an exchange.
    pub(super) fn in_turn<T>(&mut self, all: &mut [T], most: usize, pass: u64) {
        let windows = all.len().div_ceil(most) as u64;
        if windows > 1 {
            let window = self.turns.round.saturating_mul(2).saturating_add(pass) % windows;
            all.rotate_left(usize::try_from(window).unwrap_or_default() * most);
            self.turned = true;
        }
    }

    // Writers who have a folder there, from behind the one where the last exchange stopped, and all the way round.
    async fn folders(&mut self) -> Result<Vec<Writer>, Error> {
        let prefix = format!("{}/", self.mailbox.space);
        let begin = self.turns.folder.clone();
        let (mut found, mut met) = (Vec::new(), BTreeSet::new());
        let (mut folder, mut limit, mut names, mut round) = (begin.clone(), 1, 0, begin.is_empty());
        for _ in 0..MAX_PAGES {
            // Past everything in that folder: `0` comes after `/`.
            let after = if folder.is_empty() { String::new() } else { format!("{prefix}{folder}0") };
            let page = self.list(&prefix, &after, limit).await?;
            self.done.foreign = self.done.foreign.saturating_add(page.foreign);
            let mut folders = 0;
            for name in page.objects.iter().filter_map(|listed| listed.name.parts().nth(1)) {
                if name == folder {
                    continue;
                }
                name.clone_into(&mut folder);
                folders += 1;
                if round && !begin.is_empty() && folder > begin {
                    return Ok(found);
                }
                match Writer::of_folder(&folder) {
                    Some(writer) if met.insert(writer) => found.push(writer),
                    Some(_) => {}
                    None => self.done.foreign += 1,
                }
            }
            names += page.objects.len();
            if names >= MAX_NAMES {
                break;
            }
            if folders == 0 || !page.more {
                if round {
                    break;
                }
                round = true;
                folder.clear();
                continue;
            }
            // Where folders hold little, many of them are in one page.
            limit = if 2 * folders >= limit { (2 * limit).min(MAX_LISTING) } else { (limit / 2).max(1) };
        }
        Ok(found)
    }
}

fn is_stranger(reading: &Reading) -> bool {
    reading.gave == 0 && !reading.is_only_heard_of()
}

fn short(writer: &Writer) -> u64 {
    let hash = Domain::MailboxObject.hash(&[b"folder", &writer.bytes()]);
    hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
