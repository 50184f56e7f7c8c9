//! What stores ask and tell each other beside their logs: that something changed, what is shared with whom by name, and
//! the documents that somebody made. Only hints and look-ups: no commit travels here.
//!
//! A document in an answer is what the peer says that it is; whoever wants proof pulls its space.

use super::access::About;
use super::ask::{Ask, Event, Output};
use super::message::Message;
use super::pass::Pass;
use super::{Session, SessionError, Stage};
use crate::cbor::{self, CborError, Reader, Writer};
use crate::clock::Timestamp;
use crate::document::Document;
use crate::document_id::DocumentId;
use crate::id::{AuthorId, SpaceId, UserId};
use crate::limits::{MAX_CHANGED, MAX_COLLECTION_NAME, MAX_DOCUMENT_DEPTH, MAX_LOCATED};
use crate::value::Map;

/// A space in which something came, as a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    /// The space.
    pub space: SpaceId,
    /// The digest of the sender's sync heads in it: whoever has the same need not ask.
    pub digest: [u8; 8],
}

impl Changed {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.array(2).bytes(&self.space.0).bytes(&self.digest);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.array_of(2)?;
        Ok(Self { space: SpaceId(reader.array_bytes()?), digest: reader.array_bytes()? })
    }
}

/// Who made a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Creator {
    /// One key.
    Author(AuthorId),
    /// Any key that the identity of a user names, as far as the store that is asked has it and lets the asker read it.
    User(UserId),
}

/// What documents are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Their collection, in whichever space.
    pub collection: String,
    /// Who made them.
    pub by: Creator,
    /// Only in spaces whose ids are larger than this one.
    pub after: Option<SpaceId>,
}

impl Lookup {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.str(&self.collection).array(2);
        match &self.by {
            Creator::Author(author) => writer.u64(0).bytes(&author.0),
            Creator::User(user) => writer.u64(1).bytes(&user.0),
        };
        writer.bytes_or_null(self.after.as_ref().map(|after| &after.0[..]));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let collection = reader.str()?.to_owned();
        if collection.len() > MAX_COLLECTION_NAME {
            return Err(CborError::Limit("the name of a collection"));
        }
        reader.array_of(2)?;
        let by = match reader.u64()? {
            0 => Creator::Author(AuthorId(reader.array_bytes()?)),
            1 => Creator::User(UserId(reader.array_bytes()?)),
            _ => return Err(CborError::Unexpected),
        };
        Ok(Self { collection, by, after: optional(reader)?.map(SpaceId) })
    }
}

/// What was found, as the peer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Located {
    /// Documents as `encode_document` writes them, each with its space.
    pub documents: Vec<(SpaceId, Vec<u8>)>,
    /// The last space that was looked at, if there are more behind it.
    pub next: Option<SpaceId>,
    /// In a space there are more documents than were looked at, or than fit.
    pub cut: bool,
}

impl Located {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.array(self.documents.len() as u64);
        for (space, document) in &self.documents {
            writer.array(2).bytes(&space.0).bytes(document);
        }
        writer.bytes_or_null(self.next.as_ref().map(|next| &next.0[..])).bool(self.cut);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let count = usize::try_from(reader.array()?).ok().filter(|count| *count <= MAX_LOCATED);
        let count = count.ok_or(CborError::Limit("documents in an answer"))?;
        let mut documents = Vec::with_capacity(count);
        for _ in 0..count {
            reader.array_of(2)?;
            documents.push((SpaceId(reader.array_bytes()?), reader.bytes()?.to_vec()));
        }
        Ok(Self { documents, next: optional(reader)?.map(SpaceId), cut: reader.bool()? })
    }
}

/// A visible document as it stands in an answer, without its collection.
pub fn encode_document(document: &Document) -> Vec<u8> {
    let mut writer = Writer::with_capacity(256);
    writer.array(6);
    document.id.encode(&mut writer);
    writer.u64(document.created.0).u64(document.updated.0).bytes(&document.author.0);
    match &document.parent {
        Some(parent) => parent.encode(&mut writer),
        None => _ = writer.null(),
    }
    document.fields.encode(&mut writer);
    writer.finish()
}

/// Takes apart what `encode_document` wrote.
pub fn decode_document(collection: &str, bytes: &[u8]) -> Result<Document, CborError> {
    cbor::check(bytes, MAX_DOCUMENT_DEPTH + 2)?;
    let mut reader = Reader::new(bytes);
    reader.array_of(6)?;
    let id = DocumentId::decode(&mut reader)?;
    let (created, updated) = (Timestamp(reader.u64()?), Timestamp(reader.u64()?));
    let author = AuthorId(reader.array_bytes()?);
    let parent = if reader.take_null()? { None } else { Some(DocumentId::decode(&mut reader)?) };
    let fields = Map::decode(&mut reader)?;
    Ok(Document {
        id,
        collection: collection.to_owned(),
        created,
        updated,
        author,
        deleted: false,
        parent,
        fields,
    })
}

pub(super) fn optional(reader: &mut Reader<'_>) -> Result<Option<[u8; 32]>, CborError> {
    Ok(if reader.take_null()? { None } else { Some(reader.array_bytes()?) })
}

impl Session {
    /// Tells the peer that something came into these spaces, as far as it may read them; without any, that something
    /// came somewhere. Nothing is said before both sides know each other: whoever just came asks by itself.
    pub fn tell(&mut self, mut spaces: Vec<SpaceId>) {
        if self.stage != Stage::Open || !self.heard {
            return;
        }
        if spaces.len() > MAX_CHANGED {
            spaces.clear();
        }
        if spaces.is_empty() {
            return self.send(&Message::Changed(Vec::new()));
        }
        let keys = self.proven.clone();
        self.outputs.push_back(Output::Ask(Ask::Tell { keys, spaces }));
    }

    /// What of it the peer may hear.
    pub fn handle_told(&mut self, mut spaces: Vec<Changed>) {
        spaces.truncate(MAX_CHANGED);
        if !spaces.is_empty() {
            self.send(&Message::Changed(spaces));
        }
    }

    /// Asks the peer what it shares with this side by name, beyond an id; also what it shares with the space of a pass.
    pub fn shared(&mut self, after: Option<SpaceId>, pass: Option<Pass>) {
        self.question(super::access::Question::Shared(after, pass.map(Box::new)));
    }

    /// Asks the peer for documents that somebody made.
    pub fn find(&mut self, lookup: Lookup) {
        self.question(super::access::Question::Find(lookup));
    }

    /// What was found for the peer.
    pub fn handle_located(&mut self, number: u64, located: Located) {
        self.answered_question();
        self.send(&Message::Located { number, located });
    }

    pub(super) fn handle_changed_by_peer(&mut self, spaces: Vec<Changed>) {
        self.outputs.push_back(Output::Event(Event::Changed(spaces)));
    }

    pub(super) fn handle_shared(
        &mut self,
        number: u64,
        after: Option<SpaceId>,
        pass: Option<Pass>,
    ) -> Result<(), SessionError> {
        self.take_question(number)?;
        let keys = self.proven.clone();
        let pass = pass.filter(|pass| keys.contains(pass.joiner())).map(Box::new);
        self.outputs.push_back(Output::Ask(Ask::Shared { number, keys, after, pass }));
        Ok(())
    }

    pub(super) fn handle_find(&mut self, number: u64, lookup: Lookup) -> Result<(), SessionError> {
        self.take_question(number)?;
        let keys = self.proven.clone();
        self.outputs.push_back(Output::Ask(Ask::Find { number, keys, lookup }));
        Ok(())
    }

    pub(super) fn handle_located_by_peer(
        &mut self,
        number: u64,
        located: Located,
    ) -> Result<(), SessionError> {
        if self.question_is_answered(number) != Some(About::Documents) {
            return Err(SessionError::Unexpected("documents that nobody asked for"));
        }
        self.outputs.push_back(Output::Event(Event::Located(located)));
        self.start_questions();
        Ok(())
    }
}
