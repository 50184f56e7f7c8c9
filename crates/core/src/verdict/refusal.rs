//! Why a commit is not admitted. A refusal depends on the commit and its ancestors only, so it is the same everywhere.

use crate::cbor::CborError;
use crate::id::CommitId;

/// Why a commit may not be written, or is refused when received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The author has no permission to write as of the commit's ancestors.
    #[error("the author may not write here: ask an admin for a grant")]
    MayNotWrite,
    /// The author is not an admin as of the commit's ancestors.
    #[error("the author is not an admin here: only admins change rules")]
    NotAdmin,
    /// A statement about a subject that is as strong as the author or stronger.
    #[error("operator {operator} is about a subject that is not weaker than its author")]
    SubjectNotWeaker {
        /// The place of the operator in the commit.
        operator: usize,
    },
    /// A permission as strong as the author's own or stronger.
    #[error("operator {operator} gives a strength that is not weaker than its author's: use a larger number")]
    PermissionNotWeaker {
        /// The place of the operator in the commit.
        operator: usize,
    },
    /// A grant that weakens and does not say what of the subject stays.
    #[error(
        "operator {operator} weakens its subject and must say what to keep (an empty list keeps nothing)"
    )]
    KeepMissing {
        /// The place of the operator in the commit.
        operator: usize,
    },
    /// A kept commit that is not an ancestor, or not of the subject, or no redemption of the ended invite.
    #[error("operator {operator} keeps {kept}, which is not an earlier commit of its subject")]
    KeptElsewhere {
        /// The place of the operator in the commit.
        operator: usize,
        /// The commit that cannot be kept.
        kept: CommitId,
    },
    /// The invite named is not among the ancestors, or does not count there.
    #[error("there is no such invite: ask for a new ticket")]
    NoInvite,
    /// The invite was ended before.
    #[error("the invite was ended: ask for a new ticket")]
    InviteEnded,
    /// The invite was redeemed as often as it can be.
    #[error("the invite is used up: ask for a new ticket")]
    InviteUsedUp,
    /// The proof is not the invite key's signature for this author.
    #[error("the proof does not fit the invite: the ticket may be damaged")]
    ProofWrong,
    /// Something was said about the joiner's key before, so an invite does not open for it.
    #[error("the rules name this key already: ask an admin for a grant, or join with a new key")]
    KeyNamedBefore,
    /// A redeem among other operators.
    #[error("a redeem must be the only operator of its commit")]
    RedeemNotAlone,
    /// The first commit does not make its author an admin of strength 0, or holds what needs a past.
    #[error(
        "the first commit of a space must grant admin of strength 0 to its author, and refer to nothing before"
    )]
    BadGenesis,
    /// Operators beyond a limit, or a keep that is not sorted.
    #[error("the rule operators are not well formed: {0}")]
    Malformed(#[from] CborError),
    /// The commit was admitted before.
    #[error("the commit was admitted before")]
    Repeated,
    /// A frontier or rule commit that these rules have not given out; the caller mixed up spaces or lost records.
    #[error("a frontier of another space, or lost records: run `doctor`")]
    UnknownFrontier,
}
