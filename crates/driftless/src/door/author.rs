//! The keys that sign here, and whether this database is the only one that uses them. A copied or restored device meets
//! what the other one wrote under the same key; from then on nothing more is signed with it until somebody decided.

use driftless_core::commit::Header;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::sign::AuthorKey;

use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::fork::Copied;
use crate::tables::log;

impl Engine {
    /// The key that signs where no other key of the acting user fits better: what others `grant` permissions to.
    pub(crate) fn author(&self) -> AuthorId {
        let default = || self.users.get(&self.acting.name).map(|user| user.default_key());
        self.key.or_else(default).unwrap_or(AuthorId([0; 32]))
    }

    /// The keys that the acting user signs with: the default one first.
    pub(crate) fn own_keys(&self) -> Vec<AuthorId> {
        let author = self.author();
        let user = self.users.get(&self.acting.name).filter(|_| self.key.is_none());
        let others = user.into_iter().flat_map(|user| user.active()).filter(|key| *key != author);
        std::iter::once(author).chain(others).collect()
    }

    /// The space that stands for the acting user, if there is one. It need not be here.
    pub(crate) fn own_identity(&self) -> Option<SpaceId> {
        self.users.get(&self.acting.name)?.identity
    }

    /// The key that signs in a space that is loaded: of the active keys of the acting user the one that may do most
    /// there, the strongest of these; the default key where no other is better.
    pub(crate) fn author_in(&mut self, space: &SpaceId) -> Result<AuthorId, Error> {
        let author = self.author();
        let Some(user) = self.users.get(&self.acting.name).filter(|_| self.key.is_none()) else {
            return Ok(author);
        };
        if user.active().nth(1).is_none() {
            return Ok(author);
        }
        let rules = &self.replicas.get(space).ok_or_else(|| Error::not_found("space", space))?.rules;
        let rank = |key: &AuthorId| {
            let permission = rules.member(key)?.permission;
            Some((permission.level(), std::cmp::Reverse(permission.strength())))
        };
        // The default key is the first, and of equals the first is taken.
        let mut best = (author, rank(&author));
        for key in user.active() {
            let rank = rank(&key);
            if rank > best.1 {
                best = (key, rank);
            }
        }
        Ok(best.0)
    }

    /// Does something with one key of the acting user.
    pub(crate) fn with_key<T>(
        &mut self,
        key: AuthorId,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.key.replace(key);
        let done = work(self);
        self.key = before;
        done
    }

    /// The secret half of a key that signs; an error if the acting user has not logged in.
    pub(crate) fn signing(&self, author: &AuthorId) -> Result<AuthorKey, Error> {
        self.users.signing(&self.acting, author)
    }

    /// The last commit in a space under an own key.
    pub(crate) fn own_tip(&mut self, space: &SpaceId, own: &AuthorId) -> Result<Option<CommitId>, Error> {
        if !self.load(space)? {
            return Ok(None);
        }
        let (storage, replica) = self.parts(space)?;
        let Some(number) = replica.author_number(storage, own)? else { return Ok(None) };
        let Some(tip) = replica.last_of(number) else { return Ok(None) };
        Ok(Some(log::row(storage, replica.key(tip.at))?.id))
    }

    /// A commit under a key that signs here came from elsewhere. One that goes on from our last is what a restored
    /// database had lost, and is caught up with. Any other was written beside ours: there is a copy of this database.
    pub(crate) fn met_own(&mut self, header: &Header, commit: CommitId, tip: CommitId) -> Result<(), Error> {
        if header.previous == Some(tip) || self.copied.contains_key(&header.author) {
            return Ok(());
        }
        let copied = Copied {
            author: header.author,
            space: header.space.unwrap_or(SpaceId(commit.0)),
            seq: header.seq,
            commit,
            since_ms: self.now(),
        };
        copied.store(self.storage.as_mut())?;
        self.copied.insert(header.author, copied);
        self.staged();
        Ok(())
    }

    /// Whether this database may sign with a key.
    pub(crate) fn alone(&self, author: &AuthorId) -> Result<(), Error> {
        match self.copied.get(author) {
            Some(copied) => Err(Error::AuthorForked { seq: copied.seq }),
            None => Ok(()),
        }
    }

    /// The key of the acting user that another copy of this database uses too, if one was met.
    pub(crate) fn copied_key(&self) -> Option<AuthorId> {
        let user = self.users.get(&self.acting.name)?;
        user.active().find(|key| self.copied.contains_key(key))
    }
}
