//! The session: what one connection to one peer says, for any number of spaces. A pure state machine.
//!
//! It decides when to say what; what is in a log, and who may read it, it asks its host. Kinds of method:
//! `open`, `open_all`, `changed`, `missed`, `close` are commands; `handle_*` are inputs: a frame from the peer, or an answer to an `Ask`;
//! `poll` gives the outputs. After each command and input, `poll` until it returns `None`.
//!
//! Heads decide, summaries only hint: a space is settled when both sides have each other's heads and everything sent
//! was acknowledged, which is after the other side's durable write. Any received prefix of frames is a valid state.

mod access;
mod pass;
mod documents;
mod message;
mod ask;
mod exchange;
mod check;
mod pull;
mod graph_host;
mod spaces;

use std::collections::{BTreeMap, VecDeque};

pub use access::{AccessRequest, Answer, Discovered};
pub use ask::{
    Ask, Checked, Declined, Event, Ingested, Opened, Output, ReadFrame, Role, SessionError, Surveyed,
};
pub use documents::{Changed, Creator, Located, Lookup, decode_document, encode_document};
pub use graph_host::GraphHost;
pub use message::{Message, PROTOCOL_VERSION, Slot, Verdict};
pub use pass::{InviteProof, Pass, SpaceProof};
pub use pull::{Cursor, CursorError, Fed, PullEnd};

use exchange::Exchange;

use crate::id::{AuthorId, PeerId, SpaceId};
use crate::leb128;
use crate::limits::{
    MAX_FRAME, MAX_OPENS, MAX_PROOFS, MAX_REOPENS, MAX_ROUNDS, MAX_SLOT_SUMMARIES, MAX_SLOTS, MAX_WANTED,
    SEND_WINDOW, SESSION_WINDOW,
};
use crate::reconcile::{Heard, Salt, Summary};
use crate::sign::{AuthorKey, Domain, verify};

// What a frame counts for in a window at least, so that windows also bound how many frames are on their way.
const LEAST_FRAME: usize = 1024;

/// A message as the `number`th, from 0, that one side says in a session.
pub fn numbered(number: u64, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    leb128::put(&mut bytes, number);
    bytes.extend_from_slice(&message.encode());
    bytes
}

/// Takes apart what `numbered` put together, but for the message.
pub fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    leb128::take(bytes)
}

/// One connection to one peer.
#[derive(Debug)]
pub struct Session {
    role: Role,
    us: PeerId,
    them: PeerId,
    nonce: [u8; 16],
    keys: Vec<AuthorKey>,
    stage: Stage,
    // The peer has read our proof: it is ready for anything.
    heard: bool,
    their_nonce: [u8; 16],
    proven: Vec<AuthorId>,
    slots: BTreeMap<Slot, Exchange>,
    next_slot: Slot,
    // The last slot that the peer opened. Numbers only go up: what was said of a closed slot never means another.
    their_slot: Option<Slot>,
    their_opens: usize,
    their_spaces: BTreeMap<SpaceId, u32>,
    // Slots whose work the host has begun and not ended.
    pending: VecDeque<Slot>,
    our_opens: usize,
    // What all slots have sent and not heard of.
    unacked: usize,
    // Reads that are not answered; each may give a largest frame.
    reading: usize,
    waiting: Vec<(SpaceId, Option<Pass>)>,
    pulls: pull::Pulls,
    questions: access::Questions,
    spaces: spaces::Spaces,
    outputs: VecDeque<Output>,
    // How many messages left and came.
    spoken: u64,
    heard_messages: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Hello,
    Proof,
    Open,
}

impl Session {
    /// The session of one connection, whose transport has proven `them`. `keys` are proven to the peer; `nonce` is random.
    pub fn new(role: Role, us: PeerId, them: PeerId, nonce: [u8; 16], keys: Vec<AuthorKey>) -> Self {
        let mut session = Self {
            role,
            us,
            them,
            nonce,
            keys,
            stage: Stage::Hello,
            heard: false,
            their_nonce: [0; 16],
            proven: Vec::new(),
            slots: BTreeMap::new(),
            next_slot: if role == Role::Dialer { 0 } else { 1 },
            their_slot: None,
            their_opens: 0,
            their_spaces: BTreeMap::new(),
            pending: VecDeque::new(),
            our_opens: 0,
            unacked: 0,
            reading: 0,
            waiting: Vec::new(),
            pulls: pull::Pulls::default(),
            questions: access::Questions::default(),
            spaces: spaces::Spaces::default(),
            outputs: VecDeque::new(),
            spoken: 0,
            heard_messages: 0,
        };
        session.send(&Message::Hello { version: PROTOCOL_VERSION, nonce });
        session
    }

    /// Begins the exchange of a space, by an invite or a proof where this side has no permission yet. A listener begins after the
    /// first message of the dialer that is not a greeting.
    pub fn open(&mut self, space: SpaceId, invite: Option<Pass>) {
        if self.stage == Stage::Open && self.heard {
            let _ = self.start(space, invite);
        } else {
            self.waiting.push((space, invite));
        }
    }

    /// Something new is durable in a space: it is sent if the peer is to have it.
    pub fn changed(&mut self, space: &SpaceId) {
        let slots: Vec<Slot> = self
            .slots
            .iter()
            .filter(|(_, exchange)| exchange.space == *space)
            .map(|(slot, _)| *slot)
            .collect();
        self.wake(space);
        slots.into_iter().for_each(|slot| self.changed_in(slot));
    }

    fn changed_in(&mut self, slot: Slot) {
        if let Some(exchange) = self.slots.get_mut(&slot) {
            exchange.behind = true;
            self.advance(slot);
        }
    }

    /// Ends the exchange of a space.
    pub fn close(&mut self, space: &SpaceId) {
        let slots: Vec<Slot> = self
            .slots
            .iter()
            .filter(|(_, exchange)| exchange.space == *space)
            .map(|(slot, _)| *slot)
            .collect();
        self.rouse(space);
        for slot in slots {
            self.shut(slot, true);
        }
    }

    /// The author keys that the peer has proven.
    pub fn proven(&self) -> &[AuthorId] {
        &self.proven
    }

    /// The spaces that are open, and those that are opened when they change.
    pub fn spaces(&self) -> impl Iterator<Item = &SpaceId> {
        self.slots.values().map(|exchange| &exchange.space).chain(self.asleep())
    }

    /// Whether a change of a space is anything to this session; the host need not tell it of others.
    pub fn follows(&self, space: &SpaceId) -> bool {
        self.is_open(space) || self.is_woken_by(space)
    }

    /// The next output, until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let slot = self.pending.pop_front()?;
        Some(Output::Ask(Ask::Go { slot }))
    }

    /// The host goes on with a slot after everything else had its turn: what was asked is not, or not all, understood.
    pub fn handle_pending(&mut self, slot: Slot) {
        if self.slots.contains_key(&slot) && !self.pending.contains(&slot) {
            self.pending.push_back(slot);
        }
    }

    /// Bytes from the peer: one whole message, and before it which one of the session it is.
    pub fn handle_frame(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let (number, bytes) =
            take_number(bytes).ok_or(SessionError::Unexpected("a message without a number"))?;
        if number < self.heard_messages {
            // It came before.
            return Ok(());
        }
        if number > self.heard_messages {
            return Err(SessionError::Lost { expected: self.heard_messages });
        }
        self.heard_messages += 1;
        let message = Message::decode(bytes)?;
        match (self.stage, message) {
            (Stage::Hello, Message::Hello { version, nonce }) => self.handle_hello(version, &nonce),
            (Stage::Proof, Message::Proof(proofs)) => self.handle_proof(&proofs),
            (Stage::Open, message) => {
                self.handle_message(message)?;
                self.start_waiting();
                Ok(())
            }
            _ => Err(SessionError::Unexpected("a message before its time")),
        }
    }

    /// Whether a message from the peer, not yet handled, brings a frame of commits.
    pub fn is_data(bytes: &[u8]) -> bool {
        take_number(bytes).is_some_and(|(_, message)| Message::is_data(message))
    }

    /// What the host found of a space; `None` where the peer may not know whether it exists.
    pub fn handle_opened(&mut self, slot: Slot, opened: Option<Opened>) {
        let Some(exchange) = self.slots.get_mut(&slot) else { return };
        let (space, yielded) = (exchange.space, exchange.yielded.take());
        if exchange.unasked && !opened.as_ref().is_some_and(|opened| opened.readable) {
            let met = if exchange.woken { self.met_in(slot, &space) } else { None };
            let Some(met) = met else { return self.leave_out(slot) };
            // The peer counts on hearing of it. It hears that it will not, and nothing that is new.
            self.send(&met);
            return self.shut(slot, true);
        }
        let Some(opened) = opened else {
            let Some(invite) = yielded else { return self.shut(slot, true) };
            // The peer may not read here; we may read there all the same.
            self.leave(slot, true);
            let _ = self.start(space, invite);
            return;
        };
        exchange.opened = true;
        // Who may not read learns not even what there is.
        let summary = if opened.readable { opened.summary } else { Summary::default() };
        let message = if exchange.by_peer {
            exchange.ready = opened.ready;
            exchange.behind = opened.ready;
            exchange.unconfirmed |= summary.past().is_some();
            Message::Have { slot, summary }
        } else {
            exchange.unconfirmed |= summary.past().is_some();
            let invite = exchange.invite.clone();
            let short = self.reopening(slot, &summary);
            if let Some(exchange) = self.slots.get_mut(&slot) {
                exchange.reopened = short.is_some();
            }
            short.unwrap_or(Message::Open { slot, space, invite, summary })
        };
        self.send(&message);
        self.no_longer_opening(slot);
        self.advance(slot);
    }

    /// What followed from the peer's summary.
    pub fn handle_heard(&mut self, slot: Slot, heard: Heard) {
        let Some(exchange) = self.slots.get_mut(&slot) else { return };
        if let Some(summary) = heard.answer
            && exchange.our_summaries < MAX_SLOT_SUMMARIES
        {
            exchange.our_summaries += 1;
            exchange.unconfirmed |= summary.past().is_some();
            self.send(&Message::Summary { slot, summary });
        }
        let Some(exchange) = self.slots.get_mut(&slot) else { return };
        // Of two summaries the last one counts, once it is understood.
        exchange.ready = heard.ready && !self.pending.contains(&slot);
        exchange.behind |= heard.ready;
        self.advance(slot);
    }

    /// The next frame of what the peer lacks; `None` if there is nothing more for now. `digest` and `heads` are ours now.
    /// Nothing at all where the peer may not read any more: then the space is closed, unless it was opened here on purpose,
    /// to receive.
    pub fn handle_read(&mut self, slot: Slot, read: Option<ReadFrame>) {
        let room = self.room();
        let Some(exchange) = self.slots.get_mut(&slot) else { return };
        if !exchange.reading {
            return;
        }
        let Some(read) = read.or_else(|| exchange.is_asked_for().then(ReadFrame::default)) else {
            return self.shut(slot, true);
        };
        exchange.reading = false;
        self.reading = self.reading.saturating_sub(1);
        match read.frame {
            Some(frame) => {
                exchange.sent += 1;
                if exchange.ended {
                    exchange.their_wants = 0;
                }
                let weight = frame.len().max(LEAST_FRAME);
                exchange.in_flight.push_back((exchange.sent, weight));
                exchange.unacked += weight;
                self.unacked += weight;
                exchange.behind = true;
                exchange.settled = false;
                let number = exchange.sent;
                self.send(&Message::Data { slot, number, frame, digest: read.digest });
            }
            // In the beginning, and whenever the peer asked, it is told that this was all; unless it asked after the read.
            None if !exchange.ended && !exchange.behind => {
                exchange.ended = true;
                // Heads that the peer has need no names.
                let known = [exchange.their_digest, exchange.their_past].contains(&Some(read.digest));
                let heads = if known { Vec::new() } else { read.heads };
                self.send(&Message::End { slot, digest: read.digest, heads });
            }
            None => {}
        }
        self.advance(slot);
        self.advance_others(room);
    }

    /// A frame is durable, but for what was refused.
    pub fn handle_ingested(&mut self, slot: Slot, number: u64, ingested: Ingested) {
        let Some(exchange) = self.slots.get_mut(&slot) else { return };
        let Ingested { mut refused, declined, orphaned, digest } = ingested;
        exchange.ingesting = exchange.ingesting.saturating_sub(1);
        let room = MAX_WANTED.saturating_sub(exchange.orphaned.len());
        exchange.orphaned.extend(orphaned.into_iter().take(room));
        refused.truncate(MAX_WANTED);
        self.send(&Message::Ack { slot, number, refused, digest });
        if let Some(Declined { reason, retry_after_ms }) = declined {
            self.send(&Message::Decline { slot, reason, retry_after_ms });
        }
        self.check(slot);
    }

    fn handle_hello(&mut self, version: u64, nonce: &[u8; 16]) -> Result<(), SessionError> {
        if version != PROTOCOL_VERSION {
            return Err(SessionError::Version(version));
        }
        self.their_nonce = *nonce;
        self.stage = Stage::Proof;
        // The dialer proves first. So each side has raised its limits before the other can send anything large.
        if self.role == Role::Dialer {
            self.prove();
        }
        Ok(())
    }

    fn prove(&mut self) {
        let parts = self.transcript(self.role, &self.their_nonce);
        let keys = self.keys.iter().take(MAX_PROOFS);
        let proofs = keys.map(|key| (key.id(), key.sign(Domain::AuthorProof, &[&parts]))).collect();
        self.send(&Message::Proof(proofs));
    }

    fn handle_proof(&mut self, proofs: &[(AuthorId, crate::sign::Signature)]) -> Result<(), SessionError> {
        let other = match self.role {
            Role::Dialer => Role::Listener,
            Role::Listener => Role::Dialer,
        };
        let parts = self.transcript(other, &self.their_nonce);
        for (author, signature) in proofs {
            if !verify(author, Domain::AuthorProof, &[&parts], signature) {
                return Err(SessionError::Proof);
            }
            self.proven.push(*author);
        }
        self.stage = Stage::Open;
        self.outputs.push_back(Output::Event(Event::Proven(self.proven.clone())));
        match self.role {
            Role::Dialer => self.start_waiting(),
            // What waits here is opened after the dialer's first message: then it is ready, too.
            Role::Listener => self.prove(),
        }
        Ok(())
    }

    fn start_waiting(&mut self) {
        self.heard = true;
        for (space, invite) in std::mem::take(&mut self.waiting) {
            let _ = self.start(space, invite);
        }
        self.start_pulls();
        self.start_questions();
        self.open_waiting();
    }

    fn handle_message(&mut self, message: Message) -> Result<(), SessionError> {
        match message {
            Message::Hello { .. } | Message::Proof(_) => Err(SessionError::Unexpected("a second greeting")),
            Message::Open { slot, space, invite, summary } => {
                self.take_slot(slot)?;
                if self.is_open_by_peer(&space) {
                    return Err(SessionError::Unexpected("a space that is open already"));
                }
                let invite = invite.filter(|invite| self.proven.contains(invite.joiner()));
                self.opened_by_peer(slot, Exchange::new(space, invite, true), summary)?;
                Ok(())
            }
            Message::Reopen { slot, item, digest, clock } => {
                self.take_slot(slot)?;
                self.handle_reopen(slot, item, digest, clock)
            }
            Message::Spaces { count, sum } => self.handle_spaces(count, sum),
            Message::Cells(cells) => self.handle_cells(cells),
            Message::More => self.handle_more(),
            Message::Rest { slot } => self.handle_rest(slot),
            Message::Have { slot, summary } => {
                let Some(exchange) = self.slots.get_mut(&slot) else { return Ok(()) };
                if exchange.by_peer || exchange.answered {
                    return Err(SessionError::Unexpected("a summary that nobody asked for"));
                }
                exchange.answered = true;
                exchange.they_have(&summary);
                self.outputs.push_back(Output::Ask(Ask::Hear { slot, theirs: summary }));
                Ok(())
            }
            Message::Summary { slot, summary } => {
                let Some(exchange) = self.slots.get_mut(&slot) else { return Ok(()) };
                exchange.their_summaries += 1;
                if !exchange.opened || !exchange.answered || exchange.their_summaries > MAX_SLOT_SUMMARIES {
                    return Err(SessionError::Unexpected("endless summaries"));
                }
                exchange.their_digest = Some(summary.digest);
                exchange.ready = false;
                self.outputs.push_back(Output::Ask(Ask::Hear { slot, theirs: summary }));
                Ok(())
            }
            Message::Data { slot, number, frame, digest } => {
                let Some(exchange) = self.slots.get_mut(&slot) else { return Ok(()) };
                if number != exchange.received + 1 {
                    return Err(SessionError::Unexpected("a frame out of turn"));
                }
                exchange.received = number;
                // News after the end: what it needs may be asked for as often as before.
                if !exchange.end_due && !exchange.stalled {
                    exchange.rounds = 0;
                }
                exchange.ingesting += 1;
                exchange.settled = false;
                exchange.their_digest = Some(digest);
                self.outputs.push_back(Output::Ask(Ask::Ingest { slot, number, frame, digest }));
                Ok(())
            }
            Message::Ack { slot, number, refused: _, digest } => {
                let room = self.room();
                let Some(exchange) = self.slots.get_mut(&slot) else { return Ok(()) };
                if number > exchange.sent || number <= exchange.acked {
                    return Err(SessionError::Unexpected("an acknowledgement of nothing"));
                }
                exchange.acked = number;
                exchange.their_digest = Some(digest);
                if number == exchange.sent {
                    self.outputs.push_back(Output::Ask(Ask::Acknowledged { slot, digest }));
                }
                let mut weight = 0;
                while let Some((_, sent)) = exchange.in_flight.pop_front_if(|(sent, _)| *sent <= number) {
                    weight += sent;
                }
                exchange.unacked = exchange.unacked.saturating_sub(weight);
                self.unacked = self.unacked.saturating_sub(weight);
                self.advance(slot);
                self.advance_others(room);
                Ok(())
            }
            Message::End { slot, digest, heads } => {
                let Some(exchange) = self.slots.get_mut(&slot) else { return Ok(()) };
                if !exchange.end_due {
                    return Err(SessionError::Unexpected("an end that nobody asked for"));
                }
                exchange.end_due = false;
                exchange.their_digest = Some(digest);
                exchange.their_end = Some((digest, heads));
                exchange.have_all = false;
                self.check(slot);
                Ok(())
            }
            Message::Want { slot, ids, again } => {
                let bodies = again.is_none();
                let Some(exchange) = self.slots.get_mut(&slot) else { return Ok(()) };
                if !exchange.ended {
                    return Err(SessionError::Unexpected("a wish before the end"));
                }
                exchange.their_wants += u32::from(!bodies);
                // The peer counts the frames that came, we those that left: it may see one round more as fruitful.
                let idle = if bodies { exchange.their_idle.wish(ids.len(), exchange.sent) } else { 0 };
                if exchange.their_wants > MAX_ROUNDS || idle > MAX_ROUNDS + 1 {
                    return Err(SessionError::Unexpected("endless wishes"));
                }
                exchange.behind = true;
                exchange.ended = false;
                exchange.settled = false;
                if !bodies {
                    // What it said of that was wrong.
                    exchange.their_past = None;
                }
                if !exchange.declined {
                    // Nothing is read, and no end said, before it is understood.
                    exchange.ready &= bodies;
                    self.outputs.push_back(Output::Ask(Ask::Want { slot, ids, again }));
                }
                self.advance(slot);
                Ok(())
            }
            Message::Decline { slot, reason, retry_after_ms } => {
                let Some(exchange) = self.slots.get_mut(&slot) else { return Ok(()) };
                exchange.declined = true;
                let space = exchange.space;
                self.outputs.push_back(Output::Event(Event::Declined(space, reason, retry_after_ms)));
                self.advance(slot);
                Ok(())
            }
            Message::Close { slot } => {
                if !self.open_plainly(slot) {
                    self.shut(slot, false);
                }
                Ok(())
            }
            Message::Pull { request, space, cursor, budget, wanted } => {
                self.handle_pull(request, space, cursor, budget, wanted)
            }
            Message::Pulled { request, frames, cursor, more } => {
                self.handle_fed_by_peer(request, Fed::Page { frames, cursor, more })
            }
            Message::Stale { request, cursor } => self.handle_fed_by_peer(request, Fed::Stale(cursor)),
            Message::Withheld { request } => self.handle_fed_by_peer(request, Fed::Withheld),
            Message::Request { number, request } => self.handle_request(number, request),
            Message::Discover { number, after } => self.handle_discover(number, after),
            Message::Answer { number, answer } => self.handle_answer_of_peer(number, answer),
            Message::Found { number, spaces, more } => self.handle_found_by_peer(number, spaces, more),
            Message::Changed(spaces) => {
                self.handle_changed_by_peer(spaces);
                Ok(())
            }
            Message::Shared { number, after, pass } => self.handle_shared(number, after, pass),
            Message::Find { number, lookup } => self.handle_find(number, lookup),
            Message::Located { number, located } => self.handle_located_by_peer(number, located),
        }
    }

    // The peer opens what we have opened and it has not answered: both did at once. The slot of the dialer stays.
    fn cross(&mut self, theirs: Slot, space: &SpaceId) -> Result<Cross, SessionError> {
        let own = self.slots.iter_mut().find(|(_, exchange)| !exchange.by_peer && exchange.space == *space);
        let Some((own, exchange)) = own else { return Ok(Cross::No) };
        if exchange.answered {
            return Err(SessionError::Unexpected("a space that is open already"));
        }
        if self.role == Role::Dialer {
            exchange.crossed = Some(theirs);
            return Ok(Cross::Ignore);
        }
        let (own, invite) = (*own, exchange.invite.clone());
        // If the dialer has closed its slot meanwhile, it has taken ours.
        self.leave(own, true);
        Ok(Cross::Yield(invite))
    }

    // The peer may open this slot.
    fn take_slot(&mut self, slot: Slot) -> Result<(), SessionError> {
        let theirs = slot.is_multiple_of(2) == (self.role == Role::Listener);
        let used = self.their_slot.is_some_and(|last| slot <= last);
        if !theirs || used || self.slots.len() >= MAX_SLOTS {
            return Err(SessionError::Unexpected("a slot that is not free"));
        }
        // Each costs a look at the space, also when it is closed again at once.
        self.their_opens += 1;
        if self.their_opens > MAX_OPENS {
            return Err(SessionError::Unexpected("a space that is opened without end"));
        }
        self.their_slot = Some(slot);
        Ok(())
    }

    fn is_open_by_peer(&self, space: &SpaceId) -> bool {
        self.slots.values().any(|exchange| exchange.by_peer && exchange.space == *space)
    }

    fn opened_by_peer(
        &mut self,
        slot: Slot,
        mut exchange: Exchange,
        summary: Summary,
    ) -> Result<(), SessionError> {
        match self.cross(slot, &exchange.space)? {
            Cross::Ignore => return Ok(()),
            Cross::Yield(invite) => exchange.yielded = Some(invite),
            Cross::No => {}
        }
        // Each costs an answer, however often it is closed in between.
        let opened = self.their_spaces.entry(exchange.space).or_default();
        *opened += 1;
        if *opened > MAX_REOPENS {
            return Err(SessionError::Unexpected("a space that is opened again and again"));
        }
        exchange.they_have(&summary);
        self.rouse(&exchange.space);
        self.slots.insert(slot, exchange);
        self.ask_open(slot, Some(summary));
        Ok(())
    }

    // `None` where it is open, or there is no room.
    fn start(&mut self, space: SpaceId, invite: Option<Pass>) -> Option<Slot> {
        if let Some(exchange) = self.slots.values().find(|exchange| exchange.space == space) {
            // Who asks now has not heard it.
            if exchange.settled {
                self.outputs.push_back(Output::Event(exchange.outcome()));
            }
            return None;
        }
        if self.slots.len() >= MAX_SLOTS || self.our_opens >= MAX_OPENS {
            self.outputs.push_back(Output::Event(Event::Closed(space)));
            return None;
        }
        self.rouse(&space);
        let slot = self.next_slot;
        self.next_slot += 2;
        self.our_opens += 1;
        self.slots.insert(slot, Exchange::new(space, invite, false));
        self.ask_open(slot, None);
        Some(slot)
    }

    fn ask_open(&mut self, slot: Slot, theirs: Option<Summary>) {
        let Some(exchange) = self.slots.get(&slot) else { return };
        let (space, invite, salt) = (exchange.space, exchange.invite.clone().map(Box::new), self.salt());
        let keys = self.proven.clone();
        self.outputs.push_back(Output::Ask(Ask::Open { slot, space, keys, invite, theirs, salt }));
    }

    fn salt(&self) -> Salt {
        let (ours, theirs) = (&self.nonce[..], &self.their_nonce[..]);
        Salt::new(&if self.role == Role::Dialer { [ours, theirs] } else { [theirs, ours] })
    }

    // Whatever can be done next for a slot: read on while the window is open, or find that all is settled.
    fn advance(&mut self, slot: Slot) {
        let room = self.room();
        let Some(exchange) = self.slots.get_mut(&slot) else { return };
        let ready = exchange.ready;
        if exchange.opened && exchange.answered && exchange.declined && !exchange.reading {
            // The other direction goes on, and its end waits for ours.
            exchange.behind = false;
            if !exchange.ended {
                exchange.ended = true;
                self.send(&Message::End { slot, digest: [0; 8], heads: Vec::new() });
            }
        }
        let Some(exchange) = self.slots.get_mut(&slot) else { return };
        let open = room && exchange.unacked < SEND_WINDOW;
        if ready && exchange.behind && !exchange.reading && open {
            exchange.behind = false;
            exchange.reading = true;
            self.reading += 1;
            self.outputs.push_back(Output::Ask(Ask::Read { slot }));
            return;
        }
        if ready && exchange.is_quiet() && exchange.ended && exchange.have_all && !exchange.settled {
            if exchange.unconfirmed {
                return self.confirm(slot);
            }
            exchange.settled = true;
            self.outputs.push_back(Output::Event(exchange.outcome()));
            self.make_room();
            self.open_held();
        }
    }

    // Whether one more frame fits into the window of all slots together.
    fn room(&self) -> bool {
        self.unacked + (self.reading + 1) * MAX_FRAME <= SESSION_WINDOW
    }

    // Where there was no room, other slots may wait for it.
    fn advance_others(&mut self, had_room: bool) {
        if had_room || !self.room() {
            return;
        }
        let slots: Vec<Slot> = self.slots.keys().copied().collect();
        for slot in slots {
            self.advance(slot);
        }
    }

    fn shut(&mut self, slot: Slot, tell: bool) {
        if let Some(space) = self.leave(slot, tell) {
            self.outputs.push_back(Output::Event(Event::Closed(space)));
        }
    }

    // Forgets a slot, whatever becomes of the space.
    fn leave(&mut self, slot: Slot, tell: bool) -> Option<SpaceId> {
        let room = self.room();
        let exchange = self.slots.remove(&slot)?;
        self.pending.retain(|pending| *pending != slot);
        self.unacked = self.unacked.saturating_sub(exchange.unacked);
        self.reading = self.reading.saturating_sub(usize::from(exchange.reading));
        for slot in tell.then_some(slot).into_iter().chain(exchange.crossed) {
            self.send(&Message::Close { slot });
        }
        self.outputs.push_back(Output::Ask(Ask::Forget { slot }));
        self.no_longer_opening(slot);
        self.advance_others(room);
        self.make_room();
        Some(exchange.space)
    }

    // What an author key signs: the role of the prover, both peers, both nonces; dialer first.
    fn transcript(&self, prover: Role, their_nonce: &[u8; 16]) -> Vec<u8> {
        let (ours, theirs) = ((&self.us, &self.nonce), (&self.them, their_nonce));
        let (dialer, listener) = if self.role == Role::Dialer { (ours, theirs) } else { (theirs, ours) };
        let role = if prover == Role::Dialer { 0 } else { 1 };
        [&[role][..], &dialer.0.0, &listener.0.0, dialer.1, listener.1].concat()
    }

    fn send(&mut self, message: &Message) {
        self.outputs.push_back(Output::Send(numbered(self.spoken, message)));
        self.spoken += 1;
    }
}

// What becomes of a slot that the peer opens.
enum Cross {
    // We did not open the space.
    No,
    // Ours stays.
    Ignore,
    // Theirs stays; ours was opened by this invite, if any.
    Yield(Option<Pass>),
}
