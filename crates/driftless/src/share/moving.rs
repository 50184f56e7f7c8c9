//! Moving a document to the space that a share policy names: its present value is inserted there and deleted here, with
//! a pointer, in one transaction of the storage. Its history stays where it could be read.
//!
//! Elsewhere the two commits arrive one after the other, and each counts by the rules of its own space. Moved to two
//! places at once, it lives in both; what was edited without knowing of the move folds underneath the deletion.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use driftless_core::cbor::Writer;
use driftless_core::document_id::DocumentId;
use driftless_core::filter::Filter;
use driftless_core::fold::DocumentState;
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::limits::MAX_BODY;
use driftless_core::operator::{Edit, Operator};
use driftless_core::value::{Map, Path};

use super::SharePolicy;
use super::pointer::{Residence, residence};
use crate::collection::Collection;
use crate::door::write::divide;
use crate::error::Error;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::tables::collections::Collections;

/// An insert that takes more is written field by field: a document may be larger than a commit.
const WHOLE: usize = MAX_BODY / 2;

/// Choices for sharing a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Documents under it stay where they are. If left unset, they move along, and those under them.
    pub alone: bool,
}

/// What sharing a document did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The document.
    pub id: DocumentId,
    /// The space in which it was.
    pub from: SpaceId,
    /// The space in which it lives now.
    pub to: SpaceId,
    /// How many documents moved: it, and those under it. None, if it lived there already.
    pub documents: u64,
    /// The last commit in each of the two spaces; none if nothing moved.
    pub commits: Vec<(SpaceId, CommitId)>,
}

impl Collection {
    /// Moves a document to the space that a policy names, and with it the documents under it. It may have been moved
    /// from here before: then it is taken from where it lives now. Needs the permission to write in both spaces.
    pub fn share(&self, id: &DocumentId, policy: &SharePolicy) -> Result<Shared, Error> {
        self.share_with(id, policy, Sharing::default())
    }

    /// The same with choices.
    pub fn share_with(
        &self,
        id: &DocumentId,
        policy: &SharePolicy,
        sharing: Sharing,
    ) -> Result<Shared, Error> {
        let database = self.space().database();
        // No space is made for a document that is not there.
        database.read(|engine| residence(engine, self, id))?;
        let to = match policy {
            SharePolicy::Members => self.space().id(),
            SharePolicy::Own => database.private_space()?.id(),
            SharePolicy::Users(users) => database.audience(users)?.id(),
            SharePolicy::Public => database.public_space()?.id(),
            SharePolicy::Ref { space, collection, document } => {
                let of = Space::new(database.clone(), *space).collection(collection)?;
                database.read(|engine| followed(engine, self, id, &of, document))?
            }
        };
        database.write(|engine| {
            let Residence { collection: here, state } = residence(engine, self, id)?;
            let from = here.space().id();
            if from == to {
                return Ok(Shared { id: id.clone(), from, to, documents: 0, commits: Vec::new() });
            }
            let mut moving = vec![(here.clone(), id.clone(), state)];
            if !sharing.alone {
                under(engine, here.space(), &mut moving)?;
            }
            let commits = transfer(engine, &from, &to, &moving)?;
            Ok(Shared { id: id.clone(), from, to, documents: moving.len() as u64, commits })
        })
    }

    /// The space in which a document lives that is, or was, in this collection; an error if it is nowhere here.
    pub fn residence(&self, id: &DocumentId) -> Result<Space, Error> {
        let database = self.space().database();
        let found = database.read(|engine| residence(engine, self, id))?;
        Ok(found.collection.space().clone())
    }
}

// The space of the document that is referred to; an error if that one would have to follow the one that is to move.
fn followed(
    engine: &mut Engine,
    collection: &Collection,
    id: &DocumentId,
    of: &Collection,
    document: &DocumentId,
) -> Result<SpaceId, Error> {
    let target = residence(engine, of, document)?;
    let space = target.collection.space().id();
    let here = residence(engine, collection, id)?;
    if here.collection.space().id() == space {
        let (mut next, mut seen) = (Some(document.clone()), BTreeSet::new());
        while let Some(above) = next.filter(|above| seen.insert(above.clone())) {
            if above == *id && (above != *document || of.name() == collection.name()) {
                return Err(Error::Invalid(format!(
                    "document {id} cannot be shared like {document}, which would be shared like {id}: that goes in a circle"
                )));
            }
            next = above_of(engine, target.collection.space(), &above)?;
        }
    }
    Ok(space)
}

// The parent of a document, in whatever collection of the space it is.
fn above_of(engine: &mut Engine, space: &Space, id: &DocumentId) -> Result<Option<DocumentId>, Error> {
    for (_, state) in states_of(engine, space, id)? {
        if let Some(parent) = state.parent() {
            return Ok(Some(parent.clone()));
        }
    }
    Ok(None)
}

/// The visible documents of one id in all collections of a space.
pub(crate) fn states_of(
    engine: &mut Engine,
    space: &Space,
    id: &DocumentId,
) -> Result<Vec<(Collection, DocumentState)>, Error> {
    let mut found = Vec::new();
    for collection in collections(engine, space)? {
        let Some(facts) = collection.facts(engine)? else { continue };
        let state = engine.view.get(engine.storage.as_mut(), &facts, id)?;
        found.extend(state.filter(DocumentState::visible).map(|state| (collection, state)));
    }
    Ok(found)
}

fn collections(engine: &mut Engine, space: &Space) -> Result<Vec<Collection>, Error> {
    let number = engine.present(&space.id())?.number;
    let names = Collections::names(engine.storage.as_ref(), number)?;
    names.iter().map(|name| space.collection(name)).collect()
}

type Moving = (Collection, DocumentId, DocumentState);

// Adds the documents under those that move, and those under them.
fn under(engine: &mut Engine, space: &Space, moving: &mut Vec<Moving>) -> Result<(), Error> {
    let mut children: BTreeMap<DocumentId, Vec<(Collection, DocumentId)>> = BTreeMap::new();
    for collection in collections(engine, space)? {
        collection.find(Filter::all()).each_in(engine, &mut |id, state| {
            if let Some(parent) = state.parent() {
                children.entry(parent.clone()).or_default().push((collection.clone(), id.clone()));
            }
            ControlFlow::Continue(())
        })?;
    }
    let key = |collection: &Collection, id: &DocumentId| (collection.name().to_owned(), id.clone());
    let mut taken: BTreeSet<_> = moving.iter().map(|(collection, id, _)| key(collection, id)).collect();
    let mut at = 0;
    while let Some((_, id, _)) = moving.get(at) {
        // Each list is taken once: parents may go in a circle.
        for (collection, id) in children.remove(id).unwrap_or_default() {
            let Some(facts) = collection.facts(engine)? else { continue };
            let state = engine.view.get(engine.storage.as_mut(), &facts, &id)?;
            if let Some(state) = state.filter(|_| taken.insert(key(&collection, &id))) {
                moving.push((collection, id, state));
            }
        }
        at += 1;
    }
    Ok(())
}

fn transfer(
    engine: &mut Engine,
    from: &SpaceId,
    to: &SpaceId,
    moving: &[Moving],
) -> Result<Vec<(SpaceId, CommitId)>, Error> {
    let (mut arriving, mut leaving) = (Vec::new(), Vec::new());
    for (collection, id, state) in moving {
        let there = Space::new(collection.space().database().clone(), *to).collection(collection.name())?;
        engine.present(to)?;
        if let Some(facts) = there.facts(engine)? {
            let present = engine.view.get(engine.storage.as_mut(), &facts, id)?;
            if present.is_some_and(|present| present.visible()) {
                return Err(Error::Exists(format!("document {id} of {} in space {to}", there.name())));
            }
        }
        let edit = |operators| Edit { collection: collection.name().into(), document: id.clone(), operators };
        arriving.extend(whole(state)?.into_iter().map(|operator| edit(vec![operator])));
        leaving.push(edit(vec![Operator::Moved { to: *to }, Operator::Delete]));
    }
    let (arriving, leaving) = (divide(arriving)?, divide(leaving)?);
    // Nothing is written anywhere before both spaces have said yes.
    let parents = (engine.may_write(to, None)?, engine.may_write(from, None)?);
    let arrived = engine.write_on(to, parents.0, arriving);
    let moved = arrived.and_then(|arrived| Ok((arrived, engine.write_on(from, parents.1, leaving)?)));
    // A half of it is worse than no database: from here on every error is one of the machine.
    let (arrived, left) = moved.inspect_err(|error| engine.poison(error))?;
    Ok(vec![(*to, arrived), (*from, left)])
}

// What makes the document again, in one edit each.
fn whole(state: &DocumentState) -> Result<Vec<Operator>, Error> {
    let (fields, parent) = (state.fields().clone(), state.parent().cloned());
    let insert = Operator::Insert { fields, parent: parent.clone() };
    let mut writer = Writer::default();
    insert.encode(&mut writer);
    if writer.finish().len() <= WHOLE {
        return Ok(vec![insert]);
    }
    let mut operators = vec![Operator::Insert { fields: Map::new(), parent }];
    for (key, value) in state.fields() {
        let path = Path::new(vec![key.to_owned()]).map_err(|error| Error::Invalid(error.to_string()))?;
        operators.push(Operator::Set { path, value: value.clone() });
    }
    Ok(operators)
}
