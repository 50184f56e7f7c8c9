//! A key as text: to carry it to another device, or to keep it in a safe. Plain, or sealed under a password. A prefix tells
//! it from a ticket, and a checksum finds what was copied wrongly.

use std::fmt;
use std::str::FromStr;

use driftless_core::id::{AuthorId, base32, from_base32};
use driftless_core::sign::{AuthorKey, Domain};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keyring::seal::{NONCE, Password, Sealed, WrappingKey};
use crate::tables::layout::Bytes;

const PREFIX: &str = "driftless-key:";
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const SEALED: u8 = 1;
const CHECKSUM: usize = 4;
const MAX_TEXT: usize = 1024;

/// A key as text. `Display` prints the secret, `Debug` does not.
#[derive(Clone, PartialEq)]
pub struct KeyText {
    author: AuthorId,
    secret: Secret,
}

#[derive(Clone, PartialEq)]
enum Secret {
    Plain(Zeroizing<[u8; 32]>),
    Sealed(Sealed),
}

impl KeyText {
    pub(crate) fn plain(key: &AuthorKey) -> Self {
        Self { author: key.id(), secret: Secret::Plain(Zeroizing::new(key.seed())) }
    }

    pub(crate) fn sealed(key: &AuthorKey, wrapping: &WrappingKey, nonce: [u8; NONCE]) -> Result<Self, Error> {
        let author = key.id();
        let sealed = wrapping.seal(nonce, &beside(&author), &*Zeroizing::new(key.seed()))?;
        Ok(Self { author, secret: Secret::Sealed(sealed) })
    }

    /// The public half.
    pub fn author(&self) -> AuthorId {
        self.author
    }

    /// Whether it opens only with a password.
    pub fn has_password(&self) -> bool {
        matches!(self.secret, Secret::Sealed(_))
    }

    /// The key. A password for a plain one is not looked at.
    pub(crate) fn open(&self, password: Option<&Password>) -> Result<AuthorKey, Error> {
        let seed = match &self.secret {
            Secret::Plain(seed) => seed.clone(),
            Secret::Sealed(sealed) => {
                let password = password.ok_or(Error::LoginFailed)?;
                let wrapping = sealed.recipe.key(password, || Ok(()))?;
                let opened = wrapping.open(sealed, &beside(&self.author)).ok_or(Error::LoginFailed)?;
                let seed = opened.as_slice().try_into().map_err(|_| damaged())?;
                Zeroizing::new(seed)
            }
        };
        let key = AuthorKey::from_seed(&seed);
        if key.id() == self.author { Ok(key) } else { Err(damaged()) }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Bytes(bytes);
        let [version, kind] = fields.array()?;
        if version != VERSION {
            return None;
        }
        let author = AuthorId(fields.array()?);
        let secret = match kind {
            PLAIN => Secret::Plain(Zeroizing::new(fields.array()?)),
            SEALED => Secret::Sealed(Sealed::take(&mut fields)?),
            _ => return None,
        };
        fields.0.is_empty().then_some(Self { author, secret })
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        bytes.push(VERSION);
        bytes.push(if self.has_password() { SEALED } else { PLAIN });
        bytes.extend_from_slice(&self.author.0);
        match &self.secret {
            Secret::Plain(seed) => bytes.extend_from_slice(&**seed),
            Secret::Sealed(sealed) => sealed.put(&mut bytes),
        }
        let checksum = Domain::KeyText.hash(&[&bytes]);
        bytes.extend_from_slice(&checksum[..CHECKSUM]);
        bytes
    }
}

fn beside(author: &AuthorId) -> Vec<u8> {
    [Domain::KeyText.bytes(), &author.0].concat()
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Zeroizing::new(base32(&self.encode()));
        write!(f, "{PREFIX}{}", *text)
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyText").field(&self.author).finish()
    }
}

impl FromStr for KeyText {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim().strip_prefix(PREFIX).filter(|text| text.len() <= MAX_TEXT);
        let text = text.ok_or_else(|| {
            Error::Invalid(format!("this is not a key as text; they begin with `{PREFIX}`"))
        })?;
        let bytes = from_base32(text).map(Zeroizing::new).ok_or_else(damaged)?;
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or_else(damaged)?;
        if Domain::KeyText.hash(&[body])[..CHECKSUM] != checksum[..] {
            return Err(damaged());
        }
        if body.first().is_some_and(|version| *version > VERSION) {
            return Err(Error::Invalid("this key was exported by a newer driftless".into()));
        }
        Self::decode(body).ok_or_else(damaged)
    }
}

fn damaged() -> Error {
    Error::Invalid("this key is damaged; copy the whole of it".into())
}
