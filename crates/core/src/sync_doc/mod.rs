//! Automerge's sync protocol, over any `HashGraphMut`: two sides exchange messages until both have the same heads.
//!
//! It is a protocol of its own beside `session`, for documents that have no space, no rules and no signatures. It knows
//! no meaning of a change. Its messages of version 1 are Automerge's, byte for byte; what it does about messages that
//! are lost, repeated, late or hostile is its own, and described in `docs/sync-doc.md`.

mod wire;
mod bloom;
mod message;
mod orphans;
mod state;
mod generate;
mod receive;

pub use bloom::{BloomFilter, DecodeBloomError};
pub use message::{Capability, ChunkList, Have, Message, MessageFlags, MessageVersion, ReadMessageError};
pub use receive::{Received, Refusal};
pub use state::{DecodeStateError, State};

use crate::hash_graph::HashGraphMut;

/// A document that can take part. Every `HashGraphMut` is one.
///
/// Each side keeps one `State` for each peer, and goes on like this: receive a message if there is one, generate one if
/// there is something to say, send it. Both have the same when both have nothing more to say. One who calls
/// `generate_sync_message` now and then also when nothing came makes up for messages that were lost.
pub trait SyncDoc {
    /// Why the document cannot answer: its storage failed.
    type Error;

    /// The next message to the peer; `None` if there is nothing to say that it has not been told.
    fn generate_sync_message(&self, state: &mut State) -> Result<Option<Message>, Self::Error>;

    /// Takes a message of the peer. A change in it that cannot be taken does not keep out the others.
    fn receive_sync_message(&mut self, state: &mut State, message: Message) -> Result<(), Self::Error> {
        self.receive_sync_message_reporting(state, message).map(drop)
    }

    /// The same, and says what became of each change.
    fn receive_sync_message_reporting(
        &mut self,
        state: &mut State,
        message: Message,
    ) -> Result<Received, Self::Error>;
}

impl<G: HashGraphMut + ?Sized> SyncDoc for G {
    type Error = G::Error;

    fn generate_sync_message(&self, state: &mut State) -> Result<Option<Message>, G::Error> {
        generate::message(self, state)
    }

    fn receive_sync_message_reporting(
        &mut self,
        state: &mut State,
        message: Message,
    ) -> Result<Received, G::Error> {
        receive::message(self, state, message)
    }
}
