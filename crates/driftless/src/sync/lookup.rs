//! What is shared with somebody by name, what somebody made, and what of a change somebody may hear. Each is a read of
//! spaces that the asker may read, and bounded. It must not know of connections.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use driftless_core::document::Document;
use driftless_core::filter::Filter;
use driftless_core::id::{AuthorId, PeerId, SpaceId};
use driftless_core::limits::{MAX_FOUND, MAX_LOCATED, MAX_LOOKED, MAX_LOOKED_SPACES, MAX_PAGE};
use driftless_core::rules::Subject;
use driftless_core::session::{
    Changed, Creator, Discovered, Located, Lookup, Pass, SpaceProof, decode_document, encode_document,
};
use driftless_core::verdict::{Rules, Via};

use crate::database::Database;
use crate::error::Error;
use crate::served::{Look, Served};
use crate::share::audience::is_audience;
use crate::space::Space;
use crate::sync::discovery::look_at_what_changed;
use crate::sync::space_graph::frontier_digest;

/// Proofs that are verified for one page: each may be 64 KiB of signatures.
const MAX_SHOWN: usize = 32;

/// Documents that were found by who made them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundBy {
    /// The documents, each with its space.
    pub documents: Vec<(SpaceId, Document)>,
    /// The last space that was looked at, if there are more behind it.
    pub next: Option<SpaceId>,
    /// In a space there are more documents than were looked at, or than fit.
    pub cut: bool,
}

impl Database {
    /// The spaces that were made for exactly some users (`audience`), of whom one has one of these keys, behind the id
    /// `after`; and whether there may be more. Who asks must have proven the keys.
    pub fn discover_for(
        &self,
        readers: &[AuthorId],
        after: Option<SpaceId>,
    ) -> Result<(Vec<Discovered>, bool), Error> {
        shared(self, (&self.peer()?, readers), after, None)
    }

    /// The documents of a collection that somebody made, in the spaces that one of these keys may read, behind the space
    /// `after`. Of each space so many are looked at, and few are given: whoever wants all of them reads the space.
    pub fn find_by(
        &self,
        collection: &str,
        by: Creator,
        readers: &[AuthorId],
        after: Option<SpaceId>,
    ) -> Result<FoundBy, Error> {
        let lookup = Lookup { collection: collection.to_owned(), by, after };
        let Located { documents, next, cut } = find(self, (&self.peer()?, readers), &lookup)?;
        FoundBy::read(collection, documents, next, cut)
    }

    /// The active keys of the user of this handle, the default key first: whom `discover_for` and `find_by` answer.
    pub fn readers(&self) -> Result<Vec<AuthorId>, Error> {
        self.read(|engine| Ok(engine.own_keys()))
    }
}

impl FoundBy {
    pub(crate) fn read(
        collection: &str,
        documents: Vec<(SpaceId, Vec<u8>)>,
        next: Option<SpaceId>,
        cut: bool,
    ) -> Result<Self, Error> {
        let read = |(space, bytes): (SpaceId, Vec<u8>)| Ok((space, decode_document(collection, &bytes)?));
        let documents =
            documents.into_iter().map(read).collect::<Result<_, driftless_core::cbor::CborError>>();
        let documents =
            documents.map_err(|_| Error::Peer("a document in its answer does not decode".into()))?;
        Ok(Self { documents, next, cut })
    }
}

/// The next page of what is shared by name with keys that were proven, and with the space of a pass.
pub(crate) fn shared(
    database: &Database,
    (peer, keys): (&PeerId, &[AuthorId]),
    after: Option<SpaceId>,
    pass: Option<&SpaceProof>,
) -> Result<(Vec<Discovered>, bool), Error> {
    look_at_what_changed(database)?;
    let mut subjects: Vec<Subject> = keys.iter().map(|key| Subject::Key(*key)).collect();
    subjects.extend(pass.map(|pass| Subject::Space(pass.space)));
    let (mut found, mut last, mut shown) = (Vec::new(), after, 0);
    while let Some(space) = database.read(|engine| Ok(engine.readers.next_of(&subjects, last)))? {
        if found.len() == MAX_FOUND || shown == MAX_SHOWN {
            // A page goes on behind the last that was found. Where nothing was, nothing is told of what is there.
            let more = !found.is_empty();
            return Ok((found, more));
        }
        let (looked, proof) = database.as_said((peer, &space, keys), Look::Any, |engine, said| {
            if !engine.load(&space)? || !is_audience(&engine.parts(&space)?.1.rules) {
                return Ok(Some((None, false)));
            }
            let served = engine.serves(&space, keys, said)?;
            let rules = &mut engine.parts(&space)?.1.rules;
            let named = keys.iter().any(|key| rules.member(key).is_some_and(|by| by.via != Via::Anyone));
            let (is_shared, proof) = match (served, pass) {
                (Served::Ask, _) => return Ok(None),
                (Served::No, _) => (false, false),
                (Served::Yes, _) if named => (true, false),
                (Served::Yes | Served::Unless, Some(pass)) => (opens(rules, pass), true),
                (Served::Yes | Served::Unless, None) => (false, false),
            };
            let name = rules.name().unwrap_or_default().to_owned();
            Ok(Some((is_shared.then_some(Discovered { space, name }), proof)))
        })?;
        shown += usize::from(proof);
        found.extend(looked);
        last = Some(space);
    }
    Ok((found, false))
}

// Whether a key comes in by what another space says of it.
fn opens(rules: &mut Rules, pass: &SpaceProof) -> bool {
    let doors = rules.delegations().into_iter().filter(|door| door.space == pass.space);
    let doors: Vec<_> = doors.map(|door| (door.commit, door.index)).collect();
    doors.into_iter().any(|door| rules.lets_in(&pass.joiner, door, &pass.proof).is_ok())
}

/// The pass that says by which other space a key comes in.
pub(crate) fn by_space(pass: Option<&Pass>) -> Option<&SpaceProof> {
    match pass {
        Some(Pass::Space(proof)) => Some(proof),
        Some(Pass::Invite(_)) | None => None,
    }
}

/// What was found of what somebody made, for keys that were proven.
pub(crate) fn find(
    database: &Database,
    (peer, keys): (&PeerId, &[AuthorId]),
    lookup: &Lookup,
) -> Result<Located, Error> {
    let mut located = Located::default();
    if keys.is_empty() {
        return Ok(located);
    }
    look_at_what_changed(database)?;
    let made_by = match &lookup.by {
        Creator::Author(author) => BTreeSet::from([*author]),
        Creator::User(user) => devices(database, (peer, keys), &SpaceId(user.0))?,
    };
    let (mut last, mut budget) = (lookup.after, MAX_PAGE);
    for _ in 0..MAX_LOOKED_SPACES {
        let Some(space) = database.read(|engine| Ok(engine.readers.next(keys, last)))? else {
            return Ok(located);
        };
        if located.documents.len() == MAX_LOCATED {
            break;
        }
        if !made_by.is_empty() {
            look_in(database, (peer, &space, keys), lookup, &made_by, &mut located, &mut budget)?;
        }
        last = Some(space);
    }
    located.next = last;
    Ok(located)
}

fn look_in(
    database: &Database,
    whom: (&PeerId, &SpaceId, &[AuthorId]),
    lookup: &Lookup,
    made_by: &BTreeSet<AuthorId>,
    located: &mut Located,
    budget: &mut usize,
) -> Result<(), Error> {
    let (_, space, keys) = whom;
    // What does not name a collection has no documents.
    let Ok(collection) = Space::new(database.clone(), *space).collection(&lookup.collection) else {
        return Ok(());
    };
    database.as_said(whom, Look::Durable, |engine, said| {
        if !engine.load(space)? {
            return Ok(Some(()));
        }
        match engine.serves(space, keys, said)? {
            Served::Ask => return Ok(None),
            Served::Yes => {}
            Served::No | Served::Unless => return Ok(Some(())),
        }
        let (mut looked, mut cut) = (0, false);
        collection.find(Filter::all()).each_in(engine, &mut |id, state| {
            looked += 1;
            if looked > MAX_LOOKED {
                cut = true;
                return ControlFlow::Break(());
            }
            if !made_by.contains(state.created_by()) {
                return ControlFlow::Continue(());
            }
            let bytes = encode_document(&Document::new(&lookup.collection, id, state));
            if located.documents.len() == MAX_LOCATED || bytes.len() > *budget {
                cut = true;
                return ControlFlow::Continue(());
            }
            *budget -= bytes.len();
            located.documents.push((*space, bytes));
            ControlFlow::Continue(())
        })?;
        located.cut |= cut;
        Ok(Some(()))
    })
}

// The keys that an identity names, if it is here and the asker may read it.
fn devices(
    database: &Database,
    (peer, keys): (&PeerId, &[AuthorId]),
    identity: &SpaceId,
) -> Result<BTreeSet<AuthorId>, Error> {
    if !database.serves(peer, identity, keys)? {
        return Ok(BTreeSet::new());
    }
    let key = |subject| match subject {
        Subject::Key(key) => Some(key),
        Subject::Anyone | Subject::Space(_) => None,
    };
    database.read(|engine| {
        engine.load(identity)?;
        Ok(engine.parts(identity)?.1.rules.members().into_keys().filter_map(key).collect())
    })
}

/// Which of these spaces the keys may read, and their heads now.
pub(crate) fn told(
    database: &Database,
    (peer, keys): (&PeerId, &[AuthorId]),
    spaces: &[SpaceId],
) -> Result<Vec<Changed>, Error> {
    let mut told = Vec::new();
    for space in spaces {
        // Nothing is told of before it is durable.
        told.extend(database.as_said((peer, space, keys), Look::Durable, |engine, said| {
            if !engine.load(space)? {
                return Ok(Some(None));
            }
            Ok(match engine.serves(space, keys, said)? {
                Served::Ask => None,
                Served::No | Served::Unless => Some(None),
                Served::Yes => {
                    let digest = frontier_digest(engine.parts(space)?.1);
                    Some(Some(Changed { space: *space, digest }))
                }
            })
        })?);
    }
    Ok(told)
}
