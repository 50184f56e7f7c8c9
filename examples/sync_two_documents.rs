//! Two documents come together by `SyncDoc`: each a map, whose changes are lines `key=value` in a graph in memory.
#![allow(clippy::print_stdout)]

use driftless_core::hash_graph::{Format, HashGraph, HashGraphMut, MemoryGraph, NodeId, Parsed};
use driftless_core::sync_doc::{State, SyncDoc};

/// A change is: the number of its parents, their ids, and `key=value`.
#[derive(Default)]
struct Lines;

impl Format for Lines {
    fn parse(&self, bytes: &[u8]) -> Result<Parsed, &'static str> {
        let (count, rest) = bytes.split_first().ok_or("empty")?;
        let (parents, line) = rest.split_at_checked(usize::from(*count) * 32).ok_or("cut off")?;
        if !line.contains(&b'=') {
            return Err("no key=value");
        }
        let parents: Vec<NodeId> = parents.as_chunks::<32>().0.to_vec();
        Ok(Parsed { id: *blake3::hash(bytes).as_bytes(), parents, author: None })
    }
}

fn put(doc: &mut MemoryGraph<Lines>, key: &str, value: &str) {
    let Ok(heads) = doc.heads();
    let change =
        [&[heads.len() as u8][..], heads.as_flattened(), format!("{key}={value}").as_bytes()].concat();
    let Ok(_) = doc.insert(&change);
}

fn get(doc: &MemoryGraph<Lines>, key: &str) -> Option<String> {
    let line = |bytes: &[u8]| String::from_utf8_lossy(&bytes[1 + usize::from(bytes[0]) * 32..]).into_owned();
    doc.iter().filter_map(|(_, bytes)| Some(line(bytes).strip_prefix(key)?.strip_prefix('=')?.into())).last()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut peer1, mut peer2) = (MemoryGraph::new(Lines), MemoryGraph::new(Lines));
    put(&mut peer1, "key", "value");
    put(&mut peer2, "other", "written apart");

    let (mut peer1_state, mut peer2_state) = (State::new(), State::new());
    loop {
        let one_to_two = peer1.generate_sync_message(&mut peer1_state)?;
        if let Some(message) = one_to_two.clone() {
            println!("one to two: {} bytes", message.encode().len());
            peer2.receive_sync_message(&mut peer2_state, message)?;
        }
        let two_to_one = peer2.generate_sync_message(&mut peer2_state)?;
        if let Some(message) = two_to_one.clone() {
            println!("two to one: {} bytes", message.encode().len());
            peer1.receive_sync_message(&mut peer1_state, message)?;
        }
        if one_to_two.is_none() && two_to_one.is_none() {
            break;
        }
    }
    println!("key at the second: {:?}", get(&peer2, "key"));
    assert_eq!(get(&peer2, "key").as_deref(), Some("value"));
    Ok(())
}
