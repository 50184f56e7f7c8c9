//! The ids of things: hashes and public keys, and their text form for people.
//!
//! Text is one letter for the kind, `_`, and 52 characters of lower-case base32 (RFC 4648 without padding):
//! `s_…` a space, `c_…` a commit, `a_…` an author, `p_…` a peer, `u_…` a user, `r_…` a request. Eight characters of it are a usable prefix.

use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use std::sync::LazyLock;

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().expect("a fixed, valid alphabet")
});

/// Lower-case base32 without padding, the one text form of bytes in ids.
pub fn base32(bytes: &[u8]) -> String {
    BASE32.encode(bytes)
}

/// The same, behind what `text` holds already.
pub(crate) fn append_base32(bytes: &[u8], text: &mut String) {
    BASE32.encode_append(bytes, text);
}

/// The bytes of `base32`; `None` for anything that `base32` would not have written.
pub fn from_base32(text: &str) -> Option<Vec<u8>> {
    BASE32.decode(text.as_bytes()).ok()
}

/// Characters of base32 in a full id.
pub const ID_TEXT: usize = 52;
/// The shortest prefix that may stand for an id.
pub const MIN_PREFIX: usize = 8;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}: expected `{letter}_` and 52 characters of a-z and 2-7")]
pub struct IdError {
    expected: &'static str,
    letter: char,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $letter:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The kind letter and the first eight characters: enough for people, not unique for machines.
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(2 + MIN_PREFIX);
                text
            }

            /// Whether `text` (with or without the kind letter) is a prefix of at least eight characters of this id.
            pub fn has_prefix(&self, text: &str) -> bool {
                let text = text.strip_prefix(concat!($letter, "_")).unwrap_or(text);
                text.len() >= MIN_PREFIX && base32(&self.0).starts_with(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "_{}"), base32(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($letter, "_"))
                    .and_then(from_base32)
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or(IdError { expected: $what, letter: $letter.chars().next().unwrap_or('?') })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

id!(
    /// The hash of a commit's header.
    CommitId, "c", "a commit id"
);
id!(
    /// A space: the id of its genesis commit.
    SpaceId, "s", "a space id"
);
id!(
    /// The public key that signs a commit.
    AuthorId, "a", "an author id"
);
id!(
    /// The public half of a database's node key.
    PeerId, "p", "a peer id"
);
id!(
    /// A person or service: the id of the user's identity space.
    UserId, "u", "a user id"
);
id!(
    /// A request for access: the hash of what would be granted to whom.
    RequestId, "r", "a request id"
);

impl From<CommitId> for SpaceId {
    fn from(genesis: CommitId) -> Self {
        Self(genesis.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back_and_the_kind_is_checked() {
        let id = CommitId([7; 32]);
        let text = id.to_string();
        assert_eq!(text.len(), 2 + ID_TEXT);
        assert_eq!(text.parse::<CommitId>(), Ok(id));
        assert!(text.parse::<AuthorId>().is_err());
        assert!(text.to_uppercase().parse::<CommitId>().is_err());
        assert!(id.has_prefix(&text[..10]) && id.has_prefix(&text[2..10]) && !id.has_prefix(&text[..9]));
    }
}
