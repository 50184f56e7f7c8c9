//! Hashes and signatures, each under a domain string, so that bytes made for one purpose prove nothing elsewhere.
//!
//! One rule for Ed25519, everywhere: strict single verification. Batch verification accepts, depending on the batch,
//! what single verification refuses, and would let one crafted signature split the replicas for ever.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::id::{AuthorId, CommitId, PeerId};

/// What a hash or a signature is for. The registry of all domain strings is in docs/format.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// The hash of a header: the commit's id.
    CommitId,
    /// The hash of a body.
    Body,
    /// An author's signature over a commit id.
    CommitSignature,
    /// An invite key's signature for one joiner.
    Redeem,
    /// A node key's signature that binds a transport handshake to its peer id.
    NodeProof,
    /// An author key's signature that proves it to one peer in one session.
    AuthorProof,
    /// The hash of one visible document, a summand of a space's `digest`.
    DocumentDigest,
    /// The digest of a frontier: sorted head ids.
    Frontier,
    /// The running digest over a log.
    LogDigest,
    /// The hash under which refused bytes are remembered.
    Refused,
    /// The key of the short hashes in one session.
    SessionSalt,
    /// The checksum of a pack of cold commits, at rest.
    Pack,
    /// The id of a request for access: space, key and permission.
    Request,
    /// What stands beside secrets that a password seals.
    KeySeal,
    /// The checksum of a key as text.
    KeyText,
    /// The hash of an object in a mailbox: a part of its name.
    MailboxObject,
    /// A node key's signature over an object in a mailbox.
    MailboxSignature,
}

impl Domain {
    /// The domain string, which ends in a zero byte and so is never a prefix of another.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::CommitId => b"driftless/commit-id/1\0",
            Self::Body => b"driftless/body/1\0",
            Self::CommitSignature => b"driftless/commit-signature/1\0",
            Self::Redeem => b"driftless/redeem/1\0",
            Self::NodeProof => b"driftless/node-proof/1\0",
            Self::AuthorProof => b"driftless/author-proof/1\0",
            Self::DocumentDigest => b"driftless/document-digest/1\0",
            Self::Frontier => b"driftless/frontier/1\0",
            Self::LogDigest => b"driftless/log-digest/1\0",
            Self::Refused => b"driftless/refused/1\0",
            Self::SessionSalt => b"driftless/session-salt/1\0",
            Self::Pack => b"driftless/pack/1\0",
            Self::Request => b"driftless/request/1\0",
            Self::KeySeal => b"driftless/key-seal/1\0",
            Self::KeyText => b"driftless/key-text/1\0",
            Self::MailboxObject => b"driftless/mailbox-object/1\0",
            Self::MailboxSignature => b"driftless/mailbox-signature/1\0",
        }
    }

    /// BLAKE3 of the domain string and the parts, one after the other.
    pub fn hash(self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.bytes());
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// A 64-byte Ed25519 signature, not yet verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// The secret half of an author's key. `Debug` never shows it; it is zeroed when dropped.
#[derive(Clone)]
pub struct AuthorKey(SigningKey);

impl AuthorKey {
    /// The key made from 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The 32 secret bytes, for storage.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn id(&self) -> AuthorId {
        AuthorId(self.0.verifying_key().to_bytes())
    }

    /// Signs `parts` under `domain`.
    pub fn sign(&self, domain: Domain, parts: &[&[u8]]) -> Signature {
        Signature(self.0.sign(&message(domain, parts)).to_bytes())
    }

    /// Signs a commit id.
    pub fn sign_commit(&self, id: &CommitId) -> Signature {
        self.sign(Domain::CommitSignature, &[id.as_bytes()])
    }
}

/// The secret half of a database's node key. It authenticates transports and objects in mailboxes, and never signs a
/// commit.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key made from 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The 32 bytes again, for a transport whose own handshake proves this key. What such a handshake signs (TLS 1.3
    /// begins with 64 spaces) is never what `prove` signs.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn id(&self) -> PeerId {
        PeerId(self.0.verifying_key().to_bytes())
    }

    /// Proves the node key for one handshake: `parts` say which.
    pub fn prove(&self, parts: &[&[u8]]) -> Signature {
        Signature(self.0.sign(&message(Domain::NodeProof, parts)).to_bytes())
    }

    /// Signs an object that is put into a mailbox.
    pub fn sign_object(&self, parts: &[&[u8]]) -> Signature {
        Signature(self.0.sign(&message(Domain::MailboxSignature, parts)).to_bytes())
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.id().short())
    }
}

/// Whether `proof` is the node key's of `peer` for the handshake that `parts` say.
pub fn verify_node(peer: &PeerId, parts: &[&[u8]], proof: &Signature) -> bool {
    verify(&AuthorId(peer.0), Domain::NodeProof, parts, proof)
}

/// Whether `signature` over an object in a mailbox is that of the node key of `peer`.
pub fn verify_object(peer: &PeerId, parts: &[&[u8]], signature: &Signature) -> bool {
    verify(&AuthorId(peer.0), Domain::MailboxSignature, parts, signature)
}

impl fmt::Debug for AuthorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorKey({})", self.id().short())
    }
}

/// Whether `signature` over `parts` under `domain` is `author`'s: strict, one at a time.
pub fn verify(author: &AuthorId, domain: Domain, parts: &[&[u8]], signature: &Signature) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(author.as_bytes()) else { return false };
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(&message(domain, parts), &signature).is_ok()
}

/// Whether `signature` vouches for the commit `id` of `author`.
pub fn verify_commit(author: &AuthorId, id: &CommitId, signature: &Signature) -> bool {
    verify(author, Domain::CommitSignature, &[id.as_bytes()], signature)
}

fn message(domain: Domain, parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::with_capacity(160);
    message.extend_from_slice(domain.bytes());
    for part in parts {
        message.extend_from_slice(part);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_of_one_domain_proves_nothing_in_another() {
        let key = AuthorKey::from_seed(&[1; 32]);
        let signature = key.sign(Domain::Redeem, &[b"x"]);
        assert!(verify(&key.id(), Domain::Redeem, &[b"x"], &signature));
        assert!(!verify(&key.id(), Domain::CommitSignature, &[b"x"], &signature));
        assert!(!verify(&key.id(), Domain::Redeem, &[b"y"], &signature));
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        let text = format!("{:?}", AuthorKey::from_seed(&[0xab; 32]));
        assert!(!text.contains("ab, ab") && !text.contains("171"));
    }
}
