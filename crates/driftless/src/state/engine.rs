//! The state of an open database behind its lock: storage, spaces in memory, the clock, the keys, what waits for a flush.
//!
//! Single-threaded. It stages; `flush` makes durable; publishing is done by `database` after the lock is gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use driftless_core::clock::Clock;
use driftless_core::id::{AuthorId, PeerId, SpaceId};
use driftless_core::sign::{AuthorKey, NodeKey};
use driftless_store::{Key, Order, Storage};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keyring::acting::{Acting, Users};
use crate::keyring::seal::{NONCE, WrappingKey};
use crate::keyring::user::{self, User};
use crate::state::changes::{Change, DocumentChange};
use crate::state::fork::Copied;
use crate::state::guard::{self, Guards, STORE_ID};
use crate::state::met::Met;
use crate::state::readers::Readers;
use crate::state::replica::{Replica, Summary};
use crate::state::serving::Callbacks;
use crate::tables::agreed::Meetings;
use crate::tables::collections::Collections;
use crate::tables::layout;
use crate::tables::moved::{Journal, Position};
use crate::tables::pack::Packed;
use crate::tables::refused::Room;
use crate::tables::requests::Requests;
use crate::tables::view::{Source, View};
use crate::walk;

/// Wall-clock milliseconds, from the system or from a simulator.
pub(crate) type Now = Box<dyn Fn() -> u64 + Send>;
/// Random bytes, from the system or from a seed.
pub(crate) type Random = Box<dyn FnMut(&mut [u8]) + Send>;

// Spaces kept in memory at once; the least useful go when there are more and nothing is staged.
const LOADED: usize = 1024;

pub(crate) struct Engine {
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) writable: bool,
    pub(crate) clock: Clock,
    pub(crate) view: View,
    pub(crate) collections: Collections,
    pub(crate) replicas: HashMap<SpaceId, Replica>,
    pub(crate) users: Users,
    /// Whom the present call acts as, and the key that it is to sign with, if not the best one.
    pub(crate) acting: Arc<Acting>,
    pub(crate) key: Option<AuthorId>,
    /// Own keys with which another copy of this database was met: nothing more is signed with them.
    pub(crate) copied: BTreeMap<AuthorId, Copied>,
    pub(crate) node: NodeKey,
    /// What connections came to since the database was opened.
    pub(crate) met: HashMap<PeerId, Met>,
    /// Where this database and its peers last had the same.
    pub(crate) agreed: Meetings,
    /// Where nothing may be written with the own key.
    pub(crate) guards: Guards,
    pub(crate) poisoned: Option<String>,
    /// For what is refused.
    pub(crate) room: Room,
    /// Who asked for access.
    pub(crate) requests: Requests,
    /// Who may read which spaces, once a peer has asked.
    pub(crate) readers: Readers,
    /// What the program has a say in who is served by.
    pub(crate) callbacks: Callbacks,
    /// Commits that gained or lost their effect after they had come.
    pub(crate) journal: Journal,
    /// How many bodies came after their commits: peers that wait for some look whether theirs are among them.
    pub(crate) late: u64,
    /// Spaces and mailboxes that are being exchanged.
    pub(crate) exchanging: BTreeSet<[u8; 48]>,
    /// Commits staged since the last flush.
    pub(crate) staged: usize,
    /// How many of them nobody was told of yet, or waits for.
    pub(crate) unpromised: usize,
    /// How often everything since the last flush was taken back.
    pub(crate) undone: u64,
    /// How many flushes there were: a writer knows by it that its commit is durable. Where only is read, how many of
    /// somebody else's were seen.
    pub(crate) flushes: u64,
    outbox: Vec<Change>,
    now: Now,
    random: Random,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("node", &self.node)
            .field("staged", &self.staged)
            .finish_non_exhaustive()
    }
}

pub(crate) const NODE_KEY: &[u8] = b"node_key";
const NUMBERS: &[u8] = b"next_numbers";

impl Engine {
    /// Opens what `storage` holds; makes a node key, a store id and a first user where there is nothing yet, whose keys
    /// `wrapping` seals.
    pub(crate) fn open(
        storage: Box<dyn Storage>,
        writable: bool,
        user: Option<&str>,
        wrapping: Option<&WrappingKey>,
        now: Now,
        mut random: Random,
    ) -> Result<Self, Error> {
        let mut storage: Box<dyn Storage> = Box::new(Packed::over(storage));
        let node = match storage.get(&layout::META, NODE_KEY.into())? {
            Some(seed) => seed.try_into().map_err(|_| Error::damaged("the node key does not decode"))?,
            None if !writable => return Err(Error::not_found("database", "")),
            None => {
                let (mut node, mut store) = ([0; 32], [0; 16]);
                random(&mut node);
                random(&mut store);
                storage.put(&layout::META, NODE_KEY.into(), &node)?;
                storage.put(&layout::META, STORE_ID.into(), &store)?;
                let (mut seed, mut nonce) = (Zeroizing::new([0; 32]), [0; NONCE]);
                random(&mut *seed);
                if wrapping.is_some() {
                    random(&mut nonce);
                }
                let key = AuthorKey::from_seed(&seed);
                let wrapping = wrapping.map(|wrapping| (wrapping, nonce));
                let first = User::new(user.unwrap_or("me"), &key, wrapping)?;
                first.store(storage.as_mut())?;
                user::set_default_user(storage.as_mut(), &first.name)?;
                storage.commit()?;
                node
            }
        };
        if writable && guard::is_copy(storage.as_ref())? {
            let mut store = [0; 16];
            random(&mut store);
            guard::begin_restored(storage.as_mut(), now(), store)?;
        }
        let guards = Guards::load(storage.as_ref())?;
        let users = Users::load(storage.as_ref())?;
        let name = user.unwrap_or(users.default_name()).to_owned();
        let acting = users.acting(&name)?;
        let copied = Copied::all(storage.as_ref())?;
        let next = numbers(storage.as_ref())?;
        Ok(Self {
            storage,
            writable,
            clock: Clock::default(),
            view: View::new(next[0]),
            collections: Collections::new(next[1], next[2]),
            replicas: HashMap::new(),
            users,
            acting,
            key: None,
            copied,
            node: NodeKey::from_seed(&node),
            met: HashMap::new(),
            agreed: Meetings::default(),
            guards,
            poisoned: None,
            room: Room::default(),
            requests: Requests::default(),
            readers: Readers::default(),
            callbacks: Callbacks::default(),
            journal: Journal::new(next[3]),
            late: 0,
            exchanging: BTreeSet::new(),
            staged: 0,
            unpromised: 0,
            undone: 0,
            flushes: 0,
            outbox: Vec::new(),
            now,
            random,
        })
    }

    /// Whether somebody has made a database in this storage.
    pub(crate) fn is_made(storage: &dyn Storage) -> Result<bool, Error> {
        Ok(storage.get(&layout::META, NODE_KEY.into())?.is_some())
    }

    pub(crate) fn now(&self) -> u64 {
        (self.now)()
    }

    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.random)(&mut bytes);
        bytes
    }

    /// Something was staged that the next flush must write.
    pub(crate) fn staged(&mut self) {
        self.staged += 1;
    }

    /// Loads a space into memory; `false` if it is not here.
    pub(crate) fn load(&mut self, space: &SpaceId) -> Result<bool, Error> {
        if self.replicas.contains_key(space) {
            return Ok(true);
        }
        let Some(number) = self.storage.get(&layout::SPACE_ID, space.0.as_slice().into())? else {
            return Ok(false);
        };
        let number = number.try_into().map_err(|_| Error::damaged("a space number does not decode"))?;
        if self.replicas.len() >= LOADED && self.staged == 0 {
            self.replicas.clear();
        }
        let replica = Replica::load(self.storage.as_ref(), u32::from_be_bytes(number))?;
        self.clock.observe(replica.time);
        self.replicas.insert(*space, replica);
        Ok(true)
    }

    /// Storage and a loaded space, side by side.
    pub(crate) fn parts(&mut self, space: &SpaceId) -> Result<(&mut dyn Storage, &mut Replica), Error> {
        let replica = self.replicas.get_mut(space).ok_or_else(|| Error::not_found("space", space))?;
        Ok((self.storage.as_mut(), replica))
    }

    /// A loaded space, with everything that is due in it released.
    pub(crate) fn present(&mut self, space: &SpaceId) -> Result<&mut Replica, Error> {
        if !self.load(space)? {
            return Err(Error::not_found("space", space));
        }
        if self.writable {
            self.release_due(space)?;
        }
        Ok(self.parts(space)?.1)
    }

    /// The summaries of all spaces, as of the last flush or newer.
    pub(crate) fn summaries(&self) -> Result<Vec<Summary>, Error> {
        let (mut found, mut failed) = (Vec::new(), None);
        self.storage.range(
            &layout::SPACE,
            Bound::Unbounded,
            Bound::Unbounded,
            Order::Ascending,
            &mut |_, value| match Summary::decode(value) {
                Ok(summary) => {
                    found.push(self.replicas.get(&summary.id).map_or(summary, Replica::summary));
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        failed.map_or(Ok(found), Err)
    }

    pub(crate) fn next_space(&self) -> Result<u32, Error> {
        let mut last = 0;
        let visit = &mut |key: Key<'_>, _: &[u8]| {
            if let Key::U64(number) = key {
                last = number;
            }
            ControlFlow::Break(())
        };
        self.storage.range(&layout::SPACE, Bound::Unbounded, Bound::Unbounded, Order::Descending, visit)?;
        Ok(last as u32 + 1)
    }

    /// Folds what is stale and writes documents, tallies and spaces; not yet durable.
    pub(crate) fn write_view(&mut self) -> Result<(), Error> {
        if !self.view.is_dirty() {
            return Ok(());
        }
        let differences = {
            let _step = walk::fold();
            self.view.flush(self.storage.as_mut())?
        };
        let spaces: HashMap<u32, SpaceId> = self.replicas.values().map(|r| (r.number, r.id)).collect();
        for difference in differences {
            let Some(space) = spaces.get(&difference.collection.space) else { continue };
            let Some(replica) = self.replicas.get_mut(space) else { continue };
            replica.view.subtract(difference.removed);
            replica.view.add(difference.added);
            match difference.kind {
                crate::tables::view::ChangeKind::Insert => replica.documents += 1,
                crate::tables::view::ChangeKind::Delete => replica.documents -= 1,
                crate::tables::view::ChangeKind::Update => {}
            }
            replica.changed = true;
            let change = DocumentChange {
                collection: difference.collection.name.clone(),
                id: difference.id,
                kind: difference.kind,
                source: difference.source,
            };
            match self.outbox.last_mut() {
                Some(last) if last.space == *space => Arc::make_mut(&mut last.documents).push(change),
                _ => self.outbox.push(Change::new(*space, vec![change])),
            }
        }
        Ok(())
    }

    /// Runs `look`, which reads many rows: storage takes its locks once, and not for each.
    pub(crate) fn at_once<T>(
        &mut self,
        look: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if !self.writable {
            return look(self);
        }
        self.storage.begin()?;
        let result = look(self);
        if self.staged == 0 {
            self.storage.commit()?;
        }
        result
    }

    /// Makes everything staged durable. An error poisons the database: nothing of it was acknowledged.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.check()?;
        if self.staged == 0 && !self.view.is_dirty() && !self.agreed.is_waiting() {
            return Ok(());
        }
        let done = {
            let _step = walk::durable(self.staged);
            self.write_all()
        };
        if let Err(error) = &done {
            self.poison(error);
        }
        done
    }

    fn write_all(&mut self) -> Result<(), Error> {
        self.write_view()?;
        let mut arrived = HashMap::new();
        for replica in self.replicas.values_mut() {
            replica.flush(self.storage.as_mut())?;
            if replica.arrived != [false; 2] {
                arrived.insert(replica.id, std::mem::take(&mut replica.arrived));
            }
            // Also a commit that changes no document is news: peers are to have it.
            let told = self.outbox.iter().any(|change| change.space == replica.id);
            if std::mem::take(&mut replica.advanced) && !told {
                self.outbox.push(Change::new(replica.id, Vec::new()));
            }
        }
        let [collection, index] = self.collections.next_numbers();
        let all = self.journal.flush(self.storage.as_mut())?;
        for change in &mut self.outbox {
            let next = self.replicas.get(&change.space).map_or(0, |replica| replica.next);
            (change.position, change.all) = (Position { next, row: self.journal.last() }, all);
            [change.local, change.remote] = arrived.get(&change.space).copied().unwrap_or_default();
        }
        let numbers = layout::key([self.view.next_number(), collection, index, self.journal.last()]);
        self.storage.put(&layout::META, NUMBERS.into(), &numbers)?;
        self.agreed.flush(self.storage.as_mut())?;
        self.storage.commit()?;
        (self.staged, self.unpromised) = (0, 0);
        self.flushes += 1;
        Ok(())
    }

    /// Stops the database: what is in memory may be ahead of the disk.
    pub(crate) fn poison(&mut self, error: &Error) {
        if self.poisoned.is_none() {
            self.poisoned = Some(error.to_string());
            self.outbox.clear();
            // A transaction that cannot even be rolled back ends with the handle.
            let _ = self.storage.rollback();
        }
    }

    /// Takes back everything since the last flush, here and in storage; `false` if storage cannot.
    pub(crate) fn undo(&mut self) -> bool {
        self.outbox.clear();
        self.replicas.clear();
        self.collections.clear();
        self.view.clear();
        self.room = Room::default();
        self.requests = Requests::default();
        self.readers.restart();
        (self.staged, self.unpromised) = (0, 0);
        self.undone += 1;
        self.storage.rollback().is_ok() && self.users.reload(self.storage.as_ref()).is_ok()
    }

    /// Whether the database still accepts calls.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.poisoned.as_ref().map_or(Ok(()), |why| Err(Error::Poisoned(why.clone())))
    }

    /// What became durable and was not published yet.
    pub(crate) fn take_outbox(&mut self) -> Vec<Change> {
        if self.staged == 0 { std::mem::take(&mut self.outbox) } else { Vec::new() }
    }

    /// Names who causes what happens from now on.
    pub(crate) fn source(&mut self, source: Source) {
        self.view.source = source;
    }

    /// Reading handles: moves to the newest durable state; `true` if it changed.
    pub(crate) fn refresh(&mut self) -> Result<bool, Error> {
        let changed = self.storage.refresh()?;
        if changed {
            self.journal = Journal::new(numbers(self.storage.as_ref())?[3]);
            self.flushes += 1;
            self.readers.restart();
            self.replicas.clear();
            self.collections.clear();
            self.view.clear();
            self.users.reload(self.storage.as_ref())?;
        }
        Ok(changed)
    }
}

// The next document, collection and index, and the last row of the journal.
fn numbers(storage: &dyn Storage) -> Result<[u64; 4], Error> {
    let bytes = storage.get(&layout::META, NUMBERS.into())?.unwrap_or_default();
    let mut numbers = [1, 1, 1, 0];
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *number = u64::from_be_bytes(*bytes);
    }
    Ok(numbers)
}

/// BLAKE3 in its extendable-output mode, keyed with the seed: one system call at open instead of one per id.
pub(crate) fn seeded(seed: [u8; 32]) -> Random {
    let mut reader = blake3::Hasher::new_keyed(&seed).finalize_xof();
    Box::new(move |bytes| reader.fill(bytes))
}
