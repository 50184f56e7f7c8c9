//! Nobody receives a byte of what may not be read: every body carries a mark of 128 bits, every frame that anybody
//! received is searched for all of them, and a model of who was let in where decides which may be there.
//!
//! The model knows nothing of how rules are judged or spaces served. The statements about a space come from the database
//! that made it, one after the other; a mark may go to somebody whom some state of these statements lets in that is not
//! older than the mark, and not older than what the sender knew.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use driftless::{
    Collection, DocumentId, Insert, Kind, LogQuery, Operator, Path, SharePolicy, SpaceId, Value,
};
use proptest::prelude::*;

use super::recording::{Frames, Recording};
use super::*;

/// Who stands behind each database: Ann and Ben have two devices, Cem has one, and so has Eve.
const USER: [usize; 6] = [0, 0, 1, 1, 2, 3];
const EVE: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    User(usize),
    Key(usize),
    Anyone,
}

type Mark = [u8; 16];

/// What the model knows of a space.
struct Place {
    id: SpaceId,
    founder: usize,
    key: driftless::AuthorId,
    /// The statements that followed the genesis, in their order; each is one commit.
    said: Vec<Vec<(Who, bool)>>,
    /// Marks in it, and after how many statements each was written.
    marks: BTreeMap<Mark, usize>,
    documents: Vec<DocumentId>,
}

impl Place {
    fn lets_in(&self, db: usize, statements: usize) -> bool {
        let mut is: BTreeMap<Who, bool> = BTreeMap::new();
        is.extend(self.said.iter().take(statements).flatten().copied());
        let has = |who| is.get(&who).copied().unwrap_or_default();
        db == self.founder || has(Who::User(USER[db])) || has(Who::Key(db)) || has(Who::Anyone)
    }
}

struct Model {
    databases: Vec<Database>,
    networks: Vec<Network>,
    addresses: Vec<Address>,
    frames: Vec<Frames>,
    places: Vec<Place>,
    /// What each database wrote, or got and might get.
    known: Vec<HashSet<Mark>>,
    /// Whom a database shuts out or lets in by its own callbacks.
    closed: Vec<Arc<Mutex<BTreeSet<PeerId>>>>,
    opened: Vec<Arc<Mutex<BTreeSet<PeerId>>>>,
    marks: u64,
    /// Marks that were seen in frames.
    seen: usize,
}

impl Model {
    async fn new(http: bool) -> Self {
        let mut world = World::new();
        let mut model = Self {
            databases: ["ann", "ben", "cem", "eve"].map(|name| world.database(name)).to_vec(),
            networks: Vec::new(),
            addresses: Vec::new(),
            frames: Vec::new(),
            places: Vec::new(),
            known: vec![HashSet::new(); USER.len()],
            closed: Vec::new(),
            opened: Vec::new(),
            marks: 0,
            seen: 0,
        };
        for (at, of) in [(1, 0), (3, 2)] {
            let device = world.device(&model.databases[of].clone()).await;
            model.databases.insert(at, device);
        }
        for db in &model.databases {
            db.make_identity().unwrap();
            let frames = Frames::default();
            let recorded = frames.clone();
            let wrap = move |inner| Arc::new(Recording { inner, frames: recorded }) as Arc<_>;
            let builder = Network::builder(db).wrap_transport(wrap);
            let peer = db.peer().unwrap();
            let (network, address) = match http {
                true => (builder.http().open().unwrap(), "http://127.0.0.1:0".to_owned()),
                false => {
                    let transport = Arc::new(world.net.transport(peer));
                    (builder.transport(transport).open().unwrap(), format!("memory:recorded-{peer}"))
                }
            };
            model.addresses.push(network.serve(&address.parse().unwrap()).await.unwrap());
            model.networks.push(network);
            model.frames.push(frames);
            let (closed, opened): (Arc<Mutex<BTreeSet<_>>>, Arc<Mutex<BTreeSet<_>>>) = Default::default();
            let (filter, resolver) = (closed.clone(), opened.clone());
            db.share_filter(move |reader| !filter.lock().unwrap().contains(&reader.peer)).unwrap();
            db.share_resolver(move |reader| resolver.lock().unwrap().contains(&reader.peer)).unwrap();
            model.closed.push(closed);
            model.opened.push(opened);
        }
        model
    }

    fn mark(&mut self) -> Mark {
        self.marks += 1;
        let hash = blake3::hash(&self.marks.to_be_bytes());
        *hash.as_bytes().first_chunk().unwrap()
    }

    fn here(&self, db: usize, place: usize) -> Option<Space> {
        self.databases[db].space(&self.places[place].id.to_string()).ok()
    }

    fn notes(&self, db: usize, place: usize) -> Option<Collection> {
        Some(self.here(db, place)?.collection("notes").unwrap())
    }

    /// How many of the statements about a space a database knows.
    fn statements(&self, db: usize, place: usize) -> usize {
        let Some(space) = self.here(db, place) else { return 0 };
        let key = self.places[place].key;
        let lines = space.log(LogQuery::default()).unwrap();
        lines.iter().filter(|line| line.kind == Kind::Rules && line.author == key).count().saturating_sub(1)
    }

    fn enter(&mut self, space: &Space, founder: usize, said: Vec<Vec<(Who, bool)>>) -> usize {
        if let Some(at) = self.places.iter().position(|place| place.id == space.id()) {
            return at;
        }
        let key = self.databases[founder].author().unwrap();
        let (marks, documents) = (BTreeMap::new(), Vec::new());
        self.places.push(Place { id: space.id(), founder, key, said, marks, documents });
        self.places.len() - 1
    }

    fn wrote(&mut self, db: usize, place: usize, mark: Mark) {
        let after = self.statements(db, place);
        self.places[place].marks.entry(mark).or_insert(after);
        self.known[db].insert(mark);
    }

    fn insert(&mut self, db: usize, place: usize) {
        let Some(notes) = self.notes(db, place) else { return };
        let mark = self.mark();
        let mut fields = Map::new();
        fields.insert("marks", Value::List(vec![Value::Bytes(mark.to_vec())]));
        let written = notes.insert_with(fields, Insert::default());
        if let Ok(written) = written {
            self.wrote(db, place, mark);
            self.places[place].documents.push(written.id);
        }
    }

    fn edit(&mut self, db: usize, place: usize, document: usize) {
        let Some((notes, id)) = self.document(db, place, document) else { return };
        let mark = self.mark();
        let (path, values) = (Path::parse("marks").unwrap(), vec![Value::Bytes(mark.to_vec())]);
        if notes.edit(&id, vec![Operator::Push { path, values }]).is_ok() {
            self.wrote(db, place, mark);
        }
    }

    fn document(&self, db: usize, place: usize, document: usize) -> Option<(Collection, DocumentId)> {
        let documents = &self.places[place].documents;
        let id = documents.get(document % documents.len().max(1))?.clone();
        Some((self.notes(db, place)?, id))
    }

    fn user(&self, user: usize) -> UserId {
        let db = USER.iter().position(|of| *of == user).unwrap();
        UserId(self.databases[db].identity().unwrap().unwrap().0)
    }

    fn share(&mut self, db: usize, place: usize, document: usize, policy: usize) {
        let Some((notes, id)) = self.document(db, place, document) else { return };
        let me = USER[db];
        let mut said = vec![(Who::User(me), true)];
        let policy = match policy % 5 {
            0 => SharePolicy::Own,
            1 => SharePolicy::Members,
            2 => {
                said.push((Who::Anyone, true));
                SharePolicy::Public
            }
            3 => {
                let others: BTreeSet<usize> = [policy / 5 % 3, policy / 15 % 3].into();
                said.extend(others.iter().map(|user| (Who::User(*user), true)));
                SharePolicy::Users(others.iter().map(|user| self.user(*user)).collect())
            }
            _ => {
                let like = &self.places[policy / 5 % self.places.len()];
                let Some(document) = like.documents.first().cloned() else { return };
                SharePolicy::Ref { space: like.id, collection: "notes".into(), document }
            }
        };
        let Ok(shared) = notes.share(&id, &policy) else { return };
        let space = self.databases[db].space(&shared.to.to_string()).unwrap();
        let to = self.enter(&space, db, vec![said]);
        if shared.documents > 0 {
            let moved = space.collection("notes").unwrap().get(&id).unwrap().unwrap();
            let Some(Value::List(marks)) = moved.fields.get("marks") else { panic!("{moved:?}") };
            for mark in marks {
                let Value::Bytes(mark) = mark else { panic!("{mark:?}") };
                self.wrote(db, to, *mark.first_chunk().unwrap());
            }
            self.places[to].documents.push(id);
        }
    }

    /// Whoever made a space says something of somebody.
    fn say(&mut self, place: usize, who: usize, lets_in: bool) {
        let who = [Who::User(0), Who::User(1), Who::User(2), Who::Key(EVE), Who::Anyone][who % 5];
        let founder = self.places[place].founder;
        // Of themselves they say nothing: they cannot be shut out.
        if who == Who::User(USER[founder]) || who == Who::Key(founder) {
            return;
        }
        let subject = match who {
            Who::User(user) => Subject::Space(SpaceId(self.user(user).0)),
            Who::Key(db) => Subject::Key(self.databases[db].author().unwrap()),
            Who::Anyone => Subject::Anyone,
        };
        let level = if who == Who::Anyone { Permission::Read } else { Permission::Write(Strength(30)) };
        let space = self.here(founder, place).unwrap();
        let said = if lets_in { space.grant(subject, level) } else { space.revoke(subject) };
        said.unwrap();
        self.places[place].said.push(vec![(who, lets_in)]);
    }

    /// One database dials another and tries to get everything, of which it has heard wherever; in one way or another.
    async fn meet(&mut self, dialer: usize, listener: usize, way: usize) {
        let before = self.all_statements();
        let identities = (0..4).map(|user| SpaceId(self.user(user).0));
        let spaces: Vec<SpaceId> = self.places.iter().map(|place| place.id).chain(identities).collect();
        let (network, address) = (&self.networks[dialer], &self.addresses[listener]);
        // What comes of it is no matter here: only what went over.
        let found = network.discover(address).await.unwrap_or_default();
        for space in found.iter().map(|found| found.space).chain(spaces) {
            match way % 3 {
                0 => _ = network.pull(address, &space).await,
                1 => _ = network.request(address, &space, Permission::Read, "").await,
                _ => _ = network.sync_with_peer(address, &space).await,
            }
        }
        self.check(&before);
    }

    /// A user is removed from a space, and something is written there, while a device of that user is being served.
    async fn race(&mut self, place: usize, dialer: usize) {
        let (founder, before) = (self.places[place].founder, self.all_statements());
        if founder == dialer || dialer == EVE || USER[founder] == USER[dialer] {
            return;
        }
        let (id, address) = (self.places[place].id, self.addresses[founder].clone());
        let network = self.networks[dialer].clone();
        let serving = tokio::spawn(async move { network.sync_with_peer(&address, &id).await.is_ok() });
        self.insert(founder, place);
        tokio::task::yield_now().await;
        self.say(place, USER[dialer], false);
        self.insert(founder, place);
        tokio::task::yield_now().await;
        self.insert(founder, place);
        serving.await.unwrap();
        self.check(&before);
    }

    fn all_statements(&self) -> Vec<Vec<usize>> {
        let of = |db| (0..self.places.len()).map(|place| self.statements(db, place)).collect();
        (0..USER.len()).map(of).collect()
    }

    // Everything that anybody received since is of those who might send it.
    fn check(&mut self, before: &[Vec<usize>]) {
        let after = self.all_statements();
        let all: HashSet<Mark> = self.places.iter().flat_map(|place| place.marks.keys().copied()).collect();
        let peers: Vec<PeerId> = self.databases.iter().map(|db| db.peer().unwrap()).collect();
        for to in 0..USER.len() {
            for (peer, frame) in std::mem::take(&mut *self.frames[to].lock().unwrap()) {
                let from = peers.iter().position(|known| *known == peer).unwrap();
                let marks = frame.windows(16).filter_map(|window| window.first_chunk::<16>());
                for mark in marks.filter(|mark| all.contains(*mark)) {
                    self.seen += 1;
                    let is_closed = self.closed[from].lock().unwrap().contains(&peers[to]);
                    let is_opened = self.opened[from].lock().unwrap().contains(&peers[to]);
                    let mut places = self.places.iter().enumerate();
                    let may = !is_closed
                        && places.any(|(at, place)| {
                            let Some(written) = place.marks.get(mark) else { return false };
                            let first = before[from].get(at).copied().unwrap_or_default().max(*written);
                            is_opened || (first..=after[from][at]).any(|said| place.lets_in(to, said))
                        });
                    let known = self.known[to].contains(mark);
                    assert!(may || known, "{} of user {} got {mark:?} from {from}", to, USER[to]);
                    self.known[to].insert(*mark);
                }
            }
        }
    }

    async fn step(&mut self, step: &[u8; 5]) {
        let [kind, a, b, c, d] = step.map(usize::from);
        let db = a % USER.len();
        if self.places.is_empty() || kind % 16 == 0 {
            let space = self.databases[db].create_space(&format!("space {}", self.places.len())).unwrap();
            let at = self.enter(&space, db, Vec::new());
            self.say(at, b, true);
            return self.insert(db, at);
        }
        let place = b % self.places.len();
        match kind % 16 {
            1..=3 => self.insert(db, place),
            4 => self.edit(db, place, c),
            5..=7 => self.share(db, place, c, d),
            8 | 9 => self.say(place, c, true),
            10 => self.say(place, c, false),
            11 => {
                let set = if d % 2 == 0 { &self.closed[db] } else { &self.opened[db] };
                let peer = self.databases[c % USER.len()].peer().unwrap();
                let mut set = set.lock().unwrap();
                if !set.remove(&peer) {
                    set.insert(peer);
                }
                drop(set);
                self.databases[db].reconsider_shares().unwrap();
            }
            12 => self.race(place, db).await,
            _ if db != c % USER.len() => self.meet(db, c % USER.len(), d).await,
            _ => {}
        }
    }
}

fn run(steps: &[[u8; 5]], http: bool) -> usize {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut model = Model::new(http).await;
        for step in steps {
            model.step(step).await;
        }
        // In the end everybody asks everybody for everything.
        for dialer in 0..USER.len() {
            for listener in (0..USER.len()).filter(|listener| *listener != dialer) {
                model.meet(dialer, listener, dialer + 2 * listener).await;
            }
        }
        model.seen
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn nobody_receives_a_byte_of_what_may_not_be_read(steps in proptest::collection::vec(any::<[u8; 5]>(), 1..60)) {
        run(&steps, false);
    }
}

#[test]
fn the_same_over_real_http_and_what_may_be_read_does_arrive() {
    let bytes = blake3::Hasher::new().update(b"steps").finalize_xof();
    let mut steps = vec![[0; 5]; 60];
    let mut bytes = bytes;
    steps.iter_mut().for_each(|step| bytes.fill(step));
    let seen = run(&steps, true);
    assert!(seen > 20, "{seen} marks were received");
}
