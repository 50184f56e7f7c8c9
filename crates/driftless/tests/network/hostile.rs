//! Peers that are no databases: what they send is refused by name and changes nothing; and commits in unusual states.

use std::time::Duration;

use driftless::{Database, Permission, Space, Strength, Subject};
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Kind, Received, Vouched};
use driftless_core::document_id::DocumentId;
use driftless_core::frame::{FrameBuilder, FrameCommit};
use driftless_core::id::{CommitId, PeerId, SpaceId};
use driftless_core::operator::{Edit, Operator};
use driftless_core::reconcile::Summary;
use driftless_core::session::{InviteProof, Message, Pass, numbered, take_number};
use driftless_core::sign::{AuthorKey, Domain, Signature};
use driftless_net::{Address, Connection, MAX_FRAME, MemoryNetwork, Transport};

use crate::live::until;
use crate::{fill, memory, on, write};

const US: PeerId = PeerId([66; 32]);

struct Raw {
    connection: Connection,
    number: u64,
    spoken: u64,
}

impl Raw {
    async fn dial(net: &MemoryNetwork, address: &Address) -> Self {
        let connection = net.transport(US).dial(address).await.unwrap();
        Self { connection, number: 0, spoken: 0 }
    }

    async fn greet(net: &MemoryNetwork, address: &Address, key: &AuthorKey) -> Self {
        let mut raw = Self::dial(net, address).await;
        let nonce = [5; 16];
        raw.say(Message::Hello { version: 1, nonce }).await;
        let Some(Message::Hello { nonce: theirs, .. }) = raw.hear().await else { panic!("no greeting") };
        let signed = [&[0][..], &US.0, &raw.connection.peer.0, &nonce, &theirs].concat();
        raw.say(Message::Proof(vec![(key.id(), key.sign(Domain::AuthorProof, &[&signed]))])).await;
        assert!(matches!(raw.hear().await, Some(Message::Proof(_))));
        raw.connection.receiver.limit(MAX_FRAME);
        raw
    }

    async fn say(&mut self, message: Message) {
        let bytes = numbered(self.spoken, &message);
        self.spoken += 1;
        self.connection.sender.send(bytes).await.unwrap();
    }

    async fn hear(&mut self) -> Option<Message> {
        let bytes = tokio::time::timeout(Duration::from_secs(30), self.connection.receiver.recv()).await;
        bytes
            .expect("silence")
            .ok()
            .flatten()
            .map(|bytes| Message::decode(take_number(&bytes).unwrap().1).unwrap())
    }

    async fn open(&mut self, slot: u64, space: SpaceId) -> Option<Message> {
        self.say(Message::Open { slot, space, invite: None, summary: Summary::default() }).await;
        self.hear().await
    }

    // Sends a frame and hears with which codes it was refused.
    async fn offer(&mut self, frame: Vec<u8>) -> Vec<String> {
        self.number += 1;
        self.say(Message::Data { slot: 0, number: self.number, frame, digest: [7; 8] }).await;
        loop {
            match self.hear().await.expect("the connection ended") {
                Message::Ack { refused, .. } => {
                    return refused.into_iter().map(|verdict| verdict.code).collect();
                }
                _ => continue,
            }
        }
    }
}

fn commit(key: &AuthorKey, space: SpaceId, parent: CommitId, ms: u64) -> Vouched {
    let fields = driftless::Map::from_json(r#"{"n": 1}"#).unwrap();
    let operators = vec![Operator::Insert { fields, parent: None }];
    let edit = Edit { collection: "items".into(), document: DocumentId::from(900), operators };
    let header = Header {
        kind: Kind::Documents,
        continues: false,
        space: Some(space),
        author: key.id(),
        seq: 1,
        previous: None,
        parents: vec![parent],
        time: driftless::Timestamp::from_ms(ms),
        body_hash: [0; 32],
        body_length: 0,
        body_encoding: BodyEncoding::Plain,
        extensions: Header::no_extensions(),
    };
    let body = DocumentBody { edits: vec![edit], retracts: Vec::new() };
    Vouched::sign(header, body.encode([7; 16]), key).unwrap()
}

fn frame(space: SpaceId, commit: &Vouched, change: impl Fn(&mut Received)) -> Vec<u8> {
    let mut received = commit.to_received();
    change(&mut received);
    let header = Header::decode(&received.header).unwrap();
    let mut builder = FrameBuilder::new(space);
    let body = received.body.as_deref();
    builder
        .push(FrameCommit { header: &header, id: commit.id(), signature: received.signature, body })
        .unwrap();
    builder.finish()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

struct Scene {
    net: MemoryNetwork,
    db: Database,
    space: Space,
    address: Address,
    _network: driftless::Network,
}

async fn scene() -> Scene {
    let net = MemoryNetwork::new();
    let db = memory();
    let network = on(&net, &db);
    let space = db.create_space("team").unwrap();
    fill(&space, 0, 3);
    let address = network.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    Scene { net, db, space, address, _network: network }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_unsigned_foreign_and_damaged_frames_are_refused_and_shown() {
    let scene = scene().await;
    let (reader, stranger) = (AuthorKey::from_seed(&[1; 32]), AuthorKey::from_seed(&[2; 32]));
    let grant = scene.space.grant(Subject::Key(reader.id()), Permission::Read).unwrap();
    let before = scene.space.digest().unwrap();
    let id = scene.space.id();
    let mut raw = Raw::greet(&scene.net, &scene.address, &reader).await;
    assert!(matches!(raw.open(0, id).await, Some(Message::Have { .. })));
    let mine = commit(&reader, id, grant, now());
    let forged = frame(id, &mine, |received| received.signature = Some(Signature([3; 64])));
    let foreign = SpaceId([9; 32]);
    let other = commit(&stranger, foreign, grant, now());
    for (what, bytes) in [
        ("a reader writes", frame(id, &mine, |_| {})),
        ("forged", forged),
        ("a stranger writes", frame(id, &commit(&stranger, id, grant, now()), |_| {})),
        ("of another space", frame(foreign, &other, |_| {})),
        ("unknown parent", frame(id, &commit(&stranger, id, CommitId([8; 32]), now()), |_| {})),
        ("no frame", vec![1, 2, 3]),
        ("nothing", Vec::new()),
    ] {
        let refused = raw.offer(bytes).await;
        assert_eq!(refused.len(), 1, "{what}");
        assert_eq!(scene.space.digest().unwrap(), before, "{what}: {refused:?}");
    }
    assert!(scene.db.status().unwrap().refused.len() >= 6);
    // The connection goes on.
    assert!(matches!(raw.open(2, foreign).await, Some(Message::Close { slot: 2 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_and_a_forbidden_space_are_answered_with_the_same_bytes() {
    let scene = scene().await;
    let mut raw = Raw::greet(&scene.net, &scene.address, &AuthorKey::from_seed(&[2; 32])).await;
    assert_eq!(raw.open(0, scene.space.id()).await, Some(Message::Close { slot: 0 }));
    assert_eq!(raw.open(2, SpaceId([1; 32])).await, Some(Message::Close { slot: 2 }));
    // An invite proof of somebody else, or a made up one, opens nothing.
    let joiner = AuthorKey::from_seed(&[2; 32]).id();
    for (slot, joiner) in [(4, joiner), (6, scene.db.author().unwrap())] {
        let invite = Some(Pass::Invite(InviteProof {
            invite: CommitId([1; 32]),
            index: 0,
            joiner,
            proof: Signature([2; 64]),
        }));
        raw.say(Message::Open { slot, space: scene.space.id(), invite, summary: Summary::default() }).await;
        assert_eq!(raw.hear().await, Some(Message::Close { slot }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_keep_to_the_protocol_is_cut_off_alone() {
    let scene = scene().await;
    let mut good = Raw::greet(&scene.net, &scene.address, &AuthorKey::from_seed(&[2; 32])).await;
    let mut bad = Raw::dial(&scene.net, &scene.address).await;
    assert!(matches!(bad.hear().await, Some(Message::Hello { .. })));
    bad.connection.sender.send(vec![0xff; 100]).await.unwrap();
    assert_eq!(bad.hear().await, None);
    assert!(matches!(good.open(0, SpaceId([1; 32])).await, Some(Message::Close { .. })));
    // Connections of one peer are counted.
    let mut all = Vec::new();
    for _ in 0..40 {
        all.push(Raw::dial(&scene.net, &scene.address).await);
    }
    let mut refused = 0;
    for raw in &mut all {
        refused += usize::from(raw.hear().await.is_none());
    }
    assert!(refused >= 40 - 16, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_a_peer_has_is_fetched_and_held_commits_travel() {
    let scene = scene().await;
    let pen = AuthorKey::from_seed(&[1; 32]);
    let id = scene.space.id();
    let grant = scene.space.grant(Subject::Key(pen.id()), Permission::Write(Strength(10))).unwrap();
    let bob = memory();
    scene.space.grant(Subject::Key(bob.author().unwrap()), write()).unwrap();
    let at_bob = on(&scene.net, &bob);
    at_bob.sync_with_peer(&scene.address, &id).await.unwrap();
    let there = bob.space("team").unwrap();

    // Ann gets only the header, Bob gets it from her, and neither waits for what nobody has.
    let made = commit(&pen, id, grant, now() + 1);
    let mut raw = Raw::greet(&scene.net, &scene.address, &pen).await;
    raw.open(0, id).await;
    assert!(raw.offer(frame(id, &made, |received| received.body = None)).await.is_empty());
    let synced = at_bob.sync_with_peer(&scene.address, &id).await.unwrap();
    assert!(synced.settled);
    assert_eq!(bob.status().unwrap().spaces[0].counts.wanted, 1);
    // Ann gets the body; Bob asks for it by id.
    assert!(raw.offer(frame(id, &made, |_| {})).await.is_empty());
    assert_eq!(scene.db.status().unwrap().spaces[0].counts.wanted, 0);
    let synced = at_bob.sync_with_peer(&scene.address, &id).await.unwrap();
    assert!(synced.settled && synced.moved.received == 1, "{synced:?}");
    assert_eq!(bob.status().unwrap().spaces[0].counts.wanted, 0);
    assert_eq!(there.digest().unwrap(), scene.space.digest().unwrap());

    // A commit of tomorrow is held, given on, and both settle.
    let other = AuthorKey::from_seed(&[4; 32]);
    let grant = scene.space.grant(Subject::Key(other.id()), write()).unwrap();
    let early = commit(&other, id, grant, now() + 86_400_000);
    assert!(raw.offer(frame(id, &early, |_| {})).await.is_empty());
    assert!(at_bob.sync_with_peer(&scene.address, &id).await.unwrap().settled);
    assert_eq!(bob.status().unwrap().spaces[0].held.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_device_forks_and_sync_brings_both_branches_to_everyone() {
    let net = MemoryNetwork::new();
    let ann = memory();
    let here = ann.create_space("home").unwrap();
    let (one, two) = (Database::builder().seed([9; 32]), Database::builder().seed([9; 32]));
    let (one, two) = (one.memory().unwrap(), two.memory().unwrap());
    here.grant(Subject::Key(one.author().unwrap()), write()).unwrap();
    let at_ann = on(&net, &ann);
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let mut copies = Vec::new();
    for (db, first, count) in [(&one, 0, 5), (&two, 100, 9)] {
        on(&net, db).sync_with_peer(&address, &here.id()).await.unwrap();
        copies.push((db, db.space("home").unwrap(), first, count));
    }
    for (_, space, first, count) in &copies {
        fill(space, *first, *count);
    }
    for (db, ..) in [&copies[0], &copies[1], &copies[0]] {
        assert!(on(&net, db).sync_with_peer(&address, &here.id()).await.unwrap().settled);
    }
    for (_, space, ..) in &copies {
        assert_eq!(space.digest().unwrap(), here.digest().unwrap());
    }
    assert_eq!(here.digest().unwrap().documents, 14);
    assert_eq!(ann.status().unwrap().spaces[0].forked.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_late_goes_on_at_once_to_all_who_wait_for_it() {
    let scene = scene().await;
    let pen = AuthorKey::from_seed(&[1; 32]);
    let id = scene.space.id();
    let grant = scene.space.grant(Subject::Key(pen.id()), Permission::Write(Strength(10))).unwrap();
    let (bob, cem) = (memory(), memory());
    for db in [&bob, &cem] {
        scene.space.grant(Subject::Key(db.author().unwrap()), write()).unwrap();
    }
    let (at_bob, at_cem) = (on(&scene.net, &bob), on(&scene.net, &cem));
    at_bob.sync_with_peer(&scene.address, &id).await.unwrap();
    let address = at_bob.serve(&"memory:bob".parse().unwrap()).await.unwrap();
    at_cem.sync_with_peer(&address, &id).await.unwrap();
    at_bob.keep_connected().unwrap();
    at_cem.keep_connected().unwrap();
    let there = cem.space("team").unwrap();
    let is = |db: &Database, wanted: u64, documents: u64| {
        let db = db.clone();
        move || {
            let space = db.status().unwrap().spaces[0].clone();
            (space.counts.wanted, space.documents) == (wanted, documents)
        }
    };

    // The header goes down the line by itself, and so does the body when it comes.
    let made = commit(&pen, id, grant, now() + 1);
    let mut raw = Raw::greet(&scene.net, &scene.address, &pen).await;
    raw.open(0, id).await;
    assert!(raw.offer(frame(id, &made, |received| received.body = None)).await.is_empty());
    until(&cem, is(&cem, 1, 3)).await;
    assert!(raw.offer(frame(id, &made, |_| {})).await.is_empty());
    until(&cem, is(&cem, 0, 4)).await;
    assert!(is(&bob, 0, 4)());
    assert_eq!(there.digest().unwrap(), scene.space.digest().unwrap());
}

// Three commits of one author, of which the last vouches for the others.
fn run_of_three(key: &AuthorKey, space: SpaceId, parent: CommitId) -> Vec<Vouched> {
    let first = commit(key, space, parent, now() + 1);
    let mut run = vec![first];
    for seq in 2..4 {
        let last = run.last().unwrap();
        let mut header = Header::decode(&last.to_received().header).unwrap();
        let time = driftless::Timestamp::from_ms(now() + 1 + seq);
        (header.seq, header.previous, header.time) = (seq, Some(last.id()), time);
        header.parents = Vec::new();
        let body = last.to_received().body.unwrap();
        run.push(Vouched::sign(header, body, key).unwrap());
    }
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_brings_a_body_that_came_late_with_what_vouches_for_it() {
    let scene = scene().await;
    let pen = AuthorKey::from_seed(&[1; 32]);
    let id = scene.space.id();
    let grant = scene.space.grant(Subject::Key(pen.id()), Permission::Write(Strength(10))).unwrap();
    let (bob, cem) = (memory(), memory());
    scene.space.grant(Subject::Anyone, Permission::Read).unwrap();
    let (at_bob, at_cem) = (on(&scene.net, &bob), on(&scene.net, &cem));
    let run = run_of_three(&pen, id, grant);
    let frame = |bodies: bool| {
        let mut builder = FrameBuilder::new(id);
        for (at, commit) in run.iter().enumerate() {
            let received = commit.to_received();
            let header = Header::decode(&received.header).unwrap();
            let body = received.body.as_deref().filter(|_| bodies || at > 0);
            let signature = received.signature.filter(|_| at == 2);
            builder.push(FrameCommit { header: &header, id: commit.id(), signature, body }).unwrap();
        }
        builder.finish()
    };
    let mut raw = Raw::greet(&scene.net, &scene.address, &pen).await;
    raw.open(0, id).await;
    assert!(raw.offer(frame(false)).await.is_empty());
    let pulled = at_bob.pull(&scene.address, &id).await.unwrap();
    assert_eq!((pulled.moved.wanted, pulled.wanted, pulled.moved.refused), (1, 1, 0));
    assert!(at_cem.sync_with_peer(&scene.address, &id).await.unwrap().settled);
    assert_eq!(cem.status().unwrap().spaces[0].counts.wanted, 1);
    // Nobody has it yet: nothing comes.
    let pulled = at_bob.pull(&scene.address, &id).await.unwrap();
    assert_eq!((pulled.moved.received, pulled.wanted), (0, 1));
    assert!(raw.offer(frame(true)).await.is_empty());
    fill(&scene.space, 10, 1);
    let pulled = at_bob.pull(&scene.address, &id).await.unwrap();
    assert_eq!((pulled.reconciled, pulled.wanted, pulled.moved.refused), (false, 0, 0), "{pulled:?}");
    assert_eq!((pulled.moved.applied, pulled.moved.received), (2, 4));
    // A session gets it as well.
    let synced = at_cem.sync_with_peer(&scene.address, &id).await.unwrap();
    assert_eq!((synced.moved.applied, synced.moved.refused), (2, 0), "{synced:?}");
    for db in [&bob, &cem] {
        let there = db.space("team").unwrap();
        assert_eq!(there.digest().unwrap(), scene.space.digest().unwrap());
    }
    let pulled = at_bob.pull(&scene.address, &id).await.unwrap();
    assert_eq!(pulled.moved.received, 0);
}
