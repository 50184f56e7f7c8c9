//! The seam between database and storage, under a recorder: it keeps every call that changes something, so that a crash
//! can give back the transactions that were committed, and nothing of the one that was not.

use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftless::Durability;
use driftless_store::{Document, DocumentVisitor, Key, Order, RowVisitor, Storage, StorageError, Table};

use crate::recorded::{Stand, VERIFY, allowed, examine};
use crate::verify::dump;
use crate::workload::{Hand, Received, bundle, script, send};
use crate::{is_full, say};

type Change = Arc<dyn Fn(&mut dyn Storage) -> Result<(), StorageError> + Send + Sync>;

#[derive(Clone)]
enum Call {
    Change(Change),
    Commit,
    Rollback,
}

type Calls = Arc<Mutex<Vec<Call>>>;

/// Hands everything on, and writes it down before.
pub(crate) struct Recorder {
    inner: Box<dyn Storage>,
    calls: Calls,
    fails: bool,
}

impl Recorder {
    /// Fails at its first write.
    pub(crate) fn failing(inner: Box<dyn Storage>) -> Self {
        Self { inner, calls: Calls::default(), fails: true }
    }

    fn note(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }

    fn change(
        &mut self,
        change: impl Fn(&mut dyn Storage) -> Result<(), StorageError> + Send + Sync + 'static,
    ) -> Result<(), StorageError> {
        if self.fails {
            return Err(StorageError::Full);
        }
        let change: Change = Arc::new(change);
        self.note(Call::Change(change.clone()));
        change(self.inner.as_mut())
    }
}

// A key of its own, and the way back.
enum OwnKey {
    U64(u64),
    Bytes(Vec<u8>),
}

impl OwnKey {
    fn of(key: Key<'_>) -> Self {
        match key {
            Key::U64(number) => Self::U64(number),
            Key::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }

    fn key(&self) -> Key<'_> {
        match self {
            Self::U64(number) => Key::U64(*number),
            Self::Bytes(bytes) => Key::Bytes(bytes),
        }
    }
}

impl Storage for Recorder {
    fn get(&self, table: &Table, key: Key<'_>) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get(table, key)
    }

    fn put(&mut self, table: &Table, key: Key<'_>, value: &[u8]) -> Result<(), StorageError> {
        let (table, key, value) = (*table, OwnKey::of(key), value.to_vec());
        self.change(move |storage| storage.put(&table, key.key(), &value))
    }

    fn remove(&mut self, table: &Table, key: Key<'_>) -> Result<(), StorageError> {
        let (table, key) = (*table, OwnKey::of(key));
        self.change(move |storage| storage.remove(&table, key.key()))
    }

    fn range(
        &self,
        table: &Table,
        from: Bound<Key<'_>>,
        to: Bound<Key<'_>>,
        order: Order,
        visit: &mut RowVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.inner.range(table, from, to, order, visit)
    }

    fn declare_collection(&mut self, number: u64, space: &str, name: &str) -> Result<(), StorageError> {
        let (space, name) = (space.to_owned(), name.to_owned());
        self.change(move |storage| storage.declare_collection(number, &space, &name))
    }

    fn upsert(&mut self, document: &Document<'_>) -> Result<(), StorageError> {
        let Document { number, collection, id, deleted, json, state } = *document;
        let (id, json, state) = (id.to_owned(), json.to_owned(), state.to_vec());
        self.change(move |storage| {
            storage.upsert(&Document { number, collection, id: &id, deleted, json: &json, state: &state })
        })
    }

    fn remove_document(&mut self, number: u64) -> Result<(), StorageError> {
        self.change(move |storage| storage.remove_document(number))
    }

    fn document(&self, number: u64, visit: &mut dyn FnMut(&Document<'_>)) -> Result<bool, StorageError> {
        self.inner.document(number, visit)
    }

    fn document_by_id(
        &self,
        collection: u64,
        id: &str,
        visit: &mut dyn FnMut(&Document<'_>),
    ) -> Result<bool, StorageError> {
        self.inner.document_by_id(collection, id, visit)
    }

    fn scan(
        &self,
        collection: u64,
        after: Option<u64>,
        visit: &mut DocumentVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.inner.scan(collection, after, visit)
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        self.note(Call::Commit);
        self.inner.commit()
    }

    fn rollback(&mut self) -> Result<(), StorageError> {
        self.note(Call::Rollback);
        self.inner.rollback()
    }

    fn refresh(&mut self) -> Result<bool, StorageError> {
        self.inner.refresh()
    }

    fn size(&self) -> Result<u64, StorageError> {
        self.inner.size()
    }
}

// What a crash leaves of these calls: the transactions that were ended, whole.
fn replay(calls: &[Call], storage: &mut dyn Storage) {
    for call in calls {
        match call {
            Call::Change(change) => change(storage).unwrap(),
            Call::Commit => storage.commit().unwrap(),
            Call::Rollback => storage.rollback().unwrap(),
        }
    }
    storage.rollback().unwrap();
}

#[test]
fn a_crash_at_any_call_of_the_storage_keeps_whole_transactions() {
    let (calls, hand) = (Calls::default(), Hand::new());
    let kept = calls.clone();
    let db = hand
        .builder(0)
        // What a step does becomes durable with the flush after it.
        .durability(Durability::Batched(Duration::from_secs(3600)))
        .wrap_storage(move |inner| Box::new(Recorder { inner, calls: kept, fails: false }))
        .memory()
        .unwrap();
    let (mut received, mut round, mut stands) = (Received::new(), 0, Vec::<Stand>::new());
    stands.push(Stand::nothing());
    for step in script(1).iter().flat_map(|session| &session.steps) {
        hand.set(stands.len());
        send(step, &db, &mut round, &mut received);
        step.run(&db, &received).unwrap();
        db.flush().unwrap();
        stands.push(Stand {
            after: step.name,
            dump: Arc::new(dump(&db).unwrap()),
            told: Some(Arc::new(bundle(&db.space("home").unwrap()))),
            acknowledged: calls.lock().unwrap().len(),
            ..Stand::nothing()
        });
    }
    let calls = calls.lock().unwrap().clone();
    let every = if is_full() { 1 } else { calls.len() / 100 + 1 };
    let mut points = 0;
    for at in 0..=calls.len() {
        // Around a commit is where something could be lost; elsewhere a sample will do.
        let at_commit = at > 0 && matches!(calls.get(at - 1), Some(Call::Commit));
        if at % every != 0 && !at_commit {
            continue;
        }
        points += 1;
        let left = calls.get(..at).unwrap_or_default().to_vec();
        let reopened = hand
            .builder(1000)
            .wrap_storage(move |mut inner| {
                replay(&left, inner.as_mut());
                inner
            })
            .memory()
            .unwrap();
        let allowed = allowed(&stands, at);
        if let Err(why) = examine(&reopened, allowed, VERIFY) {
            panic!("crash after call {at} of {}, after {:?}: {why}", calls.len(), allowed[0].after);
        }
    }
    say(&format!("seam: {points} crash points of {} calls, all passed", calls.len()));
}
