//! Tickets: an invitation as text. Whoever has one can join a space once or several times, until it ends.
//!
//! A ticket holds the secret of an invite. The secret never leaves the joiner: what is shown is a signature that
//! only fits the joiner's own key.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use driftless_core::cbor::{self, CborError, Reader, Writer};
use driftless_core::id::{CommitId, PeerId, SpaceId, base32, from_base32};
use driftless_core::rules::invite::InviteKey;
use driftless_core::rules::{Permission, RuleOperator};
use driftless_core::session::InviteProof;

use crate::error::Error;
use crate::space::Space;

const PREFIX: &str = "driftless:";
const VERSION: u64 = 1;
const MAX_ADDRESSES: usize = 16;
const MAX_TEXT: usize = 8 * 1024;

/// An invitation to a space.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The space.
    pub space: SpaceId,
    /// Its name where the ticket was made.
    pub name: String,
    /// The peer to join at.
    pub peer: PeerId,
    /// Where that peer may be found.
    pub addresses: Vec<String>,
    invite: CommitId,
    index: u32,
    secret: [u8; 32],
}

/// Choices for a ticket.
#[derive(Debug, Clone)]
pub struct Invite {
    /// What those who join get.
    pub permission: Permission,
    /// How many may join. If left unset, as many as have the ticket.
    pub uses: Option<u32>,
    /// How long it may be used. If left unset, until it is ended.
    pub expires: Option<Duration>,
    /// Where the peer that serves the space may be found.
    pub addresses: Vec<String>,
}

impl Space {
    /// Makes a ticket for this space. Needs the permission to administer it.
    pub fn invite(&self, invite: Invite) -> Result<Ticket, Error> {
        let name = self.name()?;
        let Invite { permission, uses, expires, addresses } = invite;
        if addresses.len() > MAX_ADDRESSES {
            return Err(Error::Invalid(format!("a ticket has at most {MAX_ADDRESSES} addresses")));
        }
        let space = self.id();
        self.database().write(|engine| {
            let secret: [u8; 32] = engine.random();
            let expires_ms = expires.map(|expires| engine.now().saturating_add(expires.as_millis() as u64));
            let key = InviteKey::from_secret(&secret).public();
            let operator = RuleOperator::Invite { key, permission, uses, expires_ms };
            let invite = engine.write_rules(&space, vec![operator])?;
            Ok(Ticket { space, name, peer: engine.node.id(), addresses, invite, index: 0, secret })
        })
    }
}

impl Ticket {
    /// What a joiner shows.
    pub(crate) fn proof(&self, joiner: &driftless_core::id::AuthorId) -> InviteProof {
        let proof = InviteKey::from_secret(&self.secret).prove(&self.space, &self.invite, joiner);
        InviteProof { invite: self.invite, index: self.index, joiner: *joiner, proof }
    }

    /// What a joiner writes when it has the rules.
    pub(crate) fn redeem(&self, joiner: &driftless_core::id::AuthorId) -> RuleOperator {
        let InviteProof { invite, index, proof, .. } = self.proof(joiner);
        RuleOperator::Redeem { invite, index, proof }
    }

    fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::check(bytes, 3)?;
        let mut reader = Reader::new(bytes);
        reader.array_of(8)?;
        if reader.u64()? != VERSION {
            return Err(CborError::Unsupported);
        }
        let space = SpaceId(reader.array_bytes()?);
        let name = reader.str()?.to_owned();
        let peer = PeerId(reader.array_bytes()?);
        let invite = CommitId(reader.array_bytes()?);
        let index = u32::try_from(reader.u64()?).map_err(|_| CborError::Unexpected)?;
        let secret = reader.array_bytes()?;
        let count = reader.array()?;
        if count > MAX_ADDRESSES as u64 {
            return Err(CborError::Limit("addresses of a ticket"));
        }
        let addresses = (0..count).map(|_| reader.str().map(str::to_owned)).collect::<Result<_, _>>()?;
        Ok(Self { space, name, peer, addresses, invite, index, secret })
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer::with_capacity(256);
        writer.array(8).u64(VERSION).bytes(&self.space.0).str(&self.name).bytes(&self.peer.0);
        writer.bytes(&self.invite.0).u64(u64::from(self.index)).bytes(&self.secret);
        writer.array(self.addresses.len() as u64);
        for address in &self.addresses {
            writer.str(address);
        }
        write!(f, "{PREFIX}{}", base32(&writer.finish()))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("space", &self.space).field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl FromStr for Ticket {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim().strip_prefix(PREFIX);
        let text = text
            .ok_or_else(|| Error::Invalid("this is not a ticket; tickets begin with `driftless:`".into()))?;
        let damaged = || Error::Invalid("this ticket is damaged; copy the whole of it".into());
        let bytes = Some(text).filter(|text| text.len() <= MAX_TEXT).and_then(from_base32);
        let bytes = bytes.ok_or_else(damaged)?;
        match Self::decode(&bytes) {
            Ok(ticket) => Ok(ticket),
            Err(CborError::Unsupported) => {
                Err(Error::Invalid("this ticket was made by a newer driftless".into()))
            }
            Err(_) => Err(damaged()),
        }
    }
}
