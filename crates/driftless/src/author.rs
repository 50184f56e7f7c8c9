//! The key that signs here, and whether this database is the only one that uses it. A copied or restored device meets
//! what the other one wrote under the same key; from then on nothing more is signed here until somebody decided.

use driftless_core::commit::Header;
use driftless_core::id::{CommitId, SpaceId};

use crate::engine::Engine;
use crate::error::Error;
use crate::fork::Copied;
use crate::log;

impl Engine {
    /// The last commit in a space under the key that signs here.
    pub(crate) fn own_tip(&mut self, space: &SpaceId) -> Result<Option<CommitId>, Error> {
        if !self.load(space)? {
            return Ok(None);
        }
        let own = self.author();
        let (storage, replica) = self.parts(space)?;
        let Some(number) = replica.author_number(storage, &own)? else { return Ok(None) };
        let Some(tip) = replica.last_of(number) else { return Ok(None) };
        Ok(Some(log::row(storage, replica.key(tip.at))?.id))
    }

    /// A commit under the key that signs here came from elsewhere. One that goes on from our last is what a restored
    /// database had lost, and is caught up with. Any other was written beside ours: there is a copy of this database.
    pub(crate) fn met_own(&mut self, header: &Header, commit: CommitId, tip: CommitId) -> Result<(), Error> {
        if header.previous == Some(tip) || self.copied.is_some() {
            return Ok(());
        }
        let copied = Copied {
            space: header.space.unwrap_or(SpaceId(commit.0)),
            seq: header.seq,
            commit,
            since_ms: self.now(),
        };
        let author = self.author();
        copied.store(self.storage.as_mut(), &author)?;
        self.copied = Some(copied);
        self.staged();
        Ok(())
    }

    /// Whether this database may sign.
    pub(crate) fn alone(&self) -> Result<(), Error> {
        match &self.copied {
            Some(copied) => Err(Error::AuthorForked { seq: copied.seq }),
            None => Ok(()),
        }
    }
}
