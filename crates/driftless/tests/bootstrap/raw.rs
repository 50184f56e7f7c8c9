//! A peer that says what it likes, over a network in memory.

use std::time::Duration;

use driftless::{Address, PeerId, SpaceId};
use driftless_core::session::{AccessRequest, Message, numbered, take_number};
use driftless_core::sign::{AuthorKey, Domain, Signature};
use driftless_net::{Connection, MAX_FRAME, MemoryNetwork, Transport};

pub(crate) struct Raw {
    us: PeerId,
    connection: Connection,
    spoken: u64,
    nonces: [[u8; 16]; 2],
}

impl Raw {
    /// Both have said hello.
    pub(crate) async fn hello(net: &MemoryNetwork, us: PeerId, at: &Address, nonce: [u8; 16]) -> Self {
        let connection = net.transport(us).dial(at).await.unwrap();
        let mut raw = Self { us, connection, spoken: 0, nonces: [nonce, [0; 16]] };
        raw.say(Message::Hello { version: 1, nonce }).await;
        let Some(Message::Hello { nonce, .. }) = raw.hear().await else { panic!("no greeting") };
        raw.nonces[1] = nonce;
        raw
    }

    /// The proof of a key for this connection.
    pub(crate) fn proof(&self, key: &AuthorKey) -> Signature {
        let signed = [&[0][..], &self.us.0, &self.connection.peer.0, &self.nonces[0], &self.nonces[1]];
        key.sign(Domain::AuthorProof, &[&signed.concat()])
    }

    /// Proves keys; whether they were taken.
    pub(crate) async fn prove(&mut self, proofs: Vec<(driftless::AuthorId, Signature)>) -> bool {
        self.say(Message::Proof(proofs)).await;
        let taken = matches!(self.hear().await, Some(Message::Proof(_)));
        self.connection.receiver.limit(MAX_FRAME);
        taken
    }

    pub(crate) async fn greet(net: &MemoryNetwork, us: PeerId, at: &Address, key: &AuthorKey) -> Self {
        let mut raw = Self::hello(net, us, at, [5; 16]).await;
        let proof = raw.proof(key);
        assert!(raw.prove(vec![(key.id(), proof)]).await);
        raw
    }

    pub(crate) async fn say(&mut self, message: Message) {
        let bytes = numbered(self.spoken, &message);
        self.spoken += 1;
        // That the other side has ended is heard.
        let _ = self.connection.sender.send(bytes).await;
    }

    /// The bytes of the next message, without their number; none if the connection has ended.
    pub(crate) async fn bytes(&mut self) -> Option<Vec<u8>> {
        let bytes = tokio::time::timeout(Duration::from_secs(30), self.connection.receiver.recv()).await;
        Some(take_number(&bytes.expect("silence").ok().flatten()?)?.1.to_vec())
    }

    pub(crate) async fn hear(&mut self) -> Option<Message> {
        self.bytes().await.map(|bytes| Message::decode(&bytes).unwrap())
    }

    pub(crate) async fn ask(
        &mut self,
        number: u64,
        space: SpaceId,
        key: &AuthorKey,
        permission: driftless::Permission,
    ) -> Option<Vec<u8>> {
        let request = AccessRequest { space, author: key.id(), permission, note: "hello".into() };
        self.say(Message::Request { number, request }).await;
        self.bytes().await
    }
}
