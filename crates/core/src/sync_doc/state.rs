//! What one side knows about one peer. Its encoding is Automerge's and holds only what outlives a connection.
//!
//! A state belongs to one graph and one peer, and, the encoded part aside, to one connection.

use std::collections::{BTreeSet, VecDeque};

use super::message::{Capability, Have};
use super::orphans::Orphans;
use super::wire::{Input, Wrong, put_hashes};
use crate::hash_graph::{HashGraphMut, NodeId, Position};

const TYPE: u8 = 0x43;

/// Calls in vain after which the first message is said again.
const FIRST_PATIENCE: u32 = 8;
const LAST_PATIENCE: u32 = 1024;

/// Messages of the peer that are remembered, to notice when it goes round in circles.
const REMEMBERED: usize = 16;

/// Where the exchange with one peer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The newest of what both are known to have, ascending.
    pub(super) shared_heads: Vec<NodeId>,
    /// What was shared before the peer seemed to have gone back: one old message is no loss, two are.
    pub(super) trusted: Vec<NodeId>,
    pub(super) last_sent_heads: Vec<NodeId>,
    pub(super) their: Option<Claims>,
    /// Sent in this session and not acknowledged.
    pub(super) sent: BTreeSet<Position>,
    /// Length of the graph when it was last seen: positions mean nothing in a graph that became shorter.
    pub(super) length: Position,
    /// A message was sent since the last one came.
    pub(super) in_flight: bool,
    pub(super) have_responded: bool,
    /// The peer said twice what shows that it has not heard our last message.
    pub(super) owes_answer: bool,
    /// What the last messages said, the newest first.
    pub(super) heard: VecDeque<[u8; 32]>,
    /// Messages in a row that brought nothing and said what had been said before.
    pub(super) fruitless: u32,
    /// Calls since the last message that had nothing new to say, and how many of them are enough.
    pub(super) waited: u32,
    pub(super) patience: u32,
    /// Rounds in which something was asked for that the peer took for known.
    pub(super) repairs: u32,
    /// Something that was shared is gone here, as the peer says or as our own record shows; and whether our heads stood
    /// in for a summary because of that.
    pub(super) lost: bool,
    pub(super) heads_said: bool,
    pub(super) capabilities: Option<Vec<Capability>>,
    pub(super) flags: bool,
    pub(super) read_only: bool,
    pub(super) peer_read_only: bool,
    pub(super) needs_reset: bool,
    pub(super) budget: usize,
    pub(super) orphans: Orphans,
    pub(super) summary: Option<Summary>,
}

/// What the peer said last, changes aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) heads: Vec<NodeId>,
    pub(super) need: Vec<NodeId>,
    pub(super) have: Vec<Have>,
}

/// A summary that was built, and for what: it stays true until the graph or what is shared changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) length: Position,
    pub(super) bits: u32,
    pub(super) have: Have,
}

/// Why bytes are no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeStateError {
    /// The first byte is another.
    #[error(
        "a sync state starts with one of {expected_one_of:?}, and this starts with {found}; begin with a new state"
    )]
    WrongType {
        /// What it may be.
        expected_one_of: Vec<u8>,
        /// What it is.
        found: u8,
    },
    /// They say something that cannot be.
    #[error("the sync state cannot be read: {0}; begin with a new state")]
    Parse(String),
    /// They end too early.
    #[error("the sync state is cut off; begin with a new state")]
    NotEnoughInput,
}

impl From<Wrong> for DecodeStateError {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Short => Self::NotEnoughInput,
            Wrong::Parse(reason) => Self::Parse(reason.into()),
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            shared_heads: Vec::new(),
            trusted: Vec::new(),
            last_sent_heads: Vec::new(),
            their: None,
            sent: BTreeSet::new(),
            length: 0,
            in_flight: false,
            have_responded: false,
            owes_answer: false,
            heard: VecDeque::new(),
            fruitless: 0,
            waited: 0,
            patience: FIRST_PATIENCE,
            repairs: 0,
            lost: false,
            heads_said: false,
            capabilities: None,
            flags: false,
            read_only: false,
            peer_read_only: false,
            needs_reset: false,
            budget: usize::MAX,
            orphans: Orphans::default(),
            summary: None,
        }
    }
}

impl State {
    /// For a peer of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same; and nothing that the peer sends is taken, while ours is sent to it.
    pub fn new_read_only() -> Self {
        Self { read_only: true, ..Self::default() }
    }

    /// Says that the peer runs this implementation: it is sent flags (read-only, reset), and gaps are repaired in one
    /// round. Automerge takes flags for leave to send whole documents, which nobody here can read. Not encoded.
    pub fn with_flags(mut self) -> Self {
        self.flags = true;
        self
    }

    /// Lets a message carry about so many bytes of changes, at least one change; the rest goes into the next ones.
    /// If left unset, a message carries all there is to send. Not encoded.
    pub fn with_budget(mut self, bytes: usize) -> Self {
        self.budget = bytes;
        self
    }

    /// The part that outlives a connection. To be decoded when the next one to this peer begins.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![TYPE];
        put_hashes(&mut out, &self.shared_heads);
        out
    }

    /// Reads what `encode` wrote, or Automerge's `encode`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeStateError> {
        let mut input = Input(bytes);
        let found = input.byte()?;
        if found != TYPE {
            return Err(DecodeStateError::WrongType { expected_one_of: vec![TYPE], found });
        }
        let mut shared_heads = input.hashes()?;
        shared_heads.sort_unstable();
        shared_heads.dedup();
        Ok(Self { shared_heads, ..Self::default() })
    }

    /// From now on, whether what the peer sends is left out. The peer hears of it with the next message; when changes
    /// are taken again it is asked for what was left out.
    pub fn set_read_only(&mut self, read_only: bool) {
        if self.read_only == read_only {
            return;
        }
        if read_only {
            self.read_only = true;
            self.in_flight = false;
            self.have_responded = false;
        } else {
            *self = Self {
                capabilities: self.capabilities.take(),
                flags: self.flags,
                budget: self.budget,
                needs_reset: true,
                ..Self::default()
            };
        }
    }

    /// Whether changes from the peer are left out.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether the peer said that it takes no changes.
    pub fn is_peer_read_only(&self) -> bool {
        self.peer_read_only
    }

    /// What the peer showed that it can do, if it sent flags.
    pub fn capabilities(&self) -> Option<&[Capability]> {
        self.capabilities.as_deref()
    }

    /// The newest of what both are known to have, ascending.
    pub fn shared_heads(&self) -> &[NodeId] {
        &self.shared_heads
    }

    /// The heads that the peer named last; `None` if it has said nothing yet.
    pub fn their_heads(&self) -> Option<&[NodeId]> {
        self.their.as_ref().map(|their| their.heads.as_slice())
    }

    /// Changes of this peer that wait for others before them.
    pub fn orphans(&self) -> usize {
        self.orphans.len()
    }

    /// Whether the peer is known to have all that `graph` has.
    pub fn has_our_changes<G: HashGraphMut + ?Sized>(&self, graph: &G) -> Result<bool, G::Error> {
        Ok(self.shared_heads == graph.heads()?)
    }

    /// Says that an answer is overdue: the next message repeats what was said, if anything is still unsettled. For
    /// callers with a clock; without one, calling `generate_sync_message` now and then does the same more slowly.
    pub fn retry(&mut self) {
        self.waited = self.patience;
    }

    /// Counts a call in vain; `true` if it was one too many.
    pub(super) fn is_overdue(&mut self) -> bool {
        self.waited = self.waited.saturating_add(1);
        if self.waited < self.patience {
            return false;
        }
        self.patience = self.patience.saturating_mul(2).min(LAST_PATIENCE);
        true
    }

    /// Takes down what a message said; `true` if the one before said the same.
    pub(super) fn note_heard(&mut self, said: [u8; 32], applied: bool) -> bool {
        if applied || !self.heard.contains(&said) {
            self.fruitless = 0;
            self.patience = FIRST_PATIENCE;
        } else {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        let repeated = self.heard.front() == Some(&said);
        self.heard.push_front(said);
        self.heard.truncate(REMEMBERED);
        repeated
    }

    pub(super) fn note_length(&mut self, length: Position) {
        if length < self.length {
            self.sent.clear();
            self.orphans.clear();
            self.summary = None;
        }
        self.length = length;
    }

    pub(super) fn peer_can_reset(&self) -> bool {
        self.capabilities().is_some_and(|capabilities| capabilities.contains(&Capability::SyncReset))
    }
}
