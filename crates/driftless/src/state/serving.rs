//! What the program itself says of who is served: a share resolver may open a space to a peer that the rules would not
//! let read, a share filter may close one. Only what they are and what they said; who asks them, and when, is `served`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use driftless_core::id::{AuthorId, PeerId, SpaceId, UserId};

/// Who would read a space: what share callbacks are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reader {
    /// The space. It need not be here: a peer may ask for any.
    pub space: SpaceId,
    /// The peer, which has proven its node key.
    pub peer: PeerId,
    /// The author keys that it has proven in this session.
    pub keys: Vec<AuthorId>,
    /// The users of these keys, as far as they are known: of those to whom the space is granted, and of the users of
    /// this database, the ones whose identities name one of the keys.
    pub users: Vec<UserId>,
}

/// A callback: a function of its argument, and quick.
pub(crate) type Callback = Arc<dyn Fn(&Reader) -> bool + Send + Sync>;

/// The callbacks of a database.
#[derive(Clone, Default)]
pub(crate) struct Callbacks {
    pub resolver: Option<Callback>,
    pub filter: Option<Callback>,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("resolver", &self.resolver.is_some())
            .field("filter", &self.filter.is_some())
            .finish()
    }
}

impl Callbacks {
    pub(crate) fn is_none(&self) -> bool {
        self.resolver.is_none() && self.filter.is_none()
    }

    /// Asks them. Never under a lock; one that panics says no.
    pub(crate) fn ask(&self, reader: &Reader, at: u64) -> Said {
        let says = |callback: &Callback| catch_unwind(AssertUnwindSafe(|| callback(reader))).unwrap_or(false);
        let closes = self.filter.as_ref().is_some_and(|filter| !says(filter));
        let opens = !closes && self.resolver.as_ref().is_some_and(says);
        Said { at: Some(at), opens, closes }
    }
}

/// What they said of one peer and one space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Up to which change of rules or callbacks it holds; none where nobody was asked.
    pub at: Option<u64>,
    pub opens: bool,
    pub closes: bool,
}
