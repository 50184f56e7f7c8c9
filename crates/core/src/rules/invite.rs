//! Invite keys: how somebody who was given a secret proves it without showing it.
//!
//! The key signs the joiner's own key, so a proof that is seen on the way lets nobody else in. An invite key never
//! signs a commit. Whether an invite still holds is for `verdict` to say.

use crate::id::{AuthorId, CommitId, SpaceId};
use crate::sign::{self, AuthorKey, Domain, Signature};

/// The secret of an invite, as a ticket carries it.
#[derive(Debug, Clone)]
pub struct InviteKey(AuthorKey);

impl InviteKey {
    /// The key made from the ticket's 32 secret bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(AuthorKey::from_seed(secret))
    }

    /// The public half, which the invite names.
    pub fn public(&self) -> [u8; 32] {
        self.0.id().0
    }

    /// The proof that `joiner` was given the secret of the invite in the rule commit `invite`.
    pub fn prove(&self, space: &SpaceId, invite: &CommitId, joiner: &AuthorId) -> Signature {
        self.0.sign(Domain::Redeem, &[space.as_bytes(), invite.as_bytes(), joiner.as_bytes()])
    }
}

/// Whether `proof` was made for `joiner` with the secret of the invite key `public`.
pub fn verify(
    public: &[u8; 32],
    space: &SpaceId,
    invite: &CommitId,
    joiner: &AuthorId,
    proof: &Signature,
) -> bool {
    let parts: [&[u8]; 3] = [space.as_bytes(), invite.as_bytes(), joiner.as_bytes()];
    sign::verify(&AuthorId(*public), Domain::Redeem, &parts, proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_lets_in_one_key_by_one_invite_of_one_space() {
        let key = InviteKey::from_secret(&[9; 32]);
        let (space, invite, joiner) = (SpaceId([1; 32]), CommitId([2; 32]), AuthorId([3; 32]));
        let proof = key.prove(&space, &invite, &joiner);
        assert!(verify(&key.public(), &space, &invite, &joiner, &proof));
        assert!(!verify(&key.public(), &SpaceId([0; 32]), &invite, &joiner, &proof));
        assert!(!verify(&key.public(), &space, &CommitId([0; 32]), &joiner, &proof));
        assert!(!verify(&key.public(), &space, &invite, &AuthorId([0; 32]), &proof));
        let other = InviteKey::from_secret(&[8; 32]);
        assert!(!verify(&other.public(), &space, &invite, &joiner, &proof));
    }
}
