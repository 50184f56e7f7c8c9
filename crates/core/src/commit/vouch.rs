//! From bytes that somebody sent to commits that somebody signed: the only way in, local writes included.
//!
//! A frame is self-contained. Each commit in it carries its signature, or is the `previous` of a vouched commit in
//! the same frame: the signature covers the id, the id covers the header, and the header names the id before it.
//! So one strict verification per author run and frame is enough. Nothing here knows ancestors or permissions.

use std::collections::HashSet;

use super::header::{Header, HeaderError, body_hash, commit_id};
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::sign::{AuthorKey, Domain, Signature, verify_commit};

/// One commit as it arrives: bytes of unknown origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The encoded header.
    pub header: Vec<u8>,
    /// The author's signature, where the sender gave one.
    pub signature: Option<Signature>,
    /// The body, where the sender had one.
    pub body: Option<Vec<u8>>,
}

/// A commit whose author is proven and whose body, if it is here, is the one that was signed. Only `vouch` and `sign` make one.
#[derive(Debug, Clone)]
pub struct Vouched {
    header: Header,
    bytes: Vec<u8>,
    id: CommitId,
    signature: Option<Attached>,
    body: Option<Vec<u8>>,
}

/// The signature that came with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// The 64 bytes.
    pub signature: Signature,
    /// Whether it was checked; a commit inside a run is vouched for by a later one.
    pub verified: bool,
}

/// Why received bytes are not a commit of anybody, or not all of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VouchError {
    /// The header is not one.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The signature is not the author's.
    #[error("the signature is not the author's")]
    Signature,
    /// Neither signed nor named by a signed commit of its author in the same frame.
    #[error("no signature vouches for it")]
    Unvouched,
    /// The body is not the one that the header names; the commit is taken without it.
    #[error("the body is not the one that was signed")]
    Body,
}

/// Something received that was not taken, under the hash by which it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The hash of the received bytes, never an id they claim.
    pub hash: [u8; 32],
    /// Bytes received.
    pub size: usize,
    /// What it claims to be, where that can be read. Nothing of it is proven.
    pub header: Option<Header>,
    /// Why.
    pub why: VouchError,
}

/// The commits of one frame, sorted out.
#[derive(Debug, Default)]
pub struct Frame {
    /// What has an author, in the order received.
    pub vouched: Vec<Vouched>,
    /// What was not taken.
    pub unusable: Vec<Unusable>,
    /// How many signatures were verified.
    pub verified: u64,
}

/// Sorts the commits of one frame, given in causal order, into vouched and unusable.
pub fn vouch(received: Vec<Received>) -> Frame {
    let mut frame = Frame::default();
    let mut decoded: Vec<Vouched> = Vec::with_capacity(received.len());
    for item in received {
        let header = match Header::decode(&item.header) {
            Ok(header) => header,
            Err(why) => {
                frame.unusable.push(item.unusable(None, why.into()));
                continue;
            }
        };
        let fits =
            |body: &[u8]| body.len() == header.body_length as usize && body_hash(body) == header.body_hash;
        let fits = item.body.as_deref().is_none_or(fits);
        if !fits {
            frame.unusable.push(item.unusable(Some(header.clone()), VouchError::Body));
        }
        let signature = item.signature.map(|signature| Attached { signature, verified: false });
        let id = commit_id(&item.header);
        let body = item.body.filter(|_| fits);
        decoded.push(Vouched { header, bytes: item.header, id, signature, body });
    }
    // From the last to the first: a vouched commit vouches for its `previous`, if that is by the same author in the same
    // space and one number lower, wherever it stands in the frame. Admission checks the same again against the log.
    let mut named: HashSet<(CommitId, SpaceId, AuthorId, u64)> = HashSet::new();
    let mut kept = Vec::with_capacity(decoded.len());
    for mut commit in decoded.into_iter().rev() {
        let (header, space) = (&commit.header, commit.space());
        if !named.contains(&(commit.id, space, header.author, header.seq)) {
            let why = match &mut commit.signature {
                None => Some(VouchError::Unvouched),
                Some(attached) => {
                    frame.verified += 1;
                    attached.verified = verify_commit(&header.author, &commit.id, &attached.signature);
                    (!attached.verified).then_some(VouchError::Signature)
                }
            };
            if let Some(why) = why {
                let header = commit.header.clone();
                frame.unusable.push(commit.to_received().unusable(Some(header), why));
                continue;
            }
        }
        if let Some(previous) = header.previous {
            named.insert((previous, space, header.author, header.seq - 1));
        }
        kept.push(commit);
    }
    kept.reverse();
    frame.vouched = kept;
    frame
}

impl Received {
    fn unusable(&self, header: Option<Header>, why: VouchError) -> Unusable {
        let size = self.header.len() + self.body.as_ref().map_or(0, Vec::len);
        Unusable { hash: self.hash(), size, header, why }
    }

    /// The hash under which a refusal of these bytes is remembered.
    pub fn hash(&self) -> [u8; 32] {
        let signature = self.signature.as_ref().map_or(&[][..], |signature| &signature.0);
        let body = self.body.as_deref().unwrap_or_default();
        let lengths =
            [(self.header.len() as u64).to_be_bytes(), (signature.len() as u64).to_be_bytes()].concat();
        Domain::Refused.hash(&[&lengths, &self.header, signature, body])
    }
}

impl Vouched {
    /// Completes and signs a header for `body`: the commit of somebody who is here.
    pub fn sign(mut header: Header, body: Vec<u8>, key: &AuthorKey) -> Result<Self, HeaderError> {
        header.author = key.id();
        header.body_hash = body_hash(&body);
        header.body_length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let bytes = header.encode();
        // What we write ourselves passes the same check as what we receive.
        let header = Header::decode(&bytes)?;
        let id = commit_id(&bytes);
        let signature = Some(Attached { signature: key.sign_commit(&id), verified: true });
        Ok(Self { header, bytes, id, signature, body: Some(body) })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The id.
    pub fn id(&self) -> CommitId {
        self.id
    }

    /// The encoded header, as it was signed.
    pub fn header_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether its own signature was verified; else a later commit of its author vouches for it.
    pub fn is_signed(&self) -> bool {
        self.signature.is_some_and(|attached| attached.verified)
    }

    /// The space: the one named, or the one that this genesis founds.
    pub fn space(&self) -> SpaceId {
        self.header.space.unwrap_or(self.id.into())
    }

    /// The signature that came with it.
    pub fn signature(&self) -> Option<Attached> {
        self.signature
    }

    /// The body, if it is here.
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// The commit as it would be sent, with its signature.
    pub fn to_received(&self) -> Received {
        Received {
            header: self.bytes.clone(),
            signature: self.signature.map(|attached| attached.signature),
            body: self.body.clone(),
        }
    }
}
