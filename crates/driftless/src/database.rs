//! A handle to an open database, and whom it acts as: one lock, group commit, publishing. Clones share everything.
//!
//! A write stages under the lock; the last writer in line flushes for all who staged before it. Nobody hears of a
//! change, and no call returns, before what it tells of is durable (with `Durability::Batched` calls return earlier).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use driftless_core::broken::{Broken, is as is_broken};
use driftless_core::document_id::DocumentId;
use driftless_core::id::{AuthorId, PeerId, SpaceId};
use driftless_core::limits::MAX_AHEAD_MS;
use driftless_store::WriterLock;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keyring::acting::{Acting, Signer};
use crate::keyring::seal::PasswordCost;
use crate::state::changes::{Changes, Listeners};
use crate::state::engine::{Engine, Random, seeded};
use crate::state::failures::Failures;
use crate::state::inbox::Inbox;
use crate::tables::moved::Position;
use crate::tables::view::Source;

// Commits that one flush makes durable at most: bounds what waits for one fsync.
const GROUP: usize = 1000;
// How long the last in line waits for those who shared the last flush, before it flushes for itself and fewer: less than
// a flush takes on a fast disk.
const PATIENCE: Duration = Duration::from_micros(50);

/// When a write is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Before the call returns. Concurrent writers share one flush.
    #[default]
    Each,
    /// At most this long after the call returned; with `Duration::MAX` when `Database::flush` is called. Readable here at
    /// once; published, sent and acknowledged only after.
    Batched(Duration),
}

// In place of a number of flushes: there will be no more.
const STOPPED: u64 = u64::MAX;

/// An open database, and the user whom this handle acts as. Cheap to clone; all clones are the same database, and act as
/// the same user.
#[derive(Debug, Clone)]
pub struct Database {
    shared: Arc<Shared>,
    acting: Arc<Acting>,
    key: Option<AuthorId>,
}

/// A database that this handle does not keep open.
#[derive(Debug, Clone)]
pub(crate) struct WeakDatabase(Weak<Shared>, String);

impl WeakDatabase {
    /// The database, unless it was closed. It is for looking: its user has given no password.
    pub(crate) fn upgrade(&self) -> Option<Database> {
        self.0.upgrade().map(|shared| Database { shared, acting: Acting::locked(&self.1), key: None })
    }
}

struct Shared {
    engine: Mutex<Engine>,
    // How many flushes there were. A lock of its own: who waits for a flush must not stand in line for the engine.
    flushes: Mutex<u64>,
    flushed: Condvar,
    // Writers that wait for the lock: whoever holds it leaves the flush to them.
    in_line: AtomicUsize,
    // Writers of the flush to come that have left it to others, and writers of the last flush. Changed under the lock.
    left: AtomicUsize,
    shared_last: AtomicUsize,
    listeners: Listeners,
    // What writers need before they stand in line: who waits here is not seen to be coming.
    signers: RwLock<BTreeMap<String, Signer>>,
    // Log-ins that failed, of late.
    failures: Mutex<Failures>,
    cost: PasswordCost,
    ids: Mutex<Random>,
    durability: Durability,
    folder: Option<PathBuf>,
    // Freed with the last handle, or by the kernel with the process.
    _lock: Option<WriterLock>,
}

impl Database {
    pub(crate) fn start(
        engine: Engine,
        durability: Durability,
        cost: PasswordCost,
        folder: Option<PathBuf>,
        lock: Option<WriterLock>,
    ) -> Self {
        let mut engine = engine;
        let acting = engine.acting.clone();
        // The engine keeps nobody logged in.
        engine.acting = Acting::locked(&acting.name);
        let shared = Arc::new(Shared {
            signers: RwLock::new(engine.users.signers()),
            failures: Mutex::default(),
            cost,
            ids: Mutex::new(seeded(engine.random())),
            engine: Mutex::new(engine),
            flushes: Mutex::new(0),
            flushed: Condvar::new(),
            in_line: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            shared_last: AtomicUsize::new(1),
            listeners: Listeners::default(),
            durability,
            folder,
            _lock: lock,
        });
        if let Durability::Batched(interval) = durability
            && interval < Duration::MAX
        {
            let shared = Arc::downgrade(&shared);
            // Ends by itself when the last handle is gone.
            std::thread::spawn(move || flush_every(&shared, interval));
        }
        Self { shared, acting, key: None }
    }

    /// The name of the user whom this handle acts as.
    pub fn user(&self) -> Result<String, Error> {
        Ok(self.acting.name.clone())
    }

    /// The default key of the user: what others `grant` permissions to. It signs where no other key of the user is
    /// better; see `Space::author`.
    pub fn author(&self) -> Result<AuthorId, Error> {
        Ok(self.signer()?.default)
    }

    /// The key of the user, if no other could be better in some space.
    pub(crate) fn only_author(&self) -> Result<Option<AuthorId>, Error> {
        self.signer().map(|signer| signer.alone.then_some(signer.default))
    }

    fn signer(&self) -> Result<Signer, Error> {
        if let Some(key) = self.key {
            return Ok(Signer { default: key, alone: true });
        }
        let signers = self.shared.signers.read().map_err(|_| panicked())?;
        signers.get(&self.acting.name).copied().ok_or_else(|| Error::not_found("user", &self.acting.name))
    }

    /// Changes users or their keys.
    pub(crate) fn change_users<T>(
        &self,
        change: impl FnOnce(&mut Engine) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let done = self.write(change)?;
        let signers = self.read(|engine| Ok(engine.users.signers()))?;
        *self.shared.signers.write().map_err(|_| panicked())? = signers;
        Ok(done)
    }

    /// Whether another handle is to the same database, as whomever it acts.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// The same database, acting as somebody else.
    pub(crate) fn acting_as(&self, acting: Arc<Acting>) -> Self {
        Self { shared: self.shared.clone(), acting, key: None }
    }

    /// The same database and user, signing with one key only.
    pub(crate) fn signing_with(&self, key: AuthorId) -> Self {
        Self { key: Some(key), ..self.clone() }
    }

    pub(crate) fn acting(&self) -> &Arc<Acting> {
        &self.acting
    }

    pub(crate) fn failures(&self) -> MutexGuard<'_, Failures> {
        self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a password costs that is set now.
    pub(crate) fn cost(&self) -> PasswordCost {
        self.shared.cost
    }

    /// A new id for a document.
    pub(crate) fn new_id(&self) -> Result<DocumentId, Error> {
        let mut bytes = [0; 16];
        let mut ids = self.shared.ids.lock().map_err(|_| panicked())?;
        ids(&mut bytes);
        Ok(DocumentId::random(bytes))
    }

    /// The public half of this database's node key.
    pub fn peer(&self) -> Result<PeerId, Error> {
        Ok(self.engine()?.node.id())
    }

    /// 32 bytes for a purpose that only this database can compute, each time the same: for a program that has to know
    /// again what it made with this database, and was not made by somebody else.
    pub fn secret_for(&self, purpose: &str) -> Result<[u8; 32], Error> {
        let seed = Zeroizing::new(self.engine()?.node.seed());
        let mut hasher = blake3::Hasher::new_derive_key("driftless: a secret of this database for a purpose");
        Ok(*hasher.update(&*seed).update(purpose.as_bytes()).finalize().as_bytes())
    }

    /// The folder, unless the database is in memory.
    pub fn folder(&self) -> Option<&Path> {
        self.shared.folder.as_deref()
    }

    /// Hears of every change from now on.
    pub fn changes(&self) -> Changes {
        self.shared.listeners.listen()
    }

    /// An inbox for a live query on a collection of a space that stands at `position` or is past it.
    pub(crate) fn inbox(&self, space: SpaceId, collection: &str, position: Position) -> Arc<Inbox> {
        self.shared.listeners.inbox(space, collection, position)
    }

    /// A live query on this collection is gone.
    pub(crate) fn sweep_inboxes(&self, space: &SpaceId, collection: &str) {
        self.shared.listeners.sweep(space, collection);
    }

    /// What is wanted of spaces, or who the peers are, has changed.
    pub(crate) fn tell_settings(&self) {
        self.shared.listeners.tell_settings();
    }

    /// Hears of that.
    pub(crate) fn settings(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.listeners.settings()
    }

    pub(crate) fn downgrade(&self) -> WeakDatabase {
        WeakDatabase(Arc::downgrade(&self.shared), self.acting.name.clone())
    }

    /// Makes everything durable that `Durability::Batched` has not flushed yet.
    pub fn flush(&self) -> Result<(), Error> {
        let mut engine = self.engine()?;
        let done = engine.flush();
        self.finish(engine);
        done
    }

    /// Makes durable what was staged, so that somebody may be told that it was done.
    pub(crate) fn flush_if_staged(&self) -> Result<(), Error> {
        self.read_durable(|_| Ok(()))
    }

    /// Gives commits whose time has come their effect, and says how long it is until the next one. Every use of a space
    /// does the same for that space; whoever keeps a database open calls this now and then. `driftless serve` does.
    pub fn release_due(&self) -> Result<Option<Duration>, Error> {
        let earliest = |engine: &mut Engine| {
            let mut earliest = None;
            for summary in engine.summaries()?.iter().filter(|summary| summary.counts.held > 0) {
                engine.load(&summary.id)?;
                let first = engine.parts(&summary.id)?.1.held.first().copied();
                earliest = earliest.into_iter().chain(first.map(|(time, _)| (time, summary.id))).min();
            }
            Ok(earliest)
        };
        loop {
            let Some((time, space)) = self.read(earliest)? else { return Ok(None) };
            let now = self.read(|engine| Ok(engine.now()))?;
            if time.is_ahead_of(now) || !self.is_writable()? {
                let due = time.ms().saturating_sub(MAX_AHEAD_MS);
                return Ok(Some(Duration::from_millis(due.saturating_sub(now))));
            }
            self.write(|engine| engine.present(&space).map(drop))?;
        }
    }

    /// Bytes of the database file.
    pub fn bytes_on_disk(&self) -> Result<u64, Error> {
        self.read(|engine| Ok(engine.storage.size()?))
    }

    /// Reading handles: moves to the newest durable state; `true` if something changed.
    pub fn refresh(&self) -> Result<bool, Error> {
        let mut engine = self.engine()?;
        let changed = engine.refresh()?;
        if changed {
            *self.shared.signers.write().map_err(|_| panicked())? = engine.users.signers();
        }
        Ok(changed)
    }

    /// Reading handles: moves to the newest durable state, and says how many such states were seen.
    pub(crate) fn states_seen(&self) -> Result<u64, Error> {
        let mut engine = self.engine()?;
        engine.refresh()?;
        Ok(engine.flushes)
    }

    pub(crate) fn is_writable(&self) -> Result<bool, Error> {
        Ok(self.engine()?.writable)
    }

    /// Runs `stage` under the lock, and returns when what it staged is as durable as was chosen for this database.
    pub(crate) fn write<T>(&self, stage: impl FnOnce(&mut Engine) -> Result<T, Error>) -> Result<T, Error> {
        self.stage(stage, self.shared.durability)
    }

    /// The same, for what others are told of: it returns when what it staged is durable, whatever was chosen.
    pub(crate) fn write_durably<T>(
        &self,
        stage: impl FnOnce(&mut Engine) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let early = is_broken(Broken::AcknowledgedBeforeDurable);
        self.stage(stage, if early { self.shared.durability } else { Durability::Each })
    }

    /// The same, for what others are told of only after `flush_if_staged`: it returns at once, and may be taken back until
    /// then, which `Engine::undone` counts.
    pub(crate) fn write_unpromised<T>(
        &self,
        stage: impl FnOnce(&mut Engine) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let stage = |engine: &mut Engine| {
            let before = engine.staged;
            let result = stage(engine);
            engine.unpromised += engine.staged.saturating_sub(before);
            result
        };
        self.stage(stage, Durability::Batched(Duration::ZERO))
    }

    fn stage<T>(
        &self,
        stage: impl FnOnce(&mut Engine) -> Result<T, Error>,
        durability: Durability,
    ) -> Result<T, Error> {
        let shared = &*self.shared;
        shared.in_line.fetch_add(1, Ordering::SeqCst);
        let locked = self.engine();
        shared.in_line.fetch_sub(1, Ordering::SeqCst);
        // Declared before the guard, so that it wakes when the lock is free again.
        let _wake = WakeOnPanic(shared);
        let mut engine = locked?;
        engine.check()?;
        if !engine.writable {
            return Err(Error::ReadOnly);
        }
        let (before, unpromised) = (engine.staged, engine.unpromised);
        engine.source(Source::Local);
        // What is read before the first write belongs to the same transaction.
        engine.storage.begin()?;
        self.begin(&mut engine);
        let result = stage(&mut engine);
        self.end(&mut engine);
        if matches!(&result, Err(Error::Damaged(_))) && before == unpromised && engine.undo() {
            // Nobody else counts on what was staged: nothing of it happened, and the rest of the database can be used.
            return result;
        }
        if self.spoilt(&mut engine, before, &result) {
            return result;
        }
        if engine.staged == 0 {
            // Nothing came of it: the transaction ends, so that it does not stand open.
            engine.storage.commit()?;
            return result;
        }
        if matches!(durability, Durability::Batched(_)) && engine.staged < GROUP {
            return result;
        }
        if engine.staged >= GROUP || !shared.is_followed() {
            let flushed = engine.flush();
            self.finish(engine);
            return flushed.and(result);
        }
        // Somebody behind us flushes for us: the last in line always does, whatever comes of its own write.
        let mine = engine.flushes;
        shared.left.fetch_add(1, Ordering::SeqCst);
        drop(engine);
        if result.is_ok() {
            let mut flushes = shared.flushes.lock().map_err(|_| panicked())?;
            while *flushes <= mine {
                flushes = shared.flushed.wait(flushes).map_err(|_| panicked())?;
            }
            if *flushes == STOPPED {
                return self.engine()?.check().and(result);
            }
        }
        result
    }

    /// Runs `look` under the lock. Readers see what is staged here, which others do not see before it is durable.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&mut Engine) -> Result<T, Error>) -> Result<T, Error> {
        let mut engine = self.engine()?;
        engine.check()?;
        self.look(&mut engine, look)
    }

    /// As `read`, for what others are told of: all that `look` sees of the log is durable. What was staged before is made
    /// so first, under the same lock, so that nobody stages anything in between.
    pub(crate) fn read_durable<T>(
        &self,
        look: impl FnOnce(&mut Engine) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut engine = self.engine()?;
        engine.check()?;
        if engine.staged == 0 {
            return self.look(&mut engine, look);
        }
        let result = match engine.flush() {
            Ok(()) => self.look(&mut engine, look),
            Err(error) => Err(error),
        };
        self.finish(engine);
        result
    }

    fn look<T>(
        &self,
        engine: &mut Engine,
        look: impl FnOnce(&mut Engine) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (before, dirty) = (engine.staged, engine.view.is_dirty());
        engine.source(Source::Local);
        self.begin(engine);
        let result = look(engine);
        self.end(engine);
        // Also who only looks may find that something has become due, and stage that; or fold what others have staged.
        match &result {
            Err(Error::Damaged(_)) if !dirty && engine.staged == before => {}
            _ => _ = self.spoilt(engine, before, &result),
        }
        result
    }

    /// Looks at memory; `None` where somebody else holds the lock, or the database has stopped. Never waits.
    pub(crate) fn glance<T>(&self, look: impl FnOnce(&mut Engine) -> Option<T>) -> Option<T> {
        let mut engine = self.shared.engine.try_lock().ok()?;
        engine.check().ok()?;
        look(&mut engine)
    }

    // Whether storage failed in the middle of something: then neither the disk nor we know where we are.
    fn spoilt<T>(&self, engine: &mut Engine, staged_before: usize, result: &Result<T, Error>) -> bool {
        match result {
            Err(error) if error.is_answer() => return false,
            Err(error @ (Error::Io(_) | Error::Damaged(_))) if engine.writable => engine.poison(error),
            Err(error) if engine.staged > staged_before => engine.poison(error),
            _ => return false,
        }
        self.shared.tell(STOPPED);
        true
    }

    // What is done under the lock is done by the user of this handle.
    fn begin(&self, engine: &mut Engine) {
        engine.acting = self.acting.clone();
        engine.key = self.key;
    }

    // Nobody stays logged in for having been the last one.
    fn end(&self, engine: &mut Engine) {
        if engine.acting.is_unlocked() {
            engine.acting = Acting::locked(&self.acting.name);
        }
    }

    fn engine(&self) -> Result<MutexGuard<'_, Engine>, Error> {
        self.shared.engine.lock().map_err(|_| panicked())
    }

    // Publishes what is durable, after the lock is gone.
    fn finish(&self, mut engine: MutexGuard<'_, Engine>) {
        let changes = engine.take_outbox();
        self.shared.shared_last.store(self.shared.left.swap(0, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let flushes = if engine.poisoned.is_some() { STOPPED } else { engine.flushes };
        let turn = self.shared.listeners.turn();
        drop(engine);
        self.shared.tell(flushes);
        turn.publish(changes);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Shared {
    // Whether somebody stands in line who will flush for all. Writers that the last flush woke are on their way with
    // their next writes, and flushing again before they are here would take as long as for all of them.
    fn is_followed(&self) -> bool {
        let is_followed = || self.in_line.load(Ordering::SeqCst) > 0;
        if is_followed() {
            return true;
        }
        if self.left.load(Ordering::SeqCst) + 1 >= self.shared_last.load(Ordering::SeqCst) {
            return false;
        }
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            std::thread::yield_now();
            if is_followed() {
                return true;
            }
        }
        false
    }

    // Tells writers who wait how far flushes have come.
    fn tell(&self, flushes: u64) {
        if let Ok(mut done) = self.flushes.lock() {
            *done = (*done).max(flushes);
        }
        self.flushed.notify_all();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Ok(engine) = self.engine.get_mut() {
            // What a batched handle has not flushed yet; an error here has nobody left to hear it.
            let _ = engine.flush();
            let changes = engine.take_outbox();
            self.listeners.turn().publish(changes);
        }
        self.listeners.close();
    }
}

// Writers that left their flush to a thread which panicked must not wait for it.
struct WakeOnPanic<'s>(&'s Shared);

impl Drop for WakeOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.tell(STOPPED);
        }
    }
}

fn panicked() -> Error {
    Error::Poisoned("a thread that was writing stopped".into())
}

fn flush_every(shared: &Weak<Shared>, interval: Duration) {
    loop {
        std::thread::sleep(interval);
        let Some(shared) = shared.upgrade() else { return };
        let database = Database { shared, acting: Acting::locked(""), key: None };
        // A failed flush has poisoned the database; the next call says so.
        if database.flush().is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    // A writer that leaves its flush to somebody in line, and what became of it.
    fn waiting_writer() -> (Database, Receiver<Result<(), Error>>) {
        let db = Database::memory().unwrap();
        db.shared.in_line.fetch_add(1, Ordering::SeqCst);
        let (answer, answered) = channel();
        let writer = db.clone();
        std::thread::spawn(move || answer.send(writer.create_space("home").map(drop)));
        while db.engine().unwrap().staged == 0 {
            std::thread::yield_now();
        }
        (db, answered)
    }

    #[test]
    fn a_waiting_writer_hears_of_every_flush() {
        let (db, answered) = waiting_writer();
        db.flush().unwrap();
        assert!(answered.recv_timeout(Duration::from_secs(60)).unwrap().is_ok());
    }

    #[test]
    fn a_writer_whom_nobody_follows_flushes_for_itself() {
        let db = Database::memory().unwrap();
        // The last flush was for many, of whom none comes back.
        db.shared.shared_last.store(32, Ordering::SeqCst);
        let before = db.engine().unwrap().flushes;
        db.create_space("home").unwrap();
        assert_eq!(db.engine().unwrap().flushes, before + 1);
        // Nor is any waited for again.
        assert_eq!(db.shared.shared_last.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_waiting_writer_hears_of_a_panic() {
        let (db, answered) = waiting_writer();
        let panicking = db.clone();
        let panicked = std::thread::spawn(move || drop(panicking.write::<()>(|_| panic!("on purpose"))));
        assert!(panicked.join().is_err());
        let answer = answered.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(matches!(answer, Err(Error::Poisoned(_))), "{answer:?}");
        assert!(matches!(db.create_space("other"), Err(Error::Poisoned(_))));
    }
}
