//! A user at rest: a local name, author keys and their states, and the secrets, plain or sealed under a password. Without
//! a password they lie in the database file as they are, protected by its mode 0600 only.
//!
//! It knows the bytes of a row; who is logged in is known above.

use std::fmt;
use std::ops::{Bound, ControlFlow};

use driftless_core::id::{AuthorId, SpaceId};
use driftless_core::sign::AuthorKey;
use driftless_store::{Key, Order, Storage};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keyring::seal::{NONCE, Recipe, Sealed, WrappingKey};
use crate::tables::layout::{self, Bytes, put_bytes, put_number};

/// Bytes of a user name.
const MAX_NAME: usize = 128;
/// Keys of one user: all of them are looked at to find the best one for a space.
pub(crate) const MAX_KEYS: usize = 64;
/// Users of one database: their public facts are in memory.
pub(crate) const MAX_USERS: usize = 10_000;
/// Where META names the user whom a handle acts as that was not told.
const DEFAULT_USER: &[u8] = b"default_user";
/// After a first number 0, which no older row begins with.
const VERSION: u64 = 1;

/// What a key of a user may still do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It signs.
    Active,
    /// Another took its place: it signs no more, and still lets its user read.
    Former,
    /// It is used for nothing any more, and its secret is gone from here.
    Revoked,
}

impl KeyState {
    const ALL: [Self; 3] = [Self::Active, Self::Former, Self::Revoked];
}

/// An author key of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnKey {
    pub author: AuthorId,
    pub state: KeyState,
}

/// A person or service on this machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct User {
    pub name: String,
    /// Never empty; the default key first, then in the order in which they came.
    pub keys: Vec<OwnKey>,
    /// The space that stands for this user on all devices.
    pub identity: Option<SpaceId>,
    pub secrets: Secrets,
}

/// The secret halves of all keys that are not revoked, in their order.
#[derive(Clone, PartialEq)]
pub(crate) enum Secrets {
    Plain(Seeds),
    Sealed(Sealed),
}

/// 32 bytes for each key, zeroed when dropped.
#[derive(Clone, PartialEq)]
pub(crate) struct Seeds(Zeroizing<Vec<u8>>);

impl Seeds {
    pub(crate) fn of<'k>(keys: impl Iterator<Item = &'k AuthorKey>) -> Self {
        // Grown in place, it would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_KEYS * 32));
        keys.take(MAX_KEYS).for_each(|key| bytes.extend_from_slice(&*Zeroizing::new(key.seed())));
        Self(bytes)
    }

    pub(crate) fn keys(&self) -> Vec<AuthorKey> {
        self.0.as_chunks::<32>().0.iter().map(AuthorKey::from_seed).collect()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Sealed(_) => "Sealed",
        })
    }
}

impl User {
    /// A user with one key. With `wrapping` its secret is never written as it is.
    pub(crate) fn new(
        name: &str,
        key: &AuthorKey,
        wrapping: Option<(&WrappingKey, [u8; NONCE])>,
    ) -> Result<Self, Error> {
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(Error::Invalid(
                "a user name has 1 to 128 characters, none of them a control character".into(),
            ));
        }
        let mut user = Self {
            name: name.to_owned(),
            keys: vec![OwnKey { author: key.id(), state: KeyState::Active }],
            identity: None,
            secrets: Secrets::Plain(Seeds(Zeroizing::default())),
        };
        user.keep(std::slice::from_ref(key), wrapping)?;
        Ok(user)
    }

    /// Stores these secrets, of all keys that are not revoked: plain, or sealed.
    pub(crate) fn keep(
        &mut self,
        keys: &[AuthorKey],
        wrapping: Option<(&WrappingKey, [u8; NONCE])>,
    ) -> Result<(), Error> {
        let secret = |own: &OwnKey| keys.iter().find(|key| key.id() == own.author);
        let mut found = Vec::new();
        for own in self.with_secrets() {
            found.push(secret(own).ok_or_else(|| Error::LoginNeeded(self.name.clone()))?);
        }
        let seeds = Seeds::of(found.into_iter());
        self.secrets = match wrapping {
            None => Secrets::Plain(seeds),
            Some((wrapping, nonce)) => {
                Secrets::Sealed(wrapping.seal(nonce, &self.public(), seeds.bytes())?)
            }
        };
        Ok(())
    }

    /// The secrets, with the key that a password led to; `None` if it is the wrong one.
    pub(crate) fn open(&self, wrapping: &WrappingKey) -> Option<Vec<AuthorKey>> {
        let Secrets::Sealed(sealed) = &self.secrets else { return None };
        let keys = Seeds(wrapping.open(sealed, &self.public())?).keys();
        let fits = self.with_secrets().map(|own| own.author).eq(keys.iter().map(AuthorKey::id));
        fits.then_some(keys)
    }

    /// The key that signs where no other fits better.
    pub(crate) fn default_key(&self) -> AuthorId {
        self.keys.first().map_or(AuthorId([0; 32]), |own| own.author)
    }

    pub(crate) fn active(&self) -> impl Iterator<Item = AuthorId> {
        self.keys.iter().filter(|own| own.state == KeyState::Active).map(|own| own.author)
    }

    pub(crate) fn state(&self, author: &AuthorId) -> Option<KeyState> {
        self.keys.iter().find(|own| own.author == *author).map(|own| own.state)
    }

    /// Keys of which the secret is here.
    pub(crate) fn with_secrets(&self) -> impl Iterator<Item = &OwnKey> {
        self.keys.iter().filter(|own| own.state != KeyState::Revoked)
    }

    /// Whether a password stands before the secrets.
    pub(crate) fn has_password(&self) -> bool {
        matches!(self.secrets, Secrets::Sealed(_))
    }

    // What everybody may know, and what a password vouches for besides the secrets.
    fn public(&self) -> Vec<u8> {
        let mut row = Vec::new();
        put_bytes(&mut row, self.name.as_bytes());
        put_number(&mut row, self.keys.len() as u64);
        for own in &self.keys {
            row.extend_from_slice(&own.author.0);
            row.push(KeyState::ALL.iter().position(|state| *state == own.state).unwrap_or_default() as u8);
        }
        put_bytes(&mut row, self.identity.as_ref().map_or(&[], |space| &space.0));
        row
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut row = Zeroizing::new(Vec::with_capacity(256 + self.name.len() + 65 * MAX_KEYS));
        put_number(&mut row, 0);
        put_number(&mut row, VERSION);
        row.extend_from_slice(&self.public());
        match &self.secrets {
            Secrets::Plain(seeds) => {
                row.push(0);
                row.extend_from_slice(seeds.bytes());
            }
            Secrets::Sealed(sealed) => {
                row.push(1);
                sealed.put(&mut row);
            }
        }
        row
    }

    /// A row under the name that is its key.
    pub(crate) fn decode(name: &[u8], row: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        let mut fields = Bytes(row);
        let count = fields.number()?;
        if count > 0 {
            return Self::decode_first(name, count, fields.0);
        }
        if fields.number()? != VERSION || fields.text()? != name {
            return None;
        }
        let count = fields.number().filter(|count| (1..=MAX_KEYS as u64).contains(count))?;
        let mut keys = Vec::new();
        for _ in 0..count {
            let author = AuthorId(fields.array()?);
            let [state] = fields.array()?;
            keys.push(OwnKey { author, state: *KeyState::ALL.get(usize::from(state))? });
        }
        let identity = match fields.bytes()? {
            [] => None,
            id => Some(SpaceId(id.try_into().ok()?)),
        };
        let secrets = match fields.array()? {
            [0] => Secrets::Plain(Seeds(Zeroizing::new(fields.0.to_vec()))),
            [1] => Secrets::Sealed(Sealed::take(&mut fields).filter(|_| fields.0.is_empty())?),
            _ => return None,
        };
        let user = Self { name: name.to_owned(), keys, identity, secrets };
        match &user.secrets {
            Secrets::Sealed(_) => Some(user),
            Secrets::Plain(seeds) => {
                let fits = seeds.bytes().len().is_multiple_of(32)
                    && user.with_secrets().map(|own| own.author).eq(seeds.keys().iter().map(AuthorKey::id));
                fits.then_some(user)
            }
        }
    }

    // The first form of a row: seeds of the key that signs and of those before it.
    fn decode_first(name: &str, count: u64, seeds: &[u8]) -> Option<Self> {
        // Rows were never checked more closely than this.
        let seeds = seeds.get(..seeds.len().min(usize::try_from(count).ok()?.checked_mul(32)?))?;
        if seeds.is_empty() || !seeds.len().is_multiple_of(32) {
            return None;
        }
        let seeds = Seeds(Zeroizing::new(seeds.to_vec()));
        let state = |at| if at == 0 { KeyState::Active } else { KeyState::Former };
        let keys = seeds.keys();
        let keys = keys.iter().enumerate().map(|(at, key)| OwnKey { author: key.id(), state: state(at) });
        let keys = keys.collect();
        Some(Self { name: name.to_owned(), keys, identity: None, secrets: Secrets::Plain(seeds) })
    }

    pub(crate) fn store(&self, storage: &mut dyn Storage) -> Result<(), Error> {
        Ok(storage.put(&layout::USER, self.name.as_bytes().into(), &self.encode())?)
    }

    /// What a password has to be asked with.
    pub(crate) fn recipe(&self) -> Option<&Recipe> {
        match &self.secrets {
            Secrets::Sealed(sealed) => Some(&sealed.recipe),
            Secrets::Plain(_) => None,
        }
    }
}

/// All users, in the order of their names.
pub(crate) fn load(storage: &dyn Storage) -> Result<Vec<User>, Error> {
    let (mut users, mut whole) = (Vec::new(), true);
    let visit = &mut |key: Key<'_>, row: &[u8]| {
        let user = match key {
            Key::Bytes(name) => User::decode(name, row),
            Key::U64(_) => None,
        };
        whole &= user.is_some();
        users.extend(user);
        ControlFlow::Continue(())
    };
    storage.range(&layout::USER, Bound::Unbounded, Bound::Unbounded, Order::Ascending, visit)?;
    if whole { Ok(users) } else { Err(Error::damaged("a user does not decode")) }
}

/// The name of the user whom a handle acts as that was not told.
pub(crate) fn default_user(storage: &dyn Storage) -> Result<Option<String>, Error> {
    let name = storage.get(&layout::META, DEFAULT_USER.into())?;
    Ok(name.map(|name| String::from_utf8_lossy(&name).into_owned()))
}

pub(crate) fn set_default_user(storage: &mut dyn Storage, name: &str) -> Result<(), Error> {
    Ok(storage.put(&layout::META, DEFAULT_USER.into(), name.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::seal::{Password, PasswordCost};

    fn wrapping(password: &str) -> WrappingKey {
        let cost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };
        Recipe { cost, salt: [3; 16] }.key(&Password::new(password), || Ok(())).unwrap()
    }

    // Ann with an active, a former and a revoked key.
    fn ann(wrapping: Option<&WrappingKey>) -> (User, Vec<AuthorKey>) {
        let keys: Vec<AuthorKey> = (1..4).map(|n| AuthorKey::from_seed(&[n; 32])).collect();
        let mut user = User::new("ann", &keys[0], None).unwrap();
        for (key, state) in keys[1..].iter().zip([KeyState::Former, KeyState::Revoked]) {
            user.keys.push(OwnKey { author: key.id(), state });
        }
        user.identity = Some(SpaceId([7; 32]));
        user.keep(&keys, wrapping.map(|wrapping| (wrapping, [5; NONCE]))).unwrap();
        (user, keys)
    }

    #[test]
    fn a_row_comes_back_as_it_was() {
        let wrapping = wrapping("open sesame");
        for wrapping in [None, Some(&wrapping)] {
            let (user, keys) = ann(wrapping);
            let row = user.encode();
            assert_eq!(User::decode(b"ann", &row).unwrap(), user);
            assert_eq!(User::decode(b"ben", &row), None);
            for cut in 0..row.len() {
                assert_eq!(User::decode(b"ann", &row[..cut]), None, "{cut}");
            }
            // What is revoked is gone.
            assert!(!row.windows(32).any(|window| window == [3; 32]));
            let opened = wrapping.and_then(|wrapping| user.open(wrapping));
            let same = |opened: Vec<AuthorKey>| {
                opened.iter().map(AuthorKey::id).eq(keys[..2].iter().map(AuthorKey::id))
            };
            assert!(opened.is_none_or(same));
        }
    }

    #[test]
    fn nothing_in_a_sealed_row_can_be_changed_unseen() {
        let wrapping = wrapping("open sesame");
        let (user, _) = ann(Some(&wrapping));
        let row = user.encode();
        for at in 0..row.len() {
            let mut other = row.to_vec();
            other[at] ^= 1;
            let opened = User::decode(b"ann", &other).and_then(|user| user.open(&wrapping));
            assert!(opened.is_none(), "byte {at}");
        }
        assert!(user.open(&self::wrapping("open sesam")).is_none());
    }

    #[test]
    fn a_row_of_the_first_form_is_read() {
        let row = [&[2], &[1; 32][..], &[2; 32]].concat();
        let user = User::decode(b"ann", &row).unwrap();
        let author = |n| AuthorKey::from_seed(&[n; 32]).id();
        let states: Vec<_> = user.keys.iter().map(|own| (own.author, own.state)).collect();
        assert_eq!(states, [(author(1), KeyState::Active), (author(2), KeyState::Former)]);
        assert!(!user.has_password() && user.identity.is_none());
        assert_eq!(User::decode(b"ann", &user.encode()).unwrap(), user);
        assert_eq!(User::decode(b"ann", &[1]), None);
        assert_eq!(User::decode(b"ann", &[1; 32]), None);
    }

    #[test]
    fn rows_are_those_of_the_vectors() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/keys.json");
        let vectors = std::fs::read_to_string(file).unwrap();
        let vectors: serde_json::Value = serde_json::from_str(&vectors).unwrap();
        let hex = |value: &serde_json::Value| {
            data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
        };
        for vector in vectors["rows"].as_array().unwrap() {
            let user =
                User::decode(vector["user"].as_str().unwrap().as_bytes(), &hex(&vector["row"])).unwrap();
            let keys = match (&user.secrets, vector["password"].as_str()) {
                (Secrets::Plain(seeds), None) => seeds.keys(),
                (Secrets::Sealed(sealed), Some(password)) => {
                    let wrapping = sealed.recipe.key(&Password::new(password), || Ok(())).unwrap();
                    user.open(&wrapping).unwrap()
                }
                other => panic!("{other:?}"),
            };
            let seeds: Vec<Vec<u8>> = keys.iter().map(|key| key.seed().to_vec()).collect();
            assert_eq!(seeds, vector["seeds"].as_array().unwrap().iter().map(hex).collect::<Vec<_>>());
        }
        let (ann, _) = ann(Some(&wrapping("open sesame")));
        assert_eq!(*ann.encode(), hex(&vectors["rows"][0]["row"]));
    }
}
