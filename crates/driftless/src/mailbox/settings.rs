//! Which mailboxes there are, what is wanted of them, and what came of the last exchange.

use driftless_core::id::SpaceId;
use driftless_core::sign::Domain;
use driftless_net::mailbox::MailboxPlace;
use driftless_store::Storage;

use super::alarm::Alarm;
use super::row::{self, MailboxKey};
use crate::database::Database;
use crate::error::Error;
use crate::tables::layout::{self, Bytes, put_bytes, put_number};

/// Bytes of a URL.
const MAX_URL: usize = 2048;
/// Bytes of a token.
const MAX_TOKEN: usize = 1024;

/// A mailbox of a space, as it is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxSummary {
    /// The space.
    pub space: SpaceId,
    /// Where it is.
    pub url: String,
    /// Objects that this store has written there.
    pub objects: u64,
    /// Whether something waits to be sent, as far as is known here.
    pub unsent: bool,
    /// When the last exchange ended well, Unix milliseconds; 0 if none has.
    pub last_ms: u64,
    /// Why the last one failed; empty if it did not.
    pub error: String,
    /// Whoever runs it can read contents there: something was put or read that no seal had closed, or nothing was yet.
    pub operator_can_read: bool,
    /// What is wrong with objects of others.
    pub alarms: Vec<Alarm>,
}

impl MailboxSummary {
    /// Whether a URL is one of this place, however it is written.
    pub fn is_at(&self, url: &str) -> bool {
        let here = identity(&self.url);
        here == identity(url) || here == identity(&MailboxPlace::remembered(url))
    }

    /// Who can read what is there, in a sentence for people.
    pub fn privacy(&self) -> &'static str {
        if self.operator_can_read {
            "whoever runs it can read what is in it"
        } else {
            "contents are sealed: whoever runs it sees only who writes, when, and how much"
        }
    }
}

/// What is known of the contents there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Contents {
    /// No exchange has ended yet.
    #[default]
    Unknown,
    /// Everything that was put or read so far was sealed.
    Sealed,
    /// Something was not.
    Open,
}

impl Contents {
    const ALL: [Self; 3] = [Self::Unknown, Self::Sealed, Self::Open];

    // What was open once has been seen.
    fn and(self, open: bool) -> Self {
        if open || self == Self::Open { Self::Open } else { Self::Sealed }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Came<'e> {
    Through,
    Cancelled,
    Failed(&'e Error),
}

/// The stored part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub url: String,
    pub last_ms: u64,
    pub error: String,
    pub contents: Contents,
    /// What the place wants to be shown; empty if nothing. It is told to nobody else.
    pub token: String,
}

impl Settings {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, self.url.as_bytes());
        put_number(&mut out, self.last_ms);
        put_bytes(&mut out, self.error.as_bytes());
        put_number(&mut out, self.contents as u64);
        if !self.token.is_empty() {
            put_bytes(&mut out, self.token.as_bytes());
        }
        out
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Bytes(row);
        let url = row.text()?.to_owned();
        let (last_ms, error) = (row.number()?, row.text()?.to_owned());
        let contents = *Contents::ALL.get(usize::try_from(row.number()?).ok()?)?;
        let token = if row.0.is_empty() { String::new() } else { row.text()?.to_owned() };
        Some(Self { url, last_ms, error, contents, token })
    }
}

/// What the rows of a mailbox are found by: the same for every way to write its URL.
pub(super) fn key(space: &SpaceId, url: &str) -> MailboxKey {
    let hash = Domain::MailboxObject.hash(&[b"url", identity(url).as_bytes()]);
    let mut key = [0; 48];
    let bytes = space.0.iter().chain(&hash);
    key.iter_mut().zip(bytes).for_each(|(at, byte)| *at = *byte);
    key
}

// Two mailboxes in one place would take each other for a twin.
fn identity(url: &str) -> String {
    url.parse::<MailboxPlace>().map_or_else(|_| url.to_owned(), |place| place.identity())
}

/// The key of a mailbox that is known, by its URL or by the one under which it is remembered; or the one that it would get.
fn known(
    storage: &dyn Storage,
    space: &SpaceId,
    url: &str,
    whole: &str,
) -> Result<(MailboxKey, bool), Error> {
    for key in [key(space, url), key(space, whole)] {
        if storage.get(&layout::MAILBOX, key.as_slice().into())?.is_some() {
            return Ok((key, true));
        }
    }
    Ok((key(space, whole), false))
}

// What is remembered is shown by `mailbox list`, and lies in the file as it is.
fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let word = |part: &str| {
        let name = part.split('=').next().unwrap_or_default().to_ascii_lowercase();
        ["password", "passwd", "secret", "token"].iter().any(|word| name.contains(word))
    };
    user.contains(':') || url.split_once('?').is_some_and(|(_, query)| query.split('&').any(word))
}

/// A URL as it may be shown: one that has a password in it is no more than its kind.
pub(super) fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, _)) if has_password(url) => format!("{scheme}://..."),
        _ => url.to_owned(),
    }
}

impl Database {
    /// Remembers a mailbox of a space, which may be one that is not here yet. `false` if it is known.
    pub fn add_mailbox(&self, space: &SpaceId, url: &str) -> Result<bool, Error> {
        if url.is_empty() || url.len() > MAX_URL || url.chars().any(char::is_control) {
            return Err(Error::Invalid(format!(
                "a URL has 1 to {MAX_URL} bytes, none of them a control character"
            )));
        }
        if has_password(url) {
            return Err(Error::Invalid(
                "a URL that is remembered has no password in it: leave it out, the place says where it is read from".into(),
            ));
        }
        let whole = MailboxPlace::remembered(url);
        self.write(|engine| {
            let (key, known) = known(engine.storage.as_ref(), space, url, &whole)?;
            if known {
                return Ok(false);
            }
            let settings = Settings { url: whole, ..Settings::default() };
            engine.storage.put(&layout::MAILBOX, key.as_slice().into(), &settings.encode())?;
            engine.staged();
            Ok(true)
        })
    }

    /// Remembers what a mailbox that was added wants to be shown, or forgets it. `false` if the mailbox is not known. The
    /// token lies in the database like its keys, and is shown to nobody but that mailbox.
    pub fn set_mailbox_token(&self, space: &SpaceId, url: &str, token: Option<&str>) -> Result<bool, Error> {
        let token = token.unwrap_or_default();
        if token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Invalid(format!(
                "a token has up to {MAX_TOKEN} characters of ASCII, and no space"
            )));
        }
        let whole = MailboxPlace::remembered(url);
        self.write(|engine| {
            let (key, _) = known(engine.storage.as_ref(), space, url, &whole)?;
            let Some(row) = engine.storage.get(&layout::MAILBOX, key.as_slice().into())? else {
                return Ok(false);
            };
            let settings =
                Settings::decode(&row).ok_or_else(|| Error::damaged("a mailbox does not decode"))?;
            let settings = Settings { token: token.to_owned(), ..settings };
            engine.storage.put(&layout::MAILBOX, key.as_slice().into(), &settings.encode())?;
            engine.staged();
            Ok(true)
        })
    }

    /// What a mailbox is found by, and what was remembered of it.
    pub(super) fn mailbox_settings(
        &self,
        space: &SpaceId,
        url: &str,
    ) -> Result<(MailboxKey, Option<Settings>), Error> {
        let whole = MailboxPlace::remembered(url);
        self.read(|engine| {
            let (key, _) = known(engine.storage.as_ref(), space, url, &whole)?;
            let row = engine.storage.get(&layout::MAILBOX, key.as_slice().into())?;
            Ok((key, row.and_then(|row| Settings::decode(&row))))
        })
    }

    /// Forgets a mailbox and how far it was read. What lies there stays there, and which of it is ours is remembered: whoever
    /// adds the mailbox again is no twin of this store. `false` if it is not known.
    pub fn remove_mailbox(&self, space: &SpaceId, url: &str) -> Result<bool, Error> {
        let whole = MailboxPlace::remembered(url);
        self.write(|engine| {
            let (key, known) = known(engine.storage.as_ref(), space, url, &whole)?;
            let own = row::own(engine.storage.as_ref(), &key)?;
            for table in [&layout::MAILBOX, &layout::MAILBOX_OWN, &layout::MAILBOX_READ] {
                row::remove(engine.storage.as_mut(), table, &key)?;
            }
            if let Some(own) = own {
                // Of what others have put there nothing is known any more.
                row::stand_alone(engine.storage.as_mut(), &key, own)?;
            }
            engine.staged();
            Ok(known)
        })
    }

    /// All mailboxes, of all spaces.
    pub fn mailboxes(&self) -> Result<Vec<MailboxSummary>, Error> {
        self.read(|engine| {
            let mut rows = Vec::new();
            row::rows(engine.storage.as_ref(), &layout::MAILBOX, &[], &mut |key, row| {
                let key = MailboxKey::try_from(key).ok();
                rows.extend(key.zip(Settings::decode(row)));
            })?;
            let mut found = Vec::new();
            for (key, settings) in rows {
                let Some(space) = key.first_chunk::<32>().map(|space| SpaceId(*space)) else { continue };
                let storage = engine.storage.as_ref();
                let own = row::own(storage, &key)?.unwrap_or_default();
                let mut alarms = Vec::new();
                for (writer, reading) in row::readings(storage, &key)? {
                    alarms.extend(super::alarms(&writer, &reading));
                }
                let unsent = engine.load(&space)? && engine.parts(&space)?.1.next - 1 > own.upto;
                let Settings { url, last_ms, error, contents, token: _ } = settings;
                found.push(MailboxSummary {
                    space,
                    url,
                    objects: own.number,
                    unsent,
                    last_ms,
                    error,
                    operator_can_read: contents != Contents::Sealed,
                    alarms,
                });
            }
            Ok(found)
        })
    }

    /// What the last exchange with a mailbox came to, and whether contents were open, as far as it came; if it is one that was added.
    pub(super) fn note_mailbox(
        &self,
        key: &MailboxKey,
        came: Came<'_>,
        open: Option<bool>,
    ) -> Result<(), Error> {
        self.write(|engine| {
            let Some(row) = engine.storage.get(&layout::MAILBOX, key.as_slice().into())? else {
                return Ok(());
            };
            let mut settings =
                Settings::decode(&row).ok_or_else(|| Error::damaged("a mailbox does not decode"))?;
            match came {
                Came::Through => (settings.last_ms, settings.error) = (engine.now(), String::new()),
                // Nothing is known to be right or wrong.
                Came::Cancelled => {}
                Came::Failed(error) => settings.error = error.to_string(),
            }
            settings.contents = open.map_or(settings.contents, |open| settings.contents.and(open));
            engine.storage.put(&layout::MAILBOX, key.as_slice().into(), &settings.encode())?;
            engine.staged();
            Ok(())
        })
    }
}
