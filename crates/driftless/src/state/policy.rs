//! What becomes of requests for access to a space: a setting in its rules, and its bytes. Who may change it, and what is
//! done about a request, is decided elsewhere.

use driftless_core::cbor::{self, CborError, Reader, Writer};
use driftless_core::rules::{Level, Permission, decode_permission, encode_permission};

/// What becomes of a request for access from a key that may not do yet what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bootstrap {
    /// It is refused, and learns not even that the space exists.
    #[default]
    Reject,
    /// It waits for an admin.
    Queue,
    /// The device that is asked grants it at once, up to this permission, to keys that no grant is about; whatever asks
    /// for more is refused.
    Approve(Permission),
}

impl Bootstrap {
    /// The name of the setting.
    pub(crate) const SETTING: &'static str = "bootstrap";

    /// Whether it may stand in a space: no stranger becomes an admin unseen.
    pub(crate) fn is_allowed(self) -> bool {
        !matches!(self, Self::Approve(permission) if permission.level() == Level::Admin)
    }

    /// The value of the setting: `[0]`, `[1]` or `[2, permission]`.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(8);
        match self {
            Self::Reject => drop(writer.array(1).u64(0)),
            Self::Queue => drop(writer.array(1).u64(1)),
            Self::Approve(permission) => encode_permission(permission, writer.array(2).u64(2)),
        }
        writer.finish()
    }

    /// What a value says; one that this version does not understand lets nobody in.
    pub(crate) fn decode(value: &[u8]) -> Self {
        let read = || -> Result<Self, CborError> {
            cbor::check(value, 3)?;
            let mut reader = Reader::new(value);
            match (reader.array()?, reader.u64()?) {
                (1, 0) => Ok(Self::Reject),
                (1, 1) => Ok(Self::Queue),
                (2, 2) => Ok(Self::Approve(decode_permission(&mut reader)?)),
                _ => Err(CborError::Unexpected),
            }
        };
        read().ok().filter(|policy| policy.is_allowed()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use driftless_core::rules::Strength;

    use super::*;

    #[test]
    fn what_is_not_understood_lets_nobody_in() {
        let write = Bootstrap::Approve(Permission::Write(Strength(10)));
        for policy in [Bootstrap::Reject, Bootstrap::Queue, write, Bootstrap::Approve(Permission::Read)] {
            assert_eq!(Bootstrap::decode(&policy.encode()), policy);
        }
        let admin = Bootstrap::Approve(Permission::Admin(Strength(10))).encode();
        let whole = write.encode();
        for value in [&[][..], &[0], &[0x81, 3], &[0x82, 1, 0], &admin, &whole[..2], &[0x81, 2], &[0x9f]] {
            assert_eq!(Bootstrap::decode(value), Bootstrap::Reject, "{value:?}");
        }
    }
}
