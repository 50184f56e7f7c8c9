//! Share policies, and their text: `members`, `self`, `users:u_..,u_..`, `ref:SPACE/COLLECTION/ID`, `public`.

use std::fmt;
use std::str::FromStr;

use driftless_core::document_id::DocumentId;
use driftless_core::id::{SpaceId, UserId};

/// Who may receive a document: it names the space in which the document lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharePolicy {
    /// Those of the space of the collection that it is shared from.
    Members,
    /// All devices of the user, and nobody else: the private space.
    Own,
    /// Exactly these users and the user of the handle: the space of this audience.
    Users(Vec<UserId>),
    /// Whoever receives that document now: the space in which it lives. Where that one goes later, this one does not follow.
    Ref {
        /// The space in which the document is, or was before it moved.
        space: SpaceId,
        /// Its collection.
        collection: String,
        /// The document.
        document: DocumentId,
    },
    /// Anybody: the public space of the user.
    Public,
}

/// Why a text is not a share policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no share policy: use members, self, users:U,V, ref:SPACE/COLLECTION/ID or public")]
pub struct SharePolicyError(String);

impl fmt::Display for SharePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members => f.write_str("members"),
            Self::Own => f.write_str("self"),
            Self::Users(users) => {
                f.write_str("users:")?;
                for (at, user) in users.iter().enumerate() {
                    write!(f, "{}{user}", if at > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            Self::Ref { space, collection, document } => write!(f, "ref:{space}/{collection}/{document}"),
            Self::Public => f.write_str("public"),
        }
    }
}

impl FromStr for SharePolicy {
    type Err = SharePolicyError;

    /// Reads the text with whole ids; names of users and spaces are for whoever knows them.
    fn from_str(text: &str) -> Result<Self, SharePolicyError> {
        let wrong = || SharePolicyError(text.to_owned());
        match text.split_once(':') {
            None => match text {
                "members" => Ok(Self::Members),
                "self" => Ok(Self::Own),
                "public" => Ok(Self::Public),
                _ => Err(wrong()),
            },
            Some(("users", users)) => {
                let users = users.split(',').map(str::parse).collect::<Result<Vec<UserId>, _>>();
                users.map(Self::Users).map_err(|_| wrong())
            }
            Some(("ref", place)) => {
                let mut parts = place.splitn(3, '/');
                let (Some(space), Some(collection), Some(document)) =
                    (parts.next(), parts.next(), parts.next())
                else {
                    return Err(wrong());
                };
                Ok(Self::Ref {
                    space: space.parse().map_err(|_| wrong())?,
                    collection: collection.to_owned(),
                    document: DocumentId::parse_text(document).map_err(|_| wrong())?,
                })
            }
            Some(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_as_it_is_written() {
        let (user, space) = (UserId([1; 32]), SpaceId([2; 32]));
        let document = DocumentId::string("a/b").unwrap();
        for policy in [
            SharePolicy::Members,
            SharePolicy::Own,
            SharePolicy::Users(vec![user, UserId([3; 32])]),
            SharePolicy::Ref { space, collection: "notes".into(), document },
            SharePolicy::Public,
        ] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        for wrong in ["", "own", "users:", "users:ann", "ref:a/b", &format!("ref:{space}/notes"), "public:"] {
            assert_eq!(wrong.parse::<SharePolicy>(), Err(SharePolicyError(wrong.to_owned())));
        }
    }
}
