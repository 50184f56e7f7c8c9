//! Which spaces a peer is told of: exactly those that keys which it has proven may read, by id and the name that their
//! rules give. It must not know of connections.

use std::ops::{Bound, ControlFlow};

use driftless_core::id::{AuthorId, SpaceId};
use driftless_core::limits::MAX_FOUND;
use driftless_core::session::Discovered;
use driftless_store::{Key, Order};

use crate::database::Database;
use crate::error::Error;
use crate::layout;
use crate::sync::pull::may_read;

/// Times that one connection may have all spaces looked through.
const MAX_LOOKS: u32 = 8;

/// What a connection was told of, or may be.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    looks: u32,
    // Those that the peer might read when they were looked through, ascending.
    readable: Vec<SpaceId>,
}

impl Discovery {
    /// The next page, of what may be read now; and whether there is more. Looks through all spaces at the first one.
    pub(crate) fn page(
        &mut self,
        database: &Database,
        keys: &[AuthorId],
        after: Option<SpaceId>,
    ) -> Result<(Vec<Discovered>, bool), Error> {
        if after.is_none() || self.looks == 0 {
            self.looks += 1;
            if self.looks > MAX_LOOKS {
                return Err(Error::Peer("the peer asks for spaces again and again".into()));
            }
            self.readable = look_through(database, keys)?;
        }
        let mut left = self.readable.iter().filter(|space| after.is_none_or(|after| **space > after));
        let mut found = Vec::new();
        for space in left.by_ref() {
            found.extend(look_at(database, space, keys)?);
            if found.len() == MAX_FOUND {
                break;
            }
        }
        Ok((found, left.next().is_some()))
    }
}

fn look_through(database: &Database, keys: &[AuthorId]) -> Result<Vec<SpaceId>, Error> {
    let mut spaces = Vec::new();
    database.read_many(|engine| {
        let visit = &mut |key: Key<'_>, _: &[u8]| {
            if let Key::Bytes(id) = key {
                spaces.extend(id.try_into().map(SpaceId));
            }
            ControlFlow::Continue(())
        };
        let all = Bound::Unbounded;
        Ok(engine.storage.range(&layout::SPACE_ID, all, all, Order::Ascending, visit)?)
    })?;
    let mut readable = Vec::new();
    // One by one, so that nobody else waits for all of them.
    for space in spaces {
        if look_at(database, &space, keys)?.is_some() {
            readable.push(space);
        }
    }
    Ok(readable)
}

// A space, if it is here and the keys may read it now.
fn look_at(database: &Database, space: &SpaceId, keys: &[AuthorId]) -> Result<Option<Discovered>, Error> {
    database.read(|engine| {
        // Whoever has proven no key is nobody, also where anybody may read.
        if keys.is_empty() || !engine.load(space)? || !may_read(engine, space, keys)? {
            return Ok(None);
        }
        let name = engine.parts(space)?.1.rules.name().unwrap_or_default().to_owned();
        Ok(Some(Discovered { space: *space, name }))
    })
}
