//! Which spaces a peer is told of: exactly those that keys which it has proven may read, by id and the name that their
//! rules give. It must not know of connections.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use driftless_core::id::{AuthorId, PeerId, SpaceId};
use driftless_core::limits::MAX_FOUND;
use driftless_core::session::Discovered;
use driftless_store::{Key, Order};

use crate::database::Database;
use crate::error::Error;
use crate::tables::layout;

/// The next page for a peer, of what it may read now; and whether there may be more.
pub(crate) fn page(
    database: &Database,
    peer: &PeerId,
    keys: &[AuthorId],
    after: Option<SpaceId>,
) -> Result<(Vec<Discovered>, bool), Error> {
    // Whoever has proven no key is nobody, also where anybody may read.
    if keys.is_empty() {
        return Ok((Vec::new(), false));
    }
    look_at_what_changed(database)?;
    let (mut found, mut last) = (Vec::new(), after);
    while let Some(space) = database.read(|engine| Ok(engine.readers.next(keys, last)))? {
        if found.len() == MAX_FOUND {
            return Ok((found, true));
        }
        found.extend(look_at(database, peer, &space, keys)?);
        last = Some(space);
    }
    Ok((found, false))
}

// One by one, so that nobody else waits for all of them.
pub(crate) fn look_at_what_changed(database: &Database) -> Result<(), Error> {
    database.read(|engine| {
        if engine.readers.is_made() {
            return Ok(());
        }
        let mut spaces = BTreeSet::new();
        let visit = &mut |key: Key<'_>, _: &[u8]| {
            if let Key::Bytes(id) = key {
                spaces.extend(id.try_into().map(SpaceId));
            }
            ControlFlow::Continue(())
        };
        engine.storage.range(
            &layout::SPACE_ID,
            Bound::Unbounded,
            Bound::Unbounded,
            Order::Ascending,
            visit,
        )?;
        engine.readers.make(spaces);
        Ok(())
    })?;
    let next = || {
        database.read(|engine| {
            let Some(space) = engine.readers.stale() else { return Ok(false) };
            let subjects = match engine.load(&space)? {
                true => engine.parts(&space)?.1.rules.members().into_keys().collect(),
                false => Vec::new(),
            };
            engine.readers.set(space, subjects);
            Ok(true)
        })
    };
    while next()? {}
    Ok(())
}

// A space, if it is here and the keys may read it now.
fn look_at(
    database: &Database,
    peer: &PeerId,
    space: &SpaceId,
    keys: &[AuthorId],
) -> Result<Option<Discovered>, Error> {
    if !database.serves(peer, space, keys)? {
        return Ok(None);
    }
    database.read(|engine| {
        if !engine.load(space)? {
            return Ok(None);
        }
        let name = engine.parts(space)?.1.rules.name().unwrap_or_default().to_owned();
        Ok(Some(Discovered { space: *space, name }))
    })
}
