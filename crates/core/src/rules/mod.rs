//! What a rule commit says: permissions, their strength, and the rule operators. How they are judged is `verdict`.
//!
//! It knows neither commits nor history; ids in operators are only names here.

mod codec;
pub mod invite;

use std::fmt;

use crate::id::{AuthorId, CommitId, SpaceId};
use crate::sign::Signature;

/// How strong a key is: smaller is stronger. Genesis names the admins of strength 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Strength(pub u32);

impl Strength {
    /// The strongest that a statement can give.
    pub const STRONGEST: Self = Self(0);
    /// The strength of every reader, so that each admin of another strength may act on readers.
    pub const WEAKEST: Self = Self(u32::MAX);
}

/// What a permission lets its holder do, without its strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Receive the space.
    Read,
    /// Receive it and write documents.
    Write,
    /// All that, and make statements about weaker subjects.
    Admin,
}

/// The right to read, write or administer a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Read, at the weakest strength.
    Read,
    /// Write, with the strength of the key.
    Write(Strength),
    /// Administer, with the strength of the key.
    Admin(Strength),
}

impl Permission {
    /// The permission of a level and a strength; a reader has no strength of its own.
    pub fn new(level: Level, strength: Strength) -> Self {
        match level {
            Level::Read => Self::Read,
            Level::Write => Self::Write(strength),
            Level::Admin => Self::Admin(strength),
        }
    }

    /// What it lets its holder do.
    pub fn level(self) -> Level {
        match self {
            Self::Read => Level::Read,
            Self::Write(_) => Level::Write,
            Self::Admin(_) => Level::Admin,
        }
    }

    /// How strong it makes its holder.
    pub fn strength(self) -> Strength {
        match self {
            Self::Read => Strength::WEAKEST,
            Self::Write(strength) | Self::Admin(strength) => strength,
        }
    }

    /// Whether the holder may write documents.
    pub fn may_write(self) -> bool {
        self.level() >= Level::Write
    }

    /// What two concurrent statements leave: the lower level at the weaker strength, so that neither admin gets
    /// less care than it asked for. `Admin(5)` and `Write(3)` leave `Write(5)`.
    pub fn weakest(self, other: Self) -> Self {
        Self::new(self.level().min(other.level()), self.strength().max(other.strength()))
    }

    /// Whether whoever has `self` has all that `other` gives.
    pub fn covers(self, other: Self) -> bool {
        !other.is_weakened_by(Some(self))
    }

    /// Whether somebody who has `self` loses something when given `next`: a level, strength, or all.
    pub fn is_weakened_by(self, next: Option<Self>) -> bool {
        next.is_none_or(|next| next.level() < self.level() || next.strength() > self.strength())
    }
}

/// As the command line reads and prints it: `read`, `write:5`, `admin:2`.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Write(Strength(strength)) => write!(f, "write:{strength}"),
            Self::Admin(Strength(strength)) => write!(f, "admin:{strength}"),
        }
    }
}

/// Whom a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// One author key.
    Key(AuthorId),
    /// Every key that no statement names (`*`).
    Anyone,
    /// The keys that another space lets in. It gives none of them a right before it has enrolled here.
    Space(SpaceId),
}

/// One commit of another space, as a proof shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The encoded header.
    pub header: Vec<u8>,
    /// The author's signature, unless a later commit of the same author in the proof vouches for this one.
    pub signature: Option<Signature>,
    /// The body of a rule commit; documents are not shown.
    pub body: Option<Vec<u8>>,
}

/// As the command line reads and prints it: an author id, `*`, or a space id.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(author) => author.fmt(f),
            Self::Anyone => f.write_str("*"),
            Self::Space(space) => space.fmt(f),
        }
    }
}

/// One thing a rule commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleOperator {
    /// From here on `subject` has `permission`, or none.
    Grant {
        /// Whom it is about.
        subject: Subject,
        /// What the subject has from now on.
        permission: Option<Permission>,
        /// If present, what else of the subject stays valid: these commits and the subject's own chain below them.
        /// Sorted and unique. A grant that weakens must have it.
        keep: Option<Vec<CommitId>>,
    },
    /// The name of the space.
    Name(String),
    /// A setting of the space, which core does not look into.
    Setting {
        /// Its name.
        key: String,
        /// One canonical CBOR item.
        value: Vec<u8>,
    },
    /// Whoever proves that he knows the invite's secret may enter with `permission`.
    Invite {
        /// The public half of the invite key.
        key: [u8; 32],
        /// What those who redeem it get.
        permission: Permission,
        /// How often it can be redeemed along one history; `None` is without limit.
        uses: Option<u32>,
        /// Unix milliseconds after which devices should not serve a joiner any more. No verdict looks at it.
        expires_ms: Option<u64>,
    },
    /// The author of this commit enters by an invite.
    Redeem {
        /// The rule commit that holds the invite.
        invite: CommitId,
        /// The place of the invite among the operators of that commit.
        index: u32,
        /// The invite key's signature for this joiner, see `invite`.
        proof: Signature,
    },
    /// From here on an invite cannot be redeemed, and of its redemptions only the kept ones stay.
    EndInvite {
        /// The rule commit that holds the invite.
        invite: CommitId,
        /// The place of the invite among the operators of that commit.
        index: u32,
        /// The redeem commits that stay. Sorted and unique.
        keep: Vec<CommitId>,
    },
    /// The author of this commit enters as one whom another space lets in.
    Enrol {
        /// The rule commit that holds the grant about the other space.
        grant: CommitId,
        /// The place of the grant among the operators of that commit.
        index: u32,
        /// Those rule commits of the other space that nothing before has shown here, and what they stand on.
        proof: Vec<Shown>,
    },
    /// Another space has taken back, or weakened, what it gave a key: so it is here from now on.
    Withdraw {
        /// The other space.
        space: SpaceId,
        /// The key.
        key: AuthorId,
        /// As in an enrol.
        proof: Vec<Shown>,
        /// Which commits of the key stay, as in a grant.
        keep: Vec<CommitId>,
    },
    /// An operator, or a kind of subject, that this version does not know: kept, forwarded, without effect.
    Unknown {
        /// The whole operator, canonical.
        raw: Vec<u8>,
    },
}

pub use codec::{check, decode, decode_permission, decode_proof, encode, encode_permission, encode_proof};
