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
    /// What is the same for every way to write the address of one place, and another for another place. It reaches nobody.
    pub fn identity(&self) -> String {
        match self {
            // Without `//`, `/./` and what ends in `/`.
            Self::Folder(path) => format!("file://{}", path.components().collect::<PathBuf>().display()),
            #[cfg(feature = "http")]
            Self::Hub(address) => address.identity(),
            #[cfg(feature = "postgres")]
            Self::Table(url) => PostgresMailbox::identity(url).unwrap_or_else(|_| url.clone()),
            #[cfg(feature = "object-store")]
            Self::Bucket(address) => address.identity(),
        }
    }

    /// The same place without links on the way to it, where that can be known now.
    #[must_use]
    pub fn without_links(self) -> Self {
        match self {
            Self::Folder(path) => Self::Folder(std::fs::canonicalize(&path).unwrap_or(path)),
            #[cfg(any(feature = "http", feature = "postgres", feature = "object-store"))]
            other => other,
        }
    }

    /// The URL under which the place of this one is remembered: without links on the way to a folder, and with the server of a
    /// bucket that the environment names now. Both may be others later.
    pub fn remembered(url: &str) -> String {
        Self::remembered_in(url, &|name| std::env::var(name).ok())
    }

    fn remembered_in(url: &str, environment: &dyn Fn(&str) -> Option<String>) -> String {
        #[cfg(not(feature = "object-store"))]
        let _ = environment;
        let whole = match url.parse().map(Self::without_links) {
            Ok(Self::Folder(path)) => {
                let whole = format!("file://{}", path.display());
                // A path may have what no URL here can say.
                Some(whole).filter(|whole| whole.parse() == Ok(Self::Folder(path)))
            }
            #[cfg(feature = "object-store")]
            Ok(Self::Bucket(BucketAddress { endpoint: None, .. })) => {
                let sign = if url.contains('?') { '&' } else { '?' };
                let endpoint = S3::endpoint_of(environment);
                let whole = endpoint.map(|endpoint| format!("{url}{sign}endpoint={endpoint}"));
                whole.filter(|whole| whole.parse::<Self>().is_ok())
            }
            _ => None,
        };
        whole.unwrap_or_else(|| url.to_owned())
    }

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

    #[test]
    fn one_place_is_one_however_it_is_written() {
        let identity = |url: &str| url.parse::<MailboxPlace>().map(|place| place.identity());
        let mut same = vec![["file:///home/ann/Sync", "file:///home//ann/./Sync/"]];
        if cfg!(feature = "http") {
            same.push(["http://h:1", "http://H:1/mailbox/"]);
            same.push(["https://h", "https://h:443/"]);
            same.push(["https://h/a/b", "https://h/a/b/"]);
        }
        if cfg!(feature = "postgres") {
            let other = "postgresql://bob@DB.example:5432/notes?schema=public&sslmode=disable";
            same.push(["postgres://ann@db.example/notes", other]);
            same.push(["postgres://ann@h/notes?schema=s&table=t", "postgres://ann@h/notes?table=t&schema=s"]);
            same.push(["postgres://ann@h", "postgres://bob@h/ann"]);
        }
        if cfg!(feature = "object-store") {
            let other = "s3://notes/ann/?region=eu-north-1&endpoint=https://S3.example:443/";
            same.push(["s3://notes/ann?endpoint=https://s3.example", other]);
            same.push(["s3://notes", "s3://notes/"]);
        }
        for [one, other] in &same {
            assert_eq!(identity(one), identity(other));
            // What is simple is its own.
            assert!(identity(&identity(one).unwrap()) == identity(one), "{one}");
        }
        let all: std::collections::BTreeSet<_> = same.iter().map(|[one, _]| identity(one).unwrap()).collect();
        assert_eq!(all.len(), same.len(), "{all:?}");
        for url in ["file://Sync", "file:Sync", "./Sync", "~/Sync"] {
            assert!(identity(url).is_err(), "{url} depends on who says it");
        }
    }

    #[cfg(feature = "object-store")]
    #[test]
    fn a_bucket_is_remembered_with_the_server_that_the_environment_named() {
        let set = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| " https://s3.example ".to_owned());
        let odd = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "https://ann:secret@host".to_owned());
        for (url, whole) in [
            ("s3://notes/ann", "s3://notes/ann?endpoint=https://s3.example"),
            ("s3://notes?region=x", "s3://notes?region=x&endpoint=https://s3.example"),
            ("s3://notes?endpoint=https://other", "s3://notes?endpoint=https://other"),
            ("no url", "no url"),
        ] {
            assert_eq!(MailboxPlace::remembered_in(url, &set), whole);
            assert_eq!(MailboxPlace::remembered_in(url, &|_| None), url);
            assert_eq!(MailboxPlace::remembered_in(url, &odd), url);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_behind_a_link_is_that_folder() {
        let home = tempfile::tempdir().unwrap();
        let (folder, link) = (home.path().join("Sync"), home.path().join("link"));
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let place = |path: &std::path::Path| MailboxPlace::Folder(path.into());
        assert_ne!(place(&link).identity(), place(&folder).identity());
        assert_eq!(place(&link).without_links(), place(&folder).without_links());
        // One that is not there is what its name says.
        let nowhere = place(&home.path().join("nowhere"));
        assert_eq!(nowhere.clone().without_links(), nowhere);
    }
}
