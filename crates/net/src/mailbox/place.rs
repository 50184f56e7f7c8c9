//! Where a mailbox is, as users write it: one variant and one line of the table for each kind of place. Parsing opens
//! nothing and reaches nobody, so that a wrong address is known before anything is remembered.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

#[cfg(feature = "postgres")]
use super::PostgresMailbox;
#[cfg(feature = "object-store")]
use super::{BucketAddress, BucketMailbox, S3};
use super::{FolderMailbox, FolderUse, Mailbox, MailboxError};
#[cfg(feature = "http")]
use super::{HttpMailbox, HubAddress};

/// A kind of place: how its addresses begin, one as an example, and what reads the rest. A build without the adapter
/// still knows the kind, and says so.
struct Kind {
    scheme: &'static str,
    example: &'static str,
    read: fn(&str) -> Result<MailboxPlace, MailboxError>,
}

const KINDS: &[Kind] = &[
    Kind { scheme: "file", example: "file:///home/ann/Sync", read: folder },
    Kind {
        scheme: "https",
        example: "https://hub.example.org",
        read: |rest| hub(&format!("https://{rest}")),
    },
    Kind { scheme: "http", example: "http://127.0.0.1:7478", read: |rest| hub(&format!("http://{rest}")) },
    Kind { scheme: "postgres", example: "postgres://ann@db.example.org/notes", read: table },
    Kind { scheme: "postgresql", example: "postgresql://ann@db.example.org/notes", read: table },
    Kind { scheme: "s3", example: "s3://bucket/prefix", read: bucket },
];

/// Where a mailbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxPlace {
    /// A folder of this machine.
    Folder(PathBuf),
    /// What a hub serves (`driftless serve --mailbox`).
    #[cfg(feature = "http")]
    Hub(HubAddress),
    /// A table of a PostgreSQL server, as `PostgresMailbox::open` reads it.
    #[cfg(feature = "postgres")]
    Table(String),
    /// A bucket of S3.
    #[cfg(feature = "object-store")]
    Bucket(BucketAddress),
}

/// What opens a place besides its address, and is never a part of it: addresses are shown and passed on.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// A secret that the place asks for.
    pub token: Option<String>,
    /// If it is a folder, how that is used.
    pub folder: FolderUse,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, folder } = self;
        f.debug_struct("Access").field("token", &token.is_some()).field("folder", folder).finish()
    }
}

impl FromStr for MailboxPlace {
    type Err = MailboxError;

    fn from_str(url: &str) -> Result<Self, MailboxError> {
        let kind = url.split_once("://");
        let kind =
            kind.and_then(|(scheme, rest)| Some((KINDS.iter().find(|kind| kind.scheme == scheme)?, rest)));
        match kind {
            Some((kind, rest)) => (kind.read)(rest),
            None => {
                let examples: Vec<_> = KINDS.iter().map(|kind| format!("`{}`", kind.example)).collect();
                Err(MailboxError::Unusable(format!("a mailbox is at {}", examples.join(" or "))))
            }
        }
    }
}

impl MailboxPlace {
    /// The mailbox there. What is far away is reached when something is asked of it, not here.
    pub fn open(&self, access: &Access) -> Result<Arc<dyn Mailbox>, MailboxError> {
        match self {
            Self::Folder(path) => Ok(Arc::new(FolderMailbox::used(path, access.folder)?)),
            #[cfg(feature = "http")]
            Self::Hub(address) => Ok(Arc::new(HttpMailbox::new(address.clone(), access)?)),
            #[cfg(feature = "postgres")]
            Self::Table(_) if access.token.is_some() => Err(MailboxError::Unusable(
                "the password of a PostgreSQL server is not kept here: put it into `PGPASSWORD` or `~/.pgpass`".into(),
            )),
            #[cfg(feature = "postgres")]
            Self::Table(url) => Ok(Arc::new(PostgresMailbox::open(url)?)),
            // What lets somebody in stands in the environment, and nowhere else.
            #[cfg(feature = "object-store")]
            Self::Bucket(address) => Ok(Arc::new(BucketMailbox::s3(S3::of_environment(address)?)?)),
        }
    }
}

fn folder(path: &str) -> Result<MailboxPlace, MailboxError> {
    if path.starts_with('/') && !path.contains('%') {
        return Ok(MailboxPlace::Folder(path.into()));
    }
    Err(MailboxError::Unusable(
        "a folder is named like `file:///home/ann/Sync`, with its whole path and nothing escaped".into(),
    ))
}

#[cfg(feature = "object-store")]
fn bucket(rest: &str) -> Result<MailboxPlace, MailboxError> {
    BucketAddress::read(rest).map(MailboxPlace::Bucket)
}

#[cfg(not(feature = "object-store"))]
fn bucket(_: &str) -> Result<MailboxPlace, MailboxError> {
    Err(MailboxError::Unusable("this driftless was built without buckets".into()))
}

#[cfg(feature = "http")]
fn hub(url: &str) -> Result<MailboxPlace, MailboxError> {
    url.parse().map(MailboxPlace::Hub)
}

#[cfg(not(feature = "http"))]
fn hub(_: &str) -> Result<MailboxPlace, MailboxError> {
    Err(MailboxError::Unusable("this driftless was built without HTTP".into()))
}

#[cfg(feature = "postgres")]
fn table(rest: &str) -> Result<MailboxPlace, MailboxError> {
    let url = format!("postgres://{rest}");
    PostgresMailbox::check(&url)?;
    Ok(MailboxPlace::Table(url))
}

#[cfg(not(feature = "postgres"))]
fn table(_: &str) -> Result<MailboxPlace, MailboxError> {
    Err(MailboxError::Unusable("this driftless was built without PostgreSQL".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_an_address_of_its_kind() {
        for kind in KINDS {
            assert!(kind.example.starts_with(&format!("{}://", kind.scheme)));
            let read = kind.example.parse::<MailboxPlace>();
            let built = match kind.scheme {
                "s3" => cfg!(feature = "object-store"),
                "postgres" | "postgresql" => cfg!(feature = "postgres"),
                "http" | "https" => cfg!(feature = "http"),
                _ => true,
            };
            assert_eq!(read.is_ok(), built, "{read:?}");
        }
        for url in ["", "box", "/box", "gopher://box", "file://box", "file:///a%20b", "FILE:///a"] {
            assert!(matches!(url.parse::<MailboxPlace>(), Err(MailboxError::Unusable(_))), "{url}");
        }
        let access = Access { token: Some("secret".into()), ..Access::default() };
        assert!(!format!("{access:?}").contains("secret"));
    }
}
