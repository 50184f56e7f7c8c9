//! Databases whose clock and randomness the test decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{Database, Filter, Imported, Map, Space, Value};

/// 2026-01-01T00:00:00Z
pub(crate) const START: u64 = 1_767_225_600_000;

/// A clock that goes when told.
#[derive(Debug, Clone)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    /// Somebody sets the clock of the machine back.
    pub(crate) fn set_back(&self, ms: u64) {
        self.0.fetch_sub(ms, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A database in memory, the same in every run.
pub(crate) fn database(seed: u8, hand: &Hand) -> Database {
    let hand = hand.clone();
    Database::builder().seed([seed; 32]).clock(move || hand.now()).memory().unwrap()
}

/// A database in a folder, the same in every run; to be opened again with another `seed`.
pub(crate) fn folder(seed: u8, hand: &Hand, at: &std::path::Path) -> Database {
    let hand = hand.clone();
    Database::builder().seed([seed; 32]).clock(move || hand.now()).open(at).unwrap()
}

/// Fields from JSON.
pub(crate) fn map(json: &str) -> Map {
    Map::from_json(json).unwrap()
}

/// A filter from JSON.
pub(crate) fn filter(json: &str) -> Filter {
    Filter::parse(json).unwrap()
}

/// The whole space as a bundle.
pub(crate) fn bundle(space: &Space) -> Vec<u8> {
    let mut bytes = Vec::new();
    space.export(&mut bytes, &mut |_| {}).unwrap();
    bytes
}

/// Takes a bundle.
pub(crate) fn import(into: &Database, bytes: &[u8]) -> Imported {
    into.import(&mut &*bytes, &mut |_| {}).unwrap()
}

/// Everything `from` has of a space goes to `to`.
pub(crate) fn send(from: &Space, to: &Database) -> Space {
    import(to, &bundle(from));
    to.space(&from.id().to_string()).unwrap()
}

/// One field of a document.
pub(crate) fn field(space: &Space, collection: &str, id: &driftless::DocumentId, key: &str) -> Option<Value> {
    space.collection(collection).unwrap().get(id).unwrap()?.fields.get(key).cloned()
}
