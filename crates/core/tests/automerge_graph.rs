//! Automerge documents behind `HashGraph`: two of them, and one with Automerge's own protocol on the other side.

use automerge::sync::{self as real, SyncDoc as _};
use automerge::transaction::Transactable;
use automerge::{AutoCommit, ROOT, ReadDoc};
use driftless_core::hash_graph::AutomergeGraph;
use driftless_core::sync_doc::{Message, State, SyncDoc};

fn put(graph: &mut AutomergeGraph, key: &str) {
    graph.edit(|doc| doc.put(ROOT, key, "value")).unwrap();
}

fn value(doc: &AutoCommit, key: &str) -> Option<String> {
    doc.get(ROOT, key).unwrap().map(|(value, _)| value.to_string())
}

#[test]
fn two_automerge_documents_meet() {
    let mut a = AutomergeGraph::new(AutoCommit::new());
    let mut b = AutomergeGraph::new(AutoCommit::new());
    put(&mut a, "a");
    put(&mut b, "b");
    let (mut to_b, mut to_a) = (State::new(), State::new());
    for _ in 0..10 {
        if let Ok(Some(message)) = a.generate_sync_message(&mut to_b) {
            let Ok(()) = SyncDoc::receive_sync_message(&mut b, &mut to_a, message);
        }
        if let Ok(Some(message)) = b.generate_sync_message(&mut to_a) {
            let Ok(()) = SyncDoc::receive_sync_message(&mut a, &mut to_b, message);
        }
    }
    assert!(value(a.document(), "b").is_some());
    assert_eq!(value(a.document(), "b"), value(b.document(), "b"));
    assert_eq!(value(a.document(), "a"), value(b.document(), "a"));
    assert_eq!(to_b.has_our_changes(&a), Ok(true));
}

#[test]
fn an_automerge_document_meets_automerge() {
    let mut ours = AutomergeGraph::new(AutoCommit::new());
    put(&mut ours, "ours");
    let mut theirs = AutoCommit::new();
    theirs.put(ROOT, "theirs", 1).unwrap();
    let (mut state, mut their_state) = (State::new(), real::State::new());
    for _ in 0..10 {
        if let Ok(Some(message)) = ours.generate_sync_message(&mut state) {
            let message = real::Message::decode(&message.encode()).unwrap();
            theirs.sync().receive_sync_message(&mut their_state, message).unwrap();
        }
        if let Some(message) = theirs.sync().generate_sync_message(&mut their_state) {
            let message = Message::decode(&message.encode()).unwrap();
            let Ok(()) = SyncDoc::receive_sync_message(&mut ours, &mut state, message);
        }
    }
    assert!(value(ours.document(), "theirs").is_some());
    assert_eq!(value(&theirs, "ours"), value(ours.document(), "ours"));
}
