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
    /// A redeem, an enrol or a withdraw among other operators.
    #[error("a redeem, an enrol and a withdraw must each be the only operator of their commit")]
    RedeemNotAlone,
    /// No grant about the other space holds as of the commit's ancestors, or not the one named.
    #[error("no such grant about the other space holds here: ask an admin for one")]
    NoSpaceGrant,
    /// What a proof shows of the other space is not vouched for, or leaves out what it stands on.
    #[error("the proof does not show the rules of the other space: synchronise that space and try again")]
    ProofIncomplete,
    /// The other space, as far as it was shown, lets no such key in.
    #[error("the other space does not let this key in: ask an admin there")]
    NotLetIn,
    /// What the key has through the other space was withdrawn here.
    #[error("what this key had through the other space was withdrawn: ask an admin here for a grant")]
    Withdrawn,
    /// The key has already what an enrolment would give it.
    #[error("this key has enrolled already, and the proof gives it nothing else")]
    EnrolledAlready,
    /// The key has through the other space no more than the proof shows.
    #[error("there is nothing to withdraw: the key has no more than the proof shows")]
    NothingToWithdraw,
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
