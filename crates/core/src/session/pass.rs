//! By what somebody is served who has no permission yet, and its bytes in a message. Whether it holds is decided by the rules.

use crate::cbor::{CborError, Reader, Writer};
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::rules::{Shown, decode_proof, encode_proof};
use crate::sign::Signature;

/// What a joiner shows of an invite: never its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteProof {
    /// The rule commit that holds the invite.
    pub invite: CommitId,
    /// Its place among the operators of that commit.
    pub index: u32,
    /// Who joins.
    pub joiner: AuthorId,
    /// The invite key's signature for this joiner.
    pub proof: Signature,
}

/// What a key shows that another space lets in, before it has enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceProof {
    /// Who wants in.
    pub joiner: AuthorId,
    /// The space that lets the joiner in.
    pub space: SpaceId,
    /// What shows it, as in an enrol.
    pub proof: Vec<Shown>,
}

/// By what somebody is served who has no permission yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// An invite.
    Invite(InviteProof),
    /// What another space says.
    Space(SpaceProof),
}

impl Pass {
    /// Who wants in.
    pub fn joiner(&self) -> &AuthorId {
        match self {
            Self::Invite(invite) => &invite.joiner,
            Self::Space(proof) => &proof.joiner,
        }
    }
}

/// Appends a pass, or null.
pub(super) fn encode_pass(pass: Option<&Pass>, writer: &mut Writer) {
    match pass {
        Some(Pass::Space(SpaceProof { joiner, space, proof })) => {
            writer.array(3).bytes(&joiner.0).bytes(&space.0);
            encode_proof(proof, writer);
        }
        Some(Pass::Invite(invite)) => {
            writer.array(4).bytes(&invite.invite.0).u64(u64::from(invite.index));
            writer.bytes(&invite.joiner.0).bytes(&invite.proof.0);
        }
        None => {
            writer.null();
        }
    }
}

/// Takes a pass, or null. What it shows is not verified.
pub(super) fn decode_pass(reader: &mut Reader<'_>) -> Result<Option<Pass>, CborError> {
    if reader.take_null()? {
        return Ok(None);
    }
    match reader.array()? {
        4 => {}
        3 => {
            let (joiner, space) = (AuthorId(reader.array_bytes()?), SpaceId(reader.array_bytes()?));
            let proof = decode_proof(reader)?;
            return Ok(Some(Pass::Space(SpaceProof { joiner, space, proof })));
        }
        _ => return Err(CborError::Unexpected),
    }
    Ok(Some(Pass::Invite(InviteProof {
        invite: CommitId(reader.array_bytes()?),
        index: u32::try_from(reader.u64()?).map_err(|_| CborError::Unexpected)?,
        joiner: AuthorId(reader.array_bytes()?),
        proof: Signature(reader.array_bytes()?),
    })))
}
