//! What users of this database want of a space: whether, when and how often it is exchanged with peers. Local; never sent.
//!
//! Only wishes. What happened is with the peers (`peers`, `status`); who carries the wishes out is `sync`.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use driftless_core::id::SpaceId;
use driftless_core::limits::{MAX_PREFERENCES, MAX_PROPERTIES, MAX_PROPERTY};
use driftless_store::{Key, Order, Storage};

use crate::database::Database;
use crate::error::Error;
use crate::space::Space;
use crate::tables::layout::{self, Bytes, put_bytes, put_number};

/// How often a space is exchanged if nobody says otherwise, in seconds.
pub const DEFAULT_INTERVAL: u64 = 300;

/// What one user wants of one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// Exchange it with peers at all.
    pub enabled: bool,
    /// Send what is committed at once.
    pub on_commit: bool,
    /// Also exchange it every so many seconds; `None` is never by itself.
    pub interval: Option<u64>,
    /// Whatever the application wants to remember with it.
    pub properties: BTreeMap<String, String>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self { enabled: true, on_commit: true, interval: Some(DEFAULT_INTERVAL), properties: BTreeMap::new() }
    }
}

/// What all users together want of a space: the most eager of them has his way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Send what is committed at once.
    pub on_commit: bool,
    /// The smallest interval that somebody wants, in seconds.
    pub interval: Option<u64>,
}

impl Wanted {
    /// What satisfies both.
    pub fn and(self, other: Self) -> Self {
        let interval = self.interval.into_iter().chain(other.interval).min();
        Self { on_commit: self.on_commit || other.on_commit, interval }
    }
}

impl Database {
    /// The spaces that this user tracks, and what he wants of each.
    pub fn tracked(&self) -> Result<Vec<(SpaceId, Preferences)>, Error> {
        let user = self.user()?;
        let rows = self.read(|engine| rows(engine.storage.as_ref()))?;
        let own = rows.into_iter().filter(|row| row.user == user);
        Ok(own.map(|row| (row.space, row.preferences)).collect())
    }
}

impl Space {
    /// What this user wants of the space, if he tracks it.
    pub fn preferences(&self) -> Result<Option<Preferences>, Error> {
        let key = key(&self.database().user()?, &self.id());
        self.database().read(|engine| {
            let row = engine.storage.get(&layout::PREFERENCES, key.as_slice().into())?;
            row.map(|row| Preferences::decode(&row).ok_or_else(damaged)).transpose()
        })
    }

    /// This user tracks the space from now on, and wants this of it.
    pub fn set_preferences(&self, preferences: &Preferences) -> Result<(), Error> {
        preferences.check()?;
        let key = key(&self.database().user()?, &self.id());
        let id = self.id();
        self.database().write(|engine| {
            engine.present(&id)?;
            let at = key.as_slice().into();
            if engine.storage.get(&layout::PREFERENCES, at)?.is_none()
                && rows(engine.storage.as_ref())?.len() >= MAX_PREFERENCES
            {
                return Err(Error::Invalid(format!(
                    "more than {MAX_PREFERENCES} tracked spaces; remove some"
                )));
            }
            engine.storage.put(&layout::PREFERENCES, key.as_slice().into(), &preferences.encode())?;
            engine.staged();
            Ok(())
        })?;
        self.database().tell_settings();
        Ok(())
    }

    /// This user does not track the space any more; `false` if he did not.
    pub fn forget_preferences(&self) -> Result<bool, Error> {
        let key = key(&self.database().user()?, &self.id());
        let there = self.database().write(|engine| {
            let at = key.as_slice().into();
            let there = engine.storage.get(&layout::PREFERENCES, at)?.is_some();
            if there {
                engine.storage.remove(&layout::PREFERENCES, key.as_slice().into())?;
                engine.staged();
            }
            Ok(there)
        })?;
        self.database().tell_settings();
        Ok(there)
    }

    /// What all users of this database together want of the space; `None` if nobody wants it exchanged. A space that
    /// nobody tracks is exchanged as `Preferences::default()` says.
    pub fn wanted(&self) -> Result<Option<Wanted>, Error> {
        self.database().read(|engine| wanted(engine.storage.as_ref(), &self.id()))
    }
}

/// What all users together want of a space.
pub(crate) fn wanted(storage: &dyn Storage, space: &SpaceId) -> Result<Option<Wanted>, Error> {
    let rows = rows(storage)?;
    let mut of_space = rows.iter().filter(|row| row.space == *space).map(|row| &row.preferences).peekable();
    if of_space.peek().is_none() {
        return Ok(together(std::iter::once(&Preferences::default())));
    }
    Ok(together(of_space))
}

/// The same of each of these spaces; those that nobody wants are left out.
pub(crate) fn all_wanted(
    storage: &dyn Storage,
    spaces: impl IntoIterator<Item = SpaceId>,
) -> Result<BTreeMap<SpaceId, Wanted>, Error> {
    let mut by_space: BTreeMap<SpaceId, Vec<Preferences>> = BTreeMap::new();
    for row in rows(storage)? {
        by_space.entry(row.space).or_default().push(row.preferences);
    }
    let usual = [Preferences::default()];
    let wanted = spaces.into_iter().filter_map(|space| {
        let preferences = by_space.get(&space).map_or(&usual[..], Vec::as_slice);
        Some((space, together(preferences.iter())?))
    });
    Ok(wanted.collect())
}

fn together<'p>(all: impl Iterator<Item = &'p Preferences>) -> Option<Wanted> {
    let enabled = all.filter(|preferences| preferences.enabled);
    let wanted = enabled
        .map(|preferences| Wanted { on_commit: preferences.on_commit, interval: preferences.interval });
    wanted.reduce(Wanted::and)
}

/// Nobody here tracks a space any more: it was forgotten.
pub(crate) fn forget(storage: &mut dyn Storage, space: &SpaceId) -> Result<(), Error> {
    crate::tables::agreed::forget_in(storage, &layout::PREFERENCES, space)
}

struct PreferencesRow {
    user: String,
    space: SpaceId,
    preferences: Preferences,
}

fn rows(storage: &dyn Storage) -> Result<Vec<PreferencesRow>, Error> {
    let (mut rows, mut whole) = (Vec::new(), true);
    let all = Bound::Unbounded;
    storage.range(&layout::PREFERENCES, all, all, Order::Ascending, &mut |key, row| {
        let Key::Bytes(bytes) = key else { return ControlFlow::Break(()) };
        let mut key = Bytes(bytes);
        let row = (|| {
            let user = key.text()?.to_owned();
            let space = SpaceId(key.array()?);
            Some(PreferencesRow { user, space, preferences: Preferences::decode(row)? })
        })();
        whole &= row.is_some();
        rows.extend(row);
        ControlFlow::Continue(())
    })?;
    if whole { Ok(rows) } else { Err(damaged()) }
}

fn key(user: &str, space: &SpaceId) -> Vec<u8> {
    let mut key = Vec::new();
    put_bytes(&mut key, user.as_bytes());
    key.extend_from_slice(&space.0);
    key
}

impl Preferences {
    fn check(&self) -> Result<(), Error> {
        let short = |text: &String| text.len() <= MAX_PROPERTY;
        if self.properties.len() > MAX_PROPERTIES
            || !self.properties.iter().all(|(k, v)| short(k) && short(v))
        {
            return Err(Error::Invalid(format!(
                "a space has at most {MAX_PROPERTIES} properties, names and values of at most {MAX_PROPERTY} bytes"
            )));
        }
        if self.interval == Some(0) {
            return Err(Error::Invalid("an interval has at least one second; `none` turns it off".into()));
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = vec![u8::from(self.enabled) | u8::from(self.on_commit) << 1];
        put_number(&mut row, self.interval.unwrap_or(0));
        for (name, value) in &self.properties {
            put_bytes(&mut row, name.as_bytes());
            put_bytes(&mut row, value.as_bytes());
        }
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        let [flags] = row.array()?;
        let interval = Some(row.number()?).filter(|seconds| *seconds > 0);
        let mut properties = BTreeMap::new();
        while !row.0.is_empty() {
            properties.insert(row.text()?.to_owned(), row.text()?.to_owned());
        }
        Some(Self { enabled: flags & 1 != 0, on_commit: flags & 2 != 0, interval, properties })
    }
}

fn damaged() -> Error {
    Error::damaged("preferences do not decode")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferences(enabled: bool, on_commit: bool, interval: Option<u64>) -> Preferences {
        Preferences { enabled, on_commit, interval, properties: BTreeMap::new() }
    }

    #[test]
    fn the_most_eager_user_has_his_way_and_who_is_off_has_no_say() {
        let (slow, fast) = (preferences(true, false, Some(300)), preferences(true, false, Some(60)));
        let (commit, off) = (preferences(true, true, None), preferences(false, true, Some(1)));
        let wanted = |on_commit, interval| Some(Wanted { on_commit, interval });
        assert_eq!(together([&slow, &fast].into_iter()), wanted(false, Some(60)));
        assert_eq!(together([&commit, &slow, &off].into_iter()), wanted(true, Some(300)));
        assert_eq!(together([&off, &off].into_iter()), None);
    }

    #[test]
    fn a_row_comes_back_as_it_was() {
        let mut full = preferences(true, false, Some(60));
        full.properties.insert("colour".into(), "blue".into());
        for preferences in [full, Preferences::default(), preferences(false, true, None)] {
            assert_eq!(Preferences::decode(&preferences.encode()).unwrap(), preferences);
        }
    }

    #[test]
    fn what_a_user_wants_is_kept_until_he_or_the_space_is_gone() {
        let database = Database::memory().unwrap();
        let space = database.create_space("notes").unwrap();
        assert_eq!(space.preferences().unwrap(), None);
        assert_eq!(
            space.wanted().unwrap(),
            Some(Wanted { on_commit: true, interval: Some(DEFAULT_INTERVAL) })
        );
        let quiet = preferences(false, true, None);
        space.set_preferences(&quiet).unwrap();
        assert_eq!(database.tracked().unwrap(), [(space.id(), quiet)]);
        assert_eq!(space.wanted().unwrap(), None);
        assert!(space.set_preferences(&preferences(true, true, Some(0))).is_err());
        assert!(space.forget_preferences().unwrap());
        assert!(!space.forget_preferences().unwrap());
        space.set_preferences(&Preferences::default()).unwrap();
        space.forget().unwrap();
        assert_eq!(database.tracked().unwrap(), []);
    }
}
