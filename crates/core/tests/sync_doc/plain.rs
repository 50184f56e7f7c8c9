//! A document of one test: changes are texts with parents, and each side of an exchange is a graph, an author and states.

use driftless_core::hash_graph::{Format, HashGraph, HashGraphMut, Inserted, MemoryGraph, NodeId, Parsed};
use driftless_core::sync_doc::{Message, State, SyncDoc};

/// parents (count, 32 bytes each) | author (8 bytes) | seq (8 bytes) | text
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plain;

impl Format for Plain {
    fn parse(&self, bytes: &[u8]) -> Result<Parsed, &'static str> {
        let (count, rest) = bytes.split_first().ok_or("empty")?;
        let (parents, rest) = rest.split_at_checked(usize::from(*count) * 32).ok_or("short")?;
        let (author, rest) = rest.split_first_chunk::<8>().ok_or("short")?;
        let (seq, text) = rest.split_first_chunk::<8>().ok_or("short")?;
        if text.starts_with(b"bad") {
            return Err("bad");
        }
        let id = *blake3::hash(bytes).as_bytes();
        let parents = parents.as_chunks::<32>().0.to_vec();
        Ok(Parsed { id, parents, author: Some((*author, u64::from_le_bytes(*seq))) })
    }
}

pub(crate) fn change(parents: &[NodeId], author: u8, seq: u64, text: &str) -> Vec<u8> {
    let mut bytes = vec![parents.len() as u8];
    bytes.extend(parents.iter().flatten());
    bytes.extend([author; 8]);
    bytes.extend(seq.to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

pub(crate) fn id_of(bytes: &[u8]) -> NodeId {
    *blake3::hash(bytes).as_bytes()
}

/// One side: a document.
#[derive(Debug, Clone)]
pub(crate) struct Doc {
    pub(crate) graph: MemoryGraph<Plain>,
    pub(crate) author: u8,
    pub(crate) seq: u64,
}

impl Doc {
    pub(crate) fn new(author: u8) -> Self {
        Self { graph: MemoryGraph::new(Plain), author, seq: 0 }
    }

    /// A copy that goes on under another author.
    pub(crate) fn fork(&self, author: u8) -> Self {
        Self { author, seq: 0, graph: self.graph.clone() }
    }

    /// A change on all heads.
    pub(crate) fn put(&mut self, text: &str) -> NodeId {
        let heads = self.heads();
        self.put_on(&heads, text)
    }

    /// So many changes, each on the one before.
    pub(crate) fn puts(&mut self, count: usize, name: &str) {
        for number in 0..count {
            self.put(&format!("{name} {number}"));
        }
    }

    pub(crate) fn put_on(&mut self, parents: &[NodeId], text: &str) -> NodeId {
        self.seq += 1;
        let bytes = change(parents, self.author, self.seq, text);
        let Ok(Inserted::New(_)) = self.graph.insert(&bytes) else { panic!("not inserted: {text}") };
        id_of(&bytes)
    }

    /// What the other has, by another way than messages.
    pub(crate) fn take_all(&mut self, from: &Self) {
        for (_, bytes) in from.graph.iter() {
            let Ok(Inserted::New(_) | Inserted::Known(_)) = self.graph.insert(bytes) else {
                panic!("not taken")
            };
        }
    }

    pub(crate) fn heads(&self) -> Vec<NodeId> {
        let Ok(heads) = self.graph.heads();
        heads
    }

    pub(crate) fn has(&self, id: &NodeId) -> bool {
        let Ok(at) = self.graph.position(id);
        at.is_some()
    }

    pub(crate) fn len(&self) -> u64 {
        self.graph.len()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(&bytes[1 + usize::from(bytes[0]) * 32 + 16..]).into_owned()
        };
        let mut texts: Vec<String> = self.graph.iter().map(|(_, bytes)| text(bytes)).collect();
        texts.sort();
        texts
    }

    pub(crate) fn has_text(&self, text: &str) -> bool {
        self.texts().iter().any(|known| known == text)
    }

    pub(crate) fn say(&self, state: &mut State) -> Option<Message> {
        let Ok(message) = self.graph.generate_sync_message(state);
        // What travels is bytes.
        message.map(|message| Message::decode(&message.encode()).unwrap())
    }

    pub(crate) fn hear(&mut self, state: &mut State, message: Message) {
        let Ok(()) = self.graph.receive_sync_message(state, message);
    }
}

/// Both sides at once, as in Automerge's own tests; how many messages it took.
pub(crate) fn sync(a: &mut Doc, b: &mut Doc, to_b: &mut State, to_a: &mut State) -> usize {
    let mut messages = 0;
    for _ in 0..30 {
        let (from_a, from_b) = (a.say(to_b), b.say(to_a));
        if from_a.is_none() && from_b.is_none() {
            return messages;
        }
        messages += usize::from(from_a.is_some()) + usize::from(from_b.is_some());
        from_a.into_iter().for_each(|message| b.hear(to_a, message));
        from_b.into_iter().for_each(|message| a.hear(to_b, message));
    }
    panic!("still talking after 30 rounds");
}

/// One after the other, `a` first; the messages, with who sent them.
pub(crate) fn alternate(a: &mut Doc, b: &mut Doc, to_b: &mut State, to_a: &mut State) -> Vec<Message> {
    let mut messages = Vec::new();
    for _ in 0..60 {
        let from_a = a.say(to_b);
        if let Some(message) = &from_a {
            messages.push(message.clone());
            b.hear(to_a, message.clone());
        }
        let from_b = b.say(to_a);
        if let Some(message) = &from_b {
            messages.push(message.clone());
            a.hear(to_b, message.clone());
        }
        if from_a.is_none() && from_b.is_none() {
            return messages;
        }
    }
    panic!("still talking after 60 rounds");
}

/// A new connection to the same peer.
pub(crate) fn reconnect(state: &State) -> State {
    State::decode(&state.encode()).unwrap()
}
