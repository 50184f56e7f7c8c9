//! The keys of a user: new ones, the default one, those that are carried to another device, those that end.

use driftless_core::id::AuthorId;
use driftless_core::sign::AuthorKey;
use zeroize::Zeroizing;

use crate::database::Database;
use crate::error::Error;
use crate::keyring::seal::{NONCE, Password};
use crate::keyring::user::{KeyState, MAX_KEYS, OwnKey, User};
use crate::people::key_text::KeyText;
use crate::people::login::KeySummary;

impl Database {
    /// The keys of the user of this handle, the default one first. Needs no password.
    pub fn keys(&self) -> Result<Vec<KeySummary>, Error> {
        Ok(self.find_user(&self.user()?)?.keys)
    }

    /// A key of the user by its id or a prefix of at least 8 characters.
    pub fn find_key(&self, text: &str) -> Result<KeySummary, Error> {
        let keys = self.keys()?;
        let mut found = keys.iter().filter(|key| key.author.has_prefix(text));
        match (found.next(), found.next()) {
            (Some(key), None) => Ok(*key),
            (None, _) => Err(Error::not_found("key", text)),
            (Some(_), Some(_)) => Err(Error::Ambiguous { what: "key", name: text.to_owned() }),
        }
    }

    /// Another handle to this database, which signs with this key only, whatever other keys its user has. A key that
    /// is not the user's, or signs no more, looks like a wrong password.
    pub fn with_key(&self, key: &AuthorId) -> Result<Self, Error> {
        self.read(|engine| match engine.signing(key) {
            Err(Error::NotPermitted(_)) => Err(Error::LoginFailed),
            other => other.map(drop),
        })?;
        Ok(self.signing_with(*key))
    }

    /// Makes a new key of the user. It becomes a member of the identity, and has no other permission yet; the default
    /// key stays what it is.
    pub fn new_key(&self) -> Result<AuthorId, Error> {
        self.change_users(|engine| {
            engine.change_keys(|engine, user, keys| {
                let seed = Zeroizing::new(engine.random());
                let key = AuthorKey::from_seed(&seed);
                user.add(key.id())?;
                engine.follow_new(user.identity, key.id())?;
                keys.push(key.clone());
                Ok(key.id())
            })
        })
    }

    /// Another key of the user founds spaces from now on, and signs where no other is better.
    pub fn set_default_key(&self, key: &AuthorId) -> Result<(), Error> {
        self.change_users(|engine| {
            engine.change_keys(|_, user, _| {
                user.check_active(key)?;
                let at = user.keys.iter().position(|own| own.author == *key).unwrap_or_default();
                if let Some(first) = user.keys.get_mut(..=at) {
                    first.rotate_right(1);
                }
                Ok(())
            })
        })
    }

    /// A key as text, to take it to another device or into a safe: under a password, or as it is. Two databases that
    /// both sign with one key fork it: only one of them may go on with it.
    pub fn export_key(&self, key: &AuthorId, password: Option<&Password>) -> Result<KeyText, Error> {
        let secret = self.read(|engine| {
            let keys = engine.users.secrets(&engine.acting)?;
            keys.into_iter().find(|secret| secret.id() == *key).ok_or_else(|| Error::not_found("key", key))
        })?;
        let Some(password) = password else { return Ok(KeyText::plain(&secret)) };
        let wrapping = self.wrapping(password)?;
        let nonce: [u8; NONCE] = self.read(|engine| Ok(engine.random()))?;
        KeyText::sealed(&secret, &wrapping, nonce)
    }

    /// Takes a key that was exported as text, as one more key of the user. No other database may sign with it any more.
    pub fn import_key(&self, text: &str, password: Option<&Password>) -> Result<AuthorId, Error> {
        let secret = text.parse::<KeyText>()?.open(password)?;
        let author = secret.id();
        let vacant = |owner: Option<&User>| match owner {
            Some(user) => Err(Error::Exists(format!("key {author}, of user {},", user.name))),
            None => Ok(()),
        };
        self.change_users(|engine| {
            vacant(engine.users.owner(&author))?;
            engine.change_keys(|engine, user, keys| {
                user.add(author)?;
                engine.follow_new(user.identity, author)?;
                keys.push(secret);
                Ok(author)
            })
        })
    }

    /// Ends a key here: it never signs again, and its secret is gone. It leaves the identity if a stronger key of the user
    /// can say so; in other spaces it keeps its permissions until an admin takes them. The last key that signs cannot go.
    pub fn revoke_key(&self, key: &AuthorId) -> Result<(), Error> {
        self.change_users(|engine| {
            engine.change_keys(|engine, user, keys| {
                match user.state(key) {
                    None => return Err(Error::not_found("key", key)),
                    Some(KeyState::Revoked) => return Ok(()),
                    _ => {}
                }
                let next = user.active().find(|other| other != key);
                let next = next.ok_or_else(|| {
                    Error::Invalid("this is the last key that signs: take a new one before".into())
                })?;
                // Said by a key that stays.
                engine.with_key(next, |engine| engine.follow_end(user.identity, *key))?;
                for own in user.keys.iter_mut().filter(|own| own.author == *key) {
                    own.state = KeyState::Revoked;
                }
                keys.retain(|secret| secret.id() != *key);
                // The default key is one that signs.
                if user.default_key() == *key {
                    user.keys.sort_by_key(|own| own.author != next);
                }
                Ok(())
            })
        })
    }
}

impl User {
    /// One more key that signs; an error if there are too many.
    pub(crate) fn add(&mut self, author: AuthorId) -> Result<(), Error> {
        if self.keys.len() >= MAX_KEYS {
            return Err(Error::Invalid(format!("a user has at most {MAX_KEYS} keys, former ones included")));
        }
        self.keys.push(OwnKey { author, state: KeyState::Active });
        Ok(())
    }

    fn check_active(&self, key: &AuthorId) -> Result<(), Error> {
        match self.state(key) {
            Some(KeyState::Active) => Ok(()),
            Some(_) => Err(Error::Invalid("this key signs no more; choose another".into())),
            None => Err(Error::not_found("key", key)),
        }
    }
}
