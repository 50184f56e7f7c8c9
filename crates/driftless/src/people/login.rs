//! Users of an open database: who there is, log-ins, passwords.
//!
//! A wrong password and a name that nobody has look the same, and take the same work.

use std::sync::Arc;

use driftless_core::id::{AuthorId, SpaceId};
use driftless_core::sign::AuthorKey;
use zeroize::Zeroizing;

use crate::database::Database;
use crate::error::Error;
use crate::keyring::acting::{Acting, Unlocked};
use crate::keyring::seal::{NONCE, Password, Recipe, Sealed, WrappingKey};
use crate::keyring::user::{self, KeyState, MAX_USERS, User};
use crate::state::engine::Engine;

/// A user of a database, as everybody may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSummary {
    /// The name in this database.
    pub name: String,
    /// Whether a password stands before the keys.
    pub has_password: bool,
    /// Whether a handle acts as this user that was opened without a name.
    pub is_default: bool,
    /// The keys, the default one first.
    pub keys: Vec<KeySummary>,
    /// The space that stands for the user on all devices, if there is one yet.
    pub identity: Option<SpaceId>,
}

/// A key of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySummary {
    /// The public half.
    pub author: AuthorId,
    /// What it may still do here.
    pub state: KeyState,
    /// It signs where no other key of the user is better.
    pub is_default: bool,
}

impl UserSummary {
    fn new(user: &User, default: &str) -> Self {
        let keys = user.keys.iter().map(|own| KeySummary {
            author: own.author,
            state: own.state,
            is_default: own.author == user.default_key(),
        });
        Self {
            name: user.name.clone(),
            has_password: user.has_password(),
            is_default: user.name == default,
            keys: keys.collect(),
            identity: user.identity,
        }
    }
}

impl Database {
    /// All users, in the order of their names. Needs no password.
    pub fn users(&self) -> Result<Vec<UserSummary>, Error> {
        self.read(|engine| {
            let default = engine.users.default_name();
            Ok(engine.users.all().map(|user| UserSummary::new(user, default)).collect())
        })
    }

    /// A user by name. Needs no password.
    pub fn find_user(&self, name: &str) -> Result<UserSummary, Error> {
        let found = self.users()?.into_iter().find(|user| user.name == name);
        found.ok_or_else(|| Error::not_found("user", name))
    }

    /// Makes a user with one key. Without a password the key lies in the database file as it is.
    pub fn create_user(&self, name: &str, password: Option<&Password>) -> Result<UserSummary, Error> {
        let vacant = |engine: &Engine| match engine.users.get(name) {
            Some(_) => Err(Error::Exists(format!("user {name}"))),
            None if engine.users.len() >= MAX_USERS => {
                Err(Error::Invalid(format!("a database has at most {MAX_USERS} users")))
            }
            None => Ok(()),
        };
        self.read(|engine| vacant(engine))?;
        let wrapping = password.map(|password| self.wrapping(password)).transpose()?;
        self.change_users(|engine| {
            vacant(engine)?;
            let seed = Zeroizing::new(engine.random());
            let nonce: [u8; NONCE] = engine.random();
            let wrapping = wrapping.as_ref().map(|wrapping| (wrapping, nonce));
            let user = User::new(name, &AuthorKey::from_seed(&seed), wrapping)?;
            let default = engine.users.default_name().to_owned();
            user::set_default_user(engine.storage.as_mut(), &default)?;
            let summary = UserSummary::new(&user, &default);
            engine.put_user(user)?;
            Ok(summary)
        })
    }

    /// Another handle to this database, which acts as a user. Handles of several users work side by side. A user
    /// without a password logs in without one. Takes a third of a second and 64 MiB; at most two log-ins are computed
    /// at once, a few wait, and more are told that it is busy.
    pub fn login(&self, name: &str, password: Option<&Password>) -> Result<Self, Error> {
        let user = self.read(|engine| Ok(engine.users.get(name).cloned()))?;
        if password.is_none() && user.as_ref().is_some_and(|user| !user.has_password()) {
            return Ok(self.acting_as(self.read(|engine| engine.users.acting(name))?));
        }
        let permitted = || {
            let now = self.read(|engine| Ok(engine.now()))?;
            self.failures().check(name, now)
        };
        permitted()?;
        let nobody = Recipe { cost: self.cost(), salt: [0; _] };
        let recipe = user.as_ref().and_then(User::recipe).copied().unwrap_or(nobody);
        let (none, given) = (Password::new(""), password.is_some());
        let wrapping = recipe.key(password.unwrap_or(&none), permitted)?;
        // As much work for a user who is not there.
        let decoy = wrapping.open(&Sealed::decoy(recipe), name.as_bytes());
        let wrapping = Arc::new(wrapping);
        let acting = self.read(|engine| {
            // The user may have changed meanwhile.
            let keys = engine.users.get(name).and_then(|user| user.open(&wrapping)).filter(|_| given);
            let Some(keys) = keys.filter(|_| decoy.is_none()) else { return Ok(None) };
            let acting = Acting::locked(name);
            engine.users.unlock(&acting, Unlocked { keys, wrapping });
            Ok(Some(acting))
        })?;
        let Some(acting) = acting else {
            let now = self.read(|engine| Ok(engine.now()))?;
            self.failures().note(name, now);
            return Err(Error::LoginFailed);
        };
        self.failures().forget(name);
        let database = self.acting_as(acting);
        if let Some(password) = password
            && recipe.cost.is_below(self.cost())
            && self.is_writable()?
        {
            // Whoever logs in knows the password: it is stored at what one costs now. That can wait for the next time.
            match database.set_password(Some(password)) {
                Err(error) if !error.is_answer() => return Err(error),
                _ => {}
            }
        }
        Ok(database)
    }

    /// Another handle to this database, which acts as a user without a log-in: who has a password reads with it, and
    /// does not sign.
    pub fn as_user(&self, name: &str) -> Result<Self, Error> {
        Ok(self.acting_as(self.read(|engine| engine.users.acting(name))?))
    }

    /// Whether the user of this handle can sign: it has no password, or was logged in with it.
    pub fn is_logged_in(&self) -> Result<bool, Error> {
        self.read(|engine| Ok(engine.users.secrets(&engine.acting).is_ok()))
    }

    /// Sets, changes or removes the password of the user of this handle, who is logged in. Other handles of the same
    /// log-in go on. Keys that lay in the file without a password before may still be read out of its write-ahead log
    /// until it is emptied, and out of backups: whoever fears that takes new keys, too.
    pub fn set_password(&self, password: Option<&Password>) -> Result<(), Error> {
        self.read(|engine| engine.users.secrets(&engine.acting).map(drop))?;
        let wrapping = password.map(|password| self.wrapping(password)).transpose()?;
        self.change_users(|engine| {
            let keys = engine.users.secrets(&engine.acting)?;
            let user = engine.users.get(&engine.acting.name).cloned();
            let user = user.ok_or_else(|| Error::not_found("user", &engine.acting.name))?;
            engine.seal_user(user, keys, wrapping.map(Arc::new))
        })
    }

    /// Makes a key of a password that is new.
    pub(crate) fn wrapping(&self, password: &Password) -> Result<WrappingKey, Error> {
        password.check()?;
        let salt = self.read(|engine| Ok(engine.random()))?;
        Recipe { cost: self.cost(), salt }.key(password, || Ok(()))
    }
}

impl Engine {
    /// Stores a user that is new or changed.
    pub(crate) fn put_user(&mut self, user: User) -> Result<(), Error> {
        user.store(self.storage.as_mut())?;
        self.users.put(user);
        self.staged();
        Ok(())
    }

    /// Stores the acting user with these secrets, sealed if there is something to seal with. Its errors come before it
    /// writes.
    pub(crate) fn seal_user(
        &mut self,
        mut user: User,
        keys: Vec<AuthorKey>,
        wrapping: Option<Arc<WrappingKey>>,
    ) -> Result<(), Error> {
        let nonce = self.random();
        user.keep(&keys, wrapping.as_deref().map(|wrapping| (wrapping, nonce)))?;
        self.put_user(user)?;
        if let Some(wrapping) = wrapping {
            self.users.unlock(&self.acting, Unlocked { keys, wrapping });
        }
        Ok(())
    }

    /// Changes the keys of the acting user, who is logged in. `change` says no before it writes anything.
    pub(crate) fn change_keys<T>(
        &mut self,
        change: impl FnOnce(&mut Self, &mut User, &mut Vec<AuthorKey>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut keys = self.users.secrets(&self.acting)?;
        let user = self.users.get(&self.acting.name).cloned();
        let mut user = user.ok_or_else(|| Error::not_found("user", &self.acting.name))?;
        // What an older password led to seals nothing any more.
        let wrapping = match user.recipe() {
            None => None,
            Some(recipe) => {
                let wrapping = self.acting.wrapping().filter(|wrapping| wrapping.recipe == *recipe);
                Some(wrapping.ok_or_else(|| Error::LoginNeeded(user.name.clone()))?)
            }
        };
        let done = change(self, &mut user, &mut keys)?;
        self.seal_user(user, keys, wrapping)?;
        Ok(done)
    }
}
