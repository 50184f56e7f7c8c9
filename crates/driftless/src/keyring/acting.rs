//! Whom a handle acts as, and which of a user's keys signs where. Several users act in one open database at once; each
//! call on a handle is done as the user of that handle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};

use driftless_core::id::AuthorId;
use driftless_core::limits::MAX_PROOFS;
use driftless_core::sign::AuthorKey;
use driftless_store::Storage;

use crate::error::Error;
use crate::keyring::seal::WrappingKey;
use crate::keyring::user::{self, KeyState, Secrets, User};

/// A user of a handle, and what a password opened for it.
pub(crate) struct Acting {
    pub name: String,
    login: RwLock<Option<Arc<Login>>>,
}

/// What all handles of a user share that gave the password; the secrets are zeroed with the last of them.
struct Login(RwLock<Unlocked>);

/// What a password opened.
pub(crate) struct Unlocked {
    pub keys: Vec<AuthorKey>,
    pub wrapping: Arc<WrappingKey>,
}

impl fmt::Debug for Acting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Acting").field(&self.name).finish()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    fn read(&self) -> RwLockReadGuard<'_, Unlocked> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, author: &AuthorId) -> Option<AuthorKey> {
        self.read().keys.iter().find(|key| key.id() == *author).cloned()
    }
}

impl Acting {
    /// A user who has given no password; where there is none, that is enough.
    pub(crate) fn locked(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), login: RwLock::default() })
    }

    fn login(&self) -> Option<Arc<Login>> {
        self.login.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_unlocked(&self) -> bool {
        self.login().is_some()
    }

    pub(crate) fn wrapping(&self) -> Option<Arc<WrappingKey>> {
        Some(self.login()?.read().wrapping.clone())
    }
}

/// All users of a database, and who of them is logged in.
#[derive(Debug, Default)]
pub(crate) struct Users {
    by_name: BTreeMap<String, User>,
    /// Keys that sign here, of all users: what they wrote is met again, never written twice.
    own: BTreeSet<AuthorId>,
    /// The secrets of users without a password.
    plain: BTreeMap<AuthorId, AuthorKey>,
    logged_in: BTreeMap<String, Weak<Login>>,
    default: String,
}

/// What a writer needs to know of its user before it stands in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signer {
    pub default: AuthorId,
    /// No other key could be better anywhere.
    pub alone: bool,
}

impl Users {
    pub(crate) fn load(storage: &dyn Storage) -> Result<Self, Error> {
        let mut users = Self::default();
        let all = user::load(storage)?;
        let named = user::default_user(storage)?.filter(|name| all.iter().any(|user| user.name == *name));
        let first = all.first().map(|user| user.name.clone());
        users.default = named.or(first).ok_or_else(|| Error::not_found("user", "(any)"))?;
        all.into_iter().for_each(|user| users.put(user));
        Ok(users)
    }

    /// Takes over what storage says now; who is logged in stays so.
    pub(crate) fn reload(&mut self, storage: &dyn Storage) -> Result<(), Error> {
        let logged_in = std::mem::take(&mut self.logged_in);
        *self = Self { logged_in, ..Self::load(storage)? };
        Ok(())
    }

    /// A user that is new or changed.
    pub(crate) fn put(&mut self, user: User) {
        if let Some(before) = self.by_name.get(&user.name) {
            for own in &before.keys {
                self.own.remove(&own.author);
                self.plain.remove(&own.author);
            }
        }
        self.own.extend(user.active());
        if let Secrets::Plain(seeds) = &user.secrets {
            self.plain.extend(seeds.keys().into_iter().map(|key| (key.id(), key)));
        }
        self.by_name.insert(user.name.clone(), user);
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &User> {
        self.by_name.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&User> {
        self.by_name.get(name)
    }

    pub(crate) fn default_name(&self) -> &str {
        &self.default
    }

    /// Whether one of the users signs with this key.
    pub(crate) fn signs(&self, author: &AuthorId) -> bool {
        self.own.contains(author)
    }

    /// Who has this key, in whatever state.
    pub(crate) fn owner(&self, author: &AuthorId) -> Option<&User> {
        self.all().find(|user| user.state(author).is_some())
    }

    /// Whom a handle acts as that has given no password.
    pub(crate) fn acting(&self, name: &str) -> Result<Arc<Acting>, Error> {
        self.get(name).map(|_| Acting::locked(name)).ok_or_else(|| Error::not_found("user", name))
    }

    /// A handle's user has given the password, or set one: from now on it shares what that opened with the user's other
    /// handles that did.
    pub(crate) fn unlock(&mut self, acting: &Acting, unlocked: Unlocked) {
        let shared = self.logged_in.get(&acting.name).and_then(Weak::upgrade);
        let login = match shared {
            Some(login) => {
                *login.0.write().unwrap_or_else(PoisonError::into_inner) = unlocked;
                login
            }
            None => {
                self.logged_in.retain(|_, login| login.strong_count() > 0);
                let login = Arc::new(Login(RwLock::new(unlocked)));
                self.logged_in.insert(acting.name.clone(), Arc::downgrade(&login));
                login
            }
        };
        *acting.login.write().unwrap_or_else(PoisonError::into_inner) = Some(login);
    }

    /// The secrets that a handle's user can use.
    pub(crate) fn secrets(&self, acting: &Acting) -> Result<Vec<AuthorKey>, Error> {
        let user = self.get(&acting.name).ok_or_else(|| Error::not_found("user", &acting.name))?;
        match &user.secrets {
            Secrets::Plain(seeds) => Ok(seeds.keys()),
            Secrets::Sealed(_) => match acting.login() {
                Some(login) => Ok(login.read().keys.clone()),
                None => Err(Error::LoginNeeded(acting.name.clone())),
            },
        }
    }

    /// The secret half of a key that signs.
    pub(crate) fn signing(&self, acting: &Acting, author: &AuthorId) -> Result<AuthorKey, Error> {
        let user = self.get(&acting.name).ok_or_else(|| Error::not_found("user", &acting.name))?;
        if user.state(author) != Some(KeyState::Active) {
            return Err(Error::NotPermitted(format!("{author} signs no more here")));
        }
        let key = match user.has_password() {
            true => acting.login().and_then(|login| login.key(author)),
            false => self.plain.get(author).cloned(),
        };
        key.ok_or_else(|| Error::LoginNeeded(acting.name.clone()))
    }

    /// What connections prove: the keys of everybody who is logged in or needs no password. Where there is not room for
    /// all, those that sign come before those that only read, and of these the ones of `acting` before others.
    pub(crate) fn proving(&self, acting: &Acting) -> Vec<AuthorKey> {
        let others = self.all().filter(|user| user.name != acting.name);
        let users: Vec<&User> = self.get(&acting.name).into_iter().chain(others).collect();
        let mut proven = Vec::new();
        for wanted in [KeyState::Active, KeyState::Former] {
            for user in &users {
                let other = || self.logged_in.get(&user.name).and_then(Weak::upgrade);
                let keys = user.keys.iter().filter(|own| own.state == wanted);
                proven.extend(keys.filter_map(|own| match (user.has_password(), user.name == acting.name) {
                    (false, _) => self.plain.get(&own.author).cloned(),
                    (true, true) => acting.login()?.key(&own.author),
                    (true, false) => other()?.key(&own.author),
                }));
                if proven.len() >= MAX_PROOFS {
                    proven.truncate(MAX_PROOFS);
                    return proven;
                }
            }
        }
        proven
    }

    /// For writers, by the name of their user.
    pub(crate) fn signers(&self) -> BTreeMap<String, Signer> {
        let signer = |user: &User| Signer { default: user.default_key(), alone: user.active().count() <= 1 };
        self.all().map(|user| (user.name.clone(), signer(user))).collect()
    }
}
