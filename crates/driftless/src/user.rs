//! Users of this database: a local name and author keys. Without a password the keys lie in the database file as they
//! are, protected by its mode 0600 only.

use std::ops::{Bound, ControlFlow};

use driftless_core::sign::AuthorKey;
use driftless_store::{Key, Order, Storage};

use crate::error::Error;
use crate::layout::{self, Bytes, put_number};

/// A person or service on this machine, and the key that signs for it.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub name: String,
    pub key: AuthorKey,
    /// Keys that this one took the place of, the newest first. They sign no more; what they may read stays readable.
    pub former: Vec<AuthorKey>,
}

/// Characters of a user name.
const MAX_NAME: usize = 128;

impl User {
    /// Makes a user with one key.
    pub(crate) fn create(storage: &mut dyn Storage, name: &str, seed: [u8; 32]) -> Result<(), Error> {
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(Error::Invalid(
                "a user name has 1 to 128 characters, none of them a control character".into(),
            ));
        }
        let mut row = Vec::new();
        put_number(&mut row, 1);
        row.extend_from_slice(&seed);
        Ok(storage.put(&layout::USER, name.as_bytes().into(), &row)?)
    }

    /// A new key signs from now on; the one before it is kept.
    pub(crate) fn renew(&mut self, storage: &mut dyn Storage, seed: [u8; 32]) -> Result<(), Error> {
        let at = self.name.as_bytes();
        let former =
            storage.get(&layout::USER, at.into())?.ok_or_else(|| Error::not_found("user", &self.name))?;
        let mut fields = Bytes(&former);
        let count = fields.number().ok_or_else(damaged)?;
        let mut row = Vec::new();
        put_number(&mut row, count + 1);
        row.extend_from_slice(&seed);
        row.extend_from_slice(fields.0);
        storage.put(&layout::USER, at.into(), &row)?;
        let key = std::mem::replace(&mut self.key, AuthorKey::from_seed(&seed));
        self.former.insert(0, key);
        Ok(())
    }

    /// The key that signs, and those before it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &AuthorKey> {
        std::iter::once(&self.key).chain(&self.former)
    }

    /// The seed of the author key in a row.
    pub(crate) fn seed(row: &[u8]) -> Option<[u8; 32]> {
        let mut fields = Bytes(row);
        let seed = fields.number().and_then(|_| fields.array::<32>());
        // Behind it are those that signed before.
        seed.filter(|_| fields.0.len().is_multiple_of(32))
    }

    /// The user of that name; without a name, the only one or the first.
    pub(crate) fn load(storage: &dyn Storage, name: Option<&str>) -> Result<Self, Error> {
        let mut found = None;
        let visit = &mut |key: Key<'_>, row: &[u8]| {
            let Key::Bytes(bytes) = key else { return ControlFlow::Break(()) };
            if name.is_some_and(|name| name.as_bytes() != bytes) {
                return ControlFlow::Continue(());
            }
            let mut fields = Bytes(row);
            let mut keys = Vec::new();
            for _ in 0..fields.number().unwrap_or_default() {
                let Some(seed) = fields.array() else { break };
                keys.push(AuthorKey::from_seed(&seed));
            }
            found = Some((String::from_utf8_lossy(bytes).into_owned(), keys));
            ControlFlow::Break(())
        };
        storage.range(&layout::USER, Bound::Unbounded, Bound::Unbounded, Order::Ascending, visit)?;
        let (name, keys) = found.ok_or_else(|| Error::not_found("user", name.unwrap_or("(any)")))?;
        let mut keys = keys.into_iter();
        let key = keys.next().ok_or_else(damaged)?;
        Ok(Self { name, key, former: keys.collect() })
    }
}

fn damaged() -> Error {
    Error::damaged("a user does not decode")
}
