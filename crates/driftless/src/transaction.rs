//! A transaction: edits over any collections and spaces, staged, then written together. One commit per space (or a run
//! of commits if it is large); all of it here or nothing; in each space all of it elsewhere or nothing.

use std::collections::BTreeMap;

use driftless_core::cbor::{self, CborError, Reader, Writer};
use driftless_core::clock::Timestamp;
use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::DocumentState;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::limits::MAX_VALUE_DEPTH;
use driftless_core::operator::{Edit, Operator, difference};
use driftless_core::value::Map;

use crate::collection::Collection;
use crate::database::Database;
use crate::door::write::{check_run, divide};
use crate::error::Error;
use crate::since::Place;
use crate::space::Space;
use crate::walk;

/// Edits that wait to be written together. Dropped without `commit`, nothing of it happened.
#[derive(Debug)]
pub struct Transaction {
    database: Database,
    edits: BTreeMap<SpaceId, Vec<Staged>>,
    // When what is staged now was done, if not now.
    at: Option<Timestamp>,
    // Something was staged that only tells what was done elsewhere: no schema here can undo it.
    unseen: bool,
    // Who signs in each space, where the user has several keys.
    authors: BTreeMap<SpaceId, AuthorId>,
    // Documents as this transaction sees them.
    seen: BTreeMap<(SpaceId, String, DocumentId), DocumentState>,
}

// The last commit in each space.
type Commits = Vec<(SpaceId, CommitId)>;

// Edits of one time.
#[derive(Debug)]
struct Staged {
    at: Option<Timestamp>,
    edits: Vec<Edit>,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The document.
    pub id: DocumentId,
    /// The last commit of the write; `None` if nothing had to be written.
    pub commit: Option<CommitId>,
}

/// Choices for an insert.
#[derive(Debug, Clone, Default)]
pub struct Insert {
    /// The id. If left unset, 16 random bytes.
    pub id: Option<DocumentId>,
    /// The document that this one belongs under; it cannot be changed later.
    pub parent: Option<DocumentId>,
}

impl Database {
    /// A transaction over any collections and spaces: all of it here, or none.
    pub fn transaction(&self) -> Transaction {
        Transaction {
            database: self.clone(),
            edits: BTreeMap::new(),
            at: None,
            unseen: false,
            authors: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }
}

impl Database {
    /// A transaction with what `Transaction::to_bytes` gave staged.
    pub fn transaction_from_bytes(&self, bytes: &[u8]) -> Result<Transaction, Error> {
        let mut transaction = self.transaction();
        transaction.unseen = true;
        transaction.read(bytes).map_err(|error| Error::Invalid(format!("not a transaction: {error}")))?;
        Ok(transaction)
    }
}

impl Collection {
    /// Inserts a document under a random id.
    pub fn insert(&self, fields: Map) -> Result<Written, Error> {
        self.insert_with(fields, Insert::default())
    }

    /// Inserts a document. An error if a document with that id is there.
    pub fn insert_with(&self, fields: Map, insert: Insert) -> Result<Written, Error> {
        self.write(|transaction| transaction.insert_with(self, fields, insert))
    }

    /// Applies operators to a document that is there.
    pub fn edit(&self, id: &DocumentId, operators: Vec<Operator>) -> Result<Written, Error> {
        self.write(|transaction| transaction.edit(self, id, operators).map(|()| id.clone()))
    }

    /// Makes a document equal to `fields` by the smallest edit; inserts it if it is not there.
    pub fn save(&self, id: &DocumentId, fields: Map) -> Result<Written, Error> {
        self.write(|transaction| transaction.save(self, id, fields).map(|_| id.clone()))
    }

    /// Deletes a document. Edits of others that do not know of it go on underneath, until somebody restores it.
    pub fn delete(&self, id: &DocumentId) -> Result<Written, Error> {
        self.write(|transaction| transaction.delete(self, id).map(|()| id.clone()))
    }

    /// Brings a deleted document back, with what was edited meanwhile.
    pub fn restore(&self, id: &DocumentId) -> Result<Written, Error> {
        self.write(|transaction| transaction.restore(self, id).map(|()| id.clone()))
    }

    fn write(
        &self,
        stage: impl FnOnce(&mut Transaction) -> Result<DocumentId, Error>,
    ) -> Result<Written, Error> {
        let mut transaction = self.space().database().transaction();
        let id = stage(&mut transaction)?;
        let commit = transaction.commit()?.pop().map(|(_, commit)| commit);
        Ok(Written { id, commit })
    }
}

impl Transaction {
    /// Inserts a document under a random id.
    pub fn insert(&mut self, to: &Collection, fields: Map) -> Result<DocumentId, Error> {
        self.insert_with(to, fields, Insert::default())
    }

    /// Inserts a document. An error if a document with that id is there.
    pub fn insert_with(&mut self, to: &Collection, fields: Map, insert: Insert) -> Result<DocumentId, Error> {
        let id = match insert.id {
            Some(id) => {
                if self.state(to, &id)?.visible() {
                    return Err(Error::Exists(format!("document {id}")));
                }
                id
            }
            None => {
                let id = self.database.new_id()?;
                self.seen
                    .insert((to.space().id(), to.name().to_owned(), id.clone()), DocumentState::default());
                id
            }
        };
        self.stage(to, &id, vec![Operator::Insert { fields, parent: insert.parent }])?;
        Ok(id)
    }

    /// Applies operators to a document that is there.
    pub fn edit(&mut self, to: &Collection, id: &DocumentId, operators: Vec<Operator>) -> Result<(), Error> {
        self.visible(to, id)?;
        self.stage(to, id, operators)
    }

    /// Makes a document equal to `fields` by the smallest edit; inserts it if it is not there. `false` if it was equal.
    pub fn save(&mut self, to: &Collection, id: &DocumentId, fields: Map) -> Result<bool, Error> {
        let state = self.state(to, id)?;
        if !state.visible() {
            self.stage(to, id, vec![Operator::Insert { fields, parent: None }])?;
            return Ok(true);
        }
        let operators = difference(state.fields(), &fields);
        if operators.is_empty() {
            return Ok(false);
        }
        self.stage(to, id, operators)?;
        Ok(true)
    }

    /// Deletes a document that is there.
    pub fn delete(&mut self, to: &Collection, id: &DocumentId) -> Result<(), Error> {
        self.visible(to, id)?;
        self.stage(to, id, vec![Operator::Delete])
    }

    /// Says when what is staged from here on was done, in Unix milliseconds: for edits that were made elsewhere, before
    /// this database was told. It may be called again, with later times. A commit has that time as far as it can be: not
    /// after now, and after the last commit of its author; what others wrote later wins over it.
    pub fn at(&mut self, ms: u64) {
        self.at = Some(Timestamp::from_ms(ms));
    }

    /// Stages operators whatever the document is now, and without looking: on one that is not there, or is deleted, they
    /// do what the fold makes of them. Documents that do not fit the schema of their collection then are marked, like those
    /// that came from elsewhere.
    pub fn edit_unseen(
        &mut self,
        to: &Collection,
        id: &DocumentId,
        operators: Vec<Operator>,
    ) -> Result<(), Error> {
        let edit = Edit { collection: to.name().into(), document: id.clone(), operators };
        edit.check().map_err(|error| Error::Invalid(error.to_string()))?;
        self.unseen = true;
        let seen = |at: &(SpaceId, String, DocumentId)| self.seen.contains_key(at);
        if !self.seen.is_empty() && seen(&(to.space().id(), to.name().to_owned(), id.clone())) {
            return self.stage(to, id, edit.operators);
        }
        self.push(to.space().id(), edit);
        Ok(())
    }

    /// Brings a deleted document back.
    pub fn restore(&mut self, to: &Collection, id: &DocumentId) -> Result<(), Error> {
        let state = self.state(to, id)?;
        if !state.deleted() {
            return Err(Error::not_found("deleted document", id));
        }
        self.stage(to, id, vec![Operator::Restore])
    }

    /// A document as this transaction leaves it.
    pub fn get(&mut self, of: &Collection, id: &DocumentId) -> Result<Option<Document>, Error> {
        let state = self.state(of, id)?;
        Ok(state.visible().then(|| Document::new(of.name(), id, state)))
    }

    /// What is staged, as bytes: to be kept somewhere until it is certain that it was written.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(self.edits.len() as u64);
        for (space, staged) in &self.edits {
            writer.array(2).bytes(&space.0).array(staged.len() as u64);
            for Staged { at, edits } in staged {
                writer.array(2).u64(at.map_or(0, |at| at.ms())).array(edits.len() as u64);
                edits.iter().for_each(|edit| edit.encode(&mut writer));
            }
        }
        writer.finish()
    }

    /// How many edits are staged.
    pub fn len(&self) -> usize {
        self.edits.values().flatten().map(|staged| staged.edits.len()).sum()
    }

    /// Whether nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Writes everything. Returns the last commit in each space; nothing if nothing was staged.
    pub fn commit(self) -> Result<Vec<(SpaceId, CommitId)>, Error> {
        Ok(self.write(None)?.0)
    }

    /// The same, for whoever follows a space and knows it up to `place`: returns the place behind what was written, if
    /// nothing else came between and nothing of it lost against later edits, so that there is nothing to look at again.
    pub fn commit_from(self, space: &Space, place: &Place) -> Result<Option<Place>, Error> {
        Ok(self.write(Some((space.id(), place)))?.1)
    }

    fn write(self, from: Option<(SpaceId, &Place)>) -> Result<(Commits, Option<Place>), Error> {
        let Self { database, edits, unseen, .. } = self;
        if edits.is_empty() {
            return Ok((Vec::new(), from.map(|(_, place)| *place)));
        }
        let divided = edits.into_iter().map(|(space, staged)| {
            let first = staged.first().and_then(|staged| staged.at);
            let mut bodies = Vec::new();
            for Staged { at, edits } in staged {
                bodies.extend(divide(edits)?.into_iter().map(|body| (at, body)));
            }
            check_run(bodies.len())?;
            Ok((space, first, bodies))
        });
        let bodies: Vec<_> = divided.collect::<Result<_, Error>>()?;
        database.write(|engine| {
            // Nothing is written anywhere before every space and every schema has said yes.
            let parents = bodies
                .iter()
                .map(|(space, first, _)| engine.may_write(space, *first))
                .collect::<Result<Vec<_>, _>>()?;
            for (space, _, bodies) in bodies.iter().filter(|_| !unseen) {
                engine.check_fit(space, bodies.iter().map(|(_, body)| body))?;
            }
            let on_top = parents.iter().all(|parents| parents.on_top);
            let followed = match from {
                Some((space, place)) => engine.place(&space)? == *place && on_top,
                None => false,
            };
            let written = bodies.into_iter().zip(parents).map(|((space, _, bodies), parents)| {
                Ok((space, engine.write_after(&space, parents, bodies)?))
            });
            // A part of the spaces is worse than no database: from here on every error is one of the machine.
            let written: Vec<_> =
                written.collect::<Result<_, Error>>().inspect_err(|error| engine.poison(error))?;
            let place = from.filter(|_| followed).map(|(space, _)| engine.place(&space)).transpose()?;
            Ok((written, place))
        })
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), CborError> {
        cbor::check(bytes, MAX_VALUE_DEPTH + 8)?;
        let mut reader = Reader::new(bytes);
        for _ in 0..reader.array()? {
            reader.array_of(2)?;
            let space = SpaceId(reader.bytes()?.try_into().map_err(|_| CborError::Unexpected)?);
            let mut staged = Vec::new();
            for _ in 0..reader.array()? {
                reader.array_of(2)?;
                let at = Some(reader.u64()?).filter(|ms| *ms > 0).map(Timestamp::from_ms);
                let mut edits = Vec::new();
                for _ in 0..reader.array()? {
                    edits.push(Edit::decode(&mut reader)?);
                }
                staged.push(Staged { at, edits });
            }
            self.edits.insert(space, staged);
        }
        Ok(())
    }

    fn author(&mut self, space: &Space) -> Result<AuthorId, Error> {
        if let Some(author) = self.database.only_author()? {
            return Ok(author);
        }
        if let Some(author) = self.authors.get(&space.id()) {
            return Ok(*author);
        }
        let id = space.id();
        let author = self.database.read(|engine| {
            engine.present(&id)?;
            engine.author_in(&id)
        })?;
        self.authors.insert(id, author);
        Ok(author)
    }

    fn visible(&mut self, of: &Collection, id: &DocumentId) -> Result<(), Error> {
        if self.state(of, id)?.visible() { Ok(()) } else { Err(Error::not_found("document", id)) }
    }

    fn state(&mut self, of: &Collection, id: &DocumentId) -> Result<&mut DocumentState, Error> {
        let at = (of.space().id(), of.name().to_owned(), id.clone());
        if !self.seen.contains_key(&at) {
            let state = self.database.read(|engine| {
                let Some(facts) = of.facts(engine)? else { return Ok(None) };
                engine.view.get(engine.storage.as_mut(), &facts, id)
            })?;
            self.seen.insert(at.clone(), state.unwrap_or_default());
        }
        self.seen.get_mut(&at).ok_or_else(|| Error::not_found("document", id))
    }

    fn stage(&mut self, to: &Collection, id: &DocumentId, operators: Vec<Operator>) -> Result<(), Error> {
        let _step = walk::stage(&to.space().id());
        let edit = Edit { collection: to.name().into(), document: id.clone(), operators };
        edit.check().map_err(|error| Error::Invalid(error.to_string()))?;
        let author = self.author(to.space())?;
        let state = self.state(to, id)?;
        // What later calls of this transaction see; the fold does it again with the commit's own time.
        state.apply(state.updated().max(Timestamp(1)), author, &edit.operators);
        self.push(to.space().id(), edit);
        Ok(())
    }

    fn push(&mut self, space: SpaceId, edit: Edit) {
        let staged = self.edits.entry(space).or_default();
        match staged.last_mut() {
            Some(last) if last.at == self.at => last.edits.push(edit),
            _ => staged.push(Staged { at: self.at, edits: vec![edit] }),
        }
    }
}
