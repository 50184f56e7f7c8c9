//! Passwords and what they seal: Argon2id makes a key of a password, XChaCha20-Poly1305 seals under it. At most two
//! Argon2 runs at once in a process, and few that wait: so many log-ins at once cost time and no memory.
//!
//! It knows no users; what is sealed, and with which facts beside it, is said by the caller.

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use driftless_core::sign::Domain;
use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;
use crate::tables::layout::{Bytes, put_bytes, put_number};

/// Bytes of a salt and of a nonce.
pub(crate) const SALT: usize = 16;
pub(crate) const NONCE: usize = 24;
/// Bytes of a password; what is longer is a file given by mistake.
const MAX_PASSWORD: usize = 1024;
/// Argon2 runs at once in this process: each takes the memory of its cost.
const RUNS: usize = 2;
/// Runs that wait for one of these; who comes then is told to come again.
const WAITING: usize = 16;
/// The most that a stored row may ask for, so that a file from elsewhere cannot take all memory or time.
const MOST: PasswordCost = PasswordCost { memory_kib: 1024 * 1024, passes: 64, lanes: 16 };

/// A password. It is zeroed when dropped, and `Debug` prints nothing of it.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes what somebody typed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into().into_bytes()))
    }

    /// Takes a password as bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether one may be set like this.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0.is_empty() || self.0.len() > MAX_PASSWORD {
            return Err(Error::Invalid(format!("a password has 1 to {MAX_PASSWORD} bytes")));
        }
        Ok(())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// What one guess of a password costs: the parameters of Argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB, at least 8 for each lane.
    pub memory_kib: u32,
    /// How often it is gone through.
    pub passes: u32,
    /// Parts that could be worked on at once.
    pub lanes: u32,
}

impl Default for PasswordCost {
    /// 64 MiB, three passes, one lane: above what OWASP asks for at least (19 MiB, two passes).
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 }
    }
}

impl PasswordCost {
    pub(crate) fn check(self) -> Result<Self, Error> {
        let possible = self.passes > 0
            && self.lanes > 0
            && self.memory_kib >= 8 * self.lanes.min(MOST.lanes)
            && self.memory_kib <= MOST.memory_kib
            && self.passes <= MOST.passes
            && self.lanes <= MOST.lanes;
        let least = "at least 8 KiB of memory for each lane, at most 1 GiB, 64 passes and 16 lanes";
        if possible { Ok(self) } else { Err(Error::Invalid(format!("a password costs {least}"))) }
    }

    /// Whether a password that was stored at `self` should be stored at `now` instead.
    pub(crate) fn is_below(self, now: Self) -> bool {
        self.memory_kib < now.memory_kib || self.passes < now.passes
    }
}

/// How a password becomes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub cost: PasswordCost,
    pub salt: [u8; SALT],
}

impl Recipe {
    fn put(&self, out: &mut Vec<u8>) {
        for number in [self.cost.memory_kib, self.cost.passes, self.cost.lanes] {
            put_number(out, u64::from(number));
        }
        out.extend_from_slice(&self.salt);
    }

    fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (memory_kib, passes, lanes) = (bytes.number32()?, bytes.number32()?, bytes.number32()?);
        let cost = PasswordCost { memory_kib, passes, lanes }.check().ok()?;
        Some(Self { cost, salt: bytes.array()? })
    }

    /// The key that a password leads to. Takes a while and much memory; never called under the lock of a database. When
    /// its turn has come, `permitted` may still say no.
    pub(crate) fn key(
        &self,
        password: &Password,
        permitted: impl FnOnce() -> Result<(), Error>,
    ) -> Result<WrappingKey, Error> {
        let _turn = GATE.enter()?;
        permitted()?;
        let mut key = WrappingKey { recipe: *self, key: Zeroizing::new([0; 32]) };
        let PasswordCost { memory_kib, passes, lanes } = self.cost;
        let impossible = |_| Error::Invalid("the password cannot be used at this cost".into());
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(impossible)?;
        let mut memory: Vec<Block> = Vec::new();
        memory
            .try_reserve_exact(params.block_count())
            .map_err(|_| Error::Busy("there is not enough memory for a log-in"))?;
        memory.resize(params.block_count(), Block::default());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let made = argon2.hash_password_into_with_memory(&password.0, &self.salt, &mut *key.key, &mut memory);
        memory.iter_mut().for_each(Zeroize::zeroize);
        made.map_err(impossible)?;
        Ok(key)
    }
}

/// What a password led to. While a user is logged in it seals what changes.
pub(crate) struct WrappingKey {
    pub recipe: Recipe,
    key: Zeroizing<[u8; 32]>,
}

impl WrappingKey {
    /// Seals a secret; `beside` is vouched for and not hidden. A nonce is used once.
    pub(crate) fn seal(&self, nonce: [u8; NONCE], beside: &[u8], secret: &[u8]) -> Result<Sealed, Error> {
        let mut sealed = Sealed { recipe: self.recipe, nonce, bytes: Vec::new() };
        let aad = sealed.associated(beside);
        let payload = Payload { msg: secret, aad: &aad };
        let bytes = self.cipher().encrypt(XNonce::from_slice(&nonce), payload);
        sealed.bytes = bytes.map_err(|_| Error::Invalid("too much to seal".into()))?;
        Ok(sealed)
    }

    /// The secret; `None` if this is another key, or something was changed.
    pub(crate) fn open(&self, sealed: &Sealed, beside: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let aad = sealed.associated(beside);
        let payload = Payload { msg: &sealed.bytes, aad: &aad };
        self.cipher().decrypt(XNonce::from_slice(&sealed.nonce), payload).ok().map(Zeroizing::new)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.key).into())
    }
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappingKey")
    }
}

/// A secret under a password.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sealed {
    pub recipe: Recipe,
    nonce: [u8; NONCE],
    bytes: Vec<u8>,
}

impl Sealed {
    /// What nothing opens.
    pub(crate) fn decoy(recipe: Recipe) -> Self {
        Self { recipe, nonce: [0; NONCE], bytes: vec![0; 48] }
    }

    fn associated(&self, beside: &[u8]) -> Vec<u8> {
        let mut associated = Domain::KeySeal.bytes().to_vec();
        self.recipe.put(&mut associated);
        associated.extend_from_slice(beside);
        associated
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        self.recipe.put(out);
        out.extend_from_slice(&self.nonce);
        put_bytes(out, &self.bytes);
    }

    pub(crate) fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let recipe = Recipe::take(bytes)?;
        Some(Self { recipe, nonce: bytes.array()?, bytes: bytes.bytes()?.to_vec() })
    }
}

// Runs that are on their way, and those that wait.
struct Gate {
    state: Mutex<(usize, usize)>,
    free: Condvar,
}

static GATE: Gate = Gate { state: Mutex::new((0, 0)), free: Condvar::new() };

struct Turn<'g>(&'g Gate);

impl Gate {
    fn enter(&self) -> Result<Turn<'_>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 >= RUNS {
            if state.1 >= WAITING {
                return Err(Error::Busy("too many log-ins at once"));
            }
            state.1 += 1;
            state = self
                .free
                .wait_while(state, |(running, _)| *running >= RUNS)
                .unwrap_or_else(PoisonError::into_inner);
            state.1 -= 1;
        }
        state.0 += 1;
        Ok(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).0 -= 1;
        self.0.free.notify_one();
    }
}
