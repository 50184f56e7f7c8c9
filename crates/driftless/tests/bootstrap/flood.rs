//! A flood of knocks over HTTP: the folder does not grow, and an honest request beside it is answered.

use std::path::Path;
use std::time::{Duration, Instant};

use driftless::{Bootstrap, Database, PeerId, Permission, Requested, SpaceId};
use driftless_core::session::{AccessRequest, Answer, Message, numbered, take_number};
use driftless_core::sign::{AuthorKey, Domain, NodeKey};
use driftless_net::{Address, Connection, HttpOptions, HttpTransport, MAX_FRAME, Transport};

use crate::write;

const KNOCKS: u64 = 10_000;
const CONNECTIONS: u64 = 14;

fn size(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

async fn next(connection: &mut Connection) -> Option<Message> {
    let bytes = tokio::time::timeout(Duration::from_secs(60), connection.receiver.recv()).await;
    Message::decode(take_number(&bytes.expect("silence").ok()??)?.1).ok()
}

// Greets, with a proof that is right or wrong.
async fn greet(node: u8, at: &Address, key: &AuthorKey, right: bool) -> Option<Connection> {
    let node = NodeKey::from_seed(&[node; 32]);
    let us: PeerId = node.id();
    let transport = HttpTransport::new(node, HttpOptions::default());
    let mut connection = transport.dial(at).await.ok()?;
    let nonce = [5; 16];
    connection.sender.send(numbered(0, &Message::Hello { version: 1, nonce })).await.ok()?;
    let Some(Message::Hello { nonce: theirs, .. }) = next(&mut connection).await else { return None };
    let role = if right { 0 } else { 1 };
    let signed = [&[role][..], &us.0, &connection.peer.0, &nonce, &theirs].concat();
    let proof = vec![(key.id(), key.sign(Domain::AuthorProof, &[&signed]))];
    connection.sender.send(numbered(1, &Message::Proof(proof))).await.ok()?;
    let Some(Message::Proof(_)) = next(&mut connection).await else { return None };
    connection.receiver.limit(MAX_FRAME);
    Some(connection)
}

// One key knocks so often, each time with other words; how often it was queued.
async fn knock(node: u8, at: Address, key: AuthorKey, space: SpaceId, times: u64) -> u64 {
    let mut connection = greet(node, &at, &key, true).await.expect("a right proof is taken");
    let mut queued = 0;
    for number in 0..times {
        let note = format!("{number} {}", "n".repeat(4000));
        let permission = write(number as u32 + 1);
        // Every fourth asks for what is not here.
        let space = if number % 4 == 3 { SpaceId([number as u8; 32]) } else { space };
        let request = AccessRequest { space, author: key.id(), permission, note };
        let message = Message::Request { number, request };
        connection.sender.send(numbered(number + 2, &message)).await.expect("it goes on");
        match next(&mut connection).await {
            Some(Message::Answer { answer: Answer::Queued(_), .. }) => queued += 1,
            Some(Message::Answer { answer: Answer::Full | Answer::Refused, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    queued
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_knocks_grow_nothing_and_an_honest_request_is_approved_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let ann = Database::open(folder.path()).unwrap();
    let network = ann.network().unwrap();
    let team = ann.create_space("team").unwrap();
    team.set_bootstrap(Bootstrap::Queue).unwrap();
    let at = network.serve(&"http://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let before = size(folder.path());
    let key = AuthorKey::from_seed(&[9; 32]);

    let flood: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            tokio::spawn(knock(n as u8, at.clone(), key.clone(), team.id(), KNOCKS.div_ceil(CONNECTIONS)))
        })
        .collect();
    let wrong = tokio::spawn({
        let (at, key) = (at.clone(), key.clone());
        async move {
            for _ in 0..200 {
                assert!(greet(100, &at, &key, false).await.is_none(), "a wrong proof is not taken");
            }
        }
    });

    // While it goes on, somebody else asks, is approved, and joins.
    while ann.requests().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let bob = Database::memory().unwrap();
    let at_bob = bob.network().unwrap();
    let begun = Instant::now();
    let Ok(Requested::Queued(id)) = at_bob.request(&at, &team.id(), Permission::Read, "Bob").await else {
        panic!("an honest request is queued")
    };
    ann.approve(&id, None).unwrap();
    let Ok(Requested::Joined { .. }) = at_bob.request(&at, &team.id(), Permission::Read, "Bob").await else {
        panic!("it was approved")
    };
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "an honest request took {took:?}");

    let mut queued = 0;
    for flood in flood {
        queued += flood.await.unwrap();
    }
    wrong.await.unwrap();
    // One place, which it may change once in a second.
    let requests = ann.requests().unwrap();
    assert_eq!((requests.len(), requests[0].author), (1, key.id()));
    assert_eq!(requests[0].source, Some([127, 0, 0, 1].into()));
    assert!((1..KNOCKS / 100).contains(&queued), "{queued}");
    let grown = size(folder.path()).saturating_sub(before);
    assert!(grown <= 8 * 1024 * 1024, "{grown} bytes more");
}
