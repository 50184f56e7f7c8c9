//! A peer that lies: it speaks the real protocol with keys of its own, over memory or over HTTP, and says whatever a
//! script tells it to. It keeps every byte it hears, so that a script can look for what should not have been sent.

use std::sync::Arc;
use std::time::Duration;

use driftless::{Address, Database, Network};
use driftless_core::id::{AuthorId, PeerId, SpaceId};
use driftless_core::reconcile::Summary;
use driftless_core::session::{Message, Verdict, numbered, take_number};
use driftless_core::sign::{AuthorKey, Domain, NodeKey};
use driftless_net::{
    Connection, HttpOptions, HttpTransport, Listener, MAX_FRAME, MemoryNetwork, NetError, Transport,
};

/// The network of one script.
#[derive(Clone)]
pub(crate) enum Wire {
    Memory(MemoryNetwork),
    Http,
}

impl Wire {
    /// One of each, with its name.
    pub(crate) fn each() -> [(&'static str, Self); 2] {
        [("memory", Self::Memory(MemoryNetwork::new())), ("http", Self::Http)]
    }

    fn transport(&self, node: &NodeKey) -> Arc<dyn Transport> {
        match self {
            Self::Memory(network) => Arc::new(network.transport(node.id())),
            Self::Http => Arc::new(HttpTransport::new(node.clone(), HttpOptions::default())),
        }
    }

    /// Where somebody listens under this name.
    pub(crate) fn place(&self, name: &str) -> Address {
        match self {
            Self::Memory(_) => format!("memory:{name}").parse().unwrap(),
            Self::Http => "http://127.0.0.1:0".parse().unwrap(),
        }
    }

    /// Puts an honest database on the network.
    pub(crate) fn join(&self, db: &Database) -> Network {
        match self {
            Self::Memory(network) => {
                Network::over(db, Arc::new(network.transport(db.peer().unwrap()))).unwrap()
            }
            Self::Http => db.network().unwrap(),
        }
    }
}

/// A liar with a node key and an author key.
pub(crate) struct Byzantine {
    wire: Wire,
    node: NodeKey,
    pub(crate) key: AuthorKey,
}

impl Byzantine {
    pub(crate) fn new(wire: &Wire, seed: u8) -> Self {
        let (node, key) = (NodeKey::from_seed(&[seed; 32]), AuthorKey::from_seed(&[seed; 32]));
        Self { wire: wire.clone(), node, key }
    }

    /// One of very many.
    pub(crate) fn numbered(wire: &Wire, n: u32) -> Self {
        let mut seed = [70; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        Self { node: NodeKey::from_seed(&seed), ..Self::new(wire, 70) }
    }

    pub(crate) fn author(&self) -> AuthorId {
        self.key.id()
    }

    /// A connection that nothing was said on.
    pub(crate) async fn dial(&self, address: &Address) -> Talk {
        let connection = self.wire.transport(&self.node).dial(address).await.unwrap();
        Talk::new(connection, self.node.id())
    }

    /// A connection on which both sides have proven their keys.
    pub(crate) async fn greet(&self, address: &Address) -> Talk {
        let mut talk = self.dial(address).await;
        talk.greet(&self.key).await;
        talk
    }

    /// The same with a space open in slot 0: what the other side has of it, if it says so.
    pub(crate) async fn open(&self, address: &Address, space: SpaceId) -> Talk {
        let mut talk = self.greet(address).await;
        talk.open(0, space, Summary::default()).await;
        assert!(matches!(talk.hear().await, Some(Message::Have { .. })));
        talk
    }

    /// Waits for honest peers to dial.
    pub(crate) async fn listen(&self, name: &str) -> Box<dyn Listener> {
        self.wire.transport(&self.node).listen(&self.wire.place(name)).await.unwrap()
    }

    /// The next that dials, greeted.
    pub(crate) async fn accept(&self, listener: &mut dyn Listener) -> Talk {
        let mut talk = Talk::new(listener.accept().await.unwrap(), self.node.id());
        let theirs = talk.hellos().await;
        assert!(matches!(talk.hear().await, Some(Message::Proof(_))));
        talk.connection.receiver.limit(MAX_FRAME);
        talk.prove(&self.key, 1, &theirs).await;
        talk
    }

    /// The next that dials, greeted; the space that it opens, in its slot.
    pub(crate) async fn answer(&self, listener: &mut dyn Listener) -> (Talk, u64, SpaceId) {
        let mut talk = self.accept(listener).await;
        match talk.hear().await {
            Some(Message::Open { slot, space, .. }) => (talk, slot, space),
            other => panic!("{other:?}"),
        }
    }
}

const NONCE: [u8; 16] = [5; 16];

/// What one connection says and hears.
pub(crate) struct Talk {
    pub(crate) connection: Connection,
    us: PeerId,
    number: u64,
    pub(crate) spoken: u64,
    /// Every frame heard.
    pub(crate) heard: Vec<Vec<u8>>,
    /// Every frame said.
    pub(crate) said: Vec<Vec<u8>>,
}

impl Talk {
    fn new(connection: Connection, us: PeerId) -> Self {
        Self { connection, us, number: 0, spoken: 0, heard: Vec::new(), said: Vec::new() }
    }

    async fn hellos(&mut self) -> [u8; 16] {
        self.say(Message::Hello { version: 1, nonce: NONCE }).await;
        match self.hear().await {
            Some(Message::Hello { nonce, .. }) => nonce,
            other => panic!("no greeting: {other:?}"),
        }
    }

    async fn prove(&mut self, key: &AuthorKey, role: u8, theirs: &[u8; 16]) {
        let them = self.connection.peer;
        let signed = match role {
            0 => [&[role][..], &self.us.0, &them.0, &NONCE, theirs].concat(),
            _ => [&[role][..], &them.0, &self.us.0, theirs, &NONCE].concat(),
        };
        self.say(Message::Proof(vec![(key.id(), key.sign(Domain::AuthorProof, &[&signed]))])).await;
    }

    async fn greet(&mut self, key: &AuthorKey) {
        let theirs = self.hellos().await;
        self.prove(key, 0, &theirs).await;
        assert!(matches!(self.hear().await, Some(Message::Proof(_))));
        self.connection.receiver.limit(MAX_FRAME);
    }

    /// Says bytes; an error means that the other side has had enough.
    pub(crate) async fn say_bytes(&mut self, bytes: Vec<u8>) -> Result<(), NetError> {
        if self.said.len() < 1000 {
            self.said.push(bytes.clone());
        }
        self.connection.sender.send(bytes).await?;
        self.spoken += 1;
        Ok(())
    }

    /// Says a message, if the other side still listens.
    pub(crate) async fn say(&mut self, message: Message) -> bool {
        self.say_bytes(numbered(self.spoken, &message)).await.is_ok()
    }

    /// The next message; `None` when the other side has ended the connection.
    pub(crate) async fn hear(&mut self) -> Option<Message> {
        let bytes = tokio::time::timeout(Duration::from_secs(30), self.connection.receiver.recv()).await;
        let bytes = bytes.expect("silence").ok().flatten()?;
        let message = Message::decode(take_number(&bytes).unwrap().1).unwrap();
        self.heard.push(bytes);
        Some(message)
    }

    /// Whether the other side ends the connection, whatever else it says before.
    pub(crate) async fn is_cut_off(&mut self) -> bool {
        while let Some(message) = self.hear().await {
            drop(message);
        }
        true
    }

    pub(crate) async fn open(&mut self, slot: u64, space: SpaceId, summary: Summary) -> bool {
        self.say(Message::Open { slot, space, invite: None, summary }).await
    }

    /// Says a frame in slot 0, without waiting for what comes of it.
    pub(crate) async fn push(&mut self, frame: Vec<u8>) -> bool {
        self.push_in(0, frame).await
    }

    pub(crate) async fn push_in(&mut self, slot: u64, frame: Vec<u8>) -> bool {
        self.number += 1;
        self.say(Message::Data { slot, number: self.number, frame, digest: [7; 8] }).await
    }

    /// Says a frame in slot 0 and hears what of it was refused; `None` when it was cut off.
    pub(crate) async fn offer(&mut self, frame: Vec<u8>) -> Option<Vec<Verdict>> {
        if !self.push(frame).await {
            return None;
        }
        self.verdicts().await
    }

    /// The verdicts of the next acknowledgement.
    pub(crate) async fn verdicts(&mut self) -> Option<Vec<Verdict>> {
        loop {
            match self.hear().await? {
                Message::Ack { refused, .. } => return Some(refused),
                _ => continue,
            }
        }
    }

    /// Hears until a message is what the script waits for.
    pub(crate) async fn until(&mut self, found: impl Fn(&Message) -> bool) -> Option<Message> {
        loop {
            let message = self.hear().await?;
            if found(&message) {
                return Some(message);
            }
        }
    }
}
