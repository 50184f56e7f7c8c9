//! Access: a peer asks for a permission in a space that it may not read yet, or which spaces it may read.
//!
//! What an answer is, the host decides. A request is only heard for a key that was proven in this session; a space that
//! is unknown, one that is closed to the peer and one that takes no requests are answered with the same bytes.

use std::collections::{BTreeMap, VecDeque};

use super::ask::{Ask, Event, Output};
use super::documents::Lookup;
use super::message::Message;
use super::pass::Pass;
use super::{Session, SessionError, Stage};
use crate::cbor::{CborError, Reader, Writer};
use crate::id::{AuthorId, RequestId, SpaceId};
use crate::limits::{MAX_ASKED, MAX_ASKED_AT_ONCE, MAX_NOTE, MAX_SPACE_NAME};
use crate::rules::{Permission, decode_permission, encode_permission};
use crate::sign::Domain;

/// Who wants which permission where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRequest {
    /// The space.
    pub space: SpaceId,
    /// The key that is to get it.
    pub author: AuthorId,
    /// What it is to get.
    pub permission: Permission,
    /// What its owner says to whoever decides, at most `MAX_NOTE` bytes.
    pub note: String,
}

impl RequestId {
    /// The id of a request: a hash of all that is granted when it is approved, and of nothing else.
    pub fn of(space: &SpaceId, author: &AuthorId, permission: Permission) -> Self {
        let mut writer = Writer::with_capacity(8);
        encode_permission(permission, &mut writer);
        Self(Domain::Request.hash(&[&space.0, &author.0, &writer.finish()]))
    }
}

impl AccessRequest {
    /// Its id.
    pub fn id(&self) -> RequestId {
        RequestId::of(&self.space, &self.author, self.permission)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.bytes(&self.space.0).bytes(&self.author.0);
        encode_permission(self.permission, writer);
        writer.str(&self.note);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let (space, author) = (SpaceId(reader.array_bytes()?), AuthorId(reader.array_bytes()?));
        let permission = decode_permission(reader)?;
        let note = bounded_text(reader, MAX_NOTE, "the note of a request")?;
        Ok(Self { space, author, permission, note })
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// No; or there is no such space, or nobody who decides. Nothing tells which.
    Refused,
    /// The key has this permission now.
    Allowed(Permission),
    /// An admin decides; this is its id there.
    Queued(RequestId),
    /// It would be queued, but there is no room for it now.
    Full,
}

const REFUSED: u64 = 0;
const ALLOWED: u64 = 1;
const QUEUED: u64 = 2;
const FULL: u64 = 3;

impl Answer {
    pub(super) fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Refused => drop(writer.u64(REFUSED).null()),
            Self::Allowed(permission) => encode_permission(*permission, writer.u64(ALLOWED)),
            Self::Queued(id) => drop(writer.u64(QUEUED).bytes(&id.0)),
            Self::Full => drop(writer.u64(FULL).null()),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        match reader.u64()? {
            ALLOWED => decode_permission(reader).map(Self::Allowed),
            QUEUED => reader.array_bytes().map(RequestId).map(Self::Queued),
            kind @ (REFUSED | FULL) => match reader.take_null()? {
                true => Ok(if kind == FULL { Self::Full } else { Self::Refused }),
                false => Err(CborError::Unexpected),
            },
            _ => Err(CborError::Unexpected),
        }
    }
}

/// A space that a peer lets us read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// Its id.
    pub space: SpaceId,
    /// Its name by its rules; empty if it has none.
    pub name: String,
}

impl Discovered {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.array_of(2)?;
        let space = SpaceId(reader.array_bytes()?);
        Ok(Self { space, name: bounded_text(reader, MAX_SPACE_NAME, "the name of a space")? })
    }
}

fn bounded_text(reader: &mut Reader<'_>, limit: usize, what: &'static str) -> Result<String, CborError> {
    let text = reader.str()?;
    if text.len() <= limit { Ok(text.to_owned()) } else { Err(CborError::Limit(what)) }
}

// The questions of one session, in both directions.
#[derive(Debug, Default)]
pub(super) struct Questions {
    next: u64,
    waiting: VecDeque<Question>,
    ours: BTreeMap<u64, About>,
    // The last number of the peer, how many it has asked, and how many the host has not answered.
    last: Option<u64>,
    count: u64,
    theirs: usize,
}

// What a question of ours is about: what kind of answer it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Access(SpaceId),
    Spaces,
    Documents,
}

#[derive(Debug)]
pub(super) enum Question {
    Request(AccessRequest),
    Discover(Option<SpaceId>),
    Shared(Option<SpaceId>, Option<Box<Pass>>),
    Find(Lookup),
}

impl Session {
    /// Asks the peer for access. The key must be one that this side proves: the peer ends the connection otherwise.
    pub fn request(&mut self, request: AccessRequest) {
        self.question(Question::Request(request));
    }

    /// Asks the peer which spaces it lets us read, beyond an id; from the first one without.
    pub fn discover(&mut self, after: Option<SpaceId>) {
        self.question(Question::Discover(after));
    }

    /// Whether a question of this side waits for its answer.
    pub fn is_asking(&self) -> bool {
        !self.questions.ours.is_empty() || !self.questions.waiting.is_empty()
    }

    /// What becomes of the peer's request.
    pub fn handle_answer(&mut self, number: u64, answer: Answer) {
        self.answered_question();
        self.send(&Message::Answer { number, answer });
    }

    /// What the peer may read; `more`, if there are more behind these.
    pub fn handle_found(&mut self, number: u64, spaces: Vec<Discovered>, more: bool) {
        self.answered_question();
        self.send(&Message::Found { number, spaces, more });
    }

    pub(super) fn question(&mut self, question: Question) {
        self.questions.waiting.push_back(question);
        if self.stage == Stage::Open && self.heard {
            self.start_questions();
        }
    }

    /// The peer is ready, or answered one: what waits is asked.
    pub(super) fn start_questions(&mut self) {
        while self.questions.ours.len() < MAX_ASKED_AT_ONCE
            && let Some(question) = self.questions.waiting.pop_front()
        {
            let number = self.questions.next;
            self.questions.next += 1;
            let (about, message) = match question {
                Question::Request(request) => {
                    (About::Access(request.space), Message::Request { number, request })
                }
                Question::Discover(after) => (About::Spaces, Message::Discover { number, after }),
                Question::Shared(after, pass) => {
                    (About::Spaces, Message::Shared { number, after, pass: pass.map(|pass| *pass) })
                }
                Question::Find(lookup) => (About::Documents, Message::Find { number, lookup }),
            };
            self.questions.ours.insert(number, about);
            self.send(&message);
        }
    }

    pub(super) fn handle_request(&mut self, number: u64, request: AccessRequest) -> Result<(), SessionError> {
        self.take_question(number)?;
        if !self.proven.contains(&request.author) {
            return Err(SessionError::Unexpected("a request for a key that was not proven"));
        }
        self.outputs.push_back(Output::Ask(Ask::Request { number, request }));
        Ok(())
    }

    pub(super) fn handle_discover(
        &mut self,
        number: u64,
        after: Option<SpaceId>,
    ) -> Result<(), SessionError> {
        self.take_question(number)?;
        let keys = self.proven.clone();
        self.outputs.push_back(Output::Ask(Ask::Discover { number, keys, after }));
        Ok(())
    }

    pub(super) fn handle_answer_of_peer(&mut self, number: u64, answer: Answer) -> Result<(), SessionError> {
        let Some(About::Access(space)) = self.question_is_answered(number) else {
            return Err(SessionError::Unexpected("an answer that nobody asked for"));
        };
        self.outputs.push_back(Output::Event(Event::Answered(space, answer)));
        self.start_questions();
        Ok(())
    }

    pub(super) fn handle_found_by_peer(
        &mut self,
        number: u64,
        spaces: Vec<Discovered>,
        more: bool,
    ) -> Result<(), SessionError> {
        if self.question_is_answered(number) != Some(About::Spaces) {
            return Err(SessionError::Unexpected("spaces that nobody asked for"));
        }
        if !spaces.is_sorted_by(|a, b| a.space < b.space) || more && spaces.is_empty() {
            return Err(SessionError::Unexpected("spaces out of order"));
        }
        self.outputs.push_back(Output::Event(Event::Found(spaces, more)));
        self.start_questions();
        Ok(())
    }

    // The host answered one of the peer's.
    pub(super) fn answered_question(&mut self) {
        self.questions.theirs = self.questions.theirs.saturating_sub(1);
    }

    // The peer answered one of ours: what it was about.
    pub(super) fn question_is_answered(&mut self, number: u64) -> Option<About> {
        self.questions.ours.remove(&number)
    }

    // The peer may ask this.
    pub(super) fn take_question(&mut self, number: u64) -> Result<(), SessionError> {
        let questions = &mut self.questions;
        if questions.last.is_some_and(|last| number <= last) {
            return Err(SessionError::Unexpected("a question with a number that was used"));
        }
        if questions.theirs >= MAX_ASKED_AT_ONCE || questions.count >= MAX_ASKED {
            return Err(SessionError::Unexpected("too many questions"));
        }
        questions.last = Some(number);
        questions.count += 1;
        questions.theirs += 1;
        Ok(())
    }
}
