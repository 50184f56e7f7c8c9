//! Who is served a space: the one function that decides it, from its rules and from what the program's own callbacks say.
//!
//! Callbacks are asked outside the lock, and what they said holds until some rules change, or somebody says that they are to
//! be asked again: whoever looks under the lock sees whether it is still what they would say.

use std::collections::BTreeSet;
use std::sync::Arc;

use driftless_core::id::{AuthorId, PeerId, SpaceId, UserId};
use driftless_core::verdict::Via;

use crate::database::Database;
use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::serving::{Callbacks, Reader, Said};

/// Whether somebody is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    Yes,
    No,
    /// The rules do not let in; what a peer shows besides may.
    Unless,
    /// The callbacks have to be asked first.
    Ask,
}

/// What a look sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Also what is not durable yet.
    Any,
    /// Only what is durable: for what the peer gets.
    Durable,
}

impl Engine {
    /// Whether one of these keys, which the peer has proven, may read a space that is here.
    pub(crate) fn serves(
        &mut self,
        space: &SpaceId,
        keys: &[AuthorId],
        said: &Said,
    ) -> Result<Served, Error> {
        if !self.callbacks.is_none() && said.at != Some(self.readers.epoch()) {
            return Ok(Served::Ask);
        }
        // What was said by callbacks that are gone counts no more.
        let asked = !self.callbacks.is_none();
        Ok(match () {
            () if asked && said.closes => Served::No,
            () if asked && said.opens => Served::Yes,
            () if self.parts(space)?.1.rules.may_read(keys) => Served::Yes,
            () => Served::Unless,
        })
    }

    // The users of keys that want to read a space.
    fn users_of(&mut self, space: &SpaceId, keys: &[AuthorId]) -> Result<Vec<UserId>, Error> {
        let mut identities: BTreeSet<SpaceId> = self.users.all().filter_map(|user| user.identity).collect();
        let mut found = BTreeSet::new();
        if self.load(space)? {
            let rules = &self.parts(space)?.1.rules;
            for by in rules.delegations().into_iter().map(|delegation| delegation.space) {
                identities.insert(by);
                if keys.iter().any(|key| rules.came_through(&by, key)) {
                    found.insert(UserId(by.0));
                }
            }
        }
        for identity in identities {
            if self.load(&identity)? {
                let rules = &self.parts(&identity)?.1.rules;
                let named =
                    |key: &AuthorId| rules.member(key).is_some_and(|standing| standing.via == Via::Key);
                if keys.iter().any(named) {
                    found.insert(UserId(identity.0));
                }
            }
        }
        Ok(found.into_iter().collect())
    }
}

impl Database {
    /// Lets a callback open spaces to peers that the rules would not let read. A peer that it opens a space to gets all of
    /// it and can check all of it, and nothing that the peer writes counts for that. It is asked when a peer opens a space,
    /// and again whenever rules change: a quick function of its argument, called outside every lock; one that panics opens
    /// nothing. Discovery does not list what it opens. Replaces the one before.
    pub fn share_resolver(
        &self,
        opens: impl Fn(&Reader) -> bool + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.change_callbacks(|callbacks| callbacks.resolver = Some(Arc::new(opens)))
    }

    /// Lets a callback close spaces to peers, whatever the rules, tickets and resolvers say: where it says `false`, the
    /// peer gets nothing, finds nothing and is told what a stranger is told. It is asked as a resolver is; one that panics
    /// closes. Replaces the one before.
    pub fn share_filter(
        &self,
        serves: impl Fn(&Reader) -> bool + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.change_callbacks(|callbacks| callbacks.filter = Some(Arc::new(serves)))
    }

    /// Asks the callbacks again about everybody: what they look at has changed. From the moment when this returns nothing
    /// is sent by what they said before.
    pub fn reconsider_shares(&self) -> Result<(), Error> {
        self.change_callbacks(|_| {})
    }

    fn change_callbacks(&self, change: impl FnOnce(&mut Callbacks)) -> Result<(), Error> {
        self.read(|engine| {
            change(&mut engine.callbacks);
            engine.readers.ask_again();
            Ok(())
        })
    }

    /// What the callbacks say of a peer and a space.
    pub(crate) fn ask_callbacks(
        &self,
        peer: &PeerId,
        space: &SpaceId,
        keys: &[AuthorId],
    ) -> Result<Said, Error> {
        let asked = self.read(|engine| {
            if engine.callbacks.is_none() {
                return Ok(None);
            }
            let (users, at) = (engine.users_of(space, keys)?, engine.readers.epoch());
            Ok(Some((engine.callbacks.clone(), users, at)))
        })?;
        let Some((callbacks, users, at)) = asked else { return Ok(Said::default()) };
        let reader = Reader { space: *space, peer: *peer, keys: keys.to_vec(), users };
        Ok(callbacks.ask(&reader, at))
    }

    /// Runs `look` under the lock, again for as long as it says that the callbacks have to be asked first, which is done
    /// outside.
    pub(crate) fn as_said<T>(
        &self,
        (peer, space, keys): (&PeerId, &SpaceId, &[AuthorId]),
        much: Look,
        mut look: impl FnMut(&mut Engine, &Said) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        let mut said = Said::default();
        loop {
            let done = match much {
                Look::Any => self.read(|engine| look(engine, &said))?,
                Look::Durable => self.read_durable(|engine| look(engine, &said))?,
            };
            match done {
                Some(done) => return Ok(done),
                None => said = self.ask_callbacks(peer, space, keys)?,
            }
        }
    }

    /// Whether a peer that has proven these keys is served a space by them.
    pub(crate) fn serves(&self, peer: &PeerId, space: &SpaceId, keys: &[AuthorId]) -> Result<bool, Error> {
        self.as_said((peer, space, keys), Look::Any, |engine, said| {
            if !engine.load(space)? {
                return Ok(Some(false));
            }
            Ok(match engine.serves(space, keys, said)? {
                Served::Ask => None,
                served => Some(served == Served::Yes),
            })
        })
    }
}
